"""Which branches of the contract a body exercises.

A branch is one decision that the contract leaves to the client:

- an alternative of a union (``null`` is not an alternative);
- a value of an enumeration with several values;
- a field that may be absent: ``absent`` and ``value``; a field that may be null: ``null`` and ``value``.

Branches are counted by path, so that the image part of a user message and that of a tool's output are two things;
counted by definition, equal parts of different items coincide. A branch is written as its path, an equals sign and
the choice: ``input[array][][FunctionCallOutput].output=array``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from rejoinder.contract.nodes import (
    Anything,
    Array,
    Field,
    Literal,
    Node,
    Object,
    Scalar,
    Union,
    is_null,
    kind,
    nullable,
    request_nodes,
    strip,
)

__all__ = ["Branches", "Coverage", "fits", "is_below", "split"]


class Branches:
    """The branches of a contract, the undisputed request body by default."""

    def __init__(self, root: Node | None = None) -> None:
        self.root = request_nodes() if root is None else root

    @classmethod
    def of_dialect(cls, dialect: str) -> Branches:
        """Return the branches of a dialect's undisputed request body."""
        return cls(request_nodes(dialect=dialect))

    @property
    def all(self) -> frozenset[str]:
        """Every branch, counted by path."""
        return _enumerate(self.root, False)

    @property
    def by_definition(self) -> frozenset[str]:
        """Every branch, with equal definitions counted once."""
        return _enumerate(self.root, True)

    def of(self, body: Any) -> frozenset[str]:
        """Return the branches that ``body`` takes; none when it is not valid (bounds and patterns of leaves aside).

        Where several alternatives of a union accept a value, all of them are counted: on the wire they are the same.
        """
        return frozenset(self.places(body))

    def places(self, body: Any) -> Mapping[str, set[str]]:
        """Return the branches that ``body`` takes, each with the JSON pointers at which it does.

        A branch that says that a field is absent has the pointer that the field would have.
        """
        found: dict[str, set[str]] = {}
        return found if _walk(self.root, body, "", "", found) else {}

    def report(self, bodies: Iterable[Any]) -> Coverage:
        """Return what a set of bodies covers."""
        seen: set[str] = set()
        for body in bodies:
            seen |= self.of(body)
        return Coverage(self.all, frozenset(seen) & self.all)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a set of bodies covers of all branches."""

    all: frozenset[str]
    seen: frozenset[str]

    @property
    def missing(self) -> list[str]:
        """The branches that no body took, sorted."""
        return sorted(self.all - self.seen)

    @property
    def share(self) -> float:
        """The covered share, from 0 to 1."""
        return len(self.seen) / len(self.all) if self.all else 1.0


def fits(node: Node, value: Any) -> bool:
    """Return whether a value is one of a node's, bounds and patterns of leaves aside."""
    return _walk(node, value, "", "", {})


def split(branch: str) -> tuple[str, str]:
    """Return the path of a branch and its choice."""
    path, _, choice = branch.partition("=")
    return path, choice


def is_below(branch: str, other: str) -> bool:
    """Return whether a branch can only be taken where another one is: inside its alternative or its value."""
    path, choice = split(branch)
    outer, taken = split(other)
    if taken in ("absent", "null"):
        return False
    if taken == "value":
        return (path[len(outer) : len(outer) + 1] in (".", "[", "{") and path.startswith(outer)) or (
            path == outer and choice not in ("absent", "null", "value")
        )
    inside = f"{outer}[{taken}]"
    return path.startswith(inside) and path[len(inside) : len(inside) + 1] in ("", ".", "[", "{")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


