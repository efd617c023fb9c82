"""`score [--mutant M…]`: which planted bugs the default search finds, by which oracle, how fast."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from aiotorture import accel, kernels, paths, results, rundir
from aiotorture.cli import parser
from aiotorture.errors import ConfigurationError
from aiotorture.matrix import Cell
from aiotorture.plan import duration_ns
from aiotorture.score import (
    alone,
    kernel_mutants,
    planted,
    repeats,
    search,
    second_opinion,
    table,
    trials,
    workers,
)
from aiotorture.score.planted import Method, Planted

SEEDS = 3
NS_PER_S = 1e9
README = paths.ROOT / "README.md"


def _seconds(text: str, flag: str) -> float:
    try:
        return duration_ns(text) / NS_PER_S
    except ValueError as error:
        raise ConfigurationError(f"{flag}: {error}") from error


def _folder(given: str | None, resume: bool) -> Path:
    if given is not None:
        path = Path(given).resolve()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"--out {path}: {error.strerror}") from error
        return path
    kept = sorted(path.parent for path in paths.REPORTS.glob(f"*/{trials.SCORE}"))
    if resume and not kept:
        raise ConfigurationError(f"there is no score under {paths.REPORTS}")
    return kept[-1] if resume else rundir.new_run_dir("score")


def _on_signal(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    jobs = max(1, (os.cpu_count() or 1) // 2)
    made = parser("score")
    made.add_argument("--mutant", action="append", metavar="M",
                      help="only this one, of the driver or kernel/NAME (repeatable)")
    made.add_argument("--set", choices=kernel_mutants.SETS, default="driver",
                      help="the mutants of mutants/driver, mutants/kernel or both (default driver)")
    made.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="trials of each")
    made.add_argument("--seed", type=int, default=1, metavar="N", help="the first trial's seed")
    made.add_argument("--kernel", metavar="K[,K…]",
                      help="rows of kernels.toml that share the time; one that is not here is left out")
    made.add_argument("--time", default=f"{planted.BUDGET_S:g}s", metavar="D",
                      help="guest time that a search may take")
    made.add_argument("--slice", default=planted.SLICE, metavar="D", help="length of each race")
    made.add_argument("--cpus", type=int, choices=(1, 2), help="guests with so many CPUs alone")
    made.add_argument("--blind", action="store_true",
                      help="then blind stress for races, up to the time or 20 times the requests")
    made.add_argument("--blind-full", action="store_true", help="--blind, always up to the time")
    made.add_argument("--without", action="append", default=[], metavar="ORACLE",
                      help="findings of it do not count: leak, ledger/late, … (repeatable)")
    made.add_argument("--correct", action="store_true",
                      help="search the driver as it is, --seeds times: each finding is a false alarm")
    made.add_argument("--alone", action="store_true",
                      help="no new searches: for each oracle, which of the mutants kept it alone finds")
    made.add_argument("--repro", type=int, metavar="N",
                      help="no new searches: replay each mutant's token N times")
    made.add_argument("--table", nargs="?", const=str(README), metavar="FILE",
                      help="no new searches: what is kept, as the score of the README (or FILE)")
    made.add_argument("--jobs", type=int, default=jobs, metavar="N",
                      help=f"guests side by side (default {jobs}: each has two CPUs, and its time is measured)")
    made.add_argument("--out", metavar="DIR", help="folder of the score; goes on with what is there")
    made.add_argument("--resume", action="store_true", help="go on with the last score")
    given = made.parse_args(arguments)
    if given.seeds < 1 or given.jobs < 1 or given.seed < 0 or (given.repro or 1) < 1:
        raise ConfigurationError("--seeds, --jobs and --repro: from 1 up; --seed: from 0 up")
    return given


class _Score:
    """One folder's score: what is kept there, and what this command adds."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.out = sys.stderr if given.json else sys.stdout
        usual = [kernels.default_series()[0], *planted.DEBUG_KERNELS]
        names = given.kernel.split(",") if given.kernel else usual
        here, absent = workers.cached(kernels.names(names))
        if absent:
            self.say(f"left out, not built here: {', '.join(absent)} (./aiotorture kernels build)")
        _seconds(given.slice, "--slice")
        self.method = Method(
            kernels=here,
            budget_s=_seconds(given.time, "--time"),
            slice_time=given.slice,
            blind=given.blind or given.blind_full,
            blind_full=given.blind_full,
            without=tuple(given.without),
            cpus=given.cpus,
        )
        wanted = given.mutant or ()
        self.chosen = [planted.correct()] if given.correct else kernel_mutants.chosen(wanted, given.set)
        self.file = trials.CORRECT if given.correct else trials.SCORE
        existing = given.alone or given.repro or given.table
        self.folder = _folder(given.out, given.resume or bool(existing))
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        print(line, file=self.out, flush=True)

    def kept(self) -> list[trials.Trial]:
        """The newest trial of each mutant and seed, of the mutants chosen."""
        names = {one.name for one in self.chosen}
        newest = {
            (trial.mutant, trial.seed): trial
            for trial in trials.read(self.folder)
            if trial.mutant in names
        }
        return list(newest.values())

    # ---------------------------------------------------------------- searches

    def searches(self) -> list[trials.Trial]:
        """Runs what is missing, and returns all that was asked for."""
        wanted = [
            (one, seed, planted.identity(one, self.method))
            for seed in range(self.given.seed, self.given.seed + self.given.seeds)
            for one in self.chosen
        ]
        kept = self._by_identity(self.file)
        missing = [each for each in wanted if (each[2], each[1]) not in kept]
        self.say(f"score: {len(missing)} searches of {len(wanted)} to run, in {self.folder}")
        tasks = [
            self._search_task(one, seed, self.method, name, self.file)
            for one, seed, name in missing
        ]
        self._run(tasks, [one for one, _, _ in missing])
        kept = self._by_identity(self.file)
        return [kept[key] for _, seed, name in wanted if (key := (name, seed)) in kept]

    def _by_identity(self, name: str) -> dict[tuple[str, int], trials.Trial]:
        return {(trial.identity, trial.seed): trial for trial in trials.read(self.folder, name)}

    def _search_task(
        self, one: Planted, seed: int, method: Method, identity: str, file: str
    ) -> workers.Task:
        git = rundir.git_commit()
        ask = None if method.without else second_opinion.ask

        def task(run: search.Run) -> None:
            trial = search.search(one, seed, method, run, ask)
            trial = dataclasses.replace(trial, identity=identity, git=git)
            with self._lock:
                trials.append(self.folder / file, trial.to_json())
                self.say(_line(trial))

        return task

    def alone(self) -> list[trials.Trial]:
        """For each oracle, mutants that it showed first are searched for without it, until enough are
        missed then."""
        by_name = {one.name: one for one in self.chosen}
        for oracle, shown in alone.candidates(self.kept()).items():
            method = dataclasses.replace(
                self.method, blind=False, blind_full=False, without=(oracle,)
            )
            self.say(f"{oracle}: first to show {len(shown)} mutants")
            for trial in shown:
                kept = trials.read(self.folder, alone.ALONE)
                if len(alone.found_by_it_alone(kept, oracle)) >= alone.ENOUGH:
                    break
                one = by_name[trial.mutant]
                done = {(each.identity, each.seed) for each in kept}
                name = planted.identity(one, method)
                if (name, trial.seed) not in done:
                    task = self._search_task(one, trial.seed, method, name, alone.ALONE)
                    self._run([task], [one])
        return trials.read(self.folder, alone.ALONE)

    # ---------------------------------------------------------------- replays

    def replays(self, tries: int) -> list[repeats.Replayed]:
        missing = repeats.wanted(self.kept(), repeats.read(self.folder), tries)
        self.say(f"score: {len(missing)} tokens to replay {tries} times, in {self.folder}")

        def task_for(trial: trials.Trial) -> workers.Task:
            def task(run: Callable[[Cell], results.CellResult]) -> None:
                replayed = repeats.replay(trial, self.folder, tries, run)
                with self._lock:
                    trials.append(self.folder / repeats.REPEATS, dataclasses.asdict(replayed))
                    self.say(f"{replayed.mutant} {replayed.token}: same title {replayed.same} of "
                             f"{tries}, any of its cell {replayed.hits}")

            return task

        by_name = {one.name: one for one in self.chosen}
        found_on = tuple(dict.fromkeys(trial.aimed.kernel for trial in missing))
        tasks = [task_for(trial) for trial in missing]
        self._run(tasks, [by_name[trial.mutant] for trial in missing], found_on)
        return repeats.read(self.folder)

    def _run(
        self, tasks: Sequence[workers.Task], ones: Sequence[Planted], rows: tuple[str, ...] = ()
    ) -> None:
        if not tasks:
            return
        # SIGINT too: a shell's background jobs inherit it ignored
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _on_signal)
        jobs = min(self.given.jobs, len(tasks))
        series = rows or ones[0].method(self.method).kernels
        with workers.benches(self._sample(ones, series), self.folder, jobs) as made:
            described = rundir.describe_run(
                self.folder, ["./aiotorture", *sys.argv[1:]], "score", made[0].kernels,
                accel.chosen(Path(next(iter(made[0].kernels.values())).image)), jobs, len(tasks),
            )  # fmt: skip
            results.write_run(self.folder, described)
            workers.Workers(made).run(tasks)

    def _sample(self, ones: Sequence[Planted], series: tuple[str, ...]) -> list[Cell]:
        """Enough for the ready guests of all; a mutant's modules are built when its turn comes."""
        cells = [
            cell
            for kernel in series
            for cell in search.cells_for(ones[0], kernel, 0, self.method.slice_time)
        ]
        return list({(cell.kernel, cell.cpus): cell for cell in cells}.values())


