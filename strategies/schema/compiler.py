"""From JSON Schema to Hypothesis strategies.

The compiler knows a small part of JSON Schema 2020-12 and refuses the rest (:class:`~rejoinder.errors.ContractError`
names file, pointer and keyword), so that a schema is either honoured completely or not used at all:

- ``type``, ``const``, ``enum``, ``anyOf``, ``$ref`` inside the document, which may lead back to itself;
- ``properties``, ``required``, ``additionalProperties``, ``minProperties``, ``maxProperties``, ``propertyNames`` and
  ``dependentRequired`` of objects;
- ``items``, ``minItems``, ``maxItems`` and ``uniqueItems`` of arrays;
- bounds of numbers; length, ``pattern`` and ``format`` of strings;
- annotations: ``title``, ``description``, ``default``, ``examples``, ``deprecated``, ``$comment``, ``x-...``.

Three decisions shape the bodies. Constants are never drawn, and the alternatives of a union stand in the order of what
their smallest value costs to draw, so that a useless element of a list first turns into the cheapest alternative and is
then deleted. Every optional field carries its own choice of absent, null or value directly before its value, so that
one field can be dropped without moving the choices of its neighbours; the same choice picks the alternative of a union
or the value of an enumeration. And an alternative is drawn the more often the more there is to reach inside of it
(:meth:`Compiler.reach`), so that no branch is starved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rejoinder.contract.exclusions import Exclusion, without_excluded
from rejoinder.contract.nodes import (
    Anything,
    Array,
    Field,
    Literal,
    Node,
    Object,
    Scalar,
    Schema,
    Union,
    canonical,
    closure,
    finite_values,
    parse,
    possible_fields,
)
from rejoinder.json_copy import copy_json
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies._provider import direct, element, inline, place
from rejoinder.strategies.schema import leaves
from rejoinder.strategies.schema.leaves import Alternative

__all__ = ["Compiler", "from_contract"]

#: Objects with more optional fields than this are drawn as a list of fields: most fields are then absent.
_WIDE: Final = 8
#: How many fields of a wide object are there on average.
_OF_WIDE: Final = 3
#: How many fields are drawn for it at most.
_MOST_OF_WIDE: Final = 10
#: In which part of the draws an optional field is absent, at least and at most.
_ABSENT: Final = (0.2, 0.7)
#: From which reach on elements are rich: lists of them are longer, so that there are more of them to choose from.
_RICH: Final = 64
#: Into how many parts the choice between alternatives is divided at least. Hypothesis draws the integers below 256
#: equally often.
_RESOLUTION: Final = 256
#: No alternative is taken more than so many times as rarely as it would be if all were equal.
_LEAST: Final = 8
#: How long lists and maps usually are where the schema allows more, and up to which size a map is also filled.
_USUAL: Final = 8
_FULL: Final = 32
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
    instead. ``max_items`` limits lists that the schema does not limit. ``lengths`` are how many elements the lists have
    on average that ``override`` draws.
    """

    def __init__(
        self,
        override: Override | None = None,
        *,
        max_items: int = 4,
        lengths: Mapping[Node, float] | None = None,
    ) -> None:
        self._override = override
        self._max_items = max_items
        self._lengths = lengths or {}
        self._known: dict[tuple[Node, str], SearchStrategy[Any]] = {}
        self._costs: dict[Node, int] = {}
        self._reaches: dict[Node, float] = {}

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

    def choice(self, nodes: Iterable[Node]) -> SearchStrategy[Any]:
        """Return the strategy for a value of one of the nodes, the cheapest to draw first."""
        parts = tuple(nodes)
        return self.strategy(parts[0] if len(parts) == 1 else Union(alternatives=parts, nullable=False))

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

    def reach(self, node: Node) -> float:
        """Return in how many draws of ``node`` its rarest branch occurs about once, if alternatives are drawn so."""
        if node not in self._reaches:
            self._reaches[node] = self._reach(node)
        return self._reaches[node]

    def _reach(self, node: Node) -> float:
        if isinstance(node, Literal):
            return float(len(node.values))
        if isinstance(node, Array):
            return 1 + self.reach(node.items) / max(self._mean_length(node), 0.5)
        if isinstance(node, Union):
            return sum(self.reach(branch) for branch in node.alternatives) + node.nullable
        if isinstance(node, Object) and node.fields:
            rarest, absences = self._rarest(node), self._absences(node)
            optional = {item.name: self.reach(item.node) + 1 for item in node.fields if item.name in absences}
            found = [max(optional[name] / (1 - share), 1 / share) for name, share in absences.items()]
            return max([rarest, *found])
        if isinstance(node, Object) and node.extra is not None:
            return 1 + self.reach(node.extra) / 2
        return 1.0

    def _heavy(self, node: Object) -> list[Field]:
        """Return the optional fields of which each has a choice of its own: all, or the heavy ones of a wide object."""
        optional = [item for item in node.fields if not item.required]
        if len(optional) <= _WIDE:
            return optional
        whole = sum(self.reach(item.node) + 1 for item in optional)
        return [item for item in optional if self.reach(item.node) + 1 > whole / _WIDE]

    def _rarest(self, node: Object) -> float:
        """Return in how many draws the rarest branch of an object occurs about once, however it is drawn."""
        heavy = self._heavy(node)
        light = [self.reach(item.node) + 1 for item in node.fields if not item.required and item not in heavy]
        optional = [(self.reach(item.node) + 1) / (1 - _ABSENT[0]) for item in heavy]
        required = [self.reach(item.node) for item in node.fields if item.required]
        return max([*required, *optional, sum(light) / _OF_WIDE])

    def _absences(self, node: Object) -> dict[str, float]:
        """Return in which part of the draws each of the optional fields with a choice of its own is absent.

        The less there is inside of it, compared with the rest of the object, the more often.
        """
        least, most = _ABSENT
        rarest = self._rarest(node)
        return {
            item.name: min(most, max(least, 1 - (self.reach(item.node) + 1) / rarest)) for item in self._heavy(node)
        }

    def _mean_length(self, node: Array) -> float:
        if node in self._lengths:
            return self._lengths[node]
        return mean_length(node.smallest, self._usual(node), decline=self._decline(node))

    def _is_rich(self, node: Array) -> bool:
        return self.reach(node.items) > _RICH

    def _usual(self, node: Array) -> int:
        """Return how long a list may usually be."""
        most = self._max_items + 2 * self._is_rich(node)
        largest = max(node.smallest, most) if node.largest is None else node.largest
        return min(largest, max(node.smallest, _USUAL))

    def _decline(self, node: Array) -> float:
        """Return how much rarer longer lists are, as :func:`listed` has it."""
        return 0.3 if self._is_rich(node) else 2

    def _build(self, node: Node, field: str) -> SearchStrategy[Any]:
        if isinstance(node, Scalar | Union | Literal | Array):
            entries = self._alternatives(node, field, overridden=True)
            return st.nothing() if not entries else _picked(_ChoiceTable(entries, node.label))
        if isinstance(node, Object):
            return self._object(node, field)
        assert isinstance(node, Anything)
        return leaves.json_schemas() if field in _SCHEMA_FIELDS else leaves.json_values()

    def _alternatives(self, node: Node, field: str, *, overridden: bool = False) -> list[Alternative]:
        """Return what may be drawn for a node, the plainest first; ``overridden`` that no override takes its place."""
        own = self._override(node, field) if self._override and not overridden else None
        if own is not None:
            return [Alternative(1, own)]
        if isinstance(node, Scalar):
            return leaves.alternatives(node.schema)
        if isinstance(node, Literal):
            return leaves.constants(node.values)
        if isinstance(node, Array):
            return self._lists(node)
        if not isinstance(node, Union):
            return [Alternative(1, self.strategy(node, field))]
        branches = self.ordered(node)
        reaches = [self.reach(branch) for branch in branches]
        least = sum(reaches) / _LEAST / max(len(reaches), 1)
        found = [Alternative(max(1.0, sum(reaches) / 8), None)] if node.nullable else []
        for branch, reach in zip(branches, reaches, strict=True):
            inner = self._alternatives(branch, field)
            whole = sum(entry.weight for entry in inner)
            found += [entry._replace(weight=entry.weight / whole * max(reach, least)) for entry in inner]
        return found

    def _lists(self, node: Array) -> list[Alternative]:
        """Return one alternative for each length, so that no list takes a choice for its length alone."""
        largest = max(node.smallest, self._max_items) if node.largest is None else node.largest
        if largest == 0:
            return [Alternative(1, None, [])]
        items = self.strategy(node.items)
        usual = self._usual(node)
        if node.unique:
            known = finite_values(node.items)
            most = usual if known is None else min(usual, len(known))
            return [Alternative(1, st.lists(items, min_size=node.smallest, max_size=most, unique_by=canonical))]
        found = lists(items, node.smallest, usual, decline=self._decline(node))
        if node.largest is None or largest == node.smallest:
            return found
        full = st.builds(_cycled, listed(items, 1, 2), st.sampled_from(sorted({largest - 1, largest} - {0})))
        return [*found, Alternative(sum(entry.weight for entry in found) / 30, full, extreme=True)]

    def _object(self, node: Object, field: str) -> SearchStrategy[Any]:
        unlimited = node.names is None and node.largest is None and not node.smallest
        if node.free and unlimited:
            return leaves.json_schemas() if field in _SCHEMA_FIELDS else leaves.json_objects()
        if not node.fields:
            return self._map(node)
        required = [item for item in node.fields if item.required]
        optional = [item for item in node.fields if not item.required]
        drawn = [item for item in required if not _constant(item.node)]
        plan = _Plan(
            name=node.name or field or "object",
            constants={item.name: value for item in required for value in _constant(item.node)},
            required=[(item.name, self._table(item)) for item in drawn],
        )
        heavy, absences = self._heavy(node), self._absences(node)
        light = [item for item in optional if item not in heavy]
        if light:
            plan.chosen = direct(listed(_pairs(self._wide(light)), 0, _MOST_OF_WIDE, decline=0.7))
        plan.optional = [(item.name, self._table(item, absences[item.name])) for item in heavy]
        if node.dependent or node.smallest or node.largest is not None:
            plan.limits = _FieldLimits(
                node,
                {item.name: self.strategy(item.node, item.name) for item in node.fields if not item.required},
                self._others(node),
            )
        plan.exclusions = node.exclusions
        plan.keep = frozenset(item.name for item in required)
        return _objects(plan)

    def _others(self, node: Object) -> SearchStrategy[dict[str, Any]] | None:
        """Return further properties of an object, as many as its fields cannot make up for; ``None`` without any."""
        fewest = node.smallest - len(possible_fields(node) or ())
        if node.extra is None or fewest <= 0:
            return None
        known = {item.name for item in node.fields}
        names = (leaves.NAMES if node.names is None else self.strategy(node.names)).filter(
            lambda name: name not in known
        )
        return st.dictionaries(names, self.strategy(node.extra), min_size=fewest, max_size=fewest)

    def _map(self, node: Object) -> SearchStrategy[Any]:
        if node.extra is None:
            return st.builds(dict)
        names = leaves.NAMES if node.names is None else self.strategy(node.names)
        values = self.strategy(node.extra)
        largest = max(node.smallest, self._max_items) if node.largest is None else node.largest
        known = None if node.names is None else finite_values(node.names)
        largest = largest if known is None else min(largest, len(known))
        usual = min(largest, max(node.smallest, _USUAL))
        maps = st.dictionaries(names, values, min_size=node.smallest, max_size=usual)
        if node.largest is None or largest == node.smallest or largest > _FULL:
            return maps
        full = st.dictionaries(names, values, min_size=largest, max_size=largest)
        return _picked(_ChoiceTable([Alternative(30, maps), Alternative(1, full, extreme=True)], "map"))

    def _table(self, item: Field, absent: float = 0) -> _ChoiceTable:
        """Return the choice of a field's value, and first of its absence in a part of the draws."""
        found = self._alternatives(item.node, item.name)
        if absent:
            whole = sum(entry.weight for entry in found)
            found.insert(0, Alternative(whole * absent / (1 - absent), None, ABSENT))
        return _ChoiceTable(found, item.name)

    def _wide(self, optional: list[Field]) -> _ChoiceTable:
        """Return the choice of one field, with its value, of many."""
        entries = []
        for item in sorted(optional, key=lambda item: self.cost(item.node)):
            found = self._alternatives(item.node, item.name)
            whole = sum(entry.weight for entry in found)
            share = self.reach(item.node) + 1
            entries += [entry._replace(weight=entry.weight / whole * share, name=item.name) for entry in found]
        least = sum(entry.weight for entry in entries) / len(optional) / _LEAST
        totals: dict[str, float] = {}
        for entry in entries:
            totals[entry.name] = totals.get(entry.name, 0) + entry.weight
        return _ChoiceTable(
            [entry._replace(weight=entry.weight * max(1.0, least / totals[entry.name])) for entry in entries], "fields"
        )


