"""`results.jsonl`, one line a cell as it ends, and `run.json` beside it.

Every field is described in reports/README.md. A line is appended by one write() under a lock and
synced, so that parallel workers do not mix lines and a killed run loses only the cells it was in.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from aiotorture.finding import Finding
from aiotorture.token import write_atomically

SCHEMA = 1
RESULTS = "results.jsonl"
RUN = "run.json"


class Verdict(StrEnum):
    """KCIDB's words; what each means stands in docs/interfaces.md, section 6."""

    PASS = "PASS"
    FAIL = "FAIL"
    ERROR = "ERROR"
    MISS = "MISS"
    SKIP = "SKIP"


class ResultsError(RuntimeError):
    """A result could not be kept, or results cannot be read. One line, for the user."""


class DiskFull(ResultsError):
    """No space for a result. What was written before is intact; `--resume` goes on from there."""


@dataclass(frozen=True)
class Hits:
    """How often a window was tried and how often the racer was inside it.

    `held` of the tries had a hold, `hits_held` of those met; `expired` of the holds were over before
    the racer had come. `voids` are no tries: the request never came there.
    """

    tries: int
    hits: int
    held: int = 0
    hits_held: int = 0
    expired: int = 0
    voids: int = 0

    @property
    def free(self) -> int:
        """Tries without a hold."""
        return self.tries - self.held

    @property
    def hits_free(self) -> int:
        return self.hits - self.hits_held

    def __add__(self, other: Hits) -> Hits:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Hits(*(mine + theirs for mine, theirs in pairs))

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Hits:
        return Hits(**{f.name: int(stored.get(f.name, 0)) for f in fields(Hits)})


@dataclass(frozen=True)
class CellResult:
    """One cell's line; the fields, their units and their order are those of the file."""

    id: str
    token: str
    target: str
    kernel: str
    lane: str
    accel: str
    scenario: str
    plan: str
    seed: int | None
    mutant: str | None
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    counters: Mapping[str, int] = field(default_factory=dict)
    start_s: float | None = None
    run_s: float | None = None
    hits: Mapping[str, Hits] = field(default_factory=dict)
    bound: float | None = None
    requests_to_first_finding: int | None = None
    time_to_first_finding: float | None = None
    artefacts: tuple[str, ...] = ()
    kernel_build_id: str = ""
    module_build_id: str = ""
    cpus: int | None = None
    control: bool = False
    reason: str = ""
    tries: int | None = None
    faults: tuple[Mapping[str, Any], ...] = ()
    host_run_delay_s: tuple[float, ...] = ()
    wall_s: float | None = None
    ended: float | None = None
    heat: Mapping[str, Any] | None = None

    @property
    def unknown_findings(self) -> tuple[Finding, ...]:
        """Findings that no entry of known.toml explains."""
        return tuple(finding for finding in self.findings if finding.known is None)

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"schema": SCHEMA}
        for each in fields(self):
            out[each.name] = getattr(self, each.name)
        out["verdict"] = self.verdict.value
        out["findings"] = [finding.to_json() for finding in self.findings]
        out["counters"] = dict(self.counters)
        out["hits"] = {name: asdict(hits) for name, hits in self.hits.items()}
        out["artefacts"] = list(self.artefacts)
        out["faults"] = [dict(fault) for fault in self.faults]
        out["host_run_delay_s"] = list(self.host_run_delay_s)
        return out

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> CellResult:
        """ValueError for another schema or a missing or malformed field; unknown ones are left."""
        if stored.get("schema") != SCHEMA:
            raise ValueError(f"schema {stored.get('schema')!r}, not {SCHEMA}")
        names = {each.name for each in fields(CellResult)}
        known = {name: value for name, value in stored.items() if name in names}
        try:
            known["verdict"] = Verdict(known["verdict"])
            known["findings"] = tuple(Finding.from_json(f) for f in known.get("findings", ()))
            known["hits"] = {
                str(name): Hits.from_json(each) for name, each in known.get("hits", {}).items()
            }
            for name in ("artefacts", "faults", "host_run_delay_s"):
                known[name] = tuple(known.get(name, ()))
            return CellResult(**known)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from None


