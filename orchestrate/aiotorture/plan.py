"""Plan text: what a cell does, as one statement a line.

    scenario submit_cancel_race submitters=2 cancel=flush
    fault irq drop p=0.01 delay=2ms
    window canceller in irq..complete hold=5ms
    seed 42

`parse` keeps every value as the text it was given in, so that printing loses nothing:
``parse(print_plan(plan)) == plan`` for every plan. Statements are separated by newlines or `;`, a
`#` starts a comment that ends with its line. The grammar stands in docs/interfaces.md, section 3;
the phases and actions in section 2, and a rule that the injector would refuse is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

PHASES = (
    "submit", "pin", "map", "queue", "start", "irq", "complete", "cancel", "unmap", "unpin", "free",
)  # fmt: skip
# the others are the driver's: a delay there is no fault, it draws a window out
DEVICE_PHASES = frozenset({"start", "irq"})
ACTIONS = (
    "delay", "drop", "dup", "reorder", "corrupt", "short", "fail", "stall", "late", "steer",
    "spurious", "reset", "remove", "nomem",
)  # fmt: skip
RACERS = ("submitter", "device", "canceller", "destroyer", "reaper")

_RESOURCE = frozenset({"fail", "delay", "nomem"})
_DRIVER = frozenset({"delay"})
ACTIONS_AT: Mapping[str, frozenset[str]] = {
    "submit": _RESOURCE,
    "pin": _RESOURCE,
    "map": _RESOURCE,
    "queue": _RESOURCE,
    "start": frozenset(
        {"drop", "dup", "reorder", "corrupt", "short", "stall", "late", "delay", "reset", "remove"}
    ),
    "irq": frozenset({"delay", "drop", "dup", "steer", "spurious", "reset", "remove"}),
    "complete": _DRIVER,
    "cancel": _DRIVER,
    "unmap": _DRIVER,
    "unpin": _DRIVER,
    "free": _DRIVER,
}

SEED_MAX = 2**64 - 1
HOLD_MAX_NS = 20_000_000
"""Longest hold, ns (20 ms): a device held longer would run into the driver's own timeout."""
RULES = 16
"""Most faults of a plan: of the injector (fault/fail_injector.h, AT_NR_RULES)."""

_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_WORD = re.compile(r"[^\s;#]+")
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_VALUE = re.compile(r"[A-Za-z0-9_.,:+/@%-]+\Z")
_DURATION = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,9}))?(ns|us|ms|s)\Z")
_SIZE = re.compile(r"([0-9]{1,18})([KMG]?)\Z")
_NUMBER = re.compile(r"[0-9]{1,20}\Z|0x[0-9a-fA-F]{1,16}\Z")
_SIGNED = re.compile(r"-?[0-9]{1,20}\Z|0x[0-9a-fA-F]{1,16}\Z")
_PROBABILITY = re.compile(r"(?:0|1)(?:\.[0-9]{1,12})?\Z|\.[0-9]{1,12}\Z")


class PlanError(ValueError):
    """A plan that cannot be run. One line: statement and column (both from 1), then why.

    `column` counts within the line; a fault found by `validate` after parsing has column 0 when
    the text is not at hand.
    """

    def __init__(self, reason: str, statement: int = 0, column: int = 0) -> None:
        where = f"statement {statement}, column {column}: " if statement else ""
        super().__init__(f"plan: {where}{reason}")
        self.statement = statement
        self.column = column
        self.reason = reason


Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Scenario:
    """`scenario NAME key=value…`; knobs as text, in the order given."""

    name: str
    knobs: Pairs = ()

    def knob(self, name: str) -> str | None:
        return dict(self.knobs).get(name)

    def __str__(self) -> str:
        return " ".join(["scenario", self.name, *_joined(self.knobs)])


@dataclass(frozen=True)
class Fault:
    """`fault PHASE ACTION key=value…`; values as text, in the order given."""

    phase: str
    action: str
    keys: Pairs = ()

    def key(self, name: str) -> str | None:
        return dict(self.keys).get(name)

    def __str__(self) -> str:
        return " ".join(["fault", self.phase, self.action, *_joined(self.keys)])


@dataclass(frozen=True)
class Window:
    """`window RACER in FIRST..LAST [hold=DURATION]`."""

    racer: str
    first: str
    last: str
    hold: str | None = None

    def __str__(self) -> str:
        hold = [] if self.hold is None else [f"hold={self.hold}"]
        return " ".join(["window", self.racer, "in", f"{self.first}..{self.last}", *hold])


