"""Tokens replay: a hundred findings, each repeated step for step, by this build and by another.

Usage: replay_check.py AT_EXPLORE MODEL_SOURCE WORK_DIR

The other build is of the same source without optimisation. Each token's signature, interleaving and
token must come back unchanged, and the same arguments must print the same bytes in both builds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TOKENS = 100
SCHEDULES = 300
SEEDS = range(1, 40)
BUILD_S = 1200
RUN_S = 300


@dataclass(frozen=True)
class Failure:
    core: str
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


def failures_of(core: str, text: str) -> list[Failure]:
    return [
        Failure(core, finding["signature"], finding["token"], tuple(finding["columns"]))
        for result in json.loads(text)
        for finding in result["findings"]
    ]


def sampled(binary: Path, core: str, seed: int) -> str:
    return output_of(
        binary, core, "--json", "--strategy", "random",
        "--seed", str(seed), "--schedules", str(SCHEDULES),
    )  # fmt: skip


def collect(binary: Path) -> list[Failure]:
    cores = [core["core"] for core in json.loads(output_of(binary, "list", "--json"))]
    found: dict[str, Failure] = {}
    for seed in SEEDS:
        for core in cores:
            for failure in failures_of(core, sampled(binary, core, seed)):
                found.setdefault(failure.token, failure)
                if len(found) == TOKENS:
                    return list(found.values())
    raise SystemExit(f"only {len(found)} tokens")


def other_build(source: Path, work: Path) -> Path:
    configure = ["cmake", "-G", "Ninja", "-S", source, "-B", work, "-DCMAKE_BUILD_TYPE=Debug"]
    for command in (configure, ["cmake", "--build", work, "--target", "at-explore"]):
        subprocess.run(command, check=True, timeout=BUILD_S, stdout=subprocess.DEVNULL)
    return work / "at-explore"


def main() -> int:
    binary, source, work = (Path(argument).resolve() for argument in sys.argv[1:4])
    builds = [binary, other_build(source, work)]
    failures = collect(binary)
    wrong = 0
    for build in builds:
        same = 0
        for failure in failures:
            text = output_of(build, failure.core, "--json", "--token", failure.token)
            same += failure in failures_of(failure.core, text)
        print(f"{same} of {len(failures)} tokens give the same failure, step for step: {build}")
        wrong += len(failures) - same
    first, second = (sampled(build, failures[0].core, 1) for build in builds)
    print(f"the same seed gives the same bytes in both builds: {first == second}")
    return 0 if not wrong and first == second else 1


if __name__ == "__main__":
    sys.exit(main())
