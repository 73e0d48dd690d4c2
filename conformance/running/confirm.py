"""Confirming: what failed is sent again, and made small where it fails every time.

A finding that shows whenever its case is sent again is deterministic and worth reducing: requests of its case are left
out, then parts of their bodies, for as long as the same finding (by fingerprint) still shows. One that shows at times
is reported with its rate. A rerun that took another way (no reply, a busy endpoint, another status) says nothing of a
finding. Nothing that is sent here is judged for the verdicts a second time.

A smaller trial proves something only if a correct endpoint passes it and takes its requests
(:class:`~rejoinder.conformance.running.trial.Screen`). What the run has recorded is known: the smallest recorded case
that shows a finding is where its reduction starts, and one that did not show it is not sent again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

from msgspec import structs

from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judgement import MAX_CASES
from rejoinder.conformance.judging.registry import Subject
from rejoinder.conformance.running.case import PlannedCase, Replies, RequestSpec
from rejoinder.conformance.running.script import (
    BodyTemplate,
    PathTemplate,
    QueryTemplate,
    needed_steps,
    references,
    steps_of,
    templated,
)
from rejoinder.conformance.running.trial import (
    Screen,
    Soundness,
    Trial,
    bytes_of,
    fresh,
    is_create,
    key_of,
    object_of,
    size_of,
)
from rejoinder.contract import Dialect
from rejoinder.formatting import plural
from rejoinder.model.exchange import Exchange
from rejoinder.model.script import Step
from rejoinder.model.tags import ON_PURPOSE, UNCERTAIN, Tag
from rejoinder.model.verdict import Finding, Minimal, Problem, Reruns, Status, Verdict
from rejoinder.strategies import empty_lists, minimise, minimise_bytes
from rejoinder.strategies.reduce import SENTENCE
from rejoinder.wire.pacing import BUSY
from rejoinder.wire.target import Target

PINNED: Final = ("model", "max_output_tokens")
"""Fields that no reduction touches: which model answers, and how much it may cost."""

SETTLED: Final = (("temperature", 0), ("top_k", 1), ("seed", None))
"""Fields that no reduction touches where replies are compared: with this value (``None``: any) a model answers the same
each time."""

SHORT_OBJECT: Final = 1024
"""Bytes of a JSON object up to which no bytes are cut out of its text."""

LARGEST_SCRIPT: Final = 64 * 1024
"""Bytes in the bodies of recorded requests beyond which a finding that was not minimised does not repeat them."""

LARGEST: Final = 1024 * 1024
"""Bytes of a body beyond which it is not reduced."""


@dataclass(frozen=True, slots=True)
class ConfirmBudget:
    """How much a run may spend on its findings.

    ``reruns``: how often the case of a finding is sent again. ``failures`` and ``warnings``: how many findings of MUST
    and of SHOULD rules are taken up, those that occurred most often first. ``reduce``: requests to reduce one of them.
    ``total``: requests for all of it.
    """

    reruns: int = 3
    failures: int = 0
    warnings: int = 0
    reduce: int = 0
    total: int = 0

    def with_reruns(self, reruns: int | None) -> ConfirmBudget:
        """Return the allowance with another number of reruns: ``None`` leaves it, 0 takes all away.

        An allowance of nothing becomes that of the plan ``quick`` when there are to be reruns.
        """
        if reruns is None:
            return self
        if not reruns:
            return NO_CONFIRM
        return replace(self if self.total else CONFIRM_BUDGETS["quick"], reruns=reruns)


NO_CONFIRM: Final = ConfirmBudget(reruns=0)

CONFIRM_BUDGETS: Final[Mapping[str, ConfirmBudget]] = {
    "smoke": NO_CONFIRM,
    "official": NO_CONFIRM,
    "quick": ConfirmBudget(3, failures=40, warnings=10, reduce=24, total=160),
    "full": ConfirmBudget(3, failures=100, warnings=30, reduce=60, total=800),
}
"""What each plan may spend by default. ``smoke`` is over before anything is worth confirming, and ``official`` sends
nothing but the requests of the suite."""


class Sender(Protocol):
    """What sends cases: :class:`~rejoinder.conformance.running.engine.CheckRun`."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will be sent: interrupted, budget spent, endpoint gone."""
        ...

    async def send(self, case: PlannedCase, *tags: str) -> list[Exchange]:
        """Send a case and return the exchanges that count, recorded under these tags as not to be judged."""
        ...


Judging = Callable[[Sequence[Exchange], str], list[Verdict]]
"""Judges exchanges by the rules that a pattern selects."""


