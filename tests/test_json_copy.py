"""Copies of JSON values: equal, and with nothing in common that can change."""

from __future__ import annotations

from copy import deepcopy
from types import MappingProxyType
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rejoinder.json_copy import copy_json

ATOMS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
KEYS = st.text(max_size=4)
VALUES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def containers(value: Any) -> list[Any]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) else []
    return own + [found for one in inner for found in containers(one)]


@given(VALUES)
def test_a_copy_is_equal_and_shares_no_container(value: Any) -> None:
    copied = copy_json(value)
    assert copied == value
    assert repr(copied) == repr(value), "the same order of fields, and 1 is not 1.0"
    assert not {id(one) for one in containers(copied)} & {id(one) for one in containers(value)}


def test_what_is_one_object_in_the_value_is_one_in_the_copy() -> None:
    one: dict[str, Any] = {"tools": []}
    copied = copy_json([one, {"again": one}])
    assert copied[0] is copied[1]["again"]
    assert copied[0] is not one


def test_other_mappings_are_copied_as_by_deepcopy() -> None:
    value: dict[str, Any] = {"set": {1, 2}, "tuple": ([1],)}
    copied = copy_json(value)
    assert copied == deepcopy(value)
    assert copied["tuple"][0] is not value["tuple"][0]
    assert copy_json(dict(MappingProxyType({"a": 1}))) == {"a": 1}
