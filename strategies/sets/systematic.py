"""Deterministic sets of request bodies that cover the contract.

Random generation is the wrong tool for coverage: thousands of bodies still miss branches that a few dozen chosen ones
take. :func:`each_choice` walks the contract instead and sends every branch at least once, in one of several packings.
Values are those of a well-behaved client, and items stand in conversations that a client could have had, so that a
refusal says something about the branch and not about the body around it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import combinations, zip_longest
from typing import Any, Final
from typing import Literal as Choice

import jsonschema_rs
from hypothesis.errors import InvalidArgument

from rejoinder.contract.exclusions import without_excluded
from rejoinder.contract.nodes import Array, Field, Literal, Node, Object, Scalar, Union, flatten, strip
from rejoinder.json_copy import copy_json
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies._conversation import Item, arrange
from rejoinder.strategies.options import AnyDialect
from rejoinder.strategies.profile import EndpointProfile, served
from rejoinder.strategies.sampling import sample
from rejoinder.strategies.schema.compiler import Compiler
from rejoinder.strategies.schema.examples import EMPTY_FIRST, PARAMETERS, VALUES, levels, preferred
from rejoinder.strategies.schema.leaves import scalars

__all__ = ["FormSeed", "GeneratedCase", "each_choice", "form_seeds", "one_factor", "pairwise_cases", "variants"]

Body = dict[str, Any]
Pack = Choice["plain", "variant", "item", "all"] | int
_Mode = Choice["each", "packed", "one"]

_PROMPT: Final = "Say hello."
#: Top-level fields that nearly every endpoint takes, with values that change nothing.
_USUAL: Final[Body] = {
    "instructions": "Answer in one word.",
    "temperature": 1,
    "top_p": 1,
    "metadata": {"key0": "value"},
    "parallel_tool_calls": True,
    "store": True,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [
        {
            "type": "function",
            "name": "get_weather",
            "description": "Look up the weather of a city.",
            "parameters": PARAMETERS,
            "strict": False,
        }
    ],
}


@dataclass(frozen=True, slots=True)
class GeneratedCase:
    """One deterministic request.

    ``id`` is ASCII and stays the same as long as the part of the contract that it covers does. ``intent`` says in one
    sentence what the case is for. ``tags`` are ``plain`` (one item in its simplest form), ``item`` (one item),
    ``packed`` (several items or many fields at once: a refusal of one hides the others), ``field`` (top-level
    fields).
    """

    id: str
    body: Body = field(repr=False)
    intent: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Level:
    """A value of a place in the contract, and a short name of the choice that makes it."""

    label: str
    value: Any


def variants(*, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None) -> dict[str, Object]:
    """Return the alternatives of the input items that can be sent, by name, in the contract's order.

    The first alternative of a ``type`` has its name; a further one adds its definition's name:
    ``function_call``, ``function_call.response_function_tool_call``.
    """
    return dict(_variants(served(profile, dialect)))


def each_choice(
    pack: Pack = "variant", *, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None
) -> list[GeneratedCase]:
    """Return a set of requests in which every branch of the contract occurs.

    ``pack`` says how the instances of input items are spread over requests:

    ``"plain"``
        one request for each variant, in its simplest form. Does not cover every branch.
    ``"variant"``
        the same, and the remaining instances and top-level fields in a few packed requests: at most 60 in all.
    ``"item"``
        one request for each instance of an item: a refusal points at one thing.
    ``"all"``, or a number
        all instances in one request, or that many in each: few and large requests.

    Without ``profile`` the whole undisputed contract of the dialect is covered, with it what can be sent there. The set
    depends on nothing else: equal arguments give equal cases, in the same order. Raises
    ``hypothesis.errors.InvalidArgument`` for another ``pack``.
    """
    if pack not in ("plain", "variant", "item", "all") and (type(pack) is not int or pack < 1):
        raise InvalidArgument(f"pack={pack!r} is none of 'plain', 'variant', 'item', 'all' and no positive number")
    root = served(profile, dialect)
    instances = {name: _variant(name, node) for name, node in _variants(root)}
    rows = _rows(root)
    single = [
        GeneratedCase(
            id=f"item.{name}.{level.label}" if level.label else f"item.{name}",
            body=_body(root, [level.value]),
            intent=f"The endpoint takes an input item of variant {name}"
            + (f": {level.label}." if level.label else "."),
            tags=("item",) if level.label else ("item", "plain"),
        )
        for name, found in instances.items()
        for level in found
    ]
    single.insert(0, _string(root))
    plain = [case for case in single if "plain" in case.tags]
    if pack == "plain":
        return plain
    if pack == "item":
        return [*single, *_packed(root, [], rows, 1)]
    everything = [level.value for found in instances.values() for level in found]
    if pack == "variant":
        rest = [level.value for found in instances.values() for level in found[1:]]
        return [*plain, *_packed(root, rest, rows, -(-len(rest) // max(len(rows), 1)))]
    if pack == "all":
        pack = max(len(everything), 1)
    assert isinstance(pack, int)
    cases = _packed(root, everything, rows, pack)
    return cases if any(isinstance(case.body["input"], str) for case in cases) else [_string(root), *cases]


@dataclass(frozen=True, slots=True)
class Seed:
    """A short valid body for changing: ``below`` points to what it is a seed of, an item or the whole request."""

    variant: str
    below: str
    body: Body


def seeds(*, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None) -> Iterator[Seed]:
    """Yield a body with the most usual top-level fields, then bodies for every branch.

    These have one instance of an item each, in a conversation, or one top-level field each.
    """
    root = served(profile, dialect)
    names = {item.name for item in root.fields}
    usual = {name: copy_json(value) for name, value in _USUAL.items() if name in names}
    yield Seed("request", "", {"input": _PROMPT, **_required(root), **usual})
    for name, node in _variants(root):
        for level in _variant(name, node):
            body, below = _placed(root, level.value)
            yield Seed(name, below, body)
    for item in root.fields:
        if item.name == "input":
            continue
        for level in _factor(item):
            body = {"input": _PROMPT, **_required(root)}
            if level.value is not ABSENT:
                body[item.name] = copy_json(level.value)
            yield Seed("request", "", body)


@dataclass(frozen=True, slots=True)
class FormSeed:
    """A valid body whose optional fields are to be changed one at a time.

    ``id`` names the item, tool or setting that it is for. The fields are those of the objects below the JSON pointer
    ``below`` that ``owners`` name by their type, or by their field where they have none.
    """

    id: str
    below: str
    owners: tuple[str, ...]
    body: Body


def form_seeds(*, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None) -> Iterator[FormSeed]:
    """Yield a body for each variant of an input item, each type of tool and each object among the top-level fields.

    They are in their plainest form, and items stand in a conversation.
    """
    root = served(profile, dialect)
    for name, node in _variants(root):
        body, below = _placed(root, _variant(name, node)[0].value)
        yield FormSeed(f"item.{name}", below, (node.tag or name, *_parts(node)), body)
    for item in root.fields:
        if item.name in ("input", "tool_choice"):
            continue
        known: set[str] = set()
        for level in _factor(item):
            owners = tuple(_owners(item.name, level.value))
            name = ".".join(dict.fromkeys((item.name, *owners)))
            if owners and name not in known:
                known.add(name)
                body = _sound(root, {"input": _PROMPT, **_required(root), item.name: copy_json(level.value)})
                yield FormSeed(name, f"/{item.name}", owners, body)


def _owners(field: str, value: Any) -> Iterator[str]:
    """Yield the names of the objects of a top-level field: its own, or the types of what it holds."""
    if isinstance(value, dict):
        yield field
        yield from (str(inner["type"]) for inner in value.values() if isinstance(inner, dict) and "type" in inner)
    elif isinstance(value, list) and value and isinstance(value[0], dict) and "type" in value[0]:
        yield str(value[0]["type"])


def _parts(node: Object) -> Iterator[str]:
    """Yield the types of the content parts of an item."""
    for item in node.fields:
        if item.name in ("content", "summary", "output"):
            for part in flatten(item.node):
                if isinstance(part, Array):
                    yield from (inner.tag for inner in flatten(part.items) if isinstance(inner, Object) and inner.tag)


def _placed(root: Object, item: Item) -> tuple[Body, str]:
    """Return a body whose input is a conversation around an item, and the pointer to the item in it."""
    body = _body(root, [item])
    kind = (item.get("type"), item.get("role"))
    place = next(i for i, found in enumerate(body["input"]) if (found.get("type"), found.get("role")) == kind)
    return body, f"/input/{place}"


def _string(root: Object) -> GeneratedCase:
    return GeneratedCase(
        id="input.string",
        body={"input": _PROMPT, **_required(root)},
        intent="The endpoint takes a plain string as input.",
        tags=("plain",),
    )


def one_factor(*, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None) -> list[GeneratedCase]:
    """Return a set of requests that differ from a plain one in a single field each, and together cover every branch.

    A refusal names its cause, at the price of more requests than :func:`each_choice` with ``"item"`` needs.
    """
    root = served(profile, dialect)
    cases = [_string(root)]
    for name, node in _variants(root):
        for level in _objects(node, "", "one"):
            label = f"factor.{name}.{level.label}" if level.label else f"factor.{name}"
            intent = f"The endpoint takes variant {name} with {level.label or 'its plainest fields'}."
            cases.append(GeneratedCase(label, _body(root, [level.value]), intent, ("item", "factor")))
    for item in root.fields:
        if item.name == "input":
            continue
        found = _factor(item, "one")
        for level in found:
            if level.value is not ABSENT and not (item.required and len(found) == 1):
                label = _dotted(item.name, level.label)
                body = {"input": _PROMPT, **_required(root), item.name: copy_json(level.value)}
                cases.append(
                    GeneratedCase(
                        f"factor.request.{label}", _sound(root, body), f"The endpoint takes {label}.", ("field",)
                    )
                )
    return cases


def field_levels(root: Object) -> Iterator[tuple[str, Body]]:
    """Yield bodies of an object that differ from its plainest one in a single field, each with a label.

    The plainest one comes first, with an empty label. ``input`` has a plain text in all of them.
    """
    plain = {**({"input": _PROMPT} if any(item.name == "input" for item in root.fields) else {}), **_required(root)}
    yield "", copy_json(plain)
    for item in root.fields:
        if item.name != "input":
            for level in _factor(item, "one"):
                if level.value is not ABSENT and level.value != plain.get(item.name):
                    body = {**copy_json(plain), item.name: copy_json(level.value)}
                    yield _dotted(item.name, level.label), _sound(root, body)


def pairwise_cases(
    *,
    of: Choice["request", "item"] = "request",
    levels: Choice["presence", "state", "value"] = "state",
    dialect: AnyDialect | None = None,
    profile: EndpointProfile | None = None,
) -> list[GeneratedCase]:
    """Return requests in which every two fields meet in every two of their levels.

    ``of`` takes the optional top-level fields, or the fields of every input item. ``levels`` are absent and value
    (``presence``), absent, null and value (``state``), or every instance (``value``). Pairs that contradict each other
    are left out: those of the dialect's parameter ``exclusive``, and a choice of a tool without tools. Raises
    ``hypothesis.errors.InvalidArgument`` for other words.
    """
    if of not in ("request", "item") or levels not in ("presence", "state", "value"):
        raise InvalidArgument(f"of={of!r} is request or item, and levels={levels!r} presence, state or value")
    root = served(profile, dialect)
    if of == "request":
        factors = {
            item.name: _thinned(_factor(item, "packed"), levels)
            for item in root.fields
            if item.name != "input" and not item.required
        }
        return [
            GeneratedCase(
                id=f"pair.request.{levels}.{number:03}",
                body=_sound(root, {"input": _PROMPT, **_required(root), **copy_json(row)}),
                intent=f"The endpoint takes {len(row)} fields together: {', '.join(row)}.",
                tags=("field", "packed"),
            )
            for number, row in enumerate(_pairs(factors, partial(_contradict, root)))
        ]
    cases = []
    for name, node in _variants(root):
        fields = {item.name: _thinned(_factor(item), levels) for item in node.fields}
        for number, row in enumerate(_pairs(fields, lambda *_: False)):
            intent = f"The endpoint takes variant {name} with the fields {', '.join(row)}."
            cases.append(GeneratedCase(f"pair.{name}.{levels}.{number:03}", _body(root, [row]), intent, ("item",)))
    return cases


def _thinned(found: list[_Level], levels: str) -> list[_Level]:
    """Return one level of each state that counts: absent, null (if ``levels`` says so) and value."""
    if levels == "value":
        return found
    kept: dict[str, _Level] = {}
    for level in found:
        state = "absent" if level.value is ABSENT else "null" if level.value is None else "value"
        if state != "null" or levels == "state":
            kept.setdefault(state, level)
    return list(kept.values())


def _contradict(root: Object, first: str, one: Any, second: str, other: Any) -> bool:
    """Return whether two top-level fields have values that a request cannot have together."""
    given = {first: one, second: other}
    if given.keys() == {"tool_choice", "tools"}:
        choice = given["tool_choice"]
        if (choice == "required" or isinstance(choice, dict)) and given["tools"] in (ABSENT, None, []):
            return True
    body = {name: value for name, value in given.items() if value is not ABSENT}
    return any(exclusion.applies(body) for exclusion in root.exclusions)


def _pairs(factors: dict[str, list[_Level]], forbidden: Callable[[str, Any, str, Any], bool]) -> Iterator[Body]:
    """Yield rows that cover all allowed pairs of levels, each row greedily taking what covers most; deterministic."""
    names = list(factors)
    clashes: set[tuple[int, int, int, int]] = set()
    open_pairs: set[tuple[int, int, int, int]] = set()
    for a, b in combinations(range(len(names)), 2):
        for i, one in enumerate(factors[names[a]]):
            for j, other in enumerate(factors[names[b]]):
                clash = forbidden(names[a], one.value, names[b], other.value)
                (clashes if clash else open_pairs).add((a, i, b, j))
    if len(names) == 1:
        yield from (_row(names, factors, {0: i}) for i in range(len(factors[names[0]])))
    while open_pairs:
        # How many open pairs each level still has decides where a row begins, and ties.
        left = Counter(end for a, i, b, j in open_pairs for end in ((a, i), (b, j)))
        first = max(sorted(left), key=left.__getitem__)
        row = dict([first])
        total = Counter[int]()
        for (place, _), count in left.items():
            total[place] += count
        for place in sorted(set(range(len(names))) - set(row), key=lambda place: -total[place]):
            gains = [
                (_gain(row, place, level, open_pairs, clashes), left[place, level], -level)
                for level in range(len(factors[names[place]]))
            ]
            row[place] = -max(gains)[2]
        covered = {_pair(p, q, row) for p, q in combinations(row, 2)} & open_pairs
        if not covered:
            # Every level of the next field clashes with what stands before it: begin with an open pair instead.
            a, i, b, j = min(open_pairs)
            row = {a: i, b: j}
            covered = {(a, i, b, j)}
        open_pairs -= covered
        yield _row(names, factors, row)


def _pair(a: int, b: int, row: dict[int, int]) -> tuple[int, int, int, int]:
    return (a, row[a], b, row[b]) if a < b else (b, row[b], a, row[a])


def _gain(
    row: dict[int, int],
    place: int,
    level: int,
    open_pairs: set[tuple[int, int, int, int]],
    clashes: set[tuple[int, int, int, int]],
) -> int:
    gained = 0
    for other, i in row.items():
        pair = (other, i, place, level) if other < place else (place, level, other, i)
        if pair in clashes:
            return -1
        gained += pair in open_pairs
    return gained


def _row(names: list[str], factors: dict[str, list[_Level]], row: dict[int, int]) -> Body:
    values = {names[place]: factors[names[place]][row[place]].value for place in sorted(row)}
    return {name: value for name, value in values.items() if value is not ABSENT}


@cache
def _variants(root: Object) -> tuple[tuple[str, Object], ...]:
    named: dict[str, Object] = {}
    for node in flatten(_input_items(root)):
        if isinstance(node, Object):
            name = node.tag or _slug(node.name)
            named[name if name not in named else f"{name}.{_slug(node.name)}"] = node
    return tuple(named.items())


def _input_items(root: Object) -> Node:
    """Return the union of input items."""
    for item in root.fields:
        if item.name == "input":
            return next(part.items for part in flatten(item.node) if isinstance(part, Array))
    raise LookupError("the contract has no input")


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()).strip("_")


def _variant(name: str, node: Object) -> list[_Level]:
    """Return the instances of an item, its plain form first.

    A further variant of a ``type`` is in most cases the form in which a server returns such an item. Its plain form
    has every field, which also keeps the plain forms of the variants apart.
    """
    found = _objects(node, "")
    if name == node.tag:
        return found
    full = {}
    for item in node.fields:
        values = [level.value for level in _factor(item)]
        full[item.name] = next((value for value in values if value is not ABSENT and value is not None), None)
    minimal = _Level("minimal", found[0].value)
    return [_Level("", full), *([] if full == minimal.value else [minimal]), *found[1:]]


def _instances(node: Node, name: str, mode: _Mode = "each") -> list[_Level]:
    """Return values of ``node`` that together take all of its branches, the plainest first.

    ``name`` is the field that holds them. In the mode ``packed`` a list holds all instances of its items, else each
    has a separate list; in the mode ``one`` an instance of an object differs from the plainest in one field only,
    else in as many as it can.
    """
    if isinstance(node, Scalar):
        return [_Level("" if i == 0 else _text(value), value) for i, value in enumerate(_plausible(name, node))]
    if isinstance(node, Literal):
        many = len(node.values) > 1
        return [_Level(_text(value) if many else "", value) for value in preferred(node.values)]
    if isinstance(node, Array):
        if node.largest == 0:
            return [_Level("", [])]
        inner = _instances(node.items, name, mode)
        values = [level.value for level in inner]
        if mode == "packed":
            size = node.largest or len(values)
            chunks = [values[start : start + size] for start in range(0, len(values), size)]
            return [_Level("list" if i == 0 else f"list{i}", _long(node, one, values)) for i, one in enumerate(chunks)]
        found = [_Level(_dotted("list", level.label), _long(node, [level.value], values)) for level in inner]
        return [_Level("", []), *found] if name in EMPTY_FIRST and not node.smallest else found
    if isinstance(node, Union):
        found = [
            _Level(_dotted(_alternative(branch) if len(node.alternatives) > 1 else "", level.label), level.value)
            for branch in node.alternatives
            for level in _instances(branch, name, mode)
        ]
        return [*found, *([_Level("null", None)] if node.nullable else [])]
    if isinstance(node, Object):
        return _objects(node, name, mode)
    return [_Level("", _free(name))]


def _objects(node: Object, name: str, mode: _Mode = "each") -> list[_Level]:
    if node.free and node.names is None and not node.smallest and node.largest is None:
        return [_Level("", _free(name))]
    if not node.fields:
        return [_Level("", {})] if node.extra is None else _maps(node, node.extra, name)
    if mode == "one":
        rows = _one_by_one({item.name: _factor(item, mode) for item in node.fields})
        return [_Level(row.label, _whole(node, row.value)) for row in rows]
    factors = {item.name: _factor(item) for item in node.fields}
    longest = max(factors, key=lambda key: len(factors[key]))
    found = []
    for index in range(len(factors[longest])):
        row = {key: found[index if index < len(found) else 0] for key, found in factors.items()}
        value = {key: level.value for key, level in row.items() if level.value is not ABSENT}
        found.append(_Level("" if index == 0 else _dotted(longest, row[longest].label), _whole(node, value)))
    return found


def _one_by_one(factors: dict[str, list[_Level]]) -> list[_Level]:
    base = {key: found[0].value for key, found in factors.items()}
    rows = [("", base)]
    for key, found in factors.items():
        rows += [(_dotted(key, level.label), {**base, key: level.value}) for level in found[1:]]
    return [_Level(label, {key: value for key, value in row.items() if value is not ABSENT}) for label, row in rows]


def _maps(node: Object, extra: Node, name: str) -> list[_Level]:
    # All kinds of values stand in one map, if it holds so many: they are too small to be worth a request each.
    values = [level.value for level in _instances(extra, name)]
    size = max(min(len(values), node.largest or len(values)), node.smallest, 1)
    keys = [f"key{i}" for i in range(size)]
    if isinstance(node.names, Scalar) and not all(map(_validator(node.names).is_valid, keys)):
        keys = sample(scalars(node.names.schema), size)
    chunks = [values[start : start + size] for start in range(0, len(values), size)]
    return [
        _Level("" if i == 0 else f"map{i}", {key: chunk[j % len(chunk)] for j, key in enumerate(keys)})
        for i, chunk in enumerate(chunks)
    ]


def _plausible(name: str, node: Scalar) -> Sequence[Any]:
    """Return the plausible values of a field that its bounds allow; where there are none, the plainest one allowed."""
    known = levels(name, node.type)
    if len(node.schema) == 1:
        return known
    return [value for value in known if _validator(node).is_valid(value)] or sample(scalars(node.schema), 1)


@cache
def _validator(node: Scalar) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(dict(node.schema), validate_formats=True)


def _long(node: Array, values: list[Any], known: list[Any]) -> list[Any]:
    """Return a list that is as long as it must be: other values follow where all must differ, else the first again."""
    lacking = max(node.smallest - len(values), 0)
    spare = values[:1] * lacking
    if lacking and node.unique:
        drawn = sample(Compiler().strategy(node.items), node.smallest + len(values))
        spare = [value for value in (*known, *drawn) if value not in values]
    return [*values, *copy_json(spare[:lacking])]


def _whole(node: Object, value: Body) -> Body:
    """Return the object with the fields that others of it require, and as many as it must have and may."""
    if not node.dependent and not node.smallest and node.largest is None:
        return value
    fields = {item.name: item for item in node.fields}

    def add(name: str) -> None:
        if name not in value and name in fields:
            found = [level.value for level in _factor(fields[name]) if level.value is not ABSENT]
            value[name] = copy_json(found[0])
            complete(name)

    def complete(name: str) -> None:
        for other in node.dependent.get(name, ()):
            add(other)

    for name in list(value):
        complete(name)
    for name in fields:
        if len(value) < node.smallest:
            add(name)
    for name in [item.name for item in node.fields if not item.required][::-1]:
        needed = any(name in node.dependent.get(other, ()) for other in value)
        if node.largest is not None and len(value) > node.largest and not needed:
            value.pop(name, None)
    return value


def _factor(item: Field, mode: _Mode = "each") -> list[_Level]:
    """Return the levels of a field, absence included, the plainest first."""
    found = _instances(item.node, item.name, mode)
    if item.required:
        return found
    absent = _Level("absent", ABSENT)
    # A client that names the type of an item that need not have one is plainer than one that does not, and an output
    # that names its call is plainer than one that leaves open which call it answers.
    named = (isinstance(strip(item.node), Literal) and item.name == "type") or item.name == "call_id"
    return [*found, absent] if named else [absent, *_named(found)]


def _named(found: list[_Level]) -> list[_Level]:
    return [level if level.label else _Level("value", level.value) for level in found]


def _alternative(node: Node) -> str:
    """Return the name of a union's alternative; a list names itself."""
    node = strip(node)
    if isinstance(node, Object) and node.tag:
        return node.tag
    return "" if isinstance(node, Array) else _slug(node.label)


