"""Checks and the rules that they prove.

A check is a function decorated with :func:`check`. It looks at its ``subject`` and yields a
:class:`~rejoinder.model.verdict.Problem` for each place where the rule is broken; yielding nothing means that the rule
holds. ``needs`` says in code when there is something to judge; where it is false the exchange does not count. A check
of what a model should do may yield :class:`Declined` where the model chose otherwise. A rule may have several
checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.problems import More
from rejoinder.contract import load_rules
from rejoinder.errors import ContractError
from rejoinder.model.verdict import Problem


class Subject(StrEnum):
    """What a check looks at, in the words of the rule reference."""

    CREATE = "every create request"
    PLAIN = "successful non-streaming responses"
    STREAM = "successful streams"
    EXCHANGE = "every exchange of every operation"
    RESPONSE = "every final response object"
    RETURNED = "finished responses that other operations return"
    REFUSAL = "refused requests of every operation"
    CASE = "all exchanges of a case together"
    RUN = "all exchanges of the run together"


@dataclass(frozen=True, slots=True)
class Declined:
    """What a check yields when it can say nothing, because the model did not do its part; ``reason`` is a sentence."""

    reason: str


Check = Callable[[Any], Iterable[Problem | More | Declined]]
Needs = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Registered:
    """A check with the rule that it proves and what it looks at. ``doc`` says how it checks, in a sentence."""

    rule: str
    subject: Subject
    run: Check
    needs: Needs | None
    doc: str


_CHECKS: Final[list[Registered]] = []


def registered() -> Sequence[Registered]:
    """Return all checks of the modules that have been imported, in the order of their registration."""
    return tuple(_CHECKS)


def check(rule: str, subject: Subject, *, needs: Needs | None = None) -> Callable[[Check], Check]:
    """Register a check for a rule; its docstring becomes the 'how it is checked' of the rule reference."""

    def register(function: Check) -> Check:
        row = load_rules().get(rule)
        if row is None or row.unchecked:
            raise ContractError(
                f"A check is registered for {rule}, which is not in the rule catalogue or is marked unchecked."
            )
        doc = " ".join((function.__doc__ or "").split())
        _CHECKS.append(Registered(rule, subject, function, needs, doc))
        return function

    return register


def looked_at(subject: Subject, view: ExchangeView) -> ExchangeView:
    """Return the view of an exchange that a check on single exchanges looks at, see :func:`applies`."""
    returned = view.returned if subject is Subject.RETURNED else None
    return view if returned is None else returned


def applies(subject: Subject, view: ExchangeView) -> bool:
    """Return whether a check on single exchanges looks at this one."""
    if subject is Subject.EXCHANGE:
        return True
    if subject is Subject.CREATE:
        return view.is_create
    if subject is Subject.PLAIN:
        return view.is_plain
    if subject is Subject.STREAM:
        return view.is_stream
    if subject is Subject.RESPONSE:
        return view.response is not None
    if subject is Subject.RETURNED:
        return view.returned is not None
    if subject is Subject.REFUSAL:
        return view.exchange.status is not None and view.exchange.status >= 400
    return False
