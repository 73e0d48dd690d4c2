"""What only a run as a whole shows: what its model can do, and which features its endpoint has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the model has shown that it can do: ``True`` shown, ``False`` asked for and not shown, ``None`` not tried.

    ``repeats``: it said a planted word again. ``calls``: it called a tool that the client runs. ``follows_schema``: it
    answered in the form of a JSON Schema. ``evidence`` holds, by ability, the id of the exchange that says so.
    """

    repeats: bool | None = None
    calls: bool | None = None
    follows_schema: bool | None = None
    evidence: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(slots=True)
class Course:
    """What all exchanges of a run have in common; checks read it where one exchange alone says too little."""

    abilities: Abilities = Abilities()


ALONE: Final = Course()
"""The course of an exchange that is judged by itself: nothing has been shown."""
