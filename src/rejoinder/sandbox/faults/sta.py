"""Faults of stored responses: retrieval, deletion, continuation, tenants."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Container
from dataclasses import replace
from typing import Any, Final

from rejoinder.json_copy import copy_json
from rejoinder.sandbox.endpoint.compaction import empty_compaction
from rejoinder.sandbox.endpoint.generate import ResolvedRequest
from rejoinder.sandbox.endpoint.reply import ApiError, Piece, Reply, RequestInfo, reply_with
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    STREAMED,
    Condition,
    ErrorHook,
    Fault,
    FaultList,
    RequestHook,
    Visit,
    as_if,
    break_down,
    has_code,
    in_response,
    set_to,
    with_request_field,
)

_OPENAI: Final = ("openai",)
_IN_CONVERSATION: Final = with_request_field("conversation")


def _of_conversation(
    operation: str, change: Callable[[Json, RequestInfo], None]
) -> Callable[[Json, RequestInfo], None]:
    """Return the hook that changes what an operation on conversations returns."""

    def hook(body: Json, info: RequestInfo) -> None:
        if info.operation == operation:
            change(body, info)

    return hook


def _broken_for(operations: Container[str], *codes: str) -> ErrorHook:
    """Return the hook that turns refusals with these codes into a server error, in some operations."""
    broken = break_down(*codes)

    def hook(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
        return broken(status, body, info) if info.operation in operations else (status, body)

    return hook


_UNSTORED: Final = Condition("only with store false", lambda info: info.body.get("store") is False)
_CONTINUED: Final = with_request_field("previous_response_id")


def _stores(store: bool) -> RequestHook:
    return lambda body, _: {**body, "store": store, "background": False if not store else body.get("background")}


def _fails_to_fetch(info: RequestInfo) -> bool:
    return b"//127.0.0.1:9/" in info.request.body


def _only_matched(body: Json, _: RequestInfo) -> Json:
    if not _OWN_ID.fullmatch(str(body["previous_response_id"])):
        what = "previous_response_id is not a response id."
        raise ApiError(400, what, param="previous_response_id", code="invalid_value")
    return {**body, "previous_response_id": None}


_OWN_ID: Final = re.compile(r"resp_[0-9a-f]{24}")
_UNFETCHED: Final = Condition("only with an image that cannot be fetched", _fails_to_fetch)


def _in_secret(stored: Stored, _: Store, __: RequestInfo) -> None:
    stored.running = {**stored.running, "store": False}


def _open_to_others(id: str, what: str, operation: str, method: str = "", dialects: tuple[str, ...] = ()) -> Fault:
    """Return the fault that an operation serves any tenant; ``what`` it does is the beginning of the title."""

    def fits(info: RequestInfo) -> bool:
        return info.operation == operation and method in ("", info.request.method)

    return Fault(
        id=id, title=f"{what} with another tenant's key.", breaks=("STA-11",), all_tenants=fits, dialects=dialects
    )


FAULTS: Final = FaultList(
    Fault(
        id="streamed-not-stored",
        title="Streamed responses have store true but cannot be retrieved.",
        breaks=("STA-01",),
        when=STREAMED,
        request=_stores(False),
        response=in_response(set_to("store", True)),
    ),
    Fault(
        id="unstored-is-stored",
        title="Responses are stored although store is false.",
        breaks=("STA-01",),
        when=_UNSTORED,
        request=_stores(True),
        response=in_response(set_to("store", False)),
    ),
    Fault(
        id="unknown-response-breaks-server",
        title="Unknown response ids cause a server error.",
        breaks=("STA-02", "STA-16"),
        error=break_down("response_not_found"),
    ),
    Fault(
        id="previous-response-ignored",
        title="previous_response_id is ignored.",
        breaks=("STA-06",),
        when=_CONTINUED,
        request=as_if(previous_response_id=None),
    ),
    Fault(
        id="previous-response-only-matched",
        title="previous_response_id must have the form of an id and is ignored otherwise.",
        breaks=("STA-06",),
        when=_CONTINUED,
        request=_only_matched,
    ),
    Fault(
        id="unknown-previous-breaks-server",
        title="An unknown previous_response_id causes a server error.",
        breaks=("STA-06",),
        error=break_down("previous_response_not_found"),
    ),
    Fault(
        id="two-histories-break-server",
        title="A request with previous_response_id and conversation causes a server error.",
        breaks=("STA-07",),
        dialects=("openai",),
        when=Condition("only with a conversation", lambda info: info.body.get("conversation") is not None),
        error=break_down("invalid_value"),
    ),
    Fault(
        id="unstored-turn-forgets",
        title="A turn with store false loses the turns that it continues.",
        breaks=("STA-08",),
        when=_UNSTORED,
        request=as_if(previous_response_id=None),
    ),
    Fault(
        id="continuing-unfinished-breaks-server",
        title="Continuing an unfinished response causes a server error.",
        breaks=("STA-10",),
        error=break_down("previous_response_not_finished"),
    ),
    Fault(
        id="conversation-loses-metadata",
        title="A retrieved conversation has no metadata.",
        breaks=("STA-17",),
        dialects=_OPENAI,
        other_reply=_of_conversation("retrieve_conversation", lambda body, _: body.update(metadata={})),
    ),
    Fault(
        id="unknown-conversation-breaks-server",
        title="Operations on an unknown conversation cause a server error.",
        breaks=("STA-22",),
        dialects=_OPENAI,
        error=_broken_for(("retrieve_conversation", "list_conversation_items"), "conversation_not_found"),
    ),
    Fault(
        id="response-in-unknown-conversation-breaks-server",
        title="A request with an unknown conversation causes a server error.",
        breaks=("STA-23",),
        dialects=_OPENAI,
        error=_broken_for(("create",), "conversation_not_found"),
    ),
    Fault(
        id="conversation-not-read",
        title="Responses are generated without the items of their conversation.",
        breaks=("STA-20",),
        dialects=_OPENAI,
        when=_IN_CONVERSATION,
        resolved=lambda resolved, _: replace(resolved, items=list(resolved.fresh)),
    ),
    Fault(
        id="conversation-not-extended",
        title="Responses are not added to their conversation.",
        breaks=("STA-19",),
        dialects=_OPENAI,
        added=lambda _, __: [],
    ),
    Fault(
        id="conversation-without-output",
        title="Only the input of a response is added to its conversation.",
        breaks=("STA-19",),
        dialects=_OPENAI,
        added=lambda items, _: [item for item in items if item.get("role") == "user"],
    ),
    Fault(
        id="two-histories-accepted",
        title="In a request with previous_response_id and conversation, previous_response_id is ignored.",
        breaks=("STA-07",),
        dialects=_OPENAI,
        when=_IN_CONVERSATION,
        parsed=lambda body, _: {**body, "previous_response_id": None},
    ),
    _open_to_others("other-tenant-retrieves", "A response can be retrieved", "response", "GET"),
    _open_to_others("other-tenant-lists-input", "The input items of a response can be listed", "input_items"),
    _open_to_others("other-tenant-deletes", "A response can be deleted", "response", "DELETE"),
    _open_to_others("other-tenant-cancels", "A background response can be cancelled", "cancel"),
    _open_to_others("other-tenant-continues", "A response can be continued", "create"),
    _open_to_others(
        "other-tenant-reads-conversation", "A conversation can be read", "list_conversation_items", dialects=_OPENAI
    ),
)


@FAULTS.add(
    "responses-unknown-at-times",
    "STA-01",
    hook="override",
    when=Condition("after every second create request", lambda info: info.number % 2 == 1),
)
def _not_here(visit: Visit) -> Reply | None:
    """Responses are known to only one of two processes."""
    if visit.method == "GET" and visit.info.operation == "response" and visit.stored is not None:
        raise ApiError(404, "There is no such response.", code="response_not_found")
    return None


@FAULTS.add("retrieve-answers-a-page", "STA-01", hook="override")
def _page_of_maintenance(visit: Visit) -> Reply | None:
    """Retrieve returns an HTML page."""
    if visit.method != "GET" or visit.info.operation != "response":
        return None
    return Reply(200, (("content-type", "text/html"),), iter([Piece(0.0, b"<h1>Maintenance</h1>")]))


@FAULTS.add("unknown-response-is-found", "STA-02", hook="override")
def _any_is_found(visit: Visit) -> Reply | None:
    """Retrieve returns an empty response for unknown ids."""
    known = visit.stored is not None or visit.info.operation != "response"
    return None if known else reply_with({"object": "response", "status": "failed"})


@FAULTS.add("not-found-without-envelope", "STA-02", hook="error")
def _bare_not_found(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """404 responses have no error object."""
    missing = body["error"]["code"] == "response_not_found" and info.operation == "response"
    return status, {"detail": "Not Found"} if missing else body


@FAULTS.add("delete-without-effect", "STA-03", hook="override")
def _not_deleted(visit: Visit) -> Reply | None:
    """Deleted responses can still be retrieved."""
    if visit.method != "DELETE" or visit.stored is None:
        return None
    return reply_with({"id": visit.stored.response["id"], "object": "response", "deleted": True})


@FAULTS.add("retrieve-changes-response", "STA-04", hook="override")
def _aging(visit: Visit) -> Reply | None:
    """created_at changes on every retrieve."""
    stored = visit.stored
    if visit.method == "GET" and visit.info.operation == "response" and stored is not None:
        stored.response = {**stored.response, "created_at": stored.response["created_at"] + 1}
    return None


@FAULTS.add("input-items-ascending", "STA-05", hook="listing", dialects=("openai",))
def _reversed(listing: Json, info: RequestInfo) -> None:
    """Input items are listed in ascending order by default."""
    if "order=" not in info.request.path:
        listing["data"].reverse()
        listing["first_id"], listing["last_id"] = listing["last_id"], listing["first_id"]


@FAULTS.add("input-items-page-with-gap", "STA-05", hook="listing", dialects=("openai",))
def _gap(listing: Json, info: RequestInfo) -> None:
    """A page of input items skips the item after the cursor."""
    if "after=" in info.request.path:
        del listing["data"][:1]
        listing["first_id"] = listing["data"][0]["id"] if listing["data"] else None
        listing["last_id"] = listing["data"][-1]["id"] if listing["data"] else None


@FAULTS.add("input-items-without-more", "STA-05", hook="listing", dialects=("openai",))
def _no_more(listing: Json, _: RequestInfo) -> None:
    """has_more of input item pages is always false."""
    listing["has_more"] = False


@FAULTS.add("input-items-without-ids", "STA-05", hook="listing", dialects=("openai",))
def _ids_of_nothing(listing: Json, _: RequestInfo) -> None:
    """Pages of input items have no first_id and last_id."""
    listing["first_id"] = listing["last_id"] = None


@FAULTS.add("input-items-lose-one", "STA-05", hook="on_store", dialects=("openai",))
def _lost_item(stored: Stored, _: Store, __: RequestInfo) -> None:
    """The second input item is missing from the list."""
    del stored.input_items[1:2]


@FAULTS.add("continued-without-input", "STA-08", hook="on_store")
def _without_input(stored: Stored, _: Store, __: RequestInfo) -> None:
    """Continued responses know only the earlier output, not the earlier input."""
    stored.context = list(stored.response["output"])


@FAULTS.add("continued-without-lists", "STA-08", hook="on_store")
def _without_lists(stored: Stored, _: Store, info: RequestInfo) -> None:
    """User messages of list input are lost in later turns."""
    if isinstance(info.body.get("input"), list):
        stored.context = [item for item in stored.context if item.get("role") != "user"]


@FAULTS.add("continued-without-tool-outputs", "STA-08", hook="on_store")
def _without_calls(stored: Stored, _: Store, __: RequestInfo) -> None:
    """Tool outputs are lost in later turns."""
    # The calls stay, so that the next turn is accepted.
    stored.context = [item for item in stored.context if item.get("type") != "function_call_output"]


@FAULTS.add("siblings-share-history", "STA-09", hook="on_store", when=_CONTINUED)
def _shared_context(stored: Stored, store: Store, info: RequestInfo) -> None:
    """Each turn is added to the history of the response that it continues."""
    parent = store.get(str(info.body.get("previous_response_id")))
    if parent is not None:
        parent.context = copy_json(stored.context)


@FAULTS.add("failed-response-continued", "STA-10", hook="on_store", when=_UNFETCHED, fails=True)
def _not_failed(stored: Stored, _: Store, __: RequestInfo) -> None:
    """Failed responses can be continued."""
    stored.response = {**stored.response, "status": "completed"}


@FAULTS.add(
    "unstored-can-be-continued",
    "STA-14",
    hook="override",
    when=Condition("only with store false, or when retrieved", lambda info: info.body.get("store", False) is False),
    request=lambda body, info: {**body, "store": True} if info.body.get("store") is False else body,
    response=lambda response, _, info: response.update(store=False) if info.body.get("store") is False else None,
    on_store=lambda stored, store, info: _in_secret(stored, store, info) if info.body.get("store") is False else None,
)
def _kept_from_retrieve(visit: Visit) -> Reply | None:
    """Responses with store false can be continued, but not retrieved."""
    if visit.stored is not None and visit.stored.running.get("store") is False:
        raise ApiError(404, "There is no such response.", code="response_not_found")
    return None


@FAULTS.add("continued-too-early", "STA-15", hook="on_store")
def _found_late(stored: Stored, _: Store, __: RequestInfo) -> None:
    """Responses cannot be continued within one second of their end."""
    stored.found_at = stored.ready_at + 1.0


@FAULTS.add("streamed-cannot-be-continued", "STA-15", hook="on_store", when=STREAMED)
def _never_found(stored: Stored, _: Store, __: RequestInfo) -> None:
    """Streamed responses cannot be continued."""
    stored.found_at = math.inf


@FAULTS.add("failed-turn-spoils-chain", "STA-15", hook="on_store", when=_UNFETCHED, fails=True)
def _spoilt(_: Stored, store: Store, info: RequestInfo) -> None:
    """A failed turn makes the previous response impossible to continue."""
    parent = store.get(str(info.body.get("previous_response_id")))
    if parent is not None:
        parent.found_at = math.inf


@FAULTS.add("conversation-not-updated", "STA-17", hook="override", dialects=_OPENAI)
def _not_updated(visit: Visit) -> Reply | None:
    """An update of a conversation has no effect."""
    conversation = visit.conversation
    if visit.info.operation != "update_conversation" or conversation is None:
        return None
    return reply_with(conversation.resource)


@FAULTS.add("conversation-items-ascending", "STA-18", hook="other_reply", dialects=_OPENAI)
def _upwards(body: Json, info: RequestInfo) -> None:
    """The items of a conversation are listed in ascending order by default."""
    if info.operation == "list_conversation_items" and "order=" not in info.request.path:
        body["data"] = body["data"][::-1]
        body["first_id"], body["last_id"] = body["last_id"], body["first_id"]


@FAULTS.add("conversation-items-with-gap", "STA-18", hook="other_reply", dialects=_OPENAI)
def _item_skipped(body: Json, info: RequestInfo) -> None:
    """A page of the items of a conversation skips the item after the cursor."""
    if info.operation == "list_conversation_items" and "after=" in info.request.path:
        _gap(body, info)


@FAULTS.add("added-items-renumbered", "STA-18", hook="other_reply", dialects=_OPENAI)
def _other_ids(body: Json, info: RequestInfo) -> None:
    """Items that are added to a conversation are returned with other ids than they have in its list."""
    if info.operation == "create_conversation_items":
        body["data"] = [{**item, "id": f"{item['id']}0"} for item in body["data"]]
        for name in ("first_id", "last_id"):
            body[name] = body[name] and f"{body[name]}0"


@FAULTS.add("conversation-item-confused", "STA-18", hook="override", dialects=_OPENAI)
def _first_item(visit: Visit) -> Reply | None:
    """Retrieving an item of a conversation returns its first item."""
    conversation = visit.conversation
    if visit.info.operation != "retrieve_conversation_item" or conversation is None or not conversation.items:
        return None
    if all(item["id"] not in visit.info.request.path for item in conversation.items):
        return None
    return reply_with(dict(conversation.items[0]))


@FAULTS.add("item-delete-takes-next", "STA-18", hook="override", dialects=_OPENAI)
def _next_item_lost(visit: Visit) -> Reply | None:
    """Deleting an item of a conversation deletes the next one, too."""
    conversation = visit.conversation
    if visit.info.operation == "delete_conversation_item" and conversation is not None:
        for place, item in enumerate(conversation.items):
            if item["id"] in visit.info.request.path:
                del conversation.items[place + 1 : place + 2]
                break
    return None


@FAULTS.add("conversation-delete-without-effect", "STA-21", hook="override", dialects=_OPENAI)
def _kept(visit: Visit) -> Reply | None:
    """Deleted conversations can still be retrieved."""
    conversation = visit.conversation
    if visit.info.operation != "delete_conversation" or conversation is None:
        return None
    return reply_with({"id": conversation.id, "object": "conversation.deleted", "deleted": True})


@FAULTS.add("item-delete-without-effect", "STA-21", "USG-23", hook="override", dialects=_OPENAI)
def _item_kept(visit: Visit) -> Reply | None:
    """Deleted items stay in their conversation."""
    conversation = visit.conversation
    if visit.info.operation != "delete_conversation_item" or conversation is None:
        return None
    return reply_with(conversation.resource)


_COMPACTION: Final = ("openai", "openresponses")
"""The dialects that define the operation to compact."""


def _of_compaction(change: Callable[[Json], None]) -> Callable[[Json, RequestInfo], None]:
    """Return a hook that changes the result of a compaction."""
    return lambda body, info: change(body) if info.operation == "compact" else None


def _unsealed(output: list[Json]) -> list[Json]:
    return [item for item in output if item["type"] != "compaction"]


FAULTS.extend(
    [
        Fault(
            id="compaction-without-item",
            title="The output of a compaction has no compaction item.",
            breaks=("STA-25",),
            dialects=_COMPACTION,
            other_reply=_of_compaction(lambda body: body.update(output=_unsealed(body["output"]))),
        ),
        Fault(
            id="compaction-loses-user-messages",
            title="The output of a compaction has no user messages, and the model does not know them.",
            breaks=("STA-26", "STA-27"),
            dialects=_COMPACTION,
            other_reply=_of_compaction(lambda body: body.update(output=body["output"][-1:])),
        ),
        Fault(
            id="compaction-item-first",
            title="The output of a compaction begins with the compaction item.",
            breaks=("STA-26",),
            dialects=_COMPACTION,
            other_reply=_of_compaction(lambda body: body["output"].reverse()),
        ),
    ]
)


@FAULTS.add("compacted-input-refused", "STA-13", hook="request", dialects=_COMPACTION)
def _no_compacted(body: Json, _: RequestInfo) -> Json:
    """Compaction items that the endpoint made are refused as input."""
    items = body["input"] if isinstance(body["input"], list) else []
    for index, item in enumerate(items):
        if item.get("type") == "compaction" and str(item.get("id")).startswith("cmp_"):
            raise ApiError(400, "The item cannot be read.", param=f"input[{index}]", code="invalid_value")
    return body


@FAULTS.add("compaction-without-model", "STA-24", "ERR-17", hook="override", dialects=_COMPACTION)
def _any_model(visit: Visit) -> Reply | None:
    """A compaction request without model is answered."""
    body = visit.info.request.json() if visit.info.operation == "compact" else None
    if not isinstance(body, dict) or "model" in body:
        return None
    return reply_with(empty_compaction())


@FAULTS.add("unknown-response-compacted", "STA-06", hook="error", dialects=_COMPACTION)
def _compaction_crashes(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """Compacting an unknown response causes a server error."""
    missing = info.operation == "compact" and has_code(body, "previous_response_not_found")
    return (500, {"error": {**body["error"], "type": "server_error"}}) if missing else (status, body)


@FAULTS.add("unknown-reference-ignored", "STA-28", hook="referenced")
def _passed_over(found: Json | None, _: RequestInfo) -> Json | None:
    """Item references with an unknown id are ignored."""
    return {"type": "message", "role": "user", "content": ""} if found is None else found


@FAULTS.add("include-refused-later", "STA-29", hook="override", dialects=("openai",))
def _no_include(visit: Visit) -> Reply | None:
    """Retrieve refuses include."""
    if "include" in visit.info.request.path and visit.info.operation in ("response", "input_items"):
        raise ApiError(400, "include is not supported.", param="include", code="unsupported_parameter")
    return None


@FAULTS.add("included-images-missing", "STA-30", hook="listing", dialects=("openai",))
def _without_images(listing: Json, _: RequestInfo) -> None:
    """Listed input items have no image_url, whatever include has."""
    listing["data"] = [_imageless(item) for item in listing["data"]]


def _imageless(item: Json) -> Json:
    parts = item.get("content")
    if not isinstance(parts, list):
        return item
    bare = [{**part, "image_url": None} if part.get("type") == "input_image" else part for part in parts]
    return {**item, "content": bare}


@FAULTS.add("compaction-item-unheard", "STA-32", hook="request", dialects=_COMPACTION)
def _without_compaction(body: Json, _: RequestInfo) -> Json:
    """Compaction items are accepted, but what they replace does not reach the model."""
    items = body["input"] if isinstance(body["input"], list) else []
    kept = [item for item in items if item.get("type") != "compaction"]
    return {**body, "input": kept} if len(kept) < len(items) else body


@FAULTS.add("listed-phase-lost", "STA-31", hook="listing", dialects=("openai",))
def _without_phase(listing: Json, _: RequestInfo) -> None:
    """Listed input items have no phase."""
    listing["data"] = [{name: value for name, value in item.items() if name != "phase"} for item in listing["data"]]


_ROOM: Final = 2048
"""The context of the model that cuts its input, in tokens."""


def _lists_context(body: Json, info: RequestInfo) -> None:
    for model in body.get("data", ()) if info.operation == "models" else ():
        model["max_model_len"] = _ROOM


@FAULTS.add("overflow-cut", "STA-12", hook="resolved", other_reply=_lists_context)
def _last_words(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    """An input that is longer than the context of the model loses its start."""
    return replace(resolved, items=[_shortened(item) for item in resolved.items])


def _shortened(item: Json) -> Json:
    content = item.get("content")
    words = content.split() if isinstance(content, str) else []
    return {**item, "content": " ".join(words[-_ROOM // 2 :])} if len(words) > _ROOM else item


@FAULTS.add("compaction-of-input-refused", "STA-33", hook="override", dialects=_COMPACTION)
def _only_stored(visit: Visit) -> Reply | None:
    """A compaction request with input, and no previous_response_id, is refused."""
    sent = visit.info.request.json() if visit.info.operation == "compact" else None
    if isinstance(sent, dict) and sent.get("input") and not sent.get("previous_response_id"):
        raise ApiError(400, "previous_response_id is missing.", param="previous_response_id", code="missing_parameter")
    return None
