"""The shipped pytest items: one for each rule of the contract."""

from __future__ import annotations

import warnings

import pytest

from rejoinder.conformance.plugin import RejoinderWarning, describe
from rejoinder.contract import load_rules
from rejoinder.verdict import Status, Verdict


def test_rule(rejoinder_verdict: Verdict, request: pytest.FixtureRequest) -> None:
    """The endpoint keeps this rule wherever the examination exercised it."""
    verdict = rejoinder_verdict
    rule = load_rules()[verdict.rule]
    # Not by record_property, which warns under the default family of JUnit files.
    request.node.user_properties += [("rule", rule.id), ("level", verdict.level.value), ("judged", verdict.judged)]
    told = "\n".join([f"{rule.id} ({verdict.level.value}): {rule.statement}", *map(describe, verdict.findings)])
    if verdict.status is Status.FAIL:
        pytest.fail(told, pytrace=False)
    if verdict.status is Status.ERROR:
        raise RuntimeError(verdict.reason)
    if verdict.status is Status.WARN:
        warnings.warn(RejoinderWarning(told), stacklevel=1)
    elif verdict.status is not Status.PASS:
        pytest.skip(verdict.reason)
