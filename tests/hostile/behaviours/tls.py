"""Behaviours in the handshake of TLS and after it."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import warnings
from functools import cache

import trustme
from tests.hostile.endpoint import Behaviour, Connection, HttpRequest, Opens, answer, behaviour, plain_body, reset

DAY = datetime.timedelta(days=1)


@cache
def authority() -> trustme.CA:
    """Return the certificate authority of all certificates here."""
    return trustme.CA()


@cache
def _context(kind: str) -> ssl.SSLContext:
    """Return the side of the server; ``kind`` says what is odd about its certificate, its version or its demands."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    now = datetime.datetime.now(datetime.UTC)
    begin, end = {"expired": (now - 9 * DAY, now - DAY), "not yet valid": (now + DAY, now + 9 * DAY)}.get(
        kind, (now - DAY, now + 9 * DAY)
    )
    names = ["elsewhere.invalid"] if kind == "another host" else ["127.0.0.1", "localhost"]
    issuer = trustme.CA() if kind == "unknown authority" else authority()
    certificate = issuer.issue_cert(*names, not_before=begin, not_after=end)
    certificate.configure_cert(context)
    if kind == "client certificate":
        authority().configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    if kind == "old version":
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():  # Python warns of versions before 1.2
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


def _shakes(kind: str) -> Opens:
    return lambda sock: _context(kind).wrap_socket(sock, server_side=True)


def _says(data: bytes) -> Opens:
    """Answer the client's greeting with these bytes, and close."""

    def opens(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(data)
        sock.close()

    return opens


def _hangs(sock: socket.socket) -> None:
    """Never answer the client's greeting."""
    while sock.recv(65536):
        pass


def _resets(sock: socket.socket) -> None:
    sock.recv(65536)
    reset(sock)


def _tls(name: str, cause: str, opens: Opens) -> Behaviour:
    """Register a behaviour that answers properly once the handshake is over."""

    def act(connection: Connection, request: HttpRequest) -> None:
        answer(connection, request)

    act.__name__ = name
    return behaviour("TLS", cause, opens=opens, tls=True)(act)


HANDSHAKES = [
    _tls("certificate_expired", "The certificate has expired.", _shakes("expired")),
    _tls("certificate_not_yet_valid", "The certificate is not valid yet.", _shakes("not yet valid")),
    _tls("certificate_of_another_host", "The certificate names another host.", _shakes("another host")),
    _tls("certificate_unknown", "The authority of the certificate is unknown.", _shakes("unknown authority")),
    _tls("tls_1_1_only", "The endpoint speaks only TLS 1.1.", _shakes("old version")),
    _tls("client_certificate_demanded", "The endpoint demands a client certificate.", _shakes("client certificate")),
    _tls("handshake_closed", "The endpoint closes the connection in the handshake.", _says(b"")),
    _tls("handshake_alert", "The endpoint ends the handshake with an alert.", _says(b"\x15\x03\x03\x00\x02\x02\x28")),
    _tls("handshake_noise", "The endpoint answers the greeting with noise.", _says(bytes(range(256)) * 8)),
    _tls(
        "handshake_plain", "The endpoint answers the greeting without TLS.", _says(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    ),
    _tls(
        "handshake_large_record",
        "A record of the handshake is too large.",
        _says(b"\x16\x03\x03\xff\xff" + b"x" * 65535),
    ),
    _tls("handshake_hangs", "The endpoint never answers the greeting.", _hangs),
    _tls("handshake_reset", "The endpoint resets the connection in the handshake.", _resets),
]
"""The behaviours of handshakes."""


@behaviour("TLS", "The endpoint ends TLS without a notice, within the body.", opens=_shakes("sound"), tls=True)
def tls_cut(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"))
    connection.send(plain_body()[:-30])
    connection.reset()


@behaviour("TLS", "Noise follows within the encrypted stream.", opens=_shakes("sound"), tls=True)
def tls_noise(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/json"), ("Content-Length", "4000"))
    sock = connection.socket
    assert isinstance(sock, ssl.SSLSocket)
    with socket.socket(fileno=os.dup(sock.fileno())) as below:
        below.sendall(bytes(range(256)) * 16)
