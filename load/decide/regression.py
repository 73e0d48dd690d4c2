"""Regression: repeated runs against those of a baseline, judged by how far apart they are and how sure that is.

    ttft:p99<+10%        the p99 may be at most 10 % longer than the baseline's
    output_tokens>-5%    the rate may be at most 5 % lower

One figure of one run says nothing of the next run, so every figure is taken once from each of several repeats. The
repeats of both sides are compared by an exact permutation test on their logarithms (R. A. Fisher, The Design of
Experiments, 1935; E. Pitman 1937): were there no difference, every way to deal the values out to the two sides would
have been as likely, and p is the share of those ways in which the means lie at least as far apart as they do. Above
20,000 ways as many are drawn, and the one that was seen is counted among them (Phipson and Smyth 2010).

Where both endpoints are loaded in one session their repeats come in the order A B B A A B B A, in which a steady drift
adds the same to both sides.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

from rejoinder.errors import UsageError, suggest
from rejoinder.formatting import plural
from rejoinder.load.objectives.slo import parse_statistic
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import DISTRIBUTIONS, METRICS, RATES, SPEEDS, format_change_figure, metric_named
from rejoinder.model.outcomes import OutcomeCounts, counted_of
from rejoinder.model.runfile import read_run
from rejoinder.model.samples import PERCENTILES, ChangeResult, Rates, Side

SURE: Final = 0.05
"""A difference counts as one when chance alone brings it at most this often."""
LEAST_REPEATS: Final = 3
"""With fewer on a side no difference whatever reaches 5 %: of 20 ways to deal out 3 and 3 values one is 5 %."""
_WAYS: Final = 20_000
_SHAPE: Final = re.compile(
    r"\s*([A-Za-z_0-9]+)\s*(?::\s*([A-Za-z]+[0-9.]*))?\s*(<=|>=|<|>)\s*([-+])([0-9]*\.?[0-9]+)\s*%\s*\Z"
)
_HINT: Final = "Write it as 'ttft:p99<+10%' or 'output_tokens>-5%'."
_GOODPUT: Final = "goodput"
_LEAST: Final = 1e-9
"""Stands for 0, which has no logarithm."""


@dataclass(frozen=True, slots=True)
class RegressionLimit:
    """How far a figure may change from the baseline's; ``limit`` is a share, such as 0.1 or -0.05."""

    text: str
    figure: str
    limit: float

    @property
    def higher_is_better(self) -> bool:
        """Whether more of the figure is better."""
        return METRICS[self.figure.partition(":")[0]].higher_is_better


def parse_change(text: str) -> RegressionLimit:
    """Return the regression limit that a text describes; raises :class:`UsageError` for any other text."""
    match = _SHAPE.match(text)
    if match is None:
        raise UsageError(f'"{text}" is not a regression limit.', _HINT)
    name, statistic, relation, sign, number = match.groups()
    metric = metric_named(name)
    known = [row.name for row in METRICS.values() if row.change]
    if metric not in known:
        hint = suggest(metric, known, f"Use one of {', '.join(known)}.")
        raise UsageError(f'The regression limit "{text}" has an unknown figure: "{name}".', hint)
    limit = float(sign + number) / 100
    timed, less = metric in DISTRIBUTIONS, not METRICS[metric].higher_is_better
    if less != relation.startswith("<") or less != (sign == "+") or limit <= -1:
        worse = f"'{name}{':p99' if timed else ''}<+10%'" if less else f"'{name}{':p1' if timed else ''}>-5%'"
        raise UsageError(
            f'The regression limit "{text}" limits an improvement.', f"Write how much worse the figure may be: {worse}."
        )
    stripped = text.strip()
    if not timed:
        if statistic:
            raise UsageError(
                f'The regression limit "{text}" has the statistic {statistic}, but {metric} is a single number.', _HINT
            )
        return RegressionLimit(stripped, metric, limit)
    if statistic is None:
        raise UsageError(
            f'The regression limit "{text}" needs a percentile.',
            f"Write it as '{name}:p99<+10%'." if less else f"Write it as '{name}:p1>-5%'.",
        )
    return RegressionLimit(
        stripped, f"{metric}:{parse_statistic(stripped, statistic, of_speed=metric in SPEEDS)}", limit
    )


def parse_changes(texts: Iterable[str]) -> list[RegressionLimit]:
    """Return several limits; raises :class:`UsageError` as :func:`parse_change` does."""
    return [parse_change(text) for text in texts]


def figures(
    histograms: Mapping[str, Histogram],
    rates: Rates,
    outcomes: OutcomeCounts,
    good: int,
    changes: Sequence[RegressionLimit] = (),
) -> dict[str, float]:
    """Return what one repeat is compared by: statistics of times in seconds, rates, and the share of ``good`` requests.

    Percentiles are those of the nearest rank: repeats are as long as each other, so also the largest values compare.
    What is only known as a lower bound, because requests have no end, is left out.
    """
    found: dict[str, float] = {}
    for name, metric in DISTRIBUTIONS.items():
        histogram = histograms.get(metric.judged_by)
        if not metric.change or histogram is None:
            continue
        statistics = {"mean": histogram.mean}
        statistics |= {"min": histogram.at_rank(1)} if metric.higher_is_better else {"max": histogram.longest}
        percents = [100 - percent for percent in PERCENTILES] if metric.higher_is_better else PERCENTILES
        limited = [change.figure for change in changes if change.figure.startswith(f"{name}:p")]
        for percent in sorted({*percents, *(float(figure.partition(":p")[2]) for figure in limited)}):
            statistics[f"p{percent:g}"] = histogram.nearest_rank(percent)
        for statistic, figure in statistics.items():
            if figure is not None and not figure.at_least:
                found[f"{name}:{statistic}"] = round(figure.value, 9)
    measured = {name: getattr(rates, metric.rate_field) for name, metric in RATES.items()}
    found |= {name: rate for name, rate in measured.items() if rate is not None}
    if counted := counted_of(outcomes):
        found[_GOODPUT] = good / counted
    return found


