"""Features that the run was told to require."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.course import State
from rejoinder.conformance.registry import Declined, On, check
from rejoinder.conformance.view import Case
from rejoinder.verdict import Problem


@check("CAP-01", On.RUN, needs=lambda run: bool(run.course.required))
def required_features_are_there(run: Case) -> Iterator[Problem | Declined]:
    """For each feature that is required, a request of the run that uses it must have been accepted.

    One that was accepted and that no reply shows, though replies can, says nothing: the model may have chosen so.
    """
    for name, found in run.course.capabilities.items():
        if name not in run.course.required or found.state is State.SUPPORTED:
            continue
        if found.state is State.UNSEEN:
            yield Declined(f"{found.sentence}.")
        else:
            yield Problem(
                f"{found.sentence}, and it is required.",
                expected="supported",
                actual=found.state.value,
                kind=name,
                exchange=found.exchange,
            )
