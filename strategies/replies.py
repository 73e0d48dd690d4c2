"""What a server may answer: response objects and event streams that keep every rule.

The other strategies here test servers; these test the readers of responses (folds, checks, clients). A stream is drawn
backwards: first the response that it ends with, then :func:`unfold` takes it apart into the events that a server of
the dialect would have sent. Which event opens, fills and closes a part is read from the dialect's event table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument
from hypothesis.strategies import SearchStrategy

from rejoinder.contract import DEFAULT_DIALECT, Dialect, EventSpec, load_dialect, load_rules
from rejoinder.contract.nodes import Array, Literal, Node, Object, Scalar, Union, flatten, parse, strip
from rejoinder.json_copy import copy_json
from rejoinder.model.verdict import Level
from rejoinder.strategies.options import AnyDialect, chosen_names, errors_when_drawn, reference
from rejoinder.strategies.schema import leaves
from rejoinder.strategies.schema.compiler import Compiler
from rejoinder.strategies.schema.examples import id_prefix
from rejoinder.validation import Validator

__all__ = ["event_streams", "output_items", "output_types", "response_objects", "to_sse", "unfold"]

Event = dict[str, Any]
Item = dict[str, Any]
Response = dict[str, Any]
Cut = Callable[[str], Sequence[str]]

Weave = Callable[[list[list[Event]]], list[Event]]

#: How a response may end.
ENDINGS: Final = ("completed", "incomplete", "failed", "cancelled")
#: Fields of an item that hold parts, and the containers that the event table knows them by.
_CONTAINERS: Final = ("content", "summary")
#: The order of a hosted tool's progress, by the last word of the event type; other words lie in between.
_FIRST, _LAST = "in_progress", ("completed", "failed")
#: Fields that every drawn response has.
_COMPUTED: Final = frozenset({"id", "object", "created_at", "model", "status", "output", "usage"})
#: Values of the fields that dialects want in a response, besides those that this module computes.
_ECHO: Final[dict[str, Any]] = {
    "background": False,
    "completed_at": None,
    "error": None,
    "frequency_penalty": 0,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1,
    "truncation": "disabled",
    "usage": None,
}


def output_types(dialect: AnyDialect = DEFAULT_DIALECT) -> tuple[str, ...]:
    """Return the item types that can stand in the output of a dialect's responses, in the order of its schema."""
    return tuple(_output_nodes(reference(dialect)))


@errors_when_drawn
def output_items(
    *, types: Iterable[str] | None = None, dialect: AnyDialect = DEFAULT_DIALECT, status: str = "completed"
) -> SearchStrategy[Item]:
    """Finished output items of all ``types`` of the dialect or some, with an id made of the type.

    Where the type has no ``status`` of that name, it is left out. Shrinks towards a message without content.
    """
    name = reference(dialect)
    chosen = chosen_names(types, output_types(name), "type")
    return st.one_of([_finished(type_, name, status) for type_ in chosen])


@errors_when_drawn
def response_objects(
    *,
    dialect: AnyDialect = DEFAULT_DIALECT,
    types: Iterable[str] | None = None,
    endings: Iterable[str] | None = None,
    max_items: int = 4,
) -> SearchStrategy[Response]:
    """Response objects that have come to an end, valid in the dialect.

    ``endings`` are some of ``completed``, ``incomplete``, ``failed`` and ``cancelled``; by default all that the dialect
    has. A completed response has at least one item, the last item of an incomplete one is incomplete itself. Shrinks
    towards a completed response with one empty message.
    """
    name = reference(dialect)
    known = [ending for ending in ENDINGS if ending in load_dialect(name).response["statuses"]]
    return _objects(name, types, chosen_names(endings, known, "ending"), max_items)


def _objects(
    dialect: str, types: Iterable[str] | None, endings: tuple[str, ...], max_items: int
) -> SearchStrategy[Response]:
    if max_items < 1:
        raise InvalidArgument(f"max_items={max_items} is less than 1")
    chosen = chosen_names(types, output_types(dialect), "type")
    if not any(_can_be(name, "incomplete", dialect) for name in chosen):
        endings = tuple(ending for ending in endings if ending != "incomplete")
        if not endings:
            raise InvalidArgument(f"no item of the types {', '.join(chosen)} can be incomplete")
    return _responses(output_items(types=chosen, dialect=dialect), dialect, chosen, endings, max_items)


