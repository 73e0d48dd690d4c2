"""The client writes down whatever a server does and raises for none of it."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.budgets import CHECK
from rejoinder.errors import UsageError
from rejoinder.model.exchange import Exchange, Outcome
from rejoinder.wire.address import is_loopback
from rejoinder.wire.client import Client, ClientOptions, encode_json

if TYPE_CHECKING:
    from tests.wire.conftest import Script, ScriptedServer

# Long enough that no slow machine reaches it by accident; tests in which a limit must strike set their own.
PATIENT = ClientOptions(connect=30, idle=30, total=60)
KEY = "sk-secret-0123456789"
T = TypeVar("T")


def reply(body: bytes = b"{}", status: str = "200 OK", headers: Sequence[str] = (), length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*head, *headers, "", ""]).encode() + body


def chunked(*parts: bytes, end: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return head + body + (b"0\r\n\r\n" if end else b"")


def writes(*pieces: bytes) -> Script:
    async def script(_request: bytes, writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return script


def writes_and_hangs(*pieces: bytes) -> Script:
    async def script(_request: bytes, writer: asyncio.StreamWriter) -> None:
        await writes(*pieces)(_request, writer)
        await asyncio.Event().wait()

    return script


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def ask(
    serve: type[ScriptedServer],
    script: Script,
    *,
    server: dict[str, Any] | None = None,
    options: ClientOptions = PATIENT,
    key: str | None = None,
    method: str = "POST",
    path: str = "/v1/responses",
    body: bytes | dict[str, Any] | None = None,
    **send: Any,
) -> tuple[Exchange, bytes]:
    """Serve one scripted answer; return the exchange and the bytes of the request."""

    async def main() -> tuple[Exchange, Any]:
        async with (
            serve(script, **(server or {})) as endpoint,
            Client(endpoint.url, key=key, options=options) as client,
        ):
            exchange = await client.send(method, path, body, id="x1", **send)
            return exchange, endpoint

    exchange, endpoint = run(main())
    assert Exchange.from_json(json.loads(json.dumps(exchange.to_json()))) == exchange
    times = [exchange.headers_at, *(chunk.t for chunk in exchange.chunks), exchange.ended_at]
    known = [t for t in times if t is not None]
    assert known == sorted(known)
    assert all(t >= 0 for t in known)
    return exchange, (endpoint.requests or [b""])[0]


async def get(url: str, options: ClientOptions = PATIENT) -> Exchange:
    async with Client(url, options=options) as client:
        return await client.send("GET", "/", id="x")


def fields(request: bytes) -> dict[str, Any]:
    """Return the request's header fields, names in lower case."""
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    return {
        name.lower().decode(): value.strip().decode() for name, _, value in (line.partition(b":") for line in lines)
    }


def test_complete_json_reply(serve: type[ScriptedServer]) -> None:
    exchange, request = ask(
        serve, writes(reply(b'{"a":1}', headers=["X-Odd: one", "X-Odd: two"])), body={"input": "ü\ud800"}, tags=("t",)
    )
    assert exchange.outcome is Outcome.COMPLETE
    assert (exchange.status, exchange.json(), exchange.detail) == (200, {"a": 1}, "")
    assert [value for name, value in exchange.headers if name == "X-Odd"] == ["one", "two"]
    assert request.endswith(b'\r\n\r\n{"input":"\\u00fc\\ud800"}')
    assert exchange.request.body == b'{"input":"\\u00fc\\ud800"}'
    assert (exchange.id, exchange.tags, exchange.request.method) == ("x1", ("t",), "POST")
    assert exchange.started_at > 1e9
    assert exchange.headers_at is not None


def test_bytes_are_sent_exactly(serve: type[ScriptedServer]) -> None:
    body = b'{"stream" : tru\xff'
    exchange, request = ask(serve, writes(reply()), body=body)
    assert request.partition(b"\r\n\r\n")[2] == body == exchange.request.body


