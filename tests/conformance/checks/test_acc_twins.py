"""Twins: one request plain and streamed, and what may differ between them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Status, Verdict

USAGE = {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "id": text, "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def asked(
    role: str, text: str = "Hi.", *, http: int = 200, request: dict[str, Any] | None = None, **fields: Any
) -> Exchange:
    streamed = role == "stream"
    body = {"input": "Hi", **(request or {}), **({"stream": True} if streamed else {})}
    response = {"id": role, "object": "response", "status": "completed", "model": "m", "output": [message(text)]}
    response |= {"usage": USAGE, **fields}
    told: Any = {"error": {"message": "No."}} if http != 200 else response
    data = json.dumps(told)
    if streamed and http == 200:
        kind = f"response.{response['status']}"
        data = f"event: {kind}\ndata: {json.dumps({'type': kind, 'sequence_number': 0, 'response': response})}\n\n"
    return Exchange(
        id=role,
        request=Request("POST", "/v1/responses", (), json.dumps(body).encode()),
        outcome=Outcome.COMPLETE,
        status=http,
        headers=(("content-type", "text/event-stream" if streamed and http == 200 else "application/json"),),
        chunks=(Chunk(0.0, data.encode()),),
        case="c",
        role=role,
    )


def verdict(rule: str, *exchanges: Exchange) -> Verdict:
    [found] = judge(exchanges, "northstar", select=rule)
    return found


# Shows that the endpoint streams at all.
STREAMS = replace(asked("stream"), case="other")


@pytest.mark.parametrize(
    ("plain", "stream", "status"),
    [
        (asked("plain"), asked("stream"), Status.PASS),
        (asked("plain"), asked("stream", http=400), Status.FAIL),
        (asked("plain"), asked("stream", http=500), Status.FAIL),
        (asked("plain", http=400), asked("stream"), Status.FAIL),
        (asked("plain", http=400), asked("stream", http=422), Status.PASS),
        # What fails in the stream may be refused there, or may have lost its connection to a model.
        (asked("plain", http=400), asked("stream", status="failed"), Status.NOT_APPLICABLE),
        (asked("plain"), asked("stream", status="failed"), Status.NOT_APPLICABLE),
        (asked("plain"), asked("stream", http=429), Status.NOT_APPLICABLE),
        (asked("plain", request={"temperature": 1}), asked("stream", http=400), Status.NOT_APPLICABLE),
        (
            asked("plain", request={"background": True}),
            asked("stream", http=400, request={"background": True}),
            Status.NOT_APPLICABLE,
        ),
        (asked("plain", request={"request_id": "a"}), asked("stream", request={"request_id": "b"}), Status.PASS),
    ],
)
def test_what_is_taken_plain_is_taken_streamed(plain: Exchange, stream: Exchange, status: Status) -> None:
    assert verdict("ACC-17", plain, stream, STREAMS).status is status


def test_an_endpoint_that_streams_nothing_is_not_told_so_in_every_case() -> None:
    assert verdict("ACC-17", asked("plain"), asked("stream", http=400)).status is Status.NOT_APPLICABLE


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({}, ""),
        ({"model": "other"}, "/response/model"),
        ({"temperature": 0.5}, "/response/temperature"),
        ({"tools": [{"type": "function", "name": "g"}]}, "/response/tools/0/name"),
        ({"usage": {"input_tokens": 3, "output_tokens": 9}}, "/response/usage"),
        # What was answered, what is new each time, and what one of the two leaves out.
        ({"id": "other", "output": [], "created_at": 9, "service_tier": "flex", "usage": None}, ""),
        ({"top_p": None, "usage": {**USAGE, "output_tokens": 9}}, ""),
    ],
)
def test_fields_that_repeat_the_request_are_the_same(fields: dict[str, Any], pointer: str) -> None:
    common = {"temperature": 1.0, "top_p": 1.0, "tools": [{"type": "function", "name": "f"}], "service_tier": "default"}
    found = verdict("ACC-18", asked("plain", **common), asked("stream", **{**common, **fields}))
    assert found.status is (Status.WARN if pointer else Status.PASS)
    assert [finding.evidence.pointer for finding in found.findings] == ([pointer] if pointer else [])


@pytest.mark.parametrize(
    ("plain", "stream", "again", "status"),
    [
        ("Red.", "Red.", "Red.", Status.PASS),
        ("Red.", "Blue.", "Red.", Status.WARN),
        ("Red.", "Blue.", "Green.", Status.DECLINED),
        ("Red.", "Red.", "Green.", Status.DECLINED),
    ],
)
def test_only_who_answers_twice_alike_must_stream_alike(plain: str, stream: str, again: str, status: Status) -> None:
    assert verdict("ACC-19", asked("plain", plain), asked("stream", stream), asked("again", again)).status is status


def test_a_missing_item_differs() -> None:
    both = [message("Red."), message("Blue.")]
    found = verdict(
        "ACC-19", asked("plain", output=both), asked("stream", output=both[:1]), asked("again", output=both)
    )
    assert found.findings[0].evidence.pointer == "/response/output/1"
