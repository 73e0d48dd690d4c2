"""The rule catalogue: rows of data, one file per family.

A row of ``rules/<family>.toml`` holds everything that is declared about a rule::

    [[rule]]
    id = "LIF-01"
    title = "3 to 8 words in lower case"
    effect = "wrong_answer"              # what a failure does to a client: a value of rejoinder.model.effect.Effect
    loses_content_at = ["text"]          # the fields at which a failure means lost content: [] none; left out: any
    follows = ["LIF-05"]                 # the rules whose failure causes this one, see Follows; may be left out
    fields_are_places = true             # failures at several fields are one defect; may be left out
    statement = "One or two sentences as in a specification."
    level = "MUST"
    levels = { openai = "SHOULD" }       # the dialects whose level differs, and their heirs
    features = ["streaming"]             # the rule applies only to endpoints with all of these; [] for none
    sources = [{ document = "vllm", path = "...", section = "..." }]  # what says it: a document of documents.toml or
    # { name = "...", url = "https://...", section = "...", revision = "...", checked = 2026-11-27 }
    argument = "..."                     # why every correct endpoint complies; required without sources
    related = [...]                      # like sources: what describes the matter or reports the defect
    breaks_client = [{ document = "openai-python", section = "...", finding = "..." }]  # a client that fails, and how
    searched = [{ document = "vllm", section = "...", finding = "..." }]  # what was read for a level below MUST
    unchecked = "..."                    # why there is no check
    takes = "..."                        # what a run needs to test it, as a noun phrase

A rule is MUST in a dialect only if one of its sources speaks for that dialect (``speaks_for`` of the document), or if a
client of that dialect (``client_of`` of the document) breaks. For every other level, ``searched`` names the places of
the dialect's own documents that were read and what they say, so that a reader can check the level.
"""

from __future__ import annotations

import pkgutil
import re
import sys
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import date
from enum import StrEnum
from functools import cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from rejoinder.contract._features import load_features, shipped_features
from rejoinder.contract._source import dialect_family, dialect_names
from rejoinder.errors import ContractError, suggest
from rejoinder.extensions import MANIFEST, Extension, extensions
from rejoinder.input_file import parse_toml, read_text
from rejoinder.model.effect import Effect
from rejoinder.model.header import ExtensionRecord
from rejoinder.model.verdict import Level

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

FAMILIES: Final[Mapping[str, str]] = {
    "HTTP": "HTTP envelope",
    "SSE": "Event-stream framing",
    "EVT": "Event envelope",
    "LIF": "Response lifecycle",
    "ITM": "Output items",
    "PRT": "Content parts",
    "ACC": "Accumulation",
    "RSP": "Response object",
    "USG": "Usage",
    "ERR": "Errors",
    "REQ": "Valid and invalid requests",
    "REL": "Related requests",
    "ECH": "Request echo",
    "TOL": "Tools",
    "STA": "Stored responses",
    "MEM": "Input reaches the model",
    "PAR": "Parameters",
    "BGR": "Background, cancel and replay",
    "ISO": "Isolation of concurrent requests",
    "LIM": "Limits and compression",
    "CAP": "Required features",
    "WSP": "WebSocket transport",
}


def family_modules(package: str) -> list[ModuleType]:
    """Return the modules of an imported package that are named for families, in the order of :data:`FAMILIES`."""
    names = {module.name for module in pkgutil.iter_modules(sys.modules[package].__path__)}
    return [import_module(f"{package}.{family.lower()}") for family in FAMILIES if family.lower() in names]


@dataclass(frozen=True, slots=True)
class Citation:
    """Where a document says what a rule says.

    ``name`` is the document, ``section`` the heading, schema, test or function in it, ``revision`` the version, commit
    or date of the text behind ``url``, and ``checked`` the day on which somebody last read it there.
    """

    name: str
    url: str
    section: str
    revision: str
    checked: date

    def __str__(self) -> str:
        """Return the citation in one line, without its link."""
        return f"{self.name}, {self.section} ({self.revision})"


