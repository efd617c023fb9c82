"""One folder for the temporary files of a run; those of runs that were killed are swept."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def sweep() -> None:
    """Removes folders whose owner no longer runs."""
    for path in Path(tempfile.gettempdir()).glob("aiotorture-*"):
        named = re.fullmatch(r"aiotorture-(\d+)-\w+", path.name)
        if named and not _alive(int(named.group(1))) and path.stat().st_uid == os.getuid():
            shutil.rmtree(path, ignore_errors=True)


def make() -> Path:
    sweep()
    return Path(tempfile.mkdtemp(prefix=f"aiotorture-{os.getpid()}-"))


def remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
