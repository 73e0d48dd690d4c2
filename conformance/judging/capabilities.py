"""What the exchanges of a run show of an endpoint's features and its model's capabilities. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from rejoinder.conformance.judging.acceptance import (
    AcceptanceLog,
    counts_for_acceptance,
    enclosing,
    handling,
    outermost,
    own_words,
    refusals,
)
from rejoinder.conformance.judging.context import Abilities, Capability, Handling, Refusal
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.formats import last_text, misfit, wanted_shape
from rejoinder.conformance.judging.plan_branches import RECALL, SKIPPED, plan_of, skipped
from rejoinder.conformance.judging.problems import get
from rejoinder.conformance.judging.recall import canaries_of
from rejoinder.conformance.judging.turns import LACKING, calls, has_refusal, is_broken, says, was_cut
from rejoinder.contract import Dialect, Feature, features_of, load_dialect, load_features
from rejoinder.contract.branches import Branches
from rejoinder.model.exchange import Outcome
from rejoinder.model.footer import Acceptance
from rejoinder.model.tags import Tag


def abilities(views: Iterable[ExchangeView]) -> Abilities:
    """Return what the model has shown over all exchanges of a run.

    An ability is shown when one exchange shows it, whichever it was made for. It counts as not shown when an exchange
    requested it, was answered to the end, and does not show it.
    """
    found: dict[str, tuple[bool, str]] = {}
    for view in views:
        if view.response is None or not view.is_create:
            continue
        for name, look in _LOOKS.items():
            if found.get(name, (False, ""))[0]:
                continue
            able = look(view)
            if able is not None:
                found[name] = (able, view.exchange.id)
    return Abilities(
        **{name: able for name, (able, _) in found.items()},
        evidence=MappingProxyType({name: identity for name, (_, identity) in found.items()}),
    )


def _repeats(view: ExchangeView) -> bool | None:
    if any(says(view, word) for word in canaries_of(view)):
        return True
    wanted = Tag.ASKS_REPEAT in view.exchange.tags
    return False if wanted and not was_cut(view) and not has_refusal(view) else None


def _calls(view: ExchangeView) -> bool | None:
    if calls(view, "function_call", "custom_tool_call"):
        return True
    choice = view.request.get("tool_choice")
    wanted = choice == "required" or (isinstance(choice, dict) and choice.get("type") in ("function", "custom"))
    return False if wanted and not was_cut(view) and not has_refusal(view) else None


def _follows_schema(view: ExchangeView) -> bool | None:
    schema = wanted_shape(view)
    return None if schema is None else not misfit(last_text(view), schema)


_LOOKS: Final[Mapping[str, Callable[[ExchangeView], bool | None]]] = MappingProxyType(
    {"repeats": _repeats, "calls": _calls, "follows_schema": _follows_schema}
)


_BEST_FIRST: Final = (
    Acceptance.SEEN,
    Acceptance.ACCEPTED,
    Acceptance.REFUSED,
    Acceptance.SERVER_ERROR,
    Acceptance.TOGETHER,
    Acceptance.UNPROVEN,
)


def capabilities(views: Sequence[ExchangeView]) -> Mapping[str, Capability]:
    """Return what the exchanges of a run show of every feature that their dialect defines, by the feature's name.

    Only requests count that are right beyond dispute. One that is accepted is enough for a feature to be there. A
    refusal needs a pair: a request with the feature that is rejected, and the same one without it that is accepted. A
    request to another operation than create holds nothing else, so that its refusal is proof by itself.
    """
    if not views:
        return MappingProxyType({})
    dialect = views[0].dialect
    good = [view for view in views if not view.exchange.tags or counts_for_acceptance(view.exchange)]
    visits = list(_visits(view for view in good if Tag.NARROWED not in view.exchange.tags))
    creates = [(view, handling(view)) for view in good if view.is_create]
    pairs = list(refusals(good))
    found = {}
    for feature in features_of(dialect):
        if feature.operation:
            states = [(view, _visited(view, feature)) for view, operation in visits if operation == feature.operation]
        else:
            states = [(view, _answer(view, how, feature)) for view, how in creates if feature.is_used(view.request)]
        best = _best(feature, states)
        if best.state is Acceptance.NOT_SENT:
            best = replace(best, plan=plan_of("features", feature.name, dialect))
        found[feature.name] = best
    for name, (state, pair) in _isolated(dialect, found, pairs).items():
        feature = load_features()[name]
        exchange = pair.rejected
        found[name] = Capability(name, feature.title, state, exchange.id, exchange.status, pair.words, pair.accepted.id)
    for name, (state, pair, culprit) in _inside(dialect, found, good).items():
        rejected, control = pair.rejected, pair.accepted.id
        title = load_features()[name].title
        found[name] = Capability(name, title, state, rejected.id, rejected.status, pair.words, control, part_of=culprit)
    return MappingProxyType(found)


def explained(
    found: Mapping[str, Capability], shown: Abilities, dialect: Dialect, plan: str
) -> Mapping[str, Capability]:
    """Return the capabilities with the reason why a run of a plan did not send features that its plan sends.

    Without a plan nothing is changed.
    """
    reasons = {
        RECALL: "The model did not repeat a canary, so rejoinder did not send the requests with it.",
        SKIPPED: "The run ended early, or an earlier request that they need failed.",
    }
    explained = dict(found)
    for name, known in found.items():
        if known.state is Acceptance.NOT_SENT:
            why = skipped("features", name, dialect, plan, shown.repeats)
            explained[name] = replace(known, plan="", reason=reasons[why]) if why else known
    return MappingProxyType(explained)


def strongest(first: Mapping[str, Capability], second: Mapping[str, Capability]) -> Mapping[str, Capability]:
    """Return what two lots of exchanges show of the features together: of each feature what proves the most."""
    found = dict(first)
    for name, capability in second.items():
        known = found.get(name)
        if known is None or _rank(capability) < _rank(known):
            found[name] = capability
    return MappingProxyType(found)


def _rank(capability: Capability) -> int:
    state = capability.state
    return _BEST_FIRST.index(state) if state in _BEST_FIRST else len(_BEST_FIRST)


def features_in_doubt(views: Sequence[ExchangeView], dialect: Dialect) -> list[Feature]:
    """Return the features that every request of a run was rejected with, and no pair isolates."""
    states = capabilities(views)
    return [
        feature
        for feature in features_of(dialect)
        if feature.example and feature.name in states and states[feature.name].state is Acceptance.TOGETHER
    ]


def _isolated(
    dialect: Dialect, found: Mapping[str, Capability], pairs: Iterable[Refusal]
) -> dict[str, tuple[Acceptance, Refusal]]:
    """Return the features that pairs isolate: no other feature that was never accepted is in the difference."""
    doubtful = [load_features()[name] for name, known in found.items() if known.state is Acceptance.TOGETHER]
    isolated: dict[str, tuple[Acceptance, Refusal]] = {}
    for pair in sorted(pairs, key=lambda pair: len(pair.rejected.request.body)):
        rejected, accepted = pair.rejected.request.json(), pair.accepted.request.json()
        used = [feature for feature in doubtful if feature.is_used(rejected) and not feature.is_used(accepted)]
        if len(used) == 1:
            refused = pair.handling is Handling.REFUSED
            state = Acceptance.REFUSED if refused else Acceptance.SERVER_ERROR
            isolated.setdefault(used[0].name, (state, pair))
    return isolated


@cache
def feature_branches(dialect: str) -> Mapping[str, frozenset[str]]:
    """Return, by feature, the contract branches that are it: those of its example that no other example has."""
    contract = Branches.of_dialect(dialect)
    base = {"model": "m", "input": "Hi"}
    features = [feature for feature in features_of(load_dialect(dialect)) if feature.example]
    bodies = {feature.name: {**base, **(feature.example or {})} for feature in features}
    taken = {name: contract.of(body) for name, body in bodies.items()}
    found = {}
    for feature in features:
        others = [taken[name] for name, body in bodies.items() if not feature.is_used(body)]
        found[feature.name] = outermost(taken[feature.name].difference(contract.of(base), *others))
    return MappingProxyType(found)


def _inside(
    dialect: Dialect, found: Mapping[str, Capability], views: Sequence[ExchangeView]
) -> dict[str, tuple[Acceptance, Refusal, str]]:
    """Return the features inside a contract branch that is refused or fails alone, with its pair and the branch.

    Each branch of the feature must lie inside such a one, and each request with the feature must contain one of those.
    """
    doubtful = [name for name, known in found.items() if known.state is Acceptance.TOGETHER]
    names = {name: branches for name in doubtful if (branches := feature_branches(dialect.reference).get(name))}
    if not names:
        return {}
    log = AcceptanceLog(dialect.reference)
    log.add(views)
    claims = log.claims()
    inside = {}
    for name, branches in names.items():
        around = [enclosing(branch, claims) for branch in branches]
        culprits = frozenset().union(*around)
        using = [view for view in views if view.is_create and load_features()[name].is_used(view.request)]
        if all(around) and all(log.contract.of(view.request) & culprits for view in using):
            culprit = min(culprits, key=lambda one: (len(one), one))
            pair = claims[culprit]
            refused = pair.handling is Handling.REFUSED
            inside[name] = (Acceptance.REFUSED if refused else Acceptance.SERVER_ERROR, pair, culprit)
    return inside


def _best(feature: Feature, states: Sequence[tuple[ExchangeView, Acceptance]]) -> Capability:
    for wanted in _BEST_FIRST:
        views = [view for view, state in states if state is wanted]
        if views:
            view = min(views, key=lambda view: len(view.exchange.request.body))
            words = "" if wanted.is_accepted or wanted is Acceptance.UNPROVEN else own_words(view)
            exchange = view.exchange
            return Capability(feature.name, feature.title, wanted, exchange.id, exchange.status, words)
    return Capability(feature.name, feature.title, Acceptance.NOT_SENT)


def _answer(view: ExchangeView, how: Handling, feature: Feature) -> Acceptance:
    """Return what a create request that uses a feature shows of it."""
    if how is Handling.ACCEPTED:
        if feature.event_stream:
            shown = view.is_stream and bool(view.events)
        else:
            shown = feature.is_shown(view.response, view.request)
        return Acceptance.SEEN if shown else Acceptance.ACCEPTED
    return Acceptance.UNPROVEN if how is Handling.UNPROVEN else Acceptance.TOGETHER


def _visits(views: Iterable[ExchangeView]) -> Iterator[tuple[ExchangeView, str]]:
    """Yield requests to operations beside create with the operation's name.

    An operation on what is stored counts only where its case got the id of that before, stored and not deleted since.
    """
    kept: dict[str, set[str]] = {}
    for view in views:
        known = kept.setdefault(view.exchange.case, set())
        if view.is_create:
            if view.request.get("store") is not False:
                known.update(_ids(view.response))
            continue
        if view.requested is None or not known.issuperset(view.requested.ids.values()):
            continue
        yield view, view.operation
        if view.exchange.request.method == "DELETE":
            known.difference_update(list(view.requested.ids.values())[-1:])
        else:
            known.update(_ids(view.body) if view.exchange.ok else ())


def _ids(body: Any) -> Iterator[str]:
    """Yield the id of an object that an endpoint returned, and those of the objects in a list of its."""
    listed = get(body, "data")
    for one in (body, *(listed if isinstance(listed, list) else ())):
        if isinstance(identity := get(one, "id"), str):
            yield identity


def _visited(view: ExchangeView, feature: Feature) -> Acceptance:
    """Return what a request to another operation than create shows of it."""
    exchange = view.exchange
    status = exchange.status
    if exchange.ok and exchange.outcome is Outcome.COMPLETE:
        return Acceptance.SEEN if feature.is_shown(view.body, {}) else Acceptance.ACCEPTED
    if status in LACKING:
        return Acceptance.REFUSED
    return Acceptance.SERVER_ERROR if status is not None and is_broken(status) else Acceptance.UNPROVEN
