"""What a fault is, when it shows, and the tools that faults and freedoms are written with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import getdoc
from typing import Any, Final, TypeVar

from rejoinder.contract import dialect_family, dialect_names
from rejoinder.json_copy import copy_json
from rejoinder.model.exchange import Headers, Request
from rejoinder.sandbox.endpoint.conversations import StoredConversation
from rejoinder.sandbox.endpoint.generate import ResolvedRequest
from rejoinder.sandbox.endpoint.reply import ApiError, Piece, Reply, RequestInfo
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json

Events = list[Json]
Change = Callable[[Json], None]
"""Changes an event, a response, an item or a part in place."""

RequestHook = Callable[[Json, RequestInfo], Json]
ResponseHook = Callable[[Json, str, RequestInfo], None]
EventsHook = Callable[[Events, RequestInfo], Events]
HeadHook = Callable[[int, Headers, RequestInfo], tuple[int, Headers]]
ErrorHook = Callable[[int, Any, RequestInfo], tuple[int, Any]]
Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Condition:
    """When a variation shows: in words, and as a test of the request."""

    description: str
    test: Callable[[RequestInfo], bool]

    def __call__(self, info: RequestInfo) -> bool:
        """Return whether the variation shows for this request."""
        return self.test(info)


def every(n: int) -> Condition:
    """Return the condition that holds for every n-th create request."""
    return Condition(f"for one create request in {n}", lambda info: info.number % n == 0)


def _beyond_ascii(value: Any) -> bool:
    return not json.dumps(value, ensure_ascii=False).isascii()


ALWAYS: Final = Condition("", lambda _: True)
STREAMED: Final = Condition("only with stream", lambda info: info.streamed)
PLAIN: Final = Condition("only without stream", lambda info: not info.streamed)
MULTI_BYTE: Final = Condition(
    "only with non-ASCII input",
    lambda info: _beyond_ascii([info.body.get("input"), info.body.get("instructions")]),
)
BACKGROUND: Final = Condition("only with background", lambda info: info.body.get("background") is True)
CONCURRENT: Final = Condition("only with concurrent requests", lambda info: bool(info.others))

NORTHSTAR_ONLY: Final = ("northstar",)
"""The dialects of faults in what only that specification has."""


def in_streams(what: str) -> Condition:
    """Return the condition of faults that show in some streams; ``what`` says in which."""
    return Condition(f"only in streams {what}", lambda info: info.streamed)


def with_request_field(field: str) -> Condition:
    """Return the condition that holds for requests with this field."""
    return Condition(f"only with {field}", lambda info: bool(info.body.get(field)))


@dataclass(frozen=True, slots=True)
class Visit:
    """A request to an operation beside create: retrieve, delete, cancel, input_items.

    ``stored`` is the response that it names, ``None`` where there is none; ``query`` holds its parameters; ``now`` is
    the Unix time and ``hold`` the seconds to hold a connection open. ``conversation`` is the conversation that it
    names, ``None`` where there is none.
    """

    store: Store
    stored: Stored | None
    info: RequestInfo
    query: Mapping[str, str]
    now: float
    hold: float
    conversation: StoredConversation | None = None

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.info.request.method


@dataclass(frozen=True, kw_only=True)
class Variation:
    """One thing that the sandbox does differently: a fault, or a freedom that the dialect leaves open.

    ``title`` says in one sentence what it does; ``dialects`` names the dialects in which it exists (all when empty).
    Those that inherit their rules are added, except those in ``not_in``, which decide what the others leave open.
    ``fails`` makes the run break down in the middle. ``replaces`` makes a response take the place of the one with its
    id. ``compacts_messages`` lets a compaction item stand for the user messages, too. The other fields are the hooks,
    in the order in which they are called:

    - ``received`` gets a create request before anything of it is read, and returns the one to answer, or refuses it;
    - ``parsed`` gets the parsed body of a create request before it is checked and returns the one to check;
    - ``request`` gets the valid body of a create request and returns the one to answer, or refuses it;
    - ``referenced`` gets the item that an item reference leads to (``None`` for none), and returns the one to use;
    - ``resolved`` gets what the sandbox made of a create request, and returns what to answer;
    - ``new_id`` gets an id that the sandbox made, such as ``resp_0``, and returns the one to use;
    - ``response`` changes a response object; its second argument is the event type, or ``plain`` for a plain body;
    - ``events`` gets all events before they are numbered, ``numbered`` after, and returns the ones to send;
    - ``frame`` gets the bytes of one event and the event, ``body`` all timed pieces of a body;
    - ``head`` gets status and headers of a success; ``error`` status and body of a refusal (bytes are sent as they
      are), ``on_refusal`` the reply that refuses;
    - ``on_end`` gets the reply and the seconds to hold a connection open;
    - ``on_read`` gets the pieces of a successful reply while they are read, and the clock;
    - ``reply`` gets the finished reply to any request, refusals included, and returns the one to send.

    And for what is stored:

    - ``on_store`` gets what was just stored, and the store;
    - ``override`` gets the visit to an operation beside create, and may answer it in place of the sandbox or refuse it;
    - ``all_tenants`` says whether the responses of all tenants are open to a request;
    - ``listing`` changes a page of input items;
    - ``added`` gets the items that a response adds to its conversation, and returns those to add;
    - ``other_reply`` changes the body of a success of an operation beside create, if it is no response object;
    - ``cancelled`` gets the finished response of a background stream that was cancelled, and returns the event that
      ends the stream in place of none;
    - ``on_reader_left`` gets what is stored of a stream whose reader left before its end.
    """

    id: str
    title: str
    when: Condition = ALWAYS
    dialects: tuple[str, ...] = ()
    not_in: tuple[str, ...] = ()
    fails: bool = False
    replaces: bool = False
    compacts_messages: bool = False
    received: Callable[[Request, RequestInfo], Request] | None = None
    parsed: RequestHook | None = None
    request: RequestHook | None = None
    referenced: Callable[[Json | None, RequestInfo], Json | None] | None = None
    resolved: Callable[[ResolvedRequest, RequestInfo], ResolvedRequest] | None = None
    new_id: Callable[[str, RequestInfo], str] | None = None
    response: ResponseHook | None = None
    events: EventsHook | None = None
    numbered: EventsHook | None = None
    frame: Callable[[bytes, Json, RequestInfo], bytes] | None = None
    body: Callable[[list[Piece], RequestInfo], list[Piece]] | None = None
    head: HeadHook | None = None
    error: ErrorHook | None = None
    on_refusal: Callable[[Reply, RequestInfo], Reply] | None = None
    on_end: Callable[[Reply, RequestInfo, float], Reply] | None = None
    on_read: Callable[[Iterator[Piece], RequestInfo, Callable[[], float]], Iterator[Piece]] | None = None
    reply: Callable[[Reply, RequestInfo], Reply] | None = None
    on_store: Callable[[Stored, Store, RequestInfo], None] | None = None
    override: Callable[[Visit], Reply | None] | None = None
    all_tenants: Callable[[RequestInfo], bool] | None = None
    listing: Callable[[Json, RequestInfo], None] | None = None
    added: Callable[[list[Json], RequestInfo], list[Json]] | None = None
    other_reply: Callable[[Json, RequestInfo], None] | None = None
    cancelled: Callable[[Json, RequestInfo], Json] | None = None
    on_reader_left: Callable[[Stored], None] | None = None

    def __post_init__(self) -> None:
        """Add the dialects that inherit the rules of the named ones."""
        if not self.dialects and not self.not_in:
            return
        named = self.dialects or tuple(dialect_names())
        heirs = [name for name in dialect_names() if not set(named).isdisjoint(dialect_family(name))]
        found = [name for name in dict.fromkeys([*named, *heirs]) if name not in self.not_in]
        object.__setattr__(self, "dialects", tuple(found))

    @property
    def condition(self) -> str:
        """When the variation shows, in words; empty for always."""
        return self.when.description

    def exists_in(self, dialect: str) -> bool:
        """Return whether the dialect of that name has it."""
        return not self.dialects or dialect in self.dialects


@dataclass(frozen=True, kw_only=True)
class Fault(Variation):
    """One defect of the sandbox.

    ``breaks`` names the rules that are surely broken where the fault shows. ``rare`` says that no covering set of
    requests shows it, and only a random search is likely to.
    """

    breaks: tuple[str, ...]
    rare: bool = False


class FaultList(list[Fault]):
    """The faults of one module: rows, and functions to which :meth:`add` gives an id."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults)

    def add(
        self, id: str, *breaks: str, hook: str, through: Callable[[Any], Any] | None = None, **fields: Any
    ) -> Callable[[Function], Function]:
        """Return a decorator that adds a fault with the function as a hook and its docstring as title.

        ``hook`` names the field of the fault that the function is for. ``through`` is a builder that makes the hook of
        the function, such as :func:`at_end`. ``fields`` are other fields of the fault, further hooks among them.
        """

        def decorate(function: Function) -> Function:
            fields[hook] = function if through is None else through(function)
            self.append(Fault(id=id, title=getdoc(function) or "", breaks=breaks, **fields))
            return function

        return decorate


