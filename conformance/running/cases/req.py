"""Pairs of requests: one that uses a feature, and other valid forms of it that differ from the first in one thing.

Each case has a control and its variants. A variant is made from the body of the control as it was sent, and only if the
endpoint accepted that. So a pair stays a pair however the control is changed, and a feature that the endpoint lacks
costs one request.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.judging.turns import is_refusal
from rejoinder.conformance.running.case import (
    TIME_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    mirrored,
    user,
)
from rejoinder.conformance.running.operations import generated_cases
from rejoinder.contract.examples import IMAGE_URL
from rejoinder.model.tags import Tag, sent_for
from rejoinder.strategies import EndpointProfile, Form, FormSeed, changed, form_seeds, forms
from rejoinder.wire.base_form import fit_body

Body = dict[str, Any]
Change = Callable[[Body], Any]
"""Makes a variant of a body, exact bytes perhaps; ``None`` where there is nothing to change."""

RULES: Final[Mapping[str, str]] = {"absent": "REQ-01", "present": "REQ-02", "null": "REQ-03"}
"""The rule for each kind of form that is made from the request schema."""

OPEN: Final = "REQ-09"
"""The rule for forms that the documents leave open."""

_KEPT: Final = ("input",)
"""The fields that the requests are about: no base form changes them."""

_QUICK_KINDS: Final = ("absent", "present")
_FULL_ONLY: Final = frozenset(
    (Role.MIRRORED, Role.TWO_IMAGES, "absent.function.parameters", "present.function_call_output.status")
)
"""Roles that ``quick`` leaves out."""

_TEXT_FILE: Final = "data:text/plain;base64,SGVsbG8u"


@dataclass(frozen=True, slots=True)
class Variant:
    """Another form of a request: the role that it has in its case, the rule that it is sent for, and the change.

    ``of`` is the role of the request that it is a form of.
    """

    role: str
    rule: str
    change: Change
    of: Role = Role.CONTROL


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the pairs of a plan: the most frequent forms in ``quick``, every optional field in ``full``."""
    if plan == "smoke":
        return
    maker = _FormCases(context)
    kinds = tuple(RULES) if plan == "full" else _QUICK_KINDS
    for case in _common(maker, kinds):
        kept = (spec for spec in case.requests if plan == "full" or spec.role not in _FULL_ONLY)
        yield replace(case, requests=tuple(kept))
    yield from generated_cases(context, plan)
    if plan == "full":
        yield from _places(maker)
        yield from _generated(maker)


