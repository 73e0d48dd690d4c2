"""What the checks of HTTP take and what they do not, where the sandbox alone cannot show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome
from rejoinder.sandbox import Sandbox, post

Refusal = Callable[..., Exchange]
Fires = Callable[..., bool | None]

GOOD = {"error": {"type": "invalid_request_error", "message": "No.", "param": "input", "code": None}}


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
def test_broken_json(
    fires: Fires, refusal: Refusal, control: Refusal, status: int, tags: tuple[str, ...], found: bool | None
) -> None:
    exchange = refusal(status, GOOD, "invalid", *tags, sent=b'{"input": ')
    assert fires("HTTP-06", exchange, control()) is found
    assert fires("HTTP-06", exchange) is None


def test_json_is_not_broken_json(fires: Fires, refusal: Refusal, control: Refusal) -> None:
    assert fires("HTTP-06", refusal(500, GOOD, "invalid", sent={"input": 7}), control()) is None
    assert fires("HTTP-06", refusal(500, GOOD, "invalid", sent=b"null"), control()) is None


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
def test_other_content_types(fires: Fires, refusal: Refusal, media: str, status: int, found: bool | None) -> None:
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
def test_missing_input(
    fires: Fires, refusal: Refusal, control: Refusal, sent: Any, status: int, found: bool | None
) -> None:
    exchange = refusal(status, GOOD, "invalid", sent=sent)
    assert fires("HTTP-08", exchange, control(model="m")) is found
    assert fires("HTTP-08", exchange, control(model="m", temperature=0)) is None


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (404, error(), False),
        (400, error(code="model_not_found"), False),
        (403, error(code="model_not_found"), False),
        (400, error(), True),
        (500, error(code="model_not_found"), None),
        (200, {"model": "another"}, False),
        (200, {"model": "no-such-model"}, True),
    ],
)
def test_unknown_models(
    fires: Fires, refusal: Refusal, control: Refusal, status: int, body: Any, found: bool | None
) -> None:
    exchange = refusal(status, body, "invalid", "unknown-model", sent={"model": "no-such-model", "input": "Hi"})
    assert fires("HTTP-09", exchange, control(model="m")) is found
    assert fires("HTTP-09", exchange, control()) is found
    assert fires("HTTP-09", exchange) is None
    assert fires("HTTP-09", exchange, control(input=[{"role": "user", "content": "Hi"}])) is None


@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (404, error(), False),
        (400, error(), False),
        (200, {"model": "m"}, False),
        (200, {"model": "no-such-model"}, True),
    ],
)
def test_unlisted_models(
    fires: Fires, refusal: Refusal, control: Refusal, status: int, body: Any, found: bool | None
) -> None:
    sent = {"model": "no-such-model", "input": "Hi"}
    unknown = refusal(status, body, "invalid", "unknown-model", sent=sent)
    assert fires("HTTP-17", unknown, control(model="m")) is None
    listed = replace(unknown, tags=(*unknown.tags, "unlisted-model"))
    assert fires("HTTP-17", listed, control(model="m")) is found


@pytest.mark.parametrize(
    ("models", "model", "listed"),
    [((), None, False), (("m",), None, True), (("m", "n"), "n", True), (("m",), "own", False)],
)
def test_a_model_is_unlisted_only_where_the_list_has_that_of_the_requests(
    models: tuple[str, ...], model: str | None, listed: bool
) -> None:
    plan = build_plan("smoke", load_dialect("northstar"), model=model, models=models)
    [case] = [case for case in plan.cases if case.id == "refused.unknown-model"]
    assert ("unlisted-model" in case.requests[0].tags) is listed


@pytest.mark.parametrize(
    ("dialect", "kind", "found"),
    [
        ("openresponses", "model_error", None),
        ("openresponses", "server_error", True),
        ("northstar", "model_error", True),
    ],
)
def test_a_model_that_failed(fires: Fires, refusal: Refusal, dialect: str, kind: str, found: bool | None) -> None:
    failed = refusal(500, error(type=kind), "valid", sent={"input": "Hi"})
    assert fires("HTTP-03", failed, dialect=dialect) is found
    extreme = replace(failed, tags=("edge",))
    assert fires("ERR-05", extreme, dialect=dialect) is bool(found)


@pytest.mark.parametrize(("key", "status", "found"), [("right", 401, False), (None, 200, None)])
def test_a_wrong_key(fires: Fires, control: Refusal, key: str | None, status: int, found: bool | None) -> None:
    request = post({"input": "Hi"}, headers=(("authorization", "Bearer wrong"),))
    exchange = Sandbox(key=key).exchange(request, tags=("wrong-key",))
    assert exchange.status == status
    assert fires("HTTP-10", exchange, control()) is found
    assert fires("HTTP-10", exchange) is None
    assert fires("ERR-01", exchange) is (None if found is None else False)


@pytest.mark.parametrize("name", ["Retry-After", "retry-after-ms", "x-ratelimit-reset-requests"])
def test_a_rate_limit_that_says_when(fires: Fires, refusal: Refusal, name: str) -> None:
    assert fires("HTTP-11", refusal(429, headers=((name, "1"),))) is False
    assert fires("HTTP-11", refusal(429)) is True


def test_server_errors_have_the_envelope(fires: Fires, refusal: Refusal) -> None:
    assert fires("HTTP-12", refusal(500, error(type="server_error"))) is False
    assert fires("HTTP-12", refusal(502, b"<html>Bad Gateway</html>")) is True
    assert fires("HTTP-12", refusal(400, b"no")) is None
    assert fires("HTTP-12", refusal(501, b"no")) is None
    assert fires("HTTP-12", replace_path(refusal(500, b"no", method="GET"), "/v1/responses/r")) is True


def replace_path(exchange: Exchange, path: str) -> Exchange:
    return replace(exchange, request=replace(exchange.request, path=path))


@pytest.mark.parametrize(("status", "found"), [(405, False), (501, False), (404, True), (200, True), (503, None)])
def test_an_unsupported_method(
    fires: Fires, refusal: Refusal, control: Refusal, status: int, found: bool | None
) -> None:
    exchange = refusal(status, GOOD, "wrong-method", method="PUT", sent={"input": "Hi"})
    assert fires("HTTP-14", exchange, control()) is found
    assert fires("HTTP-14", exchange) is None


@pytest.mark.parametrize(
    ("address", "status", "found"),
    [
        ("https://images.invalid/none.png", 502, None),
        ("https://images.invalid/none.png", 504, None),
        ("https://images.invalid/none.png", 500, True),
        ("data:image/png;base64,QUJD", 502, True),
    ],
)
def test_what_cannot_be_reached_is_not_the_endpoints_fault(
    fires: Fires, refusal: Refusal, address: str, status: int, found: bool | None
) -> None:
    image = {"type": "input_image", "image_url": address, "detail": "auto"}
    exchange = refusal(status, GOOD, "valid", sent={"input": [{"role": "user", "content": [image]}]})
    assert fires("HTTP-03", exchange) is found


def test_a_stream_that_answers_an_invalid_request_is_no_refusal(fires: Fires) -> None:
    exchange = Sandbox().exchange(post({"input": "Hi", "stream": True}), tags=("invalid", "param:input"))
    good = Sandbox().exchange(post({"input": "Hi", "stream": True}), tags=("valid",))
    assert fires("HTTP-13", exchange, good) is False
    assert fires("HTTP-13", exchange) is None


def test_a_refusal_in_a_stream_needs_a_stream_that_does_not_fail(fires: Fires) -> None:
    failing = Sandbox(faults=["refusal-in-stream"])
    refused = failing.exchange(post({"input": 7, "stream": True}), tags=("invalid", "param:input"))
    good = failing.exchange(post({"input": "Hi", "stream": True}), tags=("valid",))
    assert fires("HTTP-13", refused, good) is True
    assert fires("HTTP-13", refused, refused) is None


def test_a_good_request_after_bad_ones(fires: Fires, refusal: Refusal, control: Refusal) -> None:
    bad = refusal(400, GOOD, "invalid", role="one")
    good = refusal(200, {}, "valid", sent={"input": "Hi"}, role="after")
    gone = refusal(None, b"", "valid", sent={"input": "Hi"}, role="after", outcome=Outcome.REFUSED)
    assert fires("HTTP-15", bad, good) is False
    assert fires("HTTP-15", bad, gone) is None
    assert fires("HTTP-15", bad, gone, control()) is True
    # Another request that was answered says nothing of this one.
    assert fires("HTTP-15", bad, gone, control(input="Tell a story.")) is None
    assert fires("HTTP-15", bad, gone, control(top_p=1)) is None
    assert fires("HTTP-15", good) is None


@pytest.mark.parametrize(("t", "found"), [((2.0, 2.0), True), ((1.0, 2.0), False), ((0.2, 0.2), None)])
def test_streams_held_back(fires: Fires, t: tuple[float, float], found: bool | None) -> None:
    whole = Sandbox().exchange(post({"input": "Tell a long story.", "stream": True}))
    half = len(whole.chunks) // 2
    chunks = tuple(Chunk(t[i >= half], chunk.data) for i, chunk in enumerate(whole.chunks))
    assert fires("HTTP-16", replace(whole, chunks=chunks)) is found
