"""Requests that must be refused, extreme ones that may be, and fields that must not be ignored.

The tags of :mod:`rejoinder.model.tags` say what is known of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import Any, Final

from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.running.case import (
    ROOMY,
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    continuing,
    greeting,
    liveness_request,
    operation_request,
    plain_and_streamed,
    refused,
    response_id,
    single,
    unknown_id,
    user,
)
from rejoinder.conformance.running.cases.mem import Slot, slot_case, tell
from rejoinder.contract import Operation
from rejoinder.model.tags import FaultKind, Tag, with_fault, wrong_field
from rejoinder.strategies import EdgeCase, EndpointProfile, Mutant, edge_cases, surely_invalid
from rejoinder.strategies.operations import OF_STREAMS

MUTANTS: Final = 60
"""How many bodies with a single fault the plan ``full`` sends."""

_OF_REQUEST, _OF_ITEM = 12, 2

_FAULTS: Final[Mapping[str, FaultKind]] = {
    "root": FaultKind.ROOT,
    "missing": FaultKind.MISSING,
    "null": FaultKind.NULL,
    "type": FaultKind.TYPE,
    "value": FaultKind.VALUE,
    "type_unknown": FaultKind.VALUE,
    "type_case": FaultKind.VALUE,
    "type_blank": FaultKind.VALUE,
    "type_number": FaultKind.TYPE,
    "type_missing": FaultKind.MISSING,
    "type_null": FaultKind.NULL,
    "extra": FaultKind.TYPE,
    **dict.fromkeys(
        (
            "below",
            "above",
            "step",
            "short",
            "long",
            "pattern",
            "few",
            "many",
            "repeated",
            "few_fields",
            "many_fields",
            "name",
        ),
        FaultKind.RANGE,
    ),
    "alone": FaultKind.MISSING,
}
"""What mutants of each kind have wrong with them."""

LARGEST: Final = 20_000
"""Characters in the largest text that is sent to see whether it is refused or taken."""

# Raw bodies in which no lenient parser could find a request.
_BROKEN: Final = frozenset(
    f"raw.{name}"
    for name in ("empty", "space", "truncated_in_string", "unclosed_nesting", "binary", "multipart", "half_escape")
)
_RAW_FAULTS: Final[Mapping[str, FaultKind]] = {
    "null": FaultKind.ROOT,
    "array": FaultKind.ROOT,
    "string": FaultKind.ROOT,
    "deep_nesting": FaultKind.TYPE,
    "huge_integer": FaultKind.TYPE,
}
"""What raw bodies have wrong with them that are JSON."""
# About 64 KiB of base64.
_IMAGE_BLOCKS: Final = 16_000
# Values outside of the documented bounds, that the schema does not state.
_BOUNDS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("temperature-high", "temperature", 3),
    ("temperature-negative", "temperature", -1),
    ("top-p-high", "top_p", 2),
    ("top-logprobs-high", "top_logprobs", 21),
    ("max-output-tokens-zero", "max_output_tokens", 0),
    ("max-output-tokens-negative", "max_output_tokens", -1),
    ("max-output-tokens-huge", "max_output_tokens", 10**30),
    ("max-tool-calls-zero", "max_tool_calls", 0),
    ("empty-input", "input", []),
    ("metadata-17-pairs", "metadata", {f"key{number}": "value" for number in range(17)}),
    ("metadata-long-value", "metadata", {"key": "v" * 513}),
    ("tool-name-empty", "tools", [{**WEATHER_TOOL, "name": ""}]),
    ("conversation-unknown", "conversation", "conv_rejoinder_no_such_conversation"),
    ("prompt-unknown", "prompt", {"id": "pmpt_rejoinder_no_such_prompt"}),
)
# Extreme bodies of rejoinder.strategies.edge_cases that are worth a request each.
_EXTREMES: Final = frozenset(
    f"edge.{name}"
    for name in (
        "text.nul",
        "text.controls",
        "text.markers",
        "text.surrogate_high",
        "instructions.surrogate_swapped",
        "input.empty_content",
        "input.empty_text",
        "input.output_without_call",
        "input.call_without_output",
        "input.arguments_are_no_json",
        "input.many_items",
        "temperature.overflow",
        "temperature.digits",
        "top_logprobs.huge",
        "top_k.int64_plus",
        "tools.deep_parameters",
        "tools.recursive_parameters",
        "tools.odd_name",
        "format.deep_schema",
        "format.impossible_schema",
        "metadata.odd_key",
        "image_url.bad_base64",
        "image_url.truncated",
        "image_url.not_an_image",
        "image_url.local_file",
        "image_url.empty",
        "duplicate_key",
        "bom",
    )
)


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the refusals of a plan: a few in every plan, more in ``quick``, mutants and extremes in ``full``."""
    if plan != "smoke":
        yield from _second(context)
    if plan == "full":
        yield from _others(context)
        yield from _encrypted(context)
        if "previous_input_messages" in context.dialect.parameters:
            yield slot_case(context, _earlier_messages())
        yield slot_case(context, _prompt())
        yield from _swollen(context)
        yield from _bounds(context)
        yield from _mutants(context)
        yield from _raw(context)
        yield from _extremes(context)
        yield from _of_operations(context)


