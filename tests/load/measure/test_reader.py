"""The reader against scripted sockets."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rejoinder.budgets import LOAD, LOAD_LONG, LOAD_STREAM
from rejoinder.load.measure import reader
from rejoinder.load.measure.reader import (
    CLOSED_FIRST,
    CLOSED_SOON,
    RECEIVE_BYTES,
    Censored,
    Connection,
    KeepAlive,
    Message,
    RawReply,
    ReplyMemory,
    Timeouts,
    Watchdog,
    receive_buffer,
    request_message,
)
from rejoinder.load.measure.recording import Opening
from rejoinder.model.exchange import Outcome
from rejoinder.wire.address import Address
from rejoinder.wire.headers import request_headers

Play = Callable[..., int]
Connect = Callable[..., Connection]
EVENTS = [b"event: x\ndata: {}\n\n", b"data: 1\r\n\r\n", b": keep-alive\n\n"]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
STREAM = CHUNKED + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in EVENTS) + b"0\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Return a function that makes a connection to a local port; it is closed after the test."""
    made: list[Connection] = []

    def make(port: int, *, tls: bool = False, **limits: float) -> Connection:
        made.append(Connection(Address(tls, "127.0.0.1", port, "/v1/responses"), Timeouts(**limits)))
        return made[-1]

    yield make
    for connection in made:
        connection.close()


def send(connection: Connection) -> Message:
    return request_message(connection.address, request_headers(accept="*/*", key="secret"), b"{}")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=6, unique=True))
def test_a_stream_is_whole_under_every_split(connect: Connect, play: Play, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    parts = [STREAM[low:high] for low, high in itertools.pairwise(places)]
    connection = connect(play(["request", *parts, "hold"]))
    reception = connection.perform(send(connection))
    connection.close()
    assert reception.outcome is Outcome.COMPLETE
    assert b"".join(data for _, data in reception.receives) == STREAM
    times = [reception.begun, *(at for at, _ in reception.receives)]
    assert times == sorted(times)
    assert reception.ended == times[-1]


def test_a_connection_is_used_again(connect: Connect, play: Play) -> None:
    connection = connect(play(["request", STREAM, "request", OK, "request", STREAM]))
    receptions = [connection.perform(send(connection)) for _ in range(3)]
    assert [reception.outcome for reception in receptions] == [Outcome.COMPLETE] * 3
    assert [reception.reused for reception in receptions] == [False, True, True]
    assert connection.opened == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        HEAD + b"\r\ndata: 1\n\n",
        OK + b"surplus",
    ],
    ids=["close", "http10", "until-close", "surplus"],
)
def test_a_connection_that_ends_is_opened_anew(connect: Connect, play: Play, reply: bytes) -> None:
    connection = connect(play(["request", reply], ["request", OK]))
    assert connection.perform(send(connection)).outcome is Outcome.COMPLETE
    second = connection.perform(send(connection))
    assert (second.outcome, second.reused, connection.opened) == (Outcome.COMPLETE, False, 2)


def test_an_idle_connection_that_the_server_closed_costs_no_request(connect: Connect, play: Play) -> None:
    connection = connect(play(["request", OK], ["request", OK]))
    connection.perform(send(connection))
    # Wait until the close has arrived, which a reuse would run into.
    assert connection._socket is not None
    connection._socket.settimeout(10)
    assert connection._socket.recv(1, socket.MSG_PEEK) == b""
    assert connection.perform(send(connection)).outcome is Outcome.COMPLETE


@pytest.mark.parametrize("last", [["request"], ["request", "reset"]])
def test_a_request_on_a_kept_connection_that_dies_is_not_sent_again(
    connect: Connect, play: Play, last: list[str]
) -> None:
    connection = connect(play(["request", OK, *last], ["request", OK]))
    connection.perform(send(connection))
    second = connection.perform(send(connection))
    assert (second.outcome, second.reused, second.unanswered, connection.opened) == (Outcome.CUT, True, True, 1)
    assert "kept from an earlier request" in second.detail
    third = connection.perform(send(connection))
    assert (third.outcome, third.reused, connection.opened) == (Outcome.COMPLETE, False, 2)


