"""The commands that turn run files into reports: ``report``, ``diff``, ``compare``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import RunWriter
from rejoinder.model.samples import RequestSample
from rejoinder.model.verdict import Finding, Level, Problem, Status, Verdict

Invoke = Callable[..., tuple[int, str, str]]


def record(folder: Path, *broken: str, model: str = "tiny") -> None:
    """Write a run of three rules, of which some are broken."""
    with RunWriter(folder / "run.ndjson") as writer:
        target = RunTarget(url="http://127.0.0.1:8000/v1/responses", model=model, dialect="northstar")
        writer.header(new_header(target, started_at=1.79e9, tool={"rejoinder": "0.1.0", "python": "3.12"}))
        for rule in ("EVT-02", "USG-02", "SSE-03"):
            problem = Problem(f"{rule} does not hold.", pointer=f"/{rule}")
            found = [Finding(rule, Level.MUST, problem, 2, ["a"])] if rule in broken else []
            writer.verdict(Verdict(rule, Level.MUST, Status.FAIL if found else Status.PASS, 4, len(found), "", found))
        writer.sample(RequestSample(t=0.0, intended=0.0, outcome=RequestOutcome.OK, worker=0, times={"e2e": 0.5}))
        writer.footer(Footer(ended_at=1.79e9 + 3, exit_code=int(bool(broken))))


def test_report_writes_for_machines(invoke: Invoke, tmp_path: Path) -> None:
    record(tmp_path / "a", "EVT-02")
    code, out, _ = invoke("report", "a", "--ctrf", "c/ctrf.json", "--badge", "badge.json", "--csv", "requests.csv")
    assert code == 0
    assert json.loads((tmp_path / "c/ctrf.json").read_text())["results"]["summary"]["failed"] == 1
    assert json.loads((tmp_path / "badge.json").read_text())["message"] == "1 of 3 rules failed"
    with (tmp_path / "requests.csv").open(newline="") as file:
        assert [row["e2e"] for row in csv.DictReader(file)] == ["0.5"]
    assert "badge.json" in out


def test_diff_fails_when_something_fails_anew(invoke: Invoke, tmp_path: Path) -> None:
    record(tmp_path / "a", "EVT-02", "USG-02")
    record(tmp_path / "b", "USG-02", "SSE-03")
    code, out, _ = invoke("diff", "a", "b", "--html", "d.html", "--markdown", "d.md")
    assert code == 1
    assert out.startswith("1 new failure\n")
    for line in ("+ SSE-03 SSE-03 does not hold. /SSE-03", "= USG-02", "- EVT-02"):
        assert line in out
    assert "1 new failure" in (tmp_path / "d.html").read_text()
    assert (tmp_path / "d.md").read_text().startswith("## ❌ 1 new failure")
    code, out, _ = invoke("diff", "a", "a")
    assert code == 0
    assert out.startswith("No new findings\n")
    code, out, err = invoke("diff", "a", "b", "--markdown", "-")
    assert (code, out[:2]) == (1, "##")
    assert "new failure" in err


def test_no_report_replaces_a_run_file(invoke: Invoke, tmp_path: Path) -> None:
    record(tmp_path / "a", "EVT-02")
    before = (tmp_path / "a/run.ndjson").read_bytes()
    for words in (["report", "a", "--csv"], ["diff", "a", "a", "--markdown"], ["compare", "a", "a", "--html"]):
        code, _, err = invoke(*words, "a/run.ndjson")
        assert code == 2
        assert "a/run.ndjson is a run file, which a report would replace." in err
    assert (tmp_path / "a/run.ndjson").read_bytes() == before


def test_diff_of_what_is_not_there(invoke: Invoke, tmp_path: Path) -> None:
    record(tmp_path / "a")
    code, _, err = invoke("diff", "a", "nowhere")
    assert code == 2
    assert "There is no run file" in err


def test_compare_sets_runs_side_by_side(invoke: Invoke, tmp_path: Path) -> None:
    record(tmp_path / "a", model="one")
    record(tmp_path / "b", "SSE-03", model="two")
    code, out, _ = invoke("compare", "a", "b/run.ndjson", "a", "--html", "c/all.html")
    assert code == 0
    assert "Compared 3 runs: c/all.html" in out
    assert "SSE-03 does not hold." in (tmp_path / "c/all.html").read_text()
    assert invoke("compare", "a", "b")[0] == 0
    assert (tmp_path / "comparison.html").exists()
    code, _, err = invoke("compare", "a")
    assert code == 2
    assert "two runs" in err
