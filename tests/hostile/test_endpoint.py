"""The hostile endpoint itself: it is sound where a behaviour leaves it alone, and it ends with its clients."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
from tests.hostile.command import rejoinder
from tests.hostile.endpoint import Connection, HostileEndpoint, HttpRequest, answer

from rejoinder.model.verdict import Status


@pytest.mark.slow(4)
def test_a_sound_answer_breaks_no_rule_of_single_responses(tmp_path: Path) -> None:
    with HostileEndpoint(answer) as endpoint:
        ended = rejoinder("check", endpoint.url, "--plan", "smoke", "--select", "SSE,RSP,HTTP-0*", folder=tmp_path)
    failed = {verdict.rule for verdict in ended.run().verdicts if verdict.status is Status.FAIL}
    assert "Traceback" not in ended.text
    assert not {rule for rule in failed if rule.startswith("SSE")}
    assert ended.run().exchanges
    assert 20_000_000 < ended.peak < 500_000_000


def test_leaving_it_ends_what_never_ends() -> None:
    read = threading.Event()

    def silent(connection: Connection, request: HttpRequest) -> None:
        read.set()
        connection.wait_gone()

    with HostileEndpoint(silent) as endpoint:
        port = int(endpoint.url.rpartition(":")[2])
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read.wait(30)
    assert client.recv(1) == b""
    client.close()
    [request] = endpoint.requests
    assert request.is_models
    assert not request.is_create
