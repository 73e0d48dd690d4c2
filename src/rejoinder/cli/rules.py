"""``rejoinder rules``: the rule catalogue."""

from __future__ import annotations

import difflib

import click

from rejoinder.contract import FAMILIES, Rule, dialect_names, load_rules
from rejoinder.errors import UsageError


@click.command("rules")
@click.argument("rule", metavar="[ID]", required=False)
@click.option("--dialect", type=click.Choice(dialect_names()), help="Show the levels of this dialect only.")
def command(rule: str | None, dialect: str | None) -> int:
    """List the rules, or explain one: what it says, its source, how it is checked and what proves the check."""
    rules = load_rules()
    if rule is None:
        for family, title in FAMILIES.items():
            click.echo(f"{family}  {title}")
            for row in rules.values():
                if row.family == family:
                    click.echo(f"  {row.id:<8} {_level(row, dialect):<7} {row.title}")
        return 0
    family, _, number = rule.upper().partition("-")
    found = rules.get(f"{family}-{number.zfill(2)}")
    if found is None:
        close = difflib.get_close_matches(rule.upper(), rules, n=1)
        raise UsageError(
            f"There is no rule {rule!r}.", f"Did you mean {close[0]}?" if close else "`rejoinder rules` lists them."
        )
    _explain(found)
    return 0


def _level(rule: Rule, dialect: str | None) -> str:
    return (rule.level_in(dialect) if dialect else rule.level).value


def _explain(rule: Rule) -> None:
    from rejoinder.conformance.registry import checks_by_rule
    from rejoinder.sandbox import FAULTS

    click.echo(f"{rule.id}  {rule.title}\n")
    click.echo(f"  {rule.statement}\n")
    levels = ", ".join(f"{name} {rule.level_in(name).value}" for name in dialect_names())
    click.echo(f"  level      {levels}")
    click.echo(f"  source     {rule.source}")
    if rule.unchecked:
        click.echo(f"  unchecked  {rule.unchecked}")
    for check in checks_by_rule()[rule.id]:
        click.echo(f"  checked    on {check.on.value}: {check.doc}")
    for fault in FAULTS.values():
        if rule.id in fault.breaks:
            click.echo(f"  proven by  rejoinder sandbox --fault {fault.id}")
