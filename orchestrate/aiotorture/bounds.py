"""What a number of tries proves.

C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case
of the binomial", Biometrika 26 (1934): the limits are quantiles of a beta distribution. They hold
for independent tries; requests of one try are not independent, so `tries` counts window tries and
never requests.
"""

from __future__ import annotations

import math

CONFIDENCE = 0.95


def upper_bound(tries: int) -> float | None:
    """Upper 95 % bound (one-sided) on the failure rate per try after no failure in `tries`.

    None when nothing was tried. For large `tries` this is the rule of three, 3 / tries.
    """
    if tries <= 0:
        return None
    return -math.expm1(math.log(1.0 - CONFIDENCE) / tries)


def interval(hits: int, tries: int) -> tuple[float, float]:
    """Two-sided 95 % Clopper-Pearson interval of a hit rate. ValueError unless 0 ≤ hits ≤ tries."""
    if not 0 <= hits <= tries:
        raise ValueError(f"{hits} hits of {tries} tries")
    if tries == 0:
        return 0.0, 1.0
    tail = (1.0 - CONFIDENCE) / 2
    low = 0.0 if hits == 0 else _beta_quantile(tail, hits, tries - hits + 1)
    high = 1.0 if hits == tries else _beta_quantile(1.0 - tail, hits + 1, tries - hits)
    return low, high


def _beta_quantile(p: float, a: float, b: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(64):
        middle = (low + high) / 2
        if _beta_cdf(middle, a, b) < p:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b) by its continued fraction (A&S 26.5.8)."""
    if x <= 0.0 or x >= 1.0:
        return 0.0 if x <= 0.0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1.0 - _beta_cdf(1.0 - x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    front = math.exp(log_front + a * math.log(x) + b * math.log1p(-x)) / a
    return front * _lentz(x, a, b)


def _lentz(x: float, a: float, b: float) -> float:
    tiny = 1e-300
    c = 1.0
    d = 1.0 / _nonzero(1.0 - (a + b) * x / (a + 1), tiny)
    product = d
    for m in range(1, 500):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1.0 / _nonzero(1.0 + term * d, tiny)
            c = _nonzero(1.0 + term / c, tiny)
            step = c * d
            product *= step
        if abs(step - 1.0) < 1e-14:
            break
    return product


def _nonzero(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
