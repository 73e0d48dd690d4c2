"""Servers on free ports that do exactly what a test tells them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

CERTIFICATE = Path(__file__).with_name("self-signed.pem")

Script = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class ScriptedServer:
    """A TCP server that reads one HTTP request a connection, keeps it, and runs a script to answer.

    ``script`` gets the request's bytes and the writer; the connection is closed after it. ``raw`` scripts run at
    once, before anything is read. Leaving the context ends scripts that hang.
    """

    def __init__(self, script: Script, *, raw: bool = False, tls: bool = False, keep_open: bool = False) -> None:
        self.script, self.raw, self.tls, self.keep_open = script, raw, tls, keep_open
        self.requests: list[bytes] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> ScriptedServer:
        context = None
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(CERTIFICATE)
        self._server = await asyncio.start_server(self._connection, "127.0.0.1", 0, ssl=context)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                if self.raw:
                    await self.script(b"", writer)
                else:
                    request = await self._read(reader)
                    self.requests.append(request)
                    self.arrived.set()
                    await self.script(request, writer)
                await writer.drain()
                if not self.keep_open:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    @staticmethod
    async def _read(reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        size = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        return head + await reader.readexactly(size)


@pytest.fixture
def serve() -> type[ScriptedServer]:
    """Return the scripted server's class."""
    return ScriptedServer


@pytest.fixture
def certificate() -> Path:
    """Return the file with the self-signed certificate of the TLS servers."""
    return CERTIFICATE


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
