"""Faults of background work: states, cancels, replays."""

from __future__ import annotations

import math
from typing import Final

from rejoinder.sandbox.endpoint.reply import ApiError, Piece, Reply, RequestInfo
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    BACKGROUND,
    Condition,
    Fault,
    Visit,
    break_down,
    reply_with,
)

_EVENT_STREAM: Final = (("content-type", "text/event-stream; charset=utf-8"),)


_BACKGROUND_STREAM: Final = Condition(
    "only in the background and streamed", lambda info: info.streamed and info.body.get("background") is True
)


def _foreground(response: Json, place: str, _: RequestInfo) -> None:
    """Tell of the response as if it was not made in the background."""
    response["background"] = False


def _synchronous(body: Json, _: RequestInfo) -> Json:
    return {**body, "background": False}


def _endless(stored: Stored, _: Store, __: RequestInfo) -> None:
    stored.ready_at = math.inf


def _slow(stored: Stored, _: Store, __: RequestInfo) -> None:
    if stored.background:
        stored.ready_at += 5.0


def _backwards(response: Json, place: str, info: RequestInfo) -> None:
    """Be in progress at first and queued afterwards."""
    if info.operation == "create" and place == "plain" and response["status"] == "queued":
        response["status"] = "in_progress"
    elif info.operation == "response" and response["status"] == "in_progress":
        response["status"] = "queued"


def _cancels(visit: Visit) -> Stored | None:
    """Return the background response that a visit cancels."""
    stored = visit.stored
    return stored if visit.info.operation == "cancel" and stored is not None and stored.background else None


def _cancel_ignored(visit: Visit) -> Reply | None:
    stored = _cancels(visit)
    if stored is None or not stored.is_running(visit.now):
        return None
    return reply_with({**stored.running, "status": "cancelled"})


def _cancel_refused(visit: Visit) -> Reply | None:
    if _cancels(visit) is None:
        return None
    raise ApiError(400, "Cannot cancel a synchronous response.", code="not_cancellable")


def _cancel_once(visit: Visit) -> Reply | None:
    stored = _cancels(visit)
    if stored is None or not stored.cancelled:
        return None
    raise ApiError(400, "Cannot cancel a synchronous response.", code="not_cancellable")


def _cancel_always(visit: Visit) -> Reply | None:
    """Cancel a response that is at its end."""
    stored = _cancels(visit)
    if stored is not None and not stored.is_running(visit.now):
        stored.cancelled = True
    return None


def _cancel_any(visit: Visit) -> Reply | None:
    stored = visit.stored
    if visit.info.operation != "cancel" or stored is None or stored.background:
        return None
    return reply_with(stored.response)


def _no_stream(body: Json, _: RequestInfo) -> Json:
    raise ApiError(400, "stream and background cannot be used together.", param="stream", code="unsupported_value")


def _replays(visit: Visit) -> Stored | None:
    """Return the background stream that a visit wants to have replayed."""
    stored = visit.stored
    wanted = visit.info.operation == "response" and visit.query.get("stream") == "true"
    return stored if wanted and stored is not None and stored.stream else None


def _pieces(visit: Visit, stored: Stored) -> list[Piece]:
    text = visit.query.get("starting_after", "")
    start = int(text) if text.isdecimal() else -1
    return [piece for number, piece in stored.stream if not isinstance(number, int) or number > start]


def _streamed(pieces: list[Piece], *, hold: float = 0.0) -> Reply:
    return Reply(200, _EVENT_STREAM, iter(pieces), hold=hold)


def _renumbered(visit: Visit) -> Reply | None:
    """Leave out the second event of a whole replay."""
    stored = _replays(visit)
    if stored is None or "starting_after" in visit.query:
        return None
    pieces = _pieces(visit, stored)
    return _streamed([*pieces[:1], *pieces[2:]])


def _one_early(visit: Visit) -> Reply | None:
    """Begin with the event that starting_after names."""
    stored, text = _replays(visit), visit.query.get("starting_after", "")
    if stored is None or not text.isdecimal():
        return None
    return _streamed([piece for number, piece in stored.stream if not isinstance(number, int) or number >= int(text)])


def _hang_at_end(visit: Visit) -> Reply | None:
    stored = _replays(visit)
    if stored is None or "starting_after" not in visit.query or not visit.query["starting_after"].isdecimal():
        return None
    pieces = _pieces(visit, stored)
    return _streamed(pieces, hold=0.0 if len(pieces) > 1 else visit.hold)


def _hang_unless_completed(visit: Visit) -> Reply | None:
    stored = _replays(visit)
    if stored is None or stored.is_running(visit.now) or stored.current(visit.now)["status"] == "completed":
        return None
    pieces = _pieces(visit, stored)
    return _streamed(pieces, hold=visit.hold)


def _from_behind(visit: Visit) -> Reply | None:
    """Take a negative starting_after as a place counted from the end."""
    stored, text = _replays(visit), visit.query.get("starting_after", "")
    if stored is None or not text.startswith("-"):
        return None
    return _streamed([piece for _, piece in stored.stream][int(text) :])


def _all_after_zero(visit: Visit) -> Reply | None:
    """Take a starting_after of 0 for none."""
    stored = _replays(visit)
    if stored is None or visit.query.get("starting_after") != "0":
        return None
    return _streamed([piece for _, piece in stored.stream])


