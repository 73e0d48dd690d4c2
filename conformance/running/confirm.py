"""Confirming: what failed is sent again, and made small where it fails every time.

A finding that shows whenever its case is sent again is deterministic and worth reducing: requests of its case are left
out, then parts of the body, for as long as the same finding (by fingerprint) still shows. One that shows at times is
reported with its rate. Nothing that is sent here is judged for the verdicts a second time.

A smaller case proves something only if a correct endpoint passes it: a prompt without the request for a word cannot
blame an endpoint that does not say it. So every smaller case is first sent to the embedded sandbox, which is free, and
is dropped where the finding shows there too.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol
from uuid import uuid4

from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judging.registry import Subject
from rejoinder.conformance.running.case import PlannedCase, Replies, RequestSpec
from rejoinder.conformance.running.in_process import dry_run
from rejoinder.contract import Dialect, SchemaVariant
from rejoinder.errors import RejoinderError
from rejoinder.formatting import plural
from rejoinder.model.exchange import Exchange, parse_json
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Finding, Minimal, Problem, Reruns, Status, Verdict
from rejoinder.strategies import minimise
from rejoinder.validation import Validator
from rejoinder.wire.client import encode_json
from rejoinder.wire.target import Target

PINNED: Final = ("model", "max_output_tokens", "request_id")
"""Fields that no reduction touches: which model answers, how much it may cost, and what names one request."""

LARGEST: Final = 64 * 1024
"""Bytes of a body beyond which it is not reduced."""

_BUSY: Final = (429, 503)


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
    "quick": ConfirmBudget(3, failures=40, warnings=10, reduce=12, total=80),
    "full": ConfirmBudget(3, failures=100, warnings=30, reduce=40, total=800),
}
"""What each plan may spend by default; ``smoke`` is over before anything is worth confirming."""


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
    work = _Work(sender, target, dialect, judging, confirm_budget, on_progress)
    by_id = {exchange.id: exchange for exchange in exchanges}
    shared = list(_by_case(chosen, cases, by_id))
    async with asyncio.TaskGroup() as group:
        for case, findings in shared:
            group.create_task(work.rerun(case, findings, by_id))
    async with asyncio.TaskGroup() as group:
        for _, findings in shared:
            group.create_task(work.reduce(findings))
    return work.warnings(chosen)


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


def _by_case(
    findings: Sequence[Finding], cases: Mapping[str, PlannedCase], exchanges: Mapping[str, Exchange]
) -> Iterator[tuple[PlannedCase, list[Finding]]]:
    """Share the findings out among few and short cases: one that shows several is sent again for all of them."""
    places: dict[int, list[str]] = {}
    for number, finding in enumerate(findings):
        evidence = exchanges.get(finding.evidence.exchange)
        # Where a rule looks at the whole run, only the evidence tells the case.
        names = [evidence.case] if evidence is not None else []
        if not looks_at_run(finding.rule):
            names += finding.cases
        places[number] = [name for name in dict.fromkeys(names) if name in cases]
    while True:
        counts: dict[str, int] = {}
        for names in places.values():
            for name in names:
                counts[name] = counts.get(name, 0) + 1
        if not counts:
            return
        best = max(counts, key=lambda name: (counts[name] / len(cases[name].requests), -len(cases[name].requests)))
        taken = [number for number, names in places.items() if best in names]
        yield cases[best], [findings[number] for number in taken]
        for number in taken:
            del places[number]


def looks_at_run(rule: str) -> bool:
    """Return whether a rule has a check that looks at a run as a whole."""
    return any(registered.subject is Subject.RUN for registered in checks_by_rule().get(rule, ()))


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A case as it was sent, and the problem that showed in one of its exchanges."""

    case: PlannedCase
    exchange: Exchange
    problem: Problem

    @property
    def size(self) -> tuple[int, int]:
        return len(self.case.requests), sum(len(_bytes(planned.body)) for planned in self.case.requests)


class _SpentError(Exception):
    """Nothing more may be sent for this finding."""


