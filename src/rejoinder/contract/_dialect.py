"""Dialects: what differs between the specifications that share the Responses shape, as data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cache, cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, get_args

from rejoinder.contract import _source
from rejoinder.contract._borrowing import with_used
from rejoinder.contract._features import Feature, load_features
from rejoinder.contract._operations import Operation, operations_of
from rejoinder.contract._overlay import SCHEMAS
from rejoinder.contract._rules import Rule, load_rules
from rejoinder.contract._schemas import Schema, SchemaVariant, event_definitions, schema_of, variant_of
from rejoinder.contract._source import DEFAULT_DIALECT, Mark, Source, dialect_names
from rejoinder.contract._vocabulary import fail
from rejoinder.contract.exclusions import Exclusion
from rejoinder.errors import UsageError, suggest
from rejoinder.json_copy import copy_json
from rejoinder.model.base_form import BaseForm, InputForm
from rejoinder.model.verdict import Level
from rejoinder.validation import JSON_TYPES, Validator, escape_key, pointer_keys

Role = Literal[
    "snapshot",
    "terminal",
    "item.added",
    "item.done",
    "part.added",
    "part.done",
    "delta",
    "done",
    "annotation",
    "progress",
    "error",
    "other",
]


#: The JSON types that required fields of events have; checks know how to look for these.
_REQUIRED_TYPES: Final = ("string", "integer", "object", "array")


#: The classes of parsed values by JSON type; a number may also be whole.
_CLASSES: Final[Mapping[str, type]] = {name: kind for kind, name in JSON_TYPES.items()}

_INDEXES: Final = {"content": "content_index", "summary": "summary_index"}


class EventField(NamedTuple):
    """What the contract says about a field of an event type.

    ``wanted`` is its JSON type, ``kind`` the class of parsed values of that type; they are empty and ``None`` for a
    field that may have several. ``nested`` is whether the contract describes more than the type.
    """

    name: str
    wanted: str
    kind: type | None
    required: bool
    nullable: bool
    nested: bool


@dataclass(frozen=True, slots=True)
class EventSpec:
    """What the contract says about one event type.

    ``role`` is what the event does to the stream's state. ``container`` is where its text belongs (``content``,
    ``summary`` or ``item``), ``part`` the type of that part or item, ``field`` the part's or item's field that the
    deltas add up to, which is also the field of the done event that repeats it. ``index`` is the field that numbers
    the part (``content_index``, ``summary_index``) or empty. ``fields`` are the event's own fields besides ``type`` and
    ``sequence_number``, ``required`` the names of those that it must have and ``types`` the types of all.
    """

    type: str
    role: Role
    required: tuple[str, ...]
    types: Mapping[str, str]
    fields: tuple[EventField, ...] = ()
    container: str = ""
    part: str = ""
    field: str = ""
    item: str = ""

    @property
    def index(self) -> str:
        """The name of the field that numbers the part inside its item, or the empty string."""
        return _INDEXES.get(self.container, "")

    def is_nested(self, name: str) -> bool:
        """Return whether the contract describes more of a field than its type."""
        return any(field.name == name and field.nested for field in self.fields)


@dataclass(frozen=True)
class Dialect:
    """One dialect, ready for checking.

    ``title`` is a short noun phrase, ``label`` the name with the title behind it, ``summary`` one line that says who
    chooses the dialect.
    ``stream``, ``response`` and ``request`` hold the parameters that checks read (documented in
    ``dialects/northstar.toml``), ``exclusions`` what a request may not have together. ``events`` maps every known event
    type to its :class:`EventSpec`. ``lineage`` names the dialect and those that it stands on, nearest first; ``family``
    those of them whose rows of rules, faults and freedoms apply here. ``operations`` are its operations beside create.
    ``verified`` names the product and version that the dialect was checked against, ``not_run`` what of the dialect
    that version lacks. ``marks`` are what endpoints of the dialect show of themselves.
    """

    name: str
    title: str
    summary: str
    label: str
    source: str
    stream: Mapping[str, Any]
    response: Mapping[str, Any]
    request: Mapping[str, Any]
    exclusions: tuple[Exclusion, ...]
    events: Mapping[str, EventSpec]
    validators: Mapping[str, Validator] = field(repr=False)
    lineage: tuple[str, ...]
    family: tuple[str, ...]
    verified: str
    not_run: tuple[str, ...]
    marks: tuple[Mark, ...]
    operations: Mapping[str, Operation] = field(repr=False)
    _from: Source = field(repr=False)

    @property
    def reference(self) -> str:
        """What :func:`load_dialect` finds it by: the name of a shipped dialect, the path of a custom one."""
        return self.name if self.name in dialect_names() else self._from.file

    @property
    def response_validator(self) -> Validator:
        """The validator of a whole response object in this dialect."""
        return self.validators["response"]

    @cached_property
    def item_types(self) -> frozenset[str]:
        """The item types that the dialect names: those of its input union and of its output items."""
        return frozenset({*self.response["item_types"], *(kind for kind, _ in self._item_classes)})

    @cached_property
    def item_fields(self) -> Mapping[str, frozenset[str]]:
        """The fields of each item type that the dialect defines, as output or as input, by the type's name."""
        fields: dict[str, frozenset[str]] = {}
        for kind, definition in self._item_classes:
            fields[kind] = fields.get(kind, frozenset()) | definition.get("properties", {}).keys()
        return fields

    @cached_property
    def output_items(self) -> Mapping[str, Schema]:
        """The schema of each type of output items that the dialect defines, by the type's name."""
        response = schema_of(self._from, "response")
        return dict(_tagged(response, _elements(response, "output")))

    @cached_property
    def output_classes(self) -> Mapping[str, Schema]:
        """The schema of each type of output items, with its definitions, where the dialect has a response of its own.

        Empty for a dialect that shares the contract's response schema, which is wider than what servers send: it
        accepts null for whatever may be absent.
        """
        response = schema_of(self._from, "response")
        classes = _tagged(response, _elements(response, "output")) if "response" in self._from.schemas else ()
        return {kind: with_used({**node, "$defs": response.get("$defs", {})}) for kind, node in classes}

    @cached_property
    def _item_classes(self) -> list[tuple[str, Schema]]:
        """The types of items in the input and the output, each with a class that the schemas have for it."""
        request, response = schema_of(self._from, "request"), schema_of(self._from, "response")
        return [*_tagged(request, _elements(request, "input")), *_tagged(response, _elements(response, "output"))]

    def without_unknown_fields(self, item: Any) -> Any:
        """Return an output item without the fields that its type lacks; as it is, if the dialect lacks the type."""
        known = self.item_fields.get(str(item.get("type")), frozenset()) if isinstance(item, dict) else frozenset()
        return {name: value for name, value in item.items() if name in known} if known else item

    def as_input(self, item: Any) -> Any:
        """Return an output item as a request can send it back.

        That is the item as it is, unless the request schema refuses it and accepts it without one field or two: the
        document of a dialect may let an output have what an input must not have.
        """
        if not isinstance(item, dict) or self._takes(item):
            return item
        fields = [name for name in item if name not in ("type", "id")]
        for left_out in (*combinations(fields, 1), *combinations(fields, 2)):
            less = {name: value for name, value in item.items() if name not in left_out}
            if self._takes(less):
                return less
        return item

    def _takes(self, item: Any) -> bool:
        return self.possible_requests.is_valid({"model": "m", "input": [item]})

    @cached_property
    def possible_requests(self) -> Validator:
        """The validator of requests that may be valid: the variant ``permissive`` of the request schema."""
        return Validator(variant_of(self._from, SchemaVariant.PERMISSIVE))

    @cached_property
    def error_schema(self) -> Schema:
        """The schema of the ``error`` object in the body of a refusal."""
        schema: Schema = self.schema("error")["properties"]["error"]
        return schema

    @cached_property
    def error_field_types(self) -> Mapping[str, tuple[str, ...]]:
        """The JSON types that each field of an error may have, of those fields whose types the schema names."""
        schema = schema_of(self._from, "error")
        found = {}
        for name, node in schema["properties"]["error"].get("properties", {}).items():
            kinds = [_kinds(part) for part in _unfold(schema, node)]
            if all(kinds):
                found[name] = tuple(dict.fromkeys(kind for some in kinds for kind in some))
                if "number" in found[name]:  # an integer is a number, too
                    found[name] = (*found[name], "integer")
        return found

    @cached_property
    def response_fields(self) -> frozenset[str]:
        """The names of the fields that the dialect defines for a response object."""
        return frozenset(schema_of(self._from, "response")["properties"])

    @cached_property
    def parameters(self) -> frozenset[str]:
        """The names of the request's fields."""
        return frozenset(self.request_schema()["properties"])

    @cached_property
    def sound_requests(self) -> Validator:
        """The validator of requests that are valid beyond dispute: the variant ``generation`` of the request schema."""
        return Validator(variant_of(self._from, SchemaVariant.GENERATION))

    def schema(self, name: str) -> Schema:
        """Return a fresh copy of the dialect's schema of that name (as :func:`~rejoinder.contract.load_schema`)."""
        return copy_json(schema_of(self._from, name))

    def event_schema(self, type: str) -> Schema:
        """Return a fresh copy of the schema of an event type, with items, parts and the response as they must be.

        It describes the fields besides ``type`` and ``sequence_number``. Raises ``KeyError`` for an unknown type.
        """
        definitions = event_definitions(self._from)
        return copy_json(with_used({**definitions[type], "$defs": dict(definitions)}))

    def field_validator(self, type: str, name: str) -> Validator:
        """Return the validator of a field of an event type, with items, parts and the response as they must be."""
        found = self._field_validators.get((type, name))
        if found is None:
            definitions = event_definitions(self._from)
            # What is borrowed from a schema that lacks it is left out.
            node = definitions[type]["properties"].get(name, {})
            key = json.dumps(node, sort_keys=True), ""
            if key not in self._field_validators:
                self._field_validators[key] = Validator(with_used({**node, "$defs": dict(definitions)}))
            found = self._field_validators[type, name] = self._field_validators[key]
        return found

    @cached_property
    def _field_validators(self) -> dict[tuple[str, str], Validator]:
        """The validators of fields of events by event type and field, and by their schema as JSON."""
        return {}

    def request_schema(self, variant: SchemaVariant = SchemaVariant.PERMISSIVE) -> Schema:
        """Return a fresh copy of the dialect's request schema in the given variant."""
        return copy_json(variant_of(self._from, variant))

    @cached_property
    def usual_form(self) -> BaseForm:
        """The form of requests that every endpoint of the dialect accepts: messages have ``type`` if they need it."""
        return BaseForm(input=InputForm.TYPED_LIST if self.request["messages_need_type"] else InputForm.LIST)

    def level_of(self, rule: Rule) -> Level:
        """Return the level of the rule here: that of the dialect file, else of the nearest dialect of the family."""
        known = self._levels.get(rule.id)
        if known is None or known[0] is not rule:
            known = self._levels[rule.id] = rule, self._level_of(rule)
        return known[1]

    @cached_property
    def _levels(self) -> dict[str, tuple[Rule, Level]]:
        """The levels of rules by their ids, each with the rule, since an extension may replace one."""
        return {}

    def _level_of(self, rule: Rule) -> Level:
        for pattern, level in reversed(list(self._from.levels.items())):
            if fnmatchcase(rule.id, pattern):
                return level
        return next((rule.levels[name] for name in self.family if name in rule.levels), rule.level)

    @property
    def shipped(self) -> str:
        """The name of the nearest shipped dialect that this one is based on, or is."""
        return next(name for name in self.lineage if name in dialect_names())

    @property
    def freedoms(self) -> Mapping[str, tuple[str, ...]]:
        """What the dialect file says of freedoms of the sandbox: ids or patterns to ``add`` and to ``remove``."""
        return self._from.freedoms


