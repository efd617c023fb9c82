"""buildroot_enter.py ROOT [--bind FOLDER]… -- COMMAND…: becomes COMMAND inside the root.

A program of its own, on the standard library alone: it runs between fork and chroot, where the
package may not be on the path.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
ALWAYS_SHARED = ("/dev", "/proc", "/tmp")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/"}
CANNOT_ENTER = 126


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _bind(libc: ctypes.CDLL, folder: str, root: Path) -> None:
    target = root / folder.lstrip("/")
    target.mkdir(parents=True, exist_ok=True)
    flags = MS_BIND | MS_REC
    _checked(libc.mount(folder.encode(), str(target).encode(), None, flags, None), f"bind {folder}")


def _own_namespace(libc: ctypes.CDLL) -> None:
    """Root needs a mount namespace only; others a user namespace too, where they are root
    (user_namespaces(7): setgroups must be denied before gid_map is written)."""
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWNS if uid == 0 else CLONE_NEWNS | CLONE_NEWUSER
    _checked(libc.unshare(flags), "unshare")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    _checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")


def enter(root: Path, shared: Sequence[str], argv: Sequence[str]) -> None:
    """Replaces this process by argv inside the root."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount.argtypes = [
        ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p
    ]  # fmt: skip
    _own_namespace(libc)
    for folder in (*ALWAYS_SHARED, *shared):
        _bind(libc, folder, root)
    os.chroot(root)
    os.chdir("/")
    os.execvpe(argv[0], list(argv), ENVIRONMENT)


def main(words: Sequence[str]) -> int:
    split = words.index("--")
    root, options, argv = Path(words[0]), words[1:split], words[split + 1 :]
    try:
        enter(root, options[1::2], argv)
    except OSError as error:
        print(f"Error: cannot enter the build root {root}: {error}", file=sys.stderr)
    return CANNOT_ENTER


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
