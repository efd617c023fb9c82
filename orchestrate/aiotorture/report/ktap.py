"""KTAP version 1 (Documentation/dev-tools/ktap.rst): one line a cell, diagnostics behind `#`."""

from __future__ import annotations

import re

from aiotorture.report.view import RunView, repro_command, shown_verdict
from aiotorture.results import CellResult, Verdict

EVIDENCE_LINES = 20
"""Most evidence lines of a finding; the rest stands in results.jsonl."""
_BAD = re.compile(r"[^\x20-\x7e\xa0-\uffff]")


def _line(text: str) -> str:
    return _BAD.sub(" ", text).rstrip()


def _description(cell: CellResult) -> str:
    return _line(cell.id).replace("#", "_")


def _result(number: int, cell: CellResult) -> list[str]:
    good = cell.verdict in (Verdict.PASS, Verdict.SKIP)
    if cell.control:
        good = cell.verdict is Verdict.FAIL
    word = "ok" if good else "not ok"
    directive = ""
    if cell.verdict is Verdict.SKIP:
        directive = f" # SKIP {_line(cell.reason)}"
    elif not good:
        directive = f" # {shown_verdict(cell)} {_line(cell.reason)}"
    return [*_diagnostics(cell), f"{word} {number} {_description(cell)}{directive}"]


def _diagnostics(cell: CellResult) -> list[str]:
    lines: list[str] = []
    for finding in cell.findings:
        apart = f" (known: {finding.known})" if finding.known else ""
        lines.append(f"# {finding.oracle}: {_line(finding.title)}{apart}")
        lines += [f"#   {_line(text)}" for text in finding.evidence[:EVIDENCE_LINES]]
        left = len(finding.evidence) - EVIDENCE_LINES
        if left > 0:
            lines.append(f"#   and {left} lines more")
    if cell.verdict not in (Verdict.PASS, Verdict.SKIP):
        lines.append(f"# {repro_command(cell)}")
    return lines


def render(view: RunView) -> str:
    """The file's text; `not ok` for FAIL, ERROR, MISS and a control that was not found."""
    lines = ["KTAP version 1", f"1..{len(view.cells)}"]
    for number, cell in enumerate(view.cells, start=1):
        lines += _result(number, cell)
    lines += [f"# unreadable: {_line(torn)}" for torn in view.torn]
    counts = " ".join(f"{verdict.value.lower()}:{n}" for verdict, n in view.counts.items() if n)
    lines.append(f"# {counts}")
    return "\n".join(lines) + "\n"