def _unfold(schema: Schema, node: Any) -> Iterator[Schema]:
    """Yield a node without its references, or the alternatives that it chooses from."""
    while isinstance(node, dict) and "$ref" in node:
        node = schema["$defs"][pointer_keys(node["$ref"][1:])[1]]
    if not isinstance(node, dict):
        return
    chosen = [*node.get("anyOf", ()), *(part["then"] for part in node.get("allOf", ()) if "then" in part)]
    for alternative in chosen:
        yield from _unfold(schema, alternative)
    if not chosen:
        yield node


def _kinds(node: Schema) -> list[str]:
    """Return the JSON types that a node without references and alternatives names."""
    literals = [node["const"]] if "const" in node else node.get("enum", [])
    types = node.get("type", [JSON_TYPES[type(value)] for value in literals])
    return [types] if isinstance(types, str) else list(types)


def _elements(schema: Schema, field: str) -> list[Schema]:
    """Return what the elements of a list field may be."""
    lists = [node for node in _unfold(schema, schema["properties"][field]) if isinstance(node.get("items"), dict)]
    return [element for node in lists for element in _unfold(schema, node["items"])]


def _tagged(schema: Schema, nodes: Iterable[Schema]) -> Iterator[tuple[str, Schema]]:
    """Yield those of the nodes that name the type of an object, each with the type."""
    for node in nodes:
        for option in _unfold(schema, node.get("properties", {}).get("type", {})):
            if isinstance(option.get("const"), str):
                yield option["const"], node


