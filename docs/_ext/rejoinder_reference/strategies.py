"""How different the bodies are that the strategies draw, in each shipped dialect."""

from __future__ import annotations

from importlib.metadata import version

from rejoinder.contract import dialect_names
from rejoinder.strategies import Variety, request_bodies, variety
from rejoinder_reference import markdown as md

DRAWS = 1000
SEED = 0


def pages() -> dict[str, str]:
    """Return the page on the variety of request bodies."""
    found = {
        name: variety(request_bodies(dialect=name), dialect=name, draws=DRAWS, seed=SEED) for name in dialect_names()
    }
    return {"variety": _variety(found)}


def _variety(found: dict[str, Variety]) -> str:
    rows = {name: one.rows for name, one in found.items()}
    measurements = list(next(iter(rows.values())))
    lines = [
        f"`request_bodies(dialect=...)` gives these figures in {DRAWS:,} draws with seed {SEED} and Hypothesis "
        f"{version('hypothesis')}. [`variety`](api/strategies.md) measures any strategy in any dialect.",
        "",
        *md.table(
            ["measurement", *map(md.code, found)],
            [(md.text(name), *(md.text(rows[dialect][name]) for dialect in found)) for name in measurements],
        ),
        "A branch is one alternative of the request schema: a type, a value of an enumeration, or a field that is "
        "absent, null or present. Pairs that exclude each other do not count. Bounds are those that the schema names, "
        "and the values just inside of them. [`edge_cases`](api/strategies.md) meets lengths above 4,096.",
        "",
        "The draws are independent of each other. In a test with `@given`, Hypothesis derives about half of the bodies "
        "from others, and reaches less in as many examples.",
        "",
    ]
    for name, one in found.items():
        if one.missing:
            lines += [f"Branches of `{name}` that occurred in none of these draws:", ""]
            lines += [*(f"- {md.code(branch)}" for branch in one.missing), ""]
    return md.page("Variety of drawn requests", *lines)
