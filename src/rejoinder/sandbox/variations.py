"""Collecting variations: the rows of this project by family, and those of extensions, checked."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from fnmatch import filter as fnfilter
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from rejoinder.contract import Dialect, dialect_names
from rejoinder.errors import UsageError, suggest
from rejoinder.extensions import Extension
from rejoinder.sandbox.fault import Variation

Row = TypeVar("Row", bound=Variation)


def own_rows(extension: Extension, part: str, kind: type[Row], taken: Container[str]) -> Iterator[Row]:
    """Yield the variations in the list of an extension's module, such as ``FAULTS`` of ``faults``; none without it.

    ``taken`` holds the ids that others have. Raises :class:`~rejoinder.errors.ExtensionError` for what is no such list
    and for an id or dialect that cannot be used.
    """
    module = extension.load(part)
    if module is None:
        return
    rows: Any = getattr(module, part.upper(), None)
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, kind) for row in rows):
        raise extension.error(part, f"{part.upper()} must exist and be a list of {kind.__name__}")
    for row in rows:
        if problem := _problem(row, extension.name, taken):
            raise extension.error(part, f"the {kind.__name__.lower()} {row.id} {problem}")
        yield row


def _problem(row: Variation, name: str, taken: Container[str]) -> str:
    """Return what is wrong with a variation of the extension of that name; empty for nothing."""
    if not row.id.startswith(f"{name}-"):
        return f"must have an id that begins with {name}-"
    if row.id in taken:
        return f"has an id that another {type(row).__name__.lower()} has"
    unknown = [dialect for dialect in row.dialects if dialect not in dialect_names()]
    return f'is for the unknown dialect "{unknown[0]}"' if unknown else ""


def exists(row: Variation, dialect: Dialect, kind: str) -> bool:
    """Return whether a dialect has a variation: what its file says, else what the shipped dialect below it has."""
    if kind == "freedom":
        for key, answer in (("remove", False), ("add", True)):
            if any(fnmatchcase(row.id, pattern) for pattern in dialect.freedoms[key]):
                return answer
    return row.exists_in(dialect.shipped)


def check_freedoms(dialect: Dialect, known: Iterable[str]) -> None:
    """Raise :class:`~rejoinder.errors.UsageError` for a freedom in a dialect file that is none of those known."""
    for key, patterns in dialect.freedoms.items():
        for pattern in patterns:
            if not fnfilter(known, pattern):
                raise UsageError(
                    f'{dialect.reference}: at /freedoms/{key}, "{pattern}" is not a freedom of the sandbox.',
                    suggest(pattern, known, "`rejoinder sandbox --list-freedoms` lists them."),
                )


def find(name: str, dialect: Dialect, known: Mapping[str, Row], kind: str) -> Row:
    """Return the variation of that id; ``kind`` is the word for it, such as ``fault``.

    Raises :class:`~rejoinder.errors.UsageError` for an unknown one, and for one that the dialect does not have.
    """
    found = known.get(name)
    if found is None:
        raise UsageError(
            f'"{name}" is not a {kind} of the sandbox.',
            suggest(name, known, f"`rejoinder sandbox --list-{kind}s` lists them."),
        )
    if not exists(found, dialect, kind):
        raise UsageError(
            f'{kind.capitalize()} "{name}" does not exist in dialect {dialect.name}.',
            f"Use --dialect {' or '.join(found.dialects or dialect_names())}.",
        )
    return found
