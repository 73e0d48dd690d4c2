"""Faults of refusals: what should be refused and is not, and refusals that say or do the wrong thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rejoinder.sandbox.endpoint.generate import MODELS, ResolvedRequest, generate
from rejoinder.sandbox.endpoint.reply import ApiError, Occasion, Piece, Reply
from rejoinder.sandbox.endpoint.request_parsing import header
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import STREAMED, Fault, without

_PAGE: Final = b"<html><body><h1>500 Internal Server Error</h1></body></html>"
_TRACE: Final = (
    "Traceback (most recent call last):\n"
    '  File "/usr/lib/python3/dist-packages/server/app.py", line 12, in create\n'
    "ValueError: bad request"
)
# How many create requests crash after a refused one under crash-after-refusal.
_CRASHES: Final = 6
# Faults that show now and then show for one create request in so many.
_NOW_AND_THEN: Final = 9


def _arguments_crash(status: int, body: Any, _: Occasion) -> tuple[int, Any]:
    param = body["error"]["param"] or ""
    return (500, body) if param.endswith(".arguments") else (status, body)


def _payload_echoed(status: int, body: Any, occasion: Occasion) -> tuple[int, Any]:
    sent = occasion.request.body.decode("utf-8", "replace")
    return status, {"error": {**body["error"], "message": f"{body['error']['message']} Input: {sent}"}}


def _says(body: Any, *codes: str) -> bool:
    """Whether a refusal has one of these codes."""
    return isinstance(body, dict) and body["error"]["code"] in codes


def _answer(occasion: Occasion, model: str = MODELS[0]) -> Json:
    """Return the response to a greeting, in place of a refusal."""
    items = [{"type": "message", "role": "user", "content": "Hello."}]
    turn = ResolvedRequest({"input": "Hello."}, items, items, f"resp_{occasion.number:024x}", 1_760_000_000, model)
    response: Json = generate(turn, occasion.dialect)[-1]["response"]
    return response


def _answered(*codes: str) -> Callable[[int, Any, Occasion], tuple[int, Any]]:
    """Return a hook that answers what would be refused with one of these codes."""

    def hook(status: int, body: Any, occasion: Occasion) -> tuple[int, Any]:
        if occasion.operation != "create" or not _says(body, *codes):
            return status, body
        return 200, _answer(occasion)

    return hook


def _with_status(value: int, *codes: str) -> Callable[[int, Any, Occasion], tuple[int, Any]]:
    """Return a hook that refuses with another status where the code is one of these."""
    return lambda status, body, _: (value if _says(body, *codes) else status, body)


def _no_input(status: int, body: Any, occasion: Occasion) -> tuple[int, Any]:
    if _says(body, "missing_required_parameter") and "input" not in occasion.body:
        return 200, _answer(occasion)
    return status, body


def _unknown_model(status: int, body: Any, occasion: Occasion) -> tuple[int, Any]:
    if _says(body, "model_not_found") and not occasion.streamed:
        return 200, _answer(occasion, str(occasion.body.get("model")))
    return status, body


def _plain_404(status: int, body: Any, _: Occasion) -> tuple[int, Any]:
    if not _says(body, "model_not_found"):
        return status, body
    return 400, {"error": {**body["error"], "type": "invalid_request_error", "code": None}}


def _forbidden(body: Json, occasion: Occasion) -> Json:
    if header(occasion.request, "authorization"):
        raise ApiError(403, "The API key is wrong.", code="invalid_api_key")
    return body


def _limited(body: Json, occasion: Occasion) -> Json:
    if occasion.number % _NOW_AND_THEN == 0:
        raise ApiError(429, "Too many requests.", code="rate_limit_exceeded")
    return body


def _broken_down(body: Json, occasion: Occasion) -> Json:
    if occasion.number % _NOW_AND_THEN == 0:
        raise ApiError(500, "Internal server error", code="server_error")
    return body


def _as_page(status: int, body: Any, _: Occasion) -> tuple[int, Any]:
    return (status, _PAGE) if status >= 500 else (status, body)


def _in_stream(status: int, body: Any, occasion: Occasion) -> tuple[int, Any]:
    """Refuse a streaming request inside a stream."""
    if not occasion.streamed or status >= 500:
        return status, body
    message = body["error"]["message"].replace("\\", " ").replace('"', "'")
    data = f'{{"type":"error","sequence_number":0,"code":"invalid","message":"{message}","param":null}}'
    return 200, f"event: error\ndata: {data}\n\n".encode()


class _Crashing:
    """Requests crash for a while after one that was refused. Keeps the number of the last refused one."""

    def __init__(self) -> None:
        self.refused = 0

    def error(self, status: int, body: Any, occasion: Occasion) -> tuple[int, Any]:
        if status < 500:
            self.refused = occasion.number
        return status, body

    def request(self, body: Json, occasion: Occasion) -> Json:
        if 0 < occasion.number - self.refused <= _CRASHES and self.refused:
            raise ApiError(500, "The worker is gone.", code="server_error")
        return body


class _Hanging(_Crashing):
    """The request after one that was refused is never answered to its end."""

    def ending(self, reply: Reply, occasion: Occasion, hold: float) -> Reply:
        if self.refused and occasion.number == self.refused + 1:
            reply.hold = hold
        return reply


def _held_back(pieces: list[Piece], occasion: Occasion) -> list[Piece]:
    """Send nothing of a stream until it is whole and two seconds have passed."""
    return [Piece(2.0, b"".join(piece.data for piece in pieces))] if occasion.streamed else pieces


def _fields(**changes: Any) -> Callable[[int, Any, Occasion], tuple[int, Any]]:
    """Return a hook that changes fields of the error object of every refusal."""

    def hook(status: int, body: Any, _: Occasion) -> tuple[int, Any]:
        return status, {"error": {**body["error"], **changes}} if isinstance(body, dict) else body

    return hook


def _type_as_if(client: str, server: str) -> Callable[[int, Any, Occasion], tuple[int, Any]]:
    def hook(status: int, body: Any, occasion: Occasion) -> tuple[int, Any]:
        return _fields(type=client if status < 500 else server)(status, body, occasion)

    return hook


def _crash(status: int, body: Any, _: Occasion) -> tuple[int, Any]:
    """Turn refusals of values into server errors."""
    if status == 400 and not _says(body, "invalid_json"):
        return 500, {"error": {**body["error"], "type": "server_error", "message": "Internal server error"}}
    return status, body


def _strict(body: Json, _: Occasion) -> Json:
    for name in body:
        if "no_such_field" in name:
            raise ApiError(400, f"Unknown parameter: {name}.", param=name, code="unknown_parameter")
    return body


def _without_logprobs(body: Json, _: Occasion) -> Json:
    kept = [name for name in body.get("include") or () if name != "message.output_text.logprobs"]
    return {**body, "include": kept}


def _without_encryption(body: Json, _: Occasion) -> Json:
    kept = [name for name in body.get("include") or () if name != "reasoning.encrypted_content"]
    return {**body, "include": kept}


_CRASHING: Final = _Crashing()
_HANGING: Final = _Hanging()

_HTTP = (
    Fault(
        id="broken-json-crashes",
        title="A body that is not JSON is answered with a server error.",
        breaks=("HTTP-06", "ERR-05"),
        error=_with_status(500, "invalid_json"),
    ),
    Fault(
        id="broken-json-answered",
        title="A body that is not JSON is answered as if it were a greeting.",
        breaks=("HTTP-06",),
        error=_answered("invalid_json"),
    ),
    Fault(
        id="broken-json-not-found",
        title="A body that is not JSON is refused with status 404.",
        breaks=("HTTP-06",),
        error=_with_status(404, "invalid_json"),
    ),
    Fault(
        id="content-type-ignored",
        title="A body that says to be plain text is answered.",
        breaks=("HTTP-07",),
        error=_answered("unsupported_media"),
    ),
    Fault(
        id="missing-input-answered",
        title="A request without input is answered.",
        breaks=("HTTP-08",),
        error=_no_input,
    ),
    Fault(
        id="unknown-model-answered",
        title="A model that does not exist is said to have answered.",
        breaks=("HTTP-09",),
        error=_unknown_model,
    ),
    Fault(
        id="unknown-model-is-bad-request",
        title="An unknown model is refused with status 400 and without a code.",
        breaks=("HTTP-09",),
        error=_plain_404,
    ),
    Fault(
        id="wrong-key-forbidden",
        title="A wrong key is refused with status 403.",
        breaks=("HTTP-10",),
        request=_forbidden,
    ),
    Fault(
        id="rate-limit-without-retry-after",
        title="Now and then a request is refused with a 429 that does not say when to come back.",
        breaks=("HTTP-11",),
        request=_limited,
    ),
    Fault(
        id="crash-with-page",
        title="Now and then a request is answered with a server error as a page.",
        breaks=("HTTP-12",),
        request=_broken_down,
        error=_as_page,
    ),
    Fault(
        id="refusal-in-stream",
        title="A streaming request that is invalid is refused by an event, with status 200.",
        breaks=("HTTP-13",),
        error=_in_stream,
    ),
    Fault(
        id="wrong-method-not-found",
        title="A method that is not allowed is answered with status 404.",
        breaks=("HTTP-14",),
        error=_with_status(404, "method_not_allowed"),
    ),
    Fault(
        id="crash-after-refusal",
        title="After a request was refused, the next ones get a server error.",
        breaks=("HTTP-15",),
        request=_CRASHING.request,
        error=_CRASHING.error,
    ),
    Fault(
        id="hang-after-refusal",
        title="The reply to the request after one that was refused does not end.",
        breaks=("HTTP-15",),
        error=_HANGING.error,
        ending=_HANGING.ending,
    ),
    Fault(
        id="stream-held-back",
        title="A stream is sent in one piece when it is whole.",
        breaks=("HTTP-16",),
        body=_held_back,
    ),
)

_ERR = (
    Fault(
        id="streamed-refusal-is-422",
        title="Invalid bodies are refused with status 422 when they ask for a stream.",
        breaks=("ERR-11",),
        when=STREAMED,
        error=_with_status(422, "invalid_value", "missing_required_parameter"),
    ),
    Fault(
        id="streamed-refusal-without-param",
        title="The refusal of a body that asks for a stream does not name the field.",
        breaks=("ERR-11",),
        when=STREAMED,
        error=_fields(param=None),
    ),
    Fault(
        id="error-type-of-server",
        title="Every error has the type server_error.",
        breaks=("ERR-03",),
        error=_fields(type="server_error"),
    ),
    Fault(
        id="error-type-not-found",
        title="Every refusal has the type not_found.",
        breaks=("ERR-03",),
        error=_type_as_if("not_found", "server_error"),
    ),
    Fault(
        id="error-param-null",
        title="The param of every error is null.",
        breaks=("ERR-04",),
        error=_fields(param=None),
    ),
    Fault(
        id="error-param-wrong",
        title="The param of every error is body.",
        breaks=("ERR-04",),
        error=_fields(param="body"),
    ),
    Fault(
        id="invalid-body-crashes",
        title="Invalid values are answered with a server error.",
        breaks=("ERR-05",),
        error=_crash,
    ),
    Fault(
        id="object-arguments-break-server",
        title="A call whose arguments are an object is answered with a server error.",
        breaks=("ERR-05",),
        error=_arguments_crash,
    ),
    Fault(
        id="error-echoes-payload",
        title="The message of an error repeats the whole request.",
        breaks=("ERR-10",),
        error=_payload_echoed,
    ),
    Fault(
        id="error-with-stack-trace",
        title="The message of an error ends with a stack trace.",
        breaks=("ERR-06",),
        error=_fields(message=f"Bad request. {_TRACE}"),
    ),
    Fault(
        id="error-with-path",
        title="The message of an error names the source file that it is from.",
        breaks=("ERR-06",),
        error=_fields(message="Bad request (/srv/app/server/handlers/create.rs:88)"),
    ),
    Fault(
        id="failed-without-error-event",
        title="A run breaks down, and response.failed comes without an error event before it.",
        breaks=("ERR-07",),
        when=STREAMED,
        fails=True,
        events=without("error"),
    ),
    Fault(
        id="logprobs-ignored",
        title="Logprobs that include asks for are left out.",
        breaks=("ERR-08",),
        request=_without_logprobs,
    ),
    Fault(
        id="encrypted-reasoning-ignored",
        title="Encrypted reasoning that include asks for is left out.",
        breaks=("ERR-08",),
        request=_without_encryption,
    ),
    Fault(
        id="unknown-field-refused",
        title="A request with an unknown field is refused.",
        breaks=("ERR-09",),
        request=_strict,
    ),
)

FAULTS: Final = (*_HTTP, *_ERR)
