"""The engine: concurrency, budgets, busy and dead endpoints, interruption."""

from __future__ import annotations

import asyncio
import errno
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import replace
from itertools import pairwise
from typing import Any, ClassVar

import httpx
import pytest

from rejoinder.budgets import CASE_SPARE_TIMEOUTS, REQUEST_TIMEOUTS
from rejoinder.conformance.assess import CheckResult
from rejoinder.conformance.judging.canaries import new_canary
from rejoinder.conformance.running.case import PlannedCase, Replies, RequestSpec
from rejoinder.conformance.running.engine import BUSY_RETRIES, MAX_OUTAGE, CheckRun
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import load_dialect
from rejoinder.errors import ExitCode
from rejoinder.model.base_form import BaseForm
from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level, Status, Verdict
from rejoinder.settings import Budget
from rejoinder.wire.client import Client
from rejoinder.wire.pacing import Pacer
from rejoinder.wire.target import Target

TARGET = Target(url="http://sandbox/v1/responses", model="m")
REPLY = {"usage": {"input_tokens": 1, "output_tokens": 10, "total_tokens": 11}}
Answer = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]


def cases(count: int, requests: int = 1) -> Plan:
    bodies = tuple(RequestSpec(f"r{n}", {"input": str(n)}) for n in range(requests))
    return Plan("test", tuple(PlannedCase(f"c{n}", "A case.", bodies) for n in range(count)))


def run(
    plan: Plan, answer: Answer, *, stop_after: int = 0, target: Target = TARGET, **settings: Any
) -> tuple[CheckResult, list[Exchange]]:
    seen: list[Exchange] = []

    async def go() -> CheckResult:
        async with Client(target.url, transport=httpx.MockTransport(answer)) as client:
            checked = CheckRun(client, target, plan, on_exchange=seen.append, **settings)
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
    assert not result.incomplete


