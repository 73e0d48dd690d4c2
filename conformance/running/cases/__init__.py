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
from rejoinder.extensions import Extension, extensions

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
    """Yield the hand-made cases of a plan, those of extensions last: the situations that rules speak of."""
    taken = set()
    for case in _shipped_cases(context, plan):
        taken.add(case.id)
        yield case
    for extension in extensions():
        for case in _own_cases(extension, context, plan):
            if case.id in taken:
                raise extension.error("cases", f"the case id {case.id} is taken")
            taken.add(case.id)
            yield case


def _shipped_cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
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


def _own_cases(extension: Extension, context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of an extension; raises :class:`ExtensionError` for what is none of its own."""
    module = extension.load("cases")
    if module is None:
        return
    try:
        found = list(module.cases(context, plan))
    except Exception as error:
        raise extension.error_in("cases", error) from error
    for case in found:
        if not isinstance(case, PlannedCase) or not case.id.startswith(f"{extension.name}."):
            raise extension.error("cases", f"{case!r} is no PlannedCase whose id begins with {extension.name}.")
        yield case
