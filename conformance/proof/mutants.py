"""The score of a plan against generated mutants: which of the defects that operators make it catches.

    python -m rejoinder.conformance.proof.mutants --plan full --sample 500

A plan is sent once to the sandbox without faults. Operators (see :mod:`rejoinder.sandbox.mutants`) find in this run the
places at which they can be applied, and which of its exchanges can see the mutant there. Each mutant then goes through
up to three steps, until a rule of level MUST or SHOULD fails:

1. If it only changes replies, the recorded replies that it changes are checked once more, one by one.
2. The cases that can see it are sent to a sandbox with the mutant, and checked.
3. The whole plan is sent to a sandbox with the mutant, and checked as in a check run.

What survives all three is printed, with the reason that ``mutants.toml`` has for it.
"""

from __future__ import annotations

import asyncio
import random
import re
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Final

import click

from rejoinder.conformance.checks import checks_by_rule
from rejoinder.conformance.judgement import judge, judge_run, problems_by_rule
from rejoinder.conformance.judging.capabilities import capabilities
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.registry import Subject
from rejoinder.conformance.proof.matrix import spread
from rejoinder.conformance.running.in_process import (
    InProcessSender,
    ManualClock,
    run_in_process,
    sandbox_target,
)
from rejoinder.conformance.running.isolate import ISOLATION_BUDGETS, isolate
from rejoinder.conformance.running.plan import PLAN_NAMES, Plan, build_plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.formatting import plural
from rejoinder.model.exchange import Exchange, Headers
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level, Status, Verdict
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox.mutants import (
    OPERATORS,
    SEEN_AT,
    CleanRun,
    Places,
    SandboxMutant,
    find_mutant,
    is_schema_valid,
    rerecorded,
)
from rejoinder.wire.target import Target

FILE: Final = "mutants.toml"
"""The reasons why some mutants survive."""

SEED: Final = 18
CASES: Final = 8
"""With how many cases that can see a mutant it is tried before the whole plan is sent."""

_REQUIREMENT: Final = "CAP-01"
_NOW: Final = float(int(time.time()))
"""When cases are sent that can see a mutant."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why mutants survive that match a pattern, in which ``*`` stands for any text.

    ``kind`` is ``equivalent`` (nothing changes on the wire, or nothing that means anything), ``allowed`` (the dialect
    leaves it open), ``unseen`` (no client can tell) or ``gap`` (no rule catches it yet). With ``reported`` it is one
    only where the report names what is refused.
    """

    pattern: str
    kind: str
    why: str
    dialects: tuple[str, ...] = ()
    reported: bool = False

    def fits(self, identity: str, dialect: str) -> bool:
        """Return whether the reason is for a mutant in a dialect."""
        return (not self.dialects or dialect in self.dialects) and _pattern(self.pattern).fullmatch(
            identity
        ) is not None


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))))


@cache
def load_reasons() -> tuple[Reason, ...]:
    """Return the reasons why mutants survive."""
    rows = tomllib.loads(files("rejoinder.conformance.proof").joinpath(FILE).read_text("utf-8"))["reason"]
    return tuple(
        Reason(pattern, row["kind"], row["why"], tuple(row.get("dialects", ())))
        for row in rows
        for pattern in row["ids"]
    )


def reason_for(row: MutantRow) -> Reason | None:
    """Return why a mutant may survive, ``None`` without a reason."""
    fitting = (reason for reason in load_reasons() if reason.fits(row.id, row.dialect))
    return next((reason for reason in fitting if row.reported or not reason.reported), None)


@dataclass(frozen=True, slots=True)
class MutantJob:
    """One mutant to be tried with a plan in a dialect; ``seen_at`` are the numbers of exchanges that can see it."""

    plan: str
    dialect: str
    id: str
    seen_at: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MutantRow:
    """The outcome of one mutant.

    ``level`` is that of the strongest rule that failed, ``rule`` the first such rule; both are empty where none did.
    ``valid`` says that every reply that was seen is valid by the schemas of the dialect. ``requests`` counts the
    exchanges that were checked, ``step`` says in which step it ended. ``only_required`` says that it is caught by
    nothing but the requirement that the endpoint has a feature, ``reported`` that the report names what is refused,
    with the two requests that prove it. ``unchanged`` says that the sandbox sent the same bytes as without the mutant
    in every case that could see it: then it is no defect.
    """

    id: str
    dialect: str
    level: str
    rule: str
    valid: bool
    requests: int
    step: int
    only_required: bool = False
    reported: bool = False
    unchanged: bool = False

    @property
    def operator(self) -> str:
        """The operator that made it."""
        return self.id.partition(":")[0]

    @property
    def killed(self) -> bool:
        """Whether a rule of level MUST or SHOULD failed."""
        return self.level in (Level.MUST, Level.SHOULD)


