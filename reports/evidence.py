"""What a finding rests on: the request that shows it, how to repeat it, and the part of the reply that is at fault."""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, NamedTuple

from rejoinder.formatting import format_bytes, format_seconds, one_line, plural, printable, truncate
from rejoinder.model.exchange import Exchange, Outcome, parse_json
from rejoinder.model.verdict import MISSING, Finding, Problem
from rejoinder.reports.curl import curl, script
from rejoinder.reports.excerpt import Dump, Line, Span, bytes_around, difference, excerpt, pretty
from rejoinder.wire.sse import ServerEvent, read_events

EVENTS_BEFORE: Final = 3
EVENTS_AFTER: Final = 2
TICKS: Final = 160
"""Distinct positions on a timeline; arrivals that fall on one position share a tick."""
SPACED_LIMIT: Final = 20_000
PARSE_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of a stream that are parsed for its events."""

_LEADING_TYPE: Final = re.compile(r'\{ ?"type": ?"([\w.:-]+)", ?')

_OUTCOMES: Final = {
    Outcome.CUT: "connection closed before the response was complete",
    Outcome.TIMEOUT: "timed out before the response was complete",
    Outcome.TOO_LARGE: "cut by rejoinder at its size limit",
    Outcome.REFUSED: "connection failed",
    Outcome.TLS: "TLS handshake failed",
    Outcome.PROTOCOL: "response is not valid HTTP",
    Outcome.CANCELLED: "cancelled by rejoinder",
}
VALUE_LIMIT: Final = 1200
"""Characters of an expected or actual value that are shown."""


class EventRow(NamedTuple):
    """One event of a stream as a table row; ``skipped`` counts the events left out before it."""

    number: int
    offset: int
    t: str
    type: str
    data: str
    fault: bool
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class StreamExcerpt:
    """The events of a stream around a fault, and when all of them arrived."""

    rows: list[EventRow]
    total: int
    after: int
    ticks: list[float]
    fault_at: float | None
    first: str
    last: str
    comments: int
    note: str = ""


class Sides(NamedTuple):
    """The expected and the actual value of a problem, each as spans; empty where there is nothing to show."""

    expected: list[Span]
    actual: list[Span]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that a report shows below one finding."""

    sides: Sides
    curl: str = ""
    whole: bool = True
    answer: str = ""
    stream: StreamExcerpt | None = None
    reply: list[Line] = field(default_factory=list)
    reply_title: str = ""
    reply_text: str = ""
    dump: Dump | None = None

    @property
    def weight(self) -> int:
        """Roughly how many bytes it takes on a page."""
        rows = self.stream.rows if self.stream else []
        return (
            600
            + len(self.curl)
            + sum(len(line.text) + 8 for line in self.reply)
            + len(self.reply_text)
            + sum(len(row.data) + 140 for row in rows)
            + (len(self.stream.ticks) * 12 if self.stream else 0)
            + sum(len(span.text) for side in self.sides for span in side)
        )


def texts_of(problem: Problem, limit: int = VALUE_LIMIT) -> dict[str, str]:
    """Return the expected and the actual value as harmless text of bounded length; see :meth:`Problem.texts`."""
    return {name: printable(truncate(text, limit)) for name, text in problem.texts(pretty).items()}


def sides(problem: Problem) -> Sides:
    """Return the expected and the actual value as spans that mark where they differ."""
    texts = texts_of(problem)
    if len(texts) == 2 and texts["actual"] != MISSING:
        return Sides(*difference(texts["expected"], texts["actual"]))
    return Sides(*([Span(texts[name], False)] if name in texts else [] for name in Sides._fields))


class Gatherer:
    """Builds the evidence of findings; remembers the parsed events of the exchange it saw last."""

    def __init__(self, target: str, exchanges: dict[str, Exchange]) -> None:
        self._target = target
        self._exchanges = exchanges
        self._streams: dict[str, _Stream] = {}
        self._values: dict[tuple[str, int | None], Any] = {}

    def gather(self, finding: Finding) -> Evidence:
        """Return the evidence of a finding, as far as its exchange is in the run.

        The request is the smallest that is known to show the finding.
        """
        problem = finding.evidence
        exchange = self._exchanges.get(problem.exchange)
        request = finding.minimal.request if finding.minimal else exchange.request if exchange else None
        steps = finding.minimal.steps if finding.minimal else ()
        command, whole = "", True
        if steps:
            command, whole = script(self._target, steps)
        elif request is not None:
            command, whole = curl(self._target, request)
        if exchange is None:
            return Evidence(sides(problem), command, whole)
        stream, reply, title, text = None, [], "", ""
        if exchange.content_type == "text/event-stream":
            parsed = self._parsed(exchange)
            at = parsed.at_fault(problem)
            stream = _excerpt(parsed, at, problem)
            if at is not None:
                data = self._value(exchange, at, parsed.events[at].data)
                if isinstance(data, (dict, list)):
                    reply = excerpt(data, problem.pointer, around=4, limit=14)
                    title = f"Data of event {at}"
        elif exchange.body:
            data = self._value(exchange, None, exchange.body)
            if isinstance(data, (dict, list)):
                reply, title = excerpt(data, problem.pointer), "Response body"
            else:
                text, title = (
                    printable(truncate(exchange.body[:8192].decode("utf-8", "replace"), 1200)),
                    "Response body",
                )
        return Evidence(
            sides=sides(problem),
            curl=command,
            whole=whole,
            answer=answer(exchange),
            stream=stream,
            reply=reply,
            reply_title=title,
            reply_text=text,
            dump=None if problem.offset is None else bytes_around(exchange.body, problem.offset),
        )

    def _value(self, exchange: Exchange, event: int | None, text: bytes | str) -> Any:
        """Return the parsed body of an exchange, or the data of an event; remembers the last one."""
        key = exchange.id, event
        if key not in self._values:
            self._values = {key: parse_json(text)}
        return self._values[key]

    def _parsed(self, exchange: Exchange) -> _Stream:
        if exchange.id not in self._streams:
            # Findings come sorted by rule, and a run's streams are many: one remembered stream is what pays.
            self._streams = {exchange.id: _read(exchange)}
        return self._streams[exchange.id]


