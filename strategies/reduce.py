"""Making a failing body small with few requests.

Hypothesis shrinks by trying; against a real endpoint every try is a request that costs time and money. The reducer
here knows the contract instead: it takes away and simplifies whole parts of the body, screens every candidate with
the schema for free, and stops at a budget. What it returns may not be the smallest body, but it is one that still
fails and that a person can read.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema_rs

from rejoinder.contract import SchemaVariant, request_schema
from rejoinder.model.verdict import ABSENT

__all__ = ["Reduction", "minimise"]

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
    has that).
    """
    if valid is None:
        accepts = _generation().is_valid
        valid = accepts if accepts(body) else (lambda _: True)
    search = _Minimiser(copy.deepcopy(body), fails, valid, budget)
    search.run()
    return Reduction(search.body, search.calls, search.calls >= budget)


@cache
def _generation() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(request_schema(SchemaVariant.GENERATION))


class _Minimiser:
    def __init__(self, body: Any, fails: Callable[[Any], bool], valid: Callable[[Any], bool], budget: int) -> None:
        self.body = body
        self._fails = fails
        self._valid = valid
        self._budget = budget
        self.calls = 0
        self._seen = {_key(body)}

    def run(self) -> None:
        before = None
        # What one pass takes away can make room for another; two rounds without gain end it.
        while before != _key(self.body) and self.calls < self._budget:
            before = _key(self.body)
            self._coarse()
            self._drop_together()
            self._simplify()

    def _attempt(self, changes: list[_Change]) -> bool:
        """Apply the changes to the body and keep the result if it is valid, new and still fails."""
        if not changes or self.calls >= self._budget:
            return False
        candidate = _applied(self.body, changes)
        key = _key(candidate)
        if key in self._seen or not self._valid(candidate):
            return False
        self._seen.add(key)
        self.calls += 1
        if not self._fails(copy.deepcopy(candidate)):
            return False
        self.body = candidate
        return True

    def _coarse(self) -> None:
        """Try the two guesses that are right most often: only the input matters, or all but the input."""
        if not isinstance(self.body, dict):
            return
        self._attempt([((name,), ABSENT) for name in self.body if name != "input"])
        self._attempt([(("input",), "")])

    def _drop_together(self) -> None:
        """Take away list elements and fields, outermost first, in halves: a group that matters is divided."""
        level = 0
        while self.calls < self._budget:
            places = [path for path in _places(self.body) if len(path) == level + 1]
            if not places and not any(len(path) > level for path in _places(self.body)):
                return
            # What can be taken away at all is known from the schema, before anything is sent.
            loose = [path for path in places if self._can_go(path)]
            self._halve([(path, ABSENT) for path in loose])
            level += 1

    def _can_go(self, path: Path) -> bool:
        """Return whether the body is valid without one place; the body is changed in place and mended again."""
        holder = _holder(self.body, path)
        kept = copy.copy(holder)
        del holder[path[-1]]
        valid = self._valid(self.body)
        holder.clear()
        if isinstance(holder, dict):
            holder.update(kept)
        else:
            holder.extend(kept)
        return valid

    def _halve(self, changes: list[_Change]) -> None:
        if not changes or self._attempt(changes) or len(changes) == 1:
            return
        middle = len(changes) // 2
        # The later half first, so that the indexes of the earlier one stay right.
        self._halve(changes[middle:])
        self._halve(changes[:middle])

    def _simplify(self) -> None:
        """Replace what is left by simpler values: all at once, then in halves."""
        if self.calls >= self._budget:
            return
        changes = [(path, new) for path, value in _walk(self.body) if (new := _simpler(value)) is not ABSENT]
        self._halve([change for change in changes if self._valid(_applied(self.body, [change]))])
        for path, value in list(_walk(self.body)):
            for new in _smaller(value):
                if self._attempt([(path, new)]):
                    break


def _key(body: Any) -> str:
    return json.dumps(body, sort_keys=True)


def _applied(body: Any, changes: list[_Change]) -> Any:
    """Return a copy with every change made; list elements are taken away from the end, so that indexes hold."""
    result = copy.deepcopy(body)
    removals: list[Path] = []
    for path, new in changes:
        if new is ABSENT:
            removals.append(path)
        else:
            _holder(result, path)[path[-1]] = new
    for path in sorted(removals, key=lambda path: tuple(part if isinstance(part, int) else -1 for part in path))[::-1]:
        del _holder(result, path)[path[-1]]
    return result


def _holder(body: Any, path: Path) -> Any:
    for part in path[:-1]:
        body = body[part]
    return body


def _places(body: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the path of every list element and field, outermost first."""
    inner = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from _places(value, (*path, key))


def _walk(body: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every scalar with its path."""
    if isinstance(body, dict | list):
        for key, value in body.items() if isinstance(body, dict) else enumerate(body):
            yield from _walk(value, (*path, key))
    elif path:
        yield path, body


def _simpler(value: Any) -> Any:
    """Return the simplest value of the same type, ABSENT when it is that already."""
    simplest: Any = {str: "", bool: False, int: 0, float: 0}.get(type(value), ABSENT)
    return ABSENT if value == simplest and type(value) is type(simplest) else simplest


def _smaller(value: Any) -> Iterator[Any]:
    """Yield a few smaller values of a scalar that could not be made the simplest."""
    if isinstance(value, str) and len(value) > 1:
        for size in (1, len(value) // 8, len(value) // 4, len(value) // 2):
            if 0 < size < len(value):
                yield value[:size]
