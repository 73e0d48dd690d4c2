"""The dialect openresponses against the published document, which nothing of rejoinder's converter reads here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema_rs
import pytest
from tests.contract.openapi.documents import ORIGINAL, PUBLISHED, published, stripped

from rejoinder.contract import SchemaVariant, load_dialect
from rejoinder.contract.branches import Branches
from rejoinder.contract.openapi import convert, read_document, schema_text

NAME = "openresponses"
FOLDER = files("rejoinder.contract").joinpath("dialects", NAME)


def test_the_schemas_are_what_the_converter_makes_of_the_document() -> None:
    found = convert(read_document(PUBLISHED))
    assert set(found.schemas) == {"request", "response", "events", "operations"}
    for name, schema in found.schemas.items():
        assert FOLDER.joinpath(f"{name}.schema.json").read_text("utf-8") == schema_text(schema), name


@pytest.mark.may_skip
def test_the_kept_document_is_the_published_one() -> None:
    if ORIGINAL is None:
        pytest.skip("the published document is not at hand")
    assert stripped(json.loads(ORIGINAL.read_text("utf-8"))) == published()
    assert convert(read_document(ORIGINAL)).schemas == convert(read_document(PUBLISHED)).schemas


def test_what_is_lost_touches_no_schema() -> None:
    assert {loss.keyword for loss in convert(read_document(PUBLISHED)).losses} == {
        "application/x-www-form-urlencoded",
        "responses",
        "x-openresponses-websocket",
    }


# A walk over both sides that knows nothing of the converter: the values that a document names at each path.


@cache
def document() -> dict[str, Any]:
    return published()


def parts(node: Any, definitions: Any, tag: str = "") -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the schemas without choice of a node, each with the type that chooses it."""
    if not isinstance(node, dict):
        return
    if "$ref" in node:
        *_, name = node["$ref"].split("/")
        yield from parts(definitions[name], definitions, tag)
        return
    branches = [
        *node.get("oneOf", ()),
        *node.get("anyOf", ()),
        *(part.get("then", part) for part in node.get("allOf", ())),
    ]
    for branch in branches:
        yield from parts(branch, definitions, tag)
    if not branches and node:
        yield node, tag


def values(node: dict[str, Any]) -> list[Any]:
    return [node["const"]] if "const" in node else list(node.get("enum", ()))


