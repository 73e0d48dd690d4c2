"""What the checks of streams take and what they do not, where the sandbox alone cannot show it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.contract import load_dialect, load_rules
from rejoinder.model.exchange import Chunk, Exchange
from rejoinder.sandbox import Sandbox, post
from rejoinder.wire.sse import read_events

Fires = Callable[..., bool | None]
Events = list[dict[str, Any]]
ERROR = {"type": "error", "sequence_number": 0, "code": "invalid", "message": "No.", "param": None}


def stream(change: Callable[[Events], Any], dialect: str = "northstar", **request: Any) -> Exchange:
    """Return the stream of the sandbox with changed events; ``change`` gets them and may return others."""
    exchange = Sandbox(dialect).exchange(post({"input": "Say hello.", "stream": True, **request}), tags=("valid",))
    events = [json.loads(event.data) for event in read_events(exchange.chunks)[0] if event.data != "[DONE]"]
    events = change(events) or events
    data = "".join(f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n" for event in events)
    end = "data: [DONE]\n\n" if dialect == "openresponses" else ""
    return replace(exchange, chunks=(Chunk(0.1, (data + end).encode()),))


def of(events: Events, *kinds: str) -> Events:
    return [event for event in events if event["type"] in kinds]


TOOL = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}, "strict": False}
CALL: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required"}


@pytest.mark.parametrize("rule", ["LIF-01", "LIF-02", "LIF-05"])
def test_a_stream_of_an_error_is_no_response(fires: Fires, rule: str) -> None:
    exchange = stream(lambda events: [ERROR])
    assert fires(rule, exchange) in (None, False)
    assert fires("LIF-08", exchange) is True


def test_a_stream_that_ends_with_an_error_has_no_terminal_event(fires: Fires) -> None:
    assert fires("LIF-05", stream(lambda events: [*events[:-1], ERROR])) is False
    assert fires("LIF-05", stream(lambda events: [ERROR, *events[:-1]])) is True


@pytest.mark.parametrize(
    ("name", "first", "last", "found"),
    [
        ("model", "parrot", "acme/parrot-2", False),
        ("model", "parrot", "macaw", True),
        ("model", "acme/parrot-2", "parrot", True),
        ("temperature", None, 0.5, False),
        ("temperature", 0.5, 0.7, True),
        ("temperature", 0.1, 0.10000000149011612, False),
        ("created_at", 1_760_000_000, 1_760_000_001, True),
    ],
)
def test_what_may_change_in_response_objects(fires: Fires, name: str, first: Any, last: Any, found: bool) -> None:
    def change(events: Events) -> None:
        for event in events:
            if "response" in event:
                event["response"][name] = last if event is events[-1] else first

    assert fires("LIF-10", stream(change)) is found


@pytest.mark.parametrize(("dialect", "found"), [("openai", False), ("northstar", True), ("openresponses", True)])
def test_keepalive(fires: Fires, dialect: str, found: bool) -> None:
    exchange = stream(lambda events: [*events[:3], {"type": "keepalive"}, *events[3:]], dialect)
    assert fires("EVT-07", exchange, dialect=dialect) is found
    assert fires("EVT-02", exchange, dialect=dialect) is False


@pytest.mark.parametrize("number", [None, 0, 2, 7, -1])
def test_keepalive_breaks_no_rule_wherever_it_comes(number: int | None) -> None:
    event = {"type": "keepalive"} if number is None else {"type": "keepalive", "sequence_number": number}
    many = len(read_events(stream(lambda _: None, "openai").chunks)[0])
    for place in range(many):

        def insert(events: Events, at: int = place) -> Events:
            return [*events[:at], event, *events[at:]]

        exchange = stream(insert, "openai")
        assert [verdict.rule for verdict in judge([exchange], "openai") if verdict.findings] == [], place


@pytest.mark.parametrize(("deltas", "found"), [(True, True), (False, False)])
def test_arguments_of_a_call_that_is_added(fires: Fires, deltas: bool, found: bool) -> None:
    def change(events: Events) -> Events:
        of(events, "response.output_item.added")[0]["item"]["arguments"] = "{}"
        return events if deltas else [e for e in events if e["type"] != "response.function_call_arguments.delta"]

    exchange = stream(change, **CALL)
    assert fires("ITM-09", exchange) is found


def test_arguments_without_deltas_are_those_of_the_added_call(fires: Fires) -> None:
    def change(events: Events) -> Events:
        whole = of(events, "response.function_call_arguments.done")[0]["arguments"]
        of(events, "response.output_item.added")[0]["item"]["arguments"] = whole
        return [e for e in events if e["type"] != "response.function_call_arguments.delta"]

    assert fires("ACC-05", stream(change, **CALL)) is False
    none = stream(lambda events: [e for e in events if not e["type"].endswith("arguments.delta")], **CALL)
    assert fires("ACC-05", none) is True


@pytest.mark.parametrize(("deltas", "found"), [(True, True), (False, False)])
def test_text_of_a_part_that_is_added(fires: Fires, deltas: bool, found: bool) -> None:
    def change(events: Events) -> Events:
        of(events, "response.content_part.added")[0]["part"]["text"] = "Hello."
        return events if deltas else [e for e in events if e["type"] != "response.output_text.delta"]

    assert fires("PRT-03", stream(change)) is found


@pytest.mark.parametrize(("parts", "found"), [(True, True), (False, False)])
def test_content_of_a_message_that_is_added(fires: Fires, parts: bool, found: bool) -> None:
    def change(events: Events) -> Events:
        added = of(events, "response.output_item.added")[0]["item"]
        added["content"] = of(events, "response.output_item.done")[0]["item"]["content"]
        return events if parts else [e for e in events if "content_index" not in e]

    assert fires("ITM-08", stream(change)) is found


@pytest.mark.parametrize(
    ("rule", "kind", "status", "found"),
    [
        ("ITM-07", "message", "in_progress", False),
        ("ITM-07", "message", "completed", True),
        ("ITM-07", "acme:search", "warming_up", False),
        ("ITM-10", "message", "in_progress", True),
        ("ITM-10", "acme:search", "filed", False),
        ("ITM-10", "acme:search", "searching", True),
    ],
)
def test_the_status_of_items(fires: Fires, rule: str, kind: str, status: str, found: bool) -> None:
    def change(events: Events) -> None:
        for event in of(events, "response.output_item.added", "response.output_item.done"):
            event["item"] |= {"type": kind, "status": status}

    assert fires(rule, stream(change, "openresponses"), dialect="openresponses") is found


def test_a_done_item_that_is_null_is_left_to_its_rule(fires: Fires) -> None:
    def change(events: Events) -> None:
        of(events, "response.output_item.done")[0]["item"] = None

    exchange = stream(change, "openresponses")
    assert fires("ITM-06", exchange, dialect="openresponses") is True
    assert fires("ITM-02", exchange, dialect="openresponses") is False
    assert fires("ACC-12", exchange, dialect="openresponses") is False


def test_an_index_that_two_items_have_is_left_to_its_rule(fires: Fires) -> None:
    exchange = Sandbox(faults=["output-index-constant"]).exchange(
        post({"input": "Say hello.", "model": "parrot-reasoning", "reasoning": {"effort": "low"}, "stream": True})
    )
    assert fires("ITM-03", exchange) is True
    assert fires("ITM-18", exchange) is False


@pytest.mark.parametrize(("dialect", "found"), [("northstar", True), ("openai", True), ("openresponses", False)])
def test_types_of_reasoning_parts(fires: Fires, dialect: str, found: bool) -> None:
    def change(events: Events) -> None:
        for event in events:
            part = event.get("part")
            if isinstance(part, dict) and part.get("type") == "reasoning_text":
                part["type"] = "output_text"

    asked: dict[str, Any] = {"model": "parrot-reasoning", "reasoning": {"effort": "low"}}
    assert fires("PRT-06", stream(change, dialect, **asked), dialect=dialect) is found


@pytest.mark.parametrize(("dialect", "level"), [("northstar", "SHOULD"), ("openai", "MUST")])
def test_an_incomplete_response_that_ends_as_completed(fires: Fires, dialect: str, level: str) -> None:
    def misnamed(events: Events) -> None:
        for event in of(events, "response.incomplete"):
            event["type"] = "response.completed"

    ended = stream(misnamed, dialect, input="Tell a long story.", max_output_tokens=16)
    assert (fires("LIF-07", ended, dialect=dialect), fires("LIF-15", ended, dialect=dialect)) == (False, True)
    assert load_dialect(dialect).level_of(load_rules()["LIF-15"]) == level
    right = stream(lambda events: None, dialect, input="Tell a long story.", max_output_tokens=16)
    assert fires("LIF-15", right, dialect=dialect) is False


def test_a_part_that_comes_with_its_item_needs_no_event_to_be_found(fires: Fires) -> None:
    def with_item(events: Events) -> Events:
        [part] = of(events, "response.content_part.added")
        [item] = of(events, "response.output_item.added")
        item["item"]["content"] = [part["part"]]
        return [event for event in events if event is not part]

    def without(events: Events) -> Events:
        return [event for event in events if event["type"] != "response.content_part.added"]

    assert [fires(rule, stream(with_item)) for rule in ("PRT-01", "PRT-14")] == [False, True]
    assert [fires(rule, stream(without)) for rule in ("PRT-01", "PRT-14")] == [True, False]
    assert [fires(rule, stream(lambda events: None)) for rule in ("PRT-01", "PRT-14")] == [False, False]


def test_a_part_without_text_is_added_too(fires: Fires) -> None:
    def without(events: Events, *dropped: str) -> Events:
        return [event for event in events if event["type"] not in dropped]

    text = ("response.output_text.delta", "response.output_text.done")
    added = stream(lambda events: without(events, *text))
    closed = stream(lambda events: without(events, "response.content_part.added", *text))
    assert [fires("PRT-01", one) for one in (added, closed)] == [False, True]


@pytest.mark.parametrize(("index", "found"), [(0, False), (7, True)])
def test_every_event_with_an_output_index_belongs_to_an_item(fires: Fires, index: int, found: bool) -> None:
    def with_command(events: Events) -> Events:
        [added] = of(events, "response.output_item.added")
        place = events.index(added) + 1
        command = {"type": "response.shell_call_command.added", "output_index": index, "command_index": 0}
        return [*events[:place], {**command, "command": "ls", "sequence_number": 0}, *events[place:]]

    assert fires("ITM-18", stream(with_command, "openai"), dialect="openai") is found


@pytest.mark.parametrize(("field", "found"), [("incomplete_details", False), ("status", True)])
def test_only_fields_of_the_item_type_are_compared_with_the_final_item(fires: Fires, field: str, found: bool) -> None:
    def change(events: Events) -> None:
        for event in of(events, "response.output_item.done"):
            event["item"][field] = "incomplete"
        events.append({"type": "acme:tick", "sequence_number": len(events)})

    for rule in ("ITM-05", "ACC-12", "EVT-09"):
        assert fires(rule, stream(change)) is found, rule


def test_new_items_have_two_rules(fires: Fires) -> None:
    def finished(events: Events) -> None:
        of(events, "response.output_item.added")[0]["item"]["status"] = "completed"

    def poor(events: Events) -> None:
        del of(events, "response.output_item.added")[0]["item"]["arguments"]

    assert [fires(rule, stream(finished, **CALL)) for rule in ("ITM-07", "ITM-23")] == [True, False]
    assert [fires(rule, stream(poor, **CALL)) for rule in ("ITM-07", "ITM-23")] == [False, True]
