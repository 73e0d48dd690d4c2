"""Features that the run was told to require."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.judging.exchange_view import CaseView
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.model.footer import FeatureState
from rejoinder.model.verdict import Problem


@check("CAP-01", Subject.RUN, needs=lambda run: bool(run.run_context.required))
def required_features_are_there(run: CaseView) -> Iterator[Problem | Declined]:
    """For each feature that is required, a request of the run that uses it must have been accepted.

    One that was accepted and that no reply shows, though replies can, says nothing: the model may have chosen so.
    """
    for name, found in run.run_context.capabilities.items():
        if name not in run.run_context.required or found.state is FeatureState.SUPPORTED:
            continue
        if found.state is FeatureState.UNSEEN:
            yield Declined(f"{found.sentence}.")
        else:
            yield Problem(
                f"{found.sentence}, and it is required.",
                expected="supported",
                actual=found.state.value,
                kind=name,
                exchange=found.exchange,
            )
