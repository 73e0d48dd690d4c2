"""Faults of what is stored: retrieval, deletion, continuation, tenants."""

from __future__ import annotations

import math
from copy import deepcopy
from typing import Any, Final

from rejoinder.sandbox.endpoint.reply import ApiError, Piece, Reply, RequestInfo, reply_with
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    STREAMED,
    Condition,
    Fault,
    FaultList,
    RequestHook,
    Visit,
    as_if,
    break_down,
    in_response,
    set_to,
    with_request_field,
)

_UNSTORED: Final = Condition("only with store false", lambda info: info.body.get("store") is False)
_CONTINUED: Final = with_request_field("previous_response_id")


def _stores(store: bool) -> RequestHook:
    return lambda body, _: {**body, "store": store, "background": False if not store else body.get("background")}


def _fails_to_fetch(info: RequestInfo) -> bool:
    return b"//127.0.0.1:9/" in info.request.body


_UNFETCHED: Final = Condition("only with an image that cannot be fetched", _fails_to_fetch)


def _in_secret(stored: Stored, _: Store, __: RequestInfo) -> None:
    stored.running = {**stored.running, "store": False}


def _open_to_others(id: str, what: str, operation: str, method: str = "") -> Fault:
    """Return the fault that an operation serves any tenant; ``what`` it does is the beginning of the title."""

    def fits(info: RequestInfo) -> bool:
        return info.operation == operation and method in ("", info.request.method)

    return Fault(id=id, title=f"{what} with another tenant's key.", breaks=("STA-11",), all_tenants=fits)


FAULTS: Final = FaultList(
    Fault(
        id="streamed-not-stored",
        title="Streamed responses cannot be retrieved, though they say that they are stored.",
        breaks=("STA-01",),
        when=STREAMED,
        request=_stores(False),
        response=in_response(set_to("store", True)),
    ),
    Fault(
        id="unstored-is-stored",
        title="Responses are stored though store is false.",
        breaks=("STA-01",),
        when=_UNSTORED,
        request=_stores(True),
        response=in_response(set_to("store", False)),
    ),
    Fault(
        id="unknown-response-breaks-server",
        title="Unknown responses are answered with a server error.",
        breaks=("STA-02",),
        error=break_down("response_not_found"),
    ),
    Fault(
        id="previous-response-ignored",
        title="previous_response_id is ignored.",
        breaks=("STA-06", "STA-08"),
        when=_CONTINUED,
        request=as_if(previous_response_id=None),
    ),
    Fault(
        id="unknown-previous-breaks-server",
        title="An unknown previous_response_id is answered with a server error.",
        breaks=("STA-06",),
        error=break_down("previous_response_not_found"),
    ),
    Fault(
        id="two-histories-break-server",
        title="A request with previous_response_id and conversation is answered with a server error.",
        breaks=("STA-07",),
        dialects=("openai",),
        when=Condition("only with a conversation", lambda info: info.body.get("conversation") is not None),
        error=break_down("invalid_value"),
    ),
    Fault(
        id="unstored-turn-forgets",
        title="A turn that is not stored does not know those that it continues.",
        breaks=("STA-08",),
        when=_UNSTORED,
        request=as_if(previous_response_id=None),
    ),
    Fault(
        id="continuing-unfinished-breaks-server",
        title="Continuing an unfinished response is answered with a server error.",
        breaks=("STA-10",),
        error=break_down("previous_response_not_finished"),
    ),
    _open_to_others("other-tenant-retrieves", "A response can be retrieved", "response", "GET"),
    _open_to_others("other-tenant-lists-input", "The input items of a response can be listed", "input_items"),
    _open_to_others("other-tenant-deletes", "A response can be deleted", "response", "DELETE"),
    _open_to_others("other-tenant-cancels", "A background response can be cancelled", "cancel"),
    _open_to_others("other-tenant-continues", "A response can be continued", "create"),
)


@FAULTS.add(
    "responses-unknown-at-times",
    "STA-01",
    hook="override",
    when=Condition("after every second create request", lambda info: info.number % 2 == 1),
)
def _not_here(visit: Visit) -> Reply | None:
    """A response is known to one of two processes only."""
    if visit.method == "GET" and visit.info.operation == "response" and visit.stored is not None:
        raise ApiError(404, "There is no such response.", code="response_not_found")
    return None


@FAULTS.add("retrieve-answers-a-page", "STA-01", hook="override")
def _page_of_maintenance(visit: Visit) -> Reply | None:
    """A retrieve is answered with a page for browsers."""
    if visit.method != "GET" or visit.info.operation != "response":
        return None
    return Reply(200, (("content-type", "text/html"),), iter([Piece(0.0, b"<h1>Maintenance</h1>")]))