def test_a_machine_without_files_blames_nobody_and_is_incomplete() -> None:
    sent = 0

    async def short(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        if sent == 2:
            raise httpx.ConnectError("failed") from OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return httpx.Response(200, json=REPLY)

    result, seen = run(cases(4), short, concurrency=1)
    assert Counter(one.outcome for one in seen) == {Outcome.COMPLETE: 3, Outcome.CANCELLED: 1}
    assert result.incomplete
    assert result.warnings == [
        "1 request was not sent, because this machine had no file or port left for a connection. Try a lower "
        "--concurrency, or raise the limit of open files."
    ]


class Clock:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.slept = 0.0

    def __call__(self) -> float:
        return 100 + self.slept

    async def sleep(self, seconds: float) -> None:
        self.slept += seconds
        await asyncio.sleep(0)


def paced(rate: float | None = None) -> tuple[Clock, dict[str, Any]]:
    """Return a clock, and the settings of a run that lets its time pass only there."""
    clock = Clock()
    return clock, {"pacer": Pacer(rate, clock=clock, sleep=clock.sleep), "sleep": clock.sleep}


def test_a_rate_limit_spreads_the_starts() -> None:
    clock, settings = paced(4.0)
    started: list[float] = []

    async def note(request: httpx.Request) -> httpx.Response:
        started.append(clock.slept)
        return httpx.Response(200, json=REPLY)

    run(cases(5), note, concurrency=4, **settings)
    assert started == [0, 0.25, 0.5, 0.75, 1.0]


def test_retry_after_holds_for_all_requests_and_slows_them_down() -> None:
    clock, settings = paced()
    started: list[float] = []

    async def busy(request: httpx.Request) -> httpx.Response:
        started.append(clock.slept)
        return httpx.Response(429, headers={"retry-after": "7"}) if len(started) == 1 else httpx.Response(200)

    result, seen = run(cases(4), busy, concurrency=1, **settings)
    assert started[:2] == [0, 7]
    assert all(later > earlier for earlier, later in pairwise(started))
    assert [exchange.status for exchange in seen] == [429, 200, 200, 200, 200]
    assert result.warnings == []


def test_a_circuit_breaker_is_waited_out_and_nothing_is_lost() -> None:
    clock, settings = paced()
    opened: list[float] = []

    async def breaker(request: httpx.Request) -> httpx.Response:
        if request.content == b'{"input":"2"}' and not opened:
            opened.append(clock.slept)
        is_open = opened and clock.slept < opened[0] + 40
        return httpx.Response(503, json={}) if is_open else fine_response()

    result, seen = run(cases(1, 10), breaker, **settings)
    judged = [exchange for exchange in seen if Tag.UNJUDGED not in exchange.tags]
    assert [exchange.status for exchange in judged] == [200] * 10
    assert result.warnings == []
    assert [exchange.status for exchange in seen if exchange.case == "liveness"][-1] == 200


def test_requests_that_were_never_answered_are_told_and_have_a_tag() -> None:
    clock, settings = paced()

    async def busy(request: httpx.Request) -> httpx.Response:
        # The simplest request is answered: it is this one for which there is no time.
        return httpx.Response(503) if request.content == b'{"input":"0"}' else fine_response()

    result, seen = run(cases(1, 3), busy, **settings)
    first = [exchange for exchange in seen if exchange.role == "r0"]
    assert [exchange.status for exchange in first] == [503] * (BUSY_RETRIES + 1)
    assert [Tag.UNJUDGED in exchange.tags for exchange in first] == [True] * BUSY_RETRIES + [False]
    assert Tag.BUSY in first[-1].tags
    assert [exchange.status for exchange in seen if exchange.case == "liveness"] == [200]
    assert result.warnings == [
        "1 request got no answer: the endpoint was busy at each try (1 with status 503). Try a lower --concurrency or "
        "a --rate-limit."
    ]
    assert clock.slept == 3.5


def test_an_endpoint_that_stays_busy_ends_the_run() -> None:
    _, settings = paced()

    async def busy(request: httpx.Request) -> httpx.Response:
        return httpx.Response(503)

    result, seen = run(cases(50), busy, concurrency=1, **settings)
    assert "the endpoint was busy for 1" in result.warnings[0]
    assert len(seen) < 20


def test_an_endpoint_that_locks_us_out_ends_the_run() -> None:
    sent = 0

    async def lock(request: httpx.Request) -> httpx.Response:
        nonlocal sent
        sent += 1
        return httpx.Response(401, json={"error": {"message": "Expired."}}) if sent > 3 else fine_response()

    result, seen = run(cases(20), lock, concurrency=1)
    assert len(seen) == 8
    assert result.warnings == [
        "12 of 20 requests were not sent: the last 5 requests were answered with status 401: Expired."
    ]
    assert result.incomplete
    result.verdicts = [Verdict("HTTP-03", Level.MUST, Status.PASS, judged=1)]
    assert result.exit_code is ExitCode.INCOMPLETE


def test_an_endpoint_that_changes_its_mind_is_told() -> None:
    async def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"error": {"message": "Not today."}})

    minimal = RequestSpec("plain", {"input": "x"}, (Tag.VALID, Tag.BASIC))
    plan = Plan("test", tuple(PlannedCase(f"c{n}", "A case.", (minimal,)) for n in range(3)))
    result, _ = run(plan, refuse)
    assert result.warnings == [
        "The endpoint accepted the first request, and then refused all 3 minimal requests (status 400: Not today)."
    ]


def test_plain_requests_without_any_reply_do_not_end_a_run_whose_streams_work() -> None:
    async def half(request: httpx.Request) -> httpx.Response:
        if b'"stream":true' not in request.content:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        return httpx.Response(200, json=REPLY)

    target = replace(TARGET, form=BaseForm(plain=False))
    _, seen = run(cases(20), half, concurrency=1, target=target)
    assert len({exchange.case for exchange in seen}) == 20


def test_a_timeout_is_not_waited_for_twice() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    _, seen = run(cases(1), hang, deadline=0.01)
    assert [exchange.outcome for exchange in seen] == [Outcome.TIMEOUT]


