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

from rejoinder.formatting import Figure, plural
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import SPEEDS, Place, format_figure, rows_shown
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
        description="number of requests by outcome",
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
    """The figures of one request; ``times`` holds the metrics that were measured for it."""

    flat: ClassVar[str] = "times"

    t: Annotated[Seconds, about("actual start, since the start of the run")]
    outcome: Annotated[RequestOutcome, about("how the request ended")]
    worker: Annotated[int, about("number of the load generator process")]
    status: Annotated[int | None, about("HTTP status of the response")] = None
    times: dict[str, Seconds] = {}
    waited: Annotated[
        Seconds | None, about("how long was waited for a request without an end; the latencies it lacks are longer")
    ] = None
    chunks: Annotated[Count | None, about("socket reads that carried content")] = None
    deltas: Annotated[Count | None, about("number of content events")] = None
    input_tokens: Annotated[Count | None, about("input tokens in the reported usage")] = None
    output_tokens: Annotated[Count | None, about("output tokens in the reported usage")] = None
    cached_tokens: Annotated[Count | None, about("input tokens from a cache, in the reported usage")] = None
    reasoning_tokens: Annotated[Count | None, about("output tokens of reasoning, in the reported usage")] = None
    estimated_tokens: Annotated[
        Count | None, about("output tokens estimated from the text, where usage has none, or 0 for a text")
    ] = None
    rules: Annotated[list[str], about("MUST rules that the response broke")] = []
    scenario: Annotated[str, about("name of the scenario in the workload")] = ""
    turn: Annotated[int, about("number of the request in its conversation, from 0")] = 0
    detail: Annotated[str, about("why the request did not succeed")] = ""

    @classmethod
    def flat_names(cls, record: Mapping[str, Any]) -> Iterable[str]:
        """Return the metrics that a line holds."""
        return [row.name for row in rows_shown(Place.REQUEST) if row.name in record]


class RequestSample(RequestFigures, tag="request", kw_only=True):
    """One request that ended or was still in flight at the end of the run."""

    intended: Annotated[Seconds, about("scheduled start, since the start of the run")]
    weight: Annotated[Count, about("number of requests that this line represents, in runs of more than 20,000")] = 1


class StreamSample(RequestFigures, tag="stream", kw_only=True):
    """One of the slowest requests, with the times of its events."""

    duration: Annotated[Seconds, about("from the first byte sent to the last event of the connection")]
    slot: Annotated[int, about("number of the request in the schedule")]
    events: Annotated[
        list[Event],
        about(
            "at most 400 spans [from, to, type, events, byte]: consecutive events of one type without a long pause; "
            "byte is the offset of the first one in the body"
        ),
    ]


class SecondSample(Sample, tag="second", kw_only=True):
    """The figures of one second of the run."""

    t: Annotated[Count, about("number of the second, since the start of the run")]
    started: Annotated[Count, about("requests that started")]
    finished: Annotated[Count, about("requests that ended")]
    failed: Annotated[Count, about("requests that failed")]
    in_flight: Annotated[int, about("requests in flight at the end of the second")]
    output_tokens: Annotated[Number, about("output tokens that arrived")]
    ttft_p50: Annotated[
        Seconds | None, about("p50 of the TTFT of requests whose first token arrived, nearest rank")
    ] = None
    ttft_p99: Annotated[
        Seconds | None, about("p99 of the same TTFT, nearest rank: the longest of fewer than 100 values")
    ] = None
    gaps: Annotated[
        dict[int, Count], about("number of inter-token gaps that ended in this second, by their lower bound in ms")
    ] = {}
    server: Annotated[dict[str, Number], about("figures that the server and its GPUs reported")] = {}


