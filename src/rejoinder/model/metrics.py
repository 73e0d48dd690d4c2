"""The table of what a load run measures. Everything that writes, limits, shows or explains a metric reads it.

To add a time, add a row to :data:`TIMES` and its measuring function to :data:`rejoinder.load.measure.measure.MEASURES`.
Formulas name these moments of a request: t0, its first byte is written; t1, the first content arrives; tn, the last
content arrives; te, the terminal event arrives.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from rejoinder.model.outcomes import OUTCOMES


class Place(StrEnum):
    """Where a metric is shown, beside the tables that show every metric (latencies of the page, histograms)."""

    REQUEST = "request"  # a field of request lines, a column of the CSV
    PROGRESS = "progress"  # the closing lines of plain Locust
    STEP = "step"  # a field of each step of a search
    REPEAT = "repeat"  # a column of the repeats, where no limit chooses others
    TERMINAL = "terminal"
    HEADLINE = "headline"  # the figures at the top of the page
    CHART = "chart"  # a curve of latency by percentile
    COMPARISON = "comparison"
    DIFF = "diff"


class Over(StrEnum):
    """The requests whose values a distribution holds."""

    ANSWERED = "answered"  # and, in a second distribution with the suffix _ok, the good ones of them
    ANSWERED_ONLY = "answered_only"  # without the second distribution
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row of the table.

    ``definition`` says from what to what, ``elsewhere`` what other tools call it. ``short`` is the title where room is
    scarce. ``higher_is_better`` holds for rates and shares. ``objective`` and ``change``: whether ``--slo`` and
    ``--max-change`` take it. ``per_request`` names the time of a single request that a limit without a statistic
    applies to; empty: there is none. ``rate_field`` names a rate in the ``load`` line. ``shown`` gives for each place
    the percentiles that it shows. ``pooled``: a request has many values, which hang together, so that they are not
    tested. ``since`` names the metric that this one extends back to the scheduled start.
    """

    name: str
    unit: str
    title: str
    definition: str
    elsewhere: str = ""
    short: str = ""
    higher_is_better: bool = False
    objective: bool = True
    change: bool = True
    per_request: str = ""
    rate_field: str = ""
    aliases: tuple[str, ...] = ()
    shown: Mapping[Place, tuple[float, ...]] = field(default_factory=dict)
    over: Over = Over.ANSWERED
    pooled: bool = False
    since: str = ""

    @property
    def meaning(self) -> str:
        """The definition, with the names of other tools."""
        return f"{self.definition}; {self.elsewhere}" if self.elsewhere else self.definition

    @property
    def judged_by(self) -> str:
        """The distribution that objectives and changes are judged by."""
        return f"{self.name}_ok" if self.over is Over.ANSWERED else self.name

    def extremes(self, place: Place) -> tuple[float, ...]:
        """Return the percentiles that a place shows of this metric; empty: it does not show it."""
        return self.shown.get(place, ())


_ALL: Final = (50.0, 90.0, 99.0, 100.0)
_ENDS: Final = (50.0, 99.0)

