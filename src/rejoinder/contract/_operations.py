"""The operations beside ``POST /v1/responses``, with self-contained schemas of what goes in and comes out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from rejoinder.contract import _source
from rejoinder.contract._borrowing import resolve, with_used
from rejoinder.contract._schemas import Schema, schema_of
from rejoinder.contract._source import DEFAULT_DIALECT, Source
from rejoinder.contract._vocabulary import fail
from rejoinder.json_copy import copy_json
from rejoinder.validation import Validator, escape_key

_FIELDS: Final = ("method", "path", "query", "body", "reply")


@dataclass(frozen=True)
class Operation:
    """One operation of the API.

    ``path`` holds names in braces where ids belong, such as ``{response_id}``. ``query`` describes the query parameters
    as a JSON object before they are encoded, ``body`` the JSON body; both are ``None`` where there is none. ``reply``
    describes the body of a 2xx response that is not streamed; refusals have the body that the schema ``error``
    describes.
    """

    name: str
    method: str
    path: str
    query: Schema | None
    body: Schema | None
    reply: Schema

    @cached_property
    def segments(self) -> tuple[str, ...]:
        """The segments of the path below the version of the API: ``responses``, ``{response_id}``, ``cancel``."""
        return tuple(_VERSION.sub("", self.path).strip("/").split("/"))

    @cached_property
    def reply_validator(self) -> Validator:
        """The validator of the body of a 2xx response."""
        return Validator(self.reply)

    @cached_property
    def query_validator(self) -> Validator:
        """The validator of the query parameters, before they are encoded."""
        return Validator({} if self.query is None else self.query)

    @cached_property
    def body_validator(self) -> Validator:
        """The validator of the body of a request."""
        return Validator({} if self.body is None else self.body)

    @property
    def ids(self) -> tuple[str, ...]:
        """The names of the ids in the path, in their order."""
        return tuple(segment[1:-1] for segment in self.segments if _is_id(segment))

    def below(self, ids: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
        """Return the collection of the path and the segments below it, with each id in place of its name.

        The collection stands beside the create endpoint, or is that itself: then what comes before it in the path is
        part of the endpoint's address, and needs no ids. Raises :class:`ValueError` for an id that is missing.
        """
        start = self.segments.index(_CREATE) if _CREATE in self.segments else 0
        wanted = self.segments[start:]
        missing = [name[1:-1] for name in wanted if _is_id(name) and name[1:-1] not in ids]
        if missing:
            raise ValueError(f"operation {self.name!r}: the path {self.path} needs {', '.join(missing)}")
        collection, *rest = (ids[name[1:-1]] if _is_id(name) else name for name in wanted)
        return collection, tuple(rest)

    def match(self, method: str, path: str) -> dict[str, str] | None:
        """Return the ids in the path of a request for the operation; ``None`` for any other request.

        The path may begin with anything, such as ``/v1`` or the prefix of a gateway, and have a query.
        """
        if method != self.method:
            return None
        given = path.partition("?")[0].strip("/").split("/")[-len(self.segments) :]
        if len(given) != len(self.segments):
            return None
        pairs = list(zip(self.segments, given, strict=True))
        if not all(there if _is_id(name) else name == there for name, there in pairs):
            return None
        return {name[1:-1]: unquote(there) for name, there in pairs if _is_id(name)}


class Requested(NamedTuple):
    """The operation that a request is for, and the ids in its path by their names."""

    operation: Operation
    ids: Mapping[str, str]


_CREATE: Final = "responses"
"""The last segment of the path that creates a response."""
_VERSION: Final = re.compile(r"^/v\d+(?=/)")


def _is_id(segment: str) -> bool:
    return segment.startswith("{")


def requested_operation(operations: Iterable[Operation], method: str, path: str) -> Requested | None:
    """Return which of the operations a request is for, ``None`` for none.

    Of several whose paths match, the one with the longest path is meant, then the one with the fewest ids.
    """
    found = [
        Requested(operation, ids) for operation in operations if (ids := operation.match(method, path)) is not None
    ]
    return max(found, key=lambda one: (len(one.operation.segments), -len(one.ids)), default=None)


def load_operations(dialect: str | Path = DEFAULT_DIALECT) -> Mapping[str, Operation]:
    """Return the operations that the dialect's sources define beside create, by name.

    Names are such as ``retrieve``, ``input_items`` and ``create_conversation``. An operation that is absent is not
    known of the dialect; an endpoint may have it all the same. Raises
    :class:`~rejoinder.errors.ContractError` for a dialect that does not exist or cannot be used.
    """
    return operations_of(_source.read(dialect))


@cache
def operations_of(source: Source) -> Mapping[str, Operation]:
    """Return the operations of a dialect that was read; not a copy, do not change them."""
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
        return copy_json(schema_of(source, target))
    definitions = _definitions(source)
    if not isinstance(definitions.get(target), dict):
        raise fail(source.file, f"/x-operations/{operation}", part, f"there is no definition {target!r}")
    return with_used({**definitions[target], "$defs": definitions})


@cache
def _definitions(source: Source) -> dict[str, Any]:
    """Return the definitions of the operations with those that they take from the request and the response."""
    lenders = {name: schema_of(source, name) for name in ("request", "response")}
    schema = {"$defs": schema_of(source, "operations")["$defs"]}
    definitions: dict[str, Any] = resolve(schema, lenders, file=source.file, relaxed=False, lender="request")["$defs"]
    return definitions
