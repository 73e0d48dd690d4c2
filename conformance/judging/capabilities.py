"""What the exchanges of a run show of an endpoint's features and its model's capabilities. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from rejoinder.conformance.judging.canaries import canaries_in
from rejoinder.conformance.judging.context import Abilities, Capability
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.formats import last_text, misfit, wanted_shape
from rejoinder.conformance.judging.problems import get
from rejoinder.conformance.judging.turns import LACKING, calls, has_refusal, is_broken, is_refusal, says, state, was_cut
from rejoinder.contract import Feature, features_of
from rejoinder.model.error_text import error_text
from rejoinder.model.footer import FeatureState
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
    if any(says(view, word) for word in canaries_in(view.exchange.request.body.decode("utf-8", "replace"))):
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


_BEST_FIRST: Final = (FeatureState.SUPPORTED, FeatureState.UNSEEN, FeatureState.REFUSED, FeatureState.FAILED)


def capabilities(views: Sequence[ExchangeView]) -> Mapping[str, Capability]:
    """Return what the exchanges of a run show of every feature that their dialect defines, by the feature's name.

    Only requests count that are right beyond dispute. One that is accepted is enough for a feature to be there. Where
    all were refused, the evidence is the smallest of them, which is refused for the fewest other reasons.
    """
    if not views:
        return MappingProxyType({})
    dialect = views[0].dialect
    good = [view for view in views if not view.exchange.tags or Tag.VALID in view.exchange.tags]
    visits = list(_visits(good))
    found = {}
    for feature in features_of(dialect):
        if feature.operation:
            states = [(view, _visited(view)) for view, operation in visits if operation == feature.operation]
        else:
            states = [
                (view, _answer(view, feature)) for view in good if view.is_create and feature.is_used(view.request)
            ]
        found[feature.name] = _best(feature, states)
    return MappingProxyType(found)


def _best(feature: Feature, states: Sequence[tuple[ExchangeView, FeatureState | None]]) -> Capability:
    for wanted in _BEST_FIRST:
        views = [view for view, state in states if state is wanted]
        if views:
            exchange = min(views, key=lambda view: len(view.exchange.request.body)).exchange
            message = "" if exchange.ok else error_text(exchange)
            return Capability(feature.name, feature.title, wanted, exchange.id, exchange.status, message)
    return Capability(feature.name, feature.title, FeatureState.UNTRIED)


def _answer(view: ExchangeView, feature: Feature) -> FeatureState | None:
    """Return what a create request that uses a feature shows of it; ``None`` when it was no answer to the question."""
    if view.exchange.ok:
        if state(view.response) == "failed":
            return FeatureState.FAILED
        as_asked = view.is_stream or not view.streamed
        return FeatureState.SUPPORTED if as_asked and feature.is_shown(view.response) else FeatureState.UNSEEN
    status = view.exchange.status
    if status is None or is_broken(status):
        return FeatureState.FAILED
    return FeatureState.REFUSED if is_refusal(status) or status == 501 else None


def _visits(views: Iterable[ExchangeView]) -> Iterator[tuple[ExchangeView, str]]:
    """Yield requests to operations beside create with the operation's name.

    An operation on a response counts only where its case got that response before, stored and not deleted since.
    """
    kept: dict[str, set[str]] = {}
    for view in views:
        known = kept.setdefault(view.exchange.case, set())
        if view.is_create:
            identity = get(view.response, "id")
            if isinstance(identity, str) and view.request.get("store") is not False:
                known.add(identity)
            continue
        request = view.exchange.request
        below = request.path.partition("?")[0].rstrip("/").rpartition("/responses")[2]
        for name, operation in view.dialect.operations.items():
            form = re.escape(operation.path.partition("/responses")[2]).replace(r"\{response_id\}", "([^/]+)")
            match = re.fullmatch(form, below) if form and operation.method == request.method else None
            if match and (not match.groups() or match[1] in known):
                yield view, name
                if request.method == "DELETE":
                    known.discard(match[1])


def _visited(view: ExchangeView) -> FeatureState | None:
    status = view.exchange.status
    if view.exchange.ok:
        return FeatureState.SUPPORTED
    if status in LACKING:
        return FeatureState.REFUSED
    return FeatureState.FAILED if status is None or is_broken(status) else None
