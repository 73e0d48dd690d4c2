"""Every way in which a URL can be no endpoint gets one clear sentence, and a good one is found from its base."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from rejoinder.errors import NotAnEndpointError, TargetError, UnauthorizedError, UnreachableError, UsageError
from rejoinder.model.base_form import BaseForm, InputForm
from rejoinder.model.exchange import Exchange
from rejoinder.wire.address import Address, candidate_addresses, parse_address
from rejoinder.wire.client import Client, ClientOptions
from rejoinder.wire.pacing import Pacer
from rejoinder.wire.request_options import RequestOptions
from rejoinder.wire.target import Target, find_target

if TYPE_CHECKING:
    from tests.wire.conftest import Script, ScriptedServer

KEY = "sk-secret-0123456789"
GOOD = {"object": "response", "output": []}
LIST = [{"role": "user", "content": "Hi"}]
MODELS = {"object": "list", "data": [{"id": "first"}, {"id": "second"}]}


def reply(
    status: int,
    body: bytes | dict[str, Any] | list[Any],
    content_type: str = "application/json",
    headers: Sequence[str] = (),
) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"HTTP/1.1 {status} X", f"Content-Length: {len(data)}", f"Content-Type: {content_type}", *headers, "", ""]
    return "\r\n".join(head).encode() + data


def routes(table: dict[str, Any], default: bytes | None = None) -> Script:
    """Answer by method and path; what is not in the table gets ``default``, a JSON 404."""

    async def script(request: bytes, writer: asyncio.StreamWriter) -> None:
        method, path = request.split(b" ", 2)[:2]
        answer = table.get(f"{method.decode()} {path.decode()}", default or reply(404, {"detail": "Not Found"}))
        writer.write(answer)

    return script


def find(
    serve: type[ScriptedServer],
    script: Script,
    *,
    suffix: str = "",
    scheme: str | None = None,
    server: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Target, list[Exchange], list[bytes]]:
    """Look for the target at a scripted server; return target, exchanges and the requests' bytes."""

    async def main() -> tuple[Target, list[Exchange], list[bytes]]:
        async with serve(script, **(server or {})) as endpoint:
            url = endpoint.url if scheme is None else f"{scheme}://127.0.0.1:{endpoint.port}"
            target, exchanges = await find_target(url + suffix, **options)
            assert target.url.startswith(url)
            return target, exchanges, endpoint.requests

    return asyncio.run(main())


def sent(request: bytes) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(request.partition(b"\r\n\r\n")[2])
    return body


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:1", ["http://h:1/v1/responses", "http://h:1/responses"]),
        ("http://h:1/", ["http://h:1/v1/responses", "http://h:1/responses"]),
        (" https://h/v1/ ", ["https://h/v1/responses"]),
        ("https://h/v1", ["https://h/v1/responses"]),
        ("https://h/v1/responses", ["https://h/v1/responses"]),
        ("https://h/v1/responses/", ["https://h/v1/responses"]),
        ("https://h/api", ["https://h/api/v1/responses", "https://h/api/responses"]),
        ("https://h/api/v3beta2", ["https://h/api/v3beta2/responses"]),
        ("https://h/openai/v1?api-version=p", ["https://h/openai/v1/responses?api-version=p"]),
        ("http://[::1]:8", ["http://[::1]:8/v1/responses", "http://[::1]:8/responses"]),
        ("http://h#part", ["http://h/v1/responses", "http://h/responses"]),
        ("localhost:8000/v1", ["http://localhost:8000/v1/responses"]),
        ("127.0.0.1:8000/v1", ["http://127.0.0.1:8000/v1/responses"]),
        ("[::1]:8000/v1", ["http://[::1]:8000/v1/responses"]),
    ],
)
def test_candidates(url: str, expected: list[str]) -> None:
    assert [address.url for address in candidate_addresses(url)] == expected


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "http://localhost:8000"),
        ("example.com:8000", "Did you mean http://example.com:8000?"),
        ("example.com/v1", "Did you mean http://example.com/v1?"),
        ("ftp://h", "not an http:// or https:// URL"),
        ("http://", "missing or invalid"),
        ("http://h:99999", "not a URL"),
        ("http://h:x", "not a URL"),
        ("http://[::1", "not a URL"),
        ("http://h:0", "missing or invalid"),
        ("http://a b/", "missing or invalid"),
        ("http://user:pw@h", "user name or password"),
        ("http://h/é", "Percent-encode"),
        ("http://h/?q=é", "Percent-encode"),
    ],
)
def test_bad_urls(url: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        candidate_addresses(url)
    assert words in str(caught.value)
    assert "pw" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("url", "address", "same"),
    [
        ("http://h", Address(False, "h", 80), "http://h"),
        ("https://H:443/a/?b=c#d", Address(True, "h", 443, "/a/", "b=c"), "https://h/a/?b=c"),
        ("http://[::1]:9/a", Address(False, "::1", 9, "/a"), "http://[::1]:9/a"),
        ("http://bücher.example/", Address(False, "xn--bcher-kva.example", 80, "/"), "http://xn--bcher-kva.example/"),
    ],
)
def test_a_url_is_read_into_its_parts_and_back(url: str, address: Address, same: str) -> None:
    assert parse_address(url) == address
    assert address.url == same
    assert parse_address(same) == address


