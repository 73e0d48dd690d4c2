"""The search for limits: what has one is doubled until the endpoint rejects it, then the interval is halved.

Each step is one request, known by its size (see :mod:`rejoinder.conformance.judging.limits`). After a
rejection the simplest request follows, since an endpoint must serve others then. What the search costs at most follows
from the table of dimensions, so that it is known before anything is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from rejoinder.budgets import MIB
from rejoinder.conformance.judging.limits import (
    Dimension,
    context_of,
    dimensions_of,
    is_accepted,
    is_rejected,
    size_of,
)
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.running.case import TINY, CaseContext, PlannedCase, liveness_request
from rejoinder.conformance.running.cases.iso import slow_and_large
from rejoinder.conformance.running.cases.lim import sized_request
from rejoinder.conformance.running.confirm import Sender
from rejoinder.contract import load_dialect
from rejoinder.errors import UsageError
from rejoinder.formatting import join_list, plural
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import Tag
from rejoinder.settings import Budget
from rejoinder.wire.target import Target

DEFAULT_TOKENS: Final = 250_000
"""Input tokens that a search may send at most where the user's budget has no tokens."""
_FEW: Final = 64
"""Tokens of a request without what grows in it: the template and the question."""
_FEW_BYTES: Final = 300
"""Bytes of its body without what grows in it."""
_SLOW_SIZE: Final = 7 * MIB // 4
"""Characters that a large stream repeats in three or four events: above 5 MB in all, below what is read of it."""
_SLOW_REQUESTS: Final = 5
_BEYOND: Final = 1.125
"""How much longer than the model's context an input is that must be refused, as a factor."""


@dataclass(frozen=True, slots=True)
class LimitCost:
    """What a search sends at most: requests, bytes of their bodies, and tokens, those of short answers included."""

    requests: int
    size: int
    tokens: int

    @property
    def sentence(self) -> str:
        """The cost in words."""
        megabytes = f"{self.size / MIB:,.0f} MiB" if self.size >= MIB else f"{self.size / MIB:,.1f} MiB"
        return f"{plural(self.requests, 'request')}, {megabytes}, {plural(self.tokens, 'token')} at most"


