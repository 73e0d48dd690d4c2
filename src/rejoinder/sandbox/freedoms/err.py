"""Freedoms of errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from rejoinder.contract import load_schema
from rejoinder.sandbox.endpoint.reply import ApiError, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import ErrorHook, without_field
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite
from rejoinder.sandbox.freedoms.citations import (
    OPENAI_ERROR,
    OPENAI_STATUS,
    OPENRESPONSES_ERRORS,
    OPENRESPONSES_EXTENSIONS,
    TZAFON_STATUS,
)

_VLLM_ERROR: Final = cite("vllm", "ErrorInfo, ErrorResponse", "vllm/entrypoints/openai/engine/protocol.py")


def _error(change: Callable[[Json, int], None]) -> ErrorHook:
    """Return a hook that changes the error object of refusals; the change also gets the status."""

    def hook(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
        if isinstance(body, dict):
            change(body["error"], status)
        return status, body

    return hook


def _set(**fields: Any) -> ErrorHook:
    return _error(lambda error, _: error.update(fields))


def _beside(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
    return status, {"object": "error", "request_id": "req_1", **body} if isinstance(body, dict) else body


def _refuse_unknown(body: Json, info: RequestInfo) -> Json:
    known = {*load_schema("request")["properties"], *info.dialect.parameters}
    unknown = next((name for name in body if name not in known), None)
    if unknown is not None:
        raise ApiError(400, f"The field {unknown[:100]!r} is unknown.", param=unknown[:100], code="unknown_parameter")
    return body


def _busy(body: Json, info: RequestInfo) -> Json:
    if info.number % 11 == 5:
        raise ApiError(429, "Too many requests.", code="rate_limit_exceeded", headers=(("retry-after", "1"),))
    return body


_ERROR_INFO: Final = cite("vllm", "ErrorInfo", "vllm/entrypoints/openai/engine/protocol.py#L68")
_ERRORS: Final = cite("openresponses", "Errors", "?plain=1#L419")


def _changed(change: Callable[[Json, int], Any]) -> ErrorHook:
    """Return a hook that replaces the error object of every refusal by what is made of it and the status."""
    return lambda status, body, _: (
        status,
        {**body, "error": change(body["error"], status)} if isinstance(body, dict) else body,
    )


FREEDOMS: Final = FreedomList(
    Freedom(
        id="error-code-null",
        title="The code of every error is null.",
        sources=(cite("openai-openapi", "Error.code, which may be null"), OPENRESPONSES_ERRORS),
        choice="code of errors",
        error=_set(code=None),
    ),
    Freedom(
        id="error-code-own",
        title="The code of every error is one of the vendor's own.",
        sources=(OPENAI_ERROR, OPENRESPONSES_ERRORS),
        argument="OpenAI's document lists codes for response.error only, not for the error of a refused request.",
        choice="code of errors",
        error=_set(code="E4010-bad-input"),
    ),
    Freedom(
        id="error-type-of-the-other-dialect",
        title="The type of every client error is invalid_request_error.",
        sources=(OPENAI_ERROR, cite("openresponses", "Errors, the example"), OPENRESPONSES_ERRORS),
        choice="type of errors",
        error=_error(lambda error, status: error.update(type="invalid_request_error") if status < 500 else None),
    ),
    Freedom(
        id="error-extra-fields",
        title="Errors have fields that no document defines.",
        sources=(
            cite("openai-python", "APIError.body, kept as it is", "src/openai/_exceptions.py"),
            OPENRESPONSES_EXTENSIONS,
        ),
        error=_set(details=[{"loc": ["body", "input"]}], doc_url="https://docs.invalid/errors", status=400),
    ),
    Freedom(
        id="error-body-extra-fields",
        title="Error bodies have fields beside error.",
        sources=(OPENAI_STATUS, TZAFON_STATUS, OPENRESPONSES_EXTENSIONS),
        error=_beside,
    ),
    Freedom(
        id="error-message-plain",
        title="The message of every error is one general sentence.",
        sources=(OPENAI_ERROR, OPENRESPONSES_ERRORS, _VLLM_ERROR),
        argument="No document says what a message contains.",
        choice="message of errors",
        error=_set(message="The request is invalid."),
    ),
    Freedom(
        id="error-message-localised",
        title="The message of every error is in another language.",
        sources=(OPENAI_ERROR, OPENRESPONSES_ERRORS),
        argument="No document names a language.",
        choice="message of errors",
        error=_set(message="Ungültige Anfrage: 要求が無効です。"),
    ),
    Freedom(
        id="unknown-fields-refused",
        title="The endpoint refuses a request with a field that it does not know.",
        sources=(OPENAI_STATUS, TZAFON_STATUS, cite("openresponses", "Error Types, invalid_request")),
        argument="No document says what an endpoint does with unknown fields of a request.",
        parsed=_refuse_unknown,
    ),
    Freedom(
        id="status-as-error-code",
        title="The code of errors is the HTTP status as a number.",
        dialects=("northstar",),
        sources=(_ERROR_INFO,),
        choice="code of errors",
        error=_changed(lambda error, status: {**error, "code": status}),
    ),
    Freedom(
        id="no-error-param",
        title="Errors have no param.",
        dialects=("northstar", "openresponses"),
        sources=(_ERROR_INFO, _ERRORS),
        choice="param of errors",
        error=_changed(lambda error, _: without_field(error, "param")),
    ),
    Freedom(
        id="no-error-code",
        title="Errors have no code.",
        dialects=("openresponses",),
        sources=(_ERRORS,),
        choice="code of errors",
        error=_changed(lambda error, _: without_field(error, "code")),
    ),
    Freedom(
        id="own-error-types",
        title="The type of errors is none that the dialect lists.",
        sources=(_ERRORS, _ERROR_INFO),
        choice="type of errors",
        error=_changed(lambda error, _: {**error, "type": "acme_problem"}),
    ),
    Freedom(
        id="error-params-null",
        title="The param of every error is null.",
        sources=(cite("openai-openapi", "Error.param, which may be null"), OPENRESPONSES_ERRORS, _VLLM_ERROR),
        choice="param of errors",
        error=_set(param=None),
    ),
    Freedom(
        id="rate-limited-at-times",
        title="The endpoint refuses one create request in eleven with 429 and Retry-After.",
        sources=(
            OPENRESPONSES_ERRORS,
            OPENAI_STATUS,
            TZAFON_STATUS,
            cite("rfc6585", "section 4, 429 Too Many Requests", "#section-4"),
        ),
        parsed=_busy,
    ),
)
