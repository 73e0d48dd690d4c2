"""Faults of the stream's story: lifecycle, output items, content parts, accumulation."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import Occasion, Piece
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    ANNOTATION,
    BACKGROUND,
    CALL_DONE,
    CREATED,
    IN_PROGRESS,
    ITEM_ADDED,
    ITEM_DONE,
    MULTI_BYTE,
    PART_ADDED,
    PART_DONE,
    QUEUED,
    STREAMED,
    SUMMARY,
    TERMINAL,
    TEXT_DELTA,
    TEXT_DONE,
    Events,
    Fault,
    alter,
    altered,
    at_end,
    each,
    every,
    every_item,
    every_part,
    final_item,
    final_of,
    first_text,
    in_final,
    in_response,
    is_of,
    items_of,
    lost_delta,
    only,
    reindexed,
    set_to,
    swapped,
    twice,
    unset,
    without,
)

# Lifecycle


def _moved(kind: str, *, after: str = "", last: bool = False) -> Callable[[Events, Occasion], Events]:
    """Return a hook that moves the first (or last) event of a type behind the first of another, or to an end.

    Without ``after`` the first goes to the front and the last to the end of the stream.
    """

    def hook(events: Events, _: Occasion) -> Events:
        places = [i for i, event in enumerate(events) if is_of(event, kind)]
        if not places:
            return events
        event = events.pop(places[-1] if last else places[0])
        if after:
            place = next((i + 1 for i, other in enumerate(events) if is_of(other, after)), len(events))
        else:
            place = len(events) if last else 0
        events.insert(place, event)
        return events

    return hook


def _early_output(events: Events, _: Occasion) -> Events:
    output = final_of(events).get("output", [])
    for event in events:
        if is_of(event, CREATED):
            event["response"]["output"] = deepcopy(output)
    return events


def _back_to_queued(events: Events, _: Occasion) -> Events:
    """Tell that the response is queued again, right before its end."""
    started = next((event for event in events if is_of(event, IN_PROGRESS)), None)
    if started is None:
        return events
    again = {"type": QUEUED, "response": {**deepcopy(started["response"]), "status": "queued"}}
    return [*events[:-1], again, events[-1]]


def _cut(pieces: list[Piece], occasion: Occasion) -> list[Piece]:
    """Keep two thirds of the events and half of the next."""
    if not occasion.streamed or len(pieces) < 3:
        return pieces
    place = len(pieces) * 2 // 3
    broken = pieces[place]
    return [*pieces[:place], broken._replace(data=broken.data[: len(broken.data) // 2])]


_ZERO_USAGE: Final = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}

_LIF = (
    Fault(
        id="created-missing",
        title="The stream begins with response.in_progress.",
        breaks=("LIF-01", "LIF-02"),
        events=without(CREATED),
    ),
    Fault(
        id="in-progress-first",
        title="response.in_progress comes before response.created.",
        breaks=("LIF-01",),
        events=swapped(CREATED, IN_PROGRESS),
    ),
    Fault(
        id="created-twice",
        title="response.created is sent twice.",
        breaks=("LIF-02",),
        events=twice(CREATED),
    ),
    Fault(
        id="in-progress-twice",
        title="response.in_progress is sent twice.",
        breaks=("LIF-02",),
        events=twice(IN_PROGRESS),
    ),
    Fault(
        id="in-progress-late",
        title="response.in_progress comes after the first item was announced.",
        breaks=("LIF-03",),
        events=_moved(IN_PROGRESS, after=ITEM_ADDED),
    ),
    Fault(
        id="item-before-created",
        title="The first item is announced before response.created.",
        breaks=("LIF-01", "LIF-04"),
        events=_moved(ITEM_ADDED),
    ),
    Fault(
        id="terminal-missing",
        title="The stream ends without a terminal event.",
        breaks=("LIF-05",),
        events=without(*TERMINAL),
    ),
    Fault(
        id="terminal-missing-at-times",
        title="The stream ends without a terminal event.",
        breaks=("LIF-05",),
        when=every(3),
        events=without(*TERMINAL),
    ),
    Fault(
        id="connection-cut",
        title="The connection breaks in the middle of an event.",
        breaks=("LIF-05",),
        when=STREAMED,
        body=_cut,
        ending=lambda reply, _, __: replace(reply, cut=True),
    ),
    Fault(
        id="terminal-twice",
        title="The terminal event is sent twice.",
        breaks=("LIF-05",),
        events=twice(*TERMINAL),
    ),
    Fault(
        id="terminal-named-done",
        title="The terminal event is named response.done.",
        breaks=("LIF-05", "EVT-07"),
        events=each(*TERMINAL, do=set_to("type", "response.done")),
    ),
    Fault(
        id="item-closed-after-terminal",
        title="The last item is closed after the terminal event.",
        breaks=("LIF-06",),
        events=_moved(ITEM_DONE, last=True),
    ),
    Fault(
        id="incomplete-named-completed",
        title="The terminal event of a response that is incomplete is named response.completed.",
        breaks=("LIF-07",),
        events=each("response.incomplete", do=set_to("type", "response.completed")),
    ),
    Fault(
        id="terminal-still-in-progress",
        title="The response in the terminal event has the status in_progress.",
        breaks=("LIF-07",),
        events=in_final(set_to("status", "in_progress")),
    ),
    Fault(
        id="error-without-failed",
        title="A run that breaks down ends with an error event, without response.failed.",
        breaks=("LIF-05", "LIF-08"),
        when=STREAMED,
        fails=True,
        events=without("response.failed"),
    ),
    Fault(
        id="response-id-changes",
        title="The response has another id in the terminal event.",
        breaks=("LIF-09",),
        events=in_final(lambda response: response.__setitem__("id", f"{response['id']}f")),
    ),
    Fault(
        id="created-at-changes",
        title="created_at is one second later in the terminal event.",
        breaks=("LIF-10",),
        events=in_final(lambda response: response.__setitem__("created_at", response["created_at"] + 1)),
    ),
    Fault(
        id="model-changes",
        title="The model is called unknown in the terminal event.",
        breaks=("LIF-10",),
        events=in_final(set_to("model", "unknown")),
    ),
    Fault(
        id="parameters-change",
        title="Echoed parameters have their defaults in the terminal event.",
        breaks=("LIF-10",),
        events=in_final(lambda response: response.update(max_output_tokens=None, tools=[], metadata={}, temperature=0)),
    ),
    Fault(
        id="created-has-output",
        title="The response in response.created already has its output.",
        breaks=("LIF-11",),
        events=_early_output,
    ),
    Fault(
        id="in-progress-has-error",
        title="The response in response.in_progress has an empty error object.",
        breaks=("LIF-11",),
        response=in_response(set_to("error", {}), (IN_PROGRESS,)),
    ),
    Fault(
        id="early-usage",
        title="The response in response.created has a usage of zeros.",
        breaks=("LIF-12",),
        response=in_response(set_to("usage", dict(_ZERO_USAGE)), (CREATED,)),
    ),
    Fault(
        id="usage-on-deltas",
        title="Text deltas carry usage.",
        breaks=("LIF-12",),
        events=each(TEXT_DELTA, do=set_to("usage", dict(_ZERO_USAGE))),
    ),
    Fault(
        id="status-goes-back",
        title="A response that was in progress is told to be queued.",
        breaks=("LIF-13",),
        events=_back_to_queued,
    ),
    Fault(
        id="queued-without-in-progress",
        title="A background stream goes from response.queued straight to its items.",
        breaks=("LIF-14",),
        when=BACKGROUND,
        events=without(IN_PROGRESS),
    ),
)


# Items


def _first_dropped(kind: str) -> Callable[[Events, Occasion], Events]:
    def hook(events: Events, _: Occasion) -> Events:
        place = next((i for i, event in enumerate(events) if is_of(event, kind)), None)
        return events if place is None else [*events[:place], *events[place + 1 :]]

    return hook


def _other_ids(target: Json) -> None:
    for item in items_of(target):
        item["id"] = f"{item['id']}f"


def _shared_item_id(name: Callable[[str], str]) -> dict[str, Any]:
    """Return the hooks that give all items of a response one id, made from the response's."""

    def events(events: Events, _: Occasion) -> Events:
        shared = name(str(final_of(events).get("id")))
        for event in events:
            if "item_id" in event:
                event["item_id"] = shared
            if isinstance(event.get("item"), dict):
                event["item"]["id"] = shared
        return events

    def response(response: Json) -> None:
        for item in items_of(response):
            item["id"] = name(str(response.get("id")))

    return {"events": events, "response": at_end(response)}


