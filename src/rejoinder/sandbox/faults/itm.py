"""Faults of output items: start, end, indexes, ids, statuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    CALL_DONE,
    ITEM_ADDED,
    ITEM_DONE,
    PART_DONE,
    TERMINAL,
    TEXT_DELTA,
    TEXT_DONE,
    Change,
    Events,
    EventsHook,
    Fault,
    FaultList,
    at_end,
    changed,
    each,
    every_item,
    final_item,
    final_of,
    in_final,
    is_of,
    is_reasoning,
    items_of,
    lengthened,
    lost,
    of_item,
    only,
    reindexed,
    set_to,
    swapped,
    twice,
    unset,
)


def _shared_item_id(name: Callable[[str], str]) -> dict[str, Any]:
    """Return the hooks that give all items of a response one id, made from the response's."""

    def events(events: Events, _: RequestInfo) -> Events:
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


def _first_incomplete_at_end(response: Json) -> None:
    if len(response["output"]) > 1:
        response["output"][0]["status"] = "incomplete"


def _note(response: Json) -> Json:
    return {"id": f"note_{response['id']}", "type": "note", "status": "completed"}


def _add_note_at_end(response: Json) -> None:
    if response["status"] == "completed":
        response["output"].append(_note(response))


def _message_first_at_end(response: Json) -> None:
    if [item["type"] for item in response["output"]] == ["reasoning", "message"]:
        response["output"].reverse()


def _call(do: Change) -> Change:
    return only("function_call", do)


def _cut_is_complete(item: Json) -> None:
    if item["status"] == "incomplete":
        item["status"] = "completed"


def _last_incomplete(response: Json) -> None:
    if response["status"] == "completed" and response["output"]:
        response["output"][-1]["status"] = "incomplete"


def _moved_last(kind: str, behind: str) -> EventsHook:
    """Return a hook that moves the last event of one type behind the last of another."""

    def hook(events: Events, _: RequestInfo) -> Events:
        place = next((i for i in reversed(range(len(events))) if is_of(events[i], kind)), None)
        target = next((i for i in reversed(range(len(events))) if is_of(events[i], behind)), None)
        if place is not None and target is not None and place < target:
            events.insert(target, events.pop(place))
        return events

    return hook


