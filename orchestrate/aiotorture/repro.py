"""`repro TOKEN|BUNDLE|LOGFILE`: repeat a finding, or recognise one in a reported log.

A token or a bundle names a cell; `repeat` runs exactly that cell until what it showed shows again
or a bound is reached. A log file is read by the kernel-log oracle, and stored tokens that showed
the same signature are named.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from aiotorture import bundle, token
from aiotorture.bounds import interval
from aiotorture.finding import Finding
from aiotorture.oracles import kernel_log
from aiotorture.results import CellResult, Verdict
from aiotorture.token import Stored, TokenError
from aiotorture.verdict import EXIT_CLEAN, EXIT_FINDINGS, EXIT_INCOMPLETE

DEFAULT_TRIES = 10
"""Tries: a cell whose finding shows in one run of four shows in ten tries with 94 %."""
DEFAULT_TIME_S = 600.0


class CellRunner(Protocol):
    """Runs a cell that was stored: kernel, modules, mutant and plan as they were."""

    def run(self, cell: Stored) -> CellResult:
        """One run of the cell. What a subject does is in the result and never an exception."""
        ...


@dataclass(frozen=True)
class Bounds:
    """When to give up. `first_hit` stops at the first hit; without it all tries are made."""

    tries: int = DEFAULT_TRIES
    time_s: float = DEFAULT_TIME_S
    first_hit: bool = True


@dataclass(frozen=True)
class Outcome:
    """Hits of tries. `lost`: tries that ended in ERROR or MISS and prove nothing either way."""

    cell: Stored
    tries: int
    hits: int
    lost: int
    others: tuple[str, ...]
    seconds: float

    @property
    def exit_status(self) -> int:
        """1 when it or another finding was shown, 3 when no try proved anything, else 0.

        A use after free is noticed at another place in each try: other titles are findings too.
        """
        if self.hits or self.others:
            return EXIT_FINDINGS
        return EXIT_INCOMPLETE if self.lost == self.tries else EXIT_CLEAN

    def lines(self) -> list[str]:
        """What a person reads, the hits last."""
        proven = self.tries - self.lost
        lines = [f"also seen: {title}" for title in self.others]
        if self.lost:
            lines.append(f"{self.lost} of {self.tries} tries ended in ERROR or MISS")
        low, high = interval(min(self.hits, proven), proven)
        rate = f" (95 %: {low:.0%} to {high:.0%})" if proven > 1 else ""
        lines.append(f"{self.cell.token}: {self.hits} of {proven} tries{rate}, {self.seconds:.0f} s")
        return lines


def shows(result: CellResult, cell: Stored) -> bool:
    """Whether the result has a finding that the cell is stored for; any, if it is for none."""
    if not cell.expected:
        return bool(result.unknown_findings)
    wanted = {(each.oracle, each.title) for each in cell.expected}
    return any((finding.oracle, finding.title) in wanted for finding in result.findings)


def repeat(
    cell: Stored,
    runner: CellRunner,
    bounds: Bounds = Bounds(),
    say: Callable[[str], None] = lambda line: None,
    clock: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Runs the cell until it shows or a bound is reached; `say` gets one line a try.

    The time bound is looked at between tries: the last one may end after it.
    """
    began = clock()
    tries = hits = lost = 0
    others: dict[str, None] = {}
    while tries < bounds.tries and (tries == 0 or clock() - began < bounds.time_s):
        result = runner.run(cell)
        tries += 1
        if shows(result, cell):
            hits += 1
        elif result.verdict in (Verdict.ERROR, Verdict.MISS):
            lost += 1
        others.update(dict.fromkeys(_others(result, cell)))
        titles = "; ".join(finding.title for finding in result.findings)
        say(f"try {tries}: {result.verdict.value} {titles or result.reason}".rstrip())
        if hits and bounds.first_hit:
            break
    return Outcome(cell, tries, hits, lost, tuple(others), clock() - began)


def _others(result: CellResult, cell: Stored) -> Iterator[str]:
    wanted = {each.title for each in cell.expected}
    for finding in result.unknown_findings:
        if wanted and finding.title not in wanted:
            yield finding.title


# --- reported logs -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recognised:
    """A finding of a reported log, and the stored cells that showed the same bug."""

    finding: Finding
    cells: tuple[Stored, ...]


def recognise(log: Path, stored: Sequence[Stored]) -> list[Recognised]:
    """What the kernel-log oracle finds in a log; cells with the same signature, then title."""
    found: list[Recognised] = []
    for finding in kernel_log.findings(log.read_bytes()):
        same = [c for c in stored if any(e.signature == finding.signature for e in c.expected)]
        alike = [
            c for c in stored if c not in same and any(e.title == finding.title for e in c.expected)
        ]
        found.append(Recognised(finding, tuple(same + alike)))
    return found


def recognised_lines(found: Sequence[Recognised]) -> list[str]:
    """What a person reads about a log."""
    if not found:
        return ["nothing that the kernel-log oracle knows"]
    lines: list[str] = []
    for each in found:
        lines.append(f"{each.finding.oracle}: {each.finding.title}")
        lines.append(f"  {each.finding.signature}")
        lines += [f"  ./aiotorture repro {cell.token}  # {cell.cell_id}" for cell in each.cells]
        if not each.cells:
            lines.append("  no stored cell shows it")
    return lines


def stored_cells(run_dirs: Sequence[Path], cache: Path | None = None) -> list[Stored]:
    """Every cell whose token is stored here, newest first; unreadable copies are left out."""
    places = [run / "tokens" for run in run_dirs]
    places.append(token.cache_dir() if cache is None else cache)
    paths = [path for place in places for path in place.glob("at1-*.json")]
    cells: dict[str, Stored] = {}
    for path in sorted(paths, key=lambda each: each.stat().st_mtime, reverse=True):
        try:
            cell = token.load_file(path)
        except TokenError:
            continue
        cells.setdefault(cell.token, cell)
    return list(cells.values())


def resolve(argument: str, run_dirs: Sequence[Path], cache: Path | None = None) -> Stored | Path:
    """A cell for a token or a bundle, a path for a log file; TokenError for anything else."""
    if token.is_token(argument):
        return token.load(argument, run_dirs, cache)
    path = Path(argument)
    if path.is_dir():
        return bundle.load(path)
    if path.is_file():
        return path
    raise TokenError(f"{argument!r} is no token, no bundle and no log file")
