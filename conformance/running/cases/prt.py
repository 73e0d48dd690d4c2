"""Content parts with annotations."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.running.case import ROOMY, CaseContext, PlannedCase, plain_and_streamed, user
from rejoinder.contract.examples import CITED_MESSAGE


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the case of the plan ``full``."""
    if plan == "full":
        yield plain_and_streamed(
            "content.annotations",
            "A message with citations, and a prompt to repeat it.",
            context.body(input=[CITED_MESSAGE, *user("Say it again, with your sources.")], max_output_tokens=ROOMY),
        )
