"""The findings of real servers are labelled by hand, and a run is compared with the labels."""

from __future__ import annotations

import csv
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.running.in_process import ManualClock, run_in_process
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import dialect_names, load_dialect, load_rules
from rejoinder.model.footer import Footer
from rejoinder.model.header import RunTarget, new_header
from rejoinder.model.runfile import RunWriter
from rejoinder.model.verdict import Level
from rejoinder.sandbox import Sandbox
from rejoinder.wire.target import Target

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docs" / "findings").glob("*.toml"))


def tool(*arguments: str | Path) -> tuple[int, list[str]]:
    command = [sys.executable, str(ROOT / "tools" / "findings.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, done.stdout.splitlines()


def record(folder: Path, *faults: str) -> Path:
    """Write the run of a sandbox with these faults."""
    clock = ManualClock()
    target = Target("http://sandbox/v1/responses")
    plan = build_plan("smoke", load_dialect("northstar"))
    batches = run_in_process(plan, Sandbox("northstar", faults, clock=clock), target, clock)
    exchanges = [exchange for batch in batches for exchange in batch]
    with RunWriter(folder / "run.ndjson") as writer:
        described = RunTarget(url=target.url, model=None, dialect="northstar")
        writer.header(new_header(described, plan="smoke", tool={"rejoinder": "1"}, catalogue="1"))
        for exchange in exchanges:
            writer.exchange(exchange)
        for verdict in judge(exchanges, "northstar", plan="smoke"):
            writer.verdict(verdict)
        writer.footer(Footer(ended_at=1.0, exit_code=1))
    return folder


def label(file: Path, **fields: str) -> None:
    text = file.read_text()
    for name, value in fields.items():
        text = text.replace(f'{name} = ""', f'{name} = "{value}"')
    file.write_text(text)


@pytest.mark.slow(4)
def test_labels_are_kept_and_what_has_none_is_named(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    first = record(tmp_path / "one", "sequence-numbers-missing")
    file = tmp_path / "labels.toml"
    code, lines = tool("add", first, file)
    assert code == 0
    assert any(line.startswith("Without a label: EVT-02") for line in lines)
    assert tool("compare", first, file)[0] == 1
    label(file, label="true", why="The schema requires it.")
    assert tool("compare", first, file)[0] == 1  # the second reader has not seen it
    label(file, second="true")
    assert tool("compare", first, file)[0] == 0
    second = record(tmp_path / "two", "total-tokens-wrong")
    code, lines = tool("compare", second, file)
    assert code == 1
    assert any(line.startswith("Not found: EVT-02") for line in lines)
    assert any(line.startswith("Without a label: USG-") for line in lines)
    tool("add", second, file)
    tool("add", first, file)
    entries = {entry["rule"]: entry for entry in tomllib.loads(file.read_text())["finding"]}
    # A defect that was not found again has lost its label.
    assert entries["EVT-02"]["label"] == ""
    # One defect is one entry, with the places where it shows.
    assert len(entries["EVT-02"]["places"]) > 3
    assert entries["EVT-02"]["request"].startswith("POST /v1/responses {")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_finding_has_a_label_with_a_reason(file: Path) -> None:
    table = tomllib.loads(file.read_text("utf-8"))
    server = table["server"]
    assert {"name", "about", "dialect", "plan", "rejoinder", "catalogue"} <= server.keys()
    assert server["dialect"] in dialect_names()
    for entry in table["finding"]:
        place = f"{file.name}: {entry['rule']} {entry['defect']}"
        readings = {entry.get("first", entry["label"]), entry["second"]}
        assert {entry["label"], *readings} <= {"true", "arguable", "false"}, place
        assert len(entry["why"]) > 10, place
        # What the readers did not agree on has the reasons of both.
        assert readings == {entry["label"]} or len(entry["second_why"]) > 10, place
        level = load_dialect(server["dialect"]).level_of(load_rules()[entry["rule"]])
        assert entry["level"] == level.value, f"{place}: the level is {level.value}"


def test_every_reading_of_a_finding_is_counted() -> None:
    with (ROOT / "docs" / "findings" / "readings.csv").open(newline="", encoding="utf-8") as file:
        counted = {(row["first"], row["second"]): 0 for row in csv.DictReader(file)}
        file.seek(0)
        for row in csv.DictReader(file):
            counted[row["first"], row["second"]] += int(row["findings"])
    entries = [entry for file in FILES for entry in tomllib.loads(file.read_text("utf-8"))["finding"]]
    readings = Counter((entry.get("first", entry["label"]), entry["second"]) for entry in entries)
    # Findings that a change of rules made disappear are still counted as readings.
    assert all(counted.get(pair, 0) >= count for pair, count in readings.items())


def test_no_finding_is_false_and_few_are_arguable() -> None:
    tables: list[dict[str, Any]] = [tomllib.loads(file.read_text("utf-8")) for file in FILES]
    entries = [entry for table in tables for entry in table["finding"]]
    assert [entry for entry in entries if entry["label"] == "false"] == []
    musts = Counter(entry["label"] for entry in entries if entry["level"] == Level.MUST)
    assert musts["arguable"] <= 0.03 * musts.total()
