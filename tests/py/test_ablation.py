"""Taking an oracle away makes a test fail: for each signature that stress/ can give a finding, the
C++ tests are run as if nobody had judged it (AT_WITHOUT_ORACLE), and one of them must notice.

The list of oracles is the source itself: a new signature is asked for its test here at once, so what
a race judges is a function in stress/lib/oracles/ that a table can ask. A signature that several
oracles give is taken away from all of them together. The kernel-log oracle's rules are taken away
one by one in test_kernel_log.py; the host's own findings are asked for in test_cell.py.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORACLES = "ledger|data|hang|leak|contract|late-write|sanitizer"
LITERAL = re.compile(rf'"((?:{ORACLES})/[^"]*)"')
# Functions that put a kind behind one of these families: a call of theirs with a literal names an
# oracle, the family alone does not.
FAMILIES = {"contract/", "leak/", "data/", "late-write/"}
MAKERS = (
    (re.compile(r'\bcontract\(\s*"([^"]+)"'), "contract/{}"),
    (re.compile(r'\bleak\(\s*(?:std::string\()?"([^"]+)"'), "leak/{}"),
    (re.compile(r'\bdata_finding\(\s*"([^"]+)"'), "data/{}"),
    (re.compile(r'\blate\(\s*"([^"]+)"'), "late-write/{}"),
    (re.compile(r'\bjudge_quiet(?:_all)?\([^;]*?"([^"]+)"\)'), "late-write/{}"),
    (re.compile(r'\brefused\(race, "([^"]+)"'), "contract/{}"),
    (re.compile(r'\breport_answer\([^;]*?"[^"]+", "([^"]+)"'), "contract/{}-"),
)
# Named by the system's book that rose (lib/oracles/leak.cpp, judge_system()).
SYSTEM_BOOKS = ("aio-nr", "pinned pages", "bounce slots", "slab kioctx", "slab aio_kiocb")


def signatures() -> list[str]:
    """Every signature of the sources; one that ends in / or - begins several."""
    found = {f"leak/{book}" for book in SYSTEM_BOOKS}
    for path in (ROOT / "stress").rglob("*.cpp"):
        text = path.read_text()
        found |= set(LITERAL.findall(text)) - FAMILIES
        for maker, signature in MAKERS:
            found |= {signature.format(kind) for kind in maker.findall(text)}
    return sorted(found)


@functools.cache
def built_tests() -> Path:
    """The newest build; one older than the oracles would answer for others than these."""
    built = [ROOT / "build" / preset / "stress-tests" for preset in ("release", "debug", "asan")]
    here = [path for path in built if path.is_file()]
    newest = max(here, key=lambda path: path.stat().st_mtime, default=None)
    changed = max(path.stat().st_mtime for path in (ROOT / "stress" / "lib").rglob("*.cpp"))
    if newest is None or newest.stat().st_mtime < changed:
        raise AssertionError("stress-tests is not built from these oracles: ./aiotorture test does it")
    return newest


def ended_well(without: str) -> bool:
    """Whole races, of a second or so each, are left out: what they judge has tables too."""
    argv = [str(built_tests()), "--abort", "~[race]"]
    environment = {**os.environ, "AT_WITHOUT_ORACLE": without}
    ran = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert "test case" in ran.stdout, ran.stdout + ran.stderr
    return ran.returncode == 0


def test_with_all_oracles_the_tests_pass() -> None:
    assert ended_well("")


@pytest.mark.parametrize("signature", signatures())
def test_a_test_notices_that_it_is_gone(signature: str) -> None:
    assert not ended_well(signature)
