"""Builders of problems, and of the parts of their messages."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import count, islice
from typing import Any, Final, Generic, TypeGuard, TypeVar

from rejoinder.conformance.judging.exchange_view import Event, ExchangeView
from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.formatting import compact_json, one_line, plural
from rejoinder.model.verdict import ABSENT, MISSING, TOO_LONG, Problem
from rejoinder.validation import SchemaError, escape_key

MAX_PLACES: Final = 1_000
"""How many places of one kind of problem are kept for one exchange. The message of the first counts the others."""
MAX_KINDS: Final = 200
"""How many kinds of problems a check keeps for one exchange, or for one case."""
MAX_RUN_PLACES: Final = 4_000
"""How many places a rule keeps in all before it keeps fewer of each further exchange."""
LATER_PLACES: Final = 20
"""How many places of one kind of problem, and how many kinds, are then kept for one exchange."""

_WORD: Final = re.compile(r"[\w.:-]+", re.ASCII)
_MAX_WORD: Final = 80


@dataclass(frozen=True, slots=True)
class More:
    """Further places with the same error as a problem that a check yielded before; ``None`` if of any other kind."""

    like: Problem | None
    count: int


T = TypeVar("T")


class Places(Generic[T]):
    """Places with one kind of problem: the first :data:`MAX_PLACES` of them, and how many ``more`` there are."""

    __slots__ = ("first", "more")

    def __init__(self) -> None:
        self.first: list[T] = []
        self.more = 0

    def add(self, place: T) -> None:
        """Take a further place."""
        if len(self.first) < MAX_PLACES:
            self.first.append(place)
        else:
            self.more += 1

    def problems(self, build: Callable[[T], Problem]) -> Iterator[Problem | More]:
        """Yield the problem of each place, and the number of those that were only counted."""
        problems = [build(place) for place in self.first]
        yield from problems
        if self.more:
            yield More(problems[0], self.more)


def each(
    places: Iterable[T], build: Callable[[T], Problem], kind: Callable[[T], Hashable] | None = None
) -> Iterator[Problem | More]:
    """Yield a problem for each of many places; of those beyond :data:`MAX_PLACES` of a kind only how many there are.

    ``build`` makes the problem of a place. Problems of places with the same ``kind`` (by default of all) have the same
    event type, kind and pointer but for indexes. Beyond :data:`MAX_KINDS` kinds the problems are counted.
    """
    if kind is None:
        rest = iter(places)
        problems = [build(place) for place in islice(rest, MAX_PLACES)]
        yield from problems
        if len(problems) < MAX_PLACES:
            return
        number = count()
        deque(zip(rest, number, strict=False), maxlen=0)  # the fastest way to count what an iterator has
        if more := next(number):
            yield More(problems[0], more)
        return
    counts: dict[Hashable, int] = {}
    firsts: dict[Hashable, Problem] = {}
    others = 0
    for place in places:
        which = kind(place)
        before = counts.get(which, 0)
        if before == 0 and len(counts) >= MAX_KINDS:
            others += 1
            continue
        counts[which] = before + 1
        if before < MAX_PLACES:
            problem = build(place)
            firsts.setdefault(which, problem)
            yield problem
    for which, places_of_kind in counts.items():
        if places_of_kind > MAX_PLACES:
            yield More(firsts[which], places_of_kind - MAX_PLACES)
    if others:
        yield More(None, others)


def at_event(event: Event, message: str, pointer: str = "", **details: Any) -> Problem:
    """Return a problem at an event; ``pointer`` points into the event's data."""
    return Problem(
        message, pointer=pointer, event=event.number, event_type=event.type, offset=event.frame.start, **details
    )


def at_misfit(event: Event, error: SchemaError, message: str, at: str = "") -> Problem:
    """Return a problem where an event's data, or the part of it at ``at``, does not match its schema."""
    kind = "" if error.keyword == "required" else error.keyword
    return at_event(event, message, f"{at}{error.pointer}", expected=error.wanted, actual=error.actual, kind=kind)


def mismatch(what: str, error: SchemaError) -> str:
    """Return the sentence that something does not match its schema, and where."""
    return f"{what} does not match its schema: {error.located}.{repeated(error.more)}"