def load_dialect(name: str | Path = DEFAULT_DIALECT) -> Dialect:
    """Load a shipped dialect by name, or one's own by the path of its file (``.toml`` or ``.json``).

    Raises :class:`~rejoinder.errors.ContractError` when there is none of that name, or when the file cannot be used:
    the error names file, pointer and keyword.
    """
    return build(_source.read(name))


@cache
def build(source: Source) -> Dialect:
    """Return the dialect of a file that was read; raises as :func:`load_dialect` does."""
    # Every schema is built at once, so that a file with a mistake is refused before anything is judged with it.
    schemas = {name: schema_of(source, name) for name in SCHEMAS}
    if source.name not in dialect_names():
        _check_levels(source)
        _check_schemas({**schemas, "events": {"$defs": event_definitions(source)}}, source)
    return Dialect(
        name=source.name,
        title=source.title,
        summary=source.summary,
        label=source.label,
        source=source.source,
        stream=source.parameters["stream"],
        response=source.parameters["response"],
        request=source.parameters["request"],
        exclusions=source.exclusions,
        events=_events(schemas["events"], source.file),
        validators={"response": Validator(schemas["response"])},
        lineage=source.lineage,
        family=source.family,
        verified=source.verified,
        not_run=source.not_run,
        marks=source.marks,
        operations=operations_of(source),
        _from=source,
    )


