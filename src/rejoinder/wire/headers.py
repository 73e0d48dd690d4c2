"""The headers of requests, the same for every client of rejoinder."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from typing import Final

from rejoinder import __version__
from rejoinder.errors import UsageError
from rejoinder.model.exchange import Headers

USER_AGENT: Final = f"rejoinder/{__version__} python/{platform.python_version()}"
ACCEPT_EITHER: Final = "text/event-stream, application/json"
"""For clients that read streams and plain replies alike."""


def check_key(key: str | None, name: str = "API key") -> None:
    """Raise :class:`UsageError` for a key that no header can carry."""
    if key and not (key.isascii() and key.isprintable() and key == key.strip()):
        raise UsageError(
            f"The {name} has a line break, a space at its start or end, or a character outside ASCII.",
            "Check the environment variable that holds it.",
        )


def key_header(key: str, name: str = "") -> tuple[str, str]:
    """Return the header that carries a key: ``Authorization: Bearer``, or the key as it is in the header ``name``."""
    return (name, key) if name else ("Authorization", f"Bearer {key}")


def request_headers(*, accept: str, key: str | None = None, body: bool = True, key_name: str = "") -> Headers:
    """Return the headers of a request; compression is not asked for, since it would bend times and bytes.

    ``body``: whether the request has one, which is JSON. ``key_name`` is the header that carries the key, as for
    :func:`key_header`.
    """
    headers = [("Accept", accept), ("Accept-Encoding", "identity"), ("User-Agent", USER_AGENT)]
    if body:
        headers.append(("Content-Type", "application/json"))
    if key:
        headers.append(key_header(key, key_name))
    return tuple(headers)


def merge_headers(headers: Headers, layer: Iterable[tuple[str, str | None]]) -> Headers:
    """Return headers with others on top: a name there replaces all of its values, ``None`` as value takes it out."""
    pairs = tuple(layer)
    names = {name.lower() for name, _ in pairs}
    kept = [pair for pair in headers if pair[0].lower() not in names]
    return (*kept, *((name, text) for name, text in pairs if text is not None))
