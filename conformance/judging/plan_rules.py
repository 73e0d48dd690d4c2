"""Which test plan tests a rule, and in which cases: generated data.

Reports name the plan to use instead of one that does not test a rule, and the exchange that kept a plan from testing
what it should have tested.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from rejoinder.contract import Dialect

FILE: Final = "plan_rules.toml"

PlanRules = Mapping[str, tuple[str, ...]]
"""The ids of rules that a plan tests, each with the first cases of the plan that do."""


@cache
def load_plan_rules() -> Mapping[str, Mapping[str, PlanRules]]:
    """Return, by dialect and plan, the rules that the plan tests, smallest plan first.

    A plan lists a rule only if no smaller plan tests it in cases that this plan has as well.
    ``python -m rejoinder.conformance.proof.plan_rules`` writes the file from a run of each plan against the sandbox.
    """
    table = tomllib.loads(files("rejoinder.conformance.judging").joinpath(FILE).read_text("utf-8"))
    return {
        dialect: {plan: {rule: tuple(cases) for rule, cases in rules.items()} for plan, rules in plans.items()}
        for dialect, plans in table.items()
    }


def _plans(dialect: Dialect) -> Mapping[str, PlanRules]:
    table = load_plan_rules()
    return next((table[name] for name in dialect.lineage if name in table), {})


def plan_names(dialect: Dialect) -> list[str]:
    """Return the names of the plans, the smallest first."""
    return list(_plans(dialect))


def larger_plan(rule: str, dialect: Dialect, plan: str) -> str:
    """Return the smallest plan beyond ``plan`` that tests the rule; empty if there is none, or for another plan.

    Empty as well when ``plan`` itself tests it.
    """
    plans = _plans(dialect)
    names = list(plans)
    smallest = next((name for name in names if rule in plans[name]), "")
    return smallest if smallest and plan in plans and names.index(smallest) > names.index(plan) else ""


def cases_of(rule: str, dialect: Dialect, plan: str) -> tuple[str, ...]:
    """Return the first cases in which ``plan`` tests the rule; empty if it does not, or for another plan."""
    plans = _plans(dialect)
    if plan not in plans:
        return ()
    names = list(plans)
    return next(
        (plans[name][rule] for name in reversed(names[: names.index(plan) + 1]) if rule in plans[name]),
        (),
    )
