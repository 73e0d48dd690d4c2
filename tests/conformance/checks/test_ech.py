"""What the checks of ECH take for an echo, and what they do not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases.ech import cases
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request

BASE = {"id": "resp_1", "object": "response", "status": "completed", "output": []}
TOOL: dict[str, Any] = {
    "type": "function",
    "name": "f",
    "parameters": {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
    "strict": True,
}


def exchange(
    sent: Any, back: Any, *tags: str, role: str = "plain", status: int = 200, method: str = "POST", path: str = ""
) -> Exchange:
    body = json.dumps({**BASE, **back} if method == "POST" and status == 200 else back).encode()
    data = b"" if sent is None else json.dumps(sent).encode()
    request = Request(method, f"/v1/responses{path}", (), data)
    chunks = (Chunk(0.1, body),)
    return Exchange(role, request, Outcome.COMPLETE, status, chunks=chunks, case="c", role=role, tags=tags)


def fires(rule: str, *exchanges: Exchange, dialect: str = "northstar") -> bool | None:
    """Return whether the rule has findings; ``None`` when it had nothing to judge."""
    [verdict] = judge(list(exchanges), dialect, select=rule)
    assert verdict.status.value != "error", verdict.reason
    return bool(verdict.findings) if verdict.judged else None


@pytest.mark.parametrize(
    ("sent", "back", "found"),
    [
        ({"instructions": "a"}, {"instructions": "a"}, False),
        ({"instructions": "a"}, {"instructions": None}, True),
        ({"instructions": "a"}, {}, None),
        ({"instructions": None}, {"instructions": "b"}, None),
        ({"tool_choice": {"type": "function", "name": "f"}}, {"tool_choice": "auto"}, True),
        ({"parallel_tool_calls": True}, {"parallel_tool_calls": 1}, True),
        ({"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low", "summary": None}}, False),
        ({"reasoning": {"effort": "low"}}, {"reasoning": None}, None),
        ({"text": {"format": {"type": "text"}}}, {"text": {"format": {"type": "text"}, "verbosity": "low"}}, False),
        ({"text": {"format": {"type": "json_object"}}}, {"text": {}}, True),
        ({"max_tool_calls": 3}, {"max_tool_calls": 4}, True),
        ({"user": "me"}, {"user": "me"}, False),
    ],
)
def test_fields(sent: Any, back: Any, found: bool | None) -> None:
    assert fires("ECH-01", exchange(sent, back)) is found


@pytest.mark.parametrize(
    ("back", "found"),
    [
        ([TOOL], False),
        ([{**TOOL, "description": None}], False),
        # Strict schemas may come back completed.
        ([{**TOOL, "parameters": {**TOOL["parameters"], "additionalProperties": False}}], False),
        ([{**TOOL, "parameters": {}}], True),
        ([{**TOOL, "type": "custom"}], True),
        ([{**TOOL, "strict": False}], True),
        ([{**TOOL, "name": "g"}, TOOL], False),
        ([], True),
        (None, True),
    ],
)
def test_tools(back: Any, found: bool) -> None:
    assert fires("ECH-01", exchange({"tools": [TOOL]}, {"tools": back})) is found


def test_extreme_and_invalid_requests_are_not_judged() -> None:
    for tag in ("edge", "invalid"):
        assert fires("ECH-01", exchange({"instructions": "a"}, {"instructions": None}, tag)) is None
        assert fires("ECH-03", exchange({"max_output_tokens": 10**30}, {"max_output_tokens": 1}, tag)) is None


@pytest.mark.parametrize(
    ("sent", "back", "found"),
    [
        ({"temperature": 0.7}, {"temperature": 0.7}, False),
        ({"temperature": 0.7}, {"temperature": 0.699999988079071}, False),
        ({"temperature": 0.7}, {"temperature": 1.0}, True),
        ({"temperature": 0.7}, {"temperature": "0.7"}, True),
        ({"temperature": 0.7}, {"temperature": None}, True),
        ({}, {"temperature": None}, False),
        ({}, {"temperature": 0.6}, False),
        ({}, {}, None),
        # Engines that decode greedily at temperature 0 put top_p to 1.
        ({"temperature": 0, "top_p": 0.5}, {"temperature": 0, "top_p": 1}, False),
        ({"temperature": 1, "top_p": 0.5}, {"temperature": 1, "top_p": 1}, True),
    ],
)
def test_sampling(sent: Any, back: Any, found: bool | None) -> None:
    assert fires("ECH-02", exchange(sent, back)) is found


@pytest.mark.parametrize(
    ("sent", "back", "found"),
    [
        ({"max_output_tokens": 16}, {"max_output_tokens": 16}, False),
        ({"max_output_tokens": 16}, {"max_output_tokens": None}, True),
        ({}, {"max_output_tokens": None}, False),
        ({}, {"max_output_tokens": 4096}, False),
        ({}, {"max_output_tokens": -1}, True),
        ({"max_output_tokens": 16}, {}, None),
    ],
)
def test_limit(sent: Any, back: Any, found: bool | None) -> None:
    assert fires("ECH-03", exchange(sent, back)) is found


@pytest.mark.parametrize(
    ("sent", "back", "found"),
    [
        ({}, {"truncation": "disabled", "tool_choice": "auto"}, False),
        ({}, {"truncation": "auto"}, True),
        ({}, {"truncation": None}, None),
        ({"truncation": None}, {"truncation": "auto"}, True),
        ({"truncation": "auto"}, {"truncation": "auto"}, None),
        ({}, {"text": {"format": {"type": "json_object"}}}, None),
        ({}, {"tool_choice": "none"}, False),
        ({"tools": [TOOL]}, {"tool_choice": "none"}, True),
        ({"text": {"verbosity": "low"}}, {"text": {"format": {"type": "text"}}}, None),
        ({}, {"store": False}, None),
    ],
)
def test_defaults(sent: Any, back: Any, found: bool | None) -> None:
    assert fires("ECH-04", exchange(sent, back)) is found


@pytest.mark.parametrize(
    ("dialect", "back", "found"),
    [
        ("openai", {"text": {"format": {"type": "json_object"}}}, True),
        ("openai", {"tool_choice": "required"}, None),
        ("openresponses", {"truncation": "auto", "parallel_tool_calls": False, "background": True}, None),
        ("openresponses", {"tool_choice": "required"}, True),
    ],
)
def test_only_defaults_that_the_dialect_documents_are_compared(dialect: str, back: Any, found: bool | None) -> None:
    assert fires("ECH-04", exchange({}, back), dialect=dialect) is found


@pytest.mark.parametrize(
    ("back", "lost", "added"),
    [
        ({"metadata": {"a": "1"}}, False, False),
        ({"metadata": {}}, True, False),
        ({"metadata": None}, True, None),
        ({"metadata": {"a": "1", "b": "2"}}, False, True),
        ({"metadata": {"b": "2"}}, True, True),
        ({"metadata": {"a": 1}}, True, False),
        ({}, None, None),
    ],
)
def test_metadata(back: Any, lost: bool | None, added: bool | None) -> None:
    found = exchange({"metadata": {"a": "1"}}, back)
    assert (fires("ECH-05", found), fires("ECH-10", found)) == (lost, added)


def lookup(status: int, message: str = "There is no response resp_1.") -> Exchange:
    body = BASE if status == 200 else {"error": {"message": message}}
    return exchange(None, body, role="get", status=status, method="GET", path="/resp_1")


def test_store() -> None:
    stored, unstored = exchange({}, {"store": True}), exchange({"store": False}, {"store": False})
    assert fires("ECH-07", stored, lookup(200)) is False
    assert fires("ECH-07", stored, lookup(404)) is True
    assert fires("ECH-07", unstored, lookup(404)) is False
    assert fires("ECH-07", unstored, lookup(200)) is True
    assert fires("ECH-07", exchange({"store": False}, {"store": True})) is True


def test_store_without_retrieval_says_nothing() -> None:
    stored = exchange({}, {"store": True})
    assert fires("ECH-07", stored, lookup(404, "File Not Found")) is None
    assert fires("ECH-07", stored, lookup(405)) is None
    assert fires("ECH-07", exchange({}, {}), lookup(404)) is None


def test_store_after_deletion_says_nothing() -> None:
    deleted = exchange(None, {"deleted": True}, role="delete", method="DELETE", path="/resp_1")
    assert fires("ECH-07", exchange({}, {"store": True}), deleted, lookup(404)) is None


def test_nulls() -> None:
    absent = exchange({"input": "a"}, {"temperature": 1.0}, role="absent")
    sent = {"input": "a", "temperature": None, "instructions": None}
    assert fires("ECH-08", absent, exchange(sent, {"temperature": 1.0, "instructions": None}, role="nulls")) is False
    assert fires("ECH-08", absent, exchange(sent, {"temperature": 0.0}, role="nulls")) is True
    assert fires("ECH-08", absent, exchange(sent, {"temperature": None}, role="nulls")) is False
    assert fires("ECH-08", absent, exchange(sent, {"error": {}}, role="nulls", status=400)) is True
    assert fires("ECH-08", absent, exchange(sent, {"error": {}}, role="nulls", status=429)) is None
    refused = exchange({"input": "a"}, {"error": {}}, role="absent", status=400)
    assert fires("ECH-08", refused, exchange(sent, {}, role="nulls")) is None


def test_fields_that_the_run_adds_are_not_sent_as_null() -> None:
    [planned] = [case for case in cases(CaseContext(load_dialect("northstar"), "m"), "full") if case.id == "echo.nulls"]
    make = planned.requests[1].body
    assert callable(make)
    body = make({"absent": exchange({"input": "a", "metadata": {"entity_id": "x"}}, {}, role="absent")})
    assert body["metadata"] == {"entity_id": "x"}
    assert body["temperature"] is None
    assert make({}) is None


def test_instructions_end() -> None:
    first = exchange({"input": "a", "instructions": "be brief"}, {"instructions": "be brief"}, role="first")
    follow = {"input": "b", "previous_response_id": "resp_1"}
    for back, found in (({"instructions": None}, False), ({}, False), ({"instructions": "be brief"}, True)):
        assert fires("ECH-09", first, exchange(follow, {**back, "id": "resp_2"}, role="second")) is found
    again = {**follow, "instructions": "be brief"}
    assert fires("ECH-09", first, exchange(again, {"id": "resp_2", "instructions": "be brief"}, role="second")) is None
