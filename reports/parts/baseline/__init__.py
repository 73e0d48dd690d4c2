"""What became of the entries of a baseline file: fixed, expired, stale, or failing as they expect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from rejoinder.formatting import one_line, plural
from rejoinder.reports.model import Area, Part, ReportModel

ENTRIES: Final = 200
"""Entries of one group that are shown; the others are counted."""
_KINDS: Final = {
    "unexpected_passes": ("Fixed: passes although the baseline expects a failure", "pass"),
    "expired": ("Expired: past its day, so it counts no more", "warn"),
    "stale": ("Stale: its rule was not judged on its case", "na"),
    "known": ("Known: fails as expected", "known"),
}


class BaselineLine(NamedTuple):
    """A line of the baseline and what the run says of it."""

    rule: str
    case: str
    fingerprint: str
    reason: str
    link: str
    expires: str
    note: str


class BaselineGroup(NamedTuple):
    """Entries of a baseline that had the same outcome; ``hidden`` counts those that there is no room for."""

    title: str
    sign: str
    entries: list[BaselineLine]
    hidden: int


@dataclass(frozen=True, slots=True)
class BaselineSummary:
    """What became of the entries of a baseline file.

    ``outdated`` says, a sentence for each, which entries make the run fail; only those of a strict baseline do.
    """

    file: str
    strict: bool
    groups: list[BaselineGroup]
    brief: str
    outdated: list[str]


def read(report: ReportModel) -> BaselineSummary | None:
    """Return what the footer says of the baseline, or ``None``; never raises."""
    written = report.run.footer.get("baseline")
    if not isinstance(written, dict):
        return None
    groups, parts = [], []
    for kind, (title, sign) in _KINDS.items():
        rows = _rows(written.get(kind))
        if rows:
            groups.append(
                BaselineGroup(title, sign, [_entry(row) for row in rows[:ENTRIES]], max(0, len(rows) - ENTRIES))
            )
            parts.append(f"{len(rows):,} {title.partition(':')[0].lower()}")
    brief = ", ".join(parts) or plural(0, "entry", "entries")
    strict = bool(written.get("strict"))
    old = [row for kind in ("unexpected_passes", "stale") for row in _rows(written.get(kind))] if strict else []
    outdated = [f"{entry.rule}@{entry.case}: {entry.note}" for entry in map(_entry, old[:ENTRIES])]
    return BaselineSummary(one_line(written.get("file") or "", 200), strict, groups, brief, outdated)


def _entry(row: dict[str, Any]) -> BaselineLine:
    return BaselineLine(*(one_line(row.get(name) or "", 300) for name in BaselineLine._fields))


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


PART: Final = Part(__name__, Area.OVERVIEW, 70, read)
