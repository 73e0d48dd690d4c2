"""Output items: announcement, indexes, ids, states."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.problems import at_event, differing, get, in_response, is_set
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.contract import load_schema
from rejoinder.fold import ItemTrace
from rejoinder.model.verdict import ABSENT, Problem

_FINISHED: Final = ("completed", "incomplete", "failed")
_FIRST_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {"message": ("role", "content"), "function_call": ("name",)}


@cache
def _required_of(item_type: str) -> tuple[str, ...]:
    """Return the fields that the response schema requires of an output item type, none for types it leaves open."""
    definitions = load_schema("response")["$defs"]
    for branch in definitions["OutputItem"]["allOf"]:
        if branch["if"]["properties"]["type"]["const"] == item_type:
            name = branch["then"]["$ref"].rpartition("/")[2]
            return tuple(definitions[name]["required"])
    return ()


def _announced(view: ExchangeView) -> list[ItemTrace]:
    return [item for item in view.fold.items if item.announced_at]


@check("ITM-01", Subject.STREAM, needs=lambda view: bool(view.fold.items))
def items_are_announced(view: ExchangeView) -> Iterator[Problem]:
    """Every item that events speak of must have one response.output_item.added, before all its other events."""
    for item in view.fold.items:
        first = view.events[item.events[0]]
        if not item.announced_at:
            yield at_event(
                first,
                "An event speaks of an item that was never announced.",
                "/item_id",
                expected="response.output_item.added before it",
                actual=first.data.get("item_id", first.data.get("output_index", ABSENT)),
                kind="missing",
            )
        elif len(item.announced_at) > 1:
            yield at_event(view.events[item.announced_at[1]], "An item is announced more than once.", kind="twice")
        elif item.events[0] < item.announced_at[0]:
            yield at_event(first, "An event speaks of an item before it is announced.", kind="late")


@check("ITM-02", Subject.STREAM, needs=lambda view: bool(_announced(view)))
def items_are_closed(view: ExchangeView) -> Iterator[Problem]:
    """Every announced item's response.output_item.done is counted and compared in output_index, id and type.

    Items left open are not counted when the stream broke off or the response failed.
    """
    for item in _announced(view):
        announced = view.events[item.announced_at[0]]
        if not item.closed_at:
            if view.ended_well:
                yield at_event(
                    announced,
                    "An announced item is never closed.",
                    expected="response.output_item.done",
                    kind="missing",
                )
            continue
        done = view.events[item.closed_at[0]]
        if len(item.closed_at) > 1:
            yield at_event(view.events[item.closed_at[1]], "An item is closed more than once.", kind="twice")
        index = done.data.get("output_index", item.output_index)
        if item.output_index is not None and index != item.output_index:
            yield at_event(
                done,
                "An item is closed under another output_index.",
                "/output_index",
                expected=item.output_index,
                actual=index,
            )
        for name in ("id", "type"):
            before, after = get(item.announced, name), get(item.closed, name)
            if is_set(before) and before != after:
                yield at_event(
                    done, f"An item is closed with another {name}.", f"/item/{name}", expected=before, actual=after
                )


@check("ITM-03", Subject.STREAM, needs=lambda view: any(item.output_index is not None for item in _announced(view)))
def output_index_counts_up(view: ExchangeView) -> Iterator[Problem]:
    """The output_index of each announcement is compared with the number of announcements before it."""
    for expected, item in enumerate(_announced(view)):
        event = view.events[item.announced_at[0]]
        index = event.data.get("output_index")
        if type(index) is int and index != expected:
            yield at_event(event, "An output_index is out of order.", "/output_index", expected=expected, actual=index)
            return


@check("ITM-04", Subject.STREAM, needs=lambda view: view.ended_well and view.whole_output is not None)
def as_many_as_announced(view: ExchangeView) -> Iterator[Problem]:
    """Announced items are counted against the terminal response's output."""
    announced, final = len(_announced(view)), len(view.whole_output or ())
    if announced != final:
        yield in_response(
            view,
            "The terminal response has another number of items than were announced.",
            "/output",
            expected=announced,
            actual=final,
        )


