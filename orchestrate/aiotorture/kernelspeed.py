"""How many requests a second the same cell does on several kernels, side by side.

The kernels take turns, and each turn's ratio is to the first kernel in that turn, so that a host
that is busier at one time than at another spoils neither. Rate: requests submitted between the
first one and the end of the race.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiotorture import matrix, setup
from aiotorture import scratch as scratch_folder
from aiotorture.cell import run_cell
from aiotorture.errors import HarnessError
from aiotorture.matrix import Cell, Selection
from aiotorture.plan import parse
from aiotorture.results import CellResult, Verdict

SCENARIO = "submit_cancel_race"
PLAN = "irq-delay"
# More than any guest does in the time: the race ends with its time alone.
ENDLESS = "100000000"


@dataclass(frozen=True)
class Speed:
    """Of one kernel: requests a second in each turn, seconds to the first iocb, and the median over the turns
    of the ratio to the first kernel's rate."""

    kernel: str
    rates: tuple[float, ...]
    start_s: tuple[float, ...]
    ratio: float

    def as_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def cell(kernel: str, time: str, turn: int) -> Cell:
    """The smoke cell of that kernel with a race that only its time ends."""
    wanted = f"{kernel}-zcdma-{SCENARIO}-{PLAN}-callback-2cpu"
    selection = Selection(kernels=(kernel,), scenarios=(SCENARIO,), time=time)
    (found,) = (each for each in matrix.cells(selection) if each.id == wanted)
    text = str(found.plan).replace(f"time={time}", f"time={time} requests={ENDLESS}")
    return dataclasses.replace(found, id=f"{found.id}-{turn}", plan=parse(text))


def rate(result: CellResult, run_dir: Path) -> float:
    """HarnessError when the cell did not end as it should."""
    if result.verdict in (Verdict.FAIL, Verdict.ERROR) or not result.run_s:
        raise HarnessError(f"{result.id}: {result.verdict.value} {result.reason}")
    at = stage_times(run_dir, result)
    return result.counters["submitted"] / ((at["draining"] - at["first_iocb"]) / 1e6)


def stage_times(run_dir: Path, result: CellResult) -> dict[str, int]:
    """µs after the run was asked for, by the agent's stages."""
    (path,) = (name for name in result.artefacts if name.endswith("agent.json"))
    events = json.loads((run_dir / path).read_text())["events"]
    return {e["stage"]: e["t_us"] for e in events if e.get("ev") == "stage"}


def ratios(rates: Sequence[Sequence[float]]) -> list[float]:
    """Of each kernel the median over the turns of its rate by the first kernel's."""
    return [
        statistics.median(mine / first for mine, first in zip(each, rates[0], strict=True))
        for each in rates
    ]


def measure(
    kernels: Sequence[str], turns: int, time: str, say: Callable[[str], None]
) -> list[Speed]:
    by_turn = [[cell(kernel, time, turn) for kernel in kernels] for turn in range(turns)]
    run_dir = scratch_folder.make()
    found: dict[str, list[float]] = {kernel: [] for kernel in kernels}
    starts: dict[str, list[float]] = {kernel: [] for kernel in kernels}
    try:
        with setup.standalone(by_turn[0], run_dir) as bench:
            for turn, cells in enumerate(by_turn, start=1):
                for kernel, each in zip(kernels, cells, strict=True):
                    result = run_cell(each, bench)
                    found[kernel].append(rate(result, run_dir))
                    starts[kernel].append(result.start_s or 0.0)
                    say(f"turn {turn}: {kernel} {found[kernel][-1]:.0f} requests/s")
    finally:
        shutil.rmtree(run_dir, ignore_errors=True)
    shares = ratios([found[kernel] for kernel in kernels])
    return [
        Speed(kernel, tuple(found[kernel]), tuple(starts[kernel]), share)
        for kernel, share in zip(kernels, shares, strict=True)
    ]
