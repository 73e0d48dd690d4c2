"""Watches the pair of libraries whose object strategies do not go together."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import HealthCheck, find, settings
from hypothesis_jsonschema import from_schema

QUIET = settings(max_examples=5, database=None, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "pattern": "^[a-z]{3}$"},
        {"type": "string", "format": "date"},
        {"type": "integer", "minimum": 1},
        {"type": "number", "maximum": 1},
        {"type": ["string", "null"]},
        {"type": "array", "items": {"type": "string"}},
    ],
    ids=str,
)
def test_leaf_schemas_can_be_drawn(schema: dict[str, object]) -> None:
    find(from_schema(schema), lambda value: True, settings=QUIET)


@pytest.mark.xfail(reason="hypothesis-jsonschema cannot draw objects with this Hypothesis", strict=False)
def test_object_schemas_can_be_drawn() -> None:
    """When this passes, whole schemas could be drawn again; nothing in rejoinder depends on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        find(from_schema({"type": "object"}), lambda value: True, settings=QUIET)
