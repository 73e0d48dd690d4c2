"""The statistics behind the test for a steady state: trends of short series whose values may depend on each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations, pairwise
from statistics import fmean, median
from typing import Final, NamedTuple

_MOST_CORRELATED: Final = 0.9
_Z95: Final = 1.96


class Trend(NamedTuple):
    """A trend: its slope (unit of the values a second), 95 % confidence interval, and two-sided p value."""

    slope: float
    low: float
    high: float
    p: float


def student_tail(t: float, degrees: int) -> float:
    """Return the two-sided p value of Student's t with a whole number of degrees of freedom (A & S 26.7.3, 26.7.4)."""
    angle = math.atan(abs(t) / math.sqrt(degrees))
    cosine, sine = math.cos(angle), math.sin(angle)
    total = 0.0
    term = cosine if degrees % 2 else 1.0
    for step in range(2 + degrees % 2, degrees + 1, 2):
        total += term
        term *= cosine**2 * (step - 1) / step
    inside = 2 / math.pi * (angle + sine * total) if degrees % 2 else sine * total
    return min(1.0, max(0.0, 1 - inside))


def correlation_factor(residuals: Sequence[float]) -> float:
    """Return by how much dependence between neighbours raises the variance of a mean: ``(1 + r) / (1 - r)``.

    ``r`` is the lag-1 autocorrelation, corrected for its bias in short series; below 0 it counts as 0, and no more than
    0.9 is believed.
    """
    n = len(residuals)
    mean = fmean(residuals)
    centred = [value - mean for value in residuals]
    spread = sum(value * value for value in centred)
    if n < 5 or not spread:
        return 1.0
    found = sum(one * other for one, other in pairwise(centred)) / spread
    r = min(_MOST_CORRELATED, max(0.0, (found + 1 / n) / (1 - 3 / n)))
    return (1 + r) / (1 - r)


def effective_degrees(n: int, factor: float) -> int:
    """Return the degrees of freedom of a line or two levels through ``n`` values, of which dependent ones count less.

    ``factor`` is what :func:`correlation_factor` returns: ``n / factor`` independent values would show as much.
    """
    return max(1, round(n / factor) - 2)


def theil_sen(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the median of the slopes between all pairs of points."""
    return median(_slopes(times, values))


def _slopes(times: Sequence[float], values: Sequence[float]) -> list[float]:
    points = list(zip(times, values, strict=True))
    return sorted((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2))


def kendall_trend(times: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the Mann-Kendall trend of a series, with Sen's slope and confidence interval.

    ``times`` rise. The variance is corrected for ties and for the dependence of neighbours.
    """
    n = len(values)
    slopes = _slopes(times, values)
    slope = median(slopes)
    score = sum((one > 0) - (one < 0) for one in slopes)
    ties = [values.count(value) for value in set(values)]
    variance = (n * (n - 1) * (2 * n + 5) - sum(t * (t - 1) * (2 * t + 5) for t in ties)) / 18
    if variance <= 0:
        return Trend(slope, slope, slope, 1.0)
    base = median(value - slope * at for at, value in zip(times, values, strict=True))
    residuals = [value - base - slope * at for at, value in zip(times, values, strict=True)]
    factor = correlation_factor(residuals)
    deviation = math.sqrt(variance * factor)
    p = math.erfc(max(0.0, abs(score) - 1) / deviation / math.sqrt(2))
    # Ranks cannot see that the residuals of a smooth series are small beside its trend; the slope's own error can.
    middle = fmean(times)
    spread = sum((at - middle) ** 2 for at in times)
    error = math.sqrt(sum(one * one for one in residuals) / (n - 2) / spread * factor)
    p = min(p, student_tail(slope / error, n - 2) if error else 0.0)
    reach = _Z95 * deviation
    low = slopes[max(0, math.floor((len(slopes) - reach) / 2))]
    high = slopes[min(len(slopes) - 1, math.ceil((len(slopes) + reach) / 2))]
    return Trend(slope, low, high, p)
