"""A stream with multi-byte text."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import ROOMY, CaseContext, PlannedCase, single, user


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the case of every plan."""
    text = user("Repeat this: Grüße aus Köln, 日本語, naïve café 🙂.")
    yield single(
        "stream.multibyte",
        "A stream of non-ASCII text.",
        context.body(input=text, max_output_tokens=ROOMY, stream=True),
        role=Role.STREAM,
    )