async def confirm(
    sender: Sender,
    target: Target,
    dialect: Dialect,
    cases: Mapping[str, PlannedCase],
    verdicts: Sequence[Verdict],
    exchanges: Sequence[Exchange],
    judging: Judging,
    confirm_budget: ConfirmBudget,
    *,
    on_progress: Callable[[int, str], None] = lambda spent, note: None,
) -> list[str]:
    """Send the cases of findings again and reduce those that show every time.

    ``cases`` are the plan's, by id; ``verdicts`` and ``exchanges`` what came of it. The findings get ``reruns`` and
    ``minimal``, and the evidence of the minimal request. ``on_progress`` gets the requests spent so far and a word.
    Returns sentences for the reader of the report.
    """
    chosen = worth_confirming(verdicts, confirm_budget)
    if not chosen or not confirm_budget.reruns or sender.ended:
        return []
    work = _Work(sender, target, dialect, cases, exchanges, judging, confirm_budget, on_progress)
    shared = await asyncio.to_thread(lambda: list(work.trials(chosen)))
    async with asyncio.TaskGroup() as group:
        for trial, findings in shared:
            group.create_task(work.rerun(trial, findings))
    async with asyncio.TaskGroup() as group:
        for _, findings in shared:
            group.create_task(work.reduce(findings))
    # Only now, since what was sent for one finding may be the smallest that shows another.
    async with asyncio.TaskGroup() as group:
        for _, findings in shared:
            group.create_task(work.settle(findings))
    return work.warnings(chosen)


def add_scripts(verdicts: Iterable[Verdict], cases: Mapping[str, PlannedCase], exchanges: Iterable[Exchange]) -> None:
    """Give the findings that were not minimised the recorded requests of their case, if one is not enough.

    Those are the requests that the one at fault takes values from, and all of the case where a rule compares replies.
    """
    by_id: dict[str, Exchange] = {}
    by_case: dict[str, list[Exchange]] = {}
    for exchange in exchanges:
        by_id[exchange.id] = exchange
        if Tag.UNJUDGED not in exchange.tags:
            by_case.setdefault(exchange.case, []).append(exchange)
    known: dict[str, tuple[Step, ...]] = {}
    for finding in (finding for verdict in verdicts for finding in verdict.findings if finding.minimal is None):
        evidence = by_id.get(finding.evidence.exchange)
        if evidence is None or evidence.case not in cases:
            continue
        if evidence.case not in known:
            sent = by_case.get(evidence.case, [])
            known[evidence.case] = steps_of([templated(cases[evidence.case], sent)], [sent])
        steps = known[evidence.case]
        if not _compares(finding.rule):
            steps = needed_steps(steps, evidence.id)
        one_is_enough = len(steps) == 1 and steps[0].plain
        if steps and not one_is_enough and sum(len(step.request.body) for step in steps) <= LARGEST_SCRIPT:
            finding.minimal = Minimal(evidence.request, evidence.id, len(steps), steps, reduced=False)


def _compares(rule: str) -> bool:
    """Return whether a rule has a check that looks at several exchanges."""
    subjects = {registered.subject for registered in checks_by_rule().get(rule, ())}
    return bool(subjects & {Subject.CASE, Subject.RUN})


def worth_confirming(verdicts: Iterable[Verdict], confirm_budget: ConfirmBudget) -> list[Finding]:
    """Return the findings that an allowance takes up: neither known nor taken up before; failures first."""
    found: list[Finding] = []
    for status, most in ((Status.FAIL, confirm_budget.failures), (Status.WARN, confirm_budget.warnings)):
        open_ = [
            finding
            for verdict in verdicts
            if verdict.status is status
            for finding in verdict.findings
            if finding.reruns is None and finding.known is None
        ]
        found += sorted(open_, key=lambda finding: -finding.count)[:most]
    return found


def looks_at_run(rule: str) -> bool:
    """Return whether a rule has a check that looks at a run as a whole."""
    return any(registered.subject is Subject.RUN for registered in checks_by_rule().get(rule, ()))


def was_answered(exchange: Exchange) -> bool:
    """Return whether a request got a reply other than that the endpoint is busy."""
    return exchange.status is not None and exchange.status not in BUSY


def was_asked(
    rule: str,
    evidence: Exchange | None,
    before: Sequence[Sequence[Exchange]],
    sent: Sequence[Sequence[Exchange]],
    judged: Callable[[Sequence[Exchange]], bool],
) -> bool:
    """Return whether cases that are sent again got to the question of a finding, so that not to show it says something.

    ``before`` are the exchanges of each case when it was recorded, ``evidence`` the one of them that showed the finding
    of ``rule``, ``sent`` those of now. What was answered with 2xx must be so again. The exchange that showed the
    finding may be refused instead, if the rule can be ``judged`` on it: that may be what the rule demands.
    """
    for old, new in zip(before, sent, strict=True):
        ok = {exchange.role: exchange.ok for exchange in old}
        shows = evidence.role if evidence is not None and any(e.id == evidence.id for e in old) else None
        if not new or (shows is not None and all(exchange.role != shows for exchange in new)):
            return False
        for exchange in new:
            refused = exchange.role == shows and exchange.status is not None and exchange.status < 500
            if not was_answered(exchange) or (ok.get(exchange.role, False) and not exchange.ok and not refused):
                return False
            if exchange.role == shows:
                break  # what follows may follow from it
    together = [exchange for exchanges in sent for exchange in exchanges]
    if evidence is not None and not _compares(rule):
        together = [exchange for exchange in together if exchange.role == evidence.role]
    return bool(together) and judged(together)


