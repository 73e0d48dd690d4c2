"""What to fix first, in each form."""

from __future__ import annotations

from typing import Any

from rejoinder.model.runfile import Run
from rejoinder.model.verdict import DefectKey, Finding, Level, Problem, Reruns, Status, Verdict
from rejoinder.reports.model import read_report
from rejoinder.reports.parts.fix_first import PART as FIX_FIRST


def failed(rule: str, *findings: Finding) -> Verdict:
    return Verdict(rule, Level.MUST, Status.FAIL, 9, 9, findings=list(findings))


def found(rule: str, kind: str, count: int = 1, cause: str = "", **place: Any) -> Finding:
    finding = Finding(rule, Level.MUST, Problem(f"{rule} is broken.", kind=kind, **place), count)
    finding.defect, finding.cause = f"{rule}-{kind}", cause
    return finding


def test_it_lists_defects_that_break_clients_or_lose_data(checked: Run, forms: Any, section: Any) -> None:
    run = checked
    run.verdicts = [
        failed("SSE-02", found("SSE-02", "a", event_type="response.created"), found("SSE-02", "a", 2, pointer="/x")),
        failed("ITM-04", found("ITM-04", "b", 3)),
        failed("ACC-12", found("ACC-12", "c", 3, cause="ITM-04-b")),
        failed("USG-02", found("USG-02", "d", 900)),
    ]
    run.verdicts[0].defects = {DefectKey("SSE-02-a", "", False): 3}
    run.verdicts[1].findings[0].reruns = Reruns(3, 3)
    lines, terminal = forms(FIX_FIRST, run)
    assert lines[0] == "### Fix these 2 first"
    assert lines[2] == "2 of 3 defects break clients or lose data."
    assert lines[4].startswith("- **SSE\\-02** data is a JSON object: client breaks, 2 places, 3 exchanges")
    assert lines[5].startswith("- **ITM\\-04**, ACC\\-12 output has every added item: data lost, 3 exchanges")
    text = "\n".join(terminal)
    assert "Fix these 2 first" in text
    assert "✗ ACC-12  events reconstruct the terminal response (follows from it)" in text
    assert "reproduced in 3 of 3 reruns" in text
    assert "USG-02" not in text
    page = section(run, '<section id="fix-first">', "</section>")
    assert "Fix these 2 first" in page
    assert "USG-02" not in page


def test_without_urgent_failures_there_is_no_such_part(checked: Run) -> None:
    assert read_report(checked).get(FIX_FIRST) is None
