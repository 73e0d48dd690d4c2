"""Behaviours that refuse the key, or echo it."""

from __future__ import annotations

import base64
import json
from functools import partial

from tests.hostile.endpoint import Connection, HttpRequest, event, on_create, response_object, stream_events

create = partial(on_create, "authentication")


def _key(request: HttpRequest) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ")


def _refuse(connection: Connection, message: str, *headers: tuple[str, str], status: int = 401) -> None:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
    connection.reply(json.dumps({"error": error}).encode(), *headers, status=status)


@create("Status 401 comes without a challenge.")
def status_401(connection: Connection, request: HttpRequest) -> None:
    _refuse(connection, "No.")


@create("The challenge of status 401 is 1 MB long.")
def challenge_of_1_mb(connection: Connection, request: HttpRequest) -> None:
    _refuse(connection, "No.", ("WWW-Authenticate", "Bearer realm=" + "x" * 1_000_000))


@create("The challenge of status 401 is broken.")
def challenge_broken(connection: Connection, request: HttpRequest) -> None:
    _refuse(connection, "No.", ("WWW-Authenticate", 'Digest "=,,,qop==,nonce'), ("WWW-Authenticate", "Negotiate ****"))


@create("The endpoint wants a password for a proxy.")
def status_407(connection: Connection, request: HttpRequest) -> None:
    _refuse(connection, "Proxy.", ("Proxy-Authenticate", "Basic realm=x"), status=407)


@create("The endpoint forbids the create.")
def status_403(connection: Connection, request: HttpRequest) -> None:
    _refuse(connection, "Forbidden.", status=403)


@create("The endpoint wants to be paid.")
def status_402(connection: Connection, request: HttpRequest) -> None:
    _refuse(connection, "Pay.", status=402)


@create("Every second create is refused.")
def status_401_now_and_then(connection: Connection, request: HttpRequest) -> None:
    if request.number % 2:
        _refuse(connection, "Expired.")
    else:
        connection.reply(json.dumps(response_object()).encode())


@create("The refusal echoes the header with the key.")
def echo_in_message(connection: Connection, request: HttpRequest) -> None:
    _refuse(connection, f"Incorrect API key provided: {request.headers.get('authorization')}.")


@create("A header of the refusal has the key for its name.")
def echo_as_header_name(connection: Connection, request: HttpRequest) -> None:
    _refuse(connection, "No.", (_key(request) or "none", "x"))


@create("A cookie has the key for its value.")
def echo_in_cookie(connection: Connection, request: HttpRequest) -> None:
    _refuse(connection, "No.", ("Set-Cookie", f"session={_key(request)}"))


@create("The refusal has the key in base64 and hexadecimal digits.")
def echo_encoded(connection: Connection, request: HttpRequest) -> None:
    key = _key(request).encode()
    basic = base64.b64encode(b"user:" + key).decode()
    _refuse(connection, f"{base64.b64encode(key).decode()} {basic} {key.hex()} {key.hex().upper()}")


@create("The refusal has the key with escapes of HTML and URLs.")
def echo_escaped(connection: Connection, request: HttpRequest) -> None:
    key = _key(request)
    entities = "".join(f"&#{ord(c)};" for c in key)
    percents = "".join(f"%{ord(c):02x}" for c in key)
    _refuse(connection, f"{entities} {percents}")


@create("The status line has the key.")
def echo_in_status_line(connection: Connection, request: HttpRequest) -> None:
    connection.send(f"HTTP/1.1 2x0 {_key(request)}\r\nX: y\r\n\r\n".encode())


@create("The size of a chunk is the key.")
def echo_in_chunk_size(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked"))
    connection.send(f"{_key(request)}\r\nx\r\n".encode())


@create("The text of the response is the key, split over deltas.")
def echo_in_deltas(connection: Connection, request: HttpRequest) -> None:
    key = _key(request)
    if not request.streams:
        connection.reply(json.dumps(response_object(key)).encode())
        return
    connection.stream()
    for kind, data in stream_events(key):
        if kind.endswith(".delta"):
            for at in range(0, len(key), 3):
                connection.send(event(kind, {**data, "delta": key[at : at + 3]}))
        else:
            connection.send(event(kind, data))


@create("An error event has the key, backwards and as it is.")
def echo_in_error_event(connection: Connection, request: HttpRequest) -> None:
    message = f"Bad key {_key(request)}"
    if request.streams:
        connection.stream()
        connection.send(event("error", {"type": "error", "message": message, "code": _key(request), "param": None}))
    else:
        _refuse(connection, message, status=500)
