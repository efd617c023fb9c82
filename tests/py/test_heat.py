"""heat.py: cells' heat maps are summed, coverage needs every bin, rates are told by racer."""

from __future__ import annotations

from dataclasses import replace

from sample_run import cell as sample_cell

from aiotorture import heat
from aiotorture.results import Hits, Verdict


def told(tries: list[int], hits: list[int]) -> dict[str, object]:
    pair = {"racer": "canceller", "from": "irq", "to": "complete", "tries": tries, "hits": hits}
    return {"bins": ["inside", "free"], "covering_hits": 5, "pairs": [pair]}


def test_cells_are_summed_and_a_pair_is_covered_when_every_bin_is() -> None:
    cell = sample_cell("submit_cancel_race", 2, "callback", "irq drop", Verdict.PASS)
    one = replace(cell, heat=told([9, 9], [5, 4]))
    two = replace(cell, heat=told([1, 1], [0, 1]))
    alone = heat.of_cells([one])
    both = heat.of_cells([one, two, replace(cell, heat=None)])
    assert alone is not None and alone.covered == 0
    assert both is not None and both.covered == 1
    assert both.pairs[0].tries == (10, 10) and both.pairs[0].hits == (5, 5)
    assert heat.of_cells([replace(cell, heat=None)]) is None


def test_rates_with_and_without_a_hold_stand_apart() -> None:
    hits = {
        "canceller in irq..complete": Hits(30, 21, held=20, hits_held=19),
        "reaper in irq..complete": Hits(4, 0),
    }
    head, row = heat.table(hits)
    assert "canceller held, free" in head and "reaper held, free" in head
    assert row.split()[:3] == ["irq..complete", "95%/20", "20%/10"]
    assert row.split()[3:] == ["-", "0%/4"]
    assert heat.table({}) == []


def test_hits_add_and_keep_old_lines_readable() -> None:
    assert Hits(1, 1, 1, 1, 0, 2) + Hits(2, 0, 1) == Hits(3, 1, 2, 1, 0, 2)
    assert Hits.from_json({"tries": 10, "hits": 3}) == Hits(10, 3)


def test_rates_stand_apart_for_each_number_of_cpus_and_misses_have_reasons() -> None:
    pair = {"missed_held": {"expired": 2, "early": 0}, "missed_free": {"outrun": 3}}
    one, two = (
        replace(
            sample_cell("submit_cancel_race", cpus, "callback", "irq drop", Verdict.PASS),
            cpus=cpus,
            hits={"canceller in irq..complete": Hits(10, hits, held=5, hits_held=3)},
            heat={"bins": [], "covering_hits": 5, "pairs": [pair]},
        )
        for cpus, hits in ((1, 3), (2, 8))
    )
    lines = heat.tables([two, one])
    assert lines[0] == "on 1 CPU" and lines[5] == "on 2 CPUs"
    assert lines[2].split()[1:3] == ["60%/5", "0%/5"]
    assert lines[7].split()[1:3] == ["60%/5", "100%/5"]
    assert lines[3:5] == ["missed with a hold: 2 expired", "missed without: 3 outrun"]
    assert heat.tables([replace(one, hits={}, heat=None)]) == []
