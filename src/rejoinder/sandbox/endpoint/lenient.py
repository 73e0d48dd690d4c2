"""A lenient reading of requests: of an invalid body, what can be used is used."""

from __future__ import annotations

from functools import cache
from typing import Final

from rejoinder.contract import request_schema
from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.validation import Validator

_NEEDED: Final = ("input", "prompt", "previous_response_id", "conversation")
_HELLO: Final = {"input": "Hello."}


@cache
def _validator(dialect: str) -> Validator:
    return Validator(request_schema(dialect=dialect))


def mended(body: Json, info: RequestInfo) -> Json:
    """Return an invalid body without its invalid fields, any other body as it is.

    An invalid input is replaced. A body without input and one with an invalid ``tool_choice`` stay as they are.
    """
    fits = _validator(info.dialect.reference).is_valid
    if not any(body.get(name) for name in _NEEDED) or fits(body):
        return body
    kept = {name: value for name, value in body.items() if fits({**_HELLO, name: value})}
    return body if "tool_choice" in body and "tool_choice" not in kept else {**_HELLO, **kept}
