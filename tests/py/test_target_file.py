"""target.toml: what is read, and that whatever is wrong is one clear line."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiotorture import kernels, matrix, targetfile, targets
from aiotorture.cli import main
from aiotorture.errors import ConfigurationError
from aiotorture.hardware import Device, Hardware
from aiotorture.matrix import Selection

ROOT = Path(__file__).resolve().parents[2]
SOUND = 'name = "x"\nnode = "/dev/x"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "target.toml"
    path.write_text(text)
    return path


def test_the_example_reads() -> None:
    example = targetfile.load(ROOT / "examples" / "timerecho" / "target.toml")
    assert example.module_name == "timerecho"
    assert example.source == (ROOT / "examples" / "timerecho").resolve()
    assert example.knobs["cancel"] == "callback"
    assert example.knobs["cancelled_errno"] == "125"
    assert example.knobs["timeout_ms"] == "1000"
    assert example.knobs["cookie"] == "0"


def test_every_target_of_the_repository_reads() -> None:
    chosen = targets.expanded(["file"])
    assert {"file-ext4", "file-null_blk", "file-loop", "file-nvme", "file-scsi_debug"} <= set(chosen)
    for name in chosen:
        target = targets.named(name)
        assert target.name == name
        assert target.knobs["cancel"] == "none"


def test_a_target_runs_its_own_plans_with_its_own_knobs() -> None:
    path = ROOT / "examples" / "timerecho" / "target.toml"
    cells = matrix.cells(Selection(targets=(str(path),), kernels=("6.1",)))
    own = [cell for cell in cells if not cell.control]
    assert {cell.id.split("-")[1] for cell in own} == {"timerecho"}
    assert all(cell.plan.scenario.knob("memory") == "1M" for cell in own)
    assert any(cell.control for cell in cells)
    folder = matrix.cells(Selection(targets=(str(path.parent),), kernels=("6.1",)))
    assert [cell.id for cell in folder] == [cell.id for cell in cells]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('node = "/dev/x"', "'name' is missing"),
        ('name = "x"', "'node' is missing"),
        ('name = "X y"\nnode = "/dev/x"', "'name': 'X y'"),
        ('name = "x"\nnode = "dev/x"', "no absolute path"),
        (SOUND + 'sauce = "."', "'sauce' is no field"),
        (SOUND + "[request]\nalingment = 4", "[request] 'alingment' is no field"),
        (SOUND + '[request]\nmax_len = "much"', "'max_len': 'much' is no size"),
        (SOUND + '[request]\nbytes = "some"', "none of stored, any, none"),
        (SOUND + '[request]\ntimeout = "soon"', "no duration"),
        (SOUND + "[request]\ndepth = 0", "'depth'"),
        (SOUND + '[cancel]\nerrno = "EWHAT"', "'EWHAT' is no errno"),
        (SOUND + '[cancel]\nworks = "yes"', "neither true nor false"),
        (SOUND + 'source = "nowhere"', "has no Kbuild and no Makefile"),
        (SOUND + 'module = "absent.ko"', "does not exist"),
        (SOUND + 'source = "."\nmodule = "x.ko"', "exclude each other"),
        (SOUND + 'set_up = "one"', "'set_up' is no list"),
        (SOUND + 'devices = ["Edu"]', "'devices': 'Edu' does not begin with the name of a QEMU device"),
        (SOUND + 'devices = ["nvme drive=0"]', "'devices': 'drive=0' is not above 0"),
        (SOUND + 'devices = ["nvme serial"]', "'devices': 'serial' is no property=value"),
        (SOUND + f"devices = {['edu'] * 9}", "'devices': 9 devices, and there is room for 8"),
        (SOUND + 'iommu = "on"', "neither true nor false"),
        (SOUND + 'needs = ["loop max_loop=4"]\nsites = ["lop"]', "'sites': 'lop' is none of 'needs'"),
        ("name = x", "line 1"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file_in_it(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        targetfile.load(path)
    said = str(caught.value)
    assert words in said and str(path) in said and "\n" not in said


def test_devices_are_plugged_in_behind_ports_of_a_machine_that_has_them(tmp_path: Path) -> None:
    text = SOUND + 'devices = ["edu", "nvme drive=64M max_ioqpairs=2"]\niommu = true\n'
    hardware = targetfile.load(written(tmp_path, text)).hardware
    assert hardware.devices[1] == Device("nvme", (("max_ioqpairs", "2"),), 64 << 20)
    words = " ".join(hardware.machine_words())
    assert "q35" in words and "intel-iommu" in words
    assert "id=port1" in words and "id=port2" not in words
    assert hardware.cmdline == ("intel_iommu=on", "iommu.strict=1")


def test_a_target_without_devices_has_the_usual_machine(tmp_path: Path) -> None:
    hardware = targetfile.load(written(tmp_path, SOUND)).hardware
    assert hardware == Hardware() and hardware.cmdline == ()
    assert hardware.machine_words()[1].startswith("pc,")


def test_what_needs_its_devices_is_loaded_and_not_set_up_before_they_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nvme = targetfile.Load("nvme", b"elf", keep=True)
    monkeypatch.setattr(targetfile, "loads", lambda described, kernel: [nvme])
    preload = targets.named("file-nvme").preload(kernels.host())
    assert preload is not None and [module.path for module in preload.modules] == ["/lib/at/nvme.ko"]
    assert not preload.commands and not preload.mark


def test_the_command_says_it_with_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, SOUND + "bogus = 1")
    assert main(["run", "--kernel", "6.1", "--target", str(path), "--dry-run"]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1 and "bogus" in said.err
    assert main(["run", "--target", str(tmp_path / "absent.toml"), "--dry-run"]) == 2
    assert "No such file" in capsys.readouterr().err


def test_a_module_for_another_kernel_is_refused(tmp_path: Path) -> None:
    module = tmp_path / "x.ko"
    module.write_bytes(b"\x7fELF\0vermagic=5.4.0-other SMP mod_unload\0")
    target = targetfile.load(written(tmp_path, SOUND + 'module = "x.ko"'))
    with pytest.raises(ConfigurationError, match="is built for 5.4.0-other, not for"):
        targetfile.loads(target, kernels.host())


def test_new_target_writes_a_file_that_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Kbuild").write_text("obj-m := my_dma.o\n")
    assert main(["new", "target", "my-dma", "--dir", str(tmp_path)]) == 0
    target = targetfile.load(tmp_path / "target.toml")
    assert (target.name, target.node, target.module_name) == ("my-dma", "/dev/my-dma", "my_dma")
    capsys.readouterr()
    assert main(["new", "target", "my-dma", "--dir", str(tmp_path)]) == 2
    assert "is there already" in capsys.readouterr().err
