"""Trials: one mutant given to the search with one seed, a line of score.jsonl each."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiotorture.errors import ConfigurationError
from aiotorture.score.second_opinion import Opinion

SCHEMA = 2
SCORE = "score.jsonl"
CORRECT = "correct.jsonl"


@dataclass(frozen=True)
class Walk:
    """Cells run until one found something or a cap was reached.

    `seconds` and `requests` are guest-seconds and requests until the first finding, or all that
    were spent without one; `cap` says which bound ended it: "requests", "time" or, for no cells
    left, "cells".
    """

    found: bool
    oracle: str = ""
    title: str = ""
    signature: str = ""
    oracles: tuple[str, ...] = ()
    seconds: float = 0.0
    requests: int = 0
    cells: int = 0
    errors: int = 0
    kernel: str = ""
    cell: str = ""
    token: str = ""
    cap: str = ""

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Walk:
        known = _known(Walk, stored)
        known["oracles"] = tuple(known.get("oracles", ()))
        return Walk(**known)


@dataclass(frozen=True)
class Trial:
    """`identity` is over the patch, over what was mutated and over how it was searched for: a trial
    of other sources is not taken for this one. `aimed` is the default search, `blind` blind stress
    after it (races alone), `model` what the model says where the search found nothing."""

    identity: str
    mutant: str
    kind: str
    race: bool
    kernels: tuple[str, ...]
    seed: int
    budget_s: float
    aimed: Walk
    blind: Walk | None = None
    without: tuple[str, ...] = ()
    model: Opinion | None = None
    git: str = field(default="", compare=False)

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Trial:
        if stored.get("schema") != SCHEMA:
            raise ValueError(f"schema {stored.get('schema')!r}, not {SCHEMA}")
        known = _known(Trial, stored)
        known |= {name: tuple(known.get(name, ())) for name in ("kernels", "without")}
        known["aimed"] = Walk.from_json(known["aimed"])
        known["blind"] = Walk.from_json(known["blind"]) if known.get("blind") else None
        opinion = known.get("model")
        known["model"] = Opinion(**_known(Opinion, opinion)) if opinion else None
        return Trial(**known)


def _known(kind: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name for each in dataclasses.fields(kind)}
    return {name: value for name, value in stored.items() if name in names}


def read(folder: Path, name: str = SCORE) -> list[Trial]:
    """What was kept; a last line that a killed run left half written is passed over."""
    kept = []
    for line in lines(folder / name):
        try:
            kept.append(Trial.from_json(line))
        except (ValueError, TypeError, KeyError):
            continue
    return kept


def lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; those that are not whole are passed over."""
    found = []
    for line in path.read_text().splitlines() if path.is_file() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [each for each in found if isinstance(each, dict)]


def append(path: Path, stored: Mapping[str, Any]) -> None:
    """One line, on the disk when this returns; what a killed run left half written is ended first."""
    try:
        with path.open("a+b") as out:
            if out.tell() and not path.read_bytes().endswith(b"\n"):
                out.write(b"\n")
            out.write(json.dumps(stored).encode() + b"\n")
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
