"""Sums of measurements that merge exactly.

Every process keeps a :class:`RunStats` of what it saw since its last report; the writer of the results adds the
reports up. Adding is associative and commutative, so the numbers do not depend on how requests were spread over
processes.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final, Self, get_args

import msgspec
from msgspec import Struct, field

from rejoinder.budgets import LOAD_EVIDENCE
from rejoinder.formatting import plural, value_of
from rejoinder.load.measure.measure import EventSpan, Measurement
from rejoinder.load.measure.recording import Opening, Recording
from rejoinder.load.measure.stationarity import RequestSpan
from rejoinder.load.measure.throughput import Throughput
from rejoinder.load.measure.tokens import Doubt
from rejoinder.load.objectives.check_sample import GroupCounts
from rejoinder.load.objectives.slo import RequestLimits
from rejoinder.model.exchange import Chunk, Exchange, Outcome
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import DISTRIBUTIONS, SPEEDS, TIMES, Metric, Over, Place, Unended
from rejoinder.model.outcomes import RequestOutcome, judgeable_of
from rejoinder.model.samples import RequestFigures, RequestSample, SecondSample, StreamSample, TokenDetails
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Problem, fingerprint

SLOWEST: Final = 10
"""The number of slowest requests for which the run file has the times of all events."""
GAP_BOUNDS: Final = tuple(figure * 10**power for power in range(6) for figure in (1, 2, 5))
"""Milliseconds between which the gaps of a second are counted; what is shorter counts under 0."""
_EVIDENCE_TOTAL: Final = 20
_EVIDENCE_GOOD: Final = 10
_PLACES: Final = 3
_EVIDENCE_EACH: Final = 3
_NO_LIMITS: Final = RequestLimits(())
_NOT_SENT: Final = (Outcome.REFUSED, Outcome.TLS)


class JsonStruct(Struct):
    """What crosses from one process of a run to another as JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form that :meth:`from_json` turns back into an equal object."""
        record: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        return record

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """Rebuild an object from :meth:`to_json`'s form."""
        return msgspec.convert(record, cls, str_keys=True, dec_hook=_counter)


_NO_VALUES: Final = Histogram()
"""The histogram of all seconds that have settled; nothing is added to it."""


class TimeBucket(Struct):
    """What happened in one second of the run; tokens are counted when they arrived, not when their request ended.

    ``ttft`` has the first tokens that arrived in this second, ``gaps`` the gaps between content that ended in it, by
    the lower bound of their length in milliseconds. Rates are computed from :class:`Throughput`.
    """

    started: int = 0
    finished: int = 0
    failed: int = 0
    output_tokens: float = 0.0
    ttft: Histogram = field(default_factory=Histogram)
    gaps: Counter[int] = field(default_factory=Counter)
    settled: tuple[float | None, float | None] | None = None
    """p50 and p99 of the TTFT once no more values are expected; then their histogram is empty."""

    @property
    def ttft_figures(self) -> tuple[float | None, float | None]:
        """p50 and p99 of the TTFT, nearest rank."""
        return self.settled or (value_of(self.ttft.nearest_rank(50)), value_of(self.ttft.nearest_rank(99)))

    def settle(self) -> None:
        """Keep p50 and p99 of the TTFT instead of their histogram."""
        if self.settled is None:
            self.settled = self.ttft_figures
            self.ttft = _NO_VALUES

    def merge(self, other: TimeBucket) -> None:
        """Add another second."""
        _add_numbers(self, other)
        self.gaps.update(other.gaps)
        if self.settled is None:
            self.ttft.merge(other.ttft)


class RuleCounts(Struct):
    """How many of the responses that were checked against all rules broke one rule.

    Of the ``broken`` ones it voids some, and some show nothing but known failures.
    """

    broken: int = 0
    voided: int = 0
    known: int = 0

    def merge(self, other: RuleCounts) -> None:
        """Add other responses."""
        _add_numbers(self, other)


class LoadEvidence(Struct):
    """An exchange that is kept: what it shows in short, the exchange, and its problems by rule, both as JSON values."""

    signature: str
    exchange: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


