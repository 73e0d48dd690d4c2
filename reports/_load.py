"""The load part of a run, read from its sample lines: totals, distributions, seconds, slowest requests."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from rejoinder.formatting import (
    as_number,
    format_count,
    format_percent,
    format_rate,
    format_seconds,
    one_line,
    plural,
)
from rejoinder.model.histogram import Bucket, Histogram, values_for
from rejoinder.model.metrics import SERVER, TIMES, row_of
from rejoinder.model.outcomes import (
    OUTCOMES,
    OutcomeCounts,
    RequestOutcome,
    counted_of,
    good_of,
    judgeable_of,
)
from rejoinder.model.runfile import Run
from rejoinder.model.samples import (
    HistogramSample,
    LoadSample,
    Percentile,
    Percentiles,
    ProbeSample,
    Repeat,
    RequestSample,
    ScenarioOutcomes,
    SearchResult,
    SearchStep,
    SecondSample,
    StreamSample,
)
from rejoinder.reports._objectives import Objective, read_changes, read_objectives, read_probes
from rejoinder.reports._repeats import Repeats, read_repeats
from rejoinder.reports._search import Search, read_search
from rejoinder.reports._streams import Slow, read_slowest

_MAX_SECONDS: Final = 180
_STALL: Final = 10
"""A gap of so many times the median is called a stall, if it is a noticeable one."""
_STALL_LEAST: Final = 0.1
_COALESCED: Final = 1.5


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution of one metric; all values are seconds."""

    metric: str
    title: str
    meaning: str
    only_ok: bool
    values: Histogram
    bounds: Percentiles | None = None

    @property
    def n(self) -> int:
        """The number of values."""
        return self.values.n

    @property
    def mean(self) -> float | None:
        """The mean of all values."""
        return self.values.mean

    @property
    def high(self) -> float | None:
        """The largest value."""
        return self.values.longest

    @property
    def buckets(self) -> list[Bucket]:
        """The values, rounded to their buckets."""
        return self.values.buckets

    def percentile(self, p: float) -> float | None:
        """Return the nearest-rank percentile, or ``None`` when fewer than one value would lie above it."""
        return self.values.percentile(p)

    def word(self, p: float) -> str:
        """Return a percentile as text, or how many values it needs."""
        value = self.percentile(p)
        return f"needs n {format_count(values_for(p))}" if value is None else format_seconds(value)

    def quantile(self, q: float) -> float | None:
        """Return the value at rank ``ceil(q * n)``, however few values there are."""
        return self.values.nearest_rank(100 * q)

    def bound(self, p: float) -> Percentile | None:
        """Return how sure a percentile is, where the run says so."""
        return self.bounds.at(p) if self.bounds else None


class Second(NamedTuple):
    """One or more seconds of the run: rates per second, requests in flight, time to first token in seconds.

    ``gaps`` are those that ended here, by the lower bound of their length in seconds; ``server`` has what the server
    reported, by the names of :data:`~rejoinder.model.metrics.SERVER`.
    """

    t: float
    started: float
    finished: float
    failed: float
    in_flight: float
    tokens: float
    ttft_p50: float | None
    ttft_p99: float | None
    gaps: dict[float, int]
    server: dict[str, float]


class Scenario(NamedTuple):
    """One kind of request of the workload, with how many of them ended in which way."""

    name: str
    amount: int
    ok: int
    others: str


class Remark(NamedTuple):
    """Something about the run that a figure alone does not say; ``severity`` is that of its sign."""

    severity: str
    text: str


class Says(NamedTuple):
    """One figure of the server over the whole run, as text."""

    name: str
    meaning: str
    mean: str
    most: str


class Entry(NamedTuple):
    """One line of the outcome ledger."""

    outcome: str
    meaning: str
    amount: int
    good: bool


