"""How the options of strategies are checked, alike for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from rejoinder.contract import Dialect, load_dialect
from rejoinder.errors import RejoinderError, suggest

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")


def errors_when_drawn(
    function: Callable[Parameters, SearchStrategy[Value]],
) -> Callable[Parameters, SearchStrategy[Value]]:
    """Let a function that returns a strategy raise ``InvalidArgument`` when the strategy is used, not when it is made.

    So a bad argument fails the test that uses the strategy, not the import of its module; Hypothesis' own strategies
    do the same.
    """

    @wraps(function)
    def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> SearchStrategy[Value]:
        try:
            return function(*args, **kwargs)
        except InvalidArgument as error:
            problem = error

        def fail() -> SearchStrategy[Value]:
            raise problem

        return st.deferred(fail)

    return call


def chosen_names(given: Iterable[str] | None, known: Iterable[str], what: str) -> tuple[str, ...]:
    """Return the given names, or all known ones for ``None``; raises ``InvalidArgument`` for an unknown one or none."""
    known = tuple(known)
    if given is None:
        return known
    choices = f"Choose from {', '.join(known)}."
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidArgument(f"{what}s={given!r} is not a collection of names; write [{given!r}]")
    chosen = tuple(given)
    for name in chosen:
        if name not in known:
            raise InvalidArgument(f"there is no {what} {name!r} here. {suggest(str(name), known, choices)}")
    if not chosen:
        raise InvalidArgument(f"{what}s is empty. {choices}")
    return chosen


AnyDialect = str | Path | Dialect
"""How a dialect is given: the name of a shipped one, the path of a custom one, or one that is loaded."""


def reference(dialect: AnyDialect) -> str:
    """Return the name of a shipped dialect or the path of a custom one; raise ``InvalidArgument`` for anything else."""
    if isinstance(dialect, Dialect):
        return dialect.reference
    try:
        load_dialect(dialect)
    except (RejoinderError, AttributeError, TypeError) as error:
        raise InvalidArgument(f"dialect={dialect!r}: {error}") from error
    return str(dialect)
