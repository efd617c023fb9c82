"""Do tokens repeat? Each mutant's found trial is replayed from its token, so many times.

Kept in repeats.jsonl beside the score, one line a token, written when all its tries were made.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiotorture import repro, rundir, token
from aiotorture.cell import cell_of
from aiotorture.matrix import Cell
from aiotorture.results import CellResult
from aiotorture.score.trials import Trial, lines

REPEATS = "repeats.jsonl"


@dataclass(frozen=True)
class Replayed:
    """`hits`: tries with a finding of the kept cell; `same`: those that had the trial's first title."""

    mutant: str
    token: str
    title: str
    tries: int
    hits: int
    same: int
    lost: int

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Replayed:
        return Replayed(**{name: stored[name] for name in Replayed.__dataclass_fields__})


def read(folder: Path) -> list[Replayed]:
    kept = []
    for line in lines(folder / REPEATS):
        try:
            kept.append(Replayed.from_json(line))
        except KeyError:
            continue
    return kept


def wanted(trials: Sequence[Trial], done: Sequence[Replayed], tries: int) -> list[Trial]:
    """For each mutant the first of its trials that found it, unless it was replayed so often."""
    first: dict[str, Trial] = {}
    for trial in sorted(trials, key=lambda each: each.seed):
        if trial.aimed.found and trial.aimed.token:
            first.setdefault(trial.mutant, trial)
    kept = {(each.token, each.tries) for each in done}
    return [trial for trial in first.values() if (trial.aimed.token, tries) not in kept]


class _Counting:
    """Runs the stored cell and counts the tries that show the title asked for."""

    def __init__(self, run: Callable[[Cell], CellResult], title: str) -> None:
        self._run = run
        self._title = title
        self.same = 0

    def run(self, cell: token.Stored) -> CellResult:
        result = self._run(cell_of(cell))
        self.same += any(finding.title == self._title for finding in result.findings)
        return result


def replay(trial: Trial, folder: Path, tries: int, run: Callable[[Cell], CellResult]) -> Replayed:
    stored = token.load(trial.aimed.token, [folder, *rundir.runs()], None)
    counting = _Counting(run, trial.aimed.title)
    bounds = repro.Bounds(tries=tries, time_s=float("inf"), first_hit=False)
    outcome = repro.repeat(stored, counting, bounds)
    return Replayed(
        trial.mutant, trial.aimed.token, trial.aimed.title, tries, outcome.hits, counting.same,
        outcome.lost,
    )  # fmt: skip


def by_mutant(replayed: Sequence[Replayed]) -> dict[str, str]:
    return {each.mutant: f"{each.same}/{each.tries}" for each in replayed}


def summary(replayed: Sequence[Replayed]) -> list[str]:
    if not replayed:
        return []
    shares = [10 * each.same / each.tries for each in replayed]
    any_title = [10 * each.hits / each.tries for each in replayed]
    return [
        f"a token shows the same title in {statistics.median(shares):g} of 10 tries, any title of its "
        f"cell in {statistics.median(any_title):g} (medians over {len(replayed)} mutants)"
    ]
