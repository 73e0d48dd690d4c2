r"""A hostile endpoint: a raw-socket server that answers each request as one behaviour of a few lines says.

A behaviour is a function of a connection and a request, registered by :func:`behaviour`::

    @behaviour("framing", "The chunk size is not a number.")
    def chunk_size_word(connection: Connection, request: HttpRequest) -> None:
        connection.head(200, ("Transfer-Encoding", "chunked"))
        connection.send(b"ten\r\n")

Requests that a behaviour is not about are answered as a sound endpoint would, as are its first ``spares`` creates; a
behaviour calls :func:`answer` for more of that. The connection is closed when the function returns.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from types import TracebackType
from typing import Any, Final, Self

Act = Callable[["Connection", "HttpRequest"], None]
Opens = Callable[[socket.socket], socket.socket | None]
"""What is done with a connection before a request is read. It returns the socket to read from, None to read nothing."""

MODEL: Final = "hostile"
_RECEIVE: Final = 64 * 1024


class On(StrEnum):
    """The requests that a behaviour is about; the others get a sound answer."""

    ALL = "all"
    CREATE = "create"
    STREAM = "stream"
    """Creates that set ``stream``."""
    MODELS = "models"
    METRICS = "metrics"


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way to treat a client badly.

    ``name`` is unique, ``group`` one of the groups that the table of the documentation has, ``cause`` one sentence on
    what is wrong. ``spares`` is how many creates are answered properly first, so that a run gets past its preflight.
    ``opens`` is what is done with each connection first; ``tls`` is whether the URL of the endpoint is one of https.
    """

    name: str
    group: str
    cause: str
    act: Act
    on: On = On.CREATE
    spares: int = 0
    opens: Opens | None = None
    tls: bool = False

    def __call__(self, connection: Connection, request: HttpRequest) -> None:
        """Answer one request."""
        spared = request.is_create and request.number < self.spares
        (answer if spared or not request.is_for(self.on) else self.act)(connection, request)


BEHAVIOURS: Final[dict[str, Behaviour]] = {}
"""All behaviours that were registered, by name."""


def behaviour(
    group: str, cause: str, *, on: On = On.CREATE, spares: int = 0, opens: Opens | None = None, tls: bool = False
) -> Callable[[Act], Behaviour]:
    """Register a function as the behaviour of its name; the arguments are those of :class:`Behaviour`."""

    def register(act: Act) -> Behaviour:
        name = act.__name__.replace("_", "-")
        assert name not in BEHAVIOURS, name
        BEHAVIOURS[name] = found = Behaviour(name, group, cause, act, on, spares, opens, tls)
        return found

    return register


on_create = partial(behaviour, on=On.CREATE)
on_stream = partial(behaviour, on=On.STREAM)
on_models = partial(behaviour, on=On.MODELS)
on_metrics = partial(behaviour, on=On.METRICS)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it was read.

    ``number`` counts the creates (POST below ``/responses``) of this server, from 0; ``at`` is when the request had
    arrived, in seconds of the monotonic clock.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    number: int
    at: float = 0.0

    def is_for(self, on: On) -> bool:
        """Return whether this is one of the requests that a behaviour is about."""
        match on:
            case On.ALL:
                return True
            case On.CREATE:
                return self.is_create
            case On.STREAM:
                return self.is_create and self.streams
            case On.MODELS:
                return self.is_models
            case On.METRICS:
                return self.method == "GET" and self.path.partition("?")[0].endswith("/metrics")

    @property
    def is_create(self) -> bool:
        """Whether this is a create: POST to the endpoint itself."""
        return self.method == "POST" and self.path.partition("?")[0].endswith("/responses")

    @property
    def is_models(self) -> bool:
        """Whether this is for the model list."""
        return self.method == "GET" and self.path.partition("?")[0].endswith("/models")

    @property
    def streams(self) -> bool:
        """Whether the body sets ``stream``."""
        with contextlib.suppress(ValueError):
            value = json.loads(self.body)
            return isinstance(value, dict) and value.get("stream") is True
        return False


