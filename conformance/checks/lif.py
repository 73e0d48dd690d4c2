"""Response lifecycle: created, in_progress, the terminal event, and the snapshots between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import Event, ExchangeView
from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.conformance.judging.problems import at_event, get, is_set
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


@check("LIF-01", Subject.STREAM, needs=lambda view: bool(view.known))
def created_comes_first(view: ExchangeView) -> Iterator[Problem]:
    """The first event that the contract knows is looked at."""
    first = view.known[0]
    if first.type not in (CREATED, QUEUED):
        yield at_event(
            first, "The stream does not begin with response.created.", "/type", expected=CREATED, actual=first.type
        )


@check("LIF-02", Subject.STREAM, needs=lambda view: bool(view.known))
def created_once(view: ExchangeView) -> Iterator[Problem]:
    """The events response.created and response.in_progress are counted."""
    created, started = _of(view, CREATED), _of(view, IN_PROGRESS)
    if not created:
        yield Problem("The stream has no response.created.", expected=1, actual=0, kind="no created")
    elif len(created) > 1:
        yield at_event(
            created[1], "response.created comes more than once.", expected=1, actual=len(created), kind="created"
        )
    if len(started) > 1:
        yield at_event(
            started[1],
            "response.in_progress comes more than once.",
            expected="at most 1",
            actual=len(started),
            kind="in_progress",
        )


@check("LIF-03", Subject.STREAM, needs=lambda view: bool(_of(view, CREATED)))
def in_progress_follows(view: ExchangeView) -> Iterator[Problem]:
    """The known event after response.created (and response.queued, if there is one) must be response.in_progress."""
    known = [event for event in view.known if event.type not in (CREATED, QUEUED)]
    # A response that fails at once never gets into progress.
    if known and known[0].type not in (IN_PROGRESS, "error", "response.failed"):
        yield at_event(
            known[0],
            "response.created is not followed by response.in_progress.",
            "/type",
            expected=IN_PROGRESS,
            actual=known[0].type,
        )


@check("LIF-04", Subject.STREAM, needs=lambda view: bool(_of(view, CREATED)))
def nothing_before_created(view: ExchangeView) -> Iterator[Problem]:
    """Item, part, delta and progress events are looked for before the first response.created."""
    created = _of(view, CREATED)[0].number
    for event in view.events[:created]:
        if event.spec and event.spec.role in _ITEM_ROLES:
            yield at_event(event, "An item event comes before response.created.", expected=CREATED, actual=event.type)
            return


def _was_read_whole(view: ExchangeView) -> bool:
    return view.exchange.outcome not in (Outcome.CANCELLED, Outcome.TOO_LARGE) and not view.reader.full


@check("LIF-05", Subject.STREAM, needs=_was_read_whole)
def one_terminal_event(view: ExchangeView) -> Iterator[Problem]:
    """Terminal events are counted; streams that the harness itself stopped are not judged."""
    terminals = view.fold.terminals
    if not terminals:
        how = {Outcome.COMPLETE: "ended in order", Outcome.CUT: "was cut off", Outcome.TIMEOUT: "fell silent"}.get(
            view.exchange.outcome, "broke"
        )
        yield Problem(
            f"The stream {how} without a terminal event.",
            expected="response.completed, response.failed or response.incomplete",
            actual=view.events[-1].type if view.events else ABSENT,
            kind="missing",
        )
    elif len(terminals) > 1:
        second = view.events[terminals[1]]
        yield at_event(
            second, "A stream has more than one terminal event.", expected=1, actual=len(terminals), kind="many"
        )


@check("LIF-06", Subject.STREAM, needs=lambda view: bool(view.fold.terminals))
def terminal_is_last(view: ExchangeView) -> Iterator[Problem]:
    """Known events after the first terminal one are problems; a second terminal event is left to LIF-05."""
    for event in view.events[view.fold.terminals[0] + 1 :]:
        if event.spec and event.spec.role != "terminal":
            yield at_event(event, "An event comes after the terminal event.", actual=event.type)
            return


def _snapshots(view: ExchangeView) -> list[tuple[Snapshot, dict[str, Any]]]:
    return [(shot, shot.response) for shot in view.fold.snapshots if isinstance(shot.response, dict)]


@check("LIF-07", Subject.STREAM, needs=lambda view: bool(_snapshots(view)))
def name_equals_status(view: ExchangeView) -> Iterator[Problem]:
    """The status of each snapshot is compared with the last word of its event type."""
    for shot, response in _snapshots(view):
        wanted = shot.type.removeprefix("response.")
        status = response.get("status", ABSENT)
        # response.created stands for the first state, which is queued or in_progress.
        fits = status in ("queued", "in_progress") if shot.type == CREATED else status == wanted
        if not fits and status is not ABSENT:
            yield at_event(
                view.events[shot.event],
                f"The response inside {shot.type} has another status.",
                "/response/status",
                expected="in_progress" if shot.type == CREATED else wanted,
                actual=status,
            )


@check("LIF-08", Subject.STREAM, needs=lambda view: bool(view.fold.errors))
def error_then_failed(view: ExchangeView) -> Iterator[Problem]:
    """After an error event a response.failed must come."""
    error = view.events[view.fold.errors[0]]
    if not any(event.type == "response.failed" for event in view.events[error.number :]):
        yield at_event(error, "An error event is not followed by response.failed.", expected="response.failed")


@check("LIF-09", Subject.STREAM, needs=lambda view: len(_snapshots(view)) > 1)
def one_response_id(view: ExchangeView) -> Iterator[Problem]:
    """The ids of all snapshots are compared with the first."""
    first = next((r["id"] for _, r in _snapshots(view) if isinstance(r.get("id"), str)), None)
    for shot, response in _snapshots(view):
        identity = response.get("id", first)
        if first is not None and identity != first:
            yield at_event(
                view.events[shot.event],
                "The response id changes within a stream.",
                "/response/id",
                expected=first,
                actual=identity,
            )
            return


@check("LIF-10", Subject.STREAM, needs=lambda view: len(_snapshots(view)) > 1)
def snapshots_agree(view: ExchangeView) -> Iterator[Problem]:
    """created_at, model and every request parameter that two snapshots both have are compared."""
    # The service tier is decided while the request is served; the input is not echoed.
    echoed = view.dialect.parameters - {"input", "stream", "service_tier"} | {"created_at", "model"}
    reported: set[str] = set()
    seen: dict[str, Any] = {}
    for shot, response in _snapshots(view):
        for name in response:
            if name not in echoed or name in reported:
                continue
            if name not in seen:
                seen[name] = response[name]
                continue
            difference = first_difference(seen[name], response[name], f"/response/{name}")
            if difference:
                reported.add(name)
                pointer, expected, actual = difference
                yield at_event(
                    view.events[shot.event],
                    f"{name} differs between the snapshots of one stream.",
                    pointer,
                    expected=expected,
                    actual=actual,
                )


@check(
    "LIF-11",
    Subject.STREAM,
    needs=lambda view: any(s.type in (CREATED, QUEUED, IN_PROGRESS) for s, _ in _snapshots(view)),
)
def early_snapshots_are_empty(view: ExchangeView) -> Iterator[Problem]:
    """Before the terminal event output must be empty; error, incomplete_details and completed_at null or absent."""
    for shot, response in _snapshots(view):
        if shot.type not in (CREATED, QUEUED, IN_PROGRESS):
            continue
        event = view.events[shot.event]
        if response.get("output"):
            yield at_event(
                event,
                "A snapshot has output before the terminal event.",
                "/response/output",
                expected=[],
                actual=response["output"],
            )
        for name in ("error", "incomplete_details", "completed_at"):
            if response.get(name) is not None:
                yield at_event(
                    event,
                    f"A snapshot has {name} before the terminal event.",
                    f"/response/{name}",
                    expected=None,
                    actual=response[name],
                )


@check("LIF-12", Subject.STREAM, needs=lambda view: bool(_snapshots(view)))
def no_early_usage(view: ExchangeView) -> Iterator[Problem]:
    """Usage is looked for in every event before the first terminal one, beside and inside a response."""
    end = view.fold.terminals[0] if view.fold.terminals else len(view.events)
    for event in view.events[:end]:
        if event.spec is None or not ("usage" in event.data or "response" in event.data):
            continue
        for pointer, usage in (
            ("/usage", get(event.data, "usage")),
            ("/response/usage", get(event.data, "response", "usage")),
        ):
            if is_set(usage):
                yield at_event(event, "Usage comes before the terminal event.", pointer, expected=None, actual=usage)


@check("LIF-13", Subject.STREAM, needs=lambda view: len(_snapshots(view)) > 1)
def status_moves_forward(view: ExchangeView) -> Iterator[Problem]:
    """The statuses of the snapshots are compared in order; terminal ones rank last."""
    before, rank = "", -1
    for shot, response in _snapshots(view):
        status = response.get("status")
        if not isinstance(status, str):
            continue
        now = _RANK.get(status, 2)
        if now < rank or (now == rank == 2 and status != before):
            yield at_event(
                view.events[shot.event],
                "The status moves backwards.",
                "/response/status",
                expected=f"not before {before}",
                actual=status,
            )
            return
        before, rank = status, now


@check("LIF-14", Subject.STREAM, needs=lambda view: bool(_of(view, QUEUED)))
def queued_then_in_progress(view: ExchangeView) -> Iterator[Problem]:
    """After response.queued, response.in_progress must come before the first item event."""
    queued = _of(view, QUEUED)[0]
    for event in view.events[queued.number + 1 :]:
        if event.type == IN_PROGRESS:
            return
        if event.spec and event.spec.role in _ITEM_ROLES:
            yield at_event(
                event,
                "Items begin after response.queued without response.in_progress.",
                expected=IN_PROGRESS,
                actual=event.type,
            )
            return
