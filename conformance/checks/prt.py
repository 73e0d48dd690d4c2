"""Content and summary parts: announcement, indexes, types, ends, annotations, tool progress."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.problems import at_event, differing, get, in_response, is_integer
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.fold import ItemTrace, PartTrace
from rejoinder.model.verdict import ABSENT, Problem

_ZERO_TEXT: Final[Mapping[str, str]] = {
    "output_text": "text",
    "refusal": "refusal",
    "reasoning_text": "text",
    "summary_text": "text",
}


def _parts(view: ExchangeView, container: str = "content") -> Iterator[tuple[ItemTrace, PartTrace]]:
    for item in view.fold.items:
        for part in item.of(container):
            yield item, part


def _has_text(view: ExchangeView) -> bool:
    return any(part.first_use is not None for _, part in _parts(view))


def _has_indexes(view: ExchangeView) -> bool:
    return any(part.index is not None for _, part in _parts(view))


def _has_announced(view: ExchangeView) -> bool:
    return any(isinstance(part.announced, dict) for _, part in _parts(view))


def _is_placed(item: ItemTrace) -> bool:
    """Whether it is known where an item's parts stand in the terminal response; PRT-02 tells of strays among them."""
    announced = sum(1 for part in item.of("content") if part.announced_at)
    return announced in (0, len(item.of("content")))


@check("PRT-01", Subject.STREAM, needs=_has_text)
def parts_are_announced(view: ExchangeView) -> Iterator[Problem]:
    """The first delta or typed done event of a part must come after a part announcement in its item.

    A part whose index alone is unknown, in an item that did announce parts, is left to PRT-02.
    """
    for item, part in _parts(view):
        used = part.first_use
        if used is None:
            continue
        if not part.announced_at and not any(other.announced_at for other in item.of("content")):
            yield at_event(
                view.events[used],
                "Text comes for a part that was never announced.",
                expected="response.content_part.added before it",
                kind="missing",
            )
        elif part.announced_at and used < part.announced_at[0]:
            yield at_event(view.events[used], "Text comes for a part before it is announced.", kind="late")


@check("PRT-02", Subject.STREAM, needs=_has_indexes)
def content_index_counts_up(view: ExchangeView) -> Iterator[Problem]:
    """Announced parts must have the indexes 0, 1, 2, ... in each item, each once; deltas must use an announced one."""
    for item in view.fold.items:
        announced = [part for part in item.of("content") if part.announced_at]
        for expected, part in enumerate(announced):
            event = view.events[part.announced_at[0]]
            if part.index is not None and part.index != expected:
                yield at_event(
                    event,
                    "A content_index is out of order.",
                    "/content_index",
                    expected=expected,
                    actual=part.index,
                    kind="order",
                )
                break
            if len(part.announced_at) > 1:
                yield at_event(
                    view.events[part.announced_at[1]],
                    "A part is announced more than once.",
                    "/content_index",
                    actual=part.index,
                    kind="twice",
                )
        strays = [part for part in item.of("content") if not part.announced_at and part.index is not None]
        if announced and strays:
            stray = strays[0]
            number = min([*stray.deltas_at[:1], *stray.typed_at[:1], *stray.closed_at[:1], *_noted(stray)])
            yield at_event(
                view.events[number],
                "An event's content_index names a part that was not announced.",
                "/content_index",
                expected=[part.index for part in announced],
                actual=stray.index,
                kind="stray",
            )


def _noted(part: PartTrace) -> list[int]:
    return [number for number, _, _ in part.annotations[:1]]


@check("PRT-03", Subject.STREAM, needs=_has_announced)
def new_parts_are_zero_values(view: ExchangeView) -> Iterator[Problem]:
    """An announced part's text must be the empty string, and an output_text's annotations the empty array."""
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
            if value != initial:
                yield at_event(
                    event,
                    f"A new {kind} part has no {field}."
                    if value is ABSENT
                    else f"A new {kind} part already has {field}.",
                    f"/part/{field}",
                    expected=initial,
                    actual=value,
                )


