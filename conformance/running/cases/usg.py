"""Requests whose input tokens are counted before they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from rejoinder.conformance.judging.roles import Role, role_of
from rejoinder.conformance.running.case import (
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    operation_request,
    response_id,
    user,
)


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan; only ``full`` has them, in dialects with the operation input_tokens."""
    operation = context.dialect.operations.get("input_tokens")
    if plan != "full" or operation is None or operation.body is None:
        return
    fields = operation.body.get("properties", {})
    hello = context.body(input=user("Say hello."), instructions="Answer in one word.")

    def count(role: str, body: Callable[[Replies], dict[str, Any] | None]) -> RequestSpec:
        def counted(replies: Replies) -> dict[str, Any] | None:
            found = body(replies)
            return None if found is None else {name: value for name, value in found.items() if name in fields}

        return operation_request(context, role, "input_tokens", body=counted)

    def named(field: str, of: str) -> Callable[[Replies], dict[str, Any] | None]:
        def body(replies: Replies) -> dict[str, Any] | None:
            identity = response_id(replies, of)
            on = context.body(input=user("Go on."), tools=[WEATHER_TOOL], tool_choice="none")
            return None if identity is None else {**on, field: identity}

        return body

    continued = named("previous_response_id", Role.FIRST)
    yield PlannedCase(
        "usage.counted-history",
        "A request that continues a response is counted and sent.",
        (
            RequestSpec(Role.FIRST, hello),
            count(Role.COUNT, continued),
            RequestSpec(Role.CHAINED, continued),
        ),
    )
    if "conversation" in fields and "create_conversation" in context.dialect.operations:
        talk = named("conversation", Role.TALK_CREATED)
        yield PlannedCase(
            "usage.counted-conversation",
            "A request in a conversation is counted and sent.",
            (
                operation_request(context, Role.TALK_CREATED, "create_conversation", body={"items": hello["input"]}),
                count(Role.COUNT, talk),
                RequestSpec(Role.TALK_FIRST, talk),
                operation_request(
                    context,
                    Role.TALK_DELETED,
                    "delete_conversation",
                    lambda replies: (found,) if (found := response_id(replies, Role.TALK_CREATED)) else None,
                ),
            ),
        )
    if "personality" in fields:
        yield PlannedCase(
            "usage.counted-personality",
            "A request is counted without and with a personality.",
            (
                RequestSpec(Role.FIRST, hello),
                count(Role.COUNT, lambda _: hello),
                count(role_of(Role.COUNT, "personality"), lambda _: {**hello, "personality": "friendly"}),
            ),
        )
