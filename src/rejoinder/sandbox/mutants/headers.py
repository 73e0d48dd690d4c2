"""Operators on response headers.

A place is a kind, with ``.stream`` for streams, and the name of a header: ``create.stream/cache-control``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from rejoinder.contract import Dialect
from rejoinder.sandbox.endpoint.reply import Reply, RequestInfo
from rejoinder.sandbox.mutants.mutant import CleanRun, Operator, PlaceLog, Places, numbered
from rejoinder.sandbox.mutants.wire import info_of, is_stream, kind_of, reply_of

_OTHER: Final = "application/octet-stream"


def _kind(reply: Reply, info: RequestInfo) -> str:
    return kind_of(reply, info) + (".stream" if is_stream(reply) else "")


def _places(clean: CleanRun) -> Places:
    log = PlaceLog()
    for number, exchange in numbered(clean):
        kind = _kind(reply_of(exchange), info_of(exchange, clean.dialect))
        log.add_all([f"{kind}/{name}" for name, _ in exchange.headers], number, exchange.case)
    return log.found


def _hooks(change: Callable[[str, str], tuple[tuple[str, str], ...]], place: str, _: Dialect) -> Mapping[str, Any]:
    kind, found, name = place.partition("/")
    if not found:
        raise ValueError(f"{place!r} names no header")

    def hook(reply: Reply, info: RequestInfo) -> Reply:
        if _kind(reply, info) == kind:
            kept = [change(key, value) if key == name else ((key, value),) for key, value in reply.headers]
            reply.headers = tuple(pair for pairs in kept for pair in pairs)
        return reply

    return {"reply": hook}


OPERATORS: Final = (
    Operator("header-dropped", "A response header is missing", _places, partial(_hooks, lambda name, _: ())),
    Operator(
        "header-altered",
        "A response header has another value",
        _places,
        partial(_hooks, lambda name, _: ((name, _OTHER),)),
    ),
)
"""The operators on headers."""
