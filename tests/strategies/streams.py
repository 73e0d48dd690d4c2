"""Drawn streams as exchanges, and the rules that they break."""

from __future__ import annotations

import json
from typing import Any

from rejoinder.conformance.judgement import broken_rules, judge
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Level, Status
from rejoinder.strategies.replies import to_sse
from rejoinder.strategies.sets.broken_streams import BrokenStream


def streamed(events: list[dict[str, Any]], dialect: str, **fields: Any) -> Exchange:
    """Return the exchange of a create request that got a stream; ``fields`` are those of the request."""
    responses = [event["response"] for event in events if isinstance(event.get("response"), dict)]
    created = next((response.get("created_at") for response in responses), None)
    return Exchange(
        id="x",
        request=Request("POST", "/v1/responses", body=json.dumps({"input": "Hi", "stream": True, **fields}).encode()),
        outcome=Outcome.COMPLETE,
        status=200,
        headers=(("content-type", "text/event-stream"),),
        chunks=(Chunk(0.1, to_sse(events, dialect=dialect)),),
        started_at=created if isinstance(created, int) else 0.0,
        ended_at=1.0,
    )


def broken_rules_of(events: list[dict[str, Any]], dialect: str) -> dict[str, str]:
    """Return the rules that a stream breaks or that a check could not test, with the first message each."""
    response = events[0].get("response", {})
    exchange = streamed(events, dialect, background=response.get("background", True))
    bad = (Status.FAIL, Status.WARN, Status.ERROR)
    return {
        verdict.rule: verdict.findings[0].evidence.message if verdict.findings else verdict.reason
        for verdict in judge([exchange], dialect)
        if verdict.status in bad
    }


def is_caught(stream: BrokenStream, dialect: str) -> bool:
    """Return whether a MUST or SHOULD rule fails on a stream."""
    exchange = streamed(stream.events, dialect)
    return any(broken_rules(exchange, dialect, level=level) for level in (Level.MUST, Level.SHOULD))
