"""The quietness matrix: no freedom of the sandbox, alone or combined with others, makes a rule fail.

    python -m rejoinder.conformance.proof.quiet --plan full

The plan is sent in this process, without a network, to a sandbox with one freedom after the other, in each dialect that
leaves it open, and then to sandboxes with random combinations of them. A rule of level MUST or SHOULD that fires is
wrong, or the freedom is.

The plan ``full`` takes a second for each sandbox. A freedom alone meets it in one of its dialects, and the plan
``quick`` in the others, unless ``--everywhere`` is given. Combinations, which have some hundred freedoms, always meet
the whole plan.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import click

from rejoinder.conformance.proof.clean_servers import drawn_servers
from rejoinder.conformance.proof.matrix import CLEAN, SandboxSetup, chosen_dialects, matrix_options, observe, spread
from rejoinder.formatting import plural
from rejoinder.model.verdict import Level
from rejoinder.sandbox import load_freedoms

_LOUD = (Level.MUST, Level.SHOULD)


@dataclass(frozen=True, slots=True)
class QuietRow:
    """What one run showed: the freedoms of the sandbox, and what fired with its level and its first message.

    ``drawn`` marks a random combination, ``plan`` is what was sent.
    """

    plan: str
    freedoms: tuple[str, ...]
    dialect: str
    drawn: bool
    fired: tuple[tuple[str, Level, str], ...]
    errors: tuple[str, ...]
    requests: int

    @property
    def loud(self) -> tuple[str, ...]:
        """The rules that fired though they must not."""
        return tuple(rule for rule, level, _ in self.fired if level in _LOUD)

    @property
    def good(self) -> bool:
        """Whether no rule of level MUST or SHOULD fired, and no check broke."""
        return not self.loud and not self.errors


def quiet_matrix(
    plan: str,
    dialects: Sequence[str],
    freedoms: Iterable[str],
    *,
    servers: int = 0,
    seed: int = 0,
    everywhere: bool = False,
    workers: int = 1,
) -> Iterator[QuietRow]:
    """Run a plan against every freedom in each of these dialects that has it, and yield what was seen.

    Unless ``everywhere``, the plan ``full`` is sent in one of the dialects of a freedom, another one for the next
    freedom, and the plan ``quick`` in the others. ``servers`` is the number of random combinations that follow in each
    dialect, drawn with ``seed``. With several ``workers`` the runs are spread over processes.
    """
    jobs = []
    for number, name in enumerate(freedoms):
        having = [dialect for dialect in dialects if load_freedoms()[name].exists_in(dialect)]
        for place, dialect in enumerate(having):
            whole = everywhere or plan != "full" or place == number % len(having)
            jobs.append((SandboxSetup(plan if whole else "quick", dialect, freedoms=(name,), learns=True), False))
    models = [variant.get("model") for variant in CLEAN.values()]
    for dialect in dialects:
        for number, names in enumerate(drawn_servers(dialect, servers, seed)):
            jobs.append(
                (SandboxSetup(plan, dialect, freedoms=names, model=models[number % len(models)], learns=True), True)
            )
    yield from spread(_row, jobs, workers)


def _row(job: tuple[SandboxSetup, bool]) -> QuietRow:
    subject, drawn = job
    try:
        seen = observe(subject)
    except Exception as error:  # a freedom that breaks the sandbox is reported in its row
        errors = (f"{type(error).__name__}: {error}",)
        return QuietRow(subject.plan, subject.freedoms, subject.dialect, drawn, (), errors, 0)
    fired = (
        (rule, found.level, f"{found.evidence.exchange}: {found.evidence.message}")
        for rule, found in sorted(seen.findings.items())
    )
    return QuietRow(subject.plan, subject.freedoms, subject.dialect, drawn, tuple(fired), seen.errors, seen.requests)


@click.command("quiet")
@matrix_options
@click.option("--freedom", "pattern", default="*", metavar="GLOB", help="Only freedoms whose id matches.")
@click.option(
    "--random",
    "servers",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Random combinations of freedoms in each dialect.",
)
@click.option("--seed", type=int, default=0, show_default=True, metavar="S", help="Seed of the random combinations.")
@click.option(
    "--everywhere",
    is_flag=True,
    help="Send plan full in every dialect of each freedom, not only in one of them and plan quick in the others.",
)
def command(
    plan: str,
    dialects: tuple[str, ...],
    pattern: str,
    servers: int,
    seed: int,
    everywhere: bool,
    folders: tuple[Path, ...],
    workers: int,
) -> None:
    """Print, for each freedom of the sandbox and each dialect that has it, the rules that fired."""
    chosen = chosen_dialects(dialects, folders)
    matching = [name for name in load_freedoms() if fnmatchcase(name, pattern)]
    rows: list[QuietRow] = []
    found = quiet_matrix(plan, chosen, matching, servers=servers, seed=seed, everywhere=everywhere, workers=workers)
    for row in found:
        rows.append(row)
        click.echo(_lines(row))
    alone = [row for row in rows if not row.drawn]
    pairs = plural(len(alone), "pair")
    click.echo(
        f"{sum(row.good for row in rows)} of {plural(len(rows), 'sandbox', 'sandboxes')} silent: "
        f"{plural(len(matching), 'freedom')} in {pairs} of freedom and dialect, "
        f"{plural(len(rows) - len(alone), 'random combination')}"
    )
    sys.exit(0 if all(row.good for row in rows) else 1)


def _lines(row: QuietRow) -> str:
    outcome = "silent" if row.good else "BROKEN" if row.errors else "LOUD"
    rules = [f"{rule}({level})" for rule, level, _ in row.fired]
    lines = [
        f"{outcome:8}{' + '.join(row.freedoms):44} {row.dialect:14}{row.plan:6}{row.requests:5}  "
        f"{' '.join([*rules, *row.errors])}".rstrip()
    ]
    lines += [f"        {rule} {message}" for rule, _, message in row.fired if rule in row.loud]
    return "\n".join(lines)


if __name__ == "__main__":
    command()
