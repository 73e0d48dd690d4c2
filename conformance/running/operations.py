"""Requests for the operations beside create, and cases made from the schemas of their queries and bodies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from rejoinder.conformance.judging.problems import get
from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.running.case import (
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    greeting,
    operation_request,
    response_id,
)
from rejoinder.contract import Operation
from rejoinder.model.tags import Tag, sent_for, wrong_field
from rejoinder.strategies import EndpointProfile, OperationCase, invalid_operation_cases, operation_cases
from rejoinder.wire.query import encode_query

IdsOf = Callable[[Replies], tuple[str, ...] | None]

_MOST: Final = 16
"""Valid requests of a case, and invalid ones, that are made from the schemas of an operation."""
_QUICK: Final = 3
"""The same in the plan ``quick``."""
_LEVELS: Final = 4
"""Values of one parameter or field."""


def in_conversation(
    role: str, item: str = "", change: Callable[[str], str] = str
) -> Callable[[Replies], tuple[str, ...] | None]:
    """Return the ids of the conversation that an earlier request created, and of an item in an earlier list."""

    def ids(replies: Replies) -> tuple[str, ...] | None:
        conversation = response_id(replies, role)
        if conversation is None:
            return None
        if not item:
            return (change(conversation),)
        page = replies.get(item)
        first = get(page.json(), "data", 0, "id") if page is not None and page.ok else None
        return (conversation, first) if isinstance(first, str) else None

    return ids


def end_of_conversation(context: CaseContext, role: str = Role.TALK_CREATED) -> RequestSpec:
    """Return the request that deletes the conversation of a case, so that nothing is left at the endpoint."""
    return operation_request(context, Role.TALK_DELETED, "delete_conversation", in_conversation(role))


def generated_cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield for each operation a case with requests made from the schemas of its query and its body.

    Each parameter and field is sent alone, with each value at an end of its range, and then with a surely invalid
    value. The plan ``quick`` does so for the first operation with a range only. An operation that needs a model is left
    out where no model is known.
    """
    for operation in context.dialect.operations.values():
        setup = _setup(context, operation)
        if setup is None or (operation.query is None and operation.body is None):
            continue
        needs_model = "model" in (operation.body or {}).get("required", ())
        if needs_model and context.named_model is None:
            continue
        model = context.named_model if needs_model else context.model
        profile = EndpointProfile(model=model, dialect=context.dialect.reference)
        valid = operation_cases(operation.name, profile=profile, dialect=profile.dialect, levels=_LEVELS)
        invalid = invalid_operation_cases(operation.name, profile=profile, dialect=profile.dialect)
        has_range = any(case.param and isinstance(case.query.get(case.param), int) for case in valid)
        if len(valid) < 2 and not invalid:
            continue
        if plan == "full":
            yield _case(context, operation, setup, valid[0], _few(valid[1:], _MOST), _few(invalid, _MOST))
        elif has_range:
            ends = [case for case in valid[1:] if isinstance(case.query.get(case.param), int)]
            wrong = [case for case in invalid if isinstance(case.query.get(case.param), int)]
            yield _case(context, operation, setup, valid[0], ends[:_QUICK], wrong[:_QUICK])
            return


def _few(found: list[OperationCase], most: int) -> list[OperationCase]:
    """Return at most ``most`` cases, with about as many of each parameter or field."""
    by_param: dict[str, list[OperationCase]] = {}
    for case in found:
        by_param.setdefault(case.param, []).append(case)
    rounds = (case for number in range(_LEVELS) for cases in by_param.values() for case in cases[number : number + 1])
    chosen = set(map(id, islice(rounds, most)))
    return [case for case in found if id(case) in chosen]


def _setup(context: CaseContext, operation: Operation) -> tuple[list[RequestSpec], IdsOf, list[RequestSpec]] | None:
    """Return what comes before the requests for an operation, the ids in their path, and what comes after.

    ``None`` for an operation whose path has ids that no request is known to give.
    """
    first = RequestSpec(Role.FIRST, greeting(context))
    talk = {"items": [{"type": "message", "role": "user", "content": "My name is Ada."}]}
    match operation.ids:
        case ():
            return [], lambda _: (), []
        case ("response_id",):
            return [first], lambda replies: _only(response_id(replies, Role.FIRST)), []
        case ("conversation_id", *rest) if "create_conversation" in context.dialect.operations and len(rest) < 2:
            created = operation_request(context, Role.TALK_CREATED, "create_conversation", body=talk)
            here = in_conversation(Role.TALK_CREATED)
            added = operation_request(context, Role.TALK_ADDED, "create_conversation_items", here, body=talk)
            ids = in_conversation(Role.TALK_CREATED, Role.TALK_ADDED if rest else "")
            return [created, *([added] if rest else [])], ids, [end_of_conversation(context)]
    return None


def _only(identity: str | None) -> tuple[str, ...] | None:
    return None if identity is None else (identity,)


def _case(
    context: CaseContext,
    operation: Operation,
    setup: tuple[list[RequestSpec], IdsOf, list[RequestSpec]],
    plain: OperationCase,
    valid: list[OperationCase],
    invalid: list[OperationCase],
) -> PlannedCase:
    before, ids, after = setup
    requests = [_request(context, operation, ids, Role.CONTROL, plain, ())]
    requests += [_request(context, operation, ids, case.name, case, (sent_for("REQ-11"),)) for case in valid]
    requests += [_request(context, operation, ids, f"invalid-{case.name}", case, _tags(case)) for case in invalid]
    return PlannedCase(
        f"operations.{operation.name}",
        f"Valid and invalid queries and bodies of the operation {operation.name}.",
        (*before, *(spec for request in requests for spec in _removed(context, operation, request)), *after),
    )


def _request(
    context: CaseContext, operation: Operation, ids: IdsOf, role: str, case: OperationCase, tags: tuple[str, ...]
) -> RequestSpec:
    body = b"null" if case.body is None and operation.body is not None else case.body
    query = encode_query(case.query)
    return operation_request(context, role, operation.name, ids, body=body, query=query, tags=tags)


def _tags(case: OperationCase) -> tuple[str, ...]:
    return (Tag.INVALID, *((wrong_field(case.param),) if case.param else ()))


def _removed(context: CaseContext, operation: Operation, request: RequestSpec) -> Iterator[RequestSpec]:
    """Yield the request, and one that deletes what it creates if there is an operation for that."""
    yield request
    if operation.method != "POST" or operation.ids:
        return
    for other in context.dialect.operations.values():
        if other.method == "DELETE" and other.segments[:-1] == operation.segments:

            def made(replies: Replies) -> tuple[str, ...] | None:
                return _only(response_id(replies, request.role))

            yield operation_request(context, role_of("removed", request.role), other.name, made)
