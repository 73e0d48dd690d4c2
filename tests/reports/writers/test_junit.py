"""The numbers of a JUnit report."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import Run
from rejoinder.model.verdict import Level, Status, Verdict
from rejoinder.reports import render_junit


def test_the_suite_has_the_time_and_the_counts_of_the_run() -> None:
    statuses = [Status.PASS, Status.FAIL, Status.FAIL, Status.ERROR, Status.DECLINED, Status.NOT_APPLICABLE]
    run = Run(
        new_header(RunTarget(url="", model=None, dialect="northstar"), started_at=1_790_000_000.0),
        verdicts=[Verdict(f"EVT-0{n}", Level.MUST, status, 1) for n, status in enumerate(statuses, 1)],
        footer=Footer(ended_at=1_790_000_038.4254, exit_code=1),
    )
    root = ET.fromstring(render_junit(run).encode())
    expected = {"tests": "6", "failures": "2", "errors": "1", "skipped": "2", "time": "38.425"}
    for element in (root, root[0]):
        assert {name: element.attrib[name] for name in expected} == expected
    assert root[0].attrib["timestamp"] == "2026-09-21T14:13:20"
