"""The commonest situations: text, streams and cuts in every plan; named calls, names and reasoning beyond smoke."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rejoinder.conformance.running.case import (
    LONG,
    TINY,
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    plain_and_streamed,
    user,
)
from rejoinder.model.tags import Tag

# Small models answer some of these in a word; one long answer is enough.
_CUT: Final = (("story", "Tell a long story"), ("count", "Count from one to fifty."), ("hello", "Hello"))


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan in the order in which they are sent."""
    body = context.body
    hello = "Say hello."
    yield PlannedCase(
        "basic.stream",
        "The simplest question, streamed.",
        (RequestSpec("stream", body(input=user(hello), stream=True), (Tag.VALID, Tag.BASIC)),),
    )
    yield PlannedCase(
        "stream.long",
        "A longer streamed answer, so that deltas have something to add up.",
        (RequestSpec("stream", body(input=user("Tell a story."), max_output_tokens=LONG, stream=True)),),
    )
    yield PlannedCase(
        "stream.multibyte",
        "A streamed answer with letters outside of ASCII, which split badly.",
        (
            RequestSpec(
                "stream",
                body(
                    input=user("Repeat this: Grüße aus Köln, 日本語, naïve café 🙂."), max_output_tokens=64, stream=True
                ),
            ),
        ),
    )
    for name, text in _CUT if plan == "full" else _CUT[:1]:
        yield _cut(name, body(input=text, temperature=0, max_output_tokens=LONG), context.least_tokens)
    if plan == "smoke":
        return
    yield plain_and_streamed(
        "tool.named",
        "A function call that tool_choice names.",
        body(
            input=user("What is the weather in Oslo?"),
            tools=[WEATHER_TOOL],
            tool_choice={"type": "function", "name": "get_weather"},
            max_output_tokens=64,
        ),
    )
    if context.dialect.response["request_id"]:
        yield plain_and_streamed(
            "request-id",
            "A request that names itself; the name comes back as the response's id.",
            body(input=hello, request_id="named by the case"),
        )
    yield plain_and_streamed(
        "reasoning.effort",
        "A question with reasoning asked for.",
        body(input=user("Is 91 a prime number?"), reasoning={"effort": "low", "summary": "auto"}, max_output_tokens=64),
    )


def _cut(name: str, whole: dict[str, Any], least: int) -> PlannedCase:
    """Return a case that asks the same again with about half of the tokens that the whole answer took."""

    def capped(replies: Replies) -> dict[str, Any] | None:
        reply = replies["uncapped"].json()
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
        "The same question at temperature 0 without and with a limit of tokens that is too small for the answer.",
        (RequestSpec("uncapped", whole), RequestSpec("capped", capped), RequestSpec("capped-stream", streamed)),
    )
