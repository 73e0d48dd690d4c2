"""State: what is stored can be retrieved, deleted, listed and continued, and nothing else can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.conformance.judging.problems import get
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.judging.turns import (
    LACKING,
    RUNNING,
    TERMINAL,
    canary_of,
    cannot_repeat,
    is_broken,
    is_refusal,
    response_of,
    retrieved,
    says,
    state,
    status_code,
)
from rejoinder.model.tags import sent_for
from rejoinder.model.verdict import ABSENT, Problem


def _at(view: ExchangeView, message: str, pointer: str = "", **details: Any) -> Problem:
    return Problem(message, pointer=pointer, exchange=view.exchange.id, **details)


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
    views = [view for role in (Role.GET, Role.GET_STREAMED) if (view := case.get(role)) is not None]
    odd = any(_was_asked(view) and not _is_lacking(view) for view in views)
    return response_of(case.get(Role.FIRST)) is not None and (odd or _can_retrieve(case))


def _is_lacking(view: ExchangeView) -> bool:
    return status_code(view) in (400, *LACKING)


@check("STA-01", Subject.CASE, needs=_has_retrieve)
def stored_can_be_retrieved(case: CaseView) -> Iterator[Problem]:
    """Responses are retrieved by their id right after their end: plain, streamed, and with store false.

    An endpoint on which no retrieve of the case succeeds, and every one is a clean refusal, has no retrieve. A
    response that says itself that it is not stored need not be there.
    """
    for sent_as, fetched_as in ((Role.FIRST, Role.GET), (Role.STREAMED, Role.GET_STREAMED)):
        response, view = response_of(case.get(sent_as)), case.get(fetched_as)
        if response is None or view is None or not _was_asked(view) or get(response, "store") is False:
            continue
        status = status_code(view)
        if status == 200 and retrieved(view) is None:
            yield _at(
                view,
                "A retrieve was answered with something else than a JSON object.",
                actual=view.exchange.body[:200],
                kind="body",
            )
        elif status != 200 and (not _is_lacking(view) or _can_retrieve(case)):
            yield _at(
                view,
                f"A stored response cannot be retrieved: status {status}.",
                expected=200,
                actual=status,
                kind=fetched_as,
            )
    unstored = case.get(Role.GET_UNSTORED)
    if retrieved(unstored) is not None and unstored is not None:
        yield _at(
            unstored,
            "A response that was not to be stored can be retrieved.",
            expected=404,
            actual=200,
            kind="unstored",
        )


@check("STA-02", Subject.CASE, needs=lambda case: case.get(Role.GET_UNKNOWN) is not None and _can_retrieve(case))
def unknown_is_not_found(case: CaseView) -> Iterator[Problem]:
    """Retrieve, delete and cancel are asked for an id of the endpoint's form that it never gave out.

    Each must answer 404 with an error object. Delete and cancel may also be answered as operations that are not there.
    """
    for role, may_lack in ((Role.GET_UNKNOWN, False), (Role.DELETE_UNKNOWN, True), (Role.CANCEL_UNKNOWN, True)):
        view = case.get(role)
        status = status_code(view)
        if view is None or not _was_asked(view) or (may_lack and status in (405, 501)):
            continue
        if status not in (404, 410):
            yield _at(
                view,
                f"{_verb(role)} of an unknown response is answered with status {status}.",
                expected=404,
                actual=status,
                kind=role,
            )
        elif not isinstance(get(view.exchange.json(), "error"), dict) and not may_lack:
            yield _at(
                view,
                f"{_verb(role)} of an unknown response has no error object.",
                pointer="/error",
                expected="an object",
                actual=view.exchange.body[:200],
                kind=f"{role} body",
            )


def _verb(role: str) -> str:
    return {"get": "A retrieve", "delete": "A delete", "cancel": "A cancel"}[role.partition("-")[0]]


def _was_deleted(case: CaseView) -> bool:
    deleted = case.get(Role.DELETE)
    return retrieved(case.get(Role.GET)) is not None and deleted is not None and deleted.exchange.ok


@check("STA-03", Subject.CASE, needs=lambda case: _was_deleted(case) and _was_asked(case.get(Role.GET_DELETED)))
def deleted_is_gone(case: CaseView) -> Iterator[Problem]:
    """A response that could be retrieved is deleted and retrieved again, which must give 404."""
    view = case.get(Role.GET_DELETED)
    assert view is not None
    if status_code(view) not in (404, 410):
        yield _at(
            view,
            f"A deleted response is still answered for, with status {status_code(view)}.",
            expected=404,
            actual=status_code(view),
        )


def _repeats(case: CaseView) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return retrieves of one finished response that followed one another."""
    views = [view for role in (Role.GET, Role.GET_AGAIN, Role.GET_AFTER) if (view := case.get(role)) is not None]
    finished = [view for view in views if state(retrieved(view)) in TERMINAL]
    return list(pairwise(finished))


