"""Strategies for requests and their parts.

Everything here is valid under the undisputed contract. Strategies are functions with keyword-only options; with an
:class:`~rejoinder.strategies.profile.Environment` they keep to what an endpoint can serve.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from typing import Any, Literal

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from rejoinder.contract.nodes import Array, Node, Object, flatten, strip
from rejoinder.strategies.profile import EndpointProfile, served
from rejoinder.strategies.schema.compiler import Compiler
from rejoinder.strategies.sets.systematic import variants as _variants

Body = dict[str, Any]

__all__ = [
    "content_parts",
    "input_items",
    "previous_input_messages",
    "reasoning_configs",
    "request_bodies",
    "text_formats",
    "tool_choices",
    "tools",
]


def request_bodies(
    *, model: str | None = None, profile: EndpointProfile | None = None, max_items: int = 6
) -> SearchStrategy[Body]:
    """Bodies of ``POST /v1/responses``.

    With ``model`` every body asks for that model. Without ``profile`` any field may occur, with values that no endpoint
    may know (ids, files); with it bodies keep to what can be served there. ``max_items`` limits the input items.

    Shrinks towards an empty string as input with no optional field.
    """
    if model is not None:
        profile = replace(profile, model=model) if profile is not None else None
    if max_items < 0:
        raise InvalidArgument(f"max_items is not negative: {max_items}")
    strategy = _requests(profile, max_items)
    if model is None or profile is not None:
        return strategy
    return strategy.map(lambda body: {**body, "model": model})


def input_items(
    *, variants: Iterable[str] | None = None, profile: EndpointProfile | None = None
) -> SearchStrategy[dict[str, Any]]:
    """Input items, of all variants or of those named (see :func:`rejoinder.strategies.variants`).

    Shrinks towards the variant that needs the fewest choices, with no optional field.
    """
    known = _variants(profile)
    chosen = tuple(known) if variants is None else tuple(variants)
    _check(chosen, known, "variant")
    return _union(profile, tuple(known[name] for name in chosen))


def content_parts(
    *,
    of: Literal["user", "assistant", "tool"] = "user",
    types: Iterable[str] | None = None,
    profile: EndpointProfile | None = None,
) -> SearchStrategy[dict[str, Any]]:
    """Content parts of a user's message, an assistant's message or a tool's output.

    ``types`` limits them to some values of ``type``. Shrinks towards the smallest part with empty text.
    """
    holders = {
        "user": ("message", "content"),
        "assistant": ("message.response_output_message_param", "content"),
        "tool": ("function_call_output", "output"),
    }
    if of not in holders:
        raise InvalidArgument(f"of is one of {', '.join(holders)}, not {of!r}")
    variant, field = holders[of]
    return _by_tag(profile, _items(_field(_variants(profile)[variant], field)), types)


def tools(
    *, types: Iterable[str] | None = None, profile: EndpointProfile | None = None
) -> SearchStrategy[dict[str, Any]]:
    """Tool declarations, of all ``types`` or some.

    A function's ``parameters`` are a JSON Schema of an object, as strict mode wants it. Shrinks towards the smallest
    declaration with an empty name.
    """
    return _by_tag(profile, _items(_field(served(profile), "tools")), types)


def tool_choices(*, profile: EndpointProfile | None = None) -> SearchStrategy[Any]:
    """Values of ``tool_choice``: modes and choices of a tool. Shrinks towards a mode."""
    return _compiler(profile).strategy(_field(served(profile), "tool_choice"), "tool_choice")


def text_formats(
    *, types: Iterable[str] | None = None, profile: EndpointProfile | None = None
) -> SearchStrategy[dict[str, Any]]:
    """Values of ``text.format``, of all ``types`` or some. Shrinks towards plain text."""
    text = strip(_field(served(profile), "text"))
    assert isinstance(text, Object)
    return _by_tag(profile, _field(text, "format"), types)


def reasoning_configs(*, profile: EndpointProfile | None = None) -> SearchStrategy[dict[str, Any]]:
    """Values of ``reasoning``. Shrinks towards the empty object."""
    return _compiler(profile).strategy(strip(_field(served(profile), "reasoning")), "reasoning")


def previous_input_messages(*, profile: EndpointProfile | None = None) -> SearchStrategy[dict[str, Any]]:
    """Messages as ``previous_input_messages`` holds them. Shrinks towards the smallest message of a user."""
    return _compiler(profile).strategy(_items(_field(served(profile), "previous_input_messages")))


@cache
def _compiler(profile: EndpointProfile | None) -> Compiler:
    return Compiler()


@cache
def _requests(profile: EndpointProfile | None, max_items: int) -> SearchStrategy[Body]:
    root = served(profile)
    compiler = _compiler(profile)
    items = next(part for part in flatten(_field(root, "input")) if isinstance(part, Array))
    whole = Compiler(
        lambda node, name: st.lists(compiler.strategy(items.items), max_size=max_items) if node is items else None
    )
    return whole.strategy(root)


def _field(node: Node, name: str) -> Node:
    assert isinstance(node, Object)
    for item in node.fields:
        if item.name == name:
            return item.node
    raise InvalidArgument(f"the environment leaves nothing of {name!r}")


def _items(node: Node) -> Node:
    """Return what the lists among the alternatives of ``node`` hold."""
    return next(part.items for part in flatten(node) if isinstance(part, Array))


def _by_tag(profile: EndpointProfile | None, node: Node, types: Iterable[str] | None) -> SearchStrategy[dict[str, Any]]:
    known = {part.tag: part for part in flatten(node) if isinstance(part, Object)}
    chosen = tuple(known) if types is None else tuple(types)
    _check(chosen, known, "type")
    return _union(profile, tuple(known[name] for name in chosen))


def _check(chosen: tuple[str, ...], known: Iterable[str], what: str) -> None:
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        named = repr(unknown[0]) if unknown else "none"
        raise InvalidArgument(f"there is no {what} {named} here; choose from {', '.join(known)}")


def _union(profile: EndpointProfile | None, nodes: tuple[Object, ...]) -> SearchStrategy[dict[str, Any]]:
    compiler = _compiler(profile)
    return st.one_of([compiler.strategy(node) for node in sorted(nodes, key=compiler.cost)])
