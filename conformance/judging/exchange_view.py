"""What checks look at: an exchange with everything that can be computed from it, computed once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import Struct

from rejoinder.budgets import DEPTH
from rejoinder.conformance.judging.codings import decoded
from rejoinder.conformance.judging.context import NO_CONTEXT, RunContext
from rejoinder.contract import Dialect, EventSpec, Requested, requested_operation
from rejoinder.fold import StreamFold
from rejoinder.model.exchange import Exchange, Outcome, is_too_deep
from rejoinder.wire.sse import ServerEvent, SSEReader, read_events

DONE_SENTINEL: Final = "[DONE]"

T = TypeVar("T")


_BEGINNING: Final = re.compile(r'[ \t\n\r]*+[\[{"0-9tfnNI-]')
"""How a text begins that may be JSON, or is it but for its constants."""
_FINISHED: Final = ("completed", "incomplete", "failed", "cancelled")
_NO_FIELDS: Final[dict[str, Any]] = {}


def _parsed(text: str) -> tuple[Any, bool, tuple[str, ...]]:
    """Return the value of the data of an event, whether it has one, and the words in it that are numbers elsewhere."""
    constants: list[str] = []
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError):
        # The fast decoder refuses some JSON: lone surrogates, numbers out of range.
        if _BEGINNING.match(text) is None:
            return None, False, ()
        # The decoder without a hook is the fast one.
        hook = constants.append if "NaN" in text or "Infinity" in text else None
        try:
            value = json.loads(text, parse_constant=hook)
        except (ValueError, RecursionError):
            return None, False, tuple(constants)
    if len(text) > DEPTH and is_too_deep(value, text):
        return None, False, tuple(constants)
    return value, True, tuple(constants) if constants else ()


def _why_not_json(text: str) -> str:
    """Return why the data of an event could not be parsed."""
    try:
        json.loads(text)
    except RecursionError:
        pass
    except ValueError as problem:
        return str(problem)
    return "nested too deeply"


class Event(Struct, frozen=True, gc=False):
    """One event of a stream: its number, the framing, and its parsed data.

    ``value`` is the parsed JSON (``None`` when the data could not be parsed, so that ``is_json`` is false, or for a
    JSON null), ``data`` the same as an object (empty when it is something else), ``type`` the type inside the data or
    the empty string. ``number`` counts events without comments and sentinels from 0. ``constants`` are the words in
    the data that are numbers in JavaScript and not in JSON: NaN, Infinity.
    """

    number: int
    frame: ServerEvent
    value: Any
    data: dict[str, Any]
    type: str
    spec: EventSpec | None
    is_json: bool = True
    constants: tuple[str, ...] = ()

    @property
    def error(self) -> str:
        """Why the data could not be parsed; empty if it could."""
        return "" if self.is_json else _why_not_json(self.frame.data)

    @property
    def is_extension(self) -> bool:
        """Whether the type has the form of an extension, ``vendor:name``."""
        return self.spec is None and ":" in self.type.strip(":")


class ExchangeView:
    """An exchange as checks see it in one dialect. All properties are computed on first use and then kept.

    Compressed bodies are decompressed (:mod:`.codings`). ``run_context`` holds what the run of the exchange
    shows as a whole.
    """

    def __init__(self, exchange: Exchange, dialect: Dialect, run_context: RunContext = NO_CONTEXT) -> None:
        self.exchange = decoded(exchange)
        self.dialect = dialect
        self.run_context = run_context
        self._made: dict[Callable[[ExchangeView], Any], Any] = {}

    def once(self, make: Callable[[ExchangeView], T]) -> T:
        """Return what a function makes of the view, which is made once."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast("T", self._made[make])

    @cached_property
    def _sent(self) -> dict[str, Any]:
        body = self.exchange.request.json()
        return body if isinstance(body, dict) else {}

    @cached_property
    def request(self) -> dict[str, Any]:
        """The request's JSON object; empty when it was something else, or sent as something else than JSON."""
        # An endpoint that takes a body of another media type need not have read its fields.
        return {} if self.is_other_media else self._sent

    @cached_property
    def is_other_media(self) -> bool:
        """Whether the request declares a content type that is neither JSON nor a form."""
        headers = self.exchange.request.headers
        value = next((value for name, value in headers if name.lower() == "content-type"), "")
        media = value.partition(";")[0].strip().lower()
        return bool(media) and media != "application/json" and not media.endswith(("+json", "urlencoded"))

    @cached_property
    def is_create(self) -> bool:
        """Whether the request was a create: POST to a path that ends in ``/responses``."""
        request = self.exchange.request
        return request.method == "POST" and request.path.partition("?")[0].rstrip("/").endswith("/responses")

    @cached_property
    def requested(self) -> Requested | None:
        """The operation beside create that the request is for, with the ids in its path; ``None`` for any other."""
        request = self.exchange.request
        if self.is_create:
            return None
        return requested_operation(self.dialect.operations.values(), request.method, request.path)

    @property
    def operation(self) -> str:
        """The name of the operation beside create that the request is for; empty for create and for no operation."""
        return "" if self.requested is None else self.requested.operation.name

    @cached_property
    def at_operation(self) -> frozenset[str]:
        """The names of the operations beside create that the path belongs to, whatever the method is."""
        if self.is_create:
            return frozenset()
        path = self.exchange.request.path
        found = [one for one in self.dialect.operations.values() if one.match(one.method, path) is not None]
        best = max(found, key=lambda one: (len(one.segments), -len(one.ids)), default=None)
        return frozenset(one.name for one in found if best is not None and one.segments == best.segments)

    @cached_property
    def streamed(self) -> bool:
        """Whether the request set ``stream``."""
        return self._sent.get("stream") is True

    @cached_property
    def is_stream(self) -> bool:
        """Whether this is a successful create with ``stream`` that got a stream."""
        return self.is_create and self.streamed and self.exchange.ok and (bool(self.events) or self._says_stream)

    @cached_property
    def is_plain(self) -> bool:
        """Whether this is a successful create without streaming whose reply was received whole."""
        return self.is_create and not self.streamed and self.exchange.ok and self.exchange.outcome is Outcome.COMPLETE

    @property
    def _says_stream(self) -> bool:
        return self.exchange.content_type == "text/event-stream"

    @cached_property
    def _frames(self) -> tuple[list[ServerEvent], SSEReader]:
        if not self.streamed:
            return [], SSEReader()
        return read_events(self.exchange.chunks)

    @property
    def reader(self) -> SSEReader:
        """The closed reader with its framing faults."""
        return self._frames[1]

    @property
    def frames(self) -> list[ServerEvent]:
        """Every event of the body as framed, sentinels included."""
        return self._frames[0]

    @cached_property
    def sentinels(self) -> list[int]:
        """Places of ``[DONE]`` in :attr:`frames`."""
        held = [(place, frame.data) for place, frame in enumerate(self.frames) if DONE_SENTINEL in frame.data]
        return [place for place, data in held if data.strip() == DONE_SENTINEL]

    @cached_property
    def events(self) -> list[Event]:
        """The events with their parsed data, in order, without sentinels and events that have no data field."""
        events: list[Event] = []
        specs = self.dialect.events
        for frame in self.frames:
            text = frame.data
            if not frame.has_data or (DONE_SENTINEL in text and text.strip() == DONE_SENTINEL):
                continue
            if not frame.terminated and self.exchange.outcome is not Outcome.COMPLETE:
                continue  # what a broken connection left of an event says nothing about the event
            value, is_json, constants = _parsed(text)
            if isinstance(value, dict):
                kind = value.get("type")
                kind = kind if isinstance(kind, str) else ""
                event = Event(len(events), frame, value, value, kind, specs.get(kind), is_json, constants)
            else:
                event = Event(len(events), frame, value, _NO_FIELDS, "", None, is_json, constants)
            events.append(event)
        return events

    @cached_property
    def objects(self) -> list[Event]:
        """The events whose data is an object."""
        return [event for event in self.events if isinstance(event.value, dict)]

    @cached_property
    def known(self) -> list[Event]:
        """The events of types that the contract names."""
        return [event for event in self.events if event.spec is not None]

    @cached_property
    def by_type(self) -> dict[str, list[Event]]:
        """The events by the type inside their data."""
        found: dict[str, list[Event]] = {}
        for event in self.events:
            found.setdefault(event.type, []).append(event)
        return found

    @cached_property
    def unknown(self) -> list[Event]:
        """The events with a type that the contract does not name."""
        return [event for event in self.events if event.spec is None and event.type]

    @cached_property
    def extensions(self) -> list[Event]:
        """The events of types that have the form of an extension, ``vendor:name``."""
        return [event for event in self.unknown if event.is_extension]

    @cached_property
    def numbered(self) -> list[Event]:
        """The events that have an integer sequence_number, but for those that clients ignore."""
        ignored = self.dialect.stream["ignored_events"]
        return [
            event
            for event in self.events
            if type(event.data.get("sequence_number")) is int and event.type not in ignored
        ]

    @cached_property
    def numbers(self) -> list[int]:
        """The sequence numbers of :attr:`numbered`."""
        return [event.data["sequence_number"] for event in self.numbered]

    @cached_property
    def fold(self) -> StreamFold:
        """The stream folded to its end; empty for plain replies."""
        fold = StreamFold(self.dialect)
        for event in self.events:
            fold.feed(event.value)
        return fold

    @property
    def ended_well(self) -> bool:
        """Whether the stream came to a terminal event after which nothing may be left open."""
        terminal = self.fold.terminal
        return terminal is not None and terminal.type in ("response.completed", "response.incomplete")

    @cached_property
    def body(self) -> Any:
        """The parsed body of a plain reply, ``None`` when it is not JSON."""
        return self.exchange.json()

    @cached_property
    def response(self) -> dict[str, Any] | None:
        """The response object that the exchange ended with: the plain body or the first terminal snapshot."""
        if self.is_stream:
            terminal = self.fold.terminal
            found = terminal.response if terminal else None
        else:
            found = self.body if self.is_plain else None
        return found if isinstance(found, dict) else None

    @cached_property
    def returned(self) -> ReturnedView | None:
        """The view of the finished response that an operation beside create returned, ``None`` for anything else."""
        body = self.body if self.requested is not None and self.exchange.ok else None
        if not isinstance(body, dict) or body.get("object") != "response" or body.get("status") not in _FINISHED:
            return None
        return ReturnedView(self.exchange, self.dialect, self.run_context)

    @cached_property
    def response_event(self) -> Event | None:
        """The event that carries :attr:`response`, ``None`` for plain replies."""
        terminal = self.fold.terminal if self.is_stream else None
        return self.events[terminal.event] if terminal else None

    @cached_property
    def output(self) -> list[dict[str, Any]]:
        """The output items of :attr:`response` that are objects."""
        output = self.response.get("output") if self.response else None
        return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []

    def folded_and_final(self) -> tuple[list[Any], list[Any]]:
        """Return the output reconstructed from the events and that of the terminal response, to be compared.

        Fields that the type of an item does not have are left out. An item that is null in
        `response.output_item.done` is as in the terminal response.
        """
        built, final = self.fold.output(), self.whole_output or []
        for item in self.fold.items:
            place = self.fold.place(item)
            if item.closed_at and item.closed is None and place < min(len(built), len(final)):
                built[place] = final[place]
        known = self.dialect.without_unknown_fields
        return [known(item) for item in built], [known(item) for item in final]

    @cached_property
    def whole_output(self) -> list[Any] | None:
        """The output array of :attr:`response` as it is, ``None`` when it is no array."""
        output = self.response.get("output") if self.response else None
        return output if isinstance(output, list) else None

    def text_parts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield pointer (inside the response) and object of every output_text part of the final output."""
        return ((f"/output/{i}/content/{k}", part) for i, k, part in self._texts)

    @cached_property
    def _texts(self) -> list[tuple[int, int, dict[str, Any]]]:
        return [place for place in self._content if place[2].get("type") == "output_text"]

    def content_parts(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield pointer (inside the response) and object of every content part of the final output."""
        return ((f"/output/{i}/content/{k}", part) for i, k, part in self._content)

    @cached_property
    def _content(self) -> list[tuple[int, int, dict[str, Any]]]:
        """The content parts of the final output that are objects, each behind its place."""
        return [
            (i, k, part)
            for i, item in enumerate(self.whole_output or ())
            if isinstance(item, dict) and isinstance(content := item.get("content"), list)
            for k, part in enumerate(content)
            if isinstance(part, dict)
        ]

    @cached_property
    def items_by_type(self) -> dict[Any, list[tuple[int, dict[str, Any]]]]:
        """Place and object of the output items, by their type; those whose type is no string are left out."""
        found: dict[Any, list[tuple[int, dict[str, Any]]]] = {}
        for i, item in enumerate(self.whole_output or ()):
            if isinstance(item, dict) and isinstance(kind := item.get("type"), str):
                found.setdefault(kind, []).append((i, item))
        return found

    @cached_property
    def item_statuses(self) -> frozenset[str]:
        """The statuses of the output items that are strings."""
        return frozenset([status for item in self.output if isinstance(status := item.get("status"), str)])

    def text(self) -> str:
        """Return the joined output_text of the final output."""
        return "".join([part["text"] for _, _, part in self._texts if isinstance(part.get("text"), str)])