def after_its_close(connection: Connection) -> RawReply:
    """Send when the close of the kept connection has arrived."""
    assert connection._socket is not None
    connection._socket.settimeout(10)
    assert connection._socket.recv(1, socket.MSG_PEEK) == b""
    return connection.perform(send(connection))


def test_connections_are_not_kept_for_an_endpoint_that_closes_each(connect: Connect, play: Play) -> None:
    connection = connect(play(*[["request", OK]] * (CLOSED_FIRST + 1), ["request", OK, "hold"]))
    connection.perform(send(connection))
    for _ in range(CLOSED_FIRST):
        assert after_its_close(connection).outcome is Outcome.COMPLETE
    assert connection._keep_alive.unkept
    last = connection.perform(send(connection))
    assert (last.outcome, last.reused, connection._socket) == (Outcome.COMPLETE, False, None)


def test_connections_are_kept_for_an_endpoint_that_also_answers_on_them(connect: Connect, play: Play) -> None:
    connection = connect(play(["request", OK, "request", OK], *[["request", OK]] * CLOSED_FIRST, ["request", OK]))
    connection.perform(send(connection))
    assert connection.perform(send(connection)).reused
    for _ in range(CLOSED_FIRST + 1):
        assert after_its_close(connection).outcome is Outcome.COMPLETE
    assert not connection._keep_alive.unkept


def test_a_request_lost_on_a_kept_connection_counts_as_a_close(connect: Connect, play: Play) -> None:
    connection = connect(play(*[["request", OK, "request"]] * CLOSED_FIRST, ["request", OK]))
    for _ in range(CLOSED_FIRST):
        assert connection.perform(send(connection)).outcome is Outcome.COMPLETE
        assert connection.perform(send(connection)).unanswered
    assert connection._keep_alive.unkept
    assert connection.perform(send(connection)).outcome is Outcome.COMPLETE


def test_a_close_after_a_long_silence_does_not_count() -> None:
    keep_alive = KeepAlive()
    for _ in range(9):
        keep_alive.closed(CLOSED_SOON + 0.1)
    assert not keep_alive.unkept


def test_opening_a_connection_is_part_of_the_request_and_has_times_of_its_own(
    monkeypatch: pytest.MonkeyPatch, play: Play
) -> None:
    clock = iter(range(0, 10**9, 1_000_000))
    monkeypatch.setattr(reader, "perf_counter_ns", lambda: next(clock))
    port = play(["request", OK, "request", OK], ["request", OK])
    connection = Connection(Address(False, "localhost", port, "/"), Timeouts())
    first = connection.perform(send(connection))
    # The clock ticks once a reading: at the beginning, around the lookup and the connect, when sending, at the receive.
    assert first.opening == Opening(dns=1_000_000, connect=1_000_000)
    assert (first.begun, first.sent, first.receives[0][0]) == (0, 6_000_000, 7_000_000)
    kept = connection.perform(send(connection))
    assert (kept.opening, kept.reused) == (None, True)
    connection.close()
    again = connection.perform(send(connection))
    assert (again.reused, again.opening is not None) == (False, True)
    connection.close()


def test_an_address_in_digits_is_not_looked_up(connect: Connect, play: Play) -> None:
    connection = connect(play(["request", OK]))
    opening = connection.perform(send(connection)).opening
    assert opening is not None
    assert (opening.dns, opening.tls) == (None, None)
    assert opening.connect is not None


def test_a_host_without_an_address_is_refused() -> None:
    connection = Connection(Address(False, "nowhere.invalid", 80, "/"), Timeouts())
    reception = connection.perform(Message(b"", b""))
    assert (reception.outcome, reception.opening) == (Outcome.REFUSED, Opening())


