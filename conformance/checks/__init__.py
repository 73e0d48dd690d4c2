"""The checks, one module per rule family. Importing this package registers them all."""

from __future__ import annotations

from rejoinder.conformance.checks import (
    accumulation,
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
