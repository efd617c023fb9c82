"""verdict.py: one test for each row of docs/interfaces.md, section 6."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiotorture.finding import Finding
from aiotorture.plan import parse
from aiotorture.results import CellResult, Hits, Verdict
from aiotorture.verdict import CellFacts, GuestEnd, Judgement, exit_status, judge

NEW = Finding("ledger", "request lost", "ledger:lost")
KNOWN = replace(NEW, known="0123456789ab")
GOOD = CellFacts(
    plan=parse("scenario s cancel=flush; fault irq drop; fault start late"),
    counters={"submitted": 100, "cancel_won": 10},
    minima={"submitted": 100, "cancel_won": 10},
    fired=({"rule": 0, "fired": 1}, {"rule": 1, "fired": 2}),
)
SHORT = {"submitted": 99, "cancel_won": 0}


@pytest.mark.parametrize(
    ("facts", "verdict", "reason"),
    [
        (GOOD, Verdict.PASS, ""),
        (replace(GOOD, skip="kernel has no poll"), Verdict.SKIP, "kernel has no poll"),
        (replace(GOOD, harness_error="no qemu"), Verdict.ERROR, "no qemu"),
        (replace(GOOD, harness_error="no qemu", findings=[NEW]), Verdict.ERROR, "no qemu"),
        (replace(GOOD, findings=[NEW]), Verdict.FAIL, "request lost"),
        (replace(GOOD, findings=[NEW, NEW]), Verdict.FAIL, "request lost (and 1 more)"),
        (replace(GOOD, findings=[KNOWN]), Verdict.PASS, ""),
        (replace(GOOD, findings=[KNOWN, NEW]), Verdict.FAIL, "request lost"),
        (
            replace(GOOD, findings=[NEW], guest=GuestEnd.KILLED, has_result=False),
            Verdict.FAIL,
            "request lost",
        ),
        (
            replace(GOOD, guest=GuestEnd.DIED, has_result=False),
            Verdict.FAIL,
            "the guest died of its own and left no report",
        ),
        (
            replace(GOOD, guest=GuestEnd.DIED, has_result=False, findings=[KNOWN]),
            Verdict.MISS,
            "no result",
        ),
        (
            replace(GOOD, guest=GuestEnd.KILLED, has_result=False),
            Verdict.MISS,
            "the guest was ended by somebody else",
        ),
        (
            replace(GOOD, guest=GuestEnd.KILLED),
            Verdict.MISS,
            "the guest was ended by somebody else",
        ),
        (replace(GOOD, has_result=False), Verdict.MISS, "no result"),
        (
            replace(GOOD, counters=SHORT),
            Verdict.MISS,
            "contention: submitted 99<100, cancel_won 0<10",
        ),
        (replace(GOOD, counters={}), Verdict.MISS, "contention: submitted 0<100, cancel_won 0<10"),
        (
            replace(GOOD, fired=({"rule": 0, "fired": 1}, {"rule": 1, "fired": 0})),
            Verdict.MISS,
            "never fired: start late",
        ),
        (replace(GOOD, fired=()), Verdict.MISS, "never fired: irq drop, start late"),
        (
            replace(
                GOOD,
                plan=parse("scenario s; fault start stall"),
                counters=SHORT,
                fired=({"rule": 0, "fired": 1},),
            ),
            Verdict.PASS,
            "",
        ),
        (
            replace(GOOD, plan=parse("scenario s; fault irq remove"), counters=SHORT, fired=()),
            Verdict.MISS,
            "never fired: irq remove",
        ),
        (
            replace(
                GOOD,
                plan=parse("scenario s cancel=none"),
                counters={"submitted": 100, "cancel_won": 0},
            ),
            Verdict.PASS,
            "",
        ),
    ],
)
def test_the_first_row_that_applies(facts: CellFacts, verdict: Verdict, reason: str) -> None:
    assert judge(facts) == Judgement(verdict, reason)


def cell(verdict: Verdict, control: bool = False) -> CellResult:
    return CellResult(
        "i", "t", "zcdma", "6.1", "qemu", "tcg", "s", "p", 1, None, verdict, control=control
    )


@pytest.mark.parametrize(
    ("verdicts", "controls", "status"),
    [
        ([], {}, 0),
        ([Verdict.PASS, Verdict.SKIP], {"a": True}, 0),
        ([Verdict.PASS, Verdict.FAIL, Verdict.MISS], {"a": True}, 1),
        ([Verdict.FAIL], {"a": False}, 1),
        ([Verdict.PASS, Verdict.MISS], {}, 3),
        ([Verdict.ERROR], {}, 3),
        ([Verdict.PASS], {"a": True, "b": False}, 3),
    ],
)
def test_exit_status(verdicts: list[Verdict], controls: dict[str, bool], status: int) -> None:
    cells = [cell(verdict) for verdict in verdicts]
    assert exit_status([*cells, cell(Verdict.FAIL, control=True)], controls) == status


WINDOWED = replace(
    GOOD, plan=parse("scenario s; window canceller in irq..complete hold=5ms"), fired=(), minima={}
)
WINDOW = "canceller in irq..complete"


@pytest.mark.parametrize(
    ("hits", "verdict", "reason"),
    [
        ({WINDOW: Hits(9, 1)}, Verdict.PASS, ""),
        ({}, Verdict.MISS, f"racers did not meet: {WINDOW}: not one try"),
        (
            {WINDOW: Hits(0, 0, voids=7)},
            Verdict.MISS,
            f"racers did not meet: {WINDOW}: no request came to irq (7 tries were void)",
        ),
        (
            {WINDOW: Hits(8, 0, held=8, expired=8)},
            Verdict.MISS,
            f"racers did not meet: {WINDOW}: 0 hits of 8 tries, 8 holds ran out",
        ),
        ({"reaper in irq..complete": Hits(5, 5)}, Verdict.MISS, f"racers did not meet: {WINDOW}: not one try"),
    ],
)
def test_a_planned_window_that_nobody_entered_is_a_miss(
    hits: dict[str, Hits], verdict: Verdict, reason: str
) -> None:
    assert judge(replace(WINDOWED, hits=hits)) == Judgement(verdict, reason)
