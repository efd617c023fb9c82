"""known.py: what is known is told apart, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiotorture.finding import Finding
from aiotorture.known import KnownError, load, mark, parse

ENTRY = """
[[known]]
title = "KASAN: * in ffs_aio_cancel"
oracle = "sanitizer"
kernels = ">=5.10, <6.1.80"
reference = "24729b307eef"
"""
FINDING = Finding("sanitizer", "KASAN: use-after-free Read in ffs_aio_cancel", "s")


@pytest.mark.parametrize(
    ("release", "known"),
    [
        ("5.9.1", False),
        ("5.10.0-32-amd64", True),
        ("6.1.0-18-amd64", True),
        ("6.1.79", True),
        ("6.1.80-rt1", False),
        ("6.12.117+deb12-amd64", False),
    ],
)
def test_range(release: str, known: bool) -> None:
    (finding,) = mark([FINDING], parse(ENTRY), release, mutant=False)
    assert finding.known == ("24729b307eef" if known else None)


@pytest.mark.parametrize(
    ("clause", "release", "known"),
    [
        ("==6.1", "6.1.192", True),
        ("==6.1", "6.12.1", False),
        ("<=6.1", "6.1.192", True),
        (">6.1", "6.1.192", False),
        (">6.1", "6.2", True),
        ("", "4.19", True),
    ],
)
def test_clauses(clause: str, release: str, known: bool) -> None:
    bugs = parse(ENTRY.replace(">=5.10, <6.1.80", clause))
    assert (mark([FINDING], bugs, release, mutant=False)[0].known is not None) == known


def test_other_titles_oracles_and_mutants_are_not_excused() -> None:
    bugs = parse(ENTRY)
    other = Finding("sanitizer", "KASAN: use-after-free Read in zcdma_cancel", "s")
    oracle = Finding("hang", FINDING.title, "s")
    assert [f.known for f in mark([other, oracle], bugs, "6.1", mutant=False)] == [None, None]
    assert mark([FINDING], bugs, "6.1", mutant=True)[0].known is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[known", "known.toml: "),
        (ENTRY.replace("reference", "commit"), "entry 1: 'commit' is no field"),
        (ENTRY.replace('reference = "24729b307eef"', ""), "entry 1: 'reference' is missing"),
        (ENTRY.replace('"sanitizer"', '"lockdep"'), "entry 1: 'lockdep' is no oracle"),
        (ENTRY.replace("<6.1.80", "6.1"), "'6.1' is no kernel range"),
    ],
)
def test_errors(text: str, message: str) -> None:
    with pytest.raises(KnownError) as caught:
        parse(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_file_of_the_project_is_well_formed() -> None:
    assert load(Path(__file__).resolve().parents[2] / "known.toml")
    assert load(Path("none.toml")) == ()
