"""Addresses: the one place where a URL that a person typed is read."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from rejoinder.errors import UsageError

_EXAMPLE: Final = "Write it like http://localhost:8000 or https://example.com/v1."
_VERSIONED: Final = re.compile(r"/v\d+(alpha\d*|beta\d*)?$")


class Address(NamedTuple):
    """An http or https URL in parts: ``host`` in ASCII and without brackets, ``query`` without its question mark."""

    tls: bool
    host: str
    port: int
    path: str = ""
    query: str = ""

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """The URL without path and query."""
        return f"{'https' if self.tls else 'http'}://{self.authority}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return self.origin + self.below("")

    def below(self, suffix: str) -> str:
        """Return path and query of a resource whose path is this one's with a suffix, as a request line holds them."""
        return f"{self.path}{suffix}?{self.query}" if self.query else self.path + suffix


def parse_address(url: str) -> Address:
    """Return the parts of a URL; a fragment is dropped.

    Raises :class:`UsageError` for what is no http or https URL, has no host or port 0, holds a user name or password,
    or characters that must be percent-encoded.
    """
    url = url.strip()
    try:
        split = urlsplit(url)
        port, host = split.port, split.hostname or ""
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError as error:  # UnicodeError is one
        raise UsageError(f"{url!r} is not a URL: {error}.", _EXAMPLE) from error
    if split.scheme not in ("http", "https"):
        hint = f"Did you mean http://{url}?" if url and "://" not in url else _EXAMPLE
        raise UsageError(f"{url!r} is not an http:// or https:// URL.", hint)
    if not host or port == 0 or any(char.isspace() or not char.isprintable() for char in url):
        raise UsageError(f"{url!r} is not a URL: it has no usable host, port or path.", _EXAMPLE)
    if split.username is not None or split.password is not None:
        raise UsageError(
            "The URL holds a user name or password.", "Put the key into REJOINDER_API_KEY and leave it out of the URL."
        )
    if not (split.path + split.query).isascii():
        raise UsageError(f"{url!r} has characters that a URL cannot hold.", "Percent-encode them.")
    tls = split.scheme == "https"
    return Address(tls, host, port or (443 if tls else 80), split.path, split.query)


def candidate_addresses(url: str) -> list[Address]:
    """Return the addresses at which the create endpoint may be, the likeliest first.

    ``url`` is the base with or without a version (``/v1``), or the create endpoint itself; slashes at the end and a
    query are fine. Raises :class:`UsageError` as :func:`parse_address` does.
    """
    address = parse_address(url)
    path = address.path.rstrip("/")
    if path.endswith("/responses"):
        paths = [path]
    elif _VERSIONED.search(path):
        paths = [f"{path}/responses"]
    else:
        paths = [f"{path}/v1/responses", f"{path}/responses"]
    return [address._replace(path=path) for path in paths]
