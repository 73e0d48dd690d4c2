"""The sample lines of a run file, typed: what a load run writes, and what reports read.

Each class is one kind of line or a part of one; field descriptions and units become the JSON Schema and
the reference of the run file. Fields with a default are left out of the file where they hold it; fields that a reader
does not know are ignored. All times are seconds from the start of the request unless a field says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import Place, times_shown
from rejoinder.model.outcomes import RequestOutcome


class Validity(StrEnum):
    """What a generator says of its own figures, the worst last."""

    VALID = "VALID"
    SUSPECT = "SUSPECT"
    CLIENT_BOUND = "CLIENT-BOUND"

    @property
    def rank(self) -> int:
        """The place in the order, 0 for the best."""
        return list(Validity).index(self)


def about(text: str, unit: str = "") -> Meta:
    """Return the description of a field for the schema."""
    return Meta(description=text, extra_json_schema={"unit": unit} if unit else None)


Count = Annotated[int, Meta(ge=0, le=2**53)]
Number = Annotated[float, Meta(ge=-1e300, le=1e300)]
Seconds = Annotated[float, Meta(ge=-1e12, le=1e12, extra_json_schema={"unit": "s"})]
PerSecond = Annotated[float, Meta(ge=0, le=1e15, extra_json_schema={"unit": "1/s"})]
Share = Annotated[float, Meta(ge=0, le=1)]
Outcomes = Annotated[
    dict[RequestOutcome, Count],
    Meta(
        description="requests by outcome",
        extra_json_schema={"propertyNames": {"$ref": f"#/$defs/{RequestOutcome.__name__}"}},
    ),
]
Event = tuple[Seconds, Seconds, str, Count, Count]
"""Events that came together: first and last arrival, type, number, and the byte of the body where the first begins."""


class RunFileLine(Struct, kw_only=True, omit_defaults=True):
    """One line of a run file. ``flat`` names a field whose entries stand in the line beside the other fields."""

    flat: ClassVar[str] = ""

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON-serialisable values."""
        record: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        return record | record.pop(self.flat, {}) if self.flat else record

    @classmethod
    def from_json(cls: type[L], record: Mapping[str, Any]) -> L:
        """Rebuild a line from :meth:`to_json`'s form; raises ``ValueError`` that says what is wrong, and where."""
        values = dict(record)
        if cls.flat:
            values[cls.flat] = {name: values.pop(name) for name in cls.flat_names(record)}
        return msgspec.convert(values, cls, str_keys=True)

    @classmethod
    def flat_names(cls, record: Mapping[str, Any]) -> Iterable[str]:
        """Return the names in a line that are entries of the flat field."""
        return ()


L = TypeVar("L", bound=RunFileLine)


class Sample(RunFileLine, kw_only=True, tag_field="what"):
    """One sample line, without its ``kind``."""


class RequestFigures(Sample, kw_only=True):
    """What is known of one request; ``times`` holds the metrics of request lines that exist for it."""

    flat: ClassVar[str] = "times"

    t: Annotated[Seconds, about("actual start, from the start of the run")]
    outcome: Annotated[RequestOutcome, about("how it ended")]
    worker: Annotated[int, about("number of the generator process")]
    status: Annotated[int | None, about("HTTP status")] = None
    times: dict[str, Seconds] = {}
    chunks: Annotated[Count | None, about("receives that carried content")] = None
    deltas: Annotated[Count | None, about("content events")] = None
    input_tokens: Annotated[Count | None, about("usage that the endpoint reported")] = None
    output_tokens: Annotated[Count | None, about("usage that the endpoint reported")] = None
    rules: Annotated[list[str], about("MUST rules that the answer broke")] = []
    scenario: Annotated[str, about("kind of request, as the workload names it")] = ""
    turn: Annotated[int, about("number of the request in its conversation, from 0")] = 0
    detail: Annotated[str, about("why the request did not succeed")] = ""

    @classmethod
    def flat_names(cls, record: Mapping[str, Any]) -> Iterable[str]:
        """Return the metrics that a line holds."""
        return [row.name for row in times_shown(Place.REQUEST) if row.name in record]