def result_field_names() -> tuple[str, ...]:
    """The fields of a line of results.jsonl, in order."""
    return ("schema", *(each.name for each in fields(CellResult)))


@dataclass(frozen=True)
class Run:
    """run.json: what holds for all cells of a run. Times are seconds since the epoch (UTC)."""

    run: str
    started: float
    command: tuple[str, ...] = ()
    profile: str = ""
    host: Mapping[str, Any] = field(default_factory=dict)
    accelerator: str = ""
    kernels: tuple[Mapping[str, Any], ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    git_commit: str = ""
    jobs: int = 1
    planned: int = 0
    controls: Mapping[str, bool] = field(default_factory=dict)
    finished: float | None = None
    exit_status: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **{each.name: getattr(self, each.name) for each in fields(self)}}

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Run:
        if stored.get("schema") != SCHEMA:
            raise ValueError(f"schema {stored.get('schema')!r}, not {SCHEMA}")
        names = {each.name for each in fields(Run)}
        known = {name: value for name, value in stored.items() if name in names}
        for name in ("command", "kernels"):
            known[name] = tuple(known.get(name, ()))
        try:
            return Run(**known)
        except TypeError as error:
            raise ValueError(str(error)) from None


def run_field_names() -> tuple[str, ...]:
    """The fields of run.json, in order."""
    return ("schema", *(each.name for each in fields(Run)))


def as_results_error(error: OSError, path: Path) -> ResultsError:
    """DiskFull for no space or quota, else a ResultsError; one line that names the path."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"{path}: no space left: this result is lost, all before it are kept; "
            "free space and go on with --resume"
        )
    return ResultsError(f"{path}: {error.strerror or error}")


def append(run_dir: Path, result: CellResult) -> None:
    """Adds one line. DiskFull leaves the file as it was; any other trouble is a ResultsError."""
    path = run_dir / RESULTS
    line = json.dumps(result.to_json(), separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise as_results_error(error, path) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        _append_line(handle, line)
    except OSError as error:
        raise as_results_error(error, path) from error
    finally:
        os.close(handle)


def _append_line(handle: int, line: bytes) -> None:
    before = os.fstat(handle).st_size
    # A run that was killed in the middle of a line must not swallow the next one.
    torn = before > 0 and os.pread(handle, 1, before - 1) != b"\n"
    whole = b"\n" + line if torn else line
    try:
        written = os.write(handle, whole)
        if written != len(whole):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(handle, before)
        raise


@dataclass(frozen=True)
class Results:
    """What a results file holds. `torn`: one sentence for each line that could not be read."""

    cells: tuple[CellResult, ...]
    torn: tuple[str, ...] = ()

    def done(self) -> frozenset[str]:
        """Ids that `--resume` does not run again: ERROR and MISS proved nothing and are retried."""
        final = (Verdict.PASS, Verdict.FAIL, Verdict.SKIP)
        return frozenset(cell.id for cell in self.cells if cell.verdict in final)


def read(run_dir: Path) -> Results:
    """Every cell that can be read, the last line for an id winning; the rest is told of."""
    path = run_dir / RESULTS
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Results(())
    except OSError as error:
        raise as_results_error(error, path) from error
    cells: dict[str, CellResult] = {}
    torn: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            stored = json.loads(line)
            if not isinstance(stored, dict):
                raise ValueError("no object")
            cell = CellResult.from_json(stored)
        except ValueError as error:
            torn.append(f"{RESULTS}:{number}: {str(error).splitlines()[0]}")
            continue
        cells.pop(cell.id, None)
        cells[cell.id] = cell
    return Results(tuple(cells.values()), tuple(torn))


def write_run(run_dir: Path, run: Run) -> None:
    """Replaces run.json as a whole."""
    path = run_dir / RUN
    try:
        write_atomically(path, json.dumps(run.to_json(), indent=1) + "\n")
    except OSError as error:
        raise as_results_error(error, path) from error


def read_run(run_dir: Path) -> Run:
    """ResultsError when run.json is missing or cannot be read."""
    path = run_dir / RUN
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored, dict):
            raise ValueError("no object")
        return Run.from_json(stored)
    except OSError as error:
        raise as_results_error(error, path) from error
    except ValueError as error:
        raise ResultsError(f"{path}: {error}") from error