class SloResult(Struct, kw_only=True, omit_defaults=True):
    """The result of one SLO."""

    text: Annotated[str, about("the SLO as it was given")]
    metric: Annotated[str, about("name of the metric")]
    statistic: Annotated[str, about("pN, mean, max, share, rate, or each: a limit for single requests")]
    limit: Annotated[float, about("in seconds, as a share, or as a rate per second")]
    value: Annotated[float | None, about("the measured value, in the unit of the limit; absent without data")] = None
    at_least: Annotated[bool, about("whether the value is a lower bound, because some requests have no end")] = False
    highest: Annotated[
        float | None, about("upper bound of a value that is a lower bound; absent where it has none")
    ] = None
    unended: Annotated[Count, about("number of values that have no end")] = 0
    limits: Annotated[list[str], about("goodput: the limits for single requests that it counts by")] = []
    n: Annotated[Count, about("number of values or requests behind the value")] = 0
    met: Annotated[bool | None, about("whether the SLO was met; absent for a limit for single requests")] = None
    bound: Annotated[float | None, about("99 % confidence bound of the value, on the side of the limit")] = None
    certified: Annotated[bool | None, about("whether the bound meets the SLO too")] = None
    needs: Annotated[Count | None, about("number of values that a bound needs, where there were fewer")] = None
    unjudged: Annotated[Count, about("good requests that were not checked against all rules")] = 0
    unjudged_bound: Annotated[Share | None, about("99 % upper bound of the share of these that breaks a rule")] = None
    depends_on_length: Annotated[
        bool, about("whether it was met in a run whose queue grew, so that a longer run may miss it")
    ] = False
    repeats_met: Annotated[Count | None, about("number of repeats that met the SLO")] = None

    @property
    def unknown(self) -> bool:
        """Whether the value is a lower bound that leaves open whether the SLO is met; ``met`` is false then."""
        if not self.at_least or self.value is None or self.met:
            return False
        return self.value < self.limit or (self.value == self.limit and "<=" in self.text)

    def text_of(self, value: float | None) -> str:
        """Return a value of the SLO's figure as text; one that differs from the limit never looks like it."""
        text = format_figure(self.metric, self.statistic, value)
        if value is None or value == self.limit or text != format_figure(self.metric, self.statistic, self.limit):
            return text
        if self.statistic == "share":
            return f"{100 * value:.6g} %"
        return f"{value:.6g}/s" if self.statistic == "rate" or self.metric in SPEEDS else f"{1e3 * value:.6g} ms"

    def value_text(self, at_least: str = "at least ") -> str:
        """Return the measured value as text: a range between its bounds, ``at_least`` before a lower bound."""
        if self.highest is not None:
            return f"{self.text_of(self.value)} to {self.text_of(self.highest)}"
        return f"{at_least if self.at_least else ''}{self.text_of(self.value)}"

    def open_because(self, no_rates: str = "") -> str:
        """Return why it cannot be known whether the SLO is met, as a clause; empty where it is known.

        ``no_rates`` is that of the ``load`` line.
        """
        if self.unknown:
            have = "has" if self.unended == 1 else "have"
            return f"{self.unended:,} of {plural(self.n, 'request')} {have} no end"
        if self.value is None and self.unjudged:
            return f"{plural(self.unjudged, 'response was', 'responses were')} not checked against all rules"
        if self.value is None and self.statistic == "rate" and no_rates:
            return f"no rates: {no_rates}"
        return ""


class Departure(Struct, kw_only=True, omit_defaults=True):
    """One way in which a run was not in a steady state."""

    kind: Annotated[
        Literal["queue", "drift", "change", "beginning"],
        about(
            "queue: requests in flight grew throughout; drift: a latency moved throughout; change: from one moment on, "
            "or for a stretch, the run was another; beginning: the same, early in the run"
        ),
    ]
    metric: Annotated[str, about("in_flight, a latency, or error: the share of failed requests")]
    text: Annotated[str, about("the finding in a sentence")]
    at: Annotated[Seconds | None, about("the moment of a change, since the start of the run")] = None
    until: Annotated[Seconds | None, about("the end of a change that lasted for a stretch")] = None
    before: Annotated[Number | None, about("the figure before the moment, or in the first third of a drift")] = None
    after: Annotated[Number | None, about("the figure after the moment, or in the last third of a drift")] = None
    growth: Annotated[Number | None, about("requests per second, or seconds per second of a latency")] = None
    interval: Annotated[tuple[Number, Number] | None, about("95 % confidence interval of the growth of a queue")] = None
    p: Annotated[Share | None, about("p-value of the trend")] = None

    @property
    def moved(self) -> float:
        """By how much the figure differs from before."""
        return (self.after or 0.0) - (self.before or 0.0)


