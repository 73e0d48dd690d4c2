"""Reading requests: what is refused, and with which words."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from rejoinder.contract import Dialect, Operation
from rejoinder.model.exchange import Request
from rejoinder.sandbox.endpoint.generate import is_choice
from rejoinder.sandbox.endpoint.reply import ApiError, header
from rejoinder.sandbox.endpoint.schema_instances import is_schema
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.validation import SchemaError, Validator, pointer_keys
from rejoinder.wire.query import decode_query

MAX_BODY: Final = 32 * 1024 * 1024

# Limits that the schema does not state: lowest and highest value.
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_logprobs": (0, 20),
    "max_output_tokens": (1, math.inf),
    "max_tool_calls": (1, math.inf),
}
_METADATA_PAIRS, _METADATA_KEY, _METADATA_VALUE = 16, 64, 512

_PAGE: Final[Json] = {
    "type": "object",
    "properties": {
        "after": {"type": "string"},
        "limit": {"type": "integer", "minimum": 1, "maximum": 100},
        "order": {"enum": ["asc", "desc"]},
    },
}


def read_json(request: Request) -> Any:
    """Return the parsed body; raises :class:`ApiError` when the body is not JSON or not sent as JSON."""
    media = header(request, "content-type").partition(";")[0].strip().lower()
    if media and media != "application/json" and not media.endswith("+json"):
        raise ApiError(415, f"The content type must be application/json, not {media[:100]}.", code="unsupported_media")
    coding = header(request, "content-encoding").strip().lower()
    if coding not in ("", "identity"):
        what = f"The content coding {coding[:40]!r} is not supported."
        raise ApiError(415, what, code="unsupported_coding", headers=(("accept-encoding", "identity"),))
    if len(request.body) > MAX_BODY:
        raise ApiError(413, f"The body is larger than {MAX_BODY} bytes.", code="body_too_large")
    try:
        text = request.body.decode("utf-8-sig")  # RFC 8259, 8.1: JSON is UTF-8; a byte order mark may be passed over
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
        if b"\\u" in request.body:
            # Half surrogate pairs pass the parser, but nothing can be said back in UTF-8 that holds them.
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeError:
        raise ApiError(400, "The body is not valid Unicode text.", code="invalid_json") from None
    except RecursionError:
        raise ApiError(400, "The body is nested too deeply.", code="invalid_json") from None
    except ValueError as error:
        raise ApiError(400, f"The body is not valid JSON: {str(error)[:200]}.", code="invalid_json") from None
    return value


def check_create(body: Any, dialect: Dialect, models: tuple[str, ...]) -> Json:
    """Return the parsed body of a create request; raises :class:`ApiError` naming the first field that is wrong."""
    validator = dialect.possible_requests
    if not validator.is_valid(body):
        raise _refused((validator.errors(_with_types(body)) or validator.errors(body))[0])
    for error in validator.errors(body):
        # A tool that the dialect does not have could not be called.
        if pointer_keys(error.pointer)[:1] in (["tools"], ["tool_choice"]) and error.keyword in (
            "discriminator",
            "const",
        ):
            raise _refused(error)
    checked: Json = body
    model = checked.get("model")
    if model is not None and model not in models:
        raise ApiError(404, f"The model {model[:200]!r} does not exist.", param="model", code="model_not_found")
    for name, (low, high) in _RANGES.items():
        value = checked.get(name)
        if value is not None and not low <= value <= high:
            raise _invalid(name, f"must be at least {low:g}" + (f" and at most {high:g}" if high < math.inf else ""))
    _check_metadata(checked.get("metadata") or {})
    _check_tools(checked)
    _check_images(checked.get("input"))
    for exclusion in dialect.exclusions:
        if exclusion.applies(checked):
            what = f"These values exclude each other: {', '.join(exclusion.text.split())}."
            raise ApiError(400, what, param=exclusion.fields[0], code="invalid_value")
    # In some dialects a request may have no input, which is an empty list to all that follows.
    return checked if checked.get("input") is not None else {**checked, "input": []}


_SIGNATURES: Final = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF")
"""How the data of images begins: PNG, JPEG, GIF and WebP."""
_DATA_URL: Final = re.compile(r"data:image/[\w.+-]+;base64,([A-Za-z0-9+/]{16})")


def _check_images(given: Any) -> None:
    """Raise :class:`ApiError` for an image in a message whose data is whole base64 and no image."""
    for index, item in enumerate(given if isinstance(given, list) else ()):
        content = item.get("content")
        for part in content if isinstance(content, list) else ():
            url = part.get("image_url") if isinstance(part, dict) and part.get("type") == "input_image" else None
            start = _DATA_URL.match(url) if isinstance(url, str) else None
            if start is not None and not base64.b64decode(start[1]).startswith(_SIGNATURES):
                raise ApiError(400, "The image cannot be decoded.", param=f"input[{index}]", code="invalid_image")


def check_operation(operation: Operation, request: Request) -> tuple[Json, Json]:
    """Return the query parameters and the parsed body of a request for an operation beside create.

    Raises :class:`ApiError` naming the first parameter or field that is wrong. A body that the operation does not
    describe is not read, one that is empty is an empty object.
    """
    query: Json = {}
    if operation.query is not None:
        query = _checked_query(request, operation.query, operation.query_validator)
    body: Any = {}
    if operation.body is not None:
        body = read_json(request) if request.body else {}
        if errors := operation.body_validator.errors(body):
            raise _refused(errors[0])
        _check_metadata(body.get("metadata") or {})
    return query, body


def check_page(request: Request) -> Json:
    """Return the query parameters of a request for a page of items.

    Raises :class:`ApiError` naming the first that is wrong.
    """
    return _checked_query(request, _PAGE, Validator(_PAGE))


def _checked_query(request: Request, schema: Json, validator: Validator) -> Json:
    query = decode_query(urlsplit(request.path).query, schema)
    if errors := validator.errors(query):
        raise _refused(errors[0])
    return query


def _refused(error: SchemaError) -> ApiError:
    param = param_of(error.pointer)
    where = f"{param}: " if param else ""
    code = "missing_required_parameter" if error.keyword == "required" else "invalid_value"
    return ApiError(400, f"{where}{error.message}.", param=param, code=code)


def conversation_id(body: Mapping[str, Any]) -> str | None:
    """Return the id of the conversation that a request names, ``None`` for none."""
    value = body.get("conversation")
    if isinstance(value, Mapping):
        value = value.get("id")
    if value is None:
        return None
    if not isinstance(value, str):
        raise _invalid("conversation", "must be an id or an object with an id")
    return value


def param_of(pointer: str) -> str | None:
    """Return a JSON pointer as a parameter's name, ``input[0].role`` for ``/input/0/role``; ``None`` for the root."""
    name = ""
    for step in pointer_keys(pointer):
        name += f"[{step}]" if step.isdigit() else f".{step}"
    return name.removeprefix(".") or None


