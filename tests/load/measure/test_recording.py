"""HTTP framing under every split of the bytes."""

from __future__ import annotations

import itertools
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.budgets import LOAD
from rejoinder.load.measure.recording import (
    Dechunker,
    FramingError,
    Length,
    MessageEnd,
    OverBudgetError,
    Receives,
    Recording,
    body_length,
    keeps_alive,
    parse_head,
    to_exchange,
)
from rejoinder.model.exchange import Outcome

CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[low:high] for low, high in itertools.pairwise(places)]


def encode(pieces: list[bytes], trailer: bytes = b"", extension: bytes = b"") -> bytes:
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces if piece)
    return chunks + b"0\r\n" + trailer + b"\r\n"


bodies = st.lists(st.binary(max_size=40) | st.sampled_from([b"\r\n\r\n", b"data: x\r\n\r\n", b"0\r\n\r\n"]), max_size=8)
cuts = st.lists(st.integers(0, 2000), max_size=30)


@given(
    bodies, cuts, st.sampled_from([b"", b"X-Sum: 1\r\n", b"A: b\r\nC: d\r\n"]), st.sampled_from([b"", b";a=b", b" "])
)
def test_chunks_come_apart_under_every_split(
    pieces: list[bytes], places: list[int], trailer: bytes, extension: bytes
) -> None:
    dechunker = Dechunker()
    received = [dechunker.feed(part) for part in split(encode(pieces, trailer, extension), places)]
    assert b"".join(received) == b"".join(pieces)
    assert dechunker.done
    assert dechunker.surplus == 0


@given(bodies, cuts)
def test_the_end_is_seen_with_the_last_byte_and_never_before(pieces: list[bytes], places: list[int]) -> None:
    whole = CHUNKED + encode(pieces)
    receives = Receives()
    end = MessageEnd(receives)
    parts = split(whole, places)
    for number, part in enumerate(parts, 1):
        receives.append(number, part)
        assert end.reached(part) == (number == len(parts))
    assert end.reusable


@given(st.binary(max_size=60), cuts)
def test_a_content_length_ends_the_message(body: bytes, places: list[int]) -> None:
    whole = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    receives = Receives()
    end = MessageEnd(receives)
    parts = split(whole, places)
    for number, part in enumerate(parts, 1):
        receives.append(number, part)
        assert end.reached(part) == (number == len(parts))


@given(bodies, cuts)
def test_an_exchange_keeps_the_body_and_the_times_of_its_receives(pieces: list[bytes], places: list[int]) -> None:
    parts = split(CHUNKED + encode(pieces), places)
    receives = [(1_000_000_000 + number * 1_000_000, part) for number, part in enumerate(parts, 1)]
    recording = Recording(7, 0, 0, 1_000_000_000, receives[-1][0], 5.0, "complete", "", b"{}", Receives(receives))
    exchange = to_exchange(recording, "/v1/responses", (("Accept", "*/*"),), worker=3)
    assert exchange.outcome is Outcome.COMPLETE
    assert exchange.status == 200
    assert exchange.body == b"".join(pieces)
    assert exchange.id == "load-3-7"
    assert {chunk.t for chunk in exchange.chunks} <= {(at - 1_000_000_000) / 1e9 for at, _ in receives}
    assert all(chunk.data for chunk in exchange.chunks)
    assert type(exchange).from_json(exchange.to_json()) == exchange


@given(st.binary(max_size=200))
def test_any_bytes_make_an_exchange(data: bytes) -> None:
    recording = Recording(0, 0, 0, 1, 2, 0.0, "cut", "", b"", Receives([(2, data)] if data else []))
    to_exchange(recording, "/", ())


@given(st.binary(max_size=120), cuts)
def test_broken_framing_is_an_error_and_never_another(data: bytes, places: list[int]) -> None:
    dechunker = Dechunker()
    try:
        for part in split(data, places):
            dechunker.feed(part)
    except FramingError:
        pass


def test_bytes_after_the_end_are_surplus() -> None:
    dechunker = Dechunker()
    assert dechunker.feed(b"1\r\nx\r\n0\r\n\r\nHTTP") == b"x"
    assert dechunker.surplus == 4


@pytest.mark.parametrize(
    "data", [b"x\r\n", b"-1\r\n", b"0x10\r\n", b"\r\n", b"1_0\r\n", b"3\r\nabcd\r\n", b"3\r\nabcX", b"1" * 9000]
)
def test_bad_chunk_framing_is_refused(data: bytes) -> None:
    with pytest.raises(FramingError):
        Dechunker().feed(data)


def test_what_came_before_broken_framing_is_kept() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    receives = Receives([(2, head + b"1\r\na\r\n"), (5, b"1\r\nb\r\nZZ\r\n"), (7, b"1\r\nc\r\n")])
    exchange = to_exchange(Recording(0, 0, 0, 1, 9, 0.0, "protocol", "", b"", receives), "/", ())
    assert exchange.outcome is Outcome.PROTOCOL
    assert exchange.detail == "invalid chunk size b'ZZ' (after 2 bytes of body)"
    assert [(chunk.t, chunk.data) for chunk in exchange.chunks] == [(1e-9, b"a"), (4e-9, b"b")]