class RequestSample(RequestFigures, tag="request", kw_only=True):
    """One request that ended, or was in flight at the end."""

    intended: Annotated[Seconds, about("scheduled start, from the start of the run")]
    weight: Annotated[Count, about("number of requests that the line stands for, in runs of over 20,000")] = 1


class StreamSample(RequestFigures, tag="stream", kw_only=True):
    """One of the slowest requests, with the times of its events."""

    duration: Annotated[Seconds, about("from the first byte written to the last thing that happened")]
    slot: Annotated[int, about("number of the slot that sent it")]
    events: Annotated[
        list[Event],
        about(
            "at most 400 stretches [from, to, type, events, byte] in which events of one type came without a pause "
            "worth showing; byte is where the first of them begins in the body"
        ),
    ]


class SecondSample(Sample, tag="second", kw_only=True):
    """One second of the run."""

    t: Annotated[Count, about("number of the second, from the start of the run")]
    started: Annotated[Count, about("requests that began")]
    finished: Annotated[Count, about("requests that ended")]
    failed: Annotated[Count, about("requests that ended badly")]
    in_flight: Annotated[int, about("requests in flight at the end of the second")]
    output_tokens: Annotated[Number, about("tokens that arrived")]
    ttft_p50: Annotated[Seconds | None, about("nearest rank, of the first tokens that arrived")] = None
    ttft_p99: Annotated[Seconds | None, about("nearest rank: of fewer than 100 values the longest")] = None
    gaps: Annotated[
        dict[int, Count], about("gaps between content that ended here, by the lower bound of their length in ms")
    ] = {}
    server: Annotated[dict[str, Number], about("what the server and its GPUs reported")] = {}


class SloResult(Struct, kw_only=True, omit_defaults=True):
    """What became of one objective."""

    text: Annotated[str, about("the objective as it was written")]
    metric: Annotated[str, about("metric, rate or share")]
    statistic: Annotated[str, about("pN, mean, max, share, rate, or each: a limit for single requests")]
    limit: Annotated[float, about("seconds, a share, or a rate per second")]
    value: Annotated[float | None, about("what was measured, in the unit of the limit; absent: nothing was")] = None
    n: Annotated[Count, about("number of values, or of requests")] = 0
    met: Annotated[bool | None, about("absent for a limit for single requests")] = None
    bound: Annotated[float | None, about("what the true value does not exceed with 99 % confidence")] = None
    certified: Annotated[bool | None, about("whether the bound meets the objective too")] = None
    needs: Annotated[Count | None, about("number of values that a bound takes, where there were fewer")] = None
    unjudged: Annotated[Count, about("good answers that were not judged by all rules")] = 0
    unjudged_bound: Annotated[Share | None, about("share of these that breaks a rule at most, with 99 %")] = None
    repeats_met: Annotated[Count | None, about("number of repeats that met it")] = None


class SearchStep(Sample, tag="step", kw_only=True):
    """The figures of one run of a search; ``latencies`` holds those that the table of metrics names for steps."""

    flat: ClassVar[str] = "latencies"

    started: Annotated[Count, about("requests that began")]
    outcomes: Outcomes
    verdict: Annotated[Validity, about("what the generator said of its own figures")]
    ok_per_s: Annotated[PerSecond, about("good answers, in the steady part")]
    output_tokens_per_s: Annotated[PerSecond, about("output tokens of good answers, in the steady part")]
    good: Annotated[Count, about("requests that succeeded and kept every limit")]
    concurrency: Annotated[Count | None, about("requests in flight, in a sweep")] = None
    rate: Annotated[PerSecond | None, about("requests per second, in a search for the highest rate")] = None
    repeat: Annotated[Count | None, about("number of the run at this rate, from 0")] = None
    latencies: dict[str, Seconds] = {}
    slos: Annotated[list[SloResult], about("the objectives")] = []
    met: Annotated[bool | None, about("whether the run kept its objectives; absent without any")] = None

    @property
    def level(self) -> float:
        """The load of the step: requests in flight, or requests per second."""
        return float(self.rate if self.concurrency is None and self.rate is not None else self.concurrency or 0)

    @classmethod
    def flat_names(cls, record: Mapping[str, Any]) -> Iterable[str]:
        """Return the latencies that a line holds."""
        return [name for name in step_latencies() if name in record]