State = Literal["steady", "not steady", "too short", "not tested"]
"""What a test for a steady state found."""


class Stationarity(Struct, kw_only=True, omit_defaults=True):
    """Whether the run was in a steady state, so that its percentiles and rates do not depend on its length."""

    state: Annotated[
        State,
        about(
            "steady: no test found a departure, and no queue grew; too short: too few requests or too little time to "
            "test it, or to tell"
        ),
    ]
    text: Annotated[str, about("why it is not steady, or not known to be")] = ""
    departures: Annotated[list[Departure], about("what was not steady")] = []
    window: Annotated[tuple[Seconds, Seconds] | None, about("the part of the run that was tested")] = None
    batches: Annotated[Count, about("number of batches of equal time behind the tests")] = 0
    growth: Annotated[
        tuple[Number, Number] | None,
        about("95 % confidence interval of the growth of the queue, in requests per second; open loops only"),
    ] = None
    warm_up: Annotated[Seconds | None, about("warm-up that leaves out the beginning that differs")] = None
    needed: Annotated[Seconds | None, about("how long a run should be that can tell whether the queue grows")] = None

    @property
    def queue_growth(self) -> float | None:
        """Requests per second by which the queue grew; ``None`` where it did not."""
        return next((one.growth for one in self.departures if one.kind == "queue"), None)


class RuleUnderLoad(Struct, kw_only=True, omit_defaults=True):
    """A MUST rule that checked responses of a load broke."""

    rule: Annotated[str, about("id of the rule")]
    responses: Annotated[Count, about("checked responses that broke it")]
    voided: Annotated[Count, about("of these, responses that it voids, so that they do not count as successes")] = 0
    known: Annotated[Count, about("of these, responses in which all its problems are known failures")] = 0
    problems: Annotated[
        list[dict[str, Any]], about("some of the problems, each as a finding has it, in exchanges of this file")
    ] = []


class SearchStep(Sample, tag="step", kw_only=True):
    """The figures of one step of a search; ``latencies`` holds the percentiles of ``metrics.toml`` for steps."""

    flat: ClassVar[str] = "latencies"

    started: Annotated[Count, about("requests that started")]
    outcomes: Outcomes
    verdict: Annotated[Validity, about("self-check of the load generator")]
    good: Annotated[Count, about("requests that succeeded within every limit")]
    ok_per_s: Annotated[PerSecond | None, about("requests that succeeded, in the window of the step")] = None
    output_tokens_per_s: Annotated[
        PerSecond | None, about("output tokens of these requests, in the window of the step")
    ] = None
    concurrency: Annotated[Count | None, about("requests in flight; sweeps only")] = None
    rate: Annotated[PerSecond | None, about("requests per second; searches for the highest rate only")] = None
    repeat: Annotated[Count | None, about("number of the run at this rate, from 0")] = None
    latencies: dict[str, Seconds] = {}
    at_least: Annotated[list[str], about("the latencies that are lower bounds, because some requests have no end")] = []
    slos: Annotated[list[SloResult], about("results of the SLOs")] = []
    met: Annotated[bool | None, about("whether the step met its SLOs; absent without SLOs")] = None
    duration: Annotated[Seconds | None, about("how long requests were started")] = None
    stationarity: Annotated[Stationarity | None, about("whether the step was in a steady state")] = None
    held: Annotated[
        bool | None, about("whether the endpoint sustained the load: SLOs met and steady; absent in a sweep")
    ] = None
    reason: Annotated[str, about("why the endpoint did not sustain the load, as a clause")] = ""
    untested: Annotated[
        bool,
        about("whether the step could not test the load: it was too short, or the load generator was the bottleneck"),
    ] = False
    confirms: Annotated[bool, about("whether the step is the longer run that confirms the result")] = False
    judged: Annotated[Count, about("responses that were checked against all rules")] = 0
    broken: Annotated[Count, about("checked responses that broke a MUST rule")] = 0
    conformance: Annotated[list[RuleUnderLoad], about("the MUST rules that checked responses broke")] = []

    @property
    def level(self) -> float:
        """The load of the step: requests in flight, or requests per second."""
        return float(self.rate if self.concurrency is None and self.rate is not None else self.concurrency or 0)

    @property
    def settled(self) -> bool:
        """Whether its throughput does not depend on its length: it was long enough to test, and no queue grew."""
        state = self.stationarity
        return state is None or (state.state != "too short" and state.queue_growth is None)

    def latency(self, name: str) -> Figure | None:
        """Return one of the latencies, such as ``ttft_p99``, in seconds."""
        return Figure(self.latencies[name], name in self.at_least) if name in self.latencies else None

    @classmethod
    def flat_names(cls, record: Mapping[str, Any]) -> Iterable[str]:
        """Return the latencies that a line holds."""
        return [name for name in step_latencies() if name in record]


