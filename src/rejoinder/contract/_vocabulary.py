"""What a contract schema may be made of, and the errors for what it may not.

The contract uses a small part of JSON Schema 2020-12, so that every reader of it (validators, strategies, coverage)
honours it completely:

- ``type``, ``const``, ``enum``, ``anyOf``, ``$ref`` to a definition of the same file, which may contain itself;
- ``properties``, ``required``, ``additionalProperties``, ``minProperties``, ``maxProperties``, ``propertyNames`` and
  ``dependentRequired`` of objects;
- ``items``, ``minItems``, ``maxItems`` and ``uniqueItems`` of arrays;
- bounds of numbers; length, ``pattern`` and ``format`` of strings;
- in the response and in replies of operations: ``allOf`` of ``if``/``then``, which holds an output item to the class
  that its type names;
- annotations: ``title``, ``description``, ``default``, ``examples``, ``deprecated``, ``$comment`` and ``x-...``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any, Final

from rejoinder.budgets import DEPTH, SCHEMA_PLACES
from rejoinder.errors import ContractError
from rejoinder.formatting import one_line
from rejoinder.model.verdict import ABSENT
from rejoinder.validation import JSON_TYPES, escape_key, pointer_keys

#: Keywords that say nothing about instances. Names that begin with ``x-`` are treated alike.
ANNOTATIONS: Final = frozenset(
    {"$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "deprecated"}
)
_NUMBERS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
#: What may stand beside ``type``, by its value.
KEYWORDS: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "integer": _NUMBERS,
    "number": _NUMBERS,
    "boolean": frozenset(),
    "null": frozenset(),
    "object": frozenset(
        {
            "properties",
            "required",
            "additionalProperties",
            "minProperties",
            "maxProperties",
            "propertyNames",
            "dependentRequired",
        }
    ),
    "array": frozenset({"items", "minItems", "maxItems", "uniqueItems"}),
}
CHOOSERS: Final = ("$ref", "const", "enum", "anyOf")
_BRANCHING: Final = frozenset({"allOf", "if", "then"})
_COUNTS: Final = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
_SPANS: Final = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minimum", "maximum"),
    ("exclusiveMinimum", "exclusiveMaximum"),
)


def fail(file: str, pointer: str, keyword: str, what: str) -> ContractError:
    """Return the error that names the file, the place in the schema and the keyword, ready to be raised."""
    return ContractError(
        f"{file}: at {one_line(pointer, 200) or '/'}, keyword '{one_line(keyword, 60)}': {one_line(what, 300)}.",
        "The how-to guide on custom dialects describes the format.",
    )


def find(schema: Any, path: list[str]) -> Any:
    """Return what stands at that place of a schema, ``ABSENT`` for nothing."""
    for step in path:
        if isinstance(schema, dict):
            schema = schema.get(step, ABSENT)
        elif isinstance(schema, list):
            schema = schema[int(step)] if step.isdecimal() and int(step) < len(schema) else ABSENT
        else:
            return ABSENT
    return schema


def reachable(schema: Mapping[str, Any], *, all_of: bool = False) -> set[str]:
    """Return the names of the definitions that the schema's root leads to; every definition when ``all_of`` is set."""
    definitions: Mapping[str, Any] = schema.get("$defs", {})
    if all_of:
        return set(definitions)
    found: set[str] = set()
    waiting: list[Any] = [{key: value for key, value in schema.items() if key != "$defs"}]
    while waiting:
        for _, target in _references(waiting.pop()):
            if target in definitions and target not in found:
                found.add(target)
                waiting.append(definitions[target])
    return found