class _FormCases:
    """Makes cases of one dialect, with the variants that are valid there."""

    def __init__(self, context: CaseContext) -> None:
        self.context = context
        self.name = context.dialect.reference
        self._sound = context.dialect.sound_requests
        self._possible = context.dialect.possible_requests
        self._open = frozenset(context.dialect.request["disputed_forms"])
        self._seen: set[str] = set()

    def case(
        self, name: str, intent: str, body: Body, variants: Iterable[Variant], *, keeps: tuple[str, ...] = _KEPT
    ) -> PlannedCase:
        """Return the case of a control and its variants; those that the dialect does not have are left out.

        ``keeps`` are the fields of the control that stay as they are.
        """
        body = fit_body(body, self.context.dialect.usual_form, {})
        specs = [spec for variant in variants if (spec := self._spec(variant, body)) is not None]
        return PlannedCase(f"forms.{name}", intent, (RequestSpec(Role.CONTROL, body, keeps=keeps), *specs))

    def seeded(self, seed: FormSeed) -> PlannedCase | None:
        """Return the case of a seed with all of its forms, ``None`` if there are none.

        If the endpoint refuses the seed, it may demand one of the optional fields. Then the complete form is sent, and
        the forms that lack one field of it.
        """
        found = list(self._forms(seed.body, tuple(RULES), seed.owners, seed.below))
        added = [form for form in found if form.kind == "present"]
        intent = f"{seed.id} with each optional field left out, sent or null."
        case = self.case(seed.id, intent, seed.body, map(_variant, found))
        complete = _complete(seed.body, added)
        if added and self._sound.is_valid(complete):
            left_out = self._forms(complete, ("absent",), seed.owners, seed.below)
            lacking = [self._spec(replace(_variant(form), of=Role.COMPLETE), complete) for form in left_out]
            first = RequestSpec(Role.COMPLETE, _if_refused(partial(_complete, added=added)), keeps=_KEPT)
            others = [spec for spec in lacking if spec is not None]
            case = replace(case, requests=(*case.requests, *([first, *others] if others else [])))
        return case if len(case.requests) > 1 else None

    def _spec(self, variant: Variant, body: Body) -> RequestSpec | None:
        made = variant.change(body)
        value = json.loads(made) if isinstance(made, bytes) else made
        if value is None or not self._possible.is_valid(value):
            return None
        sound = self._sound.is_valid(value) and variant.role not in self._open
        tags = (Tag.VALID, sent_for(variant.rule)) if sound else (sent_for(OPEN),)
        return RequestSpec(variant.role, _if_accepted(variant.change, variant.of), tags, keeps=_KEPT)

    def fields(self, body: Body, kinds: Sequence[str], *owners: str, below: str = "") -> Iterator[Variant]:
        """Yield a variant for each optional field of these objects (a type, or a field without one), each field once.

        ``below`` points to the part of the body that they are in.
        """
        return map(_variant, self._forms(body, kinds, owners, below))

    def _forms(self, body: Body, kinds: Sequence[str], owners: Sequence[str], below: str) -> Iterator[Form]:
        for form in forms(body, dialect=self.name, below=below):
            wanted = form.kind in kinds and form.place.rpartition(".")[0] in owners
            if wanted and form.id not in self._seen:
                self._seen.add(form.id)
                yield form


def _variant(form: Form) -> Variant:
    return Variant(form.id, RULES[form.kind], partial(changed, pointer=form.pointer, value=form.value))


def _complete(body: Body, added: Sequence[Form]) -> Any:
    """Return a body with all of these forms."""
    for form in added:
        body = changed(body, form.pointer, form.value) or body
    return body


def _if_accepted(change: Change, role: Role) -> Callable[[Replies], Any]:
    """Return the body made from that of an earlier request if the endpoint accepted it."""

    def body(replies: Replies) -> Any:
        control = replies.get(role)
        sent = control.request.json() if control is not None and control.ok else None
        return change(sent) if isinstance(sent, dict) else None

    return body


def _if_refused(change: Change) -> Callable[[Replies], Any]:
    """Return the body made from that of the control if the endpoint refused it."""

    def body(replies: Replies) -> Any:
        control = replies.get(Role.CONTROL)
        refused = control is not None and control.status is not None and is_refusal(control.status)
        return change(control.request.json()) if control is not None and refused else None

    return body


def _at(change: Callable[[Any], Any], *path: str | int) -> Change:
    """Return the change of one place of a body: what ``change`` makes of the value there, or nothing to send."""

    def made(body: Body) -> Any:
        value: Any = body
        for step in path:
            try:
                value = value[step]
            except (LookupError, TypeError):
                return None
        new = change(value)
        return None if new is None else changed(body, "/" + "/".join(map(str, path)), new)

    return made


def _with_two(second: Any) -> Callable[[Any], Any]:
    """Return the change of a list: another entry behind its last one."""
    return lambda value: [*value, second] if isinstance(value, list) and value else None


def _inserted(*items: Any, after: int) -> Callable[[Any], Any]:
    """Return the change of a list: further entries behind the one at a place."""

    def change(value: Any) -> Any:
        return [*value[: after + 1], *items, *value[after + 1 :]] if len(value) > after else None

    return change


# JSON texts


def _written(value: Any, **options: Any) -> bytes:
    return json.dumps(value, **options).encode()


