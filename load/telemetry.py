"""What the server says of itself while it is loaded: its Prometheus metrics, scraped once a second.

Optional in every respect: a server without metrics, or one that stops giving them, changes nothing else. The series of
several servers are brought to common names (:data:`rejoinder.model.metrics.SERVER`); times are on the axis of the run.
"""

from __future__ import annotations

import re
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from time import perf_counter_ns
from typing import Final, NamedTuple

from rejoinder.load.gpus import Gpus
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import SERVER

EVERY: Final = 1.0
_TIMEOUT: Final = 2.0
_MAX_BYTES: Final = 8 * 1024 * 1024
_LINE: Final = re.compile(
    r"([A-Za-z_:][A-Za-z0-9_:]*)"  # name
    r"(?:\{(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*\})?"  # labels
    r"[ \t]+(\S+)(?:[ \t]+-?[0-9]+)?\Z"  # value and time
)
_PARTS: Final = ("sum", "count")
_HISTOGRAMS: Final[dict[str, tuple[str, ...]]] = {
    "ttft": (
        "vllm:time_to_first_token_seconds",
        "sglang:time_to_first_token_seconds",
        "dynamo_frontend_time_to_first_token_seconds",
    ),
    "itl": (
        "vllm:inter_token_latency_seconds",
        "vllm:time_per_output_token_seconds",
        "sglang:inter_token_latency_seconds",
        "sglang:time_per_output_token_seconds",
        "dynamo_frontend_inter_token_latency_seconds",
        "tgi_request_mean_time_per_token_duration",
    ),
    "queue_time": (
        "vllm:request_queue_time_seconds",
        "sglang:queue_time_seconds",
        "tgi_request_queue_duration",
    ),
}
"""Means of one second, from the growth of the sum and the count of a histogram or summary."""
_RAW: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "running": (
        "sum",
        (
            "vllm:num_requests_running",
            "sglang:num_running_reqs",
            "llamacpp:requests_processing",
            "tgi_batch_current_size",
            "dynamo_frontend_inflight_requests",
        ),
    ),
    "waiting": (
        "sum",
        (
            "vllm:num_requests_waiting",
            "sglang:num_queue_reqs",
            "llamacpp:requests_deferred",
            "tgi_queue_size",
            "dynamo_frontend_queued_requests",
        ),
    ),
    "cache_use": (
        "max",
        (
            "vllm:kv_cache_usage_perc",
            "vllm:gpu_cache_usage_perc",
            "sglang:token_usage",
            "llamacpp:kv_cache_usage_ratio",
            "dynamo_component_kvstats_gpu_cache_usage_percent",
        ),
    ),
    "hits": ("sum", ("vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total")),
    "queries": ("sum", ("vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total")),
    "hit_rate": ("max", ("sglang:cache_hit_rate", "dynamo_component_kvstats_gpu_prefix_cache_hit_rate")),
    "preempted": ("sum", ("vllm:num_preemptions_total", "sglang:num_retracted_requests_total")),
    **{
        f"{name}_{part}": ("sum", tuple(f"{one}_{part}" for one in series))
        for name, series in _HISTOGRAMS.items()
        for part in _PARTS
    },
    "gpu_percent": ("mean", ("DCGM_FI_DEV_GPU_UTIL",)),
    "gpu_active": ("mean", ("DCGM_FI_PROF_SM_ACTIVE",)),
    "gpu_power": ("sum", ("DCGM_FI_DEV_POWER_USAGE",)),
    "gpu_memory": ("sum", ("DCGM_FI_DEV_FB_USED",)),
}
"""What is read: how the series of one name are joined, and its names; the first that is there counts."""
_GAUGES: Final = ("running", "waiting", "cache_use", "gpu_active", "gpu_power", "gpu_memory")


class Scrape(NamedTuple):
    """One scrape: a clock reading (``time.perf_counter_ns``), and what :data:`_RAW` names."""

    at: int
    values: dict[str, float]