Side = Literal["endpoint", "against"]


class Repeat(Sample, tag="step", kw_only=True):
    """The figures of one repetition."""

    of: Annotated[Side, about("endpoint: the endpoint under test; against: the one it is compared with")]
    repeat: Annotated[Count, about("number of the repetition, from 0")]
    started: Annotated[Count, about("requests that started")]
    outcomes: Outcomes
    verdict: Annotated[Validity, about("self-check of the load generator")]
    figures: Annotated[
        dict[str, Number], about("metric:statistic in seconds, rates per second, and goodput as a share")
    ]
    judged: Annotated[Count, about("responses that were checked against all rules")] = 0
    broken: Annotated[Count, about("checked responses that broke a MUST rule")] = 0
    conformance: Annotated[list[RuleUnderLoad], about("the MUST rules that checked responses broke")] = []


class ProbeSample(Sample, tag="probe", kw_only=True):
    """The result of one disconnect probe: what the server did after the client closed connections."""

    name: Annotated[str, about("streams stop, replies stop, stays up, or side by side")]
    verdict: Annotated[Literal["pass", "warn", "fail", "unclear"], about("result of the probe")]
    text: Annotated[str, about("what was observed, in a sentence")]
    met: Annotated[bool, about("false only for the verdict fail")]
    evidence: Annotated[dict[str, Any], about("the times and counts behind the result, by round")] = {}


class HistogramSample(Sample, tag="histogram", kw_only=True):
    """The distribution of one metric over the whole run."""

    flat: ClassVar[str] = "values"
    optional: ClassVar[tuple[str, ...]] = ("at_least",)

    metric: Annotated[
        str,
        about(
            "name of the metric; the suffix _ok restricts it to requests that succeeded, those not checked against all "
            "rules included"
        ),
    ]
    values: Histogram
    unit: Annotated[
        Literal["us", "1e-6/s"], about("unit of the values: us for times (microseconds), 1e-6/s for speeds")
    ]

    @classmethod
    def flat_names(cls, record: Mapping[str, Any]) -> Iterable[str]:
        """Return the fields of a histogram; raises ``ValueError`` for a line without one of them."""
        for name in Histogram.__struct_fields__:
            if name not in record and name not in cls.optional:
                raise ValueError(f"Object missing required field `{name}`")
        return [name for name in Histogram.__struct_fields__ if name in record]

    def to_json(self) -> dict[str, Any]:
        """Return the line as JSON-serialisable values."""
        record = Sample.to_json(self)
        return {name: value for name, value in record.items() if value or name not in self.optional}