class Connection:
    """One connection of a client. ``send`` raises ``OSError`` once the client is gone, which ends the behaviour."""

    def __init__(self, sock: socket.socket, closing: threading.Event) -> None:
        self.socket = sock
        self.closing = closing
        self.uses = 0
        """Requests that came over it."""
        self.keep = False
        """Whether it stays open for another request when a behaviour has answered one."""

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        if self.closing.is_set():
            raise ConnectionAbortedError
        self.socket.sendall(data)

    def head(self, status: int | str = 200, *headers: tuple[str, str]) -> None:
        """Send a status line and headers."""
        lines = [f"HTTP/1.1 {status} X" if isinstance(status, int) else status]
        self.send("\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1"))

    def reply(self, body: bytes, *headers: tuple[str, str], status: int = 200, kind: str = "application/json") -> None:
        """Send a whole reply with its length."""
        self.head(status, ("Content-Type", kind), ("Content-Length", str(len(body))), *headers)
        self.send(body)

    def stream(self) -> None:
        """Send the head of an event stream that ends with the connection."""
        self.head(200, ("Content-Type", "text/event-stream"), ("Connection", "close"))

    def chunk(self, data: bytes) -> None:
        """Send one chunk of a body in chunked framing."""
        self.send(chunk_of(data))

    def forever(self, data: bytes | Callable[[int], bytes], *, every: float = 0.0) -> None:
        """Send the same bytes, or those of a function of 0, 1, 2 ..., until the client is gone."""
        block = data * max(1, _RECEIVE // len(data)) if isinstance(data, bytes) and not every else data
        for number in itertools.count():
            self.send(block if isinstance(block, bytes) else block(number))
            if every:
                self.pause(every)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while; less when the server is closed."""
        if self.closing.wait(seconds):
            raise ConnectionAbortedError

    def wait_gone(self) -> None:
        """Send nothing until the client is gone."""
        while self.socket.recv(_RECEIVE):
            pass

    def reset(self) -> None:
        """Break the connection with a RST."""
        reset(self.socket)


def chunk_of(data: bytes) -> bytes:
    """Return data as one chunk of a body in chunked framing."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def reset(sock: socket.socket) -> None:
    """Break a connection with a RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    sock.close()


@dataclass(slots=True)
class HostileEndpoint:
    """A server on loopback with one behaviour, as a context manager. ``requests`` is what it read, in order."""

    behaviour: Callable[[Connection, HttpRequest], None]
    requests: list[HttpRequest] = field(default_factory=list)
    url: str = ""
    _server: socket.socket = field(init=False)
    _closing: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _creates: int = 0
    _open: set[socket.socket] = field(default_factory=set)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0), backlog=128)
        scheme = "https" if isinstance(self.behaviour, Behaviour) and self.behaviour.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.getsockname()[1]}"
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for sock in self._open:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()

    @property
    def listener(self) -> socket.socket:
        """The socket that accepts connections."""
        return self._server

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._server.accept()
            except OSError:
                return
            with self._lock:
                if self._closing.is_set():
                    sock.close()
                    return
                self._open.add(sock)
            self._start(self._serve, sock)

    def _serve(self, plain: socket.socket) -> None:
        opens = self.behaviour.opens if isinstance(self.behaviour, Behaviour) else None
        sock: socket.socket | None = plain
        try:
            sock = opens(plain) if opens is not None else plain
            if sock is None:
                return
            with self._lock:
                self._open.add(sock)
            connection = Connection(sock, self._closing)
            while (request := self._read(sock)) is not None:
                connection.uses += 1
                connection.keep = False
                self.behaviour(connection, request)
                if not connection.keep:
                    break
        except OSError:
            pass  # the client is gone, or the server is being closed
        finally:
            with self._lock:
                self._open -= {plain, sock}
            _close(sock or plain)

    def _read(self, sock: socket.socket) -> HttpRequest | None:
        data = b""
        while b"\r\n\r\n" not in data:
            more = sock.recv(_RECEIVE)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        while len(body) < size:
            more = sock.recv(_RECEIVE)
            if not more:
                return None
            body += more
        with self._lock:
            request = HttpRequest(method, path, headers, body, self._creates, time.monotonic())
            self._creates += request.is_create
            self.requests.append(request)
        return request


def _close(sock: socket.socket) -> None:
    """Close in order, so that the client gets all that was sent."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(1.0)
        while sock.recv(_RECEIVE):
            pass
    sock.close()


def response_object(text: str = "Hello.", **fields: Any) -> dict[str, Any]:
    """Return a response object that keeps the contract."""
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content}
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": MODEL,
        "status": "completed",
        "output": [item],
        "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2},
        **fields,
    }


def stream_events(text: str = "Hello.") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield type and data of the events of a short stream, in order."""
    whole = response_object(text)
    begun = {**whole, "status": "in_progress", "output": [], "usage": None}
    item = whole["output"][0]
    part = item["content"][0]
    place = {"item_id": "msg_1", "output_index": 0}
    inside = {**place, "content_index": 0}
    numbers = itertools.count()
    for kind, data in (
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        ("response.output_item.added", {**place, "item": {**item, "status": "in_progress", "content": []}}),
        ("response.content_part.added", {**inside, "part": {**part, "text": ""}}),
        ("response.output_text.delta", {**inside, "delta": text, "logprobs": []}),
        ("response.output_text.done", {**inside, "text": text, "logprobs": []}),
        ("response.content_part.done", {**inside, "part": part}),
        ("response.output_item.done", {**place, "item": item}),
        ("response.completed", {"response": whole}),
    ):
        yield kind, {"type": kind, "sequence_number": next(numbers), **data}


def plain_body(text: str = "Hello.") -> bytes:
    """Return the bytes of a response object that keeps the contract."""
    return json.dumps(response_object(text)).encode()


def event(kind: str, data: Any) -> bytes:
    """Return the bytes of one event."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode("utf-8", "surrogatepass")


def answer(connection: Connection, request: HttpRequest) -> None:
    """Answer a request as a sound endpoint does: the model list, a create (plain or as a stream), 404 for the rest."""
    if request.is_models:
        connection.reply(json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode())
    elif not request.is_create:
        error = {"message": "Not found.", "type": "invalid_request_error", "param": None, "code": "not_found"}
        connection.reply(json.dumps({"error": error}).encode(), status=404)
    elif request.streams:
        connection.stream()
        connection.send(b"".join(event(kind, data) for kind, data in stream_events()))
    else:
        connection.reply(plain_body())
