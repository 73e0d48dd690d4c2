"""Keys of log-linear buckets (the idea of HdrHistogram), by which histograms stand in run files.

A whole number below 2048 has a bucket of its own; above, the 11 most significant bits of a number name its bucket and
the bits over them say how far they are shifted. So any number in a bucket is known to 1/2048 of itself.
"""

from __future__ import annotations

from typing import Final

SIGNIFICANT_BITS: Final = 11
_MANTISSA: Final = (1 << SIGNIFICANT_BITS) - 1


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