@dataclass(slots=True)
class Load:
    """What a report shows of a load run."""

    verdict: str = ""
    reasons: list[str] = field(default_factory=list)
    settings: list[tuple[str, str]] = field(default_factory=list)
    rates: list[tuple[str, str]] = field(default_factory=list)
    self_check: list[tuple[str, str]] = field(default_factory=list)
    whole: bool = True
    """Whether the run came to its end and wrote its totals."""
    started: int = 0
    ok: int = 0
    duration: float | None = None
    window: tuple[float, float] | None = None
    rate: float | None = None
    tokens_rate: float | None = None
    ledger: list[Entry] = field(default_factory=list)
    distributions: list[Distribution] = field(default_factory=list)
    seconds: list[Second] = field(default_factory=list)
    step: int = 1
    slowest: list[Slow] = field(default_factory=list)
    objectives: list[Objective] = field(default_factory=list)
    search: Search | None = None
    repeats: Repeats | None = None
    scenarios: list[Scenario] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    server: list[Says] = field(default_factory=list)
    judged: tuple[int, int] | None = None
    """How many answers the rules judged, of how many that they apply to."""
    goodput: float | None = None
    """Share of the started requests that ended well and kept every limit; ``None`` where there is no limit."""
    broken_rules: list[tuple[str, int]] = field(default_factory=list)
    latencies_over: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def distribution(self, *metrics: str) -> Distribution | None:
        """Return the first of the named metrics that has values."""
        return next((d for name in metrics for d in self.distributions if d.metric == name and d.n), None)

    @property
    def bad(self) -> int:
        """Requests that ended badly; those that the client or the end of the run cut off are not among them."""
        return sum(entry.amount for entry in self.ledger if RequestOutcome(entry.outcome).row.bad)

    @property
    def missed(self) -> list[Objective]:
        """The objectives, limits of changes among them, that were not met."""
        return [objective for objective in self.objectives if objective.severity == "fail"]

    @property
    def intolerable(self) -> int:
        """Requests that ended badly where no objective says how many may; such an objective decides instead."""
        return 0 if any(objective.of_share for objective in self.objectives) else self.bad


def read_load(run: Run) -> Load | None:
    """Return the load part of a run, or ``None`` when it has no samples."""
    if not run.samples:
        return None
    requests, total = run.samples_of(RequestSample), run.load
    steps, repeats = run.samples_of(SearchStep), run.samples_of(Repeat)
    counts = _outcomes(total, steps, repeats, requests)
    load = Load(
        whole=total is not None,
        started=total.started if total else sum(counts.values()),
        ok=good_of(counts),
        ledger=[
            Entry(outcome.value, row.meaning, counts.get(outcome, 0), row.good)
            for outcome, row in OUTCOMES.items()
            if counts.get(outcome) or outcome is RequestOutcome.OK
        ],
        distributions=_distributions(run.samples_of(HistogramSample), total.percentiles if total else ()),
        slowest=read_slowest(run.samples_of(StreamSample) or requests),
        objectives=[
            *(read_objectives(total.slos) if total else ()),
            *(read_changes(total.changes) if total else ()),
            *read_probes(run.samples_of(ProbeSample)),
        ],
        search=read_search(total.search if total else _cut_search(steps)),
        repeats=read_repeats(total.repeats if total else repeats, total.changes if total else ()),
        broken_rules=_broken_rules(total, requests),
    )
    load.seconds, load.step = _seconds(run.samples_of(SecondSample))
    known = sum(counts.values())
    if known != load.started:
        load.warnings.append(f"The outcomes add up to {known:,}, but {load.started:,} requests were started.")
    if total is None:
        ended = len(steps) or len(repeats)
        covered = f"are of the {plural(ended, 'step')} that had ended" if ended else "cover only what was written"
        load.warnings.append(f"The load run has no totals: it ended early, so its figures {covered}.")
        if load.seconds:
            load.duration = load.seconds[-1].t + load.step
    else:
        _read_totals(load, total)
    if load.rate is None and load.duration:
        load.rate = load.ok / load.duration
    if load.tokens_rate is None and load.duration and any(s.tokens for s in load.seconds):
        load.tokens_rate = sum(s.tokens for s in load.seconds) * load.step / load.duration
    load.remarks = _remarks(load, total, counts)
    return load


def _outcomes(
    total: LoadSample | None, steps: Sequence[SearchStep], repeats: Sequence[Repeat], requests: Sequence[RequestSample]
) -> OutcomeCounts:
    """Return how requests ended; without totals those of the steps that had ended, else of the request lines."""
    if total is not None:
        return total.outcomes
    counts: Counter[RequestOutcome] = Counter()
    for outcomes in [step.outcomes for step in steps] + [repeat.outcomes for repeat in repeats]:
        counts.update(outcomes)
    if not counts:
        for request in requests:
            counts[request.outcome] += request.weight
    return counts


def _cut_search(steps: Sequence[SearchStep]) -> SearchResult | None:
    """Return what is known of a search that did not come to its end."""
    if not steps:
        return None
    kind: Any = "rate" if any(step.rate is not None for step in steps) else "sweep"
    return SearchResult(kind=kind, steps=list(steps), cut=True)


