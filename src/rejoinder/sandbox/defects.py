"""Classes of defects that were seen in the field, and the faults that model them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class DefectClass:
    """One class of defects.

    Either ``faults`` names the faults of the sandbox that model it, ``under_load`` those of its server, or one of the
    reasons says why there is none: ``reported`` where a run shows it without a verdict, ``unseen`` where a client
    cannot see it.
    """

    id: str
    statement: str
    faults: tuple[str, ...] = ()
    under_load: tuple[str, ...] = ()
    reported: str = ""
    unseen: str = ""

    @property
    def reason(self) -> str:
        """Why no fault models it; empty where one does."""
        return self.reported or self.unseen


@cache
def load_defects() -> Mapping[str, DefectClass]:
    """Return all classes by id, in alphabetical order."""
    table = tomllib.loads(files("rejoinder.sandbox").joinpath("defects.toml").read_text(encoding="utf-8"))
    found = {}
    for name, row in table.items():
        lists = {key: tuple(row.get(key, ())) for key in ("faults", "under_load")}
        found[name] = DefectClass(name, **{**row, **lists})
    return MappingProxyType(found)


@cache
def classes_of(fault: str) -> tuple[str, ...]:
    """Return the ids of the classes that a fault models, be it one of the sandbox or of its server."""
    return tuple(name for name, row in load_defects().items() if fault in (*row.faults, *row.under_load))
