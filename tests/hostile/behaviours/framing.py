"""Behaviours in how a body is framed."""

from __future__ import annotations

from functools import partial

from tests.hostile.endpoint import Connection, HttpRequest, chunk_of, on_create, plain_body

create = partial(on_create, "framing")


def _chunked(connection: Connection, *parts: bytes, kind: str = "application/json", coding: str = "chunked") -> None:
    connection.head(200, ("Content-Type", kind), ("Transfer-Encoding", coding))
    for part in parts:
        connection.send(part)


@create("The size of a chunk is a word.")
def chunk_size_word(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, b"ten\r\n0123456789\r\n0\r\n\r\n")


@create("The size of a chunk is negative.")
def chunk_size_negative(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, b"-5\r\nhello\r\n0\r\n\r\n")


@create("The size of a chunk is larger than a 64-bit number.")
def chunk_size_huge(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, b"f" * 17 + b"\r\n" + plain_body())


@create("The size of a chunk has 100,000 digits.")
def chunk_size_long(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, b"0" * 100_000 + b"5\r\nhello\r\n0\r\n\r\n")


@create("The size of a chunk has the prefix 0x.")
def chunk_size_0x(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    _chunked(connection, b"0x%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))


@create("A chunk extension is 1 MB long.")
def chunk_extension_of_1_mb(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    _chunked(connection, b"%x;%s\r\n%s\r\n0\r\n\r\n" % (len(body), b"a=b;" * 250_000, body))


@create("A chunk extension never ends.")
def chunk_extension_without_end(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, b"5;")
    connection.forever(b"a=b;")


@create("A chunk is longer than its size says.")
def chunk_too_long(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, b"5\r\n" + plain_body() + b"\r\n0\r\n\r\n")


@create("Chunks end with a bare LF.")
def chunk_with_lf(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    _chunked(connection, b"%x\n%s\n0\n\n" % (len(body), body))


@create("The last chunk is missing.")
def no_last_chunk(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, chunk_of(plain_body()))


@create("A trailer has no colon.")
def trailer_without_colon(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, chunk_of(plain_body()), b"0\r\nnothing\r\n\r\n")


@create("Trailers contradict the header section.")
def trailers_contradict(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, chunk_of(plain_body()), b"0\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n")


@create("A body has a length and chunks.")
def length_and_chunks(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    connection.head(
        200, ("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Transfer-Encoding", "chunked")
    )
    connection.send(chunk_of(body) + b"0\r\n\r\n")


@create("The transfer coding is unknown.")
def unknown_coding(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, plain_body(), coding="pigeon")


@create("Chunked is named twice.")
def chunked_twice(connection: Connection, request: HttpRequest) -> None:
    _chunked(connection, chunk_of(chunk_of(plain_body()) + b"0\r\n\r\n") + b"0\r\n\r\n", coding="chunked, chunked")


@create("The body is shorter than its length.")
def body_too_short(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    connection.head(200, ("Content-Type", "application/json"), ("Content-Length", str(len(body) + 100)))
    connection.send(body)


@create("The body is longer than its length.")
def body_too_long(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    connection.head(200, ("Content-Type", "application/json"), ("Content-Length", str(len(body) - 10)))
    connection.send(body)


@create("A second response follows, which nobody requested.")
def second_response(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body())
    connection.reply(plain_body("Injected."))


@create("A body trickles, a byte at a time.")
def body_trickles(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"))
    connection.forever(b" ", every=0.05)


@create("A body of white space of 50 MB precedes the object.")
def white_space_of_50_mb(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    connection.head(200, ("Content-Type", "application/json"), ("Content-Length", str(len(body) + 50_000_000)))
    for _ in range(50):
        connection.send(b" " * 1_000_000)
    connection.send(body)


@create("The endpoint closes each connection after a reply that said keep-alive.")
def keep_alive_then_close(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body(), ("Connection", "keep-alive"), ("Keep-Alive", "timeout=600"))
