"""score/: what the model of the driver is asked for, and what becomes of its answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import test_score

from aiotorture import build
from aiotorture.score import planted, search, second_opinion, table, trials
from aiotorture.score.planted import Planted
from aiotorture.score.second_opinion import Opinion

SHOWN = Opinion(True, "deadlock", "unbind waits for gate for ever", variant="callback-unbind", schedules=90)
BRIEF = replace(test_score.STOCK, budget_s=1.0)


def variant(name: str, *unexpected: str, found: tuple[str, ...] = ()) -> dict[str, object]:
    findings = [
        {"oracle": each.split(":")[0], "title": f"{each}!", "signature": each, "token": "at1-m-x"}
        for each in found
    ]
    return {"variant": name, "schedules": 30, "unexpected": unexpected, "findings": findings}


def test_it_is_asked_for_what_the_search_missed_alone() -> None:
    asked = []

    def ask(one: Planted, seed: int) -> Opinion:
        asked.append((one.name, seed))
        return SHOWN

    assert search.search(test_score.ONE, 7, BRIEF, test_score.Runner(test_score.SHOWN), ask).model is None
    missed = search.search(test_score.ONE, 7, BRIEF, test_score.Runner(), ask)
    assert missed.model == SHOWN and not missed.aimed.found and asked == [("m", 7)]


def test_it_is_kept_and_told_apart_from_what_guests_found(tmp_path: Path) -> None:
    missed = replace(test_score.searched(method=BRIEF), model=SHOWN)
    silent = replace(missed, mutant="n", model=Opinion(False, schedules=90))
    for trial in (missed, silent):
        trials.append(tmp_path / trials.SCORE, trial.to_json())
    assert trials.read(tmp_path) == [missed, silent]
    rows = table.rows([missed, silent])
    assert [row.found for row in rows] == [0, 0] and table.exit_status(rows) == table.EXIT_MISSED
    assert "| callback-unbind: deadlock: unbind waits for gate for ever |" in table.markdown(rows)
    assert table.summary(rows, 1.0)[-1] == "of 2 missed searches the model of the driver shows 1: m"
    assert "model" not in table.markdown(table.rows([test_score.searched(test_score.SHOWN)]))


def test_findings_that_a_variant_expects_are_none() -> None:
    told = json.dumps([variant("a", found=("leak:1",)), variant("b", "deadlock:2", found=("leak:1", "deadlock:2"))])
    opinion = second_opinion.judged(1, told, "")
    assert opinion == Opinion(True, "deadlock", "deadlock:2!", "deadlock:2", "b", "at1-m-x", 60)
    assert second_opinion.judged(0, json.dumps([variant("a")]), "") == Opinion(False, schedules=30)


def test_why_there_is_none_is_one_line() -> None:
    silent = second_opinion.judged(2, "", "zcdma.c:3: error: no such\nat-explore: the mutant does not compile\n")
    assert silent.told == "no opinion: at-explore, exit status 2: zcdma.c:3: error: no such"
    assert second_opinion.judged(-9, "", "").told == "no opinion: at-explore, exit status -9: no output"


def test_a_bug_of_the_card_has_no_place_in_the_model() -> None:
    (card,) = planted.planted(["edu-stop-says-stopped"])
    assert second_opinion.ask(card, 1) is None


def test_the_model_shows_a_planted_bug_and_nothing_in_the_correct_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_opinion, "SCHEDULES", 1000)
    (bug,) = planted.planted(["gate-kept-when-gone"])
    shown = second_opinion.ask(bug, 3)
    assert shown is not None and (shown.oracle, shown.variant.split("-")[1]) == ("deadlock", "unbind")
    assert second_opinion.ask(planted.correct(), 3) == Opinion(False, schedules=28 * 1000)


def test_a_patch_that_the_model_cannot_build_is_told(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.patch"
    (bug,) = planted.planted(["gate-kept-when-gone"])
    foreign.write_text(bug.mutant.patch.replace("\n+\t", "\n+\tnot C ") if bug.mutant else "")
    opinion = second_opinion.ask(Planted(build.find_mutant(str(foreign)), {}), 1)
    assert opinion is not None and not opinion.found and "error: " in opinion.error
