"""The slowest requests: their figures, and where events stand on their timelines."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import RequestSample, StreamSample
from rejoinder.reports.parts.slowest import PART as SLOWEST
from rejoinder.reports.parts.slowest import sort_of


def test_timelines_mark_first_token_and_longest_silence(
    loads: ModuleType, run_of: Any, report_of: Any, words: Any
) -> None:
    samples = loads.cached(loads.load_samples)
    slowest = report_of(*samples)[SLOWEST]
    assert len(slowest) == 10
    slow = slowest[0]
    longest = max(sent.length for sent in loads.requests_with_a_stall())
    assert slow.length == pytest.approx(longest, abs=1e-6)
    assert slow.first_at == pytest.approx(100 * slow.ttft / slow.length)
    assert slow.gap_to - slow.gap_from == pytest.approx(100 * slow.max_gap / slow.length, abs=0.1)
    assert list(slow.ticks) == ["content", "frame", "end"]
    assert [row.type for row in slow.rows if row.longest] == ["response.output_text.delta"]
    assert sum(row.skipped + row.amount for row in slow.rows) + slow.after == slow.events
    assert slow.summary in words(run_of(*samples))


def stream(duration: float, events: list[tuple[float, float, str, int, int]]) -> StreamSample:
    return StreamSample(
        t=0.0, outcome=RequestOutcome.OK, worker=0, slot=0, duration=duration, times={"ttft": 0.5}, events=events
    )


def test_ticks_stand_where_events_came(report_of: Any) -> None:
    events = [
        (0.0, 0.0, "response.created", 1, 0),
        (0.5, 0.5, "response.output_text.delta", 1, 90),
        (1.0, 1.0, "response.output_text.delta", 1, 180),
        (2.0, 2.0, "response.completed", 1, 270),
    ]
    (slow,) = report_of(stream(2.0, events))[SLOWEST]
    assert slow.ticks == {"content": "M62 16V32M125 16V32", "frame": "M0 24V38", "end": "M250 8V38"}
    assert (slow.first_at, slow.gap_from, slow.gap_to) == (25, 50, 100)
    assert slow.summary == (
        "4 events in 2.00 s, TTFT 500 ms, longest gap 1.00 s from 1.00 s, 50.0 % of the stream, outcome ok"
    )


@given(
    events=st.lists(
        st.tuples(st.floats(-1, 20), st.floats(0, 5), st.text(max_size=80), st.integers(0, 400)),
        min_size=1,
        max_size=40,
    )
)
def test_timelines_hold_whatever_the_events_are(events: list[tuple[float, float, str, int]], report_of: Any) -> None:
    lines = [(begin, begin + length, kind, amount, 0) for begin, length, kind, amount in events]
    (slow,) = report_of(stream(3.0, lines))[SLOWEST]
    assert slow.events == sum(amount for begin, _, _, amount in events if begin >= 0)
    assert sum(row.skipped + row.amount for row in slow.rows) + slow.after == slow.events
    for ticks in slow.ticks.values():
        places = [int(place) for place in re.findall(r"M(\d+) ", ticks)]
        assert places == sorted(set(places))
        assert all(0 <= place <= 250 for place in places)


def test_the_table_has_both_sides_of_the_longest_silences(report_of: Any) -> None:
    kinds = ["response.created", "response.in_progress", *["response.output_text.delta"] * 6, "response.completed"]
    begins = [0.1, 0.1, 0.6, 0.7, 1.7, 1.8, 3.8, 3.9, 4.0]
    events = [(at, at, kind, 1, 100 * n) for n, (at, kind) in enumerate(zip(begins, kinds, strict=True))]
    # Five that came from 1.8 s to 2.0 s.
    events[5] = (1.8, 2.0, kinds[5], 5, 500)
    (slow,) = report_of(stream(4.5, [*events[:2], *events[:1:-1]]))[SLOWEST]
    assert [tuple(row) for row in slow.rows] == [
        ("100 ms", "100 ms", "response.created", 1, "0", 0, False),
        ("600 ms", "500 ms", "response.output_text.delta", 1, "200", 1, False),
        ("700 ms", "100 ms", "response.output_text.delta", 1, "300", 0, False),
        ("1.70 s", "1.00 s", "response.output_text.delta", 1, "400", 0, False),
        ("1.80 s – 2.00 s", "100 ms", "response.output_text.delta", 5, "500", 0, False),
        ("3.80 s", "1.80 s", "response.output_text.delta", 1, "600", 0, True),
        ("4.00 s", "100 ms", "response.completed", 1, "800", 1, False),
    ]
    assert (slow.events, slow.after, slow.length, slow.has_offsets) == (13, 0, 4.5, True)
    assert (slow.gap_from, slow.gap_to) == (pytest.approx(100 * 2 / 4.5), pytest.approx(100 * 3.8 / 4.5))
    # Of one event nothing is the longest.
    (single,) = report_of(stream(1.0, events[:1]))[SLOWEST]
    assert [row.longest for row in single.rows] == [False]


def test_events_that_overlap_leave_no_silence(report_of: Any) -> None:
    events = [(0.0, 3.0, "response.output_text.delta", 9, 0), (1.0, 1.0, "response.created", 1, 0)]
    (slow,) = report_of(stream(3.0, events))[SLOWEST]
    assert (slow.gap_from, slow.gap_to, slow.gap_words) == (None, None, "")
    assert [row.gap for row in slow.rows] == ["0 s", "0 s"]
    # A timeline is as long as its last event, and what cannot be is left out.
    (longer,) = report_of(stream(1.0, [(0.0, 0.5, "a", 2, 0), (2.0, 4.0, "b", 2, 0), (5.0, 4.0, "c", 1, 0)]))[SLOWEST]
    assert (longer.length, longer.events) == (4.0, 4)
    assert longer.ticks == {"frame": "M0 24V38M31 24V38M125 24V38M250 24V38"}


def test_a_span_is_drawn_with_no_more_ticks_than_there_is_room_for(report_of: Any) -> None:
    (slow,) = report_of(stream(250.0, [(10.0, 13.0, "x.delta", 100, 0), (20.0, 24.0, "x.delta", 3, 0)]))[SLOWEST]
    places = [int(place) for place in re.findall(r"M(\d+) ", slow.ticks["content"])]
    assert places == [10, 11, 12, 13, 20, 22, 24]


def test_requests_without_events_have_figures_only(report_of: Any) -> None:
    def request(length: float | None, **fields: Any) -> RequestSample:
        times = {"ttft": 0.5, "max_gap": 0.25} | ({} if length is None else {"e2e": length})
        return RequestSample(t=1.0, intended=1.0, outcome=RequestOutcome.OK, worker=0, times=times, **fields)

    long = "x" * 300
    samples = [request(float(n)) for n in range(1, 13)]
    samples[4] = request(99.0, rules=["EVT-01", long], scenario=long, detail=long)
    found = report_of(*samples, request(None))[SLOWEST]
    assert [slow.length for slow in found] == [99, 12, 11, 10, 9, 8, 7, 6, 4, 3]
    first = found[0]
    assert (first.ttft, first.max_gap, first.events, first.ticks, first.rows) == (0.5, 0.25, 0, {}, [])
    assert first.rules.startswith("EVT-01, xx")
    assert [text.count("x") for text in (first.rules, first.scenario, first.detail)] == [80 - len("EVT-01, "), 40, 120]
    assert (found[1].rules, found[1].scenario, found[1].detail) == ("", "", "")
    # Streams, where the file has them, are ranked by their whole length.
    assert [slow.length for slow in report_of(*samples, stream(7.0, []), stream(8.0, []))[SLOWEST]] == [8, 7]
    assert report_of(request(None)).get(SLOWEST) is None
    assert report_of(stream(-1.0, []))[SLOWEST][0].length == 0


@pytest.mark.parametrize(("ttft", "place"), [(0.0, 0), (2.0, 100), (2.1, None), (-0.1, None), (None, None)])
def test_the_first_token_is_marked_within_the_timeline(ttft: float | None, place: float | None, report_of: Any) -> None:
    sample = stream(2.0, [(0.0, 0.0, "", 1, 0)])
    sample.times = {} if ttft is None else {"ttft": ttft}
    (slow,) = report_of(sample)[SLOWEST]
    assert slow.first_at == place
    assert slow.rows[0].type == "(no type)"


def test_events_are_told_apart() -> None:
    assert sort_of("several") == "content"
    ends = ["completed", "incomplete", "failed", "cancelled"]
    assert {sort_of(f"response.{end}") for end in ends} == {"end"}
    assert sort_of("response.output_text.delta") == "content"
    assert sort_of("response.completed") == sort_of("error") == "end"
    assert sort_of("response.output_item.added") == "frame"
