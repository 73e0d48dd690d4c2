"""A small OpenAPI document becomes a dialect, and what cannot be carried over is told place by place."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.contract.openapi.documents import EVENTS, JSON, SCHEMAS, STREAM, small

from rejoinder.contract import Dialect, dialect_names, load_dialect
from rejoinder.contract.comparing import differences
from rejoinder.contract.openapi import Conversion, Document, convert, dialect_files, read_document
from rejoinder.errors import ContractError, UsageError
from rejoinder.validation import Validator

Change = Callable[[dict[str, Any]], None]


def converted(change: Change | None = None) -> Conversion:
    document = small()
    if change:
        change(document)
    return convert(Document("api.json", document))


def loaded(found: Conversion, folder: Path, base: str = "northstar") -> Dialect:
    return load_dialect(dialect_files(found, name="ours", base=base).write(folder))


def lost(found: Conversion) -> set[tuple[str, str]]:
    return {(loss.pointer, loss.keyword) for loss in found.losses}


def test_the_dialect_has_what_the_document_says(tmp_path: Path) -> None:
    dialect = loaded(converted(), tmp_path)
    assert dialect.name == "ours"
    assert dialect.title == "Our Gateway"
    assert dialect.source == "Our Gateway 7"
    assert dialect.parameters == {"model", "input", "stream", "truncation"}
    assert dialect.item_types == {"message", "lookup_call"}
    assert dialect.item_fields["lookup_call"] == {"type", "id", "query"}
    assert {name: operation.path for name, operation in dialect.operations.items()} == {
        "retrieve": "/v1/responses/{response_id}",
        "delete": "/v1/responses/{response_id}",
    }
    retrieve = dialect.operations["retrieve"]
    assert retrieve.query is not None
    assert (retrieve.query["required"], set(retrieve.query["properties"])) == (["wait"], {"wait"})
    assert retrieve.reply["properties"]["cost"] == {"type": "number", "minimum": 0}
    assert dialect.error_schema["required"] == ["message"]


def test_parameters_follow_from_the_document(tmp_path: Path) -> None:
    dialect = loaded(converted(), tmp_path)
    assert dialect.response["required"] == ["cost"]
    assert dialect.response["statuses"] == ["completed", "failed", "in_progress"]
    assert dialect.response["status_optional"] == ["message", "lookup_call"]
    assert dialect.response["id_optional"] == ["message"]
    assert dialect.request["messages_need_type"] is True
    assert dialect.request["defaults"] == {"truncation": "disabled"}
    assert dialect.stream["error_event"] == "flat"
    base = load_dialect("northstar")
    assert dialect.stream["done_sentinel"] == base.stream["done_sentinel"]


@pytest.mark.parametrize(
    ("event", "role", "container", "part", "field"),
    [
        ("response.created", "snapshot", "", "", ""),
        ("response.completed", "terminal", "", "", ""),
        ("response.output_item.added", "item.added", "", "", ""),
        ("response.output_item.done", "item.done", "", "", ""),
        ("response.content_part.added", "part.added", "content", "", ""),
        ("response.content_part.done", "part.done", "content", "", ""),
        ("response.output_text.delta", "delta", "content", "output_text", "text"),
        ("response.output_text.done", "done", "content", "output_text", "text"),
        ("response.lookup_call_query.delta", "delta", "item", "lookup_call", "query"),
        ("response.lookup_call_query.done", "done", "item", "lookup_call", "query"),
        ("response.lookup_call.searching", "progress", "", "", ""),
        ("gateway.moved", "other", "", "", ""),
        ("error", "error", "", "", ""),
    ],
)
def test_roles_of_events_follow_from_names_and_fields(
    tmp_path: Path, event: str, role: str, container: str, part: str, field: str
) -> None:
    spec = loaded(converted(), tmp_path).events[event]
    assert (spec.role, spec.container, spec.part, spec.field) == (role, container, part, field)


@pytest.mark.parametrize("base", dialect_names())
def test_the_roles_of_shipped_events_are_found_again(tmp_path: Path, base: str) -> None:
    """The events of a shipped dialect, written as a document, get the roles that they have there."""
    dialect = load_dialect(base)
    events = []
    for name, spec in dialect.events.items():
        fields = {key: {"type": kind} for key, kind in spec.types.items() if kind}
        if spec.role == "error":
            continue
        events.append({"type": "object", "properties": {"type": {"const": name}, **fields}, "required": ["type"]})
    known: dict[str, Any] = {
        kind: {
            "type": "object",
            "properties": {"type": {"const": kind}, **{name: {} for name in sorted(fields) if name != "type"}},
        }
        for kind, fields in dialect.item_fields.items()
    }
    parts = {
        "output_text": "text", "refusal": "refusal", "reasoning_text": "text", "summary_text": "text",
    }  # fmt: skip
    shapes = [
        {"type": "object", "properties": {"type": {"const": kind}, field: {"type": "string"}}, "required": ["type"]}
        for kind, field in parts.items()
    ]
    for kind in ("message", "reasoning"):
        known[kind]["properties"]["content"] = {"type": "array", "items": {"anyOf": shapes}}
    known["reasoning"]["properties"]["summary"] = {"type": "array", "items": shapes[3]}

    def change(document: dict[str, Any]) -> None:
        document["paths"]["/v1/responses"]["post"]["responses"]["200"]["content"][STREAM] = {
            "schema": {"anyOf": events}
        }
        document["components"]["schemas"]["OutputItem"] = {"anyOf": list(known.values())}

    found = loaded(converted(change), tmp_path).events
    for name, spec in dialect.events.items():
        if spec.role not in ("error", "other"):
            own = found[name]
            assert (own.role, own.container, own.part, own.field, own.item) == (
                spec.role, spec.container, spec.part, spec.field, spec.item,
            ), name  # fmt: skip


def test_what_was_lost_is_told_place_by_place() -> None:
    def change(document: dict[str, Any]) -> None:
        text = document["components"]["schemas"]["Text"]["properties"]["text"]
        text |= {"format": "markdown", "not": {"const": "x"}}
        document["components"]["schemas"]["Message"]["dependentSchemas"] = {"id": {}}
        post = document["paths"]["/v1/responses"]["post"]
        post["requestBody"]["content"]["multipart/form-data"] = {}

    found = converted(change)
    create = "/paths/~1v1~1responses/post"
    moved = next(place for place, event in enumerate(EVENTS) if "region" in event["properties"])
    union = f"{create}/responses/200/content/text~1event-stream/schema/oneOf"
    assert lost(found) == {
        ("/components/schemas/Text/properties/text", "format"),
        ("/components/schemas/Text/properties/text", "not"),
        ("/components/schemas/Message", "dependentSchemas"),
        (f"{create}/requestBody/content/multipart~1form-data", "multipart/form-data"),
        (f"{union}/{moved}", "gateway.moved"),
        ("/paths/~1v1~1responses~1{id}~1explain/get", "get"),
        ("/paths/~1v1~1responses~1{id}/delete", "responses"),
    }


def test_what_the_document_lacks_stays_that_of_the_base(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["paths"] = {"/responses": {"post": document["paths"]["/v1/responses"]["post"]}}
        document["paths"]["/responses"]["post"]["responses"] = {"200": {}}

    found = converted(change)
    assert set(found.schemas) == {"request", "operations"}
    dialect, base = loaded(found, tmp_path, "openai"), load_dialect("openai")
    assert dialect.schema("response") == base.schema("response")
    assert dialect.schema("events") == base.schema("events")
    assert dialect.operations == {}


def test_a_schema_may_contain_itself(tmp_path: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        schemas["Message"]["properties"]["replies"] = {
            "type": "array",
            "items": {"$ref": "#/components/schemas/Message"},
        }
        schemas["Response"]["properties"]["tree"] = {"oneOf": [{"$ref": "#/components/schemas/Tree"}, {"type": "null"}]}
        schemas["Tree"] = {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}]
        }
        events = document["paths"]["/v1/responses"]["post"]["responses"]["200"]["content"][STREAM]["schema"]["oneOf"]
        events[-2]["properties"]["region"] = {"$ref": "#/components/schemas/Tree"}

    found = converted(change)
    validator = Validator(found.schemas["request"])
    message = {"type": "message", "role": "user", "content": []}
    assert validator.is_valid({"model": "m", "input": [{**message, "replies": [message]}]})
    assert not validator.is_valid({"model": "m", "input": [{**message, "replies": [{**message, "replies": [7]}]}]})
    dialect = loaded(found, tmp_path)
    assert "replies" in dialect.item_fields["message"]
    assert differences(dialect, dialect) == []
    for name in dialect.events:
        Validator(dialect.event_schema(name))


def test_a_schema_that_is_nothing_but_itself_is_left_out() -> None:
    def change(document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        schemas["Text"] = {"anyOf": [{"$ref": "#/components/schemas/Text"}, SCHEMAS["Text"]]}

    assert ("/components/schemas/Text/anyOf/0", "$ref") in lost(converted(change))


def test_other_types_of_items_are_any_object_in_the_output() -> None:
    validator = Validator(converted().schemas["response"])
    response = {"id": "x", "object": "response", "created_at": 1, "model": "m", "status": "failed", "cost": 1}
    assert validator.is_valid({**response, "output": [{"type": "acme:thing"}]})
    assert not validator.is_valid({**response, "output": [{"type": "lookup_call", "id": "x"}]})
    assert not validator.is_valid({**response, "output": [{"id": "x"}]})


def _set(document: Any, pointer: str, value: Any) -> None:
    *path, last = pointer.split("/")[1:]
    for step in path:
        document = document[step.replace("~1", "/")]
    document[last.replace("~1", "/")] = value


REQUEST = "/components/schemas/Request"
BROKEN: dict[str, tuple[str, Any, str, str, str]] = {
    "no object": (REQUEST, 7, REQUEST, "Request", "a schema must be an object"),
    "not an object body": (REQUEST, {"type": "string"}, REQUEST, "type", "must be an object with properties"),
    "no input": (
        REQUEST, {"type": "object", "properties": {"model": {}}}, REQUEST, "properties", "has no field 'input'",
    ),
    "input without items": (
        f"{REQUEST}/properties/input", {"type": "string"}, f"{REQUEST}/properties/input", "items", "no list of items",
    ),
    "reference to nothing": (
        f"{REQUEST}/properties/model", {"$ref": "#/components/schemas/Nope"},
        f"{REQUEST}/properties/model", "$ref", "does not exist",
    ),
    "reference of another kind": (
        f"{REQUEST}/properties/model", {"$ref": 7}, f"{REQUEST}/properties/model", "$ref", "must be a string",
    ),
    "remote reference": (
        f"{REQUEST}/properties/model", {"$ref": "https://127.0.0.1:1/x.json#/y"},
        f"{REQUEST}/properties/model", "$ref", "rejoinder fetches no references",
    ),
    "reference to a file": (
        f"{REQUEST}/properties/model", {"$ref": "other.json"}, f"{REQUEST}/properties/model", "$ref", "leads out of",
    ),
    "references in a ring": (
        REQUEST, {"$ref": REQUEST.join("# ").strip()}, REQUEST, "$ref", "leads back to itself",
    ),
    "unknown type": (
        f"{REQUEST}/properties/model", {"type": "text"}, f"{REQUEST}/properties/model", "type", "JSON type",
    ),
    "properties in a list": (f"{REQUEST}/properties", [], f"{REQUEST}/properties", "properties", "must be an object"),
    "required as text": (f"{REQUEST}/required", "model", REQUEST, "required", "a list of names"),
    "empty union": (
        f"{REQUEST}/properties/model", {"anyOf": []}, f"{REQUEST}/properties/model", "anyOf", "not empty",
    ),
    "enum of nothing": (
        f"{REQUEST}/properties/model", {"enum": []}, f"{REQUEST}/properties/model", "enum", "not empty",
    ),
    "bound as text": (
        f"{REQUEST}/properties/model", {"type": "string", "maxLength": "9"},
        f"{REQUEST}/properties/model", "maxLength", "not a non-negative integer",
    ),
    "bounds that contradict": (
        f"{REQUEST}/properties/model", {"type": "integer", "minimum": 2, "maximum": 1},
        f"{REQUEST}/properties/model", "minimum", "contradicts maximum",
    ),
    "pattern of another kind": (
        f"{REQUEST}/properties/model", {"type": "string", "pattern": 1},
        f"{REQUEST}/properties/model", "pattern", "not a string",
    ),
    "no body": (
        "/paths/~1v1~1responses/post/requestBody", {},
        "/paths/~1v1~1responses/post/requestBody", "requestBody", "no schema for application/json",
    ),
    "output that is no list": (
        "/components/schemas/Response/properties/output", {"type": "string"},
        "/components/schemas/Response", "properties", "no list 'output'",
    ),
    "another API": (
        "/paths", {"/pets": {"get": {}}}, "/paths", "paths", 'this document "Our Gateway" describes another API',
    ),
    "paths in a list": ("/paths", [], "/paths", "paths", "must be an object"),
    "an older version": ("/openapi", "3.0.3", "/openapi", "openapi", "version is '3.0.3', expected 3.1"),
    "no version": ("/openapi", None, "/openapi", "openapi", "expected 3.1"),
    "Swagger": ("/swagger", "2.0", "/swagger", "swagger", "expected OpenAPI 3.1"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_document_is_told_by_file_pointer_and_keyword(tmp_path: Path, case: str) -> None:
    place, value, pointer, keyword, what = BROKEN[case]
    document = small()
    _set(document, place, value)
    path = tmp_path / "api.json"
    path.write_text(json.dumps(document), "utf-8")
    with pytest.raises(ContractError) as caught:
        convert(read_document(path))
    assert f"{path}: at {pointer}, keyword '{keyword}': " in caught.value.message
    assert what in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("api.json", "{", "is not valid JSON"),
        ("api.json", "[]", "keyword 'openapi': the document must hold one object"),
        ("api.json", '{"openapi": NaN}', "NaN is not JSON"),
        ("api.json", "[" * 200 + "]" * 200, "nested more than 100 levels deep"),
        ("api.yaml", "{}", "is YAML, expected JSON"),
        ("api.txt", "openapi: 3.1.0\n", "is YAML, expected JSON"),
        ("api.json", "# a comment\nopenapi: 3.1.0\n", "is YAML, expected JSON"),
        ("api.json", "\xff", "keyword"),
    ],
)
def test_a_file_that_is_no_document(tmp_path: Path, name: str, text: str, what: str) -> None:
    path = tmp_path / name
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ContractError) as caught:
        read_document(path)
    assert str(path) in caught.value.message
    assert what in caught.value.message or "not UTF-8" in caught.value.message


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ContractError, match="Cannot read"):
        read_document(tmp_path / "none.json")
    monkeypatch.setattr("rejoinder.contract.openapi.document.INPUT_OPENAPI", 10)
    (tmp_path / "api.json").write_text(json.dumps(small()), "utf-8")
    with pytest.raises(ContractError, match="larger than 10 bytes"):
        read_document(tmp_path / "api.json")


def chain(number: int, times: int) -> Change:
    """Return a change that adds schemas of which each refers to the next so many times."""

    def change(document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        for index in range(number):
            following = {"$ref": f"#/components/schemas/D{index + 1}"}
            schemas[f"D{index}"] = {"type": "object", "properties": {f"f{place}": following for place in range(times)}}
        schemas[f"D{number}"] = {"type": "string"}
        schemas["Request"]["properties"]["chain"] = {"$ref": "#/components/schemas/D0"}

    return change


@pytest.mark.parametrize(("number", "times", "what"), [(60, 2, "200,000 places"), (400, 1, "100 levels deep")])
def test_a_document_that_is_large_only_when_its_references_are_followed(number: int, times: int, what: str) -> None:
    with pytest.raises(ContractError, match=what):
        dialect_files(converted(chain(number, times)), name="ours")


def test_a_chain_of_allof_is_not_multiplied() -> None:
    def change(document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        for index in range(40):
            following = {"$ref": f"#/components/schemas/D{index + 1}"}
            schemas[f"D{index}"] = {"allOf": [following, following, {"properties": {f"f{index}": {"type": "string"}}}]}
        schemas["D40"] = {"type": "object", "properties": {"last": {"type": "integer"}}}
        schemas["Request"]["properties"]["chain"] = {"$ref": "#/components/schemas/D0"}

    found = converted(change)
    validator = Validator(found.schemas["request"])
    assert validator.is_valid({"model": "m", "input": "x", "chain": {"f0": "x", "f39": "x", "last": 1}})
    assert not validator.is_valid({"model": "m", "input": "x", "chain": {"last": "x"}})


@pytest.mark.parametrize("name", ["openai", "Ours", "", "a/b"])
def test_names_that_cannot_be_used(name: str) -> None:
    found = converted()
    if not name:
        assert next(iter(dialect_files(found).files)) == "our-gateway.toml"
        return
    with pytest.raises(UsageError, match=name) as caught:
        dialect_files(found, name=name)
    assert "--name" in caught.value.hint


def test_an_unknown_base() -> None:
    with pytest.raises(ContractError, match="not a dialect"):
        dialect_files(converted(), name="ours", base="nope")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    files = dialect_files(converted(), name="ours")
    files.write(tmp_path)
    with pytest.raises(UsageError, match="exists already"):
        files.write(tmp_path)


def test_parameters_in_components_and_inline_schemas(tmp_path: Path) -> None:
    """References may stand for bodies, responses, parameters and paths; schemas may stand where they are used."""

    def change(document: dict[str, Any]) -> None:
        post = document["paths"]["/v1/responses"]["post"]
        components = document["components"]
        components["requestBodies"] = {
            "Create": {"content": {f"{JSON}; charset=utf-8": {"schema": SCHEMAS["Request"]}}}
        }
        components["responses"] = {"Created": post["responses"]["200"]}
        components["pathItems"] = {"Responses": {"post": post}}
        post["requestBody"] = {"$ref": "#/components/requestBodies/Create"}
        post["responses"] = {"201": {"$ref": "#/components/responses/Created"}}
        document["paths"]["/v1/responses"] = {"$ref": "#/components/pathItems/Responses"}

    dialect = loaded(converted(change), tmp_path)
    assert dialect.parameters == {"model", "input", "stream", "truncation"}
    assert "gateway.moved" in dialect.events
