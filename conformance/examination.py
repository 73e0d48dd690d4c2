"""An examination: a plan sent to a target, every exchange recorded, all of it judged."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime

from rejoinder.conformance.baseline import Baseline, Ledger
from rejoinder.conformance.coverage import measure
from rejoinder.conformance.engine import CheckResult, CheckRun, Progress
from rejoinder.conformance.judge import judge_run
from rejoinder.conformance.plan import Plan
from rejoinder.runfile import RunWriter
from rejoinder.settings import Budget
from rejoinder.wire.client import Client
from rejoinder.wire.target import Target


def examine(
    target: Target,
    plan: Plan,
    writer: RunWriter,
    *,
    concurrency: int = 4,
    budget: Budget | None = None,
    deadline: float = 120.0,
    select: str = "*",
    required: Iterable[str] = (),
    baseline: Baseline | None = None,
    strict: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
    on_judging: Callable[[], None] = lambda: None,
    on_interrupt: Callable[[], None] | None = None,
) -> CheckResult:
    """Send the plan, write exchanges and verdicts to the run file, and return both.

    ``deadline`` is how many seconds one request may take. With ``on_interrupt`` the first Ctrl-C ends the run in order
    (what was gathered is judged) after calling it, and the second one at once. ``on_judging`` is called before the
    judging. ``required``, ``baseline`` and ``strict`` are those of :func:`assess`.
    """
    result = asyncio.run(_send(target, plan, writer, concurrency, budget, deadline, on_progress, on_interrupt))
    result.warnings[:0] = target.warnings
    on_judging()
    assess(result, target.dialect, select=select, required=required, baseline=baseline, strict=strict)
    for verdict in result.verdicts:
        writer.verdict(verdict)
    return result


def assess(
    result: CheckResult,
    dialect: str,
    *,
    select: str = "*",
    required: Iterable[str] = (),
    baseline: Baseline | None = None,
    strict: bool = False,
) -> None:
    """Judge the exchanges of a result by the selected rules, and fill in verdicts, coverage and standing.

    ``required`` names the features that the endpoint must have. With a baseline, what it expects is known and no
    failure; when ``strict``, entries that are out of date are one.
    """
    ledger = Ledger(baseline, datetime.now(UTC).date()) if baseline is not None else None
    result.verdicts, result.course = judge_run(
        result.exchanges, dialect, select=select, required=required, ledger=ledger
    )
    result.coverage = measure(result.exchanges, dialect)
    if ledger is not None:
        result.baseline, result.strict = ledger.close(result.exchanges), strict
        result.warnings += result.baseline.warnings()


async def _send(
    target: Target,
    plan: Plan,
    writer: RunWriter,
    concurrency: int,
    budget: Budget | None,
    deadline: float,
    on_progress: Callable[[Progress], None],
    on_interrupt: Callable[[], None] | None,
) -> CheckResult:
    async with Client(target.url, key=target.key, second_key=target.second_key) as client:
        run = CheckRun(
            client,
            target,
            plan,
            concurrency=concurrency,
            budget=budget,
            deadline=deadline,
            on_exchange=writer.exchange,
            on_progress=on_progress,
        )
        if on_interrupt is None or threading.current_thread() is not threading.main_thread():
            return await run.run()
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            loop.remove_signal_handler(signal.SIGINT)
            on_interrupt()
            run.stop()

        with suppress(NotImplementedError):  # event loops without signals
            loop.add_signal_handler(signal.SIGINT, interrupt)
        try:
            return await run.run()
        finally:
            with suppress(NotImplementedError):
                loop.remove_signal_handler(signal.SIGINT)
