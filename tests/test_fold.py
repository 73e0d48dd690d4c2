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
@pytest.mark.slow(2)
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


def event(kind: str, **fields: Any) -> dict[str, Any]:
    """Return an event; what is ``None`` is left out."""
    return {"type": f"response.{kind}", **{name: value for name, value in fields.items() if value is not None}}


def added(identity: Any = None, index: Any = None, **fields: Any) -> dict[str, Any]:
    """Return the event that announces an item."""
    return event("output_item.added", output_index=index, item={"type": "message", "id": identity, **fields})


def done(identity: Any = None, index: Any = None, **fields: Any) -> dict[str, Any]:
    """Return the event that closes an item."""
    return event("output_item.done", output_index=index, item={"type": "message", "id": identity, **fields})


def text(delta: Any, identity: Any = None, index: Any = None, part: Any = None) -> dict[str, Any]:
    """Return a delta of output text."""
    return event("output_text.delta", item_id=identity, output_index=index, content_index=part, delta=delta)


def northstar(*events: Any) -> StreamFold:
    return folded(list(events), "northstar")


def texts(fold: StreamFold) -> list[list[str]]:
    """Return the streamed texts of each item."""
    return [[part.text for part in item.parts] for item in fold.items]


def test_a_message_is_traced_event_by_event() -> None:
    created, ended = {"id": "r", "status": "in_progress"}, {"id": "r", "status": "completed"}
    part = {"type": "output_text", "text": ""}
    closed_part, note = {"type": "output_text", "text": "Hello"}, {"type": "url_citation"}
    names = {"item_id": "m", "output_index": 0, "content_index": 0}
    events = [
        event("created", response=created),
        event("in_progress", response=created),
        added("m", 0),
        event("content_part.added", part=part, **names),
        event("output_text.delta", delta="Hel", **names),
        event("output_text.delta", delta="lo", **names),
        event("output_text.annotation.added", annotation=note, annotation_index=0, **names),
        event("output_text.done", text="Hello", **names),
        event("content_part.done", part=closed_part, **names),
        done("m", 0, status="completed"),
        event("completed", response=ended),
    ]
    fold = northstar(*events)
    (item,) = fold.items
    assert (item.position, item.output_index, item.id, item.type) == (0, 0, "m", "message")
    assert (list(item.announced_at), item.announced, list(item.closed_at), item.closed) == (
        [2], events[2]["item"], [9], events[9]["item"]
    )  # fmt: skip
    assert (list(item.events), list(item.progress), item.is_open) == (list(range(2, 10)), [], False)
    (traced,) = item.parts
    assert (traced.container, traced.position, traced.index) == ("content", 0, 0)
    assert (list(traced.announced_at), traced.announced, list(traced.closed_at), traced.closed) == (
        [3],
        part,
        [8],
        closed_part,
    )
    assert (list(traced.deltas_at), traced.text, list(traced.typed_at), traced.typed) == ([4, 5], "Hello", [7], "Hello")
    assert (traced.first_use, list(traced.annotations)) == (4, [(6, 0, note)])
    assert list(traced.specs) == ["output_text"]
    assert traced.spec is not None
    assert traced.spec.field == "text"
    assert fold.count == 11
    assert [(snapshot.event, snapshot.type, snapshot.response) for snapshot in fold.snapshots] == [
        (0, "response.created", created), (1, "response.in_progress", created), (10, "response.completed", ended)
    ]  # fmt: skip
    assert (fold.terminals, fold.terminal, fold.errors, fold.misnamed) == ([10], fold.snapshots[2], [], [])


