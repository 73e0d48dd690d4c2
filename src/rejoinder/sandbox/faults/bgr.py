"""Faults of background work: states, cancels, replays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NoReturn

from rejoinder.sandbox.endpoint.reply import ApiError, Reply, RequestInfo, reply_with
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import (
    BACKGROUND,
    Condition,
    Fault,
    FaultList,
    Visit,
    break_down,
    on_replay,
    replay_pieces,
    streamed,
    wants_replay,
)

_BACKGROUND_STREAM: Final = Condition(
    "only with background and stream", lambda info: info.streamed and info.body.get("background") is True
)


def _cancel(answer: Callable[[Visit, Stored], Reply | None]) -> Callable[[Visit], Reply | None]:
    """Return a hook that answers visits which cancel a background response."""

    def hook(visit: Visit) -> Reply | None:
        stored = visit.stored
        wanted = visit.info.operation == "cancel" and stored is not None and stored.background
        return answer(visit, stored) if wanted and stored is not None else None

    return hook


def _not_cancellable(_: Visit, __: Stored) -> NoReturn:
    raise ApiError(400, "Cannot cancel a synchronous response.", code="not_cancellable")


def _no_stream(body: Json, _: RequestInfo) -> Json:
    raise ApiError(400, "stream and background cannot be used together.", param="stream", code="unsupported_value")


FAULTS: Final = FaultList(
    Fault(
        id="background-unstored-breaks-server",
        title="A request with background true and store false causes a server error.",
        breaks=("BGR-02",),
        when=BACKGROUND,
        error=break_down("invalid_value"),
    ),
    Fault(
        id="background-stream-refused",
        title="background and stream are refused together.",
        breaks=("BGR-08",),
        when=_BACKGROUND_STREAM,
        request=_no_stream,
    ),
    Fault(
        id="bad-start-breaks-server",
        title="A non-numeric starting_after causes a server error.",
        breaks=("BGR-12",),
        when=Condition("only with starting_after", lambda info: "starting_after=" in info.request.path),
        error=break_down("invalid_value"),
    ),
)


@FAULTS.add("background-not-told", "BGR-01", hook="response", when=BACKGROUND)
def _foreground(response: Json, place: str, _: RequestInfo) -> None:
    """Background responses have background false."""
    response["background"] = False


@FAULTS.add("background-waits", "BGR-01", hook="request", when=BACKGROUND)
def _synchronous(body: Json, _: RequestInfo) -> Json:
    """A background request returns only when the response is finished."""
    return {**body, "background": False}


@FAULTS.add("background-never-ends", "BGR-03", hook="on_store", when=BACKGROUND)
def _endless(stored: Stored, _: Store, __: RequestInfo) -> None:
    """Background responses never reach a terminal status."""
    stored.ready_at = math.inf


@FAULTS.add("background-goes-back", "BGR-03", hook="response")
def _backwards(response: Json, place: str, info: RequestInfo) -> None:
    """Status goes back from in_progress to queued."""
    if info.operation == "create" and place == "plain" and response["status"] == "queued":
        response["status"] = "in_progress"
    elif info.operation == "response" and response["status"] == "in_progress":
        response["status"] = "queued"


@FAULTS.add("cancel-without-effect", "BGR-04", hook="override", through=_cancel)
def _cancel_ignored(visit: Visit, stored: Stored) -> Reply | None:
    """Cancel returns status cancelled, but the response continues."""
    return reply_with({**stored.running, "status": "cancelled"}) if stored.is_running(visit.now) else None


@FAULTS.add("cancel-refused", "BGR-04", hook="on_store", override=_cancel(_not_cancellable))
def _slow(stored: Stored, _: Store, __: RequestInfo) -> None:
    """Running background responses cannot be cancelled."""
    if stored.background:
        stored.ready_at += 5.0


@FAULTS.add("second-cancel-refused", "BGR-05", hook="override", through=_cancel)
def _cancel_once(visit: Visit, stored: Stored) -> Reply | None:
    """A second cancel is refused."""
    return _not_cancellable(visit, stored) if stored.cancelled else None


@FAULTS.add("cancel-changes-finished", "BGR-06", hook="override", through=_cancel)
def _cancel_always(visit: Visit, stored: Stored) -> None:
    """A cancel makes a finished response cancelled."""
    if not stored.is_running(visit.now):
        stored.cancelled = True


@FAULTS.add("foreground-can-be-cancelled", "BGR-07", hook="override")
def _cancel_any(visit: Visit) -> Reply | None:
    """Cancelling a response created without background makes it cancelled."""
    stored = visit.stored
    if visit.info.operation != "cancel" or stored is None or stored.background:
        return None
    return reply_with({**stored.response, "status": "cancelled"})


@FAULTS.add("replay-loses-event", "BGR-09", hook="override", through=on_replay)
def _renumbered(visit: Visit, stored: Stored) -> Reply | None:
    """Replays lack an event."""
    if "starting_after" in visit.query:
        return None
    pieces = replay_pieces(visit, stored)
    return streamed([*pieces[:1], *pieces[2:]])


@FAULTS.add("replay-one-event-early", "BGR-10", "BGR-11", hook="override", through=on_replay)
def _one_early(visit: Visit, stored: Stored) -> Reply | None:
    """Replays begin with the event at starting_after."""
    text = visit.query.get("starting_after", "")
    if not text.isdecimal():
        return None
    return streamed([piece for number, piece in stored.stream if not isinstance(number, int) or number >= int(text)])


@FAULTS.add("replay-after-zero-is-whole", "BGR-10", hook="override", through=on_replay)
def _all_after_zero(visit: Visit, stored: Stored) -> Reply | None:
    """Replays with starting_after=0 begin with the first event."""
    after_zero = visit.query.get("starting_after") == "0"
    return streamed([piece for _, piece in stored.stream]) if after_zero else None


@FAULTS.add("replay-hangs-at-end", "BGR-11", hook="override", through=on_replay)
def _hang_at_end(visit: Visit, stored: Stored) -> Reply | None:
    """Replays that start after the last event do not end."""
    if not visit.query.get("starting_after", "").isdecimal():
        return None
    pieces = replay_pieces(visit, stored)
    return streamed(pieces, hold=0.0 if len(pieces) > 1 else visit.hold)


@FAULTS.add("replay-counts-from-behind", "BGR-12", hook="override", through=on_replay)
def _from_behind(visit: Visit, stored: Stored) -> Reply | None:
    """A negative starting_after counts from the end."""
    text = visit.query.get("starting_after", "")
    return streamed([piece for _, piece in stored.stream][int(text) :]) if text.startswith("-") else None


@FAULTS.add("replay-waits-for-completed", "BGR-13", hook="override", through=on_replay)
def _hang_unless_completed(visit: Visit, stored: Stored) -> Reply | None:
    """Replays of responses that are not completed do not end."""
    if stored.is_running(visit.now) or stored.current(visit.now)["status"] == "completed":
        return None
    return streamed(replay_pieces(visit, stored), hold=visit.hold)


@FAULTS.add("attaching-gives-snapshot", "BGR-14", hook="override", through=on_replay)
def _snapshot_only(visit: Visit, stored: Stored) -> Reply | None:
    """Reattaching to a running stream returns only the events so far."""
    return streamed(replay_pieces(visit, stored)[:4]) if stored.is_running(visit.now) else None


@FAULTS.add("replay-of-foreground-is-plain", "BGR-15", hook="override")
def _stream_ignored(visit: Visit) -> Reply | None:
    """Replaying a response created without background returns JSON."""
    stored = visit.stored
    return reply_with(stored.response) if wants_replay(visit) and stored is not None and not stored.stream else None


@FAULTS.add("leaving-cancels", "BGR-16", hook="on_reader_left")
def _stopped(stored: Stored) -> None:
    """Background responses are cancelled when the client closes the stream."""
    stored.cancelled = stored.cancelled or stored.background


@FAULTS.add("resuming-skips-event", "BGR-17", hook="override", through=on_replay)
def _resumed_late(visit: Visit, stored: Stored) -> Reply | None:
    """Resuming a running stream skips one event."""
    resumed = stored.is_running(visit.now) and "starting_after" in visit.query
    return streamed(replay_pieces(visit, stored)[1:]) if resumed else None


@FAULTS.add("cancelled-stream-completes", "BGR-18", hook="override", through=on_replay)
def _told_to_the_end(visit: Visit, stored: Stored) -> Reply | None:
    """The stream of a cancelled response ends with response.completed."""
    return None if "starting_after" in visit.query else streamed(replay_pieces(visit, stored))