def _closed_pairs(view: ExchangeView) -> Iterator[tuple[ItemTrace, dict[str, Any], Any]]:
    """Yield each closed item with its closed form and the final item at its place."""
    output = view.whole_output
    if output is None or not view.ended_well:
        return
    for item in _announced(view):
        place = view.fold.place(item)
        if isinstance(item.closed, dict) and place < len(output):
            yield item, item.closed, output[place]


@check("ITM-05", Subject.STREAM, needs=lambda view: any(True for _ in _closed_pairs(view)))
def done_equals_final(view: ExchangeView) -> Iterator[Problem]:
    """Each closed item is compared as a whole with the terminal response's item at its output_index."""
    for item, closed, final in _closed_pairs(view):
        message = "An item in the terminal response differs from the item as it was closed."
        yield from differing(in_response, view, message, closed, final, f"/output/{view.fold.place(item)}")


@check("ITM-06", Subject.STREAM, needs=lambda view: any(e.spec and "item" in e.spec.required for e in view.events))
def item_is_not_null(view: ExchangeView) -> Iterator[Problem]:
    """The item field of item events must not be null."""
    for event in view.events:
        if event.spec and "item" in event.spec.required and event.data.get("item", ABSENT) is None:
            yield at_event(event, "An item event carries a null item.", "/item", expected="an object", actual=None)


def _announced_objects(view: ExchangeView) -> Iterator[tuple[ItemTrace, dict[str, Any]]]:
    for item in _announced(view):
        if isinstance(item.announced, dict):
            yield item, item.announced


def _has_announced_objects(view: ExchangeView) -> bool:
    return any(True for _ in _announced_objects(view))


@check("ITM-07", Subject.STREAM, needs=_has_announced_objects)
def new_items_are_zero_values(view: ExchangeView) -> Iterator[Problem]:
    """An announced item's status must be in_progress where it has one; its type's required fields must be there.

    Items that are the output of a tool are complete from the start. role, content, name, id and status as such are
    judged by ITM-08 and ITM-16.
    """
    for item, announced in _announced_objects(view):
        event = view.events[item.announced_at[0]]
        kind = item.type
        status = announced.get("status")
        if status is not None and status != "in_progress" and not kind.endswith("_output"):
            yield at_event(
                event, "A new item is not in progress.", "/item/status", expected="in_progress", actual=status
            )
        others = ("id", "type", "status", *_FIRST_FIELDS.get(kind, ()))
        for name in _required_of(kind):
            if name not in others and announced.get(name) is None:
                yield at_event(
                    event,
                    f"A new {kind} lacks its field {name}.",
                    f"/item/{name}",
                    expected="present",
                    actual=announced.get(name, ABSENT),
                )


@check("ITM-08", Subject.STREAM, needs=lambda view: any(i.type in _FIRST_FIELDS for i, _ in _announced_objects(view)))
def new_items_are_named(view: ExchangeView) -> Iterator[Problem]:
    """An announced message must have a role and an empty content, an announced function call a non-empty name."""
    for item, announced in _announced_objects(view):
        event = view.events[item.announced_at[0]]
        for name in _FIRST_FIELDS.get(item.type, ()):
            value = announced.get(name, ABSENT)
            fits = value == [] if name == "content" else isinstance(value, str) and value != ""
            if not fits:
                yield at_event(
                    event,
                    f"A new {item.type} has no {name}."
                    if value is ABSENT or value is None
                    else f"A new {item.type} has another {name} than a new one can have.",
                    f"/item/{name}",
                    expected=[] if name == "content" else "a non-empty string",
                    actual=value,
                )


@check("ITM-09", Subject.STREAM, needs=lambda view: any(i.type == "function_call" for i, _ in _announced_objects(view)))
def new_calls_have_no_arguments(view: ExchangeView) -> Iterator[Problem]:
    """The arguments of an announced function call must be the empty string; their absence is left to ITM-07."""
    for item, announced in _announced_objects(view):
        arguments = announced.get("arguments")
        if item.type == "function_call" and arguments is not None and arguments != "":
            yield at_event(
                view.events[item.announced_at[0]],
                "A new function call already has arguments.",
                "/item/arguments",
                expected="",
                actual=arguments,
            )