class RunStats(JsonStruct):
    """Counts, distributions and samples of some requests.

    ``good`` requests succeeded and kept every limit, those not checked against all rules included: ``groups`` has their
    share by sampling rate. Of the ``judged`` responses ``broken`` broke a rule; ``conformance`` counts them by rule.
    ``waited`` has the shortest and the longest time, in seconds, that was waited for requests without an end.
    ``tokens`` says what usage reports beside the totals, and what had to be estimated. ``streams`` are the slowest
    requests with the times of all their
    events, the slowest first.
    """

    finished: int = 0
    judged: int = 0
    good: int = 0
    broken: int = 0
    foreign: int = 0
    deltas: int = 0
    chunks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tokens: TokenDetails = field(default_factory=TokenDetails)
    outcomes: Counter[RequestOutcome] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    conformance: dict[str, RuleCounts] = field(default_factory=dict)
    groups: dict[int, GroupCounts] = field(default_factory=dict)
    waited: dict[RequestOutcome, tuple[float, float]] = field(default_factory=dict)
    scenarios: dict[str, Counter[RequestOutcome]] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    seconds: dict[int, TimeBucket] = field(default_factory=dict)
    throughput: Throughput = field(default_factory=Throughput)
    requests: list[RequestSample] = field(default_factory=list)
    spans: list[RequestSpan] = field(default_factory=list)
    evidence: list[LoadEvidence] = field(default_factory=list)
    streams: list[StreamSample] = field(default_factory=list)

    def add(
        self,
        recording: Recording,
        exchange: Exchange,
        measured: Measurement,
        t0: int,
        worker: int,
        limits: RequestLimits = _NO_LIMITS,
    ) -> None:
        """Count one request; ``t0`` is the clock reading at the start of the run."""
        outcome, row = measured.outcome, measured.outcome.row
        self.finished += 1
        self.outcomes[outcome] += 1
        self.rules.update(measured.rules)
        self.judged += measured.judged
        if measured.judged:
            self._count_rules(measured)
        self.foreign += bool(measured.foreign)
        if recording.scenario:
            self.scenarios.setdefault(recording.scenario, Counter())[outcome] += 1
        start, end = (_begun(recording) - t0) / 1e9, (recording.ended - t0) / 1e9
        times = _all_times(recording, measured)
        # The times of a stream that was given up are those of its beginning only. What broke after the terminal event
        # changes no time.
        whole = row.unended and measured.end is not None and not measured.refused
        answered = (row.answered or whole) and Tag.CANCELLED not in recording.tags
        waited = _waited(recording, exchange, measured)
        self._second(start).started += 1
        last = self._second(end)
        last.finished += 1
        last.failed += row.bad
        streamed = exchange.role == "stream"
        good = limits.keeps(outcome, times, streamed=streamed)
        self.good += good
        if row.good or measured.voided:
            group = self.groups.setdefault(recording.one_in, GroupCounts())
            voided = None if outcome is RequestOutcome.UNJUDGED else measured.voided
            within = limits.keeps(RequestOutcome.OK, times, streamed=streamed)
            group.add(voided, within, measured.tokens.output or 0)
        self.throughput.count(start, end, outcome, good=good)
        if waited is None:
            self._count_times(times, measured, answered, row.good)
        else:
            self._count_waits(times, measured, waited, streamed=streamed)
            self._note_wait(outcome, waited)
        if answered or waited is not None:
            self._count_tokens(measured, start, row.good)
            self.tokens.without_usage += answered and "output_tokens" not in measured.usage
        if row.bad or measured.rules:
            self._add_evidence(measured, exchange)
        self.requests.append(_request_sample(recording, measured, t0, worker, waited))
        # What was cut off at the end has not failed by then: that would be a change of the endpoint at the end.
        failed = row.bad and outcome is not RequestOutcome.CENSORED
        ttft, e2e = (times.get(name) if answered else None for name in ("ttft", "e2e"))
        self.spans.append(RequestSpan(round(start, 6), round(end, 6), ttft, e2e, failed))

    def _count_rules(self, measured: Measurement) -> None:
        self.broken += bool(measured.rules)
        for rule in measured.rules:
            counts = self.conformance.setdefault(rule, RuleCounts())
            counts.broken += 1
            counts.voided += rule in measured.voiding
            counts.known += rule in measured.known

    def _count_times(self, times: Mapping[str, float], measured: Measurement, answered: bool, good: bool) -> None:
        """Count the times of a request that ended."""
        for metric in DISTRIBUTIONS.values():
            if answered or metric.over is Over.ALL:
                self._count(metric, _values(metric, times, measured), good=good)

    def _count_waits(self, times: Mapping[str, float], measured: Measurement, waited: float, *, streamed: bool) -> None:
        """Count the times of a request without an end: what came before as it is, what did not come as longer.

        Such a request counts among the good ones too. It was left out of no SLO by being slow.
        """
        awaited = {Unended.WAITED, Unended.STREAM_WAITED} if streamed else {Unended.WAITED}
        for name, metric in TIMES.items():
            if metric.unended in awaited and name not in times:
                before = times["sched_lag"] if metric.since else 0.0
                self._count(metric, (waited + before,), good=True, at_least=True)
            else:
                at_least = metric.unended is Unended.SEEN
                self._count(metric, _values(metric, times, measured), good=True, at_least=at_least)
        # The time that a speed is divided by has no end.
        for metric in SPEEDS.values() if streamed else ():
            self._count(metric, (0.0,), good=True)

    def _note_wait(self, outcome: RequestOutcome, waited: float) -> None:
        least, most = self.waited.get(outcome, (waited, waited))
        self.waited[outcome] = min(least, waited), max(most, waited)

    def _count(self, metric: Metric, values: Sequence[float], *, good: bool, at_least: bool = False) -> None:
        names = [metric.name, metric.judged_by] if good and metric.over is Over.ANSWERED else [metric.name]
        for name in names if values else ():
            histogram = self.histograms.get(name)
            if histogram is None:
                histogram = self.histograms[name] = Histogram()
            for value in values:
                histogram.add(value, at_least=at_least)

    def _count_tokens(self, measured: Measurement, start: float, good: bool) -> None:
        """Count gaps and tokens in the seconds in which they came."""
        content = measured.content
        for (at, _), gap in zip(content[1:], measured.pools.get("itl", ()), strict=False):
            self._second(start + at).gaps[gap_bound(gap)] += 1
        self.deltas += measured.deltas
        self.chunks += len(content)
        usage, tokens = measured.usage, measured.tokens
        given, cached = usage.get("input_tokens", 0), usage.get("cached_tokens")
        self.input_tokens += given
        self.output_tokens += tokens.output or 0
        self._count_details(measured)
        if content:
            first = self._second(start + content[0][0])
            first.ttft.add(content[0][0])
            fed = self.throughput.at(start + content[0][0])
            fed.input_tokens += given
            fed.uncached_input_tokens += max(0, given - (cached or 0))
        for at, amount in measured.arrivals():
            self._second(start + at).output_tokens += amount
            piece = self.throughput.at(start + at)
            piece.output_tokens += amount
            if good:
                piece.ok_output_tokens += amount

    def _count_details(self, measured: Measurement) -> None:
        usage, tokens, details = measured.usage, measured.tokens, self.tokens
        if "cached_tokens" in usage:
            details.cached += usage["cached_tokens"]
            details.cached_of += usage.get("input_tokens", 0)
        details.reasoning += usage.get("reasoning_tokens", 0)
        details.not_streamed += (tokens.output or 0) - (tokens.streamed or 0)
        details.responses += 1
        if tokens.estimated:
            details.estimated += tokens.output or 0
            details.estimated_responses += 1
        details.zero_tokens += tokens.doubt is Doubt.ZERO
        details.too_many += tokens.doubt is Doubt.TOO_MANY
        details.too_few += tokens.doubt is Doubt.TOO_FEW

    def add_stream(
        self, recording: Recording, measured: Measurement, events: Sequence[EventSpan], t0: int, worker: int
    ) -> None:
        """Keep the events of a request if it is among the slowest; ``events`` are a timeline."""
        request = _request_sample(recording, measured, t0, worker)
        stream = StreamSample(
            **{name: getattr(request, name) for name in RequestFigures.__struct_fields__},
            duration=round((recording.ended - _begun(recording)) / 1e9, 6),
            slot=recording.slot,
            events=[(round(begin, 6), round(end, 6), kind, n, byte) for begin, end, kind, n, byte in events],
        )
        self._keep_streams([stream])

    def _keep_streams(self, more: Sequence[StreamSample]) -> None:
        together = sorted([*self.streams, *more], key=lambda stream: (-stream.duration, stream.worker, stream.slot))
        self.streams = together[:SLOWEST]

    def _second(self, at: float) -> TimeBucket:
        number = max(0, math.floor(at))
        second = self.seconds.get(number)
        if second is None:
            second = self.seconds[number] = TimeBucket()
        return second

    def _add_evidence(self, measured: Measurement, exchange: Exchange) -> None:
        signature = f"{measured.outcome} {' '.join(measured.rules)}"
        if keep_evidence(self.evidence, signature):
            problems = {rule: _places(rule, found, exchange.id) for rule, found in measured.problems.items()}
            self.evidence.append(LoadEvidence(signature, _shortened(exchange).to_json(), problems))

    def merge(self, other: RunStats) -> None:
        """Add the stats of other requests."""
        _add_numbers(self, other)
        _add_numbers(self.tokens, other.tokens)
        self.outcomes.update(other.outcomes)
        self.rules.update(other.rules)
        for rule, counts in other.conformance.items():
            self.conformance.setdefault(rule, RuleCounts()).merge(counts)
        for rate, group in other.groups.items():
            self.groups.setdefault(rate, GroupCounts()).merge(group)
        for scenario, outcomes in other.scenarios.items():
            self.scenarios.setdefault(scenario, Counter()).update(outcomes)
        for metric, histogram in other.histograms.items():
            self.histograms.setdefault(metric, Histogram()).merge(histogram)
        for outcome, waits in other.waited.items():
            for wait in waits:
                self._note_wait(outcome, wait)
        for number, second in other.seconds.items():
            self.seconds.setdefault(number, TimeBucket()).merge(second)
        self.throughput.merge(other.throughput)
        self.requests.extend(other.requests)
        self.spans.extend(other.spans)
        for one in other.evidence:
            if keep_evidence(self.evidence, one.signature):
                self.evidence.append(one)
        self._keep_streams(other.streams)

    @property
    def judgeable(self) -> int:
        """How many requests brought something that the rules apply to."""
        return judgeable_of(self.outcomes)

    def settle(self, first: int, end: int) -> None:
        """Drop the TTFT histograms of the seconds from ``first`` to before ``end``, and keep their p50 and p99.

        Their memory would grow with the length of a run. A value that comes later changes no figure of its second.
        """
        for number in range(first, end):
            if number in self.seconds:
                self.seconds[number].settle()

    def second_samples(self, server: Mapping[int, Mapping[str, float]] = MappingProxyType({})) -> list[SecondSample]:
        """Return the ``second`` lines, without holes, in order; ``server`` has the server's figures by second."""
        samples = []
        in_flight = 0
        for number in range(max(self.seconds, default=-1) + 1):
            second = self.seconds.get(number) or TimeBucket()
            p50, p99 = second.ttft_figures
            in_flight += second.started - second.finished
            samples.append(
                SecondSample(
                    t=number,
                    started=second.started,
                    finished=second.finished,
                    failed=second.failed,
                    in_flight=in_flight,
                    output_tokens=round(second.output_tokens, 1),
                    ttft_p50=p50,
                    ttft_p99=p99,
                    gaps={bound: second.gaps[bound] for bound in sorted(second.gaps)},
                    server=dict(server.get(number, {})),
                )
            )
        return samples


