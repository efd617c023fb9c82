"""The host's end of the agent's JSON lines, over any pair of file descriptors.

Each wait is bounded. A line that does not parse is kept as a stray, never taken for an answer.
"""

from __future__ import annotations

import base64
import json
import os
import select
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Json = dict[str, Any]

PUSH_CHUNK_BYTES = 256 * 1024
LINE_LIMIT_BYTES = 1 << 20


class AgentError(Exception):
    """The agent answered, and its answer was no."""


class LinkClosed(Exception):
    """The stream ended."""


class NoAnswer(Exception):
    """Nothing came within the bound."""


class AgentLink:
    """One agent. `on_event` sees every unasked line (`ev`) as it comes."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._pending = b""
        self._lines: list[bytes] = []
        self._next_id = 1
        self.strays: list[bytes] = []
        self.on_event: Callable[[Json], None] | None = None
        self.last_heard = time.monotonic()
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)

    def _send(self, line: bytes, deadline: float) -> None:
        view = memoryview(line)
        while view:
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoAnswer("the agent does not read")
            _, writable, _ = select.select([], [self._write_fd], [], left)
            if writable:
                try:
                    view = view[os.write(self._write_fd, view) :]
                except (BrokenPipeError, ConnectionResetError) as error:
                    raise LinkClosed("the agent's stream is closed") from error

    def _receive(self, deadline: float) -> Json:
        """The next line that parses, an event or an answer."""
        while True:
            while self._lines:
                line = self._lines.pop(0)
                try:
                    parsed = json.loads(line)
                except ValueError:
                    parsed = None
                if isinstance(parsed, dict):
                    return parsed
                self.strays.append(line)
            left = deadline - time.monotonic()
            if left <= 0:
                raise NoAnswer("the agent said nothing within the bound")
            readable, _, _ = select.select([self._read_fd], [], [], left)
            if not readable:
                continue
            try:
                got = os.read(self._read_fd, 1 << 16)
            except ConnectionResetError as error:
                raise LinkClosed("the agent's stream is closed") from error
            except BlockingIOError:
                continue
            if not got:
                raise LinkClosed("the agent's stream ended")
            self.last_heard = time.monotonic()
            *whole, self._pending = (self._pending + got).split(b"\n")
            self._lines += [line for line in whole if line.strip()]
            if len(self._pending) > 2 * LINE_LIMIT_BYTES:
                self.strays.append(self._pending[:200])
                self._pending = b""

    def start(self, op: str, fields: Mapping[str, Any] | None = None, timeout_s: float = 10) -> int:
        """Sends a request and returns its id; wait() takes the answer."""
        number = self._next_id
        self._next_id += 1
        line = json.dumps({"id": number, "op": op, **(fields or {})}).encode() + b"\n"
        self._send(line, time.monotonic() + timeout_s)
        return number

    def wait(self, number: int, timeout_s: float) -> Json | None:
        """The answer to request `number`, or None when `timeout_s` passed without it."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                line = self._receive(deadline)
            except NoAnswer:
                return None
            if "ev" in line:
                if self.on_event is not None:
                    self.on_event(line)
            elif line.get("id") == number:
                if not line.get("ok"):
                    raise AgentError(str(line.get("error", "refused without a reason")))
                return line

    def ask(self, op: str, timeout_s: float = 10, **fields: Any) -> Json:
        number = self.start(op, fields, timeout_s)
        answer = self.wait(number, timeout_s)
        if answer is None:
            raise NoAnswer(f"no answer to {op} within {timeout_s:g} s")
        return answer

    def hello(self, timeout_s: float) -> Json:
        return self.ask("hello", timeout_s)

    def push(self, path: str, content: bytes, mode: int = 0o644, timeout_s: float = 30) -> None:
        for start in range(0, len(content) or 1, PUSH_CHUNK_BYTES):
            chunk = base64.b64encode(content[start : start + PUSH_CHUNK_BYTES]).decode()
            fields = {"path": path, "mode": mode, "b64": chunk, "append": start > 0}
            self.ask("push", timeout_s, **fields)

    def push_file(self, path: str, source: Path, mode: int = 0o644) -> None:
        self.push(path, source.read_bytes(), mode)

    def pull(
        self, path: str, max_bytes: int = 1 << 19, timeout_s: float = 10, offset: int = 0
    ) -> bytes:
        answer = self.ask("pull", timeout_s, path=path, max_bytes=max_bytes, offset=offset)
        return base64.b64decode(answer["b64"])

    def execute(self, argv: list[str], timeout_s: float = 10) -> Json:
        """Runs a program in the subject: `rc out err timed_out`."""
        return self.ask("exec", timeout_s + 5, argv=argv, timeout_ms=int(timeout_s * 1000))
