"""Which invalid replies a rule catches: python benchmarks/reply_mutations.py [DIALECT ...] [--document FILE]

Takes valid replies, streams, replies to the other operations and error bodies of each dialect, from the sandbox and
from rejoinder.strategies. Changes each at every place: a field is removed, becomes null, gets a value of another type,
an unknown word or an unknown type. Of these replies it keeps those that a reference refuses:

- the schemas of the dialect itself: 99 % must break a rule of level MUST or SHOULD
- for replies and streams also an independent reference: 97 % must break a rule of level MUST

The independent references:

- openai: the types of openai-python, if they are installed
- openresponses: the published OpenAPI document, if ``--document`` names it
- northstar: what both the types of tzafon and those of openai-python refuse, if they are installed

Also drops, doubles, swaps and delays events of streams, as rejoinder.strategies.broken_streams does. Prints the shares
and the places of the replies that are not caught. Exits with 1 where a share is lower.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
from hypothesis import HealthCheck, Phase, given, seed, settings

from rejoinder.conformance.judgement import broken_rules, judge
from rejoinder.conformance.judging.problems import get
from rejoinder.contract import Dialect, Operation, dialect_names, load_dialect, requested_operation
from rejoinder.model.exchange import Arrivals, Chunks, Exchange, Outcome, Request
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import Level, Status, masked
from rejoinder.sandbox import Sandbox, sample_requests
from rejoinder.strategies import (
    EndpointProfile,
    broken_streams,
    event_streams,
    operation_cases,
    response_objects,
    to_sse,
)
from rejoinder.validation import Validator, escape_key

PROMISED: Final = 0.97
"""The share of replies that an independent reference refuses and a MUST rule has to catch in every dialect."""
PROMISED_OWN: Final = 0.99
"""The share of replies that the dialect's own schemas refuse and a MUST or SHOULD rule has to catch."""
EACH: Final = 2
"""How many invalid replies there are for each place and kind of change."""
_DRAWN: Final = 30
_SETTINGS: Final = settings(
    max_examples=_DRAWN,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
_OF_TZAFON: Final = ("message", "function_call", "computer_call")
_REQUEST: Final = {"model": "example-model", "input": "Hi"}

Refuses = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Reference:
    """What says that a reply is invalid.

    ``name`` is for people. ``response`` and ``event`` tell whether it refuses a response object or an event; a reply is
    invalid if all of them do.
    """

    name: str
    response: tuple[Refuses, ...]
    event: tuple[Refuses, ...]


@dataclass(frozen=True, slots=True)
class Template:
    """A valid exchange, with the values that its reply consists of: one JSON value, or the events of a stream.

    ``control`` are exchanges of the same run, which show that the endpoint has an operation.
    """

    exchange: Exchange
    values: tuple[Any, ...]
    control: tuple[Exchange, ...] = ()

    def mutated(self, number: int, value: Any) -> Exchange:
        """Return the exchange with another value in place of the one of that number."""
        if not self.is_stream:
            body = json.dumps(value).encode()
        else:
            pieces = []
            for place, event in enumerate(self.values):
                sent = value if place == number else event
                # The name follows the type, so that only what is inside the data is wrong.
                name = get(sent, "type")
                head = f"event: {name}\n" if isinstance(name, str) else ""
                pieces.append(f"{head}data: {json.dumps(sent)}\n\n")
            tail = b"data: [DONE]\n\n" if self.exchange.body.rstrip().endswith(b"[DONE]") else b""
            body = "".join(pieces).encode() + tail
        return replace(self.exchange, chunks=Chunks.of(body, Arrivals.of([0.0], [len(body)])))

    @property
    def is_stream(self) -> bool:
        """Whether the reply is a stream."""
        return b"text/event-stream" in repr(self.exchange.headers).encode()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys and indexes that lead to every place below a JSON value; of arrays to the first and the last."""
    children: list[Any] = list(value) if isinstance(value, dict) else []
    if isinstance(value, list) and value:
        children = sorted({0, len(value) - 1})
    for key in children:
        yield (*path, key)
        yield from places(value[key], (*path, key))


REMOVED: Final = object()


def _changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """Return a copy of a JSON value with something else at one place, or without it."""
    key, *rest = path
    copied = copy.copy(value)
    if rest:
        copied[key] = _changed(value[key], tuple(rest), new)
    elif new is REMOVED:
        del copied[key]
    else:
        copied[key] = new
    return copied


def mutations(value: Any) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield pointer, kind and what makes the changed copy, for every change at every place of a JSON value."""
    for path in places(value):
        now = value
        for key in path:
            now = now[key]
        others: list[tuple[str, Any]] = [("null", None), ("removed", REMOVED)]
        if isinstance(now, str):
            others += [("unknown word", "nonsense"), ("number", 5)]
        elif isinstance(now, bool) or now is None:
            others += [("text", "x"), ("object", {"x": 1})]
        elif isinstance(now, (int, float)):
            others += [("text", "x"), ("fraction", now + 0.5)]
        elif isinstance(now, dict):
            others += [("text", "x"), ("array", []), *([("empty", {})] if now else [])]
        else:
            others += [("object", {}), ("text", "x")]
        pointer = "".join(f"/{escape_key(str(key))}" for key in path)
        for kind, new in others:
            if new is not now:
                yield pointer, kind, partial(_changed, value, path, new)


def templates(dialect: Dialect, *, drawn: bool = True) -> list[Template]:
    """Return valid replies and streams of the dialect that break no MUST rule, the shortest first."""
    found = [*_from_sandbox(dialect), *(_drawn(dialect) if drawn else ())]
    sound = [one for one in found if not broken_rules(one.exchange, dialect)]
    return sorted(sound, key=lambda one: len(one.exchange.body))  # short ones take less time to test


def _from_sandbox(dialect: Dialect) -> Iterator[Template]:
    sandbox, sound = Sandbox(dialect=dialect.reference), dialect.possible_requests
    for sample in sample_requests():
        if sample.request.path != "/v1/responses" or not sound.is_valid(sample.request.json()):
            continue
        exchange = sandbox.exchange(sample.request, case=sample.case, role=sample.role, tags=sample.tags)
        if exchange.status == 200:
            yield Template(exchange, tuple(_values(exchange)))


def of_operations(dialect: Dialect) -> list[Template]:
    """Return valid replies of the sandbox to every operation beside create that break no rule."""
    sandbox = Sandbox(dialect=dialect.reference)
    given = {"input": "Say hello."}
    sent = [sandbox.exchange(_request("POST", "/v1/responses", given), id="created")]
    ids = {"response_id": str(get(sent[0].json(), "id"))}
    if "create_conversation" in dialect.operations:
        talk = {"items": [{"type": "message", "role": "user", "content": "Hi"}] * 2}
        made = sandbox.exchange(_request("POST", "/v1/conversations", talk), id="talk")
        ids["conversation_id"] = str(get(made.json(), "id"))
        listed = sandbox.exchange(_request("GET", f"/v1/conversations/{ids['conversation_id']}/items"), id="items")
        ids["item_id"] = str(get(listed.json(), "data", 0, "id"))
    models = sandbox.exchange(_request("GET", "/v1/models"), id="models")
    found, profile = [], EndpointProfile(model=str(get(models.json(), "data", 0, "id")))
    # What deletes comes last, and an item before its conversation.
    for operation in sorted(dialect.operations.values(), key=lambda one: (one.method == "DELETE", -len(one.path))):
        if operation.name == "cancel":
            queued = sandbox.exchange(_request("POST", "/v1/responses", {**given, "background": True}), id="queued")
            ids["response_id"], before = str(get(queued.json(), "id")), ids["response_id"]
        path = operation.path.format(**ids)
        for case in operation_cases(operation.name, dialect=dialect.reference, profile=profile, levels=2):
            if case.query:
                continue
            exchange = sandbox.exchange(_request(operation.method, path, case.body), id=case.id)
            if exchange.status == 200 and exchange.json() is not None and exchange.content_type != "text/event-stream":
                found.append(Template(exchange, (exchange.json(),)))
                break
        if operation.name == "cancel":
            ids["response_id"] = before
    return [one for one in found if not breaks_a_rule(one.exchange, dialect)]


def of_errors(dialect: Dialect) -> list[Template]:
    """Return error bodies of the sandbox that break no rule: of refused create requests and of every operation."""
    sandbox = Sandbox(dialect=dialect.reference)
    refused = [
        sandbox.exchange(_request("POST", "/v1/responses", body), id=f"refused-{number}")
        for number, body in enumerate(({"input": 5}, {"input": "Hi", "previous_response_id": "resp_0"}, []))
    ]
    found = [Template(exchange, (exchange.json(),)) for exchange in refused if exchange.status in range(400, 500)]
    for template in of_operations(dialect):
        request = template.exchange.request
        path = "/".join(f"{part}0" if any(c.isdigit() for c in part[2:]) else part for part in request.path.split("/"))
        body = None if not request.body else {**request.json(), "model": 5, "metadata": 5}
        exchange = sandbox.exchange(_request(request.method, path, body), id=f"{template.exchange.id}-refused")
        if exchange.status in range(400, 500) and exchange.json() is not None:
            found.append(Template(exchange, (exchange.json(),), (template.exchange,)))
    return [one for one in found if not breaks_a_rule(one.exchange, dialect, one.control)]


def _request(method: str, path: str, body: Any = None) -> Request:
    return Request(method, path, body=b"" if body is None else json.dumps(body).encode())


def breaks_a_rule(exchange: Exchange, dialect: Dialect, control: Sequence[Exchange] = ()) -> bool:
    """Return whether a MUST or SHOULD rule fails on an exchange and its control."""
    verdicts = judge([*control, exchange], dialect)
    return any(verdict.status in (Status.FAIL, Status.WARN) for verdict in verdicts)


def _values(exchange: Exchange) -> Iterator[Any]:
    if not exchange.body.startswith((b"event:", b"data:")):
        yield json.loads(exchange.body)
        return
    for frame in exchange.body.decode().split("\n\n"):
        data = frame.rpartition("data: ")[2]
        if data and data != "[DONE]":
            yield json.loads(data)


def _drawn(dialect: Dialect) -> Iterator[Template]:
    for response in _draws(response_objects(dialect=dialect.reference)):
        yield of_response(response)
    for events in _draws(event_streams(dialect=dialect.reference)):
        yield _template(events, to_sse(events, dialect=dialect), "text/event-stream")


def of_response(response: Any) -> Template:
    """Return the exchange of a create request that got this response object."""
    return _template([response], json.dumps(response).encode(), "application/json")


def _template(values: Sequence[Any], body: bytes, kind: str) -> Template:
    request = {**_REQUEST, "stream": True} if kind == "text/event-stream" else _REQUEST
    return Template(
        Exchange(
            id="x",
            request=Request("POST", "/v1/responses", (), json.dumps(request).encode()),
            outcome=Outcome.COMPLETE,
            status=200,
            headers=(("content-type", kind),),
            chunks=Chunks.of(body, Arrivals.of([0.0], [len(body)])),
            started_at=1_800_000_000,
            tags=(Tag.VALID,),
        ),
        tuple(values),
    )


def _draws(strategy: Any) -> list[Any]:
    found: list[Any] = []

    @seed(0)
    @settings(_SETTINGS)
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def error_reference(dialect: Dialect) -> Reference:
    """Return the dialect's schema of error bodies as the reference."""
    validator = Validator(dialect.schema("error"))
    return Reference("its own schemas", (lambda value: not validator.is_valid(value),), ())


def operation_reference(operation: Operation) -> Reference:
    """Return the schema of an operation's replies as the reference."""
    validator = operation.reply_validator
    return Reference("its own schemas", (lambda value: not validator.is_valid(value),), ())


def own_reference(dialect: Dialect) -> Reference:
    """Return the schemas of the dialect itself as the reference."""

    def refuses_event(event: Any) -> bool:
        spec = dialect.events.get(event.get("type")) if isinstance(event.get("type"), str) else None
        if spec is None:
            return True
        return any(name not in event for name in spec.required) or any(
            not dialect.field_validator(spec.type, name).is_valid(event[name]) for name in spec.types if name in event
        )

    return Reference(
        "its own schemas", (lambda value: not dialect.response_validator.is_valid(value),), (refuses_event,)
    )


def document_reference(path: Path) -> Reference:
    """Return the schemas of an OpenAPI document as the reference."""
    document = json.loads(path.read_text("utf-8"))
    schemas = document["components"]["schemas"]

    def validator(name: str) -> Any:
        root = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
        return jsonschema_rs.Draft202012Validator(root)

    events = {
        schema["properties"]["type"]["enum"][0]: validator(name)
        for name, schema in schemas.items()
        if name.endswith("StreamingEvent")
    }
    response = validator("ResponseResource")

    def refuses_event(event: Any) -> bool:
        known = events.get(event.get("type")) if isinstance(event.get("type"), str) else None
        return known is None or not known.is_valid(event)

    return Reference(f"the document {path.name}", (lambda value: not response.is_valid(value),), (refuses_event,))


@cache
def _refusal(module: str, name: str) -> Refuses | None:
    """Return the test whether a typed client refuses a JSON value; ``None`` if the client is not installed."""
    try:
        from importlib import import_module

        from pydantic import TypeAdapter, ValidationError

        adapter: Any = TypeAdapter(getattr(import_module(module), name))
    except ImportError:
        return None

    def refuses(value: Any) -> bool:
        try:
            adapter.validate_json(json.dumps(value), strict=True)
        except ValidationError:
            return True
        return False

    return refuses


def reference(dialect: Dialect, document: Path | None) -> Reference:
    """Return the reference of a dialect."""
    response = _refusal("openai.types.responses.response", "Response")
    event = _refusal("openai.types.responses.response_stream_event", "ResponseStreamEvent")
    item = _refusal("openai.types.responses.response_output_item", "ResponseOutputItem")
    seeds = _refusal("tzafon.types.response_create_response", "ResponseCreateResponse")
    if dialect.name == "openai" and response and event:
        return Reference("the types of openai-python", (response,), (event,))
    if dialect.name == "openresponses" and document is not None:
        return document_reference(document)
    if dialect.name == "northstar" and response and event and item and seeds:

        def refuses(value: Any) -> bool:
            """Refuse as tzafon does, and as openai-python does in items that tzafon does not describe."""
            output = value.get("output") if isinstance(value, dict) else None
            others = [one for one in output if get(one, "type") not in _OF_TZAFON] if isinstance(output, list) else []
            return seeds(value) or any(map(item, others))

        def refuses_event(value: Any) -> bool:
            return refuses(value["response"]) if "response" in value else event(value)

        return Reference("the types of tzafon and openai-python", (response, refuses), (event, refuses_event))
    return own_reference(dialect)


@dataclass(slots=True)
class Score:
    """How many invalid replies there were and were caught, and the places and kinds of the others."""

    invalid: int = 0
    caught: int = 0
    survivors: Counter[tuple[str, str, str]] = field(default_factory=Counter)

    def count(self, key: tuple[str, str, str], caught: bool) -> None:
        """Count one invalid reply by its event type or operation, its place, and its kind of change."""
        self.invalid += 1
        self.caught += caught
        if not caught:
            self.survivors[key] += 1

    def add(self, other: Score, name: str) -> None:
        """Count the replies of an operation, too."""
        self.invalid += other.invalid
        self.caught += other.caught
        self.survivors.update({(name, *key[1:]): count for key, count in other.survivors.items()})

    @property
    def share(self) -> float:
        """Which share was caught."""
        return self.caught / self.invalid if self.invalid else 1.0


def score(
    dialect: Dialect, found: Sequence[Template], by: Reference, *, stream: bool, most: int, level: Level = Level.MUST
) -> Score:
    """Test up to ``most`` invalid replies, at least one for each place and kind of change.

    Those count as caught that break a rule of ``level``: MUST, or with SHOULD one of both levels.
    """
    references = by.event if stream else by.response
    jobs: dict[tuple[str, str, str], list[tuple[Template, int, Any]]] = {}
    for template in found:
        if template.is_stream is not stream:
            continue
        for number, value in enumerate(template.values):
            accepting = [refuses for refuses in references if not refuses(value)]
            for pointer, kind, change in mutations(value) if accepting else ():
                # Where one reference refuses the whole, the other one decides about the items alone.
                if len(accepting) < len(references) and "/output/" not in pointer:
                    continue
                key = (value["type"] if stream else "", masked(pointer), kind)
                others = jobs.setdefault(key, [])
                if len(others) < EACH and all(refuses(changed) for changed in (change(),) for refuses in accepting):
                    others.append((template, number, change()))
    chosen = [(key, job) for key, several in jobs.items() for job in several]
    random.Random(0).shuffle(chosen)
    result = Score()
    for key, (template, number, changed) in chosen[:most]:
        result.count(key, _is_caught(template.mutated(number, changed), dialect, level, template.control))
    return result


def _is_caught(exchange: Exchange, dialect: Dialect, level: Level, control: Sequence[Exchange] = ()) -> bool:
    """Whether an exchange breaks a rule of a level; where none of a single exchange does, rules of cases count too."""
    if broken_rules(exchange, dialect):
        return True
    return level is Level.SHOULD and (
        bool(broken_rules(exchange, dialect, level=level)) or breaks_a_rule(exchange, dialect, control)
    )


def score_operations(dialect: Dialect) -> tuple[Score, Score]:
    """Test every invalid reply to the operations beside create, and every invalid error body, by the own schemas."""
    replies, errors = Score(), Score()
    for template in of_operations(dialect):
        request = template.exchange.request
        requested = requested_operation(dialect.operations.values(), request.method, request.path)
        assert requested is not None
        operation = requested.operation
        found = score(
            dialect, [template], operation_reference(operation), stream=False, most=10_000, level=Level.SHOULD
        )
        replies.add(found, operation.name)
    every = of_errors(dialect)
    for template in every:
        found = score(dialect, [template], error_reference(dialect), stream=False, most=10_000, level=Level.SHOULD)
        errors.add(found, template.exchange.id)
    return replies, errors


def score_order(dialect: Dialect, found: Sequence[Template]) -> Score:
    """Test streams of the templates in which one event is dropped, doubled, swapped or late, each change once."""
    result, known = Score(), set()
    for template in found:
        if not template.is_stream or get(template.values[-1], "response", "status") != "completed":
            continue
        for broken in broken_streams(template.values, dialect=dialect.reference):
            if not broken.kind.startswith("event") or broken.name in known:
                continue
            known.add(broken.name)
            stream = replace(template, values=tuple(broken.events))
            key = (broken.name.partition(": ")[2], "", broken.kind)
            result.count(key, _is_caught(stream.mutated(-1, None), dialect, Level.SHOULD))
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dialects", nargs="*", default=dialect_names(), metavar="DIALECT")
    parser.add_argument("--document", type=Path, metavar="FILE", help="The OpenAPI document of Open Responses.")
    parser.add_argument("--most", type=int, default=4_000, help="Invalid replies of each dialect and manner.")
    options = parser.parse_args()
    good = True
    for name in options.dialects:
        dialect = load_dialect(name)
        found = templates(dialect)
        own, independent = own_reference(dialect), reference(dialect, options.document)
        rows: list[tuple[str, Score, float, str]] = []
        for stream, manner in ((False, "plain replies"), (True, "streams")):
            if independent.name != own.name:
                result = score(dialect, found, independent, stream=stream, most=options.most)
                rows.append((manner, result, PROMISED, f"MUST, refused by {independent.name}"))
            result = score(dialect, found, own, stream=stream, most=options.most, level=Level.SHOULD)
            rows.append((manner, result, PROMISED_OWN, f"MUST or SHOULD, refused by {own.name}"))
        rows.append(("order of events", score_order(dialect, found), PROMISED_OWN, "MUST or SHOULD"))
        replies, errors = score_operations(dialect)
        rows.append(("other operations", replies, PROMISED_OWN, f"MUST or SHOULD, refused by {own.name}"))
        rows.append(("error bodies", errors, PROMISED_OWN, f"MUST or SHOULD, refused by {own.name}"))
        for manner, result, promised, by in rows:
            kept = result.share >= promised
            good &= kept
            print(
                f"{name:14} {manner:16} {result.caught:>6} of {result.invalid:>6}  {result.share:7.2%}"
                f"  {by}{'' if kept else '   NOT KEPT'}",
                flush=True,
            )
            for (event, pointer, kind), count in sorted(result.survivors.items()):
                print(f"    {count:>4}  {event:42} {pointer:50} {kind}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
