"""Bodies in files: to replay what failed, and to feed load generators that must not draw while they measure.

A corpus is JSONL: one object a line with ``id`` and ``body``. A failing body is kept as JSON and never as a seed,
because the same seed gives other bodies in other versions of Hypothesis. Lines are written as
:func:`~rejoinder.strategies.encode.to_bytes` writes them, so that every body that could be sent can be kept.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

from rejoinder.errors import UsageError
from rejoinder.strategies.encode import to_bytes

__all__ = ["Entry", "draw", "read_corpus", "write_corpus"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A body with the id under which it is replayed and reported."""

    id: str
    body: Any


def draw(strategy: SearchStrategy[Any], n: int, *, seed_: int = 0) -> list[Any]:
    """Return ``n`` different-looking values of a strategy, the same for the same seed and version of Hypothesis.

    For making a corpus outside of a test. Fewer come back when the strategy has no more.
    """
    found: list[Any] = []

    @seed(seed_)
    @settings(
        max_examples=max(n, 1),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        if len(found) < n:
            found.append(value)

    collect()
    return found


def write_corpus(path: str | os.PathLike[str], entries: Iterable[Entry], *, append: bool = False) -> int:
    """Write entries, one a line, and return how many; with ``append`` behind what the file holds."""
    count = 0
    with Path(path).open("ab" if append else "wb") as file:
        for entry in entries:
            file.write(to_bytes({"id": entry.id, "body": entry.body}) + b"\n")
            count += 1
    return count


def read_corpus(path: str | os.PathLike[str]) -> Iterator[Entry]:
    """Yield the entries of a corpus; blank lines are passed over.

    Raises :class:`~rejoinder.errors.UsageError`, naming file and line, for anything that is no entry.
    """
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield _entry(line, f"{path}, line {number}")
    except OSError as error:
        raise UsageError(f"The corpus {path} cannot be read: {error.strerror}.") from error


def _entry(line: bytes, place: str) -> Entry:
    try:
        record = json.loads(line)
        entry = Entry(record["id"], record["body"])
        if not isinstance(entry.id, str):
            raise TypeError("id is no string")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(
            f"{place}: not an entry of a corpus ({type(error).__name__}: {error}).",
            'Every line is an object with "id" (a string) and "body".',
        ) from error
    return entry
