"""The first place where two JSON values differ."""

from __future__ import annotations

from typing import Any

from rejoinder.model.verdict import ABSENT
from rejoinder.validation import escape_key


def first_difference(expected: Any, actual: Any, pointer: str = "") -> tuple[str, Any, Any] | None:
    """Return pointer, expected and actual of the first difference, or ``None`` when the values are equal.

    Numbers are equal across int and float; true is not 1. Where one side lacks a key, its value is :data:`ABSENT`.
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
    return None if expected == actual else (pointer, expected, actual)
