"""The guest's root archive, read back by cpio."""

from __future__ import annotations

import subprocess
from pathlib import Path

from aiotorture.initramfs import Root, _depends


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
