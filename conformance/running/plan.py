"""Plans: which requests a check run sends.

A plan is a list of cases. Bodies come from ``rejoinder.strategies``, or from ``rejoinder.conformance.running.cases``
where a rule needs a particular situation (a stream, a call, a cut, a refusal).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from rejoinder.conformance.running.case import LONG, TINY, CaseContext, PlannedCase, plain_and_streamed
from rejoinder.conformance.running.cases import cap, handwritten_cases
from rejoinder.contract import Dialect, SchemaVariant
from rejoinder.errors import UsageError
from rejoinder.model.base_form import USUAL_FORM, BaseForm
from rejoinder.model.tags import Tag
from rejoinder.strategies import EndpointProfile, each_choice
from rejoinder.validation import Validator

PLAN_NAMES: Final = ("smoke", "quick", "full")


@dataclass(frozen=True, slots=True)
class Plan:
    """A named list of cases with their upper cost."""

    name: str
    cases: tuple[PlannedCase, ...] = field(repr=False)

    @property
    def requests(self) -> int:
        """How many requests the plan sends at most."""
        return sum(len(case.requests) for case in self.cases)

    @property
    def output_tokens(self) -> int:
        """An upper bound of the tokens that the plan has generated, if what must be refused is."""
        sent = (request for case in self.cases for request in case.requests)
        return sum(_cap(request.body) for request in sent if Tag.VALID in request.tags)


def build_plan(
    name: str,
    dialect: Dialect,
    *,
    model: str | None = None,
    form: BaseForm = USUAL_FORM,
    models: tuple[str, ...] = (),
) -> Plan:
    """Return a plan for an endpoint with that model (``None``: requests name no model) that takes requests of a form.

    ``models`` are those that the endpoint lists.

    ``smoke``: is this a Responses endpoint, does it stream right (about 17 requests). ``quick``: every input variant in
    its simplest form, plain and streamed. ``full``: every branch of the contract, one instance of an item at a time,
    plain and streamed. Raises :class:`UsageError` for another name.
    """
    if name not in PLAN_NAMES:
        raise UsageError(f'"{name}" is not a test plan.', f"Use one of {', '.join(PLAN_NAMES)}.")
    sound = Validator(dialect.request_schema(SchemaVariant.GENERATION))
    context = CaseContext(dialect, model, form=form, models=models)
    cases = [case for case in handwritten_cases(context, name) if _is_undisputed(case, sound)]
    if name == "full":
        cases.extend(cap.feature_cases(context, cases))
    if name != "smoke":
        profile = EndpointProfile(dialect=dialect.reference, model=model, max_output_tokens=TINY)
        generated = each_choice("variant" if name == "quick" else "item", profile=profile)
        cases.extend(plain_and_streamed(case.id, case.intent, case.body) for case in generated)
    return Plan(name, tuple(cases))


def _is_undisputed(case: PlannedCase, sound: Validator) -> bool:
    """Whether what the case calls valid is valid in the dialect; what only another dialect has is not sent."""
    bodies = [request.body for request in case.requests if Tag.VALID in request.tags and isinstance(request.body, dict)]
    return all(sound.is_valid(body) for body in bodies)


def _cap(body: Any) -> int:
    if callable(body):
        return LONG
    cap = body.get("max_output_tokens") if isinstance(body, dict) else 0
    return cap if isinstance(cap, int) else 0
