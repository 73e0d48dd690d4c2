"""The freedoms: each is described, shows somewhere, does nothing when it is off, and excludes what it must."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import zip_longest

import pytest

from rejoinder.conformance.running.case import CaseContext
from rejoinder.conformance.running.cases import CASES
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import dialect_names, load_dialect
from rejoinder.errors import UsageError
from rejoinder.model.exchange import Exchange, Request
from rejoinder.sandbox import FAULTS, FREEDOMS, Freedom, Sandbox, record, sample_requests
from rejoinder.sandbox.freedoms import family_of

NOW = 1_700_000_000.0
PAIRS = [
    (name, dialect) for name, freedom in FREEDOMS.items() for dialect in dialect_names() if freedom.exists_in(dialect)
]


def seen(dialect: str, *names: str) -> Iterator[tuple[object, ...]]:
    """Yield what a client sees of the replies to the sample requests, with the chunks of their bodies."""
    sandbox = Sandbox(dialect, freedoms=names, clock=lambda: NOW)
    for request in standard_requests(dialect):
        yield shown(record(request, sandbox.handle(request), id="x"))


def shown(exchange: Exchange) -> tuple[object, ...]:
    return (exchange.status, exchange.headers, exchange.chunks, exchange.outcome)


@cache
def standard_requests(dialect: str) -> tuple[Request, ...]:
    return tuple(sample.request for sample in sample_requests(dialect))


@cache
def plain(dialect: str) -> list[tuple[object, ...]]:
    return list(seen(dialect))


@cache
def cases_of(dialect: str, family: str) -> Plan:
    known = load_dialect(dialect)
    cases = CASES[family](CaseContext(known, models=("parrot",)), "full")
    # The plan adds a case for each feature that its other cases do not use.
    added = build_plan("full", known).cases if family == "CAP" else ()
    return Plan(family, (*cases, *(case for case in added if case.id.startswith("feature."))))


def seen_in_cases(dialect: str, family: str, *names: str) -> Iterator[tuple[object, ...]]:
    clock = ManualClock(NOW)
    target = sandbox_target(dialect, model=None)
    sandbox = Sandbox(dialect, clock=clock, freedoms=names)
    for batch in run_in_process(cases_of(dialect, family), sandbox, target, clock):
        yield from map(shown, batch)


@cache
def plain_in_cases(dialect: str, family: str) -> list[tuple[object, ...]]:
    return list(seen_in_cases(dialect, family))


def differ(found: Iterable[tuple[object, ...]], plain: Iterable[tuple[object, ...]]) -> bool:
    """Return whether two lots of replies differ. One difference is enough, so what follows it is not sent."""
    return any(one != other for one, other in zip_longest(found, plain))


@pytest.mark.parametrize(("name", "dialect"), PAIRS)
def test_a_freedom_shows(name: str, dialect: str) -> None:
    """Some show only in the cases of a family, such as those that cancel."""
    if not differ(seen(dialect, name), plain(dialect)):
        own = family_of(FREEDOMS[name]).lower()
        order = sorted(CASES, key=lambda family: family.lower() != own)
        assert any(differ(seen_in_cases(dialect, family, name), plain_in_cases(dialect, family)) for family in order)


@pytest.mark.parametrize("freedom", FREEDOMS.values(), ids=FREEDOMS.keys())
def test_a_freedom_is_described(freedom: Freedom) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", freedom.id)
    assert freedom.id not in FAULTS
    assert re.fullmatch(r"[A-Z`][^.]*(\.\w[^.]*)*\.", freedom.title), "one sentence"
    assert freedom.sources or freedom.argument, "what allows it"
    assert set(freedom.dialects) <= set(dialect_names())
    assert set(freedom.excludes) <= set(FREEDOMS) - {freedom.id}


def test_choices_exclude_each_other() -> None:
    names = ["stream-byte-by-byte", "several-events-in-a-chunk"]
    with pytest.raises(UsageError, match="exclude each other"):
        Sandbox(freedoms=names)
    assert not FREEDOMS[names[0]].allows(FREEDOMS[names[1]])


def test_an_unknown_freedom_is_refused_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match='"lines-end-with-crfl" is not a freedom') as caught:
        Sandbox(freedoms=["lines-end-with-crfl"])
    assert "lines-end-with-crlf" in caught.value.hint


def test_a_freedom_of_another_dialect_is_refused() -> None:
    name = next(name for name, freedom in FREEDOMS.items() if not freedom.exists_in("openresponses"))
    with pytest.raises(UsageError, match="does not exist in dialect openresponses"):
        Sandbox("openresponses", freedoms=[name])
