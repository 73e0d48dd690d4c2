"""Two dialects side by side: every place at which their data differ.

A schema is compared by the values that it accepts, not by how it is written: unions are taken apart, and objects that
name their type are matched by it, so that ``input[].message.content[].input_text.text`` is the same place in both
dialects whatever their definitions are called.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from rejoinder.contract._dialect import Dialect, features_of
from rejoinder.contract._rules import load_rules
from rejoinder.contract._vocabulary import KEYWORDS
from rejoinder.model.verdict import ABSENT
from rejoinder.validation import JSON_TYPES, pointer_keys

__all__ = ["AREAS", "Difference", "differences"]

#: What dialects are compared in, in the order of a report.
AREAS: Final = ("request", "response", "events", "error", "operations", "parameters", "features", "levels")
_LARGEST: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})
_SMALLEST: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_BOUNDS: Final = (
    _LARGEST | _SMALLEST | {"pattern", "format", "multipleOf", "uniqueItems", "propertyNames", "dependentRequired"}
)


@dataclass(frozen=True, slots=True)
class Difference:
    """One place at which two dialects differ.

    ``area`` is one of :data:`AREAS`; ``place`` the path of a field, the name of an event type, operation, parameter or
    feature, or the id of a rule; ``kind`` what differs there: ``presence``, ``type``, ``values`` (those that the other
    dialect lacks), ``required``, ``other fields`` (whether they are allowed), a bound such as ``maxLength``, ``role``,
    ``value`` or ``level``. ``one`` and ``other`` are what the two dialects have, ``ABSENT`` for nothing.
    """

    area: str
    place: str
    kind: str
    one: Any
    other: Any


@dataclass(frozen=True)
class _Place:
    """What a schema accepts at one place, over all alternatives that have it; ``values`` where it lists them all."""

    types: frozenset[str]
    values: tuple[Any, ...] | None
    required: bool
    closed: bool
    bounds: Mapping[tuple[str, str], Any]


def differences(one: Dialect, other: Dialect) -> list[Difference]:
    """Return every difference of two dialects, in the order of :data:`AREAS` and of the places.

    Where a whole field, event type or operation is missing, that is the difference, and nothing below it.
    """
    found: list[Difference] = []
    for area in ("request", "response", "error"):
        found += _schemas(area, one.schema(area), other.schema(area), "")
    found += _events(one, other)
    found += _operations(one, other)
    for table in ("stream", "response", "request"):
        mine, theirs = getattr(one, table), getattr(other, table)
        found += _tables("parameters", mine, theirs, "value", f"{table}.")
    features, more = ({feature.name: True for feature in features_of(dialect)} for dialect in (one, other))
    found += _tables("features", features, more, "presence")
    rules = load_rules().values()
    levels, others = ({rule.id: dialect.level_of(rule).value for rule in rules} for dialect in (one, other))
    found += _tables("levels", levels, others, "level")
    order = {area: number for number, area in enumerate(AREAS)}
    return sorted(found, key=lambda difference: order[difference.area])


def _tables(
    area: str, one: Mapping[str, Any], other: Mapping[str, Any], kind: str, prefix: str = ""
) -> Iterator[Difference]:
    for name in dict.fromkeys([*one, *other]):
        mine, theirs = one.get(name, ABSENT), other.get(name, ABSENT)
        if mine != theirs or type(mine) is not type(theirs):
            yield Difference(area, f"{prefix}{name}", kind, mine, theirs)


def _events(one: Dialect, other: Dialect) -> Iterator[Difference]:
    mine, theirs = ({name: spec.role for name, spec in dialect.events.items()} for dialect in (one, other))
    for difference in _tables("events", mine, theirs, "role"):
        missing = ABSENT in (difference.one, difference.other)
        yield replace(difference, kind="presence") if missing else difference
    schemas = [dialect.schema("events")["$defs"] for dialect in (one, other)]
    for name in mine.keys() & theirs.keys():
        yield from _schemas("events", schemas[0][name], schemas[1][name], name)


def _operations(one: Dialect, other: Dialect) -> Iterator[Difference]:
    for name in dict.fromkeys([*one.operations, *other.operations]):
        mine, theirs = one.operations.get(name), other.operations.get(name)
        if mine is None or theirs is None:
            first, second = (ABSENT if side is None else f"{side.method} {side.path}" for side in (mine, theirs))
            yield Difference("operations", name, "presence", first, second)
            continue
        if (mine.method, mine.path) != (theirs.method, theirs.path):
            yield Difference(
                "operations", name, "value", f"{mine.method} {mine.path}", f"{theirs.method} {theirs.path}"
            )
        for part in ("query", "body", "reply"):
            first, second = getattr(mine, part), getattr(theirs, part)
            if (first is None) is not (second is None):
                yield Difference("operations", f"{name} {part}", "presence", *_there(first, second))
            elif first is not None:
                yield from _schemas("operations", first, second, f"{name} {part}")


def _there(one: Any, other: Any) -> tuple[Any, Any]:
    return ABSENT if one is None else True, ABSENT if other is None else True


def _schemas(area: str, one: Mapping[str, Any], other: Mapping[str, Any], prefix: str) -> Iterator[Difference]:
    mine, theirs = _places(one), _places(other)
    gone: set[str] = set()
    for path in sorted(mine.keys() | theirs.keys()):
        if any(parent in gone for parent in _parents(path)):
            continue
        place = f"{prefix}{': ' if prefix and path else ''}{path}"
        first, second = mine.get(path), theirs.get(path)
        if first is None or second is None:
            gone.add(path)
            yield Difference(area, place, "presence", *_there(first, second))
            continue
        yield from _place(area, place, first, second)


def _place(area: str, place: str, one: _Place, other: _Place) -> Iterator[Difference]:
    if one.types != other.types:
        yield Difference(area, place, "type", *(sorted(side.types) or ["any"] for side in (one, other)))
    if one.values is not None and other.values is not None:
        mine, theirs = (
            [value for value in a if value not in b]
            for a, b in ((one.values, other.values), (other.values, one.values))
        )
        if mine or theirs:
            yield Difference(area, place, "values", mine or ABSENT, theirs or ABSENT)
    elif one.values is not other.values:
        yield Difference(area, place, "values", *(side.values or ABSENT for side in (one, other)))
    for kind, a, b in (("required", one.required, other.required), ("other fields", not one.closed, not other.closed)):
        if a is not b:
            yield Difference(area, place, kind, a, b)
    for type_, bound in sorted(one.bounds.keys() | other.bounds.keys()):
        if type_ in one.types and type_ in other.types:
            a, b = (side.bounds.get((type_, bound), ABSENT) for side in (one, other))
            if a != b:
                yield Difference(area, place, bound, a, b)


def _parents(path: str) -> Iterator[str]:
    for index, letter in enumerate(path):
        if letter in ".[{" and index:
            yield path[:index]


def _places(schema: Mapping[str, Any]) -> dict[str, _Place]:
    """Return what a schema accepts at each place."""
    walker = _Walker(schema.get("$defs", {}))
    walker.walk([(schema, ())], "", required=True)
    return walker.places


#: A schema and the definitions that lead to it.
_Node = tuple[Any, tuple[str, ...]]
_Part = tuple[Mapping[str, Any], tuple[str, ...]]


class _Walker:
    def __init__(self, definitions: Mapping[str, Any]) -> None:
        self.places: dict[str, _Place] = {}
        self._definitions = definitions

    def walk(self, nodes: Iterable[_Node], path: str, *, required: bool) -> None:
        """Add what the nodes of one place accept there and below."""
        parts = [part for node, trail in nodes for part in self._alternatives(node, trail)]
        objects: dict[str, list[_Part]] = {}
        for part, trail in parts:
            if "object" in _types(part):
                objects.setdefault(_tag(part) if path else "", []).append((part, trail))
        self.places[path] = _place_of([part for part, _ in parts], required, objects.get("", ()))
        for tag, group in objects.items():
            # Objects that name their type are places of their own.
            inside = f"{path}.{tag}" if tag else path
            if tag:
                self.places[inside] = _place_of([part for part, _ in group], False, group)
            self._below(group, inside)
        items = [(part["items"], trail) for part, trail in parts if isinstance(part.get("items"), Mapping)]
        if items:
            self.walk(items, f"{path}[]", required=False)

    def _below(self, group: Sequence[_Part], path: str) -> None:
        for name in dict.fromkeys(name for node, _ in group for name in node.get("properties", ())):
            children = [
                (node["properties"][name], trail) for node, trail in group if name in node.get("properties", {})
            ]
            required = all(name in node.get("required", ()) for node, _ in group)
            self.walk(children, f"{path}.{name}" if path else name, required=required)
        others = [(node.get("additionalProperties"), trail) for node, trail in group]
        others = [(child, trail) for child, trail in others if isinstance(child, Mapping)]
        if others:
            self.walk(others, f"{path}{{}}", required=False)

    def _alternatives(self, node: Any, trail: tuple[str, ...]) -> Iterator[_Part]:
        """Yield what a node chooses from, without references; the node itself when it leaves no choice.

        A definition that contains itself is not followed a second time.
        """
        while isinstance(node, Mapping) and "$ref" in node:
            name = pointer_keys(node["$ref"][1:])[1]
            node, trail = (True if name in trail else self._definitions.get(name)), (*trail, name)
        if not isinstance(node, Mapping):
            yield {}, trail
        elif "anyOf" in node:
            for branch in node["anyOf"]:
                yield from self._alternatives(branch, trail)
        elif "allOf" in node and all("then" in part for part in node["allOf"]):
            for part in node["allOf"]:
                yield from self._alternatives(part["then"], trail)
        else:
            yield node, trail


def _place_of(parts: Sequence[Mapping[str, Any]], required: bool, objects: Sequence[_Part]) -> _Place:
    literals = [_literals(part) for part in parts if part.get("type") != "null"]
    values = None
    if literals and all(found is not None for found in literals):
        values = tuple(dict.fromkeys(value for found in literals for value in found or ()))
    bounds = {}
    for kind in frozenset().union(*(_types(part) for part in parts)):
        typed = [part for part in parts if kind in _types(part)]
        for bound in _BOUNDS & KEYWORDS[kind]:
            found = [part[bound] for part in typed if bound in part]
            if len(found) == len(typed):  # an alternative without the bound leaves the place without it
                loosest = max if bound in _LARGEST else min if bound in _SMALLEST else None
                if loosest or all(value == found[0] for value in found):
                    bounds[kind, bound] = loosest(found) if loosest else found[0]
    return _Place(
        types=frozenset().union(*(_types(part) for part in parts)),
        values=values,
        required=required,
        closed=bool(objects) and all(node.get("additionalProperties") is False for node, _ in objects),
        bounds=bounds,
    )


def _types(node: Mapping[str, Any]) -> set[str]:
    values = _literals(node)
    if values is not None:
        return {JSON_TYPES[type(value)] for value in values}
    kinds = node.get("type", [])
    return {kinds} if isinstance(kinds, str) else set(kinds)


def _literals(node: Mapping[str, Any]) -> list[Any] | None:
    return [node["const"]] if "const" in node else list(node["enum"]) if "enum" in node else None


def _tag(node: Mapping[str, Any]) -> str:
    kind = node.get("properties", {}).get("type", {})
    options = [kind, *kind.get("anyOf", ())] if isinstance(kind, Mapping) else []
    return next((option["const"] for option in options if isinstance(option.get("const"), str)), "")