def _cycled(items: list[Any], length: int) -> list[Any]:
    return [copy_json(items[index % len(items)]) for index in range(length)]


def _constant(node: Node) -> tuple[Any, ...]:
    """Return the only value of ``node`` in a tuple, an empty one when there is a choice or the value is mutable."""
    if isinstance(node, Literal) and len(node.values) == 1 and not isinstance(node.values[0], dict | list):
        return node.values
    return ()


class _ChoiceTable:
    """Weighted alternatives. No dataclass: Hypothesis would print all of it in its messages.

    One integer chooses; the lower it is, the plainer is what it chooses. ``places`` maps it to the place of the
    alternative in ``entries``.
    """

    def __init__(self, entries: list[Alternative], label: str) -> None:
        self.label = label
        made = [
            entry if entry.strategy is None else entry._replace(strategy=direct(entry.strategy)) for entry in entries
        ]
        self.entries = sorted(made, key=lambda entry: entry.extreme)
        counts = _shares([entry.weight for entry in self.entries])
        self.places = tuple(number for number, count in enumerate(counts) for _ in range(count))

    def __repr__(self) -> str:
        return self.label

    def pick(self, draw: st.DrawFn) -> Alternative:
        return self.entries[0 if len(self.entries) == 1 else self.places[place(draw, len(self.places))]]


