"""The kernel-log oracle against the table of raw consoles in tests/data/console.

A console begins with what is expected of it: for each finding TITLE, ORACLE, SIGNATURE and
`LOCKUP: yes` where a starved host can cause it alone; THEN for each report that an earlier one
explains; nothing for a benign console. An empty line, then the raw bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from aiotorture.oracles import kernel_log
from aiotorture.oracles.kernel_log import findings, reports
from aiotorture.oracles.kernel_rules import RULES, Rule

CONSOLES = Path(__file__).resolve().parents[1] / "data" / "console"
LOGS = sorted(CONSOLES.glob("*.log"))


@dataclass
class Expected:
    title: str
    oracle: str = ""
    signature: str = ""
    lockup: bool = False


def load(path: Path) -> tuple[list[Expected], list[str], bytes]:
    header, _, console = path.read_bytes().partition(b"\n\n")
    expected: list[Expected] = []
    then: list[str] = []
    for line in header.decode().splitlines():
        word, _, value = line.partition(": ")
        match word:
            case "TITLE":
                expected.append(Expected(value))
            case "ORACLE":
                expected[-1].oracle = value
            case "SIGNATURE":
                expected[-1].signature = value
            case "LOCKUP":
                expected[-1].lockup = value == "yes"
            case "THEN":
                then.append(value)
            case _:
                raise AssertionError(f"{path.name}: {line!r}")
    return expected, then, console


@pytest.mark.parametrize("path", LOGS, ids=[path.stem for path in LOGS])
def test_console(path: Path) -> None:
    expected, then, console = load(path)
    found = findings(console)
    assert [Expected(f.title, f.oracle, f.signature, f.lockup) for f in found] == expected
    assert [report.title for report in reports(console) if report.secondary] == then
    assert all(finding.evidence for finding in found)


@pytest.mark.parametrize("rule", RULES, ids=[rule.kind for rule in RULES])
def test_the_table_notices_a_missing_rule(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_log, "RULES", tuple(each for each in RULES if each is not rule))
    assert not all(_recognised(path) for path in LOGS)


def _recognised(path: Path) -> bool:
    expected, then, console = load(path)
    found = [Expected(f.title, f.oracle, f.signature, f.lockup) for f in findings(console)]
    return found == expected and [r.title for r in reports(console) if r.secondary] == then
