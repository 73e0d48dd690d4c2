"""Dialects laid over the contract: variants inside one another, and errors that say where an overlay is wrong."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from rejoinder.contract import SchemaVariant, dialect_names, load_dialect, load_operations, load_schema, request_schema
from rejoinder.errors import ContractError
from rejoinder.strategies import each_choice, from_contract
from rejoinder.validation import Validator

NAMES = dialect_names()
SCHEMAS = ("request", "response", "events", "error", "operations")
VALIDATORS = {
    name: {variant: Validator(request_schema(variant, dialect=name)) for variant in SchemaVariant} for name in NAMES
}
DRAWN = {name: from_contract(request_schema(SchemaVariant.GENERATION, dialect=name), file=name) for name in NAMES}
#: Every variant of the default dialect; of other dialects these are valid, contested or wrong.
BODIES = [case.body for case in each_choice()]


def nodes(schema: Any, path: tuple[Any, ...] = ()) -> Iterator[Any]:
    yield path, schema
    children = schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ()
    for key, child in children:
        yield from nodes(child, (*path, key))


@pytest.mark.parametrize("name", NAMES)
@given(data=st.data())
def test_generation_lies_in_closed_and_closed_in_permissive(name: str, data: st.DataObject) -> None:
    """A body drawn from the generation variant is valid in each, a changed one never in a narrower variant only."""
    body = data.draw(DRAWN[name])
    accepted = [
        VALIDATORS[name][variant].is_valid(body)
        for variant in (SchemaVariant.GENERATION, SchemaVariant.CLOSED, SchemaVariant.PERMISSIVE)
    ]
    assert accepted == [True, True, True]
    key = data.draw(st.sampled_from([*body, "surely_no_field"]))
    body[key] = data.draw(st.sampled_from([None, 1, "x", [], {}, [{"type": "acme:thing"}], {"type": "function"}]))
    generation, closed, permissive = (
        VALIDATORS[name][variant].is_valid(body)
        for variant in (SchemaVariant.GENERATION, SchemaVariant.CLOSED, SchemaVariant.PERMISSIVE)
    )
    assert generation <= closed <= permissive


@pytest.mark.parametrize("name", NAMES)
def test_variants_of_the_default_dialects_bodies(name: str) -> None:
    for body in BODIES:
        generation, closed, permissive = (
            VALIDATORS[name][variant].is_valid(body)
            for variant in (SchemaVariant.GENERATION, SchemaVariant.CLOSED, SchemaVariant.PERMISSIVE)
        )
        assert generation <= closed <= permissive


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("name", NAMES)
def test_schemas_are_whole(name: str, schema: str) -> None:
    """Every reference leads somewhere, every definition is reached, and the copies are fresh."""
    whole = load_schema(schema, dialect=name)
    Draft202012Validator.check_schema(whole)
    used = {node.removeprefix("#/$defs/") for path, node in nodes(whole) if path and path[-1] == "$ref"}
    assert used <= set(whole.get("$defs", ()))
    if schema in ("request", "response"):
        assert used == set(whole["$defs"])
    whole.clear()
    assert load_schema(schema, dialect=name) == load_dialect(name).schema(schema)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("variant", SchemaVariant)
def test_the_dialects_own_accessors(name: str, variant: SchemaVariant) -> None:
    assert load_dialect(name).request_schema(variant) == request_schema(variant, dialect=name)


def test_the_default_dialect_is_the_file_itself() -> None:
    for name in ("events", "error", "operations"):
        assert load_schema(name) == load_schema(name, dialect="northstar")
    # Official examples leave out a field that the types require; that form is contested.
    request = deepcopy(load_schema("request", dialect="northstar"))
    assert request["$defs"]["InputContent"]["anyOf"].pop()["x-branch"] == "contested"
    assert request == load_schema("request")
    assert request_schema() == load_schema("request", dialect="northstar")


def test_an_unknown_schema() -> None:
    with pytest.raises(ContractError, match='"x" is not a schema'):
        load_schema("x")


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("northstar", {"input": "x", "top_k": 1, "conversation": None}),
        ("openai", {"input": "x", "conversation": {"id": "c"}, "stream_options": {"include_obfuscation": False}}),
        ("openai", {"input": [{"type": "compaction_trigger"}], "tools": [{"type": "tool_search"}]}),
        ("openai", {"input": "x", "include": ["web_search_call.results"], "service_tier": "ultrafast"}),
        ("openai", {"input": "x", "tool_choice": {"type": "shell"}, "reasoning": {"effort": "max", "mode": "pro"}}),
        ("openresponses", {"input": [{"type": "acme:thing", "deep": {"a": 1}}]}),
        (
            "openresponses",
            {"input": [{"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file"}]}]},
        ),
    ],
)
def test_what_a_dialect_takes(name: str, valid: dict[str, Any]) -> None:
    assert VALIDATORS[name][SchemaVariant.PERMISSIVE].errors(valid) == []


@pytest.mark.parametrize(
    ("name", "pointer", "invalid"),
    [
        ("northstar", "/include/0", {"input": "x", "include": ["web_search_call.results"]}),
        ("northstar", "/tools/0/type", {"input": "x", "tools": [{"type": "web_search"}]}),
        ("openai", "/input/0/action/type", {"input": [{
            "type": "computer_call", "id": "c", "call_id": "c", "pending_safety_checks": [], "status": "completed",
            "action": {"type": "point_and_type", "text": "", "x": 1, "y": 1},
        }]}),
        ("openai", "/tools/0/parameters", {"input": "x", "tools": [{"type": "function", "name": "f", "strict": None}]}),
        ("openresponses", "/tools/0/type", {"input": "x", "tools": [{"type": "web_search"}]}),
    ],
)  # fmt: skip
def test_what_a_dialect_refuses(name: str, pointer: str, invalid: dict[str, Any]) -> None:
    assert pointer in {error.pointer for error in VALIDATORS[name][SchemaVariant.PERMISSIVE].errors(invalid)}


def test_open_responses_has_two_formats_of_text() -> None:
    for kind, valid in (("json_object", False), ("text", True)):
        body = {"input": "x", "text": {"format": {"type": kind}}}
        assert [VALIDATORS["openresponses"][variant].is_valid(body) for variant in SchemaVariant] == [valid] * 3


def test_branches_that_only_the_permissive_variant_has() -> None:
    """Items of a vendor's own are legal in Open Responses; what they hold is not known, so none is generated."""
    body = {"input": [{"type": "acme:thing"}]}
    accepted = {variant: VALIDATORS["openresponses"][variant].is_valid(body) for variant in SchemaVariant}
    assert accepted == {SchemaVariant.PERMISSIVE: True, SchemaVariant.CLOSED: True, SchemaVariant.GENERATION: False}
    shell = {"input": [{"type": "local_shell_call_output", "id": "x", "output": "x"}]}
    assert [VALIDATORS["openresponses"][variant].is_valid(shell) for variant in SchemaVariant] == [False] * 3


