"""Values of a strategy outside of a test, the same for the same seed."""

from __future__ import annotations

from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

__all__ = ["sample"]


def sample(strategy: SearchStrategy[Any], n: int, *, seed: int = 0) -> list[Any]:
    """Return ``n`` different-looking values of a strategy, the same for the same seed and version of Hypothesis.

    For making a corpus outside of a test. Fewer come back when the strategy has no more.
    """
    found: list[Any] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=max(n, 1),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        if len(found) < n:
            found.append(value)

    collect()
    return found
