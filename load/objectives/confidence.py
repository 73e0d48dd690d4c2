"""What a sample allows to claim about a percentile: MLPerf's early-stopping bound.

A percentile read from few values is a guess. The bound is a value that the true percentile exceeds with a probability
of at most 1 %: of n values the t-th largest, with the greatest t for which a binomial variable of n trials with the
probability 1 - p is at most t in at most 1 % of all cases. Below a number of values (64 for p90, 662 for p99) there is
no such value, and nothing can be claimed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from functools import cache
from typing import Final

from rejoinder.formatting import value_of
from rejoinder.model.histogram import Histogram, values_for
from rejoinder.model.samples import PERCENTILES, Percentile, Percentiles, percentile_field

CONFIDENCE: Final = 0.99
DOUBT: Final = 1 - CONFIDENCE


def values_above(n: int, percent: float) -> int:
    """Return t, the rank from above of the bound among ``n`` values; 0 when there are too few for any."""
    tail = 1 - percent / 100
    if not 0 < tail < 1 or n < 1:
        return 0
    # Far below the mean the sum is nothing, so the terms are added from ten deviations below it.
    first = max(0, math.floor(n * tail - 10 * math.sqrt(n * tail * (1 - tail))) - 1)
    logarithm = _log_probability(first, n, tail)
    total = 0.0
    for count in range(first, n + 1):
        total += math.exp(logarithm)
        if total > DOUBT:
            return max(0, count - 1)
        if count < n:
            logarithm += math.log((n - count) / (count + 1)) + math.log(tail) - math.log1p(-tail)
    return n


def share_bound(found: int, n: int) -> float | None:
    """Return the share that the true one does not exceed with 99 %, ``found`` of ``n`` having been counted.

    That is the upper limit of Clopper and Pearson; ``None`` where nothing was looked at.
    """
    if n < 1:
        return None
    if found >= n:
        return 1.0
    low, high = found / n, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if _at_most(found, n, middle) > DOUBT:
            low = middle
        else:
            high = middle
    return high


def _at_most(found: int, n: int, share: float) -> float:
    """Return how likely at most ``found`` of ``n`` are, each with the probability ``share``."""
    if not 0 < share < 1:
        return float(share <= 0)
    # Terms that are nothing beside the last one are left out.
    first = max(0, found - 20 - math.ceil(10 * math.sqrt(n * share * (1 - share))))
    return math.fsum(math.exp(_log_probability(count, n, share)) for count in range(first, found + 1))


def _log_probability(found: int, n: int, share: float) -> float:
    """Return the logarithm of how likely just ``found`` of ``n`` are, each with the probability ``share``."""
    ways = math.lgamma(n + 1) - math.lgamma(found + 1) - math.lgamma(n - found + 1)
    return ways + found * math.log(share) + (n - found) * math.log1p(-share)


@cache
def values_needed(percent: float) -> int:
    """Return the least number of values with which a percentile has a bound: 64 for p90, 662 for p99."""
    high = 2
    while not values_above(high, percent):
        high *= 2
    return bisect_left(range(high), 1, key=lambda n: values_above(n, percent))


def upper_bound(histogram: Histogram, percent: float, strangers: int = 0) -> float | None:
    """Return the value in seconds that the true percentile does not exceed.

    ``strangers`` is how many of the values must not count. Which they are is not known, so the smallest are taken for
    them. ``None`` with too few values, or where the bound is a value without a known end.
    """
    above = values_above(histogram.n - strangers, percent)
    figure = histogram.at_rank(histogram.n - above + 1) if above else None
    return None if figure is None or figure.at_least else figure.value


def lower_bound(histogram: Histogram, percent: float, strangers: int = 0) -> float | None:
    """Return the value that the true percentile is not below, for more is better; ``None`` with too few values.

    The largest values are taken for the ``strangers`` among them, as in :func:`upper_bound`.
    """
    below = values_above(histogram.n - strangers, 100 - percent)
    return value_of(histogram.at_rank(below)) if below else None


def percentile_lines(histograms: Mapping[str, Histogram]) -> list[Percentiles]:
    """Return each metric's percentiles: value and bound, or how many values either takes."""
    return [
        Percentiles(
            metric=metric,
            n=histograms[metric].n,
            **{percentile_field(percent): _percentile(histograms[metric], percent) for percent in PERCENTILES},
        )
        for metric in sorted(histograms)
    ]


def _percentile(histogram: Histogram, percent: float) -> Percentile:
    figure, needed = histogram.percentile(percent), values_needed(percent)
    return Percentile(
        value=figure and figure.value,
        at_least=figure is not None and figure.at_least,
        value_needs=values_for(percent) if figure is None else None,
        bound=upper_bound(histogram, percent),
        needs=needed if histogram.n < needed else None,
    )
