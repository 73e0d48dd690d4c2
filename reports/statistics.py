"""Two tests, small and exact enough: do the values of two runs differ, do two shares differ."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple


class Comparison(NamedTuple):
    """Two samples compared: how often a value of the second exceeds one of the first, and the two-sided p value."""

    greater: float
    p: float


def mann_whitney(first: Iterable[tuple[float, int]], second: Iterable[tuple[float, int]]) -> Comparison | None:
    """Compare two samples, given as values with the number of times that each occurs, by their ranks.

    ``greater`` is the share of all pairs in which the value of the second sample is the larger one, ties counted half:
    0.5 says that neither tends to be larger. The p value is that of the normal approximation with continuity and tie
    correction, which needs some eight values on either side: with fewer, or when all values are equal, the result is
    ``None``.
    """
    marked = sorted([(value, 0, amount) for value, amount in first] + [(value, 1, amount) for value, amount in second])
    sizes = [sum(amount for _, side, amount in marked if side == which) for which in (0, 1)]
    if min(sizes) < 8:
        return None
    wins, below, ties = 0.0, 0, 0
    for _, group in groupby(marked, key=lambda entry: entry[0]):
        amounts = [0, 0]
        for _, side, amount in group:
            amounts[side] += amount
        wins += amounts[1] * (below + amounts[0] / 2)
        below += amounts[0]
        tied = sum(amounts)
        ties += tied**3 - tied
    total, pairs = sum(sizes), sizes[0] * sizes[1]
    variance = pairs / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return None
    distance = max(0.0, abs(wins - pairs / 2) - 0.5)
    return Comparison(wins / pairs, math.erfc(distance / math.sqrt(2 * variance)))


def fisher(first: tuple[int, int], second: tuple[int, int]) -> float | None:
    """Return the two-sided p value of Fisher's exact test on two shares, each as part and whole; ``None`` if empty."""
    (hits, size), (others, room) = first, second
    whole, drawn = size + room, hits + others
    if min(size, room) < 1 or not 0 <= hits <= size or not 0 <= others <= room:
        return None
    if drawn in (0, whole):
        return 1.0

    def weight(k: int) -> float:
        return _log_choose(size, k) + _log_choose(room, drawn - k)

    scale, seen = _log_choose(whole, drawn), weight(hits)
    support = range(max(0, drawn - room), min(size, drawn) + 1)
    return min(1.0, math.fsum(math.exp(w - scale) for k in support if (w := weight(k)) <= seen + 1e-7))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