CREATED, IN_PROGRESS, QUEUED = "response.created", "response.in_progress", "response.queued"
ITEM_ADDED, ITEM_DONE = "response.output_item.added", "response.output_item.done"
PART_ADDED, PART_DONE = "response.content_part.added", "response.content_part.done"
TEXT_DELTA, TEXT_DONE = "response.output_text.delta", "response.output_text.done"
CALL_DELTA, CALL_DONE = "response.function_call_arguments.delta", "response.function_call_arguments.done"
SUMMARY = "response.reasoning_summary"
ANNOTATION = "response.output_text.annotation.added"
TERMINAL = ("response.completed", "response.incomplete", "response.failed")
FINAL = (*TERMINAL, "plain")


# Tools to write faults with


def is_of(event: Json, *kinds: str) -> bool:
    return event.get("type") in kinds


def final_of(events: Events) -> Json:
    """Return the response of the terminal event; an empty object when there is none."""
    found: Any = next((event["response"] for event in reversed(events) if is_of(event, *TERMINAL)), {})
    return found if isinstance(found, dict) else {}


def ended(response: Json) -> bool:
    return response.get("status") in ("completed", "incomplete", "failed")


def each(*kinds: str, do: Change) -> EventsHook:
    """Return a hook that changes every event of these types."""

    def hook(events: Events, _: RequestInfo) -> Events:
        for event in events:
            if is_of(event, *kinds):
                do(event)
        return events

    return hook


