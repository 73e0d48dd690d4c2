"""Faults as they were met in the field, with the condition under which each showed."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final, NoReturn

from rejoinder.model.exchange import Headers
from rejoinder.sandbox.endpoint.reply import ApiError, Occasion, Piece, Reply
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    CALL_DONE,
    CREATED,
    IN_PROGRESS,
    ITEM_ADDED,
    ITEM_DONE,
    PART_DONE,
    STREAMED,
    TEXT_DELTA,
    TEXT_DONE,
    Condition,
    Events,
    Fault,
    Visit,
    at_end,
    each,
    every_item,
    in_final,
    in_response,
    is_of,
    items_of,
    only,
    set_to,
    unset,
)

_CALL_DELTA: Final = "response.function_call_arguments.delta"
_FIELDS_KEPT: Final = ("id", "object", "status")


def _crash(_: Json, __: Occasion) -> NoReturn:
    raise ApiError(500, "Internal server error.", code="server_error")


def _tools(body: Mapping[str, Any]) -> list[Any]:
    tools = body.get("tools")
    return tools if isinstance(tools, list) else []


def _holds(value: Any, test: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Return whether any object inside a value passes a test."""
    if isinstance(value, Mapping):
        return test(value) or any(_holds(inner, test) for inner in value.values())
    return isinstance(value, list) and any(_holds(inner, test) for inner in value)


def _is_json_schema(body: Mapping[str, Any]) -> bool:
    text = body.get("text")
    shape = text.get("format") if isinstance(text, Mapping) else None
    return isinstance(shape, Mapping) and bool(shape.get("type") == "json_schema")


def _effort(body: Mapping[str, Any]) -> Any:
    reasoning = body.get("reasoning")
    return reasoning.get("effort") if isinstance(reasoning, Mapping) else None


CONCURRENT: Final = Condition("only with other requests in flight", lambda o: bool(o.others))
_AFTER_STREAM: Final = Condition(
    "only for a request right after a stream", lambda o: o.operation == "create" and o.previous.get("stream") is True
)
_AFTER_TOOLS: Final = Condition(
    "only for a request right after one with tools", lambda o: o.operation == "create" and bool(_tools(o.previous))
)
_ODD_SCHEMA: Final = Condition(
    "only with a tool whose schema has $ref, $defs or anyOf",
    lambda o: _holds(
        [tool.get("parameters") for tool in _tools(o.body) if isinstance(tool, Mapping)],
        lambda schema: bool({"$ref", "$defs", "anyOf"} & set(schema)),
    ),
)
_SEVERAL_CALLS: Final = 2


def _several_items(events: Events) -> bool:
    return sum(1 for event in events if is_of(event, ITEM_ADDED)) > 1


def _stream_of_created(events: Events, _: Occasion) -> Events:
    """Break off after the first event."""
    return events[:1]


def _moved_last(kind: str, behind: str) -> Callable[[Events, Occasion], Events]:
    """Return a hook that moves the last event of one type behind the last of another."""

    def hook(events: Events, _: Occasion) -> Events:
        place = next((i for i in reversed(range(len(events))) if is_of(events[i], kind)), None)
        target = next((i for i in reversed(range(len(events))) if is_of(events[i], behind)), None)
        if place is not None and target is not None and place < target:
            events.insert(target, events.pop(place))
        return events

    return hook


def _last_never_closed(events: Events, _: Occasion) -> Events:
    """Leave out all that closes the last item, as if only the next item's start would."""
    last = max((event["output_index"] for event in events if "output_index" in event), default=0)
    closing = (TEXT_DONE, PART_DONE, ITEM_DONE)
    return [event for event in events if not (is_of(event, *closing) and event["output_index"] == last)]


def _index_carried_over(events: Events, _: Occasion) -> Events:
    """Count the content parts through all items of the response."""
    before: dict[int, int] = {}
    count = 0
    for event in events:
        if is_of(event, ITEM_ADDED):
            before[event["output_index"]] = count
        elif event["type"].endswith("part.added") and "content_index" in event:
            count += 1
        if "content_index" in event:
            event["content_index"] += before[event["output_index"]]
    return events


