"""Truncated responses, and responses with a request_id."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import (
    LONG,
    TINY,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    claimed,
    plain_and_streamed,
    user,
)

# Small models answer some of these in a word; one long answer is enough.
_CUT: Final = (("story", "Tell a long story"), ("count", "Count from one to fifty."), ("hello", "Hello"))


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan."""
    for name, text in _CUT if plan == "full" else _CUT[:1]:
        yield _cut(name, context.body(input=user(text), temperature=0, max_output_tokens=LONG), context.least_tokens)
    if plan != "smoke" and context.dialect.response["request_id"]:
        named = plain_and_streamed(
            "request-id",
            "A request with a request_id, which becomes the id of the response.",
            context.body(input=user("Say hello."), request_id="named by the case"),
        )
        yield replace(named, requests=(*named.requests, claimed(context, "request_id")))
    if plan != "smoke" and "models" in context.dialect.operations:
        listed = RequestSpec("models", method="GET", collection="models", tags=())
        yield PlannedCase("operations.models", "The list of models.", (listed,))


def _cut(name: str, whole: dict[str, Any], least: int) -> PlannedCase:
    """Return a case that sends a request again with about half of the output tokens that it used."""

    def capped(replies: Replies) -> dict[str, Any] | None:
        reply = replies[Role.UNCAPPED].json()
        usage = reply.get("usage") if isinstance(reply, dict) else None
        used = usage.get("output_tokens") if isinstance(usage, dict) else None
        if not isinstance(used, int) or used < 2 * least:
            return None
        return {**whole, "max_output_tokens": max(least, min(TINY, used // 2))}

    def streamed(replies: Replies) -> dict[str, Any] | None:
        body = capped(replies)
        return None if body is None else {**body, "stream": True}

    return PlannedCase(
        f"cut.{name}",
        "One request at temperature 0, without and with a small max_output_tokens.",
        (RequestSpec(Role.UNCAPPED, whole), RequestSpec(Role.CAPPED, capped), RequestSpec("capped-stream", streamed)),
    )
