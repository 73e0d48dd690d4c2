"""A mergeable histogram of microseconds with a relative error of at most 0.05 %.

The buckets are those of :mod:`rejoinder.model.buckets`. Merging adds counts, so the histogram of a run is the same
however its requests were spread over processes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rejoinder.model.buckets import bucket, bucket_value


class Histogram:
    """Counts of durations in microseconds. ``min``, ``max``, ``n`` and ``sum`` are exact (to the microsecond)."""

    __slots__ = ("counts", "max", "min", "n", "sum")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.n = 0
        self.sum = 0
        self.min = 0
        self.max = 0

    def add(self, seconds: float) -> None:
        """Count one duration in seconds; a negative one counts as zero."""
        value = round(seconds * 1e6) if seconds > 0 else 0
        key = bucket(value)
        self.counts[key] = self.counts.get(key, 0) + 1
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
        self.min = min(self.min, other.min) if self.n else other.min
        self.max = max(self.max, other.max)
        self.n += other.n
        self.sum += other.sum

    def percentile(self, percent: float) -> float | None:
        """Return the nearest-rank percentile in seconds, or ``None`` when nothing was counted."""
        if not self.n:
            return None
        # Rounded first: 0.99 * 100 is 99.00000000000001 in floating point, which must be rank 99 and not 100.
        return self.at_rank(math.ceil(round(percent * self.n / 100, 9)))

    def at_rank(self, rank: int) -> float | None:
        """Return the ``rank``-th smallest duration in seconds, or ``None`` when nothing was counted."""
        if not self.n:
            return None
        if rank >= self.n:
            return self.max / 1e6
        seen = 0
        for key in sorted(self.counts):
            seen += self.counts[key]
            if seen >= rank:
                return min(max(bucket_value(key), self.min), self.max) / 1e6
        raise AssertionError("the counts do not add up to n")

    @property
    def mean(self) -> float | None:
        """The mean in seconds, or ``None`` when nothing was counted."""
        return self.sum / self.n / 1e6 if self.n else None

    def to_json(self) -> dict[str, Any]:
        """Return the fields of a ``histogram`` sample line, without ``metric``."""
        return {
            "unit": "us",
            "n": self.n,
            "sum": self.sum,
            "min": self.min,
            "max": self.max,
            "counts": {str(key): self.counts[key] for key in sorted(self.counts)},
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Histogram:
        """Rebuild a histogram from :meth:`to_json`'s form; raises ``ValueError`` on anything else."""
        histogram = cls()
        try:
            histogram.counts = {int(key): int(count) for key, count in record["counts"].items()}
            histogram.n, histogram.sum = int(record["n"]), int(record["sum"])
            histogram.min, histogram.max = int(record["min"]), int(record["max"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a histogram: {error!r}") from error
        if sum(histogram.counts.values()) != histogram.n:
            raise ValueError("not a histogram: the counts do not add up to n")
        return histogram

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return self.to_json() == other.to_json()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Histogram n={self.n} p50={self.percentile(50)} p99={self.percentile(99)} max={self.max / 1e6}>"
