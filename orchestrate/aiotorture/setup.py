"""Set-up on first need: packages, kernels, builds, ready guests; skipped when done."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from aiotorture import build, kernels, packages, preflight, targets
from aiotorture import scratch as scratch_folder
from aiotorture.agentlink import AgentError, LinkClosed, NoAnswer
from aiotorture.cell import Bench
from aiotorture.errors import ConfigurationError
from aiotorture.lanes import lane_named
from aiotorture.matrix import Cell

PROBE_TIMEOUT_S = 60.0


def for_cells(cells: Sequence[Cell], lane_name: str, run_dir: Path, scratch: Path) -> Bench:
    """All that these cells need, so that no cell's start pays for it. ConfigurationError, one
    line, when the machine cannot be set up or a plan is wrong."""
    perf = any(cell.perf for cell in cells)
    needed = packages.LOCAL if lane_name == "local" else packages.RUN
    packages.ensure(needed + (packages.PERF if perf else ()))
    if lane_name == "lab":
        packages.ensure(packages.SSH)
    preflight.check_plans(build.agent(), cells)
    resolved = {series: kernels.ensure(series) for series in sorted({c.kernel for c in cells})}
    built = {(cell.kernel, cell.target, cell.mutant and cell.mutant.name): cell for cell in cells}
    for cell in built.values():
        targets.named(cell.target).modules(resolved[cell.kernel], cell.mutant)
    bench = Bench(lane_named(lane_name, scratch), resolved, run_dir)
    bench.lane.prepare(list(dict.fromkeys(bench.spec(cell) for cell in cells)))
    return bench


def check_targets(cells: Sequence[Cell], bench: Bench) -> None:
    """Tries each user's own target once on each kernel: it loads, is set up and can be opened.
    ConfigurationError, one line, when not."""
    tried: set[tuple[str, str]] = set()
    for cell in cells:
        target = targets.named(cell.target)
        if target.row != targets.OWN or (cell.target, cell.kernel) in tried:
            continue
        tried.add((cell.target, cell.kernel))
        kernel = bench.kernels[cell.kernel]
        with bench.lane.subject(bench.spec(cell)) as subject:
            fields = target.install(subject, kernel, target.modules(kernel, None))
            try:
                subject.link.ask("probe", PROBE_TIMEOUT_S, **fields)
            except (AgentError, NoAnswer, LinkClosed) as error:
                raise ConfigurationError(f"target {target.name} on {kernel.release}: {error}") from error


def modules_of(cell: Cell, bench: Bench) -> build.ModuleSet:
    return targets.named(cell.target).modules(bench.kernels[cell.kernel], cell.mutant)


@contextlib.contextmanager
def standalone(cells: Sequence[Cell], run_dir: Path) -> Iterator[Bench]:
    """A set-up bench for cells that are run outside pytest; its temporary files go with it."""
    scratch = scratch_folder.make()
    try:
        yield for_cells(cells, cells[0].lane, run_dir, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
