"""Related requests of a run: found by their normal forms, in linear time, and compared.

``relations.toml`` says which requests are related and what their responses must have in common. The requests of one
pair are in one case or in two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2s
from typing import Any, Final

import msgspec

from rejoinder.conformance.judging.controls import takes_lists
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.conformance.judging.normal_forms import NORMAL_FORMS, Origin, Request, Surroundings
from rejoinder.conformance.judging.problems import get, in_exchange, in_response
from rejoinder.conformance.judging.registry import Declined
from rejoinder.conformance.judging.turns import (
    TERMINAL,
    crash_kind,
    is_broken,
    is_rejected,
    response_of,
    retrieved,
    state,
    status_code,
)
from rejoinder.contract import Aspect, Dialect, Relation, load_relations, load_volatile
from rejoinder.formatting import one_line
from rejoinder.model.tags import ON_PURPOSE, Tag
from rejoinder.model.verdict import ABSENT, Problem
from rejoinder.validation import escape_key, pointer_keys

_LEFT_OUT: Final = frozenset({*ON_PURPOSE, Tag.SECOND_TENANT, Tag.UNLISTED_MODEL})
"""Tags of requests that have another answer for another reason."""

_ALWAYS_FREE: Final = frozenset({"request_id"})
"""Request fields that name one request."""

_STATE: Final = ("previous_response_id", "conversation")
"""Request fields that name what may have changed since, so that requests of other cases are not compared."""

_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")


@dataclass(frozen=True, slots=True)
class Observation:
    """A create request, and the response object that it ended with.

    ``at`` is the exchange that has the response object: that of the request, or the last that retrieves a response in
    the background. ``response`` is ``None`` without one.
    """

    view: ExchangeView
    at: ExchangeView
    response: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two related requests. ``again`` is a repetition of one of them, ``None`` without one; ``repeated`` is that one.

    ``aspects`` are what is to be compared: what one case alone shows is not compared once more for the run.
    """

    one: Observation
    other: Observation
    aspects: frozenset[Aspect]
    again: Observation | None = None
    repeated: Observation | None = None


def pairs(case: CaseView, relation: Relation) -> list[Pair]:
    """Return the related requests of a case; of a run, those that no case has together.

    The first request of a pair is the plainer one. A repetition is known only at temperature 0.
    """
    return case.once(_finder(relation.name))


@cache
def _finder(name: str) -> Callable[[CaseView], list[Pair]]:
    relation = load_relations()[name]
    return lambda case: list(_pairs(case, relation))


def _pairs(case: CaseView, relation: Relation) -> Iterator[Pair]:
    whole_run = not case.id
    groups: dict[bytes, dict[bytes, list[Observation]]] = {}
    origins = case.once(_origins) if "history" in relation.forms else {}
    plain: dict[bytes, bytes] = {}
    for observation in case.once(_observations):
        view = observation.view
        found = _placed(view, relation, Surroundings(view.dialect, origins), whole_run=whole_run)
        if found is not None:
            key, side, is_plain = found
            groups.setdefault(key, {}).setdefault(side, []).append(observation)
            if is_plain:
                plain.setdefault(key, side)
    for key, sides in groups.items():
        if len(sides) < 2:
            continue
        first = plain.get(key, next(iter(sides)))
        for side, others in sides.items():
            if side != first:
                yield from _compared(sides[first], others, relation, whole_run=whole_run)


def _compared(
    ones: list[Observation], others: list[Observation], relation: Relation, *, whole_run: bool
) -> Iterator[Pair]:
    aspects = frozenset(relation.rules)
    one, other = _first(ones), _first(others)
    if whole_run:
        cases = {observation.view.exchange.case: observation for observation in reversed(ones)}
        together = next((found for found in others if found.view.exchange.case in cases), None)
        if together is not None:
            one, other = cases[together.view.exchange.case], together
            name = other.view.exchange.case
            repeated = sum(found.view.exchange.case == name for found in (*ones, *others)) > 2
            aspects = frozenset() if repeated else aspects & {Aspect.OUTPUT}
    again = next((pair for pair in _repetitions(one, ones, other, others)), (None, None))
    if aspects:
        yield Pair(one, other, aspects, *again)


