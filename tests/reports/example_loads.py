"""Load runs that the real writers make, in process, of chosen requests: the same statistics, lines, searches and files.

Only sockets, clocks and the judging of streams are left out, so every figure of a report can be worked out by hand.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.contract import load_dialect
from rejoinder.load.decide.find_highest import SearchRange, find_highest
from rejoinder.load.decide.regression import parse_changes
from rejoinder.load.decide.repetitions import run_repeats
from rejoinder.load.decide.search import SearchRun, sweep
from rejoinder.load.measure.load_line import load_line, result_samples
from rejoinder.load.measure.measure import EventSpan, Measurement, take_times
from rejoinder.load.measure.recording import Receives, Recording
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stats import RunStats
from rejoinder.load.measure.tokens import Tokens
from rejoinder.load.objectives.slo import RequestLimits, parse_slos
from rejoinder.load.run import LoadResult, Sink
from rejoinder.load.settings import LoadSettings
from rejoinder.load.telemetry import Scrape, Telemetry
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.footer import Footer
from rejoinder.model.header import Header
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import Run, RunWriter, read_run
from rejoinder.model.samples import HistogramSample, Sample
from rejoinder.model.verdict import Problem

OK = RequestOutcome.OK
SETTINGS = LoadSettings(url="http://127.0.0.1:8000/v1/responses", model="tiny-llm", rate=30.0, duration=40.0)
EXCHANGE = Exchange("x", Request("POST", "/v1/responses"), Outcome.COMPLETE, 200, role="stream")

REFUSED = {RequestOutcome.FAILED, RequestOutcome.HTTP_4XX, RequestOutcome.HTTP_429, RequestOutcome.HTTP_5XX}
"""The outcomes of requests that the endpoint answered with an error."""


@dataclass(slots=True)
class Sent:
    """A request as it went: ``t`` when it began, from the start of the run, ``lag`` that after its schedule.

    Content came after ``ttft`` seconds and after each of ``gaps``, one delta a time; the end ``tail`` after that. A
    request without content ended ``tail`` after its beginning.
    """

    t: float
    ttft: float | None = None
    gaps: Sequence[float] = ()
    outcome: RequestOutcome = OK
    tokens: int | None = None
    tail: float = 0.0002
    lag: float = 0.0004
    status: int | None = 200
    rules: Sequence[str] = ()
    detail: str = ""
    scenario: str = ""
    judged: bool = True
    foreign: bool = False
    slot: int = 0

    @property
    def arrivals(self) -> list[float]:
        """When content came."""
        if self.ttft is None:
            return []
        found = [self.ttft]
        for gap in self.gaps:
            found.append(found[-1] + gap)
        return found

    @property
    def length(self) -> float:
        """How long it took."""
        return (self.arrivals[-1] if self.ttft is not None else 0.0) + self.tail

    def recording(self) -> Recording:
        """Return it as the generator records it."""
        begun, intended = round(self.t * 1e9), round((self.t - self.lag) * 1e9)
        ended = begun + round(self.length * 1e9)
        return Recording(
            *(self.slot, intended, intended, begun, ended, 0.0, "complete", "", b"", Receives()), scenario=self.scenario
        )

    def measurement(self) -> Measurement:
        """Return what is measured of it."""
        ended = self.outcome.row.answered or self.outcome is RequestOutcome.FAILED
        measured = Measurement(
            outcome=self.outcome,
            detail=self.detail,
            rules=list(self.rules),
            voiding=list(self.rules) if self.outcome is RequestOutcome.NONCONFORMING else [],
            voided=bool(self.rules) and self.outcome is RequestOutcome.NONCONFORMING,
            problems={rule: [Problem(f"{rule} is broken.", pointer="/sequence_number")] for rule in self.rules},
            judged=self.judged and self.outcome.row.judgeable and self.outcome is not RequestOutcome.UNJUDGED,
            status=self.status,
            head=0.005 if self.ttft is not None else None,
            first_event=0.012 if self.ttft is not None else None,
            first_output=self.ttft,
            end=self.length if ended else None,
            content=[(at, 1) for at in self.arrivals],
            deltas=len(self.arrivals),
            usage={} if self.tokens is None else {"input_tokens": 12, "output_tokens": self.tokens},
            refused=self.outcome in REFUSED,
            foreign=["(Request rj0000000000000000.)"] if self.foreign else [],
        )
        measured.tokens = Tokens(self.tokens, self.tokens, pieces=measured.content)
        reply = Exchange("x", Request("POST", "/"), Outcome.COMPLETE, ended_at=self.length)
        take_times(ExchangeView(reply, load_dialect()), measured)
        return measured

    def events(self) -> list[EventSpan]:
        """Return its timeline."""
        found: list[EventSpan] = [
            (0.012, 0.012, "response.created", 1, 0),
            (0.012, 0.012, "response.in_progress", 1, 640),
        ]
        byte = 1280
        for number, at in enumerate(self.arrivals):
            if not number:
                found.append((at, at, "response.output_item.added", 1, byte))
            byte += 190
            found.append((at, at, "response.output_text.delta", 1, byte))
        if self.outcome.row.answered:
            found.append((self.length, self.length, "response.completed", 1, byte + 190))
        return found


@dataclass(slots=True)
class Memory:
    """Takes what a run writes."""

    samples: list[Sample] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list)

    def sample(self, sample: Sample) -> None:
        """Keep a sample."""
        self.samples.append(sample)

    def exchange(self, exchange: Exchange) -> None:
        """Keep an exchange."""
        self.exchanges.append(exchange)


def statistics(requests: Iterable[Sent], settings: LoadSettings = SETTINGS) -> RunStats:
    """Return the statistics that a generator keeps of requests."""
    stats, limits = RunStats(), RequestLimits(parse_slos(settings.slos))
    for sent in requests:
        recording, measured = sent.recording(), sent.measurement()
        unsent = sent.outcome is RequestOutcome.TRANSPORT and sent.status is None
        stats.add(recording, replace(EXCHANGE, outcome=Outcome.REFUSED) if unsent else EXCHANGE, measured, 0, 0, limits)
        stats.add_stream(recording, measured, sent.events(), 0, 0)
    return stats


def check(started: int, lag: float = 0.0012, cpu: float = 0.31, **fields: Any) -> SelfCheck:
    """Return the self-check of a process whose event loop was late by ``lag`` seconds."""
    found = SelfCheck(started=started, cpu=[cpu] * 4, max_in_flight=24, **fields)
    for _ in range(200):
        found.loop_lag.add(lag)
    return found


def result_of(
    requests: Sequence[Sent],
    sink: Sink,
    settings: LoadSettings = SETTINGS,
    *,
    lag: float = 0.0012,
    notes: Sequence[str] = (),
    server: Telemetry | None = None,
    last: bool = True,
) -> LoadResult:
    """Write the lines of a run of these requests as :func:`rejoinder.load.run.run_load` does; ``last``: the totals."""
    stats = statistics(requests, settings)
    load = load_line(stats, [check(len(requests), lag)], settings, issued=settings.duration, notes=notes)
    for request in stats.requests:
        sink.sample(request)
    if server is not None:
        load.server = server.summary(0, stats.histograms.get("ttft"))
    for sample in result_samples(stats, server.seconds(0) if server else {}):
        sink.sample(sample)
    if last:
        sink.sample(load)
    return LoadResult(load.started, load.outcomes, stats.histograms, load)


def recorded(requests: Sequence[Sent], slos: Sequence[str] = (), **settings: Any) -> list[Sample]:
    """Return the lines of an open loop that sent these requests, by default for 10 s."""
    sink = Memory()
    result_of(requests, sink, replace(SETTINGS, slos=tuple(slos), **{"duration": 10.0, **settings}))
    return sink.samples


def histogram(metric: str, values: Iterable[float]) -> HistogramSample:
    """Return the ``histogram`` line of durations in seconds."""
    found = Histogram()
    for value in values:
        found.add(value)
    return HistogramSample(metric=metric, values=found, unit="us")


def run_file(samples: Iterable[Sample], header: Header, footer: Footer | None = None) -> bytes:
    """Return a run file with these lines."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.ndjson"
        with RunWriter(path) as writer:
            writer.header(header)
            for sample in samples:
                writer.sample(sample)
            if footer is not None:
                writer.footer(footer)
        return path.read_bytes()


