"""Copies of JSON values."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Final, TypeVar, cast

Value = TypeVar("Value")

_ATOMS: Final = frozenset((str, int, float, bool, type(None)))


def copy_json(value: Value) -> Value:
    """Return a deep copy of a JSON value, in a fraction of the time that :func:`copy.deepcopy` takes.

    An object that is at two places of the value is one object in the copy, too. What is not made of ``dict``, ``list``
    and plain values is copied by :func:`copy.deepcopy`.
    """
    return cast("Value", _copy(value, {}))


def _copy(value: Any, made: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _ATOMS:
        return value
    found = made.get(id(value))
    if found is not None:
        return found
    if kind is dict:
        fields: dict[Any, Any] = {}
        made[id(value)] = fields
        for name, inner in value.items():
            fields[name] = inner if type(inner) in _ATOMS else _copy(inner, made)
        return fields
    if kind is list:
        items: list[Any] = []
        made[id(value)] = items
        items += [inner if type(inner) in _ATOMS else _copy(inner, made) for inner in value]
        return items
    return deepcopy(value)
