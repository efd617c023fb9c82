"""`report [RUN]`: writes JUnit, KTAP and the page of a run again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from aiotorture import packages, paths, report, rundir
from aiotorture.cli import parser
from aiotorture.errors import ConfigurationError
from aiotorture.report import terminal
from aiotorture.results import ResultsError


def main(arguments: Sequence[str]) -> int:
    made = parser("report")
    made.add_argument("run", nargs="?", help="folder or name of a run (default: the last one)")
    given = made.parse_args(arguments)
    run_dir = rundir.latest() if given.run is None else Path(given.run)
    if not run_dir.is_dir() and (paths.REPORTS / run_dir).is_dir():
        run_dir = paths.REPORTS / run_dir
    if not run_dir.is_dir():
        raise ConfigurationError(f"no run {given.run!r}")
    packages.ensure(packages.ORCHESTRATOR)
    try:
        written = report.write_reports(run_dir)
        seen = report.view(run_dir)
    except ResultsError as error:
        raise ConfigurationError(str(error)) from error
    if given.json:
        print(json.dumps({"run": str(run_dir), "written": [str(path) for path in written]}))
        return 0
    for line in [*terminal.summary(seen), *(str(path) for path in written)]:
        print(line)
    return 0
