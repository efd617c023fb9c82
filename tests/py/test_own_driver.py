"""A user's own driver in a guest: the documented example's bug is found, and what cannot be set up is
one clear line."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from aiotorture import results
from aiotorture.results import Verdict

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "timerecho"
RUN_TIMEOUT_S = 600

pytestmark = [pytest.mark.guest, pytest.mark.timeout(RUN_TIMEOUT_S + 60)]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "aiotorture"), *words], capture_output=True, text=True, timeout=RUN_TIMEOUT_S
    )


def copied(folder: Path) -> Path:
    shutil.copytree(EXAMPLE, folder)
    return folder / "target.toml"


def test_the_example_as_the_page_tells_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("timerecho.c", "Kbuild"):
        shutil.copyfile(EXAMPLE / name, mine / name)
    assert run("new", "target", "timerecho", "--dir", str(mine)).returncode == 0
    out = tmp_path / "out"
    said = run(
        "run", "--kernel", "6.1", "--target", str(mine / "target.toml"), "--time", "10s",
        "--out", str(out), "-k", "submit_cancel_race",
    )  # fmt: skip
    assert said.returncode == 1, said.stdout + said.stderr
    found = [c for c in results.read(out).cells if c.verdict is Verdict.FAIL and not c.control]
    assert found and all(cell.target == "timerecho" for cell in found)


def test_the_mended_example_is_silent(tmp_path: Path) -> None:
    target = copied(tmp_path / "mended")
    source = target.with_name("timerecho.c")
    wrong = "\ttimer_delete(&request->timer);\n"
    text = source.read_text()
    assert wrong in text
    source.write_text(text.replace(wrong, "\tif (!timer_delete(&request->timer))\n\t\treturn -EALREADY;\n"))
    out = tmp_path / "out"
    said = run("run", "--kernel", "6.1", "--target", str(target), "--time", "6s", "--out", str(out), "-k", "plain")
    assert said.returncode in (0, 3), said.stdout + said.stderr  # 3: a busy host's contention
    assert all(cell.verdict is not Verdict.FAIL for cell in results.read(out).cells)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("/dev/timerecho", "/dev/absent"), "/dev/absent does not exist once all is loaded"),
        (('source = "."', 'source = "."\nset_up = ["cat /nowhere"]'), "set-up command 'cat /nowhere'"),
        (('source = "."', 'source = "."\nparameters = "latency_ms=soon"'), "module timerecho"),
        (('source = "."', 'source = "."\nneeds = ["no_such_module"]'), "has no module no_such_module"),
    ],
)
def test_what_cannot_be_set_up_is_one_line(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    target = copied(tmp_path / "wrong")
    target.write_text(target.read_text().replace(*change))
    said = run("run", "--kernel", "6.1", "--target", str(target), "-k", "plain")
    assert said.returncode == 2
    assert words in said.stderr and len(said.stderr.splitlines()) == 1


def test_a_source_that_does_not_compile_names_file_and_line(tmp_path: Path) -> None:
    target = copied(tmp_path / "broken")
    source = target.with_name("timerecho.c")
    source.write_text(source.read_text().replace("#include <linux/aio.h>", "#include <linux/absent.h>"))
    said = run("run", "--kernel", "6.1", "--target", str(target), "-k", "plain")
    assert said.returncode == 2
    assert "timerecho.c:" in said.stderr and len(said.stderr.splitlines()) == 1
