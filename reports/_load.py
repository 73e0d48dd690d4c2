"""The load part of a run, read from its sample lines: totals, distributions, seconds, slowest requests."""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from rejoinder.buckets import SIGNIFICANT_BITS, bucket_bounds
from rejoinder.reports._text import number, one_line
from rejoinder.runfile import Run

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
_WELL: Final = ("ok", "unjudged")

METRICS: Final = {
    "ttft": ("Time to first token", "request to first event with generated content"),
    "ttft_intended": ("First token, from schedule", "scheduled start to first event with generated content"),
    "ttfo": ("Time to first output text", "request to first event with answer text, reasoning left out"),
    "ttfb": ("Time to first byte", "request to first byte of the reply"),
    "ttfe": ("Time to first event", "request to first complete event"),
    "itl": ("Gap between tokens", "time between successive content events of a stream"),
    "max_gap": ("Longest gap", "longest gap of each stream"),
    "tpot": ("Time per output token", "(end to end − first token) ÷ (output tokens − 1)"),
    "e2e": ("End to end", "request to terminal event"),
    "e2e_intended": ("End to end, from schedule", "scheduled start to terminal event"),
    "tail": ("Tail", "last content to end of stream"),
    "sched_lag": ("Start after schedule", "scheduled to actual start of a request"),
    "dispatch_lag": ("Start after dispatch", "how late the generator started a request that was free to start"),
}
"""Metrics that histograms are written for, in the order of the table, with title and meaning."""

PERCENTILES: Final = (50.0, 90.0, 95.0, 99.0, 99.9)
_US_PER: Final = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6, "ns": 1e-3}
_MAX_SECONDS: Final = 300


class Bucket(NamedTuple):
    """Values from ``low`` up to, but not including, ``high`` seconds, and how many there were."""

    low: float
    high: float
    middle: float
    amount: int


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

    def percentile(self, p: float) -> float | None:
        """Return the nearest-rank percentile, or ``None`` when fewer than one value would lie above it."""
        if self.n <= 0 or (p > 50 and self.n * (100 - p) < 100 - 1e-6):
            return None
        return self.quantile(p / 100)

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


class Slow(NamedTuple):
    """One of the slowest requests."""

    t: float | None
    outcome: str
    e2e: float | None
    ttft: float | None
    max_gap: float | None
    tokens: float | None
    rules: str
    detail: str


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


def read_load(run: Run) -> Load | None:
    """Return the load part of a run, or ``None`` when it has no samples. Reads whatever is there; never raises."""
    if not run.samples:
        return None
    requests, totals = run.samples_of("request"), run.samples_of("load")
    total = totals[-1] if totals else {}
    load = Load(
        distributions=_distributions(run.samples_of("histogram")),
        slowest=_slowest(requests),
        broken_rules=_broken_rules(total, requests),
        latencies_over=_words(total.get("latencies_over")),
    )
    load.seconds, load.step = _seconds(run.samples_of("second"))
    counts = _outcomes(total, requests)
    load.ledger = [
        Entry(one_line(name, 40), OUTCOMES.get(name, ""), amount, name in _WELL)
        for name, amount in sorted(counts.items(), key=lambda item: _outcome_order(item[0]))
        if amount or name == "ok"
    ]
    known = sum(counts.values())
    started = number(total.get("started"))
    load.started = known if started is None or started < 0 else round(started)
    load.ok = sum(counts.get(name, 0) for name in _WELL)
    if known != load.started:
        load.warnings.append(f"The outcomes add up to {known:,}, but {load.started:,} requests were started.")
    if not total:
        load.warnings.append("The load run has no totals: it ended early, so its figures cover only what was written.")
    _figures(load, total)
    return load


def _outcomes(total: dict[str, Any], requests: list[dict[str, Any]]) -> dict[str, int]:
    written = total.get("outcomes")
    if isinstance(written, dict):
        counts = {str(name): number(count) for name, count in written.items()}
        return {name: round(count) for name, count in counts.items() if count is not None and count >= 0}
    return dict(Counter(str(request.get("outcome")) for request in requests if request.get("outcome")))


