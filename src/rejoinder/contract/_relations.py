"""Relations between requests: rows of data that say which two requests are the same but for how they are sent."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final, TypeVar

import msgspec

from rejoinder.errors import ContractError

_FILE: Final = "relations.toml"


class Aspect(StrEnum):
    """What two related responses must have in common; see ``relations.toml``."""

    ACCEPTANCE = "acceptance"
    FIELDS = "fields"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class Relation:
    """One relation; see ``relations.toml`` for what its fields mean."""

    name: str
    one: str
    other: str
    kinds: tuple[str, str]
    rules: Mapping[Aspect, str]
    forms: tuple[str, ...] = ()
    omit: Mapping[str, Any] = field(default_factory=dict)
    apart: str = ""
    needs: str = ""
    unless: tuple[str, ...] = ()
    varies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Volatile:
    """The names of fields that may be different each time that a request is sent; see ``relations.toml``."""

    response: frozenset[str]
    outcome: frozenset[str]
    inside: frozenset[str]


Row = TypeVar("Row", Relation, Volatile)


@cache
def load_relations() -> Mapping[str, Relation]:
    """Return all relations by name, in the order of the file. Raises :class:`ContractError` on a bad row."""
    rows = _read()["relations"]
    return {name: _converted({**row, "name": name}, Relation) for name, row in rows.items()}


@cache
def load_volatile() -> Volatile:
    """Return the fields that no relation compares. Raises :class:`ContractError` where the file is wrong."""
    return _converted(_read()["volatile"], Volatile)


def _read() -> dict[str, Any]:
    return tomllib.loads(files("rejoinder.contract").joinpath(_FILE).read_text("utf-8"))


def _converted(row: Mapping[str, Any], kind: type[Row]) -> Row:
    if unknown := sorted(row.keys() - {field.name for field in fields(kind)}):
        raise ContractError(f"{_FILE}: {unknown[0]} is not a known key.")
    try:
        return msgspec.convert(row, kind)
    except msgspec.ValidationError as error:
        raise ContractError(f"{_FILE}: {error}.") from error
