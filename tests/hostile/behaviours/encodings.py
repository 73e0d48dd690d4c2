"""Behaviours in content codings and character encodings."""

from __future__ import annotations

import gzip
import zlib
from functools import cache, partial

from tests.hostile.endpoint import Connection, HttpRequest, on_create, plain_body

create = partial(on_create, "encodings")


def _coded(connection: Connection, body: bytes, coding: str) -> None:
    connection.reply(body, ("Content-Encoding", coding))


@cache
def _bomb(megabytes: int) -> bytes:
    return gzip.compress(b" " * (megabytes * 1_000_000) + plain_body())


@create("A bomb lies in a bomb: gzip of gzip.")
def gzip_bomb_twice(connection: Connection, request: HttpRequest) -> None:
    _coded(connection, gzip.compress(_bomb(1000)), "gzip, gzip")


@create("The gzip stream is cut.")
def gzip_cut(connection: Connection, request: HttpRequest) -> None:
    _coded(connection, gzip.compress(plain_body())[:-20], "gzip")


@create("The checksum of gzip is wrong.")
def gzip_checksum(connection: Connection, request: HttpRequest) -> None:
    body = bytearray(gzip.compress(plain_body()))
    body[-8] ^= 0xFF
    _coded(connection, bytes(body), "gzip")


@create("The header says gzip, the body is plain.")
def gzip_that_is_not(connection: Connection, request: HttpRequest) -> None:
    _coded(connection, plain_body(), "gzip")


@create("The body is gzip, though the client asked for identity.")
def gzip_uninvited(connection: Connection, request: HttpRequest) -> None:
    _coded(connection, gzip.compress(plain_body()), "gzip")


@create("The body is gzip, and no header says so.")
def gzip_unnamed(connection: Connection, request: HttpRequest) -> None:
    connection.reply(gzip.compress(plain_body()))


@create("The body has garbage after the gzip stream.")
def gzip_with_garbage(connection: Connection, request: HttpRequest) -> None:
    _coded(connection, gzip.compress(plain_body()) + b"garbage" * 1000, "gzip")


@create("The body is a raw deflate stream.")
def deflate_raw(connection: Connection, request: HttpRequest) -> None:
    _coded(connection, zlib.compress(plain_body())[2:-4], "deflate")


@create("The content coding does not exist.")
def unknown_content_coding(connection: Connection, request: HttpRequest) -> None:
    _coded(connection, plain_body(), "pigeon")


@create("1,000 content codings are named.")
def codings_1000(connection: Connection, request: HttpRequest) -> None:
    _coded(connection, plain_body(), ", ".join(["gzip"] * 1000))


@create("The header says zstd, the body is noise.")
def zstd_that_is_not(connection: Connection, request: HttpRequest) -> None:
    _coded(connection, bytes(range(256)) * 40, "zstd")


@create("The body is UTF-16.")
def utf_16(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body().decode().encode("utf-16"))


@create("The body begins with a byte order mark.")
def byte_order_mark(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"\xef\xbb\xbf" + plain_body())


@create("The text has bytes that are not UTF-8.")
def not_utf_8(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body().replace(b"Hello", b"H\xff\xfe\xc3llo"))


@create("The text has overlong UTF-8, which hides a quote.")
def overlong_utf_8(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body().replace(b"Hello", b"H\xc0\xa2llo"))


@create("The text has a surrogate as bytes.")
def surrogate_bytes(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body().replace(b"Hello", b"H\xed\xa0\x80llo"))


@create("The content type says UTF-7, which hides a script.")
def utf_7(connection: Connection, request: HttpRequest) -> None:
    body = plain_body().replace(b"Hello", b"+ADw-script+AD4-alert(1)+ADw-/script+AD4-")
    connection.reply(body, kind="application/json; charset=utf-7")


@create("The text is Latin-1, as the content type says.")
def latin_1(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body().replace(b"Hello", b"Gr\xfc\xdfe"), kind="application/json; charset=iso-8859-1")
