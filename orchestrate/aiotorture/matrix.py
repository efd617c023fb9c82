"""From matrix.toml and the words of the command line to cells, in the order they are run."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiotorture import build, kernels, paths, targets
from aiotorture.errors import ConfigurationError
from aiotorture.plan import Plan, PlanError, duration_ns, parse, parse_faults

LANES = ("qemu", "lab", "local")
# Targets whose requests no other target's scenario makes.
ROWS_APART = ("poll", targets.GADGET)
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
    """One cell. `minima_scale` shrinks the scenario's contention minima for a shorter race; findings
    of the oracles in `mute` are dropped, to see what the others see."""

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
    end_at_finding: bool = False
    mute: tuple[str, ...] = ()

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


def _check_faults(target: str, faults: str) -> None:
    known = targets.named(target).faults
    if known is None:
        return
    for fault in parse_faults(faults)[0]:
        if (fault.phase, fault.action) not in known:
            raise ConfigurationError(f"target {target} has no fault {fault.phase} {fault.action}")


def _drawn(knobs: dict[str, Any], seed: int, name: str) -> dict[str, str]:
    """Of a knob with several values one, drawn anew for each cell and seed."""
    return {
        knob: value[cell_seed(seed, f"{name}/{knob}") % len(value)] if isinstance(value, list) else value
        for knob, value in knobs.items()
    }


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
        faults, windows = parse_faults(selection.faults)
    except PlanError as error:
        raise ConfigurationError(f"--faults: {error}") from error
    text = "; ".join(map(str, (*faults, *windows)))
    return {"custom": {"faults": text, "knobs": {}}}


def _wants(profile: dict[str, Any], target: str) -> dict[str, Any]:
    """What a profile asks of a target: its own table, over what holds for zcdma."""
    own: dict[str, Any] = profile.get("on", {}).get(targets.named(target).row, {})
    return {**profile, **own}


def _target_knobs(selection: Selection, target: str, series: str) -> dict[str, str]:
    """Neither a profile nor a kernel that is slow beyond its clock has a driver that looks at itself."""
    looked_at = not selection.perf and kernels.keeps_time(series)
    named = targets.named(target)
    return {**named.knobs, **(named.watched if looked_at else {})}


def _controls(
    selection: Selection, table: dict[str, Any], series: str, chosen: Sequence[str], time: str
) -> list[Cell]:
    cells = []
    # drivers and files are judged by the oracles that zcdma's planted bugs try
    rows = {targets.named(name).row for name in chosen}
    tried = {"poll", targets.GADGET, targets.EDU} & rows | ({"zcdma"} if rows - {"poll"} else set())
    source = kernels.row_of(series).source if series != "local" else ""
    for entry in table["control"]:
        target = entry.get("target", "zcdma")
        if targets.named(target).row not in tried or entry.get("source", source) != source:
            continue
        planted = entry.get("mutant") or f"{target}-{entry.get('knobs', {}).get('plant', '')}".rstrip("-")
        cell_id = f"{series}-control-{planted}"
        row = table["plan"][entry["plan"]]
        seed = cell_seed(selection.seed, cell_id)
        knobs = {"time": time, **_target_knobs(selection, target, series), **row["knobs"], **entry.get("knobs", {})}
        knobs["time"] = stretched(knobs["time"], kernels.slowdown(series))
        cells.append(
            Cell(
                id=cell_id,
                target=target,
                kernel=series,
                lane=selection.lane,
                cpus=_cpus(selection, [entry["cpus"]])[0],
                plan=_plan(entry["scenario"], knobs, row["faults"], seed),
                mutant=build.find_mutant(entry["mutant"]) if "mutant" in entry else None,
                control_oracles=tuple(entry["oracles"]),
            )
        )
    return cells


def _cpus(selection: Selection, asked: Sequence[int]) -> list[int]:
    """The local lane has the CPUs that there are."""
    return [os.cpu_count() or 1] if selection.lane == "local" else list(asked)


def _series(selection: Selection) -> list[str]:
    if selection.lane != "local":
        return kernels.names(selection.kernels) or kernels.default_series()
    if any(word != "local" for word in selection.kernels):
        raise ConfigurationError("--lane local runs on this machine's own kernel; leave --kernel out")
    return ["local"]


def _targets(selection: Selection, profile: dict[str, Any]) -> list[str]:
    """Those asked for, or those of the profile that the lane can run."""
    offered = targets.on_lane(selection.lane)
    chosen = targets.expanded(selection.targets)
    for name in chosen:
        target = targets.named(name)
        if selection.lane not in target.lanes:
            can = ", ".join(target.lanes)
            raise ConfigurationError(f"target {name} does not run in lane {selection.lane}; only in: {can}")
    usual = targets.expanded(profile["targets"])
    return chosen or [n for n in usual if selection.lane in targets.named(n).lanes] or list(offered)


def _scenarios(selection: Selection, wanted: Sequence[str], every: Sequence[str]) -> list[str]:
    """Those asked for that are of this target; `every`: all that the profile has for it."""
    return [s for s in selection.scenarios if s in every] if selection.scenarios else list(wanted)


def _rows(
    selection: Selection, target: str, profile: dict[str, Any], table: dict[str, Any]
) -> list[tuple[str, dict[str, Any], str, int]]:
    """Plan, its row, scenario, CPUs: each plan with each scenario, then the pairs that `also` names."""
    wants = _wants(profile, target)
    scenarios = _scenarios(selection, wants["scenarios"], _scenarios_of(table, target))
    rows = [
        (name, row, scenario, cpus)
        for name, row in _named_plans(selection, wants["plans"], table).items()
        for scenario in scenarios
        for cpus in _cpus(selection, wants["cpus"])
    ]
    there = {(name, scenario, cpus) for name, _, scenario, cpus in rows}
    own = profile if target == "zcdma" else profile.get("on", {}).get(targets.named(target).row, {})
    also = own.get("also", []) if selection.faults is None else []
    for entry in also:
        if selection.scenarios and entry["scenario"] not in selection.scenarios:
            continue
        rows += [
            (name, table["plan"][name], entry["scenario"], cpus)
            for name in entry["plans"]
            for cpus in entry.get("cpus", wants["cpus"])
            if (name, entry["scenario"], cpus) not in there
        ]
    return rows


def cells(selection: Selection) -> list[Cell]:
    """The controls first, then the matrix. With a mutant asked for there are no controls: the
    question is then whether this one is found."""
    table = _table()
    selection = dataclasses.replace(selection, time=_without_minutes(selection.time))
    _check([selection.profile], list(table["profile"]), "profile")
    _check([selection.lane], LANES, "lane")
    profile = table["profile"][selection.profile]
    series_list = _series(selection)
    chosen_targets = _targets(selection, profile)
    _check(selection.scenarios, _known_scenarios(), "scenario")
    time = selection.time or profile["time"]
    _share(time, profile["time"])
    mutant = build.find_mutant(selection.mutant) if selection.mutant else None
    if mutant and not all(targets.named(name).builds for name in chosen_targets):
        raise ConfigurationError("--mutant: the planted bugs are zcdma's")
    chosen: list[Cell] = []
    if mutant is None:
        for series in series_list:
            chosen += _controls(selection, table, series, chosen_targets, profile["time"])
    for repeat in range(profile["repeats"]):
        for series in series_list:
            slowdown = kernels.slowdown(series)
            full = stretched(profile["time"], slowdown)
            for target in chosen_targets:
                wants = _wants(profile, target)
                for name, row, scenario, cpus in _rows(selection, target, profile, table):
                    words = [series, targets.named(target).name, scenario, name]
                    drawn_for = f"{'-'.join(words)}-{cpus}-{repeat}"
                    row_knobs = _drawn(row["knobs"], selection.seed, drawn_for)
                    words += [row_knobs.get("cancel", "callback")] if target == "zcdma" else []
                    words += [f"{cpus}cpu"]
                    words += [mutant.name] if mutant else []
                    words += [f"r{repeat + 1}"] if profile["repeats"] > 1 else []
                    cell_id = "-".join(words)
                    seed = cell_seed(selection.seed, cell_id)
                    own_knobs = _drawn(wants.get("knobs", {}).get(scenario, {}), selection.seed, drawn_for)
                    knobs = {"time": time, **_target_knobs(selection, target, series)}
                    one_cpu = table["one_cpu"]["knobs"] if target == "zcdma" and cpus == 1 else {}
                    knobs |= {**one_cpu, **row_knobs, **own_knobs}
                    _check_faults(target, row["faults"])
                    knobs["time"] = selection.time or stretched(knobs["time"], slowdown)
                    if not kernels.keeps_time(series) and targets.named(target).row not in ROWS_APART:
                        knobs["time_to_answer"] = "0"
                    chosen.append(
                        Cell(
                            id=cell_id,
                            target=target,
                            kernel=series,
                            lane=selection.lane,
                            cpus=cpus,
                            plan=_plan(scenario, knobs, row["faults"], seed),
                            mutant=mutant,
                            minima_scale=_share(knobs["time"], full) * targets.named(target).pace,
                            perf=selection.perf,
                        )
                    )
    if selection.scenarios and not any(not cell.control for cell in chosen):
        asked = ", ".join(selection.scenarios)
        raise ConfigurationError(f"no target of {', '.join(chosen_targets)} has scenario {asked}")
    return chosen


def _without_minutes(time: str | None) -> str | None:
    """A plan's durations end at seconds; a person's go on."""
    longer = re.fullmatch(r"(\d+(?:\.\d+)?)([mh])", time or "")
    return f"{float(longer[1]) * (60 if longer[2] == 'm' else 3600):g}s" if longer else time


def stretched(time: str, slowdown: float) -> str:
    """A race's time on a kernel that needs `slowdown` times as long to let its racers meet as often."""
    try:
        return time if slowdown == 1 else f"{round(duration_ns(time) * slowdown / 1e6)}ms"
    except ValueError as error:
        raise ConfigurationError(f"time: {error}") from error


def _share(time: str, full: str) -> float:
    """Of a full race's contention, what a shorter one owes."""
    try:
        return min(1.0, duration_ns(time) / duration_ns(full))
    except ValueError as error:
        raise ConfigurationError(f"--time: {error}") from error


def _known_scenarios() -> list[str]:
    names = sorted(path.stem for path in (paths.ROOT / "stress").glob("*.cpp"))
    return [name for name in names if name != "agent"]


def _scenarios_of(table: dict[str, Any], target: str) -> list[str]:
    """Every scenario that is of this target: those that other targets have to themselves are not."""
    apart = {row: _scenarios_on(table, row) for row in ROWS_APART}
    row = targets.named(target).row
    if row in apart:
        return sorted(apart[row])
    return [name for name in _known_scenarios() if not any(name in each for each in apart.values())]


def _scenarios_on(table: dict[str, Any], row: str) -> set[str]:
    wanted = [profile.get("on", {}).get(row, {}) for profile in table["profile"].values()]
    pairs = [entry["scenario"] for own in wanted for entry in own.get("also", [])]
    return {scenario for own in wanted for scenario in own.get("scenarios", [])} | set(pairs)
