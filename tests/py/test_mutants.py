"""mutants/: each patch says what it is and applies without fuzz to the sources as they are."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import cast

import pytest

from aiotorture import build, paths
from aiotorture.kernels import Kernel
from aiotorture.score.planted import HEADER, header_of

PATCHES = sorted(build.mutants_folder().glob("driver/*.patch"))


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("sources")
    for name in build.MODULE_FOLDERS:
        shutil.copytree(paths.ROOT / name, tree / name)
    return tree


@pytest.mark.parametrize("patch", PATCHES, ids=[patch.stem for patch in PATCHES])
def test_header_and_diff(patch: Path, sources: Path) -> None:
    text = patch.read_text()
    header = header_of(text)
    assert tuple(header) == HEADER
    assert all(header.values())
    assert header["Name"] == patch.stem
    assert header["Race"] in ("yes", "no")
    argv = ["patch", "-p1", "--batch", "--forward", "--fuzz=0", "--dry-run", "-i", str(patch)]
    said = subprocess.run(argv, cwd=sources, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout


def test_there_are_fifty_driver_mutants_in_ten_classes() -> None:
    headers = [header_of(patch.read_text()) for patch in PATCHES if "driver" in patch.parts]
    assert len(headers) >= 50
    assert len({header["Class"] for header in headers}) >= 10


def test_who_changes_the_injector_does_not_find_the_common_one_in_its_guest() -> None:
    changed = build.Mutant("m", "--- a/fault/holds.c\n+++ b/fault/holds.c\n")
    assert build.injector(cast(Kernel, "kernel"), changed) is None