def companions(
    finding: Finding, exchanges: Sequence[Exchange], judging: Callable[[Sequence[Exchange], str], list[Verdict]]
) -> list[Exchange] | None:
    """Return the exchanges of other cases without which the exchanges of a finding's case do not show it.

    Empty for most findings: their case is enough. ``None`` where even all exchanges of the run do not show it.
    """
    if not looks_at_run(finding.rule):
        return []
    evidence = next((exchange for exchange in exchanges if exchange.id == finding.evidence.exchange), None)
    if evidence is None:
        return None
    counting = [exchange for exchange in exchanges if Tag.UNJUDGED not in exchange.tags]
    own = [exchange for exchange in counting if exchange.case == evidence.case]
    others = [exchange for exchange in counting if exchange.case != evidence.case]

    def shows(some: Sequence[Exchange]) -> bool:
        ids = {exchange.id for exchange in (*some, *own)}
        together = [exchange for exchange in counting if exchange.id in ids]
        return any(_shown(judging(together, finding.rule), finding))

    if shows([]):
        return []
    compared = {exchange.case for exchange in others if exchange.id in finding.evidence.others}
    if compared and shows(beside := [exchange for exchange in others if exchange.case in compared]):
        return beside
    if not shows(others):
        return None
    size = len(others) // 2
    while size:  # delta debugging of the recording, which costs no request
        start = 0
        while start < len(others):
            fewer = others[:start] + others[start + size :]
            if shows(fewer):
                others = fewer
            else:
                start += size
        size = min(size, len(others)) // 2
    return others


def _shown(verdicts: Iterable[Verdict], finding: Finding) -> Iterator[Problem]:
    for verdict in verdicts:
        for found in verdict.findings:
            if found.fingerprint == finding.fingerprint:
                yield found.evidence


