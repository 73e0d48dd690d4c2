"""Query parameters: encoded as OpenAPI does by default, and read back with the types of a schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.wire.query import decode_query, encode_query

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "after": {"type": "string"},
        "include": {"$ref": "#/$defs/Includes"},
        "limit": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
        "stream": {"type": "boolean"},
    },
    "$defs": {"Includes": {"type": "array", "items": {"type": "string"}}},
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "after": TEXTS,
        "include": st.lists(TEXTS, min_size=1, max_size=3),
        "limit": st.integers(-(10**17), 10**17),
        "stream": st.booleans(),
    },
)


@given(VALUES)
def test_a_query_comes_back(values: dict[str, Any]) -> None:
    assert decode_query(encode_query(values), SCHEMA) == values


def test_how_it_is_written() -> None:
    values = {"limit": 2, "include": ["a.b", "c&d"], "stream": True, "after": None}
    assert encode_query(values) == "limit=2&include=a.b&include=c%26d&stream=true"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("", {}),
        ("limit=seven&stream=maybe", {"limit": "seven", "stream": "maybe"}),
        ("limit=1&limit=2", {"limit": 2}),
        ("limit=1.5", {"limit": "1.5"}),
        # openai-python writes a list with brackets.
        ("include[]=a&include[]=b", {"include": ["a", "b"]}),
        ("api-version=1", {}),
        ("after=", {"after": ""}),
    ],
)
def test_what_is_read(text: str, values: dict[str, Any]) -> None:
    assert decode_query(text, SCHEMA) == values
