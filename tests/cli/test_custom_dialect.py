"""A dialect file works in every command that checks, sends or shows something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Invoke
from tests.contract.openapi.documents import PUBLISHED

from rejoinder.conformance.judgement import judge
from rejoinder.conformance.running.in_process import dry_run
from rejoinder.conformance.running.plan import build_plan
from rejoinder.contract import load_dialect, load_rules
from rejoinder.model.runfile import read_run
from rejoinder.sandbox import Sandbox, running

OWN = """
name = "ours"
title = "Our gateway"
base = "openai"

[stream]
done_sentinel = "required"

[levels]
"USG-*" = "OFF"
"RSP-05" = "SHOULD"

[freedoms]
add = ["service-tier-own"]
remove = ["lines-end-with-crlf"]

[overlay.request.add]
"/properties/route" = { enum = ["east", "west"] }

[overlay.operations]
remove = ["/x-operations/compact"]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "ours.toml"
    path.write_text(OWN, "utf-8")
    return path


@pytest.fixture
def url(own: Path) -> Iterator[str]:
    """The URL of a sandbox that speaks the dialect, with a fault."""
    with running(Sandbox(str(own), ["terminal-missing"])) as address:
        yield address


def test_the_file_changes_levels_operations_and_freedoms(own: Path) -> None:
    dialect, base, rules = load_dialect(own), load_dialect("openai"), load_rules()
    assert dialect.level_of(rules["USG-01"]) == "OFF"
    assert dialect.level_of(rules["RSP-05"]) == "SHOULD"
    same = [rule for rule in rules.values() if not rule.id.startswith("USG-") and rule.id != "RSP-05"]
    assert all(dialect.level_of(rule) is base.level_of(rule) for rule in same)
    assert set(base.operations) - set(dialect.operations) == {"compact"}
    assert Sandbox(str(own), freedoms=["service-tier-own"]).dialect is dialect
    with pytest.raises(Exception, match='Freedom "lines-end-with-crlf" does not exist in dialect ours'):
        Sandbox(str(own), freedoms=["lines-end-with-crlf"])


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('[levels]\n"SSE-99" = "OFF"', "at /levels/SSE-99, keyword 'SSE-99': 'SSE-99' is not a rule; did you mean"),
        ('[levels]\n"SSE-01" = "off"', "at /levels/SSE-01, keyword 'SSE-01': 'off' is not a level; levels are MUST"),
        ("levels = 1", "at /levels, keyword 'levels': it must be a table"),
        ('[freedoms]\nallow = ["x"]', "at /freedoms/allow, keyword 'allow': it must be add or remove"),
        ('[freedoms]\nadd = "x"', "at /freedoms/add, keyword 'add': it must be a list of strings"),
        ("freedoms = 1", "at /freedoms, keyword 'freedoms': it must be a table"),
    ],
)
def test_mistakes_in_levels_and_freedoms(invoke: Invoke, tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "bad.toml").write_text(f'name = "bad"\n{text}\n', "utf-8")
    code, _, err = invoke("rules", "--dialect", "bad.toml")
    assert code == 2
    assert f"Error: bad.toml: {what}" in err


