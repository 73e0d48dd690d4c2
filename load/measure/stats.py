"""Sums of measurements that merge exactly, and what is read from them at the end of a run.

Every process keeps a :class:`RunStats` of what it saw since its last report; whoever writes the results adds the
reports up. Adding is associative and commutative, so the numbers do not depend on how requests were spread over
processes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rejoinder.load.decide.confidence import percentile_lines, share_bound
from rejoinder.load.decide.slo import Limits, evaluate, parse_slos
from rejoinder.load.measure.measure import ANSWERED, ENDED_WELL, JUDGEABLE, OUTCOMES, EventSpan, Measurement
from rejoinder.load.measure.recording import Recording
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange
from rejoinder.model.histogram import Histogram
from rejoinder.model.tags import Tag

_SECOND_FIELDS: Final = (
    "started",
    "finished",
    "failed",
    "output_tokens",
    "ok",
    "good",
    "ok_output_tokens",
    "input_tokens",
)
_TALLY_FIELDS: Final = (
    "finished",
    "judged",
    "good",
    "good_unjudged",
    "foreign",
    "deltas",
    "chunks",
    "input_tokens",
    "output_tokens",
    "without_usage",
)
_STREAM_FIELDS: Final = (
    "t",
    "outcome",
    "status",
    "ttfb",
    "ttft",
    "e2e",
    "max_gap",
    "output_tokens",
    "worker",
    "scenario",
    "turn",
)
SLOWEST: Final = 10
"""Of so many requests, the slowest of a run, the run file has the times of all events."""
GAP_BOUNDS: Final = tuple(figure * 10**power for power in range(6) for figure in (1, 2, 5))
"""Milliseconds between which the gaps of a second are counted; what is shorter counts under 0."""
_EVIDENCE_TOTAL: Final = 20
_EVIDENCE_EACH: Final = 3
_STEADY_SHARE: Final = 0.8
_IDLE_SHARE: Final = 0.4
_EVENTS_PER_PROCESS: Final = 20_000
"""Content deltas a second that one process reads with sub-millisecond time stamps on an ordinary core."""

VERDICTS: Final = ("VALID", "SUSPECT", "CLIENT-BOUND")
"""What a generator says of its own figures, the worst last."""
_NO_LIMITS: Final = Limits(())


@dataclass(slots=True)
class TimeBucket:
    """What happened in one second of the run; tokens are counted when they arrived, not when their request ended."""

    started: int = 0
    finished: int = 0
    failed: int = 0
    ok: int = 0
    good: int = 0
    output_tokens: float = 0.0
    ok_output_tokens: float = 0.0
    input_tokens: float = 0.0
    ttft: Histogram = field(default_factory=Histogram)
    gaps: Counter[int] = field(default_factory=Counter)
    """Gaps between content that ended in this second, by the lower bound of their length in milliseconds."""

    def merge(self, other: TimeBucket) -> None:
        """Add another second."""
        self.gaps.update(other.gaps)
        for name in _SECOND_FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.ttft.merge(other.ttft)


@dataclass(slots=True)
class RunStats:
    """Counts, distributions and samples of some requests; ``good`` ones ended well and kept every limit."""

    finished: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    scenarios: dict[str, Counter[str]] = field(default_factory=dict)
    judged: int = 0
    good: int = 0
    good_unjudged: int = 0
    foreign: int = 0
    deltas: int = 0
    chunks: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    without_usage: int = 0
    histograms: dict[str, Histogram] = field(default_factory=dict)
    seconds: dict[int, TimeBucket] = field(default_factory=dict)
    requests: list[dict[str, Any]] = field(default_factory=list)
    evidence: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    streams: list[dict[str, Any]] = field(default_factory=list)
    """The slowest requests with the times of all their events, the slowest first."""

    def add(
        self,
        recording: Recording,
        exchange: Exchange,
        measured: Measurement,
        zero: int,
        worker: int,
        limits: Limits = _NO_LIMITS,
    ) -> None:
        """Count one request; ``zero`` is the clock reading at the start of the run."""
        outcome = measured.outcome
        self.finished += 1
        self.outcomes[outcome] += 1
        self.rules.update(measured.rules)
        self.judged += measured.judged
        self.foreign += bool(measured.foreign)
        if recording.scenario:
            self.scenarios.setdefault(recording.scenario, Counter())[outcome] += 1
        begun = recording.begun or recording.dispatched
        start, end = (begun - zero) / 1e9, (recording.ended - zero) / 1e9
        # The times of a stream that was given up are those of its beginning only.
        answered = outcome in ANSWERED and Tag.CANCELLED not in recording.tags
        self._second(start).started += 1
        last = self._second(end)
        last.finished += 1
        well = outcome in ENDED_WELL
        last.ok += well
        last.failed += not well and outcome != "cancelled"
        good = limits.keeps(measured, (begun - recording.intended) / 1e9)
        self.good += good
        self.good_unjudged += good and outcome == "unjudged"
        last.good += good
        self._count("dispatch_lag", (recording.dispatched - recording.intended) / 1e9)
        if answered:
            self._add_times(recording, measured, start, well)
        if not well and outcome not in ("cancelled", "censored"):
            self._add_evidence(outcome, measured.rules, exchange)
        self.requests.append(_request_line(recording, measured, zero, worker))

    def add_stream(
        self,
        recording: Recording,
        measured: Measurement,
        events: Sequence[EventSpan],
        zero: int,
        worker: int,
    ) -> None:
        """Keep the events of a request if it is among the slowest; ``events`` are a timeline."""
        line = _request_line(recording, measured, zero, worker)
        kept = (
            "t",
            "outcome",
            "status",
            "ttfb",
            "ttft",
            "e2e",
            "max_gap",
            "output_tokens",
            "worker",
            "scenario",
            "turn",
        )
        stream = {name: line[name] for name in kept if name in line}
        duration = (recording.ended - (recording.begun or recording.dispatched)) / 1e9
        rounded = [[round(begin, 6), round(end, 6), *rest] for begin, end, *rest in events]
        self._keep_streams([{**stream, "duration": round(duration, 6), "slot": recording.slot, "events": rounded}])

    def _keep_streams(self, more: Sequence[dict[str, Any]]) -> None:
        together = sorted([*self.streams, *more], key=lambda line: (-line["duration"], line["worker"], line["slot"]))
        self.streams = together[:SLOWEST]

    def _add_times(self, recording: Recording, measured: Measurement, start: float, ok: bool) -> None:
        lag = (recording.begun - recording.intended) / 1e9
        for suffix in ("", "_ok") if ok else ("",):
            for name in ("ttfb", "ttfe", "ttft", "ttfo", "e2e", "tail", "max_gap", "tpot"):
                value = getattr(measured, name)
                if value is not None:
                    self._count(name + suffix, value)
            if measured.e2e is not None:
                self._count("e2e_intended" + suffix, measured.e2e + lag)
            if measured.ttft is not None:
                self._count("ttft_intended" + suffix, measured.ttft + lag)
            for gap in measured.gaps:
                self._count("itl" + suffix, gap)
        for (at, _), gap in zip(measured.content[1:], measured.gaps, strict=False):
            self._second(start + at).gaps[gap_bound(gap)] += 1
        self._count("sched_lag", lag)
        self.deltas += measured.deltas
        self.chunks += len(measured.content)
        tokens = measured.output_tokens
        self.without_usage += tokens is None
        self.output_tokens += tokens or 0
        self.input_tokens += measured.input_tokens or 0
        if measured.ttft is not None:
            first = self._second(start + measured.ttft)
            first.ttft.add(measured.ttft)
            first.input_tokens += measured.input_tokens or 0
        if tokens:
            pieces = measured.content or [(measured.e2e or 0.0, 1)]
            each = tokens / sum(count for _, count in pieces)
            for at, count in pieces:
                second = self._second(start + at)
                second.output_tokens += each * count
                if ok:
                    second.ok_output_tokens += each * count

    def _count(self, metric: str, seconds: float) -> None:
        histogram = self.histograms.get(metric)
        if histogram is None:
            histogram = self.histograms[metric] = Histogram()
        histogram.add(seconds)

    def _second(self, at: float) -> TimeBucket:
        number = max(0, math.floor(at))
        second = self.seconds.get(number)
        if second is None:
            second = self.seconds[number] = TimeBucket()
        return second

    def _add_evidence(self, outcome: str, rules: list[str], exchange: Exchange) -> None:
        signature = f"{outcome} {' '.join(rules)}"
        if keep_evidence(self.evidence, signature):
            self.evidence.append((signature, exchange.to_json()))

    def merge(self, other: RunStats) -> None:
        """Add another tally."""
        for name in _TALLY_FIELDS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.outcomes.update(other.outcomes)
        self.rules.update(other.rules)
        for scenario, outcomes in other.scenarios.items():
            self.scenarios.setdefault(scenario, Counter()).update(outcomes)
        for metric, histogram in other.histograms.items():
            self.histograms.setdefault(metric, Histogram()).merge(histogram)
        for number, second in other.seconds.items():
            self.seconds.setdefault(number, TimeBucket()).merge(second)
        self.requests.extend(other.requests)
        for signature, exchange in other.evidence:
            if keep_evidence(self.evidence, signature):
                self.evidence.append((signature, exchange))
        self._keep_streams(other.streams)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form that :meth:`from_json` turns back into an equal tally."""
        return {
            **{name: getattr(self, name) for name in _TALLY_FIELDS},
            "outcomes": dict(self.outcomes),
            "rules": dict(self.rules),
            "scenarios": {name: dict(outcomes) for name, outcomes in self.scenarios.items()},
            "histograms": {metric: histogram.to_json() for metric, histogram in self.histograms.items()},
            "seconds": {
                str(number): {
                    **{name: getattr(second, name) for name in _SECOND_FIELDS},
                    "ttft": second.ttft.to_json(),
                    "gaps": {str(bound): count for bound, count in second.gaps.items()},
                }
                for number, second in self.seconds.items()
            },
            "requests": self.requests,
            "evidence": self.evidence,
            "streams": self.streams,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> RunStats:
        """Rebuild a tally from :meth:`to_json`'s form."""
        tally = cls(
            **{name: record[name] for name in _TALLY_FIELDS},
            outcomes=Counter(record["outcomes"]),
            rules=Counter(record["rules"]),
            scenarios={name: Counter(outcomes) for name, outcomes in record["scenarios"].items()},
            histograms={metric: Histogram.from_json(value) for metric, value in record["histograms"].items()},
            requests=list(record["requests"]),
            evidence=[(signature, exchange) for signature, exchange in record["evidence"]],
            streams=list(record["streams"]),
        )
        for number, value in record["seconds"].items():
            second = TimeBucket(**{name: value[name] for name in _SECOND_FIELDS})
            second.ttft = Histogram.from_json(value["ttft"])
            second.gaps = Counter({int(bound): count for bound, count in value["gaps"].items()})
            tally.seconds[int(number)] = second
        return tally

    @property
    def judgeable(self) -> int:
        """How many requests brought something that the rules apply to."""
        return sum(self.outcomes[name] for name in (*JUDGEABLE, "unjudged"))

    @property
    def unjudged_bound(self) -> float | None:
        """The greatest share of the unjudged answers that breaks a rule, with 99 %, going by those that were judged."""
        broken = self.outcomes["nonconforming"]
        return share_bound(broken, min(self.judged, self.outcomes["ok"] + broken))

    def second_lines(self) -> list[dict[str, Any]]:
        """Return the ``second`` sample lines, without holes, in order of time."""
        lines = []
        in_flight = 0
        for number in range(max(self.seconds, default=-1) + 1):
            second = self.seconds.get(number) or TimeBucket()
            in_flight += second.started - second.finished
            line: dict[str, Any] = {
                "t": number,
                "started": second.started,
                "finished": second.finished,
                "failed": second.failed,
                "in_flight": in_flight,
                "output_tokens": round(second.output_tokens, 1),
            }
            if second.ttft.n:
                line["ttft_p50"] = second.ttft.percentile(50)
                line["ttft_p99"] = second.ttft.percentile(99)
            if second.gaps:
                line["gaps"] = {str(bound): second.gaps[bound] for bound in sorted(second.gaps)}
            lines.append(line)
        return lines


def gap_bound(seconds: float) -> int:
    """Return the greatest of :data:`GAP_BOUNDS` that is not above a gap, in milliseconds, or 0."""
    place = bisect_right(GAP_BOUNDS, round(seconds * 1e3, 3))
    return GAP_BOUNDS[place - 1] if place else 0


def keep_evidence(kept: list[tuple[str, dict[str, Any]]], signature: str) -> bool:
    """Return whether one more exchange of this signature is wanted: few of each sort, and not many in all."""
    return len(kept) < _EVIDENCE_TOTAL and sum(known == signature for known, _ in kept) < _EVIDENCE_EACH


def _request_line(recording: Recording, measured: Measurement, zero: int, worker: int) -> dict[str, Any]:
    begun = recording.begun or recording.dispatched
    line: dict[str, Any] = {
        "t": round((begun - zero) / 1e9, 6),
        "intended": round((recording.intended - zero) / 1e9, 6),
        "outcome": measured.outcome,
    }
    for name in ("status", "ttfb", "ttfe", "ttft", "ttfo", "e2e", "tail", "max_gap"):
        value = getattr(measured, name)
        if value is not None:
            line[name] = round(value, 6)
    if measured.content:
        line["chunks"] = len(measured.content)
        line["deltas"] = measured.deltas
    for name in ("input_tokens", "output_tokens"):
        if getattr(measured, name) is not None:
            line[name] = getattr(measured, name)
    line["worker"] = worker
    if measured.rules:
        line["rules"] = measured.rules
    if recording.scenario:
        line["scenario"] = recording.scenario
    if recording.turn:
        line["turn"] = recording.turn
    if measured.detail:
        line["detail"] = measured.detail
    return line


@dataclass(slots=True)
class SelfCheck:
    """What one generator process says about itself. ``cpu`` holds its share of one core for each second."""

    started: int = 0
    reconnects: int = 0
    loop_lag: Histogram = field(default_factory=Histogram)
    cpu: list[float] = field(default_factory=list)
    max_in_flight: int = 0
    capped: int = 0
    throttled: bool = False
    died: bool = False
    analyst_lost: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-serialisable form."""
        return {
            "started": self.started,
            "reconnects": self.reconnects,
            "loop_lag": self.loop_lag.to_json(),
            "cpu": [round(value, 3) for value in self.cpu],
            "max_in_flight": self.max_in_flight,
            "capped": self.capped,
            "throttled": self.throttled,
            "died": self.died,
            "analyst_lost": self.analyst_lost,
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> SelfCheck:
        """Rebuild a self-check from :meth:`to_json`'s form."""
        return cls(**{**record, "loop_lag": Histogram.from_json(record["loop_lag"])})


def steady_window(tally: RunStats, settings: LoadSettings, issued: float) -> tuple[float, float]:
    """Return the part of the run in which the load was what was asked for, in seconds.

    Closed loop: the longest run of whole seconds with at least 80 % of the peak in flight at both edges. Open loop:
    from the time by which half of the requests of the first moment had ended, to the last start. ``issued`` is how long
    requests were issued. A run too short for that gets the time after its ramp.
    """
    if settings.mode == "open":
        median = tally.histograms.get("e2e", Histogram()).percentile(50) or 0.0
        return round(min(median, issued / 2), 3), round(issued, 3)
    levels = [0, *(line["in_flight"] for line in tally.second_lines())]
    floor = _STEADY_SHARE * max(levels)
    best = (0, 0)
    begin = None
    for number, level in enumerate(levels):
        if level < floor or not level or number > issued:
            begin = None
        elif begin is None:
            begin = number
        elif number - begin > best[1] - best[0]:
            best = (begin, number)
    if best[1] > best[0]:
        return float(best[0]), float(best[1])
    return round(min(settings.ramp_seconds, issued), 3), round(issued, 3)


def load_line(
    tally: RunStats, checks: list[SelfCheck], settings: LoadSettings, *, issued: float, notes: list[str] | None = None
) -> dict[str, Any]:
    """Return the ``load`` sample line: settings, ledger, rates and the generator's own verdict on itself.

    ``issued`` is for how many seconds requests were issued; ``notes`` are reasons known outside that make the
    result suspect.
    """
    window = steady_window(tally, settings, issued)
    whole = (0.0, max(issued, (max(tally.seconds, default=0) + 1.0) if tally.seconds else issued))
    started, lost = _ledger(tally, checks)
    outcomes = Counter(tally.outcomes)
    # What has no outcome was in flight when whoever had it died.
    outcomes["censored"] += lost
    slos = parse_slos(settings.slos)
    rates = _rates(tally, window)
    counts = {name: outcomes[name] for name in OUTCOMES if outcomes[name]}
    goals: dict[str, Any] = {}
    if tally.scenarios:
        goals["scenarios"] = [
            {"name": name, "outcomes": dict(tally.scenarios[name])} for name in sorted(tally.scenarios)
        ]
    if slos:
        goals["limits"] = Limits(slos).texts
        goals["slos"] = evaluate(slos, histograms=tally.histograms, outcomes=counts, good=tally.good, rates=rates)
        for result in goals["slos"]:
            if result["metric"] == "goodput" and tally.good_unjudged:
                result["unjudged"] = tally.good_unjudged
                result["unjudged_bound"] = tally.unjudged_bound
    return {
        "mode": settings.mode,
        "settings": settings.to_json(),
        "started": started,
        "outcomes": counts,
        "rules": dict(tally.rules.most_common()),
        "judged": tally.judged,
        "unjudged": tally.outcomes["unjudged"],
        **({"unjudged_bound": tally.unjudged_bound} if tally.outcomes["unjudged"] else {}),
        "issued": round(issued, 3),
        "window": list(window),
        "rates": rates,
        "rates_whole_run": _rates(tally, whole),
        "latencies_over": list(ANSWERED),
        "input_tokens": tally.input_tokens,
        "output_tokens": tally.output_tokens,
        "self_check": self_check(tally, checks, settings, issued, notes or []),
        "good": tally.good,
        "cross_talk": tally.foreign,
        "percentiles": percentile_lines(tally.histograms),
        **goals,
    }


def _ledger(tally: RunStats, checks: list[SelfCheck]) -> tuple[int, int]:
    """Return how many requests were started, and how many of them have no outcome."""
    ended = sum(tally.outcomes.values())
    # A process that died may have reported results after its last count of starts.
    started = max(sum(check.started for check in checks), ended)
    return started, started - ended


def _rates(tally: RunStats, window: tuple[float, float]) -> dict[str, float]:
    """Return totals per second inside a window; a second that is partly inside counts by that part."""
    low, high = window
    totals = dict.fromkeys(_SECOND_FIELDS, 0.0)
    for number, second in tally.seconds.items():
        part = min(high, number + 1) - max(low, number)
        if part > 0:
            for name in totals:
                totals[name] += getattr(second, name) * min(part, 1.0)
    length = high - low
    return {f"{name}_per_s": round(total / length, 3) if length > 0 else 0.0 for name, total in totals.items()}


def self_check(
    tally: RunStats, checks: list[SelfCheck], settings: LoadSettings, issued: float, notes: list[str]
) -> dict[str, Any]:
    """Return what the generator says about itself: ``VALID``, ``SUSPECT`` or ``CLIENT-BOUND``, with reasons.

    ``CLIENT-BOUND``: the generator, not the server, may have set the numbers (its event loop was late by more than
    20 ms in more than 1 % of the 10 ms probes, it used over 90 % of its core, or started requests over 50 ms late).
    ``SUSPECT``: the same at 5 ms, 75 % and 10 ms, or anything that was lost or cut. Times in seconds.
    """
    lag = Histogram()
    for check in checks:
        lag.merge(check.loop_lag)
    # The first and the last second of a process hold its start and its end, which no stream sees.
    cpu = [value for check in checks for value in (check.cpu[1:-1] or check.cpu)]
    cpu_mean = max((_mean(check.cpu[1:-1] or check.cpu) for check in checks), default=0.0)
    dispatch = tally.histograms.get("dispatch_lag", Histogram())
    _, lost = _ledger(tally, checks)
    bound: list[str] = []
    suspect: list[str] = list(notes)

    def grade(value: float | None, limits: tuple[float, float], text: str) -> None:
        if value is not None and value > limits[1]:
            bound.append(text)
        elif value is not None and value > limits[0]:
            suspect.append(text)

    lag_p99, dispatch_p99 = lag.percentile(99), dispatch.percentile(99)
    # Late without having worked: the machine was busy with something else, perhaps with the endpoint itself.
    starved = " though it used little of its core: other processes took its time" if cpu_mean < _IDLE_SHARE else ""
    grade(lag_p99, (0.005, 0.020), f"the event loop was late by {_ms(lag_p99)} (p99 of 10 ms probes){starved}")
    grade(cpu_mean, (0.75, 0.90), f"a generator process used {cpu_mean:.0%} of a core")
    grade(dispatch_p99, (0.010, 0.050), f"requests were started {_ms(dispatch_p99)} late (p99)")
    if any(check.throttled for check in checks):
        bound.append("requests waited for the analysis of earlier ones")
    if lost:
        suspect.append(f"{lost} started requests have no outcome")
    if tally.without_usage:
        suspect.append(f"{tally.without_usage} answers carry no usage, so their tokens are not counted")
    if any(check.died for check in checks):
        suspect.append("a generator process died; what it had not reported, about the last second, is missing")
    if any(check.analyst_lost for check in checks):
        suspect.append("an analysing process died and its work was done beside the load")
    if any(check.capped for check in checks):
        suspect.append(f"{sum(check.capped for check in checks)} starts waited for the limit of requests in flight")
    overworked = bool(bound) and cpu_mean >= _IDLE_SHARE
    events = tally.deltas / issued if issued > 0 else 0.0
    return {
        "verdict": "CLIENT-BOUND" if bound else "SUSPECT" if suspect else "VALID",
        "reasons": bound + suspect,
        "loop_lag_p50": lag.percentile(50),
        "loop_lag_p99": lag_p99,
        "loop_lag_max": lag.percentile(100),
        "dispatch_lag_p99": dispatch_p99,
        "cpu_mean": round(cpu_mean, 3),
        "cpu_max": round(max(cpu, default=0.0), 3),
        "coalescing": round(tally.deltas / tally.chunks, 3) if tally.chunks else None,
        "events_per_s": round(events, 1),
        "processes": len(checks),
        "processes_advised": max(math.ceil(events / _EVENTS_PER_PROCESS), len(checks) * (2 if overworked else 1)),
        "reconnects": sum(check.reconnects for check in checks),
        "max_in_flight": sum(check.max_in_flight for check in checks),
        "lost": lost,
    }


def unjudged_sentence(line: Mapping[str, Any]) -> str:
    """Return what has to be known of the answers that were not judged by all rules, from a ``load`` line."""
    bound = line.get("unjudged_bound")
    sure = (
        "none was, so nothing is known of them"
        if bound is None
        else f"at most {bound:.2%} of them break one, with 99 %"
    )
    well = line["unjudged"] + line["outcomes"].get("ok", 0)
    return (
        f"{line['unjudged']} of {well} answers that ended well were judged by order, end and canary only, since no "
        f"core was free to ask all rules; going by those that were judged, {sure}."
    )


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.1f} ms"
