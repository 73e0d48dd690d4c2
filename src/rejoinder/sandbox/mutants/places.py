"""Places in JSON values, and the schemas at them.

A place is written as a pointer in which the elements of a list are named by their type:
``/output/[message]/content/[output_text]/text``; elements without a type are ``[]``. One place stands for every value
that its pointer reaches. Keys that a schema does not name, such as those of metadata, are not places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rejoinder.validation import escape_key, pointer_keys

Schemas = tuple[Mapping[str, Any], ...]
"""The alternatives of a schema at a place, without references; empty where anything is allowed."""

_DEPTH: Final = 24
_CHOICES: Final = ("anyOf", "oneOf", "allOf")


class Spot(NamedTuple):
    """One value at a place: the object or list that holds it, and its key or index there."""

    owner: Any
    key: Any

    @property
    def value(self) -> Any:
        """The value."""
        return self.owner[self.key]


class Shape:
    """A schema with its definitions, in which places are looked up."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self._below: dict[tuple[int, str], Schemas] = {}
        self.top = self.alternatives([schema])
        self._kept: list[Schemas] = [self.top]

    def alternatives(self, nodes: Iterable[Any]) -> Schemas:
        """Return what schemas choose from, without references."""
        found: dict[int, Mapping[str, Any]] = {}

        def unfold(node: Any, depth: int) -> None:
            if not isinstance(node, Mapping) or depth > _DEPTH:
                return
            if "$ref" in node:
                target: Any = self._root
                for key in pointer_keys(node["$ref"].removeprefix("#")):
                    target = target[key]
                unfold(target, depth + 1)
            for word in _CHOICES:
                for part in node.get(word, ()):
                    unfold(part, depth + 1)
            for word in ("then", "else"):
                unfold(node.get(word), depth + 1)
            if node.keys() & {"properties", "items", "enum", "const", "type", "additionalProperties"}:
                found[id(node)] = node

        for node in nodes:
            unfold(node, 0)
        return tuple(found.values())

    def below(self, nodes: Schemas, key: str) -> Schemas | None:
        """Return the schemas of a field, or of the elements for ``[]``; ``None`` where no schema names the field."""
        known = (id(nodes), key)
        if known not in self._below:
            if key == "[]":
                found = [node["items"] for node in nodes if "items" in node]
            else:
                found = [node["properties"][key] for node in nodes if key in node.get("properties", ())]
            self._below[known] = self.alternatives(found)
            self._kept.append(self._below[known])  # so that the ids stay theirs
        below = self._below[known]
        return below if below or key == "[]" else None

    def at(self, steps: Sequence[str]) -> Schemas:
        """Return the schemas at a place."""
        nodes = self.top
        for step in steps:
            nodes = self.below(nodes, "[]" if _is_element(step) else step) or ()
        return nodes


def walk(value: Any, shape: Shape | None) -> Iterator[tuple[str, Spot]]:
    """Yield every place of a JSON value with each spot at it. Without a ``shape`` every key is a place."""

    def below(value: Any, place: str, nodes: Schemas) -> Iterator[tuple[str, Spot]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                inside = () if shape is None else shape.below(nodes, key)
                if inside is None:
                    continue
                here = f"{place}/{escape_key(key)}"
                yield here, Spot(value, key)
                if isinstance(inner, (dict, list)):
                    yield from below(inner, here, inside)
        elif isinstance(value, list):
            inside = () if shape is None else shape.below(nodes, "[]") or ()
            for index, inner in enumerate(value):
                here = f"{place}/{_element(inner)}"
                yield here, Spot(value, index)
                if isinstance(inner, (dict, list)):
                    yield from below(inner, here, inside)

    yield from below(value, "", () if shape is None else shape.top)


def spots(value: Any, steps: Sequence[str]) -> list[Spot]:
    """Return every spot of a JSON value at the place that the steps lead to, in order."""
    owners = [value]
    found: list[Spot] = []
    for number, step in enumerate(steps):
        found = [Spot(owner, key) for owner in owners for key in _keys(owner, step)]
        if number + 1 < len(steps):
            owners = [spot.value for spot in found]
    return found


def steps_of(place: str) -> list[str]:
    """Return the steps of a place."""
    return pointer_keys(place)


def _keys(owner: Any, step: str) -> list[Any]:
    if isinstance(owner, list):
        return [index for index, inner in enumerate(owner) if _element(inner) == step]
    return [step] if isinstance(owner, dict) and step in owner else []


def _element(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else None
    return f"[{kind}]" if isinstance(kind, str) else "[]"


def _is_element(step: str) -> bool:
    return step.startswith("[") and step.endswith("]")
