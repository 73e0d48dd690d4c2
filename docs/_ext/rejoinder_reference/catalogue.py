"""The contract: rules, dialects, features, and the faults and freedoms of the sandbox."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.resources import files
from typing import Any

import tomlkit
from tomlkit.items import Comment

from rejoinder import CATALOGUE_VERSION
from rejoinder.cli.rules import INTRODUCTION, rule_markdown
from rejoinder.contract import (
    DEFAULT_DIALECT,
    Dialect,
    dialect_names,
    documents_with_sentences,
    features_of,
    load_dialect,
    load_documents,
    load_families,
    load_features,
    load_parameters,
    load_rules,
    load_sentences,
)
from rejoinder.model.verdict import Level
from rejoinder.sandbox import FAULTS, FREEDOMS, SERVER_FAULTS
from rejoinder.sandbox.defects import DefectClass, classes_of, load_defects
from rejoinder.sandbox.fault import Fault
from rejoinder.sandbox.freedom import Freedom
from rejoinder.sandbox.freedoms import family_of
from rejoinder_reference import markdown as md


def pages() -> dict[str, str]:
    """Return the pages of rules (one for each family), dialects, features, faults and freedoms."""
    found = {
        "rules/index": _rule_index(),
        "dialects": _dialects(),
        "features": _features(),
        "parameters": _effects(),
        "defects": _defects(),
        "faults": _faults(),
        "freedoms": _freedoms(),
        "sentences": _sentences(),
    }
    for family, title in load_families().items():
        found[f"rules/{family.lower()}"] = _family(family, title)
    return found


def rule_link(rule: str, folder: str = "rules/") -> str:
    """Return a link to a rule from a page in ``docs/reference``."""
    return f"[{rule}]({folder}{rule.partition('-')[0].lower()}.md#{rule.lower()})"


def _anchor(name: str) -> str:
    return re.sub("[^a-z0-9-]", "-", name.lower())


def _link(kind: str, name: str) -> str:
    page = {"feature": "features", "fault": "faults"}[kind]
    return f"[`{name}`](../{page}.md#{kind}-{_anchor(name)})"


def _rule_index() -> str:
    rules = load_rules().values()
    lines = [
        f"rejoinder checks {len(rules)} rules. {INTRODUCTION}",
        "",
        f"The rule catalogue has version {CATALOGUE_VERSION}. `rejoinder rules ID` prints one rule in the terminal.",
        "",
    ]
    lines += md.toctree(family.lower() for family in load_families())
    for family, title in load_families().items():
        lines += [f"## {family}: {md.text(title)}", ""]
        rows = [
            (rule_link(rule.id, ""), md.text(rule.title), *(rule.level_in(name).value for name in dialect_names()))
            for rule in rules
            if rule.family == family
        ]
        lines += md.table(["rule", "requirement", *map(md.code, dialect_names())], rows)
    return md.page("Rules", *lines)


def _family(family: str, title: str) -> str:
    lines = []
    for rule in load_rules().values():
        if rule.family == family:
            lines += [f"({rule.id.lower()})=", *rule_markdown(rule, "##", _link), ""]
    return md.page(f"{family}: {md.text(title)}", *lines)


def _dialects() -> str:
    found = {name: load_dialect(name) for name in dialect_names()}
    head = ["", *map(md.code, found)]
    lines = [
        "A dialect is one published variant of the Responses API. `--dialect` takes one of these names or the path of "
        "a custom dialect file.",
        "",
    ]
    for name, dialect in found.items():
        lines += [f"(dialect-{name})=", f"## {name}", "", f"{md.text(dialect.title)}. {md.text(dialect.summary)}", ""]
        lines += [f"Sources: {md.text(dialect.source)}.", ""]
        if dialect.verified:
            lines += [f"Verified with {md.text(dialect.verified)}.", ""]
        if dialect.not_run:
            lines += [
                "Not run, because that version lacks it:",
                "",
                *(f"- {md.text(one)}" for one in dialect.not_run),
                "",
            ]
        if dialect.marks:
            lines += ["`--dialect auto` chooses it by:", "", *(f"- {md.text(mark.says)}" for mark in dialect.marks), ""]
    lines += ["## Parameters", "", "Checks read these parameters from the dialect file, table by table.", ""]
    for table, descriptions in _parameters().items():
        lines += [f"### {md.code(f'[{table}]')}", ""]
        for key, description in descriptions.items():
            lines += [f"**{md.code(key)}**", *([f"<br>{md.text(description)}"] if description else []), ""]
            values = {name: _value(getattr(dialect, table)[key]) for name, dialect in found.items()}
            if len(set(values.values())) == 1:
                lines += [f"- all dialects: {values[DEFAULT_DIALECT]}", ""]
            else:
                lines += [*(f"- {md.code(name)}: {value}" for name, value in values.items()), ""]
    lines += ["## What differs", ""]
    differences: Mapping[str, Callable[[Dialect], Collection[str]]] = {
        "Request fields": lambda one: one.parameters,
        "Item types": lambda one: one.item_types,
        "Stream events": lambda one: one.events,
        "Operations": lambda one: one.operations,
        "Features": lambda one: [feature.name for feature in features_of(one)],
    }
    for title, names in differences.items():
        held = {name: names(dialect) for name, dialect in found.items()}
        every = list(dict.fromkeys(one for name in held for one in sorted(held[name])))
        rows = [
            (md.code(one), *("✓" if one in held[name] else "–" for name in found))
            for one in every
            if not all(one in names for names in held.values())
        ]
        if rows:
            lines += [f"### {title}", "", *md.table(head, rows)]
    lines += ["### Levels of rules", ""]
    levels = [
        (f"{rule_link(rule.id)} {md.text(rule.title)}", *(rule.level_in(name).value for name in found))
        for rule in load_rules().values()
        if len({rule.level_in(name) for name in found}) > 1
    ]
    return md.page("Dialects", *lines, *md.table(["rule", *head[1:]], levels))


def _sentences() -> str:
    """Return the sentences of the specification texts with the rules that test them."""
    lines = [
        "These are the sentences of a specification's text that contain MUST, SHOULD or MAY, in their order and in "
        "rejoinder's words. Each has the rules that test it, or the reason why no rule does.",
        "",
    ]
    documents, catalogue = load_documents(), load_rules()
    for name in documents_with_sentences():
        document, sentences = documents[name], load_sentences(name)
        tested = sum(any(not catalogue[rule].unchecked for rule in one.rules) for one in sentences)
        lines += [
            f"## {md.text(document['name'])}",
            "",
            f"[{md.text(document['name'])}]({document['url']}), {md.text(document['revision'])}. "
            f"Rules test {tested} of the {len(sentences)} sentences.",
            "",
        ]
        rows = [
            (
                str(number),
                md.text(one.text),
                ", ".join(_tested_by(rule) for rule in one.rules) or "–",
                md.text(one.reason),
            )
            for number, one in enumerate(sentences, 1)
        ]
        lines += md.table(["", "sentence", "rules", "not tested"], rows)
    return md.page("Sentences of the specifications", *lines)


def _tested_by(rule: str) -> str:
    """Return a link to a rule; one that no check tests yet is marked."""
    return rule_link(rule) + (" (not tested)" if load_rules()[rule].unchecked else "")


def _value(value: Any) -> str:
    """Return the value of a parameter as TOML; of a list its elements."""
    if isinstance(value, list):
        return md.codes(map(str, value)) if value else "none"
    return md.code(tomlkit.item(value).as_string())


def _parameters() -> dict[str, dict[str, str]]:
    """Return the parameters of each table with what the comment above each says, from the default dialect's file."""
    file = files("rejoinder.contract").joinpath("dialects", f"{DEFAULT_DIALECT}.toml")
    document = tomlkit.parse(file.read_text("utf-8"))
    found: dict[str, dict[str, str]] = {}
    for name, table in document.items():
        if isinstance(table, tomlkit.items.Table) and name in ("stream", "response", "request"):
            comment: list[str] = []
            for key, item in table.value.body:
                if isinstance(item, Comment):
                    comment.append(item.as_string().strip().lstrip("# "))
                elif key is not None:
                    found.setdefault(name, {})[key.key] = " ".join(comment)
                    comment = []
    return found