def _arguments_at_once(events: Events, _: Occasion) -> Events:
    """Announce every function call with the arguments that it will have."""
    whole = {event["item_id"]: event["arguments"] for event in events if is_of(event, CALL_DONE)}
    for event in events:
        if is_of(event, ITEM_ADDED) and event["item"]["id"] in whole:
            event["item"]["arguments"] = whole[event["item"]["id"]]
    return events


def _first_incomplete(events: Events, _: Occasion) -> Events:
    if any(event.get("output_index") == 1 for event in events):
        for event in events:
            if is_of(event, ITEM_DONE) and event["output_index"] == 0:
                event["item"]["status"] = "incomplete"
    return events


def _first_incomplete_at_end(response: Json) -> None:
    if len(response["output"]) > 1:
        response["output"][0]["status"] = "incomplete"


def _note(response: Json) -> Json:
    return {"id": f"note_{response['id']}", "type": "note", "status": "completed"}


def _add_note(events: Events, _: Occasion) -> Events:
    """Tell of one more item, which the terminal response already has."""
    response = final_of(events)
    if response.get("status") != "completed":
        return events
    index = len(response["output"]) - 1
    note = _note(response)
    told = [
        {"type": ITEM_ADDED, "output_index": index, "item": {**note, "status": "in_progress"}},
        {"type": ITEM_DONE, "output_index": index, "item": note},
    ]
    return [*events[:-1], *told, events[-1]]


