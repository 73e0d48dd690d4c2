"""Faults of token counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from rejoinder.sandbox.endpoint.generate import ResolvedRequest
from rejoinder.sandbox.endpoint.reply import ApiError, Reply, RequestInfo
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    FINAL,
    STREAMED,
    Change,
    Fault,
    FaultList,
    Visit,
    at_end,
    change_usage,
    changed,
    ended,
    items_of,
    set_to,
)


def _output_tokens(count: Callable[[Json], Any]) -> Change:
    """Return the change that sets output_tokens, and total_tokens to match."""

    def change(usage: Json) -> None:
        usage["output_tokens"] = count(usage)
        usage["total_tokens"] = usage["input_tokens"] + usage["output_tokens"]

    return change


def _more_input(tokens: int) -> Change:
    def change(usage: Json) -> None:
        usage["input_tokens"] += tokens
        usage["total_tokens"] += tokens

    return change


def _detail(details: str, name: str, value: Callable[[Json], int]) -> Change:
    return lambda usage: usage[details].__setitem__(name, value(usage))


FAULTS: Final = FaultList(
    Fault(
        id="usage-missing",
        title="Finished responses have no usage.",
        breaks=("USG-01",),
        response=at_end(set_to("usage", None)),
    ),
    Fault(
        id="usage-missing-when-streamed",
        title="Finished responses in a stream have no usage.",
        breaks=("USG-01",),
        when=STREAMED,
        response=at_end(set_to("usage", None)),
    ),
    Fault(
        id="total-tokens-wrong",
        title="total_tokens is one less than the sum.",
        breaks=("USG-02",),
        response=change_usage(changed("total_tokens", lambda count: count - 1)),
    ),
    Fault(
        id="output-tokens-zero",
        title="output_tokens is 0, but the output has text.",
        breaks=("USG-13",),
        response=change_usage(_output_tokens(lambda usage: 0)),
    ),
    Fault(
        id="output-tokens-negative",
        title="output_tokens is negative.",
        breaks=("USG-03",),
        response=change_usage(_output_tokens(lambda usage: -usage["output_tokens"] - 1)),
    ),
    Fault(
        id="token-counts-are-strings",
        title="Token counts are strings of digits.",
        breaks=("USG-03",),
        response=change_usage(changed("input_tokens", str)),
    ),
    Fault(
        id="more-cached-than-input",
        title="cached_tokens is greater than input_tokens.",
        breaks=("USG-05",),
        response=change_usage(
            _detail("input_tokens_details", "cached_tokens", lambda usage: int(usage["input_tokens"]) + 1)
        ),
    ),
    Fault(
        id="more-reasoning-than-output",
        title="reasoning_tokens is greater than output_tokens.",
        breaks=("USG-05",),
        response=change_usage(
            _detail("output_tokens_details", "reasoning_tokens", lambda usage: int(usage["output_tokens"]) + 1)
        ),
    ),
    Fault(
        id="input-counted-more-when-streamed",
        title="Streaming requests count three input tokens more.",
        breaks=("USG-08",),
        when=STREAMED,
        response=change_usage(_more_input(3)),
    ),
    Fault(
        id="counting-disagrees",
        title="Usage counts five input tokens more than the input_tokens operation.",
        breaks=("USG-11",),
        response=change_usage(_more_input(5)),
    ),
)


@FAULTS.add("usage-with-chat-names", "USG-12", hook="response", through=change_usage)
def _chat_names(usage: Json) -> None:
    """Usage has prompt_tokens and completion_tokens."""
    usage["prompt_tokens"] = usage.pop("input_tokens")
    usage["completion_tokens"] = usage.pop("output_tokens")


@FAULTS.add("input-tokens-zero", "USG-13", hook="response", through=change_usage)
def _zero_input(usage: Json) -> None:
    """input_tokens is 0, but the input has text."""
    usage["input_tokens"] = 0
    usage["total_tokens"] = usage["output_tokens"]


@FAULTS.add("usage-details-missing", "USG-04", hook="response", through=change_usage)
def _no_details(usage: Json) -> None:
    """Usage has no token details."""
    del usage["input_tokens_details"], usage["output_tokens_details"]


@FAULTS.add("reasoning-not-counted", "USG-06", hook="response", through=at_end)
def _reasoning_uncounted(response: Json) -> None:
    """reasoning_tokens is 0, but the output has reasoning text."""
    if any(item["type"] == "reasoning" for item in items_of(response)) and response.get("usage"):
        response["usage"]["output_tokens_details"] = {"reasoning_tokens": 0}


@FAULTS.add("limit-passed", "USG-07", hook="response", through=at_end)
def _limit_passed(response: Json) -> None:
    """A truncated response has more output tokens than max_output_tokens."""
    if response["status"] == "incomplete":
        response["usage"]["output_tokens"] += 5
        response["usage"]["total_tokens"] += 5


@FAULTS.add("history-not-counted", "USG-09", hook="response")
def _fresh_only(response: Json, place: str, info: RequestInfo) -> None:
    """input_tokens of a continued response leaves out the history."""
    if place in FINAL and ended(response) and info.body.get("previous_response_id") and response.get("usage"):
        usage = response["usage"]
        usage["input_tokens"] = 1
        usage["input_tokens_details"] = {**usage["input_tokens_details"], "cached_tokens": 0}
        usage["total_tokens"] = 1 + usage["output_tokens"]


@FAULTS.add("turns-do-not-add-up", "USG-10", hook="response", through=change_usage, dialects=("northstar",))
def _uneven_turns(usage: Json) -> None:
    """The per-turn counts add up to more than the total."""
    usage["input_tokens_details"]["input_tokens_per_turn"] = [usage["input_tokens"], 1]


@FAULTS.add("input-tokens-refuses-tools", "USG-14", hook="override", dialects=("openai",))
def _no_tools(visit: Visit) -> Reply | None:
    """The input_tokens operation refuses tools."""
    body = visit.info.request.json() if visit.info.operation == "input_tokens" else None
    if isinstance(body, dict) and body.get("tools"):
        raise ApiError(400, "tools are not supported.", param="tools", code="unsupported_parameter")
    return None


@FAULTS.add("compaction-total-wrong", "USG-02", hook="other_reply", dialects=("openai", "openresponses"))
def _wrong_total(body: Json, info: RequestInfo) -> None:
    """total_tokens of a compaction is not the sum."""
    if info.operation == "compact":
        body["usage"]["total_tokens"] += 1


# What the input of the model lacks, or has too much of


def _heard(resolved: ResolvedRequest, change: Callable[[Json], Json]) -> ResolvedRequest:
    """Return the request with every item as the model hears it."""
    return replace(resolved, items=[change(item) for item in resolved.items])


def _without_parts(kind: str, field: str) -> Callable[[ResolvedRequest, RequestInfo], ResolvedRequest]:
    """Return a hook that leaves parts of a type out of this field of all items."""

    def one(item: Json) -> Json:
        parts = item.get(field)
        if not isinstance(parts, list):
            return item
        return {**item, field: [part for part in parts if not (isinstance(part, Mapping) and part.get("type") == kind)]}

    return lambda resolved, _: _heard(resolved, one)


@FAULTS.add("instructions-not-counted", "USG-15", hook="resolved")
def _instructions_uncounted(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    """input_tokens leaves out instructions, which the model reads."""
    return replace(resolved, uncounted=frozenset({"instructions"}))


@FAULTS.add("system-messages-heard-twice", "USG-15", hook="resolved")
def _system_twice(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    """The model reads every system message twice."""
    return replace(resolved, items=[*(i for i in resolved.items if i.get("role") == "system"), *resolved.items])


@FAULTS.add("call-arguments-dropped", "USG-16", hook="resolved")
def _no_arguments(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    """The arguments of earlier calls do not reach the model."""
    return _heard(resolved, lambda item: {**item, "arguments": "{}"} if item.get("type") == "function_call" else item)


@FAULTS.add("tool-definitions-dropped", "USG-17", hook="resolved")
def _no_definitions(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    """Tools can be called, but the model does not read their definitions."""
    return replace(resolved, uncounted=frozenset({"tools"}))


@FAULTS.add("history-heard-twice", "USG-21", "USG-22", hook="resolved")
def _history_twice(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    """Requests with previous_response_id give the model the history twice."""
    history = resolved.items[: resolved.history_length] if resolved.body.get("previous_response_id") else []
    return replace(resolved, items=[*history, *resolved.items])


@FAULTS.add("conversation-heard-twice", "USG-21", "USG-22", hook="resolved", dialects=("openai",))
def _conversation_twice(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    """Requests with conversation give the model its items twice."""
    history = resolved.items[: resolved.history_length] if resolved.conversation else []
    return replace(resolved, items=[*history, *resolved.items])


@FAULTS.add("only-last-turn-heard", "USG-22", hook="on_store")
def _one_turn(stored: Stored, _: Store, info: RequestInfo) -> None:
    """A turn that continues a response gives the model that response and its own input, but no earlier turn."""
    if info.body.get("previous_response_id"):
        stored.context = [*stored.input_items, *stored.response["output"]]


@FAULTS.add("history-heard-without-input", "USG-21", "USG-22", hook="resolved")
def _only_answers(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    """Requests with previous_response_id give the model the earlier output, but not the earlier input."""
    if not resolved.body.get("previous_response_id"):
        return resolved
    history, new = resolved.items[: resolved.history_length], resolved.items[resolved.history_length :]
    return replace(resolved, items=[*(item for item in history if item.get("role") != "user"), *new])


FAULTS.extend(
    [
        Fault(
            id="images-dropped",
            title="Images in messages are accepted but do not reach the model.",
            breaks=("USG-18",),
            resolved=_without_parts("input_image", "content"),
        ),
        Fault(
            id="images-of-tools-dropped",
            title="Images in tool outputs are accepted but do not reach the model.",
            breaks=("USG-19",),
            resolved=_without_parts("input_image", "output"),
        ),
    ]
)


@FAULTS.add("branches-heard", "USG-23", hook="on_store")
def _branch_kept(stored: Stored, store: Store, info: RequestInfo) -> None:
    """The input of a turn reaches the model in all turns that continue the same response."""
    previous = store.get(str(info.body.get("previous_response_id")))
    if previous is not None:
        previous.context = [*previous.context, *stored.input_items]