TIMES: Final[dict[str, Metric]] = {
    row.name: row
    for row in (
        Metric(
            name="ttft",
            unit="s",
            title="Time to first token",
            short="TTFT",
            definition="request to first event with generated content of any kind",
            elsewhere="TTFT in vLLM, AIPerf and GuideLLM",
            per_request="ttft",
            shown={
                Place.REQUEST: (),
                Place.PROGRESS: _ALL,
                Place.STEP: _ENDS,
                Place.REPEAT: _ENDS,
                Place.TERMINAL: (50.0, 90.0, 99.0),
                Place.HEADLINE: _ENDS,
                Place.CHART: (),
                Place.COMPARISON: _ENDS,
                Place.DIFF: _ENDS,
            },
        ),
        Metric(
            name="ttft_intended",
            unit="s",
            title="First token, from schedule",
            definition="scheduled start to first event with generated content",
            per_request="ttft_intended",
            since="ttft",
        ),
        Metric(
            name="ttfo",
            unit="s",
            title="Time to first output text",
            definition="request to first event with answer text, reasoning left out",
            per_request="ttfo",
            shown={Place.REQUEST: ()},
        ),
        Metric(
            name="ttfb",
            unit="s",
            title="Time to first byte",
            definition="request to the end of the reply's head",
            per_request="ttfb",
            shown={Place.REQUEST: ()},
        ),
        Metric(
            name="ttfe",
            unit="s",
            title="Time to first event",
            definition="request to first complete event, mostly response.created",
            per_request="ttfe",
            shown={Place.REQUEST: ()},
        ),
        Metric(
            name="itl",
            unit="s",
            title="Gap between tokens",
            short="gap",
            definition="time between receives that carried content, of all streams together",
            elsewhere="ITL in vLLM, inter chunk latency in AIPerf",
            per_request="max_gap",
            aliases=("gap",),
            pooled=True,
            shown={
                Place.PROGRESS: _ALL,
                Place.STEP: _ENDS,
                Place.REPEAT: (99.0,),
                Place.TERMINAL: (50.0, 90.0, 99.0),
                Place.HEADLINE: (99.0,),
                Place.CHART: (),
                Place.COMPARISON: _ENDS,
                Place.DIFF: _ENDS,
            },
        ),
        Metric(
            name="max_gap",
            unit="s",
            title="Longest gap",
            definition="longest gap of each stream: the stall that its reader saw",
            per_request="max_gap",
            shown={Place.REQUEST: (), Place.PROGRESS: _ALL, Place.COMPARISON: (99.0,), Place.DIFF: _ENDS},
        ),
        Metric(
            name="tpot",
            unit="s",
            title="Time per output token",
            definition="first to last content ÷ tokens after the first receive, a mean of each stream",
            elsewhere="TPOT in vLLM, inter token latency in AIPerf and GuideLLM",
            per_request="tpot",
            shown={Place.PROGRESS: _ALL, Place.STEP: (50.0,), Place.DIFF: _ENDS},
        ),
        Metric(
            name="e2e",
            unit="s",
            title="End to end",
            short="end to end",
            definition="request to terminal event, or to the last byte of a reply that is no stream",
            elsewhere="E2EL in vLLM, request latency in AIPerf and GuideLLM",
            per_request="e2e",
            aliases=("latency",),
            shown={
                Place.REQUEST: (),
                Place.PROGRESS: _ALL,
                Place.STEP: _ENDS,
                Place.REPEAT: (50.0,),
                Place.TERMINAL: (50.0, 90.0, 99.0),
                Place.HEADLINE: (50.0,),
                Place.CHART: (),
                Place.COMPARISON: _ENDS,
                Place.DIFF: _ENDS,
            },
        ),
        Metric(
            name="e2e_intended",
            unit="s",
            title="End to end, from schedule",
            definition="scheduled start to terminal event: what a user saw who came on time",
            elsewhere="corrected latency in wrk2",
            per_request="e2e_intended",
            since="e2e",
            shown={Place.PROGRESS: _ALL, Place.DIFF: _ENDS},
        ),
        Metric(
            name="tail",
            unit="s",
            title="Tail",
            definition="last content to terminal event",
            per_request="tail",
            shown={Place.REQUEST: ()},
        ),
        Metric(
            name="sched_lag",
            unit="s",
            title="Start after schedule",
            definition="scheduled to actual start of a request",
            over=Over.ANSWERED_ONLY,
        ),
        Metric(
            name="dispatch_lag",
            unit="s",
            title="Start after dispatch",
            definition="how late the generator turned to a request that was free to start",
            over=Over.ALL,
            objective=False,
            change=False,
        ),
    )
}
"""Times in seconds, in the order in which tables list them; each has a histogram in the run file."""

