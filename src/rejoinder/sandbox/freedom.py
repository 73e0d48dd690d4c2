"""What a freedom is: something that a dialect leaves open, and that the sandbox can do differently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

from rejoinder.contract import Citation, cite
from rejoinder.json_copy import copy_json
from rejoinder.sandbox.endpoint.reply import RequestInfo
from rejoinder.sandbox.endpoint.store import Store, Stored
from rejoinder.sandbox.endpoint.tokens import Json
from rejoinder.sandbox.fault import ErrorHook, Function, Variation, has_code

__all__ = ["Freedom", "FreedomList", "cite", "conflicts", "defaults", "refused_with"]


@dataclass(frozen=True, kw_only=True)
class Freedom(Variation):
    """One thing that a correct endpoint of these dialects may do, and that no rule may accuse.

    ``sources`` are the documents that leave it open; ``argument`` says what was searched where they only stay silent.
    ``choice`` names the question that it answers: of two freedoms with the same choice an endpoint has only one.
    ``excludes`` names other freedoms that it cannot be combined with.
    """

    sources: tuple[Citation, ...] = ()
    argument: str = ""
    choice: str = ""
    excludes: tuple[str, ...] = ()

    def allows(self, other: Freedom) -> bool:
        """Return whether an endpoint can have both."""
        if self.choice and self.choice == other.choice:
            return False
        return self.id not in other.excludes and other.id not in self.excludes


class FreedomList(list[Freedom]):
    """The freedoms of one module: rows, and functions to which :meth:`add` gives an id."""

    def __init__(self, *freedoms: Freedom) -> None:
        super().__init__(freedoms)

    def add(self, id: str, *sources: Citation, hook: str, **fields: Any) -> Callable[[Function], Function]:
        """Return a decorator that adds a freedom with the function as a hook and its docstring as title.

        ``hook`` names the field of the freedom that the function is for. ``fields`` are other fields of the freedom.
        """

        def decorate(function: Function) -> Function:
            fields[hook] = function
            self.append(Freedom(id=id, title=getdoc(function) or "", sources=sources, **fields))
            return function

        return decorate


def refused_with(status: int, *codes: str, **fields: Any) -> ErrorHook:
    """Return a hook that refuses with another status where the code is one of these, and with a type that fits it.

    ``fields`` are other fields of the error.
    """

    def hook(given: int, body: Any, info: RequestInfo) -> tuple[int, Any]:
        if not has_code(body, *codes):
            return given, body
        kinds = info.dialect.response["error_types"]
        kind = "server_error" if status >= 500 else kinds.get("400", "invalid_request_error")
        return status, {"error": {**body["error"], "type": kind, **fields}}

    return hook


def defaults(values: Mapping[str, Any], when: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
    """Return the hooks that give fields of the response these values where the request leaves them out or null.

    ``when`` gets the body of the request and says whether to do so.
    """

    def change(response: Json, info: RequestInfo) -> None:
        for name, value in values.items():
            if name in response and info.operation == "create" and info.body.get(name) is None and when(info.body):
                response[name] = copy_json(value)

    def keep(stored: Stored, _: Store, info: RequestInfo) -> None:
        for response in (stored.response, stored.running):
            change(response, info)

    return {"response": lambda response, _, info: change(response, info), "on_store": keep}


def conflicts(freedoms: Iterable[Freedom]) -> Iterator[tuple[Freedom, Freedom]]:
    """Yield the pairs of freedoms that exclude each other."""
    seen: list[Freedom] = []
    for freedom in freedoms:
        yield from ((other, freedom) for other in seen if not other.allows(freedom))
        seen.append(freedom)
