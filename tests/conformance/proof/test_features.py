"""The features on the rules' rows are those without which an endpoint leaves the rule unjudged."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.running.in_process import ManualClock, run_in_process, sandbox_target
from rejoinder.conformance.running.plan import Plan, build_plan
from rejoinder.contract import Feature, dialect_names, features_of, load_dialect, load_features, load_rules
from rejoinder.model.exchange import Exchange, Request
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox.endpoint.reply import Reply

pytestmark = pytest.mark.slow(2)

RULES = load_rules()
DEFINED = [(dialect, feature.name) for dialect in dialect_names() for feature in features_of(load_dialect(dialect))]

# These rules speak of any request, operation, call or tool, but the plan of a dialect exercises them with one only: the
# case that counts tokens sends tools and truncation as well, Open Responses has one operation beside create, and the
# plan of vLLM has one kind of deltas of tool inputs and allows one of two tools.
BESIDE_THE_POINT = {
    "USG-11": {"function_tools", "truncation_auto"},
    "ERR-12": {"compaction"},
    "ERR-17": {"compaction"},
    "REQ-11": {"compaction"},
    "RSP-17": {"compaction"},
    "ACC-09": {"custom_tools"},
    "TOL-02": {"parallel_calls"},
}


class Lacking(Sandbox):
    """Refuses every request that uses one feature."""

    def __init__(self, dialect: str, clock: ManualClock, feature: Feature | None) -> None:
        super().__init__(dialect, clock=clock)
        self.feature = feature

    def handle(self, request: Request) -> Reply:
        if self.feature is not None and self._uses(request, self.feature):
            # The sandbox refuses these by itself: an input that is a number, and a path that nothing is at.
            request = (
                replace(request, path="/v1/nothing")
                if self.feature.operation
                else replace(request, body=b'{"input": 7}')
            )
        return super().handle(request)

    def _uses(self, request: Request, feature: Feature) -> bool:
        path = request.path.partition("?")[0]
        if feature.operation:
            operation = self.dialect.operations[feature.operation]
            pattern = re.escape(operation.path).replace(r"\{response_id\}", "[^/]+")
            return request.method == operation.method and re.fullmatch(f"(/v1)?{pattern}", path) is not None
        try:
            return (
                request.method == "POST" and path.endswith("/responses") and feature.is_used(json.loads(request.body))
            )
        except (ValueError, RecursionError):
            return False


@cache
def plan(dialect: str) -> Plan:
    # The many variants of single items and of refused bodies are left out; no rule needs them.
    spared = ("item.", "edge.", "refused.mutants", "refused.raw")
    whole = build_plan("full", load_dialect(dialect), models=("parrot",))
    return Plan(whole.name, tuple(case for case in whole.cases if not case.id.startswith(spared)))


def judged(dialect: str, lacking: Feature | None) -> frozenset[str]:
    """Return the ids of the rules that are judged where an endpoint without faults lacks the feature."""
    clock = ManualClock()
    target = sandbox_target(dialect, model=None)
    exchanges: list[Exchange] = []
    for batch in run_in_process(plan(dialect), Lacking(dialect, clock, lacking), target, clock):
        exchanges += batch
    return frozenset(verdict.rule for verdict in judge(exchanges, dialect) if verdict.judged)


@cache
def judged_with_all(dialect: str) -> frozenset[str]:
    return judged(dialect, None)


# One test for both directions, because judging an endpoint that lacks the feature takes nearly all of the time.
@pytest.mark.parametrize("name", load_features())
def test_the_rules_that_are_not_judged_without_a_feature_are_those_that_name_it(name: str) -> None:
    dialects = [dialect for dialect, defined in DEFINED if defined == name]
    feature = load_features()[name]
    silent = {dialect: judged_with_all(dialect) - judged(dialect, feature) for dialect in dialects}
    for dialect, rules in silent.items():
        unsaid = {rule for rule in rules if name not in {*RULES[rule].features, *BESIDE_THE_POINT.get(rule, ())}}
        assert not unsaid, (
            f"Without {name}, {', '.join(sorted(unsaid))} cannot be judged in {dialect}: add it to their features."
        )
    for rule in (rule for rule in RULES.values() if name in rule.features):
        # A rule that no endpoint without faults shows is left out.
        showing = [dialect for dialect in dialects if rule.id in judged_with_all(dialect)]
        assert not showing or any(rule.id in silent[dialect] for dialect in showing), (
            f"{rule.id} is judged without {name} in every dialect: take it out of its features."
        )