def test_the_timeout_bounds_what_a_case_allows_and_polling() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(200, json=REPLY)
        if request.url.query:
            await asyncio.Event().wait()
        return httpx.Response(200, json={"status": "queued"})

    requests = (
        RequestSpec("first", {"input": "x"}),
        RequestSpec("resumed", method="GET", path=("r",), query="stream=true", deadline=120.0),
        RequestSpec("poll", method="GET", path=("r",), until=lambda reply: False),
    )
    _, seen = run(Plan("test", (PlannedCase("c", "A case.", requests),)), hang, deadline=0.3)
    assert [exchange.role for exchange in seen if "-" not in exchange.role] == ["first", "resumed", "poll"]
    assert seen[1].outcome is Outcome.CANCELLED
    assert seen[-1].outcome is Outcome.COMPLETE


def fine_response() -> httpx.Response:
    return httpx.Response(200, json=REPLY)


def test_a_busy_endpoint_is_asked_again() -> None:
    tries = 0

    async def busy(request: httpx.Request) -> httpx.Response:
        nonlocal tries
        tries += 1
        return httpx.Response(429, headers={"retry-after": "0"}) if tries < 3 else httpx.Response(200, json=REPLY)

    _, seen = run(cases(1), busy)
    assert [exchange.status for exchange in seen] == [429, 429, 200]
    assert ["unjudged" in exchange.tags for exchange in seen] == [True, True, False]


def test_replies_that_use_up_the_memory_of_a_run_are_cut_and_then_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("CHECK_RUN", 400_000), ("CHECK_RESERVE", 200_000), ("CHECK_LEAST", 20_000)):
        monkeypatch.setattr(f"rejoinder.conformance.running.engine.{name}", size)

    async def large(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text="\n".join(["x" * 100] * 5_000))

    result, seen = run(cases(1, 60), large, concurrency=2)
    assert {exchange.outcome for exchange in seen} == {Outcome.CANCELLED}
    sizes = [len(exchange.body) for exchange in seen]
    assert sizes[0] > 2 * sizes[-1] > 0
    assert 400_000 <= sum(exchange.weight for exchange in seen) < 500_000
    assert result.unsent == 60 - len(seen) > 0
    assert "the responses used up the memory budget of a run" in result.warnings[0]


def test_waits_for_a_busy_endpoint_are_part_of_the_timeout() -> None:
    clock, settings = paced()

    async def busy(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"retry-after": "2"})

    result, seen = run(cases(1), busy, deadline=5.0, **settings)
    assert len(seen) == 3
    assert clock.slept == 4
    assert "the endpoint was busy at each try" in result.warnings[0]


def slow_and_busy(clock: Clock, seconds: float, refusals: int) -> Answer:
    """Return an endpoint that takes some seconds for each reply, and refuses each request a number of times first."""
    tries: Counter[bytes] = Counter()

    async def answer(request: httpx.Request) -> httpx.Response:
        clock.slept += seconds
        tries[request.content] += 1
        busy = tries[request.content] <= refusals
        return httpx.Response(503, headers={"retry-after": "1"}) if busy else httpx.Response(200, json=REPLY)

    return answer


def test_a_case_may_take_its_time_for_each_of_its_requests() -> None:
    clock, settings = paced()
    result, seen = run(cases(1, 10), slow_and_busy(clock, 4.9, 0), deadline=5.0, **settings)
    assert [exchange.status for exchange in seen] == [200] * 10
    assert result.warnings == []


def test_a_case_ends_with_its_time_and_the_run_is_incomplete() -> None:
    clock, settings = paced()
    result, seen = run(cases(1, 10), slow_and_busy(clock, 4.0, 2), deadline=5.0, **settings)
    sent = len({exchange.request.body for exchange in seen})
    assert 3 <= sent < 10
    assert clock.slept <= (10 + CASE_SPARE_TIMEOUTS) * 5 + 5
    late = f"{10 - sent} requests were not sent, because the time of the case was up: c0."
    assert result.warnings[0] == late
    assert (result.unsent, result.incomplete) == (10 - sent, True)


def test_a_request_takes_three_timeouts_at_most() -> None:
    clock, settings = paced()
    result, seen = run(cases(1, 1), slow_and_busy(clock, 4.0, 100), deadline=5.0, **settings)
    assert clock.slept <= REQUEST_TIMEOUTS * 5 + 5
    assert Tag.BUSY in seen[-1].tags
    assert "the endpoint was busy at each try" in result.warnings[0]


