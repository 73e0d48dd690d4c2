"""Faults of deltas and of every place that repeats their text."""

from __future__ import annotations

import json
from typing import Any, Final

from rejoinder.model.exchange import parse_json
from rejoinder.sandbox.endpoint.reply import ApiError, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    CALL_DELTA,
    CALL_DONE,
    ITEM_DONE,
    MULTI_BYTE,
    PART_DONE,
    PLAIN,
    STREAMED,
    TEXT_DELTA,
    TEXT_DONE,
    Condition,
    Events,
    Fault,
    FaultList,
    alter,
    altered,
    answer_format,
    at_end,
    change_texts,
    each,
    final_item,
    final_of,
    first_text,
    in_final,
    in_response,
    is_of,
    items_of,
    lost,
    of_item,
    only,
    with_strings,
    without,
)


def _replacement_characters(event: Json) -> None:
    event["delta"] = "".join(character if character.isascii() else "\ufffd" for character in event["delta"])


def _texts(
    name: str,
    what: str,
    rule: str,
    kind: str,
    field: str,
    *events: str,
    container: str = "",
    not_in: tuple[str, ...] = (),
) -> tuple[Fault, Fault, Fault]:
    """Return three faults of a streamed text: a lost delta, a done event and a final item that differ.

    ``kind`` is the item's type, ``field`` the text's field in its done event, which is also its field in the part, or
    in the item where there is no ``container`` of parts. ``events`` are the event types that carry it, between
    ``response.`` and the ending.
    """

    def final(item: Json) -> None:
        if container:
            first_text(item, altered, container, field)
        elif isinstance(item.get(field), str):
            alter(field)(item)

    return (
        Fault(
            id=f"{name}-delta-lost",
            title=f"The last delta of {what} is lost.",
            breaks=(rule,),
            not_in=not_in,
            events=lost(*(f"response.{event}.delta" for event in events), last=True),
        ),
        Fault(
            id=f"{name}-done-differs",
            title=f"The done event of {what} differs from the deltas.",
            breaks=(rule,),
            not_in=not_in,
            events=each(*(f"response.{event}.done" for event in events), do=alter(field)),
        ),
        Fault(
            id=f"final-{name}-{'differ' if name.endswith('s') else 'differs'}",
            title=f"The terminal event differs from the deltas of {what}.",
            breaks=(rule, "ITM-05"),
            not_in=not_in,
            events=final_item(kind, final),
        ),
    )


_SEVERAL_CALLS: Final = Condition("only with several calls", lambda info: info.streamed)


def _format_kept(response: Json, place: str, info: RequestInfo) -> None:
    """Echo the text format of the request."""
    text = info.body.get("text")
    if isinstance(text, dict) and text.get("format"):
        response["text"] = {"format": text["format"]}


def _logprobs_of(response: Json) -> list[Json]:
    parts = (part for item in items_of(response) if item["type"] == "message" for part in item["content"])
    return [entry for part in parts for entry in part.get("logprobs") or ()]


def _lose_logprobs(event: Json) -> None:
    if event.get("logprobs"):
        event["logprobs"] = []


def _calls_kept(response: Json, place: str, info: RequestInfo) -> None:
    """Echo parallel_tool_calls of the request."""
    wanted = info.body.get("parallel_tool_calls")
    response["parallel_tool_calls"] = True if wanted is None else wanted


_RETRIEVED: Final = Condition("only when retrieved", lambda info: info.operation == "response")


def _unquoted(text: str) -> str:
    """Return a JSON object whose strings of digits are numbers; any other text as it is."""
    value = parse_json(text)
    if not isinstance(value, dict):
        return text
    return json.dumps({k: int(v) if isinstance(v, str) and v.isdecimal() else v for k, v in value.items()})


_SHAPED: Final = Condition(
    "only without stream, with a JSON Schema",
    lambda info: answer_format(info.body) == "json_schema" and not info.streamed,
)


