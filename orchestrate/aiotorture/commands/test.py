"""`test`: everything that proves the project itself, stage by stage; the last one is pytest's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from aiotorture import packages, paths
from aiotorture.cli import parser
from aiotorture.errors import EXIT_FINDINGS

PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Stage:
    """A step of the tests, and the commands it runs one after another."""

    name: str
    commands: tuple[tuple[str, ...], ...]


def _cmake(preset: str) -> Stage:
    return Stage(
        f"ctest-{preset}",
        (
            ("cmake", "--preset", preset),
            ("cmake", "--build", "--preset", preset),
            ("ctest", "--preset", preset, "--no-tests=error"),
        ),
    )


def _pytest(name: str, marks: str, jobs: int) -> Stage:
    argv = [PYTHON, "-m", "pytest", "tests/py", "-q", "-m", marks, "-p", "no:cacheprovider"]
    argv += ["-n", str(jobs)] if jobs > 1 else []
    return Stage(name, (tuple(argv),))


def stages(fast: bool) -> list[Stage]:
    """In the order they are run; `fast` leaves out guests and sanitizers."""
    jobs = os.cpu_count() or 1
    planned = [_cmake("release")]
    if not fast:
        planned.append(_cmake("asan"))
    planned.append(Stage("mypy", ((PYTHON, "-m", "mypy"),)))
    planned.append(_pytest("pytest", "not guest", jobs))
    if not fast:
        planned.append(_pytest("guests", "guest", 1))
    return planned


def run_stage(stage: Stage, quiet: bool) -> bool:
    environment = dict(os.environ, PYTHONDONTWRITEBYTECODE="1", NO_COLOR="1")
    sink = subprocess.DEVNULL if quiet else None
    return all(
        subprocess.run(
            command,
            cwd=paths.ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            check=False,
        ).returncode
        == 0
        for command in stage.commands
    )


def main(arguments: Sequence[str]) -> int:
    made = parser("test")
    made.add_argument("--fast", action="store_true", help="without guests and sanitizers")
    given = made.parse_args(arguments)
    packages.ensure(packages.TEST)
    outcome: dict[str, dict[str, object]] = {}
    for stage in stages(given.fast):
        print(f"== {stage.name}", file=sys.stderr if given.json else sys.stdout, flush=True)
        began = time.monotonic()
        passed = run_stage(stage, given.json)
        outcome[stage.name] = {"passed": passed, "seconds": round(time.monotonic() - began, 1)}
    failed = [name for name, each in outcome.items() if not each["passed"]]
    if given.json:
        print(json.dumps({"stages": outcome, "passed": not failed}))
    elif failed:
        print(f"failed: {', '.join(failed)}")
    return EXIT_FINDINGS if failed else 0
