"""Addresses: the one place where a URL that a person typed is read."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from rejoinder.errors import UsageError

LOCAL_ERRORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors of opening a connection that say nothing of the endpoint: this machine has no files, memory or ports left."""
_EXAMPLE: Final = "Write it as http://localhost:8000 or https://example.com/v1."
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
    """Return the parts of a URL; a fragment is dropped. ``localhost:8000`` and other loopback hosts need no scheme.

    Raises :class:`UsageError` for what is no http or https URL, has no host or port 0, holds a user name or password,
    or characters that must be percent-encoded.
    """
    url = url.strip()
    if "://" not in url and is_loopback(urlsplit(f"//{url}").hostname or ""):
        url = f"http://{url}"
    try:
        split = urlsplit(url)
        port, host = split.port, split.hostname or ""
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError as error:  # UnicodeError is one
        raise UsageError(f'"{url}" is not a URL: {error}.', _EXAMPLE) from error
    if split.scheme not in ("http", "https"):
        hint = f"Did you mean http://{url}?" if url and "://" not in url else _EXAMPLE
        raise UsageError(f'"{url}" is not an http:// or https:// URL.', hint)
    if not host or port == 0 or any(char.isspace() or not char.isprintable() for char in url):
        raise UsageError(f'"{url}" is not a URL: the host, port or path is missing or invalid.', _EXAMPLE)
    if split.username is not None or split.password is not None:
        raise UsageError(
            "The URL contains a user name or password.", "Remove it, and put the API key into REJOINDER_API_KEY."
        )
    if not (split.path + split.query).isascii():
        raise UsageError(f'"{url}" has characters outside ASCII.', "Percent-encode them.")
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


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is certainly this machine."""
    host = host.lower().rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return False