FAULTS: Final = FaultList(
    Fault(
        id="item-not-announced",
        title="The first item has no response.output_item.added.",
        breaks=("ITM-01",),
        events=lost(ITEM_ADDED),
    ),
    Fault(
        id="item-announced-twice",
        title="Every item has two response.output_item.added events.",
        breaks=("ITM-01",),
        events=twice(ITEM_ADDED),
    ),
    Fault(
        id="reasoning-not-announced",
        title="Reasoning items have no response.output_item.added.",
        breaks=("ITM-01",),
        events=lambda events, _: [e for e in events if not (is_of(e, ITEM_ADDED) and is_reasoning(e["item"]))],
    ),
    Fault(
        id="item-never-closed",
        title="The first item has no response.output_item.done.",
        breaks=("ITM-02",),
        events=lost(ITEM_DONE),
    ),
    Fault(
        id="item-closed-twice",
        title="Every item has two response.output_item.done events.",
        breaks=("ITM-02",),
        events=twice(ITEM_DONE),
    ),
    Fault(
        id="item-closed-under-other-id",
        title="An item has a different id in response.output_item.done.",
        breaks=("ITM-02", "ITM-05"),
        events=each(ITEM_DONE, do=of_item(changed("id", lengthened))),
    ),
    Fault(
        id="output-index-from-one",
        title="output_index counts from 1.",
        breaks=("ITM-03",),
        events=lambda events, _: reindexed(events, lambda index: index + 1),
    ),
    Fault(
        id="output-index-constant",
        title="All items have output_index 0.",
        breaks=("ITM-03",),
        events=lambda events, _: reindexed(events, lambda index: 0),
    ),
    Fault(
        id="output-index-skips",
        title="output_index increases by 2 with each item.",
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
        events=in_final(changed("output", lambda output: output[:-1])),
    ),
    Fault(
        id="final-call-id-fresh",
        title="A function call has a new call_id in the terminal event.",
        breaks=("ITM-05", "ITM-20"),
        events=final_item("function_call", changed("call_id", lengthened)),
    ),
    Fault(
        id="closed-item-null",
        title="The item in response.output_item.done is null.",
        breaks=("ITM-06",),
        dialects=("northstar", "openai"),
        events=each(ITEM_DONE, do=set_to("item", None)),
    ),
    Fault(
        id="announced-item-completed",
        title="A newly added item has status completed.",
        breaks=("ITM-07",),
        events=each(ITEM_ADDED, do=of_item(set_to("status", "completed"))),
    ),
    Fault(
        id="announced-call-without-arguments",
        title="A newly added function call has no arguments field.",
        breaks=("ITM-23",),
        events=each(ITEM_ADDED, do=of_item(_call(unset("arguments")))),
    ),
    Fault(
        id="announced-reasoning-bare",
        title="A newly added reasoning item has neither type nor id.",
        breaks=("ITM-23",),
        events=each(ITEM_ADDED, do=of_item(only("reasoning", unset("type", "id")))),
    ),
    Fault(
        id="done-message-without-content",
        title="A done message has no content.",
        breaks=("ITM-24", "ITM-05"),
        events=each(ITEM_DONE, do=of_item(only("message", unset("content")))),
    ),
    Fault(
        id="announced-message-without-role",
        title="A newly added message has no role.",
        breaks=("ITM-08",),
        events=each(ITEM_ADDED, do=of_item(only("message", unset("role")))),
    ),
    Fault(
        id="announced-message-without-content",
        title="A newly added message has no content field.",
        breaks=("ITM-08",),
        events=each(ITEM_ADDED, do=of_item(only("message", unset("content")))),
    ),
    Fault(
        id="announced-call-without-name",
        title="A newly added function call has an empty name.",
        breaks=("ITM-08",),
        events=each(ITEM_ADDED, do=of_item(_call(set_to("name", "")))),
    ),
    Fault(
        id="closed-item-in-progress",
        title="A done item has status in_progress.",
        breaks=("ITM-10",),
        **every_item(set_to("status", "in_progress"), added=False),
    ),
    Fault(
        id="part-closed-after-item",
        title="A message is done before its part.",
        breaks=("ITM-11", "PRT-07"),
        events=swapped(PART_DONE, ITEM_DONE),
    ),
    Fault(
        id="delta-after-item",
        title="The last text delta comes after its item is done.",
        breaks=("ITM-11",),
        events=_moved_last(TEXT_DELTA, ITEM_DONE),
    ),
    Fault(
        id="cut-item-completed",
        title="The item that max_output_tokens truncates has status completed.",
        breaks=("ITM-14",),
        **every_item(_cut_is_complete, added=False),
    ),
    Fault(id="item-ids-empty", title="Item ids are empty.", breaks=("ITM-15",), **_shared_item_id(lambda _: "")),
    Fault(
        id="item-ids-shared",
        title="All items of a response have the same id.",
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
        title="Done messages have no id.",
        breaks=("ITM-16",),
        **every_item(only("message", unset("id")), added=False),
    ),
    Fault(
        id="message-status-null",
        title="The status of messages is null.",
        breaks=("ITM-16",),
        **every_item(only("message", set_to("status", None)), added=False),
    ),
    Fault(
        id="delta-names-other-item",
        title="Text deltas have an item_id that no item has.",
        breaks=("ITM-18",),
        events=each(TEXT_DELTA, do=changed("item_id", lengthened)),
    ),
    Fault(
        id="delta-names-other-index",
        title="Text deltas have an output_index that no item has.",
        breaks=("ITM-18",),
        events=each(TEXT_DELTA, do=set_to("output_index", 99)),
    ),
    Fault(
        id="items-overlap",
        title="An item is added before the previous one is done.",
        breaks=("ITM-19",),
        events=swapped(ITEM_DONE, ITEM_ADDED),
    ),
    Fault(
        id="call-id-changes",
        title="A newly added function call has a different call_id than later.",
        breaks=("ITM-20",),
        events=each(ITEM_ADDED, do=of_item(_call(changed("call_id", lengthened)))),
    ),
    Fault(
        id="message-role-user",
        title="Messages in the output have the role user.",
        breaks=("ITM-22",),
        **every_item(only("message", set_to("role", "user"))),
    ),
)


@FAULTS.add("last-item-never-closed", "ITM-02", hook="events")
def _last_never_closed(events: Events, _: RequestInfo) -> Events:
    """The last item, its part and its text have no done events."""
    last = max((event["output_index"] for event in events if "output_index" in event), default=0)
    closing = (TEXT_DONE, PART_DONE, ITEM_DONE)
    return [event for event in events if not (is_of(event, *closing) and event["output_index"] == last)]


