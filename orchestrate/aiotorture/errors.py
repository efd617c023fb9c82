"""What can go wrong outside a cell, each with the exit status that it means."""

from __future__ import annotations

EXIT_NOTHING_FOUND = 0
EXIT_FINDINGS = 1
EXIT_USAGE = 2
EXIT_UNPROVEN = 3
EXIT_INTERRUPTED = 130


class ConfigurationError(Exception):
    """Bad usage or a machine that cannot be set up; printed as one line, exit status 2."""


class HarnessError(Exception):
    """The harness broke, not the subject: the cell's verdict is ERROR."""