def _with_types(body: Any) -> Any:
    """Return the body with the type that messages may leave out spelled out, so that errors name messages."""
    if not isinstance(body, dict) or not isinstance(body.get("input"), list):
        return body
    items = [
        {**item, "type": "message"} if isinstance(item, dict) and "role" in item and item.get("type") is None else item
        for item in body["input"]
    ]
    return {**body, "input": items}


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, Mapping) or not all(isinstance(value, str) for value in metadata.values()):
        raise _invalid("metadata", "must be an object of strings")
    if len(metadata) > _METADATA_PAIRS:
        raise _invalid("metadata", f"has more than {_METADATA_PAIRS} pairs")
    for key, value in metadata.items():
        if len(key) > _METADATA_KEY or len(value) > _METADATA_VALUE:
            raise _invalid("metadata", f"has a key over {_METADATA_KEY} or a value over {_METADATA_VALUE} characters")


def _check_tools(body: Json) -> None:
    tools = body.get("tools") or []
    for index, tool in enumerate(tools):
        if tool["type"] in ("function", "custom") and not re.fullmatch(r"[\w.-]{1,128}", tool["name"]):
            raise _invalid(f"tools[{index}].name", "must be 1 to 128 letters, digits, dots, dashes or underscores")
        if tool["type"] == "function" and not is_schema(tool.get("parameters") or {}):
            raise _invalid(f"tools[{index}].parameters", "is not a valid JSON Schema")
    shape = (body.get("text") or {}).get("format") or {}
    if shape.get("type") == "json_schema" and not is_schema(shape.get("schema") or {}):
        raise _invalid("text.format.schema", "is not a valid JSON Schema")
    choice = body.get("tool_choice")
    if choice == "required" and not tools:
        raise _invalid("tool_choice", "is required, but there are no tools")
    if isinstance(choice, dict) and choice["type"] == "allowed_tools":
        known = [(tool["type"], tool.get("name")) for tool in tools]
        for index, tool in enumerate(choice["tools"]):
            if (tool.get("type"), tool.get("name")) not in known:
                raise _invalid(f"tool_choice.tools[{index}]", "is not among the tools")
        if choice.get("mode") == "required" and not choice["tools"]:
            raise _invalid("tool_choice.tools", "is empty, but a call is required")
    elif (
        isinstance(choice, dict)
        and choice["type"] in ("function", "custom")
        and not any(is_choice(choice, tool) for tool in tools)
    ):
        raise _invalid("tool_choice", "names a tool that is not among the tools")


def _invalid(param: str, what: str) -> ApiError:
    return ApiError(400, f"{param} {what}.", param=param, code="invalid_value")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:20]} is out of range")
    return value
