"""Output items: start, end, indexes, ids, statuses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import Event, ExchangeView
from rejoinder.conformance.judging.problems import (
    More,
    Places,
    at_event,
    at_misfit,
    differing_fields,
    each,
    event_name,
    get,
    has_what,
    in_response,
    is_set,
    is_what,
    mismatch,
    one_of,
    quoted,
    word,
)
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.fold import ItemTrace
from rejoinder.formatting import plural
from rejoinder.model.verdict import ABSENT, Problem, masked
from rejoinder.validation import SchemaError

_FINISHED: Final = ("completed", "incomplete", "failed")
_RUNNING: Final = ("in_progress", "searching", "interpreting", "generating", "queued")
_UNFINISHED: Final = frozenset({"incomplete", *_RUNNING})
_EXPECTED: Final[Mapping[str, str]] = {
    "role": "non-empty string",
    "name": "non-empty string",
    "content": "array, empty if parts are added",
}
_FIRST_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {"message": ("role", "content"), "function_call": ("name",)}


def _announced(view: ExchangeView) -> list[ItemTrace]:
    return [item for item in view.fold.items if item.announced_at]


@check("ITM-01", Subject.STREAM, needs=lambda view: bool(view.fold.items))
def items_are_announced(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests every item that an event refers to for one `response.output_item.added`, before its other events."""
    yield from each(
        (view.events[item.events[0]] for item in view.fold.items if not item.announced_at),
        lambda first: at_event(
            first,
            f"{event_name(first)} refers to an item that was never added.",
            "/item_id",
            expected="response.output_item.added before this event",
            actual=first.data.get("item_id", first.data.get("output_index", ABSENT)),
            kind="missing",
        ),
        lambda first: first.type,
    )
    for item in _announced(view):
        first = view.events[item.events[0]]
        if len(item.announced_at) > 1:
            count = len(item.announced_at)
            message = f"One item has {count} response.output_item.added events."
            yield at_event(view.events[item.announced_at[1]], message, expected=1, actual=count, kind="twice")
        elif item.events[0] < item.announced_at[0]:
            yield at_event(
                first,
                f"{event_name(first)} comes before response.output_item.added of its item.",
                expected="response.output_item.added",
                actual=first.type,
                kind="late",
            )


@check("ITM-02", Subject.STREAM, needs=lambda view: bool(_announced(view)))
def items_are_closed(view: ExchangeView) -> Iterator[Problem | More]:
    """Counts `response.output_item.done` of every added item and compares its `output_index`, `id` and `type`.

    An item may stay open if the stream broke off or the response failed.
    """
    for item in _announced(view):
        announced = view.events[item.announced_at[0]]
        if not item.closed_at:
            if view.ended_well:
                yield at_event(
                    announced,
                    f"The {word(item.type, 'item')} added here is never done.",
                    expected="response.output_item.done",
                    kind="missing",
                )
            continue
        done = view.events[item.closed_at[0]]
        if len(item.closed_at) > 1:
            count = len(item.closed_at)
            message = f"One item has {count} response.output_item.done events."
            yield at_event(view.events[item.closed_at[1]], message, expected=1, actual=count, kind="twice")
        index = done.data.get("output_index", item.output_index)
        if item.output_index is not None and index != item.output_index:
            yield at_event(
                done,
                f"An item was added with output_index {quoted(item.output_index)} and is done with {quoted(index)}.",
                "/output_index",
                expected=item.output_index,
                actual=index,
            )
        for name in ("id", "type"):
            before, after = get(item.announced, name), get(item.closed, name)
            # ITM-06 covers an item that is null.
            if is_set(before) and before != after and item.closed is not None:
                message = f"The {name} of an item changes from {quoted(before)} to {quoted(after)}."
                yield at_event(done, message, f"/item/{name}", expected=before, actual=after)


