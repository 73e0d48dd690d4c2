"""What the tests of several families make exchanges with, and ask of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request

GOOD = {"error": {"type": "invalid_request_error", "message": "No.", "param": "input", "code": None}}


@pytest.fixture
def refusal() -> Callable[..., Exchange]:
    """Return a function that makes the exchange of a refusal: status, body, tags, what was sent."""

    def make(
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
        return Exchange(
            request=request, outcome=outcome, status=status, headers=headers, chunks=chunks, tags=tags, **kept
        )

    return make


@pytest.fixture
def control(refusal: Callable[..., Exchange]) -> Callable[..., Exchange]:
    """Return a function that makes an exchange of another case that was answered: request fields."""

    def make(**sent: Any) -> Exchange:
        body = {"id": "resp_1", "status": "completed"}
        return refusal(200, body, "valid", sent={"input": "Hi", **sent}, id="control", case="control")

    return make


@pytest.fixture
def replied() -> Callable[..., Exchange]:
    """Return a function that makes the exchange of a plain reply: request fields, output, response fields."""

    def make(
        request: dict[str, Any],
        output: list[dict[str, Any]],
        *,
        status: int = 200,
        tags: tuple[str, ...] = (),
        **fields: Any,
    ) -> Exchange:
        response = {"id": "r", "object": "response", "status": "completed", "output": output, **fields}
        body = response if status == 200 else {"error": {"message": "No."}}
        return Exchange(
            id="x",
            request=Request("POST", "/v1/responses", (), json.dumps({"input": "Hi", **request}).encode()),
            outcome=Outcome.COMPLETE,
            status=status,
            headers=(("content-type", "application/json"),),
            chunks=(Chunk(0.0, json.dumps(body).encode()),),
            case="c",
            role="plain",
            tags=tags,
        )

    return make
