"""Ready guests: which are kept."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from aiotorture import readyguest
from aiotorture.readyguest import DidNotBoot, Machine, clock_is_right, forget_old, make_ready

HOUR_S = 3600.0


@pytest.mark.parametrize(
    "guest_s, least_s, most_s, right",
    [
        (1.00, 1.00, 1.01, True),
        (1.08, 1.00, 1.20, True),  # a slow answer: somewhere in between
        (3.00, 1.00, 3.00, True),  # a host so slow that nothing else can be said
        (2.80, 1.00, 1.05, False),  # counted too few ticks of the TSC
        (0.50, 1.00, 1.05, False),
        (0.00, 1.00, 1.05, False),  # stands still
    ],
)
def test_a_clock_is_held_to_the_hosts(
    guest_s: float, least_s: float, most_s: float, right: bool
) -> None:
    assert clock_is_right(guest_s, least_s, most_s) is right


def kept_guest(guests: Path, name: str, unused_s: float, size: int = 1 << 20) -> Path:
    folder = guests / name
    folder.mkdir()
    (folder / "ram").write_bytes(b"x" * size)
    (folder / "state").write_bytes(b"state")
    then = time.time() - unused_s
    os.utime(folder / "state", (then, then))
    return folder


def test_guests_unused_for_the_longest_time_are_forgotten_first(tmp_path: Path) -> None:
    for name, hours in (("old", 3), ("older", 4), ("new", 2)):
        kept_guest(tmp_path, name, hours * HOUR_S)
    forget_old(tmp_path, keep_bytes=5 << 19, keep_s=HOUR_S)
    assert {left.name for left in tmp_path.iterdir()} == {"old", "new"}


def test_a_guest_that_was_just_used_is_not_forgotten(tmp_path: Path) -> None:
    kept_guest(tmp_path, "in use", 60)
    forget_old(tmp_path, keep_bytes=0, keep_s=HOUR_S)
    assert (tmp_path / "in use/state").is_file()


def test_guests_that_fit_are_kept_whatever_their_age(tmp_path: Path) -> None:
    kept_guest(tmp_path, "ancient", 1000 * HOUR_S)
    forget_old(tmp_path, keep_bytes=1 << 30, keep_s=HOUR_S)
    assert (tmp_path / "ancient/state").is_file()


def test_what_a_killed_run_left_half_made_goes_too(tmp_path: Path) -> None:
    kept_guest(tmp_path, ".half.x1", 2 * HOUR_S)
    forget_old(tmp_path, keep_bytes=0, keep_s=HOUR_S)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("stuck", [0, 1, 2])
def test_a_boot_that_stands_still_is_tried_once_more_and_said(
    stuck: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    boots = []

    def boot(machine: Machine, scratch: Path) -> bool:
        boots.append(list(scratch.iterdir()))
        (scratch / "state").write_bytes(b"")
        if len(boots) <= stuck:
            raise DidNotBoot("the guest's agent did not come up")
        return True

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(readyguest, "_boot_and_save", boot)
    machine = Machine(tmp_path, "kernel", tmp_path, cpus=1, cmdline="", accel="tcg")
    if stuck < 2:
        assert (make_ready(machine) / "state").is_file()
    else:
        with pytest.raises(DidNotBoot):
            make_ready(machine)
    assert boots == [[]] * min(stuck + 1, 2)
    assert capsys.readouterr().err.count("booting it once more") == min(stuck, 1)
