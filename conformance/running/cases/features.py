"""A request for each feature that no other case asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rejoinder.conformance.running.case import CaseContext, PlannedCase, plain_and_streamed
from rejoinder.contract import features_of
from rejoinder.model.tags import Tag


def cases(context: CaseContext, others: Iterable[PlannedCase]) -> Iterator[PlannedCase]:
    """Yield a case for each feature of the dialect that no valid request of these other cases uses."""
    bodies = [
        request.body
        for case in others
        for request in case.requests
        if Tag.VALID in request.tags and isinstance(request.body, dict)
    ]
    for feature in features_of(context.dialect):
        if feature.example and feature.name != "chaining" and not any(feature.is_used(body) for body in bodies):
            yield plain_and_streamed(
                f"feature.{feature.name}",
                f"A request with {feature.title}.",
                context.body(**{"input": "Say hello.", **feature.example}),
            )
