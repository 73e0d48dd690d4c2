"""How many pairs of related requests a plan has, by relation and dialect, at an endpoint without faults.

python -m rejoinder.conformance.proof.relations --plan full
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.relations import comparable_pairs
from rejoinder.conformance.proof.matrix import chosen_dialects, matrix_options, spread
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import Aspect, load_dialect, load_relations
from rejoinder.sandbox import Sandbox

Counts = dict[str, dict[Aspect, int]]
"""How many pairs are compared, by the relation and by what is compared."""


def count_pairs(plan: str, dialect: str) -> Counts:
    """Return how many pairs of related requests the plan has at a sandbox without faults."""
    clock, spec = ManualClock(), load_dialect(dialect)
    batches = run_in_process(
        build_plan(plan, spec, models=("parrot",)), Sandbox(dialect, clock=clock), sandbox_target(dialect), clock
    )
    views = [ExchangeView(exchange, spec) for batch in batches for exchange in batch]
    cases: dict[str, list[ExchangeView]] = {"": views}
    for view in views:
        cases.setdefault(view.exchange.case, []).append(view)
    subjects = [CaseView(name, tuple(members)) for name, members in cases.items()]
    return {
        name: {
            aspect: sum(len(comparable_pairs(subject, relation, aspect)) for subject in subjects)
            for aspect in relation.rules
        }
        for name, relation in load_relations().items()
    }


def _row(job: tuple[str, str]) -> Counts:
    return count_pairs(*job)


@click.command("relations")
@matrix_options
def command(plan: str, dialects: tuple[str, ...], folders: tuple[Path, ...], workers: int) -> None:
    """Print how many pairs of related requests a plan has, by what is compared."""
    chosen: Sequence[str] = chosen_dialects(dialects, folders)
    click.echo(f"{'relation':16}{'compared':16}" + "".join(f"{dialect:>16}" for dialect in chosen))
    counts = list(spread(_row, [(plan, dialect) for dialect in chosen], workers))
    for name, relation in load_relations().items():
        for aspect in relation.rules:
            numbers = "".join(f"{found[name][aspect]:>16}" for found in counts)
            click.echo(f"{name:16}{aspect:16}{numbers}")


if __name__ == "__main__":
    command()
