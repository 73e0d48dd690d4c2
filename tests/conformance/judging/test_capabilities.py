"""What a run shows of its endpoint and its model."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.capabilities import abilities, capabilities
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import Feature, dialect_names, features_of, load_dialect, read_features
from rejoinder.errors import UsageError
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import FeatureState
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Status, Verdict
from rejoinder.sandbox import Sandbox
from rejoinder.wire.target import Target

WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
SHAPED = {"text": {"format": {"type": "json_schema", "name": "n", "strict": True, "schema": SCHEMA}}}
REPEAT = {"input": "The code word is quartz-1234. Answer with it."}
REQUIRED = {"tools": [WEATHER], "tool_choice": "required"}
REFUSED = {"error": {"message": "Not supported.", "type": "invalid_request", "param": None, "code": None}}


def message(text: str, kind: str = "output_text") -> dict[str, Any]:
    field = "refusal" if kind == "refusal" else "text"
    return {"type": "message", "id": "m", "role": "assistant", "content": [{"type": kind, field: text}]}


def exchange(
    request: dict[str, Any],
    *output: dict[str, Any],
    status: int = 200,
    tags: tuple[str, ...] = (),
    id: str = "x",
    path: str = "",
    method: str = "POST",
) -> Exchange:
    response = {"id": "r", "object": "response", "status": "completed", "output": output}
    return Exchange(
        id=id,
        request=Request(method, f"/v1/responses{path}", (), json.dumps({"input": "Hi", **request}).encode()),
        outcome=Outcome.COMPLETE,
        status=status,
        headers=(("content-type", "application/json"),),
        chunks=(Chunk(0.0, json.dumps(response if status == 200 else REFUSED).encode()),),
        case="c",
        role="plain",
        tags=tags,
    )


def view(*args: Any, **fields: Any) -> ExchangeView:
    return ExchangeView(exchange(*args, **fields), load_dialect("northstar"))


@pytest.mark.parametrize(
    ("name", "seen", "shown"),
    [
        ("repeats", view(REPEAT, message("It is quartz-1234.")), True),
        ("repeats", view(REPEAT, message("It is quartz-4321."), tags=(Tag.ASKS_REPEAT,)), False),
        ("repeats", view(REPEAT, message("I must not.", "refusal"), tags=(Tag.ASKS_REPEAT,)), None),
        # A miss where the word was not the whole question says nothing.
        ("repeats", view(REPEAT, message("Rain.")), None),
        ("repeats", view(REPEAT, status=400, tags=(Tag.ASKS_REPEAT,)), None),
        ("repeats", view({}, message("It is quartz-1234.")), None),
        ("calls", view({"tools": [WEATHER]}, CALL), True),
        ("calls", view({"tools": [WEATHER]}, message("Rain.")), None),
        ("calls", view(REQUIRED, message("Rain.")), False),
        ("calls", view(REQUIRED, status=400), None),
        ("follows_schema", view(SHAPED, message('{"a": 1}')), True),
        ("follows_schema", view(SHAPED, message("One.")), False),
        ("follows_schema", view({}, message('{"a": 1}')), None),
    ],
)
def test_an_ability_is_shown_by_an_exchange(name: str, seen: ExchangeView, shown: bool | None) -> None:
    assert getattr(abilities([seen]), name) is shown
    assert (name in abilities([seen]).evidence) is (shown is not None)


@pytest.mark.parametrize("shown_first", [True, False])
def test_one_exchange_that_shows_an_ability_is_enough(shown_first: bool) -> None:
    views = [view(REQUIRED, CALL, id="yes"), view(REQUIRED, message("Rain."), id="no")]
    found = abilities(views if shown_first else views[::-1])
    assert found.calls is True
    assert found.evidence["calls"] == "yes"


def test_nothing_is_known_of_a_run_without_exchanges() -> None:
    found = abilities([])
    assert (found.repeats, found.calls, found.follows_schema) == (None, None, None)


def test_the_course_of_a_run_reaches_checks() -> None:
    [verdict] = judge([exchange({}, status=400)], "northstar", select="CAP-01", required=["streaming"])
    assert (verdict.status, verdict.findings[0].evidence.kind) == (Status.FAIL, "streaming")


IMAGE = {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]}
LOGPROBS = {"include": ["message.output_text.logprobs"]}
WITH_LOGPROBS = {**message("Hi."), "content": [{"type": "output_text", "text": "Hi.", "logprobs": [{"token": "Hi."}]}]}


@pytest.mark.parametrize(
    ("name", "views", "state", "evidence"),
    [
        ("images", [view(IMAGE, message("A dot."))], FeatureState.SUPPORTED, "x"),
        (
            "images",
            [view(IMAGE, status=400, id="no"), view(IMAGE, message("."), id="yes")],
            FeatureState.SUPPORTED,
            "yes",
        ),
        ("images", [view(IMAGE, status=501)], FeatureState.REFUSED, "x"),
        (
            "images",
            [view(IMAGE, status=500, id="broken"), view(IMAGE, status=400, id="no")],
            FeatureState.REFUSED,
            "no",
        ),
        ("images", [view(IMAGE, status=500)], FeatureState.FAILED, "x"),
        # Being busy, or not let in, is no answer to the question; nor is the refusal of what must be refused.
        ("images", [view(IMAGE, status=429), view(IMAGE, status=401)], FeatureState.UNTRIED, ""),
        ("images", [view(IMAGE, status=400, tags=("invalid",))], FeatureState.UNTRIED, ""),
        ("images", [view({}, status=400)], FeatureState.UNTRIED, ""),
        # The smaller request is refused for fewer other reasons.
        (
            "images",
            [view({**IMAGE, **REQUIRED}, status=400, id="large"), view(IMAGE, status=400, id="small")],
            FeatureState.REFUSED,
            "small",
        ),
        ("logprobs", [view(LOGPROBS, message("Hi."))], FeatureState.UNSEEN, "x"),
        ("logprobs", [view(LOGPROBS, WITH_LOGPROBS)], FeatureState.SUPPORTED, "x"),
        ("streaming", [view({"stream": True}, message("Hi."))], FeatureState.UNSEEN, "x"),
        ("retrieve", [view({}, id="made"), view({}, method="GET", path="/r", id="got")], FeatureState.SUPPORTED, "got"),
        ("retrieve", [view({}), view({}, method="GET", path="/r", status=404, id="no")], FeatureState.REFUSED, "no"),
        ("retrieve", [view({}), view({}, method="GET", path="/other", status=404)], FeatureState.UNTRIED, ""),
        ("retrieve", [view({"store": False}), view({}, method="GET", path="/r", status=404)], FeatureState.UNTRIED, ""),
        ("cancel", [view({}), view({}, path="/r/cancel", status=400)], FeatureState.UNTRIED, ""),
        ("cancel", [view({}), view({}, path="/r/cancel", status=405)], FeatureState.REFUSED, "x"),
    ],
)
def test_a_feature_is_what_became_of_the_requests_that_use_it(
    name: str, views: list[ExchangeView], state: FeatureState, evidence: str
) -> None:
    found = capabilities(views)[name]
    assert (found.state, found.exchange) == (state, evidence)
    assert (found.message == "Not supported.") is (state in (FeatureState.REFUSED, FeatureState.FAILED))


@pytest.mark.parametrize(
    "body", [b"", b"null", b'"no"', b'{"error": 7}', b'{"error": {"message": {}}}', b"\xff\x00" * 9999]
)
def test_a_refusal_in_any_words_is_evidence(body: bytes) -> None:
    refused = replace(exchange(IMAGE, status=400), chunks=(Chunk(0.0, body),))
    found = capabilities([ExchangeView(refused, load_dialect("northstar"))])["images"]
    assert found.state is FeatureState.REFUSED
    assert len(found.message) <= 300
    assert "\n" not in found.message


def test_features_that_the_dialect_does_not_define_are_not_listed() -> None:
    names = {dialect: {feature.name for feature in features_of(load_dialect(dialect))} for dialect in dialect_names()}
    assert {"mcp", "delete"} <= names["openai"] - names["northstar"]
    assert {"top_k", "request_id"} <= names["northstar"] - names["openai"]
    assert "computer_tool" not in names["openresponses"]


def test_names_of_features_are_read() -> None:
    dialect = load_dialect("northstar")
    assert read_features(["images, streaming", "json-schema"], dialect) == {"images", "streaming", "json_schema"}
    assert read_features([], dialect) == frozenset()
    with pytest.raises(UsageError, match="Did you mean images"):
        read_features(["imges"], dialect)
    with pytest.raises(UsageError, match="--features"):
        read_features(["quux"], dialect)


@cache
def whole_run(dialect: str) -> tuple[Exchange, ...]:
    clock = ManualClock()
    target = Target("http://sandbox/v1/responses", dialect=dialect)
    batches = run_in_process(build_plan("full", load_dialect(dialect)), Sandbox(dialect, clock=clock), target, clock)
    return tuple(exchange for batch in batches for exchange in batch)


def without(feature: Feature, exchanges: tuple[Exchange, ...]) -> list[Exchange]:
    """Return the exchanges as they would be if every request that uses a feature were refused."""
    body = json.dumps(REFUSED).encode()
    gone: set[str] = set()
    kept = []
    for found in exchanges:
        asked = found.request.path.encode() + found.request.body
        if any(identity.encode() in asked for identity in gone):
            continue
        if found.request.path.endswith("/responses") and feature.is_used(found.request.json()):
            told = ExchangeView(found, load_dialect("northstar")).response or {}
            gone |= {identity for identity in [told.get("id")] if isinstance(identity, str) and "resp_" in identity}
            found = replace(
                found, status=400, headers=(("content-type", "application/json"),), chunks=(Chunk(0.0, body),)
            )
        kept.append(found)
    return kept


@pytest.mark.slow(2)
@pytest.mark.parametrize("name", ["streaming", "function_tools", "reasoning", "logprobs", "json_schema", "chaining"])
def test_a_rule_that_a_refused_feature_leaves_unjudged_says_so(name: str) -> None:
    [feature] = [feature for feature in features_of(load_dialect("northstar")) if feature.name == name]
    before = {verdict.rule for verdict in judge(whole_run("northstar"), "northstar") if verdict.judged}
    after: list[Verdict] = judge(without(feature, whole_run("northstar")), "northstar")
    lost = [verdict for verdict in after if verdict.rule in before and verdict.status is Status.NOT_APPLICABLE]
    # The one case that counts tokens happens to have tools too.
    lost = [verdict for verdict in lost if verdict.rule != "USG-11"]
    assert lost
    for verdict in lost:
        assert f"The endpoint refused the feature {name} (" in verdict.reason, verdict.rule
        assert '"Not supported."' in verdict.reason
    assert not any(f"feature {name}" in verdict.reason for verdict in after if verdict.judged)


@pytest.mark.slow(2)
@pytest.mark.parametrize("dialect", dialect_names())
def test_plan_full_tries_every_feature(dialect: str) -> None:
    found = capabilities([ExchangeView(exchange, load_dialect(dialect)) for exchange in whole_run(dialect)])
    assert [
        name for name, capability in found.items() if capability.state in (FeatureState.UNTRIED, FeatureState.FAILED)
    ] == []


@pytest.mark.parametrize(
    ("views", "status"),
    [
        ([exchange(IMAGE, message("A dot."))], Status.PASS),
        ([exchange(IMAGE, status=400)], Status.FAIL),
        ([exchange({}, message("Hi."))], Status.FAIL),
    ],
)
def test_what_is_required_must_be_accepted(views: list[Exchange], status: Status) -> None:
    [verdict] = judge(views, "northstar", select="CAP-01", required=["images"])
    assert verdict.status is status
    [verdict] = judge(views, "northstar", select="CAP-01")
    assert verdict.status is Status.NOT_APPLICABLE


def test_what_no_reply_shows_is_declined() -> None:
    views = [exchange(LOGPROBS, message("Hi."))]
    [verdict] = judge(views, "northstar", select="CAP-01", required=["logprobs"])
    assert (verdict.status, "no response shows it" in verdict.reason) == (Status.DECLINED, True)
