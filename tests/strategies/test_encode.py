from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.strategies.encode import RawJson, nested, to_bytes
from rejoinder.strategies.schema.leaves import json_values

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(json_values() | st.dictionaries(ANY_TEXT, ANY_TEXT) | st.integers())
def test_what_is_written_reads_back(value: Any) -> None:
    data = to_bytes(value)
    assert json.loads(data) == value
    assert data.isascii()


def test_surrogates_are_written_as_escapes() -> None:
    assert to_bytes({"a\ud800": "\udfff"}) == b'{"a\\ud800":"\\udfff"}'


@pytest.mark.parametrize("digits", [1, 999, 1000, 1001, 4299, 4300, 4301, 20_000, 100_000])
def test_integers_of_any_size(digits: int) -> None:
    for value, text in ((10 ** (digits - 1), "1" + "0" * (digits - 1)), (10**digits - 1, "9" * digits)):
        assert to_bytes(value).decode() == text
        assert to_bytes([-value]).decode() == f"[-{text}]"


@pytest.mark.slow(1)
def test_any_depth_and_raw_text() -> None:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    assert to_bytes(deep) == b"[" * 100_000 + b"0" + b"]" * 100_000
    assert to_bytes({"a": nested(2), "b": RawJson("1e999"), "c": nested(1, key="k")}) == (
        b'{"a":[[0]],"b":1e999,"c":{"k":0}}'
    )
    while isinstance(deep, list):  # Freed level by level: the interpreter's own way recurses.
        deep = deep.pop()


@pytest.mark.parametrize(
    ("value", "error"), [(float("nan"), ValueError), (float("inf"), ValueError), ({1: 2}, TypeError), (b"", TypeError)]
)
def test_what_is_not_json_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        to_bytes(value)
