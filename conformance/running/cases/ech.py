"""Requests whose fields must come back, with retrieval, token counting and continuation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Final

from rejoinder.conformance.judging.roles import Role
from rejoinder.conformance.running.case import (
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    Replies,
    RequestSpec,
    closed,
    continuing,
    plain_and_streamed,
    single,
    stored_request,
    strict_format,
    user,
)
from rejoinder.model.exchange import parse_json

# Optional fields whose null costs nothing. A dialect sends those of them that may be null there.
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
    body = context.body(
        input=user("Say hello."),
        instructions="Answer in one short sentence.",
        temperature=0.5,
        metadata={"run": "1"},
        stream=True,
    )
    intent = "instructions, sampling parameters and metadata come back."
    return single("content.instructions", intent, body, role=Role.STREAM)


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
        store=True,
        **({"user": "rejoinder"} if "user" in context.dialect.parameters else {}),
    )
    counted = {name: body[name] for name in ("model", "input", "instructions", "tools", "tool_choice") if name in body}
    return PlannedCase(
        "echo.fields",
        "A request with many fields. Its response is retrieved and its input tokens are counted.",
        (
            RequestSpec("create", body),
            stored_request(Role.GET, "create"),
            RequestSpec(Role.COUNT, counted, (), path=("input_tokens",)),
        ),
    )


def _nulls(context: CaseContext) -> PlannedCase:
    body = context.body(input=user("Say hello."))
    nulls = [name for name in NULLABLE if context.allows({"input": "Hi", "model": "m", name: None})]
    return PlannedCase(
        "echo.nulls",
        "One request without its optional fields, and with null for them.",
        (RequestSpec(Role.ABSENT, body), RequestSpec(Role.NULLS, partial(_with_nulls, names=nulls))),
    )


def _with_nulls(replies: Replies, *, names: Sequence[str]) -> dict[str, Any] | None:
    """Return the body of the request without optional fields with null for those that it lacks.

    Options of the run add fields that the endpoint demands. These cannot be null.
    """
    absent = replies.get(Role.ABSENT)
    body = None if absent is None else parse_json(absent.request.body)
    return {**body, **{name: None for name in names if name not in body}} if isinstance(body, dict) else None


def _chain(context: CaseContext) -> PlannedCase:
    """Return a chain of three, of which only the first request has instructions."""
    first = context.body(input=user("Say hello."), instructions="Answer in one word.")
    second, third = (context.body(input=user(text)) for text in ("Say it again.", "And once more, please."))
    return PlannedCase(
        "echo.chain",
        "Requests without instructions continue a response with instructions.",
        (
            RequestSpec(Role.FIRST, first),
            RequestSpec(Role.SECOND, continuing(Role.FIRST, second)),
            RequestSpec(Role.THIRD, continuing(Role.SECOND, third)),
        ),
    )


def _format(context: CaseContext) -> PlannedCase:
    shape = strict_format(closed({"word": {"type": "string"}})) | {"name": "word"}
    body = context.body(
        input=user("Say hello."),
        text={"format": shape},
        tools=[WEATHER_TOOL],
        tool_choice={"type": "function", "name": "get_weather"},
        max_output_tokens=64,
    )
    return plain_and_streamed(
        "echo.objects", "Fields that are objects come back complete, with and without streaming.", body
    )


def _unstored(context: CaseContext) -> PlannedCase:
    return PlannedCase(
        "echo.not-stored",
        "A response with store false has store false and cannot be retrieved.",
        (
            RequestSpec("create", context.body(input=user("Say hello."), store=False)),
            stored_request(Role.GET, "create"),
        ),
    )


def _metadata(context: CaseContext) -> PlannedCase:
    metadata = {f"{number:02}" + "k" * (_KEY - 2): "v" * _VALUE for number in range(_PAIRS)}
    body = context.body(input=user("Say hello."), metadata=metadata, service_tier="default")
    return single("echo.metadata", "The largest allowed metadata comes back unchanged.", body, role="create")
