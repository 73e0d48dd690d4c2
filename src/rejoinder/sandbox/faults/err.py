"""Faults of error responses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from rejoinder.contract.examples import IMAGE_URL
from rejoinder.sandbox.endpoint.compaction import empty_compaction
from rejoinder.sandbox.endpoint.reply import ApiError, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    NORTHSTAR_ONLY,
    STREAMED,
    ErrorHook,
    Fault,
    FaultList,
    as_if,
    has_code,
    unheard,
    with_status,
    without,
    without_field,
)


def _reshaped(change: Callable[[Json], Any]) -> ErrorHook:
    """Return a hook that replaces the body of every refusal by what is made of its error object."""
    return lambda status, body, _: (status, change(body["error"]) if isinstance(body, dict) else body)


def _of_others(change: Callable[[Json], Any]) -> ErrorHook:
    """Return a hook that replaces the body of refusals of the operations beside create."""
    reshape = _reshaped(change)
    return lambda status, body, info: (status, body) if info.operation == "create" else reshape(status, body, info)


_TRACE: Final = (
    "Traceback (most recent call last):\n"
    '  File "/usr/lib/python3/dist-packages/server/app.py", line 12, in create\n'
    "ValueError: bad request"
)


def _fields(**changes: Any) -> ErrorHook:
    """Return a hook that changes fields of the error object of every refusal."""

    def hook(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
        return status, {"error": {**body["error"], **changes}} if isinstance(body, dict) else body

    return hook


def _type_as_if(client: str, server: str) -> ErrorHook:
    def hook(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
        return _fields(type=client if status < 500 else server)(status, body, info)

    return hook


FAULTS: Final = FaultList(
    Fault(
        id="error-as-detail",
        title="The body of a refused request is an object with the message in detail.",
        breaks=("ERR-01",),
        error=_reshaped(lambda error: {"detail": error["message"]}),
    ),
    Fault(
        id="error-as-text",
        title="The body of a refused request is plain text.",
        breaks=("ERR-01",),
        error=_reshaped(lambda error: error["message"].encode()),
    ),
    Fault(
        id="error-without-param",
        title="Errors have no param.",
        breaks=("ERR-01",),
        dialects=("openai",),
        error=_reshaped(lambda error: {"error": without_field(error, "param")}),
    ),
    Fault(
        id="error-code-is-number",
        title="The code of errors is the HTTP status as a number.",
        breaks=("ERR-02",),
        dialects=("openai", "openresponses"),
        error=lambda status, body, _: (status, {"error": {**body["error"], "code": status}}),
    ),
    Fault(
        id="error-message-empty",
        title="The message of errors is empty.",
        breaks=("ERR-13",),
        error=_reshaped(lambda error: {"error": {**error, "message": ""}}),
    ),
    Fault(
        id="error-message-is-list",
        title="The message of errors is an array of messages.",
        breaks=("ERR-02",),
        error=_reshaped(lambda error: {"error": {**error, "message": [error["message"]]}}),
    ),
    Fault(
        id="other-errors-as-detail",
        title="Refusals of retrieve, cancel and other operations have the message in detail.",
        breaks=("ERR-12",),
        dialects=("northstar", "openai"),
        error=_of_others(lambda error: {"detail": error["message"]}),
    ),
    Fault(
        id="other-errors-as-text",
        title="Refusals of retrieve, cancel and other operations are plain text.",
        breaks=("ERR-12",),
        dialects=("northstar", "openai"),
        error=_of_others(lambda error: error["message"].encode()),
    ),
    Fault(
        id="other-errors-with-stack-trace",
        title="Refusals of retrieve, cancel and other operations end with a stack trace.",
        breaks=("ERR-06",),
        dialects=("northstar", "openai"),
        error=_of_others(lambda error: {"error": {**error, "message": f"{error['message']} {_TRACE}"}}),
    ),
    Fault(
        id="error-type-of-server",
        title='Every error has type "server_error".',
        breaks=("ERR-03",),
        error=_fields(type="server_error"),
    ),
    Fault(
        id="error-type-not-found",
        title='Every 4xx error has type "not_found".',
        breaks=("ERR-03",),
        error=_type_as_if("not_found", "server_error"),
    ),
    Fault(
        id="error-param-null", title="The param of every error is null.", breaks=("ERR-14",), error=_fields(param=None)
    ),
    Fault(
        id="error-param-wrong",
        title='The param of every error is "body".',
        breaks=("ERR-04",),
        error=_fields(param="body"),
    ),
    Fault(
        id="error-with-stack-trace",
        title="The message of errors ends with a stack trace.",
        breaks=("ERR-06",),
        error=_fields(message=f"Bad request. {_TRACE}"),
    ),
    Fault(
        id="error-with-path",
        title="The message of errors names a source file.",
        breaks=("ERR-06",),
        error=_fields(message="Bad request (/srv/app/server/handlers/create.rs:88)"),
    ),
    Fault(
        id="failed-without-error-event",
        title="A stream fails with response.failed and no error event before it.",
        breaks=("ERR-07",),
        when=STREAMED,
        fails=True,
        events=without("error"),
    ),
    Fault(
        id="prompt-variables-dropped",
        title="The variables of a prompt template are accepted but do not reach the model.",
        breaks=("ERR-08",),
        not_in=("openresponses", "vllm"),
        **unheard("prompt"),
    ),
    Fault(
        id="top-k-ignored",
        title="top_k is ignored, and responses vary.",
        breaks=("ERR-08",),
        dialects=NORTHSTAR_ONLY,
        request=as_if(top_k=None),
    ),
    Fault(
        id="streamed-refusal-is-422",
        title="Invalid bodies are refused with status 422 when stream is true.",
        breaks=("ERR-11",),
        when=STREAMED,
        error=with_status(422, "invalid_value", "missing_required_parameter"),
    ),
    Fault(
        id="streamed-refusal-without-param",
        title="The param of errors is null when stream is true.",
        breaks=("ERR-11",),
        when=STREAMED,
        error=_fields(param=None),
    ),
)


@FAULTS.add("invalid-body-crashes", "ERR-05", hook="error")
def _crash(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
    """Invalid values cause a server error."""
    if status == 400 and not has_code(body, "invalid_json"):
        return 500, {"error": {**body["error"], "type": "server_error", "message": "Internal server error"}}
    return status, body


@FAULTS.add("lone-surrogate-breaks-server", "ERR-15", hook="error")
def _surrogate_crash(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """An escaped lone surrogate in the body causes a server error."""
    return (500, body) if "Unicode" in body["error"]["message"] and b"\\u" in info.request.body else (status, body)


@FAULTS.add("object-arguments-break-server", "ERR-05", hook="error")
def _arguments_crash(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
    """A function call with an object as arguments causes a server error."""
    param = body["error"]["param"] or ""
    return (500, body) if param.endswith(".arguments") else (status, body)


@FAULTS.add("priority-breaks-server", "ERR-05", hook="request", dialects=NORTHSTAR_ONLY)
def _prioritised(body: Json, _: RequestInfo) -> Json:
    """A priority causes a server error."""
    if body.get("priority"):
        raise ApiError(500, "Something went wrong.", code="server_error")
    return body


@FAULTS.add("logprobs-ignored", "ERR-08", hook="request")
def _without_logprobs(body: Json, _: RequestInfo) -> Json:
    """Logprobs in include are ignored."""
    kept = [name for name in body.get("include") or () if name != "message.output_text.logprobs"]
    return {**body, "include": kept}


@FAULTS.add("encrypted-reasoning-ignored", "ERR-08", hook="request")
def _without_encryption(body: Json, _: RequestInfo) -> Json:
    """Encrypted reasoning in include is ignored."""
    kept = [name for name in body.get("include") or () if name != "reasoning.encrypted_content"]
    return {**body, "include": kept}


@FAULTS.add("unknown-field-refused", "ERR-09", hook="request")
def _strict(body: Json, _: RequestInfo) -> Json:
    """A request with an unknown field is refused."""
    for name in body:
        if "no_such_field" in name:
            raise ApiError(400, f"Unknown parameter: {name}.", param=name, code="unknown_parameter")
    return body


@FAULTS.add("error-echoes-payload", "ERR-10", hook="error")
def _payload_echoed(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """The message of errors repeats the whole request."""
    sent = info.request.body.decode("utf-8", "replace")
    return status, {"error": {**body["error"], "message": f"{body['error']['message']} Input: {sent}"}}


@FAULTS.add("malformed-id-breaks-server", "ERR-16", hook="error", dialects=("northstar", "openai"))
def _id_crash(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """A response id with a character that no id has causes a server error."""
    found = has_code(body, "response_not_found") and "%" in info.request.path
    return (500, {"error": {**body["error"], "type": "server_error"}}) if found else (status, body)


@FAULTS.add("other-bodies-break-server", "ERR-16", hook="error", dialects=("openai", "openresponses"))
def _body_crash(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """An invalid body causes a server error in operations other than create."""
    found = info.operation != "create" and bool(info.request.body) and has_code(body, "invalid_value")
    return (500, {"error": {**body["error"], "type": "server_error"}}) if found else (status, body)


@FAULTS.add("invalid-parameters-ignored", "ERR-17", hook="error", dialects=("openai",))
def _any_page(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """Invalid values of limit and order are ignored."""
    if info.operation != "input_items" or not has_code(body, "invalid_value"):
        return status, body
    return 200, {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@FAULTS.add("numbers-compacted", "ERR-17", hook="error", dialects=("openresponses",))
def _any_input(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """Compaction accepts an input of any JSON type."""
    if info.operation != "compact" or not has_code(body, "invalid_value"):
        return status, body
    return 200, empty_compaction()


@FAULTS.add("broken-image-answered", "ERR-18", hook="parsed")
def _any_image(body: Json, _: RequestInfo) -> Json:
    """Images that cannot be decoded are accepted."""
    text = json.dumps(body)
    return body if _BROKEN_DATA not in text else json.loads(_BROKEN_URL.sub(IMAGE_URL, text))


_BROKEN_DATA: Final = "data:image/png;base64,VGhp"
_BROKEN_URL: Final = re.compile(rf"{_BROKEN_DATA}[A-Za-z0-9+/=]*")
