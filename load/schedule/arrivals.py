"""When requests start under open-loop load: one absolute, seeded schedule for a whole run.

A schedule is a sequence of offsets in seconds from the start of the run. Every process computes the same one and
takes every n-th slot of it, so a run has the same start times with one process or many, and again with the same seed.

The rate may change over the run: phases like ``5@30s,5..50@1min,50@10min`` are steps, ramps, spikes and soaks alike.
Arrivals of rate 1 are drawn first and then mapped through the inverse of the expected number of starts, so that the
same process (constant, Poisson, Gamma) follows every rate.

Random arrivals are scaled so that a run of known length starts exactly as many requests as its rate says. Without that
the number varies by its root, some 4 % of 600, and two runs at one rate would not send the same load. Of a Poisson
process this leaves just the runs with that number: given it, starts are uniform, as n + 1 exponential gaps scaled to
the whole are (Feller, An Introduction to Probability Theory, volume II, III.3).
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rejoinder.errors import UsageError
from rejoinder.settings import parse_duration

_PHASE: Final = re.compile(r"([0-9]*\.?[0-9]+)(?:\.\.([0-9]*\.?[0-9]+))?@(.+)\Z")
_MAX_PHASES: Final = 1000
_MOST_SCALED: Final = 1_000_000
"""More starts than this are their expected number to 0.1 % without being scaled."""
_PHASE_HINT: Final = "Write RATE@DURATION or FROM..TO@DURATION, separated by commas: 5@30s,5..50@1min,50@10min."


class Phase(NamedTuple):
    """A part of a run, in which the rate goes in a straight line from ``begin`` to ``end`` requests a second."""

    begin: float
    end: float
    seconds: float

    @property
    def starts(self) -> float:
        """The expected number of starts."""
        return (self.begin + self.end) / 2 * self.seconds

    def time_of(self, start: float) -> float:
        """Return when the expected number of starts since the beginning of the phase reaches ``start``."""
        if start <= 0:
            return 0.0
        if self.begin == self.end:
            return start / self.begin
        slope = (self.end - self.begin) / self.seconds
        # The form of the quadratic formula that stays exact where the rate hardly changes.
        return 2 * start / (self.begin + math.sqrt(max(0.0, self.begin**2 + 2 * slope * start)))


def parse_phases(text: str) -> tuple[Phase, ...]:
    """Return the phases that a text describes; raises :class:`UsageError` with the first that cannot be understood."""
    phases = []
    for part in text.split(","):
        compact = "".join(part.split())
        match = _PHASE.match(compact)
        if match is None:
            raise UsageError(f'"{part.strip()}" is not a phase of a schedule.', _PHASE_HINT)
        begin = float(match[1])
        phases.append(Phase(begin, begin if match[2] is None else float(match[2]), parse_duration(match[3])))
    if len(phases) > _MAX_PHASES:
        raise UsageError(f"The schedule has {len(phases)} phases, expected at most {_MAX_PHASES}.", "Use fewer phases.")
    if sum(phase.starts for phase in phases) < 1:
        raise UsageError(f'The schedule "{text}" starts no request.', "Use a higher rate or a longer duration.")
    return tuple(phases)


def schedule(arrivals: str, rate: float | Sequence[Phase], duration: float | None, seed: int = 0) -> Iterator[float]:
    """Yield the start offsets in seconds, ascending, all below ``duration`` (endless when that is ``None``).

    ``rate`` is requests a second, or the phases of the run, whose end is the end of the schedule too. ``arrivals`` is
    ``constant`` (the i-th start comes when i starts are expected, computed from i, so that nothing drifts), ``poisson``
    (exponential gaps) or ``gamma:B`` (gaps from a Gamma distribution of shape B: B = 1 is Poisson, smaller is
    burstier); the random ones have as many starts as are expected. Raises :class:`UsageError` for any other name.
    """
    kind, shape = parse_arrivals(arrivals)
    if isinstance(rate, (int, float)):
        phases = [Phase(rate, rate, math.inf)]
        expected = math.inf if duration is None else rate * duration
    else:
        phases = list(rate)
        expected = math.fsum(phase.starts for phase in phases)
    starts = _unit_starts(kind, shape, seed)
    if kind != "constant" and expected <= _MOST_SCALED:
        starts = _scaled(starts, _unit_starts(kind, shape, seed), expected)
    return _map(starts, phases, math.inf if duration is None else duration)


def _scaled(starts: Iterator[float], same: Iterator[float], expected: float) -> Iterator[float]:
    """Yield as many of the starts as are expected, scaled to their time; ``same`` are the same starts once more."""
    number = max(1, round(expected))
    scale = expected / next(itertools.islice(same, number, None))
    # A gap may be so short that the last start would round to the end of the run and be lost.
    latest = expected * (1 - 1e-12)
    return (min(start * scale, latest) for start in itertools.islice(starts, number))


def _map(starts: Iterator[float], phases: Sequence[Phase], duration: float) -> Iterator[float]:
    begin = before = 0.0
    start = next(starts, math.inf)
    for phase in phases:
        after = before + phase.starts
        while start < after:
            offset = begin + phase.time_of(start - before)
            if offset >= duration:
                return
            yield offset
            start = next(starts, math.inf)
        begin, before = begin + phase.seconds, after


def _unit_starts(kind: str, shape: float, seed: int) -> Iterator[float]:
    """Yield the starts of a process with one start in a second on average."""
    if kind == "constant":
        yield from map(float, itertools.count())
    # Start times are a simulation; nothing here is a secret.
    generator = random.Random(seed)
    start = 0.0
    while True:
        start += generator.expovariate(1.0) if kind == "poisson" else generator.gammavariate(shape, 1 / shape)
        yield start


def parse_arrivals(arrivals: str) -> tuple[str, float]:
    """Return kind and burstiness of an arrival process; raises :class:`UsageError` when there is none of that name."""
    kind, _, parameter = arrivals.partition(":")
    if kind in ("constant", "poisson") and not parameter:
        return kind, 1.0
    if kind == "gamma":
        try:
            shape = float(parameter)
        except ValueError:
            shape = 0.0
        if 0 < shape < 1e6:
            return kind, shape
    raise UsageError(
        f'"{arrivals}" is not an arrival process.',
        "Use constant, poisson or gamma:B with a number B above 0, as in gamma:0.5.",
    )


def share(offsets: Iterator[float], index: int, count: int) -> Iterator[tuple[int, float]]:
    """Yield slot number and offset of every ``count``-th slot, beginning with slot ``index``."""
    for slot, offset in enumerate(offsets):
        if slot % count == index:
            yield slot, offset
