"""A recorded request as a command line that sends the same request again."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any, Final
from urllib.parse import urlsplit

from rejoinder.formatting import BODY_LIMIT, printable, truncate
from rejoinder.model.exchange import Request, parse_json
from rejoinder.reports.excerpt import layout

# What curl sets itself, and what would only repeat the recording client's habits.
_OWN_HEADERS: Final = frozenset(
    ("host", "content-length", "user-agent", "accept-encoding", "connection", "transfer-encoding", "cookie")
)
_SECRET_HEADERS: Final = frozenset(("authorization", "x-api-key", "api-key"))
LAYOUT_LIMIT: Final = 64 * 1024
"""Bytes above which a body is not laid out: its beginning is all that is shown."""
_KEY: Final = "$REJOINDER_API_KEY"


def request_url(target: str, request: Request) -> str:
    """Return the full address of a request: the origin of the target with the request's path."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return request.path
    return f"{parts.scheme}://{parts.netloc}{request.path}" if parts.scheme and parts.netloc else request.path


def curl(target: str, request: Request) -> tuple[str, bool]:
    """Return a command that repeats a request, and whether it has the whole body.

    A JSON body that survives a round trip is indented and fed through a here-document, so that it can be read and
    copied as it is; any other body is quoted byte by byte. Keys are named by ``$REJOINDER_API_KEY``. Text from the
    recording cannot leave its quotes, and contains no character that acts on a terminal.
    """
    command = ["curl -sS", "-N"] if _streams(request) else ["curl -sS"]
    if request.method not in ("POST", "GET") or (request.method == "POST" and not request.body):
        command.append(f"-X {_quoted(request.method)}")
    lines = [" ".join([*command, _quoted(request_url(target, request))])]
    for name, value in request.headers:
        lower = name.lower()
        if lower in _OWN_HEADERS or (lower == "accept" and value == "*/*"):
            continue
        if lower in _SECRET_HEADERS:
            prefix = "Bearer " if lower == "authorization" else ""
            lines.append(f'-H "{re.sub(r"[^A-Za-z-]", "", name)}: {prefix}{_KEY}"')
        else:
            lines.append(f"-H {_quoted(f'{name}: {value}')}")
    if not request.body:
        return " \\\n  ".join(lines), True
    if not any(name.lower() == "content-type" for name, _ in request.headers):
        # curl would call it a form; a recording without any header at all left out the usual ones.
        lines.append("-H 'Content-Type:'" if request.headers else "-H 'Content-Type: application/json'")
    body = json_body(request.body)
    if body is not None:
        lines.append("--data-binary @- <<'JSON'")
        return " \\\n  ".join(lines) + f"\n{truncate(body)}\nJSON", len(body) <= BODY_LIMIT
    lines.append(f"--data-binary {_quoted_bytes(request.body[:BODY_LIMIT])}")
    return " \\\n  ".join(lines), len(request.body) <= BODY_LIMIT


def json_body(body: bytes) -> str | None:
    """Return a JSON body indented, or ``None`` when indenting it would change what it says.

    Characters that must not reach a page are written as JSON escapes, which say the same.
    """
    if len(body) > LAYOUT_LIMIT:
        return None
    try:
        text = body.decode("utf-8")
        pairs = 0

        def count(items: list[tuple[str, Any]]) -> dict[str, Any]:
            nonlocal pairs
            pairs += len(items)
            return dict(items)

        value = json.loads(text, object_pairs_hook=count, parse_constant=_refuse, parse_float=_exact_float)
        indented = layout(value)
    except (ValueError, RecursionError):
        return None
    if pairs != _pairs(value):
        return None
    return _escaped(indented)


def _exact_float(text: str) -> float:
    """Return a number that prints as it was sent; raise ``ValueError`` for ``1e3``, ``0.10`` and their like."""
    value = float(text)
    if repr(value) != text:
        raise ValueError(text)
    return value


def _refuse(name: str) -> Any:
    raise ValueError(name)


def _pairs(value: Any) -> int:
    """Return how many members the objects of a value have; fewer than were parsed means that some stood twice."""
    if isinstance(value, dict):
        return len(value) + sum(map(_pairs, value.values()))
    if isinstance(value, list):
        return sum(map(_pairs, value))
    return 0


def _escaped(text: str) -> str:
    """Return JSON text with every unprintable character as a JSON escape."""
    if text.isprintable():
        return text
    marked = printable(text, keep="\n")
    if marked == text:
        return text
    return "".join(c if c == "\n" or printable(c, keep="") == c else json.dumps(c)[1:-1] for c in text)


def _streams(request: Request) -> bool:
    body = parse_json(request.body)
    return (isinstance(body, dict) and body.get("stream") is True) or "stream=true" in request.path


def _quoted(text: str) -> str:
    """Return one shell word. Unprintable characters go through ``$'…'``, so that they arrive but do not show."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    if printable(text, keep="") == text:
        return shlex.quote(text)
    return _quoted_bytes(text.encode("utf-8"))


def _quoted_bytes(data: bytes) -> str:
    """Return bytes as one shell word: readable ASCII as it is, everything else as an octal escape."""
    if all(0x20 <= octet < 0x7F for octet in data):
        return shlex.quote(data.decode("ascii"))
    named = {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x27: "\\'", 0x5C: "\\\\"}
    # Three octal digits: a hexadecimal escape would swallow a digit that follows it in some shells.
    return "$'" + "".join(named.get(o) or (chr(o) if 0x20 <= o < 0x7F else f"\\{o:03o}") for o in data) + "'"
