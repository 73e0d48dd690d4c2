"""Background work: endpoints that do it otherwise, or not at all, and races that prove nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from rejoinder.conformance.assess import CheckResult
from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import CaseContext, PlannedCase, RequestSpec, is_over
from rejoinder.conformance.running.cases import bgr
from rejoinder.conformance.running.engine import CheckRun
from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.plan import Plan
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Chunk, Exchange
from rejoinder.model.verdict import Status
from rejoinder.sandbox import Sandbox
from rejoinder.wire.client import Client
from rejoinder.wire.target import Target

Change = Callable[[Exchange], Exchange]
TARGET = Target("http://sandbox/v1/responses", "m")
REFUSAL = {"error": {"type": "invalid_request_error", "message": "No.", "param": None, "code": None}}


def statuses(change: Change, case: str = "background") -> dict[str, Status]:
    """Return the verdicts of the family on what a clean sandbox answers, every exchange changed."""
    setting = CaseContext(load_dialect("northstar"))
    found = tuple(found for found in bgr.cases(setting, "full") if found.id.startswith(case))
    clock = ManualClock()
    target = Target("http://sandbox/v1/responses")
    batches = run_in_process(Plan("test", found), Sandbox(clock=clock), target, clock)
    exchanges = [change(exchange) for batch in batches for exchange in batch]
    return {verdict.rule: verdict.status for verdict in judge(exchanges, "northstar", select="BGR-*")}


def answered(exchange: Exchange, status: int, body: Any) -> Exchange:
    return replace(exchange, status=status, chunks=(Chunk(0.0, json.dumps(body).encode()),))


def test_a_clean_endpoint_is_judged_by_nearly_every_rule() -> None:
    found = statuses(lambda exchange: exchange)
    # These take a response that was not made in the background.
    assert {rule for rule, status in found.items() if status is not Status.PASS} == {"BGR-07", "BGR-15"}


@pytest.mark.parametrize("status", [400, 404, 501])
def test_an_endpoint_without_background_breaks_nothing(status: int) -> None:
    def change(exchange: Exchange) -> Exchange:
        return answered(exchange, status, REFUSAL)

    assert set(statuses(change).values()) <= {Status.NOT_APPLICABLE, Status.BLOCKED}


@pytest.mark.parametrize("status", [404, 405, 501])
def test_an_endpoint_without_cancel_and_replay_breaks_nothing(status: int) -> None:
    def change(exchange: Exchange) -> Exchange:
        neighbour = "/cancel" in exchange.request.path or "stream=true" in exchange.request.path
        return answered(exchange, status, REFUSAL) if neighbour else exchange

    assert set(statuses(change).values()) <= {Status.PASS, Status.NOT_APPLICABLE}


def test_a_cancel_that_comes_too_late_proves_nothing() -> None:
    def change(exchange: Exchange) -> Exchange:
        if exchange.request.method == "POST" and not exchange.request.path.endswith("/cancel"):
            return exchange
        return answered(exchange, 200, {"object": "response", "status": "completed"})

    assert statuses(change, "background.cancelled")["BGR-04"] is Status.DECLINED


def test_all_events_may_follow_a_negative_number() -> None:
    replays: dict[str, Exchange] = {}

    def change(exchange: Exchange) -> Exchange:
        replays[exchange.role] = exchange
        if exchange.role == "replay-negative":
            whole = replays["replay"]
            return replace(whole, request=exchange.request, role=exchange.role)
        return exchange

    assert statuses(change, "background.replayed")["BGR-12"] is Status.PASS


# Polling


def polled(
    bodies: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, *, pauses: tuple[float, ...] = (0.0,) * 5
) -> CheckResult:
    """Return what the engine makes of a request with ``until`` that is answered with these bodies in turn."""
    left = iter(bodies)

    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=next(left, bodies[-1]))

    monkeypatch.setattr("rejoinder.conformance.running.sequence.pauses", lambda: iter(pauses))
    case = PlannedCase("c", "A case.", (RequestSpec("poll", method="GET", until=is_over, tags=()),))

    async def go() -> CheckResult:
        async with Client(TARGET.url, transport=httpx.MockTransport(answer)) as client:
            run = CheckRun(client, TARGET, Plan("test", (case,)))
            result = await run.run()
            assert run.progress.done == 1
            return result

    return asyncio.run(go())


def test_a_request_is_repeated_until_its_condition_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    result = polled([{"status": "queued"}, {"status": "in_progress"}, {"status": "completed"}], monkeypatch)
    assert [(e.role, e.json()["status"]) for e in result.exchanges] == [
        ("poll-1", "queued"),
        ("poll-2", "in_progress"),
        ("poll", "completed"),
    ]


def test_polling_ends_after_some_time(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(polled([{"status": "queued"}], monkeypatch).exchanges) == 6
    late = polled([{"status": "queued"}], monkeypatch, pauses=(3600.0,))
    assert [e.role for e in late.exchanges] == ["poll"]


# Replays and races


def test_a_short_stream_is_replayed_from_behind_each_of_its_events() -> None:
    setting = CaseContext(load_dialect("northstar"))
    [case] = [case for case in bgr.cases(setting, "full") if case.id == "background.cuts"]
    clock, target = ManualClock(), Target("http://sandbox/v1/responses")
    [[stream, *cuts]] = run_in_process(Plan("test", (case,)), Sandbox(clock=clock), target, clock)
    starts = [int(cut.request.path.rpartition("=")[2]) for cut in cuts]
    assert starts == list(range(stream.body.count(b"event: ")))


def test_the_readers_share_of_a_resumed_stream_counts_whole_events_only() -> None:
    def change(exchange: Exchange) -> Exchange:
        if exchange.role != "resumed":
            return exchange
        return replace(exchange, chunks=exchange.chunks[1:])

    found = statuses(lambda exchange: exchange, "background.resumed"), statuses(change, "background.resumed")
    assert [verdicts["BGR-17"] for verdicts in found] == [Status.PASS, Status.FAIL]


def test_a_cancel_that_is_refused_after_the_end_is_one_end() -> None:
    def change(exchange: Exchange) -> Exchange:
        return answered(exchange, 400, REFUSAL) if exchange.role == "cancel" else exchange

    assert statuses(change, "background.raced")["BGR-18"] is Status.PASS


@pytest.mark.parametrize(("end", "found"), [("incomplete", Status.PASS), ("completed", Status.FAIL)])
def test_a_stream_has_no_event_for_cancelled(end: str, found: Status) -> None:
    """The stream of a cancelled response may end with response.incomplete, not with response.completed."""

    def change(exchange: Exchange) -> Exchange:
        if exchange.role == Role.RACED:
            event = {"type": f"response.{end}", "sequence_number": 99, "response": {"status": end}}
            return replace(exchange, chunks=(Chunk(0.0, f"data: {json.dumps(event)}\n\n".encode()),))
        if exchange.role in (Role.CANCEL, Role.GET_RACED, Role.GET_RACED_AGAIN):
            return answered(exchange, 200, {"id": "resp_1", "object": "response", "status": "cancelled"})
        return exchange

    assert statuses(change, "background.raced-1")["BGR-18"] is found
