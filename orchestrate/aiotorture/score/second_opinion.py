"""What the model of the driver shows of a bug that no guest has shown.

The patched driver is compiled against the modelled kernel (docs/model.md), and schedules of each of its
variants are drawn at random. Counted apart from what guests find: another kernel than the real one runs it.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiotorture import build, kernelpatch, packages, processes
from aiotorture.errors import ConfigurationError
from aiotorture.score.planted import Planted

SCHEDULES = 3000  # of each variant; ten seconds of one CPU for all of them
TIMEOUT_S = 300.0
MOST_SEED = 2**63 - 1
EXIT_FINDINGS = 1
_built = threading.Lock()


@dataclass(frozen=True)
class Opinion:
    """The first finding of the variants in their order; `schedules` are those of all. `error`: why there
    is no opinion: the patch uses what the model has no stand-in for."""

    found: bool
    oracle: str = ""
    title: str = ""
    signature: str = ""
    variant: str = ""
    token: str = ""
    schedules: int = 0
    error: str = ""

    @property
    def told(self) -> str:
        if self.found:
            return f"{self.variant}: {self.oracle}: {self.title}"
        return f"no opinion: {self.error}" if self.error else "nothing"


def ask(one: Planted, seed: int) -> Opinion | None:
    """None: the model has nothing of what the mutant changes."""
    if not one.in_model:
        return None
    try:
        with _built:
            packages.ensure(packages.MODEL)
            binary = build.model_target("at-explore") / "at-explore"
    except ConfigurationError as error:
        return Opinion(False, error=str(error))
    with tempfile.TemporaryDirectory(prefix="aiotorture-model-") as folder:
        return _asked(binary, one, seed, Path(folder))


def _asked(binary: Path, one: Planted, seed: int, folder: Path) -> Opinion:
    argv: list[str | Path] = [
        binary, "zcdma", "--strategy", "random", "--seed", str(seed % MOST_SEED),
        "--schedules", str(SCHEDULES), "--threads", "1", "--json",
    ]  # fmt: skip
    if one.mutant:
        patch = folder / f"{one.mutant.name}.patch"
        patch.write_text(one.mutant.patch)
        argv += ["--mutant", patch]
    try:
        said = processes.output(argv, timeout_s=TIMEOUT_S, apart=True)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Opinion(False, error=f"at-explore: {error}")
    return judged(said.returncode, said.stdout, said.stderr)


def judged(status: int, told: str, complaints: str) -> Opinion:
    """From at-explore's exit status, its JSON and what it said beside."""
    if status not in (0, EXIT_FINDINGS):
        line = kernelpatch.telling_line(complaints, build.ERROR_MARKS)
        return Opinion(False, error=f"at-explore, exit status {status}: {line}")
    variants: Sequence[Mapping[str, Any]] = json.loads(told)
    schedules = sum(int(variant["schedules"]) for variant in variants)
    for variant in variants:
        for finding in variant["findings"]:
            if finding["signature"] in variant["unexpected"]:
                return Opinion(
                    True, finding["oracle"], finding["title"], finding["signature"],
                    variant["variant"], finding["token"], schedules,
                )  # fmt: skip
    return Opinion(False, schedules=schedules)
