"""The rule catalogue: rows of data, one file per family."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from rejoinder.errors import ContractError
from rejoinder.model.verdict import Level

FAMILIES: Final[Mapping[str, str]] = {
    "HTTP": "HTTP envelope",
    "SSE": "Event-stream framing",
    "EVT": "Event envelope",
    "LIF": "Response lifecycle",
    "ITM": "Output items",
    "PRT": "Content parts",
    "ACC": "Accumulation",
    "RSP": "Response object",
    "USG": "Usage",
    "ERR": "Errors",
    "ECH": "Echo of the request",
    "TOL": "Tools",
    "STA": "State",
    "MEM": "Memory and meaning",
    "PAR": "Parameters",
    "BGR": "Background, cancel, replay",
    "ISO": "Isolation",
    "CAP": "Required features",
    "WSP": "WebSocket profile",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the catalogue.

    ``id`` is never reused or renumbered. ``title`` is a few words, ``statement`` one sentence, ``source`` where it
    comes from. ``levels`` holds a level for each dialect that differs from ``level``. ``unchecked`` says why there is
    no check, else empty. ``takes`` says what a run must be given to judge it, else empty.
    """

    id: str
    title: str
    statement: str
    source: str
    level: Level
    levels: Mapping[str, Level]
    unchecked: str = ""
    takes: str = ""

    @property
    def family(self) -> str:
        """The part of the id before the hyphen."""
        return self.id.partition("-")[0]

    def level_in(self, dialect: str) -> Level:
        """Return the rule's level in the dialect of that name."""
        return self.levels.get(dialect, self.level)


@cache
def load_rules() -> Mapping[str, Rule]:
    """Return all rules by id, in catalogue order; raises :class:`ContractError` on a bad row."""
    rules: dict[str, Rule] = {}
    folder = files("rejoinder.contract").joinpath("rules")
    for family in FAMILIES:
        name = f"{family.lower()}.toml"
        raw = tomllib.loads(folder.joinpath(name).read_text("utf-8"))
        for row in raw.get("rule", ()):
            rule = _rule(name, row)
            if rule.id in rules or rule.family != family:
                raise ContractError(f"rules/{name}: rule {rule.id} stands twice or in the wrong file.")
            rules[rule.id] = rule
    return rules


def _rule(name: str, row: Mapping[str, Any]) -> Rule:
    try:
        return Rule(
            id=row["id"],
            title=row["title"],
            statement=row["statement"],
            source=row["source"],
            level=Level(row["level"]),
            levels={dialect: Level(level) for dialect, level in row.get("levels", {}).items()},
            unchecked=row.get("unchecked", ""),
            takes=row.get("takes", ""),
        )
    except (KeyError, ValueError) as error:
        raise ContractError(f"rules/{name}: bad row {row.get('id', '?')}: {error}.") from error
