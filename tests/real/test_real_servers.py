"""Real servers, each with its real deviations: rejoinder finds those and nothing else.

Every finding that is expected here was checked by hand against the documents; docs/findings has each with its label.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from rejoinder.cli import main
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import Run, read_run
from rejoinder.model.samples import HistogramSample
from rejoinder.model.verdict import Status
from rejoinder.sandbox import ChatSandbox, running

HERE = Path(__file__).parent
BASELINE = HERE.parents[1] / "docs" / "baselines" / "llama-cpp.toml"
START_LIMIT = 120.0


@contextmanager
def serving(
    command: list[str],
    port: int,
    health: str,
    log: Path,
    *,
    folder: Path = HERE,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """Start a server in a folder, wait until it answers, give its base URL, and end it."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
        try:
            base = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + START_LIMIT
            while True:
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                try:
                    if httpx.get(base + health, trust_env=False).is_success:
                        break
                except httpx.TransportError:
                    time.sleep(0.05)
            yield base
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def llamacpp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_spec("xllamacpp") is None:
        pytest.skip("xllamacpp is not installed; tox -e real installs it")
    port = free_port()
    command = [sys.executable, str(HERE / "llamacpp_server.py"), str(port), str(HERE / "tiny.gguf")]
    with serving(command, port, "/health", tmp_path_factory.mktemp("llamacpp") / "log") as base:
        yield base


@pytest.fixture(scope="module")
def fastresponses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_spec("fastresponses") is None:
        pytest.skip("fastresponses is not installed; tox -e real installs it")
    port = free_port()
    program = str(Path(sys.executable).with_name("fastresponses"))
    command = [program, "serve", "scripted_agent.py:agent", "--host", "127.0.0.1", "--port", str(port)]
    with serving(command, port, "/health", tmp_path_factory.mktemp("fastresponses") / "log") as base:
        yield base


@pytest.fixture(scope="module")
def upstream() -> Iterator[str]:
    """A strict upstream for gateways."""
    with running(ChatSandbox()) as base:
        yield base


