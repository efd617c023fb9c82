"""Each cell of the matrix is a test: its id names kernel, target, scenario, plan, cancel mode, CPUs."""

from __future__ import annotations

from aiotorture.matrix import Cell
from aiotorture.pytest_cells import CellRunner


def test_cell(cell: Cell, cell_runner: CellRunner) -> None:
    cell_runner.run(cell)
