"""Endpoints that want more or less than usual: what a user adds to every request, and the base form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rejoinder.model.base_form import BaseForm, InputForm
from rejoinder.model.exchange import Request
from rejoinder.model.footer import Acceptance
from rejoinder.model.header import RequestRecord
from rejoinder.model.runfile import Run, read_run
from rejoinder.model.samples import LoadSample
from rejoinder.model.verdict import Status
from rejoinder.sandbox import FAULTS, Sandbox, running
from rejoinder.sandbox.endpoint.reply import JSON_HEADERS, Piece, Reply

Invoke = Callable[..., tuple[int, str, str]]

TOKEN = "tenant-token-0123456789"
KEY = "sk-secret-0123456789"
WANTS = (
    "--extra-body", '{"metadata": {"entity_id": "a"}}', "--header", "X-Team: blue", "--header-env",
    "X-Tenant-Token=TENANT", "--api-key-header", "api-key",
)  # fmt: skip


class PickySandbox(Sandbox):
    """A sandbox that takes a request only with all of what :data:`WANTS` adds, and remembers the paths."""

    def __init__(self, *faults: str, plain: bool = False) -> None:
        super().__init__(faults=faults)
        self.plain = plain
        self.seen: list[Request] = []

    def handle(self, request: Request) -> Reply:
        self.seen.append(request)
        headers = {name.lower(): value for name, value in request.headers}
        body = request.json() if request.body else {}
        is_object = isinstance(body, dict) and "/v1/responses?" in request.path and request.method == "POST"
        metadata = body.get("metadata") if is_object else None
        named = not is_object or not isinstance(metadata, dict) or "entity_id" in metadata
        missing = [
            *([] if "api-version=1" in request.path else ["api-version"]),
            *([] if headers.get("x-team") == "blue" else ["X-Team"]),
            *([] if headers.get("x-tenant-token") == TOKEN else ["X-Tenant-Token"]),
            *([] if headers.get("api-key") in (KEY, "rejoinder-wrong-key") else ["api-key"]),
            *([] if "authorization" not in headers else ["no Authorization"]),
            *([] if named and (not is_object or "metadata" in body) else ["metadata.entity_id"]),
        ]
        if missing and not self.plain:
            message = f"Missing: {', '.join(missing)}."
            return refusal(400, message)
        if headers.get("api-key") == "rejoinder-wrong-key":
            return refusal(401, "The API key is wrong.")
        return super().handle(request)


def refusal(status: int, message: str) -> Reply:
    data = json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": None, "param": None}})
    return Reply(status, JSON_HEADERS, iter([Piece(0.0, data.encode())]))


@pytest.fixture
def picky(monkeypatch: pytest.MonkeyPatch, invoke: Invoke) -> Iterator[tuple[PickySandbox, str]]:
    monkeypatch.setenv("TENANT", TOKEN)
    monkeypatch.setenv("REJOINDER_API_KEY", KEY)
    sandbox = PickySandbox()
    with running(sandbox) as url:
        yield sandbox, f"{url}/v1?api-version=1"


def failed(run: Run) -> list[str]:
    return [verdict.rule for verdict in run.verdicts if verdict.status in (Status.FAIL, Status.WARN, Status.ERROR)]


@pytest.mark.slow(4)
def test_everything_that_an_endpoint_wants_reaches_every_operation(
    invoke: Invoke, picky: tuple[PickySandbox, str]
) -> None:
    sandbox, url = picky
    code, out, _ = invoke("check", url, "--out", "run", "--select", "STA-*,BGR-*,HTTP-*", *WANTS)
    run = read_run("run")
    assert (code, failed(run)) == (0, [])
    assert "api-key" in out.lower()
    paths = {f"{request.method} {request.path.partition('?')[0]}" for request in sandbox.seen}
    assert {"GET /v1/models", "POST /v1/responses"} <= paths
    assert any(path.startswith("GET /v1/responses/resp_") for path in paths)
    assert all(request.path.count("api-version=1") == 1 for request in sandbox.seen)
    text = Path("run/run.ndjson").read_text("utf-8") + Path("run/report.html").read_text("utf-8")
    assert TOKEN not in text
    assert KEY not in text
    assert run.header.target.request == RequestRecord(
        extra_body={"metadata": {"entity_id": "a"}},
        headers=[("X-Team", "blue")],
        header_env={"X-Tenant-Token": "TENANT"},
        api_key_header="api-key",
    )


def test_without_it_one_sentence_says_what_to_try(invoke: Invoke, picky: tuple[PickySandbox, str]) -> None:
    _, url = picky
    code, _, err = invoke("check", url, "--out", "run", "--plan", "smoke", *WANTS[2:])
    assert code == 2
    assert "(status 400): Missing: metadata.entity_id." in err
    assert "--extra-body" in err
    assert "Traceback" not in err
    run = read_run("run")
    assert run.footer
    assert "Missing: metadata.entity_id" in run.footer.problem


@pytest.mark.slow(3)
def test_settings_hold_for_all_of_it(invoke: Invoke, picky: tuple[PickySandbox, str]) -> None:
    _, url = picky
    Path("rejoinder.toml").write_text(
        """extra_body = '{"metadata": {"entity_id": "a"}}'\nheader = ["X-Team: blue"]\n"""
        """header_env = ["X-Tenant-Token=TENANT"]\napi_key_header = "api-key"\nrate_limit = "500/s"\n""",
        "utf-8",
    )
    code, _, _ = invoke("check", url, "--out", "run", "--plan", "smoke", "--no-confirm")
    assert (code, failed(read_run("run"))) == (0, [])


@pytest.mark.slow(5)
def test_a_finding_is_replayed_with_what_was_added(invoke: Invoke, picky: tuple[PickySandbox, str]) -> None:
    sandbox, url = picky
    sandbox.variations = (FAULTS["terminal-missing"],)
    code, _, _ = invoke("check", url, "--out", "old", *WANTS)
    assert code == 1
    sandbox.seen.clear()
    code, out, _ = invoke("replay", "old", "LIF-05", "--out", "new", "-q")
    assert code == 1
    assert "still reproduces" in out
    assert all(request.path.count("api-version=1") == 1 for request in sandbox.seen)


@pytest.mark.slow(6)
def test_a_load_sends_what_was_added(invoke: Invoke, picky: tuple[PickySandbox, str]) -> None:
    sandbox, url = picky
    sandbox.variations = (FAULTS["list-input-refused"],)
    code, out, err = invoke("load", url, "--out", "run", "--requests", "6", "--concurrency", "2", *WANTS)
    run = read_run("run")
    assert code == 0, out + err
    load = next(sample for sample in run.samples if isinstance(sample, LoadSample))
    assert load.outcomes == {"ok": 6}
    sent = [request for request in sandbox.seen if request.method == "POST"][-6:]
    assert {request.path for request in sent} == {"/v1/responses?api-version=1"}
    assert all(isinstance(request.json()["input"], str) for request in sent)
    assert all(request.json()["metadata"] == {"entity_id": "a"} for request in sent)
    text = Path("run/run.ndjson").read_text("utf-8") + Path("run/report.html").read_text("utf-8")
    assert TOKEN not in text
    assert KEY not in text


@pytest.mark.slow(6)
def test_evidence_of_a_load_holds_no_secret(invoke: Invoke, picky: tuple[PickySandbox, str]) -> None:
    sandbox, url = picky
    sandbox.variations = (FAULTS["terminal-missing"],)
    code, _, _ = invoke("load", url, "--out", "run", "--requests", "3", "--concurrency", "1", *WANTS)
    assert code == 1
    evidence = [exchange for exchange in read_run("run").exchanges if exchange.case != "preflight"]
    sent = dict(evidence[0].request.headers)
    assert (sent["X-Team"], sent["X-Tenant-Token"]) == ("blue", "[redacted]")
    text = Path("run/run.ndjson").read_text("utf-8")
    assert TOKEN not in text
    assert KEY not in text


@pytest.mark.slow(3)
@pytest.mark.parametrize(
    ("faults", "form"),
    [
        (("list-input-refused",), BaseForm(input=InputForm.STRING)),
        (("plain-answered-as-stream",), BaseForm(plain=False)),
        ((), BaseForm()),
    ],
)
def test_the_base_form_is_told(invoke: Invoke, faults: tuple[str, ...], form: BaseForm) -> None:
    sandbox = Sandbox(faults=faults)
    with running(sandbox) as url:
        code, out, err = invoke("check", url, "--plan", "smoke", "--out", "run", "--no-confirm")
    run = read_run("run")
    assert run.header.target.form == form
    assert code == (1 if faults else 0)
    assert all(trait in out + err for trait in form.traits())
    streams = [e for e in run.exchanges if e.case == "basic.stream"]
    assert [exchange.status for exchange in streams] == [200]


class Unlimited(Sandbox):
    """A sandbox that refuses any max_output_tokens."""

    def handle(self, request: Request) -> Reply:
        body = request.json()
        if isinstance(body, dict) and "max_output_tokens" in body:
            return refusal(400, "max_output_tokens is not supported.")
        return super().handle(request)


@pytest.mark.slow(8)
def test_an_endpoint_that_refuses_a_limit_is_checked_without_it(invoke: Invoke) -> None:
    with running(Unlimited()) as url:
        code, out, err = invoke("check", url, "--plan", "quick", "--out", "run", "--no-confirm")
    run = read_run("run")
    assert code in (0, 1)
    assert run.header.target.form == BaseForm(max_output_tokens=False)
    assert "Request form: no max_output_tokens" in out + err
    assert "without a limit of output tokens" in " ".join((out + err).split())
    assert not failed(run)
    assert run.footer is not None
    assert run.footer.coverage is not None
    [refused] = run.footer.coverage.refusals
    assert refused.branches == ["max_output_tokens=value"]
    assert refused.words == "max_output_tokens is not supported."
    assert len(run.footer.coverage.branches[Acceptance.ACCEPTED]) > 300


class StreamsByDefault(Sandbox):
    """A sandbox that streams unless ``stream`` is false."""

    def handle(self, request: Request) -> Reply:
        body = request.json()
        if request.method == "POST" and request.path.endswith("/responses") and isinstance(body, dict):
            request = replace(request, body=json.dumps({"stream": True, **body}).encode())
        return super().handle(request)


@pytest.mark.slow(3)
def test_an_endpoint_that_streams_by_default_is_checked_with_stream_false(invoke: Invoke) -> None:
    with running(StreamsByDefault()) as url:
        code, out, _ = invoke("check", url, "--plan", "smoke", "--out", "run", "--no-confirm")
    run = read_run("run")
    assert code == 1
    assert "HTTP-01" in failed(run)
    assert '"stream": false in non-streaming requests' in " ".join(out.split())
    findings = [finding for verdict in run.verdicts for finding in verdict.findings]
    assert {name for finding in findings for name in finding.cases} == {"basic.stream-absent"}
    bodies = [e.request.json() for e in run.exchanges if e.request.method == "POST" and e.case != "preflight"]
    plain = [body for body in bodies if isinstance(body, dict) and body.get("stream") is not True]
    assert [body for body in plain if "stream" not in body] == [
        exchange.request.json() for exchange in run.exchanges if exchange.case == "basic.stream-absent"
    ]


class OneHalf(Sandbox):
    """A sandbox that is broken for streams, or for all others."""

    def __init__(self, *, streams: bool) -> None:
        super().__init__()
        self.streams = streams

    def handle(self, request: Request) -> Reply:
        body = request.json()
        created = request.method == "POST" and request.path.endswith("/responses") and isinstance(body, dict)
        if created and (body.get("stream") is True) != self.streams:
            return Reply(500, (("content-type", "text/html"),), iter([Piece(0.0, b"<html>Oops</html>")]))
        return super().handle(request)


@pytest.mark.slow(3)
@pytest.mark.parametrize("streams", [True, False])
def test_an_endpoint_of_which_one_half_is_broken_is_checked_on(invoke: Invoke, streams: bool) -> None:
    with running(OneHalf(streams=streams)) as url:
        code, _, err = invoke("check", url, "--plan", "smoke", "--out", "run", "--no-confirm")
    run = read_run("run")
    assert code == 1
    assert "HTTP-03" in failed(run)
    assert run.header.target.form == BaseForm(plain=not streams)
    assert ("the first non-streaming request returned status 500" in " ".join(err.split())) == streams
    assert run.footer
    assert not any("not sent" in warning for warning in run.footer.warnings)
    assert any(verdict.status is Status.PASS and verdict.rule.startswith("SSE") for verdict in run.verdicts) == streams


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--extra-body", "{"), "--extra-body is not JSON"),
        (("--extra-body", '{"model": "x"}'), 'sets "model"'),
        (("--header", "Authorization: Bearer x"), "--header-env Authorization=VARIABLE"),
        (("--header", "Host: x"), "rejoinder sets it"),
        (("--header-env", "X-Token=NOWHERE"), "NOWHERE, which is not set"),
        (("--ca-file", "nowhere.pem"), "nowhere.pem"),
        (("--rate-limit", "5/week"), "5/s, 300/min"),
        (("--rate-limit", "0/s"), "not a rate above 0"),
    ],
)
@pytest.mark.parametrize("command", [("check",), ("load",)])
def test_what_cannot_be_used_is_told_before_anything_is_sent(
    invoke: Invoke, command: tuple[str, ...], words: tuple[str, ...], said: str
) -> None:
    code, out, err = invoke(*command, "http://127.0.0.1:9", "--out", "run", *words)
    assert code == 2
    assert said in " ".join(err.split())
    assert "Traceback" not in out + err
    assert not Path("run").exists()