def _line(trial: trials.Trial) -> str:
    aimed, blind = trial.aimed, trial.blind
    what = f"{aimed.oracle}: {aimed.title}" if aimed.found else "not found"
    without = f" without {', '.join(trial.without)}" if trial.without else ""
    beside = ""
    if blind is not None:
        ended = "found" if blind.found else f"not found, ended by {blind.cap}"
        beside = f"; blind {ended}, {blind.seconds:.1f} s {blind.requests} requests"
    if trial.model is not None:
        beside += f"; model: {trial.model.told}"
    return (f"{'FOUND' if aimed.found else 'MISSED':6} {trial.mutant} s{trial.seed}{without} "
            f"{aimed.kernel} {aimed.seconds:.1f} s {aimed.requests} requests  {what}{beside}")


def _false_alarms(kept: Sequence[trials.Trial], score: _Score) -> int:
    alarms = [trial for trial in kept if trial.aimed.found]
    models = [trial for trial in kept if trial.model is not None and trial.model.found]
    cells = sum(trial.aimed.cells for trial in kept)
    if score.given.json:
        print(json.dumps([trial.to_json() for trial in kept]))
    else:
        for trial in alarms:
            print(f"./aiotorture repro {trial.aimed.token}")
        print(f"{len(alarms)} of {len(kept)} searches of the correct driver found something, in {cells} cells")
        print(f"the model: {len(models)} of {sum(trial.model is not None for trial in kept)}")
    if alarms or models:
        return table.EXIT_MISSED
    return table.EXIT_ERRORS if not kept or any(trial.aimed.errors for trial in kept) else 0


