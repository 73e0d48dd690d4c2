"""A reply is cut at the first limit that it passes, wherever the network splits it."""

from __future__ import annotations

from dataclasses import replace

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.budgets import CHECK, KIB, ReplyBudget, ReplyMeter, weight_of

TINY = ReplyBudget(body=40, lines=3, values=4)
PIECES = st.lists(st.lists(st.sampled_from([b"\n", b",", b"[", b"{", b"a", b"0123456789"]), max_size=8).map(b"".join))


def kept(budget: ReplyBudget, pieces: list[bytes]) -> tuple[bytes, ReplyMeter]:
    meter = ReplyMeter(budget)
    return b"".join(meter.take(piece) for piece in pieces), meter


@given(PIECES)
def test_every_split_is_cut_at_the_same_byte(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    data, meter = kept(TINY, [whole])
    assert kept(TINY, pieces)[0] == kept(TINY, [bytes([byte]) for byte in whole])[0] == data
    assert whole.startswith(data)
    assert meter.size == len(data)
    assert bool(meter.exceeded) == (data != whole)


@given(PIECES)
def test_what_is_kept_is_within_every_limit_and_one_byte_more_is_not(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    data, meter = kept(TINY, [whole])
    values = sum(data.count(character) for character in b",[{")
    assert len(data) <= 40
    assert data.count(b"\n") <= 3
    assert values <= 4
    if meter.exceeded:
        more = whole[: len(data) + 1]
        assert len(more) > 40 or more.count(b"\n") > 3 or sum(more.count(character) for character in b",[{") > 4


@pytest.mark.parametrize(
    ("budget", "pieces", "size", "exceeded"),
    [
        (TINY, [b"x" * 41], 40, "more than 40 bytes"),
        (TINY, [b"x", b"\n\n", b"\n\n"], 4, "more than 3 lines"),
        (TINY, [b"[[[[[1"], 4, "more than 4 JSON values"),
        (replace(TINY, chunks=2), [b"a", b"b", b"c"], 2, "more than 2 chunks"),
        (TINY, [b"x" * 40], 40, ""),
    ],
)
def test_each_limit_has_its_words(budget: ReplyBudget, pieces: list[bytes], size: int, exceeded: str) -> None:
    data, meter = kept(budget, pieces)
    assert (len(data), meter.exceeded, meter.overweight) == (size, exceeded, False)
    assert not exceeded or meter.cut == f"the response has {exceeded}: rejoinder stopped reading after {size} bytes"


@given(PIECES)
def test_a_reply_weighs_no_more_than_its_budget(pieces: list[bytes]) -> None:
    budget = ReplyBudget(body=KIB, weight=600)
    meter = ReplyMeter(budget)
    parts = [part for piece in pieces if (part := meter.take(piece))]
    assert meter.overweight == bool(meter.exceeded)
    # A piece is cut as if its lines and values were spread over it evenly, which they need not be.
    assert weight_of(parts[:-1]) <= 600
    assert meter.overweight or b"".join(parts) == b"".join(pieces)


def test_the_limits_of_headers_and_trailers_are_those_that_httpcore_keeps() -> None:
    assert httpcore.AsyncHTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE == CHECK.head == CHECK.trailers