@errors_when_drawn
def event_streams(
    *,
    dialect: AnyDialect = DEFAULT_DIALECT,
    types: Iterable[str] | None = None,
    endings: Iterable[str] | None = None,
    max_items: int = 4,
    extensions: bool = False,
) -> SearchStrategy[list[Event]]:
    """Whole streams as lists of parsed events that keep every rule of the dialect.

    ``endings`` are some of ``completed``, ``incomplete``, ``failed`` and ``error``, an ``error`` event that nothing
    follows; by default all that the dialect allows. ``cancelled`` is one of them only where the dialect has an event
    ``response.cancelled``. No document of a shipped dialect has one: a stream of a cancelled response stops, or ends as
    another does. ``types`` and ``max_items`` are those of :func:`response_objects`. Items overlap where the dialect
    leaves that open. With ``extensions`` events of other vendors may stand between the others. Shrinks towards a stream
    of one message without text.
    """
    name = reference(dialect)
    known = stream_endings(name)
    chosen = chosen_names(endings, known, "ending")
    ended = tuple("failed" if ending == "error" else ending for ending in chosen)
    streams = [
        _streams(_objects(name, types, part, max_items), name, extensions, last)
        for part, last in (
            (tuple(dict.fromkeys(end for end, ending in zip(ended, chosen, strict=True) if ending != "error")), False),
            (("failed",) if "error" in chosen else (), True),
        )
        if part
    ]
    return st.one_of(streams)


def stream_endings(dialect: AnyDialect = DEFAULT_DIALECT) -> tuple[str, ...]:
    """Return how a stream of the dialect may end: with the event of a status, or with an ``error`` event alone."""
    found = load_dialect(reference(dialect))
    endings = [ending for ending in ENDINGS if f"response.{ending}" in found.events]
    return (*endings, *(["error"] if _is_open(found, "LIF-08") else []))


def _is_open(dialect: Dialect, rule: str) -> bool:
    """Return whether the dialect leaves open what a rule is about."""
    return dialect.level_of(load_rules()[rule]) in (Level.MAY, Level.OFF)


def unfold(
    response: Response,
    *,
    dialect: str | Dialect = DEFAULT_DIALECT,
    cut: Cut = lambda text: [text] if text else [],
    pick: Callable[[list[str]], str] = lambda names: names[0],
    weave: Weave | None = None,
    queued: bool = False,
    others: bool = False,
) -> list[Event]:
    """Return the events of the stream that ends with ``response``.

    ``cut`` takes a text into its deltas (non-empty pieces that join to the text); ``pick`` chooses where a dialect has
    several event types for one purpose; ``weave`` makes one list of the events of each item; ``queued`` puts
    ``response.queued`` before the work begins; with ``others`` each event type that changes no item, such as audio,
    stands once behind the items that it fits. Item ids must be unique. Raises
    ``hypothesis.errors.InvalidArgument`` for a status that no event of the dialect has, such as ``cancelled``.
    """
    found = load_dialect(dialect) if isinstance(dialect, str) else dialect
    if f"response.{response['status']}" not in found.events:
        raise InvalidArgument(f"no event of {found.label} ends a stream with status {response['status']!r}")
    taker = _Unfolding(found, cut, pick, weave or _one_by_one)
    return list(taker.events(response, queued, others))


def to_sse(events: Iterable[Event], *, dialect: str | Dialect = DEFAULT_DIALECT) -> bytes:
    """Return events as the body of an event stream, with the sentinel where the dialect requires it."""
    found = load_dialect(dialect) if isinstance(dialect, str) else dialect
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    return (text + ("data: [DONE]\n\n" if found.stream["done_sentinel"] == "required" else "")).encode()


@cache
def _output_nodes(dialect: str) -> dict[str, Object]:
    """Return the class of every item type that the dialect's response may have in its output."""
    found = load_dialect(dialect)
    classes = dict(found.output_classes)
    if not classes:
        schema = found.schema("response")
        for branch in schema["$defs"]["OutputItem"]["allOf"]:
            used = _reachable(branch["then"], schema["$defs"])
            definitions = {name: schema["$defs"][name] for name in used}
            classes[branch["if"]["properties"]["type"]["const"]] = {**branch["then"], "$defs": definitions}
    nodes = {type_: parse(schema, file=f"{found.name}: {type_}") for type_, schema in classes.items()}
    return {type_: _with_action(node) for type_, node in nodes.items() if isinstance(node, Object)}