def _shares(weights: list[float]) -> list[int]:
    """Return how many of the places each weight gets, so that none has much less than its part."""
    if len(set(weights)) == 1:
        return [1] * len(weights)
    size, whole = max(_RESOLUTION, 3 * len(weights)), sum(weights)
    counts = [max(1, int(weight / whole * size)) for weight in weights]
    worst = sorted(range(len(weights)), key=lambda number: counts[number] / weights[number])
    for number in worst[: max(0, size - sum(counts))]:
        counts[number] += 1
    return counts


def _drawn(draw: st.DrawFn, entry: Alternative) -> Any:
    if entry.strategy is not None:
        return inline(draw, entry.strategy)
    return copy_json(entry.value) if isinstance(entry.value, dict | list) else entry.value


@st.composite
def _picked(draw: st.DrawFn, table: _ChoiceTable) -> Any:
    return _drawn(draw, table.pick(draw))


@st.composite
def _pairs(draw: st.DrawFn, table: _ChoiceTable) -> tuple[str, Any]:
    entry = table.pick(draw)
    return entry.name, _drawn(draw, entry)


@st.composite
def _list(draw: st.DrawFn, items: SearchStrategy[Any], length: int) -> list[Any]:
    return [element(draw, items) for _ in range(length)]


_EMPTY: Final[SearchStrategy[list[Any]]] = st.booleans().map(lambda _: [])
"""An empty list that costs a choice as a text does, since shrinking prefers what costs none: a text is plainer."""


