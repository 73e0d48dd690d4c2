"""Behaviours that break or stall the connection, at every stage of an exchange."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from functools import partial

from tests.hostile.endpoint import (
    Connection,
    HttpRequest,
    On,
    answer,
    behaviour,
    event,
    on_create,
    on_stream,
    plain_body,
    reset,
    stream_events,
)

create = partial(on_create, "resets")
stream = partial(on_stream, "resets")

SOUND = b"".join(event(kind, data) for kind, data in stream_events())


def _reset_on_accept(sock: socket.socket) -> socket.socket | None:
    reset(sock)
    return None


def _close_on_accept(sock: socket.socket) -> socket.socket | None:
    sock.close()
    return None


@behaviour("resets", "The connection is reset before a byte was read.", on=On.ALL, opens=_reset_on_accept)
def reset_on_accept(connection: Connection, request: HttpRequest) -> None:
    raise AssertionError("No request is read.")


@behaviour("resets", "The connection is closed before a byte was read.", on=On.ALL, opens=_close_on_accept)
def close_on_accept(connection: Connection, request: HttpRequest) -> None:
    raise AssertionError("No request is read.")


def _at_head(act: Callable[[socket.socket], None]) -> Callable[[socket.socket], socket.socket | None]:
    """Return an ``opens`` that acts when the head of a POST was read, and its body was not."""

    def opens(sock: socket.socket) -> socket.socket | None:
        head = b""
        while b"\r\n\r\n" not in head:
            more = sock.recv(64 * 1024, socket.MSG_PEEK)
            if not more:
                return None
            if more == head:
                time.sleep(0.005)  # nothing new has come
            head = more
        if not head.startswith(b"POST"):
            return sock
        sock.recv(head.index(b"\r\n\r\n") + 4)
        act(sock)
        return None

    return opens


def _refuse_at_head(sock: socket.socket) -> None:
    body = b'{"error": {"message": "Too large.", "type": "invalid_request_error", "param": null, "code": null}}'
    head = b"HTTP/1.1 413 Content Too Large\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    sock.sendall(head % len(body) + body)
    sock.close()


@behaviour("resets", "The connection is reset when the head of a POST was read.", opens=_at_head(reset))
def reset_after_request_head(connection: Connection, request: HttpRequest) -> None:
    answer(connection, request)


@behaviour("resets", "The connection is closed when the head of a POST was read.", opens=_at_head(socket.socket.close))
def close_after_request_head(connection: Connection, request: HttpRequest) -> None:
    answer(connection, request)


@behaviour(
    "resets", "A POST is refused and the connection closed before its body is read.", opens=_at_head(_refuse_at_head)
)
def refuse_at_request_head(connection: Connection, request: HttpRequest) -> None:
    answer(connection, request)


@create("The connection is reset after 100 Continue.")
def reset_after_continue(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.reset()


@create("The connection is closed after 103 Early Hints.")
def close_after_early_hints(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")


@create("The endpoint hangs after 100 Continue.")
def hang_after_continue(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.wait_gone()


@create("The connection is reset within the head that follows 100 Continue.")
def reset_in_head_after_continue(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Ty")
    connection.reset()


@create("The connection is reset within the trailers.")
def reset_in_trailers(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked"))
    connection.chunk(plain_body())
    connection.send(b"0\r\nX-Trailer: ha")
    connection.reset()


@create("The connection is reset after the request was read.")
def reset_unanswered(connection: Connection, request: HttpRequest) -> None:
    connection.reset()


@create("The connection is closed after the request was read.")
def close_unanswered(connection: Connection, request: HttpRequest) -> None:
    return


@create("The endpoint never answers.")
def hang_unanswered(connection: Connection, request: HttpRequest) -> None:
    connection.wait_gone()


@create("The connection is reset within the status line.")
def reset_in_status_line(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 2")
    connection.reset()


@create("The connection is closed within the status line.")
def close_in_status_line(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 2")


@create("The connection is closed within the headers.")
def close_in_headers(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: applic")


@create("The endpoint hangs within the headers.")
def hang_in_headers(connection: Connection, request: HttpRequest) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: applic")
    connection.wait_gone()


@create("The connection is reset after the headers.")
def reset_after_headers(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"), ("Content-Length", "500"))
    connection.reset()


@create("The endpoint hangs after the headers.")
def hang_after_headers(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"), ("Content-Length", "500"))
    connection.wait_gone()


@create("The connection is closed within the body.")
def close_in_body(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    connection.head(200, ("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    connection.send(body[:-40])


@create("The endpoint hangs within the body.")
def hang_in_body(connection: Connection, request: HttpRequest) -> None:
    body = plain_body()
    connection.head(200, ("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    connection.send(body[:-40])
    connection.wait_gone()


@create("The connection is closed within the size of a chunk.")
def close_in_chunk_size(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"), ("Transfer-Encoding", "chunked"))
    connection.chunk(plain_body()[:100])
    connection.send(b"1")


@stream("The connection is reset within an event.")
def reset_in_event(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(SOUND[: len(SOUND) // 2])
    connection.reset()


@stream("The connection is closed within an event.")
def close_in_event(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(SOUND[: len(SOUND) // 2])


@stream("The endpoint hangs within an event.")
def hang_in_event(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(SOUND[: len(SOUND) // 2])
    connection.wait_gone()


@stream("The endpoint hangs after the first event.")
def hang_after_first_event(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(event(*next(stream_events())))
    connection.wait_gone()


@stream("The connection is reset after the terminal event.")
def reset_after_the_end(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(SOUND)
    connection.reset()


@create("The endpoint closes its half of the connection before it answers, and goes on reading.")
def half_closed(connection: Connection, request: HttpRequest) -> None:
    connection.socket.shutdown(socket.SHUT_WR)
    connection.wait_gone()


@create("Two of three creates lose their connection.")
def reset_two_of_three(connection: Connection, request: HttpRequest) -> None:
    if request.number % 3 == 0:
        connection.reply(plain_body())
    else:
        connection.reset()


@create("The connection is reset when it is used a second time.")
def reset_on_second_use(connection: Connection, request: HttpRequest) -> None:
    if connection.uses > 1:
        connection.reset()
        return
    connection.reply(plain_body(), ("Connection", "keep-alive"))
    connection.keep = True
