"""The one record that every client produces and every judge consumes.

An :class:`Exchange` is one HTTP request with everything that came back, as raw bytes with their arrival times. It knows
nothing of rules or of event streams; those are computed from it (see
:mod:`rejoinder.conformance.judging.exchange_view`), so that live runs, streams under load and recordings are judged by
the same code.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from itertools import accumulate, chain, islice
from operator import eq, sub
from typing import Annotated, Any, Final, NamedTuple, overload

import msgspec

from rejoinder.budgets import DEPTH, weight_of

Headers = tuple[tuple[str, str], ...]

NO_CONNECTION: Final = "No connection"
NO_HANDSHAKE: Final = "No TLS handshake"
"""How the detail of an exchange begins whose request was not sent, since no connection came in time."""

SLOW_READS: Final = 40
"""Reads after which a slow reader pauses. Later reads do not wait, so that many small chunks outlast no timeout."""


class Outcome(StrEnum):
    """How the transport of one exchange ended. Only ``complete`` says that the whole reply was received."""

    COMPLETE = "complete"
    CUT = "cut"  # the connection ended before the reply's framing said so
    TIMEOUT = "timeout"  # no end within the deadline
    TOO_LARGE = "too_large"  # the reader stopped at its size limit
    REFUSED = "refused"  # no connection: refused, unknown host, unreachable
    TLS = "tls"  # the TLS handshake failed
    PROTOCOL = "protocol"  # bytes that are not HTTP
    CANCELLED = "cancelled"  # we stopped: interrupt, budget, or a planned abort


UNSENT: Final = frozenset({Outcome.REFUSED, Outcome.TLS})
"""Outcomes of requests of which nothing reached the endpoint, since no connection came about."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods of requests that only read, so that a repetition changes nothing (RFC 9110, 9.2.1)."""


class Chunk(NamedTuple):
    """Bytes of the reply body that arrived together: seconds since the request began, and the bytes."""

    t: float
    data: bytes


class Arrivals(NamedTuple):
    """When the chunks of a body arrived, in seconds since the request began, and where each ends in the body."""

    times: array[float]
    ends: array[int]

    @classmethod
    def of(cls, times: Iterable[float], sizes: Iterable[int]) -> Arrivals:
        """Return the arrivals of chunks of these sizes in bytes; raises ``OverflowError`` for a negative one."""
        return cls(array("d", times), array("Q", accumulate(array("Q", sizes))))

    def pairs(self) -> Iterator[tuple[float, int]]:
        """Yield the time and the size of each chunk."""
        return zip(self.times, map(sub, self.ends, chain((0,), self.ends)), strict=True)

    def to_json(self) -> Iterator[bytes]:
        """Yield the JSON array of :meth:`pairs`, in pieces. A time that is not finite is null."""
        pairs, opening = self.pairs(), b"["
        while batch := list(islice(pairs, _BATCH)):
            yield opening + msgspec.json.encode(batch)[1:-1]
            opening = b","
        yield b"]" if self.times else b"[]"

    @classmethod
    def from_json(cls, data: bytes | msgspec.Raw) -> Arrivals:
        """Read a JSON array of pairs of time and size, piece by piece; raises ``ValueError`` for anything else."""
        text = memoryview(data)
        times, ends = array("d"), array("Q")
        begin, last, size = 1, len(text) - 1, 0
        if last < 1 or (text[0], text[last]) != (0x5B, 0x5D):
            raise ValueError("not a JSON array")
        while begin < last:
            cut = _BETWEEN_PAIRS.search(text, begin + 16 * _BATCH)
            end = cut.start() + 1 if cut else last
            try:
                for t, length in _decode_pairs(b"".join((b"[", text[begin:end], b"]"))):
                    size += length
                    times.append(t)
                    ends.append(size)
            except (msgspec.DecodeError, OverflowError) as error:
                raise ValueError(str(error)) from error
            begin = end + 1
        return cls(times, ends)


_BATCH: Final = 4096
"""How many chunks are written or read at once, since there may be as many as bytes."""
_BETWEEN_PAIRS: Final = re.compile(rb"\],\[")
_decode_pairs: Final = msgspec.json.Decoder(list[tuple[float, Annotated[int, msgspec.Meta(ge=0)]]]).decode


