"""The rules of a run as every writer starts from them: what the catalogue says of each, its severity, its findings."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, NamedTuple

from rejoinder.contract import Harm, Rule, harms_of, read_catalogue
from rejoinder.errors import ContractError, ExitCode
from rejoinder.formatting import one_line, plural, printable
from rejoinder.model.effect import Effect
from rejoinder.model.footer import Acceptance
from rejoinder.model.runfile import Run
from rejoinder.model.script import Step
from rejoinder.model.verdict import DefectKey, Finding, Known, Level, Minimal, Status, Verdict, defect_id
from rejoinder.reports.curl import script


class Severity(StrEnum):
    """How a line is shown: the status of a rule, ``info`` for a broken MAY rule, ``none`` where nothing was checked.

    ``word`` stands beside its sign, :meth:`counted` follows a number of rules, ``meaning`` is a tooltip; ``emoji`` is
    its sign in Markdown, ``sign`` and ``style`` are those of the terminal.
    """

    FAIL = "fail", "fail", "failed", "A MUST rule failed.", "❌", "✗", "red"
    KNOWN = "known", "known", "known failure", "The rule failed, as the baseline expects.", "🔶", "=", "yellow"
    WARN = "warn", "warn", "warned", "A SHOULD rule failed, or a connection was lost once.", "⚠️", "!", "yellow"
    ERROR = "error", "error", "error", "rejoinder or the network failed while checking the rule.", "🟪", "?", "magenta"
    BLOCKED = (
        "blocked",
        "blocked",
        "blocked",
        "A request that the rule needs was refused or failed.",
        "🚧",
        "#",
        "magenta",
    )
    INFO = "info", "info", "informational", "A MAY rule is not met. This is not a failure.", "ℹ️", "i", "blue"
    PASS = "pass", "pass", "passed", "The rule passed every check.", "✅", "✓", "green"
    DECLINED = "declined", "declined", "declined", "The model did not do what the rule needs.", "➖", "–", "dim"
    UNTESTED = "untested", "not tested", "not tested", "No request of this run tests the rule.", "➖", "–", "dim"
    NA = "na", "n/a", "not applicable", "The endpoint refused a feature that the rule needs.", "➖", "–", "dim"
    NONE = "none", "none", "without result", "Nothing was checked.", "➖", "–", "dim"

    word: str
    _counted: str
    meaning: str
    emoji: str
    sign: str
    style: str

    def __new__(cls, value: str, *look: str) -> Severity:
        """Return a member with its look."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.word, member._counted, member.meaning, member.emoji, member.sign, member.style = look
        return member

    def counted(self, number: int) -> str:
        """Return the words that follow a number of rules: ``1 error``, ``2 errors``, ``3 passed``."""
        many = number != 1 and self in (Severity.KNOWN, Severity.ERROR)
        return f"{self._counted}s" if many else self._counted


def unfinished_reason(run: Run) -> str:
    """Return why a run did not come to its end, in a sentence; empty for one that did, or that a user interrupted."""
    if run.being_written:
        return "The run is still being written."
    if run.truncated or run.footer is None:
        return "The run was cut short: its run file has no footer."
    if run.load is not None and run.load.incomplete:
        return f"The run is incomplete: {one_line(run.load.incomplete, 300)}"
    return ""


def partial_reason(run: Run) -> str:
    """Return why a run checked only a part of what its plan can check, in a sentence; empty for a whole run."""
    footer = run.footer
    if footer is not None and footer.interrupted:
        return "The run was interrupted."
    if reason := unfinished_reason(run):
        return reason
    if footer is not None and footer.unsent:
        return f"The run ended before it sent {plural(footer.unsent, 'request')} of the plan."
    if footer is not None and footer.exit_code == ExitCode.INCOMPLETE:
        return f"The run is incomplete: {one_line(footer.problem or 'its warnings give the reason.', 300)}"
    if run.header.select not in ("", "*"):
        return f"Only rules that match {one_line(run.header.select, 100)} were checked."
    return ""


JUDGED: Final = (Severity.PASS, Severity.INFO, Severity.WARN, Severity.KNOWN, Severity.FAIL)
"""The severities of rules that were checked."""
GROUPS: Final[Mapping[Severity, str]] = {
    Severity.FAIL: "Failures",
    Severity.WARN: "Warnings",
    Severity.KNOWN: "Known failures",
    Severity.INFO: "Informational",
}
"""The groups in which findings are listed, the worst first, with their titles."""
_LEVEL_TITLES: Final = {"MUST": "required", "SHOULD": "recommended", "MAY": "optional", "OFF": "off in this dialect"}


