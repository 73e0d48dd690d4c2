"""Replay: findings of a recorded run are sent again, to see whether they still happen.

What is sent are the minimal requests where there are some; else the finding's case as its plan makes it, where the plan
still has it; else the recorded requests of the case, in which the ids that came from earlier replies are replaced by
those of the new ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from rejoinder.conformance.judgement import judge, judge_run, merge
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import PlannedCase
from rejoinder.conformance.running.confirm import looks_at_run, was_asked
from rejoinder.conformance.running.engine import CheckRun
from rejoinder.conformance.running.script import cases_of, recorded_steps
from rejoinder.conformance.running.trial import Trial, fresh
from rejoinder.contract import Dialect
from rejoinder.errors import ExitCode, UsageError
from rejoinder.formatting import one_line, plural
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.model.runfile import Run
from rejoinder.model.script import Step
from rejoinder.model.tags import BOOKKEEPING, Tag
from rejoinder.model.verdict import Finding, Minimal, Reruns, Verdict


class ReplayOutcome(StrEnum):
    """The result of replaying a finding."""

    HAPPENS = "still reproduces"
    DIFFERS = "differs"
    GONE = "did not reproduce"
    UNKNOWN = "not tested"

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the command."""
        return {ReplayOutcome.GONE: ExitCode.PASSED, ReplayOutcome.UNKNOWN: ExitCode.NOT_TESTED}.get(
            self, ExitCode.FAILED
        )


@dataclass(slots=True)
class ReplayResult:
    """What came of sending a finding's trial again.

    ``asked`` counts the times that it went as far as when it was recorded, ``failed`` those of them with the finding,
    ``other`` those that went another way. ``verdicts`` are those on all of it. ``exchanges`` are the last ones that
    showed the finding, or just the last ones, and ``shown`` is the finding in them, if it is there.
    """

    finding: Finding
    verdicts: list[Verdict] = field(default_factory=list)
    asked: int = 0
    failed: int = 0
    other: int = 0
    exchanges: list[Exchange] = field(default_factory=list)
    shown: Finding | None = None

    def add(self, verdicts: list[Verdict], sent: list[Exchange], was_asked: bool) -> None:
        """Take in one sending; ``was_asked`` says whether it got to the question of the finding."""
        self.verdicts = merge(self.verdicts, verdicts)
        found = {f.fingerprint: f for verdict in verdicts for f in verdict.findings}
        same = found.get(self.finding.fingerprint)
        asked = bool(found) or was_asked
        self.asked += asked
        self.failed += same is not None
        self.other += not asked
        if same is not None or self.shown is None:
            self.exchanges, self.shown = sent, same

    @property
    def outcome(self) -> ReplayOutcome:
        """What the sendings say together."""
        if self.failed:
            return ReplayOutcome.HAPPENS
        if not self.asked:
            return ReplayOutcome.UNKNOWN
        return ReplayOutcome.DIFFERS if self._others else ReplayOutcome.GONE

    @property
    def sentence(self) -> str:
        """The outcome in one sentence."""
        rule = self.finding.rule
        if self.outcome is ReplayOutcome.UNKNOWN:
            last = self.exchanges[-1] if self.exchanges else None
            why = next((verdict.reason for verdict in self.verdicts if verdict.reason), "")
            if last is not None and last.status is not None and not last.ok:
                why = f"The endpoint returned status {last.status}."
            return f"{rule} could not be tested: {why or 'The requests got no response.'}"
        if self.outcome is ReplayOutcome.DIFFERS:
            return f"{rule} failed with another finding: {self._others[0].evidence.message}"
        apart = f" {plural(self.other, 'run')} more ended in another way." if self.other else ""
        return f"{rule} failed in {self.failed} of {plural(self.asked, 'run')}.{apart}"

    @property
    def shown_in(self) -> Exchange | None:
        """The exchange that shows the finding, or the last one; ``None`` where nothing was sent."""
        name = self.shown.evidence.exchange if self.shown is not None else ""
        return next((exchange for exchange in self.exchanges if exchange.id == name), None) or (
            self.exchanges[-1] if self.exchanges else None
        )

    @property
    def reruns(self) -> Reruns:
        """The counts as those of reruns."""
        return Reruns(self.asked, self.failed, self.other)

    @property
    def _others(self) -> list[Finding]:
        return [f for verdict in self.verdicts for f in verdict.findings if f.fingerprint != self.finding.fingerprint]


