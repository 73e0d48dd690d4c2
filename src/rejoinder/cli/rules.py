"""``rejoinder rules``: the rule catalogue."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

import click

from rejoinder.cli._help import Argument, Page
from rejoinder.cli._terminal import echo
from rejoinder.contract import (
    DEFAULT_DIALECT,
    Follows,
    Rule,
    Within,
    dialect_names,
    dialect_summaries,
    features_of,
    load_dialect,
    load_families,
    load_rules,
)
from rejoinder.errors import UsageError, suggest
from rejoinder.formatting import join_list

Link = Callable[[str, str], str]
INTRODUCTION: Final = (
    "A rule keeps its id forever. A broken MUST rule fails the run, a broken SHOULD rule warns, and a broken MAY rule "
    "is reported for information. A rule with the level OFF is not tested in that dialect."
)


def _code(_: str, name: str) -> str:
    return f"`{name}`"


@click.command(
    "rules",
    cls=Page,
    examples=[
        ("List all rules.", "rejoinder rules"),
        ("List one family: the rules for streamed events.", "rejoinder rules EVT"),
        ("Explain one rule.", "rejoinder rules EVT-02"),
    ],
)
@click.argument(
    "rule",
    cls=Argument,
    metavar="[RULE]",
    required=False,
    description="Rule to explain, such as EVT-02, or family to list, such as EVT. Default: list all rules.",
)
@click.option(
    "--dialect",
    metavar="DIALECT",
    help="Show the levels of this dialect: a name from the list below, or a dialect file.",
)
@click.option("--markdown", is_flag=True, help="Print the reference of all rules as Markdown.")
@click.option("--dialects", is_flag=True, help="List the dialects and who uses each of them.")
@click.option("--features", is_flag=True, help="List the features that `rejoinder check --require` takes.")
def command(rule: str | None, dialect: str | None, markdown: bool, dialects: bool, features: bool) -> int:
    """List the rules, or explain one: its statement, its sources, how it is checked, and the faults that prove it."""
    rules = load_rules()
    spec = load_dialect(dialect) if dialect else None
    if markdown:
        echo(reference(), nl=False)
        return 0
    if dialects:
        for name, summary in dialect_summaries().items():
            echo(f"{name:<14} {summary}")
        return 0
    if features:
        for feature in features_of(spec or load_dialect(DEFAULT_DIALECT)):
            echo(f"{feature.name:<24} {feature.title}")
        return 0
    families = load_families()
    wanted = (rule or "").upper()
    if not wanted or wanted.rstrip("-") in families:
        for family, title in families.items():
            if wanted.rstrip("-") in ("", family):
                echo(f"{family}  {title}")
                for row in rules.values():
                    if row.family == family:
                        echo(f"  {row.id:<8} {(spec.level_of(row) if spec else row.level).value:<7} {row.title}")
        return 0
    family, _, number = wanted.partition("-")
    found = rules.get(f"{family}-{number.zfill(2)}")
    if found is None:
        known = [*rules, *families] if "-" in wanted else families
        raise UsageError(f'"{rule}" is not a rule or family.', suggest(wanted, known, "`rejoinder rules` lists them."))
    _explain(found)
    if spec and spec.name not in dialect_names():
        echo(f"  {'':<12} {spec.label}: {spec.level_of(found).value}")
    return 0


def reference() -> str:
    """Return every rule with all that is declared about it, as one page of Markdown."""
    rules = load_rules()
    lines = ["# Rules", "", INTRODUCTION]
    for family, title in load_families().items():
        lines += ["", f"## {family}: {title}"]
        for rule in rules.values():
            if rule.family == family:
                lines += ["", *rule_markdown(rule, "###")]
    return "\n".join(lines) + "\n"


def rule_markdown(rule: Rule, heading: str, link: Link = _code) -> list[str]:
    """Return a section about one rule, as lines of Markdown.

    ``heading`` is the mark of its heading, such as ``##``. ``link`` gets a kind (``feature`` or ``fault``) and a name,
    and returns the Markdown that shows the name.
    """
    lines = [f"{heading} {rule.id} {_plain(rule.title)}", "", _plain(rule.statement), ""]
    for label, text, url, rest in _facts(rule, link):
        lines.append(f"- {label}: {f'[{_plain(text)}]({url})' if url else _plain(text)}{rest}")
    return lines


def _plain(text: str) -> str:
    """Return text whose signs outside of code spans and links are no markup."""
    parts = re.split(r"(`+[^`]+`+|\[[^]]*\]\([^)]*\))", text)
    parts[::2] = [re.sub(r"([*<]|(?<!\w)_|_(?!\w))", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def _explain(rule: Rule) -> None:
    echo(f"{rule.id}  {rule.title}\n\n  {rule.statement}\n")
    for label, text, url, rest in _facts(rule):
        echo(f"  {label:<12} {text}{rest}")
        if url:
            echo(f"  {'':<12} {url}")


def _cause(cause: Follows) -> str:
    rules = join_list([cause.rule, *cause.also])
    places = [f"`{pointer}`" for pointer in (cause.cause_pointer, cause.pointer) if pointer != "*"]
    where = _WHERE.get(cause.within, f"in the same {cause.within.value}")
    return f"{rules} {where}" + (f" at {join_list(dict.fromkeys(places))}" if places else "")


_WHERE: Final = {Within.WORDS: "with the same words in a server error", Within.NULL: "with null in the same field"}


def _facts(rule: Rule, link: Link = lambda _, name: name) -> Iterator[tuple[str, str, str, str]]:
    """Yield what is declared about a rule: a label, a text, the address that the text links to, and what follows it."""
    from rejoinder.conformance.checks import checks_by_rule
    from rejoinder.sandbox import load_faults

    yield "Level", ", ".join(f"{name} {rule.level_in(name).value}" for name in dialect_names()), "", ""
    yield "Effect", f"{rule.effect.words}. {rule.effect.meaning}", "", ""
    if rule.follows:
        yield "Follows from", ", ".join(_cause(cause) for cause in rule.follows), "", ""
    if rule.features:
        yield "Features", ", ".join(link("feature", name) for name in rule.features), "", ""
    yield from (("Source", str(cited), cited.url, f", checked {cited.checked}") for cited in rule.sources)
    if rule.argument:
        yield "Argument", f"{rule.argument}{'' if rule.sources else ' No document states the rule.'}", "", ""
    yield from (("See also", str(cited), cited.url, f", checked {cited.checked}") for cited in rule.related)
    for label, readings in (("Breaks client", rule.breaks_client), ("Searched", rule.searched)):
        yield from ((label, str(read.source), read.source.url, f": {read.finding}") for read in readings)
    if rule.unchecked:
        yield "Not checked", rule.unchecked, "", ""
    if rule.takes:
        yield "Takes", rule.takes, "", ""
    for check in checks_by_rule()[rule.id]:
        yield "Checked on", f"{check.subject.value}. {check.doc}", "", ""
    faults = [link("fault", fault.id) for fault in load_faults().values() if rule.id in fault.breaks]
    if faults:
        yield "Proven by", f"the sandbox {'fault' if len(faults) == 1 else 'faults'} {', '.join(faults)}", "", ""
