"""The HTTP client: one request in, one :class:`~rejoinder.model.exchange.Exchange` out, whatever the server does.

It stays below ``httpx.AsyncClient`` and drives a transport directly, because a client that keeps cookies, prepares
redirects or decodes bodies acts on what an endpoint says, and a judge must only write it down.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import ssl
import time
import urllib.request
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import httpx

from rejoinder.budgets import CHECK, INPUT_CERTIFICATES, SUSPENSION_LIMIT, ReplyBudget, ReplyMeter
from rejoinder.errors import UsageError
from rejoinder.input_file import check_file
from rejoinder.model.exchange import (
    NO_CONNECTION,
    NO_HANDSHAKE,
    SLOW_READS,
    Arrivals,
    Chunks,
    Exchange,
    Headers,
    Outcome,
    Request,
    parse_json,
)
from rejoinder.wire.address import LOCAL_ERRORS, is_loopback
from rejoinder.wire.headers import check_key, merge_headers, request_headers
from rejoinder.wire.redact import query_secrets, shown_url
from rejoinder.wire.request_options import RequestOptions

_BEAT: Final = 0.5
"""Seconds between two beats of a client's heart."""
_IDLE: Final = 0.1
"""The share of processor time below which a process did not run."""


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """Limits and habits of a client. Times are seconds, sizes bytes.

    ``connect``: for the TCP connection and again for the TLS handshake. ``idle``: longest wait for the next byte, and
    for the server to take the next byte of the request. ``total``: whole exchange, connecting included; a request's own
    ``deadline`` replaces it. ``budget``: what is read of a reply; a request's own ``read_limit`` is a further limit.
    ``headers``: sent with every request. ``verify``: how TLS certificates are checked;
    ``True`` is the system's or certifi's authorities, or those that ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` name.
    ``request``: what a user adds to every request; of its fields the client uses headers and TLS files.
    """

    connect: float = 10.0
    idle: float = 120.0
    total: float = 600.0
    budget: ReplyBudget = CHECK
    headers: Headers = ()
    verify: bool | ssl.SSLContext = True
    request: RequestOptions = field(default_factory=RequestOptions)


