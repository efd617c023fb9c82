"""Patches of the kernel's own code: what names them, what they are built into, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from aiotorture import kernelimage, kernelpatch, kernels, paths, sites, targets
from aiotorture.errors import ConfigurationError
from aiotorture.kerneltable import Kernel
from aiotorture.score import kernel_mutants, planted, search

PATCHES = sorted(
    path for folder in (kernelpatch.MUTANTS, kernelpatch.REPAIRS) for path in folder.glob("*.patch")
)
FILES = {
    "usb_f_fs": "drivers/usb/gadget/function/f_fs.c",
    "gadgetfs": "drivers/usb/gadget/legacy/inode.c",
    "vmlinux": "fs/aio.c",
}


def debug_kernel(tmp_path: Path) -> Kernel:
    return Kernel(
        series="kasan", abi="", release="6.1.1-kasan", version="6.1.1-1", folder=str(tmp_path),
        image=str(tmp_path / "bzImage"), modules="", headers=str(tmp_path), build_id="base",
        packages=("linux-source-6.1_6.1.1-1",), kind="debug",
    )  # fmt: skip


@pytest.mark.parametrize("path", PATCHES, ids=lambda path: path.stem)
def test_each_patch_names_what_it_is_built_into_and_changes_that_file(path: Path) -> None:
    patch = kernelpatch.read(path)
    assert patch.header["Name"] == path.stem
    assert patch.files() == [FILES[patch.module]]


@pytest.mark.parametrize("name", kernelpatch.mutant_names())
def test_each_mutant_says_where_it_can_be_seen(name: str) -> None:
    header = kernelpatch.named(name).header
    assert tuple(header) == kernel_mutants.HEADER
    assert all(header.values())
    assert header["Race"] in ("yes", "no")
    assert header["Target"] in targets.names()
    assert header["Kernel"] in kernels.rows()
    if header["Module"] == kernelpatch.IMAGE:
        assert kernels.row_of(header["Kernel"]).kind is kernels.Kind.DEBUG


def sources_here() -> Path | None:
    """Of 6.1, as a debug build or a patched module has left them in the cache."""
    found = [*(paths.cache_dir() / "sources").glob("linux-source-6.1_*")]
    return next((tree for tree in sorted(found, reverse=True) if (tree / "fs/aio.c").is_file()), None)


@pytest.mark.parametrize("name", kernelpatch.mutant_names())
def test_each_mutant_applies_without_fuzz(name: str, tmp_path: Path) -> None:
    sources = sources_here()
    if sources is None:
        pytest.skip("no sources of 6.1 in the cache: ./aiotorture kernels build kasan")
    patch = kernelpatch.named(name)
    for file in patch.files():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sources / file, tmp_path / file)
    kernelpatch.apply(patch.name, patch.text, tmp_path)


def test_there_are_twelve_of_the_core_and_of_functionfs() -> None:
    modules = [kernelpatch.named(name).module for name in kernelpatch.mutant_names()]
    assert len(modules) >= 12
    assert modules.count(kernelpatch.IMAGE) >= 6
    assert modules.count("usb_f_fs") >= 6


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
    odd.write_text("Name: odd\nModule: ext4\n\n--- a/x\n+++ b/x\n")
    with pytest.raises(ConfigurationError, match="Module is 'ext4'"):
        kernelpatch.read(odd)


def test_a_patch_of_the_image_is_a_kernel_and_no_target(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--kernel kasan\+aio-cancel-completes"):
        targets.named("functionfs+aio-cancel-completes")
    assert kernels.names(["kasan+aio-cancel-completes"]) == ["kasan+aio-cancel-completes"]
    with pytest.raises(ConfigurationError, match="preemption 'aio-no-such'"):
        kernels.names(["kasan+aio-no-such"])
    base = debug_kernel(tmp_path)
    patch = kernelpatch.named("aio-cancel-completes")
    with pytest.raises(ConfigurationError, match="only a debug kernel"):
        kernelimage.built(dataclasses.replace(base, kind="stock"), patch)
    with pytest.raises(ConfigurationError, match=r"functionfs\+ffs-status-lost"):
        kernelimage.built(base, kernelpatch.named("ffs-status-lost"))
    header = dataclasses.replace(patch, text=patch.text.replace("fs/aio.c", "include/linux/aio.h"))
    with pytest.raises(ConfigurationError, match=r"\.c files alone"):
        kernelimage.built(base, header)


def test_an_image_that_is_here_is_taken_and_its_modules_are_the_base_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    base = debug_kernel(tmp_path)
    patch = kernelpatch.named("aio-cancel-completes")
    key = paths.content_hash([base.build_id.encode(), patch.diff.encode()])
    image = tmp_path / "aiotorture" / "kernels" / f"patched-{key}" / "bzImage"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"linked")
    site = sites.Site("kill_ioctx", 0x10, 0x2010, 128)
    (image.parent / kernelimage.SITES).write_bytes(sites.stored([site]))
    made = kernelimage.built(base, patch)
    assert made.series == "kasan+aio-cancel-completes" and made.image == str(image)
    assert made.build_id != base.build_id
    assert made.modules_id == base.modules_id
    assert kernelimage.sites_of(made) == (site,)


def test_the_search_for_a_kernel_mutant_goes_on_in_rounds_of_its_target() -> None:
    (of_image,) = kernel_mutants.chosen(["kernel/aio-cancel-completes"], "driver")
    (of_module,) = kernel_mutants.chosen(["kernel/ffs-status-lost"], "driver")
    asked = planted.Method(kernels=("6.1",), blind=True)
    for one, kernel, target in (
        (of_image, "kasan+aio-cancel-completes", "zcdma"),
        (of_module, "6.1", "functionfs+ffs-status-lost"),
    ):
        method = one.method(asked)
        assert method.budget_s == kernel_mutants.BUDGET_S and not method.blind
        cells = search.cells_for(one, method.kernels[0], 1, method.slice_time)
        assert {(cell.kernel, cell.target) for cell in cells} == {(kernel, target)}
        assert all(cell.mutant is None for cell in cells)
        assert {cell.end_at_finding for cell in cells} == {target == "zcdma"}
        assert len({cell.id for cell in cells}) == len(cells)
        assert len({cell.plan.seed for cell in cells}) == len(cells)


def test_sets_of_mutants() -> None:
    of_kernel = kernel_mutants.chosen((), "kernel")
    assert {one.name for one in of_kernel} == {f"kernel/{name}" for name in kernelpatch.mutant_names()}
    drivers = kernel_mutants.chosen((), "driver")
    assert len(kernel_mutants.chosen((), "all")) == len(of_kernel) + len(drivers)
    assert planted.identity(of_kernel[0], planted.Method(kernels=("6.1",))) == planted.identity(
        of_kernel[0], planted.Method(kernels=("6.12",))
    )
