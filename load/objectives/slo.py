"""Objectives: what a run has to reach, as ``--slo`` takes it, and what it did reach.

    ttft:p99<300ms      a percentile, the mean or the maximum of a time, over the requests that ended well
    ttft<300ms          what each single request has to keep; goodput counts the requests that keep all of these
    goodput>=95%        share of the started requests that ended well and kept every limit; with /s, how many a second
    error<1%            share of the started requests that did not end well; any outcome can be named instead
    output_tokens>500/s a rate over the steady part of the run

A percentile is also a limit for single requests, for the purpose of goodput, where its metric has no limit of its own.
Requests that the run itself gave up (outcome ``cancelled``) are not among the started ones here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge, gt, le, lt
from typing import Final

from rejoinder.errors import UsageError, suggest
from rejoinder.load.objectives.confidence import share_bound, upper_bound, values_needed
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import METRICS, RATES, SHARES, TIMES, metric_named
from rejoinder.model.outcomes import OutcomeCounts, RequestOutcome, bad_of, counted_of, good_of
from rejoinder.model.samples import ChangeResult, Rates, SloResult

_RELATIONS: Final = {"<": lt, "<=": le, ">": gt, ">=": ge}
_SECONDS: Final = {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}
_SHAPE: Final = re.compile(
    r"\s*([A-Za-z_0-9]+)\s*(?::\s*([A-Za-z]+[0-9.]*))?\s*(<=|>=|<|>)\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*(\S*)\s*\Z"
)
_HINT: Final = "Write it like 'ttft:p99<300ms', 'goodput>=95%' or 'output_tokens>500/s'."


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. ``statistic`` is ``pN``, ``mean`` or ``max`` for times, ``share`` or ``rate`` for the others.

    Without a statistic a time is a limit for single requests. ``limit`` is in seconds, a share, or per second.
    """

    text: str
    metric: str
    statistic: str
    relation: str
    limit: float

    @property
    def percent(self) -> float | None:
        """The percentile that is claimed, if one is."""
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
    """Return what a text asks for; raises :class:`UsageError` with a suggestion for what names no metric."""
    match = _SHAPE.match(text)
    if match is None:
        raise UsageError(f"{text!r} is no objective.", _HINT)
    name, statistic, relation, number, unit = match.groups()
    metric = metric_named(name)
    limit = float(number)
    if not math.isfinite(limit):
        raise UsageError(f"The objective {text!r} has no finite limit.", _HINT)
    stripped = text.strip()
    if metric in TIMES and TIMES[metric].objective:
        if statistic is None and not TIMES[metric].per_request:
            raise UsageError(f"The objective {stripped!r} needs a percentile.", f"Write it like '{metric}:p99<10ms'.")
        statistic = parse_statistic(stripped, statistic) if statistic else ""
        return Slo(stripped, metric, statistic, relation, _seconds(stripped, limit, unit, relation))
    if metric not in SHARES and metric not in RATES:
        rows = [row for row in METRICS.values() if row.objective]
        times = ", ".join(row.name for row in rows if row.name in TIMES)
        hint = f"Times are {times}; besides, there are goodput, error, every outcome, and the rates {', '.join(RATES)}."
        known = [word for row in rows for word in (row.name, *row.aliases)]
        raise UsageError(f"The objective {text!r} names no metric: there is no {name!r}.", suggest(metric, known, hint))
    if statistic:
        raise UsageError(f"The objective {text!r} asks for {statistic} of {metric}, which is one number.", _HINT)
    if metric in RATES or (metric == "goodput" and unit == "/s"):
        if unit not in ("", "/s"):
            raise UsageError(f"The objective {text!r} has the unit {unit!r}; {metric} is counted per second (/s).")
        return Slo(stripped, metric, "rate", relation, limit)
    if unit not in ("", "%"):
        raise UsageError(f"The objective {text!r} has the unit {unit!r}; {metric} is a share, like 0.95 or 95%.")
    limit = limit / 100 if unit == "%" else limit
    if limit > 1:
        raise UsageError(f"The objective {text!r} asks for a share above 1.", "Write it like 0.95 or 95%.")
    return Slo(stripped, metric, "share", relation, limit)


def parse_slos(texts: Iterable[str]) -> list[Slo]:
    """Return several objectives; raises :class:`UsageError` also where together they decide nothing."""
    slos = [parse_slo(text) for text in texts]
    alone = next((slo for slo in slos if slo.of_requests), None)
    if alone is not None and not any(slo.metric == "goodput" for slo in slos):
        raise UsageError(
            f"The objective {alone.text!r} is a limit for single requests, and nothing says how many have to keep it.",
            f"Add one like 'goodput>=95%', or write '{alone.metric}:p99{alone.text.partition(alone.metric)[2]}'.",
        )
    return slos


def parse_statistic(text: str, statistic: str) -> str:
    """Return ``pN``, ``mean`` or ``max``; raises :class:`UsageError` that shows the whole text."""
    word = {"avg": "mean", "median": "p50"}.get(statistic.lower(), statistic.lower())
    if word in ("mean", "max"):
        return word
    try:
        percent = float(word[1:]) if word.startswith("p") else 0.0
    except ValueError:
        percent = 0.0
    if not 0 < percent < 100:
        raise UsageError(f"{text!r} asks for {statistic!r}.", "Choose p50, p99, p99.9 ..., mean or max.")
    return f"p{percent:g}"


