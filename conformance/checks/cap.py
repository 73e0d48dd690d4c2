"""Features that a run requires of the endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rejoinder.conformance.judging.exchange_view import CaseView
from rejoinder.conformance.judging.registry import Declined, Subject, check
from rejoinder.contract import load_features
from rejoinder.model.footer import Acceptance
from rejoinder.model.verdict import Problem

_LACKING: Final = (Acceptance.REFUSED, Acceptance.SERVER_ERROR, Acceptance.IGNORED)


@check("CAP-01", Subject.RUN, needs=lambda run: bool(run.run_context.required))
def required_features_are_there(run: CaseView) -> Iterator[Problem | Declined]:
    """Each required feature must be accepted.

    The rule fails for a feature that the endpoint refuses or fails on, if it accepts the same request without the
    feature, and for a feature that another rule shows to be ignored. It is declined for a feature of which nothing is
    proven: not sent, without a complete response, or refused only together with others. It is declined as well if a
    response could show the effect and none does: the model may have chosen so.
    """
    for name, found in run.run_context.capabilities.items():
        if name not in run.run_context.required:
            continue
        if found.state in _LACKING:
            yield Problem(
                f"{found.sentence} --require names this feature.",
                expected="accepted",
                actual=found.state.label,
                kind=name,
                exchange=found.exchange,
            )
        elif not found.state.is_accepted or (found.state is Acceptance.ACCEPTED and load_features()[name].can_show):
            yield Declined(found.sentence)
