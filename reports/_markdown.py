"""Markdown for the step summary of a CI job, or for an issue: bounded, and safe to paste."""

from __future__ import annotations

import re
from typing import Final

from rejoinder.formatting import format_count, format_percent, format_rate, format_seconds, join_list, one_line, plural
from rejoinder.model.runfile import Run
from rejoinder.reports._charts import Table, steps_table
from rejoinder.reports._evidence import sides
from rejoinder.reports._excerpt import Span
from rejoinder.reports._footer import Capabilities
from rejoinder.reports._load import PERCENTILES, Load
from rejoinder.reports._model import GROUPS, WORDS, FindingView, RuleView, Tone, View, view

SIGNS: Final = {
    Tone.FAIL: "❌",
    Tone.KNOWN: "🔶",
    Tone.WARN: "⚠️",
    Tone.ERROR: "🟪",
    Tone.INFO: "ℹ️",
    Tone.DECLINED: "➖",
    Tone.NA: "➖",
    Tone.PASS: "✅",
    Tone.NONE: "➖",
}
_MOST_STEPS: Final = 50
_PUNCTUATION: Final = re.compile(r"([\\`*_{}\[\]()#+\-.!|~^$:=\"'/])")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "<span>@</span>"}


def render_markdown(run: Run, limit: int = 60_000) -> str:
    """Return the run as Markdown of at most ``limit`` bytes.

    The verdict, the counts and the load figures always come; findings follow, the worst first, as many as fit. GitHub
    takes 1 MiB for a step summary and 65,536 characters for a comment; the default fits both. Text from the endpoint
    makes no markup, no link and no mention.
    """
    seen = view(run)
    head = _head(seen)
    parts, used, shown = [head], len(head.encode()), 0
    reserve = 200
    group = None
    total = sum(len(rule.findings) for _, rules in seen.groups for rule in rules)
    for rule, finding in seen.findings():
        block = _finding(rule, finding)
        if rule.tone is not group:
            group = rule.tone
            block = f"\n### {GROUPS[group if group in GROUPS else Tone.INFO]}\n{block}"
        length = len(block.encode())
        if used + length + reserve > limit:
            break
        parts.append(block)
        used += length
        shown += 1
    if shown < total:
        parts.append(f"\n{plural(total - shown, 'more finding is', 'more findings are')} in the HTML report.\n")
    return bounded("".join(parts), limit)


def bounded(text: str, limit: int) -> str:
    """Cut whole lines off the end until a text fits; code fences are written in one line, so none stays open."""
    if len(text.encode()) <= limit:
        return text
    note = "\n\n(cut short)\n"
    kept, used = [], len(note.encode())
    for line in text.splitlines(keepends=True):
        used += len(line.encode())
        if used > limit:
            break
        kept.append(line)
    return ("".join(kept).rstrip() + note)[: max(0, limit)]


def escape(text: str) -> str:
    """Return text that Markdown shows as it is: no markup, no HTML, no automatic link, no mention."""
    text = _PUNCTUATION.sub(r"\\\1", one_line(text, 4000))
    return re.sub("[&<>@]", lambda match: _ENTITIES[match.group()], text)


def code(text: str, limit: int = 400) -> str:
    """Return text as a code span that it cannot leave, also inside a table."""
    text = one_line(text, limit)
    if not text:
        return ""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    # A pipe ends a table cell even inside a code span, and its escape shows outside of tables; its lookalike does not.
    text = text.replace("|", "¦")
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _head(seen: View) -> str:
    lines = [f"## {SIGNS[seen.tone]} {escape(seen.headline)}", "", escape(seen.sentence), ""]
    if seen.url:
        lines.append(f"{code(seen.url)}  ")
    facts = [f"{escape(name)} {code(value)}" for name, value in seen.facts if name not in ("Versions", "Seed")]
    if facts:
        lines += [" · ".join(facts), ""]
    if seen.counts:
        tones = list(seen.counts)
        lines += [
            "| Family | " + " | ".join(f"{SIGNS[tone]} {WORDS[tone][0]}" for tone in tones) + " |",
            "|---|" + "---:|" * len(tones),
        ]
        for family in seen.families[:40]:
            cells = " | ".join(str(family.counts.get(tone) or "") for tone in tones)
            lines.append(f"| {f'{code(family.id, 40)} {escape(family.title)}'.strip()} | {cells} |")
        cells = " | ".join(f"**{seen.counts[tone]}**" for tone in tones)
        lines += [f"| **All** | {cells} |", ""]
    if seen.contract:
        lines += [escape(seen.contract.sentence), ""]
    if seen.capabilities:
        lines += _capabilities(seen.capabilities)
    lines += [f"> ⚠️ {escape(warning)}\n" for warning in seen.warnings[:10]]
    if seen.load:
        lines += _load(seen.load)
    return "\n".join(lines) + "\n"


