"""Findings keep their fingerprint, verdicts their JSON form, and long values are cut visibly."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.exchange import Request
from rejoinder.model.script import Step, Taken
from rejoinder.model.verdict import (
    ABSENT,
    Finding,
    Level,
    Minimal,
    Problem,
    Reruns,
    Status,
    Verdict,
    fingerprint,
    shorten,
)

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
pointers = st.lists(st.text(st.characters(exclude_characters="/"), min_size=1)).map(
    lambda parts: "".join("/" + p for p in parts)
)
problems = st.builds(
    Problem,
    message=st.text(),
    pointer=pointers,
    event=st.none() | st.integers(0),
    event_type=st.text(),
    expected=st.just(ABSENT) | values,
    actual=st.just(ABSENT) | values,
    kind=st.text(),
    offset=st.none() | st.integers(0),
    exchange=st.text(),
)


@given(problems)
def test_problems_round_trip(problem: Problem) -> None:
    assert Problem.from_json(json.loads(json.dumps(problem.to_json()))) == problem


def test_absent_is_not_null() -> None:
    record = Problem("m", expected=None).to_json()
    assert record["expected"] is None
    assert "actual" not in record
    assert Problem.from_json(record).actual is ABSENT
    assert repr(ABSENT) == "absent"


requests = st.builds(Request, st.text(), st.text(), st.just((("content-type", "application/json"),)), st.binary())
taken = st.builds(Taken, st.integers(0), st.text(), body=st.text()) | st.builds(
    Taken, st.integers(0), st.text(), text=st.text()
)
steps = st.builds(
    Step,
    requests,
    st.text(),
    st.text(),
    st.lists(st.text()).map(tuple),
    st.text(),
    st.lists(taken, max_size=2).map(tuple),
    beside=st.booleans(),
    wait=st.floats(0, 9),
    until_ended=st.booleans(),
    deadline=st.none() | st.floats(0, 9),
    read_limit=st.none() | st.integers(0),
    pace=st.floats(0, 9),
    tenant=st.sampled_from((1, 2)),
    keeps=st.sampled_from(((), ("input", "stream"))),
)
minimals = st.builds(
    Minimal,
    requests,
    st.text(),
    st.integers(1),
    st.lists(steps, max_size=3).map(tuple),
    st.sampled_from(("", "Odd.")),
    st.booleans(),
)
reruns_ = st.builds(Reruns, st.integers(0), st.integers(0), st.integers(0))


@given(st.text(), problems, st.none() | reruns_, st.none() | minimals)
def test_verdicts_round_trip(rule: str, problem: Problem, reruns: Reruns | None, minimal: Minimal | None) -> None:
    finding = Finding(rule, Level.MUST, problem, 3, ["a", "b"], reruns, minimal)
    verdict = Verdict(rule, Level.MUST, Status.FAIL, 5, 3, "why", [finding])
    again = Verdict.from_json(json.loads(json.dumps(verdict.to_json())))
    assert again == verdict
    assert again.findings[0].fingerprint == finding.fingerprint


@given(st.text(), problems, problems)
@pytest.mark.slow(1)
def test_fingerprints_ignore_wording_and_position(rule: str, one: Problem, other: Problem) -> None:
    moved = Problem(
        message=other.message,
        event=other.event,
        offset=other.offset,
        exchange=other.exchange,
        expected=other.expected,
        actual=other.actual,
        pointer=one.pointer,
        event_type=one.event_type,
        kind=one.kind,
    )
    assert re.fullmatch("[0-9a-f]{12}", fingerprint(rule, one))
    assert fingerprint(rule, one) == fingerprint(rule, moved)


@given(st.lists(st.integers(0) | st.sampled_from(["output", "content"])), st.randoms(use_true_random=False))
def test_fingerprints_ignore_array_indexes(path: list[Any], random: random.Random) -> None:
    here = "".join(f"/{part}" for part in path)
    there = "".join(f"/{random.randrange(10**6) if isinstance(part, int) else part}" for part in path)
    assert fingerprint("R-01", Problem("m", pointer=here)) == fingerprint("R-01", Problem("m", pointer=there))


def test_fingerprints_tell_apart() -> None:
    base = {"rule": "EVT-01", "pointer": "/output/0/id", "event_type": "a", "kind": "k"}
    changes = [
        {},
        {"rule": "EVT-02"},
        {"pointer": "/output/0/type"},
        {"event_type": "b"},
        {"kind": "l"},
        {"pointer": "/0x/id"},
    ]
    prints = set()
    for change in changes:
        fields: dict[str, Any] = {**base, **change}
        prints.add(fingerprint(fields.pop("rule"), Problem("m", **fields)))
    assert len(prints) == len(changes)


def test_a_fingerprint_stays_the_same_for_good() -> None:
    """Baselines hold fingerprints; a changed recipe would turn every known failure into a new one."""
    problem = Problem("m", pointer="/output/3/id", event_type="response.completed", kind="id")
    assert fingerprint("ITM-04", problem) == "8764d99998f0"


@given(values, st.integers(1, 200))
def test_shorten_cuts_visibly_or_not_at_all(value: Any, limit: int) -> None:
    short = shorten(value, limit)
    if short is value:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        assert len(text) <= limit
    else:
        cut = re.fullmatch(r"(.*)… \((\d+) more characters\)", short, re.DOTALL)
        assert cut
        body, count = cut.groups()
        assert len(body) == limit
        whole = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        assert whole.startswith(body)
        assert len(body) + int(count) == len(whole)


@given(st.binary())
def test_shorten_takes_bytes(data: bytes) -> None:
    assert isinstance(shorten(data), str)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), {1, 2}, object(), {"a": float("nan")}, 10**5000],
    ids=["nan", "inf", "set", "object", "nested", "huge"],
)
def test_shorten_takes_what_is_not_json(value: Any) -> None:
    assert isinstance(shorten(value), str)
    json.dumps(shorten(value), allow_nan=False)


@pytest.mark.parametrize("levels", [101, 900, 100_000])
def test_shorten_takes_deep_nesting(levels: int) -> None:
    deep: list[Any] = []
    for _ in range(levels):
        deep = [deep]
    assert isinstance(shorten(deep), str)


def test_shorten_keeps_moderate_nesting() -> None:
    value = {"a": [{"b": [1]}]}
    assert shorten(value) is value


def test_what_shows_every_time_is_deterministic() -> None:
    assert Reruns(3, 3).deterministic
    assert not Reruns(3, 2).deterministic
    assert not Reruns(3, 0).deterministic
    assert Reruns(3, 1).words == "reproduced in 1 of 3 reruns"


@pytest.mark.parametrize(
    ("reruns", "deterministic", "random", "words"),
    [
        (Reruns(3, 3), True, False, "reproduced in 3 of 3 reruns"),
        (Reruns(1, 1), True, False, "reproduced in 1 of 1 rerun"),
        (Reruns(3, 0), False, True, "reproduced in 0 of 3 reruns"),
        (Reruns(2, 1, 1), False, True, "reproduced in 1 of 2 reruns, 1 more ended in another way"),
        (Reruns(0, 0, 3), False, False, "not confirmed: 3 reruns ended in another way"),
    ],
)
def test_a_rerun_that_went_another_way_is_none_that_passed(
    reruns: Reruns, deterministic: bool, random: bool, words: str
) -> None:
    assert (reruns.deterministic, reruns.random, reruns.words) == (deterministic, random, words)
