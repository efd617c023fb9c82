"""plan.py: what is parsed is printed without loss, and nothing but PlanError comes out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiotorture import matrix
from aiotorture.plan import (
    ACTIONS_AT,
    PHASES,
    RACERS,
    Fault,
    Plan,
    PlanError,
    Scenario,
    Window,
    duration_ns,
    parse,
    parse_faults,
    print_plan,
    probability,
    size_bytes,
)

names = st.from_regex(r"[a-z][a-z0-9_]{0,12}", fullmatch=True)
values = st.from_regex(r"[A-Za-z0-9_.,:+/@%-]{1,12}", fullmatch=True)
durations = st.builds(
    lambda count, unit: f"{count}{unit}", st.integers(0, 20), st.sampled_from(["ns", "us", "ms"])
)
no_keys: dict[str, st.SearchStrategy[str]] = {}
fault_values = st.fixed_dictionaries(
    no_keys,
    optional={
        "nth": st.integers(1, 10**9).map(str),
        "p": st.sampled_from(["0", "1", "0.5", "0.000001", "1.0"]),
        "cookie": st.one_of(
            st.integers(0, 2**22 - 1).map(hex), st.integers(0, 4095).map(lambda n: f"slot:{n}")
        ),
        "times": st.sampled_from(["-1", "1", "500"]),
        "delay": durations,
        "cpu": st.integers(0, 63).map(str),
        "err": st.integers(1, 4095).map(str),
    },
)


@st.composite
def faults(draw: st.DrawFn) -> Fault:
    phase = draw(st.sampled_from(PHASES))
    action = draw(st.sampled_from(sorted(ACTIONS_AT[phase])))
    keys = draw(st.permutations(list(draw(fault_values).items())))
    return Fault(phase, action, tuple(keys))


windows = st.builds(
    Window,
    st.sampled_from(RACERS),
    st.sampled_from(PHASES),
    st.sampled_from(PHASES),
    st.one_of(st.none(), durations),
)
plans = st.builds(
    Plan,
    st.builds(Scenario, names, st.dictionaries(names, values).map(lambda d: tuple(d.items()))),
    st.lists(faults(), max_size=4).map(tuple),
    st.lists(windows, max_size=3).map(tuple),
    st.one_of(st.none(), st.integers(0, 2**64 - 1)),
)


@given(plans)
def test_print_loses_nothing(plan: Plan) -> None:
    assert parse(print_plan(plan)) == plan
    assert parse(plan.one_line()) == plan


@given(plans)
def test_print_is_stable(plan: Plan) -> None:
    once = print_plan(plan)
    assert print_plan(parse(once)) == once


@given(st.one_of(st.text(), st.text(alphabet="scenario fault window seed irq=.;#\n12ms")))
def test_arbitrary_text_gives_a_plan_or_a_plan_error(text: str) -> None:
    try:
        plan = parse(text)
    except PlanError as error:
        assert "\n" not in str(error)
        return
    assert parse(print_plan(plan)) == plan


@given(plans, st.integers(0, 400), st.text(max_size=4))
def test_damaged_plans_give_a_plan_or_a_plan_error(plan: Plan, at: int, noise: str) -> None:
    text = print_plan(plan)
    try:
        parse(text[:at] + noise + text[at + 1 :])
    except PlanError as error:
        assert "\n" not in str(error)


def test_order_comments_and_semicolons_do_not_matter() -> None:
    loose = "seed 7 ;; fault  irq drop p=0.5 # lost; seed 9\n\n# all\r\n\tscenario s a=1 b=2 ;"
    assert print_plan(parse(loose)) == "scenario s a=1 b=2\nfault irq drop p=0.5\nseed 7\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "plan: no scenario statement"),
        ("scenario", "plan: statement 1, column 10: scenario name is missing"),
        ("scenario s; scenario t", "plan: statement 2, column 13: a second scenario"),
        ("scenario s a", "plan: statement 1, column 12: 'a' is no key=value"),
        ("scenario s a=1 a=2", "plan: statement 1, column 16: 'a' stands twice"),
        ("scenario s\nfault irq", "plan: statement 2, column 11: action is missing"),
        (
            "scenario s\nfault complete drop",
            "plan: statement 2, column 16: 'drop' means nothing at 'complete': delay",
        ),
        (
            "scenario s; fault irq drop q=1",
            "plan: statement 2, column 28: 'q' is no fault key: nth p cookie times delay cpu err",
        ),
        (
            "scenario s; fault irq drop p=2",
            "plan: statement 2, column 28: p: '2' is no probability: 0..1",
        ),
        (
            "scenario s; fault irq delay delay=5",
            "plan: statement 2, column 29: delay: '5' is no duration: "
            "a number and one of ns us ms s",
        ),
        (
            "scenario s; window closer in irq..complete",
            "plan: statement 2, column 20: 'closer' is no racer: "
            "submitter device canceller destroyer reaper",
        ),
        (
            "scenario s; window device in irq-complete",
            "plan: statement 2, column 30: 'irq-complete' is no PHASE..PHASE",
        ),
        (
            "scenario s; window device in irq..complete hold=21ms",
            "plan: statement 2, column 44: hold: at most 20ms",
        ),
        ("scenario s; seed", "plan: statement 2, column 18: seed is missing"),
        ("scenario s; seed 1 2", "plan: statement 2, column 20: '2' is one word too many"),
        (
            "scenario s; seed -1",
            "plan: statement 2, column 18: seed: '-1' is no number in 0..18446744073709551615",
        ),
        (
            "scenario s; sede 1",
            "plan: statement 2, column 13: 'sede' is no statement: scenario fault window seed",
        ),
    ],
)
def test_errors_name_statement_and_column(text: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0ns", 0), ("2ms", 2_000_000), ("1.5us", 1500), ("20s", 20_000_000_000)],
)
def test_durations(text: str, expected: int) -> None:
    assert duration_ns(text) == expected


@pytest.mark.parametrize("text", ["1", "ms", "1.ms", "0.5ns", "-1ms", "1 ms", "1m"])
def test_durations_need_a_unit_and_whole_nanoseconds(text: str) -> None:
    with pytest.raises(ValueError):
        duration_ns(text)


def test_sizes_and_probabilities() -> None:
    assert [size_bytes(text) for text in ("512", "4K", "16M", "1G")] == [512, 4096, 2**24, 2**30]
    assert [probability(text) for text in ("0", "1", "0.25")] == [0.0, 1.0, 0.25]
    for wrong in ("2", "1.1", "-0", "1e-3", "nan", ""):
        with pytest.raises(ValueError):
            probability(wrong)


def test_every_fault_of_the_table_is_taken_and_no_other() -> None:
    for phase in PHASES:
        for action in {name for actions in ACTIONS_AT.values() for name in actions}:
            text = f"scenario s; fault {phase} {action}"
            if action in ACTIONS_AT[phase]:
                assert parse(text).faults == (Fault(phase, action),)
            else:
                with pytest.raises(PlanError):
                    parse(text)


def test_overrides_keep_the_rest() -> None:
    plan = parse("scenario s a=1 b=2; fault irq drop; seed 1")
    changed = plan.with_seed(9).with_knobs({"b": "3", "c": "x"})
    assert changed.one_line() == "scenario s a=1 b=3 c=x; fault irq drop; seed 9"
    for wrong in ({"A": "1"}, {"a": ""}, {"a": "1 2"}, {"a": "1;seed 3"}):
        with pytest.raises(PlanError):
            plan.with_knobs(wrong)
    with pytest.raises(PlanError):
        plan.with_seed(2**64)


def test_faults_alone() -> None:
    found, held = parse_faults("irq drop p=0.5; fault start late delay=2ms; window device in irq..complete")
    assert [str(fault) for fault in found] == [
        "fault irq drop p=0.5",
        "fault start late delay=2ms",
    ]
    assert held == (Window("device", "irq", "complete"),)
    with pytest.raises(PlanError, match="column 1: 'scenario' is neither"):
        parse_faults("scenario s")


def test_a_plan_has_no_more_faults_than_the_injector_has_rules() -> None:
    fault = "; fault irq drop p=0.01"
    assert len(parse("scenario submit_cancel_race" + 16 * fault).faults) == 16
    with pytest.raises(PlanError, match="17 faults, and the injector has 16 rules"):
        parse("scenario submit_cancel_race" + 17 * fault)


def test_every_plan_of_the_matrix_is_one() -> None:
    for profile in matrix.profiles():
        assert matrix.cells(matrix.Selection(profile=profile))