Side = Literal["endpoint", "against"]


class Repeat(Sample, tag="step", kw_only=True):
    """The figures of one repeat."""

    of: Annotated[Side, about("the endpoint, or the one it is compared with")]
    repeat: Annotated[Count, about("number of the repeat, from 0")]
    started: Annotated[Count, about("requests that began")]
    outcomes: Outcomes
    verdict: Annotated[Validity, about("what the generator said of its own figures")]
    figures: Annotated[
        dict[str, Number], about("metric:statistic in seconds, rates per second, and goodput as a share")
    ]


class ProbeSample(Sample, tag="probe", kw_only=True):
    """What a server did after requests were dropped on purpose."""

    name: Annotated[str, about("streams stop, replies stop, stays up, or side by side")]
    verdict: Annotated[Literal["pass", "warn", "fail", "unclear"], about("what the probe showed")]
    text: Annotated[str, about("what was seen, in a sentence")]
    met: Annotated[bool, about("false only for the verdict fail")]
    evidence: Annotated[dict[str, Any], about("the times and counts behind it, by round")] = {}


class HistogramSample(Sample, tag="histogram", kw_only=True):
    """The distribution of one metric over the whole run."""

    flat: ClassVar[str] = "values"

    metric: Annotated[str, about("name of the metric; with the suffix _ok over good requests alone")]
    values: Histogram
    unit: Annotated[Literal["us"], about("unit of the values: microseconds")]

    @classmethod
    def flat_names(cls, record: Mapping[str, Any]) -> Iterable[str]:
        """Return the fields of a histogram; raises ``ValueError`` for a line without one of them."""
        for name in Histogram.__struct_fields__:
            if name not in record:
                raise ValueError(f"Object missing required field `{name}`")
        return Histogram.__struct_fields__


class Rates(Struct, kw_only=True):
    """Totals per second over a part of the run; tokens count when they arrived."""

    started_per_s: Annotated[PerSecond, about("requests that began")]
    finished_per_s: Annotated[PerSecond, about("requests that ended")]
    failed_per_s: Annotated[PerSecond, about("requests that did not succeed, cancelled ones left out")]
    output_tokens_per_s: Annotated[PerSecond, about("output tokens of all answers")]
    ok_per_s: Annotated[PerSecond, about("requests that succeeded")]
    good_per_s: Annotated[PerSecond, about("requests that succeeded and kept every limit")]
    ok_output_tokens_per_s: Annotated[PerSecond, about("output tokens of good answers")]
    input_tokens_per_s: Annotated[PerSecond, about("input tokens, when the first content arrived")]


class SelfCheckResult(Struct, kw_only=True, omit_defaults=True):
    """What the generator says about itself: whether it may have bent the figures."""

    verdict: Annotated[Validity, about("the worst that any reason makes of it")]
    reasons: Annotated[list[str], about("why it is not VALID")]
    loop_lag_p50: Annotated[Seconds | None, about("how late the event loop was, by probes every 10 ms")] = None
    loop_lag_p99: Annotated[Seconds | None, about("likewise")] = None
    loop_lag_max: Annotated[Seconds | None, about("likewise")] = None
    dispatch_lag_p99: Annotated[Seconds | None, about("how late requests were started")] = None
    cpu_mean: Annotated[Number, about("share of a core, of the busiest process", "share")]
    cpu_max: Annotated[Number, about("share of a core in the busiest second", "share")]
    coalescing: Annotated[Number | None, about("content events in one receive, on average")] = None
    events_per_s: Annotated[PerSecond, about("content events that were received")]
    processes: Annotated[Count, about("generator processes")]
    processes_advised: Annotated[Count, about("generator processes that the load takes")]
    reconnects: Annotated[Count, about("requests that were sent again on a new connection")]
    max_in_flight: Annotated[Count, about("most requests in flight, of all processes")]
    lost: Annotated[Count, about("started requests without an outcome")]