@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 20\r\n\r\n", b"<html>"])
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(FramingError):
        parse_head(data)


def test_interim_replies_are_skipped() -> None:
    head = parse_head(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\n\r\n")
    assert head is not None
    assert head.status == 404


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ("Content-Length: 5", 5),
        ("content-length: 5, 5", 5),
        ("Transfer-Encoding: gzip, Chunked", Length.CHUNKED),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", Length.CHUNKED),
        ("Transfer-Encoding: gzip", Length.CLOSE),
        ("X: y", Length.CLOSE),
    ],
)
def test_the_framing_of_a_body_follows_its_headers(headers: str, length: int | Length) -> None:
    head = parse_head(f"HTTP/1.1 200 OK\r\n{headers}\r\n\r\n".encode())
    assert head is not None
    assert body_length(head) == length


@pytest.mark.parametrize("value", ["5, 6", "-1", "x", "1_0", "٣"])
def test_a_senseless_content_length_is_refused(value: str) -> None:
    head = parse_head(f"HTTP/1.1 200 OK\r\nContent-Length: {value}\r\n\r\n".encode())
    assert head is not None
    with pytest.raises(FramingError):
        body_length(head)


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [("1.1", "", True), ("1.1", "Close", False), ("1.0", "", False), ("1.0", "keep-alive", True)],
)
def test_connections_are_kept_as_http_says(version: str, connection: str, kept: bool) -> None:
    line = f"Connection: {connection}\r\n" if connection else ""
    head = parse_head(f"HTTP/{version} 200 OK\r\n{line}\r\n".encode())
    assert head is not None
    assert keeps_alive(head) is kept


def test_receives_are_a_sequence_in_one_buffer() -> None:
    pairs = [(5, b"ab"), (6, b""), (9, b"cde")]
    receives = Receives(pairs)
    assert list(receives) == pairs
    assert receives[1:] == pairs[1:]
    assert receives[-1] == (9, b"cde")
    assert receives.last == 9
    assert receives.data == b"abcde"
    again = pickle.loads(pickle.dumps(receives))
    assert again == receives != Receives(pairs[:2])
    with pytest.raises(IndexError):
        receives[3]


@given(st.lists(st.binary(max_size=5), min_size=1, max_size=9), st.integers(0, 50))
def test_the_rest_begins_with_the_receive_that_completed_what_came_before(pieces: list[bytes], size: int) -> None:
    receives = Receives(enumerate(pieces))
    whole = b"".join(pieces)
    size = min(size, len(whole))
    rest = list(receives.rest(size))
    assert b"".join(piece for _, piece in rest) == whole[size:]
    complete = next(place for place in range(len(pieces)) if len(b"".join(pieces[: place + 1])) >= size)
    assert rest[0][0] == complete


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (HEAD + b"X: " + b"a" * 200_000, "response headers are longer than 102,400 bytes"),
        (HEAD + b"X: a\r\n" * 40_000 + b"\r\n", "response headers are longer than 102,400 bytes"),
        (b"HTTP/1.1 103 Early\r\n\r\n" * 10_000, "interim responses are longer than 102,400 bytes"),
        (CHUNKED + b"0\r\n" + b"X: a\r\n" * 40_000, "response trailers are longer than 102,400 bytes"),
        (CHUNKED + b"1\r\nx\r\n" * (LOAD.chunks + 1), "response has more than 400,000 chunks"),
    ],
)
def test_what_is_over_the_budget_is_cut(data: bytes, what: str) -> None:
    recording = Recording(0, 0, 0, 1, 2, 0.0, "timeout", "late", b"", Receives([(2, data)]))
    exchange = to_exchange(recording, "/", ())
    assert exchange.outcome is Outcome.TOO_LARGE
    assert exchange.detail == f"the {what}: rejoinder stopped reading"


def test_a_body_over_the_budget_is_cut_where_it_is_exceeded() -> None:
    body = b"\n" * (LOAD.lines + 10)
    data = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    exchange = to_exchange(Recording(0, 0, 0, 1, 2, 0.0, "complete", "", b"", Receives([(2, data)])), "/", ())
    assert exchange.outcome is Outcome.TOO_LARGE
    assert len(exchange.body) == LOAD.lines
    assert "more than 400,000 lines: rejoinder stopped reading after 400,000 bytes" in exchange.detail


@given(cuts)
def test_a_head_in_any_pieces_is_found_with_its_last_byte(places: list[int]) -> None:
    whole = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\nX: y\r\n\r\n"
    receives = Receives()
    end = MessageEnd(receives)
    parts = split(whole, places)
    for number, part in enumerate(parts, 1):
        receives.append(number, part)
        assert end.reached(part) == (number == len(parts))


def test_a_head_without_end_ends_the_reading() -> None:
    receives = Receives()
    end = MessageEnd(receives)

    def receive(piece: bytes) -> bool:
        receives.append(0, piece)
        return end.reached(piece)

    pieces = itertools.chain([HEAD], itertools.repeat(b"X: a\r\n" * 100))
    with pytest.raises(OverBudgetError, match="response headers are longer"):
        any(map(receive, pieces))
    assert len(receives.data) < 2 * LOAD.head
