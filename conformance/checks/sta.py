"""Stored responses: only they can be retrieved, deleted, listed and continued."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

from rejoinder.conformance.judging.controls import takes_lists
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import differing, get, in_exchange, is_what
from rejoinder.conformance.judging.recall import (
    forgotten,
    text_without,
)
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.token_counts import input_tokens
from rejoinder.conformance.judging.turns import (
    LACKING,
    RUNNING,
    TERMINAL,
    canary_of,
    cannot_repeat,
    crash_kind,
    have_responses,
    is_answer,
    is_broken,
    is_refusal,
    is_rejected,
    must_refuse,
    refusable,
    response_of,
    retrieved,
    says,
    state,
    status_code,
)
from rejoinder.model.verdict import ABSENT, Problem


def _can_retrieve(case: CaseView) -> bool:
    """Whether the endpoint was seen to have retrieve: some response came back."""
    return any(retrieved(view) is not None for view in case.views if _is_get(view))


def _is_get(view: ExchangeView) -> bool:
    """Whether a request retrieves a response, in dialects without the operation, too."""
    path, _, query = view.exchange.request.path.partition("?")
    return view.exchange.request.method == "GET" and not query and path.rstrip("/").split("/")[-2:-1] == ["responses"]


def _was_asked(view: ExchangeView | None) -> bool:
    """Whether a retrieve was answered at all, other than by an endpoint that is busy or does not let us in."""
    return status_code(view) not in (0, 401, 403, 408, 429, 503)


def _has_retrieve(case: CaseView) -> bool:
    """Whether there is something to say of retrieve: one succeeded, or one went wrong other than by being refused."""
    views = case.having(Role.GET, Role.GET_STREAMED)
    odd = any(_was_asked(view) and not _is_lacking(view) for view in views)
    return response_of(case.get(Role.FIRST)) is not None and (odd or _can_retrieve(case))


def _is_lacking(view: ExchangeView) -> bool:
    return status_code(view) in (400, *LACKING)


@check("STA-01", Subject.CASE, needs=_has_retrieve)
def stored_can_be_retrieved(case: CaseView) -> Iterator[Problem]:
    """Responses are retrieved by id as soon as they end: with and without streaming, and with `store` false.

    An endpoint that refuses every retrieve with a 4xx does not support retrieve. A response object with `store` false
    need not be stored.
    """
    for sent_as, fetched_as in ((Role.FIRST, Role.GET), (Role.STREAMED, Role.GET_STREAMED)):
        response, view = response_of(case.get(sent_as)), case.get(fetched_as)
        if response is None or view is None or not _was_asked(view) or get(response, "store") is False:
            continue
        status = status_code(view)
        if status == 200 and retrieved(view) is None:
            yield in_exchange(
                view,
                "The body of a retrieve is not a JSON object.",
                expected="response object",
                actual=view.exchange.body[:200],
                kind="body",
            )
        elif status != 200 and (not _is_lacking(view) or _can_retrieve(case)):
            yield in_exchange(
                view,
                f"Retrieving a stored response returned status {status}.",
                expected=200,
                actual=status,
                kind=fetched_as,
            )
    for unstored in case.having(Role.GET_UNSTORED):
        if retrieved(unstored) is not None:
            message = "A response created with store false can be retrieved."
            yield in_exchange(unstored, message, expected=404, actual=200, kind="unstored")


@check("STA-02", Subject.CASE, needs=lambda case: case.get(Role.GET_UNKNOWN) is not None and _can_retrieve(case))
def unknown_is_not_found(case: CaseView) -> Iterator[Problem]:
    """Retrieve and cancel are sent for an unknown id in the endpoint's own format.

    Each must return 404 or 410, retrieve with an `error` object. Cancel may also return 405 or 501.
    """
    yield from _found(case, Role.GET_UNKNOWN, Role.CANCEL_UNKNOWN)


@check("STA-16", Subject.CASE, needs=lambda case: _was_asked(case.get(Role.DELETE_UNKNOWN)) and _can_retrieve(case))
def unknown_cannot_be_deleted(case: CaseView) -> Iterator[Problem]:
    """Delete is sent for an unknown id in the endpoint's own format. Status 404, 410, 405 and 501 are correct."""
    yield from _found(case, Role.DELETE_UNKNOWN)


def _found(case: CaseView, *roles: str) -> Iterator[Problem]:
    for view in case.having(*roles):
        role, status = view.exchange.role, status_code(view)
        may_lack = role != Role.GET_UNKNOWN
        if not _was_asked(view) or (may_lack and status in (405, 501)):
            continue
        if status not in (404, 410):
            message = f"{_verb(role)} an unknown response returned status {status}."
            yield in_exchange(view, message, expected=404, actual=status, kind=role)
        elif not isinstance(get(view.exchange.json(), "error"), dict) and not may_lack:
            yield in_exchange(
                view,
                f"{_verb(role)} an unknown response returned no error object.",
                pointer="/error",
                expected="error object",
                actual=view.exchange.body[:200],
                kind=f"{role} body",
            )


def _verb(role: str) -> str:
    return {"get": "Retrieving", "delete": "Deleting", "cancel": "Cancelling"}[role.partition("-")[0]]


def _was_deleted(case: CaseView) -> bool:
    # 202 says that the response is still to be deleted.
    return retrieved(case.get(Role.GET)) is not None and status_code(case.get(Role.DELETE)) in (200, 204)


@check("STA-03", Subject.CASE, needs=lambda case: _was_deleted(case) and _was_asked(case.get(Role.GET_DELETED)))
def deleted_is_gone(case: CaseView) -> Iterator[Problem]:
    """A stored response is deleted and retrieved again, which must return 404 or 410."""
    (view,) = case.having(Role.GET_DELETED)
    status = status_code(view)
    if status not in (404, 410):
        message = f"Retrieving a deleted response returned status {status}."
        yield in_exchange(view, message, expected=404, actual=status)


