"""Bodies that every endpoint must refuse: valid ones with a single fault.

Faults are made blindly and judged by the permissive variant of the contract: what that refuses is surely invalid,
because it has open objects and every null that any source allows. Many faults turn out harmless (an item without its
``type`` may pass as a reference, a field that one class requires is optional in its twin) and are left out.

A refused body is a 4xx. A 5xx or a hang is a defect; a 2xx means that the endpoint corrects what it is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any, Final

import jsonschema_rs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rejoinder.contract import SchemaVariant, load_dialect, request_schema
from rejoinder.contract.nodes import Array, Node, Object, Scalar, Schema, request_nodes
from rejoinder.json_copy import copy_json
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies.options import AnyDialect
from rejoinder.strategies.profile import EndpointProfile, named
from rejoinder.strategies.schema.leaves import repeated
from rejoinder.strategies.sets.limits import is_limited, places, tag_of
from rejoinder.strategies.sets.systematic import Body, seeds
from rejoinder.validation import escape_key, pointer_keys

__all__ = [
    "KINDS",
    "LONGEST",
    "Mutant",
    "PermissiveReading",
    "candidates",
    "classify",
    "invalid_requests",
    "surely_invalid",
]

#: What a fault does to the one place that it touches, and the keyword of JSON Schema that refuses it.
KINDS: Final[Mapping[str, str]] = {
    "root": "type",  # the body is no object
    "missing": "required",  # a field is left out
    "null": "type",
    "type": "type",  # a value of another JSON type
    "value": "enum",  # a string that is not among the allowed ones
    "type_unknown": "enum",  # the discriminator names no type
    "type_case": "enum",  # ... in upper case
    "type_blank": "enum",  # ... with a blank behind it
    "type_number": "type",  # ... is a number
    "type_missing": "required",
    "type_null": "type",
    "extra": "additionalProperties",  # a further property
    "below": "minimum",
    "above": "maximum",
    "step": "multipleOf",
    "short": "minLength",
    "long": "maxLength",
    "pattern": "pattern",
    "few": "minItems",
    "many": "maxItems",
    "repeated": "uniqueItems",
    "few_fields": "minProperties",
    "many_fields": "maxProperties",
    "name": "propertyNames",
    "alone": "dependentRequired",  # a field without another that it requires
}
#: The longest text and list that are made to exceed a limit; what allows more is the business of the edge cases.
LONGEST: Final = 65_536
_MANY: Final = 1_024
_ODD_TEXTS: Final = ("", " ", "\u00e9", "\n", "@/\\\0", "x" * 8)
_NO_SUCH: Final = "no_such_value"
_WORDS: Final[Mapping[str, str]] = {
    "root": "is not an object",
    "missing": "is missing",
    "null": "is null",
    "type": "has another JSON type",
    "value": "is none of the allowed values",
    "type_unknown": "names no known type",
    "type_case": "is written in upper case",
    "type_blank": "ends with a blank",
    "type_number": "is a number",
    "type_missing": "is missing",
    "type_null": "is null",
    "extra": "is an unknown field",
    "below": "is below the smallest value",
    "above": "is above the largest value",
    "step": "is not a multiple of the step",
    "short": "is too short",
    "long": "is too long",
    "pattern": "does not match the pattern",
    "few": "has too few elements",
    "many": "has too many elements",
    "repeated": "has two equal elements",
    "few_fields": "has too few fields",
    "many_fields": "has too many fields",
    "name": "has a name that is not allowed",
    "alone": "is missing beside the field that requires it",
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A body with one fault.

    ``kind`` is one of :data:`KINDS`; ``variant`` names the input item that the fault is in, or ``request``;
    ``location`` is the place inside that, with list indexes as ``*`` and the types of parts in brackets. ``pointer``
    is the JSON pointer of the fault in ``body``; for a missing field it names the field. ``base`` is the body without
    the fault.
    """

    kind: str
    variant: str
    location: str
    pointer: str
    body: Any = field(repr=False)
    base: Any = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """A stable ASCII id: ``invalid.null.function_call.call_id``."""
        place = re.sub(r"[^a-z0-9_*.]+", ".", self.location.lower()).strip(".")
        return ".".join(part for part in ("invalid", self.kind, self.variant, place) if part)

    @property
    def keyword(self) -> str:
        """The keyword of JSON Schema that refuses the body: ``maximum``."""
        return KINDS[self.kind]

    @property
    def reason(self) -> str:
        """What is wrong, in words, with the place and the keyword: ``input[0].call_id is missing (required).``"""
        place = self.param or "The body"
        return f"{place} {_WORDS[self.kind]} ({self.keyword})."

    @property
    def param(self) -> str:
        """The place as an error's ``param`` should name it: ``input[0].content[1].type``."""
        keys = pointer_keys(self.pointer)
        return "".join(f"[{key}]" if key.isdigit() else f".{key}" for key in keys).lstrip(".")


