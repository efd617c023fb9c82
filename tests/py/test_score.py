"""score.py: the order of the search, its budget, what it keeps, and its table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import sample_run

from aiotorture import build, score
from aiotorture.matrix import Cell
from aiotorture.results import CellResult, Verdict

PATCH = "Name: m\nClass: leak\nRace: yes\n\n--- a/driver/zcdma.c\n+++ b/driver/zcdma.c\n"
ONE = score.Planted(build.Mutant("m", PATCH), score.header_of(PATCH))
PASS = replace(
    sample_run.cell("submit_cancel_race", 2, "flag", "", Verdict.PASS),
    run_s=4.0,
    counters={"submitted": 1000},
)
SHOWN = replace(
    PASS,
    verdict=Verdict.FAIL,
    findings=(sample_run.HANG,),
    requests_to_first_finding=77,
    time_to_first_finding=0.5,
)


def cells() -> list[Cell]:
    return score.cells_for(ONE, "6.1", 7, "2s")


def searched(*outcomes: CellResult, budget_s: float = 60.0) -> score.Trial:
    given: Iterator[CellResult] = iter([*outcomes, *[PASS] * 100])
    return score.search(ONE, cells(), lambda _cell: next(given), budget_s)


def test_each_round_visits_every_plan_once() -> None:
    ordered = cells()

    def row(cell: Cell) -> tuple[str, ...]:
        name = cell.plan.scenario.name
        return ("" if name in score.EVERY_PLAN else name, *map(str, cell.plan.faults))

    rows = {row(cell) for cell in ordered}
    assert {row(cell) for cell in ordered[: len(rows)]} == rows
    mixes = ["-mix-" in cell.id for cell in ordered[: len(rows)]]
    assert any(mixes) and mixes == sorted(mixes, reverse=True)
    assert all(cell.end_at_finding for cell in ordered)
    assert all(cell.mutant == ONE.mutant and cell.id.endswith("-m-s7") for cell in ordered)


def test_the_order_and_the_cells_come_from_the_seed() -> None:
    assert [c.id for c in cells()] == [c.id for c in cells()]
    other = score.cells_for(ONE, "6.1", 8, "2s")
    assert [c.plan for c in other] != [c.plan for c in cells()]


def test_time_and_requests_add_up_to_the_first_finding() -> None:
    trial = searched(PASS, SHOWN)
    assert (trial.found, trial.cells, trial.requests, trial.seconds) == (True, 2, 1077, 4.5)
    assert (trial.oracle, trial.title) == ("hang", sample_run.HANG.title)


def test_a_miss_spends_the_budget_and_no_more() -> None:
    trial = searched(budget_s=10.0)
    assert (trial.found, trial.cells, trial.seconds) == (False, 3, 12.0)


def test_a_known_bug_and_a_miss_are_not_found() -> None:
    trial = searched(replace(PASS, verdict=Verdict.MISS), replace(PASS, verdict=Verdict.ERROR))
    assert not trial.found and trial.errors == 1


def test_trials_are_kept_whole_or_passed_over(tmp_path: Path) -> None:
    trial = replace(searched(SHOWN), identity="i", seed=3)
    score.append(tmp_path, trial)
    with (tmp_path / score.SCORE).open("a") as torn:
        torn.write('{"schema": 1, "mutant"')
    assert score.read(tmp_path) == [trial]


def test_exit_status() -> None:
    found, missed = searched(SHOWN), searched(budget_s=1.0)
    assert score.exit_status(score.rows([found])) == 0
    assert score.exit_status(score.rows([found, missed])) == 1
    assert score.exit_status(score.rows([replace(missed, errors=1)])) == 3
    assert score.exit_status(score.rows([replace(found, errors=1)])) == 0
    assert score.exit_status([]) == 3


def test_the_table_counts_seeds() -> None:
    [row] = score.rows([searched(SHOWN), searched(PASS, SHOWN), searched(budget_s=1.0)])
    assert (row.found, row.trials, row.kind, row.race) == (2, 3, "leak", True)
    assert "| m | leak | yes | 2/3 | hang |" in score.markdown([row])
    assert score.summary([row])[-1] == "sometimes: m 2/3"


def test_identity_follows_the_patch() -> None:
    other = replace(ONE, mutant=build.Mutant("m", PATCH + " \n"))
    assert score.identity(ONE, "6.1", 60) == score.identity(ONE, "6.1", 60)
    assert score.identity(ONE, "6.1", 60) != score.identity(other, "6.1", 60)
