"""Five planted bugs of five classes, seen first by at least four oracles, are found by the default search."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from aiotorture.score import trials

ROOT = Path(__file__).resolve().parents[2]
# mutant -> the oracles that spoke first when each was searched for with five seeds
FIVE = {
    "cancel-drops-request": {"ledger", "hang"},
    "iocb-touched-after-complete": {"kernel-log"},
    # a guard of the driver tells of it as it is freed, where the search looks
    "nowait-eagain-leaks-mapping": {"contract", "leak"},
    "read-pins-for-reading": {"contract", "data"},
    "residue-ignored": {"data"},
}
TIMEOUT_S = 600

pytestmark = [pytest.mark.guest, pytest.mark.timeout(TIMEOUT_S + 60)]


def test_the_search_finds_five_planted_bugs(tmp_path: Path) -> None:
    words = [word for name in FIVE for word in ("--mutant", name)]
    argv = [ROOT / "aiotorture", "score", "--seeds", "1", "--json", "--out", tmp_path, *words]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert said.returncode == 0, said.stdout + said.stderr
    kept = trials.read(tmp_path)
    assert {trial.mutant for trial in kept} == set(FIVE)
    assert all(trial.aimed.oracle in FIVE[trial.mutant] for trial in kept)
    assert len({trial.kind for trial in kept}) == len(FIVE)
    assert len(json.loads(said.stdout)["mutants"]) == len(FIVE)