def _first(observations: list[Observation]) -> Observation:
    """Return the first request that has a response object, or the first without any."""
    return next((found for found in observations if found.response is not None), observations[0])


def _repetitions(
    one: Observation, ones: list[Observation], other: Observation, others: list[Observation]
) -> Iterator[tuple[Observation, Observation]]:
    """Yield repetitions at temperature 0, each with what it repeats."""
    for original, same in ((one, ones), (other, others)):
        if original.view.request.get("temperature") == 0:
            for found in same:
                if found is not original and found.response is not None:
                    yield found, original


def _placed(
    view: ExchangeView, relation: Relation, around: Surroundings, *, whole_run: bool
) -> tuple[bytes, bytes, bool] | None:
    """Return what the related requests share, what only this one has, and whether it is the plainer one."""
    sent: Request = {name: value for name, value in view.request.items() if name not in _ALWAYS_FREE}
    if "spelling" in relation.forms and len(sent) < len(view.request):
        return None  # the bytes are not of one JSON value
    if any(sent.get(name) is not None for name in relation.unless):
        return None
    if whole_run and any(sent.get(name) is not None for name in _STATE if name != relation.apart):
        return None
    omitted = {name: sent.pop(name) for name in relation.omit if name in sent}
    if any(value is None for value in omitted.values()):
        return None  # not every endpoint takes null
    form: Request | None = sent
    for name in relation.forms:
        form = None if form is None else NORMAL_FORMS[name](form, around)
    if form is None:
        return None
    key = _encoded(form)
    if relation.omit:
        side = _encoded({name: value for name, value in omitted.items() if value != relation.omit[name]})
        return _digest(key), side, side == b"{}"
    if relation.apart:
        named = sent.get(relation.apart) is not None
        return _digest(key), b"1" if named else b"0", not named
    if "spelling" in relation.forms:
        return _digest(key), _digest(view.exchange.request.body), False
    own = _encoded(sent)
    return _digest(key), _digest(own), own == key


def _digest(data: bytes) -> bytes:
    return blake2s(data).digest()


def _encoded(value: Any) -> bytes:
    """Return a JSON value with its keys in order."""
    try:
        return msgspec.json.encode(value, order="deterministic")
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return repr(value).encode("utf-8", "surrogatepass")


def _observations(case: CaseView) -> list[Observation]:
    """Return the create requests of a case or run that can be compared, in their order."""
    ends = case.once(_retrieved_ends)
    found = []
    for view in case.views:
        if not view.is_create or not view.request or _LEFT_OUT.intersection(view.exchange.tags):
            continue
        response = response_of(view)
        if response is None or state(response) in TERMINAL or "status" not in response:
            found.append(Observation(view, view, response))
            continue
        end = ends.get(str(response.get("id")))
        found.append(Observation(view, view if end is None else end, None if end is None else retrieved(end)))
    return found


def _retrieved_ends(case: CaseView) -> dict[str, ExchangeView]:
    """Return the first retrieval of each response that had ended, by the id of the response."""
    found: dict[str, ExchangeView] = {}
    for view in case.views:
        response = retrieved(view) if view.exchange.request.method == "GET" else None
        if response is not None and response.get("object") == "response" and state(response) in TERMINAL:
            found.setdefault(str(response.get("id")), view)
    return found


def _origins(case: CaseView) -> dict[str, Origin]:
    """Return the finished responses of a case or run with their requests, by the id of the response."""
    return {
        identity: Origin(found.view.request, found.response)
        for found in case.once(_observations)
        if found.response is not None and isinstance(identity := found.response.get("id"), str)
    }


