"""What is an oracle for? Mutants that it shows first are searched for again with it muted.

What is then missed it alone finds. Kept in alone.jsonl beside the score, a trial a line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aiotorture.score.trials import Trial

ALONE = "alone.jsonl"
ENOUGH = 2
"""Mutants that an oracle alone finds; then the next oracle is asked for."""


def candidates(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    """oracle -> a found trial for each mutant that no other oracle saw first, with any seed; those
    with no other oracle's finding in the same cell come first."""
    first: dict[str, set[str]] = {}
    for trial in trials:
        if trial.aimed.found:
            first.setdefault(trial.mutant, set()).add(trial.aimed.oracle)
    by_oracle: dict[str, dict[str, Trial]] = {}
    for trial in trials:
        if trial.aimed.found and len(first[trial.mutant]) == 1:
            by_oracle.setdefault(trial.aimed.oracle, {}).setdefault(trial.mutant, trial)
    return {
        oracle: sorted(each.values(), key=lambda trial: (len(trial.aimed.oracles), trial.mutant))
        for oracle, each in sorted(by_oracle.items())
    }


def found_by_it_alone(kept: Iterable[Trial], oracle: str) -> list[str]:
    return [t.mutant for t in kept if t.without == (oracle,) and not t.aimed.found]


def markdown(kept: Sequence[Trial]) -> str:
    lines = ["| oracle | found by it alone | found by others without it |", "|---|---|---|"]
    for oracle in dict.fromkeys(trial.without[0] for trial in kept if trial.without):
        of_it = [trial for trial in kept if trial.without == (oracle,)]
        others = [f"{t.mutant} ({t.aimed.oracle})" for t in of_it if t.aimed.found]
        alone = found_by_it_alone(of_it, oracle)
        lines.append(f"| {oracle} | {', '.join(alone) or '-'} | {', '.join(others) or '-'} |")
    return "\n".join(lines) + "\n"