def _add_note_at_end(response: Json) -> None:
    if response["status"] == "completed":
        response["output"].append(_note(response))


def _message_before_reasoning(events: Events, _: Occasion) -> Events:
    """Tell of the first two items in the other order, if they are a reasoning item and a message."""
    kinds = [event["item"]["type"] for event in events if is_of(event, ITEM_ADDED)]
    if kinds != ["reasoning", "message"]:
        return events
    before = [event for event in events if "output_index" not in event and not is_of(event, *TERMINAL)]
    items = [[event for event in events if event.get("output_index") == index] for index in (1, 0)]
    return reindexed([*before, *items[0], *items[1], events[-1]], lambda index: 1 - index)


def _message_first_at_end(response: Json) -> None:
    if [item["type"] for item in response["output"]] == ["reasoning", "message"]:
        response["output"].reverse()


def _call(do: Callable[[Json], None]) -> Callable[[Json], None]:
    return only("function_call", do)


def _of_item(do: Callable[[Json], None]) -> Callable[[Json], None]:
    return lambda event: do(event["item"])


def _cut_is_complete(item: Json) -> None:
    if item["status"] == "incomplete":
        item["status"] = "completed"


def _last_incomplete(response: Json) -> None:
    if response["status"] == "completed" and response["output"]:
        response["output"][-1]["status"] = "incomplete"


def _last_done_incomplete(events: Events, _: Occasion) -> Events:
    if final_of(events).get("status") == "completed":
        for event in reversed(events):
            if is_of(event, ITEM_DONE):
                event["item"]["status"] = "incomplete"
                break
    return events


