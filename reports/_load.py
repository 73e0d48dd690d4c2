"""The load part of a run, read from its sample lines: totals, distributions, seconds, slowest requests."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rejoinder.formatting import as_number, format_count, format_percent, format_rate, format_seconds, one_line, plural
from rejoinder.model.buckets import SIGNIFICANT_BITS, bucket_bounds
from rejoinder.model.runfile import Run
from rejoinder.reports._objectives import Objective, read_changes, read_objectives, read_probes
from rejoinder.reports._repeats import Repeats, read_repeats
from rejoinder.reports._search import ENDED_WELL, Search, read_search
from rejoinder.reports._streams import Slow, read_slowest

OUTCOMES: Final = {
    "ok": "ended well",
    "unjudged": "ended well by order and end; no core was free to ask all rules",
    "nonconforming": "ended, but broke a MUST rule",
    "failed": "the endpoint reported a failure in the stream",
    "incomplete": "ended incomplete",
    "cancelled": "ended by the client, as the workload says",
    "truncated": "ended without a terminal event",
    "http_4xx": "refused with a 4xx status",
    "http_429": "refused with 429",
    "http_5xx": "refused with a 5xx status",
    "transport": "connection failed or broke",
    "timeout": "no end within the deadline",
    "censored": "still running when the run ended",
}
"""Every outcome of a request under load, in the order of the ledger, with its meaning."""

METRICS: Final = {
    "ttft": (
        "Time to first token",
        "request to first event with generated content of any kind; TTFT in vLLM, AIPerf and GuideLLM",
    ),
    "ttft_intended": ("First token, from schedule", "scheduled start to first event with generated content"),
    "ttfo": ("Time to first output text", "request to first event with answer text, reasoning left out"),
    "ttfb": ("Time to first byte", "request to the end of the reply's head"),
    "ttfe": ("Time to first event", "request to first complete event, mostly response.created"),
    "itl": (
        "Gap between tokens",
        "time between receives that carried content, of all streams together; ITL in vLLM, inter chunk latency "
        "in AIPerf",
    ),
    "max_gap": ("Longest gap", "longest gap of each stream: the stall that its reader saw"),
    "tpot": (
        "Time per output token",
        "first to last content ÷ tokens after the first receive, a mean of each stream; TPOT in vLLM, "
        "inter token latency in AIPerf and GuideLLM",
    ),
    "e2e": ("End to end", "request to terminal event"),
    "e2e_intended": (
        "End to end, from schedule",
        "scheduled start to terminal event: what a user saw who came on time",
    ),
    "tail": ("Tail", "last content to terminal event"),
    "sched_lag": ("Start after schedule", "scheduled to actual start of a request"),
    "dispatch_lag": ("Start after dispatch", "how late the generator started a request that was free to start"),
}
"""Metrics that histograms are written for, in the order of the table, with title and meaning."""

PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0, 99.9)
_US_PER: Final = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6, "ns": 1e-3}
_MAX_SECONDS: Final = 180

SERVER: Final = {
    "running": ("Running", "requests that the server works on"),
    "waiting": ("Waiting", "requests in the server's queue"),
    "cache_use": ("Cache in use", "share of the key-value cache"),
    "prefix_hit_rate": ("Prefix cache hits", "share of the lookups that hit"),
    "preemptions": ("Preemptions", "requests that lost their place"),
    "ttft": ("First token, by the server", "mean that the server measured itself"),
    "gpu_use": ("GPU at work", "share of the time, mean over GPUs"),
    "gpu_power": ("GPU power", "watts, all GPUs together"),
    "gpu_memory": ("GPU memory", "MiB, all GPUs together"),
}
"""What a server says of itself each second, in the order of the tables, with title and meaning."""
_SHARES: Final = ("cache_use", "prefix_hit_rate", "gpu_use")
_SUMMED: Final = ("preemptions",)
_JUDGEABLE: Final = (*ENDED_WELL, "nonconforming", "incomplete", "failed", "truncated")
_STALL: Final = 10
"""A gap of so many times the median is called a stall, if it is a noticeable one."""
_STALL_LEAST: Final = 0.1
_COALESCED: Final = 1.5


class Bucket(NamedTuple):
    """Values from ``low`` up to, but not including, ``high`` seconds, and how many there were."""

    low: float
    high: float
    middle: float
    amount: int


class Bound(NamedTuple):
    """How sure a percentile is: with 99 % confidence it is at most ``value``, or too few values are there for that."""

    value: float | None
    needs: int | None


@dataclass(frozen=True, slots=True)
class Distribution:
    """The distribution of one metric; all values are seconds."""

    metric: str
    title: str
    meaning: str
    only_ok: bool
    n: int
    mean: float | None
    low: float | None
    high: float | None
    buckets: list[Bucket]
    bounds: dict[float, Bound] = field(default_factory=dict)

    def percentile(self, p: float) -> float | None:
        """Return the nearest-rank percentile, or ``None`` when fewer than one value would lie above it."""
        if self.n <= 0 or (p > 50 and self.n * (100 - p) < 100 - 1e-6):
            return None
        return self.quantile(p / 100)

    def above(self, limit: float) -> int:
        """Return how many values are greater than a limit, as far as the buckets tell."""
        return sum(bucket.amount for bucket in self.buckets if bucket.middle > limit)

    def quantile(self, q: float) -> float | None:
        """Return the value at rank ``ceil(q * n)`` with the bucket's own precision."""
        rank = max(1, math.ceil(round(q * self.n, 9)))
        if rank >= self.n and self.high is not None:
            return self.high
        seen = 0
        for bucket in self.buckets:
            seen += bucket.amount
            if seen >= rank:
                value = bucket.middle if self.high is None else min(bucket.middle, self.high)
                return value if self.low is None else max(value, self.low)
        return self.high


