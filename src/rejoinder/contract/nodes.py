"""The part of JSON Schema that the contract uses, as a small tree.

:func:`parse` turns a schema into nodes once and refuses what their users would not honour: a keyword outside of the
contract's vocabulary, a reference that leads nowhere or back to itself, a contradiction. Strategies, covering sets,
branches, mutants and the reducer all walk the same nodes, so none of them holds a field list.

A definition that contains itself is followed a few levels down, then left out where it may be: the tree is finite.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Final

from rejoinder.contract import DEFAULT_DIALECT, SchemaVariant, _source
from rejoinder.contract._schemas import variant_of
from rejoinder.contract._vocabulary import KEYWORDS, check, fail, reachable
from rejoinder.contract.exclusions import Exclusion
from rejoinder.errors import ContractError
from rejoinder.validation import JSON_TYPES, Validator, escape_key, pointer_keys

Schema = Mapping[str, Any]

#: How often a definition is followed inside of itself, and of how many nodes a tree may be made before it is followed
#: less often.
_DEPTH: Final = 2
_MANY: Final = 20_000
#: Up to how many optional fields every choice of them is tried, and how many values of a range are listed.
_FEW: Final = 10
_FINITE: Final = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """A place in a schema. ``name`` is the definition it came from (or empty), ``pointer`` where it stands."""

    name: str = ""
    pointer: str = ""

    @property
    def label(self) -> str:
        """A short name that distinguishes this alternative from its siblings: its definition, else its kind."""
        return self.name or type(self).__name__.lower()


@dataclass(frozen=True, eq=False, kw_only=True)
class Anything(Node):
    """Any JSON value."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Scalar(Node):
    """A string, integer, number or boolean; ``schema`` is the leaf schema with its constraints."""

    type: str
    schema: Schema

    @property
    def label(self) -> str:
        """The definition's name, else the JSON type."""
        return self.name or self.type