def test_a_host_that_no_name_can_be() -> None:
    with pytest.raises((UsageError, UnreachableError)) as caught:
        asyncio.run(find_target(f"http://{'a' * 70}.example"))
    assert caught.value.message.endswith(".")


def test_found_from_the_base_with_a_listed_model(serve: type[ScriptedServer]) -> None:
    table = {"GET /v1/models": reply(200, MODELS), "POST /v1/responses": reply(200, GOOD, headers=["Server: tiny/1"])}
    target, exchanges, requests = find(serve, routes(table), key=KEY)
    assert (target.model, target.models, target.server, target.warnings) == ("first", ("first", "second"), "tiny/1", ())
    assert [(exchange.role, exchange.case) for exchange in exchanges] == [
        ("models", "preflight"),
        ("plain", "preflight"),
    ]
    assert sent(requests[1]) == {"model": "first", "input": LIST, "max_output_tokens": 16}
    assert target.form == BaseForm()
    assert all(f"Authorization: Bearer {KEY}".encode() in request for request in requests)
    assert KEY not in repr(target)
    assert KEY not in repr(exchanges)
    assert len({exchange.id for exchange in exchanges}) == 2


def test_without_v1(serve: type[ScriptedServer]) -> None:
    table = {"GET /models": reply(200, MODELS), "POST /responses": reply(200, GOOD)}
    target, exchanges, _ = find(serve, routes(table))
    assert target.path() == "/responses"
    assert target.model == "first"
    assert [exchange.status for exchange in exchanges] == [404, 404, 200, 200]


def test_a_given_model_is_used(serve: type[ScriptedServer]) -> None:
    target, exchanges, requests = find(
        serve, routes({"POST /v1/responses": reply(200, GOOD)}), model="mine", suffix="/v1/responses"
    )
    assert (target.model, len(exchanges), sent(requests[0])["model"]) == ("mine", 2, "mine")
    assert target.warnings == ()


@pytest.mark.parametrize(
    ("model", "warned"), [("mine", ['GET /v1/models does not list the model "mine". It lists a, b.']), ("b", [])]
)
def test_a_given_model_that_is_not_listed_is_a_warning(
    serve: type[ScriptedServer], model: str, warned: list[str]
) -> None:
    table = {"GET /v1/models": reply(200, ["a", "b"]), "POST /v1/responses": reply(200, GOOD)}
    target, _, _ = find(serve, routes(table), model=model)
    assert target.model == model
    assert list(target.warnings) == warned