def numbers_of(kind: type[Struct]) -> list[str]:
    """Return the fields of a class of this module that are plain numbers."""
    return [known.name for known in msgspec.structs.fields(kind) if known.default == 0]


def _add_numbers(into: Struct, other: Struct) -> None:
    for name in numbers_of(type(into)):
        setattr(into, name, getattr(into, name) + getattr(other, name))


def _counter(kind: Any, value: dict[str, int]) -> Counter[Any]:
    """Build a counter from JSON, whose keys are strings."""
    (of,) = get_args(kind)
    return Counter({of(key): count for key, count in value.items()})


def encode_stats(stats: RunStats) -> bytes:
    """Return stats as one line of JSON."""
    try:
        return msgspec.json.encode(stats)
    except UnicodeEncodeError:  # lone surrogates, which the types of events may hold
        return json.dumps(stats.to_json(), separators=(",", ":")).encode()


def gap_bound(seconds: float) -> int:
    """Return the greatest of :data:`GAP_BOUNDS` that is not above a gap, in milliseconds, or 0."""
    place = bisect_right(GAP_BOUNDS, round(seconds * 1e3, 3))
    return GAP_BOUNDS[place - 1] if place else 0


def _places(rule: str, problems: Sequence[Problem], exchange: str) -> list[dict[str, Any]]:
    """Return the first problem at each of a few places, as JSON values."""
    found: dict[str, Problem] = {}
    for problem in problems:
        found.setdefault(fingerprint(rule, problem), problem)
    return [msgspec.structs.replace(problem, exchange=exchange).to_json() for problem in [*found.values()][:_PLACES]]


