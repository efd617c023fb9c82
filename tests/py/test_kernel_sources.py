"""kernels.py and beside: names, rows, configurations, own kernels, and what is said when it fails."""

from __future__ import annotations

import dataclasses
import re
import struct
import subprocess
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest

from aiotorture import (
    buildroot,
    debugkernel,
    kconfig,
    kernels,
    kerneltable,
    ownkernel,
    paths,
    stockkernel,
)
from aiotorture.archive import Archive, DownloadFailed, Package
from aiotorture.errors import ConfigurationError
from aiotorture.kerneltable import Kernel, Kind, Row


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def kernel(release: str, *features: str) -> Kernel:
    return Kernel("x", "", release, "1", "/", "/i", "/m", "/h", "b", (), features=features)


# What Debian's lists named on one day, image packages and one that looks like them.
@pytest.mark.parametrize(
    ("row", "package", "abi"),
    [
        ("5.10", "linux-image-5.10.0-46-amd64-unsigned", "5.10.0-46"),
        ("5.10", "linux-image-5.10.0-46-rt-amd64-unsigned", None),
        ("5.10-rt", "linux-image-5.10.0-46-rt-amd64-unsigned", "5.10.0-46"),
        ("6.1", "linux-image-6.1.0-56-amd64-unsigned", "6.1.0-56"),
        ("6.1", "linux-image-6.1.0-56-cloud-amd64-unsigned", None),
        ("6.12", "linux-image-6.12.117+deb12-amd64-unsigned", "6.12.117+deb12"),
        ("6.12", "linux-image-6.12.90+deb12.1-amd64-unsigned", "6.12.90+deb12.1"),
        ("6.12", "linux-image-6.12.117+deb13-amd64-unsigned", None),
        ("7.3", "linux-binary-unsigned-7.3.4+deb13-amd64", "7.3.4+deb13"),
        ("7.3-rt", "linux-binary-unsigned-7.3.4+deb13-rt-amd64", "7.3.4+deb13"),
    ],
)
def test_rows_match_the_archives_names(row: str, package: str, abi: str | None) -> None:
    named = re.fullmatch(kernels.row_of(row).image, package)
    assert (named.group("abi") if named else None) == abi


def test_table_is_whole() -> None:
    table = tomllib.loads((paths.ORCHESTRATE / "kernels.toml").read_text())
    assert kernels.default_series() == ["6.1"]
    for family in table["debug"]:
        made = kconfig.parse(kconfig.fragment_text(family))
        checks = table["debug"][family]["checks"]
        assert kconfig.absent(made, checks) == []
    assert {"kasan", "7.3-kasan", "6.12-lockdep"} <= set(kernels.rows())


def test_families_share_no_check_that_costs() -> None:
    costly = {"KASAN", "KCSAN", "PROVE_LOCKING", "DEBUG_KMEMLEAK", "DEBUG_OBJECTS", "DMA_API_DEBUG"}
    common = kconfig.parse((kconfig.FRAGMENTS / "common.config").read_text())
    assert not costly & set(common)


def test_unknown_names() -> None:
    with pytest.raises(ConfigurationError, match="unknown kernel '9.9'; there are 5.10"):
        kernels.names(["9.9"])
    with pytest.raises(ConfigurationError, match="preemption 'weird'"):
        kernels.names(["6.1+weird"])
    with pytest.raises(ConfigurationError, match="no kernel at /no/such"):
        kernels.names(["/no/such"])
    assert kernels.names(["6.1", "6.1+full"]) == ["6.1", "6.1+full"]


@pytest.mark.parametrize(
    ("release", "features", "modes"),
    [
        ("5.10.0-46-amd64", (), ()),
        ("6.1.0-56-amd64", ("PREEMPT_DYNAMIC",), ("none", "voluntary", "full")),
        ("6.18.1", ("PREEMPT_DYNAMIC",), ("none", "voluntary", "full", "lazy")),
        ("7.3.4+deb13-amd64", ("PREEMPT_DYNAMIC",), ("full", "lazy")),
        ("6.12.117+deb12-rt-amd64", ("PREEMPT_RT", "PREEMPT_DYNAMIC"), ("full", "lazy")),
        ("6.1.0-56-rt-amd64", ("PREEMPT_RT",), ()),
    ],
)
def test_preemption_modes(release: str, features: tuple[str, ...], modes: tuple[str, ...]) -> None:
    assert kernels.preempt_modes(kernel(release, *features)) == modes


def test_pin_survives_and_needs_its_files(tmp_path: Path) -> None:
    image = tmp_path / "vmlinuz"
    image.write_bytes(b"")
    made = dataclasses.replace(
        kernel("6.1.0-56-amd64", "PREEMPT_DYNAMIC"),
        series="6.1",
        image=str(image),
        headers=str(tmp_path),
        cmdline=(),
        passed_over=("a",),
    )
    kerneltable.pin(made)
    assert kernels.pinned("6.1") == made
    assert kernels.ensure("6.1+full").cmdline == ("preempt=full",)
    with pytest.raises(ConfigurationError, match="cannot be booted preempt=lazy"):
        kernels.ensure("6.1+lazy")
    image.unlink()
    assert kernels.pinned("6.1") is None


