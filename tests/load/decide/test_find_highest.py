"""The search for the highest load: on simulated servers whose capacity is known, and once on a real one."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rejoinder.cli.load import exit_code, gate_code
from rejoinder.errors import ExitCode, RejoinderError, UsageError
from rejoinder.load.decide.find_highest import (
    PRECISION,
    SearchRange,
    describe_search,
    find_highest,
    longest_step,
    run_search,
)
from rejoinder.load.decide.search import SearchRun
from rejoinder.load.measure.load_line import judge_state, load_line
from rejoinder.load.measure.stationarity import RequestSpan, SpanKeeper
from rejoinder.load.measure.stats import RunStats
from rejoinder.load.run import LoadResult, Sink
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange
from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import RunWriter, read_run
from rejoinder.model.samples import LoadSample, Sample, SearchResult, SloResult, Stationarity, Validity
from rejoinder.reports.parts.search.summary import describe_result

SETTINGS = LoadSettings(url="http://h", slos=("e2e:p90<3s",), duration=4.0)
RATES = SearchRange("rate", 5, 50)
CAPACITY = 4 / 0.19


class Memory:
    """A run file in memory."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def sample(self, sample: Sample) -> None:
        self.samples.append(sample)

    def exchange(self, _: Exchange) -> None:
        pass


def simulated(
    slots: int = 4,
    service: float = 0.19,
    noise: float = 0.002,
    bound: float = 1e9,
    stop_at: int = 10**9,
    fail_at: int = 10**9,
    silent_from: int = 10**9,
    bad: Callable[[int, LoadSettings], bool] = lambda _, __: False,
    badly: int = 2,
    stalls: float = 0.0,
    pauses: float = 0.0,
    seed: int = 0,
) -> Callable[[LoadSettings, Sink], LoadResult]:
    """Return a runner that plays a server of ``slots``, which are held for ``service`` seconds.

    ``noise`` is the deviation of that time. The generator is the limit from the rate ``bound`` on, the run ``stop_at``
    is interrupted, the run ``fail_at`` cannot be run, and in a run that is ``bad`` one of ``badly`` requests fails.
    From the run ``silent_from`` on each connection fails.
    The load generator stalls ``stalls`` times a second for 20 ms, the server ``pauses`` times.
    """
    calls = [0]

    def run(settings: LoadSettings, sink: Sink) -> LoadResult:
        calls[0] += 1
        if calls[0] == fail_at:
            raise RejoinderError("The generator broke.")
        dice = random.Random(f"{settings.rate}/{settings.concurrency}/{calls[0]}/{seed or ''}")
        if stalls or pauses:
            stalled = [_stalls(dice, each, settings.duration) for each in (stalls, pauses)]
            spans = _spans(settings, slots, lambda: service + dice.expovariate(1 / noise), *stalled)
        else:
            spans = _spans(settings, slots, lambda: max(0.001, dice.gauss(service, noise)))
        failing = bad(calls[0], settings)
        silent = calls[0] >= silent_from
        spans = [replace_failed(span, silent or (failing and index % badly == 0)) for index, span in enumerate(spans)]
        ended = [span for span in spans if not span.failed]
        stats = RunStats()
        for name in ("e2e", "e2e_ok"):
            stats.histograms[name] = Histogram()
            for span in ended:
                stats.histograms[name].add(span.end - span.start)
        bad_outcome = RequestOutcome.TRANSPORT if silent else RequestOutcome.FAILED
        stats.outcomes.update({RequestOutcome.OK: len(ended), bad_outcome: len(spans) - len(ended)})
        load = load_line(stats, [], settings, issued=settings.duration)
        keeper = SpanKeeper()
        keeper.extend(spans)
        judge_state(load, settings, keeper)
        limited = (settings.rate or 0) >= bound
        load.self_check.verdict = Validity.CLIENT_BOUND if limited else Validity.VALID
        interrupted = calls[0] >= stop_at
        return LoadResult(len(spans), load.outcomes, stats.histograms, load, interrupted=interrupted)

    return run


def replace_failed(span: RequestSpan, failed: bool) -> RequestSpan:
    return span._replace(failed=True, e2e=None, ttft=None) if failed else span


