"""What idle marks cost: the driver with and without them, in turn, in one guest.

A round loads each variant once, in an order that is drawn, and measures the same number of requests
with each. The throughput is requests for each instruction that the guest's only CPU executed, which its
clock counts (accel.COUNTING): the host's noise is none of it, and neither are caches and the layout of
code. With `by_time` it is requests for each second that the host's CPUs worked for the guest
(schedstat), so that what others took from them does not count; a slow host slows all three of a round.
The cost is the median of the rounds' ratios to the driver without marks, with its confidence
interval by resampling rounds.
"""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aiotorture import build
from aiotorture.errors import HarnessError
from aiotorture.kernels import Kernel
from aiotorture.lanes.qemu import QemuSubject
from aiotorture.targets import MODULE_FOLDER

BAR = 0.02
"""Most of the request throughput that idle marks may cost."""
NS_PER_S = 1e9
"""Of the benchmark's unit, and of the clock that counts instructions."""
RESAMPLES = 4000
CONFIDENCE = 0.95
WITHOUT = build.Mutant(
    "without-marks",
    """--- a/driver/Kbuild
+++ b/driver/Kbuild
@@ -5,1 +5,1 @@
-ccflags-y += -I$(src)/../fault -I$(src)
+ccflags-y += -I$(src)/../fault -I$(src) -DAT_WITHOUT_MARKS
""",
)


@dataclass(frozen=True)
class Variant:
    """Modules in the order in which they are loaded."""

    name: str
    modules: tuple[tuple[str, Path], ...]


def variants(kernel: Kernel) -> tuple[Variant, Variant, Variant]:
    """The first is what the others are compared with."""
    marked, unmarked = build.modules(kernel).files, build.modules(kernel, WITHOUT).files
    injector = ("fail_injector", marked["fail_injector"])
    return (
        Variant("without marks", (injector, ("zcdma", unmarked["zcdma"]))),
        Variant("marks, no injector", (("zcdma", marked["zcdma"]),)),
        Variant("marks, injector idle", (injector, ("zcdma", marked["zcdma"]))),
    )


@dataclass(frozen=True)
class Cost:
    """Share of the throughput that is lost; negative: more was measured than without marks."""

    name: str
    median: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        if self.high <= BAR:
            return "within the bar"
        return "above the bar" if self.low > BAR else "not decided: more rounds, or a quieter host"

    def line(self) -> str:
        return (
            f"{self.name:22} {100 * self.median:+.2f} % "
            f"[{100 * self.low:+.2f}, {100 * self.high:+.2f}], bar {100 * BAR:.0f} %: {self.verdict}"
        )


def cost(name: str, base: Sequence[float], other: Sequence[float], seed: int) -> Cost:
    """Of paired rounds; the interval is that of the median, resampled."""
    losses = [1 - b / a for a, b in zip(base, other, strict=True)]
    drawn = random.Random(seed)
    medians = sorted(
        statistics.median(drawn.choices(losses, k=len(losses))) for _ in range(RESAMPLES)
    )
    tail = int(RESAMPLES * (1 - CONFIDENCE) / 2)
    return Cost(name, statistics.median(losses), medians[tail], medians[-1 - tail])


def _module(subject: QemuSubject, argv: list[str]) -> None:
    done = subject.link.execute(argv, 30)
    if done["rc"]:
        raise HarnessError(f"{' '.join(argv)}: {done['err'].strip()}")


def _rate(subject: QemuSubject, variant: Variant, binary: str, depth: int, by_time: bool) -> float:
    for name, _ in variant.modules:
        _module(subject, ["/bin/insmod", _guest_path(variant, name)])
    before = subject.cpu_seconds()
    done = subject.link.execute(
        [binary, f"--benchmark_filter=^requests/{depth}/", "--benchmark_format=json"], 60
    )
    used = subject.cpu_seconds() - before
    for name, _ in reversed(variant.modules):
        _module(subject, ["/bin/rmmod", name])
    if done["rc"]:
        raise HarnessError(f"the benchmark ended with {done['rc']}: {done['err'].strip()[-200:]}")
    told = json.loads(done["out"])["benchmarks"][0]
    if told.get("error_occurred"):
        raise HarnessError(f"{variant.name}: {told['error_message']}")
    if not by_time:
        used = told["real_time"] / NS_PER_S * told["iterations"]
    return float(told["iterations"]) * depth / used


def _guest_path(variant: Variant, module: str) -> str:
    return f"{MODULE_FOLDER}/{variant.name.replace(' ', '_').replace(',', '')}-{module}.ko"


def measure(
    subject: QemuSubject,
    kernel: Kernel,
    binary: str,
    rounds: int,
    depth: int,
    seed: int,
    by_time: bool,
) -> dict[str, list[float]]:
    """Requests for each CPU second, or for each thousand million instructions, of each variant, round
    by round."""
    those = variants(kernel)
    for variant in those:
        for name, path in variant.modules:
            subject.link.push_file(_guest_path(variant, name), path)
    rates: dict[str, list[float]] = {variant.name: [] for variant in those}
    drawn = random.Random(seed)
    for _ in range(rounds):
        for variant in drawn.sample(those, len(those)):
            rates[variant.name].append(_rate(subject, variant, binary, depth, by_time))
    return rates


def told(rates: dict[str, list[float]], seed: int, by_time: bool) -> tuple[list[str], list[Cost]]:
    """Lines for the user, and the costs."""
    (base_name, base), *others = rates.items()
    costs = [cost(name, base, each, seed) for name, each in others]
    per = "CPU second" if by_time else "1e9 instructions"
    lines = [f"{base_name:22} {statistics.median(base):.0f} requests per {per}, {len(base)} rounds"]
    return lines + [each.line() for each in costs], costs
