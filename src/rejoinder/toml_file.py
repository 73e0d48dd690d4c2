"""TOML files that people write, checked against a JSON Schema, with errors that name the place and a way out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, time
from pathlib import Path
from typing import Any, Final

from rejoinder.errors import RejoinderError, UsageError, suggest
from rejoinder.formatting import compact_json, one_line, plural, truncate
from rejoinder.input_file import parse_toml
from rejoinder.validation import SchemaError, Validator, pointer_keys

Key = str | int
"""One step into a document: the key of a table, or the index of a list, from 0."""

_LIMITS: Final = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "minLength": "at least {} characters",
    "enum": "one of {}",
}


class TomlFile:
    """A TOML document. ``table`` is what it holds; ``error`` is the class of the errors that are raised.

    Raises such an error for a text that is not TOML; ``what`` names the kind of file in it.
    """

    def __init__(self, path: Path, text: str, what: str, error: type[RejoinderError] = UsageError) -> None:
        self.path = path
        self._text = text
        self._error = error
        try:
            self.table = parse_toml(text)
        except ValueError as problem:
            reason = one_line(str(problem), 300)
            raise error(f"The {what} {path} is not valid TOML: {reason}.", "Correct the file.") from problem

    def check(self, validator: Validator) -> None:
        """Raise an error with the first place where the document breaks a schema, misspelled keys before all else.

        Dates count as their ISO form. The hint is the closest known key, or the description of the key in the schema.
        """
        document = self._plain(self.table, ())
        errors = validator.errors(document)
        if errors:
            first = min(errors, key=lambda error: error.keyword != "additionalProperties")
            raise self._broken(first, validator.schema)

    def error(self, path: tuple[Key, ...], problem: str, hint: str = "") -> RejoinderError:
        """Return an error: a place in the document, what is wrong there (the end of a sentence), and a way out."""
        line = self.line(path)
        place = f"{self.path}, line {line}" if line else str(self.path)
        steps = (f"[{step}]" if isinstance(step, int) else f".{one_line(step, 60)}" for step in path)
        key = one_line("".join(steps).removeprefix("."), 200)
        return self._error(f"{place}: {key}{' ' if key else ''}{one_line(problem, 300)}.", hint or "Correct the file.")

    def line(self, path: tuple[Key, ...]) -> int:
        """Return the line of a key, or of the innermost table around it that can be found; 0 where there is none."""
        lines = self._text.splitlines()
        found, begin, end = 0, 0, len(lines)
        for place, step in enumerate(path):
            names = r"\s*\.\s*".join(_quoted(name) for name in path[: place + 1] if isinstance(name, str))
            if isinstance(step, int):
                heads = [at for at in range(len(lines)) if re.match(rf"\s*\[\[\s*{names}\s*\]\]", lines[at])]
                if step < len(heads):
                    found, begin = heads[step] + 1, heads[step] + 1
                    end = next((at for at in range(begin, len(lines)) if re.match(r"\s*\[\[", lines[at])), len(lines))
                continue
            head, key = rf"\s*\[\[?\s*{names}\s*\]", rf"\s*(?:[\w\"'-]+\s*\.\s*)*{_quoted(step)}\s*[.=]"
            at = next((at for at in range(begin, end) if re.match(head, lines[at]) or re.match(key, lines[at])), None)
            if at is not None:
                found, begin = at + 1, at
        return found

    def _plain(self, value: Any, path: tuple[Key, ...]) -> Any:
        """Return a value as JSON has it."""
        if isinstance(value, dict):
            return {name: self._plain(inner, (*path, name)) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._plain(inner, (*path, place)) for place, inner in enumerate(value)]
        if isinstance(value, float) and not math.isfinite(value):
            raise self.error(path, f"is {value}, expected a finite number")
        return value.isoformat() if isinstance(value, (date, time)) else value

    def _broken(self, error: SchemaError, schema: Mapping[str, Any]) -> RejoinderError:
        path = _path(error.pointer, self.table)
        nodes = list(_nodes(schema, path))
        parents = list(_nodes(schema, path[:-1]))
        hint = _description([*nodes, *parents])
        if error.keyword == "additionalProperties":
            known = [name for node in parents for name in node.get("properties", ())]
            if path[-1] in known:
                return self.error(path, "cannot be used here", _description(parents))
            return self.error(path, "is not a known key", suggest(str(path[-1]), known, f"Use {', '.join(known)}."))
        if error.keyword == "required":
            return self.error(path, "is missing", hint)
        actual = error.actual
        if error.keyword in ("minItems", "maxItems"):
            found = f"has {plural(len(actual), 'entry', 'entries')}"
        elif isinstance(actual, (dict, list)):
            found = "is a table" if isinstance(actual, dict) else "is an array"
        else:
            found = f"is {truncate(compact_json(actual), 60)}"
        if error.keyword in _LIMITS:
            limits = error.expected if isinstance(error.expected, list) else [error.expected]
            expected = _LIMITS[error.keyword].format(", ".join(map(str, limits)))
        elif error.keyword in ("type", "const"):
            names = error.expected if isinstance(error.expected, list) else [error.expected]
            expected = re.sub(r"\bobject\b", "table", " or ".join(map(str, names)))
        else:
            return self.error(
                path, "cannot be set here" if error.keyword == "not" else f"{found}, which is invalid", hint
            )
        return self.error(path, f"{found}, expected {expected}", hint)


def _description(nodes: Iterable[Mapping[str, Any]]) -> str:
    return next((node["description"] for node in nodes if "description" in node), "")


def _quoted(name: str) -> str:
    return rf"[\"']?{re.escape(name)}[\"']?"


def _path(pointer: str, document: Any) -> tuple[Key, ...]:
    """Return a JSON pointer as steps into a document."""
    path: list[Key] = []
    for key in pointer_keys(pointer):
        step: Key = int(key) if isinstance(document, list) else key
        path.append(step)
        try:
            document = document[step]
        except (KeyError, IndexError, TypeError):
            document = None
    return tuple(path)


def _nodes(schema: Mapping[str, Any], path: tuple[Key, ...]) -> Iterator[Mapping[str, Any]]:
    """Yield the schemas that hold for a place in a document, through references and alternatives."""

    def spread(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        yield node
        if "$ref" in node:
            yield from spread(schema["$defs"][node["$ref"].rpartition("/")[2]])
        for alternative in node.get("anyOf", ()):
            yield from spread(alternative)

    nodes = [schema]
    for step in path:
        below = [node for outer in nodes for node in spread(outer)]
        if isinstance(step, int):
            nodes = [node["items"] for node in below if "items" in node]
        else:
            nodes = [node["properties"][step] for node in below if step in node.get("properties", ())]
    for node in nodes:
        yield from spread(node)