class Second(NamedTuple):
    """One or more seconds of the run: rates per second, requests in flight, time to first token in seconds."""

    t: float
    started: float
    finished: float
    failed: float
    in_flight: float
    tokens: float
    ttft_p50: float | None
    ttft_p99: float | None
    gaps: dict[float, int]
    """Gaps that ended here, by the lower bound of their length in seconds."""
    server: dict[str, float]
    """What the server said of itself, by the names of :data:`SERVER`."""


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
        ended_by_us = ("cancelled", "censored")
        return sum(entry.amount for entry in self.ledger if not entry.good and entry.outcome not in ended_by_us)

    @property
    def missed(self) -> list[Objective]:
        """The objectives, limits of changes among them, that were not met."""
        return [objective for objective in self.objectives if objective.severity == "fail"]

    @property
    def intolerable(self) -> int:
        """Requests that ended badly where no objective says how many may; such an objective decides instead."""
        return 0 if any(objective.of_share for objective in self.objectives) else self.bad


def read_load(run: Run) -> Load | None:
    """Return the load part of a run, or ``None`` when it has no samples. Reads whatever is there; never raises."""
    if not run.samples:
        return None
    requests, totals, steps = run.samples_of("request"), run.samples_of("load"), run.samples_of("step")
    total = totals[-1] if totals else _of_steps(steps)
    load = Load(
        distributions=_distributions(run.samples_of("histogram"), _bounds(total.get("percentiles"))),
        slowest=read_slowest(run.samples_of("stream"), requests),
        objectives=[*read_objectives(total), *read_changes(total), *read_probes(run.samples_of("probe"))],
        search=read_search(total),
        repeats=read_repeats(total),
        scenarios=_scenarios(total.get("scenarios")),
        broken_rules=_broken_rules(total, requests),
        latencies_over=_words(total.get("latencies_over")),
    )
    load.whole = bool(totals)
    load.seconds, load.step = _seconds(run.samples_of("second"))
    counts = _outcomes(total, requests)
    load.ledger = [
        Entry(one_line(name, 40), OUTCOMES.get(name, ""), amount, name in ENDED_WELL)
        for name, amount in sorted(counts.items(), key=lambda item: _outcome_order(item[0]))
        if amount or name == "ok"
    ]
    known = sum(counts.values())
    started = as_number(total.get("started"))
    load.started = known if started is None or started < 0 else round(started)
    load.ok = sum(counts.get(name, 0) for name in ENDED_WELL)
    if known != load.started:
        load.warnings.append(f"The outcomes add up to {known:,}, but {load.started:,} requests were started.")
    if not totals:
        covered = f"are of the {plural(len(steps), 'step')} that had ended" if steps else "cover only what was written"
        load.warnings.append(f"The load run has no totals: it ended early, so its figures {covered}.")
    _figures(load, total)
    _judged(load, total, counts)
    load.server = _server(load, total.get("server"))
    load.remarks = _remarks(load, total, counts)
    return load


