"""The totals of a run, which become its ``load`` line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rejoinder.formatting import plural, value_of
from rejoinder.load.measure.self_check import SelfCheck, requests_lost, self_check
from rejoinder.load.measure.stationarity import SpanKeeper, find_stationarity
from rejoinder.load.measure.stats import RunStats, TimeBucket, numbers_of
from rejoinder.load.objectives.confidence import percentile_lines
from rejoinder.load.objectives.slo import RequestLimits, evaluate, parse_slos
from rejoinder.load.settings import LoadSettings
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import ANSWERED, OUTCOMES, RequestOutcome, good_of
from rejoinder.model.samples import HistogramSample, LoadSample, Rates, Sample, ScenarioOutcomes, SloResult

_STEADY_SHARE: Final = 0.8


def load_line(
    stats: RunStats, checks: Sequence[SelfCheck], settings: LoadSettings, *, issued: float, notes: Sequence[str] = ()
) -> LoadSample:
    """Return the ``load`` line: settings, outcomes, rates, SLO results and the load generator's verdict on itself.

    ``issued`` is for how many seconds requests were started; ``notes`` are further reasons to suspect the result.
    """
    window = steady_window(stats, settings, issued)
    whole = (0.0, max(issued, (max(stats.seconds, default=0) + 1.0) if stats.seconds else issued))
    lost = requests_lost(stats, checks)
    counts = stats.outcomes + Counter({RequestOutcome.LOST: lost})
    outcomes = {name: counts[name] for name in OUTCOMES if counts[name]}
    rates = rates_within(stats, window)
    slos = parse_slos(settings.slos)
    return LoadSample(
        mode="closed" if settings.mode == "closed" else "open",
        settings=settings.to_json(),
        started=stats.outcomes.total() + lost,
        outcomes=outcomes,
        rules=dict(stats.rules.most_common()),
        judged=stats.judged,
        unjudged=stats.outcomes[RequestOutcome.UNJUDGED],
        unjudged_bound=stats.unjudged_bound if stats.outcomes[RequestOutcome.UNJUDGED] else None,
        issued=round(issued, 3),
        window=window,
        rates=rates,
        rates_whole_run=rates_within(stats, whole),
        latencies_over=list(ANSWERED),
        input_tokens=stats.input_tokens,
        output_tokens=stats.output_tokens,
        tokens=stats.tokens,
        self_check=self_check(stats, checks, issued, notes),
        good=stats.good,
        cross_talk=stats.foreign,
        percentiles=percentile_lines(stats.histograms),
        scenarios=[
            ScenarioOutcomes(name=name, outcomes=dict(stats.scenarios[name])) for name in sorted(stats.scenarios)
        ],
        limits=RequestLimits(slos).texts,
        slos=[
            _with_unjudged(result, stats)
            for result in evaluate(slos, histograms=stats.histograms, outcomes=outcomes, good=stats.good, rates=rates)
        ],
    )


def judge_state(line: LoadSample, settings: LoadSettings, spans: SpanKeeper) -> None:
    """Add to a ``load`` line whether the run was in a steady state, and mark the SLOs that a longer run may miss."""
    closed = settings.mode == "closed"
    state = find_stationarity(
        spans.spans,
        begin=settings.ramp_seconds if closed else 0.0,
        end=line.issued,
        open_loop=not closed,
        paced_evenly=not (settings.phases or settings.trace),
        weight=spans.weight,
    )
    line.stationarity = state
    if state.queue_growth is not None:
        for result in line.slos:
            result.depends_on_length = bool(result.met) and result.statistic != "share"


def result_samples(stats: RunStats, server: Mapping[int, Mapping[str, float]]) -> Iterator[Sample]:
    """Yield the samples that are known at the end of a run, but for the ``load`` line.

    ``server`` has what the server reported by second; those of single requests are written as they come.
    """
    yield from stats.second_samples(server)
    yield from stats.streams
    for metric, histogram in sorted(stats.histograms.items()):
        yield HistogramSample(metric=metric, values=histogram, unit="us")


def _with_unjudged(result: SloResult, stats: RunStats) -> SloResult:
    """Let the result of a goodput say how many of the good answers were not judged by all rules."""
    if result.metric == "goodput" and stats.good_unjudged:
        result.unjudged, result.unjudged_bound = stats.good_unjudged, stats.unjudged_bound
    return result


def steady_window(stats: RunStats, settings: LoadSettings, issued: float) -> tuple[float, float]:
    """Return the part of the run in which the load was what was asked for, in seconds.

    Closed loop: the longest run of whole seconds with at least 80 % of the peak in flight at both edges. Open loop:
    from the time by which half of the requests of the first moment had ended, to the last start. ``issued`` is how long
    requests were issued. A run too short for that gets the time after its ramp.
    """
    if settings.mode == "open":
        median = value_of(stats.histograms.get("e2e", Histogram()).percentile(50))
        return round(min(median or 0.0, issued / 2), 3), round(issued, 3)
    levels = [0, *(second.in_flight for second in stats.second_samples())]
    floor = _STEADY_SHARE * max(levels)
    best = (0, 0)
    begin = None
    for number, level in enumerate(levels):
        if level < floor or not level or number > issued:
            begin = None
        elif begin is None:
            begin = number
        elif number - begin > best[1] - best[0]:
            best = (begin, number)
    if best[1] > best[0]:
        return float(best[0]), float(best[1])
    return round(min(settings.ramp_seconds, issued), 3), round(issued, 3)


def rates_within(stats: RunStats, window: tuple[float, float]) -> Rates:
    """Return totals per second inside a window; a second that is partly inside counts by that part."""
    low, high = window
    totals = dict.fromkeys(numbers_of(TimeBucket), 0.0)
    for number, second in stats.seconds.items():
        part = min(high, number + 1) - max(low, number)
        if part > 0:
            for name in totals:
                totals[name] += getattr(second, name) * part
    length = high - low
    rates = Rates(
        **{f"{name}_per_s": round(total / length, 3) if length > 0 else 0.0 for name, total in totals.items()}
    )
    if not stats.tokens.cached_of:
        rates.uncached_input_tokens_per_s = None
    return rates


def unjudged_sentence(line: LoadSample) -> str:
    """Return sentences about the responses that were not checked against all rules."""
    bound = line.unjudged_bound
    sure = (
        "No response was checked against all rules"
        if bound is None
        else f"At most {100 * bound:.2f} % of them break a rule (99 % confidence)"
    )
    return (
        f"{line.unjudged:,} of {plural(good_of(line.outcomes), 'succeeded request')}: only event order, terminal event "
        f"and canary were checked, because no CPU core was free for all rules. {sure}."
    )