def _features() -> str:
    lines = [
        "A feature is something that an endpoint may support. `rejoinder check --require` takes these names. A rule "
        "that needs a feature is not applicable when the endpoint refuses the feature.",
        "",
    ]
    dialects = {name: {one.name for one in features_of(load_dialect(name))} for name in dialect_names()}
    for feature in load_features().values():
        needed = [rule_link(rule.id) for rule in load_rules().values() if feature.name in rule.features]
        where = [name for name in dialects if feature.name in dialects[name]]
        lines += [f"(feature-{_anchor(feature.name)})=", f"## {feature.name}", "", f"{_sentence(feature.title)}", ""]
        lines += [f"- Dialects: {md.codes(where)}"]
        if feature.operation:
            lines += [f"- Operation: {md.code(feature.operation)}"]
        if feature.at:
            values = f", one of {md.codes(map(_json, feature.values))}" if feature.values else ""
            lines += [f"- In a request: {md.code(feature.at)}{values}"]
        if feature.shows:
            values = f", one of {md.codes(map(_json, feature.shown))}" if feature.shown else ""
            lines += [f"- Seen in a response: {md.code(feature.shows)}{values}"]
        lines += [f"- Rules that need it: {', '.join(needed) or 'none'}", ""]
    return md.page("Features", *lines)


def _effects() -> str:
    parameters = load_parameters()
    dialects = {name: load_dialect(name) for name in dialect_names()}

    def row(name: str) -> tuple[str, str, str, str]:
        known = parameters[name]
        where = [dialect for dialect, one in dialects.items() if name.partition(".")[0] in one.parameters]
        how = md.text(known.shown) if known.shown else f"Not visible. {md.text(known.unseen)}"
        return md.code(name), md.codes(where), how, ", ".join(map(rule_link, known.rules)) or "–"

    return md.page(
        "Effects of parameters",
        "An endpoint that accepts a parameter applies it, or its report shows that no effect was seen. This table "
        "lists how rejoinder shows the effect of each parameter of a create request, and why it cannot show some. "
        "Where an effect needs a model that varies, repeats itself or reasons, requests without the parameter show "
        "first that it does. If it does not, the verdict is *declined* and gives the reason.",
        "",
        *md.table(["Parameter", "Dialects", "How its effect is shown", "Rules"], map(row, parameters)),
    )


