"""What a case is: requests that belong together, and small builders for them."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import LIVENESS_SECONDS, text_of
from rejoinder.contract import Dialect
from rejoinder.model.base_form import USUAL_FORM, BaseForm
from rejoinder.model.exchange import Exchange, parse_json
from rejoinder.model.tags import Tag
from rejoinder.wire.base_form import fit_body
from rejoinder.wire.sse import read_events
from rejoinder.wire.target import RESPONSES

Replies = Mapping[str, Exchange]
"""What earlier requests of a case got, by role."""

BodyOf = Callable[[Replies], Any]
PathOf = Callable[[Replies], tuple[str, ...] | None]
QueryOf = Callable[[Replies], str]
WaitOf = Callable[[Replies], float]

TINY: Final = 16
"""Tokens that a generated request may have answered; the smallest that every dialect allows."""

LONG: Final = 128
"""Tokens for the few requests that need an answer of some length."""

ROOMY: Final = 64
"""Tokens for requests that need a sentence or a call for an answer."""


def closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of an object that has all of these properties and no other."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


WEATHER_TOOL: Final[Mapping[str, Any]] = {
    "type": "function",
    "name": "get_weather",
    "description": "Look up the weather of a city.",
    "parameters": closed({"city": {"type": "string", "description": "Name of the city."}}),
    "strict": True,
}


TIME_TOOL: Final[Mapping[str, Any]] = {
    "type": "function",
    "name": "get_time",
    "description": "Tell the local time of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    "strict": False,
}

NOTE_TOOL: Final[Mapping[str, Any]] = {
    "type": "custom",
    "name": "take_note",
    "description": "Write down a note in plain words.",
}


@dataclass(frozen=True, slots=True)
class RequestSpec:
    """One request of a case.

    ``body`` is a JSON value, exact bytes, or a function of the replies that earlier requests of the case got; ``path``
    names what lies below the create endpoint (``(response_id, "cancel")``), or is such a function. Either may return
    ``None`` to say that there is nothing to ask. With another ``collection``, such as ``conversations``, it lies below
    that one, which stands beside the create endpoint. ``query`` is sent as it is, or made of the replies. ``role``
    names the request in its case. ``deadline`` (seconds) and ``read_limit`` (bytes of the reply) stop it early on
    purpose; what they stop has the outcome ``cancelled``. ``pace`` is how many seconds a slow reader lets pass after
    each of its first reads.

    With ``beside`` the request is sent together with the one before it, not after its reply, and sees the same replies;
    ``wait`` is how many seconds after that it is sent, or such a function. ``tenant`` 2 sends it with the second
    tenant's key; without such a key it is not sent.

    With ``until`` the request is repeated, with a pause, until the condition holds for its reply, and at most as often
    as :func:`pauses` says or as long as one request may take. All replies are judged; the last one has the role, those
    before it have numbers after it.

    A create body is sent in the base form of the endpoint, with the extra fields of the user; see
    :func:`~rejoinder.wire.base_form.fit_body`. ``keeps`` names fields that the request is about, which stay as they
    are, or absent. ``written`` gets the JSON text of that and returns the bytes to send.

    The tag ``valid`` says that the body is valid beyond dispute, ``basic`` that no endpoint may refuse it, ``invalid``
    that it must be refused.
    """

    role: str
    body: Any | BodyOf = None
    tags: tuple[str, ...] = (Tag.VALID,)
    headers: tuple[tuple[str, str | None], ...] = ()
    method: str = "POST"
    path: tuple[str, ...] | PathOf = ()
    collection: str = RESPONSES
    query: str | QueryOf = ""
    deadline: float | None = None
    read_limit: int | None = None
    pace: float = 0.0
    beside: bool = False
    wait: float | WaitOf = 0.0
    tenant: int = 1
    until: Callable[[Exchange], bool] | None = None
    keeps: tuple[str, ...] = ()
    written: Callable[[bytes], bytes] | None = None


def pauses() -> Iterator[float]:
    """Yield the seconds to wait before each repetition of a request with ``until``."""
    pause = 0.1
    for _ in range(60):
        yield pause
        pause = min(pause * 1.5, 2.0)


@dataclass(frozen=True, slots=True)
class PlannedCase:
    """Requests that belong together. They are sent one after the other, but for those that go beside another.

    ``intent`` is one sentence. ``recalls`` says that the case looks for canaries in the responses and for nothing else,
    so a run does not send it for a model that repeats none.
    """

    id: str
    intent: str
    requests: tuple[RequestSpec, ...]
    recalls: bool = False

    @property
    def undisturbed(self) -> bool:
        """Whether no other case may run at the same time: what it runs alone must be alone."""
        return any(Tag.ISOLATION in planned.tags for planned in self.requests)

    def groups(self) -> Iterator[list[RequestSpec]]:
        """Yield the requests in the order in which they are sent; those in one list are sent together."""
        group: list[RequestSpec] = []
        for planned in self.requests:
            if group and not planned.beside:
                yield group
                group = []
            group.append(planned)
        if group:
            yield group


@dataclass(frozen=True, slots=True)
class CaseContext:
    """What cases are written for: the dialect, and the model to name (``None``: none is named).

    ``models`` are those that ``GET /v1/models`` lists. ``seed`` is that of what is drawn at random. ``form`` is the
    form of a request that the endpoint takes. Cases need not write their bodies in it, since every body is brought into
    it when it is sent.
    """

    dialect: Dialect
    model: str | None = None
    seed: int = 0
    form: BaseForm = USUAL_FORM
    models: tuple[str, ...] = ()

    @property
    def lists_its_models(self) -> bool:
        """Whether the endpoint lists models, that of the requests among them: then a name may be unknown to it."""
        return bool(self.models) and self.model in (None, *self.models)

    @property
    def least_tokens(self) -> int:
        """The smallest max_output_tokens that the dialect allows."""
        return int(self.dialect.request["min_output_tokens"])

    def allows(self, body: Any) -> bool:
        """Return whether a body, written in the usual form of the dialect, is valid there beyond dispute."""
        return self.dialect.sound_requests.is_valid(fit_body(body, self.dialect.usual_form, {}))

    @property
    def named_model(self) -> str | None:
        """A model to name where one must be named, ``None`` for an endpoint that lists none."""
        return self.model or next(iter(self.models), None)

    def sent_back(self, items: Iterable[Any]) -> list[Any]:
        """Return output items as the input of a request has them, see :meth:`~rejoinder.contract.Dialect.as_input`."""
        return [self.dialect.as_input(item) for item in items]

    def body(self, **fields: Any) -> dict[str, Any]:
        """Return a create body with the model, few output tokens, and the given fields."""
        named = {} if self.model is None else {"model": self.model}
        return {**named, "max_output_tokens": TINY, **fields}


def mirrored(value: Any) -> Any:
    """Return a JSON value with the fields of every object in reverse order."""
    if isinstance(value, dict):
        return {key: mirrored(inner) for key, inner in reversed(value.items())}
    return [mirrored(inner) for inner in value] if isinstance(value, list) else value


def user(text: str) -> list[dict[str, Any]]:
    """Return an input of one user message."""
    return [{"role": "user", "content": text}]


def greeting(context: CaseContext) -> dict[str, Any]:
    """Return the body of the simplest request."""
    return context.body(input=user("Say hello."))


def strict_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the text format that binds an answer to a JSON Schema."""
    return {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}


