"""Parameters of sampling, caching and naming: what a client can see of their effect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import differing, get, in_exchange, in_response, is_integer
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import (
    are_alike,
    have_responses,
    is_answer,
    is_broken,
    response_of,
    retrieved,
    status_code,
    texts_of,
)
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import ABSENT, Problem

_SALTED: Final = (Role.SALTED, Role.SALTED_OTHERWISE)
# The marks of common chat templates.
_END_MARK: Final = re.compile(
    r"(?:<\|(?:im_end|eot_id|eom_id|end|endoftext|end_of_text|return|call|END_OF_TURN_TOKEN)\|>"
    r"|<end_of_turn>|<｜end▁of▁sentence｜>|</s>)\s*\Z"
)


def _was_taken(case: CaseView) -> bool:
    return any(Tag.TAKEN in view.exchange.tags and is_answer(status_code(view)) for view in case.having(Role.SECOND))


@check("PAR-01", Subject.CASE, needs=_was_taken)
def a_taken_request_id_is_not_given_again(case: CaseView) -> Iterator[Problem]:
    """A second request has the request_id of a response; its answer and the response before and after are looked at."""
    (second,) = case.having(Role.SECOND)
    status, name = status_code(second), second.request.get("request_id")
    if is_broken(status) or get(second.response, "id") == name:
        yield in_exchange(
            second,
            f"A request_id that is taken is answered with status {status}."
            if is_broken(status)
            else "A second response has the id of an earlier one.",
            "/id",
            expected="a 4xx, or another id",
            actual=status if is_broken(status) else name,
            kind="5xx" if is_broken(status) else "given",
        )
    before = retrieved(case.get(Role.GET))
    for view in case.having(Role.GET_AFTER):
        after = retrieved(view)
        if before is not None and after is not None:
            message = "A response was overwritten by a request with its id."
            yield from differing(in_exchange, view, message, before, after, kind="overwritten")


def _cached(view: ExchangeView | None) -> int:
    count = get(response_of(view), "usage", "input_tokens_details", "cached_tokens")
    return count if is_integer(count) else 0


@check(
    "PAR-02", Subject.CASE, needs=lambda case: have_responses(case, Role.SALTED) and _cached(case.get(Role.AGAIN)) > 0
)
def a_fresh_salt_finds_nothing(case: CaseView) -> Iterator[Problem]:
    """A long prompt is sent twice without a cache_salt and then with two new ones, which may have no cached tokens.

    Only an endpoint that counts cached tokens the second time can show the rule.
    """
    for view in case.having(*_SALTED):
        if _cached(view) > 0:
            yield in_response(
                view,
                "A request with a new cache_salt has cached input tokens.",
                "/usage/input_tokens_details/cached_tokens",
                expected=0,
                actual=_cached(view),
            )


@check("PAR-03", Subject.CASE, needs=lambda case: bool(texts_of(case, *_SALTED)))
def salts_change_no_answer(case: CaseView) -> Iterator[Problem | Declined]:
    """A prompt at temperature 0 is sent twice without a cache_salt and with two; both of these must not differ.

    Where the two without differ, or are cut to nothing, nothing is shown.
    """
    if not are_alike(case, Role.ONCE, Role.AGAIN):
        yield Declined("The model gave other answers at temperature 0, or none.")
        return
    [plain, *_], salted = texts_of(case, Role.ONCE), texts_of(case, *_SALTED)
    view = case.get(_SALTED[0])
    if len(salted) == len(_SALTED) and plain not in salted and view is not None:
        yield in_response(
            view,
            "The answer is another one with a cache_salt.",
            "/output",
            expected=plain,
            actual=salted[0],
        )


def _ends(view: ExchangeView) -> bool:
    """Whether the response has a text of its own request: those that continue others may repeat what stood there."""
    skips = view.request.get("skip_special_tokens") is not False
    return skips and not view.request.get("previous_response_id") and bool(view.text())


@check("PAR-04", Subject.RESPONSE, needs=_ends)
def texts_end_without_marks(view: ExchangeView) -> Iterator[Problem]:
    """The end of each text is compared with the end marks of common models; one that the request holds is left out."""
    sent = view.exchange.request.body.decode("utf-8", "replace")
    for pointer, part in view.text_parts():
        text = part.get("text")
        found = _END_MARK.search(text[-100:]) if isinstance(text, str) else None
        if found is not None and found.group().strip() not in sent:
            yield in_response(
                view,
                "A text ends with the mark by which the model ends its turn.",
                f"{pointer}/text",
                expected="no end mark",
                actual=found.group(),
            )


@check(
    "PAR-05",
    Subject.RESPONSE,
    needs=lambda view: view.request.get("enable_response_messages") is True and not view.request.get("background"),
)
def asked_messages_are_there(view: ExchangeView) -> Iterator[Problem]:
    """Where enable_response_messages is true, input_messages and output_messages must be lists."""
    for name in ("input_messages", "output_messages"):
        value: Any = get(view.response, name)
        if not isinstance(value, list):
            yield in_response(
                view,
                f"enable_response_messages asked for {name}, and there are none.",
                f"/{name}",
                expected="a list",
                actual=ABSENT if value is None else value,
            )
