"""Load over TLS: against a server whose authority only the variable SSL_CERT_FILE knows."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rejoinder.load.run import run_load
from rejoinder.load.settings import LoadSettings
from rejoinder.model.outcomes import RequestOutcome
from rejoinder.model.runfile import RunWriter
from rejoinder.wire.target import find_target

pytestmark = pytest.mark.slow(1)

CERTIFICATE = Path(__file__).parents[1] / "wire" / "self-signed.pem"
"""A certificate of this machine, which signs itself, with its key."""


class TlsServer:
    """Ends TLS before a plain server: what comes in is passed on, and back."""

    def __init__(self, port: int) -> None:
        context = self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self._port = port
        self._loop = asyncio.new_event_loop()
        listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://localhost:{listener.getsockname()[1]}"
        start = asyncio.start_server(self._serve, sock=listener, ssl=context)
        self._server = self._loop.run_until_complete(start)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(_pass(reader, behind[1]), _pass(behind[0], writer))

    def require_certificate(self) -> None:
        """Take only clients that show this server's own certificate."""
        self.context.load_verify_locations(CERTIFICATE)
        self.context.verify_mode = ssl.CERT_REQUIRED

    def close(self) -> None:
        async def end() -> None:
            self._server.close()
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
def tls_server(timed_server: Any) -> Iterator[TlsServer]:
    with ExitStack() as stack:
        server = TlsServer(timed_server.port)
        stack.callback(server.close)
        yield server


def run(server: TlsServer, tmp_path: Path, **values: Any) -> dict[RequestOutcome, int]:
    with RunWriter(tmp_path / "run.ndjson") as writer:
        settings = LoadSettings(url=server.url, model="ttft=20&gap=5&tokens=8", duration=1, **values)
        return run_load(settings, writer).outcomes


def test_a_private_authority_is_named_by_its_variable(
    tls_server: TlsServer, timed_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    outcomes = run(tls_server, tmp_path, concurrency=3)
    assert outcomes == {"ok": timed_server.truth()["requests"]}


def test_an_unknown_authority_is_told(tls_server: TlsServer, timed_server: Any, tmp_path: Path) -> None:
    assert run(tls_server, tmp_path, rate=2) == {"transport": 2}
    assert "certificate" in (tmp_path / "run.ndjson").read_text().lower()
    assert timed_server.truth()["requests"] == 0


def test_authority_and_client_certificate_are_files(tls_server: TlsServer, timed_server: Any, tmp_path: Path) -> None:
    tls_server.require_certificate()
    authority = {"ca_file": str(CERTIFICATE)}
    both = {**authority, "client_cert": str(CERTIFICATE), "client_key": str(CERTIFICATE)}
    outcomes = run(tls_server, tmp_path, concurrency=2, **both)
    assert outcomes == {"ok": timed_server.truth()["requests"]}
    other = tmp_path / "other"
    other.mkdir()
    assert run(tls_server, other, rate=2, **authority) == {"transport": 2}


def test_the_endpoint_is_found_through_it_too(tls_server: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    target, _ = asyncio.run(find_target(tls_server.url, model="m", deadline=30))
    assert target.url.startswith(tls_server.url)
