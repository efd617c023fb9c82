"""Tokens replay: a hundred findings, each repeated step for step, by this build and by another.

Usage: replay_check.py AT_EXPLORE MODEL_SOURCE WORK_DIR

The other build is of the same source without optimisation. Each token's signature, interleaving and
token must come back unchanged, and the same arguments must print the same bytes in both builds. A
quarter of the tokens are of core zcdma with a mutant of the driver.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TOKENS = 100
MUTANT_TOKENS = 25
SCHEDULES = 300
SEEDS = range(1, 40)
BUILD_S = 1200
RUN_S = 300
MUTANTS = (
    "answer-before-abort",
    "cancel-completes-inline",
    "cancel-enables-irqs",
    "complete-twice",
    "free-before-complete",
    "residue-ignored",
    "timeout-ref-leak",
    "unmap-only-in-ring",
)


Selection = tuple[str, ...]  # the core, and its mutant


@dataclass(frozen=True)
class Failure:
    selection: Selection
    signature: str
    token: str
    columns: tuple[str, ...]


def output_of(binary: Path, *arguments: str) -> str:
    done = subprocess.run(
        [binary, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{binary} {' '.join(arguments)}: status {done.returncode}")
    return done.stdout


def failures_of(selection: Selection, text: str) -> list[Failure]:
    return [
        Failure(selection, finding["signature"], finding["token"], tuple(finding["columns"]))
        for result in json.loads(text)
        for finding in result["findings"]
    ]


def sampled(binary: Path, selection: Selection, seed: int) -> str:
    return output_of(
        binary, *selection, "--json", "--strategy", "random",
        "--seed", str(seed), "--schedules", str(SCHEDULES),
    )  # fmt: skip


def collect(binary: Path, selections: list[Selection], tokens: int) -> list[Failure]:
    found: dict[str, Failure] = {}
    for seed in SEEDS:
        for selection in selections:
            of_this = 0
            for failure in failures_of(selection, sampled(binary, selection, seed)):
                # No selection may fill the number alone.
                if of_this == 4 or len(found) == tokens:
                    break
                of_this += failure.token not in found
                found.setdefault(failure.token, failure)
        if len(found) == tokens:
            return list(found.values())
    raise SystemExit(f"only {len(found)} tokens")


def other_build(source: Path, work: Path) -> Path:
    configure = ["cmake", "-G", "Ninja", "-S", str(source), "-B", str(work)]
    configure.append("-DCMAKE_BUILD_TYPE=Debug")
    for command in (configure, ["cmake", "--build", str(work), "--target", "at-explore"]):
        subprocess.run(command, check=True, timeout=BUILD_S, stdout=subprocess.DEVNULL)
    return work / "at-explore"


def stops_under_gdb(build: Path, failure: Failure) -> bool:
    """A break point where findings are made has the finding's line in its backtrace."""
    gdb = shutil.which("gdb")
    if not gdb:
        print("gdb: not installed, not tried")
        return True
    lines = [row for row in failure.columns if row.lstrip().startswith("** ")]
    place = re.search(r"\((\S+:\d+)\)$", lines[-1])
    command = [gdb, "-batch", "-ex", "set breakpoint pending on"]
    command += ["-ex", "break at::model::Exec::found", "-ex", "run", "-ex", "backtrace"]
    command += ["--args", str(build), *failure.selection, "--token", failure.token]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    stopped = "Exec::found" in done.stdout and (not place or place[1] in done.stdout)
    print(f"under gdb, {failure.signature} at {place and place[1]}: {stopped}")
    return stopped


def main() -> int:
    binary, source, work = (Path(argument).resolve() for argument in sys.argv[1:4])
    builds = [binary, other_build(source, work)]
    listed = json.loads(output_of(binary, "list", "--json"))
    cores: list[Selection] = [(core["core"],) for core in listed]
    mutants: list[Selection] = [
        ("zcdma", "--variant", "callback", "--mutant", mutant) for mutant in MUTANTS
    ]
    failures = collect(binary, mutants, MUTANT_TOKENS)
    failures += collect(binary, cores, TOKENS - MUTANT_TOKENS)
    wrong = 0
    for build in builds:
        same = 0
        for failure in failures:
            text = output_of(build, *failure.selection, "--json", "--token", failure.token)
            same += failure in failures_of(failure.selection, text)
        print(f"{same} of {len(failures)} tokens give the same failure, step for step: {build}")
        wrong += len(failures) - same
    in_a_fiber = (f for f in failures if f.signature.startswith("use-after-free:kiocb"))
    wrong += not stops_under_gdb(builds[1], next(in_a_fiber))
    for selection in cores + mutants[:1]:
        first, second = (sampled(build, selection, 1) for build in builds)
        wrong += first != second
        print(f"{' '.join(selection)}: the same bytes in both builds: {first == second}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
