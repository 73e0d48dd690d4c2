"""Operators on whole replies: refused, broken, stale, or those of another operation.

A place is a kind: ``retrieve``, ``create.400``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from rejoinder.contract import Dialect
from rejoinder.sandbox.endpoint.reply import JSON_HEADERS, Piece, Reply, RequestInfo, encode
from rejoinder.sandbox.mutants.mutant import CleanRun, Operator, PlaceLog, Places, numbered
from rejoinder.sandbox.mutants.wire import info_of, is_stream, kind_of, operation_of, reply_of

_NO_OPERATION: Final = ("unknown", "health")

Kept = tuple[int, tuple[tuple[str, str], ...], list[Piece]]


def _kind(reply: Reply, info: RequestInfo) -> str:
    return kind_of(reply, info) + (".stream" if is_stream(reply) else "")


def _places(clean: CleanRun, status: int = 0) -> Places:
    """Return the kinds of replies that have another status."""
    log = PlaceLog()
    for number, exchange in numbered(clean):
        info = info_of(exchange, clean.dialect)
        if operation_of(info) not in _NO_OPERATION and exchange.status != status:
            log.add_all([_kind(reply_of(exchange), info)], number, exchange.case)
    return log.found


def _unlike(status: int) -> Callable[[CleanRun], Places]:
    return partial(_places, status=status)


def _refusing(status: int) -> Callable[[str, Dialect], Mapping[str, Any]]:
    body = {"message": "The request failed.", "type": "invalid_request_error", "param": None, "code": None}
    data = encode({"error": {**body, "type": "server_error"} if status >= 500 else body})

    def hooks(place: str, _: Dialect) -> Mapping[str, Any]:
        def hook(reply: Reply, info: RequestInfo) -> Reply:
            if _kind(reply, info) != place or reply.status == status:
                return reply
            return Reply(status, JSON_HEADERS, iter([Piece(0.0, data)]))

        return {"reply": hook}

    return hooks


def _with(status: int, data: bytes) -> Callable[[str, Dialect], Mapping[str, Any]]:
    def hooks(place: str, _: Dialect) -> Mapping[str, Any]:
        def hook(reply: Reply, info: RequestInfo) -> Reply:
            return reply if _kind(reply, info) != place else Reply(status, reply.headers, iter([Piece(0.0, data)]))

        return {"reply": hook}

    return hooks


def _of_status(place: str, _: Dialect, *, status: int) -> Mapping[str, Any]:
    """Return the hook that sends a body with another status."""

    def hook(reply: Reply, info: RequestInfo) -> Reply:
        if _kind(reply, info) == place:
            reply.status = status
        return reply

    return {"reply": hook}


def _earlier(place: str, _: Dialect, *, same: bool) -> Mapping[str, Any]:
    """Return the hook that sends the latest success of the same operation, or of another one."""
    latest: dict[str, Kept] = {}
    operation = place.partition(".")[0]

    def hook(reply: Reply, info: RequestInfo) -> Reply:
        kind = _kind(reply, info)
        found = next((kept for name, kept in reversed(latest.items()) if (name == operation) is same), None)
        if reply.status < 400:
            pieces = list(reply.chunks)
            latest.pop(operation_of(info), None)
            latest[operation_of(info)] = reply.status, reply.headers, pieces
            reply.chunks = iter(pieces)
        if kind != place or found is None:
            return reply
        status, headers, pieces = found
        return Reply(status, headers, iter(pieces))

    return {"reply": hook}


OPERATORS: Final = (
    Operator("operation-404", "An operation is not found", _unlike(404), _refusing(404)),
    Operator("operation-400", "An operation refuses every request", _unlike(400), _refusing(400)),
    Operator("operation-500", "An operation fails", _unlike(500), _refusing(500)),
    Operator("operation-empty", "An operation returns an empty body", _places, _with(200, b"")),
    Operator("operation-blank", "An operation returns an empty object", _places, _with(200, b"{}")),
    Operator("operation-ok", "An operation has status 200", _unlike(200), partial(_of_status, status=200)),
    Operator("operation-202", "An operation has status 202", _unlike(202), partial(_of_status, status=202)),
    Operator("operation-stale", "An operation returns its previous reply", _places, partial(_earlier, same=True)),
    Operator("operation-other", "An operation returns the reply of another", _places, partial(_earlier, same=False)),
)
"""The operators on whole replies."""