_ITM = (
    Fault(
        id="item-not-announced",
        title="The first item comes without response.output_item.added.",
        breaks=("ITM-01",),
        events=_first_dropped(ITEM_ADDED),
    ),
    Fault(
        id="item-announced-twice",
        title="Every item is announced twice.",
        breaks=("ITM-01",),
        events=twice(ITEM_ADDED),
    ),
    Fault(
        id="item-never-closed",
        title="The first item is not closed by response.output_item.done.",
        breaks=("ITM-02",),
        events=_first_dropped(ITEM_DONE),
    ),
    Fault(
        id="item-closed-twice",
        title="Every item is closed twice.",
        breaks=("ITM-02",),
        events=twice(ITEM_DONE),
    ),
    Fault(
        id="item-closed-under-other-id",
        title="An item has another id when it is closed.",
        breaks=("ITM-02", "ITM-05"),
        events=each(ITEM_DONE, do=lambda event: event["item"].__setitem__("id", f"{event['item']['id']}f")),
    ),
    Fault(
        id="output-index-from-one",
        title="output_index counts from 1.",
        breaks=("ITM-03",),
        events=lambda events, _: reindexed(events, lambda index: index + 1),
    ),
    Fault(
        id="output-index-constant",
        title="All items have the output_index 0.",
        breaks=("ITM-03",),
        events=lambda events, _: reindexed(events, lambda index: 0),
    ),
    Fault(
        id="output-index-skips",
        title="output_index grows by two with each item.",
        breaks=("ITM-03",),
        events=lambda events, _: reindexed(events, lambda index: index * 2),
    ),
    Fault(
        id="final-output-empty",
        title="The response in the terminal event has an empty output.",
        breaks=("ITM-04", "ACC-12"),
        events=in_final(set_to("output", [])),
    ),
    Fault(
        id="final-output-lacks-last-item",
        title="The response in the terminal event lacks the last item.",
        breaks=("ITM-04", "ACC-12"),
        events=in_final(lambda response: response.__setitem__("output", response["output"][:-1])),
    ),
    Fault(
        id="final-item-ids-fresh",
        title="The items have new ids in the terminal event.",
        breaks=("ITM-05",),
        events=in_final(_other_ids),
    ),
    Fault(
        id="closed-item-null",
        title="response.output_item.done carries null instead of the item.",
        breaks=("ITM-06",),
        dialects=("northstar", "openai"),
        events=each(ITEM_DONE, do=set_to("item", None)),
    ),
    Fault(
        id="announced-item-completed",
        title="A newly announced item is already completed.",
        breaks=("ITM-07",),
        events=each(ITEM_ADDED, do=_of_item(set_to("status", "completed"))),
    ),
    Fault(
        id="announced-call-without-arguments",
        title="A newly announced function call has no arguments field.",
        breaks=("ITM-07",),
        events=each(ITEM_ADDED, do=_of_item(_call(unset("arguments")))),
    ),
    Fault(
        id="announced-message-without-role",
        title="A newly announced message has no role.",
        breaks=("ITM-08",),
        events=each(ITEM_ADDED, do=_of_item(only("message", unset("role")))),
    ),
    Fault(
        id="announced-message-without-content",
        title="A newly announced message has no content field.",
        breaks=("ITM-08",),
        events=each(ITEM_ADDED, do=_of_item(only("message", unset("content")))),
    ),
    Fault(
        id="announced-call-without-name",
        title="A newly announced function call has an empty name.",
        breaks=("ITM-08",),
        events=each(ITEM_ADDED, do=_of_item(_call(set_to("name", "")))),
    ),
    Fault(
        id="announced-call-has-arguments",
        title="A newly announced function call already has its arguments, which the deltas bring again.",
        breaks=("ITM-09",),
        events=_arguments_at_once,
    ),
    Fault(
        id="closed-item-in-progress",
        title="A closed item still has the status in_progress.",
        breaks=("ITM-10",),
        **every_item(set_to("status", "in_progress"), added=False),
    ),
    Fault(
        id="part-closed-after-item",
        title="A message is closed before its part is.",
        breaks=("ITM-11", "PRT-07"),
        events=swapped(PART_DONE, ITEM_DONE),
    ),
    Fault(
        id="incomplete-item-not-last",
        title="The first of several items is incomplete.",
        breaks=("ITM-12",),
        events=_first_incomplete,
        response=at_end(_first_incomplete_at_end),
    ),
    Fault(
        id="completed-with-incomplete-item",
        title="The last item of a completed response is incomplete.",
        breaks=("ITM-13",),
        events=_last_done_incomplete,
        response=at_end(_last_incomplete),
    ),
    Fault(
        id="cut-item-completed",
        title="The item that max_output_tokens cut is completed.",
        breaks=("ITM-14",),
        **every_item(_cut_is_complete, added=False),
    ),
    Fault(
        id="item-ids-empty",
        title="The ids of items are empty.",
        breaks=("ITM-15",),
        **_shared_item_id(lambda _: ""),
    ),
    Fault(
        id="item-ids-shared",
        title="All items of a response have one id.",
        breaks=("ITM-15",),
        **_shared_item_id(lambda response_id: f"item_{response_id}"),
    ),
    Fault(
        id="message-without-status",
        title="Messages have no status.",
        breaks=("ITM-16",),
        **every_item(only("message", unset("status"))),
    ),
    Fault(
        id="message-without-id",
        title="Closed messages have no id.",
        breaks=("ITM-16",),
        **every_item(only("message", unset("id")), added=False),
    ),
    Fault(
        id="item-of-unknown-type",
        title="A completed response has one more item, of the type note.",
        breaks=("ITM-17",),
        events=_add_note,
        response=at_end(_add_note_at_end),
    ),
    Fault(
        id="delta-names-other-item",
        title="Text deltas carry an item_id that no item has.",
        breaks=("ITM-18",),
        events=each(TEXT_DELTA, do=lambda event: event.__setitem__("item_id", f"{event['item_id']}f")),
    ),
    Fault(
        id="delta-names-other-index",
        title="Text deltas carry an output_index that no item has.",
        breaks=("ITM-18",),
        events=each(TEXT_DELTA, do=set_to("output_index", 99)),
    ),
    Fault(
        id="items-overlap",
        title="An item is announced before the one before it is closed.",
        breaks=("ITM-19",),
        events=swapped(ITEM_DONE, ITEM_ADDED),
    ),
    Fault(
        id="call-id-changes",
        title="A function call has another call_id when announced than later.",
        breaks=("ITM-20",),
        events=each(ITEM_ADDED, do=_of_item(_call(lambda item: item.__setitem__("call_id", f"{item['call_id']}f")))),
    ),
    Fault(
        id="final-call-id-fresh",
        title="A function call has a new call_id in the terminal event.",
        breaks=("ITM-05", "ITM-20"),
        events=final_item("function_call", lambda item: item.__setitem__("call_id", f"{item['call_id']}f")),
    ),
    Fault(
        id="reasoning-after-message",
        title="The reasoning comes after the message that it led to.",
        breaks=("ITM-21",),
        events=_message_before_reasoning,
        response=at_end(_message_first_at_end),
    ),
    Fault(
        id="message-role-user",
        title="Messages in the output have the role user.",
        breaks=("ITM-22",),
        **every_item(only("message", set_to("role", "user"))),
    ),
)


