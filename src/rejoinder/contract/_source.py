"""Reading dialect files: the shipped ones by name, custom ones by path.

A dialect file is TOML, or JSON of the same structure. It stands on another one (``base``, the default dialect when it
says nothing), and has:

``name``, ``title``, ``source``
    what it is and where its facts come from. A custom file must have a name that no shipped dialect has. The title
    is a short noun phrase, which stands in parentheses behind the name wherever people meet it.
``summary``, ``aliases``
    one line that says who chooses it, and names that people try instead.
``base``
    the name of the shipped dialect that it is based on.
``inherits_rules``
    whether the rows of rules, faults and freedoms for the base apply where there are none for this dialect. A custom
    dialect always inherits them.
``[[mark]]``
    what endpoints of the dialect show of themselves, for ``--dialect auto``: ``at``, a JSON pointer into what an
    endpoint sent (``/headers/NAME``, ``/version``, ``/models``, ``/response``), ``matches``, a regular expression for
    the value there (any value without it), and ``says``, the fact in words.
``verified``, ``not_run``
    the product and version that the dialect was checked against, and what of the dialect that version lacks.
``[stream]``, ``[response]``, ``[request]``
    parameters, table by table on top of the base's; the default dialect's file has and describes all of them.
``[levels]``
    ``"RULE" = "LEVEL"``: the level of a rule where it is not that of the base. A pattern such as ``"WSP-*"`` stands for
    several rules; of two that fit, the later one counts.
``[freedoms]``
    ``add`` and ``remove``: lists of freedoms of the sandbox (ids or patterns) that the dialect leaves open beyond those
    of its base, or decides.
``[schemas]``
    ``NAME = "FILE"``: a whole JSON Schema in place of the base's schema of that name. The path is relative to the
    dialect file and stays below its folder. The base's overlays on that schema do not apply; the dialect's own does.
``[overlay.NAME]``
    what differs in the schema of that name; the format is described in ``_overlay.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any, Final

from rejoinder.contract._overlay import SCHEMAS
from rejoinder.contract._vocabulary import fail
from rejoinder.contract.exclusions import Exclusion, read_exclusions
from rejoinder.errors import ContractError
from rejoinder.formatting import one_line
from rejoinder.input_file import parse_json_file, parse_toml, read_text
from rejoinder.model.verdict import Level
from rejoinder.validation import escape_key

DEFAULT_DIALECT: Final = "northstar"
TABLES: Final = ("stream", "response", "request")
_TEXTS: Final = ("name", "title", "summary", "source", "verified")
_LISTS: Final = ("aliases", "not_run")
_OWN: Final = ("levels", "freedoms")


@dataclass(frozen=True, slots=True)
class Mark:
    """What endpoints of a dialect show of themselves; see ``[[mark]]`` above."""

    at: str
    says: str
    matches: str = ""


@dataclass(frozen=True, eq=False)
class Source:
    """A dialect file on top of its bases; the same object as long as the file says the same.

    ``lineage`` names the dialect and those it stands on, nearest first; ``family`` those of them whose rows of rules,
    faults and freedoms apply here. ``parameters`` holds the merged tables; ``schemas`` the whole schemas that stand in
    place of the contract's, each with its file, and ``replaced`` the names of those that this file brings; ``base`` the
    dialect that it is based on; ``overlays`` the overlay tables with the file that each is from, outermost base first;
    ``exclusions`` what the parameter ``exclusive`` lists; ``levels`` those of rules by id or pattern, the base's first;
    ``freedoms`` the lists ``add`` and ``remove``.
    """

    name: str
    title: str
    summary: str
    aliases: tuple[str, ...]
    source: str
    file: str

    @property
    def label(self) -> str:
        """The name with the title behind it, such as ``northstar (vLLM-style Responses API)``."""
        return f"{self.name} ({self.title})" if self.title != self.name else self.name

    lineage: tuple[str, ...]
    family: tuple[str, ...]
    verified: str
    not_run: tuple[str, ...]
    marks: tuple[Mark, ...]
    parameters: Mapping[str, Mapping[str, Any]]
    exclusions: tuple[Exclusion, ...]
    schemas: Mapping[str, tuple[str, Mapping[str, Any]]]
    replaced: frozenset[str]
    base: Source | None
    overlays: tuple[tuple[str, Mapping[str, Any]], ...]
    levels: Mapping[str, Level]
    freedoms: Mapping[str, tuple[str, ...]]


def dialect_names() -> list[str]:
    """Return the names of the shipped dialects, the default first."""
    names = sorted(
        entry.name.removesuffix(".toml")
        for entry in files("rejoinder.contract").joinpath("dialects").iterdir()
        if entry.name.endswith(".toml")
    )
    return [DEFAULT_DIALECT, *(name for name in names if name != DEFAULT_DIALECT)]


def dialect_summaries() -> dict[str, str]:
    """Return one line for each shipped dialect, the default first: its title, and who chooses it."""
    found = {name: _shipped(name) for name in dialect_names()}
    return {name: f"{source.title}. {source.summary}" for name, source in found.items()}


def dialect_label(dialect: str) -> str:
    """Return what people read for a dialect: its name with its title behind it.

    ``dialect`` is what a run file holds: the name of a shipped dialect, or the path of a custom one. A custom dialect,
    whose file may be elsewhere, and an unknown one are shown as they are.
    """
    return _shipped(dialect).label if dialect in dialect_names() else dialect


def dialect_family(dialect: str) -> tuple[str, ...]:
    """Return the dialects whose rows of rules, faults and freedoms apply in the one of that name, nearest first.

    It starts with the dialect itself. An unknown name stands alone.
    """
    return _shipped(dialect).family if dialect in dialect_names() else (dialect,)


def read(dialect: str | Path = DEFAULT_DIALECT) -> Source:
    """Return the shipped dialect of that name or the dialect in that file.

    A string that ends in ``.toml`` or ``.json`` is a file. Raises :class:`~rejoinder.errors.ContractError`.
    """
    if isinstance(dialect, str) and not dialect.endswith((".toml", ".json")):
        return _shipped(dialect)
    path = Path(dialect)
    text = _text(path, "dialect", "Check the path given to --dialect.")
    own = {}
    for name, file in _schema_files(str(path), text).items():
        hint = f"{path} names it in [schemas]. Paths there are relative to the dialect file."
        own[name] = (str(path.parent / file), _text(path.parent / file, "schema", hint))
    return parse(str(path), text, tuple((name, *found) for name, found in own.items()))


def _text(path: Path, what: str, hint: str) -> str:
    try:
        return read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ContractError(f"Cannot read the {what} file {path}: {reason}.", hint) from error


@cache
def _shipped(name: str) -> Source:
    if name not in dialect_names():
        raise ContractError(f'"{name}" is not a dialect.', _suggestion(name))
    folder = files("rejoinder.contract").joinpath("dialects")
    file, text = f"dialects/{name}.toml", folder.joinpath(f"{name}.toml").read_text("utf-8")
    own = _schema_files(file, text)
    return parse(
        file,
        text,
        tuple((key, f"dialects/{path}", folder.joinpath(path).read_text("utf-8")) for key, path in own.items()),
    )


def _suggestion(name: str) -> str:
    """Return the hint for a name that no dialect has: the dialect that was probably meant, or all of them."""
    found = [_shipped(known) for known in dialect_names()]
    word = name.casefold()
    words = {alias: source for source in found for alias in (source.name, *source.aliases)}
    near = next((alias for alias in words if alias in word), "") or next(iter(get_close_matches(word, words, 1)), "")
    if near:
        return f"Did you mean {words[near].label}?"
    labels = [source.label for source in found]
    return f"Use {', '.join(labels[:-1])} or {labels[-1]}, or the path of a dialect file (.toml or .json)."


@cache
def _raw(file: str, text: str) -> Mapping[str, Any]:
    kind = "JSON" if file.endswith(".json") else "TOML"
    try:
        raw = parse_json_file(text) if kind == "JSON" else parse_toml(text)
    except ValueError as error:
        raise ContractError(f"{file} is not valid {kind}: {one_line(str(error))}.", "Correct the file.") from error
    if not isinstance(raw, dict):
        raise fail(file, "", "dialect", "the file must hold one object")
    return raw


def _schema_files(file: str, text: str) -> Mapping[str, str]:
    """Return the table of whole schemas of a dialect file: names of schemas with the paths of their files."""
    table = _raw(file, text).get("schemas", {})
    if not isinstance(table, dict):
        raise fail(file, "/schemas", "schemas", "it must be a table")
    for name, path in table.items():
        if name not in SCHEMAS:
            raise fail(file, f"/schemas/{name}", name, f"it must be one of {', '.join(SCHEMAS)}")
        if not isinstance(path, str) or not path.endswith(".json"):
            raise fail(file, f"/schemas/{name}", name, "it must be the path of a .json file")
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts or "\\" in path:
            raise fail(file, f"/schemas/{name}", name, "the path must stay below the folder of the dialect file")
    return table


@cache
def parse(file: str, text: str, schema_files: tuple[tuple[str, str, str], ...] = ()) -> Source:
    raw = _raw(file, text)
    for key in raw:
        if key not in (*_TEXTS, *_LISTS, *TABLES, "base", "inherits_rules", "mark", *_OWN, "schemas", "overlay"):
            raise fail(file, f"/{key}", key, "a dialect file has no such key")
    for key in (*_TEXTS, "base"):
        if key in raw and (not isinstance(raw[key], str) or not raw[key]):
            raise fail(file, f"/{key}", key, "it must be a non-empty string")
    for key in _LISTS:
        words = raw.get(key, [])
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise fail(file, f"/{key}", key, "it must be a list of strings")
    name = str(raw.get("name", ""))
    if not re.fullmatch(r"[a-z][a-z0-9._-]*", name):
        raise fail(file, "/name", "name", "a name starts with a lower-case letter and holds a-z, 0-9, '.', '_', '-'")
    if name in dialect_names() and file != f"dialects/{name}.toml":
        raise fail(file, "/name", "name", f'"{name}" is the name of a shipped dialect')
    base = None if file == f"dialects/{DEFAULT_DIALECT}.toml" else _base(file, raw)
    overlays = raw.get("overlay", {})
    if not isinstance(overlays, dict):
        raise fail(file, "/overlay", "overlay", "it must be a table")
    for key, overlay in overlays.items():
        if key not in SCHEMAS or not isinstance(overlay, dict):
            raise fail(file, f"/overlay/{key}", key, f"it must be a table, one of {', '.join(SCHEMAS)}")
    schemas = {key: (path, _schema(path, content)) for key, path, content in schema_files}
    parameters = {table: _table(file, table, raw, base) for table in TABLES}
    return Source(
        name=name,
        title=str(raw.get("title", name)),
        summary=str(raw.get("summary", "")),
        aliases=tuple(raw.get("aliases", ())),
        source=str(raw.get("source", file)),
        file=file,
        lineage=(name, *(base.lineage if base else ())),
        family=(name, *(base.family if base and _inherits(file, name, raw) else ())),
        verified=str(raw.get("verified", "")),
        not_run=tuple(raw.get("not_run", ())),
        marks=tuple(_marks(file, raw)),
        parameters=parameters,
        exclusions=read_exclusions(parameters["request"]["exclusive"], file),
        schemas={**(base.schemas if base else {}), **schemas},
        replaced=frozenset(schemas),
        base=base,
        overlays=(*_without(base.overlays if base else (), schemas), (file, overlays)),
        levels={**(base.levels if base else {}), **_levels(file, raw)},
        freedoms=_freedoms(file, raw, base),
    )


def _levels(file: str, raw: Mapping[str, Any]) -> dict[str, Level]:
    table = raw.get("levels", {})
    if not isinstance(table, dict):
        raise fail(file, "/levels", "levels", "it must be a table")
    known = [level.value for level in Level]
    for rule, level in table.items():
        if level not in known:
            what = f"{level!r} is not a level; levels are {', '.join(known)}"
            raise fail(file, f"/levels/{escape_key(rule)}", rule, what)
    return {rule: Level(level) for rule, level in table.items()}


def _freedoms(file: str, raw: Mapping[str, Any], base: Source | None) -> Mapping[str, tuple[str, ...]]:
    table = raw.get("freedoms", {})
    if not isinstance(table, dict):
        raise fail(file, "/freedoms", "freedoms", "it must be a table")
    found = {key: base.freedoms[key] if base else () for key in ("add", "remove")}
    for key, names in table.items():
        if key not in found:
            raise fail(file, f"/freedoms/{escape_key(key)}", key, "it must be add or remove")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise fail(file, f"/freedoms/{key}", key, "it must be a list of strings")
        found[key] = (*found[key], *names)
    return found


def _schema(file: str, text: str) -> Mapping[str, Any]:
    try:
        schema = parse_json_file(text)
    except ValueError as error:
        raise ContractError(f"{file} is not valid JSON: {one_line(str(error))}.", "Correct the file.") from error
    if not isinstance(schema, dict):
        raise fail(file, "", "schema", "the file must hold one object")
    return schema


def _without(
    overlays: tuple[tuple[str, Mapping[str, Any]], ...], schemas: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the overlays of the bases that still apply: those on schemas that are not replaced as a whole."""
    for file, overlay in overlays:
        yield file, {name: table for name, table in overlay.items() if name not in schemas}


