"""A key is taken out wherever it stands and however it is written, and nothing else changes."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.contract import load_dialect
from rejoinder.fold import StreamFold
from rejoinder.model.exchange import Chunk
from rejoinder.wire.redact import LONG_WORD, MIN_PART, MIN_SECRET, REDACTED, Redactor, query_secrets, shown_url
from rejoinder.wire.request_options import read_request_options

PRINTABLE = st.characters(min_codepoint=33, max_codepoint=126)
keys = st.text(PRINTABLE, min_size=MIN_SECRET, max_size=40).map(lambda key: f"{key[:-1]}7")  # no word of the API
ALNUM = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def has_words(key: str) -> bool:
    return any(word.isalpha() and MIN_PART <= len(word) < LONG_WORD for word in re.split("[-_0-9]", key))


# What a gateway hands out: a prefix and random characters, so that a part of it is nobody's word.
tokens = st.builds(
    "{}{}".format,
    st.sampled_from(["", "sk-", "sk-proj-", "pk_live_"]),
    st.text(ALNUM + "-_", min_size=16, max_size=48),
).filter(lambda key: not any(word.isalpha() and 5 <= len(word) < LONG_WORD for word in re.split("[-_]", key)))


def every(form: str) -> Callable[[str], str]:
    return lambda key: "".join(form.format(ord(char)) for char in key)


def named_entities(key: str) -> str:
    names = {"-": "&hyphen;", "_": "&lowbar;", "/": "&sol;", "+": "&plus;", "=": "&equals;", ".": "&period;"}
    return "".join(names.get(char, char) if char != "-" else char for char in key)


def in_base64(encode: Callable[[bytes], bytes], before: str, *, padded: bool = True) -> Callable[[str], str]:
    def form(key: str) -> str:
        text = encode(f"{before}{key}".encode()).decode()
        return text if padded else text.rstrip("=")

    return form


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "lower case": str.lower,
    "swapped case": str.swapcase,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON with escaped slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "JSON escapes of every character": every("\\u{:04x}"),
    "JSON escapes in upper case": every("\\u{:04X}"),
    "JSON escapes of some characters": lambda key: "".join(
        f"\\u{ord(char):04x}" if n % 3 else char for n, char in enumerate(key)
    ),
    "JSON in JSON": lambda key: json.dumps(json.dumps(every("\\u{:04x}")(key))),
    "hex escapes": every("\\x{:02x}"),
    "percent-encoding": quote,
    "percent-encoding without safe characters": lambda key: quote(key, safe=""),
    "percent-encoding of every character": every("%{:02X}"),
    "percent-encoding in lower case": every("%{:02x}"),
    "percent-encoding twice": lambda key: quote(every("%{:02X}")(key), safe=""),
    "named entities": named_entities,
    "HTML": html.escape,
    "decimal entities": every("&#{};"),
    "padded decimal entities": every("&#{:04};"),
    "hexadecimal entities": every("&#x{:x};"),
    "hexadecimal entities in upper case": every("&#X{:X};"),
    "entities in JSON": lambda key: json.dumps(html.escape(every("&#{};")(key))),
    "hex": lambda key: key.encode().hex(),
    "hex in upper case": lambda key: key.encode().hex().upper(),
    "hex with colons": lambda key: key.encode().hex(":"),
    "base64": in_base64(base64.b64encode, ""),
    "base64 at offset 1": in_base64(base64.b64encode, "a"),
    "base64 at offset 2": in_base64(base64.b64encode, "ab"),
    "Basic authentication": lambda key: "Basic " + in_base64(base64.b64encode, "user:")(key),
    "base64 without padding": in_base64(base64.b64encode, "", padded=False),
    "base64 for URLs": in_base64(base64.urlsafe_b64encode, ""),
    "base64 for URLs at offset 1": in_base64(base64.urlsafe_b64encode, "a", padded=False),
    "base64 for URLs at offset 2": in_base64(base64.urlsafe_b64encode, "ab"),
    "base64 in lines": lambda key: base64.encodebytes(key.encode() * 3).decode(),
    "percent-encoded base64": lambda key: quote(in_base64(base64.b64encode, "")(key), safe=""),
    "masked in the middle": lambda key: f"{key[:MIN_PART]}...{key[-MIN_PART:]}",
    "all but the end": lambda key: key[:-4] + "****",
    "all but the beginning": lambda key: "****" + key[4:],
}


@pytest.mark.parametrize(
    "name", ["Authorization", "api-key", "X-API-Key", "Cookie", "Set-Cookie", "PROXY-AUTHORIZATION"]
)
def test_credential_headers(name: str) -> None:
    assert Redactor().headers([(name, "v"), ("Other", "v")]) == ((name, REDACTED), ("Other", "v"))


@pytest.mark.parametrize("form", FORMS)
@given(key=tokens)
def test_every_form_of_a_key_is_masked(form: str, key: str) -> None:
    written = FORMS[form](key)
    redactor = Redactor(key)
    masked = redactor.text(f"<{written}>")
    assert len(masked) == len(written) + 2
    assert masked[0] == "<"
    assert masked[-1] == ">"
    # What is left of the key is shorter than a part that counts: edges of base64, and what is around the key.
    kept = sum(char.isalnum() for char in masked)
    assert kept <= max(16, len(written) // 4)
    for size in range(MIN_PART, len(key) + 1):
        assert all(key[at : at + size] not in masked for at in range(len(key) - size + 1))
    data = redactor.data(f'{{"a":"{written}"}}'.encode())
    assert data.startswith(b'{"a":"')
    assert data.endswith(b'"}')


# Keys of which every few characters need an escape somewhere.
odd_keys = st.text(st.sampled_from(ALNUM + 4 * "\"\\<>&'/+=%?#;"), min_size=16, max_size=40).map(
    lambda key: f"a{key[1:-1]}7".replace("%", "%-").replace("&", "&-").replace("\\", "\\-")  # not an escape itself
)
ESCAPED: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": lambda key: json.dumps(key)[1:-1],
    "JSON with escaped slashes": lambda key: json.dumps(key)[1:-1].replace("/", "\\/"),
    "HTML": html.escape,
    "percent-encoding": quote,
    "percent-encoding without safe characters": lambda key: quote(key, safe=""),
}
ENCODED: dict[str, Callable[[bytes], str]] = {
    "text": bytes.decode,
    "base64": lambda data: base64.b64encode(data).decode(),
    "base64 for URLs": lambda data: base64.urlsafe_b64encode(data).decode(),
    "hex": bytes.hex,
}


@pytest.mark.parametrize("escape", ESCAPED)
@pytest.mark.parametrize("encode", ENCODED)
@given(key=odd_keys, before=st.integers(0, 3), outer=st.sampled_from(sorted(ESCAPED)))
def test_a_key_that_needs_escapes_is_masked_in_an_encoded_text(
    escape: str, encode: str, key: str, before: int, outer: str
) -> None:
    written = ENCODED[encode](b"{" * before + ESCAPED[outer](ESCAPED[escape](key)).encode() + b"}}")
    masked = Redactor(key).text(written)
    assert len(masked) == len(written)
    # Left are what is around the key, and characters of base64 that hold bits of both.
    assert sum(char != "*" for char in masked) <= 2 * (before + 2) + 4


@given(tokens, st.sampled_from(sorted(FORMS)))
def test_headers_are_masked_in_name_and_value(key: str, form: str) -> None:
    written = FORMS[form](key)
    ((name, value),) = Redactor(key).headers([(f"X-{written}", written)])
    assert key.lower() not in name.lower()
    assert key.lower() not in value.lower()
    assert len(name) == len(written) + 2


@given(keys, st.binary(), st.binary())
def test_the_key_is_masked_at_equal_length(key: str, before: bytes, after: bytes) -> None:
    data = before + key.encode() + after
    masked = Redactor(key).data(data)
    assert len(masked) == len(data)
    assert key.encode() not in masked or set(key) == {"*"}


@given(keys, st.binary(max_size=20), st.lists(st.integers(1, 10), max_size=20))
def test_the_key_is_masked_across_chunks(key: str, around: bytes, sizes: list[Any]) -> None:
    whole = around + key.encode() + around
    chunks, offset = [], 0
    for number, size in enumerate(sizes):
        chunks.append(Chunk(number / 10, whole[offset : offset + size]))
        offset += size
    chunks.append(Chunk(99.0, whole[offset:]))
    masked = Redactor(key).chunks(chunks)
    assert [(chunk.t, len(chunk.data)) for chunk in masked] == [(chunk.t, len(chunk.data)) for chunk in chunks]
    assert b"".join(chunk.data for chunk in masked) == Redactor(key).data(whole)


DELTAS = ("response.output_text.delta", "response.function_call_arguments.delta", "response.reasoning_text.delta")


@pytest.mark.parametrize("kind", DELTAS)
@given(key=tokens, piece=st.integers(1, 12), turns=st.booleans(), form=st.sampled_from(["as it is", "hex", "base64"]))
def test_the_key_is_masked_across_deltas(kind: str, key: str, piece: int, turns: bool, form: str) -> None:
    written = f"<{FORMS[form](key)}>"
    events: list[dict[str, Any]] = []
    for at in range(0, len(written), piece):
        place = {"type": kind, "item_id": "m0", "output_index": 0, "content_index": 0}
        events.append({**place, "delta": written[at : at + piece]})
        if turns:
            events.append({**place, "item_id": "m1", "output_index": 1, "delta": "no"})
    body = "".join(f"event: {kind}\ndata: {json.dumps(event)}\n\n" for event in events)
    masked = Redactor(key).data(body.encode()).decode()
    fold = StreamFold(load_dialect("openai"))
    for line in masked.splitlines():
        if line.startswith("data: "):
            fold.feed(json.loads(line.removeprefix("data: ")))
    texts = [part.text for item in fold.items for part in item.parts]
    assert len(texts) == 1 + turns
    assert len(texts[0]) == len(written)
    assert texts[0].count("*") >= len(written) - 6
    assert Redactor(key).text(texts[0]) == texts[0]


def test_the_key_is_masked_across_parts() -> None:
    key = "sk-0123456789abcdef"
    parts = [{"type": "output_text", "text": key[:7]}, {"type": "output_text", "text": key[7:]}]
    masked = json.loads(Redactor(key).text(json.dumps(parts)))
    assert [part["text"] for part in masked] == ["*" * 7, "*" * 12]


@given(st.binary())
@pytest.mark.slow(1)
def test_without_a_key_bodies_stay(data: bytes) -> None:
    assert Redactor().data(data) == data
    chunk = Chunk(1.0, data)
    assert Redactor().chunks([chunk]) == [chunk]


@given(st.binary(max_size=200))
def test_what_holds_no_key_stays(data: bytes) -> None:
    key = "\x00 \x01never drawn\x02"
    assert Redactor(key).data(data) == data


@pytest.mark.parametrize("key", ["EMPTY", "test", ""])
def test_placeholders_are_no_secrets(key: str) -> None:
    assert Redactor(key).text("this is a test: EMPTY") == "this is a test: EMPTY"
    assert Redactor(key).headers([("authorization", f"Bearer {key}")]) == (("authorization", REDACTED),)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("my-production-key-2024", "This is a production system."),
        ("function_call_key_0123", '{"type":"function_call","arguments":""}'),
        ("assistant", '{"role":"assistant"}'),
        ("in_progress", '{"status":"in_progress"}'),
        ("sk-completed-012345", '{"type":"response.completed","status":"completed"}'),
        ("sk-proj-0123456789abcdef", "A key of the form sk-proj-... is needed."),
    ],
)
def test_words_stay_readable(key: str, text: str) -> None:
    assert Redactor(key).text(text) == text
    if key not in text:
        assert Redactor(key).text(f"{text} {key}") == f"{text} {'*' * len(key)}"


def test_long_words_of_a_key_are_masked() -> None:
    word = "incomprehensibilities"[:LONG_WORD]
    assert Redactor(f"sk-{word}-1").text(word) == "*" * LONG_WORD


def test_several_secrets() -> None:
    redactor = Redactor("sk-first-0123456789", None, "sk-second-abcdefgh12", headers=["x-tenant"])
    assert redactor.text("sk-first-0123456789 sk-second-abcdefgh12") == f"{'*' * 19} {'*' * 20}"
    assert redactor.headers([("X-Tenant", "blue")]) == (("X-Tenant", REDACTED),)


def test_values_of_secret_headers_are_masked() -> None:
    environ = {"TOKEN": "Basic dXNlcjpzZWNyZXQxMjM0", "JAR": "theme=dark; session=0f9e8d7c6b5a4321"}
    options = read_request_options(header_env=["X-Token=TOKEN", "Cookie=JAR"], environ=environ)
    masked = options.redactor().text("dXNlcjpzZWNyZXQxMjM0 0f9e8d7c6b5a4321 dark")
    assert masked == f"{'*' * 20} {'*' * 16} dark"


@pytest.mark.parametrize("name", ["api-key", "api_key", "key", "token", "access_token", "sig", "subscription-key"])
def test_credentials_in_a_query(name: str) -> None:
    url = f"http://localhost/v1?api-version=1&{name}=s3cr%2Bt-value&x=1"
    assert shown_url(url) == f"http://localhost/v1?api-version=1&{name}={REDACTED}&x=1"
    assert query_secrets(url) == ["s3cr%2Bt-value", "s3cr+t-value"]
    assert query_secrets("http://localhost/v1?api-version=2024-01-01&model=key") == []


@pytest.mark.parametrize(
    ("parameter", "secret"),
    [
        ("tokens=16", False),
        ("max_tokens=4096", False),
        ("max-output-tokens=1", False),
        ("tokens=12345678", True),
        ("tokens=a16", True),
        ("tokens=16%32", True),
        ("token=16", True),
        ("access_token=123456", True),
        ("refreshtokens=16", True),
        ("tokens_key=16", True),
    ],
)
def test_a_number_of_tokens_is_no_secret(parameter: str, secret: bool) -> None:
    name, _, value = parameter.partition("=")
    model = f"ttft=50&{parameter}&gap=1"
    assert shown_url(model) == (f"ttft=50&{name}={REDACTED}&gap=1" if secret else model)
    assert (value in query_secrets(model)) is secret


SPAM = {
    "text": "The quick brown fox ",
    "backslashes": "\\\\",
    "quotes": '\\"',
    "percent": "%73",
    "entities": "&amp;",
    "begin of the key": "sk-te",
    "the key": "sk-test-0123456789abcdef",
    "one letter of a key": "a",
    "deltas": 'data: {"delta":"a","output_index":1}\n\n',
    "open deltas": '"delta":"',
    "blanks": " a",
}


@pytest.mark.parametrize("piece", SPAM.values(), ids=SPAM.keys())
@pytest.mark.parametrize("key", ["sk-test-0123456789abcdef", "aaaaaaaaaaaaaaaa"])
def test_twice_the_text_takes_twice_the_work(
    piece: str, key: str, work_of: Callable[[Callable[[], object]], int]
) -> None:
    redactor = Redactor(key)
    few = work_of(lambda: redactor.text(piece * 400))
    many = work_of(lambda: redactor.text(piece * 800))
    assert many < 2.3 * few + 2000


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:pa$$@example.org/v1", "https://user:[redacted]@example.org/v1"),
        ("see //:pw@[::1]:8000/?token=abc now", "see //:[redacted]@[::1]:8000/?token=[redacted] now"),
        ("http://127.0.0.1:8000/a@b", "http://127.0.0.1:8000/a@b"),
        ("http://user@example.org", "http://user@example.org"),
    ],
)
def test_passwords_of_urls_are_not_shown(text: str, shown: str) -> None:
    assert shown_url(text) == shown
    assert Redactor().headers([("Location", text), ("X-Other", text)]) == (("Location", shown), ("X-Other", text))
