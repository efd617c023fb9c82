"""Devices that a guest has beside its usual ones: QEMU's own, plugged into the restored copy.

    "edu"                      a driver of QEMU's, with its defaults
    "nvme drive=64M x=1"       with properties; `drive`: on a disk of so many bytes, made for the cell

Many of QEMU's devices cannot be saved (hw/nvme: unmigratable; hw/misc/edu: no state is kept), so a
ready guest is saved without them, with a free PCIe root port for each. What is plugged in before the
copy runs on is found by a rescan of the bus, which needs nothing of the guest's hot-plug drivers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiotorture.errors import ConfigurationError
from aiotorture.plan import size_bytes
from aiotorture.qmp import Qmp, QmpError

MAX_DEVICES = 8
RESCAN = "/sys/bus/pci/rescan"
IOMMU_CMDLINE = ("intel_iommu=on", "iommu.strict=1")
MAX_DRIVE_BYTES = 1 << 30
_DRIVER = re.compile(r"[a-z][a-z0-9.-]*\Z")
_PROPERTY = re.compile(r"[a-z][a-z0-9_.-]*=[^\s,]+\Z")


@dataclass(frozen=True)
class Device:
    """One device, as QEMU's device_add takes it."""

    driver: str
    properties: tuple[tuple[str, str], ...] = ()
    drive_bytes: int = 0


@dataclass(frozen=True)
class Hardware:
    """What is plugged in; `iommu`: all of it behind one that translates, and tells of accesses to
    what is not mapped."""

    devices: tuple[Device, ...] = ()
    iommu: bool = False

    @property
    def cmdline(self) -> tuple[str, ...]:
        return IOMMU_CMDLINE if self.iommu else ()

    def machine_words(self) -> list[str]:
        """The machine, a port for each device, and the IOMMU, which comes before what it is for."""
        if not self.devices and not self.iommu:
            return ["-M", "pc,usb=off,vmport=off,memory-backend=ram"]
        words = ["-M", "q35,usb=off,vmport=off,sata=off,smbus=off,memory-backend=ram"]
        if self.iommu:
            words += ["-device", "intel-iommu"]
        for number in range(len(self.devices)):
            first = ",multifunction=on" if number == 0 else ""
            port = f"pcie-root-port,id=port{number},chassis={number},addr=8.{number}{first}"
            words += ["-device", port]
        return words

    def plug(self, qmp: Qmp, folder: Path) -> None:
        """Into a guest that is stopped; disks are files in `folder`. ConfigurationError, one line, for a
        device that QEMU does not know or properties that it does not take."""
        for number, device in enumerate(self.devices):
            properties = dict(device.properties)
            if device.drive_bytes:
                disk = folder / f"disk{number}"
                with disk.open("wb") as made:
                    made.truncate(device.drive_bytes)
                qmp.command("blockdev-add", driver="file", filename=str(disk), node_name=disk.name)
                properties = {"serial": disk.name, **properties, "drive": disk.name}
            place = {"driver": device.driver, "bus": f"port{number}"}
            try:
                qmp.command("device_add", _as_they_are={**properties, **place})
            except QmpError as error:
                raise ConfigurationError(f"QEMU device {device.driver}: {error}") from error


def device(text: str) -> Device:
    """ValueError, which says what is wrong with the text."""
    driver, *words = text.split() or [""]
    if not _DRIVER.match(driver):
        raise ValueError(f"{text!r} does not begin with the name of a QEMU device")
    properties: list[tuple[str, str]] = []
    drive_bytes = 0
    for word in words:
        if not _PROPERTY.match(word):
            raise ValueError(f"{word!r} is no property=value")
        name, _, value = word.partition("=")
        if name != "drive":
            properties.append((name, value))
            continue
        drive_bytes = size_bytes(value)
        if not 0 < drive_bytes <= MAX_DRIVE_BYTES:
            raise ValueError(f"{word!r} is not above 0 and at most 1G")
    return Device(driver, tuple(properties), drive_bytes)


def devices(texts: Sequence[str]) -> tuple[Device, ...]:
    if len(texts) > MAX_DEVICES:
        raise ValueError(f"{len(texts)} devices, and there is room for {MAX_DEVICES}")
    return tuple(map(device, texts))
