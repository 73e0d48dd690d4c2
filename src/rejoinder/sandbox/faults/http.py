"""Faults of HTTP status, headers and body."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from rejoinder.sandbox.endpoint.generate import MODELS, ResolvedRequest, generate
from rejoinder.sandbox.endpoint.reply import ApiError, Piece, Reply, RequestInfo, header
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    BACKGROUND,
    PLAIN,
    STREAMED,
    Condition,
    ErrorHook,
    Fault,
    FaultList,
    HeadHook,
    as_if,
    at_end,
    content_type,
    has_code,
    set_to,
    unset,
    with_status,
)


def _status(value: int) -> HeadHook:
    return lambda status, headers, info: (value if info.operation == "create" else status, headers)


_PAGE: Final = b"<html><body><h1>500 Internal Server Error</h1></body></html>"
# Number of create requests that crash after a refused one under crash-after-refusal.
_CRASHES: Final = 6
# Intermittent faults show for one create request in this number.
_NOW_AND_THEN: Final = 9


def _answer(info: RequestInfo, model: str = MODELS[0]) -> Json:
    """Return the response to a greeting, in place of a refusal."""
    items = [{"type": "message", "role": "user", "content": "Hello."}]
    resolved = ResolvedRequest({"input": "Hello."}, items, items, f"resp_{info.number:024x}", 1_760_000_000, model)
    response: Json = generate(resolved, info.dialect)[-1]["response"]
    return response


def _answered(*codes: str) -> ErrorHook:
    """Return a hook that returns a response where the sandbox would refuse with one of these codes."""

    def hook(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
        if info.operation != "create" or not has_code(body, *codes):
            return status, body
        return 200, _answer(info)

    return hook


def _as_page(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
    return (status, _PAGE) if status >= 500 else (status, body)


class _Crashing:
    """Makes requests crash for a while after a refused one. Keeps the number of the last refused one."""

    def __init__(self) -> None:
        self.refused = 0

    def error(self, status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
        if status < 500:
            self.refused = info.number
        return status, body

    def request(self, body: Json, info: RequestInfo) -> Json:
        if 0 < info.number - self.refused <= _CRASHES and self.refused:
            raise ApiError(500, "The worker is gone.", code="server_error")
        return body


class _Hanging(_Crashing):
    """Makes the response to the request after a refused one never end."""

    def on_end(self, reply: Reply, info: RequestInfo, hold: float) -> Reply:
        if self.refused and info.number == self.refused + 1:
            reply.hold = hold
        return reply


_CRASHING: Final = _Crashing()
_HANGING: Final = _Hanging()


def _crash(_: Json, __: RequestInfo) -> NoReturn:
    raise ApiError(500, "Internal server error.", code="server_error")


def _tools(body: Mapping[str, Any]) -> list[Any]:
    tools = body.get("tools")
    return tools if isinstance(tools, list) else []


def _holds(value: Any, test: Callable[[Mapping[str, Any]], bool]) -> bool:
    """Return whether any object inside a value passes a test."""
    if isinstance(value, Mapping):
        return test(value) or any(_holds(inner, test) for inner in value.values())
    return isinstance(value, list) and any(_holds(inner, test) for inner in value)


_AFTER_STREAM: Final = Condition(
    "only for a request right after a stream",
    lambda info: info.operation == "create" and info.previous.get("stream") is True,
)


_AFTER_TOOLS: Final = Condition(
    "only for a request right after one with tools",
    lambda info: info.operation == "create" and bool(_tools(info.previous)),
)


_ODD_SCHEMA: Final = Condition(
    "only with a tool whose schema has $ref, $defs or anyOf",
    lambda info: _holds(
        [tool.get("parameters") for tool in _tools(info.body) if isinstance(tool, Mapping)],
        lambda schema: bool({"$ref", "$defs", "anyOf"} & set(schema)),
    ),
)


FAULTS: Final = FaultList(
    Fault(
        id="json-as-text-plain",
        title="Non-streaming responses have the content type text/plain.",
        breaks=("HTTP-01",),
        head=content_type("text/plain; charset=utf-8", "application/json"),
    ),
    Fault(
        id="stream-as-text-plain",
        title="Streams have the content type text/plain.",
        breaks=("HTTP-02",),
        head=content_type("text/plain; charset=utf-8", "text/event-stream"),
    ),
    Fault(
        id="stream-answered-as-json",
        title="The endpoint ignores stream and returns one JSON object.",
        breaks=("HTTP-02",),
        when=STREAMED,
        request=as_if(stream=False),
    ),
    Fault(
        id="create-answers-201",
        title="The endpoint returns status 201 for a created response.",
        breaks=("HTTP-03",),
        head=_status(201),
    ),
    Fault(
        id="background-answers-202",
        title="The endpoint returns status 202 for a background request.",
        breaks=("HTTP-03",),
        when=BACKGROUND,
        head=_status(202),
    ),
    Fault(
        id="unreachable-image-crashes",
        title="An image at an unreachable address causes a server error.",
        breaks=("HTTP-03",),
        when=Condition(
            "only with an image at an http address",
            lambda info: _holds(info.body.get("input"), lambda part: str(part.get("image_url")).startswith("http")),
        ),
        request=_crash,
    ),
    Fault(
        id="custom-tool-crashes",
        title="A required call of a custom tool causes a server error.",
        breaks=("HTTP-03",),
        not_in=("openresponses",),
        when=Condition(
            "only with a custom tool and tool_choice required",
            lambda info: (
                info.body.get("tool_choice") == "required"
                and _holds(_tools(info.body), lambda t: t.get("type") == "custom")
            ),
        ),
        request=_crash,
    ),
    Fault(
        id="rare-sampling-crashes",
        title="A rare combination of sampling parameters causes a server error.",
        breaks=("HTTP-03",),
        when=Condition(
            "only with top_p and top_logprobs, and without include",
            lambda info: bool(
                info.body.get("top_p") and info.body.get("top_logprobs") and not info.body.get("include")
            ),
        ),
        rare=True,
        request=_crash,
    ),
    Fault(
        id="odd-tool-schema-crashes",
        title="A function tool with an uncommon but valid schema causes a server error.",
        breaks=("HTTP-03",),
        when=_ODD_SCHEMA,
        request=_crash,
    ),
    Fault(
        id="wedged-after-tools",
        title="The request after one with tools causes a server error.",
        breaks=("HTTP-03",),
        when=_AFTER_TOOLS,
        request=_crash,
    ),
    Fault(
        id="output-missing",
        title="Finished responses have no output.",
        breaks=("HTTP-05", "RSP-05"),
        response=at_end(unset("output")),
    ),
    Fault(
        id="output-null",
        title="The output of finished responses is null.",
        breaks=("HTTP-05", "RSP-05"),
        response=at_end(set_to("output", None)),
    ),
    Fault(
        id="broken-json-crashes",
        title="A body that is not JSON causes a server error.",
        breaks=("HTTP-06", "ERR-05"),
        error=with_status(500, "invalid_json"),
    ),
    Fault(
        id="broken-json-answered",
        title="The endpoint treats a body that is not JSON as a greeting and returns a response.",
        breaks=("HTTP-06",),
        error=_answered("invalid_json"),
    ),
    Fault(
        id="broken-json-not-found",
        title="The endpoint refuses a body that is not JSON with status 404.",
        breaks=("HTTP-06",),
        error=with_status(404, "invalid_json"),
    ),
    Fault(
        id="content-type-ignored",
        title="The endpoint accepts a body with the content type text/plain.",
        breaks=("HTTP-07",),
        error=_answered("unsupported_media"),
    ),
    Fault(
        id="wrong-method-not-found",
        title="The endpoint returns status 404 for an unsupported method.",
        breaks=("HTTP-14",),
        error=with_status(404, "method_not_allowed"),
    ),
    Fault(
        id="crash-after-refusal",
        title="After a refused request, the next requests get a server error.",
        breaks=("HTTP-15",),
        request=_CRASHING.request,
        error=_CRASHING.error,
    ),
    Fault(
        id="hang-after-refusal",
        title="After a refused request, the response to the next request never ends.",
        breaks=("HTTP-15",),
        error=_HANGING.error,
        on_end=_HANGING.on_end,
    ),
)


@FAULTS.add("plain-answered-as-stream", "HTTP-01", hook="request", when=PLAIN)
def _always_stream(body: Json, _: RequestInfo) -> Json:
    """The endpoint returns an event stream for a request without streaming."""
    return {**body, "stream": True}


@FAULTS.add("image-input-crashes", "HTTP-03", hook="request")
def _crash_on_images(body: Json, _: RequestInfo) -> Json:
    """A request with an image causes a server error."""
    if '"input_image"' in json.dumps(body["input"]):
        raise ApiError(500, "Internal server error", code="server_error")
    return body


@FAULTS.add("string-input-refused", "HTTP-04", hook="request")
def _refuse_string(body: Json, _: RequestInfo) -> Json:
    """The endpoint refuses string input."""
    if isinstance(body["input"], str):
        raise ApiError(400, "input must be an array.", param="input", code="invalid_value")
    return body


@FAULTS.add("list-input-refused", "HTTP-04", hook="request")
def _refuse_list(body: Json, _: RequestInfo) -> Json:
    """The endpoint refuses a list of items as input."""
    if isinstance(body["input"], list):
        raise ApiError(400, "input must be a string.", param="input", code="invalid_value")
    return body


@FAULTS.add("string-input-wrapped", "HTTP-04", hook="request")
def _wrap_string(body: Json, _: RequestInfo) -> Json:
    """The endpoint adds template text to string input, but not to a user message."""
    return {**body, "input": f"User: {body['input']}"} if isinstance(body["input"], str) else body


@FAULTS.add("busy-after-stream", "HTTP-04", hook="request", when=_AFTER_STREAM)
def _busy(_: Json, __: RequestInfo) -> NoReturn:
    """The endpoint releases a lock too late after a stream and refuses the next request."""
    raise ApiError(409, "A response is already in progress.", code="response_in_progress")


@FAULTS.add("missing-input-answered", "HTTP-08", hook="error", not_in=("openresponses",))
def _no_input(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """The endpoint accepts a request without input."""
    if has_code(body, "missing_required_parameter") and "input" not in info.body:
        return 200, _answer(info)
    return status, body


@FAULTS.add("unknown-model-answered", "HTTP-09", hook="error")
def _unknown_model(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """The endpoint accepts a model that does not exist, and the response names it."""
    if has_code(body, "model_not_found") and not info.streamed:
        return 200, _answer(info, str(info.body.get("model")))
    return status, body


# The dialects in which endpoints list their models.
@FAULTS.add("unlisted-model-served", "HTTP-17", hook="error", dialects=("northstar", "openai"))
def _unlisted_model(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """The endpoint serves a model that its GET /v1/models does not list, under the requested name."""
    return _unknown_model(status, body, info)


@FAULTS.add("unknown-model-is-bad-request", "HTTP-09", hook="error")
def _plain_404(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
    """The endpoint refuses an unknown model with status 400 and no error code."""
    if not has_code(body, "model_not_found"):
        return status, body
    return 400, {"error": {**body["error"], "type": "invalid_request_error", "code": None}}


@FAULTS.add("wrong-key-forbidden", "HTTP-10", hook="request")
def _forbidden(body: Json, info: RequestInfo) -> Json:
    """The endpoint refuses an invalid API key with status 403."""
    if header(info.request, "authorization"):
        raise ApiError(403, "The API key is wrong.", code="invalid_api_key")
    return body


@FAULTS.add("rate-limit-without-retry-after", "HTTP-11", hook="request")
def _limited(body: Json, info: RequestInfo) -> Json:
    """Some requests get status 429 without a Retry-After header."""
    if info.number % _NOW_AND_THEN == 0:
        raise ApiError(429, "Too many requests.", code="rate_limit_exceeded")
    return body


@FAULTS.add("crash-with-page", "HTTP-12", hook="request", error=_as_page)
def _broken_down(body: Json, info: RequestInfo) -> Json:
    """Some requests get a server error with an HTML page."""
    if info.number % _NOW_AND_THEN == 0:
        raise ApiError(500, "Internal server error", code="server_error")
    return body


@FAULTS.add("refusal-in-stream", "HTTP-13", hook="error")
def _in_stream(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """The endpoint refuses an invalid streaming request in an event, with status 200."""
    if not info.streamed or status >= 500:
        return status, body
    message = body["error"]["message"].replace("\\", " ").replace('"', "'")
    data = f'{{"type":"error","sequence_number":0,"code":"invalid","message":"{message}","param":null}}'
    return 200, f"event: error\ndata: {data}\n\n".encode()


@FAULTS.add("stream-held-back", "HTTP-16", hook="body")
def _held_back(pieces: list[Piece], info: RequestInfo) -> list[Piece]:
    """The endpoint buffers a stream and sends it in one piece."""
    return [Piece(2.0, b"".join(piece.data for piece in pieces))] if info.streamed else pieces


@FAULTS.add("other-methods-not-found", "HTTP-14", hook="error", dialects=("northstar", "openai"))
def _lost_path(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """The path of a response is not found with an unsupported method."""
    return (404 if info.operation == "response" and has_code(body, "method_not_allowed") else status), body