OWN = """
name = "own"
title = "An endpoint of one's own"
base = "openai"
[stream]
done_sentinel = "required"
[overlay.request]
remove = ["/properties/moderation"]
[overlay.request.include]
"/$defs/Tool/anyOf" = [{ "$ref" = "#/$defs/Tool.Weather" }]
"/required" = ["model"]
[overlay.request.add]
"/properties/top_k" = { type = "integer", minimum = 1 }
[overlay.request.add."/$defs/Tool.Weather"]
type = "object"
properties.type = { const = "weather" }
required = ["type"]
[overlay.events.add."/$defs/own:thought"]
type = "object"
properties.delta = { type = "string" }
required = ["delta"]
x-role = "other"
[overlay.operations]
remove = ["/x-operations/compact"]
"""


def as_json(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "own.json"
    path.write_text(json.dumps(tomllib.loads(text)), "utf-8")
    return path


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_a_dialect_of_ones_own(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN, "utf-8")
    if kind == "json":
        path = as_json(OWN, tmp_path)
    dialect = load_dialect(path)
    assert (dialect.name, dialect.lineage) == ("own", ("own", "openai", "northstar"))
    assert dialect.stream["done_sentinel"] == "required"
    assert dialect.stream["error_event"] == load_dialect("openai").stream["error_event"]
    assert dialect.events["own:thought"].required == ("delta",)
    assert load_dialect(str(path)) is dialect
    validator = Validator(request_schema(dialect=path))
    assert validator.errors({"input": "x", "model": "m", "tools": [{"type": "weather"}], "top_k": 1}) == []
    assert {error.pointer for error in validator.errors({"input": "x", "top_k": 0})} == {"/model", "/top_k"}
    assert "moderation" not in request_schema(dialect=path)["properties"]
    assert "Moderation" not in request_schema(dialect=path)["$defs"]
    assert set(load_operations("openai")) - set(load_operations(path)) == {"compact"}


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    for number in (1, 2):
        path.write_text(f'name = "own"\n[overlay.request.add]\n"/properties/extra{number}" = {{ type = "string" }}\n')
        assert f"extra{number}" in request_schema(dialect=path)["properties"]
        assert f"extra{number}" in load_dialect(path).request_schema()["properties"]


ADD = '[overlay.request.add]\n"/properties/x" = '
BAD = {
    # An overlay that finds something else than it expects: pointer, operation, what is said.
    "remove nothing": (
        '[overlay.request]\nremove = ["/properties/nope"]',
        "/properties/nope",
        "remove",
        "no such place",
    ),
    "remove no pointer": ('[overlay.request]\nremove = ["top_k"]', "top_k", "remove", "begins with a slash"),
    "remove no list": ('[overlay.request]\nremove = "/properties/top_k"', "/", "remove", "must be a list"),
    "add no table": ('[overlay.request]\nadd = ["/properties/x"]', "/", "add", "must be a table"),
    "add over": ('[overlay.request.add]\n"/properties/top_k" = {}', "/properties/top_k", "add", "exists already"),
    "add nowhere": ('[overlay.request.add]\n"/$defs/No/properties/x" = {}', "/$defs/No/properties/x", "add", "exist"),
    "replace nothing": ('[overlay.request.replace]\n"/properties/x" = {}', "/properties/x", "replace", "no such place"),
    "replace by the same": ('[overlay.request.replace]\n"/required" = ["input"]', "/required", "replace", "same value"),
    "include twice": ('[overlay.request.include]\n"/required" = ["input"]', "/required", "include", "the list has"),
    "include no list": ('[overlay.request.include]\n"/properties" = []', "/properties", "include", "must be lists"),
    "exclude nothing": ('[overlay.request.exclude]\n"/required" = ["x"]', "/required", "exclude", "not in the list"),
    "exclude nowhere": ('[overlay.request.exclude]\n"/nope" = ["x"]', "/nope", "exclude", "no such place"),
    "unused definition": (
        '[overlay.request.add."/$defs/X"]\ntype = "object"',
        "/$defs/X",
        "add",
        "no part of the schema refers",
    ),
    "both ways": (
        '[overlay.request]\nremove = ["/properties/top_k"]\n[overlay.request.add]\n"/properties/top_k" = {}',
        "/properties/top_k",
        "add",
        "conflicts with 'remove'",
    ),
    "unknown operation": ("[overlay.request.merge]", "/", "merge", "unknown operation"),
    # Schemas outside the vocabulary.
    "unsupported keyword": (ADD + "{ oneOf = [{}] }", "/properties/x", "oneOf", "not supported"),
    "if in a request": (ADD + "{ if = {}, then = {} }", "/properties/x", "if", "not supported"),
    "keyword of another type": (ADD + '{ type = "string", minimum = 1 }', "/properties/x", "minimum", "not supported"),
    "beside a reference": (
        ADD + '{ "$ref" = "#/$defs/Tool", type = "object" }',
        "/properties/x",
        "type",
        "not supported beside '$ref'",
    ),
    "deep inside": (
        ADD + '{ anyOf = [{ type = "array", items = { not = {} } }] }',
        "/properties/x/anyOf/0/items",
        "not",
        "not supp",
    ),
    "no type": (ADD + '{ type = "text" }', "/properties/x", "type", "not a JSON type"),
    "no schema": (ADD + '"string"', "/properties/x", "x", "a schema must be an object"),
    "never valid": (ADD + "false", "/properties/x", "x", "no value would be valid"),
    # References.
    "reference to nothing": (
        ADD + '{ "$ref" = "#/$defs/Nope" }',
        "/properties/x",
        "$ref",
        "'#/$defs/Nope' does not exist",
    ),
    "reference outside": (ADD + '{ "$ref" = "other.json#/x" }', "/properties/x", "$ref", "not a reference"),
    "left behind": (
        '[overlay.request]\nremove = ["/$defs/Prompt"]',
        "/properties/prompt/anyOf/0",
        "$ref",
        "does not exist",
    ),
    "loop": (
        '[overlay.request.include]\n"/$defs/Tool/anyOf" = [{ "$ref" = "#/$defs/L" }]\n'
        '[overlay.request.add."/$defs/L"]\nanyOf = [{ "$ref" = "#/$defs/L" }, { type = "null" }]',
        "/$defs/L/anyOf/0",
        "$ref",
        "leads back to itself",
    ),
    "borrowed from itself": (
        '[overlay.response.add]\n"/properties/x" = { x-from = "#/properties/x" }',
        "/properties/x",
        "x-from",
        "leads back to itself",
    ),
    "borrowed from what is around it": (
        '[overlay.events.replace]\n"/$defs/response.created/properties/response"'
        ' = { type = "object", x-from = "#/$defs/response.created" }',
        "/$defs/response.created/properties/response",
        "x-from",
        "leads back to itself",
    ),
    # Contradictions.
    "required nothing": (
        ADD + '{ type = "object", properties = { a = {} }, required = ["b"] }',
        "/properties/x",
        "required",
        "'b' is required",
    ),
    "const of another type": (ADD + '{ type = "string", const = 1 }', "/properties/x", "const", "1 contradicts type"),
    "enum of another type": (ADD + '{ type = "integer", enum = [1, "a"] }', "/properties/x", "enum", "'a' contradicts"),
    "enum twice": (ADD + '{ enum = ["a", "a"] }', "/properties/x", "enum", "listed twice"),
    "enum empty": (ADD + "{ enum = [] }", "/properties/x", "enum", "the list is empty"),
    "bounds": (
        ADD + '{ type = "integer", minimum = 2, maximum = 1 }',
        "/properties/x",
        "minimum",
        "contradicts maximum 1",
    ),
    "a bound that is none": (
        ADD + '{ type = "integer", minimum = "1" }',
        "/properties/x",
        "minimum",
        "not a finite number",
    ),
    "a count that is none": (
        ADD + '{ type = "array", minItems = -1 }',
        "/properties/x",
        "minItems",
        "not a non-negative integer",
    ),
    "definitions inside": (ADD + '{ type = "object", "$defs" = {} }', "/properties/x", "$defs", "at the top"),
    "pattern": (ADD + '{ type = "string", pattern = "(" }', "/properties/x", "pattern", "invalid regular expression"),
    "all taken away": (
        '[overlay.request.replace]\n"/$defs/TextFormat/anyOf" = []',
        "/$defs/TextFormat",
        "anyOf",
        "the list is empty",
    ),
    # The file around the overlay.
    "unknown part": ('more = "x"', "/more", "more", "no such key"),
    "unknown base": ('base = "x"', "/base", "base", "not one of"),
    "unknown schema": ("[overlay.requests]", "/overlay/requests", "requests", "one of request"),
    "unknown parameter": ("[stream]\nsentinel = 1", "/stream/sentinel", "sentinel", "no such parameter"),
    "parameter of another type": ("[response]\nrequired = 1", "/response/required", "required", "same type"),
    "operation without a reply": (
        '[overlay.operations.add]\n"/x-operations/x" = { method = "GET", path = "/" }',
        "/x-operations/x",
        "reply",
        "missing",
    ),
    "event without a role": (
        '[overlay.events.add."/$defs/a:b"]\ntype = "object"',
        "/$defs/a:b",
        "x-role",
        "one of the roles",
    ),
    "event with a required field of any type": (
        '[overlay.events.add."/$defs/a:b"]\ntype = "object"\nproperties.x = {}\nrequired = ["x"]\nx-role = "other"',
        "/$defs/a:b",
        "required",
        "must have one of the types",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_overlays_are_told_by_file_pointer_and_keyword(tmp_path: Path, case: str) -> None:
    text, pointer, keyword, what = BAD[case]
    path = tmp_path / "own.toml"
    path.write_text(f'name = "own"\n{text}\n', "utf-8")
    with pytest.raises(ContractError) as caught:
        load_dialect(path)
    message = caught.value.message
    assert str(path) in message
    assert f"at {pointer}, keyword {keyword!r}: " in message
    assert what in message
    assert caught.value.hint


OWN_REQUEST: dict[str, Any] = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "input": {
            "anyOf": [{"type": "string", "maxLength": 9}, {"type": "array", "items": {"$ref": "#/$defs/Note"}}],
        },
    },
    "required": ["input"],
    "$defs": {
        "Note": {
            "type": "object",
            "properties": {"type": {"const": "note"}, "text": {"type": "string"}},
            "required": ["type", "text"],
        }
    },
}


def with_request(tmp_path: Path, schema: Any, more: str = "", name: str = "own/request.schema.json") -> Path:
    path = tmp_path / "own.toml"
    path.write_text(f'name = "own"\nbase = "openai"\n[schemas]\nrequest = "{name}"\n{more}', "utf-8")
    (tmp_path / "own").mkdir(exist_ok=True)
    text = schema if isinstance(schema, str) else json.dumps(schema)
    (tmp_path / "own" / "request.schema.json").write_text(text, "utf-8")
    return path


def test_a_whole_schema_replaces_that_of_the_base_and_its_overlays(tmp_path: Path) -> None:
    path = with_request(tmp_path, OWN_REQUEST, '[overlay.request.add]\n"/properties/seed" = { type = "integer" }\n')
    dialect = load_dialect(path)
    assert set(dialect.parameters) == {"model", "input", "seed"}
    assert "note" in dialect.item_types
    assert dialect.item_fields["note"] == {"type", "text"}
    assert "item_reference" not in dialect.item_types
    assert dialect.schema("events") == load_dialect("openai").schema("events")
    validator = Validator(request_schema(dialect=path))
    assert validator.errors({"input": [{"type": "note", "text": "x"}]}) == []
    assert [error.keyword for error in validator.errors({"input": "longer than nine"})] == ["maxLength"]


def test_a_whole_schema_that_changes_is_read_again(tmp_path: Path) -> None:
    path = with_request(tmp_path, OWN_REQUEST)
    assert load_dialect(path).parameters == {"model", "input"}
    other = deepcopy(OWN_REQUEST)
    other["properties"]["stop"] = {"type": "string"}
    with_request(tmp_path, other)
    assert load_dialect(path).parameters == {"model", "input", "stop"}


@pytest.mark.parametrize(
    ("schema", "what"),
    [
        ("{", "is not valid JSON"),
        ([], "the file must hold one object"),
        ({}, "at /properties, keyword 'properties': a request schema needs a table there"),
        ({**OWN_REQUEST, "$defs": []}, "at /$defs, keyword '$defs': a request schema needs a table there"),
        ({**OWN_REQUEST, "not": {}}, "at /, keyword 'not': not supported"),
        (
            {**OWN_REQUEST, "$defs": {"Note": {"anyOf": [{"$ref": "#/$defs/Note"}, {"type": "string"}]}}},
            "at /$defs/Note/anyOf/0, keyword '$ref': 'Note' leads back to itself",
        ),
        (
            {**OWN_REQUEST, "$defs": {"Note": {"$ref": "https://example.com/note.json"}}},
            "at /$defs/Note, keyword '$ref': 'https://example.com/note.json' is not a reference",
        ),
    ],
)
def test_a_whole_schema_that_cannot_be_used(tmp_path: Path, schema: Any, what: str) -> None:
    path = with_request(tmp_path, schema)
    with pytest.raises(ContractError) as caught:
        load_dialect(path)
    assert str(tmp_path / "own" / "request.schema.json") in caught.value.message
    assert what in caught.value.message


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("own/none.json", "Cannot read the schema file"),
        ("../request.json", "the path must stay below the folder of the dialect file"),
        ("/request.json", "the path must stay below the folder of the dialect file"),
        ("https:/request.yaml", "it must be the path of a .json file"),
    ],
)
def test_a_path_of_a_whole_schema_that_cannot_be_used(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(ContractError, match=what):
        load_dialect(with_request(tmp_path, OWN_REQUEST, name=name))


def test_a_whole_schema_of_no_known_name(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text('name = "own"\n[schemas]\nrequests = "x.json"\n', "utf-8")
    with pytest.raises(ContractError, match="at /schemas/requests, keyword 'requests': it must be one of request"):
        load_dialect(path)


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("own.toml", "name = ", "is not valid TOML"),
        ("own.json", "{", "is not valid JSON"),
        ("own.json", "[]", "must hold one object"),
        ("own.toml", 'title = "x"', "a name starts with"),
        ("own.toml", 'name = "Own"', "a name starts with"),
        ("own.toml", 'name = "openai"', "the name of a shipped dialect"),
    ],
)
def test_bad_dialect_files(tmp_path: Path, name: str, text: str, what: str) -> None:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    with pytest.raises(ContractError) as caught:
        load_dialect(path)
    assert str(path) in caught.value.message
    assert what in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="Cannot read"):
        load_dialect(tmp_path / "none.toml")


