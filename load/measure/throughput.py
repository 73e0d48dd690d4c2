"""Starts, ends and tokens over time, and the window of a run over which its rates are computed.

Time is cut into slices: 1 ms wide in the first second, and in each further decade a thousandth of the decade's end, so
that a slice is at most 1 % of the time that has passed and a day has about 4,300 of them. A slice holds counts, and
exactly when the last request in it ended. So a window that begins and ends with an end of a request has exact edges
and an exact count of ends; starts and tokens are counted by whole slices. Adding slices is associative and commutative.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from itertools import pairwise
from typing import Final, NamedTuple

from msgspec import Struct, field

from rejoinder.formatting import value_of
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome

_NOT_BY_ENDPOINT: Final = (
    RequestOutcome.CENSORED,
    RequestOutcome.TIMEOUT,
    RequestOutcome.UNOPENED,
    RequestOutcome.LOST,
)
_SETTLED_PERCENT: Final = 95.0
_SHORT_RAMP: Final = 0.01
_LONG_RAMP: Final = 0.5
"""Shares of the time in which requests were started: a ramp between them is left out of the window."""
_KEPT: Final = 0.97
"""Share of the requests in flight that is kept to the end of the window of a closed loop."""
_LONGER: Final = 1.5
"""How much longer than every silence before, the last one is when it counts as time of the window."""


def slice_of(at: float) -> int:
    """Return the slice that holds a time in seconds: its begin in milliseconds."""
    begin = max(0, int(at * 1e3))
    width = slice_width(begin)
    return begin // width * width


def slice_width(begin: int) -> int:
    """Return the width in milliseconds of the slice that begins at a millisecond."""
    return 1 if begin < 1000 else int(10 ** (len(str(begin)) - 3))


class Slice(Struct, array_like=True):
    """What happened in a slice of the run; times count from the start of the run.

    ``start_sum`` and ``finish_sum`` are sums of times in microseconds, from which follows the time integral of the
    requests in flight. ``ended`` requests are those that the endpoint ended, the last of them at ``last_end`` seconds;
    the other ``finished`` ones timed out or were cut off by the end of the run.
    """

    started: int = 0
    start_sum: int = 0
    finished: int = 0
    finish_sum: int = 0
    ended: int = 0
    last_end: float = 0.0
    failed: int = 0
    ok: int = 0
    good: int = 0
    output_tokens: float = 0.0
    ok_output_tokens: float = 0.0
    input_tokens: float = 0.0
    uncached_input_tokens: float = 0.0

    def merge(self, other: Slice) -> None:
        """Add the same slice of other requests."""
        last = max(self.last_end, other.last_end)
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.last_end = last


COUNTED: Final = (
    "finished",
    "failed",
    "output_tokens",
    "ok",
    "good",
    "ok_output_tokens",
    "input_tokens",
    "uncached_input_tokens",
)
"""What is counted over the window; starts have a window of their own."""


class Throughput(Struct):
    """The slices of some requests. ``lengths`` are the durations of those that the endpoint ended."""

    slices: dict[int, Slice] = field(default_factory=dict)
    lengths: Histogram = field(default_factory=Histogram)
    first_start: float | None = None
    last_start: float | None = None
    last_finish: float | None = None

    def at(self, time: float) -> Slice:
        """Return the slice of a time in seconds, to be counted in."""
        key = slice_of(time)
        found = self.slices.get(key)
        if found is None:
            found = self.slices[key] = Slice()
        return found

    def count(self, start: float, end: float, outcome: RequestOutcome, *, good: bool) -> None:
        """Count a request; ``good`` is whether it succeeded within every limit. Times are seconds of the run."""
        start, end = max(0.0, start), max(0.0, end)
        first, last = self.at(start), self.at(end)
        first.started += 1
        first.start_sum += round(start * 1e6)
        last.finished += 1
        last.finish_sum += round(end * 1e6)
        last.ok += outcome.row.good
        last.good += good
        # Requests that were in flight at the end count as failed when they were cut off.
        last.failed += outcome.row.bad
        if outcome not in _NOT_BY_ENDPOINT:
            last.ended += 1
            last.last_end = max(last.last_end, end)
            self.lengths.add(end - start)
        self.first_start = _least(self.first_start, start)
        self.last_start = _most(self.last_start, start)
        self.last_finish = _most(self.last_finish, end)

    def merge(self, other: Throughput) -> None:
        """Add other requests."""
        for key, more in other.slices.items():
            own = self.slices.get(key)
            if own is None:
                own = self.slices[key] = Slice()
            own.merge(more)
        self.lengths.merge(other.lengths)
        self.first_start = _least(self.first_start, other.first_start)
        self.last_start = _most(self.last_start, other.last_start)
        self.last_finish = _most(self.last_finish, other.last_finish)

    def mean_in_flight(self, window: tuple[float, float]) -> float | None:
        """Return the mean number of requests in flight in a window; ``None`` for one without a length."""
        return InFlight(self).mean(*window)


class InFlight:
    """The time integral of the requests in flight: exact at the edges of slices, interpolated within one."""

    def __init__(self, counts: Throughput) -> None:
        self._edges = [0.0]
        self._areas = [0.0]
        self._level = 0
        area = 0.0
        for key in sorted(counts.slices):
            begin, width, found = key / 1e3, slice_width(key) / 1e3, counts.slices[key]
            area += self._level * (begin - self._edges[-1])
            self._note(begin, area)
            end = begin + width
            started = found.started * end - found.start_sum / 1e6
            finished = found.finished * end - found.finish_sum / 1e6
            area += self._level * width + started - finished
            self._level += found.started - found.finished
            self._note(end, area)

    def _note(self, edge: float, area: float) -> None:
        self._edges.append(edge)
        self._areas.append(area)

    def until(self, time: float) -> float:
        """Return the integral from the start of the run to a time, in seconds."""
        place = bisect_right(self._edges, time)
        if place >= len(self._edges):
            return self._areas[-1] + self._level * max(0.0, time - self._edges[-1])
        low, high = self._edges[place - 1], self._edges[place]
        part = (time - low) / (high - low)
        return self._areas[place - 1] + part * (self._areas[place] - self._areas[place - 1])

    def mean(self, low: float, high: float) -> float | None:
        """Return the mean in a window; ``None`` for one without a length."""
        return max(0.0, self.until(high) - self.until(low)) / (high - low) if high > low else None


class Window(NamedTuple):
    """The part of a run over which rates are computed, in seconds from its start.

    Ends and tokens count from ``low`` (exclusive) to ``high``, in the slices from ``first`` to ``last``; starts count
    over ``starts``, of which there were ``started``. ``why`` says why there are no rates.
    """

    low: float
    high: float
    first: int = 0
    last: int = -1
    starts: tuple[float, float] = (0.0, 0.0)
    started: int = 0
    why: str = ""

    @property
    def edges(self) -> tuple[float, float]:
        """Begin and end."""
        return self.low, self.high


class _Ends(NamedTuple):
    """The slices in which requests ended, in order: their keys, the last end in each, and all ends up to it."""

    keys: list[int]
    times: list[float]
    totals: list[int]

    def longest_silence(self, begin: float, until: int) -> float:
        """Return the longest time without an end from ``begin`` to the end at index ``until``."""
        edges = [begin, *(time for time in self.times[: until + 1] if time > begin)]
        return max((later - earlier for earlier, later in pairwise(edges)), default=0.0)

    def before_silence(self, limit: float, least: float) -> int:
        """Return the index of the end at ``least`` or later and up to ``limit`` that the longest silence follows.

        Of the ends within the longest silence before the limit, so that a window never cuts a burst of ends.
        """
        last = bisect_right(self.times, limit) - 1
        reach = max(least, limit - self.longest_silence(least, last))
        first = min(last, bisect_left(self.times, reach))

        def silence(index: int) -> float:
            following = self.times[index + 1] if index + 1 < len(self.times) else limit
            return following - self.times[index]

        return max(range(first, last + 1), key=silence)


def closed_window(counts: Throughput, *, ramp: float, users: int, issued: float) -> Window:
    """Return the window of a closed loop of ``users``: while they were kept busy.

    It begins with the first start, or after the ``ramp`` where that took between 1 % and half of the run. It ends with
    an end of a request. From the last start on fewer and fewer users are busy, so it is the last end until which 97 %
    as many requests were in flight as at the last start, on average over the window. When the endpoint ended nothing
    for longer than ever before, the window goes on to ``issued``, the seconds for which requests were started.
    """
    if counts.first_start is None or counts.last_start is None or counts.last_finish is None:
        return Window(0.0, 0.0, why="no request was sent")
    low = counts.first_start
    first = slice_of(low)
    if _SHORT_RAMP * (counts.last_start - low) < ramp < _LONG_RAMP * (counts.last_start - low):
        first = slice_of(ramp)
        first += slice_width(first) if first / 1e3 < ramp else 0
        low = first / 1e3
    ends = _ends(counts, lambda key: key >= first)
    high, last = counts.last_finish, slice_of(counts.last_finish)
    if ends.keys:
        chosen = len(ends.keys) - 1
        least = min(users, ends.totals[-1])
        in_flight = InFlight(counts)
        after = max(0, bisect_right(ends.times, counts.last_start) - 1)
        late = {
            index: in_flight.mean(low, ends.times[index]) or 0.0
            for index in range(after, len(ends.keys))
            if ends.totals[index] >= least
        }
        if late:
            kept = _KEPT * max(late.values())
            chosen = max(index for index, mean in late.items() if mean >= kept)
        high, last = ends.times[chosen], ends.keys[chosen]
        if issued - high > _LONGER * ends.longest_silence(low, chosen):
            high, last = issued, slice_of(issued)
    elif issued > low:
        high, last = issued, slice_of(issued)
    if high <= low:
        return Window(low, low, why="no request ended after the ramp")
    # Users that begin replace nobody; every later start follows an end.
    replaced = _started(counts, first, slice_of(counts.last_start))
    if not _started(counts, 0, first - 1):
        replaced -= min(users, replaced)
    return Window(low, high, first, last, (low, max(low, counts.last_start)), replaced)


def open_window(counts: Throughput, *, issued: float) -> Window:
    """Return the window of an open loop: from when as many requests end as start, to the end of starts.

    It begins and ends with an end of a request. The first is the last one before the 95th percentile of the durations
    has passed, but no later than in the middle of the ``issued`` seconds for which requests were started. Where less
    than a quarter of these remains, it goes on for the shortest duration, since before that has passed no end can be
    missing because starts have ended.
    """
    if counts.first_start is None or counts.last_finish is None:
        return Window(0.0, 0.0, why="no request was sent")
    starts = (0.0, issued)
    started = sum(found.started for found in counts.slices.values())
    ends = _ends(counts, lambda _: True)
    if not ends.keys:
        low = min(counts.first_start, issued)
        return Window(low, issued, slice_of(low), slice_of(issued), starts, started, "" if issued > low else "no time")
    settled = min(value_of(counts.lengths.nearest_rank(_SETTLED_PERCENT)) or 0.0, issued / 2)
    begin = ends.before_silence(max(settled, ends.times[0]), ends.times[0])
    low = ends.times[begin]
    limit = issued
    if limit - low < issued / 4:
        limit = max(issued, counts.first_start + issued) + counts.lengths.min / 1e6
    end = ends.before_silence(max(limit, low), low)
    high, last = ends.times[end], ends.keys[end]
    if issued - high > _LONGER * ends.longest_silence(low, end) and high > low:
        high, last = issued, slice_of(issued)
    if high <= low:
        what = "only one request ended" if ends.totals[-1] == 1 else "all requests ended at the same time"
        return Window(low, low, starts=starts, started=started, why=what)
    return Window(low, high, ends.keys[begin] + slice_width(ends.keys[begin]), last, starts, started)


def _started(counts: Throughput, first: int, last: int) -> int:
    """Return how many requests started in the slices from ``first`` to ``last``."""
    return sum(found.started for key, found in counts.slices.items() if first <= key <= last)


def totals_within(counts: Throughput, first: int, last: int) -> dict[str, float]:
    """Return the sums of :data:`COUNTED` over the slices from ``first`` to ``last``."""
    inside = [found for key, found in counts.slices.items() if first <= key <= last]
    return {name: sum(getattr(found, name) for found in inside) for name in COUNTED}


def _ends(counts: Throughput, wanted: Callable[[int], bool]) -> _Ends:
    ends = _Ends([], [], [])
    total = 0
    for key in sorted(counts.slices):
        found = counts.slices[key]
        if found.ended and wanted(key):
            total += found.ended
            ends.keys.append(key)
            ends.times.append(found.last_end)
            ends.totals.append(total)
    return ends


def _least(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else min(one, other)


def _most(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)
