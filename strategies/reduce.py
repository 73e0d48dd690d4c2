"""Making a failing body small with few requests.

Hypothesis shrinks by trying; against a real endpoint every try is a request that costs time and money. Test-case
reducers such as Shrink Ray try thousands of candidates and know nothing of a contract. The reducer here does: it takes
away whole parts of the body first (delta debugging by levels), screens every candidate with the schema for free, and
stops at a budget. Names, numbers and short texts stay as they are, so that a person can read what is left. The result
may not be the smallest body, but it is one that still fails.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import jsonschema_rs

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.json_copy import copy_json
from rejoinder.model.verdict import ABSENT

__all__ = ["Reduction", "empty_lists", "minimise", "minimise_bytes"]

SENTENCE: Final = "Say hello."
"""What long input becomes where its text does not matter."""

SHORT: Final = 40
"""Characters up to which a text is left as it is."""

LONG_NAME: Final = 256
"""Characters up to which a text without blanks is left as it is."""

PARTNERS: Final = 64
"""Places that are tried as the one without which another cannot go; trying them costs no request."""

MEMBERS: Final = 16
"""Members of a text that are cut out one by one; more are left to the halving."""

Path = tuple[Any, ...]
_Change = tuple[Path, Any]


@dataclass(frozen=True, slots=True)
class Reduction:
    """The smallest failing body that was found, how many requests that took, and whether the budget cut it short."""

    body: Any
    calls: int
    exhausted: bool


def minimise(
    body: Any, fails: Callable[[Any], bool], *, budget: int = 50, valid: Callable[[Any], bool] | None = None
) -> Reduction:
    """Return a small body that still fails.

    ``fails`` sends a body and says whether the failure is there; it is called at most ``budget`` times and never
    twice with the same body, and may keep what it is given. ``body`` must fail; it is not changed and not sent again.
    ``valid`` screens candidates before they are sent (by default: validity under the undisputed contract, if ``body``
    has that). Values in the body that are not JSON are kept as they are, or taken away.
    """
    if valid is None:
        accepts = _generation().is_valid
        valid = accepts if accepts(body) else (lambda _: True)
    search = _Minimiser(copy_json(body), fails, valid, budget)
    search.run()
    return Reduction(search.body, search.calls, search.calls >= budget)


def minimise_bytes(
    data: bytes, fails: Callable[[bytes], bool], *, budget: int = 50, valid: Callable[[bytes], bool] = lambda _: True
) -> Reduction:
    """Return few bytes that still fail, for bodies that are no JSON object or nested too deeply to be one.

    Long repetitions (of brackets, letters, members) are shortened first, those of equal length together, since nested
    JSON opens as often as it closes; then parts are cut out, the largest first. The arguments are those of
    :func:`minimise`.
    """
    search = _ByteMinimiser(data, fails, valid, budget)
    search.run()
    return Reduction(search.data, search.calls, search.calls >= budget)


@cache
def _generation() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.GENERATION))


class _Minimiser:
    def __init__(self, body: Any, fails: Callable[[Any], bool], valid: Callable[[Any], bool], budget: int) -> None:
        self.body = body
        self._fails = fails
        self._screen = valid
        self._budget = budget
        self.calls = 0
        self._seen = {_key(body)}
        self._screened: dict[str, bool] = {}
        self._empty = empty_lists(body)
        self._strict = _strict_schemas(body)

    def run(self) -> None:
        before = None
        # What one pass takes away can make room for another; a round without gain ends it.
        while before != _key(self.body) and self.calls < self._budget:
            before = _key(self.body)
            self._coarse()
            self._drop_by_level()
            self._unwrap()
            self._shorten()

    def _attempt(self, changes: Sequence[_Change]) -> bool:
        """Apply the changes to the body and keep the result if it is valid, new and still fails."""
        if not changes or self.calls >= self._budget:
            return False
        candidate = _applied(self.body, changes)
        key = _key(candidate)
        if key in self._seen or not self._valid(candidate, key):
            return False
        self._seen.add(key)
        self.calls += 1
        if not self._fails(copy_json(candidate)):
            return False
        self.body = candidate
        return True

    def _valid(self, candidate: Any, key: str) -> bool:
        if key not in self._screened:
            # A list without elements is an extreme that nobody sent, not a smaller one. Vendors refuse strict schemas
            # that lack parts, so a strict schema stays whole or goes.
            self._screened[key] = (
                empty_lists(candidate) <= self._empty
                and _strict_schemas(candidate) <= self._strict
                and self._screen(candidate)
            )
        return self._screened[key]

    def _is_allowed(self, changes: Sequence[_Change]) -> bool:
        candidate = _applied(self.body, changes)
        return self._valid(candidate, _key(candidate))

    def _coarse(self) -> None:
        """Try the guesses that are right most often: only the input matters, all but the input, or one field."""
        if not isinstance(self.body, dict):
            return
        # A document of several bodies numbers the fields that differ in them.
        inputs = [name for name in self.body if name.partition(" ")[0] == "input"]
        plain: list[_Change] = [((name,), SENTENCE) for name in inputs if not isinstance(self.body[name], str)]
        away: list[_Change] = [((name,), ABSENT) for name in self.body if name not in inputs]
        if not self._attempt([*away, *plain]):
            self._attempt(away)
        self._attempt(plain)

    def _drop_by_level(self) -> None:
        """Take away list elements and fields, outermost first, in halves: a group that matters is divided."""
        level = 0
        while self.calls < self._budget:
            places = [path for path in _places(self.body) if len(path) == level + 1]
            if not places and not any(len(path) > level for path in _places(self.body)):
                return
            # What can be taken away at all, alone or with a partner, is known before anything is sent.
            units = list(self._units(places))
            self._halve(units)
            level += 1

    def _units(self, places: list[Path]) -> Iterator[list[_Change]]:
        """Yield what can be taken away together: a place, or one with the other that must go with it."""
        fixed = []
        for path in places:
            if self._is_allowed([(path, ABSENT)]):
                yield [(path, ABSENT)]
            else:
                fixed.append(path)
        # A list whose elements are all taken away may have to go itself, and a choice with what it chooses from.
        partners = [path for path in _places(self.body) if len(path) == 1] + fixed
        for path in fixed:
            for other in itertools.islice(dict.fromkeys(partners), PARTNERS):
                if path[: len(other)] == other or other[: len(path)] == path:
                    continue
                pair = [(path, ABSENT), (other, ABSENT)]
                if self._is_allowed(pair) and not self._is_allowed([(other, ABSENT)]):
                    yield pair
                    break

    def _halve(self, units: list[list[_Change]]) -> None:
        if not units:
            return
        changes = list({path: change for unit in units for path, change in unit}.items())
        if self._attempt(changes) or len(units) == 1:
            return
        middle = len(units) // 2
        # The later half first, so that the indexes of the earlier one stay right.
        self._halve(units[middle:])
        self._halve([unit for unit in units[:middle] if all(_is_there(self.body, path) for path, _ in unit)])

    def _unwrap(self) -> None:
        """Put a plain text in the place of messages and parts that hold nothing but one."""
        for path, value in list(_nodes(self.body)):
            if (
                isinstance(value, list)
                and len(value) == 1
                and isinstance(value[0], dict)
                and _is_there(self.body, path)
            ):
                text = value[0].get("text", value[0].get("content"))
                if isinstance(text, str):
                    self._attempt([(path, text)])

    def _shorten(self) -> None:
        """Shorten long texts: to a sentence, or by cutting parts out of them."""
        for path, value in list(_walk(self.body)):
            if isinstance(value, str) and len(value) > SHORT and _is_there(self.body, path):
                self._shorten_text(path)
            elif isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**9:
                self._attempt([(path, 1)])

    def _shorten_text(self, path: Path) -> None:
        text = _holder(self.body, path)[path[-1]]
        # What has no blanks is a name or data, which a sentence cannot stand for.
        if any(char.isspace() for char in text):
            if self._attempt([(path, SENTENCE)]):
                return
        elif len(text) <= LONG_NAME:
            return
        # What is left is cut again, until nothing can go.
        while isinstance(text, str) and self.calls < self._budget:
            text = next((shorter for shorter in _pieces(text) if self._attempt([(path, shorter)])), None)


class _ByteMinimiser:
    def __init__(
        self, data: bytes, fails: Callable[[bytes], bool], valid: Callable[[bytes], bool], budget: int
    ) -> None:
        self.data = data
        self._fails = fails
        self._valid = valid
        self._budget = budget
        self.calls = 0
        self._seen = {data}

    def run(self) -> None:
        self._shorten_runs()
        self._drop_members()
        size = len(self.data) // 2
        while size and self.calls < self._budget:
            cut = False
            for start in range(0, len(self.data), size):
                cut = self._attempt(self.data[:start] + self.data[start + size :]) or cut
            size = min(size if cut else size // 2, len(self.data) // 2)

    def _attempt(self, candidate: bytes) -> bool:
        if not candidate or candidate in self._seen or self.calls >= self._budget or not self._valid(candidate):
            return False
        self._seen.add(candidate)
        self.calls += 1
        if not self._fails(candidate):
            return False
        self.data = candidate
        return True

    def _drop_members(self) -> None:
        """Cut out whole members of JSON first: halving leaves parts of their names and values."""
        members = list(_MEMBER.finditer(self.data))
        for match in reversed(members if len(members) <= MEMBERS else ()):
            self._attempt(self.data[: match.start()] + self.data[match.end() :])

    def _shorten_runs(self) -> None:
        """Search for the smallest number of repetitions by halving the distance to it."""
        for number in sorted({count for _, _, count in _runs(self.data)}, reverse=True):
            low, high = 0, number  # so few passed, so many fail
            while high - low > 1 and self.calls < self._budget:
                middle = (low + high) // 2
                if self._attempt(_with_runs(self.data, high, middle)):
                    high = middle
                else:
                    low = middle


_MEMBER: Final = re.compile(rb"(?<=[{\[,])[^,{}\[\]]*,")
_RUN: Final = re.compile(rb"(.{1,24}?)\1{15,}", re.DOTALL)


def _runs(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield place, unit and number of repetitions of what is repeated 16 times or more."""
    for match in _RUN.finditer(data):
        yield match.start(), match[1], len(match[0]) // len(match[1])


