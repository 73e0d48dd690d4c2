"""A request in one line."""

from __future__ import annotations

import pytest

from rejoinder.model.exchange import Request
from rejoinder.model.script import Step

BODY = b'{"input":"Hi"}'


@pytest.mark.parametrize(
    ("headers", "body", "line"),
    [
        ((("Content-Type", "application/json"),), BODY, 'POST /v1/responses {"input":"Hi"}'),
        ((("content-type", "application/json; charset=utf-8"),), BODY, 'POST /v1/responses {"input":"Hi"}'),
        ((("content-type", "application/problem+json"),), BODY, 'POST /v1/responses {"input":"Hi"}'),
        ((), BODY, 'POST /v1/responses {"input":"Hi"}'),
        ((("content-type", "text/plain"),), BODY, 'POST /v1/responses (Content-Type: text/plain) {"input":"Hi"}'),
        ((("accept", "*/*"),), BODY, 'POST /v1/responses (no Content-Type) {"input":"Hi"}'),
        ((("accept", "*/*"),), b"", "POST /v1/responses"),
    ],
)
def test_a_line_names_a_content_type_that_is_not_json(
    headers: tuple[tuple[str, str], ...], body: bytes, line: str
) -> None:
    assert Step(Request("POST", "/v1/responses", headers, body)).line == line
