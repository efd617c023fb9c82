"""A plan held against what the agent's `describe` says that it can do.

Each knob is declared once, in the agent; `describe` lists it as ``{name scope type default min max
choices unit help}``. Here its type, range and choices are checked before a guest is woken for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiotorture.plan import Plan, PlanError, Scenario, duration_ns, probability, signed, size_bytes


def _real(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r} is no number")
    return value


_READERS: Mapping[str, Callable[[str], float]] = {
    "int": signed,
    "duration": duration_ns,
    "size": size_bytes,
    "probability": probability,
    "real": _real,
}


@dataclass(frozen=True)
class Knob:
    """One knob as `describe` declares it; `minimum` and `maximum` in the base unit (ns, bytes)."""

    name: str
    scope: str
    type: str
    default: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...]
    unit: str
    help: str

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Knob:
        kind = str(stored.get("type", "text"))
        unit = str(stored.get("unit") or "")
        return Knob(
            name=str(stored["name"]),
            scope=str(stored.get("scope", "scenario")),
            type=kind,
            default="" if stored.get("default") is None else str(stored["default"]),
            minimum=_limit(stored.get("min"), kind),
            maximum=_limit(stored.get("max"), kind),
            choices=tuple(str(choice) for choice in stored.get("choices") or ()),
            unit=unit,
            help=str(stored.get("help", "")),
        )

    def check(self, text: str) -> None:
        """ValueError unless `text` is of the knob's type, in its range and among its choices."""
        if self.choices:
            for word in text.split("+") if self.type == "words" else [text]:
                if word not in self.choices:
                    raise ValueError(f"{word!r} is none of {' '.join(self.choices)}")
            return
        reader = _READERS.get(self.type)
        if reader is None:
            return
        value = reader(text)
        if self.minimum is not None and value < self.minimum:
            raise ValueError(f"{text} is below {self._shown(self.minimum)}")
        if self.maximum is not None and value > self.maximum:
            raise ValueError(f"{text} is above {self._shown(self.maximum)}")

    def _shown(self, limit: float) -> str:
        unit = {"duration": "ns", "size": ""}.get(self.type, self.unit)
        return f"{limit:g}{unit}" if limit != int(limit) else f"{int(limit)}{unit}"


def _limit(stored: object, kind: str) -> float | None:
    """A limit may be a number in the base unit, or text in the knob's own syntax (`20ms`)."""
    if stored is None or stored == "":
        return None
    if isinstance(stored, (int, float)):
        return float(stored)
    text = str(stored)
    try:
        return float(text)
    except ValueError:
        return float(_READERS.get(kind, _real)(text))


@dataclass(frozen=True)
class Description:
    """The parts of `describe` that a plan is checked against.

    `contention` maps a scenario to the least its counters must reach in a full smoke cell.
    """

    scenario_knobs: Mapping[str, Mapping[str, Knob]]
    target_knobs: Mapping[str, Knob]
    contention: Mapping[str, Mapping[str, int]]
    invariants: Mapping[str, str]

    @staticmethod
    def from_json(stored: Mapping[str, Any]) -> Description:
        knobs: dict[str, Mapping[str, Knob]] = {}
        contention: dict[str, Mapping[str, int]] = {}
        invariants: dict[str, str] = {}
        for entry in stored.get("scenarios", ()):
            name = str(entry["name"])
            knobs[name] = _by_name(entry.get("knobs", ()))
            minima = entry.get("contention", {})
            contention[name] = {str(key): int(least) for key, least in minima.items()}
            invariants[name] = str(entry.get("invariant", ""))
        return Description(knobs, _by_name(stored.get("target_knobs", ())), contention, invariants)

    def validate(self, plan: Plan) -> None:
        """PlanError, naming statement 1 and the column in canonical text, if a knob is wrong."""
        scenario = plan.scenario
        own = self.scenario_knobs.get(scenario.name)
        if own is None:
            names = " ".join(sorted(self.scenario_knobs)) or "none"
            raise PlanError(
                f"{scenario.name!r} is no scenario of this agent: {names}", 1, len("scenario ") + 1
            )
        for index, (name, value) in enumerate(scenario.knobs):
            knob = own.get(name) or self.target_knobs.get(name)
            if knob is None:
                known = " ".join([*own, *(key for key in self.target_knobs if key not in own)])
                raise PlanError(f"{name!r} is no knob: {known}", 1, _column(scenario, index))
            try:
                knob.check(value)
            except ValueError as error:
                raise PlanError(f"{name}: {error}", 1, _column(scenario, index)) from None

    def target_parameters(self, plan: Plan) -> dict[str, str]:
        """The scenario keys that go to the target's module, in the plan's order."""
        own = self.scenario_knobs.get(plan.scenario.name, {})
        return {
            name: value
            for name, value in plan.scenario.knobs
            if (name in own and own[name].scope == "target")
            or (name not in own and name in self.target_knobs)
        }


def _by_name(entries: Sequence[Mapping[str, Any]]) -> dict[str, Knob]:
    knobs = (Knob.from_json(entry) for entry in entries)
    return {knob.name: knob for knob in knobs}


def _column(scenario: Scenario, index: int) -> int:
    return len(" ".join(str(scenario).split(" ")[: 2 + index])) + 2