def in_exchange(view: ExchangeView, message: str, pointer: str = "", **details: Any) -> Problem:
    """Return a problem of an exchange as a whole; ``pointer`` points into the body of its response."""
    return Problem(message, pointer=pointer, **{"exchange": view.exchange.id, **details})


def in_response(view: ExchangeView, message: str, pointer: str = "", **details: Any) -> Problem:
    """Return a problem inside the final response object, into which ``pointer`` points.

    In a stream the problem is at the terminal event, with ``/response`` before the pointer.
    """
    event = view.response_event
    if event is None:
        return in_exchange(view, message, pointer, **details)
    return at_event(event, message, f"/response{pointer}", **{"exchange": view.exchange.id, **details})


def differing(
    at: Callable[..., Problem],
    subject: Event | ExchangeView,
    message: str,
    expected: Any,
    actual: Any,
    pointer: str = "",
    **details: Any,
) -> Iterator[Problem]:
    """Yield a problem at the first place below the pointer where two JSON values differ, if they do.

    ``at`` is one of the builders above, ``subject`` what it takes. ``{}`` in the message becomes the place.
    """
    difference = first_difference(expected, actual, pointer)
    if difference:
        where, left, right = difference
        wanted = "absent" if left is ABSENT else left
        yield at(subject, message.replace("{}", one_line(where, 80)), where, expected=wanted, actual=right, **details)


def differing_fields(
    at: Callable[..., Problem],
    subject: Event | ExchangeView,
    message: str,
    expected: Any,
    actual: Any,
    pointer: str = "",
) -> Iterator[Problem]:
    """Yield a problem for each field of two JSON objects that differs, as :func:`differing` does for the first.

    So a field that always differs is found whether or not another differs at times.
    """
    if not isinstance(expected, dict) or not isinstance(actual, dict):
        yield from differing(at, subject, message, expected, actual, pointer)
        return
    for name in {**expected, **actual}:
        left, right = expected.get(name, ABSENT), actual.get(name, ABSENT)
        yield from differing(at, subject, message, left, right, f"{pointer}/{escape_key(name)}")


def event_name(event: Event) -> str:
    """Return an event as the subject of a message: its type, or its number where the type is missing or no word."""
    return f"Event {word(event.type, str(event.number))}"


def word(text: str, default: str) -> str:
    """Return a name that an endpoint sent if a message can contain it: one ASCII word, not too long."""
    return text if len(text) <= _MAX_WORD and _is_word(text) else default


@lru_cache(maxsize=1_000)
def _is_word(text: str) -> bool:
    return _WORD.fullmatch(text) is not None


def quoted(value: Any) -> str:
    """Return a value as JSON on one short line, "(missing)" for an absent one."""
    if value is ABSENT:
        return MISSING
    try:
        return one_line(compact_json(value), 60)
    except ValueError:
        return TOO_LONG


def is_what(value: Any) -> str:
    """Return the predicate that says what a value is: "is missing", ``is "queued"``."""
    return "is missing" if value is ABSENT else f"is {quoted(value)}"


def has_what(name: str, value: Any) -> str:
    """Return the predicate that says which value a field has: "has no status", ``has status "queued"``."""
    return f"has no {name}" if value is ABSENT else f"has {name} {quoted(value)}"


def repeated(more: int) -> str:
    """Return a sentence for the end of a message that counts further places with the same error; empty for none."""
    return f" {plural(more, 'more place has', 'more places have')} the same error." if more else ""


def one_of(values: Iterable[str]) -> str:
    """Return a list of allowed values as a description: "one of queued, in_progress"."""
    words = list(values)
    return words[0] if len(words) == 1 else f"one of {', '.join(words)}"


def get(value: Any, *path: str | int) -> Any:
    """Walk into parsed JSON; return :data:`ABSENT` where the path leads nowhere."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step, ABSENT)
        elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
            value = value[step]
        else:
            return ABSENT
    return value


def is_integer(value: Any) -> TypeGuard[int]:
    """Return whether a parsed JSON value is an integer (true and false are not)."""
    return type(value) is int


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a parsed JSON value is a number (true and false are not)."""
    return type(value) in (int, float)


def is_set(value: Any) -> bool:
    """Return whether a field is there and not null."""
    return value is not ABSENT and value is not None
