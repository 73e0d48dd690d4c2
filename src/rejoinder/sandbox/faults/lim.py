"""Faults of limits and of content codings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from rejoinder.budgets import MIB
from rejoinder.model.exchange import Headers, Request
from rejoinder.sandbox.codings import accepts_gzip, gzipped, named_coding, without_coding
from rejoinder.sandbox.endpoint.reply import ApiError, Piece, Reply, RequestInfo, header
from rejoinder.sandbox.endpoint.store import Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Condition, FaultList

FAULTS: Final = FaultList()

_ACCEPTS_GZIP: Final = Condition("only with Accept-Encoding: gzip", accepts_gzip)
_HALF: Final = 8
"""Pairs of metadata that an endpoint takes which has half of the usual limit."""
_HEARD: Final = 64
"""Items of the input that reach the model under input-cut-silently."""


def _larger_than(size: int) -> Condition:
    return Condition(f"only with a body above {size // MIB} MiB", lambda info: len(info.request.body) > size)


def _refuse(request: Request, _: RequestInfo) -> Request:
    raise ApiError(413, "The body is too large.", code="body_too_large")


def _in_plain_text(reply: Reply, _: RequestInfo) -> Reply:
    return Reply(reply.status, (("content-type", "text/plain; charset=utf-8"),), iter([Piece(0.0, b"length limit")]))


def _cut(reply: Reply, _: RequestInfo) -> Reply:
    return replace(reply, chunks=iter(()), cut=True)


@FAULTS.add("compressed-bodies-parsed", "LIM-01", hook="received")
def _parse_compressed(request: Request, _: RequestInfo) -> Request:
    """The endpoint ignores Content-Encoding and parses compressed bodies as JSON."""
    return without_coding(request, request.body)


@FAULTS.add("compressed-bodies-crash", "LIM-01", hook="received")
def _crash_on_compressed(request: Request, _: RequestInfo) -> Request:
    """A compressed body causes a server error."""
    if header(request, "content-encoding"):
        raise ApiError(500, "Internal server error.", code="server_error")
    return request


@FAULTS.add(
    "large-bodies-refused-in-plain-text",
    "LIM-02",
    "ERR-01",
    hook="received",
    when=_larger_than(2 * MIB),
    on_refusal=_in_plain_text,
)
def _refuse_in_plain_text(request: Request, info: RequestInfo) -> Request:
    """The endpoint refuses bodies above 2 MiB with status 413 and a body in plain text."""
    return _refuse(request, info)


@FAULTS.add("large-bodies-crash", "LIM-02", "ERR-05", hook="received", when=_larger_than(MIB))
def _crash_on_large(_: Request, __: RequestInfo) -> Request:
    """A body above 1 MiB causes a server error."""
    raise ApiError(500, "Internal server error.", code="server_error")


@FAULTS.add("large-bodies-dropped", "LIM-02", hook="received", when=_larger_than(2 * MIB), on_refusal=_cut)
def _drop(request: Request, info: RequestInfo) -> Request:
    """The endpoint closes the connection while it refuses a body above 2 MiB."""
    return _refuse(request, info)


@FAULTS.add("metadata-limited-to-8-pairs", "LIM-03", hook="request", dialects=("openai", "openresponses"))
def _few_pairs(body: Json, _: RequestInfo) -> Json:
    """The endpoint refuses metadata with more than 8 pairs."""
    if len(body.get("metadata") or {}) > _HALF:
        raise ApiError(400, f"metadata has more than {_HALF} pairs.", param="metadata", code="invalid_value")
    return body


@FAULTS.add("metadata-values-limited-to-256", "LIM-03", hook="request", dialects=("openai", "openresponses"))
def _short_values(body: Json, _: RequestInfo) -> Json:
    """The endpoint refuses metadata values of more than 256 characters."""
    if any(len(value) > 256 for value in (body.get("metadata") or {}).values()):
        raise ApiError(400, "metadata has a long value.", param="metadata", code="invalid_value")
    return body


@FAULTS.add("call-ids-limited-to-40", "LIM-03", hook="request", dialects=("openai", "openresponses"))
def _short_ids(body: Json, _: RequestInfo) -> Json:
    """A call_id of more than 40 characters causes a server error."""
    given = body["input"]
    if isinstance(given, list) and any(len(str(item.get("call_id") or "")) > 40 for item in given):
        raise ApiError(500, "Value too long for type character varying(40).", code="server_error")
    return body


@FAULTS.add("input-cut-silently", "LIM-04", hook="request")
def _cut_input(body: Json, _: RequestInfo) -> Json:
    """Only the last 64 items of a longer input reach the model."""
    given = body["input"]
    return {**body, "input": given[-_HEARD:]} if isinstance(given, list) else body


@FAULTS.add("gzip-named-only", "LIM-05", hook="head", when=_ACCEPTS_GZIP)
def _name_gzip(status: int, headers: Headers, _: RequestInfo) -> tuple[int, Headers]:
    """The endpoint says that a response is gzip and sends it uncompressed."""
    return status, named_coding(headers, "gzip")


@FAULTS.add("gzip-unnamed", "LIM-05", hook="body", when=_ACCEPTS_GZIP)
def _unnamed(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    """The endpoint compresses a response and sends no Content-Encoding."""
    return gzipped(pieces)


@FAULTS.add("brotli-not-accepted", "LIM-05", hook="head", when=_ACCEPTS_GZIP)
def _name_brotli(status: int, headers: Headers, _: RequestInfo) -> tuple[int, Headers]:
    """The endpoint sends a response in br, which the request does not accept."""
    return status, named_coding(headers, "br")


@FAULTS.add("left-streams-stay-in-progress", "LIM-06", hook="on_reader_left")
def _stuck(stored: Stored) -> None:
    """A stored response whose client closed its stream stays in progress."""
    if not stored.background:
        stored.background, stored.ready_at = True, math.inf