def compared_by(rule: str) -> list[tuple[Relation, Aspect]]:
    """Return the relations that a rule is about, each with what the rule demands of it."""
    return [
        (relation, aspect)
        for relation in load_relations().values()
        for aspect, name in relation.rules.items()
        if name == rule
    ]


def can_compare(rule: str) -> Callable[[CaseView], bool]:
    """Return the condition that a case or run has related requests of which the rule says something."""
    return lambda case: any(comparable_pairs(case, relation, aspect) for relation, aspect in compared_by(rule))


def comparable_pairs(case: CaseView, relation: Relation, aspect: Aspect) -> list[Pair]:
    """Return the related requests of a case or run whose responses can be compared in this respect."""
    return [pair for pair in pairs(case, relation) if _is_comparable(pair, relation, aspect)]


def _is_comparable(pair: Pair, relation: Relation, aspect: Aspect) -> bool:
    if aspect not in pair.aspects:
        return False
    if aspect is Aspect.ACCEPTANCE:
        feature = pair.one.view.run_context.capabilities.get(relation.needs)
        lacking = feature is not None and not feature.state.is_accepted
        return not lacking and None not in (is_accepted(pair.one.view), is_accepted(pair.other.view))
    answered = pair.one.response is not None and pair.other.response is not None
    return answered and (aspect is Aspect.FIELDS or pair.again is not None)


def is_accepted(view: ExchangeView) -> bool | None:
    """Return whether a request was accepted; ``None`` when its response leaves that open."""
    status = status_code(view)
    if view.exchange.ok:
        # A failed response may be a refusal or a failure on the way.
        return None if view.response is None or state(view.response) == "failed" else True
    return False if is_rejected(status) else None


def differences(case: CaseView, rule: str) -> Iterator[Problem | Declined]:
    """Yield where the responses to related requests of a case or run differ, though a rule forbids it.

    Where the rule is about nothing but the output, a model that returned two different outputs for one request is a
    reason to test nothing.
    """
    known = compared_by(rule)
    for relation, aspect in known:
        for pair in comparable_pairs(case, relation, aspect):
            if aspect is Aspect.ACCEPTANCE:
                yield from _acceptance(pair, relation)
            elif aspect is Aspect.FIELDS:
                yield from _fields(pair, relation, rule)
            elif not _is_repeatable(pair, relation):
                if len(known) == 1:
                    yield Declined("The model returned two different outputs for the same request at temperature 0.")
            else:
                yield from _output(pair, relation, rule)


def _acceptance(pair: Pair, relation: Relation) -> Iterator[Problem]:
    if is_accepted(pair.one.view) is is_accepted(pair.other.view):
        return
    refused, taken = pair.other.view, pair.one.view
    words, kind = (relation.one, relation.other), relation.kinds[1]
    if is_accepted(refused):
        refused, taken = taken, refused
        words, kind = (relation.other, relation.one), relation.kinds[0]
    if relation.forms and not refused.dialect.sound_requests.is_valid({"model": "m", **refused.request}):
        return  # such as a message without a type, where a dialect demands one
    if relation.forms and isinstance(refused.request.get("input"), list) and not takes_lists(refused):
        return  # HTTP-04 covers an endpoint that accepts no lists
    status = status_code(refused)
    yield in_exchange(
        refused,
        f"A request is accepted {words[0]} ({taken.exchange.id}), but refused {words[1]} (status {status}).",
        expected=200,
        actual=refused.exchange.json() or status,
        kind=f"{kind} {crash_kind(refused) if is_broken(status) else '4xx'}",
        others=(taken.exchange.id,),
    )


