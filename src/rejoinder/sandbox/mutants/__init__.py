"""Mutants: defects of the sandbox that operators generate, in place of faults that somebody thought of.

An operator changes one thing, such as a field of a reply, the order of events or what is kept. It is applied at every
place that a run against the sandbox without faults shows. The mutant ``field-deleted:create/usage`` is that of the
operator ``field-deleted`` at the place ``create/usage``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rejoinder.errors import UsageError, suggest
from rejoinder.sandbox.mutants import events, fields, headers, operations, requests, states
from rejoinder.sandbox.mutants.mutant import SEEN_AT, CleanRun, Operator, Places, SandboxMutant
from rejoinder.sandbox.mutants.wire import is_schema_valid, rerecorded

__all__ = [
    "OPERATORS",
    "SEEN_AT",
    "CleanRun",
    "Operator",
    "Places",
    "SandboxMutant",
    "find_mutant",
    "is_schema_valid",
    "rerecorded",
]

OPERATORS: Final[Mapping[str, Operator]] = MappingProxyType(
    {
        operator.name: operator
        for module in (fields, events, requests, states, operations, headers)
        for operator in module.OPERATORS
    }
)
"""Every operator by its name."""


def find_mutant(id: str, dialect: str) -> SandboxMutant:
    """Return the mutant of an id in a dialect.

    Raises :class:`~rejoinder.errors.UsageError` for an unknown operator, and for what is no place of the operator.
    """
    name, _, place = id.partition(":")
    operator = OPERATORS.get(name)
    if operator is None:
        hint = "`python -m rejoinder.conformance.proof.mutants` prints the ids of mutants."
        raise UsageError(f'"{name}" is not an operator of mutants.', suggest(name, OPERATORS, hint))
    try:
        return operator.mutant(place, dialect)
    except ValueError as error:
        raise UsageError(f'"{id}" is not a mutant: {error}.', "An id is an operator, a colon and a place.") from error
