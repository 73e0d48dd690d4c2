"""Freedoms of output items."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from rejoinder.sandbox.endpoint.generate import ResolvedRequest
from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    CALL_DELTA,
    CALL_DONE,
    ITEM_ADDED,
    ITEM_DONE,
    STREAMED,
    Events,
    each,
    every_item,
    is_of,
    of_item,
    only,
    set_to,
    unset,
)
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite
from rejoinder.sandbox.freedoms.citations import (
    OPENAI_EXTRA,
    OPENRESPONSES_EXTENSIONS,
    TZAFON_RESPONSE,
    VLLM_RESPONSE,
)

_REASONING: Final = (
    cite("openresponses", "Reasoning"),
    cite("openai-openapi", "ReasoningItem"),
    TZAFON_RESPONSE,
)
_EXTENDED: Final = cite("openresponses", "Extending Items")

Resolved = Callable[[ResolvedRequest, RequestInfo], ResolvedRequest]


def _resolved(**fields: Any) -> Resolved:
    """Return a hook that sets fields of what is answered."""
    return lambda resolved, _: replace(resolved, **fields)


def _without_notes(body: Json, _: RequestInfo) -> Json:
    """Take back the own extension items, which the model does not hear."""
    given = body.get("input")
    if not isinstance(given, list):
        return body
    return {**body, "input": [one for one in given if not isinstance(one, dict) or one.get("type") != "acme:note"]}


def _note(**fields: Any) -> Json:
    return {"type": "acme:note", "status": "completed", "text": "Nothing to note.", **fields}


def _with_reason(item: Json) -> None:
    if ":" not in item["type"]:  # what fields an extension item has is for its extension to say
        item["incomplete_details"] = {"reason": "max_output_tokens"}


FREEDOMS: Final = FreedomList(
    Freedom(
        id="item-extra-fields",
        title="Output items have fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, TZAFON_RESPONSE, OPENRESPONSES_EXTENSIONS),
        **every_item(lambda item: item.update(created_by=None, provider_data={"slot": 3})),
    ),
    Freedom(
        id="message-phase",
        title="Output messages have the phase final_answer.",
        sources=(cite("openai-openapi", "OutputMessage.phase"), cite("openresponses-openapi", "Message.phase")),
        choice="phase of messages",
        **every_item(only("message", set_to("phase", "final_answer"))),
    ),
    Freedom(
        id="message-phase-null",
        title="Output messages have the phase null.",
        dialects=("openai", "northstar"),
        sources=(cite("openai-openapi", "OutputMessage.phase, which may be null"), VLLM_RESPONSE),
        choice="phase of messages",
        **every_item(only("message", set_to("phase", None))),
    ),
    Freedom(
        id="reasoning-status-absent",
        title="Reasoning items have no status.",
        sources=(
            cite("openai-openapi", "ReasoningItem, required"),
            cite("openresponses-openapi", "ReasoningBody, required"),
            TZAFON_RESPONSE,
        ),
        choice="status of reasoning items",
        **every_item(only("reasoning", unset("status"))),
    ),
    Freedom(
        id="reasoning-status-null",
        title="The status of reasoning items is null.",
        dialects=("northstar",),
        sources=(cite("vllm", "ResponseReasoningItem with status None", "vllm/entrypoints/openai/responses/utils.py"),),
        choice="status of reasoning items",
        **every_item(only("reasoning", set_to("status", None))),
    ),
    Freedom(
        id="call-status-absent",
        title="Function calls have no status.",
        dialects=("northstar",),
        sources=(cite("tzafon", "src/tzafon/types/response_create_response.py, OutputResponseFunctionToolCall"),),
        **every_item(only("function_call", unset("status"))),
    ),
    Freedom(
        id="reasoning-first",
        title="A reasoning item comes first in every output.",
        sources=_REASONING,
        resolved=_resolved(always_reasons=True),
    ),
    Freedom(
        id="several-reasoning-items",
        title="Three reasoning items come first where the model reasons.",
        sources=_REASONING,
        argument="No document limits the number of reasoning items.",
        resolved=_resolved(always_reasons=True, reasoning_items=3),
        excludes=("reasoning-first",),
    ),
    Freedom(
        id="reasoning-hidden",
        title="Reasoning items have an empty content.",
        sources=_REASONING,
        choice="content of reasoning items",
        resolved=_resolved(hidden_reasoning=True),
    ),
    Freedom(
        id="reasoning-content-absent",
        title="Reasoning items have no content.",
        sources=_REASONING,
        choice="content of reasoning items",
        resolved=_resolved(hidden_reasoning=True),
        **every_item(only("reasoning", unset("content"))),
    ),
    Freedom(
        id="reasoning-content-null",
        title="The content of reasoning items is null.",
        dialects=("northstar",),
        sources=(TZAFON_RESPONSE, VLLM_RESPONSE),
        choice="content of reasoning items",
        resolved=_resolved(hidden_reasoning=True),
        **every_item(only("reasoning", set_to("content", None))),
    ),
    Freedom(
        id="encrypted-content-null",
        title="Reasoning items without encrypted content have encrypted_content null.",
        dialects=("northstar", "openai"),
        sources=(cite("openai-openapi", "ReasoningItem.encrypted_content, which may be null"), VLLM_RESPONSE),
        **every_item(only("reasoning", lambda item: item.setdefault("encrypted_content", None))),
    ),
    Freedom(
        id="vendor-items",
        title="Every output begins with an extension item.",
        dialects=("openresponses", "northstar"),
        sources=(_EXTENDED,),
        choice="first item",
        parsed=_without_notes,
        resolved=_resolved(first_item=_note()),
    ),
    Freedom(
        id="vendor-item-status",
        title="Every output begins with an extension item that has its own status.",
        dialects=("openresponses",),
        sources=(_EXTENDED,),
        choice="first item",
        parsed=_without_notes,
        resolved=_resolved(first_item=_note(status="archived")),
    ),
    Freedom(
        id="done-item-extra-field",
        title="The items of response.output_item.done have a field that no item type has, and the final items lack it.",
        sources=(OPENAI_EXTRA, OPENRESPONSES_EXTENSIONS),
        argument="No document says that a field which the dialect does not define comes back in the final item.",
        numbered=each(ITEM_DONE, do=of_item(_with_reason)),
    ),
    Freedom(
        id="done-item-null",
        title="The item of response.output_item.done is null.",
        dialects=("openresponses",),
        sources=(cite("openresponses-openapi", "ResponseOutputItemDoneStreamingEvent.item, which may be null"),),
        numbered=each(ITEM_DONE, do=set_to("item", None)),
    ),
)


@FREEDOMS.add(
    "calls-arrive-whole",
    cite("openresponses", "Items are streamable, as much detail as is available", "?plain=1#L233"),
    hook="events",
    when=STREAMED,
)
def _whole_calls(events: Events, _: RequestInfo) -> Events:
    """A newly added function call already has its arguments, and no deltas follow."""
    whole = {event["item_id"]: event["arguments"] for event in events if is_of(event, CALL_DONE)}
    for event in events:
        if is_of(event, ITEM_ADDED) and event["item"].get("id") in whole:
            event["item"]["arguments"] = whole[event["item"]["id"]]
    return [event for event in events if not is_of(event, CALL_DELTA)]
