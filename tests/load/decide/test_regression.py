"""Limits of changes: what they ask for, how sure it is, and what it makes of repeats."""

from __future__ import annotations

import itertools
import json
import math
import os
import random
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.stats import gmean, permutation_test

from rejoinder.errors import RejoinderError, UsageError
from rejoinder.load.decide.regression import describe, judge, order, parse_change, permutation_p, read_repeats
from rejoinder.load.decide.repetitions import run_repeats
from rejoinder.load.measure.load_line import load_line
from rejoinder.load.measure.stats import RunStats
from rejoinder.load.run import LoadResult, Sink
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import RunWriter, line_is_valid, read_run
from rejoinder.model.samples import HistogramSample, Repeat, Sample, Side, SloResult, Validity
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox import running as serving

SETTINGS = LoadSettings(url="http://new", concurrency=1)
LIMIT = parse_change("ttft:p99<+10%")
RATE = parse_change("tokens>-5%")


@pytest.mark.parametrize(
    ("text", "figure", "limit"),
    [
        ("ttft:p99<+10%", "ttft:p99", 0.1),
        (" gap : median <= +2.5 % ", "itl:p50", 0.025),
        ("e2e:mean<+0%", "e2e:mean", 0.0),
        ("throughput>-5%", "output_tokens", -0.05),
        ("goodput>=-1%", "goodput", -0.01),
        ("requests>-0%", "requests", 0.0),
    ],
)
def test_limits_are_understood(text: str, figure: str, limit: float) -> None:
    change = parse_change(text)
    assert (change.figure, change.limit) == (figure, limit)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ttft:p99<10%", "is not a regression limit"),
        ("ttft:p99<300ms", "is not a regression limit"),
        ("tftt:p99<+10%", "Did you mean ttft"),
        ("error<+1%", "unknown figure"),
        ("ttft<+10%", "needs a percentile"),
        ("ttft:p101<+10%", "p101"),
        ("ttft:p99>-10%", "limits an improvement"),
        ("ttft:p99<-10%", "limits an improvement"),
        ("output_tokens<+10%", "limits an improvement"),
        ("output_tokens>-100%", "limits an improvement"),
        ("requests:p50>-10%", "single number"),
    ],
)
def test_what_is_no_limit_is_told(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_change(text)
    assert message in str(caught.value)


def sides(before: list[float], after: list[float], figure: str = "ttft:p99") -> list[list[dict[str, float]]]:
    return [[{figure: value} for value in side] for side in (before, after)]


STEADY = [1.0, 1.01, 0.99, 1.0, 1.02]
WILD = [1.0, 2.0, 0.5, 1.5, 0.7]


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (STEADY, [1.3, 1.31, 1.28, 1.33, 1.3], "worse"),
        (STEADY, [1.05, 1.06, 1.07, 1.06, 1.05], "kept"),
        (STEADY, [1.0, 1.01, 0.995, 1.0, 1.02], "kept"),
        (STEADY, [0.8, 0.81, 0.79, 0.8, 0.82], "better"),
        # Beyond the limit, but so are the repeats among each other.
        (WILD, [1.3, 2.6, 0.6, 2.0, 0.9], "unclear"),
        # Within the limit, but a change beyond it cannot be excluded.
        (WILD, WILD, "unclear"),
        # Seemingly better; not beyond doubt.
        (WILD, [0.9, 1.9, 0.4, 1.4, 0.6], "unclear"),
        ([1.0, 1.0], [9.0, 9.0], "unclear"),
        ([1.0, 1.0, 1.0], [9.0, 9.0, 9.0], "worse"),
        ([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], "kept"),
    ],
)
def test_a_change_is_worse_only_beyond_limit_and_doubt(before: list[float], after: list[float], verdict: str) -> None:
    inverse_before, inverse_after = ([1 / value for value in side] for side in (before, after))
    for change, (old, new) in (
        (LIMIT, sides(before, after)),
        (parse_change("output_tokens>-9.0909090909%"), sides(inverse_before, inverse_after, "output_tokens")),
    ):
        result = judge(change, old, new)
        assert result.verdict == verdict
        assert result.met == (verdict != "worse")
        assert change.text in describe(result)
        assert (": unclear" in describe(result)) == (verdict == "unclear")


