"""A small QMP client (QEMU: docs/interop/qmp-spec.txt) that keeps the events it meets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class QmpClosed(Exception):
    """QEMU closed its monitor, which it does when it ends."""


class QmpError(Exception):
    """QEMU refused a command or did not answer within the bound."""


@dataclass(frozen=True)
class Event:
    name: str
    fields: dict[str, Any]


class Qmp:
    """The monitor at the other end of a connected socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._pending = b""
        self.events: list[Event] = []

    def negotiate(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while "QMP" not in self._message(deadline):
            pass
        self.command("qmp_capabilities", timeout_s=timeout_s)

    def _message(self, deadline: float) -> dict[str, Any]:
        while b"\n" not in self._pending:
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpError("QEMU's monitor did not answer within the bound")
            self._sock.settimeout(left)
            try:
                got = self._sock.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                raise QmpClosed(str(error)) from error
            if not got:
                raise QmpClosed("QEMU closed its monitor")
            self._pending += got
        line, self._pending = self._pending.split(b"\n", 1)
        message: dict[str, Any] = json.loads(line)
        if "event" in message:
            self.events.append(Event(message["event"], message.get("data", {})))
        return message

    def give(self, name: str, handle: int) -> None:
        """Hands QEMU a file descriptor that later commands call NAME (SCM_RIGHTS, getfd)."""
        self.command("getfd", _handle=handle, fdname=name)

    def command(
        self,
        name: str,
        timeout_s: float = 10.0,
        _handle: int | None = None,
        _as_they_are: Mapping[str, Any] | None = None,
        **arguments: Any,
    ) -> Any:
        """`arguments` with a hyphen for each underscore in their names, and others as they are."""
        request: dict[str, Any] = {"execute": name}
        named = {key.replace("_", "-"): v for key, v in arguments.items()} | dict(_as_they_are or {})
        if named:
            request["arguments"] = named
        try:
            self._sock.settimeout(timeout_s)
            line = json.dumps(request).encode() + b"\n"
            if _handle is None:
                self._sock.sendall(line)
            else:
                socket.send_fds(self._sock, [line], [_handle])
        except OSError as error:
            raise QmpClosed(str(error)) from error
        deadline = time.monotonic() + timeout_s
        while True:
            message = self._message(deadline)
            if "return" in message:
                return message["return"]
            if "error" in message:
                raise QmpError(f"{name}: {message['error'].get('desc', 'refused')}")

    def monitor(self, line: str, timeout_s: float = 10.0) -> str:
        """A command of the human monitor, as text."""
        return str(self.command("human-monitor-command", timeout_s, command_line=line))

    def poll(self) -> None:
        """Takes what has arrived without waiting; QmpClosed when QEMU has ended."""
        while True:
            try:
                self._message(time.monotonic() + 0.001)
            except QmpError:
                return

    def await_status(self, query: str, wanted: set[str], failed: set[str], timeout_s: float) -> str:
        """Polls `query` until its `status` is one of `wanted`; QmpError for one of `failed`."""
        deadline = time.monotonic() + timeout_s
        pause_s = 0.005
        while True:
            answer = self.command(query, timeout_s=max(0.1, deadline - time.monotonic()))
            status = str(answer.get("status", "none"))
            if status in wanted:
                return status
            if status in failed:
                raise QmpError(f"{query}: {status}: {answer.get('error-desc', '')}")
            if time.monotonic() > deadline:
                raise QmpError(f"{query}: still {status} after {timeout_s:g} s")
            time.sleep(pause_s)

    def close(self) -> None:
        self._sock.close()
