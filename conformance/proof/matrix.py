"""What the matrices of faults and freedoms share: a plan sent to one sandbox in this process, and what fired."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import click

from rejoinder.conformance.extending import use_extensions
from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.plan_rules import cases_of
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.fuzz import random_cases
from rejoinder.conformance.running.in_process import (
    InProcessSender,
    ManualClock,
    learn_form,
    run_in_process,
    sandbox_target,
)
from rejoinder.conformance.running.isolate import ISOLATION_BUDGETS, isolate
from rejoinder.conformance.running.plan import PLAN_NAMES, Plan, build_plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.garbage import collect_rarely
from rejoinder.model.base_form import BaseForm
from rejoinder.model.exchange import Exchange
from rejoinder.model.verdict import Finding, Status, Verdict
from rejoinder.sandbox import Sandbox

Command = TypeVar("Command", bound=Callable[..., Any])
Job = TypeVar("Job")
Row = TypeVar("Row")

CLEAN: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "clean": {},
        "clean, model named": {"model": "parrot"},
        "clean, reasoning": {"model": "parrot-reasoning"},
        "clean, refusing": {"model": "parrot-refusal"},
        "clean, talkative": {"min_tokens": 120},
    }
)
"""The variants of the sandbox without faults: the model that is named, and settings of the sandbox."""

REQUIRED: Final = ("streaming", "images", "background")
"""Features that the sandbox must have; the plan full tries them all."""

SEED: Final = 7
SEARCHED: Final = 1500
"""Random cases that are sent after the plan for faults that are rare."""


@dataclass(frozen=True, slots=True)
class SandboxSetup:
    """One sandbox and what is sent to it: a plan, in a dialect, with a model or none.

    ``search`` is the number of random cases that follow the plan. With ``learns`` the base form of requests is learned
    first, as a check run does.
    """

    plan: str
    dialect: str
    faults: tuple[str, ...] = ()
    freedoms: tuple[str, ...] = ()
    model: str | None = None
    min_tokens: int = 0
    search: int = 0
    learns: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What a run showed: the first finding of each rule that fired, reasons of broken checks, requests sent."""

    findings: Mapping[str, Finding]
    errors: tuple[str, ...]
    requests: int


def matrix_options(command: Command) -> Command:
    """Add the options that all matrices have: ``plan``, ``dialects``, ``folders`` and ``workers``."""
    options = (
        click.option("--plan", type=click.Choice(PLAN_NAMES), default="full", show_default=True, help="What is sent."),
        click.option(
            "--dialect",
            "dialects",
            type=click.Choice(dialect_names()),
            multiple=True,
            help="Only this dialect. Can be given more than once.",
        ),
        click.option(
            "--extension", "folders", type=click.Path(path_type=Path), multiple=True, help="Extension folder."
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, 64),
            default=os.cpu_count() or 1,
            show_default=True,
            metavar="N",
            help="Processes.",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def chosen_dialects(dialects: Sequence[str], folders: Sequence[Path]) -> Sequence[str]:
    """Load the extensions in these folders, and return the dialects to run in: all if none is named."""
    if folders:
        use_extensions(folders)
    return dialects or dialect_names()


def observe(setup: SandboxSetup, *, until: Iterable[str] = (), required: Iterable[str] = ()) -> Seen:
    """Send the plan to the sandbox and return what fired.

    With ``until`` the run is over as soon as all of these rules have fired. The cases of the plan that test them at a
    correct endpoint (see ``plan_rules.toml``) are sent first, and the whole plan only if the rules have not fired then.
    ``required`` names features for CAP-01.
    """
    wanted, dialect = frozenset(until), load_dialect(setup.dialect)
    first = {case for rule in wanted for case in cases_of(rule, dialect, setup.plan)}
    if first:
        seen = _observed(setup, wanted, required, only=first)
        if wanted <= seen.findings.keys():
            return seen
    return _observed(setup, wanted, required)


def _observed(
    setup: SandboxSetup, wanted: frozenset[str], required: Iterable[str], *, only: Container[str] | None = None
) -> Seen:
    """Send the plan, or ``only`` these cases of it, to the sandbox and return what fired."""
    target = sandbox_target(setup.dialect, model=setup.model)
    clock = ManualClock()
    sandbox = Sandbox(setup.dialect, setup.faults, clock=clock, freedoms=setup.freedoms, min_tokens=setup.min_tokens)
    if setup.learns:
        # A sandbox of its own, since some freedoms count requests.
        learning = Sandbox(setup.dialect, setup.faults, clock=clock, freedoms=setup.freedoms)
        target = replace(target, form=asyncio.run(learn_form(learning, target)))
    exchanges: list[Exchange] = []
    findings: dict[str, Finding] = {}
    errors: set[str] = set()

    def look(verdicts: Iterable[Verdict]) -> None:
        for verdict in verdicts:
            if verdict.findings:
                findings.setdefault(verdict.rule, verdict.findings[0])
            if verdict.status is Status.ERROR:
                errors.add(verdict.reason)

    plan = _plan(setup.plan, setup.dialect, setup.model, setup.search, target.form)
    if only is not None:
        plan = Plan(plan.name, tuple(case for case in plan.cases if case.id in only))
    for batch in run_in_process(plan, sandbox, target, clock):
        exchanges += batch
        if wanted:
            look(judge(batch, setup.dialect))
            if wanted <= findings.keys():
                break
    else:
        if only is None:
            # Some rules look at the whole run, and some at what a run isolates.
            if not wanted <= findings.keys():
                sender = InProcessSender(sandbox, target, clock)
                budget = ISOLATION_BUDGETS[setup.plan]
                asyncio.run(isolate(sender, load_dialect(setup.dialect), setup.model, exchanges, budget))
                exchanges += sender.sent
            look(judge(exchanges, setup.dialect, required=required))
    return Seen(findings, tuple(sorted(errors)), len(exchanges))


def spread(work: Callable[[Job], Row], jobs: Iterable[Job], workers: int) -> Iterator[Row]:
    """Yield what the work makes of each job, in their order; with several ``workers`` spread over processes."""
    if workers == 1:
        yield from map(work, jobs)
        return
    with ProcessPoolExecutor(workers, initializer=collect_rarely) as pool:
        yield from pool.map(work, jobs)


@cache
def _plan(name: str, dialect: str, model: str | None, search: int, form: BaseForm) -> Plan:
    plan = build_plan(name, load_dialect(dialect), model=model, models=(model or "parrot",), form=form)
    cases = islice(random_cases(CaseContext(load_dialect(dialect), model), SEED), search) if search else ()
    return Plan(name, (*plan.cases, *cases))
