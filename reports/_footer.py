"""What a run's footer says besides the verdicts: what the endpoint can do, and what became of its baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rejoinder.formatting import join_list, one_line, plural
from rejoinder.model.runfile import Run

ENTRIES: Final = 200
"""Rows of one table that are shown; the others are counted."""
_KINDS: Final = {
    "unexpected_passes": ("Fixed: passes although the baseline expects a failure", "pass"),
    "expired": ("Expired: past its day, so it counts no more", "warn"),
    "stale": ("Stale: its rule was not judged on its case", "na"),
    "known": ("Known: fails as expected", "known"),
}
_STATES: Final = {
    "supported": ("supported", "pass"),
    "unseen": ("accepted, not seen in a reply", "warn"),
    "refused": ("refused", "na"),
    "failed": ("failed", "fail"),
    "untried": ("not tried", "none"),
}
"""What the states of features are called, and their signs."""
_ABILITIES: Final = {
    "repeats": "repeat a planted word",
    "calls": "call a tool",
    "follows_schema": "follow a JSON Schema",
}


class Capability(NamedTuple):
    """A feature: its name, what it is, whether the endpoint has it, what showed that, and the sign that stands for it.

    ``required`` says that the run was told to require it.
    """

    feature: str
    title: str
    state: str
    evidence: str
    sign: str
    required: bool


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the endpoint can do; ``hidden`` counts what there is no room for.

    ``lacking`` names the features that it lacks, ``unable`` says what its model was asked for and did not show; either
    is empty when there is nothing of the sort.
    """

    rows: list[Capability]
    hidden: int
    brief: str
    lacking: str
    unable: str


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
    """What became of the entries of a baseline file.

    ``outdated`` says, a sentence for each, which entries make the run fail; only those of a strict baseline do.
    """

    file: str
    strict: bool
    groups: list[Group]
    brief: str
    outdated: list[str]


def read_capabilities(run: Run) -> Capabilities | None:
    """Return what the footer says of the endpoint's features and its model's abilities, or ``None``; never raises."""
    told = _rows(run.footer.get("capabilities"))
    if not told:
        return None
    required = run.header.get("required")
    wanted = required if isinstance(required, list) else []
    rows = [_capability(row, wanted) for row in told]
    states = [row.state for row in rows]
    brief = join_list((f"{states.count(state):,} {state or 'not told'}" for state in dict.fromkeys(states)), 5)
    missing = {
        words: [row.feature for row in rows if row.state == words]
        for words in (_STATES["refused"][0], _STATES["failed"][0])
    }
    lacking = "; ".join(f"{words}: {join_list(names, 20)}" for words, names in missing.items() if names)
    shown = run.footer.get("abilities")
    shown = shown if isinstance(shown, dict) else {}
    unable = [words for name, words in _ABILITIES.items() if _is_missed(shown.get(name))]
    sentence = f"The model did not {', '.join(unable)} when it was asked to." if unable else ""
    return Capabilities(rows[:ENTRIES], max(0, len(rows) - ENTRIES), brief, lacking, sentence)


def _capability(row: dict[str, Any], wanted: list[Any]) -> Capability:
    raw = one_line(row.get("state") or "", 40)
    state, sign = _STATES.get(raw, (raw, "none"))
    found = row.get("evidence")
    told = found if isinstance(found, dict) else {}
    words, status = one_line(told.get("words") or "", 300), told.get("status")
    parts = [one_line(told.get("exchange") or "", 60), f"status {status}" if isinstance(status, int) else "", words]
    feature, title = one_line(row.get("feature") or "?", 120), one_line(row.get("title") or "", 120)
    evidence = " · ".join(part for part in parts if part)
    return Capability(feature, title, state, evidence, sign, row.get("feature") in wanted)


def _is_missed(ability: Any) -> bool:
    return isinstance(ability, dict) and ability.get("shown") is False


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
    strict = bool(told.get("strict"))
    old = [row for kind in ("unexpected_passes", "stale") for row in _rows(told.get(kind))] if strict else []
    outdated = [f"{entry.rule}@{entry.case}: {entry.note}" for entry in map(_entry, old[:ENTRIES])]
    return Baseline(one_line(told.get("file") or "", 200), strict, groups, brief, outdated)


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(*(one_line(row.get(name) or "", 300) for name in Entry._fields))


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
