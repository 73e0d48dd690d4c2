"""The verdicts of the official suite beside those of the rules, in every form of a report."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from rejoinder.model.footer import SuiteCaseResult, SuiteResult, SuiteVerdict
from rejoinder.model.runfile import Run
from rejoinder.reports import render_ctrf, render_junit
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.suite import PART as SUITE
from rejoinder.reports.parts.verdict import PART as VERDICT

WEBSOCKET = "The case needs a WebSocket."


@pytest.fixture
def official(checked: Run) -> Run:
    """Return a run of the official suite: x1 belongs to case-1, which breaks EVT-02."""
    assert checked.footer is not None
    passed, failed, unsent = SuiteVerdict.PASSED, SuiteVerdict.FAILED, SuiteVerdict.NOT_SENT
    cases = [
        SuiteCaseResult(case="basic", title="Basic", verdict=passed, exchange="x1"),
        SuiteCaseResult(case="stream", title="Stream", verdict=failed, reasons=["A <b>", "No end."], exchange="x9"),
        SuiteCaseResult(case="socket", title="Socket", verdict=unsent, reasons=[WEBSOCKET]),
    ]
    checked.footer.suite = SuiteResult(name="The suite", url="https://h/suite.ts", revision="r 1", cases=cases)
    return checked


def test_the_verdicts_stand_beside_those_of_the_rules(official: Run, table: Any, forms: Any) -> None:
    assert table(official, 'id="suite"') == [
        ["Case", "Suite", "Reason", "Rules"],
        ["basic Basic", "passed", "", "EVT-02"],
        ["stream Stream", "failed", "A <b> No end.", "no rule broken"],
        ["socket Socket", "not sent", WEBSOCKET, ""],
    ]
    markdown, terminal = forms(SUITE, official)
    assert markdown == [
        "The suite: 1 passed, 1 failed, 1 not sent (r 1).",
        "",
        "| Case | Suite | Reason | rejoinder's rules |",
        "|---|---|---|---|",
        r"| `basic` | passed |  | EVT\-02 failed |",
        r"| `stream` | failed | A &lt;b&gt; No end\. | no rule broken |",
        r"| `socket` | not sent | The case needs a WebSocket\. |  |",
        "",
    ]
    assert [line.strip() for line in terminal] == [
        "",
        "The suite: 1 passed, 1 failed, 1 not sent",
        "passed  basic (rules: EVT-02 failed)",
        "failed  stream (rules: no rule broken)",
        "A <b>",
        "No end.",
        "not sent  socket",
    ]


def test_a_build_breaks_when_a_case_of_the_suite_failed(official: Run) -> None:
    every = ET.fromstring(render_junit(official)).iter("testcase")
    cases = [case for case in every if "official" in case.get("classname", "")]
    assert [[child.tag for child in case] for case in cases] == [["system-out"], ["failure", "system-out"], ["skipped"]]
    names = ["basic Basic", "stream Stream", "socket Socket"]
    assert [case.get("name") for case in cases] == names
    tests = json.loads(render_ctrf(official))["results"]["tests"]
    assert [test["status"] for test in tests if test["name"] in names] == ["passed", "failed", "skipped"]


def test_the_headline_names_failed_cases_where_no_rule_failed(official: Run) -> None:
    official.verdicts = [verdict for verdict in official.verdicts if verdict.rule == "EVT-01"]
    assert read_report(official)[VERDICT].headline == "1 case of the official suite failed"
    assert official.footer is not None
    assert official.footer.suite is not None
    official.footer.suite.cases = [case for case in official.footer.suite.cases if case.case != "stream"]
    verdict = read_report(official)[VERDICT]
    assert verdict.headline == "Conforms"
    assert "Official suite: 1 passed, 1 not sent." in verdict.sentence


def test_another_plan_has_no_suite(checked: Run) -> None:
    assert read_report(checked).get(SUITE) is None
