"""What pages that show several runs have in common: their facts, families and settings side by side."""

from __future__ import annotations

from typing import Final

from rejoinder.reports.model import ReportModel
from rejoinder.reports.parts.settings import PART as SETTINGS
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.parts.verdict import PART as VERDICT
from rejoinder.reports.rules import RuleGroup

_SETTINGS: Final = ("mode", "concurrency", "rate", "duration", "requests", "arrivals", "max_output_tokens", "processes")


def families_of(*reports: ReportModel) -> list[RuleGroup]:
    """Return the families of several runs."""
    return list({family.id: family for report in reports for family in report.families}.values())


def facts_of(reports: list[ReportModel]) -> list[tuple[str, list[str], bool]]:
    """Return the facts of several runs side by side: name, one value for each run, and whether they are all equal."""
    rows = [
        ("Address", [report[TARGET].url for report in reports]),
        ("Verdict", [report[VERDICT].headline for report in reports]),
    ]
    names = dict.fromkeys(name for report in reports for name, _ in report[TARGET].facts)
    rows += [(name, [dict(report[TARGET].facts).get(name, "") for report in reports]) for name in names]
    return [(name, values, len(set(values)) == 1) for name, values in rows]


def settings_of(report: ReportModel) -> dict[str, str]:
    """Return the settings by which a load is what it is."""
    details = report.get(SETTINGS)
    return {name: value for name, value in details.settings if name in _SETTINGS} if details else {}
