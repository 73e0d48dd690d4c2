"""Replies that are made to be slow to check: each repeats one thing as often as its size allows.

:data:`SHAPES` names them. ``benchmarks/judge_shapes.py`` measures them, and ``tests/conformance/test_linear.py`` proves
that twice the size takes twice the work.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Arrivals, Chunks, Exchange, Outcome, Request

_PLAIN = b'{"model":"m","input":"Hi"}'
_STREAM = b'{"model":"m","input":"Hi","stream":true}'


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of reply: ``body`` returns one with so many repetitions; ``piece`` is the size of a chunk in bytes."""

    body: Callable[[int], bytes]
    stream: bool = False
    status: int = 200
    piece: int = 65536
    content_type: str = ""

    def count(self, size: int) -> int:
        """Return how many repetitions make a body of about ``size`` bytes."""
        few, many = len(self.body(10)), len(self.body(110))
        return max(1, round((size - few) * 100 / (many - few)) + 10)

    def exchange(self, size: int) -> Exchange:
        """Return an exchange whose reply has about ``size`` bytes."""
        return self.repeated(self.count(size))

    def repeated(self, count: int) -> Exchange:
        """Return an exchange whose reply has so many repetitions."""
        body = self.body(count)
        kind = self.content_type or ("text/event-stream" if self.stream else "application/json")
        sizes = [min(self.piece, len(body) - at) for at in range(0, len(body), self.piece)]
        return Exchange(
            id="x",
            request=Request("POST", "/v1/responses", (), _STREAM if self.stream else _PLAIN),
            outcome=Outcome.COMPLETE,
            status=self.status,
            headers=(("content-type", kind),),
            chunks=Chunks.of(body, Arrivals.of([0.001 * n for n in range(len(sizes))], sizes)),
            case="case",
            role="stream" if self.stream else "plain",
            tags=("valid",),
        )


def as_json(value: Any) -> str:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":"))


def response(**fields: Any) -> dict[str, Any]:
    """Return a small completed response object with these fields."""
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1700000000,
        "status": "completed",
        "model": "m",
        "output": [],
        **fields,
    }


def message(content: Any, identity: str = "msg_1", **fields: Any) -> dict[str, Any]:
    """Return a completed message with this content."""
    return {"type": "message", "id": identity, "status": "completed", "role": "assistant", "content": content, **fields}


def text(value: str = "", annotations: Any = (), **fields: Any) -> dict[str, Any]:
    """Return an output_text part."""
    return {"type": "output_text", "text": value, "annotations": list(annotations), "logprobs": [], **fields}


def _plain(make: Callable[[int], dict[str, Any]]) -> Shape:
    return Shape(lambda n: as_json(make(n)).encode())


def _output(element: Callable[[int], Any]) -> Shape:
    return _plain(lambda n: response(output=[element(i) for i in range(n)]))


def _content(element: Callable[[int], Any]) -> Shape:
    return _plain(lambda n: response(output=[message([element(i) for i in range(n)])]))


def deep(depth: int) -> Any:
    """Return a value that is nested so deep."""
    value: Any = 0
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


