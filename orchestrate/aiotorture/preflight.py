"""What can be known to be wrong before a guest runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from aiotorture import processes
from aiotorture.errors import ConfigurationError
from aiotorture.knobs import Description
from aiotorture.matrix import Cell
from aiotorture.plan import PlanError

DESCRIBE_TIMEOUT_S = 20.0


def describe(agent: Path) -> Description:
    """The agent's own words on its scenarios; the static binary runs on the host as well."""
    said = processes.output([agent, "describe"], timeout_s=DESCRIBE_TIMEOUT_S)
    try:
        return Description.from_json(json.loads(said.stdout))
    except (ValueError, KeyError) as error:
        raise ConfigurationError(f"the agent does not describe itself: {error}") from error


def check_plans(agent: Path, cells: Sequence[Cell]) -> None:
    described = describe(agent)
    for cell in cells:
        try:
            described.validate(cell.plan)
        except PlanError as error:
            raise ConfigurationError(f"plan of {cell.id}: {error}") from error
