"""Speeds of kernels side by side: the same cell, and ratios that a busy turn does not spoil."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from aiotorture import kernelspeed
from aiotorture.errors import ConfigurationError, HarnessError
from aiotorture.results import CellResult, Verdict


def test_kernels_run_the_same_cell() -> None:
    one, other = (kernelspeed.cell(name, "5s", 1) for name in ("6.1", "kasan"))
    assert one.plan.scenario == other.plan.scenario
    assert (one.race_s, one.cpus, one.plan.faults) == (5.0, 2, other.plan.faults)
    assert one.plan.scenario.knob("requests") == kernelspeed.ENDLESS


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="unknown kernel"):
        kernelspeed.cell("9.9", "5s", 1)


def test_ratios_are_taken_turn_by_turn() -> None:
    assert kernelspeed.ratios([(1000, 100, 1000), (300, 30, 500)]) == [1.0, 0.3]


def test_rate_is_of_the_race_alone(tmp_path: Path) -> None:
    stages = {"modules": 1, "first_iocb": 1_000_000, "draining": 3_000_000, "checking": 9_000_000}
    events = [{"ev": "stage", "stage": name, "t_us": at} for name, at in stages.items()]
    (tmp_path / "agent.json").write_text(json.dumps({"events": events}))
    result = CellResult(
        id="c", token="", target="zcdma", kernel="6.1", lane="qemu", accel="tcg", scenario="s",
        plan="", seed=1, mutant=None, verdict=Verdict.PASS, run_s=9.0,
        counters={"submitted": 500}, artefacts=("agent.json",),
    )  # fmt: skip
    assert kernelspeed.rate(result, tmp_path) == 250.0
    failed = dataclasses.replace(result, verdict=Verdict.FAIL, reason="why")
    with pytest.raises(HarnessError, match="why"):
        kernelspeed.rate(failed, tmp_path)
