"""Which test plan sends a contract branch or a feature: generated data, for what a run did not send."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from rejoinder.conformance.judging.plan_rules import plan_names
from rejoinder.contract import Dialect

FILE: Final = "plan_branches.toml"
NO_PLAN: Final = "none"
"""Stands for a plan in the file where no plan sends a branch or feature."""

RECALL: Final = "recall"
"""Stands for a plan where the run's own plan sends something, but not to a model that repeats no canary."""
SKIPPED: Final = "skipped"
"""Stands for a plan where the run's own plan sends something, and the run ended before or lacked an earlier reply."""
USUAL: Final = "quick"
"""The plan that sends first what the file does not list."""


@cache
def load_plan_branches() -> Mapping[str, Any]:
    """Return, by dialect, the smallest plan that sends each contract branch and feature.

    ``branches`` and ``features`` list the names by plan, ``none`` those that no plan sends. What is not listed is
    first sent by :data:`USUAL`. ``recall`` lists those of both kinds that plans send only to a model that repeats
    canaries. ``python -m rejoinder.conformance.proof.plan_branches`` writes the file.
    """
    return tomllib.loads(files("rejoinder.conformance.judging").joinpath(FILE).read_text("utf-8"))


def plan_of(kind: str, name: str, dialect: Dialect) -> str:
    """Return the smallest plan that sends a name of a kind (``branches``, ``features``); empty if none does."""
    table = load_plan_branches()
    plans: Mapping[str, list[str]] = next((table[d][kind] for d in dialect.lineage if d in table), {})
    plan = next((plan for plan, names in plans.items() if name in names), USUAL)
    return "" if plan == NO_PLAN or not plans else plan


def skipped(kind: str, name: str, dialect: Dialect, plan: str, repeats: bool | None) -> str:
    """Return why a run did not send what its plan sends: :data:`RECALL` or :data:`SKIPPED`; empty if the plan does not.

    ``plan`` is the plan of the run, ``repeats`` whether its model repeated a canary.
    """
    sends = plan_of(kind, name, dialect)
    plans = plan_names(dialect)
    if not sends or plan not in plans or plans.index(sends) > plans.index(plan):
        return ""
    table = load_plan_branches()
    recall = next((table[d]["recall"][kind] for d in dialect.lineage if d in table), ())
    return RECALL if repeats is False and name in recall else SKIPPED


def by_plan(names: Iterable[str], dialect: Dialect, plan: str, repeats: bool | None) -> dict[str, list[str]]:
    """Return contract branches that a run did not send by the smallest plan that sends them, or by another reason.

    Those that no plan sends are under :data:`NO_PLAN`, those that the run's own plan sends under what :func:`skipped`
    returns.
    """
    found: dict[str, list[str]] = {}
    for name in names:
        reason = skipped("branches", name, dialect, plan, repeats)
        found.setdefault(reason or plan_of("branches", name, dialect) or NO_PLAN, []).append(name)
    return dict(sorted(found.items()))
