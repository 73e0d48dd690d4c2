"""The state machine against the sandbox: silent where it is correct, the shortest sequence where it has a fault."""

from __future__ import annotations

import re
import unittest
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import InvalidArgument
from hypothesis.stateful import run_state_machine_as_test
from tests.sandbox_transport import reach

from rejoinder.conformance import ConversationMachine, conversation_machine
from rejoinder.conformance.running.in_process import ManualClock
from rejoinder.contract import dialect_names
from rejoinder.errors import ContractError, UnreachableError
from rejoinder.model.exchange import Request
from rejoinder.sandbox import Sandbox, app

STEPS = settings(
    max_examples=60,
    stateful_step_count=10,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


def machine(dialect: str, *faults: str, **options: Any) -> type[ConversationMachine]:
    clock = ManualClock()
    sandbox = Sandbox(dialect, faults, clock=clock)
    return conversation_machine(reach(sandbox, clock), dialect=dialect, sleep=clock.elapse, **options)


def failure(dialect: str, fault: str, **options: Any) -> str:
    """Return what the test of a sandbox with a fault says."""
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(machine(dialect, fault, **options), settings=STEPS)
    return str(caught.value)


def sequence(message: str) -> list[str]:
    """Return the sequence in a message, in short: method and operation, with what is special about a body."""
    found = []
    for line in re.findall(r"^  \d+(?: to \d+)?\. (.*)$", message, re.MULTILINE):
        method, path, body = re.findall(r"^([A-Z]+) /v1/responses(?:/\{.*?\})?(\S*) ?(.*)", line)[0]
        special = [name for name in ("background", "stream", "store", "previous_response_id") if f'"{name}"' in body]
        below = re.sub(r"^/resp_\w+", "?", path).strip("/")
        found.append(" ".join([method, *filter(None, [below]), *special]))
    return found


@pytest.mark.slow(8)
@pytest.mark.parametrize("dialect", dialect_names())
def test_a_correct_endpoint_fails_no_rule(dialect: str) -> None:
    run_state_machine_as_test(machine(dialect, level="SHOULD"), settings=STEPS)


@pytest.mark.slow(15)
@pytest.mark.parametrize(
    ("dialect", "fault", "rule", "expected"),
    [
        ("northstar", "unknown-response-breaks-server", "STA-02", ["POST", "GET ?"]),
        ("openai", "delete-without-effect", "STA-03", ["POST", "DELETE", "GET"]),
        ("northstar", "previous-response-ignored", "STA-06", ["POST", "POST previous_response_id"]),
        (
            "northstar",
            "siblings-share-history",
            "STA-09",
            ["POST", "POST previous_response_id", "POST previous_response_id"],
        ),
        ("northstar", "unstored-can-be-continued", "STA-14", ["POST store", "POST previous_response_id"]),
        ("northstar", "continued-too-early", "STA-15", ["POST", "POST previous_response_id"]),
        ("northstar", "background-goes-back", "BGR-03", ["POST background", "GET", "GET"]),
        ("northstar", "cancel-without-effect", "BGR-04", ["POST background", "POST cancel", "GET", "GET"]),
        ("northstar", "foreground-can-be-cancelled", "BGR-07", ["POST", "POST cancel"]),
        ("openai", "deleted-can-be-continued", "MEM-14", ["POST", "DELETE", "GET", "POST previous_response_id"]),
    ],
)
def test_a_fault_is_found_with_the_shortest_sequence(dialect: str, fault: str, rule: str, expected: list[str]) -> None:
    message = failure(dialect, fault, select=rule, level="SHOULD")
    assert message.startswith("1 rule of dialect ")
    assert f"failed: {rule}\n" in message
    assert sequence(message) == expected


@pytest.mark.slow(4)
def test_a_lost_history_is_shown_with_the_same_history_in_one_request() -> None:
    asked = "POST previous_response_id"
    message = failure("northstar", "continued-without-input", select="STA-*")
    assert sequence(message) == ["POST", asked, "POST", asked]
    assert "STA-08 (MUST)" in message


@pytest.mark.slow(2)
def test_the_message_names_the_requests_their_replies_and_how_to_send_them_again() -> None:
    lines = failure("openai", "delete-without-effect", select="STA-03").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("The sequence (3 requests)"))
    shown = lines[start + 1 :]
    assert re.fullmatch(r'  1\. POST /v1/responses \{.*"The code word is quartz-\d{4}\. .*\}', shown[0])
    assert shown[1] == '     -> 200 status "completed"'
    assert shown[2:4] == ["  2. DELETE /v1/responses/{reply 1 /id}", "     -> 200"]
    assert lines[-1] == "To send it again, run the same test: Hypothesis replays a failure first."


