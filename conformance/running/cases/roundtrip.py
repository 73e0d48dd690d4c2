"""Round trips: what an endpoint gave out comes back as input, in every form that the contract lets it have."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from rejoinder.conformance.running.case import (
    COMPUTER_TOOL,
    IMAGE_URL,
    LONG,
    ROOMY,
    TIME_TOOL,
    WEATHER_TOOL,
    BodyOf,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    final_response,
    user,
)
from rejoinder.contract import SchemaVariant
from rejoinder.validation import Validator

Item = dict[str, Any]

_NOTE_TOOL: Final[Mapping[str, Any]] = {
    "type": "custom",
    "name": "take_note",
    "description": "Write down a note in plain words.",
}
_OPTIONAL: Final = ("id", "status")
"""Fields of items that clients leave out, or have as null, when they send them back."""

_OUTPUTS: Final[Mapping[str, tuple[str, Any]]] = {
    "function_call": ("function_call_output", "Rain."),
    "custom_tool_call": ("custom_tool_call_output", "Noted."),
    "computer_call": ("computer_call_output", {"type": "computer_screenshot", "image_url": IMAGE_URL}),
}
"""What answers a call, by its type: the type of the answer and its output."""


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan; only ``full`` has any."""
    if plan != "full":
        return
    yield from _items(context)
    yield _reversed(context)
    yield _messages(context)


def _items(context: CaseContext) -> Iterator[PlannedCase]:
    sound = Validator(context.dialect.request_schema(SchemaVariant.GENERATION))
    for kind, question, fields in (
        ("message", "Say hello.", {}),
        ("reasoning", "Is 91 a prime number?", {"reasoning": {"effort": "low"}, "max_output_tokens": 4 * ROOMY}),
        (
            "function_call",
            "What is the weather in Oslo?",
            {"tools": [WEATHER_TOOL], "tool_choice": "required", "max_output_tokens": LONG},
        ),
        (
            "custom_tool_call",
            "Note that the train leaves at nine.",
            {"tools": [_NOTE_TOOL], "tool_choice": "required", "max_output_tokens": LONG},
        ),
        (
            "computer_call",
            "Look at the screen.",
            {"tools": [COMPUTER_TOOL], "tool_choice": {"type": "computer_use_preview"}, "max_output_tokens": ROOMY},
        ),
    ):
        asked = context.body(input=user(question), **fields)
        if sound.is_valid(asked):
            yield PlannedCase(
                f"roundtrip.{kind}",
                f"An output item of type {kind} comes back as it is, without id and status, and with null for them.",
                (
                    RequestSpec("first", asked),
                    RequestSpec("sent-back", _again(context, asked, kind, lambda item: item), ()),
                    RequestSpec("without", _again(context, asked, kind, partial(_without, sound)), ()),
                    RequestSpec("nulls", _again(context, asked, kind, _with_nulls), ()),
                ),
            )


def _again(context: CaseContext, asked: dict[str, Any], kind: str, form: Callable[[Item], Item | None]) -> BodyOf:
    """Return the body that sends an output back with its items of one type in a form, and with answers to its calls.

    There is none where the output has no such item, was not completed, or where ``form`` leaves none.
    """

    def body(replies: Replies) -> dict[str, Any] | None:
        items = _output(replies)
        formed = [form(item) if item.get("type") == kind else item for item in items]
        if not any(item.get("type") == kind for item in items) or None in formed:
            return None
        question = [] if any(item.get("type") in _OUTPUTS for item in items) else user("Go on.")
        turn = [*asked["input"], *(item for item in formed if item is not None), *_answers(items), *question]
        kept = {name: asked[name] for name in ("tools", "reasoning") if name in asked}
        return context.body(input=turn, **kept)

    return body


def _without(sound: Validator, item: Item) -> Item | None:
    """Leave out the optional fields that the contract lets be left out; ``None`` where it lets none."""
    bare = item
    for name in _OPTIONAL:
        less = {key: value for key, value in bare.items() if key != name}
        if sound.is_valid({"input": [less], "model": "m"}):
            bare = less
    return None if bare == item else bare


def _with_nulls(item: Item) -> Item:
    return {**item, **dict.fromkeys(_OPTIONAL)}


def _reversed(context: CaseContext) -> PlannedCase:
    """Return a case that answers the calls of one response in the order of the calls and against it."""
    asked = context.body(
        input=user("Use get_weather and get_time for Oslo, both at once."),
        tools=[WEATHER_TOOL, TIME_TOOL],
        max_output_tokens=LONG,
    )

    def answered(order: int) -> BodyOf:
        def body(replies: Replies) -> dict[str, Any] | None:
            items = _output(replies)
            answers = _answers(items)
            if len(answers) < 2:
                return None
            return context.body(input=[*asked["input"], *items, *answers[::order]], tools=asked["tools"])

        return body

    return PlannedCase(
        "roundtrip.parallel",
        "Two calls of one response are answered in their order, and the other way round.",
        (
            RequestSpec("first", asked),
            RequestSpec("in-order", answered(1), ()),
            RequestSpec("reversed", answered(-1), ()),
        ),
    )


def _messages(context: CaseContext) -> PlannedCase:
    """Return a case with system and developer messages at every place of an input."""
    turns = [*user("Where am I?"), {"role": "assistant", "content": "In Oslo."}, *user("Since when?")]
    requests = []
    for role in ("system", "developer"):
        said = {"role": role, "content": "Keep to Norway."}
        for place, name in ((0, "first"), (1, "second"), (2, "between"), (3, "last")):
            requests.append(RequestSpec(f"{role}-{name}", context.body(input=[*turns[:place], said, *turns[place:]])))
    return PlannedCase(
        "roundtrip.roles", "A system or developer message at each place of a conversation.", tuple(requests)
    )


def _output(replies: Replies) -> list[Item]:
    """Return the items of a completed answer; what was cut short cannot be answered."""
    response = final_response(replies.get("first")) or {}
    output = response.get("output")
    whole = response.get("status") == "completed" and isinstance(output, list)
    return [item for item in output if isinstance(item, dict)] if whole and isinstance(output, list) else []


def _answers(items: list[Item]) -> list[Item]:
    answered = {item.get("call_id") for item in items if str(item.get("type")).endswith("_output")}
    calls = [item for item in items if item.get("type") in _OUTPUTS and item.get("call_id") not in answered]
    return [
        {"type": kind, "call_id": call.get("call_id"), "output": output}
        for call in calls
        for kind, output in [_OUTPUTS[str(call["type"])]]
    ]
