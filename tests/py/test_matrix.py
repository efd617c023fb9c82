"""Cells: the order, the ids, the seeds, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from aiotorture import matrix
from aiotorture.errors import ConfigurationError
from aiotorture.matrix import Selection


def test_smoke_holds_what_it_promises() -> None:
    cells = [cell for cell in matrix.cells(Selection()) if not cell.control]
    modes = {cell.plan.scenario.knob("cancel") for cell in cells}
    assert modes == {"callback", "flush", "flag", "none"}
    assert {cell.cpus for cell in cells} == {1, 2}
    by_scenario: dict[str, set[str]] = {}
    for cell in cells:
        faults = " ".join(str(fault) for fault in cell.plan.faults)
        by_scenario.setdefault(cell.plan.scenario.name, set()).add(faults)
    grid = {"submit_cancel_race", "destroy_under_load"}
    assert all(len(by_scenario[name]) >= 7 for name in grid)
    also = {"exit_under_load", "removal_under_load", "unmap_under_load", "signal_timeout"}
    assert grid | also <= set(by_scenario)


def test_also_adds_single_pairs_and_follows_the_selection() -> None:
    ids = {cell.id for cell in matrix.cells(Selection())}
    assert "6.1-zcdma-exit_under_load-late-long-callback-2cpu" in ids
    assert not any("exit_under_load-irq-delay" in name for name in ids)
    chosen = matrix.cells(Selection(scenarios=("exit_under_load",)))
    names = [cell.id for cell in chosen if not cell.control]
    assert len(names) == len(set(names))
    assert "6.1-zcdma-exit_under_load-late-long-callback-2cpu" in names
    assert {cell.plan.scenario.name for cell in chosen if not cell.control} == {"exit_under_load"}


def test_the_controls_come_first() -> None:
    cells = matrix.cells(Selection())
    assert [cell.mutant.name for cell in cells[:2] if cell.mutant] == [
        "cancel-drops-request",
        "complete-twice",
    ]
    assert not any(cell.control for cell in cells[2:])


def test_a_control_has_more_time_on_a_slow_kernel_too() -> None:
    def times(series: str) -> list[float]:
        cells = matrix.cells(Selection(kernels=(series,), targets=("poll",), time="8s"))
        return [cell.race_s for cell in cells if cell.control]

    assert len(times("6.1")) == 2
    assert times("kasan") == [4 * time for time in times("6.1")]


def test_ids_are_unique_and_readable() -> None:
    ids = [cell.id for cell in matrix.cells(Selection(profile="nightly"))]
    assert len(set(ids)) == len(ids)
    smoke = {cell.id for cell in matrix.cells(Selection())}
    assert "6.1-zcdma-submit_cancel_race-irq-drop-callback-2cpu" in smoke


def test_a_seed_gives_the_same_plans_and_another_gives_others() -> None:
    plans = [[str(c.plan) for c in matrix.cells(Selection(seed=n))] for n in (7, 7, 8)]
    assert plans[0] == plans[1]
    assert not set(plans[0]) & set(plans[2])


def test_a_shorter_race_owes_less_contention() -> None:
    full = next(cell for cell in matrix.cells(Selection()) if not cell.control)
    short = next(cell for cell in matrix.cells(Selection(time="2s")) if not cell.control)
    assert full.minima_scale == 1.0
    assert short.minima_scale == pytest.approx(0.05)


def test_a_slow_kernel_gets_more_time_and_owes_the_same_contention() -> None:
    for series, slowdown in (("6.1", 1), ("kasan", 4), ("lockdep+none", 6)):
        cells = [c for c in matrix.cells(Selection(kernels=(series,))) if not c.control]
        assert {c.race_s for c in cells if c.minima_scale == 1} == {40.0 * slowdown}
        assert {c.race_s for c in cells if c.minima_scale < 1} == {4.0 * slowdown}
    shorter = [
        c
        for c in matrix.cells(Selection(kernels=("kasan",), time="40s"))
        if not c.control
    ]
    assert {(c.race_s, c.minima_scale) for c in shorter} == {(40.0, 0.25)}


def test_asking_for_a_mutant_replaces_the_controls() -> None:
    cells = matrix.cells(Selection(mutant="complete-twice"))
    assert all(cell.mutant and cell.mutant.name == "complete-twice" for cell in cells)
    assert not any(cell.control for cell in cells)


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (Selection(profile="x"), "unknown profile 'x'"),
        (Selection(kernels=("nonsense",)), "unknown kernel 'nonsense'"),
        (Selection(targets=("x",)), "unknown target 'x'"),
        (Selection(scenarios=("x",)), "unknown scenario 'x'"),
        (Selection(lane="x"), "unknown lane 'x'"),
        (Selection(mutant="x"), "unknown mutant 'x'"),
        (Selection(faults="fault irq explode"), "--faults"),
        (Selection(time="soon"), "--time"),
        (Selection(targets=("zcdma-edu",), faults="start stall"), "zcdma-edu has no fault start stall"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(selection: Selection, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        matrix.cells(selection)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gadget_s_control_is_a_planted_bug_of_its_driver_where_the_sources_are_those() -> None:
    def controls(target: str, series: str) -> list[str]:
        chosen = matrix.cells(Selection(targets=(target,), kernels=(series,)))
        return [cell.target for cell in chosen if cell.control]

    planted = "functionfs+ffs-cancel-forgets-request"
    assert planted in controls("functionfs", "6.1") and planted in controls("functionfs", "kasan")
    assert controls("functionfs", "6.12") == ["zcdma", "zcdma"]
    assert controls("zcdma", "6.1") == ["zcdma", "zcdma"]
    assert set(controls("poll", "6.1")) == {"poll"}


def test_one_cpu_gets_a_slower_device_where_the_plan_does_not_say_how_slow() -> None:
    every = [c for c in matrix.cells(Selection(profile="nightly", targets=("zcdma",))) if not c.control]
    latency = {
        (c.cpus, c.plan.scenario.knob("latency_ns")) for c in every if "-irq-delay-" in c.id
    }
    assert latency == {(1, "200000"), (2, None)}
    slow = {c.plan.scenario.knob("latency_ns") for c in every if "-slow-device-" in c.id}
    assert slow == {"2000000"}


def test_the_word_fault_may_be_left_out() -> None:
    chosen = matrix.cells(Selection(faults="irq delay p=0.5 delay=1ms\nfault start drop"))
    plans = {str(cell.plan).split("\n", 1)[1] for cell in chosen if not cell.control}
    assert all(p.startswith("fault irq delay p=0.5 delay=1ms\nfault start drop\n") for p in plans)


def test_cards_have_a_control_of_their_own_and_owe_what_cards_can_do() -> None:
    chosen = matrix.cells(Selection(targets=("zcdma-edu",)))
    controls = {cell.id: cell for cell in chosen if cell.control}
    edu = controls["6.1-control-timeout-without-stop"]
    assert edu.target == "zcdma-edu" and edu.plan.scenario.knob("engine") == "edu"
    raced = [cell for cell in chosen if not cell.control]
    assert {cell.plan.scenario.knob("engine") for cell in raced} == {"edu"}
    assert all(cell.minima_scale < 0.05 for cell in raced)


def test_how_long_requests_wait_is_not_judged_on_a_kernel_that_stalls_them() -> None:
    def judged(series: str, target: str) -> set[str | None]:
        chosen = matrix.cells(Selection(kernels=(series,), targets=(target,)))
        return {c.plan.scenario.knob("time_to_answer") for c in chosen if not c.control}

    assert judged("kcsan", "zcdma") == {"0"}
    assert judged("kcsan", "poll") == judged("lockdep", "zcdma") == {None}


def test_our_driver_looks_at_itself_but_in_profiles_and_where_clocks_stall() -> None:
    def looks(target: str, **asked: Any) -> set[str | None]:
        chosen = matrix.cells(Selection(targets=(target,), **asked))
        return {cell.plan.scenario.knob("look_ns") for cell in chosen if cell.target == target}

    for target in ("zcdma", "zcdma-edu"):
        for profile in ("smoke", "nightly", "search"):
            assert looks(target, profile=profile) == {"50000"}
        assert looks(target, perf=True) == looks(target, kernels=("kcsan",)) == {None}
    assert looks("poll") == looks("file-loop") == {None}


def test_of_a_list_of_values_each_cell_draws_one_and_the_same_again() -> None:
    def modes(seed: int) -> list[str | None]:
        every = matrix.cells(Selection(profile="search", seed=seed))
        return [cell.plan.scenario.knob("cancel") for cell in every if "-mix-timers-" in cell.id]

    assert modes(1) == modes(1)
    drawn = {mode for seed in range(20) for mode in modes(seed)}
    assert drawn == {"flush", "callback", "flag"}


def test_a_time_may_be_given_in_minutes() -> None:
    cells = [c for c in matrix.cells(Selection(time="1.5m")) if not c.control]
    assert {c.plan.scenario.knob("time") for c in cells} == {"90s"}