class Within(StrEnum):
    """Where the failures of two rules must meet for one to follow from the other, the closest first."""

    PLACE = "place"
    """In the same exchange at the same place: one pointer leads to the other or to a value inside."""
    EVENT = "event"
    """In the same exchange at the same event or a neighbouring one."""
    ITEM = "item"
    """In the same exchange at the same output item."""
    EXCHANGE = "exchange"
    """In the same exchange."""
    CASE = "case"
    """In the same case."""
    WORDS = "words"
    """In server errors with the same words of the endpoint, which say more than that an error occurred."""
    NULL = "null"
    """In requests that have null at the same place."""
    RUN = "run"
    """In the same run, in which both rules fail in every test."""


@dataclass(frozen=True, slots=True)
class Follows:
    """A rule whose failure causes the failure of another.

    In a row it is the id of the cause alone, or a table with more of these fields. A finding follows if one defect of
    the cause covers it: if each of its occurrences meets one of that defect, as ``within`` defines. ``pointer`` and
    ``kind`` are shell-style patterns that the finding must match, ``cause_pointer`` and ``cause_kind`` those of the
    cause's findings. Pointers are masked (array indexes as ``*``) and start in the response object, if they lead into
    one. A rule may follow from problems of its own that have another kind or place. ``also`` names rules that must
    fail in every test besides the cause, with ``within`` set to ``run``.
    """

    rule: str
    within: Within = Within.EXCHANGE
    pointer: str = "*"
    kind: str = "*"
    cause_pointer: str = "*"
    cause_kind: str = "*"
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """What somebody found at a place of a document: ``finding`` is one sentence about the text or code there."""

    source: Citation
    finding: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the catalogue.

    ``id`` is never reused or renumbered. ``title`` is a few words, ``statement`` one sentence. ``levels`` holds a level
    for each dialect that differs from ``level``. ``features`` names every feature without which the rule cannot be
    judged. ``sources`` are the documents that state it; ``argument`` says why any correct endpoint keeps it, for an
    invariant that none states; ``related`` are documents that describe the matter or report the defect without stating
    the rule. ``breaks_client`` names clients that fail if the rule is broken. ``searched`` is what was read in the
    documents of each dialect in which the level is below MUST. ``unchecked`` says why there is no check, else empty.
    ``takes`` says what a run must be given to judge it, else empty. ``effect`` is what a failure does to a client,
    ``follows`` names the rules whose failure causes it. ``fields_are_places`` makes failures of one kind at several
    fields one defect. ``loses_content_at`` names the
    fields at which a failure means that content of the response is lost or cannot be read: none of them, or ``None``
    for any; it matters where ``effect`` is urgent.
    """

    id: str
    title: str
    statement: str
    level: Level
    levels: Mapping[str, Level]
    features: tuple[str, ...]
    sources: tuple[Citation, ...] = ()
    argument: str = ""
    related: tuple[Citation, ...] = ()
    breaks_client: tuple[Reading, ...] = ()
    searched: tuple[Reading, ...] = ()
    unchecked: str = ""
    takes: str = ""
    effect: Effect = Effect.MISLEADING
    follows: tuple[Follows, ...] = ()
    fields_are_places: bool = False
    loses_content_at: tuple[str, ...] | None = None

    @property
    def family(self) -> str:
        """The part of the id before the hyphen."""
        return self.id.partition("-")[0]

    @property
    def basis(self) -> str:
        """What the rule rests on, in one line: its first source, or the argument where it has none."""
        return str(self.sources[0]) if self.sources else self.argument

    def level_in(self, dialect: str) -> Level:
        """Return the rule's level in the dialect of that name: its own, an inherited one, or ``level``."""
        return next((self.levels[name] for name in dialect_family(dialect) if name in self.levels), self.level)


def load_rules() -> Mapping[str, Rule]:
    """Return all rules by id, in catalogue order, those of extensions last.

    Raises :class:`ContractError` on a bad row.
    """
    return _load_rules(extensions())


