"""The pytest plugin behind test_matrix.py.

The controller sets up (packages, kernels, modules, ready guests), makes the run's folder and
prints; workers of pytest-xdist run one cell after another. A cell's result travels to the
controller in the test report and is in results.jsonl before the report is sent.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiotorture import accel, kernels, matrix, options, progress, report, results, rundir, setup
from aiotorture import scratch as scratch_folder
from aiotorture.cell import Bench, control_found, run_cell
from aiotorture.errors import EXIT_INTERRUPTED, EXIT_UNPROVEN, EXIT_USAGE, ConfigurationError, HarnessError
from aiotorture.kernels import Kernel
from aiotorture.lanes import lane_named
from aiotorture.matrix import Cell
from aiotorture.results import CellResult, Verdict
from aiotorture.verdict import exit_status

PROPERTY = "cell"
STOP = "results cannot be kept"
NOTHING_SELECTED = "-k selects no cell"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("aiotorture")
    options.declare(group.addoption)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _on_sigterm(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt("SIGTERM")


class Controller:
    """Set-up before the first cell, a line a cell, and the end of the run."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.began = time.monotonic()
        self.selection = options.selection(config.option)
        config.option.seed = self.selection.seed
        every = matrix.cells(self.selection)
        self.run_dir = self._run_dir()
        config.option.out = str(self.run_dir)
        self.cells = _not_done(config, every)
        self.interrupted = False
        self.nothing_selected = False  # -k names none of the cells that are to be run
        self.session: pytest.Session | None = None
        self.lines: progress.Lines | None = None
        self.scratch: Path | None = None
        self.planned: list[Cell] = []

    def _run_dir(self) -> Path:
        if self.config.option.out:
            path = Path(self.config.option.out).resolve()
            try:
                path.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigurationError(f"--out {path}: {error.strerror}") from error
            return path
        if self.config.option.resume:
            return rundir.latest()
        return rundir.new_run_dir(self.selection.profile)

    def set_up(self, chosen: list[Cell]) -> None:
        self.scratch = scratch_folder.make()
        self.config.stash[_SCRATCH] = self.scratch / "main"
        bench = setup.for_cells(chosen, self.selection.lane, self.run_dir, self.scratch)
        resolved, lane = bench.kernels, bench.lane
        self._write_run(resolved, lane.accel, len(chosen))
        self.planned = chosen
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        self.lines = progress.Lines(len(chosen), reporter.write_line if reporter else print)
        set_up_s = time.monotonic() - self.began
        self.lines.opening(self.run_dir, resolved, lane.accel, self.selection.seed, set_up_s)

    def _write_run(self, resolved: dict[str, Kernel], accelerator: str, planned: int) -> None:
        first = next(iter(resolved.values()), None)
        why = accel.chosen(Path(first.image))[1] if first and first.image else ""
        jobs = int(self.config.option.numprocesses or 1)
        command = ["./aiotorture", *sys.argv[1:]]
        self.run = rundir.describe_run(
            self.run_dir, command, self.selection.profile, resolved, (accelerator, why), jobs, planned
        )
        results.write_run(self.run_dir, self.run)

    def _set_up_or_exit(self, chosen: list[Cell]) -> None:
        try:
            self.set_up(chosen)
        except (ConfigurationError, HarnessError, results.ResultsError) as error:
            self.clean()
            pytest.exit(f"aiotorture: {error}", EXIT_USAGE)

    def controls(self, done: list[CellResult]) -> dict[str, bool]:
        by_id = {result.id: result for result in done}
        return {
            cell.id: cell.id in by_id and control_found(cell, by_id[cell.id])
            for cell in self.planned
            if cell.control
        }

    def finish(self) -> int:
        """Reports and the exit status of the run."""
        done = list(results.read(self.run_dir).cells)
        controls = self.controls(done)
        status = EXIT_INTERRUPTED if self.interrupted else exit_status(done, controls)
        lost = len({cell.id for cell in self.planned} - {result.id for result in done})
        if lost and status == 0:
            status = 3
        self.run = dataclasses.replace(
            self.run, controls=controls, finished=round(time.time(), 3), exit_status=status
        )
        results.write_run(self.run_dir, self.run)
        written = report.write_reports(self.run_dir)
        if self.lines is not None:
            self.lines.closing(report.view(self.run_dir), written, lost)
        return status

    def clean(self) -> None:
        if self.scratch is not None:
            shutil.rmtree(self.scratch, ignore_errors=True)


    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self) -> None:
        """With workers the controller does not collect: set up for all cells of the selection."""
        if not self.config.option.collectonly:
            self._set_up_or_exit(self.cells)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """What the controller decided, for a worker that parses the command line again."""
        node.workerinput["seed"] = self.selection.seed
        node.workerinput["out"] = str(self.run_dir)
        node.workerinput["scratch"] = str(self.scratch)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """With -k the workers know what is left."""
        chosen = {name.partition("[")[2].removesuffix("]") for name in ids}
        self.planned = [cell for cell in self.cells if cell.id in chosen]
        self.nothing_selected = bool(self.cells) and not self.planned
        if self.nothing_selected:
            self._stop(NOTHING_SELECTED)
        if self.lines is not None:
            self.lines.planned = len(self.planned)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without workers: with the selected cells known, set up for these."""
        if self.config.pluginmanager.has_plugin("dsession"):
            return
        chosen = [i.callspec.params["cell"] for i in session.items if hasattr(i, "callspec")]
        self.nothing_selected = bool(self.cells) and not chosen
        if chosen and self.lines is None and not self.config.option.collectonly:
            self._set_up_or_exit(chosen)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        from aiotorture.cell_scheduler import CellByCell

        return CellByCell(config, log)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """pytest's own dots and words stay silent; the line of the cell says it."""
        if _result_in(report) is not None:
            return report.outcome, "", ""
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        result = _result_in(report)
        if result is not None and self.lines is not None:
            self.lines.cell(result)
        for name, said in report.user_properties:
            if name == STOP:
                self._stop(str(said))

    def _stop(self, reason: str) -> None:
        """No further cells: what they find could not be kept."""
        workers = self.config.pluginmanager.get_plugin("dsession")
        if workers is not None:
            workers.shouldstop = reason
        if self.session is not None:
            self.session.shouldstop = reason

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self.session = session

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        self.interrupted = isinstance(excinfo.value, KeyboardInterrupt)

    @pytest.hookimpl(hookwrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Iterator[None]:
        """Outermost, so that our lines follow pytest's own summary."""
        yield
        try:
            if self.nothing_selected and not self.config.option.collectonly:
                session.exitstatus = EXIT_USAGE
                print(f"aiotorture: {NOTHING_SELECTED} ({self.config.option.keyword!r}); "
                      "run --dry-run lists them", file=sys.stderr)
            elif self.lines is not None:
                session.exitstatus = self.finish()
        except results.ResultsError as error:
            session.exitstatus = EXIT_UNPROVEN
            if self.lines is not None:
                self.lines.say(f"aiotorture: {error}")
        finally:
            self.clean()


def _result_in(report: pytest.TestReport) -> CellResult | None:
    if getattr(report, "when", "") != "call":
        return None
    for name, value in report.user_properties:
        if name == PROPERTY:
            return CellResult.from_json(json.loads(str(value)))
    return None


_CONTROLLER: pytest.StashKey[Controller] = pytest.StashKey()
_SCRATCH: pytest.StashKey[Path] = pytest.StashKey()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.help:
        return
    if _is_worker(config):
        given = config.workerinput  # type: ignore[attr-defined]
        config.option.seed = given["seed"]
        config.option.out = given["out"]
        config.stash[_SCRATCH] = Path(given["scratch"]) / given["workerid"]
        return
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        controller = Controller(config)
    except ConfigurationError as error:
        raise pytest.UsageError(f"aiotorture: {error}") from error
    config.stash[_CONTROLLER] = controller
    config.pluginmanager.register(controller, "aiotorture-controller")


def _cells(config: pytest.Config) -> list[Cell]:
    controller = config.stash.get(_CONTROLLER, None)
    if controller is not None:
        return controller.cells
    return _not_done(config, matrix.cells(options.selection(config.option)))


def _not_done(config: pytest.Config, cells: list[Cell]) -> list[Cell]:
    if not config.option.resume:
        return cells
    done = results.read(Path(config.option.out)).done()
    return [cell for cell in cells if cell.id not in done]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "cell" in metafunc.fixturenames:
        cells = _cells(metafunc.config)
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells])


