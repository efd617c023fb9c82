"""What every report says about a run, computed once."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from aiotorture import heat
from aiotorture.bounds import interval
from aiotorture.finding import Finding
from aiotorture.plan import PlanError, parse
from aiotorture.results import CellResult, Hits, Run, Verdict

MET = (
    ("cancel_won", "cancels won"),
    ("cancel_lost", "cancels lost"),
    ("destroyed_inflight", "destroys in flight"),
    ("faults_fired", "faults fired"),
)
"""Counters that say how often the racers met, with the words for them."""


@dataclass(frozen=True)
class Occurrence:
    """One finding in one cell."""

    cell: CellResult
    finding: Finding


@dataclass(frozen=True)
class FindingGroup:
    """One finding with all cells that showed it; the first one's evidence stands for all."""

    anchor: str
    occurrences: tuple[Occurrence, ...]

    @property
    def finding(self) -> Finding:
        return self.occurrences[0].finding

    @property
    def cell(self) -> CellResult:
        return self.occurrences[0].cell


@dataclass(frozen=True)
class WindowRate:
    """A window's hit rate with its 95 % interval."""

    window: str
    tries: int
    hits: int
    low: float
    high: float
    held: float | None
    free: float | None
    expired: int
    voids: int


def _share(hits: int, tries: int) -> float | None:
    return hits / tries if tries else None


def _window(name: str, each: Hits) -> WindowRate:
    held, free = _share(each.hits_held, each.held), _share(each.hits_free, each.free)
    ends = interval(each.hits, each.tries)
    return WindowRate(name, each.tries, each.hits, *ends, held, free, each.expired, each.voids)


def repro_command(cell: CellResult) -> str:
    return f"./aiotorture repro {cell.token}"


def plan_label(cell: CellResult) -> str:
    """The plan without what the other columns say: target knobs, faults and windows."""
    try:
        plan = parse(cell.plan)
    except PlanError:
        return cell.plan.strip().splitlines()[0] if cell.plan.strip() else cell.id
    knobs = [f"{key}={value}" for key, value in plan.scenario.knobs if key == "cancel"]
    faults = [str(fault).removeprefix("fault ") for fault in plan.faults] or ["no fault"]
    windows = [str(window) for window in plan.windows]
    mutant = [f"mutant {cell.mutant}"] if cell.mutant else []
    return " · ".join([*mutant, *knobs, *faults, *windows])


def column_label(cell: CellResult) -> tuple[str, str, str]:
    cpus = "" if cell.cpus is None else f"{cell.cpus} CPU{'s' if cell.cpus != 1 else ''}"
    return cell.scenario, cell.kernel, cpus


def shown_verdict(cell: CellResult) -> str:
    """A control that is found did what it should."""
    if cell.control and cell.verdict is Verdict.FAIL:
        return "FOUND"
    return cell.verdict.value


def windows(cell: CellResult) -> list[WindowRate]:
    return [
        _window(name, each)
        for name, each in cell.hits.items()
        if 0 <= each.hits <= each.tries
    ]


@dataclass(frozen=True)
class RunView:
    """A run as reports see it; `torn` are lines of results.jsonl that could not be read."""

    run: Run
    cells: Sequence[CellResult]
    torn: Sequence[str] = ()

    @cached_property
    def judged(self) -> list[CellResult]:
        """The cells of the matrix; controls are counted apart."""
        return [cell for cell in self.cells if not cell.control]

    @cached_property
    def controls(self) -> list[CellResult]:
        return [cell for cell in self.cells if cell.control]

    @cached_property
    def counts(self) -> dict[Verdict, int]:
        counted = Counter(cell.verdict for cell in self.judged)
        return {verdict: counted[verdict] for verdict in Verdict}

    @cached_property
    def heat(self) -> heat.HeatMap | None:
        return heat.of_cells(self.cells)

    @property
    def missing(self) -> int:
        """Cells that were planned and have no result."""
        return max(0, self.run.planned - len(self.cells)) if self.run.planned else 0

    @cached_property
    def median_start_s(self) -> float | None:
        starts = [cell.start_s for cell in self.cells if cell.start_s is not None]
        return statistics.median(starts) if starts else None

    @cached_property
    def findings(self) -> list[FindingGroup]:
        """New findings of the matrix, one for each signature and mutant."""
        return self._groups(self.judged, known=False, prefix="finding")

    @cached_property
    def known_findings(self) -> list[FindingGroup]:
        return self._groups(self.judged, known=True, prefix="known")

    @cached_property
    def control_findings(self) -> list[FindingGroup]:
        return self._groups(self.controls, known=False, prefix="control")

    @cached_property
    def met(self) -> dict[str, int]:
        """Sums of the counters in MET over the matrix."""
        return {name: sum(c.counters.get(name, 0) for c in self.judged) for name, _ in MET}

    @staticmethod
    def _groups(cells: Sequence[CellResult], known: bool, prefix: str) -> list[FindingGroup]:
        grouped: dict[tuple[str, str], list[Occurrence]] = {}
        for cell in cells:
            for finding in cell.findings:
                if (finding.known is not None) == known:
                    key = (cell.mutant or "", finding.signature)
                    grouped.setdefault(key, []).append(Occurrence(cell, finding))
        return [
            FindingGroup(f"{prefix}-{number}", tuple(each))
            for number, each in enumerate(grouped.values(), start=1)
        ]