@cache
def _shipped_rules() -> Mapping[str, Rule]:
    return read_rules(files("rejoinder.contract").joinpath("rules"), FAMILIES, shipped_features())


@cache
def _load_rules(used: tuple[Extension, ...]) -> Mapping[str, Rule]:
    rules = dict(_shipped_rules())
    for extension in used:
        for family in extension.families:
            if family in FAMILIES:
                raise extension.error(
                    MANIFEST, f"rejoinder has a family {family}", "Choose another prefix for the rules."
                )
        if extension.families:
            try:
                rules |= read_rules(extension.folder / "rules", extension.families, load_features())
            except ContractError as error:
                raise extension.error(str(extension.folder), error) from error
    for rule in rules.values():
        for cause in rule.follows:
            for name in (cause.rule, *cause.also):
                if name not in rules:
                    raise ContractError(
                        f"Rule {rule.id} follows from {name}, which is not a rule.", suggest(name, rules, "")
                    )
    return rules


def load_families() -> Mapping[str, str]:
    """Return the title of every rule family by its prefix, in catalogue order, those of extensions last."""
    return {**FAMILIES, **{prefix: title for found in extensions() for prefix, title in found.families.items()}}


def extension_records() -> list[dict[str, Any]]:
    """Return what a run file keeps of the extensions in use, so that reports can name their rules without them."""
    rules = load_rules().values()
    return [
        {
            "name": extension.name,
            "families": dict(extension.families),
            "rules": [msgspec.to_builtins(rule) for rule in rules if rule.family in extension.families],
        }
        for extension in extensions()
    ]


def read_catalogue(records: Iterable[ExtensionRecord]) -> tuple[Mapping[str, Rule], Mapping[str, str]]:
    """Return rules by id and family titles by prefix as a run file's header and this rejoinder know them.

    ``records`` is what the header says of extensions, which goes first; rules that cannot be read are left out. Raises
    :class:`ContractError` when the catalogue itself cannot be read.
    """
    rules, families = dict(load_rules()), dict(load_families())
    for record in records:
        families |= record.families
        for row in record.rules:
            with suppress(ValueError):
                rules[row.id] = msgspec.convert(msgspec.to_builtins(row), Rule)
    return rules, families


@cache
def load_documents() -> Mapping[str, Mapping[str, Any]]:
    """Return the documents of ``documents.toml`` by name: what a citation of one needs besides its section."""
    place = "documents.toml"
    raw = tomllib.loads(files("rejoinder.contract").joinpath(place).read_text("utf-8"))
    tables = {name: _Table(f"{place}: {name}", row, _DOCUMENT_KEYS) for name, row in raw.items()}
    for table in tables.values():
        for key in ("speaks_for", "client_of"):
            for dialect in table.raw.setdefault(key, []):
                table.one_of("dialect", dialect, dialect_names())
    return {name: {key: table.need(key) for key in _DOCUMENT_KEYS} for name, table in tables.items()}


def speaks_for(citation: Citation) -> frozenset[str]:
    """Return the dialects whose contract the cited document defines; empty for a document that defines none."""
    return _dialects_of(citation, "speaks_for")


def client_of(citation: Citation) -> frozenset[str]:
    """Return the dialects that the cited client was written for; empty for a document that is no client."""
    return _dialects_of(citation, "client_of")


def _dialects_of(citation: Citation, key: str) -> frozenset[str]:
    for document in load_documents().values():
        if citation.revision == document["revision"] and citation.url.startswith(document["url"]):
            return frozenset(document[key])
    return frozenset()


def read_rules(folder: Path | Traversable, families: Iterable[str], features: Collection[str]) -> Mapping[str, Rule]:
    """Return the rules in a folder by id, in the order of their families and rows.

    The folder holds one file ``<family>.toml`` for each of the families, named in small letters. ``features`` are the
    names of the features that rules may need. Raises :class:`ContractError`, which names file, rule and key, for a
    missing file, a file of no family, and a row that cannot be used.
    """
    names = {f"{family.lower()}.toml": family for family in families}
    try:
        there = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    except OSError as error:
        raise ContractError(f"Cannot read the rules folder {folder}: {error.strerror}.") from error
    for name in there:
        if name not in names:
            raise ContractError(
                f"{folder.name}/{name} has the name of no rule family.",
                suggest(name, names, f"Rename it: {_any_of(names)}."),
            )
    rules: dict[str, Rule] = {}
    for name, family in names.items():
        for rule in _rules_of(folder, name, family, features):
            if rule.id in rules:
                raise ContractError(f"{folder.name}/{name} has two rules {rule.id}.", "Give one another number.")
            rules[rule.id] = rule
    return rules


