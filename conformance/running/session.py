"""A check run: a plan sent to a target, every exchange recorded, all of it judged, what failed confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rejoinder.conformance.assess import CheckResult, assess
from rejoinder.conformance.baseline import Baseline, BaselineMatcher
from rejoinder.conformance.judgement import judge, settle_losses
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.confirm import NO_CONFIRM, ConfirmBudget, add_scripts, confirm
from rejoinder.conformance.running.engine import CheckProgress, CheckRun
from rejoinder.conformance.running.fuzz import FuzzRun
from rejoinder.conformance.running.isolate import ISOLATION_BUDGETS, isolate
from rejoinder.conformance.running.limits import LimitPlan, context_of_target, find_limits
from rejoinder.conformance.running.plan import Plan
from rejoinder.contract import load_dialect
from rejoinder.errors import RejoinderError
from rejoinder.interrupts import interrupts
from rejoinder.model.exchange import Exchange
from rejoinder.model.runfile import RunWriter
from rejoinder.model.verdict import Verdict
from rejoinder.settings import Budget
from rejoinder.wire.client import Client
from rejoinder.wire.target import Target


def run_plan(
    target: Target,
    plan: Plan,
    writer: RunWriter,
    *,
    concurrency: int = 4,
    budget: Budget | None = None,
    deadline: float = 120.0,
    resend: bool = False,
    select: str = "*",
    required: Iterable[str] = (),
    baseline: Baseline | None = None,
    strict: bool = False,
    isolation_budget: int | None = None,
    confirm_budget: ConfirmBudget = NO_CONFIRM,
    limits: LimitPlan | None = None,
    on_exchange: Callable[[Exchange], None] = lambda exchange: None,
    on_progress: Callable[[CheckProgress], None] = lambda progress: None,
    on_isolating: Callable[[int], None] = lambda spent: None,
    on_limits: Callable[[int, str], None] = lambda spent, note: None,
    on_judging: Callable[[], None] = lambda: None,
    on_confirming: Callable[[int, str], None] = lambda spent, note: None,
    on_interrupt: Callable[[], None] | None = None,
) -> CheckResult:
    """Send the plan, isolate what was refused, judge, confirm what failed, write all of it, and return it.

    ``deadline`` is how many seconds one request may take, ``resend`` whether one that may have reached the endpoint is
    sent once more when its connection is lost before a response; ``isolation_budget`` is how many requests isolating
    refusals may cost (by default that of the plan), ``confirm_budget`` what confirming findings may cost. ``limits`` is
    what to look for the limits of, if anything. With ``on_interrupt`` the first Ctrl-C ends the run in order (what was
    gathered is judged) after calling it, and the second one at once. ``on_exchange`` is called with each exchange once
    it is in the run file, ``on_judging`` before the judging, ``on_isolating``, ``on_limits`` and ``on_confirming`` with
    the requests that these steps have cost. ``required``, ``baseline`` and ``strict`` are those of
    :func:`~rejoinder.conformance.assess.assess`.
    """
    dialect = load_dialect(target.dialect)

    def judgement(result: CheckResult) -> None:
        assess(
            result,
            target.dialect,
            select=select,
            required=required,
            baseline=baseline,
            strict=strict,
            plan=plan.name,
        )

    async def work(sender: CheckRun) -> None:
        result = await sender.run()
        budget = ISOLATION_BUDGETS.get(plan.name, 0) if isolation_budget is None else isolation_budget
        found = await isolate(sender, dialect, target.model, result.exchanges, budget, on_progress=on_isolating)
        result.warnings += found.warnings
        if limits is not None:
            result.warnings += await find_limits(sender, context_of_target(target), limits, on_progress=on_limits)
        on_judging()
        await asyncio.to_thread(judgement, result)

        def judging(exchanges: Sequence[Exchange], rules: str) -> list[Verdict]:
            return judge(exchanges, dialect, select=rules, run_context=result.run_context)

        cases = {**{case.id: case for case in plan.cases}, **found.cases}
        result.warnings += await confirm(
            sender,
            target,
            dialect,
            cases,
            result.verdicts,
            result.exchanges,
            judging,
            confirm_budget,
            on_progress=on_confirming,
        )
        settle_losses(result.verdicts, result.exchanges)
        await asyncio.to_thread(add_scripts, result.verdicts, cases, result.exchanges)

    sender = RunSession(
        target, plan, writer, concurrency, budget, deadline, on_exchange, on_progress, on_interrupt, resend
    )
    return sender.run(work)


def fuzz(
    target: Target,
    seed: int,
    budget: Budget,
    writer: RunWriter,
    *,
    concurrency: int = 4,
    deadline: float = 120.0,
    resend: bool = False,
    select: str = "*",
    baseline: Baseline | None = None,
    reruns: int = 3,
    on_exchange: Callable[[Exchange], None] = lambda exchange: None,
    on_progress: Callable[[CheckProgress], None] = lambda progress: None,
    on_found: Callable[[int], None] = lambda findings: None,
    on_confirming: Callable[[int, str], None] = lambda spent, note: None,
    on_interrupt: Callable[[], None] | None = None,
) -> CheckResult:
    """Send random requests until the budget is spent; everything else is as for :func:`run_plan`.

    ``reruns`` is how often the case of a new finding is sent again, 0 for not confirming any. ``on_found`` gets the
    number of findings so far. What a ``baseline`` expects is known; which entries are out of date a search cannot tell.
    """
    dialect = load_dialect(target.dialect)
    matcher = BaselineMatcher(baseline, datetime.now(UTC).date()) if baseline is not None else None

    async def work(sender: CheckRun) -> None:
        found = FuzzRun(
            sender,
            CaseContext(dialect, target.model, form=target.form),
            seed,
            select=select,
            matcher=matcher,
            reruns=reruns,
            on_found=on_found,
            on_confirming=on_confirming,
        )
        try:
            await found.run()
        finally:
            settle_losses(found.verdicts, sender.result.exchanges)
            sender.result.verdicts = found.verdicts
            sender.result.run_context = found.shown
            sender.result.coverage = found.coverage.report(found.shown.capabilities)

    plan = Plan("fuzz", ())
    sender = RunSession(
        target, plan, writer, concurrency, budget, deadline, on_exchange, on_progress, on_interrupt, resend
    )
    return sender.run(work)


@dataclass(frozen=True, slots=True)
class RunSession:
    """How the requests of a run are sent; the fields are those of :func:`run_plan`."""

    target: Target
    plan: Plan
    writer: RunWriter
    concurrency: int
    budget: Budget | None
    deadline: float
    on_exchange: Callable[[Exchange], None] = lambda exchange: None
    on_progress: Callable[[CheckProgress], None] = lambda progress: None
    on_interrupt: Callable[[], None] | None = None
    resend: bool = False

    def run(self, work: Callable[[CheckRun], Awaitable[None]]) -> CheckResult:
        """Let ``work`` send what it wants; return the run's result, whose exchanges and verdicts are written."""

        async def run() -> CheckResult:
            target = self.target
            # A reply that is silent for long is not given up before --timeout.
            options = replace(target.client_options(), idle=self.deadline, total=self.deadline)
            async with Client(target.url, key=target.key, second_key=target.second_key, options=options) as client:
                sender = CheckRun(
                    client,
                    target,
                    self.plan,
                    concurrency=self.concurrency,
                    budget=self.budget,
                    deadline=self.deadline,
                    resend=self.resend,
                    on_exchange=self._record,
                    on_progress=self.on_progress,
                )
                try:
                    with interruptible(sender, self.on_interrupt):
                        await work(sender)
                finally:  # what was decided is kept, whatever becomes of the rest
                    for verdict in sender.result.verdicts:
                        self.writer.verdict(verdict)
                return sender.result

        try:
            result = asyncio.run(run())
        except BaseExceptionGroup as group:
            # Requests are sent by tasks of groups. An error for people that one of them met ends the others.
            for error in _leaves(group):
                if isinstance(error, RejoinderError):
                    raise error from group
            raise
        result.warnings[:0] = self.target.warnings
        return result

    def _record(self, exchange: Exchange) -> None:
        self.writer.exchange(exchange)
        self.on_exchange(exchange)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors that a group of errors consists of."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


@contextmanager
def interruptible(run: CheckRun, on_interrupt: Callable[[], None] | None) -> Iterator[None]:
    """Let the first interrupt end a run in order, after calling ``on_interrupt``, and the second one at once.

    Without ``on_interrupt`` signals do what they did before.
    """
    if on_interrupt is None:
        yield
        return
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    seen = 0

    def end() -> None:
        on_interrupt()
        run.stop()

    def interrupt() -> None:
        nonlocal seen
        seen += 1
        if seen > 2:
            raise KeyboardInterrupt
        # Between two steps of the loop nothing is left half done, and no task complains.
        loop.call_soon_threadsafe(end if seen == 1 else task.cancel)

    with interrupts(interrupt):
        try:
            yield
        except asyncio.CancelledError:
            if seen > 1:
                raise KeyboardInterrupt from None
            raise
