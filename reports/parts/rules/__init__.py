"""Every rule of the run in a table, by family."""

from __future__ import annotations

from typing import Any, Final

from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.rules import RuleGroup


def read(report: ReportModel) -> list[RuleGroup] | None:
    """Return the families that have rules in the run."""
    return report.families or None


def page_values(families: list[RuleGroup], report: ReportModel) -> dict[str, Any]:
    """Return whether rules that passed show their statement; beside a load part there is no room for that."""
    return {"all_statements": report.get(LOAD) is None}


PART: Final = Part(__name__, Area.RULES, 85, read, nav="Rules", page_values=page_values)
