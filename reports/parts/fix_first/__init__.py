"""What to fix first: the few worst of the defects that fail the run and break clients or lose data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from rejoinder.formatting import join_list, plural
from rejoinder.reports.defects import ReportedDefect, fix_first, shortened
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.rules import Severity
from rejoinder.reports.terminal_text import wrap

DETAILED: Final = 3
"""Defects of which the terminal shows more than a line."""
PER_RULE: Final = 2
"""Defects of one rule that the terminal names."""
LINES: Final = 20
"""Defects that the terminal gives lines; it names the rules of the others."""


@dataclass(frozen=True, slots=True)
class FirstDefects:
    """The defects to fix first, how many defects are as urgent, and how many fail the run."""

    defects: list[ReportedDefect]
    urgent: int
    total: int

    @property
    def title(self) -> str:
        """The heading: ``Fix these 3 first``."""
        return "Fix this first" if len(self.defects) == 1 else f"Fix these {len(self.defects)} first"

    @property
    def reason(self) -> str:
        """Why defects come first, in a sentence."""
        verbs = "breaks clients or loses data" if self.urgent == 1 else "break clients or lose data"
        return f"{self.urgent} of {plural(self.total, 'defect')} {verbs}."


def read(report: ReportModel) -> FirstDefects | None:
    """Return the defects to fix first."""
    failing = [defect for defect in report.defects if defect.severity is Severity.FAIL]
    urgent = sum(defect.effect.urgent for defect in failing)
    return FirstDefects(fix_first(failing), urgent, len(failing)) if urgent else None


def page_values(first: FirstDefects, report: ReportModel) -> dict[str, Any]:
    """Return the heading, the reason, and the defects."""
    return {"title": first.title, "reason": first.reason, "listed": first.defects}


def markdown(first: FirstDefects, report: ReportModel, room: int) -> list[str]:
    """Return a line for each defect."""
    lines = [f"### {first.title}", "", first.reason, ""]
    for defect in first.defects:
        rules = "".join(f", {escape(rule.id)}" for rule in defect.failed_rules[1:])
        name = f"**{escape(defect.rule.id)}**{rules} {escape(defect.rule.title)}".rstrip()
        lines.append(f"- {name}: {defect.effect_words}, {defect.extent}")
    return [*lines, ""]


def terminal(first: FirstDefects, report: ReportModel, width: int) -> list[Text]:
    """Return the defects, the first few with their evidence."""
    lines = [Text(), Text.assemble((f"  {first.title}", "bold"), (f"  {first.reason}", "dim"))]
    return lines + rule_lines(first.defects, report, width, detailed=DETAILED)


def rule_lines(defects: list[ReportedDefect], report: ReportModel, width: int, *, detailed: int) -> list[Text]:
    """Return the lines of defects, a few for each rule; the first ``detailed`` of them with their evidence."""
    lines: list[Text] = []
    listed = shortened(defects, PER_RULE)
    for number, (defect, rest) in enumerate(listed[:LINES]):
        lines += _lines(defect, report, width, detail=number < detailed)
        if rest:
            lines.append(Text(f"    and {plural(len(rest), 'more defect')} of {defect.rule.id}", "dim"))
    if others := dict.fromkeys(rule.id for defect, _ in listed[LINES:] for rule in defect.failed_rules):
        lines += wrap(f"and {join_list(others, len(others))}", width, "  ")
    return lines


def _lines(defect: ReportedDefect, report: ReportModel, width: int, *, detail: bool) -> list[Text]:
    """Return a line for a defect and for each further rule that fails with it, and some lines of evidence."""
    rule, finding = defect.rule, defect.head
    facts = ", ".join(filter(None, (defect.effect_words, defect.extent, finding.reruns)))
    head = Text.assemble((f"  {defect.severity.sign} {rule.id}", f"bold {defect.severity.style}"), f"  {rule.title}")
    fits = len(head) + 2 + len(facts) <= width
    lines = [Text.assemble(head, (f"  {facts}", "dim"))] if fits else [head, Text(f"    {facts}", "dim")]
    if detail:
        loaded = report.get(LOAD) is not None  # then the screen is full
        lines += wrap(f"{finding.message} {finding.place}".rstrip(), width, "  ")[: 1 if loaded else 2]
        if defect.clients and not loaded:
            lines += [Text(line.plain, "dim") for line in wrap(defect.clients, width, "  ")[:2]]
        if finding.smallest and not loaded:
            lines.append(Text(f"    {finding.smallest}", "dim"))
    lines += [
        Text(f"    {also.severity.sign} {also.id}  {also.title} (follows from it)", "dim")
        for also in defect.failed_rules[1:]
        if also.severity in (Severity.FAIL, Severity.WARN)
    ]
    return lines


PART: Final = Part(
    __name__,
    Area.FIRST,
    90,
    read,
    markdown=markdown,
    markdown_order=15,
    terminal=terminal,
    terminal_order=15,
    page_values=page_values,
)
