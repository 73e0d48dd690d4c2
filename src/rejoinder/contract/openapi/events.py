"""What the stream events of an OpenAPI document do, derived from their names and shapes.

The contract describes each event type by its fields and by a role: what the event does to the state of the stream. An
OpenAPI document has the fields only. The names of the Responses API follow patterns, so the roles follow from them:

- an event with a ``response`` is a snapshot, and the last one if its name ends in a final status;
- one with an ``item`` or a ``part`` adds or closes it, as ``.added`` or ``.done`` at the end of its name says;
- one with an ``annotation`` adds it to a part;
- ``X.delta`` with a text and ``X.done`` with the whole text fill a field: of the part whose type X names, if the events
  have a ``content_index`` or ``summary_index``, else of the item whose type X begins with;
- one with an item's place alone and the item's type in its name reports progress.

Every other event gets the role ``other``: it is known, and nothing is concluded from it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rejoinder.contract.openapi.translate import Schema, Translator

_INDEXES: Final = {"content_index": "content", "summary_index": "summary"}
_FINAL: Final = ("completed", "failed", "incomplete", "cancelled")
_STEPS: Final = {"added": "added", "done": "done"}
#: Fields of every event, which the contract checks apart from the others.
_COMMON: Final = ("type", "sequence_number")
#: Types of required fields of events that checks know how to look for.
_REQUIRED: Final = ("string", "integer", "object", "array")


@dataclass(frozen=True)
class Shapes:
    """What events refer to: the fields of item types and part types, and the definitions of the response schema.

    ``parts`` holds part types by container (``content``, ``summary``); each maps the type to its fields.
    """

    items: Mapping[str, Mapping[str, Schema]] = field(default_factory=dict)
    parts: Mapping[str, Mapping[str, Mapping[str, Schema]]] = field(default_factory=dict)
    definitions: frozenset[str] = frozenset()


def event_definitions(translator: Translator, union: Any, at: str, shapes: Shapes) -> dict[str, Schema]:
    """Return the definition of each event type of a union of events, by type, in the document's order."""
    found: dict[str, tuple[str, Schema]] = {}
    for place, schema in _events(translator, union, at):
        kind = translator.deref(schema.get("properties", {}).get("type", {}))
        names = [kind["const"]] if "const" in kind else kind.get("enum", [])
        if schema.get("type") != "object" or not names or not all(isinstance(name, str) for name in names):
            translator.lose(place, "type", "an event needs a constant type; left out")
            continue
        for name in names:
            found.setdefault(name, (place, schema))
    fields = {name: _fields(schema) for name, (_, schema) in found.items()}
    definitions = {}
    for name, (place, schema) in found.items():
        role = _role(name, fields, translator, shapes)
        if role["x-role"] == "other":
            translator.lose(place, name, "no role follows from its name and fields; the event is known and ignored")
        definitions[name] = _definition(translator, place, name, schema, shapes) | role
    return definitions


def _events(translator: Translator, node: Any, at: str) -> Iterator[tuple[str, Schema]]:
    """Yield the events of a union with their places in the document."""
    node, at = translator.document.follow(node, at)
    for keyword in ("oneOf", "anyOf"):
        branches = node.get(keyword) if isinstance(node, dict) else None
        if isinstance(branches, list) and "properties" not in node:
            for index, branch in enumerate(branches):
                yield from _events(translator, branch, f"{at}/{keyword}/{index}")
            return
    yield from ((at, one) for one in translator.alternatives(translator.schema(node, at)))


def _fields(schema: Schema) -> dict[str, Schema]:
    return {name: node for name, node in schema.get("properties", {}).items() if name not in _COMMON}


