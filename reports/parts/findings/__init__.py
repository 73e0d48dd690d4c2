"""What was found: every broken rule with its findings, the worst first, each with the evidence for it."""

from __future__ import annotations

from typing import Any, Final

from rich.text import Text

from rejoinder.formatting import join_list, plural
from rejoinder.reports.evidence import texts_of
from rejoinder.reports.markdown_text import code, escape, fenced
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.findings.choice import amounts, choose
from rejoinder.reports.parts.load import PART as LOAD
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.rules import GROUPS, ReportedFinding, ReportedRule, Severity
from rejoinder.reports.terminal_text import wrap

Groups = list[tuple[Severity, list[ReportedRule]]]


def read(report: ReportModel) -> Groups | None:
    """Return the rules with findings, in groups, the worst first."""
    return report.groups or None


def page_values(groups: Groups, report: ReportModel) -> dict[str, Any]:
    """Return the findings that the page has room for, with their evidence."""
    chosen = choose(report.run, report[TARGET].url, groups)
    return {"groups": chosen, "amounts": amounts(chosen), "titles": GROUPS}


def markdown(groups: Groups, report: ReportModel, room: int) -> list[str]:
    """Return the findings, the worst first, as many as there is room for, and the number of the others."""
    lines: list[str] = []
    total = sum(len(rule.findings) for _, rules in groups for rule in rules)
    written, room = 0, room - 200
    findings = ((rule, finding) for _, rules in groups for rule in rules for finding in rule.findings)
    group = None
    for rule, finding in findings:
        block = _finding_in_markdown(rule, finding)
        if rule.severity is not group:
            group = rule.severity
            block = ["", f"### {GROUPS[group if group in GROUPS else Severity.INFO]}", *block]
        room -= sum(len(line.encode()) + 1 for line in block)
        if room < 0:
            break
        lines += block
        written += 1
    if written < total:
        more = plural(total - written, "more finding is", "more findings are")
        lines += ["", f"{more} in the HTML report."]
    return lines


def _finding_in_markdown(rule: ReportedRule, finding: ReportedFinding) -> list[str]:
    title = f" {escape(rule.title)}" if rule.title else ""
    extent = finding.extent + (f"; {finding.reruns}" if finding.reruns else "")
    lines = [f"- {rule.severity.emoji} **{escape(rule.id)}**{title} ({rule.level}, {extent})  "]
    lines.append(f"  {escape(finding.message)} {code(finding.place)}".rstrip())
    if finding.known:
        lines[-1] += "  "
        lines.append(f"  known failure: {escape(finding.known)}")
    texts = texts_of(finding.finding.evidence)
    got = [f"{name} {code(texts[name], 200)}" for name in ("expected", "actual") if name in texts]
    if got:
        lines[-1] += "  "
        lines.append(f"  {', '.join(got)}")
    cases = [code(case, 80) for case, _ in finding.cases]
    if cases:
        lines[-1] += "  "
        hidden = len(cases) + finding.more_cases - 3
        lines.append(f"  in {join_list(cases[:3])}" + (f" and {hidden:,} more" if hidden > 0 else ""))
    if finding.smallest:
        lines[-1] += "  "
        lines.append(f"  {finding.requests_title}: {code(finding.smallest)}")
    if finding.fault:
        lines[-1] += "  "
        lines.append(f"  {escape(finding.fault)}")
    if finding.script:
        lines += ["", "  <details><summary>All requests as a shell script</summary>", ""]
        lines += [f"  {line}".rstrip() for line in fenced(finding.script, "sh")]
        lines += ["", "  </details>"]
    return lines


def terminal(groups: Groups, report: ReportModel, width: int) -> list[Text]:
    """Return the three findings that matter most, and the number of the others."""
    worst = _worst(groups, 3)
    if not worst:
        return []
    lines = [Text()]
    for rule, finding in worst:
        head = (f"  {rule.severity.sign} {rule.id}", f"bold {rule.severity.style}")
        title = f"  {rule.title}" if rule.title else ""
        extent = f"  {finding.extent}" + (f", {finding.reruns}" if finding.reruns else "")
        lines.append(Text.assemble(head, title, (extent, "dim")))
        lines += wrap(f"{finding.message} {finding.place}".rstrip(), width, "  ")[:2]
        if finding.smallest and not report.get(LOAD):  # with a load part the screen is full
            lines.append(Text(f"    {finding.smallest}", "dim"))
    rest = sum(len(rule.findings) for _, rules in groups for rule in rules) - len(worst)
    if rest > 0:
        lines.append(Text(f"    and {plural(rest, 'more finding')} in the report", "dim"))
    return lines


def _worst(groups: Groups, limit: int) -> list[tuple[ReportedRule, ReportedFinding]]:
    """Return the findings that matter most, one for each rule as long as there are rules.

    A second finding of a rule is taken only when it says something else.
    """
    ranked = [
        (index, order, rule, finding)
        for order, rule in enumerate(rule for _, rules in groups for rule in rules)
        for index, finding in enumerate(_with_own_message(rule.findings))
        if rule.severity is Severity.KNOWN or (rule.severity in (Severity.FAIL, Severity.WARN) and not finding.known)
    ]
    order = list(GROUPS)
    ranked.sort(key=lambda entry: (order.index(entry[2].severity), entry[0], entry[1]))
    return [(rule, finding) for _, _, rule, finding in ranked[:limit]]


def _with_own_message(findings: list[ReportedFinding]) -> list[ReportedFinding]:
    """Return the first finding of each message."""
    first: dict[str, ReportedFinding] = {}
    for finding in findings:
        first.setdefault(finding.message, finding)
    return list(first.values())


PART: Final = Part(
    __name__,
    Area.RULES,
    80,
    read,
    nav="Findings",
    markdown=markdown,
    markdown_order=1000,
    terminal=terminal,
    page_values=page_values,
)
