"""`repro TOKEN|BUNDLE|LOGFILE`: see aiotorture.repro."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from aiotorture import repro, rundir, setup
from aiotorture.cell import Bench, cell_of, run_cell, stored
from aiotorture.cli import parser
from aiotorture.errors import ConfigurationError
from aiotorture.results import CellResult
from aiotorture.token import Stored, TokenError


class StandaloneRunner:
    """Runs stored cells on one bench, in this process."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def run(self, cell: Stored) -> CellResult:
        return run_cell(cell_of(cell), self._bench)


def main(arguments: Sequence[str]) -> int:
    made = parser("repro")
    made.add_argument("what", metavar="TOKEN|BUNDLE|LOGFILE")
    made.add_argument("--tries", type=int, default=repro.DEFAULT_TRIES, help="most tries made")
    made.add_argument("--all", action="store_true", help="make all tries, for a hit rate")
    made.add_argument("--out", metavar="DIR", help="keep what the tries leave here")
    given = made.parse_args(arguments)
    try:
        found = repro.resolve(given.what, rundir.runs())
    except TokenError as error:
        raise ConfigurationError(str(error)) from error
    if isinstance(found, Path):
        return _recognise(found, given.json)
    bounds = repro.Bounds(tries=max(1, given.tries), first_hit=not given.all)
    run_dir = Path(given.out).resolve() if given.out else rundir.new_run_dir("repro")
    cell = cell_of(found)
    with setup.standalone([cell], run_dir) as bench:
        now = stored(cell, bench.kernels[cell.kernel], setup.modules_of(cell, bench))
        _say_what_differs(found, now, given.json)
        say = (lambda line: None) if given.json else (lambda line: print(line, flush=True))
        outcome = repro.repeat(found, StandaloneRunner(bench), bounds, say)
    if given.json:
        print(json.dumps({**dataclasses.asdict(outcome), "exit_status": outcome.exit_status}))
    else:
        for line in outcome.lines():
            print(line)
    return outcome.exit_status


def _say_what_differs(then: Stored, now: Stored, quiet: bool) -> None:
    """A replay on another kernel or on changed sources is told as such."""
    pairs = {
        "kernel": (dict(then.kernel), dict(now.kernel)),
        "modules": (dict(then.modules), dict(now.modules)),
        "scenario": (then.scenario_version, now.scenario_version),
    }
    changed = [name for name, (before, after) in pairs.items() if before != after]
    if changed and not quiet:
        print(f"not the same as when the token was made: {', '.join(changed)}")


def _recognise(log: Path, as_json: bool) -> int:
    found = repro.recognise(log, repro.stored_cells(rundir.runs()))
    if as_json:
        seen = [
            {**each.finding.to_json(), "tokens": [cell.token for cell in each.cells]}
            for each in found
        ]
        print(json.dumps({"findings": seen}))
    else:
        for line in repro.recognised_lines(found):
            print(line)
    return 1 if found else 0
