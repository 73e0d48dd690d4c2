"""Clean servers: random combinations of freedoms that one correct endpoint can have together."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

from hypothesis import strategies as st

from rejoinder.sandbox import Freedom, load_freedoms

__all__ = ["Server", "clean_servers", "drawn_servers"]

Server = tuple[str, ...]
"""The ids of the freedoms of one endpoint."""


def clean_servers(dialect: str) -> st.SearchStrategy[Server]:
    """Return a strategy of the combinations of freedoms that one endpoint of this dialect can have."""
    freedoms = _of(dialect)
    return st.lists(st.sampled_from(freedoms), unique=True, max_size=len(freedoms)).map(_together)


def drawn_servers(dialect: str, count: int, seed: int) -> Iterator[Server]:
    """Yield ``count`` combinations of many freedoms, as large as they get by adding freedoms in random order.

    The same seed gives the same combinations.
    """
    order = _of(dialect)
    draw = random.Random(f"{dialect}/{seed}")
    for _ in range(count):
        draw.shuffle(order)
        yield _together(order[: draw.randint(2, len(order))])


def _of(dialect: str) -> list[Freedom]:
    # What an endpoint does whose runs all fail would hide all others.
    return [freedom for freedom in load_freedoms().values() if freedom.exists_in(dialect) and not freedom.fails]


def _together(freedoms: Iterable[Freedom]) -> Server:
    """Return the ids of the freedoms without those that one before them excludes."""
    kept: list[Freedom] = []
    for freedom in freedoms:
        if all(other.allows(freedom) for other in kept):
            kept.append(freedom)
    return tuple(freedom.id for freedom in kept)
