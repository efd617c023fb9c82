"""What a person sees: one line a cell as it ends, and a few lines at the end."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from aiotorture import paths
from aiotorture.kernels import Kernel
from aiotorture.results import CellResult, Verdict

START_BOUND_S = 1.5
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

    def closing(
        self,
        run_dir: Path,
        done: Sequence[CellResult],
        controls: Mapping[str, bool],
        lost: int,
        wall_s: float,
    ) -> None:
        self._last.save()
        cells = [result for result in done if not result.control]
        counts = {v: sum(r.verdict is v for r in cells) for v in Verdict}
        words = [f"{n} {v.value}" for v, n in counts.items() if n]
        if lost:
            words.append(f"{lost} not run")
        starts = [r.start_s for r in done if r.start_s is not None]
        self._write(f"cells: {', '.join(words) or 'none'} in {wall_s:.0f} s")
        if starts:
            self._write(
                f"start of a cell: median {statistics.median(starts):.2f} s, "
                f"worst {max(starts):.2f} s (bound for the median {START_BOUND_S} s)"
            )
        for name, found in controls.items():
            self._write(f"positive control {name}: {'found' if found else 'NOT FOUND: the run is ERROR'}")
        failed = [r for r in cells if r.verdict is Verdict.FAIL]
        for result in failed:
            self._write(f"./aiotorture repro {result.token}  # {result.reason}")
