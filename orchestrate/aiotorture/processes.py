"""Child processes that cannot outlive us.

Each child leads its own process group (a Ctrl-C at the terminal reaches us, not it) and is killed
by the kernel when the thread that started it ends (PR_SET_PDEATHSIG, prctl(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """For preexec_fn: the kernel kills the child when the thread that started it ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def spawn(
    argv: Sequence[str | Path],
    *,
    stdin: int | IO[Any] | None = subprocess.DEVNULL,
    stdout: int | IO[Any] | None = subprocess.DEVNULL,
    stderr: int | IO[Any] | None = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(word) for word in argv],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=tuple(pass_fds),
        env=None if env is None else dict(env),
        cwd=cwd,
        process_group=0,
        preexec_fn=die_with_parent,
    )


def end(process: subprocess.Popen[bytes], grace_s: float = 0.0) -> int:
    """Ends the child and its group; SIGTERM first when there is grace. Returns its status."""
    if process.poll() is None and grace_s > 0:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_s)
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def output(
    argv: Sequence[str | Path],
    *,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    apart: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Runs to the end and keeps what was said; stderr is part of stdout, unless `apart`."""
    stderr = subprocess.PIPE if apart else subprocess.STDOUT
    process = spawn(argv, stdout=subprocess.PIPE, stderr=stderr, cwd=cwd, env=env)
    try:
        said = process.communicate(timeout=timeout_s)
    finally:
        end(process)
    texts = [(each or b"").decode(errors="replace") for each in said]
    return subprocess.CompletedProcess(list(map(str, argv)), process.returncode, *texts)
