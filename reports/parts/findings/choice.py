"""Which findings a page writes out, so that its size is bounded whatever the run holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from rejoinder.model.runfile import Run
from rejoinder.reports.evidence import Evidence, Gatherer
from rejoinder.reports.rules import ReportedFinding, ReportedRule

EVIDENCE_BUDGET: Final = 60_000
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
class RenderedFinding:
    """A finding on the page; ``evidence`` is ``None`` when the page had no room for it."""

    finding: ReportedFinding
    evidence: Evidence | None = None


@dataclass(slots=True)
class RenderedRule:
    """A rule in the findings part: findings that are written out, those that get a line, the number of the others."""

    rule: ReportedRule
    findings: list[RenderedFinding] = field(default_factory=list)
    lines: list[ReportedFinding] = field(default_factory=list)
    hidden: int = 0


def choose(
    run: Run,
    url: str,
    groups: Sequence[tuple[Key, list[ReportedRule]]],
    budget: int = EVIDENCE_BUDGET,
    room: int = FINDINGS_IN_ALL,
    per_rule: int = FINDINGS_PER_RULE,
) -> list[tuple[Key, list[RenderedRule]]]:
    """Choose what is written out: findings in turn, every rule's first before any rule's second.

    ``per_rule`` is how many findings of one rule are written out; the others get a line.
    """
    chosen = [(key, [RenderedRule(rule) for rule in rules]) for key, rules in groups]
    gatherer = Gatherer(url, {exchange.id: exchange for exchange in run.exchanges})
    everything = [
        (rendered, *_sorted_out(rendered.rule.findings, per_rule)) for _, rules in chosen for rendered in rules
    ]
    total, lines = 0, 0
    for turn in range(per_rule):
        for rendered, worthy, others in everything:
            if turn >= len(worthy):
                continue
            finding = worthy[turn]
            if total >= room:
                others.insert(max(0, turn - len(rendered.findings)), finding)  # it weighs more than those already there
                continue
            entry = RenderedFinding(finding)
            if budget > 0:
                evidence = gatherer.gather(finding.finding)
                if evidence.weight <= budget:
                    entry.evidence = evidence
                    budget -= evidence.weight
            rendered.findings.append(entry)
            total += 1
    for turn in range(LINES_PER_RULE):
        for rendered, _, others in everything:
            unseen = not (turn or rendered.findings)
            if turn < len(others) and (lines < LINES_IN_ALL or unseen):
                rendered.lines.append(others[turn])
                lines += 1
    for rendered, _, others in everything:
        rendered.hidden = len(others) - len(rendered.lines)
    return chosen


class Amounts(NamedTuple):
    """How many findings there are, and how many of them are only counted on the page."""

    total: int
    left_out: int


def amounts(groups: Sequence[tuple[Key, list[RenderedRule]]]) -> Amounts:
    """Return how many findings the rules have, and how many of them are only counted."""
    rules = [rendered for _, members in groups for rendered in members]
    left_out = sum(rendered.hidden for rendered in rules)
    return Amounts(sum(len(rendered.findings) + len(rendered.lines) for rendered in rules) + left_out, left_out)


def _sorted_out(findings: list[ReportedFinding], most: int) -> tuple[list[ReportedFinding], list[ReportedFinding]]:
    """Part the findings of a rule into those worth writing out and those for which a line is enough."""
    chosen: list[ReportedFinding] = []
    others: list[ReportedFinding] = []
    seen: Counter[str] = Counter()
    for finding in findings:
        seen[finding.message] += 1
        fits = seen[finding.message] <= FINDINGS_PER_MESSAGE and len(chosen) < most
        (chosen if fits else others).append(finding)
    return chosen, others
