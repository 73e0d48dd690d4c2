"""The proof of the checks: every fault is caught by the rules it breaks, and clean endpoints break none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rejoinder.conformance.judgement import broken_rules, judge, judge_run
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.proof.matrix import REQUIRED, SandboxSetup, observe
from rejoinder.conformance.running.case import CaseContext, PlannedCase
from rejoinder.conformance.running.cases import CASES
from rejoinder.conformance.running.in_process import InProcessSender, ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.isolate import ISOLATION_BUDGETS, isolate
from rejoinder.conformance.running.plan import Plan, is_undisputed
from rejoinder.contract import dialect_names, load_dialect, load_rules
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import ABSENT, Finding, Level, Status, Verdict
from rejoinder.sandbox import FAULTS, Fault, SampleRequest, Sandbox, post, record, sample_requests
from rejoinder.strategies.replies import Event, event_streams, to_sse

pytestmark = pytest.mark.slow(0.2)

NOW = 1_760_000_000.0
ALL_FAMILIES = frozenset(CASES)
MODELS = ("parrot",)  # what GET /v1/models lists


@cache
def cases_of(dialect: str, families: frozenset[str]) -> Plan:
    """Return the cases of some families of rules, with a few of the many refusals and the controls of all of them."""
    context = CaseContext(load_dialect(dialect), models=MODELS)
    found = (case for family in CASES if family in families for case in CASES[family](context, "full"))
    sent = (case for case in found if is_undisputed(case, context) and not case.id.startswith("refused.raw"))
    return Plan("families", tuple(map(without_mutants, sent)))


def without_mutants(case: PlannedCase) -> PlannedCase:
    """Return the case with only the controls of its mutants, which other cases need to be judged."""
    if not case.id.startswith("refused.mutants"):
        return case
    return replace(case, requests=tuple(r for r in case.requests if r.role in (Role.CONTROL, Role.CONTROL_STREAM)))


@cache
def standard_requests(dialect: str) -> tuple[SampleRequest, ...]:
    return tuple(sample_requests(dialect))


def exchanges_of_samples(dialect: str, *faults: str) -> Iterator[Exchange]:
    sandbox = Sandbox(dialect, faults, clock=lambda: NOW, hold=20)
    numbered = list(enumerate(standard_requests(dialect)))
    for place in range(0, len(numbered), 3):
        # Some faults show only when several requests are in flight together.
        sent = [(f"x{i}", sample, sandbox.handle(sample.request)) for i, sample in numbered[place : place + 3]]
        for name, sample, reply in sent:
            yield record(
                sample.request, reply, id=name, case=sample.case, role=sample.role, tags=sample.tags, started_at=NOW
            )
    if "compact" in sandbox.dialect.operations:
        yield refused_compaction(sandbox)


def refused_compaction(sandbox: Sandbox) -> Exchange:
    """Return a refused request to compact, which neither plans nor the sandbox have, with the error of a create."""
    reply = sandbox.handle(post({"input": "Hi", "tool_choice": "sometimes"}))
    compact = Request("POST", "/v1/responses/compact", (("content-type", "application/json"),), b"{}")
    return record(compact, reply, id="compact", case="refused-compaction", role="compact", started_at=NOW)


def exchanges_of_cases(
    dialect: str, *faults: str, families: frozenset[str] = ALL_FAMILIES, isolating: bool = False
) -> Iterator[Exchange]:
    """Yield what a sandbox answers to the cases, and if wanted to what is sent to isolate its refusals, as in a run."""
    clock = ManualClock(NOW)
    sandbox = Sandbox(dialect, faults, seed=1, clock=clock)
    target = sandbox_target(dialect, model=None)
    exchanges = [e for batch in run_in_process(cases_of(dialect, families), sandbox, target, clock) for e in batch]
    yield from exchanges
    if isolating:
        sender = InProcessSender(sandbox, target, clock)
        asyncio.run(isolate(sender, load_dialect(dialect), None, exchanges, ISOLATION_BUDGETS["full"]))
        yield from sender.sent


@cache
def of_a_clean_endpoint(dialect: str, families: frozenset[str] = frozenset()) -> Mapping[str, list[Exchange]]:
    """Return what a sandbox without faults answers to the sample requests and to the cases, by case."""
    cases = exchanges_of_cases(dialect, families=families) if families else ()
    return by_case([*exchanges_of_samples(dialect), *cases])


def by_case(exchanges: Iterable[Exchange]) -> Mapping[str, list[Exchange]]:
    found: dict[str, list[Exchange]] = {}
    for exchange in exchanges:
        found.setdefault(exchange.case, []).append(exchange)
    return found


@cache
def judged_clean(dialect: str) -> list[Verdict]:
    """Return the verdicts on what a sandbox without faults answers to all that these tests send."""
    exchanges = [*exchanges_of_samples(dialect), *exchanges_of_cases(dialect, isolating=True)]
    return judge(exchanges, dialect, required=REQUIRED)


def judged(dialect: str, fault: str) -> list[Verdict]:
    """Return the verdicts on the fewest exchanges in which a fault breaks its rules, or on all.

    This runs for every fault in every dialect, so the sample requests come first, then the cases of the families of its
    rules, and then all cases. What a sandbox without faults answers in the same way breaks no rule, and is left out
    unless the rules are about a whole run, or about what a run isolates.
    """
    breaks = set(FAULTS[fault].breaks)
    own = frozenset(rule.partition("-")[0] for rule in breaks)
    samples = [*exchanges_of_samples(dialect, fault)]
    verdicts = judged_where_changed(samples, dialect, breaks)
    for families in (own, ALL_FAMILIES):
        if not breaks <= fired(verdicts):
            cases = exchanges_of_cases(dialect, fault, families=families)
            verdicts = judged_where_changed([*samples, *cases], dialect, breaks, families)
    for families in (own, ALL_FAMILIES):
        if not breaks <= fired(verdicts):
            cases = exchanges_of_cases(dialect, fault, families=families, isolating=True)
            verdicts = judge([*samples, *cases], dialect, required=REQUIRED)
    return verdicts


def judged_where_changed(
    exchanges: Sequence[Exchange], dialect: str, breaks: set[str], families: frozenset[str] = frozenset()
) -> list[Verdict]:
    """Return the verdicts on the cases that a sandbox without faults answers otherwise.

    They are judged as a run of their own, and as a part of the whole run if that does not break the rules.
    """
    clean = of_a_clean_endpoint(dialect, families)
    changed = [e for case, found in by_case(exchanges).items() if found != clean.get(case) for e in found]
    verdicts = judge(changed, dialect)
    if breaks <= fired(verdicts):
        return verdicts
    _, context = judge_run(exchanges, dialect, select="")
    return judge(changed, dialect, run_context=context)


def fired(verdicts: Sequence[Verdict]) -> set[str]:
    return {verdict.rule for verdict in verdicts if verdict.findings}


def findings(verdicts: Sequence[Verdict]) -> list[Finding]:
    return [finding for verdict in verdicts for finding in verdict.findings]


@pytest.mark.parametrize("dialect", dialect_names())
def test_a_clean_endpoint_breaks_no_rule(dialect: str) -> None:
    verdicts = judged_clean(dialect)
    assert findings(verdicts) == []
    assert {verdict.status for verdict in verdicts} <= {Status.PASS, Status.NOT_APPLICABLE}


@pytest.mark.parametrize("dialect", dialect_names())
def test_the_standard_requests_exercise_every_rule(dialect: str) -> None:
    """What no clean stream exercises could raise a false alarm that nobody sees; faults exercise the rest."""
    on = {verdict.rule for verdict in judged_clean(dialect) if not load_rules()[verdict.rule].unchecked}
    missing = on - {verdict.rule for verdict in judged_clean(dialect) if verdict.judged}
    for fault in FAULTS.values():
        if missing.intersection(fault.breaks) and dialect in (fault.dialects or (dialect,)):
            missing -= {verdict.rule for verdict in judged(dialect, fault.id) if verdict.judged}
    assert missing == set()


PAIRS = [(name, dialect) for name, fault in FAULTS.items() for dialect in fault.dialects or dialect_names()]


# One test for all questions about a fault, because judging it takes nearly all of the time.
@pytest.mark.parametrize(("name", "dialect"), PAIRS, ids=[f"{name}-{dialect}" for name, dialect in PAIRS])
def test_a_fault_is_caught_by_the_rules_it_breaks_and_is_not_a_flood(name: str, dialect: str) -> None:
    verdicts, fault = judged(dialect, name), FAULTS[name]
    if not set(fault.breaks) <= fired(verdicts):  # it shows in the covering sets of a plan only
        seen = observe(SandboxSetup("full", dialect, (name,)), until=fault.breaks, required=REQUIRED)
        assert set(fault.breaks) <= set(seen.findings)
    assert Status.ERROR not in {verdict.status for verdict in verdicts}
    assert unworded(verdicts) == []
    if is_single(fault):
        # A single defect must not look like a broken server: few other rules may fire with it.
        others = fired(verdicts) - set(fault.breaks)
        assert len(others) <= 7, sorted(others)


def is_single(fault: Fault) -> bool:
    """Whether a fault is one defect. After a bad request that takes the server down (HTTP-15), everything fails."""
    return len(fault.breaks) == 1 and "HTTP-15" not in fault.breaks


def unworded(verdicts: Sequence[Verdict]) -> list[str]:
    """Return the messages of the findings that do not say what was expected."""
    return [
        finding.evidence.message
        for verdict in verdicts
        for finding in verdict.findings
        if finding.evidence.expected is ABSENT
    ]


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
    # Streams also end as a MAY rule leaves open: with an error event alone.
    assert [found for found in findings(judge([exchange], dialect)) if found.level is not Level.MAY] == []
    assert broken_rules(exchange, dialect) == []
