"""The entries of a baseline file by outcome: fixed, expired, stale, or failing as expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from rejoinder.formatting import one_line, plural
from rejoinder.model.footer import BaselineResult
from rejoinder.reports.model import Area, Part, ReportModel

ENTRIES: Final = 200
"""Entries of one group that are shown; the others are counted."""
_KINDS: Final = {
    "unexpected_passes": ("Fixed: the rule passes on the case", "pass"),
    "expired": ("Expired: the entry is past its expiry date and has no effect", "warn"),
    "stale": ("Stale: the run did not test the rule on the case", "untested"),
    "known": ("Known failure: the rule fails as expected", "known"),
}


class BaselineGroup(NamedTuple):
    """Entries of a baseline that had the same outcome; ``hidden`` counts those that there is no room for."""

    title: str
    sign: str
    entries: list[BaselineResult]
    hidden: int


@dataclass(frozen=True, slots=True)
class BaselineSummary:
    """The states of the entries of a baseline file.

    ``outdated`` says, a sentence for each, which entries make the run fail; only those of a strict baseline do.
    """

    file: str
    strict: bool
    groups: list[BaselineGroup]
    brief: str
    outdated: list[str]


def read(report: ReportModel) -> BaselineSummary | None:
    """Return what the footer says of the baseline, or ``None``."""
    found = report.run.footer.baseline if report.run.footer else None
    if found is None:
        return None
    groups, parts = [], []
    for kind, (title, sign) in _KINDS.items():
        rows: list[BaselineResult] = getattr(found, kind)
        if rows:
            groups.append(
                BaselineGroup(title, sign, [_entry(row) for row in rows[:ENTRIES]], max(0, len(rows) - ENTRIES))
            )
            word = title.partition(":")[0].lower()
            parts.append(plural(len(rows), word) if kind == "known" else f"{len(rows):,} {word}")
    brief = ", ".join(parts) or plural(0, "entry", "entries")
    old = [*found.unexpected_passes, *found.stale] if found.strict else []
    outdated = [f"{entry.rule}@{entry.case}: {entry.note}" for entry in map(_entry, old[:ENTRIES])]
    return BaselineSummary(one_line(found.file, 200), found.strict, groups, brief, outdated)


def _entry(entry: BaselineResult) -> BaselineResult:
    """Return an entry with its texts in harmless, single lines."""
    return BaselineResult(**{name: one_line(text, 300) for name, text in msgspec.structs.asdict(entry).items()})


PART: Final = Part(__name__, Area.OVERVIEW, 70, read)
