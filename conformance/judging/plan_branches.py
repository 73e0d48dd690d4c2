"""Which test plan sends a contract branch or a feature: generated data, for what a run did not send."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from rejoinder.contract import Dialect

FILE: Final = "plan_branches.toml"
NO_PLAN: Final = "none"
"""Stands for a plan in the file where no plan sends a branch or feature."""

USUAL: Final = "quick"
"""The plan that sends first what the file does not list."""


@cache
def load_plan_branches() -> Mapping[str, Any]:
    """Return, by dialect, the smallest plan that sends each contract branch and feature.

    ``branches`` and ``features`` list the names by plan, ``none`` those that no plan sends. What is not listed is
    first sent by :data:`USUAL`. ``python -m rejoinder.conformance.proof.plan_branches`` writes the file.
    """
    return tomllib.loads(files("rejoinder.conformance.judging").joinpath(FILE).read_text("utf-8"))


def plan_of(kind: str, name: str, dialect: Dialect) -> str:
    """Return the smallest plan that sends a name of a kind (``branches``, ``features``); empty if none does."""
    table = load_plan_branches()
    plans: Mapping[str, list[str]] = next((table[d][kind] for d in dialect.lineage if d in table), {})
    plan = next((plan for plan, names in plans.items() if name in names), USUAL)
    return "" if plan == NO_PLAN or not plans else plan


def by_plan(names: Iterable[str], dialect: Dialect) -> dict[str, list[str]]:
    """Return contract branches by the smallest plan that sends them, those of no plan under ``none``."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(plan_of("branches", name, dialect) or NO_PLAN, []).append(name)
    return dict(sorted(found.items()))
