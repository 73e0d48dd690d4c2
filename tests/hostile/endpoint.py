r"""A hostile endpoint: a raw-socket server that answers each request as one behaviour of a few lines says.

A behaviour is a function of a connection and a request, registered by :func:`behaviour`::

    @behaviour("framing", "The chunk size is not a number.")
    def chunk_size_word(connection: Connection, request: HttpRequest) -> None:
        connection.head(200, ("Transfer-Encoding", "chunked"))
        connection.send(b"ten\r\n")

What a behaviour leaves alone (the model list, the first creates) is answered as a sound endpoint would; a behaviour
calls :func:`answer` for more of that. The connection is closed when the function returns.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

Act = Callable[["Connection", "HttpRequest"], None]

MODEL: Final = "hostile"
_RECEIVE: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way to treat a client badly.

    ``name`` is unique, ``group`` one of the groups that the table of the documentation has, ``cause`` one sentence on
    what is wrong. ``spares`` is how many creates are answered properly first, so that a run gets past its preflight;
    ``models`` is whether only requests for the model list are treated so.
    """

    name: str
    group: str
    cause: str
    act: Act
    spares: int = 0
    models: bool = False

    def __call__(self, connection: Connection, request: HttpRequest) -> None:
        """Answer one request."""
        if request.is_models != self.models or (request.is_create and request.number < self.spares):
            answer(connection, request)
        else:
            self.act(connection, request)


BEHAVIOURS: Final[dict[str, Behaviour]] = {}
"""All behaviours that were registered, by name."""


def behaviour(group: str, cause: str, *, spares: int = 0, models: bool = False) -> Callable[[Act], Behaviour]:
    """Register a function as the behaviour of its name; the arguments are those of :class:`Behaviour`."""

    def register(act: Act) -> Behaviour:
        name = act.__name__.replace("_", "-")
        assert name not in BEHAVIOURS, name
        BEHAVIOURS[name] = found = Behaviour(name, group, cause, act, spares, models)
        return found

    return register


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as it was read. ``number`` counts the creates (POST below ``/responses``) of this server, from 0."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    number: int

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
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

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
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


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
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
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

    def _serve(self, sock: socket.socket) -> None:
        connection = Connection(sock, self._closing)
        try:
            request = self._read(sock)
            if request is not None:
                self.behaviour(connection, request)
        except OSError:
            pass  # the client is gone, or the server is being closed
        finally:
            with self._lock:
                self._open.discard(sock)
            _close(sock)

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
            request = HttpRequest(method, path, headers, body, self._creates)
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


def event(kind: str, data: Any) -> bytes:
    """Return the bytes of one event."""
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


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
        connection.reply(json.dumps(response_object()).encode())
