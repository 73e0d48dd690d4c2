"""Answers in a given form: which schema binds an answer, whether a text fits it, and lone surrogates."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.problems import get
from rejoinder.conformance.judging.turns import has_refusal, was_cut
from rejoinder.validation import SchemaError, Validator

NOT_JSON: Final = "not JSON"


def wanted_shape(view: ExchangeView) -> dict[str, Any] | None:
    """Return the strict schema of a closed object that the answer must fit, ``None`` where nothing binds it."""
    shape = get(view.request, "text", "format")
    if not isinstance(shape, dict) or shape.get("type") != "json_schema" or shape.get("strict") is not True:
        return None
    schema = shape.get("schema")
    # Strict schemas are a subset of JSON Schema: an endpoint may take any other one as a hint.
    if (
        not isinstance(schema, dict)
        or schema.get("type") != "object"
        or schema.get("additionalProperties") is not False
    ):
        return None
    return None if was_cut(view) or has_refusal(view) else schema


def declared_parameters(view: ExchangeView, *, strict: bool) -> dict[str, dict[str, Any]]:
    """Return the parameters of the function tools that are strict, or of those that are not, by name.

    Tools without parameters and those that share a name with another are left out.
    """
    tools = view.request.get("tools")
    declared = [tool for tool in (tools if isinstance(tools, list) else ()) if isinstance(tool, dict)]
    names = Counter(str(tool.get("name")) for tool in declared)
    return {
        str(tool.get("name")): tool["parameters"]
        for tool in declared
        if (tool.get("strict") is True) is strict
        and isinstance(tool.get("parameters"), dict)
        and names[str(tool.get("name"))] == 1
    }


def last_text(view: ExchangeView) -> str:
    """Return the text of the last message; what comes before it is commentary."""
    messages = [item for item in view.output if item.get("type") == "message"]
    content = messages[-1].get("content") if messages else None
    parts = content if isinstance(content, list) else ()
    return "".join(str(get(part, "text")) for part in parts if get(part, "type") == "output_text")


def misfit(text: str, schema: dict[str, Any] | None) -> str:
    """Return why a text is not JSON, or does not match a schema, as a clause; empty when it matches."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return NOT_JSON
    errors = _errors(value, schema) if schema is not None else []
    return errors[0].located if errors else ""


def _errors(value: Any, schema: dict[str, Any]) -> list[SchemaError]:
    """Return what is wrong; nothing where the schema itself is unsound or refers to others."""
    if re.search(r'"\$(ref|dynamicRef)": *"[^#]', json.dumps(schema)):
        return []
    try:
        return Validator(schema).errors(value)
    except ValueError:
        return []


def has_lone_surrogate(value: Any) -> bool:
    """Return whether parsed JSON has half of a surrogate pair in a string or a key, which UTF-8 cannot encode."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            if not item.isascii() and any("\ud800" <= character <= "\udfff" for character in item):
                return True
        elif isinstance(item, dict):
            todo.extend(item)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return False
