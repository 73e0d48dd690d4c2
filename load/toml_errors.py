"""Tables of a file that people write: where something stands in it, and keys that are not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rejoinder.errors import UsageError


class Place(NamedTuple):
    """A file and a key in it."""

    file: str
    key: str = ""

    def down(self, key: str) -> Place:
        """Return the place of a key below this one."""
        return Place(self.file, f"{self.key}.{key}" if self.key else key)

    def __str__(self) -> str:
        return f"{self.file}: {self.key}" if self.key else self.file


def check_keys(table: Mapping[str, Any], known: Iterable[str], place: Place) -> None:
    """Raise :class:`UsageError` for a key that is not among the known ones, with the closest of them."""
    names = list(known)
    for key in table:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            raise UsageError(
                f"{place.down(key)} is not known.",
                f"Did you mean {near[0]}?" if near else f"Known are {', '.join(names)}.",
            )
