"""Replies made to exhaust: judged within bounds and without an exception."""

from __future__ import annotations

import json

import pytest

from rejoinder.budgets import DEPTH
from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Status, Verdict
from rejoinder.wire.sse import SSEReader


def stream(body: bytes, outcome: Outcome = Outcome.COMPLETE) -> Exchange:
    return Exchange(
        id="x",
        request=Request("POST", "/v1/responses", (), b'{"input":"Hi","stream":true}'),
        outcome=outcome,
        status=200,
        headers=(("content-type", "text/event-stream"),),
        chunks=(Chunk(0.1, body),),
        tags=("valid",),
    )


def judged(exchange: Exchange) -> dict[str, Verdict]:
    verdicts = judge([exchange], "northstar")
    assert [(verdict.rule, verdict.reason) for verdict in verdicts if verdict.status is Status.ERROR] == []
    return {verdict.rule: verdict for verdict in verdicts}


def nested(depth: int, inside: str = "1") -> str:
    return "[" * depth + inside + "]" * depth


@pytest.mark.parametrize("depth", [DEPTH - 5, DEPTH + 5, 900, 5_000, 100_000])
def test_deep_json_is_judged(depth: int) -> None:
    item = {"type": "message", "id": "m", "content": "@"}
    added = json.dumps({"type": "response.output_item.added", "output_index": 0, "item": item})
    deltas = json.dumps({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": "@"})
    done = json.dumps({"type": "response.completed", "response": {"output": ["@"], "status": "completed"}})
    body = "".join(f"data: {text}\n\n" for text in (added, deltas, done)).replace('"@"', nested(depth))
    verdicts = judged(stream(body.encode()))
    assert (verdicts["SSE-02"].status is Status.FAIL) == (depth > DEPTH)
    plain = json.dumps({"object": "response", "output": "@"}).replace('"@"', nested(depth)).encode()
    request = Request("POST", "/v1/responses", (), b"{}")
    reply = Exchange("p", request, Outcome.COMPLETE, 200, chunks=(Chunk(0, plain),))
    assert (judged(reply)["HTTP-05"].status is Status.FAIL) == (depth > DEPTH)


@pytest.mark.parametrize(
    "body",
    [
        b"data: []\n\n" * 2000,
        b'data: "text"\n\n' * 500,
        b'data: NaN\n\ndata: {"type": NaN}\n\n',
        b"data: " + b"9" * 5000 + b"\n\n",
        b'data: {"type": "response.output_text.delta", "output_index": ' + b"9" * 400 + b"}\n\n",
        b'data: {"type":"response.completed","response":"text"}\n\n',
        b'data: {"type":"response.completed","response":[]}\n\n',
        'data: {"type":"ü"}\n\n'.encode("latin-1") + 'data: {"type":"ü"}\n\n'.encode() + b"\xff\xfe\x00d\n\n",
        b"data: " + b"x" * 300_000,
        b":" * 300_000,
        b"\r" * 50_000 + b"\n" * 50_000,
        b"\x00" * 10_000,
    ],
    ids=lambda body: ascii(body[:24]),
)
def test_garbage_of_every_sort_is_judged(body: bytes) -> None:
    for outcome in (Outcome.COMPLETE, Outcome.CUT, Outcome.TIMEOUT, Outcome.TOO_LARGE):
        assert judged(stream(body, outcome))


def test_endless_events_are_read_up_to_a_bound() -> None:
    reader = SSEReader(max_events=50)
    events = [event for _ in range(100) for event in reader.feed(b"data: {}\n\n" * 10)]
    events += reader.close()
    assert len(events) == 50
    assert reader.full
    assert [fault.kind for fault in reader.faults] == ["too_many"]
    assert not reader._tail


@pytest.mark.slow(4)
def test_an_endless_stream_is_a_framing_fault_and_no_missing_end() -> None:
    exchange = stream(b"data: {}\n\n" * 310_000)
    view = ExchangeView(exchange, load_dialect("northstar"))
    assert view.reader.full
    assert len(view.events) == 300_000
    verdicts = {verdict.rule: verdict for verdict in judge([exchange], "northstar", select="SSE-01,LIF-05")}
    assert [finding.evidence.kind for finding in verdicts["SSE-01"].findings] == ["too_many"]
    assert verdicts["LIF-05"].status is Status.NOT_APPLICABLE
