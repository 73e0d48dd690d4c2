"""The engine: sends a plan's requests, records every exchange, and has them judged.

It decides nothing about right or wrong. It keeps to a limit of requests in flight and to the budget, honours
Retry-After, hands on each exchange as soon as it is there, and stops in order on request.
"""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rejoinder.conformance.assess import CheckResult
from rejoinder.conformance.running.case import PlannedCase
from rejoinder.conformance.running.plan import Plan
from rejoinder.conformance.running.sequence import CaseRunner, PreparedRequest
from rejoinder.formatting import plural
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.model.tags import Tag
from rejoinder.settings import Budget
from rejoinder.wire.client import Client
from rejoinder.wire.target import Target

MAX_WAIT: Final = 30.0
"""Longest Retry-After in seconds that a run waits; a longer one ends the run with a warning."""

BUSY_RETRIES: Final = 3
SILENCE: Final = 5
"""Number of requests in a row without any response after which the endpoint counts as gone."""


@dataclass(slots=True)
class CheckProgress:
    """How far a check run has come, for progress displays."""

    requests: int
    done: int = 0
    refused: int = 0
    failed: int = 0
    in_flight: int = 0
    output_tokens: int = 0


class CheckRun:
    """One run of a plan against a target.

    ``on_exchange`` gets every exchange as it ends, ``on_progress`` the progress after every change. Call :meth:`stop`
    to end early; what is in flight then ends as cancelled and everything gathered can be judged.
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
    ) -> None:
        self.client = client
        self.target = target
        self.plan = plan
        self.budget = budget
        self.deadline = deadline
        self.progress = CheckProgress(plan.requests)
        self.result = CheckResult()
        self._on_exchange = on_exchange
        self._on_progress = on_progress
        self._concurrency = concurrency
        self._case_slots = asyncio.Semaphore(concurrency)
        self._turn = asyncio.Lock()
        self._request_slots = asyncio.Semaphore(concurrency)
        self._number = 0
        self._silent = 0
        self._halted = ""
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
                group.create_task(self._follow(CaseRunner(case, self.target), slots))
        left = self.progress.requests - self.progress.done
        if self._halted:
            self.result.unsent = left
        if self._halted and left and not self.result.interrupted:
            requests, were = plural(self.progress.requests, "request"), "was" if left == 1 else "were"
            self.result.warnings.append(f"{left} of {requests} {were} not sent: {self._halted}.")
        return self.result

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
        try:
            while requests := sequence.next():
                if len(requests) == 1:
                    await self._ask(sequence, requests[0])
                else:
                    async with asyncio.TaskGroup() as group:
                        for prepared in requests:
                            group.create_task(self._ask(sequence, prepared))
                if self._halted or self._spent():
                    return
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

    async def _ask(self, sequence: CaseRunner, prepared: PreparedRequest) -> None:
        """Send a request, repeat it as its plan and the endpoint want, and give the sequence the last reply to it."""
        if prepared.wait > 0:
            await asyncio.sleep(prepared.wait)
        if self._halted or self._spent():
            return
        case = sequence.case
        self.progress.in_flight += 1
        self._on_progress(self.progress)
        try:
            exchange = await self._send(case, prepared)
            for attempt in range(BUSY_RETRIES):
                if exchange.status not in (429, 503) or self._halted:
                    break
                self._keep(sequence, exchange.tagged(Tag.UNJUDGED, Tag.REPEATED))
                await self._pause(exchange, attempt)
                exchange = await self._send(case, prepared)
            if exchange.status is None and exchange.outcome is not Outcome.CANCELLED and not self._halted:
                # A connection that broke before the reply may be chance; only what happens twice counts.
                first = exchange.tagged(Tag.UNJUDGED, Tag.REPEATED)
                self._keep(sequence, first)
                exchange = await self._send(case, prepared)
                if exchange.status is not None:
                    self.result.warnings.append(
                        f"Case {case.id} got no response at first, but got one when sent again: {first.detail}"
                    )
            exchange = await self._poll(sequence, prepared, exchange)
        finally:
            self.progress.in_flight -= 1
        self._take(sequence, exchange)
        sequence.replies[prepared.planned.role] = exchange

    async def _poll(self, sequence: CaseRunner, prepared: PreparedRequest, exchange: Exchange) -> Exchange:
        """Repeat a request for as long as its plan wants; return the last exchange, the others are kept."""
        began = time.monotonic()
        while not (self._halted or self._spent() or time.monotonic() - began > self.deadline):
            pause = prepared.again(exchange)
            if pause is None:
                break
            self._keep(sequence, prepared.repeated(exchange))
            await asyncio.sleep(pause)
            exchange = await self._send(sequence.case, prepared)
        return exchange

    async def _send(self, case: PlannedCase, prepared: PreparedRequest) -> Exchange:
        self._number += 1
        number, planned = self._number, prepared.planned
        async with self._request_slots:
            exchange = await self.client.send(
                planned.method,
                prepared.path,
                prepared.body,
                id=f"x{number:04d}",
                case=case.id,
                role=planned.role,
                tags=prepared.tags,
                headers=prepared.headers,
                deadline=planned.deadline or self.deadline,
                read_limit=planned.read_limit,
                pace=planned.pace,
            )
        return prepared.recorded(exchange)

    async def _pause(self, exchange: Exchange, attempt: int) -> None:
        wait = retry_after(exchange)
        if wait is not None and wait > MAX_WAIT:
            self._halt(f"Retry-After of the endpoint is {wait:.0f} s, the limit is {MAX_WAIT:.0f} s")
            return
        await asyncio.sleep(2.0**attempt / 2 if wait is None else wait)

    def _take(self, sequence: CaseRunner, exchange: Exchange) -> None:
        progress, planned = self.progress, not sequence.tags
        progress.done += planned
        if exchange.status is not None:
            self._silent = 0
            progress.refused += planned and exchange.status >= 400
        elif exchange.outcome is not Outcome.CANCELLED:
            progress.failed += planned
            self._silent += 1
            if self._silent >= SILENCE:
                self._halt(f"the last {SILENCE} requests got no response ({exchange.detail.rstrip('.')})")
        progress.output_tokens += _output_tokens(exchange)
        self._keep(sequence, exchange)
        self._on_progress(progress)

    def _keep(self, sequence: CaseRunner, exchange: Exchange) -> None:
        if Tag.UNJUDGED not in exchange.tags:
            sequence.sent.append(exchange)
            if sequence.tags:
                exchange = exchange.tagged(Tag.UNJUDGED, *sequence.tags)
        self.result.exchanges.append(exchange)
        self._on_exchange(exchange)

    def _spent(self) -> bool:
        """Whether the budget allows no further request; says so once."""
        spent = self.used >= 1
        if spent and not self._halted:
            self._halted = f"the budget of {self.budget} is spent"
        return spent

    def _halt(self, reason: str) -> None:
        if not self._halted:
            self._halted = reason
            self.client.stop(reason)


def retry_after(exchange: Exchange) -> float | None:
    """Return the seconds of a Retry-After header (RFC 9110, number or date); ``None`` if there is none."""
    text = exchange.header("retry-after").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _output_tokens(exchange: Exchange) -> int:
    """Return the output tokens that a reply reports; a stream's are searched for in its last kilobytes only."""
    body = exchange.body
    place = body.rfind(b'"output_tokens"')
    digits = body[place + 15 : place + 40].lstrip(b": ") if place >= 0 else b""
    number = digits[: len(digits) - len(digits.lstrip(b"0123456789"))]
    return int(number) if number else 0
