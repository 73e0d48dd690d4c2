"""Behaviours that take memory or time without end, one for each kind."""

from __future__ import annotations

import gzip
import json
from functools import cache
from typing import Final

from tests.hostile.endpoint import Connection, HttpRequest, On, behaviour, event, response_object

GROUP: Final = "without end"
_BLOCK: Final = b"x" * 65536


@cache
def _bomb() -> bytes:
    return gzip.compress(b'{"text":"' + b"a" * (200 << 20) + b'"}', 1)


@behaviour(GROUP, "The body of a plain response never ends.", spares=1)
def body_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"))
    connection.send(b'{"text":"')
    connection.forever(_BLOCK)


@behaviour(GROUP, "Chunks of one byte come without end.", spares=1)
def tiny_chunks(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"))
    connection.forever(b"1\r\nx\r\n")


@behaviour(GROUP, "The trailers of a chunked body never end.", spares=1)
def trailers_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked"))
    connection.chunk(json.dumps(response_object()).encode())
    connection.send(b"0\r\n")
    connection.forever(b"X-Trailer: " + b"x" * 100 + b"\r\n")


@behaviour(GROUP, "The response headers never end.", spares=1)
def headers_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\n")
    connection.forever(b"X-Header: " + b"x" * 100 + b"\r\n")


@behaviour(GROUP, "One response header is a line without end.", spares=1)
def header_line_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX-Header: ")
    connection.forever(_BLOCK)


@behaviour(GROUP, "Interim responses (1xx) come without end.", spares=1)
def interim_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.forever(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")


@behaviour(GROUP, "The body is a gzip bomb, although the client accepts identity only.", spares=1)
def gzip_bomb(connection: Connection, request: HttpRequest) -> None:
    connection.reply(_bomb(), ("Content-Encoding", "gzip"))


@behaviour(GROUP, "One delta has 100 MB.", spares=1)
def delta_of_100_mb(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(event("response.created", {"type": "response.created", "response": response_object()})[:-2])
    connection.send(b'\n\nevent: response.output_text.delta\ndata: {"delta":"')
    for _ in range(1600):
        connection.send(_BLOCK)
    connection.send(b'"}\n\n')


@behaviour(GROUP, "Blank lines come without end.", spares=1)
def blank_lines(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.forever(b"\n")


@behaviour(GROUP, "Comments come without end.", spares=1)
def comments(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.forever(b": keep-alive\n\n")


@behaviour(GROUP, "Small events come without end.", spares=1)
def events_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.forever(b"data: {}\n\n")


@behaviour(GROUP, "One data line never ends.", spares=1)
def line_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(b"data: ")
    connection.forever(_BLOCK)


@behaviour(GROUP, "The stream sends a byte every 0.3 seconds without end.", spares=1)
def trickle(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.forever(b":", every=0.3)


@behaviour(GROUP, "The response headers come a byte every 0.3 seconds without end.", spares=1)
def trickle_head(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nX-Header: ")
    connection.forever(b"x", every=0.3)


@behaviour(GROUP, "JSON is nested 1,000,000 deep.", spares=1)
def deep_json(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b'{"output":' + b"[" * 1_000_000 + b"]" * 1_000_000 + b"}")


@behaviour(GROUP, "An object has the same key 100,000 times.", spares=1)
def same_keys(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"{" + b'"status":"completed",' * 100_000 + b'"object":"response"}')


@behaviour(GROUP, "An object has 200,000 different keys.", spares=1)
def many_keys(connection: Connection, request: HttpRequest) -> None:
    whole = response_object() | {f"key_{number}": number for number in range(200_000)}
    connection.reply(json.dumps(whole).encode(), ("Connection", "close"))


@behaviour(GROUP, "The output of a response has 2,000,000 empty objects.", spares=1)
def small_items(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b'{"object":"response","status":"completed","output":[' + b"{}," * 2_000_000 + b"{}]}")


@behaviour(GROUP, "A redirect has a body without end.", spares=1)
def redirect_with_body(connection: Connection, request: HttpRequest) -> None:
    connection.head(307, ("Location", "/elsewhere"), ("Content-Type", "text/plain"))
    connection.forever(_BLOCK)


@behaviour(GROUP, "Each response is 429 with a Retry-After of 29 seconds.", spares=1)
def always_busy(connection: Connection, request: HttpRequest) -> None:
    error = {"error": {"message": "Busy.", "type": "rate_limit_error", "param": None, "code": "rate_limit"}}
    connection.reply(json.dumps(error).encode(), ("Retry-After", "29"), status=429)


@behaviour(GROUP, "The model list never ends.", on=On.MODELS)
def models_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"))
    connection.send(b'{"data":[')
    connection.forever(b'{"id":"hostile"},')


@behaviour(GROUP, "The model list has 1,000,000 names.", on=On.MODELS)
def million_models(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b'{"data":[' + b",".join(b'{"id":"m%d"}' % number for number in range(1_000_000)) + b"]}")


@behaviour(GROUP, "The model list has names of lone surrogates, NUL and 1 MB.", on=On.MODELS)
def odd_models(connection: Connection, request: HttpRequest) -> None:
    names = ["\ud800", "a\0b", "x" * 1_000_000, "\x1b[31m", ""]
    connection.reply(json.dumps({"data": [{"id": name} for name in names]}).encode())