def findings_of(run: Run) -> Iterator[Finding]:
    """Yield the findings of a run, in the order of its verdicts."""
    for verdict in run.verdicts:
        yield from verdict.findings


def find(run: Run, name: str) -> Finding:
    """Return the finding that a fingerprint, the beginning of one, or a rule names.

    Raises :class:`UsageError` when that is none, or more than one.
    """
    known = list(findings_of(run))
    named = name.lower()
    found = [f for f in known if f.fingerprint.startswith(named) or f.rule.lower() == named]
    # One that a baseline expects in some cases stands beside those that it does not.
    distinct = list({finding.fingerprint: finding for finding in found}.values())
    if len(distinct) == 1:
        return distinct[0]
    if not found:
        raise UsageError(f'The run has no finding "{name}".', "`rejoinder replay RUN` lists its findings.")
    lines = [f"  {finding.fingerprint}  {finding.rule:8} {where(finding)}".rstrip() for finding in distinct]
    raise UsageError(
        f'"{name}" matches {len(distinct)} findings.', "\n".join(["Use the fingerprint of one, or --all:", *lines])
    )


def where(finding: Finding) -> str:
    """Return what distinguishes a finding from others of its rule: event type, pointer, kind, or else its message."""
    problem = finding.evidence
    kind = f"({problem.kind})" if problem.kind else ""
    parts = (problem.event_type, problem.pointer, kind)
    return one_line(" ".join(filter(None, parts)) or problem.message, 200)


def rebuild(run: Run, finding: Finding, planned: Mapping[str, PlannedCase]) -> tuple[Trial, str]:
    """Return the cases that are to show a finding, and what they are in words.

    ``planned`` are the cases of the run's plan as it is today, by id. Raises :class:`UsageError` when the case can
    neither be planned nor made of what was recorded.
    """
    by_id = {exchange.id: exchange for exchange in run.exchanges}
    path = urlsplit(run.header.target.url)._replace(scheme="", netloc="", fragment="").geturl()
    evidence = by_id.get(finding.evidence.exchange)
    if finding.minimal is not None and finding.minimal.reduced:
        trial = minimal_trial(finding.minimal, by_id, path, finding.cases)
        if trial:
            return trial, "the minimal request" if finding.minimal.requests == 1 else "the minimal requests"
    names = ([evidence.case] if evidence is not None else []) + finding.cases
    for name in names:
        if name in planned:
            return (planned[name],), f"the case {name} of the plan"
    if finding.minimal is not None:
        trial = minimal_trial(finding.minimal, by_id, path, finding.cases)
        if trial:
            return trial, "the recorded requests"
    if evidence is not None:
        steps = _recorded(run, evidence)
        if steps:
            return tuple(cases_of(steps, path)), f"the recorded case {evidence.case}"
    raise UsageError(
        f"Cannot send the case of finding {finding.fingerprint} again: the plan does not have it, and the run file "
        "lacks a part of it.",
        "Run `rejoinder check` again.",
    )


def minimal_trial(minimal: Minimal, exchanges: Mapping[str, Exchange], create: str, cases: Sequence[str] = ()) -> Trial:
    """Return the cases that a minimal request is sent as; none where it holds only a part of what it takes.

    ``exchanges`` are those of the run by id, ``create`` is the path of the create endpoint with its query, and
    ``cases`` name those in which the finding showed.
    """
    if minimal.steps:
        return tuple(cases_of(minimal.steps, create))
    seen_in = exchanges.get(minimal.exchange)
    if minimal.requests > 1 or not _is_whole(seen_in):
        return ()
    if seen_in is not None:
        step = Step(minimal.request, seen_in.case, seen_in.role, _intent(seen_in), seen_in.id)
    else:
        step = Step(minimal.request, cases[0] if cases else "minimal", Role.PLAIN, (Tag.VALID,))
    return tuple(cases_of([step], create))