def parse_metrics(text: str) -> dict[str, list[float]]:
    """Return the values of every name in a Prometheus text page; raises ``ValueError`` for what is none."""
    found: dict[str, list[float]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise ValueError(f"line {number} is no metric: {line[:80]!r}")
        found.setdefault(match[1], []).append(float(match[2]))
    return found


def read_values(metrics: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return what is known of the values of a page, under common names."""
    found: dict[str, float] = {}
    for name, (how, series) in _RAW.items():
        values = next((metrics[one] for one in series if metrics.get(one)), None)
        if values is None or any(value != value for value in values):
            continue
        total = sum(values)
        found[name] = max(values) if how == "max" else total / len(values) if how == "mean" else total
    return found


@dataclass(slots=True)
class Telemetry:
    """Scrapes some pages in a thread of its own, from :meth:`start` to :meth:`stop`; keeps what it understood."""

    urls: Sequence[str]
    gpus: Gpus | None = None
    scrapes: list[Scrape] = field(default_factory=list)
    _thread: threading.Thread | None = None
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Scrape once; go on only where there is anything to be had."""
        self._scrape()
        if self.scrapes:
            self._thread = threading.Thread(target=self._work, name="telemetry", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Scrape once more and end."""
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._thread = None
            self._scrape()

    def _work(self) -> None:
        while not self._over.wait(EVERY):
            self._scrape()

    def _scrape(self) -> None:
        values: dict[str, float] = {}
        at = perf_counter_ns()
        for url in self.urls:
            page = fetch_values(url)
            if page is not None:
                values |= page
        if self.gpus is not None:
            values |= self.gpus.read()
        if values:
            self.scrapes.append(Scrape(at, values))

    def seconds(self, t0: int) -> dict[int, dict[str, float]]:
        """Return what there is for each whole second of a run that began at a clock reading."""
        found: dict[int, dict[str, float]] = {}
        for before, scrape in zip([None, *self.scrapes], self.scrapes, strict=False):
            if scrape.at >= t0:
                found[(scrape.at - t0) // 1_000_000_000] = _line(before, scrape)
        return found

    def summary(self, t0: int, client_ttft: Histogram | None) -> dict[str, float]:
        """Return the figures of the whole run; empty where nothing was learnt.

        ``ttft_difference`` is the client's mean minus the server's: network, the server's HTTP layer, and the client.
        """
        if not self.scrapes:
            return {}
        lines = list(self.seconds(t0).values())
        figures: dict[str, float] = {"samples": len(lines)}
        for name in (name for name, metric in SERVER.items() if metric.gauge):
            values = [line[name] for line in lines if name in line]
            if values:
                figures[f"{name}_mean"] = round(sum(values) / len(values), 4)
                figures[f"{name}_max"] = max(values)
        whole = _line(self.scrapes[0], self.scrapes[-1])
        figures |= {name: whole[name] for name, metric in SERVER.items() if name in whole and not metric.gauge}
        if "ttft" in figures and client_ttft is not None and client_ttft.mean is not None:
            figures["ttft_difference"] = round(client_ttft.mean - figures["ttft"], 6)
        return figures


def _line(before: Scrape | None, scrape: Scrape) -> dict[str, float]:
    values = scrape.values
    line: dict[str, float] = {name: values[name] for name in _GAUGES if name in values}
    if "gpu_percent" in values:
        line["gpu_use"] = round(values["gpu_percent"] / 100, 4)
    if "hit_rate" in values:
        line["prefix_hit_rate"] = values["hit_rate"]
    if before is None:
        return line
    # A counter that fell was begun anew: the server was started again.
    grown = {
        name: values[name] - before.values[name]
        for name in ("hits", "queries", "preempted", *(f"{name}_{part}" for name in _HISTOGRAMS for part in _PARTS))
        if name in values and name in before.values and values[name] >= before.values[name]
    }
    if grown.get("queries") and "hits" in grown:
        line["prefix_hit_rate"] = round(grown["hits"] / grown["queries"], 4)
    if "preempted" in grown:
        line["preemptions"] = grown["preempted"]
    for name in _HISTOGRAMS:
        if grown.get(f"{name}_count") and f"{name}_sum" in grown:
            line[name] = round(grown[f"{name}_sum"] / grown[f"{name}_count"], 6)
    return line


def fetch_values(url: str) -> dict[str, float] | None:
    """Return the known values of a page, or ``None`` when there are none to be had."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(urllib.request.Request(url, headers={"Accept": "text/plain"}), timeout=_TIMEOUT) as reply:
            text = reply.read(_MAX_BYTES).decode("utf-8", "replace")
        return read_values(parse_metrics(text)) or None
    except (OSError, ValueError, HTTPException):
        return None
