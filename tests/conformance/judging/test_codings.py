"""Compressed bodies as checks see them: decompressed where that is possible, else as they came."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.conformance.judging.codings import accepted_codings, decoded
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request

ACCEPTS = (("Accept-Encoding", "gzip, deflate;q=0.5"),)


def exchange(*pieces: bytes, coding: str = "gzip", request: Request | None = None) -> Exchange:
    request = request or Request("POST", "/v1/responses", ACCEPTS, b"{}")
    chunks = tuple(Chunk(float(number), piece) for number, piece in enumerate(pieces))
    headers = (("Content-Type", "application/json"), ("Content-Encoding", coding))
    return Exchange("x1", request, Outcome.COMPLETE, 200, headers, chunks)


@given(st.binary(min_size=1, max_size=400), st.lists(st.integers(0, 400), max_size=4))
def test_a_response_is_decompressed_whatever_its_chunks_are(body: bytes, cuts: list[int]) -> None:
    for coding, data in (("gzip", gzip.compress(body)), ("deflate", zlib.compress(body))):
        places = sorted({0, *(min(cut, len(data)) for cut in cuts), len(data)})
        pieces = [data[begin:end] for begin, end in pairwise(places)]
        found = decoded(exchange(*pieces, coding=coding))
        assert (found.body, found.header("content-encoding")) == (body, "")
        assert {chunk.t for chunk in found.chunks} <= set(map(float, range(len(pieces))))


@pytest.mark.parametrize(
    ("data", "coding"),
    [
        (b'{"id":"r"}', "gzip"),
        (gzip.compress(b"{}" * 100)[:-4], "gzip"),
        (gzip.compress(b"{}") + b"more", "gzip"),
        (gzip.compress(b" " * 9_000_000), "gzip"),
        (gzip.compress(b"{}"), "br"),
        (gzip.compress(b"{}"), "gzip, gzip"),
    ],
)
def test_what_cannot_be_decompressed_stays_as_it_came(data: bytes, coding: str) -> None:
    came = exchange(data, coding=coding)
    assert decoded(came) is came


def test_an_uninvited_coding_stays_as_it_came() -> None:
    came = exchange(gzip.compress(b"{}"), request=Request("POST", "/v1/responses", (("accept-encoding", "identity"),)))
    assert decoded(came) is came
    assert accepted_codings(came) == ()


def test_a_compressed_request_is_decompressed() -> None:
    body = b'{"input":"Hi"}'
    headers = (("content-encoding", "deflate"), ("content-type", "application/json"))
    request = Request("POST", "/v1/responses", headers, zlib.compress(body))
    came = replace(exchange(b"{}", coding=""), request=request, headers=())
    found = decoded(came)
    assert (found.request.body, found.request.headers) == (body, (("content-type", "application/json"),))
    damaged = replace(came, request=replace(request, body=b"not zlib"))
    assert decoded(damaged) is damaged