@dataclass(frozen=True)
class Plan:
    """A parsed plan. With a seed it says completely what a run does."""

    scenario: Scenario
    faults: tuple[Fault, ...] = ()
    windows: tuple[Window, ...] = ()
    seed: int | None = None

    def statements(self) -> tuple[str, ...]:
        """The statements of the canonical form, in its order."""
        seed = () if self.seed is None else (f"seed {self.seed}",)
        return (
            str(self.scenario),
            *(str(fault) for fault in self.faults),
            *(str(window) for window in self.windows),
            *seed,
        )

    def __str__(self) -> str:
        """Canonical text, one statement a line, with a final newline."""
        return "\n".join(self.statements()) + "\n"

    def one_line(self) -> str:
        """Canonical text with `; ` between the statements: the command line's form."""
        return "; ".join(self.statements())

    def with_seed(self, seed: int) -> Plan:
        if not 0 <= seed <= SEED_MAX:
            raise PlanError(f"seed {seed} is outside 0..{SEED_MAX}")
        return replace(self, seed=seed)

    def without_seed(self) -> Plan:
        return replace(self, seed=None)

    def with_knobs(self, knobs: Mapping[str, str]) -> Plan:
        """The plan with scenario keys replaced in place, or added at the end in the order given."""
        for name, value in knobs.items():
            if not _NAME.match(name) or not _VALUE.match(value):
                raise PlanError(f"{name!r}={value!r} is no key=value")
        kept = tuple((key, knobs.get(key, value)) for key, value in self.scenario.knobs)
        present = {key for key, _ in kept}
        added = tuple((key, value) for key, value in knobs.items() if key not in present)
        return replace(self, scenario=replace(self.scenario, knobs=kept + added))

    def with_faults(self, faults: tuple[Fault, ...], windows: tuple[Window, ...] = ()) -> Plan:
        """The plan with faults and windows appended."""
        return replace(self, faults=self.faults + faults, windows=self.windows + windows)

    def actions(self) -> frozenset[str]:
        return frozenset(fault.action for fault in self.faults)


def _joined(pairs: Pairs) -> list[str]:
    return [f"{key}={value}" for key, value in pairs]


# --- units ---------------------------------------------------------------------------------------


def duration_ns(text: str) -> int:
    """`2ms`, `1.5s`, `800ns` → nanoseconds. ValueError for anything else, or a broken ns."""
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no duration: a number and one of ns us ms s")
    whole, fraction, unit = match.groups()
    scale = _NS[unit]
    digits = fraction or ""
    part, rest = divmod(int(digits or 0) * scale, 10 ** len(digits))
    if rest:
        raise ValueError(f"{text!r} is finer than a nanosecond")
    nanoseconds: int = int(whole) * scale + part
    return nanoseconds


def size_bytes(text: str) -> int:
    """`4096`, `64K`, `16M`, `1G` → bytes."""
    match = _SIZE.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no size: a number and optionally K, M or G")
    return int(match.group(1)) * _BYTES[match.group(2)]


def probability(text: str) -> float:
    """`0`, `0.001`, `1` → 0..1."""
    if _PROBABILITY.match(text) is None or float(text) > 1:
        raise ValueError(f"{text!r} is no probability: 0..1")
    return float(text)


def number(text: str) -> int:
    """A decimal or 0x number of at most 64 bits, not negative."""
    if _NUMBER.match(text) is None or int(text, 0 if text.startswith("0x") else 10) > SEED_MAX:
        raise ValueError(f"{text!r} is no number in 0..{SEED_MAX}")
    return int(text, 0 if text.startswith("0x") else 10)


def signed(text: str) -> int:
    """A decimal number that may be negative, or 0x."""
    if _SIGNED.match(text) is None:
        raise ValueError(f"{text!r} is no whole number")
    return int(text, 0 if text.startswith("0x") else 10)


def _positive(text: str) -> int:
    if (count := number(text)) < 1:
        raise ValueError("must be at least 1")
    return count


def _times(text: str) -> int:
    if (count := signed(text)) < -1 or count == 0:
        raise ValueError("must be at least 1, or -1 for no limit")
    return count


def _cookie(text: str) -> int:
    if text.startswith("slot:"):
        if (slot := number(text[5:])) > 4095:
            raise ValueError("slots are 0..4095")
        return slot
    return number(text)


def _errno(text: str) -> int:
    if not 1 <= (err := number(text)) <= 4095:
        raise ValueError("an errno is 1..4095, positive")
    return err


_FAULT_KEYS: Mapping[str, Callable[[str], float]] = {
    "nth": _positive,
    "p": probability,
    "cookie": _cookie,
    "times": _times,
    "delay": duration_ns,
    "cpu": number,
    "err": _errno,
}


# --- parsing -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Word:
    text: str
    column: int


@dataclass(frozen=True)
class _Statement:
    number: int
    words: tuple[_Word, ...]

    def error(self, word: int, reason: str) -> PlanError:
        """At a word's column, or behind the last word when the statement is too short."""
        if word < len(self.words):
            return PlanError(reason, self.number, self.words[word].column)
        last = self.words[-1]
        return PlanError(reason, self.number, last.column + len(last.text) + 1)

    def text(self, word: int, missing: str) -> str:
        if word >= len(self.words):
            raise self.error(word, f"{missing} is missing")
        return self.words[word].text

    def one_of(self, word: int, what: str, choices: tuple[str, ...]) -> str:
        text = self.text(word, what)
        if text not in choices:
            raise self.error(word, f"{text!r} is no {what}: {' '.join(choices)}")
        return text

    def pairs(self, first: int) -> Pairs:
        found: dict[str, str] = {}
        for index in range(first, len(self.words)):
            text = self.words[index].text
            key, equals, value = text.partition("=")
            if not equals or not _NAME.match(key) or not _VALUE.match(value):
                raise self.error(index, f"{text!r} is no key=value")
            if key in found:
                raise self.error(index, f"{key!r} stands twice")
            found[key] = value
        return tuple(found.items())

    def end(self, word: int) -> None:
        if word < len(self.words):
            raise self.error(word, f"{self.words[word].text!r} is one word too many")


