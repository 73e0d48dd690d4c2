"""The rules that were not judged, by the reason for it."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.rules import ReportedRule, Severity

_UNJUDGED: Final = (Severity.ERROR, Severity.BLOCKED, Severity.UNTESTED, Severity.NA, Severity.DECLINED)


class SkipReason(NamedTuple):
    """Rules that were not judged for one reason."""

    severity: Severity
    reason: str
    rules: list[ReportedRule]


def read(report: ReportModel) -> list[SkipReason] | None:
    """Return the rules without a verdict, grouped by reason, the largest groups first."""
    groups: dict[tuple[Severity, str], list[ReportedRule]] = {}
    for rule in report.rules:
        if rule.severity in _UNJUDGED:
            groups.setdefault((rule.severity, rule.reason or rule.severity.meaning), []).append(rule)
    ranked = sorted(groups.items(), key=lambda item: (_UNJUDGED.index(item[0][0]), -len(item[1])))
    return [SkipReason(severity, reason, members) for (severity, reason), members in ranked] or None


def page_values(reasons: list[SkipReason], report: ReportModel) -> dict[str, Any]:
    """Return how many rules were not judged, in words."""
    counts = [(severity, report.counts.get(severity, 0)) for severity in _UNJUDGED]
    return {"unjudged": ", ".join(f"{amount:,} {severity.counted(amount)}" for severity, amount in counts if amount)}


PART: Final = Part(__name__, Area.OVERVIEW, 41, read, page_values=page_values)
