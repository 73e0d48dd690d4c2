"""A streaming HTTP/1.1 client that does as little as it can while it measures.

Between two receives of a stream there are a clock reading, an append and a look at the last bytes. It uses the
standard ``socket`` and ``ssl`` modules: in a Locust process gevent has replaced both with its cooperative versions,
elsewhere they block their thread. One connection carries one request at a time and is kept open for the next.
Proxies, redirects and content codings are not followed; a load test measures the address it was given.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from time import perf_counter_ns, time
from typing import Any, Final, NamedTuple

from rejoinder.budgets import LOAD, LOAD_LONG, LOAD_STREAM
from rejoinder.load.measure.recording import (
    RECEIVE,
    FramingError,
    MessageEnd,
    Opening,
    OverBudgetError,
    Receives,
    final_response,
)
from rejoinder.model.exchange import Headers, Outcome
from rejoinder.wire.address import LOCAL_ERRORS, Address

RECEIVE_BYTES: Final = 64 * 1024
CLOSED_FIRST: Final = 2
CLOSED_SOON: Final = 1.0


class Censored(BaseException):
    """Thrown into a request that is still in flight when the run ends. Not an ``Exception``: nothing may catch it."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds: to connect to an address and for TLS, between two receives, and for a whole request.

    ``body_end`` is how long a stream that has had its terminal event may stay open. That is the limit of rule SSE-10.
    """

    connect: float = 10.0
    idle: float = 60.0
    total: float = 600.0
    body_end: float = 10.0

    @property
    def after_total(self) -> str:
        """What happened to a request that took too long as a whole."""
        return f"did not end within {self.total:g} s"

    @property
    def after_idle(self) -> str:
        """What happened to a request on which nothing came."""
        return f"received nothing for {self.idle:g} s"

    @property
    def after_end(self) -> str:
        """What happened to a stream that stayed open."""
        return f"the stream stayed open for {self.body_end:g} s after its terminal event"


@dataclass(slots=True)
class RawReply:
    """What one request brought. Times are readings of ``time.perf_counter_ns``.

    ``begun`` is when the client began the request, before it opened a connection; ``wall`` is Unix time then. ``sent``
    is when the first byte was written, 0 if none was. ``opening`` has the times of a connection that it opened.
    ``interrupt`` is the exception that ended the request from outside; the caller raises it again once the
    reception is safe. ``cancelled``: it was given up on purpose. ``unopened``: this machine had no file or port left
    for a connection.
    """

    begun: int = 0
    sent: int = 0
    ended: int = 0
    wall: float = 0.0
    opening: Opening | None = None
    outcome: Outcome = Outcome.COMPLETE
    detail: str = ""
    reused: bool = False
    receives: Receives = field(default_factory=Receives)
    interrupt: BaseException | None = None
    cancelled: bool = False
    unopened: bool = False

    @property
    def unanswered(self) -> bool:
        """Whether the connection was lost before a byte of the response."""
        return self.outcome is Outcome.CUT and not self.receives


class Message(NamedTuple):
    """A request as it is sent."""

    head: bytes
    body: bytes


class Watchdog:
    """Ends requests that take too long, for many connections at once.

    A time-out on every receive costs gevent a timer each, about a tenth of all the work of reading a stream. The
    sharers of a watchdog call :meth:`check` now and then; a limit is then kept to that precision.
    """

    def __init__(self) -> None:
        self._watched: dict[Connection, tuple[socket.socket, RawReply]] = {}
        self._looked: dict[Connection, int] = {}

    def add(self, connection: Connection, sock: socket.socket, reception: RawReply) -> None:
        """Watch a request whose connection is open."""
        self._watched[connection] = (sock, reception)

    def remove(self, connection: Connection) -> None:
        """Stop watching it."""
        self._watched.pop(connection, None)
        self._looked.pop(connection, None)

    def check(self) -> None:
        """Shut the connections of all requests that are over their limits, which ends their receives."""
        now = perf_counter_ns()
        for connection, (sock, reception) in list(self._watched.items()):
            limits = connection.timeouts
            last = reception.receives.last if reception.receives else reception.sent
            silent = (now - last) / 1e9
            if (now - reception.begun) / 1e9 >= limits.total:
                connection.expired = limits.after_total
            elif silent >= limits.idle:
                connection.expired = limits.after_idle
            elif silent >= limits.body_end and self._has_ended(connection, reception):
                connection.expired = limits.after_end
            if connection.expired:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)

    def _has_ended(self, connection: Connection, reception: RawReply) -> bool:
        """Return whether a silent reply has had its terminal event; looks once in each silence."""
        if self._looked.get(connection) == len(reception.receives):
            return False
        self._looked[connection] = len(reception.receives)
        response = final_response(reception.receives)
        return response is not None and response.get("status") not in ("queued", "in_progress")


class ReplyMemory:
    """What long replies in flight hold together in one process: the bytes of each above :data:`LOAD_STREAM`.

    ``held`` is how many there are, at most :data:`LOAD_LONG`; ``exhausted`` is whether that was ever too little.
    """

    __slots__ = ("exhausted", "held")

    def __init__(self) -> None:
        self.held = 0
        self.exhausted = False

    def take(self, size: int) -> bool:
        """Hold more bytes, if there is room for them; return whether there is."""
        if self.held + size > LOAD_LONG:
            self.exhausted = True
            return False
        self.held += size
        return True


class KeepAlive:
    """Whether the connections of one process are kept for another request.

    They are until the endpoint has closed :data:`CLOSED_FIRST` of them within :data:`CLOSED_SOON` seconds of a response
    that did not announce it, and no kept connection has carried a second response. A request that meets such a close
    on its way is lost, and a new connection cannot meet one. ``unkept`` is whether that is so.
    """

    __slots__ = ("_closed", "_served", "unkept")

    def __init__(self) -> None:
        self.unkept = False
        self._closed = 0
        self._served = False

    def closed(self, idle: float) -> None:
        """Note that the endpoint closed a kept connection ``idle`` seconds after its last response."""
        self._closed += idle <= CLOSED_SOON
        self.unkept = self.unkept or (not self._served and self._closed >= CLOSED_FIRST)

    def served(self) -> None:
        """Note that a kept connection carried another response."""
        self._served = True


class Connection:
    """One connection to a target, opened when needed and reopened when the server closed it.

    Limits are kept by ``watchdog`` if there is one, else by the socket's own time-out. ``buffer`` is where receives go
    before they are copied; connections whose receives cannot interrupt each other, such as those of greenlets, share
    one. (Receives into an object of their own size make thousands of holes in the memory of many streams.) ``memory``
    is what long replies hold, of all connections that share it. ``keep_alive`` says whether they are kept, likewise.
    """

    __slots__ = (
        "_buffer",
        "_context",
        "_keep_alive",
        "_last",
        "_memory",
        "_socket",
        "_watchdog",
        "address",
        "cancelled",
        "expired",
        "opened",
        "timeouts",
    )

    def __init__(
        self,
        address: Address,
        timeouts: Timeouts,
        context: ssl.SSLContext | None = None,
        watchdog: Watchdog | None = None,
        buffer: memoryview | None = None,
        memory: ReplyMemory | None = None,
        keep_alive: KeepAlive | None = None,
    ) -> None:
        self.address = address
        self.timeouts = timeouts
        self.opened = 0
        self.expired = ""
        self.cancelled = False
        self._context = context
        self._watchdog = watchdog
        self._buffer = buffer
        self._memory = memory or ReplyMemory()
        self._keep_alive = keep_alive or KeepAlive()
        self._last = 0
        self._socket: socket.socket | None = None

    def perform(self, message: Message, *, into: RawReply | None = None) -> RawReply:
        """Send one request and record its reply. Never raises; whatever happens is in the reception.

        ``into`` is a reception that somebody else looks at meanwhile, and the one that is returned.

        Nothing is sent twice. A connection that is lost before a response is the outcome of its request, on a kept
        connection too: the server may have processed the request (RFC 9110, section 9.2.2).
        """
        self.cancelled = False
        reception = RawReply() if into is None else into
        reception.wall = time()
        reception.begun = perf_counter_ns()
        reused = self._alive()
        self._attempt(message, reception)
        reception.reused = reused
        if reused and reception.unanswered:
            reception.detail += " (on a connection that was kept from an earlier request)"
            self._keep_alive.closed((reception.begun - self._last) / 1e9)
        elif reused and reception.outcome is Outcome.COMPLETE:
            self._keep_alive.served()
        self._last = reception.ended
        return reception

    def cancel(self) -> None:
        """Give up the request in flight: shut the connection, which the server sees and the reception says."""
        self.cancelled = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        sock, self._socket = self._socket, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()

    def _attempt(self, message: Message, reception: RawReply) -> None:
        reusable = False
        try:
            sock = self._socket
            if sock is None:
                sock = self._socket = self._open(reception)
            if sock is not None:
                reusable = self._transfer(sock, message, reception)
        except BaseException as error:
            reception.interrupt = error
            reception.outcome = Outcome.CANCELLED
            reception.detail = "in flight when the run ended"
        finally:
            reception.ended = perf_counter_ns()
            if self.cancelled and reception.outcome is Outcome.CUT:
                reception.outcome, reception.detail = Outcome.CANCELLED, "cancelled by the workload"
                reception.cancelled = True
            if reception.outcome is Outcome.COMPLETE and reception.receives:
                reception.ended = reception.receives.last
            if not reusable or self._keep_alive.unkept:
                self.close()

    def _open(self, reception: RawReply) -> socket.socket | None:
        address = f"{self.address.host} port {self.address.port}"
        sock: socket.socket | None = None
        context = (self._context or ssl.create_default_context()) if self.address.tls else None
        took = reception.opening = Opening()
        clock = perf_counter_ns
        try:
            places = _numeric(self.address.host, self.address.port)
            began = clock()
            if not places:
                places = _looked_up(self.address.host, self.address.port)
                took = reception.opening = took._replace(dns=clock() - began)
            began = clock()
            sock = _connected(places, self.timeouts.connect)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            took = reception.opening = took._replace(connect=clock() - began)
            began = clock()
            if context is not None:
                sock = context.wrap_socket(sock, server_hostname=self.address.host)
                reception.opening = took._replace(tls=clock() - began)
            self.opened += 1
            return sock
        except TimeoutError:
            reception.outcome = Outcome.TIMEOUT
            reception.detail = f"no connection to {address} within {self.timeouts.connect:g} s"
        except (ssl.SSLError, ssl.CertificateError) as error:
            reception.outcome = Outcome.TLS
            reception.detail = f"TLS handshake with {address} failed: {getattr(error, 'reason', None) or error}"
        except OSError as error:
            reception.unopened = error.errno in LOCAL_ERRORS
            reception.outcome = Outcome.REFUSED
            reception.detail = f"no connection to {address}: {error.strerror or error}"
        except BaseException:
            if sock is not None:
                sock.close()
            raise
        if sock is not None:
            sock.close()
        return None

    def _transfer(self, sock: socket.socket, message: Message, reception: RawReply) -> bool:
        """Send, then receive to the end of the message; return whether the connection can be used again."""
        idle = self.timeouts.idle
        receives = reception.receives
        append, receive, clock = receives.append, sock.recv_into, perf_counter_ns
        buffer = self._buffer or receive_buffer()
        end = MessageEnd(receives)
        reached = end.reached
        total, own, memory = 0, LOAD_STREAM, self._memory
        sock.settimeout(min(idle, self.timeouts.total) if self._watchdog is None else None)
        reception.sent = clock()
        deadline = reception.begun + round(self.timeouts.total * 1e9)
        tight = deadline - round(idle * 1e9)
        self.expired = ""
        try:
            if self._watchdog is not None:
                self._watchdog.add(self, sock, reception)
                tight = deadline
            # A server may answer (413, 429) and close before it has read the whole body: then read what it said.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                sock.sendall(message.head + message.body)
            while True:
                size = receive(buffer)
                t = clock()
                if not size:
                    break
                data = bytes(buffer[:size])
                append(t, data)
                if reached(data):
                    return end.reusable
                total += size + RECEIVE
                if total > own:
                    whole = total > LOAD.body
                    if whole or not memory.take(total - own):
                        reception.outcome = Outcome.TOO_LARGE if whole else Outcome.CANCELLED
                        keeps = f"{LOAD.body:,} bytes of a response" if whole else f"{LOAD_LONG:,} bytes of long ones"
                        read = len(receives.data)
                        reception.detail = f"rejoinder stopped reading after {read:,} bytes: it keeps {keeps}"
                        return False
                    own = total
                if t > tight:
                    if t >= deadline:
                        raise TimeoutError
                    sock.settimeout((deadline - t) / 1e9)
            if self.expired:
                raise TimeoutError
        except OverBudgetError as error:
            reception.outcome, reception.detail = Outcome.TOO_LARGE, str(error)
            return False
        except FramingError as error:
            reception.outcome, reception.detail = Outcome.PROTOCOL, str(error)
            return False
        except OSError as error:
            if end.until_close or not _complete(end):
                # The watchdog ends a receive by shutting the connection, which shows as any sort of error.
                if self.expired or isinstance(error, TimeoutError):
                    reception.outcome = Outcome.TIMEOUT
                    whole = clock() >= deadline - 5_000_000  # timers may fire a little early
                    limits = self.timeouts
                    reception.detail = self.expired or (limits.after_total if whole else limits.after_idle)
                else:
                    reception.outcome = Outcome.CUT
                    reception.detail = f"the connection broke: {error.strerror or error}"
            return False
        finally:
            memory.held -= own - LOAD_STREAM
            if self._watchdog is not None:
                self._watchdog.remove(self)
        if not _complete(end):
            reception.outcome = Outcome.CUT
            where = "during the response" if receives else "before any response"
            reception.detail = f"the server closed the connection {where}"
        return False

    def _alive(self) -> bool:
        """Return whether the kept connection is still good; closes it when the server has."""
        if self._socket is None:
            return False
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            pass
        # Between two requests there is nothing to receive but the close, or bytes that belong to no request.
        self.close()
        self._keep_alive.closed((perf_counter_ns() - self._last) / 1e9)
        return False


def receive_buffer() -> memoryview:
    """Return a new buffer for receives."""
    return memoryview(bytearray(RECEIVE_BYTES))


_Place = tuple[int, tuple[Any, ...]]
"""An address family and an address of it."""


def _numeric(host: str, port: int) -> list[_Place]:
    """Return the address of a host in digits: it needs no resolver, for which gevent would ask a thread."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return [(family, (host, port))]
    return []


def _looked_up(host: str, port: int) -> list[_Place]:
    """Return the addresses of a host name; raises ``OSError`` where there are none."""
    return [(family, place) for family, _, _, _, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _connected(places: list[_Place], timeout: float) -> socket.socket:
    """Return a socket that is connected to the first address that accepts; raises the error of the last one."""
    failure: OSError | None = None
    for family, place in places:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout)
            sock.connect(place)
            return sock
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
    raise failure or OSError("the host name has no address")


def _complete(end: MessageEnd) -> bool:
    try:
        return end.closed()
    except FramingError:
        return False


def request_message(
    address: Address, headers: Headers, body: bytes, *, method: str = "POST", below: str = ""
) -> Message:
    """Return the bytes of a request with ``headers``, less their Content-Type where there is no body.

    ``below`` is added to the path of the create endpoint, to ask for a single response.
    """
    lines = [f"{method} {address.below(below)} HTTP/1.1", f"Host: {address.authority}"]
    lines += [f"{name}: {value}" for name, value in headers if body or name != "Content-Type"]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return Message("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", body)
