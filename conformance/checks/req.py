"""Valid and invalid requests: other forms of what the endpoint accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from rejoinder.conformance.judging.context import Handling, Refusal, added_places
from rejoinder.conformance.judging.exchange_view import CaseView, ExchangeView
from rejoinder.conformance.judging.json_diff import first_difference
from rejoinder.conformance.judging.leniency import TestedFault, answers_basic, tested_faults
from rejoinder.conformance.judging.problems import get, in_exchange, quoted
from rejoinder.conformance.judging.registry import Subject, check
from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import is_refusal, status_code
from rejoinder.model.error_text import error_text
from rejoinder.model.exchange import Exchange
from rejoinder.model.tags import FaultKind, sent_for
from rejoinder.model.verdict import ABSENT, Problem
from rejoinder.validation import pointer_keys
from rejoinder.wire.query import decode_query

_WHAT: Final[Mapping[str, tuple[str, str]]] = {
    Role.MIRRORED: ("The same JSON with its fields in reverse order", "The request"),
    Role.SPACED: ("The same JSON with whitespace between its tokens", "The request"),
    Role.UNESCAPED: ("The same JSON with unescaped UTF-8 characters", "The request with escapes"),
    Role.ESCAPED: ("The same JSON with escaped letters", "The request"),
    Role.FRACTION: ("An integer with a zero fraction", "The same integer without it"),
    Role.STRING_CONTENT: ("A message with a string as content", "The same message with a list of parts"),
    Role.OUTPUT_MESSAGE: ("An assistant message as output message", "The same message with a string as content"),
    Role.OUTPUT_LIST: ("A tool output as list of parts", "The same output as string"),
    Role.TWO_PARTS: ("A message with two text parts", "The message with one part"),
    Role.TWO_MESSAGES: ("Two user messages in a row", "One user message"),
    Role.TWO_ANSWERS: ("Two assistant messages in a row", "One assistant message"),
    Role.TWO_TOOLS: ("A request with two function tools", "The request with one tool"),
    Role.TWO_CALLS: ("Two function calls in a row with their outputs", "One function call with its output"),
    Role.TWO_IMAGES: ("A message with two images", "The message with one image"),
    Role.IMAGE_IN_OUTPUT: ("An image in a tool output", "An image in a message"),
    Role.FILE_IN_OUTPUT: ("A file in a tool output", "A file in a message"),
    Role.SYSTEM_MESSAGE: ("A system message", "The same text as instructions"),
    Role.DEVELOPER_MESSAGE: ("A developer message", "The same text as instructions"),
    Role.NAMED_CHOICE: ("tool_choice that names the only tool", 'tool_choice "required"'),
}
"""What a request in a role sends, and what its control sends."""


def _pairs(case: CaseView, rule: str) -> list[tuple[ExchangeView, ExchangeView]]:
    """Return the accepted control and the other form of it, of the forms that were accepted or refused."""
    control = next((view for view in case.having(Role.CONTROL, Role.COMPLETE) if view.exchange.ok), None)
    if control is None or not case.id.startswith("forms."):
        return []
    tagged = [view for view in case.views if sent_for(rule) in view.exchange.tags and _is_form_of(control, view)]
    return [(control, view) for view in tagged if view.exchange.ok or is_refusal(status_code(view))]


def _is_form_of(control: ExchangeView, view: ExchangeView) -> bool:
    """Return whether two requests differ in the field that the role names, and in nothing else.

    The role of a form that was made from the request schema ends with the name of its field.
    """
    if view.exchange.role in _WHAT:
        return True
    field = view.exchange.role.rpartition(".")[2]
    return set(_differing_keys(control.request, view.request)) == {field}


def _differing_keys(one: Any, other: Any, key: str = "") -> Iterator[str]:
    """Yield the key of each field that differs, null from absent too; an element of a list has the key of the list."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in {**one, **other}:
            yield from _differing_keys(one.get(name, ABSENT), other.get(name, ABSENT), name)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for left, right in zip(one, other, strict=True):
            yield from _differing_keys(left, right, key)
    elif one != other:
        yield key


