"""token.py: a token changes with everything that makes the cell, and with nothing else."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from aiotorture.token import Expected, Mutant, Stored, TokenError, is_token, load, store

CELL = Stored(
    plan="scenario submit_cancel_race cancel=flush\nfault irq drop p=0.01\nseed 7\n",
    seed=7,
    scenario_version="3f2a",
    target="zcdma",
    lane="qemu",
    kernel={"ref": "6.1", "release": "6.1.0-42-amd64", "build_id": "aa11", "path": "/boot/x"},
    modules={"zcdma": "b1", "fail_injector": "b2"},
    guest={"cpus": "2", "mem_mb": "512", "append": "slub_debug=FZPU"},
    mutant=Mutant("cancel_drops_request", "--- a\n+++ b\n"),
    places={"kernel": "/boot/x"},
    cell_id="6.1-2cpu",
)


def test_shape() -> None:
    assert is_token(CELL.token)
    assert CELL.token == CELL.token.lower()
    assert len(CELL.token) == 17


@pytest.mark.parametrize(
    "changed",
    [
        replace(CELL, plan=CELL.plan.replace("0.01", "0.02")),
        replace(CELL, seed=8),
        replace(CELL, scenario_version="3f2b"),
        replace(CELL, target="gadgetfs"),
        replace(CELL, lane="local"),
        replace(CELL, kernel={**CELL.kernel, "build_id": "aa12"}),
        replace(CELL, modules={**CELL.modules, "zcdma": "b3"}),
        replace(CELL, guest={**CELL.guest, "cpus": "1"}),
        replace(CELL, mutant=None),
        replace(CELL, mutant=Mutant("cancel_drops_request", "--- a\n+++ c\n")),
    ],
)
def test_everything_that_makes_the_cell_counts(changed: Stored) -> None:
    assert changed.token != CELL.token


@pytest.mark.parametrize(
    "same",
    [
        replace(CELL, kernel={**CELL.kernel, "path": "/elsewhere"}),
        replace(CELL, places={}),
        replace(CELL, expected=(Expected("hang", "t", "s"),)),
        replace(CELL, cell_id="other"),
        replace(CELL, guest=dict(reversed(list(CELL.guest.items())))),
    ],
)
def test_nothing_else_counts(same: Stored) -> None:
    assert same.token == CELL.token


def test_stored_under_run_and_cache_and_loaded_from_either(tmp_path: Path) -> None:
    run, cache = tmp_path / "run", tmp_path / "cache"
    cell = replace(CELL, expected=(Expected("ledger", "request lost", "ledger:lost"),))
    token = store(cell, run, cache)
    assert load(token, [run], tmp_path / "none") == cell
    assert load(token, [], cache) == cell
    assert sorted(path.name for path in (run / "tokens").iterdir()) == [f"{token}.json"]


def test_errors_are_clear(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="is no token"):
        load("at1-short", [], tmp_path)
    with pytest.raises(TokenError, match="stored nowhere here"):
        load(CELL.token, [tmp_path / "run"], tmp_path)
    token = store(CELL, None, tmp_path)
    path = tmp_path / f"{token}.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "seed": 8}))
    with pytest.raises(TokenError, match="was changed"):
        load(token, [], tmp_path)
    path.write_text(json.dumps({**stored, "format": 2}))
    with pytest.raises(TokenError, match="format 2"):
        load(token, [], tmp_path)
    path.write_text("{")
    with pytest.raises(TokenError):
        load(token, [], tmp_path)
    del stored["plan"]
    path.write_text(json.dumps(stored))
    with pytest.raises(TokenError, match="plan"):
        load(token, [], tmp_path)


def test_a_replay_that_shows_nothing_does_not_forget(tmp_path: Path) -> None:
    lost = Expected("ledger", "request lost", "ledger:lost")
    hung = Expected("hang", "stuck in io_destroy", "hang:x")
    token = store(replace(CELL, expected=(lost,)), None, tmp_path)
    store(CELL, None, tmp_path)
    assert load(token, [], tmp_path).expected == (lost,)
    store(replace(CELL, expected=(hung, lost)), None, tmp_path)
    assert load(token, [], tmp_path).expected == (lost, hung)