def test_an_endpoint_without_the_given_model_lists_those_that_it_has(serve: type[ScriptedServer]) -> None:
    table = {"GET /v1/models": reply(200, ["a", "b"])}
    refused = reply(404, {"error": {"message": "The model `m` does not exist."}})
    with pytest.raises(TargetError, match='has no model "m"') as caught:
        find(serve, routes(table, refused), model="m")
    assert caught.value.hint == "GET /v1/models lists a, b."


@pytest.mark.parametrize(
    "answer",
    [
        reply(404, {}),
        reply(401, {}),
        reply(200, {"data": []}),
        reply(200, {"data": "?"}),
        reply(200, b"<html>", "text/html"),
        reply(200, {"data": [{"id": None}, 7]}),
        b"garbage\r\n\r\n",
        b"",
    ],
)
def test_no_usable_list_of_models(serve: type[ScriptedServer], answer: bytes) -> None:
    table = {"GET /v1/models": answer, "POST /v1/responses": reply(200, GOOD)}
    target, _, requests = find(serve, routes(table))
    assert target.model is None
    assert "model" not in sent(requests[-1])
    assert target.body(input="x") == {"input": "x"}


def test_models_as_names(serve: type[ScriptedServer]) -> None:
    table = {"GET /v1/models": reply(200, ["a"]), "POST /v1/responses": reply(200, GOOD)}
    assert find(serve, routes(table))[0].model == "a"


STREAM = (
    b'event: response.created\ndata: {"type":"response.created"}\n\n'
    b'event: response.completed\ndata: {"type":"response.completed"}\n\n'
)
FAILED_STREAM = b'event: error\ndata: {"type":"error","message":"no lists"}\n\n'


def streamed(body: bytes = STREAM) -> bytes:
    return reply(200, body, "text/event-stream")


def forms(answer: Callable[[dict[str, Any]], bytes | None], *models: str) -> Script:
    """Answer a create by its body, with a response object where that says nothing; list these models."""

    async def script(request: bytes, writer: asyncio.StreamWriter) -> None:
        if request.startswith(b"GET"):
            writer.write(reply(200, {"data": [{"id": name} for name in models]}))
            return
        body = sent(request)
        special = answer(body)
        writer.write((streamed() if body.get("stream") else reply(200, GOOD)) if special is None else special)

    return script


def _strings_only(body: dict[str, Any]) -> bytes | None:
    return None if isinstance(body["input"], str) else reply(422, {"detail": "Input should be a valid string"})


def _typed_only(body: dict[str, Any]) -> bytes | None:
    typed = isinstance(body["input"], list) and body["input"][0].get("type") == "message"
    return None if typed else reply(400, {"error": {"message": "type is missing"}})


def _no_model(body: dict[str, Any]) -> bytes | None:
    return reply(400, {"error": {"message": "model is not allowed"}}) if "model" in body else None


def _no_limit(body: dict[str, Any]) -> bytes | None:
    refused = reply(400, {"error": {"message": "max_output_tokens is not supported."}})
    return refused if "max_output_tokens" in body else None


def _streams_by_default(body: dict[str, Any]) -> bytes | None:
    return streamed() if body.get("stream") is not False else None


def _plain_broken(broken: bytes) -> Callable[[dict[str, Any]], bytes | None]:
    return lambda body: None if body.get("stream") else broken


def _wants_stream_named(body: dict[str, Any]) -> bytes | None:
    return None if "stream" in body else reply(422, {"detail": "stream: field required"})


def _string_streams_only(body: dict[str, Any]) -> bytes | None:
    if not isinstance(body["input"], str):
        return streamed(FAILED_STREAM) if body.get("stream") else reply(500, {"error": "boom"})
    return None if body.get("stream") else reply(500, {"error": "boom"})


