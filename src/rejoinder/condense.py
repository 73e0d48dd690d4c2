"""JSON values with one element of each form, by which errors in long values are explained.

Two values have the same form under a schema when it can say the same of both: equal structure, strings and numbers of
the same type, on the same side of its bounds and matching the same of its patterns, and the same words where the schema
names words. A condensed value holds of every array one element of each form, and of every object the fields that the
schema names and one of each form among the others.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

PLACES: Final = 100
"""How many elements of one form an array remembers; it counts the others."""
MAX_FORMS: Final = 200
"""How many forms an array or object has at most in a condensed value; further ones are left out."""
OTHER: Final = "\0"
"""How names in a condensed object begin that are in the place of fields that the schema does not name."""
_MAX_VALUES: Final = 1_000
_MAX_KNOWN: Final = 50_000
_LONG: Final = 1_000
"""Characters up to which a string is searched for patterns; each longer one has its own form."""

_NAMED: Final = frozenset({"properties", "$defs"})
_LISTED: Final = frozenset({"allOf", "anyOf", "oneOf"})
_SINGLE: Final = frozenset({"items", "additionalProperties", "not", "if", "then", "else"})
_BOUNDS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_LENGTHS: Final = frozenset({"minLength", "maxLength"})
_PLAIN: Final = frozenset({"type", "required", "const", "enum", "$ref"})
_ANNOTATIONS: Final = frozenset(
    {"$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "format"}
)


@dataclass(slots=True)
class _Group:
    """The elements of one form: the first of them by index or name, and how many more there are."""

    members: list[tuple[Any, _Node | None]]
    more: int = 0


@dataclass(slots=True)
class _Node:
    """An array or object: its groups, and in an object the fields that the schema names.

    ``size`` counts the values of the condensed one, and ``left_out`` is whether forms are missing from it.
    """

    groups: list[_Group] = field(default_factory=list)
    named: dict[str, _Node | None] | None = None
    size: int = 1
    left_out: bool = False

    def hold(self, child: _Node | None) -> None:
        """Count a value that is part of the condensed one."""
        self.size += child.size if child else 1
        self.left_out |= child is not None and child.left_out


_EMPTY_ARRAY: Final = _Node()
_EMPTY_OBJECT: Final = _Node(named={})


@dataclass(frozen=True, slots=True)
class Condensed:
    """A condensed value. Values with the same ``form`` have the same condensed value, but for strings and numbers.

    ``left_out`` is whether there were more than :data:`MAX_FORMS` forms, so that some are missing.
    """

    value: Any
    form: tuple[int, int]
    left_out: bool
    _root: _Node | None

    def places(self, keys: Sequence[str], limit: int) -> tuple[list[list[Any]], int]:
        """Return the places of the original value that one of the condensed value represents.

        Places are keys and indexes, outermost first. At most ``limit`` places are returned, with the number of others.
        """
        return _places(self._root, keys, limit)


def _places(node: _Node | None, keys: Sequence[str], limit: int) -> tuple[list[list[Any]], int]:
    if node is None or not keys:
        return [list(keys)], 0
    key, rest = keys[0], keys[1:]
    if node.named is not None and not key.startswith(OTHER):
        found, more = _places(node.named.get(key), rest, limit)
        return [[key, *place] for place in found], more
    group = node.groups[int(key.removeprefix(OTHER))]
    found, more = [], group.more
    for name, child in group.members:
        if len(found) < limit:
            inner, further = _places(child, rest, limit - len(found))
            found += [[name, *place] for place in inner]
            more += further
        else:
            more += 1
    return found, more


class Condenser:
    """Condenses values for one schema. ``usable`` is whether the schema's keywords allow it.

    They do not where the number of elements counts.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._words: set[tuple[type, Any]] = set()
        self._names: set[str] = set()
        self._limits: list[float] = []
        self._lengths: list[float] = []
        self._patterns: dict[str, re.Pattern[str]] = {}
        self._by_value = False
        self._by_field = False
        self.usable = self._read(schema)
        self._limits = sorted(set(self._limits))
        self._lengths = sorted(set(self._lengths))
        self._forms: dict[Hashable, int] = {}
        self._generation = 0

    def _read(self, schema: Any) -> bool:
        """Collect the words and names of a schema; return whether all of its keywords are known here."""
        if isinstance(schema, bool):
            return True
        if not isinstance(schema, Mapping):
            return False
        return all(self._read_keyword(keyword, value) for keyword, value in schema.items())

    def _read_keyword(self, keyword: str, value: Any) -> bool:
        if keyword in _NAMED and isinstance(value, Mapping):
            self._names.update(value if keyword == "properties" else ())
            return all(self._read(child) for child in value.values())
        if keyword in _LISTED and isinstance(value, list):
            return all(self._read(child) for child in value)
        if keyword in _SINGLE:
            self._by_field |= keyword == "additionalProperties" and value is not True
            return self._read(value)
        if keyword in ("const", "enum"):
            words = [value] if keyword == "const" or not isinstance(value, list) else value
            if any(isinstance(word, (dict, list)) for word in words):
                return False
            self._words.update((type(word), word) for word in words)
        elif keyword == "required" and isinstance(value, list):
            self._names.update(value)
        elif keyword in _BOUNDS and type(value) in (int, float):
            self._limits.append(value)
        elif keyword in _LENGTHS and type(value) in (int, float):
            self._lengths.append(value)
        elif keyword == "pattern" and isinstance(value, str):
            try:
                self._patterns[value] = re.compile(value)
            except re.error:
                return False
        elif keyword == "multipleOf":
            self._by_value = True
        elif keyword not in _PLAIN and keyword not in _ANNOTATIONS and not keyword.startswith("x-"):
            return False
        return True

    def condense(self, value: Any) -> Condensed:
        """Return the condensed value, in time proportional to the value's size.

        Raises ``RecursionError`` for a value that is nested too deeply.
        """
        if len(self._forms) > _MAX_KNOWN:
            self._forms.clear()
            self._generation += 1
        form, condensed, node = self._visit(value)
        return Condensed(condensed, (self._generation, form), node is not None and node.left_out, node)

    def _visit(self, value: Any) -> tuple[int, Any, _Node | None]:
        if isinstance(value, dict):
            return self._object(value) if value else (self._number((dict,)), value, _EMPTY_OBJECT)
        if isinstance(value, list):
            return self._array(value) if value else (self._number((list,)), value, _EMPTY_ARRAY)
        return self._number(self._scalar(value)), value, None

    def _number(self, form: Hashable) -> int:
        return self._forms.setdefault(form, len(self._forms))

    def _scalar(self, value: Any) -> Hashable:
        kind: type[Any] = type(value)
        if (kind, value) in self._words or (self._by_value and kind in (int, float)):
            return kind, value
        if kind is int or kind is float:
            whole = kind is int or value.is_integer()
            return kind, whole, bisect_left(self._limits, value), bisect_right(self._limits, value)
        if kind is str and (self._patterns or self._lengths):
            return self._text(value)
        return kind.__name__

    def _text(self, value: str) -> Hashable:
        size = len(value)
        sides = bisect_left(self._lengths, size), bisect_right(self._lengths, size)
        if not self._patterns:
            return str, *sides
        if size > _LONG:
            return str, *sides, hash(value)
        return str, *sides, *[pattern.search(value) is not None for pattern in self._patterns.values()]

    def _array(self, value: list[Any]) -> tuple[int, Any, _Node]:
        node = _Node()
        condensed: list[Any] = []
        known: dict[int, _Group] = {}
        for index, child in enumerate(value):
            form, short, inner = self._visit(child)
            if _add(node, known, form, index, inner):
                condensed.append(short)
        return self._number((list, *known)), condensed, node

    def _object(self, value: dict[str, Any]) -> tuple[int, Any, _Node]:
        named: dict[str, _Node | None] = {}
        node = _Node(named=named)
        condensed: dict[str, Any] = {}
        known: dict[int, _Group] = {}
        forms: list[Hashable] = [dict]
        for name, child in value.items():
            if name in self._names:
                form, condensed[name], named[name] = self._visit(child)
                forms.append((name, form))
                node.hold(named[name])
            elif self._by_field:
                form, short, inner = self._visit(child)
                if _add(node, known, form, name, inner):
                    condensed[f"{OTHER}{len(node.groups) - 1}"] = short
        return self._number((*forms, *known)), condensed, node


def _add(node: _Node, known: dict[int, _Group], form: int, key: Any, inner: _Node | None) -> bool:
    """Add an element to its group; return whether it is the first one of its form and there is room for it."""
    group = known.get(form)
    if group is not None:
        if len(group.members) < PLACES:
            group.members.append((key, inner))
        else:
            group.more += 1
        return False
    if len(node.groups) >= MAX_FORMS or node.size + (inner.size if inner else 1) > _MAX_VALUES:
        node.left_out = True
        return False
    node.hold(inner)
    known[form] = group = _Group([(key, inner)])
    node.groups.append(group)
    return True
