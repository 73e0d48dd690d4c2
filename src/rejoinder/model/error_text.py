"""What an endpoint itself says of a request that it refused, or could not answer."""

from __future__ import annotations

from typing import Any, Final

from rejoinder.model.exchange import Exchange

MAX_LENGTH: Final = 300
"""Characters of an endpoint's own words that are kept."""


def error_text(exchange: Exchange, limit: int = MAX_LENGTH) -> str:
    """Return the error message of a response on one line of at most ``limit`` characters; empty for an empty body.

    The message is looked for where servers put it: ``error.message``, ``message``, ``detail``, ``error``. A body
    without one is quoted from its beginning.
    """
    body = exchange.json()
    error = _get(body, "error")
    places = (_get(error, "message"), _get(body, "message"), _get(body, "detail"), error)
    text = next((place for place in places if isinstance(place, str) and place.strip()), None)
    if text is None:
        text = exchange.body[: 4 * limit].decode("utf-8", "replace")
    return _one_line(text, limit)


def error_message(error: Any, limit: int = MAX_LENGTH) -> str:
    """Return what an error object says, on one line: its message, else its code; empty without either."""
    places = (_get(error, "message"), _get(error, "code"))
    return _one_line(next((place for place in places if isinstance(place, str) and place.strip()), ""), limit)


def _one_line(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
