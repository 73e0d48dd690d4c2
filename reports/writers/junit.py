"""JUnit XML: one test case for each rule, for the test tabs of CI systems."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final
from xml.etree import ElementTree as ET

from rejoinder.formatting import format_count, format_rate, inert, one_line, plural, printable, terminal_text
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Problem
from rejoinder.reports.evidence import texts_of
from rejoinder.reports.model import ReportModel, read_report
from rejoinder.reports.parts.baseline import PART as BASELINE
from rejoinder.reports.parts.capabilities import PART as CAPABILITIES
from rejoinder.reports.parts.contract import PART as CONTRACT
from rejoinder.reports.parts.latencies import PART as LATENCIES
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.load import LoadSummary
from rejoinder.reports.parts.suite import PART as SUITE
from rejoinder.reports.parts.suite import SuiteRow
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.parts.verdict import PART as VERDICT
from rejoinder.reports.rules import ReportedRule, Severity, unfinished_reason

FINDINGS: Final = 10
"""Findings of one rule that are written out."""


def render_junit(run: Run) -> str:
    """Return the run as one JUnit XML document.

    A broken MUST rule is a failure, a rule that could not be checked an error; blocked, declined, not tested and not
    applicable rules are skipped with their reason, and so are those that are broken as the baseline says. A broken
    SHOULD rule passes and says so in ``system-out``, so that a build breaks exactly when the run's exit code says so. A
    load run is one case, which fails when a request failed, and one for each objective and each limit of a change.
    Entries that fail a strict baseline are one case. Each case of the official suite is one; those that were not sent
    are skipped. A run that tested nothing, or was cut short, has one errored case.
    """
    report = read_report(run)
    begun, ended = run.header.started_at, run.ended_at
    root = ET.Element("testsuites", {"name": "rejoinder"})
    suite = ET.SubElement(root, "testsuite", {"name": f"rejoinder {report[TARGET].url}".strip()})
    if 0 <= begun < 253402300800:
        stamp = datetime.fromtimestamp(begun, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        suite.set("timestamp", stamp)
    time = f"{ended - begun:.3f}" if ended is not None and ended >= begun else "0"
    target = report[TARGET]
    _properties(
        suite,
        [("url", target.url), ("command", target.command), *target.facts, *_support(report), *_load_properties(report)],
    )
    for rule in report.rules:
        _add_rule(suite, rule)
    load, baseline, problem = report.get(LOAD), report.get(BASELINE), run_problem(run, report)
    official = report.get(SUITE)
    if load and load.started:
        _add_load(suite, load)
    if baseline and baseline.outdated:
        failure = {"message": baseline.outdated[0], "type": "baseline"}
        ET.SubElement(_add_case(suite, "baseline"), "failure", failure).text = "\n".join(baseline.outdated)
    for row in official.rows if official else ():
        _add_suite_case(suite, row)
    if problem:
        ET.SubElement(_add_case(suite, "run"), "error", {"message": problem})
    counts = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for element in (root, suite):
        for name, tag in counts.items():
            element.set(name, str(sum(1 for _ in suite.iter(tag))))
        element.set("time", time)
    for element in root.iter():
        # CI systems print these texts into their logs, and take attachments from them.
        element.text = element.text and terminal_text(element.text)
        for name, value in element.attrib.items():
            element.set(name, inert(printable(value, keep="")))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _add_case(suite: ET.Element, name: str, group: str = "") -> ET.Element:
    attributes = {"classname": f"rejoinder.{group}".rstrip("."), "name": name, "time": "0"}
    return ET.SubElement(suite, "testcase", attributes)


def _add_rule(suite: ET.Element, rule: ReportedRule) -> None:
    case = _add_case(suite, f"{rule.id} {rule.title}".strip(), rule.family or "rule")
    _properties(
        case,
        [
            *(("rule", rule.id), ("level", rule.level), ("verdict", rule.word)),
            *(("judged", str(rule.judged)), ("failed", str(rule.failed))),
            ("findings", " ".join(finding.finding.fingerprint for finding in rule.findings[:100])),
            ("known", known_text(rule)),
            ("effect", rule.effect.value if rule.findings else ""),
            ("defects", " ".join(defects_of(rule))),
            ("causes", " ".join(causes_of(rule))),
        ],
    )
    text = rule_text(rule)
    if rule.severity is Severity.FAIL:
        message = rule.findings[0].message if rule.findings else rule.reason or rule.statement or "failed"
        ET.SubElement(case, "failure", {"message": message, "type": f"{rule.level} {rule.id}"}).text = text
    elif rule.severity is Severity.ERROR:
        ET.SubElement(case, "error", {"message": rule.reason or "The rule could not be checked."})
    elif rule.severity in (Severity.BLOCKED, Severity.UNTESTED, Severity.NA, Severity.DECLINED):
        said = rule.reason.casefold().startswith(rule.word)
        ET.SubElement(case, "skipped", {"message": rule.reason if said else f"{rule.word}: {rule.reason}".rstrip(": ")})
    elif rule.severity is Severity.KNOWN:
        ET.SubElement(case, "skipped", {"message": f"known failure: {known_text(rule)}"})
        ET.SubElement(case, "system-out").text = text
    elif rule.findings or rule.severity is Severity.WARN:
        ET.SubElement(case, "system-out").text = f"{rule.word}\n{text}"


def defects_of(rule: ReportedRule) -> list[str]:
    """Return the ids of the defects that the findings of a rule are places of."""
    return list(dict.fromkeys(finding.defect for finding in rule.findings))[:100]


def causes_of(rule: ReportedRule) -> list[str]:
    """Return the ids of the defects that findings of a rule follow from."""
    return list(dict.fromkeys(filter(None, (finding.finding.cause for finding in rule.findings))))[:100]


def known_text(rule: ReportedRule) -> str:
    """Return why a baseline expects findings of a rule; empty when it expects none."""
    return "; ".join(dict.fromkeys(finding.known for finding in rule.findings if finding.known))


def _add_suite_case(suite: ET.Element, row: SuiteRow) -> None:
    case = _add_case(suite, f"{row.case} {row.title}".strip(), "official suite")
    reasons = "\n".join(row.reasons)
    if row.sign == "fail":
        message = row.reasons[0] if row.reasons else row.verdict
        ET.SubElement(case, "failure", {"message": message, "type": "official suite"}).text = reasons
    elif row.sign == "untested":
        ET.SubElement(case, "skipped", {"message": f"{row.verdict}: {reasons}"})
    if row.found:
        ET.SubElement(case, "system-out").text = f"rules: {row.found}"


def _add_load(suite: ET.Element, load: LoadSummary) -> None:
    case = _add_case(suite, "load")
    if load.failure:
        ET.SubElement(case, "failure", {"message": load.failure, "type": "load"}).text = load_text(load)
    else:
        ET.SubElement(case, "system-out").text = load_text(load)
    for objective in load.objectives:
        if objective.severity == "fail":
            case = _add_case(suite, objective.text, "objectives")
            ET.SubElement(case, "failure", {"message": objective.summary, "type": "objective"})
        elif objective.severity != "info":
            ET.SubElement(_add_case(suite, objective.text, "objectives"), "system-out").text = objective.summary


def load_text(load: LoadSummary) -> str:
    """Return how the requests of a load run ended, one line for each outcome."""
    lines = [
        f"{entry.outcome}: {entry.amount:,}  {entry.meaning}{f' ({entry.reasons})' if entry.reasons else ''}".rstrip()
        for entry in load.ledger
    ]
    return "\n".join(lines + [f"measurement {load.verdict}: {reason}" for reason in load.reasons])


def rule_text(rule: ReportedRule) -> str:
    """Return everything that a person needs to know of a broken rule as plain text."""
    lines = [f"{rule.id} ({rule.level}): {rule.statement}".rstrip(": ")]
    if rule.source:
        lines.append(f"Source: {rule.source}")
    lines.append(f"{rule.failed:,} of {plural(rule.judged, 'check')} failed.")
    for finding in rule.findings[:FINDINGS]:
        lines += [
            "",
            f"{finding.extent}: {finding.message} {finding.place}".rstrip(),
            *_evidence(finding.finding.evidence),
        ]
        lines += [f"  case: {case}{f' ({title})' if title else ''}" for case, title in finding.cases]
        if finding.more_cases:
            lines.append(f"  and {plural(finding.more_cases, 'more case')}")
        if finding.known:
            lines.append(f"  known failure: {finding.known}")
        if finding.reruns:
            lines.append(f"  {finding.reruns}")
        if finding.script:
            script = (f"    {line}".rstrip() for line in finding.script.splitlines())
            lines += [f"  {finding.requests_title}:", *script]
        elif finding.smallest:
            lines.append(f"  {finding.requests_title}: {finding.smallest}")
        if finding.fault:
            lines.append(f"  {finding.fault}")
        lines.append(f"  reproduce: {finding.replay}")
    rest = len(rule.findings) - FINDINGS
    if rest > 0:
        lines += ["", f"The run file has {plural(rest, 'more finding')} of this rule."]
    return "\n".join(lines)


def _evidence(problem: Problem) -> list[str]:
    lines = []
    if problem.event is not None:
        lines.append(f"  at event {problem.event:,}")
    if problem.offset is not None:
        lines.append(f"  at byte {problem.offset:,}")
    texts = texts_of(problem, 600)
    lines += [f"  {name}: " + texts[name].replace("\n", "\n    ") for name in ("expected", "actual") if name in texts]
    if problem.exchange:
        lines.append(f"  exchange: {one_line(problem.exchange, 80)}")
    return lines


def _properties(parent: ET.Element, pairs: list[tuple[str, str]]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in pairs:
        if value:
            ET.SubElement(properties, "property", {"name": name.lower(), "value": value})


def _support(report: ReportModel) -> list[tuple[str, str]]:
    """Return what the endpoint accepts: the contract in a line, and the state of each feature."""
    contract, features = report.get(CONTRACT), report.get(CAPABILITIES)
    pairs = [("contract", contract.brief)] if contract else []
    return pairs + [(f"feature {row.feature}", row.state) for row in (features.rows if features else ())]


def _load_properties(report: ReportModel) -> list[tuple[str, str]]:
    load, latencies = report.get(LOAD), report.get(LATENCIES)
    if load is None:
        return []
    pairs = [
        ("load verdict", load.verdict),
        ("load requests", format_count(load.started)),
        ("load requests per second", format_rate(load.rate)),
        ("load output tokens per second", format_rate(load.tokens_rate)),
    ]
    pairs += [(f"load {entry.outcome}", format_count(entry.amount)) for entry in load.ledger]
    for distribution in latencies.of_all if latencies else ():
        pairs += [(f"load {distribution.metric} p{p:g}", distribution.percentile_text(p)) for p in (50.0, 99.0)]
    return pairs


def run_problem(run: Run, report: ReportModel) -> str:
    """Return why a run says little or nothing, in a sentence; empty when it says what it should."""
    if report[VERDICT].problem:
        return report[VERDICT].problem
    if reason := unfinished_reason(run):
        return reason
    if not report.rules and not run.samples:
        return report[VERDICT].sentence
    return ""
