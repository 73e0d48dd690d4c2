"""From JSON Schema to Hypothesis strategies.

The compiler knows a small part of JSON Schema 2020-12 and refuses the rest (:class:`~rejoinder.errors.ContractError`
names file, pointer and keyword), so that a schema is either honoured completely or not used at all:

- ``type``, ``const``, ``enum``, ``anyOf``, ``$ref`` inside the document (no recursion);
- ``properties``, ``required`` and ``additionalProperties`` of objects; ``items``, ``minItems``, ``maxItems`` of arrays;
- bounds of numbers; length, ``pattern`` and ``format`` of strings;
- annotations: ``title``, ``description``, ``default``, ``examples``, ``deprecated``, ``$comment``, ``x-...``.

Two decisions make the bodies shrink well. Constants are never drawn, and the alternatives of a union stand in the
order of what their smallest value costs to draw, so that a useless element of a list first turns into the cheapest
alternative and is then deleted. And every optional field carries its own choice of absent, null or value directly
before its value, so that one field can be dropped without moving the choices of its neighbours.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rejoinder.contract.nodes import Anything, Array, Field, Literal, Node, Object, Scalar, Schema, Union, parse
from rejoinder.strategies.schema import leaves

__all__ = ["Compiler", "from_contract"]

#: Objects with more optional fields than this are drawn as a list of fields: most fields are then absent.
_WIDE: Final = 8
#: Free objects with these names hold a JSON Schema.
_SCHEMA_FIELDS: Final = frozenset({"parameters", "schema", "input_schema"})

Override = Callable[[Node, str], SearchStrategy[Any] | None]


def from_contract(schema: Schema, *, file: str = "schema") -> SearchStrategy[Any]:
    """Values that are valid under ``schema``, a custom overlay or schema.

    ``file`` is the name that errors give it. Raises :class:`~rejoinder.errors.ContractError` at once, not when drawing.
    Shrinks towards the first-cheapest alternative with no optional field.
    """
    return Compiler().strategy(parse(schema, file=file))


class Compiler:
    """Turns nodes into strategies and remembers them.

    ``override`` is called first for every node, with the name of the field that holds it; what it returns is used
    instead. ``max_items`` limits lists that the schema does not limit.
    """

    def __init__(self, override: Override | None = None, *, max_items: int = 4) -> None:
        self._override = override
        self._max_items = max_items
        self._known: dict[tuple[Node, str], SearchStrategy[Any]] = {}
        self._costs: dict[Node, int] = {}

    def strategy(self, node: Node, field: str = "") -> SearchStrategy[Any]:
        """Return the strategy for ``node``, which stands in the field named ``field`` (empty for none)."""
        key = (node, field)
        if key not in self._known:
            own = self._override(node, field) if self._override else None
            self._known[key] = self._build(node, field) if own is None else own
        return self._known[key]

    def ordered(self, node: Union) -> list[Node]:
        """Return the alternatives of a union, the cheapest to draw first."""
        return sorted(node.alternatives, key=self.cost)

    def cost(self, node: Node) -> int:
        """Return how many choices the smallest value of ``node`` takes to draw."""
        if node not in self._costs:
            self._costs[node] = self._cost(node)
        return self._costs[node]

    def _cost(self, node: Node) -> int:
        if isinstance(node, Literal):
            return int(len(node.values) > 1)
        if isinstance(node, Array):
            return 1 + node.smallest * (1 + self.cost(node.items))
        if isinstance(node, Union):
            cheapest = min((self.cost(branch) for branch in node.alternatives), default=0)
            return cheapest + int(len(node.alternatives) + node.nullable > 1)
        if isinstance(node, Object):
            if not node.fields:
                return 1
            return sum(self.cost(field.node) if field.required else 1 for field in node.fields)
        return 1

    def _build(self, node: Node, field: str) -> SearchStrategy[Any]:
        if isinstance(node, Scalar):
            return leaves.scalars(node.schema)
        if isinstance(node, Literal):
            fixed = _constant(node)
            return st.just(fixed[0]) if fixed else st.sampled_from(node.values).map(copy.deepcopy)
        if isinstance(node, Union):
            branches = [self.strategy(branch, field) for branch in self.ordered(node)]
            return st.one_of(*([st.none()] if node.nullable else []), *branches)
        if isinstance(node, Array):
            largest = max(node.smallest, self._max_items) if node.largest is None else node.largest
            return st.lists(self.strategy(node.items), min_size=node.smallest, max_size=largest)
        if isinstance(node, Object):
            return self._object(node, field)
        assert isinstance(node, Anything)
        return leaves.json_schemas() if field in _SCHEMA_FIELDS else leaves.json_values()

    def _object(self, node: Object, field: str) -> SearchStrategy[Any]:
        if node.free:
            return leaves.json_schemas() if field in _SCHEMA_FIELDS else leaves.json_objects()
        if not node.fields:
            if node.extra is None:
                return st.just({}).map(dict)
            return st.dictionaries(leaves.NAMES, self.strategy(node.extra), max_size=self._max_items)
        required = [item for item in node.fields if item.required]
        optional = [item for item in node.fields if not item.required]
        drawn = [item for item in required if not _constant(item.node)]
        plan = _Plan(
            name=node.name or field or "object",
            constants={item.name: value for item in required for value in _constant(item.node)},
            required=[(item.name, self.strategy(item.node, item.name)) for item in drawn],
        )
        if len(optional) <= _WIDE:
            plan.optional = [self._optional(item) for item in optional]
            return _objects(plan)
        pairs = [
            st.tuples(st.just(item.name), self.strategy(item.node, item.name))
            for item in sorted(optional, key=lambda item: self.cost(item.node))
        ]
        plan.chosen = st.lists(st.one_of(*pairs), unique_by=lambda pair: pair[0], max_size=len(pairs))
        return _objects(plan)

    def _optional(self, item: Field) -> tuple[str, bool, SearchStrategy[Any]]:
        """Return the field's name, whether it may be null, and the strategy of its value (never null then)."""
        node = item.node
        if not isinstance(node, Union) or not node.nullable or not node.alternatives:
            return item.name, False, self.strategy(node, item.name)
        bare = replace(node, nullable=False)
        return item.name, True, self.strategy(bare, item.name)