def _with_action(node: Object) -> Object:
    """Return the class of an item with the action of a call required, which rules demand and some schemas do not."""
    fields = (replace(item, required=item.required or item.name == "action") for item in node.fields)
    return replace(node, fields=tuple(fields))


def _reachable(schema: Any, definitions: dict[str, Any]) -> set[str]:
    """Return the names of the definitions that a schema leads to."""
    found: set[str] = set()
    left = [schema]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            name = str(node.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found.add(name)
                left.append(definitions[name])
            left += node.values()
        elif isinstance(node, list):
            left += node
    return found


@cache
def _finished(type_: str, dialect: str, status: str) -> SearchStrategy[Item]:
    node = _output_nodes(dialect)[type_]
    allowed = _statuses(type_, dialect)
    settings = load_dialect(dialect)

    own = {item.name: item.node for item in node.fields}
    streamed = _streamed_fields(settings, type_)

    def override(inner: Node, name: str) -> SearchStrategy[Any] | None:
        if own.get(name) is not inner:
            return None
        if name == "arguments" and _is_text(inner):
            return leaves.json_objects().map(json.dumps)
        if name in streamed:
            return st.text(max_size=20)
        if name == "call_id":
            return st.just("")
        if name == "role" and type_ in settings.output_classes:
            return st.just("assistant")
        if name == "name":
            return leaves.NAMES
        if name in _CONTAINERS and _holds_parts(inner):
            # Contents that may be null are never: null and no part at all are told by the same events.
            return st.lists(_parts(inner, settings, name), max_size=3)
        return None

    item = Compiler(override).strategy(node)
    return st.builds(lambda item, fails: _finish(item, type_, status, allowed, fails), item, st.booleans())


def _streamed_fields(dialect: Dialect, type_: str) -> frozenset[str]:
    specs = dialect.events.values()
    return frozenset(spec.field for spec in specs if spec.container == "item" and spec.part == type_)


def _is_text(node: Node) -> bool:
    return any(isinstance(part, Scalar) and part.type == "string" for part in flatten(node))


def _holds_parts(node: Node) -> bool:
    return any(isinstance(part, Array) and isinstance(strip(part.items), Object | Union) for part in flatten(node))


def _literals(node: Node) -> Iterator[Any]:
    for part in flatten(node):
        if isinstance(part, Literal):
            yield from part.values


def _finish(item: Item, type_: str, status: str, allowed: frozenset[str], fails: bool) -> Item:
    item = {**item, "id": id_prefix(type_)}
    item.pop("status", None)
    if status == "completed" and "failed" in allowed:
        status = "failed" if item.get("error", fails) else "completed"
    wanted = status if status in allowed else "completed"
    if wanted in allowed:
        item["status"] = wanted
    return item


def _parts(node: Node, dialect: Dialect, container: str) -> SearchStrategy[Item]:
    """Parts of the types that the events of the dialect can build up in a container."""
    items = next(part.items for part in flatten(node) if isinstance(part, Array))
    built = {spec.part for spec in dialect.events.values() if spec.container == container and spec.part}
    own = bool(dialect.output_classes)
    kinds = [part for part in flatten(items) if own and isinstance(part, Object) and part.tag in built]
    chosen = Union(alternatives=tuple(kinds), nullable=False) if len(kinds) > 1 else kinds[0] if kinds else items
    return Compiler(max_items=2).strategy(chosen).map(lambda part: _sound_part(part, dialect))


def _sound_part(part: Item, dialect: Dialect) -> Item:
    """Make a drawn part consistent: logprobs where the dialect wants them, annotations inside the text."""
    part = copy_json(part)
    part.pop("logprobs", None)
    if part.get("type") == "output_text" and dialect.response["logprobs"]:
        part["logprobs"] = []
    length = len(part.get("text", ""))
    for annotation in part.get("annotations", ()):
        if "start_index" in annotation:
            start, end = sorted((annotation["start_index"] % (length + 1), annotation["end_index"] % (length + 1)))
            annotation.update(start_index=start, end_index=end)
        if "index" in annotation:
            annotation["index"] %= length + 1
    return part


@st.composite
def _responses(
    draw: st.DrawFn,
    finished: SearchStrategy[Item],
    dialect: str,
    types: tuple[str, ...],
    endings: tuple[str, ...],
    max_items: int,
) -> Response:
    settings = load_dialect(dialect)
    # One choice, however many endings there are: no kind of stream is shorter to draw than another.
    ending = endings[draw(st.integers(0, len(ENDINGS) - 1)) % len(endings)]
    items = draw(st.lists(finished, max_size=max_items - 1))
    last_types = [name for name in types if _can_be(name, "incomplete", dialect)]
    cut_off = ending != "completed" and bool(last_types)
    last = output_items(types=last_types, dialect=dialect, status="incomplete") if cut_off else finished
    # What a model thought comes before what it said.
    items = sorted(items, key=lambda item: item["type"] != "reasoning")
    items.append(draw(last))
    if items[-1]["type"] == "reasoning" and not cut_off:
        items.sort(key=lambda item: item["type"] != "reasoning")
    for number, item in enumerate(items):
        item["id"] = f"{item['id']}_{number:04}"
        if "call_id" in item:
            item["call_id"] = f"call_{number:04}"
    response: Response = {
        "id": "resp_0001",
        "object": "response",
        "created_at": draw(st.integers(1_700_000_000, 1_800_000_000)),
        "model": "example-model",
        "status": ending,
        "output": items,
    }
    fixed, others = _further_fields(dialect)
    response |= copy_json(fixed) | {name: draw(strategy) for name, strategy in others.items()}
    if ending == "incomplete":
        # An empty list leaves the reason open, as with error codes.
        reasons = settings.response["incomplete_reasons"] or ["max_output_tokens", "content_filter"]
        response["incomplete_details"] = {"reason": draw(st.sampled_from(reasons))}
    if ending == "failed":
        codes = settings.response["error_codes"] or ["server_error"]
        response["error"] = {"code": draw(st.sampled_from(codes)), "message": "The model failed."}
    # Drawn whether used or not, so that a failed response is no shorter than a completed one when shrinking.
    tokens, seconds = draw(st.integers(1, 100)), draw(st.integers(0, 100))
    if ending in ("completed", "incomplete"):
        response["usage"] = _usage(tokens, tokens, reasoned=any(item["type"] == "reasoning" for item in items))
    if ending == "cancelled":
        response["background"] = True
    if ending == "completed" and settings.response["completed_at"]:
        response["completed_at"] = response["created_at"] + seconds
    return response


#: The same where the dialect's schema does not allow that value.
_ECHO_OTHERWISE: Final[dict[str, Any]] = {"max_output_tokens": 1024}


@cache
def _further_fields(dialect: str) -> tuple[dict[str, Any], dict[str, SearchStrategy[Any]]]:
    """Return the required fields that are not computed here: those with their usual value, and those to be drawn."""
    settings = load_dialect(dialect)
    schema = settings.schema("response")
    fixed: dict[str, Any] = {}
    drawn: dict[str, SearchStrategy[Any]] = {}
    for name in dict.fromkeys([*settings.response["required"], *schema.get("required", ())]):
        own = schema["properties"].get(name, {})
        used = _reachable(own, schema["$defs"])
        whole = {**own, "$defs": {key: schema["$defs"][key] for key in used}}
        usual = [values[name] for values in (_ECHO, _ECHO_OTHERWISE) if name in values]
        valid = [value for value in usual if not own or Validator(whole).is_valid(value)]
        if valid:
            fixed[name] = valid[0]
        elif name not in _COMPUTED and own:
            drawn[name] = Compiler().strategy(parse(whole, file="response.schema.json"), name)
    return fixed, drawn


def _can_be(type_: str, status: str, dialect: str) -> bool:
    return status in _statuses(type_, dialect)


@cache
def _statuses(type_: str, dialect: str) -> frozenset[str]:
    """Return the statuses that an item type may have."""
    node = _output_nodes(dialect).get(type_)
    fields = node.fields if node is not None else ()
    found = frozenset(value for item in fields if item.name == "status" for value in _literals(item.node))
    free = any(item.name == "status" and _is_text(item.node) for item in fields)
    # Where the dialect allows any, they are the usual ones.
    return frozenset({"in_progress", "completed", "incomplete"}) if free and not found else found


def _usage(input_tokens: int, output_tokens: int, *, reasoned: bool) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": output_tokens,
        "output_tokens_details": {"reasoning_tokens": int(reasoned)},
        "total_tokens": input_tokens + output_tokens,
    }


