"""The published OpenAPI document of Open Responses, for tests that hold something to it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from tests.contract.openapi.documents import PUBLISHED

from rejoinder.validation import Validator


@cache
def document() -> dict[str, Any]:
    """Return the document without its prose."""
    found: dict[str, Any] = json.loads(PUBLISHED.read_text("utf-8"))
    return found


@cache
def validator(name: str) -> Validator:
    """Return the validator of a schema of the document, by its name among the components."""
    return Validator({"$ref": f"#/components/schemas/{name}", "components": document()["components"]})


@cache
def event_validators() -> dict[str, Validator]:
    """Return the validator of each event of a stream, by its type."""
    content = document()["paths"]["/responses"]["post"]["responses"]["200"]["content"]
    names = [branch["$ref"].rpartition("/")[2] for branch in content["text/event-stream"]["schema"]["oneOf"]]
    schemas = document()["components"]["schemas"]
    return {schemas[name]["properties"]["type"]["enum"][0]: validator(name) for name in names}
