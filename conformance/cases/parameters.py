"""Parameters of sampling, caching and naming, each with what a client can see of its effect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from uuid import uuid4

from rejoinder.conformance.cases._case import (
    TINY,
    Planned,
    PlannedCase,
    Replies,
    Setting,
    response_id,
    user,
)

# Caches hold whole blocks of tokens, so that only a long prompt shows them.
_LINES: Final = 60
# A token that every vocabulary has (those before it may be bytes), pushed so hard that nothing else can be said.
_PUSHED: Final = {"300": 100}


def cases(setting: Setting, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan: only ``full`` has them, and only for the fields that the dialect names."""
    if plan != "full":
        return
    if setting.dialect.response["request_id"]:
        yield _taken(setting)
    if "cache_salt" in setting.dialect.parameters:
        yield _salted(setting)
    if {"top_k", "logit_bias"} <= setting.dialect.parameters:
        yield _sampled(setting)
    if "priority" in setting.dialect.parameters:
        yield PlannedCase(
            "parameters.priority",
            "A priority, which an endpoint without a schedule of priorities may refuse.",
            (
                Planned("default", setting.body(input=user("Say hello."), priority=0), ("valid", "edge")),
                Planned("other", setting.body(input=user("Say hello."), priority=7), ("edge",)),
            ),
        )
    if "enable_response_messages" in setting.dialect.parameters:
        asked = setting.body(input=user("Say hello."), enable_response_messages=True)
        yield PlannedCase(
            "parameters.response-messages",
            "A response that is to have the messages of the model.",
            (Planned("plain", asked),),
        )


def _taken(setting: Setting) -> PlannedCase:
    name = f"rejoinder-taken-{uuid4().hex[:12]}"

    def path(replies: Replies) -> tuple[str, ...] | None:
        identity = response_id(replies, "first")
        return (identity,) if identity == name else None

    def again(replies: Replies) -> dict[str, Any] | None:
        if path(replies) is None:
            return None
        return setting.body(input=user("Count to three."), request_id=name)

    return PlannedCase(
        "parameters.request-id-taken",
        "Two requests have the same request_id.",
        (
            Planned("first", setting.body(input=user("Say hello."), request_id=name)),
            Planned("get", method="GET", path=path, tags=()),
            Planned("second", again, ("taken",)),
            Planned("get-after", method="GET", path=path, tags=()),
        ),
    )


def _salted(setting: Setting) -> PlannedCase:
    # A beginning of its own keeps earlier runs out of the cache.
    lines = [f"Log {uuid4().hex}.", *(f"Line {n}: pump {n % 7} runs." for n in range(_LINES)), "Say hello."]
    body = setting.body(input=user("\n".join(lines)), temperature=0)
    return PlannedCase(
        "parameters.cache-salt",
        "A long prompt at temperature 0, twice as it is and twice with a cache_salt of its own.",
        (
            Planned("once", body),
            Planned("again", body),
            Planned("salted", {**body, "cache_salt": uuid4().hex}),
            Planned("salted-otherwise", {**body, "cache_salt": uuid4().hex}),
        ),
    )


def _sampled(setting: Setting) -> PlannedCase:
    body = setting.body(input=user("Write down a few words that come to your mind."), max_output_tokens=2 * TINY)
    greedy = {**body, "temperature": 1, "top_k": 1}
    sure = {**body, "temperature": 0}
    return PlannedCase(
        "parameters.sampling",
        "A question at temperature 0, with top_k 1 at temperature 1, and with one token pushed by logit_bias.",
        (
            *(Planned(f"sure-{n}", sure) for n in (1, 2, 3)),
            *(Planned(f"greedy-{n}", greedy) for n in (1, 2, 3)),
            Planned("pushed", {**sure, "logit_bias": _PUSHED}),
        ),
    )
