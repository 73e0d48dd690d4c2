"""The probe: what the endpoint's model can do, asked before everything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from rejoinder.conformance.judging.canaries import new_canary
from rejoinder.conformance.running.case import (
    ROOMY,
    WEATHER_TOOL,
    CaseContext,
    PlannedCase,
    RequestSpec,
    plain_and_streamed,
    user,
)
from rejoinder.model.tags import Tag

_ROOM: Final = 4 * ROOMY
"""Tokens for an answer that is short, after reasoning that may not be."""


def cases(context: CaseContext) -> Iterator[PlannedCase]:
    """Yield the cases, the same in every plan; the simplest question is the first."""
    body = context.body
    hello = "Say hello."
    yield PlannedCase(
        "basic.input",
        "A string input and a list of one user message are the same question.",
        (
            RequestSpec("string", body(input=hello, temperature=0), (Tag.VALID, Tag.BASIC)),
            RequestSpec("list", body(input=user(hello), temperature=0), (Tag.VALID, Tag.BASIC)),
        ),
    )
    word = new_canary("quartz")
    asked = user(f"The code word is {word}. Answer with the code word only.")
    yield PlannedCase(
        "probe.word",
        "A word to be said again.",
        (
            RequestSpec(
                "plain",
                body(input=asked, temperature=0, max_output_tokens=_ROOM),
                (Tag.VALID, Tag.BASIC, Tag.ASKS_REPEAT),
            ),
        ),
    )
    yield plain_and_streamed(
        "tool.required",
        "A function call that tool_choice demands.",
        body(
            input=user("What is the weather in Oslo?"),
            tools=[WEATHER_TOOL],
            tool_choice="required",
            max_output_tokens=ROOMY,
        ),
    )
    answer: dict[str, Any] = {
        "type": "json_schema",
        "name": "capital",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "continent": {"enum": ["Africa", "America", "Asia", "Europe"]}},
            "required": ["city", "continent"],
            "additionalProperties": False,
        },
    }
    yield PlannedCase(
        "probe.schema",
        "An answer in the form of a JSON Schema.",
        (
            RequestSpec(
                "plain",
                body(
                    input=user("What is the capital of Norway, and on which continent?"),
                    text={"format": answer},
                    temperature=0,
                    max_output_tokens=_ROOM,
                ),
            ),
        ),
    )
