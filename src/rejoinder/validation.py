"""Schema validation with answers that a person can use.

``jsonschema-rs`` decides (fast), ``jsonschema`` finds the place, and the code here descends into unions by the branch
that the instance's own ``type`` names, so that nobody reads 'not valid under any of the given schemas'. ``jsonschema``
takes as long to import as all of rejoinder's contract, so it is imported for the first invalid instance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import jsonschema_rs
from msgspec import Struct
from msgspec.structs import replace

from rejoinder.condense import MAX_FORMS, OTHER, PLACES, Condensed, Condenser
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

_MAX_ERRORS: Final = 2_000
_MAX_EXPLAINED: Final = 1_000


class SchemaError(Struct, frozen=True):
    """One place where an instance breaks its schema.

    ``pointer`` is a JSON pointer into the instance; for a missing field it names the field. ``keyword`` is the schema
    keyword that failed; ``branch`` the union branch that was chosen, as a name from ``$defs``, or empty. ``expected``
    is the value of the keyword; ``wanted`` describes all that the schema accepts there (:func:`describe_schema`).
    ``more`` counts further places with the same error that have no error of their own.
    """

    pointer: str
    message: str
    keyword: str
    expected: Any = ABSENT
    actual: Any = ABSENT
    branch: str = ""
    wanted: str = "present"
    more: int = 0

    @property
    def located(self) -> str:
        """The message with the place, for a missing field that of the object which lacks it."""
        place = self.pointer.rpartition("/")[0] if self.keyword == "required" else self.pointer
        return f"{self.message} at {place}" if place else self.message


def _refuse(address: str) -> Any:
    raise ValueError(f"{address} is outside of the schema")


class Validator:
    """A JSON Schema (2020-12) with ``$defs``, ready to judge instances.

    Raises ``ValueError`` for what is no sound schema, and for a reference to anything outside of it: schemas come from
    files and endpoints, so nothing that one names is read or fetched.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema
        self._fast = jsonschema_rs.Draft202012Validator(dict(schema), retriever=_refuse)
        self._explained: dict[tuple[int, int], list[tuple[SchemaError, list[str]]]] = {}

    @cached_property
    def _slow(self) -> Draft202012Validator:
        from jsonschema import Draft202012Validator
        from referencing import Registry

        return Draft202012Validator(dict(self.schema), registry=Registry())

    @cached_property
    def _condenser(self) -> Condenser:
        return Condenser(self.schema)

    def is_valid(self, instance: Any) -> bool:
        """Return whether the instance is valid; never raises on any parsed JSON value."""
        try:
            return bool(self._fast.is_valid(instance))
        except (ValueError, OverflowError, RecursionError):
            # The fast validator takes no lone surrogates, which are legal in JSON.
            try:
                short = self._condenser.condense(instance).value if self._condenser.usable else instance
                return bool(self._slow.is_valid(short))
            except RecursionError:
                return False

    def errors(self, instance: Any) -> list[SchemaError]:
        """Return what is wrong, each error at its deepest place in the branch that ``type`` names.

        An empty list means valid. An instance that cannot be walked (nested too deeply) gives one error at the root.
        Elements of one form have one explanation, and the first of them one error each (see :attr:`SchemaError.more`),
        so the time is proportional to the size of the instance.
        """
        if self.is_valid(instance):
            return []
        try:
            if self._condenser.usable:
                found = self._expand(instance, self._condenser.condense(instance))
            else:
                found = self._explain(instance)
        except RecursionError:
            return [SchemaError("", "the value is nested too deeply to be checked", "nesting")]
        return found or [
            SchemaError("", "the value is not plain JSON (NaN, infinity or a number out of range)", "number")
        ]

    def _explain(self, instance: Any) -> list[SchemaError]:
        unique: dict[tuple[str, str, str], SchemaError] = {}
        for error in islice(self._flatten(self._slow.iter_errors(instance), ""), _MAX_ERRORS):
            unique.setdefault((error.pointer, error.keyword, error.message), error)
        return list(unique.values())

    def _expand(self, instance: Any, condensed: Condensed) -> list[SchemaError]:
        """Return the errors of an instance: those of its condensed value, each at all places that it represents."""
        found = self._explained.get(condensed.form)
        if found is None:
            if len(self._explained) >= _MAX_EXPLAINED:
                self._explained.clear()
            explained = self._explain(condensed.value)
            found = self._explained[condensed.form] = [(error, pointer_keys(error.pointer)) for error in explained]
        if not found and condensed.left_out:
            return [SchemaError("", f"a value beyond the first {MAX_FORMS} forms does not match the schema", "form")]
        limit = min(PLACES, max(1, _MAX_ERRORS // max(1, len(found))))
        errors: list[SchemaError] = []
        for error, keys in found:
            places, more = condensed.places(keys, limit)
            for place in places:
                errors.append(_moved(error, keys, place, instance, more))
                more = 0
        return errors

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
        consts = [_type_consts(schema) for _, schema in alternatives]
        tag = instance.get("type", ABSENT) if isinstance(instance, dict) else ABSENT
        chosen = [i for i, known in enumerate(consts) if any(const == tag for const in known)]
        if not chosen:
            chosen = [i for i, (_, schema) in enumerate(alternatives) if _accepts_type(schema, instance)]
            known = sorted({str(const) for found in consts for const in found})
            if isinstance(instance, dict) and known and len(chosen) != 1:
                pointer = _pointer([*error.absolute_path, "type"])
                what = "is missing" if tag is ABSENT else f"{_short(tag)} is not a known type"
                wanted = describe_schema({"enum": known})
                yield SchemaError(pointer, f"type {what}", "discriminator", known, tag, branch, wanted)
                return
        if not chosen:
            wanted = self._describe_wanted(error.schema)
            message = f"expected {wanted}, got {_kind(instance)}"
            yield SchemaError(_pointer(error.absolute_path), message, "type", wanted, instance, branch, wanted)
            return
        # Of several branches with the same tag the sender meant one whose other fixed values, such as a role, are
        # right, and of these the one with the fewest errors.
        by_branch: dict[int, list[ValidationError]] = {i: [] for i in chosen}
        for inner in error.context or ():
            index = inner.schema_path[0]
            if isinstance(index, int) and index in by_branch:
                by_branch[index].append(inner)
        best = min(chosen, key=lambda i: (sum(map(_is_fixed, by_branch[i])), len(by_branch[i]), i))
        yield from self._flatten(by_branch[best], alternatives[best][0] or branch)

    def _describe(self, error: ValidationError, branch: str) -> SchemaError:
        pointer = _pointer(error.absolute_path)
        keyword = str(error.validator)
        value, instance = error.validator_value, error.instance
        if keyword == "required":
            missing = [name for name in _items(value) if isinstance(instance, dict) and name not in instance]
            name = next((name for name in missing if f"'{name}'" in error.message), missing[0] if missing else "")
            pointer += _pointer([name])
            message = f"required field {_short(name)} is missing"
            fields = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
            wanted = self._describe_wanted(fields.get(name, True))
            return SchemaError(pointer, message, keyword, "present", ABSENT, branch, wanted)
        wanted = self._describe_wanted(error.schema)
        if keyword == "type":
            expected = " or ".join(value) if isinstance(value, list) else value
            message = f"expected {expected}, got {_kind(instance)}"
            return SchemaError(pointer, message, keyword, expected, instance, branch, wanted)
        if keyword == "enum":
            message = f"{_short(instance)} is not {wanted}"
            return SchemaError(pointer, message, keyword, value, instance, branch, wanted)
        if keyword == "const":
            wanted = _short(value)
        message = f"expected {wanted}, got {_short(instance)}"
        return SchemaError(pointer, message, keyword, value, instance, branch, wanted)

    def _describe_wanted(self, schema: Any) -> str:
        return describe_schema(schema, self.schema.get("$defs", {}))

    def _resolve(self, schema: Any) -> tuple[str, Any]:
        """Follow local references; return the name of the definition (empty for none) and the schema."""
        name = ""
        while isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
            name = schema["$ref"].rpartition("/")[2]
            schema = self.schema.get("$defs", {}).get(name, {})
        return name, schema


def _moved(error: SchemaError, keys: list[str], place: list[Any], instance: Any, more: int) -> SchemaError:
    """Return an error of a condensed value, whose place has these keys, at a place of the instance."""
    if error.actual is ABSENT and place == keys and not more:
        return error
    actual, message = error.actual, error.message
    if actual is not ABSENT:
        actual = instance
        for key in place:
            actual = actual[int(key) if isinstance(actual, list) else key]
        if error.keyword not in ("type", "additionalProperties"):  # whose messages do not contain the value
            message = message.replace(_short(error.actual), _short(actual), 1)
    if keys and keys[-1].startswith(OTHER):
        message = message.replace(_short(keys[-1]), _short(place[-1]), 1)
    return replace(error, pointer=_pointer(place), message=message, actual=actual, more=more)


def _extra(error: ValidationError, branch: str) -> Iterator[SchemaError]:
    """Yield one error for each field that a closed object does not know."""
    known = error.schema.get("properties", {}) if isinstance(error.schema, dict) else {}
    instance: Any = error.instance
    for name, value in instance.items():
        if name not in known:
            pointer = _pointer([*error.absolute_path, name])
            message = f"{_short(name)} is not a known field"
            yield SchemaError(pointer, message, "additionalProperties", "absent", value, branch, "absent")


def _is_fixed(error: ValidationError) -> bool:
    """Return whether an error is a wrong value of a field of the instance itself that has few values."""
    return error.validator in ("const", "enum") and len(error.relative_path) == 1


def _type_consts(schema: Any) -> list[Any]:
    """Return the types that a branch of a union is for: the one that it names, or those that its conditions name."""
    if not isinstance(schema, dict):
        return []
    conditions = [part["if"] for part in schema.get("allOf", ()) if isinstance(part, dict) and "if" in part]
    return [*_named_type(schema), *(const for condition in conditions for const in _named_type(condition))]


def _named_type(schema: Any) -> list[Any]:
    node = schema.get("properties", {}).get("type", {}) if isinstance(schema, dict) else {}
    return [option["const"] for option in (node, *node.get("anyOf", ())) if "const" in option][:1]


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


_SIMPLE_WORD = re.compile(r"[a-zA-Z_][\w.:/\[\]-]*")
_ANNOTATIONS = frozenset(("title", "description", "default", "examples", "deprecated", "$comment", "$defs", "$schema"))
_MOST_VALUES = 16
_MOST_FIELDS = 6


def describe_schema(schema: Any, definitions: Mapping[str, Any] | None = None) -> str:
    """Return what a JSON Schema accepts as a short noun phrase without article.

    Examples: "non-negative integer", "string or null", "one of queued, in_progress", "array of objects", "object with
    type and id". The phrase is never narrower than the schema. It may be wider, because it leaves out patterns, nested
    fields and the like. "present" describes a schema that accepts every value, "absent" one that accepts none.
    ``definitions`` are the ``$defs`` to which local references lead.
    """
    return _phrase(schema, definitions or {}, 8)


def _phrase(schema: Any, definitions: Mapping[str, Any], depth: int) -> str:
    if isinstance(schema, bool):
        return "present" if schema else "absent"
    schema = _merged(schema, definitions, depth)
    if "const" in schema:
        return _word(schema["const"])
    if "enum" in schema:
        words = [_word(value) for value in schema["enum"]]
        more = [f"{len(words) - _MOST_VALUES} more"] if len(words) > _MOST_VALUES else []
        return words[0] if len(words) == 1 else f"one of {', '.join([*words[:_MOST_VALUES], *more])}"
    types = schema.get("type")
    if types is not None:
        names = [types] if isinstance(types, str) else types
        return " or ".join(_typed(name, schema, definitions, depth) for name in names)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and depth > 0:
            return _alternatives(schema[keyword], definitions, depth - 1)
    is_open = all(key in _ANNOTATIONS or key.startswith("x-") for key in schema)
    return "present" if is_open else "JSON that matches the schema"


def _merged(schema: Any, definitions: Mapping[str, Any], depth: int) -> dict[str, Any]:
    """Return a schema with its reference and the parts of its ``allOf`` laid over each other."""
    if not isinstance(schema, dict) or depth == 0:
        return {} if schema is True else {"not": {}}
    reference = schema.get("$ref")
    parts = [definitions.get(reference.rpartition("/")[2])] if isinstance(reference, str) else []
    parts += schema.get("allOf", ())
    merged: dict[str, Any] = {}
    for part in [*(_merged(part, definitions, depth - 1) for part in parts), schema]:
        required = dict.fromkeys([*merged.get("required", ()), *part.get("required", ())])
        merged |= {key: value for key, value in part.items() if key not in ("$ref", "allOf")}
        if required:
            merged["required"] = list(required)
    return merged


def _alternatives(schemas: Iterable[Any], definitions: Mapping[str, Any], depth: int) -> str:
    phrases: list[str] = []
    required: list[list[str]] = []
    place = 0
    for schema in schemas:
        merged = _merged(schema, definitions, depth)
        if merged.get("type") != "object":
            phrases.append(_phrase(schema, definitions, depth))
            continue
        if not required:
            place = len(phrases)
        required.append(merged.get("required", []))
    if required:
        phrases.insert(place, _object([name for name in required[0] if all(name in names for names in required)]))
    known = list(dict.fromkeys(phrase for phrase in phrases if phrase != "absent"))
    return "present" if "present" in known else " or ".join(known) or "absent"


def _typed(name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> str:
    if name == "object":
        return _object(schema.get("required", []))
    if name == "array":
        filled = "non-empty array" if schema.get("minItems", 0) > 0 else "array"
        items = _phrase(schema.get("items", True), definitions, depth - 1) if depth > 0 else ""
        kind = "object" if items.startswith("object with ") else items.rpartition(" ")[2]
        return f"{filled} of {kind}s" if kind in JSON_TYPES.values() and " or " not in items else filled
    if name == "string":
        return "non-empty string" if schema.get("minLength", 0) > 0 else "string"
    if name in ("integer", "number"):
        return _number(name, schema.get("minimum"), schema.get("maximum"))
    return name


def _number(name: str, low: Any, high: Any) -> str:
    if low is not None and high is not None:
        return f"{name} from {low} to {high}"
    if high is not None:
        return f"{name} of at most {high}"
    if low is None:
        return name
    if low == 0:
        return f"non-negative {name}"
    return "positive integer" if low == 1 and name == "integer" else f"{name} of at least {low}"


def _object(fields: Sequence[str]) -> str:
    if not fields:
        return "object"
    names, more = list(fields[:_MOST_FIELDS]), len(fields) - _MOST_FIELDS
    if more > 0:
        names.append(f"{more} more {'field' if more == 1 else 'fields'}")
    return f"object with {' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))}"


def _word(value: Any) -> str:
    """Return a value as JSON, but a plain word without quotes."""
    plain = isinstance(value, str) and _SIMPLE_WORD.fullmatch(value) and value not in ("true", "false", "null")
    return value if plain else json.dumps(value, ensure_ascii=False)


def _kind(value: Any) -> str:
    return JSON_TYPES.get(type(value), type(value).__name__)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
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
