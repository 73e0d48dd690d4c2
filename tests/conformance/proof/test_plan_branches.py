"""The table of which plan sends which contract branch and feature is what runs of the plans show."""

from __future__ import annotations

from importlib.resources import files

import pytest

from rejoinder.conformance.judging.plan_branches import FILE, by_plan, load_plan_branches, plan_of
from rejoinder.conformance.proof.plan_branches import table
from rejoinder.contract import dialect_names, features_of, load_dialect
from rejoinder.contract.branches import Branches


@pytest.mark.slow(20)
def test_the_table_is_what_the_plans_show() -> None:
    """Write it anew with `python -m rejoinder.conformance.proof.plan_branches`."""
    assert files("rejoinder.conformance.judging").joinpath(FILE).read_text("utf-8") == table()


@pytest.mark.parametrize("dialect", dialect_names())
def test_names_are_those_of_the_contract(dialect: str) -> None:
    listed = load_plan_branches()[dialect]
    names = {name for names in listed["branches"].values() for name in names}
    assert names <= Branches.of_dialect(dialect).all
    names = {name for names in listed["features"].values() for name in names}
    assert names <= {feature.name for feature in features_of(load_dialect(dialect))}


def test_the_smallest_plan_that_sends_something() -> None:
    dialect = load_dialect("northstar")
    assert plan_of("branches", "stream=value", dialect) == "smoke"
    assert plan_of("branches", "truncation=auto", dialect) == "quick"
    assert plan_of("branches", "previous_response_id=value", dialect) in ("quick", "full")
    assert plan_of("features", "streaming", dialect) == "smoke"
    unsent = ["truncation=auto", "stream=value", "prompt=value"]
    smallest = {"full": ["prompt=value"], "quick": ["truncation=auto"], "smoke": ["stream=value"]}
    assert by_plan(unsent, dialect, "", None) == smallest
    assert by_plan(unsent, dialect, "smoke", False) == {
        "full": ["prompt=value"],
        "quick": ["truncation=auto"],
        "skipped": ["stream=value"],
    }
    assert by_plan(unsent, dialect, "full", None) == {"skipped": unsent}
    assert by_plan(unsent, dialect, "full", False) == {
        "recall": ["prompt=value"],
        "skipped": ["truncation=auto", "stream=value"],
    }
