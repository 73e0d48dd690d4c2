"""Normal forms of requests: requests that mean the same have the same one. Pure functions, by the names in
``relations.toml``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from rejoinder.contract import Dialect
from rejoinder.model.verdict import ABSENT

_OPAQUE: Final = frozenset({"metadata", "parameters", "schema", "arguments", "variables"})
"""Fields whose values belong to the user. Null means something in them."""

_TEXTS: Final[Mapping[str, str]] = {"assistant": "output_text"}
"""The type of a text part in the messages of a role, if it is not ``input_text``."""

_LONGEST_CHAIN: Final = 32
"""How many responses a request may continue, one after the other, to be looked at."""


class Origin(NamedTuple):
    """The request that created a response, and the response."""

    request: Mapping[str, Any]
    response: Mapping[str, Any]


class Surroundings(NamedTuple):
    """What the normal form of a request may depend on: the dialect, and the finished responses of a run by id."""

    dialect: Dialect
    origins: Mapping[str, Origin]


Request = dict[str, Any]
NormalForm = Callable[[Request, Surroundings], Request | None]
"""Returns a request in a normal form, ``None`` for one that has none. Leaves the request that it gets as it is."""


def messages(request: Request, _: Surroundings) -> Request | None:
    """Return a request whose input is a list, in which each message has no ``type`` and a list of parts."""
    items = _as_list(request.get("input"))
    return None if items is None else {**request, "input": [_message(item) for item in items]}


def _as_list(given: Any) -> list[Any] | None:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return given if isinstance(given, list) else None


def _message(item: Any) -> Any:
    if not isinstance(item, dict) or not isinstance(item.get("role"), str) or item.get("type", "message") != "message":
        return item
    plain = {name: value for name, value in item.items() if name != "type"}
    content = plain.get("content")
    if isinstance(content, str):
        plain["content"] = [{"type": _TEXTS.get(plain["role"], "input_text"), "text": content}]
    return plain


def nulls(request: Request, _: Surroundings) -> Request:
    """Return a request without the fields that are null, other than in values that belong to the user."""
    return {name: _without_nulls(value, name) for name, value in request.items() if value is not None}


def _without_nulls(value: Any, name: str = "") -> Any:
    if name in _OPAQUE:
        return value
    if isinstance(value, dict):
        return {key: _without_nulls(inner, key) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def defaults(request: Request, around: Surroundings) -> Request:
    """Return a request without the fields that have the default that the dialect documents for the response."""
    found = request
    for place, default in around.dialect.request["defaults"].items():
        # Without tools an endpoint may have another default.
        if place != "tool_choice" or request.get("tools"):
            found = _without_default(found, place.split("."), default)
    return found


def _without_default(value: Request, path: Sequence[str], default: Any) -> Request:
    """Return an object without the value at a path if that is the default, and without objects that are then empty."""
    name, *rest = path
    inner = value.get(name, ABSENT)
    if rest and isinstance(inner, dict):
        left = _without_default(inner, rest, default)
        return {**value, name: left} if left else {key: other for key, other in value.items() if key != name}
    if rest or type(inner) is not type(default) or inner != default:
        return value
    return {key: other for key, other in value.items() if key != name}


def spelling(request: Request, _: Surroundings) -> Request:
    """Return the request as it is: JSON values are equal however they are written."""
    return request


def history(request: Request, around: Surroundings) -> Request | None:
    """Return a request whose input begins with the history that ``previous_response_id`` names, if it names one.

    Items lack what an endpoint gives them: ``id`` and ``status``, and lists that are empty. A history with other items
    than messages and calls has none: earlier reasoning, for instance, may reach the model or not.
    """
    turns: list[list[Any]] = []
    now: Mapping[str, Any] = request
    while True:
        given, identity = now.get("input"), now.get("previous_response_id")
        items = [] if given is None else _as_list(given)
        if items is None or len(turns) >= _LONGEST_CHAIN:
            return None
        turns.append([_bare(item) for item in items])
        if identity is None:
            break
        origin = around.origins.get(identity) if isinstance(identity, str) else None
        output = None if origin is None else origin.response.get("output")
        if origin is None or not isinstance(output, list) or not all(map(_reaches_model, output)):
            return None
        turns.append([_bare(_as_input(item, around.dialect)) for item in output])
        now = origin.request
    own = {name: value for name, value in request.items() if name != "previous_response_id"}
    return {**own, "input": [item for turn in reversed(turns) for item in turn]}


_IN_EVERY_HISTORY: Final = frozenset({"message", "function_call", "custom_tool_call"})


def _reaches_model(item: Any) -> bool:
    return isinstance(item, dict) and str(item.get("type")) in _IN_EVERY_HISTORY


_MOST_FIELDS: Final = 16
"""Fields of an output item beyond which it is sent back as it is. Items of all dialects have fewer."""


def _as_input(item: Any, dialect: Dialect) -> Any:
    return dialect.as_input(item) if isinstance(item, dict) and len(item) <= _MOST_FIELDS else item


_GIVEN: Final = frozenset({"id", "status", "type"})


def _bare(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    left_out = _GIVEN if isinstance(item.get("role"), str) else _GIVEN - {"type"}
    return {name: _without_empty(value) for name, value in item.items() if name not in left_out and value is not None}


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_empty(inner) for name, inner in value.items() if inner not in (None, [])}
    return [_without_empty(inner) for inner in value] if isinstance(value, list) else value


NORMAL_FORMS: Final[Mapping[str, NormalForm]] = {
    form.__name__: form for form in (messages, nulls, defaults, spelling, history)
}
"""The normal forms by their names."""
