"""What a run shows of its endpoint and its model."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest

from rejoinder.conformance.judgement import judge, judge_run
from rejoinder.conformance.judging.acceptance import handling, own_words
from rejoinder.conformance.judging.capabilities import abilities, capabilities, explained
from rejoinder.conformance.judging.context import Abilities, Handling
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import (
    Feature,
    dialect_names,
    features_of,
    load_dialect,
    load_features,
    load_rules,
    read_features,
)
from rejoinder.errors import UsageError
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.footer import Acceptance
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level, Status, Verdict
from rejoinder.sandbox import MODELS, Sandbox
from rejoinder.wire.target import Target

WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "get_weather", "arguments": "{}"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
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
    assert (verdict.status, "feature streaming" in verdict.reason) == (Status.DECLINED, True)


IMAGE = {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "data:,"}]}]}
LOGPROBS = {"include": ["message.output_text.logprobs"]}
WITH_LOGPROBS = {**message("Hi."), "content": [{"type": "output_text", "text": "Hi.", "logprobs": [{"token": "Hi."}]}]}


def pair(body: dict[str, Any], status: int = 400, control: int = 200) -> list[ExchangeView]:
    """Return a request with something and without it, as a run sends them to isolate a refusal."""
    found = [
        replace(exchange(body, status=status, tags=("valid", "narrowed"), id="with"), role="with", case="isolated.1"),
        replace(
            exchange({}, status=control, tags=("valid", "narrowed"), id="without"), role="without", case="isolated.1"
        ),
    ]
    return [ExchangeView(one, load_dialect("northstar")) for one in found]


def narrowed(views: list[ExchangeView]) -> list[Exchange]:
    return [view.exchange.tagged("unjudged") for view in views]


def stopped(seen: ExchangeView, outcome: Outcome, status: int | None = None) -> ExchangeView:
    return ExchangeView(replace(seen.exchange, outcome=outcome, status=status), seen.dialect)


@pytest.mark.parametrize(
    ("name", "views", "state", "evidence"),
    [
        ("images", [view(IMAGE, message("A dot."))], Acceptance.ACCEPTED, "x"),
        (
            "images",
            [view(IMAGE, status=400, id="no"), view(IMAGE, message("."), id="yes")],
            Acceptance.ACCEPTED,
            "yes",
        ),
        # A refusal by itself may have any reason; only a pair isolates it.
        ("images", [view(IMAGE, status=501)], Acceptance.TOGETHER, "x"),
        ("images", [view(IMAGE, status=500)], Acceptance.TOGETHER, "x"),
        ("images", pair(IMAGE), Acceptance.REFUSED, "with"),
        ("images", pair(IMAGE, 501), Acceptance.REFUSED, "with"),
        ("images", pair(IMAGE, 500), Acceptance.SERVER_ERROR, "with"),
        ("images", pair(IMAGE, 400, control=400), Acceptance.TOGETHER, "with"),
        ("images", pair(IMAGE, 429), Acceptance.UNPROVEN, "with"),
        ("images", [*pair(IMAGE), view(IMAGE, message("."), id="yes")], Acceptance.ACCEPTED, "yes"),
        # Where two features make the difference, neither is isolated.
        ("images", pair({**IMAGE, "top_k": 1}), Acceptance.TOGETHER, "with"),
        ("images", [*pair({**IMAGE, "top_k": 1}), view({"top_k": 1})], Acceptance.REFUSED, "with"),
        # Being busy, or not let in, proves nothing; nor does a request that never got a whole response.
        ("images", [view(IMAGE, status=429), view(IMAGE, status=401)], Acceptance.UNPROVEN, "x"),
        ("images", [stopped(view(IMAGE), Outcome.CANCELLED)], Acceptance.UNPROVEN, "x"),
        ("images", [stopped(view(IMAGE), Outcome.TIMEOUT)], Acceptance.UNPROVEN, "x"),
        ("images", [stopped(view(IMAGE), Outcome.CUT, 200)], Acceptance.UNPROVEN, "x"),
        ("images", [view(IMAGE, status=400, tags=("invalid",))], Acceptance.NOT_SENT, ""),
        ("images", [view({}, status=400)], Acceptance.NOT_SENT, ""),
        (
            "images",
            [view({**IMAGE, **REQUIRED}, status=400, id="large"), view(IMAGE, status=400, id="small")],
            Acceptance.TOGETHER,
            "small",
        ),
        ("logprobs", [view(LOGPROBS, message("Hi."))], Acceptance.ACCEPTED, "x"),
        ("logprobs", [view(LOGPROBS, WITH_LOGPROBS)], Acceptance.SEEN, "x"),
        ("streaming", [view({"stream": True}, message("Hi."))], Acceptance.ACCEPTED, "x"),
        ("json_object", [view({"text": {"format": {"type": "json_object"}}}, message("{}"))], Acceptance.SEEN, "x"),
        ("json_object", [view({"text": {"format": {"type": "json_object"}}}, message("{"))], Acceptance.ACCEPTED, "x"),
        ("request_id", [view({"request_id": "r"})], Acceptance.SEEN, "x"),
        ("request_id", [view({"request_id": "mine"})], Acceptance.ACCEPTED, "x"),
        ("retrieve", [view({}, id="made"), view({}, method="GET", path="/r", id="got")], Acceptance.SEEN, "got"),
        ("retrieve", [view({}), view({}, method="GET", path="/r", status=404, id="no")], Acceptance.REFUSED, "no"),
        ("retrieve", [view({}), view({}, method="GET", path="/r", status=500)], Acceptance.SERVER_ERROR, "x"),
        ("retrieve", [view({}), view({}, method="GET", path="/other", status=404)], Acceptance.NOT_SENT, ""),
        ("retrieve", [view({"store": False}), view({}, method="GET", path="/r", status=404)], Acceptance.NOT_SENT, ""),
        ("cancel", [view({}), view({}, path="/r/cancel", status=400)], Acceptance.UNPROVEN, "x"),
        ("cancel", [view({}), view({}, path="/r/cancel", status=405)], Acceptance.REFUSED, "x"),
    ],
)
def test_a_feature_is_what_became_of_the_requests_that_use_it(
    name: str, views: list[ExchangeView], state: Acceptance, evidence: str
) -> None:
    found = capabilities(views)[name]
    assert (found.state, found.exchange) == (state, evidence)
    rejected = state.is_rejected or state is Acceptance.TOGETHER
    assert (found.message == "Not supported.") is rejected
    assert (found.control == "without") is (state.is_rejected and evidence == "with")
    assert found.sentence.endswith(".")


@pytest.mark.parametrize("identity", ["resp_abc==", "resp/1", "résp 100%", "r?x=1"])
def test_an_id_of_any_form_names_its_response_in_a_path(identity: str) -> None:
    made = exchange({}, id="made")
    body = json.dumps({"id": identity, "object": "response", "status": "completed", "output": []}).encode()
    views = [
        replace(made, chunks=(Chunk(0.0, body),)),
        exchange({}, method="GET", path="/" + quote(identity, safe=""), id="got"),
        exchange({}, method="DELETE", path="/" + quote(identity, safe=""), id="gone", status=404),
    ]
    found = capabilities([ExchangeView(one, load_dialect("openai")) for one in views])
    assert (found["retrieve"].state, found["retrieve"].exchange) == (Acceptance.SEEN, "got")
    assert (found["delete"].state, found["delete"].exchange) == (Acceptance.REFUSED, "gone")


FAILING = {"type": "error", "error": {"type": "server_error", "message": "The model broke."}}
INVALID = {"type": "error", "error": {"type": "invalid_request_error", "message": "No images."}}
FAILED = {"id": "r", "object": "response", "status": "failed", "error": {"code": "server_error", "message": "Broke."}}
DONE = {"id": "r", "object": "response", "status": "completed", "output": []}


@pytest.mark.parametrize(
    ("events", "outcome", "how", "words"),
    [
        ([{"type": "response.completed", "response": DONE}], Outcome.COMPLETE, Handling.ACCEPTED, ""),
        ([{"type": "response.completed", "response": DONE}], Outcome.CUT, Handling.UNPROVEN, ""),
        ([{"type": "response.created", "response": DONE}], Outcome.COMPLETE, Handling.UNPROVEN, ""),
        ([{"type": "response.failed", "response": FAILED}], Outcome.COMPLETE, Handling.SERVER_ERROR, "Broke."),
        ([FAILING], Outcome.COMPLETE, Handling.SERVER_ERROR, "The model broke."),
        ([INVALID], Outcome.COMPLETE, Handling.REFUSED, "No images."),
    ],
)
def test_a_stream_that_fails_is_not_accepted(
    events: list[dict[str, Any]], outcome: Outcome, how: Handling, words: str
) -> None:
    body = b"".join(f"data: {json.dumps(event)}\n\n".encode() for event in events)
    stream = replace(
        exchange({"stream": True}),
        headers=(("content-type", "text/event-stream"),),
        chunks=(Chunk(0.0, body),),
        outcome=outcome,
    )
    seen = ExchangeView(stream, load_dialect("northstar"))
    assert handling(seen) is how
    assert own_words(seen) == words


def test_a_failed_response_is_not_accepted() -> None:
    failed = replace(exchange({}), chunks=(Chunk(0.0, json.dumps(FAILED).encode()),))
    assert handling(ExchangeView(failed, load_dialect("northstar"))) is Handling.SERVER_ERROR


@pytest.mark.parametrize(
    "body", [b"", b"null", b'"no"', b'{"error": 7}', b'{"error": {"message": {}}}', b"\xff\x00" * 9999]
)
def test_a_refusal_in_any_words_is_evidence(body: bytes) -> None:
    rejected, accepted = pair(IMAGE)
    refused = ExchangeView(replace(rejected.exchange, chunks=(Chunk(0.0, body),)), rejected.dialect)
    found = capabilities([refused, accepted])["images"]
    assert found.state is Acceptance.REFUSED
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
    target = sandbox_target(dialect, model=None)
    plan = build_plan("full", load_dialect(dialect), models=MODELS)
    batches = run_in_process(plan, Sandbox(dialect, clock=clock), target, clock)
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
    proof = narrowed(pair(dict(feature.example or {})))
    after: list[Verdict] = judge([*without(feature, whole_run("northstar")), *proof], "northstar")
    lost = [verdict for verdict in after if verdict.rule in before and verdict.status is Status.NOT_APPLICABLE]
    # The one case that counts tokens happens to have tools too.
    lost = [verdict for verdict in lost if name in load_rules()[verdict.rule].features and verdict.rule != "USG-11"]
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
        name
        for name, capability in found.items()
        if not capability.state.is_accepted and capability.state is not Acceptance.TOGETHER
    ] == []


@pytest.mark.parametrize(
    ("views", "status"),
    [
        ([exchange(IMAGE, message("A dot."))], Status.PASS),
        ([exchange({}), *narrowed(pair(IMAGE))], Status.FAIL),
        ([exchange({}), *narrowed(pair(IMAGE, 500))], Status.FAIL),
        # What is not isolated, interrupted or not sent is not known.
        ([exchange({}), *narrowed(pair(IMAGE, 400, control=400))], Status.DECLINED),
        ([exchange(IMAGE, status=400)], Status.DECLINED),
        ([stopped(view(IMAGE), Outcome.CANCELLED).exchange], Status.DECLINED),
        ([exchange({}, message("Hi."))], Status.DECLINED),
    ],
)
def test_what_is_required_must_be_accepted(views: list[Exchange], status: Status) -> None:
    [verdict] = judge(views, "northstar", select="CAP-01", required=["images"])
    assert verdict.status is status
    if status is Status.FAIL:
        evidence = verdict.findings[0].evidence
        assert evidence.exchange == "with"
        assert "Not supported." in evidence.message
        assert "accepted the same request without it (without)" in evidence.message
        assert verdict.findings[0].cases == ["isolated.1"]
    [verdict] = judge(views, "northstar", select="CAP-01")
    assert verdict.status is Status.NOT_APPLICABLE


def test_what_no_response_shows_though_it_could_is_declined() -> None:
    views = [exchange(LOGPROBS, message("Hi."))]
    [verdict] = judge(views, "northstar", select="CAP-01", required=["logprobs"])
    assert (verdict.status, "No response shows its effect" in verdict.reason) == (Status.DECLINED, True)


def test_a_pair_that_is_sent_again_is_judged_by_what_it_shows_then() -> None:
    _, context = judge_run([exchange({}), *narrowed(pair(IMAGE))], "northstar", select="", required=["images"])
    for again, status in (
        (pair(IMAGE), Status.FAIL),
        (pair(IMAGE, 200), Status.PASS),
        (pair(IMAGE, 503), Status.DECLINED),
    ):
        exchanges = [view.exchange for view in again]
        [verdict] = judge(exchanges, "northstar", select="CAP-01", run_context=context)
        assert verdict.status is status


def test_what_a_rule_shows_to_be_ignored_is_not_there() -> None:
    plain = exchange(REQUIRED, message("Rain."))
    [verdict] = judge([plain], "northstar", select="CAP-01", required=["tool_choice_required", "function_tools"])
    assert verdict.status is Status.FAIL
    [finding] = verdict.findings
    assert finding.evidence.kind == "tool_choice_required"
    assert "ignored it: TOL-01 failed on every response" in finding.evidence.message


@pytest.mark.parametrize(
    ("exchanges", "state", "rules"),
    [
        ([exchange(REQUIRED, message("Rain."))], Acceptance.IGNORED, {"TOL-01"}),
        ([exchange(REQUIRED, message("Rain.")), exchange(REQUIRED, CALL, id="y")], Acceptance.BROKEN, {"TOL-01"}),
        ([exchange(REQUIRED, CALL)], Acceptance.SEEN, set()),
    ],
)
def test_rules_show_whether_an_accepted_feature_works(
    exchanges: list[Exchange], state: Acceptance, rules: set[str]
) -> None:
    _, context = judge_run(exchanges, "northstar", select="TOL-01")
    found = context.capabilities["tool_choice_required"]
    assert (found.state, {rule for rule, _ in found.findings}) == (state, rules)


CUSTOM = {"type": "custom", "name": "take_note"}
ALLOWED = {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [WEATHER]}}
CUSTOM_CALL = {"type": "custom_tool_call", "id": "c", "call_id": "call_2", "name": "take_note", "input": "a"}
BAD_CALL = {**CALL, "arguments": "{"}


def states_of(exchanges: list[Exchange], rules: str) -> dict[str, Acceptance]:
    _, context = judge_run(exchanges, "northstar", select=rules)
    return {name: found.state for name, found in context.capabilities.items()}


def test_a_finding_on_other_tools_does_not_break_function_tools() -> None:
    sent = [
        exchange({"tools": [WEATHER]}, CALL, id="a"),
        # The endpoint makes a function call of a custom one and loses its input.
        exchange({"tools": [CUSTOM]}, {**BAD_CALL, "name": "take_note"}, id="b"),
        exchange({"tools": [WEATHER, CUSTOM]}, {**BAD_CALL, "name": "take_note"}, id="c"),
    ]
    found = states_of(sent, "ACC-16")
    assert found["function_tools"] is Acceptance.SEEN
    assert found["custom_tools"] is Acceptance.BROKEN


def test_a_finding_on_function_tools_does_not_break_what_is_sent_beside_them() -> None:
    sent = [
        exchange({"tools": [WEATHER]}, BAD_CALL, id="a"),
        exchange({"tools": [WEATHER, CUSTOM]}, BAD_CALL, CUSTOM_CALL, id="b"),
        exchange({"tools": [CUSTOM]}, CUSTOM_CALL, id="c"),
        exchange({**LOGPROBS, "tools": [WEATHER]}, BAD_CALL, WITH_LOGPROBS, id="d"),
    ]
    found = states_of(sent, "ACC-16")
    assert found["function_tools"] is Acceptance.BROKEN
    assert found["custom_tools"] is Acceptance.SEEN
    assert found["logprobs"] is Acceptance.SEEN


def test_a_finding_on_one_tool_choice_breaks_that_choice_alone() -> None:
    sent = [
        exchange(REQUIRED, CALL, id="a"),
        exchange({"tools": [WEATHER]}, CALL, id="b"),
        exchange(ALLOWED, message("Rain."), id="c"),
    ]
    _, context = judge_run(sent, "northstar", select="TOL-01")
    allowed = context.capabilities["tool_choice_allowed"]
    assert (allowed.state, allowed.rules) == (Acceptance.BROKEN, "TOL-01")
    assert context.capabilities["tool_choice_required"].state is Acceptance.SEEN
    assert context.capabilities["function_tools"].state is Acceptance.SEEN


def test_a_finding_at_the_place_that_one_feature_fills_breaks_it() -> None:
    broken = {**WITH_LOGPROBS, "content": [{**WITH_LOGPROBS["content"][0], "logprobs": [{"token": 7}]}]}
    sent = [exchange(LOGPROBS, broken, id="a"), exchange({}, message("Hi."), id="b")]
    verdicts, context = judge_run(sent, "northstar", select="RSP-05,ITM-06,PRT-*,RSP-*")
    assert any("logprobs" in f.evidence.pointer for v in verdicts for f in v.findings if v.level is Level.MUST)
    assert context.capabilities["logprobs"].state is Acceptance.BROKEN


@pytest.mark.parametrize(
    ("plan", "repeats", "sentence"),
    [
        ("quick", None, "Plan full sends one."),
        ("full", False, "The model did not repeat a canary, so rejoinder did not send the requests with it."),
        ("full", True, "The run ended early, or an earlier request that they need failed."),
    ],
)
def test_a_feature_that_was_not_sent_has_the_true_reason(plan: str, repeats: bool | None, sentence: str) -> None:
    dialect = load_dialect("northstar")
    found = explained(capabilities([view({})]), Abilities(repeats=repeats), dialect, plan)["prompt_templates"]
    assert found.sentence == f"No request used the feature prompt_templates. {sentence}"
    assert (found.plan, found.result().reason) == (("full", "") if plan == "quick" else ("", sentence))


def test_a_token_count_does_not_show_that_a_chain_is_ignored() -> None:
    """Servers that estimate usage keep the context of a chain all the same."""
    clock = ManualClock()
    sandbox = Sandbox("northstar", ("history-not-counted",), clock=clock)
    cases = build_plan("full", load_dialect("northstar")).cases
    plan = Plan("full", tuple(case for case in cases if case.id.startswith("state.")))
    target = Target("http://sandbox/v1/responses")
    sent = [exchange for batch in run_in_process(plan, sandbox, target, clock) for exchange in batch]
    verdicts, context = judge_run(sent, "northstar")
    assert next(verdict for verdict in verdicts if verdict.rule == "USG-09").findings
    assert context.capabilities["chaining"].state is Acceptance.SEEN


def test_a_feature_that_a_failed_rule_needs_is_accepted_but_broken() -> None:
    call = {**CALL, "arguments": "{"}
    verdicts, context = judge_run([exchange({"tools": [WEATHER]}, call)], "northstar", select="ACC-16")
    found = context.capabilities["function_tools"]
    assert found.state is Acceptance.BROKEN
    assert found.findings == (("ACC-16", verdicts[0].findings[0].fingerprint),)
    assert "but ACC-16 failed" in found.sentence


def test_a_feature_with_a_warning_is_not_broken() -> None:
    tool = {**WEATHER, "type": "custom"}
    views = [exchange({"tools": [WEATHER]}, CALL), exchange({"tools": [tool]}, CALL, id="y")]
    verdicts, context = judge_run(views, "northstar", select="*")
    warned = [verdict for verdict in verdicts if verdict.status is Status.WARN]
    broken = {rule for known in context.capabilities.values() for rule, _ in known.findings}
    assert broken
    assert not broken & {verdict.rule for verdict in warned}


def test_names_of_rules_that_test_features_exist() -> None:
    for feature in load_features().values():
        assert set(feature.tested_by) <= load_rules().keys(), feature.name
