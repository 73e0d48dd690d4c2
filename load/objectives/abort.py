"""Conditions that end a run early, as ``--abort-on`` takes them.

    error>50%       more than half of the requests that have ended failed
    ttft:p99>5s     a latency beyond a limit; any SLO with the relation turned round
    slo             an SLO that is out of reach, whatever the rest of the run is like
    queue           a queue that surely grows; with --rate only

A condition on a figure needs :data:`LEAST` requests that have ended. ``slo`` counts how many requests may fail, or be
slower than the limit of a percentile, in a run of the planned length; where that number of requests is not known (a
closed loop), twice as many as the pace so far would give.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rejoinder.errors import UsageError
from rejoinder.formatting import format_seconds, plural, value_of
from rejoinder.load.objectives.slo import Slo, evaluate, parse_slo
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import TIMES
from rejoinder.model.outcomes import OutcomeCounts, RequestOutcome, bad_of, counted_of
from rejoinder.model.samples import Rates

LEAST: Final = 20
"""How many requests must have ended before a condition on a figure is checked."""
SLO_WORD: Final = "slo"
QUEUE_WORD: Final = "queue"
_TURNED: Final = {"<=": ">", ">=": "<", "<": ">=", ">": "<="}


@dataclass(frozen=True, slots=True)
class AbortCondition:
    """One condition; ``kept`` is the SLO that holds as long as it does not, ``None`` for ``slo`` and ``queue``."""

    text: str
    kept: Slo | None


def parse_abort(text: str, *, has_slos: bool = True, has_rate: bool = True) -> AbortCondition:
    """Return the condition that a text describes; raises :class:`UsageError` for any other text.

    ``has_slos`` is whether the run has SLOs, which the condition ``slo`` needs; ``has_rate`` whether it has a constant
    request rate, which the condition ``queue`` needs.
    """
    stripped = text.strip()
    hint = "Write it as 'error>50%', 'ttft:p99>5s', slo or queue."
    if stripped == QUEUE_WORD:
        if not has_rate:
            raise UsageError("--abort-on queue needs --rate.", "Add a rate, or remove the condition.")
        return AbortCondition(stripped, None)
    if stripped == SLO_WORD:
        if not has_slos:
            raise UsageError("--abort-on slo needs --slo.", "Add an SLO. Example: --slo 'error<1%'.")
        return AbortCondition(stripped, None)
    relation = next((sign for sign in _TURNED if sign in stripped), None)
    if relation is None:
        raise UsageError(f'"{text}" is not a condition to end a run.', hint)
    try:
        kept = parse_slo(stripped.replace(relation, _TURNED[relation], 1))
    except UsageError as error:
        raise UsageError(f'"{text}" is not a condition to end a run. {error.message}', hint) from error
    if kept.statistic == "rate" or kept.of_requests:
        raise UsageError(
            f'The condition "{text}" is about {"a rate" if kept.statistic else "single requests"}, expected a share, a '
            "percentile, the mean or the maximum.",
            hint,
        )
    return AbortCondition(stripped, kept)


def abort_reason(
    conditions: Sequence[AbortCondition],
    slos: Sequence[Slo],
    *,
    histograms: Mapping[str, Histogram],
    outcomes: OutcomeCounts,
    good: int,
    planned: float,
    growth: float | None = None,
) -> str:
    """Return which condition ends the run and why, in a sentence; empty where none does.

    ``outcomes`` and the others are of the requests that have ended; ``planned`` is how many requests the whole run has.
    ``growth`` is by how many requests a second a queue grows, where that is sure.
    """
    ended = counted_of(outcomes)
    for condition in conditions:
        if condition.text == QUEUE_WORD:
            if growth is not None:
                return f"The queue grew by {growth:.3g} requests/s."
        elif condition.kept is None:
            for slo in slos:
                if reason := _lost(slo, histograms, outcomes, good, max(planned, ended)):
                    return f"The run cannot meet {slo.text}: {reason}."
        elif ended >= LEAST:
            (result,) = evaluate([condition.kept], histograms=histograms, outcomes=outcomes, good=good, rates=_NO_RATES)
            # A lower bound within the limit proves nothing yet.
            if result.met is False and result.value is not None and not result.unknown:
                value = result.value_text()
                return f"--abort-on {condition.text} ended the run: {value} after {plural(ended, 'request')}."
    return ""


_NO_RATES: Final = Rates(**dict.fromkeys(Rates.__struct_fields__, 0.0))


def _lost(slo: Slo, histograms: Mapping[str, Histogram], outcomes: OutcomeCounts, good: int, planned: float) -> str:
    """Return why an SLO is out of reach, as a clause; empty where it is not."""
    if slo.statistic == "share":
        if slo.metric == "goodput":
            found, word = counted_of(outcomes) - good, "are not good"
        elif slo.metric == "error":
            found, word = bad_of(outcomes), "failed"
        else:
            found, word = outcomes.get(RequestOutcome(slo.metric), 0), f"are {slo.metric}"
        if slo.at_most != (slo.metric != "goodput"):
            return ""
        allowed = slo.limit * planned if slo.at_most else (1 - slo.limit) * planned
        return f"{plural(found, 'request')} {word}, {allowed:,.0f} may" if found > allowed else ""
    if slo.metric not in TIMES:
        return ""
    histogram = histograms.get(TIMES[slo.metric].judged_by, Histogram())
    if slo.statistic == "max":
        longest = value_of(histogram.longest)
        return f"the maximum is {format_seconds(longest)}" if longest is not None and not slo.holds(longest) else ""
    if slo.percent is None or TIMES[slo.metric].pooled:
        return ""
    above, allowed = histogram.above(slo.limit), (1 - slo.percent / 100) * planned
    return f"{plural(above, 'request')} took longer, {allowed:,.0f} may" if above > allowed else ""
