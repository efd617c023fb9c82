"""The guest's root: a small cpio archive of busybox, the agent, /init and the kernel's own drivers
for the port that the agent speaks on."""

from __future__ import annotations

import functools
import lzma
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiotorture import paths
from aiotorture.errors import HarnessError
from aiotorture.kernels import Kernel
from aiotorture.lanes.base import Preload

BUSYBOX = Path("/bin/busybox")
PORT_MODULES = ("virtio_pci", "virtio_console")
NET_MODULES = ("e1000",)
FOLDERS = ("bin", "dev", "proc", "sys", "tmp", "run", "etc", "root", "lib", "lib/at", "lib/modules")

# The console belongs to the kernel: nothing here writes to it. udev, which would make
# /dev/virtio-ports, is not there; the port's name stands in sysfs. What kmemleak makes of the boot is
# nobody's leak: a ready guest begins without it.
INIT = """#!/bin/sh
export PATH=/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec < /dev/null > /dev/null 2>&1
mount -t debugfs debugfs /sys/kernel/debug
mount -t tracefs tracefs /sys/kernel/tracing
mkdir -p /dev/shm /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t devpts devpts /dev/pts
while read -r module; do insmod "$module"; done < /etc/modules
if [ -x /etc/start ]; then /etc/start; fi
leaks=/sys/kernel/debug/kmemleak
if [ -e $leaks ]; then
	echo scan > $leaks
	sleep 6
	echo scan > $leaks
	echo clear > $leaks
fi
mkdir -p /dev/virtio-ports
for tries in 1 2 3 4 5 6 7 8 9 10; do
	for port in /sys/class/virtio-ports/*; do
		[ -e "$port/name" ] && ln -sf "/dev/${port##*/}" "/dev/virtio-ports/$(cat "$port/name")"
	done
	[ -e /dev/virtio-ports/aiotorture ] && break
	sleep 0.2
done
while :; do
	aiotorture-agent serve --port /dev/virtio-ports/aiotorture
	sleep 0.1
done
"""


@dataclass
class Entry:
    """One file of the archive."""

    content: bytes
    mode: int


@dataclass
class Root:
    """The files of a guest's root, by path without the leading slash."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def folder(self, path: str) -> None:
        self.entries.setdefault(path, Entry(b"", stat.S_IFDIR | 0o755))

    def parents(self, path: str) -> None:
        for parent in reversed(Path(path).parents[:-1]):
            self.folder(str(parent))

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.parents(path)
        self.entries[path] = Entry(content, stat.S_IFREG | mode)

    def link(self, path: str, target: str) -> None:
        self.parents(path)
        self.entries[path] = Entry(target.encode(), stat.S_IFLNK | 0o777)

    def cpio(self) -> bytes:
        """The archive in the "newc" format (kernel: Documentation/driver-api/early-userspace)."""
        out = bytearray()
        for number, path in enumerate(sorted(self.entries), start=1):
            entry = self.entries[path]
            out += _member(path, entry.mode, entry.content, number)
        out += _member("dev/console", stat.S_IFCHR | 0o600, b"", 0x7FFF, device=(5, 1))
        out += _member("TRAILER!!!", 0, b"", 0)
        return bytes(out)


def _member(
    path: str, mode: int, content: bytes, inode: int, device: tuple[int, int] = (0, 0)
) -> bytes:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(mode) else 1
    numbers = (inode, mode, 0, 0, links, 0, len(content), 0, 0, *device, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % n for n in numbers)
    padded = header + name
    padded += b"\0" * (-len(padded) % 4)
    return padded + content + b"\0" * (-len(content) % 4)


def _module_file(kernel: Kernel, name: str) -> Path | None:
    for suffix in (".ko", ".ko.xz"):
        found = sorted((Path(kernel.modules) / "kernel").rglob(name + suffix))
        if found:
            return found[0]
    return None


def _module_bytes(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def _depends(module: bytes) -> list[str]:
    """The `depends=` entry of the module's .modinfo section."""
    start = module.find(b"\0depends=")
    if start < 0:
        return []
    words = module[start + 9 : module.index(b"\0", start + 1)].decode()
    return [word.replace("-", "_") for word in words.split(",") if word]