KEYWORDS = ("type", "properties", "required", "anyOf", "enum", "const", "$ref", "items", "minimum", "pattern", "$defs")
PLACES = ("/properties/x", "/properties/top_k", "/$defs", "/$defs/Tool/anyOf", "/required", "/x", "", "/", "/a/0")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["string", "object", "#/$defs/Tool", "x", "("]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=3),
    max_leaves=6,
)
tables = st.dictionaries(st.sampled_from(PLACES), values, max_size=2) | values
operations = st.fixed_dictionaries(
    {},
    optional={
        "remove": st.lists(st.sampled_from(PLACES), max_size=2) | values,
        **dict.fromkeys(("exclude", "include", "replace", "add"), tables),
    },
)


@pytest.mark.slow(2)
@given(schema=st.sampled_from(SCHEMAS), overlay=operations | values)
def test_no_overlay_fails_in_any_other_way(
    tmp_path_factory: pytest.TempPathFactory, schema: str, overlay: dict[str, Any] | int | list[Any] | None
) -> None:
    """Whatever an overlay says, it is used or refused with the file's name; nothing else is raised."""
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps({"name": "any", "overlay": {schema: overlay}}), "utf-8")
    refused = ""
    try:
        Draft202012Validator.check_schema(load_dialect(path).schema(schema))
    except ContractError as error:
        refused = error.message
    assert not refused or str(path) in refused


