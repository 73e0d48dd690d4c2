"""What an endpoint made of each request, and which refusals are isolated. Pure functions.

A request proves something only by the response that it got: accepted, refused, or failed in the endpoint. Whatever
else happened to it (interrupted, timed out, cut, busy, not authorised) proves nothing.

A request that is refused says nothing of any one thing in it. Only a pair does: a request that is refused, and the same
request without one thing, which is accepted. Such pairs are sent by :mod:`rejoinder.conformance.running.isolate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from rejoinder.conformance.judging.context import Handling, Refusal
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.problems import get
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import is_broken, is_refusal, state
from rejoinder.contract.branches import Branches, is_below, split
from rejoinder.contract.nodes import Node
from rejoinder.model.error_text import MAX_LENGTH, error_message, error_text
from rejoinder.model.exchange import Exchange, Outcome, parse_json
from rejoinder.model.tags import Tag

_CLIENT_ERRORS: Final = ("invalid_request", "invalid_request_error")
"""Types of an error inside a 2xx response that refuse the request; any other one is a failure of the endpoint."""


def handling(view: ExchangeView) -> Handling:
    """Return what the endpoint made of a create request."""
    exchange = view.exchange
    if not exchange.ok:
        status = exchange.status
        if status is None:
            return Handling.UNPROVEN
        if is_refusal(status) or status == 501:
            return Handling.REFUSED
        return Handling.SERVER_ERROR if is_broken(status) else Handling.UNPROVEN
    error = _error_inside(view)
    if error is not None:
        kinds = (get(error, "type"), get(error, "code"))
        return Handling.REFUSED if any(kind in _CLIENT_ERRORS for kind in kinds) else Handling.SERVER_ERROR
    if exchange.outcome is not Outcome.COMPLETE or (view.is_stream and view.fold.terminal is None):
        return Handling.UNPROVEN
    return Handling.ACCEPTED


def own_words(view: ExchangeView, limit: int = MAX_LENGTH) -> str:
    """Return the endpoint's error message for a request, on one line of at most ``limit`` characters; empty without."""
    if view.exchange.ok:
        return error_message(_error_inside(view), limit)
    return error_text(view.exchange, limit)


def _error_inside(view: ExchangeView) -> Any:
    """Return the error in a 2xx response, ``None`` without one: an error event, a failed response, an error object."""
    for event in view.by_type.get("error", ()):
        nested = event.data.get("error")
        return nested if isinstance(nested, dict) else event.data
    if state(view.response) == "failed":
        error = get(view.response, "error")
        return error if isinstance(error, dict) else {}
    body = view.body if view.is_plain else None
    error = get(body, "error")
    return error if isinstance(error, dict) and get(body, "object") != "response" else None


def refusals(views: Iterable[ExchangeView]) -> Iterator[Refusal]:
    """Yield the isolated refusals of a run, from the pairs that were sent to isolate them."""
    pairs: dict[str, dict[str, ExchangeView]] = {}
    for view in views:
        if Tag.NARROWED in view.exchange.tags and view.exchange.role in (Role.WITH, Role.WITHOUT):
            pairs.setdefault(view.exchange.case, {})[view.exchange.role] = view
    for pair in pairs.values():
        if len(pair) == 2:
            rejected, accepted = pair[Role.WITH], pair[Role.WITHOUT]
            how = handling(rejected)
            if how in (Handling.REFUSED, Handling.SERVER_ERROR) and handling(accepted) is Handling.ACCEPTED:
                contract = Branches.of_dialect(rejected.dialect.reference)
                difference = contract.of(rejected.request) - contract.of(accepted.request)
                yield Refusal(rejected.exchange, accepted.exchange, how, difference, own_words(rejected))


def counts_for_acceptance(exchange: Exchange) -> bool:
    """Return whether an exchange counts for what the endpoint accepts: valid beyond dispute, and sent for the run."""
    tags = exchange.tags
    return Tag.NARROWED in tags or (Tag.VALID in tags and Tag.UNJUDGED not in tags)


def outermost(branches: Iterable[str]) -> frozenset[str]:
    """Return the branches that lie below none of the others."""
    found = frozenset(branches)
    return frozenset(one for one in found if not any(is_below(one, other) for other in found))