def _marks(file: str, raw: Mapping[str, Any]) -> Iterator[Mark]:
    rows = raw.get("mark", [])
    if not isinstance(rows, list):
        raise fail(file, "/mark", "mark", "it must be a list of tables")
    for number, row in enumerate(rows):
        where = f"/mark/{number}"
        if not isinstance(row, dict) or not all(isinstance(value, str) and value for value in row.values()):
            raise fail(file, where, "mark", "it must be a table of non-empty strings")
        for key in row:
            if key not in ("at", "says", "matches"):
                raise fail(file, f"{where}/{key}", key, "a mark has at, says and matches only")
        if not row.get("at", "").startswith("/") or "says" not in row:
            raise fail(file, where, "mark", "it needs says, and a JSON pointer as at")
        try:
            re.compile(row.get("matches", ""))
        except re.error as error:
            raise fail(file, f"{where}/matches", "matches", f"invalid regular expression: {error}") from error
        yield Mark(**row)


def _inherits(file: str, name: str, raw: Mapping[str, Any]) -> bool:
    """Return whether the rows of rules, faults and freedoms of the base apply in the dialect too."""
    if name not in dialect_names():
        if "inherits_rules" in raw:
            raise fail(
                file, "/inherits_rules", "inherits_rules", "a custom dialect always inherits the rules of its base"
            )
        return True
    value = raw.get("inherits_rules", False)
    if not isinstance(value, bool):
        raise fail(file, "/inherits_rules", "inherits_rules", "it must be true or false")
    return value


def _base(file: str, raw: Mapping[str, Any]) -> Source:
    name = str(raw.get("base", DEFAULT_DIALECT))
    if name not in dialect_names():
        raise fail(file, "/base", "base", f'"{name}" is not one of {", ".join(dialect_names())}')
    return _shipped(name)


def _table(file: str, table: str, raw: Mapping[str, Any], base: Source | None) -> Mapping[str, Any]:
    """Return a parameter table on top of the base's, which says what parameters there are and of what type."""
    own = raw.get(table, {})
    if not isinstance(own, dict):
        raise fail(file, f"/{table}", table, "it must be a table")
    if base is None:
        return own
    known = base.parameters[table]
    for key, value in own.items():
        if key not in known:
            raise fail(file, f"/{table}/{key}", key, f"no such parameter; known parameters: {', '.join(known)}")
        if type(value) is not type(known[key]):
            raise fail(file, f"/{table}/{key}", key, f"it must have the same type as {json.dumps(known[key])}")
        if isinstance(value, list) and not all(isinstance(element, str) for element in value):
            raise fail(file, f"/{table}/{key}", key, "it must be a list of strings")
    return {**known, **own}
