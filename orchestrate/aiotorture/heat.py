"""The heat map: how often each racer was placed in each stretch of a request, and met it.

The agent tells it for a cell (docs/interfaces.md, section 4); a run's is the sum of its cells'.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from aiotorture.results import CellResult, Hits

HELD_BAR = 0.9
"""Least share of held tries that shall meet."""
FREE_BAR = 0.1
"""Least share of tries without a hold that shall meet."""


@dataclass(frozen=True)
class Pair:
    """A racer in a stretch; `tries` and `hits` have a number for each delay bin."""

    racer: str
    stretch: str
    tries: tuple[int, ...]
    hits: tuple[int, ...]

    def covered(self, least: int) -> bool:
        return bool(self.hits) and min(self.hits) >= least


@dataclass(frozen=True)
class HeatMap:
    bins: tuple[str, ...]
    covering_hits: int
    pairs: tuple[Pair, ...]

    @property
    def covered(self) -> int:
        return sum(pair.covered(self.covering_hits) for pair in self.pairs)


def _added(left: tuple[int, ...], right: Iterable[int]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(left, right, strict=True))


def of_cells(cells: Iterable[CellResult]) -> HeatMap | None:
    """The sum of all that have one with the same bins; None when no racer was placed."""
    bins: tuple[str, ...] = ()
    covering_hits = 0
    pairs: dict[tuple[str, str], Pair] = {}
    for cell in cells:
        told: Mapping[str, Any] = cell.heat or {}
        if not told.get("pairs") or (bins and tuple(told["bins"]) != bins):
            continue
        bins, covering_hits = tuple(told["bins"]), int(told["covering_hits"])
        for each in told["pairs"]:
            key = (str(each["racer"]), f"{each['from']}..{each['to']}")
            old = pairs.get(key, Pair(*key, (0,) * len(bins), (0,) * len(bins)))
            tries, hits = _added(old.tries, each["tries"]), _added(old.hits, each["hits"])
            pairs[key] = Pair(*key, tries, hits)
    return HeatMap(bins, covering_hits, tuple(pairs.values())) if pairs else None


def hits_of_cells(cells: Iterable[CellResult]) -> dict[str, Hits]:
    """The windows of a run, summed over its cells."""
    summed: dict[str, Hits] = {}
    for cell in cells:
        for name, hits in cell.hits.items():
            summed[name] = summed[name] + hits if name in summed else hits
    return summed


def _rate(hits: int, tries: int) -> str:
    return f"{100 * hits / tries:3.0f}%/{tries:<5}" if tries else "   -      "


def misses(cells: Iterable[CellResult]) -> list[str]:
    """Why tries did not meet, in two lines: with a hold and without, each by number and reason."""
    lines = []
    for key, name in (("missed_held", "with a hold"), ("missed_free", "without")):
        counted: Counter[str] = Counter()
        for cell in cells:
            for pair in (cell.heat or {}).get("pairs", ()):
                counted.update({str(why): int(n) for why, n in pair.get(key, {}).items()})
        if told := ", ".join(f"{n} {why}" for why, n in counted.most_common() if n):
            lines.append(f"missed {name}: {told}")
    return lines


def tables(cells: Iterable[CellResult]) -> list[str]:
    """The rates and the reasons of misses, apart for each number of CPUs."""
    by_cpus: dict[int, list[CellResult]] = {}
    for cell in cells:
        if cell.cpus is not None:
            by_cpus.setdefault(cell.cpus, []).append(cell)
    lines = []
    for cpus, those in sorted(by_cpus.items()):
        if rows := table(hits_of_cells(those)):
            lines += [f"on {cpus} CPU{'s' if cpus > 1 else ''}", *rows, *misses(those)]
    return lines


def table(hits: Mapping[str, Hits]) -> list[str]:
    """A line a stretch, two columns a racer: hit rate and tries with a hold, and without."""
    racers = sorted({name.split(" in ")[0] for name in hits})
    stretches = list(dict.fromkeys(name.split(" in ")[1] for name in hits))
    if not racers:
        return []
    lines = ["windows    hits/tries " + " ".join(f"{f'{racer} held, free':22}" for racer in racers)]
    for stretch in stretches:
        row = f"{stretch:21}"
        for racer in racers:
            each = hits.get(f"{racer} in {stretch}", Hits(0, 0))
            held, free = _rate(each.hits_held, each.held), _rate(each.hits_free, each.free)
            row += f" {held} {free} "
        lines.append(row.rstrip())
    return lines