def _rules_of(folder: Path | Traversable, name: str, family: str, features: Collection[str]) -> Iterator[Rule]:
    file = f"{folder.name}/{name}"
    try:
        path = folder.joinpath(name)
        raw = parse_toml(read_text(path) if isinstance(path, Path) else path.read_text("utf-8"))
    except OSError as error:
        raise ContractError(f"Cannot read {file}, the rules of family {family}: {error.strerror}.") from error
    except ValueError as error:
        raise ContractError(f"{file} is not valid TOML: {error}.") from error
    rows = raw.pop("rule", None)
    if raw or not isinstance(rows, list) or not rows:
        raise ContractError(f"{file}: a rules file has only [[rule]] tables.")
    for place, row in enumerate(rows, 1):
        named = row.get("id") if isinstance(row, dict) else None
        yield _rule(_Table(f"{file}: rule {named or f'number {place}'}", row, _RULE_KEYS), family, features)


_RULE_KEYS: Final[Mapping[str, type]] = {
    "id": str,
    "title": str,
    "statement": str,
    "level": str,
    "levels": dict,
    "features": list,
    "sources": list,
    "argument": str,
    "related": list,
    "breaks_client": list,
    "searched": list,
    "unchecked": str,
    "takes": str,
    "effect": str,
    "follows": list,
    "fields_are_places": bool,
    "loses_content_at": list,
}
_CITATION_KEYS: Final[Mapping[str, type]] = {"name": str, "url": str, "section": str, "revision": str, "checked": date}
_DOCUMENT_KEYS: Final[Mapping[str, type]] = {
    "name": str,
    "url": str,
    "revision": str,
    "checked": date,
    "speaks_for": list,
    "client_of": list,
}
_KINDS: Final[Mapping[type, str]] = {
    str: "a text",
    dict: "a table",
    list: "a list",
    date: "a date",
    bool: "true or false",
}


class _Table:
    """A table of a rules file whose values are read by key; an error names the place, the key and what is wrong."""

    def __init__(self, place: str, raw: Any, keys: Mapping[str, type]) -> None:
        self.place = place
        if not isinstance(raw, dict):
            raise self.error("it must be a table")
        self.raw, self.keys = raw, keys
        for key, value in raw.items():
            if key not in keys:
                raise self.error(f"unknown key {key!r}", suggest(key, keys, f"Keys are {', '.join(keys)}."))
            if not isinstance(value, keys[key]):
                raise self.error(f"{key} must be {_KINDS[keys[key]]}")
            if value == "":
                raise self.error(f"{key} is empty", "Fill it in or leave it out.")

    def error(self, what: str, hint: str = "") -> ContractError:
        return ContractError(f"{self.place}: {what}.", hint)

    def need(self, key: str) -> Any:
        if key not in self.raw:
            raise self.error(f"{key} is missing")
        return self.raw[key]

    def one_of(self, what: str, name: Any, known: Iterable[str]) -> str:
        if not isinstance(name, str) or name not in known:
            raise self.error(f'"{name}" is not a known {what}', suggest(str(name), known, f"Use {_any_of(known)}."))
        return name


