"""Limits and compression: what is clean, what is not, and what says nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import cycle

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.running.case import CaseContext, PlannedCase, greeting, single
from rejoinder.conformance.running.cases import lim
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome
from rejoinder.model.verdict import Level, Status, Verdict
from rejoinder.sandbox import Fault, Sandbox
from rejoinder.sandbox.faults.lim import FAULTS
from rejoinder.sandbox.freedoms.lim import FREEDOMS

Change = Callable[[Exchange], Exchange]
LARGE = "size-3145728"
FREEDOM_IDS = [freedom.id for freedom in FREEDOMS]


@cache
def cases(dialect: str) -> tuple[PlannedCase, ...]:
    context = CaseContext(load_dialect(dialect), form=load_dialect(dialect).usual_form)
    return (single("basic", "The simplest request.", greeting(context)), *lim.cases(context, "full"))


def played(
    change: Change = lambda exchange: exchange, *faults: str, dialect: str = "northstar", freedom: str = ""
) -> dict[str, Verdict]:
    """Return the verdicts of all rules on what a sandbox answers, every exchange changed."""
    clock = ManualClock()
    sandbox = Sandbox(dialect, faults, clock=clock, freedoms=[freedom] if freedom else [])
    batches = run_in_process(Plan("test", cases(dialect)), sandbox, sandbox_target(dialect, model=None), clock)
    exchanges = [change(exchange) for batch in batches for exchange in batch]
    return {verdict.rule: verdict for verdict in judge(exchanges, dialect)}


def message(verdict: Verdict) -> str:
    return verdict.findings[0].evidence.message if verdict.findings else ""


def refused(role: str, status: int, body: bytes, kind: str = "application/json") -> Change:
    """Return a change that refuses the requests with a role."""

    def change(exchange: Exchange) -> Exchange:
        if exchange.role != role:
            return exchange
        return replace(exchange, status=status, headers=(("content-type", kind),), chunks=(Chunk(0.0, body),))

    return change


def error(text: str) -> bytes:
    return json.dumps(
        {"error": {"message": text, "type": "invalid_request_error", "code": None, "param": None}}
    ).encode()


@pytest.mark.parametrize(
    ("dialect", "freedom"),
    [*((dialect, "") for dialect in dialect_names()), *zip(cycle(dialect_names()), FREEDOM_IDS, strict=False)],
)
def test_a_clean_endpoint_breaks_no_rule(dialect: str, freedom: str) -> None:
    found = played(dialect=dialect, freedom=freedom)
    assert {rule for rule, verdict in found.items() if verdict.findings and verdict.level is not Level.MAY} == set()
    assert {found[rule].status for rule in ("LIM-01", "LIM-02", "LIM-05")} == {Status.PASS}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.id)
def test_each_fault_breaks_its_rules(fault: Fault) -> None:
    dialects = fault.dialects or ("northstar",)
    found = played(lambda exchange: exchange, fault.id, dialect=dialects[0])
    assert {rule for rule in fault.breaks if found[rule].findings} == set(fault.breaks)


@pytest.mark.parametrize(
    ("status", "text", "clean"),
    [
        (415, "No.", True),
        (400, "Unsupported Content-Encoding.", True),
        (422, "The body is gzip, which is not supported.", True),
        (400, "The body is not valid JSON: invalid start byte.", False),
        (422, "Invalid request.", True),
        (500, "gzip", False),
    ],
)
def test_a_coding_is_refused_with_415_or_a_message_about_it(status: int, text: str, clean: bool) -> None:
    found = played(refused("gzip", status, error(text)))["LIM-01"]
    assert bool(found.findings) is not clean


def test_a_coding_may_be_refused_without_a_body() -> None:
    found = played(refused("gzip", 415, b""))
    assert (found["LIM-01"].status, found["ERR-01"].findings) == (Status.PASS, [])


@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_a_busy_endpoint_says_nothing_of_codings_and_limits(status: int) -> None:
    def busy(exchange: Exchange) -> Exchange:
        return refused(exchange.role, status, error("No."))(exchange) if exchange.case != "basic" else exchange

    found = played(busy)
    assert {found[rule].judged for rule in ("LIM-01", "LIM-02", "LIM-04", "LIM-05")} == {0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (refused(LARGE, 413, b"length limit exceeded", "text/plain"), "has no error object"),
        (refused(LARGE, 400, b"<html>", "text/html"), "has no error object"),
        (refused(LARGE, 500, error("Failed.")), "returned status 500"),
        (lambda e: replace(e, status=None, outcome=Outcome.CUT, chunks=()) if e.role == LARGE else e, "no complete"),
    ],
)
def test_a_large_body_is_refused_cleanly(change: Change, words: str) -> None:
    assert words in message(played(change)["LIM-02"])


@pytest.mark.parametrize("status", [400, 413, 422, 501])
def test_an_error_object_is_clean_whatever_its_status_is(status: int) -> None:
    assert played(refused(LARGE, status, error("Too large.")))["LIM-02"].status is Status.PASS


def test_an_endpoint_that_refuses_every_size_has_no_limit() -> None:
    def change(exchange: Exchange) -> Exchange:
        sized = exchange.case.startswith("limits.") and exchange.case != "limits.body"
        return refused(exchange.role, 500, b"crash", "text/plain")(exchange) if sized else exchange

    found = played(change, dialect="openai")
    assert {found[rule].judged for rule in ("LIM-03", "LIM-04")} == {0}
    assert not found["LIM-02"].findings


def counted(change: Callable[[int, int], int | None]) -> Change:
    """Return a change of the input tokens, which follow from the number of items and the right count."""

    def changed(exchange: Exchange) -> Exchange:
        if exchange.case != "limits.items":
            return exchange
        body = exchange.json()
        items = len(exchange.request.json()["input"])
        body["usage"]["input_tokens"] = change(items, body["usage"]["input_tokens"])
        return replace(exchange, chunks=(Chunk(0.0, json.dumps(body).encode()),))

    return changed


@pytest.mark.parametrize(
    ("change", "loud"),
    [
        (lambda items, _: 20 + 4 * items, False),
        (lambda items, _: 20 + 3 * items + items % 5, False),
        (lambda items, _: 20 + 4 * min(items, 50), True),
        (lambda items, tokens: 7, False),
        (lambda items, tokens: 0, False),
        (lambda items, tokens: None, False),
    ],
)
def test_tokens_that_do_not_grow_show_a_cut_only_where_they_count(
    change: Callable[[int, int], int | None], loud: bool
) -> None:
    assert bool(played(counted(change))["LIM-04"].findings) is loud


def test_a_response_that_says_it_was_cut_is_not_cut_silently() -> None:
    def change(exchange: Exchange) -> Exchange:
        if exchange.case != "limits.items":
            return exchange
        body = {**exchange.json(), "truncation": "auto"}
        return replace(exchange, chunks=(Chunk(0.0, json.dumps(body).encode()),))

    assert not played(change, "input-cut-silently")["LIM-04"].judged


def test_a_compressed_response_is_checked_as_any_other() -> None:
    def change(exchange: Exchange) -> Exchange:
        if exchange.case != "compression.responses" or exchange.role != "plain":
            return exchange
        body = {**exchange.json(), "output": None}
        headers = (*exchange.headers, ("Content-Encoding", "gzip"))
        return replace(exchange, headers=headers, chunks=(Chunk(0.0, gzip.compress(json.dumps(body).encode())),))

    found = played(change)
    assert found["LIM-05"].status is Status.PASS
    assert found["HTTP-05"].status is Status.FAIL