class _Lists(Archive):
    """An archive whose lists are given, and whose mirror delivers."""

    def __init__(self, listed: list[Package]) -> None:
        super().__init__(["stable"])
        self._listed = listed
        self.asked: list[tuple[str, str]] = []

    def packages(self, pattern: str) -> list[Package]:
        return [p for p in self._listed if re.fullmatch(pattern, p.name)]

    def download(self, packages: Sequence[tuple[str, str]], into: Path) -> list[Path]:
        self.asked = list(packages)
        return []


def _recorded_5_10_rt() -> list[Package]:
    """As bullseye-security's lists had it: image and headers of two versions, one set of tools."""
    found = []
    for abi, version in (("5.10.0-46", "5.10.262-1"), ("5.10.0-45", "5.10.259-1")):
        common = f"linux-headers-{abi}-common-rt"
        depends = (common, "linux-kbuild-5.10", "linux-compiler-gcc-10-x86")
        found += [
            Package(f"linux-image-{abi}-rt-amd64-unsigned", version, ("linux-base",)),
            Package(f"linux-headers-{abi}-rt-amd64", version, depends),
            Package(common, version, ()),
        ]
    return [*found, Package("linux-kbuild-5.10", "5.10.262-1", ())]


def test_older_version_when_the_mirror_lacks_the_newest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = _Lists(_recorded_5_10_rt())
    seen: list[list[str]] = []

    def unpacked(debs: list[Path], row: Row, abi: str, version: str, skipped: list[str]) -> Kernel:
        seen.append(list(skipped))
        return kernel(abi)

    monkeypatch.setattr(stockkernel, "_unpack", unpacked)
    row = kernels.row_of("5.10-rt")
    assert stockkernel.newest(row, archive).release == "5.10.0-46"
    assert ("linux-headers-5.10.0-46-common-rt", "5.10.262-1") in archive.asked

    def without_newest_image(packages: Sequence[tuple[str, str]], into: Path) -> list[Path]:
        archive.asked = list(packages)
        if packages[0][1] == "5.10.262-1":
            raise DownloadFailed("404  Not Found")
        return []

    monkeypatch.setattr(archive, "download", without_newest_image)
    assert stockkernel.newest(row, archive).release == "5.10.0-45"
    assert ("linux-kbuild-5.10", "5.10.262-1") in archive.asked
    assert seen[-1] == ["linux-image-5.10.0-46-rt-amd64-unsigned 5.10.262-1: 404  Not Found"]
    assert "passed over linux-image-5.10.0-46-rt" in capsys.readouterr().err


def test_nothing_listed_is_one_line() -> None:
    with pytest.raises(ConfigurationError, match="could be fetched .*: the lists name none"):
        stockkernel.newest(kernels.row_of("6.1"), _Lists([]))


def test_kconfig_text() -> None:
    options = kconfig.parse("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\nCONFIG_A=n\n")
    assert options == {"A": "n", "B": "n", "C": "m"}
    assert kconfig.absent(options, ["A", "C", "D"]) == ["A", "D"]
    assert kconfig.refused({"A": "y", "B": "n", "C": "m", "E": "n"}, options) == ["A"]


def test_configuration_decides_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debugkernel, "compiler", lambda: ("gcc", "gcc 12.2.0"))
    kasan = debugkernel.config_id(kernels.row_of("kasan"))
    assert kasan == debugkernel.config_id(kernels.row_of("7.3-kasan"))
    assert kasan != debugkernel.config_id(kernels.row_of("lockdep"))
    monkeypatch.setattr(debugkernel, "compiler", lambda: ("gcc", "gcc 12.3.0"))
    assert kasan != debugkernel.config_id(kernels.row_of("kasan"))


def test_a_run_that_may_not_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOTORTURE_BUILD_KERNELS", "0")
    with pytest.raises(ConfigurationError, match="kernel kasan is not built"):
        kernels.ensure("kasan")
    monkeypatch.delenv("AIOTORTURE_BUILD_KERNELS")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(ConfigurationError, match="this run builds none"):
        kernels.ensure("kasan")
    with pytest.raises(ConfigurationError, match="not built but fetched"):
        kernels.build("6.1")


def test_progress_counts_what_make_does() -> None:
    said: list[str] = []
    progress = debugkernel.Progress("kasan", 200, said.append, began=0.0, last=-1e9)
    for line in ("make[1]: Entering", "  CC      fs/aio.o\n", "  LD [M]  fs/ext4/ext4.o", "warning"):
        progress.line(line)
    assert progress.steps == 2
    assert "kasan:  0 %  1 of about 200 steps" in said[0] and said[0].endswith("fs/aio.o")