_ABSENT_OR_VALUE: Final = st.integers(0, 1)
_ABSENT_NULL_OR_VALUE: Final = st.integers(0, 2)


def _constant(node: Node) -> tuple[Any, ...]:
    """Return the only value of ``node`` in a tuple, an empty one when there is a choice or the value is mutable."""
    if isinstance(node, Literal) and len(node.values) == 1 and not isinstance(node.values[0], dict | list):
        return node.values
    return ()


class _Plan:
    """What to draw for an object. No dataclass: Hypothesis would print all of it in its messages."""

    def __init__(
        self, name: str, constants: Mapping[str, Any], required: list[tuple[str, SearchStrategy[Any]]]
    ) -> None:
        self.name = name
        self.constants = constants
        self.required = required
        self.optional: list[tuple[str, bool, SearchStrategy[Any]]] = []
        self.chosen: SearchStrategy[list[tuple[str, Any]]] | None = None

    def __repr__(self) -> str:
        return self.name


@st.composite
def _objects(draw: st.DrawFn, plan: _Plan) -> dict[str, Any]:
    value = dict(plan.constants)
    for name, strategy in plan.required:
        value[name] = draw(strategy)
    for name, can_be_null, strategy in plan.optional:
        state = draw(_ABSENT_NULL_OR_VALUE if can_be_null else _ABSENT_OR_VALUE)
        if state:
            value[name] = None if can_be_null and state == 1 else draw(strategy)
    if plan.chosen is not None:
        value.update(draw(plan.chosen))
    return value
