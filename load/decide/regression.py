"""A gate on change: repeated runs against those of a baseline, judged by how far apart they are and how sure that is.

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
from typing import Any, Final

from rejoinder.errors import UsageError, suggest
from rejoinder.load.decide.confidence import PERCENTILES
from rejoinder.load.decide.slo import RATES, TIMES, parse_metric, parse_statistic
from rejoinder.load.measure.measure import ENDED_WELL
from rejoinder.model.histogram import Histogram
from rejoinder.model.runfile import read_run

SURE: Final = 0.05
"""A difference counts as one when chance alone brings it at most this often."""
LEAST_REPEATS: Final = 3
"""With fewer on a side no difference whatever reaches 5 %: of 20 ways to deal out 3 and 3 values one is 5 %."""
MAX_REPEATS: Final = 50
_WAYS: Final = 20_000
_SHAPE: Final = re.compile(
    r"\s*([A-Za-z_0-9]+)\s*(?::\s*([A-Za-z]+[0-9.]*))?\s*(<=|>=|<|>)\s*([-+])([0-9]*\.?[0-9]+)\s*%\s*\Z"
)
_HINT: Final = "Write it like 'ttft:p99<+10%' or 'output_tokens>-5%'."
_GOODPUT: Final = "goodput"
_LEAST: Final = 1e-9
"""Stands for 0, which has no logarithm."""


@dataclass(frozen=True, slots=True)
class RegressionLimit:
    """How far a figure may move from the baseline's; ``limit`` is a share, like 0.1 or -0.05."""

    text: str
    figure: str
    limit: float

    @property
    def timed(self) -> bool:
        """Whether it is a time, of which more is worse; of a rate or share less is."""
        return self.figure.partition(":")[0] in TIMES


def parse_change(text: str) -> RegressionLimit:
    """Return the limit that a text sets; raises :class:`UsageError` for what is none."""
    match = _SHAPE.match(text)
    if match is None:
        raise UsageError(f"{text!r} is no limit of a change.", _HINT)
    name, statistic, relation, sign, number = match.groups()
    metric = parse_metric(name)
    known = (*TIMES, *RATES, _GOODPUT)
    if metric not in known:
        hint = suggest(metric, known, f"There are {', '.join(known)}.")
        raise UsageError(f"The limit {text!r} names no figure that can be compared: {name!r}.", hint)
    limit = float(sign + number) / 100
    timed = metric in TIMES
    if timed != relation.startswith("<") or timed != (sign == "+") or limit <= -1:
        worse = f"'{name}:p99<+10%'" if timed else f"'{name}>-5%'"
        raise UsageError(f"The limit {text!r} points the wrong way.", f"Write how much worse it may get, like {worse}.")
    shown = text.strip()
    if not timed:
        if statistic:
            raise UsageError(f"The limit {text!r} asks for {statistic} of {metric}, which is one number.", _HINT)
        return RegressionLimit(shown, metric, limit)
    if statistic is None:
        raise UsageError(f"The limit {text!r} needs a percentile.", f"Write it like '{name}:p99<+10%'.")
    return RegressionLimit(shown, f"{metric}:{parse_statistic(shown, statistic)}", limit)


def parse_changes(texts: Iterable[str]) -> list[RegressionLimit]:
    """Return several limits; raises :class:`UsageError` as :func:`parse_change` does."""
    return [parse_change(text) for text in texts]


def figures(
    histograms: Mapping[str, Histogram],
    rates: Mapping[str, float],
    outcomes: Mapping[str, int],
    good: int | None,
    changes: Sequence[RegressionLimit] = (),
) -> dict[str, float]:
    """Return what one repeat is compared by: statistics of times in seconds, rates, goodput where there are limits."""
    found: dict[str, float] = {}
    for metric in TIMES:
        histogram = histograms.get(metric if metric == "sched_lag" else f"{metric}_ok")
        if histogram is None or histogram.mean is None:
            continue
        asked = [change.figure for change in changes if change.figure.startswith(f"{metric}:p")]
        percents = {*PERCENTILES, *(float(figure.partition(":p")[2]) for figure in asked)}
        for percent in sorted(percents):
            value = histogram.percentile(percent)
            if value is not None:
                found[f"{metric}:p{percent:g}"] = value
        found[f"{metric}:mean"] = round(histogram.mean, 9)
        found[f"{metric}:max"] = histogram.max / 1e6
    found |= {name: rates[line] for name, line in RATES.items() if line in rates}
    started = sum(count for name, count in outcomes.items() if name != "cancelled")
    if started:
        found[_GOODPUT] = (sum(outcomes.get(name, 0) for name in ENDED_WELL) if good is None else good) / started
    return found


