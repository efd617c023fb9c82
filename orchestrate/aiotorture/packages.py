"""The Debian packages that each job needs, in one place, and their installation on first need."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable

from aiotorture import processes
from aiotorture.errors import ConfigurationError

BUILD = (
    "g++",
    "gcc-12",
    "make",
    "patch",
    "cmake",
    "ninja-build",
    "libaio-dev",
    "nlohmann-json3-dev",
    "libelf1",
    "git",
)
GUEST = ("qemu-system-x86", "busybox-static", "binutils", "debian-archive-keyring")
ORCHESTRATOR = (
    "python3-pytest",
    "python3-pytest-xdist",
    "python3-pytest-timeout",
    "python3-jinja2",
)
RUN = BUILD + GUEST + ORCHESTRATOR
TEST = RUN + (
    "catch2",
    "libboost-context-dev",
    "libbenchmark-dev",
    "python3-hypothesis",
    "gnupg",
    "mypy",
    "clang-format",
    "dropbear-bin",
    "openssh-client",
)
# no guest, no module: the agent alone
LOCAL = ("g++", "cmake", "ninja-build", "libaio-dev", "nlohmann-json3-dev", "binutils", "git") + ORCHESTRATOR
SSH = ("dropbear-bin", "openssh-client")
PERF = ("linux-perf",)
MODEL = ("g++", "gcc-12", "cmake", "ninja-build", "libboost-context-dev")
BENCH = ("libbenchmark-dev",)
KERNEL_BUILD = (
    "gcc-12",
    "make",
    "flex",
    "bison",
    "bc",
    "xz-utils",
    "libelf-dev",
    "libssl-dev",
    "kmod",
)
FOREIGN_TOOLS = ("mmdebstrap",)

APT_TIMEOUT_S = 900.0


def missing(wanted: Iterable[str]) -> list[str]:
    """Those of the packages that dpkg does not know as installed."""
    names = list(dict.fromkeys(wanted))
    query = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n", *names],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {
        line.split()[0] for line in query.stdout.splitlines() if line.endswith(" installed")
    }
    return [name for name in names if name not in installed]


def _apt_get(*words: str) -> subprocess.CompletedProcess[str]:
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
    return processes.output(
        ["apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", *words],
        timeout_s=APT_TIMEOUT_S,
        env=environment,
    )


def _reason(said: str) -> str:
    errors = [line for line in said.splitlines() if line.startswith("E: ")]
    return errors[0][3:] if errors else (said.strip().splitlines() or ["no output"])[-1]


def ensure(wanted: Iterable[str]) -> list[str]:
    """Installs what is missing, after saying so; returns what it installed.

    Package lists are refreshed only when an installation from the present ones failed.
    """
    needed = missing(wanted)
    if not needed:
        return []
    words = " ".join(needed)
    if os.geteuid() != 0:
        raise ConfigurationError(f"Debian packages are missing and only root installs them: {words}")
    print(f"set-up: installing Debian packages: {words}", file=sys.stderr, flush=True)
    install = ("install", "--no-install-recommends", *needed)
    try:
        said = _apt_get(*install)
        if said.returncode:
            print("set-up: refreshing the package lists", file=sys.stderr, flush=True)
            _apt_get("update")
            said = _apt_get(*install)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"apt-get could not install {words}: {error}") from error
    if said.returncode:
        raise ConfigurationError(f"apt-get could not install {words}: {_reason(said.stdout)}")
    still = missing(needed)
    if still:
        raise ConfigurationError(f"apt-get said success, yet these are missing: {' '.join(still)}")
    return needed