class Rates(Struct, kw_only=True, omit_defaults=True):
    """Totals per second over a part of the run; tokens count when they arrive. What cannot be known is absent."""

    started_per_s: Annotated[PerSecond | None, about("requests that started")] = None
    finished_per_s: Annotated[PerSecond | None, about("requests that ended")] = None
    failed_per_s: Annotated[PerSecond | None, about("requests that failed; cancelled ones do not count")] = None
    output_tokens_per_s: Annotated[PerSecond | None, about("output tokens of all requests")] = None
    ok_per_s: Annotated[PerSecond | None, about("requests that succeeded")] = None
    good_per_s: Annotated[PerSecond | None, about("requests that succeeded within every limit")] = None
    ok_output_tokens_per_s: Annotated[PerSecond | None, about("output tokens of requests that succeeded")] = None
    input_tokens_per_s: Annotated[PerSecond | None, about("input tokens, counted when the first content arrived")] = (
        None
    )
    uncached_input_tokens_per_s: Annotated[
        PerSecond | None, about("those that usage does not report as cached; absent without cached_tokens in usage")
    ] = None


class TokenDetails(Struct, kw_only=True, omit_defaults=True):
    """What usage reports of the tokens of the requests whose response ended, and what it does not."""

    responses: Annotated[Count, about("responses whose tokens were counted")] = 0
    cached: Annotated[Count, about("input tokens from a cache (cached_tokens)")] = 0
    cached_of: Annotated[Count, about("input tokens of the responses whose usage has cached_tokens")] = 0
    reasoning: Annotated[Count, about("output tokens of reasoning (reasoning_tokens)")] = 0
    not_streamed: Annotated[Count, about("output tokens of reasoning that no event carried")] = 0
    without_usage: Annotated[Count, about("responses whose usage has no output_tokens")] = 0
    estimated: Annotated[Count, about("output tokens estimated from the text; output_tokens includes them")] = 0
    estimated_responses: Annotated[Count, about("responses whose output tokens were estimated")] = 0
    zero_tokens: Annotated[Count, about("responses with text and 0 output_tokens")] = 0
    too_many: Annotated[Count, about("responses with more output_tokens than their text can have")] = 0
    too_few: Annotated[Count, about("responses with fewer output_tokens than their text can have")] = 0


class SelfCheckResult(Struct, kw_only=True, omit_defaults=True):
    """The load generator's check of itself: whether it, rather than the endpoint, limited the figures."""

    verdict: Annotated[
        Validity,
        about("VALID, SUSPECT (the figures are approximate) or CLIENT-BOUND (the load generator was the limit)"),
    ]
    reasons: Annotated[list[str], about("why the verdict is not VALID")]
    loop_lag_p50: Annotated[Seconds | None, about("p50 of the delay of the event loop, probed every 10 ms")] = None
    loop_lag_p99: Annotated[Seconds | None, about("p99 of the same delay")] = None
    loop_lag_max: Annotated[Seconds | None, about("maximum of the same delay")] = None
    dispatch_lag_p99: Annotated[Seconds | None, about("p99 of the delay with which requests started")] = None
    cpu_mean: Annotated[Number, about("mean share of a core that the busiest process used", "share")]
    cpu_max: Annotated[Number, about("share of a core that it used in its busiest second", "share")]
    coalescing: Annotated[Number | None, about("mean number of content events in one socket read")] = None
    events_per_s: Annotated[PerSecond, about("content events received")]
    processes: Annotated[Count, about("number of load generator processes")]
    processes_advised: Annotated[
        Count, about("number of load generator processes that this load needs, at most one for each core")
    ]
    reconnects: Annotated[Count, about("connections that were opened again after the endpoint closed them")]
    max_in_flight: Annotated[Count, about("largest number of requests in flight, sum over processes")]
    lost: Annotated[Count, about("started requests without an outcome")]
    cores: Annotated[Count, about("number of cores that the load generator could use; 0 in runs of older versions")] = 0
    unstarted: Annotated[Count, about("open loop: requests that were due and did not start")] = 0
    pauses: Annotated[Count, about("closed loop: pauses of users after requests that brought no answer")] = 0
    paused: Annotated[Seconds, about("length of these pauses, sum over users")] = 0.0
    retry_after: Annotated[Count, about("responses before these pauses that had the header Retry-After")] = 0


