"""Stored responses: only they can be retrieved, deleted, listed and continued."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

from rejoinder.conformance.judging.controls import takes_lists
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import differing, get, in_exchange
from rejoinder.conformance.judging.recall import text_with, text_without
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import (
    LACKING,
    RUNNING,
    TERMINAL,
    canary_of,
    cannot_repeat,
    crash_kind,
    have_responses,
    is_broken,
    is_refusal,
    is_rejected,
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
    return view.exchange.request.method == "GET" and not view.exchange.request.path.partition("?")[2]


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
    for view in case.having(Role.LISTED, Role.ASCENDING, Role.PAGE, Role.PAGE_AFTER):
        page = _page(view)
        if page is not None:
            yield from _page_problems(view, page)
    whole, upwards = _ids(_page(case.get(Role.LISTED))), _ids(_page(case.get(Role.ASCENDING)))
    (view,) = case.having(Role.LISTED)
    if len(upwards) > 1 and whole != upwards[::-1]:
        yield in_exchange(
            view,
            "Input items are not in descending order by default.",
            "/data",
            expected=upwards[::-1],
            actual=whole,
            kind="order",
        )
    spoken = _spoken(case.get(Role.FIRST))
    there = [_texts(item) for item in get(_page(case.get(Role.ASCENDING)), "data") or ()] if upwards else []
    if upwards and [text for text in there if text] != spoken:
        (view,) = case.having(Role.ASCENDING)
        message = "The input items differ from the request's input."
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
                "The pages of input items have gaps or repeats.",
                "/data",
                expected=upwards,
                actual=joined,
                kind="gap",
            )


def _items(view: ExchangeView | None) -> list[Any]:
    found = get(view.request, "input") if view is not None else None
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
    given = get(view.request, "input") if view is not None else None
    texts = [given] if isinstance(given, str) else [_texts(item) for item in _items(view)]
    return [text for text in texts if text]


def _page_problems(view: ExchangeView, page: dict[str, Any]) -> Iterator[Problem]:
    data = page.get("data", ABSENT)
    if not isinstance(data, list) or page.get("object") != "list":
        yield in_exchange(
            view,
            "A page of input items is not a list object with data.",
            "/data" if not isinstance(data, list) else "/object",
            expected='object "list" with array data',
            actual=page,
            kind="form",
        )
        return
    if type(page.get("has_more")) is not bool:
        yield in_exchange(
            view,
            "has_more of a page of input items is not a boolean.",
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
    """A stored response is continued without and with a `conversation`. Any 4xx to the second is correct.

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
        once, again = case.get(role), case.get(role_of(role, Role.AGAIN))
        if response_of(again) is not None and again is not None and not says(once, first) and not says(again, first):
            yield in_exchange(
                again,
                "A continued turn does not know the earlier turns. In one request the model does.",
                "/output",
                expected=text_with(first),
                actual=again.text(),
                kind="lost",
            )
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

    Each must be refused, and cancel and delete must have no effect. Continuing is not tested at an endpoint that
    accepts unknown values of `previous_response_id`.
    """
    was_cancelled = state(retrieved(case.get(Role.GET_STORY))) == "cancelled"
    was_there = retrieved(case.get(Role.GET)) is not None
    takes_unknown = not is_refusal(status_code(case.get(Role.THEIR_UNKNOWN)))
    succeeded: Mapping[str, tuple[str, Callable[[ExchangeView], bool]]] = {
        Role.THEIR_GET: ("retrieve", lambda view: retrieved(view) is not None),
        Role.THEIR_LISTING: ("list the input items of", lambda view: retrieved(view) is not None),
        Role.THEIR_CONTINUED: ("continue", lambda view: response_of(view) is not None and not takes_unknown),
        Role.THEIR_CANCEL: ("cancel", lambda view: retrieved(view) is not None or was_cancelled),
        Role.THEIR_DELETE: ("delete", lambda _: was_there and status_code(case.get(Role.GET_AFTER)) in (404, 410)),
    }
    views = case.having(*succeeded)
    for view in views:
        what, has_succeeded = succeeded[view.exchange.role]
        if has_succeeded(view):
            yield _stranger(view, f"A tenant can {what} another tenant's response.", view.exchange.role)
    for view in views:
        if is_broken(status_code(view)):
            message = f"A request for another tenant's response returned status {status_code(view)}."
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