@st.composite
def _streams(
    draw: st.DrawFn, whole: SearchStrategy[Response], dialect: str, extensions: bool, error_last: bool
) -> list[Event]:
    response = draw(whole)
    settings = load_dialect(dialect)

    def cut(text: str) -> list[str]:
        if len(text) < 2:
            return [text] if text else []
        places = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=3)))
        return [text[start:end] for start, end in zip([0, *places], [*places, len(text)], strict=True)]

    def weave(items: list[list[Event]]) -> list[Event]:
        left = [list(events) for events in items]
        woven = [left[0].pop(0)] if left else []
        begun = 1
        while any(left):
            # An item begins after the one before it.
            ready = [place for place in range(min(begun + 1, len(left))) if left[place]]
            place = ready[draw(st.integers(0, 3)) % len(ready)]
            begun = max(begun, place + 1)
            woven.append(left[place].pop(0))
        return woven

    overlaps = len(response["output"]) > 1 and _is_open(settings, "ITM-19") and draw(st.booleans())
    events = unfold(
        response,
        dialect=settings,
        cut=cut,
        pick=lambda names: draw(st.sampled_from(names)),
        weave=weave if overlaps else _one_by_one,
        queued=draw(st.booleans()) and "queued" in settings.response["statuses"],
        others=draw(st.booleans()),
    )
    if error_last:
        del events[-1]
    if extensions:
        for place in sorted(draw(st.lists(st.integers(1, len(events) - 1), max_size=3)), reverse=True):
            events.insert(place, {"type": "example:ping"})
        _number(events, settings)
    return events


