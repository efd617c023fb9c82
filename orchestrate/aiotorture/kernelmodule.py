"""A module of the kernel's own, patched and built anew: a planted bug, or the repair of a real one.

    linux-source-SERIES of the kernel's very version (signed) -> its folder -> patch -p1 -> Kbuild
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from aiotorture import build, kernelpatch, kernels, kerneltable, paths, processes
from aiotorture.archive import Archive
from aiotorture.errors import ConfigurationError
from aiotorture.kernelpatch import KernelPatch
from aiotorture.kernels import Kernel

UNPACK_TIMEOUT_S = 600.0
FOLDER = "drivers/usb/gadget"
# Where a module's Makefile goes, and what it says.
MAKEFILES = {
    "usb_f_fs": ("function", "obj-m := usb_f_fs.o\nusb_f_fs-y := f_fs.o\nccflags-y := -I$(src)/..\n"),
    "gadgetfs": ("legacy", "obj-m := gadgetfs.o\ngadgetfs-y := inode.o\nccflags-y := -I$(src)/..\n"),
}


def _sources(kernel: Kernel) -> Path:
    """The folder as the kernel was built from it."""
    row = kerneltable.row_of(kernel.series)
    if not row.source:
        raise ConfigurationError(f"kernel {kernel.series}: no sources to patch a module of")
    tree = paths.cache_dir() / "sources" / f"{row.source}_{kernel.version}-gadget"
    whole = paths.cache_dir() / "sources" / f"{row.source}_{kernel.version}"
    with paths.locked(f"sources-{tree.name}"):
        if tree.is_dir():
            return tree
        if whole.is_dir():
            return whole
        archive = Archive(row.suites)
        archive.update()
        with tempfile.TemporaryDirectory(dir=paths.cache_dir()) as scratch:
            (deb,) = archive.download([(row.source, kernel.version)], Path(scratch))
            unpacked = Path(scratch) / "deb"
            _done(["dpkg-deb", "-x", deb, unpacked], f"unpacking {row.source}")
            (tarball,) = (unpacked / "usr/src").glob("linux-source-*.tar.xz")
            with paths.published(tree) as fresh:
                tar: list[str | Path] = ["tar", "-xJf", tarball, "--strip-components=1", "-C", fresh]
                _done([*tar, "--wildcards", f"*/{FOLDER}/*"], f"unpacking {tarball.name}")
    return tree


def _done(argv: list[str | Path], what: str) -> None:
    said = processes.output(argv, timeout_s=UNPACK_TIMEOUT_S)
    if said.returncode:
        raise ConfigurationError(f"{what}: {said.stdout.strip().splitlines()[-1:]}")


def built(kernel: Kernel, patches: Sequence[KernelPatch]) -> Path:
    """The module with these patches of it, one after another, without debug data. ConfigurationError
    with the first complaint of patch or compiler."""
    (name,) = {patch.module for patch in patches}
    texts = [patch.text.encode() for patch in patches]
    key = paths.content_hash([kernel.modules_id.encode(), *texts])
    destination = paths.cache_dir() / "modules" / f"kernel-{key}"
    module = destination / f"{name}.ko"
    with paths.locked(f"modules-kernel-{key}"):
        if module.is_file():
            return module
        sources = _sources(kernel)
        what = "+".join((name, *(patch.name for patch in patches)))
        log = build.new_log(f"kbuild-{what}-{kernel.release}")
        with paths.published(destination) as scratch:
            tree = scratch / "tree"
            shutil.copytree(sources / FOLDER, tree / FOLDER)
            for patch in patches:
                kernelpatch.apply(patch.name, patch.text, tree)
            folder, makefile = MAKEFILES[name]
            place = tree / FOLDER / folder
            (place / "Makefile").write_text(makefile)
            argv = kernels.kbuild_argv(kernel, place, ["modules"])
            build.run_step(argv, build.KBUILD_TIMEOUT_S, log, f"{what} for {kernel.release}")
            build.strip_debug(place / f"{name}.ko", scratch / f"{name}.ko")
            shutil.rmtree(tree)
    return module