def _spaced(body: Body) -> bytes:
    return b" \r\n" + _written(body, indent="\t", separators=(" ,", " : ")) + b"\n\t "


def _escaped(body: Body) -> bytes:
    """Return a body in which the first letter of ``input`` and every o is written as an escape."""
    return _written(body).replace(b'"input"', b'"\\u0069nput"').replace(b"o", b"\\u006F").replace(b"/", b"\\/")


def _with_fraction(body: Body) -> bytes | None:
    tokens = body.get("max_output_tokens")
    return None if type(tokens) is not int else _written({**body, "max_output_tokens": float(tokens)})


# Cases

_CALL: Final[Mapping[str, str]] = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "get_time",
    "arguments": '{"city": "Oslo"}',
}
_OUTPUT: Final[Mapping[str, Any]] = {"type": "function_call_output", "call_id": "call_1", "output": "Half past nine."}


def _message(content: Any, role: str = "user") -> Body:
    return {"type": "message", "role": role, "content": content}


def _text(text: str) -> Body:
    return {"type": "input_text", "text": text}


def _parts_of(value: Any) -> Any:
    return [_text(value)] if isinstance(value, str) else None


def _text_of(value: Any) -> Any:
    return value[0].get("text") if isinstance(value, list) and len(value) == 1 else None


def _output_message(message: Any) -> Any:
    content = message.get("content")
    part = {"type": "output_text", "text": content, "annotations": []}
    return {**message, "id": "msg_rejoinder0001", "status": "completed", "content": [part]}


def _common(maker: _FormCases, kinds: Sequence[str]) -> Iterator[PlannedCase]:
    body = maker.context.body
    yield maker.case(
        "json",
        "One request, and the same JSON value written in other ways.",
        body(input=user('Say "hé🦄" / hello.')),
        (
            Variant(Role.MIRRORED, "REQ-07", lambda sent: _written(mirrored(sent))),
            Variant(Role.SPACED, "REQ-07", _spaced),
            Variant(Role.UNESCAPED, "REQ-07", lambda sent: _written(sent, ensure_ascii=False)),
            Variant(Role.ESCAPED, "REQ-07", _escaped),
            Variant(Role.FRACTION, "REQ-08", _with_fraction),
        ),
        keeps=(),
    )
    message = body(input=[_message([_text("Say hello.")])])
    yield maker.case(
        "message",
        "A user message, and other valid forms of it.",
        message,
        (
            *maker.fields(message, kinds, "message", "input_text"),
            Variant(Role.STRING_CONTENT, "REQ-05", _at(_text_of, "input", 0, "content")),
            Variant(Role.TWO_PARTS, "REQ-04", _at(_with_two(_text("In one word.")), "input", 0, "content")),
            Variant(Role.TWO_MESSAGES, "REQ-04", _at(_with_two(_message([_text("In one word.")])), "input")),
        ),
    )
    answer, thanks = _message("Hello.", "assistant"), _message("Say it again.")
    yield maker.case(
        "history",
        "A conversation, and other valid forms of its assistant message.",
        body(input=[_message("Say hello."), answer, thanks]),
        (
            Variant(Role.OUTPUT_MESSAGE, "REQ-05", _at(_output_message, "input", 1)),
            Variant(Role.TWO_ANSWERS, "REQ-04", _at(_inserted(_message("Hi.", "assistant"), after=1), "input")),
        ),
    )
    tool = {**TIME_TOOL}
    tools = body(input=[_message("Say hello.")], tools=[tool])
    yield maker.case(
        "tool",
        "A function tool, and other valid forms of it.",
        tools,
        (
            *maker.fields(tools, kinds, "function", below="/tools"),
            Variant(Role.TWO_TOOLS, "REQ-04", _at(_with_two({**tool, "name": "get_date"}), "tools")),
        ),
    )
    question = _message("What time is it in Oslo?")
    call = body(input=[question, {**_CALL}, {**_OUTPUT}], tools=[tool])
    second = {**_CALL, "call_id": "call_2", "arguments": '{"city": "Rome"}'}
    both = [question, {**_CALL}, second, {**_OUTPUT}, {**_OUTPUT, "call_id": "call_2"}]
    yield maker.case(
        "call",
        "A function call with its output as input, and other valid forms of them.",
        call,
        (
            *maker.fields(call, kinds, "function_call", "function_call_output", below="/input"),
            Variant(Role.OUTPUT_LIST, "REQ-05", _at(_parts_of, "input", 2, "output")),
            Variant(Role.TWO_CALLS, "REQ-04", _at(lambda items: both if len(items) == 3 else None, "input")),
        ),
    )
    image = {"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"}
    picture = body(input=[_message([_text("What is in this image?"), image])])
    yield maker.case(
        "image",
        "An image in a message, and other valid forms of it.",
        picture,
        (
            *maker.fields(picture, kinds, "input_image"),
            Variant(Role.TWO_IMAGES, OPEN, _at(_with_two(image), "input", 0, "content")),
        ),
    )


