"""Response objects: what other operations return is compared with their schemas."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Finding, Status, Verdict
from rejoinder.sandbox import Sandbox, post


def other(method: str, path: str, body: Any, *, kind: str = "application/json", number: int = 0) -> Exchange:
    """Return the exchange of an operation that returned a body with 200."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = Request(method, f"/v1{path}", (), b"")
    headers = (("content-type", kind),)
    return Exchange(f"x{number}", request, Outcome.COMPLETE, 200, headers, (Chunk(0.1, data),), case="c", role="r")


def rsp_17(*exchanges: Exchange, dialect: str = "openai") -> Verdict:
    [verdict] = judge(exchanges, dialect, select="RSP-17")
    return verdict


def findings(verdict: Verdict) -> list[tuple[str, str]]:
    def place(finding: Finding) -> tuple[str, str]:
        return finding.evidence.kind, finding.evidence.pointer

    return [place(finding) for finding in verdict.findings]


PAGE: dict[str, Any] = {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/models", {"object": "list", "data": []}),
        ("GET", "/responses/resp_1/input_items", PAGE),
        ("DELETE", "/responses/resp_1", {"id": "resp_1", "object": "response", "deleted": True}),
        ("POST", "/responses/input_tokens", {"object": "response.input_tokens", "input_tokens": 3}),
    ],
)
def test_what_matches_passes(method: str, path: str, body: Any) -> None:
    assert rsp_17(other(method, path, body)).status is Status.PASS


def test_the_responses_in_a_replay_match_the_schema_too() -> None:
    events = [{"type": f"response.{kind}", "response": {"object": "response"}} for kind in ("created", "completed")]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events).encode()
    verdict = rsp_17(other("GET", "/responses/resp_1?stream=true", body, kind="text/event-stream"))
    assert verdict.status is Status.FAIL
    assert ("retrieve required", "/response/error") in findings(verdict)


@pytest.mark.parametrize(
    ("method", "path", "body", "found"),
    [
        ("GET", "/models", {"data": []}, ("models required", "/object")),
        ("GET", "/models", b"<h1>Models</h1>", ("models", "")),
        ("GET", "/responses/resp_1/input_items", {**PAGE, "has_more": "no"}, ("input_items type", "/has_more")),
        ("DELETE", "/responses/resp_1", {"deleted": False}, ("delete const", "/deleted")),
        (
            "POST",
            "/responses/input_tokens",
            {"object": "response.input_tokens", "input_tokens": -1},
            ("input_tokens minimum", "/input_tokens"),
        ),
    ],
)
def test_what_does_not_match_is_found(method: str, path: str, body: Any, found: tuple[str, str]) -> None:
    assert findings(rsp_17(other(method, path, body))) == [found]


@pytest.mark.parametrize(
    "exchange",
    [
        other("DELETE", "/responses/resp_1", b""),
        other("GET", "/responses/resp_1?stream=true", b"data: {}\n\n", kind="text/event-stream"),
        other("GET", "/files", {"object": "list"}),
    ],
    ids=["empty-delete", "stream", "unknown-operation"],
)
def test_what_no_document_describes_is_not_tested(exchange: Exchange) -> None:
    assert rsp_17(exchange).status is Status.NOT_APPLICABLE


def test_what_the_created_response_has_wrong_as_well_is_left_to_its_rule() -> None:
    created = Sandbox("openai").exchange(post({"input": "Hi", "model": "parrot"}), case="c", role="first")
    response = created.json()
    path = f"/responses/{response['id']}"
    assert rsp_17(created, other("GET", path, response)).status is Status.PASS
    broken = {**response, "created_at": "now"}
    assert findings(rsp_17(created, other("GET", path, broken))) == [("retrieve type", "/created_at")]
    alike = replace(created, chunks=(Chunk(0.1, json.dumps(broken).encode()),))
    assert rsp_17(alike, other("GET", path, broken)).status is Status.PASS
