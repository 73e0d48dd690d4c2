"""Which test plan exercises a rule: generated data, so that reports can name the plan to use instead."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Final

from rejoinder.contract import Dialect

FILE: Final = "plan_rules.toml"


@cache
def load_plan_rules() -> Mapping[str, Mapping[str, frozenset[str]]]:
    """Return, by dialect and plan, the rules that the plan tests and no smaller plan does; smallest plan first.

    ``python -m rejoinder.conformance.proof.plan_rules`` writes the file from a run of each plan against the sandbox.
    """
    table = tomllib.loads(files("rejoinder.conformance.judging").joinpath(FILE).read_text("utf-8"))
    return {dialect: {plan: frozenset(ids) for plan, ids in plans.items()} for dialect, plans in table.items()}


def larger_plan(rule: str, dialect: Dialect, plan: str) -> str:
    """Return the smallest plan beyond ``plan`` that tests the rule; empty if there is none, or for another plan."""
    if not plan:
        return ""
    table = load_plan_rules()
    plans = next((table[name] for name in dialect.lineage if name in table), {})
    names = list(plans)
    if plan not in plans:
        return ""
    return next((name for name in names[names.index(plan) + 1 :] if rule in plans[name]), "")
