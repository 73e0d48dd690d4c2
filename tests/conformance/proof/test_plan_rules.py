"""The table of which plan tests which rule is what runs of the plans show."""

from __future__ import annotations

from importlib.resources import files

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.judging.plan_rules import FILE, larger_plan, load_plan_rules
from rejoinder.conformance.proof.plan_rules import table
from rejoinder.conformance.running.plan import PLAN_NAMES
from rejoinder.contract import dialect_names, load_dialect, load_rules


@pytest.mark.slow(10)
def test_the_table_is_what_the_plans_show() -> None:
    """Write it anew with `python -m rejoinder.conformance.proof.plan_rules`."""
    assert files("rejoinder.conformance.judging").joinpath(FILE).read_text("utf-8") == table()


def test_plans_and_dialects_are_the_known_ones() -> None:
    assert list(load_plan_rules()) == dialect_names()
    assert all(list(plans) == list(PLAN_NAMES) for plans in load_plan_rules().values())


@pytest.mark.parametrize(
    ("rule", "plan", "larger"),
    [
        ("STA-01", "smoke", "quick"),
        ("MEM-01", "smoke", "full"),
        ("MEM-01", "quick", "full"),
        ("MEM-01", "full", ""),
        ("SSE-01", "smoke", ""),
        ("MEM-01", "fuzz", ""),
    ],
)
def test_the_next_plan_that_tests_a_rule(rule: str, plan: str, larger: str) -> None:
    assert larger_plan(rule, load_dialect("northstar"), plan) == larger


def test_a_verdict_names_the_plan_to_use() -> None:
    verdicts = {verdict.rule: verdict for verdict in judge([], "northstar", plan="quick")}
    assert verdicts["MEM-01"].reason == "Not tested by plan quick. Use --plan full."
    assert verdicts["SSE-01"].reason == "The run ended before the cases that test this rule."
    assert verdicts["STA-11"].reason.endswith(f"Needs {load_rules()['STA-11'].takes}.")