# Parts


def _shifted(field: str) -> Callable[[Events, Occasion], Events]:
    """Return a hook that makes an index count from one."""

    def hook(events: Events, _: Occasion) -> Events:
        for event in events:
            if field in event:
                event[field] += 1
        return events

    return hook


def _index_per_token(events: Events, _: Occasion) -> Events:
    count = 0
    for event in events:
        if is_of(event, TEXT_DELTA):
            event["content_index"] = count
            count += 1
    return events


def _full_part(events: Events, _: Occasion) -> Events:
    """Announce every text part with the text that it will have."""
    whole = {(e["item_id"], e["content_index"]): e["text"] for e in events if is_of(e, TEXT_DONE)}
    for event in events:
        key = (event.get("item_id"), event.get("content_index"))
        if is_of(event, PART_ADDED) and key in whole:
            event["part"]["text"] = whole[key]
    return events


def _closed_early(events: Events, _: Occasion) -> Events:
    """Close every text before its last delta."""
    for index in range(1, len(events)):
        if is_of(events[index], TEXT_DONE) and is_of(events[index - 1], TEXT_DELTA):
            events[index - 1], events[index] = events[index], events[index - 1]
    return events


def _unstreamed_part(events: Events, _: Occasion) -> Events:
    """Put a part that was not streamed into closed and final messages."""
    extra: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    closed = [event["item"] for event in events if is_of(event, ITEM_DONE)]
    for item in [*closed, *items_of(final_of(events))]:
        if item["type"] == "message":
            item["content"].append(dict(extra))
    return events


