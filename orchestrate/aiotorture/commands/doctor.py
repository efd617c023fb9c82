"""`doctor`: what this machine has and lacks; installs and changes nothing."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from aiotorture import accel, kernels, packages, paths
from aiotorture.cli import parser
from aiotorture.errors import EXIT_USAGE

NEEDED_BYTES = 3 << 30


def examine() -> dict[str, object]:
    lacking = packages.missing(packages.RUN)
    known = {series: kernels.pinned(series) for series in kernels.rows()}
    free = shutil.disk_usage(paths.cache_dir()).free
    fetched = next((kernel for kernel in known.values() if kernel), None)
    probed: tuple[str, str] | None = None
    if fetched is not None and accel.QEMU.exists():
        probed = accel.chosen(Path(fetched.image))
    return {
        "root": os.geteuid() == 0,
        "missing_packages": lacking,
        "missing_for_test": packages.missing(packages.TEST),
        "accelerator": probed[0] if probed else None,
        "accelerator_why": probed[1] if probed else "no kernel fetched yet to probe with",
        "cpus": os.cpu_count(),
        "cache": str(paths.cache_dir()),
        "cache_free_bytes": free,
        "kernels": {series: kernel.release if kernel else None for series, kernel in known.items()},
        "usable": (not lacking or os.geteuid() == 0) and free > NEEDED_BYTES,
    }


def main(arguments: Sequence[str]) -> int:
    given = parser("doctor").parse_args(arguments)
    seen = examine()
    if given.json:
        print(json.dumps(seen))
    else:
        for name, value in seen.items():
            shown = " ".join(map(str, value)) or "none" if isinstance(value, list) else value
            print(f"{name.replace('_', ' '):20} {shown}")
    return 0 if seen["usable"] else EXIT_USAGE
