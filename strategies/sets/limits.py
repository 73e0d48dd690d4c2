"""Walking the limits of a request schema: which places of a body have one, and values at it.

A limit is a keyword that bounds a value of the right type: the size of a number, the length of a text or a list, a
pattern, the number of fields.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from rejoinder.contract.branches import fits
from rejoinder.contract.nodes import Array, Node, Object, Scalar, Union
from rejoinder.json_copy import copy_json
from rejoinder.strategies.schema.leaves import ends, repeated
from rejoinder.validation import escape_key

__all__ = ["ORDINARY", "Place", "at_limits", "is_limited", "places"]

ORDINARY: Final = 1_024
"""Characters and elements up to which a value at a limit is nothing extreme."""

Place = tuple[str, Any, Any, Any, str, str]
"""A change at a place: a word for it, the container and key of the place, the new value, its pointer and location."""


def is_limited(node: Node, seen: set[Node]) -> bool:
    """Return whether the schema limits any value."""
    if node in seen:
        return False
    seen.add(node)
    if isinstance(node, Scalar):
        return len(node.schema) > 1
    if isinstance(node, Union):
        return any(is_limited(branch, seen) for branch in node.alternatives)
    if isinstance(node, Array):
        own = node.smallest > 0 or node.largest is not None or node.unique
        return own or is_limited(node.items, seen)
    if isinstance(node, Object):
        own = node.smallest > 0 or node.largest is not None or node.names is not None or bool(node.dependent)
        inner = [*(item.node for item in node.fields), *([node.extra] if node.extra else [])]
        return own or any(is_limited(part, seen) for part in inner)
    return False


def places(
    root: Node, body: Any, below: str, make: Callable[[Node, Any], Iterator[tuple[str, Any]]]
) -> Iterator[Place]:
    """Yield the changes that ``make`` has for the values of a body at or below a pointer.

    ``make`` yields a word and a new value for a value and its node. The location begins at ``below``; the type of an
    object stands in brackets.
    """
    yield from _Walk(below, make).changes(root, body, None, None, "", "")


class _Walk:
    def __init__(self, below: str, make: Callable[[Node, Any], Iterator[tuple[str, Any]]]) -> None:
        self.below = below
        self.make = make

    def changes(self, node: Node, value: Any, holder: Any, key: Any, pointer: str, place: str) -> Iterator[Place]:
        """Yield the changes of ``value``, which ``holder`` has at ``key``, and of what is inside of it."""
        if isinstance(node, Union):
            for branch in node.alternatives:
                if fits(branch, value):
                    yield from self.changes(branch, value, holder, key, pointer, place)
            return
        if holder is not None and self._inside(pointer):
            yield from ((word, holder, key, new, pointer, place) for word, new in self.make(node, value))
        if isinstance(node, Array) and isinstance(value, list):
            for index, inner in enumerate(value):
                yield from self._part(node.items, inner, value, index, pointer, f"{place}/*")
        elif isinstance(node, Object) and isinstance(value, dict):
            fields = {item.name: item.node for item in node.fields}
            for name, inner in list(value.items()):
                part = fields.get(name, node.extra)
                if part is not None:
                    yield from self._part(part, inner, value, name, pointer, f"{place}/{name}")

    def _inside(self, pointer: str) -> bool:
        return pointer == self.below or pointer.startswith(f"{self.below}/")

    def _part(self, node: Node, value: Any, holder: Any, key: Any, pointer: str, place: str) -> Iterator[Place]:
        spot = f"{pointer}/{escape_key(str(key))}"
        if spot == self.below or self.below.startswith(f"{spot}/"):
            yield from self.changes(node, value, holder, key, spot, "")
        elif self._inside(pointer):
            yield from self.changes(node, value, holder, key, spot, place + tag_of(value))


def tag_of(value: Any) -> str:
    """Return the type of an object in brackets, the empty string for anything else."""
    tag = value.get("type") if isinstance(value, dict) else None
    return f"[{tag}]" if isinstance(tag, str) else ""


def at_limits(node: Node, value: Any, largest: int) -> Iterator[tuple[str, Any]]:
    """Yield what a value becomes at each of its limits and just inside of it, with the limit in words.

    Texts have up to ``largest`` characters and lists up to ``largest`` elements.
    """
    if isinstance(node, Scalar) and isinstance(value, str):
        lengths = [end for end in ends(node.schema) if end <= largest]
        # Just inside of a limit is as long as the limit itself, where that is long.
        inner = [end for end in lengths if end + 1 in lengths and end > ORDINARY]
        yield from ((f"length_{end}", repeated(value or "a", end)) for end in lengths if end not in inner)
    elif isinstance(node, Scalar) and isinstance(value, int | float) and not isinstance(value, bool):
        yield from ((f"is_{'minus_' if end < 0 else ''}{abs(end)}", end) for end in ends(node.schema))
    elif isinstance(node, Array) and isinstance(value, list) and value and not node.unique:
        for end in _extents(node):
            if end <= largest:
                yield f"size_{end}", [copy_json(value[index % len(value)]) for index in range(end)]
    elif isinstance(node, Object) and isinstance(value, dict) and not node.fields and value and node.names is None:
        for end in _extents(node):
            if end <= largest:
                filler = next(iter(value.values()))
                more = {f"key{number}": copy_json(filler) for number in range(end)}
                yield f"size_{end}", dict(list((value | more).items())[:end])


def _extents(node: Array | Object) -> list[int]:
    return sorted({end for end in (node.smallest, node.largest) if end})
