"""The local lane: this machine itself, as an ordinary user, without a module.

It may crash nothing: the agent runs with no privilege (as root, it gives up all of it first), loads
nothing, and touches its own processes alone. So only targets that need no privilege run here.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from aiotorture import build, processes
from aiotorture.agentlink import AgentLink, LinkClosed, NoAnswer
from aiotorture.errors import HarnessError
from aiotorture.lanes.base import Fate, Lane, Starvation, Subject, SubjectSpec

HELLO_TIMEOUT_S = 20.0
NOBODY = 65534


class LocalSubject(Subject):
    """One agent on this machine."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self._process = process
        self._log = log
        self._began = time.monotonic()
        assert process.stdin is not None and process.stdout is not None
        self.link = AgentLink(process.stdout.fileno(), process.stdin.fileno())

    def fate(self) -> Fate:
        return Fate.ALIVE if self._process.poll() is None else Fate.ENDED_BY_OTHERS

    def epitaph(self) -> str:
        status = self._process.poll()
        if status is None:
            return "the agent is running"
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return f"the agent ended by {how} {self.complaint()}".strip()

    def complaint(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def console(self) -> str:
        """Empty: the kernel's log is the whole machine's, and not for ordinary users."""
        return ""

    def diagnose(self) -> list[str]:
        return []

    def starvation(self) -> Starvation:
        return Starvation(time.monotonic() - self._began, ())


def spawn_agent(agent: Path, log: Path) -> subprocess.Popen[bytes]:
    """The agent with its stream on stdin and stdout, without privilege. It is executed by its open
    file: another user could not walk to it through a private home."""
    opened = os.open(agent, os.O_RDONLY)
    root = os.geteuid() == 0
    try:
        with log.open("wb") as complaints:
            return subprocess.Popen(
                [str(agent), "serve"],
                executable=f"/proc/self/fd/{opened}",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                pass_fds=(opened,),
                cwd="/",
                user=NOBODY if root else None,
                group=NOBODY if root else None,
                extra_groups=[] if root else None,
                process_group=0,
                preexec_fn=processes.die_with_parent,
            )
    finally:
        os.close(opened)


class LocalLane(Lane):
    """This machine."""

    name = "local"

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._count = 0

    @property
    def accel(self) -> str:
        return "host"

    def prepare(self, specs: Sequence[SubjectSpec]) -> None:
        build.agent()

    @contextlib.contextmanager
    def subject(self, spec: SubjectSpec) -> Iterator[LocalSubject]:
        self._count += 1
        folder = self._scratch / f"local{self._count}"
        folder.mkdir(parents=True, exist_ok=True)
        process = spawn_agent(build.agent(), folder / "agent.log")
        try:
            subject = LocalSubject(process, folder / "agent.log")
            try:
                subject.link.hello(HELLO_TIMEOUT_S)
            except (NoAnswer, LinkClosed) as error:
                raise HarnessError(f"the agent does not answer: {subject.epitaph()}") from error
            yield subject
        finally:
            processes.end(process)
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
