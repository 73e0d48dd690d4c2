"""The MUST rules that responses under load broke, whether that voids them, and what shows it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rich.text import Text

from rejoinder.contract import Rule
from rejoinder.formatting import format_percent, join_list, one_line, plural, uncapitalized
from rejoinder.model.runfile import Run
from rejoinder.model.samples import Repeat, RequestSample, RuleUnderLoad, SearchStep
from rejoinder.model.verdict import Finding, Level, Problem
from rejoinder.reports.evidence import Gatherer
from rejoinder.reports.markdown_text import escape
from rejoinder.reports.model import Area, Part, ReportModel
from rejoinder.reports.parts.findings.choice import RenderedFinding
from rejoinder.reports.parts.target import PART as TARGET
from rejoinder.reports.rules import catalogue, finding_under_load
from rejoinder.reports.terminal_text import wrap

_MOST_RULES: Final = 40
_MOST_STEPS: Final = 200
"""The most runs of a search that are looked at."""
_MOST_RUNS: Final = 12
_MOST_PLACES: Final = 3
_MOST_FINDINGS: Final = 6
"""The most findings of one rule, for which an exchange is shown."""
REPEAT: Final = "repeat"
"""What repetitions are numbered by; all of them have the same load."""
_EVIDENCE_BUDGET: Final = 40_000
"""Bytes of requests, events and replies that the part may take on a page."""


class LoadRun(NamedTuple):
    """What the checks found in one of the runs of a load test: a step of a search, or a repetition.

    ``name`` names it in a sentence, such as ``step 3 (16 requests/s)``; ``load`` is its load, or its number, in short.
    """

    name: str
    load: str
    judged: int
    broken: int
    conformance: list[RuleUnderLoad]


@dataclass(slots=True)
class BrokenRule:
    """A MUST rule that ``responses`` checked responses broke, which voids ``voided`` of them.

    ``known`` of them show nothing but known failures. ``effect`` is what a failure does to a client, in words;
    ``statement`` is the rule, ``source`` what it rests on. ``anchor`` is where the page lists the rule.
    ``by_load`` has the number of responses by the load, or the number, of the run, where there were several runs.
    """

    id: str
    anchor: str
    title: str
    responses: int
    voided: int
    known: int = 0
    effect: str = ""
    statement: str = ""
    source: str = ""
    catalogued: bool = True
    findings: list[RenderedFinding] = field(default_factory=list)
    by_load: dict[str, int] = field(default_factory=dict)

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

    def at(self, unit: str) -> str:
        """Return how often it was broken at which loads, or in which repeats: ``3 at 8, 12 at 16``."""
        preposition = "in repeat" if unit == REPEAT else "at"
        return join_list((f"{count:,} {preposition} {load}" for load, count in self.by_load.items()), _MOST_RUNS)


@dataclass(frozen=True, slots=True)
class ConformanceUnderLoad:
    """What the check of responses under load found.

    ``broken`` of ``checked`` responses broke a rule; both are ``None`` for runs of older versions. Of several runs,
    ``runs`` says how many they were (``6 steps``), and ``unit`` is what they differ in: ``requests/s``,
    ``concurrency`` or ``repeat``. ``voiding`` are the rules that void responses in the run whose figures the report
    shows. ``others`` is what was found at the other endpoint of a comparison, in a sentence.
    """

    rules: list[BrokenRule]
    checked: int | None = None
    broken: int | None = None
    voiding: list[str] = field(default_factory=list)
    runs: str = ""
    unit: str = ""
    others: str = ""

    @property
    def sentence(self) -> str:
        """How many responses broke how many rules."""
        return _sentence(self.rules, self.checked, self.broken, self.runs)

    @property
    def places(self) -> str:
        """In which of several runs the rules were broken most often, as a sentence; empty for a single run."""
        ranked = sorted(self.rules, key=lambda rule: -rule.responses) if self.runs else []
        texts = [f"{rule.id}: {rule.at(self.unit)}" for rule in ranked[:_MOST_PLACES]]
        start = "" if self.unit == REPEAT else f"By {self.unit}: "
        return f"{start}{'; '.join(texts)}." if texts else ""


def _sentence(rules: Sequence[BrokenRule], checked: int | None, broken: int | None, runs: str = "") -> str:
    where = f" in {runs}" if runs else ""
    if not rules:
        verb = "follows" if checked == 1 else "follow"
        every = "The only checked response" if checked == 1 else f"All {checked or 0:,} checked responses"
        return f"{every}{where} {verb} every MUST rule that was checked."
    ranked = sorted(rules, key=lambda rule: -rule.responses)
    text = f"{plural(len(rules), 'MUST rule')} ({join_list((f'{r.id} ×{r.responses:,}' for r in ranked), 5)})"
    if broken is None or checked is None:
        return f"Responses break {text}."
    verb = "breaks" if broken == 1 else "break"
    return f"{broken:,} of {plural(checked, 'checked response')}{where} {verb} {text}. {_consequence(rules)}"


def _consequence(rules: Sequence[BrokenRule]) -> str:
    voiding = [rule.id for rule in rules if rule.voided]
    if all(rule.known == rule.responses for rule in rules):
        return "All are known failures."
    if not voiding:
        return "None of them voids a response."
    return f"{join_list(voiding, 5)} {'voids' if len(voiding) == 1 else 'void'} responses."


def read(report: ReportModel) -> ConformanceUnderLoad | None:
    """Return what the checks under load found; ``None`` where nothing was checked."""
    run, total = report.run, report.run.load
    rows = total.conformance if total else []
    voiding = [one_line(row.rule, 40) for row in rows if row.voided]
    ours, others, unit = _runs(run)
    if any(one.judged for one in ours):
        return _of_runs(report, ours, others, unit, voiding)
    rules = catalogue(run)[0]
    if total is not None and (rows or (total.judged and not total.rules)):
        # Steps and repetitions of older versions number their exchanges alike.
        alone = total.search is None and not total.repeats
        one = LoadRun("", "", total.judged, total.broken, rows)
        found = [_broken_rule(row, rules, report, [one] if alone else []) for row in rows[:_MOST_RULES]]
        return ConformanceUnderLoad(found, total.judged, total.broken, voiding)
    # Runs of older versions, in which every broken rule voided a response, and runs without totals.
    counts = Counter(total.rules if total else ())
    for request in run.samples_of(RequestSample) if total is None else ():
        counts.update(request.rules)
    ranked = counts.most_common(_MOST_RULES)
    plain = [RuleUnderLoad(rule=rule, responses=count, voided=count if total else 0) for rule, count in ranked]
    found = [_broken_rule(row, rules, report, []) for row in plain]
    return ConformanceUnderLoad(found, voiding=[rule.id for rule in found if rule.voided]) if found else None


def _runs(run: Run) -> tuple[list[LoadRun], list[LoadRun], str]:
    """Return the runs of a search or of repetitions, those of the other endpoint, and what runs differ in."""
    total = run.load
    steps = total.search.steps if total and total.search else [] if total else run.samples_of(SearchStep)
    repeats = total.repeats if total else run.samples_of(Repeat)
    if steps:
        found = []
        # By load, as the table of the steps has them; the number is that of the order in which they ran.
        for number, step in sorted(enumerate(steps[:_MOST_STEPS], 1), key=lambda entry: entry[1].level):
            level = f"concurrency {step.level:,.4g}" if step.rate is None else f"{step.level:,.4g} requests/s"
            name = f"step {number} ({level})"
            found.append(LoadRun(name, f"{step.level:,.4g}", step.judged, step.broken, step.conformance))
        return found, [], "concurrency" if steps[0].rate is None else "requests/s"
    sides: dict[str, list[LoadRun]] = {"endpoint": [], "against": []}
    for repeat in repeats[:_MOST_STEPS]:
        number = repeat.repeat + 1
        one = LoadRun(f"repeat {number}", f"{number}", repeat.judged, repeat.broken, repeat.conformance)
        sides[repeat.of].append(one)
    return sides["endpoint"], sides["against"], REPEAT


def _of_runs(
    report: ReportModel, runs: list[LoadRun], others: list[LoadRun], unit: str, voiding: list[str]
) -> ConformanceUnderLoad:
    """Return what was found in several runs together."""
    checked, broken = sum(one.judged for one in runs), sum(one.broken for one in runs)
    elsewhere = ""
    if others:
        rules = _merged(report, others, [])
        sums = sum(one.judged for one in others), sum(one.broken for one in others)
        elsewhere = f"The other endpoint: {uncapitalized(_sentence(rules, *sums))}"
    count = plural(len(runs), "repeat" if unit == REPEAT else "step")
    return ConformanceUnderLoad(_merged(report, runs, runs), checked, broken, voiding, count, unit, elsewhere)


def _merged(report: ReportModel, runs: list[LoadRun], shown: list[LoadRun]) -> list[BrokenRule]:
    """Return the rules that several runs broke, as one table; the findings are those of the runs that are ``shown``."""
    sums: dict[str, RuleUnderLoad] = {}
    for row in (row for one in runs for row in one.conformance):
        whole = sums.setdefault(row.rule, RuleUnderLoad(rule=row.rule, responses=0))
        whole.responses += row.responses
        whole.voided += row.voided
        whole.known += row.known
    ranked = sorted(sums.values(), key=lambda row: (-row.voided, -row.responses, row.rule))
    return [_broken_rule(row, catalogue(report.run)[0], report, shown) for row in ranked[:_MOST_RULES]]


def _broken_rule(row: RuleUnderLoad, rules: Mapping[str, Rule], report: ReportModel, runs: list[LoadRun]) -> BrokenRule:
    """Return a rule with its sums in ``row``, and with the findings of ``runs``."""
    rule, name = rules.get(row.rule), one_line(row.rule, 40)
    listed = next((one.anchor for one in report.rules if one.id == name), "")
    found = BrokenRule(
        name,
        listed or report.anchors.take("r-", name),
        one_line(rule.title, 200) if rule else "",
        row.responses,
        row.voided,
        row.known,
        rule.effect.words if rule else "",
        one_line(rule.statement, 1000) if rule else "",
        one_line(rule.basis, 1000) if rule else "",
        rule is not None,
    )
    known: set[str] = set()
    for one in runs:
        for own in one.conformance:
            if own.rule == row.rule:
                found.findings += _findings(own, report, rule, one.name, known)
                if one.load:
                    found.by_load[one.load] = found.by_load.get(one.load, 0) + own.responses
    del found.findings[_MOST_FINDINGS:]
    return found


def _findings(
    row: RuleUnderLoad, report: ReportModel, rule: Rule | None, name: str, known: set[str]
) -> list[RenderedFinding]:
    """Return the problems of a run that the run file describes, apart from those whose fingerprint is ``known``."""
    found = []
    for record in row.problems:
        try:
            finding = Finding(row.rule, Level.MUST, Problem.from_json(record))
            if finding.fingerprint not in known:
                shown = finding_under_load(finding, report.run, report.anchors, rule, name)
                known.add(finding.fingerprint)
                found.append(RenderedFinding(shown))
        except (KeyError, TypeError, ValueError, AttributeError):  # a strange run file
            continue
    return found


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
    return {"shares": shares, "listed": {rule.anchor for rule in report.rules}}


def markdown(it: ConformanceUnderLoad, report: ReportModel, room: int) -> list[str]:
    """Return what was found, and in which runs."""
    text = " ".join(filter(None, (it.sentence, it.places, it.others)))
    return [f"Conformance under load: {escape(text)}", ""] if it.rules else []


def terminal(it: ConformanceUnderLoad, report: ReportModel, width: int) -> list[Text]:
    """Return what was found, and in which runs."""
    style = "red" if any(rule.voided for rule in it.rules) else "yellow"
    text = " ".join(filter(None, (it.sentence, it.places, it.others)))
    return wrap(f"Conformance: {text}", width, " " * 6, style) if it.rules else []


PART: Final = Part(__name__, Area.LOAD, 247, read, markdown=markdown, terminal=terminal, page_values=page_values)
