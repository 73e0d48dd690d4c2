"""Refusals: what the checks of HTTP and ERR take and what they do not, where the sandbox alone cannot show it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases.err import MUTANTS, cases, sample
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.sandbox import Sandbox, post
from rejoinder.strategies import EndpointProfile, surely_invalid
from rejoinder.strategies.sets.invalid import KINDS

GOOD = {"error": {"type": "invalid_request_error", "message": "No.", "param": "input", "code": None}}


def refusal(
    status: int | None,
    body: Any = GOOD,
    *tags: str,
    sent: Any = None,
    outcome: Outcome = Outcome.COMPLETE,
    headers: tuple[tuple[str, str], ...] = (),
    **fields: Any,
) -> Exchange:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    content = sent if isinstance(sent, bytes) else json.dumps(sent or {"input": 7}).encode()
    request = Request(fields.pop("method", "POST"), "/v1/responses", fields.pop("sent_headers", ()), content)
    chunks = () if status is None else (Chunk(0.1, data),)
    kept = {"id": "x", "case": "c", "role": "plain", **fields}
    return Exchange(request=request, outcome=outcome, status=status, headers=headers, chunks=chunks, tags=tags, **kept)


def fires(rule: str, *exchanges: Exchange, dialect: str = "northstar") -> bool | None:
    """Return whether the rule has findings; ``None`` when it had nothing to judge."""
    [verdict] = judge(list(exchanges), dialect, select=rule)
    assert verdict.status.value != "error", verdict.reason
    return bool(verdict.findings) if verdict.judged else None


def error(**fields: Any) -> dict[str, Any]:
    return {"error": {**GOOD["error"], **fields}}


@pytest.mark.parametrize(
    ("status", "tags", "found"),
    [
        (400, (), False),
        (422, (), False),
        (500, (), True),
        (404, (), True),
        (200, (), False),
        (200, ("broken",), True),
        (503, (), None),
        (429, (), None),
    ],
)
def test_broken_json(status: int, tags: tuple[str, ...], found: bool | None) -> None:
    assert fires("HTTP-06", refusal(status, GOOD, "invalid", *tags, sent=b'{"input": ')) is found


def test_json_is_not_broken_json() -> None:
    assert fires("HTTP-06", refusal(500, GOOD, "invalid", sent={"input": 7})) is None
    assert fires("HTTP-06", refusal(500, GOOD, "invalid", sent=b"null")) is None


@pytest.mark.parametrize(
    ("media", "status", "found"),
    [
        ("text/plain", 415, False),
        ("text/plain; charset=utf-8", 400, False),
        ("application/xml", 200, True),
        ("application/xml", 500, True),
        ("application/json", 200, None),
        ("application/problem+json", 200, None),
        ("application/x-www-form-urlencoded", 200, None),
    ],
)
def test_other_content_types(media: str, status: int, found: bool | None) -> None:
    sent = refusal(status, GOOD, "invalid", sent_headers=(("Content-Type", media),))
    assert fires("HTTP-07", sent) is found


@pytest.mark.parametrize(
    ("sent", "status", "found"),
    [
        ({"model": "m"}, 400, False),
        ({"model": "m"}, 422, False),
        ({"model": "m"}, 200, True),
        ({"prompt": {"id": "p"}}, 200, None),
        ({"previous_response_id": "r"}, 200, None),
        ({"input": ""}, 200, None),
    ],
)
def test_missing_input(sent: Any, status: int, found: bool | None) -> None:
    assert fires("HTTP-08", refusal(status, GOOD, "invalid", sent=sent)) is found


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (404, error(), False),
        (400, error(code="model_not_found"), False),
        (403, error(code="model_not_found"), False),
        (400, error(), True),
        (500, error(code="model_not_found"), True),
        (200, {"model": "another"}, False),
        (200, {"model": "no-such-model"}, True),
    ],
)
def test_unknown_models(status: int, body: Any, found: bool) -> None:
    sent = {"model": "no-such-model", "input": "Hi"}
    assert fires("HTTP-09", refusal(status, body, "invalid", "unknown-model", sent=sent)) is found


@pytest.mark.parametrize(("key", "status", "found"), [("right", 401, False), (None, 200, None)])
def test_a_wrong_key(key: str | None, status: int, found: bool | None) -> None:
    request = post({"input": "Hi"}, headers=(("authorization", "Bearer wrong"),))
    exchange = Sandbox(key=key).exchange(request, tags=("wrong-key",))
    assert exchange.status == status
    assert fires("HTTP-10", exchange) is found
    assert fires("ERR-01", exchange) is (None if found is None else False)


@pytest.mark.parametrize("name", ["Retry-After", "retry-after-ms", "x-ratelimit-reset-requests"])
def test_a_rate_limit_that_says_when(name: str) -> None:
    assert fires("HTTP-11", refusal(429, headers=((name, "1"),))) is False
    assert fires("HTTP-11", refusal(429)) is True


def test_server_errors_have_the_envelope() -> None:
    assert fires("HTTP-12", refusal(500, error(type="server_error"))) is False
    assert fires("HTTP-12", refusal(502, b"<html>Bad Gateway</html>")) is True
    assert fires("HTTP-12", refusal(400, b"no")) is None


def test_a_stream_that_answers_an_invalid_request_is_no_refusal() -> None:
    exchange = Sandbox().exchange(post({"input": "Hi", "stream": True}), tags=("invalid",))
    assert fires("HTTP-13", exchange) is False


def test_a_good_request_after_bad_ones() -> None:
    bad = refusal(400, GOOD, "invalid", role="one")
    good = refusal(200, {}, "valid", sent={"input": "Hi"}, role="after")
    gone = refusal(None, b"", "valid", sent={"input": "Hi"}, role="after", outcome=Outcome.REFUSED)
    assert fires("HTTP-15", bad, good) is False
    assert fires("HTTP-15", bad, gone) is True
    assert fires("HTTP-15", good) is None


@pytest.mark.parametrize(
    ("status", "kind", "dialect", "found"),
    [
        (400, "BadRequestError", "northstar", False),
        (404, "NotFoundError", "northstar", False),
        (404, "invalid_request_error", "openai", False),
        (401, "authentication_error", "northstar", False),
        (429, "insufficient_quota", "openai", False),
        (400, "server_error", "northstar", True),
        (500, "invalid_request_error", "northstar", True),
        (500, "InternalServerError", "northstar", False),
        (400, "invalid_request", "openresponses", False),
        (400, "invalid_request_error", "openresponses", False),
        (500, "model_error", "openresponses", False),
        (404, "invalid_request", "openresponses", True),
        (400, "kaput", "openresponses", True),
        (400, "kaput", "northstar", False),
    ],
)
def test_error_types(status: int, kind: str, dialect: str, found: bool) -> None:
    assert fires("ERR-03", refusal(status, error(type=kind)), dialect=dialect) is found


@pytest.mark.parametrize(
    ("param", "found"),
    [
        ("input", False),
        ("input[0].role", False),
        ("input.0.role", False),
        ("/input/0/role", False),
        ("body.input", False),
        ("model", True),
        (None, True),
        (7, True),
    ],
)
def test_params(param: Any, found: bool) -> None:
    assert fires("ERR-04", refusal(400, error(param=param), "invalid", "param:input[0].role")) is found


def test_a_param_that_is_absent_is_left_to_the_envelope() -> None:
    body = {"error": {"type": "invalid_request_error", "message": "No.", "code": None}}
    assert fires("ERR-04", refusal(400, body, "invalid", "param:input")) is None
    assert fires("ERR-01", refusal(400, body, "invalid", "param:input")) is True


@pytest.mark.parametrize(
    ("status", "outcome", "found"),
    [
        (400, Outcome.COMPLETE, False),
        (200, Outcome.COMPLETE, False),
        (503, Outcome.COMPLETE, False),
        (500, Outcome.COMPLETE, True),
        (501, Outcome.COMPLETE, True),
        (400, Outcome.CUT, True),
        (None, Outcome.TIMEOUT, True),
        (None, Outcome.CANCELLED, None),
    ],
)
@pytest.mark.parametrize("tag", ["invalid", "edge"])
def test_bad_bodies(status: int | None, outcome: Outcome, found: bool | None, tag: str) -> None:
    assert fires("ERR-05", refusal(status, GOOD, tag, outcome=outcome)) is found


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ('File "/usr/lib/app.py", line 3', True),
        ("thread panicked at src/main.rs:3", True),
        ("at Object.<anonymous> (/srv/app/index.js:10:3)", True),
        ("at com.example.App.run(App.java:10)", True),
        ("goroutine 12 [running]:", True),
        ("see /srv/app/models/create.py", True),
        ("see https://example.org/docs/errors", False),
        ("input[0].role: 'a/b' is not allowed", False),
        ("line 3, column 4", False),
    ],
)
def test_insides(message: str, found: bool) -> None:
    assert fires("ERR-06", refusal(400, error(message=message))) is found


def test_a_path_that_was_sent_may_come_back() -> None:
    body = error(message="there is no /srv/app/tool.py")
    assert fires("ERR-06", refusal(400, body, sent={"input": "/srv/app/tool.py"})) is False


@pytest.mark.parametrize(("t", "found"), [((2.0, 2.0), True), ((1.0, 2.0), False), ((0.2, 0.2), None)])
def test_streams_held_back(t: tuple[float, float], found: bool | None) -> None:
    whole = Sandbox().exchange(post({"input": "Tell a long story.", "stream": True}))
    half = len(whole.chunks) // 2
    chunks = tuple(Chunk(t[i >= half], chunk.data) for i, chunk in enumerate(whole.chunks))
    assert fires("HTTP-16", replace(whole, chunks=chunks)) is found


def test_the_sample_of_mutants_is_spread_and_always_the_same() -> None:
    mutants = surely_invalid(profile=EndpointProfile(model="m"))
    chosen = sample(mutants, MUTANTS)
    assert len(chosen) == MUTANTS == len({mutant.id for mutant in chosen})
    assert {mutant.kind for mutant in chosen} == set(KINDS) & {mutant.kind for mutant in mutants}
    assert len({mutant.variant for mutant in chosen}) >= 35
    assert chosen == sample(mutants, MUTANTS)


def test_every_mutant_and_extreme_is_followed_by_a_good_request() -> None:
    found = list(cases(CaseContext(load_dialect(), "m"), "full"))
    groups = [case for case in found if case.id.startswith(("refused.", "edge.")) and len(case.requests) > 3]
    assert len(groups) > 10
    for case in groups:
        bad, good = case.requests[::2], case.requests[1::2]
        assert all({"invalid", "edge"} & {*planned.tags} for planned in bad)
        assert [planned.role for planned in good] == [f"after-{planned.role}" for planned in bad]
        assert all("basic" in planned.tags and planned.deadline for planned in good)


def test_the_twins_of_a_refusal_differ_in_stream_alone() -> None:
    found = [case for case in cases(CaseContext(load_dialect(), "m"), "full") if case.id.startswith("refused.alike.")]
    assert len(found) > 5
    for case in found:
        plain, stream, after = case.requests
        assert stream.body == {**plain.body, "stream": True}
        assert plain.tags == stream.tags
        assert after.role == "after"
