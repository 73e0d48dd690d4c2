"""Isolating: what an endpoint refuses in requests that hold many things is sent by itself.

Plans pack many contract branches into few requests. One thing that an endpoint refuses gets all of them refused, so
the suspects of such a request (what no accepted request has) are sent again in halves, with nothing else but the
simplest request that was accepted, until each is accepted or stands alone. What stands alone is then sent in a pair:
with it, and without it. Only such a pair is proof, see :mod:`rejoinder.conformance.judging.acceptance`.

Requests stay valid: a tool choice keeps its tools, a call its output, an image its source.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from rejoinder.conformance.judging.acceptance import (
    AcceptanceLog,
    counts_for_acceptance,
    handling,
    isolated,
    outermost,
    own_words,
)
from rejoinder.conformance.judging.capabilities import features_in_doubt
from rejoinder.conformance.judging.context import Handling
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import CaseContext, PlannedCase, RequestSpec, user
from rejoinder.conformance.running.confirm import Sender
from rejoinder.conformance.running.trial import fresh
from rejoinder.contract import Dialect, Feature
from rejoinder.formatting import plural
from rejoinder.json_copy import copy_json
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import Tag
from rejoinder.strategies import EndpointProfile, one_factor
from rejoinder.strategies.profile import SOURCES
from rejoinder.wire.base_form import fit_body

Path = tuple[str | int, ...]
Body = dict[str, Any]
Suspect = tuple[Path, ...]
"""Places of a body that come and go together: a field, an element of a list, a call with its output."""

ISOLATION_BUDGETS: Final[Mapping[str, int]] = {"smoke": 30, "quick": 400, "full": 800}
"""How many requests a run of each plan may send to isolate refusals."""

PINNED: Final = ("model", "max_output_tokens")
"""Fields that every request keeps where the endpoint takes them: which model answers, and how much that may cost."""

NEEDS: Final[Mapping[str, str]] = {"tool_choice": "tools", "stream_options": "stream", "top_logprobs": "include"}
"""Fields that mean something only beside another one."""

_LINKS: Final = ("call_id", "approval_request_id", "id")
"""Fields by which one input item names another."""


@dataclass(frozen=True, slots=True)
class IsolationResult:
    """What isolating came to: the pairs that were sent as cases by id, and sentences for the reader of the report."""

    cases: Mapping[str, PlannedCase]
    warnings: list[str]


async def isolate(
    sender: Sender,
    dialect: Dialect,
    model: str | None,
    exchanges: Sequence[Exchange],
    budget: int,
    *,
    on_progress: Callable[[int], None] = lambda spent: None,
) -> IsolationResult:
    """Send what was refused only in company by itself, within a budget of requests.

    ``exchanges`` are those of the plan. ``on_progress`` gets the number of requests so far. The exchanges are recorded
    with the tag ``narrowed``; they count for acceptance, and no rule is judged on them.
    """
    search = IsolationSearch(sender, dialect, model, exchanges, budget, on_progress)
    with suppress(_BudgetSpentError):
        await search.run()
    return IsolationResult(search.pairs, search.warnings())


class _BudgetSpentError(Exception):
    """Nothing more may be sent."""


class IsolationSearch:
    """The search for what is refused in the rejected requests of one run."""

    def __init__(
        self,
        sender: Sender,
        dialect: Dialect,
        model: str | None,
        exchanges: Iterable[Exchange],
        budget: int,
        on_progress: Callable[[int], None] = lambda spent: None,
    ) -> None:
        self.sender = sender
        self.dialect = dialect
        self.budget = budget
        self.spent = 0
        self.pairs: dict[str, PlannedCase] = {}
        self.log = AcceptanceLog(dialect.reference)
        self.views = [
            ExchangeView(exchange, dialect)
            for exchange in exchanges
            if counts_for_acceptance(exchange) and exchange.request.body
        ]
        self._model = model
        self._is_valid = CaseContext(dialect, model).allows
        written = fit_body({"input": user("Hi.")}, dialect.usual_form, {})
        self._plain = frozenset(written["input"][0])
        self._on_progress = on_progress
        self._numbers = 0
        self._known: dict[str, Handling] = {}
        self._taken: dict[str, frozenset[str]] = {}
        self._divided: dict[str, list[tuple[Suspect, frozenset[str]]]] = {}
        self._sizes: dict[str, int] = {}
        self._unpaired: list[Body] = []
        self._words: dict[str, str] = {}
        self._paired: set[str] = set()
        self._rejected: dict[str, Body] = {}
        self.log.add(self.views)
        accepted = []
        for view in self.views:
            if view.is_create and view.request:
                self._note(view.request, view)
                if handling(view) is Handling.ACCEPTED:
                    accepted.append(view.request)
        # The smallest request that was accepted is what everything else is sent with.
        self._base: Body | None = min(accepted, key=_size, default=None)
        self._pinned = [name for name in PINNED if self._base is None or name in self._base]

    def _note(self, body: Body, view: ExchangeView) -> None:
        key, how = _key(body), handling(view)
        self._words[key] = own_words(view)
        if self._known.get(key) is not Handling.ACCEPTED and how is not Handling.UNPROVEN:
            self._known[key] = how
        if how not in (Handling.REFUSED, Handling.SERVER_ERROR) or key in self._rejected:
            return
        if self._is_valid(body):
            self._rejected[key] = body
            self._sizes[key] = _size(body)
            self._unpaired.append(body)

    def warnings(self) -> list[str]:
        """Return what the reader should know of what was not isolated."""
        left = len(self._open())
        if not left or self.spent < self.budget:
            return []
        request = plural(self.budget, "request")
        return [
            f"{plural(left, 'contract branch', 'contract branches')} {'was' if left == 1 else 'were'} refused only "
            f"together with others: the budget of {request} to isolate refusals was used up."
        ]

    async def run(self) -> None:
        """Search until everything is accepted or isolated, or until nothing more may be sent."""
        if self._base is None:
            return  # there is no accepted request to compare with
        await self._pair_claims()  # what the plan sent by itself
        while True:
            before = self.spent
            for body in self._smallest_first():
                await self._halve(body, self._suspects(body), spare_claimed=True)
                await self._pair_claims(sorted(self._unpaired, key=_size))
            await self._pair_claims()
            await self._split_calls()
            await self._look_inside()
            await self._try_single_factors()
            await self._pair_claims()
            await self._pair_features()
            # A thing that was refused in one form may be accepted in another: each form is sent by itself.
            for body in self._smallest_first():
                for suspect in self._suspects(body):
                    await self._halve(body, [suspect], spare_claimed=False)
            await self._pair_claims()
            if self.spent == before:
                break

    def _smallest_first(self) -> list[Body]:
        """Return the bodies that were rejected, the smallest first."""
        return [self._rejected[key] for key in sorted(self._rejected, key=self._sizes.__getitem__)]

    # What is open

    def _open(self) -> frozenset[str]:
        """Return the branches that are neither accepted nor isolated, nor inside what is."""
        return self.log.left_open

    def _branches(self, body: Body) -> frozenset[str]:
        key = _key(body)
        if key not in self._taken:
            self._taken[key] = self.log.contract.of(body)
        return self._taken[key]

    def _new(self, body: Body) -> frozenset[str]:
        """Return the branches of a body that no accepted request has."""
        return self._branches(body) - self.log.accepted

    # Sending

    async def _try(self, body: Body) -> Handling:
        """Return what the endpoint makes of a body, sending it unless that is known."""
        key = _key(body)
        if key not in self._known:
            self._numbers += 1
            case = PlannedCase(
                f"narrow.{self._numbers:04}",
                "A part of a request that was refused.",
                (RequestSpec(Role.PLAIN, body, (Tag.VALID,), keeps=self._keeps(body)),),
            )
            await self._send(case)
        return self._known.get(key, Handling.UNPROVEN)

    def _is_plain(self, item: Any) -> bool:
        return _is_plain_message(item, self._plain)

    def _keeps(self, body: Body) -> tuple[str, ...]:
        """Return the fields in which a body differs from the plainest one on purpose: a list as input, and a limit."""
        base = self._base or {}
        given = body.get("input")
        is_list = (
            isinstance(given, list)
            and all(self._is_plain(item) for item in given)
            and isinstance(base.get("input"), str)
        )
        limited = "max_output_tokens" in body and "max_output_tokens" not in base
        return ("input",) * is_list + ("max_output_tokens",) * limited

    async def _send(self, case: PlannedCase) -> list[ExchangeView]:
        if self.sender.ended or self.spent + len(case.requests) > self.budget:
            raise _BudgetSpentError
        self.spent += len(case.requests)
        self._on_progress(self.spent)
        sent = await self.sender.send(fresh(case), Tag.NARROWED)
        views = [ExchangeView(exchange.tagged(Tag.NARROWED), self.dialect) for exchange in sent]
        self.views += views
        self.log.add(views)
        for planned, view in zip(case.requests, views, strict=False):
            body: Any = planned.body
            self._note(body, view)
        if len(views) < len(case.requests):
            raise _BudgetSpentError
        return views

    async def _pair(self, rejected: Body, accepted: Body) -> None:
        """Send a request with one thing and without it, unless that was done."""
        key = _key(rejected) + _key(accepted)
        if key in self._paired:
            return
        self._paired.add(key)
        self._numbers += 1
        case = PlannedCase(
            f"isolated.{self._numbers:04}",
            "A request with one thing that was refused, and the same request without it.",
            (
                RequestSpec(Role.WITH, rejected, (Tag.VALID, Tag.NARROWED), keeps=self._keeps(rejected)),
                RequestSpec(Role.WITHOUT, accepted, (Tag.VALID, Tag.NARROWED), keeps=self._keeps(accepted)),
            ),
        )
        # With it is what was found before; only if it is refused once more is it proof.
        del self._known[_key(rejected)]
        self.pairs[case.id] = case
        await self._send(case)

    # Halving

    def _suspects(self, body: Body) -> list[Suspect]:
        """Return the parts of a rejected body that have branches which no accepted request has."""
        return [suspect for suspect, branches in self._parts_of(body) if branches - self.log.accepted]

    def _parts_of(self, body: Body) -> list[tuple[Suspect, frozenset[str]]]:
        """Return the parts of a body, each with the branches of a request with nothing else."""
        key = _key(body)
        if key not in self._divided:
            self._divided[key] = [
                (part, self._branches(self._built(body, [part]))) for part in _parts(body, self._pinned, self._plain)
            ]
        return self._divided[key]

    def _built(self, body: Body, suspects: Sequence[Suspect]) -> Body:
        assert self._base is not None
        return build(body, self._base, self._plain, {path for suspect in suspects for path in suspect})

    async def _halve(self, body: Body, suspects: Sequence[Suspect], *, spare_claimed: bool) -> None:
        """Send suspects in halves until each is accepted or stands alone."""
        claimed = self.log.claims().keys() if spare_claimed else ()
        branches = dict(self._parts_of(body))
        left = []
        for suspect in suspects:
            new = branches[suspect] - self.log.accepted
            if new and not any(one in new for one in claimed):
                left.append(suspect)
        if not left or not self._is_valid(self._built(body, left)):
            return
        if await self._try(self._built(body, left)) is Handling.ACCEPTED or len(left) == 1:
            return
        middle = len(left) // 2
        await self._halve(body, left[:middle], spare_claimed=spare_claimed)
        await self._halve(body, left[middle:], spare_claimed=spare_claimed)

    def _single(self, bodies: Iterable[Body]) -> Iterator[tuple[Body, Suspect]]:
        """Yield those of the rejected bodies with one suspect that has something open, and their suspect."""
        left = self._open()
        for body in bodies:
            if not self._new(body) & left:
                continue
            suspects = self._suspects(body)
            if len(suspects) == 1:
                smallest = self._built(body, suspects)
                if self._known.get(_key(smallest)) in (Handling.REFUSED, Handling.SERVER_ERROR):
                    yield smallest, suspects[0]

    async def _pair_claims(self, bodies: Sequence[Body] | None = None) -> None:
        """Send the pair for everything in these bodies (or in all) that stands alone and is not claimed yet."""
        self._unpaired = []
        for body, _ in list(self._single(self._smallest_first() if bodies is None else bodies)):
            accepted = self._without(body)
            if accepted is None:
                continue
            difference = self._branches(body) - self._branches(accepted)
            sent = self.log.accepted.union(*self.log.rejected)
            places = self.log.contract.places(body)
            found = isolated(difference, places, self.log.accepted, sent, self.log.contract.all)
            claims = self.log.claims()
            rejected = (Handling.REFUSED, Handling.SERVER_ERROR)
            if found - claims.keys() and self._known.get(_key(accepted)) not in rejected:
                await self._pair(body, accepted)

    def _without(self, body: Body) -> Body | None:
        """Return a body without what no accepted request has: the smallest place of it that can go."""
        outer = outermost(self._new(body))
        for path in sorted(_removable(body, self._is_valid), key=len, reverse=True):
            smaller = _stripped(body, [path])
            if not outer & self._branches(smaller) and self._branches(smaller) <= self.log.accepted:
                return smaller
        suspects = self._suspects(body)
        if not suspects:
            return None
        assert self._base is not None
        kept = {path for suspect in suspects for path in suspect}
        smaller = build(body, self._base, self._plain, set(), beside=kept)
        return smaller if self._is_valid(smaller) else None

    async def _split_calls(self) -> None:
        """Send calls without their outputs, where both were never accepted.

        An endpoint may refuse a call because it lacks its output. So a call without one is taken for the reason only
        where it is refused in the same words as with it.
        """
        for body, suspect in list(self._single(self._smallest_first())):
            items = body.get("input")
            if len(suspect) < 2 or len(outermost(self._new(body))) < 2 or not isinstance(items, list):
                continue
            calls = [item for item in items if not _is_output(item)]
            smaller = {**body, "input": calls}
            if len(calls) == len(items) or not self._is_valid(smaller):
                continue
            known = _key(smaller) in self._known
            if await self._try(smaller) is not Handling.ACCEPTED and not known:
                key = _key(smaller)
                if self._words.get(key) != self._words.get(_key(body)):
                    self._rejected.pop(key, None)
        await self._pair_claims()

    # Inside one part

    async def _look_inside(self) -> None:
        """Halve what is inside a part that is refused for one of several reasons."""
        for body, _ in list(self._single(self._smallest_first())):
            if len(outermost(self._new(body))) < 2:
                continue
            places = [
                path
                for path in _removable(body, self._is_valid)
                if len(path) > 1 and self._new(body) - self._new(_stripped(body, [path]))
            ]
            await self._thin(body, [path for path in places if not any(_starts(path, other) for other in places)])

    async def _thin(self, body: Body, places: Sequence[Path]) -> None:
        """Take places out of a body, all and then in halves, to see what is accepted without them."""
        if not places:
            return
        smaller = _stripped(body, places)
        if self._is_valid(smaller) and self._new(smaller) != self._new(body):
            await self._try(smaller)
        if len(places) > 1:
            middle = len(places) // 2
            await self._thin(body, places[:middle])
            await self._thin(body, places[middle:])

    async def _try_single_factors(self) -> None:
        """Send requests of the generator that differ from the plainest in one choice, for branches that are open."""
        claims = self.log.claims()
        shared = Counter(pair.rejected.id for pair in claims.values())
        # Of alternatives that looked the same on the wire, one may have a form in which it does not.
        alike = {branch for branch, pair in claims.items() if shared[pair.rejected.id] > 1}
        left = self._open() | alike
        if not left:
            return
        assert self._base is not None
        profile = EndpointProfile(dialect=self.dialect.reference, model=self._model, max_output_tokens=None)
        found: list[tuple[int, int, Body]] = []
        for number, case in enumerate(one_factor(profile=profile)):
            rest = {name: value for name, value in case.body.items() if name not in PINNED}
            body = build(
                rest,
                self._base,
                self._plain,
                {path for part in _parts(rest, self._pinned, self._plain) for path in part},
            )
            new = self._new(body)
            known = new & claims.keys()
            if new & left and (not known or (len(known) == 1 and known <= alike)) and _key(body) not in self._known:
                found.append((len(outermost(new)), number, body))
        for _, _, body in sorted(found, key=lambda row: row[:2]):
            if self._new(body) & (self._open() | alike):
                await self._try(body)

    # Features

    async def _pair_features(self) -> None:
        """Send the example of each feature that was refused only in company, with and without it."""
        for feature in features_in_doubt(self.views, self.dialect):
            pair = self._example(feature)
            if pair is not None and await self._try(pair[0]) in (Handling.REFUSED, Handling.SERVER_ERROR):
                await self._pair(*pair)

    def _example(self, feature: Feature) -> tuple[Body, Body] | None:
        """Return a request that uses a feature, and the same one without it."""
        assert self._base is not None
        rest = {name: value for name, value in self._base.items() if name not in (feature.example or {})}
        body = {**rest, **copy_json(dict(feature.example or {}))}
        if not self._is_valid(body) or not feature.is_used(body):
            return None
        for path in sorted(_removable(body, self._is_valid), key=lambda path: (-len(path), str(path))):
            smaller = _stripped(body, [path])
            if "input" in smaller and not feature.is_used(smaller):
                return body, smaller
        return None


# Bodies


def _parts(body: Body, pinned: Container[str], plain: frozenset[str]) -> list[Suspect]:
    """Return the parts of a body that can be sent without the others; ``pinned`` fields are in every request."""
    found: list[Suspect] = []
    for name, value in body.items():
        if name in pinned:
            continue
        if not isinstance(value, list) or not value:
            found.append(((name,),))
        elif name == "input":
            groups = [group for group in _linked(value) if not _is_context(value, group, plain)]
            found += [tuple((name, number) for number in group) for group in groups]
            if not groups:  # nothing but that it is a list
                found.append(((name,),))
        else:
            found += [((name, number),) for number in range(len(value))]
    return found


def _is_context(items: list[Any], group: Sequence[int], plain: frozenset[str]) -> bool:
    """Return whether input items are no more than a plain message of the user, which every request keeps."""
    return all(_is_plain_message(items[number], plain) for number in group)


def _is_plain_message(item: Any, plain: frozenset[str]) -> bool:
    return (
        isinstance(item, dict)
        and item.keys() == plain
        and item["role"] == "user"
        and (isinstance(item["content"], str))
    )


def _is_output(item: Any) -> bool:
    """Return whether an input item answers an earlier one."""
    kind = item.get("type") if isinstance(item, dict) else None
    return isinstance(kind, str) and (kind.endswith("_output") or kind == "mcp_approval_response")


def _linked(items: list[Any]) -> list[list[int]]:
    """Return the places of input items in groups: items that name one another belong together."""
    groups: list[tuple[set[str], list[int]]] = []
    for number, item in enumerate(items):
        names = {item[name] for name in _LINKS if isinstance(item.get(name), str)} if isinstance(item, dict) else set()
        together = [group for group in groups if group[0] & names]
        merged = (
            names.union(*(group[0] for group in together)),
            sorted([*(n for g in together for n in g[1]), number]),
        )
        groups = [*(group for group in groups if group not in together), merged]
    return sorted(group[1] for group in groups)


def build(body: Body, base: Body, plain: frozenset[str], chosen: set[Path], beside: Iterable[Path] = ()) -> Body:
    """Return the base with chosen parts of a body, and what they need.

    ``plain`` are the fields of a plain message of the user. ``beside`` are parts that are left out though what they
    need is there.
    """
    result = copy_json(base)
    result |= {name: body[name] for name in PINNED if name in body and name in base}
    wanted = chosen.union(beside)
    companions = _companions(body, {str(path[0]) for path in wanted}) - set(beside)
    for name, value in body.items():
        whole = (name,) in chosen or (name,) in companions
        if name == "input" and isinstance(value, list) and value:
            if any(path[0] == "input" for path in wanted.difference({(name,)} & set(beside))):
                groups = _linked(value)
                context = {n for group in groups if _is_context(value, group, plain) for n in group}
                kept = sorted(context | {int(path[1]) for path in chosen if path[0] == "input" and len(path) == 2})
                result["input"] = [copy_json(value[n]) for n in kept] or _as_list(base.get("input"))
        elif whole:
            result[name] = copy_json(value)
        elif isinstance(value, list):
            kept = sorted({int(p[1]) for p in (*chosen, *companions) if p[0] == name and len(p) == 2})
            if kept:
                result[name] = [copy_json(value[n]) for n in kept]
    return result


def _as_list(value: Any) -> list[Any]:
    return copy_json(value) if isinstance(value, list) else user(value if isinstance(value, str) else "Say hello.")


def _companions(body: Body, names: set[str]) -> set[Path]:
    """Return the parts of a body without which these fields mean nothing."""
    found: set[Path] = set()
    for name in names:
        needed = NEEDS.get(name)
        value = body.get(needed) if needed else None
        if needed is None or value is None:
            continue
        if not isinstance(value, list):
            found.add((needed,))
        elif name == "tool_choice":
            found |= {(needed, number) for number in _tools_of(body["tool_choice"], value)}
        else:
            found |= {(needed, n) for n, entry in enumerate(value) if isinstance(entry, str) and "logprobs" in entry}
    return found


def _tools_of(choice: Any, tools: list[Any]) -> list[int]:
    """Return the places of the tools that a tool choice needs: those that it names, else the first."""
    if choice in ("none", "auto"):
        return []
    allowed = choice.get("tools") if isinstance(choice, dict) else None
    named = allowed if isinstance(allowed, list) else [choice]
    found = [number for number, tool in enumerate(tools) if any(_names(one, tool) for one in named)]
    return found or list(range(min(1, len(tools))))


def _names(choice: Any, tool: Any) -> bool:
    """Return whether an entry of a tool choice names a tool."""
    if not isinstance(choice, dict) or not isinstance(tool, dict):
        return False
    return all(tool.get(key) == choice[key] for key in ("type", "name", "server_label") if key in choice)


def _removable(body: Any, valid: Callable[[Any], bool]) -> list[Path]:
    """Return the places without which a body is valid, outermost first; no list loses its last element."""
    found: list[Path] = []

    def visit(value: Any, path: Path) -> None:
        if isinstance(value, dict):
            sources = SOURCES.get(str(value.get("type")), {})
            for name, inner in value.items():
                own = (*path, name)
                if name in (*sources, *(PINNED if not path else ())) or own == ("input",):
                    visit(inner, own)
                    continue
                if _whole_without(body, own) and valid(_stripped(body, [own])):
                    found.append(own)
                visit(inner, own)
        elif isinstance(value, list):
            for number, inner in enumerate(value):
                own = (*path, number)
                if len(value) > 1 and _whole_without(body, own) and valid(_stripped(body, [own])):
                    found.append(own)
                visit(inner, own)

    visit(body, ())
    return sorted(found, key=len)


def _whole_without(body: Body, path: Path) -> bool:
    """Return whether the rest of a body needs nothing of a place."""
    if path[0] == "input" and len(path) == 2:
        items = body["input"]
        return next(len(group) for group in _linked(items) if path[1] in group) == 1
    smaller = _stripped(body, [path])
    return all(
        name not in smaller or needed not in body or _companions(body, {name}) == _companions(smaller, {name})
        for name, needed in NEEDS.items()
    )


def _stripped(body: Body, paths: Iterable[Path]) -> Body:
    """Return a copy of a body without some places."""
    result = copy_json(body)
    # The later elements of a list go first, so that the places of the earlier ones stay right.
    for path in sorted(paths, key=_order, reverse=True):
        holder: Any = result
        try:
            for part in path[:-1]:
                holder = holder[part]
            del holder[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # it went with what it was in
    return result


def _order(path: Path) -> list[tuple[int, str]]:
    return [(part, "") if isinstance(part, int) else (-1, part) for part in path]


def _starts(path: Path, other: Path) -> bool:
    return len(other) < len(path) and path[: len(other)] == other


def _size(body: Body) -> int:
    return len(json.dumps(body))


def _key(body: Body) -> str:
    """Return what distinguishes two bodies; a request_id is another in every request."""
    shown = {**body, "request_id": "…"} if "request_id" in body else body
    return json.dumps(shown, sort_keys=True)