class Percentile(Struct, omit_defaults=True, kw_only=True):
    """One percentile with its confidence bound."""

    value: Annotated[Seconds | None, about("the percentile; absent with too few samples")] = None
    at_least: Annotated[
        bool, about("whether the value is a lower bound: requests without an end may raise the percentile")
    ] = False
    value_needs: Annotated[Count | None, about("number of samples that the value needs, where there were fewer")] = None
    bound: Annotated[
        Seconds | None,
        about("99 % upper confidence bound of the percentile; absent where requests without an end leave it unknown"),
    ] = None
    needs: Annotated[Count | None, about("number of samples that the bound needs, where there were fewer")] = None


class Percentiles(Struct, kw_only=True):
    """The percentiles of one metric with their confidence bounds (MLPerf early stopping)."""

    metric: Annotated[str, about("name of the distribution")]
    n: Annotated[Count, about("number of samples")]
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
    """The outcomes of one scenario of the workload."""

    name: Annotated[str, about("the name of the scenario in the workload")]
    outcomes: Outcomes


class SearchResult(Struct, kw_only=True, omit_defaults=True):
    """A search over several loads, with all its steps."""

    kind: Annotated[
        Literal["sweep", "rate", "concurrency"],
        about("sweep: over concurrency; rate, concurrency: for the highest one that meets the SLOs"),
    ]
    steps: Annotated[list[SearchStep], about("all steps, in the order in which they ran")]
    best: Annotated[Number | None, about("greatest throughput of a sweep, in output tokens or requests per second")] = (
        None
    )
    knee: Annotated[Count | None, about("concurrency at the knee; absent if it was not reached")] = None
    repeats: Annotated[Count | None, about("largest number of runs at one load, without the confirmation")] = None
    range: Annotated[tuple[PerSecond, PerSecond] | None, about("lowest and highest load to try")] = None
    highest: Annotated[
        PerSecond | None,
        about("highest load that the endpoint sustained, less what its queue may have grown by; absent if none"),
    ] = None
    next: Annotated[PerSecond | None, about("lowest higher load that failed; with highest, the precision")] = None
    reason: Annotated[str, about("why the next higher load failed, as a clause")] = ""
    untested: Annotated[PerSecond | None, about("lowest higher load that could not be tested, if below next")] = None
    untested_reason: Annotated[str, about("why it could not be tested, as a clause")] = ""
    confirmed: Annotated[bool | None, about("whether a longer run confirmed the highest load")] = None
    more: Annotated[bool, about("whether the top of the range met the SLOs, so that the limit is higher")] = False
    limited_by: Annotated[
        Literal["", "generator"], about("generator: the load generator was the limit in some steps")
    ] = ""
    cut: Annotated[bool, about("whether the search did not finish, so that no step was chosen")] = False


class ChangeResult(Struct, kw_only=True, omit_defaults=True):
    """The result of one regression limit."""

    text: Annotated[str, about("the limit as it was given")]
    figure: Annotated[str, about("metric:statistic, a rate, or goodput")]
    limit: Annotated[Number, about("share by which the figure may change, such as 0.1 or -0.05", "share")]
    n: Annotated[
        tuple[Count, Count], about("number of repetitions with the figure, of the baseline and of the endpoint")
    ]
    verdict: Annotated[
        Literal["worse", "better", "kept", "unclear"],
        about(
            "worse: beyond the limit and significant; better: a significant improvement; kept: a change beyond the "
            "limit can be ruled out; unclear: none of these"
        ),
    ]
    met: Annotated[bool, about("false only for the verdict worse")]
    before: Annotated[Number | None, about("geometric mean of the baseline")] = None
    after: Annotated[Number | None, about("geometric mean of the endpoint")] = None
    change: Annotated[Number | None, about("share by which the figure changed", "share")] = None
    p: Annotated[Share | None, about("p-value of the change in its direction (permutation test)")] = None
    p_limit: Annotated[Share | None, about("p-value against a change beyond the limit")] = None


class WarmUp(Struct, kw_only=True):
    """The requests that were sent before the run and are in none of its figures."""

    started: Annotated[Count, about("requests that started")]
    outcomes: Outcomes


