"""Broken streams of every dialect: a rule catches nearly all of them, and none of the correct ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from tests.strategies.streams import broken_rules_of, is_caught

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.strategies.replies import event_streams, output_types
from rejoinder.strategies.sampling import drawn
from rejoinder.strategies.sets.broken_streams import broken_streams

SHARE = 0.99
"""How many of the broken streams a MUST or SHOULD rule has to fail."""

KINDS = {
    "event dropped",
    "event doubled",
    "events swapped",
    "field removed",
    "wrong type",
    "index shifted",
    "id altered",
    "text altered",
    "inner field removed",
    "inner wrong type",
}


DRAWN = 40
"""Streams that are drawn for each item type. Those with a new event, or a new item or part in it, are broken."""


def places(events: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Return the types of events in a stream, each with the type of the item or part that it has."""
    held: list[dict[str, Any]] = [
        next((event[name] for name in ("item", "part", "annotation") if name in event), {}) for event in events
    ]
    return {(event["type"], inner.get("type", "")) for event, inner in zip(events, held, strict=True)}


@pytest.mark.slow(20)
@pytest.mark.parametrize("dialect", dialect_names())
def test_rules_fail_on_broken_streams_of_every_item_and_event(dialect: str) -> None:
    changed: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    kinds: set[str] = set()
    for name in output_types(dialect):
        seen: set[tuple[str, str]] = set()
        known: set[str] = set()
        for events in drawn(event_streams(dialect=dialect, types=[name], endings=["completed"]), DRAWN, seed=2):
            if places(events) <= seen:
                continue
            seen |= places(events)
            assert broken_rules_of(events, dialect) == {}
            for found in broken_streams(events, dialect=dialect):
                if found.name in known:
                    continue
                known.add(found.name)
                kinds.add(found.kind)
                changed[found.name.partition(": ")[2].split(" ")[0]] += 1
                if not is_caught(found, dialect):
                    missed[f"{name}: {found.name}"] += 1
    assert kinds >= KINDS
    assert 1 - missed.total() / changed.total() >= SHARE, missed
    # Events of failed and incomplete responses are in other streams; those that queue it need not come. Nothing can be
    # wrong with an event without required fields that changes nothing.
    ends = {"response.incomplete", "response.failed", "error", "response.queued"}
    breakable = {spec.type for spec in load_dialect(dialect).events.values() if spec.required or spec.role != "other"}
    assert breakable - set(changed) <= ends
