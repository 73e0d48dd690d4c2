"""The MUST rules that responses under load broke, whether that voids them, and what shows it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from rich.text import Text

from rejoinder.contract import Rule
from rejoinder.formatting import format_percent, join_list, one_line, plural
from rejoinder.model.runfile import Run
from rejoinder.model.samples import LoadSample, RequestSample, RuleUnderLoad
from rejoinder.model.verdict import Finding, Level, Problem
from rejoinder.reports.evidence import Gatherer
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.findings.choice import RenderedFinding
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.rules import catalogue, finding_under_load
from rejoinder.reports.terminal_text import wrap

_MOST_RULES: Final = 40
_EVIDENCE_BUDGET: Final = 40_000
"""Bytes of requests, events and replies that the part may take on a page."""


@dataclass(slots=True)
class BrokenRule:
    """A MUST rule that ``responses`` checked responses broke, which voids ``voided`` of them.

    ``known`` of them show nothing but known failures. ``effect`` is what a failure does to a client, in words;
    ``statement`` is the rule, ``source`` what it rests on.
    """

    id: str
    title: str
    responses: int
    voided: int
    known: int = 0
    effect: str = ""
    statement: str = ""
    source: str = ""
    catalogued: bool = True
    findings: list[RenderedFinding] = field(default_factory=list)

    @property
    def severity(self) -> str:
        """The severity of its sign."""
        return "fail" if self.voided else "known" if self.known == self.responses else "warn"

    @property
    def counted(self) -> str:
        """What follows for the responses, in words."""
        if self.voided:
            return "failed" if self.voided == self.responses else f"{self.voided:,} failed"
        return "known failure" if self.known == self.responses else "succeeded"


@dataclass(frozen=True, slots=True)
class ConformanceUnderLoad:
    """What the check of responses under load found.

    ``broken`` of ``checked`` responses broke a rule; both are ``None`` for runs of older versions.
    """

    rules: list[BrokenRule]
    checked: int | None = None
    broken: int | None = None

    @property
    def voiding(self) -> list[BrokenRule]:
        """The rules that void responses."""
        return [rule for rule in self.rules if rule.voided]

    @property
    def sentence(self) -> str:
        """How many responses broke how many rules."""
        if not self.rules:
            return f"All {plural(self.checked or 0, 'checked response')} follow every MUST rule that was checked."
        ranked = sorted(self.rules, key=lambda rule: -rule.responses)
        rules = f"{plural(len(self.rules), 'MUST rule')} ({join_list((f'{r.id} ×{r.responses:,}' for r in ranked), 5)})"
        if self.broken is None or self.checked is None:
            return f"Responses break {rules}."
        verb = "breaks" if self.broken == 1 else "break"
        of = plural(self.checked, "checked response")
        return f"{self.broken:,} of {of} {verb} {rules}. {self._consequence}"

    @property
    def _consequence(self) -> str:
        voiding = self.voiding
        if all(rule.known == rule.responses for rule in self.rules):
            return "All are known failures."
        if not voiding:
            return "None of them voids a response."
        one = len(voiding) == 1
        return f"{join_list((rule.id for rule in voiding), 5)} {'voids' if one else 'void'} responses."


def read(report: ReportModel) -> ConformanceUnderLoad | None:
    """Return what the checks under load found; ``None`` where nothing was checked."""
    run, total = report.run, report.run.load
    rows = total.conformance if total else []
    rules = catalogue(run)[0]
    if total is not None and (rows or (total.judged and not total.rules)):
        found = [_broken_rule(row, rules, report, total) for row in rows[:_MOST_RULES]]
        return ConformanceUnderLoad(found, total.judged, total.broken)
    # Runs of older versions, in which every broken rule voided a response, and runs without totals.
    counts = Counter(total.rules if total else ())
    for request in run.samples_of(RequestSample) if total is None else ():
        counts.update(request.rules)
    ranked = counts.most_common(_MOST_RULES)
    plain = [RuleUnderLoad(rule=rule, responses=count, voided=count if total else 0) for rule, count in ranked]
    return ConformanceUnderLoad([_broken_rule(row, rules, report, total) for row in plain]) if plain else None


def _broken_rule(
    row: RuleUnderLoad, rules: dict[str, Rule] | Any, report: ReportModel, total: LoadSample | None
) -> BrokenRule:
    rule: Rule | None = rules.get(row.rule)
    findings = [] if total is None else _findings(row, report.run, report, rule)
    return BrokenRule(
        one_line(row.rule, 40),
        one_line(rule.title, 200) if rule else "",
        row.responses,
        row.voided,
        row.known,
        rule.effect.words if rule else "",
        one_line(rule.statement, 1000) if rule else "",
        one_line(rule.basis, 1000) if rule else "",
        rule is not None,
        findings,
    )


def _findings(row: RuleUnderLoad, run: Run, report: ReportModel, rule: Rule | None) -> list[RenderedFinding]:
    """Return the problems that the run file describes; none for a search, whose steps number exchanges alike."""
    load = run.load
    if load is None or load.search is not None or load.repeats:
        return []
    found: dict[str, RenderedFinding] = {}
    for record in row.problems:
        try:
            problem = Problem.from_json(record)
            finding = Finding(row.rule, Level.MUST, problem)
            if finding.fingerprint not in found:
                found[finding.fingerprint] = RenderedFinding(finding_under_load(finding, run, report.anchors, rule))
        except (KeyError, TypeError, ValueError, AttributeError):  # a strange run file
            continue
    return list(found.values())


def page_values(it: ConformanceUnderLoad, report: ReportModel) -> dict[str, Any]:
    """Give each problem its evidence while there is room: first one of every rule."""
    gatherer = Gatherer(report[TARGET].url, {exchange.id: exchange for exchange in report.run.exchanges})
    room = _EVIDENCE_BUDGET
    most = max((len(rule.findings) for rule in it.rules), default=0)
    for turn in range(most):
        for entry in (rule.findings[turn] for rule in it.rules if turn < len(rule.findings)):
            evidence = gatherer.gather(entry.finding.finding)
            if evidence.weight <= room:
                entry.evidence = evidence
                room -= evidence.weight
    shares = {rule.id: format_percent(rule.responses, it.checked) if it.checked else "" for rule in it.rules}
    return {"shares": shares}


def markdown(it: ConformanceUnderLoad, report: ReportModel, room: int) -> list[str]:
    """Return one line."""
    return [f"Conformance under load: {escape(it.sentence)}", ""] if it.rules else []


def terminal(it: ConformanceUnderLoad, report: ReportModel, width: int) -> list[Text]:
    """Return one line."""
    style = "red" if it.voiding else "yellow"
    return wrap(f"Conformance: {it.sentence}", width, " " * 6, style) if it.rules else []


PART: Final = Part(__name__, Area.LOAD, 247, read, markdown=markdown, terminal=terminal, page_values=page_values)
