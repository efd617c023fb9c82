"""known.toml: real bugs of unmodified kernels, reported apart when they are seen again.

    [[known]]
    title = "KASAN: slab-use-after-free Read in ffs_aio_cancel"   # exact, or a pattern with * and ?
    oracle = "sanitizer"
    kernels = "<6.10"             # clauses with < <= > >= ==, all must hold; "" is every kernel
    reference = "24729b307eef"    # the commit or the report that describes it

An entry must name where the bug is described: without that a finding is new.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aiotorture.finding import ORACLES, Finding

_CLAUSE = re.compile(r"(<=|>=|==|<|>)\s*(\d+(?:\.\d+)*)\Z")
_RELEASE = re.compile(r"\d+(?:\.\d+)*")
_FIELDS = {"title", "oracle", "kernels", "reference"}
_DEPTH = 4


class KnownError(ValueError):
    """known.toml cannot be read; one line that names the entry."""


@dataclass(frozen=True)
class KnownBug:
    """One entry; `kernels` as parsed clauses, each an operator and a version."""

    title: str
    oracle: str
    kernels: tuple[tuple[str, tuple[int, ...]], ...]
    reference: str

    def matches(self, finding: Finding, release: str) -> bool:
        """Whether the finding is this bug, on a kernel `release` as uname -r gives it."""
        if finding.oracle != self.oracle or not fnmatch.fnmatchcase(finding.title, self.title):
            return False
        version = _version(release)
        return all(_holds(version, operator, bound) for operator, bound in self.kernels)


def _version(release: str) -> tuple[int, ...]:
    found = _RELEASE.match(release)
    if found is None:
        raise KnownError(f"{release!r} is no kernel release")
    return _padded(tuple(int(part) for part in found.group().split(".")))


def _padded(version: tuple[int, ...]) -> tuple[int, ...]:
    return (version + (0,) * _DEPTH)[:_DEPTH]


def _holds(version: tuple[int, ...], operator: str, bound: tuple[int, ...]) -> bool:
    if operator == "==":
        return version[: len(bound)] == bound
    padded = _padded(bound)
    match operator:
        case "<":
            return version < padded
        case "<=":
            return version <= padded or version[: len(bound)] == bound
        case ">":
            return version > padded and version[: len(bound)] != bound
        case _:
            return version >= padded


def _clauses(text: str, where: str) -> tuple[tuple[str, tuple[int, ...]], ...]:
    clauses: list[tuple[str, tuple[int, ...]]] = []
    for piece in filter(None, (part.strip() for part in text.split(","))):
        match = _CLAUSE.match(piece)
        if match is None:
            raise KnownError(f"{where}: {piece!r} is no kernel range such as '>=5.10, <6.1.80'")
        clauses.append((match[1], tuple(int(part) for part in match[2].split("."))))
    return tuple(clauses)


def parse(text: str, name: str = "known.toml") -> tuple[KnownBug, ...]:
    """The entries; KnownError for unknown fields, missing ones, and entries without reference."""
    try:
        tables = tomllib.loads(text).get("known", [])
    except tomllib.TOMLDecodeError as error:
        raise KnownError(f"{name}: {error}") from None
    if not isinstance(tables, list):
        raise KnownError(f"{name}: 'known' is no list of tables")
    bugs: list[KnownBug] = []
    for number, table in enumerate(tables, start=1):
        where = f"{name}: entry {number}"
        strange = set(table) - _FIELDS
        if strange:
            raise KnownError(f"{where}: {sorted(strange)[0]!r} is no field: title oracle kernels reference")
        for field in ("title", "oracle", "reference"):
            if not isinstance(table.get(field), str) or not table[field].strip():
                raise KnownError(f"{where}: {field!r} is missing")
        if table["oracle"] not in ORACLES:
            raise KnownError(f"{where}: {table['oracle']!r} is no oracle: {' '.join(ORACLES)}")
        clauses = _clauses(str(table.get("kernels", "")), where)
        bugs.append(KnownBug(table["title"], table["oracle"], clauses, table["reference"]))
    return tuple(bugs)


def load(path: Path) -> tuple[KnownBug, ...]:
    """The entries of a file; none when it does not exist."""
    return parse(path.read_text(encoding="utf-8"), path.name) if path.exists() else ()


def mark(
    findings: Iterable[Finding], bugs: Sequence[KnownBug], release: str, mutant: bool
) -> tuple[Finding, ...]:
    """The findings, those that are known with their reference.

    A cell with a mutant has no known findings: what is planted there must be found.
    """
    if mutant:
        return tuple(findings)
    return tuple(_marked(finding, bugs, release) for finding in findings)


def _marked(finding: Finding, bugs: Sequence[KnownBug], release: str) -> Finding:
    for bug in bugs:
        if bug.matches(finding, release):
            return replace(finding, known=bug.reference)
    return finding
