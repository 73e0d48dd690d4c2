"""Response lifecycle: created, in_progress, the terminal event, and the response objects in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import Event, ExchangeView
from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.conformance.judging.problems import at_event, event_name, get, is_set, one_of, quoted
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.fold import Snapshot
from rejoinder.model.exchange import Outcome
from rejoinder.model.verdict import ABSENT, Problem

CREATED: Final = "response.created"
QUEUED: Final = "response.queued"
IN_PROGRESS: Final = "response.in_progress"
_RANK: Final[Mapping[str, int]] = {"queued": 0, "in_progress": 1}
_ITEM_ROLES: Final = ("item.added", "item.done", "part.added", "part.done", "delta", "done", "annotation", "progress")


def _of(view: ExchangeView, kind: str) -> list[Event]:
    return view.by_type.get(kind, [])


def _is_response(view: ExchangeView) -> bool:
    """Whether the stream is that of a response; one that begins with an error event has none (HTTP-13, LIF-05)."""
    return bool(view.known) and view.known[0].type != "error"


@check("LIF-01", Subject.STREAM, needs=_is_response)
def created_comes_first(view: ExchangeView) -> Iterator[Problem]:
    """Tests the first event whose type the dialect defines, unless it is `error`."""
    first = view.known[0]
    if first.type not in (CREATED, QUEUED):
        message = f"The stream starts with {first.type}."
        yield at_event(first, message, "/type", expected=one_of((CREATED, QUEUED)), actual=first.type)


@check("LIF-02", Subject.STREAM, needs=_is_response)
def created_once(view: ExchangeView) -> Iterator[Problem]:
    """Counts the events `response.created` and `response.in_progress` in streams that do not begin with `error`."""
    created, started = _of(view, CREATED), _of(view, IN_PROGRESS)
    if not created:
        yield Problem("The stream has no response.created event.", expected=1, actual=0, kind="no created")
    elif len(created) > 1:
        message = f"The stream has {len(created)} response.created events."
        yield at_event(created[1], message, expected=1, actual=len(created), kind="created")
    if len(started) > 1:
        yield at_event(
            started[1],
            f"The stream has {len(started)} response.in_progress events.",
            expected="0 or 1",
            actual=len(started),
            kind="in_progress",
        )


@check("LIF-03", Subject.STREAM, needs=lambda view: bool(_of(view, CREATED)))
def in_progress_follows(view: ExchangeView) -> Iterator[Problem]:
    """Tests the first event after `response.created` and `response.queued`."""
    known = [event for event in view.known if event.type not in (CREATED, QUEUED)]
    # A response that fails at once is never in progress.
    if known and known[0].type not in (IN_PROGRESS, "error", "response.failed"):
        yield at_event(
            known[0],
            f"{known[0].type} follows response.created.",
            "/type",
            expected=IN_PROGRESS,
            actual=known[0].type,
        )


@check("LIF-04", Subject.STREAM, needs=lambda view: bool(_of(view, CREATED)))
def nothing_before_created(view: ExchangeView) -> Iterator[Problem]:
    """Searches for item, part, delta and progress events before the first `response.created`."""
    created = _of(view, CREATED)[0].number
    for event in view.events[:created]:
        if event.spec and event.spec.role in _ITEM_ROLES:
            message = f"{event_name(event)} comes before response.created."
            yield at_event(event, message, expected=CREATED, actual=event.type)
            return


def _was_read_whole(view: ExchangeView) -> bool:
    return view.exchange.outcome not in (Outcome.CANCELLED, Outcome.TOO_LARGE) and not view.reader.full


@check("LIF-05", Subject.STREAM, needs=_was_read_whole)
def one_terminal_event(view: ExchangeView) -> Iterator[Problem]:
    """Counts terminal events. Streams that rejoinder stopped itself are not tested.

    A complete stream whose last event is `error` needs none; LIF-08 covers it.
    """
    terminals = view.fold.terminals
    if not terminals and view.exchange.outcome is Outcome.COMPLETE and view.known and view.known[-1].type == "error":
        return
    if not terminals:
        how = {Outcome.COMPLETE: "ended", Outcome.CUT: "was cut off", Outcome.TIMEOUT: "timed out"}.get(
            view.exchange.outcome, "broke off"
        )
        yield Problem(
            f"The stream {how} without a terminal event.",
            expected="one of response.completed, response.failed, response.incomplete",
            actual=view.events[-1].type if view.events else "no event",
            kind="missing",
        )
    elif len(terminals) > 1:
        second = view.events[terminals[1]]
        message = f"The stream has {len(terminals)} terminal events."
        yield at_event(second, message, expected=1, actual=len(terminals), kind="many")


@check("LIF-06", Subject.STREAM, needs=lambda view: bool(view.fold.terminals))
def terminal_is_last(view: ExchangeView) -> Iterator[Problem]:
    """Reports the first event after the terminal event. LIF-05 covers a second terminal event."""
    for event in view.events[view.fold.terminals[0] + 1 :]:
        if event.spec and event.spec.role != "terminal":
            message = f"{event_name(event)} follows the terminal event."
            yield at_event(event, message, expected="end of the stream", actual=event.type)
            return


def _snapshots(view: ExchangeView) -> list[tuple[Snapshot, dict[str, Any]]]:
    return [(shot, shot.response) for shot in view.fold.snapshots if isinstance(shot.response, dict)]


@check("LIF-07", Subject.STREAM, needs=lambda view: bool(_snapshots(view)))
def name_equals_status(view: ExchangeView) -> Iterator[Problem]:
    """Compares the status in each lifecycle event with the last word of the event type.

    LIF-15 covers `response.completed` of an incomplete response.
    """
    for shot, response in _snapshots(view):
        if _is_misnamed(shot, response):
            continue
        wanted = shot.type.removeprefix("response.")
        status = response.get("status", ABSENT)
        # response.created announces the first status, which is queued or in_progress.
        fits = status in ("queued", "in_progress") if shot.type == CREATED else status == wanted
        if not fits and status is not ABSENT:
            yield at_event(
                view.events[shot.event],
                f"The status in {shot.type} is {quoted(status)}.",
                "/response/status",
                expected=one_of(_RANK) if shot.type == CREATED else wanted,
                actual=status,
            )


def _is_misnamed(shot: Snapshot, response: Mapping[str, Any]) -> bool:
    return shot.type == "response.completed" and response.get("status") == "incomplete"


@check(
    "LIF-15",
    Subject.STREAM,
    needs=lambda view: any(response.get("status") == "incomplete" for _, response in _snapshots(view)),
)
def incomplete_ends_are_named(view: ExchangeView) -> Iterator[Problem]:
    """Tests the type of every event whose response has status `incomplete`. LIF-07 covers other types."""
    for shot, response in _snapshots(view):
        if _is_misnamed(shot, response):
            yield at_event(
                view.events[shot.event],
                'The status in response.completed is "incomplete".',
                "/type",
                expected="response.incomplete",
                actual=shot.type,
            )


@check("LIF-08", Subject.STREAM, needs=lambda view: bool(view.fold.errors))
def error_then_failed(view: ExchangeView) -> Iterator[Problem]:
    """Searches for `response.failed` after the first `error` event."""
    error = view.events[view.fold.errors[0]]
    if not any(event.type == "response.failed" for event in view.events[error.number :]):
        yield at_event(
            error,
            f"No response.failed follows the error event; the last event is {quoted(view.events[-1].type)}.",
            expected="response.failed",
            actual=view.events[-1].type,
        )


@check("LIF-09", Subject.STREAM, needs=lambda view: len(_snapshots(view)) > 1)
def one_response_id(view: ExchangeView) -> Iterator[Problem]:
    """Compares the `id` of every response object in the stream with the first one."""
    first = next((r["id"] for _, r in _snapshots(view) if isinstance(r.get("id"), str)), None)
    for shot, response in _snapshots(view):
        identity = response.get("id", first)
        if first is not None and identity != first:
            yield at_event(
                view.events[shot.event],
                f"The response id changes from {quoted(first)} to {quoted(identity)} in {shot.type}.",
                "/response/id",
                expected=first,
                actual=identity,
            )
            return


@check("LIF-10", Subject.STREAM, needs=lambda view: len(_snapshots(view)) > 1)
def snapshots_agree(view: ExchangeView) -> Iterator[Problem]:
    """Compares `created_at`, `model` and the echoed request parameters wherever two response objects have them.

    A value may take the place of null, and a longer name of the model that of a shorter one, which it contains.
    """
    # The endpoint chooses the service tier while it serves the request. It does not echo the input.
    echoed = view.dialect.parameters - {"input", "stream", "service_tier"} | {"created_at", "model"}
    reported: set[str] = set()
    seen: dict[str, Any] = {}
    for shot, response in _snapshots(view):
        for name in response:
            if name not in echoed or name in reported:
                continue
            if seen.get(name) is None or (name == "model" and _is_full_name(response[name], seen[name])):
                seen[name] = response[name]
                continue
            difference = first_difference(seen[name], response[name], f"/response/{name}")
            if difference:
                reported.add(name)
                pointer, expected, actual = difference
                yield at_event(
                    view.events[shot.event],
                    f"{name} changes in {shot.type}.",
                    pointer,
                    expected=expected,
                    actual=actual,
                )


def _is_full_name(name: Any, short: Any) -> bool:
    return isinstance(name, str) and isinstance(short, str) and short != "" and short in name


@check(
    "LIF-11",
    Subject.STREAM,
    needs=lambda view: any(s.type in (CREATED, QUEUED, IN_PROGRESS) for s, _ in _snapshots(view)),
)
def early_snapshots_are_empty(view: ExchangeView) -> Iterator[Problem]:
    """Tests `output`, `error`, `incomplete_details` and `completed_at` in the three events."""
    for shot, response in _snapshots(view):
        if shot.type not in (CREATED, QUEUED, IN_PROGRESS):
            continue
        event = view.events[shot.event]
        if response.get("output"):
            yield at_event(
                event,
                f"{shot.type} already has output.",
                "/response/output",
                expected=[],
                actual=response["output"],
            )
        for name in ("error", "incomplete_details", "completed_at"):
            if response.get(name) is not None:
                yield at_event(
                    event,
                    f"{shot.type} already has {name}.",
                    f"/response/{name}",
                    expected=None,
                    actual=response[name],
                )


@check("LIF-12", Subject.STREAM, needs=lambda view: bool(_snapshots(view)))
def no_early_usage(view: ExchangeView) -> Iterator[Problem]:
    """Searches every event before the terminal one for `usage` and `response.usage`."""
    end = view.fold.terminals[0] if view.fold.terminals else len(view.events)
    for event in view.events[:end]:
        if event.spec is None or not ("usage" in event.data or "response" in event.data):
            continue
        for pointer, usage in (
            ("/usage", get(event.data, "usage")),
            ("/response/usage", get(event.data, "response", "usage")),
        ):
            if is_set(usage):
                message = f"{event_name(event)} has usage before the terminal event."
                yield at_event(event, message, pointer, expected="null or absent", actual=usage)


@check("LIF-13", Subject.STREAM, needs=lambda view: len(_snapshots(view)) > 1)
def status_moves_forward(view: ExchangeView) -> Iterator[Problem]:
    """Compares the status of each response object in the stream with the previous one."""
    before, rank = "", -1
    for shot, response in _snapshots(view):
        status = response.get("status")
        if not isinstance(status, str):
            continue
        now = _RANK.get(status, 2)
        if now < rank or (now == rank == 2 and status != before):
            yield at_event(
                view.events[shot.event],
                f"The status goes from {quoted(before)} to {quoted(status)}.",
                "/response/status",
                expected=before if rank == 2 else f"{before} or a later status",
                actual=status,
            )
            return
        before, rank = status, now


@check("LIF-14", Subject.STREAM, needs=lambda view: bool(_of(view, QUEUED)))
def queued_then_in_progress(view: ExchangeView) -> Iterator[Problem]:
    """Searches for `response.in_progress` between `response.queued` and the first item event."""
    queued = _of(view, QUEUED)[0]
    for event in view.events[queued.number + 1 :]:
        if event.type == IN_PROGRESS:
            return
        if event.spec and event.spec.role in _ITEM_ROLES:
            yield at_event(
                event,
                f"{event_name(event)} follows response.queued without response.in_progress between them.",
                expected=IN_PROGRESS,
                actual=event.type,
            )
            return