class Percentile(Struct, omit_defaults=True, kw_only=True):
    """One percentile and how sure it is."""

    value: Annotated[Seconds | None, about("absent where too few values were counted to have one above it")] = None
    value_needs: Annotated[Count | None, about("number of values that a value takes, where there were fewer")] = None
    bound: Annotated[Seconds | None, about("what the true percentile does not exceed with 99 % confidence")] = None
    needs: Annotated[Count | None, about("number of values that a bound takes, where there were fewer")] = None


class Percentiles(Struct, kw_only=True):
    """The percentiles of one metric, with MLPerf's early-stopping bound."""

    metric: Annotated[str, about("name of the distribution")]
    n: Annotated[Count, about("number of values")]
    p50: Annotated[Percentile, about("nearest rank")]
    p90: Annotated[Percentile, about("nearest rank")]
    p95: Annotated[Percentile, about("nearest rank")]
    p99: Annotated[Percentile, about("nearest rank")]
    p999: Annotated[Percentile, about("nearest rank")] = field(name="p99.9")

    def at(self, percent: float) -> Percentile:
        """Return one of :data:`PERCENTILES`."""
        found: Percentile = getattr(self, percentile_field(percent))
        return found


PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0, 99.9)
"""The percentiles that tables show."""


def percentile_field(percent: float) -> str:
    """Return the attribute of :class:`Percentiles` that holds a percentile: ``p99``, ``p999`` for p99.9."""
    return f"p{percent:g}".replace(".", "")


class ScenarioOutcomes(Struct, kw_only=True):
    """How the requests of one kind of the workload ended."""

    name: Annotated[str, about("as the workload names it")]
    outcomes: Outcomes


class SearchResult(Struct, kw_only=True, omit_defaults=True):
    """A search over loads, with all its steps."""

    kind: Annotated[Literal["sweep", "rate"], about("over requests in flight, or over rates")]
    steps: Annotated[list[SearchStep], about("in the order in which they were run")]
    best: Annotated[Number | None, about("greatest throughput of a sweep, in output tokens or answers a second")] = None
    knee: Annotated[Count | None, about("requests in flight at the knee; absent: none was reached")] = None
    repeats: Annotated[Count | None, about("runs at one rate at most")] = None
    range: Annotated[tuple[PerSecond, PerSecond] | None, about("lowest and highest rate to try")] = None
    highest: Annotated[PerSecond | None, about("highest rate that kept the objectives; absent: none did")] = None
    more: Annotated[bool, about("the highest rate to try kept them, so the limit lies beyond")] = False
    limited_by: Annotated[Literal["", "generator"], about("generator: it was the limit in some steps")] = ""
    cut: Annotated[bool, about("the search did not come to its end, so no step was chosen")] = False


class ChangeResult(Struct, kw_only=True, omit_defaults=True):
    """What became of one limit of a change."""

    text: Annotated[str, about("the limit as it was written")]
    figure: Annotated[str, about("metric:statistic, a rate, or goodput")]
    limit: Annotated[Number, about("share by which the figure may move, like 0.1 or -0.05", "share")]
    n: Annotated[tuple[Count, Count], about("repeats of the baseline and of the endpoint that have the figure")]
    verdict: Annotated[
        Literal["worse", "better", "kept", "unclear"],
        about("worse, better: more than chance explains; kept: a change beyond the limit can be excluded"),
    ]
    met: Annotated[bool, about("false only for the verdict worse")]
    before: Annotated[Number | None, about("geometric mean of the baseline")] = None
    after: Annotated[Number | None, about("geometric mean of the endpoint")] = None
    change: Annotated[Number | None, about("share by which the figure moved", "share")] = None
    p: Annotated[Share | None, about("how often chance alone moves it as far in its direction")] = None
    p_limit: Annotated[Share | None, about("how often a change beyond the limit would look like this one")] = None


