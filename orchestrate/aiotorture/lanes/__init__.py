"""Where cells run."""

from __future__ import annotations

from pathlib import Path

from aiotorture.errors import ConfigurationError
from aiotorture.lanes.base import Lane


def lane_named(name: str, scratch: Path) -> Lane:
    if name == "qemu":
        from aiotorture.lanes.qemu import QemuLane

        return QemuLane(scratch)
    if name == "lab":
        from aiotorture.lanes.ssh import LabLane

        return LabLane(scratch)
    if name == "local":
        from aiotorture.lanes.local import LocalLane

        return LocalLane(scratch)
    raise ConfigurationError(f"unknown lane {name!r}; there is: qemu, lab, local")
