"""A key is taken out wherever it stands, and nothing else changes."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.exchange import Chunk
from rejoinder.wire.redact import MIN_SECRET, REDACTED, Redactor

keys = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=MIN_SECRET, max_size=40)


@pytest.mark.parametrize(
    "name", ["Authorization", "api-key", "X-API-Key", "Cookie", "Set-Cookie", "PROXY-AUTHORIZATION"]
)
def test_credential_headers(name: str) -> None:
    assert Redactor().headers([(name, "v"), ("Other", "v")]) == ((name, REDACTED), ("Other", "v"))


@given(keys, st.binary(), st.binary())
def test_the_key_is_masked_at_equal_length(key: str, before: bytes, after: bytes) -> None:
    data = before + key.encode() + after
    masked = Redactor(key).data(data)
    assert len(masked) == len(data)
    assert key.encode() not in masked or set(key) == {"*"}


@given(keys)
def test_escaped_forms_are_masked(key: str) -> None:
    redactor = Redactor(key)
    for form in (json.dumps(key)[1:-1], json.dumps(key)[1:-1].replace("/", "\\/"), quote(key, safe=""), quote(key)):
        assert redactor.text(f"<{form}>") == f"<{'*' * len(form)}>"
        assert redactor.headers([("X-Echo", form)]) == (("X-Echo", "*" * len(form)),)


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


@given(st.binary())
@pytest.mark.slow(1)
def test_without_a_key_bodies_stay(data: bytes) -> None:
    assert Redactor().data(data) == data
    chunk = Chunk(1.0, data)
    assert Redactor().chunks([chunk])[0] is chunk


@pytest.mark.parametrize("key", ["EMPTY", "test", ""])
def test_placeholders_are_no_secrets(key: str) -> None:
    assert Redactor(key).text("this is a test: EMPTY") == "this is a test: EMPTY"
    assert Redactor(key).headers([("authorization", f"Bearer {key}")]) == (("authorization", REDACTED),)