@check("ITM-10", Subject.STREAM, needs=lambda view: any(isinstance(i.closed, dict) for i in view.fold.items))
def done_items_are_finished(view: ExchangeView) -> Iterator[Problem]:
    """The status of a closed item, where it is a string, must be completed, incomplete or failed."""
    for item in view.fold.items:
        status = get(item.closed, "status")
        if isinstance(status, str) and status not in _FINISHED:
            yield at_event(
                view.events[item.closed_at[0]],
                "A closed item is not finished.",
                "/item/status",
                expected=list(_FINISHED),
                actual=status,
            )


@check("ITM-11", Subject.STREAM, needs=lambda view: any(item.closed_at for item in view.fold.items))
def nothing_after_the_end(view: ExchangeView) -> Iterator[Problem]:
    """Events of an item after its response.output_item.done are problems; a second done is left to ITM-02."""
    for item in view.fold.items:
        if not item.closed_at:
            continue
        late = [
            n for n in item.events if n > item.closed_at[0] and n not in item.closed_at and n not in item.announced_at
        ]
        if late:
            event = view.events[late[0]]
            yield at_event(event, "An event speaks of an item that is already closed.", "/item_id", actual=event.type)


@check("ITM-12", Subject.RESPONSE, needs=lambda view: any(item.get("status") == "incomplete" for item in view.output))
def incomplete_is_last(view: ExchangeView) -> Iterator[Problem]:
    """The place of every incomplete item in the final output is looked at."""
    output = view.whole_output or []
    for i, item in enumerate(output[:-1]):
        if get(item, "status") == "incomplete":
            yield in_response(
                view,
                "Items follow an incomplete one.",
                f"/output/{i}/status",
                expected="completed",
                actual="incomplete",
            )


@check("ITM-13", Subject.RESPONSE, needs=lambda view: get(view.response, "status") == "completed" and bool(view.output))
def completed_means_all(view: ExchangeView) -> Iterator[Problem]:
    """The status of every item of a completed response is looked at."""
    for i, item in enumerate(view.whole_output or ()):
        status = get(item, "status")
        if isinstance(status, str) and status not in ("completed", "failed"):
            yield in_response(
                view,
                f"A completed response holds an item that is {status}.",
                f"/output/{i}/status",
                expected="completed",
                actual=status,
            )


def _was_cut(view: ExchangeView) -> bool:
    return get(view.response, "incomplete_details", "reason") == "max_output_tokens" and bool(view.output)


@check("ITM-14", Subject.RESPONSE, needs=_was_cut)
def cut_item_is_incomplete(view: ExchangeView) -> Iterator[Problem]:
    """When incomplete_details names max_output_tokens, the last item that has a status must be incomplete."""
    output = view.whole_output or []
    last = len(output) - 1
    status = get(output[last], "status")
    if isinstance(status, str) and status != "incomplete":
        yield in_response(
            view,
            "The response was cut by max_output_tokens, but its last item is not incomplete.",
            f"/output/{last}/status",
            expected="incomplete",
            actual=status,
        )


@check("ITM-15", Subject.RESPONSE, needs=lambda view: any(isinstance(item.get("id"), str) for item in view.output))
def ids_are_unique(view: ExchangeView) -> Iterator[Problem]:
    """Ids of the final output that are strings must be non-empty and differ."""
    seen: set[str] = set()
    for i, item in enumerate(view.whole_output or ()):
        identity = get(item, "id")
        if not isinstance(identity, str):
            continue
        if not identity:
            yield in_response(
                view, "An item's id is empty.", f"/output/{i}/id", expected="a non-empty string", actual=""
            )
        elif identity in seen:
            yield in_response(
                view, "Two items have the same id.", f"/output/{i}/id", expected="an id of its own", actual=identity
            )
        seen.add(identity)


@check("ITM-16", Subject.RESPONSE, needs=lambda view: bool(view.output))
def id_type_status(view: ExchangeView) -> Iterator[Problem]:
    """id, type and status of every final item must be strings; the dialect lists the types that may lack one."""
    parameters = view.dialect.response
    for i, item in enumerate(view.whole_output or ()):
        if not isinstance(item, dict):
            continue  # RSP-05
        kind = item.get("type")
        for name in ("type", "id", "status"):
            value = item.get(name, ABSENT)
            optional = name != "type" and kind in parameters[f"{name}_optional"]
            # Types that the contract leaves open have a status of their own or none.
            if name == "status" and kind not in ("message", "function_call", "computer_call", "reasoning"):
                optional = True
            if isinstance(value, str) or (optional and not is_set(value)):
                continue
            yield in_response(
                view,
                f"An output item has no {name}.",
                f"/output/{i}/{name}",
                expected="a string",
                actual=value,
                kind=str(kind) if isinstance(kind, str) and kind in view.dialect.item_types else "",
            )


