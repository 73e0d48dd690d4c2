"""The shipped pytest items: one for each rule of the contract."""

from __future__ import annotations

import warnings

import pytest

from rejoinder.conformance.assertion import describe_verdict
from rejoinder.conformance.plugin import RejoinderWarning, outdated
from rejoinder.contract import load_rules
from rejoinder.formatting import one_line, terminal_text
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Status, Verdict


def test_rule(rejoinder_verdict: Verdict, rejoinder_run: Run, request: pytest.FixtureRequest) -> None:
    """The endpoint follows the rule in every request of the check run that tests it."""
    verdict = rejoinder_verdict
    rule = load_rules()[verdict.rule]
    strict = request.config.getoption("rejoinder_baseline_strict")
    passes, stale = outdated(rejoinder_run, rule.id)
    known = dict.fromkeys(finding.known.reason for finding in verdict.findings if finding.known)
    reasons = one_line("; ".join(known), 400)
    # Not by record_property, which warns under the default family of JUnit files.
    request.node.user_properties += [
        ("rule", rule.id),
        ("level", verdict.level.value),
        ("verdict", verdict.status.value),
        ("judged", verdict.judged),
        ("failed", verdict.failed),
        *(("fingerprint", mark) for mark in dict.fromkeys(finding.fingerprint for finding in verdict.findings)),
        *([("known", reasons)] if reasons else []),
    ]
    description = describe_verdict(verdict)
    if verdict.status is Status.FAIL:
        pytest.fail(description, pytrace=False)
    if verdict.status is Status.ERROR:
        raise RuntimeError(terminal_text(verdict.reason))
    if verdict.status is Status.WARN:
        warnings.warn(RejoinderWarning(description), stacklevel=1)
    if strict and (stale or (passes and verdict.findings)):
        pytest.fail(
            "\n".join(
                ["The baseline is out of date. `rejoinder baseline prune` removes these entries:", *passes, *stale]
            ),
            pytrace=False,
        )
    if passes and not verdict.findings:
        request.node.add_marker(pytest.mark.xfail(reason="; ".join(passes), strict=strict))
    for sentence in [*stale, *(passes if verdict.findings else ())]:
        warnings.warn(RejoinderWarning(sentence), stacklevel=1)
    if verdict.status is Status.KNOWN:
        pytest.xfail(f"known failure: {reasons}")
    if verdict.status in (Status.DECLINED, Status.BLOCKED, Status.NOT_APPLICABLE):
        pytest.skip(terminal_text(verdict.reason))
