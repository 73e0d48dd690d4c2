"""What a generated mutant is, and what an operator that makes mutants is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rejoinder.contract import Dialect, load_dialect
from rejoinder.model.exchange import Exchange
from rejoinder.sandbox.fault import Variation

SEEN_AT: Final = 16
"""At how many exchanges of the clean run it is kept that they can see a mutant."""


@dataclass(frozen=True, kw_only=True)
class SandboxMutant(Variation):
    """One generated defect of the sandbox: an ``operator`` applied to a ``place``. Its id is made of both.

    ``of_reply`` says that it changes nothing but replies, and those by their bytes and the replies before them alone.
    """

    operator: str
    place: str
    of_reply: bool = False


@dataclass(frozen=True, slots=True)
class CleanRun:
    """The exchanges of a run against the sandbox without faults, in the order in which they were sent."""

    dialect: Dialect
    exchanges: Sequence[Exchange]


Places = Mapping[str, Sequence[int]]
"""Places, each with the numbers of exchanges of the clean run that can see a mutant there."""


@dataclass(frozen=True, slots=True)
class Operator:
    """One way to make mutants.

    ``places`` finds in a clean run where it can be applied, ``hooks`` returns the hooks of the mutant at a place, as
    fields of :class:`~rejoinder.sandbox.fault.Variation`. It raises :class:`ValueError` for what is no place.
    """

    name: str
    title: str
    places: Callable[[CleanRun], Places]
    hooks: Callable[[str, Dialect], Mapping[str, Any]]

    def mutant(self, place: str, dialect: str) -> SandboxMutant:
        """Return the mutant at a place; raises :class:`ValueError` for what is no place."""
        hooks = self.hooks(place, load_dialect(dialect))
        return SandboxMutant(
            id=f"{self.name}:{place}",
            title=f"{self.title} ({place}).",
            operator=self.name,
            place=place,
            of_reply=hooks.keys() <= {"reply"},
            **hooks,
        )


@dataclass(slots=True)
class PlaceLog:
    """Collects the places of an operator: for each the first exchanges that see it, of as many cases as possible."""

    found: dict[str, list[int]] = field(default_factory=dict)
    _cases: dict[str, set[str]] = field(default_factory=dict)

    def wants(self, place: str, case: str) -> bool:
        """Return whether another exchange of a case is still of use."""
        return len(self.found.get(place, ())) < SEEN_AT and case not in self._cases.get(place, ())

    def add(self, place: str, number: int, case: str) -> None:
        """Take down that the exchange of that number sees the place."""
        self.found.setdefault(place, []).append(number)
        self._cases.setdefault(place, set()).add(case)

    def add_all(self, places: Iterable[str], number: int, case: str) -> None:
        """Take down that the exchange of that number sees these places."""
        for place in places:
            if self.wants(place, case):
                self.add(place, number, case)


def numbered(clean: CleanRun) -> Iterator[tuple[int, Exchange]]:
    """Yield the exchanges of a clean run that got a reply, with their numbers."""
    return ((number, one) for number, one in enumerate(clean.exchanges) if one.status is not None)
