"""Content codings of the sandbox: what a server does that compresses and decompresses."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Final

from rejoinder.model.exchange import Headers, Request
from rejoinder.sandbox.endpoint.reply import ApiError, Piece, RequestInfo, header
from rejoinder.sandbox.endpoint.request_parsing import MAX_BODY

_EITHER: Final = zlib.MAX_WBITS | 32
_GZIP: Final = zlib.MAX_WBITS | 16


def decompressed(request: Request) -> Request:
    """Return a request whose body is decompressed if it is gzip or deflate, and that names no coding then.

    Raises :class:`ApiError` for a body that cannot be decompressed, or is too large then.
    """
    if header(request, "content-encoding").strip().lower() not in ("gzip", "deflate"):
        return request
    inflate = zlib.decompressobj(_EITHER)
    try:
        body = inflate.decompress(request.body, MAX_BODY + 1)
    except zlib.error as error:
        raise ApiError(400, "The body is not compressed as its Content-Encoding says.", code="bad_coding") from error
    if len(body) > MAX_BODY:
        raise ApiError(413, f"The body is larger than {MAX_BODY} bytes.", code="body_too_large")
    return without_coding(request, body)


def without_coding(request: Request, body: bytes) -> Request:
    """Return a request with another body, that names no content coding."""
    headers = tuple((name, value) for name, value in request.headers if name.lower() != "content-encoding")
    return replace(request, headers=headers, body=body)


def accepts_gzip(info: RequestInfo) -> bool:
    """Return whether a request accepts a response in gzip."""
    accepted = header(info.request, "accept-encoding").lower().split(",")
    return any(part.partition(";")[0].strip() == "gzip" for part in accepted)


def gzipped(pieces: list[Piece]) -> list[Piece]:
    """Return the pieces of a body in gzip; what a client has read of them it can decompress."""
    deflate = zlib.compressobj(wbits=_GZIP)
    found = [piece._replace(data=deflate.compress(piece.data) + deflate.flush(zlib.Z_SYNC_FLUSH)) for piece in pieces]
    return [*found, Piece(0.0, deflate.flush())]


def named_coding(headers: Headers, coding: str) -> Headers:
    """Return the headers of a response with a content coding."""
    return (*headers, ("content-encoding", coding), ("vary", "Accept-Encoding"))
