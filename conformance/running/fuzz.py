"""Fuzzing: a random search over what a client may send, judged as it goes.

Cases are drawn by Hypothesis from the strategies of :mod:`rejoinder.strategies`: valid bodies, plain and streamed, for
two cases in three; bodies with a single fault; extremes; histories of one response. Of several valid bodies that were
drawn the next is the one that adds most branches of the contract, and pairs of fields, to those already sent. The same
seed gives the same cases with the same version of Hypothesis, whatever the endpoint answers and whatever is loaded.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations, count
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from rejoinder.conformance.baseline import BaselineMatcher
from rejoinder.conformance.coverage import CoverageMeter
from rejoinder.conformance.judgement import judge, judge_run, merge, settled
from rejoinder.conformance.judging.capabilities import capabilities, strongest
from rejoinder.conformance.judging.context import Capability, RunContext
from rejoinder.conformance.judging.defects import occurrence
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import (
    TINY,
    CaseContext,
    PlannedCase,
    RequestSpec,
    continuing,
    plain_and_streamed,
    stored_request,
)
from rejoinder.conformance.running.cases import cap
from rejoinder.conformance.running.confirm import ConfirmBudget, confirm
from rejoinder.conformance.running.engine import CheckRun
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Status, Verdict
from rejoinder.settings import Budget
from rejoinder.strategies import (
    Branches,
    EdgeCase,
    EndpointProfile,
    Mutant,
    classify,
    conversations,
    edge_cases,
    request_bodies,
)
from rejoinder.strategies import sample as drawn_from
from rejoinder.strategies.profile import served

DEFAULT_BUDGET: Final = Budget(requests=200)
"""What a search may send when nothing is said of that."""

SEARCH_SHARE: Final = 0.75
"""Of what the budget has left, the share that a round of searching takes; the rest is for confirming what it found."""

PROBES: Final = 1024
"""Output tokens that are granted beyond a few for each request, for the questions that show what the model can do."""

_BATCH: Final = 24
"""Cases that are sent before they are judged."""
_CHUNK: Final = 48
"""Cases that are drawn at once; a few more than are looked at for the next one."""
_WINDOW: Final = 16
"""Drawn cases of which the next one is chosen."""
_LARGEST: Final = 4_000
"""Characters in the largest text of an extreme body."""
_REDUCE: Final = 40
"""Requests to reduce one finding."""


def most_tokens(requests: int) -> int:
    """Return an upper bound of the output tokens that a number of requests have generated."""
    return requests * TINY + PROBES


class _Drawn(NamedTuple):
    """A case without its id, and the valid body that it is about, if it is about one."""

    intent: str
    requests: tuple[RequestSpec, ...]
    body: dict[str, Any] | None = None


def random_cases(context: CaseContext, seed: int) -> Iterator[PlannedCase]:
    """Yield cases without end, always the same for a seed; no two send the same bodies."""
    profile = EndpointProfile(dialect=context.dialect.reference, model=context.model, max_output_tokens=TINY)
    # Any number is a seed here, and the sorts are drawn apart, so that one does not run into another's values.
    dice = random.Random(seed)
    sorts = {name: _distinct(strategy, dice.getrandbits(48)) for name, (_, strategy) in _sorts(profile).items()}
    weights = [weight for weight, _ in _sorts(profile).values()]
    sorts["valid"] = _spread(sorts["valid"], Branches(served(profile)))
    for number in count(1):
        [name] = dice.choices(list(sorts), weights)
        found = next(sorts[name])
        yield PlannedCase(f"fuzz.{seed}.{number:05}.{name}", found.intent, found.requests)


def _sorts(profile: EndpointProfile) -> dict[str, tuple[int, st.SearchStrategy[_Drawn]]]:
    """Return what is drawn, by name, with its weight in a hundred."""
    return {
        "valid": (64, _valid(profile).map(_twins)),
        "invalid": (12, _mutants(profile)),
        "extreme": (10, st.deferred(lambda: st.sampled_from(edge_cases(profile=profile, size=_LARGEST))).map(_extreme)),
        "history": (14, _histories(profile)),
    }


def _distinct(strategy: st.SearchStrategy[_Drawn], seed: int) -> Iterator[_Drawn]:
    """Yield what a strategy draws, without repeating bodies; it ends where the strategy has nothing new."""
    seen: set[str] = set()
    repeated = 0
    for chunk in count():
        # A run of Hypothesis begins with the simplest values; a fresh one for each chunk needs no thread of its own.
        for found in drawn_from(strategy, _CHUNK, seed=seed + chunk):
            key = json.dumps([_key(planned.body) for planned in found.requests], sort_keys=True)
            # A strategy with few values begins anew when it has told all of them.
            repeated = repeated + 1 if key in seen else 0
            if key not in seen or repeated > _CHUNK * 4:
                seen.add(key)
                yield found


def _key(body: Any) -> Any:
    return body.hex() if isinstance(body, bytes) else None if callable(body) else body


def _spread(drawn: Iterator[_Drawn], contract: Branches) -> Iterator[_Drawn]:
    """Yield what adds most to what was yielded before, of a few that were drawn; what adds nothing makes room."""
    seen: set[Any] = set()
    window: list[tuple[_Drawn, frozenset[Any]]] = []
    while True:
        while len(window) < _WINDOW:
            candidate = next(drawn)
            window.append((candidate, _traits(contract, candidate.body or {})))
        gains = [len(traits - seen) for _, traits in window]
        best = max(range(len(window)), key=gains.__getitem__)
        chosen, traits = window[best]
        window = [window[place] for place, gain in enumerate(gains) if place != best and (gain or not gains[best])]
        seen |= traits
        yield chosen


def _traits(contract: Branches, body: dict[str, Any]) -> frozenset[Any]:
    """Return the branches that a valid body takes, and the pairs of its top-level fields, set or empty."""
    fields = sorted((name, "set" if value else "empty") for name, value in body.items())
    return contract.of(body) | frozenset(combinations(fields, 2))


@st.composite
def _valid(draw: st.DrawFn, profile: EndpointProfile) -> dict[str, Any]:
    """Draw a valid body: any, one that agrees with itself, or a conversation with tools under further fields."""
    sort = draw(st.integers(0, 9))
    body = draw(request_bodies(profile=profile))
    if sort == 9:
        return body
    if sort >= 7:
        body = {**body, **draw(conversations(profile=profile))}
    return _agreeing(body)


def _agreeing(body: dict[str, Any]) -> dict[str, Any]:
    """Take the contradictions out of a body for which any endpoint may refuse it, though the schema allows them."""
    body = dict(body)
    tools = body.get("tools")
    if isinstance(tools, list):
        body["tools"] = [
            {**tool, "name": f"tool_{number}"}
            if isinstance(tool.get("name"), str) and not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", tool["name"])
            else tool
            for number, tool in enumerate(tools)
        ]
    if isinstance(body.get("tool_choice"), dict) or (not body.get("tools") and body.get("tool_choice") == "required"):
        del body["tool_choice"]
    return body


def _twins(body: dict[str, Any]) -> _Drawn:
    # Whether it streams is the difference between the two.
    plain_body = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    case = plain_and_streamed("", "A random request, plain and streamed.", plain_body)
    plain, stream = case.requests
    if "stream_options" in body:
        stream = replace(stream, body={**plain_body, "stream": True, "stream_options": body["stream_options"]})
    return _Drawn(case.intent, (plain, stream), body)


def _bad(mutant: Mutant, *, streamed: bool) -> _Drawn:
    body = {**mutant.body, "stream": True} if streamed and isinstance(mutant.body, dict) else mutant.body
    # The fault may be in the very field that says how to answer.
    body = mutant.body if mutant.param.partition("[")[0].partition(".")[0] == "stream" else body
    # An endpoint may blame something else in the body that it does not have, so no field is named for it.
    tags = (Tag.INVALID,)
    intent = f"A random request with one fault ({mutant.kind} at {mutant.pointer or 'the root'}) is refused."
    return _Drawn(intent, (RequestSpec("stream" if streamed else "plain", body, tags),))


@st.composite
def _mutants(draw: st.DrawFn, profile: EndpointProfile) -> _Drawn:
    body = draw(request_bodies(profile=profile, max_items=2))
    mutant = draw(st.sampled_from(list(classify(body, profile=profile))))
    return _bad(mutant, streamed=draw(st.booleans()))


def _extreme(case: EdgeCase) -> _Drawn:
    tags = ({"valid": Tag.VALID, "edge": Tag.EDGE, "raw": Tag.INVALID}[case.tier],)
    headers = (("content-type", case.content_type),)
    return _Drawn(case.intent, (RequestSpec(Role.PLAIN, case.data, tags, headers=headers),))


@st.composite
def _histories(draw: st.DrawFn, profile: EndpointProfile) -> _Drawn:
    """Draw what may become of one response, under the roles by which rules know its parts."""
    bodies = request_bodies(profile=profile, max_items=2).map(_kept)
    steps = [RequestSpec(Role.FIRST, draw(bodies)), stored_request(Role.GET, Role.FIRST)]
    if draw(st.booleans()):
        steps.append(stored_request(Role.GET_AGAIN, Role.FIRST))
    if draw(st.booleans()):
        body = {**draw(bodies), "stream": True}
        steps += [RequestSpec(Role.STREAMED, body), stored_request(Role.GET_STREAMED, Role.STREAMED)]
    if draw(st.booleans()):
        body = {**draw(bodies), "store": False}
        steps += [RequestSpec(Role.UNSTORED, body), stored_request(Role.GET_UNSTORED, Role.UNSTORED)]
    if draw(st.booleans()):
        listed = (Role.FIRST, "input_items")
        steps += [stored_request(Role.LISTED, *listed), stored_request(Role.ASCENDING, *listed, query="order=asc")]
    if draw(st.booleans()):
        steps.append(RequestSpec(Role.CONTINUED, continuing(Role.FIRST, draw(bodies))))
    if draw(st.booleans()):
        cancelled = stored_request(Role.CANCEL, Role.FIRST, "cancel", method="POST")
        steps += [cancelled, stored_request(Role.GET_AFTER, Role.FIRST)]
    if draw(st.booleans()):
        deleted = stored_request(Role.DELETE, Role.FIRST, method="DELETE")
        steps += [deleted, stored_request(Role.GET_DELETED, Role.FIRST)]
    return _Drawn("A random response is stored, retrieved, continued, cancelled or deleted.", tuple(steps))


def _kept(body: dict[str, Any]) -> dict[str, Any]:
    """Leave the fields out that decide how a response is stored and returned."""
    deciding = ("stream", "stream_options", "background", "background_options", "store", "conversation")
    return {name: value for name, value in body.items() if name not in deciding}


class FuzzRun:
    """A random search against one endpoint, until the budget of ``sender`` ends.

    ``verdicts`` are those on everything that was sent so far, ``coverage`` measures it; ``run_context`` is
    what the first of it showed of the model. What was judged and shows
    nothing is forgotten, so that a search may go on for long.
    """

    def __init__(
        self,
        sender: CheckRun,
        context: CaseContext,
        seed: int,
        *,
        select: str = "*",
        matcher: BaselineMatcher | None = None,
        reruns: int = 3,
        on_found: Callable[[int], None] = lambda findings: None,
        on_confirming: Callable[[int, str], None] = lambda spent, note: None,
    ) -> None:
        self.sender = sender
        self.context = context
        self.select = select
        self.matcher = matcher
        self.reruns = reruns
        self.verdicts: list[Verdict] = []
        self.coverage = CoverageMeter(context.dialect.reference)
        self.run_context = RunContext()
        self._capabilities: Mapping[str, Capability] = {}
        self._cases = random_cases(context, seed)
        self._sent: dict[str, PlannedCase] = {}
        self._kept: dict[str, PlannedCase] = {}
        self._evidence: dict[str, Exchange] = {}
        self._on_found = on_found
        self._on_confirming = on_confirming

    async def run(self) -> None:
        """Search and confirm in turns, each round with most of what is left, until nothing is left."""
        # What the model can do decides what may be asked of its answers.
        exchanges = await self._send(list(cap.probes(self.context)))
        _, self.run_context = await asyncio.to_thread(judge_run, exchanges, self.context.dialect, select="")
        await self._judge(exchanges)
        while not self.sender.ended:
            left = self.sender.requests_left
            planned = math.inf if left is None else max(1, math.ceil(left * SEARCH_SHARE))
            until = self.sender.used + (1 - self.sender.used) * SEARCH_SHARE
            await self._round(planned, until)
            await self._confirm()

    async def _round(self, planned: float, until: float) -> None:
        """Send cases of at most that number of requests (at least one case), or until that share of the budget is used.

        What is sent depends on the plan of the cases alone, not on when replies come, so that a seed says all of it.
        """
        first = True
        while not self.sender.ended and planned > 0 and (self.sender.used < until or first):
            batch: list[PlannedCase] = []
            while len(batch) < _BATCH and (planned > 0 or not batch):
                batch.append(await asyncio.to_thread(next, self._cases))
                planned -= len(batch[-1].requests)
            await self._judge(await self._send(batch))
            first = False

    async def _send(self, cases: Sequence[PlannedCase]) -> list[Exchange]:
        self._sent = {case.id: case for case in cases}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self.sender.send(case)) for case in cases]
        return [exchange for task in tasks for exchange in task.result()]

    @property
    def shown(self) -> RunContext:
        """What the whole search showed: the model's abilities of the first requests, the features of all of them."""
        dialect = self.context.dialect
        views = {name: ExchangeView(exchange, dialect) for name, exchange in self._evidence.items()}
        occurrences = {
            id(finding): [occurrence(finding.evidence, views[finding.evidence.exchange])]
            for verdict in self.verdicts
            for finding in verdict.findings
            if finding.evidence.exchange in views
        }
        capabilities = settled(
            self._capabilities, (), dialect, self.verdicts, occurrences, evidence=list(views.values())
        )
        return replace(self.run_context, capabilities=capabilities)

    def _judging(self, exchanges: Sequence[Exchange], rules: str) -> list[Verdict]:
        return judge(exchanges, self.context.dialect, select=rules, run_context=self.run_context, matcher=self.matcher)

    async def _judge(self, exchanges: Sequence[Exchange]) -> None:
        """Add what was sent last to the verdicts, and forget what shows nothing."""
        self.coverage.add(exchanges)
        views = [ExchangeView(e, self.context.dialect) for e in exchanges if Tag.UNJUDGED not in e.tags]
        self._capabilities = strongest(self._capabilities, await asyncio.to_thread(capabilities, views))
        self.verdicts = merge(self.verdicts, await asyncio.to_thread(self._judging, exchanges, self.select))
        found = [finding for verdict in self.verdicts for finding in verdict.findings]
        evidence = {finding.evidence.exchange for finding in found}
        self._evidence |= {exchange.id: exchange for exchange in exchanges if exchange.id in evidence}
        cases = {name for finding in found for name in finding.cases}
        self._kept |= {name: case for name, case in self._sent.items() if name in cases}
        self.sender.result.exchanges.clear()
        self._on_found(sum(len(v.findings) for v in self.verdicts if v.status in (Status.FAIL, Status.WARN)))

    async def _confirm(self) -> None:
        left = self.sender.requests_left
        many = 1000
        confirm_budget = ConfirmBudget(self.reruns, many, many, _REDUCE, many * _REDUCE if left is None else left)
        await confirm(
            self.sender,
            self.sender.target,
            self.context.dialect,
            self._kept,
            self.verdicts,
            list(self._evidence.values()),
            self._judging,
            confirm_budget,
            on_progress=self._on_confirming,
        )
        self.sender.result.exchanges.clear()
