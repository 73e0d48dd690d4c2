"""Words that no model says by itself: planted in requests, and looked for in answers.

A planted word is a noun from a fixed list with a number that no other word of the run has with that noun, so that one
that comes back tells which request it was planted in. The list makes planted words known in recordings too.
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
"""The nouns of planted words."""

_WORD: Final = re.compile(rf"\b(?:{'|'.join(CANARY_NOUNS)})-\d{{4}}\b")
_NUMBERS: Final = 9000
_NEXT: Final = {mark: count(randrange(_NUMBERS)) for mark in CANARY_NOUNS}
# Steps of this size, which shares no divisor with the count of numbers, visit them all and are not guessed by a model.
_STEP: Final = 3671


def new_canary(mark: str) -> str:
    """Return a word to be told to a model and heard again, new in this process: a mark, a hyphen and four digits.

    Raises :class:`ValueError` for a noun that is not in :data:`CANARY_NOUNS`: its words could not be told from others.
    """
    if mark not in _NEXT:
        raise ValueError(f"{mark!r} is not a mark of planted words; choose one of CANARY_NOUNS.")
    return f"{mark}-{next(_NEXT[mark]) * _STEP % _NUMBERS + 1000}"


def canaries_in(text: str) -> list[str]:
    """Return the planted words in a text, each once, in the order in which they first stand there."""
    return list(dict.fromkeys(_WORD.findall(text)))