def _check_levels(source: Source) -> None:
    """Raise for a level of a rule that does not exist."""
    rules = load_rules() if source.levels else {}
    for pattern in source.levels:
        if not any(fnmatchcase(rule, pattern) for rule in rules):
            near = get_close_matches(pattern.upper(), rules, 1)
            what = f"{pattern!r} is not a rule" + (f"; did you mean {near[0]}?" if near else "")
            raise fail(source.file, f"/levels/{escape_key(pattern)}", pattern, what)


def _check_schemas(schemas: Mapping[str, Schema], source: Source) -> None:
    for name, schema in schemas.items():
        try:
            Validator(schema)
        except ValueError as error:
            reason = str(error).partition("\n")[0]
            table = "schemas" if name in source.schemas else "overlay"
            raise fail(source.file, f"/{table}/{name}", table, f"the schema is invalid: {reason}") from error


def _events(schema: Schema, file: str) -> dict[str, EventSpec]:
    specs: dict[str, EventSpec] = {}
    for name, definition in schema["$defs"].items():
        pointer = f"/$defs/{escape_key(name)}"
        if not isinstance(definition, dict) or definition.get("x-role") not in get_args(Role):
            raise fail(file, pointer, "x-role", f"an event has one of the roles {', '.join(get_args(Role))}")
        for key in ("x-container", "x-part", "x-field", "x-item"):
            if not isinstance(definition.get(key, ""), str):
                raise fail(file, pointer, key, "it must be a string")
        fields = definition.get("properties", {})
        types = {key: _single_type(value) for key, value in fields.items()}
        required = tuple(definition.get("required", ()))
        for key in required:
            if types[key] not in _REQUIRED_TYPES:
                what = f"the required field {key!r} must have one of the types {', '.join(_REQUIRED_TYPES)}"
                raise fail(file, pointer, "required", what)
        specs[name] = EventSpec(
            type=name,
            role=definition["x-role"],
            required=required,
            types=types,
            fields=tuple(
                EventField(
                    name=key,
                    wanted=types[key],
                    kind=_CLASSES[types[key]] if types[key] else None,
                    required=key in required,
                    nullable=_may_be_null(value),
                    nested=value != {"type": types[key]},
                )
                for key, value in fields.items()
            ),
            container=definition.get("x-container", ""),
            part=definition.get("x-part", ""),
            field=definition.get("x-field", ""),
            item=definition.get("x-item", ""),
        )
    return specs


def _single_type(node: Any) -> str:
    """Return the one JSON type besides null that a field has, the empty string for several or unknown ones."""
    kinds = _types(node) - {"null"}
    return kinds.pop() if len(kinds) == 1 else ""


def _may_be_null(node: Any) -> bool:
    return "null" in _types(node)


def _types(node: Any) -> set[str]:
    """Return the JSON types that a field names, its own and those of its alternatives."""
    if not isinstance(node, dict):
        return set()
    return set(_kinds(node)).union(*(_types(branch) for branch in node.get("anyOf", ())))


def features_of(dialect: Dialect) -> list[Feature]:
    """Return the features that a dialect defines: those whose example or operation it has."""
    return [feature for feature in load_features().values() if _defines(dialect, feature)]


def every_feature(dialect: Dialect) -> frozenset[str]:
    """Return the names of all features that a dialect defines."""
    return frozenset(feature.name for feature in features_of(dialect))


def read_features(names: Iterable[str], dialect: Dialect) -> frozenset[str]:
    """Return the names of features in texts, of which each may hold several with commas between.

    Raises :class:`UsageError` for one that the dialect does not define; its hint names the closest one that it does.
    """
    known = [feature.name for feature in features_of(dialect)]
    found = [name.strip().replace("-", "_") for text in names for name in text.split(",") if name.strip()]
    for name in found:
        if name not in known:
            raise UsageError(
                f'"{name}" is not a feature of dialect {dialect.label}.',
                suggest(name, known, "`rejoinder rules --features` lists them."),
            )
    return frozenset(found)


def _defines(dialect: Dialect, feature: Feature) -> bool:
    if feature.operation:
        return feature.operation in dialect.operations
    return dialect.sound_requests.is_valid({"input": "Hi", "model": "m", **(feature.example or {})})