def lists(items: SearchStrategy[Any], smallest: int, largest: int, *, decline: float = 2) -> list[Alternative]:
    """Return lists of ``smallest`` to ``largest`` elements, an alternative for each length, the shortest first.

    A list with ``n`` elements more than usual is ``(n + 1) ** decline`` times as rare as a usual one.
    """
    items = direct(items)
    return [
        Alternative(weight, _list(items, length) if length else _EMPTY)
        for length, weight in _lengths(smallest, largest, decline).items()
    ]


def listed(items: SearchStrategy[Any], smallest: int, largest: int, *, decline: float = 2) -> SearchStrategy[list[Any]]:
    """Lists of ``smallest`` to ``largest`` elements, as :func:`lists` has them, for one choice of the length."""
    return _picked(_ChoiceTable(lists(items, smallest, largest, decline=decline), "length"))


def mean_length(smallest: int, largest: int, *, decline: float) -> float:
    """Return how many elements the lists of :func:`listed` have on average."""
    lengths = _lengths(smallest, largest, decline)
    return sum(weight * length for length, weight in lengths.items()) / sum(lengths.values())


def _lengths(smallest: int, largest: int, decline: float) -> dict[int, float]:
    """Return how often there are lists of each length, compared with each other."""
    usual = max(smallest, 1)
    return {
        length: 1 / (1 + abs(length - usual)) ** decline if length else 0.4 for length in range(smallest, largest + 1)
    }


