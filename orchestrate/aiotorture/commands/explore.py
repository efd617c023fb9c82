"""`explore CORE`: builds the model through CMake and hands its arguments on to at-explore."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from aiotorture import build, packages


def main(arguments: Sequence[str]) -> int:
    packages.ensure(packages.MODEL)
    binary = build.model_target("at-explore") / "at-explore"
    sys.stdout.flush()
    os.execv(binary, [str(binary), *arguments])