@dataclass(frozen=True, slots=True)
class _Sent:
    """A trial, the cases as they were sent for it, and their exchanges, case by case."""

    trial: Trial
    cases: Trial
    exchanges: tuple[tuple[Exchange, ...], ...]

    @property
    def all(self) -> list[Exchange]:
        return [exchange for sent in self.exchanges for exchange in sent]


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A trial as it was sent, and the problem that showed in one of its exchanges."""

    sent: _Sent
    exchange: Exchange
    problem: Problem

    @property
    def trial(self) -> Trial:
        return self.sent.trial

    @property
    def place(self) -> tuple[int, int]:
        """The numbers of the case and of the request in it whose exchange shows the problem."""
        number = next((n for n, sent in enumerate(self.sent.exchanges) if self.exchange in sent), len(self.trial) - 1)
        names = [planned.role for planned in self.trial[number].requests]
        role = self.exchange.role
        # A repeated request has a number behind its role.
        at = names.index(role) if role in names else next((n for n, r in enumerate(names) if role.startswith(r)), 0)
        return number, at


class _SpentError(Exception):
    """Nothing more may be sent for this finding."""


class _Work:
    """The confirming of one run's findings."""

    def __init__(
        self,
        sender: Sender,
        target: Target,
        dialect: Dialect,
        cases: Mapping[str, PlannedCase],
        exchanges: Sequence[Exchange],
        judging: Judging,
        confirm_budget: ConfirmBudget,
        on_progress: Callable[[int, str], None],
    ) -> None:
        self.sender = sender
        self.target = target
        self.cases = cases
        self.recorded = exchanges
        self.judging = judging
        self.confirm_budget = confirm_budget
        self.screen = Screen(target, dialect)
        self.spent = 0
        self._on_progress = on_progress
        self._by_id = {exchange.id: exchange for exchange in exchanges}
        self._by_case: dict[str, list[Exchange]] = {}
        for exchange in exchanges:
            if Tag.UNJUDGED not in exchange.tags:
                self._by_case.setdefault(exchange.case, []).append(exchange)
        self._alone: dict[tuple[str, bytes], list[str]] = {}
        for case in cases.values():
            if len(case.requests) == 1 and is_create(case.requests[0]) and case.id in self._by_case:
                [only] = case.requests
                self._alone.setdefault((only.role, bytes_of(only.body)), []).append(case.id)
        self._first: dict[str, _Sighting] = {}
        self._best: dict[str, _Sighting] = {}
        self._context: dict[str, Exchange] = {}
        # By trial: the fingerprints that show at the endpoint, at it once more, and at a correct one.
        self._known: dict[str, frozenset[str]] = {}
        self._repeated: dict[str, frozenset[str]] = {}
        self._in_sandbox: dict[str, frozenset[str]] = {}
        self.findings: list[Finding] = []

    def warnings(self, chosen: Sequence[Finding]) -> list[str]:
        """Return what the reader should know of findings that were not confirmed."""
        left = sum(finding.reruns is None for finding in chosen)
        if not left:
            return []
        was = "was" if left == 1 else "were"
        return [f"{plural(left, 'finding')} {was} not confirmed: the budget was spent, or the rerun got no response."]

    def trials(self, findings: Sequence[Finding]) -> Iterator[tuple[Trial, list[Finding]]]:
        """Share the findings out among few and small trials: one that shows several is sent again for all of them."""
        self.findings = list(findings)
        alone: list[Finding] = []
        for finding in findings:
            others = companions(finding, self.recorded, self.judging)
            evidence = self._by_id.get(finding.evidence.exchange)
            case = None if evidence is None else self.cases.get(evidence.case)
            if not others:
                alone.append(finding)
                if others is None and evidence is not None:  # all that is left of the run
                    self._context[finding.fingerprint] = replace(evidence, case=f"{evidence.case} before")
            elif case is not None:
                before = list(dict.fromkeys(e.case for e in others if e.case in self.cases))
                yield (*(self.cases[name] for name in before), case), [finding]
        places: dict[int, list[str]] = {}
        for number, finding in enumerate(alone):
            evidence = self._by_id.get(finding.evidence.exchange)
            # Where a rule looks at the whole run, only the evidence tells the case.
            names = [evidence.case] if evidence is not None else []
            if not looks_at_run(finding.rule):
                names += finding.cases
            places[number] = [name for name in dict.fromkeys(names) if name in self.cases]
        while True:
            counts: dict[str, int] = {}
            for names in places.values():
                for name in names:
                    counts[name] = counts.get(name, 0) + 1
            if not counts:
                return
            best = max(counts, key=lambda name: (counts[name] / self._cost(name), -self._cost(name)))
            taken = [number for number, names in places.items() if best in names]
            yield (self.cases[best],), [alone[number] for number in taken]
            for number in taken:
                del places[number]

    def _cost(self, name: str) -> float:
        """Return what it costs to send a case for its findings: its requests, and the reducing of long and odd ones."""
        case = self.cases[name]
        number, _, size = size_of((case,))
        odd = any(tag in UNCERTAIN for planned in case.requests for tag in planned.tags)
        return number + size / 1000 + 2 * odd

    async def rerun(self, trial: Trial, findings: Sequence[Finding]) -> None:
        """Send a trial again for its findings, and note how often each shows."""
        counts = {finding.fingerprint: [0, 0, 0] for finding in findings}
        for _ in range(self.confirm_budget.reruns):
            if not self._may(trial):
                break
            sent = await self._send(trial, Tag.RERUN)
            if not sent.all:
                continue
            seen = self._look(sent, findings)
            for finding in findings:
                asked, failed, other = counts[finding.fingerprint]
                shows = finding.fingerprint in seen
                says = shows or self._was_asked(sent, finding)
                astray = not says and all(map(was_answered, sent.all))
                counts[finding.fingerprint] = [asked + says, failed + shows, other + astray]
        for finding in findings:
            asked, failed, other = counts[finding.fingerprint]
            finding.reruns = Reruns(asked, failed, other) if asked or other else None

    def _was_asked(self, sent: _Sent, finding: Finding) -> bool:
        """Return whether a trial that does not show a finding got to where the finding was made."""
        before = [self._by_case.get(case.id, []) for case in sent.trial]
        evidence = self._by_id.get(finding.evidence.exchange)
        if evidence is None or all(evidence.case != case.id for case in sent.trial):
            recorded = [exchange for exchanges in before for exchange in exchanges]
            shown = next(_shown(self.judging(recorded, finding.rule), finding), None)
            evidence = None if shown is None else self._by_id.get(shown.exchange)

        def judged(exchanges: Sequence[Exchange]) -> bool:
            verdicts = self.judging(self._judged_with(exchanges, finding), finding.rule)
            return any(verdict.judged for verdict in verdicts)

        return was_asked(finding.rule, evidence, before, sent.exchanges, judged)

    async def reduce(self, findings: Sequence[Finding]) -> None:
        """Reduce the findings of one trial that showed each time, one after the other: they share what is sent."""
        for finding in findings:
            if finding.reruns is not None and finding.reruns.deterministic:
                # Look for the smallest trial that shows a finding, starting from the smallest that did so far.
                with suppress(_SpentError):
                    await _Reducer(self, finding, self.confirm_budget.reduce).run()

    async def settle(self, findings: Sequence[Finding]) -> None:
        """Give the findings of one trial that showed each time the smallest trial that shows them twice."""
        for finding in findings:
            if finding.reruns is not None and finding.reruns.deterministic:
                await self._settle(finding)

    async def _settle(self, finding: Finding) -> None:
        mark = finding.fingerprint
        best = self._best[mark]
        if best is not self._first[mark] and not await self._holds(best.trial, finding):
            best = self._first[mark]  # what showed then was chance, or another request's doing
        proven = not self.screen.fault(best.trial) or not self._judges_answers(finding, best.trial)
        best = best if proven else self._first[mark]
        finding.minimal = self._minimal(best, mark, reduced=proven)
        finding.evidence = best.problem

    def _judges_answers(self, finding: Finding, trial: Trial) -> bool:
        """Return whether the rule of a finding applies to the answer to a valid request.

        Then the fault of a request has nothing to do with the rule, and only a valid request is a minimal one.
        """
        # The same bodies may have been held against the sandbox under other tags.
        exchanges = [
            replace(exchange, tags=(Tag.VALID,)) if ON_PURPOSE.intersection(exchange.tags) else exchange
            for sent in self.screen.exchanges(self._valid_twin(trial))
            for exchange in sent
        ]
        return any(verdict.judged for verdict in self.judging(exchanges, finding.rule))

    def _valid_twin(self, trial: Trial) -> Trial:
        """Return a trial with a plain request in the place of each that is wrong on purpose, or invalid."""
        soundness = self.screen.soundness(trial)
        cases = []
        for number, case in enumerate(trial):
            requests = list(case.requests)
            for at, planned in enumerate(requests):
                standing = soundness.get((number, planned.role))
                wrong = ON_PURPOSE.intersection(planned.tags) or (standing is not None and not standing.sound)
                if wrong and is_create(planned):
                    requests[at] = replace(
                        planned, body=plain_body(planned.body, self.target.model), tags=(Tag.VALID,), headers=()
                    )
            cases.append(replace(case, requests=tuple(requests)))
        return tuple(cases)

    def _minimal(self, sighting: _Sighting, mark: str, *, reduced: bool) -> Minimal:
        sent = sighting.sent
        cases = tuple(templated(case, got) for case, got in zip(sent.cases, sent.exchanges, strict=True))
        steps = steps_of(cases, sent.exchanges)
        # Nothing is shown for which a correct endpoint could be blamed: values that no template names, for instance.
        silent = (len(steps) == 1 and steps[0].plain) or mark in self._shown_by_sandbox(cases)
        return Minimal(
            sighting.exchange.request,
            sighting.exchange.id,
            len(steps),
            () if silent else steps,
            self.screen.fault(sighting.trial),
            reduced,
        )

    async def _holds(self, trial: Trial, finding: Finding) -> bool:
        """Send a smaller trial once more, if that may be; say whether it still shows the finding."""
        key = key_of(trial)
        if key not in self._known or not self._may(trial):
            return True
        if key not in self._repeated:
            sent = await self._send(trial, Tag.REDUCED)
            self._repeated[key] = frozenset(self._look(sent, self._together(finding)))
        return finding.fingerprint in self._repeated[key]

    def best(self, finding: Finding) -> _Sighting:
        """Return the smallest trial in which a finding showed."""
        return self._best[finding.fingerprint]

    def smaller_recorded(self, finding: Finding) -> Trial | None:
        """Return the smallest recorded case that showed a finding, if it is smaller than what showed it since."""
        names = [name for name in finding.cases if name in self.cases]
        if not names or looks_at_run(finding.rule):
            return None
        least = min(names, key=self._cost)
        here = self.best(finding).trial
        return (self.cases[least],) if len(here) > 1 or self._cost(least) < self._cost(here[0].id) else None

    def _may(self, trial: Trial) -> bool:
        return not self.sender.ended and self.spent + size_of(trial)[0] <= self.confirm_budget.total

    async def _send(self, trial: Trial, tag: Tag) -> _Sent:
        self.spent += size_of(trial)[0]
        self._on_progress(self.spent, "sending again" if tag is Tag.RERUN else "reducing")
        cases = tuple(fresh(case) for case in trial)
        return _Sent(trial, cases, tuple([tuple(await self.sender.send(case, tag)) for case in cases]))

    async def shows(self, trial: Trial, finding: Finding, search: _Reducer) -> bool:
        """Send a smaller trial, unless it is known or proves nothing; say whether it shows the finding.

        What is sent counts for the ``search``; raises :class:`_SpentError` where that may send no more.
        """
        key = key_of(trial)
        if finding.fingerprint in self._shown_by_sandbox(trial):
            return False
        if key not in self._known:
            if self._recorded_without(trial, finding):
                return False
            if not self._may(trial) or size_of(trial)[0] > search.left:
                raise _SpentError
            search.left -= size_of(trial)[0]
            sent = await self._send(trial, Tag.REDUCED)
            self._known[key] = frozenset(self._look(sent, self._together(finding)))
        return finding.fingerprint in self._known[key]

    def _recorded_without(self, trial: Trial, finding: Finding) -> bool:
        """Return whether the run has sent the same one request, and it did not show the finding."""
        if len(trial) > 1 or len(trial[0].requests) > 1 or len(finding.cases) >= MAX_CASES:
            return False
        [only] = trial[0].requests
        same = self._alone.get((only.role, bytes_of(only.body)), ()) if is_create(only) else ()
        return any(name not in finding.cases and all(map(was_answered, self._by_case[name])) for name in same)

    def _together(self, finding: Finding) -> list[Finding]:
        """Return the findings that a trial for one of them is looked at for: all that a case alone can show."""
        if finding.fingerprint in self._context:
            return [finding]
        return [other for other in self.findings if other.fingerprint not in self._context]

    def _look(self, sent: _Sent, findings: Sequence[Finding]) -> set[str]:
        """Return the fingerprints that show, and remember the smallest trial that proves each."""
        seen: set[str] = set()
        for finding, problem in self._problems(sent.all, findings):
            mark = finding.fingerprint
            seen.add(mark)
            exchange = next((exchange for exchange in sent.all if exchange.id == problem.exchange), sent.all[-1])
            sighting = _Sighting(sent, exchange, structs.replace(problem, exchange=exchange.id))
            self._first.setdefault(mark, sighting)
            best = self._best.get(mark)
            if best is None or (
                self._rank(sighting) < self._rank(best) and mark not in self._shown_by_sandbox(sent.trial)
            ):
                self._best[mark] = sighting
        return seen

    def _rank(self, sighting: _Sighting) -> tuple[bool, tuple[int, int, int]]:
        """Return what makes one trial a better proof than another: no fault of its own, then few and short requests."""
        return bool(self.screen.fault(sighting.trial)), size_of(sighting.trial)

    def _problems(self, sent: Sequence[Exchange], findings: Sequence[Finding]) -> Iterator[tuple[Finding, Problem]]:
        """Yield the findings that show in exchanges, each with the problem that shows it."""
        if not sent:
            return
        groups = [[f for f in findings if f.fingerprint not in self._context]]
        groups += [[f] for f in findings if f.fingerprint in self._context]
        for group in filter(None, groups):
            select = ",".join(sorted({finding.rule for finding in group}))
            verdicts = self.judging(self._judged_with(sent, group[0]), select)
            found = {f.fingerprint: f for verdict in verdicts for f in verdict.findings}
            yield from ((f, found[f.fingerprint].evidence) for f in group if f.fingerprint in found)

    def _judged_with(self, sent: Sequence[Exchange], finding: Finding) -> list[Exchange]:
        """Return what is judged: where only a part of the run is left, the exchange that was found stands for it."""
        context = self._context.get(finding.fingerprint)
        return [*sent] if context is None else [context, *sent]

    def _shown_by_sandbox(self, trial: Trial) -> frozenset[str]:
        """Return the fingerprints that even a correct endpoint shows for a trial."""
        key = key_of(trial)
        if key not in self._in_sandbox:
            exchanges = [exchange for sent in self.screen.exchanges(trial) for exchange in sent]
            found = self._problems(exchanges, self.findings)
            self._in_sandbox[key] = frozenset(finding.fingerprint for finding, _ in found)
        return self._in_sandbox[key]


