"""The sandbox behind a real server."""

from __future__ import annotations

import asyncio
import inspect
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest

from rejoinder.cli.sandbox import command as sandbox_command
from rejoinder.errors import UsageError
from rejoinder.model.exchange import Request
from rejoinder.sandbox import Sandbox, post, running, serve
from rejoinder.sandbox.endpoint.reply import Piece, Reply
from rejoinder.wire.sse import read_events


def test_a_server_answers_like_the_sandbox_in_process() -> None:
    with running(Sandbox(seed=3, clock=lambda: 1e9)) as url:
        body = {"input": "say Zürich twice", "stream": True}
        reply = httpx.post(f"{url}/v1/responses", json=body)
    here = Sandbox(seed=3, clock=lambda: 1e9)
    exchange = here.exchange(post(body))
    assert reply.status_code == exchange.status == 200
    assert reply.content == exchange.body
    assert reply.headers["content-type"] == exchange.header("content-type")


def test_token_delays_are_real() -> None:
    with running(Sandbox(token_delay=0.02)) as url, httpx.Client() as client:
        began = time.monotonic()
        with client.stream("POST", f"{url}/v1/responses", json={"input": "a b c d e", "stream": True}) as reply:
            times = [(time.monotonic() - began, data) for data in reply.iter_raw()]
    events, reader = read_events(times)
    assert not reader.faults
    deltas = [event.t for event in events if event.event.endswith(".delta")]
    assert len(deltas) == 5
    assert deltas[-1] - events[0].t > 0.08


def test_a_plain_reply_comes_after_its_tokens() -> None:
    with running(Sandbox(token_delay=0.03)) as url:
        began = time.monotonic()
        httpx.post(f"{url}/v1/responses", json={"input": "a b c d"})
        assert time.monotonic() - began > 0.1


def test_outcomes_are_counted() -> None:
    sandbox = Sandbox()
    with running(sandbox) as url:
        httpx.post(f"{url}/v1/responses", json={"input": "hello", "stream": True})
        httpx.post(f"{url}/v1/responses", json={"input": "hello you there", "max_output_tokens": 1})
        httpx.post(f"{url}/v1/responses", json={})
        httpx.get(f"{url}/v1/models")
    assert sandbox.counts == {"started": 3, "ok": 1, "incomplete": 1, "http_4xx": 1, "other": 1}


def test_a_client_that_leaves_is_counted() -> None:
    sandbox = Sandbox(token_delay=0.05)
    with running(sandbox) as url:
        body = {"input": "word " * 100, "stream": True}
        with httpx.Client() as client, client.stream("POST", f"{url}/v1/responses", json=body) as reply:
            next(reply.iter_raw())
        deadline = time.monotonic() + 60
        while not sandbox.counts.get("aborted") and time.monotonic() < deadline:
            time.sleep(0.01)
    assert sandbox.counts["aborted"] == 1


def test_many_streams_at_once_keep_their_pace() -> None:
    sandbox = Sandbox(token_delay=0.02)

    async def one(client: httpx.AsyncClient, url: str, number: int) -> bool:
        text = f"token{number} " * 10
        body = {"input": text, "stream": True}
        reply = await client.post(f"{url}/v1/responses", json=body)
        return f"token{number}".encode() in reply.content

    async def all_of_them(url: str) -> list[bool]:
        async with httpx.AsyncClient(timeout=30) as client:
            return await asyncio.gather(*(one(client, url, number) for number in range(16)))

    with running(sandbox) as url:
        assert all(asyncio.run(all_of_them(url)))
    assert sandbox.counts["ok"] == 16


def test_serve_reports_an_address_that_is_taken() -> None:
    with running(Sandbox()) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(UsageError, match="Cannot listen"):
            serve(Sandbox(), port=port)


def test_no_thread_stays_behind() -> None:
    before = threading.active_count()
    with running(Sandbox()):
        pass
    assert threading.active_count() == before


def test_a_cut_connection_is_cut_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    sandbox = Sandbox(faults=["connection-cut"])
    with running(sandbox) as url, pytest.raises(httpx.RemoteProtocolError):
        httpx.post(f"{url}/v1/responses", json={"input": "hello you there", "stream": True})
    assert capfd.readouterr() == ("", "")