def single(
    case: str, intent: str, body: Any, tags: tuple[str, ...] = (Tag.VALID,), *, role: str = Role.PLAIN, **fields: Any
) -> PlannedCase:
    """Return a case of one request; ``fields`` are further ones of its :class:`RequestSpec`."""
    return PlannedCase(case, intent, (RequestSpec(role, body, tags, **fields),))


def refused(
    case: str, intent: str, content: Any, *tags: str, after: RequestSpec | None = None, **fields: Any
) -> PlannedCase:
    """Return a case with a request that must be refused, and perhaps another ``after`` it.

    ``fields`` are further ones of its :class:`RequestSpec`.
    """
    request = RequestSpec(Role.PLAIN, content, (Tag.INVALID, *tags), **fields)
    return PlannedCase(f"refused.{case}", intent, (request,) if after is None else (request, after))


def plain_and_streamed(case: str, intent: str, body: dict[str, Any]) -> PlannedCase:
    """Return a case that sends one body plain and streamed, each with its own request_id if it has one."""

    def under(role: str) -> dict[str, Any]:
        return {**body, "request_id": f"rejoinder-{case}-{role}-{uuid4().hex[:12]}"} if "request_id" in body else body

    return PlannedCase(
        case,
        intent,
        (RequestSpec(Role.PLAIN, under("plain")), RequestSpec(Role.STREAM, {**under("stream"), "stream": True})),
    )