@check("PRT-04", Subject.STREAM, needs=lambda view: _has_text(view) or any(p.closed_at for _, p in _parts(view)))
def texts_are_closed(view: ExchangeView) -> Iterator[Problem]:
    """Each part's typed done event is counted, and must come after its last delta and before the part's own end."""
    for _, part in _parts(view):
        if part.first_use is None and not _carries_text(part):
            continue
        if not part.typed_at:
            if part.closed_at or view.ended_well:
                number = part.closed_at[0] if part.closed_at else part.deltas_at[-1]
                yield at_event(
                    view.events[number], "A part's text is never closed by a typed done event.", kind="missing"
                )
            continue
        typed = part.typed_at[0]
        if len(part.typed_at) > 1:
            yield at_event(view.events[part.typed_at[1]], "A part's text is closed more than once.", kind="twice")
        if part.deltas_at and part.deltas_at[-1] > typed:
            yield at_event(
                view.events[part.deltas_at[-1]], "A delta comes after the text was closed.", kind="late delta"
            )
        if part.closed_at and part.closed_at[0] < typed:
            yield at_event(view.events[typed], "A text is closed after its part.", kind="late")


def _carries_text(part: PartTrace) -> bool:
    """Whether a part without deltas has text in its closed form, which a typed done event should have told."""
    kind = get(part.closed, "type")
    name = _ZERO_TEXT.get(kind) if isinstance(kind, str) else None
    return bool(name) and bool(get(part.closed, name or "") not in (ABSENT, ""))


@check("PRT-05", Subject.STREAM, needs=_has_announced)
def part_type_is_constant(view: ExchangeView) -> Iterator[Problem]:
    """The type of an announced part is compared with its closed form and with the terminal response's part."""
    output = view.whole_output or []
    for item, part in _parts(view):
        first = get(part.announced, "type")
        if not isinstance(first, str):
            continue
        closed = get(part.closed, "type")
        if isinstance(closed, str) and closed != first:
            yield at_event(
                view.events[part.closed_at[0]], "A part changes its type.", "/part/type", expected=first, actual=closed
            )
        if not _is_placed(item):
            continue
        place = view.fold.place(item)
        index = item.place(part)
        final = get(output, place, "content", index, "type")
        if isinstance(final, str) and final != first:
            yield in_response(
                view,
                "A part has another type in the terminal response.",
                f"/output/{place}/content/{index}/type",
                expected=first,
                actual=final,
            )


@check("PRT-06", Subject.STREAM, needs=lambda view: _has_announced(view) and _has_text(view))
def deltas_fit_the_part(view: ExchangeView) -> Iterator[Problem]:
    """The part type that a delta's event family is for is compared with the announced part's type."""
    for _, part in _parts(view):
        kind = get(part.announced, "type")
        for family, spec in part.specs.items():
            # Reasoning items may stream their text in parts that the engine calls plain text.
            if isinstance(kind, str) and kind != family and {kind, family} != {"reasoning_text", "text"}:
                number = next((n for n in [*part.deltas_at, *part.typed_at] if view.events[n].spec == spec), None)
                number = number if number is not None else (part.first_use or 0)
                yield at_event(
                    view.events[number],
                    f"Text of the family {family} comes for a part of type {kind}.",
                    "/type",
                    expected=kind,
                    actual=family,
                )


@check("PRT-07", Subject.STREAM, needs=lambda view: any(part.announced_at for _, part in _parts(view)))
def parts_close_before_their_item(view: ExchangeView) -> Iterator[Problem]:
    """Each announced part must be closed once, before its item is; items that never close are left to ITM-02."""
    for item, part in _parts(view):
        if not part.announced_at or not item.closed_at:
            continue
        end = item.closed_at[0]
        if not part.closed_at:
            yield at_event(view.events[end], "An item is closed while a part of it is open.", kind="missing")
        elif part.closed_at[0] > end:
            yield at_event(view.events[part.closed_at[0]], "A part is closed after its item.", kind="late")
        elif len(part.closed_at) > 1:
            yield at_event(view.events[part.closed_at[1]], "A part is closed more than once.", kind="twice")


@check(
    "PRT-08",
    Subject.STREAM,
    needs=lambda view: any(isinstance(get(i.closed, "content"), list) for i in view.fold.items),
)
def as_many_parts_as_closed(view: ExchangeView) -> Iterator[Problem]:
    """The closed content parts of an item are counted against the content of its closed form."""
    for item in view.fold.items:
        content = get(item.closed, "content")
        if not isinstance(content, list) or item.type not in ("message", "reasoning"):
            continue
        closed = sum(1 for part in item.of("content") if part.closed_at)
        announced = sum(1 for part in item.of("content") if part.announced_at)
        # Parts that were never announced, or never closed, are told by PRT-01 and PRT-07.
        if closed == announced and closed != len(content) and (announced or not item.of("content")):
            yield at_event(
                view.events[item.closed_at[0]],
                "A closed item has another number of parts than were closed.",
                "/item/content",
                expected=closed,
                actual=len(content),
            )


