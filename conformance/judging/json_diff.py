"""The first place where two JSON values differ."""

from __future__ import annotations

import struct
from typing import Any, Final

from rejoinder.model.verdict import ABSENT
from rejoinder.validation import escape_key

_LARGEST: Final = 1e6
"""Above it, different numbers are often equal in single precision."""


def first_difference(expected: Any, actual: Any, pointer: str = "") -> tuple[str, Any, Any] | None:
    """Return pointer, expected and actual of the first difference, or ``None`` when the values are equal.

    Numbers are equal across int and float; true is not 1. Two prints of one number in single precision are equal
    (0.1 and 0.10000000149011612). A field that is null equals one that is missing, since typed clients cannot tell them
    apart. Where one side lacks a key, its value is :data:`ABSENT`.
    """
    if isinstance(expected, dict) and isinstance(actual, dict):
        for key in [*expected, *(key for key in actual if key not in expected)]:
            found = first_difference(expected.get(key, ABSENT), actual.get(key, ABSENT), f"{pointer}/{escape_key(key)}")
            if found:
                return found
        return None
    if isinstance(expected, list) and isinstance(actual, list):
        for i, (left, right) in enumerate(zip(expected, actual, strict=False)):
            found = first_difference(left, right, f"{pointer}/{i}")
            if found:
                return found
        if len(expected) == len(actual):
            return None
        i = min(len(expected), len(actual))
        left = expected[i] if i < len(expected) else ABSENT
        right = actual[i] if i < len(actual) else ABSENT
        return f"{pointer}/{i}", left, right
    if isinstance(expected, bool) or isinstance(actual, bool):
        return None if expected is actual else (pointer, expected, actual)
    if expected == actual or _are_one_single(expected, actual):
        return None
    return None if _is_nothing(expected) and _is_nothing(actual) else (pointer, expected, actual)


def _is_nothing(value: Any) -> bool:
    return value is None or value is ABSENT


def _are_one_single(left: Any, right: Any) -> bool:
    """Whether two numbers, not both integers, are prints of one number in single precision."""
    numbers = isinstance(left, int | float) and isinstance(right, int | float)
    if not numbers or (isinstance(left, int) and isinstance(right, int)) or max(abs(left), abs(right)) > _LARGEST:
        return False
    first, second = (struct.unpack("<f", struct.pack("<f", number))[0] for number in (left, right))
    return bool(first == second and (first == left or second == right))
