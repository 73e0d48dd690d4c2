"""Features that a run requires of the endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.judging.exchange_view import CaseView
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.model.footer import FeatureState
from rejoinder.model.verdict import Problem


@check("CAP-01", Subject.RUN, needs=lambda run: bool(run.run_context.required))
def required_features_are_there(run: CaseView) -> Iterator[Problem | Declined]:
    """For each required feature, the endpoint must have accepted a request that uses it.

    If it accepted the request but no response shows the feature, the rule is declined: the model may have chosen so.
    """
    for name, found in run.run_context.capabilities.items():
        if name not in run.run_context.required or found.state is FeatureState.SUPPORTED:
            continue
        if found.state is FeatureState.UNSEEN:
            yield Declined(found.sentence)
        else:
            yield Problem(
                f"{found.sentence} --require names this feature.",
                expected="supported",
                actual=found.state.value,
                kind=name,
                exchange=found.exchange,
            )
