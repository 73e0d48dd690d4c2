"""What counts as an answer for a user of a closed loop, whatever comes from the endpoint."""

from __future__ import annotations

import json

import pytest

from rejoinder.load.generator.reply_check import asks_to_wait, brought_answer
from rejoinder.load.measure.reader import RawReply
from rejoinder.load.measure.recording import Receives
from rejoinder.model.exchange import Outcome

SSE = "Content-Type: text/event-stream"
JSON = "Content-Type: application/json"


def reply(status: int, body: bytes, *headers: str, outcome: Outcome = Outcome.COMPLETE, chunk: int = 0) -> RawReply:
    """Return a reply; with ``chunk``, its body is chunked into pieces of that many bytes."""
    head = [f"HTTP/1.1 {status} X", *headers]
    if chunk:
        head.append("Transfer-Encoding: chunked")
        pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    else:
        head.append(f"Content-Length: {len(body)}")
    data = "\r\n".join(head).encode() + b"\r\n\r\n" + body
    return RawReply(outcome=outcome, receives=Receives([(1, data)]))


def stream(*events: str) -> bytes:
    blocks = (
        f'event: {kind}\ndata: {{"type":"{kind}","response":{{"id":"r","status":"{kind.partition(".")[2]}"}}}}\n\n'
        for kind in events
    )
    return "".join(blocks).encode()


def response(status: str) -> bytes:
    return json.dumps({"id": "r", "object": "response", "status": status, "error": None}).encode()


COMPLETED = stream("response.created", "response.completed")


@pytest.mark.parametrize("chunk", [0, 1, 7, 4096])
def test_an_answer_is_found_under_any_framing(chunk: int) -> None:
    assert brought_answer(reply(200, COMPLETED, SSE, chunk=chunk))
    assert brought_answer(reply(200, stream("response.created", "response.incomplete"), SSE, chunk=chunk))
    assert brought_answer(reply(200, response("completed"), JSON, chunk=chunk))
    assert brought_answer(reply(201, response("incomplete"), JSON, chunk=chunk))


@pytest.mark.parametrize(
    "found",
    [
        RawReply(outcome=Outcome.REFUSED),
        RawReply(outcome=Outcome.TIMEOUT),
        RawReply(outcome=Outcome.COMPLETE),
        reply(200, COMPLETED, SSE, outcome=Outcome.CUT),
        reply(307, b"", "Location: /v1/responses"),
        reply(404, b"{}", JSON),
        reply(429, COMPLETED, SSE),
        reply(503, response("completed"), JSON),
        reply(200, b'{"error": {"message": "overloaded"}}', JSON),
        reply(200, b"<html>busy</html>", "Content-Type: text/html"),
        reply(200, b"", JSON),
        reply(200, response("failed"), JSON),
        reply(200, response("queued"), JSON),
        reply(200, stream("response.created", "response.failed"), SSE),
        reply(200, stream("response.created"), SSE),
        reply(200, b'event: error\ndata: {"type":"error","message":"overloaded"}\n\n', SSE),
    ],
    ids=lambda found: f"{found.outcome.value} {bytes(found.receives.data[9:12]).decode()} {len(found.receives.data)}",
)
def test_all_else_is_no_answer(found: RawReply) -> None:
    assert not brought_answer(found)


def test_retry_after_is_seen_in_any_case() -> None:
    for name in ("Retry-After: 3", "retry-after: 3", "RETRY-AFTER:3"):
        assert asks_to_wait(reply(429, b"{}", JSON, name))
    assert not asks_to_wait(reply(429, b"Retry-After: 3", JSON))
    assert not asks_to_wait(RawReply(outcome=Outcome.CUT))