def test_instructions_that_stay_are_found() -> None:
    message = failure("northstar", "instructions-heard-in-next-turn", select="MEM-15")
    first, *later = sequence(message)
    assert first == "POST"
    assert 1 <= len(later) <= 2
    assert set(later) == {"POST previous_response_id"}


def test_a_reply_that_breaks_a_rule_alone_is_found_in_the_survey() -> None:
    message = failure("northstar", "sequence-numbers-missing")
    assert "EVT-02" in message.splitlines()[0]


def test_what_the_endpoint_lacks_is_sent_once_and_not_accused() -> None:
    sent: list[Request] = []
    clock = ManualClock()
    sandbox = Sandbox("openai", clock=clock)

    def refuse(request: httpx.Request) -> httpx.Response | None:
        path = request.url.path
        if request.method == "DELETE" or path.endswith(("/input_items", "/cancel")):
            return httpx.Response(405, json={"error": {"type": "x", "message": "No.", "code": None, "param": None}})
        return None

    made = conversation_machine(
        reach(sandbox, clock, sent.append, refuse), dialect="openai", sleep=clock.elapse, select="STA-*,BGR-*,MEM-*"
    )
    run_state_machine_as_test(made, settings=settings(STEPS, max_examples=15))
    refused = [request for request in sent if request.method == "DELETE" or request.path.endswith(("items", "cancel"))]
    refused = [request for request in refused if "/conversations" not in request.path]
    assert sorted((request.method, request.path.rpartition("/")[2]) for request in refused)[1:] == [
        ("GET", "input_items"),
        ("POST", "cancel"),
    ]
    supported = made.session.begin().supported
    assert not {"delete", "cancel", "input_items", "delete_conversation", "delete_conversation_item"} & supported
    assert {"background", "continue", "reference", "retrieve", "stream"} <= supported


@pytest.mark.slow(4)
def test_responses_are_deleted_in_the_end() -> None:
    sent: list[Request] = []
    clock = ManualClock()
    sandbox = Sandbox("openai", clock=clock)
    made = conversation_machine(reach(sandbox, clock, sent.append), dialect="openai", sleep=clock.elapse)
    run_state_machine_as_test(made, settings=settings(STEPS, max_examples=5))
    first = next(request for request in sent if request.path == "/v1/responses")
    left = sandbox._store._responses
    assert len(left) <= 1, "the request that finds the endpoint makes the only one that stays"
    assert b"Hi" in first.body


@pytest.mark.slow(4)
def test_the_test_case_runs_on_an_asgi_application() -> None:
    test = conversation_machine(app(Sandbox()), select="STA-02").TestCase
    test.settings = settings(STEPS, max_examples=2, stateful_step_count=4)
    result = unittest.TestResult()
    unittest.TestSuite([test("runTest")]).run(result)
    assert result.testsRun == 1
    assert result.wasSuccessful(), result.failures + result.errors


def test_a_dialect_of_a_file_is_tested_like_a_shipped_one(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    clock = ManualClock()
    made = conversation_machine(reach(Sandbox(str(file), clock=clock), clock), dialect=file, sleep=clock.elapse)
    run_state_machine_as_test(made, settings=settings(STEPS, max_examples=5))
    assert made.session.connection.dialect.name == "own"


OWN = """
name = "own"
title = "own API"
summary = "For tests."
base = "northstar"
source = "a test"
"""


def test_an_endpoint_that_is_not_there_is_an_error_of_its_own() -> None:
    made = conversation_machine("http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="Cannot connect"):
        run_state_machine_as_test(made, settings=STEPS)


def test_wrong_arguments_are_refused_at_once() -> None:
    endpoint: Any = 7
    with pytest.raises(InvalidArgument, match="not a URL"):
        conversation_machine(endpoint)
    with pytest.raises(InvalidArgument, match="MUST or SHOULD"):
        conversation_machine("http://127.0.0.1:9", level="must")
    with pytest.raises(ContractError, match="none"):
        conversation_machine("http://127.0.0.1:9", dialect="none")
