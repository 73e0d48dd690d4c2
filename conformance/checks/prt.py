"""Content and summary parts: start, end, indexes, types, annotations, tool progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import Event, ExchangeView
from rejoinder.conformance.judging.problems import (
    More,
    at_event,
    at_misfit,
    differing,
    each,
    event_name,
    get,
    has_what,
    in_response,
    is_integer,
    mismatch,
    one_of,
    quoted,
    word,
)
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.fold import ItemTrace, PartTrace
from rejoinder.formatting import plural
from rejoinder.model.verdict import ABSENT, Problem, masked
from rejoinder.validation import SchemaError

_ZERO_TEXT: Final[Mapping[str, str]] = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "summary_text": "text",
}


def _parts(view: ExchangeView, container: str = "content") -> list[tuple[ItemTrace, PartTrace]]:
    return view.once(_content_parts) if container == "content" else _parts_in(view, container)


def _content_parts(view: ExchangeView) -> list[tuple[ItemTrace, PartTrace]]:
    return _parts_in(view, "content")


def _parts_in(view: ExchangeView, container: str) -> list[tuple[ItemTrace, PartTrace]]:
    return [(item, part) for item in view.fold.items for part in item.of(container)]


def _has_text(view: ExchangeView) -> bool:
    return any(part.first_use is not None for _, part in _parts(view))


def _is_used(view: ExchangeView) -> bool:
    return any(_first_event(part) is not None for _, part in _parts(view))


def _first_event(part: PartTrace) -> int | None:
    """Return the number of the part's first delta or done event, ``None`` without any."""
    return min((*part.deltas_at[:1], *part.typed_at[:1], *part.closed_at[:1]), default=None)


def _has_indexes(view: ExchangeView) -> bool:
    return any(part.index is not None for _, part in _parts(view))


def _has_announced(view: ExchangeView) -> bool:
    return any(isinstance(part.announced, dict) for _, part in _parts(view))


def _is_placed(item: ItemTrace) -> bool:
    """Whether the position of the item's parts in the terminal response is known; PRT-02 reports the others."""
    announced = item.announced_parts("content")
    return announced in (0, len(item.of("content")))