def _has_summary(view: ExchangeView) -> bool:
    return any(True for _ in _parts(view, "summary"))


@check("PRT-09", Subject.STREAM, needs=_has_summary)
def summary_in_order(view: ExchangeView) -> Iterator[Problem]:
    """For each summary part the order of its events and its summary_index are compared with what the rule says."""
    for item in view.fold.items:
        for expected, part in enumerate(item.of("summary")):
            events = [*part.announced_at, *part.deltas_at, *part.typed_at, *part.closed_at]
            first = view.events[min(events)]
            if part.index is not None and part.index != expected:
                yield at_event(
                    first,
                    "A summary_index is out of order.",
                    "/summary_index",
                    expected=expected,
                    actual=part.index,
                    kind="index",
                )
            if not part.announced_at:
                yield at_event(first, "A summary part is never announced.", kind="not announced")
            if view.ended_well and (not part.typed_at or not part.closed_at):
                what = "by text" if not part.typed_at else "as part"
                yield at_event(first, f"A summary part is never closed {what}.", kind=f"not closed {what}")
            if events != sorted(events):
                yield at_event(first, "The events of a summary part are out of order.", kind="order")


@check("PRT-10", Subject.STREAM, needs=lambda view: any(part.annotations for _, part in _parts(view)))
def annotations_as_streamed(view: ExchangeView) -> Iterator[Problem]:
    """annotation_index must count from 0; the streamed annotations must equal those of the terminal response's part."""
    output = view.whole_output
    for item, part in _parts(view):
        for expected, (number, index, _) in enumerate(part.annotations):
            if is_integer(index) and index != expected:
                yield at_event(
                    view.events[number],
                    "An annotation_index is out of order.",
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
        streamed = [annotation for _, _, annotation in part.annotations]
        message = "The final annotations are not the streamed ones."
        pointer = f"/output/{place}/content/{where}/annotations"
        yield from differing(in_response, view, message, streamed, final, pointer, kind="final")


def _annotations(view: ExchangeView) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for pointer, part in view.text_parts():
        annotations = part.get("annotations")
        text = part.get("text")
        for i, annotation in enumerate(annotations if isinstance(annotations, list) else ()):
            if isinstance(annotation, dict) and isinstance(text, str) and "start_index" in annotation:
                yield f"{pointer}/annotations/{i}", text, annotation


@check("PRT-11", Subject.RESPONSE, needs=lambda view: any(True for _ in _annotations(view)))
def annotations_lie_in_the_text(view: ExchangeView) -> Iterator[Problem]:
    """start_index and end_index are compared with 0 and the length of the text, in UTF-16 units at the most."""
    for pointer, text, annotation in _annotations(view):
        start, end = annotation.get("start_index"), annotation.get("end_index")
        if not (is_integer(start) and is_integer(end)):
            continue
        length = len(text.encode("utf-16-le", "surrogatepass")) // 2
        if not 0 <= start <= end <= length:
            yield in_response(
                view,
                "An annotation does not lie inside its text.",
                f"{pointer}/start_index",
                expected=f"0 <= start <= end <= {length}",
                actual=[start, end],
            )


def _deltas(view: ExchangeView) -> Iterator[int]:
    for item in view.fold.items:
        for part in item.parts:
            yield from part.deltas_at


@check("PRT-12", Subject.STREAM, needs=lambda view: any(True for _ in _deltas(view)))
def deltas_are_not_empty(view: ExchangeView) -> Iterator[Problem]:
    """Every delta that is a string must be non-empty; other types are left to EVT-10."""
    for number in _deltas(view):
        event = view.events[number]
        if event.data.get("delta") == "":
            yield at_event(event, "A delta is empty.", "/delta", expected="a non-empty string", actual="")


_STEP: Final[Mapping[str, int]] = {"in_progress": 0, "completed": 2, "failed": 2}


@check("PRT-13", Subject.STREAM, needs=lambda view: any(item.progress for item in view.fold.items))
def progress_in_order(view: ExchangeView) -> Iterator[Problem]:
    """Progress events of an item must stand in order, fit its type, and come before its end."""
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
                    "Progress is told of an item of another type.",
                    "/type",
                    expected=item.type,
                    actual=spec.item,
                    kind="type",
                )
            step = _STEP.get(kind.rpartition(".")[2], 1)
            if step < before or before == 2:
                yield at_event(event, "The progress of a hosted tool is out of order.", actual=kind, kind="order")
                break
            before = step