def without(*kinds: str) -> EventsHook:
    """Return a hook that leaves out all events of these types."""
    return lambda events, _: [event for event in events if not is_of(event, *kinds)]


def twice(*kinds: str) -> EventsHook:
    """Return a hook that sends every event of these types a second time."""

    def hook(events: Events, _: RequestInfo) -> Events:
        doubled: Events = []
        for event in events:
            doubled.append(event)
            if is_of(event, *kinds):
                doubled.append(copy_json(event))
        return doubled

    return hook


def swapped(first: str, second: str) -> EventsHook:
    """Return a hook that swaps two events of these types wherever the second directly follows the first."""

    def hook(events: Events, _: RequestInfo) -> Events:
        for index in range(len(events) - 1):
            if is_of(events[index], first) and is_of(events[index + 1], second):
                events[index], events[index + 1] = events[index + 1], events[index]
        return events

    return hook


def inserted(event: Json, *, before: str = "", after: str = "") -> EventsHook:
    """Return a hook that inserts one event before or after the first event of a type."""

    def hook(events: Events, _: RequestInfo) -> Events:
        place = next((i for i, other in enumerate(events) if is_of(other, before or after)), None)
        if place is not None:
            events.insert(place if before else place + 1, dict(event))
        return events

    return hook


def set_to(field: str, value: Any) -> Change:
    def change(target: Json) -> None:
        target[field] = value

    return change


def changed(field: str, new: Callable[[Any], Any]) -> Change:
    """Return the change that makes a field's value from the one that it has."""

    def change(target: Json) -> None:
        target[field] = new(target[field])

    return change


def lengthened(text: str) -> str:
    return f"{text}f"


def unset(*fields: str) -> Change:
    def change(target: Json) -> None:
        for field in fields:
            target.pop(field, None)

    return change


def in_response(do: Change, places: Sequence[str] = ()) -> ResponseHook:
    """Return a hook that changes the response objects at these places, or all of them."""

    def hook(response: Json, place: str, _: RequestInfo) -> None:
        if not places or place in places:
            do(response)

    return hook


def with_field(id: str, title: str, rule: str, field: str, value: Any) -> Fault:
    """Return the fault of a field that has the same value in every response."""
    return Fault(id=id, title=title, breaks=(rule,), response=in_response(set_to(field, value)))


def at_end(do: Change) -> ResponseHook:
    """Return a hook that changes terminal responses, in a stream and as plain body."""

    def hook(response: Json, place: str, _: RequestInfo) -> None:
        if place in FINAL and ended(response):
            do(response)

    return hook


