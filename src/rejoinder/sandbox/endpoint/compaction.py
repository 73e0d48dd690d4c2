"""Compaction: one opaque item in place of earlier items, which stands for them when it comes back as input."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import zlib
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any, Final

from rejoinder.sandbox.endpoint.generate import ResolvedRequest
from rejoinder.sandbox.endpoint.items import listed
from rejoinder.sandbox.endpoint.tokens import Json, count_tokens

_SEAL: Final = 16
"""Bytes of the seal before the content."""


def compact(resolved: ResolvedRequest, key: str, *, keeps_messages: bool = True) -> Json:
    """Return the compacted form of a conversation: its user messages, and a compaction item for all other items.

    ``key`` seals the content of that item: :func:`expanded` opens it with the same key only. Without
    ``keeps_messages`` the item stands for the user messages as well.
    """
    kept = [item for item in resolved.items if item.get("role") == "user" and keeps_messages]
    others = [item for item in resolved.items if item.get("role") != "user" or not keeps_messages]
    messages = [
        listed({**item, "id": None}, partial(resolved.new_id, f"msg_{resolved.stem}{index:02x}"))
        for index, item in enumerate(kept)
    ]
    sealed = {
        "id": resolved.new_id(f"cmp_{resolved.stem}"),
        "type": "compaction",
        "encrypted_content": _sealed(others, key),
    }
    return {
        "id": resolved.id,
        "object": "response.compaction",
        "created_at": resolved.created_at,
        "output": [*messages, sealed],
        "usage": _usage(resolved.input_tokens, count_tokens(others)),
    }


def empty_compaction() -> Json:
    """Return a compaction without user messages, whose item stands for nothing."""
    return {
        "id": "resp_compacted",
        "object": "response.compaction",
        "created_at": 1_760_000_000,
        "output": [{"id": "cmp_0", "type": "compaction", "encrypted_content": "AAAA"}],
        "usage": _usage(1, 1),
    }


def _usage(heard: int, said: int) -> Json:
    return {
        "input_tokens": heard,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": said,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": heard + said,
    }


def expanded(items: Iterable[Json], key: str) -> list[Json]:
    """Return the items with those that a compaction item stands for in its place.

    A compaction item that was not sealed with the key stays as it is.
    """
    return [item for given in items for item in _opened(given, key)]


def _sealed(items: Sequence[Json], key: str) -> str:
    content = zlib.compress(json.dumps(items).encode())
    return base64.urlsafe_b64encode(_seal(content, key) + content).decode()


def _opened(item: Json, key: str) -> list[Json]:
    sealed = item.get("encrypted_content")
    if item.get("type") != "compaction" or not isinstance(sealed, str):
        return [item]
    try:
        data = base64.urlsafe_b64decode(sealed)
    except (binascii.Error, ValueError):
        return [item]
    content = data[_SEAL:]
    if not hmac.compare_digest(data[:_SEAL], _seal(content, key)):
        return [item]
    items: list[Any] = json.loads(zlib.decompress(content))
    return items


def _seal(content: bytes, key: str) -> bytes:
    return hmac.digest(key.encode(), content, "sha256")[:_SEAL]
