"""Patches against the kernel's own sources: planted bugs (mutants/kernel/) and repairs.

A patch begins with lines `Name: value`, an empty line, and then the diff (`patch -p1`, no fuzz).
Its line `Module` says what is built anew: a module (aiotorture.kernelmodule), or `vmlinux`, the image
of a debug kernel (aiotorture.kernelimage).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiotorture import paths, processes
from aiotorture.errors import ConfigurationError

IMAGE = "vmlinux"
MODULES = ("usb_f_fs", "gadgetfs")
MUTANTS = paths.ROOT / "mutants" / "kernel"
REPAIRS = paths.ORCHESTRATE / "targets" / "gadget" / "repairs"
PATCH_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class KernelPatch:
    """A patch against one module of the kernel's sources, or against what is in its image."""

    name: str
    module: str
    text: str
    header: dict[str, str] = field(default_factory=dict, compare=False)

    @property
    def diff(self) -> str:
        """Without the header, which nothing is built from."""
        return self.text.partition("\n\n")[2]

    def files(self) -> list[str]:
        """What it changes, relative to the sources."""
        return re.findall(r"^\+\+\+ b/(\S+)$", self.text, re.MULTILINE)


def read(path: Path) -> KernelPatch:
    """ConfigurationError for a patch whose header names nothing that can be built."""
    text = path.read_text()
    header = dict(line.split(": ", 1) for line in text.split("\n\n", 1)[0].splitlines() if ": " in line)
    module = header.get("Module", "")
    if module not in (IMAGE, *MODULES):
        there = ", ".join((IMAGE, *MODULES))
        raise ConfigurationError(f"{path}: Module is {module!r}; there is: {there}")
    return KernelPatch(path.stem, module, text, header)


def _path_of(name: str) -> Path | None:
    found = [folder / f"{name}.patch" for folder in (MUTANTS, REPAIRS)]
    return next((path for path in found if name and path.is_file()), None)


def is_patch(name: str) -> bool:
    return _path_of(name) is not None


def named(name: str) -> KernelPatch:
    path = _path_of(name)
    if path is None:
        there = sorted(each.stem for folder in (MUTANTS, REPAIRS) for each in folder.glob("*.patch"))
        raise ConfigurationError(f"unknown patch {name!r} of the kernel; there is: {', '.join(there)}")
    return read(path)


def mutant_names() -> list[str]:
    return sorted(path.stem for path in MUTANTS.glob("*.patch"))


def telling_line(text: str, marks: Sequence[str]) -> str:
    """The first line with the first of the marks that occurs at all, else the last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for mark in marks:
        for line in lines:
            if mark in line:
                return line
    return lines[-1] if lines else "no output"


def apply(name: str, text: str, tree: Path) -> None:
    """`patch -p1` without fuzz; ConfigurationError names the hunk that failed."""
    patch = tree / "mutant.patch"
    patch.write_text(text)
    argv = ["patch", "-p1", "--batch", "--forward", "--fuzz=0", "-i", "mutant.patch"]
    said = processes.output(argv, timeout_s=PATCH_TIMEOUT_S, cwd=tree)
    if said.returncode:
        line = telling_line(said.stdout, ("FAILED", "can't find", "malformed", "Only garbage"))
        raise ConfigurationError(f"mutant {name} does not apply: {line}")
