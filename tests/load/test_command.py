"""The command: what it makes of its options, and the codes that it exits with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rejoinder.cli.load import command, exit_code, gate_code
from rejoinder.errors import ExitCode, RejoinderError
from rejoinder.load.measure.load_line import load_line
from rejoinder.load.measure.stats import RunStats
from rejoinder.load.run import LoadResult
from rejoinder.load.settings import LoadSettings
from rejoinder.model.metrics import SHARES
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import Run, read_run
from rejoinder.model.samples import LoadSample, ProbeSample, ScenarioOutcomes, SearchResult, SloResult, Validity
from rejoinder.reports import render_markdown
from rejoinder.sandbox import Sandbox
from rejoinder.sandbox import running as serving

pytestmark = pytest.mark.slow(1)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serving(Sandbox(token_delay=0.005, min_tokens=16)) as url:
        yield url


def load(tmp_path: Path, *words: str) -> tuple[Result, Run]:
    out = str(tmp_path / "out")
    result = CliRunner().invoke(command, [*words, "--out", out, "-q"], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result, read_run(out)


@pytest.mark.slow(5)
def test_a_profile_brings_its_own_pace_and_objectives(endpoint: str, tmp_path: Path) -> None:
    profile = tmp_path / "mine.toml"
    profile.write_text(
        "[load]\nrate = '6@500ms,12@500ms'\nslo = ['goodput>=50%', 'ttft<20s']\n[[requests]]\nname = 'a'", "utf-8"
    )
    result, run = load(tmp_path, endpoint, "--profile", str(profile))
    (line,) = run.samples_of(LoadSample)
    assert line.started == 9
    assert line.settings["duration"] == 1.0
    assert [slo.text for slo in line.slos] == ["goodput>=50%", "ttft<20s"]
    assert line.scenarios == [ScenarioOutcomes(name="a", outcomes={RequestOutcome.OK: 9})]
    assert result.return_value in (0, ExitCode.CLIENT_BOUND)
    assert run.footer is not None
    assert run.footer.exit_code == result.return_value
    assert run.header.load["profile"] == str(profile)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--slo", "tftt:p99<3ms"], "Did you mean ttft"),
        (["--profile", "nope"], "neither a built-in profile nor a file"),
        (["--rate", "often"], "expected a number"),
        (["--rate", "5@x"], "not a duration"),
        (["--rate", "-5"], "rate is -5"),
        (["--trace", "/no/such/file"], "No such file"),
        (["--rate", "5", "--concurrency", "3"], "cannot be used with"),
        (["--arrivals", "gamma", "--rate", "5"], "not an arrival process"),
        (
            ["--profile", "chat", "--prompt", "x"],
            "--profile cannot be used with --prompt. A profile has its own inputs",
        ),
        (["--baseline", "x", "--against", "http://h"], "cannot be used with"),
        (["--find-rate", "1..5"], "--find-rate needs --slo. Add an SLO"),
        (["--concurrency", "0"], "concurrency is 0, expected a number from 1 to 20000"),
        (["--repeats", "99"], "repeats is 99"),
        (["--rate", "5", "--sweep", "auto"], "cannot be used with"),
        (["--bodies", "/no/such/file"], "No such file"),
        (["--max-change", "ttft:p99<+10%"], "needs --baseline or --against"),
        (["--against", "http://127.0.0.1:8"], "Add a regression limit"),
        (["--max-change", "ttft:p99<+10%", "--against", "http://127.0.0.1:8", "--repeats", "2"], "--repeats is 2"),
        (["--max-change", "ttft:p99<+10%", "--baseline", "/no/such/run"], "no run file"),
        (["--max-change", "ttft:p99<10%"], "not a regression limit"),
        (["--max-change", "ttft:p99<+10%", "--against", "notaurl://x"], "not an http:// or https:// URL"),
        (["--max-change", "ttft:p99<+10%", "--against", "http://"], '"http://" is not a URL'),
        (["--metrics", "notaurl"], "not an http:// or https:// URL"),
        (["--sweep", "1,2", "--repeats", "3"], "--sweep cannot be used with --repeats"),
    ],
)
def test_bad_options_are_told_before_anything_is_sent(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises(RejoinderError, match=message):
        load(tmp_path, "http://127.0.0.1:9", *words)
    assert not (tmp_path / "out").exists()


def test_what_ships_is_listed() -> None:
    result = CliRunner().invoke(command, ["--list-profiles"])
    assert result.exit_code == 0
    assert "shared-prefix" in result.output


def test_the_command_line_is_light() -> None:
    heavy = {"locust", "gevent", "hypothesis", "httpx"}
    code = f"import sys, rejoinder.cli.load; print([*{heavy} & {{*sys.modules}}])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def result_with(outcomes: dict[str, int], verdict: str, slos: list[tuple[str, bool]]) -> LoadResult:
    load = load_line(RunStats(), [], LoadSettings(url="http://h", concurrency=1), issued=1)
    load.self_check.verdict = Validity(verdict)
    load.slos = [
        SloResult(text=metric, metric=metric, statistic="share" if metric in SHARES else "p50", limit=1, met=met)
        for metric, met in slos
    ]
    counts = {RequestOutcome(outcome): count for outcome, count in outcomes.items()}
    return LoadResult(sum(counts.values()), counts, {}, load)


@pytest.mark.parametrize(
    ("outcomes", "verdict", "slos", "code"),
    [
        ({"ok": 9, "censored": 1}, "VALID", [], 1),
        ({"ok": 9, "censored": 1}, "VALID", [("http_429", True)], 1),
        ({"ok": 9, "http_5xx": 1}, "VALID", [("http_429", True), ("ttft", True)], 1),
        ({"ok": 9, "http_429": 1}, "VALID", [("http_429", True)], 0),
        ({"ok": 9, "http_429": 1}, "VALID", [("http_429", False)], 1),
        ({"ok": 9, "http_5xx": 1}, "VALID", [("ok", True)], 0),
        ({"ok": 9, "http_5xx": 1}, "VALID", [("goodput", True)], 0),
        ({"ok": 9, "cancelled": 1}, "SUSPECT", [("ttft", True)], 0),
        ({"ok": 9, "failed": 1}, "VALID", [], 1),
        ({"ok": 9}, "VALID", [("ttft", False)], 1),
        ({"ok": 9, "failed": 1}, "VALID", [("error", True)], 0),
        ({"ok": 9, "failed": 1}, "VALID", [("error", False)], 1),
        ({"ok": 9, "failed": 1}, "VALID", [("ttft", True)], 1),
        ({"ok": 9}, "CLIENT-BOUND", [], 4),
        ({"ok": 9}, "CLIENT-BOUND", [("ttft", False)], 4),
        ({"ok": 9, "failed": 1}, "CLIENT-BOUND", [], 1),
        ({"transport": 9}, "CLIENT-BOUND", [], 2),
    ],
)
def test_exit_codes(outcomes: dict[str, int], verdict: str, slos: list[tuple[str, bool]], code: int) -> None:
    result = result_with(outcomes, verdict, slos)
    assert gate_code(result) == code
    assert exit_code(result) == (code if code != 4 else int(any(not met for _, met in slos)))
    result.interrupted = True
    assert gate_code(result) == 130


def test_a_rate_of_good_requests_allows_no_failure() -> None:
    result = result_with({"ok": 9, "failed": 1}, "VALID", [("goodput", True)])
    result.load.slos[0].statistic = "rate"
    assert exit_code(result) == 1


@pytest.mark.parametrize(
    ("highest", "verdict", "code"), [(None, "VALID", 1), (None, "CLIENT-BOUND", 4), (8.0, "VALID", 0)]
)
def test_a_search_that_finds_no_load_fails(highest: float | None, verdict: str, code: int) -> None:
    """Even if its first step, in which a queue grew, met every SLO."""
    result = result_with({"ok": 9}, verdict, [("e2e", True)])
    result.load.search = SearchResult(kind="rate", steps=[], range=(8.0, 9.0), highest=highest)
    assert gate_code(result) == code


@pytest.mark.slow(12)
def test_a_recorded_run_is_a_baseline(endpoint: str, tmp_path: Path) -> None:
    words = ["--concurrency", "1", "--duration", "0.3s", "--repeats", "3", "--model", "parrot"]
    first, _ = load(tmp_path / "one", endpoint, *words)
    assert first.return_value in (0, ExitCode.CLIENT_BOUND)
    limits = ["--max-change", "e2e:p50<+5000%", "--max-change", "requests>-99%"]
    baseline = ["--baseline", str(tmp_path / "one" / "out"), "--slo", "goodput>=10%"]
    second, run = load(tmp_path / "two", endpoint, *words, *baseline, *limits)
    assert second.return_value in (0, ExitCode.CLIENT_BOUND)
    (line,) = run.samples_of(LoadSample)
    assert [change.n for change in line.changes] == [(3, 3), (3, 3)]
    assert all(change.verdict in ("kept", "better") for change in line.changes)
    junit = (tmp_path / "two" / "out" / "junit.xml").read_text("utf-8")
    assert 'name="requests&gt;-99%"' in junit
    assert 'name="goodput&gt;=10%"' in junit


@pytest.mark.slow(15)
def test_a_change_for_the_worse_is_a_failure(tmp_path: Path) -> None:
    with serving(Sandbox(token_delay=0.02, min_tokens=8)) as slow, serving(Sandbox(min_tokens=8)) as fast:
        words = ["--concurrency", "1", "--duration", "0.3s", "--repeats", "3", "--model", "parrot"]
        result, run = load(tmp_path, slow, *words, "--against", fast, "--max-change", "e2e:p50<+10%")
    assert result.return_value in (1, ExitCode.CLIENT_BOUND)
    assert run.samples_of(LoadSample)[-1].changes[0].verdict == "worse"
    assert render_markdown(run).count("e2e:p50<+10%") == 1


@pytest.mark.slow(55)
def test_a_server_that_goes_on_for_nobody_fails(tmp_path: Path) -> None:
    with serving(Sandbox(token_delay=0.01, min_tokens=900), faults=["streams-run-on"]) as url:
        words = ["--concurrency", "1", "--duration", "0.5s", "--max-output-tokens", "8", "--model", "parrot"]
        result, run = load(tmp_path, url, *words, "--probe-disconnects", "--metrics", "auto")
    assert result.return_value == 1
    assert [line.verdict for line in run.samples_of(ProbeSample)] == ["fail", "pass", "pass", "pass"]
    assert "disconnect probe: streams stop" in (tmp_path / "out" / "junit.xml").read_text("utf-8")