class Client:
    """An asynchronous HTTP/1.1 client for one origin that records everything and interprets nothing.

    ``Client(url, *, key=None, second_key=None, options=ClientOptions(), on_exchange=None, transport=None)``: of ``url``
    only scheme, host and port count. ``key`` is sent as ``Authorization: Bearer``, or in the header that
    ``options.request`` names, and never recorded, no more than ``second_key``, which single requests may carry instead.
    ``transport`` replaces the network (an ``httpx.ASGITransport``, for example). Raises :class:`UsageError` for a key
    that no header can carry.

    Every request opens a connection of its own, so no request goes to one that the server closed while it was idle.
    Compression is not asked for, cookies are not kept and redirects are not followed, so a key never goes to another
    host. Proxies named by the environment are used, except for loopback addresses.

    ``on_exchange`` is called with every exchange exactly once, before :meth:`send` returns or is cancelled. There are
    two ways to end early. :meth:`stop` is the clean one: requests in flight return at once with the outcome
    ``cancelled`` and what had arrived. Cancelling the task that awaits :meth:`send` raises ``CancelledError`` there as
    usual; what had arrived then goes to ``on_exchange`` only.

    ``proxy`` is the address of the proxy in use, without credentials, or empty. ``suspensions`` is how often this
    process was suspended while requests were in flight, and ``unopened`` how many requests found no file or port of
    this machine left for a connection. Those, and requests in flight that did not end as they should, have the outcome
    ``cancelled``, since that says nothing of the endpoint.

    Use it as an asynchronous context manager, or call :meth:`aclose`. It belongs to one event loop.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        second_key: str | None = None,
        options: ClientOptions | None = None,
        on_exchange: Callable[[Exchange], None] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        try:
            self._base = httpx.URL(url).copy_with(userinfo=b"", raw_path=b"/", fragment=None)
        except httpx.InvalidURL as error:
            raise UsageError(f'"{url}" is not a valid URL: {error}.', "Write it as http://localhost:8000.") from error
        self._host = self._base.netloc.decode("ascii")
        self.options = options or ClientOptions()
        check_key(key)
        check_key(second_key, "second key")
        self._key = key or None
        extra = self.options.request
        self._headers = (*self.options.headers, *extra.headers, *extra.secret_headers)
        self._on_exchange = on_exchange
        proxy = "" if transport else _proxy(self._base)
        self._redact = extra.redactor(key, second_key, *query_secrets(url), _password(proxy))
        self._transport = transport or _transport(self._base.scheme, proxy, self.options)
        self.proxy = str(httpx.URL(proxy).copy_with(userinfo=b"")) if proxy else ""
        self._timers: set[asyncio.Timeout] = set()
        self._stopped = ""
        self._heart = _Heart()
        self.unopened = 0

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that are still open."""
        await self._transport.aclose()

    @property
    def suspensions(self) -> int:
        """How often this process was suspended while requests were in flight."""
        return self._heart.suspensions

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called."""
        return bool(self._stopped)

    def stop(self, reason: str = "the run was interrupted") -> None:
        """End every request in flight, and every later one before it begins, with the outcome ``cancelled``.

        ``reason`` becomes part of their ``detail``. Call it in the thread of the event loop (a signal handler added to
        the loop is fine).
        """
        self._stopped = self._stopped or reason
        for timer in self._timers:
            if not timer.expired():
                timer.reschedule(0)

    async def send(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Iterable[tuple[str, str | None]] = (),
        id: str,
        case: str = "",
        role: str = "",
        tags: Iterable[str] = (),
        deadline: float | None = None,
        read_limit: int | None = None,
        weight: int | None = None,
        budget: ReplyBudget | None = None,
        pace: float = 0.0,
    ) -> Exchange:
        """Send one request and return what came back; no behaviour of network or server raises.

        ``path`` is absolute, with its query. ``body`` is sent exactly when it is ``bytes``; ``None`` sends no body; any
        other value is sent as compact JSON (see :func:`encode_json`). ``headers`` come on top of the client's own: a
        name given here replaces all of its values there, and ``None`` as value takes it out.
        ``deadline`` (seconds) and ``budget`` replace ``options.total`` and ``options.budget``. ``read_limit`` (bytes)
        is a further limit of the body. ``weight`` is what the caller has left for the reply; a reply that is cut
        because this is less than the ``weight`` of the budget has the outcome ``cancelled``. ``pace`` is how many
        seconds a slow reader lets pass after each of its first ``SLOW_READS`` reads. ``id``, ``case``, ``role`` and
        ``tags`` are copied to the exchange.

        Times in the exchange count from the first byte of the request, after the connection stands; when no connection
        came about, from the call. ``Accept`` is ``text/event-stream`` when the body asks for a stream, else
        ``application/json``. Raises ``ValueError`` only for a request that cannot be written down: a value that is not
        JSON, a header with a line break.
        """
        content = b"" if body is None else body if isinstance(body, bytes) else encode_json(body)
        budget = self.options.budget if budget is None else budget
        short = weight is not None and weight < budget.weight
        body_limit = budget.body if read_limit is None else min(read_limit, budget.body)
        least = budget.weight if weight is None or not short else weight
        progress = _Progress(ReplyMeter(replace(budget, body=body_limit, weight=least)), budget.head)
        request = self._request(method, path, body, content, headers, progress)
        outcome, detail = Outcome.COMPLETE, ""
        suspensions = self.suspensions
        timer = asyncio.timeout(self.options.total if deadline is None else deadline)
        try:
            if self._stopped:
                outcome, detail = Outcome.CANCELLED, f"The request was not sent: {self._stopped}."
            else:
                async with timer:
                    self._timers.add(timer)
                    with self._heart:
                        await self._run(request, progress, pace)
                if progress.meter.exceeded:
                    cut = progress.meter.cut
                    detail = f"{cut[0].upper()}{cut[1:]}."
                    outcome = Outcome.CANCELLED if short and progress.meter.overweight else Outcome.TOO_LARGE
        except asyncio.CancelledError:
            outcome, detail = Outcome.CANCELLED, f"The request was cancelled {progress.where()}."
            raise
        except TimeoutError:
            if self._stopped:
                outcome, detail = Outcome.CANCELLED, f"The request was stopped {progress.where()}: {self._stopped}."
            else:
                seconds = self.options.total if deadline is None else deadline
                outcome, detail = (
                    Outcome.TIMEOUT,
                    f"The response did not end within {seconds:g} s ({progress.where()}).",
                )
        except Exception as error:
            outcome, detail = _diagnose(error, progress, self.options, self._host)
            self.unopened += outcome is Outcome.CANCELLED
        finally:
            self._timers.discard(timer)
            ended = time.perf_counter()
            if self.suspensions != suspensions and outcome not in (Outcome.COMPLETE, Outcome.TOO_LARGE):
                outcome = Outcome.CANCELLED
                detail = f"rejoinder was suspended for {self._heart.seconds:.1f} s {progress.where()}."
            exchange = Exchange(
                id=id,
                request=Request(
                    method=method,
                    path=shown_url(self._redact.text(path)),
                    headers=self._redact.headers(_decode(request.headers.raw)),
                    body=self._redact.data(content),
                ),
                outcome=outcome,
                status=progress.status,
                headers=self._redact.headers(progress.headers),
                chunks=self._redact.chunks(progress.chunks()),
                case=case,
                role=role,
                tags=tuple(tags),
                started_at=progress.started_at,
                headers_at=progress.headers_at,
                ended_at=ended - progress.began,
                detail=self._redact.text(detail),
            )
            if self._on_exchange is not None:
                self._on_exchange(exchange)
        return exchange

    def _request(
        self,
        method: str,
        path: str,
        body: Any,
        content: bytes,
        headers: Iterable[tuple[str, str | None]],
        progress: _Progress,
    ) -> httpx.Request:
        value = parse_json(body) if isinstance(body, bytes) else body
        streams = isinstance(value, Mapping) and value.get("stream") is True
        accept = "text/event-stream" if streams else "application/json"
        name = self.options.request.key_header
        merged = request_headers(accept=accept, key=self._key, body=body is not None, key_name=name)
        merged = merge_headers(merge_headers(merged, self._headers), headers)
        for header, text in merged:
            if not header or any(char in "\r\n\0" for char in header + text):
                raise ValueError(f"the header {header!r} cannot be sent")
        idle = self.options.idle
        try:
            url = self._base.copy_with(raw_path=path.encode("latin-1"))
        except httpx.InvalidURL as error:
            raise ValueError(f"the path {path!r} cannot be sent: {error}") from error
        return httpx.Request(
            method,
            url,
            headers=[(name.encode("ascii"), text.encode("latin-1")) for name, text in merged],
            content=content if body is not None else None,
            extensions={
                "timeout": {"connect": self.options.connect, "read": idle, "write": idle, "pool": None},
                "trace": progress.trace,
            },
        )

    async def _run(self, request: httpx.Request, progress: _Progress, pace: float) -> None:
        response = await self._transport.handle_async_request(request)
        try:
            progress.status = response.status_code
            progress.headers = _decode(response.headers.raw)
            if progress.headers_at is None:
                progress.headers_at = progress.now()
            progress.phase = "body"
            stream = response.stream
            assert isinstance(stream, httpx.AsyncByteStream)
            parts = stream.__aiter__()
            reads = 0
            try:
                async for data in parts:
                    if not progress.take(data):
                        return
                    reads += 1
                    if pace and reads <= SLOW_READS:
                        await asyncio.sleep(pace)
            finally:
                if hasattr(parts, "aclose"):
                    await parts.aclose()
        finally:
            await response.aclose()


class _Heart:
    """Beats while requests are in flight, to notice that this process was suspended: stopped, or without a CPU.

    ``suspensions`` is how often it was, ``seconds`` how long the last time. Own work that blocks the event loop takes
    processor time, and is none.
    """

    def __init__(self) -> None:
        self.suspensions = 0
        self.seconds = 0.0
        self._users = 0
        self._last = self._cpu = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        self._users += 1
        if self._users == 1:
            self._last, self._cpu = time.monotonic(), time.process_time()
            self._wait()

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users and self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_BEAT, self._beat)

    def _beat(self) -> None:
        # Its time is up before that of any request that timed out meanwhile, so it is called first.
        now, cpu = time.monotonic(), time.process_time()
        gap = now - self._last
        if gap > SUSPENSION_LIMIT and cpu - self._cpu < _IDLE * gap:
            self.suspensions += 1
            self.seconds = gap
        self._last, self._cpu = now, cpu
        self._wait()


def encode_json(value: Any) -> bytes:
    """Return the value as compact ASCII JSON text.

    Every character outside ASCII is escaped, so lone surrogates survive. Raises ``ValueError`` for NaN, infinities
    and values that are not JSON or are nested too deeply to be written.
    """
    try:
        return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not a JSON value: {error}") from error


class _EndlessHeadError(Exception):
    """The interim (1xx) responses take more bytes than are read of them."""


@dataclass(slots=True)
class _Progress:
    """What is known of an exchange while it runs."""

    meter: ReplyMeter
    head_limit: int
    head: int = 0
    began: float = field(default_factory=time.perf_counter)
    started_at: float = field(default_factory=time.time)
    phase: str = "connect"
    status: int | None = None
    headers: Headers = ()
    headers_at: float | None = None
    body: bytearray = field(default_factory=bytearray)
    times: array[float] = field(default_factory=lambda: array("d"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))

    def now(self) -> float:
        return time.perf_counter() - self.began

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Follow the connection's own events, which alone tell when the request's first byte is written."""
        if event.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._limit_head(info["return_value"])
        elif event.endswith("start_tls.started"):
            self.phase = "tls"
        elif event.endswith("send_request_headers.started"):
            self.phase = "request"
            self.began, self.started_at = time.perf_counter(), time.time()
        elif event.endswith("receive_response_headers.started"):
            self.phase = "headers"
        elif event.endswith("receive_response_headers.complete"):
            self.headers_at = self.now()

    def _limit_head(self, stream: Any) -> None:
        """Let reads of a connection fail once interim (1xx) responses are over the budget of headers.

        h11 limits each head, so what comes before a body and is longer than two of them has interim responses.
        """
        read = stream.read

        async def limited(*args: Any, **kwargs: Any) -> bytes:
            if self.phase == "headers" and self.head > 2 * self.head_limit:
                raise _EndlessHeadError
            data: bytes = await read(*args, **kwargs)
            self.head += len(data) if self.phase == "headers" else 0
            return data

        stream.read = limited

    def take(self, data: bytes) -> bool:
        """Keep bytes up to the budget; return whether there is room for more."""
        kept = self.meter.take(data)
        if kept:
            self.body += kept
            self.times.append(self.now())
            self.sizes.append(len(kept))
        return not self.meter.exceeded

    def chunks(self) -> Chunks:
        """Return what was kept of the body."""
        return Chunks.of(bytes(self.body), Arrivals.of(self.times, self.sizes))

    def where(self) -> str:
        """Return how far the exchange had come, in a few words."""
        return {
            "connect": "while connecting",
            "tls": "during the TLS handshake",
            "request": "while sending the request",
            "headers": "before the response began",
        }.get(self.phase, f"after {self.meter.size:,} bytes of the response body")


