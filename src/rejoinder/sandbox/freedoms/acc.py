"""Freedoms of how a stream adds up, and of what differs between a stream and a plain body."""

from __future__ import annotations

from typing import Final

from rejoinder.contract import cite
from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import PLAIN, TEXT_DONE, each, in_response
from rejoinder.sandbox.freedom import Freedom, FreedomList
from rejoinder.sandbox.freedoms.citations import OPENAI_RESPONSE, TZAFON_RESPONSE
from rejoinder.sandbox.freedoms.rsp import narrow

_DELTAS: Final = (
    cite("openresponses", "Items are streamable: the delta events MAY be repeated many times"),
    cite("openai-openapi", "ResponseTextDeltaEvent.delta"),
)
_PLACE: Final = ("type", "item_id", "output_index", "content_index", "summary_index")
_OPTIONAL: Final = (
    *("background", "completed_at", "max_output_tokens", "max_tool_calls", "previous_response_id"),
    *("prompt_cache_key", "reasoning", "safety_identifier", "service_tier", "store", "text", "top_logprobs"),
    *("truncation", "user"),
)


def _is_delta(event: Json) -> bool:
    return str(event.get("type")).endswith(".delta") and isinstance(event.get("delta"), str)


def _joined(events: list[Json], limit: int) -> list[Json]:
    """Join the deltas of one part that follow each other, up to a number of them."""
    found: list[Json] = []
    count = 0
    for event in events:
        last = found[-1] if found else {}
        same = _is_delta(event) and all(last.get(key) == event.get(key) for key in _PLACE)
        if same and count < limit:
            last["delta"] += event["delta"]
            if "logprobs" in event:
                last["logprobs"] = [*last["logprobs"], *event["logprobs"]]
            count += 1
        else:
            found.append(dict(event))
            count = 1
    return found


def _split(events: list[Json], _: RequestInfo) -> list[Json]:
    """Send each character as its own delta."""
    found: list[Json] = []
    for event in events:
        if not _is_delta(event) or not event["delta"]:
            found.append(event)
            continue
        for place, character in enumerate(event["delta"]):
            one = {**event, "delta": character}
            if place and "logprobs" in event:
                one["logprobs"] = []
            found.append(one)
    return found


def _without_nulls(response: Json, place: str, _: RequestInfo) -> None:
    if place == "plain":
        for name in _OPTIONAL:
            if name in response and response[name] is None:
                del response[name]


def _lose_logprobs(event: Json) -> None:
    event["logprobs"] = []


FREEDOMS: Final = FreedomList(
    Freedom(
        id="done-logprobs-empty",
        title="The event response.output_text.done has no logprobs, although the deltas have some.",
        sources=(
            cite("openai-openapi", "ResponseTextDoneEvent.logprobs: of the tokens in the delta"),
            cite("openresponses-openapi", "ResponseOutputTextDoneStreamingEvent.logprobs: if any"),
        ),
        argument="No document says that the event repeats the logprobs of the deltas.",
        events=each(TEXT_DONE, do=_lose_logprobs),
    ),
    Freedom(
        id="text-in-one-delta",
        title="Every part of a stream arrives in one delta.",
        sources=_DELTAS,
        choice="size of deltas",
        events=lambda events, _: _joined(events, 1_000_000),
    ),
    Freedom(
        id="deltas-of-several-tokens",
        title="Every delta of a stream has up to four tokens.",
        sources=_DELTAS,
        choice="size of deltas",
        events=lambda events, _: _joined(events, 4),
    ),
    Freedom(
        id="deltas-of-one-character",
        title="Every delta of a stream has one character.",
        sources=_DELTAS,
        choice="size of deltas",
        events=_split,
    ),
    Freedom(
        id="plain-body-without-nulls",
        title="Plain bodies leave out the optional fields that are null in streams.",
        dialects=("northstar", "openai"),
        sources=(OPENAI_RESPONSE, TZAFON_RESPONSE),
        response=_without_nulls,
    ),
    Freedom(
        id="plain-numbers-in-single-precision",
        title="The sampling parameters of plain bodies went through single precision, those of streams did not.",
        sources=(cite("rfc8259", "section 6, Numbers", "#section-6"),),
        when=PLAIN,
        response=in_response(narrow),
        excludes=("numbers-in-single-precision",),
    ),
)
