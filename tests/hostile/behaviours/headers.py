"""Behaviours in the header section."""

from __future__ import annotations

from functools import partial

from tests.hostile.endpoint import Connection, HttpRequest, on_create, plain_body

create = partial(on_create, "headers")


def _with(connection: Connection, lines: bytes, *, length: bool = True) -> None:
    """Send a sound reply with further header lines."""
    body = plain_body()
    size = b"Content-Length: %d\r\n" % len(body) if length else b""
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n" + size + lines + b"\r\n" + body)


@create("A header line has no colon.")
def header_without_colon(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"X-Nothing\r\n")


@create("A header name ends with a blank.")
def header_name_with_blank(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"X-Name : value\r\n")


@create("A header has an empty name.")
def header_without_name(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b": value\r\n")


@create("A header value goes on in the next line (obs-fold).")
def header_folded(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"X-Folded: one\r\n two\r\n\tthree\r\n")


@create("A header value contains NUL.")
def header_with_nul(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"X-Request-Id: a\x00b\r\n")


@create("A header value contains a bare CR.")
def header_with_cr(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"X-Request-Id: a\rInjected: b\r\n")


@create("A header value has bytes of no encoding.")
def header_with_bytes(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"X-Request-Id: \xff\xfe\x80\r\n")


@create("A header value contains terminal escapes.")
def header_with_escapes(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"X-Request-Id: \x1b[2J\x1b]8;;http://x.invalid\x07click\x1b]8;;\x07\r\n")


@create("The product name of the server is a command for CI.")
def server_with_command(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"Server:   ::set-output name=x::y\r\nVia: ##vso[task.setvariable variable=a]b\r\n")


@create("A header value is 1 MB long.")
def header_of_1_mb(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"X-Long: " + b"x" * 1_000_000 + b"\r\n")


@create("A header name is 1 MB long.")
def header_name_of_1_mb(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"X-" + b"x" * 1_000_000 + b": y\r\n")


@create("The response has 100,000 headers.")
def headers_100_000(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"".join(b"X-%d: y\r\n" % number for number in range(100_000)))


@create("Two lengths contradict each other.")
def two_lengths(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"Content-Length: 5\r\n")


@create("The length is negative.")
def length_negative(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"Content-Length: -1\r\n", length=False)


@create("The length is a word.")
def length_word(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"Content-Length: many\r\n", length=False)


@create("The length has 30 digits.")
def length_30_digits(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"Content-Length: " + b"9" * 30 + b"\r\n", length=False)


@create("The length has 5,000 digits.")
def length_5000_digits(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"Content-Length: " + b"9" * 5000 + b"\r\n", length=False)


@create("The response has no content type.")
def no_content_type(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@create("The content type names an encoding that does not exist.")
def unknown_charset(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body(), kind="application/json; charset=klingon-8")


@create("The content type has 100,000 parameters.")
def parameters_100_000(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body(), kind="application/json" + "; a=b" * 100_000)


@create("Two content types contradict each other.")
def two_content_types(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"Content-Type: text/event-stream\r\n")


@create("10,000 cookies are set.")
def cookies_10_000(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"".join(b"Set-Cookie: c%d=v; Domain=.invalid\r\n" % number for number in range(10_000)))


@create("A cookie is set whose date is beyond all calendars.")
def cookie_date(connection: Connection, request: HttpRequest) -> None:
    _with(connection, b"Set-Cookie: a=b; Expires=Wed, 32 Foo 99999 99:99:99 XYZ; Max-Age=" + b"9" * 400 + b"\r\n")
