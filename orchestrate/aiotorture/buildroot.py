"""Build roots: small Debian roots for tools that the host lacks, and a way in that leaves nothing.

    mmdebstrap SUITE (compiler, make) -> cache/roots/SUITE-COMPILER, kept
    enter: own mount namespace -> the cache bound at its own path, /dev, /proc -> chroot -> the tool

The namespace goes with its last process (mount_namespaces(7)), so no mount outlives a build, even
one that was killed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from aiotorture import archive, packages, paths, processes
from aiotorture.errors import ConfigurationError

MMDEBSTRAP_TIMEOUT_S = 900.0
# Beside the compiler: what Kbuild's own programs are linked with.
PACKAGES = {
    "bullseye": ("make", "libelf1", "libssl1.1"),
    "bookworm": ("make", "libelf1", "libssl3"),
    "trixie": ("make", "libelf1t64", "libssl3t64"),
}
LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")

ENTER = Path(__file__).with_name("buildroot_enter.py")


def folder_of(suite: str, compiler: str) -> Path:
    """Another list of packages is another root."""
    if suite not in PACKAGES:
        raise ConfigurationError(f"no build root is known for suite {suite!r}")
    listed = paths.content_hash(name.encode() for name in PACKAGES[suite])
    return paths.cache_dir() / "roots" / f"{suite}-{compiler}-{listed[:6]}"


def _mmdebstrap_argv(suite: str, compiler: str, target: Path) -> list[str | Path]:
    mirror, security = archive.mirrors()
    signed = f"[signed-by={archive.KEYRING}]"
    include = ",".join((compiler, *PACKAGES[suite]))
    return [
        "mmdebstrap", "--variant=essential", f"--include={include}", "--architectures=amd64",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        "--aptopt=Acquire::Check-Valid-Until false",
        suite, target,
        f"deb {signed} {mirror} {suite} main",
        f"deb {signed} {security} {suite}-security main",
    ]  # fmt: skip


def ensure(suite: str, compiler: str) -> Path:
    """The root for a suite's tools; made on first need (about a minute, 250 MiB)."""
    root = folder_of(suite, compiler)
    with paths.locked(f"root-{root.name}"):
        if root.is_dir():
            return root
        packages.ensure(packages.FOREIGN_TOOLS)
        print(f"set-up: making a build root of {suite} with {compiler}", file=sys.stderr, flush=True)
        with paths.published(root) as scratch:
            argv = _mmdebstrap_argv(suite, compiler, scratch)
            try:
                said = processes.output(argv, timeout_s=MMDEBSTRAP_TIMEOUT_S)
            except subprocess.TimeoutExpired as error:
                raise ConfigurationError(f"build root of {suite}: mmdebstrap hung") from error
            if said.returncode:
                errors = [li for li in said.stdout.splitlines() if li.startswith("E:")]
                reason = errors[0] if errors else f"mmdebstrap ended with {said.returncode}"
                raise ConfigurationError(f"build root of {suite}: {reason}")
            (scratch / "proc").mkdir(exist_ok=True)
    return root


def argv_inside(root: Path, argv: Sequence[str | Path], shared: Sequence[Path]) -> list[str | Path]:
    """The command that runs argv in the root, with the shared folders at their own paths."""
    binds = [word for folder in shared for word in ("--bind", str(folder))]
    return [sys.executable, "-I", ENTER, root, *binds, "--", *argv]
