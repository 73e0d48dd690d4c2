"""Freedoms of requests: a feature refused as a whole, in every form, or limited by the operator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rejoinder.model.base_form import InputForm
from rejoinder.sandbox.endpoint.lenient import mended
from rejoinder.sandbox.endpoint.reply import ApiError, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import input_items, refuse_items
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite
from rejoinder.wire.base_form import fit_input

_UNSUPPORTED: Final = cite("openresponses", "Error Types, invalid_request covers unsupported parameters")
_SILENT: Final = "Searched: the OpenAI OpenAPI document and vLLM, which name no input that every model must support."


def _images(item: Json) -> Iterator[Json]:
    for field in ("content", "output"):
        parts = item.get(field)
        if isinstance(parts, list):
            yield from (part for part in parts if part.get("type") == "input_image")


def _one_image(body: Json, _: RequestInfo) -> Json:
    if sum(len(list(_images(item))) for item in input_items(body)) > 1:
        raise ApiError(400, "At most 1 image may be provided in one request.", param="input", code="unsupported_value")
    return body


def _no_tools(body: Json, _: RequestInfo) -> Json:
    calls = ("function_call", "function_call_output")
    if body.get("tools") or any(item.get("type") in calls for item in input_items(body)):
        raise ApiError(400, "Tools are not supported.", param="tools", code="unsupported_parameter")
    return body


FREEDOMS: Final = FreedomList(
    Freedom(
        id="no-images",
        title="An image is refused in every place.",
        sources=(_UNSUPPORTED,),
        argument=_SILENT,
        choice="images",
        request=refuse_items("An image", lambda item: any(_images(item))),
    ),
    Freedom(
        id="one-image",
        title="A second image of a request is refused.",
        sources=(cite("vllm", "MultiModalConfig.limit_per_prompt", "vllm/config/multimodal.py"),),
        argument="The other documents name no number of images that every model must accept.",
        choice="images",
        request=_one_image,
    ),
    Freedom(
        id="lenient-parser",
        title="Of an invalid body, what can be used is answered.",
        argument="Searched: Open Responses, Error Types; the OpenAI OpenAPI document; vLLM. None says that an endpoint "
        "must refuse every invalid body.",
        parsed=mended,
    ),
    Freedom(
        id="messages-may-lack-type",
        title="A message without type is answered.",
        dialects=("openresponses",),
        sources=(cite("openresponses", "Error Types, invalid_request"),),
        argument="The schema requires the type, which some examples of the specification leave out.",
        parsed=lambda body, _: fit_input(body, InputForm.TYPED_LIST),
    ),
    Freedom(
        id="no-tools",
        title="Tools, calls and their outputs are refused.",
        sources=(_UNSUPPORTED,),
        argument=_SILENT,
        request=_no_tools,
    ),
)