@dataclass(frozen=True)
class RecordedPlan:
    """A plan, what the sandbox without faults made of it, and which features that showed."""

    plan: Plan
    clean: CleanRun
    features: tuple[str, ...]

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """The exchanges, in the order in which they were sent."""
        return self.clean.exchanges


@cache
def recorded(plan: str, dialect: str) -> RecordedPlan:
    """Send a plan to the sandbox without faults."""
    spec = load_dialect(dialect)
    target = sandbox_target(dialect, model=None)
    planned = build_plan(plan, spec, models=("parrot",), form=target.form)
    clock = ManualClock()
    batches = run_in_process(planned, Sandbox(dialect, clock=clock), target, clock)
    exchanges = [exchange for batch in batches for exchange in batch]
    shown = capabilities([ExchangeView(exchange, spec) for exchange in exchanges])
    features = tuple(name for name, known in shown.items() if known.state.is_accepted)
    return RecordedPlan(planned, CleanRun(spec, exchanges), features)


def mutant_jobs(
    plan: str, dialect: str, operators: str = "*", most: int | None = None, seed: int = SEED
) -> list[MutantJob]:
    """Return the mutants that operators make of a plan's run, at most ``most`` of each operator, drawn by the seed."""
    jobs = []
    for name in OPERATORS:
        if fnmatchcase(name, operators):
            places = list(_places(plan, dialect, name).items())
            if most is not None and len(places) > most:
                places = random.Random(f"{seed} {dialect} {name}").sample(places, most)
            jobs += [MutantJob(plan, dialect, f"{name}:{place}", tuple(seen)) for place, seen in places]
    return jobs


@cache
def _places(plan: str, dialect: str, operator: str) -> Places:
    return OPERATORS[operator].places(recorded(plan, dialect).clean)


def try_mutant(job: MutantJob) -> MutantRow:
    """Try one mutant in up to three steps."""
    trial = _Trial(job)
    row = trial.on_recording() if trial.mutant.of_reply else None
    return row or trial.on_cases() or trial.on_plan()


