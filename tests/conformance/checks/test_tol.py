"""Tools: what binds, what excuses, and what a model may decline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.model.exchange import Exchange
from rejoinder.model.verdict import Status, Verdict

WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}


CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}


TEXT = {"type": "message", "id": "m", "role": "assistant", "content": [{"type": "output_text", "text": "Hi."}]}


def verdict(rule: str, *exchanges: Exchange) -> Verdict:
    [found] = judge(exchanges, "northstar", select=rule)
    return found


NAMED = {"type": "function", "name": "get_weather"}


ALLOWED = {"type": "allowed_tools", "mode": "required", "tools": [NAMED]}


@pytest.mark.parametrize(
    ("choice", "output", "status"),
    [
        ("none", [CALL], Status.FAIL),
        ("none", [TEXT], Status.PASS),
        ("auto", [TEXT], Status.NOT_APPLICABLE),
        ("required", [TEXT], Status.FAIL),
        ("required", [TEXT, CALL], Status.PASS),
        (NAMED, [TEXT], Status.FAIL),
        (NAMED, [CALL], Status.PASS),
        (NAMED, [{**CALL, "name": "get_time"}], Status.FAIL),
        (ALLOWED, [TEXT], Status.FAIL),
        (ALLOWED, [CALL], Status.PASS),
        # What is not declared cannot be called; TOL-10 speaks of that.
        ({"type": "function", "name": "other"}, [TEXT], Status.NOT_APPLICABLE),
    ],
)
def test_tool_choice_binds(
    replied: Callable[..., Exchange], choice: Any, output: list[dict[str, Any]], status: Status
) -> None:
    assert verdict("TOL-01", replied({"tools": [WEATHER], "tool_choice": choice}, output)).status is status


def test_a_missing_call_has_excuses(replied: Callable[..., Exchange]) -> None:
    asked = {"tools": [WEATHER], "tool_choice": "required", "max_output_tokens": 16}
    cut = replied(asked, [TEXT], usage={"output_tokens": 16})
    empty = replied(asked, [])
    refusal = replied(asked, [{**TEXT, "content": [{"type": "refusal", "refusal": "No."}]}])
    hosted = replied({**asked, "tools": [WEATHER, {"type": "web_search_preview"}]}, [TEXT])
    for excused in (cut, refusal, hosted):
        assert verdict("TOL-01", excused).status is Status.NOT_APPLICABLE
    assert verdict("TOL-01", empty).status is Status.FAIL


def test_calls_that_the_server_answers_itself_need_not_be_declared(replied: Callable[..., Exchange]) -> None:
    inner = [{**CALL, "name": "search"}, {"type": "function_call_output", "call_id": "call_1", "output": "x"}, TEXT]
    assert verdict("TOL-04", replied({"tools": [WEATHER]}, inner)).status is Status.NOT_APPLICABLE
    assert verdict("TOL-04", replied({"tools": [WEATHER]}, inner[:1])).status is Status.FAIL


def test_a_tool_of_another_type_is_named_with_its_type(replied: Callable[..., Exchange]) -> None:
    note = {"type": "custom", "name": "get_weather"}
    reply = replied({"tools": [note], "tool_choice": note}, [CALL])
    for rule, reason in (
        ("TOL-01", "although tool_choice names custom tool get_weather."),
        ("TOL-04", "but the request does not declare it."),
    ):
        [finding] = verdict(rule, reply).findings
        assert finding.evidence.message == f"Function tool get_weather is called, {reason}"


@pytest.mark.parametrize(
    ("identity", "status"),
    [("c" * 64, Status.PASS), ("c" * 65, Status.PASS), ("", Status.FAIL), (None, Status.FAIL), (7, Status.FAIL)],
)
def test_call_ids(replied: Callable[..., Exchange], identity: Any, status: Status) -> None:
    assert verdict("TOL-05", replied({}, [{**CALL, "call_id": identity}])).status is status


@pytest.mark.parametrize(("length", "found"), [(64, False), (65, True)])
def test_call_ids_fit_into_an_input(
    replied: Callable[..., Exchange], fires: Callable[..., bool | None], length: int, found: bool
) -> None:
    assert fires("TOL-14", replied({}, [{**CALL, "call_id": "c" * length}]), dialect="openai") is found


def test_call_ids_are_unique_in_their_response(replied: Callable[..., Exchange]) -> None:
    assert verdict("TOL-05", replied({}, [CALL, CALL])).status is Status.FAIL
    assert verdict("TOL-05", replied({}, [CALL]), replied({}, [CALL])).status is Status.PASS


@pytest.mark.parametrize(
    ("status", "found"),
    [(400, Status.PASS), (422, Status.PASS), (200, Status.WARN), (500, Status.WARN), (503, Status.NOT_APPLICABLE)],
)
def test_what_must_be_refused(replied: Callable[..., Exchange], status: int, found: Status) -> None:
    asked = {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "other"}}
    refusal = replied(asked, [], status=status, tags=("TOL-10",))
    named = {"type": "function", "name": "get_weather"}
    control = replace(replied({**asked, "tool_choice": named}, [TEXT]), role="control")
    assert verdict("TOL-10", control, refusal).status is found


@pytest.mark.parametrize("status", [400, 404, 500, 501])
def test_what_is_refused_for_another_reason_says_nothing(replied: Callable[..., Exchange], status: int) -> None:
    asked = {"tools": [WEATHER], "tool_choice": {"type": "function", "name": "other"}}
    refusal = replied(asked, [], status=500, tags=("TOL-10",))
    control = replace(replied({"tools": [WEATHER]}, [], status=status), role="control")
    assert verdict("TOL-10", control, refusal).status is not Status.WARN
    assert verdict("TOL-10", refusal).status is Status.NOT_APPLICABLE


def test_output_items_sent_back_say_nothing_where_no_list_is_answered(replied: Callable[..., Exchange]) -> None:
    question = {"role": "user", "content": "Hi."}
    first = replace(replied({"input": "Hi."}, [TEXT]), id="x1", case="tools.sent-back", role="first")

    def sent_back(*items: dict[str, Any]) -> Exchange:
        sent = replied({"input": [question, *items]}, [])
        return replace(sent, id="x2", case="tools.sent-back", role="sent-back", status=400)

    listed = replace(replied({"input": [question]}, [TEXT]), id="x3", case="other")
    assert verdict("TOL-06", first, sent_back(TEXT)).judged == 0
    assert verdict("TOL-06", first, sent_back(TEXT), listed).status is Status.FAIL
    assert verdict("TOL-06", first, sent_back(question), listed).judged == 0


BOOKING = {
    "type": "object",
    "properties": {"seats": {"type": "integer"}, "quiet": {"type": "boolean"}, "place": {"type": "object"}},
}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ('{"seats": 3, "quiet": true, "place": {}}', Status.PASS),
        ('{"seats": "3"}', Status.WARN),
        ('{"quiet": "true"}', Status.WARN),
        ('{"place": "{}"}', Status.WARN),
        # A string that is no JSON of the type is what the model made of it.
        ('{"seats": "three"}', Status.PASS),
        ('{"quiet": "1"}', Status.PASS),
        ('{"other": "3"}', Status.NOT_APPLICABLE),
    ],
)
def test_loose_arguments(replied: Callable[..., Exchange], arguments: str, status: Status) -> None:
    tool = {**WEATHER, "parameters": BOOKING, "strict": False}
    called = {**CALL, "arguments": arguments}
    assert verdict("TOL-17", replied({"tools": [tool]}, [called])).status is status
    assert verdict("TOL-17", replied({"tools": [{**tool, "strict": True}]}, [called])).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("inline", "reference", "status"),
    [
        (200, 200, Status.PASS),
        (200, 400, Status.WARN),
        (400, 400, Status.NOT_APPLICABLE),
        (200, 429, Status.NOT_APPLICABLE),
    ],
)
def test_local_references(replied: Callable[..., Exchange], inline: int, reference: int, status: Status) -> None:
    exchanges = [
        replace(replied({}, [TEXT], status=code), id=role, role=role)
        for role, code in (("format-inline", inline), ("format-reference", reference))
    ]
    assert verdict("TOL-18", *exchanges).status is status


@pytest.mark.parametrize(("most", "status"), [(1, Status.FAIL), (2, Status.PASS), (None, Status.NOT_APPLICABLE)])
def test_max_tool_calls(replied: Callable[..., Exchange], most: int | None, status: Status) -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "a"},
    }
    output = [search, {**search, "id": "ws_2"}, TEXT, CALL]
    assert verdict("TOL-19", replied({"max_tool_calls": most}, output)).status is status


@pytest.mark.parametrize(
    ("rule", "role"),
    [("TOL-20", "empty-auto"), ("TOL-20", "empty-none"), ("TOL-21", "special-names"), ("TOL-22", "refusal")],
)
@pytest.mark.parametrize(
    ("control", "code", "status"),
    [
        (200, 200, Status.PASS),
        (200, 400, Status.WARN),
        (400, 400, Status.NOT_APPLICABLE),
        (200, 503, Status.NOT_APPLICABLE),
    ],
)
def test_forms_beside_a_control(
    replied: Callable[..., Exchange], rule: str, role: str, control: int, code: int, status: Status
) -> None:
    exchanges = [
        replace(replied({}, [TEXT], status=one), id=name, role=name)
        for name, one in (("control", control), (role, code))
    ]
    assert verdict(rule, *exchanges).status is status