class LoadSample(Sample, tag="load", kw_only=True):
    """The totals of the whole load run, once, at the end."""

    mode: Annotated[Literal["closed", "open"], about("closed: by requests in flight; open: by a schedule")]
    settings: Annotated[dict[str, Any], about("the settings of the run, as `rejoinder load --help` explains them")]
    started: Annotated[Count, about("requests that began")]
    outcomes: Annotated[Outcomes, about("requests by outcome; they add up to started")]
    rules: Annotated[dict[str, Count], about("MUST rules that answers broke, with how many did")]
    judged: Annotated[Count, about("answers that were judged by all rules")]
    unjudged: Annotated[Count, about("good answers that were judged by order, end and canary alone")]
    issued: Annotated[Seconds, about("how long requests were issued")]
    window: Annotated[tuple[Seconds, Seconds], about("the steady part, from the start of the run")]
    rates: Annotated[Rates, about("over the steady part")]
    rates_whole_run: Annotated[Rates, about("over the whole run")]
    latencies_over: Annotated[list[RequestOutcome], about("the outcomes that the histograms cover")]
    input_tokens: Annotated[Count, about("of all answers")]
    output_tokens: Annotated[Count, about("of all answers")]
    self_check: Annotated[SelfCheckResult, about("whether the generator may have bent the figures")]
    good: Annotated[Count, about("requests that succeeded and kept every limit")]
    cross_talk: Annotated[Count, about("answers that show the canary of another request")]
    percentiles: Annotated[list[Percentiles], about("of each distribution")]
    unjudged_bound: Annotated[Share | None, about("share of the unjudged that breaks a rule at most, with 99 %")] = None
    scenarios: Annotated[list[ScenarioOutcomes], about("how the requests of each kind ended")] = []
    limits: Annotated[list[str], about("limits for single requests, by which goodput counts")] = []
    slos: Annotated[list[SloResult], about("the objectives")] = []
    search: Annotated[SearchResult | None, about("the search that the run was a step of")] = None
    repeats: Annotated[list[Repeat], about("all repeats, in the order in which they were run")] = []
    changes: Annotated[list[ChangeResult], about("the limits of changes")] = []
    server: Annotated[dict[str, Number], about("what the server reported, over the whole run")] = {}
    interrupted: Annotated[bool, about("whether it was ended before its time")] = False
    notes: Annotated[list[str], about("warnings, in sentences")] = []

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON-serialisable values, without ``kind``."""
        record = Sample.to_json(self)
        if self.search:
            record["search"]["steps"] = [_untagged(step) for step in self.search.steps]
        if self.repeats:
            record["repeats"] = [_untagged(repeat) for repeat in self.repeats]
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LoadSample:
        """Rebuild the line from :meth:`to_json`'s form; raises ``ValueError`` that says what is wrong, and where."""
        search = record.get("search")
        if isinstance(search, Mapping) and isinstance(search.get("steps"), list):
            steps = [_lifted(step) if isinstance(step, Mapping) else step for step in search["steps"]]
            record = {**record, "search": {**search, "steps": steps}}
        return msgspec.convert(dict(record), cls, str_keys=True)


def _lifted(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step of a search with its latencies in a field of their own."""
    return {**step, "latencies": {name: step[name] for name in SearchStep.flat_names(step)}}


def _untagged(step: SearchStep | Repeat) -> dict[str, Any]:
    """Return a step as it stands inside a ``load`` line."""
    record = step.to_json()
    del record["what"]
    return record


def step_latencies() -> dict[str, tuple[str, float]]:
    """Return the latencies of a step of a search by their name, like ``ttft_p99``: metric and percentile."""
    return {
        f"{row.name}_p{percent:g}": (row.name, percent)
        for row in times_shown(Place.STEP)
        for percent in row.percentiles(Place.STEP)
    }


KINDS: Final[dict[str, tuple[type[Sample], ...]]] = {
    "request": (RequestSample,),
    "second": (SecondSample,),
    "step": (SearchStep, Repeat),
    "probe": (ProbeSample,),
    "stream": (StreamSample,),
    "histogram": (HistogramSample,),
    "load": (LoadSample,),
}
"""The classes of each kind of sample line."""


def read_sample(record: Mapping[str, Any]) -> Sample:
    """Return a parsed sample line; raises ``ValueError`` that says what is wrong with it, and where."""
    found = KINDS.get(str(record.get("what")))
    if found is None:
        raise ValueError(f"there is no sample {str(record.get('what'))[:40]!r}")
    return (Repeat if "of" in record and Repeat in found else found[0]).from_json(record)
