"""Mutants with what their headers say, and what a search is told: kernels, budget, who is muted."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from aiotorture import build, paths

BUDGET_S = 60.0
# Long enough for some hundred requests under emulation, short enough to see every plan within the first
# kernel's part of the budget; what a plan does once (remove, reset) it does by then. A race's end is also
# when leaks are judged, so short races find them early.
SLICE = "1s"
# Of several kernels the first, which is the fastest, is given most: what a stock kernel can show it
# shows soon, and a debug kernel is asked for what it alone sees.
FIRST_SHARE = 0.75
CORRECT = "correct-driver"
# What a stock kernel cannot see, in the order in which they are asked.
DEBUG_KERNELS = ("kasan", "lockdep")
# What is wrong in the card's file nobody sees who has no card; and its transfers take 100 ms each.
CARD_FILE = "driver/zcdma_engine_edu.c"
CARD_TARGET = "zcdma-edu"
CARD_SLICE = "3s"
CARD_ROUNDS = 4
HEADER = ("Name", "Class", "Mechanism", "Symptom", "Source", "Race", "Kernel", "Oracle")


@dataclass(frozen=True)
class Planted:
    """A mutant with what the header of its patch says of it; without one, the driver as it is."""

    mutant: build.Mutant | None
    header: dict[str, str]

    @property
    def name(self) -> str:
        return self.mutant.name if self.mutant else CORRECT

    @property
    def kind(self) -> str:
        return self.header.get("Class", "?")

    @property
    def race(self) -> bool:
        return self.header.get("Race", "").startswith("yes")

    # --- what another kind of mutant says for itself (score/kernel_mutants.py)

    @property
    def of_card(self) -> bool:
        """Whether it changes what only a card's engine runs."""
        return self.mutant is not None and f"+++ b/{CARD_FILE}" in self.mutant.patch

    @property
    def in_model(self) -> bool:
        """Whether the model of the driver has what it changes (docs/model.md): no card is there."""
        return not self.of_card

    @property
    def targets(self) -> tuple[str, ...]:
        """Of its cells; none: those of the profile."""
        return (CARD_TARGET,) if self.of_card else ()

    def kernel_for(self, name: str) -> str:
        """Where it is planted, for cells of this kernel."""
        return name

    @property
    def cell_mutant(self) -> build.Mutant | None:
        """What its cells carry."""
        return self.mutant

    @property
    def ends_at_finding(self) -> bool:
        """Whether a race ends with its first finding."""
        return True

    @property
    def profile(self) -> str:
        """Of matrix.toml: whose cells the search goes through."""
        return "search"

    @property
    def rounds(self) -> int:
        """How often the profile's cells are gone through, each time with other seeds."""
        return CARD_ROUNDS if self.of_card else 1

    def method(self, asked: Method) -> Method:
        """How it is searched for, when this was asked for."""
        if self.of_card and asked.slice_time == SLICE:
            return dataclasses.replace(asked, slice_time=CARD_SLICE)
        return asked


@dataclass(frozen=True)
class Method:
    """How a mutant is searched for. `blind`: races are given to blind stress as well; `blind_full`:
    that goes on to the end of the budget. `without`: oracles whose findings do not count. `cpus`: guests
    with so many alone."""

    kernels: tuple[str, ...]
    budget_s: float = BUDGET_S
    slice_time: str = SLICE
    blind: bool = False
    blind_full: bool = False
    without: tuple[str, ...] = ()
    cpus: int | None = None

    def shares(self) -> list[tuple[str, float]]:
        """Each kernel with its part of the budget, in guest-seconds; they add up to it."""
        first, *others = self.kernels
        if not others:
            return [(first, self.budget_s)]
        each = self.budget_s * (1 - FIRST_SHARE) / len(others)
        return [(first, self.budget_s * FIRST_SHARE), *((other, each) for other in others)]


def header_of(patch: str) -> dict[str, str]:
    """The `Name: …` lines before the diff."""
    lines = patch.split("\n--- ", 1)[0].splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip(): text.strip() for name, text in pairs}


def planted(words: Sequence[str]) -> list[Planted]:
    """The mutants named, or all of them; ConfigurationError for an unknown one."""
    chosen = [build.find_mutant(word) for word in (words or build.mutant_names())]
    return [Planted(mutant, header_of(mutant.patch)) for mutant in chosen]


def correct() -> Planted:
    """No bug planted: what a search finds then is a false alarm, or a bug that nobody planted."""
    return Planted(None, {"Class": "none", "Race": "no"})


def identity(one: Planted, method: Method) -> str:
    """Of the mutant, of the sources it changes, and of what searches, in which order."""
    folders = [paths.ROOT / name for name in ("driver", "fault", "stress")]
    sources = paths.tree_hash(folders, frozenset({".c", ".h", ".cpp"}))
    plans = "".join(
        (paths.ORCHESTRATE / name).read_text() for name in ("matrix.toml", "aiotorture/score/search.py")
    )
    method = one.method(method)
    if not one.race:
        method = dataclasses.replace(method, blind=False, blind_full=False)
    parts = [one.mutant.patch if one.mutant else "", repr(method), sources, plans]
    return paths.content_hash(part.encode() for part in parts)