@pytest.mark.parametrize(
    ("answer", "form", "model", "creates"),
    [
        (lambda body: None, BaseForm(), "m", 1),
        (_strings_only, BaseForm(input=InputForm.STRING), "m", 2),
        (_typed_only, BaseForm(input=InputForm.TYPED_LIST), "m", 2),
        (_no_model, BaseForm(model=False), None, 2),
        (_no_limit, BaseForm(max_output_tokens=False), "m", 2),
        (
            lambda body: _no_limit(body) or _strings_only(body),
            BaseForm(input=InputForm.STRING, max_output_tokens=False),
            "m",
            4,
        ),
        (_streams_by_default, BaseForm(stream_false=True), "m", 2),
        (lambda body: streamed(), BaseForm(plain=False), "m", 2),
        (_plain_broken(reply(500, {"error": "boom"})), BaseForm(plain=False), "m", 2),
        (_plain_broken(reply(502, b"<html>", "text/html")), BaseForm(plain=False), "m", 2),
        (_plain_broken(reply(200, b'{"object": "resp')), BaseForm(plain=False), "m", 2),
        (_plain_broken(b""), BaseForm(plain=False), "m", 2),
        (
            _plain_broken(reply(400, {"error": {"message": "Only stream=true is supported."}})),
            BaseForm(plain=False),
            "m",
            3,
        ),
        (_wants_stream_named, BaseForm(stream_false=True), "m", 2),
        (_string_streams_only, BaseForm(input=InputForm.STRING, plain=False), "m", 7),
        (
            lambda body: _strings_only(body) or _streams_by_default(body),
            BaseForm(input=InputForm.STRING, stream_false=True),
            "m",
            3,
        ),
        (lambda body: _no_model(body) or _strings_only(body), BaseForm(input=InputForm.STRING, model=False), None, 7),
    ],
)
def test_the_base_form_is_the_first_that_is_accepted(
    serve: type[ScriptedServer], answer: Callable[[dict[str, Any]], bytes | None], form: BaseForm, model: str | None,
    creates: int,
) -> None:  # fmt: skip
    target, exchanges, _ = find(serve, forms(answer, "m"))
    assert (target.form, target.model) == (form, model)
    assert len([exchange for exchange in exchanges if exchange.request.method == "POST"]) == creates
    assert bool(target.warnings) == (form.stream_false or not form.plain)


@pytest.mark.parametrize(
    ("answer", "form", "creates"),
    [
        (_typed_only, BaseForm(input=InputForm.TYPED_LIST), 1),
        (lambda body: None, BaseForm(input=InputForm.TYPED_LIST), 1),
        (_strings_only, BaseForm(input=InputForm.STRING), 2),
    ],
)
def test_the_first_request_has_the_usual_form_of_the_dialect(
    serve: type[ScriptedServer], answer: Callable[[dict[str, Any]], bytes | None], form: BaseForm, creates: int
) -> None:
    target, exchanges, _ = find(serve, forms(answer, "m"), dialect="openresponses")
    assert target.form == form
    sent = [exchange.request.json()["input"] for exchange in exchanges if exchange.request.method == "POST"]
    assert sent[0] == [{"type": "message", "role": "user", "content": "Hi"}]
    assert len(sent) == creates


def test_a_url_with_the_key_is_refused() -> None:
    with pytest.raises(UsageError, match="The URL contains the API key") as caught:
        asyncio.run(find_target(f"http://127.0.0.1:9/v1?key={KEY}", key=KEY))
    assert KEY not in str(caught.value)


def test_a_model_that_a_person_named_is_not_left_out(serve: type[ScriptedServer]) -> None:
    with pytest.raises(TargetError, match="model is not allowed") as caught:
        find(serve, forms(_no_model), model="m")
    assert all(exchange.request.json()["model"] == "m" for exchange in caught.value.exchanges if exchange.request.body)


def test_a_field_that_the_endpoint_needs_is_added(serve: type[ScriptedServer]) -> None:
    def needs_entity(body: dict[str, Any]) -> bytes | None:
        named = body.get("metadata", {}).get("entity_id") == "a"
        return None if named else reply(400, {"error": {"message": "Missing metadata.entity_id"}})

    with pytest.raises(TargetError, match=r"in each of 5 forms .*: Missing metadata\.entity_id") as caught:
        find(serve, forms(needs_entity, "m"))
    assert "--extra-body" in caught.value.hint
    options = RequestOptions(extra_body={"metadata": {"entity_id": "a"}})
    target, exchanges, _ = find(serve, forms(needs_entity, "m"), request=options)
    assert (target.form, len(exchanges)) == (BaseForm(), 2)


