"""Isolating what an endpoint refuses."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rejoinder.conformance.coverage import measure_coverage
from rejoinder.conformance.judging.acceptance import outermost
from rejoinder.conformance.running.case import PlannedCase
from rejoinder.conformance.running.isolate import isolate
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import load_dialect
from rejoinder.contract.branches import Branches, is_below
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Acceptance, CoverageResult
from rejoinder.model.tags import Tag
from rejoinder.strategies import EndpointProfile, each_choice, one_factor
from rejoinder.wire.client import encode_json

MODEL = "m"
Answer = Callable[[dict[str, Any]], int]


class Endpoint:
    """An endpoint that answers create requests with a status alone, and records what it got."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.exchanges: list[Exchange] = []
        self.requests = 0

    @property
    def ended(self) -> bool:
        return False

    async def send(self, case: PlannedCase, *tags: str) -> list[Exchange]:
        sent = [self.exchange(planned.body, case.id, planned.role, planned.tags) for planned in case.requests]
        self.requests += len(sent)
        self.exchanges += [e.tagged(Tag.UNJUDGED, *(t for t in tags if t not in e.tags)) for e in sent]
        return sent

    def exchange(self, body: Any, case: str, role: str, tags: tuple[str, ...]) -> Exchange:
        status = self.answer(body)
        reply: dict[str, Any] = {"id": "r", "object": "response", "status": "completed", "output": []}
        if status >= 400:
            reply = {"error": {"message": f"Refused with {status}.", "type": "invalid_request_error"}}
        return Exchange(
            id=f"x{len(self.exchanges):04}-{role}",
            request=Request("POST", "/v1/responses", (), encode_json(body)),
            outcome=Outcome.COMPLETE,
            status=status,
            headers=(("content-type", "application/json"),),
            chunks=(Chunk(0.0, json.dumps(reply).encode()),),
            case=case,
            role=role,
            tags=tags,
        )


def refusing(refused: Iterable[str], dialect: str = "northstar", status: int = 400) -> Answer:
    """Return the answers of an endpoint that refuses every request with one of these branches."""
    contract, branches = Branches.of_dialect(dialect), frozenset(refused)
    return lambda body: status if contract.of(body) & branches else 200


@cache
def bodies(plan: str, dialect: str) -> tuple[dict[str, Any], ...]:
    """Return the valid bodies of a plan that do not depend on replies."""
    return tuple(
        planned.body
        for case in build_plan(plan, load_dialect(dialect), model=MODEL).cases
        for planned in case.requests
        if Tag.VALID in planned.tags and isinstance(planned.body, dict) and planned.body.get("stream") is not True
    )


def isolated(answer: Answer, plan: str = "quick", dialect: str = "northstar", budget: int = 10_000) -> CoverageResult:
    endpoint = Endpoint(answer)
    planned = [
        endpoint.exchange(body, f"case{number}", "plain", (Tag.VALID,))
        for number, body in enumerate(bodies(plan, dialect))
    ]
    asyncio.run(isolate(endpoint, load_dialect(dialect), MODEL, planned, budget))
    assert endpoint.requests <= budget
    return measure_coverage([*planned, *endpoint.exchanges], dialect)


@cache
def single_forms(dialect: str) -> tuple[frozenset[str], ...]:
    """Return the branches of every request of the generator that holds one thing."""
    profile = EndpointProfile(dialect=dialect, model=MODEL, max_output_tokens=16)
    contract = Branches.of_dialect(dialect)
    return tuple(
        contract.of(case.body) for case in (*one_factor(profile=profile), *each_choice("item", profile=profile))
    )


@cache
def _sent(plan: str, dialect: str) -> tuple[str, ...]:
    contract = Branches.of_dialect(dialect)
    return tuple(sorted(frozenset().union(*(contract.of(body) for body in bodies(plan, dialect)))))


@cache
def _base(dialect: str) -> frozenset[str]:
    """Return the branches without which nothing can be sent."""
    return (
        frozenset.intersection(*single_forms(dialect))
        | Branches.of_dialect(dialect).of(
            {"model": MODEL, "max_output_tokens": 16, "input": [{"role": "user", "content": "Say hello."}]}
        )
        | Branches.of_dialect(dialect).of({"model": MODEL, "max_output_tokens": 16, "input": "Hi"})
    )


def refusable(plan: str = "quick", dialect: str = "northstar") -> list[str]:
    return [branch for branch in _sent(plan, dialect) if branch not in _base(dialect)]


@pytest.mark.slow(60)
@settings(max_examples=20, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.sets(st.sampled_from(refusable()), min_size=1, max_size=4))
def test_the_map_is_the_truth_for_any_set_of_refused_branches(refused: set[str]) -> None:
    check_map(refused, "quick", "northstar")


def check_map(refused: set[str], plan: str, dialect: str) -> None:
    found = isolated(refusing(refused, dialect), plan, dialect)
    accepted = set(found.branches[Acceptance.ACCEPTED])
    alone = set(found.branches[Acceptance.REFUSED])
    forms = single_forms(dialect)
    # Nothing that is refused is called accepted, and whatever can be accepted is.
    assert not accepted & refused
    can_be = frozenset().union(*(form for form in forms if not form & refused)) & set(_sent(plan, dialect))
    assert can_be <= accepted, can_be - accepted
    # What is called refused is refused in all of its forms.
    for branch in alone:
        assert branch in refused or all(form & refused for form in forms if branch in form), branch
    # What some request holds beside nothing but accepted things is isolated, or inside what is.
    for form in forms:
        for branch in outermost(form - accepted) if form & refused else ():
            if len(outermost(form - accepted)) == 1:
                assert any(branch == one or is_below(branch, one) or is_below(one, branch) for one in alone), branch