def keep_evidence(kept: Sequence[LoadEvidence], signature: str) -> bool:
    """Return whether one more exchange of this signature is wanted: few of each sort, and not many in all.

    Those that failed and those that only broke a rule have room of their own.
    """
    bad = _is_bad(signature)
    room = sum(_is_bad(one.signature) == bad for one in kept) < (_EVIDENCE_TOTAL if bad else _EVIDENCE_GOOD)
    return room and sum(one.signature == signature for one in kept) < _EVIDENCE_EACH


def _is_bad(signature: str) -> bool:
    return RequestOutcome(signature.partition(" ")[0]).row.bad


def _shortened(exchange: Exchange) -> Exchange:
    """Return an exchange without what its body has over the budget of one that the run file keeps."""
    left = LOAD_EVIDENCE
    if len(exchange.body) <= left:
        return exchange
    chunks = []
    for chunk in exchange.chunks:
        chunks.append(Chunk(chunk.t, chunk.data[:left]))
        left -= len(chunk.data)
        if left <= 0:
            break
    kept = f"the run file holds {LOAD_EVIDENCE:,} of {plural(len(exchange.body), 'byte')}"
    detail = f"{exchange.detail}; {kept}" if exchange.detail else kept
    return replace(exchange, chunks=tuple(chunks), outcome=Outcome.TOO_LARGE, detail=detail)


