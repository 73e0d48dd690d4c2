"""Faults of parameters of one dialect."""

from __future__ import annotations

import json
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    NORTHSTAR_ONLY,
    PLAIN,
    Condition,
    Fault,
    FaultList,
    answer_format,
    as_if,
    as_instructions,
    at_end,
    change_texts,
    in_response,
    items_of,
    unheard,
    unheard_in,
    with_request_field,
)

_MUCH: Final = 64
_VLLM: Final = ("vllm",)
_PENALTIES: Final = ("openresponses", "vllm")


def _effort(info: RequestInfo) -> Any:
    reasoning = info.body.get("reasoning")
    return reasoning.get("effort") if isinstance(reasoning, dict) else None


def _with_logprobs(body: Json, _: RequestInfo) -> Json:
    return {**body, "include": [*(body.get("include") or ()), "message.output_text.logprobs"]}


def _only_counted(response: Json, _: str, info: RequestInfo) -> None:
    usage = response.get("usage")
    if info.operation == "create":
        response["reasoning"] = {**(response.get("reasoning") or {}), **(info.body.get("reasoning") or {})}
        if isinstance(usage, dict):
            usage["output_tokens_details"] = {"reasoning_tokens": usage["output_tokens"]}


def _sorted(value: Any) -> Any:
    """Return a JSON value with the keys of all objects in alphabetical order."""
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value


def _sorted_text(text: str) -> str:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return json.dumps(_sorted(value), ensure_ascii=False) if isinstance(value, dict) else text


FAULTS: Final = FaultList(
    Fault(
        id="taken-request-id-overwrites",
        title="A request with a used request_id overwrites the existing response.",
        breaks=("PAR-01",),
        dialects=NORTHSTAR_ONLY,
        replaces=True,
    ),
    Fault(
        id="request-id-ignored",
        title="The endpoint ignores request_id.",
        breaks=("PAR-06",),
        dialects=NORTHSTAR_ONLY,
        request=as_if(request_id=None),
    ),
    Fault(
        id="cache-salt-heard",
        title="cache_salt reaches the model as text.",
        breaks=("PAR-03",),
        dialects=NORTHSTAR_ONLY,
        when=with_request_field("cache_salt"),
        **as_instructions(lambda info: str(info.body.get("cache_salt"))),
    ),
    Fault(
        id="end-mark-shown",
        title="Texts end with the end-of-turn token.",
        breaks=("PAR-04",),
        when=PLAIN,
        response=at_end(change_texts(lambda text: f"{text}<|im_end|>")),
    ),
    Fault(
        id="previous-input-messages-dropped",
        title="previous_input_messages are accepted but do not reach the model.",
        breaks=("PAR-07",),
        dialects=("northstar",),
        request=as_if(previous_input_messages=None),
    ),
    Fault(
        id="logit-bias-ignored",
        title="logit_bias is ignored.",
        breaks=("PAR-07",),
        dialects=NORTHSTAR_ONLY,
        request=as_if(logit_bias=None),
    ),
    Fault(
        id="response-messages-missing",
        title="enable_response_messages is ignored.",
        breaks=("PAR-05",),
        dialects=NORTHSTAR_ONLY,
        request=as_if(enable_response_messages=None),
    ),
    Fault(
        id="stop-ignored",
        title="stop is ignored.",
        breaks=("PAR-08",),
        dialects=_VLLM,
        request=as_if(stop=None),
    ),
    Fault(
        id="stop-string-shown",
        title="Texts end with the stop string without include_stop_str_in_output.",
        breaks=("PAR-08",),
        dialects=_VLLM,
        request=as_if(include_stop_str_in_output=True),
    ),
    Fault(
        id="stop-string-never-included",
        title="include_stop_str_in_output is ignored.",
        breaks=("PAR-09",),
        dialects=_VLLM,
        request=as_if(include_stop_str_in_output=False),
    ),
    Fault(
        id="seed-ignored",
        title="seed is ignored.",
        breaks=("PAR-10",),
        dialects=_VLLM,
        request=as_if(seed=None),
    ),
    Fault(
        id="frequency-penalty-ignored",
        title="frequency_penalty is ignored.",
        breaks=("PAR-11",),
        dialects=_PENALTIES,
        **unheard("frequency_penalty"),
    ),
    Fault(
        id="presence-penalty-ignored",
        title="presence_penalty is ignored.",
        breaks=("PAR-14",),
        dialects=_PENALTIES,
        **unheard("presence_penalty"),
    ),
    Fault(
        id="repetition-penalty-ignored",
        title="repetition_penalty is ignored.",
        breaks=("PAR-11",),
        dialects=_VLLM,
        request=as_if(repetition_penalty=None),
    ),
    Fault(
        id="ignore-eos-ignored",
        title="ignore_eos is ignored.",
        breaks=("PAR-24",),
        dialects=_VLLM,
        request=as_if(ignore_eos=None),
    ),
    Fault(
        id="include-reasoning-ignored",
        title="include_reasoning is ignored.",
        breaks=("PAR-25",),
        dialects=_VLLM,
        request=as_if(include_reasoning=None),
    ),
    Fault(
        id="logprobs-uninvited",
        title="Texts have logprobs in every response.",
        breaks=("PAR-26",),
        request=_with_logprobs,
    ),
    Fault(
        id="min-p-ignored",
        title="min_p is ignored.",
        breaks=("PAR-12",),
        dialects=_VLLM,
        request=as_if(min_p=None),
    ),
    Fault(
        id="output-keys-sorted",
        title="The keys of structured output are in alphabetical order.",
        breaks=("PAR-16",),
        when=PLAIN,
        response=at_end(change_texts(_sorted_text)),
    ),
    Fault(
        id="effort-none-ignored",
        title='The model reasons with reasoning.effort "none".',
        breaks=("PAR-17",),
        when=Condition("only with effort none", lambda info: _effort(info) == "none"),
        **unheard_in("reasoning", "effort", "low"),
    ),
    Fault(
        id="temperature-ignored",
        title="temperature is ignored.",
        breaks=("PAR-18",),
        **unheard("temperature"),
    ),
    Fault(
        id="top-p-ignored",
        title="top_p is ignored.",
        breaks=("PAR-19",),
        **unheard("top_p"),
    ),
    Fault(
        id="top-logprobs-ignored",
        title="top_logprobs is ignored.",
        breaks=("PAR-20",),
        **unheard("top_logprobs"),
    ),
    Fault(
        id="json-object-ignored",
        title="The text format json_object is ignored.",
        breaks=("PAR-21",),
        not_in=("openresponses",),
        when=Condition("only with json_object", lambda info: answer_format(info.body) == "json_object"),
        **unheard_in("text", "format"),
    ),
    Fault(
        id="verbosity-ignored",
        title="text.verbosity is ignored.",
        breaks=("PAR-22",),
        dialects=("openai", "openresponses"),
        **unheard_in("text", "verbosity"),
    ),
    Fault(
        id="reasoning-summary-ignored",
        title="reasoning.summary is ignored.",
        breaks=("PAR-23",),
        dialects=("openai", "openresponses"),
        **unheard_in("reasoning", "summary"),
    ),
    Fault(
        id="reasoning-not-shown",
        title="The model reasons, and the output has no reasoning.",
        breaks=("PAR-23",),
        dialects=("openai", "openresponses"),
        when=with_request_field("reasoning"),
        request=as_if(reasoning=None),
        response=_only_counted,
    ),
    Fault(
        id="structured-outputs-ignored",
        title="structured_outputs are ignored.",
        breaks=("PAR-13",),
        dialects=_VLLM,
        request=as_if(structured_outputs=None),
    ),
)


