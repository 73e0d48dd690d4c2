"""Background responses: polled, cancelled, streamed, replayed, disconnected."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.running.case import (
    LONG,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    continuing,
    is_over,
    plain_and_streamed,
    stored_path,
    stored_request,
    user,
)
from rejoinder.model.exchange import parse_json
from rejoinder.model.tags import sent_for
from rejoinder.wire.sse import read_events

_REPLAY_SECONDS: Final = 20.0
_CUTS: Final = 32
"""The largest number of places from which a short stream is replayed; with fewer events each is one."""
_SNAPSHOT_BYTES: Final = 4000
"""Bytes of a stream in which its first snapshot has room, with the id of the response."""
_SEEN_BYTES: Final = 6000
"""Bytes after which a reader leaves a stream that it takes up again."""
_RACES: Final = (0.0, 0.15, 0.3)
"""Seconds after which a response in the background is cancelled."""
_SETTLED: Final = 0.3
"""Seconds after which the outcome of a race is looked at again."""


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan."""
    if plan == "smoke":
        return
    yield plain_and_streamed(
        "content.background",
        "A background response, with and without streaming.",
        context.body(input=user("Say hello."), background=True),
    )
    hello = user("Say hello.")
    polled = (
        RequestSpec(Role.FIRST, context.body(input=hello, background=True)),
        stored_request(Role.POLL, Role.FIRST, until=is_over),
    )
    further = (
        stored_request(Role.GET, Role.FIRST),
        stored_request(Role.CANCEL, Role.FIRST, "cancel", method="POST"),
        stored_request(Role.GET_AFTER, Role.FIRST),
        RequestSpec(Role.NOT_STORED, context.body(input=hello, background=True, store=False), (sent_for("BGR-02"),)),
        RequestSpec(Role.STREAM, context.body(input=hello, background=True, stream=True)),
    )
    yield PlannedCase(
        "background.polled",
        "A background response is polled until it ends.",
        polled if plan == "quick" else (*polled, *further),
    )
    if plan == "full":
        yield from _cancelled(context)
        yield _replayed(context)
        yield _left(context)
        yield _cuts(context)
        yield _resumed(context)
        for number, wait in enumerate(_RACES, 1):
            yield _raced(context, number, wait)


def _story(context: CaseContext, **fields: Any) -> dict[str, Any]:
    return context.body(input=user("Tell a long story."), background=True, max_output_tokens=LONG, **fields)


def _cancelled(context: CaseContext) -> Iterator[PlannedCase]:
    continued = continuing(Role.FIRST, context.body(input=user("Go on.")))
    yield PlannedCase(
        "background.cancelled",
        "A background response is cancelled twice and continued.",
        (
            RequestSpec(Role.FIRST, _story(context)),
            stored_request(Role.CANCEL, Role.FIRST, "cancel", method="POST"),
            stored_request(Role.GET_CANCELLED, Role.FIRST, until=is_over),
            stored_request(Role.CANCEL_AGAIN, Role.FIRST, "cancel", method="POST"),
            stored_request(Role.GET_AGAIN, Role.FIRST),
            RequestSpec(Role.CONTINUES_CANCELLED, continued, ()),
        ),
    )
    yield PlannedCase(
        "background.continued",
        "A background response is continued while it runs.",
        (
            RequestSpec(Role.FIRST, _story(context)),
            RequestSpec(Role.CONTINUES_RUNNING, continued, ()),
            stored_request(Role.GET_RUNNING, Role.FIRST),
        ),
    )
    yield PlannedCase(
        "background.cancelled-stream",
        "A background stream is closed and cancelled. Its replay must end.",
        (
            RequestSpec(Role.LEFT, _story(context, stream=True), read_limit=_SNAPSHOT_BYTES),
            stored_request(Role.CANCEL, Role.LEFT, "cancel", method="POST"),
            stored_request(Role.GET_CANCELLED, Role.LEFT, until=is_over),
            _replay(Role.REPLAY, Role.LEFT),
        ),
    )