def _begun(recording: Recording) -> int:
    return recording.begun or recording.dispatched


def _waited(recording: Recording, exchange: Exchange, measured: Measurement) -> float | None:
    """Return how long a request without an end was waited for, in seconds; ``None`` for one with an end.

    A connection that could not be opened is an end. So is the workload's own cancel.
    """
    if measured.end is not None or Tag.CANCELLED in recording.tags or exchange.outcome in _NOT_SENT:
        return None
    cut = exchange.outcome is not Outcome.COMPLETE
    if not (cut or measured.outcome.row.unended):
        return None
    return (recording.ended - _begun(recording)) / 1e9


def _values(metric: Metric, times: Mapping[str, float], measured: Measurement) -> Sequence[float]:
    """Return the values that a request has of a metric."""
    if metric.name in times:
        return (times[metric.name],)
    return measured.pools.get(metric.name, ()) if metric.pooled else ()


def _all_times(recording: Recording, measured: Measurement) -> dict[str, float]:
    """Return the values of one request for every metric of which it has one."""
    lag = (_begun(recording) - recording.intended) / 1e9
    since_schedule = {
        name: measured.times[metric.since] + lag for name, metric in TIMES.items() if metric.since in measured.times
    }
    dispatch = (recording.dispatched - recording.intended) / 1e9
    opening = (recording.opening or Opening())._asdict()
    opened = {name: took / 1e9 for name, took in opening.items() if took is not None}
    return {**measured.times, **since_schedule, **opened, "sched_lag": lag, "dispatch_lag": dispatch}


def _request_sample(
    recording: Recording, measured: Measurement, t0: int, worker: int, waited: float | None = None
) -> RequestSample:
    times = {
        name: round(at, 6)
        for name, at in _all_times(recording, measured).items()
        if name in DISTRIBUTIONS and Place.REQUEST in DISTRIBUTIONS[name].shown
    }
    usage, tokens = measured.usage, measured.tokens
    return RequestSample(
        t=round((_begun(recording) - t0) / 1e9, 6),
        intended=round((recording.intended - t0) / 1e9, 6),
        outcome=measured.outcome,
        worker=worker,
        status=measured.status,
        times=times,
        waited=None if waited is None else round(waited, 6),
        chunks=len(measured.content) or None,
        deltas=measured.deltas if measured.content else None,
        input_tokens=usage.get("input_tokens"),
        cached_tokens=usage.get("cached_tokens"),
        output_tokens=usage.get("output_tokens"),
        reasoning_tokens=usage.get("reasoning_tokens"),
        estimated_tokens=tokens.output if tokens.estimated else None,
        rules=measured.rules,
        scenario=recording.scenario,
        turn=recording.turn,
        detail=measured.detail,
    )