def _stalls(dice: random.Random, rate: float, length: float) -> list[tuple[float, float]]:
    """Return when something stands still, for 20 ms each time."""
    found, at = [], dice.expovariate(rate)
    while at < length + 30:
        found.append((at, at + 0.02))
        at += dice.expovariate(rate)
    return found


def _after(at: float, stalls: Sequence[tuple[float, float]]) -> float:
    return next((end for start, end in stalls if start <= at < end), at)


def _spans(
    settings: LoadSettings,
    slots: int,
    service: Callable[[], float],
    stalls: Sequence[tuple[float, float]] = (),
    pauses: Sequence[tuple[float, float]] = (),
) -> list[RequestSpan]:
    free = [0.0] * slots
    spans: list[RequestSpan] = []
    due = [number * 0.01 for number in range(settings.concurrency)] if settings.concurrency else [*settings.schedule()]
    while due and (at := heapq.heappop(due)) < settings.duration:
        end = _after(max(_after(at, stalls), heapq.heappop(free)) + service(), pauses)
        heapq.heappush(free, end)
        end = _after(end, stalls)
        spans.append(RequestSpan(at, end, end - at, end - at))
        if settings.concurrency:
            heapq.heappush(due, end)
    return spans


def find(
    run: Callable[[LoadSettings, Sink], LoadResult], sought: SearchRange = RATES, given: LoadSettings = SETTINGS
) -> tuple[SearchResult, LoadResult]:
    result = find_highest(given, sought, SearchRun(Memory(), run))
    assert result.load.search is not None
    return result.load.search, result


@pytest.mark.slow(4)
@pytest.mark.parametrize("duration", [2.0, 4.0, 10.0])
@pytest.mark.parametrize("slo", ["e2e:p99<3s", "e2e:p90<1s", "e2e:p50<400ms"])
@pytest.mark.parametrize("top", [30.0, 50.0, 61.0])
def test_the_answer_is_never_above_the_capacity(duration: float, slo: str, top: float) -> None:
    """Four slots of 190 ms bear 21.05 requests/s, however short the steps and however wide the limit."""
    found, _ = find(simulated(), SearchRange("rate", 5, top), replace(SETTINGS, duration=duration, slos=(slo,)))
    assert found.highest is not None
    assert 20 <= found.highest <= CAPACITY
    assert found.confirmed
    assert found.next is not None
    assert found.next <= found.highest * 1.06
    assert found.reason


@pytest.mark.slow(4)
@settings(deadline=None, max_examples=15)
@given(st.integers(1, 12), st.floats(0.05, 0.6))
def test_the_answer_is_near_every_capacity(slots: int, service: float) -> None:
    capacity = slots / service
    sought = SearchRange("rate", capacity / 2, capacity * 4.3)
    found, _ = find(simulated(slots, service), sought, replace(SETTINGS, duration=10.0))
    assert found.highest is not None
    assert 0.92 * capacity <= found.highest <= 1.003 * capacity
    assert len(found.steps) <= 30


@pytest.mark.slow(2)
@pytest.mark.parametrize("duration", [4.0, 10.0])
@pytest.mark.parametrize("slo", ["e2e:p90<3s", "e2e:p90<1s"])
def test_random_arrivals_do_not_raise_the_answer(duration: float, slo: str) -> None:
    """A queue of random arrivals is long at times below the capacity too, so the answer is less precise."""
    for seed in range(4):
        given = replace(SETTINGS, duration=duration, slos=(slo,), arrivals="poisson", seed=seed)
        found, _ = find(simulated(seed=seed), given=given)
        assert found.highest is not None
        assert 18 <= found.highest <= CAPACITY
        assert found.confirmed


