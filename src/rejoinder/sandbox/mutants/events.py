"""Operators on the order of events. The sequence numbers stay without gaps, as if the endpoint meant it.

A place is an event type and which of its events in a stream: ``every/response.output_text.delta``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from rejoinder.contract import Dialect
from rejoinder.sandbox.endpoint.reply import Piece, Reply, RequestInfo
from rejoinder.sandbox.mutants.mutant import CleanRun, Operator, PlaceLog, Places, numbered
from rejoinder.sandbox.mutants.wire import is_stream, read_event, reply_of, write_event

Move = Callable[[list[Piece], int], None]
"""Changes a stream at one of its pieces."""

_WHICH: Final[Mapping[str, slice]] = {"every": slice(None), "first": slice(1), "last": slice(-1, None)}


def _drop(pieces: list[Piece], place: int) -> None:
    del pieces[place]


def _double(pieces: list[Piece], place: int) -> None:
    pieces.insert(place, pieces[place])


def _swap(pieces: list[Piece], place: int) -> None:
    if place + 1 < len(pieces) and read_event(pieces[place + 1].data) is not None:
        pieces[place], pieces[place + 1] = pieces[place + 1], pieces[place]


def _delay(pieces: list[Piece], place: int) -> None:
    end = max(index for index, piece in enumerate(pieces) if read_event(piece.data) is not None)
    pieces.insert(end, pieces.pop(place))


def _places(move: Move, clean: CleanRun) -> Places:
    """Return the events of which a move changes a stream."""
    log = PlaceLog()
    for number, exchange in numbered(clean):
        reply = reply_of(exchange)
        if not is_stream(reply):
            continue
        pieces = list(reply.chunks)
        kinds = Counter(str(event.get("type")) for piece in pieces if (event := read_event(piece.data)) is not None)
        for kind, count in kinds.items():
            for which in _WHICH if count > 1 else ("every",):
                place = f"{which}/{kind}"
                if log.wants(place, exchange.case) and _moved(pieces, move, which, kind) != pieces:
                    log.add(place, number, exchange.case)
    return log.found


def _moved(pieces: Sequence[Piece], move: Move, which: str, kind: str) -> list[Piece]:
    moved = list(pieces)
    events = [read_event(piece.data) for piece in pieces]
    chosen = [index for index, event in enumerate(events) if event is not None and event.get("type") == kind]
    for index in reversed(chosen[_WHICH[which]]):
        move(moved, index)
    return moved


def _hooks(move: Move, place: str, _: Dialect) -> Mapping[str, Any]:
    which, found, kind = place.partition("/")
    if not found or which not in _WHICH:
        raise ValueError(f"{place!r} names no event")

    def hook(reply: Reply, _: RequestInfo) -> Reply:
        if not is_stream(reply):
            return reply
        pieces = list(reply.chunks)
        events = [read_event(piece.data) for piece in pieces]
        first = next((n for event in events if event for n in [event.get("sequence_number")] if type(n) is int), None)
        moved = _moved(pieces, move, which, kind)
        reply.chunks = iter(pieces if first is None or moved == pieces else _renumbered(moved, first))
        return reply

    return {"reply": hook}


def _renumbered(pieces: Sequence[Piece], number: int) -> list[Piece]:
    found = []
    for piece in pieces:
        event = read_event(piece.data)
        if event is not None and type(event.get("sequence_number")) is int:
            event = {**event, "sequence_number": number}
            piece, number = piece._replace(data=write_event(event, str(event.get("type")))), number + 1
        found.append(piece)
    return found


def _event_operator(name: str, title: str, move: Move) -> Operator:
    return Operator(name, title, partial(_places, move), partial(_hooks, move))


OPERATORS: Final = (
    _event_operator("event-dropped", "An event is not sent", _drop),
    _event_operator("event-doubled", "An event is sent twice", _double),
    _event_operator("event-swapped", "An event comes after its successor", _swap),
    _event_operator("event-delayed", "An event comes at the end of the stream", _delay),
)
"""The operators on events."""
