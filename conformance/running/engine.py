"""The engine: sends a plan's requests, records every exchange, and has them judged.

It decides nothing about right or wrong. It keeps to a limit of requests in flight and to the budget, honours
Retry-After, hands on each exchange as soon as it is there, and stops in order on request.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final

from rejoinder.budgets import (
    CASE_SPARE_TIMEOUTS,
    CHECK,
    CHECK_LEAST,
    CHECK_RESERVE,
    CHECK_RUN,
    CHECK_SHARE,
    REQUEST_TIMEOUTS,
)
from rejoinder.conformance.assess import CheckResult
from rejoinder.conformance.judging.capabilities import abilities
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import TINY, PlannedCase, RequestSpec, user
from rejoinder.conformance.running.plan import Plan
from rejoinder.conformance.running.sequence import CaseRunner, PreparedRequest
from rejoinder.contract import load_dialect
from rejoinder.formatting import one_line, plural
from rejoinder.model.error_text import error_text
from rejoinder.model.exchange import SAFE_METHODS, UNSENT, Exchange, Outcome
from rejoinder.model.tags import Tag
from rejoinder.settings import Budget
from rejoinder.wire.client import Client
from rejoinder.wire.pacing import BUSY, MAX_WAIT, Pacer, retry_after
from rejoinder.wire.target import Target

BUSY_RETRIES: Final = 3
"""How often a request is repeated while the endpoint is busy and names no time."""
PATIENT_RETRIES: Final = 8
"""How often it is repeated while the endpoint names a time with Retry-After."""
MAX_OUTAGE: Final = 120.0
"""Seconds that an endpoint may be busy for every request before the run ends, unless one request may take less."""
REJECTIONS: Final = 5
"""Number of requests in a row that are answered with 401 or 403 after which the run ends."""
SILENCE: Final = 5
"""Number of requests in a row without any response after which the endpoint counts as gone."""


@dataclass(slots=True)
class CheckProgress:
    """How far a check run has come, for progress displays."""

    requests: int
    done: int = 0
    refused: int = 0
    failed: int = 0
    busy: int = 0
    in_flight: int = 0
    output_tokens: int = 0


@dataclass(slots=True)
class _TimeLimit:
    """Seconds by the pacer's clock that a case, or a request in it, may take from when it is sent first."""

    seconds: float
    case: _TimeLimit | None = None
    began: float | None = None

    def start(self, now: float, excluded: float) -> None:
        """Note that something of it starts; seconds ``excluded`` since the last start do not count."""
        if self.began is None:
            self.began = now
        else:
            self.seconds += excluded
        if self.case is not None:
            self.case.start(now, excluded)

    def left(self, now: float) -> float:
        """Return the seconds that are left."""
        own = self.seconds if self.began is None else self.seconds - (now - self.began)
        return own if self.case is None else min(own, self.case.left(now))


