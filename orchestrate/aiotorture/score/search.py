"""The default search, and blind stress beside it.

    mutant, seed -> cells of the search profile in a seeded order -> first FAIL, or the budget is spent

The order is drawn so that each round visits every row of the profile once, with CPUs drawn anew: a
short search has then seen all faults. A cell's race is cut to a slice, for the same reason. No plan
is made for a mutant; the header of its patch is read for the table alone. Several kernels share the
budget, one after another, each with an order of its own from the beginning.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from aiotorture import matrix, sites
from aiotorture.plan import DEVICE_PHASES, Scenario, duration_ns
from aiotorture.results import CellResult, Verdict
from aiotorture.score.planted import Method, Planted
from aiotorture.score.second_opinion import Opinion
from aiotorture.score.trials import Trial, Walk

# Makes most requests in the same time, and showed four times as many bugs in the mixes as any other.
FIRST = "submit_cancel_race"
# Of 190 searches: bugs shown in a second of a hasty cell, by those that no cell before had shown: 0.13 in the first of
# these mixes, 0.10 in the second, 0.05 and 0.03 in the others, which is their order; 0.02 to 0.08 in a second of the
# next rows and of three of the mixes again, 0.01 to 0.015 of the others, and none in some 40 visits each of the rows
# that come late.
FIRST_PLANS = ("-mix-flush-", "-mix-callback-", "-mix-starved-", "-mix-flag-")
NEXT = (
    "-tiny-ring-", "-mix-timers-", "-full-device-", "-written-back-", "-late-long-", "-mix-none-",
    "-removal_under_load-teardown-", "-promised-",
)  # fmt: skip
# They draw their knobs anew, so that a second visit is not the first one again. The first kernel's share of a minute
# has seen these and what comes before.
AGAIN = (
    "-tiny-ring-", "-mix-timers-", "-written-back-", "-removal_under_load-teardown-", "-promised-",
)  # fmt: skip
LATE = (
    "-submit_cancel_race-mix-flush-", "-interrupts-", "-slow-device-", "-destroy_under_load-", "-scarce-",
    "-last-interrupt-",
)  # fmt: skip
# What they alone show is little beside the time that they take.
LAST = ("-melee-mix-", "-differential-")
# A sanitizer needs to see a path once, and its few seconds are for the scenario that enters most of them.
FIRST_LATER = "melee"
ONE_CPU_IN = 6
MOST_CPUS = 2
# A process or a device that comes and goes takes its time, and so does what is seen only beside a device that
# is never done.
LONGER_TIMES = 2.0
LONGER = ("exit_under_load", "removal_under_load")
LONGER_PLANS = ("-saturated-opened-",)
# Most bugs show in a mix, nearly all of those within a second of it: more cells show more than longer ones, and
# more than a third of such a cell is set-up and teardown.
MIX_TIMES = 1.25
# Of 102 bugs that the first mixes showed, half showed within 0.8 s of a cell's run, a tenth of them between that and
# the race's end, and a third behind it, in the drain and the books. So they are visited once in haste.
HASTY_TIMES = 0.5
# Blind stress is given up at so many times the requests of the aimed search.
BLIND_TIMES = 20
# A guest that died has told how many it had made up to some hundredths of a second before: at most so many
# are not in the count, at the rates seen under emulation. They are counted as if they had been made, so that
# no ratio profits from them.
UNTOLD_REQUESTS = 100
# 0 is no order.
SITE_ORDERS = (1 << 32) - 1
# Between the seeds of two rounds, so that no trial repeats what another one did.
ROUNDS_APART = 1 << 20
AGAIN_SUFFIX = "-again"

Run = Callable[[matrix.Cell], CellResult]
Ask = Callable[[Planted, int], Opinion | None]
Leg = tuple[Sequence[matrix.Cell], float]
"""Cells of one kernel, and the guest-seconds they may take."""


def _is_mix(cell: matrix.Cell) -> bool:
    return "-mix-" in cell.id


def _slices(cell: matrix.Cell) -> float:
    """How many slices its race takes."""
    if cell.plan.scenario.name in LONGER or any(plan in cell.id for plan in LONGER_PLANS):
        return LONGER_TIMES
    return MIX_TIMES if _is_mix(cell) else 1.0


def _is_of(rows: Sequence[str], cell: matrix.Cell) -> bool:
    return any(row in cell.id for row in rows)


def _is_first(cell: matrix.Cell, first: str) -> bool:
    return cell.plan.scenario.name == first and _is_of(FIRST_PLANS, cell)


def _turn(cell: matrix.Cell, first: str) -> int:
    if cell.id.endswith(AGAIN_SUFFIX):
        return 3
    if _is_of(LATE, cell):
        return 4
    if _is_first(cell, first):
        return 1
    if _is_of(LAST, cell):
        return 5
    return 0 if _is_of(NEXT, cell) else 2


def in_order(cells: Sequence[matrix.Cell], seed: int, first: str = FIRST) -> list[matrix.Cell]:
    """Round by round through the rows, a plan and a scenario each, each round in an order of its own; in
    each the rows of NEXT come first, then FIRST_PLANS of the scenario `first`, which were visited in haste before,
    and those of AGAIN once more, LATE and LAST last. A row of a round has one CPU in one case of
    ONE_CPU_IN, and not in the first, while it has such cells and others: they make a third of the
    requests in the same time, and there is less that can meet."""
    drawn = random.Random(seed)
    by_row: dict[str, list[matrix.Cell]] = {}
    for cell in cells:
        again = cell.id.endswith(AGAIN_SUFFIX)
        row = f"{cell.plan.scenario.name} {sorted(map(str, cell.plan.faults))} {again}"
        by_row.setdefault(row, []).append(cell)
    stacks = list(by_row.values())
    for stack in stacks:
        drawn.shuffle(stack)
        single = [cell for cell in stack if cell.cpus == 1]
        others = [cell for cell in stack if cell.cpus != 1]
        stack.clear()  # it is taken from its end
        while single and others:
            several = not stack or drawn.randrange(ONE_CPU_IN)
            stack.insert(0, (others if several else single).pop())
        stack[:0] = single + others
    ordered: list[matrix.Cell] = []
    while stacks:
        drawn.shuffle(stacks)
        stacks.sort(key=lambda stack: _turn(stack[-1], first))  # stable
        ordered += [stack.pop() for stack in stacks]
        stacks = [stack for stack in stacks if stack]
    return ordered


def _other_sites_each(cells: Iterable[matrix.Cell], seed: int) -> list[matrix.Cell]:
    """Cells that draw instructions out, in one order of the search's: each goes on where the last one with its
    path, cancel mode and CPUs ended, since what a mode does not pass it cannot draw out. Drawn anew in each
    cell, four of ten of the heaviest would be left out in the six cells that a mode has in a minute, and the
    others come twice."""
    drawn: Counter[tuple[str, str, int, str | None]] = Counter()
    others = []
    for cell in cells:
        knobs: dict[str, str] = {}
        for knob, first in sites.FIRST_OF.items():
            count = sites.wanted(cell.plan, knob) if sites.placed(cell.plan, cell.cpus) else 0
            if count:
                # those that have many of a path's pass it most, and begin with the heaviest themselves
                path = f"{sites.path_of(cell.plan)} {count}" if knob == "path_sites" else ""
                key = (knob, path, cell.cpus, cell.plan.scenario.knob("cancel"))
                knobs |= {"site_order": str(1 + seed % SITE_ORDERS), first: str(drawn[key])}
                drawn[key] += count
        others.append(dataclasses.replace(cell, plan=cell.plan.with_knobs(knobs)) if knobs else cell)
    return others


def cells_for(
    one: Planted,
    kernel: str,
    seed: int,
    slice_time: str,
    without: tuple[str, ...] = (),
    cpus: int | None = None,
    first: str = FIRST,
) -> list[matrix.Cell]:
    """The search profile with this mutant: the rows that come first in haste, where there is time for one round,
    then round by round. Ids say the seed, so that results of several fit together. `cpus`: cells with so many
    alone."""
    muted = "".join(f"-no-{oracle.replace('/', '-')}" for oracle in without)

    def offered(slices: float, round_seed: int) -> list[matrix.Cell]:
        return matrix.cells(
            matrix.Selection(
                kernels=(one.kernel_for(kernel),),
                targets=one.targets,
                seed=round_seed,
                time=f"{duration_ns(slice_time) * slices / 1e6:.0f}ms",
                profile=one.profile,
            )
        )

    def mutated(chosen: Iterable[matrix.Cell], suffix: str) -> list[matrix.Cell]:
        return [
            dataclasses.replace(
                cell,
                mutant=one.cell_mutant,
                id=f"{cell.id}-{one.name}{muted}-s{seed}{suffix}",
                end_at_finding=one.ends_at_finding,
                mute=without,
            )
            for cell in chosen
            if not cell.control and cpus in (None, cell.cpus)
        ]

    ordered: list[matrix.Cell] = []
    if one.rounds == 1:
        hasty = offered(HASTY_TIMES, seed + ROUNDS_APART)
        ordered = mutated(
            [cell for cell in hasty if _is_first(cell, first) and cell.cpus == (cpus or MOST_CPUS)],
            "-hasty",
        )
        ordered.sort(key=lambda cell: [plan in cell.id for plan in FIRST_PLANS], reverse=True)

    def sliced(round_seed: int) -> list[matrix.Cell]:
        return [
            cell
            for slices in (1.0, MIX_TIMES, LONGER_TIMES)
            for cell in offered(slices, round_seed)
            if _slices(cell) == slices
        ]

    for again in range(one.rounds):
        round_seed = seed + again * ROUNDS_APART
        chosen = mutated(sliced(round_seed), f"-{again}" if again else "")
        if one.rounds == 1:
            twice = [cell for cell in sliced(seed + 2 * ROUNDS_APART) if _is_of(AGAIN, cell)]
            chosen += mutated((cell for cell in twice if cell.cpus == (cpus or MOST_CPUS)), AGAIN_SUFFIX)
        ordered += in_order(chosen, round_seed, first)
    return _other_sites_each(ordered, seed)


def blindly(cell: matrix.Cell) -> matrix.Cell:
    """The same cell with blind stress: the knob `blind` of every scenario, and without what draws the driver's
    own phases out for racers, or its windows wider. What the device does wrong stays, and so do steps that fail."""
    scenario = cell.plan.scenario
    asked = {"blind": "1", **({"widen": "0"} if scenario.knob("look_ns") else {})}
    knobs = (*(pair for pair in scenario.knobs if pair[0] not in asked), *asked.items())
    faults = tuple(
        fault for fault in cell.plan.faults if fault.phase in DEVICE_PHASES or fault.action != "delay"
    )
    plan = dataclasses.replace(cell.plan, scenario=Scenario(scenario.name, knobs), faults=faults)
    return dataclasses.replace(cell, plan=plan, id=f"{cell.id}-blind")


def _guest_seconds(result: CellResult) -> float:
    """Of the race and what follows it; a guest that died has no `run_s`."""
    return result.run_s if result.run_s is not None else (result.wall_s or 0.0)


def _until_finding(result: CellResult) -> tuple[float, int]:
    """Seconds and requests of a cell with a finding; host findings carry no time of their own."""
    known_too = any(finding.known for finding in result.findings)  # the first may have been one of those
    seconds = None if known_too else result.time_to_first_finding
    requests = result.requests_to_first_finding
    if requests is None:
        requests = int(result.counters.get("submitted", 0))
    if result.run_s is None:
        requests += UNTOLD_REQUESTS
    return seconds if seconds is not None else _guest_seconds(result), requests


def walk(legs: Iterable[Leg], run: Run, most_requests: int | None = None) -> Walk:
    """Runs the cells until one FAILs, each leg's guest-seconds are spent or so many requests were
    made. The last cell may go beyond a bound."""
    spent_s, requests, count, errors = 0.0, 0, 0, 0
    allowed_s, cap = 0.0, "cells"
    for cells, share_s in legs:
        allowed_s += share_s
        for cell in cells:
            if spent_s >= allowed_s:
                cap = "time"
                break
            if most_requests is not None and requests >= most_requests:
                return Walk(False, seconds=round(spent_s, 3), requests=requests, cells=count,
                            errors=errors, cap="requests")  # fmt: skip
            result = run(cell)
            count += 1
            errors += result.verdict is Verdict.ERROR
            if result.verdict is Verdict.FAIL:
                seconds, until = _until_finding(result)
                found = result.unknown_findings
                return Walk(
                    found=True,
                    oracle=found[0].oracle if found else "",
                    title=found[0].title if found else result.reason,
                    signature=found[0].signature if found else "",
                    oracles=tuple(dict.fromkeys(finding.oracle for finding in found)),
                    seconds=round(spent_s + seconds, 3),
                    requests=requests + until,
                    cells=count,
                    errors=errors,
                    kernel=cell.kernel,
                    cell=result.id,
                    token=result.token,
                )
            spent_s += _guest_seconds(result)
            requests += int(result.counters.get("submitted", 0))
    cap = "time" if spent_s >= allowed_s else cap
    return Walk(False, seconds=round(spent_s, 3), requests=requests, cells=count, errors=errors,
                cap=cap)  # fmt: skip


def search(
    one: Planted, seed: int, method: Method, run: Run, ask: Ask | None = None
) -> Trial:
    """The default search, and for a race, when asked for, blind stress of the same cells in the same
    order: at most the same time, and BLIND_TIMES the requests. Who is asked for a second opinion, is where
    the search found nothing. Whoever keeps the trial gives it the identity that it began with: sources may
    change under a search."""
    method = one.method(method)
    legs = [
        (
            cells_for(
                one, kernel, seed, method.slice_time, method.without, method.cpus,
                FIRST_LATER if leg else FIRST,
            ),
            share_s,
        )
        for leg, (kernel, share_s) in enumerate(method.shares())
    ]  # fmt: skip
    aimed = walk(legs, run)
    blind = None
    if method.blind and one.race:
        most = None if method.blind_full else BLIND_TIMES * max(1, aimed.requests)
        blind = walk([([*map(blindly, cells)], share_s) for cells, share_s in legs], run, most)
    return Trial(
        identity="",
        mutant=one.name,
        kind=one.kind,
        race=one.race,
        kernels=method.kernels,
        seed=seed,
        budget_s=method.budget_s,
        aimed=aimed,
        blind=blind,
        without=method.without,
        model=ask(one, seed) if ask and not aimed.found else None,
    )
