"""Parameters of sampling, caching and naming, each with its visible effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import (
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    claimed,
    response_id,
    single,
    user,
)
from rejoinder.model.exchange import parse_json
from rejoinder.model.tags import Tag

# Caches hold whole blocks of tokens, so that only a long prompt shows them.
_LINES: Final = 60


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan: only ``full`` has them, and only for the fields that the dialect names."""
    if plan != "full":
        return
    if context.dialect.response["request_id"]:
        yield _taken(context)
    if "cache_salt" in context.dialect.parameters:
        yield _salted(context)
    if "priority" in context.dialect.parameters:
        yield PlannedCase(
            "parameters.priority",
            "A priority, which an endpoint without priority scheduling may refuse.",
            (
                RequestSpec("default", context.body(input=user("Say hello."), priority=0), (Tag.VALID, Tag.EDGE)),
                RequestSpec("other", context.body(input=user("Say hello."), priority=7), (Tag.EDGE,)),
            ),
        )
    if "enable_response_messages" in context.dialect.parameters:
        body = context.body(input=user("Say hello."), enable_response_messages=True)
        yield single("parameters.response-messages", "A request with enable_response_messages.", body)


def _taken(context: CaseContext) -> PlannedCase:
    name = f"rejoinder-taken-{uuid4().hex[:12]}"

    def taken(replies: Replies) -> str | None:
        """Return the request_id that was sent, which a rerun changes, where the response has it as its id."""
        reply = replies.get(Role.FIRST)
        sent = parse_json(reply.request.body) if reply is not None else None
        identity = response_id(replies, Role.FIRST)
        return identity if isinstance(sent, dict) and identity == sent.get("request_id") else None

    def path(replies: Replies) -> tuple[str, ...] | None:
        identity = taken(replies)
        return None if identity is None else (identity,)

    def again(replies: Replies) -> dict[str, Any] | None:
        identity, kept = taken(replies), replies.get(Role.GET)
        # Without a store there is nothing that a second response could take the place of.
        if identity is None or kept is None or not kept.ok:
            return None
        return context.body(input=user("Count to three."), request_id=identity)

    return PlannedCase(
        "parameters.request-id-taken",
        "Two requests have the same request_id.",
        (
            RequestSpec(Role.FIRST, context.body(input=user("Say hello."), request_id=name)),
            RequestSpec(Role.GET, method="GET", path=path, tags=()),
            RequestSpec(Role.SECOND, again, (Tag.TAKEN,)),
            RequestSpec(Role.GET_AFTER, method="GET", path=path, tags=()),
        ),
    )


def _salted(context: CaseContext) -> PlannedCase:
    # A beginning of its own keeps earlier runs out of the cache.
    lines = [f"Log {uuid4().hex}.", *(f"Line {n}: pump {n % 7} runs." for n in range(_LINES)), "Say hello."]
    body = context.body(input=user("\n".join(lines)), temperature=0)
    return PlannedCase(
        "parameters.cache-salt",
        "A long prompt at temperature 0, twice without and twice with a new cache_salt.",
        (
            RequestSpec(Role.ONCE, body),
            RequestSpec(Role.AGAIN, body),
            RequestSpec(Role.SALTED, {**body, "cache_salt": uuid4().hex}),
            RequestSpec(Role.SALTED_OTHERWISE, {**body, "cache_salt": uuid4().hex}),
            claimed(context, "cache_salt"),
        ),
    )
