"""Canaries: words that no model says by itself, put into requests and looked for in answers.

A canary is a noun from a fixed list with a number that no other canary of the run has with that noun, so that one that
comes back shows which request it was put into. The list makes canaries known in recordings too.
"""

from __future__ import annotations

import re
from itertools import count
from random import randrange
from typing import Final

CANARY_NOUNS: Final = (
    "quartz", "saffron", "walnut", "indigo", "marble", "cobalt", "juniper", "lantern",
    "meadow", "pebble", "velvet", "willow", "amber", "copper", "harbor", "thistle",
)  # fmt: skip
"""The nouns of canaries."""

# Texts hold few of these, and finding them takes a small part of the time that looking for the nouns takes.
_NUMBER: Final = re.compile(r"-\d{4}\b")
_NOUN: Final = re.compile(rf"\b(?:{'|'.join(CANARY_NOUNS)})\Z")
_LONGEST: Final = max(map(len, CANARY_NOUNS))
_NUMBERS: Final = 9000
_NEXT: Final = {noun: count(randrange(_NUMBERS)) for noun in CANARY_NOUNS}
# Steps of this size, which shares no divisor with the count of numbers, visit them all and are not guessed by a model.
_STEP: Final = 3671


def new_canary(noun: str) -> str:
    """Return a canary that is new in this process: the noun, a hyphen and four digits.

    Raises :class:`ValueError` for a noun that is not in :data:`CANARY_NOUNS`: its canaries could not be found again.
    """
    if noun not in _NEXT:
        raise ValueError(f"{noun!r} is no noun of canaries; choose one of CANARY_NOUNS.")
    return f"{noun}-{next(_NEXT[noun]) * _STEP % _NUMBERS + 1000}"


def canaries_in(text: str) -> list[str]:
    """Return the canaries in a text, each once, in the order of their first places."""
    found: dict[str, None] = {}
    for number in _NUMBER.finditer(text):
        end = number.start()
        # With the character before the noun, which must not belong to its word.
        noun = _NOUN.search(text[max(0, end - _LONGEST - 1) : end])
        if noun is not None:
            found[noun[0] + number[0]] = None
    return list(found)
