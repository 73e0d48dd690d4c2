"""Freedoms of fields that repeat the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import ResponseHook, in_response
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite, defaults
from rejoinder.sandbox.freedoms.citations import (
    OPENAI_RESPONSE,
    OPENRESPONSES_EXTENSIONS,
    OPENRESPONSES_RESPONSE,
    TZAFON_RESPONSE,
    VLLM_RESPONSE,
)

_VLLM_REQUEST: Final = cite(
    "vllm", "ResponsesRequest, defaults of the fields", "vllm/entrypoints/openai/responses/protocol.py"
)
_NO_DEFAULT: Final = (
    "The published schemas name no default for this field of the response object, only OpenAI's guide for its models."
)


def _tools(change: Callable[[Json], None]) -> ResponseHook:
    """Return a hook that changes every function tool of a response."""

    def do(response: Json) -> None:
        tools = [dict(tool) for tool in response.get("tools") or ()]
        for tool in tools:
            if tool.get("type") == "function":
                change(tool)
        if "tools" in response:
            response["tools"] = tools

    return in_response(do)


def _strict(tool: Json) -> None:
    if tool.get("strict") is None:
        tool["strict"] = True


def _bare(tool: Json) -> None:
    for name in ("description", "parameters", "strict"):
        if tool.get(name) is None:
            tool.pop(name, None)


def _text(response: Json) -> None:
    if isinstance(response.get("text"), dict):
        response["text"] = {"verbosity": "medium", **response["text"]}


def _as_items(response: Json) -> None:
    if isinstance(response.get("instructions"), str):
        part = {"type": "input_text", "text": response["instructions"]}
        response["instructions"] = [{"type": "message", "role": "developer", "content": [part]}]


def _format(response: Json) -> None:
    shape = (response.get("text") or {}).get("format")
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        filled = {"description": None, "strict": False, **shape}
        response["text"] = {**response["text"], "format": filled}


def _no_schema(response: Json) -> None:
    shape = (response.get("text") or {}).get("format")
    if isinstance(shape, dict) and shape.get("type") == "json_schema":
        response["text"] = {**response["text"], "format": {**shape, "schema": None}}


def _reasoning(response: Json) -> None:
    if isinstance(response.get("reasoning"), dict):
        response["reasoning"] = {**response["reasoning"], "context": None, "generate_summary": None}


def _clamped(response: Json, _: str, info: RequestInfo) -> None:
    given = response.get("max_output_tokens")
    if isinstance(given, int) and given > 4096:
        response["max_output_tokens"] = 4096


def _nulls_repeated(response: Json, _: str, info: RequestInfo) -> None:
    for name in ("temperature", "top_p", "truncation", "max_tool_calls", "service_tier", "top_logprobs"):
        if name in info.body and info.body[name] is None and name in response:
            response[name] = None


FREEDOMS: Final = FreedomList(
    Freedom(
        id="tool-choice-none-without-tools",
        title="The tool_choice of a response is none if the request has no tools.",
        dialects=("northstar",),
        not_in=("vllm",),  # where every endpoint does it
        sources=(_VLLM_REQUEST,),
        choice="the field tool_choice",
        **defaults({"tool_choice": "none"}, lambda body: not body.get("tools")),
    ),
    Freedom(
        id="sampling-defaults-of-the-model",
        title="The temperature and top_p of a response are the model's own defaults if the request sets none.",
        sources=(OPENRESPONSES_RESPONSE, _VLLM_REQUEST, TZAFON_RESPONSE),
        argument="The defaults that OpenAI documents are those of its models; other models have their own.",
        choice="defaults of sampling",
        **defaults({"temperature": 0.6, "top_p": 0.95}),
        excludes=("temperature-null", "top-p-null"),
    ),
    Freedom(
        id="nulls-repeated",
        title="A field that the request sets to null is null in the response.",
        dialects=("northstar", "openai"),
        sources=(OPENAI_RESPONSE, TZAFON_RESPONSE),
        argument="The response types let each of these fields be null, and no document says which value it has then.",
        response=_nulls_repeated,
    ),
    Freedom(
        id="max-output-tokens-of-the-model",
        title="The max_output_tokens of a response is the model's limit if the request sets none.",
        sources=(OPENRESPONSES_RESPONSE, OPENAI_RESPONSE, _VLLM_REQUEST),
        choice="the field max_output_tokens",
        **defaults({"max_output_tokens": 8192}),
        excludes=("optional-fields-null", "max-output-tokens-clamped"),
    ),
    Freedom(
        id="max-output-tokens-clamped",
        title="The max_output_tokens of a response is at most the room that the context leaves.",
        dialects=("northstar",),
        sources=(
            cite(
                "vllm",
                "OpenAIServingResponses.create_responses, get_max_tokens",
                "vllm/entrypoints/openai/responses/serving.py",
            ),
        ),
        response=_clamped,
    ),
    Freedom(
        id="service-tier-own",
        title="The service_tier of every response is standard.",
        dialects=("openresponses", "northstar"),
        not_in=("vllm",),
        sources=(cite("openresponses", "service_tier"), TZAFON_RESPONSE),
        choice="the field service_tier",
        response=lambda response, _, __: (
            response.update(service_tier="standard") if "service_tier" in response else None
        ),
        excludes=("optional-fields-null",),
    ),
    Freedom(
        id="service-tier-auto",
        title="The service_tier of every response is auto.",
        sources=(cite("openai-openapi", "ServiceTier"), OPENRESPONSES_RESPONSE, VLLM_RESPONSE),
        choice="the field service_tier",
        response=lambda response, _, __: response.update(service_tier="auto") if "service_tier" in response else None,
        excludes=("optional-fields-null",),
    ),
    Freedom(
        id="tools-filled-strict",
        title="The function tools of a response have strict true if the request sets none.",
        sources=(
            cite("openai-openapi", "FunctionTool.strict, default true"),
            cite("openresponses-openapi", "FunctionTool.strict"),
        ),
        choice="echoed tools",
        response=_tools(_strict),
    ),
    Freedom(
        id="tools-as-sent",
        title="The function tools of a response have only the fields that the request sent.",
        dialects=("northstar",),
        sources=(TZAFON_RESPONSE, VLLM_RESPONSE),
        choice="echoed tools",
        response=_tools(_bare),
    ),
    Freedom(
        id="tools-with-null-fields",
        title="The description and strict of function tools in a response are null.",
        sources=(
            cite("openai-openapi", "FunctionTool.description, FunctionTool.strict, which may be null"),
            cite("openresponses-openapi", "FunctionTool.description, FunctionTool.strict, which may be null"),
        ),
        choice="echoed tools",
        response=_tools(lambda tool: tool.update(description=None, strict=None)),
    ),
    Freedom(
        id="tools-extra-fields",
        title="The function tools of a response have fields that the request did not send.",
        sources=(OPENAI_RESPONSE, VLLM_RESPONSE, OPENRESPONSES_EXTENSIONS),
        argument="The types of the dialects' clients keep fields that they do not define.",
        response=_tools(lambda tool: tool.update({"defer_loading": None, "output_schema": None} | tool)),
        excludes=("tools-as-sent",),
    ),
    Freedom(
        id="instructions-as-items",
        title="The instructions of a response are a list with one developer message.",
        dialects=("openai",),
        sources=(cite("openai-openapi", "Response.instructions, a string or an array of InputItem"),),
        choice="the field instructions",
        response=in_response(_as_items),
    ),
    Freedom(
        id="text-verbosity-filled",
        title="The text of a response has verbosity medium if the request sets none.",
        sources=(cite("openai-openapi", "ResponseTextParam.verbosity, default medium"), OPENRESPONSES_RESPONSE),
        response=in_response(_text),
    ),
    Freedom(
        id="text-format-filled",
        title="The text.format of a response has its optional fields, null or with their defaults.",
        sources=(
            cite("openai-openapi", "TextResponseFormatJsonSchema"),
            cite("openresponses-openapi", "JsonSchemaResponseFormat"),
        ),
        choice="echoed format",
        response=in_response(_format),
    ),
    Freedom(
        id="reasoning-extra-fields",
        title="The reasoning of a response has further fields that are null.",
        sources=(cite("openai-openapi", "Reasoning"), OPENRESPONSES_EXTENSIONS, VLLM_RESPONSE),
        response=in_response(_reasoning),
    ),
    Freedom(
        id="reasoning-effort-of-the-model",
        title="The reasoning.effort of a response is the model's default if the request sets none.",
        sources=(cite("openai-openapi", "Reasoning.effort, default medium"), OPENRESPONSES_RESPONSE),
        **defaults({"reasoning": {"effort": "medium", "summary": None}}),
    ),
    Freedom(
        id="truncation-auto-by-default",
        title="The truncation of a response is auto if the request sets none.",
        dialects=("openresponses",),
        sources=(OPENRESPONSES_RESPONSE, cite("openresponses", "truncation")),
        argument=_NO_DEFAULT,
        choice="the field truncation",
        **defaults({"truncation": "auto"}),
    ),
    Freedom(
        id="parallel-tool-calls-off-by-default",
        title="The parallel_tool_calls of a response is false if the request sets none.",
        dialects=("openresponses",),
        sources=(OPENRESPONSES_RESPONSE,),
        argument=_NO_DEFAULT,
        choice="the field parallel_tool_calls",
        **defaults({"parallel_tool_calls": False}),
    ),
    Freedom(
        id="text-format-schema-null",
        title="The text.format.schema of a response is null.",
        dialects=("openresponses",),
        sources=(cite("openresponses-openapi", "JsonSchemaResponseFormat.schema, null"),),
        choice="echoed format",
        response=in_response(_no_schema),
    ),
)
