"""`explore CORE`: builds the model through CMake and hands its arguments on to at-explore."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from aiotorture import build, packages, paths
from aiotorture.errors import ConfigurationError


def main(arguments: Sequence[str]) -> int:
    if not (paths.ROOT / "model/CMakeLists.txt").is_file():
        raise ConfigurationError("model/ is not part of this tree")
    packages.ensure(packages.MODEL)
    folder = build.cmake_target("at-explore")
    binary = next((p for p in (folder / "at-explore", folder / "model/at-explore") if p.is_file()))
    sys.stdout.flush()
    os.execv(binary, [str(binary), *arguments])
