"""Redaction: credentials are taken out of an exchange when it is recorded, before anything is kept or written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from rejoinder.model.exchange import Chunk, Headers

REDACTED: Final = "[redacted]"
MASK: Final = "*"

CREDENTIAL_HEADERS: Final = frozenset(
    {"authorization", "api-key", "x-api-key", "cookie", "set-cookie", "proxy-authorization"}
)

# A placeholder such as "EMPTY" or "test" is no secret, and masking it wherever it stands in a reply would change
# words of the model and so make findings of the harness's own doing.
MIN_SECRET: Final = 8


class Redactor:
    """Takes keys out of everything that is recorded.

    Headers that carry credentials always lose their value. A key itself is masked wherever the server
    repeats it, as it stands, JSON-escaped or percent-encoded; the mask is as long as what it covers, so byte offsets
    and chunk sizes stay right. Keys of fewer than ``MIN_SECRET`` characters are masked in headers only. ``headers``
    are names of further headers that carry credentials, in lower case.
    """

    def __init__(self, *keys: str | None, headers: Iterable[str] = ()) -> None:
        self._names = CREDENTIAL_HEADERS | frozenset(headers)
        forms: set[str] = set()
        for key in keys:
            if key and len(key) >= MIN_SECRET:
                escaped = json.dumps(key)[1:-1]
                forms |= {key, escaped, escaped.replace("/", "\\/"), quote(key, safe=""), quote(key)}
        # Longest first: a form that contains another one must be covered whole.
        self._texts = sorted(forms, key=lambda form: (-len(form), form))
        self._bytes = [form.encode("utf-8") for form in self._texts]

    def text(self, text: str) -> str:
        """Return the text with the key masked, character by character."""
        for form in self._texts:
            text = text.replace(form, MASK * len(form))
        return text

    def data(self, data: bytes) -> bytes:
        """Return bytes of the same length with the key masked."""
        for form in self._bytes:
            data = data.replace(form, MASK.encode() * len(form))
        return data

    def headers(self, headers: Iterable[tuple[str, str]]) -> Headers:
        """Return the headers with credentials replaced by ``[redacted]`` and the key masked elsewhere."""
        return tuple(
            (self.text(name), REDACTED if name.lower() in self._names else self.text(value)) for name, value in headers
        )

    def chunks(self, chunks: Iterable[Chunk]) -> tuple[Chunk, ...]:
        """Return the chunks with the key masked, also where it is split between chunks; times and sizes stay."""
        chunks = tuple(chunks)
        if not self._bytes:
            return chunks
        whole = b"".join(chunk.data for chunk in chunks)
        masked = self.data(whole)
        if masked == whole:
            return chunks
        result, offset = [], 0
        for chunk in chunks:
            end = offset + len(chunk.data)
            result.append(Chunk(chunk.t, masked[offset:end]))
            offset = end
        return tuple(result)
