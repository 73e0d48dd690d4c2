"""The proof of the checks: every fault is caught by the rules it breaks, and clean endpoints break none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rejoinder.conformance.judgement import broken_rules, judge
from rejoinder.conformance.proof.kill import REQUIRED
from rejoinder.conformance.running.cases import CaseContext, bgr, err, iso, mem, par, roundtrip, sta, tol
from rejoinder.conformance.running.in_process import SECOND_KEY, ManualClock, run_in_process
from rejoinder.conformance.running.plan import Plan
from rejoinder.contract import dialect_names, load_dialect, load_rules
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Status, Verdict
from rejoinder.sandbox import FAULTS, Fault, Sandbox, faults, record, sample_requests
from rejoinder.strategies.replies import Event, event_streams, to_sse
from rejoinder.wire.target import Target

NOW = 1_760_000_000.0


# What these rules speak of takes requests that are made of earlier replies, as only the cases of plans are.
HISTORIC = {
    rule
    for rule in load_rules()
    if rule.partition("-")[0] in ("TOL", "STA", "BGR", "ISO", "MEM")
    or "ACC-13" <= rule <= "ACC-19"
    or rule in ("ERR-11", "HTTP-15")
}


MEMORIES = {fault.id for module in (faults.mem, faults.par) for fault in module.FAULTS}


OF_TURNS, OF_MEANING = (tol, sta, bgr, iso, err, roundtrip), (tol, mem, par)


@cache
def histories(dialect: str, modules: tuple[ModuleType, ...]) -> Plan:
    setting = CaseContext(load_dialect(dialect))
    found = (case for module in dict.fromkeys(modules) for case in module.cases(setting, "full"))
    # Of the many refusals those that are sent plain and streamed are enough.
    spared = ("refused.mutants", "refused.raw", "edge.")
    return Plan("histories", tuple(case for case in found if not case.id.startswith(spared)))


@cache
def judged(dialect: str, *faults: str) -> tuple[Verdict, ...]:
    """Return the verdicts on everything that a sandbox answers to the standard requests."""
    sandbox = Sandbox(dialect, faults, clock=lambda: NOW, hold=20)
    exchanges = []
    numbered = list(enumerate(sample_requests()))
    for place in range(0, len(numbered), 3):
        # Some faults show only when several requests are in flight together.
        told = [(f"x{i}", exercise, sandbox.handle(exercise.request)) for i, exercise in numbered[place : place + 3]]
        exchanges += [
            record(e.request, reply, id=name, case=e.case, role=e.role, tags=e.tags, started_at=NOW)
            for name, e, reply in told
        ]
    modules: tuple[ModuleType, ...] = () if faults else (*OF_TURNS, *OF_MEANING)
    for name in faults:
        # Only the cases that a fault can show in are sent: this runs for every fault in every dialect.
        modules += OF_MEANING if name in MEMORIES else OF_TURNS if FAULTS[name].breaks[0] in HISTORIC else ()
    if modules:
        clock = ManualClock(NOW)
        told_apart = Sandbox(dialect, faults, seed=1, clock=clock)
        target = Target("http://sandbox/v1/responses", dialect=dialect, second_key=SECOND_KEY)
        for batch in run_in_process(histories(dialect, modules), told_apart, target, clock):
            exchanges += batch
    return tuple(judge(exchanges, dialect, required=REQUIRED))


def fired(verdicts: Sequence[Verdict]) -> set[str]:
    return {verdict.rule for verdict in verdicts if verdict.findings}


def told(verdicts: Sequence[Verdict]) -> list[object]:
    return [finding for verdict in verdicts for finding in verdict.findings]


@pytest.mark.parametrize("dialect", dialect_names())
def test_a_clean_endpoint_breaks_no_rule(dialect: str) -> None:
    verdicts = judged(dialect)
    assert told(verdicts) == []
    assert {verdict.status for verdict in verdicts} <= {Status.PASS, Status.NOT_APPLICABLE}


@pytest.mark.parametrize("dialect", dialect_names())
def test_the_standard_requests_exercise_every_rule(dialect: str) -> None:
    """What no clean stream exercises could raise a false alarm that nobody sees; faults exercise the rest."""
    on = {verdict.rule for verdict in judged(dialect) if not load_rules()[verdict.rule].unchecked}
    missing = on - {verdict.rule for verdict in judged(dialect) if verdict.judged}
    for fault in FAULTS.values():
        if missing.intersection(fault.breaks) and dialect in (fault.dialects or (dialect,)):
            missing -= {verdict.rule for verdict in judged(dialect, fault.id) if verdict.judged}
    assert missing == set()


PAIRS = [(name, dialect) for name, fault in FAULTS.items() for dialect in fault.dialects or dialect_names()]


@pytest.mark.parametrize(("name", "dialect"), PAIRS, ids=[f"{name}-{dialect}" for name, dialect in PAIRS])
def test_a_fault_is_caught_by_the_rules_it_breaks(name: str, dialect: str) -> None:
    verdicts = judged(dialect, name)
    assert set(FAULTS[name].breaks) <= fired(verdicts)
    assert Status.ERROR not in {verdict.status for verdict in verdicts}


def test_every_check_is_proven_by_a_fault() -> None:
    proven = {rule for fault in FAULTS.values() for rule in fault.breaks}
    assert {rule.id for rule in load_rules().values() if not rule.unchecked} <= proven


# A server that is down after a bad request (HTTP-15) fails whatever comes next.
SINGLE = [fault for fault in FAULTS.values() if len(fault.breaks) == 1 and "HTTP-15" not in fault.breaks]


@pytest.mark.parametrize("fault", SINGLE, ids=lambda f: str(f.id))
def test_a_fault_of_one_rule_is_not_a_flood(fault: Fault) -> None:
    """A single defect must not look like a broken server: few other rules may fire with it."""
    dialect = (fault.dialects or tuple(dialect_names()))[0]
    others = fired(judged(dialect, fault.id)) - set(fault.breaks)
    assert len(others) <= 6, sorted(others)


def exchange_of(events: list[Event], dialect: str, ends: str = "\n") -> Exchange:
    body = to_sse(events, dialect=dialect).replace(b"\n", ends.encode())
    started = float(events[0]["response"]["created_at"])
    return Exchange(
        id="x",
        request=Request("POST", "/v1/responses", (), b'{"input":"Hi","stream":true}'),
        outcome=Outcome.COMPLETE,
        status=200,
        headers=(("content-type", "text/event-stream"),),
        chunks=(Chunk(0.1, body),),
        case="drawn",
        role="stream",
        started_at=started,
        ended_at=0.2,
    )


@pytest.mark.parametrize("dialect", dialect_names())
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_valid_streams_of_any_items_break_no_rule(dialect: str, data: st.DataObject) -> None:
    events = data.draw(event_streams(dialect=dialect, extensions=True))
    ends = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    exchange = exchange_of(events, dialect, ends)
    assert told(judge([exchange], dialect)) == []
    assert broken_rules(exchange, dialect) == []
