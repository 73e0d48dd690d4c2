"""Whether a queue grows in an open loop: whether the endpoint ends more requests than arrive while many are in flight.

A queue of a stable endpoint is long at times, and ends more requests then than arrive, until it is short again. Above
the capacity it does not: however long the queue is, fewer requests end than arrive. So the requests that end are
counted only while many are in flight, and compared with the rate of the schedule. This needs no model of the endpoint,
and no steady state: a queue that has just begun to build up shows its rate of completions too. The error is that of a
ratio estimate over batches of equal time (A. M. Law, Simulation Modeling and Analysis, 5th ed., 9.5.3).

The number in flight itself is a second witness. Without a drift it wanders as a random walk at most, of which the
differences between batches show the step.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import fmean
from typing import Final, NamedTuple

from rejoinder.load.measure.trend import student_tail

GAP: Final = 0.2
"""The queue is long from the quantile 0.7 of the number in flight on, until it is below the quantile 0.3."""
_LEAST_LONG: Final = 0.2
_OVERLAP: Final = 1.5
"""Differences between means of neighbouring batches of a random walk correlate by 1/4."""
_MOST_LEVELS: Final = 12
_MOST_POINTS: Final = 4000
_LEAST_PULSES: Final = 8
_LEAST_EARLY: Final = 40
_MOSTLY: Final = 0.95
_SURE: Final = 1e-4
_SURELY: Final = 0.2


class Balance(NamedTuple):
    """By how many requests a second more arrive than end while the queue is long, with its standard error."""

    excess: float
    error: float
    degrees: int

    def p_grows(self) -> float:
        """Return the one-sided p value of the claim that the queue does not grow."""
        return _one_sided(self.excess, self.error, self.degrees)

    def p_holds(self) -> float:
        """Return the one-sided p value of the claim that the queue grows."""
        return _one_sided(-self.excess, self.error, self.degrees)


def _one_sided(value: float, error: float, degrees: int) -> float:
    if not error:
        return 0.0 if value > 0 else 1.0
    tail = student_tail(value / error, degrees) / 2
    return tail if value > 0 else 1 - tail


class RequestsInFlight:
    """The number of requests in flight over time, from their starts and ends in seconds."""

    def __init__(self, starts: Sequence[float], ends: Sequence[float]) -> None:
        self._starts, self._ends = sorted(starts), sorted(ends)
        self._started, self._ended = [0.0, *accumulate(self._starts)], [0.0, *accumulate(self._ends)]

    def found_at(self, start: float) -> int:
        """Return how many others a request found that starts at a time."""
        return bisect_left(self._starts, start) - bisect_right(self._ends, start)

    def mean(self, low: float, high: float) -> float:
        """Return the mean between two times."""
        return (self._integral(high) - self._integral(low)) / (high - low)

    def _integral(self, at: float) -> float:
        i, j = bisect_left(self._starts, at), bisect_left(self._ends, at)
        return (i * at - self._started[i]) - (j * at - self._ended[j])

    def started(self, low: float, high: float) -> int:
        """Return how many requests started between two times."""
        return bisect_left(self._starts, high) - bisect_left(self._starts, low)

    def _pieces(self, low: float, high: float) -> list[tuple[float, float, int, bool]]:
        """Return the times between which the number is the same, the number, and whether a request ends it."""
        first, last = bisect_right(self._starts, low), bisect_left(self._starts, high)
        begun, done = bisect_right(self._ends, low), bisect_left(self._ends, high)
        number = first - begun
        events = sorted(
            [(at, 1) for at in self._starts[first:last]] + [(at, -1) for at in self._ends[begun:done]],
        )
        pieces, before = [], low
        for at, step in events:
            pieces.append((before, at, number, step < 0))
            number, before = number + step, at
        return [*pieces, (before, high, number, False)]

    def balance(self, edges: Sequence[float], rate: float | None, gap: float = 0.0) -> Balance:
        """Return by how much arrivals exceed completions while the queue is long, over batches with these edges.

        ``rate`` is the number of requests that arrive a second; without it, it is what was seen, with its error. The
        queue is long when the number in flight is at least its median. With a ``gap``, that is from the quantile
        0.5 + gap on, until the number is below the quantile 0.5 - gap.
        """
        low, high, count = edges[0], edges[-1], len(edges) - 1
        length = (high - low) / count
        pieces = self._pieces(low, high)
        lower, upper = _levels(pieces, gap)
        times, ends = [0.0] * count, [0] * count
        is_long = False
        for begin, end, number, is_end in pieces:
            is_long = number >= upper or (is_long and number >= lower)
            if not is_long:
                continue
            first, last = (min(count - 1, int((at - low) / length)) for at in (begin, end))
            ends[last] += is_end
            for batch in range(first, last + 1):
                times[batch] += max(0.0, min(end, edges[batch + 1]) - max(begin, edges[batch]))
        total = sum(times)
        if not total:
            return Balance(0.0, math.inf, 1)
        completed = sum(ends) / total
        residuals = [(number - completed * time) / total for number, time in zip(ends, times, strict=True)]
        if rate is None:
            arrived = [self.started(*both) for both in pairwise(edges)]
            rate = sum(arrived) / (high - low)
            residuals = [
                one - (number - rate * length) / (high - low) for one, number in zip(residuals, arrived, strict=True)
            ]
        used = sum(time > 0 for time in times)
        degrees = max(1, used - 1)
        error = math.sqrt(sum(one * one for one in residuals) * used / degrees)
        return Balance(rate - completed, error, degrees)


def _levels(pieces: Sequence[tuple[float, float, int, bool]], gap: float) -> tuple[int, int]:
    """Return the numbers in flight below which a queue is short, and from which on it is long."""
    share: defaultdict[int, float] = defaultdict(float)
    for begin, end, number, _ in pieces:
        share[number] += end - begin
    total = sum(share.values())

    def above(level: int) -> float:
        return sum(time for number, time in share.items() if number >= level)

    def quantile(part: float) -> int:
        return next((number for number in sorted(share) if total - above(number + 1) >= part * total), max(share))

    lower, upper = quantile(0.5 - gap), quantile(0.5 + gap)
    if upper == lower and above(lower + 1) >= _LEAST_LONG * total:
        lower = upper = lower + 1
    while upper > lower and above(upper) < _LEAST_LONG * total:
        upper -= 1
    return max(1, lower), max(1, upper)


def wandering_p(means: Sequence[float]) -> float:
    """Return the p value of the rise of the number in flight, from its batch means, if it wandered as a random walk.

    A queue at its capacity wanders so, but never below 0: so the value is two-sided though only a rise counts.
    """
    steps = [after - before for before, after in pairwise(means)]
    mean, degrees = fmean(steps), len(steps) - 1
    if mean <= 0:
        return 1.0
    spread = math.sqrt(sum((step - mean) ** 2 for step in steps) / degrees)
    return student_tail(mean / (spread * math.sqrt(_OVERLAP / len(steps))), degrees) if spread else 0.0


class Pulse(NamedTuple):
    """What is known of a run at a moment: seconds since its start, requests started so far, and those in flight."""

    t: float
    started: int
    in_flight: int


def sure_growth(pulses: Sequence[Pulse], starts: Sequence[float], weight: int = 1) -> float | None:
    """Return by how many requests a second a queue grows, where a longer run would show no other; otherwise ``None``.

    ``pulses`` are those of an open loop of constant rate so far, about equally far apart, ``starts`` the starts of the
    requests that have ended, each of which stands for ``weight``. Because a run is looked at again and again, much more
    is needed than at its end: the queue grows by a fifth of the rate, and a random walk would rise so once in 10,000
    runs. In flight are also requests that last long: so nearly all of the first quarter must have ended.
    """
    if len(pulses) < _LEAST_PULSES:
        return None
    last = pulses[-1]
    quarter = next(pulse for pulse in pulses if pulse.t >= last.t / 4)
    ended = weight * sum(start <= quarter.t for start in starts)
    if quarter.started < _LEAST_EARLY or ended < _MOSTLY * quarter.started:
        return None
    later = [float(pulse.in_flight) for pulse in pulses if pulse.t >= quarter.t]
    if wandering_p(later) >= _SURE:
        return None
    growth = last.in_flight - quarter.in_flight
    return growth / (last.t - quarter.t) if growth >= _SURELY * (last.started - quarter.started) else None


class Waiting(NamedTuple):
    """How a latency depends on the requests in flight at the start: ``slope`` seconds for each above ``level``."""

    slope: float
    level: int

    def part(self, number: int) -> float:
        """Return how much of a latency is due to a number in flight, in seconds."""
        return self.slope * max(0, number - self.level)


def find_waiting(points: Sequence[tuple[int, float, int]]) -> Waiting:
    """Return how a latency depends on the number in flight; the line that fits best, which rises or is level.

    ``points`` has the number that a request finds, its latency and its batch. Only differences within batches count:
    there a queue delays those that find more in flight, and an endpoint that has become slower does not.
    """
    points = points[:: math.ceil(len(points) / _MOST_POINTS) or 1]
    levels = sorted({number for number, _, _ in points})
    best: tuple[float, Waiting] = (0.0, Waiting(0.0, 0))
    groups: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for number, latency, batch in points:
        groups[batch].append((number, latency))
    centred = []
    for group in groups.values():
        delay = fmean(latency for _, latency in group)
        centred.append([(number, latency - delay) for number, latency in group])
    for level in levels[:: math.ceil(len(levels) / _MOST_LEVELS) or 1]:
        both = squares = 0.0
        for group in centred:
            above = [(number - level, delay) for number, delay in group if number > level]
            total = sum(number for number, _ in above)
            both += sum(number * delay for number, delay in above)
            squares += sum(number * number for number, _ in above) - total * total / len(group)
        if both > 0 and squares > 0:
            best = max(best, (both * both / squares, Waiting(both / squares, level)))
    return best[1]
