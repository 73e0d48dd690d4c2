"""Cases as data: what their functions make of replies becomes templates that name where each value comes from.

A case of the plan makes its later requests with functions of the replies. Such a request can be sent but neither
shown nor made smaller. Once it was sent, the values that it took from replies are found in it again, and what is left
is JSON: a script that a reader can follow, a reducer can shorten and a run file can hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote, unquote

from rejoinder.conformance.running.case import PlannedCase, Replies, RequestSpec, is_over, last_snapshot
from rejoinder.model.exchange import Exchange, parse_json
from rejoinder.model.script import Step, Taken, replaced
from rejoinder.model.tags import BOOKKEEPING
from rejoinder.wire.client import encode_json
from rejoinder.wire.target import RESPONSES

_NAMES: Final = frozenset(
    ("id", "call_id", "approval_request_id", "item_id", "first_id", "last_id", "encrypted_content", "container_id")
)
"""Fields whose values an endpoint gives, so that a request that holds one has it from a reply."""

_OUTPUT: Final = re.compile(r"/output(/\d+)?")
"""Where a reply has what is sent back as it is, ids or none."""


@dataclass(frozen=True, slots=True)
class Reference:
    """The value at a JSON pointer into the response object of the reply with a role."""

    role: str
    pointer: str

    def value(self, replies: Replies) -> Any:
        """Return the value; raise ``LookupError`` where the reply is missing or has nothing there."""
        return at(response_object(replies[self.role]), self.pointer)


@dataclass(frozen=True, slots=True)
class BodyTemplate:
    """A JSON body in which :class:`Reference` objects stand for values; called with replies it gives the body."""

    value: Any

    def __call__(self, replies: Replies) -> Any:
        """Return the body, ``None`` where a reply lacks a value."""
        try:
            return _filled(self.value, replies)
        except LookupError:
            return None


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """Path segments, each of texts and references; called with replies it gives the segments."""

    segments: tuple[tuple[str | Reference, ...], ...]

    def __call__(self, replies: Replies) -> tuple[str, ...] | None:
        """Return the segments, ``None`` where a reply lacks a value."""
        try:
            return tuple(_text(parts, replies) for parts in self.segments)
        except LookupError:
            return None


@dataclass(frozen=True, slots=True)
class QueryTemplate:
    """A query of texts and references; called with replies it gives the query."""

    parts: tuple[str | Reference, ...]

    def __call__(self, replies: Replies) -> str:
        """Return the query; what a reply lacks is left out of it."""
        try:
            return _text(self.parts, replies, escaped=True)
        except LookupError:
            return ""


def response_object(exchange: Exchange) -> Any:
    """Return the body of a plain reply, or the last response object in the events of a stream."""
    body = exchange.json()
    return body if body is not None else last_snapshot(exchange)


def at(value: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer; raise ``LookupError`` where nothing is."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = value[name]
        elif isinstance(value, list) and name.isdigit():
            value = value[int(name)]
        else:
            raise LookupError(pointer)
    return value


def templated(case: PlannedCase, sent: Iterable[Exchange]) -> PlannedCase:
    """Return a case whose functions are templates; ``sent`` are its exchanges, from which they are worked out.

    Requests that were not sent, since there was nothing to ask, are left out.
    """
    replies = {exchange.role: exchange for exchange in sent}
    seen: dict[str, Exchange] = {}
    requests: list[RequestSpec] = []
    for group in case.groups():
        known = _Known(seen)
        made = [planned for planned in group if planned.role in replies]
        requests += [_templated(planned, seen, known) for planned in made]
        seen |= {planned.role: replies[planned.role] for planned in made}
    return replace(case, requests=tuple(requests))


def _templated(planned: RequestSpec, replies: Replies, known: _Known) -> RequestSpec:
    body, path, query, wait = planned.body, planned.path, planned.query, planned.wait
    if callable(body) and not isinstance(body, BodyTemplate):
        made = body(replies)
        body = made if isinstance(made, bytes) else BodyTemplate(known.template(made))
        if isinstance(body, BodyTemplate) and not any(True for _ in references(body.value)):
            body = body.value
    if callable(path) and not isinstance(path, PathTemplate):
        path = _path(tuple(known.parts(segment) for segment in path(replies) or ()))
    if callable(query) and not isinstance(query, QueryTemplate):
        query = QueryTemplate(known.parts(query(replies)))
    return replace(planned, body=body, path=path, query=query, wait=wait(replies) if callable(wait) else wait)


class _Known:
    """The values in replies that a later request may have from there."""

    def __init__(self, replies: Replies) -> None:
        self._texts: dict[str, Reference] = {}
        self._parts: dict[str, Reference] = {}
        for role, exchange in replies.items():
            for pointer, value in _inner(response_object(exchange), ""):
                if isinstance(value, str) and value and pointer.rpartition("/")[2] in _NAMES:
                    self._texts.setdefault(value, Reference(role, pointer))
                elif isinstance(value, (dict, list)) and value and (_OUTPUT.fullmatch(pointer) or _has_name(value)):
                    self._parts.setdefault(_canonical(value), Reference(role, pointer))

    def template(self, value: Any) -> Any:
        """Return a JSON value with references for what is in a reply; the largest parts first."""
        if isinstance(value, str):
            return self._texts.get(value, value)
        if isinstance(value, (dict, list)) and (found := self._parts.get(_canonical(value))):
            return found
        if isinstance(value, dict):
            return {name: self.template(child) for name, child in value.items()}
        return [self.template(child) for child in value] if isinstance(value, list) else value

    def parts(self, text: str) -> tuple[str | Reference, ...]:
        """Return a text cut where it holds an id from a reply."""
        if text in self._texts:
            return (self._texts[text],)
        for known in sorted(self._texts, key=len, reverse=True):
            for held in dict.fromkeys((known, quote(known, safe=""))):
                before, found, after = text.partition(held)
                if found and len(held) > 4:
                    return tuple(part for part in (*self.parts(before), self._texts[known], *self.parts(after)) if part)
        return (text,)


def references(value: Any) -> Iterator[tuple[str, Reference]]:
    """Yield the references in a template with the JSON pointers to them."""
    return ((pointer, part) for pointer, part in _inner(value, "") if isinstance(part, Reference))


def steps_of(cases: Sequence[PlannedCase], sent: Sequence[Sequence[Exchange]]) -> tuple[Step, ...]:
    """Return cases as they were sent as the steps of a script; the cases are templates."""
    steps: list[Step] = []
    for case, exchanges in zip(cases, sent, strict=True):
        replies = {exchange.role: exchange for exchange in exchanges}
        numbers: dict[str, int] = {}
        for planned in case.requests:
            exchange = replies.get(planned.role)
            if exchange is None:
                continue
            numbers[planned.role] = len(steps)
            steps.append(
                Step(
                    exchange.request,
                    exchange.case,
                    exchange.role,
                    tuple(tag for tag in exchange.tags if tag not in BOOKKEEPING),
                    exchange.id,
                    tuple(_taken(planned, replies, numbers)),
                    beside=planned.beside and bool(steps),
                    wait=0.0 if callable(planned.wait) else planned.wait,
                    until_ended=planned.until is not None,
                    deadline=planned.deadline,
                    read_limit=planned.read_limit,
                    pace=planned.pace,
                    tenant=planned.tenant,
                    keeps=planned.keeps,
                )
            )
    return tuple(steps)


def needed_steps(steps: Sequence[Step], exchange: str) -> tuple[Step, ...]:
    """Return the step with an exchange and those that it takes values from; none where no step has it."""
    wanted = {number for number, step in enumerate(steps) if step.exchange == exchange}
    for number in reversed(range(len(steps))):
        if number in wanted:
            wanted |= {taken.reply for taken in steps[number].taken}
    places = {old: new for new, old in enumerate(sorted(wanted))}
    return tuple(
        replace(
            steps[old],
            beside=False,
            taken=tuple(replace(taken, reply=places[taken.reply]) for taken in steps[old].taken),
        )
        for old in places
    )


def recorded_steps(exchanges: Sequence[Exchange]) -> tuple[Step, ...]:
    """Return a recorded case as the steps of a script: what its requests have from earlier replies is found in them.

    What only the plan knew (other keys, ends on purpose, waits) is not in a recording, and not in its steps.
    """
    steps: list[Step] = []
    seen: dict[str, Exchange] = {}
    numbers: dict[str, int] = {}
    for exchange in exchanges:
        known = _Known(seen)
        taken = [
            Taken(numbers[reference.role], reference.pointer, pointer)
            for pointer, reference in references(known.template(parse_json(exchange.request.body)))
        ]
        taken += [
            Taken(numbers[part.role], part.pointer, text=quote(str(part.value(seen)), safe=""))
            for part in dict.fromkeys(known.parts(exchange.request.path))
            if isinstance(part, Reference)
        ]
        tags = tuple(tag for tag in exchange.tags if tag not in BOOKKEEPING)
        steps.append(Step(exchange.request, exchange.case, exchange.role, tags, exchange.id, tuple(taken)))
        numbers[exchange.role] = len(steps) - 1
        seen[exchange.role] = exchange
    return tuple(steps)


def _taken(planned: RequestSpec, replies: Replies, numbers: Mapping[str, int]) -> Iterator[Taken]:
    if isinstance(planned.body, BodyTemplate):
        for pointer, reference in references(planned.body.value):
            yield Taken(numbers[reference.role], reference.pointer, pointer)
    segments = planned.path.segments if isinstance(planned.path, PathTemplate) else ()
    query = planned.query.parts if isinstance(planned.query, QueryTemplate) else ()
    parts = [*(part for segment in segments for part in segment), *query]
    for part in dict.fromkeys(part for part in parts if isinstance(part, Reference)):
        yield Taken(numbers[part.role], part.pointer, text=quote(str(part.value(replies)), safe=""))


def cases_of(steps: Sequence[Step], create: str) -> list[PlannedCase]:
    """Return the steps of a script as cases that can be sent; ``create`` is the path of create when they were sent."""
    names = list(dict.fromkeys(step.case for step in steps))
    return [
        PlannedCase(
            name,
            "The minimal request.",
            tuple(_planned(step, steps, create) for step in steps if step.case == name),
        )
        for name in names
    ]


def _planned(step: Step, steps: Sequence[Step], create: str) -> RequestSpec:
    request = step.request
    body: Any = parse_json(request.body) if request.body else None
    if not isinstance(body, (dict, list)):
        body = request.body or None
    elif encode_json(body) != request.body and all(taken.body is None for taken in step.taken):
        body = request.body  # how it is written may be what matters
    for taken in step.taken:
        if taken.body is not None and isinstance(body, (dict, list)):
            body = replaced(body, taken.body, Reference(steps[taken.reply].role, taken.pointer))
    named = {taken.text: Reference(steps[taken.reply].role, taken.pointer) for taken in step.taken if taken.text}
    sent, _, query = request.path.partition("?")
    create, _, usual = create.partition("?")
    collection, segments = _below(sent, create)
    query = query.removeprefix(usual).removeprefix("&") if usual else query
    kept = tuple((name, value) for name, value in request.headers if _is_kept(name.lower(), value))
    return RequestSpec(
        step.role,
        BodyTemplate(body) if any(True for _ in references(body)) else body,
        step.tags,
        headers=kept,
        method=request.method,
        path=_path(tuple(_cut(part, named, unquote) for part in segments)),
        collection=collection,
        query=QueryTemplate(_cut(query, named, str)) if named else query,
        deadline=step.deadline,
        read_limit=step.read_limit,
        pace=step.pace,
        beside=step.beside,
        wait=step.wait,
        tenant=step.tenant,
        keeps=step.keeps,
        until=is_over if step.until_ended else None,
    )


def _is_kept(name: str, value: str) -> bool:
    """Whether a recorded header, with its name in lower case, belongs to the request and not to its sender."""
    return name in ("content-type", "content-encoding") or (name == "accept-encoding" and value != "identity")


def _below(path: str, create: str) -> tuple[str, list[str]]:
    """Return the collection that a path is in, that of create or one beside it, and the segments below that."""
    if path == create or path.startswith(f"{create}/"):
        return RESPONSES, [part for part in path.removeprefix(create).split("/") if part]
    base = create.rpartition("/")[0]
    collection, *segments = [part for part in path.removeprefix(base).split("/") if part] or [RESPONSES]
    return collection, segments


def _path(segments: tuple[tuple[str | Reference, ...], ...]) -> PathTemplate | tuple[str, ...]:
    """Return a path as a template, or as it is where it takes nothing from replies."""
    if any(isinstance(part, Reference) for segment in segments for part in segment):
        return PathTemplate(segments)
    return tuple("".join(map(str, segment)) for segment in segments)


def _cut(text: str, named: Mapping[str, Reference], clean: Any) -> tuple[str | Reference, ...]:
    """Return a recorded text cut where values from replies are in it; ``clean`` unescapes what lies between."""
    for value, reference in named.items():
        before, found, after = text.partition(value)
        if found:
            parts = (*_cut(before, named, clean), reference, *_cut(after, named, clean))
            return tuple(part for part in parts if part)
    return (clean(text),)


def _filled(value: Any, replies: Replies) -> Any:
    if isinstance(value, Reference):
        return value.value(replies)
    if isinstance(value, dict):
        return {name: _filled(child, replies) for name, child in value.items()}
    return [_filled(child, replies) for child in value] if isinstance(value, list) else value


def _text(parts: Sequence[str | Reference], replies: Replies, *, escaped: bool = False) -> str:
    found = (part if isinstance(part, str) else str(part.value(replies)) for part in parts)
    if not escaped:
        return "".join(found)
    return "".join(
        text if isinstance(part, str) else quote(text, safe="") for part, text in zip(parts, found, strict=True)
    )


def _inner(value: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """Yield a JSON value and everything in it, each with its JSON pointer."""
    yield pointer, value
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in inner:
        yield from _inner(child, f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}")


def _has_name(value: Any) -> bool:
    return any(isinstance(part, str) and pointer.rpartition("/")[2] in _NAMES for pointer, part in _inner(value, ""))


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