def _capabilities(found: Capabilities) -> list[str]:
    lines = [f"Features: {escape(found.brief)}. {escape(found.unable)}".rstrip(), ""]
    rows = [row for row in found.rows if row.sign != "pass"]
    if rows:
        lines += ["| Feature | | Evidence |", "|---|---|---|"]
        for row in rows[:60]:
            required = " (required)" if row.required else ""
            lines.append(f"| {code(row.feature, 60)}{required} | {escape(row.state)} | {escape(row.evidence)} |")
        lines.append("")
    return lines


def _load(load: Load) -> list[str]:
    lines = ["### Load", ""]
    reasons = "".join(f"; {escape(reason)}" for reason in load.reasons[:3])
    verdict = f"**{escape(load.verdict)}**{reasons} · " if load.verdict else ""
    lines += [
        f"{verdict}{format_count(load.started)} requests, {format_percent(load.ok, load.started)} ok"
        f" · {format_rate(load.rate)} ok/s · {format_rate(load.tokens_rate)} output tok/s",
        "",
    ]
    bad = [f"{escape(entry.outcome)} {entry.amount:,}" for entry in load.ledger if not entry.good]
    if bad:
        lines += [f"Not ok: {', '.join(bad[:12])}", ""]
    if load.objectives:
        lines += ["| | Objective | | Measured | Limit | n | |", "|---|---|---|---:|---:|---:|---|"]
        for told in load.objectives[:20]:
            cells = [told.word, told.value, told.limit, told.n, told.bound]
            sign = SIGNS[Tone(told.tone)]
            lines.append(f"| {sign} | {code(told.text)} | " + " | ".join(escape(cell) for cell in cells) + " |")
        lines.append("")
    if load.search:
        lines += [escape(load.search.sentence), "", *_table(steps_table(load.search)), ""]
    if load.repeats:
        lines += [*_table(Table(load.repeats.head, load.repeats.rows)), ""]
    if load.distributions:
        lines += [
            "| | n | " + " | ".join(f"p{p:g}" for p in PERCENTILES) + " | max |",
            "|---|---:|" + "---:|" * (len(PERCENTILES) + 1),
        ]
        for distribution in [d for d in load.distributions if not d.only_ok][:12]:
            values = " | ".join(format_seconds(distribution.percentile(p)) for p in PERCENTILES)
            name = escape(distribution.title)
            lines.append(f"| {name} | {distribution.n:,} | {values} | {format_seconds(distribution.high)} |")
        lines.append("")
    return lines


def _table(table: Table) -> list[str]:
    rows = [table.head, *table.rows[:_MOST_STEPS]]
    lines = [f"| {' | '.join(map(escape, row))} |" for row in rows]
    return [lines[0], "|" + "---:|" * len(table.head), *lines[1:]]


def _finding(rule: RuleView, finding: FindingView) -> str:
    title = f" {escape(rule.title)}" if rule.title else ""
    extent = finding.extent + (f"; {finding.reruns}" if finding.reruns else "")
    lines = [f"- {SIGNS[rule.tone]} **{escape(rule.id)}**{title} ({rule.level}, {extent})  "]
    lines.append(f"  {escape(finding.message)} {code(finding.place)}".rstrip())
    if finding.known:
        lines[-1] += "  "
        lines.append(f"  known: {escape(finding.known)}")
    expected, actual = sides(finding.finding.evidence)
    pairs = [("expected", expected), ("actual", actual)]
    got = [f"{name} {code(_plain(spans), 200)}" for name, spans in pairs if spans]
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
        lines.append(f"  smallest request: {code(finding.smallest)}")
    return "\n".join(lines) + "\n"


def _plain(spans: list[Span]) -> str:
    return "".join(span.text for span in spans)
