"""Accumulation: what the deltas add up to against every place that repeats it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.conformance.checks._diff import first_difference
from rejoinder.conformance.checks._problems import at_event, get, in_response
from rejoinder.conformance.registry import On, check
from rejoinder.conformance.view import View
from rejoinder.fold import ItemTrace, PartTrace
from rejoinder.verdict import ABSENT, Problem

_CONTENT_TEXT: Final = "output_text"
_TOOL_INPUTS: Final = ("custom_tool_call", "mcp_call", "code_interpreter_call")


@dataclass(frozen=True, slots=True)
class _Text:
    """A streamed text with the places that must repeat it."""

    item: ItemTrace
    part: PartTrace
    field: str
    place: int

    @property
    def within(self) -> tuple[str | int, ...]:
        """The path of the text inside its item."""
        if self.part.container == "item":
            return (self.field,)
        return (self.part.container, self.item.place(self.part), self.field)


def _texts(view: View, *families: str) -> Iterator[_Text]:
    """Yield the texts that were streamed by deltas or a typed done event of these families (part types)."""
    for item in view.fold.items:
        for part in item.parts:
            spec = part.spec
            if spec is not None and spec.part in families and _is_placed(item, part):
                yield _Text(item, part, spec.field, view.fold.place(item))


def _is_placed(item: ItemTrace, part: PartTrace) -> bool:
    """Whether it is known which part of the item a text belongs to; PRT-02 tells of indexes that name no part."""
    parts = item.of(part.container)
    announced = sum(1 for other in parts if other.announced_at)
    return part.container == "item" or announced == len(parts) or not announced


def _pointer(path: tuple[str | int, ...]) -> str:
    return "".join(f"/{step}" for step in path)


def _with_typed(view: View, text: _Text, rule_field: str) -> Iterator[Problem]:
    part = text.part
    if part.typed is not None and part.typed != part.text:
        yield at_event(
            view.events[part.typed_at[0]],
            "The joined deltas differ from the done event.",
            f"/{rule_field}",
            expected=part.text,
            actual=part.typed,
            kind="done",
        )


def _with_part(view: View, text: _Text) -> Iterator[Problem]:
    value = get(text.part.closed, text.field)
    if isinstance(value, str) and value != text.part.text:
        yield at_event(
            view.events[text.part.closed_at[0]],
            "The joined deltas differ from the closed part.",
            f"/part/{text.field}",
            expected=text.part.text,
            actual=value,
            kind="part",
        )


def _with_item(view: View, text: _Text) -> Iterator[Problem]:
    value = get(text.item.closed, *text.within)
    if isinstance(value, str) and value != text.part.text:
        yield at_event(
            view.events[text.item.closed_at[0]],
            "The joined deltas differ from the closed item.",
            f"/item{_pointer(text.within)}",
            expected=text.part.text,
            actual=value,
            kind="item",
        )


def _with_response(view: View, text: _Text) -> Iterator[Problem]:
    output = view.whole_output
    value: Any = get(output, text.place, *text.within) if output is not None else ABSENT
    if isinstance(value, str) and value != text.part.text:
        yield in_response(
            view,
            "The joined deltas differ from the terminal response.",
            f"/output/{text.place}{_pointer(text.within)}",
            expected=text.part.text,
            actual=value,
            kind="response",
        )


def _everywhere(view: View, *families: str) -> Iterator[Problem]:
    for text in _texts(view, *families):
        yield from _with_typed(view, text, text.field)
        if text.part.container != "item":
            yield from _with_part(view, text)
        yield from _with_item(view, text)
        yield from _with_response(view, text)


def _has(*families: str) -> Any:
    return lambda view: any(True for _ in _texts(view, *families))


@check("ACC-01", On.STREAM, needs=_has(_CONTENT_TEXT))
def text_deltas_equal_done(view: View) -> Iterator[Problem]:
    """The deltas of each output_text part are joined and compared with its response.output_text.done."""
    for text in _texts(view, _CONTENT_TEXT):
        yield from _with_typed(view, text, text.field)


@check("ACC-02", On.STREAM, needs=_has(_CONTENT_TEXT))
def text_deltas_equal_part(view: View) -> Iterator[Problem]:
    """The deltas of each output_text part are joined and compared with its response.content_part.done."""
    for text in _texts(view, _CONTENT_TEXT):
        yield from _with_part(view, text)


@check("ACC-03", On.STREAM, needs=_has(_CONTENT_TEXT))
def text_deltas_equal_item(view: View) -> Iterator[Problem]:
    """The deltas of each output_text part are joined and compared with its item's response.output_item.done."""
    for text in _texts(view, _CONTENT_TEXT):
        yield from _with_item(view, text)


@check("ACC-04", On.STREAM, needs=_has(_CONTENT_TEXT))
def text_deltas_equal_response(view: View) -> Iterator[Problem]:
    """The deltas of each output_text part are joined and compared with its place in the terminal response."""
    for text in _texts(view, _CONTENT_TEXT):
        yield from _with_response(view, text)


def _has_calls(view: View) -> bool:
    return any(item.type == "function_call" for item in view.fold.items)


@check("ACC-05", On.STREAM, needs=_has_calls)
def argument_deltas_add_up(view: View) -> Iterator[Problem]:
    """The argument deltas of each function call are joined and compared with done event, item and response.

    A closed call must have a done event even when it had no delta.
    """
    yield from _everywhere(view, "function_call")
    for item in view.fold.items:
        if item.type == "function_call" and item.closed_at and not any(part.typed_at for part in item.of("item")):
            yield at_event(
                view.events[item.closed_at[0]],
                "A function call is closed without response.function_call_arguments.done.",
                expected="response.function_call_arguments.done",
                kind="no done",
            )


@check("ACC-06", On.STREAM, needs=_has("refusal"))
def refusal_deltas_add_up(view: View) -> Iterator[Problem]:
    """The deltas of each refusal part are joined and compared with done event, part, item and response."""
    yield from _everywhere(view, "refusal")


@check("ACC-07", On.STREAM, needs=_has("reasoning_text"))
def reasoning_deltas_add_up(view: View) -> Iterator[Problem]:
    """The deltas of each reasoning part are joined and compared with done event, part, item and response."""
    yield from _everywhere(view, "reasoning_text")


@check("ACC-08", On.STREAM, needs=_has("summary_text"))
def summary_deltas_add_up(view: View) -> Iterator[Problem]:
    """The deltas of each summary part are joined and compared with done event, part, item and response."""
    yield from _everywhere(view, "summary_text")


@check("ACC-09", On.STREAM, needs=_has(*_TOOL_INPUTS))
def tool_input_deltas_add_up(view: View) -> Iterator[Problem]:
    """The deltas of each tool input, MCP call and code are joined and compared with done event, item and response."""
    yield from _everywhere(view, *_TOOL_INPUTS)


def _folds(view: View) -> bool:
    terminal = view.fold.terminal
    return (
        terminal is not None
        and terminal.type in ("response.completed", "response.incomplete")
        and view.whole_output is not None
    )


@check("ACC-12", On.STREAM, needs=_folds)
def stream_folds_to_its_end(view: View) -> Iterator[Problem]:
    """The output rebuilt from item, part and delta events is compared with the terminal response's output."""
    difference = first_difference(view.fold.output(), view.whole_output)
    if difference:
        pointer, expected, actual = difference
        yield in_response(
            view,
            "The output rebuilt from the events differs from the terminal response.",
            f"/output{pointer}",
            expected=expected,
            actual=actual,
        )
