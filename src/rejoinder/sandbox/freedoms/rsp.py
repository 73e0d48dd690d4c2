"""Freedoms of the response object."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import UUID

from rejoinder.contract import Citation, cite
from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    Change,
    at_end,
    changed,
    every_part,
    in_response,
    only,
    set_to,
    unset,
)
from rejoinder.sandbox.freedom import Freedom, FreedomList, defaults
from rejoinder.sandbox.freedoms.citations import (
    OPENAI_EXTRA,
    OPENAI_RESPONSE,
    OPENRESPONSES_EXTENSIONS,
    OPENRESPONSES_RESPONSE,
    TZAFON_RESPONSE,
    VLLM_RESPONSE,
)

_ID: Final = (
    cite("openai-openapi", "Response.id, a string without a pattern"),
    cite("openresponses-openapi", "ResponseResource.id, a string without a pattern"),
    TZAFON_RESPONSE,
)
_ITEM_ID: Final = (
    cite("openai-openapi", "OutputMessage.id, a string without a pattern"),
    cite("openresponses", "Extending Items, id: any stable identifier format"),
    TZAFON_RESPONSE,
)
_NUMBERS: Final = cite("rfc8259", "section 6, Numbers", "#section-6")

NewId = Callable[[str, RequestInfo], str]


def ids(change: Callable[[str], str], *prefixes: str) -> NewId:
    """Return a hook that changes the ids that begin with one of these prefixes, or all but those of calls."""

    def hook(id: str, _: RequestInfo) -> str:
        chosen = id.startswith(prefixes) if prefixes else not id.startswith("call_")
        return change(id) if chosen else id

    return hook


def _uuid(id: str) -> str:
    return str(UUID(bytes=hashlib.blake2s(id.encode(), digest_size=16).digest()))


def _number(id: str) -> str:
    return str(int.from_bytes(hashlib.blake2s(id.encode(), digest_size=7).digest()))


_ALWAYS_IN_VLLM: Final = frozenset(
    {
        *("background", "max_output_tokens", "parallel_tool_calls", "service_tier", "temperature", "tool_choice"),
        *("tools", "top_p", "truncation"),
    }
)
"""Fields that every response object of vLLM has, and that are never null there."""


def _drop(name: str) -> Change:
    """Return the change that leaves out a field, but not the reason of a truncated response."""

    def change(response: Json) -> None:
        if name not in ("error", "incomplete_details") or response.get(name) is None:
            response.pop(name, None)

    return change


def _fields(*names: str, dialects: tuple[str, ...], sources: tuple[Citation, ...], null: bool) -> Iterator[Freedom]:
    """Yield a freedom for each field of the response that may be absent, or null."""
    how = "null" if null else "absent"
    for name in names:
        yield Freedom(
            id=f"{name.replace('_', '-')}-{how}",
            title=f"The response object has {name} null if the request does not set it."
            if null
            else f"The response object has no {name}.",
            dialects=dialects,
            not_in=("vllm",) if name in _ALWAYS_IN_VLLM else (),
            sources=sources,
            choice=f"the field {name}",
            **(defaults({name: None}) if null else {"response": in_response(_drop(name))}),
        )


def _single(value: Any) -> Any:
    """Return the value with every fraction as it is after a trip through single precision."""
    if isinstance(value, float):
        return float(struct.unpack("f", struct.pack("f", value))[0])
    if isinstance(value, dict):
        return {key: _single(inner) for key, inner in value.items()}
    return [_single(inner) for inner in value] if isinstance(value, list) else value


def narrow(response: Json) -> None:
    """Send the sampling parameters of a response through single precision."""
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        if name in response:
            response[name] = _single(response[name])


def _with_text(response: Json) -> None:
    response["output_text"] = "".join(
        part["text"]
        for item in response["output"]
        for part in item.get("content") or ()
        if part.get("type") == "output_text"
    )


def _later(response: Json) -> None:
    if response["status"] == "completed" and response.get("completed_at") is not None:
        response["completed_at"] += 1


def _event_logprobs(events: list[Json], info: RequestInfo) -> list[Json]:
    for event in events:
        if str(event.get("type")).startswith("response.output_text.") and not event.get("logprobs"):
            event.pop("logprobs", None)
    return _part_logprobs(events, info)


def _part_logprobs(events: list[Json], _: RequestInfo) -> list[Json]:
    for event in events:
        if isinstance(event.get("part"), dict) and not event["part"].get("logprobs"):
            event["part"].pop("logprobs", None)
        if isinstance(event.get("item"), dict):
            _no_logprobs(event["item"])
    return events


def _no_logprobs(item: Json) -> None:
    for part in item.get("content") or ():
        if isinstance(part, dict) and not part.get("logprobs"):
            part.pop("logprobs", None)


def _final_logprobs(response: Json) -> None:
    for item in response["output"]:
        _no_logprobs(item)


FREEDOMS: Final = FreedomList(
    *_fields(
        *("background", "error", "incomplete_details", "instructions", "max_output_tokens", "max_tool_calls"),
        *("metadata", "parallel_tool_calls", "previous_response_id", "prompt_cache_key", "reasoning"),
        *("safety_identifier", "service_tier", "store", "temperature", "text", "tool_choice", "tools"),
        *("top_logprobs", "top_p", "truncation", "user"),
        dialects=("northstar",),
        sources=(TZAFON_RESPONSE,),
        null=False,
    ),
    Freedom(
        id="optional-fields-absent",
        title="The response object has only the fields that the types of OpenAI's client require.",
        dialects=("northstar", "openai"),
        not_in=("vllm",),
        sources=(OPENAI_RESPONSE, TZAFON_RESPONSE),
        response=in_response(
            unset(
                *("background", "completed_at", "max_output_tokens", "max_tool_calls", "previous_response_id"),
                *("prompt_cache_key", "reasoning", "safety_identifier", "service_tier", "store", "text"),
                *("top_logprobs", "truncation", "user"),
            )
        ),
    ),
    *_fields(
        *("metadata", "reasoning", "service_tier", "text", "truncation", "tools", "tool_choice", "temperature"),
        *("top_p", "store", "background", "parallel_tool_calls", "top_logprobs"),
        dialects=("northstar",),
        sources=(TZAFON_RESPONSE,),
        null=True,
    ),
    Freedom(
        id="optional-fields-null",
        title="The optional fields of the response object are null if the request does not set them.",
        dialects=("northstar", "openai"),
        not_in=("vllm",),
        sources=(OPENAI_RESPONSE, TZAFON_RESPONSE),
        argument="The types of OpenAI's client let each of these fields be null.",
        choice="optional fields",
        **defaults(
            dict.fromkeys(
                (
                    *("background", "max_output_tokens", "max_tool_calls", "prompt_cache_key", "reasoning"),
                    *("safety_identifier", "service_tier", "store", "text", "top_logprobs", "truncation", "user"),
                )
            )
        ),
    ),
    Freedom(
        id="metadata-null-without-metadata",
        title="The metadata of a response is null if the request has none.",
        dialects=("openai", "northstar"),
        sources=(cite("openai-openapi", "Metadata, which may be null"), VLLM_RESPONSE),
        choice="the field metadata",
        **defaults({"metadata": None}),
    ),
    Freedom(
        id="sampling-fields-null",
        title="The temperature and top_p of a response are null.",
        dialects=("openai",),
        sources=(cite("openai-openapi", "ModelResponseProperties.temperature and top_p, which may be null"),),
        choice="defaults of sampling",
        **defaults({"temperature": None, "top_p": None}),
    ),
    Freedom(
        id="created-at-fraction",
        title="The created_at of a response has a fraction of a second.",
        dialects=("northstar", "openai"),
        not_in=("vllm",),
        sources=(
            cite("openai-openapi", "Response.created_at, a number"),
            cite("openai-python", "Response.created_at, a float", "src/openai/types/responses/response.py"),
        ),
        response=in_response(changed("created_at", lambda value: value + 0.25)),
        excludes=("completed-at-later",),
    ),
    Freedom(
        id="completed-at-absent",
        title="The response object has no completed_at.",
        dialects=("openai",),
        sources=(OPENAI_RESPONSE,),
        choice="completed_at",
        response=in_response(unset("completed_at")),
    ),
    Freedom(
        id="completed-at-later",
        title="A response is completed one second after it was created.",
        dialects=("openai", "openresponses"),
        sources=(
            cite("openai-openapi", "Response.completed_at"),
            cite("openresponses-openapi", "ResponseResource.completed_at"),
        ),
        choice="completed_at",
        response=at_end(_later),
        excludes=("optional-fields-absent",),
    ),
    Freedom(
        id="response-extra-fields",
        title="The response object has fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, TZAFON_RESPONSE, OPENRESPONSES_EXTENSIONS),
        response=in_response(
            lambda response: response.update(
                provider="acme", cost={"usd": 0.0001}, timings=None, system_fingerprint="fp_1", billing=[]
            )
        ),
    ),
    Freedom(
        id="response-output-text",
        title="The response object has output_text with the joined text.",
        sources=(OPENAI_EXTRA, TZAFON_RESPONSE, OPENRESPONSES_EXTENSIONS),
        response=at_end(_with_text),
    ),
    Freedom(
        id="response-kv-transfer-fields",
        title="The response object has the fields that vLLM adds, all null.",
        dialects=("northstar",),
        sources=(VLLM_RESPONSE,),
        response=in_response(
            lambda response: response.update(
                kv_transfer_params=None, input_messages=None, output_messages=None, prompt=None, conversation=None
            )
        ),
    ),
    Freedom(
        id="incomplete-details-extra-fields",
        title="The incomplete_details of a response has further fields.",
        sources=(OPENAI_EXTRA, TZAFON_RESPONSE, OPENRESPONSES_EXTENSIONS),
        response=at_end(
            lambda response: (
                response["incomplete_details"].update(limit=1) if response.get("incomplete_details") else None
            )
        ),
    ),
    Freedom(
        id="numbers-in-single-precision",
        title="The sampling parameters of a response went through single precision.",
        sources=(_NUMBERS, OPENAI_RESPONSE, OPENRESPONSES_RESPONSE),
        response=in_response(narrow),
    ),
    Freedom(
        id="ids-with-equals-signs",
        title="Ids end with equals signs.",
        sources=_ID,
        choice="form of ids",
        new_id=ids(lambda id: f"{id}=="),
    ),
    Freedom(
        id="ids-with-slashes",
        title="Ids have slashes.",
        sources=_ID,
        choice="form of ids",
        new_id=ids(lambda id: f"acme/v1/{id}"),
    ),
    Freedom(
        id="ids-with-percent-signs",
        title="Ids have percent signs.",
        sources=_ID,
        choice="form of ids",
        new_id=ids(lambda id: f"{id}%2Fa%25"),
    ),
    Freedom(
        id="ids-with-plus-signs",
        title="Ids have plus signs.",
        sources=_ID,
        choice="form of ids",
        new_id=ids(lambda id: f"{id}+a+b"),
    ),
    Freedom(
        id="ids-unsafe-in-urls",
        title="Ids have characters that a URL must escape.",
        sources=_ID,
        choice="form of ids",
        new_id=ids(lambda id: f"{id}#1?a=b&c;d|e"),
    ),
    Freedom(
        id="ids-very-long",
        title="The id of a response has 400 characters.",
        sources=_ID,
        choice="form of ids",
        new_id=ids(lambda id: id.ljust(400, "x"), "resp_"),
    ),
    Freedom(
        id="ids-are-uuids",
        title="Ids are UUIDs.",
        sources=_ID,
        choice="form of ids",
        new_id=ids(_uuid),
    ),
    Freedom(
        id="ids-are-numbers",
        title="Ids consist of digits.",
        sources=_ID,
        choice="form of ids",
        new_id=ids(_number),
    ),
    Freedom(
        id="ids-with-dots-and-colons",
        title="Ids have dots, colons and tildes.",
        sources=_ID,
        choice="form of ids",
        new_id=ids(lambda id: f"urn:acme:{id}.v1~"),
    ),
    Freedom(
        id="item-ids-long",
        title="The id of an output item has 300 characters.",
        sources=_ITEM_ID,
        choice="form of item ids",
        new_id=ids(lambda id: id.ljust(300, "0"), "msg_", "rs_", "fc_", "ctc_"),
        excludes=("ids-very-long",),
    ),
    Freedom(
        id="logprobs-absent",
        title="Text parts and text events have no logprobs unless the request includes them.",
        sources=(
            cite(
                "openai-python",
                "ResponseOutputText.logprobs, which is optional",
                "src/openai/types/responses/response_output_text.py",
            ),
            cite("openresponses-openapi", "OutputTextContent, required"),
            TZAFON_RESPONSE,
        ),
        dialects=("northstar", "openresponses"),
        choice="logprobs",
        events=_event_logprobs,
        response=at_end(_final_logprobs),
    ),
    Freedom(
        id="part-logprobs-absent",
        title="Text parts have no logprobs unless the request includes them.",
        sources=(
            cite(
                "openai-python",
                "ResponseOutputText.logprobs, which is optional",
                "src/openai/types/responses/response_output_text.py",
            ),
        ),
        dialects=("openai",),
        choice="logprobs",
        response=at_end(_final_logprobs),
        events=_part_logprobs,
    ),
    Freedom(
        id="logprobs-empty",
        title="Text parts have an empty logprobs array.",
        sources=(cite("openresponses-openapi", "OutputTextContent.logprobs"), VLLM_RESPONSE),
        dialects=("northstar", "openresponses"),
        choice="logprobs",
        **every_part(only("output_text", lambda part: part.setdefault("logprobs", []) and None)),
    ),
    Freedom(
        id="completed-at-null",
        title="The completed_at of every response is null.",
        dialects=("openai", "openresponses"),
        sources=(
            cite("openai-openapi", "Response.completed_at, which may be null"),
            cite("openresponses-openapi", "ResponseResource.completed_at, which may be null"),
        ),
        choice="completed_at",
        response=in_response(set_to("completed_at", None)),
        excludes=("optional-fields-absent",),
    ),
    Freedom(
        id="truncation-reason-own",
        title="The incomplete_details.reason of a truncated response is max_tokens.",
        dialects=("openresponses",),
        sources=(cite("openresponses-openapi", "IncompleteDetails.reason, any string"),),
        response=at_end(
            lambda response: (
                response.update(incomplete_details={"reason": "max_tokens"}) if response["incomplete_details"] else None
            )
        ),
    ),
)