FAULTS: Final = FaultList(
    Fault(
        id="text-delta-lost",
        title="The last text delta is lost.",
        breaks=("ACC-01", "ACC-02", "ACC-03", "ACC-04"),
        events=lost(TEXT_DELTA, last=True),
    ),
    Fault(
        id="deltas-with-replacement-characters",
        title="Text deltas have replacement characters in place of non-ASCII characters.",
        breaks=("ACC-01",),
        when=MULTI_BYTE,
        events=each(TEXT_DELTA, do=_replacement_characters),
    ),
    Fault(
        id="text-done-differs",
        title="The text in response.output_text.done differs from the deltas.",
        breaks=("ACC-01",),
        events=each(TEXT_DONE, do=alter("text")),
    ),
    Fault(
        id="closed-part-text-differs",
        title="The text in response.content_part.done differs from the deltas.",
        breaks=("ACC-02",),
        events=each(PART_DONE, do=lambda event: only("output_text", alter("text"))(event["part"])),
    ),
    Fault(
        id="closed-item-text-differs",
        title="The text in response.output_item.done differs from the deltas.",
        breaks=("ACC-03", "ITM-05"),
        events=each(ITEM_DONE, do=of_item(only("message", lambda item: first_text(item, altered)))),
    ),
    Fault(
        id="final-text-differs",
        title="The text in the terminal event differs from the deltas.",
        breaks=("ACC-04", "ACC-12", "ITM-05"),
        events=final_item("message", lambda item: first_text(item, altered)),
    ),
    *_texts(
        "arguments", "a function call's arguments", "ACC-05", "function_call", "arguments", "function_call_arguments"
    ),
    Fault(
        id="arguments-never-closed",
        title="Function calls have no response.function_call_arguments.done.",
        breaks=("ACC-05",),
        events=without(CALL_DONE),
    ),
    *_texts("refusal", "a refusal", "ACC-06", "message", "refusal", "refusal", container="content"),
    *_texts(
        "reasoning",
        "a reasoning text",
        "ACC-07",
        "reasoning",
        "text",
        "reasoning_text",
        "reasoning",
        container="content",
    ),
    *_texts(
        "summary", "a reasoning summary", "ACC-08", "reasoning", "text", "reasoning_summary_text", container="summary"
    ),
    *_texts(
        *("custom-input", "a custom tool's input", "ACC-09", "custom_tool_call", "input", "custom_tool_call_input"),
        not_in=("openresponses",),
    ),
    *_texts(
        *("mcp-arguments", "an MCP call's arguments", "ACC-09", "mcp_call", "arguments", "mcp_call_arguments"),
        not_in=("openresponses", "vllm"),
    ),
    *_texts(
        *("code", "a code interpreter's code", "ACC-09", "code_interpreter_call", "code", "code_interpreter_call_code"),
        not_in=("openresponses", "vllm"),
    ),
    Fault(
        id="streamed-logprobs-missing",
        title="Deltas have no logprobs, but non-streaming responses have.",
        breaks=("ACC-10",),
        when=STREAMED,
        events=each(TEXT_DELTA, TEXT_DONE, do=_lose_logprobs),
    ),
    Fault(
        id="schema-letters-lost",
        title="Output for a JSON Schema loses its non-ASCII letters.",
        breaks=("ACC-15",),
        when=_SHAPED,
        response=at_end(change_texts(lambda text: text.encode("ascii", "ignore").decode())),
    ),
    Fault(
        id="schema-digits-unquoted",
        title="Strings of digits in output for a JSON Schema become numbers.",
        breaks=("ACC-15",),
        when=_SHAPED,
        response=at_end(change_texts(_unquoted)),
    ),
)


@FAULTS.add("text-deltas-cumulative", "ACC-01", hook="events")
def _snowball(events: Events, _: RequestInfo) -> Events:
    """Every text delta repeats the text before it."""
    said: dict[tuple[Any, Any], str] = {}
    for event in events:
        if is_of(event, TEXT_DELTA):
            key = (event["item_id"], event["content_index"])
            said[key] = event["delta"] = said.get(key, "") + event["delta"]
    return events


