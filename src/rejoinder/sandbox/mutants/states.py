"""Operators on what is kept: a response, its context, its input items, its stream, a conversation, and their ends.

A place is what is kept, and when: ``context.last@streamed``. What is kept may be narrowed to its ``first`` or ``last``
element, or to the items of a type; a field of the stored response is ``response.status``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from rejoinder.contract import Dialect
from rejoinder.json_copy import copy_json
from rejoinder.model.exchange import Exchange
from rejoinder.sandbox.endpoint.reply import ApiError, Reply, RequestInfo, reply_with
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import BACKGROUND, PLAIN, STREAMED, Condition, Visit, every, with_request_field
from rejoinder.sandbox.mutants.mutant import CleanRun, Operator, PlaceLog, Places
from rejoinder.sandbox.mutants.wire import info_of, read_event

CONDITIONS: Final[Mapping[str, Condition]] = {
    "always": Condition("", lambda _: True),
    "streamed": STREAMED,
    "plain": PLAIN,
    "background": BACKGROUND,
    "continued": with_request_field("previous_response_id"),
    "first-turn": Condition("only in first turns", lambda info: not info.body.get("previous_response_id")),
    "with-instructions": with_request_field("instructions"),
    "with-tools": with_request_field("tools"),
    "with-list": Condition("only with list input", lambda info: isinstance(info.body.get("input"), list)),
    "every-third": every(3),
}
"""When a mutant shows, by name."""

_LISTS: Final = {"context": "continued", "input_items": "input_items", "output": "retrieve"}
"""Lists that are kept with a response, each with what reads them later."""
_FIELDS: Final = ("status", "usage", "error", "incomplete_details", "completed_at", "model", "created_at", "metadata")
_FIELDS_OF_REQUEST: Final = (
    "instructions",
    "tools",
    "text",
    "temperature",
    "max_output_tokens",
    "previous_response_id",
)

Elements = list[Any]
Treat = Callable[[Elements, Elements, Sequence[int]], Elements]
"""Returns a list that is kept, from what it should be, the list kept before, and the places that are meant."""


def _lost(own: Elements, _: Elements, meant: Sequence[int]) -> Elements:
    return [one for place, one in enumerate(own) if place not in meant]


def _repeated(own: Elements, _: Elements, meant: Sequence[int]) -> Elements:
    return [*own, *(copy_json(own[place]) for place in meant)]


def _elsewhere(own: Elements, before: Elements, meant: Sequence[int]) -> Elements:
    if not before:
        return own
    if len(meant) == len(own):
        return copy_json(before)
    return [copy_json(before[-1]) if place in meant else one for place, one in enumerate(own)]


def _moved(own: Elements, _: Elements, meant: Sequence[int]) -> Elements:
    """Return the list with what is meant at its other end, or reversed where all of it is meant."""
    if len(meant) == len(own):
        return own[::-1]
    rest = _lost(own, [], meant)
    chosen = [own[place] for place in meant]
    return [*chosen, *rest] if meant and meant[-1] == len(own) - 1 else [*rest, *chosen]


_TREATMENTS: Final[Mapping[str, Treat]] = {
    "lost": _lost,
    "repeated": _repeated,
    "elsewhere": _elsewhere,
    "moved": _moved,
}


def meant(elements: Elements, which: str) -> list[int]:
    """Return the places of a list that a narrowing means: all, ``first``, ``last``, or those of a type of item."""
    everything = range(len(elements))
    if not which:
        return list(everything)
    if which in ("first", "last"):
        return list(everything[:1] if which == "first" else everything[-1:])
    return [place for place in everything if _type(elements[place]) == which]


def _type(item: Any) -> str:
    """Return the type of an item, with its role for a message."""
    kind = str(item.get("type") or "message")
    return f"{kind}-{item['role']}" if kind == "message" and "role" in item else kind


def _split(place: str) -> tuple[str, str, Condition]:
    """Return what is kept, how it is narrowed, and the condition of a place; raises :class:`ValueError`."""
    what, found, when = place.partition("@")
    name, _, which = what.partition(".")
    if not found or when not in CONDITIONS:
        raise ValueError(f"{place!r} names no condition")
    return name, which, CONDITIONS[when]


def _list_hooks(place: str, _: Dialect, *, treat: Treat) -> Mapping[str, Any]:
    name, which, condition = _split(place)
    latest: list[Elements] = []

    def treated(own: Elements) -> Elements:
        before = latest[-1] if latest else []
        latest[:] = [list(own)]
        return treat(list(own), before, meant(own, which))

    if name == "conversation":

        def added(items: list[Json], info: RequestInfo) -> list[Json]:
            return treated(items)

        return {"when": condition, "added": added}

    def on_store(stored: Stored, _: Store, info: RequestInfo) -> None:
        if name == "output":
            stored.response = {**stored.response, "output": treated(stored.response["output"])}
        elif name == "context":
            stored.context = treated(stored.context)
        else:
            stored.input_items = treated(stored.input_items)

    if name not in _LISTS:
        raise ValueError(f"{place!r} names nothing that is kept")
    return {"when": condition, "on_store": on_store}


def _list_places(clean: CleanRun) -> Places:
    log = PlaceLog()
    for number, exchange, info, read in _writers(clean):
        for when, condition in CONDITIONS.items():
            if not condition(info):
                continue
            for name, elements in _kept(exchange, info, read):
                narrowed = {"", *([] if len(elements) < 2 else ["first", "last"]), *map(_type, elements)}
                whole = {_type(one) for one in elements}
                narrowed -= whole if len(whole) == 1 else set()
                places = [f"{name}{'.' if which else ''}{which}@{when}" for which in sorted(narrowed)]
                log.add_all(places, number, exchange.case)
    return log.found


def _kept(exchange: Exchange, info: RequestInfo, read: frozenset[str]) -> Iterator[tuple[str, Elements]]:
    """Yield the lists that a create request keeps and that its case reads later, as they are seen on the wire.

    Those that only operations show that the dialect lacks are none.
    """
    known = info.dialect.operations
    given = info.body.get("input")
    items = given if isinstance(given, list) else [{"type": "message", "role": "user"}]
    items = [item for item in items if isinstance(item, dict)]
    output = _output(exchange)
    if "continued" in read:
        yield "context", [*items, *output]
    if "input_items" in read and "input_items" in known:
        yield "input_items", items
    if "retrieve" in read and output:
        yield "output", output
    if info.body.get("conversation") is not None and "create_conversation" in known:
        yield "conversation", [*items, *output]


def _output(exchange: Exchange) -> list[Json]:
    body = exchange.json()
    if not isinstance(body, dict):
        # In streams every item is closed by an event.
        events = [event for chunk in exchange.chunks if (event := read_event(chunk.data)) is not None]
        return [event["item"] for event in events if event.get("type") == "response.output_item.done"]
    output = body.get("output")
    return output if isinstance(output, list) else []


def _writers(clean: CleanRun) -> Iterator[tuple[int, Exchange, RequestInfo, frozenset[str]]]:
    """Yield the create requests that keep something, each with what later requests of their case read."""
    reads: dict[str, set[str]] = {}
    infos = [info_of(exchange, clean.dialect) for exchange in clean.exchanges]
    for exchange, info in zip(clean.exchanges, infos, strict=True):
        found = reads.setdefault(exchange.case, set())
        if info.operation == "create" and info.body.get("previous_response_id"):
            found.add("continued")
        if info.operation == "response":
            found.add("delete" if info.request.method == "DELETE" else "retrieve")
            found |= {"replay"} if "stream=true" in info.request.path else set()
        found.add(info.operation)
    for number, (exchange, info) in enumerate(zip(clean.exchanges, infos, strict=True)):
        if info.operation == "create" and exchange.status == 200 and info.body.get("store") is not False:
            yield number, exchange, info, frozenset(reads[exchange.case])


# Fields of what is stored


def _field_places(clean: CleanRun) -> Places:
    log = PlaceLog()
    for number, exchange, info, read in _writers(clean):
        if "retrieve" in read:
            names = [name for name in (*_FIELDS, *_FIELDS_OF_REQUEST) if _has(clean.dialect, name)]
            whens = [when for when, condition in CONDITIONS.items() if condition(info)]
            log.add_all([f"response.{name}@{when}" for name in names for when in whens], number, exchange.case)
    return log.found


def _has(dialect: Dialect, name: str) -> bool:
    return name in dialect.schema("response")["properties"]


def _field_hooks(place: str, _: Dialect, *, elsewhere: bool) -> Mapping[str, Any]:
    name, which, condition = _split(place)
    if name != "response" or not which:
        raise ValueError(f"{place!r} names no field of a response")
    latest: list[Json] = []

    def on_store(stored: Stored, _: Store, info: RequestInfo) -> None:
        own = stored.response
        other = (latest[-1] if latest else own) if elsewhere else stored.running
        latest[:] = [own]
        if which in own:
            # The status of what is not updated is that of a run under way.
            stored.response = {**own, which: copy_json(other.get(which))}

    return {"when": condition, "on_store": on_store}


# Transitions


@dataclass(slots=True)
class _Memory:
    """What a mutant remembers of the requests before: the responses that were visited."""

    stored: list[Stored] = field(default_factory=list)


def _on_visit(operation: str, method: str, do: Callable[[Visit, _Memory], Reply | None]) -> Mapping[str, Any]:
    memory = _Memory()

    def override(visit: Visit) -> Reply | None:
        if visit.info.operation != operation or visit.method != method or visit.stored is None:
            return None
        memory.stored.append(visit.stored)
        return do(visit, memory)

    return {"override": override}


def _deleted(visit: Visit) -> Reply:
    identity = visit.stored.response["id"] if visit.stored is not None else ""
    return reply_with({"id": identity, "object": "response", "deleted": True})


def _delete_lost(visit: Visit, memory: _Memory) -> Reply | None:
    """Answer a delete and keep the response."""
    return _deleted(visit)


def _delete_other(visit: Visit, memory: _Memory) -> Reply | None:
    """Delete another response."""
    assert visit.stored is not None
    own = visit.stored.response["id"]
    others = [identity for identity in visit.store.ids() if identity != own]
    if others:
        visit.store.remove(others[-1])
    return _deleted(visit)


def _delete_all(visit: Visit, memory: _Memory) -> Reply | None:
    for identity in visit.store.ids():
        visit.store.remove(identity)
    return _deleted(visit)


def _cancel_lost(visit: Visit, memory: _Memory) -> Reply | None:
    """Answer a cancel and let the run go on."""
    assert visit.stored is not None
    return reply_with({**visit.stored.running, "status": "cancelled"}) if visit.stored.background else None


def _cancel_completes(visit: Visit, memory: _Memory) -> Reply | None:
    """End the run in place of cancelling it."""
    assert visit.stored is not None
    if visit.stored.background:
        visit.stored.ready_at = visit.now
        return reply_with(visit.stored.response)
    return None


def _cancel_removes(visit: Visit, memory: _Memory) -> Reply | None:
    assert visit.stored is not None
    if not visit.stored.background:
        return None
    visit.store.remove(visit.stored.response["id"])
    return reply_with({**visit.stored.running, "status": "cancelled"})


def _cancel_anything(visit: Visit, memory: _Memory) -> Reply | None:
    """Cancel what is over, too."""
    assert visit.stored is not None
    visit.stored.cancelled = True
    return reply_with({**visit.stored.running, "status": "cancelled"})


def _retrieve_of_other(visit: Visit, memory: _Memory) -> Reply | None:
    """Answer with what was retrieved before."""
    others = [one for one in memory.stored[:-1] if one is not visit.stored]
    return reply_with(others[-1].current(visit.now)) if others and "stream" not in visit.query else None


def _retrieve_content_of_other(visit: Visit, memory: _Memory) -> Reply | None:
    assert visit.stored is not None
    others = [one for one in memory.stored[:-1] if one is not visit.stored]
    if not others or "stream" in visit.query:
        return None
    return reply_with({**visit.stored.current(visit.now), "output": others[-1].response["output"]})


def _retrieve_once(visit: Visit, memory: _Memory) -> Reply | None:
    """Find a response once."""
    if visit.stored in memory.stored[:-1]:
        raise ApiError(404, "There is no such response.", code="response_not_found")
    return None


def _retrieve_first_state(visit: Visit, memory: _Memory) -> Reply | None:
    """Answer with the state of the first retrieve for good."""
    assert visit.stored is not None
    if visit.stored.background and "stream" not in visit.query:
        return reply_with(visit.stored.running)
    return None


def _retrieve_goes_back(visit: Visit, memory: _Memory) -> Reply | None:
    """Show a finished background run as under way every other time."""
    assert visit.stored is not None
    again = sum(one is visit.stored for one in memory.stored)
    if visit.stored.background and again % 2 == 0 and "stream" not in visit.query:
        return reply_with(visit.stored.running)
    return None


def _never_ready(stored: Stored, _: Store, __: RequestInfo) -> None:
    if stored.background:
        stored.ready_at = math.inf


def _unstored(stored: Stored, store: Store, _: RequestInfo) -> None:
    store.remove(stored.response["id"])


def _stored_late(stored: Stored, _: Store, __: RequestInfo) -> None:
    stored.found_at = math.inf


def _over_the_last(stored: Stored, store: Store, _: RequestInfo) -> None:
    """Keep one response at a time."""
    for identity in store.ids():
        if identity != stored.response["id"]:
            store.remove(identity)


_TRANSITIONS: Final[Mapping[str, tuple[str, Callable[[], Mapping[str, Any]]]]] = {
    "delete-without-effect": ("delete", lambda: _on_visit("response", "DELETE", _delete_lost)),
    "delete-of-another": ("delete", lambda: _on_visit("response", "DELETE", _delete_other)),
    "delete-of-all": ("delete", lambda: _on_visit("response", "DELETE", _delete_all)),
    "cancel-without-effect": ("cancel", lambda: _on_visit("cancel", "POST", _cancel_lost)),
    "cancel-completes": ("cancel", lambda: _on_visit("cancel", "POST", _cancel_completes)),
    "cancel-deletes": ("cancel", lambda: _on_visit("cancel", "POST", _cancel_removes)),
    "cancel-of-anything": ("cancel", lambda: _on_visit("cancel", "POST", _cancel_anything)),
    "retrieve-of-another": ("retrieve", lambda: _on_visit("response", "GET", _retrieve_of_other)),
    "retrieve-output-of-another": ("retrieve", lambda: _on_visit("response", "GET", _retrieve_content_of_other)),
    "retrieve-once": ("retrieve", lambda: _on_visit("response", "GET", _retrieve_once)),
    "retrieve-as-started": ("retrieve", lambda: _on_visit("response", "GET", _retrieve_first_state)),
    "retrieve-goes-back": ("retrieve", lambda: _on_visit("response", "GET", _retrieve_goes_back)),
}

_KEPT: Final[Mapping[str, tuple[str, Callable[[Stored, Store, RequestInfo], None]]]] = {
    "background-without-end": ("retrieve", _never_ready),
    "not-stored": ("retrieve", _unstored),
    "not-found-by-continuations": ("continued", _stored_late),
    "one-at-a-time": ("retrieve", _over_the_last),
}


def _transition_places(clean: CleanRun) -> Places:
    log = PlaceLog()
    for number, exchange, info, read in _writers(clean):
        for name, (reader, _) in _TRANSITIONS.items():
            if reader in read:
                log.add_all([name], number, exchange.case)
        for name, (reader, _) in _KEPT.items():
            if reader in read:
                whens = [when for when, condition in CONDITIONS.items() if condition(info)]
                log.add_all([f"{name}@{when}" for when in whens], number, exchange.case)
    return log.found


def _transition_hooks(place: str, _: Dialect) -> Mapping[str, Any]:
    name, __, when = place.partition("@")
    if name in _TRANSITIONS and not when:
        return _TRANSITIONS[name][1]()
    if name in _KEPT and when in CONDITIONS:
        return {"when": CONDITIONS[when], "on_store": _KEPT[name][1]}
    raise ValueError(f"{place!r} names no transition")


OPERATORS: Final = (
    *(
        Operator(
            f"kept-{name}", f"Elements of what is kept are {name}", _list_places, partial(_list_hooks, treat=treat)
        )
        for name, treat in _TREATMENTS.items()
    ),
    Operator(
        "kept-unfinished",
        "A field of what is stored is as it was before the run",
        _field_places,
        partial(_field_hooks, elsewhere=False),
    ),
    Operator(
        "kept-of-another",
        "A field of what is stored is that of another response",
        _field_places,
        partial(_field_hooks, elsewhere=True),
    ),
    Operator("transition", "A change of state is lost, or another one", _transition_places, _transition_hooks),
)
"""The operators on what is kept."""
