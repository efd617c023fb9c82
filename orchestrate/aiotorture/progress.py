"""What a person sees: one line a cell as it ends, and a few lines at the end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aiotorture import heat, paths
from aiotorture.kernels import Kernel
from aiotorture.report import terminal
from aiotorture.report.view import RunView
from aiotorture.results import CellResult, Verdict

_MET = (
    ("submitted", "submitted"),
    ("cancel_won", "won"),
    ("cancel_lost", "lost"),
    ("destroyed_inflight", "destroyed"),
    ("faults_fired", "faults"),
)


def met(result: CellResult) -> str:
    """How often the racers met."""
    return " ".join(
        f"{word} {result.counters[name]}" for name, word in _MET if result.counters.get(name)
    )


def failure_text(result: CellResult) -> str:
    """The failure as pytest prints it; its last line replays it."""
    lines = [f"{result.verdict.value} {result.id}: {result.reason}"]
    for finding in result.findings:
        lines.append(f"  {finding.oracle}: {finding.title}")
        lines += [f"    {line}" for line in finding.evidence[:12]]
    lines.append(f"./aiotorture repro {result.token}" if result.token else "no token: it never ran")
    return "\n".join(lines)


def _label(result: CellResult) -> str:
    if result.control and result.verdict is Verdict.FAIL:
        return "FOUND"
    return result.verdict.value


class LastTimes:
    """Wall time of each cell when it last ran on this machine."""

    def __init__(self) -> None:
        self._path = paths.cache_dir() / "last-times.json"
        try:
            self._seconds: dict[str, float] = json.loads(self._path.read_text())
        except (FileNotFoundError, ValueError):
            self._seconds = {}

    def of(self, cell_id: str) -> float | None:
        return self._seconds.get(cell_id)

    def note(self, cell_id: str, seconds: float) -> None:
        self._seconds[cell_id] = round(seconds, 1)

    def save(self) -> None:
        paths.write_atomically(self._path, json.dumps(self._seconds).encode())


class Lines:
    """The run's lines, handed to `write` one by one."""

    def __init__(self, planned: int, write: Callable[[str], object]) -> None:
        self.planned = planned
        self._write = write
        self._seen = 0
        self._last = LastTimes()

    def opening(
        self, run_dir: Path, resolved: Mapping[str, Kernel], accel: str, seed: int, set_up_s: float
    ) -> None:
        names = ", ".join(f"{k.release} ({k.version})" for k in resolved.values())
        self._write(f"{self.planned} cells on {names}, {accel}, seed {seed}; set-up {set_up_s:.0f} s")
        self._write(f"results: {run_dir}")

    def say(self, line: str) -> None:
        self._write(line)

    def cell(self, result: CellResult) -> None:
        self._seen += 1
        wall = result.wall_s or 0.0
        last = self._last.of(result.id)
        before = f"{last:5.1f}" if last is not None else "    -"
        self._last.note(result.id, wall)
        said = met(result)
        if result.reason:
            said = f"{result.reason}; {said}" if said else result.reason
        width = len(str(self.planned))
        count = f"{self._seen:{width}}/{self.planned}"
        self._write(f"{count} {_label(result):5} {result.id}  {wall:5.1f} s (last {before})  {said}")

    def closing(self, view: RunView, written: Sequence[Path], lost: int) -> None:
        self._last.save()
        wall_s = (view.run.finished or 0.0) - view.run.started
        if not view.controls:
            self._write("no positive control was selected: a PASS here proves little")
        for path in written:
            self._write(str(path))
        for line in heat.tables(view.cells):
            self._write(line)
        for line in terminal.summary(view):
            self._write(line)
        if lost:
            self._write(f"{lost} cells were not run; --resume goes on")
        self._write(f"run of {wall_s:.0f} s, exit status {view.run.exit_status}")
