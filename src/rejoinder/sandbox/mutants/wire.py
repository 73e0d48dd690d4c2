"""What the sandbox sends, as mutation operators see it: the kind of a reply, its JSON values and its events.

A kind is the name of the operation of a plain success (``create``, ``retrieve``), the operation with the status of a
refusal (``create.400``), or the type of an event in a stream, of whichever operation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any, Final

from rejoinder.contract import Dialect, load_dialect
from rejoinder.model.exchange import Exchange, Outcome, parse_json
from rejoinder.sandbox.core import record, route
from rejoinder.sandbox.endpoint.reply import Piece, Reply, RequestInfo, encode
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.mutants.places import Shape
from rejoinder.validation import Validator

ReplyHook = Callable[[Reply, RequestInfo], Reply]

_DATA: Final = b"\ndata: "
_DONE: Final = b"data: [DONE]"
_CALLS_OF_RESPONSE: Final = {"GET": "retrieve", "DELETE": "delete"}
_OF_RESPONSE: Final = ("create", "retrieve", "cancel")


def operation_of(info: RequestInfo) -> str:
    """Return the name of the operation of a request; ``unknown`` for a path or method that there is not."""
    if info.operation == "response":
        return _CALLS_OF_RESPONSE.get(info.request.method, "unknown")
    return info.operation or "unknown"


def kind_of(reply: Reply, info: RequestInfo) -> str:
    """Return the kind of a plain reply."""
    operation = operation_of(info)
    return f"{operation}.{reply.status}" if reply.status >= 400 else operation


def is_stream(reply: Reply) -> bool:
    """Return whether the reply is a stream of events."""
    return any(name == "content-type" and value.startswith("text/event-stream") for name, value in reply.headers)


@cache
def shape_of(dialect: str, kind: str) -> Shape | None:
    """Return the schema of what is sent under a kind, ``None`` where the dialect has none."""
    spec = load_dialect(dialect)
    if kind in spec.events:
        schema = spec.event_schema(kind)
        return Shape({**schema, "properties": {"type": {}, "sequence_number": {}, **schema["properties"]}})
    operation, _, status = kind.partition(".")
    if status.isdecimal():
        return Shape(spec.schema("error"))
    if operation in _OF_RESPONSE:
        return Shape(spec.schema("response"))
    return Shape(spec.operations[operation].reply) if operation in spec.operations else None


def read_event(data: bytes) -> Json | None:
    """Return the event in one piece of a stream, ``None`` for anything else, such as the end of the stream."""
    head, found, value = data.partition(_DATA)
    event = parse_json(value) if found and head.startswith(b"event:") else None
    return event if isinstance(event, dict) else None


def write_event(event: Any, name: str) -> bytes:
    """Return an event as a piece of a stream; ``name`` names it where it has no type."""
    kind = event.get("type") if isinstance(event, dict) else None
    name = kind if isinstance(kind, str) and kind.isprintable() else name
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(event))


def change_json(kind: str, change: Callable[[Any], bool]) -> ReplyHook:
    """Return the hook that changes each JSON value of a kind in place; ``change`` returns whether it did."""

    def streamed(chunks: Iterator[Piece]) -> Iterator[Piece]:
        for piece in chunks:
            event = read_event(piece.data)
            if event is not None and event.get("type") == kind and change(event):
                piece = piece._replace(data=write_event(event, kind))
            yield piece

    def hook(reply: Reply, info: RequestInfo) -> Reply:
        if is_stream(reply):
            reply.chunks = streamed(reply.chunks)
        elif kind_of(reply, info) == kind:
            pieces = list(reply.chunks)
            value = parse_json(b"".join(piece.data for piece in pieces))
            if isinstance(value, (dict, list)) and change(value):
                pieces = [Piece(sum(piece.delay for piece in pieces), encode(value))]
            reply.chunks = iter(pieces)
        return reply

    return hook


def values_of(exchange: Exchange, dialect: Dialect) -> Iterator[tuple[str, Any]]:
    """Yield the JSON values of a recorded reply of the sandbox, each with its kind."""
    reply, info = reply_of(exchange), info_of(exchange, dialect)
    if is_stream(reply):
        for piece in reply.chunks:
            event = read_event(piece.data)
            if event is not None:
                yield str(event.get("type")), event
        return
    value = parse_json(exchange.body)
    if isinstance(value, (dict, list)):
        yield kind_of(reply, info), value


def reply_of(exchange: Exchange) -> Reply:
    """Return the reply of a recorded exchange, to be read once more."""
    times = [0.0, *(chunk.t for chunk in exchange.chunks)]
    pieces = [Piece(chunk.t - before, chunk.data) for before, chunk in zip(times, exchange.chunks, strict=False)]
    return Reply(exchange.status or 0, exchange.headers, iter(pieces))


def info_of(exchange: Exchange, dialect: Dialect) -> RequestInfo:
    """Return what a hook on replies learns of a recorded exchange's request."""
    operation, _ = route(exchange.request, dialect)
    body = exchange.request.json() if operation == "create" and exchange.request.body else None
    return RequestInfo(exchange.request, operation, body if isinstance(body, dict) else {}, dialect, 1)


def rerecorded(exchange: Exchange, hook: ReplyHook, dialect: Dialect) -> Exchange:
    """Return the exchange as it would have been recorded with a hook on replies."""
    reply = hook(reply_of(exchange), info_of(exchange, dialect))
    new = record(exchange.request, reply, id=exchange.id)
    return replace(exchange, status=new.status, headers=new.headers, chunks=new.chunks)


def is_schema_valid(exchange: Exchange, dialect: Dialect) -> bool:
    """Return whether a reply of the sandbox is valid by the dialect's schemas: its body, or each of its events.

    The last event of a stream that was not read to its end does not count. A reply of which the dialect has no schema
    is valid if it is JSON.
    """
    reply, info = reply_of(exchange), info_of(exchange, dialect)
    if is_stream(reply):
        pieces = [piece.data for piece in reply.chunks]
        whole = exchange.outcome is Outcome.COMPLETE
        events = [read_event(data) for data in pieces[: None if whole else -1] if not data.startswith(_DONE)]
        return all(event is not None and _is_valid_event(event, dialect) for event in events)
    try:
        value = json.loads(exchange.body)
    except ValueError:
        return False
    if reply.status >= 400:
        return _error_validator(dialect.reference).is_valid(value)
    operation = operation_of(info)
    if operation in _OF_RESPONSE:
        return dialect.response_validator.is_valid(value)
    known = dialect.operations.get(operation)
    return known is None or known.reply_validator.is_valid(value)


def _is_valid_event(event: Json, dialect: Dialect) -> bool:
    spec = dialect.events.get(event["type"]) if isinstance(event.get("type"), str) else None
    if spec is None or any(name not in event for name in spec.required):
        return False
    fields = [name for name in spec.types if name in event]
    return all(dialect.field_validator(spec.type, name).is_valid(event[name]) for name in fields)


@cache
def _error_validator(dialect: str) -> Validator:
    return Validator(load_dialect(dialect).schema("error"))