@check("ITM-03", Subject.STREAM, needs=lambda view: any(item.output_index is not None for item in _announced(view)))
def output_index_counts_up(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares `output_index` of each `response.output_item.added` with the number of items added before."""
    for expected, item in enumerate(_announced(view)):
        event = view.events[item.announced_at[0]]
        index = event.data.get("output_index")
        if type(index) is int and index != expected:
            message = f"Item {expected + 1} of the stream has output_index {quoted(index)}, not {expected}."
            yield at_event(event, message, "/output_index", expected=expected, actual=index)
            return


@check("ITM-04", Subject.STREAM, needs=lambda view: view.ended_well and view.whole_output is not None)
def as_many_as_announced(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the number of added items with the length of `output` in the terminal response."""
    announced, final = len(_announced(view)), len(view.whole_output or ())
    if announced != final:
        yield in_response(
            view,
            f"The terminal response has {plural(final, 'output item')}, but the stream added {announced}.",
            "/output",
            expected=plural(announced, "item"),
            actual=plural(final, "item"),
        )


def _closed_pairs(view: ExchangeView) -> Iterator[tuple[ItemTrace, dict[str, Any], Any]]:
    """Yield each closed item with the item in its done event and the final item at its index."""
    output = view.whole_output
    if output is None or not view.ended_well:
        return
    for item in _announced(view):
        place = view.fold.place(item)
        if isinstance(item.closed, dict) and place < len(output):
            yield item, item.closed, output[place]


@check("ITM-05", Subject.STREAM, needs=lambda view: any(True for _ in _closed_pairs(view)))
def done_equals_final(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares each done item with the item at its `output_index` in the terminal response.

    Fields that the item's type does not have are not compared.
    """
    for item, closed, final in _closed_pairs(view):
        message = "The final item differs at {} from the item in response.output_item.done."
        known, kept = view.dialect.without_unknown_fields(closed), view.dialect.without_unknown_fields(final)
        yield from differing_fields(in_response, view, message, known, kept, f"/output/{view.fold.place(item)}")


@check("ITM-06", Subject.STREAM, needs=lambda view: any(e.spec and "item" in e.spec.required for e in view.events))
def item_is_not_null(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the `item` of every item event for null."""
    for event in view.events:
        if event.spec and "item" in event.spec.required and event.data.get("item", ABSENT) is None:
            yield at_event(event, f"{event_name(event)} has item null.", "/item", expected="object", actual=None)


def _announced_objects(view: ExchangeView) -> Iterator[tuple[ItemTrace, dict[str, Any]]]:
    for item in _announced(view):
        if isinstance(item.announced, dict):
            yield item, item.announced


def _has_announced_objects(view: ExchangeView) -> bool:
    return any(True for _ in _announced_objects(view))


@check("ITM-07", Subject.STREAM, needs=_has_announced_objects)
def new_items_are_in_progress(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the status of every item in `response.output_item.added`. Tool outputs may be complete from the start."""
    for item, announced in _announced_objects(view):
        event = view.events[item.announced_at[0]]
        kind = item.type
        status = announced.get("status")
        if status in _FINISHED and not kind.endswith("_output"):
            yield at_event(
                event,
                f"A newly added {word(kind, 'item')} has status {quoted(status)}.",
                "/item/status",
                expected="in_progress",
                actual=status,
            )


_Misfit = tuple[Event, dict[str, Any], SchemaError]


def _misfits(view: ExchangeView, numbers: Iterable[int]) -> Iterator[_Misfit]:
    """Yield where the items of these events do not match the schema of their type, each with the event and the item."""
    for number in numbers:
        event = view.events[number]
        item = event.data.get("item")
        if not isinstance(item, dict):
            continue  # EVT-10, ITM-06
        kind = item.get("type", ABSENT)
        if not isinstance(kind, str) or not kind:
            keyword = "required" if kind is ABSENT else "type"
            wanted = "non-empty string"
            yield event, item, SchemaError("/type", f"type {is_what(kind)}", keyword, actual=kind, wanted=wanted)
        for error in view.dialect.field_validator(event.type, "item").errors(item):
            yield event, item, error


def _of_items(places: Iterable[_Misfit], what: str) -> Iterator[Problem | More]:
    def problem(place: _Misfit) -> Problem:
        event, item, error = place
        kind = item.get("type")
        of_type = word(kind, "") + " " if isinstance(kind, str) else ""
        return at_misfit(event, error, mismatch(f"A {what} {of_type}item", error), "/item")

    yield from each(places, problem, lambda place: (place[0].type, masked(place[2].pointer), place[2].keyword))


def _is_covered(view: ExchangeView, item: dict[str, Any], error: SchemaError) -> bool:
    """Whether ITM-08 covers this place of an added item, or the dialect lets the field come later."""
    kind, name = str(item.get("type")), error.pointer[1:]
    if error.actual is ABSENT and f"{kind}.{name}" in view.dialect.stream["added_may_lack"]:
        return True
    if name not in _FIRST_FIELDS.get(kind, ()):
        return False
    return not isinstance(error.actual, list if name == "content" else str) or error.actual == ""


@check("ITM-23", Subject.STREAM, needs=_has_announced_objects)
def new_items_are_whole(view: ExchangeView) -> Iterator[Problem | More]:
    """Validates the item of every `response.output_item.added` against the schema of its type.

    ITM-08 covers `role`, `content` and `name`. `added_may_lack` of the dialect lists fields that may come later.
    """
    numbers = (number for trace in view.fold.items for number in trace.announced_at)
    places = (place for place in _misfits(view, numbers) if not _is_covered(view, *place[1:]))
    yield from _of_items(places, "newly added")


@check("ITM-24", Subject.STREAM, needs=lambda view: any(isinstance(item.closed, dict) for item in view.fold.items))
def done_items_are_whole(view: ExchangeView) -> Iterator[Problem | More]:
    """Validates the item of every `response.output_item.done` against the schema of its type.

    ITM-02 covers an `id` or `type` that the added item has.
    """
    places = (
        place
        for trace in view.fold.items
        for place in _misfits(view, trace.closed_at)
        if not (place[2].pointer in ("/id", "/type") and is_set(get(trace.announced, place[2].pointer[1:])))
    )
    yield from _of_items(places, "done")


@check("ITM-08", Subject.STREAM, needs=lambda view: any(i.type in _FIRST_FIELDS for i, _ in _announced_objects(view)))
def new_items_are_named(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests `role` and `content` of every added message and `name` of every added function call.

    `content` may have parts if no event adds a part to the message.
    """
    for item, announced in _announced_objects(view):
        event = view.events[item.announced_at[0]]
        for name in _FIRST_FIELDS.get(item.type, ()):
            value = announced.get(name, ABSENT)
            if name == "content":
                fits = isinstance(value, list) and not (value and item.announced_parts("content"))
            else:
                fits = isinstance(value, str) and value != ""
            if not fits:
                yield at_event(
                    event,
                    f"A newly added {item.type} {has_what(name, value)}.",
                    f"/item/{name}",
                    expected=_EXPECTED[name],
                    actual=value,
                )


@check("ITM-09", Subject.STREAM, needs=lambda view: any(i.type == "function_call" for i, _ in _announced_objects(view)))
def new_calls_have_no_arguments(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that `arguments` of every added function call with deltas is an empty string.

    ITM-07 covers missing arguments.
    """
    for item, announced in _announced_objects(view):
        arguments = announced.get("arguments")
        streamed = any(part.deltas_at for part in item.of("item"))
        if item.type == "function_call" and streamed and arguments is not None and arguments != "":
            yield at_event(
                view.events[item.announced_at[0]],
                f"A newly added function call already has arguments {quoted(arguments)}.",
                "/item/arguments",
                expected="",
                actual=arguments,
            )


@check("ITM-10", Subject.STREAM, needs=lambda view: any(isinstance(i.closed, dict) for i in view.fold.items))
def done_items_are_finished(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the status of every done item that has one. Items of the form `vendor:name` may have their own status."""
    for item in view.fold.items:
        status = get(item.closed, "status")
        own = ":" in item.type.strip(":")
        if isinstance(status, str) and (status in _RUNNING if own else status not in _FINISHED):
            yield at_event(
                view.events[item.closed_at[0]],
                f"A done {word(item.type, 'item')} has status {quoted(status)}.",
                "/item/status",
                expected=one_of(_FINISHED),
                actual=status,
            )


@check("ITM-11", Subject.STREAM, needs=lambda view: any(item.closed_at for item in view.fold.items))
def nothing_after_the_end(view: ExchangeView) -> Iterator[Problem | More]:
    """Reports the first event of an item after its `response.output_item.done`. ITM-02 covers a second one."""
    for item in view.fold.items:
        if not item.closed_at:
            continue
        own = {*item.closed_at, *item.announced_at}
        late = next((number for number in item.events if number > item.closed_at[0] and number not in own), None)
        if late is not None:
            event = view.events[late]
            message = f"{event_name(event)} refers to an item that is already done."
            yield at_event(event, message, "/item_id", expected="no event of this item", actual=event.type)


@check("ITM-12", Subject.RETURNED, needs=lambda view: "incomplete" in view.item_statuses)
@check("ITM-12", Subject.RESPONSE, needs=lambda view: "incomplete" in view.item_statuses)
def incomplete_is_last(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the position of every incomplete item in the final output."""
    output = view.whole_output or []
    yield from each(
        (i for i, item in enumerate(output[:-1]) if get(item, "status") == "incomplete"),
        lambda place: in_response(
            view,
            f"Item {place + 1} of {len(output)} is incomplete, but is not the last one.",
            f"/output/{place}/status",
            expected="completed",
            actual="incomplete",
        ),
    )


@check("ITM-13", Subject.RETURNED, needs=lambda view: get(view.response, "status") == "completed" and bool(view.output))
@check("ITM-13", Subject.RESPONSE, needs=lambda view: get(view.response, "status") == "completed" and bool(view.output))
def completed_means_all(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the status of every item in a completed response."""
    yield from each(
        (
            (i, status)
            for i, item in enumerate((view.whole_output or ()) if view.item_statuses & _UNFINISHED else ())
            if isinstance(item, dict) and isinstance(status := item.get("status"), str) and status in _UNFINISHED
        ),
        lambda place: in_response(
            view,
            f"A completed response has an item with status {quoted(place[1])}.",
            f"/output/{place[0]}/status",
            expected="one of completed, failed",
            actual=place[1],
        ),
    )


def _was_cut(view: ExchangeView) -> bool:
    return get(view.response, "incomplete_details", "reason") == "max_output_tokens" and bool(view.output)


@check("ITM-14", Subject.RESPONSE, needs=_was_cut)
def cut_item_is_incomplete(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the status of the last item, if it has one, in every response truncated by `max_output_tokens`."""
    output = view.whole_output or []
    last = len(output) - 1
    status = get(output[last], "status")
    if isinstance(status, str) and status != "incomplete":
        yield in_response(
            view,
            f"The response was truncated by max_output_tokens, but its last item has status {quoted(status)}.",
            f"/output/{last}/status",
            expected="incomplete",
            actual=status,
        )


@check("ITM-15", Subject.RETURNED, needs=lambda view: any(isinstance(item.get("id"), str) for item in view.output))
@check("ITM-15", Subject.RESPONSE, needs=lambda view: any(isinstance(item.get("id"), str) for item in view.output))
def ids_are_unique(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the string ids of all items in the final output."""
    seen: set[str] = set()

    def wrong() -> Iterator[tuple[int, str]]:
        for i, item in enumerate(view.whole_output or ()):
            identity = item.get("id") if isinstance(item, dict) else None
            if isinstance(identity, str):
                if not identity or identity in seen:
                    yield i, identity
                seen.add(identity)

    yield from each(
        wrong(),
        lambda place: in_response(
            view,
            f"Two items have the id {quoted(place[1])}." if place[1] else f"The id of output item {place[0]} is empty.",
            f"/output/{place[0]}/id",
            expected="unique id" if place[1] else "non-empty string",
            actual=place[1],
        ),
    )


@check("ITM-16", Subject.RETURNED, needs=lambda view: bool(view.output))
@check("ITM-16", Subject.RESPONSE, needs=lambda view: bool(view.output))
def id_type_status(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that `type`, `id` and `status` of every item in the final output are strings."""
    parameters, classes = view.dialect.response, view.dialect.output_items
    own = {*view.dialect.item_types, *classes, *parameters["id_optional"], *parameters["status_optional"]}

    output = view.whole_output or []

    def optional(name: str, kind: str) -> bool:
        if name == "type":
            return False
        # The contract does not define the status of other types.
        required = name in classes[kind].get("required", ()) if kind in classes else name == "id"
        return not required or kind in parameters[f"{name}_optional"]

    def wrong_items(kind: str) -> list[tuple[str, bool, Places[int]]]:
        return [(name, optional(name, kind), Places()) for name in ("type", "id", "status")]

    def problem(name: str, kind: str, place: int) -> Problem:
        value = output[place].get(name, ABSENT)
        return in_response(
            view,
            f"Output item {place}{f' ({kind})' if kind else ''} {has_what(name, value)}.",
            f"/output/{place}/{name}",
            expected="string",
            actual=value,
            kind=kind,
        )

    others = wrong_items("")
    groups = {"": others}
    for place, item in enumerate(output):
        if not isinstance(item, dict):
            continue  # RSP-05
        kind = item.get("type")
        group = others
        if isinstance(kind, str) and kind in own:
            group = groups.get(kind) or groups.setdefault(kind, wrong_items(kind))
        for name, may_lack, wrong in group:
            value = item.get(name)
            if not isinstance(value, str) and not (may_lack and value is None):
                wrong.add(place)
    for kind, group in groups.items():
        for name, _, wrong in group:
            yield from wrong.problems(partial(problem, name, kind if kind in view.dialect.item_types else ""))


@check("ITM-17", Subject.RETURNED, needs=lambda view: bool(view.items_by_type))
@check("ITM-17", Subject.RESPONSE, needs=lambda view: bool(view.items_by_type))
def item_types_are_known(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares every item type in the final output with the list of the dialect and the form `vendor:name`."""
    known = view.dialect.item_types
    yield from each(
        (
            (i, kind)
            for kind, places in view.items_by_type.items()
            if kind not in known and ":" not in kind.strip(":")
            for i, _ in places
        ),
        lambda place: in_response(
            view,
            f"The dialect has no output item type {quoted(place[1])}.",
            f"/output/{place[0]}/type",
            expected="item type of the dialect, or vendor:name",
            actual=place[1],
        ),
    )


@check("ITM-18", Subject.STREAM, needs=lambda view: bool(_announced(view)))
def events_name_their_item(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares `item_id` and `output_index` of every event with those of the added item.

    ITM-03 covers an `output_index` that two items have.
    """
    for wrong in view.fold.misnamed:
        if wrong.expected == wrong.actual:
            continue
        yield at_event(
            view.events[wrong.event],
            f"{event_name(view.events[wrong.event])} has {wrong.field} {quoted(wrong.actual)}; "
            f"its item has {quoted(wrong.expected)}.",
            f"/{wrong.field}",
            expected=wrong.expected,
            actual=wrong.actual,
        )


@check("ITM-19", Subject.STREAM, needs=lambda view: len(_announced(view)) > 1)
def one_at_a_time(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that every earlier item is done when an item is added."""
    last: ItemTrace | None = None  # the earlier item that is done last
    for item in _announced(view):
        start = item.announced_at[0]
        if last is not None and last.closed_at[0] > start:
            yield at_event(
                view.events[start],
                f"An item is added before the item with output_index {quoted(last.output_index)} is done.",
                expected="response.output_item.done",
                actual=view.events[start].type,
            )
            return
        if item.closed_at and (last is None or item.closed_at[0] > last.closed_at[0]):
            last = item


_CALLS: Final = ("function_call", "custom_tool_call", "mcp_call", "computer_call")


@check("ITM-20", Subject.STREAM, needs=lambda view: any(item.type in _CALLS for item in _announced(view)))
def calls_keep_their_names(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares `name` and `call_id` of every call in the added item, done events and the final item."""
    finals = {item.position: final for item, _, final in _closed_pairs(view)}
    for item in _announced(view):
        if item.type not in _CALLS:
            continue
        typed = [number for part in item.of("item") for number in part.typed_at]
        for name in ("name", "call_id"):
            first = get(item.announced, name)
            if not is_set(first) or first == "":
                continue  # ITM-07, ITM-08
            for number in typed:
                value = view.events[number].data.get(name, ABSENT)
                if is_set(value) and value != first:
                    message = _changed(name, first, value)
                    yield at_event(view.events[number], message, f"/{name}", expected=first, actual=value)
            if isinstance(item.closed, dict) and item.closed.get(name) != first:
                value = item.closed.get(name, ABSENT)
                message = _changed(name, first, value)
                yield at_event(view.events[item.closed_at[0]], message, f"/item/{name}", expected=first, actual=value)
            final = get(finals.get(item.position), name)
            if is_set(final) and final != first:
                message = _changed(name, first, final)
                yield in_response(view, message, f"/output/*/{name}", expected=first, actual=final, kind="final")


def _changed(name: str, before: Any, after: Any) -> str:
    return f"The {name} of a call changes from {quoted(before)} to {quoted(after)}."


@check("ITM-21", Subject.RESPONSE, needs=lambda view: {"reasoning", "message"} <= view.items_by_type.keys())
def reasoning_comes_first(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the type of the last item in every completed response that has reasoning and a message."""
    last = view.output[-1]
    if last.get("type") == "reasoning" and get(view.response, "status") == "completed":
        message = "A reasoning item follows the last message."
        yield in_response(view, message, "/output", expected="item other than reasoning", actual="reasoning")


@check("ITM-22", Subject.RETURNED, needs=lambda view: "message" in view.items_by_type)
@check("ITM-22", Subject.RESPONSE, needs=lambda view: "message" in view.items_by_type)
def messages_are_the_assistants(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the role of every message in the final output. RSP-05 covers a role that is no string."""
    yield from each(
        (
            place
            for place in view.items_by_type.get("message", ())
            if isinstance(role := place[1].get("role"), str) and role != "assistant"
        ),
        lambda place: in_response(
            view,
            f"A message in the output {has_what('role', get(place[1], 'role'))}.",
            f"/output/{place[0]}/role",
            expected="assistant",
            actual=get(place[1], "role"),
        ),
    )