def items_of(response: Json) -> Iterator[Json]:
    output = response.get("output")
    for item in output if isinstance(output, list) else ():
        if isinstance(item, dict):
            yield item


def every_item(do: Change, *, added: bool = True, done: bool = True) -> dict[str, Any]:
    """Return the two hooks that change every output item alike, streamed or in a response."""
    kinds = (*((ITEM_ADDED,) if added else ()), *((ITEM_DONE,) if done else ()))

    def final(response: Json) -> None:
        for item in items_of(response):
            do(item)

    return {"events": each(*kinds, do=lambda event: do(event["item"])), "response": at_end(final)}


def every_part(do: Change, *, added: bool = True) -> dict[str, Any]:
    """Return the two hooks that change every content part alike, wherever it stands."""

    def item(item: Json) -> None:
        for part in item.get("content") or ():
            do(part)

    hooks = every_item(item)
    of_items = hooks["events"]
    of_parts = each(*((PART_ADDED,) if added else ()), PART_DONE, do=lambda event: do(event["part"]))
    return {**hooks, "events": lambda events, info: of_parts(of_items(events, info), info)}


def only(kind: str, do: Change) -> Change:
    """Return the change, limited to items or parts of a type."""

    def change(target: Json) -> None:
        if target.get("type") == kind:
            do(target)

    return change


def reindexed(events: Events, mapping: Callable[[int], int]) -> Events:
    """Give every event of an item another output_index."""
    for event in events:
        if isinstance(event.get("output_index"), int):
            event["output_index"] = mapping(event["output_index"])
    return events


def in_final(do: Change) -> EventsHook:
    """Return a hook that changes the response of the terminal event only."""

    def hook(events: Events, _: RequestInfo) -> Events:
        response = final_of(events)
        if response:
            do(response)
        return events

    return hook


def final_item(kind: str, do: Change) -> EventsHook:
    """Return a hook that changes the items of a type in the terminal event only."""

    def change(response: Json) -> None:
        for item in items_of(response):
            if item.get("type") == kind:
                do(item)

    return in_final(change)


def first_text(item: Json, change: Callable[[str], str], container: str = "content", field: str = "text") -> None:
    parts = item.get(container)
    if isinstance(parts, list) and parts and isinstance(parts[0].get(field), str):
        parts[0][field] = change(parts[0][field])


def altered(text: str) -> str:
    """Return another text of nearly the same length."""
    return f"{text[:-1]}~" if text else "~"


def alter(field: str) -> Change:
    return changed(field, altered)


def lost(*kinds: str, last: bool = False) -> EventsHook:
    """Return a hook that loses the first event of these types, or the last."""

    def hook(events: Events, _: RequestInfo) -> Events:
        places = [i for i, event in enumerate(events) if is_of(event, *kinds)]
        if places:
            del events[places[-1] if last else places[0]]
        return events

    return hook


def content_type(value: str, media: str) -> HeadHook:
    """Return a hook that sends another content type in place of ``media``."""

    def hook(status: int, headers: Headers, info: RequestInfo) -> tuple[int, Headers]:
        changed = tuple(
            (name, value if name == "content-type" and text.startswith(media) else text) for name, text in headers
        )
        return status, changed if info.operation == "create" else headers

    return hook


def without_field(event: Json, field: str) -> Json:
    return {key: value for key, value in event.items() if key != field}


def of_item(do: Change) -> Change:
    return lambda event: do(event["item"])


def has_code(body: Any, *codes: str) -> bool:
    """Whether a refusal has one of these codes."""
    return isinstance(body, dict) and body["error"].get("code") in codes


def with_status(value: int, *codes: str) -> ErrorHook:
    """Return a hook that refuses with another status where the code is one of these."""
    return lambda status, body, _: (value if has_code(body, *codes) else status, body)


def is_reasoning(item: Json) -> bool:
    return bool(item["type"] == "reasoning")


def as_if(**fields: Any) -> RequestHook:
    """Return a hook that answers the request as if it had these fields."""
    return lambda body, _: {**body, **fields}


def answer_format(body: Mapping[str, Any]) -> Any:
    """Return the type of the form that a request wants its text in, ``None`` for none."""
    text = body.get("text")
    shape = text.get("format") if isinstance(text, Mapping) else None
    return shape.get("type") if isinstance(shape, Mapping) else None


