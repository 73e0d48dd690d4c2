"""Whatever an endpoint sends: twice the reply takes twice the work to check, and a small multiple of its memory."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.load_module import load_module

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.problems import MAX_KINDS, MAX_PLACES
from rejoinder.model.exchange import Exchange
from rejoinder.model.verdict import Status

Work = Callable[[Callable[[], object]], int]


shapes: Any = load_module("benchmarks/reply_shapes.py")
SIZE = 2_000
PIECES = re.compile("new|items|parts|open|close|annotations|ends|differ")
"""Streams of things that are looked up among others, of which enough must come for a search to show."""


def checked(exchange: Exchange) -> int:
    """Check an exchange and return how many findings it has; none of the checks may break."""
    verdicts = judge([exchange], "openai")
    assert [verdict.reason for verdict in verdicts if verdict.status is Status.ERROR] == []
    return sum(len(verdict.findings) for verdict in verdicts)


def steps_rise(work: Callable[[int], int], slack: float = 0.01) -> str:
    """Return the work at one to five times a size if it grows faster than the size, else an empty string.

    Of linear work, the steps from one to two and from two to three times the size are equal. Work that grows with the
    square shows as a difference of the steps, also where it is a small part of all, and shows again from three to five
    times. Work that begins at some size, such as a search that only large replies need, shows once.
    """
    found: list[int] = []
    for last in (3, 5):
        found += [work(times) for times in range(len(found) + 1, last + 1)]
        one, two, three = found[-3:]
        if three - two <= max(0, two - one) + slack * three + 1_000:
            return ""
    return f"{found} lines of Python"


def assert_linear(shape: Any, work_of: Work, size: int = SIZE, slack: float = 0.01) -> None:
    count = shape.count(size)
    checked(shape.repeated(count))  # what is loaded or worked out once

    def work(times: int) -> int:
        exchange = shape.repeated(count * times)
        return work_of(lambda: checked(exchange))

    assert steps_rise(work, slack) == ""


@pytest.mark.parametrize("fixed", [0, 145_000])
@pytest.mark.parametrize(
    ("work", "rises"),
    [
        (lambda n: 5_000 * n, False),
        (lambda n: 5_000 * n + 5_000 * (n > 2), False),
        (lambda n: 5_000 * n + 5_000 * (n > 4), False),
        (lambda n: 5_000 * min(n, 2), False),
        (lambda n: 5_000 * n + 2_000 * n**2, True),
        (lambda n: 5_000 * n + 5_000 * (n > 2) + 2_000 * n**2, True),
        (lambda n: 2_000 * n**3, True),
    ],
)
def test_work_that_grows_with_the_square_is_found(work: Callable[[int], int], rises: bool, fixed: int) -> None:
    assert bool(steps_rise(lambda n: fixed + work(n))) == rises


FIXED = {**shapes.PLAIN, **shapes.ERRORS, **shapes.STREAMS}


@pytest.mark.slow(0.2)
@pytest.mark.parametrize("name", FIXED)
def test_work_grows_with_the_size(name: str, work_of: Work) -> None:
    assert_linear(FIXED[name], work_of, 10_000 if name in shapes.STREAMS and PIECES.search(name) else SIZE)


WORDS = ["message", "function_call", "reasoning", "output_text", "completed", "assistant", "", "\ud800"]
NAMES = ["type", "id", "status", "role", "content", "text", "annotations", "summary", "arguments", "call_id", "x"]
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**60) | st.floats() | st.sampled_from(WORDS) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=6,
)
PATHS = ["output", "content", "annotations", "logprobs", "summary", "tools", "metadata", "usage", "error", "id"]


def holding(path: str, elements: Any) -> dict[str, Any]:
    """Return a response with an array (or an object) of these elements at a place."""
    if path in ("content", "summary"):
        found = shapes.response(output=[{"type": "message", "id": "m", path: elements}])
    elif path in ("annotations", "logprobs"):
        found = shapes.response(output=[shapes.message([{**shapes.text("a"), path: elements}])])
    elif path in ("metadata", "usage", "error"):
        found = shapes.response(**{path: {f"k{n}": element for n, element in enumerate(elements)}})
    else:
        found = shapes.response(**{path: elements})
    return dict(found)


@pytest.mark.slow(2)
@given(path=st.sampled_from(PATHS), elements=st.lists(values, min_size=1, max_size=3), streamed=st.booleans())
@settings(max_examples=10)
def test_work_grows_with_the_elements(path: str, elements: list[Any], streamed: bool, work_of: Work) -> None:
    def body(n: int) -> bytes:
        found = holding(path, elements * n)
        if streamed:
            return bytes(shapes.encoded([{"type": "response.completed", "sequence_number": 0, "response": found}]))
        return str(shapes.as_json(found)).encode()

    shape = shapes.Shape(body, stream=streamed)
    assert_linear(shape, work_of, 6_000, 0.05)


EVENTS = sorted(name for name in shapes.EVENT_TYPES if "audio" not in name)
indexes = st.sampled_from(["same", "new", "turns", "none", "backwards"])


def numbered(how: str, i: int) -> int | None:
    return {"same": 0, "new": i, "turns": i % 2, "none": None, "backwards": 10_000 - i}[how]


@pytest.mark.slow(2)
@given(
    kinds=st.lists(st.tuples(st.sampled_from(EVENTS), indexes, indexes, indexes), min_size=1, max_size=4),
    extra=values,
    ended=st.booleans(),
)
@settings(max_examples=12)
def test_work_grows_with_the_events(
    kinds: list[tuple[str, str, str, str]], extra: Any, ended: bool, work_of: Work
) -> None:
    def body(n: int) -> bytes:
        events: list[dict[str, Any]] = []
        for i in range(n):
            for name, item, part, number in kinds:
                event = shapes.event_of(name, i, item=numbered(item, i), part=numbered(part, i))
                events.append({**event, "sequence_number": numbered(number, len(events)), "x": extra})
        if ended:
            output = [shapes.message([shapes.text("a")], f"m{i}") for i in range(n)]
            events.append({"type": "response.completed", "response": shapes.response(output=output)})
        return bytes(shapes.encoded(events))

    shape = shapes.Shape(body, stream=True)
    assert_linear(shape, work_of, 6_000, 0.05)


MEMORY = [
    *("output of numbers", "output of empty objects", "events without fields", "events of unknown types"),
    *("metadata", "deltas of new parts", "a long text", "blank lines"),
]


@pytest.mark.slow(1)
@pytest.mark.parametrize("name", MEMORY)
def test_memory_grows_with_the_size(name: str) -> None:
    peaks = []
    for size in (10_000, 40_000):
        exchange = shapes.SHAPES[name].exchange(size)
        checked(exchange)
        tracemalloc.start()
        try:
            checked(exchange)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 4.5 * peaks[0] + 200_000
    assert peaks[1] < 150 * 40_000


def test_the_same_problem_is_named_once_with_a_count() -> None:
    exchange = shapes.PLAIN["output of empty objects"].exchange(6 * MAX_PLACES)
    count = len(exchange.json()["output"])
    verdict = next(one for one in judge([exchange], "openai") if one.rule == "ITM-16")
    evidence = {finding.evidence.pointer: finding.evidence.message for finding in verdict.findings}
    more = count - MAX_PLACES
    assert evidence["/output/0/type"] == f"Output item 0 has no type. {more:,} more places have the same error."


def test_kinds_of_problems_are_bounded() -> None:
    exchange = shapes.STREAMS["events of unknown types"].exchange(30_000)
    verdicts = judge([exchange], "openai")
    assert max(len(verdict.findings) for verdict in verdicts) == MAX_KINDS
    most = max(verdicts, key=lambda verdict: len(verdict.findings))
    assert most.findings[0].evidence.message.endswith("problems of other kinds are not listed.")


MANY = ["output of objects without type", "output of deep values", "events without fields", "deltas without place"]


@pytest.mark.slow(4)
@pytest.mark.parametrize("name", MANY)
def test_many_responses_take_no_more_memory_than_they_weigh(name: str) -> None:
    """A check ends when the weights of its responses reach a limit, so they must not be lower than what is used."""
    exchanges = [replace(shapes.SHAPES[name].exchange(24_000), id=f"x{n}", case=f"case{n}") for n in range(40)]
    judge(exchanges[:1], "openai")
    tracemalloc.start()
    try:
        judge(exchanges, "openai")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Beside that, each rule keeps a bounded number of places.
    assert peak < 1.1 * sum(exchange.weight for exchange in exchanges) + 35_000_000


@pytest.mark.slow(3)
def test_places_of_one_error_in_many_responses_are_bounded() -> None:
    one = shapes.PLAIN["output of objects without type"].exchange(30_000)
    number = 30
    exchanges = [replace(one, id=f"x{n}", case=f"case{n}") for n in range(number)]
    verdict = next(one for one in judge(exchanges, "openai") if one.rule == "ITM-16")
    finding = next(one for one in verdict.findings if one.evidence.pointer.endswith("/type"))
    assert (verdict.failed, finding.count) == (number, number)
    assert finding.evidence.exchange == "x0"
