"""Rates, concurrency and pauses of whole runs, against servers whose rate is known. Margins are wide for busy machines.

The exact definitions are tested in ``measure/test_throughput.py``.
"""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from rejoinder.load.run import LoadResult, run_load
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import Sample

pytestmark = pytest.mark.slow(3)

STREAM = "ttft=50&gap=10&tokens=16"
"""A response of 0.2 s."""


class Nowhere:
    """Takes samples and keeps none."""

    def sample(self, sample: Sample) -> None:
        """Take one."""

    def exchange(self, exchange: Exchange) -> None:
        """Take one."""


def run(url: str, **values: Any) -> LoadResult:
    return run_load(LoadSettings(url=url, **values), Nowhere())


def test_as_many_requests_as_users_are_in_flight_together(timed_server: Any) -> None:
    result = run(timed_server.url, model=STREAM, concurrency=8, requests=8, duration=3600.0)
    load = result.load
    assert result.outcomes == {"ok": 8}
    assert load.self_check.max_in_flight == 8
    assert load.in_flight is not None
    assert load.in_flight > 6
    # 8 in 0.2 s on a free machine, never more than that, and the tokens are those of the same requests.
    assert load.rates.ok_per_s is not None
    assert 15 < load.rates.ok_per_s < 41
    assert load.rates.ok_output_tokens_per_s == pytest.approx(16 * load.rates.ok_per_s, rel=0.15)
    assert 0.19 < load.window[1] - load.window[0] < 0.6


def test_a_duration_shorter_than_one_response(timed_server: Any) -> None:
    result = run(timed_server.url, model="ttft=500&gap=10&tokens=2", concurrency=2, duration=0.2, drain=20.0)
    assert result.outcomes == {"ok": 2}
    assert result.started == timed_server.truth()["requests"] == 2
    # Two in half a second, known only after the duration.
    assert result.load.rates.ok_per_s == pytest.approx(4, rel=0.35)
    assert result.load.issued == pytest.approx(0.2)


def test_an_open_loop_has_the_rate_that_was_set(timed_server: Any) -> None:
    result = run(timed_server.url, model="ttft=400&gap=20&tokens=4", rate=20.0, duration=2.0, drain=20.0)
    rates = result.load.rates
    assert result.outcomes == {"ok": 40}
    assert (rates.ok_per_s, rates.started_per_s) == (pytest.approx(20, rel=0.15), pytest.approx(20, rel=0.01))


REFUSALS: tuple[tuple[int, dict[str, str], bytes], ...] = (
    (307, {"Location": "/v1/responses"}, b""),
    (200, {"Content-Type": "application/json"}, b'{"error": {"message": "overloaded"}}'),
    (429, {"Content-Type": "application/json", "Retry-After": "30"}, b"{}"),
    (503, {"Content-Type": "application/json"}, b"{}"),
    (200, {"Content-Type": "text/event-stream"}, b'data: {"type":"error","message":"overloaded"}\n\n'),
    (200, {"Content-Type": "text/html"}, b"<html></html>"),
    (404, {}, b""),
)


class Refusing(NamedTuple):
    """A server that refuses everything: its address, and the statuses that it has answered with."""

    url: str
    answered: list[int]


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    """Serve one kind of refusal after the other, at once."""
    answered: list[int] = []

    class Refuse(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # a head and a body in one segment

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = REFUSALS[len(answered) % len(REFUSALS)]
            answered.append(status)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Refusing(f"http://127.0.0.1:{server.server_address[1]}", answered)
    server.shutdown()
    server.server_close()
    thread.join(10)


def test_users_pause_after_whatever_is_no_answer(refusing: Refusing) -> None:
    result = run(refusing.url, concurrency=4, duration=3.0)
    check = result.load.self_check
    assert result.started == len(refusing.answered)
    assert result.outcomes.get(RequestOutcome.OK, 0) == 0
    # 50 ms, 100, 200, 400 and 800 ms, then a second each: at most seven of each user in 3 s.
    assert len(REFUSALS) <= result.started <= 4 * 7
    assert check.pauses >= result.started - 4
    assert 6 < check.paused <= 12
    assert 1 <= check.retry_after <= refusing.answered.count(429)
    (sentence,) = (note for note in result.warnings if note.startswith("Users paused"))
    assert f"{check.paused:.1f} s in all" in sentence
    # They were hardly in flight, which the run says.
    assert result.load.in_flight is not None
    assert result.load.in_flight < 2
