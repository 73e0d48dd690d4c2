"""The part of JSON Schema that the contract uses, as a small tree.

:func:`parse` turns a schema into nodes once and refuses what their users would not honour: a keyword
that is not in the list below, a reference that leads nowhere or back to itself, a contradiction. Strategies, covering
sets, branches, mutants and the reducer all walk the same nodes, so none of them holds a field list of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from rejoinder.contract import DEFAULT_DIALECT, SchemaVariant, request_schema
from rejoinder.errors import ContractError

Schema = Mapping[str, Any]

#: Keywords that say nothing about instances. Names that begin with ``x-`` are treated alike.
ANNOTATIONS: Final = frozenset(
    {"$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "deprecated"}
)
#: The constraints that a leaf may carry, by its type.
CONSTRAINTS: Final[Mapping[str, frozenset[str]]] = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "number": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}),
    "boolean": frozenset(),
    "null": frozenset(),
}
_STRUCTURE: Final[Mapping[str, frozenset[str]]] = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "minItems", "maxItems"}),
}
_KINDS: Final[Mapping[type, str]] = {
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Node:
    """A place in a schema. ``name`` is the definition it came from (or empty), ``pointer`` where it stands."""

    name: str = ""
    pointer: str = ""

    @property
    def label(self) -> str:
        """A short name that tells this alternative from its siblings: its definition, else its kind."""
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
    """A list of ``items``; ``largest`` is ``None`` where the schema sets no limit."""

    items: Node
    smallest: int = 0
    largest: int | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A property of an object."""

    name: str
    node: Node
    required: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class Object(Node):
    """An object with known ``fields``; ``extra`` describes the values of all other keys, ``None`` forbids them."""

    fields: tuple[Field, ...]
    extra: Node | None

    @property
    def free(self) -> bool:
        """Whether the object has no field of its own and takes anything."""
        return not self.fields and isinstance(self.extra, Anything)

    @property
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

    @property
    def labels(self) -> tuple[str, ...]:
        """One label per alternative, told apart by a number where two are alike."""
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
    return _Parser(schema, file).node(schema, "")


@cache
def request_nodes(variant: SchemaVariant = SchemaVariant.GENERATION, dialect: str = DEFAULT_DIALECT) -> Object:
    """Return the request body of a dialect's contract as nodes (parsed once)."""
    node = parse(request_schema(variant, dialect=dialect), file="request.schema.json")
    assert isinstance(node, Object)
    return node


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


def kind(value: Any) -> str:
    """Return the JSON type of a parsed value; ``1.0`` is a number here, ``True`` a boolean."""
    return _KINDS.get(type(value), "object" if isinstance(value, Mapping) else "array")