class _Reducer:
    """The search for a smaller trial of one finding, within a number of requests."""

    def __init__(self, work: _Work, finding: Finding, budget: int) -> None:
        self.work = work
        self.finding = finding
        self.left = budget
        self.soundness: dict[tuple[int, str], Soundness] = {}

    async def run(self) -> None:
        """Start from the smallest recorded case, leave out requests, then parts of their bodies."""
        smaller = self.work.smaller_recorded(self.finding)
        if smaller is not None:
            self._start(smaller)
            await self._shows(smaller)
        self._start(self.work.best(self.finding).trial)
        await self._leave_out_requests()
        if any(case.recalls for case in self.work.best(self.finding).trial):
            return  # a model that no request asks for a word is right to leave it out
        await self._make_data()
        await self._mend()
        await self._shrink_bodies()

    def _start(self, trial: Trial) -> None:
        self.soundness = self.work.screen.soundness(trial)

    async def _shows(self, trial: Trial) -> bool:
        if not self.work.screen.allows(trial, self.soundness):
            return False
        trial = self.work.screen.settled(trial, self.soundness)
        return await self.work.shows(trial, self.finding, self)

    async def _leave_out_requests(self) -> None:
        """Leave out requests: all but the one at fault, what comes after it, then one by one."""
        best = self.work.best(self.finding)
        trial, fault = best.trial, best.place
        every = [(n, m) for n, case in enumerate(trial) for m in range(len(case.requests))]
        kept = every
        for fewer in ([fault], [place for place in every if place <= fault]):
            if len(fewer) < len(kept) and await self._shows_only(trial, fewer):
                kept = fewer
                break
        for place in reversed(kept):
            fewer = [other for other in kept if other != place]
            if place != fault and await self._shows_only(trial, fewer):
                kept = fewer

    async def _shows_only(self, trial: Trial, places: Sequence[tuple[int, int]]) -> bool:
        smaller, soundness = _only(trial, places)
        before = self.soundness
        self.soundness = {(number, role): before[old, role] for number, old, role in soundness if (old, role) in before}
        if await self._shows(smaller):
            return True
        self.soundness = before
        return False

    async def _make_data(self) -> None:
        """Put templates in the place of functions, which no reduction could look into."""
        best = self.work.best(self.finding)
        sent = best.sent
        trial = tuple(templated(case, got) for case, got in zip(sent.cases, sent.exchanges, strict=True))
        if any(callable(p.body) and not isinstance(p.body, BodyTemplate) for case in best.trial for p in case.requests):
            self._start(trial)
            await self._shows(trial)
            self._start(self.work.best(self.finding).trial)

    async def _mend(self) -> None:
        """Take out what is wrong with a body, all at once: most findings have nothing to do with it."""
        trial = self.work.best(self.finding).trial
        bodies: dict[tuple[int, int], Any] = {}
        plain: dict[tuple[int, int], Any] = {}
        for number, case in enumerate(trial):
            for at, planned in enumerate(case.requests):
                body = object_of(planned.body, LARGEST)
                if is_create(planned) and self.work.screen.faults(bytes_of(planned.body)):
                    plain[number, at] = plain_body(planned.body, self.work.target.model)
                    mended = None if body is None else self._mended(body)
                    bodies[number, at] = plain[number, at] if mended is None else mended
        for changed in (bodies, plain):
            if changed and await self._shows(_with_bodies(trial, changed)):
                self._start(self.work.best(self.finding).trial)
                break

    def _mended(self, body: dict[str, Any]) -> dict[str, Any] | None:
        """Return a body without the parts that the schema does not allow; ``None`` where that leaves no valid one."""
        for _ in range(20):
            errors = self.work.screen.validator.errors(body)
            if not errors:
                # Without input there is little to answer, and some endpoints refuse that.
                return {**body, "input": SENTENCE} if body.get("input") == [] else body
            before = body
            for error in errors:
                path = error.pointer.split("/")[1:]
                if path == ["model"] and self.work.target.model is not None:
                    body = {**body, "model": self.work.target.model}
                elif path == ["input"] or (not path and "input" not in body):
                    body = {**body, "input": SENTENCE}
                elif path:
                    # What lacks a part goes as a whole.
                    body = _without(body, path if error.keyword != "required" or len(path) == 1 else path[:-1])
            if body == before:
                return None
        return None

    async def _shrink_bodies(self) -> None:
        """Reduce the bodies of all requests together: what they have in common goes from all of them at once."""
        trial = self.work.best(self.finding).trial
        bodies: dict[tuple[int, int], dict[str, Any]] = {}
        for number, case in enumerate(trial):
            for at, planned in enumerate(case.requests):
                body = object_of(planned.body, LARGEST) if planned.method == "POST" else None
                size = len(bytes_of(planned.body))
                if body is not None and size <= LARGEST:
                    bodies[number, at] = body
                elif isinstance(planned.body, bytes) and size <= LARGEST:
                    await self._shrink_bytes(trial, (number, at))
                    trial = self.work.best(self.finding).trial
        if not bodies:
            return
        raw = {place: body for place, body in bodies.items() if isinstance(_planned(trial, place).body, bytes)}
        if raw:
            if not await self._shows(_with_bodies(trial, raw)):
                for place in raw:  # it is the bytes that matter
                    await self._shrink_bytes(trial, place)
                    del bodies[place]
            trial = self.work.best(self.finding).trial
            if not bodies:
                return
        many = len(bodies) > 1
        settled = [
            name
            for name, value in SETTLED
            if any(name in body and value in (None, body[name]) for body in bodies.values())
        ]
        kept = (*PINNED, "stream", *settled) if many else PINNED
        document, origins = _merged(bodies, kept)

        def with_document(smaller: Mapping[str, Any]) -> Trial:
            made = {place: {n: v for n, v in body.items() if n in kept} for place, body in bodies.items()}
            for name, value in smaller.items():
                field, places = origins[name]
                for place in places:
                    made[place][field] = value
            ordered = {p: {n: made[p][n] for n in body if n in made[p]} for p, body in bodies.items()}
            return _with_bodies(trial, ordered)

        def valid(smaller: Any) -> bool:
            return isinstance(smaller, dict) and self.work.screen.allows(with_document(smaller), self.soundness)

        await self._minimise(minimise, document, with_document, valid)

    async def _shrink_bytes(self, trial: Trial, place: tuple[int, int]) -> None:
        """Reduce a body that is no JSON object."""
        data = _planned(trial, place).body
        whole = object_of(data, LARGEST)
        # Cutting through names and numbers makes nothing of a short object that a reader would want.
        if isinstance(data, bytes) and data and (whole is None or len(data) > SHORT_OBJECT):

            def with_data(smaller: bytes) -> Trial:
                return _with_bodies(trial, {place: smaller})

            def valid(smaller: bytes) -> bool:
                cut = object_of(smaller, LARGEST)
                if whole is not None and (cut is None or any(cut.get(n) != whole.get(n) for n in PINNED)):
                    return False
                if whole is not None and not empty_lists(cut) <= empty_lists(whole):
                    return False
                return self.work.screen.allows(with_data(smaller), self.soundness)

            await self._minimise(minimise_bytes, data, with_data, valid)

    async def _minimise(
        self, reducer: Callable[..., Any], body: Any, made: Callable[[Any], Trial], valid: Callable[[Any], bool]
    ) -> None:
        loop = asyncio.get_running_loop()

        def fails(smaller: Any) -> bool:
            return asyncio.run_coroutine_threadsafe(self._shows(made(smaller)), loop).result()

        # Candidates that are known or prove nothing cost no request, so that the budget is kept by who sends.
        await asyncio.to_thread(reducer, body, fails, budget=1000, valid=valid)