def _refused(case: CaseView, rule: str) -> Iterator[Problem]:
    for control, view in _pairs(case, rule):
        if view.exchange.ok:
            continue
        status, words = status_code(view), error_text(view.exchange)
        quoted_words = f': "{words}"' if words else ""
        refused, accepted = _words(control, view)
        yield in_exchange(
            view,
            f"{refused} is refused with status {status}{quoted_words}. {accepted} is accepted ({control.exchange.id}).",
            expected="2xx status",
            actual=status,
            kind=view.exchange.role,
        )


def _words(control: ExchangeView, view: ExchangeView) -> tuple[str, str]:
    """Return the request that was refused and the one that was accepted, each as the subject of a sentence."""
    if view.exchange.role in _WHAT:
        return _WHAT[view.exchange.role]
    difference = first_difference(control.request, view.request)
    if difference is None:
        *_, owner, field = view.exchange.role.split(".")  # null instead of a field that is absent
        return f"Null as {field} of {owner}", f"The same without {field}"
    pointer, before, after = difference
    holder, field = _place(pointer)
    return f"{holder} {_with(field, after)}", f"The same {_with(field, before)}"


def _place(pointer: str) -> tuple[str, str]:
    """Return the object that a field is in, as the subject of a sentence, and the name of the field."""
    *path, field = pointer_keys(pointer)
    holder = "".join(f"[{step}]" if step.isdigit() else f".{step}" for step in path).lstrip(".")
    return holder or "A request", field


def _with(field: str, value: Any) -> str:
    return f"without {field}" if value is ABSENT else f"with {field} {quoted(value)}"


@check("REQ-01", Subject.CASE, needs=lambda case: bool(_pairs(case, "REQ-01")))
def optional_fields_can_be_absent(case: CaseView) -> Iterator[Problem]:
    """Sends a request that the endpoint accepts again, each time without one of its optional fields.

    Forms are made from the request schema of the dialect. A 5xx or 501 is no problem of this rule.
    """
    return _refused(case, "REQ-01")


@check("REQ-02", Subject.CASE, needs=lambda case: bool(_pairs(case, "REQ-02")))
def optional_fields_can_be_present(case: CaseView) -> Iterator[Problem]:
    """Sends a request that the endpoint accepts again, each time with one more optional field.

    The values demand nothing: `status` completed, `detail` auto, `strict` false, an id, an empty list, a description.
    """
    return _refused(case, "REQ-02")


@check("REQ-03", Subject.CASE, needs=lambda case: bool(_pairs(case, "REQ-03")))
def nullable_fields_can_be_null(case: CaseView) -> Iterator[Problem]:
    """Sends a request that the endpoint accepts again, each time with null for one nullable field.

    ECH-08 tests the fields of the request itself, TOL-12 output items of the endpoint.
    """
    return _refused(case, "REQ-03")


def _refused_forms(run: CaseView, kind: str) -> list[tuple[Refusal, str, str]]:
    """Return the isolated refusals that are due to one optional field of an object inside a body.

    The kind is ``null`` or ``absent``: what the field is in the refused body. The accepted body has no such field, or
    has it. Each refusal has the place of the field and the name of the form. Forms that are disputed are left out.
    """
    found = []
    for refusal in run.run_context.refusals if run.views else ():
        before, after = refusal.accepted.request.json(), refusal.rejected.request.json()
        added, lost = refusal.added, added_places(after, before)
        dialect = run.views[0].dialect
        places, other = (added, lost) if kind == "null" else (lost, added)
        if refusal.handling is not Handling.REFUSED or len(places) != 1 or other or places[0].count("/") < 2:
            continue
        *path, field = pointer_keys(places[0])
        holder = get(after, *_steps(places[0])[:-1])
        value = get(holder, field)
        if value is not (None if kind == "null" else ABSENT) or not dialect.sound_requests.is_valid(_named(after)):
            continue
        owner = get(holder, "type")
        name = owner if isinstance(owner, str) else next((step for step in reversed(path) if not step.isdigit()), "")
        form = f"{kind}.{name}.{field}"
        if form not in dialect.request["disputed_forms"]:
            found.append((refusal, places[0], form))
    return found


