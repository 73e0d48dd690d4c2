"""Text in JSON reports that stays text where a dashboard, a badge or the log of a CI job shows it."""

from __future__ import annotations

import json
from typing import Any

from rejoinder.formatting import terminal_text


def dump(document: Any, indent: int | None = None) -> str:
    """Return a document as JSON in UTF-8 with a line feed; every name and text in it is harmless.

    See :func:`rejoinder.formatting.terminal_text`.
    """
    return json.dumps(_harmless(document), ensure_ascii=False, indent=indent) + "\n"


def _harmless(value: Any) -> Any:
    if isinstance(value, dict):
        return {_harmless(key): _harmless(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_harmless(child) for child in value]
    return terminal_text(value) if isinstance(value, str) else value
