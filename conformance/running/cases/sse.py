"""Streams that are hard to frame."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import CaseContext, PlannedCase, RequestSpec, user


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the case of every plan."""
    yield PlannedCase(
        "stream.multibyte",
        "A streamed answer with letters outside of ASCII, which split badly.",
        (
            RequestSpec(
                Role.STREAM,
                context.body(
                    input=user("Repeat this: Grüße aus Köln, 日本語, naïve café 🙂."), max_output_tokens=64, stream=True
                ),
            ),
        ),
    )