ITEM_TYPES = sorted(load_dialect("openai").item_types)
PLAIN: Mapping[str, Shape] = {
    "output of numbers": _output(lambda i: 1),
    "output of nulls": _output(lambda i: None),
    "output of strings": _output(lambda i: "a"),
    "output of empty arrays": _output(lambda i: []),
    "output of empty objects": _output(lambda i: {}),
    "output of objects without type": _output(lambda i: {"id": f"a{i}"}),
    "output of unknown types": _output(lambda i: {"type": f"t{i}"}),
    "output of types that are no strings": _output(lambda i: {"type": [i]}),
    "output of bare messages": _output(lambda i: {"type": "message"}),
    "output of messages": _output(lambda i: message([text("a")], f"msg_{i}")),
    "output of messages with one id": _output(lambda i: message([text("a")])),
    "output of bare calls": _output(lambda i: {"type": "function_call"}),
    "output of calls": _output(
        lambda i: {"type": "function_call", "id": f"f{i}", "call_id": f"c{i}", "name": "f", "arguments": "{}"}
    ),
    "output of reasoning": _output(lambda i: {"type": "reasoning", "id": f"r{i}", "summary": []}),
    "output of deep values": _output(lambda i: deep(40)),
    "content of numbers": _content(lambda i: 1),
    "content of empty objects": _content(lambda i: {}),
    "content of bare parts": _content(lambda i: {"type": "output_text"}),
    "content of parts": _content(lambda i: text("a")),
    "content of unknown parts": _content(lambda i: {"type": f"p{i}"}),
    "annotations of numbers": _plain(lambda n: response(output=[message([text("a", [1] * n)])])),
    "annotations of empty objects": _plain(lambda n: response(output=[message([text("a", [{}] * n)])])),
    "annotations": _plain(
        lambda n: response(
            output=[
                message(
                    [
                        text(
                            "a" * 50,
                            [
                                {"type": "url_citation", "url": f"u{i}", "title": "t", "start_index": 0, "end_index": 1}
                                for i in range(n)
                            ],
                        )
                    ]
                )
            ]
        )
    ),
    "log probabilities": _plain(
        lambda n: response(
            output=[
                message([text("a", logprobs=[{"token": "a", "logprob": 0.1, "bytes": [1], "top_logprobs": []}] * n)])
            ]
        )
    ),
    "log probabilities of numbers": _plain(lambda n: response(output=[message([text("a", logprobs=[1] * n)])])),
    "summary of numbers": _plain(
        lambda n: response(output=[{"type": "reasoning", "id": "r", "summary": [1] * n, "content": [2] * n}])
    ),
    "fields of the response": _plain(lambda n: response(**{f"k{i}": i for i in range(n)})),
    "fields of an item": _plain(lambda n: response(output=[{**message([]), **{f"k{i}": i for i in range(n)}}])),
    "fields of a part": _plain(lambda n: response(output=[message([text("a", **{f"k{i}": i for i in range(n)})])])),
    "fields of usage": _plain(lambda n: response(usage={f"k{i}": i for i in range(n)})),
    "metadata": _plain(lambda n: response(metadata={f"k{i}": i for i in range(n)})),
    "tools of numbers": _plain(lambda n: response(tools=[1] * n)),
    "tools": _plain(lambda n: response(tools=[{"type": "function", "name": f"f{i}"} for i in range(n)])),
    "a long text": _plain(lambda n: response(output=[message([text("a " * n)])])),
    "a long text of escapes": _plain(lambda n: response(output=[message([text("\ud800\n" * n)])])),
    "a long id": _plain(lambda n: response(id="a" * n, output=[message([], "a" * n)])),
    "a long status": _plain(lambda n: response(status="a" * n)),
    "a long name": _plain(lambda n: response(**{"a" * n: 1})),
    "long arguments": _plain(
        lambda n: response(output=[{"type": "function_call", "id": "f", "call_id": "c", "arguments": "[1," * n}])
    ),
    "surrogates": _output(lambda i: "\udc00"),
    "surrogates in objects": _output(lambda i: {"type": "message", "id": "\udc00"}),
    "numbers out of range": Shape(lambda n: b'{"output":[' + b"1e999," * n + b"1]}"),
    "numbers that are not JSON": Shape(lambda n: b'{"output":[' + b"NaN," * n + b"1]}"),
    "digits": Shape(lambda n: b'{"output":[' + b"9" * n + b"]}"),
    "brackets": Shape(lambda n: b"[" * n),
    "quotes": Shape(lambda n: b'"' * n),
    "zeros": Shape(lambda n: b"\0" * n),
    "bytes at random": Shape(lambda n: random.Random(0).randbytes(n)),
    "an object in single bytes": Shape(lambda n: b'{"output":[' + b"{}," * n + b"1]}", piece=1),
    "output of every JSON type": _output(lambda i: (1, "a", None, True, [], {}, 1.5, [1], {"a": 1})[i % 9]),
    "output of every type without fields": _output(lambda i: {"type": ITEM_TYPES[i % len(ITEM_TYPES)]}),
    "output of incomplete items": _output(lambda i: {"status": "incomplete"}),
    "short keys in short objects": _output(lambda i: {"a": 1, "b": {"c": []}}),
    "an array of arrays": Shape(lambda n: b"[" + b"[],[[]]," * n + b"0]"),
    "one field again and again": Shape(lambda n: b"{" + b'"output":[],' * n + b'"id":"r"}'),
}