def _read_totals(load: Load, total: LoadSample) -> None:
    """Fill in what the ``load`` line has: rates, window, settings, scenarios, what the server reported, self-check."""
    if total.window[1] > total.window[0]:
        load.window = total.window
    load.duration = total.issued
    load.rates = [(name, _word(value)) for name, value in msgspec.structs.asdict(total.rates).items()]
    load.rate = total.rates.ok_per_s
    load.tokens_rate = total.rates.output_tokens_per_s
    shown = {"mode": total.mode, "issued": total.issued, "input_tokens": total.input_tokens}
    shown |= {"output_tokens": total.output_tokens, **total.settings}
    load.settings = _words(shown, 32)
    load.verdict = total.self_check.verdict.value
    load.reasons = [one_line(reason, 300) for reason in total.self_check.reasons[:8]]
    check = msgspec.structs.asdict(total.self_check)
    load.self_check = _words({name: check[name] for name in check if name not in ("verdict", "reasons")}, 24)
    load.latencies_over = [outcome.value for outcome in total.latencies_over]
    load.scenarios = [_scenario(scenario) for scenario in total.scenarios[:40]]
    applicable = judgeable_of(total.outcomes)
    if total.judged <= applicable and applicable:
        load.judged = total.judged, applicable
    counted = counted_of(total.outcomes)
    if total.limits and 0 < counted >= total.good:
        load.goodput = total.good / counted
    load.server = _server(load, total.server)


def _words(values: Mapping[str, Any], most: int) -> list[tuple[str, str]]:
    """Return the scalars of an object as names and text."""
    scalars = {name: value for name, value in values.items() if isinstance(value, (str, int, float)) and value != ""}
    return [(one_line(name, 60), _word(value)) for name, value in scalars.items()][:most]


def _word(value: Any) -> str:
    """Return a setting as people write it: no trailing digits of floats."""
    figure = as_number(value)
    if figure is None or isinstance(value, int):
        return one_line(value, 120)
    return f"{figure:.4g}" if abs(figure) < 1e4 else f"{figure:,.0f}"


def _distributions(samples: Sequence[HistogramSample], bounds: Sequence[Percentiles]) -> list[Distribution]:
    sure = {line.metric: line for line in bounds}
    found = []
    for sample in samples:
        metric, row = one_line(sample.metric, 40), row_of(sample.metric)
        found.append(
            Distribution(
                metric=metric,
                title=row.title if row else metric,
                meaning=row.meaning if row else "",
                only_ok=metric.endswith("_ok"),
                values=sample.values,
                bounds=sure.get(sample.metric),
            )
        )
    order = {metric: index for index, metric in enumerate(TIMES)}
    return sorted(found, key=lambda d: (d.only_ok, order.get(d.metric.removesuffix("_ok"), len(order))))


