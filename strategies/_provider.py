"""How Hypothesis draws values for rejoinder: from a seed alone, not from the code that is loaded.

By default Hypothesis also draws strings and numbers that it reads in the source of loaded local modules, so that the
same seed draws other values in an editable install, under pytest or beside a user's own modules. This module is the
only one that needs internals of Hypothesis: its interface for backends, which is documented, and how its own backend
draws constants, what its lazy strategies stand for, and how a strategy draws an integer, which is not.
"""

from __future__ import annotations

from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

BACKEND: Final = "rejoinder"
"""The name under which Hypothesis knows this way to draw."""


def seeded_backend() -> str:
    """Return the name of the backend to draw with, registering it first.

    With a version of Hypothesis that has another interface, the name is that of Hypothesis' own backend: the values are
    as valid, but which ones a seed draws then depends on the code that is loaded. ``tests/strategies/test_sampling.py``
    fails with such a version.
    """
    try:
        from hypothesis.internal.conjecture.choice import choice_constraints_key, choice_permitted
        from hypothesis.internal.conjecture.providers import AVAILABLE_PROVIDERS, GLOBAL_CONSTANTS, HypothesisProvider
    except ImportError:
        return "hypothesis"
    if BACKEND in AVAILABLE_PROVIDERS:
        return BACKEND
    permitted: dict[Any, tuple[Any, ...]] = {}

    class SeededProvider(HypothesisProvider):
        """Hypothesis' own backend, except that it draws constants of a fixed list only."""

        def _maybe_draw_constant(self, choice_type: Any, constraints: Any, *, p: float = 0.05) -> Any:
            random = self._random
            assert random is not None  # only Hypothesis draws
            if random.random() > p:
                return None
            key = (choice_type, choice_constraints_key(choice_type, constraints))
            if key not in permitted:
                constants = GLOBAL_CONSTANTS.set_for_type(choice_type)
                permitted[key] = tuple(constant for constant in constants if choice_permitted(constant, constraints))
            return random.choice(permitted[key]) if permitted[key] else None

    AVAILABLE_PROVIDERS[BACKEND] = SeededProvider
    return BACKEND


def direct(strategy: SearchStrategy[Any]) -> SearchStrategy[Any]:
    """Return the strategy that a lazy one stands for: it draws the same values, a quarter faster in whole requests.

    Strategies of a version of Hypothesis that has no lazy ones come back as they are.
    """
    while (inner := getattr(strategy, "wrapped_strategy", None)) is not None:
        strategy = inner
    return strategy


def place(draw: st.DrawFn, count: int) -> int:
    """Draw an integer from 0 to below ``count``, as ``st.integers`` does.

    A whole request takes dozens of them, and is drawn a sixth faster without a strategy for each.
    """
    integer = getattr(getattr(draw, "__self__", None), "draw_integer", None)
    if integer is None:
        return draw(st.integers(0, count - 1))
    drawn: int = integer(0, count - 1)
    return drawn


def inline(draw: st.DrawFn, strategy: SearchStrategy[Any]) -> Any:
    """Draw from a strategy that is not empty, without what Hypothesis notes around the choices of a strategy.

    Its choices belong to the strategy around it then. Elements of lists need the notes, because shrinking deletes them.
    """
    data = getattr(draw, "__self__", None)
    make = getattr(strategy, "do_draw", None)
    return draw(strategy) if data is None or make is None else make(data)


def element(draw: st.DrawFn, strategy: SearchStrategy[Any]) -> Any:
    """Draw from a strategy that is not empty, with the notes that shrinking needs to delete what is drawn.

    ``draw`` itself notes more, which takes a fifth of the time of a whole request.
    """
    data = getattr(draw, "__self__", None)
    start, stop = getattr(data, "start_span", None), getattr(data, "stop_span", None)
    make, label = getattr(strategy, "do_draw", None), getattr(strategy, "label", None)
    if start is None or stop is None or make is None or label is None:
        return draw(strategy)
    start(label)
    try:
        return make(data)
    finally:
        stop()