def test_a_step_that_has_failed_for_sure_ends_early() -> None:
    """The run ends the step; it runs once, and says nothing of the endpoint if the load generator was the limit."""
    given_to: list[tuple[str, ...]] = []

    def run(settings: LoadSettings, sink: Sink) -> LoadResult:
        given_to.append(settings.abort_on)
        over = (settings.rate or 0) > CAPACITY
        result = simulated(bound=bound)(settings, sink)
        result.load.aborted = "The queue grew by 9 requests/s." if over else ""
        return result

    bound = 1e9
    found, _ = find(run, given=replace(SETTINGS, abort_on=("error>50%",)))
    assert set(given_to) == {("error>50%", "slo", "queue")}
    assert found.next is not None
    assert found.reason == "the queue grew by 9 requests/s"
    assert len([step for step in found.steps if step.level == 50]) == 1
    bound = 40.0
    limited, _ = find(run, SearchRange("rate", 45, 50))
    assert (limited.limited_by, limited.next) == ("generator", None)
    given_to.clear()
    find(run, SearchRange("concurrency", 1, 4), replace(SETTINGS, slos=("e2e:mean<600ms",)))
    assert set(given_to) == {("slo",)}


def test_a_limit_near_the_service_time_is_the_answer_too() -> None:
    """Below the capacity a request takes 190 ms, so a limit of 100 ms fails everywhere."""
    found, _ = find(simulated(), given=replace(SETTINGS, slos=("e2e:p90<100ms",)))
    assert found.highest is None
    assert found.next == 5
    assert "e2e:p90<100ms was missed (19" in found.reason
    assert describe_result(found).startswith(
        "Highest rate that meets every SLO: below 5 requests/s. 5 requests/s failed"
    )


def test_the_top_of_the_range_is_no_upper_bound() -> None:
    found, _ = find(simulated(), SearchRange("rate", 2, 10))
    assert (found.more, found.next, found.confirmed) == (True, None, True)
    assert found.highest == pytest.approx(10, rel=0.03)
    assert "or more" in describe_result(found)


def test_concurrency_is_found_to_the_number() -> None:
    """With 4 slots, 12 in flight wait for 380 ms each and take 570 ms; 13 take longer."""
    sought = SearchRange("concurrency", 1, 64)
    found, _ = find(simulated(), sought, replace(SETTINGS, slos=("e2e:mean<600ms",)))
    assert found.kind == "concurrency"
    assert found.highest == 12
    assert found.next == 13
    assert {step.rate for step in found.steps} == {None}
    assert describe_result(found).startswith(
        "Highest concurrency that meets every SLO: 12. Concurrency 13 failed: e2e:mean<600ms was"
    )


def test_steps_are_lengthened_to_the_latencies() -> None:
    """A request takes 1.5 s, so a step of 2 s shows nothing."""
    found, _ = find(simulated(40, 1.5), SearchRange("rate", 2, 60), replace(SETTINGS, duration=2.0))
    held = [step for step in found.steps if step.held]
    assert min(step.duration or 0.0 for step in held) >= 14
    assert max(step.duration or 0.0 for step in found.steps if not step.confirms) <= longest_step(SETTINGS)
    assert found.highest is not None
    assert found.highest <= 40 / 1.5


def test_what_stays_too_short_is_not_trusted() -> None:
    found, result = find(simulated(1000, 30.0), SearchRange("rate", 2, 60), replace(SETTINGS, slos=("e2e:p90<60s",)))
    assert (found.highest, found.next, found.reason) == (None, None, "")
    assert found.untested == 2
    assert "too short" in found.untested_reason
    text = describe_result(found)
    assert text.startswith("Highest rate that meets every SLO: cannot be known. 2 requests/s could not be tested: too")
    assert text.endswith("Use a longer --duration or a higher lowest rate.")
    assert exit_code(result) == ExitCode.NOT_TESTED


def test_a_step_that_fails_once_runs_again() -> None:
    def is_bad(call: int, _: LoadSettings) -> bool:
        return call == 1

    found, _ = find(simulated(bad=lambda call, _: False), SearchRange("rate", 2, 10))
    again, _ = find(simulated(noise=0.0), SearchRange("rate", 2, 10))
    assert found.highest == pytest.approx(again.highest, rel=0.02)
    failed, _ = find(simulated(bad=is_bad), SearchRange("rate", 2, 10))
    assert failed.highest is None, "half of all requests failed: that is no matter of chance"
    assert len(failed.steps) == 1


