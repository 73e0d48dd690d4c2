"""The catalogue of freedoms, one module for each family of the rules that judge what they leave open.

Each freedom is one thing that a correct endpoint may do. No rule of level MUST or SHOULD may fail for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Final

from rejoinder.contract import family_modules
from rejoinder.extensions import Extension, extensions
from rejoinder.sandbox.freedom import Freedom
from rejoinder.sandbox.variations import own_rows

__all__ = ["FREEDOMS", "family_of", "load_freedoms"]

_MODULES: Final = family_modules(__name__)

FREEDOMS: Final[Mapping[str, Freedom]] = MappingProxyType(
    {freedom.id: freedom for module in _MODULES for freedom in module.FREEDOMS}
)
"""Every freedom by its id, in the order of the families."""


def family_of(freedom: Freedom) -> str:
    """Return the rule family whose module has the freedom; empty for one of an extension."""
    return next((module.__name__.rpartition(".")[2].upper() for module in _MODULES if freedom in module.FREEDOMS), "")


def load_freedoms() -> Mapping[str, Freedom]:
    """Return every freedom by its id, those of extensions last.

    Raises :class:`~rejoinder.errors.ExtensionError` for a bad one.
    """
    return _load(extensions())


@cache
def _load(used: tuple[Extension, ...]) -> Mapping[str, Freedom]:
    freedoms = dict(FREEDOMS)
    for extension in used:
        for freedom in own_rows(extension, "freedoms", Freedom, freedoms):
            if not freedom.sources and not freedom.argument:
                raise extension.error(
                    "freedoms", f"the freedom {freedom.id} has neither sources nor an argument. Say what allows it"
                )
            freedoms[freedom.id] = freedom
    return MappingProxyType(freedoms)
