"""The coverage meter: which branches of the contract a run sent, and what the endpoint made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from rejoinder.contract import DEFAULT_DIALECT
from rejoinder.contract.branches import Branches
from rejoinder.model.exchange import Exchange
from rejoinder.model.footer import BranchState, CoverageResult
from rejoinder.model.tags import Tag

SENT_STATES: Final = (BranchState.ACCEPTED, BranchState.REFUSED, BranchState.FAILED)
"""A branch that was sent is in the first of these that any request with it reached."""


class CoverageMeter:
    """Measures as exchanges come; see :func:`measure_coverage`."""

    def __init__(self, dialect: str = DEFAULT_DIALECT) -> None:
        self._contract = Branches.of_dialect(dialect)
        self._found: dict[BranchState, set[str]] = {state: set() for state in SENT_STATES}

    def add(self, exchanges: Iterable[Exchange]) -> None:
        """Take exchanges into account."""
        for exchange in exchanges:
            if Tag.VALID in exchange.tags and Tag.UNJUDGED not in exchange.tags:
                self._found[_state(exchange)] |= self._contract.of(exchange.request.json())

    def report(self) -> CoverageResult:
        """Return the coverage so far, for the footer of a run file."""
        everything = self._contract.all
        branches: dict[BranchState, list[str]] = {}
        counted: set[str] = set()
        for state in SENT_STATES:
            branches[state] = sorted((self._found[state] & everything) - counted)
            counted |= self._found[state]
        branches[BranchState.NOT_SENT] = sorted(everything - counted)
        counts = {state: len(names) for state, names in branches.items()}
        return CoverageResult(total=len(everything), counts=counts, branches=branches)


def measure_coverage(exchanges: Iterable[Exchange], dialect: str = DEFAULT_DIALECT) -> CoverageResult:
    """Return the coverage of a dialect's undisputed request contract, for the footer of a run file.

    Only bodies that are valid beyond dispute count (tag ``valid``). A branch is ``accepted`` when a request with it got
    a 2xx, else ``refused`` when one got a 4xx or 501, else ``failed`` when it got a 5xx or no reply, else ``not_sent``.
    Branches are sorted.
    """
    meter = CoverageMeter(dialect)
    meter.add(exchanges)
    return meter.report()


def _state(exchange: Exchange) -> BranchState:
    if exchange.ok:
        return BranchState.ACCEPTED
    status = exchange.status
    return BranchState.REFUSED if status is not None and (status < 500 or status == 501) else BranchState.FAILED