def _chain(number: int, times: int) -> dict[str, Any]:
    """Return a request schema with definitions of which each refers to the next so many times."""
    schema = deepcopy(OWN_REQUEST)
    fields = {
        f"D{index}": {f"f{place}": {"$ref": f"#/$defs/D{index + 1}"} for place in range(times)}
        for index in range(number)
    }
    schema["$defs"] |= {name: {"type": "object", "properties": inner} for name, inner in fields.items()}
    schema["$defs"][f"D{number}"] = {"type": "string"}
    schema["properties"]["chain"] = {"$ref": "#/$defs/D0"}
    return schema


@pytest.mark.parametrize("backwards", [False, True])
def test_a_schema_that_is_large_only_when_its_references_are_followed(tmp_path: Path, backwards: bool) -> None:
    for number, times, what in ((60, 2, "more than 200,000 places"), (3_000, 1, "nested more than 100 levels deep")):
        schema = _chain(number, times)
        if backwards:
            schema["$defs"] = dict(reversed(schema["$defs"].items()))
        with pytest.raises(ContractError, match=what) as caught:
            load_dialect(with_request(tmp_path, schema))
        assert "keyword '$ref'" in caught.value.message
    assert "chain" in load_dialect(with_request(tmp_path, _chain(8, 2))).parameters
