"""What a freedom is: something that a dialect leaves open, and that the sandbox can do differently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from inspect import getdoc
from typing import Any

from rejoinder.contract import Citation, cite
from rejoinder.sandbox.fault import Function, Variation

__all__ = ["Freedom", "FreedomList", "cite", "conflicts"]


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


def conflicts(freedoms: Iterable[Freedom]) -> Iterator[tuple[Freedom, Freedom]]:
    """Yield the pairs of freedoms that exclude each other."""
    seen: list[Freedom] = []
    for freedom in freedoms:
        yield from ((other, freedom) for other in seen if not other.allows(freedom))
        seen.append(freedom)