def facts(node: Any, definitions: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield what a schema says: path, kind of the fact, and the value."""
    for part, _ in parts(node, definitions):
        kinds = part.get("type")
        if kinds is None and values(part):
            kinds = "string"
        yield path, "type", kinds
        for value in values(part):
            yield path, "value", value
        for key in part.keys() & BOUNDS:
            yield path, key, part[key]
        fields = part.get("properties", {})
        tag = "|".join(
            sorted(str(value) for kind, _ in parts(fields.get("type", {}), definitions) for value in values(kind))
        )
        role = "|".join(values(fields.get("role", {})))
        inside = path + (f"<{tag}{'/' if role else ''}{role}>" if tag and path else "")
        for name, child in fields.items():
            yield f"{inside}.{name}", "required", name in part.get("required", ())
            yield from facts(child, definitions, f"{inside}.{name}")
        if isinstance(part.get("items"), dict):
            yield from facts(part["items"], definitions, f"{inside}[]")
        if part.get("additionalProperties"):
            yield from facts(part["additionalProperties"], definitions, f"{inside}{{}}")


BOUNDS = {
    "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "pattern", "maxProperties",
}  # fmt: skip


def compared(published_node: Any, own: dict[str, Any]) -> tuple[set[Any], set[Any]]:
    """Return the facts that only the document has, and those that only the dialect has."""
    theirs = {
        (path, kind, str(value)) for path, kind, value in facts(published_node, document()["components"]["schemas"])
    }
    mine = {(path, kind, str(value)) for path, kind, value in facts(own, own.get("$defs", {}))}
    return theirs - mine, mine - theirs


def schema(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def test_the_request_is_the_documents() -> None:
    missing, extra = compared(schema("CreateResponseBody"), load_dialect(NAME).request_schema(SchemaVariant.GENERATION))
    assert missing == set()
    assert {fact for fact in extra if "additionalProperties" not in fact} == set()
    # The content of a reasoning item may only be null, so it is absent or null.
    branches, content = Branches.of_dialect(NAME).all, "input[array][][ReasoningItemParam].content"
    assert {branch for branch in branches if branch.startswith(content)} == {f"{content}=absent", f"{content}=null"}
    assert len(branches) == 264


def test_the_request_has_every_bound_of_the_document() -> None:
    own = load_dialect(NAME).request_schema(SchemaVariant.GENERATION)
    theirs = [
        fact for fact in facts(schema("CreateResponseBody"), document()["components"]["schemas"]) if fact[1] in BOUNDS
    ]
    mine = [fact for fact in facts(own, own["$defs"]) if fact[1] in BOUNDS]
    assert sorted(map(str, mine)) == sorted(map(str, theirs))
    assert len({str(fact) for fact in theirs}) >= 31


#: What the text of the specification leaves open although the document does not, by path.
OPEN_STATUS = {".output[]<message>.status", ".output[]<function_call>.status", ".output[]<function_call_output>.status"}


def test_the_response_is_the_documents() -> None:
    missing, extra = compared(schema("ResponseResource"), load_dialect(NAME).schema("response"))
    assert {path for path, kind, _ in missing if kind == "value"} == OPEN_STATUS
    assert {fact for fact in missing if fact[1] != "value"} == set()
    # A status of the response is one of those that the rules know, and an echoed schema may be the one that was sent.
    assert {(path, kind) for path, kind, _ in extra} <= {
        (".status", "value"),
        (".text.format<json_schema>.schema", "type"),
        (".tools[].type", "required"),
        (".tools[].type", "type"),
        (".tools[].type", "pattern"),
        (".tool_choice.type", "required"),
        (".tool_choice.type", "type"),
        (".tool_choice.type", "pattern"),
    }


def test_the_events_are_the_documents() -> None:
    stream = document()["paths"]["/responses"]["post"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
    dialect = load_dialect(NAME)
    components = document()["components"]["schemas"]
    theirs = {}
    for event, _ in parts(stream, components):
        theirs[event["properties"]["type"]["enum"][0]] = event
    assert set(dialect.events) == set(theirs)
    for name, event in theirs.items():
        spec = dialect.events[name]
        assert set(spec.types) | {"type", "sequence_number"} == set(event["properties"]), name
        assert {*spec.required, "type", "sequence_number"} == set(event["required"]), name


def test_compact_is_the_documents() -> None:
    compact = load_dialect(NAME).operations["compact"]
    assert compact.body is not None
    assert compared(schema("CompactResponseMethodPublicBody"), compact.body)[0] == set()
    missing, extra = compared(schema("CompactResource"), compact.reply)
    assert {fact for fact in missing if not fact[0].endswith(".status")} == set()
    assert extra == set()


@pytest.mark.parametrize("variant", [SchemaVariant.GENERATION, SchemaVariant.CLOSED])
def test_the_document_accepts_what_the_dialect_generates(variant: SchemaVariant) -> None:
    """Judged by a validator of the document itself, in which an alternative of oneOf must be the only one."""
    root = {**schema("CreateResponseBody"), "components": document()["components"]}
    validator = jsonschema_rs.Draft202012Validator(root)
    own = jsonschema_rs.Draft202012Validator(load_dialect(NAME).request_schema(variant))
    for body in bodies():
        if own.is_valid(body):
            assert validator.is_valid(body), body


def bodies() -> list[Any]:
    from rejoinder.strategies import EndpointProfile, each_choice

    return [case.body for case in each_choice(profile=EndpointProfile(dialect=NAME))]
