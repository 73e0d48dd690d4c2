"""A comparison of two runs as a page, as Markdown, and as lines for the terminal."""

from __future__ import annotations

from typing import Final

from rejoinder.formatting import join_list, plural, terminal_text
from rejoinder.reports.diff import CAVEAT, CHANGES, Change, Diff
from rejoinder.reports.markdown_text import bounded, code, escape
from rejoinder.reports.model import ReportModel
from rejoinder.reports.parts.findings.choice import EVIDENCE_BUDGET, FINDINGS_IN_ALL, RenderedRule, choose
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.side_by_side import facts_of, families_of
from rejoinder.reports.writers.html import page

_MARKS: Final = {Change.NEW: "+", Change.FIRST: "!", Change.STILL: "=", Change.GONE: "?", Change.FIXED: "-"}
_FAILING: Final = (Change.NEW, Change.FIRST, Change.STILL)


def render_diff_html(diff: Diff) -> str:
    """Return the comparison as one HTML document, which needs no network; ``diff`` comes from :func:`diff_runs`."""
    groups: dict[Change, list[RenderedRule]] = {}
    for report, kinds in ((diff.after, _FAILING), (diff.before, (Change.GONE, Change.FIXED))):
        listing = [(kind, diff.groups[kind]) for kind in kinds if diff.groups[kind]]
        groups |= dict(choose(report.run, report[TARGET].url, listing, EVIDENCE_BUDGET // 2, FINDINGS_IN_ALL // 2))
    return page(
        "diff.html.j2",
        loaded=bool(diff.figures),
        diff=diff,
        target=diff.after[TARGET],
        groups={kind: groups[kind] for kind in Change if kind in groups},
        counts={kind: amount for kind, amount in diff.counts.items() if amount},
        kinds=CHANGES,
        facts=facts_of([diff.before, diff.after]),
        caveat=CAVEAT,
        tested=any(figure.statement for figure in diff.figures),
        families=families_of(diff.before, diff.after),
        levels=[level for level in ("MUST", "SHOULD", "MAY", "OFF") if any(c.rule.level == level for c in diff.rules)],
        anchors={change.id: change.anchor for change in diff.rules},
    )


def render_diff_markdown(diff: Diff, limit: int = 60_000) -> str:
    """Return the comparison as Markdown of at most ``limit`` bytes, safe to paste."""
    lines = [f"## {diff.severity.emoji} {escape(diff.headline)}", "", escape(diff.sentence), ""]
    targets = [
        f"{side} {code(f'{report[TARGET].model or report[TARGET].url} {report[TARGET].started}'.strip())}"
        for side, report in _sides(diff)
    ]
    lines += [" · ".join(targets), ""]
    lines += [f"> ⚠️ {escape(note)}\n" for note in diff.notes[:10]]
    if diff.figures:
        lines += ["| Load | before | after | change | significance |", "|---|---:|---:|---:|---|"]
        for figure in diff.figures:
            name, *cells = map(escape, (figure.name, figure.before, figure.after, figure.change, figure.statement))
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines += ["", escape(CAVEAT), ""]
    for kind, rules in diff.groups.items():
        if rules:
            lines += [f"### {CHANGES[kind][2]}", ""]
            for rule in rules:
                title = f" {escape(rule.title)}" if rule.title else ""
                lines.append(f"- **{escape(rule.id)}**{title} ({rule.level})")
                for finding in rule.findings[:10]:
                    place = f" {code(finding.place)}" if finding.place else ""
                    known = f", known failure: {escape(finding.known)}" if finding.known else ""
                    lines.append(f"  - {escape(finding.message)}{place} ({finding.extent}{known})")
                if len(rule.findings) > 10:
                    lines.append(f"  - and {plural(len(rule.findings) - 10, 'more finding')}")
            lines.append("")
    changed = [change for change in diff.rules if change.changed and change.before and change.after]
    if changed:
        verdicts = [f"{escape(c.id)} {c.before.word} → {c.after.word}" for c in changed if c.before and c.after]
        lines += ["### Verdict changed", "", join_list(verdicts, 60), ""]
    return bounded("\n".join(lines), limit)


def _sides(diff: Diff) -> list[tuple[str, ReportModel]]:
    return [("before", diff.before), ("after", diff.after)]


def render_diff_text(diff: Diff, limit: int = 12) -> str:
    """Return the comparison as plain lines for a terminal, with at most ``limit`` findings of each kind."""
    lines = [diff.headline, f"  {diff.sentence}", ""]
    lines += [
        f"  {side:<6}  {report[TARGET].url}  {report[TARGET].model}  {report[TARGET].started}".rstrip()
        for side, report in _sides(diff)
    ]
    lines += [f"  ! {note}" for note in diff.notes]
    for kind, rules in diff.groups.items():
        findings = [(rule, finding) for rule in rules for finding in rule.findings]
        if findings:
            lines += ["", f"  {CHANGES[kind][2]}"]
            for rule, finding in findings[:limit]:
                place = f" {finding.place}" if finding.place else ""
                known = "(known) " if finding.known else ""
                lines.append(f"  {_MARKS[kind]} {rule.id} {known}{finding.message}{place}"[:160])
            if len(findings) > limit:
                lines.append(f"    and {plural(len(findings) - limit, 'more finding')}")
    changed = [f"{c.id} {c.before.word} → {c.after.word}" for c in diff.rules if c.changed and c.before and c.after]
    if changed:
        lines += ["", f"  Verdict changed: {join_list(changed, limit)}"]
    if diff.figures:
        wide = max(len(figure.name) for figure in diff.figures)
        room = max(len(text) for figure in diff.figures for text in (figure.before, figure.after))
        lines.append("")
        lines += [
            f"  {f.name:<{wide}}  {f.before:>{room}}  {f.after:>{room}}  {f.change:>9}  {f.statement}".rstrip()
            for f in diff.figures
        ]
    return terminal_text("\n".join(lines)) + "\n"