def included_values(dialect: Dialect, operation: str) -> list[str]:
    """Return the values of the parameter ``include`` that an operation of the dialect has; none without one."""
    known = dialect.operations.get(operation)
    include = ((known.query if known else None) or {}).get("properties", {}).get("include", {})
    values: list[str] = include.get("items", {}).get("enum", [])
    return values


def claimed(context: CaseContext, name: str) -> RequestSpec:
    """Return a request with an object in a text field of one dialect; an endpoint that knows the field refuses it.

    One that ignores the fields it does not know answers, so what it does with a right value is no defect.
    """
    body = context.body(input=user("Say hello."), **{name: {"text": "none"}})
    return RequestSpec(Role.CLAIMED, body, (Tag.EDGE,))


def liveness_request(context: CaseContext, role: str = Role.AFTER) -> RequestSpec:
    """Return the simplest request, to be answered soon whatever was sent before it."""
    return RequestSpec(role, greeting(context), (Tag.VALID, Tag.BASIC), deadline=LIVENESS_SECONDS)


def final_response(reply: Exchange | None) -> dict[str, Any] | None:
    """Return the response object that a reply ended with (plain body or last snapshot), ``None`` without one."""
    if reply is None or not reply.ok:
        return None
    body = reply.json()
    return body if isinstance(body, dict) else last_snapshot(reply)


def output_text(replies: Replies, role: str) -> str:
    """Return the output text of the response that an earlier request got, empty without one."""
    output = (final_response(replies.get(role)) or {}).get("output")
    return text_of(item for item in output if isinstance(item, dict)) if isinstance(output, list) else ""


def response_id(replies: Replies, role: str) -> str | None:
    """Return the id of the response, or of another object, that an earlier request got; ``None`` without one."""
    identity = (final_response(replies.get(role)) or {}).get("id")
    return identity if isinstance(identity, str) and identity else None


def output_of(reply: Exchange | None) -> list[dict[str, Any]]:
    """Return the output items of the response that a reply ended with."""
    output = (final_response(reply) or {}).get("output")
    return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []


def completed_output(reply: Exchange | None) -> list[dict[str, Any]]:
    """Return the output items of a completed response; what was cut short cannot be answered."""
    return output_of(reply) if (final_response(reply) or {}).get("status") == "completed" else []