@dataclass(frozen=True, eq=False, kw_only=True)
class Literal(Node):
    """One of some scalar values; a single one for ``const``."""

    values: tuple[Any, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Array(Node):
    """A list of ``items``; ``largest`` is ``None`` where there is no limit, ``unique`` forbids equal elements."""

    items: Node
    smallest: int = 0
    largest: int | None = None
    unique: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A property of an object."""

    name: str
    node: Node
    required: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Object(Node):
    """An object with known ``fields``; ``extra`` describes the values of all other keys, ``None`` forbids them.

    ``smallest`` and ``largest`` limit the number of its properties, ``names`` is a string schema for their names (or
    ``None``), ``dependent`` maps a field to the fields that it requires, ``exclusions`` are those of a request body.
    """

    fields: tuple[Field, ...]
    extra: Node | None
    smallest: int = 0
    largest: int | None = None
    names: Node | None = None
    dependent: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclusions: tuple[Exclusion, ...] = ()

    @cached_property
    def field_names(self) -> frozenset[str]:
        """The names of the known fields."""
        return frozenset(item.name for item in self.fields)

    @property
    def free(self) -> bool:
        """Whether the object names no fields and takes anything."""
        return not self.fields and isinstance(self.extra, Anything)

    @cached_property
    def tag(self) -> str:
        """The value of the ``type`` field that marks this object in a union, or the empty string."""
        for item in self.fields:
            if item.name == "type":
                node = item.node
                if isinstance(node, Union) and len(node.alternatives) == 1:
                    node = node.alternatives[0]
                if isinstance(node, Literal) and len(node.values) == 1 and isinstance(node.values[0], str):
                    return node.values[0]
        return ""


@dataclass(frozen=True, eq=False, kw_only=True)
class Union(Node):
    """Alternatives, and ``null`` if ``nullable``.

    With one alternative it is a nullable value and no choice, unless ``narrowed`` says that there were more.
    """

    alternatives: tuple[Node, ...]
    nullable: bool
    narrowed: bool = False

    @property
    def choice(self) -> bool:
        """Whether the contract leaves a choice of alternatives here."""
        return self.narrowed or len(self.alternatives) > 1

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """One label per alternative; equal labels get a number."""
        seen: dict[str, int] = {}
        labels = []
        for node in self.alternatives:
            seen[node.label] = count = seen.get(node.label, 0) + 1
            labels.append(node.label if count == 1 else f"{node.label}#{count}")
        return tuple(labels)


def parse(schema: Schema, *, file: str = "schema") -> Node:
    """Return the schema as nodes.

    Raises :class:`ContractError`, naming ``file``, JSON pointer and keyword, for anything that could not be honoured.
    """
    try:
        check(schema, file)
    except ContractError as error:
        raise ContractError(
            error.message,
            "Strategies are built from a small part of JSON Schema 2020-12; see rejoinder.strategies.schema.compiler.",
        ) from None
    for depth in range(_DEPTH, -1, -1):
        parser = _Parser(schema, depth, file, limit=_MANY if depth else 10 * _MANY)
        node = parser.node(schema, "")
        if parser.count <= parser.limit:
            break
    else:
        raise fail(file, "", "$ref", "there are too many ways in which the definitions contain each other")
    if isinstance(node, _Endless):
        raise fail(file, node.pointer, "$ref", f"{node.name!r} has no finite value: it always contains itself")
    return node


def request_nodes(variant: SchemaVariant = SchemaVariant.GENERATION, dialect: str | Path = DEFAULT_DIALECT) -> Object:
    """Return the request body of a dialect's contract as nodes (parsed once, as long as its file stays the same)."""
    return _request_nodes(_source.read(dialect), variant)


@cache
def _request_nodes(source: _source.Source, variant: SchemaVariant) -> Object:
    node = parse(variant_of(source, variant), file="request.schema.json")
    assert isinstance(node, Object)
    return replace(node, exclusions=source.exclusions)


def flatten(node: Node) -> tuple[Node, ...]:
    """Return the alternatives of a union (those of unions inside it too), or the node itself."""
    if isinstance(node, Union):
        return tuple(part for alternative in node.alternatives for part in flatten(alternative))
    return (node,)


def strip(node: Node) -> Node:
    """Return the value behind a nullable node; a real union stays."""
    while isinstance(node, Union) and not node.choice and node.alternatives:
        node = node.alternatives[0]
    return node


def nullable(node: Node) -> bool:
    """Return whether ``null`` is allowed."""
    return isinstance(node, Union) and node.nullable


def is_null(node: Node) -> bool:
    """Return whether ``null`` is all that is allowed."""
    return isinstance(node, Union) and node.nullable and not node.alternatives


def kind(value: Any) -> str:
    """Return the JSON type of a parsed value; ``1.0`` is a number here, ``True`` a boolean."""
    return JSON_TYPES.get(type(value), "object" if isinstance(value, Mapping) else "array")


@dataclass(frozen=True, eq=False, kw_only=True)
class _Endless(Node):
    """Where a definition is followed no further inside of itself; never part of a finished tree."""


@dataclass
class _Parser:
    """Parses one document that was checked; definitions are parsed once and shared.

    ``depth`` is how often a definition is followed inside of itself, ``count`` how many nodes have been made; beyond
    ``limit`` the tree is good for nothing.
    """

    root: Schema
    depth: int
    file: str
    limit: int
    count: int = 0
    known: dict[Any, Node] = field(default_factory=dict)
    inside: Counter[str] = field(default_factory=Counter)
    reached: dict[str, set[str]] = field(default_factory=dict)

    def node(self, schema: Any, pointer: str, name: str = "") -> Node:
        self.count += 1
        if schema is True:
            return Anything(name=name, pointer=pointer)
        if "$ref" in schema:
            return self._reference(schema["$ref"])
        if "anyOf" in schema:
            return self._union(schema["anyOf"], pointer, name)
        if "const" in schema or "enum" in schema:
            return _literal([schema["const"]] if "const" in schema else schema["enum"], pointer, name)
        types = schema.get("type")
        if types is None:
            return Anything(name=name, pointer=pointer)
        if isinstance(types, list):
            return self._type_list(schema, types, pointer, name)
        if types == "object":
            return self._object(schema, pointer, name)
        if types == "array":
            return self._array(schema, pointer, name)
        if types == "null":
            return Union(name=name, pointer=pointer, alternatives=(), nullable=True)
        leaf = {key: schema[key] for key in ("type", *sorted(KEYWORDS[types])) if key in schema}
        return Scalar(name=name, pointer=pointer, type=types, schema=leaf)

    def _reference(self, target: str) -> Node:
        name = pointer_keys(target)[-1]
        if self.inside[name] > self.depth or self.count > self.limit:
            return _Endless(name=name, pointer=target[1:])
        # What a definition is followed to depends on the definitions around it only where it leads back to them.
        around = frozenset((one, times) for one, times in self.inside.items() if times and one in self._below(name))
        if (name, around) not in self.known:
            self.inside[name] += 1
            self.known[name, around] = self.node(self.root["$defs"][name], target[1:], name)
            self.inside[name] -= 1
        return self.known[name, around]

    def _below(self, name: str) -> set[str]:
        """Return the names of the definitions that a definition leads to, itself only if it leads back to itself."""
        if name not in self.reached:
            self.reached[name] = reachable({**self.root["$defs"][name], "$defs": self.root["$defs"]})
        return self.reached[name]

    def _union(self, branches: list[Any], pointer: str, name: str) -> Node:
        has_null = False
        alternatives: list[Node] = []
        for index, branch in enumerate(branches):
            if branch is not True and (branch.get("type") == "null" or branch.get("const", 0) is None):
                has_null = True
            else:
                alternatives.append(self.node(branch, f"{pointer}/anyOf/{index}"))
        return _united(alternatives, has_null, pointer, name)

    def _type_list(self, schema: Schema, types: list[str], pointer: str, name: str) -> Node:
        every = frozenset[str]().union(*KEYWORDS.values())
        alternatives = []
        for one in types:
            if one != "null":
                own = {key: value for key, value in schema.items() if key not in every - KEYWORDS[one]}
                alternatives.append(self.node({**own, "type": one}, pointer))
        return _united(alternatives, "null" in types, pointer, name)

    def _array(self, schema: Schema, pointer: str, name: str) -> Node:
        items = self.node(schema.get("items", True), f"{pointer}/items")
        smallest, largest = schema.get("minItems", 0), schema.get("maxItems")
        if isinstance(items, _Endless):
            if smallest:
                return items
            items, largest = Anything(pointer=f"{pointer}/items"), 0
        unique = schema.get("uniqueItems", False)
        distinct = finite_values(items) if unique else None
        if distinct is not None and len(distinct) < smallest:
            what = f"the elements have {len(distinct)} different values, fewer than minItems {smallest}"
            raise fail(self.file, pointer, "uniqueItems", what)
        return Array(name=name, pointer=pointer, items=items, smallest=smallest, largest=largest, unique=unique)

    def _object(self, schema: Schema, pointer: str, name: str) -> Node:
        required = set(schema.get("required", ()))
        dependent = {key: tuple(value) for key, value in schema.get("dependentRequired", {}).items()}
        required = closure(required, dependent)
        names = self._names(schema, pointer)
        others = schema.get("additionalProperties", True)
        extra = None if others is False else self.node(others, f"{pointer}/additionalProperties")
        fields = []
        for key, value in schema.get("properties", {}).items():
            node = self.node(value, f"{pointer}/properties/{escape_key(key)}")
            if names is not None and not _accepts(names, key):
                if key in required:
                    raise fail(self.file, pointer, "propertyNames", f"it refuses the required field {key!r}")
            elif not isinstance(node, _Endless):
                fields.append(Field(key, node, key in required))
            elif key in required:
                return node
            elif isinstance(extra, Anything):
                extra = None  # it would take the field that is left out, with any value
        kept = {item.name for item in fields}
        while lacking := {name for name in kept if not kept.issuperset(dependent.get(name, ()))}:
            kept -= lacking
        found = Object(
            name=name,
            pointer=pointer,
            fields=tuple(item for item in fields if item.name in kept),
            extra=None if isinstance(extra, _Endless) else extra,
            smallest=schema.get("minProperties", 0),
            largest=schema.get("maxProperties"),
            names=names,
            dependent=dependent,
        )
        if (found.smallest or found.largest is not None) and possible_fields(found) is None:
            keyword = "minProperties" if found.smallest else "maxProperties"
            raise fail(self.file, pointer, keyword, "no choice of fields is within the limits")
        return found

    def _names(self, schema: Schema, pointer: str) -> Node | None:
        names = schema.get("propertyNames", True)
        return self.node({"type": "string", **names}, f"{pointer}/propertyNames") if names is not True else None


def _accepts(node: Node, name: str) -> bool:
    """Return whether a name is one of those that a node describes."""
    if isinstance(node, Literal):
        return name in node.values
    return not isinstance(node, Scalar) or Validator(node.schema).is_valid(name)


def closure(names: Iterable[str], dependent: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Return names of fields with all that they require."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += dependent.get(name, ())
    return found


def possible_fields(node: Object) -> frozenset[str] | None:
    """Return the fewest fields that an object may have within its limits; ``None`` where no choice is.

    Further properties make up for what is missing where the object may have them.
    """
    required = {item.name for item in node.fields if item.required}
    optional = [item.name for item in node.fields if not item.required]
    more: float = math.inf if node.extra is not None else 0
    if more and node.names is not None and (known := finite_values(node.names)) is not None:
        more = sum(name not in {item.name for item in node.fields} for name in known)
    largest = math.inf if node.largest is None else node.largest
    # Beyond so many fields, all choices of a few of them and all fields together are tried.
    sizes = range(len(optional) + 1) if len(optional) <= _FEW else (0, 1, 2, len(optional))
    for size in sizes:
        for chosen in combinations(optional, size):
            found = closure(required | set(chosen), node.dependent)
            if len(found) <= largest and len(found) + more >= node.smallest:
                return frozenset(found)
    return None


def finite_values(node: Node) -> list[Any] | None:
    """Return the different values of a node, ``None`` where there are many or they are not known."""
    if isinstance(node, Literal):
        return _distinct(node.values)
    if isinstance(node, Union):
        parts = [finite_values(part) for part in node.alternatives]
        values = [value for part in parts if part is not None for value in part]
        return None if None in parts else _distinct([*values, *([None] if node.nullable else [])])
    if isinstance(node, Array):
        return [[]] if node.largest == 0 else None
    if isinstance(node, Object):
        return [{}] if node.largest == 0 or (not node.fields and node.extra is None) else None
    if not isinstance(node, Scalar):
        return None
    if node.type == "boolean":
        return [False, True]
    if node.type == "string":
        return [""] if node.schema.get("maxLength") == 0 else None
    if node.type == "integer" and {"minimum", "maximum"} <= node.schema.keys():
        first, last = math.ceil(node.schema["minimum"]), math.floor(node.schema["maximum"])
        accepts = Validator(node.schema).is_valid
        return [number for number in range(first, last + 1) if accepts(number)] if last - first < _FINITE else None
    return None


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list({canonical(value): value for value in values}.values())


def canonical(value: Any) -> str:
    """Return a text that is the same for values that are equal in JSON Schema, where 1 is 1.0 and not true."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _united(alternatives: list[Node], has_null: bool, pointer: str, name: str) -> Node:
    """Return a union of what was not cut, or the only alternative."""
    kept = tuple(node for node in alternatives if not isinstance(node, _Endless))
    if not kept and not has_null:
        return alternatives[0]
    if len(kept) == 1 and not has_null:
        return kept[0]
    return Union(name=name, pointer=pointer, alternatives=kept, nullable=has_null)


def _literal(values: list[Any], pointer: str, name: str) -> Node:
    if values == [None]:
        return Union(name=name, pointer=pointer, alternatives=(), nullable=True)
    return Literal(name=name, pointer=pointer, values=tuple(values))
