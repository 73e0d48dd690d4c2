"""What was found: every defect with its places and consequences, the worst first, each with its evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, NamedTuple

from rich.text import Text

from rejoinder.formatting import join_list, plural
from rejoinder.reports.defects import ReportedDefect, fix_first, group_defects, shortened
from rejoinder.reports.evidence import texts_of
from rejoinder.reports.markdown_text import code, escape, fenced
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.findings.choice import RenderedRule, amounts, choose
from rejoinder.reports.parts.fix_first import DETAILED, rule_lines
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.rules import GROUPS, Severity
from rejoinder.reports.terminal_text import wrap

Groups = list[tuple[Severity, list[ReportedDefect]]]


def read(report: ReportModel) -> Groups | None:
    """Return the defects in groups, the worst first."""
    return group_defects(report.defects) or None


ALONE: Final = 80
"""Defects that stand alone on the page, 10 of one rule at most; the further ones share the place of the last."""


class RenderedDefect(NamedTuple):
    """A defect on the page, with the findings of it and of its consequences that are written out."""

    defect: ReportedDefect
    own: RenderedRule
    consequences: list[RenderedRule]


def page_values(groups: Groups, report: ReportModel) -> dict[str, Any]:
    """Return the findings that the page has room for, with their evidence."""
    failed = len({defect.rule.id for _, members in groups for defect in members})
    per_rule = min(10, max(1, ALONE // failed))
    written = [
        (severity, [_with_rest(*entry) for entry in shortened(members, per_rule)]) for severity, members in groups
    ]
    rules = [
        (defect, [defect.rule, *(one.rule for one in defect.consequences)])
        for _, members in written
        for defect in members
    ]
    chosen = choose(report.run, report[TARGET].url, rules, per_rule=1)
    rendered = iter([RenderedDefect(defect, found[0], found[1:]) for defect, found in chosen])
    listed = [
        (severity, len(members), [next(rendered) for _ in shown])
        for (severity, members), (_, shown) in zip(groups, written, strict=True)
    ]
    return {"groups": listed, "amounts": amounts(chosen), "titles": GROUPS}


def _with_rest(defect: ReportedDefect, rest: list[ReportedDefect]) -> ReportedDefect:
    """Return a defect with the places and consequences of others of its rule."""
    if not rest:
        return defect
    findings = [finding for one in (defect, *rest) for finding in one.findings]
    consequences = [*defect.consequences, *(inner for one in rest for inner in one.consequences)]
    return replace(defect, rule=replace(defect.rule, findings=findings), consequences=consequences)


def markdown(groups: Groups, report: ReportModel, room: int) -> list[str]:
    """Return the defects in their order, as many as there is room for, and the number of the others."""
    lines: list[str] = []
    total = sum(len(defects) for _, defects in groups)
    written, room = 0, room - 200
    group = None
    for defect in (defect for _, defects in groups for defect in defects):
        block = _in_markdown(defect)
        if defect.severity is not group:
            group = defect.severity
            block = ["", f"### {GROUPS[group]}", *block]
        room -= sum(len(line.encode()) + 1 for line in block)
        if room < 0:
            break
        lines += block
        written += 1
    if written < total:
        more = plural(total - written, "more finding is", "more findings are")
        lines += ["", f"{more} in the HTML report."]
    return lines


def _consequence(defect: ReportedDefect) -> str:
    return f"{defect.rule.severity.emoji} {escape(defect.rule.id)} {escape(defect.rule.title)}".rstrip()


def _in_markdown(defect: ReportedDefect) -> list[str]:
    rule, finding = defect.rule, defect.head
    title = f" {escape(rule.title)}" if rule.title else ""
    facts = f"{rule.level}, {defect.effect_words}, {defect.extent}" + (f"; {finding.reruns}" if finding.reruns else "")
    details = [f"{escape(finding.message)} {code(finding.place)}".rstrip()]
    if finding.known:
        details.append(f"known failure: {escape(finding.known)}")
    texts = texts_of(finding.finding.evidence)
    got = [f"{name} {code(texts[name], 200)}" for name in ("expected", "actual") if name in texts]
    if got:
        details.append(", ".join(got))
    cases = [code(case, 80) for case, _ in finding.cases]
    if cases:
        hidden = len(cases) + finding.more_cases - 3
        details.append(f"in {join_list(cases[:3])}" + (f" and {hidden:,} more" if hidden > 0 else ""))
    if len(defect.findings) > 1:
        details.append(f"places: {join_list([code(one.place, 120) for one in defect.findings], 12)}")
    if defect.consequences:
        details.append(f"follows from it: {join_list([_consequence(one) for one in defect.consequences], 20)}")
    if defect.clients:
        details.append(escape(defect.clients))
    if finding.smallest:
        details.append(f"{finding.requests_title}: {code(finding.smallest)}")
    if finding.fault:
        details.append(escape(finding.fault))
    lines = [f"- {defect.severity.emoji} **{escape(rule.id)}**{title} ({facts})", *(f"  {one}" for one in details)]
    lines[:-1] = [f"{line}  " for line in lines[:-1]]  # two blanks at the end of a line break it
    if finding.script:
        lines += ["", "  <details><summary>All requests as a shell script</summary>", ""]
        lines += [f"  {line}".rstrip() for line in fenced(finding.script, "sh")]
        lines += ["", "  </details>"]
    return lines


def terminal(groups: Groups, report: ReportModel, width: int) -> list[Text]:
    """Return the defects that do not come first: a line for each failed rule, and the other rules by name."""
    first = {id(defect) for defect in fix_first(report.defects)}
    by_severity = dict(groups)
    lines: list[Text] = []
    rest = [defect for defect in by_severity.get(Severity.FAIL, ()) if id(defect) not in first]
    if rest:
        lines += [Text(), Text("  Also failed" if first else "  Failed", "bold")]
        lines += rule_lines(rest, report, width, detailed=0 if first else DETAILED)
    for severity, title in ((Severity.WARN, "Warned"), (Severity.KNOWN, "Known failures")):
        rules = dict.fromkeys(defect.rule.id for defect in by_severity.get(severity, ()))
        if rules:
            lines += [Text(), *wrap(f"{title}: {join_list(rules, 40)}.", width)]
    return lines


PART: Final = Part(
    __name__,
    Area.RULES,
    80,
    read,
    nav="Findings",
    markdown=markdown,
    markdown_order=1000,
    terminal=terminal,
    terminal_order=16,
    page_values=page_values,
)