def test_waits_for_a_rate_limit_are_no_part_of_the_time_of_a_case() -> None:
    clock, settings = paced(1 / 30)
    result, seen = run(cases(4, 3), slow_and_busy(clock, 0.1, 0), deadline=5.0, **settings)
    assert [exchange.status for exchange in seen] == [200] * 12
    assert clock.slept >= 11 * 30
    assert result.warnings == []


@pytest.mark.parametrize(("deadline", "outage"), [(30.0, 30.0), (300.0, MAX_OUTAGE)])
def test_an_endpoint_that_only_ever_names_a_time_ends_the_run(deadline: float, outage: float) -> None:
    clock, settings = paced()

    async def busy(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"retry-after": "20"})

    result, _ = run(cases(1, 60), busy, concurrency=1, deadline=deadline, **settings)
    assert outage < clock.slept < outage + 100
    assert "the endpoint was busy for" in result.warnings[0]


def test_a_long_retry_after_ends_the_run() -> None:
    async def busy(request: httpx.Request) -> httpx.Response:
        return httpx.Response(429, headers={"retry-after": "3600"})

    result, seen = run(cases(3), busy, concurrency=1)
    assert len(seen) == 1
    assert "Retry-After of the endpoint is 3600 s" in result.warnings[0]


DROPPED = httpx.RemoteProtocolError("Server disconnected without sending a response.")


def failing_first(error: httpx.TransportError) -> Answer:
    """Return an endpoint whose first request ends with an error."""
    errors = [error]

    async def flaky(request: httpx.Request) -> httpx.Response:
        if errors:
            raise errors.pop()
        return httpx.Response(200, json=REPLY)

    return flaky


def test_a_request_that_may_have_been_processed_is_not_sent_again() -> None:
    result, seen = run(cases(2), failing_first(DROPPED), concurrency=1)
    assert [(exchange.case, exchange.status) for exchange in seen] == [("c0", None), ("c1", 200)]
    assert [exchange.tags for exchange in seen] == [("valid",)] * 2
    assert result.resent == 0
    assert result.footer["warnings"] == [
        "1 valid request lost its connection before a response. rejoinder did not send it again, because the endpoint "
        "may have processed it. With --resend it sends such a request once more."
    ]


def test_a_lost_request_is_sent_once_more_if_the_user_wants_it() -> None:
    result, seen = run(cases(1), failing_first(DROPPED), resend=True)
    assert [exchange.status for exchange in seen] == [None, 200]
    assert seen[0].tags == ("valid", "unjudged", "repeated")
    assert "got no response at first" in result.warnings[0]
    assert result.footer["resent"] == 1
    assert result.footer["warnings"][1:] == [
        "1 request was sent again, because the connection was lost before a response. The endpoint may have processed "
        "both."
    ]


def test_a_lost_request_that_only_reads_is_sent_once_more() -> None:
    case = PlannedCase("c", "A case.", (RequestSpec("read", method="GET", path=("r",)),))
    result, seen = run(Plan("test", (case,)), failing_first(DROPPED))
    assert [exchange.status for exchange in seen] == [None, 200]
    assert result.resent == 1


@pytest.mark.parametrize("resend", [False, True])
def test_a_request_that_reached_nobody_is_sent_once_more_and_not_counted(resend: bool) -> None:
    result, seen = run(cases(1), failing_first(httpx.ConnectError("refused")), resend=resend)
    assert [exchange.status for exchange in seen] == [None, 200]
    assert result.resent == 0


def test_invalid_http_is_a_response_that_nobody_waits_for_again() -> None:
    broken = httpx.RemoteProtocolError("illegal status line: bytearray(b'nonsense')")
    _, seen = run(cases(1), failing_first(broken), resend=True)
    assert [exchange.outcome for exchange in seen] == [Outcome.PROTOCOL]


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


def test_a_whole_plan_runs_against_the_sandbox() -> None:
    from rejoinder.conformance.judgement import judge
    from rejoinder.sandbox import Sandbox, app

    async def go() -> CheckResult:
        async with Client(TARGET.url, transport=httpx.ASGITransport(app(Sandbox()))) as client:
            plan = build_plan("smoke", load_dialect("northstar"), model="parrot")
            return await CheckRun(client, Target(TARGET.url, "parrot"), plan).run()

    result = asyncio.run(go())
    assert [v.rule for v in judge(result.exchanges, "northstar") if v.findings or v.status is Status.ERROR] == []


