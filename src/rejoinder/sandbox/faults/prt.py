"""Faults of content parts: start, end, indexes."""

from __future__ import annotations

from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    ANNOTATION,
    CALL_DELTA,
    CALL_DONE,
    ITEM_ADDED,
    ITEM_DONE,
    PART_ADDED,
    PART_DONE,
    SUMMARY,
    TEXT_DELTA,
    TEXT_DONE,
    Change,
    Events,
    EventsHook,
    Fault,
    FaultList,
    each,
    every_part,
    final_item,
    final_of,
    in_streams,
    is_of,
    items_of,
    only,
    set_to,
    swapped,
    twice,
    without,
)


def _shifted(field: str) -> EventsHook:
    """Return a hook that makes an index count from one."""

    def hook(events: Events, _: RequestInfo) -> Events:
        for event in events:
            if field in event:
                event[field] += 1
        return events

    return hook


def _beyond(annotation: Json) -> None:
    if "end_index" in annotation:
        annotation["end_index"] += 10_000


def _annotations(do: Change) -> dict[str, Any]:
    """Return the hooks that change every annotation alike, streamed or in a part."""

    def part(part: Json) -> None:
        for annotation in part.get("annotations", ()):
            do(annotation)

    hooks = every_part(part, added=False)
    of_parts = hooks["events"]
    streamed = each(ANNOTATION, do=lambda event: do(event["annotation"]))
    return {**hooks, "events": lambda events, info: streamed(of_parts(events, info), info)}


def _no_annotations(item: Json) -> None:
    for part in item["content"]:
        part["annotations"] = []


def _one_annotation(part: Json) -> None:
    if "annotations" in part:
        del part["annotations"][1:]


def _with_items(events: Events, _: RequestInfo) -> Events:
    """Move the parts of messages from their own events into response.output_item.added."""
    added = {event["item"].get("id"): event["item"] for event in events if is_of(event, ITEM_ADDED)}
    kept: Events = []
    for event in events:
        item = added.get(event.get("item_id"))
        if is_of(event, PART_ADDED) and item is not None and item["type"] == "message":
            item["content"].append(event["part"])
        else:
            kept.append(event)
    return kept


FAULTS: Final = FaultList(
    Fault(
        id="part-not-announced",
        title="Parts have no response.content_part.added.",
        breaks=("PRT-01",),
        events=without(PART_ADDED),
    ),
    Fault(
        id="part-added-with-item",
        title="Parts have no response.content_part.added: messages are added with them.",
        breaks=("PRT-14",),
        events=_with_items,
    ),
    Fault(
        id="content-index-from-one",
        title="content_index counts from 1.",
        breaks=("PRT-02",),
        events=_shifted("content_index"),
    ),
    Fault(
        id="content-index-constant",
        title="All parts of a message have content_index 0.",
        breaks=("PRT-02",),
        events=lambda events, _: [
            {**event, "content_index": 0} if "content_index" in event else event for event in events
        ],
    ),
    Fault(
        id="announced-part-without-annotations",
        title="A newly added text part has no annotations.",
        breaks=("PRT-03",),
        events=each(PART_ADDED, do=lambda event: event["part"].pop("annotations", None)),
    ),
    Fault(
        id="announced-part-without-type",
        title="A newly added part has no type.",
        breaks=("PRT-15",),
        events=each(PART_ADDED, do=lambda event: event["part"].pop("type", None)),
    ),
    Fault(
        id="done-part-empty",
        title="The part of response.content_part.done is an empty object.",
        breaks=("PRT-15",),
        events=each(PART_DONE, do=set_to("part", {})),
    ),
    Fault(
        id="text-never-closed",
        title="Texts have no response.output_text.done.",
        breaks=("PRT-04",),
        events=without(TEXT_DONE),
    ),
    Fault(
        id="text-closed-twice",
        title="The stream has two response.output_text.done events for each text.",
        breaks=("PRT-04",),
        events=twice(TEXT_DONE),
    ),
    Fault(
        id="text-closed-early",
        title="response.output_text.done comes before the last delta.",
        breaks=("PRT-04",),
        events=swapped(TEXT_DELTA, TEXT_DONE),
    ),
    Fault(
        id="text-closed-after-part",
        title="response.output_text.done comes after response.content_part.done.",
        breaks=("PRT-04",),
        events=swapped(TEXT_DONE, PART_DONE),
    ),
    Fault(
        id="arguments-closed-twice",
        title="The stream has two response.function_call_arguments.done events for each call.",
        breaks=("PRT-04",),
        events=twice(CALL_DONE),
    ),
    Fault(
        id="arguments-closed-early",
        title="response.function_call_arguments.done comes before the last delta.",
        breaks=("PRT-04",),
        events=swapped(CALL_DELTA, CALL_DONE),
    ),
    Fault(
        id="part-type-changes",
        title="The type of an output_text part changes to text when it is done.",
        breaks=("PRT-05",),
        events=each(PART_DONE, do=lambda event: only("output_text", set_to("type", "text"))(event["part"])),
    ),
    Fault(
        id="text-in-refusal-deltas",
        title="The text of an output_text part is in refusal deltas.",
        breaks=("PRT-06",),
        events=each(TEXT_DELTA, do=set_to("type", "response.refusal.delta")),
    ),
    Fault(
        id="part-never-closed",
        title="Parts have no response.content_part.done.",
        breaks=("PRT-07",),
        events=without(PART_DONE),
    ),
    Fault(
        id="done-part-loses-annotations",
        title="The part of response.content_part.done has the first annotation only.",
        breaks=("PRT-08",),
        # Its parts have one annotation at most.
        not_in=("openresponses",),
        events=each(PART_DONE, do=lambda event: _one_annotation(event["part"])),
    ),
    Fault(
        id="summary-part-not-announced",
        title="Reasoning summaries have no response.reasoning_summary_part.added.",
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
        title="A summary part is done before its text.",
        breaks=("PRT-09",),
        events=swapped(f"{SUMMARY}_text.done", f"{SUMMARY}_part.done"),
    ),
    Fault(
        id="summary-part-added-twice",
        title="Reasoning summaries have two response.reasoning_summary_part.added events for each part.",
        breaks=("PRT-09",),
        events=twice(f"{SUMMARY}_part.added"),
    ),
    Fault(
        id="annotation-index-from-one",
        title="annotation_index counts from 1.",
        breaks=("PRT-10",),
        events=_shifted("annotation_index"),
    ),
    Fault(
        id="final-annotations-missing",
        title="Texts have no annotations in the terminal event.",
        breaks=("PRT-10",),
        events=final_item("message", _no_annotations),
    ),
    Fault(
        id="annotation-beyond-text",
        title="The end_index of annotations is beyond the end of the text.",
        breaks=("PRT-11",),
        **_annotations(_beyond),
    ),
)


