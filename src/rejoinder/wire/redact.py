"""Redaction: credentials are taken out of what is recorded, before anything is kept or written.

An endpoint can echo a key in any encoding. The text is searched as it is and with its escapes resolved, and each place
that is found is masked where the text came from.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html.entities import html5
from typing import Any, Final
from urllib.parse import unquote

from rejoinder.contract import dialect_names, load_dialect
from rejoinder.model.exchange import Chunk, Chunks, Headers

REDACTED: Final = "[redacted]"
MASK: Final = "*"

CREDENTIAL_HEADERS: Final = frozenset(
    {"authorization", "api-key", "x-api-key", "cookie", "set-cookie", "proxy-authorization"}
)
SECRET_NAME: Final = re.compile(
    r"authorization|cookie|token|secret|passw|credential|api[-_]?key|access[-_]?key|subscription[-_]?key"
    r"|functions?[-_]?key|signature|\A(sig|key|auth|code)\Z",
    re.IGNORECASE,
)
"""Names of headers and of query parameters that carry credentials."""
_COUNT_NAME: Final = re.compile(r"(\A|[_-])tokens\Z", re.IGNORECASE)
_COUNT: Final = re.compile(r"[0-9]{1,7}")
"""A number of tokens, as in ``max_tokens=256``: shorter than :data:`MIN_SECRET`, so that it is no secret."""

# A placeholder such as "EMPTY" or "test" is no secret, and masking it wherever it stands in a reply would change
# words of the model and so make findings of the harness's own doing.
MIN_SECRET: Final = 8
MIN_PART: Final = 9
"""How many characters of a key in a row are masked where the whole key is not there."""
LONG_WORD: Final = 12
"""A word of letters inside a key is masked by itself from this length on."""

_LEVELS: Final = 3
"""How many layers of escapes are resolved, such as percent-encoded JSON escapes."""
_MIN_BASE64: Final = 10
"""Characters of base64 that nine bytes fill at least, wherever they begin."""
_BASE64_RUN: Final = re.compile(r"[A-Za-z0-9+/]{12,}")
_HEX_RUN: Final = re.compile(r"[0-9a-fA-F]{20,}")
"""Runs that are decoded: each can hold :data:`MIN_PART` characters of a key and an escape."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9._~-]*")
"""Keys that no encoder of JSON, URLs or HTML escapes."""

_BASE64: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

_ASCII_ENTITIES: Final = {name: text for name, text in html5.items() if len(text) == 1 and " " < text < "\x7f"}
_ESCAPE: Final = re.compile(
    r"\\(?:u(?:00([2-7][0-9a-fA-F])|\{0*([2-7][0-9a-fA-F])\})|x([2-7][0-9a-fA-F])|([\\/\"'])|([01][0-7][0-7]))"
    r"|%([2-7][0-9a-fA-F])"
    r"|&(?:\#(?:0*(3[3-9]|[4-9][0-9]|1[01][0-9]|12[0-6])|[xX]0*([2-7][0-9a-fA-F]));?|([A-Za-z]{2,16};))"
)
_ESCAPES: Final = ("\\", "%", "&")
_GAP: Final = re.compile(r"(?:[\s:\0]++|\\[rnt])++")
_FIELD: Final = re.compile(
    r'"(delta|text|arguments|input|refusal|code|content|output|partial_json)"\s*+:\s*+"([^"\\]*+(?:\\.[^"\\]*+)*+)"',
    re.DOTALL,
)
_INDEXES: Final = re.compile(r'"(?:output|content|summary)_index"\s*+:\s*+(\d++)|"item_id"\s*+:\s*+("[^"]*+")')
_URL_HEADERS: Final = frozenset({"location", "content-location"})
_PASSWORD: Final = re.compile(r"(?<=//)([^/?#\s@:\"'<>]*):[^/?#\s\"'<>]+@")
_PARAMETER: Final = re.compile(r"(?<=[?&;])([^=&;#\s\"'<>]+)=([^&;#\s\"'<>]+)")

_Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Form:
    """One way to write a secret: ``text``, of which runs of ``least`` characters count.

    Every such run holds one of the ``blocks`` (with their offsets), so that only these are searched for. ``words`` are
    the words in a form that is not encoded, ``names`` the names of headers with credentials. ``neighbours`` are
    characters that are masked beside a run.
    """

    text: str
    least: int
    blocks: tuple[tuple[str, int], ...]
    words: frozenset[str] | None = None
    names: frozenset[str] = frozenset()
    neighbours: str = ""

    def is_word(self, run: str) -> bool:
        """Return whether a run does not count because it is a common word."""
        if self.words is None:
            return False
        if len(run) == len(self.text):
            return run in _words_of_the_api()
        word = run.strip("-_.:/+~ ")
        return word in self.words or word in _words_of_the_api() or any(word in name for name in self.names)