def read(data: bytes) -> Run:
    """Return a run file in memory."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "run.ndjson"
        path.write_bytes(data)
        return read_run(path)


MIXTURE = (
    *[OK] * 180,
    *[RequestOutcome.NONCONFORMING] * 4,
    *[RequestOutcome.TRUNCATED] * 3,
    *[RequestOutcome.HTTP_429] * 5,
    RequestOutcome.TIMEOUT,
)


def requests_with_a_stall(
    duration: float = 40.0, rate: float = 30.0, seed: int = 7, outcomes: Sequence[RequestOutcome] = MIXTURE
) -> list[Sent]:
    """Return the requests of a run with a stall in its second half."""
    dice = random.Random(seed)
    found = []
    for number in range(int(duration * rate)):
        t = number / rate + 0.001
        stall = 0.9 if 0.6 < t / duration < 0.7 else 0.0
        ttft = 0.03 + dice.lognormvariate(-3.6, 0.5) + stall * dice.random()
        tokens = dice.randint(24, 64)
        gaps = [dice.lognormvariate(-4.4, 0.35) for _ in range(tokens - 1)]
        if stall and not number % 5:
            gaps[tokens // 2] += 2.5
        outcome = dice.choice(outcomes)
        sent = Sent(t, ttft, gaps, outcome, tokens, scenario="chat" if number % 6 else "tool call", slot=number)
        if outcome is RequestOutcome.NONCONFORMING:
            sent.rules, sent.detail = ("EVT-02",), "broke EVT-02"
        elif outcome is RequestOutcome.TRUNCATED:
            sent.detail = "no terminal event after 41 events"
        elif outcome is RequestOutcome.HTTP_429:
            sent = replace(sent, status=429, ttft=None, gaps=(), tokens=None, tail=0.01, detail="HTTP 429: slow down")
        elif outcome is RequestOutcome.TIMEOUT:
            sent = replace(sent, status=None, ttft=None, gaps=(), tokens=None, tail=2.0, detail="no end within 2 s")
        found.append(sent)
    return found


def server_of(duration: float, stall_at: float = 0.75) -> Telemetry:
    """Return what a server and its GPUs report once a second."""
    telemetry = Telemetry(())
    scrapes: list[Scrape] = []
    telemetry.series["page"] = scrapes
    totals = {"hits": 0.0, "queries": 0.0, "preempted": 0.0, "ttft_sum": 0.0, "ttft_count": 0.0}
    for second in range(int(duration) + 2):
        totals["hits"] += 42
        totals["queries"] += 100
        totals["preempted"] += second == int(stall_at * duration)
        totals["ttft_sum"] += 30 * (0.02 + 0.01 * math.sin(second))
        totals["ttft_count"] += 30
        gauges = {"running": min(second, 24), "waiting": max(0, second - 24), "gpu_percent": 91.0, "gpu_power": 412.5}
        gauges |= {"cache_use": round(min(0.97, 0.2 + second / duration), 4), "gpu_memory": 71_200.0}
        scrapes.append(Scrape(round((second + 0.5) * 1e9), {**totals, **gauges}))
    return telemetry


def load_samples(
    duration: float = 40.0,
    rate: float = 30.0,
    *,
    slos: Sequence[str] = ("ttft:p50<60ms",),
    lag: float = 0.0012,
    notes: Sequence[str] = (),
    server: bool = True,
    outcomes: Sequence[RequestOutcome] = MIXTURE,
    change: Callable[[Sent], Sent] | None = None,
) -> list[Sample]:
    """Return the lines of an open loop with a stall in its second half; ``change`` is applied to each request."""
    sink = Memory()
    settings = replace(SETTINGS, duration=float(duration), rate=rate, slos=tuple(slos))
    requests = requests_with_a_stall(duration, rate, outcomes=outcomes)
    if change is not None:
        requests = [change(sent) for sent in requests]
    result_of(requests, sink, settings, lag=lag, notes=notes, server=server_of(duration) if server else None)
    return sink.samples


def closed_loop(level: int, settings: LoadSettings) -> list[Sent]:
    """Return the requests of a closed loop on a server whose throughput levels out: Little's law sets their length."""
    answers = 50 * (1 - math.exp(-level / 14))
    length = level / answers
    ttft = 0.02 + level / 900 + (level / 120) ** 2
    each = max(0.001, (length - ttft) / 39)
    dice = random.Random(level)
    found = []
    for slot in range(level):
        t = slot * length / level
        while t < settings.duration:
            first = ttft * dice.uniform(0.9, 1.3)
            found.append(Sent(t, first, [each] * 39, tokens=40, slot=slot, tail=0.0))
            t += found[-1].length
    return found