def _how(kept: Sequence[trials.Trial]) -> str:
    """Under what the kept trials were measured."""
    seeds = len({trial.seed for trial in kept})
    rows = ", ".join(dict.fromkeys(name for trial in kept for name in trial.kernels))
    commits = ", ".join(dict.fromkeys(trial.git for trial in kept if trial.git))
    day = time.strftime("%Y-%m-%d", time.gmtime())
    return f"{len(kept)} searches, {seeds} seed{'s' * (seeds > 1)} each, kernels {rows}; {commits or 'no commit'}, {day}."


def main(arguments: Sequence[str]) -> int:
    given = _arguments(arguments)
    score = _Score(given)
    if given.correct:
        return _false_alarms(score.searches(), score)
    if given.alone:
        kept = score.alone()
        text = alone.markdown(kept)
        (score.folder / "alone.md").write_text(text)
        print(json.dumps([each.to_json() for each in kept]) if given.json else text)
        return 0
    if given.repro:
        replayed = score.replays(given.repro)
        said = repeats.summary(replayed)
        print(json.dumps([dataclasses.asdict(each) for each in replayed]) if given.json
              else "\n".join(said))  # fmt: skip
        return 0
    made = score.kept() if given.table else score.searches()
    rows = table.rows(made)
    replayed = repeats.read(score.folder)
    lines = kernel_mutants.summary(rows, score.method.budget_s) + repeats.summary(replayed)
    text = kernel_mutants.markdown(rows, repeats.by_mutant(replayed))
    (score.folder / table.TABLE).write_text(text)
    if given.table:
        if not rows:
            raise ConfigurationError(f"nothing is kept in {score.folder}")
        muted = trials.read(score.folder, alone.ALONE)
        driver, of_kernel = kernel_mutants.apart(rows)
        part = table.readme_part(
            driver, _how(made), lines, repeats.by_mutant(replayed), alone.markdown(muted) if muted else "",
            table.markdown(of_kernel, repeats.by_mutant(replayed)) if of_kernel else "",
        )  # fmt: skip
        table.put_between_marks(Path(given.table), part)
        score.say(f"{given.table}: {len(rows)} mutants, from {score.folder}")
        return 0
    status = table.exit_status(rows)
    if given.json:
        print(json.dumps({
            "folder": str(score.folder), "exit_status": status, "summary": lines,
            "mutants": [dataclasses.asdict(row) for row in rows],
        }))  # fmt: skip
    else:
        print(text, end="")
        for line in lines:
            print(line)
        print(score.folder / table.TABLE)
    return status
