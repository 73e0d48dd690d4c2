"""Freedoms of usage."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rejoinder.sandbox.endpoint.generate import ResolvedRequest
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import change_usage, in_response, set_to, unset
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite
from rejoinder.sandbox.freedoms.citations import (
    OPENAI_EXTRA,
    OPENAI_RESPONSE,
    OPENRESPONSES_EXTENSIONS,
    OPENRESPONSES_RESPONSE,
    TZAFON_RESPONSE,
    VLLM_RESPONSE,
)


def _not_cached(usage: Json) -> None:
    details = usage.get("input_tokens_details")
    if isinstance(details, dict):
        usage["input_tokens_details"] = {**details, "cached_tokens": 0}


def _has_instructions(resolved: ResolvedRequest) -> bool:
    given = resolved.body.get("instructions")
    return bool(given) or any(item.get("role") in ("system", "developer") for item in resolved.items)


_COUNTS: Final = (
    cite("openai-openapi", "ResponseUsage.input_tokens"),
    cite("openresponses-openapi", "Usage.input_tokens"),
    VLLM_RESPONSE,
)

FREEDOMS: Final = FreedomList(
    Freedom(
        id="usage-null",
        title="The usage of every response is null.",
        dialects=("northstar", "openresponses"),
        sources=(
            cite("openresponses-openapi", "ResponseResource.usage: if available, or null"),
            cite("vllm", "ResponsesResponse.usage, which may be null", "vllm/entrypoints/openai/responses/protocol.py"),
            TZAFON_RESPONSE,
            cite("openai-python", "Response.usage, which may be null", "src/openai/types/responses/response.py"),
        ),
        choice="the field usage",
        response=in_response(set_to("usage", None)),
    ),
    Freedom(
        id="usage-extra-fields",
        title="The usage has fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, TZAFON_RESPONSE, OPENRESPONSES_EXTENSIONS),
        response=change_usage(
            lambda usage: usage.update(cost=0.0012, num_sources_used=0, prompt_tokens_details=None, is_byok=False)
        ),
    ),
    Freedom(
        id="usage-details-extra-fields",
        title="The details of usage have fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, VLLM_RESPONSE, OPENRESPONSES_EXTENSIONS),
        response=change_usage(
            lambda usage: usage.update(
                input_tokens_details={**usage["input_tokens_details"], "audio_tokens": 0, "image_tokens": None},
                output_tokens_details={**usage["output_tokens_details"], "tool_output_tokens": 0},
            )
        ),
        excludes=("usage-details-absent", "usage-details-null"),
    ),
    Freedom(
        id="usage-details-absent",
        title="The usage has no input_tokens_details and no output_tokens_details.",
        dialects=("northstar",),
        not_in=("vllm",),
        sources=(cite("tzafon", "src/tzafon/types/response_create_response.py, Usage"),),
        choice="details of usage",
        response=change_usage(unset("input_tokens_details", "output_tokens_details")),
    ),
    Freedom(
        id="usage-details-null",
        title="The input_tokens_details and output_tokens_details of usage are null.",
        dialects=("northstar",),
        not_in=("vllm",),
        sources=(cite("tzafon", "src/tzafon/types/response_create_response.py, Usage, extra fields"),),
        choice="details of usage",
        response=change_usage(lambda usage: usage.update(input_tokens_details=None, output_tokens_details=None)),
    ),
    Freedom(
        id="cached-tokens-zero",
        title="The cached_tokens of usage is always 0.",
        sources=(
            cite("openai-openapi", "ResponseUsage.input_tokens_details"),
            OPENRESPONSES_RESPONSE,
            VLLM_RESPONSE,
        ),
        response=change_usage(_not_cached),
    ),
    Freedom(
        id="cache-write-tokens-absent",
        title="The usage has no cache_write_tokens.",
        dialects=("northstar", "openresponses"),
        sources=(cite("openresponses-openapi", "InputTokensDetails, required"), VLLM_RESPONSE),
        response=change_usage(
            lambda usage: (
                usage["input_tokens_details"].pop("cache_write_tokens", None)
                if isinstance(usage.get("input_tokens_details"), dict)
                else None
            )
        ),
    ),
    Freedom(
        id="prompt-template-counted",
        title="The input_tokens of usage count the chat template as well.",
        sources=_COUNTS,
        argument="No document says which tokens of the prompt are counted.",
        resolved=lambda resolved, _: replace(resolved, template_tokens=resolved.template_tokens + 17),
    ),
    Freedom(
        id="tool-template-counted",
        title="A request with tools has a longer chat template, which input_tokens counts.",
        sources=_COUNTS,
        argument="No document says what a prompt says of tools besides their definitions.",
        resolved=lambda resolved, _: replace(
            resolved, template_tokens=resolved.template_tokens + (190 if resolved.body.get("tools") else 0)
        ),
    ),
    Freedom(
        id="own-instructions-counted",
        title="Without instructions, the endpoint gives the model its own, which input_tokens counts.",
        sources=_COUNTS,
        argument="No document says what a prompt says besides the input.",
        resolved=lambda resolved, _: replace(
            resolved, template_tokens=resolved.template_tokens + (0 if _has_instructions(resolved) else 60)
        ),
    ),
    Freedom(
        id="tokens-shorter",
        title="The tokenizer makes half as many tokens again of every text.",
        sources=_COUNTS,
        argument="Tokenizers differ, and no document names one.",
        choice="tokens of the input",
        resolved=lambda resolved, _: replace(resolved, counted=lambda tokens: tokens + tokens // 2),
    ),
    Freedom(
        id="tokens-longer",
        title="The tokenizer makes two tokens of every three.",
        sources=_COUNTS,
        argument="Tokenizers differ, and no document names one.",
        choice="tokens of the input",
        resolved=lambda resolved, _: replace(resolved, counted=lambda tokens: -(-tokens * 2 // 3)),
    ),
    Freedom(
        id="tokens-in-blocks-of-16",
        title="The input_tokens of usage are a multiple of 16.",
        sources=_COUNTS,
        argument="No document says whether padding is counted.",
        choice="tokens of the input",
        resolved=lambda resolved, _: replace(resolved, counted=lambda tokens: -(-tokens // 16) * 16),
    ),
    Freedom(
        id="tokens-in-blocks-of-128",
        title="The input_tokens of usage are a multiple of 128.",
        sources=_COUNTS,
        argument="No document says whether padding is counted.",
        choice="tokens of the input",
        resolved=lambda resolved, _: replace(resolved, counted=lambda tokens: -(-tokens // 128) * 128),
    ),
    Freedom(
        id="input-tokens-constant",
        title="The input_tokens of usage is the same for every request.",
        dialects=("northstar", "openai"),
        sources=_COUNTS,
        argument="No document says how a number of input tokens is found.",
        choice="tokens of the input",
        resolved=lambda resolved, _: replace(resolved, counted=lambda _: 7),
    ),
    Freedom(
        id="images-have-few-tokens",
        title="An image has 3 input tokens.",
        sources=_COUNTS,
        argument="No document says how many tokens an image has.",
        choice="tokens of an image",
        resolved=lambda resolved, _: replace(resolved, image_tokens=3),
    ),
    Freedom(
        id="images-have-many-tokens",
        title="An image has 1,105 input tokens.",
        sources=_COUNTS,
        argument="No document says how many tokens an image has.",
        choice="tokens of an image",
        resolved=lambda resolved, _: replace(resolved, image_tokens=1105),
    ),
    Freedom(
        id="usage-absent",
        title="The response object has no usage.",
        dialects=("northstar", "openai"),
        sources=(OPENAI_RESPONSE, TZAFON_RESPONSE),
        argument="OpenAI's document does not require the field, and in tzafon's types it is optional.",
        choice="the field usage",
        response=in_response(unset("usage")),
    ),
)
