"""Overlays: what a dialect's schemas have beyond or instead of those they are laid over, as data.

An overlay is the table ``overlay`` of a dialect file (TOML, or the same structure as JSON). It has one table for each
schema that differs (``request``, ``response``, ``events``, ``error``, ``operations``), and that table has up to five
operations, which are applied in this order:

``remove``
    a list of JSON pointers; each must lead to something. A property that goes also leaves ``required``.
``exclude``
    pointer to a list (of an ``enum``, ``anyOf``, ``required`` or ``allOf``) = the elements that go.
``replace``
    pointer = the value that stands there instead; there must be another one now.
``add``
    pointer = the value that comes new; nothing may be there yet, but the object that it belongs to must.
``include``
    pointer to a list = the elements that come to its end.

Plain JSON Schema everywhere, one place per line::

    [overlay.request]
    remove = ["/properties/top_k"]
    [overlay.request.include]
    "/properties/include/anyOf/0/items/enum" = ["web_search_call.results"]
    [overlay.request.add."/$defs/StreamOptions"]
    type = "object"
    properties.include_obfuscation = { type = "boolean" }
    [overlay.request.add]
    "/properties/stream_options" = { "$ref" = "#/$defs/StreamOptions" }

Definitions without references are dropped afterwards. Nothing is ignored: an operation that finds
something else than it expects, a keyword outside the contract's vocabulary, a reference that leads nowhere and a
contradiction are errors that name the file, the pointer and the keyword (or operation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rejoinder.contract._vocabulary import check, fail, find, reachable
from rejoinder.json_copy import copy_json
from rejoinder.model.verdict import ABSENT
from rejoinder.validation import pointer_keys

SCHEMAS: Final = ("request", "response", "events", "error", "operations")
#: The schemas that describe what an endpoint sends, in which ``if`` and ``then`` choose a definition.
BRANCHING: Final = frozenset({"response", "operations"})
OPERATIONS: Final = ("remove", "exclude", "replace", "add", "include")
#: Schemas whose definitions are looked up by name instead of being reached from a root.
_LIBRARIES: Final = frozenset({"events", "operations"})

#: Places that a schema must have, because readers of the contract start there.
_ROOTS: Final[Mapping[str, tuple[str, ...]]] = {
    "request": ("/properties", "/properties/input", "/$defs"),
    "response": ("/properties", "/properties/output", "/properties/output/items", "/$defs"),
    "events": ("/$defs",),
    "error": ("/properties", "/properties/error"),
    "operations": ("/x-operations", "/$defs"),
}


def apply(schema: Mapping[str, Any], overlay: Mapping[str, Any], *, name: str, file: str) -> dict[str, Any]:
    """Return a copy of the schema ``name`` with the overlay's operations applied.

    ``file`` is the dialect file that errors name. Raises :class:`~rejoinder.errors.ContractError`.
    """
    done: dict[str, Any] = copy_json(dict(schema))
    where = f"{file} ({name})"
    _check_operations(overlay, where)
    for pointer in overlay.get("remove", ()):
        _remove(done, pointer, where)
    for pointer, elements in overlay.get("exclude", {}).items():
        present = _list(done, pointer, elements, "exclude", where)
        for element in elements:
            if element not in present:
                raise fail(where, pointer, "exclude", f"{element!r} is not in the list")
            present.remove(element)
    for pointer, value in overlay.get("replace", {}).items():
        _put(done, pointer, value, "replace", where)
    for pointer, value in overlay.get("add", {}).items():
        _put(done, pointer, value, "add", where)
    for pointer, elements in overlay.get("include", {}).items():
        present = _list(done, pointer, elements, "include", where)
        for element in elements:
            if element in present:
                raise fail(where, pointer, "include", f"the list has {element!r} already")
            present.append(copy_json(element))
    for key, value in schema.items():
        if type(done.get(key)) is not type(value):
            raise fail(where, f"/{key}", key, "this part of the schema cannot be removed, only its members")
    check(done, where, branching=name in BRANCHING)
    used = reachable(done, all_of=name in _LIBRARIES)
    # Other borrowed definitions may lead to this one.
    used |= {key for key, node in done.get("$defs", {}).items() if "x-from" in node}
    for pointer in overlay.get("add", {}):
        path = pointer_keys(pointer)
        if len(path) == 2 and path[0] == "$defs" and path[1] not in used:
            raise fail(where, pointer, "add", "no part of the schema refers to this definition")
    if "$defs" in done:
        done["$defs"] = {key: value for key, value in done["$defs"].items() if key in used}
    return done


def whole(schema: Mapping[str, Any], *, name: str, file: str) -> dict[str, Any]:
    """Return a copy of a schema that stands in place of the contract's schema ``name``, when it can be used as that.

    ``file`` is the schema file that errors name. Raises :class:`~rejoinder.errors.ContractError`.
    """
    for pointer in _ROOTS[name]:
        if not isinstance(find(schema, pointer_keys(pointer)), dict):
            *_, keyword = pointer_keys(pointer)
            raise fail(file, pointer, keyword, f"a {name} schema needs a table there")
    check(schema, file, branching=name in BRANCHING)
    return copy_json(dict(schema))


def _check_operations(overlay: Mapping[str, Any], where: str) -> None:
    """Raise unless the operations are known, well-formed and about different places."""
    seen: dict[str, str] = {}
    for operation, places in overlay.items():
        if operation not in OPERATIONS:
            raise fail(where, "", operation, f"unknown operation; known operations: {', '.join(OPERATIONS)}")
        if not isinstance(places, list if operation == "remove" else Mapping):
            raise fail(where, "", operation, f"it must be a {'list' if operation == 'remove' else 'table'} of pointers")
        for pointer in places:
            if not isinstance(pointer, str) or not pointer.startswith("/"):
                raise fail(where, str(pointer), operation, "a pointer begins with a slash")
            first = seen.setdefault(pointer, operation)
            if first != operation and {first, operation} != {"exclude", "include"}:
                raise fail(where, pointer, operation, f"conflicts with {first!r} at the same place")


def _list(schema: Any, pointer: str, elements: Any, operation: str, where: str) -> list[Any]:
    found = find(schema, pointer_keys(pointer))
    if found is ABSENT:
        raise fail(where, pointer, operation, "the schema has no such place")
    if not isinstance(found, list) or not isinstance(elements, list):
        raise fail(where, pointer, operation, "both sides must be lists")
    return found


def _remove(schema: dict[str, Any], pointer: str, where: str) -> None:
    *path, last = pointer_keys(pointer)
    holder = find(schema, path)
    if not isinstance(holder, dict) or last not in holder:
        raise fail(where, pointer, "remove", "the schema has no such place")
    del holder[last]
    owner = find(schema, path[:-1])
    if path and path[-1] == "properties" and last in owner.get("required", ()):
        owner["required"].remove(last)


def _put(schema: dict[str, Any], pointer: str, value: Any, operation: str, where: str) -> None:
    *path, last = pointer_keys(pointer)
    holder = find(schema, path)
    if isinstance(holder, list) and operation == "replace" and last.isdecimal() and int(last) < len(holder):
        key: Any = int(last)
    elif isinstance(holder, dict):
        key = last
    else:
        raise fail(where, pointer, operation, "the parent of this place does not exist")
    now = holder[key] if isinstance(holder, list) or key in holder else ABSENT
    if operation == "add" and now is not ABSENT:
        raise fail(where, pointer, "add", "this place exists already; use replace")
    if operation == "replace":
        if now is ABSENT:
            raise fail(where, pointer, "replace", "the schema has no such place")
        if now == value:
            raise fail(where, pointer, "replace", "this place has the same value already")
    holder[key] = copy_json(value)
