"""What every lane offers: subjects that run the agent, and the word on how a subject ended."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from aiotorture.agentlink import AgentLink
from aiotorture.hardware import Hardware
from aiotorture.kernels import Kernel


class Fate(enum.Enum):
    """How a subject stands, or how it ended."""

    ALIVE = "alive"
    DIED = "died of its own"
    ENDED_BY_US = "ended by us"
    ENDED_BY_OTHERS = "ended by somebody else"


class Variant(enum.Enum):
    """What a subject's root holds beside the agent."""

    PLAIN = "plain"
    PERF = "perf"


@dataclass(frozen=True)
class ModuleThere:
    """A module of the kernel's own, and where it lies in the subject."""

    path: str
    content: bytes
    parameters: str = ""


@dataclass(frozen=True)
class Preload:
    """What a lane that restores may do once instead of in each cell, in this order. Where it does
    not, or it fails, the cell does it: `mark` is a file that exists when all is done."""

    modules: tuple[ModuleThere, ...]
    files: tuple[tuple[str, bytes], ...] = ()
    commands: tuple[str, ...] = ()
    mark: str = ""


@dataclass(frozen=True)
class SubjectSpec:
    """What a cell asks of a lane."""

    kernel: Kernel
    cpus: int
    variant: Variant = Variant.PLAIN
    preload: Preload | None = None
    extra_cmdline: tuple[str, ...] = ()
    hardware: Hardware = Hardware()  # of a guest; a board has what it has


@dataclass(frozen=True)
class Starvation:
    """What the host withheld: wall time, and the run-delay of each vCPU thread in it; no
    run-delays where a lane cannot see them."""

    wall_s: float
    run_delays_s: tuple[float, ...]

    @property
    def share(self) -> float:
        """The worst vCPU's share of the time, 0..1; 0 when it could not be measured."""
        return max(self.run_delays_s, default=0.0) / self.wall_s if self.wall_s > 0 else 0.0

    def __str__(self) -> str:
        if not self.run_delays_s:
            return "host run-delay not measured"
        return f"host run-delay {max(self.run_delays_s):.2f} s of {self.wall_s:.2f} s"


class Subject(ABC):
    """A running machine with an agent on it.

    `preload`: what of the spec's was done before the first cell. `stays`: it may serve further cells
    (the warm lane). `clean`: whoever ran a cell says so when nothing of it is left."""

    link: AgentLink
    preload: Preload | None = None
    stays = False
    clean = False

    def has_loaded(self, path: str, content: bytes) -> bool:
        """Whether this module was there before the first cell."""
        modules = self.preload.modules if self.preload is not None else ()
        return any((module.path, module.content) == (path, content) for module in modules)

    def bring(self, path: str, content: bytes) -> None:
        """Puts a file there, unless this subject has had it from the beginning or an earlier cell."""
        if self.has_loaded(path, content):
            return
        brought: dict[str, bytes] = self.__dict__.setdefault("_brought", {})
        if brought.get(path) != content:
            self.link.push(path, content)
            brought[path] = content

    def rest(self) -> None:
        """No cell runs: until begin_again() it costs its host nothing."""
        raise NotImplementedError

    def begin_again(self) -> None:
        """Another cell begins: console() and starvation() tell of that one."""
        raise NotImplementedError

    @abstractmethod
    def fate(self) -> Fate:
        """How it stands now; an end is seen within a second of happening."""

    @abstractmethod
    def epitaph(self) -> str:
        """One line on how it ended, for people."""

    @abstractmethod
    def console(self) -> str:
        """What its kernel has said since the cell began; empty where a lane cannot know."""

    @abstractmethod
    def diagnose(self) -> list[str]:
        """What can be learned from outside of a subject that no longer answers."""

    def spinning(self) -> list[str]:
        """Evidence that one of its CPUs runs and will never answer again; [] without such."""
        return []

    @abstractmethod
    def starvation(self) -> Starvation:
        """What the host withheld since the cell began."""


class Lane(ABC):
    """A place where cells run."""

    name: str

    @property
    @abstractmethod
    def accel(self) -> str:
        """What executes the subject: `kvm`, `tcg`, `board`."""

    @abstractmethod
    def prepare(self, specs: Sequence[SubjectSpec]) -> None:
        """Makes ready what the cells will need, so that no cell pays for it."""

    @abstractmethod
    def subject(self, spec: SubjectSpec) -> AbstractContextManager[Subject]:
        """A fresh subject; when the context ends nothing of it is left."""