def sweep_samples(levels: int = 9, saturating: bool = True) -> list[Sample]:
    """Return the lines of a sweep over powers of two, in whose last step the generator was the limit."""
    sink, settings = Memory(), replace(SETTINGS, rate=None, concurrency=1, duration=10.0)
    top = 1 << (levels - 1)

    def run(step: LoadSettings, into: Sink) -> LoadResult:
        assert step.concurrency is not None
        limit = step.concurrency == top and saturating
        return result_of(closed_loop(step.concurrency, step), into, step, lag=0.03 if limit else 0.001, last=False)

    sweep(settings, [1 << power for power in range(levels)], SearchRun(sink, run))
    return sink.samples


def rate_samples(highest: float | None = 22.4) -> list[Sample]:
    """Return the lines of a search for the highest rate at which the first token comes in time."""
    sink, settings = Memory(), replace(SETTINGS, duration=6.0, slos=("ttft:p99<300ms",))

    def run(step: LoadSettings, into: Sink) -> LoadResult:
        assert step.rate is not None
        first = 0.2 if highest is not None and step.rate <= highest else 0.4
        sent = [
            Sent(number / step.rate, first, [0.01] * 9, tokens=10) for number in range(int(step.duration * step.rate))
        ]
        return result_of(sent, into, step, last=False)

    find_highest(settings, SearchRange("rate", 4.0, 100.0), SearchRun(sink, run))
    return sink.samples


