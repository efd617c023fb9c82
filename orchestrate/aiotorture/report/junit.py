"""JUnit XML: FAIL is a failure, ERROR and MISS are errors, SKIP is skipped.

JUnit has no word for MISS: a cell that proved nothing must not look like a pass, and it is no
finding, so it is an error of type MISS. A control passes when its planted bug was found.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from aiotorture.report.view import RunView, repro_command, shown_verdict
from aiotorture.results import CellResult, Verdict

_NOT_XML = re.compile(r"[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _clean(text: str) -> str:
    """Text without the characters that XML 1.0 cannot hold, which consoles do hold."""
    return _NOT_XML.sub("\ufffd", text)


def _outcome(cell: CellResult) -> tuple[str, str] | None:
    if cell.control:
        if cell.verdict is Verdict.FAIL:
            return None
        return "error", f"positive control not found: {cell.verdict.value} {cell.reason}"
    match cell.verdict:
        case Verdict.PASS:
            return None
        case Verdict.FAIL:
            return "failure", cell.reason
        case Verdict.SKIP:
            return "skipped", cell.reason
        case _:
            return "error", cell.reason


def _testcase(suite: ET.Element, cell: CellResult) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        name=_clean(cell.id),
        classname=_clean(f"{cell.target}.{cell.scenario}"),
        time=f"{cell.wall_s or cell.run_s or 0.0:.3f}",
    )
    properties = ET.SubElement(case, "properties")
    for name, value in (
        ("token", cell.token),
        ("verdict", shown_verdict(cell)),
        ("bound", "" if cell.bound is None else f"{cell.bound:.3g}"),
        ("kernel_build_id", cell.kernel_build_id),
    ):
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    outcome = _outcome(cell)
    if outcome is not None:
        tag, message = outcome
        element = ET.SubElement(
            case, tag, message=_clean(message), type=cell.verdict.value
        )
        element.text = _clean(_details(cell))


def _details(cell: CellResult) -> str:
    lines: list[str] = []
    for finding in cell.findings:
        apart = f" (known: {finding.known})" if finding.known else ""
        lines += [f"{finding.oracle}: {finding.title}{apart}", *finding.evidence, ""]
    return "\n".join([*lines, repro_command(cell)])


def render(view: RunView) -> str:
    """The file's text. Counts are of the cases in it."""
    suite = ET.Element("testsuite", name=f"aiotorture {view.run.run}")
    for cell in view.cells:
        _testcase(suite, cell)
    for torn in view.torn:
        case = ET.SubElement(suite, "testcase", name=_clean(torn.split(": ")[0]), classname="run")
        ET.SubElement(case, "error", message=_clean(torn), type="ERROR")
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(len(suite.findall(f"testcase/{tag}"))))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("time", f"{sum(cell.wall_s or 0.0 for cell in view.cells):.3f}")
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
