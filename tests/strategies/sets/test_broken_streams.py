from __future__ import annotations

import json
from collections import Counter

import pytest

from rejoinder.conformance.judgement import broken_rules
from rejoinder.contract import dialect_names
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request
from rejoinder.model.verdict import Level
from rejoinder.strategies.replies import event_streams, output_types, to_sse
from rejoinder.strategies.sampling import drawn
from rejoinder.strategies.sets.broken_streams import BrokenStream, broken_streams

SHARE = 0.97
"""How many of the broken streams a MUST or SHOULD rule has to fail."""


def fails(stream: BrokenStream, dialect: str) -> bool:
    exchange = Exchange(
        id="x",
        request=Request("POST", "/v1/responses", body=json.dumps({"input": "Hi", "stream": True}).encode()),
        outcome=Outcome.COMPLETE,
        status=200,
        headers=(("content-type", "text/event-stream"),),
        chunks=(Chunk(0.1, to_sse(stream.events, dialect=dialect)),),
        ended_at=1.0,
    )
    return any(broken_rules(exchange, dialect, level=level) for level in (Level.MUST, Level.SHOULD))


@pytest.mark.slow(8)
@pytest.mark.parametrize("dialect", dialect_names())
def test_rules_fail_on_broken_streams(dialect: str) -> None:
    types = [name for name in ("message", "function_call", "reasoning") if name in output_types(dialect)]
    strategies = [event_streams(dialect=dialect, types=[name], endings=["completed"], max_items=2) for name in types]
    streams = [events for strategy in strategies for events in drawn(strategy, 2, seed=2)]
    broken = [found for events in streams for found in broken_streams(events, dialect=dialect)]
    assert {found.kind for found in broken} >= {"event dropped", "event doubled", "field removed", "wrong type"}
    missed = Counter(found.name for found in broken if not fails(found, dialect))
    assert 1 - missed.total() / len(broken) >= SHARE, missed