def _second(context: CaseContext) -> Iterator[PlannedCase]:
    body = context.body
    number = body(input=7)
    tags = wrong_field("input"), with_fault(FaultKind.TYPE)
    yield refused("input-type", "A number as input is refused.", number, *tags)
    nobody = [{"role": "nobody", "content": "Hi"}]
    tags = wrong_field("input"), with_fault(FaultKind.VALUE)
    yield refused("role", "A message with an unknown role is refused.", body(input=nobody), *tags)


def _others(context: CaseContext) -> Iterator[PlannedCase]:
    yield single(
        "accepted.unknown-field",
        "A valid request with an unknown field.",
        {**greeting(context), "rejoinder_no_such_field": True},
        (Tag.UNKNOWN_FIELD,),
    )


def _swollen(context: CaseContext) -> Iterator[PlannedCase]:
    data = "data:image/png;base64," + "QUJD" * _IMAGE_BLOCKS
    image = {"type": "input_image", "image_url": {"url": data}, "detail": "auto"}
    yield refused(
        "large-image",
        "A large image in the format of Chat Completions is refused, and not repeated in the error.",
        context.body(input=[{"role": "user", "content": [image]}]),
        wrong_field("input"),
    )
    call = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": {"city": "Oslo"}}
    given = {"type": "function_call_output", "call_id": "call_1", "output": "Rain."}
    yield refused(
        "arguments-object",
        "A function call in the history has an object as arguments, not a string.",
        context.body(input=[*user("What is the weather in Oslo?"), call, given], tools=[WEATHER_TOOL]),
        wrong_field("input"),
    )


def _bounds(context: CaseContext) -> Iterator[PlannedCase]:
    for name, field, value in _BOUNDS:
        body = {**greeting(context), field: value}
        after = (liveness_request(context),) if field == "max_output_tokens" else ()
        outside = (with_fault(FaultKind.RANGE),) if name in context.dialect.request["out_of_range"] else ()
        yield PlannedCase(
            f"edge.{name}",
            f"A value of {field} that endpoints may refuse or accept.",
            (RequestSpec(Role.PLAIN, body, (Tag.EDGE, wrong_field(field), *outside), keeps=(field,)), *after),
        )
    unknown = continuing(Role.CONTROL, greeting(context), change=unknown_id)
    yield PlannedCase(
        "edge.previous-response-unknown",
        "A request without and with an unknown previous_response_id.",
        (
            RequestSpec(Role.CONTROL, greeting(context)),
            RequestSpec(Role.PLAIN, unknown, (Tag.EDGE, wrong_field("previous_response_id"))),
        ),
    )


def _profile(context: CaseContext) -> EndpointProfile:
    return EndpointProfile(model=context.model, dialect=context.dialect.reference)