def _is_whole(exchange: Exchange | None) -> bool:
    """Return whether a recording says all of a request: no other key, and no end that only its plan knew."""
    if exchange is None:
        return True
    return Tag.SECOND_TENANT not in exchange.tags and exchange.outcome is not Outcome.CANCELLED


def _intent(exchange: Exchange) -> tuple[str, ...]:
    return tuple(tag for tag in exchange.tags if tag not in BOOKKEEPING)


def _recorded(run: Run, evidence: Exchange) -> tuple[Step, ...]:
    """Return the recorded case of an exchange; the exchange alone where its case is no sequence of roles."""
    together = [e for e in run.exchanges if e.case == evidence.case and Tag.UNJUDGED not in e.tags]
    roles = [exchange.role for exchange in together]
    if evidence not in together or len(set(roles)) != len(roles):
        together = [evidence]
    return recorded_steps(together) if all(map(_is_whole, together)) else ()


async def replay(
    sender: CheckRun, run: Run, findings: Sequence[Finding], trial: Trial, dialect: Dialect, *, times: int
) -> list[ReplayResult]:
    """Send a trial ``times`` times, check each against the rules of its findings, and return a result for each."""
    _, run_context = judge_run(run.exchanges, dialect, select="", required=run.header.required)
    results = [ReplayResult(finding) for finding in findings]
    for number in range(times):
        # Each sending is a case of its own, or rules over cases would take them for one.
        cases = [fresh(case) for case in trial]
        cases = [replace(case, id=case.id if number == 0 else f"{case.id} again {number}") for case in cases]
        sent = [await sender.send(case) for case in cases]
        together = [exchange for exchanges in sent for exchange in exchanges]
        if not together:
            break
        for result in results:
            context = _context(run, result.finding) if len(trial) == 1 else []
            rule = result.finding.rule

            def judging(exchanges: Sequence[Exchange], rule: str = rule, context: Any = context) -> list[Verdict]:
                return judge([*context, *exchanges], dialect, select=rule, run_context=run_context)

            def judged(exchanges: Sequence[Exchange], judging: Any = judging) -> bool:
                return any(verdict.judged for verdict in judging(exchanges))

            before = _before(run, result.finding, trial)
            evidence = next((e for e in run.exchanges if e.id == result.finding.evidence.exchange), None)
            result.add(judging(together), together, was_asked(rule, evidence, before, sent, judged))
    return results


def verdicts_of(results: Iterable[ReplayResult]) -> list[Verdict]:
    """Return the verdicts of several replays, one for each rule, with the reruns on the findings."""
    verdicts: dict[str, Verdict] = {}
    for result in results:
        for verdict in result.verdicts:
            for finding in verdict.findings:
                if finding.fingerprint == result.finding.fingerprint and result.asked > 1:
                    finding.reruns = result.reruns
            known = verdicts.get(verdict.rule)
            verdicts[verdict.rule] = verdict if known is None else merge([known], [verdict])[0]
    return list(verdicts.values())


def _before(run: Run, finding: Finding, trial: Trial) -> list[list[Exchange]]:
    """Return for each case of a trial the exchanges of its recording, the smallest known first."""
    minimal = finding.minimal
    shown = {step.exchange for step in minimal.steps} | {minimal.exchange} if minimal is not None else set()
    found = []
    for case in trial:
        own = [exchange for exchange in run.exchanges if exchange.case == case.id]
        found.append([e for e in own if e.id in shown] or [e for e in own if Tag.UNJUDGED not in e.tags])
    return found


def _context(run: Run, finding: Finding) -> list[Exchange]:
    """Return what else of the run a rule over all of it must see; nothing where the case alone shows the finding."""
    if not looks_at_run(finding.rule):
        return []
    recorded = (exchange for exchange in run.exchanges if exchange.id == finding.evidence.exchange)
    return [replace(e, id=f"{e.id} before", case=f"{e.case} before", tags=_intent(e)) for e in recorded]