def _dotted(*parts: str) -> str:
    return ".".join(part for part in parts if part)


def _free(name: str) -> Any:
    values = VALUES.get(name, ())
    return next((value for value in values if isinstance(value, dict)), {"key": "value"})


def _text(value: Any) -> str:
    return _slug(str(value)) or "other"


def _rows(root: Object) -> list[Body]:
    """Return the top-level fields besides ``input``, spread over as few bodies as they need."""
    factors = {item.name: _factor(item, "packed") for item in root.fields if item.name != "input"}
    count = max((len(found) for found in factors.values()), default=1)
    rows: list[Body] = []
    waiting: list[tuple[str, Any]] = []
    for index in range(count):
        chosen = {name: found[index if index < len(found) else 0].value for name, found in factors.items()}
        row = {name: value for name, value in chosen.items() if value is not ABSENT}
        kept = without_excluded(row, root.exclusions, _required(root))
        waiting += [(name, value) for name, value in row.items() if name not in kept]
        rows.append(kept)
    while waiting:
        # What others exclude comes in further rows, which have little besides.
        row, left = _required(root), []
        for name, value in waiting:
            if name in row or any(one.applies({**row, name: value}) for one in root.exclusions):
                left.append((name, value))
            else:
                row[name] = value
        if len(left) == len(waiting):  # what every body has excludes the rest
            break
        rows.append(row)
        waiting = left
    return [_sound(root, copy_json(row)) for row in rows]


