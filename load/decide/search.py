"""Searches: runs at several loads, one after the other, for the point where more load brings no more.

:func:`sweep` raises the number of requests in flight and names the knee;
:mod:`~rejoinder.load.decide.find_highest` looks for the highest load that meets the SLOs. The figures of every step are
written as soon as it has ended (``step`` lines), and stand together in the ``load`` line (``search``); the other lines
of the run file are those of the step that was chosen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Final

from rejoinder.errors import RejoinderError, UsageError
from rejoinder.formatting import plural
from rejoinder.load.decide.run_evidence import KeptRun, RunEvidence
from rejoinder.load.options import MAX_CONCURRENCY
from rejoinder.load.run import LoadResult, Sink
from rejoinder.load.settings import LoadSettings
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import TIMES
from rejoinder.model.outcomes import OUTCOMES, RequestOutcome, bad_of, unlimited_bad_of
from rejoinder.model.samples import SearchResult, SearchStep, SloResult, Validity, step_latencies

MAX_LEVEL: Final = 512
MAX_STEPS: Final = 64
KNEE: Final = 0.9
"""The knee is the least load that brings this share of the greatest throughput."""
_NO_GAIN: Final = 1.05
_TOLERATED: Final = 0.01

Runner = Callable[[LoadSettings, Sink], LoadResult]
"""Runs one step."""


class StepFailedError(Exception):
    """The search cannot go on: a step could not be run after others could, or the endpoint stopped answering.

    The search's ``failure`` or ``silence`` says why.
    """


class SearchRun:
    """The steps of one search. ``run`` runs a step; ``on_step`` is called with the figures of each."""

    def __init__(self, sink: Sink, run: Runner, on_step: Callable[[SearchStep], None] | None = None) -> None:
        self.steps: list[SearchStep] = []
        self.interrupted = False
        self.incomplete = ""
        self.failure = ""
        self.silence = ""
        self._sink = sink
        self._run = run
        self._on_step = on_step
        self._evidence = RunEvidence(sink)
        self._chosen: tuple[LoadResult, KeptRun] | None = None

    @property
    def over(self) -> bool:
        """Whether no further step may run: the last one was interrupted, or is incomplete."""
        return self.interrupted or bool(self.incomplete)

    def step(
        self,
        settings: LoadSettings,
        *,
        choose: Callable[[SearchStep], bool],
        repeat: int | None = None,
        judge: Callable[[LoadResult], tuple[str, bool]] | None = None,
        confirms: bool = False,
    ) -> SearchStep:
        """Run one step and keep its figures; its lines too if ``choose`` says that it is the best so far.

        ``repeat`` is the number of the run where several are made at one load. ``judge`` returns why the endpoint did
        not sustain the load, empty where it did, and whether the run could not test that. ``confirms`` marks the run
        that confirms a result.
        """
        kept = self._evidence.begin()
        try:
            result = self._run(settings, kept)
        except RejoinderError as error:
            self._evidence.write(kept)
            if self._chosen is None:
                raise
            # What the steps before have shown is not given up for this one.
            self.failure = error.message
            raise StepFailedError from error
        self._evidence.write(kept, result)
        step = step_figures(result)
        step.concurrency, step.rate, step.repeat = settings.concurrency, settings.rate, repeat
        if judge is not None:
            (step.reason, step.untested), step.confirms = judge(result), confirms
            step.held = not step.reason
        self.steps.append(step)
        self._sink.sample(step)
        self.interrupted, self.incomplete = result.interrupted, result.incomplete
        step.reason = step.reason or result.load.aborted
        if self._chosen is None or choose(step):
            self._chosen = (result, kept)
        if self._on_step is not None:
            self._on_step(step)
        return step

    def check_answers(self, *, sustained: bool) -> None:
        """End the search if the endpoint stopped answering; raises :class:`StepFailedError`.

        No request of the last step brought a reply although earlier ones did, and the endpoint had ``sustained`` that
        load before, or the step before the last one had no reply either: under overload some requests are answered.
        """
        silent = [bool(step.started) and not _replies(step) for step in self.steps]
        if self.over or not silent[-1] or all(silent) or not (sustained or silent[-2]):
            return
        self.silence = (
            f"The endpoint stopped answering: none of {plural(self.steps[-1].started, 'request')} of the last step "
            f"brought a reply. Check the log of the server, and whether it still runs."
        )
        raise StepFailedError

    def finish(self, found: SearchResult) -> LoadResult:
        """Write the lines of the chosen step, and the ``load`` line with all steps; return its result."""
        assert self._chosen is not None
        result, kept = self._chosen
        for sample in kept.samples:
            self._sink.sample(sample)
        result.load.search = found
        if self.failure:
            result.warnings.append(f"The search ended early: {self.failure}")
            result.load.notes = result.warnings
            result.load.incomplete = result.incomplete or f"A step could not be run: {self.failure}"
        if self.silence:
            result.load.aborted = self.silence
        if self.interrupted:
            result.interrupted = result.load.interrupted = True
        if self.incomplete and not result.incomplete:
            result.load.incomplete = f"A step is incomplete: {self.incomplete}"
        self._sink.sample(result.load)
        return result


def _replies(step: SearchStep) -> int:
    """Return how many requests of a step brought an HTTP reply of some kind."""
    return sum(count for outcome, count in step.outcomes.items() if OUTCOMES[outcome].replied)


def step_figures(result: LoadResult) -> SearchStep:
    """Return what a search keeps of one step."""
    latencies = {
        name: result.histograms.get(TIMES[metric].judged_by, Histogram()).percentile(percent)
        for name, (metric, percent) in step_latencies().items()
    }
    return SearchStep(
        started=result.started,
        outcomes=result.outcomes,
        verdict=result.verdict,
        ok_per_s=result.load.rates.ok_per_s,
        output_tokens_per_s=result.load.rates.ok_output_tokens_per_s,
        good=result.load.good,
        latencies={name: figure.value for name, figure in latencies.items() if figure is not None},
        at_least=[name for name, figure in latencies.items() if figure is not None and figure.at_least],
        slos=result.load.slos,
        met=keeps(result) if result.load.slos else None,
        duration=result.load.issued,
        judged=result.load.judged,
        broken=result.load.broken,
        conformance=result.load.conformance,
        stationarity=result.load.stationarity,
    )


def keeps(result: LoadResult, without: Collection[SloResult] = ()) -> bool:
    """Return whether a run met its SLOs, apart from some.

    At most 1 % of the requests may fail in a way that no SLO limits.
    """
    missed = set(result.missed) - {slo.text for slo in without}
    if missed or not result.ok:
        return False
    return unlimited_failures(result) <= _TOLERATED * (bad_of(result.outcomes) + result.ok)


def unlimited_failures(result: LoadResult) -> int:
    """Return how many requests failed in a way that no SLO limits; responses that were not checked by estimate."""
    limited = {slo.metric for slo in result.load.slos if slo.statistic == "share"}
    voided = result.load.unjudged_voided
    share = result.load.unjudged if voided is None and result.load.unjudged else math.ceil(voided or 0.0)
    found = result.outcomes.get(RequestOutcome.NONCONFORMING, 0)
    return unlimited_bad_of({**result.outcomes, RequestOutcome.NONCONFORMING: found + share}, limited)


def parse_levels(text: str) -> list[int] | None:
    """Return the levels of ``1,2,4,8``, or ``None`` for ``auto``; raises :class:`UsageError` for anything else."""
    if text.strip().lower() == "auto":
        return None
    try:
        levels = [int(part) for part in text.split(",")]
    except ValueError:
        levels = []
    if not levels or levels[0] < 1 or any(later <= earlier for earlier, later in pairwise(levels)):
        raise UsageError(f'--sweep is "{text}", expected rising numbers or auto.', "Write it as 1,2,4,8 or auto.")
    if len(levels) > MAX_STEPS:
        raise UsageError(f"--sweep has {len(levels)} levels, expected at most {MAX_STEPS}.", "Use fewer levels.")
    return levels


def parse_concurrencies(text: str) -> tuple[int, int]:
    """Return the two numbers of ``1..64``; raises :class:`UsageError` for anything else."""
    low, dots, high = text.partition("..")
    levels = [int(part) if part.strip().isdigit() else 0 for part in (low, high)]
    if not dots or not 0 < levels[0] < levels[1] <= MAX_CONCURRENCY:
        raise UsageError(
            f'--find-concurrency is "{text}", expected a range of whole numbers up to {MAX_CONCURRENCY:,}.',
            "Write the lowest and the highest concurrency: 1..64.",
        )
    return levels[0], levels[1]


def parse_range(text: str) -> tuple[float, float]:
    """Return the two rates of ``1..50``; raises :class:`UsageError` for anything else."""
    low, dots, high = text.partition("..")
    try:
        rates = (float(low), float(high))
    except ValueError:
        rates = (0.0, 0.0)
    if not dots or not 0 < rates[0] < rates[1] < float("inf"):
        raise UsageError(
            f'--find-rate is "{text}", expected a range of rates.', "Write the lowest and the highest rate: 1..50."
        )
    return rates


def throughput(step: SearchStep) -> float:
    """Return what a step brought: output tokens a second, or answers a second where nothing counted tokens."""
    return step.output_tokens_per_s or step.ok_per_s or 0.0


def knee(steps: Sequence[SearchStep]) -> int | None:
    """Return the index of the knee: the first step with 90 % of the greatest throughput.

    ``None`` while throughput still rises with the last step by more than that: then the endpoint is not saturated.
    Steps that were too short to test for a steady state, or in which a queue grew, are left out.
    """
    brought = [(throughput(step), index) for index, step in enumerate(steps) if step.settled]
    if len(brought) < 2:
        return None
    best = max(brought)[0]
    if not best or (brought[-1][0] == best and best * KNEE > max(brought[:-1])[0]):
        return None
    return next(index for value, index in brought if value >= KNEE * best)


def _gains(so_far: float, step: SearchStep) -> bool:
    return step.settled and KNEE * throughput(step) > so_far


def sweep(settings: LoadSettings, levels: Sequence[int] | None, search: SearchRun) -> LoadResult:
    """Run with rising numbers of requests in flight and name the knee.

    Without ``levels`` they double until two steps in a row bring less than 5 % more, a tenth of the requests ends
    badly, or the generator is the limit.
    """
    best = most = without_gain = 0.0
    for level in levels or [1 << power for power in range(MAX_LEVEL.bit_length())]:
        loaded = replace(
            settings, concurrency=level, rate=None, phases="", trace="", processes=min(level, settings.processes)
        )
        try:
            # The chosen step is the first that cannot be told from the best one: the knee, as far as is known.
            step = search.step(loaded, choose=partial(_gains, best))
            search.check_answers(sustained=False)
        except StepFailedError:
            break
        reached = throughput(step)
        without_gain = without_gain + 1 if reached < _NO_GAIN * most else 0
        most = max(most, reached)
        best = max(best, reached if step.settled else 0.0)
        failing = bad_of(step.outcomes) > 0.1 * step.started or not step.started
        if step.reason:  # a condition of --abort-on ended it, and more load would meet it again
            break
        if search.over:
            break
        if levels is None and (without_gain >= 2 or failing or step.verdict is Validity.CLIENT_BOUND):
            break
    found = knee(search.steps)
    by_generator = any(step.verdict is Validity.CLIENT_BOUND for step in search.steps)
    return search.finish(
        SearchResult(
            kind="sweep",
            steps=search.steps,
            best=best or None,
            knee=None if found is None else search.steps[found].concurrency,
            limited_by="generator" if by_generator else "",
        )
    )