@FAULTS.add("calls-not-streamed", "ITM-04", "ACC-12", hook="events")
def _calls_left_out(events: Events, _: RequestInfo) -> Events:
    """Function calls appear in the terminal event only."""
    calls = {
        event["output_index"]
        for event in events
        if is_of(event, ITEM_ADDED) and event["item"]["type"] == "function_call"
    }
    return [event for event in events if event.get("output_index") not in calls]


@FAULTS.add("final-item-ids-fresh", "ITM-05", hook="events", through=in_final)
def _other_ids(target: Json) -> None:
    """The items have new ids in the terminal event."""
    for item in items_of(target):
        item["id"] = f"{item['id']}f"


@FAULTS.add("call-streamed-under-call-id", "ITM-05", hook="events")
def _named_by_call(events: Events, _: RequestInfo) -> Events:
    """The id of a streamed function call is its call_id. It has another id in the terminal event."""
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


@FAULTS.add("final-logprobs-lost", "ITM-05", hook="events", through=in_final)
def _without_logprobs(response: Json) -> None:
    """Texts have no logprobs in the terminal event."""
    for item in items_of(response):
        for part in item.get("content") or ():
            if part.get("logprobs"):
                part["logprobs"] = []


@FAULTS.add("announced-call-has-arguments", "ITM-09", hook="events")
def _arguments_at_once(events: Events, _: RequestInfo) -> Events:
    """A newly added function call already has its arguments, which the deltas repeat."""
    whole = {event["item_id"]: event["arguments"] for event in events if is_of(event, CALL_DONE)}
    for event in events:
        if is_of(event, ITEM_ADDED) and event["item"]["id"] in whole:
            event["item"]["arguments"] = whole[event["item"]["id"]]
    return events


@FAULTS.add("incomplete-item-not-last", "ITM-12", hook="events", response=at_end(_first_incomplete_at_end))
def _first_incomplete(events: Events, _: RequestInfo) -> Events:
    """The first of several items is incomplete."""
    if any(event.get("output_index") == 1 for event in events):
        for event in events:
            if is_of(event, ITEM_DONE) and event["output_index"] == 0:
                event["item"]["status"] = "incomplete"
    return events


@FAULTS.add("completed-with-incomplete-item", "ITM-13", hook="events", response=at_end(_last_incomplete))
def _last_done_incomplete(events: Events, _: RequestInfo) -> Events:
    """The last item of a completed response is incomplete."""
    if final_of(events).get("status") == "completed":
        for event in reversed(events):
            if is_of(event, ITEM_DONE):
                event["item"]["status"] = "incomplete"
                break
    return events


@FAULTS.add("item-of-unknown-type", "ITM-17", hook="events", response=at_end(_add_note_at_end))
def _add_note(events: Events, _: RequestInfo) -> Events:
    """A completed response has an extra item of type note."""
    response = final_of(events)
    if response.get("status") != "completed":
        return events
    index = len(response["output"]) - 1
    note = _note(response)
    events_of_note = [
        {"type": ITEM_ADDED, "output_index": index, "item": {**note, "status": "in_progress"}},
        {"type": ITEM_DONE, "output_index": index, "item": note},
    ]
    return [*events[:-1], *events_of_note, events[-1]]


@FAULTS.add("reasoning-item-id-per-delta", "ITM-18", hook="events")
def _ids_per_delta(events: Events, _: RequestInfo) -> Events:
    """Every delta of a reasoning text has a different item_id."""
    number = 0
    for event in events:
        if "reasoning" in event["type"] and event["type"].endswith(".delta"):
            number += 1
            event["item_id"] = f"{event['item_id']}{number}"
    return events


@FAULTS.add("reasoning-after-message", "ITM-21", hook="events", response=at_end(_message_first_at_end))
def _message_before_reasoning(events: Events, _: RequestInfo) -> Events:
    """The reasoning item comes after the message."""
    kinds = [event["item"]["type"] for event in events if is_of(event, ITEM_ADDED)]
    if kinds != ["reasoning", "message"]:
        return events
    before = [event for event in events if "output_index" not in event and not is_of(event, *TERMINAL)]
    items = [[event for event in events if event.get("output_index") == index] for index in (1, 0)]
    return reindexed([*before, *items[0], *items[1], events[-1]], lambda index: 1 - index)
