"""The options of `run`, declared once for the command and for plain pytest."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiotorture.errors import ConfigurationError
from aiotorture.matrix import Selection

DEFAULT_JOBS = 2


@dataclass(frozen=True)
class Option:
    """One option in argparse's words, which pytest's parser shares."""

    flag: str
    settings: dict[str, Any]


OPTIONS = (
    Option("--profile", {"default": "smoke", "metavar": "P", "help": "smoke, nightly or soak"}),
    Option("--lane", {"default": "qemu", "metavar": "L", "help": "qemu, lab or local"}),
    Option("--kernel", {"action": "append", "metavar": "K", "help": "a name that `kernels list` shows, NAME+preemption, or the path of your own"}),
    Option("--target", {"action": "append", "metavar": "T", "help": "zcdma, poll, file, file-NAME, or the path of a target.toml"}),
    Option("--scenario", {"action": "append", "metavar": "S", "help": "stressor in stress/"}),
    Option("--faults", {"metavar": "TEXT", "help": "fault and window statements, ; between"}),
    Option("--mutant", {"metavar": "M", "help": "planted bug: a name in mutants/ or a patch"}),
    Option("--seed", {"type": int, "metavar": "N", "help": "seed of the whole run"}),
    Option("--time", {"metavar": "D", "help": "length of each race, as 4s or 500ms"}),
    Option("--perf", {"action": "store_true", "help": "profile each cell inside the guest"}),
    Option("--resume", {"action": "store_true", "help": "go on with the last run, or --out"}),
    Option("--out", {"metavar": "DIR", "help": "folder of the run (default reports/TIME-PROFILE)"}),
)


def declare(add: Callable[..., Any]) -> None:
    for option in OPTIONS:
        add(option.flag, **option.settings)


def selection(options: Any) -> Selection:
    """What argparse or pytest parsed, as a selection. A run without --seed draws one."""
    seed = options.seed if options.seed is not None else random.SystemRandom().getrandbits(31)
    if seed < 0:
        raise ConfigurationError("--seed: a number from 0 up")
    return Selection(
        profile=options.profile,
        lane=options.lane,
        kernels=tuple(options.kernel or ()),
        targets=tuple(options.target or ()),
        scenarios=tuple(options.scenario or ()),
        faults=options.faults,
        mutant=options.mutant,
        seed=seed,
        time=options.time,
        perf=bool(options.perf),
    )
