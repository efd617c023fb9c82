"""From matrix.toml and the words of the command line to cells, in the order they are run."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiotorture import build, kernels, paths
from aiotorture.errors import ConfigurationError
from aiotorture.plan import Plan, PlanError, duration_ns, parse, parse_faults

TARGETS = ("zcdma",)
LANES = ("qemu", "lab")
NS_PER_S = 1_000_000_000
SEED_BITS = 63


@dataclass(frozen=True)
class Selection:
    """What a run was asked for; None and () mean what the profile says."""

    profile: str = "smoke"
    lane: str = "qemu"
    kernels: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    scenarios: tuple[str, ...] = ()
    faults: str | None = None
    mutant: str | None = None
    seed: int = 1
    time: str | None = None
    perf: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell. `minima_scale` shrinks the scenario's contention minima for a shorter race."""

    id: str
    target: str
    kernel: str
    lane: str
    cpus: int
    plan: Plan
    mutant: build.Mutant | None = None
    control_oracles: tuple[str, ...] = ()
    minima_scale: float = 1.0
    perf: bool = False

    @property
    def control(self) -> bool:
        return bool(self.control_oracles)

    @property
    def race_s(self) -> float:
        return duration_ns(self.plan.scenario.knob("time") or "10s") / NS_PER_S


def _table() -> dict[str, Any]:
    return tomllib.loads((paths.ORCHESTRATE / "matrix.toml").read_text())


def profiles() -> list[str]:
    return list(_table()["profile"])


def cell_seed(seed: int, cell_id: str) -> int:
    """A seed of the cell's own, the same in every run with the same seed."""
    digest = hashlib.sha256(f"{seed}/{cell_id}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> (64 - SEED_BITS)


def _check(words: Sequence[str], known: Sequence[str], what: str) -> None:
    for word in words:
        if word not in known:
            raise ConfigurationError(f"unknown {what} {word!r}; there is: {', '.join(known)}")


def _plan(scenario: str, knobs: dict[str, str], faults: str, seed: int) -> Plan:
    statement = " ".join(["scenario", scenario, *(f"{k}={v}" for k, v in knobs.items())])
    text = "; ".join(part for part in (statement, faults, f"seed {seed}") if part)
    try:
        return parse(text)
    except PlanError as error:
        raise ConfigurationError(f"plan: {error}") from error


def _named_plans(selection: Selection, names: list[str], table: dict[str, Any]) -> dict[str, Any]:
    if selection.faults is None:
        return {name: table["plan"][name] for name in names}
    try:
        parse_faults(selection.faults)
    except PlanError as error:
        raise ConfigurationError(f"--faults: {error}") from error
    text = "; ".join(line for line in selection.faults.splitlines() if line.strip())
    return {"custom": {"faults": text, "knobs": {}}}


def _controls(selection: Selection, table: dict[str, Any], series: str, time: str) -> list[Cell]:
    cells = []
    for entry in table["control"]:
        cell_id = f"{series}-control-{entry['mutant']}"
        row = table["plan"][entry["plan"]]
        seed = cell_seed(selection.seed, cell_id)
        knobs = {"time": time, **row["knobs"], **entry.get("knobs", {})}
        cells.append(
            Cell(
                id=cell_id,
                target="zcdma",
                kernel=series,
                lane=selection.lane,
                cpus=entry["cpus"],
                plan=_plan(entry["scenario"], knobs, row["faults"], seed),
                mutant=build.find_mutant(entry["mutant"]),
                control_oracles=tuple(entry["oracles"]),
            )
        )
    return cells


def cells(selection: Selection) -> list[Cell]:
    """The controls first, then the matrix. With a mutant asked for there are no controls: the
    question is then whether this one is found."""
    table = _table()
    _check([selection.profile], list(table["profile"]), "profile")
    profile = table["profile"][selection.profile]
    series_list = kernels.names(selection.kernels) or kernels.default_series()
    _check([selection.lane], LANES, "lane")
    targets = list(selection.targets) or list(TARGETS)
    _check(targets, TARGETS, "target")
    scenarios = list(selection.scenarios) or list(profile["scenarios"])
    known = sorted(path.stem for path in (paths.ROOT / "stress").glob("*.cpp"))
    _check(scenarios, [name for name in known if name != "agent"], "scenario")
    time = selection.time or profile["time"]
    try:
        scale = min(1.0, duration_ns(time) / duration_ns(profile["time"]))
    except ValueError as error:
        raise ConfigurationError(f"--time: {error}") from error
    mutant = build.find_mutant(selection.mutant) if selection.mutant else None
    own_knobs: dict[str, dict[str, str]] = profile.get("knobs", {})
    chosen: list[Cell] = []
    if mutant is None:
        for series in series_list:
            chosen += _controls(selection, table, series, profile["time"])
    for repeat in range(profile["repeats"]):
        for series in series_list:
            for target in targets:
                for name, row in _named_plans(selection, profile["plans"], table).items():
                    for scenario in scenarios:
                        for cpus in profile["cpus"]:
                            mode = row["knobs"].get("cancel", "callback")
                            words = [series, target, scenario, name, mode, f"{cpus}cpu"]
                            words += [mutant.name] if mutant else []
                            words += [f"r{repeat + 1}"] if profile["repeats"] > 1 else []
                            cell_id = "-".join(words)
                            seed = cell_seed(selection.seed, cell_id)
                            knobs = {"time": time, **row["knobs"], **own_knobs.get(scenario, {})}
                            knobs |= {"time": selection.time} if selection.time else {}
                            chosen.append(
                                Cell(
                                    id=cell_id,
                                    target=target,
                                    kernel=series,
                                    lane=selection.lane,
                                    cpus=cpus,
                                    plan=_plan(scenario, knobs, row["faults"], seed),
                                    mutant=mutant,
                                    minima_scale=scale,
                                    perf=selection.perf,
                                )
                            )
    return chosen
