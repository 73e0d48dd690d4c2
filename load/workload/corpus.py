"""Request bodies from a file: a JSON array, or one JSON object a line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from rejoinder.budgets import INPUT_BODIES
from rejoinder.errors import UsageError
from rejoinder.input_file import parse_json_file, read_text

_MAX_BODIES: Final = 100_000


def read_corpus(path: Path) -> list[dict[str, Any]]:
    """Read request bodies: a JSON array, or one JSON object a line.

    ``model``, ``stream`` and ``max_output_tokens`` are filled in where a body lacks them. Raises :class:`UsageError`
    with file and line for what cannot be used.
    """
    try:
        text = read_text(path, INPUT_BODIES)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"Cannot read the request bodies in {path}: {reason}.", "Check the path.") from error
    if text.lstrip().startswith("["):
        try:
            entries = list(enumerate(parse_json_file(text), 1))
        except ValueError as error:
            raise UsageError(
                f"{path} is not a valid JSON array: {error}.", "Write one JSON object per line instead."
            ) from error
        unit = "entry"
    else:
        unit = "line"
        entries = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    entries.append((number, parse_json_file(line)))
                except ValueError as error:
                    raise UsageError(
                        f"{path}, line {number}: not JSON: {error}.", "Write one JSON object per line."
                    ) from error
    if not entries:
        raise UsageError(f"{path} contains no request bodies.", "Write one JSON object per line.")
    if len(entries) > _MAX_BODIES:
        raise UsageError(f"{path} has {len(entries):,} request bodies, expected at most {_MAX_BODIES:,}.", "Use fewer.")
    for number, entry in entries:
        if not isinstance(entry, dict):
            raise UsageError(f"{path}, {unit} {number}: not a JSON object.", "Each request body must be a JSON object.")
    return [entry for _, entry in entries]
