"""Patched modules of the kernel: what names them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiotorture import kernelmodule, paths, targets
from aiotorture.errors import ConfigurationError

FOLDERS = (paths.ROOT / "mutants" / "kernel", paths.ORCHESTRATE / "targets" / "gadget" / "repairs")
PATCHES = sorted(path for folder in FOLDERS for path in folder.glob("*.patch"))


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_each_patch_names_its_module_and_changes_that_modules_file(path: Path) -> None:
    patch = kernelmodule.read_patch(path)
    assert f"Name: {path.stem}\n" in patch.text
    file = {"usb_f_fs": "function/f_fs.c", "gadgetfs": "legacy/inode.c"}[patch.module]
    changed = [line[6:] for line in patch.text.splitlines() if line.startswith("+++ b/")]
    assert changed == [f"drivers/usb/gadget/{file}"]


def test_a_target_with_a_patch_is_a_target_of_its_own() -> None:
    plain = targets.named("functionfs")
    mended = targets.named("functionfs+mm-dropped")
    assert mended.name == "functionfs+mm-dropped"
    assert mended.row == plain.row and mended.node == plain.node
    assert plain.described is not None and mended.described is not None
    assert not plain.described.patches
    assert [patch.module for patch in mended.described.patches] == ["usb_f_fs"]


def test_an_unknown_patch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown patch 'no-such'"):
        targets.named("functionfs+no-such")
    odd = tmp_path / "odd.patch"
    odd.write_text("Name: odd\nModule: vmlinux\n\n--- a/x\n+++ b/x\n")
    with pytest.raises(ConfigurationError, match="Module is 'vmlinux'"):
        kernelmodule.read_patch(odd)
