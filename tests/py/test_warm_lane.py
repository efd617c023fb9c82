"""lanes/warm.py: a subject serves cell after cell while each leaves it clean, and no longer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import cast

from aiotorture.agentlink import AgentLink
from aiotorture.kernels import Kernel
from aiotorture.lanes.base import Fate, Lane, ModuleThere, Preload, Starvation, Subject, SubjectSpec
from aiotorture.lanes.warm import WarmLane

ONE_CPU = SubjectSpec(cast(Kernel, "kernel"), 1)
TWO_CPUS = SubjectSpec(cast(Kernel, "kernel"), 2)


class Link:
    def __init__(self) -> None:
        self.pushed: list[str] = []

    def push(self, path: str, content: bytes) -> None:
        self.pushed.append(path)


class Guest(Subject):
    def __init__(self) -> None:
        self.there = Link()
        self.link = cast(AgentLink, self.there)
        self.how = Fate.ALIVE
        self.begun = 0
        self.rests = False

    def rest(self) -> None:
        self.rests = True

    def begin_again(self) -> None:
        assert self.rests
        self.rests = False
        self.begun += 1

    def fate(self) -> Fate:
        return self.how

    def epitaph(self) -> str:
        return ""

    def console(self) -> str:
        return ""

    def diagnose(self) -> list[str]:
        return []

    def starvation(self) -> Starvation:
        return Starvation(0.0, ())


class Guests(Lane):
    name = "guests"
    accel = "tcg"

    def __init__(self) -> None:
        self.made: list[Guest] = []
        self.running = 0

    def prepare(self, specs: Sequence[SubjectSpec]) -> None:
        pass

    @contextlib.contextmanager
    def subject(self, spec: SubjectSpec) -> Iterator[Subject]:
        self.made.append(Guest())
        self.running += 1
        try:
            yield self.made[-1]
        finally:
            self.running -= 1


def serve(lane: Lane, spec: SubjectSpec, clean: bool = True, how: Fate = Fate.ALIVE) -> Guest:
    with lane.subject(spec) as subject:
        assert isinstance(subject, Guest)
        assert not subject.clean and subject.stays
        subject.clean, subject.how = clean, how
    return subject


def test_a_clean_subject_serves_the_next_cell_of_its_kind() -> None:
    guests = Guests()
    lane = WarmLane(guests)
    first = serve(lane, TWO_CPUS)
    other = serve(lane, ONE_CPU)
    assert serve(lane, TWO_CPUS) is first and first.begun == 1
    assert other is not first and other.begun == 0
    assert guests.running == 2 and first.rests
    lane.cool()
    assert guests.running == 0
    assert serve(lane, TWO_CPUS) is not first


def test_one_that_is_not_clean_or_died_serves_nobody_again() -> None:
    guests = Guests()
    lane = WarmLane(guests)
    assert serve(lane, TWO_CPUS, clean=False) is not serve(lane, TWO_CPUS, how=Fate.DIED)
    assert guests.running == 0


def test_a_cell_that_broke_takes_its_subject_along() -> None:
    guests = Guests()
    lane = WarmLane(guests)
    serve(lane, TWO_CPUS)
    with contextlib.suppress(ValueError), lane.subject(TWO_CPUS):
        raise ValueError
    assert guests.running == 0 and len(guests.made) == 1


def test_a_file_is_brought_once_and_again_when_it_has_changed() -> None:
    guest = Guest()
    for content in (b"one", b"one", b"two"):
        guest.bring("/lib/at/zcdma.ko", content)
    assert len(guest.there.pushed) == 2


def test_a_module_that_was_there_from_the_beginning_is_not_brought() -> None:
    guest = Guest()
    guest.preload = Preload((ModuleThere("/lib/at/fail_injector.ko", b"one"),))
    guest.bring("/lib/at/fail_injector.ko", b"one")
    assert not guest.there.pushed and guest.has_loaded("/lib/at/fail_injector.ko", b"one")
    guest.bring("/lib/at/fail_injector.ko", b"of a mutant")
    assert len(guest.there.pushed) == 1


def test_what_was_set_up_before_the_guest_was_saved_serves_one_cell() -> None:
    guests = Guests()
    lane = WarmLane(guests)
    mounted = SubjectSpec(cast(Kernel, "kernel"), 2, preload=Preload((), commands=("mount",), mark="/run/mounted"))
    for _ in range(2):
        with lane.subject(mounted) as subject:
            assert not subject.stays
            subject.clean = True
    assert guests.running == 0 and len(guests.made) == 2