def _seconds(text: str, limit: float, unit: str, relation: str) -> float:
    if unit not in _SECONDS:
        said = f"has the unit {unit!r}, which is no time" if unit else "has no unit"
        raise UsageError(f"The objective {text!r} {said}.", "Write a time with its unit, like 300ms or 1.5s.")
    if relation.startswith(">"):
        raise UsageError(f"The objective {text!r} asks for a long time.", "A time is limited from above, with <.")
    return limit * _SECONDS[unit]


class RequestLimits:
    """What single requests have to keep, made of objectives: the explicit limits, else the widest percentile limit."""

    def __init__(self, slos: Sequence[Slo]) -> None:
        own: dict[str, list[Slo]] = {}
        implied: dict[str, list[Slo]] = {}
        for slo in slos:
            each = slo.metric in TIMES and TIMES[slo.metric].per_request
            if each and (slo.of_requests or slo.percent is not None):
                (own if slo.of_requests else implied).setdefault(slo.metric, []).append(slo)
        chosen = {metric: max(found, key=lambda slo: slo.limit) for metric, found in implied.items()}
        # Of several explicit limits for one metric the narrowest includes the others.
        chosen |= {metric: min(found, key=lambda slo: slo.limit) for metric, found in own.items()}
        self._chosen = [chosen[metric] for metric in sorted(chosen)]
        self._of = [TIMES[slo.metric].per_request for slo in self._chosen]

    @property
    def texts(self) -> list[str]:
        """The limits as they were written."""
        return [f"{slo.metric}{slo.relation}{slo.limit * 1e3:g}ms" for slo in self._chosen]

    def keeps(self, outcome: RequestOutcome, times: Mapping[str, float]) -> bool:
        """Return whether a request ended well and kept all limits; ``times`` are its own, in seconds, by metric.

        A time that a request does not have (the time per token of a single token) breaks no limit, except the first
        token, which every answer to be counted must have.
        """
        if not outcome.row.good:
            return False
        for slo, name in zip(self._chosen, self._of, strict=True):
            value = times.get(name)
            if value is None:
                if slo.metric.startswith("ttf"):
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
) -> list[SloResult]:
    """Return the result of each objective.

    ``value`` is ``None`` where there was nothing to measure. A percentile is that of the nearest rank: with few values
    the largest one. For a percentile or a share ``certified`` tells whether ``bound``, beyond which the true figure is
    not with 99 % (early stopping for percentiles, Clopper and Pearson for shares), keeps the limit too; where there are
    too few values for a bound, ``needs`` says how many it takes.
    """
    results = []
    for slo in slos:
        if slo.statistic == "share":
            result = _of_share(slo, outcomes, good)
        elif slo.statistic == "rate":
            value = getattr(rates, METRICS[slo.metric].rate_field)
            result = _result(slo, value, n=good if slo.metric == "goodput" else good_of(outcomes))
        else:
            result = _of_time(slo, histograms.get(TIMES[slo.metric].judged_by, Histogram()))
        results.append(result)
    return results


def _result(slo: Slo, value: float | None, n: int) -> SloResult:
    return SloResult(
        text=slo.text,
        metric=slo.metric,
        statistic=slo.statistic or "each",
        limit=slo.limit,
        n=n,
        value=None if value is None else round(value, 9),
        met=None if slo.of_requests else value is not None and slo.holds(value),
    )


def _of_share(slo: Slo, outcomes: OutcomeCounts, good: int) -> SloResult:
    counted = counted_of(outcomes)
    if slo.metric == "goodput":
        found = good
    else:
        found = bad_of(outcomes) if slo.metric == "error" else outcomes.get(RequestOutcome(slo.metric), 0)
    result = _result(slo, found / counted if counted else None, counted)
    limit = share_bound(found if slo.at_most else counted - found, counted)
    if limit is not None:
        result.bound = round(limit if slo.at_most else 1 - limit, 9)
        result.certified = slo.holds(result.bound)
    return result


def _of_time(slo: Slo, histogram: Histogram) -> SloResult:
    if slo.percent is None:
        return _result(slo, histogram.mean if slo.statistic == "mean" else histogram.longest, histogram.n)
    result = _result(slo, histogram.nearest_rank(slo.percent), histogram.n)
    result.bound = upper_bound(histogram, slo.percent)
    result.certified = result.bound is not None and slo.holds(result.bound)
    result.needs = values_needed(slo.percent) if result.bound is None else None
    return result


def missed(results: Iterable[SloResult | ChangeResult]) -> list[str]:
    """Return the texts of the objectives, or limits of changes, that were not met."""
    return [result.text for result in results if result.met is False]


def describe(result: SloResult) -> str:
    """Return the result of one objective as a line for people."""
    if result.statistic == "each":
        return f"{result.text}: counted by goodput"
    if result.value is None:
        return f"{result.text}: missed, there was nothing to measure"
    sentence = f"{result.text}: {'met' if result.met else 'MISSED'}, {_format(result, result.value)} (n {result.n})"
    if result.unjudged:
        sentence += f"; {result.unjudged} of the good ones were not judged by all rules"
        sentence += "" if result.unjudged_bound is None else f", of which at most {result.unjudged_bound:.1%} break one"
    if result.needs is not None:
        sentence += f"; n {result.n} < {result.needs}, too few to be sure of it"
    elif result.certified is False and result.met and result.bound is not None:
        sentence += f"; not certain, the bound is {_format(result, result.bound)}"
    return sentence


def _format(result: SloResult, value: float) -> str:
    if result.metric in TIMES:
        return f"{value * 1e3:.1f} ms"
    return f"{value:.2%}" if result.statistic == "share" else f"{value:.2f}/s"
