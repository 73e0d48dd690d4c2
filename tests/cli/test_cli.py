"""The command line as a user meets it: results, exit codes, sentences."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rejoinder.contract import load_rules
from rejoinder.model.runfile import read_run
from rejoinder.sandbox import FAULTS, FREEDOMS, SERVER_FAULTS, Sandbox, running

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with running(Sandbox()) as url:
        yield url


def test_check_of_a_clean_endpoint(invoke: Invoke, endpoint: str, tmp_path: Path) -> None:
    code, out, err = invoke("check", endpoint, "--plan", "smoke", "--out", "o")
    assert code == 0, (out, err)
    assert "Conforms" in out
    assert "Plan smoke" in err
    run = read_run(tmp_path / "o")
    assert run.header.target.url == f"{endpoint}/v1/responses"
    assert run.header.target.model == "parrot"
    assert run.header.plan == "smoke"
    assert set(run.header.cases) >= {exchange.case for exchange in run.exchanges if "unjudged" not in exchange.tags}
    assert run.footer
    assert run.footer.exit_code == 0
    assert not run.damage
    for name in ("report.html", "junit.xml"):
        assert (tmp_path / "o" / name).stat().st_size > 1000


def test_check_of_a_broken_endpoint(invoke: Invoke, tmp_path: Path) -> None:
    with running(Sandbox(faults=["sequence-numbers-missing"])) as url:
        code, out, _ = invoke("check", f"{url}/v1/", "--plan", "smoke", "--out", "o", "-q")
    assert code == 1
    assert "EVT-02" in out
    run = read_run(tmp_path / "o")
    assert [verdict.rule for verdict in run.verdicts if verdict.status == "fail"] == ["EVT-02"]
    assert "EVT-02" in (tmp_path / "o" / "junit.xml").read_text()


def test_check_of_selected_rules(invoke: Invoke, endpoint: str, tmp_path: Path) -> None:
    code, _, _ = invoke("check", endpoint, "--plan", "smoke", "--select", "USG-0[1-3]", "--out", "o")
    assert code == 0
    assert {verdict.rule.partition("-")[0] for verdict in read_run(tmp_path / "o").verdicts} == {"USG"}
    code, _, err = invoke("check", endpoint, "--select", "NOPE-*")
    assert code == 2
    assert "matches no rule" in err


def test_a_dialect_of_ones_own(invoke: Invoke, endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\ntitle = "Mine"\nsource = "me"\n[response]\nrequired = ["verse"]\n'
    )
    code, out, err = invoke("check", endpoint, "--plan", "smoke", "--dialect", "mine.toml", "--out", "o")
    assert code == 1, err
    assert 'required field "verse" is missing' in out
    code, _, err = invoke("check", endpoint, "--dialect", "northsta")
    assert code == 2
    assert "northstar" in err


def test_a_budget_ends_a_check(invoke: Invoke, endpoint: str, tmp_path: Path) -> None:
    invoke("check", endpoint, "--budget", "7requests", "--out", "o")
    run = read_run(tmp_path / "o")
    assert sum("unjudged" not in exchange.tags for exchange in run.exchanges) == 7
    assert run.footer
    assert "the budget of 7requests is spent" in run.footer.warnings[0]


def test_nothing_to_test_is_told_and_kept(invoke: Invoke, tmp_path: Path) -> None:
    code, out, err = invoke("check", "http://127.0.0.1:9", "--out", "o")
    assert (code, out) == (2, "")
    assert "Error: Cannot connect to 127.0.0.1:9: connection refused" in err
    assert "Traceback" not in err
    run = read_run(tmp_path / "o")
    assert run.footer
    assert run.footer.exit_code == 2
    assert "connection refused" in run.footer.problem
    assert "connection refused" in (tmp_path / "o" / "report.html").read_text()


def test_a_wrong_url_leaves_nothing_behind(invoke: Invoke, tmp_path: Path) -> None:
    code, _, err = invoke("check", "example.com:8000")
    assert code == 2
    assert "Did you mean http://example.com:8000?" in err
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_without_a_connection_leaves_nothing_behind(invoke: Invoke, tmp_path: Path) -> None:
    code, _, err = invoke("check", "http://127.0.0.1:9")
    assert code == 2
    assert "connection refused" in err
    assert "report" not in err
    assert list(tmp_path.iterdir()) == []


def test_what_else_answers_at_the_url_is_reported(invoke: Invoke, endpoint: str, tmp_path: Path) -> None:
    code, _, err = invoke("check", f"{endpoint}/elsewhere/v1")
    assert code == 2
    [folder] = (tmp_path / "rejoinder-runs").iterdir()
    assert f"The report of the attempt is {folder.relative_to(tmp_path) / 'report.html'}." in err
    assert [exchange.status for exchange in read_run(folder).exchanges] == [404] * len(read_run(folder).exchanges)


def test_a_misspelt_command_is_suggested(invoke: Invoke) -> None:
    code, _, err = invoke("chek", "http://127.0.0.1:9")
    assert code == 2
    assert err.splitlines() == ['Error: "chek" is not a rejoinder command.', "  Did you mean check?"]


def test_a_family_of_rules_is_listed(invoke: Invoke) -> None:
    code, out, _ = invoke("rules", "evt")
    assert code == 0
    assert out.startswith("EVT  ")
    assert {line.split()[0].partition("-")[0] for line in out.splitlines()} == {"EVT"}
    code, _, err = invoke("rules", "evx")
    assert code == 2
    assert "Did you mean EVT?" in err


def test_the_key_comes_from_the_environment(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = "sk-very-secret-0123456789"
    with running(Sandbox(key=secret)) as url:
        code, _, err = invoke("check", url, "--out", "a")
        assert code == 2
        assert "REJOINDER_API_KEY" in err
        code, _, err = invoke("check", url, "--api-key-env", "MY_API_KEY")
        assert "--api-key-env names the environment variable MY_API_KEY" in err
        monkeypatch.setenv("MY_API_KEY", secret)
        code, _, err = invoke("check", url, "--api-key-env", "MY_API_KEY", "--plan", "smoke", "--out", "b")
        assert code == 0, err
    for path in (tmp_path / "b").iterdir():
        assert secret not in path.read_text()


def test_a_recorded_run_is_not_overwritten(invoke: Invoke, endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "run.ndjson").write_text("mine")
    code, _, err = invoke("check", endpoint, "--out", "o")
    assert code == 2
    assert "already contains a run" in err
    assert (tmp_path / "o" / "run.ndjson").read_text() == "mine"


def test_settings_from_file_and_environment(
    invoke: Invoke, endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rejoinder.toml").write_text('plan = "smoke"\n[check]\nselect = "USG-02"\n')
    monkeypatch.setenv("REJOINDER_DIALECT", "openai")
    code, _, err = invoke("check", endpoint, "--out", "o")
    assert code == 0, err
    run = read_run(tmp_path / "o")
    assert (run.header.plan, run.header.target.dialect) == ("smoke", "openai")
    assert [verdict.rule for verdict in run.verdicts] == ["USG-02"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("modle = 'x'", 'Did you mean "model"?'),
        ("plan = 3", "plan"),
        ("plan = 'huge'", "huge"),
        ("[", "rejoinder.toml"),
    ],
)
def test_wrong_settings_are_told(invoke: Invoke, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "rejoinder.toml").write_text(text)
    code, _, err = invoke("check", "http://127.0.0.1:9")
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert invoke("check", "--help")[0] == 0


def test_report_writes_what_is_asked_for(invoke: Invoke, endpoint: str, tmp_path: Path) -> None:
    invoke("check", endpoint, "--plan", "smoke", "--out", "o", "-q")
    code, out, _ = invoke("report", "o", "--html", "a/r.html", "--junit", "j.xml", "--markdown", "m.md")
    assert code == 0
    assert "Conforms" in out
    assert (tmp_path / "a/r.html").read_text() == (tmp_path / "o/report.html").read_text()
    assert (tmp_path / "m.md").read_text().startswith("#")
    code, out, _ = invoke("report", "o/run.ndjson", "--markdown", "-")
    assert out.startswith("#")


def test_report_of_a_cut_run(invoke: Invoke, endpoint: str, tmp_path: Path) -> None:
    invoke("check", endpoint, "--plan", "smoke", "--out", "o", "-q")
    whole = (tmp_path / "o/run.ndjson").read_bytes()
    (tmp_path / "cut.ndjson").write_bytes(whole[: len(whole) // 2])
    code, out, _ = invoke("report", "cut.ndjson", "--html", "cut.html")
    assert code == 0
    assert "cut short" in out
    assert "cut short" in (tmp_path / "cut.html").read_text()
    code, _, err = invoke("report", "nowhere")
    assert code == 2
    assert "There is no run file" in err


def test_rules_are_listed_and_explained(invoke: Invoke) -> None:
    code, out, _ = invoke("rules")
    assert code == 0
    assert "SSE-03" in out
    code, out, _ = invoke("rules", "itm-05")
    assert code == 0
    for word in ("ITM-05", "Argument", "Checked on", "Proven by"):
        assert word in out
    assert "Not checked" in invoke("rules", "SSE-06")[1]
    _, out, _ = invoke("rules", "LIF-14")
    for word in (
        "streaming, background",
        "Open Responses specification",
        "2026-04-24",
        "https://github.com/openresponses/",
    ):
        assert word in out
    code, _, err = invoke("rules", "ITM-55")
    assert code == 2
    assert "Did you mean ITM-" in err
    assert invoke("rules", "itm-5")[1].startswith("ITM-05")


def test_faults_are_listed(invoke: Invoke) -> None:
    code, out, _ = invoke("sandbox", "--list-faults")
    assert code == 0
    assert all(name in out for name in (*FAULTS, *SERVER_FAULTS))
    code, _, err = invoke("sandbox", "--server-fault", "streams-run")
    assert code == 2
    assert "is not a server fault" in err
    code, _, err = invoke("sandbox", "--fault", "sequence-number-missing")
    assert code == 2
    assert "is not a fault" in err


def test_freedoms_are_listed_with_what_allows_them(invoke: Invoke) -> None:
    code, out, _ = invoke("sandbox", "--list-freedoms")
    assert code == 0
    for freedom in FREEDOMS.values():
        assert f"{freedom.id}  (" in out
        assert all(str(cited) in out for cited in freedom.sources)
    code, _, err = invoke("sandbox", "--freedom", "stream-byte-by-bite")
    assert code == 2
    assert "Did you mean stream-byte-by-byte?" in err


def test_a_defect_of_ours_is_told_in_a_sentence(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("rejoinder.model.runfile.read_run", breaks)
    code, _, err = invoke("report", "o")
    assert code == 2
    assert "rejoinder crashed: ZeroDivisionError: oops" in err
    crash = Path(err.split("attach ")[1].split(" ")[0].rstrip("."))
    assert "Traceback" in crash.read_text()
    crash.unlink()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for a condition that the process brings about; it ends when the process does."""
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


