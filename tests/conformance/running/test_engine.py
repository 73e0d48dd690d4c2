"""The engine: concurrency, budgets, busy and dead endpoints, interruption."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import httpx
import pytest

from rejoinder.conformance.assess import CheckResult
from rejoinder.conformance.running.case import PlannedCase, Replies, RequestSpec
from rejoinder.conformance.running.engine import CheckRun, retry_after
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level, Status, Verdict
from rejoinder.settings import Budget
from rejoinder.wire.client import Client
from rejoinder.wire.target import Target

TARGET = Target(url="http://sandbox/v1/responses", model="m")
REPLY = {"usage": {"input_tokens": 1, "output_tokens": 10, "total_tokens": 11}}
Answer = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def cases(count: int, requests: int = 1) -> Plan:
    bodies = tuple(RequestSpec(f"r{n}", {"input": str(n)}) for n in range(requests))
    return Plan("test", tuple(PlannedCase(f"c{n}", "A case.", bodies) for n in range(count)))


def run(plan: Plan, answer: Answer, *, stop_after: int = 0, **settings: Any) -> tuple[CheckResult, list[Exchange]]:
    seen: list[Exchange] = []

    async def go() -> CheckResult:
        async with Client(TARGET.url, transport=httpx.MockTransport(answer)) as client:
            checked = CheckRun(client, TARGET, plan, on_exchange=seen.append, **settings)
            if stop_after:
                checked._on_progress = lambda progress: checked.stop() if progress.done == stop_after else None
            return await checked.run()

    return asyncio.run(go()), seen


async def fine(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=REPLY)


def test_every_request_is_sent_once_and_recorded() -> None:
    result, seen = run(cases(5, 3), fine, concurrency=2)
    assert [(e.case, e.role) for e in sorted(seen, key=lambda e: (e.case, e.role))] == [
        (f"c{n}", f"r{k}") for n in range(5) for k in range(3)
    ]
    assert result.exchanges == seen
    assert len({exchange.id for exchange in seen}) == 15


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_requests_are_in_flight_than_allowed(limit: int) -> None:
    now, most = 0, 0

    async def count(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _ in range(5):
            await asyncio.sleep(0)
        now -= 1
        return httpx.Response(200, json=REPLY)

    run(cases(12), count, concurrency=limit)
    assert most == limit


def test_a_request_may_depend_on_an_earlier_reply() -> None:
    case = PlannedCase(
        "c",
        "A case.",
        (
            RequestSpec("first", {"input": "a"}),
            RequestSpec("second", lambda replies: {"input": replies["first"].json()["usage"]["output_tokens"]}),
            RequestSpec("none", lambda replies: None),
        ),
    )
    _, seen = run(Plan("test", (case,)), fine)
    assert [(e.role, e.request.json()["input"]) for e in seen] == [("first", "a"), ("second", 10)]


@pytest.mark.parametrize(
    ("budget", "sent"), [(Budget(requests=4), 4), (Budget(tokens=25), 3), (Budget(seconds=1e-9), 0)]
)
def test_a_budget_ends_the_run_and_is_told(budget: Budget, sent: int) -> None:
    result, seen = run(cases(10), fine, concurrency=1, budget=budget)
    assert len(seen) == sent
    assert result.warnings == [f"{10 - sent} of 10 requests were not sent: the budget of {budget} is spent."]


def test_a_busy_endpoint_is_asked_again() -> None:
    tries = 0

    async def busy(request: httpx.Request) -> httpx.Response:
        nonlocal tries
        tries += 1
        return httpx.Response(429, headers={"retry-after": "0"}) if tries < 3 else httpx.Response(200, json=REPLY)

    _, seen = run(cases(1), busy)
    assert [exchange.status for exchange in seen] == [429, 429, 200]
    assert ["unjudged" in exchange.tags for exchange in seen] == [True, True, False]


def test_a_long_retry_after_ends_the_run() -> None:
    async def busy(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"retry-after": "3600"})

    result, seen = run(cases(3), busy, concurrency=1)
    assert len(seen) == 2
    assert "Retry-After of the endpoint is 3600 s" in result.warnings[0]


def test_no_reply_counts_only_when_it_happens_twice() -> None:
    tries = 0

    async def flaky(request: httpx.Request) -> httpx.Response:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(200, json=REPLY)

    result, seen = run(cases(1), flaky)
    assert [exchange.status for exchange in seen] == [None, 200]
    assert seen[0].tags == ("valid", "unjudged", "repeated")
    assert "got no response at first" in result.warnings[0]


def test_a_dead_endpoint_ends_the_run() -> None:
    async def dead(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    result, seen = run(cases(50), dead, concurrency=1)
    assert sum("unjudged" not in exchange.tags for exchange in seen) == 5
    assert "the last 5 requests got no response" in result.warnings[0]


def test_stopping_keeps_what_was_gathered() -> None:
    result, seen = run(cases(10), fine, stop_after=3, concurrency=1)
    assert result.interrupted
    assert result.exit_code == 130
    assert [exchange.outcome for exchange in seen[:3]] == [Outcome.COMPLETE] * 3
    assert len(seen) < 10


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([(Status.PASS, 1)], 0),
        ([(Status.WARN, 1)], 0),
        ([(Status.PASS, 3), (Status.FAIL, 1)], 1),
        ([(Status.NOT_APPLICABLE, 0)], 2),
        ([], 2),
    ],
)
def test_exit_codes(statuses: list[tuple[Status, int]], code: int) -> None:
    verdicts = [Verdict("EVT-01", Level.MUST, status, judged) for status, judged in statuses]
    assert CheckResult(verdicts=verdicts).exit_code == code


def test_retry_after_is_a_number_or_a_date() -> None:
    def asked(value: str) -> float | None:
        return retry_after(Exchange("x", Request("POST", "/"), Outcome.COMPLETE, 429, (("Retry-After", value),)))

    assert asked("7") == 7
    assert asked("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert asked("soon") is None
    assert asked("") is None


def test_a_whole_plan_runs_against_the_sandbox() -> None:
    from rejoinder.conformance.judgement import judge
    from rejoinder.sandbox import Sandbox, app

    async def go() -> CheckResult:
        async with Client(TARGET.url, transport=httpx.ASGITransport(app(Sandbox()))) as client:
            plan = build_plan("smoke", load_dialect("northstar"), model="parrot")
            return await CheckRun(client, Target(TARGET.url, "parrot"), plan).run()

    result = asyncio.run(go())
    assert [v.rule for v in judge(result.exchanges, "northstar") if v.findings or v.status is Status.ERROR] == []


def together(size: int, **fields: Any) -> Plan:
    """Return a plan of one case: a request, some that go together after it, and a last one."""
    beside = tuple(RequestSpec(f"r{n}", {"input": str(n)}, beside=n > 0, **fields) for n in range(size))
    return Plan("test", (PlannedCase("c", "A case.", (RequestSpec("first"), *beside, RequestSpec("last"))),))


@pytest.mark.parametrize(("limit", "most"), [(8, 5), (2, 2), (1, 1)])
def test_requests_beside_each_other_are_in_flight_together_up_to_the_limit(limit: int, most: int) -> None:
    now: set[str] = set()
    seen: list[set[str]] = []

    async def count(request: httpx.Request) -> httpx.Response:
        name = request.content.decode()
        now.add(name)
        seen.append(set(now))
        for _ in range(5):
            await asyncio.sleep(0)
        now.remove(name)
        return httpx.Response(200, json=REPLY)

    _, exchanges = run(together(5), count, concurrency=limit)
    assert max(map(len, seen)) == most
    assert seen[0] == seen[-1] == {""}
    assert [exchange.role for exchange in exchanges][::6] == ["first", "last"]
    assert len(exchanges) == 7


def test_a_budget_holds_for_requests_that_go_together() -> None:
    _, exchanges = run(together(5), fine, concurrency=8, budget=Budget(requests=4))
    assert len(exchanges) == 4


def test_requests_beside_each_other_see_the_same_replies() -> None:
    known: dict[str, list[str]] = {}

    def body(role: str) -> Callable[[Replies], dict[str, Any]]:
        def make(replies: Replies) -> dict[str, Any]:
            known[role] = sorted(replies)
            return {}

        return make

    requests = (
        RequestSpec("a"),
        RequestSpec("b", body("b")),
        RequestSpec("c", body("c"), beside=True),
        RequestSpec("d", body("d")),
    )
    run(Plan("test", (PlannedCase("c", "A case.", requests),)), fine)
    assert known == {"b": ["a"], "c": ["a"], "d": ["a", "b", "c"]}


def test_what_waits_is_sent_later() -> None:
    order: list[str] = []

    async def note(request: httpx.Request) -> httpx.Response:
        order.append(request.content.decode())
        return httpx.Response(200, json=REPLY)

    requests = (RequestSpec("a", "late", wait=lambda replies: 0.02), RequestSpec("b", "soon", beside=True))
    run(Plan("test", (PlannedCase("c", "A case.", requests),)), note)
    assert order == ['"late"', '"soon"'][::-1]


def test_the_second_tenant_asks_with_a_key_of_its_own_that_is_not_recorded() -> None:
    given: list[str | None] = []

    async def note(request: httpx.Request) -> httpx.Response:
        given.append(request.headers.get("authorization"))
        return httpx.Response(200, text=f"You are {given[-1]}.")

    plan = Plan("test", (PlannedCase("c", "A case.", (RequestSpec("ours"), RequestSpec("theirs", tenant=2))),))

    async def go(target: Target) -> list[Exchange]:
        transport = httpx.MockTransport(note)
        async with Client(target.url, key="key-one", second_key=target.second_key, transport=transport) as client:
            return (await CheckRun(client, target, plan).run()).exchanges

    exchanges = asyncio.run(go(replace(TARGET, second_key="key-of-two")))
    assert given == ["Bearer key-one", "Bearer key-of-two"]
    assert "key-of-two" not in str([exchange.to_json() for exchange in exchanges])
    assert [exchange.role for exchange in asyncio.run(go(TARGET))] == ["ours"]


@pytest.mark.parametrize("limit", [1, 3])
def test_a_case_that_must_be_undisturbed_has_no_other_beside_it(limit: int) -> None:
    now: list[str] = []
    seen: list[tuple[str, ...]] = []

    async def count(request: httpx.Request) -> httpx.Response:
        name = request.content.decode()
        now.append(name)
        seen.append(tuple(now))
        for _ in range(5):
            await asyncio.sleep(0)
        now.remove(name)
        return httpx.Response(200, json=REPLY)

    alone = PlannedCase(
        "alone", "A case.", (RequestSpec("a", "alone", (Tag.ISOLATION,)), RequestSpec("b", "alone too"))
    )
    result, _ = run(Plan("test", (*cases(4).cases, alone, *cases(4, 2).cases)), count, concurrency=limit)
    assert len(result.exchanges) == 14
    assert [names for names in seen if '"alone"' in names or '"alone too"' in names] == [('"alone"',), ('"alone too"',)]
    assert max(map(len, seen)) == limit
