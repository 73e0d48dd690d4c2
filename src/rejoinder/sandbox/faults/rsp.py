"""Faults of the response object."""

from __future__ import annotations

from typing import Final

from rejoinder.sandbox.endpoint.reply import Reply, RequestInfo
from rejoinder.sandbox.endpoint.store import Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    CONCURRENT,
    CREATED,
    IN_PROGRESS,
    ITEM_DONE,
    PLAIN,
    STREAMED,
    Change,
    Events,
    Fault,
    FaultList,
    Visit,
    altered,
    at_end,
    changed,
    every_item,
    every_part,
    in_final,
    in_response,
    is_of,
    items_of,
    on_replay,
    only,
    replay_pieces,
    set_to,
    streamed,
    unset,
    with_field,
    without_field,
)


def _when_status(status: str, do: Change) -> Change:
    def change(response: Json) -> None:
        if response["status"] == status:
            do(response)

    return change


def _not_cut(response: Json) -> None:
    """Make a truncated response look completed."""
    response |= {"status": "completed", "incomplete_details": None}
    if "completed_at" in response:
        response["completed_at"] = response["created_at"]
    for item in items_of(response):
        if item["status"] == "incomplete":
            item["status"] = "completed"


def _nameless_tools(response: Json) -> None:
    for tool in response.get("tools") or ():
        if tool["type"] == "function":
            tool.pop("name", None)


_FIELDS_KEPT: Final = ("id", "object", "status")


def _poor_snapshots(response: Json) -> None:
    for name in [name for name in response if name not in _FIELDS_KEPT]:
        del response[name]