def _form(
    text: str,
    least: int,
    words: frozenset[str] | None = None,
    names: frozenset[str] = frozenset(),
    neighbours: str = "",
) -> _Form:
    least = min(least, len(text))
    size = (least + 1) // 2
    offsets = dict.fromkeys([*range(0, len(text) - size + 1, size), len(text) - size])
    return _Form(text, least, tuple((text[at : at + size], at) for at in offsets), words, names, neighbours)


def _runs(text: str, form: _Form) -> Iterator[_Span]:
    """Yield where a text holds a form or a part of it that is long enough."""
    wanted, size = form.text, len(text)
    for block, offset in form.blocks:
        at = text.find(block)
        while at >= 0:
            begin, first = at, offset
            while begin > 0 and first > 0 and text[begin - 1] == wanted[first - 1]:
                begin, first = begin - 1, first - 1
            end, last = at + len(block), offset + len(block)
            while end < size and last < len(wanted) and text[end] == wanted[last]:
                end, last = end + 1, last + 1
            if end - begin >= form.least and not form.is_word(wanted[first:last]):
                wide = form.neighbours
                before = begin > 0 and text[begin - 1] in wide
                yield begin - before, end + (end < size and text[end] in wide)
            at = text.find(block, max(at + 1, end - len(block) + 1))


class _Unescaped:
    """A text with one layer of escapes resolved, which knows where each character came from."""

    def __init__(self, source: str) -> None:
        pieces: list[str] = []
        self._at: list[int] = []
        self._spans: list[_Span] = []
        position = length = 0
        for match in _ESCAPE.finditer(source):
            char = _resolve(match)
            if char:
                begin, end = match.span()
                pieces += (source[position:begin], char)
                length += begin - position
                self._at.append(length)
                self._spans.append((begin, end))
                length += 1
                position = end
        pieces.append(source[position:])
        self.text = "".join(pieces)
        self.changed = bool(self._at)

    def _source(self, index: int) -> _Span:
        place = bisect_right(self._at, index) - 1
        if place < 0:
            return index, index + 1
        if self._at[place] == index:
            return self._spans[place]
        begin = self._spans[place][1] + index - self._at[place] - 1
        return begin, begin + 1

    def sources(self, span: _Span) -> list[_Span]:
        """Return where the characters of a span came from."""
        return [(self._source(span[0])[0], self._source(span[1] - 1)[1])]


