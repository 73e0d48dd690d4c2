"""Which tokens were streamed, how many there are without usage, and which usage contradicts the text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract import load_dialect
from rejoinder.load.measure.measure import Measurement, measure
from rejoinder.load.measure.token_estimate import estimate_tokens
from rejoinder.load.measure.tokens import Doubt
from rejoinder.load.objectives.answer_policy import BrokenRules
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request

DIALECT = load_dialect()
PROSE = "The server answers each request within a few seconds, and then it waits for the next one. "
STEP = 0.02


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def delta(text: str, kind: str = "output_text") -> bytes:
    return event(f"response.{kind}.delta", delta=text)


def end(usage: dict[str, Any] | None, kind: str = "completed", output: Any = ()) -> bytes:
    return event(f"response.{kind}", response={"status": kind, "usage": usage, "output": list(output)})


def usage(output: int, reasoning: int | None = None, **fields: Any) -> dict[str, Any]:
    details = {} if reasoning is None else {"output_tokens_details": {"reasoning_tokens": reasoning}}
    return {"input_tokens": 10, "output_tokens": output, **details, **fields}


def streamed(
    *pieces: bytes, usage: dict[str, Any] | None, first: float = 0.1, kind: str = "completed", output: Any = ()
) -> Measurement:
    """Return what is measured of a stream with a piece every 20 ms, the first one after 100 ms."""
    times = [first + STEP * number for number in range(len(pieces))]
    chunks = [*zip(times, pieces, strict=True), ((times[-1] if times else 0.0) + 0.01, end(usage, kind, output))]
    return taken(tuple(Chunk(at, data) for at, data in chunks), "text/event-stream")


def whole(body: dict[str, Any], at: float = 0.5) -> Measurement:
    data = json.dumps({"object": "response", "status": "completed", **body}).encode()
    return taken((Chunk(at, data),), "application/json")


def taken(chunks: tuple[Chunk, ...], media: str, **fields: Any) -> Measurement:
    exchange = Exchange(
        id="x",
        request=Request("POST", "/v1/responses", (), b'{"stream":true}' if "event" in media else b"{}"),
        outcome=Outcome.COMPLETE,
        **{"status": 200, "headers": (("Content-Type", media), *fields.pop("headers", ())), **fields},
        chunks=chunks,
        role="stream" if media == "text/event-stream" else "plain",
        ended_at=chunks[-1].t,
    )
    return measure(exchange, DIALECT, lambda *_: BrokenRules())


def words(count: int) -> list[bytes]:
    return [delta("word ") for _ in range(count)]


def thoughts(count: int, kind: str = "reasoning_text") -> list[bytes]:
    return [delta("hm ", kind) for _ in range(count)]


def test_one_token_in_each_delta() -> None:
    found = streamed(*words(16), usage=usage(16))
    assert found.times["tpot"] == pytest.approx(STEP)
    assert (found.tokens.output, found.tokens.streamed, found.tokens.estimated) == (16, 16, False)


def test_the_speed_for_one_user_is_that_of_the_tokens_after_the_first_read() -> None:
    # 15 tokens in the 300 ms after the first one, and 10 ms more to the terminal event.
    assert streamed(*words(16), usage=usage(16)).times["output_tokens_per_user"] == pytest.approx(15 / 0.31)
    hidden = streamed(*words(16), usage=usage(1016, 1000), first=2.0)
    assert hidden.times["output_tokens_per_user"] == pytest.approx(15 / 0.31)
    assert "output_tokens_per_user" not in streamed(delta("a b"), usage=usage(2)).times
    assert "output_tokens_per_user" not in whole({"usage": usage(16)}).times


def test_several_tokens_in_each_delta() -> None:
    found = streamed(*[delta("one two four five ")] * 8, usage=usage(32))
    assert found.times["tpot"] == pytest.approx(STEP / 4)


def test_a_single_delta_has_no_time_per_token() -> None:
    found = streamed(delta("one two three"), usage=usage(3))
    assert "tpot" not in found.times
    assert found.arrivals() == [(0.1, 3)]


@pytest.mark.parametrize("output", [1, 0])
def test_one_token_has_no_time_per_token(output: int) -> None:
    assert "tpot" not in streamed(delta("a"), delta("b"), usage=usage(output)).times


def test_hidden_reasoning_is_no_part_of_the_time_per_token() -> None:
    found = streamed(*words(16), usage=usage(1016, 1000), first=2.0)
    assert found.times["tpot"] == pytest.approx(STEP)
    assert (found.tokens.output, found.tokens.streamed) == (1016, 16)
    arrivals = found.arrivals()
    assert sum(amount for _, amount in arrivals) == pytest.approx(1016)
    # The hidden ones were made before the first content: half of them in the first half of that time.
    assert sum(amount for at, amount in arrivals if at < 1.0) == pytest.approx(500)
    assert sum(amount for at, amount in arrivals if at >= 2.0) == pytest.approx(16)


def test_reasoning_that_was_streamed_counts() -> None:
    found = streamed(*thoughts(10), *words(6), usage=usage(16, 10))
    assert found.times["tpot"] == pytest.approx(STEP)
    assert (found.tokens.output, found.tokens.streamed) == (16, 16)


@pytest.mark.parametrize("reported", [None, 0])
def test_reasoning_that_was_streamed_counts_where_usage_does_not_count_it_apart(reported: int | None) -> None:
    assert streamed(*thoughts(10), *words(6), usage=usage(16, reported)).times["tpot"] == pytest.approx(STEP)


def test_a_summary_is_not_the_reasoning() -> None:
    found = streamed(*thoughts(4, "reasoning_summary_text"), *words(16), usage=usage(1016, 1000))
    assert found.times["tpot"] == pytest.approx(STEP)
    assert found.tokens.streamed == 16
    both = streamed(*thoughts(4, "reasoning_summary_text"), *thoughts(4), *words(12), usage=usage(16, 4))
    assert both.times["tpot"] == pytest.approx(STEP)


def test_more_reasoning_than_output_is_not_taken_out() -> None:
    assert streamed(*words(16), usage=usage(16, 40)).tokens.streamed == 16


@pytest.mark.parametrize(
    ("reported", "cached"),
    [
        (usage(4), None),
        (usage(4, input_tokens_details={"cached_tokens": 9}), 9),
        (usage(4, input_tokens_details=[]), None),
        (usage(4, input_tokens_details={"cached_tokens": True}), None),
    ],
)
def test_details_of_usage_are_read_where_they_are(reported: dict[str, Any], cached: int | None) -> None:
    assert streamed(*words(4), usage=reported).usage.get("cached_tokens") == cached


@pytest.mark.parametrize(
    "reported",
    [None, {}, {"output_tokens": None}, {"output_tokens": "16"}, {"output_tokens": 0}, {"output_tokens": -1}],
)
def test_tokens_without_a_count_are_estimated(reported: dict[str, Any] | None) -> None:
    found = streamed(*words(16), usage=reported)
    assert (found.tokens.output, found.tokens.estimated) == (16, True)
    assert found.times["tpot"] == pytest.approx(STEP)
    assert sum(amount for _, amount in found.arrivals()) == pytest.approx(16)


def test_deltas_count_as_tokens_only_where_the_text_has_about_as_many() -> None:
    text = PROSE * 4
    expected = estimate_tokens(text)
    letters = streamed(*[delta(letter) for letter in text], usage=None)
    two = streamed(delta(text[:100]), delta(text[100:]), usage=None)
    assert letters.tokens.output == two.tokens.output == expected
    near = streamed(*[delta(word + " ") for word in text.split()], usage=None)
    assert near.tokens.output == len(text.split())


def test_text_outside_of_streams_is_estimated_too() -> None:
    message = {"type": "message", "content": [{"type": "output_text", "text": PROSE}]}
    thought = {"type": "reasoning", "content": [{"text": PROSE}], "summary": [{"text": PROSE}]}
    call = {"type": "function_call", "arguments": '{"a": 1}'}
    found = whole({"output": [message, thought, call, "x", {"content": 3}]})
    assert found.tokens.estimated
    assert found.tokens.output == pytest.approx(3 * estimate_tokens(PROSE) + 5, abs=3)
    assert found.arrivals() == [(0.5, found.tokens.output)]
    assert streamed(usage=None, output=[message]).tokens.output == estimate_tokens(PROSE)
    assert whole({"output": []}).tokens.output is None


@pytest.mark.parametrize(
    ("pieces", "count", "doubt"),
    [
        (words(16), 16, None),
        (words(16), 160, Doubt.TOO_MANY),
        (words(4), 40, Doubt.TOO_MANY),
        (words(16), 3, Doubt.TOO_FEW),
        (words(16), 0, Doubt.ZERO),
        ([], 0, None),
        # Digits may have a token each, and marks of the beginning and the end count too.
        ([delta("123456789012")], 14, None),
        (words(1), 12, None),
        # The name and the marks of a call are not part of its arguments.
        ([delta("ok"), delta("{}", "function_call_arguments")], 60, None),
    ],
)  # fmt: skip
def test_usage_that_contradicts_the_text_is_in_doubt(pieces: list[bytes], count: int, doubt: Doubt | None) -> None:
    assert streamed(*pieces, usage=usage(count)).tokens.doubt is doubt


def test_reasoning_that_no_event_carried_is_no_contradiction() -> None:
    assert streamed(*words(16), usage=usage(1016, 1000)).tokens.doubt is None
    assert streamed(*words(16), usage=usage(1016)).tokens.doubt is Doubt.TOO_MANY


def test_a_failed_stream_is_not_compared_with_its_usage() -> None:
    assert streamed(*words(16), usage=usage(0), kind="failed").tokens.doubt is None


@given(st.text(max_size=300))
def test_no_text_has_more_tokens_than_bytes(text: str) -> None:
    assert 0 <= estimate_tokens(text) <= max(1, 2 * len(text.encode("utf-8", "surrogatepass")))


@pytest.mark.parametrize(
    ("text", "tokens"),
    # The counts are those of o200k.
    [
        (PROSE, 20),
        ("def add(a: int, b: int) -> int:\n    return a + b\n", 19),
        ("| a | b |\n|---|---|\n| **1** | `x` |", 19),
    ],
)
def test_estimates_are_near_to_a_real_tokenizer(text: str, tokens: int) -> None:
    assert estimate_tokens(text) == pytest.approx(tokens, rel=0.2)


def test_failed_answers_have_a_latency_of_their_own() -> None:
    refused = taken((Chunk(0.3, b"{}"),), "application/json", status=503)
    assert (refused.times["failed_latency"], refused.times.get("e2e")) == (0.3, None)
    failed = streamed(*words(2), usage=None, kind="failed")
    assert failed.times["failed_latency"] == failed.end == pytest.approx(0.13)
    assert whole({"status": "failed"}).times["failed_latency"] == 0.5
    other = taken((Chunk(0.2, b'{"error": {}}'),), "application/json")
    assert other.times["failed_latency"] == 0.2
    assert "failed_latency" not in streamed(*words(2), usage=usage(2)).times


@pytest.mark.parametrize(
    ("status", "value", "seconds"),
    [
        (429, "7", 7.0),
        (503, "0", 0.0),
        (429, "soon", None),
        (200, "7", None),
        (429, "Thu, 01 Jan 1970 00:01:40 GMT", 79.7),
    ],
)
def test_retry_after_is_read_of_refusals(status: int, value: str, seconds: float | None) -> None:
    chunks = (Chunk(0.3, b'{"object": "response", "status": "completed"}'),)
    found = taken(chunks, "application/json", status=status, headers=(("Retry-After", value),), started_at=20.0)
    assert found.times.get("retry_after") == (None if seconds is None else pytest.approx(seconds))