def _seconds(samples: Sequence[SecondSample]) -> tuple[list[Second], int]:
    """Return the seconds of a run in order, with neighbours joined so that at most 180 remain, and the step's width."""
    rows = sorted(map(_second, samples), key=lambda row: row.t)
    if not rows:
        return [], 1
    begin = rows[0].t
    step = max(1, math.ceil((rows[-1].t - begin + 1) / _MAX_SECONDS))
    if step == 1:
        return rows, 1
    groups: dict[int, list[Second]] = {}
    for row in rows:
        groups.setdefault(int((row.t - begin) // step), []).append(row)
    return [_joined(begin + index * step, step, group) for index, group in groups.items()], step


def _second(sample: SecondSample) -> Second:
    return Second(
        t=sample.t,
        started=sample.started,
        finished=sample.finished,
        failed=sample.failed,
        in_flight=sample.in_flight,
        tokens=sample.output_tokens,
        ttft_p50=sample.ttft_p50,
        ttft_p99=sample.ttft_p99,
        gaps={bound / 1e3: count for bound, count in sample.gaps.items()},
        server={name: sample.server[name] for name in SERVER if name in sample.server},
    )


def _joined(t: float, step: int, rows: list[Second]) -> Second:
    medians = sorted(row.ttft_p50 for row in rows if row.ttft_p50 is not None)
    tails = [row.ttft_p99 for row in rows if row.ttft_p99 is not None]
    return Second(
        t=t,
        started=sum(row.started for row in rows) / step,
        finished=sum(row.finished for row in rows) / step,
        failed=sum(row.failed for row in rows) / step,
        in_flight=max(row.in_flight for row in rows),
        tokens=sum(row.tokens for row in rows) / step,
        ttft_p50=medians[len(medians) // 2] if medians else None,
        ttft_p99=max(tails) if tails else None,
        gaps=dict(sum((Counter(row.gaps) for row in rows), Counter[float]())),
        server={name: value for name in SERVER if (value := _over(name, rows)) is not None},
    )


def _over(name: str, rows: list[Second]) -> float | None:
    values = [row.server[name] for row in rows if name in row.server]
    if not values:
        return None
    return sum(values) if SERVER[name].summed else sum(values) / len(values)


def _scenario(scenario: ScenarioOutcomes) -> Scenario:
    ranked = sorted(scenario.outcomes.items(), key=lambda item: -item[1])
    others = [f"{outcome} {count:,}" for outcome, count in ranked if outcome is not RequestOutcome.OK and count]
    return Scenario(
        one_line(scenario.name, 60) or "?",
        sum(scenario.outcomes.values()),
        good_of(scenario.outcomes),
        ", ".join(others[:6]),
    )


def _server(load: Load, told: Mapping[str, float]) -> list[Says]:
    """Return what the server said of itself over the whole run, from the totals that the run file has."""
    says = []
    for name, metric in SERVER.items():
        word = server_word(name)
        mean, most, whole = (told.get(key) for key in (f"{name}_mean", f"{name}_max", name))
        if mean is not None or most is not None:
            says.append(Says(metric.title, metric.meaning, word(mean), word(most)))
        elif whole is not None:
            says.append(Says(metric.title, f"{metric.meaning}, over the whole run", word(whole), ""))
    difference, ttft = told.get("ttft_difference"), load.distribution("ttft")
    if ttft is not None and ttft.mean is not None:
        says += [Says("First token, by the client", "mean of this run", format_seconds(ttft.mean), "")] if says else []
    if difference is not None:
        meaning = "means: network, the server's HTTP layer, and the client"
        says.append(Says("First token, client − server", meaning, signed(difference), ""))
    return says


def server_word(name: str) -> Callable[[float | None], str]:
    """Return the function that writes a figure of the server as text."""
    unit = SERVER[name].unit
    if unit == "s":
        return format_seconds
    if unit == "share":
        return lambda value: "–" if value is None else format_percent(value, 1.0)
    return lambda value: "–" if value is None else format_count(value) if value == round(value) else format_rate(value)


def signed(value: float) -> str:
    """Return a difference in seconds with its sign."""
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{format_seconds(abs(value))}"


def _remarks(load: Load, total: LoadSample | None, counts: OutcomeCounts) -> list[Remark]:
    """Return what stands out in a run, the worst first."""
    remarks = []
    if total is not None and total.cross_talk:
        text = f"{plural(total.cross_talk, 'answer shows', 'answers show')} the token of another request"
        remarks.append(Remark("fail", f"Cross-talk: {text}. The endpoint mixes answers up."))
    elif total is not None and total.settings.get("canaries") is True and load.ok:
        remarks.append(Remark("pass", "No cross-talk: no answer showed the token of another request."))
    if total is not None and load.judged is not None:
        share = format_percent(*load.judged)
        text = f"The rules judged {load.judged[0]:,} of {plural(load.judged[1], 'answer')} ({share})"
        whole = load.judged[0] == load.judged[1]
        rest = "." if whole else ", the others by order, end and token alone."
        most = total.unjudged_bound
        if not whole and most is not None:
            rest += (
                f" Going by those that were judged, at most {format_percent(most, 1.0)} of the others break one (99 %)."
            )
        remarks.append(Remark("pass" if whole else "info", f"{text}{rest}"))
    gaps = load.distribution("itl")
    if gaps is not None and (median := gaps.quantile(0.5)) and gaps.high is not None:
        limit = max(_STALL * median, _STALL_LEAST)
        stalls = gaps.values.above(limit)
        if stalls:
            share = format_percent(stalls, gaps.n)
            text = f"{plural(stalls, 'gap')} of {gaps.n:,} ({share}) took more than {format_seconds(limit)}"
            about = f"{format_seconds(gaps.high)} the longest, {format_seconds(median)} the median"
            remarks.append(Remark("warn", f"Stalls: {text}; {about}."))
    if censored := counts.get(RequestOutcome.CENSORED, 0):
        were = plural(censored, "request was", "requests were")
        remarks.append(Remark("info", f"{were} still running at the end; they count neither as errors nor as good."))
    together = total.self_check.coalescing if total else None
    if together is not None and together >= _COALESCED:
        text = f"{together:.2g} content events came to a receive: gaps are those between receives, not between tokens."
        remarks.append(Remark("info", f"Coalesced: {text}"))
    return sorted(remarks, key=lambda remark: ("fail", "warn", "info", "pass").index(remark.severity))


def _broken_rules(total: LoadSample | None, requests: Sequence[RequestSample]) -> list[tuple[str, int]]:
    counts = Counter(total.rules) if total else Counter(rule for request in requests for rule in request.rules)
    return [(one_line(rule, 40), count) for rule, count in counts.most_common(12)]
