"""What can be tortured, where, and what it takes to set it up.

    zcdma    our driver and fail_injector, built for the kernel
    poll     the kernel's own IOCB_CMD_POLL; nothing is loaded, so it runs on any machine
"""

from __future__ import annotations

from dataclasses import dataclass

from aiotorture import build
from aiotorture.errors import ConfigurationError
from aiotorture.kernels import Kernel


@dataclass(frozen=True)
class Target:
    """One target. `builds`: the modules of this repository belong to it. `node`: the device node
    that is opened, empty for a scenario that opens its own files."""

    name: str
    lanes: tuple[str, ...]
    builds: bool = False
    node: str = ""

    def modules(self, kernel: Kernel, mutant: build.Mutant | None) -> build.ModuleSet:
        if not self.builds:
            return build.ModuleSet(files={}, symbols={}, build_id="")
        return build.modules(kernel, mutant)


_TARGETS = (
    Target("zcdma", ("qemu", "lab"), builds=True, node="/dev/zcdma0"),
    Target("poll", ("qemu", "lab", "local")),
)
NAMES = tuple(target.name for target in _TARGETS)


def named(name: str) -> Target:
    """ConfigurationError for a name that is no target."""
    for target in _TARGETS:
        if target.name == name:
            return target
    raise ConfigurationError(f"unknown target {name!r}; there is: {', '.join(NAMES)}")


def on_lane(lane: str) -> tuple[str, ...]:
    return tuple(target.name for target in _TARGETS if lane in target.lanes)
