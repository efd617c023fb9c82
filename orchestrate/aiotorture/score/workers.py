"""Guests side by side: one bench a thread, tasks from one queue, an end that is waited for."""

from __future__ import annotations

import contextlib
import queue
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from aiotorture import kernels, results, scratch, setup
from aiotorture.cell import Bench, run_cell
from aiotorture.lanes import lane_named
from aiotorture.lanes.warm import WarmLane
from aiotorture.matrix import Cell
from aiotorture.results import CellResult

Task = Callable[[Callable[[Cell], CellResult]], None]
"""Is given what runs a cell, and keeps its own result when it is done."""


class Workers:
    def __init__(self, benches: Sequence[Bench]) -> None:
        self._benches = benches
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
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
        def run(cell: Cell) -> CellResult:
            if self._stop.is_set():
                raise _Stopped
            if cell.kernel not in bench.kernels:  # one with a bug in its image is linked in its turn
                bench.kernels[cell.kernel] = kernels.ensure(cell.kernel)
            result = run_cell(cell, bench)
            results.append(bench.run_dir, result)
            return result

        while not self._stop.is_set():
            try:
                task = self._tasks.get_nowait()
            except queue.Empty:
                return
            try:
                task(run)
            except _Stopped:
                return
            except BaseException as error:
                self._error = error
                self._stop.set()
                return
            finally:
                # what a bug left behind unseen is not the next one's
                if isinstance(bench.lane, WarmLane):
                    bench.lane.cool()


class _Stopped(Exception):
    """The run was interrupted: this task is not complete, and nothing of it is kept."""


def cached(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Those that can be used now, and those left out: the first is fetched when it is not here, but
    a debug kernel takes a quarter of an hour to build, and nobody asked for that."""
    here = tuple(
        name for name in names if name == names[0] or kernels.pinned(kernels.row_of(name).series)
    )
    return here, tuple(name for name in names if name not in here)


@contextlib.contextmanager
def benches(sample: Sequence[Cell], run_dir: Path, jobs: int) -> Iterator[list[Bench]]:
    """A bench for each job, set up for the kernels, CPU counts and mutants of the sample."""
    folder = scratch.make()
    try:
        first = setup.for_cells(sample, "qemu", run_dir, folder / "main")
        made = []
        for n in range(jobs):
            (folder / f"guests{n}").mkdir()
            lane = WarmLane(lane_named("qemu", folder / f"guests{n}"))
            made.append(Bench(lane, first.kernels, run_dir))
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)
