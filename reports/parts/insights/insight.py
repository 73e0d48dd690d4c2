"""One observation on a load."""

from __future__ import annotations

from typing import NamedTuple


class Insight(NamedTuple):
    """Something about a run that a figure alone does not say.

    ``severity`` is that of its sign. ``terminal``: the closing lines of a run show it too.
    """

    severity: str
    text: str
    terminal: bool = False