def test_an_endpoint_that_answers_no_more_is_worse() -> None:
    old, _ = sides([1.0] * 5, [])
    assert judge(LIMIT, old, [{}] * 5).verdict == "worse"
    assert judge(LIMIT, old, [{"ttft:p99": 1.0}, {}, {}, {}, {}]).verdict == "unclear"
    assert judge(RATE, *sides([5.0] * 5, [0.0] * 5, "output_tokens")).verdict == "worse"


def scipy_p(first: Sequence[float], second: Sequence[float], **options: Any) -> float:
    """Return how often SciPy's permutation test finds the mean of the second sample so far above that of the first."""

    def apart(second: Any, first: Any, axis: int) -> Any:
        # Rounded, since equal sums differ in their last digits, and even the observed one is then missed.
        return (second.mean(axis=axis) - first.mean(axis=axis)).round(9)

    options = {"n_resamples": math.inf, **options}
    return float(permutation_test((second, first), apart, vectorized=True, alternative="greater", **options).pvalue)


SMALL = st.lists(st.integers(0, 9), min_size=2, max_size=6)


@given(SMALL, SMALL)
@example([5, 5], [5, 5])
def test_p_is_that_of_scipys_permutation_test(first: list[int], second: list[int]) -> None:
    assert permutation_p(first, second) == pytest.approx(scipy_p(first, second), rel=1e-9)


TIMES = st.lists(st.floats(0.001, 10), min_size=3, max_size=6)


@given(TIMES, TIMES, st.sampled_from(["ttft:p99<+10%", "output_tokens>-5%"]))
@example([5, 8, 10, 2.5, 3.5, 0.3125], [2.375, 3.25, 5.75], "ttft:p99<+10%")
def test_a_change_is_tested_on_logarithms_against_none_and_against_the_limit(
    before: list[float], after: list[float], text: str
) -> None:
    change = parse_change(text)
    result = judge(change, *sides(before, after, change.figure))
    assert result.before == pytest.approx(gmean(before), rel=1e-9)
    assert result.after == pytest.approx(gmean(after), rel=1e-9)
    assert result.change == pytest.approx(gmean(after) / gmean(before) - 1, rel=1e-9, abs=1e-12)
    # Of a rate less is worse, so its sides change places.
    worse_by = 1 + change.limit if change.limit > 0 else 1 / (1 + change.limit)
    old, new = ([math.log(value if change.limit > 0 else 1 / value) for value in side] for side in (before, after))
    limit = [value + math.log(worse_by) for value in old]
    p = scipy_p(old, new) if sum(new) / len(new) > sum(old) / len(old) else scipy_p(new, old)
    within = scipy_p(new, limit)
    # Sums that all but meet may be rounded apart; these samples are left out.
    assert result.p is not None
    assert result.p_limit is not None
    assume(abs(p - result.p) < 1e-9 or not _sums_meet([*old, *new], len(new)))
    assume(abs(within - result.p_limit) < 1e-9 or not _sums_meet([*limit, *new], len(new)))
    assert result.p == pytest.approx(p, rel=1e-9)
    assert result.p_limit == pytest.approx(within, rel=1e-9)


def _sums_meet(pool: list[float], size: int) -> bool:
    """Return whether two ways to deal the values out have all but the same sum."""
    sums = sorted(math.fsum(side) for side in itertools.combinations(pool, size))
    return any(abs(later - earlier) < 1e-7 for earlier, later in itertools.pairwise(sums))


def test_chance_alone_is_called_worse_rarely() -> None:
    dice = random.Random(3)

    def drawn() -> list[float]:
        return [dice.lognormvariate(0, 0.3) for _ in range(5)]

    verdicts = [judge(parse_change("ttft:p99<+0%"), *sides(drawn(), drawn())) for _ in range(600)]
    assert 0.02 < sum(result.verdict == "worse" for result in verdicts) / 600 < 0.075


