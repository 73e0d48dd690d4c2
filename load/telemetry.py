"""What the server and its GPUs report while they are loaded: Prometheus metrics and NVML, read once a second.

Optional in every respect: a server without metrics, or one that stops giving them, changes nothing else. The series of
several servers are brought to common names (:data:`rejoinder.model.metrics.SERVER`); times are on the axis of the run.
"""

from __future__ import annotations

import math
import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from statistics import fmean
from time import monotonic, perf_counter_ns
from typing import Final, NamedTuple
from urllib.parse import urljoin

from rejoinder.budgets import METRICS, METRICS_SECONDS
from rejoinder.errors import UsageError
from rejoinder.load.gpus import Gpus
from rejoinder.model.histogram import Histogram
from rejoinder.model.metrics import SERVER
from rejoinder.wire.address import Address, parse_address
from rejoinder.wire.headers import USER_AGENT

EVERY: Final = 1.0
GPUS: Final = "gpus"
"""The name of the series that the GPUs of this host have."""
_REDIRECTS: Final = 2
_LARGEST: Final = 1e18
"""What is greater is no count, size or time; sums of such values are no numbers that JSON has."""
_LINE: Final = re.compile(
    r"([A-Za-z_:][A-Za-z0-9_:]*)"  # name
    r"(?:\{(?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*\})?"  # labels
    r"[ \t]+(\S+)(?:[ \t]+-?[0-9]+)?\Z"  # value and time
)
_HISTOGRAMS: Final = {
    "vllm:time_to_first_token_seconds": "ttft",
    "sglang:time_to_first_token_seconds": "ttft",
    "dynamo_frontend_time_to_first_token_seconds": "ttft",
    "vllm:inter_token_latency_seconds": "itl",
    "vllm:time_per_output_token_seconds": "itl",
    "sglang:inter_token_latency_seconds": "itl",
    "sglang:time_per_output_token_seconds": "itl",
    "dynamo_frontend_inter_token_latency_seconds": "itl",
    "tgi_request_mean_time_per_token_duration": "itl",
    "vllm:request_queue_time_seconds": "queue_time",
    "sglang:queue_time_seconds": "queue_time",
    "tgi_request_queue_duration": "queue_time",
}
"""Histograms and summaries, of which the growth of sum and count gives the mean of one second."""
_SERIES: Final = {
    "vllm:num_requests_running": "running",
    "sglang:num_running_reqs": "running",
    "llamacpp:requests_processing": "running",
    "tgi_batch_current_size": "running",
    "dynamo_frontend_inflight_requests": "running",
    "vllm:num_requests_waiting": "waiting",
    "sglang:num_queue_reqs": "waiting",
    "llamacpp:requests_deferred": "waiting",
    "tgi_queue_size": "waiting",
    "dynamo_frontend_queued_requests": "waiting",
    "vllm:kv_cache_usage_perc": "cache_use",
    "vllm:gpu_cache_usage_perc": "cache_use",
    "sglang:token_usage": "cache_use",
    "llamacpp:kv_cache_usage_ratio": "cache_use",
    "dynamo_component_kvstats_gpu_cache_usage_percent": "cache_use",
    "vllm:prefix_cache_hits_total": "hits",
    "vllm:gpu_prefix_cache_hits_total": "hits",
    "vllm:prefix_cache_queries_total": "queries",
    "vllm:gpu_prefix_cache_queries_total": "queries",
    "sglang:cache_hit_rate": "hit_rate",
    "dynamo_component_kvstats_gpu_prefix_cache_hit_rate": "hit_rate",
    "vllm:num_preemptions_total": "preempted",
    "sglang:num_retracted_requests_total": "preempted",
    "DCGM_FI_DEV_GPU_UTIL": "gpu_percent",
    "DCGM_FI_PROF_SM_ACTIVE": "gpu_active",
    "DCGM_FI_DEV_POWER_USAGE": "gpu_power",
    "DCGM_FI_DEV_FB_USED": "gpu_memory",
    **{f"{series}_{part}": f"{name}_{part}" for series, name in _HISTOGRAMS.items() for part in ("sum", "count")},
}
"""What is read: series and the name of their value; of the series of one name the first that is there counts."""
_JOINED: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "cache_use": max,
    "hit_rate": max,
    "gpu_percent": fmean,
    "gpu_active": fmean,
}
"""How the values of one series become one, where they are not added up."""
_GAUGES: Final = ("running", "waiting", "cache_use", "gpu_active", "gpu_power", "gpu_memory")


