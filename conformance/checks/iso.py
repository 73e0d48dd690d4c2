"""Isolation: concurrent requests do not see, delay or break each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import get, in_exchange
from rejoinder.conformance.judging.recall import canaries_of, text_with
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import SLOW_READER, Role, role_of
from rejoinder.conformance.judging.turns import (
    has_refusal,
    is_rejected,
    liveness_problem,
    response_of,
    says,
    state,
    status_code,
    was_cut,
)
from rejoinder.model.exchange import Outcome
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import ABSENT, Problem


def _streams(case: CaseView) -> list[ExchangeView]:
    """Return the streams of a case of isolation that were to be read to their end."""
    return [
        view
        for view in case.views
        if Tag.ISOLATION in view.exchange.tags and view.exchange.outcome is not Outcome.CANCELLED
    ]


_APART: Final = "The streams did not run at the same time. Use a --concurrency above 1."


def _ran_together(views: Iterable[ExchangeView]) -> bool:
    """Whether two of these requests were in flight at the same time."""
    spans = sorted((one.started_at, one.started_at + one.ended_at) for one in (view.exchange for view in views))
    return any(after[0] <= before[1] for before, after in pairwise(spans))


def _group(case: CaseView) -> list[ExchangeView]:
    """Return the requests that were to be in flight together: those of the case but the one that ran alone."""
    return [
        view
        for view in case.views
        if Tag.ISOLATION in view.exchange.tags and not view.exchange.role.startswith((Role.SOLO, Role.CONTROL))
    ]


def _heard(view: ExchangeView, canaries: Iterable[str]) -> set[str]:
    """Return those of the words that stand anywhere in the reply."""
    body, text = view.exchange.body, view.text()
    return {word for word in canaries if word.encode() in body or word in text}


@check(
    "ISO-01",
    Subject.CASE,
    needs=lambda case: len(_streams(case)) > 1 and any(response_of(view) for view in _streams(case)),
)
def answers_are_not_mixed(case: CaseView) -> Iterator[Problem | Declined]:
    """Concurrent streams each have a canary in text and metadata. No response may have the canary of another.

    Testing the rule needs at least one response that repeats its own canary.
    """
    streams = _streams(case)
    every = {word for view in streams for word in canaries_of(view)}
    for view in streams:
        foreign = _heard(view, every - {*canaries_of(view)})
        if foreign:
            yield in_exchange(
                view,
                "The response contains the canary of a concurrent request.",
                expected=f"no canary other than {', '.join(sorted(canaries_of(view)))}",
                actual=sorted(foreign),
            )
    if not _ran_together(_group(case)):
        yield Declined(_APART)
    elif not any(_heard(view, canaries_of(view)) for view in streams):
        yield Declined("No response repeated the canary of its request.")


def _alone_says(case: CaseView) -> bool:
    alone = case.get(Role.SOLO)
    return alone is not None and any(says(alone, word) for word in canaries_of(alone))


@check(
    "ISO-02",
    Subject.CASE,
    needs=lambda case: response_of(case.get(Role.SOLO)) is not None and case.get(role_of(Role.TWO, 1)) is not None,
)
def answers_are_as_if_alone(case: CaseView) -> Iterator[Problem | Declined]:
    """Concurrent streams run twice. A canary that comes back in neither run, but does alone, is a problem.

    Testing the rule needs a model that repeats the canary of a stream that runs alone.
    """
    if not _ran_together(_group(case)):
        yield Declined(_APART)
        return
    if not _alone_says(case):
        yield Declined("The model did not repeat the canary of a stream that ran alone.")
        return
    for view in _streams(case):
        part, _, number = view.exchange.role.partition("-")
        once, control = case.get(role_of(Role.ONE, number)), case.get(role_of(Role.CONTROL, number))
        if part != Role.TWO or once is None or control is None:
            continue
        answered = [reply for reply in (once, view) if response_of(reply) is not None and not was_cut(reply)]
        missed = [reply for reply in answered if not any(says(reply, word) for word in canaries_of(reply))]
        able = any(says(control, word) for word in canaries_of(control))
        if able and len(missed) == 2 and not any(map(has_refusal, missed)):
            yield in_exchange(
                view,
                "The response lacks the canary that it repeats when the request runs alone.",
                "/output",
                expected=text_with(", ".join(sorted(canaries_of(view)))),
                actual=view.text(),
            )


def _is_whole(view: ExchangeView | None) -> bool:
    return response_of(view) is not None and view is not None and view.exchange.outcome is Outcome.COMPLETE


def _losses(case: CaseView) -> Iterator[Problem]:
    """Yield a problem for each stream beside others that was not answered as the one that ran alone."""
    alone = case.get(Role.SOLO)
    for view in _streams(case):
        status = status_code(view)
        if view is alone or status in (408, 429, 503):
            continue
        if is_rejected(status):
            message = f"A concurrent request returned status {status}."
            yield in_exchange(view, message, expected=200, actual=status, kind="refused")
        elif not _is_whole(view):
            yield in_exchange(
                view,
                "A concurrent stream does not reach its end. Alone it does.",
                expected="terminal event",
                actual=view.exchange.outcome.value,
                kind="lost",
            )
        elif alone is not None and alone.output and state(view.response) == "completed" and not view.output:
            yield in_exchange(
                view,
                "A concurrent response is completed with empty output.",
                "/output",
                expected="non-empty array",
                actual=[],
                kind="empty",
            )


@check(
    "ISO-03",
    Subject.CASE,
    needs=lambda case: _is_whole(case.get(Role.SOLO)) and case.get(role_of(Role.ONE, 1)) is not None,
)
def each_is_answered(case: CaseView) -> Iterator[Problem | Declined]:
    """Six concurrent streams run twice. Each must be answered, reach its end and have a unique id.

    Testing the rule needs streams that are in flight at the same time.
    """
    if not _ran_together(_group(case)):
        yield Declined(_APART)
        return
    yield from _losses(case)
    seen: dict[str, ExchangeView] = {}
    for view in _streams(case):
        identity = get(view.response, "id")
        if not isinstance(identity, str):
            continue
        if identity in seen:
            yield in_exchange(
                view,
                "Two concurrent responses have the same id.",
                "/id",
                expected="unique id",
                actual=identity,
                kind="id",
            )
        seen[identity] = view


def _was_left(case: CaseView) -> bool:
    left = any(Tag.ISOLATION in v.exchange.tags and v.exchange.outcome is Outcome.CANCELLED for v in case.views)
    return left and _is_whole(case.get(Role.SOLO))


@check("ISO-04", Subject.CASE, needs=_was_left)
def leaving_harms_nobody(case: CaseView) -> Iterator[Problem | Declined]:
    """The client closes some of several concurrent streams early. The others must reach their end.

    A minimal request that follows must return 200 within 20 s. 429 and 503 are accepted.
    """
    if not _ran_together(_group(case)):
        yield Declined(_APART)
        return
    yield from _losses(case)
    after = case.get(Role.AFTER)
    problem = None if after is None else liveness_problem(after)
    if problem is not None:
        yield problem


def _slow_one(case: CaseView) -> ExchangeView | None:
    return case.get(role_of(Role.STREAM, 1)) if case.id.startswith(SLOW_READER) else None


@check("ISO-05", Subject.CASE, needs=lambda case: _is_whole(case.get(Role.SOLO)) and _slow_one(case) is not None)
def a_slow_reader_harms_nobody(case: CaseView) -> Iterator[Problem | Declined]:
    """One of several concurrent streams is read with pauses. All of them must reach their end."""
    if not _ran_together(_group(case)):
        yield Declined(_APART)
        return
    slow = _slow_one(case)
    for problem in _losses(case):
        if slow is not None and problem.exchange == slow.exchange.id:
            yield in_exchange(
                slow,
                "A stream that the client reads slowly does not reach its end.",
                expected="terminal event",
                actual=slow.exchange.outcome.value if problem.actual is not ABSENT else ABSENT,
                kind="slow",
            )
        else:
            yield problem
