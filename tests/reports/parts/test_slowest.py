"""The slowest requests: their figures, and where events stand on their timelines."""

from __future__ import annotations

import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.samples import StreamSample
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


def test_events_are_told_apart() -> None:
    assert sort_of("response.output_text.delta") == "content"
    assert sort_of("response.completed") == sort_of("error") == "end"
    assert sort_of("response.output_item.added") == "frame"
