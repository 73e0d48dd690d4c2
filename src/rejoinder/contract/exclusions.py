"""Request fields that a dialect does not take together: the parameter ``exclusive`` of its ``[request]`` table.

Each element names fields that exclude each other, separated by spaces. ``previous_response_id conversation`` excludes
the two fields where both have a value; null and an empty value count as none. ``background=true store=false`` excludes
two values, which are JSON. Dots lead into objects: ``text.format``.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.contract._vocabulary import fail
from rejoinder.model.verdict import ABSENT
from rejoinder.validation import JSON_TYPES

_GIVEN: Final = object()
"""The value of a term without one: any but null and an empty one."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Values of request fields that a dialect does not take together.

    ``text`` is the element of the dialect file, ``terms`` are its paths, each with the value that counts.
    """

    text: str
    terms: tuple[tuple[tuple[str, ...], Any], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the top-level fields."""
        return tuple(path[0] for path, _ in self.terms)

    def applies(self, body: Mapping[str, Any]) -> bool:
        """Return whether a request body has all of these values."""
        return all(_has(body, path, value) for path, value in self.terms)


def read_exclusions(elements: Iterable[str], file: str) -> tuple[Exclusion, ...]:
    """Return the exclusions that a dialect file lists.

    Raises :class:`~rejoinder.errors.ContractError`, naming ``file`` and the element, for one that cannot be read.
    """
    return tuple(_read(element, f"/request/exclusive/{number}", file) for number, element in enumerate(elements))


def without_excluded(
    body: Mapping[str, Any], exclusions: Iterable[Exclusion], keep: Collection[str] = ()
) -> dict[str, Any]:
    """Return a request body without the fields that others of it exclude, the last of each exclusion first.

    Fields in ``keep`` stay.
    """
    kept = dict(body)
    for exclusion in exclusions:
        last = next((name for name in reversed(exclusion.fields) if name not in keep), None)
        if last is not None and exclusion.applies(kept):
            del kept[last]
    return kept


def _read(element: str, pointer: str, file: str) -> Exclusion:
    terms = []
    for term in element.split():
        path, equals, text = term.partition("=")
        value: Any = _GIVEN
        if equals:
            try:
                value = json.loads(text)
            except ValueError as error:
                raise fail(file, pointer, "exclusive", f"{text!r} is not JSON") from error
            if isinstance(value, dict | list):
                raise fail(file, pointer, "exclusive", "only strings, numbers, booleans and null are allowed as values")
        names = tuple(path.split("."))
        if not all(names):
            raise fail(file, pointer, "exclusive", f"{term!r} does not name a field")
        terms.append((names, value))
    if len({names[0] for names, _ in terms}) < 2:
        raise fail(file, pointer, "exclusive", f"{element!r} must name two or more fields, separated by spaces")
    return Exclusion(element, tuple(terms))


def _has(body: Any, path: tuple[str, ...], wanted: Any) -> bool:
    found = body
    for name in path:
        found = found.get(name, ABSENT) if isinstance(found, Mapping) else ABSENT
    if wanted is _GIVEN:
        return found is not ABSENT and found is not None and found not in ("", [], {})
    # True equals 1 in Python and not in JSON.
    return bool(found == wanted and JSON_TYPES.get(type(found)) == JSON_TYPES.get(type(wanted)))
