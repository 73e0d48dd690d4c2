"""Text of a given length, made of short English words, most of which are one token to most tokenizers.

All text is cut from one long fixed text, so that making 100,000 words costs a copy and not 100,000 choices.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Final

_WORDS: Final = """
the of and to in is that it for was on are as with they be at one have this from by hot but some what there we can
out other were all your when up use word how said an each she which do their time if will way about many then them
would write like so these her long make thing see him two has look more day could go come did my sound no most who
over know water than call first people may down side been now find any new work part take get place made live where
after back little only round man year came show every good me give our under name very through just form great think
say help low line before turn cause same mean move right boy old too does tell set three want air well also play
small end put home read hand port large spell add even land here must big high such follow act why ask men change
went light kind off need house picture try us again animal point mother world near build self earth father
"""
_POOL: Final = 1 << 16


@cache
def _pool() -> tuple[str, list[int]]:
    """Return the long text, twice in a row, and where each of its words begins."""
    chosen = random.Random(20_26).choices(_WORDS.split(), k=_POOL) * 2
    starts, at = [], 0
    for word in chosen:
        starts.append(at)
        at += len(word) + 1
    return " ".join(chosen) + " ", starts


def filler_text(count: int, place: int) -> str:
    """Return ``count`` words, the same for the same ``place``; texts of different places differ from the start."""
    text, starts = _pool()
    begin = place % _POOL
    parts = []
    while count > 0:
        piece = min(count, _POOL - 1)
        parts.append(text[starts[begin] : starts[begin + piece]])
        count -= piece
    return "".join(parts).rstrip()
