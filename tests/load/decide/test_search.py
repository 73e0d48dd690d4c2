"""Searches: against endpoints that are a formula, and once against a real one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.errors import RejoinderError, UsageError
from rejoinder.load.decide.find_highest import SearchRange, find_highest, run_search
from rejoinder.load.decide.search import SearchRun, keeps, knee, parse_concurrencies, parse_levels, parse_range, sweep
from rejoinder.load.measure.load_line import load_line
from rejoinder.load.measure.stats import RunStats
from rejoinder.load.run import LoadResult, Sink
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.histogram import Histogram
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import RunWriter, read_run
from rejoinder.model.samples import (
    Departure,
    HistogramSample,
    LoadSample,
    RequestSample,
    Sample,
    SearchResult,
    SearchStep,
    SloResult,
    State,
    Stationarity,
    Validity,
)
from rejoinder.reports.parts.search.summary import describe_sweep
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox import running as serving

SETTINGS = LoadSettings(url="http://h", slos=("ttft:p99<300ms",))
RATES = SearchRange("rate", 1, 100)
EXCHANGE = Exchange("x", Request("POST", "/"), Outcome.COMPLETE, 200)


class Memory:
    """A run file in memory."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.exchanges = 0

    def sample(self, sample: Sample) -> None:
        self.samples.append(sample)

    def exchange(self, _: Exchange) -> None:
        self.exchanges += 1


def search_of(result: LoadResult) -> SearchResult:
    assert result.load.search is not None
    return result.load.search


def endpoint(
    tokens: Callable[[int], float] = float,
    limit: Callable[[LoadSettings], bool] = lambda _: True,
    bound: int = 10**9,
    failing: int = 10**9,
    stop_at: int = 10**9,
    die_at: int = 10**9,
    silent_from: int = 10**9,
) -> Callable[[LoadSettings, Sink], LoadResult]:
    """Return a runner that plays an endpoint: tokens a second by level, and whether the objective is met."""
    calls = [0]

    def run(settings: LoadSettings, sink: Sink) -> LoadResult:
        calls[0] += 1
        level = settings.concurrency or round(settings.rate or 0)
        bad = 50 if level >= failing else 0
        histogram = Histogram()
        histogram.add(level)
        sink.sample(HistogramSample(metric="level", values=histogram, unit="us"))
        sink.exchange(EXCHANGE)
        load = load_line(RunStats(), [], settings, issued=1)
        load.rates.ok_per_s, load.rates.ok_output_tokens_per_s = 1.0, tokens(level)
        load.self_check.verdict = Validity.CLIENT_BOUND if level >= bound else Validity.VALID
        load.slos = [SloResult(text="x", metric="ttft", statistic="p99", limit=1.0, met=limit(settings))]
        load.incomplete = "A process died." if calls[0] == die_at else ""
        outcomes = {RequestOutcome.OK: 100 - bad, RequestOutcome.FAILED: bad}
        if calls[0] >= silent_from:
            outcomes = {RequestOutcome.TRANSPORT: 100}
        return LoadResult(100, outcomes, {}, load, interrupted=calls[0] >= stop_at)

    return run


@pytest.mark.parametrize(
    ("failed", "unjudged", "voided", "slos", "kept"),
    [
        (1, 0, None, [], True),
        (2, 0, None, [], False),
        (0, 64, 0.9, [], True),
        (0, 64, 1.5, [], False),
        (0, 64, None, [], False),
        (2, 0, None, ["error"], True),
        (2, 0, None, ["failed"], True),
        (2, 0, None, ["http_429"], False),
    ],
)
def test_few_requests_may_fail_in_a_way_that_no_slo_limits(
    failed: int, unjudged: int, voided: float | None, slos: list[str], kept: bool
) -> None:
    load = load_line(RunStats(), [], SETTINGS, issued=1)
    load.unjudged, load.unjudged_voided = unjudged, voided
    load.slos = [SloResult(text=one, metric=one, statistic="share", limit=0.5, met=True) for one in slos]
    outcomes = {RequestOutcome.OK: 100 - failed, RequestOutcome.FAILED: failed}
    assert keeps(LoadResult(100, outcomes, {}, load)) is kept


def levels(search: SearchRun) -> list[Any]:
    return [step.level for step in search.steps]


def test_a_sweep_finds_the_knee_and_keeps_every_step() -> None:
    memory = Memory()
    search = SearchRun(memory, endpoint(lambda level: min(level, 10) * 10.0))
    result = sweep(SETTINGS, [1, 2, 4, 8, 16, 32], search)
    found = search_of(result)
    assert found.knee == 16
    assert [step.concurrency for step in found.steps] == [1, 2, 4, 8, 16, 32]
    *steps, distribution, load = memory.samples
    assert steps == found.steps
    assert isinstance(distribution, HistogramSample)
    assert distribution.values.max == 16_000_000
    assert load is result.load


