"""Sums: they merge exactly, add up, and say when they cannot be trusted."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.load.measure.load_line import load_line, unjudged_sentence
from rejoinder.load.measure.measure import Measurement, take_times
from rejoinder.load.measure.recording import Recording
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stats import RunStats, encode_stats
from rejoinder.load.objectives.slo import describe
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.outcomes import OUTCOMES, RequestOutcome
from rejoinder.model.runfile import line_is_valid
from rejoinder.model.samples import Sample, read_sample

SETTINGS = LoadSettings(url="http://127.0.0.1", concurrency=2, duration=10)
EXCHANGE = Exchange("x", Request("POST", "/"), Outcome.COMPLETE, 200)
SECOND = 1_000_000_000


def measured(outcome: str = "ok", end: float | None = None, **fields: Any) -> Measurement:
    found = Measurement(outcome=RequestOutcome(outcome), status=200, judged=True, end=end, **fields)
    take_times(None, found)  # type: ignore[arg-type]
    return found


def add(tally: RunStats, start: float, length: float, outcome: str = "ok", worker: int = 0, **fields: Any) -> None:
    begun = round(start * SECOND)
    recording = Recording(0, begun, begun, begun, begun + round(length * SECOND), 0.0, "complete", "", b"", [])
    end = length if RequestOutcome(outcome).row.answered else None
    tally.add(recording, EXCHANGE, measured(outcome, end, **fields), 0, worker)


def again(sample: Sample) -> Sample:
    """Return a sample as it is read from the run file."""
    record = json.loads(json.dumps(sample.to_json()))
    assert line_is_valid({"kind": "sample", **record})
    return read_sample(record)


requests = st.lists(
    st.tuples(
        st.floats(0, 9), st.floats(0.001, 5), st.sampled_from(list(OUTCOMES)), st.lists(st.floats(0, 1), max_size=3)
    ),
    max_size=20,
)


def tally_of(items: list[Any]) -> RunStats:
    tally = RunStats()
    for start, length, outcome, gaps in items:
        content = [(at, 1) for at in itertools.accumulate(gaps, initial=length / 2)] if gaps else []
        add(tally, start, length, outcome, content=content, deltas=len(content), output_tokens=7)
    return tally


def numbers(tally: RunStats) -> dict[str, Any]:
    """Return what must not depend on how the requests were spread; sums of tokens are floats."""
    record = tally.to_json()
    del record["requests"], record["evidence"]
    record["rules"] = dict(sorted(record["rules"].items()))
    record["histograms"] = dict(sorted(record["histograms"].items()))
    record["outcomes"] = dict(sorted(record["outcomes"].items()))
    record["seconds"] = {
        number: {name: round(value, 6) if isinstance(value, float) else value for name, value in second.items()}
        for number, second in sorted(record["seconds"].items())
    }
    return record


@given(requests, requests)
def test_merging_parts_gives_the_whole(first: list[Any], second: list[Any]) -> None:
    merged = tally_of(second)
    merged.merge(RunStats.from_json(json.loads(encode_stats(tally_of(first)))))
    assert numbers(merged) == numbers(tally_of([*first, *second]))


@given(requests)
def test_everything_adds_up(items: list[Any]) -> None:
    tally = tally_of(items)
    lines = tally.second_samples()
    assert sum(tally.outcomes.values()) == tally.finished == len(items)
    assert sum(line.started for line in lines) == sum(line.finished for line in lines) == len(items)
    assert [line.t for line in lines] == list(range(len(lines)))
    assert not lines or lines[-1].in_flight == 0
    answered = sum(outcome.row.answered for _, _, outcome, _ in items)
    assert sum(line.output_tokens for line in lines) == pytest.approx(7 * answered, abs=0.1 * len(lines))
    line = load_line(tally, [SelfCheck(started=len(items))], SETTINGS, issued=10)
    assert sum(line.outcomes.values()) == line.started
    for sample in [*lines, *tally.requests, line]:
        assert again(sample) == sample


def test_nonconforming_requests_are_measured_but_not_ok() -> None:
    tally = RunStats()
    add(tally, 0, 1, "ok", content=[(0.1, 1)])
    add(tally, 0, 1, "nonconforming", content=[(0.9, 1)], rules=["SSE-03"])
    add(tally, 0, 1, "truncated", content=[(0.2, 1)])
    assert tally.histograms["ttft"].n == 2
    assert tally.histograms["ttft_ok"].n == 1
    line = load_line(tally, [SelfCheck(started=3)], SETTINGS, issued=1)
    assert line.rates_whole_run.ok_per_s == pytest.approx(0.5)
    assert line.rules == {"SSE-03": 1}


def test_intended_times_count_from_the_schedule() -> None:
    tally = RunStats()
    recording = Recording(0, 0, 2 * SECOND, 3 * SECOND, 4 * SECOND, 0.0, "complete", "", b"", [])
    tally.add(recording, EXCHANGE, measured(end=1.0, content=[(0.5, 1)]), 0, 0)
    found = {name: histogram.max / 1e6 for name, histogram in tally.histograms.items()}
    assert found["dispatch_lag"] == 2.0
    assert found["sched_lag"] == 3.0
    assert found["ttft_intended"] == 3.5
    assert found["e2e_intended"] == 4.0
    assert tally.requests[0].t == 3.0
    assert tally.requests[0].intended == 0.0


def test_evidence_is_varied_and_bounded() -> None:
    tally = RunStats()
    for number in range(100):
        add(tally, 0, 1, "nonconforming", rules=[f"R-{number % 20}"])
    assert len(tally.evidence) == 20
    assert len({signature for signature, _ in tally.evidence}) > 6


def check_with(lag: float = 0.0, cpu: float = 0.1, **fields: Any) -> SelfCheck:
    check = SelfCheck(started=1, cpu=[0.0, cpu, cpu, 0.0], **fields)
    check.loop_lag.add(lag)
    return check


@pytest.mark.parametrize(
    ("check", "verdict", "words"),
    [
        (check_with(), "VALID", ""),
        (check_with(lag=0.006), "SUSPECT", "event loop"),
        (check_with(lag=0.03), "CLIENT-BOUND", "event loop"),
        (check_with(cpu=0.8), "SUSPECT", "80% of a core"),
        (check_with(cpu=0.95), "CLIENT-BOUND", "95% of a core"),
        (check_with(throttled=True), "CLIENT-BOUND", "analysis"),
        (check_with(capped=3), "SUSPECT", "limit of requests"),
        (check_with(worker_lost=True), "SUSPECT", "died"),
        (SelfCheck(started=2), "SUSPECT", "1 started requests have no outcome"),
    ],
)
def test_the_generator_judges_itself(check: SelfCheck, verdict: str, words: str) -> None:
    tally = RunStats()
    add(tally, 0, 1, output_tokens=3)
    copied = SelfCheck.from_json(json.loads(json.dumps(check.to_json())))
    found = load_line(tally, [copied], SETTINGS, issued=5).self_check
    assert found.verdict == verdict
    assert words in "; ".join(found.reasons)
    assert bool(found.reasons) == (verdict != "VALID")


def test_a_generator_that_others_kept_waiting_is_told_from_one_that_worked() -> None:
    tally = RunStats()
    add(tally, 0, 1, output_tokens=3)
    waiting = load_line(tally, [check_with(lag=0.03, cpu=0.05)], SETTINGS, issued=5).self_check
    working = load_line(tally, [check_with(lag=0.03, cpu=0.7)], SETTINGS, issued=5).self_check
    assert "other processes" in waiting.reasons[0]
    assert "other processes" not in working.reasons[0]
    assert (waiting.processes_advised, working.processes_advised) == (1, 2)


@given(st.lists(st.floats(0.001, 9), max_size=40), st.integers(1, 4))
def test_the_slowest_requests_are_the_same_from_however_many_processes(lengths: list[float], parts: int) -> None:
    tallies = [RunStats() for _ in range(parts)]
    for slot, length in enumerate(lengths):
        recording = Recording(slot, 0, 0, 1, 1 + round(length * SECOND), 0.0, "complete", "", b"", [])
        tallies[slot % parts].add_stream(recording, Measurement(), [(0.0, length, "x", 2, 0)], 0, 0)
    merged = RunStats()
    for tally in tallies:
        merged.merge(RunStats.from_json(json.loads(encode_stats(tally))))
    assert [stream.duration for stream in merged.streams] == pytest.approx(sorted(lengths)[::-1][:10], abs=1e-6)
    assert all(again(stream) == stream for stream in merged.streams)


def test_the_gaps_of_a_second_are_counted_by_length() -> None:
    tally = RunStats()
    add(tally, 0.5, 3, content=[(0.1, 1), (0.1004, 1), (0.4004, 1), (1.4004, 1)])
    lines = tally.second_samples()
    assert [line.gaps for line in lines] == [{0: 1, 200: 1}, {1000: 1}, {}, {}]


def test_answers_that_were_not_judged_are_told_apart() -> None:
    tally = RunStats()
    for slot in range(10):
        add(tally, slot, 0.5, "ok" if slot < 6 else "unjudged", content=[(0.1, 1)], output_tokens=5)
    tally.judged = 6
    settings = replace(SETTINGS, slos=("goodput>=95%", "error<1%"))
    line = load_line(tally, [SelfCheck(started=10)], settings, issued=10)
    assert line.outcomes == {"ok": 6, "unjudged": 4}
    assert line.unjudged == 4
    assert line.unjudged_bound == pytest.approx(1 - 0.01 ** (1 / 6), abs=1e-6)
    goodput, error = line.slos
    assert (goodput.value, goodput.unjudged, error.value) == (1.0, 4, 0.0)
    assert "4 of the good ones were not judged by all rules, of which at most 53.6% break one" in describe(goodput)
    assert unjudged_sentence(line).startswith("4 of 10 answers")
    unknown = RunStats()
    add(unknown, 0, 0.5, "unjudged")
    unknown.judged = 0
    assert "nothing is known" in unjudged_sentence(load_line(unknown, [SelfCheck(started=1)], settings, issued=10))


def test_statistics_with_lone_surrogates_reach_the_parent() -> None:
    stats = RunStats()
    recording = Recording(0, 0, 0, 1, SECOND, 0.0, "complete", "", b"", [])
    stats.add_stream(recording, measured(), [(0.0, 0.1, "\ud800", 1, 0)], 0, 0)
    assert RunStats.from_json(json.loads(encode_stats(stats))) == stats
