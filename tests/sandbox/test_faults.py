"""The faults: each shows somewhere, breaks what it says, and does nothing when it is off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from itertools import zip_longest

import pytest

from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases import CASES
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan
from rejoinder.contract import dialect_names, load_dialect, load_rules
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.verdict import Level
from rejoinder.sandbox import FAULTS, Fault, RequestInfo, Sandbox, post, record, sample_requests

pytestmark = pytest.mark.slow(0.1)

NOW = 1_700_000_000.0
COUNTED = "terminal-missing-at-times"


def dialects_of(fault: Fault) -> tuple[str, ...]:
    return fault.dialects or tuple(dialect_names())


def answers(sandbox: Sandbox) -> Iterator[Exchange]:
    """Yield what the sandbox answers to the standard requests, three of which are in flight at a time."""
    requests = standard_requests(sandbox.dialect.reference)
    for place in range(0, len(requests), 3):
        sent = [(request, sandbox.handle(request)) for request in requests[place : place + 3]]
        yield from [record(request, reply, id="x") for request, reply in sent]


@cache
def standard_requests(dialect: str) -> tuple[Request, ...]:
    return tuple(sample.request for sample in sample_requests(dialect))


class Watched(Sandbox):
    """Keeps the requests as faults see them."""

    def __init__(self, dialect: str, fault: str) -> None:
        super().__init__(dialect, [fault], clock=lambda: NOW)
        self.requests: list[RequestInfo] = []

    def _info(self, request: Request, operation: str) -> RequestInfo:
        self.requests.append(super()._info(request, operation))
        return self.requests[-1]


def alone(info: RequestInfo) -> bool:
    """Return whether the request refers to no earlier one, which the fault may have changed."""
    return info.operation == "create" and not {"previous_response_id", "conversation"} & set(info.body)


@cache
def recorded(dialect: str) -> tuple[Exchange, ...]:
    return tuple(answers(Sandbox(dialect, clock=lambda: NOW)))


def shown(exchange: Exchange) -> tuple[object, ...]:
    """Return what a client sees of an exchange."""
    return (exchange.status, exchange.headers, exchange.body, exchange.outcome, exchange.ended_at)


@cache
def planned(dialect: str, family: str) -> Plan:
    return Plan(family, tuple(CASES[family](CaseContext(load_dialect(dialect), models=("parrot",)), "full")))


def shown_in_cases(dialect: str, family: str, *names: str) -> Iterator[tuple[object, ...]]:
    clock = ManualClock(NOW)
    target = sandbox_target(dialect, model=None)
    for batch in run_in_process(planned(dialect, family), Sandbox(dialect, names, clock=clock), target, clock):
        yield from map(shown, batch)


@cache
def shown_without_fault(dialect: str, family: str) -> list[tuple[object, ...]]:
    return list(shown_in_cases(dialect, family))


PAIRS = [(fault.id, dialect) for fault in FAULTS.values() for dialect in dialects_of(fault)]


@pytest.mark.parametrize(("name", "dialect"), PAIRS)
def test_a_fault_shows(name: str, dialect: str) -> None:
    """Some show in what is made of earlier replies only, as in the cases of the family that they are proven by.

    One difference is enough, so what follows it is not sent.
    """
    found = map(shown, answers(Sandbox(dialect, [name], clock=lambda: NOW)))
    if not differ(found, map(shown, recorded(dialect))):
        own = [rule.partition("-")[0] for rule in FAULTS[name].breaks]
        assert any(
            differ(shown_in_cases(dialect, family, name), shown_without_fault(dialect, family))
            for family in sorted(CASES, key=lambda family: family not in own)
        )


def differ(found: Iterable[tuple[object, ...]], clean: Iterable[tuple[object, ...]]) -> bool:
    return any(one != other for one, other in zip_longest(found, clean))


@pytest.mark.parametrize("family", CASES)
def test_without_a_fault_cases_are_answered_alike(family: str) -> None:
    assert list(shown_in_cases("northstar", family)) == list(shown_in_cases("northstar", family))


@pytest.mark.parametrize("name", [fault.id for fault in FAULTS.values() if fault.condition])
def test_a_conditional_fault_does_not_show_otherwise(name: str) -> None:
    fault = FAULTS[name]
    dialect = dialects_of(fault)[0]
    sandbox = Watched(dialect, name)
    sent = zip(answers(sandbox), recorded(dialect), sandbox.requests, strict=True)
    hidden = [(exchange, clean) for exchange, clean, info in sent if not fault.when(info) and alone(info)]
    assert hidden
    for exchange, clean in hidden:
        assert shown(exchange) == shown(clean)


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
    hooks = [field.name for field in fields(fault) if field.default is None]
    assert fault.fails or fault.replaces or any(getattr(fault, hook) is not None for hook in hooks)
    rules = load_rules()
    assert fault.breaks
    for rule in fault.breaks:
        for dialect in dialects_of(fault):
            assert rules[rule].level_in(dialect) is not Level.OFF, (rule, dialect)
