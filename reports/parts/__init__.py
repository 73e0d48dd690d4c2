"""The parts of a report, one folder each; see :class:`rejoinder.reports.model.Part`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from rejoinder.reports.model import Part


@cache
def all_parts() -> tuple[Part[Any], ...]:
    """Return every part that has a folder here, by their order on the page."""
    parts: list[Part[Any]] = [
        import_module(f"{__name__}.{module.name}").PART for module in iter_modules(__path__) if module.ispkg
    ]
    return tuple(sorted(parts, key=lambda part: (part.order, part.name)))


def in_markdown() -> list[Part[Any]]:
    """Return the parts that have a Markdown form, in the order of that form."""
    parts = [part for part in all_parts() if part.markdown is not None]
    return sorted(parts, key=lambda part: part.order if part.markdown_order is None else part.markdown_order)


def on_terminal() -> list[Part[Any]]:
    """Return the parts that have a form for the terminal, in the order of that form."""
    parts = [part for part in all_parts() if part.terminal is not None]
    return sorted(parts, key=lambda part: part.order if part.terminal_order is None else part.terminal_order)
