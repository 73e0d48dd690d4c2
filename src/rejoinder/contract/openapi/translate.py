"""From the schemas of an OpenAPI document to the contract's vocabulary.

JSON Schema says the same thing in many ways; the contract has one for each. ``oneOf`` becomes ``anyOf``, an ``allOf``
becomes the one schema that it means, an ``enum`` of one value a ``const``, a list of types a union. What the vocabulary
cannot say is left out, so that the result accepts at least what the document accepts, and every such place is noted.
Titles, descriptions, defaults and examples are not carried over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.budgets import DEPTH
from rejoinder.contract._vocabulary import ANNOTATIONS, KEYWORDS
from rejoinder.contract.openapi.document import Document
from rejoinder.validation import JSON_TYPES, escape_key

Schema = dict[str, Any]

#: What OpenAPI has for readers, tools and code generators.
_IGNORED: Final = ANNOTATIONS | {"example", "externalDocs", "xml", "readOnly", "writeOnly", "discriminator"}
_STRUCTURE: Final = frozenset({"$ref", "allOf", "anyOf", "oneOf", "const", "enum", "type", "nullable"})
_COUNTS: Final = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
_BOUNDS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_HIGHEST: Final = frozenset({"minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum"})
_LOWEST: Final = frozenset({"maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum"})
_SPANS: Final = (
    ("minLength", "maxLength"),
    ("minItems", "maxItems"),
    ("minProperties", "maxProperties"),
    ("minimum", "maximum"),
)
#: Formats of strings that JSON Schema defines; strategies can draw them.
_FORMATS: Final = frozenset(
    {"date-time", "date", "time", "email", "hostname", "ipv4", "ipv6", "uri", "uri-reference", "uuid", "regex"}
)
#: Keywords that say what a schema is about when it names no type.
_TELLING: Final[Mapping[str, frozenset[str]]] = {
    "object": KEYWORDS["object"] | {"patternProperties", "propertyNames"},
    "array": KEYWORDS["array"] | {"prefixItems", "uniqueItems", "contains"},
    "string": KEYWORDS["string"] - {"format"},
    "number": _BOUNDS,
}


@dataclass(frozen=True, slots=True, order=True)
class Loss:
    """A place of the document that was not carried over as it is: JSON pointer, keyword, and what is there instead."""

    pointer: str
    keyword: str
    what: str


class Translator:
    """Translates schemas and keeps the definitions that they need.

    ``losses`` collects what could not be carried over; ``definitions`` are the ``$defs`` so far.
    """

    def __init__(self, document: Document, losses: set[Loss]) -> None:
        self.document = document
        self.losses = losses
        self.definitions: dict[str, Schema] = {}
        self._known: dict[str, Schema | None] = {}
        self._names: dict[str, str] = {}
        #: The definitions that are being translated, each with the level at which it was met.
        self._open: dict[str, int] = {}
        self._level = 0
        self._pairs: list[tuple[str, str]] = []

    def lose(self, at: str, keyword: str, what: str) -> None:
        """Note a place that is not carried over as it is."""
        self.losses.add(Loss(at or "/", keyword, what))

    def schema(self, node: Any, at: str) -> Schema:
        """Return the translation of a schema at a place of the document; ``{}`` where no value would be valid."""
        found = self._node(node, at)
        if found is None:
            self.lose(at, at.rpartition("/")[2], "no value is valid there; nothing is checked")
        return {} if found is None else found

    def used(self, *schemas: Schema) -> dict[str, Schema]:
        """Return the definitions that schemas lead to, in the order in which they were met."""
        found: set[str] = set()
        waiting: list[Any] = list(schemas)
        while waiting:
            node = waiting.pop()
            if isinstance(node, dict):
                name = node.get("$ref", "").rpartition("/")[2] if isinstance(node.get("$ref"), str) else ""
                if name and name not in found:
                    found.add(name)
                    waiting.append(self.definitions[name])
                waiting.extend(node.values())
            elif isinstance(node, list):
                waiting.extend(node)
        return {name: schema for name, schema in self.definitions.items() if name in found}

    def place(self, name: str) -> str:
        """Return the place in the document of a definition."""
        return next(pointer for pointer, known in self._known.items() if known == {"$ref": f"#/$defs/{name}"})

    def name(self, place: str) -> str:
        """Return the name of the definition of a place of the document; empty if there is none."""
        known = self._known.get(place) or {}
        return str(known.get("$ref", "")).rpartition("/")[2]

    def by_type(self, node: Schema) -> Schema:
        """Return a union as one object that is held to the class that its type names; as it is without types."""
        branches = []
        for part in self._tops(node):
            kind = self.kind(part)
            if not kind:
                return node
            tag = {"properties": {"type": {"const": kind}}, "required": ["type"]}
            branches.append({"if": tag, "then": part})
        return {"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"], "allOf": branches}

    def kind(self, node: Schema) -> str:
        """Return the constant type of an object, or the empty string."""
        kinds = self.alternatives(self.deref(node).get("properties", {}).get("type", {}))
        values = [kind["const"] for kind in kinds if "const" in kind]
        return values[0] if len(values) == 1 and isinstance(values[0], str) else ""

    def _tops(self, node: Schema) -> Iterator[Schema]:
        """Yield the alternatives of a union as it refers to them."""
        target = self.deref(node)
        if "anyOf" in target:
            for part in target["anyOf"]:
                yield from self._tops(part)
        else:
            yield node

    def deref(self, schema: Schema) -> Schema:
        """Return a translated schema without its reference; ``{}`` for one that is still being translated."""
        while "$ref" in schema:
            schema = self.definitions.get(schema["$ref"].rpartition("/")[2], {})
        return schema

    def alternatives(self, schema: Schema) -> list[Schema]:
        """Return the alternatives of a translated schema without references, unions inside unions taken apart."""
        schema = self.deref(schema)
        return [part for one in schema["anyOf"] for part in self.alternatives(one)] if "anyOf" in schema else [schema]

    # One function for each kind of schema; ``None`` is the schema that accepts nothing.

    def _node(self, node: Any, at: str, *, part: bool = False) -> Schema | None:
        if node is True or node is False:
            return {} if node else None
        if not isinstance(node, dict):
            raise self.document.error(at, at.rpartition("/")[2], "a schema must be an object")
        parts: list[Schema | None] = []
        if "$ref" in node:
            parts.append(self._reference(node["$ref"], at))
        if "allOf" in node:
            for index, child in enumerate(self._list(node, "allOf", at)):
                parts.append(self._node(child, f"{at}/allOf/{index}", part=True))
        parts.extend(self._union(node, keyword, at) for keyword in ("anyOf", "oneOf") if keyword in node)
        parts.append(self._plain(node, at, bare=not parts and not part))
        whole: Schema | None = {}
        for one in parts:
            whole = None if whole is None or one is None else self._both(whole, one, at)
        if node.get("nullable") is True and whole:
            self.lose(at, "nullable", "not a keyword of OpenAPI 3.1; taken as null allowed")
            whole = self._any([whole, {"type": "null"}])
        return whole

    def _inside(self, node: Any, at: str) -> Schema | None:
        """Return the translation of what is inside of a value."""
        self._level += 1
        found = self._node(node, at)
        self._level -= 1
        return found

    def _reference(self, reference: Any, at: str) -> Schema | None:
        node, pointer = self.document.resolve(reference, at)
        node, pointer = self.document.follow(node, pointer)
        if pointer in self._open:
            if self._open[pointer] == self._level:  # nothing but itself: no value is inside of another
                self.lose(at, "$ref", f"{reference!r} leads back to itself; left out")
                return None
            name = self._names.setdefault(pointer, self._name(pointer))
            return {"$ref": f"#/$defs/{name}"}
        if pointer not in self._known:
            if len(self._open) >= DEPTH:
                raise self.document.error(at, "$ref", f"references are nested more than {DEPTH} levels deep")
            self._open[pointer] = self._level
            found = self._node(node, pointer)
            del self._open[pointer]
            contains_itself = pointer in self._names
            # A definition that is another one's name needs none of its own.
            if contains_itself or (found and "$ref" not in found):
                name = self._names.setdefault(pointer, self._name(pointer))
                self.definitions[name] = found or {}
                found = {"$ref": f"#/$defs/{name}"}
            self._known[pointer] = found
        return self._known[pointer]

    def _name(self, pointer: str) -> str:
        name = re.sub(r"[^A-Za-z0-9_.:-]", "_", pointer.rpartition("/")[2]) or "Schema"
        number = 1
        while (name if number == 1 else f"{name}_{number}") in self._names.values():
            number += 1
        return name if number == 1 else f"{name}_{number}"

    def _list(self, node: Mapping[str, Any], keyword: str, at: str) -> list[Any]:
        value = node[keyword]
        if not isinstance(value, list) or not value:
            raise self.document.error(at, keyword, "it must be a list that is not empty")
        return value

    def _union(self, node: Mapping[str, Any], keyword: str, at: str) -> Schema | None:
        branches = []
        for index, branch in enumerate(self._list(node, keyword, at)):
            place = f"{at}/{keyword}/{index}"
            found = self._node(branch, place)
            if found is None:
                self.lose(place, str(index), "no value is valid there; left out")
            else:
                branches.append(self._tagged(node, branch, found, at))
        if keyword == "oneOf" and not self._apart(branches):
            self.lose(at, "oneOf", "taken as anyOf: a value that matches several alternatives is accepted")
        return self._any(branches)

    def _tagged(self, node: Mapping[str, Any], branch: Any, found: Schema, at: str) -> Schema:
        """Return an alternative with the value of the discriminator that the document gives it beside the schema."""
        table = self.document.table(node, "discriminator", at)
        field = table.get("propertyName")
        target = self.deref(found)
        if not isinstance(field, str) or target.get("type") != "object":
            return found
        if self._domain(target.get("properties", {}).get(field, {})) or not isinstance(branch, dict):
            return found
        mapping = self.document.table(table, "mapping", f"{at}/discriminator")
        name = str(branch.get("$ref", "")).rpartition("/")[2]
        values = [key for key, to in mapping.items() if to in (branch.get("$ref"), name)]
        if not values:
            self.lose(at, "discriminator", f"no value of {field!r} is given for {name or 'an alternative'}")
            return found
        own = {"type": "object", "properties": {field: _literal(values)}, "required": [field]}
        return self._both(found, own, at) or found

    def _any(self, branches: Sequence[Schema]) -> Schema | None:
        """Return the union of schemas, those inside unions taken out of them."""
        flat: list[Schema] = []
        for branch in branches:
            if not branch:
                return {}
            flat += [one for one in branch.get("anyOf", [branch]) if one not in flat]
        nulls = [branch for branch in flat if branch == {"type": "null"}]
        flat = [*(branch for branch in flat if branch != {"type": "null"}), *nulls]
        return None if not flat else flat[0] if len(flat) == 1 else {"anyOf": flat}

    def _apart(self, branches: Sequence[Schema]) -> bool:
        """Return whether no value can match two of the alternatives, as far as types and constant fields show it."""
        flat = [self.alternatives(branch) for branch in branches]
        return all(
            self._excludes(one, other)
            for index, ones in enumerate(flat)
            for others in flat[index + 1 :]
            for one in ones
            for other in others
        )

    def _excludes(self, one: Schema, other: Schema) -> bool:
        first, second = self._kinds(one), self._kinds(other)
        if not first or not second or not first & second:
            return bool(first and second)
        ones, others = self._values(one), self._values(other)
        if ones or others:
            return bool(ones and others) and not _common(ones, others)
        if first != {"object"} or second != {"object"}:
            return False
        fields, more = one.get("properties", {}), other.get("properties", {})
        for name in fields.keys() & more.keys():
            if name in one.get("required", ()) or name in other.get("required", ()):
                allowed, also = self._domain(fields[name]), self._domain(more[name])
                if allowed and also and not _common(allowed, also):
                    return True
        return False

    def _kinds(self, schema: Schema) -> set[str]:
        values = self._values(schema)
        if values:
            return {JSON_TYPES[type(value)].replace("integer", "number") for value in values}
        return {schema["type"].replace("integer", "number")} if "type" in schema else set()

    def _domain(self, schema: Schema) -> list[Any]:
        """Return the values that a schema allows when it lists them all, else nothing."""
        found: list[Any] = []
        for part in self.alternatives(schema):
            values = [None] if part.get("type") == "null" else self._values(part)
            if not values:
                return []
            found += values
        return found

    def _values(self, schema: Schema) -> list[Any]:
        schema = self.deref(schema)
        return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))

    def _plain(self, node: Mapping[str, Any], at: str, *, bare: bool) -> Schema | None:
        """Return what a schema says by itself, apart from references and the schemas that it combines."""
        literals = self._literals(node, at)
        types = self._types(node, at)
        if not types:
            told = [kind for kind, keys in _TELLING.items() if keys & node.keys()]
            types = told[:1]
            if told and bare and literals is None:
                self.lose(at, "type", f"it is missing; taken as {told[0]}")
        known = _STRUCTURE | _IGNORED | frozenset().union(*(KEYWORDS[kind] for kind in types))
        for key in node:
            if key == "format" and key not in known:
                self.lose(at, key, f"{node[key]!r} is not a format of strings; left out")
            elif key not in known and not key.startswith("x-"):
                self.lose(at, key, "not supported; left out")
        typed = self._any([found for kind in types if (found := self._typed(node, kind, at)) is not None])
        if types and typed is None:
            return None
        return typed or {} if literals is None else self._both(literals, typed or {}, at)

    def _types(self, node: Mapping[str, Any], at: str) -> list[str]:
        types = node.get("type", [])
        names = [types] if isinstance(types, str) else types
        if not isinstance(names, list) or ("type" in node and not names):
            raise self.document.error(at, "type", f"{types!r} is not a JSON type")
        for name in names:
            if not isinstance(name, str) or name not in KEYWORDS:
                raise self.document.error(at, "type", f"{name!r} is not a JSON type")
        return names

    def _literals(self, node: Mapping[str, Any], at: str) -> Schema | None:
        keyword = next((key for key in ("const", "enum") if key in node), "")
        if not keyword:
            return None
        values = [node["const"]] if keyword == "const" else self._list(node, "enum", at)
        simple = [value for value in values if not isinstance(value, dict | list)]
        if len(simple) < len(values):
            self.lose(at, keyword, "it lists objects or arrays; nothing is checked")
            return {}
        unique = [value for index, value in enumerate(values) if not _common([value], values[:index])]
        rest = [value for value in unique if value is not None]
        return self._any([*([_literal(rest)] if rest else []), *([{"type": "null"}] if None in unique else [])])

    def _typed(self, node: Mapping[str, Any], kind: str, at: str) -> Schema | None:
        schema: Schema = {"type": kind}
        for key in ("pattern", "format"):
            if key in KEYWORDS[kind] and key in node:
                self._text(schema, key, node[key], at)
        for key in sorted((_COUNTS | _BOUNDS) & KEYWORDS[kind] & node.keys()):
            schema[key] = self._limit(key, node[key], at)
        for low, high in _SPANS:
            if low in schema and high in schema and schema[low] > schema[high]:
                raise self.document.error(at, low, f"{schema[low]} contradicts {high} {schema[high]}")
        if kind == "array" and node.get("uniqueItems") is True:
            schema["uniqueItems"] = True
        if kind == "array" and "items" in node:
            items = self._inside(node["items"], f"{at}/items")
            if items is None:
                self.lose(f"{at}/items", "items", "no element is valid there; any element is accepted")
            elif items:
                schema["items"] = items
        return self._object(schema, node, at) if kind == "object" else schema

    def _text(self, schema: Schema, key: str, value: Any, at: str) -> None:
        if not isinstance(value, str):
            raise self.document.error(at, key, f"{value!r} is not a string")
        if key == "format" and value not in _FORMATS:
            self.lose(at, "format", f"{value!r} is not a format of JSON Schema; left out")
            return
        if key == "pattern":
            try:
                re.compile(value)
            except re.error as error:
                self.lose(at, "pattern", f"left out, because Python cannot read it: {error}")
                return
        schema[key] = value

    def _limit(self, key: str, value: Any, at: str) -> Any:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if key in _COUNTS and (type(value) is not int or value < 0):
            raise self.document.error(at, key, f"{value!r} is not a non-negative integer")
        if type(value) not in (int, float) or (key == "multipleOf" and value <= 0):
            raise self.document.error(at, key, f"{value!r} is not a {'positive ' * (key == 'multipleOf')}number")
        return value

    def _object(self, schema: Schema, node: Mapping[str, Any], at: str) -> Schema | None:
        properties: dict[str, Schema] = {}
        required = node.get("required", [])
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise self.document.error(at, "required", "it must be a list of names")
        for name, child in self.document.table(node, "properties", at).items():
            place = f"{at}/properties/{escape_key(name)}"
            found = self._inside(child, place)
            if found is not None:
                properties[name] = found
            elif name in required:
                return None
            else:
                self.lose(place, name, "no value is valid there; the field is left out")
        required = list(dict.fromkeys(required))
        properties |= {name: {} for name in required if name not in properties}
        for name, others in self.document.table(node, "dependentRequired", at).items():
            if not isinstance(others, list) or not all(isinstance(other, str) for other in others):
                raise self.document.error(at, "dependentRequired", "it must be an object of lists of names")
            properties |= {key: {} for key in (name, *others) if key not in properties}
            schema.setdefault("dependentRequired", {})[name] = others
        if properties:
            schema["properties"] = properties
        if isinstance(node.get("propertyNames"), dict):
            names = self._node({"type": "string", **node["propertyNames"]}, f"{at}/propertyNames")
            if names is None or "anyOf" in names or "$ref" in names:
                self.lose(at, "propertyNames", "not supported in this form; left out")
            else:
                schema["propertyNames"] = names
        if required:
            schema["required"] = required
        if "additionalProperties" in node:
            others = self._inside(node["additionalProperties"], f"{at}/additionalProperties")
            if others is None:
                schema["additionalProperties"] = False
            elif others or properties:
                schema["additionalProperties"] = others or True
        return schema

    # What two schemas accept both.

    def _both(self, one: Schema, other: Schema, at: str) -> Schema | None:
        if not one or not other or one == other:
            return one or other
        references = [side.get("$ref", "") for side in (one, other)]
        one, other = self.deref(one), self.deref(other)
        if not one or not other:
            self.lose(at, "allOf", f"{next(filter(None, references))!r} contains itself; what is beside it is left out")
            return {"$ref": next(filter(None, references))}
        if all(references) and (references[0], references[1]) in self._pairs:
            self.lose(at, "allOf", "the combined schemas contain themselves; nothing is checked there")
            return {}
        self._pairs.append((references[0], references[1]))
        found = self._combined(one, other, at)
        self._pairs.pop()
        return found

    def _combined(self, one: Schema, other: Schema, at: str) -> Schema | None:
        for first, second in ((one, other), (other, one)):
            if "anyOf" in first:
                kept = [self._both(branch, second, at) for branch in first["anyOf"]]
                return self._any([branch for branch in kept if branch is not None])
        for first, second in ((one, other), (other, one)):
            if values := self._values(first):
                allowed = [value for value in values if self._accepts(second, value)]
                return _literal(allowed) if allowed else None
        if one["type"] != other["type"]:
            if {one["type"], other["type"]} != {"integer", "number"}:
                return None
            one, other = {**one, "type": "integer"}, {**other, "type": "integer"}
        return self._merged(one, other, at)

    def _accepts(self, schema: Schema, value: Any) -> bool:
        if values := self._values(schema):
            return bool(_common([value], values))
        kind, wanted = JSON_TYPES[type(value)], schema["type"]
        if kind != wanted and not (kind == "integer" and wanted == "number"):
            return False
        if isinstance(value, str):
            return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
        if kind in ("integer", "number"):
            return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
        return True

    def _merged(self, one: Schema, other: Schema, at: str) -> Schema | None:
        merged = {**other, **one}
        for key in one.keys() & other.keys():
            if key in _HIGHEST:
                merged[key] = max(one[key], other[key])
            elif key in _LOWEST:
                merged[key] = min(one[key], other[key])
            elif key in ("pattern", "format", "multipleOf") and one[key] != other[key]:
                self.lose(at, key, f"it is given twice; {other[key]!r} is left out")
        if any(low in merged and high in merged and merged[low] > merged[high] for low, high in _SPANS):
            return None
        if "items" in one and "items" in other:
            items = self._both(one["items"], other["items"], at)
            if items is None:
                return None
            merged["items"] = items
        return self._merged_object(merged, one, other, at) if one["type"] == "object" else merged

    def _merged_object(self, merged: Schema, one: Schema, other: Schema, at: str) -> Schema | None:
        required = list(dict.fromkeys([*one.get("required", ()), *other.get("required", ())]))
        properties: dict[str, Schema] = {}
        for name in dict.fromkeys([*one.get("properties", ()), *other.get("properties", ())]):
            sides = [side["properties"].get(name) for side in (one, other) if "properties" in side]
            sides += [
                side.get("additionalProperties") for side in (one, other) if name not in side.get("properties", ())
            ]
            found: Schema | None = {}
            for side in sides:
                if side is False:
                    found = None
                elif isinstance(side, dict) and found is not None:
                    found = self._both(found, side, at)
            if found is not None:
                properties[name] = found
            elif name in required:
                return None
        if properties:
            merged["properties"] = properties
        for key in ("dependentRequired", "propertyNames"):
            if key in one and key in other and one[key] != other[key]:
                self.lose(at, key, "it is given twice; the second is left out")
        if required:
            merged["required"] = required
        return merged


def _literal(values: Sequence[Any]) -> Schema:
    return {"const": values[0]} if len(values) == 1 else {"enum": list(values)}


def _common(ones: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Return the values of one list that the other has; ``True`` is not 1."""
    return [one for one in ones if any(one == other and type(one) is type(other) for other in others)]
