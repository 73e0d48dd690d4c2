"""What the load generator says of itself: every figure, and both sides of every limit."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import Any

import pytest

from rejoinder.load.measure import self_check as module
from rejoinder.load.measure.self_check import SelfCheck, requests_lost
from rejoinder.load.measure.stats import RunStats
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import SelfCheckResult, Validity

VALID, SUSPECT, CLIENT_BOUND = Validity.VALID, Validity.SUSPECT, Validity.CLIENT_BOUND


self_check = partial(module.self_check, cores=64)


def histogram(*values: float) -> Histogram:
    made = Histogram()
    for value in values:
        made.add(value)
    return made


def stats(ended: int = 10, lag: tuple[float, ...] = (), **fields: Any) -> RunStats:
    """Return the statistics of requests that all succeeded."""
    found = RunStats(outcomes=Counter({RequestOutcome.OK: ended}), **fields)
    if lag:
        found.histograms["dispatch_lag"] = histogram(*lag)
    return found


def check(lag: tuple[float, ...] = (), cpu: float = 0.5, started: int = 10, **fields: Any) -> SelfCheck:
    """Return the check of a process; its first and last second do not count."""
    return SelfCheck(started=started, cpu=[1.0, cpu, cpu, 1.0], loop_lag=histogram(*lag), **fields)


def test_every_figure_by_hand() -> None:
    # Of 200 probes of both processes together the p99 is the 198th, the p50 the 100th.
    first = check((0.0001,) * 99 + (0.0012,), started=6, reconnects=2, max_in_flight=5)
    first.cpu = [0.9, 0.2, 0.4, 0.9]
    second = check((0.0002,) * 96 + (0.001, 0.0011, 0.0013, 0.0014), started=4, reconnects=1, max_in_flight=4)
    second.cpu = [0.9, 0.1234, 0.5432, 0.0001, 0.9]
    found = self_check(
        stats(10, lag=(0.001,) * 98 + (0.002, 0.003), deltas=101, chunks=40, finished=10), [first, second], issued=8.0
    )
    assert found == SelfCheckResult(
        verdict=VALID,
        reasons=[],
        loop_lag_p50=0.0002,
        loop_lag_p99=0.0012,
        loop_lag_max=0.0014,
        dispatch_lag_p99=0.002,
        # The busiest process counts: (0.2 + 0.4) / 2 against (0.1234 + 0.5432 + 0.0001) / 3.
        cpu_mean=0.3,
        cpu_max=0.543,
        coalescing=2.525,
        events_per_s=12.6,
        processes=2,
        processes_advised=2,
        reconnects=3,
        max_in_flight=9,
        lost=0,
        cores=64,
    )


def test_a_run_without_requests_has_no_figures_and_is_suspect() -> None:
    assert self_check(RunStats(), [], issued=0.0) == SelfCheckResult(
        verdict=SUSPECT, reasons=["no request was started"], cpu_mean=0.0, cpu_max=0.0, events_per_s=0.0, processes=0,
        processes_advised=0, reconnects=0, max_in_flight=0, lost=0, cores=64,
    )  # fmt: skip
    assert self_check(RunStats(deltas=10), [SelfCheck()], issued=-1.0).events_per_s == 0.0


def test_a_process_of_two_seconds_has_no_steady_ones_so_all_count() -> None:
    assert SelfCheck(cpu=[0.1, 0.2, 0.4, 0.8]).inner_cpu == [0.2, 0.4]
    assert SelfCheck(cpu=[0.1, 0.2, 0.4]).inner_cpu == [0.2]
    assert SelfCheck(cpu=[0.1, 0.3]).inner_cpu == [0.1, 0.3]
    assert SelfCheck().inner_cpu == []


@pytest.mark.parametrize(
    ("verdict", "fields"),
    [
        (VALID, {"lag": (0.005,)}),
        (SUSPECT, {"lag": (0.0051,)}),
        (SUSPECT, {"lag": (0.02,)}),
        (CLIENT_BOUND, {"lag": (0.0201,)}),
        # At most one probe of a hundred may be late.
        (VALID, {"lag": (0.0,) * 99 + (1.0,)}),
        (CLIENT_BOUND, {"lag": (0.0,) * 98 + (1.0, 1.0)}),
        (VALID, {"cpu": 0.75}),
        (SUSPECT, {"cpu": 0.7501}),
        (SUSPECT, {"cpu": 0.9}),
        (CLIENT_BOUND, {"cpu": 0.9001}),
        (CLIENT_BOUND, {"throttled": True}),
        (CLIENT_BOUND, {"unopened": 1}),
        (SUSPECT, {"died": True}),
        (SUSPECT, {"worker_lost": True}),
        (SUSPECT, {"capped": 1}),
        (SUSPECT, {"started": 11}),
        # A process that died may have reported more ends than starts.
        (VALID, {"started": 9}),
    ],
)
def test_both_sides_of_every_limit(verdict: Validity, fields: dict[str, Any]) -> None:
    found = self_check(stats(), [check(started=0), check(**fields)], issued=1.0)
    assert found.verdict is verdict
    assert len(found.reasons) == (verdict is not VALID)
    # Two beside two are advised where the generator was at its limit and worked.
    assert found.processes_advised == (4 if verdict is CLIENT_BOUND else 2)


@pytest.mark.parametrize(
    ("verdict", "lag"), [(VALID, 0.0099), (SUSPECT, 0.0101), (SUSPECT, 0.0499), (CLIENT_BOUND, 0.0501)]
)
def test_requests_that_were_started_late(verdict: Validity, lag: float) -> None:
    found = self_check(stats(lag=(0.0,) * 98 + (lag, 1.0)), [check()], issued=1.0)
    assert found.dispatch_lag_p99 is not None
    assert (found.verdict, found.dispatch_lag_p99) == (verdict, pytest.approx(lag, rel=1e-3))
    assert all(f"{found.dispatch_lag_p99 * 1000:.1f} ms" in reason for reason in found.reasons)


def test_reasons_say_how_many_and_the_worst_come_first() -> None:
    found = self_check(
        stats(ended=7, lag=(0.02,)),
        [check((0.006,), 0.8, capped=2), check((0.006,), 0.95, capped=4, throttled=True, died=True, worker_lost=True)],
        issued=1.0,
        notes=["Known before."],
    )
    bound, suspect = found.reasons[:2], found.reasons[2:]
    assert found.verdict is CLIENT_BOUND
    assert ["95 %" in bound[0], "analysis" in bound[1]] == [True, True]
    assert suspect[0] == "Known before."
    for reason, words in zip(suspect[1:], ("6.0 ms", "20.0 ms", "13 ", "died", "died", "6 "), strict=True):
        assert words in reason
    assert found.lost == 13
    notes = self_check(stats(), [check()], 1.0, ["Known before."])
    assert (notes.verdict, notes.reasons) == (SUSPECT, ["Known before."])


@pytest.mark.parametrize(("cpu", "idle"), [(0.39, True), (0.4, False)])
def test_a_generator_that_was_late_without_working_was_kept_waiting(cpu: float, idle: bool) -> None:
    waited = self_check(stats(), [check((0.03,), cpu)], 1.0)
    assert ("other processes" in waited.reasons[0]) is idle
    # More processes would not help where others took the time.
    assert waited.processes_advised == (1 if idle else 2)


@pytest.mark.parametrize(("events", "advised"), [(20_000, 1), (20_001, 2), (60_001, 4)])
def test_as_many_processes_are_advised_as_the_events_need(events: int, advised: int) -> None:
    found = self_check(stats(deltas=events * 4), [check()], issued=4.0)
    assert (found.processes_advised, found.events_per_s) == (advised, events)


def test_what_has_no_outcome_is_lost() -> None:
    assert requests_lost(stats(7), [check(started=5), check(started=4)]) == 2
    assert requests_lost(stats(7), [check(started=5)]) == 0


def test_more_processes_than_cores_are_not_advised() -> None:
    slow = check(cpu=0.95)
    found = module.self_check(stats(20, deltas=60_001 * 4), [slow, slow], issued=4.0, cores=2)
    assert (found.verdict, found.processes_advised, found.cores) == (CLIENT_BOUND, 2, 2)
    assert found.reasons[-1] == "this load needs 4 load generator processes, but this machine has 2 cores"
    # A load that the machine can offer needs no more cores than it has.
    fine = module.self_check(stats(20, deltas=60_001 * 4), [check(), check()], issued=4.0, cores=2)
    assert (fine.verdict, fine.reasons) == (VALID, [])
    assert module.available_cores() >= 1


def test_a_schedule_that_could_not_be_kept_is_the_limit_of_the_load_generator() -> None:
    late = check(due=800, begun=412)
    found = self_check(stats(), [late], issued=10.0)
    assert (found.verdict, found.unstarted) == (CLIENT_BOUND, 388)
    assert found.reasons == ["412 of 800 requests that were due started, 41.2 of 80.0 requests/s"]
    # Over all processes, and up to one in a hundred may be missing at the end.
    assert self_check(stats(20), [check(due=800, begun=799), check(due=800, begun=785)], issued=10.0).verdict is VALID
    # The limit of requests in flight is the endpoint's doing, a suspended command that of the user.
    for why in ({"capped": 388}, {"paused": 4.0}):
        held = self_check(stats(), [check(due=800, begun=412, **why)], issued=10.0)
        assert (held.verdict, held.reasons[0][:10]) == (SUSPECT, "412 of 800")


def test_pauses_of_users_are_added_up() -> None:
    first, second = check(backoffs=3, backoff=0.35, retry_after=3), check(backoffs=2, backoff=0.15)
    found = self_check(stats(20), [first, second], issued=1.0)
    assert (found.pauses, found.paused, found.retry_after, found.verdict) == (5, 0.5, 3, VALID)
