"""What a check records are the requests that the endpoint received, each once, whatever becomes of them."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cli.conftest import Invoke
from tests.cli.conftest import invoke as invoke
from tests.hostile.endpoint import Connection, HostileEndpoint, HttpRequest, answer

from rejoinder.errors import ExitCode
from rejoinder.model.exchange import UNSENT, Exchange, Outcome
from rejoinder.model.runfile import Run, read_run
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level, Status

ANSWERED = 9
"""Creates that are answered before an endpoint turns bad: those that find it, and some of the plan."""


def reached(run: Run) -> list[Exchange]:
    """Return the exchanges of which something reached the endpoint."""
    return [one for one in run.exchanges if one.outcome not in UNSENT and not one.timed_out_connecting]


def leaves(connection: Connection, request: HttpRequest) -> None:
    """Close each fourth connection unanswered."""
    if not (request.is_create and request.number > ANSWERED and request.number % 4 == 0):
        answer(connection, request)


def resets(connection: Connection, request: HttpRequest) -> None:
    """Reset each fourth connection."""
    if request.is_create and request.number > ANSWERED and request.number % 4 == 0:
        connection.reset()
    else:
        answer(connection, request)


def breaks_off(connection: Connection, request: HttpRequest) -> None:
    """Reset each fourth connection in the middle of the response."""
    if request.is_create and request.number > ANSWERED and request.number % 4 == 0:
        connection.head(200, ("Content-Type", "application/json"), ("Content-Length", "1000"))
        connection.send(b'{"id": "resp_')
        connection.reset()
    else:
        answer(connection, request)


def stalls(connection: Connection, request: HttpRequest) -> None:
    """Never answer two creates."""
    if request.is_create and request.number in (ANSWERED + 1, ANSWERED + 4):
        connection.wait_gone()
    else:
        answer(connection, request)


def is_busy(connection: Connection, request: HttpRequest) -> None:
    """Refuse two creates."""
    if request.is_create and request.number in (ANSWERED + 1, ANSWERED + 4):
        connection.reply(b"{}", ("Retry-After", "0"), status=503)
    else:
        answer(connection, request)


@pytest.mark.slow(6)
@pytest.mark.parametrize(
    ("treat", "resend"),
    [*((treat, ()) for treat in (leaves, resets, breaks_off, stalls, is_busy)), (leaves, ("--resend",))],
)
def test_a_check_and_a_replay_record_what_the_endpoint_received(
    treat: Callable[[Connection, HttpRequest], None], resend: tuple[str, ...], invoke: Invoke, tmp_path: Path
) -> None:
    options = ("--timeout", "1", "--quiet", *resend)
    with HostileEndpoint(treat) as endpoint:
        invoke("check", endpoint.url, "--plan", "smoke", "--reruns", "1", "--out", "run", *options)
        checked = read_run(tmp_path / "run")
        seen = len(endpoint.requests)
        assert len(reached(checked)) == seen > ANSWERED
        invoke("replay", "run", "--all", "--out", "again", *options)
        replayed = read_run(tmp_path / "again")
        assert len(reached(replayed)) == len(endpoint.requests) - seen
    for run in (checked, replayed):
        assert run.footer is not None
        lost = [one for one in run.exchanges if one.request.method == "POST" and "repeated" in one.tags]
        lost = [one for one in lost if one.status is None]
        assert run.footer.resent == len(lost)
        assert not lost or resend
    assert bool(checked.footer and checked.footer.resent) == bool(resend)


@pytest.mark.slow(10)
def test_a_check_that_is_stopped_blames_nobody(tmp_path: Path) -> None:
    processes: list[subprocess.Popen[str]] = []

    def stops_the_check(connection: Connection, request: HttpRequest) -> None:
        if request.is_create and request.number == ANSWERED:
            processes[0].send_signal(signal.SIGSTOP)
            connection.pause(5)  # longer than a request may take
            processes[0].send_signal(signal.SIGCONT)
        answer(connection, request)

    with HostileEndpoint(stops_the_check) as endpoint:
        words = [
            "check",
            endpoint.url,
            "--plan",
            "smoke",
            "--select",
            "HTTP-03",
            "--timeout",
            "4",
            "--concurrency",
            "1",
        ]
        command = [sys.executable, "-m", "rejoinder", *words, "--out", str(tmp_path / "run")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            processes.append(process)
            text, _ = process.communicate(timeout=120)
        run = read_run(tmp_path / "run")
        assert len(reached(run)) == len(endpoint.requests)
    assert process.returncode == ExitCode.INCOMPLETE
    [verdict] = run.verdicts
    assert verdict.status is Status.PASS
    [stopped] = [one for one in run.exchanges if "suspended" in one.detail]
    assert (stopped.outcome, Tag.UNJUDGED in stopped.tags) == (Outcome.CANCELLED, True)
    assert "1 request was not tested, because rejoinder was suspended meanwhile." in " ".join(text.split())
    assert "Conforms" not in text
    assert "The run is incomplete" in text


@pytest.mark.slow(4)
def test_a_lost_request_that_no_rerun_confirms_has_its_rate(invoke: Invoke, tmp_path: Path) -> None:
    def loses_one(connection: Connection, request: HttpRequest) -> None:
        if not (request.is_create and request.number == ANSWERED):
            answer(connection, request)

    with HostileEndpoint(loses_one) as endpoint:
        options = ("--plan", "smoke", "--reruns", "3", "--concurrency", "1", "--select", "HTTP-03", "--out", "run")
        code, text, _ = invoke("check", endpoint.url, *options)
    run = read_run(tmp_path / "run")
    assert code == 0
    [verdict] = run.verdicts
    assert (verdict.level, verdict.status) == (Level.MUST, Status.WARN)
    [finding] = verdict.findings
    assert finding.count == 1
    assert finding.reruns == (3, 0, 0)
    assert "1 MUST rule lost a connection once, which no rerun confirmed." in " ".join(text.split())
    assert "reproduced in 0 of 3 reruns" in (tmp_path / "run/junit.xml").read_text("utf-8")
    assert run.footer is not None
    assert "1 valid request lost its connection before a response." in run.footer.warnings[0]
    code, _, _ = invoke("recheck", "run", "--select", "HTTP-03", "--out", "checked")
    assert code == 0
    assert [again.status for again in read_run(tmp_path / "checked").verdicts] == [Status.WARN]


@pytest.mark.slow(4)
def test_an_endpoint_that_dies_is_counted_up_to_its_death(invoke: Invoke, tmp_path: Path) -> None:
    servers: list[socket.socket] = []

    def dies(connection: Connection, request: HttpRequest) -> None:
        if request.is_create and request.number > ANSWERED:
            servers[0].close()
            connection.reset()
        else:
            answer(connection, request)

    with HostileEndpoint(dies) as endpoint:
        servers.append(endpoint.listener)
        # One at a time: what waits to be accepted when the listener closes was sent, and never read.
        options = ("--plan", "smoke", "--concurrency", "1", "--timeout", "1")
        code, text, _ = invoke("check", endpoint.url, *options, "--out", "run", "--quiet")
        run = read_run(tmp_path / "run")
        assert len(reached(run)) == len(endpoint.requests)
    assert code != 0
    assert "no response" in text
    assert run.footer is not None
    assert run.footer.unsent > 0


@pytest.mark.slow(4)
def test_an_endpoint_that_closes_idle_connections_loses_nothing(invoke: Invoke, tmp_path: Path) -> None:
    def closes_idle(connection: Connection, request: HttpRequest) -> None:
        connection.socket.settimeout(0.05)  # as the keep-alive timeout of a server, which then closes
        if request.is_create and request.streams:
            answer(connection, request)
        else:
            answer(connection, request)
            connection.keep = True

    with HostileEndpoint(closes_idle) as endpoint:
        invoke("check", endpoint.url, "--plan", "smoke", "--rate-limit", "10/s", "--out", "run", "--quiet")
        run = read_run(tmp_path / "run")
        assert len(run.exchanges) == len(endpoint.requests)
    assert all(exchange.status is not None for exchange in run.exchanges)
    assert run.footer is not None
    assert run.footer.resent == 0
