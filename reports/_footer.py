"""What a run's footer says besides the verdicts: what the endpoint can do, and what became of its baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rejoinder.reports._text import listed, one_line, plural
from rejoinder.runfile import Run

ENTRIES: Final = 200
"""Rows of one table that are shown; the others are counted."""
_KINDS: Final = {
    "unexpected_passes": ("Fixed: passes although the baseline expects a failure", "pass"),
    "expired": ("Expired: past its day, so it counts no more", "warn"),
    "stale": ("Stale: its rule was not judged on its case", "na"),
    "known": ("Known: fails as expected", "known"),
}
_SIGNS: Final = {"supported": "pass", "unsupported": "na", "broken": "fail", "partial": "warn"}


class Capability(NamedTuple):
    """A feature, whether the endpoint has it, what showed that, and the sign that stands for it."""

    feature: str
    state: str
    evidence: str
    sign: str


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the endpoint can do; ``hidden`` counts what there is no room for."""

    rows: list[Capability]
    hidden: int
    brief: str


class Entry(NamedTuple):
    """A line of the baseline and what the run says of it."""

    rule: str
    case: str
    fingerprint: str
    reason: str
    link: str
    expires: str
    note: str


class Group(NamedTuple):
    """Baseline entries of which the same became; ``hidden`` counts those that there is no room for."""

    title: str
    sign: str
    entries: list[Entry]
    hidden: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """What became of the entries of a baseline file."""

    file: str
    strict: bool
    groups: list[Group]
    brief: str


def read_capabilities(run: Run) -> Capabilities | None:
    """Return what the footer says of the endpoint's features, or ``None``; never raises."""
    told = _rows(run.footer.get("capabilities"))
    if not told:
        return None
    rows = []
    for row in told[:ENTRIES]:
        state = one_line(row.get("state") or "", 40)
        sign = _SIGNS.get(state, "none")
        feature, evidence = one_line(row.get("feature") or "?", 120), one_line(row.get("evidence") or "", 300)
        rows.append(Capability(feature, state.replace("_", " "), evidence, sign))
    states = [row.state for row in rows]
    brief = listed((f"{states.count(state):,} {state or 'not told'}" for state in dict.fromkeys(states)), 4)
    return Capabilities(rows, len(told) - len(rows), brief)


def read_baseline(run: Run) -> Baseline | None:
    """Return what the footer says of the baseline, or ``None``; never raises."""
    told = run.footer.get("baseline")
    if not isinstance(told, dict):
        return None
    groups, parts = [], []
    for kind, (title, sign) in _KINDS.items():
        rows = _rows(told.get(kind))
        if rows:
            groups.append(Group(title, sign, [_entry(row) for row in rows[:ENTRIES]], max(0, len(rows) - ENTRIES)))
            parts.append(f"{len(rows):,} {title.partition(':')[0].lower()}")
    brief = ", ".join(parts) or plural(0, "entry", "entries")
    return Baseline(one_line(told.get("file") or "", 200), bool(told.get("strict")), groups, brief)


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(*(one_line(row.get(name) or "", 300) for name in Entry._fields))


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
