"""One page that holds the whole run: no other file, no network, works from file://."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from aiotorture.report import view as views
from aiotorture.report.view import MET, RunView
from aiotorture.results import CellResult, Verdict

TEMPLATE = "report.html.j2"


@dataclass(frozen=True)
class Row:
    """A row of the matrix; `cells` in the order of the columns, None where nothing was planned."""

    label: str
    cells: tuple[tuple[CellResult, ...], ...]


@dataclass(frozen=True)
class Matrix:
    columns: tuple[tuple[str, str, str], ...]
    rows: tuple[Row, ...]


def matrix(cells: Iterable[CellResult]) -> Matrix:
    """Rows are plans, columns scenario, kernel and CPUs, both in the order of appearance."""
    columns: dict[tuple[str, str, str], None] = {}
    table: dict[str, dict[tuple[str, str, str], list[CellResult]]] = {}
    for cell in cells:
        column = views.column_label(cell)
        columns.setdefault(column, None)
        row = table.setdefault(views.plan_label(cell), {})
        row.setdefault(column, []).append(cell)
    rows = tuple(
        Row(label, tuple(tuple(row.get(column, ())) for column in columns))
        for label, row in table.items()
    )
    return Matrix(tuple(columns), rows)


def _moment(seconds: float | None) -> str:
    if not seconds:
        return "unknown"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _seconds(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f} s" if value < 100 else f"{value:.0f} s"


def _grouped(value: int) -> str:
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _rate(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value * 100:.3g} %"


def _anchor(cell: CellResult, numbers: dict[str, int]) -> str:
    return f"cell-{numbers[cell.id]}"


def render(view: RunView) -> str:
    """The page. Everything that comes from a guest passes jinja2's autoescape."""
    import jinja2  # a Debian package that set-up may just have installed: not before it is needed

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = {cell.id: number for number, cell in enumerate(view.cells, start=1)}
    environment.filters.update(
        moment=_moment,
        seconds=_seconds,
        grouped=_grouped,
        rate=_rate,
        shown=views.shown_verdict,
        repro=views.repro_command,
        windows=views.windows,
        plan_label=views.plan_label,
        anchor=lambda cell: _anchor(cell, numbers),
    )
    return environment.get_template(TEMPLATE).render(
        view=view,
        run=view.run,
        matrix=matrix(view.judged),
        met=MET,
        verdicts=[verdict.value for verdict in Verdict],
    )
