"""The kill matrix: which faults of the sandbox a check run of a plan catches, and by which rules.

    python -m rejoinder.conformance.proof.kill --plan full

The plan is sent in this process, without a network, to a sandbox with one fault after the other; requests of several
cases are in flight at once, as in a check run. A fault is killed when every rule that it surely breaks has fired; on
the clean variants of the sandbox nothing may fire at all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import click

from rejoinder.conformance.extending import use_extensions
from rejoinder.conformance.judgement import judge
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.fuzz import random_cases
from rejoinder.conformance.running.in_process import SECOND_KEY, ManualClock, run_in_process
from rejoinder.conformance.running.plan import PLAN_NAMES, Plan, build_plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Exchange
from rejoinder.model.verdict import Status, Verdict
from rejoinder.sandbox import Sandbox, load_faults
from rejoinder.wire.target import Target

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
"""Random cases that are sent after the plan for faults that are rare.

Hypothesis also draws constants of the code at hand, so how soon a fault shows changes with the code: leave room.
"""


@dataclass(frozen=True, slots=True)
class KillRow:
    """What one run showed.

    ``subject`` is the id of the fault or the name of the clean variant, ``fired`` the rules with findings, ``missed``
    those that the fault breaks and that did not fire. ``requests`` counts what was sent until all had fired.
    """

    subject: str
    dialect: str
    clean: bool
    fired: tuple[str, ...]
    missed: tuple[str, ...]
    errors: tuple[str, ...]
    requests: int

    @property
    def good(self) -> bool:
        """Whether the fault was killed, or the clean variant stayed silent, and no check broke."""
        return not self.errors and not (self.fired if self.clean else self.missed)


def kill_matrix(plan: str, dialects: Sequence[str], faults: Iterable[str], *, workers: int = 1) -> Iterator[KillRow]:
    """Run a plan against every clean variant in these dialects, then against every fault, and yield what was seen.

    A fault runs in the first of the dialects in which it is one, and only until all of its rules have fired. With
    several ``workers`` the runs are spread over processes.
    """
    jobs = [(plan, dialect, variant) for dialect in dialects for variant in CLEAN]
    for name in faults:
        wanted = [dialect for dialect in dialects if dialect in (load_faults()[name].dialects or dialects)]
        jobs.extend((plan, dialect, name) for dialect in wanted[:1])
    if workers == 1:
        yield from map(_row, jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(_row, jobs)


def _row(job: tuple[str, str, str]) -> KillRow:
    plan, dialect, subject = job
    variant = CLEAN.get(subject)
    breaks = () if variant is not None else load_faults()[subject].breaks
    model = (variant or {}).get("model")
    target = Target("http://sandbox/v1/responses", model, dialect=dialect, second_key=SECOND_KEY)
    clock = ManualClock()
    faults = () if variant is not None else (subject,)
    sandbox = Sandbox(dialect, faults, clock=clock, min_tokens=(variant or {}).get("min_tokens", 0))
    exchanges: list[Exchange] = []
    fired: set[str] = set()
    errors: set[str] = set()

    def look(verdicts: Iterable[Verdict]) -> None:
        fired.update(verdict.rule for verdict in verdicts if verdict.findings)
        errors.update(verdict.reason for verdict in verdicts if verdict.status is Status.ERROR)

    rare = variant is None and load_faults()[subject].rare
    for batch in run_in_process(_plan(plan, dialect, model, rare), sandbox, target, clock):
        exchanges += batch
        if variant is None:
            look(judge(batch, dialect))
            if fired.issuperset(breaks):
                break
    else:
        # Some rules look at the whole run.
        look(judge(exchanges, dialect, required=REQUIRED if plan == "full" else ()))
    return KillRow(
        subject=subject,
        dialect=dialect,
        clean=variant is not None,
        fired=tuple(sorted(fired)),
        missed=tuple(rule for rule in breaks if rule not in fired),
        errors=tuple(sorted(errors)),
        requests=len(exchanges),
    )


@cache
def _plan(name: str, dialect: str, model: str | None, rare: bool) -> Plan:
    """Return the plan; for rare faults a random search follows it where the plan is the whole one."""
    plan = build_plan(name, load_dialect(dialect), model=model)
    if not rare or name != "full":
        return plan
    cases = islice(random_cases(CaseContext(load_dialect(dialect), model), SEED), SEARCHED)
    return Plan(name, (*plan.cases, *cases))


@click.command("kill")
@click.option("--plan", type=click.Choice(PLAN_NAMES), default="full", show_default=True, help="What is sent.")
@click.option(
    "--dialect",
    "dialects",
    type=click.Choice(dialect_names()),
    multiple=True,
    help="Only this dialect; may be given more than once.",
)
@click.option("--fault", "pattern", default="*", metavar="GLOB", help="Only faults whose id matches.")
@click.option("--extension", "folders", type=click.Path(path_type=Path), multiple=True, help="An extension's folder.")
@click.option("--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, metavar="N")
def command(plan: str, dialects: tuple[str, ...], pattern: str, folders: tuple[Path, ...], workers: int) -> None:
    """Print, for each fault of the sandbox, the rules that fired, and those that should have and did not."""
    if folders:
        use_extensions(folders)
    chosen = dialects or tuple(dialect_names())
    rows: list[KillRow] = []
    matching = [name for name in load_faults() if fnmatchcase(name, pattern)]
    for row in kill_matrix(plan, chosen, matching, workers=workers):
        rows.append(row)
        click.echo(_line(row))
    faults = [row for row in rows if not row.clean]
    clean = [row for row in rows if row.clean]
    click.echo(
        f"{sum(row.good for row in faults)} of {len(faults)} faults killed, "
        f"{sum(row.good for row in clean)} of {len(clean)} clean variants silent"
    )
    sys.exit(0 if all(row.good for row in rows) else 1)


def _line(row: KillRow) -> str:
    outcome = "silent" if row.clean else "killed"
    if not row.good:
        outcome = "BROKEN" if row.errors else "LOUD" if row.clean else "ALIVE"
    breaks = () if row.clean else load_faults()[row.subject].breaks
    rules = [f"{rule}!" if rule in breaks else rule for rule in row.fired]
    rules += [f"not {rule}" for rule in row.missed]
    rules += row.errors
    return f"{outcome:8}{row.subject:44}{row.dialect:15}{row.requests:5}  {' '.join(rules)}".rstrip()


if __name__ == "__main__":
    command()