@pytest.mark.parametrize(
    ("steps", "outcome", "words"),
    [
        (["request"], Outcome.CUT, "before any response"),
        (["request", STREAM[:-9]], Outcome.CUT, "during the response"),
        (["request", STREAM[:60]], Outcome.CUT, "during the response"),
        (["request", STREAM[:-9], "reset"], Outcome.CUT, "broke"),
        (["request", b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nshort"], Outcome.CUT, "during the response"),
        (["request", b"220 mail.example ESMTP\r\n"], Outcome.PROTOCOL, "220"),
        (["request", CHUNKED + b"zz\r\n\r\n"], Outcome.PROTOCOL, "chunk size"),
    ],
    ids=["nothing", "cut", "half-head", "reset", "short", "not-http", "bad-chunk"],
)
def test_a_broken_reply_says_how(
    connect: Connect, play: Play, steps: list[object], outcome: Outcome, words: str
) -> None:
    connection = connect(play(steps))
    reception = connection.perform(send(connection))
    assert reception.outcome is outcome
    assert words in reception.detail


def test_an_error_reply_is_a_whole_reply(connect: Connect, play: Play) -> None:
    connection = connect(play(["request", b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}"]))
    assert connection.perform(send(connection)).outcome is Outcome.COMPLETE


def test_silence_runs_into_the_idle_limit(connect: Connect, play: Play) -> None:
    connection = connect(play(["request", STREAM[:-9], "hold"]), idle=0.05)
    reception = connection.perform(send(connection))
    assert reception.outcome is Outcome.TIMEOUT
    assert "received nothing for 0.05 s" in reception.detail
    assert reception.receives


def test_a_stream_without_end_runs_into_the_total_limit(connect: Connect, play: Play) -> None:
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65536)
            peer.sendall(CHUNKED)
            while not stop.wait(0.01):
                try:
                    peer.sendall(b"1\r\n:\r\n")
                except OSError:
                    return

    thread = threading.Thread(target=drip)
    thread.start()
    connection = connect(listener.getsockname()[1], total=0.3, idle=0.2)
    reception = connection.perform(send(connection))
    stop.set()
    thread.join()
    listener.close()
    assert reception.outcome is Outcome.TIMEOUT
    assert "did not end within 0.3 s" in reception.detail
    assert len(reception.receives) > 3


def test_a_whole_reply_followed_by_junk_and_silence_is_still_whole(connect: Connect, play: Play) -> None:
    connection = connect(play(["request", STREAM + b"junk", "hold"]), idle=0.05)
    reception = connection.perform(send(connection))
    assert reception.outcome is Outcome.COMPLETE
    assert connection._socket is None


def test_nobody_listening_is_refused(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    reception = connect(port).perform(Message(b"", b""))
    assert reception.outcome is Outcome.REFUSED
    assert f"port {port}" in reception.detail
    assert (reception.sent, reception.opening) == (0, Opening())
    assert reception.begun < reception.ended


@pytest.mark.parametrize(("number", "own"), [(errno.EMFILE, True), (errno.EADDRNOTAVAIL, True), (errno.EACCES, False)])
def test_a_machine_without_files_or_ports_is_told_from_an_endpoint_that_refuses(
    number: int, own: bool, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(reader, "_connected", fail)
    reception = connect(9).perform(Message(b"", b""))
    assert (reception.outcome, reception.unopened) == (Outcome.REFUSED, own)
    assert os.strerror(number) in reception.detail


def test_plain_http_behind_an_https_address_is_a_tls_failure(connect: Connect, play: Play) -> None:
    port = play([OK])
    reception = connect(port, tls=True).perform(Message(b"", b""))
    assert reception.outcome is Outcome.TLS


def test_censoring_keeps_what_had_arrived(monkeypatch: pytest.MonkeyPatch, connect: Connect, play: Play) -> None:
    connection = connect(play(["request", STREAM[:-9], "hold"]))
    read = socket.socket.recv_into

    def receive(self: socket.socket, buffer: memoryview) -> int:
        if seen:
            raise Censored
        seen.append(True)
        return read(self, buffer)

    seen: list[bool] = []
    monkeypatch.setattr(socket.socket, "recv_into", receive, raising=False)
    reception = connection.perform(send(connection))
    assert reception.outcome is Outcome.CANCELLED
    assert isinstance(reception.interrupt, Censored)
    assert reception.receives


def test_connections_that_share_a_buffer_keep_what_each_received(play: Play) -> None:
    buffer = receive_buffer()
    answers = [OK, STREAM]
    found = []
    for answer in answers:
        connection = Connection(Address(False, "127.0.0.1", play(["request", answer]), "/"), Timeouts(), buffer=buffer)
        found.append(connection.perform(send(connection)))
        connection.close()
    assert [b"".join(data for _, data in reception.receives) for reception in found] == answers


@pytest.mark.parametrize(
    ("held", "outcome", "detail"),
    [
        (0, Outcome.TOO_LARGE, f"it keeps {LOAD.body:,} bytes of a response"),
        (LOAD_LONG, Outcome.CANCELLED, f"it keeps {LOAD_LONG:,} bytes of long ones"),
    ],
)
def test_a_reply_without_end_is_cut(play: Play, held: int, outcome: Outcome, detail: str) -> None:
    memory = ReplyMemory()
    assert memory.take(held)
    size = LOAD.body + RECEIVE_BYTES
    answer = HEAD + b"\r\n" + b"x" * size
    connection = Connection(
        Address(False, "127.0.0.1", play(["request", answer, "hold"]), "/"), Timeouts(), memory=memory
    )
    reception = connection.perform(send(connection))
    connection.close()
    assert (reception.outcome, reception.detail.partition(": ")[2]) == (outcome, detail)
    most = LOAD.body if outcome is Outcome.TOO_LARGE else LOAD_STREAM
    assert most - RECEIVE_BYTES <= reception.receives.size <= most + 2 * RECEIVE_BYTES
    assert (memory.held, memory.exhausted) == (held, bool(held))


def test_the_request_is_what_http_wants() -> None:
    address = Address(False, "::1", 8000, "/v1/responses", "a=b")
    head, body = request_message(address, request_headers(accept="*/*", key="key"), b"{}")
    assert head.endswith(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[:2] == [b"POST /v1/responses?a=b HTTP/1.1", b"Host: [::1]:8000"]
    assert {b"Content-Length: 2", b"Authorization: Bearer key", b"Accept-Encoding: identity"} <= set(lines)
    assert body == b"{}"


def test_a_silent_stream_is_left_once_it_has_ended(play: Callable[..., int]) -> None:
    final = b'data: {"type":"response.completed","response":{"id":"r","status":"completed"}}\n\n'
    open_one = b'data: {"type":"response.created","response":{"id":"r","status":"in_progress"}}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    details = {}
    for event in (final, open_one):
        body = open_one + event
        port = play(["request", head + b"%x\r\n%s\r\n" % (len(body), body), "hold"])
        watchdog = Watchdog()
        connection = Connection(
            Address(False, "127.0.0.1", port, "/"), Timeouts(idle=0.8, body_end=0.1), watchdog=watchdog
        )
        done = threading.Event()
        thread = threading.Thread(target=_check_until, args=(watchdog, done))
        thread.start()
        reply = connection.perform(request_message(connection.address, (), b"{}"))
        done.set()
        thread.join()
        assert reply.outcome is Outcome.TIMEOUT
        details[event] = reply.detail
    assert details == {
        final: "the stream stayed open for 0.1 s after its terminal event",
        open_one: "received nothing for 0.8 s",
    }


def _check_until(watchdog: Watchdog, done: threading.Event) -> None:
    while not done.wait(0.02):
        watchdog.check()