@dataclass(slots=True)
class ReportedFinding:
    """One finding with the anchor that links to it.

    ``place`` is the event type and the pointer, which tell findings apart that say the same; ``cases`` are the first
    few with their titles; ``smallest`` is the minimal request in one line, empty when there is none. ``script`` is a
    shell script that sends all requests that it takes, empty where one is enough. ``fault`` says what is wrong with
    the request itself, ``replay`` is the command that reproduces the finding, and ``known`` says
    why a baseline expects it, empty when none does. ``defect`` is the id of the defect that it is one place of.
    ``example`` is whether its count is not known; ``run`` names the run of a search that it is an example from.
    """

    finding: Finding
    anchor: str
    message: str
    place: str
    cases: list[tuple[str, str]]
    more_cases: int
    smallest: str = ""
    script: str = ""
    replay: str = ""
    known: str = ""
    defect: str = ""
    example: bool = False
    run: str = ""

    @property
    def reruns(self) -> str:
        """How many reruns of its case reproduced it, in words; empty when there was none."""
        return "" if self.finding.reruns is None else self.finding.reruns.words

    @property
    def requests_title(self) -> str:
        """What its requests are called: those that are known to be the smallest, or those of its case."""
        return "request" if self.finding.minimal is None else self.finding.minimal.title

    @property
    def fault(self) -> str:
        """What is wrong with the minimal request itself; empty when it is valid."""
        return "" if self.finding.minimal is None else one_line(self.finding.minimal.fault, 400)

    @property
    def count(self) -> int:
        """How often it occurred."""
        return self.finding.count

    @property
    def extent(self) -> str:
        """How often and where, in words."""
        cases = len(self.finding.cases)
        if self.example:
            return f"example from {self.run}" if self.run else "example"
        return f"{self.finding.count:,}×" + (f" in {plural(cases, 'case')}" if cases else "")


@dataclass(slots=True)
class ReportedRule:
    """One judged rule with what the catalogue says of it.

    ``effect`` is what a failure does to a client, ``harms`` what was proven of official clients. ``defects`` counts the
    exchanges that show each defect.
    """

    id: str
    anchor: str
    title: str
    statement: str
    source: str
    family: str
    level: str
    severity: Severity
    judged: int
    failed: int
    reason: str
    findings: list[ReportedFinding]
    catalogued: bool
    effect: Effect = Effect.MISLEADING
    harms: tuple[Harm, ...] = ()
    defects: Mapping[DefectKey, int] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """The status in a word."""
        return self.severity.word

    @property
    def occurrences(self) -> int:
        """How often the rule was found broken."""
        return sum(finding.count for finding in self.findings)


class RuleGroup(NamedTuple):
    """Rules of one family, or of one level, with their number by severity."""

    id: str
    title: str
    rules: list[ReportedRule]
    counts: dict[Severity, int]

    @property
    def tally(self) -> str:
        """The rules by verdict in words, the worst first."""
        return ", ".join(f"{amount:,} {severity.counted(amount)}" for severity, amount in self.counts.items())


class Anchors:
    """Gives every place on the page an id that is unique, stable and safe in a link."""

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()

    def take(self, prefix: str, name: str) -> str:
        """Return an id made of the prefix and the name."""
        anchor = prefix + (re.sub(r"[^A-Za-z0-9_.-]+", "-", name[:80]) or "x")
        self._taken[anchor] += 1
        return anchor if self._taken[anchor] == 1 else f"{anchor}~{self._taken[anchor]}"


def catalogue(run: Run) -> tuple[Mapping[str, Rule], Mapping[str, str]]:
    """Return the rules that a run may have judged, by id, and the titles of their families by prefix.

    Both are empty when the catalogue cannot be read, because a report must not fail over it.
    """
    try:
        return read_catalogue(run.header.extensions)
    except (ContractError, OSError):
        return {}, {}


def read_rules(run: Run, anchors: Anchors) -> list[ReportedRule]:
    """Return the judged rules of a run, in the order of the catalogue's families."""
    catalogued, families = catalogue(run)
    order = {family: index for index, family in enumerate(families)}
    lacking = {
        found.feature
        for found in (run.footer.capabilities if run.footer else ())
        if found.state.is_rejected or found.state is Acceptance.TOGETHER
    }
    rules = [_rule(verdict, catalogued, run, lacking, anchors) for verdict in run.verdicts]
    return sorted(rules, key=lambda rule: (order.get(rule.family, len(order)), rule.family, rule.id))


