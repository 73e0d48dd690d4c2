"""The allowed versions of Hypothesis and hypothesis-jsonschema work together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, find, settings
from hypothesis_jsonschema import from_schema

QUIET = settings(max_examples=5, database=None, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.slow(1)
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
def test_leaf_schemas_can_be_drawn(schema: dict[str, Any]) -> None:
    find(from_schema(schema), lambda value: True, settings=QUIET)


@pytest.mark.slow(2)
def test_object_schemas_can_be_drawn() -> None:
    """The upper bound of Hypothesis in pyproject.toml keeps the pair working: newer versions break this."""
    find(from_schema({"type": "object", "properties": {"a": {"type": "integer"}}}), lambda value: True, settings=QUIET)
