"""The two tests against their definitions."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.reports.statistics import fisher, mann_whitney


def _pairs(values: list[float]) -> list[tuple[float, int]]:
    return [(value, 1) for value in values]


VALUES = st.lists(st.integers(0, 9).map(float), min_size=8, max_size=40)


@given(VALUES, VALUES)
def test_the_share_of_pairs_is_what_it_says(first: list[float], second: list[float]) -> None:
    found = mann_whitney(_pairs(first), _pairs(second))
    if found is None:
        assert len({*first, *second}) == 1
        return
    wins = sum((b > a) + (b == a) / 2 for a, b in itertools.product(first, second))
    assert math.isclose(found.greater, wins / len(first) / len(second))
    assert 0 <= found.p <= 1
    back = mann_whitney(_pairs(second), _pairs(first))
    assert back is not None
    assert math.isclose(found.p, back.p)
    assert math.isclose(found.greater + back.greater, 1)


def test_p_is_near_that_of_all_permutations() -> None:
    first, second = [1.0, 2, 3, 4, 5, 6, 7, 8], [4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5]
    found = mann_whitney(_pairs(first), _pairs(second))
    assert found is not None
    everything = first + second
    middle = 32.0
    seen = abs(found.greater * 64 - middle)
    extreme = total = 0
    for chosen in itertools.combinations(range(16), 8):
        mine = [everything[i] for i in chosen]
        rest = [everything[i] for i in range(16) if i not in chosen]
        wins = sum((b > a) + (b == a) / 2 for a in rest for b in mine)
        extreme += abs(wins - middle) >= seen - 1e-9
        total += 1
    assert abs(found.p - extreme / total) < 0.005


def test_equal_runs_are_seldom_called_different() -> None:
    dice = random.Random(5)
    small = 0
    for _ in range(400):
        first, second = ([dice.lognormvariate(0, 1) for _ in range(60)] for _ in "ab")
        found = mann_whitney(_pairs(first), _pairs(second))
        assert found is not None
        small += found.p < 0.05
    assert 6 <= small <= 36  # 20 are expected


def test_amounts_are_values_many_times() -> None:
    once = mann_whitney([(1.0, 9), (2.0, 4)], [(1.0, 3), (3.0, 8)])
    assert once == mann_whitney(_pairs([1.0] * 9 + [2.0] * 4), _pairs([1.0] * 3 + [3.0] * 8))


@pytest.mark.parametrize("few", [[], [1.0], [1.0] * 7])
def test_few_values_say_nothing(few: list[float]) -> None:
    assert mann_whitney(_pairs(few), _pairs([2.0] * 50)) is None


@given(st.integers(0, 12), st.integers(1, 12), st.integers(0, 12), st.integers(1, 12))
def test_fisher_is_the_sum_of_what_is_no_likelier(a: int, m: int, b: int, n: int) -> None:
    if a > m or b > n:
        assert fisher((a, m), (b, n)) is None
        return
    drawn = a + b
    chances = {
        k: math.comb(m, k) * math.comb(n, drawn - k) / math.comb(m + n, drawn)
        for k in range(max(0, drawn - n), min(m, drawn) + 1)
    }
    expected = sum(chance for chance in chances.values() if chance <= chances[a] * (1 + 1e-7))
    found = fisher((a, m), (b, n))
    assert found is not None
    assert math.isclose(found, min(1.0, expected), rel_tol=1e-6)


def test_fisher_takes_large_runs() -> None:
    found = fisher((100_000, 100_000), (99_900, 100_000))
    assert found is not None
    assert found < 1e-20
    assert fisher((0, 0), (1, 1)) is None
