"""Canaries: new each time, and found again."""

from __future__ import annotations

import pytest

from rejoinder.conformance.judging.canaries import CANARY_NOUNS, canaries_in, new_canary


def test_canaries_are_found_again_and_never_the_same() -> None:
    canaries = [new_canary(noun) for noun in CANARY_NOUNS for _ in range(100)]
    assert len(set(canaries)) == len(canaries)
    assert canaries_in(", ".join([*canaries, "granite-1234", "quartz-12345"])) == canaries


def test_a_noun_that_could_not_be_found_again_is_refused() -> None:
    with pytest.raises(ValueError, match="'granite' is no noun of canaries"):
        new_canary("granite")
