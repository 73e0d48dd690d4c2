"""The two tests of comparisons, with SciPy as oracle."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import fisher_exact, mannwhitneyu

from rejoinder.reports.statistics import fisher, mann_whitney

Amounts = list[tuple[float, int]]
COUNTS = st.integers(0, 300)
FEW_DIFFERENT = st.lists(st.integers(0, 9).map(float), max_size=40)
ALL_DIFFERENT = st.lists(st.floats(1e-6, 1e6), min_size=8, max_size=40)


def amounts(values: list[float]) -> Amounts:
    """Return values with the number of times that each occurs."""
    return list(Counter(values).items())


@given(FEW_DIFFERENT | ALL_DIFFERENT, FEW_DIFFERENT | ALL_DIFFERENT)
@example([1.0] * 8, [2.0] * 8)
@example([1.0] * 7, [2.0] * 8)
@example([1.0] * 8, [2.0] * 7)
@example([3.0] * 8, [3.0] * 9)
def test_ranks_are_compared_as_scipy_does(first: list[float], second: list[float]) -> None:
    found = mann_whitney(amounts(first), amounts(second))
    if min(len(first), len(second)) < 8 or len({*first, *second}) == 1:
        assert found is None
        return
    # SciPy counts the pairs in which its first argument is the larger one.
    oracle = mannwhitneyu(second, first, alternative="two-sided", method="asymptotic", use_continuity=True)
    assert found is not None
    assert found.greater == pytest.approx(oracle.statistic / len(first) / len(second), rel=1e-9)
    assert found.p == pytest.approx(oracle.pvalue, rel=1e-9, abs=1e-300)


def test_p_is_near_that_of_all_permutations() -> None:
    first, second = [1.0, 2, 3, 4, 5, 6, 7, 8], [4.5, 5.5, 6.5, 7.5, 8.5, 9.5, 10.5, 11.5]
    found = mann_whitney(amounts(first), amounts(second))
    assert found is not None
    assert found.p == pytest.approx(mannwhitneyu(first, second, method="exact").pvalue, abs=0.005)


def test_values_may_be_given_in_any_order_and_in_pieces() -> None:
    once = mann_whitney([(1.0, 9), (2.0, 4)], [(1.0, 3), (3.0, 8)])
    assert once == mann_whitney([(2.0, 1), (1.0, 4), (2.0, 3), (1.0, 5)], [(3.0, 8), (1.0, 3)])


def test_equal_runs_are_seldom_called_different() -> None:
    dice = random.Random(5)
    small = 0
    for _ in range(400):
        first, second = ([dice.lognormvariate(0, 1) for _ in range(60)] for _ in "ab")
        found = mann_whitney(amounts(first), amounts(second))
        assert found is not None
        small += found.p < 0.05
    assert 6 <= small <= 36  # 20 are expected


@given(COUNTS, COUNTS, COUNTS, COUNTS)
@example(0, 1, 0, 1)
@example(1, 1, 1, 1)
@example(0, 0, 1, 1)
@example(1, 1, 0, 0)
@example(3, 5, 5, 3)
@example(7, 3, 3, 7)  # not a share
def test_shares_are_compared_as_fisher_did(a: int, m: int, b: int, n: int) -> None:
    found = fisher((a, m), (b, n))
    if a > m or b > n or not m or not n:
        assert found is None
    else:
        assert found == pytest.approx(fisher_exact([[a, m - a], [b, n - b]]).pvalue, rel=1e-9)


@pytest.mark.parametrize("first", [(-1, 5), (0, 0), (0, -1), (6, 5)])
def test_what_is_no_share_is_not_compared(first: tuple[int, int]) -> None:
    assert fisher(first, (1, 5)) is None
    assert fisher((1, 5), first) is None


@pytest.mark.parametrize("others", [99_700, 99_900, 99_980, 100_000])
def test_shares_of_large_runs_are_compared_too(others: int) -> None:
    found = fisher((99_990, 100_000), (others, 100_000))
    oracle = fisher_exact([[99_990, 10], [others, 100_000 - others]]).pvalue
    assert found == pytest.approx(oracle, rel=1e-7)
