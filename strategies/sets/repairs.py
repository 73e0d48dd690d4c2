"""Whether a body has one fault or several: what becomes of it with one change at one place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from rejoinder.strategies.profile import ONE_OF, EndpointProfile
from rejoinder.strategies.sets.systematic import one_factor

__all__ = ["one_change", "without_source"]

_Known = Mapping[str, tuple[Any, ...]]

_VALUES: Final = 32
"""Valid values that are kept of each field; of ``type``, which decides what else is valid, all."""

_OTHER: Final[tuple[Any, ...]] = ("a", 1, 0.5, True, None, [], {})
"""Values of each JSON type, for fields that no valid body has."""


def one_change(body: Any, dialect: str) -> Iterator[Any]:
    """Yield the bodies that differ from this one in one place: without it, with another value, or with a field more.

    Only what has no parts goes or gets another value, so that no more than one fault goes with it. The values are those
    that valid bodies of the dialect have in a field of the same name. What is yielded shares its parts with ``body``.
    """
    known = _known(dialect)
    if isinstance(body, dict) and body:
        yield from _changed(body, "", lambda value, name: _replaced(value, name, known))
        yield from _changed(body, "", lambda value, _: _extended(value, known))
    elif _is_leaf(body, known):
        yield {"input": "Say hello."}


def without_source(body: Any) -> Iterator[str]:
    """Yield the type of each object in a body that has none of the fields of which it needs one.

    An image has a URL or the id of a file, an MCP tool a server, though the schemas call each of these optional.
    """
    if isinstance(body, dict):
        needed = ONE_OF.get(str(body.get("type")))
        if needed and all(body.get(name) is None for name in needed):
            yield str(body["type"])
    if isinstance(body, dict | list):
        # A tool choice names its tool only.
        parts = (body[name] for name in body if name != "tool_choice") if isinstance(body, dict) else body
        for value in parts:
            yield from without_source(value)


def _changed(value: Any, name: str, change: Callable[[Any, str], Iterator[Any]]) -> Iterator[Any]:
    """Yield what a value becomes with one change inside of it; ``name`` is the field that holds it or its list."""
    yield from change(value, name)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from ({**value, key: changed} for changed in _changed(inner, key, change))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            before, after = value[:number], value[number + 1 :]
            yield from ([*before, changed, *after] for changed in _changed(inner, name, change))


def _replaced(value: Any, name: str, known: _Known) -> Iterator[Any]:
    """Yield an object or a list without one of its parts, or with another value for it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if _is_leaf(inner, known):
                yield {other: kept for other, kept in value.items() if other != key}
                yield from ({**value, key: other} for other in known.get(key, _OTHER))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            if _is_leaf(inner, known):
                yield [*value[:number], *value[number + 1 :]]
                yield from ([*value[:number], other, *value[number + 1 :]] for other in known.get(f"{name}[]", _OTHER))


def _extended(value: Any, known: _Known) -> Iterator[Any]:
    """Yield an object with one field more."""
    if isinstance(value, dict):
        for key, values in known.items():
            if key not in value and not key.endswith("[]"):
                yield from ({**value, key: other} for other in values)


def _is_leaf(value: Any, known: _Known) -> bool:
    """Return whether a value has no parts that can have faults of their own."""
    if isinstance(value, dict):
        return all(key not in known and not isinstance(inner, dict | list) for key, inner in value.items())
    return not isinstance(value, list) or not value


@cache
def _known(dialect: str) -> _Known:
    """Return the values that each field has in valid bodies, by its name; elements of a list by its name and ``[]``."""
    found: dict[str, dict[str, Any]] = {}

    def visit(value: Any, name: str) -> None:
        values = found.setdefault(name, {})
        if len(values) < _VALUES or name == "type":
            values.setdefault(json.dumps(value, sort_keys=True), value)
        if isinstance(value, dict):
            for key, inner in value.items():
                visit(inner, key)
        elif isinstance(value, list):
            for inner in value:
                visit(inner, f"{name}[]")

    for case in one_factor(profile=EndpointProfile(dialect=dialect)):
        for name, value in case.body.items():
            visit(value, name)
    return {name: tuple(values.values()) for name, values in found.items()}
