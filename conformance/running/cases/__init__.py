"""The cases that plans are made of, one module per subject."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.running.case import (
    LONG,
    TINY,
    BodyOf,
    CaseContext,
    PathOf,
    PlannedCase,
    Replies,
    RequestSpec,
    final_response,
    pauses,
    plain_and_streamed,
)
from rejoinder.conformance.running.cases import (
    basic,
    bgr,
    content,
    ech,
    err,
    features,
    iso,
    mem,
    par,
    probe,
    roundtrip,
    sta,
    tol,
)

__all__ = [
    "LONG",
    "TINY",
    "BodyOf",
    "CaseContext",
    "PathOf",
    "PlannedCase",
    "Replies",
    "RequestSpec",
    "features",
    "final_response",
    "handwritten_cases",
    "pauses",
    "plain_and_streamed",
]


def handwritten_cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the hand-made cases of a plan: the situations that rules speak of."""
    yield from probe.cases(context)
    yield from basic.cases(context, plan)
    yield from content.cases(context, plan)
    yield from ech.cases(context, plan)
    yield from err.cases(context, plan)
    yield from tol.cases(context, plan)
    yield from roundtrip.cases(context, plan)
    yield from sta.cases(context, plan)
    yield from bgr.cases(context, plan)
    yield from mem.cases(context, plan)
    yield from par.cases(context, plan)
    yield from iso.cases(context, plan)