def _resumed_late(visit: Visit) -> Reply | None:
    """Lose the next event for who takes up a stream that is running."""
    stored = _replays(visit)
    if stored is None or not stored.is_running(visit.now) or "starting_after" not in visit.query:
        return None
    return _streamed(_pieces(visit, stored)[1:])


def _told_to_the_end(visit: Visit) -> Reply | None:
    """Tell the stream to its end, whether its response is cancelled or not."""
    stored = _replays(visit)
    return None if stored is None or "starting_after" in visit.query else _streamed(_pieces(visit, stored))


def _snapshot_only(visit: Visit) -> Reply | None:
    """Give who attaches what there is by now, and no more."""
    stored = _replays(visit)
    if stored is None or not stored.is_running(visit.now):
        return None
    return _streamed(_pieces(visit, stored)[:4])


def _stream_ignored(visit: Visit) -> Reply | None:
    stored = visit.stored
    wanted = visit.info.operation == "response" and visit.query.get("stream") == "true"
    return reply_with(stored.response) if wanted and stored is not None and not stored.stream else None


def _stopped(stored: Stored) -> None:
    stored.cancelled = True


FAULTS: Final = (
    Fault(
        id="background-not-told",
        title="Responses in the background say that they are not.",
        breaks=("BGR-01",),
        when=BACKGROUND,
        response=_foreground,
    ),
    Fault(
        id="background-waits",
        title="A request in the background is answered when the work is done.",
        breaks=("BGR-01",),
        when=BACKGROUND,
        request=_synchronous,
    ),
    Fault(
        id="background-unstored-breaks-server",
        title="A request in the background that is not to be stored is answered with a server error.",
        breaks=("BGR-02",),
        when=BACKGROUND,
        error=break_down("invalid_value"),
    ),
    Fault(
        id="background-never-ends",
        title="Responses in the background stay in progress for ever.",
        breaks=("BGR-03",),
        when=BACKGROUND,
        on_store=_endless,
    ),
    Fault(
        id="background-goes-back",
        title="A response that was in progress is queued again.",
        breaks=("BGR-03",),
        response=_backwards,
    ),
    Fault(
        id="cancel-without-effect",
        title="A cancel says cancelled, and the response goes on.",
        breaks=("BGR-04",),
        override=_cancel_ignored,
    ),
    Fault(
        id="cancel-refused",
        title="Running background responses cannot be cancelled.",
        breaks=("BGR-04",),
        on_store=_slow,
        override=_cancel_refused,
    ),
    Fault(
        id="second-cancel-refused",
        title="A second cancel is refused.",
        breaks=("BGR-05",),
        override=_cancel_once,
    ),
    Fault(
        id="cancel-changes-finished",
        title="A cancel makes a finished response cancelled.",
        breaks=("BGR-06",),
        override=_cancel_always,
    ),
    Fault(
        id="foreground-can-be-cancelled",
        title="The cancel of a response that was not made in the background is accepted.",
        breaks=("BGR-07",),
        override=_cancel_any,
    ),
    Fault(
        id="background-stream-refused",
        title="background and stream are refused together.",
        breaks=("BGR-08",),
        when=_BACKGROUND_STREAM,
        request=_no_stream,
    ),
    Fault(
        id="replay-loses-event",
        title="A replay lacks an event.",
        breaks=("BGR-09",),
        override=_renumbered,
    ),
    Fault(
        id="replay-one-event-early",
        title="A replay begins with the event that starting_after names.",
        breaks=("BGR-10", "BGR-11"),
        override=_one_early,
    ),
    Fault(
        id="replay-after-zero-is-whole",
        title="A replay with starting_after=0 begins with the first event.",
        breaks=("BGR-10",),
        override=_all_after_zero,
    ),
    Fault(
        id="replay-hangs-at-end",
        title="A replay that starts after the last event does not end.",
        breaks=("BGR-11",),
        override=_hang_at_end,
    ),
    Fault(
        id="replay-counts-from-behind",
        title="A negative starting_after counts from the end.",
        breaks=("BGR-12",),
        override=_from_behind,
    ),
    Fault(
        id="bad-start-breaks-server",
        title="A starting_after that is no number is answered with a server error.",
        breaks=("BGR-12",),
        when=Condition("only with starting_after", lambda info: "starting_after=" in info.request.path),
        error=break_down("invalid_value"),
    ),
    Fault(
        id="replay-waits-for-completed",
        title="The replay of a response that is not completed does not end.",
        breaks=("BGR-13",),
        override=_hang_unless_completed,
    ),
    Fault(
        id="attaching-gives-snapshot",
        title="Who attaches to a running stream gets what there is, and no more.",
        breaks=("BGR-14",),
        override=_snapshot_only,
    ),
    Fault(
        id="replay-of-foreground-is-plain",
        title="A retrieve with stream of a response that had none is answered with JSON.",
        breaks=("BGR-15",),
        override=_stream_ignored,
    ),
    Fault(
        id="leaving-cancels",
        title="A background response is cancelled when the reader of its stream leaves.",
        breaks=("BGR-16",),
        on_reader_left=_stopped,
    ),
    Fault(
        id="resuming-skips-event",
        title="Who takes up a running stream again does not get the event after the last one that it saw.",
        breaks=("BGR-17",),
        override=_resumed_late,
    ),
    Fault(
        id="cancelled-stream-completes",
        title="The stream of a response that is cancelled meanwhile goes on to its completion.",
        breaks=("BGR-18",),
        override=_told_to_the_end,
    ),
)
