"""Freedoms of the event-stream format."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

from rejoinder.sandbox.endpoint.reply import Piece, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import STREAMED
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite

_PARSING: Final = cite("html", "section 9.2.5, Parsing an event stream", "#parsing-an-event-stream")
_INTERPRETING: Final = cite("html", "section 9.2.6, Interpreting an event stream", "#event-stream-interpretation")
_AUTHORS: Final = cite("html", "section 9.2.7, Authoring notes", "#authoring-notes")
_CHUNKS: Final = cite("rfc9110", "section 6.4, Content", "#section-6.4")
_COMMENT: Final = b": keep-alive\n\n"

Frame = Callable[[bytes, Json, RequestInfo], bytes]
Body = Callable[[list[Piece], RequestInfo], list[Piece]]


def _lines(change: Callable[[bytes], bytes]) -> Frame:
    """Return a hook that changes the bytes of every event."""
    return lambda data, _, __: change(data)


def _split(pieces: list[Piece], info: RequestInfo) -> list[Piece]:
    if not info.streamed and b"event:" not in b"".join(piece.data for piece in pieces[:1]):
        return pieces
    return [
        Piece(piece.delay if place == 0 else 0.0, piece.data[place : place + 1])
        for piece in pieces
        for place in range(len(piece.data))
    ]


def _joined(count: int) -> Body:
    """Return a hook that joins pieces, a number of them at a time."""

    def hook(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
        groups = [pieces[place : place + count] for place in range(0, len(pieces), count)]
        return [Piece(sum(one.delay for one in group), b"".join(one.data for one in group)) for group in groups]

    return hook


def _shifted(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    """Cut the stream in the middle of each event, so that a chunk holds the end of one and the start of the next."""
    rest, found = b"", []
    for piece in pieces:
        half = len(piece.data) // 2
        found.append(Piece(piece.delay, rest + piece.data[:half]))
        rest = piece.data[half:]
    return [*found, Piece(0.0, rest)] if rest else found


def _data_in_lines(data: bytes, event: Json, _: RequestInfo) -> bytes:
    text = json.dumps(event, ensure_ascii=True, indent=1)
    name = data.partition(b"\n")[0]
    return b"\n".join([name, *(b"data: " + line.encode() for line in text.split("\n"))]) + b"\n\n"


def _data_first(data: bytes) -> bytes:
    name, value, *rest = data.split(b"\n")
    return b"\n".join([value, name, *rest])


# In the order in which they are applied: the lines of an event, what comes around it, line ends, chunks.
FREEDOMS: Final = FreedomList(
    Freedom(
        id="data-before-event",
        title="The data field of an event comes before its event field.",
        sources=(_INTERPRETING,),
        choice="layout of the data",
        frame=_lines(_data_first),
    ),
    Freedom(
        id="data-in-several-lines",
        title="The data of an event is indented JSON in several data lines.",
        sources=(_INTERPRETING, cite("rfc8259", "section 2, JSON Grammar", "#section-2")),
        choice="layout of the data",
        frame=_data_in_lines,
    ),
    Freedom(
        id="no-space-after-colon",
        title="The fields of an event have no space after the colon.",
        sources=(_PARSING, _INTERPRETING),
        choice="space after the colon",
        frame=_lines(lambda data: re.sub(rb"(?m)^(event|data): ", rb"\1:", data)),
    ),
    Freedom(
        id="empty-comments",
        title="A comment without text comes before every event of a stream.",
        sources=(_PARSING, _AUTHORS),
        frame=_lines(lambda data: b":\n\n" + data),
    ),
    Freedom(
        id="unknown-stream-field",
        title="Every event has a field that the event-stream format does not define.",
        sources=(_INTERPRETING,),
        frame=_lines(lambda data: b"trace: 00-4bf9\n" + data),
    ),
    Freedom(
        id="id-field",
        title="Every event has an id field with its sequence_number.",
        dialects=("northstar", "openai"),
        sources=(_INTERPRETING, _AUTHORS),
        argument="OpenAI's documents and the types of tzafon have no sentence about the id field.",
        frame=lambda data, event, _: b"id: %d\n%b" % (event["sequence_number"], data),
    ),
    Freedom(
        id="comments-between-events",
        title="A comment follows every event of a stream.",
        sources=(_PARSING, _AUTHORS),
        frame=_lines(lambda data: data + _COMMENT),
    ),
    Freedom(
        id="extra-blank-lines",
        title="Two blank lines follow every event.",
        sources=(_INTERPRETING,),
        frame=_lines(lambda data: data + b"\n"),
    ),
    Freedom(
        id="lines-end-with-crlf",
        title="The lines of a stream end with a carriage return and a line feed.",
        sources=(_PARSING,),
        choice="line ends of a stream",
        frame=_lines(lambda data: data.replace(b"\n", b"\r\n")),
    ),
    Freedom(
        id="lines-end-with-cr",
        title="The lines of a stream end with a carriage return.",
        sources=(_PARSING,),
        choice="line ends of a stream",
        frame=_lines(lambda data: data.replace(b"\n", b"\r")),
    ),
    Freedom(
        id="comment-before-first-event",
        title="A stream begins with a comment.",
        sources=(_PARSING, _AUTHORS),
        when=STREAMED,
        body=lambda pieces, _: [Piece(0.0, b": connected\n\n"), *pieces],
    ),
    Freedom(
        id="retry-field",
        title="The first event of a stream has a retry field.",
        sources=(_INTERPRETING,),
        when=STREAMED,
        body=lambda pieces, _: [Piece(0.0, b"retry: 3000\n"), *pieces],
    ),
    Freedom(
        id="done-sentinel-sent",
        title="A stream ends with data: [DONE].",
        dialects=("northstar", "openai"),
        sources=(
            cite("openai-python", "Stream.__stream__, which ends at [DONE]", "src/openai/_streaming.py"),
            cite("openai-node", "Stream.fromSSEResponse, which ends at [DONE]", "src/core/streaming.ts"),
        ),
        when=STREAMED,
        body=lambda pieces, _: [*pieces, Piece(0.0, b"data: [DONE]\n\n")],
    ),
    Freedom(
        id="stream-type-without-charset",
        title="The content type of a stream has no parameters.",
        sources=(cite("html", "section 9.2.5, the type text/event-stream", "#parsing-an-event-stream"),),
        when=STREAMED,
        head=lambda status, headers, _: (
            status,
            tuple((name, value.partition(";")[0] if name == "content-type" else value) for name, value in headers),
        ),
    ),
    Freedom(
        id="stream-byte-by-byte",
        title="Every byte of a stream arrives in its own chunk.",
        sources=(_CHUNKS, _PARSING),
        choice="chunks of a stream",
        when=STREAMED,
        body=_split,
    ),
    Freedom(
        id="several-events-in-a-chunk",
        title="A chunk of a stream holds five events.",
        sources=(_CHUNKS, _PARSING),
        choice="chunks of a stream",
        when=STREAMED,
        body=_joined(5),
    ),
    Freedom(
        id="whole-stream-in-one-chunk",
        title="A stream arrives as one chunk when it is complete.",
        sources=(_CHUNKS, _PARSING),
        choice="chunks of a stream",
        when=STREAMED,
        body=_joined(1_000_000),
    ),
    Freedom(
        id="chunks-across-events",
        title="A chunk of a stream ends in the middle of an event.",
        sources=(_CHUNKS, _PARSING),
        choice="chunks of a stream",
        when=STREAMED,
        body=_shifted,
    ),
)