def test_an_automatic_sweep_ends_when_nothing_is_gained() -> None:
    search = SearchRun(Memory(), endpoint(lambda level: min(level, 7) * 10.0))
    assert search_of(sweep(SETTINGS, None, search)).knee == 8
    assert levels(search) == [1, 2, 4, 8, 16, 32]


@pytest.mark.parametrize(("limit", "tried"), [({"bound": 4}, [1, 2, 4]), ({"failing": 8}, [1, 2, 4, 8])])
def test_an_automatic_sweep_ends_at_other_limits(limit: dict[str, int], tried: list[int]) -> None:
    search = SearchRun(Memory(), endpoint(**limit))  # type: ignore[arg-type]
    found = search_of(sweep(SETTINGS, None, search))
    assert levels(search) == tried
    assert found.limited_by == ("generator" if "bound" in limit else "")
    assert found.knee is None


def test_an_interrupt_ends_a_search_with_what_it_has() -> None:
    search = SearchRun(Memory(), endpoint(stop_at=2))
    result = sweep(SETTINGS, [1, 2, 4], search)
    assert (result.interrupted, levels(search)) == (True, [1, 2])


def test_an_interrupt_between_two_steps_keeps_both(monkeypatch: pytest.MonkeyPatch) -> None:
    play = endpoint()
    monkeypatch.setattr("rejoinder.load.decide.find_highest.run_load", lambda step, sink, **_: play(step, sink))
    seen: list[SearchStep] = []

    def interrupt(step: SearchStep) -> None:
        seen.append(step)
        if len(seen) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    for sought, levels in ((None, [1, 2, 4, 8]), (RATES, None)):
        seen.clear()
        result = run_search(SETTINGS, Memory(), levels=levels, sought=sought, on_step=interrupt)
        assert result.interrupted
        assert len(search_of(result).steps) == len(seen) == 2


def test_a_second_interrupt_between_two_steps_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    play = endpoint()
    monkeypatch.setattr("rejoinder.load.decide.find_highest.run_load", lambda step, sink, **_: play(step, sink))

    def interrupt(_: SearchStep) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_search(SETTINGS, Memory(), levels=[1, 2], on_step=interrupt)


def test_a_step_of_which_a_part_dies_is_the_last() -> None:
    search = SearchRun(Memory(), endpoint(die_at=2))
    result = sweep(SETTINGS, [1, 2, 4], search)
    assert levels(search) == [1, 2]
    assert "A process died." in result.incomplete
    assert not result.interrupted


def test_a_sweep_ends_when_the_endpoint_stops_answering() -> None:
    search = SearchRun(Memory(), endpoint(silent_from=3))
    result = sweep(SETTINGS, [1, 2, 4, 8, 16], search)
    assert levels(search) == [1, 2, 4, 8]
    assert "none of 100 requests of the last step brought a reply" in result.aborted


def _step(level: int, tokens: float, state: State = "steady", growth: float = 0.0) -> SearchStep:
    queue = Departure(kind="queue", metric="in_flight", text="The queue grew.", growth=growth)
    return SearchStep(
        started=1,
        outcomes={},
        verdict=Validity.VALID,
        good=1,
        concurrency=level,
        output_tokens_per_s=tokens,
        stationarity=Stationarity(state=state, departures=[queue] if growth else [], text="It moved."),
    )


def test_a_step_that_was_too_short_or_grew_is_no_knee() -> None:
    steps = [_step(1, 100, "too short"), _step(2, 90), _step(4, 99), _step(8, 500, "not steady", growth=1.0)]
    assert knee(steps) == 1
    assert knee([_step(1, 100, "too short"), _step(2, 90)]) is None
    text = describe_sweep(SearchResult(kind="sweep", steps=steps, knee=2))
    assert text.startswith("Knee at concurrency 2: ")
    assert text.endswith("concurrency 1, 8.")
    unknown = describe_sweep(SearchResult(kind="sweep", steps=steps[:2]))
    assert unknown.startswith("The knee cannot be known: fewer than two steps can be compared.")


def test_a_knee_that_was_not_steady_says_so() -> None:
    steps = [_step(1, 50), _step(2, 90, "not steady"), _step(4, 91)]
    text = describe_sweep(SearchResult(kind="sweep", steps=steps, knee=2))
    assert text.endswith("Its run was not steady: It moved.")


@given(st.lists(st.floats(0, 1000), min_size=0, max_size=8))
def test_a_knee_is_the_first_of_the_best(values: list[float]) -> None:
    steps = [
        SearchStep(
            started=1,
            outcomes={},
            verdict=Validity.VALID,
            ok_per_s=0.0,
            good=1,
            output_tokens_per_s=value,
        )
        for value in values
    ]
    found = knee(steps)
    if found is None:
        assert len(values) < 2 or not max(values) or values[-1] * 0.9 > max(values[:-1])
    else:
        assert values[found] >= 0.9 * max(values) > max(values[:found], default=-1)


