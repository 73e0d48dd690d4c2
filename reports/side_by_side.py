"""What pages that show several runs have in common: their facts, families and settings side by side."""

from __future__ import annotations

from typing import Final

from rejoinder.reports.model import ReportModel
from rejoinder.reports.parts.capabilities import PART as CAPABILITIES
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


def features_of(reports: list[ReportModel]) -> list[tuple[str, list[tuple[str, str]], bool]]:
    """Return the features of several runs side by side: name, state and sign for each run, and whether all are equal.

    A run that does not know a feature has an empty state.
    """
    tables = [report.get(CAPABILITIES) for report in reports]
    known = [{row.feature: (row.state, row.sign) for row in table.rows} if table else {} for table in tables]
    names = dict.fromkeys(name for states in known for name in states)
    rows = [(name, [states.get(name, ("", "none")) for states in known]) for name in names]
    return [(name, states, len({state for state, _ in states}) == 1) for name, states in rows]


def settings_of(report: ReportModel) -> dict[str, str]:
    """Return the settings by which a load is what it is."""
    details = report.get(SETTINGS)
    return {name: value for name, value in details.settings if name in _SETTINGS} if details else {}