class _Decoded:
    """The runs of an encoding in a text, decoded, which know where each of their bytes came from.

    ``starts`` are the places of each different run. The encoding writes ``octets`` bytes as ``digits`` characters. A
    run is decoded from its character ``skip`` on, because it may begin with characters that do not belong to what is
    encoded.
    """

    def __init__(self, starts: Mapping[str, Sequence[int]], octets: int, digits: int, skip: int) -> None:
        self._octets, self._digits, self._skip = octets, digits, skip
        self._starts = list(starts.values())
        self._at: list[int] = []
        pieces: list[str] = []
        length = 0
        for run in starts:
            whole = run[skip : skip + (len(run) - skip) // digits * digits]
            data = bytes.fromhex(whole) if octets == 1 else binascii.a2b_base64(whole)
            self._at.append(length)
            pieces.append(data.decode("latin-1"))
            length += len(data) + 1
        self.text = "\n".join(pieces)

    def sources(self, span: _Span) -> Iterator[_Span]:
        """Yield where the bytes of a span came from, in every run that holds them."""
        place = bisect_right(self._at, span[0]) - 1
        first, last = (index - self._at[place] for index in span)
        begin, end = first * self._digits // self._octets, -(-last * self._digits // self._octets)
        for start in self._starts[place]:
            yield start + self._skip + begin, start + self._skip + end


def _decoded(text: str) -> Iterator[_Decoded]:
    """Yield the runs of hexadecimal digits and base64 of a text, decoded from each character on that can be first."""
    for runs, octets, digits in ((_HEX_RUN, 1, 2), (_BASE64_RUN, 3, 4)):
        starts: dict[str, list[int]] = {}
        for match in runs.finditer(text):
            starts.setdefault(match[0], []).append(match.start())
        if starts:
            yield from (_Decoded(starts, octets, digits, skip) for skip in range(digits))


def _resolve(match: re.Match[str]) -> str:
    digits = match[1] or match[2] or match[3] or match[6] or match[8]
    if digits:
        return chr(int(digits, 16))
    if match[5]:
        return chr(int(match[5], 8))
    if match[7]:
        return chr(int(match[7]))
    return match[4] or _ASCII_ENTITIES.get(match[9] or "", "")


class _Sources:
    """Knows where each character of joined pieces of a text came from."""

    def __init__(self, spans: Sequence[_Span]) -> None:
        self._spans = spans
        self._at: list[int] = []
        length = 0
        for begin, end in spans:
            self._at.append(length)
            length += end - begin

    def of(self, span: _Span) -> Iterator[_Span]:
        """Yield where the characters of a span came from."""
        begin, end = span
        place = bisect_right(self._at, begin) - 1
        while place < len(self._at) and self._at[place] < end:
            start, stop = self._spans[place]
            shift = start - self._at[place]
            yield max(begin + shift, start), min(end + shift, stop)
            place += 1


class Redactor:
    """Takes keys out of everything that is recorded.

    Headers that carry credentials always lose their value. A key itself is masked wherever the endpoint repeats it or
    :data:`MIN_PART` characters of it, in any case: as it stands, in hexadecimal digits or base64 (both alphabets, at
    any offset, with or without padding), behind up to three layers of percent-encoding, HTML entities and JSON escapes,
    with blanks between, and split over the texts and deltas of a response. The mask is as long as what it covers, so
    byte offsets and chunk sizes stay right.

    Not masked are keys of fewer than :data:`MIN_SECRET` characters and keys that are words of the API (in headers they
    are), and, as parts of a key, whole words of fewer than :data:`LONG_WORD` letters, words of the API and parts of
    the names of these headers. ``headers`` are names of further headers that carry credentials, in lower case. Takes
    time in proportion to the text.
    """

    def __init__(self, *keys: str | None, headers: Iterable[str] = ()) -> None:
        self._names = CREDENTIAL_HEADERS | frozenset(headers)
        secrets = dict.fromkeys(key for key in keys if key and len(key) >= MIN_SECRET)
        self._folded: list[_Form] = []
        self._exact: list[_Form] = []
        self._decodes = not all(map(_PLAIN.fullmatch, secrets))
        for secret in secrets:
            self._add(secret)

    def _add(self, secret: str) -> None:
        low = _lower(secret)
        words = frozenset(word for word in re.findall(r"[a-z0-9]+", low) if word.isalpha() and len(word) < LONG_WORD)
        self._folded.append(_form(low, MIN_PART, words, self._names))
        data = secret.encode("utf-8", "surrogatepass")
        if not secret.isascii():
            self._folded.append(_form(data.decode("latin-1"), MIN_PART))
        self._folded.append(_form(data.hex(), 2 * MIN_PART))
        for offset in range(3):
            encoded = base64.b64encode(bytes(offset) + data).decode("ascii")
            # Only characters all of whose bits come from the key are the same whatever is around it.
            whole = encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6]
            self._exact.append(_form(whole, _MIN_BASE64, neighbours=_BASE64))

    def text(self, text: str) -> str:
        """Return the text with the key masked, character by character."""
        if not self._folded or not text:
            return text
        spans = self._find(text, _LEVELS, decodes=self._decodes)
        for joined, pieces_of in _joined_texts(text):
            found = self._find(joined, _LEVELS, decodes=self._decodes)
            if found:  # only then it matters where its characters came from
                source = _Sources(pieces_of())
                for span in found:
                    spans.extend(source.of(span))
        if not spans:
            return text
        pieces: list[str] = []
        position = 0
        for begin, end in sorted(spans):
            if end > position:
                begin = max(begin, position)
                pieces += (text[position:begin], MASK * (end - begin))
                position = end
        return "".join([*pieces, text[position:]])

    def _find(self, text: str, levels: int, *, decodes: bool) -> list[_Span]:
        """Return where a text holds a secret in any form.

        ``levels`` layers of escapes are resolved, and with ``decodes`` what is encoded is searched for escaped secrets.
        """
        low = _lower(text)
        spans = [span for form in self._folded for span in _runs(low, form)]
        plain = text.replace("-", "+").replace("_", "/")
        spans += [span for form in self._exact for span in _runs(plain, form)]
        if decodes:
            for decoded in _decoded(plain):
                if any(char in decoded.text for char in _ESCAPES):
                    for span in self._find(decoded.text, levels, decodes=False):
                        spans += decoded.sources(span)
        if levels and any(char in text for char in _ESCAPES):
            inner = _Unescaped(text)
            if inner.changed:
                for span in self._find(inner.text, levels - 1, decodes=decodes):
                    spans += inner.sources(span)
        return spans

    def data(self, data: bytes) -> bytes:
        """Return bytes of the same length with the key masked."""
        if not self._folded or not data:
            return data
        text = data.decode("latin-1")
        masked = self.text(text)
        return data if masked == text else masked.encode("latin-1")

    def headers(self, headers: Iterable[tuple[str, str]]) -> Headers:
        """Return the headers with credentials replaced by ``[redacted]`` and the key masked elsewhere."""
        return tuple((self.text(name), self._value(name.lower(), value)) for name, value in headers)

    def _value(self, name: str, value: str) -> str:
        if name in self._names:
            return REDACTED
        masked = self.text(value)
        return shown_url(masked) if name in _URL_HEADERS else masked

    def chunks(self, chunks: Iterable[Chunk]) -> Chunks:
        """Return the chunks with the key masked, also where it is split between chunks; times and sizes stay."""
        return (chunks if isinstance(chunks, Chunks) else Chunks(chunks)).masked(self.data)