def _with_runs(data: bytes, number: int, fewer: int) -> bytes:
    """Return the data with ``fewer`` repetitions where there are ``number``, or one more or less."""
    parts, end = [], 0
    for start, unit, count in _runs(data):
        if abs(count - number) <= 1:
            parts += [data[end:start], unit * max(0, fewer + count - number)]
            end = start + len(unit) * count
    return b"".join((*parts, data[end:]))


def _key(body: Any) -> str:
    return json.dumps(body, sort_keys=True, default=repr)


def _applied(body: Any, changes: Sequence[_Change]) -> Any:
    """Return a copy with every change made; list elements are taken away from the end, so that indexes hold."""
    result = copy_json(body)
    removals: list[Path] = []
    for path, new in changes:
        if new is ABSENT:
            removals.append(path)
        else:
            _holder(result, path)[path[-1]] = new
    for path in sorted(removals, key=lambda path: tuple(part if isinstance(part, int) else -1 for part in path))[::-1]:
        if _is_there(result, path):  # not inside of another that is gone
            del _holder(result, path)[path[-1]]
    return result


def _holder(body: Any, path: Path) -> Any:
    for part in path[:-1]:
        body = body[part]
    return body


def _is_there(body: Any, path: Path) -> bool:
    for part in path:
        if isinstance(body, dict):
            if part not in body:
                return False
        elif not isinstance(body, list) or not isinstance(part, int) or part >= len(body):
            return False
        body = body[part]
    return True