@pytest.mark.parametrize(
    ("body", "accept"),
    [
        ({"stream": True}, "text/event-stream"),
        ({"stream": False}, "application/json"),
        ({}, "application/json"),
        (b'{"stream": true}', "text/event-stream"),
        (b'{"stream": true', "application/json"),
        (None, "application/json"),
    ],
)
def test_accept_follows_the_stream_flag(
    serve: type[ScriptedServer], body: bytes | dict[str, Any] | None, accept: str
) -> None:
    sent = fields(ask(serve, writes(reply()), body=body)[1])
    assert sent["accept"] == accept
    assert sent["accept-encoding"] == "identity"
    assert sent["user-agent"].startswith("rejoinder/")
    assert ("content-type" in sent) == (body is not None)


def test_headers_replace_and_remove_defaults(serve: type[ScriptedServer]) -> None:
    options = ClientOptions(headers=(("X-Team", "a"), ("Accept", "x/y")))
    exchange, request = ask(
        serve,
        writes(reply()),
        options=options,
        key=KEY,
        body={},
        headers=[("authorization", "Bearer other-key-abc"), ("X-Team", None), ("X-New", "n")],
    )
    sent = fields(request)
    assert sent["authorization"] == "Bearer other-key-abc"
    assert sent["accept"] == "x/y"
    assert sent["x-new"] == "n"
    assert "x-team" not in sent
    assert ("authorization", "[redacted]") in exchange.request.headers


