"""The slowest streams of a load run, event by event, as timelines and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final, NamedTuple

from rejoinder.formatting import format_count, format_percent, format_seconds, one_line, plural
from rejoinder.model.samples import Event, RequestFigures, RequestSample, StreamSample
from rejoinder.reports.model import Area, Part, ReportModel

MOST_STREAMS: Final = 10
TICKS: Final = 250
"""Distinct positions on a timeline; events of one kind that fall on one position share a tick."""
_MOST_EVENTS: Final = 2000
_WIDEST: Final = 2
"""The number of longest silences for which the table has the events on both sides."""
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error")

HEIGHTS: Final = {"content": (16, 32), "frame": (24, 38), "end": (8, 38)}
"""Kinds of events on a timeline, with the heights between which their ticks are drawn."""


class DrawnSpan(NamedTuple):
    """Events of one type that came together: first and last arrival in seconds, type, number, place of the first."""

    begin: float
    end: float
    type: str
    amount: int
    offset: int


class StreamRow(NamedTuple):
    """One line of the table behind a timeline; ``skipped`` counts the events left out before it."""

    t: str
    gap: str
    type: str
    amount: int
    offset: str
    skipped: int
    longest: bool


@dataclass(slots=True)
class SlowRequest:
    """One of the slowest requests: its figures, and its timeline where the run file has the events.

    Positions are percent of the width of the timeline, which ends at ``length`` seconds; ``ticks`` are SVG path data by
    kind of event, in a box :data:`TICKS` wide.
    """

    request: RequestFigures
    ttft: float | None
    max_gap: float | None
    scenario: str = ""
    rules: str = ""
    detail: str = ""
    length: float = 0.0
    events: int = 0
    ticks: dict[str, str] = field(default_factory=dict)
    first_at: float | None = None
    gap_from: float | None = None
    gap_to: float | None = None
    gap_words: str = ""
    rows: list[StreamRow] = field(default_factory=list)
    after: int = 0

    @property
    def has_offsets(self) -> bool:
        """Whether the table can say at which byte of the body events begin."""
        return any(row.offset != "–" for row in self.rows)

    @property
    def summary(self) -> str:
        """What the timeline shows, in a sentence."""
        facts = [f"{plural(self.events, 'event')} in {format_seconds(self.length)}"]
        if self.ttft is not None:
            facts.append(f"TTFT {format_seconds(self.ttft)}")
        if self.gap_words:
            facts.append(f"longest gap {self.gap_words}")
        return ", ".join([*facts, f"outcome {self.request.outcome}"])


def read(report: ReportModel) -> list[SlowRequest] | None:
    """Return the ten slowest requests, the slowest first: with timelines where the lines have the events."""
    streams = report.run.samples_of(StreamSample)
    requests: Sequence[RequestFigures] = streams or report.run.samples_of(RequestSample)
    timed = [(_length(request), request) for request in requests]
    ranked = sorted(((length, request) for length, request in timed if length is not None), key=lambda pair: -pair[0])
    return [_slow(length, request) for length, request in ranked[:MOST_STREAMS]] or None


def _length(request: RequestFigures) -> float | None:
    return request.duration if isinstance(request, StreamSample) else request.times.get("e2e")


def _slow(length: float, request: RequestFigures) -> SlowRequest:
    slow = SlowRequest(
        request=request,
        ttft=request.times.get("ttft"),
        max_gap=request.times.get("max_gap"),
        scenario=one_line(request.scenario, 40),
        rules=one_line(", ".join(request.rules), 80),
        detail=one_line(request.detail, 120),
        length=max(length, 0.0),
    )
    if isinstance(request, StreamSample) and (spans := _spans(request.events)):
        _draw(slow, spans)
    return slow


def _spans(events: Sequence[Event]) -> list[DrawnSpan]:
    """Return the events of a ``stream`` line in order of time, without those whose times make no sense."""
    found = [
        DrawnSpan(begin, end, one_line(kind, 60) or "(no type)", amount, offset)
        for begin, end, kind, amount, offset in events[:_MOST_EVENTS]
        if 0 <= begin <= end and amount
    ]
    return sorted(found, key=lambda span: span.begin)


def sort_of(kind: str) -> str:
    """Return the kind of an event by its type."""
    if kind in _ENDS:
        return "end"
    return "content" if kind.endswith(".delta") or kind == "several" else "frame"


def _draw(slow: SlowRequest, spans: list[DrawnSpan]) -> None:
    slow.events = sum(span.amount for span in spans)
    slow.length = max(slow.length, *(span.end for span in spans))
    whole = slow.length or 1.0
    places: dict[str, set[int]] = {sort: set() for sort in HEIGHTS}
    for span in spans:
        places_of_sort = places[sort_of(span.type)]
        first, last = (round(TICKS * at / whole) for at in (span.begin, span.end))
        # A span of many events is drawn as so many ticks as it holds, evenly: when each came is not written.
        most = min(span.amount, last - first + 1)
        places_of_sort.update(first + round(index * (last - first) / max(1, most - 1)) for index in range(most))
    for name, found in places.items():
        top, bottom = HEIGHTS[name]
        if found:
            slow.ticks[name] = "".join(f"M{place} {top}V{bottom}" for place in sorted(found))
    if slow.ttft is not None and 0 <= slow.ttft <= whole:
        slow.first_at = 100 * slow.ttft / whole
    silences = _silences(spans, slow.length)
    if silences:
        _, begin, end = max(silences)
        slow.gap_from, slow.gap_to = 100 * begin / whole, 100 * end / whole
        share = format_percent(end - begin, whole)
        slow.gap_words = f"{format_seconds(end - begin)} from {format_seconds(begin)}, {share} of the stream"
    _tell(slow, spans)


def _silences(spans: list[DrawnSpan], length: float) -> list[tuple[float, float, float]]:
    """Return the silences after the first event as length, begin and end; the wait for it is time to first event."""
    until = list(accumulate((span.end for span in spans), max))
    begins = [*(span.begin for span in spans[1:]), length]
    return [(begin - end, end, begin) for end, begin in zip(until, begins, strict=True) if begin > end]


def _tell(slow: SlowRequest, spans: list[DrawnSpan]) -> None:
    """Fill the table: beginning and end, the first content, and what stands on both sides of the longest silences."""
    last = len(spans)
    until = [0.0, *accumulate((span.end for span in spans), max)]
    gaps = [max(0.0, span.begin - end) for span, end in zip(spans, until, strict=False)]
    chosen = {0, last - 1}
    first = next((n for n, span in enumerate(spans) if sort_of(span.type) == "content"), None)
    if first is not None:
        chosen.add(first)
    widest = sorted(range(1, last), key=lambda n: -gaps[n])[:_WIDEST]
    chosen |= {n for place in widest for n in (place - 1, place)}
    last_shown = -1
    for n in sorted(chosen):
        span = spans[n]
        last_one = f" – {format_seconds(span.end)}" if span.end > span.begin else ""
        slow.rows.append(
            StreamRow(
                t=format_seconds(span.begin) + last_one,
                gap=format_seconds(gaps[n]),
                type=span.type,
                amount=span.amount,
                offset=format_count(span.offset),
                skipped=sum(other.amount for other in spans[last_shown + 1 : n]),
                longest=bool(widest) and n == widest[0],
            )
        )
        last_shown = n
    slow.after = sum(other.amount for other in spans[last_shown + 1 :])


def page_values(slowest: list[SlowRequest], report: ReportModel) -> dict[str, int]:
    """Return the width of the box that ticks are drawn in."""
    return {"width": TICKS}


PART: Final = Part(__name__, Area.LOAD, 290, read, page_values=page_values)
