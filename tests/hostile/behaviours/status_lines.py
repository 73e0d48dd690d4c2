"""Behaviours in the status line and before it."""

from __future__ import annotations

from functools import partial

from tests.hostile.endpoint import Connection, HttpRequest, On, behaviour, on_create, plain_body

create = partial(on_create, "status lines")


def _instead(connection: Connection, line: bytes) -> None:
    """Send a sound reply under another status line."""
    body = plain_body()
    connection.send(line + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


@create("A body without a status line, as HTTP/0.9 sent it.")
def no_status_line(connection: Connection, request: HttpRequest) -> None:
    connection.send(plain_body())


@create("The status line names HTTP/2.0 on a connection of HTTP/1.1.")
def version_2(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/2.0 200 OK")


@create("The version has letters.")
def version_letters(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/one 200 OK")


@create("The status has two digits.")
def status_two_digits(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/1.1 20 OK")


@create("The status has four digits.")
def status_four_digits(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/1.1 2000 OK")


@create("The status is negative.")
def status_negative(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/1.1 -200 OK")


@create("The status is 000.")
def status_000(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/1.1 000 Nothing")


@create("The status is 999, beyond every class.")
def status_999(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/1.1 999 Beyond")


@create("The status contains the letter O for 0.")
def status_letters(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/1.1 2OO OK")


@create("The digits of the status are those of another script.")
def status_other_digits(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, "HTTP/1.1 ٢٠٠ OK".encode())


@create("The reason phrase is 1 MB long.")
def reason_of_1_mb(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/1.1 200 " + b"x" * 1_000_000)


@create("The reason phrase never ends.")
def reason_without_end(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 200 ")
    connection.forever(b"x")


@create("The reason phrase contains terminal escapes and a command for CI.")
def reason_with_escapes(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/1.1 500 \x1b[31mred\x1b]0;title\x07 ::error::obeyed")


@create("Blank lines precede the status line.")
def blank_lines_first(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"\r\n" * 50 + b"HTTP/1.1 200 OK")


@create("An interim response with status 103 has 1 MB of headers.")
def status_103_large(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 103 Early Hints\r\n" + b"Link: </x>; rel=preload\r\n" * 40_000 + b"\r\n")
    _instead(connection, b"HTTP/1.1 200 OK")


@create("The endpoint switches protocols, which nobody requested.")
def status_101(connection: Connection, request: HttpRequest) -> None:
    connection.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello"
    )


@create("A response with status 204 has a body.")
def status_204_with_body(connection: Connection, request: HttpRequest) -> None:
    _instead(connection, b"HTTP/1.1 204 No Content")


@create("The endpoint answers a create with status 304.")
def status_304(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n")


@create("The endpoint answers as another protocol does.")
def another_protocol(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"220 mail.invalid ESMTP ready\r\n500 unrecognized command\r\n")


@create("The endpoint answers as a JSON-RPC service without HTTP.")
def bare_json_rpc(connection: Connection, request: HttpRequest) -> None:
    connection.send(b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}\n')


@behaviour("status lines", "Every path, the model list included, gets status 418.", on=On.ALL)
def status_418_everywhere(connection: Connection, request: HttpRequest) -> None:
    connection.reply(b"short and stout", status=418, kind="text/plain")