@cache
def _enumerate(root: Node, by_definition: bool) -> frozenset[str]:
    found: set[str] = set()
    done: set[str] = set()

    def visit(node: Node, path: str) -> None:
        if by_definition and node.name:
            path = "#" + node.name
            if path in done:
                return
            done.add(path)
        if isinstance(node, Union):
            if not node.choice:
                for branch in node.alternatives:
                    visit(branch, path)
                return
            for label, branch in zip(node.labels, node.alternatives, strict=True):
                found.add(f"{path}={label}")
                visit(branch, f"{path}[{label}]")
        elif isinstance(node, Literal) and len(node.values) > 1:
            found.update(f"{path}={_text(value)}" for value in node.values)
        elif isinstance(node, Array):
            visit(node.items, path + "[]")
        elif isinstance(node, Object):
            for item in node.fields:
                own = _join(path, item.name)
                found.update(f"{own}={state}" for state in _states(item))
                visit(item.node, own)
            if node.extra is not None and not isinstance(node.extra, Anything):
                visit(node.extra, path + "{}")

    visit(root, "")
    return frozenset(found)


def _states(item: Field) -> Iterator[str]:
    if not item.required:
        yield "absent"
    if nullable(item.node):
        yield "null"
    if (not item.required or nullable(item.node)) and not is_null(item.node):
        yield "value"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


Places = dict[str, set[str]]


def _walk(node: Node, value: Any, path: str, at: str, found: Places) -> bool:
    """Add the branches of ``value`` below ``path`` and their pointers, those of the value being ``at``.

    Returns whether the value is valid; only then is what was added meant.
    """
    if isinstance(node, Union):
        return _walk_union(node, value, path, at, found)
    if isinstance(node, Scalar):
        return _fits(node.type, value)
    if isinstance(node, Literal):
        # True equals 1 in Python and not in JSON.
        if not any(value == literal and kind(value) == kind(literal) for literal in node.values):
            return False
        if len(node.values) > 1:
            found.setdefault(f"{path}={_text(value)}", set()).add(at)
        return True
    if isinstance(node, Array):
        return isinstance(value, list) and all(
            _walk(node.items, item, path + "[]", f"{at}/{number}", found) for number, item in enumerate(value)
        )
    if isinstance(node, Object):
        return _walk_object(node, value, path, at, found)
    return True


def _walk_union(node: Union, value: Any, path: str, at: str, found: Places) -> bool:
    if value is None and node.nullable:
        return True
    if not node.choice:
        return any(_walk(branch, value, path, at, found) for branch in node.alternatives)
    valid = False
    tag = value.get("type") if _is_object(value) else None
    for label, branch in zip(node.labels, node.alternatives, strict=True):
        target = strip(branch)
        if isinstance(target, Object) and target.tag and isinstance(tag, str) and tag != target.tag:
            continue
        own: Places = {}
        if _walk(branch, value, f"{path}[{label}]", at, own):
            for name, places in own.items():
                found.setdefault(name, set()).update(places)
            found.setdefault(f"{path}={label}", set()).add(at)
            valid = True
    return valid


def _walk_object(node: Object, value: Any, path: str, at: str, found: Places) -> bool:
    if not _is_object(value):
        return False
    for item in node.fields:
        own, inside = _join(path, item.name), f"{at}/{item.name}"
        if item.name not in value:
            if item.required:
                return False
            found.setdefault(f"{own}=absent", set()).add(inside)
            continue
        inner = value[item.name]
        can_be_null = nullable(item.node)
        if not _walk(item.node, inner, own, inside, found):
            return False
        if can_be_null and inner is None:
            found.setdefault(f"{own}=null", set()).add(inside)
        elif can_be_null or not item.required:
            found.setdefault(f"{own}=value", set()).add(inside)
    others = [key for key in value if key not in node.field_names]
    if node.extra is None:
        return not others
    return all(_walk(node.extra, value[key], path + "{}", f"{at}/{key}", found) for key in others)


def _is_object(value: Any) -> bool:
    # Nearly all are dicts; to ask for the abstract type takes ten times as long.
    return isinstance(value, (dict, Mapping))


def _fits(type_: str, value: Any) -> bool:
    if type_ == "integer":
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
    if type_ == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return kind(value) == type_
