"""A typed reference (openai-python, tzafon) and a schema of the contract, walked in step."""

from __future__ import annotations

import collections.abc
import inspect
import types
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from typing_extensions import is_typeddict

NULL = {"type": "null"}
LISTS = (list, collections.abc.Iterable, collections.abc.Sequence)
SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def bare(hint: Any) -> tuple[Any, ...]:
    """Return the type without Annotated and Required, and whether it was marked required (``None`` for unmarked)."""
    required = None
    while True:
        origin = get_origin(hint)
        if origin is Required or origin is NotRequired:
            required = origin is Required
        elif origin is not Annotated:
            return hint, required
        hint = get_args(hint)[0]


def members(hint: Any) -> list[Any]:
    """Return the alternatives of a type, those of unions inside it too."""
    hint, _ = bare(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return [part for arg in get_args(hint) for part in members(arg)]
    return [hint]


def is_class(hint: Any) -> bool:
    return inspect.isclass(hint) and (is_typeddict(hint) or hasattr(hint, "model_fields"))


def fields(cls: Any) -> dict[str, tuple[bool, Any]]:
    """Return a class's fields: whether each is required, and its type."""
    if not is_typeddict(cls):
        return {info.alias or name: (info.is_required(), info.annotation) for name, info in cls.model_fields.items()}
    found = {}
    for name, hint in get_type_hints(cls, include_extras=True).items():
        hint, required = bare(hint)
        found[name] = (name in cls.__required_keys__ if required is None else required, hint)
    return found


def tags(cls: Any) -> set[Any]:
    """Return the literals of a class's ``type`` field."""
    return {value for hint in members(fields(cls).get("type", (False, None))[1]) for value in literals(hint)}


def literals(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


@dataclass
class Walk:
    """Walks a type and a schema in step and notes where they differ.

    ``fields`` counts the fields that were compared, once for every place; ``differences`` maps the place (names joined
    by dots, ``*`` for items) to what differs. Nulls that the schema calls contested are allowed on either side;
    contested alternatives are left out. With ``once`` a class that was compared with a definition is not compared with
    it again elsewhere. With ``relaxed`` nulls are not compared: types of responses do not tell null from absent.
    """

    schema: dict[str, Any]
    fields: int = 0
    differences: dict[str, str] = field(default_factory=dict)
    seen: set[Any] = field(default_factory=set)
    once: bool = False
    relaxed: bool = False

    def resolve(self, node: Any) -> Any:
        while isinstance(node, dict) and "$ref" in node:
            node = self.schema["$defs"][node["$ref"].removeprefix("#/$defs/")]
        return node

    def note(self, place: str, what: str) -> None:
        self.differences.setdefault(place, what)

    def branches(self, node: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the alternatives of a schema, those of unions inside it too."""
        node = self.resolve(node)
        if "anyOf" in node:
            undisputed = [branch for branch in node["anyOf"] if branch.get("x-branch") != "contested"]
            return [part for branch in undisputed for part in self.branches(branch)]
        if "allOf" in node:
            return [part for rule in node["allOf"] for part in self.branches(rule["then"])]
        if isinstance(node.get("type"), list):
            return [{"type": "null"} if kind == "null" else {**node, "type": kind} for kind in node["type"]]
        return [node]

    def value(self, hint: Any, node: dict[str, Any], place: str) -> None:
        hints = members(hint)
        branches = self.branches(node)
        if branches == [{}]:
            if hints != [object] and hints != [object, type(None)]:
                self.note(place, "anything")
            return
        contested = self.resolve(node).get("x-null") == "contested"
        if (type(None) in hints) != (NULL in branches) and not contested and not self.relaxed:
            self.note(place, "null")
        hints = [one for one in hints if one is not type(None)]
        branches = [one for one in branches if one != NULL]
        named = {value for one in hints for value in literals(one)}
        if self.open_names(hints):
            # Names that are open in the types anyway: a list of known models beside any string.
            hints = [str, *(one for one in hints if get_origin(one) is not Literal and one is not str)]
        listed = {value for one in branches for value in one.get("enum", [one["const"]] if "const" in one else [])}
        if listed != named and not (str in hints and listed <= named):
            self.note(place, f"literals {sorted(map(str, named ^ listed))}")
        self.kinds(hints, branches, place)
        self.classes_of(hints, branches, place)
        for one in hints:
            origin, args = get_origin(one), get_args(one)
            if origin in LISTS:
                for branch in branches:
                    if branch.get("type") == "array":
                        self.value(args[0], branch["items"], f"{place}.*")
            elif origin is dict and args[1] is not object:
                for branch in branches:
                    if isinstance(branch.get("additionalProperties"), dict):
                        self.value(args[1], branch["additionalProperties"], f"{place}.*")

    @staticmethod
    def open_names(hints: list[Any]) -> bool:
        return str in hints and any(get_origin(one) is Literal for one in hints)

    def kinds(self, hints: list[Any], branches: list[dict[str, Any]], place: str) -> None:
        theirs = set()
        for one in hints:
            origin = get_origin(one)
            if origin in LISTS:
                theirs.add("array")
            elif origin is dict or is_class(one):
                theirs.add("object")
            elif one in SCALARS:
                theirs.add(SCALARS[one])
            elif one is object:
                theirs.add("any")
        ours = {branch.get("type", "any") for branch in branches if "enum" not in branch and "const" not in branch}
        if theirs != ours:
            self.note(place, f"types {sorted(theirs)} here {sorted(ours)}")

    def classes_of(self, hints: list[Any], branches: list[dict[str, Any]], place: str) -> None:
        classes = [one for one in hints if is_class(one)]
        objects = [branch for branch in branches if branch.get("type") == "object" and "properties" in branch]
        if len(classes) != len(objects):
            self.note(place, f"{len(classes)} classes here {len(objects)}")
        for one in classes:
            match = self.match(one, objects)
            if match is None:
                self.note(f"{place}({one.__name__})", "class")
                continue
            objects.remove(match)
            self.object(one, match, f"{place}({one.__name__})" if len(classes) > 1 else place)

    def match(self, cls: Any, objects: list[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the definition that fits a class best: by tag, then by names of fields."""
        wanted, names = tags(cls), set(fields(cls))

        def distance(node: dict[str, Any]) -> tuple[bool, int]:
            kind = node["properties"].get("type", {})
            known = {value for one in self.branches(kind) for value in one.get("enum", [one.get("const")])}
            return bool(wanted) and not wanted & known, len(names ^ set(node["properties"]))

        best = min(objects, key=distance, default=None)
        return None if best is None or distance(best)[0] else best

    def object(self, cls: Any, node: dict[str, Any], place: str) -> None:
        if self.once:
            key = (cls, id(node))
            if key in self.seen:
                return
            self.seen.add(key)
        theirs = fields(cls)
        ours = node["properties"]
        for name in theirs.keys() - ours.keys():
            self.note(f"{place}.{name}", "missing here")
        for name in ours.keys() - theirs.keys():
            self.note(f"{place}.{name}", "missing there")
        for name in (name for name in ours if name in theirs):
            required, hint = theirs[name]
            self.fields += 1
            if required != (name in node.get("required", [])):
                self.note(f"{place}.{name}", f"required there {required}")
            self.value(hint, ours[name], f"{place}.{name}")
