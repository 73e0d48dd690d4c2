"""The request bodies of a load run: a corpus file, or one prompt with a number that makes every request different."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rejoinder.errors import UsageError
from rejoinder.load.settings import LoadSettings

DEFAULT_PROMPT: Final = "Write a short story about a lighthouse keeper who counts ships."
_MAX_BODIES: Final = 100_000


class Bodies:
    """Gives the body of each slot of a run: the same slot always gets the same body.

    Without a corpus the text ends in the slot's number, so that no two requests are equal and a prefix cache can
    answer all but the last tokens of a prompt, not the whole of it.
    """

    def __init__(self, model: str, settings: LoadSettings) -> None:
        self._model = model
        self._max_output_tokens = settings.max_output_tokens
        self._prompt = settings.prompt or DEFAULT_PROMPT
        self._corpus: Sequence[dict[str, Any]] = read_corpus(Path(settings.bodies)) if settings.bodies else ()

    def body(self, slot: int) -> bytes:
        """Return the body of a slot as UTF-8 JSON."""
        body: dict[str, Any] = {"model": self._model} if self._model else {}
        body["stream"] = True
        if self._corpus:
            body |= self._corpus[slot % len(self._corpus)]
        else:
            body["input"] = f"{self._prompt} (Request {slot}.)"
        if self._max_output_tokens:
            body.setdefault("max_output_tokens", self._max_output_tokens)
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def read_corpus(path: Path) -> list[dict[str, Any]]:
    """Read request bodies: a JSON array, or one JSON object a line.

    ``model``, ``stream`` and ``max_output_tokens`` are filled in where a body lacks them. Raises :class:`UsageError`
    with file and line for what cannot be used.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"The request bodies in {path} cannot be read: {reason}.") from error
    if text.lstrip().startswith("["):
        try:
            entries = list(enumerate(json.loads(text), 1))
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path} is not a JSON array: {error}.") from error
        unit = "entry"
    else:
        unit = "line"
        entries = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    entries.append((number, json.loads(line)))
                except (ValueError, RecursionError) as error:
                    raise UsageError(f"{path}, line {number}, is not JSON: {error}.") from error
    if not entries:
        raise UsageError(f"{path} holds no request bodies.", "Write one JSON object a line.")
    if len(entries) > _MAX_BODIES:
        raise UsageError(f"{path} holds {len(entries)} request bodies; at most {_MAX_BODIES} are supported.")
    for number, entry in entries:
        if not isinstance(entry, dict):
            raise UsageError(f"{path}, {unit} {number}, is not a JSON object.", "Every body is an object.")
    return [entry for _, entry in entries]