@pytest.mark.slow(3)
@pytest.mark.parametrize("command", [["check", "--plan", "full"], ["load", "--duration", "60s", "--concurrency", "2"]])
def test_ctrl_c_reports_what_was_gathered(command: list[str], tmp_path: Path) -> None:
    with running(Sandbox(token_delay=0.02)) as url:
        process = subprocess.Popen(
            [sys.executable, "-m", "rejoinder", command[0], url, *command[1:], "--out", "o"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("REJOINDER_")},
        )
        run_file = tmp_path / "o" / "run.ndjson"
        gathered = b'"kind":"sample"' if command[0] == "load" else b'"role":"stream"'
        wait_until(lambda: run_file.exists() and gathered in run_file.read_bytes(), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    run = read_run(tmp_path / "o")
    assert run.footer
    assert run.footer.interrupted is True
    assert run.verdicts if command[0] == "check" else run.load
    assert (tmp_path / "o" / "report.html").exists()
    assert "nterrupted" in out


def test_the_rule_reference_has_every_rule(invoke: Invoke) -> None:
    code, page, _ = invoke("rules", "--markdown")
    assert code == 0
    for rule in load_rules().values():
        section = page.partition(f"### {rule.id} ")[2].partition("\n### ")[0]
        assert all(citation.url in section for citation in rule.sources), rule.id
        assert "- Level: northstar " in section, rule.id


@pytest.mark.slow(8)
def test_the_second_tenants_key(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ours, theirs = "key-of-the-first", "key-of-the-second"
    monkeypatch.setenv("REJOINDER_API_KEY", ours)
    check = ("check", "--plan", "smoke", "-q")
    with running(Sandbox(key=ours, second_key=theirs)) as url:
        code, _, err = invoke(*check, url, "--second-key-env", "THEIR_API_KEY")
        assert "--second-key-env names the environment variable THEIR_API_KEY" in err
        monkeypatch.setenv("THEIR_API_KEY", ours)
        code, _, err = invoke(*check, url, "--second-key-env", "THEIR_API_KEY", "--out", "same")
        assert (code, "same as the first" in err) == (2, True)
        monkeypatch.setenv("THEIR_API_KEY", theirs)
        code, _, err = invoke("check", "--plan", "full", "-q", url, "--second-key-env", "THEIR_API_KEY", "--out", "o")
        assert code == 0, err
        [verdict] = [verdict for verdict in read_run(tmp_path / "o").verdicts if verdict.rule == "STA-11"]
        assert verdict.status == "pass"
    for path in (tmp_path / "o").iterdir():
        assert theirs not in path.read_text()


def test_what_a_rule_takes_is_told(invoke: Invoke, endpoint: str, tmp_path: Path) -> None:
    invoke("check", "--plan", "smoke", "-q", endpoint, "--out", "o")
    [verdict] = [verdict for verdict in read_run(tmp_path / "o").verdicts if verdict.rule == "STA-11"]
    assert verdict.status == "not_applicable"
    assert "REJOINDER_SECOND_API_KEY" in verdict.reason
