"""Warnings about the run: cut short, damaged run file, unknown rules, and the warnings of the run itself."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from rejoinder.formatting import join_list, one_line, plural
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.rules import catalogue
from rejoinder.reports.terminal_text import wrap


def read(report: ReportModel) -> list[str] | None:
    """Return the warnings, a sentence each."""
    warnings: list[str] = []
    if report.run.being_written:
        warnings.append("The run is still being written. This report covers what was written until it was read.")
    elif report.run.truncated:
        warnings.append(
            "The run was cut short: its run file has no footer. This report covers what was written before that."
        )
    if report.run.interrupted:
        rules = " Rules that it had not tested yet are listed as not tested." if report.rules else ""
        warnings.append(f"The run was interrupted.{rules}")
    if report.run.damage:
        unreadable = join_list((one_line(sentence, 160) for sentence in report.run.damage), 3)
        unread = plural(report.run.damaged, "line")
        warnings.append(f"{unread} of the run file could not be read: {unreadable}.")
    noted = report.run.footer.warnings if report.run.footer else []
    warnings += [one_line(sentence, 400) for sentence in noted[:20]]
    if len(noted) > 20:
        warnings.append(f"The run file has {plural(len(noted) - 20, 'more warning')}.")
    strangers = [rule.id for rule in report.rules if not rule.catalogued]
    if strangers and catalogue(report.run)[0]:
        names = join_list(strangers)
        warnings.append(f"This version of rejoinder does not know {plural(len(strangers), 'rule')}: {names}.")
    load = report.get(LOAD)
    return warnings + (load.warnings if load else []) or None


def markdown(warnings: list[str], report: ReportModel, room: int) -> list[str]:
    """Return the warnings as quotes."""
    return [f"> ⚠️ {escape(warning)}\n" for warning in warnings[:10]]


def terminal(warnings: list[str], report: ReportModel, width: int) -> list[Text]:
    """Return the first three warnings, and the number of the others."""
    lines = [Text()]
    for warning in warnings[:3]:
        lines += wrap(warning, width, "! ", "yellow")[:2]
    if len(warnings) > 3:
        lines.append(Text(f"    and {plural(len(warnings) - 3, 'more warning')} in the report", "dim"))
    return lines


PART: Final = Part(
    __name__, Area.NOTICES, 30, read, markdown=markdown, markdown_order=65, terminal=terminal, terminal_order=900
)
