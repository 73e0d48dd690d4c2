"""Deterministic sets of request bodies that cover the contract.

Random generation is the wrong tool for coverage: thousands of bodies still miss branches that a few dozen chosen ones
take. :func:`each_choice` walks the contract instead and sends every branch at least once, in one of several packings.
Values are those of a well-behaved client, and items stand in conversations that a client could have had, so that a
refusal says something about the branch and not about the body around it.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from typing import Literal as Choice

from rejoinder.strategies._conversation import Item, arrange
from rejoinder.strategies._examples import EMPTY_FIRST, VALUES, levels, preferred
from rejoinder.strategies._nodes import (
    Array,
    Field,
    Literal,
    Node,
    Object,
    Scalar,
    Union,
    flatten,
    request_nodes,
    strip,
)
from rejoinder.strategies.environment import Environment
from rejoinder.verdict import ABSENT

__all__ = ["Case", "each_choice", "variants"]

Body = dict[str, Any]
Pack = Choice["plain", "variant", "item", "all"] | int

_PROMPT: Final = "Say hello."


@dataclass(frozen=True, slots=True)
class Case:
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


def variants(env: Environment | None = None) -> dict[str, Object]:
    """Return the alternatives of the input items that can be sent, by name, in the contract's order.

    The first alternative of a ``type`` bears its name; a further one adds its definition's name:
    ``function_call``, ``function_call.response_function_tool_call``.
    """
    return dict(_variants(_root(env)))


def each_choice(pack: Pack = "variant", env: Environment | None = None) -> list[Case]:
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

    Without ``env`` the whole undisputed contract is covered, with it what can be sent there. The set depends on nothing
    else: equal arguments give equal cases, in the same order.
    """
    root = _root(env)
    instances = {name: _variant(name, node) for name, node in _variants(root)}
    rows = _rows(root)
    single = [
        Case(
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
    if not isinstance(pack, int) or pack < 1:
        raise ValueError(f"pack is 'plain', 'variant', 'item', 'all' or a positive number, not {pack!r}")
    cases = _packed(root, everything, rows, pack)
    return cases if any(isinstance(case.body["input"], str) for case in cases) else [_string(root), *cases]


@dataclass(frozen=True, slots=True)
class Seed:
    """A short valid body for changing: ``below`` points to what it is a seed of, an item or the whole request."""

    variant: str
    below: str
    body: Body


def seeds(env: Environment | None = None) -> Iterator[Seed]:
    """Yield bodies with one instance of an item each, and with one top-level field each, for every branch."""
    root = _root(env)
    for name, node in _variants(root):
        for level in _variant(name, node):
            yield Seed(name, "/input/0", {"input": [copy.deepcopy(level.value)], **_required(root)})
    for item in root.fields:
        if item.name == "input":
            continue
        for level in _factor(item):
            body = {"input": _PROMPT, **_required(root)}
            if level.value is not ABSENT:
                body[item.name] = copy.deepcopy(level.value)
            yield Seed("request", "", body)


def _string(root: Object) -> Case:
    return Case(
        id="input.string",
        body={"input": _PROMPT, **_required(root)},
        intent="The endpoint takes a plain string as input.",
        tags=("plain",),
    )


@cache
def _root(env: Environment | None) -> Object:
    root = request_nodes()
    return root if env is None else env.narrow(root)


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
        full[item.name] = next((value for value in values if value is not ABSENT and value is not None), values[0])
    minimal = _Level("minimal", found[0].value)
    return [_Level("", full), *([] if full == minimal.value else [minimal]), *found[1:]]


def _instances(node: Node, name: str, *, packed: bool = False) -> list[_Level]:
    """Return values of ``node`` that together take all of its branches, the plainest first.

    ``name`` is the field that holds them. With ``packed`` a list holds all instances of its items, else each has a
    list.
    """
    if isinstance(node, Scalar):
        return [_Level("" if i == 0 else _text(value), value) for i, value in enumerate(levels(name, node.type))]
    if isinstance(node, Literal):
        many = len(node.values) > 1
        return [_Level(_text(value) if many else "", value) for value in preferred(node.values)]
    if isinstance(node, Array):
        inner = _instances(node.items, name)
        if packed:
            return [_Level("list", [level.value for level in inner])]
        found = [_Level(_dotted("list", level.label), [level.value]) for level in inner]
        return [_Level("", []), *found] if name in EMPTY_FIRST else found
    if isinstance(node, Union):
        found = [
            _Level(_dotted(_alternative(branch) if len(node.alternatives) > 1 else "", level.label), level.value)
            for branch in node.alternatives
            for level in _instances(branch, name, packed=packed)
        ]
        return [*found, *([_Level("null", None)] if node.nullable else [])]
    if isinstance(node, Object):
        return _objects(node, name)
    return [_Level("", _free(name))]


def _objects(node: Object, name: str) -> list[_Level]:
    if node.free:
        return [_Level("", _free(name))]
    if not node.fields:
        return [_Level("", {})] if node.extra is None else _maps(node.extra, name)
    factors = {item.name: _factor(item) for item in node.fields}
    longest = max(factors, key=lambda key: len(factors[key]))
    found = []
    for index in range(len(factors[longest])):
        row = {key: found[index if index < len(found) else 0] for key, found in factors.items()}
        value = {key: level.value for key, level in row.items() if level.value is not ABSENT}
        found.append(_Level("" if index == 0 else _dotted(longest, row[longest].label), value))
    return found


def _maps(extra: Node, name: str) -> list[_Level]:
    # All kinds of values stand in one map: they are too small to be worth a request each.
    return [_Level("", {f"key{i}": level.value for i, level in enumerate(_instances(extra, name))})]


def _factor(item: Field, *, packed: bool = False) -> list[_Level]:
    """Return the levels of a field, absence included, the plainest first."""
    found = _instances(item.node, item.name, packed=packed)
    if item.required:
        return found
    absent = _Level("absent", ABSENT)
    # A client that names the type of an item that need not have one is plainer than one that does not.
    return (
        [*found, absent] if isinstance(strip(item.node), Literal) and item.name == "type" else [absent, *_named(found)]
    )


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
    factors = {item.name: _factor(item, packed=True) for item in root.fields if item.name != "input"}
    count = max((len(found) for found in factors.values()), default=1)
    rows: list[Body] = []
    for index in range(count):
        chosen = {name: found[index if index < len(found) else 0].value for name, found in factors.items()}
        rows.append(_sound({name: copy.deepcopy(value) for name, value in chosen.items() if value is not ABSENT}))
    return rows


def _sound(body: Body) -> Body:
    """Add what other fields of the body call for: a tool that is chosen must be declared."""
    choice = body.get("tool_choice")
    if (isinstance(choice, dict) or choice == "required") and not body.get("tools"):
        wanted = choice.get("type") if isinstance(choice, dict) else "function"
        body["tools"] = [_tool(str(wanted))]
    return body


def _tool(type_: str) -> dict[str, Any]:
    tools = next(item.node for item in request_nodes().fields if item.name == "tools")
    declared = [node for node in flatten(strip(tools).items) if isinstance(node, Object)]  # type: ignore[attr-defined]
    node = next((node for node in declared if node.tag == type_), declared[0])
    value: dict[str, Any] = _instances(node, "")[0].value
    return value


def _required(root: Object) -> Body:
    """Return the fields that every body must have besides ``input``, as pinned by the environment."""
    return {
        item.name: copy.deepcopy(_factor(item)[0].value)
        for item in root.fields
        if item.required and item.name != "input"
    }


def _body(root: Object, items: list[Item]) -> Body:
    return {"input": _arranged(root, items, complete=True), **_required(root)}


def _arranged(root: Object, items: list[Item], *, complete: bool) -> list[Item]:
    known = dict(_variants(root))

    def example(type_: str) -> Item | None:
        node = known.get(type_)
        return None if node is None else _objects(node, "")[0].value

    return arrange(items, example, complete=complete, prompt=_PROMPT)


def _packed(root: Object, items: list[Item], rows: list[Body], size: int) -> list[Case]:
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
    cases = []
    for index in range(max(len(chunks), len(rows))):
        chunk = chunks[index] if index < len(chunks) else None
        row = rows[index] if index < len(rows) else _required(root)
        content: Any = _PROMPT if chunk is None else _arranged(root, chunk, complete=False)
        parts = [f"{len(chunk)} input items" if chunk else "", "top-level fields" if index < len(rows) else ""]
        cases.append(
            Case(
                id=f"packed.{index:02}",
                body={"input": content, **row},
                intent=f"The endpoint takes {' and '.join(part for part in parts if part)} at once.",
                tags=("packed", *(["field"] if index < len(rows) else [])),
            )
        )
    return cases
