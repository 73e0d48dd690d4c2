"""One self-contained HTML page for a run.

The page loads nothing: styles and script stand in it, and its content security policy names their hashes and forbids
everything else, so that text from an endpoint can neither run nor call home even if it got past the escaping. It is
readable without JavaScript, and its size is bounded whatever the run holds.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final, NamedTuple, TypeVar

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from rejoinder import formatting
from rejoinder.model.runfile import Run
from rejoinder.reports._contract import MEANINGS, SIGN_OF
from rejoinder.reports._evidence import Evidence, Gatherer, sides
from rejoinder.reports._load_page import load_values
from rejoinder.reports._model import GROUPS, WORDS, FindingView, RuleView, Tone, view

EVIDENCE_BUDGET: Final = 70_000
"""Bytes of requests, events and replies on one page; the findings that matter most get theirs first."""
FINDINGS_PER_RULE: Final = 10
"""Findings of one rule that are written out."""
FINDINGS_PER_MESSAGE: Final = 3
"""Findings of one rule with one and the same message that are written out."""
FINDINGS_IN_ALL: Final = 80
"""Findings of all rules that are written out."""
LINES_PER_RULE: Final = 40
"""Further findings of one rule that get a line each; the others are counted."""
LINES_IN_ALL: Final = 160
"""Lines for further findings on one page; besides them every rule has one, if none of its findings is written out."""


Key = TypeVar("Key")


@dataclass(slots=True)
class Shown:
    """A finding on the page; ``evidence`` is ``None`` when the page had no room for it."""

    finding: FindingView
    evidence: Evidence | None = None


@dataclass(slots=True)
class ShownRule:
    """A rule in the findings part: findings that are written out, those that get a line, the number of the others."""

    rule: RuleView
    findings: list[Shown] = field(default_factory=list)
    lines: list[FindingView] = field(default_factory=list)
    hidden: int = 0


def render_html(run: Run) -> str:
    """Return the run as one HTML document, which encodes to UTF-8 and needs no network."""
    seen = view(run)
    groups = chosen(run, seen.url, seen.groups)
    return page(
        "report.html.j2",
        run=run,
        view=seen,
        groups=groups,
        titles=GROUPS,
        amounts=amounts(groups),
        meanings=MEANINGS,
        sign_of=SIGN_OF,
        tones=[tone for tone in Tone if tone in seen.counts],
        levels=[level for level in ("MUST", "SHOULD", "MAY", "OFF") if any(r.level == level for r in seen.rules)],
        **load_values(seen.load),
        loaded=seen.load is not None,
    )


def page(template: str, *, loaded: bool, **values: Any) -> str:
    """Return a template as a whole page, with styles and script and the policy that admits only them.

    ``loaded`` tells whether there is a load on the page, which has styles of its own.
    """
    styles, script = _asset("report.css") + (_asset("load.css") if loaded else ""), _asset("report.js")
    return (
        _environment()
        .get_template(template)
        .render(
            styles=Markup(styles),  # our own file, not escaped so that its hash holds
            script=Markup(script),
            style_hash=_hash(styles),
            script_hash=_hash(script),
            words=WORDS,
            **values,
        )
    )


def chosen(
    run: Run,
    url: str,
    listed: Sequence[tuple[Key, list[RuleView]]],
    budget: int = EVIDENCE_BUDGET,
    room: int = FINDINGS_IN_ALL,
) -> list[tuple[Key, list[ShownRule]]]:
    """Choose what is written out: findings in turn, every rule's first before any rule's second."""
    groups = [(key, [ShownRule(rule) for rule in rules]) for key, rules in listed]
    gatherer = Gatherer(url, {exchange.id: exchange for exchange in run.exchanges})
    everything = [(shown, *_sorted_out(shown.rule.findings)) for _, rules in groups for shown in rules]
    total, lines = 0, 0
    for turn in range(FINDINGS_PER_RULE):
        for shown, worthy, others in everything:
            if turn >= len(worthy):
                continue
            finding = worthy[turn]
            if total >= room:
                others.insert(max(0, turn - len(shown.findings)), finding)  # it weighs more than those already there
                continue
            entry = Shown(finding)
            if budget > 0:
                evidence = gatherer.gather(finding.finding)
                if evidence.weight <= budget:
                    entry.evidence = evidence
                    budget -= evidence.weight
            shown.findings.append(entry)
            total += 1
    for turn in range(LINES_PER_RULE):
        for shown, _, others in everything:
            unseen = not (turn or shown.findings)
            if turn < len(others) and (lines < LINES_IN_ALL or unseen):
                shown.lines.append(others[turn])
                lines += 1
    for shown, _, others in everything:
        shown.hidden = len(others) - len(shown.lines)
    return groups


class Amounts(NamedTuple):
    """How many findings there are, and how many of them are only counted on the page."""

    total: int
    left_out: int


def amounts(groups: Sequence[tuple[Key, list[ShownRule]]]) -> Amounts:
    """Return how many findings the rules have, and how many of them are only counted."""
    rules = [shown for _, listed in groups for shown in listed]
    left_out = sum(shown.hidden for shown in rules)
    return Amounts(sum(len(shown.findings) + len(shown.lines) for shown in rules) + left_out, left_out)


def _sorted_out(findings: list[FindingView]) -> tuple[list[FindingView], list[FindingView]]:
    """Part the findings of a rule into those worth writing out and those of which a line tells enough."""
    chosen: list[FindingView] = []
    others: list[FindingView] = []
    told: Counter[str] = Counter()
    for finding in findings:
        told[finding.message] += 1
        fits = told[finding.message] <= FINDINGS_PER_MESSAGE and len(chosen) < FINDINGS_PER_RULE
        (chosen if fits else others).append(finding)
    return chosen, others


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    environment.filters.update(
        seconds=formatting.format_seconds,
        count=formatting.format_count,
        rate=formatting.format_rate,
        size=formatting.format_bytes,
        plural=formatting.plural,
        content=_content,
        share=lambda value: f"{value:.2f}".rstrip("0").rstrip(".") + "%",
    )
    environment.globals.update(percent=formatting.format_percent, sides=sides)
    return environment


def _harmless(value: Any) -> Any:
    """Make every text that a template prints printable; escaping follows. ``Markup`` is our own."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return formatting.printable(value)
    return value


def _content(value: str) -> Markup:
    """Escape text that stands between tags, never in an attribute: quotes stay, of which JSON is full."""
    return Markup(formatting.printable(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


@cache
def _asset(name: str) -> str:
    return files("rejoinder.reports").joinpath("templates", name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