def _places(body: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every list element and field, outermost first."""
    return (place for place, _ in _nodes(body, path))


def _nodes(body: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every list element and field with its path, outermost first."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in inner:
        yield (*path, key), value
        yield from _nodes(value, (*path, key))


def empty_lists(body: Any) -> set[Path]:
    """Return the places of the empty lists in a body, without list indexes."""
    return {tuple(part for part in path if isinstance(part, str)) for path, value in _nodes(body) if value == []}


def _strict_schemas(body: Any) -> set[str]:
    """Return the JSON Schemas in a body that are marked as strict, each with the name of its field."""
    return {
        f"{name} {_key(value.get(name))}"
        for _, value in _nodes(body)
        if isinstance(value, dict) and value.get("strict") is True
        for name in ("schema", "parameters")
    }


def _walk(body: Any) -> Iterator[tuple[Path, Any]]:
    """Yield every scalar with its path."""
    return ((path, value) for path, value in _nodes(body) if not isinstance(value, dict | list))


def _pieces(text: str) -> Iterator[str]:
    """Yield a text without one of its parts, the largest parts first, cut between words where there are some."""
    words = re.findall(r"\S+\s*", text)
    units = words if 4 <= len(words) < len(text) // 2 else list(text)
    size = len(units) // 2
    while size and size * 16 >= len(units):
        for start in reversed(range(0, len(units), size)):
            shorter = "".join(units[:start] + units[start + size :]).strip() or text[:1]
            yield shorter
        size //= 2
