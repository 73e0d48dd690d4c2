"""Limits and compression: large requests, documented sizes, content codings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rejoinder.conformance.judging.codings import CODINGS, accepted_codings
from rejoinder.conformance.judging.controls import has_any_control, has_control
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.limits import Dimension, dimension_of, is_accepted, is_rejected, size_of
from rejoinder.conformance.judging.problems import get, in_exchange, is_integer, one_of
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import RUNNING, TERMINAL, crash_kind, is_server_error, retrieved, state
from rejoinder.formatting import plural
from rejoinder.model.error_text import error_text
from rejoinder.model.exchange import Outcome
from rejoinder.model.tags import sent_for
from rejoinder.model.verdict import ABSENT, Problem
from rejoinder.wire.pacing import BUSY

_REJECTED: Final = (401, 403, *BUSY)
_ABOUT_CODING: Final = ("content-encoding", "content encoding", "content coding", "compress", *CODINGS)
"""What a message has that names the content coding as the reason, in lower case."""
_ABOUT_PARSING: Final = ("json", "pars", "decod", "utf", "unicode", "syntax", "unexpected", "malformed", "byte")
"""What a message has that comes from reading compressed bytes as text, in lower case."""
_MAGIC: Final = b"\x1f\x8b"
"""How gzip data begins (RFC 1952, section 2.3.1)."""
_GROWTH: Final = 0.5
"""Share of the expected tokens below which an input was cut: templates and caches move counts by less."""
_LEAST_GROWTH: Final = 0.25
"""Tokens that a unit must add between the smallest sizes, for the counts to say anything."""


def _sent_compressed(view: ExchangeView) -> bool:
    exchange = view.exchange
    unsent = exchange.outcome is Outcome.CANCELLED or exchange.timed_out_connecting
    answered = exchange.status not in _REJECTED and not unsent
    return sent_for("LIM-01") in exchange.tags and answered and has_any_control(view)


@check("LIM-01", Subject.CREATE, needs=_sent_compressed)
def compressed_bodies_are_understood(view: ExchangeView) -> Iterator[Problem | Declined]:
    """Sends a minimal request compressed with gzip and with deflate. Status 200 and 415 are right.

    Another 4xx status is, too, if its message names the content coding. It is wrong if its message is about parsing.
    """
    exchange = view.exchange
    if exchange.ok or exchange.status == 415:
        return
    if exchange.status is None:
        yield in_exchange(
            view,
            f"The endpoint sent no response to a compressed request: {exchange.detail}",
            expected="status 200 or 415",
            actual="no response",
            kind=exchange.outcome.value,
        )
        return
    said = error_text(exchange).lower()
    if exchange.status < 500 and any(word in said for word in _ABOUT_CODING):
        return
    if exchange.status < 500 and not any(word in said for word in _ABOUT_PARSING):
        yield Declined("The refusal does not say whether the content coding or the JSON was the reason.")
        return
    yield in_exchange(
        view,
        f"The endpoint returned status {exchange.status} for a compressed request.",
        expected="status 200 or 415",
        actual=exchange.status,
        kind=crash_kind(view) if exchange.status >= 500 else "parsed",
    )


def _series(case: CaseView) -> tuple[Dimension, list[tuple[int, ExchangeView]]] | None:
    """Return what a case looks for the limit of, and its requests by size; ``None`` for any other case."""
    dimension = dimension_of(case.id)
    if dimension is None:
        return None
    found = [(size, view) for view in case.views if (size := size_of(view.exchange)) is not None]
    return dimension, sorted(found, key=lambda pair: pair[0])


def _least(row: Dimension, pairs: list[tuple[int, ExchangeView]]) -> int | None:
    """Return the smallest accepted size, 0 where the run accepted the same JSON without what grows in it."""
    if row.same and any(has_control(view) for _, view in pairs):
        return 0
    return min((size for size, view in pairs if is_accepted(view.exchange)), default=None)


def _larger(case: CaseView) -> list[tuple[int, ExchangeView]]:
    """Return the answered requests above the smallest accepted size, and above what LIM-03 covers, with their sizes."""
    series = _series(case)
    if series is None:
        return []
    least = _least(*series)
    limit = series[0].documented(case.views[0].dialect) or 0
    answered = [pair for pair in series[1] if is_accepted(pair[1].exchange) or is_rejected(pair[1].exchange)]
    return [pair for pair in answered if least is not None and pair[0] > max(least, limit)]


@check("LIM-02", Subject.CASE, needs=lambda case: bool(_larger(case)))
def refusals_above_limits_are_clean(case: CaseView) -> Iterator[Problem]:
    """Makes one part of a valid request larger. The endpoint must accept a smaller one.

    A rejection must be a whole response with a 4xx status, or 501, and an object `error` with a `message`.
    """
    series = _series(case)
    for size, view in _larger(case):
        assert series is not None
        exchange, what = view.exchange, f"{series[0].title} of {size:,} {series[0].unit}"
        if is_accepted(exchange):
            continue
        if exchange.status is None or exchange.outcome is not Outcome.COMPLETE:
            yield in_exchange(
                view,
                f"{what}: the endpoint sent no complete response: {exchange.detail}",
                expected="4xx status with an error object",
                actual=exchange.status or "no response",
                kind="dropped",
            )
        elif is_server_error(exchange.status):
            yield in_exchange(
                view,
                f"{what}: the endpoint returned status {exchange.status}.",
                expected="4xx status with an error object",
                actual=exchange.status,
                kind=crash_kind(view),
            )
        elif not isinstance(get(exchange.json(), "error", "message"), str):
            media = exchange.header("content-type") or ABSENT
            yield in_exchange(
                view,
                f"{what}: the response with status {exchange.status} has no error object.",
                "/error",
                expected="JSON object with error.message",
                actual=exchange.body[:200] or media,
                kind="envelope",
            )


def _documented(case: CaseView) -> list[tuple[int, ExchangeView]]:
    """Return the requests up to the documented limit, except the smallest, if a smaller one was accepted."""
    series = _series(case)
    if series is None or not series[1]:
        return []
    limit = series[0].documented(series[1][0][1].dialect)
    within = [pair for pair in series[1] if limit is not None and pair[0] <= limit]
    least = _least(series[0], within)
    judged = [pair for pair in within if is_accepted(pair[1].exchange) or is_rejected(pair[1].exchange)]
    return [pair for pair in judged if least is not None and pair[0] > least]


@check("LIM-03", Subject.CASE, needs=lambda case: bool(_documented(case)))
def documented_limits_work(case: CaseView) -> Iterator[Problem]:
    """Sends values that are as long as the dialect documents. The endpoint must accept a shorter one of the same."""
    series = _series(case)
    for size, view in _documented(case):
        assert series is not None
        exchange = view.exchange
        if is_rejected(exchange):
            limit = series[0].documented(view.dialect)
            yield in_exchange(
                view,
                f"{series[0].title} of {size:,} {series[0].unit}: the endpoint returned status "
                f"{exchange.status or 'none'}. The documented limit is {limit:,}.",
                expected=200,
                actual=exchange.status or "no response",
                kind=crash_kind(view) if exchange.status is not None and exchange.status >= 500 else "refused",
            )


def _counted(case: CaseView) -> list[tuple[int, int, ExchangeView]]:
    """Return sizes, input tokens and views of the accepted requests whose every unit reaches the model.

    Those come that can be compared: at least three of which the smallest two show what a unit costs.
    """
    series = _series(case)
    if series is None or not series[0].heard:
        return []
    counts: dict[int, tuple[int, ExchangeView]] = {}
    for size, view in series[1]:
        tokens = get(view.response, "usage", "input_tokens")
        if is_accepted(view.exchange) and is_integer(tokens) and get(view.response, "truncation") != "auto":
            counts.setdefault(size, (tokens, view))
    found = [(size, *counted) for size, counted in sorted(counts.items())]
    return found if len(found) > 2 and _per_unit(found) >= _LEAST_GROWTH else []


def _per_unit(found: list[tuple[int, int, ExchangeView]]) -> float:
    (first, few, _), (second, more, _) = found[:2]
    return (more - few) / (second - first)


@check("LIM-04", Subject.CASE, needs=lambda case: bool(_counted(case)))
def every_unit_reaches_the_model(case: CaseView) -> Iterator[Problem]:
    """Sends more input items, content parts, tools or words, with `truncation` "disabled", and compares input tokens.

    The smallest two requests show how many tokens one more adds. Larger requests must have at least half as many as
    that predicts.
    """
    series = _series(case)
    found = _counted(case)
    assert series is not None
    first, few, _ = found[0]
    for size, tokens, view in found[2:]:
        expected = few + _per_unit(found) * (size - first)
        if tokens < few + _GROWTH * (expected - few):
            yield in_exchange(
                view,
                f"{size:,} {series[0].unit} have {plural(tokens, 'input token')}, but {first:,} have {few:,}.",
                "/usage/input_tokens",
                expected=f"about {round(expected):,}",
                actual=tokens,
                kind="cut",
            )
            return


def _accepts_codings(view: ExchangeView) -> bool:
    return bool(accepted_codings(view.exchange)) and view.exchange.ok and view.exchange.outcome is Outcome.COMPLETE


@check("LIM-05", Subject.CREATE, needs=_accepts_codings)
def compressed_responses_decode(view: ExchangeView) -> Iterator[Problem]:
    """Sends plain and streaming requests that accept gzip and deflate, and decompresses the responses."""
    exchange, accepted = view.exchange, accepted_codings(view.exchange)
    coding = exchange.header("content-encoding").strip().lower()
    if coding in accepted:  # the view decompresses what can be
        yield in_exchange(
            view,
            f"The body of the response is not valid {coding} data.",
            expected=f"valid {coding} data",
            actual=exchange.body[:40],
            kind="damaged",
        )
    elif coding not in ("", "identity"):
        yield in_exchange(
            view,
            f'The response has the content coding "{coding[:40]}", which the request does not accept.',
            expected=one_of([*accepted, "identity"]),
            actual=coding[:40],
            kind="coding",
        )
    elif exchange.body.startswith(_MAGIC):
        yield in_exchange(
            view,
            "The response is compressed and has no Content-Encoding.",
            expected="Content-Encoding header",
            actual=ABSENT,
            kind="unnamed",
        )


def _after_leaving(case: CaseView) -> ExchangeView | None:
    """Return the last retrieval of a response whose stream the client closed before its end."""
    left, after = case.get(Role.LEFT), case.get(Role.GET_AFTER)
    was_left = left is not None and left.exchange.ok and left.exchange.outcome is Outcome.CANCELLED
    return after if was_left and case.id == "disconnect.stored" else None


@check("LIM-06", Subject.CASE, needs=lambda case: retrieved(_after_leaving(case)) is not None)
def abandoned_streams_end(case: CaseView) -> Iterator[Problem]:
    """The client closes a stream after its first event and retrieves the response until it is over.

    It polls for as long as one request may take. An endpoint that does not find the response is not tested.
    """
    view = _after_leaving(case)
    assert view is not None
    status = state(retrieved(view))
    waited = view.exchange.started_at - case.views[0].exchange.started_at
    if status in RUNNING:
        yield in_exchange(
            view,
            f'The status of a response is still "{status}", {waited:.0f} s after its client closed the stream.',
            "/status",
            expected=one_of(TERMINAL),
            actual=status,
            kind="stuck",
        )