def read_repeats(path: Path | str) -> list[dict[str, float]]:
    """Return the figures of the repeats of a recorded run.

    Raises :class:`UsageError` when it has too few, and :class:`~rejoinder.errors.RunFileError` when it is no run file.
    """
    lines = read_run(Path(path)).samples_of("load")
    repeats = lines[-1].get("repeats") if lines else None
    found = [
        {str(name): float(value) for name, value in repeat["figures"].items() if isinstance(value, (int, float))}
        for repeat in (repeats if isinstance(repeats, list) else [])
        if isinstance(repeat, dict) and repeat.get("of") == "endpoint" and isinstance(repeat.get("figures"), dict)
    ]
    if len(found) < LEAST_REPEATS:
        raise UsageError(
            f"The baseline {path} has {len(found) or 'no'} repeats, and {LEAST_REPEATS} are the least to compare with.",
            "Record it with --repeats 5.",
        )
    return found


def judge(
    change: RegressionLimit, before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """Return what became of one figure, as data for the ``load`` line.

    ``before`` and ``after`` (geometric means), ``change`` (a share), ``limit``, ``n`` (repeats of both sides), ``p``
    (how often chance alone moves it as far in its direction), ``p_limit`` (how often a change that is not within the
    limit would look like this one), ``met`` and ``verdict``:

    ``worse``    beyond the limit, and a difference beyond doubt: the only one that is not met
    ``better``   a difference beyond doubt, to the good side
    ``kept``     a change beyond the limit can be excluded
    ``unclear``  neither: the repeats differ too much among each other, or there are too few
    """
    sides = [[repeat.get(change.figure) for repeat in side] for side in (before, after)]
    values = [[max(value, _LEAST) for value in side if value is not None] for side in sides]
    result: dict[str, Any] = {"text": change.text, "figure": change.figure, "limit": change.limit}
    result["n"] = [len(side) for side in values]
    if min(result["n"]) < LEAST_REPEATS:
        # Where nothing ended well there are no times: that is worse than any limit, if the other side has them.
        gone = not values[1] and len(values[0]) >= LEAST_REPEATS <= len(sides[1])
        return {**result, "verdict": "worse" if gone else "unclear", "met": not gone}
    # From here on, greater is worse.
    sign = 1 if change.timed else -1
    old, new = ([sign * math.log(value) for value in side] for side in values)
    moved, edge = fmean(new) - fmean(old), sign * math.log1p(change.limit)
    worse, better = permutation_p(old, new), permutation_p(new, old)
    within = permutation_p(new, [value + edge for value in old])
    if moved > edge and worse <= SURE:
        verdict = "worse"
    elif better <= SURE:
        verdict = "better"
    else:
        verdict = "kept" if within <= SURE else "unclear"
    return {
        **result,
        "before": math.exp(sign * fmean(old)),
        "after": math.exp(sign * fmean(new)),
        "change": math.expm1(sign * moved),
        "p": worse if moved > 0 else better,
        "p_limit": within,
        "verdict": verdict,
        "met": verdict != "worse",
    }


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


def order(repeats: int, against: bool) -> Iterator[tuple[int, str]]:
    """Yield number and side of each run: ``endpoint``, or with ``against`` both in the order A B B A."""
    for number in range(repeats):
        sides = ("endpoint", "against") if number % 2 == 0 else ("against", "endpoint")
        for side in sides if against else ("endpoint",):
            yield number, side


def describe(result: Mapping[str, Any]) -> str:
    """Return the result of one limit as a line for people."""
    words = {"worse": "WORSE", "better": "better", "kept": "kept", "unclear": "cannot tell"}[result["verdict"]]
    n = " and ".join(map(str, result["n"]))
    if "change" not in result:
        return f"{result['text']}: {words}, not every repeat has the figure (n {n})"
    shown = [_shown(result["figure"], result[name]) for name in ("before", "after")]
    text = f"{result['text']}: {words}, {shown[0]} to {shown[1]} ({result['change']:+.1%}, p {result['p']:.3f}, n {n})"
    if result["verdict"] == "unclear":
        text += "; more --repeats, or longer ones, would tell"
    return text


def _shown(figure: str, value: float) -> str:
    if figure.partition(":")[0] in TIMES:
        return f"{value * 1e3:.1f} ms"
    return f"{value:.2%}" if figure == _GOODPUT else f"{value:.2f}/s"
