"""``rejoinder replay``: what still happens, what is gone, what differs, and what could not be tested."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rejoinder.model.header import ReplayedFinding
from rejoinder.model.runfile import Run, read_run
from rejoinder.model.verdict import Finding
from rejoinder.sandbox import FAULTS, Sandbox, running

pytestmark = pytest.mark.slow(3)

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def endpoint() -> Iterator[Callable[..., str]]:
    """Return a function that gives an endpoint some faults, in place of those that it had, and returns its URL."""
    sandbox = Sandbox()
    with running(sandbox) as url:

        def break_it(*faults: str) -> str:
            sandbox.variations = tuple(FAULTS[fault] for fault in faults)
            return url

        yield break_it


def checked(invoke: Invoke, url: str, *words: str, plan: str = "quick") -> Run:
    code, _, _ = invoke("check", url, "--plan", plan, "--out", "old", "-q", *words)
    assert code == 1
    return read_run("old")


def finding_of(run: Run, rule: str) -> Finding:
    return next(finding for verdict in run.verdicts if verdict.rule == rule for finding in verdict.findings)


def replayed(invoke: Invoke, name: str, *words: str) -> tuple[int, str, Run]:
    code, out, _ = invoke("replay", "old", name, "--out", "new", "-q", *words)
    return code, out, read_run("new")


def test_what_still_happens(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    finding = finding_of(checked(invoke, endpoint("terminal-missing")), "LIF-05")
    assert finding.minimal is not None
    code, out, new = replayed(invoke, finding.fingerprint[:6])
    assert code == 1
    # The result comes first, then what is wrong and how to send it by hand.
    assert out.splitlines()[1] == f"{finding.fingerprint} still reproduces: LIF-05 failed in 1 of 1 run."
    assert "reply    200 · text/event-stream" in out
    assert "curl -sS -N http://127.0.0.1:" in out
    assert "Conforms" not in out
    [exchange] = [exchange for exchange in new.exchanges if "unjudged" not in exchange.tags]
    assert exchange.request.json() == finding.minimal.request.json()
    assert finding_of(new, "LIF-05").fingerprint == finding.fingerprint
    assert new.header.replayed == ReplayedFinding(run="old", fingerprint=finding.fingerprint)
    assert new.footer
    assert new.footer.exit_code == 1
    assert Path("new/report.html").exists()


def test_what_is_gone(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    checked(invoke, endpoint("terminal-missing"))
    endpoint()
    code, out, _ = replayed(invoke, "LIF-05", "--times", "3")
    assert code == 0
    assert "did not reproduce: LIF-05 failed in 0 of 3 runs." in out


def test_what_differs(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    finding = finding_of(checked(invoke, endpoint("terminal-missing")), "LIF-05")
    endpoint("terminal-twice")
    code, out, new = replayed(invoke, finding.fingerprint)
    assert code == 1
    assert "differs: LIF-05 failed with another finding:" in out
    assert finding_of(new, "LIF-05").fingerprint != finding.fingerprint


def test_what_cannot_be_told(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    """A stream that is refused says nothing of the items in it."""
    checked(invoke, endpoint("calls-not-streamed"))
    endpoint("tools-not-streamed")
    code, out, _ = replayed(invoke, "ITM-04")
    assert code == 2
    assert "not tested" in out


def test_an_endpoint_that_refuses_everything(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    checked(invoke, endpoint("terminal-missing"))
    endpoint("list-input-refused", "string-input-refused")
    code, _, err = invoke("replay", "old", "LIF-05", "--out", "new", "-q")
    assert code == 2
    assert "refused a minimal request in each of" in err


def test_an_endpoint_that_is_away(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    checked(invoke, endpoint("terminal-missing"))
    code, _, err = invoke("replay", "old", "LIF-05", "--url", "http://127.0.0.1:9", "--out", "new", "-q")
    assert code == 2
    assert "Traceback" not in err


def test_a_random_finding_is_sent_often(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    run = checked(invoke, endpoint("terminal-missing-at-times"), "--concurrency", "1")
    finding = finding_of(run, "LIF-05")
    assert finding.reruns is not None
    assert not finding.reruns.deterministic
    code, out, _ = replayed(invoke, finding.fingerprint)
    assert code == 1
    assert re.search(r"failed in [1-9] of 10 runs", out)


def test_a_case_of_several_requests_is_planned_anew(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    checked(invoke, endpoint("delete-without-effect"), "--select", "STA-*", plan="full")
    code, _, new = replayed(invoke, "STA-03")
    assert code == 1
    endpoint()
    assert [e.request.method for e in new.exchanges if "unjudged" not in e.tags][-3:] != []
    code, _, _ = invoke("replay", "old", "STA-03", "--out", "newer", "-q")
    assert code == 0


def test_a_case_that_the_plan_has_no_more_is_made_of_the_recording(
    invoke: Invoke, endpoint: Callable[..., str]
) -> None:
    """Ids that came from earlier replies are replaced by the new ones."""
    checked(invoke, endpoint("delete-without-effect"), "--select", "STA-*", "--no-confirm", plan="full")
    file = Path("old/run.ndjson")
    file.write_text(file.read_text("utf-8").replace('"state.deleted"', '"state.of-old"'), encoding="utf-8")
    code, _, new = replayed(invoke, "STA-03")
    assert code == 1
    sent = [exchange for exchange in new.exchanges if exchange.case == "state.of-old"]
    made = sent[0].json()["id"]
    assert [exchange.request.path for exchange in sent[1:4]] == [f"/v1/responses/{made}"] * 3
    assert not any(made in line for line in file.read_text("utf-8").splitlines())


def test_a_finding_of_the_random_search(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    url = endpoint("terminal-missing")
    code, _, err = invoke(
        "check", url, "--plan", "fuzz", "--seed", "7", "--budget", "60requests", "--no-confirm", "--out", "old"
    )
    assert code == 1
    assert "random requests (seed 7) until the budget of 60requests is used up" in err
    code, _, _ = replayed(invoke, "LIF-05")
    assert code == 1


def test_without_a_name_the_findings_are_listed(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    run = checked(invoke, endpoint("terminal-missing"))
    code, out, _ = invoke("replay", "old")
    assert code == 0
    assert f"{finding_of(run, 'LIF-05').fingerprint}  LIF-05" in out
    assert "reproduced in 3 of 3 reruns" in out


def test_findings_of_one_rule_are_told_apart(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    run = checked(invoke, endpoint("sequence-numbers-missing"), "--no-confirm")
    findings = [finding for verdict in run.verdicts if verdict.rule == "EVT-02" for finding in verdict.findings]
    assert len(findings) > 5
    _, out, _ = invoke("replay", "old")
    lines = [line for line in out.splitlines() if line.startswith(" ")]
    assert len(set(lines)) == len(lines)
    code, _, err = invoke("replay", "old", "EVT-02")
    assert code == 2
    for finding in findings:
        assert f"{finding.fingerprint}  EVT-02   {finding.evidence.event_type}" in err


def test_all_findings_are_replayed_with_one_result(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    run = checked(invoke, endpoint("terminal-missing", "total-tokens-wrong"))
    endpoint("total-tokens-wrong")
    code, out, _ = invoke("replay", "old", "--all", "--out", "new", "-q")
    assert code == 1
    findings = [finding for verdict in run.verdicts for finding in verdict.findings if finding.level != "MAY"]
    fingerprints = {finding.fingerprint for finding in findings}
    total = len(fingerprints)
    shown = re.findall(r"^(still reproduces|did not reproduce|differs|not tested) +([0-9a-f]{12})", out, re.M)
    assert {fingerprint for _, fingerprint in shown} == fingerprints
    by_rule = {rule: outcome for outcome, rule in re.findall(r"^(.+?) {2,}[0-9a-f]{12}  (\S+)", out, re.M)}
    assert by_rule["USG-02"] == "still reproduces"
    assert by_rule["LIF-05"] == "did not reproduce"
    assert re.search(rf"^\d+ of {total} findings still reproduce", out, re.M)
    endpoint()
    code, out, _ = invoke("replay", "old", "--all", "--out", "newer", "-q")
    assert code == 0
    assert f"0 of {total} findings still reproduce." in out


def test_a_replay_inside_of_a_run_is_kept_beside_it(
    invoke: Invoke, endpoint: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked(invoke, endpoint("terminal-missing"))
    page = Path("old/report.html").read_text("utf-8")
    [command] = set(re.findall(r"rejoinder replay (\S+) [0-9a-f]{12}<", page))
    assert Path(command) == Path("old").resolve()
    before = sorted(Path("old").iterdir())
    monkeypatch.chdir("old")
    code, _, _ = invoke("replay", command, "LIF-05", "-q")
    assert code == 1
    assert sorted(Path().iterdir()) == [Path(path.name) for path in before]
    assert len(list(Path("../rejoinder-runs").iterdir())) == 1


@pytest.mark.parametrize(("name", "words"), [("ffffffffffff", "no finding"), ("", "matches")])
def test_a_name_must_be_that_of_one_finding(
    invoke: Invoke, endpoint: Callable[..., str], name: str, words: str
) -> None:
    checked(invoke, endpoint("terminal-missing", "usage-missing"))
    code, _, err = invoke("replay", "old", name)
    assert code == 2
    assert words in err
    assert not Path("rejoinder-runs").exists()


def test_a_recording_that_lacks_the_case(invoke: Invoke, endpoint: Callable[..., str]) -> None:
    checked(invoke, endpoint("terminal-missing"), "--no-confirm")
    file = Path("old/run.ndjson")
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    kept = [line for line in lines if line["kind"] != "exchange"]
    kept[0]["plan"] = "gone"
    file.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    code, _, err = invoke("replay", "old", "LIF-05", "-q")
    assert code == 2
    assert "Cannot send the case" in err
