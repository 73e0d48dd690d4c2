"""Which differences between JSON values count."""

from __future__ import annotations

from typing import Any

import pytest

from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.model.verdict import ABSENT


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a": None}, {}),
        ({}, {"a": None, "c": None}),
        ({"a": {"b": None}}, {"a": {}}),
        (0.1, 0.10000000149011612),
        (0.8999999761581421, 0.9),
        (1, 1.0),
    ],
)
def test_equal(left: Any, right: Any) -> None:
    assert first_difference(left, right) is None
    assert first_difference(right, left) is None


@pytest.mark.parametrize(
    ("left", "right", "where"),
    [
        ({"a": None}, {"a": 0}, ("/a", None, 0)),
        ({"a": 0}, {}, ("/a", 0, ABSENT)),
        ([None], [], ("/0", None, ABSENT)),
        (0.1, 0.1000001, ("", 0.1, 0.1000001)),
        (0.1, 0.11, ("", 0.1, 0.11)),
        (1_760_000_000.5, 1_760_000_000.0, ("", 1_760_000_000.5, 1_760_000_000.0)),
        (16_777_217, 16_777_216, ("", 16_777_217, 16_777_216)),
        (1, True, ("", 1, True)),
    ],
)
def test_different(left: Any, right: Any, where: tuple[str, Any, Any]) -> None:
    assert first_difference(left, right) == where
