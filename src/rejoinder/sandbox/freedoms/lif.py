"""Freedoms of the response lifecycle in a stream."""

from __future__ import annotations

from typing import Final

from rejoinder.json_copy import copy_json
from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    CREATED,
    IN_PROGRESS,
    QUEUED,
    STREAMED,
    Condition,
    in_response,
    is_of,
    set_to,
    without,
)
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite

_GENERATOR: Final = cite("vllm", "responses_stream_generator", "vllm/entrypoints/openai/responses/serving.py#L1477")
_NO_TOKENS: Final = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


def _short_name(response: Json) -> None:
    response["model"] = response["model"][:-1] or response["model"]


_IN_FOREGROUND: Final = Condition(
    "only in streams without background", lambda info: info.streamed and not info.body.get("background")
)

_MACHINE: Final = cite("openresponses", "State machines; Streaming, State Machine events")
_QUEUED: Final = (
    cite("openai-openapi", "ResponseQueuedEvent"),
    cite("openresponses-openapi", "ResponseQueuedStreamingEvent"),
)


def _waiting(events: list[Json], info: RequestInfo) -> list[Json]:
    """Let the response wait in a queue before it starts."""
    if any(is_of(event, QUEUED) for event in events) or not events or not is_of(events[0], CREATED):
        return events
    events[0]["response"]["status"] = "queued"
    return [events[0], {"type": QUEUED, "response": copy_json(events[0]["response"])}, *events[1:]]


FREEDOMS: Final = FreedomList(
    Freedom(
        id="usage-of-zeros-at-first",
        title="The response in response.created has a usage of zeros.",
        sources=(
            cite("openresponses-openapi", "ResponseResource.usage, a field of every response object", "#L2430"),
            cite("openai-python", "Response.usage, which is optional", "src/openai/types/responses/response.py"),
        ),
        choice="the field usage",
        response=in_response(lambda response: response.update(usage=dict(_NO_TOKENS)), (CREATED,)),
    ),
    Freedom(
        id="full-model-name-at-the-end",
        title="Only the last response object of a stream has the full name of the model.",
        argument="No document says how a model is named before the output is generated.",
        when=STREAMED,
        response=in_response(_short_name, (CREATED, QUEUED, IN_PROGRESS)),
    ),
    Freedom(
        id="parameters-null-at-first",
        title="The temperature in response.created is null, and has a value later.",
        dialects=("northstar", "openai"),
        not_in=("vllm",),
        sources=(cite("openai-python", "Response.temperature, or null", "src/openai/types/responses/response.py"),),
        when=STREAMED,
        response=in_response(set_to("temperature", None), (CREATED,)),
    ),
    Freedom(
        id="failure-ends-with-error-event",
        title="A run that fails ends with an error event.",
        dialects=("northstar", "openai"),
        sources=(_GENERATOR,),
        when=_IN_FOREGROUND,
        fails=True,
        events=without("response.failed"),
    ),
    Freedom(
        id="queued-before-work",
        title="Every stream waits in a queue first and has a response.queued event.",
        sources=(*_QUEUED, _MACHINE),
        choice="start of a stream",
        events=_waiting,
    ),
    Freedom(
        id="in-progress-event-absent",
        title="A stream has no response.in_progress event.",
        sources=(_MACHINE, cite("openai-openapi", "ResponseStreamEvent, a union without an order")),
        argument="No document requires the event in a stream that starts in progress.",
        choice="start of a stream",
        events=lambda events, info: (
            events if any(is_of(event, QUEUED) for event in events) else without(IN_PROGRESS)(events, info)
        ),
    ),
)
