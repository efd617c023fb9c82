"""Subjects that serve several cells, one after another, as long as each leaves them clean.

A short race in a fresh guest spends as much time on its guest's first steps (modules, probes and
marks to place, every page and every translated block of code touched for the first time) as on
racing. A search of one planted bug therefore keeps its guests. What a cell finds is replayed by its
token in a fresh one, and a guest that saw a finding, or whose cell did not end in order, serves
nobody again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from aiotorture.lanes.base import Fate, Lane, Subject, SubjectSpec


class WarmLane(Lane):
    """Another lane's subjects, each kept for the next cell of its spec. Whoever holds it ends them
    by `cool`; nothing outlives it."""

    def __init__(self, lane: Lane) -> None:
        self.name = lane.name
        self._lane = lane
        self._kept: dict[SubjectSpec, tuple[Subject, contextlib.ExitStack]] = {}

    @property
    def accel(self) -> str:
        return self._lane.accel

    def prepare(self, specs: Sequence[SubjectSpec]) -> None:
        self._lane.prepare(specs)

    @contextlib.contextmanager
    def subject(self, spec: SubjectSpec) -> Iterator[Subject]:
        subject, held = self._kept.pop(spec, (None, contextlib.ExitStack()))
        with held:
            if subject is None:
                subject = held.enter_context(self._lane.subject(spec))
                # what is marked as set up before the guest was saved is taken down by its first cell
                subject.stays = spec.preload is None or not spec.preload.mark
            else:
                subject.begin_again()
            subject.clean = False
            yield subject
            if subject.stays and subject.clean and subject.fate() is Fate.ALIVE:
                subject.rest()
                self._kept[spec] = (subject, held.pop_all())

    def cool(self) -> None:
        """Ends what is kept."""
        while self._kept:
            _, (_, held) = self._kept.popitem()
            held.close()
