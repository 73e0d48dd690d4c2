"""Request bodies from a file: a JSON array, or one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TextIO, overload

from rejoinder.budgets import INPUT_BODIES, INPUT_BODY_VALUES
from rejoinder.errors import UsageError
from rejoinder.input_file import open_text, parse_json_file

_MAX_BODIES: Final = 100_000


class Corpus(Sequence[dict[str, Any]]):
    """Request bodies, kept as JSON texts: as objects they would take a multiple of the memory."""

    def __init__(self, texts: Sequence[bytes] = ()) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    @overload
    def __getitem__(self, place: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, place: slice) -> Corpus: ...
    def __getitem__(self, place: int | slice) -> dict[str, Any] | Corpus:
        if isinstance(place, slice):
            return Corpus(self._texts[place])
        body: dict[str, Any] = json.loads(self._texts[place])
        return body

    def only(self, wanted: Callable[[dict[str, Any]], bool]) -> Corpus:
        """Return the bodies that are wanted."""
        return Corpus([text for text, body in zip(self._texts, self, strict=True) if wanted(body)])

    @property
    def size(self) -> int:
        """The bytes that the texts have together."""
        return sum(map(len, self._texts))


def read_corpus(path: Path) -> Corpus:
    """Read request bodies: a JSON array, or one JSON object a line.

    ``model``, ``stream`` and ``max_output_tokens`` are filled in where a body lacks them. Raises :class:`UsageError`
    with file and line for what cannot be used.
    """
    texts: list[bytes] = []
    try:
        with open_text(path, INPUT_BODIES) as file:
            for text in _texts(path, file):
                texts.append(text)
                if len(texts) > _MAX_BODIES:
                    raise UsageError(f"{path} has more than {_MAX_BODIES:,} request bodies.", "Use fewer.")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"Cannot read the request bodies in {path}: {reason}.", "Check the path.") from error
    if not texts:
        raise UsageError(f"{path} contains no request bodies.", "Write one JSON object per line.")
    return Corpus(texts)


def _texts(path: Path, file: TextIO) -> Iterator[bytes]:
    """Yield each body as JSON text."""
    begun = False
    for number, line in enumerate(file, 1):
        if line.strip():
            if not begun and line.lstrip().startswith("["):
                yield from _of_array(path, line + file.read())
                return
            begun = True
            yield _text(_parsed(f"{path}, line {number}: not JSON", line), f"{path}, line {number}", line)


def _of_array(path: Path, text: str) -> Iterator[bytes]:
    value = _parsed(f"{path} is not a valid JSON array", text)
    del text
    value.reverse()
    for number in range(1, len(value) + 1):
        yield _text(value.pop(), f"{path}, entry {number}")


def _parsed(what: str, text: str) -> Any:
    try:
        return parse_json_file(text, INPUT_BODY_VALUES)
    except ValueError as error:
        raise UsageError(f"{what}: {error}.", "Write one JSON object per line.") from error


def _text(body: Any, where: str, line: str = "") -> bytes:
    if not isinstance(body, dict):
        raise UsageError(f"{where}: not a JSON object.", "Each request body must be a JSON object.")
    return (line.strip() or json.dumps(body)).encode("utf-8", "surrogatepass")
