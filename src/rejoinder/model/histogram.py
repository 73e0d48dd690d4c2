"""A mergeable histogram of microseconds, and the one definition of a percentile.

Buckets are log-linear (the idea of HdrHistogram): a whole number below 2048 has a bucket of its own; above, the 11 most
significant bits of a number name its bucket and the bits over them say how far they are shifted. So a value is known to
1/2048 of itself. Merging adds counts, so the histogram of a run is the same however its requests were spread over
processes.

Some values have no known end: a request that was cut off after 60 s took longer than that. They are counted at the time
that was waited and marked as "at least". A percentile is exact where it is the same whether these values lie there or
at infinity. Otherwise it lies between the two, or all that is known is the smaller one (in survival analysis: right
censoring).
"""

from __future__ import annotations

import math
from typing import Annotated, Final, NamedTuple

from msgspec import Meta, Struct

from rejoinder.formatting import Figure

SIGNIFICANT_BITS: Final = 11
_MANTISSA: Final = (1 << SIGNIFICANT_BITS) - 1
_MAX_KEY: Final = (64 << SIGNIFICANT_BITS) - 1

Amount = Annotated[int, Meta(ge=0, le=2**62)]


def bucket(value: int) -> int:
    """Return the key of the bucket that holds a value (a whole number >= 0)."""
    shift = value.bit_length() - SIGNIFICANT_BITS
    return value if shift <= 0 else (shift << SIGNIFICANT_BITS) | (value >> shift)


def bucket_bounds(key: int) -> tuple[int, int]:
    """Return the whole numbers that a bucket key stands for, as a half-open range."""
    shift, mantissa = key >> SIGNIFICANT_BITS, key & _MANTISSA
    return mantissa << shift, (mantissa + 1) << shift


def bucket_value(key: int) -> int:
    """Return the middle of a bucket."""
    low, high = bucket_bounds(key)
    return low + (high - low) // 2


def values_for(percent: float) -> int:
    """Return the least number of values with which a percentile is given: 100 for p99 and p1, 1,000 for p99.9.

    With fewer not even one value lies beyond it, so the largest value would be passed off as a percentile, or the
    smallest for those below p50. The median is always given, and p0 and p100, which are those values.
    """
    tail = min(percent, 100 - percent)
    return 1 if tail >= 50 or tail <= 0 else math.ceil(round(100 / tail, 6))


class Bucket(NamedTuple):
    """``amount`` values in seconds around ``middle``, which is exact to 1/2048."""

    middle: float
    amount: int


class Histogram(Struct):
    """Counts of durations in microseconds, or of speeds in millionths. ``min``, ``max``, ``n`` and ``sum`` are exact.

    They cover all values, those without a known end at the time that was waited. ``at_least`` counts the latter again.
    """

    n: Annotated[Amount, Meta(description="number of values")] = 0
    sum: Annotated[Amount, Meta(description="sum of all values, in the unit")] = 0
    min: Annotated[Amount, Meta(description="smallest value, in the unit")] = 0
    max: Annotated[Amount, Meta(description="largest value, in the unit")] = 0
    counts: Annotated[
        dict[Annotated[int, Meta(ge=0, le=_MAX_KEY)], Annotated[int, Meta(ge=1, le=2**62)]],
        Meta(description="number of values by bucket key; buckets are log-linear with 11 significant bits"),
    ] = {}
    at_least: Annotated[
        dict[Annotated[int, Meta(ge=0, le=_MAX_KEY)], Annotated[int, Meta(ge=1, le=2**62)]],
        Meta(description="number of values in counts that are only known to be at least that long, by bucket key"),
    ] = {}

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for counts that do not add up to ``n``, or that have less than ``at_least`` has."""
        if sum(self.counts.values()) != self.n:
            raise ValueError("the counts do not add up to n")
        if any(count > self.counts.get(key, 0) for key, count in self.at_least.items()):
            raise ValueError("at_least has more values than counts")

    def add(self, seconds: float, *, at_least: bool = False) -> None:
        """Count one duration in seconds; a negative one counts as zero.

        ``at_least``: the duration has no known end, ``seconds`` is how long was waited for it.
        """
        value = round(seconds * 1e6) if seconds > 0 else 0
        key = bucket(value)
        self.counts[key] = self.counts.get(key, 0) + 1
        if at_least:
            self.at_least[key] = self.at_least.get(key, 0) + 1
        self.min = value if not self.n or value < self.min else self.min
        self.max = max(value, self.max)
        self.n += 1
        self.sum += value

    def merge(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        if not other.n:
            return
        for key, count in other.counts.items():
            self.counts[key] = self.counts.get(key, 0) + count
        for key, count in other.at_least.items():
            self.at_least[key] = self.at_least.get(key, 0) + count
        self.min = min(self.min, other.min) if self.n else other.min
        self.max = max(self.max, other.max)
        self.n += other.n
        self.sum += other.sum

    @property
    def unended(self) -> int:
        """The number of values without a known end."""
        return sum(self.at_least.values())

    def percentile(self, percent: float) -> Figure | None:
        """Return the nearest-rank percentile; ``None`` with fewer than :func:`values_for` values."""
        return self.nearest_rank(percent) if self.n >= values_for(percent) else None

    def nearest_rank(self, percent: float) -> Figure | None:
        """Return the value at rank ``ceil(percent / 100 * n)``; ``None`` only when nothing was counted.

        With few values this is the largest one: fit for comparing or for a limit, not to be shown as a percentile.
        """
        # Rounded first: 0.99 * 100 is 99.00000000000001 in floating point, which must be rank 99 and not 100.
        return self.at_rank(max(1, math.ceil(round(percent * self.n / 100, 9))))

    def at_rank(self, rank: int) -> Figure | None:
        """Return the ``rank``-th smallest duration, or ``None`` when nothing was counted.

        It is exact, to the width of a bucket, where it is the same with every end that the values without one may have.
        Otherwise it is the greatest lower bound, with the least upper bound where fewer values than that have no end.
        """
        if not self.n:
            return None
        rank = min(rank, self.n)
        # The first and the last value are known to the microsecond, the others to the width of a bucket.
        ends = {1: self.min, self.n: self.max}
        lowest: float | None = None
        seen = ended = 0
        for key in sorted(self.counts):
            seen += self.counts[key]
            ended += self.counts[key] - self.at_least.get(key, 0)
            if seen < rank:
                continue
            value = min(max(bucket_value(key), self.min), self.max) / 1e6
            if lowest is None:
                lowest = ends[rank] / 1e6 if rank in ends else value
                if ended >= rank:
                    return Figure(lowest)
            elif ended >= rank:
                return Figure(lowest, at_least=True, highest=max(lowest, value))
        assert lowest is not None
        return Figure(lowest, at_least=True)

    def above(self, limit: float) -> int:
        """Return how many values are known to be greater than a limit in seconds, to the resolution of the buckets."""
        return sum(bucket.amount for bucket in self.buckets if bucket.middle > limit)

    @property
    def buckets(self) -> list[Bucket]:
        """The buckets that hold values, the smallest values first; those without an end lie where the wait ended."""
        return [Bucket(bucket_value(key) / 1e6, self.counts[key]) for key in sorted(self.counts)]

    @property
    def mean(self) -> Figure | None:
        """The mean, or ``None`` when nothing was counted."""
        return Figure(self.sum / self.n / 1e6, at_least=bool(self.at_least)) if self.n else None

    @property
    def longest(self) -> Figure | None:
        """The largest value, or ``None`` when nothing was counted."""
        return self.at_rank(self.n)
