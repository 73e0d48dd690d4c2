"""Schema validation with answers that a person can use.

``jsonschema-rs`` decides (fast), ``jsonschema`` finds the place, and the code here descends into unions by the branch
that the instance's own ``type`` names, so that nobody reads 'not valid under any of the given schemas'. ``jsonschema``
takes as long to import as all of rejoinder's contract, so it is imported for the first invalid instance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import jsonschema_rs

from rejoinder.model.verdict import ABSENT

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

JSON_TYPES: Mapping[type, str] = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


@dataclass(frozen=True, slots=True)
class SchemaError:
    """One place where an instance breaks its schema.

    ``pointer`` is a JSON pointer into the instance; for a missing field it names the field. ``keyword`` is the schema
    keyword that failed; ``branch`` the union branch that was chosen, as a name from ``$defs``, or empty.
    """

    pointer: str
    message: str
    keyword: str
    expected: Any = ABSENT
    actual: Any = ABSENT
    branch: str = ""


class Validator:
    """A JSON Schema (2020-12) with ``$defs``, ready to judge instances."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self._fast = jsonschema_rs.Draft202012Validator(dict(schema))

    @cached_property
    def _slow(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator

        return Draft202012Validator(dict(self.schema))

    def is_valid(self, instance: Any) -> bool:
        """Return whether the instance is valid; never raises on any parsed JSON value."""
        try:
            return bool(self._fast.is_valid(instance))
        except (ValueError, OverflowError, RecursionError):
            # The fast validator takes no lone surrogates, which are legal in JSON.
            try:
                return bool(self._slow.is_valid(instance))
            except RecursionError:
                return False

    def errors(self, instance: Any) -> list[SchemaError]:
        """Return what is wrong, each error at its deepest place in the branch that ``type`` names.

        An empty list means valid. An instance that cannot be walked (nested too deeply) gives one error at the root.
        """
        if self.is_valid(instance):
            return []
        try:
            found = list(self._flatten(self._slow.iter_errors(instance), ""))
        except RecursionError:
            return [SchemaError("", "the value is nested too deeply to be checked", "nesting")]
        unique: dict[tuple[str, str, str], SchemaError] = {}
        for error in found:
            unique.setdefault((error.pointer, error.keyword, error.message), error)
        return list(unique.values()) or [
            SchemaError("", "the value is not plain JSON (NaN, infinity or a number out of range)", "number")
        ]

    def _flatten(self, errors: Iterable[ValidationError], branch: str) -> Iterator[SchemaError]:
        for error in errors:
            if error.validator in ("anyOf", "oneOf") and error.context:
                yield from self._choose(error, branch)
            elif error.validator == "additionalProperties" and error.validator_value is False:
                yield from _extra(error, branch)
            else:
                yield self._describe(error, branch)

    def _choose(self, error: ValidationError, branch: str) -> Iterator[SchemaError]:
        alternatives = [self._resolve(schema) for schema in _items(error.validator_value)]
        instance = error.instance
        consts = [_type_const(schema) for _, schema in alternatives]
        tag = instance.get("type", ABSENT) if isinstance(instance, dict) else ABSENT
        chosen = [i for i, const in enumerate(consts) if const is not ABSENT and const == tag]
        if not chosen:
            chosen = [i for i, (_, schema) in enumerate(alternatives) if _accepts_type(schema, instance)]
            known = sorted({str(const) for const in consts if const is not ABSENT})
            if isinstance(instance, dict) and known and len(chosen) != 1:
                pointer = _pointer([*error.absolute_path, "type"])
                what = "is missing" if tag is ABSENT else f"{tag!r} is not one of the known types"
                yield SchemaError(pointer, f"type {what}", "discriminator", known, tag, branch)
                return
        if not chosen:
            expected = _union_text([schema for _, schema in alternatives])
            actual = _kind(instance)
            yield SchemaError(
                _pointer(error.absolute_path), f"expected {expected}, got {actual}", "type", expected, instance, branch
            )
            return
        # Of several branches with the same tag the one with the fewest errors is what the sender meant.
        by_branch: dict[int, list[ValidationError]] = {i: [] for i in chosen}
        for inner in error.context or ():
            index = inner.schema_path[0]
            if isinstance(index, int) and index in by_branch:
                by_branch[index].append(inner)
        best = min(chosen, key=lambda i: (len(by_branch[i]), i))
        yield from self._flatten(by_branch[best], alternatives[best][0] or branch)

    def _describe(self, error: ValidationError, branch: str) -> SchemaError:
        pointer = _pointer(error.absolute_path)
        keyword = str(error.validator)
        value, instance = error.validator_value, error.instance
        if keyword == "required":
            missing = [name for name in _items(value) if isinstance(instance, dict) and name not in instance]
            name = next((name for name in missing if f"'{name}'" in error.message), missing[0] if missing else "")
            pointer += _pointer([name])
            return SchemaError(pointer, f"required field {name!r} is missing", keyword, "present", ABSENT, branch)
        if keyword == "type":
            expected = " or ".join(value) if isinstance(value, list) else value
            return SchemaError(
                pointer, f"expected {expected}, got {_kind(instance)}", keyword, expected, instance, branch
            )
        if keyword == "const":
            return SchemaError(pointer, f"expected {value!r}, got {_short(instance)}", keyword, value, instance, branch)
        if keyword == "enum":
            return SchemaError(pointer, f"{_short(instance)} is not an allowed value", keyword, value, instance, branch)
        return SchemaError(pointer, f"the value breaks {keyword}", keyword, value, instance, branch)

    def _resolve(self, schema: Any) -> tuple[str, Any]:
        """Follow local references; return the name of the definition (empty for none) and the schema."""
        name = ""
        while isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
            name = schema["$ref"].rpartition("/")[2]
            schema = self.schema.get("$defs", {}).get(name, {})
        return name, schema


def _extra(error: ValidationError, branch: str) -> Iterator[SchemaError]:
    """Yield one error for each field that a closed object does not know."""
    known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    instance: Any = error.instance
    for name, value in instance.items():
        if name not in known:
            pointer = _pointer([*error.absolute_path, name])
            yield SchemaError(
                pointer, "a field that the contract does not know", "additionalProperties", "absent", value, branch
            )


def _type_const(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return ABSENT
    node = schema.get("properties", {}).get("type", {})
    if "const" in node:
        return node["const"]
    for branch in node.get("anyOf", ()):
        if "const" in branch:
            return branch["const"]
    return ABSENT


def _accepts_type(schema: Any, instance: Any) -> bool:
    if not isinstance(schema, dict):
        return False
    if "const" in schema:
        return bool(_kind(schema["const"]) == _kind(instance))
    if "enum" in schema:
        return any(_kind(value) == _kind(instance) for value in schema["enum"])
    types = schema.get("type")
    if types is None:
        return any(_accepts_type(branch, instance) for branch in schema.get("anyOf", ()))
    names = [types] if isinstance(types, str) else types
    kind = _kind(instance)
    return kind in names or (kind == "integer" and "number" in names)


def _union_text(schemas: list[Any]) -> str:
    names: list[str] = []
    for schema in schemas:
        if "enum" in schema:
            names.append("one of " + ", ".join(repr(value) for value in schema["enum"]))
        elif "const" in schema:
            names.append(repr(schema["const"]))
        elif isinstance(schema.get("type"), list):
            names.extend(schema["type"])
        else:
            names.append(schema.get("type", "a value"))
    return " or ".join(dict.fromkeys(names))


def _kind(value: Any) -> str:
    return JSON_TYPES.get(type(value), type(value).__name__)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def _items(value: Any) -> list[Any]:
    return list(value)


def _pointer(path: Any) -> str:
    return "".join(f"/{escape_key(str(part))}" for part in path)


def escape_key(key: str) -> str:
    """Return a key as one step of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def pointer_keys(pointer: str) -> list[str]:
    """Return the keys and indexes that a JSON pointer names, outermost first."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
