"""Whether a run was in a steady state: tests of the run's own requests for a queue that grows, drift and change.

The requests of the tested part of a run are put into up to 20 batches of equal time (method of batch means; A. M. Law,
Simulation Modeling and Analysis, 5th ed., 9.5.3). The tests look at the batches, not at single requests, whose
latencies depend on each other. What dependence is left between batches is estimated from the residuals (lag-1
autocorrelation, corrected for its bias as M. G. Kendall 1954 does) and widens every test (K. H. Hamed and A. R. Rao
1998).

- The queue grows (open loop): fewer requests end than arrive while the queue is long, or the number in flight rises by
  more than a random walk does (:mod:`~rejoinder.load.measure.queue_growth`). It does not grow where clearly more end
  than arrive. Between the two, the run is too short to tell. The slope is that of P. K. Sen 1968, with a confidence
  interval of 95 %.
- A latency drifts: Mann-Kendall trend of its batch means.
- A latency changes at one moment: the largest t statistic over all ways to split the batches in two, corrected for the
  number of ways (Bonferroni). It counts as a change where two levels fit better than a line.
- A latency is longer for a stretch in the middle: Student's t of the batches of a stretch against the others, over all
  stretches of up to half the run, corrected for their number. It needs twice the latency, and to be far beyond what
  the busy spells of a queue bring.
- The share of failed requests changes at one moment: the same with a test of two shares.
- A change to the better that comes early is a beginning that differs: a warm-up leaves it out.
- A busy spell of a queue makes latencies drift and change too. A finding on a latency in an open loop counts if it
  remains when the part of each latency that is due to the number in flight is taken out. If it does not remain, the run
  is too short to tell.

Each test also needs an effect that matters, so that a long run does not call a drift of a microsecond a drift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from statistics import fmean, median
from typing import Final, Literal, NamedTuple

from rejoinder.formatting import format_seconds, plural, uncapitalized
from rejoinder.load.measure.queue_growth import GAP, RequestsInFlight, find_waiting, wandering_p
from rejoinder.load.measure.trend import correlation_factor, effective_degrees, kendall_trend, student_tail, theil_sen
from rejoinder.model.metrics import TIMES
from rejoinder.model.samples import Departure, Stationarity

MAX_BATCHES: Final = 20
LEAST_BATCHES: Final = 6
"""With fewer no trend reaches the level of the tests."""
LEAST_PER_BATCH: Final = 4
SURE: Final = 0.005
"""The level of each test. About five are made for one run."""
_GROWS: Final = 0.015
"""The product of the p values of both tests for a growing queue must be below it."""
_HOLDS: Final = 0.05
"""Two estimates of more completions than arrivals must both reach it."""
_RISES: Final = 0.25
"""A rise that chance brings less often than this leaves it open whether the queue grows."""
_LONGER: Final = (2.0, 8.0)
"""How many times as long a run that can tell is at least and at most."""
_SCORE: Final = 2.6
"""Standard errors by which completions exceed arrivals in most runs that are steady by the test."""
_SETTLED: Final = 4.0
"""A run is this many times as long as its first requests take, so that the number in flight has settled."""
_EARLY_REQUESTS: Final = 10
_SPLIT_SURE: Final = 1e-4
_PART_SURE: Final = 1e-6
"""A part of a run is more often by chance what the whole is not."""
_EPISODE_SURE: Final = 1e-6
"""A busy spell of a queue is a stretch of long latencies too: what differs by chance must be far from it."""
_EPISODE_STEP: Final = 2.0
"""How many times as long as the others the latencies of an episode are at least."""
_REST: Final = 2
"""Batches before and after an episode."""
_FAILURES_SURE: Final = 1e-4
_DRIFT: Final = 0.1
"""The share by which a latency must move over the tested part of the run."""
_STEP: Final = 0.2
_LEAST_MOVE: Final = 0.002
"""Seconds that it must move at least: less is within the noise of machines."""
_LEAST_GROWTH: Final = 0.5
"""Requests by which a queue must grow at least."""
_FAILURE_STEP: Final = 0.1
_EARLY: Final = 0.6
"""The share of the tested part within which a change to the better is the end of a warm-up."""
_REMAINS: Final = 0.6
"""The share of a move of a latency that must remain without the wait in a queue."""
_CHANCE: Final = 1e-3
"""By how much stricter a latency is tested that queued requests may have: their latencies depend on each other."""
_LATENCIES: Final = ("ttft", "e2e")


class RequestSpan(NamedTuple):
    """One request: start and end in seconds of the run, its latencies in seconds, and whether it failed.

    ``ttft`` and ``e2e`` are ``None`` where the request has none. ``end`` is when the client was done with it.
    """

    start: float
    end: float
    ttft: float | None
    e2e: float | None
    failed: bool = False


class SpanKeeper:
    """Keeps the requests of a run in bounded memory: beyond a limit every second one, then every fourth, and so on.

    ``weight`` is for how many requests each one stands.
    """

    def __init__(self, limit: int = 50_000) -> None:
        self.spans: list[RequestSpan] = []
        self.weight = 1
        self._limit = limit
        self._seen = 0

    def extend(self, spans: Iterable[RequestSpan]) -> None:
        """Add requests."""
        for span in spans:
            self._seen += 1
            if self._seen % self.weight == 0:
                self.spans.append(span)
        while len(self.spans) > self._limit:
            self.spans = self.spans[1::2]
            self.weight *= 2


class _Batches:
    """The tested part of a run, from ``low`` to ``high`` seconds, in ``count`` batches of equal time."""

    def __init__(self, spans: Sequence[RequestSpan], low: float, high: float, count: int) -> None:
        self.spans = [span for span in spans if low <= span.start < high]
        self.low, self.high, self.count = low, high, count
        self.length = (high - low) / count
        self.edges = [low + self.length * index for index in range(count + 1)]
        self.middles = [edge + self.length / 2 for edge in self.edges[:-1]]

    def part(self, low: float, high: float) -> _Batches:
        """Return some of the batches, between two times."""
        return _Batches(self.spans, low, high, max(1, round((high - low) / self.length)))

    def batch_of(self, span: RequestSpan) -> int:
        return min(self.count - 1, int((span.start - self.low) / self.length))

    def means(self, value: Callable[[RequestSpan], float | None]) -> list[tuple[float, float]]:
        """Return the middle of each batch that has values, and their mean."""
        values: list[list[float]] = [[] for _ in range(self.count)]
        for span in self.spans:
            if (found := value(span)) is not None:
                values[self.batch_of(span)].append(found)
        return [(at, fmean(group)) for at, group in zip(self.middles, values, strict=True) if group]


def find_stationarity(
    spans: Iterable[RequestSpan],
    *,
    end: float,
    begin: float = 0.0,
    open_loop: bool,
    paced_evenly: bool = True,
    weight: int = 1,
    rate: float | None = None,
) -> Stationarity:
    """Return whether a run was in a steady state, from its requests.

    ``begin`` to ``end`` is the time, in seconds of the run, for which the load was the one that was set: after a ramp,
    until nothing more was started. ``open_loop``: requests started on a schedule, so that a queue can grow.
    ``paced_evenly`` is false for a load that changes by design, of which no state is expected. Each span stands for
    ``weight`` requests. ``rate`` is that of the schedule of an open loop, in requests per second; without it, the rate
    is what was seen.
    """
    if not paced_evenly:
        return Stationarity(state="not tested", text="The load changes over the run, so its state is not tested.")
    ordered = sorted(spans, key=lambda span: span.start)
    inside = [span for span in ordered if begin <= span.start < end]
    latency = _first_latency(inside)
    low = begin + min(latency or 0.0, (end - begin) / 4)
    inside = [span for span in inside if span.start >= low]
    room = int((end - low) / latency) if latency else MAX_BATCHES
    count = min(MAX_BATCHES, room, len(inside) // LEAST_PER_BATCH)
    if count < LEAST_BATCHES:
        return _too_short(len(inside), end - low, latency, low - begin)
    batches = _Batches(ordered, low, end, count)
    queue = _Queue(ordered, inside, batches, weight, rate) if open_loop else None
    found, unclear = _departures(batches, queue)
    growth = queue.interval if queue else None
    window = (round(low, 3), round(end, 3))
    if not found:
        if queue is not None and queue.is_open:
            unclear.insert(0, queue.text)
        needed = queue.needed if unclear and queue else None
        return Stationarity(
            state="too short" if unclear else "steady",
            window=window,
            batches=count,
            growth=growth,
            needed=needed,
            text=" ".join(unclear),
        )
    warm_up = next((one.at for one in found if one.kind == "beginning"), None)
    if warm_up is not None:
        # What comes after the beginning is tested as a run of its own.
        rest = find_stationarity(ordered, begin=warm_up, end=end, open_loop=open_loop, weight=weight, rate=rate)
        found = [one for one in found if one.kind == "beginning"]
        found += [one for one in rest.departures if one.kind != "beginning"]
    return Stationarity(
        state="not steady",
        departures=found,
        window=window,
        batches=count,
        growth=growth,
        warm_up=None if warm_up is None else float(math.ceil(warm_up)),
        text=" ".join(one.text for one in found),
    )


def _first_latency(spans: Sequence[RequestSpan]) -> float | None:
    """Return how long a request takes before a queue has grown, in seconds; ``None`` without answers."""
    # Where a queue grows, the first requests are the fast ones; where caches are cold, they are the slow ones.
    values = [span.e2e if span.e2e is not None else span.end - span.start for span in spans]
    if not values:
        return None
    quartiles = [sorted(part)[len(part) // 4] for part in (values[: max(10, len(values) // 10)], values)]
    return max(min(quartiles), 1e-6)


def _too_short(requests: int, length: float, latency: float | None, left_out: float) -> Stationarity:
    need = LEAST_BATCHES * LEAST_PER_BATCH
    if requests < need:
        after = f" after the first {format_seconds(left_out)}" if left_out > 0 else ""
        why = f"{plural(requests, 'request')}{after}, needs {need}"
    else:
        times = LEAST_BATCHES * (latency or 0.0)
        why = f"{format_seconds(length)} of load, needs {format_seconds(times)}: {LEAST_BATCHES} times the latency"
    return Stationarity(state="too short", text=f"Too short to test for a steady state: {why}.")


def _departures(batches: _Batches, queue: _Queue | None) -> tuple[list[Departure], list[str]]:
    """Return what was not steady, and in sentences what may be a busy spell of a queue only."""
    found: list[Departure] = []
    unclear: list[str] = []
    grown = queue.departure() if queue else None
    if grown is not None:
        found.append(grown)
    failures = _failure_change(batches)
    if failures is not None:
        found.append(failures)
    for metric in _LATENCIES:
        value = _value_of(metric)
        moved = _latency_move(batches, metric, value)
        parts = queue.parts(value) if queue else None
        if moved is None and parts is not None:
            # The waits of a long queue differ by so much that they hide what the endpoint itself does.
            moved = _latency_move(batches, metric, parts.alone, _CHANCE)
            if moved is not None:
                moved.text = f"{moved.text.removesuffix('.')} (requests that found few others in flight)."
        elif moved is not None and queue is not None and parts is not None and queue.explains(moved, parts):
            if grown is None and not unclear:
                unclear.append(
                    f"Too short to tell whether the endpoint changed: {uncapitalized(moved.text)} A queue that is long "
                    "for a while has the same effect."
                )
            continue
        # A queue that grows makes latencies drift: that is one finding, not two.
        if moved is None or (grown is not None and moved.kind == "drift"):
            continue
        if any(one.kind == moved.kind and _near(one, moved, batches) for one in found):
            continue
        found.append(moved)
    return found, unclear


def _value_of(metric: str) -> Callable[[RequestSpan], float | None]:
    return lambda span: None if span.failed else getattr(span, metric)


def _near(one: Departure, other: Departure, batches: _Batches) -> bool:
    """Return whether two findings of a kind are one: TTFT is a part of the end-to-end time."""
    if one.at is None or other.at is None:
        return one.at is other.at
    return abs(one.at - other.at) <= 2 * batches.length


class _Parts(NamedTuple):
    rest: Callable[[RequestSpan], float | None]
    alone: Callable[[RequestSpan], float | None]


class _Queue:
    """The requests in flight of an open loop over batches. Each span stands for ``weight`` requests.

    ``inside`` are the requests that started in the tested part. The number in flight rises until the first of them have
    ended, so that time is left out.
    """

    def __init__(
        self,
        spans: Sequence[RequestSpan],
        inside: Sequence[RequestSpan],
        batches: _Batches,
        weight: int,
        rate: float | None,
    ) -> None:
        self._batches, self._weight = batches, weight
        answered = [span.e2e for span in inside if span.e2e is not None]
        early = sorted(answered[: max(_EARLY_REQUESTS, len(answered) // 10)])
        self._lasts = early[math.ceil(0.9 * len(early)) - 1] if early else 0.0
        room = batches.high - batches.low
        low = batches.low + min(self._lasts, room / 2)
        self._settles = self._lasts <= room / 2
        count = max(LEAST_BATCHES, round(batches.count * (batches.high - low) / room))
        self._length = batches.high - low
        edges = [low + self._length * index / count for index in range(count + 1)]
        self._flight = RequestsInFlight([span.start for span in spans], [span.end for span in spans])
        self._means = [self._flight.mean(*both) for both in pairwise(edges)]
        self._trend = kendall_trend([fmean(both) for both in pairwise(edges)], self._means)
        self._reach = (max(self._means) - min(self._means)) / (self._length * (1 - 1 / count))
        """The fastest growth from batch to batch that was seen."""
        rate = rate and rate / weight
        self._balance = self._flight.balance(edges, rate)
        self._growth = self._flight.balance(edges, rate, GAP)
        self._p_wanders = wandering_p(self._means)
        self._counts = max(_LEAST_GROWTH / weight, _DRIFT * fmean(self._means))
        """The growth that counts, in spans over the whole time."""

    @property
    def interval(self) -> tuple[float, float]:
        """The confidence interval of the growth, in requests per second."""
        # With few batches that depend on each other the interval of the trend is far wider than all that was seen.
        low, high = max(self._trend.low, -self._reach), min(self._trend.high, self._reach)
        return round(low * self._weight, 4) + 0.0, round(high * self._weight, 4) + 0.0

    @property
    def is_open(self) -> bool:
        """Whether a queue may grow, though that is not sure."""
        if max(self._means) - min(self._means) < self._counts:
            return False
        rises = self._trend.slope * self._length >= self._counts and self._p_wanders < _RISES
        return rises or not self._settles or max(self._balance.p_holds(), self._growth.p_holds()) >= _HOLDS

    @property
    def needed(self) -> float:
        """How long a run should be that can tell whether the queue grows, in seconds."""
        if not self._settles:
            return round(_SETTLED * self._lasts, 3)
        # Errors fall with the root of the length.
        score = max(0.01, -self._balance.excess / self._balance.error) if self._balance.error else 0.01
        least, most = _LONGER
        return round(self._batches.high * min(most, max(least, (_SCORE / score) ** 2)), 3)

    @property
    def text(self) -> str:
        """A sentence for a queue of which it is open whether it grows."""
        if not self._settles:
            return (
                f"Too short to tell whether the queue grows: the first requests took up to "
                f"{format_seconds(self._lasts)}, half of the run or more."
            )
        first, last = (fmean(part) * self._weight for part in (self._means[:3], self._means[-3:]))
        return (
            f"Too short to tell whether the queue grows: {first:.3g} requests were in flight at first, {last:.3g} at "
            "the end."
        )

    def parts(self, value: Callable[[RequestSpan], float | None]) -> _Parts:
        """Return a latency without the wait for the requests in flight, and of requests that found few in flight."""
        found = {span: self._flight.found_at(span.start) for span in self._batches.spans}
        known = [
            (found[span], latency, self._batches.batch_of(span))
            for span in self._batches.spans
            if (latency := value(span)) is not None
        ]
        waiting = find_waiting(known)

        def rest(span: RequestSpan) -> float | None:
            latency = value(span)
            return None if latency is None else latency - waiting.part(found[span])

        def alone(span: RequestSpan) -> float | None:
            return value(span) if found[span] <= waiting.level else None

        return _Parts(rest, alone)

    def explains(self, moved: Departure, parts: _Parts) -> bool:
        """Return whether a finding on a latency may be no more than a busy spell of the queue.

        It is more if most of it remains when the wait for the requests in flight is taken out, or if it is there for
        the requests that found few in flight.
        """
        if moved.until is not None:
            return False
        level = _CHANCE if self.is_open else 1.0
        left = _latency_move(self._batches, moved.metric, parts.rest, level)
        if left is not None and left.moved / moved.moved >= _REMAINS:
            return False
        return _latency_move(self._batches, moved.metric, parts.alone, level) is None

    def departure(self) -> Departure | None:
        """Return the growth of the queue, if the number of requests in flight rises through the run."""
        weight, growth = self._weight, self._trend.slope
        p = self._growth.p_grows() * self._p_wanders
        if growth * self._length < self._counts or p >= _GROWS or not self._settles:
            return None
        low, high = self.interval
        growth *= weight
        low, high = max(0.0, min(low, growth)), max(high, growth)
        interval = (round(low, 4), round(high, 4))
        return Departure(
            kind="queue",
            metric="in_flight",
            growth=round(growth, 4),
            interval=interval,
            p=p,
            text=f"The queue grew by {growth:.3g} requests/s (95 % confidence: {interval[0]:.3g} to "
            f"{interval[1]:.3g}).",
        )


def _latency_move(
    batches: _Batches, metric: str, value: Callable[[RequestSpan], float | None], level: float = 1.0
) -> Departure | None:
    """Return how a latency drifted or changed over the batches, if it did.

    The levels of the tests for a drift and a change are multiplied by ``level``.
    """
    points = batches.means(value)
    if len(points) < LEAST_BATCHES:
        return None
    times, means = [at for at, _ in points], [math.log(max(mean, 1e-6)) for _, mean in points]
    trend = kendall_trend(times, means)
    episode = _episode(batches, metric, value)
    if episode is not None:
        return episode
    for first, last in _parts(len(points)):
        split = _best_split(means[first:last])
        sure = level * (_SPLIT_SURE if last - first == len(points) else _PART_SURE)
        if split is None or split.p >= sure or split.error > _line_error(times[first:last], means[first:last]):
            continue
        part = batches.part(times[first] - batches.length / 2, times[last - 1] + batches.length / 2)
        at = first + split.at
        near = (times[at - 1] - batches.length, times[at] + batches.length)
        change = _change(part, metric, value, _moment(part, value, *near))
        if change is not None:
            return change
    if trend.p >= level * SURE:
        return None
    span_values = [found for span in batches.spans if (found := value(span)) is not None]
    middle = median(span_values)
    move = theil_sen(times, [mean for _, mean in points]) * (batches.high - batches.low)
    if abs(move) < max(_LEAST_MOVE, _DRIFT * middle):
        return None
    third = max(1, len(span_values) // 3)
    early, late = median(span_values[:third]), median(span_values[-third:])
    name, way = TIMES[metric].label, "rose" if move > 0 else "fell"
    return Departure(
        kind="drift",
        metric=metric,
        before=round(early, 6),
        after=round(late, 6),
        growth=round(move / (batches.high - batches.low), 6),
        p=trend.p,
        text=f"{name} {way} through the run: p50 {format_seconds(early)} in its first third, {format_seconds(late)} in "
        "its last.",
    )


def _episode(batches: _Batches, metric: str, value: Callable[[RequestSpan], float | None]) -> Departure | None:
    """Return a stretch in the middle of the run in which a latency was longer than before and after it, if any.

    The batches of the stretch are compared with the others, whose spread is what chance gives: Student's t, corrected
    for the number of stretches (Bonferroni).
    """
    points = batches.means(value)
    n = len(points)
    logs = [math.log(max(mean, 1e-6)) for _, mean in points]
    found: list[tuple[float, float, int, int]] = []
    ways = 0
    for first in range(_REST, n - _REST):
        for last in range(first + 1, min(n - _REST, first + n // 2) + 1):
            ways += 1
            rest = logs[:first] + logs[last:]
            level = fmean(rest)
            distance = fmean(logs[first:last]) - level
            if distance < math.log(_EPISODE_STEP):
                continue
            residuals = [one - level for one in rest]
            factor = correlation_factor(residuals)
            count = len(rest)
            error = math.sqrt(_squares(rest) / (count - 1) * factor * (1 / count + 1 / (last - first)))
            p = student_tail(distance / error, effective_degrees(count, factor)) if error else 0.0
            found.append((_squares(rest) + _squares(logs[first:last]), p, first, last))
    sure = [one for one in found if one[1] * ways < _EPISODE_SURE]
    if not sure:
        return None
    _, _, first, last = min(sure)
    low, high = (points[at][0] + side * batches.length / 2 for at, side in ((first, -1), (last - 1, 1)))
    inside: list[float] = []
    others: list[float] = []
    for span in batches.spans:
        if (latency := value(span)) is not None:
            (inside if low <= span.start < high else others).append(latency)
    others.sort()
    if sum(latency > others[math.ceil(0.9 * len(others)) - 1] for latency in inside) < LEAST_PER_BATCH:
        return None
    before, after = fmean(others), fmean(inside)
    if after - before < _LEAST_MOVE:
        return None
    return Departure(
        kind="change",
        metric=metric,
        at=round(low, 3),
        until=round(high, 3),
        before=round(before, 6),
        after=round(after, 6),
        text=f"From {low:.1f} to {high:.1f} s the mean {TIMES[metric].label} was {format_seconds(after)}, otherwise "
        f"{format_seconds(before)}.",
    )


def _parts(n: int) -> list[tuple[int, int]]:
    """Return the parts of a series in which a change is sought: with two changes neither is clear in the whole."""
    most = 2 * n // 3
    return [(0, n), *([(0, most), (n - most, n)] if most >= LEAST_BATCHES else [])]


class _Split(NamedTuple):
    at: int
    p: float
    error: float


def _best_split(values: Sequence[float]) -> _Split | None:
    """Return the split of a series into two levels that fits best: its index, p value and sum of squared errors."""
    n = len(values)
    best: tuple[float, int] | None = None
    for at in range(2, n - 1):
        error = _squares(values[:at]) + _squares(values[at:])
        if best is None or error < best[0]:
            best = (error, at)
    if best is None:
        return None
    error, at = best
    first, last = values[:at], values[at:]
    rest = [value - fmean(first) for value in first] + [value - fmean(last) for value in last]
    factor = correlation_factor(rest)
    spread = math.sqrt(error / (n - 2) * (1 / at + 1 / (n - at)) * factor)
    distance = abs(fmean(last) - fmean(first))
    if not distance:
        return None
    p = student_tail(distance / spread, effective_degrees(n, factor)) * (n - 3) if spread else 0.0
    return _Split(at, min(1.0, p), error)


def _squares(values: Sequence[float]) -> float:
    mean = fmean(values)
    return sum((value - mean) ** 2 for value in values)


def _line_error(times: Sequence[float], values: Sequence[float]) -> float:
    """Return the sum of squared errors of a straight line."""
    at, mean = fmean(times), fmean(values)
    spread = sum((time - at) ** 2 for time in times)
    slope = sum((time - at) * (value - mean) for time, value in zip(times, values, strict=True)) / spread
    return sum((value - mean - slope * (time - at)) ** 2 for time, value in zip(times, values, strict=True))


def _moment(batches: _Batches, value: Callable[[RequestSpan], float | None], low: float, high: float) -> float:
    """Return the start of the request between two times that divides the requests best into two levels."""
    known = [(span.start, math.log(max(found, 1e-6))) for span in batches.spans if (found := value(span)) is not None]
    sums, squares = [0.0, *accumulate(one for _, one in known)], [0.0, *accumulate(one * one for _, one in known)]
    best = (math.inf, low)
    for index, (at, _) in enumerate(known):
        if not index or not low <= at <= high:
            continue
        left, right = index, len(known) - index
        error = squares[-1] - sums[index] ** 2 / left - (sums[-1] - sums[index]) ** 2 / right
        best = min(best, (error, at))
    return best[1]


def _change(
    batches: _Batches, metric: str, value: Callable[[RequestSpan], float | None], at: float
) -> Departure | None:
    """Return a change of a latency at a moment, unless it is too small to matter."""
    sides: tuple[list[float], list[float]] = ([], [])
    for span in batches.spans:
        if (found := value(span)) is not None:
            sides[span.start >= at].append(found)
    if not all(sides):
        return None
    for word, statistic in (("p50 of ", median), ("mean ", fmean)):
        before, after = statistic(sides[0]), statistic(sides[1])
        if abs(after - before) >= max(_LEAST_MOVE, _STEP * min(before, after)):
            return Departure(
                kind=_kind_of_change(batches, at, better=after < before),
                metric=metric,
                at=round(at, 3),
                before=round(before, 6),
                after=round(after, 6),
                text=f"From {at:.1f} s on the {word}{TIMES[metric].label} was {format_seconds(after)}, before "
                f"{format_seconds(before)}.",
            )
    return None


def _kind_of_change(batches: _Batches, at: float, *, better: bool) -> Literal["beginning", "change"]:
    share = (at - batches.low) / (batches.high - batches.low)
    return "beginning" if better and share <= _EARLY else "change"


def _failure_change(batches: _Batches) -> Departure | None:
    """Return the moment from which another share of the requests failed, if there is one."""
    marks = [span.failed for span in batches.spans]
    total, n = sum(marks), len(marks)
    if not 0 < total < n:
        return None
    pooled = total / n
    best: tuple[float, int] = (0.0, 0)
    seen = 0
    for index, has_failed in enumerate(marks):
        if LEAST_PER_BATCH <= index <= n - LEAST_PER_BATCH:
            error = math.sqrt(pooled * (1 - pooled) * (1 / index + 1 / (n - index)))
            best = max(best, (abs(seen / index - (total - seen) / (n - index)) / error, index))
        seen += has_failed
    score, index = best
    if not index or math.erfc(score / math.sqrt(2)) * n >= _FAILURES_SURE:
        return None
    before, after = fmean(marks[:index]), fmean(marks[index:])
    if abs(after - before) < _FAILURE_STEP:
        return None
    at = batches.spans[index].start
    return Departure(
        kind=_kind_of_change(batches, at, better=after < before),
        metric="error",
        at=round(at, 3),
        before=round(before, 6),
        after=round(after, 6),
        text=f"From {at:.1f} s on {100 * after:.0f} % of the requests failed, before {100 * before:.0f} %.",
    )
