"""knobs.py: plans against the agent's `describe`."""

from __future__ import annotations

import pytest

from aiotorture.knobs import Description
from aiotorture.plan import PlanError, parse

DESCRIBE = {
    "scenarios": [
        {
            "name": "submit_cancel_race",
            "invariant": "one event for each request",
            "contention": {"submitted": 10000, "cancel_won": 1000},
            "knobs": [
                {"name": "submitters", "scope": "scenario", "type": "int", "default": 2,
                 "min": 1, "max": 64, "choices": None, "unit": "", "help": "threads"},
                {"name": "time", "scope": "scenario", "type": "duration", "default": "2s",
                 "min": "1ms", "max": "1000s", "unit": "", "help": "how long"},
                {"name": "size", "scope": "scenario", "type": "size", "default": "4K",
                 "min": 512, "max": 1048576, "help": "of a request"},
                {"name": "share", "scope": "scenario", "type": "real", "default": 0.5,
                 "min": 0, "max": 1, "help": "of requests cancelled"},
                {"name": "memory", "scope": "scenario", "type": "choice", "default": "private",
                 "choices": ["private", "watched"], "help": "where buffers lie"},
                {"name": "beside", "scope": "scenario", "type": "words", "default": "drawn",
                 "choices": ["drawn", "close", "fork"], "help": "what goes on beside it"},
            ],
        }
    ],
    "target_knobs": [
        {"name": "cancel", "scope": "target", "type": "choice", "default": "callback",
         "choices": ["callback", "flush", "flag", "none"]},
        {"name": "timeout_ms", "scope": "target", "type": "int", "min": 1, "max": 60000,
         "unit": "ms"},
    ],
}  # fmt: skip
description = Description.from_json(DESCRIBE)


def test_a_plan_in_range_is_taken() -> None:
    plan = parse(
        "scenario submit_cancel_race submitters=64 time=1ms size=4K memory=watched "
        "beside=fork+close cancel=flag"
    )
    description.validate(plan)
    assert description.target_parameters(plan) == {"cancel": "flag"}
    assert description.contention["submit_cancel_race"]["cancel_won"] == 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scenario nothing", "column 10: 'nothing' is no scenario of this agent: submit_cancel_race"),
        ("scenario submit_cancel_race a=1", "column 29: 'a' is no knob: submitters"),
        ("scenario submit_cancel_race submitters=0", "column 29: submitters: 0 is below 1"),
        ("scenario submit_cancel_race submitters=65", "submitters: 65 is above 64"),
        ("scenario submit_cancel_race submitters=2ms", "'2ms' is no whole number"),
        ("scenario submit_cancel_race submitters=1 time=2", "column 42: time: '2' is no duration"),
        ("scenario submit_cancel_race time=1us", "time: 1us is below 1000000ns"),
        ("scenario submit_cancel_race size=2M", "size: 2M is above 1048576"),
        ("scenario submit_cancel_race share=1.5", "share: 1.5 is above 1"),
        ("scenario submit_cancel_race share=nan", "'nan' is no number"),
        ("scenario submit_cancel_race memory=x", "memory: 'x' is none of private watched"),
        ("scenario submit_cancel_race beside=fork+x", "beside: 'x' is none of drawn close fork"),
        ("scenario submit_cancel_race cancel=soft", "'soft' is none of callback flush flag none"),
        ("scenario submit_cancel_race timeout_ms=0", "timeout_ms: 0 is below 1ms"),
    ],
)
def test_a_plan_out_of_range_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        description.validate(parse(text))
    assert message in str(caught.value)
    assert str(caught.value).startswith("plan: statement 1, column ")
