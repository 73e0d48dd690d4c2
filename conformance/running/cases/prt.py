"""Content parts with annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rejoinder.conformance.running.case import ROOMY, CaseContext, PlannedCase, plain_and_streamed, user
from rejoinder.contract.examples import CITED_MESSAGE


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the case of the plan ``full``."""
    if plan == "full":
        cited = [_with_annotations(context), *user("Say it again, with your sources.")]
        yield plain_and_streamed(
            "content.annotations",
            "A message with citations, and a prompt to repeat it.",
            context.body(input=cited, max_output_tokens=ROOMY),
        )


def _with_annotations(context: CaseContext) -> dict[str, Any]:
    """Return a message with the citations that the dialect has."""

    def holding(annotations: Sequence[Any]) -> dict[str, Any]:
        [part] = CITED_MESSAGE["content"]
        return {**CITED_MESSAGE, "content": [{**part, "annotations": list(annotations)}]}

    every = CITED_MESSAGE["content"][0]["annotations"]
    return holding([one for one in every if context.allows({"model": "m", "input": [holding([one])]})])