def _role(
    name: str, events: Mapping[str, Mapping[str, Schema]], translator: Translator, shapes: Shapes
) -> dict[str, str]:
    fields = events[name]
    stem, _, step = name.rpartition(".")
    container = next((where for index, where in _INDEXES.items() if index in fields), "")
    placed = {"x-container": container} if container else {}
    if name == "error":
        return {"x-role": "error"}
    if "response" in fields:
        return {"x-role": "terminal" if step in _FINAL else "snapshot"}
    if step in _STEPS and "item" in fields:
        return {"x-role": f"item.{_STEPS[step]}"}
    if step in _STEPS and "part" in fields and container:
        return {"x-role": f"part.{_STEPS[step]}", **placed}
    if "annotation" in fields and container:
        return {"x-role": "annotation", **placed}
    if step in ("delta", "done") and "item_id" in fields:
        text = _text_field(stem, events, translator)
        part = _carrier(stem, text, container, shapes) if text else ""
        if part:
            where = {"x-container": container or "item", "x-part": part, "x-field": text}
            return {"x-role": step, **where}
    kind = stem.rpartition(".")[2]
    if kind in shapes.items and {"item_id", "output_index"} <= fields.keys():
        return {"x-role": "progress", "x-item": kind}
    return {"x-role": "other"}


def _text_field(stem: str, events: Mapping[str, Mapping[str, Schema]], translator: Translator) -> str:
    """Return the field of ``X.done`` that the texts of ``X.delta`` add up to, or the empty string."""
    delta, done = events.get(f"{stem}.delta", {}), events.get(f"{stem}.done", {})
    if translator.deref(delta.get("delta", {})).get("type") != "string":
        return ""
    texts = [
        name
        for name, node in done.items()
        if name not in delta and name != "name" and translator.deref(node).get("type") == "string"
    ]
    return texts[0] if len(texts) == 1 else ""


def _carrier(stem: str, text: str, container: str, shapes: Shapes) -> str:
    """Return the type of the part or item that has the text, as the name of the event has it."""
    word = stem.rpartition(".")[2]
    if not container:
        kind = word.removesuffix(f"_{text}")
        return kind if text in shapes.items.get(kind, {}) else ""
    kinds = [kind for kind, fields in shapes.parts.get(container, {}).items() if text in fields]
    kinds.sort(key=len, reverse=True)
    for fits in (str.__eq__, str.endswith, lambda name, kind: kind.startswith(f"{name}_")):
        for kind in kinds:
            if fits(word, kind):
                return kind
    return ""


def _definition(translator: Translator, place: str, name: str, schema: Schema, shapes: Shapes) -> Schema:
    fields = {key: _borrowed(translator, node, shapes) for key, node in _fields(schema).items()}
    if "response" in fields:
        fields["response"] = {"type": "object", "x-from": "response#"}
    required = []
    for key in schema.get("required", ()):
        if key in fields:
            if single_type(fields[key]) in _REQUIRED:
                required.append(key)
            else:
                translator.lose(place, "required", f"{key!r} of {name} has no single type; taken as optional")
    return {"type": "object", "properties": fields, "required": required}


def _borrowed(translator: Translator, node: Any, shapes: Shapes, inside: tuple[str, ...] = ()) -> Any:
    """Return a copy of a field's schema in which objects that the response defines are taken from there.

    ``inside`` names the definitions that were copied on the way here.
    """
    if isinstance(node, list):
        return [_borrowed(translator, child, shapes, inside) for child in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        target = translator.definitions[name]
        if name in shapes.definitions and target.get("type") == "object":
            return {"type": "object", "x-from": f"response#/$defs/{name}"}
        if name in inside:
            translator.lose(translator.place(name), "$ref", "it contains itself in an event; nothing is checked there")
            return {}
        return _borrowed(translator, target, shapes, (*inside, name))
    copied = {key: _borrowed(translator, child, shapes, inside) for key, child in node.items()}
    if "anyOf" in copied:
        copied["anyOf"] = [part for one in copied["anyOf"] for part in one.get("anyOf", [one])]
    return copied


def single_type(node: Schema) -> str:
    """Return the one JSON type besides null that a schema without references has, or the empty string."""
    parts = node.get("anyOf", [node])
    kinds = {part.get("type", "string" if "const" in part or "enum" in part else "") for part in parts} - {"null"}
    return str(kinds.pop()) if len(kinds) == 1 else ""
