"""The faults: each shows somewhere, breaks what it says, and does nothing when it is off."""

from __future__ import annotations

import re
from functools import cache

import pytest

from rejoinder.contract import dialect_names, load_rules
from rejoinder.exchange import Exchange, Outcome
from rejoinder.sandbox import FAULTS, Fault, Sandbox, exercises, post
from rejoinder.verdict import Level

NOW = 1_700_000_000.0
COUNTED = "terminal-missing-at-times"


def dialects_of(fault: Fault) -> tuple[str, ...]:
    return fault.dialects or tuple(dialect_names())


@cache
def recorded(dialect: str) -> tuple[Exchange, ...]:
    sandbox = Sandbox(dialect, clock=lambda: NOW)
    return tuple(sandbox.exchange(exercise.request) for exercise in exercises())


def shown(exchange: Exchange) -> tuple[object, ...]:
    """Return what a client sees of an exchange."""
    return (exchange.status, exchange.headers, exchange.body, exchange.outcome, exchange.ended_at)


PAIRS = [(fault.id, dialect) for fault in FAULTS.values() for dialect in dialects_of(fault)]


@pytest.mark.parametrize(("name", "dialect"), PAIRS)
def test_a_fault_shows(name: str, dialect: str) -> None:
    sandbox = Sandbox(dialect, [name], clock=lambda: NOW)
    pairs = zip(exercises(), recorded(dialect), strict=True)
    assert any(shown(sandbox.exchange(exercise.request)) != shown(clean) for exercise, clean in pairs)


@pytest.mark.parametrize("name", [fault.id for fault in FAULTS.values() if fault.condition])
def test_a_conditional_fault_does_not_show_otherwise(name: str) -> None:
    fault = FAULTS[name]
    dialect = dialects_of(fault)[0]
    sandbox = Sandbox(dialect, [name], clock=lambda: NOW)
    hidden = 0
    for exercise, clean in zip(exercises(), recorded(dialect), strict=True):
        probe = Sandbox(dialect, [name])._occasion(exercise.request, "create")
        exchange = sandbox.exchange(exercise.request)
        if name != COUNTED and not fault.when(probe):
            hidden += 1
            assert shown(exchange) == shown(clean)
    assert hidden or name == COUNTED


def test_every_nth_request_is_counted() -> None:
    sandbox = Sandbox(faults=[COUNTED])
    cut = [b"response.completed" not in sandbox.exchange(post({"input": "x", "stream": True})).body for _ in range(6)]
    assert cut == [False, False, True, False, False, True]


def test_faults_can_be_combined() -> None:
    names = ["sequence-numbers-missing", "usage-missing", "event-names-missing", "sentinel-twice"]
    body = Sandbox(faults=names).exchange(post({"input": "x", "stream": True})).body
    assert b"sequence_number" not in body
    assert b'"usage":{' not in body
    assert b"event:" not in body
    assert body.count(b"[DONE]") == 2


def test_stored_responses_are_not_damaged_by_a_fault() -> None:
    sandbox = Sandbox(faults=["final-output-empty"])
    sandbox.exchange(post({"input": "x", "stream": True, "request_id": "one"}))
    response = sandbox.exchange(post({"input": "y", "previous_response_id": "one"})).json()
    assert "x" in response["output"][0]["content"][0]["text"]


def test_the_connection_can_be_cut_or_held() -> None:
    cut = Sandbox(faults=["connection-cut"]).exchange(post({"input": "x y z", "stream": True}))
    assert cut.outcome is Outcome.CUT
    assert not cut.body.endswith(b"\n\n")
    held = Sandbox(faults=["connection-held-open"], hold=12).exchange(post({"input": "x", "stream": True}))
    assert held.ended_at - held.chunks[-1].t == 12


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_described(fault: Fault) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fault.id)
    assert fault.title.endswith(".")
    assert fault.levels or fault.fails
    rules = load_rules()
    assert fault.breaks
    for rule in fault.breaks:
        for dialect in dialects_of(fault):
            assert rules[rule].level_in(dialect) is not Level.OFF, (rule, dialect)


def test_every_checked_rule_has_a_fault() -> None:
    broken = {rule for fault in FAULTS.values() for rule in fault.breaks}
    assert {rule.id for rule in load_rules().values() if not rule.unchecked} <= broken