def _of_steps(steps: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what a ``load`` line would say of the steps of a search, or of repeats, that did not come to its end."""
    if not steps:
        return {}
    counts: Counter[str] = Counter()
    for step in steps:
        counts.update(_outcomes(step, []))
    if any("of" in step for step in steps):
        return {"outcomes": dict(counts), "repeats": steps}
    kind = "rate" if any("rate" in step for step in steps) else "sweep"
    return {"outcomes": dict(counts), "search": {"kind": kind, "steps": steps, "cut": True}}


def _outcomes(total: dict[str, Any], requests: list[dict[str, Any]]) -> dict[str, int]:
    written = total.get("outcomes")
    if isinstance(written, dict):
        counts = {str(name): as_number(count) for name, count in written.items()}
        return {name: round(count) for name, count in counts.items() if count is not None and count >= 0}
    return dict(Counter(str(request.get("outcome")) for request in requests if request.get("outcome")))


def _outcome_order(name: str) -> tuple[int, str]:
    return (list(OUTCOMES).index(name) if name in OUTCOMES else len(OUTCOMES), name)


_ELSEWHERE: Final = (
    *("what", "kind", "settings", "started", "outcomes", "rules", "window", "rates", "rates_whole_run"),
    *("self_check", "good", "judged", "unjudged", "unjudged_bound", "cross_talk", "server", "search"),
)
"""Fields of the ``load`` line that are no settings: the report shows them in places of their own."""


def _figures(load: Load, total: dict[str, Any]) -> None:
    """Fill in rates, window, settings and self-check from the ``load`` line."""
    window = total.get("window")
    if isinstance(window, list) and len(window) == 2:
        begin, end = as_number(window[0]), as_number(window[1])
        if begin is not None and end is not None and end > begin:
            load.window = (begin, end)
    duration = _first(total, "issued", "duration")
    if duration is None and load.seconds:
        duration = load.seconds[-1].t + load.step
    load.duration = duration
    rates = _flat(total.get("rates"))
    load.rates = [(name, _word(value)) for name, value in rates.items()]
    load.rate = _first(rates, "ok_per_s")
    load.tokens_rate = _first(rates, "output_tokens_per_s")
    if load.rate is None and load.duration:
        load.rate = load.ok / load.duration
    if load.tokens_rate is None and load.duration and any(s.tokens for s in load.seconds):
        load.tokens_rate = sum(s.tokens for s in load.seconds) * load.step / load.duration
    settings = total.get("settings")
    shown = {k: v for k, v in total.items() if k not in _ELSEWHERE} | (settings if isinstance(settings, dict) else {})
    load.settings = [(name, _word(value)) for name, value in _flat(shown).items()][:32]
    check = total.get("self_check")
    if isinstance(check, dict):
        load.verdict = one_line(check.get("verdict") or "", 40).upper().replace("_", "-")
        load.reasons = (
            [one_line(reason, 300) for reason in found[:8]] if isinstance(found := check.get("reasons"), list) else []
        )
        load.self_check = [
            (name, _word(value))
            for name, value in _flat({k: v for k, v in check.items() if k not in ("verdict", "reasons")}).items()
        ][:24]


def _words(value: Any) -> list[str]:
    return [one_line(word, 30) for word in value[:12]] if isinstance(value, list) else []


def _first(values: dict[str, Any], *names: str) -> float | None:
    return next((found for name in names if (found := as_number(values.get(name))) is not None), None)


def _flat(value: Any, prefix: str = "", depth: int = 0) -> dict[str, Any]:
    """Return the scalars of a nested object by dotted name."""
    if not isinstance(value, dict) or depth > 3:
        return {}
    flat: dict[str, Any] = {}
    for name, child in list(value.items())[:100]:
        key = f"{prefix}{one_line(str(name), 60)}"
        if isinstance(child, dict):
            flat.update(_flat(child, f"{key}.", depth + 1))
        elif isinstance(child, (str, int, float)) and child != "":
            flat[key] = child
    return flat


def _word(value: Any) -> str:
    """Return a setting as people write it: no trailing digits of floats."""
    figure = as_number(value)
    if figure is None or isinstance(value, int):
        return one_line(value, 120)
    return f"{figure:.4g}" if abs(figure) < 1e4 else f"{figure:,.0f}"


def _bounds(written: Any) -> dict[str, dict[float, Bound]]:
    """Return how sure the percentiles of each metric are, as the ``load`` line says."""
    found: dict[str, dict[float, Bound]] = {}
    for line in written[:100] if isinstance(written, list) else []:
        if not isinstance(line, dict):
            continue
        sure = found.setdefault(one_line(line.get("metric") or "?", 40), {})
        for p in PERCENTILES:
            entry = line.get(f"p{p:g}")
            if isinstance(entry, dict):
                needs = as_number(entry.get("needs"))
                sure[p] = Bound(as_number(entry.get("bound")), None if needs is None else round(needs))
    return found


def _distributions(lines: list[dict[str, Any]], bounds: dict[str, dict[float, Bound]]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    for line in lines:
        metric = one_line(line.get("metric") or "?", 40)
        only_ok = metric.endswith("_ok")
        title, meaning = METRICS.get(metric.removesuffix("_ok"), (metric, ""))
        scale = _US_PER.get(str(line.get("unit", "us")), 1.0) / 1e6
        buckets = _buckets(line.get("counts"), scale)
        n = sum(bucket.amount for bucket in buckets)
        total = as_number(line.get("sum"))
        low, high = as_number(line.get("min")), as_number(line.get("max"))
        found[metric] = Distribution(
            metric=metric,
            title=title,
            meaning=meaning,
            only_ok=only_ok,
            n=n,
            mean=total * scale / n if total is not None and n else None,
            low=None if low is None else low * scale,
            high=None if high is None else high * scale,
            buckets=buckets,
            bounds=bounds.get(metric, {}),
        )
    order = {metric: index for index, metric in enumerate(METRICS)}
    return sorted(found.values(), key=lambda d: (d.only_ok, order.get(d.metric.removesuffix("_ok"), len(order))))


_MAX_KEY: Final = 64 << SIGNIFICANT_BITS


def _buckets(counts: Any, scale: float) -> list[Bucket]:
    if not isinstance(counts, dict):
        return []
    buckets = []
    for key, value in counts.items():
        amount = as_number(value)
        if amount is None or amount < 1 or not re.fullmatch("[0-9]{1,7}", str(key)) or int(key) >= _MAX_KEY:
            continue
        low, high = bucket_bounds(int(key))
        buckets.append((low, high, round(amount)))
    return [
        Bucket(low * scale, high * scale, (low + (high - low) // 2) * scale, amount)
        for low, high, amount in sorted(buckets)
    ]


def _seconds(lines: list[dict[str, Any]]) -> tuple[list[Second], int]:
    """Return the seconds of a run in order, with neighbours joined so that at most 300 remain, and the step's width."""
    rows = sorted(
        (row for row in map(_second, lines) if row is not None),
        key=lambda row: row.t,
    )
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


def _second(line: dict[str, Any]) -> Second | None:
    t = as_number(line.get("t"))
    if t is None:
        return None
    return Second(
        t=t,
        started=as_number(line.get("started")) or 0.0,
        finished=as_number(line.get("finished")) or 0.0,
        failed=as_number(line.get("failed")) or 0.0,
        in_flight=as_number(line.get("in_flight")) or 0.0,
        tokens=as_number(line.get("output_tokens")) or 0.0,
        ttft_p50=as_number(line.get("ttft_p50")),
        ttft_p99=as_number(line.get("ttft_p99")),
        gaps=_gaps(line.get("gaps")),
        server=_known(line.get("server")),
    )


def _gaps(written: Any) -> dict[float, int]:
    found = {}
    for bound, amount in written.items() if isinstance(written, dict) else ():
        many = as_number(amount)
        if many is not None and many >= 1 and re.fullmatch("[0-9]{1,7}", str(bound)):
            found[int(bound) / 1e3] = round(many)
    return found


def _known(written: Any) -> dict[str, float]:
    """Return what a server said that the report has a name for."""
    values = {name: as_number(written.get(name)) for name in SERVER} if isinstance(written, dict) else {}
    return {name: value for name, value in values.items() if value is not None}


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
    return sum(values) if name in _SUMMED else sum(values) / len(values)


def _scenarios(written: Any) -> list[Scenario]:
    scenarios = []
    for line in written[:40] if isinstance(written, list) else []:
        found = line.get("outcomes") if isinstance(line, dict) else None
        amounts = Counter[str]()
        for name, amount in found.items() if isinstance(found, dict) else ():
            amounts[one_line(name, 40)] += max(0, round(as_number(amount) or 0.0))
        others = [f"{name} {amount:,}" for name, amount in amounts.most_common(6) if name != "ok" and amount]
        well = sum(amounts[outcome] for outcome in ENDED_WELL)
        if found is not None:
            name = one_line(line.get("name") or "?", 60)
            scenarios.append(Scenario(name, sum(amounts.values()), well, ", ".join(others)))
    return scenarios


def _judged(load: Load, total: dict[str, Any], counts: dict[str, int]) -> None:
    judged, good = as_number(total.get("judged")), as_number(total.get("good"))
    applicable = sum(counts.get(name, 0) for name in _JUDGEABLE)
    if judged is not None and 0 <= judged <= applicable and applicable:
        load.judged = round(judged), applicable
    asked = load.started - counts.get("cancelled", 0)
    if total.get("limits") and good is not None and asked > 0 and 0 <= good <= asked:
        load.goodput = good / asked


def _server(load: Load, written: Any) -> list[Says]:
    """Return what the server said of itself over the whole run, from the totals that the run file has."""
    if not isinstance(written, dict):
        return []
    says = []
    for name, (title, meaning) in SERVER.items():
        word = server_word(name)
        mean, most, whole = (as_number(written.get(key)) for key in (f"{name}_mean", f"{name}_max", name))
        if mean is not None or most is not None:
            says.append(Says(title, meaning, word(mean), word(most)))
        elif whole is not None:
            says.append(Says(title, f"{meaning}, over the whole run", word(whole), ""))
    difference, ttft = as_number(written.get("ttft_difference")), load.distribution("ttft")
    if ttft is not None and ttft.mean is not None:
        says += [Says("First token, by the client", "mean of this run", format_seconds(ttft.mean), "")] if says else []
    if difference is not None:
        meaning = "means: network, the server's HTTP layer, and the client"
        says.append(Says("First token, client − server", meaning, signed(difference), ""))
    return says


def server_word(name: str) -> Callable[[float | None], str]:
    """Return the function that writes a figure of the server as text."""
    if name == "ttft":
        return format_seconds
    if name in _SHARES:
        return lambda value: "–" if value is None else format_percent(value, 1.0)
    return lambda value: "–" if value is None else format_count(value) if value == round(value) else format_rate(value)


def signed(value: float) -> str:
    """Return a difference in seconds with its sign."""
    return f"{'+' if value > 0 else '−' if value < 0 else '±'}{format_seconds(abs(value))}"


def _remarks(load: Load, total: dict[str, Any], counts: dict[str, int]) -> list[Remark]:
    """Return what stands out in a run, the worst first."""
    remarks = []
    mixed = as_number(total.get("cross_talk"))
    settings = total.get("settings")
    if mixed:
        text = f"{plural(round(mixed), 'answer shows', 'answers show')} the token of another request"
        remarks.append(Remark("fail", f"Cross-talk: {text}. The endpoint mixes answers up."))
    elif mixed is not None and isinstance(settings, dict) and settings.get("canaries") is True and load.ok:
        remarks.append(Remark("pass", "No cross-talk: no answer showed the token of another request."))
    if load.judged is not None:
        share = format_percent(*load.judged)
        text = f"The rules judged {load.judged[0]:,} of {plural(load.judged[1], 'answer')} ({share})"
        whole = load.judged[0] == load.judged[1]
        rest = "." if whole else ", the others by order, end and token alone."
        most = as_number(total.get("unjudged_bound"))
        if not whole and most is not None:
            rest += (
                f" Going by those that were judged, at most {format_percent(most, 1.0)} of the others break one (99 %)."
            )
        remarks.append(Remark("pass" if whole else "info", f"{text}{rest}"))
    gaps = load.distribution("itl")
    if gaps is not None and (median := gaps.quantile(0.5)) and gaps.high is not None:
        limit = max(_STALL * median, _STALL_LEAST)
        stalls = gaps.above(limit)
        if stalls:
            text = f"{plural(stalls, 'gap')} of {gaps.n:,} ({format_percent(stalls, gaps.n)})"
            text += f" took more than {format_seconds(limit)}"
            about = f"{format_seconds(gaps.high)} the longest, {format_seconds(median)} the median"
            remarks.append(Remark("warn", f"Stalls: {text}; {about}."))
    if censored := counts.get("censored", 0):
        were = plural(censored, "request was", "requests were")
        remarks.append(Remark("info", f"{were} still running at the end; they count neither as errors nor as good."))
    together = as_number(check.get("coalescing")) if isinstance(check := total.get("self_check"), dict) else None
    if together is not None and together >= _COALESCED:
        text = f"{together:.2g} content events came to a receive: gaps are those between receives, not between tokens."
        remarks.append(Remark("info", f"Coalesced: {text}"))
    return sorted(remarks, key=lambda remark: ("fail", "warn", "info", "pass").index(remark.severity))


def _broken_rules(total: dict[str, Any], requests: list[dict[str, Any]]) -> list[tuple[str, int]]:
    counts: Counter[str] = Counter()
    written = total.get("rules")
    if isinstance(written, dict):
        for rule, amount in written.items():
            counts[one_line(str(rule), 40)] += round(as_number(amount) or 0)
    else:
        for request in requests:
            rules = request.get("rules")
            if isinstance(rules, list):
                counts.update({one_line(str(rule), 40) for rule in rules[:50]})
    return counts.most_common(12)
