"""The totals of a run, which become its ``load`` line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from rejoinder.formatting import plural, value_of
from rejoinder.load.measure.self_check import SelfCheck, requests_lost, self_check
from rejoinder.load.measure.stationarity import SpanKeeper, find_stationarity
from rejoinder.load.measure.stats import RunStats, TimeBucket, numbers_of
from rejoinder.load.objectives.check_sample import Voided, estimate_voided
from rejoinder.load.objectives.confidence import percentile_lines
from rejoinder.load.objectives.slo import RequestLimits, evaluate, parse_slos
from rejoinder.load.settings import LoadSettings
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import ANSWERED, OUTCOMES, RequestOutcome, good_of
from rejoinder.model.samples import HistogramSample, LoadSample, Rates, RuleUnderLoad, Sample, ScenarioOutcomes

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
    voided, within = estimate_voided(stats.groups), estimate_voided(stats.groups, within=True)
    ok = good_of(stats.outcomes)
    shares = _share_left(ok, voided), _share_left(stats.good, within)
    rates = _without_voided(rates_within(stats, window), *shares)
    slos = parse_slos(settings.slos)
    return LoadSample(
        mode="closed" if settings.mode == "closed" else "open",
        settings=settings.to_json(),
        started=stats.outcomes.total() + lost,
        outcomes=outcomes,
        rules=dict(stats.rules.most_common()),
        judged=stats.judged,
        unjudged=stats.outcomes[RequestOutcome.UNJUDGED],
        unjudged_bound=round(voided.most / voided.unchecked, 6) if voided.unchecked else None,
        unjudged_voided=voided.estimate if voided.unchecked else None,
        unjudged_voided_most=voided.most,
        broken=stats.broken,
        conformance=_conformance(stats),
        issued=round(issued, 3),
        window=window,
        rates=rates,
        rates_whole_run=_without_voided(rates_within(stats, whole), *shares),
        latencies_over=list(ANSWERED),
        input_tokens=stats.input_tokens,
        output_tokens=stats.output_tokens,
        tokens=stats.tokens,
        self_check=self_check(stats, checks, issued, notes),
        good=round(stats.good * shares[1]),
        cross_talk=stats.foreign,
        percentiles=percentile_lines(stats.histograms),
        scenarios=[
            ScenarioOutcomes(name=name, outcomes=dict(stats.scenarios[name])) for name in sorted(stats.scenarios)
        ],
        limits=RequestLimits(slos).texts,
        slos=evaluate(
            slos,
            histograms=stats.histograms,
            outcomes=outcomes,
            good=stats.good,
            rates=rates,
            voided=voided,
            voided_within=within,
        ),
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


def _conformance(stats: RunStats) -> list[RuleUnderLoad]:
    """Return how many of the checked responses broke each rule, the rules that void first, then the most broken."""
    ranked = sorted(stats.conformance.items(), key=lambda item: (-item[1].voided, -item[1].broken, item[0]))
    return [
        RuleUnderLoad(rule=rule, responses=counts.broken, voided=counts.voided, known=counts.known)
        for rule, counts in ranked
    ]


def _share_left(counted: int, voided: Voided) -> float:
    """Return the share of responses counted as good that no rule voids; where it cannot be known, of those checked."""
    lost = voided.unchecked if voided.estimate is None else voided.estimate
    return (counted - lost) / counted if counted else 1.0


def _without_voided(rates: Rates, ok: float, good: float) -> Rates:
    """Return rates of which only those shares of the good responses are left."""
    if ok == good == 1.0:
        return rates
    return msgspec.structs.replace(
        rates,
        ok_per_s=round(rates.ok_per_s * ok, 3),
        ok_output_tokens_per_s=round(rates.ok_output_tokens_per_s * ok, 3),
        good_per_s=round(rates.good_per_s * good, 3),
    )


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
    voided, bound = line.unjudged_voided, line.unjudged_bound or 0.0
    sure = (
        "No response was checked against all rules, so it cannot be known how many succeeded"
        if voided is None
        else f"By a random sample, broken rules void about {100 * voided / line.unjudged:.2f} % of them, at most "
        f"{100 * bound:.2f} % (99 % confidence). Goodput, errors and rates allow for it"
    )
    return (
        f"{plural(line.unjudged, 'response was', 'responses were')} checked for event order, terminal event and canary "
        f"only, because no CPU core was free for all rules. {sure}."
    )
