"""The slowest streams of a load run, event by event: what a timeline draws and what its table says."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, NamedTuple

from rejoinder.formatting import as_number, format_count, format_percent, format_seconds, one_line

MOST_STREAMS: Final = 10
TICKS: Final = 250
"""Positions on a timeline that can be told apart; events of one sort that fall on one position share a tick."""
_MOST_EVENTS: Final = 2000
_WIDEST: Final = 2
"""So many of the longest silences have the events on both sides of them in the table."""
_ENDS: Final = ("response.completed", "response.incomplete", "response.failed", "response.cancelled", "error")

LANES: Final = {"content": (16, 32), "frame": (24, 38), "end": (8, 38)}
"""Sorts of events on a timeline, with the heights between which their ticks stand."""


class Stretch(NamedTuple):
    """Events of one type that came together: first and last arrival in seconds, type, number, place of the first."""

    begin: float
    end: float
    type: str
    amount: int
    offset: int | None


class Row(NamedTuple):
    """One line of the table behind a timeline; ``skipped`` counts the events left out before it."""

    t: str
    gap: str
    type: str
    amount: int
    offset: str
    skipped: int
    longest: bool


@dataclass(slots=True)
class Slow:
    """One of the slowest requests: its figures, and its timeline where the run file has the events.

    Positions are percent of the width of the timeline, which ends at ``length`` seconds; ``ticks`` are SVG path data by
    sort of event, in a box :data:`TICKS` wide.
    """

    t: float | None
    outcome: str
    e2e: float | None
    ttft: float | None
    max_gap: float | None
    tokens: float | None
    worker: str = ""
    scenario: str = ""
    rules: str = ""
    detail: str = ""
    length: float = 0.0
    events: int = 0
    ticks: dict[str, str] = field(default_factory=dict)
    first_at: float | None = None
    gap_from: float | None = None
    gap_to: float | None = None
    gap_told: str = ""
    rows: list[Row] = field(default_factory=list)
    after: int = 0

    @property
    def has_offsets(self) -> bool:
        """Whether the table can say at which byte of the body events begin."""
        return any(row.offset != "–" for row in self.rows)

    @property
    def summary(self) -> str:
        """What the timeline shows, in a sentence."""
        told = [f"{format_count(self.events)} events in {format_seconds(self.length)}"]
        if self.ttft is not None:
            told.append(f"first token at {format_seconds(self.ttft)}")
        if self.gap_told:
            told.append(f"longest silence {self.gap_told}")
        return ", ".join([*told, f"ended {self.outcome}"])


def read_slowest(streams: list[dict[str, Any]], requests: list[dict[str, Any]]) -> list[Slow]:
    """Return the ten slowest requests, the slowest first: with timelines where ``stream`` lines tell the events."""
    lines = streams or requests
    timed = [(_length(line), line) for line in lines]
    ranked = sorted(((length, line) for length, line in timed if length is not None), key=lambda pair: -pair[0])
    return [_slow(length, line) for length, line in ranked[:MOST_STREAMS]]


def _length(line: dict[str, Any]) -> float | None:
    length = as_number(line.get("duration"))
    return as_number(line.get("e2e")) if length is None else length


def _slow(length: float, line: dict[str, Any]) -> Slow:
    rules, worker = line.get("rules"), as_number(line.get("worker"))
    slow = Slow(
        t=as_number(line.get("t")),
        outcome=one_line(line.get("outcome") or "?", 30),
        e2e=as_number(line.get("e2e")),
        ttft=as_number(line.get("ttft")),
        max_gap=as_number(line.get("max_gap")),
        tokens=as_number(line.get("output_tokens")),
        worker="" if worker is None else f"{worker:.0f}",
        scenario=one_line(line.get("scenario") or "", 40),
        rules=one_line(", ".join(map(str, rules)) if isinstance(rules, list) else "", 80),
        detail=one_line(line.get("detail") or "", 120),
        length=max(length, 0.0),
    )
    stretches = _stretches(line.get("events"))
    if stretches:
        _draw(slow, stretches)
    return slow


def _stretches(written: Any) -> list[Stretch]:
    """Return what can be read of the events of a ``stream`` line, in order of time."""
    found = []
    for entry in written[:_MOST_EVENTS] if isinstance(written, list) else []:
        if not isinstance(entry, list) or len(entry) < 4:
            continue
        begin, end, amount = as_number(entry[0]), as_number(entry[1]), as_number(entry[3])
        offset = as_number(entry[4]) if len(entry) > 4 else None
        if begin is None or end is None or amount is None or not 0 <= begin <= end or amount < 1:
            continue
        place = round(offset) if offset is not None and offset >= 0 else None
        found.append(Stretch(begin, end, one_line(entry[2] or "(no type)", 60), round(amount), place))
    return sorted(found, key=lambda stretch: stretch.begin)


def lane_of(kind: str) -> str:
    """Return the sort of an event by its type."""
    if kind in _ENDS:
        return "end"
    return "content" if kind.endswith(".delta") or kind == "several" else "frame"


def _draw(slow: Slow, stretches: list[Stretch]) -> None:
    slow.events = sum(stretch.amount for stretch in stretches)
    slow.length = max(slow.length, *(stretch.end for stretch in stretches))
    whole = slow.length or 1.0
    places: dict[str, set[int]] = {lane: set() for lane in LANES}
    for stretch in stretches:
        lane = places[lane_of(stretch.type)]
        first, last = (round(TICKS * at / whole) for at in (stretch.begin, stretch.end))
        # A stretch of many events is drawn as so many ticks as it holds, evenly: when each came is not written.
        most = min(stretch.amount, last - first + 1)
        lane.update(first + round(index * (last - first) / max(1, most - 1)) for index in range(most))
    for name, found in places.items():
        top, bottom = LANES[name]
        if found:
            slow.ticks[name] = "".join(f"M{place} {top}V{bottom}" for place in sorted(found))
    if slow.ttft is not None and 0 <= slow.ttft <= whole:
        slow.first_at = 100 * slow.ttft / whole
    silences = _silences(stretches, slow.length)
    if silences:
        _, begin, end = max(silences)
        slow.gap_from, slow.gap_to = 100 * begin / whole, 100 * end / whole
        share = format_percent(end - begin, whole)
        slow.gap_told = f"{format_seconds(end - begin)} from {format_seconds(begin)}, {share} of the stream"
    _tell(slow, stretches)


def _silences(stretches: list[Stretch], length: float) -> list[tuple[float, float, float]]:
    """Return the silences after the first event as length, begin and end; the wait for it is time to first event."""
    until = list(accumulate((stretch.end for stretch in stretches), max))
    begins = [*(stretch.begin for stretch in stretches[1:]), length]
    return [(begin - end, end, begin) for end, begin in zip(until, begins, strict=True) if begin > end]


def _tell(slow: Slow, stretches: list[Stretch]) -> None:
    """Fill the table: beginning and end, the first content, and what stands on both sides of the longest silences."""
    last = len(stretches)
    until = [0.0, *accumulate((stretch.end for stretch in stretches), max)]
    gaps = [max(0.0, stretch.begin - end) for stretch, end in zip(stretches, until, strict=False)]
    chosen = {0, last - 1}
    first = next((n for n, stretch in enumerate(stretches) if lane_of(stretch.type) == "content"), None)
    if first is not None:
        chosen.add(first)
    widest = sorted(range(1, last), key=lambda n: -gaps[n])[:_WIDEST]
    chosen |= {n for place in widest for n in (place - 1, place)}
    told = -1
    for n in sorted(chosen):
        stretch = stretches[n]
        last_one = f" – {format_seconds(stretch.end)}" if stretch.end > stretch.begin else ""
        slow.rows.append(
            Row(
                t=format_seconds(stretch.begin) + last_one,
                gap=format_seconds(gaps[n]),
                type=stretch.type,
                amount=stretch.amount,
                offset=format_count(stretch.offset),
                skipped=sum(other.amount for other in stretches[told + 1 : n]),
                longest=bool(widest) and n == widest[0],
            )
        )
        told = n
    slow.after = sum(other.amount for other in stretches[told + 1 :])
