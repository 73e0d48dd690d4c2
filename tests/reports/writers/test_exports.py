"""The writers for machines: CTRF JSON, badge JSON, CSV."""

from __future__ import annotations

import csv
import json
import re
import uuid
from datetime import datetime
from io import StringIO
from types import ModuleType
from typing import Any

import pytest

from rejoinder.model.exchange import Exchange, Outcome, Request
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import Run
from rejoinder.model.samples import RequestSample
from rejoinder.reports import render_badge, render_csv, render_ctrf
from rejoinder.reports.writers.csv import columns

NAMES = ["typical", "green", "checked", "empty", "unreachable", "load", "many", "hostile"]
ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
STATUSES = ("passed", "failed", "skipped", "pending", "other")


def _ctrf(run: Run) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(render_ctrf(run))
    return document


@pytest.mark.parametrize("name", NAMES)
def test_ctrf_has_the_shape_of_its_format(name: str, examples: ModuleType) -> None:
    # What the specification 1.0.0 (ctrf.io) demands and allows; it admits no other member anywhere but in `extra`.
    document = _ctrf(examples.EXAMPLES[name]())
    assert document["reportFormat"] == "CTRF"
    assert re.fullmatch(r"\d+\.\d+\.\d+", document["specVersion"])
    assert {"reportFormat", "specVersion", "results"} <= set(document)
    assert set(document) <= {"reportFormat", "specVersion", "results", "generatedBy", "timestamp"}
    if "timestamp" in document:
        assert datetime.fromisoformat(document["timestamp"]).tzinfo
    results = document["results"]
    assert set(results) == {"tool", "summary", "tests", "environment"}
    assert results["tool"]["name"] == "rejoinder"
    assert set(results["tool"]) <= {"name", "version"}
    assert set(results["environment"]) <= {"appName", "testEnvironment", "extra"}
    assert isinstance(results["environment"]["extra"], dict)
    assert set(results["summary"]) == {"tests", *STATUSES, "start", "stop", "duration", "extra"}
    for test in results["tests"]:
        assert test["name"]
        uuid.UUID(test["id"])
        assert test["suite"]
        assert all(isinstance(word, str) for word in [*test["suite"], *test.get("tags", [])])
        texts = [test[key] for key in ("rawStatus", "type", "message", "trace") if key in test]
        assert all(isinstance(text, str) for text in texts)
        assert test["status"] in STATUSES
        assert isinstance(test["duration"], int)
        assert set(test) <= {
            *("id", "name", "status", "rawStatus", "duration", "type"),
            *("suite", "message", "trace", "tags", "extra"),
        }
    summary = results["summary"]
    assert summary["tests"] == len(results["tests"]) == sum(summary[status] for status in STATUSES)
    assert all(isinstance(summary[name], int) for name in ("start", "stop"))
    assert summary["stop"] >= summary["start"]


def test_ctrf_fails_as_the_run_does(examples: ModuleType) -> None:
    results = _ctrf(examples.typical())["results"]
    tests = {test["name"].split()[0]: test for test in results["tests"]}
    failed = {name for name, test in tests.items() if test["status"] == "failed"}
    assert failed == {"ERR-01", "EVT-02", "USG-02", "ACC-01", "load"}
    assert tests["EVT-02"]["message"] == "Event 4 has no sequence_number."
    assert "Event 4 has no sequence_number." in tests["EVT-02"]["trace"]
    assert tests["EVT-02"]["tags"] == ["MUST"]
    assert (tests["SSE-05"]["status"], tests["SSE-05"]["rawStatus"]) == ("passed", "warn")
    assert (tests["LIF-05"]["status"], tests["ACC-05"]["status"]) == ("other", "skipped")
    assert _ctrf(examples.green())["results"]["summary"]["failed"] == 0
    for name in ("empty", "unreachable"):
        assert _ctrf(examples.EXAMPLES[name]())["results"]["summary"]["failed"] == 1


def test_ctrf_ids_are_stable(examples: ModuleType) -> None:
    ids = [test["id"] for test in _ctrf(examples.typical())["results"]["tests"]]
    assert len(ids) == len(set(ids))
    assert set(ids) >= {test["id"] for test in _ctrf(examples.green())["results"]["tests"]}


@pytest.mark.parametrize(
    ("name", "message", "colour"),
    [
        ("green", "passed", "brightgreen"),
        ("typical", "4 of ", "red"),
        ("unreachable", "nothing was tested", "lightgrey"),
        ("load", "1,119 of 1,200 requests succeeded; 9 never ended (longer than 2.00 s)", "red"),
    ],
)
def test_badges_say_the_verdict(name: str, message: str, colour: str, examples: ModuleType) -> None:
    badge = json.loads(render_badge(examples.EXAMPLES[name]()))
    assert badge["schemaVersion"] == 1
    assert badge["label"] == "northstar (vLLM-style Responses API)"
    assert message in badge["message"]
    assert badge["color"] == colour


def test_badge_and_facts_have_the_version_of_the_rule_catalogue(examples: ModuleType) -> None:
    run = examples.green()
    run.header.catalogue = "1.0"
    assert json.loads(render_badge(run))["label"] == "northstar (vLLM-style Responses API), rule catalogue 1.0"
    assert json.loads(render_ctrf(run))["results"]["environment"]["extra"]["rule catalogue"] == "1.0"


def _rows(run: Run) -> list[dict[str, str]]:
    return list(csv.DictReader(StringIO(render_csv(run), newline="")))


def test_csv_has_a_row_for_each_request(examples: ModuleType) -> None:
    run = examples.typical()
    rows = _rows(run)
    assert [row["source"] for row in rows] == ["check"] * len(run.exchanges) + ["load"] * 1200
    assert list(rows[0]) == list(columns())
    first, last = rows[0], rows[-1]
    assert (first["id"], first["status"], first["outcome"]) == ("x-stream", "200", "complete")
    assert "EVT-02" in first["rules"].split()
    assert int(first["reply_bytes"]) == len(run.exchanges[0].body)
    sample = run.samples_of(RequestSample)[-1]
    assert float(last["ttft"]) == sample.times["ttft"]
    assert last["output_tokens"] == str(sample.output_tokens)
    assert {"cached_tokens", "reasoning_tokens", "estimated_tokens"} <= set(columns())
    for row in rows:
        for name in ("t", "status", "e2e", "chunks", "output_tokens"):
            assert row[name] == "" or float(row[name]) >= 0


def test_csv_begins_no_formula_and_breaks_no_row(examples: ModuleType) -> None:
    texts = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\uff1d1", "\uff201", '"quoted", "twice"\n=1', "\t=1"]
    exchanges = [Exchange(text, Request("POST", text), Outcome.CUT, detail=text) for text in texts]
    run = Run(new_header(RunTarget(url="", model=None, dialect="northstar")), exchanges=exchanges)
    rows = _rows(run)
    assert len(rows) == len(texts)
    for row in rows:
        assert not row["id"].startswith(("=", "+", "-", "@", "\uff1d", "\uff20"))
        assert not row["detail"].startswith(("=", "+", "-", "@", "\uff1d", "\uff20"))
    hostile = examples.hostile()
    assert len(_rows(hostile)) == len(hostile.exchanges) + len(hostile.samples_of(RequestSample))


@pytest.mark.slow(1)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_active_gets_through(name: str, examples: ModuleType) -> None:
    run = examples.EXAMPLES[name]()
    for write in (render_ctrf, render_badge, render_csv):
        text = write(run)
        text.encode()
        assert not ACTIVE.search(text)
        assert write(run) == text
