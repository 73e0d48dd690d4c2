"""Strategies for histories of several turns: every tool output belongs to a call, every call to a declared tool."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from rejoinder.strategies.profile import EndpointProfile
from rejoinder.strategies.schema.leaves import NAMES, arguments, json_schemas

__all__ = ["conversations"]

Item = dict[str, Any]

_TEXTS = st.text(max_size=20)


def conversations(
    *, max_turns: int = 4, profile: EndpointProfile | None = None, reasoning: bool = False
) -> SearchStrategy[dict[str, Any]]:
    """Bodies whose ``input`` is a conversation and whose ``tools`` are what it calls.

    A turn is a message of the user, then what the assistant made of it: a message, or up to three calls at once whose
    outputs follow in any order; with ``reasoning`` its thoughts come first. Call ids are unique, arguments fit the
    tool's parameters, and the conversation ends where the model has to answer: after a user's message or a tool's
    output. With ``profile`` the model and the limit of output tokens are pinned as there.

    Shrinks towards a single empty message.
    """
    if max_turns < 1:
        raise InvalidArgument(f"max_turns is at least 1, not {max_turns}")
    return _conversations(max_turns, profile, reasoning)


@st.composite
def _conversations(draw: st.DrawFn, max_turns: int, profile: EndpointProfile | None, reasoning: bool) -> dict[str, Any]:
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    tools: list[dict[str, Any]] = [
        {"type": "function", "name": name, "parameters": draw(json_schemas()), "strict": True} for name in names
    ]
    items: list[Item] = []
    calls = 0
    for _ in range(draw(st.integers(0, max_turns - 1))):
        items.append({"type": "message", "role": "user", "content": draw(_TEXTS)})
        if reasoning and draw(st.booleans()):
            summary = [{"type": "summary_text", "text": draw(_TEXTS)}]
            items.append({"type": "reasoning", "id": f"rs_{len(items):04}", "summary": summary})
        count = draw(st.integers(0, 3)) if tools else 0
        outputs: list[Item] = []
        for _ in range(count):
            calls += 1
            tool = draw(st.sampled_from(tools))
            text = draw(arguments(tool["parameters"]))
            call_id = f"call_{calls:04}"
            items.append({"type": "function_call", "call_id": call_id, "name": tool["name"], "arguments": text})
            outputs.append({"type": "function_call_output", "call_id": call_id, "output": draw(_TEXTS)})
        items.extend(draw(st.permutations(outputs)) if outputs else ())
        if not outputs or draw(st.booleans()):
            items.append({"type": "message", "role": "assistant", "content": draw(_TEXTS)})
    if not items or items[-1].get("role") == "assistant":
        items.append({"type": "message", "role": "user", "content": draw(_TEXTS)})
    body: dict[str, Any] = {"input": items}
    if tools:
        body["tools"] = tools
    if profile is not None:
        pins = {"model": profile.model, "max_output_tokens": profile.max_output_tokens}
        body.update({name: value for name, value in pins.items() if value is not None}, **profile.fixed)
    return body
