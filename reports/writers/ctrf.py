"""CTRF JSON: one test for each rule, for dashboards and actions that read the Common Test Report Format."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any, Final

from rejoinder.formatting import one_line
from rejoinder.model.runfile import Run
from rejoinder.reports.json_text import dump
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.baseline import PART as BASELINE
from rejoinder.reports.parts.capabilities import PART as CAPABILITIES
from rejoinder.reports.parts.contract import PART as CONTRACT
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.suite import PART as SUITE
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.parts.verdict import PART as VERDICT
from rejoinder.reports.parts.warnings import PART as WARNINGS
from rejoinder.reports.rules import ReportedRule, Severity
from rejoinder.reports.writers.junit import causes_of, defects_of, known_text, load_text, rule_text, run_problem

SPEC: Final = "1.0.0"
_STATUS: Final = {
    Severity.FAIL: "failed",
    Severity.KNOWN: "skipped",
    Severity.ERROR: "other",
    Severity.BLOCKED: "other",
    Severity.DECLINED: "skipped",
    Severity.UNTESTED: "skipped",
    Severity.NA: "skipped",
    Severity.NONE: "other",
}
_OBJECTIVE: Final = {"pass": "passed", "warn": "passed", "fail": "failed"}
"""What an objective counts as; those that are no verdict are left out."""


_SUITE: Final = {"pass": "passed", "fail": "failed", "untested": "skipped"}
"""What a case of the official suite counts as, by its sign."""


def render_ctrf(run: Run) -> str:
    """Return the run as one CTRF document.

    A broken MUST rule is ``failed``, a rule that could not be checked or is blocked is ``other``; declined, not tested
    and not applicable rules are ``skipped`` with their reason, and so are known failures (``rawStatus`` ``known``). A
    broken SHOULD rule is ``passed`` with ``rawStatus`` ``warn`` and its message, so that the summary fails exactly when
    the run's exit code says so. A load run is one test, and so are the entries that fail a strict baseline. Each case
    of the official suite is one; those that were not sent are ``skipped``. A run that tested nothing, or was cut short,
    has one failed test.
    """
    report = read_report(run)
    begun, ended = _milliseconds(run.header.started_at), _milliseconds(run.ended_at)
    tests = [_test(rule) for rule in report.rules]
    load, baseline, contract = report.get(LOAD), report.get(BASELINE), report.get(CONTRACT)
    features = report.get(CAPABILITIES)
    if load and load.started:
        message = load.failure or (f"{load.failed_text}." if load.bad else "")
        status = "failed" if load.failure else "passed"
        tests.append(_case("load", "load", status, load.verdict.lower() or status, message, load_text(load)))
        tests += [
            _case(objective.text, "objectives", _OBJECTIVE[objective.severity], objective.verdict, objective.summary)
            for objective in load.objectives
            if objective.severity in _OBJECTIVE
        ]
    if baseline and baseline.outdated:
        tests.append(
            _case("baseline", "baseline", "failed", "failed", baseline.outdated[0], "\n".join(baseline.outdated))
        )
    official = report.get(SUITE)
    tests += [
        _case(
            f"official {row.case}",
            f"{row.case} {row.title}".strip(),
            _SUITE[row.sign],
            row.verdict,
            row.reasons[0] if row.reasons else "",
            "\n".join([*row.reasons, *([f"rules: {row.found}"] if row.found else [])]),
        )
        for row in (official.rows if official else ())
    ]
    problem = run_problem(run, report)
    if problem:
        tests.append(_case("run", "run", "failed", "error", problem))
    counts = dict.fromkeys(("passed", "failed", "skipped", "pending", "other"), 0)
    for test in tests:
        counts[test["status"]] += 1
    version = run.header.tool.get("rejoinder", "")
    extra: dict[str, Any] = {name.lower(): value for name, value in report[TARGET].facts}
    extra |= {"url": report[TARGET].url, "command": report[TARGET].command, "warnings": report.get(WARNINGS) or []}
    if contract:
        extra["contract"] = {state.value: amount for state, amount in contract.counts.items()}
    if features:
        extra["features"] = {row.feature: row.state for row in features.rows}
    document: dict[str, Any] = {
        "reportFormat": "CTRF",
        "specVersion": SPEC,
        "generatedBy": "rejoinder",
        "results": {
            "tool": {"name": "rejoinder", **_present(version=one_line(version, 40))},
            "summary": {
                "tests": len(tests),
                **counts,
                "start": begun,
                "stop": max(begun, ended),
                "duration": max(0, ended - begun),
                "extra": {"verdict": report[VERDICT].headline, "sentence": report[VERDICT].sentence},
            },
            "tests": tests,
            "environment": {
                **_present(appName=report[TARGET].model, testEnvironment=report[TARGET].url),
                "extra": extra,
            },
        },
    }
    if begun:
        document["timestamp"] = datetime.fromtimestamp(begun / 1000, UTC).isoformat(timespec="milliseconds")
    return dump(document, indent=1)


def _test(rule: ReportedRule) -> dict[str, Any]:
    message = rule.findings[0].message if rule.findings else rule.reason
    known = known_text(rule)
    if rule.severity is Severity.KNOWN:
        message = f"known failure: {known}. {message}"
    trace = rule_text(rule) if rule.findings else ""
    name = f"{rule.id} {rule.title}".strip()
    test = _case(rule.id, name, _STATUS.get(rule.severity, "passed"), rule.word, message, trace)
    test["suite"] = ["rejoinder", rule.family or "rule"]
    test["tags"] = [rule.level]
    test["extra"] = {
        "rule": rule.id,
        "judged": rule.judged,
        "failed": rule.failed,
        "findings": [finding.finding.fingerprint for finding in rule.findings[:100]],
    }
    if known:
        test["extra"]["known"] = known
    if rule.findings:
        test["extra"] |= {"effect": rule.effect.value, "defects": defects_of(rule), "causes": causes_of(rule)}
    return test


def _case(ident: str, name: str, status: str, raw: str, message: str = "", trace: str = "") -> dict[str, Any]:
    return {
        "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"urn:rejoinder:{ident}")),
        "name": name,
        "status": status,
        "rawStatus": raw,
        "duration": 0,
        "type": "conformance" if ident not in ("load", "run", "baseline") else ident,
        "suite": ["rejoinder"],
        **_present(message=message, trace=trace),
    }


def _present(**texts: str) -> dict[str, str]:
    """Return the texts that are not empty, by name."""
    return {name: text for name, text in texts.items() if text}


def _milliseconds(stamp: float | None) -> int:
    return round(stamp * 1000) if stamp is not None and 0 <= stamp < 253402300800 else 0
