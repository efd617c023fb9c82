"""marksbench.py: a cost is a median of paired rounds, and its interval decides."""

from __future__ import annotations

from aiotorture import marksbench


def test_what_slows_a_whole_round_is_no_cost_of_the_marks() -> None:
    base = [1000.0, 500.0, 900.0, 100.0, 1000.0, 800.0] * 5
    cheap = [rate * (0.995 if at % 2 else 0.998) for at, rate in enumerate(base)]
    dear = [rate * (0.94 if at % 2 else 0.95) for at, rate in enumerate(base)]
    rates = {"without": base, "idle": cheap, "live": dear}
    lines, (idle, live) = marksbench.told(rates, 7, by_time=False)
    assert 0.001 < idle.median < 0.006 and idle.verdict == "within the bar"
    assert live.low > marksbench.BAR and live.verdict == "above the bar"
    assert "instructions" in lines[0] and "CPU second" in marksbench.told(rates, 7, by_time=True)[0][0]
    assert len(lines) == 3 and "bar 2 %" in lines[1]
    assert marksbench.told(rates, 7, by_time=False)[0] == lines


def test_noise_is_told_as_such() -> None:
    base = [1000.0] * 6
    noisy = [1100.0, 900.0, 1080.0, 920.0, 1000.0, 970.0]
    assert marksbench.cost("idle", base, noisy, 1).verdict.startswith("not decided")
