"""Several output items, and truncated items."""

from __future__ import annotations

from collections.abc import Iterator

from rejoinder.conformance.running.case import (
    ROOMY,
    TIME_TOOL,
    TINY,
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    plain_and_streamed,
    user,
)


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan."""
    if plan != "smoke":
        yield _calls(context)
    if plan == "full":
        yield from _cut(context)


def _calls(context: CaseContext) -> PlannedCase:
    return plain_and_streamed(
        "content.parallel-calls",
        "A prompt for two function calls.",
        context.body(
            input=user("Use get_weather and get_time to tell me the weather and the time in Oslo."),
            tools=[WEATHER_TOOL, TIME_TOOL],
            max_output_tokens=ROOMY,
        ),
    )


def _cut(context: CaseContext) -> Iterator[PlannedCase]:
    body = context.body
    yield plain_and_streamed(
        "content.call-cut",
        "A function call that max_output_tokens truncates.",
        body(
            input=user(
                "Use get_weather for the city with the longest name: Krung Thep Maha Nakhon Amon Rattanakosin "
                "Mahinthara Ayuthaya Mahadilok Phop Noppharat Ratchathani Burirom Udomratchaniwet Mahasathan."
            ),
            tools=[WEATHER_TOOL],
            tool_choice="required",
            max_output_tokens=TINY,
        ),
    )
    yield plain_and_streamed(
        "content.reasoning-cut",
        "Reasoning that max_output_tokens truncates.",
        body(
            input=user("Is 91 a prime number?"),
            reasoning={"effort": "high", "summary": "detailed"},
            max_output_tokens=TINY,
        ),
    )