class _Work:
    """The confirming of one run's findings."""

    def __init__(
        self,
        sender: Sender,
        target: Target,
        dialect: Dialect,
        judging: Judging,
        confirm_budget: ConfirmBudget,
        on_progress: Callable[[int, str], None],
    ) -> None:
        self.sender = sender
        self.target = target
        self.dialect = dialect
        self.judging = judging
        self.confirm_budget = confirm_budget
        self.classes = _Classes(dialect)
        self.spent = 0
        self._on_progress = on_progress
        self._sightings: dict[str, _Sighting] = {}
        self._context: dict[str, Exchange] = {}
        # By case as it is sent: the fingerprints that show at the endpoint, at it once more, and at a correct one.
        self._known: dict[str, frozenset[str]] = {}
        self._repeated: dict[str, frozenset[str]] = {}
        self._in_sandbox: dict[str, frozenset[str]] = {}

    def warnings(self, chosen: Sequence[Finding]) -> list[str]:
        """Return what the reader should know of findings that were not confirmed."""
        left = sum(finding.reruns is None for finding in chosen)
        if not left:
            return []
        was = "was" if left == 1 else "were"
        return [f"{plural(left, 'finding')} {was} not confirmed: the budget was spent, or the rerun got no response."]

    async def rerun(self, case: PlannedCase, findings: Sequence[Finding], exchanges: Mapping[str, Exchange]) -> None:
        """Send a case again for its findings, and note how often each shows."""
        for finding in findings:
            evidence = exchanges.get(finding.evidence.exchange)
            if evidence is not None and looks_at_run(finding.rule):
                self._context[finding.fingerprint] = replace(evidence, case=f"{evidence.case} before")
        counts = {finding.fingerprint: [0, 0] for finding in findings}
        for _ in range(self.confirm_budget.reruns):
            if not self._may(case):
                break
            sent = await self._send(case, Tag.RERUN)
            seen = self._look(case, sent, findings)
            for mark, count in counts.items():
                if mark in seen or (sent and all(was_answered(exchange) for exchange in sent)):
                    count[0] += 1
                    count[1] += mark in seen
        for finding in findings:
            times, failed = counts[finding.fingerprint]
            finding.reruns = Reruns(times, failed) if times else None

    async def reduce(self, findings: Sequence[Finding]) -> None:
        """Reduce the findings of one case that showed each time, one after the other, since they share what is sent."""
        for finding in findings:
            if finding.reruns is not None and finding.reruns.deterministic:
                await self._reduce(finding, findings)

    async def _reduce(self, finding: Finding, findings: Sequence[Finding]) -> None:
        """Look for the smallest case that shows a finding, starting from the smallest that did so far."""
        left = min(self.confirm_budget.reduce, self.confirm_budget.total - self.spent)
        search = _Reducer(self, finding, findings, left)
        try:
            await search.shrink_case()
            await search.shrink_body()
        except _SpentError:
            pass
        best = self._sightings[finding.fingerprint]
        if not await self._holds(best.case, finding, findings):
            return  # what showed then was chance, or another request's doing
        finding.minimal = Minimal(best.exchange.request, best.exchange.id, len(best.case.requests))
        finding.evidence = best.problem

    async def _holds(self, case: PlannedCase, finding: Finding, findings: Sequence[Finding]) -> bool:
        """Send a smaller case once more, if that may be; say whether it still shows the finding."""
        key = _key(case)
        if key not in self._known or not self._may(case):
            return True
        if key not in self._repeated:
            self._repeated[key] = frozenset(self._look(case, await self._send(case, Tag.REDUCED), findings))
        return finding.fingerprint in self._repeated[key]

    def best(self, finding: Finding) -> _Sighting:
        """Return the smallest case in which a finding showed."""
        return self._sightings[finding.fingerprint]

    def _may(self, case: PlannedCase) -> bool:
        return not self.sender.ended and self.spent + len(case.requests) <= self.confirm_budget.total

    async def _send(self, case: PlannedCase, tag: Tag) -> list[Exchange]:
        self.spent += len(case.requests)
        self._on_progress(self.spent, "sending again" if tag is Tag.RERUN else "reducing")
        return await self.sender.send(fresh(case), tag)

    async def shows(self, case: PlannedCase, finding: Finding, findings: Sequence[Finding]) -> bool:
        """Send a smaller case, unless it is known or proves nothing; say whether it shows the finding."""
        mark = finding.fingerprint
        key = _key(case)
        if mark in self._shown_by_sandbox(case, findings):
            return False
        if key not in self._known:
            if not self._may(case):
                raise _SpentError
            self._known[key] = frozenset(self._look(case, await self._send(case, Tag.REDUCED), findings))
        return mark in self._known[key]

    def _look(self, case: PlannedCase, sent: Sequence[Exchange], findings: Sequence[Finding]) -> set[str]:
        """Return the fingerprints that show, and remember the smallest case that proves each."""
        seen: set[str] = set()
        for finding, problem in self._judged(sent, findings):
            mark = finding.fingerprint
            seen.add(mark)
            exchange = next((exchange for exchange in sent if exchange.id == problem.exchange), sent[-1])
            sighting = _Sighting(case, exchange, replace(problem, exchange=exchange.id))
            best = self._sightings.get(mark)
            if best is None or (sighting.size < best.size and mark not in self._shown_by_sandbox(case, findings)):
                self._sightings[mark] = sighting
        return seen

    def _judged(self, sent: Sequence[Exchange], findings: Sequence[Finding]) -> Iterator[tuple[Finding, Problem]]:
        """Yield the findings that show in exchanges, each with the problem that shows it."""
        if not sent:
            return
        # Where a rule looks at the whole run, the exchange that was found is the rest of the run.
        groups = [(tuple(f for f in findings if f.fingerprint not in self._context), list(sent))]
        groups += [((f,), [self._context[f.fingerprint], *sent]) for f in findings if f.fingerprint in self._context]
        for group, exchanges in groups:
            if group:
                select = ",".join(sorted({finding.rule for finding in group}))
                found = {f.fingerprint: f for verdict in self.judging(exchanges, select) for f in verdict.findings}
                yield from ((f, found[f.fingerprint].evidence) for f in group if f.fingerprint in found)

    def _shown_by_sandbox(self, case: PlannedCase, findings: Sequence[Finding]) -> frozenset[str]:
        """Return the fingerprints that even a correct endpoint shows for a case."""
        key = _key(case)
        if key not in self._in_sandbox:
            try:
                exchanges = dry_run(case, self.dialect.name, self.target.model)
            except RejoinderError:  # a dialect of one's own that the sandbox cannot speak
                exchanges = []
            self._in_sandbox[key] = frozenset(finding.fingerprint for finding, _ in self._judged(exchanges, findings))
        return self._in_sandbox[key]


