"""The guest's root archive, read back by cpio."""

from __future__ import annotations

import subprocess
from pathlib import Path

from aiotorture.initramfs import Root, _depends, add_preload
from aiotorture.lanes.base import ModuleThere, Preload


def test_cpio_reads_what_was_written(tmp_path: Path) -> None:
    root = Root()
    root.file("bin/agent", b"x" * 5, 0o755)
    root.link("bin/sh", "busybox")
    root.file("etc/deep/er/file", b"")
    said = subprocess.run(
        ["busybox", "cpio", "-i", "-d"], input=root.cpio(), cwd=tmp_path, capture_output=True
    )
    assert said.returncode == 0, said.stderr
    assert (tmp_path / "bin/agent").read_bytes() == b"x" * 5
    assert (tmp_path / "bin/agent").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "bin/sh").readlink() == Path("busybox")
    assert (tmp_path / "etc/deep/er/file").is_file()


def test_the_same_files_make_the_same_archive() -> None:
    first, second = Root(), Root()
    for root, names in ((first, "ab"), (second, "ba")):
        for name in names:
            root.file(name, name.encode())
    assert first.cpio() == second.cpio()


def test_dependencies_are_read_off_a_module() -> None:
    module = b"\x7fELF...\0license=GPL\0depends=virtio,virtio-ring\0name=virtio_pci\0"
    assert _depends(module) == ["virtio", "virtio_ring"]
    assert _depends(b"\0depends=\0") == []


def test_a_preload_is_a_start_script_that_ends_at_its_first_failure() -> None:
    root = Root()
    add_preload(
        root,
        Preload(
            modules=(ModuleThere("/lib/at/loop.ko", b"elf", "max_loop=2"),),
            files=(("/lib/at/disk.gz", b"gz"),),
            commands=("gunzip -c /lib/at/disk.gz > /tmp/disk", "losetup /dev/loop0 /tmp/disk"),
            mark="/run/done",
        ),
    )
    assert root.entries["lib/at/loop.ko"].content == b"elf"
    assert root.entries["lib/at/disk.gz"].content == b"gz"
    assert root.entries["etc/start"].mode & 0o111
    assert root.entries["etc/start"].content.decode().splitlines() == [
        "#!/bin/sh",
        "set -e",
        "insmod /lib/at/loop.ko max_loop=2",
        "( gunzip -c /lib/at/disk.gz > /tmp/disk )",
        "( losetup /dev/loop0 /tmp/disk )",
        ": > /run/done",
    ]