@dataclass(frozen=True, slots=True)
class LimitPlan:
    """What a search looks for: dimensions, of which ``context`` has the length of the model's context if it is known.

    ``context`` is in tokens, ``None`` where ``GET /v1/models`` does not name it.
    """

    dimensions: tuple[Dimension, ...]
    context: int | None = None

    @property
    def cost(self) -> LimitCost:
        """What the search sends at most."""
        costs = [_cost(row, self.sizes(row), self.halvings(row)) for row in self.dimensions]
        if any(row.name == "event" for row in self.dimensions):
            costs.append(LimitCost(_SLOW_REQUESTS, _SLOW_SIZE + _SLOW_REQUESTS * _FEW_BYTES, _SLOW_REQUESTS * 2 * _FEW))
        return LimitCost(
            sum(cost.requests for cost in costs), sum(cost.size for cost in costs), sum(cost.tokens for cost in costs)
        )

    @property
    def intents(self) -> dict[str, str]:
        """The purpose of each case of the search, by the id of the case."""
        return {row.case: _intent(row) for row in self.dimensions}

    def sizes(self, row: Dimension) -> list[int]:
        """Return the sizes that are sent one after the other until one is rejected."""
        if row.name == "context" and self.context is not None:
            # The words of the search are one token each, or a little more.
            return [self.context // 8, self.context // 4, int(self.context * _BEYOND)]
        sizes = [row.start]
        while sizes[-1] < row.ceiling:
            sizes.append(min(2 * sizes[-1], row.ceiling))
        return sizes

    def halvings(self, row: Dimension) -> int:
        """Return how often the interval is halved: not at all where the length of the context is known."""
        return 0 if row.name == "context" and self.context is not None else row.halvings


def _intent(row: Dimension) -> str:
    return f"The largest {row.title.lower() if row.title[:2].istitle() else row.title} that the endpoint accepts."


def plan_limits(context: CaseContext, found: Iterable[Exchange] = ()) -> LimitPlan:
    """Return what to look for at an endpoint. ``found`` are the exchanges that found it, with its list of models."""
    return LimitPlan(tuple(dimensions_of(context.dialect)), _listed_context(found, context.model))


def affordable_search(target: Target, found: Iterable[Exchange], budget: Budget | None) -> LimitPlan:
    """Return what to look for at a target; ``found`` are the exchanges that found it.

    Raises :class:`UsageError` where that may cost more tokens than the budget allows.
    """
    plan = plan_limits(context_of_target(target), found)
    check_affordable(plan, budget)
    return plan


def context_of_target(target: Target) -> CaseContext:
    """Return what the requests of a search are made for."""
    dialect = load_dialect(target.dialect)
    return CaseContext(dialect, target.model, form=target.form, models=target.models)


def check_affordable(plan: LimitPlan, budget: Budget | None) -> None:
    """Raise :class:`UsageError` where the search may cost more tokens than the budget allows."""
    given = budget.tokens if budget is not None else None
    allowed = DEFAULT_TOKENS if given is None else given
    cost = plan.cost
    if cost.tokens > allowed:
        by = f"--budget allows {allowed:,}" if given is not None else f"it may send {allowed:,} without --budget"
        least = -(-cost.tokens // 1000)
        raise UsageError(
            f"The search for limits sends {cost.sentence}, but {by}.",
            f"Allow it with --budget {least}ktokens, or leave out --limits. Nothing was sent for the search.",
        )


def _cost(row: Dimension, sizes: Sequence[int], halvings: int) -> LimitCost:
    """Return the most that the search for one limit sends.

    The halvings lie below the largest size, and the first request that broke something is sent again. The simplest
    request follows each of those that were rejected.
    """
    units = [*sizes, *[sizes[-1]] * (halvings + 1)]
    requests = len(units) + halvings + 2
    size = sum(int(row.size * count) for count in units) + requests * _FEW_BYTES
    tokens = sum(int(row.tokens * count) for count in units) + requests * (_FEW + TINY)
    return LimitCost(requests, size, tokens)


def _listed_context(found: Iterable[Exchange], model: str | None) -> int | None:
    """Return the context length of the model, or of the first one, in the recorded list of models."""
    for exchange in found:
        body = exchange.json() if exchange.role == "models" and exchange.ok else None
        listed: Any = body.get("data") if isinstance(body, dict) else None
        models = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
        for one in sorted(models, key=lambda one: one.get("id") != model):
            if (length := context_of(one)) is not None:
                return length
            break
    return None


async def find_limits(
    sender: Sender,
    context: CaseContext,
    plan: LimitPlan,
    *,
    on_progress: Callable[[int, str], None] = lambda spent, note: None,
) -> list[str]:
    """Send the search; its exchanges are judged with those of the run. Returns sentences for the reader of the report.

    ``on_progress`` gets the requests sent so far and what is looked for. The search ends where the sender ends.
    """
    work = _LimitSearch(sender, context, on_progress)
    for row in plan.dimensions:
        if sender.ended:
            break
        largest = await work.find(row, plan.sizes(row), plan.halvings(row))
        if row.name == "event" and largest == row.ceiling and not sender.ended:
            await work.read_slowly(row)
    left = [row.title for row in plan.dimensions if row.name not in work.begun]
    return [f"The run ended before the search for these limits: {join_list(left, len(left))}."] if left else []


def _broke(exchange: Exchange) -> bool:
    """Return whether a request was rejected in another way than by a refusal."""
    return is_rejected(exchange) and (exchange.status is None or exchange.status >= 500 or exchange.ok)


class _LimitSearch:
    """The requests of one search, one after the other."""

    def __init__(self, sender: Sender, context: CaseContext, on_progress: Callable[[int, str], None]) -> None:
        self.begun: set[str] = set()
        self._broken: set[str] = set()
        self._sender = sender
        self._context = context
        self._on_progress = on_progress
        self._sent = 0

    async def find(self, row: Dimension, sizes: Sequence[int], halvings: int) -> int:
        """Send growing sizes until one is rejected, then sizes between the largest accepted and that one.

        Returns the largest accepted size, 0 for none.
        """
        self.begun.add(row.name)
        accepted, rejected = 0, None
        for size in sizes:
            answer = await self._accepts(row, size)
            if answer is None:
                return accepted
            if not answer:
                rejected = size
                break
            accepted = size
        if rejected is None or not accepted:
            return accepted
        for _ in range(halvings):
            middle = (accepted + rejected) // 2
            answer = None if middle == accepted else await self._accepts(row, middle)
            if answer is None:
                break
            accepted, rejected = (middle, rejected) if answer else (accepted, middle)
        return accepted

    async def read_slowly(self, row: Dimension) -> None:
        """Send a stream that is larger than the buffers of the kernel, and read it slowly beside others."""
        await self._send(slow_and_large(self._context, _SLOW_SIZE), row)

    async def _accepts(self, row: Dimension, size: int) -> bool | None:
        """Send one size; return whether it was accepted, ``None`` where nothing can be said and the search stops.

        The first request of a dimension that broke something is sent again, since that may be chance.
        """
        found = await self._probe(row, size)
        if found is not None and _broke(found) and row.name not in self._broken:
            self._broken.add(row.name)
            again = await self._probe(row, size, tags=(Tag.RERUN,))
            found = found if again is None or not is_accepted(again) else None
        if found is None or not (is_accepted(found) or is_rejected(found)):
            return None
        return is_accepted(found)

    async def _probe(self, row: Dimension, size: int, tags: tuple[str, ...] = ()) -> Exchange | None:
        if self._sender.ended:
            return None
        documented = row.documented(self._context.dialect)
        known = size <= max(row.start, documented or 0)
        request = sized_request(self._context, row, size, Tag.VALID if known else Tag.EDGE, Tag.LIMIT_SEARCH)
        sent = await self._send(PlannedCase(row.case, _intent(row), (request,)), row, tags)
        found = next((exchange for exchange in sent if size_of(exchange) == size), None)
        if found is not None and is_rejected(found) and not self._sender.ended:
            after = replace(liveness_request(self._context), role=role_of(Role.AFTER, size))
            await self._send(PlannedCase(row.case, _intent(row), (after,)), row, tags)
        return found

    async def _send(self, case: PlannedCase, row: Dimension, tags: tuple[str, ...] = ()) -> list[Exchange]:
        sent = await self._sender.send(case, *tags)
        self._sent += len(case.requests)
        self._on_progress(self._sent, row.title)
        return sent
