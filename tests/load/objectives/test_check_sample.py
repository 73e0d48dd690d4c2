"""What a random sample of checked responses says of the others: unbiased, and within its bound."""

from __future__ import annotations

import random
from math import isclose

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import hypergeom

from rejoinder.load.objectives.check_sample import (
    ONE_IN,
    GroupCounts,
    Voided,
    draw,
    estimate_voided,
    most_voided,
    one_in,
    tokens_left,
)


def sampled(seed: int, groups: dict[int, tuple[int, float]]) -> tuple[dict[int, GroupCounts], int]:
    """Return the groups of a run, and how many unchecked responses a rule would void.

    ``groups`` has the number of responses and the share voided of each rate; which responses are voided, and which are
    checked, is random.
    """
    chance = random.Random(seed)
    found: dict[int, GroupCounts] = {}
    missed, slot = 0, 0
    for rate, (size, share) in groups.items():
        counts = found[rate] = GroupCounts()
        for _ in range(size):
            voided = chance.random() < share
            checked = draw(seed, slot, 0) * rate < 1
            counts.add(voided if checked else None, within=slot % 2 == 0)
            missed += voided and not checked
            slot += 1
    return found, missed


def test_the_estimate_is_unbiased_and_its_bound_holds() -> None:
    # The beginning is clean and all of it is checked; then the endpoint breaks.
    shape = {1: (100, 0.0), 4: (400, 0.1), 16: (1_000, 0.3)}
    runs = [sampled(seed, shape) for seed in range(150)]
    found = [(estimate_voided(groups), missed) for groups, missed in runs]
    errors = [(estimate.estimate or 0.0) - missed for estimate, missed in found]
    truth = sum(missed for _, missed in found) / len(found)
    assert abs(sum(errors) / len(errors)) < 0.03 * truth
    held = sum(missed <= estimate.most for estimate, missed in found)
    assert held >= 146


@pytest.mark.parametrize(("size", "share"), [(40, 0.02), (400, 0.01), (400, 0.5), (60, 0.99)])
def test_the_bound_of_a_small_sample_holds(size: int, share: float) -> None:
    runs = [sampled(seed, {16: (size, share)}) for seed in range(200)]
    assert sum(missed <= estimate_voided(groups).most for groups, missed in runs) >= 195


counts = st.builds(
    lambda checked, share, unchecked: GroupCounts(checked, round(checked * share), unchecked),
    st.integers(0, 300),
    st.floats(0, 1),
    st.integers(0, 5_000),
)


@given(st.dictionaries(st.sampled_from((1, *ONE_IN)), counts, max_size=4))
def test_an_estimate_lies_between_none_and_its_bound(groups: dict[int, GroupCounts]) -> None:
    found = estimate_voided(groups)
    assert found.unchecked == sum(group.unchecked for group in groups.values())
    assert 0 <= found.most <= found.unchecked
    checked = sum(group.checked for group in groups.values())
    assert (found.estimate is None) == (found.unchecked > 0 and checked == 0)
    if found.estimate is not None:
        assert -1e-9 <= found.estimate <= found.most + 1e-6
    if all(group.voided == group.checked for group in groups.values()) and checked:
        assert found.most == found.unchecked
        assert isclose(found.estimate or 0.0, found.unchecked)


@given(st.integers(1, 60), st.floats(0, 1), st.integers(0, 60))
def test_the_bound_is_that_of_the_hypergeometric_distribution(checked: int, share: float, unchecked: int) -> None:
    voided = round(checked * share)
    likely = [
        hypergeom(checked + unchecked, voided + more, checked).cdf(voided) > 0.01 for more in range(unchecked + 1)
    ]
    assert most_voided(checked, voided, unchecked) == sum(likely) - 1


def test_the_share_of_a_group_is_not_that_of_another() -> None:
    groups = {1: GroupCounts(1_000, 0, 0), 64: GroupCounts(10, 10, 630)}
    assert estimate_voided(groups) == Voided(630, 630.0, 630)


def test_a_group_without_a_checked_response_takes_the_share_of_the_others() -> None:
    groups = {1: GroupCounts(100, 25, 0), 64: GroupCounts(0, 0, 8)}
    assert estimate_voided(groups) == Voided(8, 2.0, 8)
    assert estimate_voided({64: GroupCounts(0, 0, 8)}) == Voided(8, None, 8)
    assert estimate_voided({1: GroupCounts(9, 3, 0)}) == Voided(0, 0.0, 0)


@settings(max_examples=50)
@given(st.integers(0, 2**31), st.integers(0, 2**31), st.integers(0, 50))
def test_a_draw_is_that_of_the_request(seed: int, slot: int, turn: int) -> None:
    assert 0 <= draw(seed, slot, turn) < 1
    assert draw(seed, slot, turn) == draw(seed, slot, turn)
    assert draw(seed, slot, turn) != draw(seed, slot, turn + 1)


def test_draws_are_uniform_and_do_not_favour_the_first_requests() -> None:
    for first in (0, 500, 10_000):
        chosen = sum(draw(7, slot, 0) < 1 / 16 for slot in range(first, first + 8_000))
        assert 400 < chosen < 600


def test_fewer_are_checked_the_more_waits() -> None:
    rates = [one_in(waiting, 24, 48) for waiting in (0, 24, 25, 32, 40, 48, 100)]
    assert rates == [1, 1, 4, 16, 64, 64, 64]


def test_tokens_are_not_shared_as_responses_are() -> None:
    """Long responses are broken: half of the responses, but 99 of 100 tokens."""
    group = GroupCounts()
    for voided, tokens in ((True, 990), (False, 10), (None, 990), (None, 10)):
        group.add(voided, within=True, tokens=tokens)
    assert estimate_voided({4: group}).estimate == 1
    # Of the 1010 tokens that count as good, 10 were checked and 1000 were not.
    assert tokens_left({4: group}) == pytest.approx(20 / 1010)


def test_tokens_of_a_group_without_a_check_take_the_share_of_the_others() -> None:
    others = GroupCounts(checked=2, voided=1, checked_tokens=100, voided_tokens=75)
    alone = GroupCounts(unchecked=1, unchecked_tokens=40)
    assert tokens_left({1: others, 64: alone}) == pytest.approx((25 + 10) / 65)
    assert tokens_left({64: alone}) is None
    assert tokens_left({}) == 1.0
    without = GroupCounts(checked=4, voided=1)
    assert tokens_left({1: without, 64: alone}) == pytest.approx(0.75)