class _FieldLimits:
    """What binds the fields of an object to each other: how many there are, and which require which."""

    def __init__(
        self,
        node: Object,
        optional: dict[str, SearchStrategy[Any]],
        others: SearchStrategy[dict[str, Any]] | None,
    ) -> None:
        self.node = node
        self.optional = optional
        self.others = others
        self.possible = possible_fields(node) or frozenset()

    def settle(self, draw: st.DrawFn, value: dict[str, Any]) -> None:
        """Add the fields that are lacking, then take away those that are too many."""
        self._complete(draw, value, value)
        for name in self.optional:
            if len(value) < self.node.smallest and name not in value:
                self._complete(draw, value, [name])
        for name in reversed(self.optional):
            if not self._has_too_many(value):
                break
            for other in self._with(name, value):
                del value[other]
        if self._has_too_many(value) or (self.others is None and len(value) < self.node.smallest):
            for name in self.optional:
                if name not in self.possible:
                    value.pop(name, None)
            self._complete(draw, value, self.possible)
        if self.others is not None and len(value) < self.node.smallest:
            value.update(draw(self.others).items())
            for name in [name for name in value if name not in self.optional][::-1]:
                if not self._has_too_many(value):
                    break
                if not any(name == item.name for item in self.node.fields):
                    del value[name]

    def _has_too_many(self, value: dict[str, Any]) -> bool:
        return self.node.largest is not None and len(value) > self.node.largest

    def _with(self, name: str, value: dict[str, Any]) -> set[str]:
        """Return the fields that go with one that is taken away; none where one of them has to stay."""
        found = {other for other in value if name in closure([other], self.node.dependent)}
        return found if found <= self.optional.keys() else set()

    def _complete(self, draw: st.DrawFn, value: dict[str, Any], names: Iterable[str]) -> None:
        """Add fields with all that they require."""
        for name in sorted(closure(names, self.node.dependent)):
            if name not in value and name in self.optional:
                value[name] = draw(self.optional[name])


class _Plan:
    """What to draw for an object. No dataclass: Hypothesis would print all of it in its messages."""

    def __init__(self, name: str, constants: Mapping[str, Any], required: list[tuple[str, _ChoiceTable]]) -> None:
        self.name = name
        self.constants = constants
        self.required = required
        self.optional: list[tuple[str, _ChoiceTable]] = []
        self.chosen: SearchStrategy[list[tuple[str, Any]]] | None = None
        self.limits: _FieldLimits | None = None
        self.exclusions: tuple[Exclusion, ...] = ()
        self.keep: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return self.name


@st.composite
def _objects(draw: st.DrawFn, plan: _Plan) -> dict[str, Any]:
    value = dict(plan.constants)
    for name, table in plan.required:
        value[name] = _drawn(draw, table.pick(draw))
    for name, table in plan.optional:
        entry = table.pick(draw)
        if entry.value is not ABSENT:
            value[name] = _drawn(draw, entry)
    if plan.chosen is not None:
        value.update(draw(plan.chosen))
    if plan.limits is not None:
        plan.limits.settle(draw, value)
    return without_excluded(value, plan.exclusions, plan.keep) if plan.exclusions else value