@pytest.mark.parametrize("apart", [0.0, 0.3, 0.6])
def test_many_repeats_are_sampled(apart: float) -> None:
    dice = random.Random(4)
    first = [dice.gauss(0, 1) for _ in range(30)]
    second = [dice.gauss(apart, 1) for _ in range(30)]
    # The standard error of a share of 20,000 ways is at most 0.0035, and SciPy draws as many.
    sampled = scipy_p(first, second, n_resamples=20_000, rng=1)
    assert permutation_p(first, second) == pytest.approx(sampled, abs=0.02)


def test_of_sampled_ways_the_seen_one_is_counted() -> None:
    # No draw of 20,000 reaches the one extreme way of 10^17, so p is one in all that were looked at.
    assert permutation_p(list(range(30)), list(range(100, 130))) == 1 / 20_000


@given(st.integers(1, 12))
def test_a_steady_drift_is_the_same_on_both_sides(pairs: int) -> None:
    places: dict[str, list[int]] = {"endpoint": [], "against": []}
    for place, (number, side) in enumerate(order(2 * pairs, True)):
        assert number == len(places[side])
        places[side].append(place)
    assert sum(places["endpoint"]) == sum(places["against"])
    assert [side for _, side in order(pairs, False)] == ["endpoint"] * pairs


