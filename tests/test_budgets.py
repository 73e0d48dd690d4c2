"""A reply is cut at the first limit that it passes, wherever the network splits it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.budgets import (
    CHECK,
    CHECK_LEAST,
    CHECK_RESERVE,
    CHECK_RUN,
    DEPTH,
    INPUT_BODIES,
    INPUT_BODY_VALUES,
    INPUT_DIGITS,
    INPUT_RUN,
    INPUT_RUN_LINE,
    INPUT_RUN_LINES,
    INPUT_RUN_PIPE,
    INPUT_SECONDS,
    INPUT_TOKENS,
    INPUT_TOML,
    INPUT_TRACE,
    INPUT_VALUES,
    KIB,
    LOAD,
    LOAD_EVIDENCE,
    LOAD_LONG,
    LOAD_SAMPLED,
    LOAD_STREAM,
    LOAD_WAITING,
    METRICS,
    METRICS_SECONDS,
    MIB,
    MODEL_NAME,
    MODELS,
    MODELS_SECONDS,
    ReplyBudget,
    ReplyMeter,
    weight_of,
)

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
    assert weight_of(b"".join(parts[:-1]), len(parts) - 1) <= 600
    assert meter.overweight or b"".join(parts) == b"".join(pieces)


def _size(number: int) -> str:
    return f"{number // MIB} MiB" if number >= MIB else f"{number // KIB} KiB"


def test_the_documentation_has_the_limits_that_are_kept() -> None:
    page = Path(__file__).parents[1] / "docs/explanation/hardening.md"
    found = re.findall(r"^\| ([^|]+?) \| (.+) \|$", page.read_text("utf-8"), re.MULTILINE)
    rows: dict[str, str] = {}
    for row, shown in found:  # the limits come first on the page
        rows.setdefault(row, shown)
    both = {
        "body": _size,
        "status line and headers": _size,
        "trailers": _size,
        "lines of the body": "{:,}".format,
        "commas, brackets and braces of the body": "{:,}".format,
        "chunks": "{:,}".format,
    }
    names = ("body", "head", "trailers", "lines", "values", "chunks")
    for (row, size), name in zip(both.items(), names, strict=True):
        assert rows[row] == f"{size(getattr(CHECK, name))} | {size(getattr(LOAD, name))}"
    assert rows["nesting of JSON"] == f"{DEPTH} | {DEPTH}"
    assert rows["estimated memory"] == f"{_size(CHECK.weight)} | -"
    together = (
        f"{_size(CHECK_RUN)} of memory, of which {_size(CHECK_RESERVE)} are for responses of up to {_size(CHECK_LEAST)}"
    )
    assert together in " ".join(page.read_text("utf-8").split())
    assert rows["model list"] == (
        f"{_size(MODELS.body)}, {MODELS.values:,} commas, brackets and braces, {MODELS_SECONDS:g} s"
    )
    assert rows["model name"] == f"{MODEL_NAME} characters, all printable"
    assert rows["page of `/metrics`"] == f"{_size(METRICS)}, {METRICS_SECONDS:g} s"
    assert rows["bodies in the run file of a load run"] == f"{_size(LOAD_EVIDENCE)} each"
    assert rows["one response in flight"] == _size(LOAD_STREAM)
    assert rows["parts of all responses in flight above these 4 MiB"] == _size(LOAD_LONG)
    waiting = [value for row, value in rows.items() if row.startswith("recordings that wait")]
    assert waiting == [_size(LOAD_SAMPLED), _size(LOAD_WAITING)]
    assert rows["settings, profile, dialect, baseline, extension, `--extra-body`"] == _size(INPUT_TOML)
    bodies = f"{_size(INPUT_BODIES)}, also of all files of a profile; 100,000 bodies in each"
    assert rows["request bodies (`--bodies`, `corpus`)"] == bodies
    assert rows["TOML and JSON"] == (
        f"{DEPTH} levels of nesting; {INPUT_VALUES:,} commas, brackets and braces of JSON, {INPUT_BODY_VALUES:,} of a "
        "request body"
    )
    assert rows["trace"] == f"{_size(INPUT_TRACE)}, 1,000,000 requests"
    line, pipe = _size(INPUT_RUN_LINE), _size(INPUT_RUN_PIPE)
    whole = f"{INPUT_RUN >> 30} GiB, {INPUT_RUN_LINES:,} lines"
    assert rows["run file"] == f"{whole}, {line} for each line; {pipe} if it is a pipe or device"
    assert rows["pipe or device"] == f"{INPUT_SECONDS:g} s without data"
    assert rows["integers"] == f"64 bits in TOML, {INPUT_DIGITS} digits in JSON"
    assert rows["input tokens of a request in a profile or trace"] == f"{INPUT_TOKENS:,}"


def test_the_limits_of_headers_and_trailers_are_those_that_httpcore_keeps() -> None:
    assert httpcore.AsyncHTTP11Connection.MAX_INCOMPLETE_EVENT_SIZE == CHECK.head == CHECK.trailers