def _steps(pointer: str) -> list[str | int]:
    return [int(step) if step.isdigit() else step for step in pointer_keys(pointer)]


def _named(body: Any) -> Any:
    """Return a body with a model, which some dialects require and some endpoints do not."""
    return {"model": "m", **body} if isinstance(body, dict) else body


def _isolated_rule(rule: str, kind: str) -> None:
    """Register the check of a rule on refusals that were isolated after the plan."""

    def isolated_forms_are_taken(run: CaseView) -> Iterator[Problem]:
        for refusal, pointer, form in _refused_forms(run, kind):
            holder, field = _place(pointer)
            words = f': "{refusal.words}"' if refusal.words else ""
            refused, accepted = (
                (None, ABSENT) if kind == "null" else (ABSENT, get(refusal.accepted.request.json(), *_steps(pointer)))
            )
            yield Problem(
                f"{holder} {_with(field, refused)} is refused with status {refusal.rejected.status}{words}. "
                f"The same {_with(field, accepted)} is accepted ({refusal.accepted.id}).",
                expected="2xx status",
                actual=refusal.rejected.status,
                kind=form,
                exchange=refusal.rejected.id,
            )

    isolated_forms_are_taken.__doc__ = (
        "Looks at the pairs of requests that isolate a refusal after the plan: one is refused, and the other differs "
        f"from it in one field, which {'is null in' if kind == 'null' else 'is absent from'} the refused one."
    )
    check(rule, Subject.RUN, needs=lambda run: bool(_refused_forms(run, kind)))(isolated_forms_are_taken)


_isolated_rule("REQ-01", "absent")
_isolated_rule("REQ-03", "null")


@check("REQ-04", Subject.CASE, needs=lambda case: bool(_pairs(case, "REQ-04")))
def lists_can_be_longer(case: CaseView) -> Iterator[Problem]:
    """Sends a request that the endpoint accepts again, with a second message, part, tool or call."""
    return _refused(case, "REQ-04")


@check("REQ-05", Subject.CASE, needs=lambda case: bool(_pairs(case, "REQ-05")))
def text_can_be_string_or_parts(case: CaseView) -> Iterator[Problem]:
    """Sends a message, an assistant message and a tool output in two forms. HTTP-04 tests the two forms of `input`."""
    return _refused(case, "REQ-05")


@check("REQ-06", Subject.CASE, needs=lambda case: bool(_pairs(case, "REQ-06")))
def content_is_taken_everywhere(case: CaseView) -> Iterator[Problem]:
    """Sends accepted content again in another place: an image and a file in a tool output, and instructions as a
    message.
    """
    return _refused(case, "REQ-06")


@check("REQ-07", Subject.CASE, needs=lambda case: bool(_pairs(case, "REQ-07")))
def json_can_be_written_otherwise(case: CaseView) -> Iterator[Problem]:
    """Sends one JSON value in five ways: as usual, with its fields in reverse order, with whitespace, with unescaped
    UTF-8 characters, and with escaped letters.
    """
    return _refused(case, "REQ-07")


@check("REQ-08", Subject.CASE, needs=lambda case: bool(_pairs(case, "REQ-08")))
def integers_can_have_a_fraction(case: CaseView) -> Iterator[Problem]:
    """Sends `max_output_tokens` as an integer, and as the same number with a zero fraction."""
    return _refused(case, "REQ-08")


@check("REQ-09", Subject.CASE, needs=lambda case: bool(_pairs(case, "REQ-09")))
def open_forms_are_taken(case: CaseView) -> Iterator[Problem]:
    """Sends a request that the endpoint accepts again, in forms that only some documents allow, with a second image,
    and with the name of the only tool as `tool_choice` instead of "required".
    """
    return _refused(case, "REQ-09")