def _sound(root: Object, body: Body) -> Body:
    """Change what other fields of the body call for: a tool that is chosen is declared, and names are unique."""
    choice = body.get("tool_choice")
    if (isinstance(choice, dict) or choice == "required") and not body.get("tools"):
        wanted = choice.get("type") if isinstance(choice, dict) else "function"
        body["tools"] = [_tool(root, str(wanted))]
    for number, tool in enumerate(body.get("tools") or (), 1):
        # No two tools of one name: a call would not say which of them it means.
        if any(tool.get("name") == other.get("name") for other in body["tools"][: number - 1] if "name" in tool):
            tool["name"] = f"{tool['name']}_{number}"
    return body


def _tool(root: Object, type_: str) -> dict[str, Any]:
    tools = (item.node for item in root.fields if item.name == "tools")
    lists = (part for node in tools for part in flatten(node) if isinstance(part, Array))
    declared = [node for part in lists for node in flatten(part.items) if isinstance(node, Object)]
    node = next((node for node in declared if node.tag == type_), declared[0])
    value: dict[str, Any] = _instances(node, "")[0].value
    return value


def _required(root: Object) -> Body:
    """Return the fields that every body must have besides ``input``, as pinned by the profile."""
    return {
        item.name: copy_json(_factor(item)[0].value) for item in root.fields if item.required and item.name != "input"
    }


