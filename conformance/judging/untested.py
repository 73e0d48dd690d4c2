"""Why a run says nothing of a rule: not in its plan, blocked, feature refused, or no response that exercises it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rejoinder.conformance.judging.acceptance import own_words
from rejoinder.conformance.judging.context import RunContext
from rejoinder.conformance.judging.exchange_view import ExchangeView
from rejoinder.conformance.judging.plan_rules import cases_of, larger_plan
from rejoinder.conformance.judging.turns import state
from rejoinder.contract import Dialect, Rule
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.model.footer import Acceptance
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Status

_MAX_WORDS: Final = 120
_RECALL: Final = "meaning."
"""What the ids of the cases begin with that look for canaries."""


@dataclass(frozen=True, slots=True)
class Untested:
    """Why a rule has no verdict: the status it gets, a reason in sentences, and the exchange that blocked it."""

    status: Status
    reason: str
    blocked_by: str = ""


@dataclass(frozen=True, slots=True)
class UntestedRules:
    """Why rules of one run were not tested.

    ``plan`` is the name of the plan that was sent, empty when none was.
    """

    dialect: Dialect
    plan: str
    run_context: RunContext
    views: Mapping[str, Sequence[ExchangeView]] = field(repr=False)
    """The exchanges of the run, by case."""

    def why(self, rule: Rule) -> Untested:
        """Return why the run says nothing of a rule.

        The first of these that is true: the endpoint refused a feature that the rule needs; it failed on one, or
        refused or failed an exchange of the cases that test the rule, which blocks it; the model repeats no canary, so
        these cases were not sent; only a larger plan tests it; the run ended before those cases; the rule needs
        something that the run did not have; no response exercised it.
        """
        known = [self.run_context.capabilities[name] for name in rule.features if name in self.run_context.capabilities]
        refused = [found for found in known if found.state is Acceptance.REFUSED]
        if refused:
            return Untested(Status.NOT_APPLICABLE, " ".join(found.sentence for found in refused))
        unclear = (Acceptance.SERVER_ERROR, Acceptance.TOGETHER)
        if failed := next((found for found in known if found.state in unclear), None):
            return Untested(Status.BLOCKED, failed.sentence, failed.exchange)
        cases = cases_of(rule.id, self.dialect, self.plan) if self.plan else ()
        sent = [case for case in cases if case in self.views]
        if not rule.takes and (blocking := _blocking(self.views[case] for case in sent)):
            return Untested(Status.BLOCKED, _sentence(blocking), blocking.exchange.id)
        shown = self.run_context.abilities
        if cases and not sent and shown.repeats is False and all(case.startswith(_RECALL) for case in cases):
            at = f" ({shown.evidence['repeats']})" if "repeats" in shown.evidence else ""
            return Untested(Status.DECLINED, f"Not sent, because the model did not repeat a canary{at}.")
        larger = larger_plan(rule.id, self.dialect, self.plan) if self.plan else ""
        reasons = [f"Not tested by plan {self.plan}. Use --plan {larger}."] if larger else []
        if cases and not sent:
            reasons.append("The run ended before the cases that test this rule.")
        if rule.takes:
            reasons.append(f"Needs {rule.takes}.")
        reasons = reasons or [found.sentence for found in known if not found.state.is_accepted]
        if not reasons:
            reasons = ["Nothing in this run exercises this rule."]
        return Untested(Status.NOT_APPLICABLE, " ".join(reasons))


def _blocking(cases: Iterable[Sequence[ExchangeView]]) -> ExchangeView | None:
    """Return the first exchange that kept a case from its end: a valid request that was not answered as it should."""
    return next((view for case in cases for view in case if Tag.VALID in view.exchange.tags and _how(view)), None)


def _how(view: ExchangeView) -> str:
    """Return what went wrong in an exchange as a verb phrase, empty when nothing did."""
    exchange = view.exchange
    if exchange.outcome is Outcome.CANCELLED:  # rejoinder stopped reading on purpose
        return ""
    if exchange.status is None:
        return "got no response"
    if not exchange.ok:
        return f"returned {exchange.status}"
    if exchange.outcome is Outcome.TOO_LARGE:
        return "was cut by rejoinder at its size limit"
    if exchange.outcome is not Outcome.COMPLETE:
        return "was cut off"
    return "ended with a failed response" if state(view.response) == "failed" else ""


def _sentence(view: ExchangeView) -> str:
    exchange = view.exchange
    words = _words(view, exchange)
    quoted = f': "{words}"' if words else ""
    return f"Blocked by {exchange.id}, a valid request that {_how(view)}{quoted}."


def _words(view: ExchangeView, exchange: Exchange) -> str:
    """Return what the endpoint says of it; rejoinder's own words where there was no response."""
    if exchange.status is None or exchange.outcome is not Outcome.COMPLETE:
        return exchange.detail.rstrip(".")
    return own_words(view, _MAX_WORDS)
