"""Freedoms of stored responses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rejoinder.sandbox.endpoint.generate import ResolvedRequest
from rejoinder.sandbox.endpoint.reply import ApiError, Reply, RequestInfo, reply_with
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Condition, Visit
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite, refused_with
from rejoinder.sandbox.freedoms.citations import (
    OPENAI_EXTRA,
    OPENRESPONSES_EXTENSIONS,
    OPENRESPONSES_RESPONSE,
    STATUSES,
    TZAFON_RESPONSE,
    VLLM_RESPONSE,
)

_STATELESS: Final = (
    cite("vllm", "VLLM_ENABLE_RESPONSES_API_STORE, off by default", "vllm/entrypoints/openai/responses/serving.py"),
    OPENRESPONSES_RESPONSE,
)


def _forget(stored: Stored, store: Store, _: RequestInfo) -> None:
    store.remove(stored.response["id"])


def _not_kept(response: Json, _: str, __: RequestInfo) -> None:
    if "store" in response:
        response["store"] = False


def _no_store(body: Json, _: RequestInfo) -> Json:
    if body.get("store") is True:
        raise ApiError(400, "store is not supported.", param="store", code="unsupported_value")
    return body


def _no_chain(body: Json, _: RequestInfo) -> Json:
    if body.get("previous_response_id") is not None:
        what = "previous_response_id is not supported without a store."
        raise ApiError(400, what, param="previous_response_id", code="unsupported_parameter")
    return body


def _no_background(body: Json, _: RequestInfo) -> Json:
    if body.get("background") is True:
        raise ApiError(400, "background needs a store.", param="background", code="unsupported_parameter")
    return body


def _stateless(body: Json, info: RequestInfo) -> Json:
    return _no_background(_no_chain(body, info), info)


def _deleting(answer: Callable[[str], Json]) -> Callable[[Visit], Reply | None]:
    """Return a hook that deletes a response and confirms it in another way."""

    def hook(visit: Visit) -> Reply | None:
        if visit.info.operation != "response" or visit.method != "DELETE" or visit.stored is None:
            return None
        name = visit.stored.response["id"]
        visit.store.remove(name)
        return reply_with(answer(name))

    return hook


def _empty_ids(page: Json, _: RequestInfo) -> None:
    if page.get("data") == []:
        page.update(first_id="", last_id="")


_ROOM: Final = 16_384
"""The context of the model of an endpoint that lists it, in tokens."""


def _lists_context(body: Json, info: RequestInfo) -> None:
    for model in body.get("data", ()) if info.operation == "models" else ():
        model["max_model_len"] = _ROOM


def _within_context(resolved: ResolvedRequest, _: RequestInfo) -> ResolvedRequest:
    if resolved.input_tokens > _ROOM:
        what = f"The input has more than {_ROOM} tokens."
        raise ApiError(400, what, param="input", code="context_length_exceeded")
    return resolved


FREEDOMS: Final = FreedomList(
    Freedom(
        id="context-listed",
        title="The list of models has the context of each model, and the endpoint refuses longer inputs.",
        sources=(
            cite("vllm", "ModelCard.max_model_len", "vllm/entrypoints/openai/models/protocol.py"),
            cite("openai-openapi", "CreateResponse.truncation, disabled"),
            cite("openresponses", "truncation"),
        ),
        other_reply=_lists_context,
        resolved=_within_context,
    ),
    Freedom(
        id="nothing-stored",
        title="The endpoint stores no response and says so in store.",
        sources=_STATELESS,
        dialects=("northstar", "openresponses"),
        choice="storing",
        parsed=_stateless,
        on_store=_forget,
        response=_not_kept,
        excludes=("store-null", "store-absent", "optional-fields-null", "optional-fields-absent"),
    ),
    Freedom(
        id="store-refused",
        title="The endpoint stores no response and refuses a request with store true.",
        sources=(*_STATELESS, *STATUSES),
        dialects=("northstar", "openresponses"),
        choice="storing",
        parsed=lambda body, info: _stateless(_no_store(body, info), info),
        on_store=_forget,
        response=_not_kept,
        excludes=("store-null", "store-absent", "optional-fields-null", "optional-fields-absent"),
    ),
    Freedom(
        id="unknown-previous-response-bad-request",
        title="The endpoint refuses an unknown previous_response_id with 400.",
        sources=STATUSES,
        choice="unknown previous response",
        error=refused_with(400, "previous_response_not_found"),
    ),
    Freedom(
        id="unknown-previous-response-unprocessable",
        title="The endpoint refuses an unknown previous_response_id with 422.",
        sources=STATUSES,
        choice="unknown previous response",
        error=refused_with(422, "previous_response_not_found"),
    ),
    Freedom(
        id="deleted-object-named",
        title="A deleted response is confirmed with the object response.deleted.",
        dialects=("northstar", "openresponses"),
        sources=(TZAFON_RESPONSE, VLLM_RESPONSE),
        argument="The documents of these dialects do not define the body that confirms a delete.",
        choice="confirmation of a delete",
        override=_deleting(lambda name: {"id": name, "object": "response.deleted", "deleted": True}),
    ),
    Freedom(
        id="deleted-extra-fields",
        title="The confirmation of a delete has fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, OPENRESPONSES_EXTENSIONS, TZAFON_RESPONSE),
        choice="confirmation of a delete",
        override=_deleting(
            lambda name: {"id": name, "object": "response", "deleted": True, "deleted_at": 1_760_000_000}
        ),
    ),
    Freedom(
        id="input-items-extra-fields",
        title="A page of input items has fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, OPENRESPONSES_EXTENSIONS, TZAFON_RESPONSE),
        listing=lambda page, _: page.update(total=None, next_page=None),
    ),
    Freedom(
        id="listed-items-extra-fields",
        title="Listed input items have fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, OPENRESPONSES_EXTENSIONS, TZAFON_RESPONSE),
        listing=lambda page, _: page.update(data=[{**item, "created_by": None} for item in page["data"]]),
    ),
    Freedom(
        id="other-operations-extra-fields",
        title="Responses to operations beside create have fields that the dialect does not define.",
        sources=(OPENAI_EXTRA, OPENRESPONSES_EXTENSIONS, TZAFON_RESPONSE),
        other_reply=lambda body, _: body.update(served_by="rejoinder"),
    ),
    Freedom(
        id="conversation-metadata-null",
        title="The metadata of a conversation without any is null.",
        dialects=("openai",),
        sources=(cite("openai-openapi", "ConversationResource.metadata, of any type"),),
        other_reply=lambda body, _: body.update(metadata=body["metadata"] or None) if "metadata" in body else None,
    ),
    Freedom(
        id="empty-pages-with-empty-ids",
        title="An empty page has empty texts as first_id and last_id.",
        dialects=("openai",),
        sources=(cite("openai-openapi", "ConversationItemList.first_id; ResponseItemList.first_id"),),
        other_reply=_empty_ids,
    ),
    Freedom(
        id="unknown-conversation-bad-request",
        title="The endpoint refuses a request that names an unknown conversation with 400.",
        dialects=("openai",),
        sources=STATUSES,
        error=lambda status, body, info: (
            refused_with(400, "conversation_not_found")(status, body, info)
            if info.operation == "create"
            else (status, body)
        ),
    ),
    Freedom(
        id="unfinished-previous-response-conflicts",
        title="The endpoint refuses to continue an unfinished response with 409.",
        sources=(*STATUSES, cite("rfc9110", "section 15.5.10, 409 Conflict", "#section-15.5.10")),
        error=refused_with(409, "previous_response_not_finished"),
    ),
)


_COMPACTION: Final = cite("openresponses-openapi", "CompactResource, CompactionBody")


def _costed(body: Json, info: RequestInfo) -> None:
    if info.operation == "compact":
        body |= {"model": "parrot", "cost": 0.1}


def _images_on_demand(listing: Json, info: RequestInfo) -> None:
    if "include" not in info.request.path:
        listing["data"] = [_without_images(item) for item in listing["data"]]


def _without_images(item: Json) -> Json:
    """Return a listed item without the addresses of its images; what is stored keeps them."""
    parts = item.get("content")
    if not isinstance(parts, list):
        return item
    bare = [{**part, "image_url": None} if part.get("type") == "input_image" else part for part in parts]
    return {**item, "content": bare}


FREEDOMS.extend(
    [
        Freedom(
            id="compaction-item-only",
            title="A compaction item replaces the user messages, too.",
            sources=(_COMPACTION,),
            argument="The document describes the output as the compacted list of items, and names no item that stays.",
            dialects=("openresponses",),
            compacts_messages=True,
        ),
        Freedom(
            id="compaction-extra-fields",
            title="A compaction has fields that the dialect does not define.",
            sources=(OPENAI_EXTRA, OPENRESPONSES_EXTENSIONS),
            dialects=("openai", "openresponses"),
            other_reply=_costed,
        ),
        Freedom(
            id="unknown-item-reference-bad-request",
            title="The endpoint refuses an unknown item reference with 400.",
            sources=STATUSES,
            when=Condition("only in create requests", lambda info: info.operation == "create"),
            error=refused_with(400, "item_not_found"),
        ),
        Freedom(
            id="input-images-on-demand",
            title="Listed input images have an image_url only if include names it.",
            sources=(cite("openai-openapi", "listInputItems, include; IncludeEnum"),),
            dialects=("openai",),
            listing=_images_on_demand,
        ),
    ]
)