@pytest.mark.parametrize("rate", [None, 0.25])
def test_a_plan_keeps_to_the_quota_of_the_sandbox(rate: float | None) -> None:
    """The sandbox serves three requests in ten seconds, and names the time to wait to any other."""
    from rejoinder.conformance.judgement import judge
    from rejoinder.sandbox import Sandbox, app
    from rejoinder.sandbox.endpoint.reply import JSON_HEADERS, Piece, Reply

    clock, settings = paced(rate)

    class Limited(Sandbox):
        served: ClassVar[dict[int, int]] = {}
        turned_away = 0

        def handle(self, request: Request) -> Reply:
            window = int(clock.slept // 10)
            self.served[window] = self.served.get(window, 0) + 1
            if self.served[window] <= 3:
                return super().handle(request)
            self.turned_away += 1
            error = {"message": "Too many requests.", "type": "too_many_requests", "code": None, "param": None}
            wait = ("retry-after", str(math.ceil(10 * (window + 1) - clock.slept)))
            return Reply(429, (*JSON_HEADERS, wait), iter([Piece(0.0, json.dumps({"error": error}).encode())]))

    sandbox = Limited()
    Limited.served.clear()

    async def go() -> CheckResult:
        async with Client(TARGET.url, transport=httpx.ASGITransport(app(sandbox))) as client:
            plan = build_plan("smoke", load_dialect("northstar"), model="parrot")
            return await CheckRun(client, Target(TARGET.url, "parrot"), plan, concurrency=1, **settings).run()

    result = asyncio.run(go())
    judged = [exchange for exchange in result.exchanges if Tag.UNJUDGED not in exchange.tags]
    assert 429 not in {exchange.status for exchange in judged}
    assert (sandbox.turned_away > 0) == (rate is None)
    assert [v.rule for v in judge(result.exchanges, "northstar") if v.findings or v.status is Status.ERROR] == []
    assert result.warnings == []


def together(size: int, **fields: Any) -> Plan:
    """Return a plan of one case: a request, some that go together after it, and a last one."""
    beside = tuple(RequestSpec(f"r{n}", {"input": str(n)}, beside=n > 0, **fields) for n in range(size))
    return Plan("test", (PlannedCase("c", "A case.", (RequestSpec("first"), *beside, RequestSpec("last"))),))


@pytest.mark.parametrize("limit", [8, 2, 1])
@pytest.mark.parametrize("rate", [None, 2.0])
def test_requests_beside_each_other_are_in_flight_together_whatever_the_limit(limit: int, rate: float | None) -> None:
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

    clock = Clock()
    _, exchanges = run(together(5), count, concurrency=limit, pacer=Pacer(rate, clock=clock, sleep=clock.sleep))
    assert max(map(len, seen)) == 5
    assert seen[0] == seen[-1] == {""}
    assert [exchange.role for exchange in exchanges][::6] == ["first", "last"]
    assert len(exchanges) == 7
    # The request after the group makes up for it.
    assert clock.slept == (0 if rate is None else 3)


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


WORD = new_canary("quartz")


@pytest.mark.parametrize(("said", "sent"), [(WORD, 2), ("Hello.", 1)], ids=["repeats", "does-not"])
def test_canaries_are_not_sent_to_a_model_that_repeats_none(said: str, sent: int) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        part = {"type": "output_text", "text": said, "annotations": []}
        message = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [part]}
        return httpx.Response(200, json={"id": "r", "object": "response", "status": "completed", "output": [message]})

    asking = RequestSpec("plain", {"input": f"Say {WORD}."}, (Tag.VALID, Tag.ASKS_REPEAT))
    probe = PlannedCase("probe.word", "A probe.", (asking,))
    slot = PlannedCase("meaning.slot", "A slot.", (RequestSpec("plain", {"input": "?"}),), recalls=True)
    result, seen = run(Plan("test", (probe, slot)), answer, concurrency=1)
    assert len(seen) == sent
    told = ["1 request for canaries not sent: the model repeated none."]
    assert result.warnings == (told if sent == 1 else [])
    assert not result.unsent
