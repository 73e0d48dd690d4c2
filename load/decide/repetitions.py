"""Repeated runs, of one endpoint or of two in turns, and the limits on how far their figures may move.

Each repeat's figures stand in the ``load`` line (``repeats``) and, as soon as it has ended, in a ``step`` line of their
own; the other lines of the run file are those of the repeat in the middle, by its median end-to-end time.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import replace

from rejoinder.errors import RejoinderError
from rejoinder.load.decide.regression import RegressionLimit, figures, judge, order
from rejoinder.load.decide.run_evidence import KeptRun, RunEvidence
from rejoinder.load.decide.search import Runner
from rejoinder.load.run import LoadProgress, LoadResult, Sink, check_settings, interruptible, run_load
from rejoinder.load.settings import LoadSettings
from rejoinder.model.samples import Repeat, Side, SloResult


def run_repeats(
    settings: LoadSettings,
    sink: Sink,
    *,
    repeats: int,
    against: LoadSettings | None = None,
    baseline: Sequence[dict[str, float]] = (),
    changes: Sequence[RegressionLimit] = (),
    begin: Callable[[LoadSettings], None] | None = None,
    on_repeat: Callable[[Repeat], None] | None = None,
    progress: Callable[[LoadProgress], None] | None = None,
    key: str | None = None,
    against_key: str | None = None,
    stop: threading.Event | None = None,
    run: Runner | None = None,
) -> LoadResult:
    """Run ``repeats`` repeats, and as many of ``against`` in turns with them, and judge the changes.

    They are judged against the repeats of ``against``, else against ``baseline``, the figures of a recorded run. The
    seed of each repeat is its own, and the same for both endpoints. ``begin`` is called before each run and
    ``on_repeat`` with its figures after it; ``run`` replaces :func:`~rejoinder.load.run.run_load`, to which the others
    go. An interrupt ends it with the repeats that were run. An objective is met when most repeats meet it.
    """
    halt = stop or threading.Event()

    def run_side(side: LoadSettings, into: Sink) -> LoadResult:
        return run_load(side, into, progress=progress, key=key if side.url == settings.url else against_key, stop=halt)

    if run is None:
        check_settings(settings)
        run = run_side
    sides: dict[Side, LoadSettings] = {"endpoint": settings, "against": against or settings}
    evidence = RunEvidence(sink)
    done: list[tuple[LoadResult, KeptRun]] = []
    found: list[Repeat] = []
    failure: RejoinderError | None = None
    interrupted = False
    incomplete = aborted = ""
    with interruptible(halt):
        for number, side in order(repeats, against is not None):
            if halt.is_set() and done:
                interrupted = True
                break
            chosen = replace(sides[side], seed=settings.seed + number)
            if begin is not None:
                begin(chosen)
            kept = evidence.begin()
            try:
                result = run(chosen, kept)
            except RejoinderError as error:
                evidence.write(kept)
                if not done:
                    raise
                failure = error
                break
            load = result.load
            evidence.write(kept, result)
            repeat = Repeat(
                of=side,
                repeat=number,
                started=result.started,
                outcomes=result.outcomes,
                verdict=result.verdict,
                figures=figures(result.histograms, load.rates, result.outcomes, load.good, changes),
                judged=load.judged,
                broken=load.broken,
                conformance=load.conformance,
            )
            found.append(repeat)
            sink.sample(repeat)
            if on_repeat is not None:
                on_repeat(repeat)
            if side == "endpoint":
                done.append((result, kept))
            interrupted, incomplete = result.interrupted, result.incomplete
            if result.aborted:
                aborted = (
                    f"Repetition {number + 1}{'' if side == 'endpoint' else ' of the other endpoint'}: {result.aborted}"
                )
            if interrupted or incomplete or aborted:
                break
        result = _finish(sink, done, found, baseline, changes, failure)
        if interrupted:
            result.interrupted = result.load.interrupted = True
        result.load.aborted = aborted
        if incomplete and not result.incomplete:
            result.load.incomplete = f"A repetition is incomplete: {incomplete}"
        sink.sample(result.load)
        return result


def _finish(
    sink: Sink,
    done: list[tuple[LoadResult, KeptRun]],
    repeats: list[Repeat],
    baseline: Sequence[dict[str, float]],
    changes: Sequence[RegressionLimit],
    failure: RejoinderError | None,
) -> LoadResult:
    own = [repeat.figures for repeat in repeats if repeat.of == "endpoint"]
    other = [repeat.figures for repeat in repeats if repeat.of == "against"]
    ranked = sorted(done, key=lambda pair: own[done.index(pair)].get("e2e:p50", math.inf))
    result, kept = ranked[(len(ranked) - 1) // 2]
    for sample in kept.samples:
        sink.sample(sample)
    load = result.load
    load.repeats = repeats
    load.slos = _slos([one.load.slos for one, _ in done])
    load.changes = [judge(change, other or baseline, own) for change in changes]
    worst = max(repeats, key=lambda repeat: repeat.verdict.rank)
    if worst.verdict.rank > result.verdict.rank:
        side = "this endpoint" if worst.of == "endpoint" else "the other endpoint"
        load.self_check.verdict = worst.verdict
        load.self_check.reasons.append(f"repetition {worst.repeat + 1} of {side} was {worst.verdict}")
    if failure is not None:
        result.warnings.append(f"A later repetition could not run: {failure.message}")
        load.notes = result.warnings
    return result


def _slos(repeats: Sequence[Sequence[SloResult]]) -> list[SloResult]:
    """Return the objectives as most repeats have them: of each the result in the middle, the met ones first."""
    found = []
    for results in zip(*repeats, strict=True):
        ranked = sorted(results, key=lambda result: (result.met is False, abs(result.value or 0.0)))
        chosen = copy(ranked[len(ranked) // 2])
        chosen.repeats_met = sum(result.met is not False for result in results)
        found.append(chosen)
    return found