def _strongest(rule: str) -> Level:
    """Return the highest level that a rule has in any dialect."""
    levels = {load_rules()[rule].level_in(dialect) for dialect in dialect_names()}
    return next(level for level in Level if level in levels)


def _defects() -> str:
    def row(defect: DefectClass) -> tuple[str, str, str]:
        names = (*defect.faults, *defect.under_load)
        faults = ", ".join(f"[{name}](faults.md#fault-{_anchor(name)})" for name in names) or "–"
        broken = dict.fromkeys(rule for name in defect.faults for rule in FAULTS[name].breaks)
        rules = ", ".join(f"{rule_link(rule)} ({_strongest(rule)})" for rule in broken)
        seen = rules or ("`rejoinder load --probe-disconnects`" if defect.under_load else md.text(defect.reason))
        return md.text(defect.statement), faults, seen

    return md.page(
        "Real-world defects",
        "Classes of defects that people reported of servers. Each has the faults of the sandbox that model it, and the "
        "rules that find these faults, with the highest level that a dialect gives them. Where no rule can find a "
        "class, the table has the reason.",
        "",
        *md.table(["Defect", "Faults", "Found by"], map(row, load_defects().values())),
    )


def _json(value: object) -> str:
    return value if isinstance(value, str) else str(value).lower()


def _sentence(value: str) -> str:
    value = md.text(value)
    return f"{value[:1].upper()}{value[1:]}".rstrip(".") + "."


def _faults() -> str:
    lines = [
        f"The sandbox can be started with {len(FAULTS)} faults: `rejoinder sandbox --fault ID`. Each fault is one "
        "deliberate defect. It proves the rules that it breaks: `tox -e kill` runs every fault and compares the rules "
        "that fail with this page.",
        "",
    ]
    for family, title in load_families().items():
        here = [fault for fault in FAULTS.values() if fault.breaks[0].startswith(f"{family}-")]
        if here:
            lines += [f"## {family}: {md.text(title)}", ""]
            for fault in here:
                lines += _fault(fault)
    lines += [
        "## Faults of the server",
        "",
        "`rejoinder sandbox --server-fault ID` starts a server that mishandles clients. These faults show under load "
        "and in `rejoinder load --probe-disconnects`.",
        "",
    ]
    for name, title in SERVER_FAULTS.items():
        lines += [f"(fault-{_anchor(name)})=", f"### {name}", "", md.text(title), "", *_seen_as(name)]
    return md.page("Sandbox faults", *lines)


def _fault(fault: Fault) -> Iterator[str]:
    yield from (f"(fault-{_anchor(fault.id)})=", f"### {fault.id}", "", md.text(fault.title), "")
    yield f"- Breaks: {', '.join(map(rule_link, fault.breaks))}"
    if fault.condition:
        yield f"- Shows: {md.text(fault.condition)}"
    if fault.dialects:
        yield f"- Dialects: {md.codes(fault.dialects)}"
    yield from _seen_as(fault.id)
    yield ""


def _freedoms() -> str:
    lines = [
        f"The sandbox can be started with {len(FREEDOMS)} freedoms: `rejoinder sandbox --freedom ID`. Each freedom is "
        "one thing that a dialect leaves open. No MUST or SHOULD rule fails for it: `tox -e kill` runs every freedom "
        "alone and many together, and lists the rules that fail.",
        "",
    ]
    for family, title in load_families().items():
        here = [freedom for freedom in FREEDOMS.values() if family_of(freedom) == family]
        if here:
            lines += [f"## {family}: {md.text(title)}", ""]
            for freedom in here:
                lines += _freedom(freedom)
    return md.page("Sandbox freedoms", *lines)


def _freedom(freedom: Freedom) -> Iterator[str]:
    yield from (f"(freedom-{_anchor(freedom.id)})=", f"### {freedom.id}", "", md.text(freedom.title), "")
    if freedom.condition:
        yield f"- Shows: {md.text(freedom.condition)}"
    if freedom.dialects:
        yield f"- Dialects: {md.codes(freedom.dialects)}"
    for cited in freedom.sources:
        yield f"- Source: [{md.text(str(cited))}]({cited.url}), checked {cited.checked}"
    if freedom.argument:
        yield f"- Argument: {md.text(freedom.argument)}"
    excluded = [other.id for other in FREEDOMS.values() if other is not freedom and not freedom.allows(other)]
    if excluded:
        yield f"- Excludes: {', '.join(f'[{md.code(name)}](#freedom-{_anchor(name)})' for name in excluded)}"
    yield ""


def _seen_as(fault: str) -> Iterator[str]:
    for name in classes_of(fault):
        yield f"- Real-world defect: {md.text(load_defects()[name].statement)}"
