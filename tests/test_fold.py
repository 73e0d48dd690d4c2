"""The stream fold: valid streams fold to their end, and nothing makes it raise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.fold import StreamFold
from rejoinder.strategies.replies import event_streams


def folded(events: list[Any], dialect: str) -> StreamFold:
    fold = StreamFold(load_dialect(dialect))
    for event in events:
        fold.feed(event)
    return fold


@pytest.mark.parametrize("dialect", dialect_names())
@given(data=st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_valid_stream_folds_to_its_terminal_response(dialect: str, data: st.DataObject) -> None:
    events = data.draw(event_streams(dialect=dialect, endings=["completed", "incomplete"]))
    fold = folded(events, dialect)
    assert fold.terminal is not None
    assert fold.output() == fold.terminal.response["output"]
    assert fold.misnamed == []
    assert all(item.announced_at and item.closed_at for item in fold.items)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(data=st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_garbage_never_raises(data: st.DataObject) -> None:
    dialect = load_dialect("northstar")
    names = ["item_id", "output_index", "content_index", "summary_index", "item", "part", "delta", "text", "response"]
    values = JSON | st.sampled_from([0, 1, "a", {"id": "a", "type": "message"}, {"type": "output_text", "text": ""}])
    event = st.fixed_dictionaries(
        {"type": st.sampled_from(sorted(dialect.events))}, optional=dict.fromkeys(names, values)
    )
    fold = folded(data.draw(st.lists(event | JSON, max_size=12)), "northstar")
    fold.output()


@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_stream_without_its_parts_still_folds(data: st.DataObject) -> None:
    """Leaving out, repeating and swapping events gives traces, not exceptions."""
    events = data.draw(event_streams())
    broken = [event for event in events if data.draw(st.integers(0, 5))]
    if broken:
        broken.insert(data.draw(st.integers(0, len(broken))), data.draw(st.sampled_from(events)))
    folded(json.loads(json.dumps(broken)), "northstar").output()


def test_an_event_without_indexes_is_placed_by_its_item() -> None:
    message = {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": []}
    fold = folded(
        [
            {"type": "response.output_item.added", "item": message},
            {"type": "response.content_part.added", "item_id": "m", "part": part},
            {"type": "response.output_text.delta", "item_id": "m", "delta": "Hel"},
            {"type": "response.output_text.delta", "delta": "lo"},
        ],
        "northstar",
    )
    assert [item.id for item in fold.items] == ["m"]
    assert fold.items[0].of("content")[0].text == "Hello"
    assert fold.output()[0]["content"][0]["text"] == "Hello"


def test_a_wrong_name_is_noted_and_the_text_kept() -> None:
    message = {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    fold = folded(
        [
            {"type": "response.output_item.added", "output_index": 0, "item": message},
            {"type": "response.output_text.delta", "item_id": "x", "output_index": 0, "content_index": 0, "delta": "a"},
        ],
        "northstar",
    )
    [wrong] = fold.misnamed
    assert (wrong.event, wrong.field, wrong.expected, wrong.actual) == (1, "item_id", "m", "x")
    assert fold.items[0].of("content")[0].text == "a"