def _diagnose(error: Exception, progress: _Progress, options: ClientOptions, host: str) -> tuple[Outcome, str]:
    """Return how the transport ended and a sentence that says so."""
    causes = list(_causes(error))
    tls = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), None)
    where = progress.where()
    if isinstance(error, httpx.ConnectTimeout):
        what = NO_HANDSHAKE if progress.phase == "tls" else NO_CONNECTION
        return Outcome.TIMEOUT, f"{what} with {host} within {options.connect:g} s."
    if isinstance(error, httpx.TimeoutException):
        what = "accepted" if isinstance(error, httpx.WriteTimeout) else "sent"
        return Outcome.TIMEOUT, f"{host} {what} no data for {options.idle:g} s ({where})."
    refused = tls is not None and progress.status is None and _HANDSHAKE_ALERT.search(tls.reason or "")
    if progress.phase == "tls" or refused:
        return Outcome.TLS, f"The TLS handshake with {host} failed: {_tls_text(tls)}."
    if isinstance(error, _EndlessHeadError):
        text = f"The interim responses are longer than {options.budget.head:,} bytes: rejoinder stopped reading."
        return Outcome.TOO_LARGE, text
    short = next((cause for cause in causes if isinstance(cause, OSError) and cause.errno in LOCAL_ERRORS), None)
    if short is not None and progress.phase == "connect":
        return (
            Outcome.CANCELLED,
            f"rejoinder could not open a connection: {_short((short.strerror or str(short)).lower())}.",
        )
    if isinstance(error, (httpx.ConnectError, httpx.ProxyError, httpx.UnsupportedProtocol)):
        return Outcome.REFUSED, f"Cannot connect to {host}: {_connect_text(error, causes)}."
    if isinstance(error, httpx.RemoteProtocolError):
        text = str(error)
        if text.startswith("Server disconnected"):
            return Outcome.CUT, f"{host} closed the connection without a response."
        if text.startswith("peer closed connection"):
            return Outcome.CUT, f"{host} closed the connection {where}, so the response is incomplete."
        if text == "Receive buffer too long":  # the one limit that h11 has
            part, size = ("trailers", options.budget.trailers) if progress.status else ("headers", options.budget.head)
            return Outcome.TOO_LARGE, f"The response {part} are longer than {size:,} bytes: rejoinder stopped reading."
        if "_SWITCH_" in text:
            return Outcome.PROTOCOL, f"{host} switched to another protocol, which rejoinder did not request."
        if "\\x15\\x03" in text:
            return Outcome.PROTOCOL, f"{host} answered a plain HTTP request with TLS."
        return Outcome.PROTOCOL, f"{host} sent invalid HTTP {where}: {_short(text)}."
    if isinstance(error, (httpx.NetworkError, ssl.SSLError, OSError)):
        return Outcome.CUT, f"The connection to {host} broke {where}{_reason(causes)}."
    return Outcome.PROTOCOL, f"The exchange with {host} failed {where}: {type(error).__name__}: {_short(str(error))}."


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and everything that led to it, members of groups included."""
    todo, seen = [error], set()
    while todo:
        error = todo.pop(0)
        if id(error) in seen:
            continue
        seen.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            todo.extend(error.exceptions)
        todo.extend(cause for cause in (error.__cause__, error.__context__) if cause is not None)


def _connect_text(error: Exception, causes: list[BaseException]) -> str:
    if any(isinstance(cause, (socket.gaierror, UnicodeError)) for cause in causes):
        return "unknown host name"
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return "connection refused"
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            # asyncio puts the address into the reason.
            if cause.errno is not None and cause.strerror.startswith("Connect call failed"):
                return _short(os.strerror(cause.errno).lower())
            return _short(cause.strerror.lower())
    return _short(str(error) or type(error).__name__)


def _tls_text(error: ssl.SSLError | None) -> str:
    if error is None or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return "the connection was closed"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"invalid certificate ({_short(error.verify_message or str(error)).rstrip('.')})"
    if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG", "HTTP_REQUEST"):
        return "the port does not speak TLS"
    return _short((error.reason or str(error)).replace("_", " ").lower())


def _reason(causes: list[BaseException]) -> str:
    for cause in causes:
        if isinstance(cause, OSError) and cause.strerror:
            return f" ({_short(cause.strerror.lower())})"
    return ""


_HANDSHAKE_ALERT: Final = re.compile(r"CERTIFICATE|UNKNOWN_CA|HANDSHAKE|ACCESS_DENIED|DECRYPT_ERROR")
"""Alerts with which a server refuses a handshake of TLS 1.3 after the client's part of it is done."""

