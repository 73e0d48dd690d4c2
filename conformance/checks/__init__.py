"""The checks, one module per rule family. Importing this package registers them all."""

from __future__ import annotations

from rejoinder.conformance.checks import (
    accumulation,
    background,
    capability,
    echo,
    errors,
    events,
    framing,
    http,
    isolation,
    items,
    lifecycle,
    meaning,
    parameters,
    parts,
    response,
    state,
    tools,
    usage,
)

__all__ = [
    "accumulation",
    "background",
    "capability",
    "echo",
    "errors",
    "events",
    "framing",
    "http",
    "isolation",
    "items",
    "lifecycle",
    "meaning",
    "parameters",
    "parts",
    "response",
    "state",
    "tools",
    "usage",
]
