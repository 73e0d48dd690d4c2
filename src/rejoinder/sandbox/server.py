"""The sandbox behind a real server: a Starlette app, run by uvicorn."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from types import MappingProxyType
from typing import Any, Final, Protocol, cast

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from rejoinder.errors import UsageError
from rejoinder.model.exchange import Request
from rejoinder.sandbox.endpoint.reply import Reply
from rejoinder.sandbox.endpoint.request_parsing import MAX_BODY

SERVER_FAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "streams-run-on": "A stream continues after its client disconnected.",
        "replies-run-on": "A plain request continues after its client disconnected.",
        "one-stream-at-a-time": "Streams run one after the other.",
        "disconnect-crashes": "After a client disconnects from a stream, every request returns 500.",
        "disconnect-forgets": "After a client disconnects from a stream, stored responses are lost.",
    }
)
"""Faults that only a running server has, each with a sentence that says what it does. They show under load."""
IDLE_LIMIT: Final = 60.0
"""Seconds in which a client has to send a request whole, and to take something of a reply that waits for it."""
MAX_CONNECTIONS: Final = 4096
"""Connections that are open at a time; further ones are closed at once."""
_MAX_HEAD: Final = 1024 * 1024
"""Bytes of request line and headers after which a connection is closed."""
# Waits longer than this end early when the client goes away.
_LONG_WAIT: Final = 0.25
# Without delays a stream lets others have their turn after so many events.
_BURST: Final = 32


class Handler(Protocol):
    """What answers the requests of a server: a sandbox."""

    def handle(self, request: Request) -> Reply:
        """Answer one request."""
        ...

    def forget(self) -> None:
        """Forget all that is stored."""
        ...


def app(sandbox: Handler, faults: Iterable[str] = (), slots: int = 0, *, idle_limit: float = IDLE_LIMIT) -> Starlette:
    """Return an ASGI application that answers with the sandbox; token delays are real time there.

    ``faults`` are ids from :data:`SERVER_FAULTS`. ``slots`` is how many requests it works on at a time while others
    wait (0: all). ``/metrics`` reports the number of requests in progress. A request whose body is not there after
    ``idle_limit`` seconds gets 408.
    """
    return Starlette(routes=[Mount("/", app=_Endpoint(sandbox, frozenset(faults), slots, idle_limit))])


def serve(
    sandbox: Handler,
    host: str = "127.0.0.1",
    port: int = 8000,
    *,
    ready: Callable[[str], None] | None = None,
    faults: Iterable[str] = (),
    slots: int = 0,
) -> None:
    """Serve until interrupted (SIGINT or SIGTERM), from the main thread.

    ``port`` 0 takes a free one. ``ready`` is called with the base URL once connections are accepted; ``faults`` and
    ``slots`` are as in :func:`app`. Raises :class:`~rejoinder.errors.UsageError` when the address cannot be used, or
    for an unknown fault. At most :data:`MAX_CONNECTIONS` clients, :data:`IDLE_LIMIT` and ``MAX_BODY`` bound what it
    costs.
    """
    server = _server(sandbox, faults, slots)
    with _bound(host, port) as listener:
        try:
            if ready is not None:
                ready(_url(listener))
            server.run(sockets=[listener])
        except KeyboardInterrupt:
            return


@contextmanager
def running(
    sandbox: Handler,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    faults: Iterable[str] = (),
    slots: int = 0,
    idle_limit: float = IDLE_LIMIT,
) -> Iterator[str]:
    """Serve in a background thread and give the base URL (without ``/v1``); stop and join at the end of the block.

    ``faults``, ``slots`` and ``idle_limit`` (seconds) are as in :func:`app`.
    """
    with _bound(host, port) as listener:
        server = _server(sandbox, faults, slots, idle_limit)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="sandbox", daemon=True)
        thread.start()
        try:
            yield _url(listener)
        finally:
            server.should_exit = True
            thread.join()


def _server(sandbox: Handler, faults: Iterable[str], slots: int, idle_limit: float = IDLE_LIMIT) -> uvicorn.Server:
    # Cut connections are made by leaving a reply unfinished, which uvicorn would log as an error.
    config = uvicorn.Config(
        app(sandbox, faults, slots, idle_limit=idle_limit),
        http=type("BoundedProtocol", (_Bounds, AutoHTTPProtocol), {"idle_limit": idle_limit}),
        lifespan="off",
        ws="none",
        access_log=False,
        log_config=None,
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


@contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns off the delay that TCP adds to small writes.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except (OSError, OverflowError) as error:
            where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            raise UsageError(f"Cannot listen on {where}: {error}.", "Use another --port.") from error
        # Connections made before the server's loop runs wait in the backlog.
        listener.listen(2048)
        yield listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Bounds(asyncio.Protocol):
    """Closes connections that uvicorn would keep: too many, with endless headers, or without any progress."""

    idle_limit: float
    connections: set[asyncio.Protocol]
    cycle: Any = None
    _timer: asyncio.TimerHandle | None = None
    _seen: tuple[Any, int] | None = None
    _latest: Any = None
    _head = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peer = cast("asyncio.WriteTransport", transport)
        self._check()
        if len(self.connections) > MAX_CONNECTIONS:
            self._peer.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.cycle is not self._latest:
            self._latest, self._head = self.cycle, 0
        if not self._at_work():
            self._head += len(data)
            if self._head > _MAX_HEAD:
                self._peer.abort()
                return
        super().data_received(data)

    def _at_work(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _check(self) -> None:
        """End the connection when no request began since the last check, or when its reply waits as it did then."""
        waiting = self._peer.get_write_buffer_size()
        state = (self.cycle, waiting)
        stalled = self._seen is not None and self._seen[0] is self.cycle and self._seen[1] == waiting
        if stalled and (waiting or not self._at_work()):
            self._peer.abort()
            return
        self._seen = state
        self._timer = asyncio.get_running_loop().call_later(self.idle_limit, self._check)


class _Endpoint:
    """The ASGI endpoint. It writes chunks itself, since one response object per token would cost most of the time."""

    def __init__(self, sandbox: Handler, faults: frozenset[str], slots: int, idle_limit: float) -> None:
        unknown = next((fault for fault in faults if fault not in SERVER_FAULTS), None)
        if unknown is not None:
            raise UsageError(f'"{unknown}" is not a server fault.', f"Use one of {', '.join(SERVER_FAULTS)}.")
        self._sandbox = sandbox
        self._faults = faults
        self._idle_limit = idle_limit
        self._running = 0
        self._left = False
        self._turn = asyncio.Lock()
        self._slots: AbstractAsyncContextManager[None] = asyncio.Semaphore(slots) if slots else nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(self._idle_limit):
                body = await _read(receive)
        except TimeoutError:
            await _answer(send, 408, b"text/plain", b"The body of the request did not come in time.\n")
            return
        if body is None:
            return
        if scope["path"] == "/metrics":
            await _answer(send, 200, b"text/plain", b"vllm:num_requests_running %d\n" % self._running)
            return
        if self._left and "disconnect-crashes" in self._faults:
            await _answer(send, 500, b"text/plain", b"crashed\n")
            return
        if self._left and "disconnect-forgets" in self._faults:
            self._left = False
            self._sandbox.forget()
        self._running += 1
        try:
            reply = self._sandbox.handle(_request(scope, body))
            streamed = any(value.startswith("text/event-stream") for _, value in reply.headers)
            if streamed and "one-stream-at-a-time" in self._faults:
                async with self._turn:
                    await self._send(reply, streamed, receive, send)
            else:
                async with self._slots:
                    await self._send(reply, streamed, receive, send)
        finally:
            self._running -= 1

    async def _send(self, reply: Reply, streamed: bool, receive: Receive, send: Send) -> None:
        chunks = reply.chunks
        runs_on = ("streams-run-on" if streamed else "replies-run-on") in self._faults
        gone = asyncio.create_task(_disconnected(receive))
        try:
            headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
            first = next(chunks, None)
            if first is not None and first.delay > 0:
                await _wait(first.delay, gone)
            if gone.done() and first is not None and runs_on:
                await asyncio.sleep(first.delay)
            await send({"type": "http.response.start", "status": reply.status, "headers": headers})
            loop = asyncio.get_running_loop()
            due, burst, piece = loop.time(), 0, first
            while piece is not None and (not gone.done() or runs_on):
                await send({"type": "http.response.body", "body": piece.data, "more_body": True})
                piece = next(chunks, None)
                burst += 1
                if piece is not None and piece.delay > 0:
                    due += piece.delay
                    await _wait(due - loop.time(), gone)
                elif burst % _BURST == 0:
                    await asyncio.sleep(0)
            if reply.hold > 0:
                await _wait(reply.hold, gone)
            if not reply.cut:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._left = self._left or (streamed and gone.done() and not gone.cancelled())
            gone.cancel()
            close = getattr(chunks, "close", None)
            if close is not None:
                close()


async def _answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _wait(seconds: float, gone: asyncio.Task[None]) -> None:
    if seconds <= 0:
        return
    if seconds > _LONG_WAIT:
        await asyncio.wait({gone}, timeout=seconds)
    else:
        await asyncio.sleep(seconds)


async def _read(receive: Receive) -> bytes | None:
    """Read the request body, a little more than the most that is taken; ``None`` when the client went away."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if len(body) <= MAX_BODY:
            body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _request(scope: Scope, body: bytes) -> Request:
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    return Request(scope["method"], f"{path}?{query}" if query else path, headers, body)
