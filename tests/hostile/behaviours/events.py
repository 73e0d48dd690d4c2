"""Behaviours in event streams."""

from __future__ import annotations

import itertools
import json
from functools import partial

from tests.hostile.endpoint import (
    Connection,
    HttpRequest,
    event,
    on_stream,
    plain_body,
    response_object,
    stream_events,
)

stream = partial(on_stream, "events")


def _events(connection: Connection, *more: bytes, until: int | None = None, skip: int = 0) -> None:
    """Open a stream, and send a slice of a sound one and further bytes."""
    connection.stream()
    for kind, data in itertools.islice(stream_events(), skip, until):
        connection.send(event(kind, data))
    for block in more:
        connection.send(block)


@stream("The stream has no event.")
def no_events(connection: Connection, request: HttpRequest) -> None:
    connection.stream()


@stream("The stream ends without a terminal event.")
def no_terminal_event(connection: Connection, request: HttpRequest) -> None:
    _events(connection, until=5)


@stream("The terminal event is not ended by a blank line.")
def no_blank_line(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(b"".join(event(kind, data) for kind, data in stream_events())[:-1])


@stream("The terminal event comes first.")
def terminal_event_first(connection: Connection, request: HttpRequest) -> None:
    _events(connection, b"".join(event(*one) for one in itertools.islice(stream_events(), 8)), skip=8)


@stream("The terminal event comes twice, with other statuses.")
def two_terminal_events(connection: Connection, request: HttpRequest) -> None:
    failed = {"type": "response.failed", "sequence_number": 9, "response": response_object(status="failed")}
    _events(connection, event("response.failed", failed))


@stream("Deltas go on without end after the terminal event.")
def events_after_the_end(connection: Connection, request: HttpRequest) -> None:
    _events(connection)
    delta = {"type": "response.output_text.delta", "delta": "x", "item_id": "msg_1", "output_index": 0}
    connection.forever(event("response.output_text.delta", delta))


@stream("The connection stays open after the terminal event.")
def open_after_the_end(connection: Connection, request: HttpRequest) -> None:
    _events(connection)
    connection.wait_gone()


@stream("A comment comes every 50 ms, and nothing else.")
def keepalive_without_end(connection: Connection, request: HttpRequest) -> None:
    _events(connection, until=2)
    connection.forever(b": keepalive\n\n", every=0.05)


@stream("An event has data lines without end.")
def data_lines_without_end(connection: Connection, request: HttpRequest) -> None:
    _events(connection, until=2)
    connection.forever(b"data: x\n")


@stream("Deltas of a byte never end.")
def deltas_without_end(connection: Connection, request: HttpRequest) -> None:
    _events(connection, until=4)
    delta = {"type": "response.output_text.delta", "delta": "x", "item_id": "msg_1", "output_index": 0}
    connection.forever(lambda number: event("response.output_text.delta", {**delta, "sequence_number": number + 4}))


@stream("20,000 parts are added, none is closed.")
def parts_20_000(connection: Connection, request: HttpRequest) -> None:
    added = {"type": "response.content_part.added", "item_id": "msg_1", "output_index": 0}
    part = {"type": "output_text", "text": "", "annotations": []}
    more = (event("response.content_part.added", {**added, "content_index": n, "part": part}) for n in range(20_000))
    _events(connection, b"".join(more), until=3)


@stream("20,000 items are added, none is closed.")
def items_20_000(connection: Connection, request: HttpRequest) -> None:
    added = {"type": "response.output_item.added"}
    item = {"type": "message", "role": "assistant", "content": [], "status": "in_progress"}
    more = (
        event("response.output_item.added", {**added, "output_index": n, "item": {**item, "id": f"msg_{n}"}})
        for n in range(20_000)
    )
    _events(connection, b"".join(more), until=2)


@stream("The index of an item is 1,000,000,000.")
def huge_index(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    for kind, data in stream_events():
        connection.send(event(kind, {**data, **({"output_index": 10**9} if "output_index" in data else {})}))


@stream("Sequence numbers are negative, texts and huge.")
def odd_sequence_numbers(connection: Connection, request: HttpRequest) -> None:
    numbers = itertools.cycle([-1, "3", 10**40, 1.5, None, True, [1]])
    connection.stream()
    for kind, data in stream_events():
        connection.send(event(kind, {**data, "sequence_number": next(numbers)}))


@stream("10,000 events have types that do not exist.")
def unknown_types(connection: Connection, request: HttpRequest) -> None:
    more = b"".join(event(f"response.x{n}", {"type": f"response.x{n}", "sequence_number": n}) for n in range(10_000))
    _events(connection, more, until=2)


@stream("The event field and the type in the data contradict each other.")
def types_contradict(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    for _, data in stream_events():
        connection.send(event("response.completed", data))


@stream("The data of events is an array, a number, a text and null.")
def data_of_other_types(connection: Connection, request: HttpRequest) -> None:
    more = b"".join(event("response.output_text.delta", value) for value in ([1], 7, "x", None, True))
    _events(connection, more, until=2)


@stream("The data of an event is not JSON.")
def data_that_is_not_json(connection: Connection, request: HttpRequest) -> None:
    _events(connection, b"event: response.output_text.delta\ndata: {broken\n\n", until=2)


@stream("The data of an event is nested 50,000 deep.")
def deep_data(connection: Connection, request: HttpRequest) -> None:
    _events(connection, b"data: " + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"\n\n", until=2)


@stream("[DONE] comes first.")
def done_first(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(b"data: [DONE]\n\n")
    connection.send(b"".join(event(kind, data) for kind, data in stream_events()))


@stream("Lines end with a bare CR.")
def lines_with_cr(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(b"".join(event(kind, data) for kind, data in stream_events()).replace(b"\n", b"\r"))


@stream("The field retry has 30 digits, the field id contains NUL.")
def odd_fields(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(b"retry: " + b"9" * 30 + b"\nid: a\0b\nunknown: x\n\n")
    connection.send(b"".join(event(kind, data) for kind, data in stream_events()))


@stream("The stream is only an error event.")
def error_event_only(connection: Connection, request: HttpRequest) -> None:
    connection.stream()
    connection.send(event("error", {"type": "error", "code": "x", "message": "Overloaded.", "param": None}))


@stream("A streamed create gets a plain body.")
def plain_for_stream(connection: Connection, request: HttpRequest) -> None:
    connection.reply(plain_body())


@stream("The stream is a socket of JSON lines.")
def json_lines(connection: Connection, request: HttpRequest) -> None:
    connection.head(200, ("Content-Type", "application/x-ndjson"), ("Connection", "close"))
    connection.send(b"".join(json.dumps(data).encode() + b"\n" for _, data in stream_events()))
