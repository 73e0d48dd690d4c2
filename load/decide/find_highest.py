"""The highest load that an endpoint sustains: a rate or a concurrency that meets every SLO in a steady state.

A load is sustained when its run meets every SLO, the load generator was not the limit, and the run was in a steady
state (:mod:`~rejoinder.load.measure.stationarity`): above the capacity a queue grows, and whether an SLO is met depends
on the length of the run. A run that is too short to show it is lengthened: to ten times the p99 of the end-to-end time,
to as many requests as the percentiles of the SLOs and the test for a steady state need, or until it is clear whether a
queue grows, at most to :func:`longest_step`. A load whose run stays too short, or was limited by the load generator,
has not failed: it could not be tested. A run ends early when an SLO is out of reach or a queue surely grows.

The load rises fourfold from the lowest until one fails, so that no step asks for much more than the endpoint can do:
what a queue has left over would disturb the steps after it. Bisection narrows the range to 2.5 %. A load that fails
by little is run once more, for twice as long: a stall of the machine weighs less in a longer run, a queue that grows
weighs more. The highest load found is confirmed in a run of at least twice the length, with a second try; where that
fails too, a lower load is confirmed. What the queue may have grown by is taken from the rate that was confirmed, so
that a growth too slow to be seen does not raise the answer.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Literal

from rejoinder.errors import UsageError
from rejoinder.formatting import plural, uncapitalized, value_of
from rejoinder.load.decide.search import SearchRun, StepFailedError, keeps, sweep, unlimited_failures
from rejoinder.load.objectives.abort import QUEUE_WORD, SLO_WORD
from rejoinder.load.objectives.slo import parse_slos
from rejoinder.load.run import LoadProgress, LoadResult, Sink, check_settings, interruptible, run_load
from rejoinder.load.settings import LoadSettings
from rejoinder.model.histogram import Histogram, values_for
from rejoinder.model.metrics import SHARES, TIMES
from rejoinder.model.outcomes import bad_of
from rejoinder.model.samples import SearchResult, SearchStep, SloResult, Validity

PRECISION: Final = 1.025
"""The search ends when the lowest load that failed is at most this many times the highest that did not."""
_LATENCIES: Final = 10
"""How many times the p99 of the end-to-end time a step lasts at least."""
_LEAST_REQUESTS: Final = 36
"""A step has time for at least this number: the test for a steady state leaves out those of the first moments."""
_RISE: Final = 4.0
"""How much more load the next step asks for until one fails."""
_ROOM: Final = 1.1
"""By how much a step is lengthened beyond what it needs."""
_CONFIRM: Final = 3
GENERATOR: Final = "the load generator was the bottleneck"
_CLEAR: Final = 1.5
"""A latency beyond this many times its limit fails the load without another run."""
_CLEAR_GROWTH: Final = 0.01
"""So does a queue that grows by at least this share of the rate (the lower end of its confidence interval)."""


@dataclass(frozen=True, slots=True)
class SearchRange:
    """Where the highest load is sought."""

    kind: Literal["rate", "concurrency"]
    low: float
    high: float

    def settings(self, settings: LoadSettings, level: float) -> LoadSettings:
        """Return settings with this load and no other."""
        if self.kind == "rate":
            return replace(settings, concurrency=None, rate=level, phases="", trace="")
        count = round(level)
        processes = min(count, settings.processes)
        return replace(settings, concurrency=count, rate=None, phases="", trace="", processes=processes)

    def between(self, below: float, above: float) -> float | None:
        """Return the load to try next between two; ``None`` when they are as close as the search goes."""
        if above <= below * PRECISION:
            return None
        middle = math.sqrt(below * above)
        if self.kind == "rate":
            return float(f"{middle:.4g}")
        level = min(max(round(middle), round(below) + 1), round(above) - 1)
        return float(level) if below < level < above else None

    def rises(self) -> list[float]:
        """Return the loads to try until one fails: from the lowest to the highest, each at most fourfold."""
        count = max(1, math.ceil(math.log(self.high / self.low, _RISE)))
        between = [self.low * _RISE**number for number in range(1, count)]
        rounded = [float(f"{one:.4g}") if self.kind == "rate" else float(round(one)) for one in between]
        return [self.low, *rounded, self.high]

    @property
    def most_steps(self) -> int:
        """How many loads a search tries at most, without the confirmation."""
        rises = self.rises()
        precise = math.log(math.log(max(after / before for before, after in pairwise(rises))) / math.log(PRECISION), 2)
        widest = max(after - before for before, after in pairwise(rises))
        whole = math.log(widest, 2) if self.kind == "concurrency" else math.inf
        return len(rises) + max(0, math.ceil(min(precise, whole)))

    def describe(self, level: float) -> str:
        """Return a load as text."""
        return f"{level:g} requests/s" if self.kind == "rate" else f"concurrency {level:g}"


def longest_step(settings: LoadSettings, rate: float | None = None) -> float:
    """Return how long a step may become, in seconds; at a low ``rate`` the time for the requests that it needs."""
    for_count = _ROOM * _least_requests(settings) / rate if rate else 0.0
    return max(5 * settings.duration, 20.0, for_count)


def _least_requests(settings: LoadSettings) -> int:
    """Return how many requests a step needs, by the percentiles of its SLOs."""
    percents = [slo.percent for slo in parse_slos(settings.slos) if slo.percent is not None]
    return max([_LEAST_REQUESTS, *map(values_for, percents)])


def _first_duration(sought: SearchRange, settings: LoadSettings, level: float) -> float:
    """Return how long a step of a load is, in seconds, as far as that is known before latencies are."""
    return max(settings.duration, _least_requests(settings) / level if sought.kind == "rate" else 0.0)


def describe_search(sought: SearchRange, settings: LoadSettings) -> str:
    """Return in sentences how long the search takes, as far as that is known before it."""
    steps, longest = sought.most_steps, longest_step(settings, sought.low if sought.kind == "rate" else None)
    rises = [_first_duration(sought, settings, level) for level in sought.rises()]
    total = sum(rises) + (steps - len(rises)) * rises[-1] + max(_CONFIRM * settings.duration, 2 * rises[-1])
    first = f" The first step lasts {rises[0]:.3g} s at {sought.describe(sought.low)}." if rises[0] > rises[-1] else ""
    return (
        f"Up to {plural(steps, 'step')} of {settings.duration:g} s and a longer run that "
        f"confirms the result, {total:.0f} s in all if no step needs longer.{first} Steps that are too short for the "
        f"latencies, percentiles or the test for a steady state last up to {longest:.3g} s, those that fail by little "
        f"run twice, and each waits up to {settings.drain_seconds:.3g} s for requests in flight."
    )


def find_highest(settings: LoadSettings, sought: SearchRange, search: SearchRun) -> LoadResult:
    """Find the highest load in a range that the endpoint sustains.

    ``highest`` of the result is the load that was confirmed, for a rate less the growth of its queue that cannot be
    ruled out; ``next`` is the lowest higher load that failed, with its ``reason``; ``untested`` is the lowest higher
    load that could not be tested. Raises :class:`UsageError` without an SLO, and for a run of which only the number of
    requests is given.
    """
    if not settings.slos:
        raise UsageError(
            f"A search for the highest {sought.kind} needs an SLO.", "Add one, such as --slo 'ttft:p99<300ms'."
        )
    if settings.requests is not None:
        raise UsageError(
            f"A search for the highest {sought.kind} cannot use --requests.",
            "Use --duration. Steps are lengthened where requests are few.",
        )
    return _Search(settings, sought, search).run()


class _Search:
    """One search. ``reasons`` says why loads failed, ``untested`` why others could not be tested."""

    def __init__(self, settings: LoadSettings, sought: SearchRange, search: SearchRun) -> None:
        self.settings = settings
        self.sought = sought
        self.search = search
        self.reasons: dict[float, str] = {}
        self.untested: dict[float, str] = {}
        self.least = _least_requests(settings)
        self.needs = settings.duration
        """Seconds that a step takes at least, by the latencies of the steps that held."""
        self.latency = 0.0
        """The p99 of the end-to-end time of the last step, in seconds; of few requests the longest."""
        self.best = 0.0

    def run(self) -> LoadResult:
        confirmed: SearchStep | None = None
        below = 0.0
        with suppress(StepFailedError):
            above = self.sought.high
            for level in self.sought.rises():
                if self.search.over:
                    break
                if not self._holds(level):
                    above = level
                    break
                below = level
            while below and not self.search.over:
                middle = self.sought.between(below, above)
                if middle is None:
                    break
                if self._holds(middle):
                    below = middle
                else:
                    above = middle
            if below and not self.search.over:
                confirmed = self._confirm(below)
        return self._finish(below, confirmed)

    def _holds(self, level: float) -> bool:
        """Return whether the endpoint sustains a load; one that fails by little gets another run, twice as long."""
        longest = self._longest(level)
        for repeat in range(2):
            step = self._step(level, min(longest, (1 + repeat) * self._duration(level)), repeat)
            while step.held is False and not self.search.over:
                # Too short to say: as long as it takes, within the bound.
                longer = min(longest, self._needed(step) * _ROOM)
                if not _is_short(step) or longer <= 1.05 * (step.duration or 0.0):
                    break
                step = self._step(level, longer, repeat)
            had = 1.05 * (step.duration or 0.0)
            if step.held and had < longest and had < self._needed(step):
                step = self._step(level, min(longest, self._needed(step) * _ROOM), repeat)
            if self.search.over:
                return False
            if step.held:
                self.needs = max(self.needs, _LATENCIES * self.latency)
                self.best = max(self.best, level)
                return True
            if _is_clear(step):
                break
        return False

    def _confirm(self, level: float) -> SearchStep | None:
        """Return the longer run that the endpoint sustained, at this load or at the highest lower one that is tried."""
        lowering = 0
        while True:
            length = max(_CONFIRM * self.settings.duration, 2 * self._duration(level))
            for repeat in range(2):
                step = self._step(level, length, 2 * lowering + repeat, confirms=True)
                if step.held:
                    return step
                if self.search.over or _is_clear(step):
                    break
            if self.search.over or level == self.sought.low:
                return None
            lower = level / PRECISION ** max(1, 2 ** (lowering - 1))
            level = max(self.sought.low, float(f"{lower:.4g}") if self.sought.kind == "rate" else math.floor(lower))
            lowering += 1

    def _step(self, level: float, duration: float, repeat: int, *, confirms: bool = False) -> SearchStep:
        settings = replace(
            self.sought.settings(self.settings, level),
            duration=round(duration, 3),
            seed=self.settings.seed + repeat,
        )
        # A step that has failed for sure goes on for nothing.
        early = (SLO_WORD, QUEUE_WORD) if settings.rate is not None else (SLO_WORD,)
        settings = replace(settings, abort_on=tuple(dict.fromkeys((*settings.abort_on, *early))))

        def chosen(step: SearchStep) -> bool:
            return bool(step.held) and (confirms or level >= self.best)

        step = self.search.step(settings, choose=chosen, repeat=repeat, judge=self._judge, confirms=confirms)
        self.search.check_answers(sustained=level <= self.best)
        if step.held:
            self.reasons.pop(level, None)
            self.untested.pop(level, None)
        elif step.reason and not self.search.over:
            (self.untested if step.untested else self.reasons)[level] = step.reason
        return step

    def _judge(self, result: LoadResult) -> tuple[str, bool]:
        """Return why the endpoint did not sustain the load of a run, as a clause; empty where it did.

        Beside it: whether the load has not failed, but could not be tested.
        """
        load = result.load
        if load.aborted and result.verdict is not Validity.CLIENT_BOUND:
            return _as_clause(load.aborted), False
        self.latency = value_of(result.histograms.get("e2e", Histogram()).nearest_rank(99)) or 0.0
        if not result.ok:
            return "no request succeeded", not result.started
        missed = [slo for slo in load.slos if slo.met is False]
        few = [slo for slo in missed if slo.value is None]
        shares = [slo for slo in missed if slo.metric in SHARES and slo.value is not None]
        if shares:
            return "; ".join(_missed(slo, load.no_rates) for slo in shares), False
        if len(few) == len(missed) and not keeps(result, few):
            return f"{unlimited_failures(result):,} of {plural(result.started, 'request')} failed", False
        if result.verdict is Validity.CLIENT_BOUND:
            # Its latencies may be those of the load generator.
            return GENERATOR, True
        if len(few) < len(missed):
            return "; ".join(_missed(slo, load.no_rates) for slo in missed if slo not in few), False
        state = load.stationarity
        if state is not None and state.state == "not steady":
            return _as_clause(state.text), False
        if state is not None and state.state == "too short":
            return _as_clause(state.text), True
        if few:
            return "; ".join(_missed(slo, load.no_rates) for slo in few), True
        return "", False

    def _longest(self, level: float) -> float:
        return longest_step(self.settings, level if self.sought.kind == "rate" else None)

    def _duration(self, level: float) -> float:
        """Return how long a step takes at least, from what is known before it."""
        return min(self._longest(level), max(self.needs, _first_duration(self.sought, self.settings, level)))

    def _needed(self, step: SearchStep) -> float:
        """Return how long a step has to be, by its own latencies and number of requests."""
        duration = step.duration or self.settings.duration
        by_count = duration * self.least / max(1, step.started)
        state = step.stationarity
        to_tell = state.needed or 0.0 if state is not None else 0.0
        return max(_LATENCIES * self.latency, by_count, to_tell, self.settings.duration)

    def _finish(self, below: float, confirmed: SearchStep | None) -> LoadResult:
        level = confirmed.level if confirmed else None
        failed = sorted(one for one in self.reasons if level is None or one > level)
        untested = sorted(one for one in self.untested if (level is None or one > level) and one not in self.reasons)
        # A load may have failed in its confirmation only, or at first only.
        following = failed[0] if failed else None
        open_ = untested[0] if untested and (following is None or untested[0] < following) else None
        why = self.untested[open_] if open_ is not None else ""
        ended = self.search.over or bool(self.search.failure or self.search.silence)
        unconfirmed = bool(below) and confirmed is None and ended
        highest = below if unconfirmed else None
        if confirmed is not None:
            state = confirmed.stationarity
            grown = max(0.0, state.growth[1]) if state and state.growth else 0.0
            highest = _rounded_down(confirmed.level - grown) if self.sought.kind == "rate" else confirmed.level
        return self.search.finish(
            SearchResult(
                kind=self.sought.kind,
                steps=self.search.steps,
                repeats=2,
                range=(self.sought.low, self.sought.high),
                highest=highest or None,
                next=following,
                reason=self.reasons.get(following, "") if following is not None else "",
                untested=open_,
                untested_reason=why,
                confirmed=confirmed is not None if below else None,
                more=confirmed is not None and level == self.sought.high,
                limited_by="generator" if why == GENERATOR else "",
            )
        )


def _rounded_down(rate: float) -> float:
    """Return a rate to three digits, never above it."""
    if rate <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(rate)) - 2)
    return round(math.floor(rate / unit + 1e-9) * unit, 9)


def _is_short(step: SearchStep) -> bool:
    """Return whether a longer run may test a load that this one could not."""
    return step.untested and step.verdict is not Validity.CLIENT_BOUND


def _is_clear(step: SearchStep) -> bool:
    """Return whether a load failed by so much that another run would not change it."""
    if not step.started or bad_of(step.outcomes) > 0.1 * step.started:
        return True
    if step.untested:
        return False
    state = step.stationarity
    if state is not None and state.queue_growth and state.growth is not None:
        return state.growth[0] > _CLEAR_GROWTH * (step.rate or math.inf)
    return any(
        slo.met is False and slo.metric in TIMES and slo.value is not None and slo.value > _CLEAR * slo.limit
        for slo in step.slos
    )


def _missed(slo: SloResult, no_rates: str = "") -> str:
    because = slo.open_because(no_rates)
    if because:
        return f"{slo.text} cannot be known, {because}"
    if slo.value is None:
        return f"{slo.text} had {plural(slo.n, 'sample')}, too few"
    return f"{slo.text} was missed ({slo.value_text()})"


def _as_clause(sentence: str) -> str:
    return uncapitalized(sentence).removesuffix(".")


def run_search(
    settings: LoadSettings,
    sink: Sink,
    *,
    levels: list[int] | None = None,
    sought: SearchRange | None = None,
    progress: Callable[[LoadProgress], None] | None = None,
    begin: Callable[[LoadSettings], None] | None = None,
    on_step: Callable[[SearchStep], None] | None = None,
    key: str | None = None,
    stop: threading.Event | None = None,
) -> LoadResult:
    """Run a search: for the highest load when a range is ``sought``, else a sweep.

    ``begin`` is called before each step and ``on_step`` after it; the others are as in
    :func:`~rejoinder.load.run.run_load`. An interrupt ends the search with the steps that were run.
    """
    halt = stop or threading.Event()

    def run(step: LoadSettings, into: Sink) -> LoadResult:
        if halt.is_set() and search.steps:
            search.interrupted = True
            raise StepFailedError
        if begin is not None:
            begin(step)
        return run_load(step, into, progress=progress, key=key, stop=halt)

    search = SearchRun(sink, run, on_step)
    check_settings(replace(settings, concurrency=1, processes=1, rate=None, phases="", trace=""))
    with interruptible(halt):
        if sought is not None:
            return find_highest(settings, sought, search)
        return sweep(settings, levels, search)