@FAULTS.add("final-text-is-last-delta", "ACC-04", "ACC-12", hook="events")
def _last_token_only(events: Events, _: RequestInfo) -> Events:
    """The text in the terminal event is the last delta only."""
    last = next((event["delta"] for event in reversed(events) if is_of(event, TEXT_DELTA)), None)
    if last is not None:
        for item in items_of(final_of(events)):
            if item["type"] == "message":
                first_text(item, lambda _: str(last))
    return events


@FAULTS.add("last-arguments-not-closed", "ACC-05", hook="events", when=_SEVERAL_CALLS)
def _last_arguments_not_closed(events: Events, _: RequestInfo) -> Events:
    """The last of several calls has no response.function_call_arguments.done."""
    places = [i for i, event in enumerate(events) if is_of(event, CALL_DONE)]
    if len(places) >= 2:
        del events[places[-1]]
    return events


@FAULTS.add("arguments-merged", "ACC-05", hook="events", when=_SEVERAL_CALLS)
def _arguments_merged(events: Events, _: RequestInfo) -> Events:
    """The argument deltas of parallel calls all refer to the last call."""
    deltas = [event for event in events if is_of(event, CALL_DELTA)]
    if len({event["output_index"] for event in deltas}) < 2:
        return events
    place = next(i for i, event in enumerate(events) if event is deltas[-1])
    moved = [event for event in deltas if event["output_index"] != deltas[-1]["output_index"]]
    for event in moved:
        event |= {name: deltas[-1][name] for name in ("item_id", "output_index")}
    chosen = {id(event) for event in moved}
    return [*(event for event in events[:place] if id(event) not in chosen), *moved, *events[place:]]


@FAULTS.add("logprob-above-zero", "ACC-10", hook="response", through=at_end, when=PLAIN)
def _above_zero(response: Json) -> None:
    """A logprob is above 0."""
    for entry in _logprobs_of(response)[:1]:
        entry["logprob"] = 0.5


@FAULTS.add("top-logprobs-too-many", "ACC-10", hook="response", through=at_end, when=PLAIN)
def _too_many(response: Json) -> None:
    """A token has more alternatives than top_logprobs."""
    for entry in _logprobs_of(response)[:1]:
        entry["top_logprobs"] = entry["top_logprobs"] * 3


@FAULTS.add("logprobs-shifted", "ACC-10", hook="response", through=at_end, when=PLAIN)
def _shifted(response: Json) -> None:
    """The bytes of each token are those of the next token."""
    entries = _logprobs_of(response)
    for entry, following in zip(entries, [entry["bytes"] for entry in entries[1:]], strict=False):
        entry["bytes"] = following


@FAULTS.add("characters-broken-in-deltas", "ACC-11", hook="events", when=MULTI_BYTE)
def _broken_characters(events: Events, _: RequestInfo) -> Events:
    """Non-ASCII characters are split between two deltas."""
    for event in events:
        if is_of(event, TEXT_DELTA):
            event["delta"] = "".join(c if c.isascii() else "\N{REPLACEMENT CHARACTER}" * 2 for c in event["delta"])
    return events


@FAULTS.add("final-output-reversed", "ACC-12", "ITM-05", hook="events", through=in_final)
def _reversed_output(response: Json) -> None:
    """The items are in reverse order in the terminal event."""
    response["output"].reverse()


@FAULTS.add("retrieved-text-differs", "ACC-13", hook="response", when=_RETRIEVED)
def _kept_differently(response: Json, place: str, info: RequestInfo) -> None:
    """The text of a retrieved response differs from the created one."""
    if info.operation == "response":
        for item in items_of(response):
            for part in item.get("content") or ():
                if "text" in part:
                    part["text"] = altered(part["text"])


@FAULTS.add("retrieved-tools-bare", "ACC-13", hook="response", when=_RETRIEVED)
def _bare_tools(response: Json, place: str, info: RequestInfo) -> None:
    """The tools of a retrieved response have no parameters."""
    if info.operation == "response":
        for tool in response.get("tools") or ():
            tool.pop("parameters", None)


@FAULTS.add("streamed-input-tokens-differ", "ACC-14", hook="response", when=STREAMED)
def _one_more(response: Json, place: str, info: RequestInfo) -> None:
    """Streams count one input token more than non-streaming responses."""
    if info.streamed and isinstance(response.get("usage"), dict):
        response["usage"]["input_tokens"] += 1
        response["usage"]["total_tokens"] += 1