def _progress_before_created(events: Events, _: Occasion) -> Events:
    """Send the first progress event of a hosted tool's call before anything else."""
    place = next((i for i, event in enumerate(events) if event["type"].endswith("_call.in_progress")), None)
    if place is not None:
        events.insert(0, events.pop(place))
    return events


def _ids_per_delta(events: Events, _: Occasion) -> Events:
    """Give every delta of a reasoning text an item_id of its own."""
    number = 0
    for event in events:
        if "reasoning" in event["type"] and event["type"].endswith(".delta"):
            number += 1
            event["item_id"] = f"{event['item_id']}{number}"
    return events


def _named_by_call(events: Events, _: Occasion) -> Events:
    """Stream function calls under their call_id instead of their id."""
    calls = {
        event["item"]["id"]: event["item"]["call_id"]
        for event in events
        if is_of(event, ITEM_ADDED) and event["item"]["type"] == "function_call"
    }
    for event in events:
        if event.get("item_id") in calls:
            event["item_id"] = calls[event["item_id"]]
        if is_of(event, ITEM_ADDED, ITEM_DONE) and event["item"]["id"] in calls:
            event["item"]["id"] = calls[event["item"]["id"]]
    return events


def _calls_left_out(events: Events, _: Occasion) -> Events:
    calls = {
        event["output_index"]
        for event in events
        if is_of(event, ITEM_ADDED) and event["item"]["type"] == "function_call"
    }
    return [event for event in events if event.get("output_index") not in calls]


def _arguments_merged(events: Events, _: Occasion) -> Events:
    """Send the argument deltas of all calls under the last call's name."""
    deltas = [event for event in events if is_of(event, _CALL_DELTA)]
    if len({event["output_index"] for event in deltas}) < _SEVERAL_CALLS:
        return events
    place = next(i for i, event in enumerate(events) if event is deltas[-1])
    moved = [event for event in deltas if event["output_index"] != deltas[-1]["output_index"]]
    for event in moved:
        event |= {name: deltas[-1][name] for name in ("item_id", "output_index")}
    chosen = {id(event) for event in moved}
    return [
        *(event for event in events[:place] if id(event) not in chosen),
        *moved,
        *events[place:],
    ]


def _last_arguments_not_closed(events: Events, _: Occasion) -> Events:
    places = [i for i, event in enumerate(events) if is_of(event, CALL_DONE)]
    if len(places) >= _SEVERAL_CALLS:
        del events[places[-1]]
    return events


def _two_lifecycles(events: Events, _: Occasion) -> Events:
    """End and begin the response again after the first hosted tool's call."""
    place = next(
        (i for i, e in enumerate(events) if is_of(e, ITEM_DONE) and e["item"]["type"].startswith(("web", "mcp_call"))),
        None,
    )
    if place is None or not is_of(events[-1], "response.completed"):
        return events
    begun = [deepcopy(event) for event in events if is_of(event, CREATED, IN_PROGRESS)]
    ended = deepcopy(events[-1])
    ended["response"]["output"] = ended["response"]["output"][: events[place]["output_index"] + 1]
    return [*events[: place + 1], ended, *begun, *events[place + 1 :]]


def _lost_when_long(events: Events, _: Occasion) -> Events:
    """Lose what does not fit into a buffer of 64 events, terminal event included."""
    return events[:64]


def _lost_after_numbering(events: Events, _: Occasion) -> Events:
    return [event for place, event in enumerate(events) if place < 40 or place % 10]


def _poor_snapshots(response: Json) -> None:
    for name in [name for name in response if name not in _FIELDS_KEPT]:
        del response[name]


def _failed_without_response(events: Events, _: Occasion) -> Events:
    for event in events:
        if is_of(event, "response.failed"):
            event["error"] = event.pop("response")["error"]
    return events