def _error(words: Callable[[int], str], status: int = 500) -> Shape:
    return Shape(lambda n: as_json({"error": {"message": words(n), "type": "e", "code": None}}).encode(), status=status)


ERRORS: Mapping[str, Shape] = {
    "an error of spaces": _error(lambda n: " " * n),
    "an error of letters": _error(lambda n: "a" * n, 400),
    "an error of slashes": _error(lambda n: "/" * n),
    "an error of paths": _error(lambda n: "/usr/lib/python3/" * n),
    "an error of dots": _error(lambda n: "a." * n),
    "an error of traceback lines": _error(lambda n: '  File "a.py", line 1, in f\n' * n),
    "an error of stack lines": _error(lambda n: "    at a.b.c(D.java:1)\n" * n),
    "an error of at": _error(lambda n: "at " * n, 400),
    "an error of digits": _error(lambda n: "1" * n, 400),
    "an error of addresses": _error(lambda n: "10.0.0.1:80 " * n),
    "an error of brackets": _error(lambda n: "<(" * n),
    "an error of line breaks": _error(lambda n: "\n" * n),
    "errors in a list": Shape(lambda n: as_json({"error": [{"message": "a"}] * n}).encode(), status=400),
    "fields of an error": Shape(lambda n: as_json({"error": {f"k{i}": i for i in range(n)}}).encode(), status=400),
    "a page": Shape(lambda n: b"<html>" + b"<p>a</p>" * n, status=502, content_type="text/html"),
}


def _events(make: Callable[[int], Any], piece: int = 65536, ending: Callable[[int], str] = lambda n: "") -> Shape:
    def body(n: int) -> bytes:
        return "".join(f"data: {as_json(make(i))}\n\n" for i in range(n)).encode() + ending(n).encode()

    return Shape(body, stream=True, piece=piece)


def event(name: str, i: int, **fields: Any) -> dict[str, Any]:
    """Return an event of a type with a sequence number."""
    return {"type": name, "sequence_number": i, **fields}


def encoded(events: list[dict[str, Any]]) -> bytes:
    """Return events as the body of a stream."""
    return "".join(f"data: {as_json(event)}\n\n" for event in events).encode()


def _new_part(i: int, name: str = "response.output_text.delta") -> dict[str, Any]:
    return event(name, i, item_id="m", output_index=0, content_index=i, delta="a", part=text())


def _new_item(i: int, name: str = "response.output_text.delta") -> dict[str, Any]:
    item = message([], f"m{i}")
    return event(name, i, item_id=f"m{i}", output_index=i, content_index=0, delta="a", part=text(), item=item)


def _opened(i: int) -> dict[str, Any]:
    return event("response.output_item.added", i, output_index=i, item=message([], f"m{i}", status="in_progress"))


def _unplaced(i: int) -> dict[str, Any]:
    return {"type": "response.content_part.added", "item_id": "m", "output_index": 0}


def _lines(line: bytes, piece: int = 65536) -> Shape:
    return Shape(lambda n: line * n, stream=True, piece=piece)


def _closing_backwards(n: int) -> bytes:
    added = [_opened(i) for i in range(n)]
    done = [
        event("response.output_item.done", n + k, output_index=n - 1 - k, item=message([], f"m{n - 1 - k}"))
        for k in range(n)
    ]
    return encoded(added + done)