@FAULTS.add("json-schema-ignored", "ACC-15", hook="request", response=_format_kept)
def _prose(body: Json, _: RequestInfo) -> Json:
    """The endpoint accepts a JSON Schema for the text and ignores it."""
    return {**body, "text": None}


@FAULTS.add("arguments-not-json", "ACC-16", hook="response", through=in_response, when=PLAIN)
def _wrong_arguments(response: Json) -> None:
    """The arguments of function calls are not JSON."""
    for item in items_of(response):
        if item["type"] == "function_call" and item["status"] == "completed":
            item["arguments"] = item["arguments"][:-1]


@FAULTS.add("arguments-break-strict-schema", "ACC-16", hook="response", through=in_response, when=PLAIN)
def _loose_arguments(response: Json) -> None:
    """The arguments of function calls do not match the parameters of a strict tool."""
    for item in items_of(response):
        if item["type"] == "function_call" and item["status"] == "completed":
            item["arguments"] = '{"town": 7}'


@FAULTS.add("strict-arguments-as-strings", "ACC-16", hook="response", when=PLAIN)
def _texts_for_types(response: Json, _: str, info: RequestInfo) -> None:
    """Numbers, booleans, arrays and objects in the arguments of strict tools are strings."""
    strict = [tool.get("name") for tool in info.body.get("tools") or () if tool.get("strict") is True]
    for item in items_of(response):
        if item["type"] == "function_call" and item.get("name") in strict:
            item["arguments"] = with_strings(item["arguments"])


@FAULTS.add("tools-not-streamed", "ACC-17", hook="request", when=STREAMED)
def _streams_without_tools(body: Json, _: RequestInfo) -> Json:
    """The endpoint refuses streaming requests with tools."""
    if body.get("tools"):
        raise ApiError(400, "Tools cannot be streamed.", param="stream", code="unsupported_value")
    return body


@FAULTS.add("streamed-model-differs", "ACC-18", hook="response", when=STREAMED)
def _other_model(response: Json, place: str, info: RequestInfo) -> None:
    """Streams name a different model than non-streaming responses."""
    if info.streamed:
        response["model"] = f"{response['model']}-fast"


@FAULTS.add("streamed-usage-bare", "ACC-18", hook="response", when=STREAMED)
def _bare_usage(response: Json, place: str, info: RequestInfo) -> None:
    """The usage in streams lacks the details that non-streaming responses have."""
    if info.streamed and isinstance(response.get("usage"), dict):
        response["usage"].pop("input_tokens_details", None)


@FAULTS.add("streamed-truncation-null", "ACC-18", hook="response", when=STREAMED)
def _no_truncation(response: Json, place: str, info: RequestInfo) -> None:
    """Streams have null as truncation where non-streaming responses have a value."""
    if info.streamed:
        response["truncation"] = None


@FAULTS.add("streamed-output-tokens-differ", "ACC-19", hook="response", when=STREAMED)
def _one_more_output_token(response: Json, place: str, info: RequestInfo) -> None:
    """Streams count one output token more than non-streaming responses."""
    if info.streamed and isinstance(response.get("usage"), dict):
        response["usage"]["output_tokens"] += 1
        response["usage"]["total_tokens"] += 1


@FAULTS.add("streamed-text-differs", "ACC-19", hook="request", when=STREAMED)
def _louder(body: Json, _: RequestInfo) -> Json:
    """The text of streams differs from non-streaming responses."""
    items = body["input"]
    if isinstance(items, list):
        items = [
            {**item, "content": item["content"].upper()}
            if item.get("role") == "user" and isinstance(item.get("content"), str)
            else item
            for item in items
        ]
    return {**body, "input": items}


@FAULTS.add("streamed-calls-missing", "ACC-19", hook="request", when=STREAMED, response=_calls_kept)
def _one_call(body: Json, _: RequestInfo) -> Json:
    """Streams have only the first of several calls."""
    return {**body, "parallel_tool_calls": False}
