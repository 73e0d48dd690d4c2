"""Strategies for the values at the ends of a schema.

Strings and numbers with constraints come from hypothesis-jsonschema, which knows patterns, formats and bounds.
Objects never do: its object strategy cannot draw with current Hypothesis (``tests/strategies/test_canary.py`` watches
that), and it re-reads the schema in every draw.

Unconstrained leaves keep to what every JSON stack takes without a second thought: integers within 32 bits, finite
numbers, text without surrogates. What lies beyond is the business of :mod:`rejoinder.strategies.sets.edge`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from hypothesis_jsonschema import from_schema

Json = None | bool | int | float | str | list[Any] | dict[str, Any]

INT_LIMIT: Final = 2**31 - 1
_TEXT: Final = st.text(max_size=80)
#: Names of tools, properties and keys, as every endpoint takes them.
NAMES: Final = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
_PLAIN: Final[Mapping[str, SearchStrategy[Any]]] = {
    "string": _TEXT,
    "integer": st.integers(-INT_LIMIT, INT_LIMIT),
    "number": st.integers(-1000, 1000) | st.floats(-1e6, 1e6),
    "boolean": st.booleans(),
}


def scalars(schema: Mapping[str, Any]) -> SearchStrategy[Any]:
    """Values of a leaf schema. Shrinks towards the empty string, zero and false."""
    if set(schema) == {"type"}:
        return _PLAIN[schema["type"]]
    if schema["type"] in ("integer", "number") and not {"minimum", "exclusiveMinimum"} & set(schema):
        schema = {**schema, "minimum": -INT_LIMIT}
    if schema["type"] in ("integer", "number") and not {"maximum", "exclusiveMaximum"} & set(schema):
        schema = {**schema, "maximum": max(INT_LIMIT, schema.get("minimum", 0))}
    return from_schema(dict(schema))


def json_values(*, max_leaves: int = 8) -> SearchStrategy[Json]:
    """Any small JSON value. Shrinks towards ``null``."""
    leaf = st.none() | st.booleans() | _PLAIN["integer"] | _PLAIN["number"] | _TEXT
    return st.recursive(
        leaf,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=max_leaves,
    )


def json_objects() -> SearchStrategy[dict[str, Json]]:
    """Any small JSON object. Shrinks towards the empty object."""
    return st.dictionaries(NAMES, json_values(max_leaves=4), max_size=3)


_LEAF_SCHEMAS: Final[tuple[dict[str, Any], ...]] = (
    {"type": "string"},
    {"type": "boolean"},
    {"type": "integer"},
    {"type": "integer", "minimum": 0, "maximum": 10},
    {"type": "number"},
    {"type": "string", "enum": ["red", "green", "blue"]},
    {"type": "string", "pattern": "^[A-Z]{3}$"},
    {"type": "string", "format": "date"},
    {"type": "array", "items": {"type": "string"}},
    {"type": ["string", "null"]},
)


@st.composite
def json_schemas(draw: st.DrawFn) -> dict[str, Any]:
    """JSON Schemas of an object, as a tool's ``parameters`` or a structured output's ``schema``.

    They keep to what strict mode accepts: every property required, nothing else allowed. Shrinks towards an object
    without properties.
    """
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    properties: dict[str, Any] = {name: draw(st.sampled_from(_LEAF_SCHEMAS)) for name in names}
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def arguments(parameters: Mapping[str, Any]) -> SearchStrategy[str]:
    """JSON texts that a model could send as arguments of a tool with these ``parameters`` (see :func:`json_schemas`).

    Shrinks towards the smallest value of every property.
    """
    properties = parameters.get("properties", {})
    return st.fixed_dictionaries({name: from_schema(schema) for name, schema in properties.items()}).map(json.dumps)