def _bzimage(path: Path, release: str) -> Path:
    head = bytearray(0x2000)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x1000 - 0x200)
    text = f"{release} (u@h) #1 SMP\0".encode()
    head[0x1000 : 0x1000 + len(text)] = text
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(head)
    return path


def _installs_modules(release: str) -> str:
    target = f"$(INSTALL_MOD_PATH)/lib/modules/{release}"
    return (
        "modules_install:\n"
        f"\tmkdir -p {target}/kernel/drivers\n"
        f"\ttouch {target}/kernel/drivers/x.ko {target}/modules.builtin\n"
    )


def _built_tree(tree: Path, release: str) -> Path:
    _bzimage(tree / "arch/x86/boot/bzImage", release)
    config = "".join(f"CONFIG_{name}=y\n" for name in kconfig.GUEST_NEEDS)
    (tree / ".config").write_text(config + 'CONFIG_KASAN=y\nCONFIG_CC_VERSION_TEXT="sh (Debian) 1"\n')
    for name, text in (
        ("Makefile", _installs_modules(release)),
        ("modules.order", ""),
        ("modules.builtin", ""),
        ("include/generated/autoconf.h", ""),
        ("include/generated/utsrelease.h", f'#define UTS_RELEASE "{release}"\n'),
        ("scripts/mod/modpost", ""),
        ("kernel/exit.c", ""),
    ):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    return tree


def test_own_tree_by_path_and_by_name(tmp_path: Path) -> None:
    tree = _built_tree(tmp_path / "linux", "6.9.0-mine")
    (name,) = kernels.names([str(tree)])
    assert kernels.names([str(tree)]) == [name]
    resolved = kernels.ensure(name)
    assert (resolved.release, resolved.kind) == ("6.9.0-mine", Kind.OWN.value)
    assert resolved.features == ("KASAN",)
    assert resolved.compiler == "sh"
    assert kernels.kbuild_argv(resolved, tmp_path, ["modules"])[-2:] == ["CC=sh", "modules"]
    assert Path(resolved.image).is_file()
    # of what the tree installs, not of its own folder `kernel`
    installed = sorted(each.name for each in Path(resolved.modules).rglob("*.*"))
    assert installed == ["modules.builtin", "x.ko"]
    image = tree / "arch/x86/boot/bzImage"
    image.write_bytes(image.read_bytes() + b"built again")
    assert kernels.ensure(name).build_id != resolved.build_id


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("arch/x86/boot/bzImage", "is not built"),
        ("include/generated/autoconf.h", "headers of 6.9.0 are not complete"),
        ("include/generated/utsrelease.h", "headers are missing"),
        ("modules.order", "make modules"),
        (".config", "neither a built tree"),
    ],
)
def test_own_tree_that_lacks_something(tmp_path: Path, missing: str, message: str) -> None:
    tree = _built_tree(tmp_path / "linux", "6.9.0")
    (tree / missing).unlink()
    with pytest.raises(ConfigurationError, match=message):
        ownkernel.add("mine", tree, None, None)


def test_own_kernel_with_wrong_headers_or_configuration(tmp_path: Path) -> None:
    tree = _built_tree(tmp_path / "linux", "6.9.0")
    other = _built_tree(tmp_path / "other", "6.8.0")
    with pytest.raises(ConfigurationError, match="the image is 6.9.0, but its headers are 6.8.0"):
        ownkernel.add("mine", tree, other, None)
    with pytest.raises(ConfigurationError, match="in kernels.toml"):
        ownkernel.add("6.1", tree, None, None)
    config = tree / ".config"
    config.write_text(config.read_text() + "# CONFIG_VIRTIO_CONSOLE is not set\n")
    with pytest.raises(ConfigurationError, match="lacks CONFIG_VIRTIO_CONSOLE"):
        ownkernel.add("mine", tree, None, None)
    (tmp_path / "text").write_text("no image")
    with pytest.raises(ConfigurationError, match="not a bzImage"):
        ownkernel.add("mine", tmp_path / "text", None, None)


def test_module_for_another_kernel(tmp_path: Path) -> None:
    module = tmp_path / "my.ko"
    module.write_bytes(b"\x7fELF\0license=GPL\0vermagic=6.1.0-55-amd64 SMP preempt\0")
    kernels.check_module(kernel("6.1.0-55-amd64"), module)
    with pytest.raises(ConfigurationError, match="built for 6.1.0-55-amd64, not for 6.1.0-56-amd64"):
        kernels.check_module(kernel("6.1.0-56-amd64"), module)
    module.write_bytes(b"text")
    with pytest.raises(ConfigurationError, match="no vermagic"):
        kernels.check_module(kernel("6.1.0-56-amd64"), module)


def test_build_root_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    argv = buildroot.argv_inside(tmp_path, ["true"], [Path("/no/such")])
    said = subprocess.run(list(map(str, argv)), capture_output=True, text=True, check=False)
    assert said.returncode == 126
    assert said.stderr.startswith("Error: cannot enter the build root")
    assert len(said.stderr.splitlines()) == 1
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()
