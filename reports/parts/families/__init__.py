"""The rules by family, counted by verdict."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from rejoinder.reports.markdown_text import code, escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.rules import RuleGroup, Severity


def read(report: ReportModel) -> list[RuleGroup] | None:
    """Return the families that have rules in the run."""
    return report.families or None


def markdown(families: list[RuleGroup], report: ReportModel, room: int) -> list[str]:
    """Return a table of families by verdict."""
    counts = report.counts
    head = " | ".join(f"{severity.emoji} {severity.word}" for severity in counts)
    lines = [f"| Family | {head} |", "|---|" + "---:|" * len(counts)]
    for family in families[:40]:
        cells = " | ".join(str(family.counts.get(severity) or "") for severity in counts)
        lines.append(f"| {f'{code(family.id, 40)} {escape(family.title)}'.strip()} | {cells} |")
    return [*lines, f"| **All** | {' | '.join(f'**{amount}**' for amount in counts.values())} |", ""]


def terminal(families: list[RuleGroup], report: ReportModel, width: int) -> list[Text]:
    """Return the counts of all rules by verdict."""
    lines = [Text(" ")]
    for severity, amount in report.counts.items():
        bold = "bold " if severity in (Severity.FAIL, Severity.WARN, Severity.ERROR) else ""
        word = f" {severity.sign} {amount} {severity.counted(amount)} "
        if lines[-1].cell_len + len(word) > width:
            lines.append(Text(" "))
        lines[-1].append(word, f"{bold}{severity.style}")
    return [Text(), *lines]


PART: Final = Part(__name__, Area.OVERVIEW, 40, read, markdown=markdown, terminal=terminal)
