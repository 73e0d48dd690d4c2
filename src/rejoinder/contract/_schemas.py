"""Loading the contract's JSON Schemas and deriving the views of the request schema."""

from __future__ import annotations

import json
from copy import deepcopy
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

Schema = dict[str, Any]


class View(StrEnum):
    """A reading of the request schema.

    ``permissive``: open objects and every null of the sources; what it refuses is surely invalid. ``closed``: the same
    with no extra properties. ``generation``: closed, without contested nulls; what it accepts is undisputed.
    """

    PERMISSIVE = "permissive"
    CLOSED = "closed"
    GENERATION = "generation"


@cache
def _read(name: str) -> Schema:
    schema: Schema = json.loads(files("rejoinder.contract").joinpath(f"{name}.schema.json").read_text("utf-8"))
    return schema


def load_schema(name: str) -> Schema:
    """Return a fresh copy of the schema ``request``, ``response``, ``events`` or ``error`` (JSON Schema 2020-12)."""
    return deepcopy(_read(name))


@cache
def _view(view: View) -> Schema:
    schema = load_schema("request")
    if view is not View.PERMISSIVE:
        schema = _close(schema)
    if view is View.GENERATION:
        schema = _without_contested_nulls(schema)
    return schema


def request_schema(view: View = View.PERMISSIVE) -> Schema:
    """Return a fresh copy of the request schema in the given view."""
    return deepcopy(_view(view))


def _close(node: Any) -> Any:
    if isinstance(node, list):
        return [_close(child) for child in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _close(child) for key, child in node.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def _without_contested_nulls(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_contested_nulls(child) for child in node]
    if not isinstance(node, dict):
        return node
    if node.get("x-null") == "contested":
        rest = {key: child for key, child in node.items() if key not in ("x-null", "anyOf")}
        branches = [branch for branch in node["anyOf"] if branch != {"type": "null"}]
        node = {**rest, **branches[0]} if len(branches) == 1 else {**rest, "anyOf": branches}
    return {key: _without_contested_nulls(child) for key, child in node.items()}
