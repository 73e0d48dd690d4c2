"""The cases that plans are made of, one module per subject."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.cases import (
    background,
    basic,
    content,
    echo,
    errors,
    features,
    isolation,
    meaning,
    parameters,
    probe,
    roundtrip,
    state,
    tools,
)
from rejoinder.conformance.cases._case import (
    ASKS_REPEAT,
    CANARY_SECONDS,
    ISOLATION,
    LONG,
    TINY,
    BodyOf,
    PathOf,
    Planned,
    PlannedCase,
    Replies,
    Setting,
    final_response,
    pauses,
    plain_and_streamed,
)

__all__ = [
    "ASKS_REPEAT",
    "CANARY_SECONDS",
    "ISOLATION",
    "LONG",
    "TINY",
    "BodyOf",
    "PathOf",
    "Planned",
    "PlannedCase",
    "Replies",
    "Setting",
    "features",
    "final_response",
    "pauses",
    "plain_and_streamed",
    "situations",
]


def situations(setting: Setting, plan: str) -> Iterator[PlannedCase]:
    """Yield the hand-made cases of a plan: the situations that rules speak of."""
    yield from probe.cases(setting)
    yield from basic.cases(setting, plan)
    yield from content.cases(setting, plan)
    yield from echo.cases(setting, plan)
    yield from errors.cases(setting, plan)
    yield from tools.cases(setting, plan)
    yield from roundtrip.cases(setting, plan)
    yield from state.cases(setting, plan)
    yield from background.cases(setting, plan)
    yield from meaning.cases(setting, plan)
    yield from parameters.cases(setting, plan)
    yield from isolation.cases(setting, plan)
