"""The last lines of a run: a person reads ten."""

from __future__ import annotations

from aiotorture.report.view import MET, FindingGroup, RunView, repro_command
from aiotorture.results import Verdict

SHOWN_FINDINGS = 5
"""Most findings listed; the report has them all."""


def _finding(group: FindingGroup) -> list[str]:
    more = len(group.occurrences) - 1
    where = group.cell.id + (f" and {more} more" if more else "")
    return [
        f"FAIL {group.finding.oracle}: {group.finding.title}  [{where}]",
        f"  {repro_command(group.cell)}",
    ]


def summary(view: RunView) -> list[str]:
    """What was found and how to repeat it, then counts; most important last.

    At most 2 × SHOWN_FINDINGS lines of findings and five of counts.
    """
    lines: list[str] = [f"unreadable: {torn}" for torn in view.torn]
    left = len(view.findings) - SHOWN_FINDINGS
    if left > 0:
        lines.append(f"{left} more findings in report.html")
    for group in view.findings[:SHOWN_FINDINGS]:
        lines += _finding(group)
    lines += [f"known: {g.finding.title} ({g.finding.known})" for g in view.known_findings]
    met = ", ".join(f"{view.met[name]} {words}" for name, words in MET)
    lines.append(f"racers met: {met}")
    if view.median_start_s is not None:
        lines.append(f"start of a cell: median {view.median_start_s:.2f} s")
    for cell in view.controls:
        found = "found" if cell.verdict is Verdict.FAIL else "NOT FOUND: the run is ERROR"
        lines.append(f"positive control {cell.id.partition('-control-')[2] or cell.mutant}: {found}")
    words = [f"{n} {verdict.value}" for verdict, n in view.counts.items() if n]
    if view.missing:
        words.append(f"{view.missing} without result")
    lines.append(f"{len(view.judged)} cells: {', '.join(words) or 'none'}")
    return lines
