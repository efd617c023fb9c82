"""From trials to rows, lines, the table of a run and the part of the README."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiotorture.errors import ConfigurationError
from aiotorture.score.search import BLIND_TIMES
from aiotorture.score.trials import Trial

TABLE = "score.md"
BEGIN = "<!-- score: ./aiotorture score --table -->"
END = "<!-- end of score -->"


@dataclass(frozen=True)
class Row:
    """A mutant over all its seeds. `ratios`: requests of blind stress over those of the search, a
    lower bound (`ratios_open`) where blind stress was given up; where the search itself did not
    find it, what it spent counts. `median_s`: a search that missed took the whole budget. `model`: what
    the model told in the seeds in which it was asked, those that were missed."""

    mutant: str
    kind: str
    race: bool
    found: int
    trials: int
    errors: int
    oracles: tuple[str, ...]
    titles: tuple[str, ...]
    kernels: tuple[str, ...]
    seconds: tuple[float, ...]
    median_s: float
    requests: tuple[int, ...]
    blind_found: int = 0
    blind_trials: int = 0
    blind_full: int = 0
    blind_requests: tuple[int, ...] = ()
    blind_open: bool = False
    ratios: tuple[float, ...] = ()
    ratios_open: bool = False
    model: tuple[str, ...] = ()
    model_found: int = 0
    model_asked: int = 0

    @property
    def always(self) -> bool:
        return self.found == self.trials

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def blind_misses(self) -> bool:
        """Blind stress had the whole budget in most seeds, and did not find it in most."""
        return 2 * self.blind_full > self.blind_trials > 0


def _row(name: str, each: Sequence[Trial]) -> Row:
    hits = [trial.aimed for trial in each if trial.aimed.found]
    blind = [(trial.aimed, trial.blind) for trial in each if trial.blind is not None]
    shown = [(a, b) for a, b in blind if a.found or b.found]
    opinions = [trial.model for trial in each if trial.model is not None]
    return Row(
        mutant=name,
        kind=each[0].kind,
        race=each[0].race,
        found=len(hits),
        trials=len(each),
        errors=sum(trial.aimed.errors for trial in each),
        oracles=tuple(dict.fromkeys(walk.oracle for walk in hits)),
        titles=tuple(dict.fromkeys(walk.title for walk in hits)),
        kernels=tuple(dict.fromkeys(walk.kernel for walk in hits)),
        seconds=tuple(sorted(walk.seconds for walk in hits)),
        median_s=statistics.median(
            t.aimed.seconds if t.aimed.found else t.budget_s for t in each
        ),
        requests=tuple(sorted(walk.requests for walk in hits)),
        blind_found=sum(b.found for _, b in blind),
        blind_trials=len(blind),
        blind_full=sum(not b.found and b.cap != "requests" for _, b in blind),
        blind_requests=tuple(sorted(b.requests for _, b in blind)),
        blind_open=any(not b.found for _, b in blind),
        ratios=tuple(sorted(b.requests / max(1, a.requests) for a, b in shown)),
        ratios_open=any(not b.found for _, b in shown),
        model_found=sum(opinion.found for opinion in opinions),
        model_asked=len(opinions),
        model=tuple(dict.fromkeys(opinion.told for opinion in opinions)),
    )


def rows(trials: Iterable[Trial]) -> list[Row]:
    by_name: dict[str, list[Trial]] = {}
    for trial in trials:
        by_name.setdefault(trial.mutant, []).append(trial)
    return [
        _row(name, each)
        for name, each in sorted(by_name.items(), key=lambda item: (item[1][0].kind, item[0]))
    ]


def spread(values: Sequence[float], at_least: bool = False) -> str:
    """Median and range."""
    if not values:
        return "-"
    mark = "≥" if at_least else ""
    ordered = sorted(values)
    middle = statistics.median(ordered)
    if len(ordered) == 1 or ordered[0] == ordered[-1]:
        return f"{mark}{_short(middle)}"
    return f"{mark}{_short(middle)} ({_short(ordered[0])}..{_short(ordered[-1])})"


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def markdown(table: Sequence[Row], repeats: Mapping[str, str] | None = None) -> str:
    """Every mutant; `repeats`: what replaying its token gave."""
    titles = ["mutant", "class", "race", "found", "oracle", "title", "s to find", "requests to find"]
    blind = any(row.blind_trials for row in table)
    titles += ["blind found", "blind requests", "ratio"] if blind else []
    model = any(row.model_asked for row in table)
    titles += ["model"] if model else []
    titles += ["repeated"] if repeats else []
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for row in table:
        cells = [
            row.mutant, row.kind, "yes" if row.race else "", f"{row.found}/{row.trials}",
            ", ".join(row.oracles) or "-", row.titles[0] if row.titles else "-",
            spread(row.seconds), spread(row.requests),
        ]  # fmt: skip
        if blind:
            told = f"{row.blind_found}/{row.blind_trials}" if row.blind_trials else ""
            cells += [
                told,
                spread(row.blind_requests, row.blind_open) if told else "",
                spread([row.ratio], row.ratios_open) if row.ratio is not None else "",
            ]
        cells += [", ".join(row.model)] if model else []
        cells += [repeats.get(row.mutant, "")] if repeats else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def summary(table: Sequence[Row], budget_s: float) -> list[str]:
    found = sum(row.always for row in table)
    trials = sum(row.trials for row in table)
    hits = sum(row.found for row in table)
    kinds = len({row.kind for row in table})
    lines = [
        f"{found} of {len(table)} mutants found with every seed ({kinds} classes); "
        f"{hits} of {trials} searches ({hits / max(1, trials):.0%}) within {budget_s:g} guest-seconds"
    ]
    if table:
        middle = statistics.median(row.median_s for row in table)
        seconds = [second for row in table for second in row.seconds]
        lines.append(
            f"median over all mutants, guest-seconds to find: {_short(middle)}; "
            f"of the searches that found: {spread(seconds)}"
        )
    ratios = [row.ratio for row in table if row.ratio is not None]
    races = [row for row in table if row.blind_trials]
    if races and ratios:
        still = any(row.ratios_open for row in races)
        lines.append(
            f"blind stress needs {spread(ratios, still)} times the requests, "
            f"median over {len(ratios)} races"
        )
        given_up = sum(not row.blind_misses and row.blind_found < row.blind_trials for row in races)
        lines.append(
            f"blind stress missed {sum(row.blind_misses for row in races)} of {len(races)} races in "
            f"{budget_s:g} s in most seeds, found {sum(row.blind_found > 0 for row in races)} "
            f"in some; given up at {BLIND_TIMES} times the requests before: {given_up}"
        )
    sometimes = [f"{row.mutant} {row.found}/{row.trials}" for row in table if 0 < row.found < row.trials]
    never = [row.mutant for row in table if not row.found]
    if sometimes:
        lines.append("sometimes: " + ", ".join(sometimes))
    if never:
        lines.append("missed: " + ", ".join(never))
    asked = sum(row.model_asked for row in table)
    if asked:
        shown = [row.mutant for row in table if row.model_found]
        lines.append(f"of {asked} missed searches the model of the driver shows "
                     f"{sum(row.model_found for row in table)}: {', '.join(shown) or 'none'}")
    return lines


def readme_part(
    table: Sequence[Row], how: str, said: Sequence[str], repeats: Mapping[str, str], alone: str,
    others: str = "",
) -> str:
    """What stands between the two marks: how it was measured, the summary, what each oracle finds
    alone, and the table, folded up; `others` is another table, whole."""
    head = [BEGIN, how, "", *(f"- {line}" for line in said), ""]
    fold = ["<details><summary>each mutant</summary>", "", markdown(table, repeats), "</details>"]
    more = ["", others] if others else []
    return "\n".join([*head, *([alone] if alone else []), *fold, *more, END])


def put_between_marks(path: Path, part: str) -> None:
    """Replaces what stands from mark to mark; ConfigurationError where there are none."""
    try:
        text = path.read_text()
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ConfigurationError(f"{path} has no lines {BEGIN!r} and {END!r} to put the score between")
    path.write_text(head + part + tail)


EXIT_ALL_FOUND = 0
EXIT_MISSED = 1
EXIT_ERRORS = 3


def exit_status(table: Sequence[Row]) -> int:
    """3 when a mutant was missed in a trial whose harness broke; 1 when one was missed."""
    missed = [row for row in table if not row.always]
    if not table or any(row.errors for row in missed):
        return EXIT_ERRORS
    return EXIT_MISSED if missed else EXIT_ALL_FOUND
