"""Strategies for requests and their parts.

Everything here is valid under the undisputed contract of a dialect, which ``dialect`` gives everywhere: the name of a
shipped dialect, the path of a custom one, or a :class:`~rejoinder.contract.Dialect`. Strategies are functions with
keyword-only options; with an :class:`~rejoinder.strategies.profile.EndpointProfile` they keep to what an endpoint can
serve. Arguments that cannot be used raise ``hypothesis.errors.InvalidArgument`` when the strategy is drawn from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any, Final, Literal

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from rejoinder.contract.nodes import Array, Node, Object, flatten, strip
from rejoinder.contract.nodes import Literal as Fixed
from rejoinder.json_copy import copy_json
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies.options import AnyDialect, chosen_names, errors_when_drawn
from rejoinder.strategies.profile import EndpointProfile, served
from rejoinder.strategies.schema.compiler import Compiler, listed, mean_length
from rejoinder.strategies.schema.leaves import NAMES, arguments, json_schemas
from rejoinder.strategies.sets.systematic import variants as _variants

Body = dict[str, Any]
Item = dict[str, Any]

_TEXTS = st.text(max_size=20)

__all__ = [
    "content_parts",
    "conversations",
    "input_items",
    "previous_input_messages",
    "reasoning_configs",
    "request_bodies",
    "text_formats",
    "tool_choices",
    "tools",
]


@errors_when_drawn
def request_bodies(
    *,
    model: str | None = None,
    dialect: AnyDialect | None = None,
    profile: EndpointProfile | None = None,
    max_items: int = 6,
) -> SearchStrategy[Body]:
    """Bodies of ``POST /v1/responses``.

    With ``model`` every body names that model. Without ``profile`` any field may occur, with values that no endpoint
    may know (ids, files); with it bodies keep to what can be served there. ``dialect`` is the name of a dialect, the
    path of a custom one, or a :class:`~rejoinder.contract.Dialect`: the profile's, or else the default one, where it is
    left out. ``max_items`` limits the input items.

    Shrinks towards an empty string as input with no optional field, or the plainest body that the dialect allows.
    """
    if model is not None:
        profile = replace(profile, model=model) if profile is not None else None
    if max_items < 0:
        raise InvalidArgument(f"max_items={max_items} is negative")
    strategy = _requests(served(profile, dialect), max_items)
    if model is None or profile is not None:
        return strategy
    return strategy.map(lambda body: {**body, "model": model})


@errors_when_drawn
def input_items(
    *,
    variants: Iterable[str] | None = None,
    dialect: AnyDialect | None = None,
    profile: EndpointProfile | None = None,
) -> SearchStrategy[dict[str, Any]]:
    """Input items, of all variants or of those named (see :func:`rejoinder.strategies.variants`).

    Shrinks towards the variant that needs the fewest choices, with no optional field.
    """
    known = _variants(dialect=dialect, profile=profile)
    return _one_of(known[name] for name in chosen_names(variants, known, "variant"))


@errors_when_drawn
def content_parts(
    *,
    of: Literal["user", "assistant", "tool"] = "user",
    types: Iterable[str] | None = None,
    dialect: AnyDialect | None = None,
    profile: EndpointProfile | None = None,
) -> SearchStrategy[dict[str, Any]]:
    """Content parts of a user's message, an assistant's message or a tool's output.

    ``types`` limits them to some values of ``type``. Shrinks towards the smallest part with empty text.
    """
    if of not in ("user", "assistant", "tool"):
        raise InvalidArgument(f"of={of!r} is none of user, assistant, tool")
    parts = _parts_of(_variants(dialect=dialect, profile=profile).values(), of)
    if not parts:
        raise InvalidArgument(f"of={of!r}: there are no such content parts here")
    return _by_tag(parts, types)


@errors_when_drawn
def tools(
    *,
    types: Iterable[str] | None = None,
    dialect: AnyDialect | None = None,
    profile: EndpointProfile | None = None,
) -> SearchStrategy[dict[str, Any]]:
    """Tool declarations, of all ``types`` or some.

    A function's ``parameters`` are a JSON Schema of an object, as strict mode wants it. Shrinks towards the smallest
    declaration with an empty name.
    """
    return _by_tag(_objects(_items(_field(served(profile, dialect), "tools"))), types)


@errors_when_drawn
def tool_choices(*, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None) -> SearchStrategy[Any]:
    """Values of ``tool_choice``: modes and choices of a tool. Shrinks towards a mode."""
    return _COMPILER.strategy(_field(served(profile, dialect), "tool_choice"), "tool_choice")


@errors_when_drawn
def text_formats(
    *,
    types: Iterable[str] | None = None,
    dialect: AnyDialect | None = None,
    profile: EndpointProfile | None = None,
) -> SearchStrategy[dict[str, Any]]:
    """Values of ``text.format``, of all ``types`` or some. Shrinks towards plain text."""
    text = next((part for part in flatten(_field(served(profile, dialect), "text")) if isinstance(part, Object)), None)
    if text is None:
        raise InvalidArgument("the field 'text' is no object here")
    return _by_tag(_objects(_field(text, "format")), types)


@errors_when_drawn
def reasoning_configs(
    *, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None
) -> SearchStrategy[dict[str, Any]]:
    """Values of ``reasoning``. Shrinks towards the empty object."""
    return _COMPILER.strategy(strip(_field(served(profile, dialect), "reasoning")), "reasoning")


@errors_when_drawn
def previous_input_messages(
    *, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None
) -> SearchStrategy[dict[str, Any]]:
    """Messages as ``previous_input_messages`` holds them. Shrinks towards the smallest message of a user."""
    return _COMPILER.strategy(_items(_field(served(profile, dialect), "previous_input_messages")))


@errors_when_drawn
def conversations(
    *,
    max_turns: int = 4,
    dialect: AnyDialect | None = None,
    profile: EndpointProfile | None = None,
    reasoning: bool = False,
) -> SearchStrategy[dict[str, Any]]:
    """Bodies whose ``input`` is a conversation and whose ``tools`` are what it calls.

    A turn is a message of the user, then what the assistant made of it: a message, or up to three calls at once whose
    outputs follow in any order; with ``reasoning`` its thoughts come first. Call ids are unique, arguments fit the
    tool's parameters, and the conversation ends where the model has to answer: after a user's message or a tool's
    output. With ``profile`` the model and the limit of output tokens are pinned as there.

    Shrinks towards a single empty message.
    """
    if max_turns < 1:
        raise InvalidArgument(f"max_turns={max_turns} is less than 1")
    served(profile, dialect)
    return _conversations(max_turns, profile, reasoning)


#: Nodes are compared by identity, so that one compiler serves all dialects.
_COMPILER: Final = Compiler()
#: How much rarer requests with more input items are.
_DECLINE: Final = 0.3


@cache
def _requests(root: Object, max_items: int) -> SearchStrategy[Body]:
    items = next((part for part in flatten(_field(root, "input")) if isinstance(part, Array)), None)
    if items is None:
        return _COMPILER.strategy(root)
    most = max_items if items.largest is None else min(max_items, items.largest)
    least = min(items.smallest, most)
    lists = listed(_COMPILER.strategy(items.items), least, most, decline=_DECLINE)
    whole = Compiler(
        lambda node, name: lists if node is items else None,
        lengths={items: mean_length(least, most, decline=_DECLINE)},
    )
    return whole.strategy(root)


def _field(node: Node, name: str) -> Node:
    assert isinstance(node, Object)
    for item in node.fields:
        if item.name == name:
            return item.node
    raise InvalidArgument(f"neither the dialect nor the profile leaves anything of {name!r}")


def _items(node: Node) -> Node:
    """Return what the lists among the alternatives of ``node`` hold."""
    items = next((part.items for part in flatten(node) if isinstance(part, Array)), None)
    if items is None:
        raise InvalidArgument(f"there is no list at {node.pointer}")
    return items


def _objects(node: Node) -> list[Object]:
    return [part for part in flatten(node) if isinstance(part, Object)]


def _parts_of(items: Iterable[Object], of: str) -> list[Object]:
    """Return the content parts of messages of a role, or those of the outputs of tools, each type once.

    Of several messages those count whose roles are the fewest: they are made for the role.
    """
    holders: dict[int, list[Node]] = {}
    for item in items:
        fields = {field.name: field.node for field in item.fields}
        role = [part for part in flatten(fields.get("role", item)) if isinstance(part, Fixed)]
        roles = {value for part in role for value in part.values}
        if of in roles and "content" in fields:
            holders.setdefault(len(roles), []).append(fields["content"])
        elif of == "tool" and not roles and "output" in fields:
            holders.setdefault(0, []).append(fields["output"])
    found: dict[str, Object] = {}
    for holder in holders[min(holders)] if holders else ():
        for part in flatten(holder):
            for inner in _objects(part.items) if isinstance(part, Array) else ():
                if inner.tag:
                    found.setdefault(inner.tag, inner)
    return list(found.values())


def _by_tag(nodes: Iterable[Object], types: Iterable[str] | None) -> SearchStrategy[dict[str, Any]]:
    known = {part.tag: part for part in nodes}
    return _one_of(known[name] for name in chosen_names(types, known, "type"))


def _one_of(nodes: Iterable[Object]) -> SearchStrategy[dict[str, Any]]:
    return _union(tuple(nodes))


@cache
def _union(nodes: tuple[Object, ...]) -> SearchStrategy[dict[str, Any]]:
    return _COMPILER.choice(nodes)


@st.composite
def _conversations(draw: st.DrawFn, max_turns: int, profile: EndpointProfile | None, reasoning: bool) -> Body:
    names = draw(st.lists(NAMES, max_size=3, unique=True))
    declared: list[dict[str, Any]] = [
        {"type": "function", "name": name, "parameters": draw(json_schemas()), "strict": True} for name in names
    ]
    items: list[Item] = []
    calls = 0
    for _ in range(draw(st.integers(0, max_turns - 1))):
        items.append({"type": "message", "role": "user", "content": draw(_TEXTS)})
        if reasoning and draw(st.booleans()):
            summary = [{"type": "summary_text", "text": draw(_TEXTS)}]
            items.append({"type": "reasoning", "id": f"rs_{len(items):04}", "summary": summary})
        count = draw(st.integers(0, 3)) if declared else 0
        outputs: list[Item] = []
        for _ in range(count):
            calls += 1
            tool = draw(st.sampled_from(declared))
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
    if declared:
        body["tools"] = declared
    if profile is not None:
        pins = {"model": profile.model, "max_output_tokens": profile.max_output_tokens}
        body |= {name: value for name, value in pins.items() if value is not None}
        body |= {name: copy_json(value) for name, value in profile.fixed.items() if value is not ABSENT}
    return body