def enclosing(branch: str, others: Iterable[str]) -> frozenset[str]:
    """Return those of the others that a branch lies inside, without any that are inside another of them.

    No request can take the branch without them.
    """
    return outermost(other for other in others if is_below(branch, other))


def _branches(root: Node, view: ExchangeView) -> frozenset[str]:
    """Return the branches that a create request takes."""
    return Branches(root).of(view.request) if view.is_other_media else _branches_of(root, view.exchange.request.body)


@lru_cache(maxsize=2048)
def _branches_of(root: Node, body: bytes) -> frozenset[str]:
    # A run looks at each body several times: while it isolates refusals, and for what it covers.
    parsed = parse_json(body)
    return Branches(root).of(parsed if isinstance(parsed, dict) else {})


class AcceptanceLog:
    """Which contract branches an endpoint accepts, as exchanges come in.

    ``accepted`` holds the branches of accepted requests, ``rejected`` those sets of branches that were refused or met
    a server error together, ``unproven`` the branches of requests that prove nothing.
    """

    def __init__(self, dialect: str) -> None:
        self.contract = Branches.of_dialect(dialect)
        self.accepted: set[str] = set()
        self.rejected: set[frozenset[str]] = set()
        self.unproven: set[str] = set()
        self.refusals: list[Refusal] = []
        self._claims: tuple[tuple[int, ...], dict[str, Refusal]] = ((), {})

    def add(self, views: Iterable[ExchangeView]) -> None:
        """Take the create requests among these into account, if they count."""
        counted = [view for view in views if view.is_create and counts_for_acceptance(view.exchange)]
        for view in counted:
            branches, how = _branches(self.contract.root, view), handling(view)
            if how is Handling.ACCEPTED:
                self.accepted |= branches
            elif how is Handling.UNPROVEN:
                self.unproven |= branches
            elif branches:
                self.rejected.add(branches)
        self.refusals += refusals(counted)

    @property
    def sent_in_vain(self) -> frozenset[str]:
        """The branches of rejected requests that no accepted request has."""
        return frozenset().union(*self.rejected) - self.accepted

    @property
    def left_open(self) -> frozenset[str]:
        """The branches that were sent in vain and are neither isolated nor inside what is."""
        claims = self.claims()
        return frozenset(one for one in self.sent_in_vain - claims.keys() if not enclosing(one, claims))

    def claims(self) -> dict[str, Refusal]:
        """Return the branches that are refused beyond doubt, each with the smallest pair that isolates it.

        In the rejected request of the pair everything else is accepted elsewhere or lies below the branch. Where a
        field has several values and not all were sent, only the value that was sent is refused, not the field.
        Alternatives that look the same on the wire are refused together.
        """
        state = (len(self.refusals), len(self.accepted), len(self.rejected))
        if self._claims[0] == state:
            return self._claims[1]
        found: dict[str, Refusal] = {}
        sent = self.accepted.union(*self.rejected)
        for refusal in sorted(self.refusals, key=lambda refusal: len(refusal.rejected.request.body)):
            places = self.contract.places(refusal.rejected.request.json())
            for branch in isolated(refusal.difference, places, self.accepted, sent, self.contract.all):
                found.setdefault(branch, refusal)
        self._claims = (state, found)
        return found


def isolated(
    difference: frozenset[str],
    places: Mapping[str, set[str]],
    accepted: set[str],
    sent: set[str],
    everything: frozenset[str],
) -> frozenset[str]:
    """Return the branches that a difference of two requests isolates; none where it leaves a choice.

    ``places`` are the branches of the rejected request with the pointers at which it takes them, ``accepted`` and
    ``sent`` the branches that some request has, ``everything`` those of the contract.
    """
    outer = outermost(difference - accepted)
    if len({frozenset(places[branch]) for branch in outer}) > 1:
        return frozenset()
    for branch in outer:
        path, choice = split(branch)
        if choice == "value":
            values = {other for other in everything if split(other)[0] == path} - {f"{path}={s}" for s in _STATES}
            if values - sent and values & difference:
                return frozenset(values & difference)
    return outer


_STATES: Final = ("absent", "null", "value")
