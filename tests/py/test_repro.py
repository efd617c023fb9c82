"""repro.py and bundle.py: hits of tries, bundles that replay, logs that are recognised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import sample_run

from aiotorture import bundle, repro
from aiotorture.finding import Finding
from aiotorture.repro import Bounds, repeat, resolve
from aiotorture.results import CellResult, Verdict
from aiotorture.token import Expected, Mutant, Stored, TokenError, store

CELL = Stored(
    plan="scenario submit_cancel_race\nseed 1\n",
    seed=1,
    scenario_version="v",
    target="zcdma",
    lane="qemu",
    kernel={"release": "6.1"},
    mutant=Mutant("m", "--- a\n+++ b\n"),
    expected=(Expected("hang", sample_run.HANG.title, sample_run.HANG.signature),),
    cell_id="6.1-x",
)
PASS = sample_run.cell("submit_cancel_race", 2, "flag", "", Verdict.PASS)
SHOWN = replace(PASS, verdict=Verdict.FAIL, findings=(sample_run.HANG,))
OTHER = replace(PASS, verdict=Verdict.FAIL, findings=(Finding("data", "wrong", "data:w"),))
MISS = replace(PASS, verdict=Verdict.MISS, reason="no result")


class Script:
    """A runner that gives the results it was told, and counts."""

    def __init__(self, *results: CellResult) -> None:
        self.results = list(results)
        self.ran = 0

    def run(self, cell: Stored) -> CellResult:
        assert cell == CELL or not cell.expected
        self.ran += 1
        return self.results[(self.ran - 1) % len(self.results)]


def test_stops_at_the_first_hit() -> None:
    said: list[str] = []
    runner = Script(PASS, MISS, OTHER, SHOWN)
    outcome = repeat(CELL, runner, say=said.append)
    assert (outcome.tries, outcome.hits, outcome.lost, runner.ran) == (4, 1, 1, 4)
    assert outcome.others == ("wrong",)
    assert outcome.exit_status == 1
    assert outcome.lines()[-1].startswith(f"{CELL.token}: 1 of 3 tries (95 %: 1% to 91%)")
    assert said[1] == "try 2: MISS no result" and said[3].endswith(sample_run.HANG.title)


def test_all_tries_give_a_rate() -> None:
    outcome = repeat(CELL, Script(*[SHOWN] * 9, PASS), Bounds(tries=10, first_hit=False))
    assert (outcome.tries, outcome.hits) == (10, 9)
    assert "9 of 10 tries (95 %: 55% to 100%)" in outcome.lines()[-1]


def test_another_title_is_no_hit_but_a_finding() -> None:
    outcome = repeat(CELL, Script(OTHER), Bounds(tries=3))
    assert (outcome.tries, outcome.hits, outcome.exit_status) == (3, 0, 1)
    assert repeat(CELL, Script(PASS), Bounds(tries=3)).exit_status == 0


def test_nothing_proved_is_not_clean() -> None:
    assert repeat(CELL, Script(MISS), Bounds(tries=2)).exit_status == 3


def test_time_bound_is_kept_between_tries() -> None:
    ticks = iter([0.0, 50.0, 110.0, 111.0, 112.0])
    outcome = repeat(CELL, Script(PASS), Bounds(tries=99, time_s=100), clock=lambda: next(ticks))
    assert outcome.tries == 2


def test_a_cell_stored_for_nothing_is_shown_by_any_new_finding() -> None:
    bare = replace(CELL, expected=())
    assert repeat(bare, Script(OTHER)).exit_status == 1
    known = replace(OTHER, findings=(replace(OTHER.findings[0], known="abc"),))
    assert repeat(bare, Script(known), Bounds(tries=1)).exit_status == 0


def test_bundle_replays_and_holds_the_evidence(tmp_path: Path) -> None:
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells" / "console.log").write_text("boot\n")
    shown = replace(SHOWN, token=CELL.token, artefacts=("cells/console.log", "cells/gone"))
    folder = bundle.write(tmp_path, shown, CELL)
    assert sorted(path.name for path in folder.iterdir()) == [
        "artefacts", "evidence.txt", "mutant.patch", "plan.txt", "result.json", "token.json",
    ]  # fmt: skip
    assert (folder / "artefacts" / "console.log").read_text() == "boot\n"
    assert (folder / "evidence.txt").read_text().endswith(f"repro {CELL.token}\n")
    assert resolve(str(folder), [], tmp_path) == CELL


def test_resolve(tmp_path: Path) -> None:
    store(CELL, None, tmp_path)
    assert resolve(CELL.token, [], tmp_path) == CELL
    log = tmp_path / "console.log"
    log.write_text("")
    assert resolve(str(log), [], tmp_path) == log
    for wrong in ("nothing", str(tmp_path), "at1-aaaaaaaaaaaaa"):
        with pytest.raises(TokenError):
            resolve(wrong, [], tmp_path)


def test_a_reported_log_names_the_cells_that_show_it(tmp_path: Path) -> None:
    log = sample_run.CONSOLES / "composed-6.12-list-del-warn.log"
    title = "list_del corruption in zcdma_dequeue"
    same = Expected("kernel-log", title, "kernel-log:list/list_del:zcdma_dequeue:zcdma_cancel")
    alike = Expected("kernel-log", title, "kernel-log:list/list_del:zcdma_dequeue:zcdma_timeout")
    store(replace(CELL, expected=(alike,), seed=2), None, tmp_path)
    store(replace(CELL, expected=(same,), seed=3), None, tmp_path)
    store(replace(CELL, seed=4), None, tmp_path)
    (tmp_path / "at1-broken.json").write_text("{")
    stored = repro.stored_cells([], tmp_path)
    assert len(stored) == 3
    (found,) = repro.recognise(log, stored)
    assert found.finding.title == title
    assert [cell.seed for cell in found.cells] == [3, 2]
    assert any("./aiotorture repro at1-" in line for line in repro.recognised_lines([found]))
    benign = sample_run.CONSOLES / "composed-6.1-benign-mitigations.log"
    assert repro.recognise(benign, stored) == []
    assert repro.recognised_lines([]) == ["nothing that the kernel-log oracle knows"]