def _named_error(data: bytes, event: Json, _: Occasion) -> bytes:
    return data.replace(b"event: response.failed", b"event: error", 1) if is_of(event, "response.failed") else data


def _nested(event: Json) -> None:
    event["error"] = {"type": "server_error", "code": event.pop("code"), "message": event.pop("message")}
    event["error"]["param"] = event.pop("param", None)


def _flat(event: Json) -> None:
    event |= event.pop("error")
    event["type"] = "error"


def _part_events(events: Events, _: Occasion) -> Events:
    """Tell of the parts of reasoning items in events of their own."""
    reasoning = {event["item"]["id"] for event in events if is_of(event, ITEM_ADDED) and _is_reasoning(event["item"])}
    for event in events:
        if event.get("item_id") in reasoning and event["type"].startswith("response.content_part."):
            event["type"] = event["type"].replace("content_part", "reasoning_part")
    return events


def _is_reasoning(item: Json) -> bool:
    return bool(item["type"] == "reasoning")


def _reasoning_part_minus_one(events: Events, _: Occasion) -> Events:
    for event in events:
        if event["type"].endswith("part.done") and event.get("part", {}).get("type") == "reasoning_text":
            event["content_index"] = -1
    return events


def _without_logprobs(response: Json) -> None:
    for item in items_of(response):
        for part in item.get("content") or ():
            if part.get("logprobs"):
                part["logprobs"] = []