class _Reducer:
    """The search for a smaller case of one finding, within a number of requests."""

    def __init__(self, work: _Work, finding: Finding, findings: Sequence[Finding], budget: int) -> None:
        self.work = work
        self.finding = finding
        self.findings = findings
        self.limit = work.spent + budget

    async def _shows(self, case: PlannedCase) -> bool:
        if self.work.spent + len(case.requests) > self.limit:
            raise _SpentError
        return await self.work.shows(case, self.finding, self.findings)

    async def shrink_case(self) -> None:
        """Leave out requests: all but the one at fault, what comes after it, then one by one."""
        case, place = self._at_fault()
        if len(case.requests) == 1:
            return
        for kept in ([place], list(range(place + 1))):
            smaller = _only(case, kept)
            if len(smaller.requests) < len(case.requests) and await self._shows(smaller):
                case, place = smaller, kept.index(place)
                break
        for number in reversed(range(len(case.requests))):
            if number == place or len(case.requests) == 1:
                continue
            smaller = _only(case, [n for n in range(len(case.requests)) if n != number])
            if await self._shows(smaller):
                case, place = smaller, place - (number < place)

    def _at_fault(self) -> tuple[PlannedCase, int]:
        """Return the smallest case so far and the place of the request whose exchange is the evidence."""
        best = self.work.best(self.finding)
        names = [planned.role for planned in best.case.requests]
        role = best.exchange.role
        # A repeated request has a number behind its role.
        place = names.index(role) if role in names else next((n for n, r in enumerate(names) if role.startswith(r)), 0)
        return best.case, place

    async def shrink_body(self) -> None:
        """Reduce the body of the request at fault, and with it those that ask the same."""
        case, place = self._at_fault()
        places = _same_question(case, place)
        if not places:
            return
        body = _object(case.requests[places[0]].body)
        if body is None or len(_bytes(case.requests[places[0]].body)) > LARGEST:
            return
        pinned: dict[str, Any] = {name: body[name] for name in PINNED if name in body}
        if len(places) > 1 and "stream" in body:
            pinned["stream"] = body["stream"]
        rest = {name: value for name, value in body.items() if name not in pinned}
        sort = self.work.classes.of(body)
        loop = asyncio.get_running_loop()

        def prepared(smaller: Mapping[str, Any]) -> PlannedCase:
            # What is no longer wrong in any way is judged as what it is.
            mended = sort != "sound" and self.work.classes.of({**pinned, **smaller}) == "sound"
            return _with_body(case, places, smaller, (Tag.VALID,) if mended else None)

        def fails(smaller: Any) -> bool:
            return asyncio.run_coroutine_threadsafe(self._shows(prepared(smaller)), loop).result()

        def valid(smaller: Any) -> bool:
            return isinstance(smaller, dict) and self.work.classes.of({**pinned, **smaller}) in (sort, "sound")

        if isinstance(case.requests[places[0]].body, bytes) and not await self._shows(prepared(rest)):
            return  # it is the bytes that matter
        left = max(0, self.limit - self.work.spent) // len(case.requests)
        await asyncio.to_thread(minimise, rest, fails, budget=left, valid=valid)