def surely_invalid(*, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None) -> list[Mutant]:
    """Return one mutant for every distinct fault (kind, variant, location) that is surely invalid.

    The bodies are as short as the contract allows; with ``profile`` they have its model and few tokens, so that an
    endpoint that takes them loses little. The order is that of the contract.
    """
    found: dict[tuple[str, str, str], Mutant] = {}
    name = named(profile, dialect)
    for seed in seeds(dialect=name, profile=profile):
        for mutant in classify(seed.body, variant=seed.variant, below=seed.below, known=found, dialect=name):
            found[mutant.kind, mutant.variant, mutant.location] = mutant
    return list(found.values())


def invalid_requests(
    *, dialect: AnyDialect | None = None, profile: EndpointProfile | None = None
) -> SearchStrategy[Mutant]:
    """Mutants of :func:`surely_invalid`. Shrinks towards the first."""
    return st.deferred(lambda: st.sampled_from(surely_invalid(dialect=dialect, profile=profile)))


def classify(
    body: Body,
    *,
    variant: str = "request",
    below: str = "",
    known: Container[tuple[str, str, str]] = (),
    dialect: AnyDialect | None = None,
    profile: EndpointProfile | None = None,
) -> Iterator[Mutant]:
    """Yield every mutant of a valid body that is surely invalid in the dialect, or else the profile's.

    Faults are made in the value at the JSON pointer ``below`` only, and those in ``known`` (kind, variant, location)
    are passed over. The body is changed while this runs and is as before whenever a mutant is yielded; mutants hold
    copies.
    """
    yield from PermissiveReading.of(named(profile, dialect)).mutants(body, variant, below, known)


def candidates(
    body: Body, *, below: str = "", dialect: AnyDialect | None = None, profile: EndpointProfile | None = None
) -> Iterator[bool]:
    """Yield for every fault that can be made below a pointer whether it is surely invalid; keep no mutant."""
    contract = PermissiveReading.of(named(profile, dialect))
    accepts = contract.validator.is_valid
    for _, holder, key, new, _, _ in contract.faults(body, below):
        undo = _change(holder, key, new)
        valid = accepts(body)
        undo()
        yield not valid


class PermissiveReading:
    """The permissive reading of a schema of bodies, as a judge and as a source of faults.

    ``allowed`` are patterns of the ids of mutants that a document of the dialect allows although the schema does not,
    ``root`` are the nodes of the schema.
    """

    def __init__(self, schema: Schema, allowed: Iterable[str], root: Object) -> None:
        self.validator = jsonschema_rs.Draft202012Validator(dict(schema))
        self.allowed = tuple(allowed)
        self.root = root
        self.limited = is_limited(root, set())

    @staticmethod
    @cache
    def of(dialect: str) -> PermissiveReading:
        """Return the reading of the request schema of a dialect."""
        schema = request_schema(SchemaVariant.PERMISSIVE, dialect=dialect)
        allowed = load_dialect(dialect).request["allowed_faults"]
        return PermissiveReading(schema, allowed, request_nodes(SchemaVariant.PERMISSIVE, dialect))

    def faults(self, body: Any, below: str) -> Iterator[_Fault]:
        """Yield the faults below a pointer: those that any body can have, then those that break a limit."""
        yield from _faults(_at(body, below), below, "")
        if self.limited:
            for kind, holder, key, new, pointer, place in places(self.root, body, below, _beyond):
                if kind == "alone":  # the new value names the field that goes
                    yield kind, holder[key], new, ABSENT, f"{pointer}/{escape_key(new)}", f"{place}/{new}"
                else:
                    yield kind, holder, key, new, pointer, place

    def mutants(
        self, body: Body, variant: str, below: str = "", known: Container[tuple[str, str, str]] = ()
    ) -> Iterator[Mutant]:
        """Yield every mutant of a valid body that is surely invalid, as :func:`classify` does."""
        accepts = self.validator.is_valid
        base = copy_json(body)
        if not below:
            roots: tuple[Any, ...] = ([], "text", 7, None, True)
            for wrong in roots:
                location = type(wrong).__name__
                if ("root", variant, location) not in known and not accepts(wrong):
                    yield Mutant("root", variant, location, "", wrong, base)
        for kind, holder, key, new, pointer, location in self.faults(body, below):
            if (kind, variant, location) in known:
                continue
            undo = _change(holder, key, new)
            mutant = None if accepts(body) else Mutant(kind, variant, location, pointer, copy_json(body), base)
            undo()
            if mutant is not None and not any(fnmatchcase(mutant.id, f"invalid.{one}") for one in self.allowed):
                yield mutant