RATES: Final[dict[str, Metric]] = {
    row.name: row
    for row in (
        Metric(
            name="requests",
            unit="1/s",
            title="Requests ok/s",
            definition="good answers a second in the steady part of the run",
            higher_is_better=True,
            rate_field="ok_per_s",
            aliases=("rps",),
        ),
        Metric(
            name="output_tokens",
            unit="1/s",
            title="Output tok/s",
            definition="output tokens of good answers a second, counted when they arrived",
            higher_is_better=True,
            rate_field="ok_output_tokens_per_s",
            aliases=("throughput", "tokens"),
            shown={Place.REPEAT: ()},
        ),
        Metric(
            name="input_tokens",
            unit="1/s",
            title="Input tok/s",
            definition="input tokens of answers a second, counted when their first content arrived",
            higher_is_better=True,
            rate_field="input_tokens_per_s",
        ),
        Metric(
            name="started",
            unit="1/s",
            title="Started/s",
            definition="requests started a second",
            higher_is_better=True,
            rate_field="started_per_s",
        ),
    )
}
"""Rates over the steady part of the run."""

SHARES: Final[dict[str, Metric]] = {
    "goodput": Metric(
        name="goodput",
        unit="share",
        title="Goodput",
        definition="share of the started requests that succeeded and kept every limit; with /s, how many a second",
        higher_is_better=True,
        rate_field="good_per_s",
        aliases=("attainment",),
        shown={Place.REPEAT: ()},
    ),
    "error": Metric(
        name="error",
        unit="share",
        title="Errors",
        definition="share of the started requests that the endpoint failed",
        aliases=("errors",),
        change=False,
    ),
    **{
        outcome.value: Metric(
            name=outcome.value,
            unit="share",
            title=outcome.value,
            definition=f"share of the started requests with this outcome: {row.meaning}",
            higher_is_better=row.good,
            change=False,
        )
        for outcome, row in OUTCOMES.items()
    },
}
"""Shares of the started requests, without those that the workload cancelled."""

METRICS: Final = ChainMap(TIMES, RATES, SHARES)
"""Every metric by name."""


def metric_named(name: str) -> str:
    """Return the name of a metric that goes by a name or an alias, in any case; a stranger comes back in lower case."""
    name = name.lower()
    return next((row.name for row in METRICS.values() if name in row.aliases), name)


def times_shown(place: Place) -> list[Metric]:
    """Return the times that a place shows, in the order of the table."""
    return [row for row in TIMES.values() if place in row.shown]


def row_of(histogram: str) -> Metric | None:
    """Return the metric whose values a histogram holds, by its name in the run file; ``None`` for an unknown one."""
    return TIMES.get(histogram.removesuffix("_ok"))


@dataclass(frozen=True, slots=True)
class ServerMetric:
    """A figure that the server or its GPUs report of themselves.

    ``gauge``: it is read as it is, so that its mean and maximum matter; otherwise it is taken from the growth of
    counters. ``summed``: seconds that are drawn as one are added up rather than averaged.
    """

    title: str
    meaning: str
    unit: str
    gauge: bool = True
    summed: bool = False


SERVER: Final[dict[str, ServerMetric]] = {
    "running": ServerMetric("Running", "requests that the server works on", "1"),
    "waiting": ServerMetric("Waiting", "requests in the server's queue", "1"),
    "cache_use": ServerMetric("Cache in use", "share of the key-value cache", "share"),
    "prefix_hit_rate": ServerMetric("Prefix cache hits", "share of the lookups that hit", "share", gauge=False),
    "preemptions": ServerMetric("Preemptions", "requests that lost their place", "1", gauge=False, summed=True),
    "ttft": ServerMetric("First token, by the server", "mean that the server measured itself", "s", gauge=False),
    "itl": ServerMetric("Gap, by the server", "mean time between tokens, by the server", "s", gauge=False),
    "queue_time": ServerMetric("Time in queue", "mean wait in the server's queue", "s", gauge=False),
    "gpu_use": ServerMetric("GPU at work", "share of the time, mean over GPUs", "share"),
    "gpu_active": ServerMetric("GPU active", "share of the processors at work, mean over GPUs", "share"),
    "gpu_power": ServerMetric("GPU power", "watts, all GPUs together", "W"),
    "gpu_memory": ServerMetric("GPU memory", "MiB, all GPUs together", "MiB"),
}
"""What a server reports each second, in the order of the tables."""