def _one_by_one(items: list[list[Event]]) -> list[Event]:
    return [event for events in items for event in events]


def _number(events: list[Event], dialect: Dialect) -> None:
    for number, event in enumerate(events, dialect.stream["first_sequence_number"]):
        event["sequence_number"] = number


class _Unfolding:
    """Takes one response apart."""

    def __init__(self, dialect: Dialect, cut: Cut, pick: Callable[[list[str]], str], weave: Weave) -> None:
        self._dialect = dialect
        self._specs = dialect.events
        self._cut = cut
        self._pick = pick
        self._weave = weave

    def events(self, response: Response, queued: bool, others: bool) -> Iterator[Event]:
        found = [self._complete(event) for event in self._all(response, queued, others)]
        _number(found, self._dialect)
        yield from found

    def _complete(self, event: Event) -> Event:
        """Add fields that the dialect requires of the event and that say nothing here."""
        spec = self._specs[event["type"]]
        empty: dict[str, Any] = {"array": [], "string": "", "object": {}, "integer": 0}
        missing = {name: empty[spec.types[name]] for name in spec.required if name not in event}
        return copy_json({**event, **missing})

    def _all(self, response: Response, queued: bool, others: bool) -> Iterator[Event]:
        early = {key: value for key, value in response.items() if key != "output"}
        for name in ("usage", "error", "incomplete_details", "completed_at"):
            if name in early:
                early[name] = None
        states = ["queued", "queued", "in_progress"] if queued else ["in_progress", "in_progress"]
        names = ["created", "queued", "in_progress"] if queued else ["created", "in_progress"]
        for name, state in zip(names, states, strict=True):
            yield {"type": f"response.{name}", "response": {**early, "status": state, "output": []}}
        yield from self._weave([list(self._item(index, item, others)) for index, item in enumerate(response["output"])])
        if others:
            yield from ({"type": name} for name in self._others(None))
        if response["status"] == "failed":
            yield self._error(response["error"])
        yield {"type": f"response.{response['status']}", "response": response}

    def _error(self, error: dict[str, Any]) -> Event:
        fields = {**error, "param": None}
        if self._dialect.stream["error_event"] == "nested":
            return {"type": "error", "error": {"type": "server_error", **fields}}
        return {"type": "error", **fields}

    def _others(self, type_: str | None) -> list[str]:
        """Return the event types without a part in a stream's state that are about an item type, or about none."""
        types = sorted(_output_nodes(self._dialect.reference), key=len, reverse=True)
        found = []
        for spec in self._specs.values():
            if spec.role == "other" and "response" not in spec.required:
                stem = spec.type.removeprefix("response.")
                if next((name for name in types if stem.startswith((f"{name}.", f"{name}_"))), None) == type_:
                    found.append(spec.type)
        return found

    def _item(self, index: int, item: Item, others: bool) -> Iterator[Event]:
        type_ = item["type"]
        place = {"item_id": item["id"], "output_index": index}
        own = self._families("item", type_)
        fresh = copy_json(item)
        if "status" in fresh and "in_progress" in _statuses(type_, self._dialect.reference):
            fresh["status"] = "in_progress"
        for name in _CONTAINERS:
            if isinstance(fresh.get(name), list):
                fresh[name] = []
        for _, done in own:
            fresh[done.field] = ""
        yield {"type": "response.output_item.added", "output_index": index, "item": fresh}
        for name in self._others(type_) if others else ():
            yield {"type": name, **{field: value for field, value in place.items() if field in self._specs[name].types}}
        before, after = self._progress(type_, item)
        for name in before:
            yield {"type": name, **place}
        for container in ("summary", "content"):
            for number, part in enumerate(item.get(container) or ()):
                yield from self._part(container, number, part, place)
        if own:
            delta, done = own[0]
            yield from self._text(delta, done, item.get(done.field) or "", place)
        for name in after:
            yield {"type": name, **place}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}

    def _progress(self, type_: str, item: Item) -> tuple[list[str], list[str]]:
        """Return the types of the progress events before a hosted call's parts, in order, and after them."""
        names = [spec.type for spec in self._specs.values() if spec.role == "progress" and spec.item == type_]
        words = {name: name.rpartition(".")[2] for name in names}
        before = [name for name in names if words[name] not in _LAST]
        before.sort(key=lambda name: words[name] != _FIRST)
        # An item that was cut off came to no end of its own.
        last = "failed" if item.get("status") == "failed" or item.get("error") else "completed"
        after = [name for name in names if words[name] == last and item.get("status") != "incomplete"]
        return before, after

    def _part(self, container: str, number: int, part: Item, place: dict[str, Any]) -> Iterator[Event]:
        families = self._families(container, part["type"])
        spot = {**place, f"{container}_index": number}
        opening = self._pick(self._openings(container, part["type"]))
        fresh = copy_json(part)
        for _, done in families[:1]:
            fresh[done.field] = ""
        for name in ("annotations", "logprobs"):
            if name in fresh:
                fresh[name] = []
        yield {"type": opening, **spot, "part": fresh}
        if families:
            name = self._pick([delta.type for delta, _ in families])
            delta, done = next(pair for pair in families if pair[0].type == name)
            yield from self._text(delta, done, part.get(done.field) or "", spot)
        for position, annotation in enumerate(part.get("annotations") or ()):
            yield {
                "type": "response.output_text.annotation.added",
                **spot,
                "annotation_index": position,
                "annotation": annotation,
            }
        yield {"type": opening.removesuffix("added") + "done", **spot, "part": part}

    def _openings(self, container: str, part_type: str) -> list[str]:
        """Return the event types that announce such a part; reasoning has separate event types in some dialects."""
        names = [s.type for s in self._specs.values() if s.role == "part.added" and s.container == container]
        special = [name for name in names if "reasoning" in name]
        plain = [name for name in names if name not in special]
        return names if part_type.startswith("reasoning") else plain or names

    def _families(self, container: str, part_type: str) -> list[tuple[EventSpec, EventSpec]]:
        """Return the pairs of delta and done events that carry such a text."""
        fitting = [s for s in self._specs.values() if s.container == container and s.part == part_type]
        closing = {s.type.removesuffix(".done"): s for s in fitting if s.role == "done"}
        return [(s, closing[s.type.removesuffix(".delta")]) for s in fitting if s.role == "delta"]

    def _text(self, delta: EventSpec, done: EventSpec, text: str, spot: dict[str, Any]) -> Iterator[Event]:
        for piece in self._cut(text):
            yield {"type": delta.type, **spot, "delta": piece}
        yield {"type": done.type, **spot, done.field: text}
