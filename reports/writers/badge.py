"""A badge for a README: the JSON that an endpoint badge is drawn from."""

from __future__ import annotations

from typing import Final

from rejoinder.contract import dialect_label
from rejoinder.formatting import one_line, plural, uncapitalized
from rejoinder.model.runfile import Run
from rejoinder.reports.json_text import dump
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.parts.verdict import PART as VERDICT
from rejoinder.reports.rules import JUDGED, Severity, partial_reason

_COLOURS: Final = {
    Severity.FAIL: "red",
    Severity.KNOWN: "yellowgreen",
    Severity.WARN: "yellowgreen",
    Severity.INFO: "brightgreen",
    Severity.PASS: "brightgreen",
}


_PARTIAL: Final = "partial run"


def render_badge(run: Run) -> str:
    """Return the run's verdict as the JSON that shields.io and its like draw an endpoint badge from.

    A run that checked only a part of what its plan can check is no proof that an endpoint conforms: without failures,
    its badge says so and counts nothing as passed. Blocked rules are named beside those that passed.
    """
    report = read_report(run)
    failed = report.counts.get(Severity.FAIL, 0)
    checked = sum(report.counts.get(severity, 0) for severity in JUDGED)
    if failed:
        message = f"{failed:,} of {plural(checked, 'rule')} failed"
    elif checked and partial_reason(run):
        message = _PARTIAL
    elif report[VERDICT].severity in (Severity.PASS, Severity.WARN) and checked:
        known, warned = report.counts.get(Severity.KNOWN, 0), report.counts.get(Severity.WARN, 0)
        exceptions = [plural(known, "known failure")] if known else []
        exceptions += [plural(warned, "warning")] if warned else []
        blocked = report.counts.get(Severity.BLOCKED, 0)
        exceptions += [f"{blocked:,} blocked"] if blocked else []
        passed = checked - known - warned
        message = ", ".join([f"{passed:,} of {plural(checked, 'rule')} passed", *exceptions])
    else:
        headline = report[VERDICT].headline
        message = uncapitalized(headline)
    label = dialect_label(report[TARGET].dialect) or "Responses API"
    catalogue = one_line(run.header.catalogue, 20)
    badge: dict[str, object] = {
        "schemaVersion": 1,
        "label": f"{label}, rule catalogue {catalogue}" if catalogue else label,
        "message": message,
        "color": "lightgrey" if message == _PARTIAL else _COLOURS.get(report[VERDICT].severity, "lightgrey"),
    }
    if report[VERDICT].severity is Severity.ERROR:
        badge["isError"] = True
    return dump(badge)