class Scrape(NamedTuple):
    """One scrape: a clock reading (``time.perf_counter_ns``), and what :data:`_SERIES` names."""

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
    for series, name in _SERIES.items():
        values = metrics.get(series)
        if values and name not in found:
            usable = all(abs(value) <= _LARGEST for value in values)  # which NaN is not
            found[name] = _JOINED.get(name, sum)(values) if usable else math.nan
    return {name: value for name, value in found.items() if abs(value) <= _LARGEST}


@dataclass(slots=True)
class Telemetry:
    """Reads some pages and the GPUs, each in a thread of its own, from :meth:`start` to :meth:`stop`.

    ``series`` has what was understood of each source, by its address or :data:`GPUS`. A source that takes its time
    leaves no gaps in the series of the others.
    """

    urls: Sequence[str]
    gpus: Gpus | None = None
    context: ssl.SSLContext | None = None
    series: dict[str, list[Scrape]] = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Read every source once; go on only where there is anything to be had."""
        begun = []
        for name, read in self._sources().items():
            self.series[name] = []
            begun.append(threading.Event())
            thread = threading.Thread(
                target=self._work, args=(read, self.series[name], begun[-1]), name=f"telemetry {name}", daemon=True
            )
            self._threads.append(thread)
            thread.start()
        for event in begun:
            event.wait()
        if not any(self.series.values()):
            self._over.set()

    def stop(self) -> None:
        """Read every source once more and end."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _sources(self) -> dict[str, Callable[[], dict[str, float] | None]]:
        """Return how to read each source, by its name."""
        found: dict[str, Callable[[], dict[str, float] | None]] = {
            url: partial(fetch_values, url, self.context) for url in self.urls
        }
        return found if self.gpus is None else {**found, GPUS: self.gpus.read}

    def _work(self, read: Callable[[], dict[str, float] | None], scrapes: list[Scrape], begun: threading.Event) -> None:
        due = monotonic()
        try:
            _scrape(read, scrapes)
        finally:
            begun.set()
        over = False
        while not over:
            # On a grid of whole intervals: what a reading takes must not make the series drift.
            due = max(due + EVERY, monotonic())
            over = self._over.wait(due - monotonic())
            if not over or any(self.series.values()):
                _scrape(read, scrapes)

    def seconds(self, t0: int) -> dict[int, dict[str, float]]:
        """Return what there is for each whole second of a run that began at a clock reading."""
        found: dict[int, dict[str, float]] = {}
        for scrapes in self.series.values():
            for before, scrape in zip([None, *scrapes], scrapes, strict=False):
                if scrape.at >= t0:
                    found.setdefault((scrape.at - t0) // 1_000_000_000, {}).update(_line(before, scrape))
        return found

    def summary(self, t0: int, client_ttft: Histogram | None) -> dict[str, float]:
        """Return the figures of the whole run; empty where nothing was learnt.

        ``ttft_difference`` is the client's mean minus the server's: network, the server's HTTP layer, and the client.
        """
        if not any(self.series.values()):
            return {}
        lines = list(self.seconds(t0).values())
        figures: dict[str, float] = {"samples": len(lines)}
        for name in (name for name, metric in SERVER.items() if metric.gauge):
            values = [line[name] for line in lines if name in line]
            if values:
                figures[f"{name}_mean"] = round(sum(values) / len(values), 4)
                figures[f"{name}_max"] = max(values)
        whole: dict[str, float] = {}
        for scrapes in filter(None, self.series.values()):
            whole |= _line(scrapes[0], scrapes[-1])
        figures |= {name: whole[name] for name, metric in SERVER.items() if name in whole and not metric.gauge}
        if "ttft" in figures and client_ttft is not None and client_ttft.mean is not None and not client_ttft.unended:
            figures["ttft_difference"] = round(client_ttft.mean.value - figures["ttft"], 6)
        return figures


def _scrape(read: Callable[[], dict[str, float] | None], scrapes: list[Scrape]) -> None:
    at = perf_counter_ns()
    values = read()
    if values:
        scrapes.append(Scrape(at, values))


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
    earlier = before.values
    grown = {name: at - earlier[name] for name, at in values.items() if name in earlier and at >= earlier[name]}
    if grown.get("queries") and "hits" in grown:
        line["prefix_hit_rate"] = round(grown["hits"] / grown["queries"], 4)
    if "preempted" in grown:
        line["preemptions"] = grown["preempted"]
    for name in dict.fromkeys(_HISTOGRAMS.values()):
        if grown.get(f"{name}_count") and f"{name}_sum" in grown:
            line[name] = round(grown[f"{name}_sum"] / grown[f"{name}_count"], 6)
    return line


def fetch_values(url: str, context: ssl.SSLContext | None = None) -> dict[str, float] | None:
    """Return the known values of a page, or ``None`` when there are none to be had.

    Takes at most :data:`~rejoinder.budgets.METRICS_SECONDS` in all. Follows a few redirects to the same scheme, host
    and port, and none to others; uses no proxy. ``context`` says which certificates are trusted and shown; by default
    those of the system, and none.
    """
    deadline = _Deadline(METRICS_SECONDS)
    try:
        address = parse_address(url)
        for _ in range(_REDIRECTS + 1):
            page, elsewhere = _get(address, context, deadline)
            if len(page) > METRICS or deadline.passed:
                return None
            if not elsewhere:
                return read_values(parse_metrics(page.decode("utf-8", "replace"))) or None
            there = parse_address(urljoin(address.url, elsewhere))
            if there.origin != address.origin:
                return None
            address = there
    except (OSError, ValueError, HTTPException, UsageError):
        return None
    finally:
        deadline.cancel()
    return None


class _Deadline:
    """Ends every read of some sockets after some seconds.

    The time-out of a socket is one between two reads, so a page that trickles would take for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.passed = False
        self._sockets: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def add(self, sock: socket.socket) -> None:
        """End the reads of one more socket; raises ``TimeoutError`` when the time is over."""
        self._sockets.append(sock)
        if self.passed:
            raise TimeoutError

    def cancel(self) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        # Set first: a read that ends must not find the page whole, and a socket that comes later is not waited for.
        self.passed = True
        for sock in self._sockets:
            with suppress(OSError):
                # Not the method of a TLS socket, which would go on to read what is encrypted as plain text.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _get(address: Address, context: ssl.SSLContext | None, deadline: _Deadline) -> tuple[bytes, str]:
    """Return the body of a page (empty unless it is there) and where it redirects to."""
    connection: HTTPConnection
    if address.tls:
        trust = context or ssl.create_default_context()
        connection = HTTPSConnection(address.host, address.port, context=trust)
    else:
        connection = HTTPConnection(address.host, address.port)
    try:
        # The connection's own way to connect would begin a time-out anew for its handshake.
        connection.sock = socket.create_connection((address.host, address.port), METRICS_SECONDS)
        deadline.add(connection.sock)
        if address.tls:
            connection.sock = tls = trust.wrap_socket(
                connection.sock, server_hostname=address.host, do_handshake_on_connect=False
            )
            deadline.add(tls)
            tls.do_handshake()
        connection.request("GET", address.below("") or "/", headers={"Accept": "text/plain", "User-Agent": USER_AGENT})
        with connection.getresponse() as reply:
            if 300 <= reply.status < 400:
                return b"", reply.headers.get("Location", "")
            return (reply.read(METRICS + 1) if reply.status == HTTPStatus.OK else b""), ""
    finally:
        connection.close()