def test_an_answer_that_a_longer_run_does_not_confirm_is_lowered() -> None:
    def long_and_high(_: int, given: LoadSettings) -> bool:
        return given.duration >= 12 and (given.rate or 0) > 18

    found, _ = find(simulated(bad=long_and_high))
    assert found.highest is not None
    assert found.highest <= 18
    assert found.confirmed
    assert found.next is not None
    assert found.next > 18
    assert "failed" in found.reason
    assert sum(step.confirms for step in found.steps) > 1


def test_a_generator_at_its_limit_is_named() -> None:
    found, _ = find(simulated(slots=100, bound=30))
    assert found.limited_by == "generator"
    assert found.highest is not None
    assert 28 < found.highest < 30
    assert (found.next, found.reason) == (None, "")
    assert found.untested is not None
    assert found.untested_reason == "the load generator was the bottleneck"
    assert " or more. " in describe_result(found)
    assert "could not be tested: the load generator was the bottleneck. Give" in describe_result(found)


def test_a_generator_that_cannot_bring_the_lowest_load_says_nothing_of_the_endpoint() -> None:
    found, result = find(simulated(slots=100, bound=0))
    assert (found.highest, found.next, found.untested, found.limited_by) == (None, None, 5, "generator")
    assert describe_result(found).startswith("Highest rate that meets every SLO: cannot be known. 5 requests/s could")
    assert gate_code(result) == ExitCode.CLIENT_BOUND


def test_a_reason_keeps_the_names_of_metrics() -> None:
    run = simulated()

    def drifting(given: LoadSettings, sink: Sink) -> LoadResult:
        result = run(given, sink)
        result.load.stationarity = Stationarity(state="not steady", text="TTFT rose through the run.")
        return result

    found, _ = find(drifting)
    assert (found.next, found.reason) == (5, "TTFT rose through the run")


def test_nothing_sustained_is_a_failure_even_where_the_slo_is_met() -> None:
    """The queue grows from the lowest rate on."""
    found, result = find(simulated(), SearchRange("rate", 25, 50))
    assert (found.highest, found.next, found.untested) == (None, 25, None)
    assert "the queue grew" in found.reason
    assert exit_code(result) == ExitCode.FAILED


