"""results.py: lines survive workers, torn ends and full disks."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest

from aiotorture import results
from aiotorture.bounds import interval, upper_bound
from aiotorture.finding import Finding
from aiotorture.results import CellResult, DiskFull, Hits, ResultsError, Run, Verdict

DESIGN_FIELDS = (
    "id token target kernel lane accel scenario plan seed mutant verdict findings counters start_s "
    "run_s hits bound requests_to_first_finding time_to_first_finding artefacts kernel_build_id "
    "module_build_id"
).split()

CELL = CellResult(
    id="6.1-2cpu-submit_cancel_race-flush-irq-drop",
    token="at1-aaaaaaaaaaaaa",
    target="zcdma",
    kernel="6.1.192",
    lane="qemu",
    accel="tcg",
    scenario="submit_cancel_race",
    plan="scenario submit_cancel_race\nseed 1\n",
    seed=1,
    mutant=None,
    verdict=Verdict.FAIL,
    findings=(Finding("hang", "stuck in io_destroy", "hang:io_destroy", ("a", "b")),),
    counters={"submitted": 10, "completed": 9},
    start_s=1.25,
    run_s=2.5,
    hits={"window canceller in irq..complete": Hits(10, 3)},
    faults=({"rule": 0, "fired": 3},),
    artefacts=("console.log",),
)


def test_fields_are_those_of_the_design_in_its_order() -> None:
    assert list(CELL.to_json())[: len(DESIGN_FIELDS) + 1] == ["schema", *DESIGN_FIELDS]
    assert CELL.to_json()["schema"] == 1
    assert tuple(CELL.to_json()) == results.result_field_names()


def test_what_is_appended_is_read(tmp_path: Path) -> None:
    other = replace(CELL, id="other", verdict=Verdict.PASS, findings=(), bound=0.01)
    results.append(tmp_path, CELL)
    results.append(tmp_path, other)
    assert results.read(tmp_path) == results.Results((CELL, other))


def test_the_last_line_for_an_id_wins(tmp_path: Path) -> None:
    results.append(tmp_path, replace(CELL, verdict=Verdict.MISS, findings=()))
    results.append(tmp_path, CELL)
    assert results.read(tmp_path).cells == (CELL,)


def test_resume_runs_errors_and_misses_again(tmp_path: Path) -> None:
    for verdict in Verdict:
        results.append(tmp_path, replace(CELL, id=verdict.value, verdict=verdict))
    assert results.read(tmp_path).done() == {"PASS", "FAIL", "SKIP"}


def test_a_torn_line_is_told_and_loses_no_other(tmp_path: Path) -> None:
    path = tmp_path / results.RESULTS
    results.append(tmp_path, CELL)
    path.write_bytes(path.read_bytes() + b'{"schema":1,"id":"to')
    found = results.read(tmp_path)
    assert found.cells == (CELL,)
    assert len(found.torn) == 1 and found.torn[0].startswith("results.jsonl:2: ")
    after = replace(CELL, id="after")
    results.append(tmp_path, after)
    assert results.read(tmp_path).cells == (CELL, after)


@pytest.mark.parametrize(
    "line",
    [b"[]", b'{"schema":2}', b'{"schema":1}', b"\xff\xfe", b'{"schema":1,"verdict":"GOOD"}', b"1"],
)
def test_lines_of_another_kind_are_told(tmp_path: Path, line: bytes) -> None:
    results.append(tmp_path, CELL)
    path = tmp_path / results.RESULTS
    path.write_bytes(line + b"\n" + path.read_bytes())
    found = results.read(tmp_path)
    assert found.cells == (CELL,) and len(found.torn) == 1


def test_no_file_is_no_result(tmp_path: Path) -> None:
    assert results.read(tmp_path / "none") == results.Results(())


def _append_many(run_dir: Path, worker: int) -> None:
    for number in range(20):
        big = Finding("hang", "t", "s", ("x" * 20000,))
        results.append(run_dir, replace(CELL, id=f"{worker}-{number}", findings=(big,)))


def test_workers_do_not_mix_lines(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append_many, args=(tmp_path, n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    found = results.read(tmp_path)
    assert len(found.cells) == 80 and not found.torn


@pytest.mark.parametrize("partial", [True, False])
def test_a_full_disk_is_said_and_leaves_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partial: bool
) -> None:
    results.append(tmp_path, CELL)
    whole_write = os.write

    def full(handle: int, line: bytes) -> int:
        if not partial:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return whole_write(handle, line[:100])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(DiskFull, match="no space left.*--resume"):
            results.append(tmp_path, replace(CELL, id="lost"))
    assert results.read(tmp_path) == results.Results((CELL,))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_dev_full_is_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / results.RESULTS).symlink_to("/dev/full")
    with pytest.raises(DiskFull):
        results.append(tmp_path, CELL)


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultsError, match="file/results.jsonl: "):
        results.append(tmp_path / "file", CELL)


def test_run_json(tmp_path: Path) -> None:
    run = Run("r1", 1.5, ("run", "--jobs", "2"), kernels=({"ref": "6.1"},), controls={"m": True})
    results.write_run(tmp_path, run)
    assert results.read_run(tmp_path) == run
    assert tuple(json.loads((tmp_path / results.RUN).read_text())) == results.run_field_names()
    with pytest.raises(ResultsError):
        results.read_run(tmp_path / "none")
    (tmp_path / results.RUN).write_text("{")
    with pytest.raises(ResultsError):
        results.read_run(tmp_path)


def test_upper_bound_is_the_exact_one() -> None:
    assert upper_bound(0) is None
    assert upper_bound(1) == pytest.approx(0.95)
    assert upper_bound(100) == pytest.approx(1 - 0.05 ** (1 / 100))
    assert upper_bound(10**9) == pytest.approx(3e-9, rel=0.01)


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"),
    # Clopper-Pearson limits as R's binom.test prints them.
    [(0, 10, 0.0, 0.3084971), (5, 10, 0.187086, 0.812914), (9, 10, 0.5549839, 0.9974714),
     (10, 10, 0.6915029, 1.0), (1, 100, 0.0002531460, 0.05445938)],
)  # fmt: skip
def test_interval(hits: int, tries: int, low: float, high: float) -> None:
    assert interval(hits, tries) == pytest.approx((low, high), abs=1e-6)


def test_interval_without_tries_says_nothing() -> None:
    assert interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError):
        interval(2, 1)