def test_exchanges_of_all_steps_are_few_of_each_sort() -> None:
    memory = Memory()
    sweep(SETTINGS, list(range(1, 40)), SearchRun(memory, endpoint()))
    assert memory.exchanges == 3


@pytest.mark.parametrize("text", ["", "x", "0,1", "2,1", "1,1", ",".join(map(str, range(1, 80)))])
def test_what_is_no_sweep_is_a_clear_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_levels(text)
    assert parse_levels("auto") is None
    assert parse_levels("1, 4") == [1, 4]


@pytest.mark.parametrize("text", ["", "5", "5..", "0..5", "5..5", "5..inf", "a..b"])
def test_what_is_no_range_is_a_clear_error(text: str) -> None:
    with pytest.raises(UsageError):
        parse_range(text)
    assert parse_range("0.5..8") == (0.5, 8)


@pytest.mark.parametrize("text", ["", "5", "5..", "0..5", "5..5", "1..1.5", "a..b", "1..30000"])
def test_what_is_no_range_of_concurrencies_is_a_clear_error(text: str) -> None:
    with pytest.raises(UsageError, match="--find-concurrency"):
        parse_concurrencies(text)
    assert parse_concurrencies("2..8") == (2, 8)


@pytest.mark.slow(5)
def test_a_real_sweep(timed_server: Any, tmp_path: Path) -> None:
    settings = LoadSettings(url=timed_server.url, model="ttft=30&gap=5&tokens=8", duration=1)
    with RunWriter(tmp_path / "run.ndjson") as writer:
        writer.header(new_header(RunTarget(url=settings.url, model="m", dialect="northstar")))
        run_search(settings, writer, levels=[1, 4])
        writer.footer(Footer(ended_at=0.0, exit_code=0))
    run = read_run(tmp_path)
    assert run.damage == []
    (load,) = run.samples_of(LoadSample)
    assert load.search is not None
    assert [step.concurrency for step in load.search.steps] == [1, 4]
    assert sum(step.started for step in load.search.steps) == timed_server.truth()["requests"]
    assert len(run.samples_of(RequestSample)) == load.started


def test_every_step_is_written_when_it_has_ended() -> None:
    memory = Memory()
    counts: list[int] = []
    search = SearchRun(memory, endpoint(), lambda _: counts.append(len(memory.samples)))
    sweep(SETTINGS, [1, 2, 4], search)
    assert counts == [1, 2, 3]
    assert [sample.concurrency for sample in memory.samples if isinstance(sample, SearchStep)] == [1, 2, 4]


@pytest.mark.parametrize("kind", ["sweep", "rate"])
def test_a_step_that_cannot_be_run_ends_the_search_with_what_it_has(kind: str) -> None:
    def run(settings: LoadSettings, sink: Sink) -> LoadResult:
        if len(search.steps) == 2:
            raise RejoinderError("The generator broke.")
        return plain(settings, sink)

    plain = endpoint(limit=lambda settings: (settings.rate or 0) < 50)
    memory = Memory()
    search = SearchRun(memory, run)
    result = sweep(SETTINGS, [1, 2, 4], search) if kind == "sweep" else find_highest(SETTINGS, RATES, search)
    assert len(search_of(result).steps) == 2
    assert any("The generator broke." in warning for warning in result.warnings)
    assert memory.samples[-1] is result.load


@pytest.mark.slow(5)
def test_the_steps_of_a_search_outlive_the_one_who_searches(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from rejoinder.load.decide.find_highest import run_search; from rejoinder.load.settings import LoadSettings\n"
        "from rejoinder.model.runfile import RunWriter\n"
        "writer = RunWriter(Path(sys.argv[2]))\n"
        "from rejoinder.model.header import RunTarget, new_header\n"
        "writer.header(new_header(RunTarget(url=sys.argv[1], model='m', dialect='northstar')))\n"
        "settings = LoadSettings(url=sys.argv[1], model='parrot', concurrency=1, duration=0.3)\n"
        "run_search(settings, writer, levels=[1, 2, 3, 4, 5, 6], on_step=lambda _: print('told', flush=True))\n"
    )
    path = tmp_path / "run.ndjson"
    with serving(Sandbox()) as url:
        command = [sys.executable, "-c", program, url, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(2):
                assert process.stdout.readline() == "told\n"
            process.kill()
    run = read_run(path)
    assert [step.concurrency for step in run.samples_of(SearchStep)][:2] == [1, 2]
    assert run.truncated