def _replayed(context: CaseContext) -> PlannedCase:
    """Return a case whose response is cut short, as most are that end other than completed."""
    return PlannedCase(
        "background.replayed",
        "A background stream, replayed from start, middle and end, and with invalid starting_after.",
        (
            RequestSpec(Role.STREAM, context.body(input=user("Tell a long story."), background=True, stream=True)),
            _replay(Role.REPLAY, Role.STREAM),
            _replay(Role.REPLAY_MIDDLE, Role.STREAM, lambda numbers: str(numbers[len(numbers) // 2])),
            _replay(Role.REPLAY_END, Role.STREAM, lambda numbers: str(numbers[-1])),
            _replay(Role.REPLAY_NEGATIVE, Role.STREAM, lambda numbers: "-3"),
            _replay(Role.REPLAY_WORD, Role.STREAM, lambda numbers: "soon"),
            *_bare_replay(context),
        ),
    )


def _bare_replay(context: CaseContext) -> Iterator[RequestSpec]:
    """Yield the replay without obfuscation, if the dialect has a parameter for it."""
    retrieve = context.dialect.operations.get("retrieve")
    if retrieve is not None and "include_obfuscation" in (retrieve.query or {}).get("properties", {}):
        query = "stream=true&include_obfuscation=false"
        yield stored_request(Role.REPLAY_BARE, Role.STREAM, query=query, deadline=_REPLAY_SECONDS)


def _left(context: CaseContext) -> PlannedCase:
    return PlannedCase(
        "background.left",
        "A background stream is closed at its start and reattached.",
        (
            RequestSpec(Role.LEFT, _story(context, stream=True), read_limit=_SNAPSHOT_BYTES),
            _replay(Role.ATTACHED, Role.LEFT, seconds=120.0),
            stored_request(Role.POLL, Role.LEFT, until=is_over),
        ),
    )


def _cuts(context: CaseContext) -> PlannedCase:
    def cut(number: int) -> Callable[[list[int]], str | None]:
        def start(numbers: list[int]) -> str | None:
            step = max(1.0, len(numbers) / _CUTS)
            place = int(number * step)
            return str(numbers[place]) if place < len(numbers) else None

        return start

    hello = context.body(input=user("Say hello."), background=True, stream=True)
    return PlannedCase(
        "background.cuts",
        "A short background stream is replayed from each of its events.",
        (
            RequestSpec(Role.STREAM, hello),
            *(_replay(role_of(Role.REPLAY_CUT, n + 1), Role.STREAM, cut(n)) for n in range(_CUTS)),
        ),
    )


def _resumed(context: CaseContext) -> PlannedCase:
    return PlannedCase(
        "background.resumed",
        "A background stream is closed in its middle and resumed after the last event that was read.",
        (
            RequestSpec(Role.LEFT, _story(context, stream=True), read_limit=_SEEN_BYTES),
            _replay(Role.RESUMED, Role.LEFT, lambda numbers: str(numbers[-1]), seconds=120.0),
            stored_request(Role.POLL, Role.LEFT, until=is_over),
            _replay(Role.WHOLE, Role.LEFT),
        ),
    )


def _raced(context: CaseContext, number: int, wait: float) -> PlannedCase:
    return PlannedCase(
        f"background.raced-{number}",
        "A background response is cancelled while its stream is read, perhaps as it ends.",
        (
            RequestSpec(Role.LEFT, _story(context, stream=True), read_limit=_SNAPSHOT_BYTES),
            _replay(Role.RACED, Role.LEFT),
            stored_request(Role.CANCEL, Role.LEFT, "cancel", method="POST", beside=True, wait=wait),
            stored_request(Role.GET_RACED, Role.LEFT, until=is_over),
            stored_request(Role.GET_RACED_AGAIN, Role.LEFT, wait=_SETTLED),
        ),
    )


def _replay(
    role: str, of: str, after: Callable[[list[int]], str | None] | None = None, *, seconds: float = _REPLAY_SECONDS
) -> RequestSpec:
    """Return a retrieve of the stream of a response after a sequence number.

    ``after`` picks it from those that were seen; where it gives ``None``, or none were seen, nothing is sent.
    """

    def start(replies: Replies) -> str | None:
        seen = _numbers(replies, of)
        return after(seen) if after is not None and seen else None

    def query(replies: Replies) -> str:
        return "stream=true" if after is None else f"stream=true&starting_after={start(replies)}"

    def path(replies: Replies) -> tuple[str, ...] | None:
        return stored_path(of)(replies) if after is None or start(replies) is not None else None

    return RequestSpec(role, method="GET", path=path, query=query, tags=(), deadline=seconds)


def _numbers(replies: Replies, role: str) -> list[int]:
    """Return the sequence numbers of the events of a reply that were received whole."""
    reply = replies.get(role)
    events = read_events(reply.chunks)[0] if reply is not None else []
    data = [parse_json(event.data) for event in events if event.terminated]
    numbers = [event.get("sequence_number") for event in data if isinstance(event, dict)]
    return [number for number in numbers if type(number) is int]