_INTERNALS: Final = re.compile(r"""bytearray\(b(["'].*?["'])\)|\s*\(\s*_?ssl\.c:\d+\)""")
"""What messages of h11 and OpenSSL show of Python: the type of a value (its text is kept), a line of source."""


def _short(text: str) -> str:
    """Return a library's message, cut and on one line, fit for a sentence of ours."""
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    text = _INTERNALS.sub(lambda m: m[1] or "", text)
    return (text if len(text) <= 200 else text[:200] + "…").rstrip(".")


def _decode(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw)


def _proxy(base: httpx.URL) -> str:
    """Return the proxy that the environment names for this origin; empty for none, and for this machine itself."""
    if is_loopback(base.host) or urllib.request.proxy_bypass(base.netloc.decode("ascii")):
        return ""
    proxies = urllib.request.getproxies()
    proxy = proxies.get(base.scheme) or proxies.get("all") or ""
    return f"http://{proxy}" if proxy and "://" not in proxy else proxy


def _password(proxy: str) -> str:
    """Return the password in the address of a proxy, which passes it on if it is broken; empty for none."""
    with contextlib.suppress(httpx.InvalidURL):
        return httpx.URL(proxy).password
    return ""


def _trust(scheme: str, options: ClientOptions) -> bool | ssl.SSLContext:
    """Return how certificates are checked; raises :class:`UsageError` for a file of the environment without any."""
    verify = options.request.tls_context() or options.verify
    if verify is not True:
        return verify
    if scheme != "https":  # nothing is encrypted, so no certificates are read
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file = os.environ.get("SSL_CERT_FILE", "")
    try:
        if file:
            check_file(file, INPUT_CERTIFICATES)
        return httpx.create_ssl_context()
    except OSError as error:
        why = "it contains no certificate in PEM format" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(
            f"Cannot use SSL_CERT_FILE {file}: {why}.", "Name a file in PEM format, or unset it."
        ) from error


def _transport(scheme: str, proxy: str, options: ClientOptions) -> httpx.AsyncBaseTransport:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    verify = _trust(scheme, options)
    try:
        return httpx.AsyncHTTPTransport(verify=verify, limits=limits, proxy=proxy or None)
    except (ValueError, ImportError, httpx.InvalidURL) as error:
        # What is wrong with a URL may be a part of its password.
        why = "its URL is invalid" if isinstance(error, httpx.InvalidURL) and "@" in proxy else _short(str(error))
        raise UsageError(
            f"Cannot use the proxy of the environment: {why}.",
            "Set HTTP_PROXY, HTTPS_PROXY or ALL_PROXY to an http:// URL, or add the host to NO_PROXY.",
        ) from error
