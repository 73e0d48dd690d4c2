"""Sums: they merge exactly, add up, and say when they cannot be trusted."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.load.measure.load_line import load_line, result_samples, unjudged_sentence
from rejoinder.load.measure.measure import Measurement, take_times
from rejoinder.load.measure.recording import Opening, Receives, Recording
from rejoinder.load.measure.self_check import SelfCheck
from rejoinder.load.measure.stats import RunStats, encode_stats, gap_bound, numbers_of
from rejoinder.load.measure.tokens import Doubt, Tokens
from rejoinder.load.objectives.check_sample import GroupCounts, draw
from rejoinder.load.objectives.confidence import share_bound
from rejoinder.load.objectives.slo import RequestLimits, describe, parse_slos
from rejoinder.load.settings import LoadSettings
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.outcomes import OUTCOMES, RequestOutcome, bad_of, counted_of, replied_of
from rejoinder.model.runfile import line_is_valid
from rejoinder.model.samples import (
    HistogramSample,
    LoadSample,
    RequestSample,
    Sample,
    SecondSample,
    StreamSample,
    TokenDetails,
    read_sample,
)
from rejoinder.model.tags import Tag

SETTINGS = LoadSettings(url="http://127.0.0.1", concurrency=2, duration=10)
EXCHANGE = Exchange("x", Request("POST", "/"), Outcome.COMPLETE, 200, role="stream")
SECOND = 1_000_000_000


def measured(outcome: str = "ok", end: float | None = None, **fields: Any) -> Measurement:
    output, content = fields.pop("output_tokens", None), fields.get("content", ())
    counts = {"input_tokens": fields.pop("input_tokens", None), "output_tokens": output}
    found = Measurement(outcome=RequestOutcome(outcome), status=200, judged=True, end=end, **fields)
    found.usage = {name: count for name, count in counts.items() if count is not None}
    found.tokens = Tokens(output, output, pieces=content)
    take_times(None, found)  # type: ignore[arg-type]
    return found


def add(
    tally: RunStats,
    start: float,
    length: float,
    outcome: str = "ok",
    worker: int = 0,
    *,
    whole: bool = False,
    **fields: Any,
) -> None:
    begun = round(start * SECOND)
    recording = Recording(0, begun, begun, begun, begun + round(length * SECOND), 0.0, "complete", "", b"", Receives())
    end = length if whole or RequestOutcome(outcome).row.answered else None
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
    del record["requests"], record["evidence"], record["spans"]
    record["rules"] = dict(sorted(record["rules"].items()))
    record["histograms"] = dict(sorted(record["histograms"].items()))
    record["outcomes"] = dict(sorted(record["outcomes"].items()))
    record["seconds"] = {
        number: {name: round(value, 6) if isinstance(value, float) else value for name, value in second.items()}
        for number, second in sorted(record["seconds"].items())
    }
    slices = record["throughput"]["slices"]
    record["throughput"]["slices"] = {key: [round(value, 6) for value in slices[key]] for key in sorted(slices)}
    return record


@pytest.mark.slow(1)
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
    counted = sum(outcome.row.answered or outcome.row.unended for _, _, outcome, _ in items)
    assert sum(line.output_tokens for line in lines) == pytest.approx(7 * counted, abs=0.1 * len(lines))
    line = load_line(tally, [SelfCheck(started=len(items))], SETTINGS, issued=10)
    assert sum(line.outcomes.values()) == line.started
    for sample in [*lines, *tally.requests, line]:
        assert again(sample) == sample


@pytest.mark.parametrize("outcome", ["transport", "too_large"])
def test_what_breaks_after_the_terminal_event_has_its_times(outcome: str) -> None:
    tally = RunStats()
    add(tally, 0, 1, outcome, whole=True, content=[(0.1, 1), (0.5, 1)], output_tokens=2)
    assert {name: (tally.histograms[name].n, tally.histograms[name].unended) for name in ("ttft", "e2e")} == {
        "ttft": (1, 0),
        "e2e": (1, 0),
    }
    assert "e2e_ok" not in tally.histograms
    assert (tally.output_tokens, tally.waited) == (2, {})


def test_nonconforming_requests_are_measured_but_not_ok() -> None:
    tally = RunStats()
    add(tally, 0, 1, "ok", content=[(0.1, 1)])
    add(tally, 0, 1, "nonconforming", content=[(0.9, 1)], rules=["SSE-03"])
    add(tally, 0, 1, "truncated", content=[(0.2, 1)])
    # The stream that was cut off has a first token as well, and no end.
    assert (tally.histograms["ttft"].n, tally.histograms["ttft"].unended) == (3, 0)
    assert (tally.histograms["ttft_ok"].n, tally.histograms["ttft_ok"].unended) == (2, 0)
    assert (tally.histograms["e2e"].n, tally.histograms["e2e"].unended) == (3, 1)
    assert (tally.histograms["e2e_ok"].n, tally.histograms["e2e_ok"].unended) == (2, 1)
    assert [request.waited for request in tally.requests] == [None, None, 1.0]
    line = load_line(tally, [SelfCheck(started=3)], SETTINGS, issued=1)
    assert line.rates_whole_run.ok_per_s == pytest.approx(1.0)
    assert line.rules == {"SSE-03": 1}


def test_intended_times_count_from_the_schedule() -> None:
    tally = RunStats()
    recording = Recording(0, 0, 2 * SECOND, 3 * SECOND, 4 * SECOND, 0.0, "complete", "", b"", Receives())
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
    assert len({one.signature for one in tally.evidence}) > 6


def test_the_check_of_a_process_crosses_to_another() -> None:
    check = SelfCheck(started=3, cpu=[0.5], capped=2, throttled=True)
    check.loop_lag.add(0.03)
    copied = SelfCheck.from_json(json.loads(json.dumps(check.to_json())))
    assert copied == check
    line = load_line(RunStats(), [copied], SETTINGS, issued=5, notes=["Known before."])
    assert (line.self_check.verdict, line.self_check.loop_lag_max) == ("CLIENT-BOUND", 0.03)
    assert "Known before." in line.self_check.reasons


def a_request(t0: int = 5 * SECOND) -> tuple[Recording, Measurement]:
    """Return a request of which everything is known: scheduled 1.0 s, begun 1.25 s after ``t0``, 2.5 s long."""
    recording = Recording(
        7, t0 + SECOND, t0 + 1_200_000_000, t0 + 1_250_000_001, t0 + 3_750_000_001, 0.0, "complete", "", b"",
        Receives(), turn=2, scenario="chat",
    )  # fmt: skip
    found = measured(
        "nonconforming", 2.4, content=[(0.5, 1), (0.75, 3), (1.75, 1)], deltas=5, head=0.1, first_event=0.2,
        first_output=0.7500004, input_tokens=12, output_tokens=10, rules=["EVT-02", "SSE-01"], detail="broke two",
        foreign=["other"],
    )  # fmt: skip
    return recording, found


FIGURES: dict[str, Any] = {
    "t": 1.25,
    "outcome": RequestOutcome.NONCONFORMING,
    "worker": 3,
    "status": 200,
    "times": {
        "ttft": 0.5, "ttfo": 0.75, "ttfb": 0.1, "ttfe": 0.2, "e2e": 2.4, "tail": 0.65, "max_gap": 1.0,
            "output_tokens_per_user": 4.210526,
    },
    "chunks": 3,
    "deltas": 5,
    "input_tokens": 12,
    "output_tokens": 10,
    "rules": ["EVT-02", "SSE-01"],
    "scenario": "chat",
    "turn": 2,
    "detail": "broke two",
}  # fmt: skip


def test_a_request_is_kept_with_all_its_figures() -> None:
    stats, (recording, found) = RunStats(), a_request()
    stats.add(recording, EXCHANGE, found, 5 * SECOND, 3)
    assert stats.requests == [RequestSample(**FIGURES, intended=1.0)]
    events = [(0.12345678, 0.9876543, "response.created", 1, 0), (1.0, 1.0, "\ud800", 2, 77)]
    stats.add_stream(recording, found, events, 5 * SECOND, 3)
    expected = [(0.123457, 0.987654, "response.created", 1, 0), (1.0, 1.0, "\ud800", 2, 77)]
    assert stats.streams == [StreamSample(**FIGURES, duration=2.5, slot=7, events=expected)]
    # A request without content has no counts of it, and one that was never begun counts from its dispatch.
    bare = recording._replace(begun=0)
    stats.add(bare, EXCHANGE, measured("timeout", deltas=4), 5 * SECOND, 0)
    assert (stats.requests[1].chunks, stats.requests[1].deltas, stats.requests[1].t) == (None, None, 1.2)


def test_a_request_is_counted_everywhere_once() -> None:
    stats, (recording, found) = RunStats(), a_request()
    stats.add(recording, EXCHANGE, found, 5 * SECOND, 3)
    stats.add(recording._replace(scenario=""), EXCHANGE, measured("cancelled"), 5 * SECOND, 3)
    counts = ("finished", "judged", "good", "foreign", "deltas", "chunks", "input_tokens")
    assert [getattr(stats, name) for name in counts] == [2, 2, 0, 1, 5, 3, 12]
    assert (stats.output_tokens, stats.tokens.without_usage) == (10, 0)
    assert stats.outcomes == {"nonconforming": 1, "cancelled": 1}
    assert stats.rules == {"EVT-02": 1, "SSE-01": 1}
    assert stats.scenarios == {"chat": {"nonconforming": 1}}
    assert (stats.judgeable, [one.signature for one in stats.evidence]) == (1, ["nonconforming EVT-02 SSE-01"])
    assert stats.evidence[0].exchange == EXCHANGE.to_json()
    # Begun at 1.25 s: the content came at 1.75, 2 and 3 s, the end at 3.75 s.
    seconds = {
        number: (second.started, second.finished, second.failed, round(second.output_tokens, 6))
        for number, second in sorted(stats.seconds.items())
    }
    assert seconds == {1: (2, 0, 0, 2), 2: (0, 0, 0, 6), 3: (0, 2, 1, 2)}
    assert stats.throughput.slices[1750].input_tokens == 12
    assert {number: dict(second.gaps) for number, second in stats.seconds.items() if second.gaps} == {
        2: {200: 1}, 3: {1000: 1}
    }  # fmt: skip
    assert {name: (histogram.n, histogram.sum) for name, histogram in sorted(stats.histograms.items())} == {
        "dispatch_lag": (2, 400_000), "e2e": (1, 2_400_000), "e2e_intended": (1, 2_650_000),
        "itl": (2, 1_250_000), "max_gap": (1, 1_000_000), "output_tokens_per_user": (1, 4_210_526),
        "sched_lag": (1, 250_000), "tail": (1, 650_000),
        "tpot": (1, 156_250), "ttfb": (1, 100_000), "ttfe": (1, 200_000), "ttfo": (1, 750_000), "ttft": (1, 500_000),
        "ttft_intended": (1, 750_000),
    }  # fmt: skip


def test_tokens_without_content_came_at_the_end_and_answers_without_usage_are_counted() -> None:
    stats = RunStats()
    add(stats, 0.5, 2.0, output_tokens=8)
    add(stats, 0.5, 1.0, content=[(0.1, 1)], deltas=1)
    assert {number: second.output_tokens for number, second in sorted(stats.seconds.items())} == {0: 0, 1: 0, 2: 8}
    assert (stats.output_tokens, stats.tokens.without_usage) == (8, 1)
    assert stats.throughput.slices[2500].ok_output_tokens == 8
    # What came before a stream was cut off counts. A stream without an end has no usage to be missed.
    add(stats, 0.5, 1.0, "truncated", content=[(0.1, 1)], deltas=1, output_tokens=3)
    add(stats, 0.5, 1.0, "timeout", content=[(0.1, 1)], deltas=1)
    assert (stats.output_tokens, stats.deltas, stats.tokens.without_usage) == (11, 3, 1)
    # What a failed answer brought does not.
    add(stats, 0.5, 1.0, "failed", content=[(0.1, 1)], deltas=1, output_tokens=3)
    assert (stats.output_tokens, stats.deltas, stats.tokens.without_usage) == (11, 3, 1)


def test_what_usage_says_of_tokens_is_added_up() -> None:
    stats = RunStats()
    recording = Recording(0, 0, 0, 1, SECOND, 0.0, "complete", "", b"", Receives())
    for usage, tokens in (
        ({"input_tokens": 100, "cached_tokens": 90, "output_tokens": 20, "reasoning_tokens": 5}, Tokens(20, 15)),
        ({"input_tokens": 10, "output_tokens": 9}, Tokens(9, 9, doubt=Doubt.TOO_MANY)),
        ({"output_tokens": 0, "cached_tokens": 0}, Tokens(4, 4, estimated=True, doubt=Doubt.ZERO)),
        ({}, Tokens(6, 6, estimated=True)),
        ({"output_tokens": 1}, Tokens(1, 1, doubt=Doubt.TOO_FEW)),
    ):
        found = measured(content=[(0.2, 1)])
        found.usage, found.tokens = usage, tokens._replace(pieces=found.content)
        stats.add(recording, EXCHANGE, found, 0, 0)
    assert stats.tokens == TokenDetails(
        responses=5, cached=90, cached_of=100, reasoning=5, not_streamed=5, without_usage=1, estimated=10,
        estimated_responses=2, zero_tokens=1, too_many=1, too_few=1,
    )  # fmt: skip
    assert (stats.input_tokens, stats.output_tokens) == (110, 40)
    piece = stats.throughput.slices[200]
    assert (stats.seconds[0].output_tokens, piece.input_tokens, piece.uncached_input_tokens) == (
        pytest.approx(40), 110, 20
    )  # fmt: skip
    twice = RunStats.from_json(json.loads(encode_stats(stats)))
    twice.merge(stats)
    assert (twice.tokens.responses, twice.tokens.cached, twice.tokens.too_few) == (10, 180, 2)
    line = load_line(twice, [], SETTINGS, issued=1.0)
    assert line.tokens == twice.tokens
    assert (line.rates_whole_run.input_tokens_per_s, line.rates_whole_run.uncached_input_tokens_per_s) == (220, 40)
    assert [request.estimated_tokens for request in stats.requests] == [None, None, 4, 6, None]
    assert (stats.requests[0].cached_tokens, stats.requests[0].reasoning_tokens) == (90, 5)


def test_opening_a_connection_counts_for_those_that_opened_one_whatever_came_of_them() -> None:
    stats = RunStats()
    recording = Recording(0, 0, 0, 1, SECOND, 0.0, "complete", "", b"", Receives())
    opening = Opening(dns=2_000_000, connect=3_000_000, tls=None)
    stats.add(recording._replace(opening=opening), EXCHANGE, measured(end=1.0), 0, 0)
    stats.add(recording._replace(opening=Opening(connect=5_000_000)), EXCHANGE, measured("transport"), 0, 0)
    stats.add(recording, EXCHANGE, measured(end=1.0), 0, 0)
    found = {name: (values.n, values.max) for name, values in stats.histograms.items() if name in Opening._fields}
    assert found == {"dns": (1, 2000), "connect": (2, 5000)}
    assert [request.times.get("connect") for request in stats.requests] == [0.003, 0.005, None]


def test_tokens_of_an_answer_without_an_end_came_when_it_began() -> None:
    stats = RunStats()
    recording = Recording(0, 0, 0, SECOND // 2, 4 * SECOND, 0.0, "complete", "", b"", Receives())
    stats.add(recording, EXCHANGE, measured("nonconforming", output_tokens=3), 0, 0)
    assert {number: second.output_tokens for number, second in sorted(stats.seconds.items())} == {0: 3, 4: 0}


def test_the_form_for_other_processes_is_json() -> None:
    stats = RunStats()
    add(stats, 3, 1, content=[(0.1, 1)])
    assert all(isinstance(number, str) for number in stats.to_json()["seconds"])


def test_a_late_request_is_kept_to_the_microsecond() -> None:
    stats = RunStats()
    add(stats, 86_399.123456, 1)
    assert (stats.requests[0].t, stats.requests[0].intended) == (86_399.123456, 86_399.123456)


def test_a_stream_that_was_given_up_says_nothing_of_times() -> None:
    stats, (recording, found) = RunStats(), a_request()
    stats.add(recording._replace(tags=(Tag.CANCELLED,)), EXCHANGE, found, 5 * SECOND, 3)
    assert set(stats.histograms) == {"dispatch_lag"}
    assert (stats.output_tokens, stats.deltas) == (0, 0)


def test_a_request_that_this_machine_could_not_send_is_no_failure_of_the_endpoint() -> None:
    stats = RunStats()
    recording = Recording(0, 0, 0, 0, SECOND, 0.0, "refused", "", b"", Receives(), tags=(Tag.UNOPENED,))
    stats.add(recording, EXCHANGE, measured("unopened"), 0, 0)
    assert not any(span.failed for span in stats.spans)
    add(stats, 1, 1)
    assert stats.outcomes == {"unopened": 1, "ok": 1}
    assert (bad_of(stats.outcomes), counted_of(stats.outcomes), replied_of(stats.outcomes)) == (0, 1, 1)


def test_good_answers_that_were_not_judged_are_counted_apart() -> None:
    stats = RunStats()
    limits = RequestLimits(parse_slos(["ttft<300ms", "goodput>=1%"]))
    for outcome, at in (("ok", 0.2), ("ok", 0.4), ("unjudged", 0.2), ("unjudged", 0.4), ("nonconforming", 0.2)):
        recording = Recording(0, 0, 0, 0, SECOND, 0.0, "complete", "", b"", Receives())
        stats.add(recording, EXCHANGE, measured(outcome, 1.0, content=[(at, 1)]), 0, 0, limits)
    assert stats.good == 2
    assert stats.groups == {1: GroupCounts(2, 0, 2, 1, 0, 1)}
    assert stats.throughput.slices[1000].good == 2
    assert {name: histogram.n for name, histogram in stats.histograms.items() if name.startswith("e2e")} == {
        "e2e": 5, "e2e_ok": 4, "e2e_intended": 5, "e2e_intended_ok": 4
    }  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "bound"),
    [(0.0, 0), (0.0009994, 0), (0.0009996, 1), (0.001, 1), (0.0019, 1), (0.002, 2), (0.0099, 5), (499.9, 200_000),
     (500.0, 500_000), (5000.0, 500_000)],
)  # fmt: skip
def test_a_gap_is_counted_under_its_lower_bound(seconds: float, bound: int) -> None:
    assert gap_bound(seconds) == bound


def test_few_exchanges_of_each_sort_are_kept_as_evidence() -> None:
    stats = RunStats()
    for rules in (["A-1"], ["A-1"], ["A-1", "B-2"], ["A-1"], ["A-1"], ["C-3"]):
        add(stats, 0, 1, "nonconforming", rules=rules)
    assert [one.signature for one in stats.evidence] == [
        "nonconforming A-1", "nonconforming A-1", "nonconforming A-1 B-2", "nonconforming A-1", "nonconforming C-3"
    ]  # fmt: skip
    for number in range(30):
        add(stats, 0, 1, "nonconforming", rules=[f"D-{number}"])
    assert len(stats.evidence) == 20
    # Merging keeps the same bounds.
    other = RunStats()
    for _ in range(3):
        add(other, 0, 1, "nonconforming", rules=["A-1"])
    other.merge(stats)
    assert Counter(one.signature for one in other.evidence).most_common(1) == [("nonconforming A-1", 3)]
    assert len(other.evidence) == 20
    add(other, 0, 1, "ok")
    add(other, 0, 1, "cancelled")
    assert len(other.evidence) == 20


def test_the_end_of_a_run_is_written_in_order() -> None:
    stats, (recording, found) = RunStats(), a_request()
    stats.add(recording, EXCHANGE, found, 5 * SECOND, 3)
    stats.add_stream(recording, found, [], 5 * SECOND, 3)
    lines = list(result_samples(stats, {1: {"running": 2.0}}))
    assert lines[:4] == stats.second_samples({1: {"running": 2.0}})
    assert [line.server for line in lines[:4] if isinstance(line, SecondSample)] == [{}, {"running": 2.0}, {}, {}]
    assert lines[4] is stats.streams[0]
    assert lines[5:] == [
        HistogramSample(
            metric=name, values=stats.histograms[name], unit="1e-6/s" if name == "output_tokens_per_user" else "us"
        )
        for name in sorted(stats.histograms)
    ]
    assert isinstance(lines[5], HistogramSample)
    assert lines[5].metric == "dispatch_lag"


def test_the_totals_of_a_run_by_hand() -> None:
    stats, (recording, found) = RunStats(), a_request()
    stats.add(recording, EXCHANGE, found, 5 * SECOND, 3)
    add(stats, 0.5, 1.0, content=[(0.1, 1)], deltas=1, output_tokens=4, input_tokens=2)
    stats.scenarios["agent"] = Counter({RequestOutcome.OK: 1})
    settings = LoadSettings(url="http://127.0.0.1", rate=2.0, duration=4, slos=("ttft<600.5ms", "goodput>=50%"))
    line = load_line(stats, [SelfCheck(started=5)], settings, issued=4.25049)
    assert (line.mode, line.settings) == ("open", settings.to_json())
    assert (line.started, line.outcomes) == (5, {"ok": 1, "nonconforming": 1, "lost": 3})
    # As a table of the outcomes lists them.
    assert list(line.outcomes) == ["ok", "nonconforming", "lost"]
    assert (line.rules, line.judged, line.unjudged, line.unjudged_bound) == ({"EVT-02": 1, "SSE-01": 1}, 2, 0, None)
    assert (line.issued, line.input_tokens, line.output_tokens, line.good, line.cross_talk) == (4.25, 14, 14, 1, 1)
    assert line.latencies_over == [
        *("ok", "unjudged", "nonconforming", "incomplete"),
        *("truncated", "transport", "timeout", "too_large", "censored"),
    ]
    assert [(scenario.name, scenario.outcomes) for scenario in line.scenarios] == [
        ("agent", {"ok": 1}), ("chat", {"nonconforming": 1})
    ]  # fmt: skip
    assert line.limits == ["ttft<600.5ms"]
    assert [(slo.text, slo.met) for slo in line.slos] == [("ttft<600.5ms", None), ("goodput>=50%", False)]
    assert line.slos[1].value == pytest.approx(1 / 5)
    # Upper percentiles and upper bounds are for times.
    times = {name for name in stats.histograms if not name.startswith("output_tokens_per_user")}
    assert [found.metric for found in line.percentiles] == sorted(times)
    assert line.self_check.lost == 3
    closed = load_line(RunStats(), [], SETTINGS, issued=2.0)
    assert (closed.mode, closed.window) == ("closed", (0.0, 0.0))
    assert closed.no_rates == "no request was sent"
    assert {rate for rate in msgspec.structs.asdict(closed.rates_whole_run).values() if rate is not None} == {0.0}


@given(st.lists(st.floats(0.001, 9), max_size=40), st.integers(1, 4))
def test_the_slowest_requests_are_the_same_from_however_many_processes(lengths: list[float], parts: int) -> None:
    tallies = [RunStats() for _ in range(parts)]
    for slot, length in enumerate(lengths):
        recording = Recording(slot, 0, 0, 1, 1 + round(length * SECOND), 0.0, "complete", "", b"", Receives())
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
    assert (line.unjudged_voided, line.unjudged_voided_most, line.unjudged_bound) == (0.0, 3, 0.75)
    goodput, error = line.slos
    assert (goodput.value, goodput.unjudged, goodput.unjudged_bound, error.value) == (1.0, 4, 0.75, 0.0)
    assert goodput.bound == pytest.approx(1 - (share_bound(3, 10) or 0), abs=1e-6)
    assert "estimate: 4 not checked against all rules, at most 75.0 % of them break a rule" in describe(goodput)
    assert unjudged_sentence(line).startswith("4 responses were checked for event order")


def unjudged_run(checked: int, voided: int, unchecked: int) -> RunStats:
    """Return a run of an overloaded judge: responses of one second each, so many a second."""
    stats = RunStats()
    for slot in range(checked + unchecked):
        outcome = "unjudged" if slot >= checked else "nonconforming" if slot < voided else "ok"
        recording = Recording(slot, 0, 0, 0, SECOND, 0.0, "complete", "", b"", Receives(), one_in=16)
        rules = ["ACC-04"] if outcome == "nonconforming" else []
        found = measured(outcome, 1.0, content=[(0.1, 1)], output_tokens=5, rules=rules, voiding=rules)
        found.judged, found.voided = outcome != "unjudged", bool(rules)
        stats.add(recording, EXCHANGE, found, 0, 0)
    return stats


def test_the_share_among_the_checked_is_applied_to_the_others() -> None:
    settings = replace(SETTINGS, slos=("goodput>=50%", "error<80%", "nonconforming<80%", "goodput>=1/s"))
    line = load_line(unjudged_run(100, 75, 300), [SelfCheck(started=400)], settings, issued=10)
    assert (line.unjudged, line.unjudged_voided, line.broken, line.judged) == (300, 225.0, 75, 100)
    assert line.good == 100
    whole = line.rates_whole_run
    assert (whole.ok_per_s, whole.good_per_s, whole.ok_output_tokens_per_s) == (10.0, 10.0, 50.0)
    goodput, error, broken, _ = line.slos
    assert (goodput.value, error.value, broken.value) == (0.25, 0.75, 0.75)
    assert (goodput.met, error.met, broken.met) == (False, True, True)
    assert error.unjudged == 300
    assert error.bound is not None
    assert error.bound > 0.8
    assert not error.certified
    assert [(row.rule, row.responses, row.voided, row.known) for row in line.conformance] == [("ACC-04", 75, 75, 0)]


def sampled_run(seed: int, broken: str) -> tuple[LoadSample, float, float]:
    """Return a run of 800 responses, every second one long, of which one kind is broken, and what is true of it.

    The truth is the share of the requests that succeeded, and that of their output tokens. A long response makes more
    wait, so fewer of them are checked. It takes 900 ms and has 1000 tokens, a short one 100 ms and 10 tokens.
    """
    stats, limits = RunStats(), RequestLimits(parse_slos(["e2e<500ms", "goodput>=1%"]))
    truth: Counter[str] = Counter()
    for slot in range(800):
        kind, took, tokens = ("long", 0.9, 1000) if slot % 2 else ("short", 0.1, 10)
        rate = (1 if slot < 80 else 4) * (4 if kind == "long" else 1)
        checked = draw(seed, slot, 0) * rate < 1
        rules = ["ACC-04"] if checked and kind == broken else []
        outcome = "nonconforming" if rules else "ok" if checked else "unjudged"
        end = slot * SECOND // 100
        recording = Recording(
            slot, end, end, end, end + round(took * SECOND), 0.0, "complete", "", b"", Receives(), one_in=rate
        )
        found = measured(outcome, took, content=[(0.05, 1)], output_tokens=tokens, rules=rules, voiding=rules)
        found.judged, found.voided = checked, bool(rules)
        stats.add(recording, EXCHANGE, found, 0, 0, limits)
        truth["tokens"] += tokens
        truth["good tokens"] += tokens * (kind != broken)
    settings = replace(SETTINGS, slos=("e2e<500ms", "goodput>=1%", "error<99%"))
    line = load_line(stats, [SelfCheck(started=800)], settings, issued=10)
    return line, 0.5, truth["good tokens"] / truth["tokens"]


@pytest.mark.parametrize("broken", ["long", "short"])
def test_a_sample_is_fair_to_kinds_that_take_long_to_check(broken: str) -> None:
    found: dict[str, list[float]] = {name: [] for name in ("ok", "error", "good", "ok tokens", "nonconforming")}
    for seed in range(20):
        line, ok, tokens = sampled_run(seed, broken)
        goodput, error = line.slos[-2:]
        whole = line.rates_whole_run
        length = 800 / (whole.started_per_s or 1.0)
        found["ok"].append((whole.ok_per_s or 0.0) * length / 800)
        found["error"].append(error.value or 0.0)
        found["good"].append(goodput.value or 0.0)
        found["ok tokens"].append((whole.ok_output_tokens_per_s or 0.0) / (whole.output_tokens_per_s or 1.0))
        voided = line.outcomes.get(RequestOutcome.NONCONFORMING, 0) + (line.unjudged_voided or 0.0)
        found["nonconforming"].append(voided / 800)
        assert line.judged + line.unjudged == 800
        assert line.unjudged > 400
    means = {name: sum(values) / len(values) for name, values in found.items()}
    # Only short responses keep the limit of 500 ms.
    good = 0.5 if broken == "long" else 0.0
    assert means == pytest.approx(
        {"ok": ok, "error": 1 - ok, "good": good, "ok tokens": tokens, "nonconforming": 0.5}, abs=0.025
    )


def test_where_every_checked_response_was_voided_none_is_good() -> None:
    line = load_line(unjudged_run(284, 284, 3812), [SelfCheck(started=4096)], SETTINGS, issued=10)
    assert (line.good, line.rates_whole_run.ok_per_s, line.unjudged_voided) == (0, 0.0, 3812.0)


def test_where_nothing_was_checked_goodput_cannot_be_known() -> None:
    settings = replace(SETTINGS, slos=("goodput>=50%", "error<80%", "http_5xx<1%"))
    line = load_line(unjudged_run(0, 0, 30), [SelfCheck(started=30)], settings, issued=10)
    assert (line.unjudged_voided, line.unjudged_voided_most, line.good) == (None, 30, 0)
    assert (line.rates.ok_per_s, line.rates_whole_run.good_per_s) == (None, None)
    goodput, error, refused = line.slos
    assert (goodput.value, goodput.met, error.value, error.met, refused.met) == (None, False, None, False, True)
    assert describe(goodput) == "goodput>=50%: cannot be known (30 responses were not checked against all rules)"
    assert "it cannot be known how many succeeded" in unjudged_sentence(line)


def test_sums_of_everything_are_joined() -> None:
    first, second = RunStats(), RunStats()
    recording, found = a_request()
    for stats, times in ((first, 2), (second, 3)):
        for _ in range(times):
            stats.add(recording, EXCHANGE, found, 5 * SECOND, 3)
    first.merge(second)
    once = RunStats()
    once.add(recording, EXCHANGE, found, 5 * SECOND, 3)
    for name in numbers_of(RunStats):
        assert getattr(first, name) == 5 * getattr(once, name), name
    assert first.outcomes == {"nonconforming": 5}
    assert first.rules == {"EVT-02": 5, "SSE-01": 5}
    assert first.scenarios == {"chat": {"nonconforming": 5}}
    assert first.requests == once.requests * 5
    assert first.histograms["itl"].n == 10
    assert first.seconds[2].gaps == {200: 5}
    assert first.seconds[1].ttft.n == 5
    assert first.throughput.slices[1750].input_tokens == 60


def test_statistics_with_lone_surrogates_reach_the_parent() -> None:
    stats = RunStats()
    recording = Recording(0, 0, 0, 1, SECOND, 0.0, "complete", "", b"", Receives())
    stats.add_stream(recording, measured(), [(0.0, 0.1, "\ud800", 1, 0)], 0, 0)
    encoded = encode_stats(stats)
    assert RunStats.from_json(json.loads(encoded)) == stats
    assert b": " not in encoded


def test_a_second_that_is_settled_keeps_its_figures_and_not_their_histogram() -> None:
    def run(settled: bool) -> RunStats:
        stats = RunStats()
        for number in range(300):
            add(stats, number / 100, 1.0, content=[(0.1 + number % 7 / 100, 1)])
        if settled:
            stats.settle(0, 2)
        return stats

    stats = run(True)
    assert stats.second_samples() == run(False).second_samples()
    assert [stats.seconds[number].ttft.n > 0 for number in range(4)] == [False, False, True, True]
    # What comes later counts, and changes no percentile; that of a second without any is its own.
    before = stats.second_samples()[1]
    add(stats, 1.2, 2.0, content=[(0.7, 1)])
    stats.settle(0, 2)
    after = stats.second_samples()[1]
    assert (after.started, after.ttft_p99) == (before.started + 1, before.ttft_p99)
    merged = RunStats()
    merged.merge(RunStats.from_json(json.loads(encode_stats(stats))))
    assert merged.second_samples()[2:] == stats.second_samples()[2:]
