"""Strategies for the operations beside create: their query parameters and bodies, and deterministic sets of both.

Everything is made from the schemas ``query`` and ``body`` of the dialect's operations
(:func:`rejoinder.contract.load_operations`). A query is made as an object of typed values;
:func:`rejoinder.wire.query.encode_query` writes it. Operations without a query or a body have the empty object.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from rejoinder.contract import DEFAULT_DIALECT, Operation, SchemaVariant, as_variant, load_dialect
from rejoinder.contract.nodes import Array, Literal, Node, Object, Scalar, Union, parse, strip
from rejoinder.errors import suggest
from rejoinder.model.tags import FaultKind
from rejoinder.strategies.options import AnyDialect, errors_when_drawn, reference
from rejoinder.strategies.profile import EndpointProfile
from rejoinder.strategies.schema.compiler import Compiler
from rejoinder.strategies.sets.invalid import PermissiveReading
from rejoinder.strategies.sets.systematic import field_levels
from rejoinder.wire.query import decode_query, encode_query

__all__ = [
    "OperationCase",
    "invalid_operation_cases",
    "invalid_operation_requests",
    "operation_bodies",
    "operation_cases",
    "operation_queries",
]

#: Query parameters that choose another form of the response, such as a replay of a stream. They have a meaning only
#: for responses that have this form.
OF_STREAMS: Final = frozenset({"stream", "starting_after", "include_obfuscation"})
#: Query parameters that hold the id of an item in the list, so only whoever read the list knows a value.
CURSORS: Final = frozenset({"after", "before"})
_NO_SUCH: Final = "no_such_value"
_FAULTS: Final[Mapping[str, FaultKind]] = {
    "root": FaultKind.ROOT,
    "null": FaultKind.NULL,
    "type": FaultKind.TYPE,
    "required": FaultKind.MISSING,
    "enum": FaultKind.VALUE,
}
"""What mutants have wrong with them, by their kind or else by the keyword that refuses them; other keywords limit."""
_DEEPEST: Final = 2
"""How many levels of a body have faults; what lies deeper is that of create requests."""


@dataclass(frozen=True, slots=True)
class OperationCase:
    """One request for an operation.

    ``query`` and ``body`` are what is sent, ``body`` is ``None`` for operations without one. ``param`` is the parameter
    or field that the case is about, empty for the plainest request. ``fault`` is what is wrong with it, ``None`` for a
    valid request.
    """

    operation: str
    name: str
    query: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None
    param: str = ""
    fault: FaultKind | None = None

    @property
    def id(self) -> str:
        """A stable ASCII id: ``input_items.limit.100``."""
        return ".".join(part for part in (self.operation, self.name) if part)


@errors_when_drawn
def operation_queries(operation: str, *, dialect: AnyDialect = DEFAULT_DIALECT) -> SearchStrategy[dict[str, Any]]:
    """Query parameters of an operation of the dialect, before they are encoded.

    Parameters that only streams have, and cursors into a list that only an endpoint knows, are left out. Shrinks
    towards no parameters. Raises ``InvalidArgument`` for an operation that the dialect does not have.
    """
    root = _query_nodes(_named(operation, reference(dialect)))
    return st.just({}) if root is None else Compiler().strategy(root)


@errors_when_drawn
def operation_bodies(
    operation: str, *, dialect: AnyDialect = DEFAULT_DIALECT, profile: EndpointProfile | None = None
) -> SearchStrategy[Any]:
    """Bodies of requests for an operation of the dialect.

    With ``profile`` bodies name its model and keep to what can be served there. Operations without a body have the
    empty object. Shrinks towards the fields that are required. Raises ``InvalidArgument`` for an operation that the
    dialect does not have.
    """
    root = _body_nodes(_named(operation, reference(dialect)), profile)
    return st.just({}) if root is None else Compiler().strategy(root)


@errors_when_drawn
def invalid_operation_requests(
    operation: str, *, dialect: AnyDialect = DEFAULT_DIALECT, profile: EndpointProfile | None = None
) -> SearchStrategy[OperationCase]:
    """Requests for an operation that are surely invalid by one fault. Shrinks towards the first of them.

    Raises ``InvalidArgument`` for an operation that the dialect does not have, or without anything to be wrong.
    """
    found = invalid_operation_cases(operation, dialect=dialect, profile=profile)
    if not found:
        raise InvalidArgument(f"the operation {operation!r} has no query and no body, so nothing in it can be invalid")
    return st.sampled_from(found)


def operation_cases(
    operation: str, *, dialect: AnyDialect = DEFAULT_DIALECT, profile: EndpointProfile | None = None, levels: int = 4
) -> list[OperationCase]:
    """Return valid requests for an operation: the plainest one, then each with one parameter or field more.

    Parameters have every value of an enumeration and both ends of a range, fields up to ``levels`` values each. The
    arguments are those of :func:`operation_bodies`, and errors are raised at once.
    """
    found = _named(operation, reference(dialect))
    bodies = list(_bodies(found, profile, levels))
    plain = bodies[0][2]
    queries = [
        OperationCase(found.name, f"{name}.{label}", {name: value}, plain, name) for name, label, value in _ends(found)
    ]
    return [OperationCase(found.name, label, {}, body, param) for label, param, body in bodies] + queries


def invalid_operation_cases(
    operation: str, *, dialect: AnyDialect = DEFAULT_DIALECT, profile: EndpointProfile | None = None
) -> list[OperationCase]:
    """Return requests for an operation with one fault each, which no document of the dialect allows.

    The faults are values outside of a range, of no known name and of another type in a parameter, and the faults of
    :func:`~rejoinder.strategies.surely_invalid` in the upper levels of a body.
    """
    found = _named(operation, reference(dialect))
    bodies = list(_bodies(found, profile, 1))
    return [*_wrong_queries(found, bodies[0][2]), *_wrong_bodies(found, bodies, reference(dialect))]


def _named(operation: str, dialect: str) -> Operation:
    known = load_dialect(dialect).operations
    if operation not in known:
        hint = suggest(str(operation), known, f"It has {', '.join(known)}." if known else "It has none.")
        raise InvalidArgument(f"the dialect has no operation {operation!r}. {hint}")
    return known[operation]


def _query_nodes(operation: Operation) -> Object | None:
    """Return the parameters that can be drawn for any response, ``None`` without any."""
    if operation.query is None:
        return None
    root = _nodes(operation.query, SchemaVariant.GENERATION)
    if not isinstance(root, Object):
        return None
    kept = tuple(item for item in root.fields if item.name not in OF_STREAMS | CURSORS)
    return replace(root, fields=kept)


def _body_nodes(operation: Operation, profile: EndpointProfile | None) -> Object | None:
    if operation.body is None:
        return None
    root = _nodes(operation.body, SchemaVariant.GENERATION)
    assert isinstance(root, Object)
    return root if profile is None else profile.narrow(root)


def _nodes(schema: Mapping[str, Any], variant: SchemaVariant) -> Node:
    return _parsed(json.dumps(schema), variant)


@lru_cache(maxsize=64)
def _parsed(schema: str, variant: SchemaVariant) -> Node:
    return parse(as_variant(json.loads(schema), variant), file="operations.schema.json")


def _bodies(operation: Operation, profile: EndpointProfile | None, most: int) -> Iterator[tuple[str, str, Any]]:
    """Yield name, field and body of valid requests, the plainest first; ``None`` for an operation without a body."""
    root = _body_nodes(operation, profile)
    if root is None:
        yield "", "", None
        return
    seen: dict[str, int] = {}
    names: dict[str, int] = {}
    for label, body in field_levels(root):
        param = label.partition(".")[0]
        seen[param] = seen.get(param, 0) + 1
        if seen[param] <= most and operation.body_validator.is_valid(body):
            names[label] = names.get(label, 0) + 1
            yield label if names[label] == 1 else f"{label}.{names[label]}", param, body


def _ends(operation: Operation) -> Iterator[tuple[str, str, Any]]:
    """Yield parameter, label and value of the ends of all parameters."""
    root = _query_nodes(operation)
    for item in root.fields if root is not None else ():
        for value in _values(strip(item.node)):
            label = str(value).lower() if not isinstance(value, list) else str(value[0]) if len(value) == 1 else "all"
            yield item.name, label, value


def _values(node: Node) -> Iterator[Any]:
    if isinstance(node, Union):
        for branch in node.alternatives:
            yield from _values(branch)
    elif isinstance(node, Literal):
        yield from node.values
    elif isinstance(node, Array):
        inner = list(_values(node.items))
        yield from ([value] for value in inner)
        if len(inner) > 1:
            yield inner
    elif isinstance(node, Scalar) and node.type == "integer":
        ends = [node.schema[end] for end in ("minimum", "maximum") if end in node.schema]
        yield from ends or [1]
    elif isinstance(node, Scalar) and node.type == "boolean":
        yield from (True, False)


def _wrong_queries(operation: Operation, body: Any) -> Iterator[OperationCase]:
    """Yield requests with one wrong parameter, which is wrong in the form in which it is sent."""
    root = _query_nodes(operation)
    if root is None or operation.query is None:
        return
    for item in root.fields:
        for label, value, fault in _wrong_values(strip(item.node)):
            sent = decode_query(encode_query({item.name: value}), operation.query)
            if not operation.query_validator.is_valid(sent):
                yield OperationCase(operation.name, f"{item.name}.{label}", {item.name: value}, body, item.name, fault)


def _wrong_values(node: Node) -> Iterator[tuple[str, Any, FaultKind]]:
    if isinstance(node, Literal):
        yield "unknown", _NO_SUCH, FaultKind.VALUE
    elif isinstance(node, Array):
        yield from ((label, [value], fault) for label, value, fault in _wrong_values(strip(node.items)))
    elif isinstance(node, Scalar) and node.type == "integer":
        yield "word", "seven", FaultKind.TYPE
        yield "fraction", 1.5, FaultKind.TYPE
        for name, end, step in (("below", "minimum", -1), ("above", "maximum", 1)):
            if end in node.schema:
                yield name, node.schema[end] + step, FaultKind.RANGE
    elif isinstance(node, Scalar) and node.type == "boolean":
        yield "word", "maybe", FaultKind.TYPE


def _wrong_bodies(operation: Operation, bodies: list[tuple[str, str, Any]], dialect: str) -> Iterator[OperationCase]:
    if operation.body is None:
        return
    root = _nodes(operation.body, SchemaVariant.PERMISSIVE)
    assert isinstance(root, Object)
    reading = PermissiveReading(operation.body, load_dialect(dialect).request["allowed_faults"], root)
    known: set[tuple[str, str, str]] = set()
    names: set[str] = set()
    for _, _, body in bodies:
        for mutant in reading.mutants(body, "request", "", known):
            known.add((mutant.kind, mutant.variant, mutant.location))
            if mutant.pointer.count("/") > _DEEPEST:
                continue
            fault = _FAULTS.get(mutant.kind, _FAULTS.get(mutant.keyword, FaultKind.RANGE))
            name = mutant.id.removeprefix("invalid.").replace(".request", "", 1)
            if name in names:
                continue
            names.add(name)
            yield OperationCase(operation.name, name, {}, mutant.body, mutant.param, fault)
