"""Leniency: surely invalid bodies that an endpoint answered instead of refusing them. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import is_refusal
from rejoinder.model.exchange import Exchange
from rejoinder.model.footer import LeniencyResult
from rejoinder.model.tags import FaultKind, Tag, fault_of, wrong_field_of

_TOO_LARGE: Final = 413


class TestedFault(NamedTuple):
    """An invalid body that the endpoint accepts without its fault, and whether it answered the body."""

    kind: FaultKind
    exchange: Exchange
    answered: bool

    @property
    def place(self) -> str:
        """The field that is wrong, as an error's ``param`` should name it; empty for the body as a whole."""
        return wrong_field_of(self.exchange.tags)


def tested_faults(case: Sequence[Exchange], *, basic: bool) -> Iterator[TestedFault]:
    """Yield the invalid bodies of a case that were answered or refused, and whose control was answered.

    The control of a case is the body that its faults were made in. Where a case has none, its bodies differ from the
    simplest request by their fault; ``basic`` says whether the endpoint answered that one.
    """
    control = next((exchange for exchange in case if exchange.role == Role.CONTROL), None)
    if not (basic if control is None else is_answered(control)):
        return
    for exchange in case:
        kind, status = fault_of(exchange.tags), exchange.status or 0
        if kind is None or not (exchange.ok or is_refusal(status) or status == _TOO_LARGE):
            continue
        yield TestedFault(kind, exchange, is_answered(exchange))


def is_answered(exchange: Exchange) -> bool:
    """Return whether a request got a response that did not fail."""
    body = exchange.json() if exchange.ok else None
    return exchange.ok and not (isinstance(body, dict) and body.get("status") == "failed")


def answers_basic(exchanges: Iterable[Exchange]) -> bool:
    """Return whether the endpoint answered a request that none may refuse."""
    return any(Tag.BASIC in exchange.tags and is_answered(exchange) for exchange in exchanges)


def measure_leniency(exchanges: Sequence[Exchange]) -> list[LeniencyResult]:
    """Return how many invalid bodies of each kind the endpoint answered, of those that a run tested, for the footer."""
    cases: dict[str, list[Exchange]] = {}
    for exchange in exchanges:
        if Tag.UNJUDGED not in exchange.tags:
            cases.setdefault(exchange.case, []).append(exchange)
    basic = answers_basic(exchange for case in cases.values() for exchange in case)
    found = [tested for case in cases.values() for tested in tested_faults(case, basic=basic)]
    by_kind: Mapping[FaultKind, list[TestedFault]] = {
        kind: [tested for tested in found if tested.kind is kind] for kind in FaultKind
    }
    return [_result(kind, tested) for kind, tested in by_kind.items() if tested]


def _result(kind: FaultKind, tested: Sequence[TestedFault]) -> LeniencyResult:
    answered = [one for one in tested if one.answered]
    first = answered[0] if answered else None
    return LeniencyResult(
        fault=kind,
        sent=len(tested),
        answered=len(answered),
        exchange=first.exchange.id if first else None,
        place=first.place if first else "",
    )