def answer(exchange: Exchange) -> str:
    """Return in one line what came back: status, media type, size, time, and how it ended when it ended badly."""
    if exchange.status is None:
        text = f"no HTTP response: {_OUTCOMES.get(exchange.outcome, exchange.outcome.value)}"
        return f"{text} ({one_line(exchange.detail, 160)})" if exchange.detail else text
    parts = [
        str(exchange.status),
        one_line(exchange.header("content-type"), 60) or "no Content-Type",
        format_bytes(len(exchange.body)),
        f"{format_seconds(exchange.ended_at)}",
    ]
    if exchange.outcome in _OUTCOMES:
        parts.append(_OUTCOMES[exchange.outcome])
    return " · ".join(parts)


@dataclass(frozen=True, slots=True)
class _Stream:
    """What every excerpt of a stream needs: its events, the number of comments, and when it ended in seconds.

    ``ticks`` are the arrivals of the events in percent of that time, at most :data:`TICKS` of them. ``texts`` keeps
    what was shown of events, by their numbers.
    """

    events: list[ServerEvent]
    comments: int
    end: float
    ticks: list[float]
    texts: dict[int, tuple[str, str]] = field(default_factory=dict)

    def text(self, number: int) -> tuple[str, str]:
        """Return the type of an event and its data in one line."""
        if number not in self.texts:
            event = self.events[number]
            kind = _type_of(event)
            self.texts[number] = one_line(kind, 80), _data(event, kind, 160)
        return self.texts[number]

    def at_fault(self, problem: Problem) -> int | None:
        """Return the number of the event that a problem points at."""
        if problem.event is not None:
            return problem.event if 0 <= problem.event < len(self.events) else None
        if problem.offset is not None:
            at = bisect_right(self.events, problem.offset, key=lambda event: event.start) - 1
            return at if at >= 0 and problem.offset < self.events[at].end else None
        return None


def _read(exchange: Exchange) -> _Stream:
    chunks = exchange.chunks
    if len(exchange.body) > PARSE_LIMIT:
        sizes = accumulate(len(chunk.data) for chunk in chunks)
        chunks = chunks[: sum(1 for size in sizes if size <= PARSE_LIMIT)]
    events, reader = read_events(chunks)
    times = {event.t for event in events}
    end = max([exchange.ended_at, *times], default=0.0)
    shares = [t / end for t in times if 0 <= t <= end] if 0 < end < math.inf else []
    ticks = sorted({round(share * TICKS) * 100 / TICKS for share in shares})
    return _Stream(events, reader.comments, end, ticks)


def _excerpt(stream: _Stream, at: int | None, problem: Problem) -> StreamExcerpt:
    """Return the events around the one at fault, or the beginning and end of a stream that is so as a whole."""
    events, end = stream.events, stream.end
    total = len(events)
    if at is None:
        chosen = {n for n in (0, 1, *range(total - 4, total)) if 0 <= n < total}
    else:
        chosen = {0, total - 1, *range(max(0, at - EVENTS_BEFORE), min(total, at + EVENTS_AFTER + 1))}
    rows, previous = [], -1
    for number in sorted(chosen):
        event = events[number]
        kind, data = stream.text(number)
        rows.append(
            EventRow(
                number=number,
                offset=event.start,
                t=format_seconds(event.t),
                type=kind,
                data=data,
                fault=number == at,
                skipped=number - previous - 1,
            )
        )
        previous = number
    note = ""
    if problem.event is not None and at is None:
        note = f"The problem is at event {problem.event:,}, but the run file has only {plural(total, 'event')}."
    return StreamExcerpt(
        rows=rows,
        total=total,
        after=total - 1 - previous,
        ticks=stream.ticks,
        fault_at=None if at is None else 100 * min(1.0, events[at].t / end) if 0 < end < math.inf else 0.0,
        first=format_seconds(events[0].t) if events else "",
        last=format_seconds(end),
        comments=stream.comments,
        note=note,
    )


def _data(event: ServerEvent, kind: str, limit: int) -> str:
    """Return the event's data in one line, without the leading type that the row names already."""
    text = one_line(_spaced(event.data), SPACED_LIMIT)
    match = _LEADING_TYPE.match(text)
    if match and match.group(1) == kind:
        text = "{… " + text[match.end() :]
    return truncate(text, limit)


def _spaced(data: str) -> str:
    """Return compact JSON with a space after each comma and colon, where lines can break; other data as it is."""
    if len(data) > SPACED_LIMIT:
        return data
    value = parse_json(data)
    if not isinstance(value, dict):
        return data
    try:
        same = json.dumps(value, ensure_ascii=False, separators=(",", ":")) == data
        return json.dumps(value, ensure_ascii=False) if same else data
    except RecursionError:
        return data


def _type_of(event: ServerEvent) -> str:
    if event.event:
        return event.event
    data: Any = parse_json(event.data)
    kind = data.get("type") if isinstance(data, dict) else None
    return kind if isinstance(kind, str) else "(no type)" if isinstance(data, dict) else "(not JSON)"