def _statements(text: str) -> Iterator[_Statement]:
    count = 0
    for line in re.split(r"\r?\n", text):
        code = line.split("#", 1)[0]
        start = 0
        for piece in code.split(";"):
            words = tuple(_Word(m.group(), start + m.start() + 1) for m in _WORD.finditer(piece))
            start += len(piece) + 1
            if words:
                count += 1
                yield _Statement(count, words)


def _scenario(statement: _Statement) -> Scenario:
    name = statement.text(1, "scenario name")
    if not _NAME.match(name):
        raise statement.error(1, f"{name!r} is no scenario name")
    return Scenario(name, statement.pairs(2))


def _fault(statement: _Statement) -> Fault:
    phase = statement.one_of(1, "phase", PHASES)
    action = statement.one_of(2, "action", ACTIONS)
    if action not in ACTIONS_AT[phase]:
        allowed = " ".join(name for name in ACTIONS if name in ACTIONS_AT[phase])
        raise statement.error(2, f"{action!r} means nothing at {phase!r}: {allowed}")
    keys = statement.pairs(3)
    for index, (key, value) in enumerate(keys, start=3):
        check = _FAULT_KEYS.get(key)
        if check is None:
            raise statement.error(index, f"{key!r} is no fault key: {' '.join(_FAULT_KEYS)}")
        try:
            check(value)
        except ValueError as error:
            raise statement.error(index, f"{key}: {error}") from None
    return Fault(phase, action, keys)


def _window(statement: _Statement) -> Window:
    racer = statement.one_of(1, "racer", RACERS)
    statement.one_of(2, "'in'", ("in",))
    stretch = statement.text(3, "PHASE..PHASE")
    first, dots, last = stretch.partition("..")
    if not dots or first not in PHASES or last not in PHASES:
        raise statement.error(3, f"{stretch!r} is no PHASE..PHASE")
    if len(statement.words) == 4:
        return Window(racer, first, last)
    key, _, hold = statement.words[4].text.partition("=")
    if key != "hold":
        raise statement.error(4, f"{statement.words[4].text!r} is no hold=DURATION")
    try:
        too_long = duration_ns(hold) > HOLD_MAX_NS
    except ValueError as error:
        raise statement.error(4, f"hold: {error}") from None
    if too_long:
        raise statement.error(4, "hold: at most 20ms")
    statement.end(5)
    return Window(racer, first, last, hold)


def _seed(statement: _Statement) -> int:
    text = statement.text(1, "seed")
    try:
        seed = number(text)
    except ValueError as error:
        raise statement.error(1, f"seed: {error}") from None
    statement.end(2)
    return seed


def parse(text: str) -> Plan:
    """The plan that `text` says. PlanError, and nothing else, for any other text."""
    scenario: Scenario | None = None
    seed: int | None = None
    faults: list[Fault] = []
    windows: list[Window] = []
    for statement in _statements(text):
        match statement.words[0].text:
            case "scenario" if scenario is None:
                scenario = _scenario(statement)
            case "seed" if seed is None:
                seed = _seed(statement)
            case "scenario" | "seed" as word:
                raise statement.error(0, f"a second {word}")
            case "fault":
                faults.append(_fault(statement))
            case "window":
                windows.append(_window(statement))
            case word:
                raise statement.error(
                    0, f"{word!r} is no statement: scenario fault window seed"
                )
    if scenario is None:
        raise PlanError("no scenario statement")
    _check_rules(faults)
    return Plan(scenario, tuple(faults), tuple(windows), seed)


def _check_rules(faults: Sequence[Fault]) -> None:
    if len(faults) > RULES:
        raise PlanError(f"{len(faults)} faults, and the injector has {RULES} rules")


def parse_faults(text: str) -> tuple[tuple[Fault, ...], tuple[Window, ...]]:
    """Fault and window statements alone, as `--faults TEXT` takes them.

    The word `fault` may be left out: `irq drop p=0.01` reads as `fault irq drop p=0.01`.
    """
    faults: list[Fault] = []
    windows: list[Window] = []
    for statement in _statements(text):
        first = statement.words[0]
        if first.text in PHASES:
            words = (_Word("fault", first.column), *statement.words)
            statement = replace(statement, words=words)
            first = words[0]
        if first.text == "fault":
            faults.append(_fault(statement))
        elif first.text == "window":
            windows.append(_window(statement))
        else:
            raise statement.error(0, f"{first.text!r} is neither fault nor window")
    return tuple(faults), tuple(windows)


def print_plan(plan: Plan) -> str:
    """Canonical text; the same as `str(plan)`."""
    return str(plan)
