"""What a load says of waiting that its percentiles hide: in a closed loop, for connections, after a refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rejoinder.formatting import format_percent, format_seconds, plural, value_of
from rejoinder.model.metrics import TIMES
from rejoinder.model.samples import LoadSample
from rejoinder.reports.parts.insights.insight import Insight
from rejoinder.reports.parts.latencies import Latencies

_PAUSE: Final = 10
"""The multiple of the median from which the longest latency of a closed loop is taken for a pause."""
_PAUSE_LEAST: Final = 0.5
_OPENED: Final = 0.1
"""The share of requests that opened a connection from which that is worth a word."""


def pause_insights(total: LoadSample, latencies: Latencies) -> Iterator[Insight]:
    """Yield a remark on coordinated omission where a closed loop met a pause.

    TTFT comes first: it does not depend on how long responses are.
    """
    if total.mode != "closed":
        return
    for name in ("ttft", "e2e"):
        found = latencies.find(name)
        median = value_of(found.quantile(0.5)) if found else None
        longest = value_of(found.values.longest) if found else None
        if median and longest and longest >= max(_PAUSE * median, _PAUSE_LEAST):
            label = TIMES[name].label
            times = f"{longest / median:,.0f} times the median ({format_seconds(median)})"
            yield Insight(
                "warn",
                f"Pause: the longest {label} was {format_seconds(longest)}, {times}. In a closed loop, a pause delays "
                "few requests. Use an open loop (--rate) to measure how long users wait.",
                terminal=True,
            )
            return


def connection_insights(total: LoadSample, latencies: Latencies) -> Iterator[Insight]:
    """Yield a remark where many requests opened a connection: the endpoint closes connections, or many are needed."""
    found = latencies.find("connect")
    if found is None or total.started < 1 or found.n < max(2, _OPENED * total.started):
        return
    tls = latencies.find("tls")
    times = [f"TCP connect p50 {format_seconds(found.quantile(0.5))}, longest {format_seconds(found.values.longest)}"]
    if tls is not None:
        times.append(f"TLS handshake p50 {format_seconds(tls.quantile(0.5))}")
    share = format_percent(found.n, total.started)
    opened = f"{found.n:,} of {plural(total.started, 'request')} ({share}) opened a connection"
    yield Insight("info", f"Connections: {opened} ({'; '.join(times)}). TTFT and E2E latency include it.")


def retry_insights(latencies: Latencies) -> Iterator[Insight]:
    """Yield how long Retry-After headers of errors are."""
    found, failed = latencies.find("retry_after"), latencies.find("failed_latency")
    if found is None or failed is None:
        return
    values = found.values
    shortest, longest = format_seconds(values.min / 1e6), format_seconds(values.max / 1e6)
    between = longest if values.min == values.max else f"{shortest} to {longest}"
    refusals = plural(failed.n, "error response")
    text = f"Retry-After: {between}, in {found.n:,} of {refusals}. A load does not wait for it."
    yield Insight("info", text, terminal=True)