def plain_body(body: Any, model: str | None) -> dict[str, Any]:
    """Return the plainest valid body, with the fields of another one that no reduction touches and how it streams."""
    found = object_of(body, LARGEST) or {}
    kept = {name: found[name] for name in PINNED if type(found.get(name)) is (str if name == "model" else int)}
    named = {} if model is None else {"model": model}
    streamed = {"stream": True} if found.get("stream") is True else {}
    return {**kept, **named, "input": SENTENCE, **streamed}


def _planned(trial: Trial, place: tuple[int, int]) -> RequestSpec:
    return trial[place[0]].requests[place[1]]


def _only(trial: Trial, places: Sequence[tuple[int, int]]) -> tuple[Trial, list[tuple[int, int, str]]]:
    """Return a trial with some of its requests only, and the new and the old case number of each role.

    Requests that are made of replies that are left out are left out too.
    """
    cases: list[PlannedCase] = []
    origins: list[tuple[int, int, str]] = []
    for old, case in enumerate(trial):
        kept = tuple(_forgiving(case.requests[at]) for number, at in places if number == old)
        if kept:
            origins += [(len(cases), old, planned.role) for planned in kept]
            cases.append(replace(case, requests=kept))
    return tuple(cases), origins


def _forgiving(planned: RequestSpec) -> RequestSpec:
    """Return a request for which there is nothing to ask when a reply is missing that it is made of."""

    def guarded(make: Any, nothing: Any) -> Any:
        if not callable(make) or isinstance(make, (BodyTemplate, PathTemplate, QueryTemplate)):
            return make

        def made(replies: Replies) -> Any:
            try:
                return make(replies)
            except (LookupError, TypeError, AttributeError):
                return nothing

        return made

    return replace(
        planned, body=guarded(planned.body, None), path=guarded(planned.path, None), query=guarded(planned.query, "")
    )


