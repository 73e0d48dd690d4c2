"""The load generator's check of itself: whether it, rather than the endpoint, limited the figures."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from statistics import fmean
from typing import Final

from msgspec import field

from rejoinder.formatting import plural, value_of
from rejoinder.load.measure.stats import JsonStruct, RunStats
from rejoinder.model.histogram import Histogram
from rejoinder.model.samples import SelfCheckResult, Validity

_IDLE_SHARE: Final = 0.4
_UNSTARTED: Final = 0.01
"""Share of the requests of a schedule that may be left out before the load counts as not offered."""
_EVENTS_PER_PROCESS: Final = 20_000
"""Content deltas a second that one process reads with sub-millisecond time stamps on an ordinary core."""


class SelfCheck(JsonStruct):
    """What one load generator process measures about itself.

    ``cpu`` holds its share of one core for each second; ``paused`` the longest time in seconds for which it sent
    nothing because the command was suspended. ``unanswered`` requests were lost on kept connections, ``unopened`` ones
    found no file or port of this machine left for a connection. ``unkept`` is whether requests stopped keeping
    their connections, because the endpoint closes them (:class:`~rejoinder.load.measure.reader.KeepAlive`).

    Open loop: ``due`` slots of the schedule came, and of ``begun`` the first request was sent. Closed loop: users
    paused ``backoffs`` times, ``backoff`` seconds in all, since a request brought no answer; ``retry_after`` of these
    responses had the header Retry-After.
    """

    started: int = 0
    reconnects: int = 0
    unanswered: int = 0
    unopened: int = 0
    paused: float = 0.0
    loop_lag: Histogram = field(default_factory=Histogram)
    cpu: list[float] = field(default_factory=list)
    max_in_flight: int = 0
    capped: int = 0
    throttled: bool = False
    unkept: bool = False
    died: bool = False
    worker_lost: bool = False
    due: int = 0
    begun: int = 0
    backoffs: int = 0
    backoff: float = 0.0
    retry_after: int = 0

    @property
    def inner_cpu(self) -> list[float]:
        """The share of a core by second, without the first and the last, which hold start and end of the process."""
        return self.cpu[1:-1] or self.cpu


def requests_lost(stats: RunStats, checks: Sequence[SelfCheck]) -> int:
    """Return how many requests were started and have no outcome, because the process that had them died."""
    # A process that died may have reported results after its last count of starts.
    return max(0, sum(check.started for check in checks) - stats.outcomes.total())


def self_check(
    stats: RunStats, checks: Sequence[SelfCheck], issued: float, notes: Sequence[str] = (), *, cores: int = 0
) -> SelfCheckResult:
    """Return the verdict of the load generator on itself, with reasons; ``notes`` are further reasons.

    ``CLIENT-BOUND``: the load generator, not the endpoint, was the limit. Its event loop was more than 20 ms late in
    more than 1 % of the 10 ms probes, it used over 90 % of its core, or it started requests more than 50 ms late. Or it
    started fewer requests of an open loop than were due, though neither the limit of requests in flight nor a suspended
    command held it back. Or this machine had no file or port left for a connection. ``SUSPECT``: the same at 5 ms, 75 %
    and 10 ms, anything was lost or cut, or nothing was sent.
    ``issued`` is for how many seconds requests were started, ``cores`` how many cores there are (0: those of this
    machine).
    """
    lag = Histogram()
    for check in checks:
        lag.merge(check.loop_lag)
    cpu_mean = max((fmean(check.inner_cpu or [0.0]) for check in checks), default=0.0)
    dispatch = stats.histograms.get("dispatch_lag", Histogram())
    lost = requests_lost(stats, checks)
    due, begun = sum(check.due for check in checks), sum(check.begun for check in checks)
    bound: list[str] = []
    suspect: list[str] = list(notes)

    def grade(value: float | None, limits: tuple[float, float], text: str) -> None:
        if value is not None and value > limits[1]:
            bound.append(text)
        elif value is not None and value > limits[0]:
            suspect.append(text)

    lag_p99, dispatch_p99 = value_of(lag.nearest_rank(99)), value_of(dispatch.nearest_rank(99))
    # Late without work: other processes had the CPU, perhaps the endpoint itself.
    starved = " while its CPU was idle: other processes compete for this machine" if cpu_mean < _IDLE_SHARE else ""
    grade(lag_p99, (0.005, 0.020), f"the load generator was {_ms(lag_p99)} late (p99){starved}")
    grade(cpu_mean, (0.75, 0.90), f"a load generator process used {100 * cpu_mean:.0f} % of a core")
    grade(dispatch_p99, (0.010, 0.050), f"requests started {_ms(dispatch_p99)} late (p99)")
    if due - begun > max(1, _UNSTARTED * due):
        rates = f", {begun / issued:.1f} of {due / issued:.1f} requests/s" if issued > 0 else ""
        limited = any(check.capped or check.paused for check in checks)
        (suspect if limited else bound).append(f"{begun:,} of {plural(due, 'request')} that were due started{rates}")
    if any(check.throttled for check in checks):
        bound.append("requests waited for the analysis of earlier responses")
    if unopened := sum(check.unopened for check in checks):
        bound.append(f"{plural(unopened, 'request')} found no file or port left for a connection on this machine")
    if not any(check.started for check in checks) and not stats.outcomes.total():
        suspect.append("no request was started")
    if lost:
        suspect.append(f"{plural(lost, 'started request has', 'started requests have')} no outcome")
    if any(check.died for check in checks):
        suspect.append("a load generator process died, and about one second of its results is missing")
    if any(check.worker_lost for check in checks):
        suspect.append("an analysis worker died, and the load generator did the rest of its work")
    if paused := max((check.paused for check in checks), default=0.0):
        suspect.append(f"nothing was sent for {paused:.1f} s because rejoinder was suspended")
    if any(check.capped for check in checks):
        suspect.append(
            f"{plural(sum(check.capped for check in checks), 'request')} waited for the limit of requests in flight"
        )
    overworked = bool(bound) and cpu_mean >= _IDLE_SHARE
    events = stats.deltas / issued if issued > 0 else 0.0
    wanted = max(math.ceil(events / _EVENTS_PER_PROCESS), len(checks) * (2 if overworked else 1))
    cores = cores or available_cores()
    if bound and wanted > cores:
        bound.append(
            f"this load needs {plural(wanted, 'load generator process', 'load generator processes')}, but this machine "
            f"has {plural(cores, 'core')}"
        )
    return SelfCheckResult(
        verdict=Validity.CLIENT_BOUND if bound else Validity.SUSPECT if suspect else Validity.VALID,
        reasons=bound + suspect,
        loop_lag_p50=value_of(lag.nearest_rank(50)),
        loop_lag_p99=lag_p99,
        loop_lag_max=value_of(lag.longest),
        dispatch_lag_p99=dispatch_p99,
        cpu_mean=round(cpu_mean, 3),
        cpu_max=round(max((value for check in checks for value in check.inner_cpu), default=0.0), 3),
        coalescing=round(stats.deltas / stats.chunks, 3) if stats.chunks else None,
        events_per_s=round(events, 1),
        processes=len(checks),
        processes_advised=max(len(checks), min(wanted, cores)),
        cores=cores,
        unstarted=max(0, due - begun),
        pauses=sum(check.backoffs for check in checks),
        paused=round(sum(check.backoff for check in checks), 3),
        retry_after=sum(check.retry_after for check in checks),
        reconnects=sum(check.reconnects for check in checks),
        max_in_flight=sum(check.max_in_flight for check in checks),
        lost=lost,
    )


def available_cores() -> int:
    """Return how many cores the processes of a run may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1e3:.1f} ms"
