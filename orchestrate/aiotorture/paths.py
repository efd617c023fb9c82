"""Where things lie, and how they are written: under a lock, to a temporary name, then renamed.

A process killed at any moment leaves either the old state or the new one in the cache, never half
of it; two runs side by side build each thing once.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ORCHESTRATE = ROOT / "orchestrate"
REPORTS = ROOT / "reports"


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "aiotorture"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds the cache's lock NAME; waits for another process that holds it."""
    folder = cache_dir() / "locks"
    folder.mkdir(exist_ok=True)
    with (folder / f"{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def published(destination: Path) -> Iterator[Path]:
    """A temporary folder that becomes `destination` when the body ends without an exception."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{destination.name}.", dir=destination.parent))
    scratch.chmod(0o755)
    try:
        yield scratch
        if destination.exists():
            shutil.rmtree(destination)
        scratch.rename(destination)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_atomically(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(content)
        os.chmod(name, 0o644)
        os.rename(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def content_hash(parts: Iterable[bytes]) -> str:
    """16 hex digits over the parts and their boundaries."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]


def tree_hash(folders: Iterable[Path], suffixes: frozenset[str] | None = None) -> str:
    """Hash over names and contents of the source files under the folders."""
    parts: list[bytes] = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (suffixes is None or path.suffix in suffixes or not path.suffix):
                parts.append(str(path.relative_to(folder)).encode())
                parts.append(path.read_bytes())
    return content_hash(parts)
