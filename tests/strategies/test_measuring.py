"""How different the drawn bodies are, in every dialect: no branch, bound or kind of character is starved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis.errors import InvalidArgument

from rejoinder.contract import dialect_names
from rejoinder.contract.branches import Branches
from rejoinder.strategies import measure, request_bodies, tools, variety
from rejoinder.strategies.sampling import drawn

LIMITED = str(Path(__file__).with_name("limits.toml"))
"""A dialect with every keyword that limits values."""

IMPOSSIBLE = {"window.unit=absent"}
"""Branches of it that no valid body takes: the window has a property, and each other one requires this one."""

MOST = 10_000
"""Draws in which every branch must occur. Most dialects need about 1,000."""


@pytest.mark.slow(20)
@pytest.mark.parametrize("dialect", [*dialect_names(), LIMITED], ids=lambda name: Path(name).stem)
def test_no_branch_is_starved(dialect: str) -> None:
    branches = Branches.of_dialect(dialect)
    missing = set(branches.all) - IMPOSSIBLE
    for seed in range(MOST // 1000):
        for body in drawn(request_bodies(dialect=dialect), 1000, seed=seed):
            missing -= branches.of(body)
        if seed == 0:
            assert len(missing) <= len(branches.all) / 50, sorted(missing)
        if not missing:
            break
    assert sorted(missing) == []


@pytest.mark.slow(4)
def test_bounds_and_every_kind_of_character_are_met() -> None:
    found = variety(request_bodies(dialect=LIMITED), dialect=LIMITED, draws=3000)
    assert {"numbers[]=10", "numbers[]=40", "share=1e-06", "code:3", "code:4", "code:5", "numbers:2", "numbers:4"} <= {
        *found.ends
    }
    assert [name for name, times in found.ends.items() if not times] == []
    assert {name for name, times in found.unicode.items() if not times} == {"lone surrogates"}
    assert max(found.texts) > 1000
    assert min(found.texts) == 0
    assert max(found.depths) >= 6


def test_what_is_measured_is_what_is_there() -> None:
    bodies: list[Any] = [
        {"input": "é😀"},
        {"input": [{"type": "message", "role": "user", "content": "a"}], "stream": None},
    ]
    found = measure(bodies)
    assert found.draws == 2
    assert found.counts["input=string"] == found.counts["input=array"] == 1
    assert found.counts["stream=absent"] == 1
    assert found.rarest == 0
    assert "tools=value" in found.missing
    assert dict(found.depths) == {1: 1, 3: 1}
    assert found.sizes[len('{"input": "é😀"}'.encode())] == 1
    assert found.lists == {1: 1}
    assert found.unicode["emoji"] == found.unicode["Latin-1"] == 1
    assert found.unicode["combining marks"] == 0


def test_pairs_that_exclude_each_other_do_not_count() -> None:
    """Of the first body all branches occur together; the input is a text in it, so nothing inside a list can."""
    one = measure([{"input": ""}])
    assert one.pairs == one.branches * (one.branches - 1) / 2
    both = measure([{"input": ""}, {"input": "", "stream": True}])
    top = one.branches
    # The second has one branch instead of another one, in pairs with all of the rest.
    assert both.branches == top + 1
    assert both.pairs == one.pairs + top - 1
    assert both.possible_pairs == one.possible_pairs < len(one.counts) * (len(one.counts) - 1) / 2


def test_parts_are_measured_in_a_body() -> None:
    found = variety(tools(), draws=100, body=lambda tool: {"input": "", "tools": [tool]})
    assert found.counts["tools=value"] == 100
    assert found.counts["input=array"] == 0
    text = str(found)
    assert "branches: " in text
    assert f"of {len(found.counts):,}" in text
    assert f"{len(found.missing)} missing branches: " in text


def test_the_same_seed_measures_the_same() -> None:
    assert variety(request_bodies(), draws=20, seed=3) == variety(request_bodies(), draws=20, seed=3)


def test_a_measurement_needs_a_draw() -> None:
    with pytest.raises(InvalidArgument, match="draws=0 is less than 1"):
        variety(request_bodies(), draws=0)