def _empty_delta(events: Events, _: Occasion) -> Events:
    place = next((i for i, event in enumerate(events) if is_of(event, TEXT_DELTA)), None)
    if place is not None:
        events.insert(place, {**events[place], "delta": ""})
    return events


def _backward_progress(events: Events, occasion: Occasion) -> Events:
    """Swap the first and the last progress event of every hosted tool call."""
    specs = occasion.dialect.events
    progress: dict[Any, Events] = {}
    for event in events:
        spec = specs.get(event["type"])
        if spec is not None and spec.role == "progress":
            progress.setdefault(event["item_id"], []).append(event)
    for told in progress.values():
        told[0]["type"], told[-1]["type"] = told[-1]["type"], told[0]["type"]
    return events


def _beyond(annotation: Json) -> None:
    if "end_index" in annotation:
        annotation["end_index"] += 10_000


def _annotations(do: Callable[[Json], None]) -> dict[str, Any]:
    """Return the hooks that change every annotation alike, streamed or in a part."""

    def part(part: Json) -> None:
        for annotation in part.get("annotations", ()):
            do(annotation)

    hooks = every_part(part, added=False)
    of_parts = hooks["events"]
    streamed = each(ANNOTATION, do=lambda event: do(event["annotation"]))
    return {**hooks, "events": lambda events, o: streamed(of_parts(events, o), o)}


def _no_annotations(item: Json) -> None:
    for part in item["content"]:
        part["annotations"] = []