@pytest.mark.parametrize("low", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("duration", [2.0, 4.0])
def test_the_lowest_rate_has_time_for_enough_requests(low: float, duration: float) -> None:
    given = replace(SETTINGS, slos=("e2e:p50<1s",), duration=duration)
    found, _ = find(simulated(), SearchRange("rate", low, 50), given)
    assert found.highest is not None
    assert 20 <= found.highest <= CAPACITY
    first = found.steps[0]
    assert first.held
    assert f"The first step lasts {first.duration:g} s" in describe_search(SearchRange("rate", low, 50), given)


@pytest.mark.slow(8)
@pytest.mark.parametrize("slo", ["e2e:p99<3s", "e2e:p99<400ms"])
def test_noise_of_the_machine_moves_the_answer_by_little(slo: str) -> None:
    """Once a second the load generator stalls for 20 ms, three times in 10 s the server, and each request is late."""
    for seed in range(20):
        run = simulated(noise=0.002, stalls=1.0, pauses=0.3, seed=seed)
        found, _ = find(run, given=replace(SETTINGS, slos=(slo,)))
        assert found.highest is not None
        assert 20 <= found.highest <= CAPACITY


def test_a_confirmation_that_fails_once_gets_a_second_try() -> None:
    calls = []

    def first_confirmation(_: int, given: LoadSettings) -> bool:
        calls.append(given)
        return given.duration >= 12 and sum(one.duration >= 12 for one in calls) == 1

    found, _ = find(simulated(bad=first_confirmation, badly=20), SearchRange("rate", 5, 20))
    confirming = [step for step in found.steps if step.confirms]
    assert [step.held for step in confirming] == [False, True]
    assert confirming[0].level == confirming[1].level


def test_an_interrupt_leaves_what_was_found_unconfirmed() -> None:
    found, result = find(simulated(stop_at=5))
    assert result.interrupted
    assert len(found.steps) == 5
    assert found.confirmed is False
    assert found.highest is not None
    assert "not confirmed" in describe_result(found)


def test_a_step_that_cannot_be_run_leaves_what_was_found() -> None:
    found, result = find(simulated(fail_at=4))
    assert any("The generator broke." in warning for warning in result.warnings)
    assert (found.highest, found.confirmed) == (20.0, False)
    assert result.incomplete == "A step could not be run: The generator broke."
    assert exit_code(result) is ExitCode.INCOMPLETE


@pytest.mark.parametrize("silent_from", range(2, 12))
def test_a_search_ends_when_the_endpoint_stops_answering(silent_from: int) -> None:
    """At a load that it sustained before at once; above that a second silent step shows that it is not overload."""
    found, result = find(simulated(silent_from=silent_from))
    silent = [step for step in found.steps if not step.outcomes.get(RequestOutcome.OK)]
    assert len(silent) in (1, 2)
    assert len(found.steps) == silent_from + len(silent) - 1
    assert "stopped answering" in result.aborted
    assert exit_code(result) is ExitCode.FAILED
    assert found.highest is None or found.confirmed is False


def test_an_endpoint_that_never_answers_is_searched_as_one_that_fails() -> None:
    found, result = find(simulated(silent_from=1))
    assert len(found.steps) == 1
    assert found.highest is None
    assert exit_code(result) is ExitCode.NOT_TESTED


@given(low=st.floats(0.01, 100), factor=st.floats(1.03, 10_000))
def test_loads_rise_at_most_fourfold(low: float, factor: float) -> None:
    rises = SearchRange("rate", low, low * factor).rises()
    assert (rises[0], rises[-1]) == (low, low * factor)
    assert all(1 < after / before <= 4.005 for before, after in pairwise(rises))


@given(low=st.integers(1, 100), width=st.integers(1, 10_000))
def test_concurrencies_rise_at_most_fourfold(low: int, width: int) -> None:
    rises = SearchRange("concurrency", low, low + width).rises()
    assert (rises[0], rises[-1]) == (low, low + width)
    assert all(level == round(level) for level in rises)
    assert all(1 < after / before <= 4 for before, after in pairwise(rises))


def test_an_slo_is_needed_and_no_number_of_requests() -> None:
    search = SearchRun(Memory(), simulated())
    with pytest.raises(UsageError, match="needs an SLO"):
        find_highest(LoadSettings(url="http://h"), RATES, search)
    with pytest.raises(UsageError, match="cannot use --requests"):
        find_highest(replace(SETTINGS, requests=10), RATES, search)


def test_the_time_is_estimated_before() -> None:
    text = describe_search(SearchRange("rate", 5, 50), replace(SETTINGS, duration=30.0, slos=("e2e:p90<1s",)))
    assert text.startswith("Up to 9 steps of 30 s and a longer run that confirms the result, 360 s in all if no step")
    assert "up to 150 s" in text
    assert "waits up to 60 s for requests in flight" in text


@given(st.floats(0.1, 1000), st.floats(1.1, 100))
def test_bisection_ends(low: float, factor: float) -> None:
    sought = SearchRange("rate", low, low * factor)
    below, above, steps = sought.low, sought.high, 2
    while (middle := sought.between(below, above)) is not None:
        assert below < middle < above
        above = middle
        steps += 1
    assert above <= below * PRECISION
    assert steps <= sought.most_steps + 1


@pytest.mark.slow(60)
def test_a_real_server_is_not_overrated(timed_server: Any, tmp_path: Path) -> None:
    """Wide margins: the machine may be busy. A search that trusted its SLO would name a rate far above 21."""
    given = LoadSettings(
        url=timed_server.url, model="slots=4&ttft=190&tokens=1", duration=2.0, slos=("e2e:p90<3s",), concurrency=1
    )
    with RunWriter(tmp_path / "run.ndjson") as writer:
        writer.header(new_header(RunTarget(url=given.url, model="m", dialect="northstar")))
        run_search(given, writer, sought=SearchRange("rate", 15, 50))
        writer.footer(Footer(ended_at=0.0, exit_code=0))
    run = read_run(tmp_path)
    assert run.damage == []
    (load,) = run.samples_of(LoadSample)
    assert load.search is not None
    assert load.search.highest is not None
    assert load.search.highest <= 21.06
    assert sum(step.started for step in load.search.steps) == timed_server.truth()["requests"]
    assert isinstance(load.slos[0], SloResult)
