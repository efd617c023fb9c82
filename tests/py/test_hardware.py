"""Devices plugged into a restored guest: what QEMU is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from aiotorture import hardware
from aiotorture.errors import ConfigurationError
from aiotorture.hardware import Hardware
from aiotorture.qmp import Qmp, QmpError


class Asked(Qmp):
    """Keeps what it is asked; refuses a driver that does not exist."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, dict[str, Any]]] = []

    def command(
        self,
        name: str,
        timeout_s: float = 10.0,
        _handle: int | None = None,
        _as_they_are: Any = None,
        **arguments: Any,
    ) -> Any:
        given = {**arguments, **(_as_they_are or {})}
        if given.get("driver") == "nosuch":
            raise QmpError("device_add: 'nosuch' is not a valid device model name")
        self.commands.append((name, given))


def plugged(folder: Path, *texts: str) -> list[tuple[str, dict[str, Any]]]:
    qmp = Asked()
    Hardware(hardware.devices(texts)).plug(qmp, folder)
    return qmp.commands


def test_each_device_gets_a_port_and_its_properties_keep_their_names(tmp_path: Path) -> None:
    assert plugged(tmp_path, "edu dma_mask=0xffffffff", "edu") == [
        ("device_add", {"driver": "edu", "dma_mask": "0xffffffff", "bus": "port0"}),
        ("device_add", {"driver": "edu", "bus": "port1"}),
    ]


def test_a_drive_is_a_sparse_file_of_its_size(tmp_path: Path) -> None:
    (_, disk), (_, device) = plugged(tmp_path, "nvme drive=64M serial=mine")
    assert disk == {"driver": "file", "filename": str(tmp_path / "disk0"), "node_name": "disk0"}
    assert (tmp_path / "disk0").stat().st_size == 64 << 20
    assert device == {"driver": "nvme", "serial": "mine", "drive": "disk0", "bus": "port0"}


def test_a_device_that_qemu_does_not_have_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="QEMU device nosuch: .*not a valid device") as caught:
        plugged(tmp_path, "nosuch")
    assert "\n" not in str(caught.value)
