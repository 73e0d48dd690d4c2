"""Freedoms of HTTP status, headers and body."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from rejoinder.sandbox.endpoint.generate import MODELS
from rejoinder.sandbox.endpoint.reply import ApiError, Piece, RequestInfo, header
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    PLAIN,
    has_code,
    in_response,
    set_to,
    with_status,
)
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite, refused_with
from rejoinder.sandbox.freedoms.citations import (
    OPENAI_STATUS,
    OPENRESPONSES_ERRORS,
    STATUSES,
    TZAFON_STATUS,
)

_JSON: Final = cite("rfc8259", "section 2, JSON Grammar", "#section-2")
_HEADERS: Final = cite("rfc9110", "section 5.1, Field Names: recipients ignore unknown fields", "#section-5.1")
_CHOSEN: Final = cite("rfc9110", "section 15.5, Client Error 4xx", "#section-15.5")
_LARGEST: Final = 50_000

Body = Callable[[list[Piece], RequestInfo], list[Piece]]


def _encodes(text: str) -> bool:
    """Return whether text has no half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _rewritten(write: Callable[[Any], str]) -> Body:
    """Return a hook that writes plain bodies in another way."""

    def hook(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
        if len(pieces) != 1 or not pieces[0].data.startswith(b"{"):
            return pieces
        text = write(json.loads(pieces[0].data))
        return [pieces[0]._replace(data=text.encode())] if _encodes(text) else pieces

    return hook


_FAILED: Final = "model_failed"


def _fail_on_schemas(body: Json, _: RequestInfo) -> Json:
    text = body.get("text")
    shape = text.get("format") if isinstance(text, dict) else None
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        raise ApiError(500, "The model failed to generate a response.", code=_FAILED)
    return body


def _as_model_error(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
    return (status, {"error": {**body["error"], "type": "model_error"}}) if has_code(body, _FAILED) else (status, body)


def _pieces(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    if len(pieces) != 1:
        return pieces
    [(delay, data)] = pieces
    step = max(1, len(data) // 7)
    return [Piece(delay if place == 0 else 0.0, data[place : place + step]) for place in range(0, len(data), step)]


def _padded(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    return [Piece(0.0, b"\n \n"), *pieces] if len(pieces) == 1 else pieces


def _without_code(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
    return status, {"error": {**body["error"], "code": None}} if has_code(body, "model_not_found") else body


def _as_default(body: Json, _: RequestInfo) -> Json:
    known = body.get("model") in (None, *MODELS)
    return body if known or not isinstance(body["model"], str) else {**body, "model": MODELS[0]}


def _needs_type(body: Json, info: RequestInfo) -> Json:
    if not header(info.request, "content-type"):
        raise ApiError(415, "The request has no content type.", code="unsupported_media")
    return body


def _small(body: Json, info: RequestInfo) -> Json:
    if len(info.request.body) > _LARGEST:
        raise ApiError(413, f"The body is larger than {_LARGEST} bytes.", code="body_too_large")
    return body


def _owned(body: Json, _: RequestInfo) -> Json:
    metadata = body.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("project"):
        raise ApiError(400, "metadata.project is required.", param="metadata.project", code="missing_parameter")
    return body


FREEDOMS: Final = FreedomList(
    Freedom(
        id="extra-headers",
        title="Responses have headers that no document defines.",
        sources=(_HEADERS,),
        head=lambda status, headers, _: (
            status,
            (
                *headers,
                ("server", "uvicorn"),
                ("openai-processing-ms", "12"),
                ("x-ratelimit-remaining-requests", "99"),
                ("set-cookie", "lb=1; Path=/"),
                ("vary", "Accept-Encoding"),
            ),
        ),
    ),
    Freedom(
        id="json-with-charset",
        title="The content type of a plain response has the parameter charset.",
        sources=(cite("rfc9110", "section 8.3, Content-Type", "#section-8.3"),),
        when=PLAIN,
        head=lambda status, headers, _: (
            status,
            tuple(
                (name, f"{value}; charset=utf-8" if value == "application/json" else value) for name, value in headers
            ),
        ),
    ),
    Freedom(
        id="json-indented",
        title="Plain bodies are indented JSON.",
        sources=(_JSON,),
        choice="layout of plain bodies",
        body=_rewritten(lambda value: json.dumps(value, indent=2, ensure_ascii=False)),
    ),
    Freedom(
        id="json-escaped",
        title="Plain bodies escape every character outside ASCII.",
        sources=(cite("rfc8259", "section 7, Strings", "#section-7"),),
        choice="layout of plain bodies",
        body=_rewritten(lambda value: json.dumps(value).replace("/", "\\/")),
    ),
    Freedom(
        id="json-fields-in-other-order",
        title="The fields of plain bodies are in alphabetical order.",
        sources=(cite("rfc8259", "section 4, Objects", "#section-4"),),
        choice="layout of plain bodies",
        body=_rewritten(lambda value: json.dumps(value, sort_keys=True, ensure_ascii=False)),
    ),
    Freedom(
        id="json-after-blank-lines",
        title="White space comes before a plain body, to keep the connection open.",
        sources=(_JSON,),
        when=PLAIN,
        body=_padded,
        excludes=("json-indented", "json-escaped", "json-fields-in-other-order"),
    ),
    Freedom(
        id="plain-body-in-pieces",
        title="A plain body arrives in several chunks.",
        sources=(cite("rfc9110", "section 6.4, Content", "#section-6.4"),),
        when=PLAIN,
        body=_pieces,
        excludes=(
            "json-after-blank-lines",
            "json-indented",
            "json-escaped",
            "json-fields-in-other-order",
            "stream-byte-by-byte",
            "several-events-in-a-chunk",
            "whole-stream-in-one-chunk",
            "chunks-across-events",
        ),
    ),
    Freedom(
        id="other-media-bad-request",
        title="The endpoint refuses another content type with 400.",
        sources=(_CHOSEN, *STATUSES),
        choice="status of another content type",
        error=refused_with(400, "unsupported_media"),
    ),
    Freedom(
        id="other-media-unprocessable",
        title="The endpoint refuses another content type with 422.",
        sources=(_CHOSEN, OPENAI_STATUS, TZAFON_STATUS),
        choice="status of another content type",
        error=refused_with(422, "unsupported_media"),
    ),
    Freedom(
        id="content-type-required",
        title="The endpoint refuses a request without a content type with 415.",
        sources=(
            cite("rfc9110", "section 15.5.16, 415 Unsupported Media Type", "#section-15.5.16"),
            cite("openresponses", "HTTP Requests, Headers"),
        ),
        parsed=_needs_type,
    ),
    Freedom(
        id="invalid-unprocessable",
        title="The endpoint refuses an invalid value with 422.",
        sources=(
            cite("rfc9110", "section 15.5.21, 422 Unprocessable Content", "#section-15.5.21"),
            OPENAI_STATUS,
            TZAFON_STATUS,
            OPENRESPONSES_ERRORS,
        ),
        error=refused_with(422, "invalid_value", "missing_required_parameter"),
    ),
    Freedom(
        id="large-body-refused",
        title=f"The endpoint refuses a body of more than {_LARGEST:,} bytes with 413.",
        sources=(cite("rfc9110", "section 15.5.14, 413 Content Too Large", "#section-15.5.14"),),
        parsed=_small,
    ),
    Freedom(
        id="unknown-model-bad-request",
        title="The endpoint refuses an unknown model with 400.",
        sources=(OPENAI_STATUS, TZAFON_STATUS, OPENRESPONSES_ERRORS),
        choice="unknown model",
        # With another code nothing says that it is the model that is unknown, and vLLM's clients expect 404 then.
        excludes=("error-code-null", "error-code-own", "status-as-error-code"),
        error=refused_with(400, "model_not_found"),
    ),
    Freedom(
        id="unknown-model-without-code",
        title="The endpoint refuses an unknown model with 404 and the code null.",
        sources=(OPENRESPONSES_ERRORS, cite("openai-openapi", "Error.code, which may be null")),
        choice="unknown model",
        error=_without_code,
    ),
    Freedom(
        id="unknown-model-replaced",
        title="The endpoint serves a request for an unknown model with its own model, and names that one.",
        sources=(
            cite("openai-openapi", "Response.model"),
            cite("openresponses-openapi", "ResponseResource.model"),
            cite("tzafon", "src/tzafon/types/response_create_response.py, ResponseCreateResponse.model"),
        ),
        argument="No document says that an unknown model must be refused.",
        choice="unknown model",
        parsed=_as_default,
    ),
    Freedom(
        id="model-failure-500",
        title="The model fails on every request with a JSON Schema, which returns 500 with type model_error.",
        dialects=("openresponses",),
        sources=(OPENRESPONSES_ERRORS,),
        choice="type of errors",
        request=_fail_on_schemas,
        error=_as_model_error,
    ),
    Freedom(
        id="model-snapshot-named",
        title="The model of a response is the dated snapshot of the requested model.",
        sources=(cite("openai-openapi", "Response.model"), cite("openresponses-openapi", "ResponseResource.model")),
        choice="name of the model",
        response=in_response(set_to("model", "parrot-2026-11-01")),
    ),
    Freedom(
        id="model-path-named",
        title="The model of a response is the path from which the engine loaded it.",
        sources=(cite("openai-openapi", "Response.model"), cite("openresponses-openapi", "ResponseResource.model")),
        choice="name of the model",
        response=in_response(set_to("model", "/models/acme/Parrot-7B:Q4")),
    ),
    Freedom(
        id="metadata-project-required",
        title="The endpoint refuses a request without metadata.project.",
        sources=STATUSES,
        argument="No document forbids an endpoint to require a field of its own; clients see a clean 400.",
        parsed=_owned,
    ),
    Freedom(
        id="unsupported-method-is-501",
        title="The endpoint returns status 501 for a method that it does not know.",
        sources=(cite("rfc9110", "section 9.1, Overview", "#section-9.1"),),
        error=with_status(501, "method_not_allowed"),
    ),
    Freedom(
        id="malformed-json-is-422",
        title="The endpoint refuses a body that is not JSON with status 422.",
        sources=(cite("rfc9110", "section 15.5.21, 422 Unprocessable Content", "#section-15.5.21"),),
        choice="status for malformed JSON",
        error=with_status(422, "invalid_json"),
    ),
    Freedom(
        id="unknown-model-invalid-value",
        title="The endpoint refuses an unknown model with 400 and the code invalid_value.",
        dialects=("openai", "openresponses"),
        sources=(OPENAI_STATUS, TZAFON_STATUS, OPENRESPONSES_ERRORS),
        argument="No document names the code of an unknown model; model_not_found is an example of Open Responses.",
        choice="unknown model",
        error=refused_with(400, "model_not_found", code="invalid_value"),
    ),
)