@FAULTS.add("content-index-per-token", "PRT-02", hook="events")
def _index_per_token(events: Events, _: RequestInfo) -> Events:
    """content_index increases with each text delta."""
    count = 0
    for event in events:
        if is_of(event, TEXT_DELTA):
            event["content_index"] = count
            count += 1
    return events


@FAULTS.add("content-index-carried-over", "PRT-02", hook="events", when=in_streams("with several items"))
def _index_carried_over(events: Events, _: RequestInfo) -> Events:
    """content_index continues from one item to the next."""
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


@FAULTS.add("content-index-minus-one", "PRT-02", hook="events")
def _reasoning_part_minus_one(events: Events, _: RequestInfo) -> Events:
    """The event that ends a part of reasoning has content_index -1."""
    for event in events:
        if event["type"].endswith("part.done") and event.get("part", {}).get("type") == "reasoning_text":
            event["content_index"] = -1
    return events


@FAULTS.add("announced-part-has-text", "PRT-03", hook="events")
def _full_part(events: Events, _: RequestInfo) -> Events:
    """A newly added text part already has its text, which the deltas repeat."""
    whole = {(e["item_id"], e["content_index"]): e["text"] for e in events if is_of(e, TEXT_DONE)}
    for event in events:
        key = (event.get("item_id"), event.get("content_index"))
        if is_of(event, PART_ADDED) and key in whole:
            event["part"]["text"] = whole[key]
    return events


@FAULTS.add("part-not-streamed", "PRT-08", hook="events")
def _unstreamed_part(events: Events, _: RequestInfo) -> Events:
    """Done and final messages have one part more than the stream."""
    extra: Json = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    closed = [event["item"] for event in events if is_of(event, ITEM_DONE)]
    for item in [*closed, *items_of(final_of(events))]:
        if item["type"] == "message":
            item["content"].append(dict(extra))
    return events


@FAULTS.add("empty-delta", "PRT-12", hook="events")
def _empty_delta(events: Events, _: RequestInfo) -> Events:
    """The first text delta is empty."""
    place = next((i for i, event in enumerate(events) if is_of(event, TEXT_DELTA)), None)
    if place is not None:
        events.insert(place, {**events[place], "delta": ""})
    return events


@FAULTS.add("tool-progress-backwards", "PRT-13", hook="events", not_in=("openresponses", "vllm"))
def _backward_progress(events: Events, info: RequestInfo) -> Events:
    """A hosted tool call is completed before it is in progress."""
    specs = info.dialect.events
    progress: dict[Any, Events] = {}
    for event in events:
        spec = specs.get(event["type"])
        if spec is not None and spec.role == "progress":
            progress.setdefault(event["item_id"], []).append(event)
    for later in progress.values():
        later[0]["type"], later[-1]["type"] = later[-1]["type"], later[0]["type"]
    return events


@FAULTS.add("tool-progress-repeated", "PRT-13", hook="events", not_in=("openresponses", "vllm"))
def _repeated_progress(events: Events, info: RequestInfo) -> Events:
    """A hosted tool call is in progress twice."""
    specs = info.dialect.events
    began = [kind for kind, spec in specs.items() if spec.role == "progress" and kind.endswith(".in_progress")]
    return twice(*began)(events, info)
