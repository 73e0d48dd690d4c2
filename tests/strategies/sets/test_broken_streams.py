"""Broken streams of every dialect: a rule catches nearly all of them, and none of the correct ones."""

from __future__ import annotations

from collections import Counter

import pytest
from tests.strategies.streams import broken_rules_of, is_caught

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.strategies.replies import event_streams, output_types
from rejoinder.strategies.sampling import drawn
from rejoinder.strategies.sets.broken_streams import broken_streams

SHARE = 0.97
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


@pytest.mark.slow(30)
@pytest.mark.parametrize("dialect", dialect_names())
def test_rules_fail_on_broken_streams_of_every_item_and_event(dialect: str) -> None:
    changed: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    kinds: set[str] = set()
    for name in output_types(dialect):
        streams = drawn(event_streams(dialect=dialect, types=[name], endings=["completed"], max_items=2), 12, seed=2)
        known: set[str] = set()
        for events in streams:
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
    # Events of failed and incomplete responses, and those that begin a queued one, are in other streams.
    ends = {"response.incomplete", "response.failed", "error", "response.queued"}
    assert set(load_dialect(dialect).events) - set(changed) <= ends