def _body(root: Object, items: list[Item]) -> Body:
    return {"input": _arranged(root, items, complete=True), **_required(root)}


def _arranged(root: Object, items: list[Item], *, complete: bool) -> list[Item]:
    return arrange(items, _examples(root).get, complete=complete, prompt=_PROMPT, typed=_messages_need_type(root))


@cache
def _messages_need_type(root: Object) -> bool:
    """Whether no variant of a message may leave ``type`` out."""
    messages = (node for _, node in _variants(root) if any(item.name == "role" for item in node.fields))
    return all(item.required for node in messages for item in node.fields if item.name == "type")


@cache
def _examples(root: Object) -> dict[str, Item]:
    """Return the plainest item of each variant, for conversations (which copy it)."""
    return {name: _objects(node, "")[0].value for name, node in _variants(root)}


def _packed(root: Object, items: list[Item], rows: list[Body], size: int) -> list[GeneratedCase]:
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    cases = []
    for index, (chunk, row) in enumerate(zip_longest(chunks, rows)):
        content: Any = _PROMPT if chunk is None else _arranged(root, chunk, complete=False)
        parts = [f"{len(chunk)} input items" if chunk else "", "" if row is None else "top-level fields"]
        cases.append(
            GeneratedCase(
                id=f"packed.{size}.{index:02}",
                body={"input": content, **(_required(root) if row is None else row)},
                intent=f"The endpoint takes {' and '.join(part for part in parts if part)} at once.",
                tags=("packed",) if row is None else ("packed", "field"),
            )
        )
    return cases