def test_an_answer_that_is_no_response_object_is_a_warning(serve: type[ScriptedServer]) -> None:
    target, _, _ = find(serve, routes({}, reply(200, {"ok": True})), model="m")
    assert target.warnings == ("The endpoint answered the first request with JSON that is not a response object.",)
    assert target.form == BaseForm()


def test_a_short_retry_after_is_waited_out(serve: type[ScriptedServer]) -> None:
    tries = count()
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    def busy(body: dict[str, Any]) -> bytes | None:
        return reply(503, {}, headers=["Retry-After: 7"]) if next(tries) < 2 else None

    now = iter(range(0, 100, 8))
    pacer = Pacer(sleep=sleep, clock=lambda: next(now))
    target, exchanges, _ = find(serve, forms(busy, "m"), pacer=pacer)
    assert [exchange.status for exchange in exchanges] == [200, 503, 503, 200]
    assert target.form == BaseForm()


async def _silent(_request: bytes, _writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def _closes(_request: bytes, _writer: asyncio.StreamWriter) -> None:
    pass


@pytest.mark.parametrize(
    ("script", "options", "error", "words"),
    [
        (
            routes({}, reply(401, {})),
            {},
            UnauthorizedError,
            ["requires an API key", "REJOINDER_API_KEY", "--api-key-env"],
        ),
        (
            routes({}, reply(403, b"", "text/plain")),
            {"key": KEY},
            UnauthorizedError,
            ["rejected the API key"],
        ),
        (routes({}), {}, NotAnEndpointError, ["/v1/responses and /responses returned 404"]),
        (routes({}, reply(405, {})), {}, NotAnEndpointError, ["returned 405"]),
        (routes({}, reply(200, b"<!DOCTYPE html>", "text/html")), {}, NotAnEndpointError, ["an HTML page"]),
        (routes({}, reply(502, b" <HTML>", "x/y")), {}, NotAnEndpointError, ["502", "an HTML page"]),
        (routes({}, reply(200, b"hello", "text/plain")), {}, NotAnEndpointError, ["not JSON"]),
        (routes({}, reply(200, b"")), {}, NotAnEndpointError, ["an empty body"]),
        (routes({}, reply(200, [1])), {}, NotAnEndpointError, ["JSON that is not an object"]),
        (
            routes({}, reply(400, {"error": {"message": "no\x1b[31m such field"}})),
            {},
            TargetError,
            ["status 400", "no [31m such field", "--extra-body"],
        ),
        (routes({}, reply(500, {"error": "boom"})), {}, TargetError, ["each of 5 forms (status 500): boom", "log"]),
        (routes({}, reply(429, {})), {}, TargetError, ["busy (status 429)", "--rate-limit"]),
        (
            routes({}, reply(503, {"error": "later"}, headers=["Retry-After: 600"])),
            {},
            TargetError,
            ["busy (status 503, Retry-After 600 s): later", "Try again later"],
        ),
        (
            routes({}, b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"object":"response"}'),
            {},
            TargetError,
            ["no complete response", "after 21 bytes"],
        ),
        (
            routes({}, reply(308, b"", headers=["Location: https://other/\x7f" + "x" * 500])),
            {},
            NotAnEndpointError,
            ["redirects to https://other/", "final URL"],
        ),
        (
            routes({}, reply(400, b"<html>The plain HTTP request was sent to HTTPS port", "text/html")),
            {},
            NotAnEndpointError,
            ["uses TLS", "Use https://"],
        ),
        (
            routes({}, reply(404, {"error": {"message": "The model `m` does not exist."}})),
            {"model": "m"},
            TargetError,
            ['has no model "m"', "--model"],
        ),
        (_silent, {"deadline": 0.05}, UnreachableError, ["0.05 s"]),
        (_closes, {}, UnreachableError, ["closed the connection without a response"]),
        (routes({}, b"SMTP ready\r\n\r\n"), {}, NotAnEndpointError, ["invalid HTTP", "Check the port"]),
    ],
)
def test_what_is_no_endpoint(
    serve: type[ScriptedServer], script: Script, options: dict[str, Any], error: type[Any], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        find(serve, script, **options)
    assert type(caught.value) is error
    for word in words:
        assert word in str(caught.value)
    assert caught.value.exchanges
    assert caught.value.message.endswith(".")
    assert caught.value.hint
    assert str(caught.value).isprintable()
    assert KEY not in repr(caught.value.exchanges) + str(caught.value)


@pytest.mark.slow(1)
def test_half_an_answer_that_hangs(serve: type[ScriptedServer]) -> None:
    async def script(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")
        await asyncio.Event().wait()

    with pytest.raises(UnreachableError) as caught:
        find(serve, script, deadline=1, model="m")
    assert caught.value.exchanges[0].body == b"{"


@pytest.mark.parametrize(
    ("server", "scheme", "error", "words"),
    [
        ({"tls": True}, None, UnreachableError, ["certificate", "--ca-file"]),
        ({"raw": True}, "https", UnreachableError, ["TLS handshake", "use http://127.0.0.1"]),
        ({"tls": True}, "http", TargetError, ["https://127.0.0.1"]),
    ],
)
def test_tls_trouble(
    serve: type[ScriptedServer], server: dict[str, Any], scheme: str | None, error: type[Any], words: list[str]
) -> None:
    async def script(_request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with pytest.raises(error) as caught:
        find(serve, script, server=server, scheme=scheme)
    for word in words:
        assert word in str(caught.value)
    assert len(caught.value.exchanges) <= 3


def test_a_handshake_that_hangs(serve: type[ScriptedServer]) -> None:
    with pytest.raises(UnreachableError, match="No TLS handshake") as caught:
        find(serve, _silent, server={"raw": True}, scheme="https", options=ClientOptions(connect=0.5))
    assert "use http://127.0.0.1" in caught.value.hint
    assert len(caught.value.exchanges) == 1


def test_the_proxy_is_named(serve: type[ScriptedServer], monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with serve(routes({}, reply(502, b"<html>", "text/html"))) as proxy:
            monkeypatch.setenv("HTTP_PROXY", proxy.url)
            with pytest.raises(NotAnEndpointError) as caught:
                await find_target("http://upstream.invalid")
            assert f"used the proxy {proxy.url}" in caught.value.hint

    asyncio.run(main())


def test_no_connection(serve: type[ScriptedServer]) -> None:
    async def main() -> None:
        async with serve(_closes) as endpoint:
            url = endpoint.url
        await find_target(url)

    with pytest.raises(UnreachableError, match="connection refused") as caught:
        asyncio.run(main())
    assert len(caught.value.exchanges) == 1
    with pytest.raises(UnreachableError, match="host name"):
        asyncio.run(find_target("http://no-such-host.invalid/v1"))


def test_a_client_of_ones_own(serve: type[ScriptedServer]) -> None:
    async def main() -> None:
        seen: list[Exchange] = []
        async with (
            serve(routes({"POST /v1/responses": reply(200, GOOD)})) as endpoint,
            Client(endpoint.url, options=ClientOptions(idle=30), on_exchange=seen.append) as client,
        ):
            _, exchanges = await find_target(endpoint.url, client=client)
            assert seen == exchanges
            client.stop()
            with pytest.raises(TargetError, match="interrupted"):
                await find_target(endpoint.url, client=client)

    asyncio.run(main())


def test_paths_below_the_endpoint() -> None:
    target = Target("https://h/v1/responses?v=1", model="m")
    assert target.path() == "/v1/responses?v=1"
    assert target.path("resp_1", "input_items") == "/v1/responses/resp_1/input_items?v=1"
    assert target.path("../a?b\ud800") == "/v1/responses/..%2Fa%3Fb%3F?v=1"
    assert target.body(input="x") == {"model": "m", "input": "x"}