def query_secrets(url: str) -> list[str]:
    """Return the values of the query parameters that carry credentials by their names."""
    values = [value for name, value in _PARAMETER.findall(url) if _is_secret(name, value)]
    return list(dict.fromkeys(form for value in values for form in (value, unquote(value))))


def shown_url(text: str) -> str:
    """Return a text in which ``[redacted]`` replaces the passwords of URLs.

    It also replaces the values of their query parameters that carry credentials.
    """
    text = _PASSWORD.sub(lambda m: f"{m[1]}:{REDACTED}@", text)
    return _PARAMETER.sub(lambda m: f"{m[1]}={REDACTED}" if _is_secret(m[1], m[2]) else m[0], text)


def _is_secret(name: str, value: str) -> bool:
    """Return whether a query parameter carries a credential by its name; a number of ``tokens`` is none."""
    name = unquote(name)
    counts = _COUNT_NAME.search(name) is not None and _COUNT.fullmatch(value) is not None
    return SECRET_NAME.search(name) is not None and not counts


def _lower(text: str) -> str:
    """Return a text of the same length in lower case."""
    low = text.lower()
    if len(low) == len(text):
        return low
    return "".join([char.lower() if len(char.lower()) == 1 else char for char in text])


def _joined_texts(text: str) -> Iterator[tuple[str, Callable[[], Sequence[_Span]]]]:
    """Yield what a reader may put together: a text without blanks, and the texts and deltas of a response.

    Each comes with what returns where its pieces are in the text.
    """
    without, gaps = _GAP.subn("", text)
    if gaps:
        yield without, lambda: _between(text)
    fields: dict[str, list[_Span]] = {}
    for match in _FIELD.finditer(text):
        fields.setdefault(match[1], []).append(match.span(2))
    for spans in fields.values():
        if len(spans) > 1:
            yield _join(text, spans)
    deltas = fields.get("delta", ())
    if len(deltas) > 1 and any(len(set(found) - {""}) > 1 for found in zip(*_INDEXES.findall(text), strict=True)):
        # Deltas of several parts may come in turns.
        places: dict[Any, list[_Span]] = {}
        ends = -1
        for begin, end in deltas:
            if begin > ends:
                ends = text.find("\n", end)
                ends = ends if ends >= 0 else len(text)
                place = tuple(_INDEXES.findall(text, text.rfind("\n", 0, begin) + 1, ends))
            places.setdefault(place, []).append((begin, end))
        for spans in places.values():
            yield _join(text, spans)


def _join(text: str, spans: Sequence[_Span]) -> tuple[str, Callable[[], Sequence[_Span]]]:
    return "".join([text[begin:end] for begin, end in spans]), lambda: spans


def _between(text: str) -> list[_Span]:
    spans, position = [], 0
    for match in _GAP.finditer(text):
        if match.start() > position:
            spans.append((position, match.start()))
        position = match.end()
    return [*spans, (position, len(text))]


@cache
def _words_of_the_api() -> frozenset[str]:
    """Return names and values of the API in lower case, which a response holds whether or not a key contains them."""
    words: set[str] = set()

    def collect(value: Any) -> None:
        if isinstance(value, str):
            words.update((value.lower(), *value.lower().split(".")))
        elif isinstance(value, dict):
            for name, child in value.items():
                words.add(str(name).lower())
                collect(child)
        elif isinstance(value, (list, tuple)):
            for child in value:
                collect(child)

    for name in dialect_names():
        dialect = load_dialect(name)
        collect(list(dialect.events))
        _schema_words(dialect.response_validator.schema, collect)
    return frozenset(word for word in words if len(word) >= MIN_SECRET)


def _schema_words(schema: Any, collect: Any) -> None:
    """Collect the names of fields and the constant values of a schema."""
    if isinstance(schema, dict):
        for keyword, value in schema.items():
            if keyword in ("const", "enum"):
                collect(value)
            else:
                if keyword == "properties":
                    collect(list(value))
                _schema_words(value, collect)
    elif isinstance(schema, list):
        for child in schema:
            _schema_words(child, collect)
