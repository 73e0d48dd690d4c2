"""Freedoms of background work, cancels and replays."""

from __future__ import annotations

from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import ApiError, Reply, RequestInfo, reply_with
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import BACKGROUND, QUEUED, Condition, Visit, is_of
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite, refused_with
from rejoinder.sandbox.freedoms.citations import STATUSES

_BACKGROUND: Final = cite("openai-background", "Background mode, polling: queued or in_progress")
_CANCEL: Final = (
    cite("openai-openapi", "POST /responses/{response_id}/cancel; ResponseStreamEvent, without an event for cancelled"),
    cite("openresponses", "Streaming, State Machine events"),
)


def _unsupported(body: Json, info: RequestInfo) -> Json:
    raise ApiError(400, "stream is not supported with background.", param="stream", code="unsupported_value")


def _incomplete(**details: Any) -> Any:
    """Return a hook that ends the stream of a cancelled response as incomplete."""

    def hook(response: Json, _: RequestInfo) -> Json:
        response |= {"status": "incomplete", "incomplete_details": dict(details) or None}
        if "completed_at" in response:
            response["completed_at"] = None
        return {"type": "response.incomplete", "response": response}

    return hook


def _started(response: Json, place: str, info: RequestInfo) -> None:
    if response["status"] == "queued":
        response["status"] = "in_progress"


def _not_queued(events: list[Json], _: RequestInfo) -> list[Json]:
    return [event for event in events if not is_of(event, QUEUED)]


def _too_late(visit: Visit) -> Reply | None:
    stored = visit.stored
    cancels = (visit.info.operation, visit.method) == ("cancel", "POST") and stored is not None and stored.background
    if cancels and stored is not None and not stored.cancelled and not stored.is_running(visit.now):
        raise ApiError(409, "The response is finished.", code="already_finished")
    return None


def _as_it_is(visit: Visit) -> Reply | None:
    stored = visit.stored
    if (visit.info.operation, visit.method) != ("cancel", "POST") or stored is None or stored.background:
        return None
    return reply_with(stored.response)


def _no_replay(visit: Visit) -> Reply | None:
    retrieves = (visit.info.operation, visit.method) == ("response", "GET")
    if retrieves and visit.query.get("stream") == "true" and visit.stored is not None:
        raise ApiError(400, "Replays are not supported.", param="stream", code="unsupported_parameter")
    return None


FREEDOMS: Final = FreedomList(
    Freedom(
        id="background-with-stream-refused",
        title="The endpoint refuses background and stream in one request.",
        sources=(*STATUSES, cite("openresponses-openapi", "CreateResponseBody.background")),
        argument="OpenAI's guide and vLLM show both together, and no sentence demands it of every endpoint.",
        when=Condition(
            "only with background and stream", lambda info: info.streamed and info.body.get("background") is True
        ),
        request=_unsupported,
    ),
    Freedom(
        id="background-starts-at-once",
        title="A background response is in progress from the start.",
        sources=(_BACKGROUND, cite("openresponses", "State machines"), cite("openai-openapi", "Response.status")),
        when=BACKGROUND,
        response=_started,
        events=_not_queued,
        excludes=("queued-before-work",),
    ),
    Freedom(
        id="cancelled-stream-ends-incomplete",
        title="The stream of a cancelled response ends with response.incomplete.",
        dialects=("northstar", "openai"),
        sources=_CANCEL,
        cancelled=_incomplete(),
    ),
    Freedom(
        id="cancelled-stream-ends-incomplete-with-reason",
        title="The stream of a cancelled response ends with response.incomplete and the reason cancelled.",
        dialects=("openresponses",),
        sources=(*_CANCEL, cite("openresponses-openapi", "IncompleteDetails.reason, any string")),
        cancelled=_incomplete(reason="cancelled"),
    ),
    Freedom(
        id="finished-cancel-conflicts",
        title="The endpoint refuses to cancel a finished response with 409.",
        sources=(*STATUSES, cite("rfc9110", "section 15.5.10, 409 Conflict", "#section-15.5.10")),
        override=_too_late,
    ),
    Freedom(
        id="foreground-cancel-conflicts",
        title="The endpoint refuses to cancel a response without background with 409.",
        sources=(*STATUSES, cite("rfc9110", "section 15.5.10, 409 Conflict", "#section-15.5.10")),
        error=refused_with(409, "not_cancellable"),
        choice="a cancel of a response without background",
    ),
    Freedom(
        id="foreground-cancel-changes-nothing",
        title="A cancel of a response without background returns the finished response.",
        sources=(*STATUSES, cite("openai-openapi", "cancelResponse: only background responses can be cancelled")),
        choice="a cancel of a response without background",
        override=_as_it_is,
    ),
    Freedom(
        id="replay-refused",
        title="The endpoint refuses to replay the stream of a response.",
        dialects=("openresponses",),
        sources=STATUSES,
        argument="The specification and the OpenAPI document of Open Responses have no operation besides create.",
        override=_no_replay,
    ),
)