def test_events_of_other_kinds_are_counted_and_leave_progress_and_errors() -> None:
    fold = northstar(
        7, None, [], {"type": ["response.created"]}, {"type": "response.unheard_of"}, event("audio.delta", delta="x"),
        added("w", 0, type="web_search_call"),
        event("web_search_call.searching", item_id="w", output_index=0),
        {"type": "error", "message": "no"},
    )  # fmt: skip
    assert (fold.count, fold.errors, fold.snapshots, fold.terminal) == (9, [8], [], None)
    (item,) = fold.items
    assert (list(item.progress), list(item.events)) == ([(7, "response.web_search_call.searching")], [6, 7])
    assert len(item.parts) == 0
    assert item.type == "web_search_call"


def test_the_first_of_several_ends_counts() -> None:
    fold = northstar(event("created", response={}), event("failed", response={"n": 1}), event("completed", response={}))
    assert fold.terminals == [1, 2]
    assert fold.terminal is not None
    assert (fold.terminal.event, fold.terminal.type, fold.terminal.response) == (1, "response.failed", {"n": 1})


@pytest.mark.parametrize(
    ("identity", "index", "placed", "misnamed"),
    [
        ("a", 0, 0, []),
        ("b", 1, 1, []),
        ("a", None, 0, []),
        (None, 0, 0, []),
        (None, 1, 1, []),
        # The id counts for more than the index.
        ("a", 1, 0, [("output_index", 0, 1)]),
        ("x", 0, 0, [("item_id", "a", "x")]),
        # What names no item belongs to the one that is open, which is the last one.
        (None, None, 1, []),
        ("x", None, 1, [("item_id", "b", "x")]),
        (None, 7, 1, [("output_index", 1, 7)]),
        # Names that are none are left out of account.
        (None, True, 1, []),
        (5, 0, 0, []),
        (5, None, 1, []),
        # Named twice as something unknown, it is another item.
        ("x", 7, 2, []),
    ],
)
def test_events_are_placed_by_their_names(
    identity: Any, index: Any, placed: int, misnamed: list[tuple[str, Any, Any]]
) -> None:
    fold = northstar(added("a", 0), added("b", 1), text("Hi", identity, index, 0))
    assert texts(fold) == [["Hi"] if place == placed else [] for place in range(max(2, placed + 1))]
    assert [(wrong.event, wrong.field, wrong.expected, wrong.actual) for wrong in fold.misnamed] == [
        (2, *wrong) for wrong in misnamed
    ]
    assert fold.items[placed].events[-1] == 2


def test_names_that_an_item_lacks_cannot_be_wrong() -> None:
    fold = northstar(event("output_item.added", item=None), text("a", "x", None), text("b", None, 3), text("c", "y", 3))
    assert texts(fold)[0] == ["ab"]
    assert fold.misnamed == []
    # Nor can those of an item that was never announced: the third one names neither the first nor a known one.
    assert [(item.id, item.output_index, list(item.announced_at)) for item in fold.items] == [
        (None, None, [0]),
        ("y", 3, []),
    ]


def test_two_items_under_one_id_are_told_apart_by_their_index() -> None:
    fold = northstar(added("d", 0), added("d", 1), text("first", "d", 0), text("second", "d", 1), text("!", "d"))
    assert texts(fold) == [["first"], ["second!"]]
    assert [list(item.announced_at) for item in fold.items] == [[0], [1]]
    assert fold.misnamed == []


@pytest.mark.parametrize("index", [0, None])
def test_an_item_that_is_announced_again_stays_what_it_was(index: int | None) -> None:
    fold = northstar(added("m", 0), added("m", index, role="other"))
    (item,) = fold.items
    assert (list(item.announced_at), item.announced, item.events) == ([0, 1], {"type": "message", "id": "m"}, [0, 1])
    assert (item.id, item.output_index) == ("m", 0)


def test_an_index_that_is_announced_again_is_another_item() -> None:
    fold = northstar(added("a", 0), added("b", 0), text("b", None, 0), text("a", "a"))
    assert [(item.id, item.position, item.output_index) for item in fold.items] == [("a", 0, 0), ("b", 1, 0)]
    assert texts(fold) == [["a"], ["b"]]
    # The indexes make no sense, so the order of mention counts.
    assert [item["id"] for item in fold.output()] == ["a", "b"]


