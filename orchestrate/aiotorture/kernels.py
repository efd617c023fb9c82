"""Kernels by name: what is here, and how it comes here.

A name stands for what was resolved when it was first used, also without a network, until
`kernels fetch` or `kernels build` asks again. An own kernel is looked at anew each time.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

from aiotorture import (
    buildroot,
    debugkernel,
    kernelimage,
    kernelpatch,
    kerneltable,
    ownkernel,
    packages,
    paths,
    stockkernel,
)
from aiotorture.errors import ConfigurationError
from aiotorture.kerneltable import (
    HOST_TOOLS,
    Kernel,
    Kind,
    Row,
    default_series,
    pinned,
    row_of,
    rows,
    split_name,
)

__all__ = [
    "Kernel", "Kind", "Row", "build", "check_module", "default_series", "ensure", "fetch",
    "host", "kbuild_argv", "keeps_time", "names", "pinned", "preempt_modes", "row_of", "rows", "slowdown",
]  # fmt: skip

PREEMPT_MODES = ("none", "voluntary", "full", "lazy")


def names(words: Sequence[str]) -> list[str]:
    """What --kernel was given: names as they are, a path as the own kernel that it stands for."""
    found = []
    for word in words:
        base, mode = split_name(word)
        if base not in rows() and ("/" in word or Path(word).exists()):
            found.append(ownkernel.name_for(Path(word)))
            continue
        row_of(base)
        if mode and mode not in PREEMPT_MODES and not kernelpatch.is_patch(mode):
            raise ConfigurationError(f"preemption {mode!r}: one of {', '.join(PREEMPT_MODES)}")
        found.append(word)
    return found


def preempt_modes(kernel: Kernel) -> tuple[str, ...]:
    """What preempt= can be (kernel/sched/core.c, sched_dynamic_mode): lazy came in 6.13, with the
    realtime patch before; realtime, and since 7.0 every x86, takes only full and lazy."""
    if "PREEMPT_DYNAMIC" not in kernel.features:
        return ()
    found = re.match(r"(\d+)\.(\d+)", kernel.release)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version >= (7, 0) or "PREEMPT_RT" in kernel.features:
        return ("full", "lazy")
    return PREEMPT_MODES if version >= (6, 13) else PREEMPT_MODES[:3]


def _with_preemption(kernel: Kernel, name: str) -> Kernel:
    _, mode = split_name(name)
    if not mode:
        return kernel
    offered = preempt_modes(kernel)
    if mode not in offered:
        has = f"has {', '.join(offered)}" if offered else "has no PREEMPT_DYNAMIC"
        raise ConfigurationError(f"kernel {kernel.series} cannot be booted preempt={mode}: it {has}")
    return dataclasses.replace(kernel, series=name, cmdline=(f"preempt={mode}",))


def fetch(name: str) -> Kernel:
    """Resolves the newest version now and pins it: a stock kernel is downloaded, a debug kernel
    built if it is not, an own kernel looked at."""
    row = row_of(name)
    if row.kind is Kind.OWN:
        return _with_preemption(ownkernel.resolve(row), name)
    if row.kind is Kind.DEBUG:
        return _with_preemption(build(row.series), name)
    packages.ensure(("debian-archive-keyring",))
    with paths.locked(f"kernel-{row.series}"):
        return _with_preemption(kerneltable.pin(stockkernel.fetch(row)), name)


def build(name: str) -> Kernel:
    """Builds a debug kernel from the newest sources of its series, unless that is done."""
    row = row_of(name)
    if row.kind is not Kind.DEBUG:
        raise ConfigurationError(f"kernel {row.series} is not built but fetched: kernels fetch")
    return kerneltable.pin(debugkernel.build(row, refresh=True))


def ensure(name: str) -> Kernel:
    """The pinned kernel, or a newly fetched or built one."""
    if name == Kind.HOST.value:
        return host()
    base, word = split_name(name)
    if kernelpatch.is_patch(word):
        return kernelimage.built(ensure(base), kernelpatch.named(word))
    row = row_of(name)
    if row.kind is Kind.OWN:
        return _with_preemption(ownkernel.resolve(row), name)
    if row.kind is Kind.DEBUG:
        kernel = kerneltable.pin(debugkernel.build(row, refresh=False))
        return _with_preemption(kernel, name)
    kernel_here = pinned(row.series)
    return _with_preemption(kernel_here, name) if kernel_here else fetch(name)


def host() -> Kernel:
    """The kernel that runs here, for cells that need nothing of it but itself."""
    name = os.uname()
    return Kernel(
        series="local", abi=name.release, release=name.release, version=name.version, folder="",
        image="", modules="", headers="", build_id=paths.content_hash([name.version.encode()]),
        packages=(), kind=Kind.HOST.value,
    )  # fmt: skip


def _options(name: str) -> tuple[str, ...]:
    """Those that change how a race goes; none of a kernel that is not there to be asked."""
    if name == Kind.HOST.value:
        return ()
    row = row_of(name)
    _, headers, _ = row.paths or ("", "", "")
    return kerneltable.features_of(Path(headers)) if row.kind is Kind.OWN else row.checks


def slowdown(name: str) -> float:
    """How many times as long a race takes on the kernel as on a stock one; 1 for those."""
    return kerneltable.slowdown(_options(name))


def keeps_time(name: str) -> bool:
    """Whether how long a request took says anything of its driver: KCSAN stalls whoever it watches
    (kernel/kcsan/core.c, kcsan_setup_watchpoint(): 80 us in a task, 20 us in an interrupt)."""
    return "KCSAN" not in _options(name)


def kbuild_argv(kernel: Kernel, module_folder: Path, goals: Sequence[str]) -> list[str | Path]:
    """The make that builds external modules for the kernel: with the host's tools, or inside the
    root that has the kernel's. The folder must lie under the cache."""
    argv: list[str | Path] = [
        "make", f"-j{os.cpu_count() or 1}", "-C", kernel.headers, f"M={module_folder}",
    ]  # fmt: skip
    # no type information of the module's: it wants pahole of the kernel's version (Makefile.modfinal)
    argv.append("CONFIG_DEBUG_INFO_BTF_MODULES=")
    # … so that a pahole of another version, or none, is no warning (7.x: Makefile, prepare)
    argv.append("PAHOLE_VERSION=$(CONFIG_PAHOLE_VERSION)")
    if kernel.compiler:
        argv.append(f"CC={kernel.compiler}")
    argv += goals
    if kernel.tools == HOST_TOOLS:
        return argv
    root = buildroot.ensure(kernel.tools, kernel.compiler)
    return buildroot.argv_inside(root, argv, [paths.cache_dir()])


def vermagic(module: bytes) -> str:
    """The release that a module was built for (kernel/module: check_modinfo)."""
    start = module.find(b"\0vermagic=") + 1
    if not start:
        start = module.find(b"vermagic=")
        if start < 0:
            return ""
    words = module[start:].split(b"\0", 1)[0].decode(errors="replace")
    return words.removeprefix("vermagic=").split(" ")[0]


def check_module(kernel: Kernel, module: Path) -> None:
    """ConfigurationError when the kernel would refuse the module for its version."""
    built_for = vermagic(module.read_bytes())
    if not built_for:
        raise ConfigurationError(f"{module} is not a kernel module: it has no vermagic")
    if built_for != kernel.release:
        raise ConfigurationError(f"{module} is built for {built_for}, not for {kernel.release}")