LIMITS = ("ttft:p99<+10%", "e2e:p50<+5%", "output_tokens>-5%", "itl:p99<+5%")


def repeat_samples(limits: Sequence[str] = LIMITS) -> list[Sample]:
    """Return the lines of repeats in turns with another endpoint, with a change of every verdict.

    Against the other, the first token is 30 % slower, the end varies, gaps are a quarter shorter.
    """
    sink, dice = Memory(), random.Random(3)
    settings = replace(SETTINGS, rate=20.0, duration=15.0)

    def run(side: LoadSettings, into: Sink) -> LoadResult:
        ours = side.url == settings.url
        first = (0.26 if ours else 0.2) * dice.uniform(0.97, 1.03)
        gap, tail = 0.015 if ours else 0.02, dice.uniform(0.1, 0.9)
        sent = [Sent(number / 20, first, [gap] * 19, tokens=20, tail=tail) for number in range(300)]
        sent[-1].outcome = sent[-2].outcome = RequestOutcome.FAILED
        return result_of(sent, into, side, last=False)

    other = replace(settings, url="http://127.0.0.1:9000/v1/responses")
    run_repeats(settings, sink, repeats=5, against=other, changes=parse_changes(limits), run=run)
    return sink.samples


def unanswered_samples() -> list[Sample]:
    """Return the lines of a run in which no connection came about."""
    sink = Memory()
    settings = replace(SETTINGS, rate=4.0, duration=5.0, slos=("ttft:p99<300ms", "ttft<300ms", "goodput>=0%"))
    failed = RequestOutcome.TRANSPORT
    sent = [Sent(number / 4, outcome=failed, status=None, tail=0.01, detail="no connection") for number in range(20)]
    result_of(sent, sink, settings)
    return sink.samples


@cache
def cached(make: Callable[..., list[Sample]], *arguments: Any, **options: Any) -> tuple[Sample, ...]:
    """Return what a function of this module returns, which is made once."""
    return tuple(make(*arguments, **options))
