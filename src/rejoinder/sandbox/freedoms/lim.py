"""Freedoms of limits and of content codings."""

from __future__ import annotations

from typing import Final

from rejoinder.budgets import MIB
from rejoinder.model.exchange import Headers, Request
from rejoinder.sandbox.codings import accepts_gzip, decompressed, gzipped, named_coding
from rejoinder.sandbox.endpoint.reply import ApiError, Piece, RequestInfo
from rejoinder.sandbox.endpoint.store import Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Condition
from rejoinder.sandbox.freedom import FreedomList, cite, refused_with

_CODING: Final = cite("rfc9110", "section 8.4, Content-Encoding", "#section-8.4")
_ACCEPTED: Final = cite("rfc9110", "section 12.5.3, Accept-Encoding", "#section-12.5.3")
_TOO_LARGE: Final = cite("rfc9110", "section 15.5.14, 413 Content Too Large", "#section-15.5.14")
_REFUSED: Final = cite("rfc9110", "section 15.5.1, 400 Bad Request", "#section-15.5.1")
_ACCEPTS_GZIP: Final = Condition("only with Accept-Encoding: gzip", accepts_gzip)
_ITEMS: Final = 100
_ON_LEAVING: Final = (
    "The documents say nothing of a stream in the foreground whose client is gone; the OpenAPI document of OpenAI, the "
    "text of Open Responses and the sources of vLLM were searched."
)

FREEDOMS: Final = FreedomList()


@FREEDOMS.add("compressed-requests-decoded", _CODING, hook="received", choice="compressed request bodies")
def _decode(request: Request, _: RequestInfo) -> Request:
    """The endpoint accepts request bodies in gzip and deflate."""
    return decompressed(request)


@FREEDOMS.add(
    "compressed-requests-bad",
    _REFUSED,
    hook="error",
    choice="compressed request bodies",
    argument="RFC 9110 lets a server refuse a content coding with 415; 400 is the general status for a bad request.",
)
def _bad_coding(status: int, body: Json, info: RequestInfo) -> tuple[int, Json]:
    """The endpoint refuses compressed request bodies with status 400 and names the content coding."""
    return refused_with(400, "unsupported_coding")(status, body, info)


def _compress(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    return gzipped(pieces)


@FREEDOMS.add("responses-compressed", _ACCEPTED, _CODING, hook="head", when=_ACCEPTS_GZIP, body=_compress)
def _name_coding(status: int, headers: Headers, _: RequestInfo) -> tuple[int, Headers]:
    """The endpoint compresses responses if the request accepts gzip."""
    return status, named_coding(headers, "gzip")


@FREEDOMS.add("bodies-limited", _TOO_LARGE, hook="received", choice="largest request body")
def _limit_body(request: Request, _: RequestInfo) -> Request:
    """The endpoint refuses request bodies above 1 MiB with status 413."""
    if len(request.body) > MIB:
        raise ApiError(413, "The body is larger than 1 MiB.", code="body_too_large")
    return request


@FREEDOMS.add("bodies-limited-as-bad", _REFUSED, hook="received", choice="largest request body")
def _refuse_body(request: Request, _: RequestInfo) -> Request:
    """The endpoint refuses request bodies above 2 MiB with status 400."""
    if len(request.body) > 2 * MIB:
        raise ApiError(400, "The body is larger than 2 MiB.", code="body_too_large")
    return request


@FREEDOMS.add("items-limited", _REFUSED, hook="request", choice="largest number of input items")
def _limit_items(body: Json, _: RequestInfo) -> Json:
    """The endpoint refuses an input of more than 100 items."""
    if isinstance(body["input"], list) and len(body["input"]) > _ITEMS:
        raise ApiError(400, f"input has more than {_ITEMS} items.", param="input", code="invalid_value")
    return body


@FREEDOMS.add(
    "left-streams-cancelled",
    hook="on_reader_left",
    choice="stored responses of clients that left",
    argument=_ON_LEAVING,
)
def _cancel_left(stored: Stored) -> None:
    """The endpoint cancels a response in the foreground whose client closed its stream."""
    stored.cancelled = stored.cancelled or not stored.background


_NOBODY: Final = "\n"
"""No header can hold this key, so that no request finds what belongs to it."""


@FREEDOMS.add(
    "left-streams-forgotten",
    hook="on_reader_left",
    choice="stored responses of clients that left",
    argument=_ON_LEAVING,
)
def _forget_left(stored: Stored) -> None:
    """The endpoint does not store a response in the foreground whose client closed its stream."""
    if not stored.background:
        stored.owner = _NOBODY
