"""The image of a debug kernel with a patch in what is built into it: fs/aio.c, mostly.

    the build of the debug kernel -> copied once, beside it -> the patched file laid into the copy ->
    make bzImage: one object and the link -> kept under the hash of build and patch

Kbuild looks for a source in the folder of the build before it looks among the sources (VPATH), so that
nothing but the patched file is a copy. Modules and headers are those of the debug kernel: a patch may
change .c files alone, and what those show to others stays as it is.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from aiotorture import debugkernel, kernelpatch, kerneltable, paths, sites
from aiotorture.errors import ConfigurationError
from aiotorture.kernelpatch import KernelPatch
from aiotorture.kerneltable import Kernel, Kind
from aiotorture.sites import Site

LINK_TIMEOUT_S = 1800.0
IMAGE = "arch/x86/boot/bzImage"
SITES = "aio-sites.json"


def built(base: Kernel, patch: KernelPatch) -> Kernel:
    """The debug kernel with the patch. ConfigurationError with the first complaint of patch or
    compiler, and for a kernel or a patch that this is not for."""
    name = f"{base.series}+{patch.name}"
    if base.kind != Kind.DEBUG.value:
        raise ConfigurationError(f"kernel {name}: only a debug kernel is linked anew, {base.series} is none")
    if patch.module != kernelpatch.IMAGE:
        raise ConfigurationError(f"kernel {name}: the patch is of {patch.module}, a module: functionfs+{patch.name}")
    odd = [file for file in patch.files() if not file.endswith(".c")]
    if odd or not patch.files():
        raise ConfigurationError(f"kernel {name}: a patch of the image changes .c files alone, not {odd}")
    key = paths.content_hash([base.build_id.encode(), patch.diff.encode()])
    destination = kerneltable.folder() / f"patched-{key}"
    image = destination / "bzImage"
    if not (destination / SITES).is_file():  # of the last step
        with paths.locked(f"patched-{Path(base.folder).name}"):
            if not (destination / SITES).is_file():
                _link(base, patch, destination)
    return dataclasses.replace(
        base,
        series=name,
        image=str(image),
        build_id=hashlib.sha256(image.read_bytes()).hexdigest()[:16],
        built_for=base.built_for or base.build_id,
    )


@functools.lru_cache(maxsize=8)
def sites_of(kernel: Kernel) -> tuple[Site, ...]:
    """The instructions of its fs/aio.c (aiotorture.sites); none for an image that was not linked here."""
    if kernel.built_for:
        return tuple(sites.read(Path(kernel.image).with_name(SITES)))
    return tuple(sites.of_kernel_build(Path(kernel.headers)))


def _link(base: Kernel, patch: KernelPatch, destination: Path) -> None:
    print(f"set-up: linking kernel {base.series} with {patch.name}", file=sys.stderr, flush=True)
    began = time.monotonic()
    sources = debugkernel.source_folder(base.packages[0].partition("_")[0], base.version)
    work = _copy_of_build(base)
    with tempfile.TemporaryDirectory(dir=paths.cache_dir()) as scratch:
        for file in patch.files():
            (Path(scratch) / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(sources / file, Path(scratch) / file)
        kernelpatch.apply(patch.name, patch.text, Path(scratch))
        laid = [work / file for file in patch.files()]
        try:
            for file in patch.files():
                shutil.copyfile(Path(scratch) / file, work / file)
            goals = [f"-j{os.cpu_count() or 1}", "bzImage"]
            what = f"kernel {base.series} with {patch.name}"
            debugkernel.make(sources, work, goals, LINK_TIMEOUT_S, what)
            with paths.published(destination) as fresh:
                shutil.copyfile(work / IMAGE, fresh / "bzImage")
                (fresh / SITES).write_bytes(sites.stored(sites.of_kernel_build(work)))
        finally:
            for path in laid:  # the next patch is of the sources
                path.unlink(missing_ok=True)
    took = time.monotonic() - began
    print(f"set-up: kernel {base.series} with {patch.name} linked in {took:.0f} s", file=sys.stderr, flush=True)


def _copy_of_build(base: Kernel) -> Path:
    """Where patched kernels are linked, one after another. Times are kept: make goes by them.

    What Kbuild keeps says no place, but for the host's tools (tools/build/Build.include): they would be
    made anew, and then all objects that objtool looked at (scripts/Makefile.build, gen_objtooldep).
    """
    work = Path(base.folder) / "patched"
    if not work.is_dir():
        with paths.published(work) as fresh:
            shutil.copytree(base.headers, fresh, symlinks=True, dirs_exist_ok=True)
            for kept in (fresh / "tools").rglob(".*.cmd"):
                kept.write_text(kept.read_text().replace(base.headers, str(work)))
    return work
