"""The command line. Each subcommand is a module in commands/; this one only finds and guards it."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from aiotorture.errors import EXIT_INTERRUPTED, EXIT_UNPROVEN, EXIT_USAGE, ConfigurationError, HarnessError

COMMANDS = {
    "run": "run the matrix",
    "test": "everything that proves the project itself",
    "score": "planted-bug score: which mutants are found, by which oracle, how fast",
    "repro": "repeat a finding from its token, bundle or log",
    "minimise": "the smallest plan that still shows a finding",
    "explore": "the model lane: search one AIO core",
    "bench": "benchmarks, in a guest",
    "report": "write the reports of a run again",
    "history": "results of past runs",
    "kernels": "list or fetch kernels",
    "doctor": "what this machine has and lacks",
    "new": "generate a scenario, mutant or target",
    "lab": "boards",
}

EXIT_STATUSES = """exit status:
  0    nothing found
  1    findings (known ones aside)
  2    bad usage or configuration
  3    no finding, but an ERROR or MISS
  130  interrupted; results so far are kept
"""


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {what}" for name, what in COMMANDS.items()]
    head = "usage: ./aiotorture COMMAND [options]      (COMMAND --help tells more)\n\ncommands:\n"
    return head + "\n".join(lines) + "\n\n" + EXIT_STATUSES


def parser(command: str) -> argparse.ArgumentParser:
    """A parser with what every command has."""
    made = argparse.ArgumentParser(
        prog=f"./aiotorture {command}",
        description=COMMANDS[command],
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage(), end="")
        return 0 if words else EXIT_USAGE
    command, rest = words[0], words[1:]
    if command not in COMMANDS:
        print(f"aiotorture: unknown command {command!r}; see ./aiotorture --help", file=sys.stderr)
        return EXIT_USAGE
    try:
        module = importlib.import_module(f"aiotorture.commands.{command}")
    except ModuleNotFoundError as error:
        if error.name != f"aiotorture.commands.{command}":
            raise
        print(f"aiotorture: {command} is not part of this version", file=sys.stderr)
        return EXIT_USAGE
    try:
        return int(module.main(rest))
    except ConfigurationError as error:
        print(f"aiotorture: {error}", file=sys.stderr)
        return EXIT_USAGE
    except HarnessError as error:
        print(f"aiotorture: {error}", file=sys.stderr)
        return EXIT_UNPROVEN
    except KeyboardInterrupt:
        print("aiotorture: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