@dataclass
class _Trial:
    """One mutant under way."""

    job: MutantJob
    requests: int = 0
    valid: bool = True
    weak: str = ""
    _covered: bool = False
    _new: list[Exchange] = field(default_factory=list)
    _recording: RecordedPlan = field(init=False)

    def __post_init__(self) -> None:
        self._recording = recorded(self.job.plan, self.job.dialect)
        self.dialect = self._recording.clean.dialect

    @property
    def mutant(self) -> SandboxMutant:
        """A fresh mutant, without memory of replies."""
        return find_mutant(self.job.id, self.job.dialect)

    def on_recording(self) -> MutantRow | None:
        """Check the recorded replies that it changes, one by one."""
        mutant = self.mutant
        assert mutant.reply is not None
        weaker = ""
        for exchange in self._in_order():
            new = rerecorded(exchange, mutant.reply, self.dialect)
            if new.chunks == exchange.chunks and new.status == exchange.status and new.headers == exchange.headers:
                continue
            self.requests += 1
            self._look(new)
            for level in (Level.MUST, Level.SHOULD):
                found = problems_by_rule(new, self.dialect, level=level)
                if found and level is Level.MUST:
                    return self._row(level, next(iter(found)), 1)
                weaker = weaker or next(iter(found), "")
        return self._row(Level.SHOULD, weaker, 1) if weaker else None

    def _in_order(self) -> Iterator[Exchange]:
        """Yield the exchanges that see the mutant, each after the one before it, which it may take something from."""
        exchanges = self._recording.exchanges
        numbers = {number for seen in self.job.seen_at for number in (seen - 1, seen) if number >= 0}
        return (exchanges[number] for number in sorted(numbers))

    def on_cases(self) -> MutantRow | None:
        """Send the cases that see it, and check them by themselves."""
        exchanges = self._recording.exchanges
        names = list(dict.fromkeys(exchanges[number].case for number in self.job.seen_at))
        self._covered = len(names) < SEEN_AT
        names = names if self._covered else names[:CASES]
        self._new, *_ = self._sent(names)
        if self._covered and _replies(self._new) == _replies_without(self.job.plan, self.job.dialect, tuple(names)):
            return replace(self._row("", "", 2), unchanged=True)
        verdicts = judge(self._new, self.dialect)
        fired = [verdict for verdict in verdicts if verdict.findings]
        silent = _fired_without(self.job.plan, self.job.dialect, tuple(names)) if fired else frozenset()
        return self._worst([verdict for verdict in fired if verdict.rule not in silent], 2)

    def on_plan(self) -> MutantRow:
        """Send the whole plan, but for cases that were sent or cannot see the mutant, and check all of it."""
        own = self._new
        if self._covered:
            cases = {exchange.case for exchange in own}
            everything = [*(one for one in self._recording.exchanges if one.case not in cases), *own]
            sandbox, target, clock = self._sandbox()
        else:
            everything, sandbox, target, clock = self._sent(None)
            if _replies(everything) == _replies_without(self.job.plan, self.job.dialect, None):
                return replace(self._row("", "", 3), unchanged=True)
        narrowed: list[Exchange] = []
        if any(one.status is not None and one.status >= 400 and Tag.VALID in one.tags for one in everything):
            sender = InProcessSender(sandbox, target, clock)
            asyncio.run(isolate(sender, self.dialect, None, everything, ISOLATION_BUDGETS[self.job.plan]))
            narrowed = sender.sent
            self.requests += len(narrowed)
        # What did not change is silent as before, but for the rules on whole runs.
        select = ",".join(_rules_on_runs()) if self._covered else "*"
        features = self._recording.features
        verdicts, context = judge_run([*everything, *narrowed], self.dialect, select=select, required=features)
        row = self._worst([verdict for verdict in verdicts if verdict.findings], 3)
        if row is None and self._covered:
            context = replace(context, required=frozenset())
            verdicts = judge([*own, *narrowed], self.dialect, run_context=context)
            row = self._worst([verdict for verdict in verdicts if verdict.findings], 3)
        if row is not None:
            return row
        return replace(self._row(Level.MAY if self.weak else "", self.weak, 3), reported=bool(context.refusals))

    def _sandbox(self) -> tuple[Sandbox, Target, ManualClock]:
        clock = ManualClock(_NOW)
        # Ids are others than those of the recorded run, with which these exchanges are checked.
        sandbox = Sandbox(self.job.dialect, seed=1, variations=(self.mutant,), clock=clock)
        return sandbox, sandbox_target(self.job.dialect, model=None), clock

    def _sent(self, names: Container[str] | None) -> tuple[list[Exchange], Sandbox, Target, ManualClock]:
        """Send these cases of the plan, or all, to a sandbox with the mutant."""
        plan = self._recording.plan
        if names is not None:
            plan = Plan(plan.name, tuple(case for case in plan.cases if case.id in names))
        sandbox, target, clock = self._sandbox()
        exchanges = [exchange for batch in run_in_process(plan, sandbox, target, clock) for exchange in batch]
        self.requests += len(exchanges)
        for exchange in exchanges:
            self._look(exchange)
        return exchanges, sandbox, target, clock

    def _worst(self, fired: Iterable[Verdict], step: int) -> MutantRow | None:
        """Return the row of the strongest rule that fired, ``None`` if none of level MUST or SHOULD did."""
        required: MutantRow | None = None
        for status, level in ((Status.FAIL, Level.MUST), (Status.WARN, Level.SHOULD)):
            for verdict in fired:
                if verdict.status is status and verdict.rule != _REQUIREMENT:
                    return self._row(level, verdict.rule, step)
                if verdict.status is status:
                    required = self._row(level, verdict.rule, step)
        self.weak = self.weak or next((verdict.rule for verdict in fired if verdict.rule != _REQUIREMENT), "")
        return required

    def _look(self, exchange: Exchange) -> None:
        self.valid = self.valid and is_schema_valid(exchange, self.dialect)

    def _row(self, level: str, rule: str, step: int) -> MutantRow:
        job = self.job
        required = rule == _REQUIREMENT
        return MutantRow(job.id, job.dialect, str(level), rule, self.valid, self.requests, step, required)


@cache
def _rules_on_runs() -> tuple[str, ...]:
    """Return the rules with a check that looks at a whole run."""
    return tuple(rule for rule, checks in checks_by_rule().items() if any(one.subject is Subject.RUN for one in checks))


def _replies(exchanges: Iterable[Exchange]) -> list[tuple[str, int | None, Headers, bytes]]:
    return [(exchange.id, exchange.status, exchange.headers, exchange.body) for exchange in exchanges]


@cache
def _replies_without(
    plan: str, dialect: str, names: tuple[str, ...] | None
) -> list[tuple[str, int | None, Headers, bytes]]:
    """Return what the sandbox sends without the mutant in these cases of a plan, or in all of them."""
    cases = tuple(case for case in recorded(plan, dialect).plan.cases if names is None or case.id in names)
    clock = ManualClock(_NOW)
    sandbox, target = Sandbox(dialect, seed=1, clock=clock), sandbox_target(dialect, model=None)
    return _replies(one for batch in run_in_process(Plan(plan, cases), sandbox, target, clock) for one in batch)


@cache
def _fired_without(plan: str, dialect: str, names: tuple[str, ...]) -> frozenset[str]:
    """Return the rules that fail in these cases without the mutant, where only these cases are known."""
    recording = recorded(plan, dialect)
    exchanges = [exchange for exchange in recording.exchanges if exchange.case in names]
    return frozenset(verdict.rule for verdict in judge(exchanges, recording.clean.dialect) if verdict.findings)


