"""Freedoms of the event-stream format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rejoinder.sandbox.endpoint.reply import Piece, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import STREAMED
from rejoinder.sandbox.freedom import Freedom, FreedomList, cite

_PARSING: Final = cite("html", "section 9.2.5, Parsing an event stream", "#parsing-an-event-stream")
_INTERPRETING: Final = cite("html", "section 9.2.6, Interpreting an event stream", "#event-stream-interpretation")
_CHUNKS: Final = cite("rfc9110", "section 6.4, Content", "#section-6.4")

Frame = Callable[[bytes, Json, RequestInfo], bytes]


def _lines(change: Callable[[bytes], bytes]) -> Frame:
    """Return a hook that changes the bytes of every event."""
    return lambda data, _, __: change(data)


def _split(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
    return [
        Piece(piece.delay if place == 0 else 0.0, piece.data[place : place + 1])
        for piece in pieces
        for place in range(len(piece.data))
    ]


def _joined(count: int) -> Callable[[list[Piece], RequestInfo], list[Piece]]:
    """Return a hook that sends so many pieces as one."""

    def hook(pieces: list[Piece], _: RequestInfo) -> list[Piece]:
        groups = [pieces[place : place + count] for place in range(0, len(pieces), count)]
        return [Piece(sum(one.delay for one in group), b"".join(one.data for one in group)) for group in groups]

    return hook


FREEDOMS: Final = FreedomList(
    Freedom(
        id="stream-byte-by-byte",
        title="Every byte of a stream arrives in a chunk of its own.",
        sources=(_CHUNKS, _PARSING),
        choice="chunks of a stream",
        when=STREAMED,
        body=_split,
    ),
    Freedom(
        id="several-events-in-a-chunk",
        title="Chunks of a stream hold five events each.",
        sources=(_CHUNKS, _PARSING),
        choice="chunks of a stream",
        when=STREAMED,
        body=_joined(5),
    ),
    Freedom(
        id="lines-end-with-crlf",
        title="The lines of a stream end with a carriage return and a line feed.",
        sources=(_PARSING,),
        choice="line ends of a stream",
        frame=_lines(lambda data: data.replace(b"\n", b"\r\n")),
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
)
