"""Searches: runs at several loads, one after the other, for the point where more load brings no more.

:func:`sweep` raises the number of requests in flight and names the knee; :func:`find_rate` looks for the highest rate
that keeps the objectives. The figures of every step are written as soon as it has ended (``step`` lines), and stand
together in the ``load`` line (``search``); the other lines of the run file are those of the step that was chosen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import Any, Final

from rejoinder.errors import RejoinderError, UsageError
from rejoinder.load.decide.slo import SHARES
from rejoinder.load.measure.measure import ENDED_WELL
from rejoinder.load.run import LoadProgress, LoadResult, Sink, check_settings, run_load
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange
from rejoinder.model.histogram import Histogram

MAX_LEVEL: Final = 512
MAX_STEPS: Final = 64
KNEE: Final = 0.9
"""The knee is the least load that brings this share of the greatest throughput."""
_NO_GAIN: Final = 1.05
_TOLERATED: Final = 0.01
_CLOSE: Final = 1.05
_HALVINGS: Final = 8
EVIDENCE: Final = 20
"""So many exchanges go into the run file at most, of all steps together."""

Runner = Callable[[LoadSettings, Sink], LoadResult]
"""Runs one step."""


class StepFailedError(Exception):
    """A step could not be run after others could."""

    def __init__(self, error: RejoinderError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(slots=True)
class KeptSamples:
    """Keeps the sample lines of a step until it is known whether they are wanted; exchanges go on at once."""

    sink: Sink
    room: list[int]
    samples: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def sample(self, what: str, **fields: Any) -> None:
        if what != "load":
            self.samples.append((what, fields))

    def exchange(self, exchange: Exchange) -> None:
        if self.room[0]:
            self.room[0] -= 1
            self.sink.exchange(exchange)


class SearchRun:
    """The steps of one search. ``run`` runs a step; ``told`` is called with the figures of each."""

    def __init__(self, sink: Sink, run: Runner, told: Callable[[dict[str, Any]], None] | None = None) -> None:
        self.steps: list[dict[str, Any]] = []
        self.interrupted = False
        self.failure = ""
        self._sink = sink
        self._run = run
        self._told = told
        self._room = [EVIDENCE]
        self._chosen: tuple[LoadResult, KeptSamples] | None = None

    def step(
        self, settings: LoadSettings, *, choose: Callable[[dict[str, Any]], bool], **labels: Any
    ) -> dict[str, Any]:
        """Run one step and keep its figures; its lines too if ``choose`` says that it is the best so far."""
        kept = KeptSamples(self._sink, self._room)
        try:
            result = self._run(settings, kept)
        except RejoinderError as error:
            if self._chosen is None:
                raise
            # What the steps before have shown is not given up for this one.
            raise StepFailedError(error) from error
        figures = {**labels, **step_figures(result)}
        self.steps.append(figures)
        self._sink.sample("step", **figures)
        self.interrupted = result.interrupted
        if self._chosen is None or choose(figures):
            self._chosen = (result, kept)
        if self._told is not None:
            self._told(figures)
        return figures

    def finish(self, summary: dict[str, Any]) -> LoadResult:
        """Write the lines of the chosen step, and the ``load`` line with all steps; return its result."""
        assert self._chosen is not None
        result, kept = self._chosen
        for what, fields in kept.samples:
            self._sink.sample(what, **fields)
        result.load["search"] = {**summary, "steps": self.steps}
        if self.failure:
            result.warnings.append(f"The search ended early: {self.failure}")
            result.load["notes"] = result.warnings
        if self.interrupted:
            result.interrupted = result.load["interrupted"] = True
        self._sink.sample("load", **result.load)
        return result


def step_figures(result: LoadResult) -> dict[str, Any]:
    """Return what a search keeps of one step."""
    figures: dict[str, Any] = {
        "started": result.started,
        "outcomes": result.outcomes,
        "ok_per_s": result.load["rates"]["ok_per_s"],
        "output_tokens_per_s": result.load["rates"]["ok_output_tokens_per_s"],
        "verdict": result.verdict,
    }
    for metric, percents in (("ttft", (50, 99)), ("itl", (50, 99)), ("tpot", (50,)), ("e2e", (50, 99))):
        histogram = result.histograms.get(f"{metric}_ok", Histogram())
        for percent in percents:
            value = histogram.percentile(percent)
            if value is not None:
                figures[f"{metric}_p{percent}"] = value
    figures["good"] = result.load["good"]
    if "slos" in result.load:
        figures["slos"] = result.load["slos"]
        figures["met"] = keeps(result)
    return figures


def keeps(result: LoadResult) -> bool:
    """Return whether a run kept its objectives; where none of them counts errors, at most 1 % may end badly."""
    if result.missed or not result.ok:
        return False
    if any(slo["metric"] in SHARES for slo in result.load.get("slos", ())):
        return True
    ended = result.started - sum(result.outcomes.get(name, 0) for name in ("censored", "cancelled"))
    return ended - result.ok <= _TOLERATED * ended


def parse_levels(text: str) -> list[int] | None:
    """Return the levels of ``1,2,4,8``, or ``None`` for ``auto``; raises :class:`UsageError` for anything else."""
    if text.strip().lower() == "auto":
        return None
    try:
        levels = [int(part) for part in text.split(",")]
    except ValueError:
        levels = []
    if not levels or levels[0] < 1 or any(later <= earlier for earlier, later in pairwise(levels)):
        raise UsageError(f"{text!r} is no sweep.", "Write rising numbers of requests in flight, like 1,2,4,8, or auto.")
    if len(levels) > MAX_STEPS:
        raise UsageError(f"The sweep has {len(levels)} steps; at most {MAX_STEPS} are supported.")
    return levels


def parse_range(text: str) -> tuple[float, float]:
    """Return the two rates of ``1..50``; raises :class:`UsageError` for anything else."""
    low, dots, high = text.partition("..")
    try:
        rates = (float(low), float(high))
    except ValueError:
        rates = (0.0, 0.0)
    if not dots or not 0 < rates[0] < rates[1] < float("inf"):
        raise UsageError(f"{text!r} is no range of rates.", "Write the lowest and the highest to try, like 1..50.")
    return rates


def throughput(figures: dict[str, Any]) -> float:
    """Return what a step brought: output tokens a second, or answers a second where nothing counted tokens."""
    return float(figures["output_tokens_per_s"] or figures["ok_per_s"])


def knee(steps: Sequence[dict[str, Any]]) -> int | None:
    """Return the index of the knee: the first step with 90 % of the greatest throughput.

    ``None`` while throughput still rises with the last step by more than that: then the endpoint is not saturated.
    """
    if len(steps) < 2:
        return None
    brought = [throughput(step) for step in steps]
    best = max(brought)
    if not best or (brought[-1] == best and best * KNEE > max(brought[:-1])):
        return None
    return next(index for index, value in enumerate(brought) if value >= KNEE * best)


def _gains(so_far: float, figures: dict[str, Any]) -> bool:
    return KNEE * throughput(figures) > so_far


def sweep(settings: LoadSettings, levels: Sequence[int] | None, search: SearchRun) -> LoadResult:
    """Run with rising numbers of requests in flight and name the knee.

    Without ``levels`` they double until two steps in a row bring less than 5 % more, a tenth of the requests ends
    badly, or the generator is the limit.
    """
    best = without_gain = 0.0
    for level in levels or [1 << power for power in range(MAX_LEVEL.bit_length())]:
        step = replace(
            settings, concurrency=level, rate=None, phases="", trace="", processes=min(level, settings.processes)
        )
        try:
            # The chosen step is the first that cannot be told from the best one: the knee, as far as is known.
            figures = search.step(step, choose=partial(_gains, best), concurrency=level)
        except StepFailedError as failed:
            search.failure = failed.error.message
            break
        reached = throughput(figures)
        without_gain = without_gain + 1 if reached < _NO_GAIN * best else 0
        best = max(best, reached)
        bad = figures["started"] - sum(
            figures["outcomes"].get(name, 0) for name in (*ENDED_WELL, "censored", "cancelled")
        )
        failing = bad > 0.1 * figures["started"] or not figures["started"]
        if search.interrupted:
            break
        if levels is None and (without_gain >= 2 or failing or figures["verdict"] == "CLIENT-BOUND"):
            break
    found = knee(search.steps)
    summary: dict[str, Any] = {"kind": "sweep", "best": best}
    if found is not None:
        summary["knee"] = search.steps[found]["concurrency"]
    if any(step["verdict"] == "CLIENT-BOUND" for step in search.steps):
        summary["limited_by"] = "generator"
    return search.finish(summary)


def find_rate(settings: LoadSettings, low: float, high: float, search: SearchRun, *, repeats: int = 3) -> LoadResult:
    """Find the highest rate between two that keeps the objectives, to within 5 %, by bisection.

    A rate keeps them when most of ``repeats`` runs do; no further run is made once that is decided. Runs in which the
    generator was the limit count as not kept, and the result says so.
    """
    if not settings.slos:
        raise UsageError("A search for the highest rate needs an objective.", "Add one, like --slo 'ttft:p99<300ms'.")
    best = 0.0

    def kept(rate: float) -> bool:
        nonlocal best
        votes: list[bool] = []
        needed = repeats // 2 + 1
        while len(votes) < repeats and votes.count(True) < needed and votes.count(False) < needed:
            figures = search.step(
                replace(settings, concurrency=None, rate=rate, phases="", trace="", seed=settings.seed + len(votes)),
                choose=lambda figures: bool(figures["met"]) and figures["rate"] >= best,
                rate=rate,
                repeat=len(votes),
            )
            votes.append(figures["met"] and figures["verdict"] != "CLIENT-BOUND")
            if search.interrupted:
                return False
        if votes.count(True) >= needed:
            best = max(best, rate)
            return True
        return False

    below, above = low, high
    try:
        if kept(low) and not kept(high):
            for _ in range(_HALVINGS):
                if search.interrupted or above / below < _CLOSE:
                    break
                middle = round((below * above) ** 0.5, 3)
                if kept(middle):
                    below = middle
                else:
                    above = middle
    except StepFailedError as failed:
        search.failure = failed.error.message
    summary: dict[str, Any] = {"kind": "rate", "repeats": repeats, "range": [low, high]}
    if best:
        summary["highest"] = best
    if best == high:
        summary["more"] = True
    if any(step["met"] and step["verdict"] == "CLIENT-BOUND" for step in search.steps):
        summary["limited_by"] = "generator"
    return search.finish(summary)


def run_search(
    settings: LoadSettings,
    sink: Sink,
    *,
    levels: Sequence[int] | None = None,
    rates: tuple[float, float] | None = None,
    repeats: int = 3,
    progress: Callable[[LoadProgress], None] | None = None,
    begin: Callable[[LoadSettings], None] | None = None,
    told: Callable[[dict[str, Any]], None] | None = None,
    key: str | None = None,
    stop: threading.Event | None = None,
) -> LoadResult:
    """Run a search: for the highest rate when ``rates`` are given, else a sweep.

    ``begin`` is called before each step and ``told`` after it; the others are as in
    :func:`~rejoinder.load.run.run_load`. An interrupt ends the search with the steps that were run.
    """
    halt = stop or threading.Event()

    def run(step: LoadSettings, into: Sink) -> LoadResult:
        if begin is not None:
            begin(step)
        return run_load(step, into, progress=progress, key=key, stop=halt)

    search = SearchRun(sink, run, told)
    check_settings(replace(settings, concurrency=1, processes=1, rate=None, phases="", trace=""))
    if rates is not None:
        return find_rate(settings, *rates, search, repeats=repeats)
    return sweep(settings, levels, search)