def input_items(body: Json) -> list[Json]:
    given = body.get("input")
    return [item for item in given if isinstance(item, dict)] if isinstance(given, list) else []


def refuse_items(what: str, test: Callable[[Json], bool]) -> RequestHook:
    """Return a hook that refuses requests with such an item in their input."""

    def hook(body: Json, _: RequestInfo) -> Json:
        if any(test(item) for item in input_items(body)):
            raise ApiError(400, f"{what} is not supported.", param="input", code="unsupported_value")
        return body

    return hook


def break_down(*codes: str) -> ErrorHook:
    """Return a hook that turns refusals with these codes into a server error."""

    def hook(status: int, body: Any, _: RequestInfo) -> tuple[int, Any]:
        if body["error"]["code"] not in codes:
            return status, body
        return 500, {"error": {**body["error"], "type": "server_error", "message": "Something went wrong."}}

    return hook


def unheard(field: str) -> dict[str, Any]:
    """Return the hooks of a request field that is taken, repeated and not heard."""

    def restore(response: Json, _: str, info: RequestInfo) -> None:
        if info.operation == "create" and field in response and info.body.get(field) is not None:
            response[field] = info.body[field]

    return {"request": as_if(**{field: None}), "response": restore}


def unheard_in(outer: str, inner: str, value: Any = None) -> dict[str, Any]:
    """Return the hooks of a field of an object of the request that is taken, repeated and not heard.

    ``value`` is heard in its place.
    """

    def request(body: Json, _: RequestInfo) -> Json:
        sent = body.get(outer)
        return {**body, outer: {**sent, inner: value}} if isinstance(sent, dict) and inner in sent else body

    def restore(response: Json, _: str, info: RequestInfo) -> None:
        sent = info.body.get(outer)
        if info.operation == "create" and isinstance(sent, dict) and isinstance(response.get(outer), dict):
            response[outer] = {**response[outer], **({inner: sent[inner]} if inner in sent else {})}

    return {"request": request, "response": restore}


def as_instructions(text: Callable[[RequestInfo], str]) -> dict[str, Any]:
    """Return the hooks that say a text to the model as its instructions, and do not tell."""

    def restore(response: Json, _: str, info: RequestInfo) -> None:
        if info.operation == "create":
            response["instructions"] = info.body.get("instructions")

    return {"request": lambda body, info: {**body, "instructions": text(info)}, "response": restore}


def change_texts(change: Callable[[str], str]) -> Change:
    def do(response: Json) -> None:
        for item in items_of(response):
            for part in item.get("content") or ():
                if part.get("type") == "output_text":
                    part["text"] = change(part["text"])

    return do


def with_strings(arguments: str) -> str:
    """Return the arguments of a call with all values as strings."""
    try:
        values = json.loads(arguments)
    except ValueError:
        return arguments  # the call was cut
    strings = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return json.dumps(strings, ensure_ascii=False)


def change_usage(do: Change) -> ResponseHook:
    """Return a hook that changes the usage of finished responses."""

    def change(response: Json) -> None:
        if isinstance(response.get("usage"), dict):
            do(response["usage"])

    return at_end(change)


_EVENT_STREAM: Final = (("content-type", "text/event-stream; charset=utf-8"),)


def wants_replay(visit: Visit) -> bool:
    """Return whether a visit wants the replay of a stream."""
    return visit.info.operation == "response" and visit.query.get("stream") == "true"


def on_replay(answer: Callable[[Visit, Stored], Reply | None]) -> Callable[[Visit], Reply | None]:
    """Return a hook that answers visits which want a background stream replayed."""

    def hook(visit: Visit) -> Reply | None:
        stored = visit.stored
        wanted = wants_replay(visit) and stored is not None and stored.stream
        return answer(visit, stored) if wanted and stored is not None else None

    return hook


def replay_pieces(visit: Visit, stored: Stored) -> list[Piece]:
    """Return the events of a stored stream that a visit wants."""
    text = visit.query.get("starting_after", "")
    start = int(text) if text.isdecimal() else -1
    return [piece for number, piece in stored.stream if not isinstance(number, int) or number > start]


def streamed(pieces: list[Piece], *, hold: float = 0.0) -> Reply:
    """Return a stream of these events, held open for ``hold`` seconds."""
    return Reply(200, _EVENT_STREAM, iter(pieces), hold=hold)
