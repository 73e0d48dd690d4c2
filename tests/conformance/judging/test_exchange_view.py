"""What an exchange says when it is looked at."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rejoinder.conformance.judging.context import NO_CONTEXT, RunContext
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.contract import load_dialect
from rejoinder.model.exchange import Chunk, Exchange, Outcome, Request

DIALECT = load_dialect("northstar")


def exchange(
    body: bytes, request: Any = None, *, kind: str = "application/json", path: str = "/v1/responses", **fields: Any
) -> Exchange:
    asked = json.dumps({"input": "Hi"} if request is None else request).encode()
    settings: dict[str, Any] = {"id": "x", "outcome": Outcome.COMPLETE, "status": 200, **fields}
    return Exchange(
        request=Request(fields.pop("method", "POST"), path, (), asked),
        headers=(("content-type", kind),),
        chunks=(Chunk(0.1, body),),
        **{name: value for name, value in settings.items() if name != "method"},
    )


def plain(body: Any, **fields: Any) -> ExchangeView:
    return ExchangeView(exchange(json.dumps(body).encode(), **fields), DIALECT)


def stream(*data: Any, **fields: Any) -> ExchangeView:
    """Return the view of a stream with these data fields: text as it is, anything else as JSON."""
    lines = [text if isinstance(text, str) else json.dumps(text) for text in data]
    body = "".join(f"data: {line}\n\n" for line in lines).encode()
    fields = {"request": {"stream": True}, "kind": "text/event-stream", **fields}
    return ExchangeView(exchange(body, **fields), DIALECT)


@pytest.mark.parametrize(
    ("method", "path", "create"),
    [
        ("POST", "/v1/responses", True),
        ("POST", "/v1/responses/", True),
        ("POST", "/v1/responses?a=/b", True),
        ("POST", "/v1/responses/?a", True),
        ("GET", "/v1/responses", False),
        ("POST", "/v1/responses/r/cancel", False),
        ("POST", "/v1/chat?x=/responses", False),
        ("POST", "/v1/myresponses", False),
    ],
)
def test_creates_are_told_by_method_and_path(method: str, path: str, create: bool) -> None:
    view = plain({}, path=path)
    view.exchange = replace(view.exchange, request=replace(view.exchange.request, method=method))
    assert view.is_create is create
    assert view.is_plain is create


@pytest.mark.parametrize(("request_body", "streamed"), [({"stream": True}, True), ({"stream": 1}, False), ([], False)])
def test_a_stream_is_asked_for_by_true_only(request_body: Any, streamed: bool) -> None:
    view = plain({}, request=request_body)
    assert view.streamed is streamed
    assert view.request == (request_body if isinstance(request_body, dict) else {})


@pytest.mark.parametrize(
    ("view", "is_plain", "is_stream"),
    [
        (plain({}), True, False),
        (plain({}, status=201), True, False),
        (plain({}, status=400), False, False),
        (plain({}, outcome=Outcome.CUT), False, False),
        (stream({"type": "response.created"}), False, True),
        (stream(), False, True),
        # Events make a stream whatever the header calls it.
        (stream({"type": "response.created"}, kind="text/plain"), False, True),
        (stream(kind="text/plain"), False, False),
        (stream({"type": "response.created"}, outcome=Outcome.CUT), False, True),
        (stream({"type": "response.created"}, status=500), False, False),
        (stream({"type": "response.created"}, request={}), True, False),
        (stream({"type": "response.created"}, path="/v1/other"), False, False),
    ],
)
def test_plain_replies_and_streams(view: ExchangeView, is_plain: bool, is_stream: bool) -> None:
    assert (view.is_plain, view.is_stream) == (is_plain, is_stream)


def test_the_events_of_a_stream_without_sentinels() -> None:
    view = stream(
        {"type": "response.created", "sequence_number": 0},
        " [DONE] ",
        {"type": "vendor:beat", "sequence_number": True},
        "[1]",
        "{",
        {"type": 7, "sequence_number": 4},
        '{"type":"response.failed","a":NaN,"b":-Infinity}',
        '"Infinity"',
        "[" * 100_000,
        "[" * 600 + "]" * 600,
        {"type": ":odd"},
    )
    found = [(event.number, event.type, event.spec is not None, event.is_extension) for event in view.events]
    assert found == [
        (0, "response.created", True, False),
        (1, "vendor:beat", False, True),
        (2, "", False, False),
        (3, "", False, False),
        (4, "", False, False),
        (5, "response.failed", True, False),
        (6, "", False, False),
        (7, "", False, False),
        (8, "", False, False),
        (9, ":odd", False, False),
    ]
    assert [event.value for event in view.events[1:4]] == [
        {"type": "vendor:beat", "sequence_number": True}, [1], None
    ]  # fmt: skip
    assert view.events[2].data == view.events[3].data == {}
    assert view.events[4].data == {"type": 7, "sequence_number": 4}
    assert [bool(event.error) for event in view.events] == [False] * 3 + [True] + [False] * 3 + [True, True, False]
    assert view.events[3].error.startswith("Expecting property name")
    assert [event.error for event in view.events[7:9]] == ["nested too deeply"] * 2
    assert [event.value for event in view.events[7:9]] == [None, None]
    assert [event.constants for event in view.events[5:7]] == [("NaN", "-Infinity"), ()]
    assert [event.frame.start for event in view.events[:2]] == [0, view.frames[2].start]
    assert (len(view.frames), view.sentinels) == (11, [1])
    assert [event.number for event in view.known] == [0, 5]
    assert [event.number for event in view.numbered] == view.numbers == [0, 4]
    assert [event.type for event in view.unknown] == ["vendor:beat", ":odd"]
    assert [event.number for event in view.extensions] == [1]
    assert {kind: [event.number for event in events] for kind, events in view.by_type.items()} == {
        "response.created": [0], "vendor:beat": [1], "": [2, 3, 4, 6, 7, 8], "response.failed": [5], ":odd": [9]
    }  # fmt: skip


def test_what_a_broken_connection_left_of_an_event_is_none() -> None:
    body = b'data: {"type":"response.created"}\n\nevent: none\n\ndata: {"type":"resp'
    for outcome, count in ((Outcome.COMPLETE, 2), (Outcome.CUT, 1), (Outcome.TIMEOUT, 1)):
        view = ExchangeView(exchange(body, {"stream": True}, kind="text/event-stream", outcome=outcome), DIALECT)
        assert len(view.events) == count
        assert [fault.kind for fault in view.reader.faults] == ["blank_event"]
    # Nobody reads events in what was not asked for as a stream.
    view = ExchangeView(exchange(body, {}, kind="text/event-stream"), DIALECT)
    assert (view.events, view.frames, view.reader.faults) == ([], [], [])


RESPONSE = {
    "output": [
        {"content": [{"type": "output_text", "text": "a"}, 1, {"type": "refusal", "text": "x"}]},
        7,
        {"content": {}},
        {"content": [{"type": "output_text", "text": 5}, {"type": "output_text", "text": "b"}]},
    ]
}


@pytest.mark.parametrize("streamed", [False, True])
def test_the_response_is_that_of_the_body_or_of_the_end(streamed: bool) -> None:
    events = [{"type": "response.created", "response": {}}, {"type": "response.incomplete", "response": RESPONSE}]
    view = stream(*events, {"type": "response.completed", "response": {}}) if streamed else plain(RESPONSE)
    assert view.response == RESPONSE
    assert view.response_event is (view.events[1] if streamed else None)
    assert view.whole_output == RESPONSE["output"]
    assert view.output == [item for item in RESPONSE["output"] if isinstance(item, dict)]
    content = [("/output/0/content/0", "a"), ("/output/0/content/2", "x"), ("/output/3/content/0", 5),
               ("/output/3/content/1", "b")]  # fmt: skip
    assert [(pointer, part["text"]) for pointer, part in view.content_parts()] == content
    assert [(pointer, part["text"]) for pointer, part in view.text_parts()] == [content[0], *content[2:]]
    assert view.text() == "ab"
    assert view.fold.count == (3 if streamed else 0)


@pytest.mark.parametrize(
    "view",
    [
        plain([]),
        plain({}, status=500),
        stream({"type": "response.created", "response": RESPONSE}),
        stream({"type": "response.completed", "response": []}),
        stream({"type": "response.completed", "response": RESPONSE}, path="/v1/other"),
    ],
)
def test_where_no_response_came(view: ExchangeView) -> None:
    assert (view.response, view.output, view.whole_output, view.text()) == (None, [], None, "")


def test_an_output_that_is_no_array_has_no_items() -> None:
    view = plain({"output": {}})
    assert (view.response, view.output, view.whole_output) == ({"output": {}}, [], None)


@pytest.mark.parametrize(
    ("kind", "well"), [("completed", True), ("incomplete", True), ("failed", False), ("created", False)]
)
def test_streams_end_well_with_a_response_that_is_whole(kind: str, well: bool) -> None:
    assert stream({"type": f"response.{kind}", "response": {}}).ended_well is well


def test_a_body_that_is_not_json_is_none() -> None:
    assert ExchangeView(exchange(b"{"), DIALECT).body is None
    assert plain([1]).body == [1]


def test_a_case_finds_its_exchanges_by_role() -> None:
    context = RunContext(required=frozenset({"tools"}))
    views = tuple(
        ExchangeView(replace(exchange(b"{}"), id=f"x{number}", role=role), DIALECT, context)
        for number, role in enumerate(["first", "second", "first"])
    )
    case = CaseView("c", views)
    assert case.get("first") is views[0]
    assert case.get("third") is None
    assert case.having("second", "third", "first") == [views[1], views[0]]
    assert case.run_context is context
    assert CaseView("c", ()).run_context is NO_CONTEXT
    assert ExchangeView(exchange(b"{}"), DIALECT).run_context is NO_CONTEXT
