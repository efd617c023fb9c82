"""Reports of a run, written from results.jsonl and run.json alone, again at any time."""

from __future__ import annotations

from pathlib import Path

from aiotorture import results
from aiotorture.report import html, junit, ktap
from aiotorture.report.view import RunView
from aiotorture.token import write_atomically

WRITERS = {"junit.xml": junit.render, "results.ktap": ktap.render, "report.html": html.render}


def view(run_dir: Path) -> RunView:
    """What a run's folder holds; a run without run.json (killed at its start) still has a view."""
    found = results.read(run_dir)
    try:
        run = results.read_run(run_dir)
    except results.ResultsError:
        run = results.Run(run=run_dir.name, started=0.0)
    return RunView(run, found.cells, found.torn)


def write_reports(run_dir: Path) -> list[Path]:
    """Writes junit.xml, results.ktap and report.html into the run's folder; their paths.

    ResultsError when results cannot be read; DiskFull when a report does not fit.
    """
    seen = view(run_dir)
    written: list[Path] = []
    for name, render in WRITERS.items():
        path = run_dir / name
        try:
            write_atomically(path, render(seen))
        except OSError as error:
            raise results.as_results_error(error, path) from error
        written.append(path)
    return written
