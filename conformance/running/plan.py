"""Plans: which requests a check run sends.

A plan is a list of cases. Bodies come from ``rejoinder.strategies``, or from ``rejoinder.conformance.running.cases``
where a rule needs a particular situation (a stream, a call, a cut, a refusal).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from rejoinder.conformance.judging.official import PLAN as OFFICIAL
from rejoinder.conformance.judging.official import load_suite, suite_of
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import LONG, TINY, CaseContext, PlannedCase, RequestSpec, plain_and_streamed
from rejoinder.conformance.running.cases import cap, handwritten_cases
from rejoinder.contract import Dialect
from rejoinder.errors import UsageError
from rejoinder.model.base_form import BaseForm
from rejoinder.model.tags import Tag
from rejoinder.strategies import EndpointProfile, each_choice
from rejoinder.wire.base_form import fit_body

PLAN_NAMES: Final = ("smoke", "quick", "full")
"""The plans that every dialect has, the smallest first."""


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
    form: BaseForm | None = None,
    models: tuple[str, ...] = (),
) -> Plan:
    """Return a plan for an endpoint with that model (``None``: requests name no model) that takes requests of a form.

    ``form`` is by default the usual one of the dialect. ``models`` are those that the endpoint lists.

    ``smoke``: is this a Responses endpoint, does it stream right (about 17 requests). ``quick``: every input variant in
    its simplest form, plain and streamed. ``full``: every branch of the contract, one instance of an item at a time,
    plain and streamed. ``official``: the requests of the compliance suite that is published with the dialect, as they
    are. Raises :class:`UsageError` for another name, and for a dialect that has no suite.
    """
    if name == OFFICIAL:
        return Plan(name, tuple(_suite_cases(dialect, model)))
    if name not in PLAN_NAMES:
        raise UsageError(f'"{name}" is not a test plan.', f"Use one of {', '.join([*PLAN_NAMES, OFFICIAL])}.")
    form = dialect.usual_form if form is None else form
    context = CaseContext(dialect, model, form=form, models=models)
    written = (_in_usual_form(case, context) for case in handwritten_cases(context, name))
    cases = [case for case in written if is_undisputed(case, context)]
    if name == "full":
        cases.extend(cap.feature_cases(context, cases))
    if name != "smoke":
        profile = EndpointProfile(dialect=dialect.reference, model=model, max_output_tokens=TINY)
        generated = each_choice("variant" if name == "quick" else "item", profile=profile)
        cases.extend(plain_and_streamed(case.id, case.intent, case.body) for case in generated)
    if name == "full":
        cases = counted_too(cases, dialect)
    return Plan(name, tuple(cases))


_COUNTED: Final = 40
"""How many cases of generated bodies the plan ``full`` sends to the input_tokens operation as well."""


def counted_too(cases: Sequence[PlannedCase], dialect: Dialect) -> list[PlannedCase]:
    """Return the cases, of which some send their body to the input_tokens operation as well, if the dialect has it.

    They are spread evenly over those that send one valid body plain and streamed. The fields that the operation lacks,
    such as ``stream``, are left out.
    """
    operation = dialect.operations.get("input_tokens")
    fields = ((operation.body if operation else None) or {}).get("properties", {})
    places = [place for place, case in enumerate(cases) if _is_pair(case)] if fields else []
    step = max(1, len(places) // _COUNTED)
    chosen = frozenset(places[::step][:_COUNTED])

    def counted(case: PlannedCase) -> PlannedCase:
        sent: Any = case.requests[0].body
        body = {field: value for field, value in sent.items() if field in fields}
        count = RequestSpec(Role.COUNT, body, (), path=("input_tokens",))
        return replace(case, requests=(*case.requests, count))

    return [counted(case) if place in chosen else case for place, case in enumerate(cases)]


def _is_pair(case: PlannedCase) -> bool:
    """Whether a case sends one valid body plain and streamed, and nothing else."""
    roles = [request.role for request in case.requests]
    first = case.requests[0]
    return roles == [Role.PLAIN, Role.STREAM] and Tag.VALID in first.tags and isinstance(first.body, dict)


def _suite_cases(dialect: Dialect, model: str | None) -> Iterator[PlannedCase]:
    """Yield the cases of the official suite that are sent. No base form changes their bodies."""
    suite = suite_of(dialect)
    if suite is None:
        raise UsageError(
            f"Plan {OFFICIAL} needs a dialect with an official compliance suite, and {dialect.label} has none.",
            f"Use --dialect {load_suite().dialect}.",
        )
    for case in suite.cases:
        if case.body is None:
            continue
        named = {"model": model} if case.model and model is not None else {}
        body = {**named, **case.body, **({"stream": True} if case.streamed else {})}
        create = not case.path
        request = RequestSpec(
            Role.STREAM if case.streamed else Role.PLAIN if create else case.path,
            body,
            (Tag.VALID,) if create else (),
            path=() if create else (case.path,),
            keeps=("input", "max_output_tokens", "stream"),
        )
        yield PlannedCase(case.id, f"{case.title}, from the {suite.name}.", (request,))


def _in_usual_form(case: PlannedCase, context: CaseContext) -> PlannedCase:
    """Return the case with its create bodies in the usual form of the dialect; those made of replies get it when sent.

    So whatever compares the bodies of a plan with the request schema finds nothing in them that is never sent.
    """
    return replace(
        case,
        requests=tuple(
            spec
            if callable(spec.body) or spec.path
            else replace(spec, body=fit_body(spec.body, context.dialect.usual_form, {}, keeps=spec.keeps))
            for spec in case.requests
        ),
    )


def is_undisputed(case: PlannedCase, context: CaseContext) -> bool:
    """Return whether what the case calls valid is valid in the dialect; what only another dialect has is not sent."""
    bodies = [request.body for request in case.requests if Tag.VALID in request.tags and isinstance(request.body, dict)]
    return all(context.allows(body) for body in bodies)


def _cap(body: Any) -> int:
    if callable(body):
        return LONG
    cap = body.get("max_output_tokens") if isinstance(body, dict) else 0
    return cap if isinstance(cap, int) else 0
