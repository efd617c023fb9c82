"""The folder of one run, and run.json in it."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from aiotorture import accel, paths, processes
from aiotorture.errors import ConfigurationError
from aiotorture.kernels import Kernel
from aiotorture.results import Run


def new_run_dir(profile: str) -> Path:
    """reports/DATE-TIME-PROFILE, made; a second run in the same second gets another name."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    for count in range(100):
        path = paths.REPORTS / (f"{stamp}-{profile}" + (f"-{count}" if count else ""))
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        return path
    raise ConfigurationError(f"no free name for a run under {paths.REPORTS}")


def runs(root: Path | None = None) -> list[Path]:
    """Runs with results, oldest first."""
    return sorted(p.parent for p in (root or paths.REPORTS).glob("*/run.json"))


def latest() -> Path:
    known = runs()
    if not known:
        raise ConfigurationError(f"there is no run under {paths.REPORTS}")
    return max(known, key=lambda path: (path / "run.json").stat().st_mtime)


def git_commit() -> str:
    said = subprocess.run(
        ["git", "-C", str(paths.ROOT), "describe", "--always", "--dirty", "--abbrev=12"],
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()


def host_facts() -> dict[str, object]:
    memory_kb = 0
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            memory_kb = int(line.split()[1])
    return {
        "kernel": platform.release(),
        "cpus": os.cpu_count(),
        "memory_mib": memory_kb // 1024,
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
    }


def versions() -> dict[str, str]:
    gcc = processes.output(["gcc", "--version"], timeout_s=10).stdout.splitlines()
    return {
        "qemu": accel.qemu_version() if accel.QEMU.exists() else "",
        "python": platform.python_version(),
        "gcc": gcc[0] if gcc else "",
    }


def describe_run(
    run_dir: Path,
    command: Sequence[str],
    profile: str,
    resolved: Mapping[str, Kernel],
    accelerator: tuple[str, str],
    jobs: int,
    planned: int,
) -> Run:
    return Run(
        run=run_dir.name,
        started=round(time.time(), 3),
        command=tuple(command),
        profile=profile,
        host={**host_facts(), "accelerator_why": accelerator[1]},
        accelerator=accelerator[0],
        kernels=tuple(dataclasses.asdict(kernel) for kernel in resolved.values()),
        versions=versions(),
        git_commit=git_commit(),
        jobs=jobs,
        planned=planned,
    )