class ReturnedView(ExchangeView):
    """An exchange of an operation that returned a response, as checks of responses see it: without what was sent."""

    @cached_property
    def request(self) -> dict[str, Any]:
        """Nothing: what the response answers was sent before."""
        return {}

    @cached_property
    def response(self) -> dict[str, Any] | None:
        """The response object that was returned."""
        return self.body if isinstance(self.body, dict) else None


@dataclass(frozen=True)
class CaseView:
    """All exchanges of one test case, by role, as case checks see them."""

    id: str
    views: tuple[ExchangeView, ...]

    @property
    def run_context(self) -> RunContext:
        """What the whole run shows that the case belongs to."""
        return self.views[0].run_context if self.views else NO_CONTEXT

    @cached_property
    def _made(self) -> dict[Callable[[CaseView], Any], Any]:
        return {}

    def once(self, make: Callable[[CaseView], T]) -> T:
        """Return what a function makes of the case, which is made once."""
        if make not in self._made:
            self._made[make] = make(self)
        return cast("T", self._made[make])

    @cached_property
    def _by_role(self) -> dict[str, ExchangeView]:
        """The first exchange of each role."""
        return {view.exchange.role: view for view in reversed(self.views)}

    def get(self, role: str) -> ExchangeView | None:
        """Return the exchange with that role, ``None`` when it was not sent."""
        return self._by_role.get(role)

    def having(self, *roles: str) -> list[ExchangeView]:
        """Return the exchanges with these roles, in the order of the roles, without those that were not sent."""
        return [view for role in roles if (view := self._by_role.get(role)) is not None]