class LoadSample(Sample, tag="load", kw_only=True):
    """The totals of the whole load run, written once at its end."""

    mode: Annotated[Literal["closed", "open"], about("closed: fixed concurrency; open: requests on a schedule")]
    settings: Annotated[dict[str, Any], about("the settings of the run, named as the options of `rejoinder load`")]
    started: Annotated[Count, about("requests that started")]
    outcomes: Annotated[Outcomes, about("number of requests by outcome; the sum is started")]
    rules: Annotated[dict[str, Count], about("number of responses that broke a MUST rule, by rule")]
    judged: Annotated[Count, about("responses that were checked against all rules")]
    unjudged: Annotated[Count, about("responses checked for event order, terminal event and canary only")]
    issued: Annotated[Seconds, about("how long requests were started")]
    window: Annotated[
        tuple[Seconds, Seconds], about("the window over which rates are computed, since the start of the run")
    ]
    rates: Annotated[Rates, about("over the window; starts over started_window")]
    rates_whole_run: Annotated[Rates, about("over the whole run")]
    latencies_over: Annotated[list[RequestOutcome], about("the outcomes whose requests the histograms cover")]
    input_tokens: Annotated[Count, about("input tokens of all requests")]
    output_tokens: Annotated[Count, about("output tokens of all requests, those that were estimated included")]
    self_check: Annotated[SelfCheckResult, about("whether the load generator limited the figures")]
    good: Annotated[Count, about("requests that succeeded within every limit, an estimate if some are unjudged")]
    cross_talk: Annotated[Count, about("responses that contain the canary of another request")]
    percentiles: Annotated[list[Percentiles], about("percentiles of each distribution")]
    unjudged_bound: Annotated[
        Share | None, about("99 % upper bound of the share of the unjudged that a broken rule voids")
    ] = None
    tokens: Annotated[TokenDetails | None, about("details of the tokens; absent in runs of older versions")] = None
    unjudged_voided: Annotated[
        Number | None,
        about("estimated number of unjudged responses that a broken rule voids; absent if it cannot be known"),
    ] = None
    unjudged_voided_most: Annotated[Count, about("99 % upper bound of that number")] = 0
    broken: Annotated[Count, about("checked responses that broke a MUST rule")] = 0
    conformance: Annotated[list[RuleUnderLoad], about("the MUST rules that checked responses broke")] = []
    started_window: Annotated[
        tuple[Seconds, Seconds] | None, about("the part of the run over which starts are counted")
    ] = None
    in_flight: Annotated[Number | None, about("mean number of requests in flight in the window")] = None
    no_rates: Annotated[str, about("why the window has no length, so that there are no rates")] = ""
    waited: Annotated[
        dict[RequestOutcome, tuple[Seconds, Seconds]],
        about("shortest and longest wait for the requests without an end, by outcome"),
    ] = {}
    scenarios: Annotated[list[ScenarioOutcomes], about("outcomes by scenario of the workload")] = []
    limits: Annotated[list[str], about("the limits for single requests that goodput uses")] = []
    slos: Annotated[list[SloResult], about("results of the SLOs")] = []
    search: Annotated[SearchResult | None, about("the search of which this run is the chosen step")] = None
    repeats: Annotated[list[Repeat], about("all repetitions, in the order in which they ran")] = []
    changes: Annotated[list[ChangeResult], about("results of the regression limits")] = []
    server: Annotated[dict[str, Number], about("figures that the server reported, over the whole run")] = {}
    stationarity: Annotated[Stationarity | None, about("whether the run was in a steady state")] = None
    warm_up: Annotated[WarmUp | None, about("requests before the run, which no other figure counts")] = None
    aborted: Annotated[str, about("which condition ended the run early, in a sentence")] = ""
    interrupted: Annotated[bool, about("whether the run was interrupted")] = False
    incomplete: Annotated[
        str, about("why the run ended before its time, in a sentence: a process of it died, or could not write")
    ] = ""
    notes: Annotated[list[str], about("warnings, one sentence each")] = []

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
        for row in rows_shown(Place.STEP)
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
