"""Conversations and compaction in the state machine: each rule with a fault, and dialects without the operations."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from tests.sandbox_transport import reach

from rejoinder.conformance import ConversationMachine, conversation_machine
from rejoinder.conformance.running.in_process import ManualClock
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Request
from rejoinder.sandbox import Sandbox

STEPS = settings(
    max_examples=150,
    stateful_step_count=10,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SHORTEST = settings(STEPS, phases=[Phase.generate, Phase.shrink])
SENT = list[tuple[str, str]]


def machine(dialect: str, *faults: str, sent: SENT | None = None, **options: Any) -> type[ConversationMachine]:
    """Return the machine for a sandbox in this process; ``sent`` gets method and path of each request."""
    clock = ManualClock()
    sandbox = Sandbox(dialect, faults, clock=clock, **options.pop("sandbox", {}))

    def watch(request: Request) -> None:
        if sent is not None:
            sent.append((request.method, request.path))

    return conversation_machine(reach(sandbox, clock, watch), dialect=dialect, sleep=clock.elapse, **options)


def failure(dialect: str, fault: str, how: settings = STEPS, **options: Any) -> str:
    """Return what the test of a sandbox with a fault says."""
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(machine(dialect, fault, **options), settings=how)
    return str(caught.value)


def sequence(message: str) -> list[str]:
    """Return the sequence in a message: method and path of each request, ids as question marks."""
    lines = re.findall(r"^  \d+(?: to \d+)?\. (.*)$", message, re.MULTILINE)
    return [" ".join(re.sub(r"\{reply[^}]*\}", "?", line).split(" ")[:2]) for line in lines]


@pytest.mark.slow(20)
@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("conversation-loses-metadata", "STA-17"),
        ("conversation-not-updated", "STA-17"),
        ("conversation-items-ascending", "STA-18"),
        ("conversation-items-with-gap", "STA-18"),
        ("added-items-renumbered", "STA-18"),
        ("conversation-item-confused", "STA-18"),
        ("item-delete-takes-next", "STA-18"),
        ("conversation-not-extended", "STA-19"),
        ("conversation-without-output", "STA-19"),
        ("conversation-not-read", "STA-20"),
        ("conversation-delete-without-effect", "STA-21"),
        ("item-delete-without-effect", "STA-21"),
        ("unknown-conversation-breaks-server", "STA-22"),
        ("response-in-unknown-conversation-breaks-server", "STA-23"),
        ("two-histories-accepted", "STA-07"),
        ("two-histories-break-server", "STA-07"),
    ],
)
def test_a_fault_of_conversations_is_found(fault: str, rule: str) -> None:
    message = failure("openai", fault, select=rule, level="SHOULD")
    assert f"failed: {rule}\n" in message


@pytest.mark.slow(10)
@pytest.mark.parametrize("dialect", ["openai", "openresponses"])
@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("compaction-without-item", "STA-25"),
        ("compacted-input-refused", "STA-13"),
        ("unknown-response-compacted", "STA-06"),
    ],
)
def test_a_fault_of_compaction_is_found(fault: str, rule: str, dialect: str) -> None:
    message = failure(dialect, fault, select=rule, level="SHOULD")
    assert f"failed: {rule}\n" in message


@pytest.mark.slow(4)
@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("compaction-item-first", "STA-26"),
        ("compaction-loses-user-messages", "STA-26"),
        ("compaction-loses-user-messages", "STA-27"),
    ],
)
def test_a_compaction_that_loses_messages_is_found(fault: str, rule: str) -> None:
    assert f"failed: {rule}\n" in failure("openai", fault, select=rule, level="SHOULD")


@pytest.mark.slow(2)
def test_the_sequence_is_the_shortest() -> None:
    message = failure("openai", "conversation-delete-without-effect", SHORTEST, select="STA-21")
    assert sequence(message) == ["POST /v1/conversations", "DELETE /v1/conversations/?", "GET /v1/conversations/?"]


@pytest.mark.slow(6)
@pytest.mark.parametrize("dialect", dialect_names())
def test_only_operations_of_the_dialect_are_requested(dialect: str) -> None:
    sent: SENT = []
    made = machine(dialect, sent=sent, select="STA-*")
    run_state_machine_as_test(made, settings=settings(STEPS, max_examples=30))
    operations = load_dialect(dialect).operations
    known = {
        name for name, one in operations.items() if any(one.match(method, path) is not None for method, path in sent)
    }
    talks = {name for name in operations if "conversation" in name}
    assert known >= talks | ({"compact"} & operations.keys())
    assert any("/conversations" in path for _, path in sent) is bool(talks)
    assert any(path.endswith("/compact") for _, path in sent) is ("compact" in operations)


@pytest.mark.slow(2)
def test_conversations_are_deleted_in_the_end() -> None:
    sent: SENT = []
    made = machine("openai", sent=sent, select="STA-*")
    run_state_machine_as_test(made, settings=settings(STEPS, max_examples=15))
    created = sum((method, path) == ("POST", "/v1/conversations") for method, path in sent)
    gone = {path for method, path in sent if method == "DELETE" and re.fullmatch(r"/v1/conversations/conv_\w+", path)}
    assert created > 1
    # Some deletes are for conversations that never were.
    assert len(gone) >= created


FREEDOMS = [
    "conversation-metadata-null",
    "empty-pages-with-empty-ids",
    "unknown-conversation-bad-request",
    "other-operations-extra-fields",
    "compaction-extra-fields",
    "listed-items-extra-fields",
]


@pytest.mark.slow(6)
@pytest.mark.parametrize("freedom", FREEDOMS)
def test_a_freedom_of_conversations_fails_no_rule(freedom: str) -> None:
    made = machine("openai", sandbox={"freedoms": [freedom]}, level="SHOULD")
    run_state_machine_as_test(made, settings=settings(STEPS, max_examples=20))


@pytest.mark.slow(1)
def test_a_compaction_that_keeps_no_message_is_no_fault_where_it_is_open() -> None:
    made = machine("openresponses", sandbox={"freedoms": ["compaction-item-only"]}, level="SHOULD")
    run_state_machine_as_test(made, settings=settings(STEPS, max_examples=30))
