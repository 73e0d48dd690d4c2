"""One request as a socket saw it: raw receives with their clock readings, and what they mean as HTTP/1.1.

The reader only records; :func:`to_exchange` finds head and body afterwards, in another process. The two functions that
the reader needs while it records (where does the head end, where does the message end) are the same ones, so both
always agree.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from typing import Any, Final, NamedTuple, overload

from rejoinder.budgets import LOAD, ReplyMeter
from rejoinder.formatting import plural
from rejoinder.model.exchange import Chunk, Exchange, Headers, Outcome, Request, parse_json
from rejoinder.model.tags import Tag

RECEIVE: Final = 16
"""Bytes that a receive takes beside those that it brought."""
_STATUS_BYTES: Final = 16
"""Bytes after which the beginning of a status line has been read."""
_HEAD_END: Final = b"\r\n\r\n"
_MAX_LINE: Final = 8 * 1024
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\Z")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?\Z", re.DOTALL)


class FramingError(ValueError):
    """Bytes that are not an HTTP/1.1 reply; the message says what and where in one phrase.

    ``before`` is the body that the same bytes held before that.
    """

    before: bytes = b""


class OverBudgetError(FramingError):
    """A reply that is larger than what is read of one; the message is a sentence on what was cut."""


class Receives(Sequence[tuple[int, bytes]]):
    """The receives of one reply in order, each a clock reading and the bytes that it brought.

    All bytes are in one buffer, ``data``, since an object for each receive takes several times as much memory.
    """

    __slots__ = ("_ends", "_times", "data")

    def __init__(self, receives: Iterable[tuple[int, bytes]] = ()) -> None:
        self.data = bytearray()
        self._times = array("q")
        self._ends = array("Q")
        for at, piece in receives:
            self.append(at, piece)

    def append(self, at: int, piece: bytes) -> None:
        """Add a receive."""
        self.data += piece
        self._times.append(at)
        self._ends.append(len(self.data))

    @property
    def size(self) -> int:
        """The bytes of memory that they take."""
        return len(self.data) + RECEIVE * len(self._times)

    @property
    def last(self) -> int:
        """The clock reading of the last one; there has to be one."""
        return self._times[-1]

    def rest(self, size: int) -> Iterator[tuple[int, bytes]]:
        """Yield what follows the first ``size`` bytes, from the receive on that completed them."""
        for place in range(bisect_left(self._ends, size), len(self)):
            begin = max(size, self._ends[place - 1] if place else 0)
            yield self._times[place], bytes(self.data[begin : self._ends[place]])

    def __len__(self) -> int:
        return len(self._times)

    @overload
    def __getitem__(self, place: int) -> tuple[int, bytes]: ...

    @overload
    def __getitem__(self, place: slice) -> list[tuple[int, bytes]]: ...

    def __getitem__(self, place: int | slice) -> tuple[int, bytes] | list[tuple[int, bytes]]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        place = range(len(self))[place]
        return self._times[place], bytes(self.data[self._ends[place - 1] if place else 0 : self._ends[place]])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Receives) and (self.data, self._times, self._ends) == (
            other.data,
            other._times,
            other._ends,
        )

    __hash__ = None  # type: ignore[assignment]

    def __getstate__(self) -> tuple[bytearray, array[int], array[int]]:
        return self.data, self._times, self._ends

    def __setstate__(self, state: tuple[bytearray, array[int], array[int]]) -> None:
        self.data, self._times, self._ends = state


class Opening(NamedTuple):
    """How long the parts of opening a connection took, in nanoseconds; ``None``: it did not get so far.

    ``dns`` is the lookup of the host name, ``None`` also for an address in digits. ``connect`` is the TCP connection,
    with the attempts at all addresses of the host. ``tls`` is the TLS handshake, ``None`` also for ``http``.
    """

    dns: int | None = None
    connect: int | None = None
    tls: int | None = None


class Recording(NamedTuple):
    """One request and the receives of its reply. Times are readings of ``time.perf_counter_ns``.

    ``intended`` is when the schedule wanted it, ``dispatched`` when the generator turned to it, ``begun`` when the
    client began it, before it opened a connection (0: never), ``ended`` the last thing that happened. ``wall`` is Unix
    time in seconds at ``begun``. ``opening`` has the times of the connection that was opened for it, ``None`` where
    one was kept. ``judge`` is whether the response is checked against all rules, as one of ``one_in``
    that are; ``reused`` is whether the connection was kept from before.
    ``turn`` counts the requests of a conversation, ``scenario`` names the kind of request, ``canary`` is what its input
    holds. ``tags`` are ``cancelled`` (given up on purpose) and ``background`` (the reply is that of the last poll;
    ``created`` has the first).
    """

    slot: int
    intended: int
    dispatched: int
    begun: int
    ended: int
    wall: float
    outcome: str
    detail: str
    body: bytes
    receives: Receives
    judge: bool = True
    reused: bool = False
    turn: int = 0
    scenario: str = ""
    canary: str = ""
    tags: tuple[str, ...] = ()
    created: Receives | None = None
    opening: Opening | None = None
    one_in: int = 1


def created(recording: Recording) -> Recording | None:
    """Return the first request of one in the background, the create and its reply; ``None`` for other requests."""
    first = recording.created
    return None if first is None else recording._replace(receives=first, ended=first.last, tags=(), created=None)


class Head(NamedTuple):
    """Status line and headers of a reply; ``size`` is the number of bytes up to and including the blank line."""

    status: int
    headers: Headers
    size: int
    version: bytes = b"HTTP/1.1"

    def values(self, name: str) -> list[str]:
        """Return the comma-separated members of all headers of a name (lower case), in lower case."""
        joined = ",".join(value for key, value in self.headers if key.lower() == name)
        return [part for part in (part.strip().lower() for part in joined.split(",")) if part]


class Length(Enum):
    """How a body without a content length ends."""

    CHUNKED = "chunked"
    CLOSE = "close"


def parse_head(data: bytes) -> Head | None:
    """Return the final head in ``data``, or ``None`` while it is incomplete. Interim (1xx) replies are skipped.

    Raises :class:`FramingError` for what cannot become an HTTP/1.x head, :class:`OverBudgetError` for one that is
    longer than the budget of a load run allows, interim replies included.
    """
    start = 0
    while True:
        end = data.find(_HEAD_END, start)
        if end < 0 and not b"HTTP/1.".startswith(data[start : start + 7]):
            raise FramingError(f"the response starts with {data[start : start + 16]!r} instead of HTTP/1.x")
        if start > LOAD.head:
            raise _too_long("interim responses")
        if (end if end >= 0 else len(data)) - start > LOAD.head:
            raise _too_long("response headers")
        if end < 0:
            return None
        lines = data[start:end].split(b"\r\n")
        match = _STATUS_LINE.match(lines[0])
        if match is None:
            raise FramingError(f"invalid status line {lines[0][:80]!r}")
        status = int(match[1])
        size = end + 4
        if status < 200 and status != 101:
            start = size
            continue
        headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise FramingError(f"invalid header line {line[:80]!r}")
            headers.append((name.decode("latin-1"), value.strip().decode("latin-1")))
        return Head(status, tuple(headers), size, lines[0][:8])


def _too_long(part: str) -> OverBudgetError:
    return OverBudgetError(f"the {part} are longer than {LOAD.head:,} bytes: rejoinder stopped reading")


def body_length(head: Head) -> int | Length:
    """Return how the body after a head is framed (RFC 9112, section 6.3), as a reply to POST."""
    if head.status in (101, 204, 304):
        return 0
    codings = head.values("transfer-encoding")
    if codings:
        return Length.CHUNKED if codings[-1] == "chunked" else Length.CLOSE
    lengths = set(head.values("content-length"))
    if not lengths:
        return Length.CLOSE
    if len(lengths) > 1 or not all(length.isascii() and length.isdigit() for length in lengths):
        raise FramingError(f"invalid Content-Length {', '.join(sorted(lengths))[:80]!r}")
    return int(lengths.pop())


def keeps_alive(head: Head) -> bool:
    """Return whether the connection may carry another request once this reply has ended."""
    options = head.values("connection")
    return "close" not in options if head.version == b"HTTP/1.1" else "keep-alive" in options


class Dechunker:
    """Takes chunked framing apart, under every split of the bytes.

    ``done`` means that the last chunk and its trailers have been read; ``surplus`` counts the bytes after that.
    """

    __slots__ = ("_carry", "_chunks", "_need", "_state", "_trailers", "done", "surplus")

    def __init__(self) -> None:
        self.done = False
        self.surplus = 0
        self._carry = b""
        self._chunks = self._trailers = 0
        self._need = 0
        self._state = "size"

    def feed(self, data: bytes) -> bytes:
        """Return the body bytes in ``data``.

        Raises :class:`FramingError` for framing that cannot be followed, and :class:`OverBudgetError` for more chunks
        or longer trailers than the budget of a load run allows.
        """
        if self._carry:
            data = self._carry + data
            self._carry = b""
        body: list[bytes] = []
        try:
            self._take(data, body)
        except FramingError as error:
            error.before = b"".join(body)
            raise
        return body[0] if len(body) == 1 else b"".join(body)

    def _take(self, data: bytes, body: list[bytes]) -> None:
        position, size = 0, len(data)
        while position < size:
            if self.done:
                self.surplus += size - position
                break
            if self._state == "data":
                piece = data[position : position + self._need]
                body.append(piece)
                position += len(piece)
                self._need -= len(piece)
                if not self._need:
                    self._state = "end"
                continue
            stop = data.find(b"\r\n", position)
            if stop < 0:
                if size - position > _MAX_LINE or (self._state == "end" and data[position:] != b"\r"):
                    raise FramingError(f"invalid chunked framing at {data[position : position + 32]!r}")
                self._carry = data[position:]
                break
            line = data[position:stop]
            position = stop + 2
            if self._state == "size":
                match = _CHUNK_SIZE.match(line)
                if match is None:
                    raise FramingError(f"invalid chunk size {line[:32]!r}")
                self._need = int(match[1], 16)
                self._state = "data" if self._need else "trailer"
                self._chunks += 1
                if self._chunks > LOAD.chunks:
                    chunks = plural(LOAD.chunks, "chunk")
                    raise OverBudgetError(f"the response has more than {chunks}: rejoinder stopped reading")
            elif self._state == "end":
                if line:
                    raise FramingError(f"a chunk is longer than its size: {line[:32]!r} follows")
                self._state = "size"
            elif not line:
                self.done = True
            else:
                self._trailers += len(line)
                if self._trailers > LOAD.trailers:
                    raise OverBudgetError(
                        f"the response trailers are longer than {LOAD.trailers:,} bytes: rejoinder stopped reading"
                    )


class MessageEnd:
    """Finds where the response is complete; looks at bytes, keeps none of them.

    Call :meth:`reached` after each receive has been appended to ``receives``. In chunked framing a message can only
    end in CR LF CR LF, so receives that end otherwise are left for later; bytes after the end of a message, which
    no server may send, are therefore only noticed with the next receive, the close or a time-out.
    """

    __slots__ = ("_dechunker", "_kept_alive", "_left", "_length", "_receives", "_seen", "surplus")

    def __init__(self, receives: Receives) -> None:
        self.surplus = False
        self._kept_alive = False
        self._receives = receives
        self._seen = 0
        self._length: int | Length | None = None
        self._left = 0
        self._dechunker = Dechunker()

    def reached(self, data: bytes) -> bool:
        """Return whether the reply is complete; ``data`` is the last receive.

        Raises :class:`FramingError` for bytes that are not HTTP/1.x.
        """
        length = self._length
        if length is Length.CHUNKED:
            return (len(data) < 4 or data.endswith(b"\r\n\r\n")) and self._scan()
        if length is Length.CLOSE:
            return False
        if length is None:
            return self._find_head(data)
        self._left -= len(data)
        self.surplus = self._left < 0
        return self._left <= 0

    def closed(self) -> bool:
        """Return whether a reply that ends here, with the connection, is complete."""
        if self._length is Length.CHUNKED:
            return self._scan()
        return self._length is Length.CLOSE or (self._length is not None and self._left <= 0)

    @property
    def until_close(self) -> bool:
        """Whether the reply ends with the connection, so that one that breaks leaves it without an end."""
        return self._length is Length.CLOSE

    @property
    def reusable(self) -> bool:
        """Whether the connection may carry another request; ask only when the reply is complete."""
        return self._kept_alive and self._length is not Length.CLOSE and not self.surplus

    def _find_head(self, piece: bytes) -> bool:
        received = self._receives.data
        fresh = len(received) - len(piece)
        if fresh > _STATUS_BYTES and len(received) <= LOAD.head and received.find(_HEAD_END, fresh - 3) < 0:
            return False  # so that a head that comes in small pieces is not read again with each
        data = bytes(received)
        head = parse_head(data)
        if head is None:
            return False
        # The head itself is a kilobyte that every stream in flight would hold on to.
        self._kept_alive = keeps_alive(head)
        rest = data[head.size :]
        self._length = body_length(head)
        self._seen = len(self._receives)
        if self._length is Length.CHUNKED:
            self._dechunker.feed(rest)
            return self._scan()
        if isinstance(self._length, int):
            self._left = self._length
        return self.reached(rest)

    def _scan(self) -> bool:
        for _, data in self._receives[self._seen :]:
            self._dechunker.feed(data)
        self._seen = len(self._receives)
        self.surplus = self._dechunker.surplus > 0
        return self._dechunker.done


def to_exchange(recording: Recording, path: str, headers: Headers, worker: int = 0) -> Exchange:
    """Return a recording as the exchange that every judge understands; never raises.

    Bytes that arrived together stay one chunk, so the times are those of the receives. ``headers`` are the request's
    without credentials.
    """
    begun = recording.begun or recording.ended
    outcome, detail = Outcome(recording.outcome), recording.detail
    head: Head | None = None
    headers_at: float | None = None
    chunks: tuple[Chunk, ...] = ()
    try:
        head, headers_at, chunks, fault = _read(recording.receives, begun)
        if isinstance(fault, OverBudgetError):
            if outcome is not Outcome.CANCELLED:
                outcome, detail = Outcome.TOO_LARGE, str(fault)
        elif fault is not None:
            outcome, detail = Outcome.PROTOCOL, str(fault)
    except OverBudgetError as error:
        outcome, detail = Outcome.TOO_LARGE, str(error)
    except FramingError as error:
        outcome, detail = Outcome.PROTOCOL, str(error)
    return Exchange(
        id=f"load-{worker}-{recording.slot}" + (f".{recording.turn}" if recording.turn else ""),
        request=Request("POST", path, headers, recording.body),
        outcome=outcome,
        status=head.status if head else None,
        headers=head.headers if head else (),
        chunks=chunks,
        case="load",
        role="stream" if b'"stream":true' in recording.body else "plain",
        started_at=recording.wall,
        headers_at=None if Tag.BACKGROUND in recording.tags else headers_at,
        tags=recording.tags,
        ended_at=(recording.ended - begun) / 1e9,
        detail=detail,
    )


def _read(receives: Receives, begun: int) -> tuple[Head | None, float | None, tuple[Chunk, ...], FramingError | None]:
    """Return head, time of the head, body, and what is wrong with a body of which the rest cannot be read."""
    head = parse_head(bytes(receives.data[: 3 * LOAD.head]))
    if head is None:
        return None, None, (), None
    pieces = list(receives.rest(head.size))
    headers_at = (pieces[0][0] - begun) / 1e9
    length = body_length(head)
    chunks: list[Chunk] = []
    dechunker, left, meter = Dechunker(), length if isinstance(length, int) else 0, ReplyMeter(LOAD)
    fault: FramingError | None = None
    for at, piece in pieces:
        if length is Length.CHUNKED:
            try:
                body = dechunker.feed(piece)
            except FramingError as error:
                fault, body = error, error.before
        elif length is Length.CLOSE:
            body = piece
        else:
            body = piece[:left]
            left -= len(body)
        body = meter.take(body)
        if body:
            chunks.append(Chunk((at - begun) / 1e9, body))
        if meter.exceeded:
            fault = OverBudgetError(meter.cut)
        elif fault is not None and not isinstance(fault, OverBudgetError):
            fault = FramingError(f"{fault} (after {meter.size} bytes of body)")
        if fault is not None:
            break
    return head, headers_at, tuple(chunks), fault


def final_response(receives: Receives) -> dict[str, Any] | None:
    """Return the response object at the end of a reply, be it a stream or a body; ``None`` where there is none."""
    try:
        head, _, chunks, fault = _read(receives, 0)
    except FramingError:
        return None
    if fault is not None and not isinstance(fault, OverBudgetError):
        return None
    if head is None or not 200 <= head.status < 300:
        return None
    body = b"".join(chunk.data for chunk in chunks)
    stream = any(value.startswith("text/event-stream") for value in head.values("content-type"))
    for text in _last_events(body) if stream else [body]:
        data = parse_json(text.decode("utf-8", "replace"))
        if isinstance(data, dict):
            response = data.get("response", data)
            if isinstance(response, dict) and isinstance(response.get("id"), str):
                return response
    return None


def _last_events(body: bytes) -> list[bytes]:
    """Return the data of the last events of a stream, the last one first."""
    blocks = body.replace(b"\r\n", b"\n").rstrip(b"\n").rsplit(b"\n\n", 3)[1:]
    return [
        b"\n".join(line[5:] for line in block.split(b"\n") if line.startswith(b"data:")) for block in reversed(blocks)
    ]
