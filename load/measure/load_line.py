"""The totals of a run, which become its ``load`` line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from rejoinder.formatting import plural
from rejoinder.load.measure.self_check import SelfCheck, requests_lost, self_check
from rejoinder.load.measure.stationarity import SpanKeeper, find_stationarity
from rejoinder.load.measure.stats import RunStats
from rejoinder.load.measure.throughput import Window, closed_window, open_window, totals_within
from rejoinder.load.objectives.check_sample import Voided, estimate_voided, tokens_left
from rejoinder.load.objectives.confidence import percentile_lines
from rejoinder.load.objectives.slo import RequestLimits, evaluate, parse_slos
from rejoinder.load.settings import LoadSettings
from rejoinder.model.metrics import SPEEDS, row_of
from rejoinder.model.outcomes import MEASURED, OUTCOMES, RequestOutcome, good_of
from rejoinder.model.samples import HistogramSample, LoadSample, Rates, RuleUnderLoad, Sample, ScenarioOutcomes

_UNSCHEDULED: Final = 0.01
"""The share of the requests by which a schedule may be missed."""


def load_line(
    stats: RunStats,
    checks: Sequence[SelfCheck],
    settings: LoadSettings,
    *,
    issued: float,
    notes: Sequence[str] = (),
    ended_early: bool = False,
) -> LoadSample:
    """Return the ``load`` line: settings, outcomes, rates, SLO results and the load generator's verdict on itself.

    ``issued`` is for how many seconds requests were started; ``notes`` are further reasons to suspect the result.
    ``ended_early``: the run gave the requests in flight no time to end.
    """
    window = rates_window(stats, settings, issued)
    in_flight = stats.throughput.mean_in_flight(window.edges)
    lost = requests_lost(stats, checks)
    counts = stats.outcomes + Counter({RequestOutcome.LOST: lost})
    outcomes = {name: counts[name] for name in OUTCOMES if counts[name]}
    voided, within = estimate_voided(stats.groups), estimate_voided(stats.groups, within=True)
    ok = good_of(stats.outcomes)
    shares = _share_left(ok, voided), _share_left(stats.good, within), tokens_left(stats.groups)
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
        window=_rounded(window.edges),
        started_window=_rounded(window.starts),
        in_flight=None if in_flight is None else round(in_flight, 3),
        rates=rates,
        no_rates=window.why,
        rates_whole_run=_without_voided(rates_within(stats, _whole(stats, issued)), *shares),
        latencies_over=list(MEASURED),
        input_tokens=stats.input_tokens,
        output_tokens=stats.output_tokens,
        tokens=stats.tokens,
        self_check=self_check(stats, checks, issued, notes),
        good=round(stats.good * (shares[1] or 0.0)),
        waited={outcome: (round(least, 6), round(most, 6)) for outcome, (least, most) in sorted(stats.waited.items())},
        cross_talk=stats.foreign,
        percentiles=percentile_lines(
            {name: histogram for name, histogram in stats.histograms.items() if not _is_speed(name)}
        ),
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
            ended_early=ended_early,
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
        rate=_scheduled_rate(line, settings),
    )
    line.stationarity = state
    if state.queue_growth is not None:
        for result in line.slos:
            result.depends_on_length = bool(result.met) and result.statistic != "share"


def _scheduled_rate(line: LoadSample, settings: LoadSettings) -> float | None:
    """Return the requests per second of an open loop of constant rate, if its requests started as scheduled.

    Conversations send more requests than the schedule has, and a load generator at its limit fewer.
    """
    if settings.mode == "closed" or settings.rate is None:
        return None
    due = sum(at < line.issued for at in settings.schedule())
    return settings.rate if abs(line.started - due) <= 1 + _UNSCHEDULED * due else None


def _is_speed(histogram: str) -> bool:
    row = row_of(histogram)
    return row is not None and row.name in SPEEDS


def result_samples(stats: RunStats, server: Mapping[int, Mapping[str, float]]) -> Iterator[Sample]:
    """Yield the samples that are known at the end of a run, but for the ``load`` line.

    ``server`` has what the server reported by second; those of single requests are written as they come.
    """
    yield from stats.second_samples(server)
    yield from stats.streams
    for metric, histogram in sorted(stats.histograms.items()):
        yield HistogramSample(metric=metric, values=histogram, unit="1e-6/s" if _is_speed(metric) else "us")


def _conformance(stats: RunStats) -> list[RuleUnderLoad]:
    """Return how many of the checked responses broke each rule, the rules that void first, then the most broken."""
    ranked = sorted(stats.conformance.items(), key=lambda item: (-item[1].voided, -item[1].broken, item[0]))
    return [
        RuleUnderLoad(rule=rule, responses=counts.broken, voided=counts.voided, known=counts.known)
        for rule, counts in ranked
    ]


def _share_left(counted: int, voided: Voided) -> float | None:
    """Return the share of responses counted as good that no rule voids; ``None`` where it cannot be known."""
    if voided.estimate is None:
        return None
    return (counted - voided.estimate) / counted if counted else 1.0


def _without_voided(rates: Rates, ok: float | None, good: float | None, tokens: float | None) -> Rates:
    """Return rates of which only those shares are left, and none where a share is not known.

    The shares are those of successful requests, of good ones, and of the output tokens of successful ones.
    """
    if ok == good == tokens == 1.0:
        return rates

    def left(rate: float | None, share: float | None) -> float | None:
        return None if rate is None or share is None else round(rate * share, 3)

    return msgspec.structs.replace(
        rates,
        ok_per_s=left(rates.ok_per_s, ok),
        ok_output_tokens_per_s=left(rates.ok_output_tokens_per_s, tokens),
        good_per_s=left(rates.good_per_s, good),
    )


def rates_window(stats: RunStats, settings: LoadSettings, issued: float) -> Window:
    """Return the window over which the rates of a run are computed; ``issued`` is how long requests were started."""
    counts = stats.throughput
    if settings.mode == "open":
        return open_window(counts, issued=issued)
    if settings.requests is not None and counts.last_start is not None:
        started = sum(found.started for found in counts.slices.values())
        issued = min(issued, counts.last_start) if started >= settings.requests else issued
    users = settings.concurrency or 1
    return closed_window(counts, ramp=settings.ramp_seconds, users=users, issued=issued)


def rates_within(stats: RunStats, window: Window) -> Rates:
    """Return what a window counts, per second of its length; without a length there are no rates."""
    length, begun = window.high - window.low, window.starts[1] - window.starts[0]
    totals = totals_within(stats.throughput, window.first, window.last) if length > 0 else {}
    rates = {f"{name}_per_s": round(total / length, 3) for name, total in totals.items()}
    if not stats.tokens.cached_of:
        rates.pop("uncached_input_tokens_per_s", None)
    return Rates(**rates, started_per_s=round(window.started / begun, 3) if begun > 0 and window.started else None)


def _whole(stats: RunStats, issued: float) -> Window:
    """Return the whole run, from its start to the last end of a request or the last start, as a window."""
    counts = stats.throughput
    edges = (0.0, max(issued, counts.last_finish or 0.0))
    started = sum(found.started for found in counts.slices.values())
    return Window(*edges, first=0, last=max(counts.slices, default=-1), starts=edges, started=started)


def _rounded(edges: tuple[float, float]) -> tuple[float, float]:
    return round(edges[0], 6), round(edges[1], 6)


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
