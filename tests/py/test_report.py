"""report/: every report says what results.jsonl says, and nothing in it can break the page."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import fields, replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sample_run

from aiotorture import results
from aiotorture.report import terminal, view, write_reports
from aiotorture.results import CellResult, Run, Verdict

ROOT = Path(__file__).resolve().parents[2]


class Page(HTMLParser):
    """Collects what the page refers to and whether its tags are balanced."""

    VOID = {"meta", "link", "input", "br"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.scripts = 0
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.scripts += tag == "script"
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src"):
                self.links.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    sample_run.write(tmp_path)
    return tmp_path


def test_page_is_self_contained_and_whole(run_dir: Path) -> None:
    write_reports(run_dir)
    page = Page()
    page.feed((run_dir / "report.html").read_text())
    assert page.open == []
    assert page.scripts == 1
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    text = "".join(page.text)
    for cell in results.read(run_dir).cells:
        assert f"./aiotorture repro {cell.token}" in text
        assert cell.id in text and cell.plan in text
        for finding in cell.findings:
            assert finding.title in text
    assert "waits for request cookie=0x4001a3" in text
    assert "<script>alert(1)</script> & 'quotes'" in text
    assert "known: 24729b307eef" in text


def test_matrix_has_every_cell_once(run_dir: Path) -> None:
    write_reports(run_dir)
    page = (run_dir / "report.html").read_text()
    table = page[page.index('<table id="table">') : page.index("</table>")]
    judged = [cell for cell in results.read(run_dir).cells if not cell.control]
    for verdict in Verdict:
        shown = len(re.findall(rf'class="item" data-verdict="{verdict}"', table))
        assert shown == sum(cell.verdict is verdict for cell in judged)


def test_junit_counts_and_replays(run_dir: Path) -> None:
    write_reports(run_dir)
    suite = ET.parse(run_dir / "junit.xml").getroot()
    counts = {name: int(suite.get(name, "-1")) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": 29, "failures": 3, "errors": 2, "skipped": 1}
    for failure in suite.iter("failure"):
        assert (failure.text or "").splitlines()[-1].startswith("./aiotorture repro at1-")


def test_junit_fails_a_control_that_was_not_found(run_dir: Path) -> None:
    missed = replace(results.read(run_dir).cells[0], verdict=Verdict.PASS, findings=())
    results.append(run_dir, missed)
    write_reports(run_dir)
    suite = ET.parse(run_dir / "junit.xml").getroot()
    assert suite.get("errors") == "3"
    assert "was not found" in (run_dir / "report.html").read_text()
    assert any("NOT FOUND" in line for line in terminal.summary(view(run_dir)))


def test_ktap_lines(run_dir: Path) -> None:
    write_reports(run_dir)
    lines = (run_dir / "results.ktap").read_text().splitlines()
    assert lines[:2] == ["KTAP version 1", "1..29"]
    outcomes = [line for line in lines if re.match(r"(not )?ok \d+ ", line)]
    numbers = [int(line.removeprefix("not ").split()[1]) for line in outcomes]
    assert numbers == list(range(1, 30))
    assert sum(line.startswith("not ok") for line in outcomes) == 5
    assert sum("# SKIP" in line for line in outcomes) == 1
    assert sum("# MISS" in line for line in outcomes) == 1
    for line in lines[2:]:
        assert re.match(r"#|(not )?ok \d+ ", line) and line.isprintable()


def test_terminal_says_it_in_its_last_ten_lines(run_dir: Path) -> None:
    lines = terminal.summary(view(run_dir))[-10:]
    assert lines[-1] == "28 cells: 22 PASS, 3 FAIL, 1 ERROR, 1 MISS, 1 SKIP"
    text = "\n".join(lines)
    assert "./aiotorture repro at1-" in text
    assert "start of a cell: median 1.12 s" in text
    assert "cancels won" in text
    assert "positive control cancel_drops_request: found" in text


def test_reports_of_a_killed_run(run_dir: Path) -> None:
    (run_dir / "run.json").unlink()
    path = run_dir / "results.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    assert [p.name for p in write_reports(run_dir)] == ["junit.xml", "results.ktap", "report.html"]
    assert "could not be read" in (run_dir / "report.html").read_text()
    assert ET.parse(run_dir / "junit.xml").getroot().get("errors") == "3"


def test_reports_of_no_cells(tmp_path: Path) -> None:
    results.write_run(tmp_path, Run("empty", 0.0, planned=3))
    write_reports(tmp_path)
    assert terminal.summary(view(tmp_path))[-1] == "0 cells: 3 without result"


def _described(section: str) -> list[str]:
    text = (ROOT / "reports" / "README.md").read_text()
    body = text.split(f"## `{section}`")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE)


def test_readme_describes_every_field_in_order() -> None:
    assert _described("results.jsonl") == list(results.result_field_names())
    assert _described("run.json") == list(results.run_field_names())
    assert {f.name for f in fields(CellResult)} < set(_described("results.jsonl"))
    finding = sample_run.HANG.to_json()
    assert _described("findings[]") == list(finding)
    json.dumps(finding)
