"""Loading the contract's JSON Schemas, for each dialect, and deriving the variants of the request schema."""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from rejoinder.contract import _overlay, _source
from rejoinder.contract._borrowing import resolve, with_used
from rejoinder.contract._source import DEFAULT_DIALECT, Source
from rejoinder.errors import ContractError
from rejoinder.json_copy import copy_json

Schema = dict[str, Any]


class SchemaVariant(StrEnum):
    """A reading of the request schema.

    ``permissive``: open objects and every null of the sources; what it refuses is surely invalid. ``closed``: the same
    with no extra properties. ``generation``: closed, without contested nulls and branches; what it accepts is
    undisputed.
    """

    PERMISSIVE = "permissive"
    CLOSED = "closed"
    GENERATION = "generation"


@cache
def _read(name: str) -> Schema:
    if name not in _overlay.SCHEMAS:
        raise ContractError(f'"{name}" is not a schema of the contract.', f"Use one of {', '.join(_overlay.SCHEMAS)}.")
    schema: Schema = json.loads(files("rejoinder.contract").joinpath(f"{name}.schema.json").read_text("utf-8"))
    return schema


def load_schema(name: str, *, dialect: str | Path | None = None) -> Schema:
    """Return a fresh copy of the schema ``request``, ``response``, ``events``, ``error`` or ``operations``.

    JSON Schema 2020-12. Without a dialect it is the file as it stands (the seed's own text for request and response);
    with one, a name or the path of a dialect file, it carries the dialect's overlays and response parameters.
    """
    return copy_json(_read(name) if dialect is None else schema_of(_source.read(dialect), name))


@cache
def schema_of(source: Source, name: str) -> Schema:
    """Return the schema of that name in the dialect; not a copy, do not change it."""
    if name in source.schemas:
        file, whole = source.schemas[name]
        schema = _overlay.whole(whole, name=name, file=file)
    else:
        schema = _read(name)
    for file, overlays in source.overlays:
        if name in overlays:
            schema = _overlay.apply(schema, overlays[name], name=name, file=file)
    if name == "response":
        parameters = source.parameters["response"]
        schema = copy_json(schema)
        schema["properties"]["status"] = {"enum": list(parameters["statuses"])}
        schema["required"] = list(dict.fromkeys([*schema["required"], *parameters["required"]]))
        request = schema_of(_borrowed_from(source), "request")
        schema = with_used(resolve(schema, {"request": request}, file=source.file, relaxed=True))
    return schema


def _borrowed_from(source: Source) -> Source:
    """Return the dialect from whose request the response borrows: the base, for its response with a new request."""
    while source.base is not None and "request" in source.replaced and "response" not in source.replaced:
        source = source.base
    return source


@cache
def event_definitions(source: Source) -> Mapping[str, Schema]:
    """Return the definitions of the dialect's events with those that they need; not a copy, do not change it."""
    lenders = {name: schema_of(source, name) for name in ("request", "response")}
    definitions: Mapping[str, Schema] = resolve(schema_of(source, "events"), lenders, file=source.file, relaxed=True)[
        "$defs"
    ]
    return definitions


def request_schema(
    variant: SchemaVariant = SchemaVariant.PERMISSIVE, *, dialect: str | Path = DEFAULT_DIALECT
) -> Schema:
    """Return a fresh copy of the request schema in the given variant.

    ``dialect`` is the name of a shipped dialect or the path of a custom dialect file. Raises
    :class:`~rejoinder.errors.ContractError` when there is no such dialect or its file cannot be used.
    """
    return copy_json(variant_of(_source.read(dialect), variant))


@cache
def variant_of(source: Source, variant: SchemaVariant) -> Schema:
    """Return a variant of the dialect's request schema; not a copy, do not change it."""
    return as_variant(schema_of(source, "request"), variant)


def as_variant(schema: Schema, variant: SchemaVariant) -> Schema:
    """Return a reading of a schema of what clients send; the schema itself where that is the permissive one."""
    if variant is not SchemaVariant.PERMISSIVE:
        schema = _close(schema)
    if variant is SchemaVariant.GENERATION:
        schema = _undisputed(schema)
    return schema


def _close(node: Any) -> Any:
    if isinstance(node, list):
        return [_close(child) for child in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _close(child) for key, child in node.items()}
    if closed.get("type") == "object" and "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def _undisputed(node: Any) -> Any:
    """Take out nulls and branches of unions that the sources do not agree on."""
    if isinstance(node, list):
        return [_undisputed(child) for child in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("anyOf"), list):
        contested = node.get("x-null") == "contested"
        branches = [
            branch
            for branch in node["anyOf"]
            if not (contested and branch == {"type": "null"})
            and not (isinstance(branch, dict) and branch.get("x-branch") == "contested")
        ]
        if len(branches) < len(node["anyOf"]):
            rest = {key: child for key, child in node.items() if key not in ("x-null", "anyOf")}
            node = {**rest, **branches[0]} if len(branches) == 1 else {**rest, "anyOf": branches}
    return {key: _undisputed(child) for key, child in node.items()}