@check("STA-04", Subject.CASE, needs=lambda case: bool(_repeats(case)))
def retrieve_is_repeatable(case: CaseView) -> Iterator[Problem]:
    """A finished response is retrieved more than once; the bodies are compared as JSON."""
    for once, again in _repeats(case):
        difference = first_difference(retrieved(once), retrieved(again))
        if difference:
            pointer, expected, actual = difference
            yield _at(
                again, "A finished response changed between two retrieves.", pointer, expected=expected, actual=actual
            )


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
    """The input items of a response are listed by default, ascending, and in two pages.

    Each page must be a list with data, has_more, first_id and last_id that fit; the default order is descending; the
    pages hold each item once, and the items are those of the request.
    """
    for role in (Role.LISTED, Role.ASCENDING, Role.PAGE, Role.PAGE_AFTER):
        view, page = case.get(role), _page(case.get(role))
        if view is not None and page is not None:
            yield from _page_problems(view, page)
    whole, upwards = _ids(_page(case.get(Role.LISTED))), _ids(_page(case.get(Role.ASCENDING)))
    view = case.get(Role.LISTED)
    if view is not None and len(upwards) > 1 and whole != upwards[::-1]:
        yield _at(
            view,
            "Input items are not listed in descending order by default.",
            "/data",
            expected=upwards[::-1],
            actual=whole,
            kind="order",
        )
    spoken = _spoken(case.get(Role.FIRST))
    there = [_texts(item) for item in get(_page(case.get(Role.ASCENDING)), "data") or ()] if upwards else []
    view = case.get(Role.ASCENDING)
    if view is not None and upwards and [text for text in there if text] != spoken:
        yield _at(
            view,
            "The input items of a response are not its input.",
            "/data",
            expected=spoken,
            actual=there,
            kind="content",
        )
    roles = (Role.PAGE, Role.PAGE_AFTER, Role.PAGE_LAST)
    pages = [(view, page) for role in roles if (view := case.get(role)) and (page := _page(view)) is not None]
    if not pages or len(upwards) < 3:
        return
    view, last = pages[-1]
    if any(len(_ids(page)) > 2 for _, page in pages):
        yield _at(view, "A page holds more items than limit allows.", "/data", expected=2, actual=len(_ids(last)))
    elif pages[0][1].get("has_more") is not True:
        yield _at(
            pages[0][0],
            "A page does not say that there are more items.",
            "/has_more",
            expected=True,
            actual=pages[0][1].get("has_more", ABSENT),
            kind="more",
        )
    elif not last.get("has_more") or len(pages) == len(roles):
        joined = [identity for _, page in pages for identity in _ids(page)]
        if joined != upwards[: len(joined)] or (len(joined) < len(upwards) and not last.get("has_more")):
            yield _at(
                view,
                "The pages of the input items have gaps or repeats.",
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
        yield _at(
            view,
            "A page of input items is no list object with data.",
            "/data" if not isinstance(data, list) else "/object",
            expected='{"object": "list", "data": [...]}',
            actual=page,
            kind="form",
        )
        return
    if type(page.get("has_more")) is not bool:
        yield _at(
            view,
            "A page of input items does not say whether there are more.",
            "/has_more",
            expected="true or false",
            actual=page.get("has_more", ABSENT),
            kind="has_more",
        )
    ids = _ids(page)
    for name, expected in (("first_id", ids[0]), ("last_id", ids[-1])) if ids else ():
        if page.get(name) != expected:
            yield _at(
                view,
                f"{name} is not the id of that item.",
                f"/{name}",
                expected=expected,
                actual=page.get(name, ABSENT),
            )


def _must_refuse(rule: str) -> Callable[[ExchangeView], bool]:
    def needs(view: ExchangeView) -> bool:
        status = status_code(view)
        return sent_for(rule) in view.exchange.tags and (status == 200 or is_refusal(status) or is_broken(status))

    return needs


def _not_refused(view: ExchangeView, what: str, pointer: str, expected: str) -> Iterator[Problem]:
    status = status_code(view)
    if not is_refusal(status):
        yield _at(
            view,
            f"{what} is answered with status {status}.",
            pointer,
            expected=expected,
            actual=status,
            kind="5xx" if is_broken(status) else "accepted",
        )


@check("STA-06", Subject.CREATE, needs=_must_refuse("STA-06"))
def unknown_previous_is_refused(view: ExchangeView) -> Iterator[Problem]:
    """A request names a previous_response_id that was never given out; any 4xx is right."""
    yield from _not_refused(
        view, "A request that continues an unknown response", "/previous_response_id", "404, or another 4xx status"
    )


@check("STA-07", Subject.CREATE, needs=_must_refuse("STA-07"))
def one_history_at_a_time(view: ExchangeView) -> Iterator[Problem]:
    """A request names a response that was stored and a conversation at once; any 4xx is right."""
    yield from _not_refused(
        view, "A request with previous_response_id and conversation", "/conversation", "400, or another 4xx status"
    )


def _remembers(case: CaseView) -> bool:
    return response_of(case.get(Role.INLINE)) is not None and response_of(case.get(Role.CHAINED)) is not None


@check("STA-08", Subject.CASE, needs=_remembers)
def continued_turns_remember(case: CaseView) -> Iterator[Problem | Declined]:
    """A word is planted in one turn, and asked for in turns that continue it by previous_response_id.

    The same conversation is also sent in one request: only a word that comes back from there can be missed in the
    others, and only when it is missing twice. Two words must come back in the order of the turns.
    """
    first, second = canary_of(case, "quartz"), canary_of(case, "saffron")
    if not first or not says(case.get(Role.INLINE), first):
        yield cannot_repeat()
        return
    for role in (Role.CHAINED, Role.THIRD):
        once, again = case.get(role), case.get(role_of(role, Role.AGAIN))
        if response_of(again) is not None and again is not None and not says(once, first) and not says(again, first):
            yield _at(
                again,
                "A turn that continues others does not know what was said in them; in one request the model does.",
                "/output",
                expected=first,
                actual=again.text(),
                kind="lost",
            )
    chained = case.get(Role.CHAINED)
    if chained is None or not second or not _in_order(case.get(Role.INLINE), first, second):
        return
    if says(chained, first) and says(chained, second) and not _in_order(chained, first, second):
        yield _at(
            chained,
            "A continued turn gives what was said in another order than it was said.",
            "/output",
            expected=f"{first}, {second}",
            actual=chained.text(),
            kind="order",
        )


def _in_order(view: ExchangeView | None, first: str, second: str) -> bool:
    text = "" if view is None else view.text()
    return 0 <= text.find(first) < text.find(second)


@check(
    "STA-09",
    Subject.CASE,
    needs=lambda case: (
        response_of(case.get(Role.SIBLING)) is not None and response_of(case.get(Role.CHILD)) is not None
    ),
)
def siblings_are_strangers(case: CaseView) -> Iterator[Problem | Declined]:
    """Two responses continue one; a word that the first was told must not come back from the second.

    Where it does not come back from the first one's own continuation either, nothing is shown.
    """
    word, sibling = canary_of(case, "quartz"), case.get(Role.SIBLING)
    assert sibling is not None
    if word and says(sibling, word):
        yield _at(
            sibling,
            "A response knows what was said in another one that continues the same response.",
            "/output",
            expected=f"no {word}",
            actual=sibling.text(),
        )
    elif not says(case.get(Role.GRANDCHILD), word):
        yield Declined("The model did not repeat the word in the turn after it was told.")


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


@check("STA-10", Subject.CASE, needs=lambda case: _unfinished(case) is not None)
def unfinished_is_not_continued(case: CaseView) -> Iterator[Problem]:
    """A request continues a response that was cancelled, that failed, or that was still running after the request."""
    view = _unfinished(case)
    assert view is not None
    status = status_code(view)
    if status == 200 or is_broken(status):
        yield _at(
            view,
            f"A request that continues an unfinished response is answered with status {status}.",
            "/previous_response_id",
            expected="a 4xx status",
            actual=status,
            kind="5xx" if status >= 500 else view.exchange.role,
        )


def _two_tenants(case: CaseView) -> bool:
    return response_of(case.get(Role.THEIRS)) is not None and response_of(case.get(Role.FIRST)) is not None


@check("STA-11", Subject.CASE, needs=_two_tenants)
def tenants_are_strangers(case: CaseView) -> Iterator[Problem]:
    """With a second tenant's key the first one's responses are retrieved, listed, continued, cancelled and deleted.

    Each must be refused, and what cancel and delete were asked for must not have happened. On an endpoint that takes
    any previous_response_id, known or not, continuing proves nothing.
    """
    for role, what in ((Role.THEIR_GET, "retrieve"), (Role.THEIR_LISTING, "list the input items of")):
        view = case.get(role)
        if view is not None and retrieved(view) is not None:
            yield _stranger(view, what)
    continued = case.get(Role.THEIR_CONTINUED)
    if (
        continued is not None
        and response_of(continued) is not None
        and is_refusal(status_code(case.get(Role.THEIR_UNKNOWN)))
    ):
        yield _stranger(continued, "continue")
    cancel, story = case.get(Role.THEIR_CANCEL), retrieved(case.get(Role.GET_STORY))
    if cancel is not None and (retrieved(cancel) is not None or state(story) == "cancelled"):
        yield _stranger(cancel, "cancel")
    delete = case.get(Role.THEIR_DELETE)
    was_there = retrieved(case.get(Role.GET)) is not None
    if delete is not None and was_there and status_code(case.get(Role.GET_AFTER)) in (404, 410):
        yield _stranger(delete, "delete")
    for role in (Role.THEIR_GET, Role.THEIR_LISTING, Role.THEIR_CONTINUED, Role.THEIR_CANCEL, Role.THEIR_DELETE):
        view = case.get(role)
        if view is not None and is_broken(status_code(view)):
            yield _at(
                view,
                f"A request for another tenant's response is answered with status {status_code(view)}.",
                expected="404, or another 4xx status",
                actual=status_code(view),
                kind=f"{role} 5xx",
            )


def _stranger(view: ExchangeView, what: str) -> Problem:
    return _at(
        view,
        f"A tenant can {what} a response of another.",
        expected="404, or another 4xx status",
        actual=status_code(view),
        kind=view.exchange.role,
    )


@check(
    "STA-14",
    Subject.CASE,
    needs=lambda case: (
        is_refusal(status_code(case.get(Role.UNKNOWN))) and response_of(case.get(Role.UNSTORED)) is not None
    ),
)
def unstored_is_not_continued(case: CaseView) -> Iterator[Problem]:
    """On an endpoint that refuses unknown responses, one made with store false is continued; a 4xx is right."""
    view = case.get(Role.NEXT_UNSTORED)
    status = status_code(view)
    if view is not None and (status == 200 or is_broken(status)):
        yield _at(
            view,
            f"A request that continues a response which was not stored is answered with status {status}.",
            "/previous_response_id",
            expected="404, or another 4xx status",
            actual=status,
            kind="5xx" if is_broken(status) else "accepted",
        )


_SORTS = {
    Role.PLAIN: "that was not streamed",
    Role.STREAMED: "that was streamed",
    Role.CUT: "that was cut short",
    Role.CALLED: "that made a call",
}


def _continues(case: CaseView) -> bool:
    """Whether the endpoint was seen to continue some response."""
    return any(
        response_of(case.get(role_of(when, sort))) is not None for sort in _SORTS for when in (Role.NEXT, Role.LATE)
    )


@check("STA-15", Subject.CASE, needs=_continues)
def finished_is_continued_at_once(case: CaseView) -> Iterator[Problem]:
    """Responses are continued right after their end was told: plain, streamed, cut short, with calls that are answered.

    What is refused is tried again after two seconds. A response is also continued after a turn that failed.
    """
    for sort, which in _SORTS.items():
        view, late = case.get(role_of(Role.NEXT, sort)), case.get(role_of(Role.LATE, sort))
        status = status_code(view)
        if view is None or not (is_refusal(status) or is_broken(status)):
            continue
        too_early = response_of(late) is not None
        yield _at(
            view,
            f"A response {which} cannot be continued {'at once; later it can' if too_early else 'though others can'}.",
            "/previous_response_id",
            expected=200,
            actual=status,
            kind="early" if too_early else sort,
        )
    view = case.get(Role.NEXT_PLAIN_AGAIN)
    if view is not None and (is_refusal(status_code(view)) or is_broken(status_code(view))):
        yield _at(
            view,
            "A response cannot be continued any more after a turn that continued it failed.",
            "/previous_response_id",
            expected=200,
            actual=status_code(view),
            kind="spoilt",
        )
