"""Servers for the load tests: one with known timing in a process of its own, one that plays scripted bytes."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_SERVER = Path(__file__).parents[2] / "benchmarks" / "load_server.py"


class TimedServer:
    """The known-timing server: its address, and what it really did."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self.process = process
        self.port = int(process.stdout.readline().split()[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def truth(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/truth", timeout=10) as reply:
            truth: dict[str, Any] = json.load(reply)
            return truth

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def timed_server() -> Iterator[TimedServer]:
    with subprocess.Popen([sys.executable, str(_SERVER)], stdout=subprocess.PIPE, text=True) as process:
        server = TimedServer(process)
        yield server
        server.kill()


@pytest.fixture
def play() -> Iterator[Callable[..., int]]:
    """Return a function that serves scripted connections and returns the port.

    Each script is a list of steps for one connection: ``bytes`` to send, ``"request"`` to read one request,
    ``"reset"``, or ``"hold"`` to wait for the test's end. After its steps the connection is closed.
    """
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []
    done = threading.Event()

    def serve(*scripts: list[Any]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(10)
        listeners.append(listener)

        def run() -> None:
            for script in scripts:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.settimeout(10)
                    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _perform(peer, script, done)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        threads.append(thread)
        return int(listener.getsockname()[1])

    yield serve
    done.set()
    for listener in listeners:
        listener.close()
    for thread in threads:
        thread.join(10)


def _perform(peer: socket.socket, script: list[Any], done: threading.Event) -> None:
    for step in script:
        try:
            if step == "request":
                _read_request(peer)
            elif step == "reset":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                return
            elif step == "hold":
                done.wait(10)
            else:
                peer.sendall(step)
        except OSError:
            return


def _read_request(peer: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(65536)
        if not piece:
            return
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(rest) < length:
        rest += peer.recv(65536)
