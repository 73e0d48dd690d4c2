"""The kill matrix: which faults of the sandbox a check run of a plan catches, and by which rules.

    python -m rejoinder.conformance.proof.kill --plan full

The plan is sent in this process, without a network, to a sandbox with one fault after the other; requests of several
cases are in flight at once, as in a check run. A fault is killed when every rule that it surely breaks has fired; on
the clean variants of the sandbox nothing may fire at all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import click

from rejoinder.conformance.proof.matrix import (
    CLEAN,
    REQUIRED,
    SEARCHED,
    SandboxSetup,
    chosen_dialects,
    matrix_options,
    observe,
    spread,
)
from rejoinder.contract import load_rules
from rejoinder.model.verdict import Level
from rejoinder.sandbox import load_faults


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

    A fault runs in the dialect in which most of its rules are MUST, and only until all of its rules have fired. With
    several ``workers`` the runs are spread over processes.
    """
    jobs = [(plan, dialect, variant) for dialect in dialects for variant in CLEAN]
    for name in faults:
        wanted = [dialect for dialect in dialects if load_faults()[name].exists_in(dialect)]
        strongest = max(wanted, key=lambda dialect: _must_rules(name, dialect), default=None)
        jobs.extend([(plan, strongest, name)] if strongest else [])
    yield from spread(_row, jobs, workers)


def _must_rules(fault: str, dialect: str) -> int:
    rules = load_rules()
    return sum(rules[rule].level_in(dialect) is Level.MUST for rule in load_faults()[fault].breaks)


def _row(job: tuple[str, str, str]) -> KillRow:
    plan, dialect, name = job
    required = REQUIRED if plan == "full" else ()
    if name in CLEAN:
        breaks: tuple[str, ...] = ()
        seen = observe(SandboxSetup(plan, dialect, **CLEAN[name]), required=required)
    else:
        fault = load_faults()[name]
        breaks = fault.breaks
        # For rare faults a random search follows the plan where it is the whole one.
        search = SEARCHED if fault.rare and plan == "full" else 0
        seen = observe(SandboxSetup(plan, dialect, (name,), search=search), until=breaks, required=required)
    return KillRow(
        subject=name,
        dialect=dialect,
        clean=name in CLEAN,
        fired=tuple(sorted(seen.findings)),
        missed=tuple(rule for rule in breaks if rule not in seen.findings),
        errors=seen.errors,
        requests=seen.requests,
    )


@click.command("kill")
@matrix_options
@click.option("--fault", "pattern", default="*", metavar="GLOB", help="Only faults whose id matches.")
def command(plan: str, dialects: tuple[str, ...], pattern: str, folders: tuple[Path, ...], workers: int) -> None:
    """Print, for each fault of the sandbox, the rules that fired, and those that should have and did not."""
    chosen = chosen_dialects(dialects, folders)
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
