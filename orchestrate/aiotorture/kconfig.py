"""Kernel configurations: the text of a .config, and fragments against what became of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from aiotorture import paths

FRAGMENTS = paths.ORCHESTRATE / "kconfig"
# What /init and the agent's port need; a kernel without one of them never comes to "ready".
GUEST_NEEDS = (
    "MODULES", "BLK_DEV_INITRD", "BINFMT_ELF", "BINFMT_SCRIPT", "DEVTMPFS", "PROC_FS", "SYSFS",
    "TMPFS", "DEBUG_FS", "AIO", "PCI", "VIRTIO_PCI", "VIRTIO_CONSOLE", "SERIAL_8250_CONSOLE",
)  # fmt: skip


def parse(text: str) -> dict[str, str]:
    """Options by name without CONFIG_; `n` for "is not set". The last statement counts, as it does
    for Kconfig (scripts/kconfig/confdata.c, conf_read_simple)."""
    options: dict[str, str] = {}
    for line in text.splitlines():
        if found := re.match(r"CONFIG_(\w+)=(.*)", line):
            options[found[1]] = found[2]
        elif found := re.match(r"# CONFIG_(\w+) is not set", line):
            options[found[1]] = "n"
    return options


def read(path: Path) -> dict[str, str]:
    return parse(path.read_text())


def is_on(options: Mapping[str, str], name: str) -> bool:
    return options.get(name) in ("y", "m")


def absent(options: Mapping[str, str], wanted: Iterable[str]) -> list[str]:
    """Those of the wanted options that are neither built in nor modules."""
    return [name for name in wanted if not is_on(options, name)]


def refused(fragment: Mapping[str, str], made: Mapping[str, str]) -> list[str]:
    """Options of a fragment that Kconfig did not take: unknown to this version, or a dependency is
    not met."""
    return [name for name, value in fragment.items() if made.get(name, "n") != value]


def fragment_text(family: str) -> str:
    """The common fragment, then the family's."""
    parts = [FRAGMENTS / "common.config", FRAGMENTS / f"{family}.config"]
    return "".join(part.read_text() for part in parts)