def _built_in(kernel: Kernel, name: str) -> bool:
    listed = (Path(kernel.modules) / "modules.builtin").read_text()
    return any(Path(line).stem.replace("-", "_") == name for line in listed.splitlines())


def kernel_modules(kernel: Kernel, names: Sequence[str]) -> dict[str, bytes]:
    """The modules and what they depend on, in an order in which insmod takes them."""
    ordered: dict[str, bytes] = {}
    for name in names:
        for each, content in _with_dependencies(kernel, name):
            ordered.setdefault(each, content)
    return ordered


@functools.lru_cache(maxsize=64)  # each cell asks; to unpack them takes half a second
def _with_dependencies(kernel: Kernel, name: str) -> tuple[tuple[str, bytes], ...]:
    if _built_in(kernel, name):
        return ()
    path = _module_file(kernel, name) or _module_file(kernel, name.replace("_", "-"))
    if path is None:
        raise HarnessError(f"kernel {kernel.release} has no module {name}")
    content = _module_bytes(path)
    needed = [pair for each in _depends(content) for pair in _with_dependencies(kernel, each)]
    return (*dict(needed).items(), (name, content))


def _applets() -> list[str]:
    said = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    return said.stdout.split()


def shared_libraries(binary: Path) -> list[Path]:
    """What the dynamic loader would map for the binary, the loader itself included."""
    said = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)
    words = [word for line in said.stdout.splitlines() for word in line.split()]
    return [Path(word) for word in dict.fromkeys(words) if word.startswith("/")]


def base_root(kernel: Kernel, agent: Path, extra_modules: Sequence[str] = ()) -> Root:
    root = Root()
    for folder in FOLDERS:
        root.folder(folder)
    root.file("bin/busybox", BUSYBOX.read_bytes(), 0o755)
    for applet in _applets():
        if applet != "busybox":
            root.link(f"bin/{applet}", "busybox")
    root.file("bin/aiotorture-agent", agent.read_bytes(), 0o755)
    root.file("init", INIT.encode(), 0o755)
    root.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    root.file("etc/group", b"root:x:0:\n")
    root.file("etc/shells", b"/bin/sh\n")
    modules = kernel_modules(kernel, [*PORT_MODULES, *extra_modules])
    listed = []
    for name, content in modules.items():
        path = f"lib/modules/{name}.ko"
        root.file(path, content)
        listed.append(f"/{path}\n")
    root.file("etc/modules", "".join(listed).encode())
    return root


def add_preload(root: Root, preload: Preload) -> None:
    """A start script that ends at its first failure: the cell tries again and tells what is wrong."""
    lines = ["#!/bin/sh", "set -e"]
    for module in preload.modules:
        root.file(module.path.lstrip("/"), module.content)
        lines.append(f"insmod {module.path} {module.parameters}")
    for path, content in preload.files:
        root.file(path.lstrip("/"), content)
    lines += [f"( {command} )" for command in preload.commands]
    if preload.mark:
        lines.append(f": > {preload.mark}")
    root.file("etc/start", ("\n".join(lines) + "\n").encode(), 0o755)


def add_program(root: Root, binary: Path, name: str) -> None:
    """A dynamically linked program of the host with all that it maps."""
    for library in shared_libraries(binary):
        root.file(str(library).lstrip("/"), library.read_bytes(), 0o755)
    root.file(f"bin/{name}", binary.read_bytes(), 0o755)


def write(root: Root) -> Path:
    """The archive in the cache, named by its content. Not compressed: TCG inflates slowly."""
    content = root.cpio()
    path = paths.cache_dir() / "initramfs" / f"{paths.content_hash([content])}.cpio"
    if not path.exists():
        paths.write_atomically(path, content)
    return path


