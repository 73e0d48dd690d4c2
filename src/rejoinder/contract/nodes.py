"""The part of JSON Schema that the contract uses, as a small tree.

:func:`parse` turns a schema into nodes once and refuses what their users would not honour: a keyword outside of the
contract's vocabulary, a reference that leads nowhere or back to itself, a contradiction. Strategies, covering sets,
branches, mutants and the reducer all walk the same nodes, so none of them holds a field list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from rejoinder.contract import DEFAULT_DIALECT, SchemaVariant, request_schema
from rejoinder.contract._vocabulary import KEYWORDS, check
from rejoinder.errors import ContractError
from rejoinder.validation import JSON_TYPES, escape_key, pointer_keys

Schema = Mapping[str, Any]


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
        """Whether the object names no fields and takes anything."""
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
    return _Parser(schema).node(schema, "")


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


def is_null(node: Node) -> bool:
    """Return whether ``null`` is all that is allowed."""
    return isinstance(node, Union) and node.nullable and not node.alternatives


def kind(value: Any) -> str:
    """Return the JSON type of a parsed value; ``1.0`` is a number here, ``True`` a boolean."""
    return JSON_TYPES.get(type(value), "object" if isinstance(value, Mapping) else "array")


@dataclass
class _Parser:
    """Parses one document that was checked; definitions are parsed once and shared."""

    root: Schema
    known: dict[str, Node] = field(default_factory=dict)

    def node(self, schema: Any, pointer: str, name: str = "") -> Node:
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
            items = self.node(schema.get("items", True), f"{pointer}/items")
            smallest, largest = schema.get("minItems", 0), schema.get("maxItems")
            return Array(name=name, pointer=pointer, items=items, smallest=smallest, largest=largest)
        if types == "null":
            return Union(name=name, pointer=pointer, alternatives=(), nullable=True)
        leaf = {key: schema[key] for key in ("type", *sorted(KEYWORDS[types])) if key in schema}
        return Scalar(name=name, pointer=pointer, type=types, schema=leaf)

    def _reference(self, target: str) -> Node:
        if target not in self.known:
            name = pointer_keys(target)[-1]
            self.known[target] = self.node(self.root["$defs"][name], target[1:], name)
        return self.known[target]

    def _union(self, branches: list[Any], pointer: str, name: str) -> Node:
        has_null = False
        alternatives: list[Node] = []
        for index, branch in enumerate(branches):
            if branch is not True and (branch.get("type") == "null" or branch.get("const", 0) is None):
                has_null = True
            else:
                alternatives.append(self.node(branch, f"{pointer}/anyOf/{index}"))
        if len(alternatives) == 1 and not has_null:
            return alternatives[0]
        return Union(name=name, pointer=pointer, alternatives=tuple(alternatives), nullable=has_null)

    def _type_list(self, schema: Schema, types: list[str], pointer: str, name: str) -> Node:
        every = frozenset[str]().union(*KEYWORDS.values())
        alternatives = []
        for one in types:
            if one != "null":
                own = {key: value for key, value in schema.items() if key not in every - KEYWORDS[one]}
                alternatives.append(self.node({**own, "type": one}, pointer))
        if len(alternatives) == 1 and "null" not in types:
            return alternatives[0]
        return Union(name=name, pointer=pointer, alternatives=tuple(alternatives), nullable="null" in types)

    def _object(self, schema: Schema, pointer: str, name: str) -> Node:
        required = schema.get("required", ())
        others = schema.get("additionalProperties", True)
        extra = None if others is False else self.node(others, f"{pointer}/additionalProperties")
        fields = tuple(
            Field(key, self.node(value, f"{pointer}/properties/{escape_key(key)}"), key in required)
            for key, value in schema.get("properties", {}).items()
        )
        return Object(name=name, pointer=pointer, fields=fields, extra=extra)


def _literal(values: list[Any], pointer: str, name: str) -> Node:
    if values == [None]:
        return Union(name=name, pointer=pointer, alternatives=(), nullable=True)
    return Literal(name=name, pointer=pointer, values=tuple(values))
