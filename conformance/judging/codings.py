"""Content codings: a compressed request or response as it is without its compression.

Exchanges keep the bytes that were on the wire. Checks look at what these bytes mean, as clients that decompress do.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from rejoinder.budgets import CHECK
from rejoinder.model.exchange import Chunk, Exchange, Headers

CODINGS: Final = ("gzip", "deflate")
"""The content codings that rejoinder can send and read (RFC 9110, section 8.4.1)."""

_LARGEST: Final = CHECK.body
_EITHER: Final = zlib.MAX_WBITS | 32
"""Window bits with which zlib reads gzip as well as zlib data, which is what ``deflate`` means."""


def decoded(exchange: Exchange) -> Exchange:
    """Return an exchange whose bodies are decompressed, and that says nothing of their codings.

    A response is decompressed if its request accepted the coding. What cannot be decompressed stays as it is, with the
    header that names its coding; so does what is larger than a response may be.
    """
    if _coding(exchange.request.headers):
        exchange = _with_request(exchange)
    return _with_response(exchange) if _coding(exchange.headers) else exchange


def accepted_codings(exchange: Exchange) -> tuple[str, ...]:
    """Return the content codings that a request accepts in its response, in lower case."""
    value = _header(exchange.request.headers, "accept-encoding")
    names = (part.partition(";")[0].strip().lower() for part in value.split(","))
    return tuple(name for name in names if name and name != "identity")


def _with_request(exchange: Exchange) -> Exchange:
    request = exchange.request
    if _coding(request.headers) not in CODINGS:
        return exchange
    body = _joined(_inflated([request.body]))
    if body is None:
        return exchange
    return replace(exchange, request=replace(request, body=body, headers=_without_coding(request.headers)))


def _with_response(exchange: Exchange) -> Exchange:
    coding = _coding(exchange.headers)
    if coding not in CODINGS or coding not in accepted_codings(exchange):
        return exchange
    try:
        pieces = list(_inflated([chunk.data for chunk in exchange.chunks]))
    except zlib.error:
        return exchange
    chunks = tuple(Chunk(chunk.t, data) for chunk, data in zip(exchange.chunks, pieces, strict=False) if data)
    if len(pieces) < len(exchange.chunks):
        return exchange
    return replace(exchange, chunks=chunks, headers=_without_coding(exchange.headers))


def _inflated(pieces: list[bytes]) -> Iterator[bytes]:
    """Yield what each piece of compressed data adds; fewer where the whole is too large.

    Raises ``zlib.error`` for data that is damaged, cut or has something after its end.
    """
    inflate, size = zlib.decompressobj(_EITHER), 0
    for piece in pieces:
        data = inflate.decompress(piece, _LARGEST - size + 1)
        size += len(data)
        if size > _LARGEST:
            return
        yield data
    if not inflate.eof or inflate.unused_data:
        raise zlib.error("incomplete data")


def _joined(pieces: Iterator[bytes]) -> bytes | None:
    try:
        return b"".join(pieces) or None
    except zlib.error:
        return None


def _coding(headers: Headers) -> str:
    return _header(headers, "content-encoding").strip().lower()


def _header(headers: Headers, name: str) -> str:
    return next((value for key, value in headers if key.lower() == name), "")


def _without_coding(headers: Headers) -> Headers:
    return tuple((name, value) for name, value in headers if name.lower() != "content-encoding")
