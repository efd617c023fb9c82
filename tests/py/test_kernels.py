"""Rows of kernels.toml."""

from __future__ import annotations

import re

import pytest

from aiotorture import kernels
from aiotorture.errors import ConfigurationError


@pytest.mark.parametrize(
    ("series", "package", "abi"),
    [
        ("6.1", "linux-image-6.1.0-56-amd64-unsigned", "6.1.0-56"),
        ("6.1-rt", "linux-image-6.1.0-56-rt-amd64-unsigned", "6.1.0-56"),
        ("5.10", "linux-image-5.10.0-39-amd64-unsigned", "5.10.0-39"),
        ("6.12", "linux-image-6.12.43+deb12-amd64-unsigned", "6.12.43+deb12"),
        ("7.3", "linux-binary-unsigned-7.3.4+deb13-amd64", "7.3.4+deb13"),
    ],
)
def test_a_row_knows_its_package(series: str, package: str, abi: str) -> None:
    named = re.fullmatch(kernels.row_of(series).image, package)
    assert named is not None and named.group("abi") == abi


def test_flavours_are_not_taken_for_the_plain_kernel() -> None:
    row = kernels.row_of("6.1")
    assert not re.fullmatch(row.image, "linux-image-6.1.0-56-rt-amd64-unsigned")
    assert not re.fullmatch(row.image, "linux-image-6.1.0-56-cloud-amd64-unsigned")


def test_an_unknown_kernel_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=r"unknown kernel 'nonsense'.*6\.1"):
        kernels.row_of("nonsense")


def test_exactly_one_row_is_the_default() -> None:
    assert kernels.default_series() == ["6.1"]