def _rule(
    verdict: Verdict, catalogued: Mapping[str, Rule], run: Run, lacking: set[str], anchors: Anchors
) -> ReportedRule:
    rule = catalogued.get(verdict.rule)
    name = one_line(verdict.rule, 40) or "?"
    if verdict.status is Status.NOT_APPLICABLE:
        severity = Severity.NA if rule and lacking.intersection(rule.features) else Severity.UNTESTED
    else:
        severity = Severity(verdict.status.value)
    if severity is Severity.PASS and verdict.findings:
        severity = Severity.INFO
    findings = sorted(
        verdict.findings, key=lambda f: (f.known is not None, list(Level).index(f.level), -f.count, f.fingerprint)
    )
    return ReportedRule(
        id=name,
        anchor=anchors.take("r-", name),
        title=one_line(rule.title, 200) if rule else "",
        statement=one_line(rule.statement, 1000) if rule else "",
        source=one_line(rule.basis, 1000) if rule else "",
        family=name.partition("-")[0],
        level=verdict.level.value,
        severity=severity,
        judged=verdict.judged,
        failed=verdict.failed,
        reason=one_line(verdict.reason, 300),
        findings=[_finding(finding, run, anchors, rule) for finding in findings],
        catalogued=rule is not None,
        effect=rule.effect if rule else Effect.MISLEADING,
        harms=harms_of(rule.id) if rule else (),
        defects=verdict.defects,
    )


def _finding(finding: Finding, run: Run, anchors: Anchors, rule: Rule | None, limit: int = 6) -> ReportedFinding:
    problem, titles = finding.evidence, run.header.cases
    steps = finding.minimal.steps if finding.minimal is not None else ()
    return ReportedFinding(
        finding=finding,
        anchor=anchors.take("f-", finding.fingerprint),
        message=one_line(finding.evidence.message, 400),
        place=" ".join(filter(None, (one_line(problem.event_type, 80), one_line(problem.pointer, 160)))),
        cases=[(one_line(case, 80), one_line(titles.get(case, ""), 120)) for case in finding.cases[:limit]],
        more_cases=max(0, len(finding.cases) - limit),
        smallest="" if finding.minimal is None else _smallest(finding.minimal),
        script=script(run.header.target.url, steps)[0] if steps else "",
        replay=f"rejoinder replay {_place(run)} {finding.fingerprint}",
        known="" if finding.known is None else _why(finding.known),
        # Run files of older versions name no defects.
        defect=finding.defect
        or defect_id(finding.rule, problem, fields_are_places=rule is not None and rule.fields_are_places),
    )


def finding_under_load(
    finding: Finding, run: Run, anchors: Anchors, rule: Rule | None, step: str = ""
) -> ReportedFinding:
    """Return a finding of a load, which no case reproduces, and of which only the rule's responses are counted.

    ``step`` names the run that it is from, where there were several.
    """
    return replace(_finding(finding, run, anchors, rule), replay="", example=True, run=step)


def _why(known: Known) -> str:
    """Return why a baseline expects a finding, in one line."""
    until = f"until {known.expires}" if known.expires else ""
    return one_line(", ".join(filter(None, (known.reason, known.link, until))), 400) or "no reason in the baseline"


def _place(run: Run) -> str:
    """Return where a run is as a shell word that is right in any folder; its file name where it was not read."""
    if run.path is None:
        return "run.ndjson"
    path = run.path.resolve()
    return shlex.quote(printable(str(path.parent if path.name == "run.ndjson" else path), keep=""))


def _smallest(minimal: Minimal) -> str:
    """Return a minimal request in one line, or the requests that it takes, one after the other."""
    if len(minimal.steps) > 1:
        return one_line(" → ".join(one_line(step.line, 300) for step in minimal.steps), 900)
    after = f" (after {plural(minimal.requests - 1, 'other request')} of the case)" if minimal.requests > 1 else ""
    return one_line(Step(minimal.request).line, 400) + after


def group_findings(rules: list[ReportedRule]) -> list[tuple[Severity, list[ReportedRule]]]:
    groups = []
    for severity in GROUPS:
        found = [rule for rule in rules if rule.findings and _group_of(rule) is severity]
        found.sort(key=lambda rule: -rule.occurrences)
        if found:
            groups.append((severity, found))
    return groups


def _group_of(rule: ReportedRule) -> Severity:
    """Return the group of a rule's findings; findings of rules that hold only inform."""
    return rule.severity if rule.severity in GROUPS else Severity.INFO


def group_by_family(rules: list[ReportedRule], run: Run) -> list[RuleGroup]:
    _, titles = catalogue(run)
    by_family: dict[str, list[ReportedRule]] = {}
    for rule in rules:
        by_family.setdefault(rule.family, []).append(rule)
    return [
        RuleGroup(family, one_line(titles.get(family, ""), 120), members, count_by_severity(members))
        for family, members in by_family.items()
    ]


def group_by_level(rules: list[ReportedRule]) -> list[RuleGroup]:
    found = {level: [rule for rule in rules if rule.level == level] for level in _LEVEL_TITLES}
    return [
        RuleGroup(level, _LEVEL_TITLES[level], members, count_by_severity(members))
        for level, members in found.items()
        if members
    ]


def count_by_severity(rules: list[ReportedRule]) -> dict[Severity, int]:
    """Return how many rules have each severity, the worst severity first."""
    counts = Counter(rule.severity for rule in rules)
    return {severity: counts[severity] for severity in Severity if counts[severity]}