def _empty(response: Json) -> None:
    if response["status"] == "completed":
        response["output"] = []
        response["usage"] |= {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


def _empty_events(events: Events, _: Occasion) -> Events:
    return [event for event in events if "response" in event]


def _compressed(pieces: list[Piece], occasion: Occasion) -> list[Piece]:
    """Compress the stream and lose the end of it."""
    if not occasion.streamed:
        return pieces
    data = gzip.compress(b"".join(piece.data for piece in pieces), mtime=0)
    return [Piece(0.0, data[:-16])]


def _says_gzip(status: int, headers: Headers, occasion: Occasion) -> tuple[int, Headers]:
    return status, (*headers, ("content-encoding", "gzip")) if occasion.streamed else headers


def _busy(_: Json, __: Occasion) -> NoReturn:
    raise ApiError(409, "A response is already in progress.", code="response_in_progress")


def _not_here(visit: Visit) -> Reply | None:
    """Know nothing of a response half of the time, as if its other half were with another process."""
    if visit.method == "GET" and visit.occasion.operation == "response" and visit.stored is not None:
        raise ApiError(404, "There is no such response.", code="response_not_found")
    return None


FAULTS: Final = (
    # Acceptance
    Fault(
        id="unreachable-image-crashes",
        title="An image whose address does not answer is a server error.",
        breaks=("HTTP-03",),
        when=Condition(
            "only with an image at an http address",
            lambda o: _holds(o.body.get("input"), lambda part: str(part.get("image_url")).startswith("http")),
        ),
        request=_crash,
    ),
    Fault(
        id="custom-tool-crashes",
        title="A custom tool that must be called is a server error.",
        breaks=("HTTP-03",),
        when=Condition(
            "only with a custom tool and tool_choice required",
            lambda o: (
                o.body.get("tool_choice") == "required" and _holds(_tools(o.body), lambda t: t.get("type") == "custom")
            ),
        ),
        request=_crash,
    ),
    Fault(
        id="rare-sampling-crashes",
        title="A combination of sampling parameters that hardly anyone sends is a server error.",
        breaks=("HTTP-03",),
        when=Condition(
            "only with top_p and top_logprobs, and without include",
            lambda o: bool(o.body.get("top_p") and o.body.get("top_logprobs") and not o.body.get("include")),
        ),
        rare=True,
        request=_crash,
    ),
    Fault(
        id="odd-tool-schema-crashes",
        title="A function tool with an uncommon but valid schema is a server error.",
        breaks=("HTTP-03",),
        when=_ODD_SCHEMA,
        request=_crash,
    ),
    Fault(
        id="wedged-after-tools",
        title="The server breaks down on whatever comes after a request with tools.",
        breaks=("HTTP-03",),
        when=_AFTER_TOOLS,
        request=_crash,
    ),
    Fault(
        id="busy-after-stream",
        title="The guard of one stream is released late, and the next request is refused.",
        breaks=("HTTP-04",),
        when=_AFTER_STREAM,
        request=_busy,
    ),
    # Streams that break off
    Fault(
        id="json-schema-stream-aborts",
        title="A stream in the shape of a JSON Schema breaks off after its first event.",
        breaks=("LIF-05",),
        when=Condition("only streamed with a JSON Schema", lambda o: o.streamed and _is_json_schema(o.body)),
        events=_stream_of_created,
    ),
    Fault(
        id="high-effort-stream-aborts",
        title="A stream with high reasoning effort breaks off after its first event.",
        breaks=("LIF-05",),
        when=Condition("only streamed with effort high", lambda o: o.streamed and _effort(o.body) == "high"),
        events=_stream_of_created,
    ),
    Fault(
        id="long-stream-loses-its-end",
        title="Of a long stream only as many events come as a buffer holds.",
        breaks=("LIF-05",),
        when=Condition("only in streams of more than 64 events", lambda o: o.streamed),
        events=_lost_when_long,
    ),
    Fault(
        id="long-stream-loses-events",
        title="Of a long stream every tenth event is lost once it is under way.",
        breaks=("EVT-04",),
        when=Condition("only in streams of more than 40 events", lambda o: o.streamed),
        numbered=_lost_after_numbering,
    ),
    Fault(
        id="compressed-stream-cut",
        title="A stream is compressed though nobody asked for it, and its end is lost.",
        breaks=("LIF-05",),
        when=Condition("only streamed, for one create request in 3", lambda o: o.streamed and o.number % 3 == 0),
        body=_compressed,
        head=_says_gzip,
    ),
    # The order of a stream
    Fault(
        id="tool-progress-before-created",
        title="The progress of a hosted tool is told before response.created.",
        breaks=("LIF-01", "LIF-04"),
        events=_progress_before_created,
    ),
    Fault(
        id="two-lifecycles",
        title="After a hosted tool was called the response ends and begins again in the same stream.",
        breaks=("LIF-02", "LIF-05"),
        events=_two_lifecycles,
    ),
    Fault(
        id="last-item-never-closed",
        title="The last item, its part and its text are never closed.",
        breaks=("ITM-02",),
        events=_last_never_closed,
    ),
    Fault(
        id="delta-after-item",
        title="The last text delta comes after its item was closed.",
        breaks=("ITM-11",),
        events=_moved_last(TEXT_DELTA, ITEM_DONE),
    ),
    Fault(
        id="reasoning-not-announced",
        title="Reasoning comes without its item being announced.",
        breaks=("ITM-01",),
        events=lambda events, _: [e for e in events if not (is_of(e, ITEM_ADDED) and _is_reasoning(e["item"]))],
    ),
    Fault(
        id="calls-not-streamed",
        title="Function calls stand in the terminal event only.",
        breaks=("ITM-04", "ACC-12"),
        events=_calls_left_out,
    ),
    Fault(
        id="last-arguments-not-closed",
        title="Of several calls the last comes without response.function_call_arguments.done.",
        breaks=("ACC-05",),
        when=Condition("only with several calls", lambda o: o.streamed),
        events=_last_arguments_not_closed,
    ),
    Fault(
        id="arguments-merged",
        title="The arguments of parallel calls all come under the last one's name.",
        breaks=("ACC-05",),
        when=Condition("only with several calls", lambda o: o.streamed),
        events=_arguments_merged,
    ),
    # Indexes and ids
    Fault(
        id="content-index-carried-over",
        title="content_index counts on from item to item.",
        breaks=("PRT-02",),
        when=Condition("only in streams with several items", lambda o: o.streamed),
        events=_index_carried_over,
    ),
    Fault(
        id="content-index-minus-one",
        title="The event that closes a part of reasoning has the content_index -1.",
        breaks=("PRT-02",),
        events=_reasoning_part_minus_one,
    ),
    Fault(
        id="summary-index-missing",
        title="The events of reasoning summaries have no summary_index.",
        breaks=("EVT-10",),
        events=lambda events, _: [
            {name: value for name, value in event.items() if name != "summary_index"} for event in events
        ],
    ),
    Fault(
        id="reasoning-item-id-per-delta",
        title="Every delta of a reasoning text has an item_id of its own.",
        breaks=("ITM-18",),
        events=_ids_per_delta,
    ),
    Fault(
        id="call-streamed-under-call-id",
        title="Function calls are streamed under their call_id and have an id in the terminal event only.",
        breaks=("ITM-05",),
        events=_named_by_call,
    ),
    Fault(
        id="message-status-null",
        title="The status of messages is null.",
        breaks=("ITM-16",),
        **every_item(only("message", set_to("status", None)), added=False),
    ),
    # Error events
    Fault(
        id="error-event-nested",
        title="The error event of a run that breaks down has its fields in an error object.",
        breaks=("EVT-10",),
        when=STREAMED,
        dialects=("openai",),
        fails=True,
        events=each("error", do=_nested),
    ),
    Fault(
        id="error-event-flat",
        title="The error event of a run that breaks down has its fields beside its type.",
        breaks=("EVT-10",),
        when=STREAMED,
        dialects=("openresponses",),
        fails=True,
        events=each("error", do=_flat),
    ),
    Fault(
        id="error-event-not-numbered",
        title="The error event of a run that breaks down has no sequence_number.",
        breaks=("EVT-02",),
        when=STREAMED,
        fails=True,
        numbered=each("error", do=unset("sequence_number")),
    ),
    Fault(
        id="failed-without-response",
        title="The response.failed of a run that breaks down is named error and holds an error instead of a response.",
        breaks=("EVT-10", "SSE-03"),
        when=STREAMED,
        fails=True,
        events=_failed_without_response,
        frame=_named_error,
    ),
    # Response objects
    Fault(
        id="early-snapshots-poor",
        title="The response in response.created and response.in_progress has only id, object and status.",
        breaks=("RSP-05",),
        response=in_response(_poor_snapshots, (CREATED, IN_PROGRESS)),
    ),
    Fault(
        id="final-output-null",
        title="The output is null in the terminal event.",
        breaks=("RSP-05",),
        events=in_final(set_to("output", None)),
    ),
    Fault(
        id="final-logprobs-lost",
        title="The logprobs of texts are lost in the terminal event.",
        breaks=("ITM-05",),
        events=in_final(_without_logprobs),
    ),
    Fault(
        id="reasoning-part-events",
        title="The parts of reasoning items are told in response.reasoning_part events.",
        breaks=("EVT-07",),
        dialects=("openai",),
        events=_part_events,
    ),
    # State
    Fault(
        id="responses-unknown-at-times",
        title="A response is known to one of two processes only.",
        breaks=("STA-01",),
        when=Condition("after every second create request", lambda o: o.number % 2 == 1),
        instead=_not_here,
    ),
    # Many requests at once
    Fault(
        id="empty-when-busy",
        title="A completed response is empty and counts no tokens.",
        breaks=("RSP-10", "USG-03"),
        when=CONCURRENT,
        events=_empty_events,
        response=at_end(_empty),
    ),
    Fault(
        id="id-shared-when-busy",
        title="Two responses that are made at the same time have the same id.",
        breaks=("RSP-02",),
        when=CONCURRENT,
        response=in_response(set_to("id", "resp_busy")),
    ),
)
"""Every fault of this module."""