def call_outputs(items: Iterable[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    """Return an output for every function call among items, each with the same text."""
    calls = (item for item in items if item.get("type") == "function_call")
    return [{"type": "function_call_output", "call_id": call.get("call_id"), "output": text} for call in calls]


def continuing(
    role: str, body: Mapping[str, Any], *, change: Callable[[str], str] = str
) -> Callable[[Replies], dict[str, Any] | None]:
    """Return the body that continues the response that an earlier request got; ``None`` without one.

    ``change`` alters its id.
    """

    def continued(replies: Replies) -> dict[str, Any] | None:
        identity = response_id(replies, role)
        return None if identity is None else {**body, "previous_response_id": change(identity)}

    return continued


def stored_request(
    role: str, of: str, *below: str, method: str = "GET", change: Callable[[str], str] = str, **fields: Any
) -> RequestSpec:
    """Return a request for the response that the request with the role ``of`` got, or for what lies below it.

    ``change`` alters its id; ``fields`` are further ones of its :class:`RequestSpec`.
    """
    return RequestSpec(role, method=method, path=stored_path(of, *below, change=change), tags=(), **fields)


def operation_request(
    context: CaseContext,
    role: str,
    name: str,
    ids: Callable[[Replies], tuple[str, ...] | None] | None = None,
    **fields: Any,
) -> RequestSpec:
    """Return a request for an operation of the dialect beside create.

    ``ids`` returns the ids in its path from the replies so far, or ``None`` where there is nothing to ask. ``fields``
    are further ones of its :class:`RequestSpec`.
    """
    operation = context.dialect.operations[name]
    collection, fixed = operation.below(dict.fromkeys(operation.ids, ""))

    def path(replies: Replies) -> tuple[str, ...] | None:
        found = () if ids is None else ids(replies)
        return None if found is None else operation.below(dict(zip(operation.ids, found, strict=True)))[1]

    below = path if operation.ids else fixed
    return RequestSpec(role, method=operation.method, collection=collection, path=below, **{"tags": (), **fields})


def stored_path(role: str, *below: str, change: Callable[[str], str] = str) -> PathOf:
    """Return the path of the response that an earlier request got, and what lies below it; ``change`` alters its id."""

    def path(replies: Replies) -> tuple[str, ...] | None:
        identity = response_id(replies, role)
        return None if identity is None else (change(identity), *below)

    return path


def unknown_id(identity: str) -> str:
    """Return the id of a response that never was, of the same shape as a known one.

    An endpoint may refuse an id for its shape before it looks it up. So a prefix such as ``resp_``, the length, the
    separators and the kinds of characters stay, and other characters come from those in the id, since some alphabets
    lack some letters. The last character stays, too: in unpadded base64 only some are possible there. A short number is
    made longer instead, because its neighbours may exist.
    """
    start = _PREFIX.match(identity)
    head = start[0] if start else ""
    body = identity[len(head) :]
    if body.isdecimal() and len(body) < _CHANGED:
        return f"{head}{_FAR}{body}"
    # A number does not begin with another digit, which might be 0.
    places = [place for place, char in enumerate(body) if char.isascii() and char.isalnum()][body.isdecimal() :]
    chars = list(body)
    for place in places[-_CHANGED - 1 : -1] if len(places) >= _CHANGED else places:
        chars[place] = _another(body[place], body)
    return head + "".join(chars)


def _another(char: str, body: str) -> str:
    """Return another character of the same kind: of those in the body if there is one."""
    for letters in (string.digits, string.ascii_lowercase, string.ascii_uppercase):
        if char in letters:
            own = [letter for letter in letters if letter in body]
            narrow = [letter for letter in letters if letter in string.hexdigits]
            known = own if len(own) > 1 else narrow if char in narrow else letters
            return known[(known.index(char) + 1) % len(known)]
    return char


_PREFIX: Final = re.compile(r"(?:[A-Za-z]+[^A-Za-z0-9])+(?=.*[A-Za-z0-9])")
_CHANGED: Final = 6
"""How many characters of an id are changed."""
_FAR: Final = "98765"


def is_over(reply: Exchange) -> bool:
    """Return whether a retrieved response has come to its end, or polling has no sense."""
    body = reply.json() if reply.ok else None
    status = body.get("status") if isinstance(body, dict) else None
    return status not in ("queued", "in_progress") and reply.status not in (429, 503)


def last_snapshot(reply: Exchange) -> dict[str, Any] | None:
    """Return the response object in the last event of a streamed reply that has one."""
    for event in reversed(read_events(reply.chunks)[0]):
        data = parse_json(event.data)
        response = data.get("response") if isinstance(data, dict) else None
        if isinstance(response, dict):
            return response
    return None
