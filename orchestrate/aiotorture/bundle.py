"""A bundle: a directory with all that is needed to see and repeat one cell's findings.

    token.json      what the token stands for, patches included
    plan.txt        the plan in canonical form
    result.json     the cell's line of results.jsonl
    evidence.txt    each finding with its evidence
    mutant.patch    the planted bug, if there is one
    artefacts/      console and whatever else the cell left
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from aiotorture import token
from aiotorture.report.view import repro_command
from aiotorture.results import CellResult
from aiotorture.token import Stored, TokenError, write_atomically

FOLDER = "bundles"


def write(run_dir: Path, cell: CellResult, stored: Stored) -> Path:
    """Writes the bundle of a cell under the run; its directory. OSError when it does not fit."""
    folder = run_dir / FOLDER / stored.token
    texts = {
        "token.json": json.dumps(stored.to_json(), indent=1, sort_keys=True) + "\n",
        "plan.txt": stored.plan,
        "result.json": json.dumps(cell.to_json(), indent=1) + "\n",
        "evidence.txt": _evidence(cell),
    }
    if stored.mutant is not None:
        texts["mutant.patch"] = stored.mutant.patch
    for name, text in texts.items():
        write_atomically(folder / name, text)
    for artefact in cell.artefacts:
        source = run_dir / artefact
        if source.is_file():
            (folder / "artefacts").mkdir(exist_ok=True)
            shutil.copyfile(source, folder / "artefacts" / source.name)
    return folder


def _evidence(cell: CellResult) -> str:
    lines: list[str] = []
    for finding in cell.findings:
        lines += [f"{finding.oracle}: {finding.title}", *finding.evidence, ""]
    return "\n".join([*lines, repro_command(cell), ""])


def load(folder: Path) -> Stored:
    """What the bundle's token stands for; TokenError when the directory is no bundle."""
    path = folder / "token.json"
    if not path.is_file():
        raise TokenError(f"{folder}: no bundle: token.json is missing")
    return token.load_file(path)
