"""Operators on the fields of what the sandbox sends: of responses, items, parts, events, pages and errors.

A place is a kind and a place in its JSON: ``response.completed/response/usage/total_tokens``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

from rejoinder.contract import Dialect
from rejoinder.sandbox.endpoint.generate import MODELS, ResolvedRequest, base_response
from rejoinder.sandbox.mutants.mutant import CleanRun, Operator, PlaceLog, Places, numbered
from rejoinder.sandbox.mutants.places import Schemas, Spot, spots, steps_of, walk
from rejoinder.sandbox.mutants.wire import change_json, shape_of, values_of

Change = Callable[[Spot, Schemas], bool]
"""Changes the value at a spot, given the schemas there, and returns whether it could."""

_NUMBER: Final = 7


def _replace(make: Callable[[Any], Any]) -> Change:
    """Return the change to what is made of a value; nothing where that is the same."""

    def change(spot: Spot, _: Schemas) -> bool:
        old = spot.value
        new = make(old)
        if new is old or (type(new) is type(old) and new == old):
            return False
        spot.owner[spot.key] = new
        return True

    return change


def _delete(spot: Spot, _: Schemas) -> bool:
    del spot.owner[spot.key]
    return True


def _rename(spot: Spot, _: Schemas) -> bool:
    """Write the key as other languages do."""
    if not isinstance(spot.owner, dict):
        return False
    head, *rest = spot.key.split("_")
    new = head + "".join(part.title() for part in rest) if rest else spot.key.title()
    if new in spot.owner:
        return False
    renamed = {new if key == spot.key else key: value for key, value in spot.owner.items()}
    spot.owner.clear()
    spot.owner.update(renamed)
    return True


def _retyped(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return "none" if value is None else str(value).lower()
    if isinstance(value, str):
        return _NUMBER
    if isinstance(value, (int, float)):
        return str(value)
    return {} if isinstance(value, list) else [value]


def _emptied(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    return type(value)()


def _shortened(value: Any) -> Any:
    if isinstance(value, str):
        return value[: len(value) // 2] if len(value) > 1 else value
    return value[:-1] if isinstance(value, list) else value


def _doubled(value: Any) -> Any:
    if isinstance(value, list):
        return [*value, value[-1]] if value else value
    return value if isinstance(value, (bool, dict)) or value is None else value + value


def _reordered(value: Any) -> Any:
    if isinstance(value, list):
        return value[::-1]
    return " ".join(value.split(" ")[::-1]) if isinstance(value, str) else value


def _borrow(spot: Spot, _: Schemas) -> bool:
    """Take the value of the next field of the object that has another one of the same type."""
    if not isinstance(spot.owner, dict):
        return False
    keys = list(spot.owner)
    place = keys.index(spot.key)
    for key in (*keys[place + 1 :], *keys[:place]):
        other = spot.owner[key]
        if type(other) is type(spot.value) and other != spot.value:
            spot.owner[spot.key] = other
            return True
    return False


def _alter(spot: Spot, schemas: Schemas) -> bool:
    """Take another value that the schema allows: the next of an enumeration, or one of the same form."""
    old = spot.value
    listed: list[Any] = []
    for schema in schemas:
        listed += [value for value in schema.get("enum", ()) if value is not None]
        listed += [schema["const"]] if schema.get("const") is not None else []
    if old in listed:
        turned = [*listed[listed.index(old) + 1 :], *listed[: listed.index(old)]]
        new = next((value for value in turned if value != old), old)
    elif isinstance(old, bool):
        new = not old
    elif isinstance(old, (int, float)):
        new = old + 1
    elif isinstance(old, str) and old:
        new = old[:-1] + ("0" if old[-1] != "0" else "1")
    else:
        new = old
    return _replace(lambda _: new)(spot, schemas)


def _default(dialect: Dialect) -> Mapping[str, Any]:
    """Return the response fields that repeat a parameter, with what they are where the request leaves it out."""
    plain = ResolvedRequest({}, [], [], "resp_0", 0, MODELS[0])
    response = base_response(plain, dialect)
    return {name: response[name] for name in response.keys() & dialect.parameters}


def _found(change: Change, clean: CleanRun) -> Places:
    log = PlaceLog()
    dialect = clean.dialect.reference
    for number, exchange in numbered(clean):
        for kind, value in values_of(exchange, clean.dialect):
            shape = shape_of(dialect, kind)
            for path, spot in walk(value, shape):
                place = kind + path
                if log.wants(place, exchange.case):
                    schemas = () if shape is None else shape.at(steps_of(path))
                    if change(Spot(spot.owner.copy(), spot.key), schemas):
                        log.add(place, number, exchange.case)
    return log.found


def split_place(place: str) -> tuple[str, list[str]]:
    """Return the kind and the steps of a place; raises :class:`ValueError` without steps."""
    kind, found, path = place.partition("/")
    if not found or not kind:
        raise ValueError(f"{place!r} names no field")
    return kind, steps_of("/" + path)


def _hooks(change: Change, place: str, dialect: Dialect) -> Mapping[str, Any]:
    kind, steps = split_place(place)
    shape = shape_of(dialect.reference, kind)
    schemas = () if shape is None else shape.at(steps)

    def apply(value: Any) -> bool:
        # From the end, since places in lists move up when one is deleted.
        return sum(change(spot, schemas) for spot in reversed(spots(value, steps))) > 0

    return {"reply": change_json(kind, apply)}


def _field_operator(name: str, title: str, change: Change) -> Operator:
    return Operator(name, title, partial(_found, change), partial(_hooks, change))


# Values of earlier replies


def _stale_places(clean: CleanRun) -> Places:
    log = PlaceLog()
    latest: dict[str, tuple[int, Any]] = {}
    dialect = clean.dialect.reference
    for number, exchange in numbered(clean):
        for kind, value in values_of(exchange, clean.dialect):
            for path, spot in walk(value, shape_of(dialect, kind)):
                place = kind + path
                if not log.wants(place, exchange.case) or isinstance(spot.owner, list):
                    continue
                before = latest.get(place)
                if before is not None and before[0] != number and before[1] != spot.value:
                    log.add(place, number, exchange.case)
                latest[place] = number, spot.value
    return log.found


def _stale_hooks(place: str, _: Dialect) -> Mapping[str, Any]:
    kind, steps = split_place(place)
    latest: list[Any] = []

    def apply(value: Any) -> bool:
        found = spots(value, steps)
        if not found:
            return False
        own = found[-1].value
        for spot in found if latest else ():
            spot.owner[spot.key] = latest[-1]
        latest[:] = [own]
        return True

    return {"reply": change_json(kind, apply)}


# Echoes


def _echo_spots(value: Any, defaults: Mapping[str, Any]) -> Iterator[tuple[str, Spot]]:
    response = value.get("response", value) if isinstance(value, dict) else None
    if isinstance(response, dict) and response.get("object") == "response":
        for name, default in defaults.items():
            if name in response and response[name] != default:
                yield name, Spot(response, name)


def _echo_places(clean: CleanRun) -> Places:
    log = PlaceLog()
    defaults = _default(clean.dialect)
    for number, exchange in numbered(clean):
        for kind, value in values_of(exchange, clean.dialect):
            names = [name for name, _ in _echo_spots(value, defaults)]
            log.add_all([f"{kind}/{name}" for name in names], number, exchange.case)
    return log.found


def _echo_hooks(place: str, dialect: Dialect) -> Mapping[str, Any]:
    kind, [field, *_] = split_place(place)
    defaults = _default(dialect)
    if field not in defaults:
        raise ValueError(f"{field!r} repeats no parameter")

    def apply(value: Any) -> bool:
        found = [spot for _, spot in _echo_spots(value, {field: defaults[field]})]
        for spot in found:
            spot.owner[spot.key] = defaults[field]
        return bool(found)

    return {"reply": change_json(kind, apply)}


OPERATORS: Final = (
    _field_operator("field-deleted", "A field or element is missing", _delete),
    _field_operator("field-null", "A field or element is null", _replace(lambda _: None)),
    _field_operator("field-retyped", "A field has another type", _replace(_retyped)),
    _field_operator("field-emptied", "A field is empty or 0", _replace(_emptied)),
    _field_operator("field-renamed", "A field has another name", _rename),
    _field_operator("field-borrowed", "A field has the value of another field", _borrow),
    Operator("field-stale", "A field has the value of an earlier reply", _stale_places, _stale_hooks),
    _field_operator("field-altered", "A field has another value that its schema allows", _alter),
    _field_operator("field-shortened", "A text or list loses its end", _replace(_shortened)),
    _field_operator("field-doubled", "A text, number or last element comes twice", _replace(_doubled)),
    _field_operator("field-reordered", "A list or the words of a text are reversed", _replace(_reordered)),
    Operator("echo-defaulted", "A field repeats the default and not the request", _echo_places, _echo_hooks),
)
"""The operators on fields."""