def test_the_key_is_sent_but_never_recorded(serve: type[ScriptedServer]) -> None:
    echo = json.dumps({"error": {"message": f"bad key {KEY}!"}}).encode()
    half = len(echo) - 12
    exchange, request = ask(
        serve,
        writes(reply(b"", headers=[f"X-Echo: {KEY}", "Set-Cookie: a=b"], length=len(echo)), echo[:half], echo[half:]),
        key=KEY,
        path=f"/v1/responses?key={KEY}",
        body={"input": KEY},
    )
    assert fields(request)["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(exchange)
    assert KEY.encode() not in b"".join(chunk.data for chunk in exchange.chunks)
    assert len(exchange.body) == len(echo)
    assert exchange.json() == {"error": {"message": f"bad key {'*' * len(KEY)}!"}}
    assert exchange.header("set-cookie") == "[redacted]"


@pytest.mark.parametrize("key", ["two\nlines", "tab\tinside", " padded ", "schlüssel"])
def test_a_key_that_no_header_can_carry(key: str) -> None:
    with pytest.raises(UsageError, match="API key"):
        Client("http://127.0.0.1:1", key=key)


def test_each_request_has_its_own_connection(serve: type[ScriptedServer]) -> None:
    async def main() -> int:
        async with serve(writes(reply()), keep_open=True) as endpoint, Client(endpoint.url) as client:
            for _ in range(3):
                assert (await client.send("GET", "/", id="x")).outcome is Outcome.COMPLETE
            return endpoint.connections

    assert run(main()) == 3


def test_interim_responses_are_ignored_up_to_a_number_of_bytes(serve: type[ScriptedServer]) -> None:
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    exchange, _ = ask(serve, writes(hint * 2_000, reply()))
    assert (exchange.outcome, exchange.status) == (Outcome.COMPLETE, 200)
    exchange, _ = ask(serve, writes(*[hint * 1_000] * 12))
    assert (exchange.outcome, exchange.status) == (Outcome.TOO_LARGE, None)
    assert exchange.detail == "The interim responses are longer than 102,400 bytes: rejoinder stopped reading."


def test_redirects_and_cookies_are_only_recorded(serve: type[ScriptedServer]) -> None:
    exchange, _ = ask(
        serve, writes(reply(status="307 Temporary", headers=["Location: http://[", "Set-Cookie: s=1"])), key=KEY
    )
    assert (exchange.outcome, exchange.status) == (Outcome.COMPLETE, 307)
    assert exchange.header("location") == "http://["


def test_every_chunk_has_its_time(serve: type[ScriptedServer]) -> None:
    parts = [b"data: 1\n\n", b"data: 2\n\n", b"x" * 70_000]
    exchange, _ = ask(serve, writes(chunked(*parts)))
    assert exchange.outcome is Outcome.COMPLETE
    assert exchange.body == b"".join(parts)
    assert [chunk.data for chunk in exchange.chunks[:2]] == parts[:2]


def test_a_chunk_that_arrives_in_bytes(serve: type[ScriptedServer]) -> None:
    wire = chunked(b"data: \xc3\xa4\n\n", b"data: 2\n\n")
    exchange, _ = ask(serve, writes(*(wire[i : i + 1] for i in range(len(wire)))))
    assert (exchange.outcome, exchange.body) == (Outcome.COMPLETE, b"data: \xc3\xa4\n\ndata: 2\n\n")


def test_compressed_bodies_stay_as_they_are(serve: type[ScriptedServer]) -> None:
    exchange, _ = ask(serve, writes(reply(b"\x1f\x8bnot gzip", headers=["Content-Encoding: gzip"])))
    assert (exchange.outcome, exchange.body) == (Outcome.COMPLETE, b"\x1f\x8bnot gzip")


def test_a_body_that_ends_with_the_connection_is_complete(serve: type[ScriptedServer]) -> None:
    exchange, _ = ask(serve, writes(b"HTTP/1.0 200 OK\r\n\r\nhello"))
    assert (exchange.outcome, exchange.body) == (Outcome.COMPLETE, b"hello")


@pytest.mark.parametrize("answer", [reply(b"0123456789", length=100), chunked(b"0123456789", end=False)])
def test_cut_inside_the_body(serve: type[ScriptedServer], answer: bytes) -> None:
    exchange, _ = ask(serve, writes(answer))
    assert (exchange.outcome, exchange.status, exchange.body) == (Outcome.CUT, 200, b"0123456789")
    assert "10 bytes" in exchange.detail


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nConte"])
def test_cut_before_the_headers_end(serve: type[ScriptedServer], start: bytes) -> None:
    exchange, _ = ask(serve, writes(start))
    assert (exchange.outcome, exchange.status, exchange.chunks) == (Outcome.CUT, None, ())
    assert exchange.detail.endswith("closed the connection without a response.")


def test_reset_inside_the_body(serve: type[ScriptedServer]) -> None:
    async def script(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(chunked(b"0123456789", end=False))
        await writer.drain()
        writer.transport.abort()

    exchange, _ = ask(serve, script)
    assert exchange.outcome is Outcome.CUT


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", None),
        (b"\x00\xff\x00\xff\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 200),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n", None),
    ],
)
def test_what_is_not_http(serve: type[ScriptedServer], answer: bytes, status: int | None) -> None:
    exchange, _ = ask(serve, writes(answer))
    assert (exchange.outcome, exchange.status) == (Outcome.PROTOCOL, status)
    assert exchange.detail.endswith(".")
    assert exchange.detail.isprintable()
    assert len(exchange.detail) < 400


@pytest.mark.slow(2)
def test_no_byte_for_the_idle_time(serve: type[ScriptedServer]) -> None:
    options = ClientOptions(idle=1, total=60)
    exchange, _ = ask(serve, writes_and_hangs(), options=options)
    assert (exchange.outcome, exchange.status) == (Outcome.TIMEOUT, None)
    exchange, _ = ask(serve, writes_and_hangs(chunked(b"one", end=False)), options=options)
    assert (exchange.outcome, exchange.status, exchange.body) == (Outcome.TIMEOUT, 200, b"one")
    assert "no data for 1 s" in exchange.detail


