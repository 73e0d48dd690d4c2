"""Limits of the endpoint: the largest size that it accepted, the smallest that it rejected, and how."""

from __future__ import annotations

from typing import Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import one_line, plural
from rejoinder.model.footer import LimitResult, LimitStop
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.terminal_text import wrap

ROWS: Final = 60
"""Limits that are shown."""


class LimitRow(NamedTuple):
    """A limit as people read it; ``accepted`` and ``refused`` are sizes with their unit, or empty.

    ``how`` says how the endpoint rejected the larger size, or why no larger one was sent.
    """

    title: str
    accepted: str
    refused: str
    how: str
    documented: str
    accepted_by: str
    refused_by: str

    @property
    def sentence(self) -> str:
        """What is known of the limit, in one line."""
        if not self.refused:
            return f"{self.title}: {self.accepted}"
        between = f"accepted {self.accepted}, " if self.accepted else ""
        return f"{self.title}: {between}rejected {self.refused} ({self.how})"


class LimitTable(NamedTuple):
    """The limits; ``brief`` counts those that were found."""

    brief: str
    rows: list[LimitRow]

    @property
    def documented(self) -> bool:
        """Whether the dialect documents any of the limits."""
        return any(row.documented for row in self.rows)


def read(report: ReportModel) -> LimitTable | None:
    """Return what the footer says of limits, or ``None`` without any."""
    found = report.run.footer.limits if report.run.footer else []
    if not found:
        return None
    counts = {
        "found": sum(one.stop is LimitStop.FOUND for one in found),
        "not reached": sum(one.smallest is None for one in found),
        "rejected at the smallest size": sum(one.stop is LimitStop.REFUSED for one in found),
    }
    brief = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return LimitTable(brief, [_row(one) for one in found[:ROWS]])


def _row(found: LimitResult) -> LimitRow:
    least = "" if found.smallest is not None or found.largest is None else "at least "
    return LimitRow(
        title=one_line(found.title, 60),
        accepted=f"{least}{_amount(found.largest, found)}",
        refused=_amount(found.smallest, found),
        how=one_line(found.how, 200) or found.stop.label,
        documented=_amount(found.documented, found),
        accepted_by=one_line(found.accepted, 80),
        refused_by=one_line(found.refused, 80),
    )


def _amount(size: int | None, found: LimitResult) -> str:
    unit = one_line(found.unit, 30)
    return "" if size is None else plural(size, unit.removesuffix("s"), unit)


def markdown(table: LimitTable, report: ReportModel, room: int) -> list[str]:
    """Return the counts and a table."""
    names = ["Limit", "Largest accepted", "Smallest rejected", "How it ended"]
    rows = [[row.title, row.accepted, row.refused, row.how] for row in table.rows]
    if table.documented:
        names.append("Documented")
        rows = [[*cells, row.documented] for cells, row in zip(rows, table.rows, strict=True)]
    lines = [f"Limits found: {table.brief}.", "", f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    lines += [f"| {' | '.join(map(escape, cells))} |" for cells in rows]
    return [*lines, ""]


def terminal(table: LimitTable, report: ReportModel, width: int) -> list[Text]:
    """Return the counts, each limit that was found, and the others by name with the size that they reached."""
    lines = [Text(), *wrap(f"Limits: {table.brief}", width)]
    for row in table.rows:
        if row.refused:
            lines += wrap(row.sentence, width, lead="  ")
    reached = [row.sentence for row in table.rows if not row.refused]
    if reached:
        lines += wrap("; ".join(reached), width, lead="  not reached  ", style="dim")
    return lines


PART: Final = Part(__name__, Area.OVERVIEW, 66, read, nav="Limits", markdown=markdown, terminal=terminal)
