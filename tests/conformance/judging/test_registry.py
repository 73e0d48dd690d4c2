"""What checks look at, and how they are registered."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judgement import broken_rules
from rejoinder.conformance.judging import registry
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.registry import Subject, applies, check, looked_at, registered
from rejoinder.contract import load_dialect
from rejoinder.errors import ContractError
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request

JSON = (("content-type", "application/json"),)
SSE = (("content-type", "text/event-stream"),)
PLAIN = Exchange(
    id="x",
    request=Request("POST", "/v1/responses", (), b'{"input":"Hi"}'),
    outcome=Outcome.COMPLETE,
    status=200,
    headers=JSON,
    chunks=(Chunk(0.1, b'{"object":"response"}'),),
)
EVENT = b'data: {"type":"response.completed","response":{"object":"response"}}\n\n'
STREAM = replace(
    PLAIN,
    request=Request("POST", "/v1/responses", (), b'{"input":"Hi","stream":true}'),
    headers=SSE,
    chunks=(Chunk(0.1, EVENT),),
)
RETRIEVE = replace(PLAIN, request=Request("GET", "/v1/responses/r", (), b""))
RETURNED = replace(RETRIEVE, chunks=(Chunk(0.1, b'{"object":"response","status":"completed","output":[{"id":""}]}'),))


@pytest.mark.parametrize(
    ("exchange", "subjects"),
    [
        (PLAIN, {Subject.CREATE, Subject.PLAIN, Subject.RESPONSE}),
        (replace(PLAIN, outcome=Outcome.CUT), {Subject.CREATE}),
        (STREAM, {Subject.CREATE, Subject.STREAM, Subject.RESPONSE}),
        (replace(STREAM, chunks=()), {Subject.CREATE, Subject.STREAM}),
        (
            replace(STREAM, chunks=(Chunk(0.1, b'data: {"type":"response.created"}\n\n'),)),
            {Subject.CREATE, Subject.STREAM},
        ),
        (replace(PLAIN, status=399), {Subject.CREATE}),
        (replace(PLAIN, status=400), {Subject.CREATE, Subject.REFUSAL}),
        (replace(STREAM, status=503), {Subject.CREATE, Subject.REFUSAL}),
        (replace(PLAIN, status=None), {Subject.CREATE}),
        (RETRIEVE, set()),
        (replace(RETRIEVE, chunks=(Chunk(0.1, b'{"object":"response","status":"in_progress"}'),)), set()),
        (replace(RETRIEVE, chunks=(Chunk(0.1, b'{"object":"list","status":"completed"}'),)), set()),
        (RETURNED, {Subject.RETURNED}),
        (replace(RETURNED, status=404), {Subject.REFUSAL}),
        (replace(RETRIEVE, status=404), {Subject.REFUSAL}),
    ],
)
def test_checks_look_at_what_they_are_for(exchange: Exchange, subjects: set[Subject]) -> None:
    view = ExchangeView(exchange, load_dialect("northstar"))
    # Whole cases and runs are not single exchanges.
    assert {subject for subject in Subject if applies(subject, view)} == subjects | {Subject.EXCHANGE}


def test_checks_of_responses_see_what_other_operations_return() -> None:
    view = ExchangeView(RETURNED, load_dialect("northstar"))
    assert view.response is None
    seen = looked_at(Subject.RETURNED, view)
    assert (seen.request, seen.response, seen.output) == ({}, view.body, [{"id": ""}])
    assert looked_at(Subject.EXCHANGE, view) is view
    # An empty item id breaks ITM-15, as it does in what create returns.
    assert "ITM-15" in broken_rules(RETURNED, "northstar")


def test_a_check_is_registered_with_what_it_says_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_CHECKS", [])

    def needs(view: Any) -> bool:
        return True

    @check("RSP-01", Subject.CREATE, needs=needs)
    def one(view: Any) -> list[Any]:
        """Looks at
        the body.
        """
        return []

    @check("RSP-02", Subject.CASE)
    def two(view: Any) -> list[Any]:
        return []

    # The functions are what they were.
    assert (one(None), two(None)) == ([], [])
    assert registered() == (
        registry.Registered("RSP-01", Subject.CREATE, one, needs, "Looks at the body."),
        registry.Registered("RSP-02", Subject.CASE, two, None, ""),
    )


@pytest.mark.parametrize("rule", ["XXX-01", "SSE-06"])
def test_a_check_needs_a_rule_of_the_catalogue(rule: str) -> None:
    before = registered()
    with pytest.raises(ContractError, match=rule):
        check(rule, Subject.CREATE)(lambda view: [])
    assert registered() == before
