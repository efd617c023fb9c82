"""`score [--mutant M…]`: which planted bugs the default search finds, by which oracle, how fast."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from aiotorture import accel, kernels, options, paths, results, rundir, score, setup
from aiotorture import scratch as scratch_folder
from aiotorture.cell import Bench
from aiotorture.cli import parser
from aiotorture.errors import ConfigurationError
from aiotorture.lanes import lane_named
from aiotorture.plan import duration_ns

SEEDS = 3
NS_PER_S = 1e9


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
    kept = sorted(path.parent for path in paths.REPORTS.glob(f"*/{score.SCORE}"))
    if resume and not kept:
        raise ConfigurationError(f"there is no score under {paths.REPORTS}")
    return kept[-1] if resume else rundir.new_run_dir("score")


def _on_signal(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def main(arguments: Sequence[str]) -> int:
    made = parser("score")
    made.add_argument("--mutant", action="append", metavar="M", help="only this one (repeatable)")
    made.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="trials of each")
    made.add_argument("--seed", type=int, default=1, metavar="N", help="the first trial's seed")
    made.add_argument("--kernel", metavar="K", help="row of kernels.toml")
    made.add_argument("--time", default=f"{score.BUDGET_S:g}s", metavar="D",
                      help="guest time that a search may take")
    made.add_argument("--slice", default=score.SLICE, metavar="D", help="length of each race")
    made.add_argument("--jobs", type=int, default=options.DEFAULT_JOBS, metavar="N",
                      help="guests side by side (default 2)")
    made.add_argument("--out", metavar="DIR", help="folder of the score; goes on with what is there")
    made.add_argument("--resume", action="store_true", help="go on with the last score")
    given = made.parse_args(arguments)
    if given.seeds < 1 or given.jobs < 1 or given.seed < 0:
        raise ConfigurationError("--seeds and --jobs: from 1 up; --seed: from 0 up")
    budget_s = _seconds(given.time, "--time")
    _seconds(given.slice, "--slice")
    kernel = given.kernel or kernels.default_series()[0]
    kernels.row_of(kernel)
    chosen = score.planted(given.mutant or ())
    folder = _folder(given.out, given.resume)
    wanted = [
        score.Task(one, seed, score.identity(one, kernel, budget_s))
        for seed in range(given.seed, given.seed + given.seeds)
        for one in chosen
    ]
    kept = {(trial.identity, trial.seed): trial for trial in score.read(folder)}
    missing = [task for task in wanted if (task.identity, task.seed) not in kept]
    out = sys.stderr if given.json else sys.stdout
    print(f"score: {len(missing)} searches of {len(wanted)} to run, in {folder}", file=out, flush=True)

    def on_trial(trial: score.Trial) -> None:
        what = f"{trial.oracle}: {trial.title}" if trial.found else "not found"
        print(f"{'FOUND' if trial.found else 'MISSED':6} {trial.mutant} s{trial.seed} "
              f"{trial.seconds:.1f} s {trial.requests} requests  {what}", file=out, flush=True)

    if missing:
        _run(missing, folder, kernel, given.slice, budget_s, given.jobs, on_trial)
    kept = {(trial.identity, trial.seed): trial for trial in score.read(folder)}
    trials = [kept[key] for task in wanted if (key := (task.identity, task.seed)) in kept]
    table = score.rows(trials)
    (folder / score.TABLE).write_text(score.markdown(table))
    status = score.exit_status(table)
    if given.json:
        print(json.dumps({
            "folder": str(folder), "exit_status": status,
            "mutants": [dataclasses.asdict(row) for row in table],
        }))  # fmt: skip
    else:
        print(score.markdown(table), end="")
        for line in score.summary(table):
            print(line)
        print(folder / score.TABLE)
    return status


def _run(
    tasks: Sequence[score.Task],
    folder: Path,
    kernel: str,
    slice_time: str,
    budget_s: float,
    jobs: int,
    on_trial: Callable[[score.Trial], None],
) -> None:
    # SIGINT too: a shell's background jobs inherit it ignored
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _on_signal)
    scratch = scratch_folder.make()
    try:
        # one cell of each mutant and CPU count: enough for every build and every ready guest
        sample = [
            cell
            for task in {task.one.name: task for task in tasks}.values()
            for cell in {c.cpus: c for c in
                         score.cells_for(task.one, kernel, task.seed, slice_time)}.values()
        ]
        first = setup.for_cells(sample, "qemu", folder, scratch / "main")
        benches = [
            Bench(lane_named("qemu", scratch / f"guests{n}"), first.kernels, folder)
            for n in range(min(jobs, len(tasks)))
        ]
        for n in range(len(benches)):
            (scratch / f"guests{n}").mkdir()
        why = accel.chosen(Path(first.kernels[kernel].image))
        described = rundir.describe_run(
            folder, ["./aiotorture", *sys.argv[1:]], "score", first.kernels, why, jobs, len(tasks)
        )
        results.write_run(folder, described)
        score.Workers(benches, kernel, slice_time, budget_s, on_trial).run(tasks)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
