"""The figures that are true of a load, by the server's own log, and those of the run file to compare with them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

from tests.hostile.command import Ended
from tests.truth.server import Fate, Seen, TruthServer

from rejoinder.model.histogram import Histogram, values_for
from rejoinder.model.outcomes import OUTCOMES, RequestOutcome
from rejoinder.model.runfile import Run
from rejoinder.model.samples import HistogramSample, LoadSample, RequestSample

ANSWERED: Final = (Fate.OK, Fate.INCOMPLETE, Fate.NONCONFORMING)
REFUSED: Final = (Fate.FAILED, Fate.HTTP_4XX, Fate.HTTP_429, Fate.HTTP_5XX)
WITHOUT_END: Final = (Fate.OPEN, Fate.TRANSPORT, Fate.TRUNCATED)
BAND: Final = 2.0
"""Percentage points within which a percentile may be that of the server."""
GROUPS: Final = {"unjudged": Fate.OK, "timeout": Fate.OPEN, "censored": Fate.OPEN}
"""Outcomes that the server cannot tell apart."""


@dataclass(frozen=True, slots=True)
class Value:
    """A time in seconds; ``open`` ones are only known to be longer."""

    seconds: float
    open: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A statistic; ``least`` says that the truth is at least so much."""

    seconds: float
    least: bool = False

    def __str__(self) -> str:
        return f"{'at least ' if self.least else ''}{1e3 * self.seconds:.1f} ms"


