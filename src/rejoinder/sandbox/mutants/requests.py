"""Operators on what is done with a request: a branch of its contract is refused, or does not reach the model.

A place is a branch as :mod:`rejoinder.contract.branches` writes it. Branches that are always taken together at the same
places are one place, with the name of the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, Final

from rejoinder.contract import Dialect
from rejoinder.contract.branches import Branches, split
from rejoinder.json_copy import copy_json
from rejoinder.model.exchange import Exchange, parse_json
from rejoinder.model.tags import Tag
from rejoinder.sandbox.endpoint.generate import ResolvedRequest, base_response
from rejoinder.sandbox.endpoint.reply import ApiError, RequestInfo
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.mutants.mutant import CleanRun, Operator, PlaceLog, Places, numbered
from rejoinder.validation import pointer_keys

_PASSIVE: Final = ("absent", "null")
_OF_RUN: Final = ("id", "object", "created_at", "status", "completed_at", "error", "incomplete_details", "model")
_RESULTS: Final = ("output", "usage")
_UNHEARD: Final = ("model", "stream", "store", "background", "previous_response_id", "conversation", "input")
"""Parameters that other operators are for, or without which there is nothing to answer."""


@cache
def _branches(dialect: str) -> Branches:
    return Branches.of_dialect(dialect)


@cache
def _taken(dialect: str, body: bytes) -> Mapping[str, frozenset[str]]:
    """Return the branches that a request body takes, each with the pointers at which it does."""
    return {name: frozenset(at) for name, at in _branches(dialect).places(parse_json(body)).items()}


def _creates(clean: CleanRun) -> Iterable[tuple[int, Exchange]]:
    """Yield the create requests that are valid beyond dispute and were answered."""
    for number, exchange in numbered(clean):
        path = exchange.request.path.partition("?")[0]
        if exchange.status == 200 and Tag.VALID in exchange.tags and path.endswith("/responses"):
            yield number, exchange


def _distinct(clean: CleanRun) -> Mapping[str, Sequence[int]]:
    """Return the numbers of the requests that take each branch, of branches that are always taken together one."""
    places: dict[str, set[tuple[int, str]]] = {}
    dialect = clean.dialect.reference
    for number, exchange in _creates(clean):
        for name, pointers in _taken(dialect, exchange.request.body).items():
            places.setdefault(name, set()).update((number, pointer) for pointer in pointers)
    firsts: dict[frozenset[tuple[int, str]], str] = {}
    for name in sorted(places):
        firsts.setdefault(frozenset(places[name]), name)
    return {name: sorted({number for number, _ in taken}) for taken, name in firsts.items()}


def _logged(clean: CleanRun, found: Mapping[str, Iterable[int]]) -> Places:
    log = PlaceLog()
    for place, numbers in found.items():
        for number in numbers:
            log.add_all([place], number, clean.exchanges[number].case)
    return log.found


# Refusals


def _refused_places(clean: CleanRun) -> Places:
    # To be without an optional parameter is what nearly every request does.
    found = {
        name: numbers
        for name, numbers in _distinct(clean).items()
        if split(name)[1] != "absent" or "." in split(name)[0]
    }
    return _logged(clean, found)


def _refused_hooks(place: str, dialect: Dialect, *, status: int) -> Mapping[str, Any]:
    _check(place, dialect)

    def refuse(body: Json, info: RequestInfo) -> Json:
        if place in _taken(dialect.reference, info.request.body):
            raise ApiError(status, "The request cannot be processed.", code=None)
        return body

    return {"request": refuse}


def _check(place: str, dialect: Dialect) -> None:
    if place not in _branches(dialect.reference).all:
        raise ValueError(f"{place!r} is no branch of the request contract")


# What does not reach the model


def without(body: Json, pointers: Iterable[str]) -> Json:
    """Return a request body without what stands at these pointers."""
    body = copy_json(body)
    # From the end, since places in lists move up when one is deleted.
    for keys in sorted((_keys(pointer) for pointer in pointers), key=repr, reverse=True):
        owner: Any = body
        for key in keys[:-1]:
            owner = owner[int(key)] if isinstance(owner, list) else owner[key]
        if isinstance(owner, list):
            del owner[int(keys[-1])]
        else:
            owner.pop(keys[-1], None)
    return body


def _keys(pointer: str) -> list[str]:
    return [key.rjust(6, "0") if key.isdecimal() else key for key in pointer_keys(pointer)]


def _unheard_places(clean: CleanRun, *, of_input: bool) -> Places:
    found: dict[str, list[int]] = {}
    dialect = clean.dialect
    for name, numbers in _distinct(clean).items():
        path, choice = split(name)
        field = path.partition("[")[0].partition(".")[0].partition("=")[0]
        if choice in _PASSIVE or of_input is not (field == "input") or (not of_input and field in _UNHEARD):
            continue
        for number in numbers:
            body = parse_json(clean.exchanges[number].request.body)
            pointers = _taken(dialect.reference, clean.exchanges[number].request.body)[name]
            if all(pointer.count("/") > 1 or not of_input for pointer in pointers):
                left = without(body, pointers)
                if left != body and dialect.possible_requests.is_valid(left):
                    found.setdefault(name, []).append(number)
    return _logged(clean, found)


def _unheard_hooks(place: str, dialect: Dialect) -> Mapping[str, Any]:
    """Return the hooks that answer a request without a branch and repeat it as if nothing were missing."""
    _check(place, dialect)
    echoes: dict[str, Json] = {}

    def resolve(resolved: ResolvedRequest, info: RequestInfo) -> ResolvedRequest:
        pointers = _taken(dialect.reference, info.request.body).get(place, frozenset())
        whole = base_response(resolved, dialect)
        heard = without({**resolved.body}, pointers) if pointers else resolved.body
        given = heard.get("input")
        items = list(resolved.items)
        if isinstance(given, list) and given != resolved.body.get("input"):
            history = items[: len(items) - len(resolved.fresh)]
            items = [*history, *given] if len(history) + len(resolved.fresh) == len(items) else items
        if pointers:
            echoes[resolved.id] = {name: whole[name] for name in whole if name not in (*_OF_RUN, *_RESULTS)}
        return replace(resolved, body=heard, items=items)

    def restore(response: Json, _: str, info: RequestInfo) -> None:
        response.update(copy_json(echoes.get(str(response.get("id")), {})))

    return {"resolved": resolve, "response": restore}


OPERATORS: Final = (
    *(
        Operator(
            f"refused-{status}",
            f"What the contract allows is refused with status {status}",
            _refused_places,
            partial(_refused_hooks, status=status),
        )
        for status in (400, 422, 500)
    ),
    Operator(
        "input-unheard",
        "Something of the input does not reach the model",
        partial(_unheard_places, of_input=True),
        _unheard_hooks,
    ),
    Operator(
        "parameter-ignored",
        "A parameter is repeated and has no effect",
        partial(_unheard_places, of_input=False),
        _unheard_hooks,
    ),
)
"""The operators on requests."""