_OF_HTTP: Final = (FaultKind.JSON, FaultKind.MEDIA)
"""Kinds of faults that HTTP-06 and HTTP-07 judge."""


def _faults(run: CaseView) -> list[TestedFault]:
    cases: dict[str, list[Exchange]] = {}
    for view in run.views:
        cases.setdefault(view.exchange.case, []).append(view.exchange)
    basic = answers_basic(view.exchange for view in run.views)
    found = (tested for case in cases.values() for tested in tested_faults(case, basic=basic))
    return [tested for tested in found if tested.kind not in _OF_HTTP]


@check("REQ-10", Subject.RUN, needs=lambda run: bool(_faults(run)))
def invalid_bodies_are_refused(run: CaseView) -> Iterator[Problem]:
    """Sends bodies with one fault that all documents of the dialect agree on. The endpoint accepts each without it.

    Bodies that only have unknown fields are not invalid. HTTP-06 and HTTP-07 test malformed JSON and content types.
    """
    for tested in _faults(run):
        if tested.answered:
            yield Problem(
                f"The endpoint answered an invalid body: {tested.kind.label}"
                f"{f' ({tested.place})' if tested.place else ''}.",
                expected="4xx status",
                actual=tested.exchange.status,
                kind=tested.kind.value,
                exchange=tested.exchange.id,
            )


def _documented(case: CaseView) -> list[tuple[ExchangeView, str, Any]]:
    """Return the accepted or refused requests for an operation, each with the one parameter or field that it adds.

    There are none unless the endpoint accepted the plainest request for the operation, in the role ``control``.
    """
    control = case.get(Role.CONTROL)
    if control is None or control.requested is None or not control.exchange.ok:
        return []
    found = []
    for view in case.views:
        status = status_code(view)
        if sent_for("REQ-11") not in view.exchange.tags or not (view.exchange.ok or is_refusal(status)):
            continue
        added = [pair for pair in _sent(view).items() if pair not in _sent(control).items()]
        if len(added) == 1 and _is_supported(view, *added[0]):
            found.append((view, *added[0]))
    return found


def _sent(view: ExchangeView) -> dict[str, Any]:
    """Return the query parameters and the body's fields of a request for an operation."""
    query = view.requested.operation.query if view.requested is not None else None
    text = view.exchange.request.path.partition("?")[2]
    return {**view.request, **({} if query is None else decode_query(text, query))}


def _is_supported(view: ExchangeView, name: str, value: Any) -> bool:
    """Return whether a refusal of a value says something of the operation.

    What create requests have as well must have been accepted there: the endpoint may lack the feature. Lists of items
    are not tested.
    """
    lists = isinstance(value, list)
    if name not in view.dialect.parameters:
        return not lists
    answered = [other.fields[name] for other in view.run_context.answered if other.fields.get(name) is not None]
    if lists:
        known = [entry for one in answered if isinstance(one, list) for entry in one]
        return all(entry in known for entry in value)
    return bool(answered) if isinstance(value, dict) else value in answered


@check("REQ-11", Subject.CASE, needs=lambda case: bool(_documented(case)))
def operations_take_what_is_documented(case: CaseView) -> Iterator[Problem]:
    """Sends the plainest request for each operation, and then each query parameter and field alone.

    Parameters have every value of an enumeration and both ends of a range. What create requests have as well is tested
    only with values that the endpoint accepts there. A 5xx is no problem of this rule.
    """
    for view, name, value in _documented(case):
        if not view.exchange.ok:
            words = error_text(view.exchange)
            status = status_code(view)
            yield in_exchange(
                view,
                f"{name} {quoted(value)} of {view.operation} is refused with status {status}"
                f"{f': {quoted(words)}' if words else ''}. The request without it is accepted.",
                expected="2xx status",
                actual=status,
                kind=f"{view.operation} {name}",
            )