def test_a_held_connection_ends_when_the_client_leaves() -> None:
    sandbox = Sandbox(faults=["connection-held-open"], hold=600)
    with running(sandbox) as url:
        body = {"input": "hello", "stream": True}
        with httpx.Client(timeout=0.3) as client, pytest.raises(httpx.ReadTimeout):
            client.post(f"{url}/v1/responses", json=body)
        began = time.monotonic()
    # Far from both what it takes and the 600 s for which the connection would be held, so that no busy machine fails.
    assert time.monotonic() - began < 120


@pytest.mark.slow(1)
def test_stopping_ends_streams_that_are_under_way(capfd: pytest.CaptureFixture[str]) -> None:
    body = {"input": "word " * 1000, "stream": True}
    with httpx.Client() as client:
        with running(Sandbox(token_delay=0.6)) as url:
            request = client.build_request("POST", f"{url}/v1/responses", json=body)
            reply = client.send(request, stream=True)
            began = time.monotonic()
        assert time.monotonic() - began < 120  # of the 600 s of the stream
        reply.close()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow(1)
def test_serve_ends_on_interrupt() -> None:
    code = (
        "from rejoinder.sandbox import Sandbox, serve\n"
        "serve(Sandbox(), port=0, ready=lambda url: print(url, flush=True))\n"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert httpx.get(f"{url}/health").json() == {"status": "ok"}
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_the_core_needs_no_server_library() -> None:
    code = "import sys, rejoinder.sandbox; assert not {'starlette', 'uvicorn', 'anyio'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def connected(url: str) -> socket.socket:
    host, _, port = url.removeprefix("http://").rpartition(":")
    peer = socket.create_connection((host, int(port)), timeout=60)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return peer


def ended(peer: socket.socket) -> bytes:
    """Return what a server still sends until it closes the connection."""
    received = b""
    with suppress(ConnectionResetError):
        while data := peer.recv(65536):
            received += data
    return received


@pytest.mark.slow(3)
def test_clients_that_send_nothing_whole_are_let_go() -> None:
    begun = b"POST /v1/responses HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n"
    with running(Sandbox(), idle_limit=0.3) as url:
        for sent, reply in ((b"", b""), (begun, b""), (begun + b'\r\n{"input', b"HTTP/1.1 408")):
            with connected(url) as peer:
                peer.sendall(sent)
                assert ended(peer).startswith(reply)
        with connected(url) as peer:
            peer.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: ")
            with suppress(OSError):
                for _ in range(64):
                    peer.sendall(b"x" * 65536)
            assert not ended(peer).startswith(b"HTTP/1.1 200")
        assert httpx.get(f"{url}/v1/models").status_code == 200


class Flood:
    """Answers with more than the buffers of a connection hold, and keeps what became of it."""

    def __init__(self) -> None:
        self.closed = threading.Event()
        self.whole = False

    def handle(self, request: Request) -> Reply:
        return Reply(200, (("content-type", "text/event-stream"),), self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        try:
            for _ in range(64):
                yield Piece(0.0, b"x" * 1_000_000)
            self.whole = True
        finally:
            self.closed.set()

    def forget(self) -> None:
        pass


def test_a_client_that_reads_nothing_is_let_go() -> None:
    flood = Flood()
    with running(flood, idle_limit=0.2) as url, connected(url) as peer:
        peer.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert flood.closed.wait(60)
    assert not flood.whole
    with running(flood, idle_limit=60) as url:
        assert len(httpx.get(url).content) == 64_000_000


def test_a_slow_reply_is_no_idle_client() -> None:
    with running(Sandbox(token_delay=0.15), idle_limit=0.1) as url:
        reply = httpx.post(f"{url}/v1/responses", json={"input": "a b c d e f", "stream": True}, timeout=60)
    assert "response.completed" in reply.text


def test_the_sandbox_listens_to_this_machine_only_unless_told() -> None:
    assert inspect.signature(serve).parameters["host"].default == "127.0.0.1"
    assert inspect.signature(running).parameters["host"].default == "127.0.0.1"
    option = next(one for one in sandbox_command.params if one.name == "host")
    assert option.default == "127.0.0.1"
    with running(Sandbox()) as url:
        assert url.startswith("http://127.0.0.1:")
