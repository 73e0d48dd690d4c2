"""Background mode: create, polling, cancelling, and replay of streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.problems import differing, get, in_exchange, in_response, is_integer
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import (
    LACKING,
    RUNNING,
    TERMINAL,
    crash_kind,
    is_answer,
    is_broken,
    is_refusal,
    is_rejected,
    is_replay,
    replayed,
    response_of,
    retrieved,
    state,
    status_code,
)
from rejoinder.model.exchange import Outcome, parse_json
from rejoinder.model.verdict import ABSENT, Problem
from rejoinder.wire.sse import read_events

_RANK: Final = {"queued": 0, "in_progress": 1} | dict.fromkeys(TERMINAL, 2)
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error")


# What is wrong with a field of the response to a background request, by its name.
_AT_ONCE: Final = {"status": "a final status", "output": "output", "background": "background false"}


def _runs(case: CaseView, role: str = Role.FIRST) -> bool:
    """Whether the endpoint took up a request as background work."""
    view = case.get(role)
    response = response_of(view)
    return response is not None and view is not None and view.is_plain and state(response) in RUNNING


@check("BGR-01", Subject.PLAIN, needs=lambda view: view.request.get("background") is True and view.response is not None)
def background_answers_at_once(view: ExchangeView) -> Iterator[Problem]:
    """A non-streaming background request returns status queued or in_progress, no `output` and `background` true."""
    response = view.response or {}
    for name, right, expected in (
        ("status", response.get("status") in RUNNING, "one of queued, in_progress"),
        ("output", not response.get("output"), []),
        ("background", response.get("background", True) is True, True),
    ):
        if not right:
            yield in_response(
                view,
                f"A background request returned {_AT_ONCE[name] if name in response else f'no {name}'}.",
                f"/{name}",
                expected=expected,
                actual=response.get(name, ABSENT),
            )


def _is_kept_from_background(case: CaseView) -> bool:
    return _runs(case) and is_answer(status_code(case.get(Role.NOT_STORED)))


@check("BGR-02", Subject.CASE, needs=_is_kept_from_background)
def background_must_be_stored(case: CaseView) -> Iterator[Problem]:
    """At an endpoint that supports `background`, a request with `background` true and `store` false must get a 4xx."""
    (view,) = case.having(Role.NOT_STORED)
    status = status_code(view)
    if not is_refusal(status):
        message = f"A request with background true and store false returned status {status}."
        yield in_exchange(view, message, "/store", expected="4xx status", actual=status)


def _polls(case: CaseView) -> list[ExchangeView]:
    return [
        view for view in case.views if view.exchange.role.partition("-")[0] == Role.POLL and retrieved(view) is not None
    ]


@check("BGR-03", Subject.CASE, needs=lambda case: _runs(case) and bool(_polls(case)))
def polling_comes_to_an_end(case: CaseView) -> Iterator[Problem]:
    """A background response is polled until its status is terminal, at most for the timeout of one request.

    Its status may only go from "queued" through "in_progress" to a terminal status.
    """
    polls = _polls(case)
    before = state(response_of(case.get(Role.FIRST)))
    for view in polls:
        now = state(retrieved(view))
        if _RANK.get(now, 0) < _RANK.get(before, 0):
            yield in_exchange(
                view,
                f'Status of a background response goes back from "{before}" to "{now}".',
                "/status",
                expected=f"{before} or a later status",
                actual=now,
                kind="backwards",
            )
        before = now
    if before not in TERMINAL and len(polls) > 1:
        seconds = polls[-1].exchange.started_at - polls[0].exchange.started_at
        yield in_exchange(
            polls[-1],
            f'Status of a background response is still "{before}" after {seconds:.0f} s.',
            "/status",
            expected="terminal status",
            actual=before,
            kind="endless",
        )


def _can_cancel(case: CaseView) -> bool:
    return status_code(case.get(Role.CANCEL)) not in (0, *LACKING)


@check(
    "BGR-04",
    Subject.CASE,
    needs=lambda case: _runs(case) and _can_cancel(case) and case.get(Role.GET_CANCELLED) is not None,
)
def cancel_cancels(case: CaseView) -> Iterator[Problem | Declined]:
    """A background response is cancelled at once and retrieved until its status is terminal, which must be "cancelled".

    Testing the rule needs a response that is still running when the cancel arrives.
    """
    view, after = case.having(Role.CANCEL, Role.GET_CANCELLED)
    now, then = state(retrieved(view)), state(retrieved(after))
    first = next(v for v in case.views if v.exchange.role.startswith(Role.GET_CANCELLED))
    if now == "cancelled" and then not in ("cancelled", ABSENT):
        yield in_exchange(
            after,
            f'Status of a cancelled response changes to "{then}".',
            "/status",
            expected="cancelled",
            actual=then,
            kind="undone",
        )
    elif now in RUNNING:
        yield in_exchange(
            view,
            f'Cancel was accepted, but status is "{now}".',
            "/status",
            expected="cancelled",
            actual=now,
            kind="ignored",
        )
    elif now == "cancelled":
        return
    elif state(retrieved(first)) in RUNNING:
        yield in_exchange(
            view,
            f"Cancelling a running background response returned status {status_code(view)}.",
            expected=200,
            actual=status_code(view),
            kind="refused",
        )
    else:
        yield Declined("The response ended before the cancel arrived.")


@check(
    "BGR-05", Subject.CASE, needs=lambda case: _cancelled_once(case) and status_code(case.get(Role.CANCEL_AGAIN)) != 0
)
def cancel_is_idempotent(case: CaseView) -> Iterator[Problem]:
    """A cancelled response is cancelled again, which must return 200 and status "cancelled"."""
    (view,) = case.having(Role.CANCEL_AGAIN)
    if status_code(view) != 200 or state(retrieved(view)) != "cancelled":
        yield in_exchange(
            view,
            "The second cancel differs from the first.",
            "/status" if status_code(view) == 200 else "",
            expected='200 with status "cancelled"',
            actual=f"{status_code(view)}{_with_status(view)}",
        )


def _with_status(view: ExchangeView) -> str:
    status = state(retrieved(view))
    return "" if status is ABSENT else f' with status "{status}"'


def _cancelled_once(case: CaseView) -> bool:
    states = [state(retrieved(case.get(role))) for role in (Role.CANCEL, Role.GET_CANCELLED)]
    return states == ["cancelled", "cancelled"]


def _cancelled_late(case: CaseView) -> bool:
    return _can_cancel(case) and state(retrieved(case.get(Role.POLL))) in ("completed", "incomplete", "failed")


@check("BGR-06", Subject.CASE, needs=_cancelled_late)
def cancel_comes_too_late(case: CaseView) -> Iterator[Problem]:
    """A finished background response is cancelled. A 4xx or the response is correct, and its status must not change."""
    (view,), end = case.having(Role.CANCEL), state(retrieved(case.get(Role.POLL)))
    if is_broken(status_code(view)):
        yield in_exchange(
            view,
            f"Cancelling a finished response returned status {status_code(view)}.",
            expected="200 or 4xx status",
            actual=status_code(view),
            kind=crash_kind(view),
        )
    for later in case.having(Role.CANCEL, Role.GET_AFTER):
        now = state(retrieved(later))
        if now not in (end, ABSENT):
            message = f'Cancel changed the status of a finished response from "{end}" to "{now}".'
            yield in_exchange(later, message, "/status", expected=end, actual=now, kind="changed")
            return


def _foreground(case: CaseView) -> bool:
    view = case.get(Role.FIRST)
    return response_of(view) is not None and view is not None and view.request.get("background") is not True


@check("BGR-07", Subject.CASE, needs=lambda case: _foreground(case) and _can_cancel(case))
def only_background_is_cancellable(case: CaseView) -> Iterator[Problem]:
    """A finished response created without `background` is cancelled. A 4xx is correct, or the unchanged response."""
    (view,) = case.having(Role.CANCEL)
    status = status_code(view)
    if state(retrieved(view)) == "cancelled" or is_broken(status):
        yield in_exchange(
            view,
            f"Cancelling a response created without background returned status {status}{_with_status(view)}.",
            expected="4xx status",
            actual=status,
            kind=crash_kind(view) if status >= 500 else "accepted",
        )


@check("BGR-08", Subject.CASE, needs=lambda case: _runs(case) and status_code(case.get(Role.STREAM)) != 0)
def background_can_be_streamed(case: CaseView) -> Iterator[Problem]:
    """At an endpoint that supports `background`, the same request with `stream` true must not be refused."""
    (view,) = case.having(Role.STREAM)
    status = status_code(view)
    if is_rejected(status):
        message = f"A request with background and stream true returned status {status}."
        yield in_exchange(view, message, "/stream", expected=200, actual=status)


def _original(case: CaseView) -> list[dict[str, Any]]:
    """Return the events of a whole background stream, without what may differ from reading to reading."""
    view = case.get(Role.STREAM)
    if view is None or not view.is_stream or view.exchange.outcome is not Outcome.COMPLETE:
        return []
    ignored = view.dialect.stream["ignored_events"]
    return [_plain(event.data) for event in view.events if event.data and event.type not in ignored]


def _plain(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "obfuscation"}


def _again(case: CaseView, role: str) -> list[dict[str, Any]]:
    view = case.get(role)
    return [] if view is None else [_plain(event) for event in replayed(view)]


@check("BGR-09", Subject.CASE, needs=lambda case: is_replay(case.get(Role.REPLAY)) and bool(_original(case)))
def replay_is_identical(case: CaseView) -> Iterator[Problem]:
    """The stream of a finished background response is replayed and compared with the first stream, event by event."""
    (view,) = case.having(Role.REPLAY)
    if view.exchange.outcome is Outcome.COMPLETE:  # BGR-13 covers replays that do not end
        message = "The replay differs from the stream."
        yield from differing(in_exchange, view, message, _original(case), _again(case, Role.REPLAY))


def _numbers(events: list[dict[str, Any]]) -> list[Any]:
    return [event.get("sequence_number") for event in events]


def _start(view: ExchangeView | None) -> int | None:
    path = "" if view is None else view.exchange.request.path
    text = path.partition("starting_after=")[2]
    return int(text) if text.removeprefix("-").isdecimal() else None


def _resumed(case: CaseView) -> list[ExchangeView]:
    """Return the replays from behind an event of a stream whose events are numbered."""
    roles = (Role.REPLAY_MIDDLE, Role.REPLAY_CUT)
    replays = [view for view in case.views if view.exchange.role.startswith(roles) and is_replay(view)]
    numbers = _numbers(_original(case)) if replays else []
    return replays if numbers and all(map(is_integer, numbers)) else []


@check("BGR-10", Subject.CASE, needs=lambda case: bool(_resumed(case)))
def replay_starts_after(case: CaseView) -> Iterator[Problem]:
    """A replay with `starting_after` must have exactly the events with a greater `sequence_number`.

    A long stream is replayed from its middle, a short one from each of its events. BGR-12 covers negative numbers.
    """
    for view in _resumed(case):
        start = _start(view)
        if start is None or view.exchange.outcome is not Outcome.COMPLETE:
            continue
        expected = [event for event in _original(case) if event["sequence_number"] > start]
        actual = [_plain(event) for event in replayed(view)]
        if _numbers(expected) != _numbers(actual):
            yield in_exchange(
                view,
                f"The replay with starting_after={start} does not have exactly the later events.",
                "/sequence_number",
                expected=_numbers(expected),
                actual=_numbers(actual),
            )
        else:
            message = f"The replay with starting_after={start} differs from the stream."
            yield from differing(in_exchange, view, message, expected, actual, kind="content")


@check("BGR-11", Subject.CASE, needs=lambda case: is_replay(case.get(Role.REPLAY_END)))
def replay_past_the_end_ends(case: CaseView) -> Iterator[Problem]:
    """A replay with `starting_after` at the last `sequence_number` must end within 20 s, without events."""
    (view,) = case.having(Role.REPLAY_END)
    if view.exchange.outcome in (Outcome.CANCELLED, Outcome.TIMEOUT):
        message = "A replay that starts after the last event does not end within 20 s."
        yield in_exchange(view, message, expected="end of stream", actual=view.exchange.outcome.value, kind="hang")
    elif replayed(view):
        yield in_exchange(
            view,
            "A replay that starts after the last event has events.",
            "/sequence_number",
            expected=[],
            actual=_numbers(replayed(view)),
            kind="events",
        )


def _bad_start(case: CaseView) -> bool:
    statuses = [status_code(case.get(role)) for role in (Role.REPLAY_NEGATIVE, Role.REPLAY_WORD)]
    return is_replay(case.get(Role.REPLAY)) and any(statuses)


@check("BGR-12", Subject.CASE, needs=_bad_start)
def bad_start_is_refused(case: CaseView) -> Iterator[Problem]:
    """`starting_after` is sent as -3 and as a word. A 4xx is correct, and for -3 a replay with all events."""
    for view in case.having(Role.REPLAY_NEGATIVE, Role.REPLAY_WORD):
        role, status = view.exchange.role, status_code(view)
        negative = role == Role.REPLAY_NEGATIVE
        if status == 0 or is_refusal(status):
            continue
        if negative and status == 200:
            yield from _lost_before(case, view)
            continue
        yield in_exchange(
            view,
            f"A replay with starting_after {'-3' if negative else 'that is a word'} returned status {status}.",
            expected="4xx status",
            actual=status,
            kind=f"{role} {crash_kind(view) if is_broken(status) else status}",
        )


def _lost_before(case: CaseView, view: ExchangeView) -> Iterator[Problem]:
    """Yield a problem if a whole replay lacks events of the stream."""
    expected, actual = _numbers(_original(case)), _numbers(replayed(view))
    if is_replay(view) and view.exchange.outcome is Outcome.COMPLETE and expected and expected != actual:
        yield in_exchange(
            view,
            "The replay with starting_after=-3 is not refused and does not have all events.",
            "/sequence_number",
            expected=expected,
            actual=actual,
        )


def _ended_otherwise(case: CaseView) -> bool:
    """Whether there is a replay of a response that did not end completed."""
    ends = (state(response_of(case.get(Role.STREAM))), state(retrieved(case.get(Role.GET_CANCELLED))))
    return is_replay(case.get(Role.REPLAY)) and any(end in ("incomplete", "failed", "cancelled") for end in ends)


@check("BGR-13", Subject.CASE, needs=_ended_otherwise)
def every_replay_ends(case: CaseView) -> Iterator[Problem]:
    """The replay of an incomplete, failed or cancelled response must end within 20 s."""
    (view,) = case.having(Role.REPLAY)
    if view.exchange.outcome in (Outcome.CANCELLED, Outcome.TIMEOUT):
        message = "The replay of an unsuccessful response does not end within 20 s."
        yield in_exchange(view, message, expected="end of stream", actual=view.exchange.outcome.value, kind="hang")


@check("BGR-14", Subject.CASE, needs=lambda case: is_replay(case.get(Role.ATTACHED)))
def attaching_follows_to_the_end(case: CaseView) -> Iterator[Problem]:
    """The client closes a background stream at its start and retrieves it, which must reach the terminal event."""
    (view,) = case.having(Role.ATTACHED)
    events = replayed(view)
    if view.exchange.outcome is not Outcome.COMPLETE or get(events[-1] if events else None, "type") not in _ENDS:
        yield in_exchange(
            view,
            "The reattached stream has no terminal event.",
            "/type",
            expected="terminal event",
            actual=get(events[-1], "type") if events else view.exchange.outcome.value,
        )


def _replayed_foreground(case: CaseView) -> bool:
    can_get = retrieved(case.get(Role.GET)) is not None
    return _foreground(case) and can_get and status_code(case.get(Role.REPLAY)) not in (0, 429, 503)


@check("BGR-15", Subject.CASE, needs=_replayed_foreground)
def foreground_is_not_replayed(case: CaseView) -> Iterator[Problem]:
    """The stream of a response created without `background` is retrieved. A 4xx is correct."""
    (view,) = case.having(Role.REPLAY)
    if not is_refusal(status_code(view)):
        yield in_exchange(
            view,
            f"Retrieving the stream of a response created without background returned status {status_code(view)}.",
            expected="4xx status",
            actual=status_code(view),
            kind=crash_kind(view) if is_broken(status_code(view)) else view.exchange.content_type,
        )


def _was_left(case: CaseView) -> bool:
    view = case.get(Role.LEFT)
    return (
        view is not None and view.exchange.outcome is Outcome.CANCELLED and retrieved(case.get(Role.POLL)) is not None
    )


@check("BGR-16", Subject.CASE, needs=_was_left)
def leaving_does_not_stop(case: CaseView) -> Iterator[Problem]:
    """The client closes a background stream at its start. Polling must show that the response finishes."""
    (view,) = case.having(Role.POLL)
    now = state(retrieved(view))
    if now not in ("completed", "incomplete"):
        message = f'Status of a background response is "{now}" after the client closed its stream.'
        yield in_exchange(view, message, "/status", expected="one of completed, incomplete", actual=now)


def _seen(view: ExchangeView | None) -> list[dict[str, Any]]:
    """Return the numbered events of a stream, or of what was read of it, that were received whole.

    Those that clients of the dialect ignore are left out.
    """
    if view is None:
        return []
    ignored = view.dialect.stream["ignored_events"]
    frames = read_events(view.exchange.chunks)[0]
    data = [parse_json(frame.data) for frame in frames if frame.has_data and frame.terminated]
    numbered = [one for one in data if isinstance(one, dict) and is_integer(one.get("sequence_number"))]
    return [_plain(event) for event in numbered if event.get("type") not in ignored]


def _taken_up(case: CaseView) -> bool:
    replays = case.having(Role.RESUMED, Role.WHOLE)
    ended = [view for view in replays if is_replay(view) and view.exchange.outcome is Outcome.COMPLETE]
    return len(ended) == 2 and bool(_seen(case.get(Role.LEFT)))


@check("BGR-17", Subject.CASE, needs=_taken_up)
def resuming_loses_nothing(case: CaseView) -> Iterator[Problem]:
    """The client closes a background stream in its middle and resumes it after the last event that it read.

    Both parts together must equal the replay of the whole stream.
    """
    (view,) = case.having(Role.RESUMED)
    whole, parts = _seen(case.get(Role.WHOLE)), [*_seen(case.get(Role.LEFT)), *_seen(view)]
    if _numbers(whole) != _numbers(parts):
        yield in_exchange(
            view,
            "The resumed stream does not have exactly the events of the whole stream.",
            "/sequence_number",
            expected=_numbers(whole),
            actual=_numbers(parts),
            kind="events",
        )
    else:
        message = "The resumed stream differs from the whole stream."
        yield from differing(in_exchange, view, message, whole, parts, kind="content")


def _ends_told(case: CaseView) -> list[tuple[ExchangeView, str]]:
    """Return the replies to a race of a cancel with the end of a response that name an end, with that end."""
    retrieves = case.having(Role.CANCEL, Role.GET_RACED, Role.GET_RACED_AGAIN)
    found = [(view, state(retrieved(view))) for view in retrieves]
    for view in case.having(Role.LEFT, Role.RACED):
        found += [(view, str(event.get("type")).removeprefix("response.")) for event in _seen(view)]
    return [(view, end) for view, end in found if end in TERMINAL]


@check("BGR-18", Subject.CASE, needs=lambda case: state(retrieved(case.get(Role.GET_RACED))) in TERMINAL)
def a_race_has_one_end(case: CaseView) -> Iterator[Problem]:
    """Three background responses are cancelled at different times while their streams are read.

    The cancel, the end of the stream and two later retrieves must show the same final status. A stream may end with
    response.incomplete where the others say "cancelled".
    """
    end = state(retrieved(case.get(Role.GET_RACED)))
    for view, told_end in _ends_told(case):
        # A stream has no event for cancelled, so incomplete is the way to say it.
        if told_end != end and {told_end, end} != {"incomplete", "cancelled"}:
            yield in_exchange(
                view,
                f'A response cancelled while streaming has both status "{end}" and "{told_end}".',
                "/status",
                expected=end,
                actual=told_end,
                kind=view.exchange.role,
            )