def _mutants(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield cases of a valid body and of mutants of it, and twins of mutants, plain and streamed."""
    chosen = sample(surely_invalid(profile=_profile(context)), MUTANTS)
    twins: dict[str, Mutant] = {}
    for mutant in chosen:
        # The first one that can be streamed.
        if isinstance(mutant.body, dict) and "stream" not in mutant.body:
            twins.setdefault(mutant.kind, mutant)
    for variant, found in _by_base(chosen):
        base = found[0].base
        streamed = any(twin.base == base for twin in twins.values())
        controls = [RequestSpec(Role.CONTROL, base, keeps=("input",))]
        if streamed:
            controls.append(RequestSpec(Role.CONTROL_STREAM, {**base, "stream": True}, keeps=("input",)))
        yield PlannedCase(
            f"refused.mutants.{variant}",
            "Bodies with one fault are refused, the body without it is accepted, and so is a valid request after each.",
            (*controls, *_followed(context, map(_mutant, found))),
        )
    for kind, twin in twins.items():
        planned = replace(_mutant(twin), role=Role.PLAIN, tags=_tags(twin))
        yield PlannedCase(
            f"refused.alike.{kind}",
            f"A body with one fault ({kind}) is refused alike with and without stream.",
            (
                planned,
                replace(planned, role=Role.STREAM, body={**twin.body, "stream": True}),
                liveness_request(context),
            ),
        )


def _mutant(mutant: Mutant) -> RequestSpec:
    body = b"null" if mutant.body is None else mutant.body  # without a body there is no content type
    tags = (*_tags(mutant), with_fault(_FAULTS[mutant.kind]))
    return RequestSpec(mutant.id.removeprefix("invalid."), body, tags, keeps=("input",))


def _tags(mutant: Mutant) -> tuple[str, ...]:
    return (Tag.INVALID, *((wrong_field(mutant.param),) if mutant.param else ()))


def _by_base(chosen: Sequence[Mutant]) -> Iterator[tuple[str, list[Mutant]]]:
    """Yield the mutants of each valid body with the variant that it is for; several bodies of one are numbered."""
    groups: list[list[Mutant]] = []
    for mutant in chosen:
        group = next((one for one in groups if one[0].base == mutant.base), None)
        if group is None:
            groups.append([mutant])
        else:
            group.append(mutant)
    seen: dict[str, int] = {}
    for group in groups:
        variant = group[0].variant
        seen[variant] = number = seen.get(variant, 0) + 1
        yield variant if number == 1 else f"{variant}.{number}", group


def _followed(context: CaseContext, requests: Iterable[RequestSpec]) -> Iterator[RequestSpec]:
    """Yield the requests, each with a good one after it."""
    for planned in requests:
        yield planned
        yield liveness_request(context, role_of(Role.AFTER, planned.role))


def sample(mutants: Sequence[Mutant], most: int) -> list[Mutant]:
    """Return up to ``most`` mutants, always the same, that between them have every kind if possible.

    Those of one valid body come together, so that it is sent once for all of them: a dozen of the request itself, and
    two of each variant of an item. Each has the kind that was taken least.
    """
    groups: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        group = groups.setdefault(mutant.variant, [])
        if not group or group[0].base == mutant.base:
            group.append(mutant)
    seen: Counter[str] = Counter()
    chosen: list[Mutant] = []

    def take(group: list[Mutant], count: int) -> None:
        for _ in range(min(count, len(group), most - len(chosen))):
            place = min(range(len(group)), key=lambda i: (seen[group[i].kind], i))
            mutant = group.pop(place)
            seen[mutant.kind] += 1
            chosen.append(mutant)

    # The body that has the usual top-level fields comes first.
    for number, group in enumerate(groups.values()):
        take(group, _OF_REQUEST if number == 0 else _OF_ITEM)
    for group in groups.values():
        take(group, most)
    return chosen


def _raw(context: CaseContext) -> Iterator[PlannedCase]:
    found = edge_cases("raw", profile=_profile(context), size=LARGEST)
    for number, group in enumerate(_groups(found, 7), 1):
        requests = [
            RequestSpec(
                case.id,
                case.data,
                (Tag.INVALID, *((Tag.BROKEN,) if case.id in _BROKEN else ()), with_fault(_raw_fault(case))),
                headers=(("content-type", case.content_type),),
            )
            for case in group
        ]
        yield PlannedCase(
            f"refused.raw.{number}",
            "Bodies that are not JSON or not a request are refused, and a valid request after each is answered.",
            tuple(_followed(context, requests)),
        )


def _raw_fault(case: EdgeCase) -> FaultKind:
    if case.id.startswith("raw.content_type."):
        return FaultKind.MEDIA
    return _RAW_FAULTS.get(case.id.removeprefix("raw."), FaultKind.JSON)


def _extremes(context: CaseContext) -> Iterator[PlannedCase]:
    found = edge_cases("edge", profile=_profile(context), size=LARGEST)
    for number, group in enumerate(_groups([case for case in found if case.id in _EXTREMES], 6), 1):
        requests = [RequestSpec(case.id, case.data, (Tag.EDGE,)) for case in group]
        yield PlannedCase(
            f"edge.extremes.{number}",
            "Extreme bodies are refused or answered, and a valid request after each is answered.",
            tuple(_followed(context, requests)),
        )


def _groups(found: Sequence[EdgeCase], size: int) -> Iterable[list[EdgeCase]]:
    columns = zip_longest(*[iter(found)] * size)
    return ([case for case in column if case is not None] for column in columns)


def _encrypted(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield requests for encrypted reasoning, which is there or refused."""
    body = context.body(
        input=user("Is 91 a prime number?"),
        reasoning={"effort": "low"},
        include=["reasoning.encrypted_content"],
        store=False,
        max_output_tokens=4 * ROOMY,
    )
    yield plain_and_streamed(
        "content.reasoning-encrypted",
        "Encrypted reasoning with store false.",
        body,
    )
    yield single(
        "echo.encrypted-reasoning",
        "Encrypted reasoning in include is returned, or the request is refused.",
        {**body, "max_output_tokens": ROOMY},
    )


def _earlier_messages() -> Slot:
    sentence = tell("cobalt")
    earlier = {"author": {"role": "user"}, "content": [{"type": "text", "text": sentence}]}
    return Slot(
        "previous-input-messages",
        "PAR-07",
        "A canary in previous_input_messages.",
        (sentence,),
        lambda question: {"input": user(question), "previous_input_messages": [earlier]},
    )


def _prompt() -> Slot:
    sentence = tell("juniper")
    return Slot(
        "prompt-variables",
        "ERR-08",
        "A canary in a variable of an unknown prompt template.",
        (sentence,),
        lambda question: {"input": user(question), "prompt": {"id": "pmpt_rejoinder", "variables": {"note": sentence}}},
    )


def _of_operations(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield, for each operation beside create, requests with malformed ids, parameters, bodies and methods."""
    operations = context.dialect.operations
    paths: set[tuple[str, ...]] = set()
    for operation in operations.values():
        requests: list[RequestSpec] = []
        talks = "conversation_id" in operation.ids and "create_conversation" in operations
        if "response_id" in operation.ids:
            requests.append(RequestSpec(Role.FIRST, greeting(context)))
        if talks:
            requests.append(operation_request(context, Role.TALK_CREATED, "create_conversation", body={}))
        requests += _malformed_ids(context, operation)
        requests += _malformed_queries(context, operation)
        if operation.body is not None:  # wrong fields come from the schema of the body
            requests.append(_request_to(context, operation, "unclosed", body=b'{"input": ', tags=(Tag.INVALID,)))
        if operation.segments not in paths:
            paths.add(operation.segments)
            requests.append(replace(_request_to(context, operation, "put", tags=(Tag.WRONG_METHOD,)), method="PUT"))
        if operation.body is not None:
            requests.append(liveness_request(context))
        if talks:
            requests.append(_request_to(context, operations["delete_conversation"], Role.TALK_DELETED))
        yield PlannedCase(
            f"refused.operations.{operation.name}",
            f"Requests to {operation.name} with malformed ids, JSON and parameters, and an unsupported method.",
            tuple(requests),
        )


# Ids that no endpoint makes: with characters that need encoding, of another form, and too long.
_MALFORMED: Final[Mapping[str, str]] = {
    "space": "no such id",
    "form": "null",
    "nul": "a\0b",
    "long": "resp_" + "0" * 400,
}
_MADE_BY: Final[Mapping[str, str]] = {"response_id": Role.FIRST, "conversation_id": Role.TALK_CREATED}
"""The requests of a case that make what an id in a path names. Nothing makes other ids, which are unknown."""


def _request_to(
    context: CaseContext, operation: Operation, role: str, *, id: str | None = None, **fields: Any
) -> RequestSpec:
    """Return a request for an operation, with this id in all places or those that the case made."""

    def named(replies: Replies, name: str) -> str | None:
        made_by = _MADE_BY.get(name)
        return response_id(replies, made_by) if made_by else f"{name.removesuffix('_id')}_rejoinder"

    def ids(replies: Replies) -> tuple[str, ...] | None:
        if id is not None:
            return (id,) * len(operation.ids)
        found = [named(replies, name) for name in operation.ids]
        known = tuple(identity for identity in found if identity is not None)
        return known if len(known) == len(found) else None

    return operation_request(context, role, operation.name, ids, **fields)


def _malformed_ids(context: CaseContext, operation: Operation) -> Iterator[RequestSpec]:
    # A second delete may succeed like the first, so what is not there may be deleted.
    tags = (Tag.EDGE,) if operation.method == "DELETE" else (Tag.INVALID,)
    for name, identity in _MALFORMED.items() if operation.ids else ():
        body: Any = None if operation.body is None else {}
        yield _request_to(context, operation, f"id-{name}", id=identity, body=body, tags=tags)


def _malformed_queries(context: CaseContext, operation: Operation) -> Iterator[RequestSpec]:
    """Yield requests with a word in each parameter of streams, which a response that is no stream need not read.

    Wrong values of the others come from the schema of the query; see ``generated_cases``.
    """
    parameters = (operation.query or {}).get("properties", {})
    for name in sorted(parameters.keys() & OF_STREAMS):
        tags = (Tag.EDGE, wrong_field(name))
        yield _request_to(context, operation, f"query-{name}", query=f"{name}=rejoinder", tags=tags)
