"""From facts to a verdict: docs/interfaces.md, section 6, as a pure function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from aiotorture.finding import Finding
from aiotorture.plan import Plan
from aiotorture.results import CellResult, Hits, Verdict

EXIT_CLEAN = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_INCOMPLETE = 3


class GuestEnd(Enum):
    """How the guest of a cell came out of it."""

    ALIVE = "alive"
    DIED = "died of its own"
    KILLED = "ended by somebody else"


@dataclass(frozen=True)
class CellFacts:
    """What is known when a cell is over.

    `minima`: least counters of a full smoke cell, as the caller scaled them for a shorter one.
    `fired`: the agent's `faults` of the result, one `{phase, action, fired}` for each planned rule.
    """

    plan: Plan
    findings: Sequence[Finding] = ()
    guest: GuestEnd = GuestEnd.ALIVE
    has_result: bool = True
    counters: Mapping[str, int] = field(default_factory=dict)
    minima: Mapping[str, int] = field(default_factory=dict)
    fired: Sequence[Mapping[str, Any]] = ()
    hits: Mapping[str, Hits] = field(default_factory=dict)
    harness_error: str | None = None
    skip: str | None = None


@dataclass(frozen=True)
class Judgement:
    verdict: Verdict
    reason: str = ""


def judge(facts: CellFacts) -> Judgement:
    """The first row of section 6 that applies; `reason` is one line, empty for a PASS."""
    if facts.skip is not None:
        return Judgement(Verdict.SKIP, facts.skip)
    if facts.harness_error is not None:
        return Judgement(Verdict.ERROR, facts.harness_error)
    unknown = [finding for finding in facts.findings if finding.known is None]
    if unknown:
        more = f" (and {len(unknown) - 1} more)" if len(unknown) > 1 else ""
        return Judgement(Verdict.FAIL, unknown[0].title + more)
    if facts.guest is GuestEnd.DIED and not facts.findings:
        return Judgement(Verdict.FAIL, "the guest died of its own and left no report")
    if facts.guest is GuestEnd.KILLED:
        return Judgement(Verdict.MISS, "the guest was ended by somebody else")
    if not facts.has_result:
        return Judgement(Verdict.MISS, "no result")
    # A lost event or a hang ends the race where it is seen, also a known one.
    ended = any(finding.oracle in ("hang", "ledger") for finding in facts.findings)
    short = [] if ended else contention_shortfalls(facts.plan, facts.counters, facts.minima)
    if short:
        return Judgement(Verdict.MISS, "contention: " + ", ".join(short))
    silent = silent_faults(facts.plan, facts.fired)
    if silent:
        return Judgement(Verdict.MISS, "never fired: " + ", ".join(silent))
    apart = windows_not_met(facts.plan, facts.hits)
    if apart:
        return Judgement(Verdict.MISS, "racers did not meet: " + ", ".join(apart))
    return Judgement(Verdict.PASS)


def contention_shortfalls(
    plan: Plan, counters: Mapping[str, int], minima: Mapping[str, int]
) -> list[str]:
    """Counters below their minimum, as `name have<least`.

    A plan that stalls or removes the device ends the contention itself and has no minima; with
    `cancel=none` no cancel can win.
    """
    if plan.actions() & {"stall", "remove"}:
        return []
    exempt = {"cancel_won"} if plan.scenario.knob("cancel") == "none" else set()
    return [
        f"{name} {counters.get(name, 0)}<{least}"
        for name, least in minima.items()
        if name not in exempt and counters.get(name, 0) < least
    ]


def silent_faults(plan: Plan, fired: Sequence[Mapping[str, Any]]) -> list[str]:
    """Planned faults that the injector never fired, rule by rule (rule N is the plan's N-th)."""
    by_rule = {int(each.get("rule", index)): each for index, each in enumerate(fired)}
    silent: list[str] = []
    for rule, fault in enumerate(plan.faults):
        counted = by_rule.get(rule)
        if counted is None or int(counted.get("fired", 0)) <= 0:
            silent.append(f"{fault.phase} {fault.action}")
    return silent


def windows_not_met(plan: Plan, hits: Mapping[str, Hits]) -> list[str]:
    """Windows of the plan that no try entered, each with the reason. Those that the search adds by
    itself are not promised and only reported."""
    apart: list[str] = []
    for window in plan.windows:
        name = f"{window.racer} in {window.first}..{window.last}"
        got = hits.get(name, Hits(0, 0))
        if not got.tries and got.voids:
            apart.append(f"{name}: no request came to {window.first} ({got.voids} tries were void)")
        elif not got.tries:
            apart.append(f"{name}: not one try")
        elif not got.hits:
            over = f", {got.expired} holds ran out" if got.expired else ""
            apart.append(f"{name}: 0 hits of {got.tries} tries{over}")
    return apart


def exit_status(cells: Iterable[CellResult], controls: Mapping[str, bool]) -> int:
    """The exit status of `run`: control cells count by whether they were found, not by verdict."""
    judged = [cell for cell in cells if not cell.control]
    if any(cell.verdict is Verdict.FAIL for cell in judged):
        return EXIT_FINDINGS
    lost = any(cell.verdict in (Verdict.ERROR, Verdict.MISS) for cell in judged)
    if lost or not all(controls.values()):
        return EXIT_INCOMPLETE
    return EXIT_CLEAN
