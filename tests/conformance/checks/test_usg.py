"""What the checks of USG compare, and what they leave alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request

USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


def exchange(sent: Any, usage: Any, role: str = "plain", path: str = "", **back: Any) -> Exchange:
    response = {"id": f"resp_{role}", "status": "completed", "output": [], "usage": usage, **back}
    body = usage if path else response
    request = Request("POST", f"/v1/responses{path}", (), json.dumps(sent).encode())
    chunks = (Chunk(0.1, json.dumps(body).encode()),)
    return Exchange(role, request, Outcome.COMPLETE, 200, chunks=chunks, case="c", role=role)


def fires(rule: str, *exchanges: Exchange, dialect: str = "northstar") -> bool | None:
    """Return whether the rule has findings; ``None`` when it had nothing to judge."""
    [verdict] = judge(list(exchanges), dialect, select=rule)
    assert verdict.status.value != "error", verdict.reason
    return bool(verdict.findings) if verdict.judged else None


def counted(tokens: int, **details: Any) -> dict[str, Any]:
    return {"input_tokens": tokens, "output_tokens": 5, "total_tokens": tokens + 5, **details}


def test_details() -> None:
    whole = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    assert fires("USG-04", exchange({}, counted(1, **whole)), dialect="openai") is False
    assert fires("USG-04", exchange({}, USAGE), dialect="openai") is True
    assert fires("USG-04", exchange({}, None), dialect="openai") is None


@pytest.mark.parametrize(
    ("details", "found"),
    [
        ({"input_tokens_details": {"cached_tokens": 10}}, False),
        ({"input_tokens_details": {"cached_tokens": 11}}, True),
        ({"output_tokens_details": {"reasoning_tokens": 6}}, True),
        ({"output_tokens_details": None}, None),
    ],
)
def test_parts_of_totals(details: Any, found: bool | None) -> None:
    assert fires("USG-05", exchange({}, counted(10, **details))) is found


@pytest.mark.parametrize(
    ("item", "count", "found"),
    [
        ({"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]}, 0, True),
        ({"type": "reasoning", "content": [{"type": "reasoning_text", "text": "Hm."}]}, 2, False),
        ({"type": "reasoning", "content": None, "summary": []}, 0, None),
        ({"type": "reasoning", "content": [{"type": "reasoning_text", "text": " "}]}, 0, None),
        ({"type": "message", "content": []}, 4, None),
    ],
)
def test_reasoning(item: Any, count: int, found: bool | None) -> None:
    usage = {**USAGE, "output_tokens_details": {"reasoning_tokens": count}}
    assert fires("USG-06", exchange({}, usage, output=[item])) is found


@pytest.mark.parametrize(("limit", "found"), [(5, False), (4, True), (None, None), (0, None)])
def test_limit(limit: int | None, found: bool | None) -> None:
    assert fires("USG-07", exchange({"max_output_tokens": limit}, USAGE)) is found


def test_repeats() -> None:
    first = exchange({"input": "a"}, counted(10), "one")
    assert fires("USG-08", first, exchange({"input": "a", "user": "me"}, counted(10), "two")) is False
    assert fires("USG-08", first, exchange({"input": "a"}, counted(11), "two")) is True
    assert fires("USG-08", first, exchange({"input": "b"}, counted(11), "two")) is None


@pytest.mark.parametrize(
    "fields",
    [{"conversation": "c"}, {"conversation": ""}, {"previous_response_id": "r"}, {"tools": [{"type": "web_search"}]}],
)
def test_repeats_with_state_or_hosted_tools_are_left_out(fields: Any) -> None:
    sent = {"input": "a", **fields}
    assert fires("USG-08", exchange(sent, counted(1), "one"), exchange(sent, counted(2), "two")) is None


def test_history() -> None:
    first = exchange({"input": "a"}, counted(10), "one")
    follow = {"input": "b", "previous_response_id": "resp_one"}
    assert fires("USG-09", first, exchange(follow, counted(11), "two")) is False
    assert fires("USG-09", first, exchange(follow, counted(10), "two")) is True
    # Fewer instructions or tools may outweigh the history.
    instructed = exchange({"input": "a", "instructions": "long"}, counted(10), "one")
    assert fires("USG-09", instructed, exchange(follow, counted(9), "two")) is None
    assert fires("USG-09", first, exchange({**follow, "truncation": "auto"}, counted(9), "two")) is None


@pytest.mark.parametrize(("turns", "found"), [([4, 6], False), ([4, 5], True), ([], None), (None, None)])
def test_turns(turns: Any, found: bool | None) -> None:
    usage = counted(10, input_tokens_details={"cached_tokens": 0, "input_tokens_per_turn": turns})
    assert fires("USG-10", exchange({}, usage)) is found


def test_counting() -> None:
    create = exchange({"input": "a", "max_output_tokens": 16}, counted(10), "create")
    for count, found in ((10, False), (11, True)):
        counting = exchange({"input": "a"}, {"input_tokens": count}, "count", "/input_tokens")
        assert fires("USG-11", create, counting) is found
    other = exchange({"input": "b"}, {"input_tokens": 3}, "count", "/input_tokens")
    assert fires("USG-11", create, other) is None


def test_the_fields_of_a_body_that_is_not_sent_as_json_do_not_count() -> None:
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    found = exchange({"input": "Hi"}, usage)
    assert fires("USG-13", found) is True
    for media, judged in (("text/plain", None), ("application/json; charset=utf-8", True)):
        request = replace(found.request, headers=(("Content-Type", media),))
        assert fires("USG-13", replace(found, request=request)) is judged


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({}, set()),
        ({"input_tokens": None}, {"USG-12"}),
        ({"input_tokens": "10"}, {"USG-03"}),
        ({"output_tokens": -1}, {"USG-03"}),
        ({"input_tokens": 0}, {"USG-13"}),
    ],
)
def test_a_count_that_is_missing_wrong_or_zero_breaks_one_rule(change: dict[str, Any], broken: set[str]) -> None:
    usage = {name: count for name, count in {**USAGE, **change}.items() if count is not None}
    found = exchange({"input": "Hi"}, usage)
    assert {rule for rule in ("USG-03", "USG-12", "USG-13") if fires(rule, found)} == broken
