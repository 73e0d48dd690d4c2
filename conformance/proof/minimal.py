"""The proof of minimal requests: each is valid, complete, shows its finding, and a correct endpoint passes it.

    python -m rejoinder.conformance.proof.minimal --plan quick --fault 'usage-*'

A plan is sent in this process to a sandbox with one fault after the other, and what fails is confirmed and minimised
as in a check run. What is wrong with the minimal requests is printed.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import count
from typing import Final

import click

from rejoinder.conformance.judgement import judge, judge_run
from rejoinder.conformance.running.case import PlannedCase
from rejoinder.conformance.running.confirm import ConfirmBudget, Judging, confirm
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target, send_in_process
from rejoinder.conformance.running.plan import PLAN_NAMES, build_plan
from rejoinder.conformance.running.replay import minimal_trial
from rejoinder.conformance.running.trial import Screen, bytes_of, fresh
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Exchange, parse_json
from rejoinder.model.tags import ON_PURPOSE, Tag
from rejoinder.model.verdict import Finding, Status, Verdict
from rejoinder.sandbox import Sandbox, load_faults
from rejoinder.wire.target import Target

BUDGET: Final = ConfirmBudget(2, failures=40, warnings=10, reduce=60, total=2000)
"""What confirming one fault's findings may cost; requests are free here."""

_PATH: Final = "/v1/responses"
_URL: Final = f"http://sandbox{_PATH}"
_MODEL: Final = "parrot"


@dataclass(slots=True)
class SandboxSender:
    """Sends cases to a sandbox in this process, as a check run sends them to an endpoint."""

    sandbox: Sandbox
    target: Target
    clock: ManualClock
    exchanges: list[Exchange] = field(default_factory=list)
    ended: bool = False
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def send(self, case: PlannedCase, *tags: str) -> list[Exchange]:
        """Send a case and return its exchanges, recorded under these tags as not to be judged."""
        sent = send_in_process(case, self.sandbox, self.target, self.clock)
        sent = [replace(exchange, id=f"x{next(self._numbers):04}") for exchange in sent]
        self.exchanges += [exchange.tagged(Tag.UNJUDGED, *tags) for exchange in sent]
        return sent


@dataclass(frozen=True, slots=True)
class MinimalRow:
    """One finding of a sandbox with a fault, and what is wrong with its minimal request, in words."""

    fault: str
    finding: Finding
    wrong: tuple[str, ...]


def prove(fault: str, dialect: str, plan: str) -> Iterator[MinimalRow]:
    """Run a plan against the sandbox with a fault, confirm what fails, and yield what showed every time."""
    contract = load_dialect(dialect)
    planned = build_plan(plan, contract, model=_MODEL)
    sender = _sender(dialect, (fault,))
    exchanges = [e for batch in run_in_process(planned, sender.sandbox, sender.target, sender.clock) for e in batch]
    exchanges = [replace(e, id=f"{n}:{e.id}") for n, e in enumerate(exchanges)]
    verdicts, run_context = judge_run(exchanges, contract)

    def judging(some: Sequence[Exchange], rules: str) -> list[Verdict]:
        return judge(some, contract, select=rules, run_context=run_context)

    cases = {case.id: case for case in planned.cases}
    asyncio.run(confirm(sender, sender.target, contract, cases, verdicts, exchanges, judging, BUDGET))
    by_id = {exchange.id: exchange for exchange in (*exchanges, *sender.exchanges)}
    for verdict in verdicts:
        for finding in verdict.findings:
            if verdict.status in (Status.FAIL, Status.WARN) and finding.reruns and finding.reruns.deterministic:
                yield MinimalRow(fault, finding, tuple(_wrong(finding, sender, by_id, judging)))


def _sender(dialect: str, faults: Iterable[str]) -> SandboxSender:
    clock = ManualClock()
    target = sandbox_target(dialect, model=_MODEL, url=_URL)
    return SandboxSender(Sandbox(dialect, tuple(faults), clock=clock), target, clock)


def _wrong(finding: Finding, faulty: SandboxSender, by_id: dict[str, Exchange], judging: Judging) -> Iterator[str]:
    minimal = finding.minimal
    trial = () if minimal is None else minimal_trial(minimal, by_id, _PATH, finding.cases)
    if minimal is None or not trial:
        yield "has no minimal request"
        return
    planned = {(n, request.role): request for n, case in enumerate(trial) for request in case.requests}
    on_purpose = any(tag in ON_PURPOSE for one in planned.values() for tag in one.tags)
    screen = Screen(faulty.target, load_dialect(faulty.target.dialect))
    if not minimal.reduced:
        return  # only invalid requests show it, and the rule has nothing to do with what is wrong with them
    sent_bodies = {request.role: bytes_of(request.body) for request in planned.values()}
    shown = by_id[minimal.exchange]
    for place, standing in screen.soundness(trial).items():
        tags, role = planned[place].tags, place[1]
        if Tag.VALID in tags and not standing.sound:
            yield f"{role} is not valid: {sorted(standing.faults)} {standing.refusal}"
        elif standing.faults and not standing.single and parse_json(sent_bodies[role]) is not None:
            yield f"{role} has several faults: {sorted(standing.faults)}"
        elif shown.role == role and shown.ok and not standing.taken and not on_purpose:
            yield f"{role} got {shown.status}, and the sandbox refuses it: {standing.refusal}"
    if minimal.fault and not on_purpose:
        yield f"has a fault: {minimal.fault}"
    for sender, wanted in ((faulty, True), (_sender(faulty.target.dialect, ()), False)):
        sent = [exchange for case in trial for exchange in asyncio.run(sender.send(fresh(case)))]
        marks = {found.fingerprint for verdict in judging(sent, finding.rule) for found in verdict.findings}
        if (finding.fingerprint in marks) is not wanted:
            yield "does not show it" if wanted else "a correct endpoint shows it too"


def _line(row: MinimalRow) -> str:
    minimal = row.finding.minimal
    size = "" if minimal is None else f"{minimal.requests} requests, {len(minimal.request.body)} bytes"
    return f"{row.fault:40} {row.finding.rule:8} {row.finding.fingerprint} {size:24} {'; '.join(row.wrong)}".rstrip()


@click.command("minimal")
@click.option("--plan", type=click.Choice(PLAN_NAMES), default="quick", show_default=True, help="What is sent.")
@click.option("--dialect", type=click.Choice(dialect_names()), help="Only this dialect.")
@click.option("--fault", "pattern", default="*", metavar="GLOB", help="Only faults whose id matches.")
@click.option("--all", "whole", is_flag=True, help="Print good rows, too.")
def command(plan: str, dialect: str | None, pattern: str, whole: bool) -> None:
    """Print the minimal requests of each fault that are not valid, not complete or no proof."""
    good = bad = 0
    for fault in load_faults().values():
        if fnmatchcase(fault.id, pattern):
            spoken = [name for name in dialect_names() if name in (fault.dialects or dialect_names())]
            if dialect is None or dialect in spoken:
                for row in prove(fault.id, dialect or spoken[0], plan):
                    good, bad = good + (not row.wrong), bad + bool(row.wrong)
                    if row.wrong or whole:
                        click.echo(_line(row))
    click.echo(f"{good} of {good + bad} minimal requests are valid, complete and proof")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    command()