@pytest.mark.parametrize(
    ("mention", "announcement"),
    [
        (("x", 0), ("x", 0)),
        (("x", 0), ("y", 0)),  # by its index
        (("x", None), ("x", 3)),
        (("x", 0), ("x", None)),
        ((None, 0), ("x", 0)),
        (("x", 0), (None, 0)),
    ],
)
def test_an_item_may_be_mentioned_before_it_is_announced(
    mention: tuple[Any, Any], announcement: tuple[Any, Any]
) -> None:
    fold = northstar(text("early", *mention), added(*announcement), text(", late", *announcement))
    (item,) = fold.items
    assert texts(fold) == [["early, late"]]
    assert (list(item.announced_at), item.events) == ([1], [0, 1, 2])
    assert item.id == (announcement[0] or mention[0])
    assert item.output_index == (mention[1] if announcement[1] is None else announcement[1])
    # It is known by both names.
    fold.feed(text("!", *mention))
    assert texts(fold) == [["early, late!"]]


def test_items_are_closed_by_id_by_index_or_as_the_open_one() -> None:
    fold = northstar(added("a", 0), added("b", 1), added("c", 2), done("b"), done(None, 0), event("output_item.done"))
    assert [list(item.closed_at) for item in fold.items] == [[4], [3], [5]]
    assert [list(item.events) for item in fold.items] == [[0, 4], [1, 3], [2, 5]]
    assert fold.items[2].closed is None
    # What names another item closes none of those known.
    other = northstar(added("a", 0), done("x", 7, status="completed"))
    assert [(item.id, item.output_index, list(item.closed_at)) for item in other.items] == [("a", 0, []), ("x", 7, [1])]
    assert (other.items[0].is_open, other.items[1].is_open, other.items[1].type) == (True, False, "message")


def test_an_item_that_is_closed_again_stays_what_it_was() -> None:
    fold = northstar(added("a", 0), done("a", 0, n=1), done("a", 0, n=2))
    assert (list(fold.items[0].closed_at), fold.items[0].closed["n"]) == ([1, 2], 1)


def test_the_open_item_is_the_last_that_was_not_closed() -> None:
    fold = northstar(added("a", 0), added("b", 1), text("1"), done("b", 1), text("2"), added("c", 2), text("3"))
    assert texts(fold) == [["2"], ["1"], ["3"]]
    fold.feed(done("a", 0))
    fold.feed(text("4"))
    assert texts(fold) == [["2"], ["1"], ["34"]]
    fold.feed(done("c", 2))
    fold.feed(text("5"))
    # None is open, so it is an item that was never announced.
    assert texts(fold) == [["2"], ["1"], ["34"], ["5"]]
    assert (list(fold.items[3].announced_at), fold.items[3].id, fold.items[3].output_index) == ([], None, None)


def part_of(kind: str, index: Any = None, **fields: Any) -> dict[str, Any]:
    """Return an event about a content part of the item ``m``."""
    return event(kind, item_id="m", output_index=0, content_index=index, **fields)


def test_a_part_is_announced_once_until_it_is_closed() -> None:
    fold = northstar(
        added("m", 0),
        part_of("content_part.added", 0, part={"n": 1}),
        part_of("content_part.added", 0, part={"n": 2}),
        part_of("content_part.done", 0, part={"n": 3}),
        part_of("content_part.done", 0, part={"n": 4}),
        part_of("content_part.added", 0, part={"n": 5}),
        part_of("content_part.added", 1, part={"n": 6}),
    )
    assert [
        (part.position, part.index, list(part.announced_at), part.announced, list(part.closed_at), part.closed)
        for part in fold.items[0].parts
    ] == [
        (0, 0, [1, 2], {"n": 1}, [3, 4], {"n": 3}),
        (1, 0, [5], {"n": 5}, [], None),
        (2, 1, [6], {"n": 6}, [], None),
    ]


