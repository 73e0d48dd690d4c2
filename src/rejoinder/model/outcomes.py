"""How requests under load end: every outcome with what follows from it, and sums over outcomes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class RequestOutcome(StrEnum):
    """How one request under load ended, in the order in which reports list them."""

    OK = "ok"
    UNJUDGED = "unjudged"
    NONCONFORMING = "nonconforming"
    FAILED = "failed"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"
    TRUNCATED = "truncated"
    HTTP_4XX = "http_4xx"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    TRANSPORT = "transport"
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    CENSORED = "censored"
    UNOPENED = "unopened"
    LOST = "lost"

    @property
    def row(self) -> OutcomeRow:
        """What follows from this outcome."""
        return OUTCOMES[self]


class OutcomeRow(NamedTuple):
    """What follows from an outcome.

    ``meaning`` is a phrase for people. ``good``: the request succeeded. ``answered``: its answer came to an end, so its
    times count. ``unended``: nobody knows when its answer would have come to an end, so its times count as lower
    bounds. ``judgeable``: the rules apply to what came back. ``ours``: the client stopped it, so it is neither good nor
    bad. ``replied``: the endpoint sent an HTTP reply of some kind.
    """

    meaning: str
    good: bool = False
    answered: bool = False
    unended: bool = False
    judgeable: bool = False
    ours: bool = False
    replied: bool = True

    @property
    def bad(self) -> bool:
        """Whether the endpoint failed the request."""
        return not (self.good or self.ours)


OUTCOMES: Final[Mapping[RequestOutcome, OutcomeRow]] = {
    RequestOutcome.OK: OutcomeRow("succeeded, checked against all rules", good=True, answered=True, judgeable=True),
    RequestOutcome.UNJUDGED: OutcomeRow(
        "succeeded; checked for event order, terminal event and canary only", good=True, answered=True, judgeable=True
    ),
    RequestOutcome.NONCONFORMING: OutcomeRow("completed, but broke a MUST rule", answered=True, judgeable=True),
    RequestOutcome.FAILED: OutcomeRow("the stream reported a failure", judgeable=True),
    RequestOutcome.INCOMPLETE: OutcomeRow("ended with status incomplete", answered=True, judgeable=True),
    RequestOutcome.CANCELLED: OutcomeRow("cancelled by the client, as the workload defines", ours=True),
    RequestOutcome.TRUNCATED: OutcomeRow("the stream ended without a terminal event", unended=True, judgeable=True),
    RequestOutcome.HTTP_4XX: OutcomeRow("refused with a 4xx status other than 429"),
    RequestOutcome.HTTP_429: OutcomeRow("refused with status 429"),
    RequestOutcome.HTTP_5XX: OutcomeRow("refused with a 5xx status"),
    RequestOutcome.TRANSPORT: OutcomeRow("the connection failed or broke", unended=True, replied=False),
    RequestOutcome.TIMEOUT: OutcomeRow("a time-out expired before the response ended", unended=True, replied=False),
    RequestOutcome.TOO_LARGE: OutcomeRow("larger than rejoinder reads; cut by rejoinder", unended=True),
    RequestOutcome.CENSORED: OutcomeRow("still running when the run ended", unended=True, replied=False),
    RequestOutcome.UNOPENED: OutcomeRow(
        "not sent: this machine had no file or port left for a connection", ours=True, replied=False
    ),
    RequestOutcome.LOST: OutcomeRow("unknown: rejoinder ended before it recorded one", ours=True, replied=False),
}

MEASURED: Final = tuple(outcome for outcome, row in OUTCOMES.items() if row.answered or row.unended)
"""Outcomes whose times enter the distributions."""

OutcomeCounts = Mapping[RequestOutcome, int]

_LIMIT_ALL: Final = frozenset({"goodput", "error", RequestOutcome.OK})


def good_of(counts: OutcomeCounts) -> int:
    """Return how many requests succeeded."""
    return sum(count for outcome, count in counts.items() if OUTCOMES[outcome].good)


def bad_of(counts: OutcomeCounts) -> int:
    """Return how many requests the endpoint failed."""
    return sum(count for outcome, count in counts.items() if OUTCOMES[outcome].bad)


def unlimited_bad_of(counts: OutcomeCounts, limited: Collection[str]) -> int:
    """Return how many requests the endpoint failed in a way that no SLO on a share allows.

    ``limited`` has the metrics of these SLOs. One on goodput, ``error`` or ``ok`` limits every failure, one on another
    outcome limits that outcome.
    """
    if not _LIMIT_ALL.isdisjoint(limited):
        return 0
    return bad_of({outcome: count for outcome, count in counts.items() if outcome not in limited})


def judgeable_of(counts: OutcomeCounts) -> int:
    """Return how many requests brought something that the rules apply to."""
    return sum(count for outcome, count in counts.items() if OUTCOMES[outcome].judgeable)


def settled(counts: OutcomeCounts, *, ended_early: bool) -> OutcomeCounts:
    """Return the outcomes for which the endpoint is answerable.

    A run that ended before its time, because somebody interrupted it or a process of it died, gave the requests in
    flight no time to end. They are left out.
    """
    if not ended_early:
        return counts
    return {outcome: count for outcome, count in counts.items() if outcome is not RequestOutcome.CENSORED}


def replied_of(counts: OutcomeCounts) -> int:
    """Return how many requests got an HTTP reply."""
    return sum(count for outcome, count in counts.items() if OUTCOMES[outcome].replied)


def counted_of(counts: OutcomeCounts) -> int:
    """Return the number of requests that shares refer to: all but those cancelled by the workload or never sent."""
    left_out = (RequestOutcome.CANCELLED, RequestOutcome.UNOPENED)
    return sum(count for outcome, count in counts.items() if outcome not in left_out)
