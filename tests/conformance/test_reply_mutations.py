"""Invalid replies, streams and error bodies break a rule; `benchmarks/reply_mutations.py` measures more of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import Phase, given, seed, settings
from hypothesis import strategies as st
from tests.load_module import load_module

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.strategies import response_objects

reply_mutations: Any = load_module("benchmarks/reply_mutations.py")


def test_changes_at_every_place() -> None:
    value = {"a": [{"b": "x"}, 2, 3], "c": None}
    made = {(pointer, kind): change() for pointer, kind, change in reply_mutations.mutations(value)}
    assert {pointer for pointer, _ in made} == {"/a", "/a/0", "/a/0/b", "/a/2", "/c"}
    assert made["/a/0/b", "removed"] == {"a": [{}, 2, 3], "c": None}
    assert made["/a/2", "fraction"] == {"a": [{"b": "x"}, 2, 3.5], "c": None}
    assert made["/c", "object"] == {**value, "c": {"x": 1}}
    assert value == {"a": [{"b": "x"}, 2, 3], "c": None}


@pytest.mark.slow(8)
@pytest.mark.parametrize("name", dialect_names())
def test_what_the_schemas_refuse_breaks_a_must_rule(name: str) -> None:
    dialect = load_dialect(name)
    found = reply_mutations.templates(dialect, drawn=False)
    plain = [one for one in found if not one.is_stream]
    streams = [one for one in found if one.is_stream]
    reference = reply_mutations.own_reference(dialect)
    for some, stream in ((plain[::4], False), (streams[:2], True)):
        result = reply_mutations.score(dialect, some, reference, stream=stream, most=150)
        assert result.invalid > 50
        assert result.share >= reply_mutations.PROMISED, result.survivors


@pytest.mark.slow(4)
@pytest.mark.parametrize("name", dialect_names())
def test_what_the_schemas_of_other_operations_refuse_breaks_a_rule(name: str) -> None:
    dialect = load_dialect(name)
    known = {template.exchange.id.partition(".")[0] for template in reply_mutations.of_operations(dialect)}
    assert known == set(dialect.operations)
    for result in reply_mutations.score_operations(dialect):
        assert result.invalid > 30
        assert result.share >= reply_mutations.PROMISED_OWN, result.survivors


@pytest.mark.slow(6)
@pytest.mark.parametrize("name", dialect_names())
def test_any_change_that_the_schema_refuses_breaks_a_rule(name: str) -> None:
    """Draw a reply and a place in it, and change it there until the schema refuses it."""
    dialect = load_dialect(name)
    own = reply_mutations.own_reference(dialect)
    invalid = caught = 0

    @seed(1)
    @settings(max_examples=60, database=None, deadline=None, phases=[Phase.generate])
    @given(response_objects(dialect=name), st.integers(0, 10_000))
    def change(response: dict[str, Any], start: int) -> None:
        nonlocal invalid, caught
        template = reply_mutations.of_response(response)
        if reply_mutations.breaks_a_rule(template.exchange, dialect):
            return
        changes = list(reply_mutations.mutations(response))
        for number in range(start, start + len(changes)):
            changed = changes[number % len(changes)][2]()
            if own.response[0](changed):
                invalid += 1
                caught += reply_mutations.breaks_a_rule(template.mutated(0, changed), dialect)
                return

    change()
    assert invalid > 20
    assert caught / invalid >= reply_mutations.PROMISED_OWN
