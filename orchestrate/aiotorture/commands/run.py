"""`run`: a thin front to pytest orchestrate/test_matrix.py."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from aiotorture import matrix, options, paths, setup
from aiotorture import scratch as scratch_folder
from aiotorture.cli import parser
from aiotorture.errors import ConfigurationError

PYTHON = "/usr/bin/python3"


def pytest_argv(given: object, seed: int, jobs: int, keyword: str | None) -> list[str]:
    """pytest's command line for the options that were parsed."""
    argv = [PYTHON, "-m", "pytest", str(paths.ORCHESTRATE / "test_matrix.py")]
    argv += ["-q", "--no-header", "-rN", "--tb=short", "-p", "no:cacheprovider",
             "-o", "console_output_style=none"]
    argv += ["-c", str(paths.ROOT / "pyproject.toml"), "--rootdir", str(paths.ROOT)]
    argv += ["-n", str(jobs)] if jobs > 1 else []
    argv += ["-k", keyword] if keyword else []
    for option in options.OPTIONS:
        name = option.flag.removeprefix("--")
        value = seed if name == "seed" else getattr(given, name)
        if value is True:
            argv.append(option.flag)
        elif isinstance(value, list):
            argv += [word for each in value for word in (option.flag, str(each))]
        elif value is not None and value is not False:
            argv += [option.flag, str(value)]
    return argv


def main(arguments: Sequence[str]) -> int:
    made = parser("run")
    options.declare(made.add_argument)
    made.add_argument("--jobs", type=int, metavar="N", help="guests side by side (default 2)")
    made.add_argument("--dry-run", action="store_true", help="list the cells and stop")
    made.add_argument("-k", dest="keyword", metavar="EXPR", help="pytest's selection by id")
    given = made.parse_args(arguments)
    selection = options.selection(given)
    cells = matrix.cells(selection)
    jobs = given.jobs if given.jobs is not None else options.DEFAULT_JOBS
    if jobs < 1:
        raise ConfigurationError("--jobs: a number from 1 up")
    if given.dry_run:
        return _list(cells, given.json)
    if given.out is not None:
        given.out = str(Path(given.out).resolve())
    scratch = scratch_folder.make()
    try:
        bench = setup.for_cells(cells, selection.lane, scratch, scratch)
        setup.check_targets(cells, bench)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    argv = pytest_argv(given, selection.seed, jobs, given.keyword)
    environment = dict(os.environ, AIOTORTURE_STARTED=repr(time.time()))
    if given.json:
        environment["AIOTORTURE_JSON"] = "1"
    sys.stdout.flush()
    os.execve(PYTHON, argv, environment)


def _list(cells: Sequence[matrix.Cell], as_json: bool) -> int:
    if as_json:
        listed = [{"id": c.id, "plan": str(c.plan), "control": c.control} for c in cells]
        print(json.dumps({"cells": listed}))
        return 0
    for cell in cells:
        print(f"{cell.id}\t{cell.plan.one_line()}")
    return 0
