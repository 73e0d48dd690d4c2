"""What a user adds to every request: what is read, and the one sentence for whatever cannot be used."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rejoinder.errors import UsageError
from rejoinder.model.exchange import Exchange
from rejoinder.model.header import RequestRecord
from rejoinder.wire.client import Client, ClientOptions
from rejoinder.wire.request_options import RequestOptions, read_request_options

if TYPE_CHECKING:
    from tests.wire.conftest import ScriptedServer

KEY = "sk-secret-0123456789"
ENVIRON = {"TOKEN": "token-0123456789", "EMPTY": "", "BAD": "a\nb", "BASIC": "Basic dXNlcjpwYXNz"}


def test_everything_together(tmp_path: Path) -> None:
    file = tmp_path / "extra.json"
    file.write_text('{"metadata": {"tenant": "a"}}', "utf-8")
    options = read_request_options(
        extra_body=f"@{file}",
        header=["X-Team:  blue ", "x-empty:"],
        header_env=["X-Auth-Token = TOKEN"],
        api_key_header="api-key",
        rate_limit=2.5,
        keys=[KEY, None],
        environ=ENVIRON,
    )
    assert options.extra_body == {"metadata": {"tenant": "a"}}
    assert options.headers == (("X-Team", "blue"), ("x-empty", ""))
    assert options.secret_headers == (("X-Auth-Token", "token-0123456789"),)
    assert (options.key_header, options.rate_limit) == ("api-key", 2.5)
    assert "token-0123456789" not in repr(options)
    assert options.record() == RequestRecord(
        extra_body={"metadata": {"tenant": "a"}},
        headers=[("X-Team", "blue"), ("x-empty", "")],
        header_env={"X-Auth-Token": "TOKEN"},
        api_key_header="api-key",
    )


def test_nothing_is_nothing() -> None:
    assert read_request_options() == read_request_options(extra_body=" ") == RequestOptions()
    assert RequestOptions().record() is None
    assert RequestOptions().tls_context() is None


@pytest.mark.parametrize(
    "body",
    ['{"max_tokens": 5, "ignore_eos_token": true, "stop_token_ids": [1]}', '{"user": "task-1", "n": {"secret": 0}}'],
)
def test_fields_that_only_sound_like_credentials_are_fine(body: str) -> None:
    assert read_request_options(extra_body=body, keys=[KEY]).extra_body == json.loads(body)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"extra_body": "{"}, "--extra-body is not JSON"),
        ({"extra_body": '{"a": NaN}'}, "--extra-body is not JSON: NaN"),
        ({"extra_body": "[" * 100_000}, "--extra-body is not JSON"),
        ({"extra_body": "[1]"}, "not an object"),
        ({"extra_body": '"x"'}, "not an object"),
        ({"extra_body": "@nowhere.json"}, "Cannot read the file of --extra-body @nowhere.json: No such file"),
        ({"extra_body": '{"model": "m"}'}, '--extra-body sets "model"'),
        ({"extra_body": '{"stream": true}'}, '--extra-body sets "stream"'),
        ({"extra_body": '{"input": "x"}'}, '--extra-body sets "input"'),
        ({"extra_body": f'{{"a": {{"b": ["x {KEY}"]}}}}'}, "credential in a.b[0]"),
        ({"extra_body": f'{{"{KEY}": 1}}'}, "credential in a field name"),
        ({"extra_body": '{"api_key": "x"}'}, "credential in api_key"),
        ({"extra_body": '{"x": "Bearer abcdefghijkl"}'}, "credential in x"),
        ({"extra_body": '{"x": "sk-abcdefghijklmnop"}'}, "credential in x"),
        ({"header": ["X-Team"]}, '--header "X-Team" is not a header'),
        ({"header": ["X Team: a"]}, '--header "X Team" is not a header'),
        ({"header": [": a"]}, "is not a header"),
        ({"header": ["X-Team: a\nX-Other: b"]}, "control character"),
        ({"header": ["X-Team: a\x00"]}, "control character"),
        ({"header": ["X-Team: é"]}, "outside ASCII"),
        ({"header": ["Host: a"]}, "--header Host cannot be used: rejoinder sets it"),
        ({"header": ["content-length: 1"]}, "rejoinder sets it"),
        ({"header": ["Content-Type: text/plain"]}, "rejoinder sets it"),
        ({"header": ["Accept: */*"]}, "rejoinder sets it"),
        ({"header": ["Authorization: Bearer x"]}, "looks like a credential"),
        ({"header": ["X-Api-Key: x"]}, "looks like a credential"),
        ({"header": ["X-Auth-Token: x"]}, "looks like a credential"),
        ({"header": ["Cookie: a=b"]}, "looks like a credential"),
        ({"header": [f"X-Team: {KEY}"]}, "looks like a credential"),
        ({"header": ["X-Team: Bearer abcdefghijkl"]}, "looks like a credential"),
        ({"header_env": ["X-Token"]}, "needs the name of a header and that of an environment variable"),
        ({"header_env": ["X-Token=secret value"]}, "needs the name of a header"),
        ({"header_env": ["X-Token=NOWHERE"]}, "names the environment variable NOWHERE, which is not set"),
        ({"header_env": ["X-Token=EMPTY"]}, "which is not set"),
        ({"header_env": ["X-Token=BAD"]}, "The header X-Token from BAD has a control character"),
        ({"header_env": ["Authorization=TOKEN"]}, "that header carries the API key"),
        ({"header_env": ["api-key=TOKEN"], "api_key_header": "API-Key"}, "that header carries the API key"),
        ({"header_env": ["X-Team=TOKEN"], "header": ["x-team: a"]}, "with --header and with --header-env"),
        ({"api_key_header": "api key"}, '--api-key-header "api key" is not the name of a header'),
        ({"api_key_header": "Host"}, "--api-key-header Host cannot carry a key"),
        ({"client_key": "key.pem"}, "--client-key needs --client-cert"),
        ({"ca_file": "nowhere.pem"}, "nowhere.pem: No such file"),
        ({"client_cert": "nowhere.pem"}, "nowhere.pem: No such file"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(given: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_request_options(**given, keys=[KEY], environ=ENVIRON)
    assert words in caught.value.message
    assert caught.value.message.endswith(".")
    assert caught.value.hint
    assert str(caught.value).isprintable()
    assert not any(secret in str(caught.value) for secret in (KEY, "token-0123456789", "secret value", "abcdefgh"))


def test_a_credential_of_another_kind_may_take_the_place_of_the_key() -> None:
    options = read_request_options(header_env=["Authorization=BASIC"], environ=ENVIRON)
    assert options.secret_headers == (("Authorization", "Basic dXNlcjpwYXNz"),)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_certificate_files_are_read_within_limits(
    tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for authority, own, key in ((pipe, None, None), (None, pipe, None), (None, certificate, pipe)):
        with pytest.raises(UsageError, match="it is not a regular file"):
            read_request_options(ca_file=authority, client_cert=own, client_key=key)
    monkeypatch.setattr("rejoinder.wire.request_options.INPUT_CERTIFICATES", 100)
    with pytest.raises(UsageError, match="it is larger than 100 bytes"):
        read_request_options(ca_file=certificate)


def test_files_that_are_no_certificates(tmp_path: Path, certificate: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("no certificate", "utf-8")
    with pytest.raises(UsageError, match="no certificate in PEM format"):
        read_request_options(ca_file=text)
    with pytest.raises(UsageError, match="certificate and key do not fit"):
        read_request_options(client_cert=certificate, client_key=text)
    both = read_request_options(ca_file=certificate, client_cert=certificate)
    assert both.tls_context() is not None


def send(serve: type[ScriptedServer], options: RequestOptions, **client: Any) -> tuple[Exchange, bytes]:
    """Send one request to a server that repeats it; return the exchange and the bytes that it got."""

    async def script(request: bytes, writer: asyncio.StreamWriter) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(request)}\r\nX-Auth-Token: token-0123456789\r\n\r\n"
        writer.write(head.encode() + request)

    async def main() -> tuple[Exchange, bytes]:
        async with (
            serve(script) as endpoint,
            Client(endpoint.url, options=ClientOptions(request=options), **client) as one,
        ):
            exchange = await one.send("POST", "/v1/responses?api-version=1", {"input": "x"}, id="x")
            return exchange, endpoint.requests[0]

    return asyncio.run(main())


def test_headers_are_sent_and_secret_values_are_recorded_nowhere(serve: type[ScriptedServer]) -> None:
    options = read_request_options(
        header=["X-Team: blue"], header_env=["X-Auth-Token=TOKEN"], api_key_header="X-Key", environ=ENVIRON
    )
    exchange, raw = send(serve, options, key=KEY)
    assert raw.startswith(b"POST /v1/responses?api-version=1 ")
    assert b"\r\nX-Team: blue\r\n" in raw
    assert b"\r\nX-Auth-Token: token-0123456789\r\n" in raw
    assert f"\r\nX-Key: {KEY}\r\n".encode() in raw
    assert b"authorization" not in raw.lower()
    recorded = json.dumps(exchange.to_json())
    assert "token-0123456789" not in recorded
    assert KEY not in recorded
    sent = dict(exchange.request.headers)
    assert (sent["X-Team"], sent["X-Auth-Token"], sent["X-Key"]) == ("blue", "[redacted]", "[redacted]")
    assert dict(exchange.headers)["X-Auth-Token"] == "[redacted]"
    assert len(exchange.body) == len(raw)


def test_the_credential_behind_a_scheme_is_masked_too(serve: type[ScriptedServer]) -> None:
    options = read_request_options(header_env=["Authorization=BASIC"], environ=ENVIRON)
    exchange, raw = send(serve, options)
    assert b"\r\nAuthorization: Basic dXNlcjpwYXNz\r\n" in raw
    assert "dXNlcjpwYXNz" not in json.dumps(exchange.to_json())


def test_own_authority_and_client_certificate(certificate: Path) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    server.load_verify_locations(certificate)
    server.verify_mode = ssl.CERT_REQUIRED

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def main() -> list[Exchange]:
        listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=server)
        url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        found = []
        for options in (
            read_request_options(ca_file=certificate, client_cert=certificate, client_key=certificate),
            read_request_options(ca_file=certificate),
            RequestOptions(),
        ):
            async with Client(url, options=ClientOptions(request=options)) as client:
                found.append(await client.send("GET", "/", id="x"))
        listener.close()
        return found

    both, no_certificate, untrusted = asyncio.run(main())
    assert both.status == 200
    assert (no_certificate.status, untrusted.status) == (None, None)
    assert "certificate" in untrusted.detail