_PRT = (
    Fault(
        id="part-not-announced",
        title="Parts come without response.content_part.added.",
        breaks=("PRT-01",),
        events=without(PART_ADDED),
    ),
    Fault(
        id="content-index-from-one",
        title="content_index counts from 1.",
        breaks=("PRT-02",),
        events=_shifted("content_index"),
    ),
    Fault(
        id="content-index-per-token",
        title="content_index grows with each text delta.",
        breaks=("PRT-02",),
        events=_index_per_token,
    ),
    Fault(
        id="content-index-constant",
        title="All parts of a message have the content_index 0.",
        breaks=("PRT-02",),
        events=lambda events, _: [
            {**event, "content_index": 0} if "content_index" in event else event for event in events
        ],
    ),
    Fault(
        id="announced-part-has-text",
        title="A newly announced text part already has its text, which the deltas bring again.",
        breaks=("PRT-03",),
        events=_full_part,
    ),
    Fault(
        id="announced-part-without-annotations",
        title="A newly announced text part has no annotations.",
        breaks=("PRT-03",),
        events=each(PART_ADDED, do=lambda event: event["part"].pop("annotations", None)),
    ),
    Fault(
        id="text-never-closed",
        title="Texts come without response.output_text.done.",
        breaks=("PRT-04",),
        events=without(TEXT_DONE),
    ),
    Fault(
        id="text-closed-twice",
        title="response.output_text.done is sent twice.",
        breaks=("PRT-04",),
        events=twice(TEXT_DONE),
    ),
    Fault(
        id="text-closed-early",
        title="response.output_text.done comes before the last delta.",
        breaks=("PRT-04",),
        events=_closed_early,
    ),
    Fault(
        id="text-closed-after-part",
        title="response.output_text.done comes after response.content_part.done.",
        breaks=("PRT-04",),
        events=swapped(TEXT_DONE, PART_DONE),
    ),
    Fault(
        id="part-type-changes",
        title="An output_text part has the type text when it is closed.",
        breaks=("PRT-05",),
        events=each(PART_DONE, do=lambda event: only("output_text", set_to("type", "text"))(event["part"])),
    ),
    Fault(
        id="text-in-refusal-deltas",
        title="The text of an output_text part comes in refusal deltas.",
        breaks=("PRT-06",),
        events=each(TEXT_DELTA, do=set_to("type", "response.refusal.delta")),
    ),
    Fault(
        id="part-never-closed",
        title="Parts are not closed by response.content_part.done.",
        breaks=("PRT-07",),
        events=without(PART_DONE),
    ),
    Fault(
        id="part-not-streamed",
        title="Closed and final messages have one more part than was streamed.",
        breaks=("PRT-08",),
        events=_unstreamed_part,
    ),
    Fault(
        id="summary-part-not-announced",
        title="Reasoning summaries come without response.reasoning_summary_part.added.",
        breaks=("PRT-09",),
        events=without(f"{SUMMARY}_part.added"),
    ),
    Fault(
        id="summary-index-from-one",
        title="summary_index counts from 1.",
        breaks=("PRT-09",),
        events=_shifted("summary_index"),
    ),
    Fault(
        id="summary-part-closed-before-text",
        title="A summary part is closed before its text is.",
        breaks=("PRT-09",),
        events=swapped(f"{SUMMARY}_text.done", f"{SUMMARY}_part.done"),
    ),
    Fault(
        id="annotation-index-from-one",
        title="annotation_index counts from 1.",
        breaks=("PRT-10",),
        events=_shifted("annotation_index"),
    ),
    Fault(
        id="final-annotations-missing",
        title="The annotations of texts are lost in the terminal event.",
        breaks=("PRT-10",),
        events=final_item("message", _no_annotations),
    ),
    Fault(
        id="annotation-beyond-text",
        title="The end_index of annotations lies far behind the text.",
        breaks=("PRT-11",),
        **_annotations(_beyond),
    ),
    Fault(
        id="empty-delta",
        title="The first text delta is empty.",
        breaks=("PRT-12",),
        events=_empty_delta,
    ),
    Fault(
        id="tool-progress-backwards",
        title="A hosted tool call is told to be completed before it is in progress.",
        breaks=("PRT-13",),
        events=_backward_progress,
    ),
)


# Accumulation


def _snowball(events: Events, _: Occasion) -> Events:
    """Make every text delta the whole text so far."""
    said: dict[tuple[Any, Any], str] = {}
    for event in events:
        if is_of(event, TEXT_DELTA):
            key = (event["item_id"], event["content_index"])
            said[key] = event["delta"] = said.get(key, "") + event["delta"]
    return events


def _last_token_only(events: Events, _: Occasion) -> Events:
    """Keep only the last delta as the text of the terminal response."""
    last = next((event["delta"] for event in reversed(events) if is_of(event, TEXT_DELTA)), None)
    if last is not None:
        for item in items_of(final_of(events)):
            if item["type"] == "message":
                first_text(item, lambda _: str(last))
    return events


def _replacement_characters(event: Json) -> None:
    event["delta"] = "".join(character if character.isascii() else "\ufffd" for character in event["delta"])


def _reversed_output(response: Json) -> None:
    response["output"].reverse()


def _in_item(container: str) -> Callable[[Json], None]:
    return lambda event: first_text(event["item"], altered, container)


def _texts(
    name: str, what: str, rule: str, kind: str, field: str, *events: str, container: str = ""
) -> tuple[Fault, Fault, Fault]:
    """Return three faults of a streamed text: a lost delta, a done event and a final item that differ.

    ``kind`` is the item's type, ``field`` the text's field in its done event, which is also its field in the part, or
    in the item where there is no ``container`` of parts. ``events`` are the event types that carry it, without endings.
    """

    def final(item: Json) -> None:
        if container:
            first_text(item, altered, container, field)
        elif isinstance(item.get(field), str):
            alter(field)(item)

    return (
        Fault(
            id=f"{name}-delta-lost",
            title=f"The last delta of {what} is lost.",
            breaks=(rule,),
            events=lost_delta(*(f"{event}.delta" for event in events)),
        ),
        Fault(
            id=f"{name}-done-differs",
            title=f"The done event of {what} says something else than its deltas.",
            breaks=(rule,),
            events=each(*(f"{event}.done" for event in events), do=alter(field)),
        ),
        Fault(
            id=f"final-{name}-{'differ' if name.endswith('s') else 'differs'}",
            title=f"The terminal event says something else than the deltas of {what}.",
            breaks=(rule, "ITM-05"),
            events=final_item(kind, final),
        ),
    )