def test_a_freedom_that_does_not_exist(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text('name = "bad"\n[freedoms]\nadd = ["line-end-with-crlf"]\n', "utf-8")
    code, _, err = invoke("sandbox", "--dialect", "bad.toml")
    assert code == 2
    assert 'bad.toml: at /freedoms/add, "line-end-with-crlf" is not a freedom of the sandbox.' in err
    assert "lines-end-with-crlf" in err


def test_rules_shows_the_levels_of_the_file(invoke: Invoke, own: Path) -> None:
    code, out, _ = invoke("rules", "USG", "--dialect", str(own))
    assert code == 0
    assert {line.split()[1] for line in out.splitlines()[1:]} == {"OFF"}
    _, out, _ = invoke("rules", "RSP-05", "--dialect", str(own))
    assert "ours (Our gateway): SHOULD" in out


@pytest.mark.slow(15)
def test_check_recheck_replay_baseline_and_reports(invoke: Invoke, own: Path, url: str, tmp_path: Path) -> None:
    words = ("--dialect", "ours.toml", "-q")
    code, _, err = invoke("check", url, "--plan", "quick", "--out", "run", *words)
    assert (code, err) == (1, "")
    run = read_run("run")
    assert run.header.target.dialect == "ours.toml"
    failed = {verdict.rule for verdict in run.verdicts if verdict.status == "fail"}
    assert "LIF-05" in failed
    assert not [verdict for verdict in run.verdicts if verdict.rule.startswith("USG-") and verdict.judged]
    assert invoke("replay", "run", "LIF-05", "--out", "again", "-q")[0] == 1
    assert invoke("recheck", "run", "--out", "checked")[0] == 1
    assert invoke("baseline", "update", "run", "--baseline", "known.toml", "--reason", "Known.")[0] == 0
    assert invoke("report", "run", "--html", "page.html")[0] == 0
    # The file moves: what the run names is not there any more.
    own.rename(tmp_path / "moved.toml")
    for command in (
        ("recheck", "run"),
        ("replay", "run", "LIF-05"),
        ("baseline", "prune", "run", "--baseline", "known.toml"),
    ):
        code, _, err = invoke(*command)
        assert code == 2
        assert "Error: The run was checked against the dialect ours.toml: Cannot read the dialect file ours.toml" in err
        assert "Give its file with --dialect." in err
    assert invoke("recheck", "run", "--out", "moved", "--dialect", "moved.toml")[0] == 1
    assert invoke("replay", "run", "LIF-05", "--out", "replayed", "-q", "--dialect", "moved.toml")[0] == 1
    assert invoke("report", "run", "--html", "page.html")[0] == 0


@pytest.mark.slow(20)
def test_the_other_plans_and_a_load(invoke: Invoke, own: Path, tmp_path: Path) -> None:
    with running(Sandbox(str(own))) as address:
        words = ("--dialect", str(own), "-q")
        assert invoke("check", address, "--plan", "smoke", "--out", "smoke", *words)[0] == 0
        code, out, err = invoke("check", address, "--plan", "fuzz", "--budget", "2s", "--out", "fuzz", *words)
        assert code == 0, out + err
        code, out, err = invoke("load", address, "--concurrency", "2", "--duration", "2s", "--out", "load", *words)
        assert code in (0, 4), out + err  # 4: this machine is too busy to send what was asked for
        assert read_run("load").header.target.dialect == str(own)


@pytest.mark.slow(8)
def test_plan_full_is_silent_on_a_correct_endpoint(own: Path) -> None:
    """Sent without a network: every case of the plan, in the dialect of the file."""
    dialect = load_dialect(own)
    plan = build_plan("full", dialect, model="parrot", form=dialect.usual_form, models=("parrot",))
    exchanges = [exchange for case in dry_run(plan.cases, dialect.reference, "parrot") for exchange in case]
    verdicts = judge(exchanges, dialect)
    assert [verdict.rule for verdict in verdicts if verdict.findings] == []
    assert sum(verdict.status == "pass" for verdict in verdicts) > 150


@pytest.mark.slow(15)
def test_a_dialect_from_a_document(invoke: Invoke) -> None:
    """What the converter writes is checked against a sandbox that speaks it."""
    assert invoke("dialect", "from-openapi", str(PUBLISHED), "--name", "ours", "--base", "openresponses")[0] == 0
    with running(Sandbox("ours.toml")) as address:
        code, out, err = invoke("check", address, "--plan", "quick", "--out", "run", "--dialect", "ours.toml", "-q")
    assert code == 0, out + err
    assert json.loads(Path("run/run.ndjson").read_text("utf-8").splitlines()[0])["target"]["dialect"] == "ours.toml"