@FAULTS.add("render-without-template", "PAR-15", hook="other_reply", dialects=_VLLM)
def _short_prompt(body: Json, info: RequestInfo) -> None:
    """The render operation returns the prompt without the tokens of the chat template."""
    if info.operation == "render":
        body["token_ids"] = body["token_ids"][:1]


@FAULTS.add("taken-request-id-breaks-server", "PAR-01", hook="error", dialects=NORTHSTAR_ONLY)
def _breaks_down(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
    """A used request_id causes a server error."""
    return (500, body) if body["error"]["code"] == "duplicate_id" else (status, body)


@FAULTS.add("cache-salt-ignored", "PAR-02", hook="response", dialects=NORTHSTAR_ONLY)
def _cached(response: Json, _: str, info: RequestInfo) -> None:
    """cache_salt does not separate cached tokens."""
    usage = response.get("usage")
    if info.operation == "create" and isinstance(usage, dict) and usage["input_tokens"] > _MUCH:
        usage["input_tokens_details"] = {"cached_tokens": _MUCH, "cache_write_tokens": usage["input_tokens"] - _MUCH}


@FAULTS.add("argument-keys-sorted", "PAR-16", hook="response", through=at_end, when=PLAIN)
def _sorted_arguments(response: Json) -> None:
    """The keys of the arguments of function calls are in alphabetical order."""
    for item in items_of(response):
        if item["type"] == "function_call":
            item["arguments"] = _sorted_text(item["arguments"])


@FAULTS.add("echoed-keys-sorted", "PAR-27", hook="response", through=in_response)
def _sorted_echo(response: Json) -> None:
    """The keys of echoed schemas are in alphabetical order."""
    for name in ("text", "tools"):
        if name in response:
            response[name] = _sorted(response[name])
