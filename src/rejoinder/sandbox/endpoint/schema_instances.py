"""A small valid instance of a JSON Schema, for tool arguments and structured output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import jsonschema_rs
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.exceptions import Unresolvable

from rejoinder.validation import pointer_keys

_MAX_DEPTH: Final = 12
_FORMATS: Final[Mapping[str, str]] = {
    "date": "2001-02-03",
    "date-time": "2001-02-03T04:05:06Z",
    "time": "04:05:06Z",
    "duration": "PT1H",
    "email": "parrot@example.org",
    "hostname": "example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def instance(schema: Any, text: str) -> Any:
    """Return a value that the schema accepts, with ``text`` as the value of its free strings.

    The value is small: required properties only (all of them where the schema is strict about others), arrays as
    short as allowed. Of the keywords of JSON Schema the common ones steer it, of patterns the simple ones; for the rest
    (``not``, ``if``) there is no promise.
    """
    return _value(schema, text or "parrot", schema if isinstance(schema, Mapping) else {}, _MAX_DEPTH)


def is_schema(value: Any) -> bool:
    """Return whether the value is a JSON Schema (2020-12). What it refers to is neither fetched nor looked at."""
    try:
        return bool(_meta_schema().is_valid(value))
    except (ValueError, RecursionError, OverflowError):
        return False


def accepts(schema: Any, value: Any) -> bool:
    """Return whether the schema accepts the value; a schema that is none, or refers elsewhere, accepts nothing."""
    if not is_schema(schema):
        return False
    try:
        # The empty registry keeps references from being fetched: the schema comes from whoever sent the request.
        return bool(Draft202012Validator(schema, registry=Registry()).is_valid(value))
    except (Unresolvable, RecursionError, ValueError):
        return False


@cache
def _meta_schema() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"$ref": "https://json-schema.org/draft/2020-12/schema"})


def _value(schema: Any, text: str, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth == 0:
        return {} if schema is True else None
    if isinstance(schema.get("$ref"), str):
        target = _resolve(schema["$ref"], root)
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _value({**target, **rest} if isinstance(target, Mapping) else target, text, root, depth - 1)
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if isinstance(schema.get(key), list) and schema[key]:
            return schema[key][0]
    if isinstance(schema.get("allOf"), list):
        return _value(_merge(schema, root), text, root, depth - 1)
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        if isinstance(branches, list) and branches:
            rest = {name: value for name, value in schema.items() if name != key}
            candidates = [{**rest, **branch} if isinstance(branch, Mapping) else branch for branch in branches]
            return _first_accepted(candidates, schema, text, root, depth)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind is None:
        kind = _implied_type(schema)
    if kind == "object":
        return _object(schema, text, root, depth)
    if kind == "array":
        return _array(schema, text, root, depth)
    if kind == "string":
        return _string(schema, text)
    if kind in ("integer", "number"):
        return _number(schema, whole=kind == "integer")
    return {"boolean": True, "null": None}.get(str(kind))


def _first_accepted(candidates: list[Any], schema: Any, text: str, root: Mapping[str, Any], depth: int) -> Any:
    values = [_value(candidate, text, root, depth - 1) for candidate in candidates]
    scoped = {**schema, "$defs": root.get("$defs", {}), "definitions": root.get("definitions", {})}
    return next((value for value in values if accepts(scoped, value)), values[0])


def _resolve(reference: str, root: Mapping[str, Any]) -> Any:
    node: Any = root
    for step in pointer_keys(reference.removeprefix("#")):
        node = node.get(step, {}) if isinstance(node, Mapping) else {}
    return node


def _merge(schema: Mapping[str, Any], root: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    parts = [*schema["allOf"], {key: value for key, value in schema.items() if key != "allOf"}]
    for part in parts:
        if isinstance(part, Mapping) and isinstance(part.get("$ref"), str):
            part = _resolve(part["$ref"], root)
        if not isinstance(part, Mapping):
            continue
        for key, value in part.items():
            if key == "properties" and isinstance(value, Mapping):
                merged[key] = {**merged.get(key, {}), **value}
            elif key == "required" and isinstance(value, list):
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged[key] = value
    return merged


def _implied_type(schema: Mapping[str, Any]) -> str:
    for kind, keys in (
        ("object", ("properties", "required", "additionalProperties")),
        ("array", ("items", "prefixItems", "minItems")),
        ("string", ("minLength", "maxLength", "pattern", "format")),
        ("number", ("minimum", "maximum", "multipleOf")),
    ):
        if any(key in schema for key in keys):
            return kind
    return "object"


def _object(schema: Mapping[str, Any], text: str, root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties")
    known: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    listed = schema.get("required")
    required = [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []
    wanted = [*known] if schema.get("additionalProperties") is False else required
    if not wanted:
        wanted = [*known][:1]
    if depth <= 2:
        wanted = required
    return {name: _value(known.get(name, {"type": "string"}), text, root, depth - 1) for name in wanted}


def _array(schema: Mapping[str, Any], text: str, root: Mapping[str, Any], depth: int) -> list[Any]:
    prefix = schema.get("prefixItems")
    shapes: list[Any] = list(prefix) if isinstance(prefix, list) else []
    least = _limit(schema, "minItems", 0)
    items = schema.get("items", {"type": "string"})
    if not shapes and not least and _limit(schema, "maxItems", 1) > 0 and depth > 2 and items is not False:
        least = 1
    while len(shapes) < least:
        shapes.append(items)
    values = [_value(shape, text, root, depth - 1) for shape in shapes]
    if schema.get("uniqueItems") is True:
        for index, value in enumerate(values):
            if value in values[:index]:
                values[index] = f"{value}{index}" if isinstance(value, str) else index + 1
    return values


def _string(schema: Mapping[str, Any], text: str) -> str:
    value = _FORMATS.get(str(schema.get("format")), text[:200])
    least, most = _limit(schema, "minLength", 0), _limit(schema, "maxLength", len(value))
    if len(value) < least:
        value += "-" * min(least - len(value), 100_000)
    value = value[: max(most, least)]
    return _matching(schema, value) if isinstance(schema.get("pattern"), str) else value


def _matching(schema: Mapping[str, Any], text: str) -> str:
    """Return the text, or a run of one character, whichever fits the pattern; the text where none does."""
    fits = {key: value for key, value in schema.items() if key in ("pattern", "minLength", "maxLength")}
    runs = (char * length for length in range(13) for char in "Aa0-")
    return next((value for value in (text, *runs) if accepts(fits, value)), text)


def _number(schema: Mapping[str, Any], *, whole: bool) -> int | float:
    low, high = _bound(schema, "minimum"), _bound(schema, "maximum")
    above, below = _bound(schema, "exclusiveMinimum"), _bound(schema, "exclusiveMaximum")
    step = _bound(schema, "multipleOf") or (1 if whole else None)
    value: float = 1
    if above is not None:
        value = max(value, above + (step or 0.5))
    if low is not None:
        value = max(value, low)
    if high is not None:
        value = min(value, high)
    if below is not None and value >= below:
        value = below - (step or 0.5)
    if step:
        multiple = math.ceil(value / step) * step
        over = (high is not None and multiple > high) or (below is not None and multiple >= below)
        value = math.floor(value / step) * step if over else multiple
    return int(value) if whole or value == int(value) else value


def _limit(schema: Mapping[str, Any], key: str, default: int) -> int:
    value = schema.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**6 else default


def _bound(schema: Mapping[str, Any], key: str) -> int | float | None:
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e15:
        return None
    return value