@click.command("mutants")
@click.option("--plan", type=click.Choice(PLAN_NAMES), default="full", show_default=True, help="What is sent.")
@click.option(
    "--dialect",
    "dialects",
    type=click.Choice(dialect_names()),
    multiple=True,
    help="Only this dialect. Can be given more than once.",
)
@click.option("--operator", "operators", default="*", metavar="GLOB", help="Only operators whose name matches.")
@click.option(
    "--mutant", "pattern", default="*", metavar="PATTERN", help="Only mutants whose id matches; * is any text."
)
@click.option("--most", type=click.IntRange(1), metavar="N", help="At most N mutants of each operator and dialect.")
@click.option("--sample", type=click.IntRange(1), metavar="N", help="Draw N of all mutants.")
@click.option("--seed", type=int, default=SEED, show_default=True, metavar="N", help="Seed of what is drawn.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True, metavar="N", help="Processes.")
@click.option(
    "--least",
    type=click.FloatRange(0, 1),
    default=0.0,
    metavar="SHARE",
    help="Exit with 1 if a smaller share of the mutants is killed, or survives with a reason that is not a gap.",
)
@click.option("--list", "listing", is_flag=True, help="Print the ids of the mutants and try none.")
def command(
    plan: str,
    dialects: tuple[str, ...],
    operators: str,
    pattern: str,
    most: int | None,
    sample: int | None,
    seed: int,
    workers: int,
    least: float,
    listing: bool,
) -> None:
    """Print the score of a plan against generated mutants by operator, and each survivor with its reason."""
    chosen = dialects or dialect_names()
    jobs = [job for name in chosen for job in mutant_jobs(plan, name, operators, most, seed)]
    jobs = [job for job in jobs if _pattern(pattern).fullmatch(job.id)]
    if sample is not None and sample < len(jobs):
        jobs = random.Random(seed).sample(jobs, sample)
    if listing:
        for job in jobs:
            click.echo(f"{job.dialect:15}{job.id}")
        return
    rows: list[MutantRow] = []
    for row in spread(try_mutant, jobs, workers):
        rows.append(row)
        if not row.killed and not row.unchanged:
            click.echo(_line(row))
    click.echo()
    for line in table(rows):
        click.echo(line)
    defects = [row for row in rows if not row.unchanged]
    unexplained = [row for row in defects if not row.killed and not _is_argued(row)]
    click.echo(f"{plural(len(unexplained), 'survivor')} without a reason, or with a known gap")
    sys.exit(1 if len(defects) - len(unexplained) < least * len(defects) else 0)


def _is_argued(row: MutantRow) -> bool:
    """Return whether a reason says why a mutant survives, and that this is no gap."""
    reason = reason_for(row)
    return reason is not None and reason.kind != "gap"


def _line(row: MutantRow) -> str:
    reason = reason_for(row)
    why = "NO REASON" if reason is None else f"{reason.kind}: {reason.why}"
    weak = f" (informs: {row.rule})" if row.rule else ""
    weak += " (reported)" if row.reported else ""
    return f"ALIVE   {row.dialect:15}{row.id}{weak}  {why}"


def table(rows: Iterable[MutantRow]) -> Iterator[str]:
    """Yield the lines of the score by operator, and those of the sums."""
    counts: dict[str, Counter[str]] = {}
    for row in rows:
        for name in (row.operator, "all"):
            count = counts.setdefault(name, Counter())
            if row.unchanged:
                count["unchanged"] += 1
                continue
            count["mutants"] += 1
            count[row.level or "alive"] += 1
            count["valid"] += row.valid
            count["required"] += row.only_required
            count["requests of killed"] += row.requests if row.killed else 0
            count["killed"] += row.killed
            count["argued"] += not row.killed and _is_argued(row)
    order = [*(name for name in OPERATORS if name in counts), *(["all"] if counts else [])]
    yield (
        f"{'operator':20}{'unchanged':>10}{'mutants':>8}{'MUST':>7}{'SHOULD':>8}{'MAY':>6}{'alive':>7}{'argued':>8}{'killed':>9}"
        f"{'valid':>8}{'required':>10}{'requests':>10}"
    )
    for name in order:
        count = counts[name]
        share = count["killed"] / count["mutants"] if count["mutants"] else 1.0
        each = count["requests of killed"] / count["killed"] if count["killed"] else 0.0
        yield (
            f"{name:20}{count['unchanged']:>10}{count['mutants']:>8}{count['MUST']:>7}{count['SHOULD']:>8}{count['MAY']:>6}{count['alive']:>7}"
            f"{count['argued']:>8}{share:>9.2%}{count['valid']:>8}{count['required']:>10}{each:>10.1f}"
        )


if __name__ == "__main__":
    command()
