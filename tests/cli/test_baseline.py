"""Known failures and second judgements on the command line: ``--baseline``, ``baseline``, ``recheck``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from rejoinder.model.runfile import read_run
from rejoinder.model.verdict import Status
from rejoinder.sandbox import Sandbox, running

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def broken() -> Iterator[str]:
    with running(Sandbox(faults=["sequence-numbers-missing"])) as url:
        yield url


@pytest.fixture(scope="module")
def clean() -> Iterator[str]:
    with running(Sandbox()) as url:
        yield url


def smoke(invoke: Invoke, url: str, out: str, *words: str) -> tuple[int, str, str]:
    return invoke("check", url, "--plan", "smoke", "--out", out, "-q", *words)


@pytest.mark.slow(2)
def test_from_first_failure_to_fixed(invoke: Invoke, broken: str, clean: str, tmp_path: Path) -> None:
    file = ("--baseline", "known.toml")
    assert smoke(invoke, broken, "a")[0] == 1
    code, out, _ = invoke("baseline", "update", "a", *file, "--reason", "not yet", "--dry-run")
    assert (code, (tmp_path / "known.toml").exists()) == (0, False)
    code, out, _ = invoke("baseline", "update", "a", *file, "--reason", "not yet", "--link", "https://x.example/7")
    assert code == 0
    assert "+ added EVT-02@" in out
    assert invoke("baseline", "update", "a", *file, "--reason", "x")[1] == "known.toml expects all findings of a.\n"

    code, out, _ = smoke(invoke, broken, "b", *file, "--baseline-strict")
    assert code == 0, out
    assert "No new failure" in out
    run = read_run(tmp_path / "b")
    assert not run.damage
    assert [verdict.rule for verdict in run.verdicts if verdict.status is Status.KNOWN] == ["EVT-02"]
    assert run.footer
    assert run.footer.baseline
    assert run.footer.baseline.known[0].link == "https://x.example/7"
    case = next(c for c in ElementTree.parse(tmp_path / "b/junit.xml").iter("testcase") if "EVT-02" in c.attrib["name"])
    skipped = case.find("skipped")
    assert skipped is not None
    assert "not yet" in skipped.attrib["message"]
    assert "not yet" in (tmp_path / "b/report.html").read_text()
    invoke("report", "b", "--ctrf", "c.json", "--badge", "b.json", "--csv", "r.csv", "--markdown", "m.md")
    summary = json.loads((tmp_path / "c.json").read_text())["results"]
    assert summary["summary"]["failed"] == 0
    assert [test["rawStatus"] for test in summary["tests"] if "EVT-02" in test["name"]] == ["known"]
    assert "1 known failure" in json.loads((tmp_path / "b.json").read_text())["message"]
    assert "known failure: not yet" in (tmp_path / "m.md").read_text()
    with (tmp_path / "r.csv").open(newline="") as rows:
        assert {row["known"] for row in csv.DictReader(rows)} == {"", "EVT-02"}

    assert smoke(invoke, clean, "c", *file)[0] == 0
    footer = read_run(tmp_path / "c").footer
    assert footer
    assert "did not fail as expected" in " ".join(footer.warnings)
    code, out, _ = smoke(invoke, clean, "d", *file, "--baseline-strict")
    assert code == 1
    assert "Baseline is out of date" in out
    failed = [
        c.attrib["name"]
        for c in ElementTree.parse(tmp_path / "d/junit.xml").iter("testcase")
        if len(c.findall("failure"))
    ]
    assert failed == ["baseline"]
    code, out, _ = invoke("baseline", "prune", "d", *file)
    assert code == 0
    assert "- removed EVT-02@" in out
    assert smoke(invoke, clean, "e", *file, "--baseline-strict")[0] == 0


def test_a_new_failure_beside_known_ones_fails(invoke: Invoke, broken: str, tmp_path: Path) -> None:
    (tmp_path / "k.toml").write_text('[[known]]\nrule = "EVT-02"\ncase = "basic.stream"\nreason = "seen"\n')
    assert smoke(invoke, broken, "a", "--baseline", "k.toml")[0] == 1
    [verdict] = [verdict for verdict in read_run(tmp_path / "a").verdicts if verdict.status is Status.FAIL]
    known = [finding for finding in verdict.findings if finding.known]
    new = [finding for finding in verdict.findings if not finding.known]
    assert verdict.findings == [*new, *known]
    assert {case for finding in known for case in finding.cases} == {"basic.stream"}
    assert "basic.stream" not in {case for finding in new for case in finding.cases}
    assert {finding.fingerprint for finding in known} <= {finding.fingerprint for finding in new}


def test_show_lists_and_checks_the_file(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "k.toml").write_text(
        '[[known]]\nrule = "EVT-02"\ncase = ["a.*", "b"]\nreason = "seen"\nexpires = 2020-01-01\n'
    )
    code, out, _ = invoke("baseline", "show", "--baseline", "k.toml")
    assert code == 0
    assert "a.* b  seen  EXPIRED on 2020-01-01" in out
    (tmp_path / "k.toml").write_text('[[known]]\nrule = "EVT-2"\n')
    code, _, err = invoke("baseline", "show", "--baseline", "k.toml")
    assert code == 2
    assert "k.toml" in err


def test_mistakes_are_told_before_anything_is_sent(invoke: Invoke, tmp_path: Path) -> None:
    code, _, err = invoke("check", "http://127.0.0.1:9", "--baseline-strict")
    assert (code, "--baseline FILE" in err) == (2, True)
    code, _, err = invoke("check", "http://127.0.0.1:9", "--baseline", "none.toml")
    assert (code, "does not exist" in err) == (2, True)
    assert not (tmp_path / "rejoinder-runs").exists()
    code, _, err = invoke("baseline", "update", "none", "--baseline", "k.toml", "--reason", "r", "--expires", "soon")
    assert (code, "2027-01-31" in err) == (2, True)


def test_the_setting_stands_in_the_settings_file(invoke: Invoke, broken: str, tmp_path: Path) -> None:
    (tmp_path / "k.toml").write_text('[[known]]\nrule = "EVT-02"\ncase = "*"\nreason = "seen"\n')
    (tmp_path / "rejoinder.toml").write_text('baseline = "k.toml"\n')
    assert smoke(invoke, broken, "a")[0] == 0


@pytest.mark.slow(1)
def test_recheck_judges_again_without_sending(invoke: Invoke, tmp_path: Path) -> None:
    sandbox = Sandbox(faults=["sequence-numbers-missing"])
    with running(sandbox) as url:
        invoke("check", url, "--plan", "smoke", "--reruns", "2", "--out", "a", "-q")
        started = sandbox.counts["started"]
        code, out, _ = invoke("recheck", "a", "--out", "b")
        assert sandbox.counts["started"] == started
    assert code == 1
    assert "Compared with the old verdicts: No new findings" in out
    old, new = read_run(tmp_path / "a"), read_run(tmp_path / "b")
    assert new.exchanges == old.exchanges
    told = [
        [(v.rule, v.status, v.judged, [(f.fingerprint, f.reruns, f.minimal) for f in v.findings]) for v in run.verdicts]
        for run in (old, new)
    ]
    assert told[0] == told[1]
    assert not new.damage
    assert any(finding.reruns for verdict in new.verdicts for finding in verdict.findings)
    assert new.header.rechecked
    assert new.header.rechecked.run == "a"
    assert new.header.cases == old.header.cases
    assert "a, recorded" in (tmp_path / "b/report.html").read_text()
    assert (tmp_path / "b/junit.xml").exists()

    (tmp_path / "k.toml").write_text('[[known]]\nrule = "EVT-02"\ncase = "*"\nreason = "seen"\n')
    assert invoke("recheck", "a", "--out", "c", "--baseline", "k.toml")[0] == 0
    code, out, _ = invoke("recheck", "a", "--out", "d", "--dialect", "openresponses", "--select", "RSP-*")
    assert read_run(tmp_path / "d").header.target.dialect == "openresponses"
    assert "before, openresponses (" in out
    # What is known from now on was failing before and still fails: nothing new either way.
    assert invoke("diff", "a", "c")[0] == 0
    assert invoke("diff", "c", "a")[0] == 0


def test_recheck_of_a_damaged_recording_judges_what_can_be_read(invoke: Invoke, clean: str, tmp_path: Path) -> None:
    smoke(invoke, clean, "a")
    lines = (tmp_path / "a/run.ndjson").read_bytes().splitlines(keepends=True)
    (tmp_path / "cut.ndjson").write_bytes(b"".join([*lines[:12], b"{broken\n", lines[12][: len(lines[12]) // 2]]))
    code, out, _ = invoke("recheck", "cut.ndjson", "--out", "b")
    assert code == 0, out
    footer = read_run(tmp_path / "b").footer
    assert footer
    warnings = " ".join(footer.warnings)
    assert "line 13" in warnings
    assert "cut short" in warnings


def test_recheck_needs_exchanges(invoke: Invoke, tmp_path: Path) -> None:
    code, _, err = invoke("recheck", "none")
    assert (code, "There is no run file" in err) == (2, True)
    header = {
        "kind": "header",
        "format": "rejoinder-run",
        "version": 1,
        "started_at": 1.0,
        "tool": {"rejoinder": "0", "python": "3"},
        "command": [],
        "target": {"url": "http://x", "model": None, "dialect": "northstar"},
    }
    (tmp_path / "run.ndjson").write_text(json.dumps(header) + "\n")
    code, _, err = invoke("recheck", "run.ndjson", "--out", "b")
    assert (code, "contains no exchanges" in err) == (2, True)
    assert not (tmp_path / "b").exists()