class CheckRun:
    """One run of a plan against a target.

    At most ``concurrency`` cases are sent at a time; requests of one case that go beside each other are in flight
    together whatever that number is. ``deadline`` is how many seconds a request may take. With its waits for a busy
    endpoint, its repetitions and its polling it takes at most ``REQUEST_TIMEOUTS`` times as long, and a case at most
    one ``deadline`` for each of its steps and ``CASE_SPARE_TIMEOUTS`` more. Waits for the user's own rate limit and
    those that the plan wants are no part of that.
    ``resend`` is whether a request that may have reached the endpoint is sent once more when its connection is lost
    before a response; one that only reads is in any case.
    ``on_exchange`` gets every exchange as it ends, ``on_progress`` the progress after every change. ``pacer`` says when
    requests may start, by default as the target's rate limit says, and ``sleep`` waits for a busy endpoint. Call
    :meth:`stop` to end early; what is in flight then ends as cancelled and everything gathered can be judged.
    """

    def __init__(
        self,
        client: Client,
        target: Target,
        plan: Plan,
        *,
        concurrency: int = 4,
        budget: Budget | None = None,
        deadline: float = 120.0,
        on_exchange: Callable[[Exchange], None] = lambda exchange: None,
        on_progress: Callable[[CheckProgress], None] = lambda progress: None,
        resend: bool = False,
        pacer: Pacer | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.pacer = pacer or Pacer(target.request.rate_limit)
        self._sleep = sleep
        self.client = client
        self.target = target
        self.plan = plan
        self.budget = budget
        self.deadline = deadline
        self.resend = resend
        self._most_outage = min(MAX_OUTAGE, deadline)
        self._over_budget = False
        self.progress = CheckProgress(plan.requests)
        self.result = CheckResult(resend=resend)
        self._on_exchange = on_exchange
        self._on_progress = on_progress
        self._concurrency = concurrency
        self._case_slots = asyncio.Semaphore(concurrency)
        self._turn = asyncio.Lock()
        self._recovering = asyncio.Lock()
        self._number = 0
        self._silent = 0
        self._busy_since: float | None = None
        self._weight = self._weighed = self._promised = 0
        self._busy: Counter[int | None] = Counter()
        self._rejected = 0
        self._basic = self._basic_refused = 0
        self._refusal: Exchange | None = None
        self._halted = ""
        self._recalls: bool | None = None
        self._passed_over = 0
        self._late: Counter[str] = Counter()
        self._suspended = 0
        self._began = time.monotonic()

    def stop(self) -> None:
        """End early because a person said so."""
        self.result.interrupted = True
        self._halt("the run was interrupted")

    async def run(self) -> CheckResult:
        """Send the plan's cases, at most ``concurrency`` at a time and in the plan's order; return what was gathered.

        Nothing is judged yet. A case's own requests follow one another, or go together as it says.
        """
        async with asyncio.TaskGroup() as group:
            for case in self.plan.cases:
                slots = await self._take_slots(case)
                if self._halted:
                    self._release_slots(slots)
                    break
                if case.recalls and self._recalls is False:
                    self._release_slots(slots)
                    self._pass_over(case)
                    continue
                group.create_task(self._follow(CaseRunner(case, self.target), slots))
        left = self.progress.requests - self.progress.done
        if self._halted:
            self.result.unsent = left
            self.result.incomplete = left > 0 and not (self.result.interrupted or self._over_budget)
        if self._halted and left and not self.result.interrupted:
            requests, were = plural(self.progress.requests, "request"), "was" if left == 1 else "were"
            self.result.warnings.append(f"{left} of {requests} {were} not sent: {self._halted}.")
        if self._late and not self._halted:
            self.result.unsent, self.result.incomplete = self._late.total(), True
            requests, were = plural(self._late.total(), "request"), "was" if self._late.total() == 1 else "were"
            cases = one_line(", ".join(sorted(self._late)), 100)
            self.result.warnings.append(f"{requests} {were} not sent, because the time of the case was up: {cases}.")
        if unopened := self.client.unopened:
            self.result.incomplete = True
            requests = plural(unopened, "request was", "requests were")
            self.result.warnings.append(
                f"{requests} not sent, because this machine had no file or port left for a connection. Try a lower "
                "--concurrency, or raise the limit of open files."
            )
        if self._suspended:
            self.result.incomplete = True
            requests = plural(self._suspended, "request was", "requests were")
            self.result.warnings.append(f"{requests} not tested, because rejoinder was suspended meanwhile.")
        if self._passed_over:
            requests = plural(self._passed_over, "request")
            self.result.warnings.append(f"{requests} for canaries not sent: the model repeated none.")
        self.result.warnings += self._changed_mind()
        return self.result

    def _pass_over(self, case: PlannedCase) -> None:
        """Count a case that is not sent because the model repeats no canary."""
        self._passed_over += len(case.requests)
        self.progress.requests -= len(case.requests)
        self._on_progress(self.progress)

    @property
    def ended(self) -> bool:
        """Whether nothing more will be sent: interrupted, budget spent, endpoint gone."""
        return bool(self._halted) or self._spent()

    @property
    def used(self) -> float:
        """The share of the budget that is used, of the limit that is nearest to its end; 0 without a budget."""
        budget = self.budget or Budget()
        return max(
            self._number / budget.requests if budget.requests else 0.0,
            self.progress.output_tokens / budget.tokens if budget.tokens else 0.0,
            (time.monotonic() - self._began) / budget.seconds if budget.seconds else 0.0,
        )

    @property
    def requests_left(self) -> int | None:
        """How many requests the budget has left; ``None`` when it does not limit them."""
        budget = self.budget
        return None if budget is None or budget.requests is None else max(0, budget.requests - self._number)

    async def send(self, case: PlannedCase, *tags: str) -> list[Exchange]:
        """Send one case when a place is free, and return its exchanges that count, as they can be judged.

        With ``tags`` they are recorded under these as not to be judged, since they say again what is known. Nothing is
        sent, and nothing comes back, once the run has :attr:`ended`.
        """
        slots = await self._take_slots(case)
        sequence = CaseRunner(case, self.target, tags)
        if self.ended:
            self._release_slots(slots)
        else:
            await self._follow(sequence, slots)
        return sequence.sent

    async def _follow(self, sequence: CaseRunner, slots: int) -> None:
        case = sequence.case
        steps = sum(1 for _ in case.groups())
        limit = _TimeLimit((steps + CASE_SPARE_TIMEOUTS) * self.deadline)
        sent = 0
        try:
            while requests := sequence.next():
                if limit.left(self.pacer.now()) <= 0:
                    if not sequence.tags:
                        self._late[case.id] += len(case.requests) - sent
                    return
                if len(requests) == 1:
                    await self._ask(sequence, requests[0], limit)
                else:
                    # They must be in flight together, so they start together: as many as the pace allows in that time.
                    await self._turn_of(len(requests), limit)
                    async with asyncio.TaskGroup() as group:
                        for prepared in requests:
                            group.create_task(self._ask(sequence, prepared, limit, paced=False))
                if self._halted or self._spent():
                    return
                sent += len(requests)
        finally:
            self._release_slots(slots)

    async def _take_slots(self, case: PlannedCase) -> int:
        """Wait until the case may run, all others out of its way if it must be undisturbed; return what it took."""
        async with self._turn:  # two cases that each want all slots must not wait for one another
            slots = self._concurrency if case.undisturbed else 1
            for _ in range(slots):
                await self._case_slots.acquire()
        return slots

    def _release_slots(self, slots: int) -> None:
        for _ in range(slots):
            self._case_slots.release()

    async def _turn_of(self, requests: int, limit: _TimeLimit) -> float:
        """Wait until requests may start; return the time of the pacer's clock."""
        before = self.pacer.now()
        started = await self.pacer.wait(requests)
        limit.start(started, min(started - before, self._concurrency * self.pacer.least))
        return started

    async def _ask(
        self, sequence: CaseRunner, prepared: PreparedRequest, limit: _TimeLimit, *, paced: bool = True
    ) -> None:
        """Send a request, repeat it as its plan and the endpoint want, and give the sequence the last reply to it.

        Unless it is ``paced``, its first start is not held back, since its group has been.
        """
        if prepared.wait > 0:
            await asyncio.sleep(prepared.wait)
            limit.seconds += prepared.wait
        if self._halted or self._spent():
            return
        case = sequence.case
        limit = _TimeLimit(REQUEST_TIMEOUTS * self.deadline, limit)
        self.progress.in_flight += 1
        self._on_progress(self.progress)
        try:
            exchange = await self._served(sequence, prepared, limit, paced=paced)
            if self._may_repeat(exchange):
                # It may be chance.
                first = exchange.tagged(Tag.UNJUDGED, Tag.REPEATED)
                self._keep(sequence, first)
                exchange, _ = await self._send(case, prepared, limit)
                if exchange.status is not None:
                    self.result.warnings.append(
                        f"Case {case.id} got no response at first, but got one when sent again: {first.detail}"
                    )
            exchange = await self._poll(sequence, prepared, exchange, limit)
        finally:
            self.progress.in_flight -= 1
        self._take(sequence, exchange)
        self._note_refusal(prepared.planned, exchange)
        sequence.replies[prepared.planned.role] = exchange
        if self._silent >= SILENCE and not self.ended and (await self._probe()).status is None:
            self._halt(f"the last {SILENCE} requests got no response ({exchange.detail.rstrip('.')})")

    def _may_repeat(self, exchange: Exchange) -> bool:
        """Return whether a request that got no response is sent once more, while anything is.

        Always where nothing of it reached the endpoint and where a repetition changes nothing there (RFC 9110, 9.2.1);
        else only with ``resend``, since the endpoint may have acted on it.
        """
        if self.ended:
            return False
        if exchange.outcome in UNSENT:
            return True
        lost = exchange.outcome is Outcome.CUT and exchange.status is None
        return lost and (self.resend or exchange.request.method in SAFE_METHODS)

    async def _served(
        self, sequence: CaseRunner, prepared: PreparedRequest, limit: _TimeLimit, *, paced: bool
    ) -> Exchange:
        """Send a request until the endpoint is not too busy for it; return the last exchange, the others are kept."""
        exchange, started = await self._send(sequence.case, prepared, limit, paced=paced)
        tries, waited = 0, 0.0
        while exchange.status in BUSY and not self._halted:
            wait = retry_after(exchange)
            most = min(MAX_WAIT, self.deadline)
            if wait is not None and wait > most:
                self._halt(f"Retry-After of the endpoint is {wait:.0f} s, the limit is {most:g} s")
                break
            if self._busy_since is None:
                self._busy_since = started
            elif started - self._busy_since > self._most_outage:
                self._halt(f"the endpoint was busy for {started - self._busy_since:.0f} s (status {exchange.status})")
                break
            waited += wait or 0.0
            if waited > self.deadline or limit.left(self.pacer.now()) <= (wait or 0.0):
                break
            if tries >= (BUSY_RETRIES if wait is None else PATIENT_RETRIES):
                if wait is not None or tries > BUSY_RETRIES or not await self._recovered():
                    break
                self.pacer.busy(started, None)
            elif wait is None:
                await self._sleep(2.0**tries / 2)
            else:
                self.pacer.busy(started, wait)
            if self._spent():
                break
            tries += 1
            self._keep(sequence, exchange.tagged(Tag.UNJUDGED, Tag.REPEATED))
            exchange, started = await self._send(sequence.case, prepared, limit)
        if exchange.status in BUSY:
            return exchange.tagged(Tag.BUSY)
        if exchange.status is not None:
            self._busy_since = None
            self.pacer.answered()
        return exchange

    async def _recovered(self) -> bool:
        """Return whether a busy endpoint took requests again after it took none, not even the simplest one.

        If it takes the simplest request at once, it is busy for the other request only. If it takes none for long, the
        run ends. A gateway stops to serve anybody (its circuit breaker opens) after a number of failures of whatever is
        behind it, and tries again some time later.
        """
        async with self._recovering:
            pause = 1.0
            began = self.pacer.now()
            exchange = await self._probe()
            waited = 0.0
            while exchange.status in BUSY and not self._halted and not self._spent():
                if waited >= self._most_outage:
                    self._halt(f"the endpoint was busy for {waited:.0f} s (status {exchange.status})")
                    return False
                wait = retry_after(exchange)
                wait = min(pause if wait is None else wait, MAX_WAIT, self._most_outage - waited)
                await self._sleep(wait)
                waited = self.pacer.now() - began
                pause = min(2 * pause, MAX_WAIT)
                exchange = await self._probe()
            return waited > 0 and exchange.status is not None and not self._halted

    async def _probe(self) -> Exchange:
        """Send the simplest request, which shows whether the endpoint serves anybody."""
        body = self.target.body(input=user("Say hello."), max_output_tokens=TINY)
        body = body if self.target.form.plain else {**body, "stream": True}
        case = PlannedCase("liveness", "Whether the endpoint answers.", (RequestSpec(Role.AFTER, body),))
        sequence = CaseRunner(case, self.target)
        [prepared] = sequence.next()
        exchange, _ = await self._send(case, prepared, _TimeLimit(self.deadline))
        exchange = exchange.tagged(Tag.UNJUDGED)
        self._keep(sequence, exchange)
        if exchange.status is not None:
            self._silent = 0
        return exchange

    async def _poll(
        self, sequence: CaseRunner, prepared: PreparedRequest, exchange: Exchange, limit: _TimeLimit
    ) -> Exchange:
        """Repeat a request for as long as its plan wants; return the last exchange, the others are kept.

        All of it takes at most as long as one request may.
        """
        began = time.monotonic()
        while not (self._halted or self._spent()):
            pause = prepared.again(exchange)
            left = self.deadline - (time.monotonic() - began) - (pause or 0.0)
            left = min(left, limit.left(self.pacer.now()) - (pause or 0.0))
            if pause is None or left <= 0:
                break
            self._keep(sequence, prepared.repeated(exchange))
            await asyncio.sleep(pause)
            exchange, _ = await self._send(sequence.case, prepared, limit, most=left)
            if exchange.outcome is Outcome.CANCELLED:
                break
        return exchange

    async def _send(
        self,
        case: PlannedCase,
        prepared: PreparedRequest,
        limit: _TimeLimit,
        *,
        paced: bool = True,
        most: float = float("inf"),
    ) -> tuple[Exchange, float]:
        """Send a request when its turn has come; return the exchange, and when it began by the pacer's clock.

        ``most`` is how many seconds it may take, if less than usual. What ``limit`` or ``most`` stop was stopped by
        us, and has the outcome ``cancelled``.
        """
        self._number += 1
        number, planned = self._number, prepared.planned
        usual = self.deadline if planned.deadline is None else min(self.deadline, planned.deadline)
        started = await self._turn_of(1 if paced else 0, limit)
        seconds = max(0.001, min(usual, most, limit.left(started)))
        weight = max(CHECK_LEAST, min(CHECK.weight, (self._memory_left() - CHECK_RESERVE) // CHECK_SHARE))
        self._promised += weight
        suspensions = self.client.suspensions
        try:
            exchange = await self.client.send(
                planned.method,
                prepared.path,
                prepared.body,
                id=f"x{number:04d}",
                case=case.id,
                role=planned.role,
                tags=prepared.tags,
                headers=prepared.headers,
                deadline=seconds,
                read_limit=planned.read_limit,
                weight=weight,
                pace=planned.pace,
            )
        finally:
            self._promised -= weight
        if exchange.outcome is Outcome.TIMEOUT and seconds < usual:
            exchange = replace(exchange, outcome=Outcome.CANCELLED)
        exchange = prepared.recorded(exchange)
        if self.client.suspensions != suspensions:
            # Neither how it ended nor how long it took says anything of the endpoint.
            self._suspended += 1
            exchange = exchange.tagged(Tag.UNJUDGED)
        return exchange, started

    def _memory_left(self) -> int:
        """Return how much the replies to come may weigh together, beside those that are kept or under way."""
        kept = self.result.exchanges
        if len(kept) < self._weighed:  # a fuzz run forgets what shows nothing
            self._weight = self._weighed = 0
        self._weight += sum(exchange.weight for exchange in kept[self._weighed :])
        self._weighed = len(kept)
        return CHECK_RUN - self._weight - self._promised

    def _take(self, sequence: CaseRunner, exchange: Exchange) -> None:
        progress, planned, status = self.progress, not sequence.tags, exchange.status
        progress.done += planned
        if Tag.BUSY in exchange.tags:
            progress.busy += planned
            self._busy[status] += planned
        elif status is not None:
            progress.refused += planned and status >= 400
        elif exchange.outcome is not Outcome.CANCELLED:
            progress.failed += planned
        if status is not None:
            self._silent = 0
        elif exchange.outcome is not Outcome.CANCELLED:
            # Where plain requests get no reply at all, that says nothing of the others.
            self._silent += self.target.form.plain or _streams(exchange)
        progress.output_tokens += _output_tokens(exchange)
        self._keep(sequence, exchange)
        self._note_recall(exchange)
        self._on_progress(progress)

    def _note_recall(self, exchange: Exchange) -> None:
        """Notice whether the model repeats a canary; once is enough."""
        if not self._recalls and exchange.ok and (Tag.ASKS_REPEAT in exchange.tags or self._recalls is False):
            view = ExchangeView(exchange, load_dialect(self.target.dialect))
            able = abilities([view]).repeats
            self._recalls = self._recalls if able is None else able

    def _note_refusal(self, planned: RequestSpec, exchange: Exchange) -> None:
        """Notice an endpoint that rejects every key, or refuses what it accepted at first."""
        if exchange.status is None or Tag.WRONG_KEY in exchange.tags or Tag.SECOND_TENANT in exchange.tags:
            return
        self._rejected = self._rejected + 1 if exchange.status in (401, 403) else 0
        if self._rejected >= REJECTIONS:
            words = _words(exchange)
            said = f": {words}" if words else ""
            self._halt(f"the last {REJECTIONS} requests were answered with status {exchange.status}{said}")
        if Tag.BASIC in exchange.tags and not planned.keeps:  # so it has the form of the first request
            refused = 400 <= exchange.status < 500 and exchange.status != 429
            self._basic += 1
            self._basic_refused += refused
            self._refusal = exchange if refused else self._refusal

    def _changed_mind(self) -> list[str]:
        """Return sentences about an endpoint that was busy, or refused requests as simple as the first one."""
        found = []
        if self._busy:
            total = sum(self._busy.values())
            each = ", ".join(f"{count} with status {status}" for status, count in sorted(self._busy.items()))
            found.append(
                f"{plural(total, 'request')} got no answer: the endpoint was busy at each try ({each}). Try a lower "
                "--concurrency or a --rate-limit."
            )
        if self._basic_refused and self._refusal is not None:
            all_of = "all" if self._basic_refused == self._basic else f"{self._basic_refused} of"
            words = _words(self._refusal)
            found.append(
                f"The endpoint accepted the first request, and then refused {all_of} {self._basic} minimal requests "
                f"(status {self._refusal.status}{f': {words}' if words else ''})."
            )
        return found

    def _keep(self, sequence: CaseRunner, exchange: Exchange) -> None:
        if Tag.UNJUDGED not in exchange.tags:
            sequence.sent.append(exchange)
            if sequence.tags:
                new = (tag for tag in sequence.tags if tag not in exchange.tags)
                exchange = exchange.tagged(Tag.UNJUDGED, *new)
        self.result.exchanges.append(exchange)
        if self._memory_left() + self._promised <= 0 and not self._halted:
            self._halt(f"the responses used up the memory budget of a run, {CHECK_RUN >> 20} MiB")
        self._on_exchange(exchange)

    def _spent(self) -> bool:
        """Whether the budget allows no further request; says so once."""
        spent = self.used >= 1
        if spent and not self._halted:
            self._halted = f"the budget of {self.budget} is spent"
            self._over_budget = True
        return spent

    def _halt(self, reason: str) -> None:
        if not self._halted:
            self._halted = reason
            self.client.stop(reason)


def _words(exchange: Exchange) -> str:
    """Return the endpoint's own words, in one line and without a period at their end."""
    return one_line(error_text(exchange, 200), 200).rstrip(".")


def _streams(exchange: Exchange) -> bool:
    body = exchange.request.json()
    return isinstance(body, dict) and body.get("stream") is True


def _output_tokens(exchange: Exchange) -> int:
    """Return the output tokens that a reply reports; a stream's are searched for in its last kilobytes only."""
    body = exchange.body
    place = body.rfind(b'"output_tokens"')
    digits = body[place + 15 : place + 40].lstrip(b": ") if place >= 0 else b""
    number = digits[: len(digits) - len(digits.lstrip(b"0123456789"))]
    return int(number) if number else 0
