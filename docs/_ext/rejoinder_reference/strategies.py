"""The public strategies, each with drawn examples, and how different the bodies are that they draw."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import rejoinder.strategies
from rejoinder.contract import DEFAULT_DIALECT, dialect_names
from rejoinder.strategies import Variety, request_bodies, sample, variety
from rejoinder_reference import markdown as md

DRAWS = 1000
SEED = 0
EXAMPLES = 3
"""How many drawn values a page shows."""
TRIES = 24
LONGEST = 1500
"""The longest example in characters, and how many values are drawn to find examples below that."""


def pages() -> dict[str, str]:
    """Return the pages of the public strategies, and the page on the variety of request bodies."""
    found = {
        name: variety(request_bodies(dialect=name), dialect=name, draws=DRAWS, seed=SEED) for name in dialect_names()
    }
    strategies = public_strategies()
    examples = {f"strategies/{name}": _examples(name, make) for name, make in strategies.items()}
    return {"variety": _variety(found), "strategies/index": _index(strategies), **examples}


def public_strategies() -> dict[str, Callable[..., Any]]:
    """Return the public functions that return a strategy without needing an argument, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for name in rejoinder.strategies.__all__:
        value = getattr(rejoinder.strategies, name)
        if inspect.isfunction(value):
            signature = inspect.signature(value)
            needed = [one for one in signature.parameters.values() if one.default is one.empty]
            if "SearchStrategy" in str(signature.return_annotation) and not needed:
                found[name] = value
    return found


def _index(strategies: dict[str, Callable[..., Any]]) -> str:
    rows = [(f"[`{name}`]({name}.md)", md.text(_summary(make))) for name, make in strategies.items()]
    return md.page(
        "Strategies",
        "Each page shows drawn values. [The API reference](../api/strategies.md) lists all functions.",
        "",
        *md.table(["strategy", "values"], rows),
        *md.toctree(strategies),
    )


def _summary(make: Callable[..., Any]) -> str:
    return re.sub(r":\w+:`~?([^`]*)`", r"``\1``", (inspect.getdoc(make) or "").partition("\n\n")[0])


def _plain(value: Any) -> Any:
    """Return the fields of a drawn object that is no JSON value."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else dataclasses.asdict(value)


def _examples(name: str, make: Callable[..., Any]) -> str:
    values = [json.dumps(value, indent=1, default=_plain) for value in sample(make(), TRIES, seed=SEED)]
    shown = [text for text in values if len(text) <= LONGEST][:EXAMPLES] or [min(values, key=len)]
    lines = [
        md.text(_summary(make)),
        "",
        f"{{py:obj}}`rejoinder.strategies.{name}` describes the options. These values are drawn without options, with "
        f"seed {SEED} and Hypothesis {version('hypothesis')}. Values of more than {LONGEST:,} characters are left out. "
        f"The dialect is `{DEFAULT_DIALECT}`.",
        "",
    ]
    for text in shown:
        lines += md.block("json", text)
    return md.page(name, *lines)


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
