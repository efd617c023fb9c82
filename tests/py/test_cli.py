"""The command line: statuses and one-line errors, without a guest."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from aiotorture.cli import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--kernel", "nonsense"],
        ["run", "--faults", "fault irq explode"],
        ["run", "--mutant", "nonsense"],
        ["run", "--time", "soon"],
        ["run", "--jobs", "0"],
        ["repro", "at1-aaaaaaaaaaaaa"],
        ["nonsense"],
    ],
)
def test_bad_usage_is_one_line_and_status_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.splitlines()) == 1 and said.err.startswith("aiotorture: ")


def test_the_usage_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(f"  {name} " in said for name in COMMANDS)


def test_a_dry_run_lists_cells_with_their_plans(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dry-run", "--json", "--seed", "3"]) == 0
    cells = json.loads(capsys.readouterr().out)["cells"]
    assert sum(cell["control"] for cell in cells) == 2
    assert all("scenario " in cell["plan"] and "seed " in cell["plan"] for cell in cells)


def test_the_command_works_from_any_folder(tmp_path: Path) -> None:
    link = tmp_path / "at"
    link.symlink_to(ROOT / "aiotorture")
    said = subprocess.run([link, "kernels", "--json"], cwd=tmp_path, capture_output=True, text=True)
    assert said.returncode == 0
    assert "6.1" in json.loads(said.stdout)


def test_every_command_is_imported_with_the_standard_library_alone() -> None:
    """Set-up installs Debian's packages, so nothing before it may need one."""
    script = """
import importlib.abc, sys

class OnlyStandardLibrary(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top != "aiotorture" and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"{name} is no part of the standard library")
        return None

sys.meta_path.insert(0, OnlyStandardLibrary())
import importlib, pkgutil
import aiotorture.cli, aiotorture.commands
for module in pkgutil.iter_modules(aiotorture.commands.__path__):
    importlib.import_module(f"aiotorture.commands.{module.name}")
"""
    run = subprocess.run(
        ["/usr/bin/python3", "-S", "-c", script],
        env={"PYTHONPATH": str(ROOT / "orchestrate")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
