"""The cache: old state or new, never half of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiotorture import paths


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    wanted = tmp_path / "kernel"
    with pytest.raises(RuntimeError):
        with paths.published(wanted) as scratch:
            (scratch / "half").write_text("x")
            raise RuntimeError("killed")
    assert list(tmp_path.iterdir()) == []
    with paths.published(wanted) as scratch:
        (scratch / "whole").write_text("x")
        assert not wanted.exists()
    assert (wanted / "whole").read_text() == "x"


def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "pin.json"
    paths.write_atomically(target, b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paths.os, "rename", refuse)
    with pytest.raises(OSError):
        paths.write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_content_hash_knows_where_parts_end() -> None:
    assert paths.content_hash([b"ab", b"c"]) != paths.content_hash([b"a", b"bc"])


def test_the_cache_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert paths.cache_dir() == tmp_path / "aiotorture"
