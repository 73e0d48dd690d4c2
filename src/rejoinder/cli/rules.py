"""``rejoinder rules``: the rule catalogue."""

from __future__ import annotations

import difflib

import click

from rejoinder.contract import (
    DEFAULT_DIALECT,
    FAMILIES,
    Rule,
    dialect_names,
    features_of,
    load_dialect,
    load_rules,
)
from rejoinder.errors import UsageError


@click.command("rules")
@click.argument("rule", metavar="[ID]", required=False)
@click.option("--dialect", type=click.Choice(dialect_names()), help="Show the levels of this dialect only.")
@click.option("--markdown", is_flag=True, help="Print the whole rule reference as Markdown.")
@click.option("--features", is_flag=True, help="List the features that `rejoinder check --require` knows.")
def command(rule: str | None, dialect: str | None, markdown: bool, features: bool) -> int:
    """List the rules, or explain one: what it says, its source, how it is checked and what proves the check."""
    rules = load_rules()
    if markdown:
        click.echo(reference(), nl=False)
        return 0
    if features:
        for feature in features_of(load_dialect(dialect or DEFAULT_DIALECT)):
            click.echo(f"{feature.name:<24} {feature.title}")
        return 0
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


def reference() -> str:
    """Return the rule reference (docs/rules.md): every rule with levels, source, check and proof, as Markdown."""
    from rejoinder.conformance.checks import checks_by_rule

    rules, checks = load_rules(), checks_by_rule()
    lines = [
        "# Rules",
        "",
        "Generated from the rule catalogue by `rejoinder rules --markdown`. A rule keeps its id for ever. Levels: MUST "
        "fails a run, SHOULD warns, MAY informs, OFF is not judged.",
    ]
    for family, title in FAMILIES.items():
        lines += ["", f"## {family}: {title}"]
        for rule in rules.values():
            if rule.family != family:
                continue
            levels = ", ".join(f"{name} {rule.level_in(name).value}" for name in dialect_names())
            lines += ["", f"### {rule.id} {rule.title}", "", rule.statement, "", f"- Level: {levels}"]
            lines.append(f"- Source: {rule.basis}")
            if rule.unchecked:
                lines.append(f"- Not checked: {rule.unchecked}")
            if rule.takes:
                lines.append(f"- Takes {rule.takes}")
            lines += [f"- Checked on {check.subject.value}: {check.doc}" for check in checks[rule.id]]
            faults = [f"`{name}`" for name in _faults_of(rule)]
            if faults:
                lines.append(f"- Proven by the sandbox {'fault' if len(faults) == 1 else 'faults'} {', '.join(faults)}")
    return "\n".join(lines) + "\n"


def _faults_of(rule: Rule) -> list[str]:
    from rejoinder.sandbox import FAULTS

    return [fault.id for fault in FAULTS.values() if rule.id in fault.breaks]


def _explain(rule: Rule) -> None:
    from rejoinder.conformance.checks import checks_by_rule

    click.echo(f"{rule.id}  {rule.title}\n")
    click.echo(f"  {rule.statement}\n")
    levels = ", ".join(f"{name} {rule.level_in(name).value}" for name in dialect_names())
    click.echo(f"  level      {levels}")
    click.echo(f"  source     {rule.basis}")
    if rule.unchecked:
        click.echo(f"  unchecked  {rule.unchecked}")
    if rule.takes:
        click.echo(f"  takes      {rule.takes}")
    for check in checks_by_rule()[rule.id]:
        click.echo(f"  checked    on {check.subject.value}: {check.doc}")
    for fault in _faults_of(rule):
        click.echo(f"  proven by  rejoinder sandbox --fault {fault}")