class CellRunner:
    """Runs cells in this process with one lane."""

    def __init__(self, config: pytest.Config, item_properties: list[tuple[str, object]]) -> None:
        self._config = config
        self._properties = item_properties

    def run(self, cell: Cell) -> None:
        bench = _bench(self._config, cell)
        trouble = ""
        try:
            result = self._judged(cell, bench)
        except results.ResultsError as error:
            trouble = str(error)
        except OSError as error:
            trouble = str(results.as_results_error(error, bench.run_dir))
        if trouble:
            self._properties.append((STOP, trouble))
            pytest.fail(f"aiotorture: {trouble}", pytrace=False)
        self._properties.append((PROPERTY, json.dumps(result.to_json())))
        if result.verdict is Verdict.SKIP:
            pytest.skip(result.reason)
        expected = Verdict.FAIL if cell.control else Verdict.PASS
        if result.verdict is not expected:
            pytest.fail(progress.failure_text(result), pytrace=False)

    @staticmethod
    def _judged(cell: Cell, bench: Bench) -> CellResult:
        """Runs the cell and keeps its result before anybody hears of it."""
        result = run_cell(cell, bench)
        if cell.control and not control_found(cell, result):
            oracles = " or ".join(cell.control_oracles)
            reason = f"positive control not found by {oracles} ({result.reason or 'no finding'})"
            result = dataclasses.replace(result, verdict=Verdict.ERROR, reason=reason)
        results.append(bench.run_dir, result)
        return result


_BENCHES: dict[str, Bench] = {}


def _bench(config: pytest.Config, cell: Cell) -> Bench:
    """One lane a worker; kernels join as cells need them."""
    if cell.lane not in _BENCHES:
        scratch = config.stash[_SCRATCH]
        scratch.mkdir(parents=True, exist_ok=True)
        _BENCHES[cell.lane] = Bench(lane_named(cell.lane, scratch), {}, Path(config.option.out))
    bench = _BENCHES[cell.lane]
    if cell.kernel not in bench.kernels:
        bench.kernels[cell.kernel] = kernels.ensure(cell.kernel)
    return bench


@pytest.fixture
def cell_runner(request: pytest.FixtureRequest) -> Iterator[CellRunner]:
    yield CellRunner(request.config, request.node.user_properties)
