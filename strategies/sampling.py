"""Values of a strategy outside of a test, the same for the same seed."""

from __future__ import annotations

from typing import Any, Final

import hypothesis
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis.strategies import SearchStrategy

from rejoinder.strategies._provider import seeded_backend

__all__ = ["sample"]

_TRIES: Final = 24
"""Values that are drawn at least, before a strategy is taken to have no more."""


def sample(strategy: SearchStrategy[Any], n: int, *, seed: int = 0) -> list[Any]:
    """Return ``n`` values of a strategy that print differently, the simplest one first.

    The same seed and version of Hypothesis give the same values, whatever code is loaded and whatever settings of
    Hypothesis are in force. Fewer come back when the strategy has no more.
    """
    found: dict[str, Any] = {}
    before, attempt = -1, 0
    while before < len(found) < n:
        before = len(found)
        for value in drawn(strategy, max(n - before, _TRIES), seed=f"{seed}/{attempt}" if attempt else seed):
            found.setdefault(repr(value), value)
        attempt += 1
    return list(found.values())[:n]


def drawn(strategy: SearchStrategy[Any], n: int, *, seed: int | str) -> list[Any]:
    """Return ``n`` values of a strategy, drawn independently of each other: some of them may be equal."""
    found: list[Any] = []

    @hypothesis.seed(seed)
    @settings(
        settings.get_profile("default"),
        max_examples=max(n, 1),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal,
        backend=seeded_backend(),
    )
    @given(strategy)
    def collect(value: Any) -> None:
        if len(found) < n:
            found.append(value)

    collect()
    return found
