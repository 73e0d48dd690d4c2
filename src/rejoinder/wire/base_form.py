"""Bodies in the base form: what every sender does to a create body before it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from rejoinder.model.base_form import BaseForm, InputForm
from rejoinder.model.exchange import parse_json

LIMIT: Final = "max_output_tokens"
_BLANK: Final = b" \t\r\n"


def fit_body(body: Any, form: BaseForm, extra: Mapping[str, Any], *, keeps: tuple[str, ...] = ()) -> Any:
    """Return a create body in the base form of an endpoint, with extra fields below its own.

    ``body`` is a JSON value or exact bytes. An object gets the fields of ``extra`` that it lacks (objects are merged
    field by field), and ``"stream": false`` where the form needs it. A list with one text message of the user becomes a
    string where only strings are accepted, and messages get their type where lists must have one; any other input stays
    as it is. ``max_output_tokens`` is left out where the endpoint refuses it, unless its value is what no request may
    have. Bytes that hold a JSON object get the fields that they lack at their beginning and stay as they are
    otherwise; any other value is returned unchanged. ``keeps`` names fields that the request is about: they are neither
    changed nor added.
    """
    added = {name: value for name, value in extra.items() if name not in keeps}
    if form.stream_false and "stream" not in keeps:
        added["stream"] = False
    if isinstance(body, bytes):
        return _spliced(body, added)
    if not isinstance(body, Mapping):
        return body
    merged = merge_below(body, added)
    if "input" in body and "input" not in keeps:
        merged["input"] = _fit_input(body["input"], form.input)
    if not form.max_output_tokens and LIMIT not in keeps and _is_limit(body.get(LIMIT)):
        del merged[LIMIT]
    return merged


def fit_input(body: Any, form: InputForm) -> Any:
    """Return the body of an operation beside create with its ``input``, if any, written as the endpoint takes it.

    Nothing else of the base form concerns these operations.
    """
    return {**body, "input": _fit_input(body["input"], form)} if isinstance(body, dict) and "input" in body else body


def _is_limit(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def merge_below(own: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with the fields that it lacks added from another one, also inside of objects that both have."""
    merged = dict(own)
    for name, value in extra.items():
        if name not in own:
            merged[name] = value
        elif isinstance(own[name], Mapping) and isinstance(value, Mapping):
            merged[name] = merge_below(own[name], value)
    return merged


def _spliced(data: bytes, added: Mapping[str, Any]) -> bytes:
    """Return the text of a JSON object with the fields that it lacks at its beginning, every other byte as it was."""
    own = parse_json(data)
    missing = {name: value for name, value in added.items() if name not in own} if isinstance(own, dict) else {}
    if not missing or 0 in data[:4]:  # a NUL byte there: not UTF-8
        return data
    start = data.index(b"{") + 1
    text = json.dumps(missing, separators=(",", ":")).encode("ascii")[1:-1]
    return data[:start] + text + (b"" if data[start:].lstrip(_BLANK).startswith(b"}") else b",") + data[start:]


def _fit_input(given: Any, form: InputForm) -> Any:
    if not isinstance(given, list) or form is InputForm.LIST:
        return given
    if form is InputForm.STRING:
        text = _only_text(given)
        return given if text is None else text
    return [_typed(item) for item in given]


def _typed(item: Any) -> Any:
    is_message = isinstance(item, Mapping) and "role" in item and "type" not in item
    return {"type": "message", **item} if is_message else item


def _only_text(items: list[Any]) -> str | None:
    """Return the text of an input that is one message of the user with one text; ``None`` for any other input."""
    if len(items) != 1 or not isinstance(items[0], Mapping):
        return None
    message = items[0]
    if message.get("role") != "user" or message.get("type", "message") != "message":
        return None
    if not message.keys() <= {"type", "role", "content"}:
        return None
    content = message.get("content")
    if isinstance(content, list) and len(content) == 1 and isinstance(content[0], Mapping):
        part = content[0]
        content = part.get("text") if part.get("type") == "input_text" and part.keys() == {"type", "text"} else None
    return content if isinstance(content, str) else None
