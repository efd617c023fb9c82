"""Ready guests: a guest whose clock runs wrong is not kept."""

from __future__ import annotations

import pytest

from aiotorture.readyguest import clock_is_right


@pytest.mark.parametrize(
    "guest_s, least_s, most_s, right",
    [
        (1.00, 1.00, 1.01, True),
        (1.08, 1.00, 1.20, True),  # a slow answer: somewhere in between
        (3.00, 1.00, 3.00, True),  # a host so slow that nothing else can be said
        (2.80, 1.00, 1.05, False),  # counted too few ticks of the TSC
        (0.50, 1.00, 1.05, False),
        (0.00, 1.00, 1.05, False),  # stands still
    ],
)
def test_a_clock_is_held_to_the_hosts(
    guest_s: float, least_s: float, most_s: float, right: bool
) -> None:
    assert clock_is_right(guest_s, least_s, most_s) is right