def _empty(response: Json) -> None:
    if response["status"] == "completed":
        response["output"] = []
        response["usage"] |= {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


FAULTS: Final = FaultList(
    with_field(
        "object-is-chat-completion",
        "The object of responses is chat.completion.",
        "RSP-01",
        "object",
        "chat.completion",
    ),
    with_field("response-id-constant", "All responses have the same id.", "RSP-02", "id", "resp_0"),
    with_field("response-id-empty", "The id of responses is empty.", "RSP-02", "id", ""),
    Fault(
        id="id-shared-when-busy",
        title="Two concurrent responses have the same id.",
        breaks=("RSP-02",),
        when=CONCURRENT,
        response=in_response(set_to("id", "resp_busy")),
    ),
    with_field("created-at-zero", "created_at is 0.", "RSP-03", "created_at", 0),
    Fault(
        id="created-at-in-milliseconds",
        title="created_at is in milliseconds.",
        breaks=("RSP-03",),
        response=in_response(changed("created_at", lambda seconds: seconds * 1000)),
    ),
    Fault(
        id="created-at-with-fraction",
        title="created_at has a fraction of a second.",
        breaks=("RSP-05",),
        dialects=("openresponses",),
        response=in_response(changed("created_at", lambda seconds: seconds + 0.5)),
    ),
    Fault(
        id="completed-at-missing",
        title="completed_at of completed responses is null.",
        breaks=("RSP-15",),
        dialects=("openai", "openresponses"),
        response=at_end(_when_status("completed", set_to("completed_at", None))),
    ),
    Fault(
        id="completed-before-created",
        title="completed_at is one minute before created_at.",
        breaks=("RSP-03",),
        dialects=("openai", "openresponses"),
        response=at_end(
            _when_status("completed", lambda response: response.update(completed_at=response["created_at"] - 60))
        ),
    ),
    Fault(
        id="status-unknown",
        title="Completed non-streaming responses have status succeeded.",
        breaks=("RSP-04",),
        when=PLAIN,
        response=at_end(_when_status("completed", set_to("status", "succeeded"))),
    ),
    Fault(
        id="model-missing",
        title="Responses have no model.",
        breaks=("RSP-05",),
        response=in_response(unset("model")),
    ),
    Fault(
        id="reasoning-without-summary",
        title="Reasoning items have no summary.",
        breaks=("RSP-05",),
        **every_item(only("reasoning", unset("summary"))),
    ),
    Fault(
        id="echoed-tools-without-name",
        title="Echoed function tools have no name.",
        breaks=("RSP-05",),
        dialects=("openai", "openresponses"),
        response=in_response(_nameless_tools),
    ),
    Fault(
        id="tool-choice-missing",
        title="Responses do not echo tool_choice.",
        breaks=("RSP-05",),
        dialects=("openai", "openresponses"),
        response=in_response(unset("tool_choice")),
    ),
    Fault(
        id="early-snapshots-poor",
        title="The response in response.created and response.in_progress has only id, object and status.",
        breaks=("RSP-05",),
        response=in_response(_poor_snapshots, (CREATED, IN_PROGRESS)),
    ),
    Fault(
        id="final-output-null",
        title="The output in the terminal event is null.",
        breaks=("RSP-05",),
        events=in_final(set_to("output", None)),
    ),
    Fault(
        id="failed-without-error",
        title="A run fails, and the failed response has no error.",
        breaks=("RSP-06",),
        dialects=("openai", "openresponses"),
        when=STREAMED,
        fails=True,
        response=at_end(set_to("error", None)),
    ),
    Fault(
        id="completed-with-error",
        title="Completed responses have an error.",
        breaks=("RSP-06",),
        dialects=("openai", "openresponses"),
        response=at_end(_when_status("completed", set_to("error", {"code": "server_error", "message": "None."}))),
    ),
    Fault(
        id="failed-with-unknown-code",
        title="A run fails, and the error has a code that the dialect does not list.",
        breaks=("RSP-07",),
        when=STREAMED,
        dialects=("openai",),
        fails=True,
        response=at_end(set_to("error", {"code": "kaput", "message": "The model broke down."})),
    ),
    Fault(
        id="incomplete-without-details",
        title="Incomplete responses have no incomplete_details.",
        breaks=("RSP-08",),
        response=at_end(set_to("incomplete_details", None)),
    ),
    Fault(
        id="incomplete-reason-length",
        title="Responses truncated by max_output_tokens have the reason length.",
        breaks=("RSP-08",),
        dialects=("northstar", "openai"),
        response=at_end(_when_status("incomplete", set_to("incomplete_details", {"reason": "length"}))),
    ),
    Fault(
        id="foreground-cancelled",
        title="Completed non-streaming responses have status cancelled.",
        breaks=("RSP-09",),
        when=PLAIN,
        response=at_end(_when_status("completed", set_to("status", "cancelled"))),
    ),
    Fault(
        id="completed-without-output",
        title="Completed non-streaming responses have an empty output.",
        breaks=("RSP-10",),
        when=PLAIN,
        response=at_end(_when_status("completed", set_to("output", []))),
    ),
    Fault(
        id="annotations-missing",
        title="Done output_text parts have no annotations.",
        breaks=("RSP-11",),
        **every_part(only("output_text", unset("annotations")), added=False),
    ),
    Fault(
        id="logprobs-missing",
        title="Done output_text parts have no logprobs.",
        breaks=("RSP-16",),
        dialects=("openai",),
        **every_part(only("output_text", unset("logprobs")), added=False),
    ),
    Fault(
        id="conversation-not-named",
        title="The response to a request with a conversation has no conversation id.",
        breaks=("RSP-13",),
        dialects=("openai",),
        response=in_response(unset("conversation")),
    ),
)


@FAULTS.add(
    "error-beside-response",
    "RSP-06",
    hook="events",
    when=STREAMED,
    fails=True,
    dialects=("openai", "openresponses"),
)
def _error_outside(events: Events, _: RequestInfo) -> Events:
    """A run fails, and the error is beside the failed response instead of inside."""
    for event in events:
        if is_of(event, "response.failed"):
            event["error"] = event["response"]["error"]
            event["response"]["error"] = None
    return events


@FAULTS.add(
    "truncation-reported-as-completed", "RSP-08", hook="events", response=at_end(_when_status("incomplete", _not_cut))
)
def _not_cut_events(events: Events, _: RequestInfo) -> Events:
    """Responses truncated by max_output_tokens, and their items, have status completed."""
    for event in events:
        if is_of(event, ITEM_DONE) and event["item"]["status"] == "incomplete":
            event["item"]["status"] = "completed"
        elif is_of(event, "response.incomplete"):
            event["type"] = "response.completed"
    return events


@FAULTS.add("empty-when-busy", "RSP-10", "USG-13", hook="events", when=CONCURRENT, response=at_end(_empty))
def _empty_events(events: Events, _: RequestInfo) -> Events:
    """A completed response is empty and counts no tokens."""
    return [event for event in events if "response" in event]


@FAULTS.add("tools-echoed-without-strict", "RSP-12", hook="response", through=in_response, dialects=("openresponses",))
def _poor_tools(response: Json) -> None:
    """Echoed function tools have no strict."""
    for tool in response["tools"]:
        if tool["type"] == "function":
            tool.pop("strict", None)


@FAULTS.add("output-text-differs", "RSP-14", hook="response", through=at_end)
def _wrong_output_text(response: Json) -> None:
    """A top-level output_text differs from the text of the output."""
    texts = [
        part["text"]
        for item in items_of(response)
        if item["type"] == "message"
        for part in item["content"]
        if part["type"] == "output_text"
    ]
    response["output_text"] = altered("".join(texts))


@FAULTS.add("models-without-list", "RSP-17", hook="other_reply", dialects=("northstar", "openai"))
def _bare_models(body: Json, info: RequestInfo) -> None:
    """The list of models has no object."""
    if info.operation == "models":
        del body["object"]


@FAULTS.add("input-items-without-type", "RSP-17", hook="other_reply", dialects=("openai",))
def _untyped_items(body: Json, info: RequestInfo) -> None:
    """Listed input items have no type."""
    if info.operation == "input_items":
        body["data"] = [without_field(item, "type") for item in body["data"]]


@FAULTS.add("input-tokens-as-text", "RSP-17", hook="other_reply", dialects=("openai",))
def _counted_in_words(body: Json, info: RequestInfo) -> None:
    """The number of input tokens is text."""
    if info.operation == "input_tokens":
        body["input_tokens"] = str(body["input_tokens"])


@FAULTS.add("retrieved-time-as-text", "RSP-17", hook="response", dialects=("northstar", "openai"))
def _time_as_text(response: Json, _: str, info: RequestInfo) -> None:
    """created_at of retrieved responses is text."""
    if info.operation == "response":
        response["created_at"] = str(response["created_at"])


@FAULTS.add("deleted-item-confirmed", "RSP-17", hook="other_reply", dialects=("openai",))
def _confirmed(body: Json, info: RequestInfo) -> None:
    """Deleting an item of a conversation returns a confirmation and not the conversation."""
    if info.operation == "delete_conversation_item":
        body.clear()
        body.update(id=info.request.path.rpartition("/")[2], object="conversation.item.deleted", deleted=True)


@FAULTS.add("input-items-as-text", "RSP-17", hook="other_reply", dialects=("openai",))
def _plain_content(body: Json, info: RequestInfo) -> None:
    """The content of listed messages is text."""
    if info.operation == "input_items":
        body["data"] = [{**item, "content": "Hi"} if "role" in item else item for item in body["data"]]


@FAULTS.add("input-items-without-status", "RSP-17", hook="other_reply", dialects=("openai",))
def _calls_without_status(body: Json, info: RequestInfo) -> None:
    """Function calls among listed input items have no status."""
    if info.operation == "input_items":
        body["data"] = [without_field(item, "status") if "arguments" in item else item for item in body["data"]]


@FAULTS.add("conversation-items-without-arguments", "RSP-17", hook="other_reply", dialects=("openai",))
def _calls_without_arguments(body: Json, info: RequestInfo) -> None:
    """Function calls among the listed items of a conversation have no arguments."""
    if info.operation == "list_conversation_items":
        body["data"] = [without_field(item, "arguments") for item in body["data"]]


@FAULTS.add("conversation-items-without-annotations", "RSP-17", hook="other_reply", dialects=("openai",))
def _parts_without_annotations(body: Json, info: RequestInfo) -> None:
    """Text of the assistant among the listed items of a conversation has no annotations."""
    if info.operation == "list_conversation_items":
        body["data"] = [
            {**item, "content": [without_field(part, "annotations") for part in item["content"]]}
            if item.get("role") == "assistant"
            else item
            for item in body["data"]
        ]


@FAULTS.add("compaction-object-of-response", "RSP-17", hook="other_reply", dialects=("openai", "openresponses"))
def _compaction_as_response(body: Json, info: RequestInfo) -> None:
    """The object of a compaction is response."""
    if info.operation == "compact":
        body["object"] = "response"


@FAULTS.add("compaction-without-usage-details", "RSP-17", hook="other_reply", dialects=("openai", "openresponses"))
def _bare_usage(body: Json, info: RequestInfo) -> None:
    """The usage of a compaction has no details."""
    if info.operation == "compact":
        del body["usage"]["input_tokens_details"]


@FAULTS.add("replay-without-error", "RSP-17", hook="override", dialects=("openai",), through=on_replay)
def _without_error(visit: Visit, stored: Stored) -> Reply | None:
    """The responses in replays have no error where the created ones have null."""
    pieces = replay_pieces(visit, stored)
    return streamed([piece._replace(data=piece.data.replace(b'"error":null,', b"")) for piece in pieces])
