from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from rejoinder.conformance.judgement import judge
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.fold import StreamFold
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Status
from rejoinder.strategies.replies import event_streams, output_items, output_types, response_objects, to_sse, unfold
from rejoinder.strategies.sampling import drawn, sample

DIALECTS = dialect_names()
ENDED = ("completed", "incomplete", "failed")
UNSHRUNK = settings(max_examples=5, deadline=None, database=None, phases=[Phase.generate])
QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def broken(exchange: Exchange, dialect: str) -> dict[str, str]:
    """Return the rules that an exchange breaks or that a check could not judge, with the first message each."""
    bad = (Status.FAIL, Status.WARN, Status.ERROR)
    return {
        verdict.rule: verdict.findings[0].evidence.message if verdict.findings else verdict.reason
        for verdict in judge([exchange], dialect)
        if verdict.status in bad
    }


@pytest.mark.slow(1)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_streams_keep_every_rule(dialect: str) -> None:
    @QUIET
    @given(event_streams(dialect=dialect, extensions=True))
    def check(events: list[dict[str, Any]]) -> None:
        body = {"input": "Say hello.", "stream": True, "background": events[0]["response"].get("background", True)}
        exchange = Exchange(
            id="x",
            request=Request("POST", "/v1/responses", body=json.dumps(body).encode()),
            outcome=Outcome.COMPLETE,
            status=200,
            headers=(("content-type", "text/event-stream"),),
            chunks=(Chunk(0.1, to_sse(events, dialect=dialect)),),
            started_at=events[0]["response"]["created_at"],
            ended_at=1.0,
        )
        assert broken(exchange, dialect) == {}

    check()


@pytest.mark.slow(1)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_responses_keep_every_rule(dialect: str) -> None:
    @QUIET
    @given(response_objects(dialect=dialect))
    def check(response: dict[str, Any]) -> None:
        assert load_dialect(dialect).response_validator.errors(response) == []
        exchange = Exchange(
            id="x",
            # Only who retrieves a response sees that it was cancelled.
            request=Request("GET", f"/v1/responses/{response['id']}")
            if response["status"] == "cancelled"
            else Request("POST", "/v1/responses", body=b'{"input": "Say hello."}'),
            started_at=response["created_at"],
            outcome=Outcome.COMPLETE,
            status=200,
            headers=(("content-type", "application/json"),),
            chunks=(Chunk(0.1, json.dumps(response).encode()),),
            ended_at=1.0,
        )
        assert broken(exchange, dialect) == {}

    check()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_folding_undoes_unfolding(dialect: str) -> None:
    @QUIET
    @given(response_objects(dialect=dialect, endings=ENDED), st.integers(1, 4), st.booleans())
    def check(response: dict[str, Any], size: int, queued: bool) -> None:
        events = unfold(
            response,
            dialect=dialect,
            cut=lambda text: [text[start : start + size] for start in range(0, len(text), size)],
            queued=queued,
        )
        fold = StreamFold(load_dialect(dialect))
        for event in events:
            fold.feed(event)
        assert fold.output() == response["output"]
        assert fold.misnamed == []

    check()


@pytest.mark.slow(4)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_output_type_can_be_streamed(dialect: str) -> None:
    for type_ in output_types(dialect):
        [events] = sample(event_streams(dialect=dialect, types=[type_], endings=["completed"]), 1)
        assert {item["type"] for item in events[-1]["response"]["output"]} == {type_}


@pytest.mark.slow(4)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_event_type_and_ending_occurs(dialect: str) -> None:
    expected = set(load_dialect(dialect).events)
    streams = [
        events
        for type_ in output_types(dialect)
        for events in drawn(event_streams(dialect=dialect, types=[type_], max_items=2), 40, seed=1)
    ]
    seen = {event["type"] for events in streams for event in events}
    assert expected - seen == set()
    endings = {events[-1]["type"] for events in streams}
    assert endings >= {"response.completed", "response.incomplete", "response.failed"}


@pytest.mark.slow(2)
def test_a_stream_shrinks_to_one_item_without_text() -> None:
    events = find(event_streams(types=["message"]), lambda events: True)
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.output_item.done",
        "response.completed",
    ]


def test_a_cancelled_response_has_no_stream() -> None:
    [response] = sample(response_objects(endings=["cancelled"]), 1)
    assert (response["status"], response["background"]) == ("cancelled", True)
    with pytest.raises(InvalidArgument, match="cancelled"):
        unfold(response)


def test_options_that_name_nothing_are_refused() -> None:
    for call in (
        lambda: output_items(types=["mesage"]),
        lambda: output_items(types=[]),
        lambda: output_items(dialect="nothern"),
        lambda: response_objects(endings=["ended"]),
        lambda: response_objects(endings=["failed"], max_items=0),
        lambda: response_objects(types=["compaction"], endings=["incomplete"]),
        lambda: event_streams(dialect="nothern"),
    ):
        strategy = call()
        with pytest.raises(InvalidArgument):
            strategy.validate()