def test_parts_without_an_index_are_the_last_of_their_container() -> None:
    fold = northstar(
        added("m", 0),
        part_of("content_part.added", part={"n": 1}),
        part_of("content_part.added", part={"n": 2}),
        part_of("output_text.delta", delta="a"),
        part_of("output_text.delta", 5, delta="b"),
        part_of("content_part.done", part={"n": 3}),
    )
    assert [(part.position, part.index, part.text, part.closed) for part in fold.items[0].parts] == [
        (0, None, "", None), (1, None, "ab", {"n": 3})
    ]  # fmt: skip


def test_parts_are_told_apart_by_index_and_container() -> None:
    fold = northstar(
        added("m", 0, type="reasoning"),
        part_of("output_text.delta", 0, delta="a"),
        part_of("output_text.delta", 1, delta="b"),
        part_of("output_text.delta", 0, delta="c"),
        event("reasoning_summary_text.delta", item_id="m", output_index=0, summary_index=0, delta="d"),
        event("function_call_arguments.delta", item_id="m", output_index=0, delta="e"),
        event("function_call_arguments.delta", item_id="m", output_index=0, content_index=1, delta="f"),
        part_of("output_text.delta", delta="g"),
        part_of("refusal.delta", 1, delta="h"),
        part_of("output_text.delta", True, delta="i"),
    )
    (item,) = fold.items
    assert [(part.container, part.position, part.index, part.text) for part in item.parts] == [
        ("content", 0, 0, "ac"), ("content", 1, 1, "bghi"), ("summary", 0, 0, "d"), ("item", 0, 0, "ef")
    ]  # fmt: skip
    assert [part.text for part in item.of("summary")] == ["d"]
    assert [list(part.specs) for part in item.parts] == [
        ["output_text"], ["output_text", "refusal"], ["summary_text"], ["function_call"]
    ]  # fmt: skip
    assert item.parts[1].spec is item.parts[1].specs["output_text"]


def test_texts_that_are_none_are_noted_without_a_value() -> None:
    fold = northstar(
        added("m", 0),
        part_of("output_text.done", 0, text=7),
        part_of("output_text.done", 0, text="late"),
        part_of("output_text.delta", 0, delta={}),
        part_of("output_text.delta", 0, delta="x"),
    )
    (part,) = fold.items[0].parts
    assert (list(part.typed_at), part.typed, list(part.deltas_at), part.text) == ([1, 2], None, [3, 4], "x")
    # The typed event came first.
    assert part.first_use == 1
    assert list(part.specs) == ["output_text"]
    unused = northstar(added("m", 0), part_of("content_part.added", 0)).items[0].parts[0]
    assert (unused.first_use, unused.spec) == (None, None)


@pytest.mark.parametrize(
    ("indexes", "places"),
    [
        ([0, 1, 2], [0, 1, 2]),
        ([2, 0, 1], [2, 0, 1]),
        ([1, 2, 3], [0, 1, 2]),
        ([0, 0, 1], [0, 1, 2]),
        ([1, None, 0], [0, 1, 2]),
        ([0, None, 1], [0, 1, 2]),
        ([None, None], [0, 1]),
    ],
)
def test_places_are_the_indexes_where_these_make_sense(indexes: list[int | None], places: list[int]) -> None:
    fold = northstar(*(added(f"m{number}", index) for number, index in enumerate(indexes)))
    assert [fold.place(item) for item in fold.items] == places
    assert [item["id"] for item in fold.output()] == [f"m{places.index(place)}" for place in range(len(places))]
    # Parts go by the same rule; each is closed, so that the same index again is another part.
    fold = northstar(added("m", 0), *(
        part_of(kind, index, part={"n": number})
        for number, index in enumerate(indexes)
        for kind in ("content_part.added", "content_part.done")
    ))  # fmt: skip
    (item,) = fold.items
    assert [item.place(part) for part in item.parts] == places
    # A part of another container is not counted.
    fold.feed(event("function_call_arguments.delta", item_id="m", delta="x"))
    assert [item.place(part) for part in item.parts] == [*places, 0]