def _at(body: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        body = body[int(part)] if isinstance(body, list) else body[part]
    return body


def _change(holder: Any, key: Any, new: Any) -> Callable[[], None]:
    """Put ``new`` into its place (ABSENT takes the field away) and return what undoes it, order included."""
    if isinstance(holder, dict) and (new is ABSENT or key not in holder):
        before = dict(holder)
        if new is ABSENT:
            del holder[key]
        else:
            holder[key] = new

        def restore() -> None:
            holder.clear()
            holder.update(before)

        return restore
    old = holder[key]
    holder[key] = new
    return partial(holder.__setitem__, key, old)


_Fault = tuple[str, Any, Any, Any, str, str]


def _faults(value: Any, pointer: str, place: str) -> Iterator[_Fault]:
    """Yield every fault in the places below ``value``: kind, container, key, new value, pointer, location."""
    if isinstance(value, dict):
        for key in list(value):
            spot, name = f"{pointer}/{escape_key(key)}", f"{place}/{key}"
            inner = value[key]
            tagged = key == "type" and isinstance(inner, str)
            kinds = _tag_faults(inner) if tagged else _value_faults(inner)
            yield "type_missing" if tagged else "missing", value, key, ABSENT, spot, name
            for kind, new in kinds:
                yield kind, value, key, new, spot, name
            yield from _faults(inner, spot, name + tag_of(inner))
        yield "extra", value, _NO_SUCH, 7, f"{pointer}/{_NO_SUCH}", f"{place}/{_NO_SUCH}"
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            spot, name = f"{pointer}/{index}", f"{place}/*"
            for kind, new in _value_faults(inner):
                yield kind, value, index, new, spot, name
            yield from _faults(inner, spot, name + tag_of(inner))


def _tag_faults(tag: str) -> Iterator[tuple[str, Any]]:
    yield "type_unknown", _NO_SUCH
    yield "type_case", tag.upper()
    yield "type_blank", tag + " "
    yield "type_number", 7
    yield "type_null", None


def _value_faults(value: Any) -> Iterator[tuple[str, Any]]:
    if value is not None:
        yield "null", None
    if isinstance(value, str):
        yield "type", 7
        yield "value", _NO_SUCH
    elif isinstance(value, bool | int | float):
        yield "type", "seven"  # no parser takes it for a number or for true
    elif isinstance(value, list):
        yield "type", {"0": "text"}
    elif isinstance(value, dict):
        yield "type", "text"


def _beyond(node: Node, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a value becomes one step beyond each of its limits."""
    if isinstance(node, Scalar) and isinstance(value, str):
        yield from _odd_texts(node.schema, value)
    elif isinstance(node, Scalar) and isinstance(value, int | float) and not isinstance(value, bool):
        yield from _odd_numbers(node.schema, value)
    elif isinstance(node, Array) and isinstance(value, list):
        if node.smallest:
            yield "few", value[: node.smallest - 1]
        if node.largest is not None and node.largest < _MANY and value:
            yield "many", [copy_json(value[index % len(value)]) for index in range(node.largest + 1)]
        if node.unique and value:
            yield "repeated", [*value[:1], *value[: (node.largest or len(value) + 1) - 1]]
    elif isinstance(node, Object) and isinstance(value, dict):
        for name in value:
            yield from (("alone", other) for other in node.dependent.get(name, ()) if other in value)
        if node.smallest:
            yield "few_fields", dict(list(value.items())[: node.smallest - 1])
        filler = next(iter(value.values()), "value")
        if node.largest is not None and node.largest < _MANY:
            more = {f"key{number}": copy_json(filler) for number in range(node.largest + 1)}
            yield "many_fields", dict(list((value | more).items())[: node.largest + 1])
        if isinstance(node.names, Scalar):
            accepts = jsonschema_rs.Draft202012Validator(dict(node.names.schema)).is_valid
            longer = repeated("k", node.names.schema.get("maxLength", 0) + 1)
            for name in [text for text in (*_ODD_TEXTS, longer) if not accepts(text)][:1]:
                yield "name", {**value, name: copy_json(filler)}


def _odd_texts(schema: Mapping[str, Any], value: str) -> Iterator[tuple[str, str]]:
    low, high = schema.get("minLength", 0), schema.get("maxLength")
    if low:
        yield "short", repeated(value or "a", low - 1)
    if high is not None and high < LONGEST:
        yield "long", repeated(value or "a", high + 1)
    if "pattern" in schema:
        rest = {key: limit for key, limit in schema.items() if key != "pattern"}
        fits_rest, fits_all = (jsonschema_rs.Draft202012Validator(dict(part)).is_valid for part in (rest, schema))
        odd = (value + "\u00e9", value + " ", repeated("\u00e9", max(low, 1)), *_ODD_TEXTS)
        yield from (("pattern", text) for text in [text for text in odd if fits_rest(text) and not fits_all(text)][:1])


def _odd_numbers(schema: Mapping[str, Any], value: float) -> Iterator[tuple[str, Any]]:
    if "minimum" in schema:
        yield "below", schema["minimum"] - 1
    if "exclusiveMinimum" in schema:
        yield "below", schema["exclusiveMinimum"]
    if "maximum" in schema:
        yield "above", schema["maximum"] + 1
    if "exclusiveMaximum" in schema:
        yield "above", schema["exclusiveMaximum"]
    step = schema.get("multipleOf")
    if step is not None and (schema["type"] == "number" or step > 1):
        yield "step", value + (1 if schema["type"] == "integer" else step / 2)
