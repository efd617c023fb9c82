"""A knob that no plan sets is not handed to the module: what it says of itself must be the module's default."""

from __future__ import annotations

import re

import pytest
from aiotorture import paths

DECLARED = re.compile(
    r"^(?:static )?(?:unsigned int|int|bool|char \*) ?\*?(\w+)(?: = ([^;]+))?;\nmodule_param(?:_named)?\((\w+)",
    re.M,
)
KNOB = re.compile(r'\{"(\w+)", Scope::target, Kind::\w+, "([^"]*)"')

NUMBERS = {"": "0", "false": "0", "true": "1"}
DEFAULTS = {
    name: NUMBERS.get(default, default.strip('"'))
    for _, default, name in DECLARED.findall((paths.ROOT / "driver" / "zcdma.c").read_text())
}
KNOBS = dict(KNOB.findall((paths.ROOT / "stress" / "lib" / "knobs.cpp").read_text()))


@pytest.mark.parametrize("name", sorted(KNOBS))
def test_a_knob_of_the_target_says_the_default_of_its_parameter(name: str) -> None:
    assert KNOBS[name] == DEFAULTS[name]


def test_each_parameter_of_the_driver_is_a_knob() -> None:
    assert set(DEFAULTS) == set(KNOBS) and len(KNOBS) > 10
