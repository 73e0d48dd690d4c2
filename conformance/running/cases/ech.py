"""Requests whose fields are to come back, and what follows from them: retrieval, counting, continuation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import (
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    response_id,
    stored_path,
    user,
)

# Optional fields that may be null in every source of the contract, and whose null costs nothing.
NULLABLE: Final = (
    "background",
    "include",
    "instructions",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "reasoning",
    "store",
    "stream",
    "temperature",
    "top_p",
    "truncation",
)
# As much metadata as is allowed: pairs, characters of a key, characters of a value.
_PAIRS, _KEY, _VALUE = 16, 64, 512


def cases(context: CaseContext, plan: str) -> Iterator[PlannedCase]:
    """Yield the cases of a plan; ``smoke`` has none of them."""
    if plan == "smoke":
        return
    yield _instructions(context)
    yield _fields(context)
    yield _nulls(context)
    if plan == "full":
        yield _chain(context)
        yield _format(context)
        yield _unstored(context)
        yield _metadata(context)


def _instructions(context: CaseContext) -> PlannedCase:
    return PlannedCase(
        "content.instructions",
        "Instructions, sampling parameters and metadata beside the input.",
        (
            RequestSpec(
                Role.STREAM,
                context.body(
                    input=user("Say hello."),
                    instructions="Answer in one short sentence.",
                    temperature=0.5,
                    metadata={"run": "1"},
                    stream=True,
                ),
            ),
        ),
    )


def _fields(context: CaseContext) -> PlannedCase:
    body = context.body(
        input=user("Say hello."),
        instructions="Answer in one word.",
        temperature=0.7,
        top_p=0.9,
        truncation="auto",
        parallel_tool_calls=False,
        tools=[WEATHER_TOOL],
        tool_choice="none",
        metadata={"purpose": "rejoinder", "Grüße": "Köln"},
        user="rejoinder",
        store=True,
    )
    counted = {name: body[name] for name in ("model", "input", "instructions", "tools", "tool_choice") if name in body}
    return PlannedCase(
        "echo.fields",
        "A request that sets many fields; its response is retrieved and its tokens are counted.",
        (
            RequestSpec("create", body),
            RequestSpec(Role.GET, method="GET", path=stored_path("create"), tags=()),
            RequestSpec("count", counted, (), path=("input_tokens",)),
        ),
    )


def _nulls(context: CaseContext) -> PlannedCase:
    body = context.body(input=user("Say hello."))
    return PlannedCase(
        "echo.nulls",
        "The same request without its optional fields, and with null for them.",
        (RequestSpec(Role.ABSENT, body), RequestSpec(Role.NULLS, {**body, **dict.fromkeys(NULLABLE)})),
    )


def _chain(context: CaseContext) -> PlannedCase:
    """Return a chain of three, of which only the first request has instructions."""

    def after(role: str, text: str) -> Any:
        def body(replies: Replies) -> dict[str, Any] | None:
            previous = response_id(replies, role)
            return None if previous is None else context.body(input=user(text), previous_response_id=previous)

        return body

    first = context.body(input=user("Say hello."), instructions="Answer in one word.")
    return PlannedCase(
        "echo.chain",
        "Responses that continue one with instructions, without any of their own.",
        (
            RequestSpec(Role.FIRST, first),
            RequestSpec(Role.SECOND, after(Role.FIRST, "Say it again.")),
            RequestSpec(Role.THIRD, after(Role.SECOND, "And once more, please.")),
        ),
    )


def _format(context: CaseContext) -> PlannedCase:
    schema = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
    shape = {"type": "json_schema", "name": "word", "schema": {**schema, "additionalProperties": False}, "strict": True}
    body = context.body(
        input=user("Say hello."),
        text={"format": shape},
        tools=[WEATHER_TOOL],
        tool_choice={"type": "function", "name": "get_weather"},
        max_output_tokens=64,
    )
    return PlannedCase(
        "echo.objects",
        "Fields that are objects come back whole, plain and streamed.",
        (RequestSpec(Role.PLAIN, body), RequestSpec(Role.STREAM, {**body, "stream": True})),
    )


def _unstored(context: CaseContext) -> PlannedCase:
    return PlannedCase(
        "echo.not-stored",
        "A response that is not to be stored says so and is not there.",
        (
            RequestSpec("create", context.body(input=user("Say hello."), store=False)),
            RequestSpec(Role.GET, method="GET", path=stored_path("create"), tags=()),
        ),
    )


def _metadata(context: CaseContext) -> PlannedCase:
    metadata = {f"{number:02}" + "k" * (_KEY - 2): "v" * _VALUE for number in range(_PAIRS)}
    return PlannedCase(
        "echo.metadata",
        "As much metadata as is allowed comes back unchanged.",
        (RequestSpec("create", context.body(input=user("Say hello."), metadata=metadata, service_tier="default")),),
    )