def read_repeats(path: Path | str) -> list[dict[str, float]]:
    """Return the figures of the repeats of a recorded run.

    Raises :class:`UsageError` when it has too few, and :class:`~rejoinder.errors.RunFileError` when it is no run file.
    """
    load = read_run(Path(path)).load
    found = [repeat.figures for repeat in (load.repeats if load else ()) if repeat.of == "endpoint"]
    if len(found) < LEAST_REPEATS:
        raise UsageError(
            f"The baseline run {path} has {plural(len(found), 'repetition')}, expected at least {LEAST_REPEATS}.",
            "Record it with --repeats 5.",
        )
    return found


def judge(
    change: RegressionLimit, before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]]
) -> ChangeResult:
    """Return the result of one regression limit, given the figures of the repetitions on both sides.

    ``worse``    beyond the limit, and significant: the only verdict that misses the limit
    ``better``   a significant improvement
    ``kept``     a change beyond the limit can be ruled out
    ``unclear``  none of these: the repetitions vary too much, or there are too few
    """
    sides = [[repeat.get(change.figure) for repeat in side] for side in (before, after)]
    values = [[max(value, _LEAST) for value in side if value is not None] for side in sides]
    n = (len(values[0]), len(values[1]))
    result = ChangeResult(text=change.text, figure=change.figure, limit=change.limit, n=n, verdict="unclear", met=True)
    if min(n) < LEAST_REPEATS:
        # Without succeeded requests there are no latencies. That is worse than any limit, if the other side has them.
        if not values[1] and len(values[0]) >= LEAST_REPEATS <= len(sides[1]):
            result.verdict, result.met = "worse", False
        return result
    # From here on, greater is worse.
    sign = -1 if change.higher_is_better else 1
    old, new = ([sign * math.log(value) for value in side] for side in values)
    moved, edge = fmean(new) - fmean(old), sign * math.log1p(change.limit)
    worse, better = permutation_p(old, new), permutation_p(new, old)
    within = permutation_p(new, [value + edge for value in old])
    if moved > edge and worse <= SURE:
        result.verdict, result.met = "worse", False
    elif better <= SURE:
        result.verdict = "better"
    elif within <= SURE:
        result.verdict = "kept"
    # Repetitions without the figure may have had any: those of requests without an end are left out.
    if (result.verdict == "worse" and n[0] < len(before)) or (result.verdict != "worse" and n[1] < len(after)):
        result.verdict, result.met = "unclear", True
    result.before, result.after = math.exp(sign * fmean(old)), math.exp(sign * fmean(new))
    result.change = math.expm1(sign * moved)
    result.p, result.p_limit = worse if moved > 0 else better, within
    return result


def permutation_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how often chance alone would put the mean of the second sample so far above that of the first.

    Neither may be empty. The least that can come out is one in all ways to deal the values out.
    """
    pool = [*first, *second]
    seen = math.fsum(second)
    slack = 1e-9 * max(1.0, *map(abs, pool))
    sums = list(_dealt(pool, len(second)))
    return sum(value >= seen - slack for value in sums) / len(sums)


def _dealt(pool: Sequence[float], size: int) -> Iterator[float]:
    """Yield the sum of the second side in every way to deal the values out, or in many random ones and the seen one."""
    if math.comb(len(pool), size) <= _WAYS:
        yield from (math.fsum(side) for side in itertools.combinations(pool, size))
        return
    generator = random.Random(0)
    yield math.fsum(pool[len(pool) - size :])
    for _ in range(_WAYS - 1):
        yield math.fsum(generator.sample(pool, size))


def order(repeats: int, against: bool) -> Iterator[tuple[int, Side]]:
    """Yield number and side of each run: ``endpoint``, or with ``against`` both in the order A B B A."""
    for number in range(repeats):
        sides: tuple[Side, ...] = ("endpoint", "against") if number % 2 == 0 else ("against", "endpoint")
        for side in sides if against else ("endpoint",):
            yield number, side


def describe(result: ChangeResult) -> str:
    """Return the result of one regression limit as a line for people."""
    verdict = {"worse": "missed", "better": "met, improved", "kept": "met", "unclear": "unclear"}[result.verdict]
    n = f"{result.n[0]} and {plural(result.n[1], 'repetition')}"
    if result.change is None or result.before is None or result.after is None or result.p is None:
        return f"{result.text}: {verdict} (too few values: {n})"
    moved = f"{format_change_figure(result.figure, result.before)} to "
    moved += format_change_figure(result.figure, result.after)
    text = f"{result.text}: {verdict}: {moved} ({100 * result.change:+.1f} %, p = {result.p:.3f}, {n})"
    return f"{text}. Use more or longer repetitions." if result.verdict == "unclear" else text
