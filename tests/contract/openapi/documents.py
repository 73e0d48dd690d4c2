"""OpenAPI documents for tests: a small one to change, and the published one of Open Responses without its prose."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

#: The OpenAPI document of Open Responses, release 2026-04-24 (Apache License 2.0), stripped by :func:`stripped`.
PUBLISHED: Final = Path(__file__).parent / "openresponses-2026-04-24.json"
_FOLDERS: Final = Path(__file__).resolve().parents[3:6]
#: The document as published, where a folder ``shared`` with it is beside the project or in it.
ORIGINAL: Final = next(
    (path for folder in _FOLDERS if (path := folder / "shared/openresponses/openapi-2026-04-24.json").exists()), None
)

_PROSE: Final = ("description", "summary", "title", "example", "examples", "x-enumDescriptions", "x-unionTitle")
_NAMING: Final = ("properties", "schemas", "paths", "mapping", "patternProperties")

JSON: Final = "application/json"
STREAM: Final = "text/event-stream"


def stripped(document: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a document without descriptions, titles and examples."""
    bare = {key: child for key, child in document.items() if key not in ("info", "servers")}
    info = {key: document["info"][key] for key in ("title", "version")}
    return {"info": info, **_bare(bare)}


def _bare(node: Any, *, names: bool = False) -> Any:
    """Return a copy of a node without prose; with ``names``, its keys are names of things."""
    if isinstance(node, list):
        return [_bare(child) for child in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _bare(child, names=key in _NAMING and not names)
        for key, child in node.items()
        if names or key not in _PROSE
    }


def published() -> dict[str, Any]:
    """Return the stripped document of Open Responses."""
    document: dict[str, Any] = json.loads(PUBLISHED.read_text("utf-8"))
    return document


SCHEMAS: Final[dict[str, Any]] = {
    "Request": {
        "type": "object",
        "properties": {
            "model": {"type": "string"},
            "input": {
                "oneOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/components/schemas/InputItem"}}]
            },
            "stream": {"type": "boolean"},
            "truncation": {"type": "string", "enum": ["auto", "disabled"], "default": "disabled"},
        },
        "required": ["model", "input"],
    },
    "InputItem": {"oneOf": [{"$ref": "#/components/schemas/Message"}], "discriminator": {"propertyName": "type"}},
    "Message": {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["message"]},
            "id": {"type": "string"},
            "status": {"type": "string"},
            "role": {"type": "string", "enum": ["user", "assistant"]},
            "content": {"type": "array", "items": {"$ref": "#/components/schemas/Text"}},
        },
        "required": ["type", "role", "content"],
    },
    "Text": {
        "type": "object",
        "properties": {"type": {"type": "string", "enum": ["output_text"]}, "text": {"type": "string"}},
        "required": ["type", "text"],
    },
    "Response": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "object": {"type": "string", "enum": ["response"]},
            "created_at": {"type": "integer"},
            "model": {"type": "string"},
            "status": {"type": "string", "enum": ["completed", "failed", "in_progress"]},
            "output": {"type": "array", "items": {"$ref": "#/components/schemas/OutputItem"}},
            "cost": {"type": "number", "minimum": 0},
        },
        "required": ["id", "object", "created_at", "model", "status", "output", "cost"],
    },
    "OutputItem": {"anyOf": [{"$ref": "#/components/schemas/Message"}, {"$ref": "#/components/schemas/Lookup"}]},
    "Lookup": {
        "type": "object",
        "properties": {"type": {"const": "lookup_call"}, "id": {"type": "string"}, "query": {"type": "string"}},
        "required": ["type", "id", "query"],
    },
}


def _event(name: str, **fields: Any) -> dict[str, Any]:
    common = {"type": {"type": "string", "enum": [name]}, "sequence_number": {"type": "integer"}}
    return {"type": "object", "properties": {**common, **fields}, "required": [*common, *fields]}


_PLACE: Final = {"item_id": {"type": "string"}, "output_index": {"type": "integer"}}
_PART: Final = {**_PLACE, "content_index": {"type": "integer"}}
_TEXT: Final = {"type": "string"}
EVENTS: Final = [
    _event("response.created", response={"$ref": "#/components/schemas/Response"}),
    _event("response.completed", response={"$ref": "#/components/schemas/Response"}),
    _event(
        "response.output_item.added",
        output_index=_PLACE["output_index"],
        item={"$ref": "#/components/schemas/OutputItem"},
    ),
    _event(
        "response.output_item.done",
        output_index=_PLACE["output_index"],
        item={"$ref": "#/components/schemas/OutputItem"},
    ),
    _event("response.content_part.added", **_PART, part={"$ref": "#/components/schemas/Text"}),
    _event("response.content_part.done", **_PART, part={"$ref": "#/components/schemas/Text"}),
    _event("response.output_text.delta", **_PART, delta=_TEXT),
    _event("response.output_text.done", **_PART, text=_TEXT),
    _event("response.lookup_call_query.delta", **_PLACE, delta=_TEXT),
    _event("response.lookup_call_query.done", **_PLACE, query=_TEXT),
    _event("response.lookup_call.searching", **_PLACE),
    _event("gateway.moved", region=_TEXT),
    _event("error", code=_TEXT, message=_TEXT),
]


def small() -> dict[str, Any]:
    """Return a small document with the API, whose parts a test may change."""
    body = {"content": {JSON: {"schema": {"$ref": "#/components/schemas/Request"}}}}
    replies = {
        JSON: {"schema": {"$ref": "#/components/schemas/Response"}},
        STREAM: {"schema": {"oneOf": EVENTS}},
    }
    refusal = {
        "type": "object",
        "properties": {
            "error": {"type": "object", "properties": {"message": _TEXT, "code": _TEXT}, "required": ["message"]}
        },
        "required": ["error"],
    }
    create = {
        "requestBody": body,
        "responses": {"200": {"content": replies}, "4XX": {"content": {JSON: {"schema": refusal}}}},
    }
    reply = {"responses": {"200": {"content": {JSON: {"schema": {"$ref": "#/components/schemas/Response"}}}}}}
    retrieve = {
        **reply,
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": _TEXT},
            {"name": "wait", "in": "query", "required": True, "schema": {"type": "boolean"}},
        ],
    }
    return deepcopy(
        {
            "openapi": "3.1.0",
            "info": {"title": "Our Gateway", "version": "7"},
            "paths": {
                "/v1/responses": {"post": create},
                "/v1/responses/{id}": {"get": retrieve, "delete": {"responses": {"204": {}}}},
                "/v1/responses/{id}/explain": {"get": reply},
            },
            "components": {"schemas": SCHEMAS},
        }
    )