def test_places_are_worked_out_again_when_an_item_comes() -> None:
    fold = northstar(added("b", 1))
    assert [fold.place(item) for item in fold.items] == [0]
    fold.feed(added("a", 0))
    assert [fold.place(item) for item in fold.items] == [1, 0]
    fold.feed(added("x", 0))
    assert [fold.place(item) for item in fold.items] == [0, 1, 2]


@pytest.mark.parametrize(
    ("events", "output"),
    [
        # The closed form counts, or else the announced one; what is no object is left as it is.
        ([added("m", 0, n=1), done("m", 0, n=2)], [{"type": "message", "id": "m", "n": 2}]),
        ([added("m", 0, n=1)], [{"type": "message", "id": "m", "n": 1}]),
        (
            [added("m", 0, n=1), event("output_item.done", output_index=0, item=[])],
            [{"type": "message", "id": "m", "n": 1}],
        ),
        ([event("output_item.added", item=[1])], [[1]]),
        ([text("x", "m", 0)], [None]),
        # Streamed text replaces what the object says, but only text that was streamed.
        (
            [added("m", 0, arguments="?"), event("function_call_arguments.delta", item_id="m", delta="{}")],
            [{"type": "message", "id": "m", "arguments": "{}"}],
        ),
        (
            [added("m", 0, arguments="?"), event("function_call_arguments.done", item_id="m", arguments="{}")],
            [{"type": "message", "id": "m", "arguments": "?"}],
        ),
        (
            [added("m", 0, content=[{"text": "a"}, {"text": "b"}]), text("B", "m", 0, 1), text("A", "m", 0, 0)],
            [{"type": "message", "id": "m", "content": [{"text": "A"}, {"text": "B"}]}],
        ),
        (
            [added("m", 0, content=[{"text": "a"}]), part_of("output_text.done", 0, text="A")],
            [{"type": "message", "id": "m", "content": [{"text": "a"}]}],
        ),
        # Parts that the object lacks are added as they were closed, announced or, failing both, with their text only.
        (
            [
                added("m", 0, content="none"),
                part_of("content_part.added", 0, part={"n": 1}),
                part_of("content_part.done", 0, part={"n": 2}),
                text("A", "m", 0, 0),
                part_of("content_part.added", 1, part={"n": 3}),
                part_of("content_part.done", 1, part=[]),
                text("B", "m", 0, 2),
            ],
            [{"type": "message", "id": "m", "content": [{"n": 2, "text": "A"}, {"n": 3}, {"text": "B"}]}],
        ),
        # A part that is no object is left alone. Parts are added in the order of their places.
        (
            [added("m", 0, content=["a"]), text("A", "m", 0, 0)],
            [{"type": "message", "id": "m", "content": ["a"]}],
        ),
        (
            [added("m", 0, content=["a"]), text("C", "m", 0, 2), text("A", "m", 0, 0), text("B", "m", 0, 1)],
            [{"type": "message", "id": "m", "content": ["a", {"text": "B"}, {"text": "C"}]}],
        ),
        (
            [added("m", 0, content=[]), text("A", "m", 0, 0), part_of("content_part.added", 0, part={"n": 1})],
            [{"type": "message", "id": "m", "content": [{"n": 1, "text": "A"}]}],
        ),
    ],
)
def test_the_output_is_rebuilt_from_the_events(events: list[Any], output: list[Any]) -> None:
    before = json.dumps(events)
    fold = northstar(*events)
    assert fold.output() == output
    assert fold.output() == output
    # The objects of the events stay as they came.
    assert json.dumps(events) == before


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
