"""Faults that need other requests at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from rejoinder.sandbox.endpoint.reply import ApiError, Piece, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import CONCURRENT, Condition, Events, Fault, FaultList

_CROWD: Final = Condition("only with two concurrent requests", lambda info: len(info.others) >= 2)
# Seconds that a reader may let pass between two reads under slow-reader-cut.
_PATIENCE: Final = 0.2
# How many plain requests crash after a reader left under crash-after-leaving.
_CRASHES: Final = 6


class _Harm:
    """A client that leaves a stream early ends the streams in flight, or the server. Counts the clients that left."""

    def __init__(self) -> None:
        self.left = 0

    def on_read(self, chunks: Iterator[Piece], _: RequestInfo, __: Callable[[], float]) -> Iterator[Piece]:
        return self._until_left(chunks, self.left)

    def _until_left(self, chunks: Iterator[Piece], began: int) -> Iterator[Piece]:
        ended = False
        try:
            for piece in chunks:
                if self.left != began:
                    break
                yield piece
            ended = True
        finally:
            self.left += not ended


class _Gone:
    """After a reader left, the next plain requests get a server error. Keeps how many."""

    def __init__(self) -> None:
        self.owed = 0

    def on_read(self, chunks: Iterator[Piece], _: RequestInfo, __: Callable[[], float]) -> Iterator[Piece]:
        whole = False
        try:
            yield from chunks
            whole = True
        finally:
            if not whole:
                self.owed = _CRASHES

    def request(self, body: Json, info: RequestInfo) -> Json:
        if self.owed and not info.streamed:
            self.owed -= 1
            raise ApiError(500, "The worker is gone.", code="server_error")
        return body


_GONE: Final = _Gone()


FAULTS: Final = FaultList(
    Fault(
        id="leaving-ends-other-streams",
        title="A client disconnect ends concurrent streams.",
        breaks=("ISO-04",),
        on_read=_Harm().on_read,
    ),
    Fault(
        id="crash-after-leaving",
        title="After a client disconnect, non-streaming requests get a server error.",
        breaks=("ISO-04",),
        on_read=_GONE.on_read,
        request=_GONE.request,
    ),
)


@FAULTS.add("answers-mixed-when-busy", "ISO-01", hook="request", when=CONCURRENT)
def _other_input(body: Json, info: RequestInfo) -> Json:
    """Responses use the input of a concurrent request."""
    other = info.others[-1].get("input")
    return {**body, "input": other} if isinstance(other, list) and other and "role" in other[-1] else body


@FAULTS.add("metadata-mixed-when-busy", "ISO-01", hook="response", when=CONCURRENT)
def _other_metadata(response: Json, _: str, info: RequestInfo) -> None:
    """Responses have the metadata of a concurrent request."""
    metadata = info.others[-1].get("metadata")
    if isinstance(metadata, dict) and response.get("metadata"):
        response["metadata"] = dict(metadata)


@FAULTS.add("input-lost-when-busy", "ISO-02", hook="request", when=_CROWD)
def _no_input(body: Json, _: RequestInfo) -> Json:
    """Concurrent requests are answered as if the input were a greeting."""
    return {**body, "input": [{"role": "user", "content": "Hello."}]}


@FAULTS.add("stream-cut-when-busy", "ISO-03", hook="events", when=_CROWD)
def _lost_end(events: Events, _: RequestInfo) -> Events:
    """Concurrent streams lose their end."""
    return events[:-2]


@FAULTS.add("slow-reader-cut", "ISO-05", hook="on_read")
def _impatient(chunks: Iterator[Piece], _: RequestInfo, clock: Callable[[], float]) -> Iterator[Piece]:
    """A stream ends when the client pauses for 0.2 s between reads."""
    for piece in chunks:
        before = clock()
        yield piece
        if clock() - before > _PATIENCE:
            return
