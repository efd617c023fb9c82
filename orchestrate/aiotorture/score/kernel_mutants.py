"""Bugs planted in the kernel's own code: mutants/kernel/NAME.patch, asked for as kernel/NAME.

    Module: usb_f_fs     the module is built anew: target functionfs+NAME on the kernel of the header
    Module: vmlinux      the image is linked anew: kernel KERNEL+NAME, for the target of the header

The search is the one of drivers, with the row that the profile `search` has for the target, or with the
profile `search_core` for zcdma, round after round until the time is spent. The header says which target
and kernel a bug can be seen with, and nothing else of it is used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiotorture import build, kernelpatch
from aiotorture.kernelpatch import KernelPatch
from aiotorture.score import planted, table
from aiotorture.score.planted import Method, Planted
from aiotorture.score.table import Row

PREFIX = "kernel/"
BUDGET_S = 120.0
# A debug kernel makes a third of the requests of a stock one. zcdma has thirteen rows, of which each is to
# be met twice; a gadget that was taken off the bus is back on it half a second later, and is to be taken
# off several times.
SLICES = {"zcdma": "2s", "poll": "4s"}
GADGET_SLICE = "8s"
CORE = "search_core"
# More than fit into the time: poll has six cells in a round.
ROUNDS = 24
HEADER = (
    "Name", "Module", "Class", "Mechanism", "Symptom", "Source", "Race", "Target", "Kernel", "Oracle",
)  # fmt: skip
SETS = ("driver", "kernel", "all")


@dataclass(frozen=True)
class KernelPlanted(Planted):
    """`mutant` is the patch as it stands for identity and name; no cell carries it: its target or its
    kernel does."""

    patch: KernelPatch

    @property
    def in_image(self) -> bool:
        return self.patch.module == kernelpatch.IMAGE

    @property
    def in_model(self) -> bool:
        return False

    @property
    def targets(self) -> tuple[str, ...]:
        target = self.header["Target"]
        return (target if self.in_image else f"{target}+{self.patch.name}",)

    def kernel_for(self, name: str) -> str:
        return f"{name}+{self.patch.name}" if self.in_image else name

    @property
    def cell_mutant(self) -> build.Mutant | None:
        return None

    @property
    def ends_at_finding(self) -> bool:
        """Polls and gadgets meet real bugs of the kernel first, which known.toml explains."""
        return self.header["Target"] == "zcdma"

    @property
    def profile(self) -> str:
        return CORE if self.in_image and self.header["Target"] == "zcdma" else super().profile

    @property
    def rounds(self) -> int:
        return ROUNDS

    @property
    def slice_time(self) -> str:
        return SLICES.get(self.header["Target"], GADGET_SLICE)

    def method(self, asked: Method) -> Method:
        """Its own kernel; its own time and slice, unless others than the usual ones were asked for."""
        return dataclasses.replace(
            asked,
            kernels=(self.header["Kernel"],),
            budget_s=budget_of(asked.budget_s),
            slice_time=self.slice_time if asked.slice_time == planted.SLICE else asked.slice_time,
            blind=False,
            blind_full=False,
        )


def _of(name: str) -> KernelPlanted:
    patch = kernelpatch.named(name)
    return KernelPlanted(build.Mutant(f"{PREFIX}{name}", patch.text), patch.header, patch)


def chosen(words: Sequence[str], wanted: str) -> list[Planted]:
    """The mutants named, kernel/NAME or a driver's; or all of a set."""
    ours = [word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX)]
    others = [word for word in words if not word.startswith(PREFIX)]
    if not words:
        ours = kernelpatch.mutant_names() if wanted != "driver" else []
    drivers = planted.planted(others) if others or (not words and wanted != "kernel") else []
    return [*drivers, *map(_of, ours)]


def apart(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """(the driver's, the kernel's)."""
    of_kernel = [row for row in rows if row.mutant.startswith(PREFIX)]
    return [row for row in rows if row not in of_kernel], of_kernel


def summary(rows: Sequence[Row], budget_s: float) -> list[str]:
    """Lines on the driver's mutants, and on the kernel's."""
    driver, of_kernel = apart(rows)
    said = table.summary(driver, budget_s) if driver or not of_kernel else []
    if of_kernel:
        said += [f"in the kernel: {line}" for line in table.summary(of_kernel, budget_of(budget_s))]
    return said


def markdown(rows: Sequence[Row], repeats: Mapping[str, str]) -> str:
    """The driver's mutants in one table, the kernel's in another."""
    return "\n".join(table.markdown(part, repeats) for part in apart(rows) if part)


def budget_of(asked_s: float) -> float:
    return BUDGET_S if asked_s == planted.BUDGET_S else asked_s
