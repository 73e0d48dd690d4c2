"""Custom dialects for tests: one on each shipped dialect with items, events and operations, and one from OpenAPI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from tests.contract.openapi.documents import published

from rejoinder.contract import load_dialect
from rejoinder.contract.openapi import convert, dialect_files, read_document

LOOKUP: Final = "lookup_call"
"""The item type that the dialects add."""

_EXTENDED: Final = """
name = "own-{base}"
title = "Gateway on {base}"
source = "tests of rejoinder.strategies"
base = "{base}"

# Open Responses has no hosted tools, so that their rules are off there.
[levels]
"ACC-09" = "SHOULD"
"PRT-13" = "SHOULD"

[overlay.request.add]
"/properties/route" = {{ type = "string", minLength = 2, maxLength = 5 }}
"/properties/shards" = {{ type = "array", items = {{ type = "integer", minimum = 1, maximum = 4 }}, maxItems = 3 }}

[overlay.response.include]
"/$defs/{items}/allOf" = [{branch}]

[overlay.response.add."/$defs/LookupCall"]
type = "object"
properties.type = {{ const = "lookup_call" }}
properties.id = {{ type = "string" }}
properties.status = {{ enum = ["in_progress", "completed", "incomplete"] }}
properties.query = {{ type = "string" }}
properties.hits = {{ type = "array", items = {{ "$ref" = "#/$defs/LookupHit" }} }}
required = ["type", "id", "status", "query", "hits"]

[overlay.response.add."/$defs/LookupHit"]
type = "object"
properties.score = {{ type = "integer", minimum = 0, maximum = 9 }}
properties.title = {{ type = "string" }}
required = ["score", "title"]

[overlay.events.add."/$defs/response.lookup_call.searching"]
type = "object"
properties.item_id = {{ type = "string" }}
properties.output_index = {{ type = "integer" }}
required = ["item_id", "output_index"]
x-role = "progress"
x-item = "lookup_call"

[overlay.events.add."/$defs/response.lookup_call.completed"]
type = "object"
properties.item_id = {{ type = "string" }}
properties.output_index = {{ type = "integer" }}
required = ["item_id", "output_index"]
x-role = "progress"
x-item = "lookup_call"

[overlay.events.add."/$defs/response.lookup_call_query.delta"]
type = "object"
properties.item_id = {{ type = "string" }}
properties.output_index = {{ type = "integer" }}
properties.delta = {{ type = "string" }}
required = ["item_id", "output_index", "delta"]
x-role = "delta"
x-container = "item"
x-part = "lookup_call"
x-field = "query"

[overlay.events.add."/$defs/response.lookup_call_query.done"]
type = "object"
properties.item_id = {{ type = "string" }}
properties.output_index = {{ type = "integer" }}
properties.query = {{ type = "string" }}
required = ["item_id", "output_index", "query"]
x-role = "done"
x-container = "item"
x-part = "lookup_call"
x-field = "query"

[overlay.operations.add."/x-operations/pin"]
method = "PUT"
path = "/v1/pins/{{pin}}/responses/{{response_id}}"
query = "PinQuery"
body = "Pin"
reply = "response"

[overlay.operations.add."/$defs/PinQuery"]
type = "object"
properties.days = {{ type = "integer", minimum = 1, maximum = 30 }}

[overlay.operations.add."/$defs/Pin"]
type = "object"
properties.label = {{ type = "string", minLength = 1, maxLength = 8 }}
properties.colour = {{ enum = ["red", "green"] }}
required = ["label"]
"""

_IS_LOOKUP: Final = '{ properties = { type = { const = "lookup_call" } }, required = ["type"] }'
_BRANCH: Final = f'{{ if = {_IS_LOOKUP}, then = {{ "$ref" = "#/$defs/LookupCall" }} }}'


def extended(base: str, folder: Path) -> Path:
    """Write a dialect on a shipped one, with an item type, its events, request fields and an operation."""
    items = "ItemField" if "ItemField" in load_dialect(base).schema("response")["$defs"] else "OutputItem"
    text = _EXTENDED.format(base=base, items=items, branch=_BRANCH)
    types = load_dialect(base).response["item_types"]
    if types:
        text = text.replace(
            "[overlay.request.add]",
            f"[response]\nitem_types = {json.dumps([*types, LOOKUP])}\n\n[overlay.request.add]",
            1,
        )
    path = folder / f"own-{base}.toml"
    path.write_text(text, "utf-8")
    return path


def from_openapi(folder: Path) -> Path:
    """Write the dialect of the published document of Open Responses, with a limit of its own."""
    document = published()
    document["components"]["schemas"]["CreateResponseBody"]["properties"]["route"] = {"type": "string", "maxLength": 5}
    file = folder / "openapi.json"
    file.write_text(json.dumps(document), "utf-8")
    return dialect_files(convert(read_document(file)), name="own-openapi", base="openresponses").write(folder)
