"""Server-sent events: bytes in, events with byte offsets and arrival times out.

Follows the event-stream interpretation of the WHATWG HTML standard (section 9.2.6), with two differences that a judge
needs: an unterminated last event is returned and marked instead of dropped, and what the standard makes a browser
swallow (bad UTF-8, fields without meaning, NUL in an id) is reported as a :class:`FramingFault`. Lines and events
are bounded, so that an endless line cannot exhaust the memory.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from msgspec import Struct

from rejoinder.budgets import MAX_EVENT, MAX_EVENTS
from rejoinder.model.exchange import Chunks

_MAX_FAULTS: Final = 100
_FIELDS: Final = frozenset({b"data", b"event", b"id", b"retry"})
_LINE_END: Final = re.compile(rb"[\r\n]")
_LINE: Final = re.compile(rb"([^\r\n]*+)(?:\r\n|\n|\r)|")
"""A line with its end, or nothing, so that each match begins where the last one ended."""
_BLANK: Final = re.compile(rb"[\r\n]+")
"""One blank line or more, at the beginning of a line."""
_EVENT: Final = re.compile(rb"(?:event: ?([^\r\n]*+)\n)?data: ?([^\r\n]*+)\n\n|")
"""An event in the form that most streams have, or nothing, so that each match begins where the last one ended."""


class ServerEvent(Struct, frozen=True, gc=False):
    """One dispatched event.

    ``event`` is the value of the last ``event:`` field (empty when there was none), ``data`` the data lines joined by
    LF; ``has_data`` is false without a data field. ``start`` is the byte offset in the body of the first field, and
    ``size`` how many bytes follow up to the one that ends the blank line (its CR, in CRLF), with that one. ``t``
    is the arrival time of its last byte in the unit given to the reader. ``terminated`` is false for an event that the
    body's end cut off before its blank line.
    """

    event: str
    data: str
    start: int
    size: int
    t: float
    id: str | None = None
    retry: str | None = None
    has_data: bool = True
    terminated: bool = True

    @property
    def end(self) -> int:
        """The byte offset in the body behind the event."""
        return self.start + self.size


class FramingFault(NamedTuple):
    """Bytes that are not a clean event stream: kind, byte offset in the body, and a sentence.

    The offset is that of the line, of the event for ``blank_event``, and of the first bad byte for ``utf8``.
    """

    kind: str  # "utf8", "field", "too_large", "too_many", "blank_event"
    offset: int
    detail: str


@dataclass(slots=True)
class SSEReader:
    """An incremental event-stream parser. Feed it chunks as they arrive, then close it.

    The events are the same under every split of the bytes. ``comments`` counts comment lines; ``faults`` collects what
    was wrong with the framing (at most 100 of them). An event of more than ``max_event`` bytes is dropped and
    reported as ``too_large``; what comes after ``max_events`` events is not read, and reported as ``too_many``.
    """

    max_event: int = MAX_EVENT
    max_events: int = MAX_EVENTS
    comments: int = 0
    faults: list[FramingFault] = field(default_factory=list)
    _tail: bytearray = field(default_factory=bytearray)
    _tail_at: int = 0
    _skip_lf: bool = False
    _skipping_line: bool = False
    _at_start: bool = True
    _t: float = 0.0
    _until: float = math.inf
    _chunks: Chunks | None = None
    _event: str = ""
    _data: list[str] = field(default_factory=list)
    _id: str | None = None
    _retry: str | None = None
    _start: int = -1
    _size: int = 0
    _dropping: bool = False
    _count: int = 0

    @property
    def full(self) -> bool:
        """Whether ``max_events`` were read, so that the rest is not looked at."""
        return self._count >= self.max_events

    def feed(self, data: bytes, t: float = 0.0) -> Iterator[ServerEvent]:
        """Take the next bytes, which arrived at time ``t``, and return an iterator over the events they complete.

        The bytes are consumed at once, also when the iterator is not.
        """
        self._t = t
        events: list[ServerEvent] = []
        if self.full or not data:
            return iter(events)
        if self._skip_lf:
            self._skip_lf = False
            if data.startswith(b"\n"):
                self._tail_at += 1
                data = data[1:]
        tail = self._tail
        if _LINE_END.search(data) is None:
            tail += data
        else:
            if tail:
                tail += data
                data = bytes(tail)
                tail.clear()
            rest = self._lines(data, events)
            if self.full:
                self._reset()
                return iter(events)
            self._skip_lf = data.endswith(b"\r")
            self._tail_at += rest
            tail += data[rest:]
        # What may still become a byte order mark does not say yet whether the line is a comment.
        mark = self._at_start and codecs.BOM_UTF8.startswith(tail)
        if self._skipping_line or (len(tail) > self.max_event and not mark):
            if not self._skipping_line:
                self._skip_line(tail, self._tail_at)
            self._tail_at += len(tail)
            tail.clear()
        return iter(events)

    def _lines(self, data: bytes, events: list[ServerEvent]) -> int:
        """Take the whole lines at the beginning of ``data``; return where the last one ends."""
        position = 0
        while not self.full:
            if self._start < 0 and not (self._skipping_line or self._at_start):
                position = self._usual(data, position, events)
                if self.full:
                    break
            begin, position = position, self._until_blank(data, position, events)
            if begin == position:
                break
        return position

    def _until_blank(self, data: bytes, position: int, events: list[ServerEvent]) -> int:
        """Take lines up to a blank one, which may end an event; return where they end."""
        base = self._tail_at
        for match in _LINE.finditer(data, position):
            line = match[1]
            if line is None:
                break
            if self._skipping_line:
                self._skipping_line = False
            elif line:
                self._line(line, base + position)
            else:
                self._blank(base + position + 1, events)
                blank = _BLANK.match(data, position)
                return blank.end() if blank else match.end()
            position = match.end()
        return position

    def _usual(self, data: bytes, position: int, events: list[ServerEvent]) -> int:
        """Take events in the form that most streams have, which need no look at each line; return where they end."""
        base, t, until, errors = self._tail_at, self._t, self._until, self._errors
        for match in _EVENT.finditer(data, position):
            name, text = match.groups()
            end = match.end()
            if text is None or end - position > self.max_event:
                break
            try:
                event, value = name.decode("utf-8", errors) if name else "", text.decode("utf-8", errors)
            except UnicodeDecodeError:
                event = self._decoded(name or b"", base + match.start(1))
                value = self._decoded(text, base + match.start(2))
                errors = self._errors
            if base + end > until:
                t = self._time(base + end)
                until = self._until
            events.append(ServerEvent(event, value, base + position, end - position, t))
            position = end
            if self._count + 1 >= self.max_events:
                self._count_event(base + end)
                break
            self._count += 1
        return position

    def _time(self, end: int) -> float:
        """Return when the byte before ``end`` arrived; later calls have no smaller ``end``."""
        if end > self._until and self._chunks is not None:
            self._t, self._until = self._chunks.arrival(end)
        return self._t

    def close(self) -> Iterator[ServerEvent]:
        """End the stream; return an iterator over the unterminated last event, if there is one."""
        events: list[ServerEvent] = []
        end = self._tail_at + len(self._tail)
        if self._tail and not self._skipping_line:
            line = bytes(self._tail)
            self._tail.clear()
            self._line(line, end - len(line))
        if self._start >= 0 and not self._dropping:
            events.append(self._make(end, terminated=False))
        self._reset()
        return iter(events)

    def _blank(self, end: int, events: list[ServerEvent]) -> None:
        """Take a blank line, which ends an event; ``end`` is the byte after its first one."""
        self._at_start = False
        if self._start >= 0:
            if self._dropping:
                pass
            elif self._data:
                events.append(self._make(end, terminated=True))
                self._count_event(end)
            else:
                self._fault("blank_event", self._start, "an event without a data field, which readers drop")
            self._reset()

    def _count_event(self, end: int) -> None:
        self._count += 1
        if self.full:
            self._fault("too_many", end, f"rejoinder stopped reading after {self.max_events:,} events")

    def _line(self, raw: bytes, at: int) -> None:
        size = len(raw)
        if self._at_start:
            self._at_start = False
            raw = raw.removeprefix(codecs.BOM_UTF8)
            at += size - len(raw)
            if not raw:
                return
        if raw[0] == 0x3A:  # a colon: comment
            self.comments += 1
            return
        if self._start < 0:
            self._start = at
        if self._dropping:
            return
        self._size += size
        if self._size > self.max_event:
            self._drop(at)
            return
        if len(self.faults) >= _MAX_FAULTS and raw.partition(b":")[0] not in _FIELDS:
            return  # which is a fault that is not noted any more
        line = self._decoded(raw, at)
        name, _, value = line.partition(":")
        if value.startswith(" "):
            value = value[1:]
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" in value:
            self._fault("field", at, "an id with a NUL character, which readers ignore")
        elif name == "id":
            self._id = value
        elif name == "retry":
            self._retry = value
            if not (value.isascii() and value.isdigit()):
                self._fault("field", at, f"retry is not a number of milliseconds: {value[:80]!r}")
        else:
            self._fault("field", at, f"unknown field {name[:80]!r}, which readers ignore")

    @property
    def _errors(self) -> str:
        """How bytes that are not UTF-8 are decoded: each is an error while further faults are noted."""
        return "strict" if len(self.faults) < _MAX_FAULTS else "replace"

    def _decoded(self, raw: bytes, at: int) -> str:
        """Return bytes at an offset as text, and note the first that is not UTF-8."""
        try:
            return raw.decode("utf-8", self._errors)
        except UnicodeDecodeError as error:
            self._fault("utf8", at + error.start, f"invalid UTF-8: {error.reason}")
            return raw.decode("utf-8", "replace")

    def _make(self, end: int, *, terminated: bool) -> ServerEvent:
        return ServerEvent(
            event=self._event,
            data="\n".join(self._data),
            start=self._start,
            size=end - self._start,
            t=self._time(end),
            id=self._id,
            retry=self._retry,
            has_data=bool(self._data),
            terminated=terminated,
        )

    def _reset(self) -> None:
        self._event, self._id, self._retry = "", None, None
        self._data.clear()
        self._start, self._size, self._dropping = -1, 0, False

    def _skip_line(self, begun: bytearray, at: int) -> None:
        """Forget an unfinished line that is over the limit; unless it is a comment, its event goes with it."""
        self._skipping_line = True
        if self._at_start:
            self._at_start = False
            size = len(begun)
            begun = begun.removeprefix(codecs.BOM_UTF8)
            at += size - len(begun)
        if begun.startswith(b":"):
            self.comments += 1
        elif not self._dropping:
            if self._start < 0:
                self._start = at
            self._drop(at)

    def _drop(self, at: int) -> None:
        self._dropping = True
        self._data.clear()
        self._fault("too_large", at, f"rejoinder dropped an event of more than {self.max_event:,} bytes")

    def _fault(self, kind: str, offset: int, detail: str) -> None:
        if len(self.faults) < _MAX_FAULTS:
            self.faults.append(FramingFault(kind, offset, detail))


def read_events(
    chunks: Iterable[tuple[float, bytes]], max_event: int = MAX_EVENT
) -> tuple[list[ServerEvent], SSEReader]:
    """Parse timed chunks ``(seconds, bytes)`` to the end; return the events and the closed reader with its faults."""
    reader = SSEReader(max_event=max_event)
    packed = chunks if isinstance(chunks, Chunks) else Chunks(chunks)
    reader._chunks, reader._until = packed, 0
    events = list(reader.feed(packed.body))
    events.extend(reader.close())
    return events, reader
