"""Which invalid replies a MUST rule catches: python benchmarks/reply_mutations.py [DIALECT ...] [--document FILE]

Takes valid replies and streams of each dialect, from the sandbox and from rejoinder.strategies. Changes each at every
place: a field is removed, becomes null, gets a value of another type, an unknown word or an unknown type. Of these
replies it keeps those that an independent reference refuses:

- openai: the types of openai-python, if they are installed
- openresponses: the published OpenAPI document, if ``--document`` names it
- northstar: what both the types of tzafon and those of openai-python refuse, if they are installed
- any other: the schemas of the dialect itself

Prints which share of them breaks a rule of level MUST, and the places of the others. Exits with 1 below 97 %.
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

from rejoinder.conformance.judgement import broken_rules
from rejoinder.conformance.judging.problems import get
from rejoinder.contract import Dialect, dialect_names, load_dialect
from rejoinder.model.exchange import Arrivals, Chunks, Exchange, Outcome, Request
from rejoinder.model.tags import Tag
from rejoinder.model.verdict import masked
from rejoinder.sandbox import Sandbox, sample_requests
from rejoinder.strategies import event_streams, response_objects, to_sse
from rejoinder.validation import escape_key

PROMISED: Final = 0.97
"""The share of invalid replies that a MUST rule has to catch in every dialect."""
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
    """A valid exchange, with the values that its reply consists of: one response object, or the events of a stream."""

    exchange: Exchange
    values: tuple[Any, ...]

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
        yield _template([response], json.dumps(response).encode(), "application/json")
    for events in _draws(event_streams(dialect=dialect.reference)):
        yield _template(events, to_sse(events, dialect=dialect), "text/event-stream")


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

    @property
    def share(self) -> float:
        """Which share was caught."""
        return self.caught / self.invalid if self.invalid else 1.0


def score(dialect: Dialect, found: Sequence[Template], judge: Reference, *, stream: bool, most: int) -> Score:
    """Judge up to ``most`` invalid replies, at least one for each place and kind of change."""
    references = judge.event if stream else judge.response
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
        result.invalid += 1
        if broken_rules(template.mutated(number, changed), dialect):
            result.caught += 1
        else:
            result.survivors[key] += 1
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
        judge = reference(dialect, options.document)
        for stream in (False, True):
            result = score(dialect, found, judge, stream=stream, most=options.most)
            kept = result.share >= PROMISED
            good &= kept
            manner = "streams" if stream else "plain replies"
            print(
                f"{name:14} {manner:14} {result.caught:>6} of {result.invalid:>6}  {result.share:7.2%}"
                f"  refused by {judge.name}{'' if kept else '   NOT KEPT'}",
                flush=True,
            )
            for (event, pointer, kind), count in sorted(result.survivors.items()):
                print(f"    {count:>4}  {event:42} {pointer:50} {kind}")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