def _only(case: PlannedCase, places: Sequence[int]) -> PlannedCase:
    """Return a case with some of its requests only; requests made of replies that are left out are left out too."""
    return replace(case, requests=tuple(_forgiving(case.requests[place]) for place in places))


def _forgiving(planned: RequestSpec) -> RequestSpec:
    """Return a request for which there is nothing to ask when a reply is missing that it is made of."""

    def guarded(make: Any, nothing: Any) -> Any:
        if not callable(make):
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


def _same_question(case: PlannedCase, place: int) -> list[int]:
    """Return the places of the requests that are reduced together, the one at fault first.

    Those are the one at fault and the ones that ask the same, plain or streamed. Where its body is made of replies, or
    it has none, the first request with a fixed body is reduced: what follows is made of its reply.
    """
    bodies = [_object(planned.body) if planned.method == "POST" else None for planned in case.requests]
    if bodies[place] is None:
        place = next((number for number, body in enumerate(bodies) if body is not None), -1)
    if place < 0:
        return []

    def question(body: Any) -> Any:
        return None if body is None else {k: v for k, v in body.items() if k not in ("stream", "request_id")}

    wanted = question(bodies[place])
    return [place, *(n for n, body in enumerate(bodies) if n != place and question(body) == wanted)]


def _with_body(
    case: PlannedCase, places: Sequence[int], rest: Mapping[str, Any], sort: tuple[str, ...] | None = None
) -> PlannedCase:
    """Return the case with another body in some places; each keeps what is pinned, and how it is answered.

    ``sort`` are other tags for these requests, when the new body is of another sort.
    """
    requests = list(case.requests)
    kept = (*PINNED, "stream") if len(places) > 1 else PINNED
    for place in places:
        old = _object(requests[place].body) or {}
        body = {**{name: old[name] for name in kept if name in old}, **rest}
        # Whether no endpoint may refuse it is known of the whole body only.
        tags = sort or tuple(tag for tag in requests[place].tags if tag != Tag.BASIC)
        requests[place] = replace(requests[place], body=body, tags=tags)
    return replace(case, requests=tuple(requests))


def fresh(case: PlannedCase) -> PlannedCase:
    """Return a case that can be sent again: every name that a request gives itself is replaced by a new one."""
    bodies = [planned.body for planned in case.requests if isinstance(planned.body, dict)]
    names = {body["request_id"] for body in bodies if isinstance(body.get("request_id"), str)}
    if not names:
        return case
    new = {name: f"{name[:200]}-{uuid4().hex[:12]}" for name in names}

    def renamed(body: Any) -> Any:
        if isinstance(body, dict) and body.get("request_id") in new:
            return {**body, "request_id": new[body["request_id"]]}
        return body

    def later(body: Any) -> Any:
        return (lambda replies: renamed(body(replies))) if callable(body) else renamed(body)

    def below(path: Any) -> Any:
        return path if callable(path) else tuple(new.get(part, part) for part in path)

    requests = (replace(planned, body=later(planned.body), path=below(planned.path)) for planned in case.requests)
    return replace(case, requests=tuple(requests))


class _Classes:
    """Classifies bodies by the contract: sound, disputed, or surely invalid."""

    def __init__(self, dialect: Dialect) -> None:
        self._sound = Validator(dialect.request_schema(SchemaVariant.GENERATION))
        self._possible = Validator(dialect.request_schema(SchemaVariant.PERMISSIVE))

    def of(self, body: Any) -> str:
        """Return the class of a body."""
        if self._sound.is_valid(body):
            return "sound"
        return "disputed" if self._possible.is_valid(body) else "invalid"


def was_answered(exchange: Exchange) -> bool:
    """Return whether a request got a reply other than that the endpoint is busy."""
    return exchange.status is not None and exchange.status not in _BUSY


def _object(body: Any) -> dict[str, Any] | None:
    if isinstance(body, bytes):
        body = parse_json(body) if len(body) <= LARGEST else None
    return body if isinstance(body, dict) else None


def _bytes(body: Any) -> bytes:
    return b"" if body is None or callable(body) else body if isinstance(body, bytes) else encode_json(body)


def _key(case: PlannedCase) -> str:
    """Return what distinguishes two variants of the cases of one run."""
    parts = [[p.role, p.method, None if callable(p.body) else _bytes(p.body).hex()] for p in case.requests]
    return json.dumps([case.id, parts])
