"""An exchange survives its JSON form, and only its JSON form is accepted."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rejoinder.model.exchange import Arrivals, Chunk, Exchange, Outcome, Request, parse_json

seconds = st.floats(0, 1e9, allow_nan=False)
pairs = st.lists(st.tuples(st.text(), st.text())).map(tuple)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)
exchanges = st.builds(
    Exchange,
    id=st.text(),
    request=st.builds(Request, method=st.text(), path=st.text(), headers=pairs, body=st.binary()),
    outcome=st.sampled_from(Outcome),
    status=st.none() | st.integers(100, 999),
    headers=pairs,
    chunks=st.lists(st.builds(Chunk, t=seconds, data=st.binary())).map(tuple),
    case=st.text(),
    role=st.text(),
    tags=st.lists(st.text()).map(tuple),
    started_at=seconds,
    headers_at=st.none() | seconds,
    ended_at=seconds,
    detail=st.text(),
)


@pytest.mark.parametrize("data", [b"\0" * 1000, b"\x01a" * 1000, b"plain\n" * 1000, b"\xff" * 1000])
def test_the_json_form_of_a_body_is_less_than_four_times_its_size(data: bytes) -> None:
    exchange = Exchange("x", Request("GET", "/"), Outcome.COMPLETE, 200, chunks=(Chunk(0, data),))
    text = json.dumps(exchange.to_json())
    assert len(text) < 4 * len(data) + 500
    assert Exchange.from_json(json.loads(text)) == exchange


@given(exchanges)
def test_round_trip(exchange: Exchange) -> None:
    record = json.loads(json.dumps(exchange.to_json(), allow_nan=False))
    again = Exchange.from_json(record)
    assert again == exchange
    assert again.body == exchange.body == b"".join(chunk.data for chunk in exchange.chunks)


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**40)), max_size=9))
@example([(n / 8, n) for n in range(9_000)])
def test_arrivals_are_written_as_pairs_of_time_and_size(pairs: list[tuple[float, int]]) -> None:
    arrivals = Arrivals.of([t for t, _ in pairs], [size for _, size in pairs])
    text = b"".join(arrivals.to_json())
    assert list(arrivals.pairs()) == pairs
    assert json.loads(text) == [list(pair) for pair in pairs]
    assert Arrivals.from_json(text) == Arrivals.from_json(json.dumps(pairs).encode()) == arrivals


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"[", b"]", b"{}", b"null", b"[1]", b"[[0.1]]", b"[[0.1,2,3]]", b"[[0.1,2],]", b"[,[0.1,2]]"),
        *(
            b'[["0.1",2]]',
            b"[[0.1,true]]",
            b"[[0.1,-1]]",
            b"[[0.1,1.5]]",
            b"[[1e999,1]]",
            b"[[0.1,99999999999999999999]]",
        ),
        b"[" + b"[0.1,1]," * 9_000 + b"[0.1,-1]]",
        b"[" + b"[0.1,1]," * 9_000 + b"[0.1,18446744073709551615]]",
    ],
)
def test_what_are_no_arrivals(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Arrivals.from_json(text)


@given(exchanges, st.data())
def test_a_changed_record_is_an_exchange_or_a_value_error(exchange: Exchange, data: st.DataObject) -> None:
    record = exchange.to_json()
    place = data.draw(st.sampled_from([record, record["request"]]))
    name = data.draw(st.sampled_from(sorted(place)))
    if data.draw(st.booleans()):
        del place[name]
    else:
        place[name] = data.draw(json_values)
    with suppress(ValueError):
        Exchange.from_json(record)


@pytest.mark.parametrize("record", [None, [], "x", {}, {"id": 1}])
def test_what_is_no_exchange(record: Any) -> None:
    with pytest.raises(ValueError, match="not an exchange"):
        Exchange.from_json(record)


@pytest.mark.parametrize(
    "change",
    [
        {"chunks": [[0.0, 5]]},
        {"chunks": [[0.0, 3], [0.0, -1]]},
        {"chunks": [[10**400, 2]]},
        {"chunks": [[0.0, 1.5], [0.0, 0.5]]},
        {"body_base64": "?"},
        {"outcome": "fine"},
        {"started_at": 10**400},
        {"body": "\ud800"},
    ],
)
def test_records_that_do_not_add_up(change: dict[str, Any]) -> None:
    whole = Exchange(id="1", request=Request("GET", "/"), outcome=Outcome.COMPLETE, chunks=(Chunk(0.0, b"ab"),))
    with pytest.raises(ValueError):  # noqa: PT011
        Exchange.from_json({**whole.to_json(), **change})


def test_what_is_computed() -> None:
    exchange = Exchange(
        id="1",
        request=Request("POST", "/", body=b'{"a":1}'),
        outcome=Outcome.COMPLETE,
        status=204,
        headers=(("content-TYPE", " Text/Event-Stream ; charset=utf-8"), ("x", "1"), ("X", "2")),
        chunks=(Chunk(0.1, b'{"b"'), Chunk(0.2, b":2}")),
    )
    assert exchange.content_type == "text/event-stream"
    assert (exchange.header("X"), exchange.header("none")) == ("1", "")
    assert (exchange.json(), exchange.request.json()) == ({"b": 2}, {"a": 1})
    assert [replace(exchange, status=status).ok for status in (None, 199, 200, 299, 300)] == [
        False,
        False,
        True,
        True,
        False,
    ]
    assert exchange.tagged("t").tagged("u").tags == ("t", "u")


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"NaN", b'{"a":Infinity}', b"[" * 100_000, b"1 2", b"9" * 5000])
def test_what_is_not_json(text: bytes) -> None:
    assert parse_json(text) is None


@given(json_values)
def test_json_is_parsed(value: Any) -> None:
    assert parse_json(json.dumps(value)) == value