def _merged(
    bodies: Mapping[tuple[int, int], Mapping[str, Any]], kept: Sequence[str]
) -> tuple[dict[str, Any], dict[str, tuple[str, list[tuple[int, int]]]]]:
    """Return the fields of several bodies as one document, and for each the field and the bodies that have it.

    A field that is the same in several bodies is in the document once.
    """
    document: dict[str, Any] = {}
    origins: dict[str, tuple[str, list[tuple[int, int]]]] = {}
    for place, body in bodies.items():
        for field, value in body.items():
            if field in kept:
                continue
            same = next((n for n, (f, _) in origins.items() if f == field and document[n] == value), None)
            if same is None:
                taken = sum(f == field for f, _ in origins.values())
                same = f"{field} {taken + 1}" if taken else field
                document[same], origins[same] = value, (field, [])
            origins[same][1].append(place)
    return document, origins


def _with_bodies(trial: Trial, bodies: Mapping[tuple[int, int], Any]) -> Trial:
    """Return a trial with other bodies in some places."""
    cases = []
    for number, case in enumerate(trial):
        requests = list(case.requests)
        for at, planned in enumerate(requests):
            if (number, at) in bodies:
                body = bodies[number, at]
                template = isinstance(body, dict) and any(True for _ in references(body))
                # Whether no endpoint may refuse it is known of the whole body only.
                tags = planned.tags if body == planned.body else tuple(t for t in planned.tags if t != Tag.BASIC)
                requests[at] = replace(planned, body=BodyTemplate(body) if template else body, tags=tags)
        cases.append(replace(case, requests=tuple(requests)))
    return tuple(cases)


def _without(body: Any, path: Sequence[str]) -> Any:
    """Return a JSON value without the place at a path; where nothing is, it stays as it is."""
    name, rest = path[0].replace("~1", "/").replace("~0", "~"), path[1:]
    if isinstance(body, dict) and name in body:
        if not rest:
            return {key: value for key, value in body.items() if key != name}
        return {**body, name: _without(body[name], rest)}
    if isinstance(body, list) and name.isdigit() and int(name) < len(body):
        changed = [] if not rest else [_without(body[int(name)], rest)]
        return body[: int(name)] + changed + body[int(name) + 1 :]
    return body
