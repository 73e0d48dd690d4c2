"""Invalid replies and streams break a MUST rule; `benchmarks/reply_mutations.py` measures it with all references."""

from __future__ import annotations

from typing import Any

import pytest
from tests.load_module import load_module

from rejoinder.contract import dialect_names, load_dialect

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