def _whole(n: int, size: int = 1) -> bytes:
    """Return a correct stream with so many parts of one item, or so many items of one part."""
    items, parts = (1, n) if size else (n, 1)
    events: list[dict[str, Any]] = [event("response.created", 0, response=response(status="in_progress"))]
    for k in range(items):
        events.append(event("response.output_item.added", 0, output_index=k, item=message([], f"m{k}")))
        place = {"item_id": f"m{k}", "output_index": k}
        for p in range(parts):
            at = {**place, "content_index": p}
            events += [
                event("response.content_part.added", 0, **at, part=text()),
                event("response.output_text.delta", 0, **at, delta="a"),
                event("response.output_text.done", 0, **at, text="a"),
                event("response.content_part.done", 0, **at, part=text("a")),
            ]
        events.append(event("response.output_item.done", 0, output_index=k, item=message([text("a")] * parts, f"m{k}")))
    output = [message([text("a")] * parts, f"m{k}") for k in range(items)]
    events.append(event("response.completed", 0, response=response(output=output)))
    for number, one in enumerate(events):
        one["sequence_number"] = number
    return "".join(f"event: {e['type']}\ndata: {as_json(e)}\n\n" for e in events).encode()


EVENT_TYPES = tuple(load_dialect("openai").events)
STREAMS: Mapping[str, Shape] = {
    "events without fields": _events(lambda i: {}),
    "events that are numbers": _events(lambda i: 1),
    "events without JSON": _lines(b"data: a\n\n"),
    "events of broken JSON": _lines(b'data: {"a\n\n'),
    "events of null": _lines(b"data: null\n\n"),
    "events that are not a number": _lines(b"data: NaN\n\n"),
    "events with infinite numbers": _lines(b'data: {"a":Infinity}\n\n'),
    "events with numbers out of range": _lines(b"data: 1e999\n\n"),
    "events with lone surrogates": _lines(b'data: {"type":"t","a":"\\ud800"}\n\n'),
    "events of deep values": _events(lambda i: deep(40)),
    "events of every type": _events(lambda i: event_of(EVENT_TYPES[i % len(EVENT_TYPES)], i)),
    "events of every type without fields": _events(lambda i: {"type": EVENT_TYPES[i % len(EVENT_TYPES)]}),
    "events of two lines": _lines(b"data: 1\ndata: 2\n\n"),
    "events with names": _lines(b"event: a\ndata: {}\n\n"),
    "events with ids": _lines(b"id: 1\ndata: {}\n\n"),
    "events with retry": _lines(b"retry: a\ndata: {}\n\n"),
    "events that end in CRLF": _lines(b"data: 1\r\n\r\n"),
    "events that end in CR": _lines(b"data: 1\r\r"),
    "events without type": _events(lambda i: {"a": i}),
    "events of unknown types": _events(lambda i: {"type": f"t{i}"}),
    "events of extension types": _events(lambda i: {"type": f"a:t{i}"}),
    "events of one unknown type": _events(lambda i: {"type": "t", "sequence_number": i}),
    "events with one number": _events(lambda i: {"type": "response.output_text.delta", "sequence_number": 1}),
    "events with numbers backwards": _events(lambda i: {"type": "response.in_progress", "sequence_number": -i}),
    "deltas without place": _events(lambda i: event("response.output_text.delta", i, delta="a")),
    "deltas of one part": _events(
        lambda i: event("response.output_text.delta", i, item_id="m", output_index=0, content_index=0, delta="a")
    ),
    "deltas of an array": _events(lambda i: event("response.output_text.delta", i, item_id="m", delta=[i])),
    "deltas of new parts": _events(_new_part),
    "deltas of new items": _events(_new_item),
    "deltas of alternating items": _events(lambda i: _new_item(i % 2)),
    "items that open": _events(_opened),
    "items that open at one index": _events(lambda i: {**_opened(i), "output_index": 0}),
    "items that open with one id": _events(lambda i: {**_opened(0), "output_index": i}),
    "items that open and close backwards": Shape(_closing_backwards, stream=True),
    "items that close": _events(
        lambda i: event("response.output_item.done", i, output_index=i, item=message([], f"m{i}"))
    ),
    "parts that open": _events(lambda i: _new_part(i, "response.content_part.added")),
    "parts that open at one index": _events(
        lambda i: {**_new_part(i, "response.content_part.added"), "content_index": 0}
    ),
    "parts that close": _events(lambda i: _new_part(i, "response.content_part.done")),
    "parts without index": _events(
        lambda i: {"type": "response.content_part.added", "item_id": "m", "output_index": 0}
    ),
    "annotations of one part": _events(
        lambda i: event(
            "response.output_text.annotation.added",
            i,
            item_id="m",
            output_index=0,
            content_index=0,
            annotation_index=i,
            annotation={"type": "url_citation"},
        )
    ),
    "arguments in deltas": _events(
        lambda i: event("response.function_call_arguments.delta", i, item_id="f", output_index=0, delta='{"a":')
    ),
    "responses in events": _events(lambda i: event("response.in_progress", i, response=response())),
    "responses that differ": _events(lambda i: event("response.in_progress", i, response=response(**{f"k{i}": i}))),
    "responses with items": _events(
        lambda i: event("response.in_progress", i, response=response(output=[message([text("a")])]))
    ),
    "many ends": _events(lambda i: event("response.completed", i, response=response())),
    "errors in events": _events(lambda i: event("error", i, code="c", message=f"m{i}")),
    "a response of numbers": Shape(
        lambda n: f"data: {as_json(event('response.completed', 0, response=response(output=[1] * n)))}\n\n".encode(),
        stream=True,
    ),
    "a response of empty objects": Shape(
        lambda n: f"data: {as_json(event('response.completed', 0, response=response(output=[{}] * n)))}\n\n".encode(),
        stream=True,
    ),
    "an event of many fields": Shape(
        lambda n: f"data: {as_json(event('response.created', 0, **{f'k{i}': i for i in range(n)}))}\n\n".encode(),
        stream=True,
    ),
    "a long delta": Shape(
        lambda n: f"data: {as_json(event('response.output_text.delta', 0, delta='a ' * n))}\n\n".encode(), stream=True
    ),
    "a correct stream of items": Shape(lambda n: _whole(n, 0), stream=True),
    "a correct stream of parts": Shape(lambda n: _whole(n, 1), stream=True),
    "data lines": _lines(b"data: a\n"),
    "empty data lines": _lines(b"data\n"),
    "comments": _lines(b":\n"),
    "blank lines": _lines(b"\n"),
    "carriage returns": _lines(b"\r"),
    "unknown fields": _lines(b"a\n"),
    "ends of the stream": _lines(b"data: [DONE]\n\n"),
    "one line without end": _lines(b"a"),
    "bad UTF-8": _lines(b"data: \xff\n\n"),
    "single bytes": _lines(b'data: {"type":"t"}\n\n', 1),
    "a line in single bytes": _lines(b"a", 1),
}
"""Event streams."""


def event_of(name: str, i: int, *, item: int | None = 0, part: int | None = 0) -> dict[str, Any]:
    """Return an event of a type with every field that one may have, for an item and a part of it (``None``: no index).

    ``i`` is its sequence number.
    """
    places: dict[str, Any] = {} if item is None else {"item_id": f"m{item}", "output_index": item}
    places |= {} if part is None else {"content_index": part, "summary_index": part}
    values = {"delta": "a", "text": "a", "arguments": "{}", "annotation_index": i, "annotation": {"type": "x"}}
    return event(name, i, **places, **values, part=text("a"), item=message([], f"m{item}"), response=response())


def _of_type(name: str) -> list[tuple[str, Shape]]:
    return [
        (f"{name} of one place", _events(lambda i: event_of(name, i))),
        (f"{name} of new places", _events(lambda i: event_of(name, i, item=i, part=i))),
        (f"{name} without fields", _events(lambda i: {"type": name})),
    ]


TYPES: Mapping[str, Shape] = dict(pair for name in EVENT_TYPES for pair in _of_type(name))
"""Streams of one event type, all at one place, each at a new one, and without a field."""

SHAPES: Mapping[str, Shape] = {**PLAIN, **ERRORS, **STREAMS, **TYPES}
