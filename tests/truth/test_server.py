"""The server of known truth itself: it keeps its schedule and its log, and its figures are those of the definitions."""

from __future__ import annotations

import json
import socket
import time
from collections import Counter

import pytest
from tests.truth.answers import Answer, End, Kind, Usage, pieces, tokens
from tests.truth.behaviours import BEHAVIOURS
from tests.truth.expect import for_all
from tests.truth.server import Fate, TruthServer
from tests.truth.truth import Figure, Value, figure_of


def _post(server: TruthServer, body: object) -> tuple[bytes, float]:
    """Send a create, and return the whole reply with the seconds that it took."""
    data = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as client:
        begun = time.monotonic()
        client.sendall(b"POST /v1/responses HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
        found = b""
        while not (found.endswith(b"0\r\n\r\n") or (b"Content-Length" in found and found.endswith(b"}"))):
            more = client.recv(1 << 16)
            if not more:
                break
            found += more
        return found, time.monotonic() - begun


def test_there_are_enough_behaviours_each_with_a_text_and_a_load_of_its_own() -> None:
    assert len(BEHAVIOURS) >= 60
    assert min(len(behaviour.cases) for behaviour in BEHAVIOURS.values()) >= 1
    texts = Counter(behaviour.about for behaviour in BEHAVIOURS.values())
    assert [text for text, count in texts.items() if count > 1] == []
    assert len({behaviour.group for behaviour in BEHAVIOURS.values()}) >= 6


def test_what_is_left_out_of_a_case_is_the_name_of_an_expectation() -> None:
    known = {one.name for one in for_all()}
    for behaviour in BEHAVIOURS.values():
        for case in behaviour.cases:
            assert set(case.without) <= known, behaviour.name


def test_an_answer_comes_on_its_schedule_and_the_log_says_when() -> None:
    with TruthServer(BEHAVIOURS["base"], spares=0) as server:
        reply, seconds = _post(server, {"model": "truth", "input": "Hello.", "stream": True})
    assert reply.count(b"event: response.output_text.delta") == 16
    assert b"event: response.completed" in reply
    [seen] = server.seen
    assert seen.fate == Fate.OK
    assert seen.end is not None
    assert 0.2 <= seen.end - seen.at <= seconds
    assert [count for _, count in seen.content] == [1] * 16
    assert seen.content[0][0] - seen.at >= 0.05
    assert server.errors == []


def test_spares_are_sound_and_not_counted() -> None:
    with TruthServer(BEHAVIOURS["refused_all"]) as server:
        first, _ = _post(server, {"model": "truth", "input": "Hello."})
        second, _ = _post(server, {"model": "truth", "input": "Hello."})
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 429")
    assert [seen.fate for seen in server.seen] == [Fate.HTTP_429]


def test_a_reset_is_kept_as_one() -> None:
    with TruthServer(BEHAVIOURS["reset_before_head"], spares=0) as server:
        _post(server, {"stream": True})
        with pytest.raises(ConnectionResetError):
            _post(server, {"stream": True})
    assert [seen.fate for seen in server.seen] == [Fate.OK, Fate.TRANSPORT]


def test_pieces_are_due_in_order_and_say_what_they_begin() -> None:
    answer = Answer(tokens(3, kind=Kind.REASONING) + tokens(2, first=0.2), ends_at=0.5)
    found = pieces(answer, {"model": "m"})
    assert [piece.at for piece in found] == sorted(piece.at for piece in found)
    marked = [(piece.at, piece.marks) for piece in found if piece.marks]
    assert marked[0] == (0.0, ("event",))
    assert [at for at, marks in marked if marks == ("content",)] == [0.05, pytest.approx(0.06), pytest.approx(0.07)]
    assert [at for at, marks in marked if "output" in marks] == [0.2, pytest.approx(0.21)]
    assert marked[-1] == (0.5, ("end",))


@pytest.mark.parametrize("end", list(End))
def test_every_end_has_its_event(end: End) -> None:
    last = pieces(Answer(tokens(1), end=end), {})[-1].data
    expected = {End.NOTHING: b"output_text.delta", End.ERROR: b"event: error"}
    assert expected.get(end, f"event: response.{end.status}".encode()) in last


def test_tokens_are_counted_unless_usage_says_otherwise() -> None:
    assert Answer(tokens(3, kind=Kind.REASONING)).counted == Usage(3, reasoning=3)
    assert Answer(usage="absent").counted is None
    assert Answer(usage=Usage(7)).counted == Usage(7)


def test_a_percentile_is_exact_where_open_values_do_not_matter() -> None:
    values = [Value(number / 10) for number in range(1, 9)] + [Value(0.75, open=True), Value(5.0, open=True)]
    assert figure_of(values, "p50") == Figure(0.5)
    assert figure_of(values, "p90") == Figure(0.8, least=True)
    assert figure_of(values, "max") == Figure(5.0, least=True)
    assert figure_of(values, "p99") is None
    assert figure_of([], "p50") is None