_ACC = (
    Fault(
        id="text-delta-lost",
        title="The last text delta is lost.",
        breaks=("ACC-01", "ACC-02", "ACC-03", "ACC-04"),
        events=lost_delta(TEXT_DELTA),
    ),
    Fault(
        id="text-deltas-cumulative",
        title="Every text delta repeats the text before it.",
        breaks=("ACC-01",),
        events=_snowball,
    ),
    Fault(
        id="deltas-with-replacement-characters",
        title="Characters beyond ASCII are replacement characters in text deltas.",
        breaks=("ACC-01",),
        when=MULTI_BYTE,
        events=each(TEXT_DELTA, do=_replacement_characters),
    ),
    Fault(
        id="text-done-differs",
        title="response.output_text.done says something else than the deltas.",
        breaks=("ACC-01",),
        events=each(TEXT_DONE, do=alter("text")),
    ),
    Fault(
        id="closed-part-text-differs",
        title="response.content_part.done says something else than the deltas.",
        breaks=("ACC-02",),
        events=each(PART_DONE, do=lambda event: only("output_text", alter("text"))(event["part"])),
    ),
    Fault(
        id="closed-item-text-differs",
        title="response.output_item.done says something else than the deltas of its text.",
        breaks=("ACC-03", "ITM-05"),
        events=each(ITEM_DONE, do=_of_item(only("message", lambda item: first_text(item, altered)))),
    ),
    Fault(
        id="final-text-differs",
        title="The terminal event says something else than the text deltas.",
        breaks=("ACC-04", "ACC-12", "ITM-05"),
        events=final_item("message", lambda item: first_text(item, altered)),
    ),
    Fault(
        id="final-text-is-last-delta",
        title="The text in the terminal event is the last delta only.",
        breaks=("ACC-04", "ACC-12"),
        events=_last_token_only,
    ),
    *_texts(
        "arguments",
        "a function call's arguments",
        "ACC-05",
        "function_call",
        "arguments",
        "response.function_call_arguments",
    ),
    Fault(
        id="arguments-never-closed",
        title="The arguments of function calls come without response.function_call_arguments.done.",
        breaks=("ACC-05",),
        events=without(CALL_DONE),
    ),
    *_texts("refusal", "a refusal", "ACC-06", "message", "refusal", "response.refusal", container="content"),
    *_texts(
        "reasoning",
        "a reasoning text",
        "ACC-07",
        "reasoning",
        "text",
        "response.reasoning_text",
        "response.reasoning",
        container="content",
    ),
    *_texts("summary", "a reasoning summary", "ACC-08", "reasoning", "text", f"{SUMMARY}_text", container="summary"),
    *_texts(
        "custom-input",
        "a custom tool's input",
        "ACC-09",
        "custom_tool_call",
        "input",
        "response.custom_tool_call_input",
    ),
    *_texts(
        "mcp-arguments", "an MCP call's arguments", "ACC-09", "mcp_call", "arguments", "response.mcp_call_arguments"
    ),
    *_texts(
        "code",
        "a code interpreter's code",
        "ACC-09",
        "code_interpreter_call",
        "code",
        "response.code_interpreter_call_code",
    ),
    Fault(
        id="final-output-reversed",
        title="The items stand in reverse order in the terminal event.",
        breaks=("ACC-12", "ITM-05"),
        events=in_final(_reversed_output),
    ),
)

FAULTS: Final = (*_LIF, *_ITM, *_PRT, *_ACC)