def _fields(pair: Pair, relation: Relation, rule: str) -> Iterator[Problem]:
    """Yield the fields of the response that differ, of those that the dialect defines and no model has a part in."""
    one, other = pair.one.response or {}, pair.other.response or {}
    dialect = pair.one.view.dialect
    for name in sorted(one.keys() | other.keys()):
        if name not in _compared_fields(dialect, relation):
            continue
        left, right = one.get(name), other.get(name)
        if not _is_empty(left) and not _is_empty(right):
            difference = first_difference(left, right, f"/{escape_key(name)}")
        elif _is_empty(left) and _is_empty(right):
            continue
        elif pair.one.view.request.get(name, ABSENT) != pair.other.view.request.get(name, ABSENT):
            continue  # a response may repeat only what its request has
        else:
            difference = f"/{escape_key(name)}", left, right
        if difference and not _repeats_requests(pair, *difference):
            yield _problem(pair, relation, rule, *difference)
    counts = [sorted(usage) for found in (one, other) if isinstance(usage := found.get("usage"), dict)]
    if len(counts) == 2 and counts[0] != counts[1]:
        yield _problem(pair, relation, rule, "/usage", *counts)


def _repeats_requests(pair: Pair, pointer: str, left: Any, right: Any) -> bool:
    """Return whether one of two values is null or missing, and the two requests differ there, too.

    A response may repeat the null that its request has, and fill in a default where its request has nothing.
    """
    if left is not ABSENT and right is not ABSENT and not (_is_empty(left) or _is_empty(right)):
        return False
    keys = [int(key) if key.isdecimal() else key for key in pointer_keys(pointer)]
    one, other = (get(found.view.request, *keys) for found in (pair.one, pair.other))
    return one is not other and one != other


def _compared_fields(dialect: Dialect, relation: Relation) -> frozenset[str]:
    volatile = load_volatile()
    return (dialect.response_fields | dialect.parameters) - volatile.response - volatile.outcome - {*relation.varies}


def _is_empty(value: Any) -> bool:
    return value is None or value == [] or value == {}


def _is_repeatable(pair: Pair, relation: Relation) -> bool:
    again, repeated = pair.again, pair.repeated
    if again is None or repeated is None:
        return False
    return first_difference(_outcome(again, relation), _outcome(repeated, relation)) is None


def _output(pair: Pair, relation: Relation, rule: str) -> Iterator[Problem]:
    difference = first_difference(_outcome(pair.one, relation), _outcome(pair.other, relation))
    if difference:
        yield _problem(pair, relation, rule, *difference, twice=True)


def _outcome(observation: Observation, relation: Relation) -> dict[str, Any]:
    """Return what the model has a part in, without what is new in every response: ids, probabilities, cached tokens."""
    response, known = observation.response or {}, observation.view.dialect.without_unknown_fields
    found = {name: _stable(response.get(name)) for name in ("status", "incomplete_details")}
    output = response.get("output")
    found["output"] = [_stable(known(item)) for item in output] if isinstance(output, list) else output
    usage = response.get("usage")
    if isinstance(usage, dict):
        found["usage"] = {name: usage.get(name) for name in _COUNTS}
    return {name: value for name, value in found.items() if name not in relation.varies}


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        volatile = load_volatile().inside
        return {name: _stable(inner) for name, inner in value.items() if name not in volatile}
    return [_stable(inner) for inner in value] if isinstance(value, list) else value


def _problem(
    pair: Pair, relation: Relation, rule: str, pointer: str, expected: Any, actual: Any, *, twice: bool = False
) -> Problem:
    at = in_response if pair.other.at is pair.other.view else in_exchange
    name = one_line(pointer.removeprefix("/").replace("/", "."), 80)
    confirmed = " One of them was sent twice, with equal responses." if twice else ""
    return at(
        pair.other.at,
        f"{name} differs between a request {relation.other} and the same request {relation.one} "
        f"({pair.one.view.exchange.id}).{confirmed}",
        pointer,
        expected="absent" if expected is ABSENT else expected,
        actual=actual,
        # Where a rule is about one relation only, the place is enough.
        kind="" if len({found.name for found, _ in compared_by(rule)}) == 1 else relation.kinds[1],
        others=(pair.one.view.exchange.id,),
    )