@FAULTS.add("unknown-response-is-found", "STA-02", hook="override")
def _any_is_found(visit: Visit) -> Reply | None:
    """A response that never was is retrieved as an empty one."""
    known = visit.stored is not None or visit.info.operation != "response"
    return None if known else reply_with({"object": "response", "status": "failed"})


@FAULTS.add("not-found-without-envelope", "STA-02", hook="error")
def _bare_not_found(status: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
    """That a response is not there is told without the error envelope."""
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
    """created_at grows whenever a response is retrieved."""
    stored = visit.stored
    if visit.method == "GET" and visit.info.operation == "response" and stored is not None:
        stored.response = {**stored.response, "created_at": stored.response["created_at"] + 1}
    return None


@FAULTS.add("input-items-ascending", "STA-05", hook="listing")
def _reversed(listing: Json, info: RequestInfo) -> None:
    """Input items are listed in ascending order by default."""
    if "order=" not in info.request.path:
        listing["data"].reverse()
        listing["first_id"], listing["last_id"] = listing["last_id"], listing["first_id"]


@FAULTS.add("input-items-page-with-gap", "STA-05", hook="listing")
def _gap(listing: Json, info: RequestInfo) -> None:
    """A page of input items begins one item after the cursor."""
    if "after=" in info.request.path:
        del listing["data"][:1]
        listing["first_id"] = listing["data"][0]["id"] if listing["data"] else None
        listing["last_id"] = listing["data"][-1]["id"] if listing["data"] else None


@FAULTS.add("input-items-without-more", "STA-05", hook="listing")
def _no_more(listing: Json, _: RequestInfo) -> None:
    """Pages of input items never say that there are more."""
    listing["has_more"] = False


@FAULTS.add("input-items-without-ids", "STA-05", hook="listing")
def _ids_of_nothing(listing: Json, _: RequestInfo) -> None:
    """Pages of input items do not tell their first and last id."""
    listing["first_id"] = listing["last_id"] = None


@FAULTS.add("input-items-lose-one", "STA-05", hook="on_store")
def _lost_item(stored: Stored, _: Store, __: RequestInfo) -> None:
    """The second input item is not listed."""
    del stored.input_items[1:2]


@FAULTS.add("continued-without-input", "STA-08", hook="on_store")
def _without_input(stored: Stored, _: Store, __: RequestInfo) -> None:
    """A response that continues another hears its output only, not its input."""
    stored.context = list(stored.response["output"])


@FAULTS.add("continued-without-lists", "STA-08", hook="on_store")
def _without_lists(stored: Stored, _: Store, info: RequestInfo) -> None:
    """User messages of list input are lost to the turns after."""
    if isinstance(info.body.get("input"), list):
        stored.context = [item for item in stored.context if item.get("role") != "user"]


@FAULTS.add("continued-without-tool-outputs", "STA-08", hook="on_store")
def _without_calls(stored: Stored, _: Store, __: RequestInfo) -> None:
    """The outputs of calls are lost to the turns after."""
    # The calls stay, so that the next turn is accepted.
    stored.context = [item for item in stored.context if item.get("type") != "function_call_output"]


@FAULTS.add("siblings-share-history", "STA-09", hook="on_store", when=_CONTINUED)
def _shared_context(stored: Stored, store: Store, info: RequestInfo) -> None:
    """Each turn is added to the history of the response that it continues."""
    parent = store.get(str(info.body.get("previous_response_id")))
    if parent is not None:
        parent.context = deepcopy(stored.context)


@FAULTS.add("failed-response-continued", "STA-10", hook="on_store", when=_UNFETCHED, fails=True)
def _not_failed(stored: Stored, _: Store, __: RequestInfo) -> None:
    """A response that failed can be continued."""
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
    """A response that was not to be stored cannot be retrieved, and can be continued."""
    if visit.stored is not None and visit.stored.running.get("store") is False:
        raise ApiError(404, "There is no such response.", code="response_not_found")
    return None


@FAULTS.add("continued-too-early", "STA-15", hook="on_store")
def _found_late(stored: Stored, _: Store, __: RequestInfo) -> None:
    """A response cannot be continued in the first second after its end."""
    stored.found_at = stored.ready_at + 1.0


@FAULTS.add("streamed-cannot-be-continued", "STA-15", hook="on_store", when=STREAMED)
def _never_found(stored: Stored, _: Store, __: RequestInfo) -> None:
    """A response that was streamed cannot be continued."""
    stored.found_at = math.inf


@FAULTS.add("failed-turn-spoils-chain", "STA-15", hook="on_store", when=_UNFETCHED, fails=True)
def _spoilt(_: Stored, store: Store, info: RequestInfo) -> None:
    """After a turn that failed the response before it cannot be continued any more."""
    parent = store.get(str(info.body.get("previous_response_id")))
    if parent is not None:
        parent.found_at = math.inf
