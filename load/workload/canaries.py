"""Canaries: a token in the input of each request that no other request has, so that mixed-up streams show.

A canary is ``rj`` and 16 hexadecimal digits, of which the last six are a checksum of the others. A model that repeats
its own input shows its own canary; one that garbles it shows something whose checksum is wrong. The valid canary of
another request can only come from another request.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

_PATTERN: Final = re.compile(rb"rj([0-9a-f]{10})([0-9a-f]{6})(?![0-9a-f])")


def slot_canary(seed: int, slot: int) -> str:
    """Return the canary of a slot: the same in every process and in every run with the same seed."""
    name = hashlib.sha256(f"{seed}/{slot}".encode()).hexdigest()[:10]
    return f"rj{name}{_check(name.encode())}"


def foreign_canaries(text: bytes, own: str) -> list[str]:
    """Return the valid canaries in a text that are not ``own``, each once, in order."""
    if b"rj" not in text:
        return []
    found = {
        match[0].decode(): None
        for match in _PATTERN.finditer(text)
        if match[0] != own.encode() and _check(match[1]).encode() == match[2]
    }
    return list(found)


def _check(name: bytes) -> str:
    return hashlib.sha256(b"canary " + name).hexdigest()[:6]