@check("ITM-17", Subject.RESPONSE, needs=lambda view: any(isinstance(item.get("type"), str) for item in view.output))
def item_types_are_known(view: ExchangeView) -> Iterator[Problem]:
    """Types of the final output are compared with those that the contract names; vendor:name is allowed."""
    known = view.dialect.item_types
    for i, item in enumerate(view.whole_output or ()):
        kind = get(item, "type")
        if isinstance(kind, str) and kind not in known and ":" not in kind.strip(":"):
            yield in_response(
                view,
                "An output item's type is unknown to the contract and has no vendor prefix.",
                f"/output/{i}/type",
                expected="a type of the contract, or vendor:name",
                actual=kind,
            )


@check("ITM-18", Subject.STREAM, needs=lambda view: bool(_announced(view)))
def events_name_their_item(view: ExchangeView) -> Iterator[Problem]:
    """item_id and output_index of every event are compared with those of the announced item."""
    for wrong in view.fold.misnamed:
        yield at_event(
            view.events[wrong.event],
            f"An event's {wrong.field} is not that of its item.",
            f"/{wrong.field}",
            expected=wrong.expected,
            actual=wrong.actual,
        )


@check("ITM-19", Subject.STREAM, needs=lambda view: len(_announced(view)) > 1)
def one_at_a_time(view: ExchangeView) -> Iterator[Problem]:
    """When an item is announced, all items announced before must be closed."""
    announced = _announced(view)
    for i, item in enumerate(announced):
        start = item.announced_at[0]
        for other in announced[:i]:
            if other.closed_at and other.closed_at[0] > start:
                yield at_event(view.events[start], "An item is announced while another is still open.")
                return


_CALLS: Final = ("function_call", "custom_tool_call", "mcp_call", "computer_call")


@check("ITM-20", Subject.STREAM, needs=lambda view: any(item.type in _CALLS for item in _announced(view)))
def calls_keep_their_names(view: ExchangeView) -> Iterator[Problem]:
    """Name and call_id of a call are compared between its announcement, typed done event, end and final item."""
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
                    yield at_event(
                        view.events[number], f"A call's {name} changes.", f"/{name}", expected=first, actual=value
                    )
            if isinstance(item.closed, dict) and item.closed.get(name) != first:
                yield at_event(
                    view.events[item.closed_at[0]],
                    f"A call's {name} changes.",
                    f"/item/{name}",
                    expected=first,
                    actual=item.closed.get(name, ABSENT),
                )
            final = get(finals.get(item.position), name)
            if is_set(final) and final != first:
                yield in_response(
                    view, f"A call's {name} changes.", f"/output/*/{name}", expected=first, actual=final, kind="final"
                )


@check(
    "ITM-21", Subject.RESPONSE, needs=lambda view: {"reasoning", "message"} <= {str(i.get("type")) for i in view.output}
)
def reasoning_comes_first(view: ExchangeView) -> Iterator[Problem]:
    """In a finished response no reasoning item may stand at the end, after the last message."""
    last = view.output[-1]
    if last.get("type") == "reasoning" and get(view.response, "status") == "completed":
        yield in_response(view, "A reasoning item stands after the message that it led to.", "/output")


@check("ITM-22", Subject.RESPONSE, needs=lambda view: any(item.get("type") == "message" for item in view.output))
def messages_are_the_assistants(view: ExchangeView) -> Iterator[Problem]:
    """The role of every message in the final output must be assistant."""
    for i, item in enumerate(view.whole_output or ()):
        if get(item, "type") == "message" and get(item, "role") != "assistant":
            yield in_response(
                view,
                "A message in the output is not the assistant's.",
                f"/output/{i}/role",
                expected="assistant",
                actual=get(item, "role"),
            )
