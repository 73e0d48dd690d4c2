"""What the hostile endpoint can do, a module for each group. Importing this package registers every behaviour."""

from tests.hostile.behaviours import (
    authentication,
    encodings,
    events,
    framing,
    headers,
    json_bodies,
    metrics,
    model_lists,
    redirects,
    resets,
    retry_after,
    status_lines,
    texts,
    tls,
    without_end,
)

__all__ = [
    "authentication",
    "encodings",
    "events",
    "framing",
    "headers",
    "json_bodies",
    "metrics",
    "model_lists",
    "redirects",
    "resets",
    "retry_after",
    "status_lines",
    "texts",
    "tls",
    "without_end",
]