class Chunks(Sequence[Chunk]):
    """The chunks of a body, kept as the whole body with two numbers for each chunk, since a chunk may be one byte.

    ``body`` is the whole, ``times`` the arrival of each chunk in seconds since the request began, ``ends`` where it
    ends in the body. A slice is one of chunks. Equal to any sequence of the same chunks.
    """

    __slots__ = ("body", "ends", "times")

    def __init__(self, chunks: Iterable[tuple[float, bytes]]) -> None:
        pieces = list(chunks)
        self.body = b"".join([data for _, data in pieces])
        self.times = array("d", [t for t, _ in pieces])
        self.ends = array("Q", accumulate([len(data) for _, data in pieces]))

    @classmethod
    def of(cls, body: bytes, arrivals: Arrivals) -> Chunks:
        """Return a body as chunks that arrived so; raises ``ValueError`` if their sizes do not add up to it."""
        chunks = cls(())
        chunks.body, (chunks.times, chunks.ends) = body, arrivals
        if (chunks.ends[-1] if chunks.ends else 0) != len(body):
            raise ValueError("chunk sizes do not add up to the body")
        return chunks

    @property
    def arrivals(self) -> Arrivals:
        """When the chunks arrived, and where each ends."""
        return Arrivals(self.times, self.ends)

    def arrival(self, end: int) -> tuple[float, int]:
        """Return when the last of the first ``end`` bytes of a body arrived, and where the chunk that held it ends."""
        place = min(len(self.times) - 1, bisect_left(self.ends, end))
        return self.times[place], self.ends[place]

    def masked(self, mask: Callable[[bytes], bytes]) -> Chunks:
        """Return the chunks with the body masked by a function that keeps its length."""
        body = mask(self.body)
        return self if body == self.body else Chunks.of(body, self.arrivals)

    def __len__(self) -> int:
        return len(self.times)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> Chunks: ...
    def __getitem__(self, index: int | slice) -> Chunk | Chunks:
        if isinstance(index, slice):
            return Chunks([self[place] for place in range(*index.indices(len(self)))])
        place = range(len(self))[index]
        return Chunk(self.times[place], self.body[self.ends[place - 1] if place else 0 : self.ends[place]])

    def __iter__(self) -> Iterator[Chunk]:
        begin = 0
        for t, end in zip(self.times, self.ends, strict=True):
            yield Chunk(t, self.body[begin:end])
            begin = end

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Chunks):
            return (self.body, self.times, self.ends) == (other.body, other.times, other.ends)
        return isinstance(other, (tuple, list)) and len(self) == len(other) and all(map(eq, self, other))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return f"Chunks({list(self)!r})"


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request as sent. ``path`` is absolute on the host, query included; ``body`` is the exact bytes.

    Headers hold no credentials: they are redacted when the request is recorded.
    """

    method: str
    path: str
    headers: Headers = ()
    body: bytes = b""

    def json(self) -> Any:
        """Return the parsed body, or ``None`` when it is empty or not JSON."""
        return parse_json(self.body)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form that :meth:`from_json` turns back into an equal request."""
        headers = [list(pair) for pair in self.headers]
        return {"method": self.method, "path": self.path, "headers": headers, **_encode_bytes(self.body)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Request:
        """Rebuild a request from :meth:`to_json`'s form; raises ``ValueError`` for anything else."""
        try:
            return cls(record["method"], record["path"], _pairs(record["headers"]), _decode_bytes(record))
        except (KeyError, TypeError, AttributeError, binascii.Error) as error:
            raise ValueError(f"not a request: {error!r}") from error


@dataclass(frozen=True)
class Exchange:
    """One request and everything that came back.

    ``started_at`` is Unix time in seconds; every other time is in seconds since the first byte of the request was
    written (monotonic clock). ``status`` is ``None`` when no status line arrived. ``case`` names the test case that
    this exchange belongs to, ``role`` its part in it (``plain``, ``stream``, ``capped``, ...), ``tags`` anything that
    rules need to know of the intent (for example ``invalid`` for a body that must be refused).
    """

    id: str
    request: Request
    outcome: Outcome
    status: int | None = None
    headers: Headers = ()
    chunks: Sequence[Chunk] = ()
    case: str = ""
    role: str = ""
    tags: tuple[str, ...] = ()
    started_at: float = 0.0
    headers_at: float | None = None
    ended_at: float = 0.0
    detail: str = ""

    @cached_property
    def body(self) -> bytes:
        """The whole reply body as received (still content-encoded if the server compressed it)."""
        return self.chunks.body if isinstance(self.chunks, Chunks) else b"".join([data for _, data in self.chunks])

    @cached_property
    def weight(self) -> int:
        """About how many bytes of memory the reply takes while it is tested."""
        return weight_of(self.body, len(self.chunks))

    @cached_property
    def content_type(self) -> str:
        """The media type of the reply in lower case without parameters, or the empty string."""
        return self.header("content-type").partition(";")[0].strip().lower()

    @property
    def ok(self) -> bool:
        """Whether a 2xx status came back."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def timed_out_connecting(self) -> bool:
        """Whether no connection came in time, so that the endpoint never saw the request."""
        return self.outcome is Outcome.TIMEOUT and self.detail.startswith((NO_CONNECTION, NO_HANDSHAKE))

    def header(self, name: str) -> str:
        """Return the first value of a reply header (any case), or the empty string."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def json(self) -> Any:
        """Return the parsed reply body, or ``None`` when it is empty or not JSON."""
        return parse_json(self.body)

    def tagged(self, *tags: str) -> Exchange:
        """Return a copy with further tags."""
        return replace(self, tags=(*self.tags, *tags))

    @property
    def packed(self) -> Chunks:
        """The chunks of the reply as :class:`Chunks`, whatever sequence they are."""
        return self.chunks if isinstance(self.chunks, Chunks) else Chunks(self.chunks)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form that :meth:`from_json` turns back into an equal exchange."""
        return {**self.fields_to_json(), "chunks": list(self.packed.arrivals.pairs())}

    def fields_to_json(self) -> dict[str, Any]:
        """Return what :meth:`to_json` does without the times and sizes of the chunks, which may be long."""
        return {
            "id": self.id,
            "case": self.case,
            "role": self.role,
            "tags": list(self.tags),
            "request": self.request.to_json(),
            "outcome": self.outcome.value,
            "status": self.status,
            "headers": [list(pair) for pair in self.headers],
            "started_at": self.started_at,
            "headers_at": self.headers_at,
            "ended_at": self.ended_at,
            "detail": self.detail,
            **_encode_bytes(self.body),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Exchange:
        """Rebuild an exchange from :meth:`to_json`'s form; raises ``ValueError`` on anything else.

        The chunks may also be :class:`Arrivals`.
        """
        try:
            body = _decode_bytes(record)
            pairs = record["chunks"]
            known = isinstance(pairs, Arrivals)
            arrivals = pairs if known else Arrivals.of([t for t, _ in pairs], [size for _, size in pairs])
            chunks = Chunks.of(body, arrivals)
            return cls(
                id=str(record["id"]),
                case=str(record["case"]),
                role=str(record["role"]),
                tags=tuple(record["tags"]),
                request=Request.from_json(record["request"]),
                outcome=Outcome(record["outcome"]),
                status=record["status"],
                headers=_pairs(record["headers"]),
                started_at=float(record["started_at"]),
                headers_at=None if record["headers_at"] is None else float(record["headers_at"]),
                ended_at=float(record["ended_at"]),
                detail=str(record["detail"]),
                chunks=chunks,
            )
        except (KeyError, TypeError, AttributeError, OverflowError, binascii.Error) as error:
            raise ValueError(f"not an exchange: {error!r}") from error


def load_json(data: bytes | str, **options: Any) -> Any:
    """Return what ``json.loads`` does, in a fraction of the time for what is JSON.

    What the fast decoder refuses (other JSON has more: NaN, lone surrogates, numbers out of range) goes to
    ``json.loads`` with these options, whose value or error is the result.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return json.loads(data, **options)


def parse_json(data: bytes | str) -> Any:
    """Return the parsed JSON text, or ``None`` when it is empty, not JSON, or nested more than ``DEPTH`` deep."""
    try:
        value = load_json(data, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None
    return None if is_too_deep(value, data) else value


def is_too_deep(value: Any, text: bytes | str) -> bool:
    """Return whether a value parsed from ``text`` is nested more than ``DEPTH`` deep."""
    opening = text.count("[") + text.count("{") if isinstance(text, str) else text.count(b"[") + text.count(b"{")
    if opening <= DEPTH:
        return False
    level = [value] if isinstance(value, (dict, list)) else []
    for _ in range(DEPTH):
        if not level:
            return False
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if child and isinstance(child, (dict, list))
        ]
    return bool(level)


_CONTROLS: Final = bytes(set(range(32)) - set(b"\t\n\r"))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _pairs(value: Iterable[Iterable[str]]) -> Headers:
    return tuple((str(name), str(text)) for name, text in value)


def _encode_bytes(data: bytes) -> dict[str, str]:
    # A control character takes six bytes as JSON, so a body of them would take six times its size.
    if len(data.translate(None, _CONTROLS)) >= len(data) // 2:
        with contextlib.suppress(UnicodeDecodeError):
            return {"body": data.decode("utf-8")}
    return {"body_base64": base64.b64encode(data).decode("ascii")}


def _decode_bytes(record: Mapping[str, Any]) -> bytes:
    if "body_base64" in record:
        return base64.b64decode(record["body_base64"], validate=True)
    return str(record["body"]).encode("utf-8")