def _rule(table: _Table, family: str, features: Collection[str]) -> Rule:
    raw, levels = table.raw, [level.value for level in Level]
    if not re.fullmatch(rf"{re.escape(family)}-[0-9]{{2,}}", table.need("id")):
        raise table.error(f"ids of this file have the form {family}-01")
    needed = tuple(table.one_of("feature", name, features) for name in table.need("features"))
    if len(set(needed)) < len(needed):
        raise table.error("features lists a feature twice")
    rule = Rule(
        id=raw["id"],
        title=table.need("title"),
        statement=table.need("statement"),
        level=Level(table.one_of("level", table.need("level"), levels)),
        levels={
            table.one_of("dialect", dialect, dialect_names()): Level(table.one_of("level", level, levels))
            for dialect, level in raw.get("levels", {}).items()
        },
        features=needed,
        sources=tuple(_citation(table, source) for source in raw.get("sources", ())),
        argument=raw.get("argument", ""),
        related=tuple(_citation(table, source) for source in raw.get("related", ())),
        breaks_client=tuple(_reading(table, reading) for reading in raw.get("breaks_client", ())),
        searched=tuple(_reading(table, reading) for reading in raw.get("searched", ())),
        unchecked=raw.get("unchecked", ""),
        takes=raw.get("takes", ""),
        effect=Effect(table.one_of("effect", raw.get("effect", Effect.MISLEADING.value), list(Effect))),
        follows=tuple(_follows(table, cause) for cause in raw.get("follows", ())),
        fields_are_places=raw.get("fields_are_places", False),
        loses_content_at=_field_names(table, raw["loses_content_at"]) if "loses_content_at" in raw else None,
    )
    if not rule.sources and not rule.argument:
        raise table.error(
            "it has neither sources nor an argument",
            "Name the documents that state the rule, or why every correct endpoint follows it.",
        )
    return rule


def _field_names(rule: _Table, raw: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(name, str) and name for name in raw):
        raise rule.error("loses_content_at is not a list of field names")
    return tuple(raw)


def _follows(rule: _Table, raw: Any) -> Follows:
    row = {"rule": raw} if isinstance(raw, str) else raw
    table = _Table(f"{rule.place}, a cause", row, {field.name: str for field in fields(Follows)} | {"also": list})
    place = table.one_of("place", table.raw.get("within", Within.EXCHANGE.value), list(Within))
    if table.need("rule") == rule.raw["id"] and not {"cause_kind", "cause_pointer"}.intersection(table.raw):
        raise table.error("a rule cannot follow from itself", "Limit it with cause_kind or cause_pointer.")
    return Follows(**{**table.raw, "within": Within(place), "also": tuple(table.raw.get("also", ()))})


def _citation(rule: _Table, raw: Any) -> Citation:
    place = f"{rule.place}, a source"
    if isinstance(raw, dict) and "document" in raw:
        table = _Table(place, raw, {"document": str, "path": str, "section": str})
        name = table.one_of("document", raw["document"], load_documents())
        return cite(name, table.need("section"), raw.get("path", ""))
    table = _Table(place, raw, _CITATION_KEYS)
    citation = Citation(**{key: table.need(key) for key in _CITATION_KEYS})
    if not re.match(r"https://[^\s/]+/", citation.url):
        raise table.error(f"url is not a link: {citation.url!r}", "Give the whole address with https://.")
    return citation


def _reading(rule: _Table, raw: Any) -> Reading:
    finding = raw.get("finding") if isinstance(raw, dict) else None
    if not isinstance(finding, str) or not finding:
        raise rule.error("a place of breaks_client or searched has no finding", "Add what its text or code says.")
    return Reading(_citation(rule, {key: value for key, value in raw.items() if key != "finding"}), finding)


def cite(document: str, section: str, path: str = "") -> Citation:
    """Return the citation of a section of a document of ``documents.toml``; ``path`` is added to its address."""
    known = load_documents()[document]
    # Where the document is a folder of files, the file's name tells which one is meant.
    file = re.split("[?#]", path)[0].rpartition("/")[2] if known["url"].endswith("/") else ""
    name = f"{known['name']}, {file}" if file else known["name"]
    return Citation(
        name=name,
        url=known["url"] + path,
        section=section,
        revision=known["revision"],
        checked=known["checked"],
    )


def _any_of(names: Iterable[str]) -> str:
    return f"one of {', '.join(names)}"
