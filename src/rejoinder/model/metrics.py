"""The table of what a load run measures: the rows of ``metrics.toml``, which says how to add one.

Everything that writes, limits, shows or explains a metric reads it.
"""

from __future__ import annotations

import tomllib
from collections import ChainMap
from enum import StrEnum
from importlib.resources import files
from typing import Any, Final

import msgspec
from msgspec import Struct

from rejoinder.formatting import format_percent, format_rate, format_seconds
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
    """The requests whose values a distribution holds.

    Those that were not checked against all rules count as successful. Leaving them out would favour the moments of less
    load, in which all are checked. The results of SLOs allow for the share of them that a rule voids.
    """

    ANSWERED = "answered"  # and, in a second distribution with the suffix _ok, those that succeeded
    ANSWERED_ONLY = "answered_only"  # without the second distribution
    ALL = "all"


class Unended(StrEnum):
    """What a metric has of a request without an end, where it was not measured before."""

    NO_VALUE = "no_value"
    WAITED = "waited"  # at least the time that was waited
    STREAM_WAITED = "stream_waited"  # the same, where a stream was to come
    SEEN = "seen"  # at least what was measured until then: the end could still have raised it


class Metric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row of the table.

    ``definition`` says from what to what, ``elsewhere`` what other tools call it. ``short`` is the title where room is
    scarce. ``group`` is the part of a table that it belongs to. ``objective`` and ``change``: whether ``--slo`` and
    ``--max-change`` take it. ``per_request`` names the time of a single request that a limit without a statistic
    applies to; empty: there is none. ``rate_field`` names a rate in the ``load`` line. ``shown`` gives for each place
    the percentiles that it shows. ``pooled``: a request has many values, which hang together, so that they are not
    tested. ``since`` names the metric that this one extends back to the scheduled start. ``unended`` is what it has of
    a request without an end. ``missing`` says why no request had a value, where none had. ``of_streams``: only streams
    have values. ``of_tokens``: the values depend on the number of tokens, which may be an estimate.
    """

    name: str
    unit: str
    title: str
    definition: str
    higher_is_better: bool
    elsewhere: str = ""
    short: str = ""
    group: str = "latency"
    objective: bool = True
    change: bool = True
    per_request: str = ""
    rate_field: str = ""
    aliases: tuple[str, ...] = ()
    shown: dict[Place, tuple[float, ...]] = {}
    over: Over = Over.ANSWERED
    unended: Unended = Unended.NO_VALUE
    pooled: bool = False
    since: str = ""
    missing: str = ""
    of_streams: bool = False
    of_tokens: bool = False

    @property
    def meaning(self) -> str:
        """The definition, with the names of other tools."""
        return f"{self.definition}; {self.elsewhere}" if self.elsewhere else self.definition

    @property
    def label(self) -> str:
        """The name on every screen: the short one where there is one."""
        name = self.short or self.title
        return name[:1].upper() + name[1:]

    @property
    def judged_by(self) -> str:
        """The distribution that objectives and changes are judged by."""
        return f"{self.name}_ok" if self.over is Over.ANSWERED else self.name

    def percentiles(self, place: Place) -> tuple[float, ...]:
        """Return the percentiles that a place shows of this metric."""
        return self.shown.get(place, ())


class ServerMetric(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A figure that a server or its GPUs report of themselves.

    ``gauge``: it is read as it is, so that its mean and maximum matter; otherwise it is taken from the growth of
    counters. ``summed``: seconds that are drawn as one are added up rather than averaged.
    """

    title: str
    meaning: str
    unit: str
    gauge: bool = True
    summed: bool = False


def _rows(table: dict[str, dict[str, Any]], unit: str, *, higher_is_better: bool) -> dict[str, Metric]:
    common = {"unit": unit, "higher_is_better": higher_is_better}
    return {name: msgspec.convert({**common, "name": name, **row}, Metric) for name, row in table.items()}


_TABLE: Final = tomllib.loads(files("rejoinder.model").joinpath("metrics.toml").read_text("utf-8"))
TIMES: Final = _rows(_TABLE["times"], "s", higher_is_better=False)
SPEEDS: Final = _rows(_TABLE["speeds"], "1/s", higher_is_better=True)
RATES: Final = _rows(_TABLE["rates"], "1/s", higher_is_better=True)
SHARES: Final = _rows(_TABLE["shares"], "share", higher_is_better=False)
for _outcome, _row in OUTCOMES.items():
    SHARES[_outcome.value] = Metric(
        name=_outcome.value,
        unit="share",
        title=_outcome.value,
        definition=f"share of the started requests with this outcome: {_row.meaning}",
        higher_is_better=_row.good,
        change=False,
    )
DISTRIBUTIONS: Final = ChainMap(SPEEDS, TIMES)
"""The metrics of which each request has values of its own, the times first."""
METRICS: Final = ChainMap(TIMES, SPEEDS, RATES, SHARES)
"""Every metric by name."""
SERVER: Final = msgspec.convert(_TABLE["server"], dict[str, ServerMetric])


def metric_named(name: str) -> str:
    """Return the name of a metric that goes by a name or an alias, in any case; a stranger comes back in lower case."""
    name = name.lower()
    return next((row.name for row in METRICS.values() if name in row.aliases), name)


def missing_of(name: str) -> str:
    """Return why a metric has no value, where it has none: ``no response was a stream with content``."""
    row = METRICS.get(name)
    if row is not None and row.missing:
        return row.missing
    return "too few requests ended" if name in RATES or name in SHARES else "no samples"


def format_figure(metric: str, statistic: str, value: float | None) -> str:
    """Return a figure as every surface shows it: a time, a share, or something per second; a dash for none.

    ``statistic`` is ``share``, ``rate``, or one of a time or a speed.
    """
    if statistic == "share":
        return "–" if value is None else format_percent(value, 1.0)
    if statistic == "rate" or metric in SPEEDS:
        return "–" if value is None else f"{format_rate(value)}/s"
    return format_seconds(value)


def format_change_figure(figure: str, value: float | None) -> str:
    """Return a figure that changes are judged by, named ``metric:statistic`` or as a rate or share."""
    metric, _, statistic = figure.partition(":")
    return format_figure(metric, statistic or ("share" if metric in SHARES else "rate"), value)


def rows_shown(place: Place) -> list[Metric]:
    """Return the times and speeds that a place shows, in the order of the table."""
    return [row for row in DISTRIBUTIONS.values() if place in row.shown]


def row_of(histogram: str) -> Metric | None:
    """Return the metric whose values a histogram holds, by its name in the run file; ``None`` for an unknown one."""
    return DISTRIBUTIONS.get(histogram.removesuffix("_ok"))
