"""How many invalid bodies the endpoint answered instead of refusing them, by what is wrong with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from rich.text import Text

from rejoinder.formatting import one_line, plural
from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel


class LeniencyRow(NamedTuple):
    """One kind of fault: what it is, how many bodies with it were sent and answered, and the first that was answered.

    ``sign`` stands for none, some or all of them answered.
    """

    fault: str
    sent: int
    answered: int
    evidence: str
    sign: str

    @property
    def share(self) -> str:
        """The bodies that were answered, of those that were sent."""
        return f"{self.answered:,} of {self.sent:,}"


@dataclass(frozen=True, slots=True)
class LeniencyTable:
    """The kinds of faults that a run tested."""

    rows: list[LeniencyRow]

    @property
    def sent(self) -> int:
        """Invalid bodies whose fault decided, of every kind."""
        return sum(row.sent for row in self.rows)

    @property
    def answered(self) -> int:
        """Those of them that got a response."""
        return sum(row.answered for row in self.rows)

    @property
    def brief(self) -> str:
        """The counts in a few words: ``answered 90 of 124 invalid bodies``."""
        return f"answered {self.answered:,} of {plural(self.sent, 'invalid body', 'invalid bodies')}"


def read(report: ReportModel) -> LeniencyTable | None:
    """Return what the footer says of invalid bodies, or ``None`` if the run tested none."""
    footer = report.run.footer
    if footer is None:
        return None
    rows = []
    for result in footer.leniency:
        shown = (one_line(result.exchange or "", 60), one_line(result.place, 120))
        evidence = " · ".join(text for text in shown if text)
        sign = "pass" if not result.answered else "info"
        rows.append(LeniencyRow(result.fault.label, result.sent, result.answered, evidence, sign))
    return LeniencyTable(rows) if rows else None


def markdown(table: LeniencyTable, report: ReportModel, room: int) -> list[str]:
    """Return the counts, and a table of the kinds of faults that were answered."""
    lines = [f"Leniency: {escape(table.brief)}.", ""]
    rows = [row for row in table.rows if row.answered]
    if rows:
        lines += ["| Invalid bodies | Answered | First |", "|---|---|---|"]
        lines += [f"| {escape(row.fault)} | {row.share} | {code(row.evidence, 200)} |" for row in rows]
        lines.append("")
    return lines


def terminal(table: LeniencyTable, report: ReportModel, width: int) -> list[Text]:
    """Return the counts."""
    return [Text(f"  leniency  {table.brief}", "dim")]


PART = Part(
    __name__,
    Area.RULES,
    95,
    read,
    markdown=markdown,
    markdown_order=55,
    terminal=terminal,
    terminal_order=55,
)
