"""The endpoint's own words of a refusal are found where servers put them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rejoinder.model.error_text import MAX_LENGTH, error_text
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request


def refused(body: bytes) -> Exchange:
    request = Request("POST", "/v1/responses", (), b"{}")
    return Exchange(id="x1", request=request, status=400, outcome=Outcome.COMPLETE, chunks=(Chunk(0.0, body),))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "No images."}}, "No images."),
        ({"message": "No images."}, "No images."),
        ({"detail": "No images."}, "No images."),
        ({"error": "No images."}, "No images."),
        ({"error": {"message": " \n"}, "detail": "No\n images."}, "No images."),
        ({"detail": [{"loc": ["top_k"]}]}, '{"detail": [{"loc": ["top_k"]}]}'),
        ([], "[]"),
    ],
)
def test_the_message_is_found(body: Any, words: str) -> None:
    assert error_text(refused(json.dumps(body).encode())) == words


def test_what_is_no_json_is_quoted() -> None:
    assert error_text(refused(b"<h1>Bad\tgateway</h1>\r\n")) == "<h1>Bad gateway</h1>"
    assert error_text(refused(b"")) == ""


@given(st.binary() | st.text(min_size=MAX_LENGTH).map(str.encode))
def test_it_is_one_line_of_bounded_length(body: bytes) -> None:
    words = error_text(refused(body))
    assert len(words) <= MAX_LENGTH
    assert len(words.splitlines()) <= 1