@pytest.mark.slow(2)
def test_a_slow_drip_meets_the_deadline(serve: type[ScriptedServer]) -> None:
    async def drip(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(chunked(end=False))
        while True:
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
            await asyncio.sleep(0)

    exchange, _ = ask(serve, drip, deadline=1, options=ClientOptions(idle=30))
    assert (exchange.outcome, exchange.status) == (Outcome.TIMEOUT, 200)
    assert set(exchange.body) == {ord("x")}
    assert "within 1 s" in exchange.detail


@pytest.mark.parametrize("size", [0, 1, 10, 11])
def test_the_body_is_bounded(serve: type[ScriptedServer], size: int) -> None:
    exchange, _ = ask(serve, writes(reply(b"x" * size)), read_limit=10)
    assert exchange.body == b"x" * min(size, 10)
    assert exchange.outcome is (Outcome.TOO_LARGE if size > 10 else Outcome.COMPLETE)


def test_an_endless_body_ends_at_the_limit(serve: type[ScriptedServer]) -> None:
    async def pour(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    exchange, _ = ask(serve, pour, options=ClientOptions(budget=replace(CHECK, body=1_000_000)))
    assert exchange.outcome is Outcome.TOO_LARGE
    assert len(exchange.body) == 1_000_000
    assert exchange.detail == (
        "The response has more than 1,000,000 bytes: rejoinder stopped reading after 1,000,000 bytes."
    )


@pytest.mark.parametrize(
    ("answer", "status", "part"),
    [
        (b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 200_000, None, "headers"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 40_000, None, "headers"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n" + b"X: a\r\n" * 40_000,
            200,
            "trailers",
        ),
    ],
)
def test_headers_and_trailers_are_bounded(
    serve: type[ScriptedServer], answer: bytes, status: int | None, part: str
) -> None:
    exchange, _ = ask(serve, writes(answer))
    assert (exchange.outcome, exchange.status) == (Outcome.TOO_LARGE, status)
    assert exchange.detail == f"The response {part} are longer than 102,400 bytes: rejoinder stopped reading."


@pytest.mark.parametrize(("weight", "outcome"), [(100_000, Outcome.CANCELLED), (10**9, Outcome.TOO_LARGE)])
def test_a_reply_that_the_run_has_no_room_for_is_cancelled(
    serve: type[ScriptedServer], weight: int, outcome: Outcome
) -> None:
    options = ClientOptions(budget=replace(CHECK, weight=1_000_000))
    exchange, _ = ask(serve, writes(reply(b"\n" * 50_000)), options=options, weight=weight)
    assert exchange.outcome is outcome
    assert 0 < len(exchange.body) < 10_000
    assert "KiB of memory: rejoinder stopped reading after" in exchange.detail


def test_refused(serve: type[ScriptedServer]) -> None:
    async def main() -> Exchange:
        async with serve(writes()) as endpoint:
            url = endpoint.url
        return await get(url)

    exchange = run(main())
    assert exchange.outcome is Outcome.REFUSED
    assert exchange.detail.endswith("connection refused.")
    assert exchange.request.headers
    assert exchange.ended_at >= 0


def test_unknown_host() -> None:
    assert (
        run(get("http://no-such-host.invalid")).detail == "Cannot connect to no-such-host.invalid: unknown host name."
    )


def test_tls_with_a_trusted_certificate(serve: type[ScriptedServer], certificate: Path) -> None:
    context = ssl.create_default_context(cafile=certificate)
    exchange, _ = ask(serve, writes(reply()), server={"tls": True}, options=ClientOptions(verify=context))
    assert exchange.outcome is Outcome.COMPLETE


def test_tls_with_ssl_cert_file(
    serve: type[ScriptedServer], certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert ask(serve, writes(reply()), server={"tls": True})[0].outcome is Outcome.COMPLETE


def test_tls_with_an_unknown_certificate(serve: type[ScriptedServer]) -> None:
    exchange, _ = ask(serve, writes(reply()), server={"tls": True})
    assert exchange.outcome is Outcome.TLS
    assert "invalid certificate" in exchange.detail


@pytest.mark.parametrize(
    ("answer", "words"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS"), (b"", "the connection was closed")],
)
def test_tls_to_a_port_without_it(serve: type[ScriptedServer], answer: bytes, words: str) -> None:
    async def main() -> Exchange:
        async with serve(writes(answer), raw=True) as endpoint:
            return await get(endpoint.url.replace("http:", "https:"))

    exchange = run(main())
    assert exchange.outcome is Outcome.TLS
    assert words in exchange.detail


def test_tls_handshake_that_hangs(serve: type[ScriptedServer]) -> None:
    async def main() -> Exchange:
        async with serve(writes_and_hangs(), raw=True) as endpoint:
            return await get(endpoint.url.replace("http:", "https:"), ClientOptions(connect=0.5))

    exchange = run(main())
    assert exchange.outcome is Outcome.TIMEOUT
    assert "No TLS handshake" in exchange.detail


def test_plain_http_to_a_tls_port(serve: type[ScriptedServer]) -> None:
    async def main() -> Exchange:
        async with serve(writes(), tls=True) as endpoint:
            return await get(endpoint.url.replace("https:", "http:"))

    exchange = run(main())
    assert exchange.outcome in (Outcome.PROTOCOL, Outcome.CUT)


def test_stop_returns_what_had_arrived(serve: type[ScriptedServer]) -> None:
    async def main() -> tuple[Exchange, Exchange, int]:
        seen: list[Exchange] = []
        async with (
            serve(writes_and_hangs(chunked(b"one", end=False))) as endpoint,
            Client(endpoint.url, options=PATIENT, on_exchange=seen.append) as client,
        ):
            task = asyncio.create_task(client.send("POST", "/", {}, id="x"))
            await endpoint.arrived.wait()
            client.stop("the budget is used up")
            first = await task
            second = await client.send("POST", "/", {}, id="y")
            assert client.stopped
            assert seen == [first, second]
            return first, second, endpoint.connections

    first, second, connections = run(main())
    assert first.outcome is second.outcome is Outcome.CANCELLED
    assert first.detail.endswith("the budget is used up.")
    assert first.body in (b"", b"one")
    assert connections == 1


def test_cancelling_the_task_still_delivers_the_exchange(serve: type[ScriptedServer]) -> None:
    async def main() -> list[Exchange]:
        seen: list[Exchange] = []
        async with (
            serve(writes_and_hangs(chunked(b"one", end=False))) as endpoint,
            Client(endpoint.url, options=PATIENT, on_exchange=seen.append) as client,
        ):
            task = asyncio.create_task(client.send("POST", "/", {}, id="x"))
            await endpoint.arrived.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        return seen

    (exchange,) = run(main())
    assert (exchange.id, exchange.outcome) == ("x", Outcome.CANCELLED)


def test_many_at_once_stay_apart(serve: type[ScriptedServer]) -> None:
    async def echo(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(request.partition(b"\r\n\r\n")[2]))

    async def main() -> list[Exchange]:
        async with serve(echo) as endpoint, Client(endpoint.url, options=PATIENT) as client:
            return await asyncio.gather(*(client.send("POST", "/", {"n": n}, id=str(n)) for n in range(50)))

    assert [exchange.json()["n"] for exchange in run(main())] == list(range(50))


def test_a_transport_of_ones_own() -> None:
    async def app(request: httpx.Request) -> httpx.Response:
        return httpx.Response(201, stream=httpx.ByteStream(b"hi"), headers={"x": request.url.path})

    async def main() -> Exchange:
        async with Client("http://sandbox", transport=httpx.MockTransport(app)) as client:
            return await client.send("GET", "/a", id="x")

    exchange = run(main())
    assert (exchange.outcome, exchange.status, exchange.body, exchange.header("x")) == ("complete", 201, b"hi", "/a")


@pytest.mark.parametrize("header", [("X", "a\r\nb"), ("X\n", "a"), ("", "a")])
def test_requests_that_cannot_be_written_down(header: tuple[str, str]) -> None:
    async def main() -> None:
        async with Client("http://127.0.0.1:1") as client:
            with pytest.raises(ValueError, match="cannot be sent"):
                await client.send("GET", "/", id="x", headers=[header])
            with pytest.raises(ValueError, match=r"not JSON compliant|not a JSON"):
                await client.send("POST", "/", {"a": float("nan")}, id="x")
            with pytest.raises(ValueError, match="cannot be sent"):
                await client.send("POST", "/\n", id="x")

    run(main())


@pytest.mark.parametrize(
    ("stopped", "outcome", "suspensions"), [(True, Outcome.CANCELLED, 1), (False, Outcome.TIMEOUT, 0)]
)
def test_a_suspension_is_no_time_out(
    stopped: bool, outcome: Outcome, suspensions: int, serve: type[ScriptedServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rejoinder.wire.client.SUSPENSION_LIMIT", 0.05)
    monkeypatch.setattr("rejoinder.wire.client._BEAT", 0.01)
    # A process that was stopped used no processor meanwhile; one that worked used it all the time.
    monkeypatch.setattr("time.process_time", (lambda: 0.0) if stopped else time.monotonic)

    async def script(request: bytes, writer: asyncio.StreamWriter) -> None:
        await writes(reply(b"{}", length=9))(request, writer)
        time.sleep(0.5)  # nothing else of the event loop runs
        await asyncio.Event().wait()

    async def main() -> tuple[Exchange, int]:
        options = replace(PATIENT, total=0.3)
        async with serve(script) as endpoint, Client(endpoint.url, options=options) as client:
            return await client.send("GET", "/", id="x"), client.suspensions

    exchange, counted = run(main())
    assert (exchange.outcome, counted >= suspensions) == (outcome, True)
    assert bool(counted) == ("rejoinder was suspended for" in exchange.detail) == stopped


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "No such file or directory"), ("garbage", "it contains no certificate in PEM format"), ("", "PEM format")],
)
def test_certificates_of_the_environment_that_cannot_be_used(
    content: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "trusted.pem"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    with pytest.raises(UsageError, match=rf"Cannot use SSL_CERT_FILE .*trusted.pem: .*{why}"):
        Client("https://127.0.0.1:9")
    assert Client("http://127.0.0.1:9").proxy == ""  # needs none


def test_the_password_of_a_proxy_is_masked(serve: type[ScriptedServer], monkeypatch: pytest.MonkeyPatch) -> None:
    password = "s3cret-0123456789"

    async def echo(request: bytes, writer: asyncio.StreamWriter) -> None:
        await writes(reply(request))(request, writer)

    async def main() -> Exchange:
        async with serve(echo) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://user:{password}@127.0.0.1:{proxy.port}")
            async with Client("http://upstream.invalid") as client:
                return await client.send("GET", "/", id="x")

    exchange = run(main())
    assert b"Proxy-Authorization: Basic" in exchange.body
    assert base64.b64encode(f"user:{password}".encode()) not in exchange.body
    assert b"*" * 20 in exchange.body


@pytest.mark.parametrize("url", ["http://user:s3cret0123#x@127.0.0.1:1", "http://user:s3cret0123/x@127.0.0.1:1"])
def test_an_invalid_proxy_does_not_show_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", url)
    with pytest.raises(UsageError, match="proxy of the environment: its URL is invalid") as caught:
        Client("http://upstream.invalid")
    assert "s3cret" not in str(caught.value)


def test_a_proxy_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "gopher://127.0.0.1:1")
    with pytest.raises(UsageError, match="proxy"):
        Client("http://upstream.invalid")


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "127.0.0.1", "127.1.2.3", "::1", "LOCALHOST."])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["example.com", "10.0.0.1", "localhost.example.com", "", "::2"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
@pytest.mark.slow(1)
def test_encoded_json_is_compact_ascii_and_the_same_value(value: Any) -> None:
    data = encode_json(value)
    assert data.isascii()
    assert json.loads(data) == value