def _places(maker: _FormCases) -> Iterator[PlannedCase]:
    """Yield pairs of one content in two places."""
    body = maker.context.body
    image = {"type": "input_image", "image_url": IMAGE_URL, "detail": "auto"}
    file = {"type": "input_file", "filename": "note.txt", "file_data": _TEXT_FILE}
    for name, part, role in (("image", image, Role.IMAGE_IN_OUTPUT), ("file", file, Role.FILE_IN_OUTPUT)):
        output = {**_OUTPUT, "output": [_text("Half past nine.")]}
        yield maker.case(
            f"{name}-place",
            f"One {name} in a message, and the same in a tool output.",
            body(input=[_message([_text("What time does it show?"), part]), {**_CALL}, output], tools=[{**TIME_TOOL}]),
            (Variant(role, "REQ-06", _at(_moved_to_output, "input")),),
        )
    hello = body(input=[_message("Say hello.")], instructions="Answer in one word.")
    yield maker.case(
        "instructions",
        "Instructions, and the same as a system or developer message.",
        hello,
        (
            Variant(Role.SYSTEM_MESSAGE, "REQ-06", partial(_as_message, role="system")),
            Variant(Role.DEVELOPER_MESSAGE, "REQ-06", partial(_as_message, role="developer")),
        ),
    )
    yield maker.case(
        "choice",
        "tool_choice required, and the same tool named.",
        body(input=[_message("What time is it in Oslo?")], tools=[{**TIME_TOOL}], tool_choice="required"),
        (Variant(Role.NAMED_CHOICE, OPEN, _named_choice),),
    )


def _moved_to_output(items: Any) -> Any:
    """Return a conversation whose message gave its last part to the tool output."""
    try:
        message, call, output = items
        *texts, part = message["content"]
        return [{**message, "content": texts}, call, {**output, "output": [*output["output"], part]}]
    except (TypeError, ValueError, LookupError):
        return None


def _as_message(body: Body, role: str) -> Body | None:
    text, items = body.get("instructions"), body.get("input")
    if not isinstance(text, str) or not isinstance(items, list):
        return None
    rest = {name: value for name, value in body.items() if name != "instructions"}
    return {**rest, "input": [_message(text, role), *items]}


def _named_choice(body: Body) -> Body | None:
    tools = body.get("tools")
    if body.get("tool_choice") != "required" or not tools:
        return None
    return {**body, "tool_choice": {"type": "function", "name": tools[0].get("name")}}


def _generated(maker: _FormCases) -> Iterator[PlannedCase]:
    """Yield a case for each variant of an item, each type of tool and each object that has optional fields."""
    limit = maker.context.body()["max_output_tokens"]
    profile = EndpointProfile(dialect=maker.name, model=maker.context.model, max_output_tokens=limit)
    for seed in form_seeds(profile=profile):
        case = maker.seeded(seed)
        if case is not None:
            yield case