def _repeats(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return retrieves of one finished response that followed one another."""
    runs: list[list[ExchangeView]] = [[]]
    for view in case.views:
        if not _is_get(view):
            if _may_change_stored(view):
                runs.append([])
        elif view.exchange.role in (Role.GET, Role.GET_AGAIN, Role.GET_AFTER):
            runs[-1].append(view)
    finished = [[view for view in run if state(retrieved(view)) in TERMINAL] for run in runs]
    return [pair for run in finished for pair in pairwise(run)]


def _may_change_stored(view: ExchangeView) -> bool:
    """Whether a request may change what is stored: a cancel, a delete, or a create that names the id itself."""
    return not view.is_create or "request_id" in view.request


@check("STA-04", Subject.CASE, needs=lambda case: bool(_repeats(case)))
def retrieve_is_repeatable(case: CaseView) -> Iterator[Problem]:
    """A finished response is retrieved several times, without a cancel or delete between. The bodies are compared."""
    for once, again in _repeats(case):
        message = "The finished response changed between two retrieves."
        yield from differing(in_exchange, again, message, retrieved(once), retrieved(again))


def _page(view: ExchangeView | None) -> dict[str, Any] | None:
    if view is None or view.exchange.status != 200:
        return None
    body = view.body
    return body if isinstance(body, dict) else {}


def _ids(page: dict[str, Any] | None) -> list[Any]:
    data = get(page, "data")
    return [get(item, "id") for item in data] if isinstance(data, list) else []


@check("STA-05", Subject.CASE, needs=lambda case: _page(case.get(Role.LISTED)) is not None)
def input_items_are_a_list(case: CaseView) -> Iterator[Problem]:
    """The input items of a response are listed in the default order, ascending, and in pages.

    Each page must be a list with correct `data`, `has_more`, `first_id` and `last_id`. The default order must be
    descending. The pages must have each item once, and the items must be those of the request.
    """
    yield from _list_problems(case, Role.LISTED, "input items", _spoken(case.get(Role.FIRST)))


def _list_problems(case: CaseView, listed: Role, what: str, spoken: list[str] | None) -> Iterator[Problem]:
    """Yield what is wrong with lists of items: one in the default order, one ascending, and pages of two.

    ``what`` the items are is said in messages; ``spoken`` are their texts in ascending order, ``None`` where these are
    the business of another rule.
    """
    for view in case.having(listed, Role.ASCENDING, Role.PAGE, Role.PAGE_AFTER):
        page = _page(view)
        if page is not None:
            yield from _page_problems(view, page, what)
    whole, upwards = _ids(_page(case.get(listed))), _ids(_page(case.get(Role.ASCENDING)))
    (view,) = case.having(listed)
    if len(upwards) > 1 and whole != upwards[::-1]:
        yield in_exchange(
            view,
            f"{_capital(what)} are not in descending order by default.",
            "/data",
            expected=upwards[::-1],
            actual=whole,
            kind="order",
        )
    there = [_texts(item) for item in get(_page(case.get(Role.ASCENDING)), "data") or ()] if upwards else []
    if upwards and spoken is not None and [text for text in there if text] != spoken:
        (view,) = case.having(Role.ASCENDING)
        message = f"The {what} differ from those that were sent."
        yield in_exchange(view, message, "/data", expected=spoken, actual=there, kind="content")
    roles = (Role.PAGE, Role.PAGE_AFTER, Role.PAGE_LAST)
    pages = [(view, page) for view in case.having(*roles) if (page := _page(view)) is not None]
    if not pages or len(upwards) < 3:
        return
    view, last = pages[-1]
    if any(len(_ids(page)) > 2 for _, page in pages):
        yield in_exchange(
            view, "A page has more items than limit allows.", "/data", expected="at most 2", actual=len(_ids(last))
        )
    elif pages[0][1].get("has_more") is not True:
        yield in_exchange(
            pages[0][0],
            "has_more is not true, although more items follow.",
            "/has_more",
            expected=True,
            actual=pages[0][1].get("has_more", ABSENT),
            kind="more",
        )
    elif not last.get("has_more") or len(pages) == len(roles):
        joined = [identity for _, page in pages for identity in _ids(page)]
        if joined != upwards[: len(joined)] or (len(joined) < len(upwards) and not last.get("has_more")):
            yield in_exchange(
                view,
                f"The pages of {what} have gaps or repeats.",
                "/data",
                expected=upwards,
                actual=joined,
                kind="gap",
            )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _items(view: ExchangeView | None, field: str = "input") -> list[Any]:
    found = get(view.request, field) if view is not None else None
    return found if isinstance(found, list) else []


def _texts(item: Any) -> str:
    """Return the text of an input item, however its content is written."""
    content = get(item, "content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(text for part in parts if isinstance(text := get(part, "text"), str))


def _spoken(view: ExchangeView | None) -> list[str]:
    """Return the texts of a request's input, those of items without any left out."""
    return [text for item in _spoken_items(view) if (text := _texts(item))]


def _spoken_items(view: ExchangeView | None) -> list[Any]:
    """Return the items of a request's input; text alone is a user message."""
    given = get(view.request, "input") if view is not None else None
    return [{"role": "user", "content": given}] if isinstance(given, str) else _items(view)


def _page_problems(view: ExchangeView, page: dict[str, Any], what: str) -> Iterator[Problem]:
    data = page.get("data", ABSENT)
    if not isinstance(data, list) or page.get("object") != "list":
        yield in_exchange(
            view,
            f"A page of {what} is not a list object with data.",
            "/data" if not isinstance(data, list) else "/object",
            expected='object "list" with array data',
            actual=page,
            kind="form",
        )
        return
    if type(page.get("has_more")) is not bool:
        yield in_exchange(
            view,
            f"has_more of a page of {what} is not a boolean.",
            "/has_more",
            expected="boolean",
            actual=page.get("has_more", ABSENT),
            kind="has_more",
        )
    ids = _ids(page)
    for name, expected in (("first_id", ids[0]), ("last_id", ids[-1])) if ids else ():
        if page.get(name) != expected:
            message = f"{name} is not the id of the {'first' if name == 'first_id' else 'last'} item."
            yield in_exchange(view, message, f"/{name}", expected=expected, actual=page.get(name, ABSENT))


def _not_refused(view: ExchangeView, what: str, pointer: str, expected: str) -> Iterator[Problem]:
    status = status_code(view)
    if not is_refusal(status):
        message, kind = f"{what} returned status {status}.", crash_kind(view) if is_broken(status) else "accepted"
        yield in_exchange(view, message, pointer, expected=expected, actual=status, kind=kind)


@check("STA-06", Subject.CASE, needs=lambda case: bool(refusable(case, "STA-06")))
def unknown_previous_is_refused(case: CaseView) -> Iterator[Problem]:
    """A request is sent without and with an unknown `previous_response_id` in the endpoint's own format.

    Any 4xx to the second is correct.
    """
    for view in refusable(case, "STA-06"):
        yield from _not_refused(view, "Continuing an unknown response", "/previous_response_id", "4xx status")


def _has_two_histories(case: CaseView) -> bool:
    """Whether a refusal of both histories is about both: the endpoint takes each of them alone."""
    views = refusable(case, "STA-07")
    takes_each = have_responses(case, Role.CONVERSATION)
    return not case.run_context.forgets and any(takes_each or not is_refusal(status_code(view)) for view in views)


@check("STA-07", Subject.CASE, needs=_has_two_histories)
def one_history_at_a_time(case: CaseView) -> Iterator[Problem]:
    """A stored response is continued without and with a created conversation. Any 4xx to the second is correct.

    Not tested where the endpoint ignores `previous_response_id` (STA-06) or refuses the `conversation` alone.
    """
    what = "A request with previous_response_id and conversation"
    for view in refusable(case, "STA-07"):
        yield from _not_refused(view, what, "/conversation", "4xx status")


def _have_history(case: CaseView) -> bool:
    return have_responses(case, Role.INLINE, Role.CHAINED) and not case.run_context.forgets


@check("STA-08", Subject.CASE, needs=_have_history)
def continued_turns_remember(case: CaseView) -> Iterator[Problem | Declined]:
    """A canary is placed in one turn. Turns that continue it by `previous_response_id` ask the model to repeat it.

    The same conversation is also sent in one request. If the model repeats the canary there, two misses in a continued
    turn are a problem. Two canaries must come back in the order of the turns. Not tested where the endpoint ignores
    `previous_response_id` (STA-06).
    """
    first, second = canary_of(case, "quartz"), canary_of(case, "saffron")
    if not first or not says(case.get(Role.INLINE), first):
        yield cannot_repeat()
        return
    for role in (Role.CHAINED, Role.THIRD):
        message = "A continued turn does not know the earlier turns. In one request the model does."
        yield from forgotten(case, role, first, message, "lost")
    inline, chained = case.having(Role.INLINE, Role.CHAINED)
    if not second or not _in_order(inline, first, second):
        return
    if says(chained, first) and says(chained, second) and not _in_order(chained, first, second):
        yield in_exchange(
            chained,
            "A continued turn has the earlier turns in the wrong order.",
            "/output",
            expected=f'text with "{first}" before "{second}"',
            actual=chained.text(),
            kind="order",
        )


def _in_order(view: ExchangeView, first: str, second: str) -> bool:
    return 0 <= view.text().find(first) < view.text().find(second)


@check("STA-09", Subject.CASE, needs=lambda case: have_responses(case, Role.SIBLING, Role.CHILD))
def siblings_are_strangers(case: CaseView) -> Iterator[Problem | Declined]:
    """Two responses continue the same one. A canary in the first must not appear in the second.

    Testing the rule needs a model that repeats the canary in a continuation of the first.
    """
    word, (sibling,) = canary_of(case, "quartz"), case.having(Role.SIBLING)
    if word and says(sibling, word):
        message = "A response has content of another response that continues the same one."
        yield in_exchange(sibling, message, "/output", expected=text_without(word), actual=sibling.text())
    elif not says(case.get(Role.GRANDCHILD), word):
        yield Declined("The model did not repeat the canary in the next turn.")


def _unfinished(case: CaseView) -> ExchangeView | None:
    """Return a request that continues a response which was cancelled, or was running before and after."""
    chained = case.get(Role.CONTINUES_CANCELLED)
    if state(retrieved(case.get(Role.GET_CANCELLED))) == "cancelled" and status_code(chained):
        return chained
    chained = case.get(Role.CONTINUES_RUNNING)
    if state(retrieved(case.get(Role.GET_RUNNING))) in RUNNING and status_code(chained):
        return chained
    chained = case.get(Role.NEXT_FAILING)
    return chained if status_code(chained) else None


@check("STA-10", Subject.CASE, needs=lambda case: not case.run_context.forgets and _unfinished(case) is not None)
def unfinished_is_not_continued(case: CaseView) -> Iterator[Problem]:
    """A request continues a response that is cancelled, failed, or still running after the request.

    Not tested where the endpoint ignores `previous_response_id` (STA-06).
    """
    view = _unfinished(case)
    assert view is not None
    status = status_code(view)
    if status == 200 or is_broken(status):
        yield in_exchange(
            view,
            f"Continuing an unfinished response returned status {status}.",
            "/previous_response_id",
            expected="4xx status",
            actual=status,
            kind=crash_kind(view) if status >= 500 else view.exchange.role,
        )


@check("STA-11", Subject.CASE, needs=lambda case: have_responses(case, Role.THEIRS, Role.FIRST))
def tenants_are_strangers(case: CaseView) -> Iterator[Problem]:
    """With a second tenant's key, the first tenant's responses are retrieved, listed, continued, cancelled and deleted.

    The items of a conversation are listed as well. Each must be refused, and cancel and delete must have no effect.
    Continuing is not tested at an endpoint that accepts unknown values of `previous_response_id`.
    """
    was_cancelled = state(retrieved(case.get(Role.GET_STORY))) == "cancelled"
    was_there = retrieved(case.get(Role.GET)) is not None
    takes_unknown = not is_refusal(status_code(case.get(Role.THEIR_UNKNOWN)))
    succeeded: Mapping[str, tuple[str, Callable[[ExchangeView], bool]]] = {
        Role.THEIR_GET: ("retrieve", lambda view: retrieved(view) is not None),
        Role.THEIR_LISTING: ("list the input items of", lambda view: retrieved(view) is not None),
        Role.THEIR_CONTINUED: ("continue", lambda view: response_of(view) is not None and not takes_unknown),
        Role.THEIR_CANCEL: ("cancel", lambda view: retrieved(view) is not None or was_cancelled),
        Role.THEIR_TALK: ("list the items of", lambda view: view.exchange.ok),
        Role.THEIR_DELETE: ("delete", lambda _: was_there and status_code(case.get(Role.GET_AFTER)) in (404, 410)),
    }
    views = case.having(*succeeded)
    for view in views:
        what, has_succeeded = succeeded[view.exchange.role]
        if has_succeeded(view):
            owned = "conversation" if view.exchange.role == Role.THEIR_TALK else "response"
            yield _stranger(view, f"A tenant can {what} another tenant's {owned}.", view.exchange.role)
    for view in views:
        if is_broken(status_code(view)):
            message = f"A request for what another tenant owns returned status {status_code(view)}."
            yield _stranger(view, message, f"{view.exchange.role} {crash_kind(view)}")


def _stranger(view: ExchangeView, message: str, kind: str) -> Problem:
    return in_exchange(view, message, expected="4xx status", actual=status_code(view), kind=kind)


def _refuses_unknown(case: CaseView) -> bool:
    return is_refusal(status_code(case.get(Role.UNKNOWN))) and have_responses(case, Role.UNSTORED)


@check("STA-14", Subject.CASE, needs=_refuses_unknown)
def unstored_is_not_continued(case: CaseView) -> Iterator[Problem]:
    """A response created with `store` false is continued at an endpoint that refuses unknown ids. A 4xx is correct."""
    for view in case.having(Role.NEXT_UNSTORED):
        if status_code(view) == 200 or is_broken(status_code(view)):
            what = "Continuing a response created with store false"
            yield from _not_refused(view, what, "/previous_response_id", "4xx status")


_SORTS = {
    Role.PLAIN: "a plain response",
    Role.STREAMED: "a streamed response",
    Role.CUT: "a truncated response",
    Role.CALLED: "a response with a tool call",
}


def _continues(case: CaseView) -> bool:
    """Whether the endpoint was seen to continue some response, other than by ignoring the id."""
    return not case.run_context.forgets and any(
        have_responses(case, role_of(when, sort)) for sort in _SORTS for when in (Role.NEXT, Role.LATE)
    )


@check("STA-15", Subject.CASE, needs=_continues)
def finished_is_continued_at_once(case: CaseView) -> Iterator[Problem]:
    """Plain, streamed and truncated responses, and responses with tool calls, are continued as soon as they end.

    A refused request is sent again after two seconds. A response is also continued after a failed turn.
    """
    for sort, which in _SORTS.items():
        view, late = case.get(role_of(Role.NEXT, sort)), case.get(role_of(Role.LATE, sort))
        status = status_code(view)
        if view is None or not is_rejected(status):
            continue
        if isinstance(view.request.get("input"), list) and not takes_lists(view):
            continue  # HTTP-04 tests whether lists are accepted
        too_early = response_of(late) is not None
        yield in_exchange(
            view,
            f"Continuing {which} returned status {status}. {'Later it works.' if too_early else 'Others work.'}",
            "/previous_response_id",
            expected=200,
            actual=status,
            kind="early" if too_early else sort,
        )
    for view in case.having(Role.NEXT_PLAIN_AGAIN):
        status = status_code(view)
        if is_rejected(status):
            message = f"Continuing a response after a failed turn returned status {status}."
            yield in_exchange(view, message, "/previous_response_id", expected=200, actual=status, kind="spoilt")


def _object(view: ExchangeView | None) -> dict[str, Any] | None:
    """Return the JSON object in the body of a success, ``None`` without one."""
    body = view.body if view is not None and view.exchange.ok else None
    return body if isinstance(body, dict) else None


def _has_conversation(case: CaseView) -> bool:
    return isinstance(get(_object(case.get(Role.TALK_CREATED)), "id"), str)


def _refused_operation(view: ExchangeView, what: str) -> Iterator[Problem]:
    """Yield a problem if an operation on what is there was refused or failed."""
    status = status_code(view)
    if not view.exchange.ok and is_rejected(status) and status not in (405, 501):
        yield in_exchange(
            view, f"{what} returned status {status}.", expected=200, actual=status, kind=view.exchange.role
        )


_TOLD: Final = (Role.TALK_GET, Role.TALK_UPDATED, Role.TALK_GET_UPDATED)


@check(
    "STA-17",
    Subject.CASE,
    needs=lambda case: _has_conversation(case) and any(map(_was_asked, case.having(*_TOLD))),
)
def conversations_keep_their_metadata(case: CaseView) -> Iterator[Problem]:
    """A conversation with metadata is retrieved, gets other metadata, and is retrieved again. The objects are compared.

    Status 405 and 501 are not tested: the endpoint may lack the operation.
    """
    created, updated = case.get(Role.TALK_CREATED), case.get(Role.TALK_UPDATED)
    for view in case.having(*_TOLD):
        what = "Updating a conversation" if view is updated else "Retrieving a conversation"
        yield from _refused_operation(view, what)
        found = _object(view)
        if found is None or created is None:
            continue
        renamed = view.exchange.role != Role.TALK_GET
        if renamed and _object(updated) is None:
            continue
        sent = get(updated.request if renamed and updated is not None else created.request, "metadata")
        sent = {} if sent in (None, ABSENT) else sent
        wanted = {name: get(_object(created), name) for name in ("id", "created_at")} | {"metadata": sent}
        for name, value in wanted.items():
            # A conversation without metadata may have none, null or an empty object.
            none_at_all = name == "metadata" and not sent and not found.get(name)
            if found.get(name, ABSENT) != value and not none_at_all:
                yield in_exchange(
                    view,
                    f"{name} of a conversation {is_what(found.get(name, ABSENT))}.",
                    f"/{name}",
                    expected=value,
                    actual=found.get(name, ABSENT),
                    kind=f"{view.exchange.role} {name}",
                )


def _in_role(view: ExchangeView, *roles: Role) -> bool:
    """Whether a request has one of these roles, perhaps with a number or another role behind it."""
    return any(view.exchange.role == role or view.exchange.role.startswith(f"{role}-") for role in roles)


def _says_in_conversation(view: ExchangeView) -> bool:
    return _in_role(view, Role.TALK_FIRST, Role.TALK_CHAINED)


def _known_items(case: CaseView) -> dict[str, Any]:
    """Return the items of the conversation of a case that were added or listed, by id."""
    of_lists = ("list_conversation_items", "create_conversation_items")
    pages = [_page(view) for view in case.views if view.operation in of_lists]
    return {
        item["id"]: item for page in pages for item in _objects(get(page, "data")) if isinstance(item.get("id"), str)
    }


def _item_id(view: ExchangeView) -> str:
    """Return the id of the item that a request is for; empty without one."""
    return list(view.requested.ids.values())[-1] if view.requested is not None and view.requested.ids else ""


def _conversation_texts(case: CaseView, before: ExchangeView | None) -> list[str]:
    """Return the texts of the messages of a conversation, in order, as the requests before another one left it."""
    known = _known_items(case)
    texts: list[str] = []
    for view in case.views:
        if view is before:
            break
        if _in_role(view, Role.TALK_CREATED, Role.TALK_ADDED) and _object(view) is not None:
            texts += [_texts(item) for item in _items(view, "items")]
        elif _says_in_conversation(view) and state(response_of(view)) in ("completed", "incomplete"):
            texts += [*_spoken(view), *(_texts(item) for item in view.output if item.get("type") == "message")]
        elif _in_role(view, Role.TALK_ITEM_DELETED) and _object(view) is not None:
            text = _texts(known.get(_item_id(view)))
            texts = [one for place, one in enumerate(texts) if one != text or one in texts[:place]]
    return [text for text in texts if text]


def _is_whole(view: ExchangeView | None) -> bool:
    """Whether a list has all items of a conversation, in ascending order."""
    page = _page(view)
    return (
        view is not None
        and page is not None
        and "order=asc" in view.exchange.request.path
        and (page.get("has_more") is not True)
    )


def _lists_conversation(case: CaseView) -> bool:
    return _has_conversation(case) and _page(case.get(Role.ASCENDING)) is not None


@check(
    "STA-18",
    Subject.CASE,
    needs=lambda case: _lists_conversation(case) and _page(case.get(Role.TALK_LISTED)) is not None,
)
def conversation_items_are_a_list(case: CaseView) -> Iterator[Problem]:
    """Items are added when a conversation is created and later. They are listed as STA-05 lists input items.

    The items that adding returns must be those that were added, in their order, and must have the ids of the list.
    STA-19 compares the items of responses.
    """
    upwards = case.get(Role.ASCENDING)
    said = any(map(_says_in_conversation, case.views))
    what = "items of a conversation"
    yield from _list_problems(case, Role.TALK_LISTED, what, None if said else _conversation_texts(case, upwards))
    for added in [view for view in case.views if _in_role(view, Role.TALK_ADDED) and _page(view) is not None]:
        page, sent = _page(added), [_texts(item) for item in _items(added, "items")]
        returned = [_texts(item) for item in _objects(get(page, "data"))]
        if returned != sent:
            message = "The items that were added differ from those that were sent."
            yield in_exchange(added, message, "/data", expected=sent, actual=returned, kind="added")
            continue
        gone = {_item_id(view) for view in case.views if _in_role(view, Role.TALK_ITEM_DELETED)}
        ids = [identity for identity in _ids(page) if identity not in gone]
        listed = [identity for identity in _ids(_page(upwards)) if identity in ids]
        if ids != listed and not _cannot_show(case, added, upwards):
            message = "The ids of items that were added differ from those in the list."
            expected = _ids(_page(upwards))[-len(ids) :]
            yield in_exchange(added, message, "/data/*/id", expected=expected, actual=ids, kind="ids")


def _cannot_show(case: CaseView, added: ExchangeView, listed: ExchangeView | None) -> bool:
    """Whether a list cannot show what was added: it was requested earlier, or has not all items."""
    return listed is None or not _is_whole(listed) or case.views.index(added) > case.views.index(listed)


def _lists_the_rest(case: CaseView) -> bool:
    deleted = any(_in_role(view, Role.TALK_ITEM_DELETED) and _object(view) is not None for view in case.views)
    said = any(map(_says_in_conversation, case.views))
    return _has_conversation(case) and deleted and not said and _is_whole(case.get(Role.TALK_LISTED_AFTER))


@check("STA-18", Subject.CASE, needs=_lists_the_rest)
def other_items_stay(case: CaseView) -> Iterator[Problem]:
    """An item of a conversation is deleted. All other items must be in the list."""
    (left,) = case.having(Role.TALK_LISTED_AFTER)
    there = [_texts(item) for item in _objects(get(_page(left), "data")) if _texts(item)]
    expected = _conversation_texts(case, left)
    if not set(there).issuperset(expected):
        message = "After an item was deleted, the list lacks other items."
        yield in_exchange(left, message, "/data", expected=expected, actual=there, kind="left")


def _retrieves_item(case: CaseView) -> bool:
    view = case.get(Role.TALK_ITEM)
    known = view is not None and _item_id(view) in _known_items(case)
    return _has_conversation(case) and known and _was_asked(view)


@check("STA-18", Subject.CASE, needs=_retrieves_item)
def conversation_items_are_retrieved(case: CaseView) -> Iterator[Problem]:
    """An item of a conversation is retrieved by its id, and compared with the item that was added or listed."""
    (view,) = case.having(Role.TALK_ITEM)
    yield from _refused_operation(view, "Retrieving an item of a conversation")
    found, wanted = _object(view), _known_items(case)[_item_id(view)]
    if found is None:
        return
    if found.get("id") != wanted["id"]:
        message = "Another item of the conversation was returned."
        yield in_exchange(view, message, "/id", expected=wanted["id"], actual=found.get("id", ABSENT), kind="item")
    elif _texts(found) != _texts(wanted):
        message = "The text of an item differs from its text in the list."
        expected, actual = _texts(wanted), _texts(found)
        yield in_exchange(view, message, "/content", expected=expected, actual=actual, kind="item text")


def _in_conversation(case: CaseView) -> list[ExchangeView]:
    """Return the requests of a case that named its conversation and have completed."""
    views = [view for view in case.views if _says_in_conversation(view)]
    return [view for view in views if state(response_of(view)) in ("completed", "incomplete")]


def _last_list(case: CaseView) -> ExchangeView | None:
    """Return the last list of the items of a conversation that is whole."""
    views = case.having(Role.TALK_LISTED_AFTER, Role.TALK_LISTED, Role.ASCENDING)
    return next((view for view in views if _is_whole(view)), None)


@check(
    "STA-19",
    Subject.CASE,
    needs=lambda case: _has_conversation(case) and bool(_in_conversation(case)) and _last_list(case) is not None,
)
def responses_are_added_to_their_conversation(case: CaseView) -> Iterator[Problem]:
    """Compares the texts of a conversation's messages with what was sent and returned in its responses, in order.

    If output items are missing from the list, the items are listed again two seconds later.
    """
    view = _last_list(case)
    assert view is not None
    messages = [item for item in _objects(get(_page(view), "data")) if item.get("type", "message") == "message"]
    there, wanted = [text for item in messages if (text := _texts(item))], _conversation_texts(case, view)
    if there != wanted:
        lacks = [text for text in wanted if text not in there]
        message = (
            "The conversation lacks items of its responses."
            if lacks
            else ("The items of the conversation differ from those of its responses.")
        )
        yield in_exchange(view, message, "/data", expected=wanted, actual=there, kind="lost" if lacks else "order")


def _can_remember(case: CaseView) -> bool:
    return have_responses(case, Role.TALK_INLINE, Role.TALK_CHAINED)


@check("STA-20", Subject.CASE, needs=_can_remember)
def responses_know_their_conversation(case: CaseView) -> Iterator[Problem | Declined]:
    """A canary is placed in an item of a conversation, and one in a response that belongs to it.

    The next response is requested to repeat both. The same turns are also sent in one request. If the model repeats the
    canaries there, two misses in the conversation are a problem.
    """
    inline = case.get(Role.TALK_INLINE)
    for noun, where in (("quartz", "the items of its conversation"), ("saffron", "an earlier response")):
        word = canary_of(case, noun)
        if not word or not says(inline, word):
            yield cannot_repeat()
        else:
            message = f"A response does not know {where}. In one request the model does."
            yield from forgotten(case, Role.TALK_CHAINED, word, message, noun)


_LISTS: Final = (Role.TALK_LISTED_AFTER, Role.TALK_LISTED, Role.ASCENDING)


def _lists_of_deleted(case: CaseView) -> Iterator[tuple[ExchangeView, str]]:
    """Yield each list of the items of a conversation with the id of each item that was deleted before it."""
    gone: list[str] = []
    for view in case.views:
        if _in_role(view, Role.TALK_ITEM_DELETED) and _object(view) is not None:
            gone.append(_item_id(view))
        elif view.exchange.role in _LISTS and _page(view) is not None:
            yield from ((view, identity) for identity in gone)


def _was_removed(case: CaseView) -> bool:
    pairs = ((Role.TALK_DELETED, Role.TALK_GET_DELETED), (Role.TALK_ITEM_DELETED, Role.TALK_GET_DELETED_ITEM))
    asked = any(_object(case.get(deleted)) is not None and _was_asked(case.get(after)) for deleted, after in pairs)
    return asked or any(True for _ in _lists_of_deleted(case))


@check("STA-21", Subject.CASE, needs=lambda case: _has_conversation(case) and _was_removed(case))
def deleted_conversations_are_gone(case: CaseView) -> Iterator[Problem]:
    """A conversation, and an item of another, are deleted and retrieved again, which must return 404 or 410.

    The deleted item must not be in the list of items.
    """
    for deleted, after, what in (
        (Role.TALK_DELETED, Role.TALK_GET_DELETED, "conversation"),
        (Role.TALK_ITEM_DELETED, Role.TALK_GET_DELETED_ITEM, "item of a conversation"),
    ):
        view, status = case.get(after), status_code(case.get(after))
        if _object(case.get(deleted)) is None or view is None or not _was_asked(view):
            continue
        if status not in (404, 410):
            message = f"Retrieving a deleted {what} returned status {status}."
            yield in_exchange(view, message, expected=404, actual=status, kind=after)
    for view, gone in _lists_of_deleted(case):
        if gone in _ids(_page(view)):
            message = "A deleted item is in the list of items."
            yield in_exchange(view, message, "/data", expected=f"list without {gone}", actual=gone, kind="listed")


def _has_operation(view: ExchangeView) -> bool:
    return _was_asked(view) and status_code(view) not in (405, 501)


_UNKNOWN: Final[Mapping[Role, str]] = {
    Role.TALK_GET_UNKNOWN: "Retrieving",
    Role.TALK_UPDATE_UNKNOWN: "Updating",
    Role.TALK_LIST_UNKNOWN: "Listing the items of",
    Role.TALK_DELETE_UNKNOWN: "Deleting",
}


@check(
    "STA-22",
    Subject.CASE,
    needs=lambda case: _has_conversation(case) and any(map(_has_operation, case.having(*_UNKNOWN))),
)
def unknown_conversations_are_not_found(case: CaseView) -> Iterator[Problem]:
    """Operations are sent for an unknown conversation id in the endpoint's own format. Status 404 and 410 are correct.

    Status 405 and 501 are not tested: the endpoint may lack the operation.
    """
    for role, verb in _UNKNOWN.items():
        view, status = case.get(role), status_code(case.get(role))
        if view is not None and _has_operation(view) and status not in (404, 410):
            message = f"{verb} an unknown conversation returned status {status}."
            yield in_exchange(view, message, expected=404, actual=status, kind=role)


@check("STA-23", Subject.CASE, needs=lambda case: bool(refusable(case, "STA-23")))
def unknown_conversation_is_refused(case: CaseView) -> Iterator[Problem]:
    """A request names a conversation that was created, and one in the same format that does not exist.

    Any 4xx to the second is correct.
    """
    for view in refusable(case, "STA-23"):
        yield from _not_refused(view, "A request with an unknown conversation", "/conversation", "4xx status")


def _compaction(view: ExchangeView | None) -> dict[str, Any] | None:
    """Return the body of a successful compaction, ``None`` without one."""
    return retrieved(view) if view is not None and view.operation == "compact" else None


def _compacted(case: CaseView) -> list[Any]:
    """Return the output of the compaction of a case; empty without one."""
    output = get(_compaction(case.get(Role.COMPACTED)), "output")
    return output if isinstance(output, list) else []


def _resumed(case: CaseView) -> bool:
    """Whether the output of a compaction was sent back, and the whole conversation was accepted."""
    answered = any(is_answer(status_code(view)) for view in case.having(Role.AFTER_COMPACTION))
    return bool(_compacted(case)) and answered and have_responses(case, Role.INLINE)


@check("STA-13", Subject.CASE, needs=_resumed)
def compaction_can_be_sent_back(case: CaseView) -> Iterator[Problem]:
    """A conversation and a stored response are compacted. The output is sent back with a question.

    The endpoint must accept the conversation with the same question in one request.
    """
    for view in case.having(Role.AFTER_COMPACTION):
        status = status_code(view)
        if is_rejected(status):
            yield in_exchange(
                view,
                f"A request with the output of a compaction as input returned status {status}.",
                "/input",
                expected=200,
                actual=status,
                kind=crash_kind(view) if is_broken(status) else "refused",
            )


def _compacts_input(case: CaseView) -> bool:
    """Whether an input was to be compacted that a create request has, too, by an endpoint that has the operation."""
    view = case.get(Role.COMPACTED)
    status = status_code(view)
    sent = view is not None and view.operation == "compact" and set(view.request) == {"model", "input"}
    return sent and is_answer(status) and status not in LACKING and have_responses(case, Role.INLINE)


@check("STA-33", Subject.CASE, needs=_compacts_input)
def input_is_compacted(case: CaseView) -> Iterator[Problem]:
    """A compaction request with `model` and `input` is sent. Status 404, 405 and 501 mean that it is missing.

    The endpoint must accept the same input, with a question, in a create request. HTTP-12 covers server errors.
    """
    view = case.get(Role.COMPACTED)
    status = status_code(view)
    if view is not None and is_refusal(status):
        message = f"A compaction request with model and input returned status {status}."
        yield in_exchange(view, message, "/input", expected=200, actual=status)


def _lacks_model(view: ExchangeView) -> bool:
    """Whether a compaction request without a model was answered, by an endpoint that has the operation."""
    sent = view.exchange.request.json()
    served = view.operation == "compact" and "compact" in view.run_context.operations
    return served and isinstance(sent, dict) and "model" not in sent and is_answer(status_code(view))


@check("STA-24", Subject.EXCHANGE, needs=_lacks_model)
def compaction_needs_a_model(view: ExchangeView) -> Iterator[Problem]:
    """A compaction request is sent without `model`. One with `model` must succeed in the run."""
    if status_code(view) not in (400, 422):
        yield from _misjudged(view, "A compaction request without model", "/model", "status 400 or 422")


def _misjudged(view: ExchangeView, what: str, pointer: str, expected: str) -> Iterator[Problem]:
    status = status_code(view)
    kind = crash_kind(view) if is_broken(status) else "accepted" if status == 200 else "status"
    yield in_exchange(view, f"{what} returned status {status}.", pointer, expected=expected, actual=status, kind=kind)


def _sealed(item: Any) -> bool:
    content = get(item, "encrypted_content")
    return get(item, "type") == "compaction" and isinstance(content, str) and bool(content)


@check("STA-25", Subject.EXCHANGE, needs=lambda view: _compaction(view) is not None)
def compaction_has_its_item(view: ExchangeView) -> Iterator[Problem]:
    """The `output` of every compaction is searched for an item of type "compaction" with content."""
    output = get(_compaction(view), "output")
    items = output if isinstance(output, list) else []
    if not any(map(_sealed, items)):
        yield in_exchange(
            view,
            "The output of a compaction has no compaction item with encrypted_content.",
            "/output",
            expected="item of type compaction with encrypted_content",
            actual=[get(item, "type") for item in items] or output,
        )


def _user_texts(items: list[Any]) -> list[str]:
    return [_texts(item) for item in items if get(item, "role") == "user" and _texts(item)]


def _compacted_input(case: CaseView) -> list[str]:
    """Return the texts of the user messages that a compaction had: its own, after those of the response it names."""
    (view,) = case.having(Role.COMPACTED)
    first = case.get(Role.FIRST) if view.request.get("previous_response_id") else None
    return [text for one in (first, view) for text in _user_texts(_spoken_items(one))]


@check("STA-26", Subject.CASE, needs=lambda case: any(map(_sealed, _compacted(case))))
def compaction_keeps_user_messages(case: CaseView) -> Iterator[Problem]:
    """The `output` of a compaction is compared with the user messages that were compacted.

    If it names a response by `previous_response_id`, the user messages of that come first.
    """
    (view,) = case.having(Role.COMPACTED)
    output, expected = _compacted(case), _compacted_input(case)
    kept = _user_texts(output)
    if kept != expected:
        message = "The output of a compaction does not have the user messages of the conversation."
        yield in_exchange(view, message, "/output", expected=expected, actual=kept, kind="messages")
    elif not _sealed(output[-1]) or sum(map(_sealed, output)) > 1:
        yield in_exchange(
            view,
            "The output of a compaction does not end with one compaction item.",
            "/output",
            expected=[*["message"] * len(kept), "compaction"],
            actual=[get(item, "type") for item in output],
            kind="order",
        )


@check("STA-27", Subject.CASE, needs=lambda case: _resumed(case) and have_responses(case, Role.AFTER_COMPACTION))
def compacted_turns_are_known(case: CaseView) -> Iterator[Problem | Declined]:
    """A canary is placed in a user message, which is compacted. A request with the output asks the model to repeat it.

    The conversation is also sent in one request. If the model repeats the canary there, two misses are a problem.
    """
    word = canary_of(case, "quartz") or canary_of(case, "saffron")
    if not word or not says(case.get(Role.INLINE), word):
        yield cannot_repeat()
        return
    message = "The model does not know the user messages that were compacted. Without compaction it does."
    yield from forgotten(case, Role.AFTER_COMPACTION, word, message)


@check("STA-32", Subject.CASE, needs=lambda case: _resumed(case) and have_responses(case, Role.AFTER_COMPACTION))
def compacted_items_are_known(case: CaseView) -> Iterator[Problem | Declined]:
    """As STA-27, with a canary in an assistant message, which the compaction item replaces."""
    word = canary_of(case, "cobalt")
    if not word or not says(case.get(Role.INLINE), word):
        yield cannot_repeat()
        return
    message = "The model does not know what the compaction item replaces. Without compaction it does."
    yield from forgotten(case, Role.AFTER_COMPACTION, word, message)


def _compacts_by_id(case: CaseView) -> bool:
    view = case.get(Role.UNKNOWN)
    return bool(_compacted(case)) and view is not None and view.operation == "compact" and is_answer(status_code(view))


@check("STA-06", Subject.CASE, needs=_compacts_by_id)
def unknown_previous_is_not_compacted(case: CaseView) -> Iterator[Problem]:
    """A response is compacted by its id, and by an unknown `previous_response_id` in the endpoint's own format."""
    (view,) = case.having(Role.UNKNOWN)
    yield from _not_refused(view, "Compacting an unknown response", "/previous_response_id", "4xx status")


def _takes_references(case: CaseView) -> bool:
    unknown = any(must_refuse("STA-28")(view) for view in case.having(Role.UNKNOWN))
    return unknown and have_responses(case, Role.REFERENCED)


@check("STA-28", Subject.CASE, needs=_takes_references)
def unknown_references_are_refused(case: CaseView) -> Iterator[Problem]:
    """An `item_reference` is sent with the id of a stored item, and with an unknown id in the endpoint's own format.

    The endpoint must accept the first. Any 4xx to the second is correct.
    """
    (view,) = case.having(Role.UNKNOWN)
    yield from _not_refused(view, "Referring to an unknown item", "/input/0/id", "4xx status")


def _including(case: CaseView) -> Iterator[ExchangeView]:
    """Yield the requests with include for what the same case got without."""
    for control, prefix in ((Role.GET, Role.GET_INCLUDING), (Role.LISTED, Role.LISTED_INCLUDING)):
        if retrieved(case.get(control)) is not None:
            roles = [view.exchange.role for view in case.views if view.exchange.role.startswith(f"{prefix}-")]
            yield from (view for view in case.having(*roles) if is_answer(status_code(view)))


@check("STA-29", Subject.CASE, needs=lambda case: any(True for _ in _including(case)))
def include_is_accepted(case: CaseView) -> Iterator[Problem]:
    """A response is retrieved and its input listed without and with each value of `include`."""
    for view in _including(case):
        status = status_code(view)
        if is_rejected(status):
            value = view.exchange.request.path.rpartition("=")[2]
            what = "Listing input items" if view.operation == "input_items" else "Retrieving a response"
            yield in_exchange(
                view,
                f"{what} with include {value} returned status {status}.",
                expected=200,
                actual=status,
                kind=crash_kind(view) if is_broken(status) else value,
            )


def _reasoning(body: Any) -> list[Any]:
    """Return the encrypted content of the reasoning items of a response object."""
    return [get(item, "encrypted_content") for item in _objects(get(body, "output")) if item.get("type") == "reasoning"]


def _logprobs(body: Any) -> list[Any]:
    """Return the logprobs of the text parts of a response object."""
    parts = [part for item in _objects(get(body, "output")) for part in _objects(item.get("content"))]
    return [get(part, "logprobs") for part in parts if part.get("type") == "output_text" and part.get("text")]


def _images(body: Any) -> list[Any]:
    """Return what identifies the images in a list of input items."""
    parts = [part for item in _objects(get(body, "data")) for part in _objects(item.get("content"))]
    return [part.get("image_url") or part.get("file_id") for part in parts if part.get("type") == "input_image"]


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


_INCLUDED: Final[Mapping[str, tuple[str, Callable[[Any], list[Any]]]]] = {
    Role.GET_ENCRYPTED: ("encrypted", _reasoning),
    Role.GET_LOGPROBS: ("logprobs", _logprobs),
    Role.LISTED_IMAGE: ("image", _images),
}
"""The first request with include, the role of the one that made the response, and the fields to be included."""


def _has_fields(case: CaseView, role: str) -> bool:
    """Whether what was created has the fields, and both requests for them were answered."""
    of, fields = _INCLUDED[role]
    body = response_of(case.get(of))
    answered = all(retrieved(case.get(one)) is not None for one in (role, role_of(role, Role.AGAIN)))
    return answered and body is not None and (role == Role.LISTED_IMAGE or any(map(_is_filled, fields(body))))


def _is_filled(value: Any) -> bool:
    return value is not ABSENT and bool(value)


@check("STA-30", Subject.CASE, needs=lambda case: any(_has_fields(case, role) for role in _INCLUDED))
def included_fields_are_there(case: CaseView) -> Iterator[Problem]:
    """Responses with encrypted reasoning and logprobs are retrieved with `include`, and input with an image is listed.

    `include` is sent in the form of openai-python (`include[]=`) and in that of the OpenAPI document. One must have an
    effect. A response must have had the field when it was created.
    """
    for role in _INCLUDED:
        if not _has_fields(case, role):
            continue
        fields = _INCLUDED[role][1]
        views = case.having(role, role_of(role, Role.AGAIN))
        if not any(all(map(_is_filled, found)) and found for view in views for found in [fields(retrieved(view))]):
            value = views[0].exchange.request.path.rpartition("=")[2]
            yield in_exchange(
                views[0],
                f"The field that include {value} names is missing.",
                "/data" if role == Role.LISTED_IMAGE else "/output",
                expected="present",
                actual=next(iter(fields(retrieved(views[0]))), ABSENT),
                kind=value,
            )


def _listing(case: CaseView) -> tuple[ExchangeView, list[tuple[dict[str, Any], dict[str, Any]]]] | None:
    """Return the list of the input items of a response, and each item as it was sent and as it is listed.

    ``None`` without a list that has one item for each that was sent.
    """
    first, view = case.get(Role.FIRST), case.get(Role.ASCENDING)
    page = _page(view)
    sent, listed = _objects(_items(first)), _objects(get(page, "data"))
    if view is None or response_of(first) is None or not sent or len(sent) != len(listed):
        return None
    return view, list(zip(sent, listed, strict=True))


_REPLACED: Final = ("id", "status")
"""Fields of items that an endpoint may set itself."""
_ON_DEMAND: Final = ("image_url", "file_id", "file_data", "results", "outputs", "logprobs", "encrypted_content")
"""Fields that an endpoint may leave out unless ``include`` names them."""


def _lost(sent: Any, listed: Any, pointer: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield pointer, sent and listed value of what differs; what was only added does not, nor null that is absent."""
    if isinstance(sent, dict) and isinstance(listed, dict):
        for name, value in sent.items():
            if name not in _ON_DEMAND and not (value in (None, []) and listed.get(name) in (None, [])):
                yield from _lost(value, listed.get(name, ABSENT), f"{pointer}/{name}")
    elif isinstance(sent, list) and isinstance(listed, list) and len(sent) == len(listed):
        for place, (one, other) in enumerate(zip(sent, listed, strict=True)):
            yield from _lost(one, other, f"{pointer}/{place}")
    elif isinstance(sent, str) and isinstance(listed, list) and len(listed) == 1:
        yield from _lost(sent, get(listed[0], "text"), pointer)
    elif sent != listed:
        yield pointer, sent, listed


@check("STA-31", Subject.CASE, needs=lambda case: _listing(case) is not None)
def listed_items_are_whole(case: CaseView) -> Iterator[Problem]:
    """Each field of an input item is compared with that of the listed item, except `id`, `status` and what `include`
    adds. Fields that the dialect lacks for the type of the item are not compared.
    """
    found = _listing(case)
    assert found is not None
    view, pairs = found
    for place, (sent, listed) in enumerate(pairs):
        known = view.dialect.without_unknown_fields({"type": "message", **sent} if "role" in sent else sent)
        for name in [name for name in sent if name in known and name not in _REPLACED]:
            for pointer, before, after in _lost(sent[name], listed.get(name, ABSENT), f"/{name}"):
                kind = "".join(f"/{part}" for part in pointer.split("/")[1:] if not part.isdigit())
                message = f"The listed item {is_what(after)} at {pointer}, which the request sets."
                yield in_exchange(view, message, f"/data/{place}{pointer}", expected=before, actual=after, kind=kind)


def _overflowing(case: CaseView) -> list[ExchangeView]:
    """Return the answered requests with more words than the context has tokens."""
    views = case.having(Role.OVERFLOWING, role_of(Role.OVERFLOWING, Role.AGAIN))
    return [view for view in views if is_answer(status_code(view))]


def _words(view: ExchangeView) -> int:
    return len(str(get(view.request, "input", 0, "content")).split())


@check("STA-12", Subject.CASE, needs=lambda case: bool(_overflowing(case)) and have_responses(case, Role.CONTROL))
def overflow_is_refused(case: CaseView) -> Iterator[Problem | Declined]:
    """Sends a quarter of the context that `GET /v1/models` lists, and more than it has, with `truncation` "disabled".

    Any 4xx to the second is correct, and a response that fails. Where each word of the first has at least one token, a
    response with fewer `input_tokens` than words was cut; two such responses are a problem. Tested if the endpoint
    lists a context of at most 40,000 tokens.
    """
    (control,) = case.having(Role.CONTROL)
    base = input_tokens(control)
    if base is None or base < _words(control):
        yield Declined("input_tokens does not count each word, so it does not show whether an input was cut.")
        return
    cut = []
    for view in _overflowing(case):
        response, words, count = response_of(view), _words(view), input_tokens(view)
        if response is None or state(response) == "failed":
            return
        if count is None:
            yield Declined("The response has no input_tokens, so it does not show whether the input was cut.")
            return
        if count >= words:
            return
        cut.append((view, count, words))
    if len(cut) > 1:
        view, count, words = cut[-1]
        message = f'An input of {words} words was cut to {count} tokens, although truncation is "disabled".'
        yield in_exchange(
            view, message, "/usage/input_tokens", expected=f"4xx status or at least {words}", actual=count
        )