def rank(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile."""
    return sorted(values)[max(1, math.ceil(round(percent * len(values) / 100, 9))) - 1]


def band(values: Sequence[Value], percent: float) -> tuple[float, float]:
    """Return the percentiles a little below and above one: where a distribution jumps, one request decides."""
    seconds = [value.seconds for value in values]
    about = max(BAND, 150 / len(values))
    return rank(seconds, max(0.0, percent - about)), rank(seconds, min(100.0, percent + about))


def figure_of(values: Sequence[Value], statistic: str) -> Figure | None:
    """Return a percentile, the mean or the maximum; ``None`` where there are too few values."""
    if not values:
        return None
    seconds, cut = [value.seconds for value in values], any(value.open for value in values)
    if statistic == "mean":
        return Figure(sum(seconds) / len(values), cut)
    if statistic == "max":
        return Figure(max(seconds), cut)
    percent = float(statistic.removeprefix("p"))
    if len(values) < values_for(percent):
        return None
    low = rank(seconds, percent)
    high = rank([math.inf if value.open else value.seconds for value in values], percent)
    return Figure(low, high > 1.01 * low + 0.001)


@dataclass(frozen=True)
class Met:
    """A load that ended, and the server that it met."""

    server: TruthServer
    ended: Ended
    concurrency: int | None
    duration: float | None

    @cached_property
    def seen(self) -> list[Seen]:
        """What the server saw, in order."""
        return self.server.seen

    @cached_property
    def load(self) -> LoadSample:
        """The totals of the run."""
        found = self._run.load
        assert found is not None, self.ended.text
        return found

    @cached_property
    def _run(self) -> Run:
        return self.ended.run()

    @cached_property
    def requests(self) -> list[RequestSample]:
        """The single requests of the run file."""
        return self._run.samples_of(RequestSample)

    @cached_property
    def origin(self) -> float:
        """The start of the run on the server's clock."""
        return _begun(self.seen[0]) - min(request.t for request in self.requests)

    def histogram(self, metric: str) -> Histogram | None:
        """Return a distribution of the run file."""
        found = [line.values for line in self._run.samples_of(HistogramSample) if line.metric == metric]
        return found[0] if found else None

    def reported(self, metric: str, statistic: str) -> Figure | None:
        """Return what the run file says of a statistic, ``None`` where it gives none."""
        if statistic in ("mean", "max"):
            histogram = self.histogram(metric)
            value = None if histogram is None else histogram.mean if statistic == "mean" else histogram.longest
            return None if value is None else Figure(value.value, value.at_least)
        line = next((line for line in self.load.percentiles if line.metric == metric), None)
        found = line.at(float(statistic.removeprefix("p"))) if line else None
        return None if found is None or found.value is None else Figure(found.value, found.at_least)

    def values(self, metric: str) -> list[Value]:
        """Return the true values of a time of all requests whose answer ended, or should have."""
        fates = REFUSED if metric == "failed_latency" else (*ANSWERED, *WITHOUT_END)
        return [value for one in self.seen if one.fate in fates for value in _values(one, metric)]

    @cached_property
    def fates(self) -> Counter[str]:
        """How the creates ended, by the server."""
        return Counter(one.fate for one in self.seen)

    @cached_property
    def outcomes(self) -> Counter[str]:
        """How they ended by the run file, by the names of the server."""
        found: Counter[str] = Counter()
        for outcome, count in self.load.outcomes.items():
            found[GROUPS.get(str(outcome), str(outcome))] += count
        return found

    def share(self, name: str) -> float:
        """Return the share of an outcome, or of all failed ones (``error``), among those that were started."""
        if name == "error":
            good = sum(count for outcome, count in self.load.outcomes.items() if OUTCOMES[outcome].good)
            return 1 - good / self.load.started
        return self.load.outcomes.get(RequestOutcome(name), 0) / self.load.started

    def ends_within(self, low: float, high: float) -> int:
        """Return how many good answers ended in a part of the run, in seconds from its start."""
        return sum(
            one.fate == Fate.OK and one.end is not None and low <= one.end - self.origin < high for one in self.seen
        )

    def tokens_within(self, low: float, high: float) -> float:
        """Return how many output tokens of good answers were sent in a part of the run."""
        total = 0.0
        for one in self.seen:
            usage = one.answer.counted if one.answer else None
            if one.fate != Fate.OK or usage is None:
                continue
            pieces = one.content or ([(one.end, 1)] if one.end is not None else [])
            deltas, streamed = sum(count for _, count in pieces), _seen_tokens(one)
            total += sum(streamed * count / deltas for at, count in pieces if low <= at - self.origin < high)
            begin, first = _begun(one) - self.origin, pieces[0][0] - self.origin
            before = max(0.0, min(high, first) - max(low, begin)) / (first - begin)
            total += (usage.output - streamed) * before  # made before anything was streamed
        return total

    def service_times(self) -> list[float]:
        """Return how long the server worked on each good answer, in seconds."""
        good = [one for one in self.seen if one.fate == Fate.OK]
        return [one.end - one.served for one in good if one.end is not None and one.served is not None]

    def usage(self, field: str) -> int:
        """Return a sum over the usage of all whole answers; ``output`` has the deltas of those that were cut too."""
        answers = [one.answer.counted for one in self.seen if one.fate in ANSWERED and one.answer]
        cut = self.cut_tokens if field == "output" else 0
        return cut + sum(int(getattr(usage, field)) for usage in answers if usage)

    @property
    def cut_tokens(self) -> int:
        """The tokens that were sent of answers that did not end: a word each."""
        return sum(count for one in self.seen if one.fate in WITHOUT_END for _, count in one.content)

    def in_flight(self, low: float, high: float) -> float:
        """Return how many requests were at the server on average in a part of the run."""
        total = 0.0
        for one in self.seen:
            begin, end = _begun(one) - self.origin, (one.over or math.inf) - self.origin
            total += max(0.0, min(high, end) - max(low, begin))
        return total / (high - low)


def _begun(one: Seen) -> float:
    return one.at if one.connected is None else one.connected


def _values(one: Seen, metric: str) -> list[Value]:
    begun = _begun(one)
    cut = one.fate in WITHOUT_END
    at: float | None
    match metric:
        case "itl":
            return [Value(later[0] - earlier[0]) for earlier, later in pairwise(one.content)]
        case "max_gap":
            gaps = [later[0] - earlier[0] for earlier, later in pairwise(one.content)]
            return [Value(max(gaps), open=cut)] if gaps else []
        case "tail":
            return [Value(one.end - one.content[-1][0])] if one.content and one.end is not None else []
        case "tpot":
            usage = one.answer.counted if one.answer else None
            if (usage is None and not cut) or len(one.content) < 2:
                return []
            after = _seen_tokens(one) * (1 - one.content[0][1] / sum(count for _, count in one.content))
            return [Value((one.content[-1][0] - one.content[0][0]) / after)] if after else []
        case "ttfb":
            at = one.head
        case "ttfe":
            at = one.event
        case "ttft":
            at = one.content[0][0] if one.content else None
        case "ttfo":
            at = one.output
        case "e2e":
            at = one.end if one.is_response else None
        case "failed_latency":
            at = one.end
        case _:
            raise ValueError(metric)
    if at is not None:
        return [Value(at - begun)]
    if metric in ("ttfb", "ttfe", "ttft", "ttfo", "e2e") and cut and one.gone is not None:
        return [Value(one.gone - begun, open=True)]
    return []


def _seen_tokens(one: Seen) -> int:
    """Return how many of the tokens came as deltas: hidden reasoning did not, nor what was never sent."""
    if one.fate in WITHOUT_END:
        return sum(count for _, count in one.content)
    assert one.answer is not None
    usage = one.answer.counted
    assert usage is not None
    streamed = any(delta.kind == "reasoning_text" for delta in one.answer.deltas)
    return usage.output if streamed else usage.output - usage.reasoning
