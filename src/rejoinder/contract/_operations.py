"""The operations beside ``POST /v1/responses``, with self-contained schemas of what goes in and comes out."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rejoinder.contract import _source
from rejoinder.contract._borrowing import resolve, with_used
from rejoinder.contract._schemas import Schema, schema_of
from rejoinder.contract._source import DEFAULT_DIALECT, Source
from rejoinder.contract._vocabulary import fail
from rejoinder.validation import escape_key

_FIELDS: Final = ("method", "path", "query", "body", "reply")


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    ``path`` holds ``{response_id}`` where the id belongs. ``query`` describes the query parameters as a JSON object
    before they are encoded, ``body`` the JSON body; both are ``None`` where there is none. ``reply`` describes the
    body of a 2xx answer that is not streamed; refusals have the body that the schema ``error`` describes.
    """

    name: str
    method: str
    path: str
    query: Schema | None
    body: Schema | None
    reply: Schema


def load_operations(dialect: str | Path = DEFAULT_DIALECT) -> Mapping[str, Operation]:
    """Return the operations that the dialect's sources define beside create, by name.

    Names: ``retrieve``, ``cancel``, ``delete``, ``input_items``, ``input_tokens``, ``compact``, ``models``. One that is
    absent is not known of the dialect; an endpoint may have it all the same. Raises
    :class:`~rejoinder.errors.ContractError` for a dialect that does not exist or cannot be used.
    """
    return operations_of(_source.read(dialect))


def operations_of(source: Source) -> Mapping[str, Operation]:
    """Return the operations of a dialect that was read."""
    found = {}
    for name, raw in schema_of(source, "operations")["x-operations"].items():
        pointer = f"/x-operations/{escape_key(name)}"
        if not isinstance(raw, dict):
            raise fail(source.file, pointer, name, "an operation must be a table")
        for key, value in raw.items():
            if key not in _FIELDS or not isinstance(value, str):
                raise fail(source.file, pointer, key, f"an operation has the strings {', '.join(_FIELDS)} only")
        for key in ("method", "path", "reply"):
            if key not in raw:
                raise fail(source.file, pointer, key, "it is missing")
        found[name] = Operation(
            name=name,
            method=raw["method"],
            path=raw["path"],
            query=_schema(source, name, "query", raw["query"]) if "query" in raw else None,
            body=_schema(source, name, "body", raw["body"]) if "body" in raw else None,
            reply=_schema(source, name, "reply", raw["reply"]),
        )
    return found


def _schema(source: Source, operation: str, part: str, target: str) -> Schema:
    """Return the schema that an operation names, with the definitions that it needs."""
    if target in ("request", "response", "error"):
        return deepcopy(schema_of(source, target))
    definitions = schema_of(source, "operations")["$defs"]
    if not isinstance(definitions.get(target), dict):
        raise fail(source.file, f"/x-operations/{operation}", part, f"there is no definition {target!r}")
    lenders = {name: schema_of(source, name) for name in ("request", "response")}
    schema = {**definitions[target], "$defs": definitions}
    return with_used(resolve(schema, lenders, file=source.file, relaxed=False, lender="request"))
