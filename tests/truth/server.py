r"""A server of known truth: it answers on a schedule known to the millisecond, and keeps what it saw and did.

A behaviour is a coroutine of a :class:`Call`, registered by :func:`behaviour` with the loads that it is put under::

    @behaviour("timing", "16 tokens, the first after 50 ms, then one each 10 ms.", case("--concurrency 4"))
    async def base(call: Call) -> None:
        await call.answer()

Times are of the monotonic clock. Time zero of a request is the arrival of its last byte. One thread with one event
loop serves everything, so that the times of different requests can be compared.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from tests.truth.answers import MODEL, Answer, End, Piece, items, pieces, response_object, tokens

if TYPE_CHECKING:
    from tests.truth.expect import Case

Act = Callable[["Call"], Awaitable[None]]
Shared = TypeVar("Shared")
BACKLOG: Final = 4096


class Fate:
    """What became of a create, as the server knows it. The names are those of outcomes, or say what is left open."""

    OK: Final = "ok"
    FAILED: Final = "failed"
    INCOMPLETE: Final = "incomplete"
    NONCONFORMING: Final = "nonconforming"
    TRUNCATED: Final = "truncated"
    TRANSPORT: Final = "transport"
    HTTP_4XX: Final = "http_4xx"
    HTTP_429: Final = "http_429"
    HTTP_5XX: Final = "http_5xx"
    OPEN: Final = "open"
    """The client left before the answer ended, or the answer has no end."""


@dataclass(slots=True)
class Seen:
    """What the server saw and did with one create; times are of the clock, ``None`` where it never came to that.

    ``connected`` is when the connection was accepted whose first request this is. ``content`` has the time and the
    number of deltas of each write that carried content. ``end`` is the terminal event, or the end of a plain body;
    ``gone`` is when the client left, or the server broke the connection. ``served`` is when work on it
    began, and ``would_end`` the end by the schedule.
    """

    number: int
    at: float
    body: dict[str, Any]
    connected: float | None = None
    fate: str = Fate.OPEN
    head: float | None = None
    event: float | None = None
    output: float | None = None
    end: float | None = None
    gone: float | None = None
    would_end: float | None = None
    served: float | None = None
    content: list[tuple[float, int]] = field(default_factory=list)
    answer: Answer | None = None
    is_response: bool = True
    """Whether what was sent is a response at all, not an error or an empty body."""
    stays_open: bool = False
    """Whether the body has no end, so that it is over only when the client leaves."""

    @property
    def over(self) -> float | None:
        """When the server was done with it, in one way or another."""
        ends = [at for at in (None if self.stays_open else self.end, self.gone) if at is not None]
        return min(ends) if ends else None


class Call:
    """One create, and everything that a behaviour can do with it."""

    def __init__(self, server: TruthServer, connection: _Connection, seen: Seen) -> None:
        self.server, self.connection, self.seen = server, connection, seen
        self.number, self.at, self.body = seen.number, seen.at, seen.body
        self.base = seen.at
        """Time zero of the schedule; a behaviour moves it where an answer begins late."""

    @property
    def since_start(self) -> float:
        """Seconds from the first create of this server to this one."""
        return self.at - self.server.seen[0].at

    def shared(self, make: Callable[[], Shared]) -> Shared:
        """Return the one object of this server that the behaviour's calls share; the first call makes it."""
        return self.server.share(make)

    async def until(self, offset: float) -> None:
        """Wait until an offset of the schedule."""
        await _sleep_until(self.base + offset)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.connection.transport.write(data)

    def head(self, status: int = 200, *headers: str, chunked: bool = True, kind: str = "text/event-stream") -> None:
        """Send status line and headers; without ``chunked`` the body ends with the connection, or as a header says."""
        lines = [f"HTTP/1.1 {status} X", f"Content-Type: {kind}", *headers]
        lines += ["Transfer-Encoding: chunked"] if chunked else []
        self.write("\r\n".join([*lines, "", ""]).encode())
        self.seen.head = time.monotonic()

    def reply(self, status: int, value: dict[str, Any], *headers: str, fate: str | None = None) -> None:
        """Send a whole JSON reply."""
        data = json.dumps(value).encode()
        lines = [f"HTTP/1.1 {status} X", "Content-Type: application/json", f"Content-Length: {len(data)}", *headers]
        self.write("\r\n".join([*lines, "", ""]).encode() + data)
        self.seen.head = self.seen.end = time.monotonic()
        self.seen.fate = fate or Fate.OK
        self.seen.is_response = value.get("object") == "response"

    def refuse(self, status: int, *headers: str, fate: str = "") -> None:
        """Send an error of the API."""
        error = {"message": "The planned refusal.", "type": "server_error", "param": None, "code": None}
        known = Fate.HTTP_429 if status == 429 else Fate.HTTP_5XX if status >= 500 else Fate.HTTP_4XX
        self.reply(status, {"error": error}, *headers, fate=fate or known)

    def close(self, fate: str | None = None) -> None:
        """Close the connection in order (FIN), after everything that was sent."""
        self._leave(fate)
        self.connection.transport.close()

    def reset(self, fate: str | None = Fate.TRANSPORT) -> None:
        """Break the connection (RST)."""
        self._leave(fate)
        sock: socket.socket = self.connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.transport.abort()

    def _leave(self, fate: str | None) -> None:
        if fate is not None:
            self.seen.fate = fate
            self.seen.gone = time.monotonic()

    async def hang(self) -> None:
        """Send nothing more."""
        await asyncio.Event().wait()

    async def answer(
        self,
        answer: Answer | None = None,
        *,
        fate: str | None = None,
        framing: Callable[[bytes], bytes] = bytes,
        whole: bool = False,
        most: int | None = None,
        ended: bool = True,
        headers: Iterable[str] = (),
        chunked: bool = True,
    ) -> None:
        """Send an answer on its schedule: an event stream, or one JSON body where the request wants that.

        ``framing`` is applied to the bytes of each write. ``whole`` sends everything at the time of the terminal event.
        ``most`` is how many deltas are sent; nothing follows them then. Without ``ended`` the body stays open.
        """
        answer = answer or Answer()
        self.seen.answer = answer
        self.seen.served = self.base
        self.seen.would_end = self.base + answer.done_at
        await self.until(answer.head)
        if self.body.get("background"):
            self.reply(200, response_object(self.body, answer, "queued", [], number=self.number))
            self.seen.end = self.seen.would_end
            return
        if not self.body.get("stream"):
            await self.until(answer.done_at)
            self.reply(200, response_object(self.body, answer, answer.end.status, items(answer), number=self.number))
            return
        found = pieces(answer, self.body, self.number)
        if most is not None:
            found = found[: _place_after(found, most)]
        if whole:
            found = [Piece(answer.done_at, piece.data, piece.marks) for piece in found]
            await self.until(answer.done_at)
        self.head(200, *headers, chunked=chunked)
        await self.play(found, framing=framing, chunked=chunked)
        if most is not None:
            return
        ends = {End.FAILED: Fate.FAILED, End.ERROR: Fate.FAILED, End.CUT_BY_FILTER: Fate.INCOMPLETE}
        self.seen.fate = fate or ends.get(answer.end, Fate.OK)
        if ended and chunked:
            self.write(b"0\r\n\r\n")

    async def play(
        self, found: Iterable[Piece], *, framing: Callable[[bytes], bytes] = bytes, chunked: bool = True
    ) -> None:
        """Send pieces when they are due, those of one time in one write."""
        for at, group in itertools.groupby(found, key=lambda piece: piece.at):
            await self.until(at)
            self.server.lateness.append(time.monotonic() - self.base - at)
            due = list(group)
            data = framing(b"".join(piece.data for piece in due))
            self.write(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
            self.note([mark for piece in due for mark in piece.marks])

    def note(self, marks: list[str]) -> None:
        """Keep that what the marks say was sent just now."""
        now, seen = time.monotonic(), self.seen
        if "event" in marks and seen.event is None:
            seen.event = now
        if count := marks.count("content"):
            seen.content.append((now, count))
        if "output" in marks and seen.output is None:
            seen.output = now
        if "end" in marks and seen.end is None:
            seen.end = now


def _place_after(found: list[Piece], deltas: int) -> int:
    """Return the number of pieces up to a delta."""
    places = [number for number, piece in enumerate(found, 1) if "content" in piece.marks]
    return places[deltas - 1] if deltas else 1


async def _sleep_until(at: float) -> None:
    delay = at - time.monotonic()
    if delay > 0:
        await asyncio.sleep(delay)


class _Connection(asyncio.Protocol):
    """One connection: reads requests, and lets the behaviour answer them one after the other."""

    transport: asyncio.Transport

    def __init__(self, server: TruthServer) -> None:
        self.server = server
        self.received = b""
        self.task: asyncio.Task[None] | None = None
        self.accepted: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        # asyncio sets it for sockets only that name their protocol, which accepted ones do not.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.accepted = time.monotonic()
        self.server.connections += 1

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, blank, rest = self.received.partition(b"\r\n\r\n")
        if not blank:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(rest) < size:
            return
        self.received = rest[size:]
        method, path, _ = first.split(" ", 2)
        self.task = self.server.start(self.server.handle(self, method, path.partition("?")[0], rest[:size]))

    def connection_lost(self, error: Exception | None) -> None:
        if self.task is not None:
            self.task.cancel()


@dataclass(frozen=True)
class Behaviour:
    """One way to answer; ``group`` and ``about`` are for people, ``cases`` are the loads that it is put under.

    With ``slow_accept`` connections are accepted one at a time, each after so many seconds.
    """

    name: str
    group: str
    about: str
    act: Act
    cases: tuple[Case, ...]
    slow_accept: float = 0.0


BEHAVIOURS: Final[dict[str, Behaviour]] = {}
"""All behaviours that were registered, by name."""


def behaviour(group: str, about: str, *cases: Case, slow_accept: float = 0.0) -> Callable[[Act], Behaviour]:
    """Register a coroutine as the behaviour of its name; the arguments are those of :class:`Behaviour`."""

    def register(act: Act) -> Behaviour:
        name: str = act.__name__
        assert name not in BEHAVIOURS, name
        BEHAVIOURS[name] = found = Behaviour(name, group, about, act, cases, slow_accept=slow_accept)
        return found

    return register


class TruthServer:
    """A server on loopback with one behaviour, as a context manager. ``seen`` has its creates in order.

    The first ``spares`` creates, those by which a client looks whether the endpoint is there, get a sound plain answer
    and are not counted.
    """

    def __init__(self, behaviour: Behaviour, *, spares: int = 1) -> None:
        self.behaviour = behaviour
        self.spares = spares
        self.seen: list[Seen] = []
        self.connections = 0
        self._shared: Any = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.url = ""
        self._stop = asyncio.Event()
        self.errors: list[str] = []
        self.lateness: list[float] = []
        """By how many seconds each write was later than its schedule."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=0 if self.behaviour.slow_accept else BACKLOG)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        if self.behaviour.slow_accept:
            self.start(self._accept_slowly(self.behaviour.slow_accept))
            await self._stop.wait()
        else:
            self._listening = await self._loop.create_server(lambda: _Connection(self), sock=self._socket)
            await self._stop.wait()
            self._listening.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept_slowly(self, seconds: float) -> None:
        """Accept one connection at a time, each after a while."""
        self._socket.setblocking(False)
        while True:
            sock, _ = await self._loop.sock_accept(self._socket)
            await asyncio.sleep(seconds)
            await self._loop.connect_accepted_socket(lambda: _Connection(self), sock)

    def refuse_connections(self) -> None:
        """Accept nobody any more."""
        self._listening.close()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine until it ends or the server does."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def share(self, make: Callable[[], Shared]) -> Shared:
        """Return the one object that the calls share."""
        if self._shared is None:
            self._shared = make()
        found: Shared = self._shared
        return found

    def _poll(self, call: Call, number: int) -> None:
        """Answer a request for a response in the background."""
        seen = self.seen[number]
        assert seen.answer is not None
        assert seen.end is not None
        status, output = ("completed", items(seen.answer)) if time.monotonic() >= seen.end else ("in_progress", [])
        call.reply(200, response_object(seen.body, seen.answer, status, output, number=number))

    async def handle(self, connection: _Connection, method: str, path: str, body: bytes) -> None:
        """Answer one request."""
        call = Call(self, connection, Seen(-1, time.monotonic(), {}))
        if method == "GET" and path.endswith("/models"):
            call.reply(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "owned_by": MODEL}]})
            return
        if method == "GET" and path.endswith("/health"):
            call.reply(200, {})
            return
        if method == "GET" and path.rpartition("/")[2].removeprefix("resp_").isdigit():
            self._poll(call, int(path.rpartition("_")[2]))
            return
        if method != "POST" or not path.endswith("/responses"):
            call.refuse(404)
            return
        if self.spares:
            self.spares -= 1
            known = Answer(tokens(1))
            call.reply(200, response_object(json.loads(body), known, "completed", items(known)))
            return
        seen = Seen(len(self.seen), time.monotonic(), json.loads(body), connection.accepted)
        connection.accepted = None
        self.seen.append(seen)
        try:
            await self.behaviour.act(Call(self, connection, seen))
        except asyncio.CancelledError:
            if seen.gone is None and not self._stop.is_set():
                seen.gone = time.monotonic()
            raise
        except Exception as error:
            self.errors.append(repr(error))
            connection.transport.abort()
            raise