def _outcome_order(name: str) -> tuple[int, str]:
    return (list(OUTCOMES).index(name) if name in OUTCOMES else len(OUTCOMES), name)


def _figures(load: Load, total: dict[str, Any]) -> None:
    """Fill in rates, window, settings and self-check from the ``load`` line."""
    window = total.get("window")
    if isinstance(window, list) and len(window) == 2:
        begin, end = number(window[0]), number(window[1])
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
    skipped = {"what", "kind", "started", "outcomes", "rules", "window", "rates", "self_check"}
    load.settings = [
        (name, _word(value)) for name, value in _flat({k: v for k, v in total.items() if k not in skipped}).items()
    ][:24]
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
    return next((found for name in names if (found := number(values.get(name))) is not None), None)


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
    figure = number(value)
    if figure is None or isinstance(value, int):
        return one_line(value, 120)
    return f"{figure:.4g}" if abs(figure) < 1e4 else f"{figure:,.0f}"


def _distributions(lines: list[dict[str, Any]]) -> list[Distribution]:
    found: dict[str, Distribution] = {}
    for line in lines:
        metric = one_line(line.get("metric") or "?", 40)
        only_ok = metric.endswith("_ok")
        title, meaning = METRICS.get(metric.removesuffix("_ok"), (metric, ""))
        scale = _US_PER.get(str(line.get("unit", "us")), 1.0) / 1e6
        buckets = _buckets(line.get("counts"), scale)
        n = sum(bucket.amount for bucket in buckets)
        total = number(line.get("sum"))
        low, high = number(line.get("min")), number(line.get("max"))
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
        )
    order = {metric: index for index, metric in enumerate(METRICS)}
    return sorted(found.values(), key=lambda d: (d.only_ok, order.get(d.metric.removesuffix("_ok"), len(order))))


_MAX_KEY: Final = 64 << SIGNIFICANT_BITS


def _buckets(counts: Any, scale: float) -> list[Bucket]:
    if not isinstance(counts, dict):
        return []
    buckets = []
    for key, value in counts.items():
        amount = number(value)
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
    t = number(line.get("t"))
    if t is None:
        return None
    return Second(
        t=t,
        started=number(line.get("started")) or 0.0,
        finished=number(line.get("finished")) or 0.0,
        failed=number(line.get("failed")) or 0.0,
        in_flight=number(line.get("in_flight")) or 0.0,
        tokens=number(line.get("output_tokens")) or 0.0,
        ttft_p50=number(line.get("ttft_p50")),
        ttft_p99=number(line.get("ttft_p99")),
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
    )


def _slowest(requests: list[dict[str, Any]]) -> list[Slow]:
    timed = [(number(request.get("e2e")), request) for request in requests]
    ranked = sorted(((e2e, r) for e2e, r in timed if e2e is not None), key=lambda pair: -pair[0])
    return [
        Slow(
            t=number(request.get("t")),
            outcome=one_line(request.get("outcome") or "?", 30),
            e2e=e2e,
            ttft=number(request.get("ttft")),
            max_gap=number(request.get("max_gap")),
            tokens=number(request.get("output_tokens")),
            rules=one_line(", ".join(map(str, rules)) if isinstance(rules := request.get("rules"), list) else "", 80),
            detail=one_line(request.get("detail") or "", 120),
        )
        for e2e, request in ranked[:10]
    ]


def _broken_rules(total: dict[str, Any], requests: list[dict[str, Any]]) -> list[tuple[str, int]]:
    counts: Counter[str] = Counter()
    written = total.get("rules")
    if isinstance(written, dict):
        for rule, amount in written.items():
            counts[one_line(str(rule), 40)] += round(number(amount) or 0)
    else:
        for request in requests:
            rules = request.get("rules")
            if isinstance(rules, list):
                counts.update({one_line(str(rule), 40) for rule in rules[:50]})
    return counts.most_common(12)
