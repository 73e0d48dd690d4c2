"""Metrics and outcomes from exchanges whose times are known."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract import load_dialect
from rejoinder.load.measure.measure import MEASURES, POOLS, Measurement, measure, timeline
from rejoinder.load.measure.recording import Opening
from rejoinder.load.objectives.answer_policy import BrokenRules
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.metrics import DISTRIBUTIONS, TIMES
from rejoinder.model.tags import Tag

DIALECT = load_dialect()
REQUEST = b'{"model":"m","stream":true,"max_output_tokens":8}'


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def text(delta: str = "a") -> bytes:
    return event("response.output_text.delta", delta=delta)


def terminal(kind: str = "completed", tokens: int | None = 4, **fields: Any) -> bytes:
    usage = None if tokens is None else {"input_tokens": 9, "output_tokens": tokens}
    return event(f"response.{kind}", response={"status": kind, "usage": usage, **fields})


CREATED = event("response.created", response={"status": "in_progress"})


def stream(*chunks: tuple[float, bytes], **fields: Any) -> Exchange:
    values: dict[str, Any] = {
        "status": 200,
        "headers": (("Content-Type", "text/event-stream"),),
        "headers_at": 0.01,
        "ended_at": chunks[-1][0] if chunks else 0.0,
        "outcome": Outcome.COMPLETE,
        "role": "stream",
    }
    return Exchange(
        id="x",
        request=Request("POST", "/v1/responses", (), REQUEST),
        chunks=tuple(Chunk(t, data) for t, data in chunks),
        **{**values, **fields},
    )


def look(exchange: Exchange, *broken: str) -> Measurement:
    return measure(exchange, DIALECT, lambda *_: BrokenRules(broken, broken))


def test_the_times_are_those_of_the_definitions() -> None:
    found = look(
        stream(
            (0.02, CREATED),
            (0.1, text()),
            (0.2, text() + text()),
            (0.5, text()),
            (0.6, b": tick\n\n"),
            (0.75, terminal()),
        )
    )
    assert found.outcome == "ok"
    exact = {"ttfb": 0.01, "ttfe": 0.02, "ttft": 0.1, "ttfo": 0.1, "e2e": 0.75}
    assert {name: found.times[name] for name in exact} == exact
    assert found.pools["itl"] == pytest.approx([0.1, 0.3])
    assert found.times.get("max_gap") == pytest.approx(0.3)
    assert found.times.get("tail") == pytest.approx(0.25)
    assert found.times.get("tpot") == pytest.approx(0.4 / 3)
    assert (found.deltas, len(found.content)) == (4, 3)
    assert found.usage == {"input_tokens": 9, "output_tokens": 4}


def test_every_time_of_the_table_is_taken() -> None:
    lags = {"sched_lag", "dispatch_lag"}
    since_schedule = {name for name, metric in TIMES.items() if metric.since}
    assert {*MEASURES, *POOLS, *lags, *since_schedule, *Opening._fields} == set(DISTRIBUTIONS)
    assert set(POOLS) == {name for name, metric in TIMES.items() if metric.pooled}
    assert {metric.since for metric in TIMES.values()} - {""} <= set(MEASURES)


def test_an_event_arrives_with_its_last_byte() -> None:
    first = text()
    found = look(stream((0.1, CREATED + first[:-1]), (0.3, first[-1:]), (0.4, terminal())))
    assert (found.times.get("ttfe"), found.times.get("ttft")) == (0.1, 0.3)


def test_tokens_that_share_the_first_receive_do_not_speed_up_tpot() -> None:
    found = look(stream((0.1, text() * 3), (0.2, text()), (0.3, text()), (0.3, terminal(tokens=5))))
    assert found.times.get("tpot") == pytest.approx(0.1)


def test_several_tokens_in_a_delta_count_by_usage() -> None:
    found = look(stream((0.1, text("four ")), (0.5, text("more ")), (0.5, terminal(tokens=9))))
    assert found.times.get("tpot") == pytest.approx(0.4 / 4.5)


def test_evenly_filled_deltas_have_the_true_tpot() -> None:
    found = look(stream(*((0.1 + 0.04 * number, text("a b c d ")) for number in range(8)), (0.4, terminal(tokens=32))))
    assert found.times.get("tpot") == pytest.approx(0.01)


@pytest.mark.parametrize(
    "kind",
    ["response.reasoning_text.delta", "response.reasoning_summary_text.delta", "response.brand_new_reasoning.delta"],
)
def test_reasoning_is_content_but_not_output(kind: str) -> None:
    found = look(stream((0.1, event(kind, delta="hm")), (0.4, text()), (0.5, terminal())))
    assert (found.times.get("ttft"), found.times.get("ttfo")) == (0.1, 0.4)


@pytest.mark.parametrize(
    "kind",
    [
        "response.function_call_arguments.delta",
        "response.refusal.delta",
        "response.audio.delta",
        "response.custom_tool_call_input.delta",
    ],
)
def test_every_channel_carries_content(kind: str) -> None:
    assert look(stream((0.1, event(kind, delta="x")), (0.5, terminal()))).times.get("ttfo") == 0.1


def test_empty_deltas_and_whole_parts_are_no_content() -> None:
    found = look(
        stream(
            (0.1, text("")), (0.2, event("response.output_text.done", text="ab")), (0.3, b": \n\n"), (0.4, terminal())
        )
    )
    assert (found.outcome, found.pools["itl"]) == ("ok", [])
    assert not {"ttft", "tpot"} & set(found.times)


@pytest.mark.parametrize(
    ("exchange", "outcome"),
    [
        (stream((0.1, text()), (0.2, terminal())), "ok"),
        (stream((0.1, text())), "truncated"),
        (stream(), "truncated"),
        (stream((0.1, text()), (0.2, terminal("failed"))), "failed"),
        (stream((0.1, text()), (0.2, event("error", message="no", code="x"))), "failed"),
        (stream((0.2, terminal("incomplete", incomplete_details={"reason": "max_output_tokens"}))), "ok"),
        (stream((0.2, terminal("incomplete", incomplete_details={"reason": "content_filter"}))), "incomplete"),
        (stream((0.1, text()), outcome=Outcome.CUT, detail="cut"), "transport"),
        (stream((0.1, text()), (0.2, terminal()), outcome=Outcome.CUT, detail="cut"), "nonconforming"),
        (stream((0.1, text()), outcome=Outcome.TIMEOUT), "timeout"),
        (stream((0.1, text()), outcome=Outcome.CANCELLED), "censored"),
        (stream(outcome=Outcome.REFUSED, status=None), "transport"),
        (stream(outcome=Outcome.REFUSED, status=None, tags=(Tag.UNOPENED,)), "unopened"),
        (stream(outcome=Outcome.TLS, status=None), "transport"),
        (stream(outcome=Outcome.PROTOCOL, status=None), "transport"),
        (stream((0.1, b"{}"), status=429), "http_429"),
        (stream((0.1, b"{}"), status=401), "http_4xx"),
        (stream((0.1, b"<html>"), status=503), "http_5xx"),
        (stream(status=307), "nonconforming"),
        (stream((0.1, b"{}"), headers=(("Content-Type", "application/json"),)), "nonconforming"),
        (
            stream((0.1, b"x"), headers=(("Content-Type", "text/event-stream"), ("Content-Encoding", "gzip"))),
            "nonconforming",
        ),
        (stream((0.1, b"data: {not json\n\ndata: [1]\n\ndata: 3\n\n")), "truncated"),
    ],
)
def test_every_end_has_its_outcome(exchange: Exchange, outcome: str) -> None:
    found = look(exchange)
    assert found.outcome == outcome
    assert bool(found.detail) == (outcome != "ok")


def test_a_broken_rule_is_never_ok() -> None:
    found = look(stream((0.1, text()), (0.2, terminal())), "SSE-03")
    assert (found.outcome, found.rules, found.judged) == ("nonconforming", ["SSE-03"], True)
    assert "SSE-03" in found.detail


def test_a_failure_stays_one_whatever_else_it_broke() -> None:
    assert look(stream((0.1, terminal("failed"))), "SSE-03").outcome == "failed"


@pytest.mark.parametrize(
    "exchange", [stream(outcome=Outcome.CUT), stream(outcome=Outcome.CANCELLED), stream(status=500)]
)
def test_what_never_became_an_answer_is_not_judged(exchange: Exchange) -> None:
    found = look(exchange, "SSE-03")
    assert (found.judged, found.rules) == (False, [])


def test_the_server_says_why_it_failed() -> None:
    body = json.dumps({"error": {"message": "slow\x1b[31m down", "type": "x"}}).encode()
    assert look(stream((0.1, body), status=429)).detail == "HTTP 429: slow [31m down"
    failed = stream((0.1, terminal("failed", error={"code": "x", "message": "out of memory"})))
    assert look(failed).detail == "out of memory"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"object": "response", "status": "completed", "usage": {"output_tokens": 3}}, "ok"),
        ({"object": "response", "status": "failed", "error": {"message": "no"}}, "failed"),
        (
            {"object": "response", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "ok",
        ),
        ({"object": "response", "status": "incomplete"}, "incomplete"),
        ({"object": "response", "status": 3}, "nonconforming"),
        ({"object": "list"}, "nonconforming"),
        ([], "nonconforming"),
    ],
)
def test_a_reply_that_is_not_a_stream_has_its_outcome_too(body: Any, outcome: str) -> None:
    exchange = stream((0.4, json.dumps(body).encode()), headers=(("Content-Type", "application/json"),), role="plain")
    found = look(exchange)
    assert found.outcome == outcome
    if outcome == "ok":
        assert found.times.get("e2e") == 0.4
        assert found.times.get("ttft") is None


def test_a_timeline_has_every_event_with_its_time() -> None:
    exchange = stream((0.02, CREATED + text()), (0.1, text()), (0.3, text() + text()), (0.4, b"data: [DONE]\n\n"))
    delta = "response.output_text.delta"
    assert timeline(exchange) == [
        (0.02, 0.02, "response.created", 1, 0),
        (0.02, 0.02, delta, 1, len(CREATED)),
        (0.1, 0.1, delta, 1, len(CREATED + text())),
        (0.3, 0.3, delta, 2, len(CREATED + 2 * text())),
        (0.4, 0.4, "[DONE]", 1, len(CREATED + 4 * text())),
    ]


@given(st.lists(st.tuples(st.floats(0, 9), st.sampled_from("ab")), max_size=40), st.integers(1, 12))
def test_a_short_timeline_keeps_all_events_and_the_longest_silences(events: list[tuple[float, str]], most: int) -> None:
    times = list(itertools.accumulate(gap for gap, _ in events))
    exchange = stream(*((at, event(kind)) for at, (_, kind) in zip(times, events, strict=True)))
    found = timeline(exchange, most)
    assert len(found) <= most
    assert sum(count for _, _, _, count, _ in found) == len(events)
    assert all(begin <= end for begin, end, *_ in found)
    assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(found))
    if "b" not in {kind for _, kind in events} and len(events) > most > 1:
        silences = sorted((later - earlier for earlier, later in itertools.pairwise(times)), reverse=True)
        shown = sorted((later[0] - earlier[1] for earlier, later in itertools.pairwise(found)), reverse=True)
        assert shown == pytest.approx(silences[: len(shown)])


def test_keepalive_is_no_event_of_the_response() -> None:
    """Clients of openai ignore it, so it ends no wait, neither for the first event nor for a token."""
    kept = event("keepalive", sequence_number=0)
    parts = [(0.1, CREATED), (0.3, text()), (0.5, text()), (0.6, terminal())]
    silent = measure(stream(*parts), load_dialect("openai"), lambda *_: BrokenRules((), ()))
    alive = [(0.05, kept), parts[0], (0.2, kept), parts[1], (0.4, kept), *parts[2:]]
    found = measure(stream(*alive), load_dialect("openai"), lambda *_: BrokenRules((), ()))
    assert found.times == silent.times
    assert found.content == silent.content
    assert found.outcome == silent.outcome
    other = measure(stream(*alive), load_dialect("northstar"), lambda *_: BrokenRules((), ()))
    assert (found.times["ttfe"], other.times["ttfe"]) == (0.1, 0.05)