class Memory:
    """A run file in memory."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def sample(self, sample: Sample) -> None:
        assert line_is_valid({"kind": "sample", **json.loads(json.dumps(sample.to_json()))})
        self.samples.append(sample)

    def exchange(self, _: Exchange) -> None:
        raise AssertionError


def runner(
    times: dict[str, list[float]],
    fail_at: int = 99,
    stop_at: int = 99,
    bound_at: int = 99,
    die_at: int = 99,
    abort_at: int = 99,
) -> Any:
    """Return a runner whose n-th repeat of an endpoint has the n-th of its times to the first token."""
    calls = itertools.count()

    def run(settings: LoadSettings, sink: Sink) -> LoadResult:
        call = next(calls)
        if call >= fail_at:
            raise RejoinderError("The generator broke.")
        value = times[settings.url][settings.seed]
        histogram = Histogram()
        histogram.add(value)
        load = load_line(RunStats(), [], settings, issued=1)
        load.rates.ok_per_s, load.rates.ok_output_tokens_per_s = 1 / value, 5 / value
        load.self_check.reasons = []
        load.self_check.verdict = Validity.CLIENT_BOUND if call == bound_at else Validity.VALID
        load.slos = [SloResult(text="ttft:p50<2s", metric="ttft", statistic="p50", limit=2, met=value < 2, value=value)]
        sink.sample(HistogramSample(metric="ttft_ok", values=histogram, unit="us"))
        histograms = {"ttft_ok": histogram, "e2e_ok": histogram}
        load.incomplete = "A process died." if call == die_at else ""
        load.aborted = "It was too slow." if call == abort_at else ""
        return LoadResult(1, {RequestOutcome.OK: 1}, histograms, load, interrupted=call >= stop_at)

    return run


def test_repeats_are_written_as_they_end_and_judged() -> None:
    memory = Memory()
    times = {"http://new": [1.5, 1.6, 1.5, 3.0, 1.5], "http://old": [1.0, 1.1, 1.0, 1.05, 1.0]}
    against = LoadSettings(url="http://old", concurrency=1)
    result = run_repeats(SETTINGS, memory, repeats=5, against=against, changes=[LIMIT, RATE], run=runner(times))
    *repeats, distribution, load = memory.samples
    assert "".join(repeat.of[0] for repeat in repeats if isinstance(repeat, Repeat)) == "eaaeeaaeea"
    assert isinstance(distribution, HistogramSample)
    assert distribution.values.max == 1_500_000  # of the repeat in the middle
    assert load is result.load
    assert [change.verdict for change in result.load.changes] == ["worse", "worse"]
    assert result.missed == ["ttft:p99<+10%", "tokens>-5%"]
    (slo,) = result.load.slos
    assert (slo.met, slo.repeats_met, slo.value) == (True, 4, 1.5)


def test_what_ends_repeats_early_loses_none() -> None:
    times = {"http://new": [1.0] * 9}
    stopped = run_repeats(SETTINGS, Memory(), repeats=5, run=runner(times, stop_at=1))
    assert (stopped.interrupted, len(stopped.load.repeats)) == (True, 2)
    dead = run_repeats(SETTINGS, Memory(), repeats=5, run=runner(times, die_at=2))
    assert len(dead.load.repeats) == 3
    assert "A process died." in dead.incomplete
    # The lines are those of the repetition in the middle, which did not end early.
    aborted = run_repeats(SETTINGS, Memory(), repeats=5, run=runner({"http://new": [1.0, 2.0, 3.0]}, abort_at=2))
    assert (aborted.aborted, len(aborted.load.repeats)) == ("Repetition 3: It was too slow.", 3)
    memory = Memory()
    broken = run_repeats(
        SETTINGS, memory, repeats=5, baseline=[{"ttft:p99": 1.0}] * 5, changes=[LIMIT], run=runner(times, fail_at=2)
    )
    assert len(broken.load.repeats) == 2
    assert broken.load.changes[0].verdict == "unclear"
    assert "The generator broke." in broken.warnings[0]
    assert memory.samples[-1] is broken.load
    with pytest.raises(RejoinderError, match="broke"):
        run_repeats(SETTINGS, Memory(), repeats=5, run=runner(times, fail_at=0))


def test_an_interrupt_between_two_repeats_keeps_both() -> None:
    seen: list[Repeat] = []

    def interrupt(repeat: Repeat) -> None:
        seen.append(repeat)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    times = {"http://new": [1.0] * 9}
    result = run_repeats(SETTINGS, Memory(), repeats=5, run=runner(times), on_repeat=interrupt)
    assert (result.interrupted, result.load.repeats) == (True, seen)


def test_one_repeat_at_the_generators_limit_is_said_of_all() -> None:
    result = run_repeats(SETTINGS, Memory(), repeats=3, run=runner({"http://new": [1.0, 2.0, 3.0]}, bound_at=2))
    assert result.verdict == "CLIENT-BOUND"
    assert result.load.self_check.reasons == ["repetition 3 of this endpoint was CLIENT-BOUND"]


def write(path: Path, repeats: list[Repeat]) -> Path:
    with RunWriter(path) as writer:
        writer.header(new_header(RunTarget(url="http://h", model="m", dialect="northstar")))
        load = load_line(RunStats(), [], SETTINGS, issued=1)
        load.repeats = repeats
        writer.sample(load)
    return path


def test_a_baseline_needs_repeats(tmp_path: Path) -> None:
    def repeat(of: Side) -> Repeat:
        return Repeat(of=of, repeat=0, started=1, outcomes={}, verdict=Validity.VALID, figures={"ttft:p99": 1.0})

    enough = write(tmp_path / "a", [repeat("endpoint")] * 3 + [repeat("against")])
    assert read_repeats(enough) == [{"ttft:p99": 1.0}] * 3
    for repeats in ([], [repeat("endpoint")] * 2 + [repeat("against")]):
        with pytest.raises(UsageError, match="--repeats 5"):
            read_repeats(write(tmp_path / "b", repeats))


@pytest.mark.slow(13)
def test_two_endpoints_in_turns(tmp_path: Path) -> None:
    slow, fast = Sandbox(token_delay=0.02, min_tokens=8), Sandbox(token_delay=0.002, min_tokens=8)
    with serving(slow) as first, serving(fast) as second, RunWriter(tmp_path / "run.ndjson") as writer:
        writer.header(new_header(RunTarget(url=first, model="m", dialect="northstar")))
        settings = LoadSettings(url=first, model="parrot", concurrency=1, duration=0.4)
        other = LoadSettings(url=second, model="parrot", concurrency=1, duration=0.4)
        changes = [parse_change("e2e:p50<+10%")]
        result = run_repeats(settings, writer, repeats=3, against=other, changes=changes)
    # That one of the two takes ten times as long shows on any machine.
    assert [change.verdict for change in result.load.changes] == ["worse"]
    run = read_run(tmp_path / "run.ndjson")
    assert run.damage == []
    assert len(run.samples_of(Repeat)) == 6
    assert len(read_repeats(tmp_path / "run.ndjson")) == 3
