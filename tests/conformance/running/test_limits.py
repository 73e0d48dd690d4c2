"""The search for limits at sandboxes that have some, and what reports say of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.limits import DIMENSIONS, Dimension, measure_limits, size_of
from rejoinder.conformance.running.case import CaseContext, PlannedCase
from rejoinder.conformance.running.cases.lim import sized_request
from rejoinder.conformance.running.in_process import ManualClock, sandbox_target, send_in_process
from rejoinder.conformance.running.limits import LimitPlan, check_affordable, find_limits, plan_limits
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.errors import UsageError
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import LimitResult, LimitStop
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox.endpoint.reply import ApiError, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import Variation, input_items
from rejoinder.settings import Budget


class Endpoint:
    """A sandbox in this process, which ends after ``most`` requests. What is sent again does not count."""

    def __init__(self, dialect: str, *variations: Variation, freedoms: Iterable[str] = (), most: int = 10_000) -> None:
        self.clock = ManualClock()
        self.sandbox = Sandbox(dialect, clock=self.clock, freedoms=freedoms)
        self.sandbox.variations += variations
        self.target = sandbox_target(dialect, model=None)
        self.exchanges: list[Exchange] = []
        self.most = most

    @property
    def ended(self) -> bool:
        return len(self.exchanges) >= self.most

    async def send(self, case: PlannedCase, *tags: str) -> list[Exchange]:
        sent = send_in_process(case, self.sandbox, self.target, self.clock)
        self.exchanges += [exchange.tagged(Tag.UNJUDGED) for exchange in sent] if tags else sent
        return sent


@cache
def context(dialect: str) -> CaseContext:
    return CaseContext(load_dialect(dialect), form=load_dialect(dialect).usual_form)


def searched(
    endpoint: Endpoint, *names: str, length: int | None = None
) -> tuple[dict[str, LimitResult], dict[str, str], list[str]]:
    """Return the limits by name, the findings of MUST and SHOULD rules, and the warnings."""
    plan = plan_limits(context(endpoint.sandbox.dialect.name))
    rows = tuple(row for row in plan.dimensions if not names or row.name in names)
    warnings = asyncio.run(find_limits(endpoint, context(endpoint.sandbox.dialect.name), LimitPlan(rows, length)))
    dialect = endpoint.sandbox.dialect
    found = {one.limit: one for one in measure_limits(endpoint.exchanges, dialect)}
    verdicts = judge(endpoint.exchanges, dialect)
    loud = {v.rule: v.findings[0].evidence.message for v in verdicts if v.findings and v.level is not Level.MAY}
    return found, loud, warnings


def above(measure: Callable[[Json], int], limit: int, status: int = 400) -> Variation:
    """Return an endpoint that refuses what is larger than a limit."""

    def request(body: Json, _: RequestInfo) -> Json:
        if measure(body) > limit:
            raise ApiError(status, "Too large.", code="too_large")
        return body

    return Variation(id="limited", title="", request=request)


@pytest.mark.slow(1)
@pytest.mark.parametrize("dialect", dialect_names())
def test_a_clean_endpoint_breaks_no_rule_and_its_limits_are_found(dialect: str) -> None:
    found, loud, warnings = searched(Endpoint(dialect))
    assert (loud, warnings) == ({}, [])
    assert (found["metadata_pairs"].largest, found["metadata_pairs"].smallest) == (16, 17)
    assert (found["metadata_key"].largest, found["metadata_key"].smallest) == (64, 65)
    assert found["metadata_key"].stop is LimitStop.FOUND
    body = found["body"]
    assert (body.largest, body.smallest, body.stop) == (DIMENSIONS["body"].ceiling, None, LimitStop.CEILING)


@pytest.mark.slow(2)
@pytest.mark.parametrize("freedom", ["bodies-limited", "bodies-limited-as-bad", "items-limited"])
def test_other_limits_break_no_rule(freedom: str) -> None:
    name = "items" if freedom == "items-limited" else "body"
    for dialect in dialect_names():
        found, loud, _ = searched(Endpoint(dialect, freedoms=[freedom]), name)
        assert (loud, found[name].stop) == ({}, LimitStop.FOUND)


@pytest.mark.parametrize("limit", [9, 100, 333])
def test_the_interval_is_halved(limit: int) -> None:
    endpoint = Endpoint("northstar", above(lambda body: len(input_items(body)), limit))
    found, _, _ = searched(endpoint, "items")
    items = found["items"]
    assert items.largest is not None
    assert items.smallest is not None
    assert items.largest <= limit < items.smallest
    assert items.smallest - items.largest <= max(1, limit // 8)
    assert items.how == "400: Too large."
    sizes = [size for exchange in endpoint.exchanges if (size := size_of(exchange)) is not None]
    assert len(sizes) <= len(LimitPlan((DIMENSIONS["items"],)).sizes(DIMENSIONS["items"])) + 4
    assert sum(exchange.role.startswith("after-") for exchange in endpoint.exchanges) == sum(
        size > limit for size in sizes
    )


def crash(above: int, status: int = 500) -> Variation:
    """Return an endpoint that breaks on a tool name of more characters."""

    def request(body: Json, _: RequestInfo) -> Json:
        if any(len(tool.get("name", "")) > above for tool in body.get("tools") or []):
            raise ApiError(status, "Internal server error.", code="server_error")
        return body

    return Variation(id="crashing", title="", request=request)


@pytest.mark.parametrize("dialect", ["northstar", "openai", "vllm"])
def test_a_crash_above_a_limit_is_found(dialect: str) -> None:
    found, loud, _ = searched(Endpoint(dialect, crash(90)), "tool_name")
    assert found["tool_name"].how == "500: Internal server error."
    assert {"LIM-02", "ERR-05"} <= loud.keys()


def test_a_crash_below_a_documented_limit_breaks_the_rule_on_documented_limits() -> None:
    _, loud, _ = searched(Endpoint("openresponses", crash(40)), "tool_name")
    assert {"LIM-03", "HTTP-03"} <= loud.keys()
    assert "LIM-02" not in loud


@pytest.mark.parametrize("dialect", dialect_names())
def test_words_that_are_cut_silently_are_found(dialect: str) -> None:
    def request(body: Json, _: RequestInfo) -> Json:
        message = body["input"][0]
        words = message["content"].split()[-3000:] if isinstance(message.get("content"), str) else []
        return {**body, "input": [{**message, "content": " ".join(words)}]} if words else body

    _, loud, _ = searched(Endpoint(dialect, Variation(id="cut", title="", request=request)), "context")
    assert "LIM-04" in loud


def test_a_rejection_of_the_smallest_size_is_no_limit() -> None:
    found, loud, _ = searched(Endpoint("northstar", above(lambda body: len(body.get("tools") or []), 0)), "tools")
    assert (found["tools"].largest, found["tools"].stop) == (None, LimitStop.REFUSED)
    assert loud == {}


def test_a_search_that_ends_early_says_so() -> None:
    endpoint = Endpoint("northstar", most=3)
    found, _, warnings = searched(endpoint, "body", "items", "tools")
    assert found["body"].largest == 4 * DIMENSIONS["body"].start
    assert found["body"].stop is LimitStop.BUDGET
    assert warnings == ["The run ended before the search for these limits: Input items, Function tools."]


def test_one_failure_that_does_not_repeat_ends_a_search_without_a_limit() -> None:
    seen: list[int] = []

    def request(body: Json, _: RequestInfo) -> Json:
        seen.append(len(input_items(body)))
        if seen.count(64) == 1 and seen[-1] == 64:
            raise ApiError(500, "Once.", code="server_error")
        return body

    endpoint = Endpoint("northstar", Variation(id="once", title="", request=request))
    searched(endpoint, "items")
    assert max(seen) == 64
    assert seen.count(64) == 2


def listing(**fields: Any) -> Exchange:
    body = json.dumps({"data": [{"id": "other", "max_model_len": 7}, {"id": "m", **fields}]}).encode()
    request = Request("GET", "/v1/models")
    return Exchange("x1", request, Outcome.COMPLETE, 200, (), (Chunk(0.0, body),), "preflight", "models")


@pytest.mark.parametrize(
    ("fields", "length"),
    [({"max_model_len": 2048}, 2048), ({"context_length": 99}, 99), ({"max_model_len": "x"}, None)],
)
def test_the_length_of_the_context_comes_from_the_list_of_models(fields: dict[str, Any], length: int | None) -> None:
    plan = plan_limits(CaseContext(load_dialect("northstar"), "m"), [listing(**fields)])
    assert plan.context == length
    if length:
        row = DIMENSIONS["context"]
        assert max(plan.sizes(row)) > length
        assert plan.halvings(row) == 0


@pytest.mark.parametrize("row", DIMENSIONS.values(), ids=lambda row: row.name)
def test_what_a_search_costs_is_never_more_than_it_says(row: Dimension) -> None:
    dialect = "vllm" if row.name != "call_id" else "openai"
    for limit in (row.start, row.ceiling - 1) if row.name != "body" else (row.start, 8 * row.start):
        endpoint = Endpoint(dialect, Variation(id="limited", title="", received=refused_above(row, limit)))
        plan = LimitPlan((row,))
        asyncio.run(find_limits(endpoint, context(dialect), plan))
        assert len(endpoint.exchanges) <= plan.cost.requests
        assert sum(len(exchange.request.body) for exchange in endpoint.exchanges) <= plan.cost.size


def refused_above(row: Dimension, limit: int) -> Callable[[Request, RequestInfo], Request]:
    """Return a hook that breaks on every request that is larger than that of a size."""
    largest = len(json.dumps(sized_request(context("northstar"), row, limit).body)) if row.name != "body" else limit

    def received(request: Request, _: RequestInfo) -> Request:
        if len(request.body) > largest:
            raise ApiError(500, "Too large.", code="server_error")
        return request

    return received


def test_a_search_that_costs_more_than_the_budget_does_not_start() -> None:
    plan = LimitPlan(plan_limits(context("northstar")).dimensions, 1_000_000)
    with pytest.raises(UsageError, match=r"but it may send 250,000 without --budget\."):
        check_affordable(plan, None)
    with pytest.raises(UsageError, match=r"--budget allows 50,000\.") as error:
        check_affordable(plan, Budget(tokens=50_000))
    assert f"--budget {-(-plan.cost.tokens // 1000)}ktokens" in (error.value.hint or "")
    check_affordable(plan, Budget(tokens=plan.cost.tokens))
    check_affordable(plan_limits(context("northstar")), None)