@pytest.fixture(scope="module")
def codex_rosetta(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_spec("codex_rosetta") is None:
        pytest.skip("codex-rosetta is not installed; tox -e real installs it")
    port, folder = free_port(), tmp_path_factory.mktemp("codex-rosetta")
    own = {"HOST": "127.0.0.1", "PORT": str(port), "UPSTREAM_BASE_URL": f"{upstream}/v1", "UPSTREAM_PROVIDER": "other"}
    command = [str(Path(sys.executable).with_name("codex-rosetta"))]
    environment = {**os.environ, **own, "UPSTREAM_API_KEY": "none"}
    with serving(command, port, "/health", folder / "log", folder=folder, environment=environment) as base:
        yield base


@pytest.fixture(scope="module")
def agent_wire_proxy(upstream: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if find_spec("agent_wire_proxy") is None:
        pytest.skip("agent-wire-proxy is not installed; tox -e real installs it")
    port, folder = free_port(), tmp_path_factory.mktemp("agent-wire-proxy")
    (folder / "proxy.toml").write_text(
        '[proxy]\ndefault_model = "parrot"\n\n[[models]]\nid = "parrot"\nupstream_api = "chat_completions"\n'
        f'target = "{upstream}"\napi_key_env = "UPSTREAM_API_KEY"\n'
    )
    command = [str(Path(sys.executable).with_name("agent-wire-proxy")), "--config", "proxy.toml"]
    command += ["--listen", f"127.0.0.1:{port}"]
    environment = {**os.environ, "UPSTREAM_API_KEY": "none"}
    with serving(command, port, "/health", folder / "log", folder=folder, environment=environment) as base:
        yield base


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("REJOINDER_")]:
        monkeypatch.delenv(name)


def recorded(*words: str) -> tuple[int, Run]:
    with pytest.raises(SystemExit) as exit_info:
        main([*words, "--out", "out"])
    return int(exit_info.value.code or 0), read_run("out")


def rules(run: Run, status: Status) -> set[str]:
    return {verdict.rule for verdict in run.verdicts if verdict.status is status}


def places(run: Run, rule: str) -> set[tuple[str, str]]:
    """Return where the findings of a rule lie: event type and pointer."""
    return {
        (finding.evidence.event_type, finding.evidence.pointer)
        for verdict in run.verdicts
        if verdict.rule == rule
        for finding in verdict.findings
    }


def test_check_finds_the_deviations_of_llamacpp(llamacpp: str) -> None:
    code, run = recorded("check", llamacpp)
    assert code == 1
    assert rules(run, Status.ERROR) == set()
    stream = {"EVT-02", "EVT-10", "PRT-03", "ACC-05", "RSP-05", "RSP-08"}
    ignored = {"ACC-15", "TOL-01"}  # json_schema, custom tools
    assert rules(run, Status.FAIL) == {*stream, *ignored, "HTTP-03"}  # images get status 500
    assert rules(run, Status.WARN) == {"BGR-01"}
    # No sequence numbers on any event, no indexes on any event that needs them.
    assert {pointer for _, pointer in places(run, "EVT-02")} == {"/sequence_number"}
    assert {pointer for _, pointer in places(run, "EVT-10")} == {"/output_index", "/content_index"}
    # Truncation is reported as completed.
    [cut] = [verdict for verdict in run.verdicts if verdict.rule == "RSP-08"]
    assert [(finding.evidence.kind, finding.evidence.actual) for finding in cut.findings] == [("cut", "completed")]
    assert places(run, "PRT-03") == {("response.content_part.added", "/part/annotations")}
    assert {(kind, pointer.rpartition("/")[2]) for kind, pointer in places(run, "RSP-05")} == {
        (kind, name)
        for kind in ("response.created", "response.in_progress")
        for name in ("created_at", "model", "output")
    }
    assert not run.damage


def test_the_baseline_of_llamacpp_expects_all_and_nothing_more(llamacpp: str) -> None:
    code, run = recorded("check", llamacpp, "--no-confirm", "--baseline", str(BASELINE), "--baseline-strict")
    assert rules(run, Status.FAIL) | rules(run, Status.WARN) == set()
    assert {"EVT-02", "EVT-10", "RSP-08", "HTTP-03"} <= rules(run, Status.KNOWN)
    assert code == 0


def test_load_on_llamacpp_accounts_for_every_request(llamacpp: str) -> None:
    code, run = recorded("load", llamacpp, "--concurrency", "4", "--duration", "4s", "--max-output-tokens", "16")
    load = run.load
    assert load is not None
    assert load.started > 0
    assert sum(load.outcomes.values()) == load.started
    # Its streams are whole, though each breaks MUST rules; a server this fast may outrun the judge. It closes
    # a connection after each stream without announcing it, and the first requests may meet that.
    outcomes = load.outcomes
    assert set(outcomes) <= {"ok", "unjudged", "censored", "transport"}
    assert outcomes[RequestOutcome.OK] == load.judged == load.broken > 0
    assert {"EVT-02", "EVT-10"} <= {row.rule for row in load.conformance}
    assert not any(row.voided for row in load.conformance)
    assert (code == 1) == bool(set(outcomes) - {"ok", "unjudged"})
    measured = {sample.metric: sample.values for sample in run.samples_of(HistogramSample)}
    assert measured["ttft"].n >= outcomes[RequestOutcome.OK] + outcomes.get(RequestOutcome.UNJUDGED, 0)


@pytest.mark.parametrize(
    ("dialect", "broken", "unmet"),
    [
        # The other dialect allows no limit as small as its answers, demands no status for an unknown model, and alone
        # demands that an added item is in progress.
        ("northstar", {"USG-07"}, {"HTTP-09", "HTTP-13", "ITM-07"}),
        # Its echo of text.format is the type alone, where the document requires a name and more.
        ("openresponses", {"ITM-07", "RSP-03", "RSP-05"}, {"HTTP-13"}),
    ],
)
def test_check_finds_the_deviations_of_fastresponses(
    fastresponses: str, dialect: str, broken: set[str], unmet: set[str]
) -> None:
    code, run = recorded("check", f"{fastresponses}/v1", "--dialect", dialect)
    assert code == 1
    assert rules(run, Status.ERROR) == set()
    assert rules(run, Status.FAIL) == {*broken, "HTTP-03", "ITM-09", "TOL-01"}
    assert rules(run, Status.WARN) == unmet
    assert places(run, "ITM-07") == {("response.output_item.added", "/item/status")}
    assert places(run, "ITM-09") == {("response.output_item.added", "/item/arguments")}


def test_load_on_fastresponses_is_clean(fastresponses: str) -> None:
    code, run = recorded("load", fastresponses, "--rate", "5", "--duration", "4s")
    load = run.load
    assert load is not None
    assert load.outcomes == {RequestOutcome.OK: 20}
    assert load.started == 20
    assert code == 0


GATEWAYS = {
    "codex_rosetta": {"RSP-05", "ERR-01"},
    "agent_wire_proxy": {"EVT-02", "EVT-10", "RSP-05"},
}
"""Some of the rules that each gateway breaks, whatever its upstream answers."""


@pytest.mark.parametrize("gateway", GATEWAYS)
def test_check_finds_the_deviations_of_gateways_over_the_strict_upstream(
    gateway: str, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(gateway)
    code, run = recorded("check", f"{base}/v1", "--model", "parrot", "--no-confirm")
    assert code == 1
    assert rules(run, Status.ERROR) == set()
    assert rules(run, Status.FAIL) >= GATEWAYS[gateway]
    # Every defect is one that a person has labelled.
    name = f"{gateway.replace('_', '-')}.toml"
    labels = tomllib.loads((HERE.parents[1] / "docs" / "findings" / name).read_text("utf-8"))
    labelled = {entry["rule"] for entry in labels["finding"]}
    assert rules(run, Status.FAIL) | rules(run, Status.WARN) <= labelled
