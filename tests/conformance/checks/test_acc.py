"""What the checks of ACC compare, and what they leave alone."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request


def told(role: str, sent: dict[str, Any], tokens: int) -> Exchange:
    """Return the exchange of a request that was answered without text, plain or in a stream of one event."""
    usage = {"input_tokens": tokens, "output_tokens": 1, "total_tokens": tokens + 1}
    response = {"id": f"resp_{role}", "object": "response", "status": "completed", "output": [], "usage": usage}
    streamed = sent.get("stream") is True
    event = {"type": "response.completed", "sequence_number": 0, "response": response}
    text = f"event: response.completed\ndata: {json.dumps(event)}\n\n" if streamed else json.dumps(response)
    media = "text/event-stream" if streamed else "application/json"
    request = Request("POST", "/v1/responses", (), json.dumps(sent).encode())
    chunks = (Chunk(0.1, text.encode()),)
    headers = (("content-type", media),)
    return Exchange(role, request, Outcome.COMPLETE, 200, headers, chunks, case="c", role=role)


@pytest.mark.parametrize(
    ("plain", "streamed", "found"),
    [
        ({"input": "a", "temperature": 0}, {"input": "a", "temperature": 0}, True),
        ({"input": "a", "temperature": 0, "stream": False}, {"temperature": 0.0, "input": "a"}, True),
        # Another question may well have another number of tokens.
        ({"input": "a", "temperature": 0}, {"input": "b", "temperature": 0}, None),
        ({"input": "a"}, {"input": "a"}, None),
    ],
)
def test_only_one_and_the_same_request_is_compared(
    plain: dict[str, Any], streamed: dict[str, Any], found: bool | None
) -> None:
    exchanges = [told("plain", plain, 68), told("stream", {**streamed, "stream": True}, 69)]
    [verdict] = judge(exchanges, "northstar", select="ACC-14")
    assert verdict.status.value != "error", verdict.reason
    assert (bool(verdict.findings) if verdict.judged else None) is found
