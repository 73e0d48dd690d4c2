"""A lenient reading of requests: of an invalid body, what can be used is used."""

from __future__ import annotations

from typing import Final

from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json

_NEEDED: Final = ("input", "prompt", "previous_response_id", "conversation")
_HELLO: Final = {"input": "Hello."}
_REFUSED: Final = ("tools", "tool_choice", "max_tool_calls")
"""Fields of tools, which TOL-09 wants refused if they are invalid."""


def mended(body: Json, info: RequestInfo) -> Json:
    """Return an invalid body without its invalid fields, any other body as it is.

    An invalid input is replaced. A body without input stays as it is, and so does one with an invalid field of tools.
    """
    fits = info.dialect.possible_requests.is_valid
    if not any(body.get(name) for name in _NEEDED) or fits(body):
        return body
    kept = {name: value for name, value in body.items() if fits({**_HELLO, name: value})}
    return body if any(name in body and name not in kept for name in _REFUSED) else {**_HELLO, **kept}