@dataclass
class _Parser:
    """Parses one document; definitions are parsed once and shared."""

    root: Schema
    file: str
    known: dict[str, Node] = field(default_factory=dict)
    open: list[str] = field(default_factory=list)

    def fail(self, pointer: str, keyword: str, what: str) -> ContractError:
        return ContractError(
            f"{self.file}: at {pointer or '/'}, keyword {keyword!r}: {what}.",
            "Strategies are built from a small part of JSON Schema 2020-12; see rejoinder.strategies.schema.compiler.",
        )

    def node(self, schema: Any, pointer: str, name: str = "") -> Node:
        if schema is True:
            return Anything(name=name, pointer=pointer)
        if not isinstance(schema, Mapping):
            raise self.fail(
                pointer, "false" if schema is False else type(schema).__name__, "nothing could be valid here"
            )
        keys = {key for key in schema if key not in ANNOTATIONS and not key.startswith("x-")}
        for chooser in ("$ref", "const", "enum", "anyOf"):
            if chooser in keys:
                self._only(schema, keys, pointer, chooser)
                return self._by_chooser(schema, chooser, pointer, name)
        types = schema.get("type")
        if types is None:
            self._refuse(keys, pointer, frozenset())
            return Anything(name=name, pointer=pointer)
        if isinstance(types, list):
            return self._type_list(schema, types, pointer, name)
        if types == "object":
            self._refuse(keys, pointer, _STRUCTURE["object"] | {"type"})
            return self._object(schema, pointer, name)
        if types == "array":
            self._refuse(keys, pointer, _STRUCTURE["array"] | {"type"})
            return self._array(schema, pointer, name)
        if not isinstance(types, str) or types not in CONSTRAINTS:
            raise self.fail(pointer, "type", f"{types!r} is not a JSON type")
        self._refuse(keys, pointer, CONSTRAINTS[types] | {"type"})
        return self._scalar(schema, types, pointer, name)

    def _only(self, schema: Schema, keys: set[str], pointer: str, chooser: str) -> None:
        allowed = {chooser, "type"} if chooser in ("const", "enum") else {chooser}
        extra = sorted(keys - allowed)
        if extra:
            raise self.fail(pointer, extra[0], f"not supported beside {chooser!r}")
        types = schema.get("type")
        if types is not None and chooser in ("const", "enum"):
            values = [schema["const"]] if chooser == "const" else schema["enum"]
            allowed_types = {types} if isinstance(types, str) else set(types)
            if "number" in allowed_types:
                allowed_types.add("integer")
            for value in values:
                if kind(value) not in allowed_types:
                    raise self.fail(pointer, chooser, f"{value!r} contradicts type {types!r}")

    def _refuse(self, keys: set[str], pointer: str, allowed: frozenset[str]) -> None:
        for key in sorted(keys - allowed):
            raise self.fail(pointer, key, "not supported")

    def _by_chooser(self, schema: Schema, chooser: str, pointer: str, name: str) -> Node:
        value = schema[chooser]
        if chooser == "$ref":
            return self._reference(value, pointer)
        if chooser == "anyOf":
            return self._union(value, pointer, name)
        values = [value] if chooser == "const" else value
        if not isinstance(values, list) or not values:
            raise self.fail(pointer, chooser, "there is no value to choose")
        for literal in values:
            if isinstance(literal, (dict, list)):
                raise self.fail(pointer, chooser, "only scalar values are supported")
        if values == [None]:
            return Union(name=name, pointer=pointer, alternatives=(), nullable=True)
        return Literal(name=name, pointer=pointer, values=tuple(values))

    def _reference(self, target: Any, pointer: str) -> Node:
        if not isinstance(target, str) or not target.startswith("#/"):
            raise self.fail(pointer, "$ref", f"{target!r} is not a reference inside the document")
        if target in self.open:
            raise self.fail(pointer, "$ref", f"{target!r} leads back to itself")
        if target not in self.known:
            found: Any = self.root
            for part in target[2:].split("/"):
                part = part.replace("~1", "/").replace("~0", "~")
                if not isinstance(found, Mapping) or part not in found:
                    raise self.fail(pointer, "$ref", f"{target!r} does not exist")
                found = found[part]
            self.open.append(target)
            self.known[target] = self.node(found, target[1:], part)
            self.open.pop()
        return self.known[target]

    def _union(self, branches: Any, pointer: str, name: str) -> Node:
        if not isinstance(branches, list) or not branches:
            raise self.fail(pointer, "anyOf", "there is no alternative to choose")
        has_null = False
        alternatives: list[Node] = []
        for index, branch in enumerate(branches):
            if isinstance(branch, Mapping) and (branch.get("type") == "null" or branch.get("const", 0) is None):
                has_null = True
            else:
                alternatives.append(self.node(branch, f"{pointer}/anyOf/{index}"))
        if len(alternatives) == 1 and not has_null:
            return alternatives[0]
        return Union(name=name, pointer=pointer, alternatives=tuple(alternatives), nullable=has_null)

    def _type_list(self, schema: Schema, types: list[Any], pointer: str, name: str) -> Node:
        if not types:
            raise self.fail(pointer, "type", "there is no type to choose")
        rest = {key: value for key, value in schema.items() if key != "type"}
        alternatives = []
        for one in types:
            if one == "null":
                continue
            own = CONSTRAINTS.get(one, _STRUCTURE.get(one, frozenset()))
            others = frozenset().union(*CONSTRAINTS.values(), *_STRUCTURE.values()) - own
            alternatives.append(self.node({**{k: v for k, v in rest.items() if k not in others}, "type": one}, pointer))
        if len(alternatives) == 1 and "null" not in types:
            return alternatives[0]
        return Union(name=name, pointer=pointer, alternatives=tuple(alternatives), nullable="null" in types)

    def _object(self, schema: Schema, pointer: str, name: str) -> Node:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        extra_schema = schema.get("additionalProperties", True)
        extra = None if extra_schema is False else self.node(extra_schema, f"{pointer}/additionalProperties")
        for key in required:
            if key not in properties:
                raise self.fail(pointer, "required", f"{key!r} is required but not among the properties")
        fields = tuple(
            Field(key, self.node(value, f"{pointer}/properties/{_escape(key)}"), key in required)
            for key, value in properties.items()
        )
        return Object(name=name, pointer=pointer, fields=fields, extra=extra)

    def _array(self, schema: Schema, pointer: str, name: str) -> Node:
        smallest, largest = schema.get("minItems", 0), schema.get("maxItems")
        if largest is not None and smallest > largest:
            raise self.fail(pointer, "minItems", f"{smallest} contradicts maxItems {largest}")
        items = self.node(schema.get("items", True), f"{pointer}/items")
        return Array(name=name, pointer=pointer, items=items, smallest=smallest, largest=largest)

    def _scalar(self, schema: Schema, one: str, pointer: str, name: str) -> Node:
        if one == "null":
            return Union(name=name, pointer=pointer, alternatives=(), nullable=True)
        leaf = {key: schema[key] for key in ("type", *sorted(CONSTRAINTS[one])) if key in schema}
        for low, high in (("minimum", "maximum"), ("minLength", "maxLength")):
            if low in leaf and high in leaf and leaf[low] > leaf[high]:
                raise self.fail(pointer, low, f"{leaf[low]} contradicts {high} {leaf[high]}")
        if "pattern" in leaf:
            try:
                re.compile(leaf["pattern"])
            except re.error as error:
                raise self.fail(pointer, "pattern", f"not a regular expression: {error}") from error
        return Scalar(name=name, pointer=pointer, type=one, schema=leaf)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