@check("PRT-01", Subject.STREAM, needs=_is_used)
def parts_are_announced(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that a part is added before its first delta or done event.

    `response.content_part.added` adds it, or `response.output_item.added` of an item with this part. PRT-14 covers the
    second. PRT-02 covers an unknown `content_index` in an item that has added parts.
    """
    yield from each(
        (
            view.events[used]
            for item, part in _parts(view)
            if (used := _first_event(part)) is not None
            and not item.announced_parts("content")
            and not _came_with(item, part)
        ),
        lambda event: at_event(
            event,
            f"{event_name(event)} refers to a part that was never added.",
            expected="response.content_part.added before this event",
            actual=event.type,
            kind="missing",
        ),
        lambda event: event.type,
    )
    for _, part in _parts(view):
        used = _first_event(part)
        if used is None:
            continue
        if part.announced_at and used < part.announced_at[0]:
            yield at_event(
                view.events[used],
                f"{event_name(view.events[used])} comes before response.content_part.added of its part.",
                expected="response.content_part.added",
                actual=view.events[used].type,
                kind="late",
            )


def _came_with(item: ItemTrace, part: PartTrace) -> bool:
    """Whether the item was added with the part, before any use of it."""
    used = _first_event(part)
    added = item.announced_at and used is not None and item.announced_at[0] < used
    return bool(added) and isinstance(get(item.announced, "content", part.index or 0), dict)


@check("PRT-14", Subject.STREAM, needs=_has_text)
def parts_have_their_own_event(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests parts that their item is added with for `response.content_part.added`. PRT-01 covers all others."""
    for item, part in _parts(view):
        if part.first_use is not None and not item.announced_parts("content") and _came_with(item, part):
            event = view.events[part.first_use]
            yield at_event(
                event,
                f"{event_name(event)} refers to a part that has no response.content_part.added. "
                "The item was added with it.",
                expected="response.content_part.added before this event",
                actual=event.type,
                kind="missing",
            )


@check("PRT-02", Subject.STREAM, needs=_has_indexes)
def content_index_counts_up(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that added parts of an item have the indexes 0, 1, 2, ... and that other events use one of these."""
    for item in view.fold.items:
        announced = [part for part in item.of("content") if part.announced_at]
        for expected, part in enumerate(announced):
            event = view.events[part.announced_at[0]]
            if part.index is not None and part.index != expected:
                yield at_event(
                    event,
                    f"Part {expected + 1} of the item has content_index {quoted(part.index)}, not {expected}.",
                    "/content_index",
                    expected=expected,
                    actual=part.index,
                    kind="order",
                )
                break
            if len(part.announced_at) > 1:
                yield at_event(
                    view.events[part.announced_at[1]],
                    f"One part has {len(part.announced_at)} response.content_part.added events.",
                    "/content_index",
                    expected=1,
                    actual=len(part.announced_at),
                    kind="twice",
                )
        strays = [part for part in item.of("content") if not part.announced_at and part.index is not None]
        if announced and strays:
            stray = strays[0]
            number = min([*stray.deltas_at[:1], *stray.typed_at[:1], *stray.closed_at[:1], *_noted(stray)])
            yield at_event(
                view.events[number],
                f"{event_name(view.events[number])} has content_index {quoted(stray.index)}, which no added part has.",
                "/content_index",
                expected=announced[0].index if len(announced) == 1 else one_of(str(p.index) for p in announced),
                actual=stray.index,
                kind="stray",
            )


def _noted(part: PartTrace) -> list[int]:
    return [number for number, _, _ in part.annotations[:1]]


@check("PRT-03", Subject.STREAM, needs=_has_announced)
def new_parts_are_zero_values(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the text of every added part with deltas, and `annotations` of every added `output_text` part."""
    for _, part in _parts(view):
        if not isinstance(part.announced, dict):
            continue
        event = view.events[part.announced_at[0]]
        kind = part.announced.get("type")
        name = _ZERO_TEXT.get(kind) if isinstance(kind, str) else None
        wanted: dict[str, Any] = {name: ""} if name else {}
        if kind == "output_text":
            wanted["annotations"] = []
        for field, initial in wanted.items():
            value = part.announced.get(field, ABSENT)
            # A value from the start is right if no event adds to it.
            grows = part.annotations if field == "annotations" else part.deltas_at
            if type(value) is not type(initial) or (grows and value != initial):
                yield at_event(
                    event,
                    f"A newly added {kind} part {has_what(field, value)}.",
                    f"/part/{field}",
                    expected=initial,
                    actual=value,
                )


def _texts(view: ExchangeView) -> list[tuple[ItemTrace, PartTrace]]:
    """Return the parts of content, and the arguments, input and code that items are streamed with."""
    return [*_parts(view), *_parts(view, "item")]


def _has_texts(view: ExchangeView) -> bool:
    return any(part.first_use is not None or part.closed_at for _, part in _texts(view))


@check("PRT-04", Subject.STREAM, needs=_has_texts)
def texts_are_closed(view: ExchangeView) -> Iterator[Problem | More]:
    """Counts the typed done events of every part, and of the arguments, input or code of every call.

    Each must come after the deltas and before the part is done. ACC-05 covers function calls without one.
    """
    for item, part in _texts(view):
        whole, end = ("part", part.closed_at) if part.container == "content" else ("call", item.closed_at)
        if part.first_use is None and not _carries_text(part):
            continue
        if not part.typed_at:
            if (end or view.ended_well) and item.type != "function_call":
                number = end[0] if end else part.deltas_at[-1]
                yield at_event(
                    view.events[number],
                    f"No typed done event ends the text of this {whole}.",
                    expected="typed done event, such as response.output_text.done",
                    kind="missing",
                )
            continue
        typed = part.typed_at[0]
        if len(part.typed_at) > 1:
            count = len(part.typed_at)
            second = view.events[part.typed_at[1]]
            message = f"One {whole} has {count} {second.type} events."
            yield at_event(second, message, expected=1, actual=count, kind="twice")
        if part.deltas_at and part.deltas_at[-1] > typed:
            late = view.events[part.deltas_at[-1]]
            message = f"{event_name(late)} follows {view.events[typed].type} of its {whole}."
            yield at_event(late, message, expected="no delta", actual=late.type, kind="late delta")
        if part.closed_at and part.closed_at[0] < typed:
            yield at_event(
                view.events[typed],
                f"{event_name(view.events[typed])} follows response.content_part.done of its part.",
                expected="response.content_part.done after this event",
                actual="response.content_part.done before this event",
                kind="late",
            )


def _carries_text(part: PartTrace) -> bool:
    """Whether a part without deltas has text when it is done, which a typed done event should have carried."""
    kind = get(part.closed, "type")
    name = _ZERO_TEXT.get(kind) if isinstance(kind, str) else None
    return bool(name) and bool(get(part.closed, name or "") not in (ABSENT, ""))


@check("PRT-05", Subject.STREAM, needs=_has_announced)
def part_type_is_constant(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the type of every added part with the done part and the part in the terminal response."""
    output = view.whole_output or []
    for item, part in _parts(view):
        first = get(part.announced, "type")
        if not isinstance(first, str):
            continue
        closed = get(part.closed, "type")
        if isinstance(closed, str) and closed != first:
            message = f"A part was added with type {quoted(first)} and is done with {quoted(closed)}."
            yield at_event(view.events[part.closed_at[0]], message, "/part/type", expected=first, actual=closed)
        if not _is_placed(item):
            continue
        place = view.fold.place(item)
        index = item.place(part)
        final = get(output, place, "content", index, "type")
        if isinstance(final, str) and final != first:
            yield in_response(
                view,
                f"A part was added with type {quoted(first)} and has {quoted(final)} in the terminal response.",
                f"/output/{place}/content/{index}/type",
                expected=first,
                actual=final,
            )


@check("PRT-06", Subject.STREAM, needs=lambda view: _has_announced(view) and _has_text(view))
def deltas_fit_the_part(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the part type that a delta event is for with the type of the added part.

    `reasoning_parts` of the dialect lists the types that parts of a reasoning item may have.
    """
    reasoning = view.dialect.stream["reasoning_parts"]
    for _, part in _parts(view):
        kind = get(part.announced, "type")
        for family, spec in part.specs.items():
            if isinstance(kind, str) and kind != family and not (family == "reasoning_text" and kind in reasoning):
                number = next((n for n in [*part.deltas_at, *part.typed_at] if view.events[n].spec == spec), None)
                number = number if number is not None else (part.first_use or 0)
                yield at_event(
                    view.events[number],
                    f"{event_name(view.events[number])} is for {family} parts, but this part has type {quoted(kind)}.",
                    "/type",
                    expected=kind,
                    actual=family,
                )


@check("PRT-07", Subject.STREAM, needs=lambda view: any(part.announced_at for _, part in _parts(view)))
def parts_close_before_their_item(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests that every added part is done once, before its item. ITM-02 covers items that are never done."""
    for item, part in _parts(view):
        if not part.announced_at or not item.closed_at:
            continue
        end = item.closed_at[0]
        if not part.closed_at:
            yield at_event(
                view.events[end],
                "An item is done, but one of its parts is not.",
                expected="response.content_part.done before this event",
                kind="missing",
            )
        elif part.closed_at[0] > end:
            yield at_event(
                view.events[part.closed_at[0]],
                f"{event_name(view.events[part.closed_at[0]])} follows response.output_item.done of its item.",
                expected="response.output_item.done after this event",
                actual="response.output_item.done before this event",
                kind="late",
            )
        elif len(part.closed_at) > 1:
            count = len(part.closed_at)
            message = f"One part has {count} response.content_part.done events."
            yield at_event(view.events[part.closed_at[1]], message, expected=1, actual=count, kind="twice")


@check(
    "PRT-08",
    Subject.STREAM,
    needs=lambda view: any(isinstance(get(i.closed, "content"), list) for i in view.fold.items),
)
def as_many_parts_as_closed(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares the number of done parts with the length of `content` in the done item, and each part with its `part`.

    Fields that are absent, null or empty in one of the two are not compared. Other rules compare the type and the text
    of a part.
    """
    for item in view.fold.items:
        content = get(item.closed, "content")
        if not isinstance(content, list) or item.type not in ("message", "reasoning"):
            continue
        closed = sum(1 for part in item.of("content") if part.closed_at)
        announced = item.announced_parts("content")
        # PRT-01 and PRT-07 report parts that were never added or are never done.
        if closed == announced and closed != len(content) and (announced or not item.of("content")):
            yield at_event(
                view.events[item.closed_at[0]],
                f"The done item has {plural(len(content), 'part')}, but the stream finished {closed}.",
                "/item/content",
                expected=plural(closed, "part"),
                actual=plural(len(content), "part"),
            )
        elif _is_placed(item):
            for part in item.of("content"):
                place = item.place(part)
                yield from _changed_part(view, item, place, part.closed, get(content, place))


_COMPARED_ELSEWHERE: Final = frozenset({"type", *_ZERO_TEXT.values()})
"""Fields of parts that PRT-05 and the rules on accumulated text compare."""


def _changed_part(view: ExchangeView, item: ItemTrace, place: int, done: Any, kept: Any) -> Iterator[Problem | More]:
    """Yield where a part of a done item differs from the part in its own done event."""
    if not isinstance(done, dict) or not isinstance(kept, dict):
        return
    for name, value in done.items():
        other = kept.get(name)
        if name not in _COMPARED_ELSEWHERE and value and other and value != other:
            message = "A part of the done item differs at {} from the part in response.content_part.done."
            event = view.events[item.closed_at[0]]
            yield from differing(at_event, event, message, value, other, f"/item/content/{place}/{name}", kind="part")


def _has_summary(view: ExchangeView) -> bool:
    return any(True for _ in _parts(view, "summary"))


@check("PRT-09", Subject.STREAM, needs=_has_summary)
def summary_in_order(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the order of the events and the `summary_index` of every summary part, and counts the events but deltas."""
    for item in view.fold.items:
        for expected, part in enumerate(item.of("summary")):
            events = [*part.announced_at, *part.deltas_at, *part.typed_at, *part.closed_at]
            first = view.events[min(events)]
            if part.index is not None and part.index != expected:
                yield at_event(
                    first,
                    f"Summary part {expected + 1} has summary_index {quoted(part.index)}, not {expected}.",
                    "/summary_index",
                    expected=expected,
                    actual=part.index,
                    kind="index",
                )
            if not part.announced_at:
                yield at_event(
                    first,
                    "A summary part was never added.",
                    expected="response.reasoning_summary_part.added",
                    actual=first.type,
                    kind="not announced",
                )
            if view.ended_well and (not part.typed_at or not part.closed_at):
                what, event = ("as part", "part") if part.typed_at else ("by text", "text")
                wanted = f"response.reasoning_summary_{event}.done"
                message = f"No {wanted} follows for this summary part."
                yield at_event(first, message, expected=wanted, kind=f"not closed {what}")
            if events != sorted(events):
                yield at_event(
                    first,
                    "The events of a summary part are out of order.",
                    expected="part added, text deltas, text done, part done",
                    actual=[view.events[number].type for number in sorted(events)],
                    kind="order",
                )
            for numbers in (part.announced_at, part.typed_at, part.closed_at):
                if len(numbers) > 1:
                    second = view.events[numbers[1]]
                    message = f"One summary part has {len(numbers)} {second.type} events."
                    yield at_event(second, message, expected=1, actual=len(numbers), kind="twice")


@check("PRT-10", Subject.STREAM, needs=lambda view: any(part.annotations for _, part in _parts(view)))
def annotations_as_streamed(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests `annotation_index`, and compares the streamed annotations with those in the terminal response.

    A streamed annotation that is null may be any in the terminal response. EVT-10 tests whether it may be null.
    """
    output = view.whole_output
    for item, part in _parts(view):
        for expected, (number, index, _) in enumerate(part.annotations):
            if is_integer(index) and index != expected:
                yield at_event(
                    view.events[number],
                    f"Annotation {expected + 1} of the part has annotation_index {quoted(index)}, not {expected}.",
                    "/annotation_index",
                    expected=expected,
                    actual=index,
                    kind="index",
                )
                break
        if not part.annotations or output is None or not _is_placed(item):
            continue
        place = view.fold.place(item)
        where = item.place(part)
        final = get(output, place, "content", where, "annotations")
        streamed = [
            get(final, number) if annotation is None else annotation
            for number, (_, _, annotation) in enumerate(part.annotations)
        ]
        message = "The final annotations differ at {} from the streamed ones."
        pointer = f"/output/{place}/content/{where}/annotations"
        yield from differing(in_response, view, message, streamed, final, pointer, kind="final")


def _annotations(view: ExchangeView) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Yield pointer, length of the text in UTF-16 code units, and annotation."""
    for pointer, part in view.text_parts():
        annotations = part.get("annotations")
        text = part.get("text")
        if not isinstance(text, str) or not isinstance(annotations, list):
            continue
        length = len(text.encode("utf-16-le", "surrogatepass")) // 2
        for i, annotation in enumerate(annotations):
            if isinstance(annotation, dict) and "start_index" in annotation:
                yield f"{pointer}/annotations/{i}", length, annotation


@check("PRT-11", Subject.RETURNED, needs=lambda view: any(True for _ in _annotations(view)))
@check("PRT-11", Subject.RESPONSE, needs=lambda view: any(True for _ in _annotations(view)))
def annotations_lie_in_the_text(view: ExchangeView) -> Iterator[Problem | More]:
    """Compares `start_index` and `end_index` with the length of the text, counted in UTF-16 code units."""
    for pointer, length, annotation in _annotations(view):
        start, end = annotation.get("start_index"), annotation.get("end_index")
        if not (is_integer(start) and is_integer(end)):
            continue
        if not 0 <= start <= end <= length:
            yield in_response(
                view,
                f"An annotation spans {quoted(start)} to {quoted(end)}, but the text has length {length}.",
                f"{pointer}/start_index",
                expected=f"0 <= start_index <= end_index <= {length}",
                actual=f"start_index {quoted(start)}, end_index {quoted(end)}",
            )


def _deltas(view: ExchangeView) -> Iterator[int]:
    for item in view.fold.items:
        for part in item.parts:
            yield from part.deltas_at


@check("PRT-12", Subject.STREAM, needs=lambda view: any(True for _ in _deltas(view)))
def deltas_are_not_empty(view: ExchangeView) -> Iterator[Problem | More]:
    """Reports every delta that is an empty string. EVT-10 covers other types."""
    for number in _deltas(view):
        event = view.events[number]
        if event.data.get("delta") == "":
            message = f"{event_name(event)} has an empty delta."
            yield at_event(event, message, "/delta", expected="non-empty string", actual="")


_STEP: Final[Mapping[str, int]] = {"in_progress": 0, "completed": 2, "failed": 2}


@check("PRT-13", Subject.STREAM, needs=lambda view: any(item.progress for item in view.fold.items))
def progress_in_order(view: ExchangeView) -> Iterator[Problem | More]:
    """Tests the type and the order of the progress events of every item. ITM-11 covers events after its end.

    Events of work may come several times, such as those of images in part.
    """
    for item in view.fold.items:
        before = -1
        for number, kind in item.progress:
            event = view.events[number]
            if item.closed_at and number > item.closed_at[0]:
                continue  # ITM-11
            spec = view.dialect.events[kind]
            if spec.item and item.type and item.type != spec.item:
                yield at_event(
                    event,
                    f"{event_name(event)} refers to a {word(item.type, 'different')} item.",
                    "/type",
                    expected=f"event for {word(item.type, 'other')} items",
                    actual=kind,
                    kind="type",
                )
            step = _STEP.get(kind.rpartition(".")[2], 1)
            if step < before or before == 2:
                message = f"{event_name(event)} comes out of order."
                yield at_event(event, message, expected="in_progress, working, completed", actual=kind, kind="order")
                break
            if step == before == 0:
                message = f"{event_name(event)} comes twice for one item."
                yield at_event(event, message, expected=1, actual=2, kind="twice")
                break
            before = step


def _nested(view: ExchangeView) -> Iterator[tuple[Event, str]]:
    """Yield every event that has a part or an annotation, with the name of that field."""
    for event in view.known:
        for name in ("part", "annotation"):
            if isinstance(event.data.get(name), dict) and event.spec is not None and event.spec.is_nested(name):
                yield event, name


def _is_covered(event: Event, name: str, error: SchemaError, types: Mapping[int, Any]) -> bool:
    """Whether another rule covers this place of a part: PRT-03 the text of added parts, PRT-05 types that change."""
    if name == "annotation" or event.spec is None:
        return False
    kind = event.data["part"].get("type")
    field = error.pointer[1:]
    if event.spec.role == "part.added":
        text = _ZERO_TEXT.get(kind) if isinstance(kind, str) else None
        owned = field == text or (field == "annotations" and kind == "output_text")
        return (
            owned and event.spec.container == "content" and not isinstance(error.actual, str if field == text else list)
        )
    first_type = types.get(event.number)
    return field == "type" and isinstance(first_type, str) and isinstance(kind, str) and kind != first_type


@check("PRT-15", Subject.STREAM, needs=lambda view: any(True for _ in _nested(view)))
def parts_match_their_schema(view: ExchangeView) -> Iterator[Problem | More]:
    """Validates every part and annotation of an event against the schema of its type.

    PRT-03 covers the text and `annotations` of added parts, PRT-05 a type that changes.
    """
    types = {number: get(part.announced, "type") for _, part in _parts(view) for number in part.closed_at}
    wrong = (
        (event, name, error)
        for event, name in _nested(view)
        for error in view.dialect.field_validator(event.type, name).errors(event.data[name])
        if not _is_covered(event, name, error, types)
    )

    def problem(place: tuple[Event, str, SchemaError]) -> Problem:
        event, name, error = place
        what = f"The {name} of {event_name(event)[0].lower()}{event_name(event)[1:]}"
        return at_misfit(event, error, mismatch(what, error), f"/{name}")

    yield from each(wrong, problem, lambda place: (place[0].type, masked(place[2].pointer), place[2].keyword))
