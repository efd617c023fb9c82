"""Tokens: one word that names a cell completely.

A token is `at1-` and thirteen base32 digits (65 bits) of a SHA-256 over what makes the cell:
plan and seed, scenario version, target, lane and guest, kernel, modules and mutant. What it stands
for is stored beside the run's results and in the cache, with the text of patches, so that a token
with a user's own patch or kernel replays too.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

PREFIX = "at1-"
FORMAT = 1
DIGITS = 13
_TOKEN = re.compile(r"at1-[a-z2-7]{%d}" % DIGITS)

_IDENTITY = (
    "plan", "seed", "scenario_version", "target", "lane", "guest", "kernel", "modules", "mutant",
)  # fmt: skip


class TokenError(ValueError):
    """A token that is malformed, unknown here, or whose stored copy cannot be read."""


@dataclass(frozen=True)
class Mutant:
    """A planted bug: its name, and the patch as it was, so that an edited file replays too."""

    name: str
    patch: str


@dataclass(frozen=True)
class Expected:
    """What a cell showed; `repro` runs it until this shows again. No part of the identity."""

    oracle: str
    title: str
    signature: str


@dataclass(frozen=True)
class Stored:
    """All that is needed to run a cell again. What `Stored` holds is what the token names.

    plan: canonical text. kernel: `ref` (as asked for), `release`, `build_id`, and where a user's
    own kernel lies, `path`. modules: name to build id. guest: `cpus`, `mem_mb`, `append` (kernel
    parameters): the part of the cell that is neither kernel nor plan.
    `places` (paths of images, of a module, of a tree) and `expected` are no part of the identity.
    """

    plan: str
    seed: int | None
    scenario_version: str
    target: str
    lane: str
    kernel: Mapping[str, str]
    modules: Mapping[str, str] = field(default_factory=dict)
    guest: Mapping[str, str] = field(default_factory=dict)
    mutant: Mutant | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    expected: Sequence[Expected] = ()
    cell_id: str = ""

    @property
    def token(self) -> str:
        identity = {name: value for name, value in asdict(self).items() if name in _IDENTITY}
        # Where a kernel lies, and by which name it was asked for, says nothing about what it is.
        identity["kernel"] = {k: v for k, v in self.kernel.items() if k not in ("path", "ref")}
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        digest = hashlib.sha256(canonical.encode()).digest()
        return PREFIX + base64.b32encode(digest).decode().lower()[:DIGITS]

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, "token": self.token, **asdict(self)}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Stored:
        """TokenError when a field is missing or of a format that this version does not know."""
        if stored.get("format") != FORMAT:
            raise TokenError(f"stored token: format {stored.get('format')!r}, not {FORMAT}")
        try:
            mutant = stored["mutant"]
            return Stored(
                plan=str(stored["plan"]),
                seed=None if stored["seed"] is None else int(stored["seed"]),
                scenario_version=str(stored["scenario_version"]),
                target=str(stored["target"]),
                lane=str(stored["lane"]),
                kernel=_texts(stored["kernel"]),
                modules=_texts(stored["modules"]),
                guest=_texts(stored["guest"]),
                mutant=None if mutant is None else Mutant(mutant["name"], mutant["patch"]),
                places=_texts(stored["places"]),
                expected=tuple(Expected(**each) for each in stored["expected"]),
                cell_id=str(stored.get("cell_id", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TokenError(f"stored token: {type(error).__name__}: {error}") from None


def _texts(stored: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in stored.items()}


def is_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_CACHE_HOME/aiotorture/tokens`; the XDG default is ~/.cache."""
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aiotorture" / "tokens"


def write_atomically(path: Path, text: str) -> None:
    """The whole text or nothing under `path`: a temporary file beside it, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def store(cell: Stored, run_dir: Path | None, cache: Path | None = None) -> str:
    """Writes the stored copy under the run (`tokens/TOKEN.json`) and the cache; the token.

    What a copy already there is stored for stays: a replay that shows nothing must not make the
    token forget what it is a token of.
    """
    places = [] if run_dir is None else [run_dir / "tokens"]
    places.append(cache_dir() if cache is None else cache)
    for place in places:
        path = place / f"{cell.token}.json"
        kept = replace(cell, expected=_united(_expected_at(path), cell.expected))
        write_atomically(path, json.dumps(kept.to_json(), indent=1, sort_keys=True) + "\n")
    return cell.token


def _expected_at(path: Path) -> Sequence[Expected]:
    try:
        return load_file(path).expected
    except TokenError:
        return ()


def _united(first: Sequence[Expected], second: Sequence[Expected]) -> tuple[Expected, ...]:
    """One of each oracle and title, in the order of arrival."""
    unique: dict[tuple[str, str], Expected] = {}
    for each in (*first, *second):
        unique.setdefault((each.oracle, each.title), each)
    return tuple(unique.values())


def load(token: str, run_dirs: Sequence[Path] = (), cache: Path | None = None) -> Stored:
    """What a token stands for, looked up under the runs given and then in the cache.

    TokenError: malformed, stored nowhere here, unreadable, or changed since it was stored.
    """
    if not is_token(token):
        raise TokenError(f"{token!r} is no token: {PREFIX} and {DIGITS} of a-z2-7")
    places = [run / "tokens" for run in run_dirs]
    places.append(cache_dir() if cache is None else cache)
    for place in places:
        path = place / f"{token}.json"
        if path.is_file():
            return load_file(path)
    looked = ", ".join(str(place) for place in places)
    raise TokenError(f"{token}: what it stands for is stored nowhere here (looked in {looked})")


def load_file(path: Path) -> Stored:
    """The stored copy in one file, checked against the token that it carries."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise TokenError(f"{path}: {error}") from None
    if not isinstance(stored, dict):
        raise TokenError(f"{path}: no stored token")
    cell = Stored.from_json(stored)
    if cell.token != stored.get("token"):
        raise TokenError(f"{path}: was changed: it says {stored.get('token')}, it is {cell.token}")
    return cell
