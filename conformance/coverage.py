"""The coverage meter: which branches of the contract a run sent, and what the endpoint made of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from rejoinder.contract import DEFAULT_DIALECT
from rejoinder.contract.branches import Branches
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import Tag

STATES: Final = ("accepted", "refused", "failed", "not_sent")


class CoverageMeter:
    """Measures as exchanges come; see :func:`measure_coverage`."""

    def __init__(self, dialect: str = DEFAULT_DIALECT) -> None:
        self._contract = Branches.of_dialect(dialect)
        self._found: dict[str, set[str]] = {state: set() for state in STATES[:3]}

    def add(self, exchanges: Iterable[Exchange]) -> None:
        """Take exchanges into account."""
        for exchange in exchanges:
            if Tag.VALID in exchange.tags and Tag.UNJUDGED not in exchange.tags:
                self._found[_state(exchange)] |= self._contract.of(exchange.request.json())

    def report(self) -> dict[str, Any]:
        """Return the coverage so far, for the footer of a run file."""
        everything = self._contract.all
        branches: dict[str, list[str]] = {}
        counted: set[str] = set()
        for state in STATES[:3]:
            branches[state] = sorted((self._found[state] & everything) - counted)
            counted |= self._found[state]
        branches["not_sent"] = sorted(everything - counted)
        return {
            "total": len(everything),
            "counts": {state: len(names) for state, names in branches.items()},
            "branches": branches,
        }


def measure_coverage(exchanges: Iterable[Exchange], dialect: str = DEFAULT_DIALECT) -> dict[str, Any]:
    """Return the coverage of a dialect's undisputed request contract, for the footer of a run file.

    Only bodies that are valid beyond dispute count (tag ``valid``). A branch is ``accepted`` when a request with it got
    a 2xx, else ``refused`` when one got a 4xx or 501, else ``failed`` when it got a 5xx or no reply, else ``not_sent``.
    The result has ``total`` and, by state, ``counts`` and the sorted ``branches``.
    """
    meter = CoverageMeter(dialect)
    meter.add(exchanges)
    return meter.report()


def _state(exchange: Exchange) -> str:
    if exchange.ok:
        return "accepted"
    status = exchange.status
    return "refused" if status is not None and (status < 500 or status == 501) else "failed"
