"""The checks, one module per rule family. Importing this package registers them all."""

from __future__ import annotations

from rejoinder.conformance.checks import (
    accumulation,
    echo,
    errors,
    events,
    framing,
    http,
    items,
    lifecycle,
    parts,
    response,
    usage,
)

__all__ = [
    "accumulation",
    "echo",
    "errors",
    "events",
    "framing",
    "http",
    "items",
    "lifecycle",
    "parts",
    "response",
    "usage",
]
