"""Bodies that every endpoint must refuse: valid ones with a single fault.

Faults are made blindly and judged by the permissive variant of the contract: what that refuses is surely invalid,
because it has open objects and every null that any source allows. Many faults turn out harmless (an item without its
``type`` may pass as a reference, a field that one class requires is optional in its twin) and are left out.

A refused body is a 4xx. A 5xx or a hang is a defect; a 2xx means that the endpoint corrects what it is sent.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import Any, Final

import jsonschema_rs
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from rejoinder.contract import DEFAULT_DIALECT, SchemaVariant, load_dialect, request_schema
from rejoinder.model.verdict import ABSENT
from rejoinder.strategies.profile import EndpointProfile
from rejoinder.strategies.sets.systematic import Body, seeds
from rejoinder.validation import escape_key, pointer_keys

__all__ = ["KINDS", "Mutant", "candidates", "classify", "invalid_requests", "surely_invalid"]

#: What a fault does to the one place that it touches.
KINDS: Final = (
    "root",  # the body is no object
    "missing",  # a field is left out
    "null",
    "type",  # a value of another JSON type
    "value",  # a string that is not among the allowed ones
    "type_unknown",  # the discriminator names no type
    "type_case",  # ... in upper case
    "type_blank",  # ... with a blank behind it
    "type_number",  # ... is a number
    "type_missing",
    "type_null",
    "extra",  # a further property
)
_NO_SUCH: Final = "no_such_value"


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
    def param(self) -> str:
        """The place as an error's ``param`` should name it: ``input[0].content[1].type``."""
        keys = pointer_keys(self.pointer)
        return "".join(f"[{key}]" if key.isdigit() else f".{key}" for key in keys).lstrip(".")


def surely_invalid(*, profile: EndpointProfile | None = None) -> list[Mutant]:
    """Return one mutant for every distinct fault (kind, variant, location) that is surely invalid.

    The bodies are as short as the contract allows; with ``profile`` they have its model and few tokens, so that an
    endpoint that takes them loses little. The order is that of the contract.
    """
    found: dict[tuple[str, str, str], Mutant] = {}
    for seed in seeds(profile=profile):
        for mutant in classify(seed.body, variant=seed.variant, below=seed.below, known=found, profile=profile):
            found[mutant.kind, mutant.variant, mutant.location] = mutant
    return list(found.values())


def invalid_requests(*, profile: EndpointProfile | None = None) -> SearchStrategy[Mutant]:
    """Mutants of :func:`surely_invalid`. Shrinks towards the first."""
    return st.deferred(lambda: st.sampled_from(surely_invalid(profile=profile)))


def classify(
    body: Body,
    *,
    variant: str = "request",
    below: str = "",
    known: Container[tuple[str, str, str]] = (),
    profile: EndpointProfile | None = None,
) -> Iterator[Mutant]:
    """Yield every mutant of a valid body that is surely invalid in the profile's dialect.

    Faults are made in the value at the JSON pointer ``below`` only, and those in ``known`` (kind, variant, location)
    are passed over. The body is changed while this runs and is as before whenever a mutant is yielded; mutants hold
    copies.
    """
    accepts = _permissive(profile).is_valid
    allowed = _allowed(profile)
    base = copy.deepcopy(body)
    if not below:
        roots: tuple[Any, ...] = ([], "text", 7, None, True)
        for wrong in roots:
            location = type(wrong).__name__
            if ("root", variant, location) not in known and not accepts(wrong):
                yield Mutant("root", variant, location, "", wrong, base)
    for kind, holder, key, new, pointer, location in _faults(_at(body, below), below, ""):
        if (kind, variant, location) in known:
            continue
        undo = _change(holder, key, new)
        mutant = None if accepts(body) else Mutant(kind, variant, location, pointer, copy.deepcopy(body), base)
        undo()
        if mutant is not None and not any(fnmatchcase(mutant.id, f"invalid.{pattern}") for pattern in allowed):
            yield mutant


def candidates(body: Body, *, below: str = "", profile: EndpointProfile | None = None) -> Iterator[bool]:
    """Yield for every fault that can be made below a pointer whether it is surely invalid; keep no mutant."""
    accepts = _permissive(profile).is_valid
    for _, holder, key, new, _, _ in _faults(_at(body, below), below, ""):
        undo = _change(holder, key, new)
        valid = accepts(body)
        undo()
        yield not valid


@cache
def _permissive(profile: EndpointProfile | None) -> jsonschema_rs.Draft202012Validator:
    dialect = DEFAULT_DIALECT if profile is None else profile.dialect
    return jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.PERMISSIVE, dialect=dialect))


@cache
def _allowed(profile: EndpointProfile | None) -> tuple[str, ...]:
    """Return patterns of the mutants that a document of the dialect allows although the request schema does not."""
    return tuple(load_dialect(DEFAULT_DIALECT if profile is None else profile.dialect).request["allowed_faults"])


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
            yield from _faults(inner, spot, name + _tag(inner))
        yield "extra", value, _NO_SUCH, 7, f"{pointer}/{_NO_SUCH}", f"{place}/{_NO_SUCH}"
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            spot, name = f"{pointer}/{index}", f"{place}/*"
            for kind, new in _value_faults(inner):
                yield kind, value, index, new, spot, name
            yield from _faults(inner, spot, name + _tag(inner))


def _tag(value: Any) -> str:
    tag = value.get("type") if isinstance(value, dict) else None
    return f"[{tag}]" if isinstance(tag, str) else ""


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
