"""One mutation of a valid stream is noticed by the rules that it concerns, and by no others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from rejoinder.conformance.judgement import judge
from rejoinder.contract import dialect_names, load_dialect, load_rules
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Level, Status
from rejoinder.strategies.replies import Event, output_types, response_objects, unfold

pytestmark = pytest.mark.slow(0.3)

Events = list[Event]
Change = Callable[[Events, int], Events]
Place = Callable[[Event], bool]

CREATED, IN_PROGRESS, COMPLETED = "response.created", "response.in_progress", "response.completed"
ITEM_ADDED, ITEM_DONE = "response.output_item.added", "response.output_item.done"
PART_ADDED, PART_DONE = "response.content_part.added", "response.content_part.done"
TEXT_DELTA, TEXT_DONE = "response.output_text.delta", "response.output_text.done"
CALL_DELTA, CALL_DONE = "response.function_call_arguments.delta", "response.function_call_arguments.done"
REFUSAL_DELTA, REFUSAL_DONE = "response.refusal.delta", "response.refusal.done"
SUMMARY = "response.reasoning_summary"
ANNOTATION = "response.output_text.annotation.added"
TEXT_RULES = ("ACC-01", "ACC-02", "ACC-03", "ACC-04")


# What may notice that two items stand in each other's place, which depends on their types.
SWAPPED = (*TEXT_RULES, "ACC-05", "ACC-06", "ACC-07", "ACC-08", "ACC-09", "ITM-20", "ITM-21", "PRT-05", "PRT-10")
FILLING = "Hello, old world"


@dataclass(frozen=True)
class Mutation:
    """One change at one event, the rules that all must notice it, and those that may besides.

    Where none must, at least one of those that may has to. ``renumber`` gives the events new sequence numbers
    afterwards, as a server would that made the mistake.
    """

    name: str
    at: Place
    change: Change
    must: tuple[str, ...]
    may: tuple[str, ...] = ()
    renumber: bool = True


# Places


def of(*kinds: str) -> Place:
    return lambda event: event["type"] in kinds


def with_text(event: Event) -> bool:
    """Whether an event closes an item or part, or ends a response, that has output_text with something in it."""
    return any(True for _ in texts(event))


def texts(event: Event) -> Iterator[dict[str, Any]]:
    """Yield the output_text parts with text that an event holds."""
    items = [event.get("item") or {}, *((event.get("response") or {}).get("output") or ())]
    parts = [event.get("part") or {}, *(part for item in items for part in item.get("content") or ())]
    return (part for part in parts if part.get("type") == "output_text" and part.get("text"))


def both(*places: Place) -> Place:
    return lambda event: all(place(event) for place in places)


def has_items(count: int) -> Place:
    return lambda event: len((event.get("response") or {}).get("output") or ()) >= count


def item_of(*kinds: str) -> Place:
    return lambda event: (event.get("item") or {}).get("type") in kinds


# Changes


def drop(events: Events, place: int) -> Events:
    return [*events[:place], *events[place + 1 :]]


def double(events: Events, place: int) -> Events:
    return [*events[: place + 1], deepcopy(events[place]), *events[place + 1 :]]


def swap(events: Events, place: int) -> Events:
    return [*events[:place], events[place + 1], events[place], *events[place + 2 :]]


def to_end(events: Events, place: int) -> Events:
    return [*events[:place], *events[place + 1 :], events[place]]


def behind(kind: str) -> Change:
    """Return the change that moves an event behind the next one of a type."""

    def change(events: Events, place: int) -> Events:
        target = next((i for i in range(place + 1, len(events)) if events[i]["type"] == kind), None)
        assume(target is not None)
        assert target is not None
        return [*events[:place], *events[place + 1 : target + 1], events[place], *events[target + 1 :]]

    return change


def edit(do: Callable[[Event], object]) -> Change:
    def change(events: Events, place: int) -> Events:
        do(events[place])
        return events

    return change


def put(value: Any, *path: str | int) -> Change:
    def do(event: Event) -> None:
        target: Any = event
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] = value

    return edit(do)


def more(*path: str | int, by: Any = 1) -> Change:
    """Return the change that adds to a number or text."""

    def do(event: Event) -> None:
        target: Any = event
        for step in path[:-1]:
            target = target[step]
        target[path[-1]] += by

    return edit(do)


def announced_with_text(*, deltas: bool) -> Change:
    """Return the change that gives text to an added part that deltas follow, or that none follow."""

    def change(events: Events, place: int) -> Events:
        part = events[place]["part"]
        assume(events[place + 1]["type"].endswith(".delta") is deltas)
        part.update({name: "x" for name in ("text", "refusal") if name in part})
        return events

    return change


def early(name: str) -> Change:
    """Return the change that gives an early response object a field of the last one, valid in itself."""

    def change(events: Events, place: int) -> Events:
        last = events[-1]["response"][name]
        assume(last)
        events[place]["response"][name] = deepcopy(last)
        return events

    return change


def other_text(event: Event) -> None:
    next(texts(event))["text"] += "~"


def every(kind: str, do: Callable[[Event], object]) -> Change:
    def change(events: Events, _: int) -> Events:
        for event in events:
            if kind in event:
                do(event)
        return events

    return change


MUTATIONS = (
    # Lifecycle
    # A stream may begin with response.queued, which LIF-01 lets pass.
    Mutation("created dropped", of(CREATED), drop, ("LIF-02",), ("LIF-01",)),
    Mutation("created doubled", of(CREATED), double, ("LIF-02",)),
    Mutation("created after in_progress", of(CREATED), behind(IN_PROGRESS), (), ("LIF-01", "LIF-03", "LIF-13")),
    Mutation("in_progress dropped", of(IN_PROGRESS), drop, ("LIF-03",), ("LIF-14",)),
    Mutation("in_progress doubled", of(IN_PROGRESS), double, ("LIF-02",)),
    Mutation("in_progress last", of(IN_PROGRESS), to_end, ("LIF-03", "LIF-06", "LIF-13"), ("LIF-14",)),
    Mutation("terminal dropped", of(COMPLETED), drop, ("LIF-05",), ("SSE-09",)),
    Mutation("terminal doubled", of(COMPLETED), double, ("LIF-05",)),
    Mutation(
        "terminal of another status", of(COMPLETED), put("in_progress", "response", "status"), ("LIF-07",), ("RSP-03",)
    ),
    Mutation("other id at the end", of(COMPLETED), more("response", "id", by="x"), ("LIF-09",)),
    Mutation("other created_at at the end", of(COMPLETED), more("response", "created_at"), ("LIF-10",), ("RSP-03",)),
    Mutation("early output", of(CREATED), early("output"), ("LIF-11",)),
    Mutation("early usage", of(IN_PROGRESS), early("usage"), ("LIF-12",)),
    # Items
    Mutation("item not announced", of(ITEM_ADDED), drop, ("ITM-01", "ITM-04"), ("ITM-03",)),
    Mutation("item announced twice", of(ITEM_ADDED), double, ("ITM-01",)),
    Mutation("item not closed", of(ITEM_DONE), drop, ("ITM-02",), ("ACC-12",)),
    Mutation("item closed twice", of(ITEM_DONE), double, ("ITM-02",)),
    Mutation("item closed last", of(ITEM_DONE), to_end, ("LIF-06",), ("ITM-19",)),
    Mutation(
        "item closed under another id",
        both(of(ITEM_DONE), item_of("message")),
        more("item", "id", by="x"),
        ("ITM-02", "ITM-05", "ACC-12"),
    ),
    Mutation(
        "item closed in progress",
        both(of(ITEM_DONE), item_of("message")),
        put("in_progress", "item", "status"),
        ("ITM-10", "ITM-05", "ACC-12"),
    ),
    Mutation(
        "item announced completed",
        both(of(ITEM_ADDED), item_of("message")),
        put("completed", "item", "status"),
        ("ITM-07",),
    ),
    Mutation("item null", of(ITEM_DONE), put(None, "item"), ("ITM-06",)),
    Mutation(
        "all output_index from one",
        of(CREATED),
        every("output_index", lambda e: e.__setitem__("output_index", e["output_index"] + 1)),
        ("ITM-03",),
    ),
    Mutation(
        "item lost at the end",
        both(of(COMPLETED), has_items(1)),
        edit(lambda e: e["response"]["output"].pop()),
        ("ITM-04", "ACC-12"),
        ("PRT-10", "RSP-10"),
    ),
    Mutation(
        "items swapped at the end",
        both(of(COMPLETED), has_items(2)),
        edit(lambda e: e["response"]["output"].reverse()),
        ("ITM-05", "ACC-12"),
        SWAPPED,
    ),
    Mutation(
        "role user at the end",
        both(of(COMPLETED), with_text),
        edit(lambda e: [i.update(role="user") for i in e["response"]["output"] if i["type"] == "message"]),
        ("ITM-22", "ITM-05", "ACC-12"),
    ),
    Mutation(
        "call_id changed", both(of(ITEM_ADDED), item_of("function_call")), more("item", "call_id", by="x"), ("ITM-20",)
    ),
    # Parts
    Mutation("part not announced", of(PART_ADDED), drop, (), ("PRT-01", "PRT-02", "ITM-04")),
    Mutation("part announced twice", of(PART_ADDED), double, ("PRT-02",)),
    Mutation("part not closed", of(PART_DONE), drop, ("PRT-07",)),
    Mutation("part closed twice", of(PART_DONE), double, ("PRT-07",)),
    Mutation("part closed after its item", of(PART_DONE), behind(ITEM_DONE), ("PRT-07", "ITM-11")),
    Mutation("part announced with text", of(PART_ADDED), announced_with_text(deltas=True), ("PRT-03",)),
    # A part may have its whole text from the start, but here its end has none.
    Mutation(
        "empty part announced with text",
        of(PART_ADDED),
        announced_with_text(deltas=False),
        (),
        (*TEXT_RULES, "ACC-06", "ACC-07"),
    ),
    Mutation("part of another type", of(PART_DONE), put("x:part", "part", "type"), ("PRT-05",)),
    # The end of an empty text need not be told.
    Mutation("text not closed", both(of(TEXT_DONE), lambda event: bool(event["text"])), drop, ("PRT-04",)),
    Mutation("text closed twice", of(TEXT_DONE), double, ("PRT-04",)),
    Mutation("text closed after its part", of(TEXT_DONE), behind(PART_DONE), ("PRT-04",)),
    Mutation("delta after its text", of(TEXT_DELTA), behind(TEXT_DONE), ("PRT-04",), (*TEXT_RULES, "ACC-12")),
    Mutation("delta empty", of(TEXT_DELTA), lambda es, i: [*es[:i], {**es[i], "delta": ""}, *es[i:]], ("PRT-12",)),
    Mutation("delta of another part", of(TEXT_DELTA), more("content_index", by=7), ("PRT-02",), ("PRT-04", "ACC-12")),
    Mutation("delta of another item", of(TEXT_DELTA), more("item_id", by="x"), ("ITM-18",)),
    Mutation("delta of another index", of(TEXT_DELTA), more("output_index", by=7), ("ITM-18",)),
    # A server that streams no annotation at all is let pass.
    Mutation("annotation lost", both(of(ANNOTATION), lambda event: event["annotation_index"] > 0), drop, ("PRT-10",)),
    Mutation("annotation_index skipped", of(ANNOTATION), more("annotation_index"), ("PRT-10",)),
    Mutation("summary part not announced", of(f"{SUMMARY}_part.added"), drop, ("PRT-09",)),
    Mutation(
        "summary_index skipped", of(f"{SUMMARY}_part.added"), more("summary_index", by=3), ("PRT-09",), ("ACC-12",)
    ),
    # Accumulation
    Mutation("text delta lost", of(TEXT_DELTA), drop, TEXT_RULES, ("ACC-12",)),
    Mutation("text delta doubled", of(TEXT_DELTA), double, TEXT_RULES, ("ACC-12",)),
    Mutation("text delta changed", of(TEXT_DELTA), more("delta", by="~"), TEXT_RULES, ("ACC-12",)),
    Mutation("text of its end changed", of(TEXT_DONE), more("text", by="~"), ("ACC-01",)),
    Mutation("text of its part changed", both(of(PART_DONE), with_text), edit(other_text), ("ACC-02",)),
    Mutation("text of its item changed", both(of(ITEM_DONE), with_text), edit(other_text), ("ACC-03", "ITM-05")),
    Mutation(
        "text of the response changed", both(of(COMPLETED), with_text), edit(other_text), ("ACC-04", "ACC-12", "ITM-05")
    ),
    Mutation("arguments delta lost", of(CALL_DELTA), drop, ("ACC-05",), ("ACC-12",)),
    Mutation("arguments not closed", of(CALL_DONE), drop, ("ACC-05",)),
    Mutation("arguments of their end changed", of(CALL_DONE), more("arguments", by=" "), ("ACC-05",)),
    Mutation("refusal delta lost", of(REFUSAL_DELTA), drop, ("ACC-06",), ("ACC-12",)),
    Mutation("refusal of its end changed", of(REFUSAL_DONE), more("refusal", by="~"), ("ACC-06",)),
    Mutation(
        "reasoning delta lost",
        lambda e: e["type"] in ("response.reasoning_text.delta", "response.reasoning.delta"),
        drop,
        ("ACC-07",),
        ("ACC-12",),
    ),
    Mutation("summary delta lost", of(f"{SUMMARY}_text.delta"), drop, ("ACC-08",), ("ACC-12",)),
    Mutation("custom input delta lost", of("response.custom_tool_call_input.delta"), drop, ("ACC-09",), ("ACC-12",)),
    Mutation(
        "MCP arguments of their end changed",
        of("response.mcp_call_arguments.done"),
        more("arguments", by=" "),
        ("ACC-09",),
    ),
    # Envelope and response
    Mutation(
        "sequence_number missing", lambda e: True, edit(lambda e: e.pop("sequence_number")), ("EVT-02",), renumber=False
    ),
    Mutation(
        "sequence_number repeated", of(IN_PROGRESS), put(0, "sequence_number"), ("EVT-03", "EVT-04"), renumber=False
    ),
    Mutation("sequence_number skipped", of(COMPLETED), more("sequence_number"), ("EVT-04",), renumber=False),
    Mutation(
        "sequence_number negative",
        of(CREATED),
        put(-1, "sequence_number"),
        ("EVT-06", "EVT-05", "EVT-04"),
        renumber=False,
    ),
    Mutation(
        "type missing",
        of(TEXT_DELTA),
        lambda es, i: [*es[:i], {k: v for k, v in es[i].items() if k != "type"}, *es[i + 1 :]],
        ("EVT-01", *TEXT_RULES),
        ("ACC-12",),
    ),
    Mutation(
        "type unknown", of(TEXT_DELTA), put("response.output_text.piece", "type"), ("EVT-07", *TEXT_RULES), ("ACC-12",)
    ),
    Mutation(
        "delta field missing", of(TEXT_DELTA), edit(lambda e: e.pop("delta")), ("EVT-10", *TEXT_RULES), ("ACC-12",)
    ),
    Mutation("delta field a number", of(TEXT_DELTA), put(7, "delta"), ("EVT-10", *TEXT_RULES), ("ACC-12",)),
    Mutation("padding on an end", of(TEXT_DONE), put("xxxx", "obfuscation"), ("EVT-11",)),
    Mutation("object of another kind", of(COMPLETED), put("chat.completion", "response", "object"), ("RSP-01",)),
    Mutation("status missing", of(COMPLETED), edit(lambda e: e["response"].pop("status")), ("RSP-05",), ("RSP-03",)),
    Mutation("usage missing", of(COMPLETED), put(None, "response", "usage"), ("USG-01",)),
    Mutation("usage does not add up", of(COMPLETED), more("response", "usage", "total_tokens"), ("USG-02",)),
)


TYPES = ("message", "function_call", "reasoning", "custom_tool_call", "mcp_call")


def filled(response: dict[str, Any], dialect: str) -> dict[str, Any]:
    """Give every item of a response some text, so that there is something to mutate."""
    parameters = load_dialect(dialect).response
    for item in response["output"]:
        if item["type"] == "message":
            text = {"type": "output_text", "text": FILLING, "annotations": [citation(0, 5), citation(7, 10)]}
            item["content"] = [text | ({"logprobs": []} if parameters["logprobs"] else {}), *item["content"][:2]]
            item["content"].append({"type": "refusal", "refusal": FILLING})
        elif item["type"] == "reasoning":
            item["content"] = [{"type": "reasoning_text", "text": FILLING}]
            item["summary"] = [{"type": "summary_text", "text": FILLING} for _ in range(2)]
        elif item["type"] == "custom_tool_call":
            item["input"] = FILLING
        else:
            item["arguments"] = '{"word": "hello"}'
    details = {"output_tokens_details": {"reasoning_tokens": 1}, "input_tokens_details": {"cached_tokens": 0}}
    response["usage"] = {"input_tokens": 9, "output_tokens": 9, "total_tokens": 18, **details}
    return response


def citation(start: int, end: int) -> dict[str, Any]:
    return {
        "type": "url_citation",
        "url": "https://example.org/",
        "title": "Example",
        "start_index": start,
        "end_index": end,
    }


@st.composite
def streams(draw: st.DrawFn, dialect: str) -> Events:
    """Draw a valid stream that ends well, with text wherever there can be some."""
    types = [type_ for type_ in TYPES if type_ in output_types(dialect=dialect)]
    response = draw(response_objects(dialect=dialect, types=types, endings=("completed",)))
    cut = draw(st.integers(2, 8))
    return unfold(
        filled(response, dialect),
        dialect=dialect,
        cut=lambda text: [text[i : i + cut] for i in range(0, len(text), cut)],
        queued=draw(st.booleans()),
    )


def exchange_of(events: Events, dialect: str) -> Exchange:
    frames = [f"event: {event.get('type', TEXT_DELTA)}\ndata: {json.dumps(event)}\n\n" for event in events]
    if load_dialect(dialect).stream["done_sentinel"] == "required":
        frames.append("data: [DONE]\n\n")
    started = next(event["response"]["created_at"] for event in events if "response" in event)
    return Exchange(
        id="x",
        request=Request("POST", "/v1/responses", (), b'{"input":"Hi","stream":true}'),
        outcome=Outcome.COMPLETE,
        status=200,
        headers=(("content-type", "text/event-stream"),),
        chunks=(Chunk(0.1, "".join(frames).encode()),),
        case="drawn",
        role="stream",
        started_at=float(started),
        ended_at=0.2,
    )


def fired(events: Events, dialect: str) -> set[str]:
    verdicts = judge([exchange_of(events, dialect)], dialect)
    assert [verdict.reason for verdict in verdicts if verdict.status is Status.ERROR] == []
    return {verdict.rule for verdict in verdicts if verdict.findings}


SETTINGS = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@pytest.mark.parametrize("dialect", dialect_names())
@given(data=st.data())
@SETTINGS
def test_nothing_is_noticed_without_a_mutation(dialect: str, data: st.DataObject) -> None:
    assert fired(data.draw(streams(dialect)), dialect) == set()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
@given(data=st.data())
@SETTINGS
def test_a_mutation_is_noticed_by_the_rules_concerned(mutation: Mutation, data: st.DataObject) -> None:
    dialect = data.draw(st.sampled_from(dialect_names()), label="dialect")
    events = data.draw(streams(dialect))
    places = [place for place, event in enumerate(events) if mutation.at(event)]
    assume(places)
    place = data.draw(st.sampled_from(places), label="place")
    first = events[0]["sequence_number"]
    mutated = mutation.change(deepcopy(events), place)
    if mutation.renumber:
        for number, event in enumerate(mutated, first):
            event["sequence_number"] = number
    noticed = fired(mutated, dialect)
    on = {rule.id for rule in load_rules().values() if rule.level_in(dialect) is not Level.OFF}
    assert set(mutation.must) & on <= noticed
    assert noticed <= {*mutation.must, *mutation.may}
    assert noticed
