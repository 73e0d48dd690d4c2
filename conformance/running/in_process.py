"""Dry runs: cases sent to a sandbox in this process, without a network and without letting time pass."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx

from rejoinder.conformance.running.case import PlannedCase, Replies, RequestSpec
from rejoinder.conformance.running.plan import Plan
from rejoinder.conformance.running.sequence import CaseRunner, PreparedRequest
from rejoinder.contract import load_dialect
from rejoinder.errors import RejoinderError
from rejoinder.model.base_form import BaseForm
from rejoinder.model.exchange import Exchange, Request
from rejoinder.model.tags import Tag
from rejoinder.sandbox import Sandbox, record
from rejoinder.wire.client import Client, encode_json
from rejoinder.wire.target import Target, find_target

IN_FLIGHT: Final = 4
"""Cases that are under way at once."""

SECOND_KEY: Final = "the-second-tenant"
_MODEL: Final = "parrot"
_BATCH: Final = 16
_DEADLINE: Final = 120.0
# The clock of the sandbox goes on by so many seconds between requests.
_PAUSE: Final = 0.05


def run_in_process(plan: Plan, sandbox: Sandbox, target: Target, clock: ManualClock) -> Iterator[list[Exchange]]:
    """Send a plan to a sandbox in this process and yield the exchanges, a few whole cases at a time."""
    waiting: list[PlannedCase] = []
    for case in plan.cases:
        if case.undisturbed or len(waiting) == _BATCH:
            yield list(_batch(waiting, sandbox, target, clock))
            waiting = []
        if case.undisturbed:
            yield list(_batch([case], sandbox, target, clock))
        else:
            waiting.append(case)
    yield list(_batch(waiting, sandbox, target, clock))


@dataclass(slots=True)
class ManualClock:
    """A clock that advances only by :meth:`elapse`."""

    now: float = field(default_factory=lambda: float(int(time.time())))

    def __call__(self) -> float:
        """Return the time in Unix seconds."""
        return self.now

    def elapse(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def dry_run(cases: Sequence[PlannedCase], dialect: str, model: str | None = None) -> list[list[Exchange]]:
    """Return what a correct endpoint makes of cases that are sent one after the other, case by case.

    ``model`` is the one that the cases name. Raises :class:`~rejoinder.errors.ContractError` for a dialect that cannot
    be read.
    """
    clock = ManualClock()
    sandbox = Sandbox(dialect, clock=clock)
    target = sandbox_target(dialect)
    named = (case if model is None else renamed(case, model, _MODEL) for case in cases)
    return [send_in_process(case, sandbox, target, clock) for case in named]


def sandbox_target(dialect: str, *, model: str | None = _MODEL, url: str = "http://sandbox/v1/responses") -> Target:
    """Return the target of a sandbox of a dialect in this process: it has two keys, and takes the usual form."""
    form = load_dialect(dialect).usual_form
    return Target(url, model, dialect=dialect, second_key=SECOND_KEY, form=form)


def send_in_process(case: PlannedCase, sandbox: Sandbox, target: Target, clock: ManualClock) -> list[Exchange]:
    """Send one case to a sandbox in this process and return its exchanges."""
    return [exchange for batch in run_in_process(Plan("case", (case,)), sandbox, target, clock) for exchange in batch]


async def learn_form(sandbox: Sandbox, target: Target) -> BaseForm:
    """Return the base form of requests that a sandbox in this process takes, as a check run learns it.

    It is that of the target where the sandbox takes none.
    """

    async def answer(request: httpx.Request) -> httpx.Response:
        headers = tuple((name.lower(), value) for name, value in request.headers.items())
        reply = sandbox.handle(Request(request.method, request.url.raw_path.decode("ascii"), headers, request.content))
        content = b"".join(piece.data for piece in reply.chunks)
        return httpx.Response(reply.status, headers=list(reply.headers), content=content)

    async with Client(target.url, transport=httpx.MockTransport(answer)) as client:
        with suppress(RejoinderError):
            found, _ = await find_target(target.url, model=target.model, dialect=target.dialect, client=client)
            return found.form
    return target.form


class InProcessSender:
    """Sends cases to a sandbox in this process, one after the other, as a check run would; ``target`` names it."""

    def __init__(self, sandbox: Sandbox, target: Target, clock: ManualClock) -> None:
        self.sent: list[Exchange] = []
        self._sandbox = sandbox
        self._target = target
        self._clock = clock

    @property
    def ended(self) -> bool:
        """Whether nothing more will be sent: never."""
        return False

    async def send(self, case: PlannedCase, *tags: str) -> list[Exchange]:
        """Send a case and return its exchanges; :attr:`sent` keeps them under the tags, as not to be judged."""
        exchanges = send_in_process(case, self._sandbox, self._target, self._clock)
        self.sent += [e.tagged(Tag.UNJUDGED, *(tag for tag in tags if tag not in e.tags)) for e in exchanges]
        return exchanges


def renamed(case: PlannedCase, model: str, other: str) -> PlannedCase:
    """Return the case with another model wherever it names this one, in bodies that are bytes as well."""
    written = re.compile(rb'("model"\s*:\s*)' + re.escape(encode_json(model)))

    def named(body: Any) -> Any:
        if isinstance(body, bytes):
            return written.sub(lambda found: found[1] + encode_json(other), body)
        return {**body, "model": other} if isinstance(body, dict) and body.get("model") == model else body

    def later(planned: RequestSpec) -> Any:
        make = planned.body

        def body(replies: Replies) -> Any:
            return named(make(replies))

        return body if callable(make) else named(make)

    return replace(case, requests=tuple(replace(planned, body=later(planned)) for planned in case.requests))


@dataclass(slots=True)
class _Slot:
    """One place of the cases in flight: a case, those of its requests that are under way, and when it goes on."""

    sequence: CaseRunner
    free_at: float
    pending: list[PreparedRequest] = field(default_factory=list)


def _batch(cases: Sequence[PlannedCase], sandbox: Sandbox, target: Target, clock: ManualClock) -> Iterator[Exchange]:
    waiting = [CaseRunner(case, target) for case in cases]
    slots: list[_Slot] = []
    while waiting or slots:
        while waiting and len(slots) < IN_FLIGHT:
            slots.append(_Slot(waiting.pop(0), clock.now))
        # Who still repeats a request goes on with it; whose replies are all in asks the next ones.
        for slot in slots:
            slot.pending = slot.pending or slot.sequence.next()
        slots = [slot for slot in slots if slot.pending]
        if not slots:
            continue
        first = min(slot.free_at for slot in slots)
        ready = [slot for slot in slots if slot.free_at <= first + _PAUSE]
        began = max(clock.now, *(slot.free_at for slot in ready))
        # All ask before any reply is read, so that the requests are in flight together.
        together = [(slot, prepared) for slot in ready for prepared in slot.pending]
        in_flight = []
        for slot, prepared in sorted(together, key=lambda pair: pair[1].wait):
            clock.now = began + prepared.wait
            request = _request(prepared)
            in_flight.append((slot, prepared, request, clock.now, sandbox.handle(request)))
        for slot, prepared, request, started, reply in in_flight:
            planned, case = prepared.planned, slot.sequence.case
            clock.now = started
            limit = planned.read_limit
            exchange = record(
                request,
                reply,
                id=f"{case.id}/{planned.role}",
                case=case.id,
                role=planned.role,
                tags=prepared.tags,
                started_at=started,
                deadline=planned.deadline or _DEADLINE,
                pace=planned.pace,
                elapse=clock.elapse,
                **({} if limit is None else {"read_limit": limit}),
            )
            exchange = prepared.recorded(exchange)
            pause = prepared.again(exchange)
            ended = started + exchange.ended_at + _PAUSE
            if pause is None:
                slot.sequence.replies[planned.role] = exchange
                slot.pending.remove(prepared)
            else:
                exchange = prepared.repeated(exchange)
                prepared.wait = 0.0
                ended += pause
            slot.free_at = max(slot.free_at, ended)
            yield exchange
        clock.now = began
    clock.now += _PAUSE


def _request(prepared: PreparedRequest) -> Request:
    body = prepared.body
    data = b"" if body is None else body if isinstance(body, bytes) else encode_json(body)
    headers = {name.lower(): value for name, value in prepared.headers}
    sent = tuple((name, value) for name, value in headers.items() if value is not None)
    return Request(prepared.planned.method, prepared.path, sent, data)
