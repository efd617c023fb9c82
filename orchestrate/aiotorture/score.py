"""Planted-bug score: each mutant is given to the default search, until it is found or the time is up.

    mutant, seed -> cells of the search profile in a seeded order -> first FAIL, or the budget is spent

The order is drawn so that each round visits every plan once, with scenario and CPUs drawn anew: a
short search has then seen all faults. A cell's race is cut to a slice, for the same reason. No plan
is made for a mutant; the header of its patch is read for the table alone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import random
import statistics
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiotorture import build, matrix, paths, results
from aiotorture.cell import Bench, run_cell
from aiotorture.errors import ConfigurationError
from aiotorture.results import CellResult, Verdict

SCHEMA = 1
SCORE = "score.jsonl"
TABLE = "score.md"
BUDGET_S = 60.0
# Long enough for a thousand requests under emulation, short enough to see every plan twice within
# the budget; what a plan does once (remove, reset) it does within the first second. A race's end is
# also when leaks are judged, so short races find them early.
SLICE = "1200ms"
# These meet every plan, one of them in each round; the others are rows of their own.
EVERY_PLAN = ("submit_cancel_race", "destroy_under_load")
HEADER = ("Name", "Class", "Mechanism", "Symptom", "Source", "Race", "Kernel", "Oracle")


@dataclass(frozen=True)
class Planted:
    """A mutant with what the header of its patch says of it."""

    mutant: build.Mutant
    header: dict[str, str]

    @property
    def name(self) -> str:
        return self.mutant.name

    @property
    def kind(self) -> str:
        return self.header.get("Class", "?")

    @property
    def race(self) -> bool:
        return self.header.get("Race", "").startswith("yes")


@dataclass(frozen=True)
class Trial:
    """One mutant given to the search with one seed: a line of score.jsonl.

    `seconds` and `requests` are guest-seconds and requests until the first finding, or all that were
    spent without one. `identity` is over the patch and over what was mutated: a trial of other
    sources is not taken for this one.
    """

    identity: str
    mutant: str
    kind: str
    race: bool
    kernel: str
    seed: int
    budget_s: float
    found: bool
    oracle: str
    title: str
    oracles: tuple[str, ...]
    seconds: float
    requests: int
    cells: int
    errors: int
    cell: str
    token: str

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    @staticmethod
    def from_json(stored: dict[str, Any]) -> Trial:
        if stored.get("schema") != SCHEMA:
            raise ValueError(f"schema {stored.get('schema')!r}, not {SCHEMA}")
        names = {each.name for each in dataclasses.fields(Trial)}
        known = {name: value for name, value in stored.items() if name in names}
        known["oracles"] = tuple(known.get("oracles", ()))
        return Trial(**known)


def header_of(patch: str) -> dict[str, str]:
    """The `Name: …` lines before the diff."""
    lines = patch.split("\n--- ", 1)[0].splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip(): text.strip() for name, text in pairs}


def planted(words: Sequence[str]) -> list[Planted]:
    """The mutants named, or all of them; ConfigurationError for an unknown one."""
    chosen = [build.find_mutant(word) for word in (words or build.mutant_names())]
    return [Planted(mutant, header_of(mutant.patch)) for mutant in chosen]


def identity(one: Planted, kernel: str, budget_s: float) -> str:
    """Of the mutant, of the sources it changes, and of what searches."""
    folders = [paths.ROOT / name for name in ("driver", "fault", "stress")]
    sources = paths.tree_hash(folders, frozenset({".c", ".h", ".cpp"}))
    plans = (paths.ORCHESTRATE / "matrix.toml").read_text()
    parts = [one.mutant.patch, kernel, f"{budget_s:g}", sources, plans]
    return paths.content_hash(part.encode() for part in parts)


def in_order(cells: Sequence[matrix.Cell], seed: int) -> list[matrix.Cell]:
    """Round by round through the plans, each round in an order of its own; in each the mixes come
    first, which show most kinds of bug in a short race."""
    drawn = random.Random(seed)
    by_plan: dict[str, list[matrix.Cell]] = {}
    for cell in cells:
        faults = str(sorted(map(str, cell.plan.faults)))
        name = cell.plan.scenario.name
        row = faults if name in EVERY_PLAN else f"{name} {faults}"
        by_plan.setdefault(row, []).append(cell)
    stacks = list(by_plan.values())
    for stack in stacks:
        drawn.shuffle(stack)
    ordered: list[matrix.Cell] = []
    while stacks:
        drawn.shuffle(stacks)
        stacks.sort(key=lambda stack: "-mix-" not in stack[-1].id)  # stable
        ordered += [stack.pop() for stack in stacks]
        stacks = [stack for stack in stacks if stack]
    return ordered


def cells_for(one: Planted, kernel: str, seed: int, slice_time: str) -> list[matrix.Cell]:
    """The search profile with this mutant; ids say the seed, so that results of several fit together."""
    selection = matrix.Selection(
        kernels=(kernel,), mutant=None, seed=seed, time=slice_time, profile="search"
    )
    plain = [cell for cell in matrix.cells(selection) if not cell.control]
    with_mutant = [
        dataclasses.replace(
            cell,
            mutant=one.mutant,
            id=f"{cell.id}-{one.name}-s{seed}",
            end_at_finding=True,
        )
        for cell in plain
    ]
    return in_order(with_mutant, seed)


def _guest_seconds(result: CellResult) -> float:
    """Of the race and what follows it; a guest that died has no `run_s`."""
    return result.run_s if result.run_s is not None else (result.wall_s or 0.0)


def _until_finding(result: CellResult) -> tuple[float, int]:
    """Seconds and requests of a cell with a finding; host findings carry no time of their own."""
    seconds = result.time_to_first_finding
    requests = result.requests_to_first_finding
    submitted = int(result.counters.get("submitted", 0))
    return (
        seconds if seconds is not None else _guest_seconds(result),
        requests if requests is not None else submitted,
    )


def search(
    one: Planted,
    cells: Iterable[matrix.Cell],
    run: Callable[[matrix.Cell], CellResult],
    budget_s: float,
) -> Trial:
    """Runs the cells until one FAILs or `budget_s` guest-seconds are spent."""
    spent_s, requests, count, errors = 0.0, 0, 0, 0
    hit: CellResult | None = None
    kernel, seed = "", 0
    for cell in cells:
        if spent_s >= budget_s:
            break
        kernel = cell.kernel
        result = run(cell)
        count += 1
        errors += result.verdict is Verdict.ERROR
        if result.verdict is Verdict.FAIL:
            hit = result
            seconds, until = _until_finding(result)
            spent_s += seconds
            requests += until
            break
        spent_s += _guest_seconds(result)
        requests += int(result.counters.get("submitted", 0))
    first = hit.unknown_findings[0] if hit and hit.unknown_findings else None
    return Trial(
        identity="",
        mutant=one.name,
        kind=one.kind,
        race=one.race,
        kernel=kernel,
        seed=seed,
        budget_s=budget_s,
        found=hit is not None,
        oracle=first.oracle if first else "",
        title=first.title if first else (hit.reason if hit else ""),
        oracles=tuple(dict.fromkeys(f.oracle for f in hit.unknown_findings)) if hit else (),
        seconds=round(spent_s, 3),
        requests=requests,
        cells=count,
        errors=errors,
        cell=hit.id if hit else "",
        token=hit.token if hit else "",
    )


# ------------------------------------------------------------------- kept trials


def read(folder: Path) -> list[Trial]:
    """What was kept; a last line that a killed run left half written is passed over."""
    path = folder / SCORE
    if not path.is_file():
        return []
    kept = []
    for line in path.read_text().splitlines():
        try:
            kept.append(Trial.from_json(json.loads(line)))
        except (ValueError, TypeError):
            continue
    return kept


def append(folder: Path, trial: Trial) -> None:
    line = json.dumps(trial.to_json()) + "\n"
    try:
        with (folder / SCORE).open("a") as out:
            out.write(line)
            out.flush()
            os.fsync(out.fileno())
    except OSError as error:
        raise ConfigurationError(f"{folder / SCORE}: {error.strerror}") from error


# ----------------------------------------------------------------------- running


@dataclass(frozen=True)
class Task:
    one: Planted
    seed: int
    identity: str


class Workers:
    """Guests side by side: one bench a thread, tasks from one queue, an end that is waited for."""

    def __init__(
        self,
        benches: Sequence[Bench],
        kernel: str,
        slice_time: str,
        budget_s: float,
        on_trial: Callable[[Trial], None],
    ) -> None:
        self._benches = benches
        self._kernel = kernel
        self._slice = slice_time
        self._budget_s = budget_s
        self._on_trial = on_trial
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None

    def run(self, tasks: Sequence[Task]) -> None:
        for task in tasks:
            self._tasks.put(task)
        threads = [threading.Thread(target=self._work, args=(bench,)) for bench in self._benches]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self._stop.set()  # after an interrupt: each ends with the cell it is in
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error

    def _work(self, bench: Bench) -> None:
        while not self._stop.is_set():
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return
            try:
                self._one(task, bench)
            except _Stopped:
                return
            except BaseException as error:
                self._error = error
                self._stop.set()
                return

    def _one(self, task: Task, bench: Bench) -> None:
        def run(cell: matrix.Cell) -> CellResult:
            if self._stop.is_set():
                raise _Stopped
            result = run_cell(cell, bench)
            results.append(bench.run_dir, result)
            return result

        cells = cells_for(task.one, self._kernel, task.seed, self._slice)
        trial = search(task.one, cells, run, self._budget_s)
        trial = dataclasses.replace(trial, identity=task.identity, seed=task.seed)
        with self._lock:
            append(bench.run_dir, trial)
            self._on_trial(trial)


class _Stopped(Exception):
    """The run was interrupted: this trial is not complete and is not kept."""


# ------------------------------------------------------------------------- table


@dataclass(frozen=True)
class Row:
    """A mutant over all its seeds."""

    mutant: str
    kind: str
    race: bool
    found: int
    trials: int
    errors: int
    oracles: tuple[str, ...]
    titles: tuple[str, ...]
    seconds: tuple[float, ...]
    requests: tuple[int, ...]

    @property
    def always(self) -> bool:
        return self.found == self.trials


def rows(trials: Iterable[Trial]) -> list[Row]:
    by_name: dict[str, list[Trial]] = {}
    for trial in trials:
        by_name.setdefault(trial.mutant, []).append(trial)
    made = []
    for name, each in sorted(by_name.items(), key=lambda item: (item[1][0].kind, item[0])):
        hits = [trial for trial in each if trial.found]
        made.append(
            Row(
                mutant=name,
                kind=each[0].kind,
                race=each[0].race,
                found=len(hits),
                trials=len(each),
                errors=sum(trial.errors for trial in each),
                oracles=tuple(dict.fromkeys(trial.oracle for trial in hits)),
                titles=tuple(dict.fromkeys(trial.title for trial in hits)),
                seconds=tuple(sorted(trial.seconds for trial in hits)),
                requests=tuple(sorted(trial.requests for trial in hits)),
            )
        )
    return made


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    if not values:
        return "-"
    middle = statistics.median(values)
    if len(values) == 1 or values[0] == values[-1]:
        return f"{middle:.3g}" if middle < 100 else f"{middle:.0f}"
    words = [f"{v:.3g}" if v < 100 else f"{v:.0f}" for v in (middle, values[0], values[-1])]
    return f"{words[0]} ({words[1]}..{words[2]})"


def markdown(table: Sequence[Row]) -> str:
    lines = [
        "| mutant | class | race | found | oracle | title | s to find | requests to find |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in table:
        cells = [
            row.mutant, row.kind, "yes" if row.race else "", f"{row.found}/{row.trials}",
            ", ".join(row.oracles) or "-", row.titles[0] if row.titles else "-",
            spread(row.seconds), spread(row.requests),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def summary(table: Sequence[Row]) -> list[str]:
    found = sum(row.always for row in table)
    seconds = sorted(second for row in table for second in row.seconds)
    kinds = len({row.kind for row in table})
    lines = [f"{found} of {len(table)} mutants found with every seed ({kinds} classes)"]
    if seconds:
        lines.append(f"guest-seconds to find: {spread(seconds)}")
    sometimes = [f"{row.mutant} {row.found}/{row.trials}" for row in table if 0 < row.found < row.trials]
    never = [row.mutant for row in table if not row.found]
    if sometimes:
        lines.append("sometimes: " + ", ".join(sometimes))
    if never:
        lines.append("missed: " + ", ".join(never))
    return lines


EXIT_ALL_FOUND = 0
EXIT_MISSED = 1
EXIT_ERRORS = 3


def exit_status(table: Sequence[Row]) -> int:
    """3 when a mutant was missed in a trial whose harness broke; 1 when one was missed."""
    missed = [row for row in table if not row.always]
    if not table or any(row.errors for row in missed):
        return EXIT_ERRORS
    return EXIT_MISSED if missed else EXIT_ALL_FOUND
