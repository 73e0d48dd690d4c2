"""Isolation: weak models, endpoints that refuse, and runs that send one request after the other prove nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.canaries import canaries_in
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases import iso
from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.plan import Plan
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome
from rejoinder.model.verdict import Status, Verdict
from rejoinder.sandbox import Sandbox
from rejoinder.wire.target import Target

Change = Callable[[Exchange], Exchange]


def played(change: Change = lambda exchange: exchange, *faults: str, seed: int = 0) -> dict[str, Verdict]:
    """Return the verdicts of the family on what a sandbox answers, every exchange changed."""
    found = tuple(iso.cases(CaseContext(load_dialect("northstar"), seed=seed), "full"))
    clock, target = ManualClock(), Target("http://sandbox/v1/responses")
    batches = run_in_process(Plan("test", found), Sandbox(faults=faults, clock=clock), target, clock)
    exchanges = [change(exchange) for batch in batches for exchange in batch]
    return {verdict.rule: verdict for verdict in judge(exchanges, "northstar", select="ISO-*")}


def said(exchange: Exchange, old: bytes, new: bytes) -> Exchange:
    return replace(exchange, chunks=tuple(Chunk(chunk.t, chunk.data.replace(old, new)) for chunk in exchange.chunks))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_clean_endpoint_keeps_every_rule(seed: int) -> None:
    assert {verdict.status for verdict in played(seed=seed).values()} == {Status.PASS}


def test_a_model_that_repeats_nothing_declines() -> None:
    def deaf(exchange: Exchange) -> Exchange:
        for word in canaries_in(exchange.request.body.decode()):
            exchange = said(exchange, word.encode(), b"something")
            # A word may be split over deltas.
        return exchange

    found = played(deaf)
    assert found["ISO-01"].status is Status.DECLINED
    assert found["ISO-02"].status is Status.DECLINED
    assert {found[rule].status for rule in ("ISO-03", "ISO-04", "ISO-05")} == {Status.PASS}


@pytest.mark.parametrize("status", [400, 404, 429, 501, 503])
def test_refusals_are_not_judged(status: int) -> None:
    def refuse(exchange: Exchange) -> Exchange:
        body = json.dumps({"error": {"message": "No."}}).encode()
        return replace(exchange, status=status, chunks=(Chunk(0.0, body),))

    assert {verdict.status for verdict in played(refuse).values()} <= {Status.NOT_APPLICABLE, Status.BLOCKED}


def test_busy_replies_beside_others_are_no_loss() -> None:
    def busy(exchange: Exchange) -> Exchange:
        return replace(exchange, status=429, chunks=()) if exchange.role in ("one-3", "two-4") else exchange

    assert {verdict.status for verdict in played(busy).values()} == {Status.PASS}


def test_a_stream_without_end_is_lost_only_where_one_alone_has_an_end() -> None:
    def cut(*roles: str) -> Change:
        def change(exchange: Exchange) -> Exchange:
            hit = exchange.role in roles
            return replace(exchange, outcome=Outcome.CUT, chunks=exchange.chunks[:4]) if hit else exchange

        return change

    assert played(cut("one-2"))["ISO-03"].findings[0].evidence.kind == "lost"
    assert played(cut("one-2", "alone"))["ISO-03"].status is Status.NOT_APPLICABLE


def test_a_canary_that_is_not_answered_in_time_is_told() -> None:
    def hang(exchange: Exchange) -> Exchange:
        hit = exchange.role == "after"
        return replace(exchange, outcome=Outcome.CANCELLED, status=None, chunks=(), ended_at=20.0) if hit else exchange

    assert {finding.evidence.kind for finding in played(hang)["ISO-04"].findings} == {"after"}


def test_a_canary_that_was_interrupted_is_not() -> None:
    def stop(exchange: Exchange) -> Exchange:
        hit = exchange.role == "after"
        return replace(exchange, outcome=Outcome.CANCELLED, status=None, chunks=(), ended_at=1.0) if hit else exchange

    assert played(stop)["ISO-04"].status is Status.PASS


def test_the_seed_says_who_leaves() -> None:
    def leaving(seed: int) -> list[tuple[str, int | None]]:
        cases = iso.cases(CaseContext(load_dialect("northstar"), seed=seed), "full")
        [case] = [case for case in cases if case.id == "isolation.aborted"]
        return [(planned.role, planned.read_limit) for planned in case.requests]

    assert leaving(1) == leaving(1) != leaving(2)


def test_streams_that_ran_one_after_another_prove_nothing() -> None:
    """With --concurrency 1, requests that belong together are not in flight together."""
    starts = count(step=60)

    def apart(exchange: Exchange) -> Exchange:
        return replace(exchange, started_at=float(next(starts)), ended_at=min(exchange.ended_at, 1.0))

    found = played(apart, "stream-cut-when-busy")
    assert {verdict.status for verdict in found.values()} == {Status.DECLINED}
    assert "--concurrency" in found["ISO-03"].reason