def _references(node: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield the pointer of every reference below a node at ``at``, and the name of the definition that it leads to."""
    if isinstance(node, Mapping):
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/$defs/"):
            yield at, pointer_keys(reference[1:])[-1]
    for key, child in node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ():
        yield from _references(child, f"{at}/{escape_key(str(key))}")


def _aliases(node: Any, at: str) -> Iterator[tuple[str, str]]:
    """Yield the references, as :func:`_references`, that describe the value itself and not what is inside of it."""
    if isinstance(node, Mapping):
        yield from _references({"$ref": node["$ref"]}, at) if "$ref" in node else ()
        for key in ("anyOf", "allOf"):
            for index, branch in enumerate(node.get(key, ())):
                yield from _aliases(branch, f"{at}/{key}/{index}")


def _places(node: Any) -> int:
    """Return how many objects and lists a node holds, itself included."""
    children = node.values() if isinstance(node, Mapping) else node if isinstance(node, list) else ()
    return 1 + sum(_places(child) for child in children if isinstance(child, Mapping | list))


def _empty_range(node: Mapping[str, Any], *, whole: bool) -> str:
    """Return a keyword of those that leave no number; empty where one is left, or the step is a fraction."""
    lows = [(Fraction(node[key]), key) for key in ("minimum", "exclusiveMinimum") if key in node]
    highs = [(Fraction(node[key]), key) for key in ("maximum", "exclusiveMaximum") if key in node]
    if not lows or not highs:
        return ""
    (low, from_key), (high, to_key) = max(lows), min(highs)
    step = Fraction(node.get("multipleOf", 1))
    if not whole:
        return from_key if low > high or (low == high and "exclusive" in from_key + to_key) else ""
    if step.denominator != 1:
        return ""
    first = (low // step + 1) * step if from_key == "exclusiveMinimum" else -(-low // step) * step
    beyond = first >= high if to_key == "exclusiveMaximum" else first > high
    return ("multipleOf" if step > 1 else from_key) if beyond else ""


def check(schema: Mapping[str, Any], file: str, *, branching: bool = False) -> None:
    """Raise :class:`~rejoinder.errors.ContractError` unless the schema is made of the contract's vocabulary.

    ``file`` is the name that the error gives; ``branching`` allows ``allOf`` of ``if``/``then``.
    """
    _Checker(schema, file, branching).run()


class _Checker:
    def __init__(self, root: Mapping[str, Any], file: str, branching: bool) -> None:
        self._root = root
        self._file = file
        self._branching = branching
        self._definitions: Mapping[str, Any] = root.get("$defs", {})

    def run(self) -> None:
        if not isinstance(self._definitions, Mapping):
            raise fail(self._file, "", "$defs", "it must be a table of definitions")
        self._node(self._root, "")
        for name, definition in self._definitions.items():
            self._node(definition, f"/$defs/{escape_key(name)}")
        done: set[str] = set()
        for name in self._definitions:
            self._loops(name, (), done)
        sizes: dict[str, tuple[int, int]] = {}
        for name in self._definitions:
            self._unfold(self._definitions[name], f"/$defs/{escape_key(name)}", (name,), sizes)
        self._unfold({key: value for key, value in self._root.items() if key != "$defs"}, "", (), sizes)

    def _loops(self, name: str, path: tuple[str, ...], done: set[str]) -> None:
        """Raise where a definition is nothing but itself. One that contains itself inside of its values is fine."""
        for pointer, target in _aliases(self._definitions[name], f"/$defs/{escape_key(name)}"):
            if target in (*path, name):
                raise fail(self._file, pointer, "$ref", f"{target!r} leads back to itself")
            if target not in done:
                self._loops(target, (*path, name), done)
        done.add(name)

    def _unfold(self, node: Any, at: str, path: tuple[str, ...], sizes: dict[str, tuple[int, int]]) -> tuple[int, int]:
        """Return how many places a node has when its references are followed, and how deep they are nested.

        ``path`` names the definitions that lead here, which are not followed again; ``sizes`` are those of definitions.
        """
        total, depth = _places(node), 0
        for pointer, target in _references(node, at):
            if target in path:
                continue
            if target not in sizes and len(path) <= DEPTH:
                inside = f"/$defs/{escape_key(target)}"
                sizes[target] = self._unfold(self._definitions[target], inside, (*path, target), sizes)
            places, below = sizes.get(target, (0, DEPTH))
            total, depth = total + places, max(depth, below + 1)
            if depth > DEPTH:
                raise fail(self._file, pointer, "$ref", f"references are nested more than {DEPTH} levels deep")
            if total > SCHEMA_PLACES:
                what = f"the schema has more than {SCHEMA_PLACES:,} places when its references are followed"
                raise fail(self._file, pointer, "$ref", what)
        return total, depth

    def _node(self, node: Any, at: str) -> None:
        if node is True:
            return
        if not isinstance(node, Mapping):
            what = "no value would be valid" if node is False else "a schema must be an object"
            raise fail(self._file, at, pointer_keys(at)[-1] if at else "schema", what)
        if at and "$defs" in node:
            raise fail(self._file, at, "$defs", "definitions belong at the top of the file")
        keys = [key for key in node if key not in ANNOTATIONS and not key.startswith("x-")]
        for key in keys:
            if key in _BRANCHING and self._branching:
                children = node[key] if key == "allOf" else [node[key]]
                for index, child in enumerate(children):
                    self._node(child, f"{at}/{key}/{index}" if key == "allOf" else f"{at}/{key}")
        keys = [key for key in keys if not (self._branching and key in _BRANCHING)]
        chooser = next((key for key in CHOOSERS if key in keys), "")
        if chooser:
            self._choice(node, chooser, keys, at)
            return
        types = self._types(node, at)
        known = frozenset({"type"}).union(*(KEYWORDS[name] for name in types))
        if not types and self._branching:
            # The condition of an if names fields without saying that it is about objects.
            known |= KEYWORDS["object"]
        for key in keys:
            if key not in known:
                raise fail(self._file, at, key, "not supported" + (f" for type {node.get('type')!r}" if types else ""))
        self._children(node, at)
        self._limits(node, at)

    def _types(self, node: Mapping[str, Any], at: str) -> list[str]:
        types = node.get("type", [])
        names = [types] if isinstance(types, str) else types
        if not isinstance(names, list) or ("type" in node and not names):
            raise fail(self._file, at, "type", f"{types!r} is not a JSON type")
        for name in names:
            if not isinstance(name, str) or name not in KEYWORDS:
                raise fail(self._file, at, "type", f"{name!r} is not a JSON type")
        return names

    def _choice(self, node: Mapping[str, Any], chooser: str, keys: list[str], at: str) -> None:
        allowed = {chooser, "type"} if chooser in ("const", "enum") else {chooser}
        for key in keys:
            if key not in allowed:
                raise fail(self._file, at, key, f"not supported beside {chooser!r}")
        value = node[chooser]
        if chooser == "$ref":
            if not isinstance(value, str) or not value.startswith("#/$defs/"):
                raise fail(self._file, at, "$ref", f"{value!r} is not a reference to a definition of this file")
            if pointer_keys(value[1:])[1] not in self._definitions or len(pointer_keys(value[1:])) != 2:
                raise fail(self._file, at, "$ref", f"{value!r} does not exist")
            return
        values = [value] if chooser == "const" else value
        if not isinstance(values, list) or not values:
            raise fail(self._file, at, chooser, "the list is empty")
        if chooser == "anyOf":
            for index, branch in enumerate(values):
                self._node(branch, f"{at}/anyOf/{index}")
            return
        types = self._types(node, at)
        for number, literal in enumerate(values):
            kind = JSON_TYPES.get(type(literal), "")
            if kind in ("object", "array", ""):
                raise fail(self._file, at, chooser, "only strings, numbers, booleans and null are allowed")
            if types and kind not in types and not (kind == "integer" and "number" in types):
                raise fail(self._file, at, chooser, f"{literal!r} contradicts type {node['type']!r}")
            if any(literal == other and type(literal) is type(other) for other in values[:number]):
                raise fail(self._file, at, chooser, f"{literal!r} is listed twice")

    def _children(self, node: Mapping[str, Any], at: str) -> None:
        properties = node.get("properties", {})
        if not isinstance(properties, Mapping):
            raise fail(self._file, at, "properties", "it must be a table of fields")
        for name, child in properties.items():
            self._node(child, f"{at}/properties/{escape_key(name)}")
        required = node.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise fail(self._file, at, "required", "it must be a list of names")
        for name in required:
            if name not in properties and "x-from" not in node:
                raise fail(self._file, at, "required", f"{name!r} is required but not among the properties")
        if len(set(required)) != len(required):
            raise fail(self._file, at, "required", "a field is listed twice")
        for key in ("items", "additionalProperties"):
            if key in node and (key == "items" or node[key] is not False):
                self._node(node[key], f"{at}/{key}")
        if "propertyNames" in node:
            self._names(node["propertyNames"], f"{at}/propertyNames")
        dependent = node.get("dependentRequired", {})
        if not isinstance(dependent, Mapping):
            raise fail(self._file, at, "dependentRequired", "it must be a table of fields and lists of names")
        for name, others in dependent.items():
            if not isinstance(others, list) or not {name, *map(str, others)} <= properties.keys():
                what = f"{name!r} and the fields that it requires must be among the properties"
                raise fail(self._file, at, "dependentRequired", what)

    def _names(self, names: Any, at: str) -> None:
        if not isinstance(names, Mapping):
            self._node(names, at)
            return
        for key in ("$ref", "anyOf"):
            if key in names:
                raise fail(self._file, at, key, "not supported for names of fields")
        if names.get("type", "string") != "string":
            raise fail(self._file, at, "type", f"names of fields are strings, not {names['type']!r}")
        self._node({"type": "string", **names}, at)

    def _limits(self, node: Mapping[str, Any], at: str) -> None:
        for key in node:
            value = node[key]
            if key in _COUNTS and (type(value) is not int or value < 0):
                raise fail(self._file, at, key, f"{value!r} is not a non-negative integer")
            if key in _NUMBERS and (
                type(value) not in (int, float) or value in (math.inf, -math.inf) or value != value
            ):
                raise fail(self._file, at, key, f"{value!r} is not a finite number")
            if key == "uniqueItems" and not isinstance(value, bool):
                raise fail(self._file, at, key, f"{value!r} is not a boolean")
            if key in ("pattern", "format") and not isinstance(value, str):
                raise fail(self._file, at, key, f"{value!r} is not a string")
        if node.get("multipleOf", 1) <= 0:
            raise fail(self._file, at, "multipleOf", "it must be above zero")
        for low, high in _SPANS:
            if low in node and high in node and node[low] > node[high]:
                raise fail(self._file, at, low, f"{node[low]} contradicts {high} {node[high]}")
        for kind in self._types(node, at):
            if kind in ("integer", "number") and (keyword := _empty_range(node, whole=kind == "integer")):
                raise fail(self._file, at, keyword, f"no {kind} is within the limits")
        if "pattern" in node:
            try:
                re.compile(node["pattern"])
            except re.error as error:
                raise fail(self._file, at, "pattern", f"invalid regular expression: {error}") from error
