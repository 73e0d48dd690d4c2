"""SLOs: limits that a run must meet, as ``--slo`` takes them, and their results.

    ttft:p99<300ms      a percentile, the mean or the maximum of a latency, over the requests that succeeded, those not
                        checked against all rules included, and those without an end, which were longer than they were
                        waited for
    ttft<300ms          a limit for each single request; goodput counts the requests within all such limits
    output_tokens_per_user:p1>20/s
                        a percentile up to p50, the mean or the minimum of a speed
    goodput>=95%        share of the started requests that succeeded within every limit; with /s, a rate
    error<1%            share of the started requests that failed; any outcome can be named instead
    output_tokens>500/s a rate over the rate window of the run

For goodput, a percentile is also a limit for single requests, unless its metric has a limit for single requests.
Requests that the workload cancels (outcome ``cancelled``) do not count as started here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Final

from rejoinder.errors import UsageError, suggest
from rejoinder.formatting import Figure, plural, value_of
from rejoinder.load.objectives.check_sample import NONE_VOIDED, Voided
from rejoinder.load.objectives.confidence import lower_bound, share_bound, upper_bound, values_needed
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import DISTRIBUTIONS, METRICS, RATES, SHARES, SPEEDS, TIMES, metric_named, missing_of
from rejoinder.model.outcomes import OutcomeCounts, RequestOutcome, bad_of, counted_of, good_of, settled
from rejoinder.model.samples import ChangeResult, Rates, SloResult

_RELATIONS: Final = {"<": lt, "<=": le, ">": gt, ">=": ge}
_SECONDS: Final = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_SHAPE: Final = re.compile(
    r"\s*([A-Za-z_0-9]+)\s*(?::\s*([A-Za-z]+[0-9.]*))?\s*(<=|>=|<|>)\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(\S*)\s*\Z"
)
_HINT: Final = "Write it as 'ttft:p99<300ms', 'goodput>=95%' or 'output_tokens>500/s'."


@dataclass(frozen=True, slots=True)
class Slo:
    """One SLO. ``statistic`` is ``pN``, ``mean``, ``max`` or ``min`` for times and speeds, else ``share`` or ``rate``.

    Without a statistic a time or a speed is a limit for single requests. ``limit`` is in seconds, a share, or per
    second.
    """

    text: str
    metric: str
    statistic: str
    relation: str
    limit: float

    @property
    def percent(self) -> float | None:
        """The percentile that the SLO limits, if it limits one."""
        return float(self.statistic[1:]) if self.statistic.startswith("p") else None

    @property
    def of_requests(self) -> bool:
        """Whether this is a limit for single requests and nothing else."""
        return not self.statistic

    @property
    def at_most(self) -> bool:
        """Whether less is better."""
        return self.relation.startswith("<")

    def holds(self, value: float) -> bool:
        """Return whether a value is on the right side of the limit."""
        return bool(_RELATIONS[self.relation](value, self.limit))


def parse_slo(text: str) -> Slo:
    """Return the SLO that a text describes; raises :class:`UsageError`, with a suggestion for an unknown metric."""
    match = _SHAPE.match(text)
    if match is None:
        raise UsageError(f'"{text}" is not an SLO.', _HINT)
    name, statistic, relation, number, unit = match.groups()
    metric = metric_named(name)
    limit = float(number)
    if not math.isfinite(limit):
        raise UsageError(f'The SLO "{text}" has no finite limit.', _HINT)
    stripped = text.strip()
    if metric in TIMES and TIMES[metric].objective:
        if statistic is None and not TIMES[metric].per_request:
            raise UsageError(f'The SLO "{stripped}" needs a percentile.', f"Write it as '{metric}:p99<10ms'.")
        statistic = parse_statistic(stripped, statistic) if statistic else ""
        return Slo(stripped, metric, statistic, relation, _seconds(stripped, limit, unit, relation))
    if metric in SPEEDS:
        statistic = parse_statistic(stripped, statistic, of_speed=True) if statistic else ""
        if relation.startswith("<"):
            raise UsageError(f'The SLO "{stripped}" is an upper limit for a speed.', "Use > or >= for speeds.")
        _check_rate_unit(stripped, metric, f"{metric}{f':{statistic}' if statistic else ''}{relation}{number}", unit)
        return Slo(stripped, metric, statistic, relation, limit)
    if metric not in SHARES and metric not in RATES:
        rows = [row for row in METRICS.values() if row.objective]
        times = ", ".join(row.name for row in rows if row.name in TIMES)
        hint = (
            f"Latencies: {times}. Speeds: {', '.join(SPEEDS)}. Rates: {', '.join(RATES)}. "
            "Shares: goodput, error and every outcome."
        )
        known = [word for row in rows for word in (row.name, *row.aliases)]
        raise UsageError(f'The SLO "{text}" has an unknown metric: "{name}".', suggest(metric, known, hint))
    if statistic:
        raise UsageError(
            f'The SLO "{text}" has the statistic {statistic}, but {metric} is a single number.',
            f"Write it as '{metric}{relation}{number}{unit}'.",
        )
    if metric in RATES or (metric == "goodput" and unit == "/s"):
        _check_rate_unit(text, metric, f"{metric}{relation}{number}", unit)
        return Slo(stripped, metric, "rate", relation, limit)
    if unit not in ("", "%"):
        raise UsageError(f'The SLO "{text}" has the unit "{unit}", but {metric} is a share.', "Write 0.95 or 95%.")
    limit = limit / 100 if unit == "%" else limit
    if limit > 1:
        raise UsageError(f'The SLO "{text}" has a share above 100 %.', "Write 0.95 or 95%.")
    return Slo(stripped, metric, "share", relation, limit)


def parse_slos(texts: Iterable[str]) -> list[Slo]:
    """Return several SLOs; raises :class:`UsageError` also for a limit for single requests without goodput."""
    slos = [parse_slo(text) for text in texts]
    alone = next((slo for slo in slos if slo.of_requests), None)
    if alone is not None and not any(slo.metric == "goodput" for slo in slos):
        raise UsageError(
            f'The SLO "{alone.text}" is a limit for single requests, but no SLO limits their share.',
            f"Add --slo 'goodput>=95%', or write '{alone.metric}:p99{alone.text.partition(alone.metric)[2]}'.",
        )
    return slos


def _check_rate_unit(text: str, metric: str, start: str, unit: str) -> None:
    if unit not in ("", "/s"):
        raise UsageError(
            f'The SLO "{text}" has the unit "{unit}", but {metric} is a rate per second.', f"Write it as '{start}/s'."
        )


def parse_statistic(text: str, statistic: str, *, of_speed: bool = False) -> str:
    """Return ``pN``, ``mean``, and ``max`` of times or ``min`` of speeds.

    Raises :class:`UsageError` that shows the whole text, also for a percentile of the fastest requests.
    """
    word = {"avg": "mean", "median": "p50"}.get(statistic.lower(), statistic.lower())
    if word in ("mean", "min" if of_speed else "max"):
        return word
    try:
        percent = float(word[1:]) if word.startswith("p") else 0.0
    except ValueError:
        percent = 0.0
    if not 0 < percent < 100:
        examples = "p50, p10 or p1, mean or min" if of_speed else "p50, p99 or p99.9, mean or max"
        raise UsageError(f'"{text}" has an unknown statistic: "{statistic}".', f"Use a percentile such as {examples}.")
    if of_speed and percent > 50:
        raise UsageError(
            f'"{text}" limits the fastest {100 - percent:g} % of the requests only.',
            f"Write p{100 - percent:g} to limit the slowest {100 - percent:g} %.",
        )
    return f"p{percent:g}"


def _seconds(text: str, limit: float, unit: str, relation: str) -> float:
    if unit not in _SECONDS:
        found = f'has the unit "{unit}", which is not a unit of time' if unit else "has no unit"
        raise UsageError(f'The SLO "{text}" {found}.', "Use us, ms, s or min, as in 300ms or 1.5s.")
    if relation.startswith(">"):
        raise UsageError(f'The SLO "{text}" is a lower limit for a latency.', "Use < or <= for latencies.")
    return limit * _SECONDS[unit]


def _width(slo: Slo) -> float:
    """Return a number that is the greater the more a limit allows."""
    return slo.limit if slo.at_most else -slo.limit


class RequestLimits:
    """The limits for single requests that SLOs imply: the explicit ones, else the widest percentile limit."""

    def __init__(self, slos: Sequence[Slo]) -> None:
        own: dict[str, list[Slo]] = {}
        implied: dict[str, list[Slo]] = {}
        for slo in slos:
            each = slo.metric in DISTRIBUTIONS and DISTRIBUTIONS[slo.metric].per_request
            if each and (slo.of_requests or slo.percent is not None):
                (own if slo.of_requests else implied).setdefault(slo.metric, []).append(slo)
        chosen = {metric: max(found, key=_width) for metric, found in implied.items()}
        # Of several explicit limits for one metric the narrowest includes the others.
        chosen |= {metric: min(found, key=_width) for metric, found in own.items()}
        self._chosen = [chosen[metric] for metric in sorted(chosen)]
        self._of = [DISTRIBUTIONS[slo.metric].per_request for slo in self._chosen]

    @property
    def texts(self) -> list[str]:
        """The limits as they were written."""
        return [
            f"{slo.metric}{slo.relation}" + (f"{slo.limit * 1e3:g}ms" if slo.metric in TIMES else f"{slo.limit:g}/s")
            for slo in self._chosen
        ]

    def keeps(self, outcome: RequestOutcome, times: Mapping[str, float], *, streamed: bool = True) -> bool:
        """Return whether a request succeeded within all limits; ``times`` are its latencies, in seconds, by metric.

        A time that a request does not have (the time per token of a single token) breaks no limit. The exception is the
        first token of a stream, which a stream to be counted must have. Without ``streamed`` the request wanted none.
        """
        if not outcome.row.good:
            return False
        for slo, name in zip(self._chosen, self._of, strict=True):
            value = times.get(name)
            if value is None:
                if streamed and slo.metric.startswith("ttf"):
                    return False
            elif not slo.holds(value):
                return False
        return True


def evaluate(
    slos: Sequence[Slo],
    *,
    histograms: Mapping[str, Histogram],
    outcomes: OutcomeCounts,
    good: int,
    rates: Rates,
    voided: Voided = NONE_VOIDED,
    voided_within: Voided = NONE_VOIDED,
    ended_early: bool = False,
) -> list[SloResult]:
    """Return the result of each SLO.

    ``good`` and ``outcomes`` count the responses that were not checked against all rules as good; ``voided`` says how
    many of them a rule voids, ``voided_within`` how many of those within the limits for single requests. ``rates``
    allow for them already.

    ``value`` is ``None`` without samples. A percentile is that of the nearest rank: with few values the largest one. An
    SLO is met only where the value proves it: one that is ``at_least`` is below a limit if its ``highest`` is.
    ``ended_early``:
    the run gave the requests in flight no time to end, so shares leave them out.

    Times and speeds of responses that were not checked against all rules count. A rule may void some of them, so the
    value is an estimate (``unjudged``), the bound takes the worst, and there is no value where all may be void.

    For a percentile or a share ``certified`` is whether ``bound``, beyond which the true figure is not with 99 % (early
    stopping for percentiles, Clopper and Pearson for shares), keeps the limit too; where there are too few values for a
    bound, ``needs`` says how many it takes.
    """
    outcomes = settled(outcomes, ended_early=ended_early)
    results = []
    for slo in slos:
        if slo.statistic == "share":
            result = _of_share(slo, outcomes, good, voided_within if slo.metric == "goodput" else voided)
        elif slo.statistic == "rate":
            value = getattr(rates, METRICS[slo.metric].rate_field)
            result = _result(slo, value, n=good if slo.metric == "goodput" else good_of(outcomes))
        else:
            row = DISTRIBUTIONS[slo.metric]
            # The distribution of all requests does not depend on whether they succeeded.
            unsure = NONE_VOIDED if row.judged_by == row.name else voided
            succeeded = unsure.estimate is not None and good_of(outcomes) > round(unsure.estimate)
            result = _of_time(slo, histograms.get(row.judged_by, Histogram()), unsure, succeeded=succeeded)
        if slo.metric == "goodput":
            result.limits = RequestLimits(slos).texts
        results.append(result)
    return results


def _result(slo: Slo, value: float | None, n: int, figure: Figure | None = None) -> SloResult:
    """Return the result of a value, or of a figure of a distribution."""
    at_least = figure is not None and figure.at_least
    most = (figure.highest if figure is not None else None) if at_least and slo.at_most else value
    return SloResult(
        text=slo.text,
        metric=slo.metric,
        statistic=slo.statistic or "each",
        limit=slo.limit,
        n=n,
        value=None if value is None else round(value, 9),
        at_least=at_least,
        highest=round(figure.highest, 9) if figure is not None and figure.highest is not None else None,
        met=None if slo.of_requests else value is not None and most is not None and slo.holds(most),
    )


def _of_share(slo: Slo, outcomes: OutcomeCounts, good: int, voided: Voided) -> SloResult:
    # A share of cancelled requests is one of all.
    counted = sum(outcomes.values()) if slo.metric == RequestOutcome.CANCELLED else counted_of(outcomes)
    if slo.metric == "goodput":
        found, sign = good, -1
    else:
        found = bad_of(outcomes) if slo.metric == "error" else outcomes.get(RequestOutcome(slo.metric), 0)
        sign = 1 if slo.metric in ("error", RequestOutcome.NONCONFORMING) else 0
    unchecked = voided.unchecked if sign else 0
    likely = None if unchecked and voided.estimate is None else found + sign * (voided.estimate or 0.0)
    result = _result(slo, likely / counted if counted and likely is not None else None, counted)
    if unchecked:
        result.unjudged, result.unjudged_bound = unchecked, round(voided.most / unchecked, 6)
    # The bound takes the worst for the responses that were not checked, if that makes it looser.
    found += sign * voided.most if (sign > 0) == slo.at_most else 0
    limit = share_bound(found if slo.at_most else counted - found, counted)
    if limit is not None:
        result.bound = round(limit if slo.at_most else 1 - limit, 9)
        result.certified = slo.holds(result.bound)
    return result


def _of_time(slo: Slo, histogram: Histogram, voided: Voided, *, succeeded: bool) -> SloResult:
    """Return the result of an SLO on a time or speed; ``succeeded``: some requests did, as far as that is known."""
    if voided.unchecked and not (succeeded or histogram.unended):
        histogram = Histogram()
    if slo.percent is not None:
        figure = histogram.nearest_rank(slo.percent)
    else:
        figure = {"mean": histogram.mean, "min": histogram.at_rank(1)}.get(slo.statistic, histogram.longest)
    result = _result(slo, value_of(figure), histogram.n, figure)
    result.unended = histogram.unended
    if voided.unchecked:
        result.unjudged, result.unjudged_bound = voided.unchecked, round(voided.most / voided.unchecked, 6)
    if slo.percent is None:
        return result
    # Of a metric with many values in a request nobody knows how many are of those that a rule voids.
    strangers = histogram.n if DISTRIBUTIONS[slo.metric].pooled and voided.most else min(voided.most, histogram.n)
    result.bound = (upper_bound if slo.at_most else lower_bound)(histogram, slo.percent, strangers)
    result.certified = result.bound is not None and slo.holds(result.bound)
    needed = values_needed(slo.percent if slo.at_most else 100 - slo.percent)
    result.needs = needed if histogram.n - strangers < needed else None
    return result


def missed(results: Iterable[SloResult | ChangeResult]) -> list[str]:
    """Return the texts of the SLOs, or regression limits, that were missed."""
    return [result.text for result in results if result.met is False]


def describe(result: SloResult, no_rates: str = "") -> str:
    """Return the result of one SLO as a line for people; ``no_rates`` is that of the ``load`` line."""
    if result.statistic == "each":
        return f"{result.text}: counted by goodput"
    because = result.open_because(no_rates)
    if result.value is None and because:
        return f"{result.text}: cannot be known ({because})"
    if result.value is None:
        return f"{result.text}: missed ({missing_of(result.metric)})"
    of = "request" if result.statistic in ("share", "rate") else "sample"
    notes = [plural(result.n, of)]
    if result.limits:
        notes.append(f"limits for each request: {', '.join(result.limits)}")
    if result.unended:
        notes.append(f"{result.unended:,} without an end")
    if because:
        return f"{result.text}: cannot be known: {because} (at least {result.text_of(result.value)})"
    if result.met and result.needs is not None:
        notes.append(f"{result.needs:,} needed for 99 % confidence")
    elif result.met and result.certified is False and result.bound is not None:
        notes.append(f"99 % confidence bound {result.text_of(result.bound)} misses the limit")
    elif result.met and result.certified is False:
        notes.append("no 99 % confidence bound")
    if result.depends_on_length:
        notes.append("depends on the length of the run, because the queue grew")
    if result.unjudged:
        bound = (
            ""
            if result.unjudged_bound is None
            else f", at most {100 * result.unjudged_bound:.1f} % of them break a rule"
        )
        notes.append(f"estimate: {result.unjudged:,} not checked against all rules{bound}")
    verdict = "met" if result.met else "missed"
    return f"{result.text}: {verdict}: {result.value_text()} ({'; '.join(notes)})"
